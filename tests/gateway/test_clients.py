#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The official OpenAI clients for Python and Node.js and LangChain's, unchanged, against the tool."""
import asyncio
import os
import pathlib
import shutil
import subprocess
import sys
import time
import unittest

from support import upstream as up
from support.gateway import ROOT, SLOW, GatewayTest, secret

try:
    import openai
except ImportError:
    openai = None
try:
    from langchain_openai import ChatOpenAI
except ImportError:
    ChatOpenAI = None

QUESTION = [{"role": "user", "content": "What is the capital of Austria?"}]
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}}}}]
PIXEL = ("data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhg"
         "GAWjR9awAAAABJRU5ErkJggg==")
NEEDS_CLIENT = unittest.skipIf(openai is None, "the package openai is not installed: scripts/setup test")


@NEEDS_CLIENT
class PythonClient(GatewayTest):
    def setUp(self):
        super().setUp()
        self.metallm = self.pair()
        self.client = self.client_of()

    def client_of(self, kind=None, **more):
        return (kind or openai.OpenAI)(
            base_url=f"http://127.0.0.1:{self.metallm.port}/v1", api_key="unused",
            **{"max_retries": 0, "timeout": 20 * SLOW, **more})

    def test_chat(self):
        told = self.client.chat.completions.create(model="auto", messages=QUESTION)
        self.assertEqual(told.choices[0].message.content, "Vienna.")
        self.assertEqual(told.usage.total_tokens, 12)

    def test_chat_with_its_headers(self):
        told = self.client.chat.completions.with_raw_response.create(
            model="auto", messages=QUESTION)
        self.assertIn(told.headers["x-metallm-model"], ("big", "small"))
        self.assertTrue(told.headers["x-metallm-decision"].startswith("dec_"))
        self.assertGreater(float(told.headers["x-metallm-cost-usd"]), 0)

    def test_stream(self):
        told = list(self.client.chat.completions.create(model="auto", messages=QUESTION,
                                                        stream=True))
        self.assertEqual("".join(c.choices[0].delta.content or "" for c in told if c.choices),
                         "Vienna.")
        self.assertTrue(all(c.choices for c in told), "usage was not asked for")

    def test_stream_with_usage(self):
        told = list(self.client.chat.completions.create(
            model="auto", messages=QUESTION, stream=True, stream_options={"include_usage": True}))
        self.assertEqual([c.usage.total_tokens for c in told if c.usage], [12])

    def test_stream_helper(self):
        with self.client.chat.completions.stream(model="auto", messages=QUESTION) as stream:
            final = stream.get_final_completion()
        self.assertEqual(final.choices[0].message.content, "Vienna.")

    def test_tools_plain_and_streamed(self):
        told = self.client.chat.completions.create(model="auto", messages=QUESTION, tools=TOOLS)
        self.assertEqual(told.choices[0].message.tool_calls[0].function.name, "weather")
        self.assertEqual(told.choices[0].finish_reason, "tool_calls")
        with self.client.chat.completions.stream(model="auto", messages=QUESTION,
                                                 tools=TOOLS) as stream:
            final = stream.get_final_completion()
        self.assertEqual(final.choices[0].message.tool_calls[0].function.arguments,
                         '{"city": "Graz"}')

    def test_images(self):
        told = self.client.chat.completions.create(model="auto", messages=[
            {"role": "user", "content": [{"type": "text", "text": "What is it?"},
                                         {"type": "image_url", "image_url": {"url": PIXEL}}]}])
        self.assertEqual(told.choices[0].message.content, "Vienna.")
        sent = (self.big.requests + self.small.requests)[0].json()
        self.assertEqual(sent["messages"][0]["content"][1]["image_url"]["url"], PIXEL)

    def test_response_format_n_and_logprobs(self):
        told = self.client.chat.completions.create(
            model="auto", messages=QUESTION, n=2, logprobs=True, top_logprobs=1,
            response_format={"type": "json_object"})
        self.assertEqual([c.message.content for c in told.choices], ['{"answer": 42}'] * 2)
        self.assertEqual(told.choices[1].logprobs.content[0].token, "V")

    def test_completions_embeddings_and_models(self):
        told = self.client.completions.create(model="small", prompt="Vi")
        self.assertEqual(told.choices[0].text, "Vienna.")
        self.assertLessEqual({"auto", "big", "small"}, {m.id for m in self.client.models.list()})

    def test_hints_in_the_body(self):
        told = self.client.chat.completions.with_raw_response.create(
            model="auto", messages=QUESTION, extra_body={"metallm": {"models": ["big"]}})
        self.assertEqual(told.headers["x-metallm-model"], "big")

    def test_errors_are_the_clients_own_classes(self):
        chat = self.client.chat.completions
        with self.assertRaises(openai.NotFoundError) as caught:
            chat.create(model="no-such-model", messages=QUESTION)
        self.assertEqual(caught.exception.code, "model_not_found")
        with self.assertRaises(openai.BadRequestError) as caught:
            chat.create(model="auto", messages="not a list")
        self.assertEqual(caught.exception.type, "invalid_request_error")
        self.small.behave = up.says(400, "too long", "context_length_exceeded")
        with self.assertRaises(openai.BadRequestError) as caught:
            chat.create(model="small", messages=QUESTION)
        self.assertEqual(caught.exception.code, "context_length_exceeded")
        self.small.behave = self.big.behave = up.says(429, "slow down", extra=[("Retry-After", "7")])
        with self.assertRaises(openai.RateLimitError):
            chat.create(model="auto", messages=QUESTION)
        self.small.behave = self.big.behave = up.says(500, "oh")
        with self.assertRaises(openai.InternalServerError):
            chat.create(model="auto", messages=QUESTION)

    def test_the_clients_own_retry(self):
        self.small.behave = up.in_turn(*[up.says(503)] * 2, up.well())
        client = self.client_of(max_retries=3)
        told = client.chat.completions.create(model="small", messages=QUESTION)
        self.assertEqual(told.choices[0].message.content, "Vienna.")

    def test_the_clients_timeout_ends_the_upstream_call(self):
        self.small.behave = up.hangs()
        client = self.client_of(timeout=0.3)
        started = time.monotonic()
        with self.assertRaises(openai.APITimeoutError):
            client.chat.completions.create(model="small", messages=QUESTION)
        self.assertLess(time.monotonic() - started, 5 * SLOW)

    def test_async_many_at_once(self):
        async def ask():
            client = self.client_of(openai.AsyncOpenAI)
            plain = [client.chat.completions.create(model="auto", messages=QUESTION)
                     for _ in range(20)]

            async def streamed():
                stream = await client.chat.completions.create(model="auto", messages=QUESTION,
                                                              stream=True)
                return "".join([c.choices[0].delta.content or "" async for c in stream
                                if c.choices])
            told = await asyncio.gather(*plain, *[streamed() for _ in range(20)])
            await client.close()
            return told
        told = asyncio.run(ask())
        self.assertEqual({t if isinstance(t, str) else t.choices[0].message.content for t in told},
                         {"Vienna."})

    def test_feedback_through_the_client(self):
        told = self.client.chat.completions.with_raw_response.create(model="auto",
                                                                     messages=QUESTION)
        got = self.client.post("/feedback", cast_to=object, body={
            "decision": told.headers["x-metallm-decision"], "score": 1})
        self.assertIsInstance(got, dict)


@NEEDS_CLIENT
class Embeddings(GatewayTest):
    def test_embeddings(self):
        made = self.upstream("vectors")
        metallm = self.gateway({"models": [
            {"name": "vectors", "base_url": made.url, "api_key": secret(made.key),
             "model": made.model, "abilities": {"chat": False, "embeddings": True},
             "price": {"input": 1, "output": 0}}]})
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{metallm.port}/v1", api_key="unused",
                               max_retries=0)
        told = client.embeddings.create(model="vectors", input=["a", "b"],
                                        encoding_format="float")
        self.assertEqual([d.embedding for d in told.data], [[0.25, -0.5, 0], [0.25, -0.5, 1]])


@unittest.skipIf(ChatOpenAI is None, "the package langchain-openai is not installed")
class LangChain(GatewayTest):
    def setUp(self):
        super().setUp()
        self.metallm = self.pair()
        self.chat = ChatOpenAI(model="auto", api_key="unused", max_retries=0, timeout=20 * SLOW,
                               base_url=f"http://127.0.0.1:{self.metallm.port}/v1")

    def test_invoke_stream_and_batch(self):
        self.assertEqual(self.chat.invoke("Capital of Austria?").content, "Vienna.")
        self.assertEqual("".join(c.content for c in self.chat.stream("Capital?")), "Vienna.")
        self.assertEqual({m.content for m in self.chat.batch(["a", "b", "c"])}, {"Vienna."})

    def test_tools_and_structured_output(self):
        from langchain_core.tools import tool

        @tool
        def weather(city: str) -> str:
            """Weather of a city."""
            return city
        told = self.chat.bind_tools([weather]).invoke("Weather in Graz?")
        self.assertEqual(told.tool_calls[0]["args"], {"city": "Graz"})
        told = self.chat.with_structured_output({"title": "a", "type": "object", "properties": {
            "answer": {"type": "integer"}}}, method="json_mode").invoke("JSON, please")
        self.assertEqual(told, {"answer": 42})

    def test_async(self):
        self.assertEqual(asyncio.run(self.chat.ainvoke("Capital?")).content, "Vienna.")


def node_environment():
    """(node, its modules) of the tests' environment, or None."""
    bin_folder = pathlib.Path(sys.executable).parent
    node, modules = bin_folder / "node", bin_folder.parent / "node/node_modules"
    return (node, modules) if node.exists() and modules.exists() else None


@unittest.skipIf(node_environment() is None, "no Node.js with its client: scripts/setup test")
class NodeClient(GatewayTest):
    def run_script(self, script, *arguments, **environment):
        node, modules = node_environment()
        os.symlink(modules, self.folder / "node_modules")
        shutil.copy(script, self.folder / "client.mjs")
        return subprocess.run([node, "client.mjs", *arguments], cwd=self.folder, text=True,
                              capture_output=True, timeout=60 * SLOW, check=False,
                              env=dict(os.environ, **environment))

    def test_chat_stream_tools_errors_and_retries(self):
        metallm = self.pair()
        self.small.behave = up.in_turn(up.says(503), up.says(503), up.well())
        done = self.run_script(ROOT / "tests/gateway/node/client.test.mjs",
                               f"http://127.0.0.1:{metallm.port}/v1")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("all is well", done.stdout)


if __name__ == "__main__":
    unittest.main()
