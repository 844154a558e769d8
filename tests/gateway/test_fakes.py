#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The upstreams of the conformance matrix are right: the providers' own SDKs understand them, and
they refuse what the providers refuse. No gateway takes part."""
import base64
import json
import pathlib
import sys
import unittest

try:
    import anthropic
    import boto3
    import botocore.config
    import botocore.exceptions
    import openai
    from google import genai
    from google.genai import types as google
    from support import asks, clients, matrix, scripts
    from support.fake_anthropic import Anthropic
    from support.fake_bedrock import KEYS, REGION, Bedrock
    from support.fake_gemini import Gemini
    from support.fake_openai import OpenAI
    from support.fake_responses import Responses
    MISSING = None
except ImportError as error:
    MISSING = str(error)

NEEDS_SDKS = unittest.skipIf(MISSING is not None, f"{MISSING}: scripts/setup test")


@NEEDS_SDKS
class FakeTest(unittest.TestCase):
    def fake(self, kind, **more):
        made = kind(**more)
        self.addCleanup(made.close)
        return made

    def no_faults(self, fake):
        self.assertEqual(fake.faults, [])


class Matrix(FakeTest):
    """Every row that a surface can say, answered by its own provider: what the matrix asks of the
    gateway is what the providers themselves do."""

    def run_rows(self, fake, surfaces, kind_of, **more):
        jobs, rows = [], {}
        for surface in surfaces:
            for number, row in enumerate(asks.ROWS):
                for stream in (False, True)[:1 + row.stream]:
                    name = f"{surface}-{number}-{int(stream)}"
                    try:
                        params = asks.params_of(row, surface, fake.model,
                                                f"[[{row.script}/{name}]]")
                    except asks.Inexpressible:
                        continue
                    if row.name in ("hosted tools", "earlier answer kept by the provider"):
                        continue  # the providers can, the fakes cannot
                    if stream and surface in ("chat", "completions"):
                        params["stream_options"] = {"include_usage": True}
                    rows[name] = (surface, row)
                    jobs.append({"id": name, "surface": surface, "stream": stream,
                                 "params": params})
        outcomes = clients.run_all(fake.root, jobs, key=fake.key, **more)
        for name, (surface, row) in rows.items():
            with self.subTest(row=row.name, surface=surface, cell=name):
                outcome = outcomes[name]
                self.assertNotIn("error", outcome)
                heard = fake.of(name)[0]
                said = matrix.through_upstream(scripts.SCRIPTS[row.script], fake.name,
                                               kind_of(surface))
                matrix.check_answer(surface, said, outcome, fake.model, row)
                matrix.check_heard(heard.asked, row, surface, fake.name,
                                   f"[[{row.script}/{name}]]", ())
        self.no_faults(fake)

    def test_openai(self):
        self.run_rows(self.fake(OpenAI), ("chat", "completions"),
                      {"chat": "chat", "completions": "completion"}.get)

    def test_responses(self):
        self.run_rows(self.fake(Responses), ("responses",), lambda s: s)

    def test_anthropic(self):
        self.run_rows(self.fake(Anthropic), ("messages",), lambda s: s)


class Azure(FakeTest):
    def test_azures_own_client(self):
        fake = self.fake(OpenAI, azure="2024-10-21", model="gpt-dep")
        client = openai.AzureOpenAI(azure_endpoint=fake.root, api_version="2024-10-21",
                                    api_key=fake.key, max_retries=0)
        messages = [{"role": "user", "content": "Hi [[text/a]]"}]
        told = client.chat.completions.create(model="gpt-dep", messages=messages)
        self.assertEqual(told.choices[0].message.content, scripts.TEXT)
        text = "".join(c.choices[0].delta.content or "" for c in client.chat.completions.create(
            model="gpt-dep", messages=messages, stream=True) if c.choices)
        self.assertEqual(text, scripts.TEXT)
        told = client.embeddings.create(model="gpt-dep", input=["a [[text/b]]", "b"])
        self.assertEqual(told.data[1].embedding[2], 1.0)
        self.no_faults(fake)


class BedrockRuntime(FakeTest):
    """boto3 reads every byte of the fake's streams and signs every request that it checks."""
    MODEL = "anthropic.claude-conform-v1:0"

    def client(self, fake):
        return boto3.client(
            "bedrock-runtime", region_name=REGION, endpoint_url=fake.root,
            aws_access_key_id=KEYS[0], aws_secret_access_key=KEYS[1], aws_session_token=KEYS[2],
            config=botocore.config.Config(retries={"total_max_attempts": 1}))

    def test_converse_and_its_stream_tell_the_same(self):
        fake = self.fake(Bedrock, model=self.MODEL)
        client = self.client(fake)
        for script, said in scripts.SCRIPTS.items():
            ask = {"modelId": self.MODEL, "inferenceConfig": {"maxTokens": 64},
                   "messages": [{"role": "user", "content": [{"text": f"Hi [[{script}/c]]"}]}]}
            whole = client.converse(**ask)
            blocks, stop, usage = {}, None, None
            for event in client.converse_stream(**ask)["stream"]:
                (kind, told), = event.items()
                if kind == "contentBlockStart":
                    blocks[told["contentBlockIndex"]] = dict(told["start"])
                elif kind == "contentBlockDelta":
                    self.add(blocks.setdefault(told["contentBlockIndex"], {}), told["delta"])
                elif kind == "messageStop":
                    stop = told["stopReason"]
                elif kind == "metadata":
                    usage = told["usage"]
            content = [blocks[i] for i in sorted(blocks)]
            for block in content:
                if "toolUse" in block:
                    block["toolUse"]["input"] = json.loads(block["toolUse"].get("input") or "{}")
            self.assertEqual(content, whole["output"]["message"]["content"], script)
            self.assertEqual((stop, usage), (whole["stopReason"], whole["usage"]))
            self.assertEqual(usage["outputTokens"], said.output)
        self.no_faults(fake)

    def add(self, block, delta):
        (kind, told), = delta.items()
        if kind == "text":
            block["text"] = block.get("text", "") + told
        elif kind == "toolUse":
            block["toolUse"]["input"] = block["toolUse"].get("input", "") + told["input"]
        else:
            text = block.setdefault("reasoningContent", {}).setdefault("reasoningText", {})
            for name, value in told.items():
                text[name] = text.get(name, "") + value

    def test_titan(self):
        for model in ("amazon.titan-text-express-v1", "amazon.titan-embed-text-v2:0"):
            fake = self.fake(Bedrock, model=model)
            client = self.client(fake)
            body = json.dumps({"inputText": "Hi [[text/t]]"})
            told = json.loads(client.invoke_model(modelId=model, body=body)["body"].read())
            if "embed" in model:
                self.assertEqual(len(told["embedding"]), 1024)
                continue
            self.assertEqual(told["results"][0]["outputText"], scripts.TEXT)
            stream = client.invoke_model_with_response_stream(modelId=model, body=body)["body"]
            self.assertEqual("".join(json.loads(e["chunk"]["bytes"])["outputText"] for e in stream),
                             scripts.TEXT)
            self.no_faults(fake)

    def test_errors_are_botocores_own(self):
        fake = self.fake(Bedrock, model=self.MODEL)
        client = self.client(fake)

        def ask(script):
            return {"modelId": self.MODEL, "messages": [
                {"role": "user", "content": [{"text": f"[[{script}/e]]"}]}]}
        for status, name in ((400, "ValidationException"), (429, "ThrottlingException"),
                             (404, "ResourceNotFoundException"), (403, "AccessDeniedException")):
            with self.assertRaises(getattr(client.exceptions, name)):
                client.converse(**ask(f"error-{status}"))
        with self.assertRaisesRegex(botocore.exceptions.EventStreamError, "modelStreamError"):
            list(client.converse_stream(**ask("midway"))["stream"])
        self.no_faults(fake)


class GoogleGemini(FakeTest):
    def test_googles_own_client(self):
        fake = self.fake(Gemini, model="gemini-conform")
        client = genai.Client(api_key=fake.key, http_options=google.HttpOptions(
            base_url=fake.root, api_version="v1beta"))
        for script, said in scripts.SCRIPTS.items():
            config = google.GenerateContentConfig(system_instruction="Be brief.", temperature=0.5,
                                                  max_output_tokens=100, stop_sequences=["X"])
            ask = {"model": "gemini-conform", "contents": f"Hi [[{script}/g]]", "config": config}
            whole = client.models.generate_content(**ask)
            texts, thoughts, calls, last = "", "", [], None
            for last in client.models.generate_content_stream(**ask):
                content = last.candidates[0].content
                for part in (content.parts if content else None) or []:
                    if part.function_call:
                        calls.append((part.function_call.name, part.function_call.args))
                    elif part.thought:
                        thoughts += part.text
                    else:
                        texts += part.text
            wanted = "".join(p[1] for p in said.parts if p[0] in ("text", "refusal"))
            self.assertEqual(texts, wanted, script)
            self.assertEqual(calls, [(p[2], p[3]) for p in said.calls()])
            self.assertEqual(last.candidates[0].finish_reason, whole.candidates[0].finish_reason)
            self.assertEqual(last.usage_metadata, whole.usage_metadata)
        told = client.models.embed_content(model="gemini-conform", contents=["a [[text/e]]", "b"])
        self.assertEqual(told.embeddings[1].values[2], 1.0)
        self.no_faults(fake)

    def test_tools_images_and_schemas(self):
        fake = self.fake(Gemini, model="gemini-conform")
        client = genai.Client(api_key=fake.key, http_options=google.HttpOptions(
            base_url=fake.root, api_version="v1beta"))
        contents = [
            google.Content(role="user", parts=[
                google.Part(text="What? [[json/h]]"),
                google.Part.from_bytes(data=base64.b64decode(asks.PIXEL), mime_type="image/png")]),
            google.Content(role="model", parts=[google.Part(function_call=google.FunctionCall(
                id="c1", name="weather", args={"city": "Graz"}))]),
            google.Content(role="user", parts=[google.Part(function_response=google.FunctionResponse(
                id="c1", name="weather", response={"output": "Sunny"}))])]
        client.models.generate_content(
            model="gemini-conform", contents=contents, config=google.GenerateContentConfig(
                tools=[google.Tool(function_declarations=[google.FunctionDeclaration(
                    name="weather", description="d", parameters_json_schema=asks.CITY)])],
                response_mime_type="application/json", response_json_schema=asks.ANSWER))
        asked = fake.of("h")[0].asked
        self.assertEqual(asked["turns"][2], ("assistant", ("call", 0, "weather", {"city": "Graz"})))
        self.assertEqual(asked["turns"][3], ("user", ("result", 0, [("text", "Sunny")], False)))
        self.assertEqual(asked["options"]["format"], {"schema": asks.ANSWER})
        self.no_faults(fake)


if __name__ == "__main__":
    unittest.main()
