#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`metallm classify` with SmolLM2-135M and Gemma-270M themselves ('make check-live'): what they say
now against what was recorded, a cascade's lessons, a routed run, and a job that is killed at work."""
import signal
import subprocess
import time
import unittest

from support.classify_real import DATA, LLMS, RealClassifyTest
from support.gateway import SLOW, TOOL, wait_for
from support.real_llms import needs_real_llms, start


@needs_real_llms
class Live(RealClassifyTest):
    learn_count, last = 60, 90

    @classmethod
    def setUpClass(cls):
        start(cls)

    def real(self, name):
        self.begin(name, {llm: {"base_url": f"http://127.0.0.1:{self.ports[llm]}/v1",
                                "model": llm} for llm in LLMS})

    def test_sentiment_is_as_recorded_and_routed(self):
        self.real("sentiment")
        for llm in LLMS:
            self.config(f"raw-{llm}")
            self.classify("--router", llm, "--raw", "test.csv", concurrent=4)
            rows = list(self.recording.rows.values())[self.learn_count:self.last]
            said = [r[llm]["says"].strip()[:3] for r in rows]
            same = sum(r["label"][:3] == s for r, s in zip(self.rows(), said, strict=True))
            self.assertGreaterEqual(same, 0.9 * len(rows), f"{llm} says other things than recorded")
        self.learn(concurrent=4)
        lessons = self.rows()
        self.assertEqual({r["state"] for r in lessons}, {"answered"})
        routed = self.routed(0, concurrent=4)
        self.assertGreater(routed.accuracy, 0.8, str(routed))

    def test_headlines_survive_a_kill(self):
        self.real("headlines")
        self.config("killed")
        command = [TOOL, "classify", "-c", "metallm.yaml", "--labels", "up,down", "--gold", "label",
                   "--template", DATA / "turns.txt", "--few-shot", "shots.csv", "--logprobs", "8",
                   "--concurrent", "4", "-o", "out.csv", "test.csv"]
        with open(self.folder / "killed.log", "wb") as log:
            run = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        wait_for(lambda: (self.folder / "killed.db").exists(), 60, "the job has begun")
        time.sleep(4 * SLOW)
        run.send_signal(signal.SIGKILL)
        run.wait()
        self.assertFalse((self.folder / "out.csv").exists())
        self.tool(*command[1:])
        rows = self.rows()
        self.assertEqual(len(rows), self.last - self.learn_count)
        self.assertTrue(all(r["label"] in ("up", "down") for r in rows), rows)


if __name__ == "__main__":
    unittest.main()
