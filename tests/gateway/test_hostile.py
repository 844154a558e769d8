#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Hostile bytes and hostile clients: smuggling, slow senders and readers, floods of connections."""
import contextlib
import random
import re
import resource
import select
import socket
import time
import unittest

from support import upstream as up
from support.gateway import CHAT, SLOW, GatewayTest, raw, secret, wait_for

BODY = b'{"model":"small","messages":[{"role":"user","content":"q"}]}'
GOOD = (f"POST {CHAT} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(BODY)}\r\nConnection: close\r\n\r\n").encode() + BODY
SMUGGLED = b"GET /healthz?smuggled HTTP/1.1\r\nHost: h\r\n\r\n"


def request(*headers, line=f"POST {CHAT} HTTP/1.1", body=BODY, end="\r\n"):
    return (line + end + "".join(h + end for h in headers) + end).encode("latin-1") + body


# name: (bytes, statuses that are right; after each of them the connection is closed)
HOSTILE = {
    "two lengths": (request("Host: h", f"Content-Length: {len(BODY)}", "Content-Length: 5"), {400}),
    "two equal lengths": (request("Host: h", f"Content-Length: {len(BODY)}",
                                  f"Content-Length: {len(BODY)}"), {400}),
    "a list of lengths": (request("Host: h", f"Content-Length: {len(BODY)}, {len(BODY)}"), {400}),
    "length and chunks": (request("Host: h", f"Content-Length: {len(BODY)}",
                                  "Transfer-Encoding: chunked", body=b"0\r\n\r\n" + SMUGGLED), {400}),
    "chunks and length": (request("Host: h", "Transfer-Encoding: chunked",
                                  "Content-Length: 4", body=b"0\r\n\r\n" + SMUGGLED), {400}),
    "an unknown coding": (request("Host: h", "Transfer-Encoding: xchunked"), {400, 501}),
    "chunked twice": (request("Host: h", "Transfer-Encoding: chunked, chunked",
                              body=b"0\r\n\r\n"), {400, 501}),
    "chunked not last": (request("Host: h", "Transfer-Encoding: chunked, gzip",
                                 body=b"0\r\n\r\n"), {400, 501}),
    "two codings": (request("Host: h", "Transfer-Encoding: chunked", "Transfer-Encoding: identity",
                            body=b"0\r\n\r\n" + SMUGGLED), {400, 501}),
    "a coding with a tab": (request("Host: h", "Transfer-Encoding:\tchunked\x0b",
                                    body=b"0\r\n\r\n" + SMUGGLED), {400, 501}),
    "space before the colon": (request("Host: h", "Content-Length : 5"), {400}),
    "space before coding's colon": (request("Host: h", "Transfer-Encoding : chunked",
                                            body=b"0\r\n\r\n" + SMUGGLED), {400}),
    "a folded header": (request("Host: h", "X-A: b\r\n c", f"Content-Length: {len(BODY)}"), {400}),
    "bare LF": (request("Host: h", f"Content-Length: {len(BODY)}", end="\n"), {400}),
    "a bare LF in a header": (request("Host: h", "X-A: b\nContent-Length: 5"), {400}),
    "a bare CR in a header": (request("Host: h", "X-A: b\rContent-Length: 5"), {400}),
    "a NUL in a header": (request("Host: h", "X-A: b\0c", f"Content-Length: {len(BODY)}"), {400}),
    "a NUL in a name": (request("Host: h", "X\0A: b"), {400}),
    "an empty name": (request("Host: h", ": b"), {400}),
    "no colon": (request("Host: h", "nonsense"), {400}),
    "a negative length": (request("Host: h", "Content-Length: -1"), {400}),
    "a signed length": (request("Host: h", f"Content-Length: +{len(BODY)}"), {400}),
    "a hexadecimal length": (request("Host: h", "Content-Length: 0x10"), {400}),
    "a length beyond 64 bits": (request("Host: h", "Content-Length: 99999999999999999999999"),
                                {400, 413}),
    "an empty length": (request("Host: h", "Content-Length:"), {400}),
    "no host": (request(f"Content-Length: {len(BODY)}"), {400}),
    "two hosts": (request("Host: h", "Host: g", f"Content-Length: {len(BODY)}"), {400}),
    "a chunk size that overflows": (request("Host: h", "Transfer-Encoding: chunked",
                                            body=b"FFFFFFFFFFFFFFFFF\r\nx"), {400, 413}),
    "a negative chunk": (request("Host: h", "Transfer-Encoding: chunked", body=b"-1\r\nx\r\n"), {400}),
    "a chunk without its end": (request("Host: h", "Transfer-Encoding: chunked",
                                        body=b"3\r\nabcde\r\n0\r\n\r\n"), {400}),
    "a chunk size with a bare LF": (request("Host: h", "Transfer-Encoding: chunked",
                                            body=b"3\nabc\r\n0\r\n\r\n"), {400}),
    "a chunk extension that hides": (request("Host: h", "Transfer-Encoding: chunked",
                                             body=b"0;\n\r\n\r\n" + SMUGGLED), {400}),
    "version 2": (request("Host: h", line=f"POST {CHAT} HTTP/2.0"), {400, 505}),
    "version 1.2": (request("Host: h", line=f"POST {CHAT} HTTP/1.2"), {400, 505}),
    "no version": (f"GET {CHAT}\r\n\r\n".encode(), {400, 505}),
    "two spaces": (request("Host: h", line=f"POST  {CHAT} HTTP/1.1"), {400}),
    "an unknown method": (request("Host: h", line=f"BREW {CHAT} HTTP/1.1"), {400, 405, 501}),
    "a connect": (request("Host: h", line="CONNECT h:80 HTTP/1.1", body=b""), {400, 405, 501}),
    "the HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 405, 501, 505}),
    "a TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100, {400}),
    "a control character in the path": (request("Host: h", line="GET /he\x01althz HTTP/1.1",
                                                body=b""), {400}),
    "one huge header": (request("Host: h", "X-A: " + "b" * 200_000), {431}),
    "many headers": (request("Host: h", *[f"X-{i}: b" for i in range(3000)]), {431}),
    "a huge address": (request("Host: h", line="GET /" + "a" * 100_000 + " HTTP/1.1", body=b""),
                       {414, 431}),
    "an expectation nobody can meet": (request("Host: h", "Expect: the-moon",
                                               f"Content-Length: {len(BODY)}"), {417, 200}),
    "an upgrade is ignored": (request("Host: h", "Upgrade: websocket", "Connection: close, upgrade",
                                      f"Content-Length: {len(BODY)}"), {200}),
}


class HostileBytes(GatewayTest):
    def test_each_is_refused_with_its_status_and_nothing_is_smuggled(self):
        gateway = self.pair()
        for name, (data, statuses) in HOSTILE.items():
            with self.subTest(name):
                before = len(self.small.requests)
                got = raw(gateway.port, data, timeout=3)
                self.assertTrue(got.startswith(b"HTTP/1.1 "), (name, got[:100]))
                self.assertIn(int(got[9:12]), statuses, got[:300])
                self.assertEqual(len(re.findall(rb"HTTP/1\.1 \d{3} ", got)), 1,
                                 "one answer, then closed")
                if 200 not in statuses:
                    self.assertEqual(len(self.small.requests), before, "it reached an upstream")
        self.assertTrue(raw(gateway.port, GOOD).startswith(b"HTTP/1.1 200"))

    def test_a_good_request_cut_anywhere_is_answered_alike(self):
        gateway = self.pair()
        for at in range(1, len(GOOD), 7):
            with socket.create_connection(("127.0.0.1", gateway.port), timeout=5 * SLOW) as s:
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                s.sendall(GOOD[:at])
                time.sleep(0.001)
                s.sendall(GOOD[at:])
                self.assertTrue(s.recv(65536).startswith(b"HTTP/1.1 200"), at)

    def test_mutated_requests_do_no_harm(self):
        gateway, rng = self.pair(), random.Random(6)
        for _ in range(300):
            data = bytearray(GOOD)
            for _ in range(rng.randint(1, 6)):
                how, at = rng.randrange(4), rng.randrange(len(data))
                if how == 0:
                    data[at] = rng.randrange(256)
                elif how == 1:
                    del data[at:at + rng.randint(1, 9)]
                elif how == 2:
                    data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 9)))
                else:
                    data[at:at] = rng.choice([b"\r\n", b"\n", b"\r", b"\0", b"Content-Length: 3\r\n",
                                              b"Transfer-Encoding: chunked\r\n", b":", b" "])
            got = raw(gateway.port, bytes(data), timeout=0.3, half_close=True)
            self.assertTrue(got == b"" or got.startswith(b"HTTP/1.1 "), (bytes(data), got[:80]))
        self.assertEqual(gateway.get("/healthz").status, 200)

    def test_mutated_bodies_are_answered_with_an_error_or_passed_on(self):
        gateway, rng = self.pair(), random.Random(7)
        connection = gateway.connect()
        self.small.key = None
        for _ in range(300):
            body = bytearray(BODY)
            for _ in range(rng.randint(1, 4)):
                at = rng.randrange(len(body))
                body[at:at + rng.randint(0, 2)] = rng.choice(
                    [b"\"", b"{", b"}", b"[", b"\\", b"\\u0000", b"\xff", b"\0", b",", b":", b"1e999",
                     b"null", b"\\ud800"])
            self.assertIn(gateway.post(CHAT, bytes(body), connection=connection).status,
                          (200, 400, 404))
        self.small.faults.clear()  # some of the bodies that pass are odd to a strict upstream


class HostileClients(GatewayTest):
    def test_a_slow_sender_is_cut_off(self):
        gateway = self.pair(limits={"header_ms": 400, "body_ms": 500, "idle_ms": 600})

        def drip(start, rest):
            began = time.monotonic()
            with socket.create_connection(("127.0.0.1", gateway.port)) as s:
                s.sendall(start)
                for i in range(200):
                    if select.select([s], [], [], 0.05)[0]:
                        return s.recv(4096), time.monotonic() - began
                    with contextlib.suppress(OSError):
                        s.sendall(rest[i:i + 1])
            return None, 0
        got, after = drip(b"POST /v1/chat", f"/completions HTTP/1.1\r\nX-A: {'a' * 400}".encode())
        self.assertTrue(got == b"" or b" 408 " in got, got)
        self.assertTrue(0.3 < after < 3 * SLOW, after)
        got, after = drip(f"POST {CHAT} HTTP/1.1\r\nHost: h\r\nContent-Length: 500\r\n\r\n".encode(),
                          b'{"model":"' + b"a" * 400)
        self.assertTrue(got == b"" or b" 408 " in got, got)
        self.assertTrue(0.4 < after < 3 * SLOW, after)
        got, after = drip(b"", b"")
        self.assertIn(got, (b"",))
        self.assertTrue(0.4 < after < 4 * SLOW, after)

    def test_a_client_that_hangs_up_ends_the_upstream_call(self):
        gateway = self.pair()
        for stream, behave in ((False, up.hangs()), (True, up.hangs()), (True, up.endless())):
            self.small.behave = behave
            self.small.forget()
            body = BODY if not stream else BODY[:-1] + b',"stream":true}'
            with socket.create_connection(("127.0.0.1", gateway.port)) as s:
                s.sendall(request("Host: h", f"Content-Length: {len(body)}", body=body))
                wait_for(lambda: self.small.requests, what="the call")
                time.sleep(0.05)
            wait_for(lambda: hasattr(self.small.requests[0], "gone"), 5, "the upstream is let go")

    def test_a_slow_reader_holds_bounded_memory_and_the_upstream_back(self):
        gateway = self.pair(limits={"stream_bytes": 65536})
        self.small.behave = up.endless()
        gateway.chat(model="big")
        before = gateway.resident_kb()
        body = BODY[:-1] + b',"stream":true}'
        readers = []
        for _ in range(20):
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            s.connect(("127.0.0.1", gateway.port))
            s.sendall(request("Host: h", f"Content-Length: {len(body)}", body=body))
            readers.append(s)
        wait_for(lambda: len(self.small.requests) == 20)
        # The kernel's buffers fill first, some MB each; then nothing moves any more.
        def sent():
            return [seen.sent for seen in self.small.requests]
        wait_for(lambda: sent() == (time.sleep(0.7), sent())[1], 20, "they are held back")
        grown = gateway.resident_kb() - before
        self.assertLess(grown, 20 * 1024 * (4 if SLOW > 1 else 1), "20 streams of at most 1 MB")
        got = 0
        while got < 2_000_000:
            got += len(readers[0].recv(65536))
        for s in readers:
            s.close()

    def test_ten_thousand_idle_connections(self):
        count = 10_000 if SLOW <= 1 else 2_000
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < count + 500:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (count + 500, count + 500))
            except (ValueError, OSError):
                self.skipTest(f"only {hard} open files are allowed here")
        resource.setrlimit(resource.RLIMIT_NOFILE, (count + 500, max(hard, count + 500)
                           if hard != resource.RLIM_INFINITY else hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE,
                        (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        gateway = self.pair(limits={"connections": count + 100})
        before = gateway.resident_kb()
        held = []
        for i in range(count):
            s = socket.socket()
            s.bind((f"127.0.0.{2 + i // 5000}", 0))
            s.connect(("127.0.0.1", gateway.port))
            held.append(s)
        self.assertEqual(gateway.chat().status, 200)
        each = (gateway.resident_kb() - before) / count
        self.assertLess(each, 8 if SLOW <= 1 else 64, "kB a connection")
        for s in held[::100]:
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        for s in held[::100]:
            self.assertTrue(s.recv(4096).startswith(b"HTTP/1.1 200"))
        for s in held:
            s.close()
        self.assertEqual(gateway.chat().status, 200)

    def test_connections_beyond_the_limits_are_refused(self):
        gateway = self.pair(limits={"connections": 40, "connections_per_address": 10})
        held = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(9)]
        time.sleep(0.1)
        self.assertEqual(gateway.get("/healthz").status, 200)
        more = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(10)]
        time.sleep(0.1)
        got = []
        for s in more:
            s.settimeout(2 * SLOW)
            with contextlib.suppress(OSError):
                s.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                got.append(s.recv(4096))
        self.assertLessEqual(sum(g.startswith(b"HTTP/1.1 200") for g in got), 1)
        for s in held + more:
            s.close()
        wait_for(lambda: gateway.get("/healthz").status == 200, what="room again")

    def test_requests_in_work_beyond_the_limit_get_503_and_retry_after(self):
        gateway = self.pair(limits={"requests": 3})
        self.small.behave = up.hangs()
        held = []
        for _ in range(3):
            s = socket.create_connection(("127.0.0.1", gateway.port))
            s.sendall(request("Host: h", f"Content-Length: {len(BODY)}"))
            held.append(s)
        wait_for(lambda: len(self.small.requests) == 3)
        told = gateway.chat(model="big")
        self.assertEqual(told.status, 503)
        self.assertGreaterEqual(int(told.header("retry-after")), 1)
        for s in held:
            s.close()
        wait_for(lambda: gateway.chat(model="big").status == 200)


class Tls(GatewayTest):
    def test_https_in_and_out(self):
        import ssl
        from support import certificate
        made = certificate.make(self.folder)
        dear = self.upstream("m", tls=made)
        gateway = self.gateway({
            "tls": {"cert": made[0], "key": made[1]}, "upstream": {"ca_file": made[0]},
            "models": [{"name": "m", "base_url": dear.url, "api_key": secret(dear.key),
                        "model": dear.model, "price": {"input": 1, "output": 1}}]}, start=False)
        gateway.scheme, gateway.context = "https", ssl.create_default_context(cafile=made[0])
        gateway.start()
        self.assertEqual(gateway.chat(model="m").text(), "Vienna.")
        self.assertEqual(gateway.chat("x" * 300_000, model="m", stream=True).text(), "Vienna.")
        self.assertEqual(raw(gateway.port, GOOD, timeout=2)[:8] == b"HTTP/1.1", False)

    def test_an_upstream_with_an_unknown_certificate_is_not_believed(self):
        from support import certificate
        dear = self.upstream("m", tls=certificate.make(self.folder))
        gateway = self.gateway({"models": [
            {"name": "m", "base_url": dear.url, "api_key": secret(dear.key), "model": dear.model,
             "price": {"input": 1, "output": 1}}]})
        self.assertEqual(gateway.chat(model="m").status, 502)
        self.assertEqual(dear.requests, [])


if __name__ == "__main__":
    unittest.main()
