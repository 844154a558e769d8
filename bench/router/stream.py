# SPDX-License-Identifier: Apache-2.0
"""stream.py METALLM FOLDER: `metallm replay`, end to end, on made-up outcomes of 4 models. Prints CSV
rows what,policy,dim,models,ns_median,ns_least like policy_times.c:
 "replay": CPU time of a decision with its update, its references and its sums, from runs that differ
 in their steps alone (reading and start-up fall out);
 "replay, KB at ROWS rows": peak memory in place of the time."""
import json
import math
import os
import random
import statistics
import subprocess
import sys

TOOL, FOLDER = sys.argv[1:3]
AXES, DIM, MODELS, STEPS, ROUNDS = 39, 64, 4, 400000, 5  # 1, the axes and 24 text features


def write_rows(path, count):
    rng = random.Random(7)
    words = [f"w{i}" for i in range(400)]
    taste = [{w: rng.gauss(0, 1) for w in words} for _ in range(MODELS)]
    with open(path, "w", encoding="utf-8") as out:
        for i in range(count):
            text = rng.choices(words, k=rng.randint(6, 24))
            arms = {}
            for m in range(MODELS):
                z = sum(taste[m][w] for w in text) / math.sqrt(len(text)) + 0.3 * m
                arms[f"model-{m}"] = {"reward": float(rng.random() < 1 / (1 + math.exp(-z))),
                                      "cost": 1e-4 * 4 ** m * (0.5 + rng.random())}
            out.write(json.dumps({"prompt": f"{' '.join(text)} {i}", "source": "made", "arms": arms}))
            out.write("\n")
    return path


def run(*arguments):
    """CPU seconds and peak KB of one call."""
    child = subprocess.Popen([TOOL, *map(str, arguments)], stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE)
    told = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"stream.py: {arguments}: {told.decode(errors='replace')}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss


def main():
    rows, router = write_rows(f"{FOLDER}/rows.jsonl", 20000), f"{FOLDER}/router.safetensors"
    run("train", rows, "--encoder", "hash", "--estimator", "linear:lambda=10", "-o", router)
    replay = ["replay", router, "--axes", AXES, "--points", 1, "--json"]
    for policy, more in (("greedy", []), ("linucb", ["--policy", "linucb"]),
                         ("thompson", ["--policy", "thompson"]), ("greedy", ["--budget", "2e-3"])):
        short, long = ([run(*replay, rows, *more, "--steps", n)[0] for _ in range(ROUNDS)]
                       for n in (STEPS // 20, STEPS + STEPS // 20))
        each = [1e9 * (b - a) / STEPS for a, b in zip(short, long)]
        what = "replay within a budget" if "--budget" in more else "replay"
        print(f"{what},{policy},{DIM},{MODELS},{statistics.median(each):.0f},{min(each):.0f}", flush=True)
    for count in (100000, 1000000):
        peak = run(*replay, write_rows(f"{FOLDER}/many.jsonl", count))[1]
        print(f'"replay, KB at {count} rows",greedy,{DIM},{MODELS},{peak},{peak}', flush=True)


main()
