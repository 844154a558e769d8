#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""embed: vectors of lines, answered as they come, and wrong lines named."""
import json
import math
import select
import signal
import subprocess
import unittest

from tool import ENVIRONMENT, TOOL, ToolTest


def lines(*objects):
    return "".join(json.dumps(o) + "\n" for o in objects)


class Embed(ToolTest):
    def test_json_carries_tokens_and_a_vector_of_unit_length(self):
        told = self.succeeds("embed", "--json", "--precision", "fp32",
                             stdin=lines({"text": "hello"}, {"text": ""}, {"text": "a b c"}))
        rows = [json.loads(line) for line in told.stdout.splitlines()]
        self.assertEqual([row["tokens"] for row in rows], [3, 2, 5])
        for row in rows:
            self.assertEqual(len(row["embedding"]), 384)
            self.assertAlmostEqual(math.fsum(v * v for v in row["embedding"]), 1, places=4)

    def test_plain_lines_give_the_same_numbers(self):
        objects = self.succeeds("embed", "--json", "--encoder", "hash",
                                stdin=lines({"text": "one two"}, {"text": "three"}))
        plain = self.succeeds("embed", "--encoder", "hash", stdin="one two\nthree")
        vectors = [[float(v) for v in line.split()] for line in plain.stdout.splitlines()]
        for line, vector in zip(objects.stdout.splitlines(), vectors, strict=True):
            self.assertEqual(json.loads(line)["embedding"], vector)

    def test_a_line_is_answered_before_the_next_one_comes(self):
        with subprocess.Popen([TOOL, "embed", "--encoder", "hash"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as tool:
            for text in ("first", "second"):
                tool.stdin.write(text + "\n")
                tool.stdin.flush()
                self.assertTrue(select.select([tool.stdout], [], [], 60)[0], "no answer")
                self.assertGreater(len(tool.stdout.readline()), 100)
            tool.send_signal(signal.SIGINT)  # while it waits for a line
            self.assertNotEqual(tool.wait(60), 0)

    def test_wrong_lines_are_named(self):
        good = json.dumps({"text": "x"})
        for bad in ('{"text": 5}', '{"other": "x"}', '["x"]', '{"text": "x"', "x"):
            with self.subTest(bad=bad):
                self.fails("embed", "--json", "--encoder", "hash", stdin=f"{good}\n{bad}\n",
                           told="2")

    def test_unknown_encoders_and_missing_weights_are_named(self):
        self.fails("embed", "--encoder", "nothing", told="nothing", stdin="x\n")
        self.fails("embed", "--weights", self.folder, told=str(self.folder), stdin="x\n")
        self.fails("embed", "--precision", "fp99", told="fp99", stdin="x\n")


if __name__ == "__main__":
    unittest.main()
