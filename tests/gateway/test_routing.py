#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Which LLM answers: constraints, abilities, aliases, sessions, modes; a trained router file."""
import csv
import json
import http.server
import random
import subprocess
import threading
import time
import unittest

from support import upstream as up
from support.gateway import SLOW, TOOL, GatewayTest, model, secret, wait_for

import sample_outcomes  # tests/support, whose path the line above put in


def train(folder):
    """A router over hash vectors that knows who is good at sums, code and facts."""
    outcomes, router = folder / "outcomes.csv", folder / "router.safetensors"
    sample_outcomes.write(outcomes)
    done = subprocess.run([TOOL, "train", str(outcomes), "-o", str(router), "--encoder", "hash",
                           "--estimator", "linear"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return router


class TrainedRouter(GatewayTest):
    def setUp(self):
        super().setUp()
        self.made = {name: self.upstream(name) for name in sample_outcomes.MODELS}
        prices = {"small": (0.1, 0.2), "coder": (0.8, 1.6), "big": (10, 20)}
        self.router = {"name": "auto", "file": str(train(self.folder)), "mode": "offline",
                       "dial": 0.0, "seed": 1, "explore": {"share": 0, "newcomer": 0}}
        self.config = {"models": [model(n, u, prices[n]) for n, u in self.made.items()],
                       "routers": [self.router], "aliases": [
                           {"name": "thrifty", "to": "auto", "dial": 100.0},
                           {"name": "gpt-4", "to": "big"},
                           {"name": "no-coder", "to": "auto", "models": ["small", "big"]}]}
        self.metallm = self.gateway(self.config)
        self.rng = random.Random(3)

    def share(self, kind, count=30, **more):
        """{LLM: how often it was chosen}"""
        told = [self.metallm.chat(sample_outcomes.prompt_of(kind, self.rng), **more)
                for _ in range(count)]
        self.assertEqual({t.status for t in told}, {200})
        return {m: sum(t.model == m for t in told) / count for m in self.made}

    def write_outcomes(self, names, counts):
        """Outcomes of LLMs that are right about sums alone: counts by kind. Its path."""
        path = self.folder / "newcomer.csv"
        with open(path, "w", encoding="utf-8") as stream:
            out = csv.writer(stream)
            out.writerow(["query", "task", "prompt", *names])
            for kind, count in counts.items():
                out.writerows([f"{kind}{i}", kind, sample_outcomes.prompt_of(kind, self.rng),
                               *[int(kind == "sums")] * len(names)] for i in range(count))
        return str(path)

    def expected_of(self, name):
        """The quality that a decision expected of an LLM; None: it was no candidate."""
        told = self.metallm.chat("Hello")
        self.assertEqual(told.status, 200)
        estimates = self.decided(self.metallm, told.decision)["estimates"]
        return {e["model"]: e["quality"] for e in estimates}.get(name)

    def test_a_newcomer_starts_from_its_outcomes_held_against_the_routers_queries(self):
        path = self.write_outcomes(["new", "added"], {"sums": 80, "code": 20, "facts": 20})
        new = model("new", self.upstream("new"), (1, 2))
        self.assertIsNone(self.expected_of("new"))
        self.metallm.write({**self.config, "models": [
            *self.config["models"], {**new, "prior": {"outcomes": path, "score": "s1"}}]})
        self.metallm.reload()
        # Two thirds of the outcomes are right; a third of the router's queries are sums.
        quality = wait_for(lambda: self.expected_of("new"), what="the newcomer")
        self.assertTrue(0.25 < quality < 0.42, quality)
        self.assertEqual(self.metallm.log().count('"by outcomes"'), 1)
        added = {**model("added", self.upstream("added", key=None), (1, 2)), "prior": {
            "outcomes": path, "score": "s1"}}
        told = self.metallm.post("/admin/models", {**added, "name": "unknown"})
        self.assertEqual(told.status, 400)
        self.assertIn("models[4].prior.outcomes: ", told.json()["error"]["message"])
        self.assertEqual(self.metallm.post("/admin/models", added).status, 201)
        self.assertAlmostEqual(self.expected_of("added"), quality, places=6)
        self.assertEqual(self.metallm.log().count('"by outcomes"'), 2)  # not "new" once more

    def test_outcomes_that_do_not_know_the_newcomer_are_refused_with_their_line(self):
        path = self.write_outcomes(["other"], {"sums": 5})
        new = {**model("new", self.upstream("new"), (1, 2)), "prior": {"outcomes": path}}
        self.metallm.write({**self.config, "models": [*self.config["models"], new]})
        self.metallm.reload()
        wait_for(lambda: "models[3].prior.outcomes: " in self.metallm.log())
        self.assertRegex(self.metallm.log(), r"metallm.yaml:\d+: models\[3\].prior.outcomes: "
                         r".*holds no score of 'new'")
        self.assertIsNone(self.expected_of("new"))

    def test_each_kind_of_query_goes_to_an_llm_that_is_good_at_it(self):
        code = self.share("code")
        self.assertGreater(code["coder"] + code["big"], 0.9)
        self.assertGreater(self.share("facts")["big"], 0.9)

    def test_the_dial_makes_it_cheaper_request_by_request(self):
        dear = self.share("sums", metallm={"dial": 0})
        cheap = self.share("sums", metallm={"dial": 100})
        self.assertEqual(cheap["small"], 1)
        self.assertGreaterEqual(dear["big"] + dear["coder"] + dear["small"], 0.99)
        self.assertEqual(self.share("facts", headers={"x-metallm-dial": "100"})["small"], 1)
        self.assertEqual(self.share("facts", model="thrifty")["small"], 1)

    def test_a_target_is_reached_as_cheaply_as_can_be(self):
        self.assertGreater(self.share("sums", metallm={"target": 0.6})["small"], 0.8)
        self.assertGreater(self.share("facts", headers={"x-metallm-target": "0.8"})["big"], 0.9)

    def test_a_highest_cost_leaves_the_dear_ones_out(self):
        told = self.share("facts", metallm={"max_cost_usd": 0.00005})
        self.assertEqual(told["big"], 0)

    def test_candidates_can_be_named(self):
        self.assertEqual(self.share("facts", metallm={"models": ["small", "coder"]})["big"], 0)
        self.assertEqual(self.share("code", headers={"x-metallm-models": "small, big"})["coder"], 0)
        self.assertEqual(self.share("code", model="no-coder")["coder"], 0)

    def test_a_name_of_an_llm_goes_straight_to_it(self):
        for name in self.made:
            self.assertEqual(self.share("facts", count=3, model=name)[name], 1)
        self.assertEqual(self.share("sums", count=3, model="gpt-4")["big"], 1)

    def test_the_body_wins_over_headers(self):
        self.assertEqual(self.share("facts", count=5, metallm={"models": ["big"]},
                                    headers={"x-metallm-models": "small"})["big"], 1)

    def test_the_last_user_message_is_what_counts(self):
        code, facts = (sample_outcomes.prompt_of(k, self.rng) for k in ("code", "facts"))
        turns = [{"role": "user", "content": code}, {"role": "assistant", "content": "done"},
                 {"role": "user", "content": facts}]
        body = {"model": "auto", "messages": turns}
        self.assertEqual(self.metallm.post("/v1/chat/completions", body).model, "big")

    def test_route_agrees_with_the_tool_and_with_the_request(self):
        text = sample_outcomes.prompt_of("code", self.rng)
        done = subprocess.run(
            [TOOL, "route", self.router["file"], "--dial", "0", "--json"], text=True, check=True,
            input=json.dumps({"prompt": text}) + "\n", capture_output=True)
        asked = {"model": "auto", "messages": [{"role": "user", "content": text}]}
        alone = self.metallm.post("/v1/route", asked).json()
        told = self.metallm.post("/v1/chat/completions", asked)
        self.assertEqual(alone["model"], told.model)
        self.assertEqual(json.loads(done.stdout)["model"], told.model)
        record = self.decided(self.metallm, told.decision)
        by_name = {e["model"]: e["quality"] for e in record["estimates"]}
        for estimate in json.loads(done.stdout)["estimates"]:
            self.assertAlmostEqual(estimate["quality"], by_name[estimate["model"]], delta=0.02)

    def test_where_all_cost_more_than_allowed_the_cheapest_answers_and_says_so(self):
        told = self.metallm.chat("q", metallm={"max_cost_usd": 1e-12})
        self.assertEqual((told.status, told.model), (200, "small"))
        self.assertIn("max cost", self.decided(self.metallm, told.decision)["reason"])


class Abilities(GatewayTest):
    def setUp(self):
        super().setUp()
        self.able, self.plain = self.upstream("able"), self.upstream("plain")
        self.metallm = self.gateway({
            "models": [
                model("able", self.able, (10, 30), abilities={
                    "tools": True, "images": True, "json": True, "context": 100000}),
                model("plain", self.plain, (0.1, 0.3), abilities={
                    "tools": False, "images": False, "json": False, "context": 500})],
            "routers": [{"name": "auto", "dial": 50.0, "policy": "greedy", "explore": {"share": 0, "newcomer": 0}}]})

    def asked(self, content="q", **more):
        return self.metallm.chat(content, **more)

    def test_only_able_llms_get_tools_images_json_and_long_contexts(self):
        self.assertEqual(self.asked().model, "plain")
        tool = [{"type": "function", "function": {"name": "f"}}]
        self.assertEqual(self.asked(tools=tool).model, "able")
        self.assertEqual(self.asked(content=[
            {"type": "text", "text": "what?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]).model, "able")
        self.assertEqual(self.asked(response_format={"type": "json_object"}).model, "able")
        self.assertEqual(self.asked("long " * 2000).model, "able")
        self.assertEqual(self.asked(max_tokens=800).model, "able")

    def test_asking_an_unable_llm_is_told(self):
        told = self.asked(metallm={"models": ["plain"]},
                          tools=[{"type": "function", "function": {"name": "f"}}])
        self.assertEqual(told.status, 400)
        self.assertIn("tools", told.json()["error"]["message"])


class Modes(GatewayTest):
    def test_observe_never_routes_and_records_what_it_would_have_done(self):
        gateway = self.pair(router={"mode": "observe", "fallback": "big", "dial": 100.0})
        for _ in range(5):
            told = gateway.chat()
            self.assertEqual(told.model, "big")
        record = self.decided(gateway, told.decision)
        self.assertEqual(record["model"], "big")
        self.assertIn("small", json.dumps({k: v for k, v in record.items() if k != "estimates"}),
                      "what it would have done")

    def test_a_session_stays_with_its_llm_where_a_change_costs_more_than_it_gains(self):
        made = [self.upstream(name) for name in ("a", "b")]
        for upstream in made:
            upstream.behave = up.well(usage=(3000, 10))
        gateway = self.gateway({
            "models": [model(n, u) | {"price": {"input": 10, "output": 30, "cached_input": 1}}
                       for n, u in zip("ab", made)],
            "routers": [{"name": "auto", "mode": "online", "policy": "thompson", "dial": 5.0,
                         "seed": 4, "explore": {"share": 0, "newcomer": 0}}]})
        apart = {gateway.chat(f"question {i}").model for i in range(20)}
        self.assertEqual(apart, {"a", "b"}, "without a session it varies")
        turns, seen = [], []
        for turn in range(6):
            turns.append({"role": "user", "content": f"turn {turn} " + "context " * 400})
            told = gateway.post("/v1/chat/completions", {
                "model": "auto", "messages": turns, "metallm": {"session": "s1"}})
            seen.append(told.model)
            turns.append({"role": "assistant", "content": told.text()})
        self.assertEqual(len(set(seen)), 1, seen)

    def test_exploration_has_its_share_and_a_propensity(self):
        gateway = self.pair(router={"mode": "hybrid", "dial": 100.0, "explore": {
            "share": 0.2, "cap": 0.2}})
        told = [gateway.chat(f"question {i}") for i in range(300)]
        big = sum(t.model == "big" for t in told) / 300
        self.assertTrue(0.04 <= big <= 0.25, big)
        rare = next(t for t in told if t.model == "big")
        record = self.decided(gateway, rare.decision)
        self.assertTrue(0.01 <= record["propensity"] <= 0.25, record["propensity"])


class Fallback(GatewayTest):
    def test_a_failing_llm_is_left_for_the_next_best_by_the_routers_order(self):
        gateway = self.pair(router={"dial": 100.0})
        self.small.behave = up.says(500)
        told = gateway.chat()
        self.assertEqual((told.status, told.model), (200, "big"))
        record = self.decided(gateway, told.decision)
        self.assertEqual(record["model"], "big")
        wait_for(lambda: any("small" in dict(labels).values() and v > 0 and "attempt" in name
                             for (name, labels), v in gateway.metrics().items()))

    def test_a_named_llm_has_no_other_to_fall_back_on(self):
        gateway = self.pair()
        self.small.behave = up.says(500)
        told = gateway.chat(model="small")
        self.assertIn(told.status, (500, 502))
        self.assertEqual(self.big.requests, [])

    def test_deployments_share_by_weight_and_stand_in_for_each_other(self):
        first, second = self.upstream("m"), self.upstream("m")
        gateway = self.gateway({"models": [{
            "name": "m", "price": {"input": 1, "output": 1}, "deployments": [
                {"name": "a", "base_url": first.url, "api_key": secret(first.key), "weight": 3,
                 "model": "m-upstream"},
                {"name": "b", "base_url": second.url, "api_key": secret(second.key), "weight": 1,
                 "model": "m-upstream"}]}]})
        for i in range(120):
            self.assertEqual(gateway.chat(f"q{i}", model="m").status, 200)
        self.assertTrue(0.6 < len(first.requests) / 120 < 0.9, len(first.requests))
        first.refuse()
        told = [gateway.chat(f"q{i}", model="m").status for i in range(20)]
        self.assertEqual(set(told), {200})


class SlowEncoder(GatewayTest):
    """An endpoint for embeddings that answers at once, until it is told to take its time."""

    def setUp(self):
        super().setUp()
        test = self
        self.delay = 0.0

        class Embeddings(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))["input"]
                time.sleep(test.delay)
                rows = [{"index": i, "embedding": [1.0, len(text) % 7, 0.5, 0.25]}
                        for i, text in enumerate(asked)]
                told = json.dumps({"data": rows, "model": "e"}).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Embeddings)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def tearDown(self):
        super().tearDown()
        self.server.shutdown()
        self.server.server_close()

    def test_routing_waits_for_it_so_long_and_then_goes_on_without(self):
        port = self.server.server_address[1]
        gateway = self.pair(encoder={"name": "remote", "url": f"http://127.0.0.1:{port}/v1",
                                     "model": "e", "timeout_ms": 100})
        first = gateway.chat("a question in time")
        self.assertTrue(self.decided(gateway, first.decision)["has_vector"])
        self.delay = 3.0 * SLOW
        began = time.monotonic()
        told = [gateway.chat(f"a question too late {i}") for i in range(3)]
        self.assertLess(time.monotonic() - began, 2.0 * SLOW)
        self.assertEqual({t.status for t in told}, {200})
        for t in told:
            self.assertFalse(self.decided(gateway, t.decision)["has_vector"])


if __name__ == "__main__":
    unittest.main()
