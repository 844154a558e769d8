# SPDX-License-Identifier: Apache-2.0
"""What the recorded and the live tests of `metallm classify` share: two LLMs behind one router, a
part of the texts to learn from, and another one to be tested on."""
import csv
import json
import subprocess

from .gateway import ROOT, SANITIZER_WORDS, SLOW, TOOL, GatewayTest
from .recorded import LLMS, Recording

DATA = ROOT / "tests/data/classify"
PRICES = {"smollm2": 0.02, "gemma": 0.2}  # dollars per million tokens read; written ones cost twice
Z95 = 1.959963984540054


def wilson(hits, of):
    """The 95 % interval of a share."""
    p, zz = hits / of, Z95 * Z95
    middle = (p + zz / (2 * of)) / (1 + zz / of)
    half = Z95 / (1 + zz / of) * (p * (1 - p) / of + zz / (4 * of * of)) ** 0.5
    return middle - half, middle + half


class Result:
    """What a run made of the test part."""

    def __init__(self, rows, gold):
        self.of = len(gold)
        self.hits = sum(r["label"] == g for r, g in zip(rows, gold, strict=True))
        self.usd = sum(float(r["usd"]) for r in rows)
        self.asked = {llm: sum(r["llm"] == llm for r in rows) for llm in LLMS}
        self.accuracy = self.hits / self.of
        self.low, self.high = wilson(self.hits, self.of)

    def __str__(self):
        return (f"{100 * self.accuracy:5.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}] of "
                f"{self.of}, ${self.usd:.6f}, {self.asked}")


class RealClassifyTest(GatewayTest):
    """Texts 0 to learn_count - 1 are learned from; those up to `last` are the test part."""

    learn_count, last = 100, 240

    def begin(self, name, places):
        """places: base URL, key and upstream name of each LLM."""
        self.recording, self.places = Recording(DATA / f"{name}.jsonl"), places
        rows = list(self.recording.rows.values())
        self.gold = [r["gold"] for r in rows[self.learn_count:self.last]]
        self.recording.write_examples(self.folder / "shots.csv")
        self.recording.write_texts(self.folder / "learn.csv", 0, self.learn_count)
        self.recording.write_texts(self.folder / "test.csv", self.learn_count, self.last)
        with open(self.folder / "both.csv", "w", newline="", encoding="utf-8") as f:
            out = csv.writer(f)
            out.writerow(["text", "label"])
            for i, row in enumerate(rows[:self.last]):  # the test part's gold is not shown
                out.writerow([row["text"], row["gold"] if i < self.learn_count else ""])

    def config(self, store, **router):
        whole = {"encoder": "hash", "store": f"sqlite:{self.folder}/{store}.db",
                 "models": [{"name": llm, **self.places[llm],
                             "price": {"input": PRICES[llm], "output": 2 * PRICES[llm]},
                             "timeouts": {"first_token_ms": 120000, "total_ms": 240000}}
                            for llm in LLMS],
                 "routers": [{"name": "auto", "mode": "hybrid", "dial": 0, "seed": 1, **router}]}
        (self.folder / "metallm.yaml").write_text(json.dumps(whole), encoding="utf-8")

    def tool(self, *arguments):
        done = subprocess.run([TOOL, *(str(a) for a in arguments)], cwd=self.folder, text=True,
                              capture_output=True, timeout=250 * SLOW, check=False)
        self.assertEqual(done.returncode, 0, (arguments, done.stdout, done.stderr))
        for word in SANITIZER_WORDS:
            self.assertNotIn(word, done.stderr)
        return done.stdout

    def classify(self, *more, concurrent=8):
        return self.tool("classify", "-c", "metallm.yaml", "--labels",
                         ",".join(self.recording.labels), "--gold", "label",
                         "--template", DATA / "turns.txt", "--few-shot", "shots.csv",
                         "--logprobs", "8", "--concurrent", concurrent, "-o", "out.csv", *more)

    def rows(self):
        with open(self.folder / "out.csv", newline="", encoding="utf-8") as f:
            return list(csv.DictReader(f))

    def alone(self, llm, *more, **rest):
        self.config(f"alone-{llm}{len(more)}")
        self.classify("--router", llm, *more, "both.csv", **rest)
        return Result(self.rows()[self.learn_count:], self.gold)

    def cascade(self, target, **rest):
        self.config(f"cascade-{target}")
        self.classify("--cascade", "--lessons", self.learn_count, "--target", target, "both.csv",
                      **rest)
        return Result(self.rows()[self.learn_count:], self.gold)

    def learn(self, **rest):
        """Every LLM answers the texts to learn from; a router is trained on these outcomes."""
        self.config("lessons")
        self.classify("--cascade", "--lessons", self.learn_count, "learn.csv", **rest)
        self.tool("train", "--store", f"sqlite:{self.folder}/lessons.db", "--encoder", "hash",
                  "-o", "r.safetensors")

    def routed(self, dial, **rest):
        self.config(f"routed-{dial}", file=str(self.folder / "r.safetensors"))
        self.classify("--gold-share", "0", "--dial", dial, "test.csv", **rest)
        return Result(self.rows(), self.gold)
