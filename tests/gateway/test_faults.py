#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong behind the gateway: LLMs, names, the disk. What the client sees of it."""
import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import threading
import time
import unittest

from support import upstream as up
from support.gateway import CHAT, SLOW, GatewayTest, model, raw, wait_for

QUICK = {"connect_ms": 500, "first_token_ms": 400, "idle_ms": 500, "total_ms": 5000}
RETRY = {"backoff_ms": 10, "backoff_max_ms": 50}


async def aborts(_, writer):
    """The connection is reset before a byte of the answer."""
    writer.transport.abort()


FAULTS = {
    "500": up.says(500), "502": up.says(502), "503": up.says(503),
    "429": up.says(429),
    "408": up.says(408), "401 of our key": up.says(401, "wrong key"),
    "a reset": aborts,
    "a hang": up.hangs(),
    "nothing, closed": up.sends(b""),
    "garbage": up.sends(b"\x00\x01garbage\r\n\r\n" * 20),
    "HTTP with a broken head": up.sends(b"HTTP/1.1 200 OK\r\nContent-Length : x\r\n\r\n"),
    "two lengths": up.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    "a head without end": up.sends(b"HTTP/1.1 200 OK\r\nX-A: " + b"b" * 2_000_000),
    "half a body": up.sends(up.head(length=1000) + b'{"id": "chatcm'),
    "half a chunk": up.half_chunk(),
    "a body that is no JSON": up.sends(up.head(length=5) + b"hello"),
    "a web page": up.sends(up.head(200, content_type="text/html", length=13) + b"<html></html>"),
    "an empty stream": up.sends(up.head(content_type="text/event-stream") + b"0\r\n\r\n"),
    "a redirect": up.sends(up.head(302, "Found", length=0, extra=[("Location", "http://h/")])),
}


class OneFault(GatewayTest):
    def setUp(self):
        super().setUp()
        self.metallm = None

    def faulty(self, **more):
        """The cheap one is asked first, and is not well; the other is."""
        self.big, self.small = self.upstream("big"), self.upstream("small")
        return self.gateway({
            "models": [model("big", self.big, (10, 30)),
                       model("small", self.small, (0.1, 0.3), timeouts=QUICK)],
            "upstream": {**RETRY, "breaker": {"failures": 1000, "rate": 1.0}},
            "routers": [{"name": "auto", "policy": "greedy", "dial": 100.0,
                         "explore": {"share": 0, "newcomer": 0}}], **more})

    def recover(self, gateway, fault):
        """A good answer, so that no breaker opens, then the fault."""
        self.small.behave = up.well()
        self.assertEqual(gateway.chat(model="small").status, 200)
        self.small.behave = fault

    def test_another_llm_answers_whatever_the_fault_and_no_client_sees_it(self):
        gateway = self.faulty()
        for name, fault in FAULTS.items():
            for stream in (False, True):
                with self.subTest(name, stream=stream):
                    self.recover(gateway, fault)
                    began = time.monotonic()
                    told = gateway.chat(stream=stream)
                    self.assertEqual((told.status, told.model), (200, "big"), told.body[:300])
                    self.assertEqual(told.text(), "Vienna.")
                    self.assertLess(time.monotonic() - began, 3 * SLOW)

    def test_alone_it_is_told_with_a_fitting_status(self):
        gateway = self.faulty()
        for name, fault in FAULTS.items():
            for stream in (False, True):
                with self.subTest(name, stream=stream):
                    self.recover(gateway, fault)
                    told = gateway.chat(model="small", stream=stream)
                    self.assertIn(told.status, {
                        "429": (429,), "a hang": (504,), "503": (502, 503),
                        "500": (500, 502)}.get(name, (502, 503, 504)), told.body[:300])
                    self.assertIn("message", told.json()["error"])
                    self.assertNotIn(b"wrong key", told.body)

    def test_a_long_retry_after_is_believed_and_passed_on(self):
        gateway = self.faulty()
        self.small.behave = up.says(429, extra=[("Retry-After", "30")])
        told = gateway.chat(model="small")
        self.assertEqual(told.status, 429)
        self.assertTrue(1 <= int(told.header("retry-after")) <= 30)
        for _ in range(5):
            self.assertEqual(gateway.chat().model, "big")
        self.assertLessEqual(len(self.small.requests), 2, "it was asked although it said when")

    def test_an_upstream_that_refuses_connections(self):
        gateway = self.faulty()
        self.small.refuse()
        told = gateway.chat()
        self.assertEqual((told.status, told.model), (200, "big"))
        self.assertEqual(gateway.chat(model="small").status, 502)
        self.small.listen()
        wait_for(lambda: gateway.chat().model == "small", what="it is used again")

    def test_a_clients_own_mistake_is_passed_on_as_it_is_and_tried_once(self):
        gateway = self.faulty()
        self.small.behave = up.says(422, "bad tool", "invalid_tool")
        told = gateway.chat()
        self.assertEqual((told.status, told.json()["error"]["code"]), (422, "invalid_tool"))
        self.assertEqual((len(self.small.requests), len(self.big.requests)), (1, 0))

    def test_a_stream_that_dies_midway_is_told_in_the_stream_and_not_begun_again(self):
        gateway = self.faulty()
        for fault in (up.dies(after=3),):
            self.small.behave = fault
            self.big.forget()
            body = json.dumps({"model": "auto", "stream": True, "messages": [
                {"role": "user", "content": "q"}]})
            told = raw(gateway.port, (f"POST {CHAT} HTTP/1.1\r\nHost: h\r\nContent-Length: "
                                      f"{len(body)}\r\n\r\n{body}").encode())
            self.assertIn(b'"content": "V"', told)
            self.assertIn(b'data: {"error":', told)
            self.assertNotIn(b"[DONE]", told)
            self.assertFalse(told.endswith(b"0\r\n\r\n"), "it looks like a whole answer")
            self.assertEqual(self.big.requests, [])

    def test_a_stream_that_hangs_midway_is_ended(self):
        gateway = self.faulty()

        async def behave(seen, writer):
            pieces = up.pieces_of(seen)
            await up.send(writer, up.head(content_type="text/event-stream")
                          + up.chunk(next(pieces)) + up.chunk(next(pieces)))
            await up.hangs()(seen, writer)
        self.small.behave = behave
        began = time.monotonic()
        with contextlib.suppress(Exception):
            self.assertNotIn(b"[DONE]", gateway.chat(stream=True).body)
        self.assertLess(time.monotonic() - began, 4 * SLOW)
        wait_for(lambda: hasattr(self.small.requests[-1], "gone"), what="the upstream is let go")

    def test_slow_tokens_are_no_fault(self):
        gateway = self.faulty()
        self.small.behave = up.well(pace=0.1 , count=8)
        told = gateway.chat(stream=True)
        self.assertEqual((told.model, told.text()), ("small", "Vienna."))

    def test_answers_beyond_the_limit_are_refused(self):
        gateway = self.faulty(upstream={**RETRY, "answer_bytes": 100_000})
        self.small.behave = up.well(text="x" * 200_000)
        self.assertEqual(gateway.chat(model="small").status, 502)
        self.assertEqual(gateway.chat(model="small", stream=True).status, 200)

    def test_a_retry_after_that_is_short_is_waited_for(self):
        gateway = self.faulty()
        self.small.behave = up.in_turn(up.says(429, extra=[("Retry-After", "0")]), up.well())
        self.assertEqual(gateway.chat(model="small").status, 200)


class Breaker(GatewayTest):
    def test_a_deployment_that_fails_is_left_alone_and_comes_back(self):
        big, small = self.upstream("big"), self.upstream("small")
        gateway = self.gateway({
            "models": [model("big", big, (10, 30)), model("small", small, (0.1, 0.3))],
            "upstream": {**RETRY, "breaker": {"failures": 3, "open_ms": 1500}}, "threads": 1,
            "routers": [{"name": "auto", "policy": "greedy", "dial": 100.0,
                         "explore": {"share": 0, "newcomer": 0}}]})
        small.behave = up.says(500)
        for _ in range(20):
            self.assertEqual(gateway.chat().model, "big")
        self.assertLess(len(small.requests), 10, "it was asked although it failed")
        self.assertTrue(any("breaker" in n and v > 0 for (n, _), v in gateway.metrics().items()),
                        "the breaker is shown")
        small.behave = up.well()
        wait_for(lambda: gateway.chat().model == "small", what="it is used again")


class Names(GatewayTest):
    def test_a_name_that_cannot_be_resolved(self):
        big = self.upstream("big")
        gateway = self.gateway({
            "models": [model("big", big, (10, 30)),
                       {"name": "lost", "base_url": "http://no-such-host.invalid:1/v1",
                        "price": {"input": 0.1, "output": 0.1}, "timeouts": QUICK}],
            "upstream": RETRY,
            "routers": [{"name": "auto", "policy": "greedy", "dial": 100.0,
                         "explore": {"share": 0, "newcomer": 0}}]})
        began = time.monotonic()
        told = gateway.chat()
        self.assertEqual((told.status, told.model), (200, "big"))
        self.assertIn(gateway.chat(model="lost").status, (502, 504))
        self.assertLess(time.monotonic() - began, 8 * SLOW)


class TenPercent(GatewayTest):
    def test_with_ten_percent_faults_and_a_second_llm_no_client_sees_an_error(self):
        rng = random.Random(9)
        big, small = self.upstream("big"), self.upstream("small")
        # Of both, whatever passes by itself: the second is faulty, too.
        kinds = [FAULTS[n] for n in ("500", "502", "503", "a reset", "nothing, closed", "garbage",
                                     "two lengths", "half a body", "half a chunk",
                                     "a body that is no JSON", "an empty stream")]

        async def one_of(seen, writer):
            await rng.choice(kinds)(seen, writer)
        big.behave = up.passing(rng, 0.1, one_of)
        small.behave = up.passing(rng, 0.1, one_of)
        gateway = self.gateway({
            "models": [model("big", big, (10, 30)), model("small", small, (0.1, 0.3))],
            "upstream": {**RETRY, "attempts": 6},
            "routers": [{"name": "auto", "mode": "hybrid", "dial": 1.0}]})
        failed, lock = [], threading.Lock()

        def ask(part):
            connection = gateway.connect()
            for i in range(100):
                told = gateway.chat(f"q {part} {i}", connection=connection, stream=i % 2 == 1)
                if told.status != 200 or told.text() != "Vienna.":
                    with lock:
                        failed.append((told.status, told.body[:200]))
            connection.close()
        threads = [threading.Thread(target=ask, args=(p,)) for p in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failed, [])
        self.assertGreater(len(big.requests) + len(small.requests), 610)

    def test_whatever_the_faults_of_one_the_other_answers(self):
        rng = random.Random(10)
        big, small = self.upstream("big"), self.upstream("small")

        async def one_of(seen, writer):
            await rng.choice([f for n, f in FAULTS.items() if n != "a hang"])(seen, writer)
        small.behave = up.sometimes(rng, 0.1, one_of)
        gateway = self.gateway({
            "models": [model("big", big, (10, 30)), model("small", small, (0.1, 0.3))],
            "upstream": RETRY, "routers": [{"name": "auto", "policy": "greedy", "dial": 100.0,
                                            "explore": {"share": 0, "newcomer": 0}}]})
        connection = gateway.connect()
        for i in range(300):
            told = gateway.chat(f"q {i}", connection=connection, stream=i % 2 == 1)
            self.assertEqual((told.status, told.text()), (200, "Vienna."))
        connection.close()


def can_mount(folder):
    return subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder],
                          capture_output=True, check=False).returncode == 0


class FullDisk(GatewayTest):
    def stays_up(self, gateway, free):
        """Requests are answered while nothing can be written; feedback is not acknowledged."""
        refused = None
        for i in range(3000):
            told = gateway.chat(f"question {i}")
            self.assertEqual(told.status, 200, "a full disk made a request fail")
            got = gateway.feedback(told.decision, 1)
            if got.status != 200:
                refused = got
                break
        self.assertIsNotNone(refused, "the disk was never full")
        self.assertIn(refused.status, (500, 503, 507), refused.body)
        self.assertEqual(gateway.chat().status, 200)
        self.assertEqual(gateway.get("/healthz").status, 200)
        if free is None:
            return
        free()
        wait_for(lambda: gateway.feedback(gateway.chat().decision, 1).status == 200,
                 what="feedback is taken again")

    def test_requests_go_on_and_feedback_is_taken_again_when_there_is_room(self):
        place = self.folder / "small"
        place.mkdir()
        if os.geteuid() != 0 or not can_mount(place):
            self.skipTest("a small file system can only be mounted by root")
        self.addCleanup(subprocess.run, ["umount", "-l", str(place)], check=False)
        gateway = self.pair(store=f"sqlite:{place}/metallm.db")
        gateway.feedback(gateway.chat().decision, 1)
        filler = place / "filler"
        with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as out:
            while True:
                out.write(b"x" * 4096)
        self.stays_up(gateway, filler.unlink)

    def test_files_that_may_not_grow(self):
        def limits():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, resource.RLIM_INFINITY))
        gateway = self.pair(start=False)
        gateway.limits = limits
        gateway.start()
        self.stays_up(gateway, None)
        self.assertIn(gateway.stop(), (0, 1))  # 1: what waited could not be written, and is told


class Stopping(GatewayTest):
    def test_a_graceful_stop_finishes_what_was_begun(self):
        gateway = self.pair()
        self.small.behave = up.well(pace=0.15, count=6)
        told = []
        thread = threading.Thread(target=lambda: told.append(gateway.chat(model="small",
                                                                          stream=True)))
        thread.start()
        wait_for(lambda: self.small.requests)
        gateway.process.send_signal(signal.SIGTERM)
        thread.join()
        self.assertEqual(told[0].text(), "Vienna.")
        self.assertEqual(gateway.stop(), 0)

    def test_what_takes_longer_than_the_drain_is_cut(self):
        gateway = self.pair(limits={"drain_ms": 300})
        self.small.behave = up.hangs()

        def ask():
            with contextlib.suppress(Exception):
                gateway.chat(model="small")
        thread = threading.Thread(target=ask)
        thread.start()
        wait_for(lambda: self.small.requests)
        began = time.monotonic()
        self.assertEqual(gateway.stop(), 0)
        self.assertLess(time.monotonic() - began, 5 * SLOW)
        thread.join()

    def test_a_port_that_is_taken_is_told(self):
        import socket
        taken = socket.socket()
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        self.addCleanup(taken.close)
        gateway = self.pair(start=False, listen=f"127.0.0.1:{taken.getsockname()[1]}")
        gateway.start(wait=False)
        self.assertEqual(gateway.process.wait(20 * SLOW), 1)
        self.assertIn(str(taken.getsockname()[1]), gateway.log())
        gateway.process = None


if __name__ == "__main__":
    unittest.main()
