# SPDX-License-Identifier: Apache-2.0
"""What clients ask, apart from any surface: the rows of the conformance matrix, and how each is said
in OpenAI's chat, completions and Responses and in Anthropic's Messages."""
import base64
import dataclasses
import json

from .scripts import SCRIPTS

PIXEL = ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
         "rkJggg==")
PDF = base64.b64encode(b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n").decode()
WAVE = base64.b64encode(b"RIFF" + bytes(40)).decode()
CITY = {"type": "object", "properties": {"city": {"type": "string", "description": "In “Austria”"},
                                         "days": {"type": "number"}},
        "required": ["city", "days"], "additionalProperties": False}
WEATHER = {"name": "weather", "description": "The weather of a city.", "schema": CITY}
CLOCK = {"name": "clock", "description": "The time of day.",
         "schema": {"type": "object", "properties": {}, "required": [],
                    "additionalProperties": False}}
ANSWER = {"type": "object", "properties": {"answer": {"type": "integer"},
                                           "city": {"type": "string"}},
          "required": ["answer", "city"], "additionalProperties": False}
QUESTION = "What is the capital of Austria? “Ünïcödé” \\ \"quoted\" 🎡 {mark}"
# Not these seals: each can be read by the provider alone whose surface it came through.
PROTOCOLS = ("openai", "openai-responses", "anthropic", "bedrock", "bedrock-invoke", "gemini")
THOUGHT = SCRIPTS["reasoning"].parts[0]


class Inexpressible(Exception):
    """The surface has no way to say it."""


@dataclasses.dataclass
class Row:
    """A feature: what is asked, what is answered. name stands in the matrix; features are those of
    the gateway's tables that the request uses; only are the surfaces whose clients can say it, None:
    all that are able; raw is added to the parameters of a surface as it is; partly are features that a
    protocol carries, but not this value of theirs: it leaves that out, and tells so. limits tell which
    upstreams refuse this value of a member, and the words that say so."""
    name: str
    script: str = "text"
    system: list = dataclasses.field(default_factory=list)
    turns: list = None
    tools: list = dataclasses.field(default_factory=list)
    options: dict = dataclasses.field(default_factory=dict)
    features: tuple = ()
    only: tuple = None
    raw: dict = dataclasses.field(default_factory=dict)
    stream: bool = True  # whether it is asked streamed, and whole
    whole: bool = True
    partly: dict = dataclasses.field(default_factory=dict)
    limits: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.turns is None:
            self.turns = [("user", ("text", QUESTION))]


def user(text=QUESTION):
    return ("user", ("text", text))


def asks_weather(*more):
    return {"tools": [WEATHER, CLOCK], "features": ("tools", *more)}


ROWS = [
    Row("text in many alphabets"),
    Row("system prompt", system=["You are terse. “Ja.”"]),
    Row("several turns", turns=[
        user("Hello! “Grüß Gott”"), ("assistant", ("text", "Hello, how can I help?")), user()]),
    Row("several texts in a turn", turns=[user("First part."), user("Second part. {mark}")]),
    Row("length limit", "length", options={"max_tokens": 64}),
    Row("stop sequences", "sequence", options={"stop": ["END", "\n\nHuman:"]},
        features=("stop sequences",)),
    Row("temperature", options={"temperature": 0.25}, features=("temperature",)),
    Row("temperature above 1", options={"temperature": 1.5}, features=("temperature",),
        limits={p: "temperature" for p in ("anthropic", "bedrock", "bedrock-invoke")},
        only=("chat", "completions", "responses")),
    Row("five stop sequences", options={"stop": list("ABCDE")}, features=("stop sequences",),
        limits={"azure": "stop sequences"}, only=("messages",)),
    Row("top_p", options={"top_p": 0.5}, features=("top_p",)),
    Row("top_k", options={"top_k": 40}, features=("top_k",)),
    Row("seed", options={"seed": 7}, features=("seed",)),
    Row("frequency_penalty", options={"frequency_penalty": 0.5}, features=("frequency_penalty",)),
    Row("presence_penalty", options={"presence_penalty": -0.5}, features=("presence_penalty",)),
    Row("tools, not called", "text", **asks_weather()),
    Row("tool call", "call", **asks_weather()),
    Row("tool call without arguments", "noargs", **asks_weather()),
    Row("text and tool call", "textcall", **asks_weather()),
    Row("parallel tool calls", "parallel", **asks_weather()),
    Row("tool result", turns=[
        user("Weather in Graz?"), ("assistant", ("text", "Let me look.")),
        ("assistant", ("call", "call_Aa1", "weather", {"city": "Graz", "days": 2})),
        ("user", ("result", "call_Aa1", [("text", "Sunny, 21 °C. {mark}")], False))],
        **asks_weather()),
    Row("parallel tool results", turns=[
        user("Weather in Graz and Linz?"),
        ("assistant", ("call", "call_P1", "weather", {"city": "Graz", "days": 1})),
        ("assistant", ("call", "call_P2", "weather", {"city": "Linz", "days": 2})),
        ("user", ("result", "call_P1", [("text", "Sunny.")], False)),
        ("user", ("result", "call_P2", [("text", "Rain.")], False)), user()], **asks_weather()),
    Row("failed tool result", turns=[
        user("Weather?"), ("assistant", ("call", "call_E1", "weather", {"city": "?", "days": 1})),
        ("user", ("result", "call_E1", [("text", "No such city. {mark}")], True))],
        only=("messages",), **asks_weather("failed tool results")),
    Row("image in a tool result", turns=[
        user("Map?"), ("assistant", ("call", "call_I1", "clock", {})),
        ("user", ("result", "call_I1", [("text", "A map: {mark}"), ("image", "image/png", PIXEL)],
                  False))],
        only=("messages", "responses"), **asks_weather("images in tool results", "images")),
    Row("tool choice auto", "call", options={"tool_choice": "auto"}, **asks_weather()),
    Row("tool choice none", options={"tool_choice": "none"}, **asks_weather("tool_choice none")),
    Row("tool choice any", "call", options={"tool_choice": "any"}, **asks_weather("tool_choice any")),
    Row("tool choice by name", "call", options={"tool_choice": "name:weather"},
        **asks_weather("tool_choice by name")),
    Row("parallel tool calls off", "call", options={"parallel": False},
        **asks_weather("parallel tool calls off")),
    Row("strict tools", "call", tools=[dict(WEATHER, strict=True)],
        features=("tools", "strict tools")),
    Row("image", turns=[user("What is it? {mark}"), ("user", ("image", "image/png", PIXEL))],
        features=("images",)),
    Row("image by its address", turns=[
        user("What is it? {mark}"), ("user", ("image_url", "https://example.com/a%20b.png"))],
        features=("image URLs",)),
    Row("document", turns=[("user", ("file", "application/pdf", PDF)), user("Sum it up. {mark}")],
        features=("files",)),
    Row("document by its address", turns=[
        ("user", ("file_url", "https://example.com/paper.pdf")), user("Sum it up. {mark}")],
        features=("file URLs",)),
    Row("uploaded document", turns=[("user", ("file_id", "file_123")), user("Sum it up. {mark}")],
        features=("uploaded files",)),
    Row("audio", turns=[user("What is said? {mark}"), ("user", ("audio", "wav", WAVE))],
        features=("audio",)),
    Row("image detail", turns=[user("What is it? {mark}"), ("user", ("image", "image/png", PIXEL))],
        raw={"chat": {"messages": [{"role": "user", "content": [
            {"type": "text", "text": "What is it? {mark}"}, {"type": "image_url", "image_url": {
                "detail": "low", "url": f"data:image/png;base64,{PIXEL}"}}]}]}},
        features=("images", "image detail"), only=("chat",)),
    Row("names of participants", turns=[user("Who am I? {mark}")],
        raw={"chat": {"messages": [{"role": "user", "name": "ann", "content": "Who am I? {mark}"}]}},
        features=("participants' names",), only=("chat",)),
    Row("prediction", raw={"chat": {"prediction": {"type": "content", "content": "Vienna"}}},
        features=("prediction",), only=("chat",)),
    Row("JSON mode", "json", options={"format": "json"}, features=("JSON mode",)),
    Row("JSON schema", "json", options={"format": {"name": "answer", "schema": ANSWER}},
        features=("JSON schemas",)),
    Row("reasoning effort", "reasoning", options={"effort": "low"}, features=("reasoning effort",)),
    Row("reasoning budget", "reasoning", options={"budget": 2048, "max_tokens": 8192},
        features=("reasoning budget",)),
    Row("reasoning in the answer", "reasoning"),
    Row("reasoning and tool call", "thinkcall", **asks_weather()),
    Row("reasoning of earlier turns", turns=[
        user("Weather in Vienna?"), ("assistant", THOUGHT),
        ("assistant", ("call", "call_T1", "weather", {"city": "Wien", "days": 3})),
        ("user", ("result", "call_T1", [("text", "Snow. {mark}")], False))],
        only=("messages", "responses"), partly={p: ("reasoning history",) for p in PROTOCOLS},
        **asks_weather("reasoning history")),
    Row("refusal", "refusal"),
    Row("filtered answer", "filter"),
    Row("usage: cached and reasoning tokens", "usage"),
    Row("usage: tokens put into the cache", "written"),
    Row("a long answer", "long"),
    Row("an empty answer", "empty"),
    Row("prefill", turns=[user(), ("assistant", ("text", "The capital is"))],
        features=("prefill",), only=("chat", "messages", "responses")),
    Row("late system message", turns=[
        user("Hello."), ("assistant", ("text", "Hello!")), user(), ("system", ("text", "Be brief."))],
        features=("late system messages",), only=("chat", "responses")),
    Row("several choices", options={"n": 2}, features=("several choices",), stream=False),
    Row("logprobs", options={"logprobs": True, "top_logprobs": 2}, features=("logprobs",),
        stream=False, only=("chat",)),
    Row("logprobs of a stream", options={"logprobs": True, "top_logprobs": 2},
        features=("logprobs",), whole=False, only=("chat",), limits={"gemini": "logprobs"}),
    Row("logit_bias", raw={s: {"logit_bias": {"50256": -100}} for s in ("chat", "completions")},
        only=("chat", "completions"), features=("logit_bias",)),
    Row("user", options={"user": "user-17"}, features=("user",)),
    Row("metadata", options={"metadata": {"team": "search"}}, features=("metadata",),
        only=("chat", "responses")),
    Row("service_tier", raw={"chat": {"service_tier": "flex"}, "responses": {"service_tier": "flex"},
                             "messages": {"service_tier": "standard_only"}},
        features=("service_tier",), only=("chat", "responses", "messages"),
        partly={"anthropic": ("service_tier",)}),
    Row("store", raw={"chat": {"store": True}, "responses": {"store": True}},
        features=("store",), only=("chat", "responses")),
    Row("verbosity", options={"verbosity": "low"}, features=("verbosity",),
        only=("chat", "responses")),
    Row("cache marks", raw={"messages": {"system": [{
        "type": "text", "text": "A long prompt.", "cache_control": {"type": "ephemeral"}}]}},
        system=["A long prompt."], features=("cache marks",), only=("messages",)),
    Row("hosted tools", raw={
        "responses": {"tools": [{"type": "web_search"}]},
        "messages": {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}},
        features=("hosted tools",), only=("responses", "messages")),
    Row("earlier answer kept by the provider", raw={"responses": {
        "previous_response_id": "resp_123"}}, features=("state",), only=("responses",)),
    Row("suffix and echo", raw={"completions": {"echo": True}}, features=("completion extras",),
        only=("completions",)),
]


def marked(value, mark):
    """A value with the mark in its texts."""
    if isinstance(value, str):
        return value.replace("{mark}", mark)
    if isinstance(value, (list, tuple)):
        return type(value)(marked(v, mark) for v in value)
    if isinstance(value, dict):
        return {k: marked(v, mark) for k, v in value.items()}
    return value


def grouped(turns):
    """[(role, [part])]: neighbours of one role are one turn."""
    made = []
    for role, part in turns:
        if made and made[-1][0] == role:
            made[-1][1].append(part)
        else:
            made.append((role, [part]))
    return made


def limited(options, table, surface):
    for name in options:
        if name not in table:
            raise Inexpressible(f"{name} in {surface}")


def data_url(part):
    return f"data:{part[1]};base64,{part[2]}"


# Chat completions.

def chat_part(part):
    if part[0] == "text":
        return {"type": "text", "text": part[1]}
    if part[0] == "image":
        return {"type": "image_url", "image_url": {"url": data_url(part)}}
    if part[0] == "image_url":
        return {"type": "image_url", "image_url": {"url": part[1]}}
    if part[0] == "file":
        return {"type": "file", "file": {"filename": "paper.pdf", "file_data": data_url(part)}}
    if part[0] == "audio":
        return {"type": "input_audio", "input_audio": {"format": part[1], "data": part[2]}}
    raise Inexpressible(part[0])


def chat_messages(row):
    messages = [{"role": "system", "content": text} for text in row.system]
    for role, parts in grouped(row.turns):
        if role == "assistant":
            told = {"role": "assistant", "content": "".join(p[1] for p in parts if p[0] == "text")
                    or None}
            calls = [{"id": p[1], "type": "function", "function": {
                "name": p[2], "arguments": json.dumps(p[3])}} for p in parts if p[0] == "call"]
            messages.append({**told, **({"tool_calls": calls} if calls else {})})
            continue
        for part in [p for p in parts if p[0] == "result"]:
            messages.append({"role": "tool", "tool_call_id": part[1],
                             "content": "".join(p[1] for p in part[2])})
        rest = [p for p in parts if p[0] != "result"]
        if rest:
            content = rest[0][1] if [p[0] for p in rest] == ["text"] else list(map(chat_part, rest))
            messages.append({"role": role, "content": content})
    return messages


def choice_param(choice, by_name):
    if choice.startswith("name:"):
        return by_name(choice[5:])
    return {"any": "required"}.get(choice, choice)


def chat(row):
    params = {"messages": chat_messages(row)}
    if row.tools:
        params["tools"] = [{"type": "function", "function": {
            "name": t["name"], "description": t["description"], "parameters": t["schema"],
            **({"strict": t["strict"]} if "strict" in t else {})}} for t in row.tools]
    names = {"max_tokens": "max_completion_tokens", "parallel": "parallel_tool_calls",
             "effort": "reasoning_effort"}
    limited(row.options, {"temperature", "top_p", "stop", "seed", "frequency_penalty", "n",
                          "presence_penalty", "max_tokens", "tool_choice", "parallel", "format",
                          "effort", "logprobs", "top_logprobs", "user", "metadata", "verbosity"}, "chat")
    for name, value in row.options.items():
        if name == "format":
            params["response_format"] = {"type": "json_object"} if value == "json" else {
                "type": "json_schema", "json_schema": {**value, "strict": True}}
        elif name == "tool_choice":
            params["tool_choice"] = choice_param(value, lambda n: {
                "type": "function", "function": {"name": n}})
        else:
            params[names.get(name, name)] = value
    return params


# Responses.

def response_part(part):
    if part[0] == "text":
        return {"type": "input_text", "text": part[1]}
    if part[0] == "image":
        return {"type": "input_image", "detail": "auto", "image_url": data_url(part)}
    if part[0] == "image_url":
        return {"type": "input_image", "detail": "auto", "image_url": part[1]}
    if part[0] == "file":
        return {"type": "input_file", "filename": "paper.pdf", "file_data": data_url(part)}
    if part[0] == "file_url":
        return {"type": "input_file", "file_url": part[1]}
    if part[0] == "file_id":
        return {"type": "input_file", "file_id": part[1]}
    raise Inexpressible(part[0])


def response_items(row):
    items = []
    for role, parts in grouped(row.turns):
        told = []
        for part in parts:
            if part[0] == "call":
                items.append({"type": "function_call", "call_id": part[1], "name": part[2],
                              "arguments": json.dumps(part[3])})
            elif part[0] == "result":
                texts = [p for p in part[2] if p[0] == "text"]
                output = texts[0][1] if len(texts) == len(part[2]) == 1 else [
                    response_part(p) for p in part[2]]
                items.append({"type": "function_call_output", "call_id": part[1],
                              "output": output})
            elif part[0] == "reasoning":
                items.append({"type": "reasoning", "id": "rs_1", "encrypted_content": part[2],
                              "summary": [{"type": "summary_text", "text": part[1]}]})
            elif role == "assistant":
                items.append({"role": "assistant", "content": part[1]})
            else:
                told.append(part)
        if told:
            content = told[0][1] if [p[0] for p in told] == ["text"] else \
                list(map(response_part, told))
            items.append({"role": role, "content": content})
    return items


def responses(row):
    params = {"input": response_items(row)}
    if row.system:
        params["instructions"] = "\n".join(row.system)
    if row.tools:
        params["tools"] = [{"type": "function", "name": t["name"], "parameters": t["schema"],
                            "description": t["description"], "strict": t.get("strict", False)}
                           for t in row.tools]
    names = {"max_tokens": "max_output_tokens", "parallel": "parallel_tool_calls"}
    limited(row.options, {"temperature", "top_p", "max_tokens", "tool_choice", "parallel", "format",
                          "effort", "user", "metadata", "verbosity"}, "responses")
    for name, value in row.options.items():
        if name == "format":
            params.setdefault("text", {})["format"] = {"type": "json_object"} if value == "json" \
                else {"type": "json_schema", "strict": True, **value}
        elif name == "verbosity":
            params.setdefault("text", {})["verbosity"] = value
        elif name == "effort":
            params["reasoning"] = {"effort": value}
        elif name == "tool_choice":
            params["tool_choice"] = choice_param(value, lambda n: {"type": "function", "name": n})
        else:
            params[names.get(name, name)] = value
    return params


# Messages.

def block(part):
    if part[0] == "text":
        return {"type": "text", "text": part[1]}
    if part[0] == "image":
        return {"type": "image", "source": {"type": "base64", "media_type": part[1],
                                            "data": part[2]}}
    if part[0] == "image_url":
        return {"type": "image", "source": {"type": "url", "url": part[1]}}
    if part[0] == "file":
        return {"type": "document", "source": {"type": "base64", "media_type": part[1],
                                               "data": part[2]}}
    if part[0] == "file_url":
        return {"type": "document", "source": {"type": "url", "url": part[1]}}
    if part[0] == "file_id":
        return {"type": "document", "source": {"type": "file", "file_id": part[1]}}
    if part[0] == "reasoning":
        return {"type": "thinking", "thinking": part[1], "signature": part[2]}
    if part[0] == "call":
        return {"type": "tool_use", "id": part[1], "name": part[2], "input": part[3]}
    if part[0] == "result":
        content = part[2][0][1] if [p[0] for p in part[2]] == ["text"] else list(map(block, part[2]))
        return {"type": "tool_result", "tool_use_id": part[1], "content": content,
                **({"is_error": True} if part[3] else {})}
    raise Inexpressible(part[0])


def messages(row):
    params = {"max_tokens": 512, "messages": []}
    if row.system:
        params["system"] = "\n".join(row.system)
    for role, parts in grouped(row.turns):
        content = parts[0][1] if [p[0] for p in parts] == ["text"] else list(map(block, parts))
        params["messages"].append({"role": role, "content": content})
    if row.tools:
        params["tools"] = [{"name": t["name"], "description": t["description"],
                            "input_schema": t["schema"],
                            **({"strict": t["strict"]} if "strict" in t else {})}
                           for t in row.tools]
    limited(row.options, {"temperature", "top_p", "top_k", "stop", "max_tokens", "tool_choice",
                          "parallel", "format", "effort", "budget", "user"}, "messages")
    for name, value in row.options.items():
        if name == "format":
            if value == "json":
                raise Inexpressible("JSON without a schema")
            params.setdefault("output_config", {})["format"] = {"type": "json_schema",
                                                                "schema": value["schema"]}
        elif name == "effort":
            params.setdefault("output_config", {})["effort"] = value
        elif name == "budget":
            params["thinking"] = {"type": "enabled", "budget_tokens": value}
        elif name == "tool_choice":
            params.setdefault("tool_choice", {})["type"] = "tool" if value.startswith("name:") \
                else value
            if value.startswith("name:"):
                params["tool_choice"]["name"] = value[5:]
        elif name == "parallel":
            params.setdefault("tool_choice", {"type": "auto"})["disable_parallel_tool_use"] = \
                not value
        elif name == "user":
            params["metadata"] = {"user_id": value}
        elif name in ("temperature", "top_p", "top_k"):
            # Members of the API's older version, which the SDK of 2026 does not name.
            params.setdefault("extra_body", {})[name] = value
            params["extra_headers"] = {"anthropic-version": "2023-06-01"}
        else:
            params[{"stop": "stop_sequences"}.get(name, name)] = value
    return params


def completions(row):
    if row.system or row.tools or len(row.turns) != 1 or row.turns[0][1][0] != "text":
        raise Inexpressible("more than a prompt")
    limited(row.options, {"temperature", "top_p", "stop", "seed", "frequency_penalty",
                          "presence_penalty", "max_tokens", "user", "n"}, "completions")
    return {"prompt": row.turns[0][1][1], **row.options}


def count_tokens(row):
    params = messages(row)
    for name in ("max_tokens", "stop_sequences", "extra_body", "extra_headers", "metadata"):
        params.pop(name, None)
    return params


SURFACES = {"chat": chat, "completions": completions, "responses": responses, "messages": messages,
            "count_tokens": count_tokens}


def params_of(row, surface, model, mark):
    """The SDK's parameters; Inexpressible: the surface has no way to say it."""
    if row.only is not None and surface not in row.only:
        raise Inexpressible(f"not in {surface}")
    told = dataclasses.replace(row, turns=marked(row.turns, mark), system=marked(row.system, mark))
    params = SURFACES[surface](told)
    return {"model": model, **params, **marked(row.raw.get(surface, {}), mark)}
