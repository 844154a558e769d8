#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real LLMs: SmolLM2-135M and Gemma-270M behind llama.cpp's server, routed, streamed, with feedback,
and asked by every surface through each of the server's own protocols.

'make check-live' fetches them (355 MB) and runs this; without them the tests are skipped."""
import json
import unittest

from support.gateway import SLOW, GatewayTest, raw
from support.real_llms import needs_real_llms, start

QUESTIONS = ["What is the capital of France?", "What is 2 + 3?", "Name a colour.",
             "Write one sentence about the sea."]


@needs_real_llms
class RealModels(GatewayTest):
    @classmethod
    def setUpClass(cls):
        start(cls)

    def gateway_of(self, **router):
        return self.gateway({
            "encoder": "minilm",
            "models": [{"name": name, "base_url": f"http://127.0.0.1:{port}/v1",
                        "price": {"input": price, "output": 2 * price},
                        "timeouts": {"first_token_ms": 60000}}
                       for (name, port), price in zip(self.ports.items(), (0.1, 0.2))],
            "routers": [{"name": "auto", "mode": "online", "dial": 0.0, "seed": 2,
                         "explore": {"share": 0.2, "cap": 0.2}, **router}]})

    def test_routed_streamed_and_taught(self):
        gateway = self.gateway_of()
        for name in self.ports:
            self.assertEqual(gateway.chat(QUESTIONS[0], model=name, max_tokens=8).status, 200)
        for i in range(30):
            told = gateway.chat(QUESTIONS[i % 4], stream=i % 2 == 0, max_tokens=6,
                                **({"stream_options": {"include_usage": True}} if i % 2 == 0
                                   else {}))
            self.assertEqual(told.status, 200, told.body[:300])
            self.assertTrue(told.text() or told.json())
            # This user likes Gemma's answers.
            self.assertEqual(gateway.feedback(told.decision, int(told.model == "gemma")).status, 200)
        record = self.decided(gateway, told.decision)
        self.assertGreater(record["usage"]["output_tokens"], 0)
        self.assertFalse(record["usage"]["is_estimated"])
        late = [gateway.chat(QUESTIONS[i % 4], max_tokens=2).model for i in range(15)]
        self.assertGreaterEqual(late.count("gemma"), 9, late)

    def test_the_official_client_streams_from_a_real_llm(self):
        import openai
        gateway = self.gateway_of()
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{gateway.port}/v1", api_key="unused",
                               max_retries=0, timeout=60 * SLOW)
        stream = client.chat.completions.create(
            model="smollm2", stream=True, max_tokens=12, temperature=0,
            messages=[{"role": "user", "content": QUESTIONS[0]}])
        pieces = [c.choices[0].delta.content or "" for c in stream if c.choices]
        self.assertGreater(len([p for p in pieces if p]), 3)

    def test_every_surface_over_each_protocol_of_the_server(self):
        """llama.cpp's server speaks OpenAI's chats, completions and Responses and Anthropic's
        Messages: each surface over each, by the official SDKs."""
        from support import clients, matrix, strict
        url = f"http://127.0.0.1:{self.ports['smollm2']}/v1"
        protocols = ("openai", "openai-responses", "anthropic")
        gateway = self.gateway({"encoder": "hash", "models": [
            {"name": p, "protocol": p, "base_url": url, "model": "smollm2",
             "price": {"input": 1, "output": 2}, "timeouts": {"first_token_ms": 300000},
             **({"abilities": {"chat": True, "completions": True}} if p == "openai" else {})}
            for p in protocols]})
        turns = [{"role": "user", "content": QUESTIONS[0]}]
        asked = {"chat": {"messages": turns, "max_completion_tokens": 6},
                 "completions": {"prompt": QUESTIONS[0], "max_tokens": 6},
                 "responses": {"input": QUESTIONS[0], "max_output_tokens": 16},
                 "messages": {"messages": turns, "max_tokens": 6},
                 "count_tokens": {"messages": turns}}
        jobs = [{"id": f"{surface} over {p}{', streamed' * stream}", "surface": surface,
                 "stream": bool(stream), "params": {"model": p, **params, **(
                     {"stream_options": {"include_usage": True}}
                     if stream and surface in ("chat", "completions") else {})}}
                for surface, params in asked.items() for p in protocols
                for stream in range(1 if surface == "count_tokens" else 2)]
        outcomes = clients.run_all(f"http://127.0.0.1:{gateway.port}", jobs, at_once=2,
                                   timeout=300 * SLOW)  # the server has two slots
        native = {"chat": "openai", "completions": "openai", "responses": "openai-responses",
                  "messages": "anthropic"}
        for job in jobs:
            with self.subTest(job["id"]):
                outcome, surface = outcomes[job["id"]], job["surface"]
                self.assertNotIn("error", outcome)
                if surface == "count_tokens":
                    self.assertGreater(outcome["final"]["input_tokens"], 5)
                    continue
                if job["params"]["model"] == native[surface]:
                    # The server's own bytes, in its own way; the SDK understood them.
                    self.assertGreater(len(json.dumps(outcome["events"] or outcome["final"])), 99)
                    continue
                self.assertNotIn("broken", outcome)
                parts, finish, _ = matrix.SAID[surface](outcome["final"])
                self.assertTrue("".join(p[1] for p in parts if p[0] == "text"), outcome["final"])
                self.assertIn(finish, ("length", "max_tokens", "max_output_tokens", "stop",
                                       "end_turn", "completed"))
                self.assertIsNone(strict.check_answer(matrix.ANSWERS[surface], outcome["final"],
                                                      matrix.EXTRAS))
                usage = matrix.usage_of(surface, outcome["final"]["usage"])
                self.assertGreater(usage[0], 5)
                self.assertTrue(0 < usage[3] <= 16, usage)

    def test_a_client_that_hangs_up_frees_the_llm(self):
        gateway = self.gateway_of()
        body = (b'{"model":"smollm2","stream":true,"max_tokens":64,"messages":[{"role":"user",'
                b'"content":"Tell a long story."}]}')
        for _ in range(4):  # the server has two slots
            raw(gateway.port, b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: "
                + str(len(body)).encode() + b"\r\n\r\n" + body, timeout=0.3)
        self.assertEqual(gateway.chat(QUESTIONS[1], model="smollm2", max_tokens=2).status, 200)


if __name__ == "__main__":
    unittest.main()
