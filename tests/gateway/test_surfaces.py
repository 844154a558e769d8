#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One gateway, several surfaces: Responses and Messages beside OpenAI's older ones. What each
client is told, in bytes: errors, lists, counts, costs, headers; and keys that rest or change."""
import json
import os
import threading
import unittest

from support import upstream as up
from support.gateway import CHAT, SLOW, GatewayTest, model, raw, secret, wait_for

MESSAGES, RESPONSES = "/v1/messages", "/v1/responses"
COUNT = MESSAGES + "/count_tokens"
VERSION = {"anthropic-version": "2023-06-01"}

# Each surface's smallest request, and where its answer has the text.
ASKED = {
    CHAT: {"messages": [{"role": "user", "content": "Hello"}]},
    RESPONSES: {"input": "Hello"},
    MESSAGES: {"max_tokens": 50, "messages": [{"role": "user", "content": "Hello"}]},
}


def text_of(path, told):
    if path == MESSAGES:
        return "".join(b["text"] for b in told["content"] if b["type"] == "text")
    if path == RESPONSES:
        return "".join(c["text"] for o in told["output"] if o["type"] == "message"
                       for c in o["content"])
    return told["choices"][0]["message"]["content"]


def events_of(told):
    """[(name, value)] of a stream; the name is None where there is none."""
    found = []
    for block in told.body.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if fields.get("data", "[DONE]") != "[DONE]":
            found.append((fields.get("event"), json.loads(fields["data"])))
    return found


class Anthropic(up.Upstream):
    """An upstream that speaks Anthropic's protocol: its key comes in a header of its own."""

    def check(self, seen):
        if seen.header("x-api-key") != self.key:
            self.faults.append(f"{seen.path}: another key")
        if seen.header("anthropic-version") is None or seen.header("authorization") is not None:
            self.faults.append(f"{seen.path}: headers {seen.headers}")
        if seen.method == "POST" and seen.json().get("model") != self.model:
            self.faults.append(f"{seen.path}: model {seen.json().get('model')!r}")


def anthropic_well(text="Vienna.", usage=(9, 3)):
    """Answers as Anthropic documents it: whole, streamed, or a count."""
    def whole(asked):
        return {"id": "msg_01", "type": "message", "role": "assistant", "model": asked["model"],
                "content": [{"type": "text", "text": text}], "stop_reason": "end_turn",
                "stop_sequence": None,
                "usage": {"input_tokens": usage[0], "output_tokens": usage[1]}}

    def stream(asked):
        begun = {**whole(asked), "content": [], "stop_reason": None}
        yield "message_start", {"message": begun}
        yield "content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}
        for piece in (text[:3], text[3:]):
            yield "content_block_delta", {"index": 0,
                                          "delta": {"type": "text_delta", "text": piece}}
        yield "content_block_stop", {"index": 0}
        yield "message_delta", {"delta": {"stop_reason": "end_turn", "stop_sequence": None},
                                "usage": {"output_tokens": usage[1]}}
        yield "message_stop", {}

    async def behave(seen, writer):
        asked = seen.json()
        if seen.path.endswith("/count_tokens"):
            body = b'{"input_tokens": 4711}'
        elif asked.get("stream"):
            out = up.head(content_type="text/event-stream")
            for name, value in stream(asked):
                out += up.chunk(f"event: {name}\ndata: ".encode()
                                + json.dumps({"type": name, **value}).encode() + b"\n\n")
            await up.send(writer, out + b"0\r\n\r\n")
            return
        else:
            body = json.dumps(whole(asked)).encode()
        await up.send(writer, up.head(length=len(body)) + body)
    return behave


class SurfaceTest(GatewayTest):
    def claude(self, name="claude", **more):
        """(an upstream that speaks Anthropic's protocol, its model of the configuration)"""
        made = Anthropic(model=f"{name}-upstream", key="sk-ant-canary",
                         behave=anthropic_well(**more))
        self.upstreams.append(made)
        return made, model(name, made, (3.0, 15.0), protocol="anthropic")

    def error(self, path, told, status, kind=None):
        """The error that a path's own clients understand."""
        self.assertEqual(told.status, status, told.body)
        body = told.json()
        if path.startswith(MESSAGES):
            self.assertEqual(body["type"], "error", body)
            self.assertTrue(told.header("request-id") or status == 413)
        else:
            self.assertLessEqual({"message", "type", "param", "code"}, set(body["error"]))
        self.assertTrue(body["error"]["message"])
        if kind is not None:
            self.assertEqual(body["error"]["type"], kind, body)
        return body["error"]


class Answers(SurfaceTest):
    def test_each_surface_gets_its_own_answer_from_an_upstream_of_another(self):
        gateway = self.pair()
        for path, asked in ASKED.items():
            told = gateway.post(path, {"model": "small", **asked})
            self.assertEqual(told.status, 200, told.body)
            self.assertEqual(text_of(path, told.json()), "Vienna.")
            self.assertEqual(told.model, "small")
            self.assertAlmostEqual(float(told.header("x-metallm-cost-usd")),
                                   (9 * .1 + 3 * .3) / 1e6)
            self.assertTrue(self.small.requests[-1].path.endswith("/v1/chat/completions"))
            usage = self.decided(gateway, told.decision)["usage"]
            self.assertEqual((usage["input_tokens"], usage["output_tokens"]), (9, 3))

    def test_streams_end_with_usage_and_the_cost_in_it(self):
        gateway = self.pair()
        cost = (9 * 10 + 3 * 30) / 1e6
        told = events_of(gateway.post(MESSAGES, {"model": "big", "stream": True,
                                                 **ASKED[MESSAGES]}))
        self.assertEqual([told[0][0], told[-1][0]], ["message_start", "message_stop"])
        usage = [v for n, v in told if n == "message_delta"][-1]["usage"]
        self.assertEqual(usage["output_tokens"], 3)
        self.assertAlmostEqual(usage["metallm_cost_usd"], cost)
        told = events_of(gateway.post(RESPONSES, {"model": "big", "stream": True,
                                                  **ASKED[RESPONSES]}))
        self.assertEqual([told[0][0], told[-1][0]], ["response.created", "response.completed"])
        usage = told[-1][1]["response"]["usage"]
        self.assertEqual((usage["input_tokens"], usage["output_tokens"]), (9, 3))
        self.assertAlmostEqual(usage["metallm_cost_usd"], cost)
        told = gateway.post(CHAT, {"model": "big", "stream": True, **ASKED[CHAT],
                                   "stream_options": {"include_usage": True}}).events()
        self.assertAlmostEqual(told[-1]["usage"]["metallm_cost_usd"], cost)

    def test_a_tool_named_usage_does_not_take_the_cost(self):
        gateway = self.pair()
        tool = {"type": "function", "name": "f", "parameters": {
            "type": "object", "properties": {"usage": {"type": "object"}}}}
        told = events_of(gateway.post(RESPONSES, {"model": "small", "stream": True, "tools": [tool],
                                                  **ASKED[RESPONSES]}))
        whole = told[-1][1]["response"]
        self.assertIn("metallm_cost_usd", whole["usage"])
        self.assertNotIn("metallm_cost_usd", json.dumps({k: v for k, v in whole.items()
                                                         if k != "usage"}))

    def test_messages_pass_unchanged_to_an_upstream_that_speaks_them(self):
        claude, one = self.claude()
        gateway = self.gateway({"models": [one]})
        body = (b'{ "model":"claude","max_tokens" : 5.0e1,"odd":[1.50],"messages":[{"role":"user",'
                b'"content":[{"type":"text","text":"caf\\u00e9","cache_control":'
                b'{"type":"ephemeral"}}]}] }')
        told = gateway.post(MESSAGES, body, {"anthropic-version": "2026-10-21",
                                             "anthropic-beta": "one,two"})
        self.assertEqual(told.status, 200, told.body)
        sent = claude.requests[-1]
        self.assertEqual(sent.body, body.replace(b'"claude"', b'"claude-upstream"'))
        self.assertEqual((sent.path, sent.header("anthropic-version"),
                          sent.header("anthropic-beta")),
                         ("/v1/messages", "2026-10-21", "one,two"))
        self.assertEqual(told.json()["id"], "msg_01")
        self.assertIsNone(told.header("x-metallm-dropped"))
        streamed = events_of(gateway.post(MESSAGES, {"model": "claude", "stream": True,
                                                     **ASKED[MESSAGES]}))
        usage = [v for n, v in streamed if n == "message_delta"][-1]["usage"]
        self.assertEqual(usage["output_tokens"], 3)
        self.assertAlmostEqual(usage["metallm_cost_usd"], (9 * 3 + 3 * 15) / 1e6)

    def test_responses_pass_unchanged_where_it_is_said_that_the_upstream_serves_them(self):
        small = self.upstream("small")
        gateway = self.gateway({"models": [
            model("small", small, abilities={"responses": True}), model("other", small)]})
        answer = json.dumps({
            "id": "resp_1", "object": "response", "created_at": 1, "status": "completed",
            "model": "small-upstream", "output": [
                {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                 "content": [{"type": "output_text", "text": "Vienna.", "annotations": []}]}],
            "usage": {"input_tokens": 9, "output_tokens": 3, "total_tokens": 12}}).encode()
        small.behave = up.sends(up.head(length=len(answer)) + answer)
        body = b'{"odd":[1.50],"model":"small" , "input":"Hello","metallm":{"task":"t"}}'
        told = gateway.post(RESPONSES, body)
        self.assertEqual((told.status, told.body), (200, answer))
        self.assertEqual((small.requests[-1].path, small.requests[-1].body),
                         ("/v1/responses", b'{"odd":[1.50],"model":"small-upstream" , '
                                           b'"input":"Hello"}'))
        usage = self.decided(gateway, told.decision)["usage"]
        self.assertEqual((usage["input_tokens"], usage["output_tokens"]), (9, 3))
        small.behave = up.well()
        told = gateway.post(RESPONSES, {"model": "other", "input": "Hello"})
        self.assertEqual(told.status, 200, told.body)
        self.assertEqual(small.requests[-1].path, "/v1/chat/completions")

    def test_what_is_dropped_is_told_and_what_is_refused_goes_elsewhere(self):
        claude, one = self.claude()
        small = self.upstream("small")
        gateway = self.gateway({
            "models": [one, model("small", small, (0.1, 0.3))],
            "routers": [{"name": "auto", "policy": "greedy", "dial": 0, "seed": 1,
                         "explore": {"share": 0, "newcomer": 0}}]})
        for stream in (False, True):
            told = gateway.chat(model="claude", metadata={"topic": "x"}, stream=stream)
            self.assertEqual(told.status, 200, told.body)
            self.assertIn("metadata", told.header("x-metallm-dropped"))
        self.assertIsNone(gateway.chat(model="claude", headers={
            "anthropic-version": "2026-10-21"}).header("x-metallm-dropped"))
        self.assertEqual(claude.requests[-1].header("anthropic-version"), "2023-06-01")
        before = len(claude.requests)
        error = self.error(CHAT, gateway.chat(model="claude", seed=7), 400, "invalid_request_error")
        self.assertEqual(error["message"], "'claude' cannot be told seed")
        error = self.error(CHAT, gateway.chat(model="claude", temperature=1.5), 400,
                           "invalid_request_error")
        self.assertRegex(error["message"], "temperature of 1.5 .* anthropic")
        error = self.error(CHAT, gateway.chat(model="claude", odd_member=1), 400)
        self.assertIn("'odd_member'", error["message"])
        for _ in range(8):
            self.assertEqual(gateway.chat(model="auto", seed=7).model, "small")
            self.assertEqual(gateway.chat(model="auto", temperature=1.5).model, "small")
        error = self.error(CHAT, gateway.chat(model="auto", seed=7,
                                              metallm={"models": ["claude"]}), 400)
        self.assertEqual(error["code"], "no_model_fits")
        self.assertEqual(len(claude.requests), before)

    def test_an_llm_at_places_of_different_protocols(self):
        claude, _ = self.claude("m")
        small = self.upstream("m")
        gateway = self.gateway({"models": [{
            "name": "m", "price": {"input": 1, "output": 2}, "deployments": [
                {"protocol": "anthropic", "base_url": claude.url, "api_key": secret(claude.key),
                 "model": claude.model},
                {"base_url": small.url, "api_key": secret(small.key), "model": small.model}]}]})
        for _ in range(12):
            self.assertEqual(gateway.chat(model="m", seed=7).status, 200)
        self.assertEqual((len(claude.requests), len(small.requests)), (0, 12))
        for path, asked in ASKED.items():
            for stream in (False, True) * 8:
                told = gateway.post(path, {"model": "m", "stream": stream, **asked})
                self.assertEqual(told.status, 200, told.body)
        self.assertGreater(min(len(claude.requests), len(small.requests) - 12), 0)
        for _ in range(8):
            told = gateway.post(COUNT, {"model": "m", "messages": ASKED[CHAT]["messages"]})
            self.assertEqual(told.json(), {"input_tokens": 4711})

    def test_answers_of_every_surface_are_graded(self):
        gateway = self.pair(router={"graders": [{"kind": "exact"}]})
        for path, asked in ASKED.items():
            for stream in (False, True):
                told = gateway.post(path, {"model": "auto", "stream": stream, **asked,
                                           "metallm": {"label": "Vienna."}})
                self.assertEqual(told.status, 200, told.body)
                record = wait_for(lambda: (got := self.decided(gateway, told.decision)) and
                                  got["feedback"] and got, what=f"a grade of {path}, {stream}")
                self.assertEqual(record["feedback"]["score"], 1)

    def test_an_llm_of_another_protocol_judges(self):
        claude, one = self.claude(text="It is right. SCORE: 7")
        gateway = self.gateway({
            "models": [one, model("small", self.upstream("small"), (0.1, 0.3))],
            "routers": [{"name": "auto", "models": ["small"],
                         "graders": [{"kind": "judge", "model": "claude"}]}]})
        told = gateway.post(RESPONSES, {"model": "auto", **ASKED[RESPONSES]})
        record = wait_for(lambda: (got := self.decided(gateway, told.decision)) and
                          got["feedback"] and got, what="the judge's verdict")
        self.assertEqual(record["feedback"]["score"], 0.7)
        self.assertIn("Vienna.", json.dumps(claude.requests[-1].json()["messages"]))

    def test_route_reads_the_body_of_every_surface(self):
        gateway = self.pair()
        for path, asked in ASKED.items():
            for headers in ({}, VERSION):
                told = gateway.post("/v1/route", {"model": "auto", **asked}, headers)
                self.assertEqual(told.status, 200, (path, told.body))
                self.assertIn(told.json()["model"], ("big", "small"))
        told = gateway.post("/v1/route", {"model": "auto", "max_tokens": 5, "system": "Be brief.",
                                          "messages": [{"role": "user", "content": "Hello"}]})
        self.assertEqual(told.status, 200, told.body)
        self.assertEqual(self.big.requests + self.small.requests, [])

    def test_metrics_name_the_endpoint(self):
        gateway = self.pair()
        for path, asked in ASKED.items():
            gateway.post(path, {"model": "small", **asked})
        gateway.post(COUNT, {"model": "small", "messages": ASKED[CHAT]["messages"]})
        counted = {dict(labels)["endpoint"]: v for (name, labels), v in gateway.metrics().items()
                   if name == "metallm_requests_total" and dict(labels)["status"] == "200"}
        for name in ("chat", "responses", "messages", "count_tokens"):
            self.assertEqual(counted[name], 1, counted)


class Errors(SurfaceTest):
    def test_each_surface_refuses_in_its_own_shape(self):
        gateway = self.pair(limits={"body_bytes": 4096})
        for path, asked in ASKED.items():
            is_messages = path == MESSAGES
            self.error(path, gateway.post(path, b"{"), 400, "invalid_request_error")
            self.error(path, gateway.post(path, {"model": "small"}), 400, "invalid_request_error")
            self.error(path, gateway.post(path, {"model": "nobody", **asked}), 404,
                       "not_found_error" if is_messages else "invalid_request_error")
            self.error(path, gateway.post(path, {"model": "small", "x": "x" * 5000, **asked}), 413,
                       "request_too_large" if is_messages else "invalid_request_error")
            self.error(path, gateway.get(path), 405)
            told = raw(gateway.port, f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999"
                                     f"\r\n\r\n".encode())
            self.assertIn(b'{"type":"error"' if is_messages else b'"code":null', told)

    def test_an_unknown_path_is_told_in_the_shape_of_who_asks(self):
        gateway = self.pair()
        self.error("", gateway.get("/v1/nothing"), 404)
        self.error(MESSAGES, gateway.get("/v1/nothing", VERSION), 404, "not_found_error")
        self.error(MESSAGES, gateway.post("/v1/messages/batches", {}), 404, "not_found_error")

    def test_upstreams_errors_come_in_the_clients_shape(self):
        gateway = self.pair(upstream={"attempts": 1})
        for path, asked in ASKED.items():
            is_messages = path == MESSAGES
            body = {"model": "small", **asked}
            self.small.behave = up.says(429, extra=[("Retry-After", "7")])
            told = gateway.post(path, body)
            self.error(path, told, 429, "rate_limit_error" if is_messages else None)
            self.assertIn(told.header("retry-after"), ("6", "7"))
            gateway.stop()
            gateway.start()  # with no breaker open
            self.small.behave = up.says(422, "the upstream's own sentence")
            self.assertIn("the upstream's own sentence",
                          self.error(path, gateway.post(path, body), 422)["message"])
            self.small.behave = up.says(500)
            self.error(path, gateway.post(path, body), 502,
                       "api_error" if is_messages else "server_error")

    def test_a_stream_that_breaks_ends_with_an_error_event(self):
        gateway = self.pair(upstream={"attempts": 1})
        self.small.behave = up.dies(after=3)
        for path, asked in ASKED.items():
            got = raw(gateway.port, self.http(path, {"model": "small", "stream": True, **asked}))
            last = [line for line in got.decode().split("\r\n") if "data: " in line][-1]
            event = json.loads(last.split("data: ", 1)[1])
            if path == CHAT:
                self.assertEqual(event["error"]["code"], "stream_broken")
            else:
                self.assertIn("event: error", last)
                self.assertEqual(event["type"], "error")
            self.assertFalse(got.endswith(b"0\r\n\r\n"), "the broken stream looks whole")

    @staticmethod
    def http(path, body):
        data = json.dumps(body).encode()
        return (f"POST {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
                f"Content-Length: {len(data)}\r\n\r\n").encode() + data

    def test_stored_responses_are_not_to_be_had(self):
        gateway = self.pair()
        for method, path in (("GET", "/v1/responses/resp_1"), ("DELETE", "/v1/responses/resp_1"),
                             ("GET", "/v1/responses/resp_1/input_items"),
                             ("POST", "/v1/responses/resp_1/cancel")):
            error = self.error(RESPONSES, gateway.request(method, path), 404)
            self.assertEqual(error["code"], "responses_not_stored")
        error = self.error(RESPONSES, gateway.post("/v1/responses/input_tokens", {}), 404)
        self.assertEqual(error["code"], "not_found")
        told = gateway.post(RESPONSES, {"model": "small", "previous_response_id": "resp_1",
                                        "input": "Hello"})
        self.error(RESPONSES, told, 400, "invalid_request_error")


class Keys(SurfaceTest):
    def create(self, gateway, **more):
        return gateway.post("/admin/keys", {"name": "k", **more}).json()["key"]

    def test_a_key_comes_by_either_header_and_its_limits_are_told(self):
        gateway = self.pair(auth={"keys": True})
        key = self.create(gateway, requests_per_minute=3)
        self.error(MESSAGES, gateway.post(MESSAGES, {"model": "small", **ASKED[MESSAGES]}), 401,
                   "authentication_error")
        for headers in ({"x-api-key": key}, {"Authorization": f"Bearer {key}"}, {"x-api-key": key}):
            told = gateway.post(MESSAGES, {"model": "small", **ASKED[MESSAGES]}, headers)
            self.assertEqual(told.status, 200, told.body)
        for path, asked in ASKED.items():
            told = gateway.post(path, {"model": "small", **asked}, {"x-api-key": key})
            self.error(path, told, 429, "rate_limit_error" if path == MESSAGES else "requests")
            self.assertGreater(int(told.header("retry-after")), 0)

    def test_models_are_listed_in_the_shape_of_who_asks(self):
        _, one = self.claude()
        one["abilities"] = {"context": 200000, "max_output": 8192}
        gateway = self.gateway({"models": [one, model("small", self.upstream("small"))],
                                "aliases": [{"name": "claude-3", "to": "claude"}]})
        told = gateway.get("/v1/models", VERSION).json()
        self.assertEqual([m["id"] for m in told["data"]], ["claude-3", "claude", "small"])
        self.assertEqual((told["first_id"], told["last_id"], told["has_more"]),
                         ("claude-3", "small", False))
        one = gateway.get("/v1/models/claude", VERSION).json()
        self.assertEqual(one, told["data"][1])
        self.assertRegex(one.pop("created_at"), r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertEqual(one, {"type": "model", "id": "claude", "display_name": "claude",
                               "lifecycle": "active", "max_input_tokens": 200000,
                               "max_tokens": 8192})
        self.error(MESSAGES, gateway.get("/v1/models/none", VERSION), 404, "not_found_error")
        self.assertEqual(gateway.get("/v1/models").json()["object"], "list")

    def test_a_key_that_has_to_rest_is_passed_over_and_nobody_waits(self):
        small = self.upstream("small", key=None)
        resting = {"key-a"}

        async def behave(seen, writer):
            is_resting = seen.header("authorization").removeprefix("Bearer ") in resting
            await (up.says(429, extra=[("Retry-After", "60")]) if is_resting
                   else up.well())(seen, writer)
        small.behave = behave
        gateway = self.gateway({"models": [{**model("small", small),
                                            "api_key": [secret(f"key-{k}") for k in "abc"]}]})
        for _ in range(30):
            self.assertEqual(gateway.chat(model="small").status, 200)
        used = [s.header("authorization").removeprefix("Bearer ") for s in small.requests]
        self.assertLessEqual(used.count("key-a"), 2)  # one on each thread may be under way
        self.assertGreater(min(used.count("key-b"), used.count("key-c")), 0)
        resting |= {"key-b", "key-c"}
        told = wait_for(lambda: (t := gateway.chat(model="small")).status != 200 and t,
                        what="all keys rest")
        self.error(CHAT, told, 429, "requests")
        self.assertGreater(int(told.header("retry-after")), 30)

    def test_a_key_in_a_file_is_changed_under_load_and_no_request_fails(self):
        small = self.upstream("small", key=None)
        secret = self.folder / "secret"
        secret.write_text("key-old\n")
        known = {"key-old", "key-new"}

        async def behave(seen, writer):
            is_known = seen.header("authorization").removeprefix("Bearer ") in known
            await (up.well(delay=0.002) if is_known else up.says(401))(seen, writer)
        small.behave = behave
        gateway = self.gateway({"models": [{**model("small", small),
                                            "api_key": f"file:{secret}"}]})
        told, stop = [], threading.Event()

        def ask():
            connection = gateway.connect()
            while not stop.is_set():
                told.append(gateway.chat(model="small", stream=len(told) % 2 == 0,
                                         connection=connection).status)
            connection.close()
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()

        def used(key):
            return sum(s.header("authorization") == f"Bearer {key}" for s in small.requests)
        try:
            wait_for(lambda: used("key-old") > 50, what="requests with the old key")
            # A new file in place of the old: nobody reads half of one.
            (self.folder / "next").write_text("key-new\n")
            os.replace(self.folder / "next", secret)
            gateway.reload()
            wait_for(lambda: used("key-new") > 50, what="requests with the new key")
            before = used("key-old")
            threading.Event().wait(0.1 * SLOW)
            self.assertEqual(used("key-old"), before)
            known.discard("key-old")
            seen = len(told)
            wait_for(lambda: len(told) > seen + 50, what="requests after the old key is gone")
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(set(told), {200})


class Counts(SurfaceTest):
    ASKED = {"messages": [{"role": "user", "content": "x" * 400}]}

    def test_counted_where_the_llm_speaks_the_protocol_else_estimated(self):
        claude, one = self.claude()
        gateway = self.gateway({"models": [one, model("small", self.upstream("small"))],
                                "routers": [{"name": "auto", "models": ["small"]}]})
        told = gateway.post(COUNT, {"model": "claude", **self.ASKED}, VERSION)
        self.assertEqual(told.json(), {"input_tokens": 4711})
        self.assertIsNone(told.header("x-metallm-estimated"))
        self.assertEqual(claude.requests[-1].path, "/v1/messages/count_tokens")
        for name in ("small", "auto"):
            told = gateway.post(COUNT, {"model": name, **self.ASKED}, VERSION)
            self.assertEqual(told.status, 200, told.body)
            self.assertEqual(told.header("x-metallm-estimated"), "input_tokens")
            self.assertTrue(100 <= told.json()["input_tokens"] <= 110, told.body)
        claude.behave = up.says(500)
        told = gateway.post(COUNT, {"model": "claude", **self.ASKED})
        self.assertEqual((told.status, told.header("x-metallm-estimated")), (200, "input_tokens"))
        self.error(COUNT, gateway.post(COUNT, {"model": "nobody", **self.ASKED}), 404)

    def test_a_count_costs_nothing_and_leaves_no_record(self):
        _, one = self.claude()
        gateway = self.gateway({"models": [one]})
        told = gateway.post(COUNT, {"model": "claude", **self.ASKED})
        self.assertIsNone(told.header("x-metallm-decision") or None)
        spent = sum(v for (name, _), v in gateway.metrics().items() if "usd_total" in name)
        self.assertEqual(spent, 0)


if __name__ == "__main__":
    unittest.main()
