# SPDX-License-Identifier: Apache-2.0
"""OpenAI's chat completions, legacy completions and embeddings, at their own addresses and at
Azure's; requests are judged by the official SDK's types and by the rules that the reference tells."""
import base64
import json
import re
import struct

from openai.types.chat.completion_create_params import CompletionCreateParams as ChatParams
from openai.types.completion_create_params import CompletionCreateParams
from openai.types.embedding_create_params import EmbeddingCreateParams

from . import strict
from .fake import Breach, Fake, must, numbered, sse
from .scripts import cut

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
DATA_URL = re.compile(r"data:([a-z]+/[a-z0-9.+-]+);base64,([A-Za-z0-9+/]+={0,2})")
IMAGES = {"image/png", "image/jpeg", "image/gif", "image/webp"}


def media_of(url):
    """("image", media, data) or ("image_url", url)."""
    found = DATA_URL.fullmatch(url)
    if found:
        must(found.group(1) in IMAGES, f"images of type {found.group(1)}")
        base64.b64decode(found.group(2), validate=True)
        return ("image", found.group(1), found.group(2))
    must(url.startswith(("https://", "http://")), f"an image at {url[:40]}")
    return ("image_url", url)


def parts_of(content):
    """Content of a message as neutral parts."""
    if content is None:
        return []
    if isinstance(content, str):
        return [("text", content)] if content else []
    made = []
    for part in content:
        kind = part["type"]
        if kind == "text":
            made.append(("text", part["text"]))
        elif kind == "refusal":
            made.append(("refusal", part["refusal"]))
        elif kind == "image_url":
            made.append(media_of(part["image_url"]["url"]))
        elif kind == "file":
            found = re.fullmatch(r"data:([^;]+);base64,(.+)", part["file"]["file_data"])
            must(found and part["file"].get("filename"), "a file without its name or data URL")
            made.append(("file", found.group(1), found.group(2)))
        elif kind == "input_audio":
            made.append(("audio", part["input_audio"]["format"], part["input_audio"]["data"]))
        else:
            raise Breach(f"a part of type {kind}")
    return made


def arguments_of(text):
    value = json.loads(text)
    must(isinstance(value, dict), "arguments that are no object")
    return value


def read_messages(messages):
    """(system, turns); the order of calls and results is checked."""
    system, turns, open_calls = [], [], set()
    for message in messages:
        role = message["role"]
        must(role == "tool" or not open_calls,
             f"tool calls without results before the next message: {sorted(open_calls)}")
        if role in ("system", "developer"):
            # A system message behind others stands among the turns.
            told = [p[1] for p in parts_of(message["content"])]
            if turns:
                turns += [("system", ("text", t)) for t in told]
            else:
                system += told
        elif role == "user":
            turns += [("user", p) for p in parts_of(message["content"])]
        elif role == "assistant":
            if message.get("reasoning_content"):
                turns.append(("assistant", ("reasoning", message["reasoning_content"], None)))
            turns += [("assistant", p) for p in parts_of(message.get("content"))]
            if message.get("refusal"):
                turns.append(("assistant", ("refusal", message["refusal"])))
            for call in message.get("tool_calls") or []:
                must(NAME.fullmatch(call["function"]["name"]), "a tool's name")
                open_calls.add(call["id"])
                turns.append(("assistant", ("call", call["id"], call["function"]["name"],
                                            arguments_of(call["function"]["arguments"]))))
            must(message.get("content") is not None or message.get("tool_calls")
                 or message.get("refusal"), "an assistant's message without content or calls")
        elif role == "tool":
            must(message["tool_call_id"] in open_calls,
                 f"a result for {message['tool_call_id']}, which was not called just before")
            open_calls.discard(message["tool_call_id"])
            turns.append(("user", ("result", message["tool_call_id"],
                                   parts_of(message["content"]), False)))
        else:
            raise Breach(f"role {role}")
    must(not open_calls, f"calls without results: {sorted(open_calls)}")
    must(turns, "no messages")
    return system, numbered(turns)


def read_tools(asked):
    tools = []
    for tool in asked.get("tools") or []:
        must(tool["type"] == "function", f"a tool of type {tool['type']}")
        function = tool["function"]
        must(NAME.fullmatch(function["name"]), f"a tool called {function['name']}")
        tools.append({"name": function["name"], "description": function.get("description"),
                      "schema": function.get("parameters"), "strict": function.get("strict")})
    must("tools" not in asked or tools, "an empty list of tools")
    must(len(tools) <= 128, "too many tools")
    must(tools or "tool_choice" not in asked, "tool_choice is only allowed with tools")
    must(tools or "parallel_tool_calls" not in asked,
         "parallel_tool_calls is only allowed with tools")
    return tools


def choice_of(asked, tools):
    choice = asked.get("tool_choice")
    if isinstance(choice, dict):
        name = (choice.get("function") or choice)["name"]
        must(any(t["name"] == name for t in tools), f"tool_choice names {name}, which is no tool")
        return f"name:{name}"
    return {"required": "any"}.get(choice, choice)


def format_of(told):
    """response_format, or text.format of responses."""
    if told is None or told["type"] == "text":
        return None
    if told["type"] == "json_object":
        return "json"
    told = told.get("json_schema") or told
    must(NAME.fullmatch(told["name"]), f"a schema called {told['name']}")
    return {"name": told["name"], "schema": told.get("schema"), "strict": told.get("strict")}


def within(asked, name, low, high):
    value = asked.get(name)
    must(value is None or low <= value <= high, f"{name} must be {low} to {high}, not {value}")


def read_options(asked, tools, is_strict):
    options = {name: asked[name] for name in (
        "temperature", "top_p", "seed", "frequency_penalty", "presence_penalty", "n", "logprobs",
        "top_logprobs", "logit_bias", "user", "metadata", "service_tier", "store", "verbosity",
        "prediction", "safety_identifier", "prompt_cache_key", "modalities")
        if asked.get(name) is not None}
    within(asked, "temperature", 0, 2)
    within(asked, "top_p", 0, 1)
    within(asked, "frequency_penalty", -2, 2)
    within(asked, "presence_penalty", -2, 2)
    within(asked, "n", 1, 128)
    within(asked, "top_logprobs", 0, 20)
    must(asked.get("top_logprobs") is None or asked.get("logprobs"), "top_logprobs without logprobs")
    must(asked.get("stream_options") is None or asked.get("stream"),
         "stream_options is only allowed when stream is on")
    must(asked.get("max_tokens") is None or asked.get("max_completion_tokens") is None,
         "max_tokens and max_completion_tokens")
    limit = asked.get("max_completion_tokens") or asked.get("max_tokens")
    must(limit is None or limit >= 1, "max_tokens must be at least 1")
    stop = asked.get("stop")
    stop = [stop] if isinstance(stop, str) else stop
    # Servers that speak the protocol take more; OpenAI's own refuse these.
    must(stop is None or 1 <= len(stop) <= (4 if is_strict else 64), "stop: 1 to 4 sequences")
    must(not is_strict or "max_tokens" not in asked, "Unsupported parameter: 'max_tokens'. Use "
         "'max_completion_tokens' instead.")
    for name, value in (("max_tokens", limit), ("stop", stop), ("tool_choice", choice_of(asked, tools)),
                        ("parallel", asked.get("parallel_tool_calls")),
                        ("effort", asked.get("reasoning_effort")),
                        ("format", format_of(asked.get("response_format")))):
        if value is not None:
            options[name] = value
    return options


def usage_of(said):
    return {"prompt_tokens": said.input, "completion_tokens": said.output,
            "total_tokens": said.input + said.output,
            "prompt_tokens_details": {"cached_tokens": said.cached, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": said.reasoning, "audio_tokens": 0,
                                          "accepted_prediction_tokens": 0,
                                          "rejected_prediction_tokens": 0}}


FINISHES = {"stop": "stop", "length": "length", "tools": "tool_calls", "filter": "content_filter",
            "sequence": "stop"}


class OpenAI(Fake):
    """Azure's classic addresses where azure names a version, and OpenAI's own limits with them;
    else any server of the protocol."""
    name = "openai"

    def __init__(self, azure=None, **more):
        self.azure = azure
        super().__init__(**more)

    @property
    def url(self):
        return self.root + ("" if self.azure else "/v1")

    def read(self, seen):
        path = self.read_head(seen)
        asked = seen.json()
        if path == "/chat/completions":
            return self.read_chat(asked), asked.get("stream") is True
        if path == "/completions":
            return self.read_completion(asked), asked.get("stream") is True
        if path == "/embeddings":
            return self.read_embedding(asked), False
        raise Breach(f"no such path: {seen.path}", 404)

    def read_head(self, seen):
        """The path behind the base; key and model are checked."""
        if self.azure:
            must(seen.header("api-key") == self.key and seen.header("authorization") is None,
                 "another key, or at another place")
            found = re.fullmatch(r"/openai/deployments/([^/?]+)(/[a-z/]+)\?api-version=([0-9a-z-]+)",
                                 seen.path)
            must(found, f"not Azure's path: {seen.path}")
            must(found.group(1) == self.model, f"deployment {found.group(1)}")
            must(found.group(3) == self.azure, f"api-version {found.group(3)}")
            return found.group(2)
        must(seen.header("authorization") == f"Bearer {self.key}", "another key")
        must(seen.json().get("model") == self.model, f"model {seen.json().get('model')!r}")
        must(seen.path.startswith("/v1/"), seen.path)
        return seen.path[3:]

    def read_chat(self, asked):
        judged = dict(asked, model=asked.get("model", self.model))
        # vLLM's, DeepSeek's and others' member beside OpenAI's own.
        judged["messages"] = [{k: v for k, v in m.items() if k != "reasoning_content"}
                              for m in asked["messages"]]
        wrong = strict.check(ChatParams, judged)
        must(wrong is None, wrong)
        system, turns = read_messages(asked["messages"])
        tools = read_tools(asked)
        return {"kind": "chat", "system": system, "turns": turns, "tools": tools,
                "options": read_options(asked, tools, bool(self.azure))}

    def read_completion(self, asked):
        wrong = strict.check(CompletionCreateParams, dict(asked, model=asked.get("model", "m")))
        must(wrong is None, wrong)
        stop = [asked["stop"]] if isinstance(asked.get("stop"), str) else asked.get("stop")
        must(stop is None or 1 <= len(stop) <= 4, "stop: 1 to 4 sequences")
        options = {k: v for k, v in asked.items()
                   if k not in ("model", "prompt", "stream", "stream_options", "stop")}
        if stop is not None:
            options["stop"] = stop
        must(isinstance(asked["prompt"], (str, list)), "no prompt")
        return {"kind": "completion", "system": [], "turns": [("user", ("text", asked["prompt"]))],
                "tools": [], "options": options}

    def read_embedding(self, asked):
        wrong = strict.check(EmbeddingCreateParams, dict(asked, model=asked.get("model", "m")))
        must(wrong is None, wrong)
        inputs = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
        must(inputs and all(i for i in inputs), "an empty input")
        return {"kind": "embedding", "inputs": inputs,
                "options": {k: v for k, v in asked.items() if k not in ("model", "input")}}

    def whole(self, said, heard):
        if heard.asked["kind"] == "embedding":
            return embedding_answer(heard.asked, self.model)
        told = {"id": f"chatcmpl-{heard.cell}", "created": 1790000000, "model": self.model,
                "usage": usage_of(said)}
        count = heard.asked["options"].get("n", 1)
        if heard.asked["kind"] == "completion":
            return {**told, "object": "text_completion", "choices": [
                {"index": i, "text": said.text, "finish_reason": FINISHES[said.finish],
                 "logprobs": None} for i in range(count)]}
        message = {"role": "assistant", "content": said.text or None, "refusal": None,
                   "annotations": []}
        for part in said.parts:
            if part[0] == "refusal":
                message["refusal"] = part[1]
            elif part[0] == "reasoning":
                message["reasoning_content"] = part[1]
        calls = [{"id": p[1], "type": "function", "function": {
            "name": p[2], "arguments": json.dumps(p[3], ensure_ascii=False)}} for p in said.calls()]
        if calls:
            message["tool_calls"] = calls
        return {**told, "object": "chat.completion", "service_tier": "default",
                "system_fingerprint": "fp_1", "choices": [
                    {"index": i, "message": message, "finish_reason": FINISHES[said.finish],
                     "logprobs": logprobs(said.text) if heard.asked["options"].get("logprobs") else None}
                    for i in range(count)]}

    def pieces(self, said, heard):
        asked = heard.seen.json()
        base = {"id": f"chatcmpl-{heard.cell}", "created": 1790000000, "model": self.model,
                "system_fingerprint": "fp_1"}
        has_usage = (asked.get("stream_options") or {}).get("include_usage") is True
        if has_usage:
            base["usage"] = None
        if heard.asked["kind"] == "completion":
            base["object"] = "text_completion"
            for part in cut(said.text):
                yield sse({**base, "choices": [{"index": 0, "text": part, "finish_reason": None,
                                                "logprobs": None}]})
            yield sse({**base, "choices": [{"index": 0, "text": "", "logprobs": None,
                                            "finish_reason": FINISHES[said.finish]}]})
        else:
            base["object"] = "chat.completion.chunk"
            if self.azure:
                yield sse({**base, "choices": [], "prompt_filter_results": [
                    {"prompt_index": 0, "content_filter_results": {}}]})
            for delta, finish in chat_deltas(said):
                told = logprobs(delta["content"]) if delta.get("content") and \
                    heard.asked["options"].get("logprobs") else None
                yield sse({**base, "choices": [{"index": 0, "delta": delta, "logprobs": told,
                                                "finish_reason": finish}]})
        if has_usage:
            yield sse({**base, "choices": [], "usage": usage_of(said)})
        yield b"data: [DONE]\n\n"

    def failure(self, status, sentence):
        kind = {400: "invalid_request_error", 401: "invalid_request_error",
                404: "invalid_request_error", 429: "rate_limit_error"}.get(status, "server_error")
        code = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
        return {"error": {"message": sentence, "type": kind, "param": None,
                          "code": code.get(status)}}

    def midway(self, heard):
        return sse({"error": {"message": "The server had an error in the middle.",
                              "type": "server_error", "param": None, "code": None}})


def chat_deltas(said):
    """(delta, finish_reason) of a streamed answer."""
    yield {"role": "assistant", "content": "", "refusal": None}, None
    number = 0
    for part in said.parts:
        if part[0] == "call":
            yield {"tool_calls": [{"index": number, "id": part[1], "type": "function",
                                   "function": {"name": part[2], "arguments": ""}}]}, None
            for piece in cut(json.dumps(part[3], ensure_ascii=False), 3):
                yield {"tool_calls": [{"index": number, "function": {"arguments": piece}}]}, None
            number += 1
        else:
            member = {"text": "content", "refusal": "refusal",
                      "reasoning": "reasoning_content"}[part[0]]
            for piece in cut(part[1], max(4, len(part[1]) // 2000)):
                yield {member: piece}, None
    yield {}, FINISHES[said.finish]


def logprobs(text):
    """Of the text as if it were one token."""
    return {"content": [{"token": text, "logprob": -0.25, "bytes": list(text.encode()),
                         "top_logprobs": [{"token": text, "logprob": -0.25, "bytes": None},
                                          {"token": "Graz", "logprob": -4.5, "bytes": None}]}],
            "refusal": None}


def embedding_answer(asked, model):
    """Vectors that tell the place of their input; base64 where asked for."""
    width = asked["options"].get("dimensions", 4)
    data = []
    for i, _ in enumerate(asked["inputs"]):
        vector = [0.25, -0.5, float(i)] + [0.125] * (width - 3)
        if asked["options"].get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack(f"<{width}f", *vector)).decode()
        data.append({"object": "embedding", "index": i, "embedding": vector})
    return {"object": "list", "model": model, "data": data,
            "usage": {"prompt_tokens": 5 * len(data), "total_tokens": 5 * len(data)}}
