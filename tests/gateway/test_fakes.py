#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The upstreams of the conformance matrix are right: the providers' own SDKs understand them, and
they refuse what the providers refuse. No gateway takes part."""
import base64
import http.client
import json
import unittest
import urllib.parse

try:
    import anthropic
    import boto3
    import botocore.auth
    import botocore.awsrequest
    import botocore.config
    import botocore.credentials
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
                for stream in (False,) * row.whole + (True,) * row.stream:
                    name = f"{surface}-{number}-{int(stream)}"
                    try:
                        params = asks.params_of(row, surface, fake.model,
                                                f"[[{row.script}/{name}]]")
                    except asks.Inexpressible:
                        continue
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
                matrix.check_answer(surface, said, outcome, row)
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
            ask = {"modelId": model, "body": body, "contentType": "application/json"}
            told = json.loads(client.invoke_model(**ask)["body"].read())
            if "embed" in model:
                self.assertEqual(len(told["embedding"]), 1024)
                continue
            self.assertEqual(told["results"][0]["outputText"], scripts.TEXT)
            stream = client.invoke_model_with_response_stream(**ask)["body"]
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
    def client(self, model="gemini-conform"):
        fake = self.fake(Gemini, model=model)
        fake.is_camel = False
        return fake, genai.Client(api_key=fake.key, http_options=google.HttpOptions(
            base_url=fake.root, api_version="v1beta"))

    def test_googles_own_client(self):
        fake, client = self.client()
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
        self.no_faults(fake)

    def test_embeddings(self):
        fake, client = self.client("embedding-conform")
        told = client.models.embed_content(model=fake.model, contents=["a [[text/e]]", "b"])
        self.assertEqual(told.embeddings[1].values[2], 1.0)
        self.no_faults(fake)

    def test_tools_images_and_schemas(self):
        fake, client = self.client()
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


def ask_openai(**more):
    return {"model": "m", "messages": [{"role": "user", "content": "[[text/x]]"}], **more}


def ask_claude(*turns, **more):
    return {"model": "m", "max_tokens": 9, "messages": [
        {"role": "user", "content": "[[text/x]]"}, *turns], **more}


def ask_google(*contents, **more):
    return {"contents": [{"role": "user", "parts": [{"text": "[[text/x]]"}]}, *contents], **more}


def call(number, name="f"):
    return {"id": f"c{number}", "type": "function", "function": {"name": name, "arguments": "{}"}}


IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/tiff", "data": "AAAA"}}
USE = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]}
CALLED = {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}},
                                      "thoughtSignature": "skip_thought_signature_validator"}]}


@NEEDS_SDKS
class Strictness(FakeTest):
    """What the providers refuse, the fakes refuse, in the provider's own shape."""

    def refused(self, fake, path, headers, bodies):
        for body in bodies:
            with self.subTest(fake=fake.name, body=json.dumps(body)[:200]):
                fake.faults.clear()
                connection = http.client.HTTPConnection("127.0.0.1", fake.port, timeout=20)
                connection.request("POST", path, json.dumps(body),
                                   {"Content-Type": "application/json", **headers})
                answer = connection.getresponse()
                told = answer.read()
                connection.close()
                is_good = body is bodies[0]  # the first one shows that the others fail for a reason
                self.assertEqual(answer.status, 200 if is_good else 400, told)
                self.assertEqual(bool(fake.faults), not is_good)

    def test_openai(self):
        fake = self.fake(OpenAI)
        self.refused(fake, "/v1/chat/completions", {"Authorization": f"Bearer {fake.key}"}, [
            ask_openai(), ask_openai(max_token=3), ask_openai(temperature="1"),
            ask_openai(temperature=2.5), ask_openai(stop=[]), ask_openai(tools=[]),
            ask_openai(tool_choice="auto"), ask_openai(stream_options={"include_usage": True}),
            ask_openai(model="other"), ask_openai(max_tokens=1, max_completion_tokens=1),
            {"model": "m", "messages": ask_openai()["messages"] + [
                {"role": "assistant", "tool_calls": [call(1)]}]},
            {"model": "m", "messages": ask_openai()["messages"] + [
                {"role": "tool", "tool_call_id": "c9", "content": "x"}]},
            {"model": "m", "messages": [{"role": "user", "content": [
                {"type": "text", "text": "[[text/x]]", "more": 1}]}]}])

    def test_responses(self):
        fake = self.fake(Responses)
        good = {"model": "m", "input": "[[text/x]]"}
        turn = {"role": "user", "content": "[[text/x]]"}
        self.refused(fake, "/v1/responses", {"Authorization": f"Bearer {fake.key}"}, [
            good, {**good, "max_tokens": 3}, {**good, "max_output_tokens": 4},
            {**good, "tools": [{"type": "function", "name": "f"}]},
            {**good, "input": [turn, {"type": "function_call", "call_id": "c", "name": "f",
                                      "arguments": "{}"}]},
            {**good, "input": [turn, {"type": "reasoning", "id": "rs_1", "summary": [],
                                      "encrypted_content": "forged"}]},
            {**good, "input": [{"role": "user", "content": [
                {"type": "output_text", "text": "[[text/x]]", "annotations": []}]}]}])

    def test_anthropic(self):
        fake = self.fake(Anthropic)
        headers = {"x-api-key": fake.key, "anthropic-version": "2023-06-01"}
        signed = {"type": "thinking", "thinking": "t", "signature": "forged"}
        result = {"type": "tool_result", "tool_use_id": "t1", "content": "x"}
        bad = ask_claude()
        del bad["max_tokens"]
        self.refused(fake, "/v1/messages", headers, [
            ask_claude(), bad, ask_claude(temperature=1.5), ask_claude(top_x=1), ask_claude(USE),
            ask_claude({"role": "user", "content": [result]}),
            ask_claude(USE, {"role": "user", "content": [{"type": "text", "text": "x"}, result]}),
            ask_claude({"role": "user", "content": []}), ask_claude({"role": "user", "content": " "}),
            ask_claude({"role": "assistant", "content": "a "}),
            ask_claude({"role": "assistant", "content": [signed]}),
            ask_claude({"role": "user", "content": [IMAGE]}),
            ask_claude(thinking={"type": "enabled", "budget_tokens": 1024}),
            ask_claude(tool_choice={"type": "auto"}),
            ask_claude(tools=[{"name": "f", "input_schema": {}}])])
        self.refused(fake, "/v1/messages", {**headers, "anthropic-version": "2026-10-21"},
                     [ask_claude(), ask_claude(temperature=1.0)])

    def test_gemini(self):
        fake = self.fake(Gemini)
        answer, told = ({"role": "user", "parts": [{"functionResponse": {
            "name": name, "response": {"output": "x"}}}]} for name in "gf")
        unsigned = {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]}
        self.refused(fake, "/v1beta/models/m:generateContent", {"x-goog-api-key": fake.key}, [
            ask_google(CALLED, told), ask_google(system_instruction={}), ask_google(stream=True),
            ask_google({"role": "assistant", "parts": [{"text": "a"}]}),
            ask_google({"role": "model", "parts": []}), ask_google(CALLED),
            ask_google(CALLED, answer), ask_google(unsigned, told), ask_google({"role": "user", "parts": [{}]}),
            ask_google(generationConfig={"stopSequences": ["a"] * 6}),
            ask_google(generationConfig={"maxTokens": 3}),
            ask_google(generationConfig={"responseJsonSchema": {}}),
            ask_google(toolConfig={"functionCallingConfig": {"mode": "ANY"}}),
            ask_google({"role": "model", "parts": [{"text": "a", "thoughtSignature": "Zm9yZ2Vk"}]})])

    def test_bedrock(self):
        """boto3 signs; its own validation is off, so that the fake's is seen."""
        model = "anthropic.claude-conform-v1:0"
        fake = self.fake(Bedrock, model=model)
        user = {"role": "user", "content": [{"text": "[[text/x]]"}]}
        use = {"role": "assistant", "content": [
            {"toolUse": {"toolUseId": "t", "name": "f", "input": {}}}]}
        image = {"image": {"format": "tiff", "source": {"bytes": "AAAA"}}}
        for number, body in enumerate((
                {"messages": [user]}, {"messages": [user, user]}, {"messages": [user], "stream": True},
                {"messages": [use]}, {"messages": [user, use]},
                {"messages": [{"role": "user", "content": [{"text": "[[text/x]]"}, image]}]},
                {"messages": [user], "inferenceConfig": {"temperature": 1.5}},
                {"messages": [user], "inferenceConfig": {"maxTokens": 0}},
                {"messages": [user], "toolConfig": {"tools": []}},
                {"messages": [user], "system": [{"text": ""}]},
                {"messages": [{"role": "user", "content": [{"text": "[[text/x]]", "image": {}}]}]})):
            fake.faults.clear()
            status = self.signed(fake, model, body)
            self.assertEqual(status, 400 if number else 200, body)
            self.assertEqual(bool(fake.faults), bool(number))
        self.assertEqual(self.signed(fake, model, {"messages": [user]}, "another secret"), 400)

    def signed(self, fake, model, body, secret=None):
        url = f"{fake.root}/model/{urllib.parse.quote(model, safe='')}/converse"
        request = botocore.awsrequest.AWSRequest(
            "POST", url, data=json.dumps(body), headers={"Content-Type": "application/json"})
        botocore.auth.SigV4Auth(botocore.credentials.Credentials(KEYS[0], secret or KEYS[1], KEYS[2]),
                                "bedrock", REGION).add_auth(request)
        connection = http.client.HTTPConnection("127.0.0.1", fake.port, timeout=20)
        connection.request("POST", url.removeprefix(fake.root), request.data, dict(request.headers))
        status = connection.getresponse().status
        connection.close()
        return status


if __name__ == "__main__":
    unittest.main()
