# SPDX-License-Identifier: Apache-2.0
"""OpenAI's Responses; requests are judged by the official SDK's types and by the rules that the
reference tells. Nothing is kept from one request to the next, as with store: false."""
import json
import re

from openai.types.responses.response_create_params import ResponseCreateParams

from . import strict
from .fake import Breach, Fake, must, numbered, sse
from .fake_openai import NAME, arguments_of, format_of, media_of, within
from .scripts import SCRIPTS, cut

SEALS = {p[2] for s in SCRIPTS.values() for p in s.parts if p[0] == "reasoning"}


def parts_of(content):
    if isinstance(content, str):
        return [("text", content)] if content else []
    made = []
    for part in content:
        kind = part["type"]
        if kind in ("input_text", "output_text"):
            made.append(("text", part["text"]))
        elif kind == "refusal":
            made.append(("refusal", part["refusal"]))
        elif kind == "input_image":
            must(part.get("image_url"), "an image without image_url")
            made.append(media_of(part["image_url"]))
        elif kind == "input_file" and part.get("file_data"):
            found = re.fullmatch(r"data:([^;]+);base64,(.+)", part["file_data"])
            must(found and part.get("filename"), "a file without its name or data URL")
            made.append(("file", found.group(1), found.group(2)))
        elif kind == "input_file" and part.get("file_url"):
            made.append(("file_url", part["file_url"]))
        elif kind == "input_file" and part.get("file_id"):
            made.append(("file_id", part["file_id"]))
        else:
            raise Breach(f"a part of type {kind}: {sorted(part)}")
    return made


def read_input(told):
    """(system, turns)"""
    if isinstance(told, str):
        return [], [("user", ("text", told))]
    system, turns, calls, answered = [], [], [], []
    for item in told:
        kind = item.get("type", "message")
        if kind == "message":
            role = item["role"]
            must(role == "assistant" or not any(
                p["type"] in ("output_text", "refusal") for p in item["content"]
                if isinstance(p, dict)), "output_text is the assistant's")
            must(role != "assistant" or not any(
                p["type"].startswith("input_") for p in item["content"] if isinstance(p, dict)),
                "Supported values for the assistant are: output_text and refusal")
            parts = parts_of(item["content"])
            if role in ("system", "developer") and not turns:
                system += [p[1] for p in parts]
                continue
            role = "system" if role == "developer" else role
            turns += [(role, part) for part in parts]
        elif kind == "function_call":
            must(NAME.fullmatch(item["name"]), f"a function called {item['name']}")
            must("id" not in item or item["id"].startswith("fc_"), "ids of calls begin with fc_")
            calls.append(item["call_id"])
            turns.append(("assistant", ("call", item["call_id"], item["name"],
                                        arguments_of(item["arguments"]))))
        elif kind == "function_call_output":
            answered.append(item["call_id"])
            turns.append(("user", ("result", item["call_id"], parts_of(item["output"]), False)))
        elif kind == "reasoning":
            must(item["id"].startswith("rs_"), "ids of reasoning begin with rs_")
            must(item.get("encrypted_content") in SEALS,
                 "The encrypted content could not be verified")
            turns.append(("assistant", ("reasoning", "".join(s["text"] for s in item["summary"]),
                                        item["encrypted_content"])))
        else:
            raise Breach(f"an item of type {kind}")
    must(sorted(calls) == sorted(answered), f"No tool output found for function calls: {calls}, "
         f"{answered}")
    must(turns, "no input")
    return system, numbered(turns)


def read_tools(asked):
    tools = []
    for tool in asked.get("tools") or []:
        if tool["type"] == "web_search":  # OpenAI's own work
            continue
        must(tool["type"] == "function", f"a tool of type {tool['type']}")
        must(NAME.fullmatch(tool["name"]), f"a tool called {tool['name']}")
        tools.append({"name": tool["name"], "description": tool.get("description"),
                      "schema": tool["parameters"], "strict": tool["strict"]})
    return tools


def read_options(asked, tools):
    options = {name: asked[name] for name in (
        "temperature", "top_p", "user", "metadata", "service_tier", "store", "include",
        "top_logprobs", "safety_identifier", "prompt_cache_key", "truncation",
        "previous_response_id") if asked.get(name) is not None}
    within(asked, "temperature", 0, 2)
    within(asked, "top_p", 0, 1)
    must(asked.get("max_output_tokens") is None or asked["max_output_tokens"] >= 16,
         "max_output_tokens must be at least 16")
    choice = asked.get("tool_choice")
    must(choice in (None, "auto", "none") or tools, "tool_choice needs tools")
    if isinstance(choice, dict):
        must(any(t["name"] == choice["name"] for t in tools), "tool_choice names no tool")
        choice = f"name:{choice['name']}"
    text, reasoning = asked.get("text") or {}, asked.get("reasoning") or {}
    for name, value in (("max_tokens", asked.get("max_output_tokens")),
                        ("tool_choice", {"required": "any"}.get(choice, choice)),
                        ("parallel", asked.get("parallel_tool_calls")),
                        ("effort", reasoning.get("effort")), ("summary", reasoning.get("summary")),
                        ("format", format_of(text.get("format"))),
                        ("verbosity", text.get("verbosity"))):
        if value is not None:
            options[name] = value
    return options


class Responses(Fake):
    name = "openai-responses"

    @property
    def url(self):
        return self.root + "/v1"

    def read(self, seen):
        must(seen.header("authorization") == f"Bearer {self.key}", "another key")
        must(seen.path == "/v1/responses", f"no such path: {seen.path}")
        asked = seen.json()
        wrong = strict.check(ResponseCreateParams, asked)
        must(wrong is None, wrong)
        must(asked["model"] == self.model, f"model {asked['model']!r}")
        system, turns = read_input(asked["input"])
        if asked.get("instructions"):
            system.insert(0, asked["instructions"])
        tools = read_tools(asked)
        return {"kind": "responses", "system": system, "turns": turns, "tools": tools,
                "options": read_options(asked, tools)}, asked.get("stream") is True

    def items(self, said, heard):
        """The output, whole. Neighbours of a message's kind are parts of one message."""
        made = []
        for i, part in enumerate(said.parts):
            if part[0] == "reasoning":
                made.append({"id": f"rs_{heard.cell}{i}", "type": "reasoning", "summary": [
                    {"type": "summary_text", "text": part[1]}], "encrypted_content": part[2]})
            elif part[0] == "call":
                made.append({"id": f"fc_{heard.cell}{i}", "type": "function_call",
                             "status": "completed", "call_id": part[1], "name": part[2],
                             "arguments": json.dumps(part[3], ensure_ascii=False)})
            else:
                content = {"type": "output_text", "text": part[1], "annotations": [],
                           "logprobs": []} if part[0] == "text" else {
                               "type": "refusal", "refusal": part[1]}
                made.append({"id": f"msg_{heard.cell}{i}", "type": "message", "role": "assistant",
                             "status": "completed", "content": [content]})
        return made

    def response(self, said, heard, status, output):
        asked = heard.seen.json()
        told = {"id": f"resp_{heard.cell}", "object": "response", "created_at": 1790000000,
                "status": status, "background": False, "error": None, "incomplete_details": None,
                "instructions": asked.get("instructions"), "metadata": asked.get("metadata") or {},
                "max_output_tokens": asked.get("max_output_tokens"), "model": self.model,
                "output": output, "parallel_tool_calls": asked.get("parallel_tool_calls", True),
                "previous_response_id": None, "reasoning": {"effort": None, "summary": None},
                "service_tier": "default", "store": False, "temperature": 1.0,
                "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [],
                "top_p": 1.0, "truncation": "disabled", "usage": None, "user": None}
        del told["store"]  # the SDK's type of answers has no such member
        if status == "incomplete":
            told["incomplete_details"] = {"reason": "max_output_tokens" if said.finish == "length"
                                          else "content_filter"}
        if status != "in_progress":
            told["usage"] = {
                "input_tokens": said.input, "output_tokens": said.output,
                "total_tokens": said.input + said.output,
                "input_tokens_details": {"cached_tokens": said.cached,
                                         "cache_write_tokens": said.written},
                "output_tokens_details": {"reasoning_tokens": said.reasoning}}
        return told

    def ending(self, said):
        return "incomplete" if said.finish in ("length", "filter") else "completed"

    def whole(self, said, heard):
        return self.response(said, heard, self.ending(said), self.items(said, heard))

    def pieces(self, said, heard):
        number = 0
        for told in self.events(said, heard):
            yield sse({**told, "sequence_number": number}, told["type"])
            number += 1

    def events(self, said, heard):
        begun = self.response(said, heard, "in_progress", [])
        yield {"type": "response.created", "response": begun}
        yield {"type": "response.in_progress", "response": begun}
        output = self.items(said, heard)
        for index, item in enumerate(output):
            where = {"item_id": item["id"], "output_index": index}
            yield {"type": "response.output_item.added", "output_index": index,
                   "item": emptied(item)}
            yield from inner(item, where)
            yield {"type": "response.output_item.done", "output_index": index, "item": item}
        status = self.ending(said)
        yield {"type": f"response.{status}",
               "response": self.response(said, heard, status, output)}

    def failure(self, status, sentence):
        kind = {400: "invalid_request_error", 401: "invalid_request_error",
                404: "invalid_request_error", 429: "rate_limit_error"}.get(status, "server_error")
        return {"error": {"message": sentence, "type": kind, "param": None, "code": None}}

    def midway(self, heard):
        return sse({"type": "error", "code": "server_error", "param": None, "sequence_number": 99,
                    "message": "The server had an error in the middle."}, "error")


def emptied(item):
    """An item as it is told when it begins."""
    if item["type"] == "message":
        return {**item, "status": "in_progress", "content": []}
    if item["type"] == "function_call":
        return {**item, "status": "in_progress", "arguments": ""}
    return {**item, "summary": []}


def inner(item, where):
    """The events between an item's beginning and its end."""
    if item["type"] == "function_call":
        for piece in cut(item["arguments"], 3):
            yield {"type": "response.function_call_arguments.delta", **where, "delta": piece}
        yield {"type": "response.function_call_arguments.done", **where,
               "arguments": item["arguments"]}
    elif item["type"] == "reasoning":
        text = item["summary"][0]["text"]
        where = {**where, "summary_index": 0}
        part = {"type": "summary_text", "text": ""}
        yield {"type": "response.reasoning_summary_part.added", **where, "part": part}
        for piece in cut(text):
            yield {"type": "response.reasoning_summary_text.delta", **where, "delta": piece}
        yield {"type": "response.reasoning_summary_text.done", **where, "text": text}
        yield {"type": "response.reasoning_summary_part.done", **where,
               "part": {**part, "text": text}}
    else:
        part, = item["content"]
        where = {**where, "content_index": 0}
        is_text = part["type"] == "output_text"
        member, name = ("text", "output_text") if is_text else ("refusal", "refusal")
        extra = {"logprobs": []} if is_text else {}
        yield {"type": "response.content_part.added", **where, "part": {**part, member: ""}}
        for piece in cut(part[member], max(4, len(part[member]) // 2000)):
            yield {"type": f"response.{name}.delta", **where, "delta": piece, **extra}
        yield {"type": f"response.{name}.done", **where, member: part[member], **extra}
        yield {"type": "response.content_part.done", **where, "part": part}
