# SPDX-License-Identifier: Apache-2.0
"""Anthropic's Messages and its count of tokens; requests are judged by the official SDK's types and
by the rules that the reference tells."""
import base64
import json
import re

from anthropic.types.message_count_tokens_params import MessageCountTokensParams
from anthropic.types.message_create_params import MessageCreateParams

from . import strict
from .fake import Breach, Fake, must, numbered, sse
from .scripts import SCRIPTS, cut

TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
CALL_ID = re.compile(r"[a-zA-Z0-9_-]+")
IMAGE_BYTES_MAX = 10 << 20
SEALS = {p[2] for s in SCRIPTS.values() for p in s.parts if p[0] == "reasoning"}
VERSIONS = ("2023-06-01", "2026-10-21")
# Members of the older version alone, which the SDK of 2026 no longer names.
SAMPLING = {"temperature", "top_p", "top_k"}
KINDS = {400: "invalid_request_error", 401: "authentication_error", 402: "billing_error",
         403: "permission_error", 404: "not_found_error", 413: "request_too_large",
         429: "rate_limit_error", 500: "api_error", 504: "timeout_error", 529: "overloaded_error"}
FINISHES = {"stop": "end_turn", "length": "max_tokens", "tools": "tool_use", "filter": "refusal",
            "sequence": "stop_sequence"}


def source_of(source, kind):
    if source["type"] == "url":
        must(source["url"].startswith("https://"), "only https URLs")
        return (f"{kind}_url", source["url"])
    if source["type"] == "file":
        return (f"{kind}_id", source["file_id"])
    if source["type"] == "text":
        return (kind, source["media_type"], base64.b64encode(source["data"].encode()).decode())
    must(source["type"] == "base64", f"a source of type {source['type']}")
    data = base64.b64decode(source["data"], validate=True)
    must(0 < len(data) <= IMAGE_BYTES_MAX, "an image's size")
    return (kind, source["media_type"], source["data"])


def block_of(block):
    """A content block as a neutral part."""
    kind = block["type"]
    if kind == "text":
        must(block["text"].strip(), "text content blocks must contain non-whitespace text")
        return ("text", block["text"])
    if kind == "image":
        return source_of(block["source"], "image")
    if kind == "document":
        return source_of(block["source"], "file")
    if kind == "thinking":
        must(block["signature"] in SEALS, "Invalid `signature` in `thinking` block")
        return ("reasoning", block["thinking"], block["signature"])
    if kind == "redacted_thinking":
        return ("redacted", block["data"])
    if kind == "tool_use":
        must(CALL_ID.fullmatch(block["id"]), f"tool_use.id: {block['id']}")
        must(TOOL_NAME.fullmatch(block["name"]), f"tool_use.name: {block['name']}")
        return ("call", block["id"], block["name"], block["input"])
    if kind == "tool_result":
        content = block.get("content", [])
        content = [{"type": "text", "text": content}] if isinstance(content, str) else content
        parts = [block_of(b) for b in content
                 if b["type"] != "text" or b["text"]]
        return ("result", block["tool_use_id"], parts, block.get("is_error", False))
    raise Breach(f"a block of type {kind}")


def blocks_of(content):
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def read_messages(messages):
    must(messages, "messages: at least one message is required")
    must(messages[0]["role"] == "user", "messages: first message must use the user role")
    merged = []
    for message in messages:
        blocks = blocks_of(message["content"])
        must(blocks, "messages: content must not be empty")
        if merged and merged[-1][0] == message["role"]:
            merged[-1][1].extend(blocks)
        else:
            merged.append((message["role"], list(blocks)))
    turns, waiting = [], []
    for i, (role, blocks) in enumerate(merged):
        must(role != "system" or (merged[i - 1][0] == "user" and (
            i + 1 == len(merged) or merged[i + 1][0] == "assistant")),
             "a system message must follow a user's, and be last or before an assistant's")
        results = [b["tool_use_id"] for b in blocks if b["type"] == "tool_result"]
        must(role == "user" or not results, "tool_result blocks belong to the user")
        must(sorted(results) == sorted(waiting),
             f"`tool_use` ids {waiting} need `tool_result` blocks just after, not {results}")
        must(all(b["type"] == "tool_result" for b in blocks[:len(results)]),
             "tool_result blocks must stand before other content")
        waiting = [b["id"] for b in blocks if b["type"] == "tool_use"]
        must(role == "assistant" or not waiting, "tool_use blocks belong to the assistant")
        if role == "assistant" and i == len(merged) - 1 and blocks[-1]["type"] == "text":
            must(blocks[-1]["text"] == blocks[-1]["text"].rstrip(),
                 "final assistant content cannot end with trailing whitespace")
        turns += [(role, block_of(b)) for b in blocks]
    must(not waiting, f"`tool_use` ids {waiting} without `tool_result` blocks")
    return numbered(turns)


def read_tools(asked):
    tools = []
    for tool in asked.get("tools") or []:
        if tool.get("type") == "web_search_20250305":  # Anthropic's own work
            continue
        must(tool.get("type") in (None, "custom"), f"a tool of type {tool.get('type')}")
        must(TOOL_NAME.fullmatch(tool["name"]), f"tools: name {tool['name']}")
        must(tool["input_schema"].get("type") == "object", "tools: input_schema.type: Field required")
        tools.append({"name": tool["name"], "description": tool.get("description"),
                      "schema": tool["input_schema"], "strict": tool.get("strict")})
    return tools


def read_thinking(asked, options):
    thinking, output = asked.get("thinking") or {}, asked.get("output_config") or {}
    if thinking.get("type") == "enabled":
        budget = thinking["budget_tokens"]
        must(budget >= 1024, "thinking.budget_tokens: at least 1024")
        must(budget < asked.get("max_tokens", 1 << 30), "max_tokens must exceed budget_tokens")
        options["budget"] = budget
    elif thinking:
        options["thinking"] = thinking["type"]
    if thinking.get("type") in ("enabled", "adaptive"):
        must(asked.get("temperature", 1) == 1, "temperature may only be 1 when thinking is enabled")
        must("top_k" not in asked, "top_k must be unset when thinking is enabled")
        must((asked.get("tool_choice") or {}).get("type") not in ("any", "tool"),
             "thinking may not be enabled when tool_choice forces tool use")
    if output.get("effort"):
        options["effort"] = output["effort"]
    if output.get("format"):
        options["format"] = {"schema": output["format"]["schema"]}


def read_options(asked, tools):
    options = {name: asked[name] for name in (
        "max_tokens", "temperature", "top_p", "top_k", "metadata", "service_tier")
        if asked.get(name) is not None}
    must(asked.get("max_tokens") is None or asked["max_tokens"] >= 1, "max_tokens: at least 1")
    for name in ("temperature", "top_p"):
        must(0 <= asked.get(name, 0) <= 1, f"{name}: range: 0..1")
    must(type(asked.get("top_k", 1)) is int and asked.get("top_k", 1) >= 1, "top_k")
    stops = asked.get("stop_sequences")
    if stops is not None:
        must(all(s.strip() for s in stops), "stop_sequences: each must contain non-whitespace")
        options["stop"] = stops
    choice = asked.get("tool_choice")
    must(not choice or tools, "tool_choice may only be specified while providing tools")
    if choice:
        kind = choice["type"]
        must(kind != "tool" or any(t["name"] == choice["name"] for t in tools),
             "tool_choice names no tool")
        options["tool_choice"] = f"name:{choice['name']}" if kind == "tool" else kind
        if choice.get("disable_parallel_tool_use") is not None:
            options["parallel"] = not choice["disable_parallel_tool_use"]
    read_thinking(asked, options)
    return options


class Anthropic(Fake):
    name = "anthropic"

    @property
    def url(self):
        return self.root + "/v1"

    def read(self, seen):
        must((seen.header("x-api-key"), seen.header("authorization")) in (
            (self.key, None), (None, f"Bearer {self.key}")), "another key, or at another place")
        version = seen.header("anthropic-version")
        must(version in VERSIONS, f"anthropic-version {version}")
        path = seen.path.split("?")[0]  # the SDK's beta calls carry ?beta=true
        must(path in ("/v1/messages", "/v1/messages/count_tokens"), f"no such path: {seen.path}")
        asked = seen.json()
        is_count = path.endswith("count_tokens")
        judged = {k: v for k, v in asked.items() if is_count or version == VERSIONS[1]
                  or k not in SAMPLING}
        must(version == VERSIONS[0] or not any(
            b["type"] == "document" for m in asked["messages"] if m["role"] == "assistant"
            for b in blocks_of(m["content"])), "assistant messages hold no document blocks")
        wrong = strict.check(MessageCountTokensParams if is_count else MessageCreateParams, judged)
        must(wrong is None, wrong)
        must(asked["model"] == self.model, f"model {asked['model']!r}")
        must(seen.body.count(b'"cache_control"') <= 4, "at most 4 blocks with cache_control")
        system = [b["text"] for b in blocks_of(asked.get("system") or [])]
        must(all(t.strip() for t in system), "system: text content blocks must be non-empty")
        tools = read_tools(asked)
        return {"kind": "count" if is_count else "messages", "system": system,
                "turns": read_messages(asked["messages"]), "tools": tools,
                "options": read_options(asked, tools)}, asked.get("stream") is True

    def usage(self, said):
        return {"input_tokens": said.input - said.cached - said.written,
                "cache_read_input_tokens": said.cached,
                "cache_creation_input_tokens": said.written,
                "cache_creation": {"ephemeral_5m_input_tokens": said.written,
                                   "ephemeral_1h_input_tokens": 0},
                "output_tokens": said.output, "service_tier": "standard",
                "output_tokens_details": {"thinking_tokens": said.reasoning}}

    def blocks(self, said):
        for part in said.parts:
            if part[0] in ("text", "refusal"):
                yield {"type": "text", "text": part[1], "citations": None}
            elif part[0] == "reasoning":
                yield {"type": "thinking", "thinking": part[1], "signature": part[2]}
            else:
                yield {"type": "tool_use", "id": part[1].replace("call_", "toolu_"),
                       "name": part[2], "input": part[3]}

    def ending(self, said):
        """(stop_reason, stop_sequence, stop_details)"""
        if any(p[0] == "refusal" for p in said.parts) or said.finish == "filter":
            return "refusal", None, {"type": "refusal", "category": None, "explanation": None}
        return FINISHES[said.finish], said.stop, None

    def whole(self, said, heard):
        if heard.asked["kind"] == "count":
            return {"input_tokens": said.input}
        reason, sequence, details = self.ending(said)
        return {"id": f"msg_{heard.cell}", "type": "message", "role": "assistant",
                "model": self.model, "content": list(self.blocks(said)), "stop_reason": reason,
                "stop_sequence": sequence, "stop_details": details, "usage": self.usage(said)}

    def pieces(self, said, heard):
        usage = self.usage(said)
        yield sse({"type": "message_start", "message": {
            "id": f"msg_{heard.cell}", "type": "message", "role": "assistant",
            "model": self.model, "content": [], "stop_reason": None, "stop_sequence": None,
            "usage": {**{k: v for k, v in usage.items() if k != "output_tokens_details"},
                      "output_tokens": 1}}}, "message_start")
        yield sse({"type": "ping"}, "ping")
        for index, block in enumerate(self.blocks(said)):
            for name, told in block_events(block):
                yield sse({"type": name, "index": index, **told}, name)
        reason, sequence, details = self.ending(said)
        yield sse({"type": "message_delta", "delta": {
            "stop_reason": reason, "stop_sequence": sequence, "stop_details": details},
            "usage": {k: usage[k] for k in ("input_tokens", "cache_read_input_tokens",
                                            "cache_creation_input_tokens", "output_tokens",
                                            "output_tokens_details")}}, "message_delta")
        yield sse({"type": "message_stop"}, "message_stop")

    def failure(self, status, sentence):
        return {"type": "error", "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy",
                "error": {"type": KINDS.get(status, "api_error"), "message": sentence}}

    def midway(self, heard):
        return sse({"type": "error", "error": {"type": "overloaded_error",
                                               "message": "Overloaded"}}, "error")


def block_events(block):
    """(name, members) of the events that tell a content block."""
    kind = block["type"]
    empty = {"text": {"type": "text", "text": ""},
             "thinking": {"type": "thinking", "thinking": "", "signature": ""},
             "tool_use": {**block, "input": {}}}[kind]
    yield "content_block_start", {"content_block": empty}
    if kind == "text":
        for piece in cut(block["text"], max(4, len(block["text"]) // 2000)):
            yield "content_block_delta", {"delta": {"type": "text_delta", "text": piece}}
    elif kind == "thinking":
        for piece in cut(block["thinking"]):
            yield "content_block_delta", {"delta": {"type": "thinking_delta", "thinking": piece}}
        yield "content_block_delta", {"delta": {"type": "signature_delta",
                                                "signature": block["signature"]}}
    else:
        text = json.dumps(block["input"], ensure_ascii=False)
        for piece in ["", *(cut(text, 3) if block["input"] else [])]:
            yield "content_block_delta", {"delta": {"type": "input_json_delta",
                                                    "partial_json": piece}}
    yield "content_block_stop", {}
