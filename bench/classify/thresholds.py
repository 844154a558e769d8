#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a cascade's thresholds are worth on texts that they were not learned from, picked in two ways:
by the share of lesson answers that were right, and by their mean calibrated chance (what metallm
does). Random splits of the recorded answers in tests/data/classify; prints a table.

thresholds.py [SPLITS [LESSONS]]"""
import json
import math
import pathlib
import random
import statistics
import sys

DATA = pathlib.Path(__file__).resolve().parents[2] / "tests/data/classify"
CHEAP, DEAR = "smollm2", "gemma"
USD = {CHEAP: 1, DEAR: 7.4}  # a text, in the proportion of the tests' prices


def probabilities(top, labels):
    """Of the labels, as src/classify/label_probs.c reads the first token."""
    mass = [1e-9] * len(labels)
    for token, log in top:
        word = token.strip().lower()
        for i, label in enumerate(labels):
            if len(word) > 1 and label.startswith(word):
                mass[i] += math.exp(log)
    return [m / sum(mass) for m in mass]


def logit(p):
    p = min(max(p, 1e-4), 1 - 1e-4)
    return math.log(p / (1 - p))


def sigmoid(t):
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, t))))


def fit(seen):
    """Slope and offset of src/classify/cascade.h, by Newton's method."""
    a, b = 1.0, 0.0
    for _ in range(25):
        ga, gb, aa, ab, bb = 1 - a, -b / 4, 1.0, 0.0, 0.25
        for raw, right in seen:
            x = logit(raw)
            p = sigmoid(a * x + b)
            w = p * (1 - p)
            ga, gb = ga + (right - p) * x, gb + right - p
            aa, ab, bb = aa + w * x * x, ab + w * x, bb + w
        det = aa * bb - ab * ab
        da, db = (ga * bb - gb * ab) / det, (gb * aa - ga * ab) / det
        a, b = a + da, b + db
        if abs(da) + abs(db) < 1e-8:
            break
    return a, b


def read(rows, labels, lessons, llm):
    """(chance, right) of every text: lean and calibration from the lessons alone."""
    shares = [probabilities(r[llm]["top"], labels) for r in rows]
    lean = [statistics.fmean(shares[i][k] for i in lessons) for k in range(len(labels))]
    answers = []
    for row, share in zip(rows, shares):
        leant = [p / m for p, m in zip(share, lean)]
        best = max(range(len(labels)), key=leant.__getitem__)
        answers.append((leant[best] / sum(leant), float(labels[best] == row["gold"])))
    a, b = fit([answers[i] for i in lessons])
    return [(sigmoid(a * logit(raw) + b), right) for raw, right in answers]


def threshold(cheap, dear, lessons, target, worth):
    """The least chance at which the cheap answer is kept: least dollars, worth at least target."""
    order = sorted(lessons, key=lambda i: -cheap[i][0])
    value, best = sum(worth(dear[i]) for i in order), (False, 0.0, 2.0)
    for kept in range(len(order) + 1):
        keep = (2.0 if kept == 0 else 0.0 if kept == len(order)
                else (cheap[order[kept - 1]][0] + cheap[order[kept]][0]) / 2)
        enough = value >= target * len(order) - 1e-9
        best = max(best, (enough, kept if enough else value, keep))
        if kept < len(order):
            value += worth(cheap[order[kept]]) - worth(dear[order[kept]])
    return best[2]


def main(splits=60, lessons=100):
    print(f"{splits} random splits, {lessons} lessons, the other texts tested; means (deviation)\n")
    print(f"{'texts':10} {'target':>6} {'picked by':10} {'right':>16} {'kept':>6} {'dollars':>8}")
    for name, targets in (("sentiment", (0.9, 0.95)), ("headlines", (0.75, 0.8))):
        rows = [json.loads(r) for r in (DATA / f"{name}.jsonl").read_text().splitlines()[1:]]
        labels = sorted({r["gold"] for r in rows})
        for target in targets:
            for how, worth in (("share", lambda c: c[1]), ("chance", lambda c: c[0])):
                rng, right, kept = random.Random(1), [], []
                for _ in range(splits):
                    order = rng.sample(range(len(rows)), len(rows))
                    learn, test = order[:lessons], order[lessons:]
                    cheap, dear = (read(rows, labels, learn, m) for m in (CHEAP, DEAR))
                    keep = threshold(cheap, dear, learn, target, worth)
                    kept.append(statistics.fmean(cheap[i][0] >= keep for i in test))
                    right.append(statistics.fmean(
                        (cheap if cheap[i][0] >= keep else dear)[i][1] for i in test))
                usd = USD[CHEAP] + (1 - statistics.fmean(kept)) * USD[DEAR]
                print(f"{name:10} {target:6.2f} {how:10} {statistics.fmean(right):8.3f} "
                      f"({statistics.stdev(right):.3f}) {statistics.fmean(kept):6.2f} "
                      f"{usd / USD[DEAR]:7.0%}")
    print("\ndollars: of the dear LLM's for every text")


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:]))
