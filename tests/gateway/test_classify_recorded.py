#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`metallm classify` on what two real small LLMs answered (tests/data/classify): real headlines and a
sentiment set, each LLM alone, routed, and as a cascade; learned on 100 texts, tested on 140 others.

METALLM_TEST_SHOW=1 prints the figures of docs/classify.md."""
import os
import sys
import unittest

from support.classify_real import LLMS, RealClassifyTest
from support.gateway import secret

DIALS = (0, 0.1, 0.2, 0.3) if os.environ.get("METALLM_TEST_SHOW") else (0.2,)
TARGETS = {"sentiment": (0.9, 0.95), "headlines": (0.75, 0.8)}
if not os.environ.get("METALLM_TEST_SHOW"):
    TARGETS = {name: targets[:1] for name, targets in TARGETS.items()}


class Recorded(RealClassifyTest):
    def replay(self, name):
        self.name, places = name, {}
        for llm in LLMS:
            upstream = self.upstream(llm)
            places[llm] = {"base_url": upstream.url, "api_key": secret(upstream.key),
                           "model": upstream.model}
        self.begin(name, places)
        for llm, upstream in zip(LLMS, self.upstreams):
            upstream.behave = self.recording.replays(llm)

    def show(self, what, result):
        if os.environ.get("METALLM_TEST_SHOW"):
            print(f"{self.name:10} {what:16} {result}", file=sys.stderr)
        return result

    def compare(self, name):
        """(each LLM alone, routed by dial, cascade by target) on the same texts."""
        self.replay(name)
        alone = {llm: self.show(f"{llm} alone", self.alone(llm)) for llm in LLMS}
        self.learn()
        routed = {d: self.show(f"dial {d}", self.routed(d)) for d in DIALS}
        cascade = {t: self.show(f"cascade {t}", self.cascade(t)) for t in TARGETS[name]}
        return alone, routed, cascade

    def check_within(self, run, better):
        """As right as the better LLM, within its interval; one text is left for the last bits, in
        which builds differ."""
        self.assertGreaterEqual((run.hits + 1) / run.of, better.low, (str(run), str(better)))

    def test_sentiment_costs_less_than_the_better_llm_and_is_as_right(self):
        alone, routed, cascade = self.compare("sentiment")
        better = alone["gemma"]
        self.assertGreater(better.accuracy, alone["smollm2"].accuracy)
        self.check_within(routed[0.2], better)
        # By how much less differs from run to run with the order of answers: docs/classify.md.
        self.assertLess(routed[0.2].usd, better.usd)
        self.assertGreaterEqual(cascade[0.9].accuracy, 0.86)
        self.assertLess(cascade[0.9].usd, better.usd)
        for run in (routed[0.2], cascade[0.9]):
            self.assertTrue(all(run.asked.values()), run.asked)

    def test_headlines_find_the_llm_that_is_cheaper_and_better(self):
        alone, routed, cascade = self.compare("headlines")
        better = alone["smollm2"]
        self.assertGreater(better.accuracy, alone["gemma"].accuracy)
        self.check_within(routed[0.2], better)
        self.assertLess(routed[0.2].usd, alone["gemma"].usd / 4)
        # The LLMs err on different texts: a cascade is right more often than the dearer one alone.
        self.assertGreater(cascade[0.75].accuracy, alone["gemma"].accuracy)
        self.assertLess(cascade[0.75].usd, alone["gemma"].usd)

    def test_what_an_llm_says_on_average_is_taken_out(self):
        self.replay("sentiment")
        raw = self.show("smollm2 --raw", self.alone("smollm2", "--raw"))
        leant = self.alone("smollm2")
        self.assertGreater(leant.low, raw.high)

    def test_outcomes_are_evaluated_and_decisions_reported(self):
        self.replay("headlines")
        self.learn()
        self.routed(0)
        told = self.tool("evaluate", "r.safetensors", "--store", f"sqlite:{self.folder}/routed-0.db")
        self.assertIn("140 queries", told)
        told = self.tool("report", "--store", f"sqlite:{self.folder}/routed-0.db")
        self.assertIn("140 decisions", told)

    def test_a_prompt_that_was_never_asked_is_refused(self):
        self.replay("headlines")
        self.config("other")
        with self.assertRaisesRegex(AssertionError, "140 texts: 0 answered"):  # exit status 1
            self.tool("classify", "-c", "metallm.yaml", "--labels", "up,down", "--pause", "1",
                      "--tries", "1", "test.csv")


if __name__ == "__main__":
    unittest.main()
