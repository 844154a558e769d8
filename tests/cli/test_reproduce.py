#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""scripts/repro on made-up outcomes of a few tasks: it runs from end to end, says what is left out, goes
on after an interruption, and two runs give equal bytes."""
import csv
import os
import random
import subprocess
import sys
import unittest

from tool import ROOT, TOOL, ToolTest, sample_outcomes

MODELS = ("cheap", "dear")


def write_tasks(folder, tasks=6, count=20):
    """Tables in RouteLLM's format, a file a task; 'cheap' is good in every other task."""
    folder.mkdir(parents=True)
    rng = random.Random(5)
    for t in range(tasks):
        kind = ("sums", "code")[t % 2]
        with open(folder / f"mmlu_task_{t}.csv", "w", newline="", encoding="utf-8") as stream:
            out = csv.writer(stream)
            out.writerow(["prompt", *MODELS])
            for i in range(count):
                prompt = f"{sample_outcomes.prompt_of(kind, rng)} ({t}.{i})"
                out.writerow([prompt, rng.random() < (0.9, 0.2)[t % 2], rng.random() < 0.8])


class Reproduce(ToolTest):
    def reproduce(self, cache, results):
        """The files that a run writes, by name."""
        out = self.folder / results
        (self.folder / cache).mkdir(exist_ok=True)
        done = subprocess.run(
            [sys.executable, ROOT / "scripts/repro/main.py", TOOL, self.folder / cache, out, "--quick",
             "--encoder", "hash", "metallm", "tasks"], capture_output=True, text=True, check=False, timeout=250,
            env=dict(os.environ, METALLM_DATA=str(self.folder / "data"), PYTHONDONTWRITEBYTECODE="1"))
        self.assertEqual(done.returncode, 0, done.stderr)
        return {p.name: p.read_bytes() for p in out.iterdir()}

    def test_two_runs_give_equal_bytes_and_a_stopped_one_goes_on(self):
        write_tasks(self.folder / "data" / "routellm_mmlu")
        (self.folder / "data" / "prices.yaml").write_text(
            "models:\n  cheap: {usd_per_call: 0.0001}\n  dear: {usd_per_call: 0.01}\n", encoding="utf-8")
        first = self.reproduce("cache", "one")
        self.assertEqual(self.reproduce("other-cache", "two"), first)
        calls = sorted((self.folder / "cache" / "reproduce" / "calls").iterdir())
        for path in calls[::7]:
            path.unlink()
        self.assertEqual(self.reproduce("cache", "three"), first)
        pages = {name: text.decode() for name, text in first.items() if name.endswith(".md")}
        self.assertEqual(set(pages), {"metallm.md", "new-tasks.md"})
        for text in pages.values():
            self.assertIn("RouterBench, 3 tasks", text.split("Left out", 1)[1].split("\n", 1)[0])
            self.assertNotIn(str(self.folder), text)
            self.assertNotIn("nan", text)
        self.assertIn("SIMULATED", pages["metallm.md"])
        for name, data in first.items():
            self.assertGreater(len(data), 100, name)


if __name__ == "__main__":
    unittest.main()
