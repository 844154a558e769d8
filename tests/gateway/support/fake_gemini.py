# SPDX-License-Identifier: Apache-2.0
"""Google's Gemini API: generateContent, its stream, embeddings and counts. Requests are judged by
the types of Google's own SDK, which name every member, and by the rules that the reference tells."""
import base64
import json
import re
import typing
import urllib.parse

import pydantic
from google.genai import types

from .fake import Breach, Fake, must, numbered, sse
from .scripts import SCRIPTS, cut

NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}")
SEALS = {p[2] for s in SCRIPTS.values() for p in s.parts if p[0] == "reasoning"}
# What Google documents for calls that another LLM made.
SKIP = "skip_thought_signature_validator"
STATES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED",
          404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE",
          504: "DEADLINE_EXCEEDED"}


FREE = {"args", "response", "parametersJsonSchema", "responseJsonSchema", "properties", "labels",
        "$defs"}  # members whose own are the client's


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")


class GenerateRequest(Strict):
    """The body of generateContent, after the REST reference; its parts are the SDK's types."""
    contents: list[types.Content]
    systemInstruction: typing.Optional[types.Content] = None
    tools: typing.Optional[list[types.Tool]] = None
    toolConfig: typing.Optional[types.ToolConfig] = None
    safetySettings: typing.Optional[list[types.SafetySetting]] = None
    generationConfig: typing.Optional[types.GenerationConfig] = None
    cachedContent: typing.Optional[str] = None
    labels: typing.Optional[dict[str, str]] = None
    serviceTier: typing.Optional[str] = None


class EmbedRequest(Strict):
    model: str
    content: types.Content
    taskType: typing.Optional[str] = None
    title: typing.Optional[str] = None
    outputDimensionality: typing.Optional[int] = None


def check_names(value, where="body"):
    """Members in camelCase alone, as the reference has them: the SDK's types take both forms."""
    if isinstance(value, dict):
        for name, inner in value.items():
            must("_" not in name, f"{where}: {name} is not in camelCase")
            if name not in FREE:
                check_names(inner, f"{where}.{name}")
    elif isinstance(value, list):
        for inner in value:
            check_names(inner, where)


def camel(value):
    """Members in camelCase, whatever they were."""
    if isinstance(value, dict):
        return {re.sub(r"_([a-z])", lambda m: m.group(1).upper(), k): v if k in FREE else camel(v)
                for k, v in value.items()}
    return [camel(v) for v in value] if isinstance(value, list) else value


def judged(kind, value):
    try:
        kind.model_validate(value)
    except pydantic.ValidationError as error:
        raise Breach("; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}"
                               for e in error.errors()[:4])) from None


def part_of(part):
    """A part as neutral ones; the last may be a seal of what stands before."""
    data = [k for k in ("text", "inlineData", "fileData", "functionCall", "functionResponse")
            if k in part]
    must(len(data) == 1, f"a part has exactly one of its data members, not {data}")
    kind, seal = data[0], part.get("thoughtSignature")
    if kind == "functionCall" and seal == SKIP:
        seal = None
    must(seal is None or seal in SEALS, "Thought signature is not valid")
    if kind == "text":
        if part.get("thought"):
            return [("reasoning", part["text"], seal)]
        return [("text", part["text"])] + ([("seal", seal)] if seal else [])
    if kind == "inlineData":
        media = part["inlineData"]["mimeType"]
        # Both of base64's alphabets are taken, as everywhere in Google's JSON.
        base64.b64decode(part["inlineData"]["data"], "-_" if "-" in part["inlineData"]["data"] or
                         "_" in part["inlineData"]["data"] else None, validate=True)
        if media.startswith("audio/"):
            return [("audio", media[6:], part["inlineData"]["data"])]
        return [("image" if media.startswith("image/") else "file", media,
                 part["inlineData"]["data"])]
    if kind == "fileData":
        media = part["fileData"].get("mimeType", "image/")
        return [("image_url" if media.startswith("image/") else "file_url",
                 part["fileData"]["fileUri"])]
    if kind == "functionCall":
        call = part["functionCall"]
        must(NAME.fullmatch(call["name"]), f"a function called {call['name']}")
        told = [("call", call.get("id") or ("by name", call["name"]), call["name"],
                 call.get("args", {}))]
        return told + ([("seal", seal)] if seal else [])
    answer = part["functionResponse"]
    return [("result", answer.get("id") or ("by name", answer["name"]), result_of(answer),
             set(answer["response"]) == {"error"})]


def result_of(answer):
    """What a functionResponse tells, as neutral parts."""
    told = answer["response"]
    parts = []
    for key in ("output", "result", "error"):
        if set(told) == {key} and isinstance(told[key], str):
            parts = [("text", told[key])] if told[key] else []
            break
    else:
        parts = [("json", told)]
    for more in answer.get("parts", []):
        parts.append(("image", more["inlineData"]["mimeType"], more["inlineData"]["data"]))
    return parts


def read_contents(contents, signed):
    """Turns. signed: calls carry a signature, as Gemini 3 wants it. Answers of functions must be
    as many as the calls just before, by name and order; ids are optional, so calls without one are
    told apart by their place."""
    must(contents, "contents is not specified")
    turns, waiting, last = [], [], None
    for content in contents:
        role = {"user": "user", "model": "assistant"}.get(content.get("role", "user"))
        must(role, f"Please use a valid role: user, model: {content.get('role')}")
        must(content.get("parts"), "contents.parts must not be empty")
        calls = [p["functionCall"] for p in content["parts"] if "functionCall" in p]
        answers = [p["functionResponse"] for p in content["parts"] if "functionResponse" in p]
        must(len(answers) == len(waiting) if answers or waiting else True,
             "the number of function response parts must equal that of function call parts of the "
             "function call turn")
        must(not calls or not signed or any(
            "thoughtSignature" in p for p in content["parts"] if "functionCall" in p),
            "Function call is missing a thought_signature in functionCall parts")
        for answer, call in zip(answers, waiting):
            must(answer["name"] == call["name"], f"a response of {answer['name']} to {call['name']}")
            must(answer.get("id") == call.get("id"), "a response's id is not its call's")
        must(not calls or (role == "assistant" and last == "user"),
             "a function call turn comes immediately after a user turn or a function response turn")
        waiting, last = calls, role
        for part in content["parts"]:
            turns += [(role, told) for told in part_of(part)]
    must(not waiting, "function calls without responses")
    return by_place(turns)


def by_place(turns):
    """Calls without ids get one by their place, and so do their results."""
    made, calls, results = [], 0, 0
    for role, part in turns:
        if part[0] == "call":
            part, calls = ("call", part[1] if isinstance(part[1], str) else f"#{calls}",
                           *part[2:]), calls + 1
        elif part[0] == "result":
            part, results = ("result", part[1] if isinstance(part[1], str) else f"#{results}",
                             *part[2:]), results + 1
        made.append((role, part))
    return numbered(made)


def read_tools(asked):
    tools = []
    for tool in asked.get("tools") or []:
        must(list(tool) == ["functionDeclarations"], f"a tool of kind {list(tool)}")
        for told in tool["functionDeclarations"]:
            must(NAME.fullmatch(told["name"]), f"a function called {told['name']}")
            must(not ("parameters" in told and "parametersJsonSchema" in told), "two schemas")
            tools.append({"name": told["name"], "description": told.get("description"),
                          "schema": told.get("parametersJsonSchema", told.get("parameters")),
                          "strict": None})
    return tools


def read_options(asked, tools):
    config, options = asked.get("generationConfig", {}), {}
    for ours, theirs in (("max_tokens", "maxOutputTokens"), ("temperature", "temperature"),
                         ("top_p", "topP"), ("top_k", "topK"), ("seed", "seed"),
                         ("stop", "stopSequences"), ("presence_penalty", "presencePenalty"),
                         ("frequency_penalty", "frequencyPenalty"), ("n", "candidateCount"),
                         ("logprobs", "responseLogprobs"), ("top_logprobs", "logprobs")):
        if theirs in config:
            options[ours] = config[theirs]
    must(1 <= len(options.get("stop", ["x"])) <= 5, "stopSequences: 1 to 5")
    must(0 <= options.get("temperature", 1) <= 2, "temperature: 0 to 2")
    must(0 <= options.get("top_p", 1) <= 1, "topP: 0 to 1")
    for name in ("presence_penalty", "frequency_penalty"):
        must(-2 <= options.get(name, 0) < 2, f"{name}: -2 to 2")
    schema = config.get("responseJsonSchema", config.get("responseSchema"))
    must(not ("responseJsonSchema" in config and "responseSchema" in config), "two schemas")
    if config.get("responseMimeType") == "application/json":
        options["format"] = {"schema": schema} if schema is not None else "json"
    must(schema is None or "format" in options, "a schema needs the type application/json")
    thinking = config.get("thinkingConfig", {})
    must(not ("thinkingBudget" in thinking and "thinkingLevel" in thinking), "budget and level")
    if "thinkingBudget" in thinking:
        options["budget"] = thinking["thinkingBudget"]
    if "thinkingLevel" in thinking:
        options["effort"] = thinking["thinkingLevel"].lower()
    if "includeThoughts" in thinking:
        options["thoughts"] = thinking["includeThoughts"]
    calling = (asked.get("toolConfig") or {}).get("functionCallingConfig")
    if calling:
        must(tools, "Function calling config is set without function_declarations")
        mode, names = calling.get("mode", "AUTO"), calling.get("allowedFunctionNames", [])
        must(not names or mode in ("ANY", "VALIDATED"), "allowedFunctionNames need mode ANY")
        must(all(any(t["name"] == n for t in tools) for n in names), "no such function")
        if mode == "VALIDATED":  # arguments that keep to the schema
            for tool in tools:
                tool["strict"] = True
            mode = "ANY" if names else "AUTO"
        options["tool_choice"] = f"name:{names[0]}" if len(names) == 1 else mode.lower()
    return options


FINISHES = {"stop": "STOP", "length": "MAX_TOKENS", "tools": "STOP", "filter": "SAFETY",
            "sequence": "STOP"}


class Gemini(Fake):
    name = "gemini"
    is_camel = True  # False: Google's own SDK sends both forms, and the API takes both

    @property
    def url(self):
        return self.root + "/v1beta"

    def read(self, seen):
        must(seen.header("x-goog-api-key") == self.key and seen.header("authorization") is None,
             "another key, or at another place")
        found = re.fullmatch(r"/v1beta/models/([^/:?]+):([a-zA-Z]+)(\?alt=sse)?", seen.path)
        must(found, f"no such path: {seen.path}")
        method, query = found.group(2), found.group(3)
        must(urllib.parse.unquote(found.group(1)) == self.model, f"model {found.group(1)}")
        must((query is not None) == (method == "streamGenerateContent"), f"query {query}")
        asked = seen.json()
        if method == "batchEmbedContents":
            must(set(asked) == {"requests"}, f"members {sorted(asked)}")
            return self.read_embeddings(asked["requests"], method), False
        if method == "embedContent":
            return self.read_embeddings([{"model": f"models/{self.model}", **asked}], method), False
        must(method in ("generateContent", "streamGenerateContent"), f"no such method: {method}")
        if self.is_camel:
            check_names(asked)
        else:
            asked = camel(asked)
        judged(GenerateRequest, asked)
        system = [p["text"] for p in (asked.get("systemInstruction") or {}).get("parts", [])]
        tools = read_tools(asked)
        return {"kind": "gemini", "system": system, "turns": read_contents(
                    asked["contents"], self.is_camel),
                "tools": tools, "options": read_options(asked, tools)}, query is not None

    def read_embeddings(self, requests, method):
        inputs, options = [], {}
        for told in requests:
            judged(EmbedRequest, told)
            must(told["model"] == f"models/{self.model}", f"model {told['model']}")
            inputs.append("".join(p["text"] for p in told["content"]["parts"]))
            if "outputDimensionality" in told:
                options["dimensions"] = told["outputDimensionality"]
        must(inputs and all(inputs), "empty inputs")
        return {"kind": "embedding", "method": method, "inputs": inputs, "options": options}

    def usage(self, said):
        told = {"promptTokenCount": said.input,
                "candidatesTokenCount": said.output - said.reasoning,
                "totalTokenCount": said.input + said.output,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": said.input}]}
        if said.cached:
            told["cachedContentTokenCount"] = said.cached
        if said.reasoning:
            told["thoughtsTokenCount"] = said.reasoning
        return told

    def parts(self, said):
        """Parts as Gemini tells them: a thought's seal stands at what comes after it."""
        seal = None
        for part in said.parts:
            if part[0] == "reasoning":
                yield {"text": part[1], "thought": True}
                seal = part[2]
                continue
            told = {"text": part[1]} if part[0] in ("text", "refusal") else {"functionCall": {
                "name": part[2], "args": part[3], "id": part[1]}}
            if seal:
                told["thoughtSignature"], seal = seal, None
            yield told

    def ending(self, said):
        return "SAFETY" if any(p[0] == "refusal" for p in said.parts) else FINISHES[said.finish]

    def whole(self, said, heard):
        if heard.asked["kind"] == "embedding":
            width = heard.asked["options"].get("dimensions", 4)
            made = [{"values": [0.25, -0.5, float(i)] + [0.125] * (width - 3)}
                    for i in range(len(heard.asked["inputs"]))]
            return {"embeddings": made} if heard.asked["method"].startswith("batch") \
                else {"embedding": made[0]}
        candidate = {"content": {"role": "model", "parts": list(self.parts(said))},
                     "finishReason": self.ending(said), "index": 0}
        if heard.asked["options"].get("logprobs"):
            told = {"token": said.text, "tokenId": 7, "logProbability": -0.25}
            other = {"token": "Graz", "tokenId": 8, "logProbability": -4.5}
            candidate["logprobsResult"] = {"chosenCandidates": [told],
                                           "topCandidates": [{"candidates": [told, other]}]}
        return {"candidates": [candidate],
                "usageMetadata": self.usage(said), "modelVersion": self.model,
                "responseId": heard.cell}

    def pieces(self, said, heard):
        base = {"modelVersion": self.model, "responseId": heard.cell}
        early = {"promptTokenCount": said.input, "totalTokenCount": said.input}
        told = [piece for part in self.parts(said) for piece in cut_part(part)] or [None]
        for i, piece in enumerate(told):
            candidate = {"index": 0}
            if piece is not None:
                candidate["content"] = {"role": "model", "parts": [piece]}
            is_last = i == len(told) - 1
            if is_last:
                candidate["finishReason"] = self.ending(said)
            yield sse({"candidates": [candidate], **base,
                       "usageMetadata": self.usage(said) if is_last else early})

    def failure(self, status, sentence):
        return {"error": {"code": status, "message": sentence,
                          "status": STATES.get(status, "INTERNAL")}}

    def midway(self, heard):
        return sse(self.failure(503, "The model is overloaded. Please try again later."))


def cut_part(part):
    if "text" not in part:
        return [part]
    pieces = cut(part["text"], max(4, len(part["text"]) // 2000))
    made = [{**{k: v for k, v in part.items() if k != "thoughtSignature"}, "text": p}
            for p in pieces]
    if "thoughtSignature" in part:
        made.append({"text": "", "thoughtSignature": part["thoughtSignature"]})
    return made
