# SPDX-License-Identifier: Apache-2.0
"""Simulated outcomes for MetaLLM's zero-shot text classification: no LLM is called.

The shape is SST-2's in MetaLLM (arXiv 2407.10834, section 4): four LLMs at 0.0004, 0.0005, 0.0020 and
0.0200 dollars per 1,000 tokens, two classes. The sentences are drawn from templates; every LLM is right
with a chance that depends on how the sentence is built, so that there is something to learn: plain
praise is easy for all; negation, irony and mixed verdicts divide them. Some sentences are hard for all
alike: two LLMs' answers depend on one another. The dearest is the best on average, but not everywhere.
"""
import json
import random

MODELS = ("sim-ada", "sim-babbage", "sim-curie", "sim-davinci")
PRICE = {"sim-ada": 0.0004, "sim-babbage": 0.0005, "sim-curie": 0.0020, "sim-davinci": 0.0200}

SHARE = {"plain": 0.45, "terse": 0.2, "negated": 0.13, "mixed": 0.12, "ironic": 0.1}
ALIKE = 0.7  # how often an LLM's luck is that of the sentence, not its own

# Chance of being right, by kind of sentence: made up.
CHANCE = {
    "plain": {"sim-ada": 0.88, "sim-babbage": 0.93, "sim-curie": 0.96, "sim-davinci": 0.96},
    "negated": {"sim-ada": 0.55, "sim-babbage": 0.68, "sim-curie": 0.90, "sim-davinci": 0.93},
    "ironic": {"sim-ada": 0.50, "sim-babbage": 0.55, "sim-curie": 0.66, "sim-davinci": 0.90},
    "mixed": {"sim-ada": 0.58, "sim-babbage": 0.86, "sim-curie": 0.70, "sim-davinci": 0.84},
    "terse": {"sim-ada": 0.93, "sim-babbage": 0.80, "sim-curie": 0.94, "sim-davinci": 0.90},
}
SUBJECTS = ("the film", "this drama", "the second half", "the lead performance", "the screenplay",
            "the director's debut", "the camera work", "the sequel", "this comedy", "the soundtrack",
            "the documentary", "the ending", "the romance", "the dialogue", "the whole cast")
GOOD = ("moving", "funny", "sharp", "tender", "gripping", "warm", "original", "honest", "dazzling")
BAD = ("dull", "clumsy", "shallow", "tired", "noisy", "lifeless", "muddled", "bland", "forced")
TAILS = ("from start to finish", "for most of its running time", "in ways that are hard to forget",
         "even on a second viewing", "despite its budget", "thanks to careful editing",
         "as few films this year", "and it knows it", "without trying too hard")


def sentence(rng, kind, is_good):
    subject, tail = rng.choice(SUBJECTS), rng.choice(TAILS)
    right, wrong = (GOOD, BAD) if is_good else (BAD, GOOD)
    if kind == "plain":
        return f"{subject} is {rng.choice(right)} and {rng.choice(right)} {tail}"
    if kind == "negated":
        return f"{subject} is never {rng.choice(wrong)}, nor is it {rng.choice(wrong)} {tail}"
    if kind == "ironic":
        return (f"oh sure, {subject} is exactly as {rng.choice(wrong)} as we were told, if you have never "
                f"seen one before {tail}")
    if kind == "mixed":
        return (f"although {subject} starts {rng.choice(wrong)}, it turns out {rng.choice(right)} and ends "
                f"{rng.choice(right)} {tail}")
    return f"{rng.choice(right)}!"


def rows(count, seed):
    rng = random.Random(seed)
    for i in range(count):
        kind = rng.choices(list(SHARE), SHARE.values())[0]
        is_good = rng.random() < 0.5
        text = ('Is the sentiment of this sentence positive or negative?\n'
                f'Sentence {i}: "{sentence(rng, kind, is_good)}"\nAnswer:')
        tokens, luck = len(text) / 4 + 1, rng.random()
        for m in MODELS:
            own, is_alike = rng.random(), rng.random() < ALIKE
            yield {"query": str(i), "task": "sst2-simulated", "prompt": text, "model": m,
                   "score": int((luck if is_alike else own) < CHANCE[kind][m]),
                   "cost_usd": round(PRICE[m] * tokens / 1000, 10),
                   "label": "positive" if is_good else "negative"}


def write(folder, train=3000, test=3000, seed=11):
    """Two files; the same arguments give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, count, s in (("train", train, seed), ("test", test, seed + 1)):
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(r) + "\n" for r in rows(count, s)), encoding="utf-8")
        paths.append(path)
    return paths
