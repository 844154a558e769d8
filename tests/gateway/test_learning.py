#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Feedback: what is acknowledged stays, is counted once, and moves the traffic."""
import collections
import contextlib
import http.client
import json
import random
import sqlite3
import threading
import time
import unittest

from support import upstream as up
from support.gateway import SLOW, GatewayTest, model, wait_for

# Who is right about what: neither LLM is best everywhere.
KINDS = {"sum": {"a": 0.95, "b": 0.1}, "poem": {"a": 0.1, "b": 0.95}}


def prompt_of(kind, rng):
    if kind == "sum":
        return f"What is {rng.randint(10, 99)} + {rng.randint(10, 99)} * {rng.randint(2, 9)}?"
    return f"Write a poem about {rng.choice(['rivers', 'autumn', 'a lost dog', 'the sea'])}."


class Feedback(GatewayTest):
    def feedback_of(self, gateway, decision):
        return wait_for(lambda: self.decided(gateway, decision)["feedback"], what="feedback")

    def test_it_is_taken_repeated_changed_and_refused(self):
        gateway = self.pair()
        told = gateway.chat()
        self.assertEqual(gateway.feedback(told.decision, 1).status, 200)
        self.assertEqual(self.feedback_of(gateway, told.decision)["score"], 1)
        self.assertEqual(gateway.feedback(told.decision, 1).status, 200)  # repeated
        self.assertEqual(gateway.feedback(told.decision, 0.25).status, 200)  # contradictory
        wait_for(lambda: self.feedback_of(gateway, told.decision)["score"] == 0.25)
        for body in ({"decision": told.decision, "score": 1.5}, {"decision": told.decision},
                     {"score": 1}, {"decision": told.decision, "score": "NaN"},
                     {"decision": told.decision, "score": -0.1}):
            self.assertEqual(gateway.post("/v1/feedback", body).status, 400, body)
        for bad in (b'{"decision":"%s","score":NaN}' % told.decision.encode(),
                    b'{"decision":"%s","score":1e999}' % told.decision.encode()):
            self.assertEqual(gateway.post("/v1/feedback", bad).status, 400)
        self.assertEqual(gateway.feedback("dec_" + "A" * 32, 1).status, 404)
        self.assertEqual(gateway.feedback(told.decision[:-1] + "_", 1).status, 404)

    def test_it_is_counted_once_however_often_it_comes(self):
        gateway = self.pair(router={"mode": "hybrid"})
        told = gateway.chat(metallm={"models": ["small"]})
        for _ in range(50):
            self.assertEqual(gateway.feedback(told.decision, 1).status, 200)

        def seen():
            return {v for (name, labels), v in gateway.metrics().items()
                    if "observations" in name and ("llm", "small") in labels}
        wait_for(lambda: seen() == {1.0}, what="one observation")
        time.sleep(0.2)
        self.assertEqual(seen(), {1.0})

    def test_it_may_come_before_the_record_is_durable_and_over_any_connection(self):
        gateway = self.pair()
        connection = gateway.connect()
        for _ in range(50):
            told = gateway.chat(connection=connection)
            self.assertEqual(gateway.feedback(told.decision, 1).status, 200)
        connection.close()

    def test_a_label_is_graded_against_the_answer(self):
        gateway = self.pair(router={"graders": [{"kind": "exact"}]})
        self.small.behave = self.big.behave = up.well(text=" Vienna\n")
        right = gateway.chat(metallm={"label": "Vienna"})
        wrong = gateway.chat(metallm={"label": "Graz"})
        self.assertEqual(self.feedback_of(gateway, right.decision)["score"], 1)
        self.assertEqual(self.feedback_of(gateway, wrong.decision)["score"], 0)

    def test_graders_by_pattern_and_json(self):
        gateway = self.pair(router={"graders": [{"kind": "regex", "pattern": "^[0-9]+$",
                                                 "task": "sums"},
                                                {"kind": "json", "task": "objects"}]})
        self.small.behave = self.big.behave = up.well(text="42")
        told = gateway.chat(metallm={"task": "sums"})
        self.assertEqual(self.feedback_of(gateway, told.decision)["score"], 1)
        self.small.behave = self.big.behave = up.well(text='{"a": [1, 2}')
        told = gateway.chat(metallm={"task": "objects"}, stream=True)
        self.assertEqual(self.feedback_of(gateway, told.decision)["score"], 0)

    def test_an_llm_judges_the_answer_and_a_person_outvotes_it(self):
        gateway = self.pair(router={"models": ["small"], "graders": [
            {"kind": "judge", "model": "big", "share": 1}]})
        self.small.behave = up.well(text="Vienna, of course.")
        self.big.behave = up.well(text="Right and brief.\nSCORE: 8")
        told = gateway.chat("What is the capital of Austria?")
        self.assertEqual(told.model, "small")
        self.assertAlmostEqual(self.feedback_of(gateway, told.decision)["score"], 0.8)
        asked = json.dumps(self.big.requests[-1].json())
        self.assertIn("What is the capital of Austria?", asked)
        self.assertIn("Vienna, of course.", asked)
        self.assertEqual(gateway.feedback(told.decision, 0).status, 200)
        wait_for(lambda: self.feedback_of(gateway, told.decision)["score"] == 0)
        self.big.behave = up.well(text="I would rather not say.")  # no verdict is no score
        told = gateway.chat("And of Italy?")
        time.sleep(0.5 * SLOW)
        self.assertIsNone(self.decided(gateway, told.decision)["feedback"])


class Learning(GatewayTest):
    def two(self, **router):
        self.made = {name: self.upstream(name) for name in ("a", "b")}
        for name, made in self.made.items():
            made.behave = up.well(text=name)
        return self.gateway({
            "models": [model(n, u, (1, 1)) for n, u in self.made.items()],
            "routers": [{"name": "auto", "mode": "online", "dial": 0.0, "seed": 5,
                         "explore": {"share": 0.1, "cap": 0.1}, **router}]})

    def teach(self, gateway, count, rng, connection, chances=None):
        """The share of requests that went to the better LLM."""
        good = 0
        for _ in range(count):
            kind = rng.choice(list(KINDS))
            told = gateway.chat(prompt_of(kind, rng), connection=connection)
            chance = (chances or KINDS)[kind]
            good += told.model == max(chance, key=chance.get)
            gateway.feedback(told.decision, int(rng.random() < chance[told.model]),
                             connection=connection)
        return good / count

    def test_feedback_moves_each_kind_to_the_llm_that_is_good_at_it(self):
        gateway, rng = self.two(), random.Random(1)
        connection = gateway.connect()
        before = self.teach(gateway, 40, rng, connection)
        self.teach(gateway, 300, rng, connection)
        after = self.teach(gateway, 100, rng, connection)
        self.assertGreater(after, 0.8, (before, after))

    def test_a_change_of_quality_is_noticed(self):
        gateway, rng = self.two(explore={"share": 0.2, "cap": 0.2}), random.Random(2)
        connection = gateway.connect()
        self.teach(gateway, 250, rng, connection)
        turned = {"sum": KINDS["poem"], "poem": KINDS["sum"]}
        self.teach(gateway, 500, rng, connection, turned)
        self.assertGreater(self.teach(gateway, 100, rng, connection, turned), 0.6)

    def test_after_a_restart_every_estimate_is_what_it_was(self):
        gateway, rng = self.two(), random.Random(3)
        connection = gateway.connect()
        self.teach(gateway, 150, rng, connection)
        connection.close()
        asked = [{"model": "auto", "messages": [{"role": "user", "content": prompt_of(k, rng)}]}
                 for k in ("sum", "poem") for _ in range(5)]

        def believed():
            return [gateway.post("/v1/route", a).json()["estimates"] for a in asked]
        wait_for(lambda: believed() == (time.sleep(0.3), believed())[1], what="learning is done")
        before = believed()
        gateway.stop()
        gateway.start()
        self.assertEqual(believed(), before)
        gateway.kill()
        gateway.start()
        self.assertEqual(believed(), before)

    def test_absurd_feedback_poisons_nothing(self):
        gateway, rng = self.two(), random.Random(4)
        connection = gateway.connect()
        told = gateway.chat(connection=connection)
        for body in (b'{"decision":"%s","score":1e308}', b'{"decision":"%s","score":-1e308}',
                     b'{"decision":"%s","score":null}', b'{"decision":"%s","score":[1]}'):
            self.assertEqual(gateway.post("/v1/feedback", body % told.decision.encode(),
                                          connection=connection).status, 400)
        self.teach(gateway, 250, rng, connection)
        self.assertGreater(self.teach(gateway, 60, rng, connection), 0.7)


class Killed(GatewayTest):
    """kill -9 at random moments under load: what was acknowledged is there, and none twice."""

    def test_what_was_acknowledged_survives(self):
        gateway = self.pair(router={"mode": "hybrid"})
        rng, acknowledged = random.Random(11), {}
        total = 0
        for round_ in range(4):
            connection = gateway.connect()
            decisions = [gateway.chat(f"q {i}", connection=connection).decision
                         for i in range(250)]
            connection.close()
            total += len(decisions)
            waiting = collections.deque(decisions)
            lock = threading.Lock()

            def send(gateway=gateway, waiting=waiting, lock=lock):
                connection = gateway.connect()
                with contextlib.suppress(OSError, http.client.HTTPException):
                    while True:
                        with lock:
                            if not waiting:
                                return
                            decision = waiting.popleft()
                            score = round(rng.random(), 3)
                        if gateway.feedback(decision, score, connection=connection).status == 200:
                            with lock:
                                acknowledged[decision] = score
            threads = [threading.Thread(target=send) for _ in range(16)]
            for thread in threads:
                thread.start()
            time.sleep(rng.random() * 0.12 * SLOW)
            gateway.kill()
            for thread in threads:
                thread.join()
            gateway.start()
        self.assertGreater(len(acknowledged), 50)
        connection = gateway.connect()
        for decision, score in acknowledged.items():
            got = gateway.request("GET", f"/v1/decisions/{decision}", connection=connection)
            self.assertEqual(got.status, 200, decision)
            self.assertAlmostEqual(got.json()["feedback"]["score"], score, 6)
        connection.close()
        gateway.stop()
        with sqlite3.connect(self.folder / "metallm.db") as store:
            self.assertEqual(store.execute("pragma integrity_check").fetchone()[0], "ok")

    def test_decisions_whose_answer_was_sent_are_there_once_feedback_was_acknowledged(self):
        gateway = self.pair()
        told = gateway.chat("survives?")
        self.assertEqual(gateway.feedback(told.decision, 1).status, 200)
        gateway.kill()
        gateway.start()
        record = gateway.get(f"/v1/decisions/{told.decision}")
        self.assertEqual(record.status, 200)
        self.assertEqual(record.json()["feedback"]["score"], 1)
        self.assertEqual(record.json()["model"], told.model)


if __name__ == "__main__":
    unittest.main()
