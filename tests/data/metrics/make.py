#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes reference.json: a small table of outcomes and estimates, and its figures by brute force.

Pure Python, written apart from the C code and by other means: the hull's height is the best
mixture over all pairs of points, and its area sums trapezoids over every point's cost.
Run: python3 make.py > reference.json
"""
import json
import math
import random

random.seed(20407)
N, M = 60, 4
cost_base = [1e-4, 4e-4, 1e-3, 9e-3]
score, cost, quality, spend = [], [], [], []
for i in range(N):
    ease = random.random()
    chance = [min(0.98, max(0.02, ease * 0.7 + 0.1 * j + random.uniform(-0.2, 0.2))) for j in range(M)]
    score.append([1.0 if random.random() < p else 0.0 for p in chance])
    cost.append([c * random.uniform(0.5, 1.5) for c in cost_base])
    quality.append([round(min(1, max(0, p + random.uniform(-0.1, 0.1))), 3) for p in chance])
    spend.append([c * random.uniform(0.8, 1.2) for c in cost_base])
# Single precision, as the C code holds them.
import struct
f32 = lambda x: struct.unpack("f", struct.pack("f", x))[0]
for table in (score, cost, quality, spend):
    for row in table:
        row[:] = [f32(x) for x in row]
# Some cells are unknown.
for i, j in ((3, 0), (17, 2), (17, 3), (40, 1)):
    score[i][j] = None
scale = max(sum(row[j] for row in cost) / N for j in range(M))

mean = lambda values: sum(values) / len(values)
known = lambda values: [v for v in values if v is not None]


def policy(choice):
    return {"quality": mean(known([score[i][c] for i, c in enumerate(choice)])),
            "cost": mean([cost[i][c] for i, c in enumerate(choice)])}


def height(points, c):
    best = max((p["quality"] for p in points if p["cost"] <= c), default=None)
    for a in points:
        for b in points:
            if a["cost"] <= c < b["cost"]:
                t = (c - a["cost"]) / (b["cost"] - a["cost"])
                q = a["quality"] + t * (b["quality"] - a["quality"])
                best = q if best is None else max(best, q)
    return best


def area(points, low, high):
    xs = sorted({low, high} | {p["cost"] for p in points if low < p["cost"] < high})
    hs = [height(points, x) for x in xs]
    return sum((b - a) * (p + q) / 2 for a, b, p, q in zip(xs, xs[1:], hs, hs[1:])) / (high - low)


singles = [policy([j] * N) for j in range(M)]
oracle = []
for i in range(N):
    cells = [j for j in range(M) if score[i][j] is not None]
    oracle.append(max(cells, key=lambda j: (score[i][j], -cost[i][j])))
dials = [0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 100]
curve = []
for d in dials:
    choice = [max(range(M), key=lambda j: (quality[i][j] - d * spend[i][j] / scale, -spend[i][j])) for i in range(N)]
    curve.append({"dial": d, **policy(choice), "choice": choice})
low, high = min(p["cost"] for p in singles), max(p["cost"] for p in singles)
cheapest = min(singles, key=lambda p: p["cost"])
pairs = sorted((quality[i][j], score[i][j]) for i in range(N) for j in range(M) if score[i][j] is not None)
bins, start = [], 0
for i in range(1, len(pairs) + 1):
    due = len(pairs) * (len(bins) + 1) // 15
    if i == len(pairs) or (i >= due and pairs[i][0] != pairs[i - 1][0]):
        bins.append(pairs[start:i])
        start = i
print(json.dumps({
    "score": score, "cost": cost, "quality": quality, "spend": spend, "scale": scale,
    "singles": singles, "oracle": policy(oracle), "curve": curve,
    "zero_aiq": area(singles, low, high), "aiq": area(curve + [cheapest], low, high),
    "brier": mean([(p - s) ** 2 for p, s in pairs]),
    "ece": sum(abs(sum(p - s for p, s in b)) for b in bins) / len(pairs),
    "bins": [len(b) for b in bins],
}, indent=None))
