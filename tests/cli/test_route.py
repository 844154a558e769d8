#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""train, evaluate and route: from outcomes to decisions, and what happens when it goes wrong."""
import json
import math
import os
import re
import select
import signal
import subprocess
import time
import unittest

from tool import ENVIRONMENT, TOOL, WithRouter, sample_outcomes

SUM, CODE, FACT = (
    "What is 31 + 55 * 3?",
    "Write a Python function that can sort a list of 12 numbers.\ndef f(xs):",
    "Name 7 famous rivers and explain, for islands, why they matter to planets.",
)


def prompts(*texts):
    return "".join(json.dumps({"prompt": t}) + "\n" for t in texts)


class Train(WithRouter):
    def test_report_is_one_json_object_and_beats_the_best_single_model(self):
        self.assertEqual((self.report["n"], self.report["models"]), (300, 3))
        self.assertGreater(self.report["quality"], self.report["quality_best"])

    def test_same_seed_and_input_give_the_same_bytes_whatever_the_threads(self):
        files = []
        for name, threads in (("a", 1), ("b", 1), ("c", 3)):
            files.append(self.folder / name)
            self.succeeds("train", self.outcomes, "-o", files[-1], "--encoder", "hash",
                          "--estimator", "mlp", "--seed", 5, "--threads", threads)
        first = files[0].read_bytes()
        self.assertTrue(all(f.read_bytes() == first for f in files[1:]))
        self.assertEqual(sorted(os.listdir(self.folder)), ["a", "b", "c"])

    def test_a_failed_run_leaves_the_old_file(self):
        router = self.folder / "router.safetensors"
        router.write_text("old")
        self.fails("train", self.folder / "none.csv", "-o", router, told=["none.csv", "No such"])
        self.fails("train", self.outcomes, "-o", router, "--estimator", "magic", told="magic")
        self.assertEqual(router.read_text(), "old")
        self.fails("train", self.outcomes, "-o", self.folder / "no/folder/router",
                   "--encoder", "hash", told="no/folder/router")
        self.assertEqual(os.listdir(self.folder), ["router.safetensors"])

    def test_an_output_is_needed(self):
        self.fails("train", self.outcomes, told="output", status=2)

    def test_interrupt_leaves_no_file(self):
        large = self.folder / "large.csv"
        sample_outcomes.write(large, count=6000)
        for delay_s in (0.3, 1.0):
            router = self.folder / "router.safetensors"
            with subprocess.Popen([TOOL, "train", large, "-o", router, "--encoder", "hash"],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  env=ENVIRONMENT) as tool:
                time.sleep(delay_s)
                self.assertIsNone(tool.poll(), "it was over before it could be interrupted")
                tool.send_signal(signal.SIGINT)
                out, told = tool.communicate(timeout=60)
            self.assertEqual(tool.returncode, -signal.SIGINT, told)
            self.assertEqual(out, "")
            self.assertIn("stopped", told)
            self.assertEqual(os.listdir(self.folder), ["large.csv"])

    def test_no_progress_is_drawn_into_a_pipe(self):
        done = self.succeeds("train", self.outcomes, "-o", self.folder / "r", "--encoder", "hash",
                             "--estimator", "linear")
        self.assertNotIn("\r", done.stdout + done.stderr)
        self.assertNotIn("\033", done.stdout + done.stderr)

    def test_progress_is_drawn_on_a_terminal_and_cleaned_away(self):
        large = self.folder / "large.csv"
        sample_outcomes.write(large, count=3000)
        main, terminal = os.openpty()
        with subprocess.Popen([TOOL, "train", large, "-o", self.folder / "r", "--encoder", "hash",
                               "--estimator", "knn"], stdout=subprocess.PIPE, stderr=terminal,
                              env=ENVIRONMENT) as tool:
            os.close(terminal)
            seen = b""
            while True:
                try:
                    part = os.read(main, 4096)
                except OSError:
                    break
                seen += part
                if not part:
                    break
            tool.communicate(timeout=120)
        os.close(main)
        self.assertEqual(tool.returncode, 0)
        self.assertRegex(seen.decode(), r"\[#*-*\] \d+ % \d+/\d+, [\d.]+/s")
        self.assertTrue(seen.endswith(b"\r\033[K"), seen[-80:])


class Evaluate(WithRouter):
    def test_json_has_the_fields_of_the_contract(self):
        told = self.succeeds_json("evaluate", self.router, self.holdout, "--json")
        self.assertEqual(told["n"], 200)
        self.assertEqual([m["name"] for m in told["models"]], list(sample_outcomes.MODELS))
        for single in (*told["models"], told["oracle"], told["random"], told["bma"]):
            self.assertTrue(0 <= single["quality"] <= 1 and single["cost"] > 0)
        costs = [point["cost"] for point in told["curve"]]
        self.assertEqual(costs, sorted(costs))
        for point in told["curve"]:
            self.assertAlmostEqual(sum(point["share"].values()), 1, places=5)
            self.assertGreaterEqual(point["dial"], 0)
        self.assertLessEqual(told["oracle"]["quality"], 1)
        self.assertGreater(told["quality_max"], told["bma"]["quality"])
        for name in ("aiq", "match_best_cost", "brier", "ece"):
            self.assertTrue(0 <= told[name] <= 1, (name, told[name]))

    def test_table_and_page_for_people(self):
        page = self.folder / "report.html"
        told = self.succeeds("evaluate", self.router, self.holdout, "--report", page).stdout
        for word in (*sample_outcomes.MODELS, "oracle", "AIQ"):
            self.assertIn(word, told)
        text = page.read_text(encoding="utf-8")
        self.assertIn("</html>", text)
        self.assertIsNone(re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", text))

    def test_same_run_twice_gives_the_same_bytes(self):
        runs = {self.succeeds("evaluate", self.router, self.holdout, "--json").stdout
                for _ in range(2)}
        self.assertEqual(len(runs), 1)

    def test_a_router_that_is_none_is_refused(self):
        with open(self.router, "rb") as stream:
            whole = stream.read()
        for content in (b"", b"no router", b"\x10" + bytes(7) + b'{"a":1}         ', whole[:-100]):
            path = self.folder / "router"
            path.write_bytes(content)
            self.fails("evaluate", path, self.holdout, told=str(path))
            self.fails("route", path, told=str(path), stdin="x\n")
        self.fails("evaluate", self.folder / "none", self.holdout, told="none")


class Route(WithRouter):
    def route(self, *options, texts=(SUM, CODE, FACT)):
        told = self.succeeds("route", self.router, "--json", *options, stdin=prompts(*texts))
        return [json.loads(line) for line in told.stdout.splitlines()]

    def test_json_has_the_fields_of_the_contract(self):
        rows = self.route("--dial", "0.3")
        self.assertEqual([r["model"] for r in rows], ["small", "coder", "big"])
        for row in rows:
            self.assertEqual(row["propensity"], 1)
            self.assertEqual(row["reason"], "best_score")
            self.assertEqual([e["model"] for e in row["estimates"]],
                             list(sample_outcomes.MODELS))
            for e in row["estimates"]:
                self.assertTrue(0 <= e["quality"] <= 1 and e["cost_usd"] > 0)
            best = max(row["estimates"], key=lambda e: e["score"])
            self.assertEqual(best["model"], row["model"])

    def test_score_is_quality_less_dial_times_relative_cost(self):
        costs = {}
        for dial in (0, 1):
            for row in self.route("--dial", dial, texts=[SUM]):
                for e in row["estimates"]:
                    costs.setdefault(e["model"], []).append((e["score"], e["quality"],
                                                             e["cost_usd"]))
        scales = set()
        for (free, quality, _), (dear, _, cost) in costs.values():
            self.assertAlmostEqual(free, quality, places=5)
            scales.add(round(math.log(cost / (quality - dear)), 2))
        self.assertEqual(len(scales), 1)  # one scale for all: the highest mean cost

    def test_target_takes_the_cheapest_that_reaches_it(self):
        for row in self.route("--target", "0.6"):
            able = [e for e in row["estimates"] if e["quality"] >= 0.6]
            if able:
                self.assertEqual(row["reason"], "target_met")
                cheapest = min(able, key=lambda e: e["cost_usd"])
                self.assertEqual(row["model"], cheapest["model"])
        (row,) = self.route("--target", "1", texts=[FACT])
        if row["reason"] == "target_missed":
            self.assertEqual(row["model"],
                             max(row["estimates"], key=lambda e: e["quality"])["model"])

    def test_highest_cost_and_candidates_leave_models_out(self):
        for row in self.route("--max-cost", "0.002"):
            self.assertIn(row["model"], ("small", "coder"))
            self.assertIsNone(row["estimates"][2]["score"])
        (row,) = self.route("--max-cost", "1e-9", texts=[FACT])
        self.assertEqual((row["model"], row["reason"]), ("small", "over_max_cost"))
        for row in self.route("--models", "big,coder"):
            self.assertIn(row["model"], ("big", "coder"))
            self.assertIsNone(row["estimates"][0]["score"])
        self.fails("route", self.router, "--models", "big,tiny", told="'tiny'", stdin=SUM)

    def test_lines_for_people_begin_with_the_model_and_tell_why(self):
        told = self.succeeds("route", self.router, "--dial", "0.3", stdin=f"{SUM}\n\n{FACT}\n")
        lines = told.stdout.splitlines()
        self.assertEqual([line.split("\t")[0] for line in lines], ["small", "big"])
        self.assertIn("highest score at dial 0.3", lines[0])
        for model in sample_outcomes.MODELS:
            self.assertIn(model, lines[0])

    def test_json_lines_are_understood_without_being_announced(self):
        text = self.succeeds("route", self.router, stdin=prompts(SUM)).stdout
        self.assertEqual(text, self.succeeds("route", self.router, stdin=SUM).stdout)
        self.fails("route", self.router, stdin="{braces} are text\n", told="line 1")
        self.succeeds("route", self.router, "--plain", stdin="{braces} are text\n")

    def test_a_bad_line_is_named_and_what_stood_before_is_answered(self):
        for bad in ('{"prompt": 5}', '{"text": "x"}', '{"prompt": "x"', "nothing", "[]"):
            done = self.fails("route", self.router, "--json", told="line 3",
                              stdin=prompts(SUM, CODE) + bad + "\n" + prompts(FACT))
            self.assertEqual(len(done.stdout.splitlines()), 2)

    def test_odd_prompts_are_answered_too(self):
        odd = ["", " ", "\u2028a\u2029b", "\x00", "\U0001f600" * 50, "x" * 100000, "\\\"\n\t"]
        self.assertEqual(len(self.route(texts=odd)), len(odd))
        done = subprocess.run([TOOL, "route", self.router, "--plain"], input=b"\xff\xfe a\x00b\n",
                              capture_output=True, check=False, env=ENVIRONMENT, timeout=60)
        self.assertEqual((done.returncode, done.stdout.count(b"\n")), (0, 1))

    def test_batches_change_nothing(self):
        texts = [f"{SUM} {i}" for i in range(200)]
        together = self.route("--dial", "0.2", texts=texts)
        self.assertEqual(len(together), 200)
        self.assertEqual(self.route("--dial", "0.2", texts=[texts[150]])[0], together[150])

    def test_a_decision_comes_before_the_next_prompt(self):
        with subprocess.Popen([TOOL, "route", self.router], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                              env=ENVIRONMENT) as tool:
            for text in (SUM, FACT):
                tool.stdin.write(text + "\n")
                tool.stdin.flush()
                self.assertTrue(select.select([tool.stdout], [], [], 60)[0], "no answer")
                self.assertIn("\t", tool.stdout.readline())
            tool.stdin.close()
            self.assertEqual(tool.wait(60), 0)

    def test_decisions_are_logged_and_the_log_is_added_to(self):
        log = self.folder / "decisions.jsonl"
        for _ in range(2):
            self.route("--dial", "0.3", "--log", log)
        rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        self.assertEqual([r["model"] for r in rows], ["small", "coder", "big"] * 2)
        self.assertEqual(len({r["id"] for r in rows}), 6)
        self.assertEqual(len({r["policy_version"] for r in rows}), 1)
        self.assertTrue(all(e["price_usd"] > 0 for r in rows for e in r["estimates"]))
        self.assertNotIn("rivers", log.read_text(encoding="utf-8"))
        self.succeeds_json("report", log, "--json")

    def test_contradictions_and_ranges_are_wrong_usage(self):
        for options in (["--dial", "-1"], ["--target", "1.5"], ["--dial", "x"],
                        ["--dial", "0.1", "--target", "0.9"], ["--json", "--plain"]):
            self.fails("route", self.router, *options, told=options[0], status=2, stdin=SUM)


if __name__ == "__main__":
    unittest.main()
