#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""distill, tiered routers and remote embeddings: encoders other than the one that is shipped.

MiniLM's place in the cache folder is taken by a small BERT, so that each run takes moments."""
import csv
import hashlib
import http.server
import json
import math
import os
import tempfile
import threading
import unittest

import tool
from tool import ToolTest, sample_outcomes

import tiny_bert  # noqa: E402  (tests/support, whose path tool adds)


class WithSmallBert(ToolTest):
    """METALLM_CACHE is a folder with a small BERT as minilm, and a corpus of outcomes beside it."""

    @classmethod
    def setUpClass(cls):
        cls.shared = tempfile.TemporaryDirectory()
        cls.cache = os.path.join(cls.shared.name, "cache")
        tiny_bert.write(os.path.join(cls.cache, "minilm"))
        cls.outcomes = os.path.join(cls.shared.name, "outcomes.csv")
        cls.holdout = os.path.join(cls.shared.name, "holdout.csv")
        sample_outcomes.write(cls.outcomes)
        sample_outcomes.write(cls.holdout, count=120, seed=8)
        cls.kept = dict(tool.ENVIRONMENT)
        tool.ENVIRONMENT["METALLM_CACHE"] = cls.cache

    @classmethod
    def tearDownClass(cls):
        tool.ENVIRONMENT.clear()
        tool.ENVIRONMENT.update(cls.kept)
        cls.shared.cleanup()


class Distill(WithSmallBert):
    def test_a_table_is_made_and_then_found(self):
        self.fails("embed", "--encoder", "static", stdin="x\n", told="metallm distill")
        report = self.succeeds_json("distill", self.outcomes, "--dim", 16, "--json")
        self.assertEqual(report["tokens"], len(tiny_bert.vocabulary()))
        self.assertEqual((report["dim"], report["corpus_texts"]), (16, 300))
        self.assertTrue(0 < report["kept"] <= 1)
        rows = [[float(v) for v in line.split()] for line in self.succeeds(
            "embed", "--encoder", "static", stdin="name two rivers\nrivers two name\nhash\n")
            .stdout.splitlines()]
        self.assertEqual([len(r) for r in rows], [16] * 3)
        for row in rows:
            self.assertAlmostEqual(math.fsum(v * v for v in row), 1, places=4)
        self.assertEqual(rows[0], rows[1])  # a sum knows no order
        self.assertNotEqual(rows[0], rows[2])

    def test_the_same_corpus_gives_the_same_bytes(self):
        tables = [self.folder / name for name in ("a", "b")]
        for table, threads in zip(tables, (1, 3), strict=True):
            self.succeeds("distill", self.outcomes, "--dim", 8, "-o", table, "--threads", threads)
        self.assertEqual(tables[0].read_bytes(), tables[1].read_bytes())

    def test_plain_text_is_a_corpus_too(self):
        text = self.folder / "corpus.txt"
        text.write_text("name two rivers\n\nwrite a function\n")
        report = self.succeeds_json("distill", "--text", text, "--dim", 8, "--json",
                                    "-o", self.folder / "table")
        self.assertEqual(report["corpus_texts"], 2)

    def test_what_cannot_be_is_named_and_leaves_no_file(self):
        table = self.folder / "table"
        self.fails("distill", "-o", table, told="corpus", status=2)
        self.fails("distill", self.folder / "none.csv", "-o", table, told="none.csv")
        self.fails("distill", self.outcomes, "--dim", 64, "-o", table, told="64")
        self.fails("distill", self.outcomes, "--weights", self.folder, "-o", table,
                   told=str(self.folder))
        self.assertFalse(table.exists())


class Tiered(WithSmallBert):
    """One tiered router; route, evaluate, replay and select decide by it in the same way."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.table = os.path.join(cls.shared.name, "table.safetensors")
        cls.router = os.path.join(cls.shared.name, "tiered.safetensors")
        for arguments in (["distill", cls.outcomes, "--dim", 8, "-o", cls.table],
                          ["train", cls.outcomes, "--encoder", "tiered", "--weights", cls.table,
                           "--estimator", "linear", "--tier-loss", "0.0005", "-o", cls.router,
                           "--json"]):
            done = tool.run(*arguments)
            if done.returncode != 0:
                raise RuntimeError(done.stderr)
        cls.report = json.loads(done.stdout)

    def evaluation(self, *more):
        return self.succeeds_json("evaluate", self.router, self.holdout, "--weights", self.table,
                                  "--json", "--resamples", 200, *more)

    def test_training_tells_the_margin_and_what_it_loses(self):
        self.assertGreater(self.report["tier_margin"], 0)
        self.assertTrue(0 < self.report["tier_share"] < 1)
        self.assertTrue(0 <= self.report["tier_lost"] <= 0.0005)

    def test_evaluate_tells_the_share_at_each_dial_and_the_loss_at_each_margin(self):
        told = self.evaluation()
        shares = [point["fine_share"] for point in told["curve"]]
        self.assertTrue(all(0 <= s <= 1 for s in shares))
        tiers = told["tiers"]
        self.assertAlmostEqual(tiers["margin"], self.report["tier_margin"], places=6)
        self.assertAlmostEqual(tiers["fine_share"], sum(shares) / len(shares), places=5)
        self.assertAlmostEqual(tiers["aiq"], told["aiq"], places=9)
        by_share = [m["fine_share"] for m in tiers["margins"]]
        self.assertEqual(by_share, sorted(by_share))
        self.assertEqual((by_share[0], by_share[-1]), (0, 1))
        always = tiers["margins"][-1]
        self.assertEqual((always["margin"], always["lost"]), (None, 0))
        self.assertAlmostEqual(tiers["lost"], always["aiq"] - tiers["aiq"], places=9)
        low, high = tiers["lost_ci"]
        self.assertLessEqual(low, high)
        page = self.folder / "page.html"
        text = self.succeeds("evaluate", self.router, self.holdout, "--weights", self.table,
                             "--resamples", 0, "--report", page).stdout
        self.assertIn("cheap first", text)
        self.assertIn('"tiers"', page.read_text())

    def test_a_router_that_always_looks_twice_loses_nothing(self):
        router = self.folder / "r"
        self.succeeds("train", self.outcomes, "--encoder", "tiered", "--weights", self.table,
                      "--estimator", "linear", "--tier-loss", 0, "-o", router)
        told = self.succeeds_json("evaluate", router, self.holdout, "--weights", self.table,
                                  "--json", "--resamples", 0)["tiers"]
        self.assertAlmostEqual(told["lost"], 0, delta=0.01)

    def test_route_decides_as_evaluate_does(self):
        with open(self.holdout, newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        lines = "".join(json.dumps({"prompt": r["prompt"]}) + "\n" for r in rows)
        for dial in (0, self.evaluation()["curve"][10]["dial"]):
            done = self.succeeds("route", self.router, "--weights", self.table, "--dial", dial,
                                 "--json", stdin=lines)
            models = [json.loads(line)["model"] for line in done.stdout.splitlines()]
            quality = sum(float(r[m]) for r, m in zip(rows, models, strict=True)) / len(rows)
            point = min(self.evaluation()["curve"], key=lambda p: abs(p["dial"] - dial))
            self.assertAlmostEqual(point["quality"], quality, places=6)

    def test_replay_and_select_tell_what_needed_the_fine_encoder(self):
        dial = self.evaluation()["curve"][-1]["dial"]
        told = self.succeeds_json("replay", self.router, self.holdout, "--weights", self.table,
                                  "--dial", dial, "--json")
        self.assertTrue(0 <= told["fine_share"] <= 1)
        fixed = self.succeeds_json("replay", self.router, self.holdout, "--weights", self.table,
                                   "--budget", 0.001, "--json")
        self.assertGreaterEqual(fixed["fine_share"], 0)
        chosen = self.succeeds_json("select", self.router, self.holdout, "--weights", self.table,
                                    "--json")
        self.assertIn(chosen["fine_share"], (0, 1))
        self.assertEqual(chosen["fine_share"] == 0,
                         chosen["tier_lead"] >= chosen["tier_margin"])

    def test_another_table_is_refused(self):
        other = self.folder / "other"
        self.succeeds("distill", self.outcomes, "--dim", 4, "-o", other)
        for verb in ("route", "evaluate", "replay"):
            with self.subTest(verb=verb):
                files = [] if verb == "route" else [self.holdout]
                self.fails(verb, self.router, *files, "--weights", other, stdin="x\n",
                           told="needs vectors of 'static-")


class Endpoint(http.server.BaseHTTPRequestHandler):
    """An OpenAI-compatible /v1/embeddings: 12 numbers by the text's hash, last text first."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        server.requests.append((self.path, self.headers.get("Authorization"), asked))
        if server.failures:
            self.send_response(server.failures.pop(0))
            self.send_header("Content-Length", "0")
            self.send_header("Retry-After", "0")
            self.end_headers()
            return
        data = [{"index": i, "embedding": server.vector(text)}
                for i, text in enumerate(asked["input"])]
        body = json.dumps({"data": data[::-1], "model": asked["model"]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def vector_of(text):
    return [byte / 128 - 1 for byte in hashlib.sha256(text.encode()).digest()[:12]]


class Remote(ToolTest):
    KEY = "sk-very-secret-0123456789"

    def setUp(self):
        super().setUp()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
        self.server.requests, self.server.failures, self.server.vector = [], [], vector_of
        thread = threading.Thread(target=self.server.serve_forever)
        thread.start()
        self.addCleanup(lambda: (self.server.shutdown(), thread.join(), self.server.server_close()))
        kept = dict(tool.ENVIRONMENT)
        self.addCleanup(lambda: (tool.ENVIRONMENT.clear(), tool.ENVIRONMENT.update(kept)))
        for name in list(tool.ENVIRONMENT):
            if name.lower().endswith("_proxy"):
                del tool.ENVIRONMENT[name]
        tool.ENVIRONMENT["METALLM_EMBEDDINGS_KEY"] = self.KEY
        self.options = ("--encoder", "remote:tiny",
                        "--weights", f"http://127.0.0.1:{self.server.server_port}/v1")

    def test_vectors_come_in_batches_in_the_order_of_the_texts(self):
        texts = [f"text {i}" for i in range(150)]
        out = self.succeeds("embed", *self.options, stdin="".join(t + "\n" for t in texts)).stdout
        for text, line in zip(texts, out.splitlines(), strict=True):
            want, got = vector_of(text), [float(v) for v in line.split()]
            length = math.sqrt(math.fsum(v * v for v in want))
            for w, g in zip(want, got, strict=True):
                self.assertAlmostEqual(w / length, g, places=5)
        self.assertEqual({path for path, _, _ in self.server.requests}, {"/v1/embeddings"})
        self.assertEqual({key for _, key, _ in self.server.requests}, {"Bearer " + self.KEY})
        self.assertEqual({asked["model"] for _, _, asked in self.server.requests}, {"tiny"})
        self.assertTrue(all(len(asked["input"]) <= 64 for _, _, asked in self.server.requests))

    def test_a_router_is_trained_and_asked(self):
        outcomes, router = self.folder / "o.csv", self.folder / "r.safetensors"
        sample_outcomes.write(outcomes, count=80)
        store = f"sqlite:{self.folder / 'vectors.db'}"
        self.succeeds("train", outcomes, *self.options, "--estimator", "linear", "-o", router,
                      "--store", store)
        lines = json.dumps({"prompt": "What is 3 + 4?"}) + "\n"
        done = self.succeeds("route", router, *self.options[2:], "--json", stdin=lines)
        self.assertIn(json.loads(done.stdout)["model"], sample_outcomes.MODELS)
        before = len(self.server.requests)
        self.succeeds("evaluate", router, outcomes, *self.options, "--store", store, "--resamples", 0)
        self.assertEqual(len(self.server.requests) - before, 1)  # the dimension; vectors are kept

    def test_a_passing_fault_is_tried_again(self):
        self.server.failures = [503, 429]
        self.succeeds("embed", *self.options, stdin="x\n")
        self.assertEqual(len(self.server.requests), 4)

    def test_a_lasting_fault_is_told_without_the_key(self):
        self.server.failures = [401] * 9
        done = self.fails("embed", *self.options, stdin="x\n", told="401")
        self.assertNotIn(self.KEY, done.stderr)
        self.assertEqual(len(self.server.requests), 1)

    def test_an_answer_of_another_shape_is_refused(self):
        wide = [1.0] * 12
        for wrong in ([1.0] * 11, [], ["x"] * 12, [None] * 12):
            with self.subTest(wrong=wrong):
                answers = [wide, wrong]
                self.server.vector = lambda _: answers.pop(0)
                self.fails("embed", *self.options, stdin="x\n", told="metallm: ")

    def test_no_endpoint_is_told(self):
        self.fails("embed", "--encoder", "remote:tiny", "--weights", "http://127.0.0.1:1/v1",
                   stdin="x\n", told="127.0.0.1")
        self.fails("embed", "--encoder", "remote:tiny", "--weights", "file:///etc/passwd",
                   stdin="x\n", told="http")


if __name__ == "__main__":
    unittest.main()
