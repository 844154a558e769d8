#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What goes in and comes out: bytes that pass through, headers, errors, records, metrics, the log."""
import json
import math
import socket
import sqlite3
import unittest

from support import upstream as up
from support.gateway import CHAT, SLOW, GatewayTest, model, raw, wait_for

ODD = (b'{ "seed":12345678901234567890 , "temperature":1.0e-1,"messages" : [ {"role":"user",'
       b'"content":"caf\\u00e9 \xc3\xa9 \\/ \\ud83d\\ude00","x":[1,2.50,null,{"a":{}}]} ],'
       b'"tools":[{"type":"function","function":{"name":"f","parameters":{"model":"auto",'
       b'"metallm":{"dial":3}}}}],"model" : "auto","unknown_field":{"model":"auto","n":1.00},'
       b'"user":"u\\"model\\":\\"auto\\"" }')


class PassThrough(GatewayTest):
    def test_every_byte_but_the_model_is_the_clients(self):
        gateway = self.pair(router={"models": ["big"]})
        self.assertEqual(gateway.post(CHAT, ODD).status, 200)
        self.assertEqual(self.big.requests[-1].body,
                         ODD.replace(b'"model" : "auto"', b'"model" : "big-upstream"', 1))

    def test_our_own_member_is_taken_out_and_nothing_else(self):
        gateway = self.pair()
        hints = b'"metallm" : {"models":["small"],"task":"t","dial":0.5}'
        for before, after in ((b'{%s, "model":"auto","messages":[]}' % hints,
                               {"model": "small-upstream", "messages": []}),
                              (b'{"model":"auto",%s ,"messages":[]}' % hints,
                               {"model": "small-upstream", "messages": []}),
                              (b'{"model":"auto","messages":[] , %s}' % hints,
                               {"model": "small-upstream", "messages": []})):
            before = before.replace(b"[]}", b'[{"role":"user","content":"q"}]}').replace(
                b"[] ,", b'[{"role":"user","content":"q"}] ,')
            after = dict(after, messages=[{"role": "user", "content": "q"}])
            self.assertEqual(gateway.post(CHAT, before).status, 200, before)
            self.assertEqual(self.small.requests[-1].json(), after)

    def test_the_answer_comes_back_byte_for_byte(self):
        gateway = self.pair()
        body = ('{"id":"x","object":"chat.completion","created":1,"model":"small-upstream",'
                '"choices":[{"index":0,"message":{"role":"assistant","content":"é \\u00e9"},'
                '"finish_reason":"stop"}],"odd":[1.50,1e3],"usage":{"prompt_tokens":3,'
                '"completion_tokens":1,"total_tokens":4}}').encode()
        self.small.behave = up.sends(up.head(length=len(body), extra=[("X-Own", "1")]) + body)
        self.assertEqual(gateway.chat(model="small").body, body)

    def test_a_stream_comes_back_event_for_event(self):
        gateway = self.pair()
        told = gateway.chat(model="small", stream=True)
        self.assertEqual(told.header("content-type").split(";")[0], "text/event-stream")
        sent = list(up.pieces_of(self.small.requests[-1]))
        self.assertTrue(told.body.endswith(b"data: [DONE]\n\n"))
        for piece in sent:
            if b'"usage"' not in piece:
                self.assertIn(piece, told.body)
        self.assertTrue(self.small.requests[-1].json()["stream_options"]["include_usage"])
        self.assertNotIn(b'"usage"', told.body.replace(b'"usage":null', b""))

    def test_a_stream_that_asked_for_usage_gets_it_with_the_cost(self):
        told = self.pair().chat(model="big", stream=True, stream_options={"include_usage": True})
        usage = [e for e in told.events() if e.get("usage")][-1]
        self.assertEqual(usage["usage"]["total_tokens"], 12)
        self.assertIn(b"cost", told.body)

    def test_odd_pieces_of_a_stream(self):
        """Comments, CR LF, several lines of data, events cut anywhere, an unknown event."""
        gateway = self.pair()
        chunk = json.dumps({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
                            "choices": [{"index": 0, "delta": {"content": "né"},
                                         "finish_reason": None}]}, ensure_ascii=False)
        text = (f": comment\r\n\r\ndata: {chunk}\r\n\r\nevent: odd\ndata: {{}}\n\n"
                f"data:{chunk}\n\ndata: [DONE]\n\n").encode()

        async def behave(_, writer):
            await up.send(writer, up.head(content_type="text/event-stream; charset=utf-8"))
            for i in range(len(text)):
                await up.send(writer, up.chunk(text[i:i + 1]))
            await up.send(writer, b"0\r\n\r\n")
        self.small.behave = behave
        body = gateway.chat(model="small", stream=True).body.decode()
        self.assertEqual(body.count("né"), 2)
        self.assertIn("event: odd", body)

    def test_compressed_answers_are_not_asked_for(self):
        gateway = self.pair()
        gateway.chat(headers={"Accept-Encoding": "gzip, br"}, model="small")
        self.assertIn(self.small.requests[-1].header("accept-encoding"), (None, "identity"))

    def test_the_clients_credentials_stay_here(self):
        gateway = self.pair()
        gateway.chat(model="small", headers={"Authorization": "Bearer sk-client", "Cookie": "c=1",
                                             "X-Api-Key": "k"})
        sent = json.dumps(self.small.requests[-1].headers)
        self.assertNotIn("sk-client", sent)
        self.assertNotIn("c=1", sent)

    def test_a_trace_is_passed_on_with_a_span_of_its_own(self):
        gateway = self.pair()
        trace = "0af7651916cd43dd8448eb211c80319c"
        gateway.chat(model="small", headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
        sent = self.small.requests[-1].header("traceparent").split("-")
        self.assertEqual((sent[1], sent[3]), (trace, "01"))
        self.assertNotEqual(sent[2], "b7ad6b7169203331")

    def test_large_bodies_both_ways(self):
        gateway = self.pair()
        self.small.behave = up.well(text="y" * 3_000_000)
        told = gateway.chat("x" * 2_000_000, model="small")
        self.assertEqual(len(told.text()), 3_000_000)
        self.assertEqual(len(self.small.requests[-1].json()["messages"][0]["content"]), 2_000_000)

    def test_chunked_requests_and_expect_100(self):
        gateway = self.pair()
        body = json.dumps({"model": "small", "messages": [{"role": "user", "content": "q"}]})
        cut = len(body) // 2
        chunks = "".join(f"{len(p):x};ext=1\r\n{p}\r\n" for p in (body[:cut], body[cut:]))
        got = raw(gateway.port, (f"POST {CHAT} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
                                 f"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
                                 f"\r\n{chunks}0\r\n\r\n").encode())
        self.assertTrue(got.startswith(b"HTTP/1.1 200"), got[:200])
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10 * SLOW) as s:
            s.sendall((f"POST {CHAT} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                       f"Content-Length: {len(body)}\r\n\r\n").encode())
            self.assertTrue(s.recv(4096).startswith(b"HTTP/1.1 100 Continue\r\n\r\n"))
            s.sendall(body.encode())
            self.assertTrue(s.recv(65536).startswith(b"HTTP/1.1 200"))

    def test_many_requests_on_one_connection(self):
        gateway = self.pair()
        connection = gateway.connect()
        for i in range(50):
            told = gateway.chat(f"question {i}", connection=connection, stream=i % 2 == 1)
            self.assertEqual(told.text(), "Vienna.")
        connection.close()
        self.assertLessEqual(self.big.connections + self.small.connections, 4)

    def test_pipelined_requests_are_answered_in_order(self):
        gateway = self.pair()
        self.small.behave = up.well(text=lambda seen: seen.json()["messages"][0]["content"])
        both = b""
        for i, last in ((1, False), (2, True)):
            body = json.dumps({"model": "small", "messages": [
                {"role": "user", "content": f"echo-{i}"}]}).encode()
            both += (f"POST {CHAT} HTTP/1.1\r\nHost: h\r\n"
                     f"Connection: {'close' if last else 'keep-alive'}\r\n"
                     f"Content-Length: {len(body)}\r\n\r\n").encode() + body
        got = raw(gateway.port, both)
        self.assertEqual(got.count(b"HTTP/1.1 200"), 2)
        self.assertLess(got.index(b"echo-1"), got.index(b"echo-2"))


class Errors(GatewayTest):
    def error(self, told, status):
        self.assertEqual(told.status, status, told.body)
        error = told.json()["error"]
        self.assertLessEqual({"message", "type", "param", "code"}, set(error))
        self.assertTrue(error["message"])
        return error

    def test_bad_requests_name_what_is_wrong(self):
        gateway = self.pair()
        for body, status, word in (
                (b"", 400, None), (b"{", 400, None), (b"[]", 400, None), (b"nul", 400, None),
                (b'{"messages":[{"role":"user","content":"q"}]}', 400, "model"),
                (b'{"model":3,"messages":[{"role":"user","content":"q"}]}', 400, "model"),
                (b'{"model":"auto"}', 400, "messages"),
                (b'{"model":"auto","model":"big","messages":[]}', 400, "model"),
                (b'{"model":"auto","messages":[{"role":"user","content":"q"}],"stream":"yes"}', 400,
                 "stream"),
                (b'{"model":"auto","messages":[{"role":"user","content":"q"}],'
                 b'"metallm":{"target":7}}', 400, "target"),
                (b'{"model":"auto","messages":[{"role":"user","content":"q"}],'
                 b'"metallm":{"nonsense":7}}', 400, "max_cost_usd"),
                (b'{"model":"auto","messages":[{"role":"user","content":"q"}],'
                 b'"metallm":{"models":["nobody"]}}', 400, "no_model_fits"),
                (b'{"model":"none","messages":[{"role":"user","content":"q"}]}', 404, "none"),
                (b'{"model":"auto","messages":"\xff\xfe"}', 400, None),
                (b'{"a":' * 2000 + b"1" + b"}" * 2000, 413, None)):
            error = self.error(gateway.post(CHAT, body), status)
            if word:
                self.assertIn(word, json.dumps(error), body)
        self.assertEqual(self.big.requests + self.small.requests, [])

    def test_unknown_paths_and_methods(self):
        gateway = self.pair()
        self.error(gateway.get("/v1/nothing"), 404)
        told = gateway.get(CHAT)
        self.error(told, 405)
        self.assertIn("POST", told.header("allow"))
        self.error(gateway.get("/v1/decisions/dec_" + "A" * 32), 404)
        self.error(gateway.request("DELETE", "/v1/models"), 405)

    def test_bodies_beyond_the_limit_are_refused_without_reading_them(self):
        gateway = self.pair(limits={"body_bytes": 4096})
        self.error(gateway.chat("x" * 5000), 413)
        got = raw(gateway.port, f"POST {CHAT} HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999\r\n"
                                f"\r\n".encode())
        self.assertTrue(got.startswith(b"HTTP/1.1 413"), got[:200])

    def test_hints_in_headers_are_checked_too(self):
        gateway = self.pair()
        self.error(gateway.chat(headers={"x-metallm-dial": "nan"}), 400)
        self.error(gateway.chat(headers={"x-metallm-target": "2"}), 400)


class Seen(GatewayTest):
    def test_health_readiness_and_models(self):
        gateway = self.pair()
        self.assertEqual(gateway.get("/healthz").status, 200)
        self.assertEqual(gateway.get("/readyz").status, 200)
        listed = gateway.get("/v1/models").json()
        self.assertEqual(listed["object"], "list")
        self.assertLessEqual({"auto", "big", "small"}, {m["id"] for m in listed["data"]})

    def test_a_decisions_record_has_the_fields_of_the_contract(self):
        gateway = self.pair()
        told = gateway.chat("What is 2 + 2?", metallm={"dial": 0.3, "task": "sums"})
        record = self.decided(gateway, told.decision)
        for name in ("id", "time", "model", "policy_version", "propensity", "estimates",
                     "constraints", "cost_usd", "usage", "latency_ms", "feedback"):
            self.assertIn(name, record)
        self.assertEqual((record["id"], record["model"]), (told.decision, told.model))
        self.assertTrue(0 < record["propensity"] <= 1)
        self.assertEqual({e["model"] for e in record["estimates"]}, {"big", "small"})
        for estimate in record["estimates"]:
            self.assertLessEqual({"quality", "quality_low", "quality_high", "cost_usd",
                                  "latency_ms", "score"}, set(estimate))
            self.assertTrue(estimate["quality_low"] <= estimate["quality"]
                            <= estimate["quality_high"])
        self.assertIsNone(record["feedback"])
        self.assertAlmostEqual(record["constraints"]["dial"], 0.3)
        self.assertGreater(record["cost_usd"], 0)
        self.assertGreater(record["latency_ms"], 0)
        self.assertAlmostEqual(float(told.header("x-metallm-cost-usd")), record["cost_usd"], 9)

    def test_cost_is_usage_times_price_with_cached_tokens_at_theirs(self):
        big = self.upstream("big", behave=up.well(usage=(1000, 100, 400)))
        gateway = self.gateway({"models": [model("big", big, price=(0, 0)) | {
            "price": {"input": 10, "output": 30, "cached_input": 1}}]})
        expected = (600 * 10 + 400 * 1 + 100 * 30) / 1e6
        told = gateway.chat(model="big")
        self.assertAlmostEqual(float(told.header("x-metallm-cost-usd")), expected, 9)
        streamed = gateway.chat(model="big", stream=True, stream_options={"include_usage": True})
        record = self.decided(gateway, streamed.decision)
        self.assertAlmostEqual(record["cost_usd"], expected, 9)

    def test_usage_that_is_not_told_is_estimated_and_marked_so(self):
        gateway = self.pair()
        self.small.behave = up.well(text="word " * 40, usage=None)
        for stream in (False, True):
            told = gateway.chat("hello " * 40, model="small", stream=stream)
            record = self.decided(gateway, told.decision)
            self.assertTrue(record["usage"]["is_estimated"], record["usage"])
            self.assertGreater(record["cost_usd"], 0)

    def test_route_tells_the_decision_that_a_request_would_get(self):
        gateway = self.pair()
        for text in ("What is 2 + 2?", "Write a poem about rivers."):
            asked = {"model": "auto", "messages": [{"role": "user", "content": text}]}
            alone = gateway.post("/v1/route", asked).json()
            told = gateway.post(CHAT, asked)
            self.assertEqual(alone["model"], told.model)
        self.assertEqual(len(self.big.requests) + len(self.small.requests), 2)

    def test_metrics_count_what_happened(self):
        gateway = self.pair()
        for _ in range(5):
            gateway.chat(model="small")
        gateway.chat(model="nobody")
        metrics = wait_for(lambda: (m := gateway.metrics()) and any(
            v >= 5 for (name, labels), v in m.items()
            if "tokens" in name and ("llm", "small") in labels) and m, what="tokens are counted")
        self.assertTrue(all(name.startswith("metallm_") or name.startswith("process_")
                            for name, _ in metrics), {n for n, _ in metrics})
        self.assertTrue(all(not math.isnan(v) or "quality" in n for (n, _), v in metrics.items()))

    def test_the_status_page_is_one_plain_page(self):
        gateway = self.pair()
        gateway.chat(model="small")
        told = gateway.get("/")
        self.assertEqual(told.status, 200)
        self.assertIn("text/html", told.header("content-type"))
        self.assertIn(b"small", told.body)
        self.assertNotIn(b"http://", told.body.replace(self.small.url.encode(), b""))


class Secrets(GatewayTest):
    PROMPT, ANSWER = "prompt-canary-6f1c", "answer-canary-77ab"
    CLIENT, UPSTREAM = "client-canary-90aa", "sk-upstream-canary"

    def test_no_prompt_answer_or_key_in_log_metrics_pages_or_store(self):
        gateway = self.pair(log={"level": "debug", "requests": "all"})
        self.small.behave = self.big.behave = up.well(text=self.ANSWER)
        headers = {"Authorization": f"Bearer {self.CLIENT}"}
        told = gateway.chat(self.PROMPT, headers=headers)
        gateway.chat(self.PROMPT, headers=headers, stream=True)
        gateway.chat(self.PROMPT, headers=headers, model="nobody")
        gateway.post(CHAT, b'{"model": "auto", "messages": "%s"}' % self.PROMPT.encode(), headers)
        self.small.behave = self.big.behave = up.says(401, f"wrong key {self.UPSTREAM}")
        refused = gateway.chat(self.PROMPT, headers=headers)
        self.small.behave = self.big.behave = up.sends(b"garbage " + self.ANSWER.encode())
        gateway.chat(self.PROMPT, headers=headers)
        self.decided(gateway, told.decision)
        gateway.feedback(told.decision, 1)
        shown = {"metrics": gateway.get("/metrics").body, "page": gateway.get("/").body,
                 "decision": gateway.get(f"/v1/decisions/{told.decision}").body,
                 "admin": gateway.get("/admin/llms").body, "refused": refused.body}
        gateway.stop()
        shown["log"] = gateway.log().encode()
        for path in self.folder.glob("metallm.db*"):
            shown[path.name] = path.read_bytes()
        for where, content in shown.items():
            for canary in (self.PROMPT, self.ANSWER, self.CLIENT, self.UPSTREAM):
                if where == "refused" and canary != self.UPSTREAM:
                    continue
                self.assertNotIn(canary.encode(), content, where)
        self.assertIn(b'"level"', shown["log"])
        for line in gateway.log().splitlines():
            if not line.startswith("metallm: "):
                self.assertIsInstance(json.loads(line), dict)

    def test_secrets_are_read_from_environment_and_file_and_never_told(self):
        small, big = self.upstream("small", key="sk-from-env"), self.upstream("big", key="sk-file")
        (self.folder / "secret").write_text("sk-file\n")
        gateway = self.gateway({"models": [
            {**model("small", small), "api_key": "${SMALL_KEY}"},
            {**model("big", big), "api_key": f"file:{self.folder}/secret"}]},
            environment={"SMALL_KEY": "sk-from-env"})
        self.assertEqual(gateway.chat(model="small").status, 200)
        self.assertEqual(gateway.chat(model="big").status, 200)

    def test_the_store_is_readable_by_its_owner_alone_and_whole(self):
        gateway = self.pair()
        gateway.chat()
        gateway.stop()
        path = self.folder / "metallm.db"
        self.assertEqual(path.stat().st_mode & 0o077, 0)
        with sqlite3.connect(path) as store:
            self.assertEqual(store.execute("pragma integrity_check").fetchone()[0], "ok")


if __name__ == "__main__":
    unittest.main()
