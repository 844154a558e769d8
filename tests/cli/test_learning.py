#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""select and replay: a model for a new task, and a router that learns from a stream."""
import json
import unittest

from tool import WithRouter, sample_outcomes


class Select(WithRouter):
    def select(self, *options, file=None):
        return self.succeeds_json("select", self.router, file or self.holdout, "--json", *options)

    def test_json_has_the_fields_of_the_contract(self):
        told = self.select()
        self.assertEqual({s["model"] for s in told["scores"]}, set(sample_outcomes.MODELS))
        for score in told["scores"]:
            for name in ("s1", "s2", "s3", "estimate", "p_best"):
                self.assertTrue(0 <= score[name] <= 1, (name, score))
        self.assertAlmostEqual(sum(s["p_best"] for s in told["scores"]), 1, places=3)
        self.assertIn(told["choice"], sample_outcomes.MODELS)
        self.assertIn(told["bma"], sample_outcomes.MODELS)
        self.assertGreaterEqual(told["distance"], 0)

    def test_prompts_alone_are_enough(self):
        prompts = self.folder / "task.txt"
        prompts.write_text("What is 3 + 4?\nWhat is 31 * 2?\n")
        self.assertIn(self.select(file=prompts)["choice"], sample_outcomes.MODELS)
        lines = self.folder / "task.jsonl"
        lines.write_text('{"prompt": "What is 3 + 4?"}\n{"prompt": "What is 31 * 2?"}\n')
        plain, objects = self.select(file=prompts), self.select(file=lines)
        self.assertEqual(plain["scores"], objects["scores"])

    def test_labels_change_the_scores_and_need_scores_in_the_file(self):
        self.assertNotEqual(self.select("--labels", 50), self.select())
        self.assertEqual(self.select("--labels", 50), self.select("--labels", 50))

    def test_known_tasks_left_out_are_told_one_by_one(self):
        told = self.succeeds_json("select", "--leave-one-task-out", self.outcomes, "--json",
                                  "--encoder", "hash", "--labels", 20)
        self.assertEqual(set(told["models"]), set(sample_outcomes.MODELS))
        self.assertEqual({t["task"] for t in told["trials"]}, set(sample_outcomes.CHANCE))
        rules = {rule["rule"]: rule for rule in told["rules"]}
        for rule in ("bma", "s1-k5", "s3"):
            self.assertEqual(len(told["trials"][0]["rules"][rule]["score"]), 3)
            means = [t["truth"][t["rules"][rule]["pick"]] for t in told["trials"]]
            self.assertAlmostEqual(sum(means) / 3, rules[rule]["quality"], places=6)
            moved = [t["rest"][t["moved"][rule]] for t in told["trials"]]
            self.assertAlmostEqual(sum(moved) / 3, rules[rule]["moved"], places=6)

    def test_a_task_without_prompts_is_refused(self):
        empty = self.folder / "empty.txt"
        empty.write_text("")
        self.fails("select", self.router, empty, told="empty.txt")
        self.fails("select", self.router, told="no outcomes", status=2)


class Replay(WithRouter):
    def replay(self, *options):
        return self.succeeds_json("replay", self.router, self.holdout, "--json", *options)

    def test_json_has_the_fields_of_the_contract(self):
        told = self.replay("--online", "--policy", "linucb:alpha=1")
        self.assertEqual(told["n"], 200)
        self.assertTrue(0 <= told["quality"] <= 1 and told["cost"] > 0)
        self.assertAlmostEqual(sum(told["share"].values()), 1, places=5)
        steps = [point["step"] for point in told["curve"]]
        self.assertEqual(steps, sorted(steps))
        for name in ("quality", "cost", "regret"):
            self.assertIn(name, told["curve"][0])
        self.assertEqual(told["events"], [])

    def test_same_seed_gives_the_same_bytes_and_seeds_give_intervals(self):
        self.assertEqual(self.replay("--seed", 3), self.replay("--seed", 3))
        self.assertIn("ci", json.dumps(self.replay("--seeds", 3)))

    def test_a_budget_is_kept(self):
        free = self.replay()
        budget = free["cost"] / 3
        told = self.replay("--budget", budget, "--seeds", 5)
        self.assertLess(told["budget_used"], 1.1)
        self.assertAlmostEqual(told["budget"], budget, delta=budget * 1e-6)

    def test_a_budget_may_be_for_a_period(self):
        budget = 50 * self.replay()["cost"] / 3
        told = self.replay("--budget", budget, "--budget-per", 50, "--seeds", 5)
        self.assertAlmostEqual(told["budget"], budget / 50, delta=budget * 1e-6)
        self.assertGreater(told["budget_period_most"], 0.5)
        self.fails("replay", self.router, self.holdout, "--budget-per", 50, told="--budget-per",
                   status=2)

    def test_changes_are_followed_and_newcomers_have_a_prior_from_task_scores(self):
        events = self.folder / "events.jsonl"
        happen = [{"step": 500, "what": "quality", "model": "coder", "score": 0.1},
                  {"step": 1000, "what": "restore", "model": "coder"},
                  {"step": 1500, "what": "price", "model": "big", "factor": 10},
                  {"step": 2000, "what": "restore", "model": "big"}]
        events.write_text("".join(json.dumps(e) + "\n" for e in happen))
        steps = ["--steps", 2500, "--seeds", 5, "--events", events]
        for limit in (["--dial", 0.1], ["--budget", 0.002]):
            told = self.replay(*limit, *steps)["events"]
            self.assertEqual([e["step"] for e in told], [500, 1000, 1500, 2000])
            for event in told:
                self.assertLessEqual(event["settled_after"], 100, (limit, event))

    def test_newcomers_are_adopted_soon_whatever_is_believed_of_them(self):
        events, log = self.folder / "events.jsonl", self.folder / "log.jsonl"
        chosen = set()
        for prior in ("router", "s1", "s2", "s3", "none"):
            events.write_text(json.dumps({"step": 500, "what": "arrive", "model": "coder",
                                          "prior": prior}) + "\n")
            self.replay("--dial", 0.1, "--steps", 642, "--events", events, "--log", log)
            with open(log, encoding="utf-8") as stream:
                rows = [json.loads(line) for line in stream]
            models = [row["model"] for row in rows if "model" in row]
            self.assertNotIn("coder", models[:500])
            self.assertGreaterEqual(models[-50:].count("coder"), 5, prior)  # a tenth, in 142
            chosen.add(tuple(models))
        self.assertGreaterEqual(len(chosen), 4)

    def test_every_policy_runs_and_an_unknown_one_is_named(self):
        for policy in ("linucb", "thompson", "epsilon", "squarecb", "greedy"):
            self.assertEqual(self.replay("--online", "--policy", policy)["n"], 200)
        self.fails("replay", self.router, self.holdout, "--policy", "magic", told="magic",
                   status=1)

    def test_decisions_are_logged_with_their_propensities(self):
        log = self.folder / "log.jsonl"
        self.succeeds("replay", self.router, self.holdout, "--online", "--log", log)
        rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        self.assertTrue(all(0 < row["propensity"] <= 1 for row in rows if "propensity" in row))
        versions = {row["policy_version"] for row in rows}
        self.assertEqual(len(versions), 200)  # the router's file and what was learned since
        self.assertTrue(all(e["price_usd"] > 0 for row in rows for e in row["estimates"]))
        told = self.succeeds_json("report", log, "--json", "--policy", "linucb:alpha=1", "--policy",
                                  "thompson", "--dial", 0.1, "--dial", 0.5, "--models", "small,big")
        names = [p["name"] for p in told["policies"]]
        self.assertIn("linucb:alpha=1, dial 0.1", names)
        self.assertIn("thompson, dial 0.5", names)
        for policy in told["policies"][3:]:
            self.assertEqual(policy["share"]["coder"], 0, policy["name"])
        self.fails("report", log, "--policy", "linucb:beta=1", told="beta")

    def test_too_few_decisions_that_agree_are_told(self):
        log = self.folder / "log.jsonl"
        self.succeeds("replay", self.router, self.holdout, "--explore", 0.1, "--log", log)
        told = self.succeeds("report", log, "--policy", "small").stdout
        self.assertIn("too few logged decisions agree", told)


if __name__ == "__main__":
    unittest.main()
