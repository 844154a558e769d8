# SPDX-License-Identifier: Apache-2.0
"""A benchmark small enough to read: three models with known strengths, the same for every run.

'small' is right about sums, 'coder' about code, 'big' about nearly everything at 100 times the
price. Written in the generic wide CSV format (docs/formats.md)."""
import csv
import random

MODELS = {"small": 0.0001, "coder": 0.0008, "big": 0.01}
SUBJECTS = ["rivers", "painters", "treaties", "planets", "operas", "bridges", "emperors", "islands"]
TASKS = ["sum", "sort", "reverse", "merge", "count", "rotate", "split", "hash"]


def prompt_of(kind, rng):
    if kind == "sums":
        return f"What is {rng.randint(10, 999)} + {rng.randint(10, 999)} * {rng.randint(2, 9)}?"
    if kind == "code":
        return (f"Write a Python function that can {rng.choice(TASKS)} a list of "
                f"{rng.randint(2, 99)} numbers.\ndef f(xs):")
    return (f"Name {rng.randint(2, 40)} famous {rng.choice(SUBJECTS)} and explain, for "
            f"{rng.choice(SUBJECTS)}, why they matter to {rng.choice(SUBJECTS)}.")


CHANCE = {
    "sums": {"small": 0.95, "coder": 0.9, "big": 0.9},
    "code": {"small": 0.1, "coder": 0.95, "big": 0.85},
    "facts": {"small": 0.15, "coder": 0.1, "big": 0.95},
}


def write(path, count=300, seed=7):
    """Writes count rows; another seed gives other prompts of the same kinds."""
    rng = random.Random(seed)
    with open(path, "w", newline="", encoding="utf-8") as stream:
        out = csv.writer(stream)
        out.writerow(["query", "task", "prompt", *MODELS, *(f"{m}:cost_usd" for m in MODELS)])
        for i in range(count):
            kind = rng.choice(list(CHANCE))
            prompt = prompt_of(kind, rng)
            scores = [int(rng.random() < CHANCE[kind][m]) for m in MODELS]
            costs = [f"{MODELS[m] * (0.5 + len(prompt) / 160):.8f}" for m in MODELS]
            out.writerow([f"q{i}", kind, prompt, *scores, *costs])
