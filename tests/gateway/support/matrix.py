# SPDX-License-Identifier: Apache-2.0
"""What must come out where: a script's answer through an upstream's protocol and a surface, and a
row's request as the upstream must hear it. The losses are those that the protocols themselves
impose; each stands here by name."""
import base64
import json
import struct

from anthropic.types import Message, MessageTokensCount, RawMessageStreamEvent
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent

from . import asks, strict
from .clients import chat_final
from .scripts import SCRIPTS

ANSWERS = {"chat": ChatCompletion, "completions": Completion, "responses": Response,
           "messages": Message, "embeddings": CreateEmbeddingResponse,
           "count_tokens": MessageTokensCount}
EVENTS = {"chat": ChatCompletionChunk, "completions": Completion, "responses": ResponseStreamEvent,
          "messages": RawMessageStreamEvent}
# Members beside the SDKs' own: the cost that the gateway tells, reasoning in chats as vLLM, DeepSeek
# and others tell it, what OpenAI and Azure tell without its SDK's naming it.
EXTRAS = {"metallm_cost_usd", "store", "reasoning_content", "reasoning_signature", "reasoning_details",
          "prompt_filter_results", "content_filter_results"}
# What Node's helpers add to an answer.
NODE_EXTRAS = {"output_text", "output_parsed", "parsed", "parsed_output", "parsed_arguments"}


# An answer as the SDK gave it, in the form of Said.

def said_chat(final):
    choice = final["choices"][0]
    message = choice["message"]
    parts = []
    if message.get("reasoning_content"):
        parts.append(("reasoning", message["reasoning_content"]))
    if message.get("content"):
        parts.append(("text", message["content"]))
    if message.get("refusal"):
        parts.append(("refusal", message["refusal"]))
    for call in message.get("tool_calls") or []:
        assert call["type"] == "function" and call["id"], call
        parts.append(("call", call["function"]["name"], json.loads(call["function"]["arguments"])))
    return parts, choice["finish_reason"], None


def said_completion(final):
    choice = final["choices"][0]
    return [("text", choice["text"])] if choice["text"] else [], choice["finish_reason"], None


def said_responses(final):
    parts = []
    for item in final["output"]:
        if item["type"] == "message":
            parts += [("text", c["text"]) if c["type"] == "output_text" else
                      ("refusal", c["refusal"]) for c in item["content"]]
        elif item["type"] == "reasoning":
            text = "".join(s["text"] for s in item["summary"]) or \
                "".join(c["text"] for c in item.get("content") or [])
            parts.append(("reasoning", text))
        else:
            assert item["type"] == "function_call" and item["call_id"], item
            parts.append(("call", item["name"], json.loads(item["arguments"])))
    finish = final["status"]
    if finish == "incomplete":
        finish = final["incomplete_details"]["reason"]
    return parts, finish, None


def said_messages(final):
    parts = []
    for block in final["content"]:
        if block["type"] == "text":
            parts.append(("text", block["text"]))
        elif block["type"] == "thinking":
            parts.append(("reasoning", block["thinking"]))
        elif block["type"] == "redacted_thinking":
            parts.append(("reasoning", ""))
        else:
            assert block["type"] == "tool_use" and block["id"], block
            parts.append(("call", block["name"], block["input"]))
    return parts, final["stop_reason"], final.get("stop_sequence")


SAID = {"chat": said_chat, "completions": said_completion, "responses": said_responses,
        "messages": said_messages}
FINISHES = {
    "chat": {"stop": "stop", "length": "length", "tools": "tool_calls", "filter": "content_filter",
             "sequence": "stop"},
    "responses": {"stop": "completed", "length": "max_output_tokens", "tools": "completed",
                  "filter": "content_filter", "sequence": "completed"},
    "messages": {"stop": "end_turn", "length": "max_tokens", "tools": "tool_use",
                 "filter": "refusal", "sequence": "stop_sequence"},
}
FINISHES["completions"] = dict(FINISHES["chat"], tools="stop")


def through_upstream(said, upstream, kind):
    """What the protocol of this upstream can tell of an answer."""
    if upstream in ("openai", "azure", "openai-responses", "gemini"):
        if said.finish == "sequence":  # an end like any other
            said = said.with_(finish="stop", stop=None)
    if upstream in ("openai", "azure", "gemini", "bedrock-invoke"):
        said = said.with_(written=0)
    if upstream in ("anthropic", "bedrock", "gemini", "bedrock-invoke"):
        if any(p[0] == "refusal" for p in said.parts):  # they refuse in a text
            said = said.with_(parts=[("text", p[1]) if p[0] == "refusal" else p for p in said.parts],
                              finish="filter")
    if upstream == "bedrock":
        said = said.with_(reasoning=0, stop=None)
    if upstream == "bedrock-invoke" or kind in ("completion", "titan"):
        said = said.with_(parts=[p for p in said.parts if p[0] == "text"], stop=None)
    if upstream == "bedrock-invoke":
        said = said.with_(cached=0, reasoning=0)
    return said


def through_surface(said, surface):
    """(parts, finish, stop) as SAID gives them."""
    parts, is_refusal = [], any(p[0] == "refusal" for p in said.parts)
    for part in said.parts:
        if surface == "completions":
            parts += [("text", part[1])] if part[0] in ("text", "refusal") else []
            continue
        if part[0] == "call":
            parts.append(("call", part[2], part[3]))
        elif part[0] == "refusal" and surface == "messages":
            parts.append(("text", part[1]))
        else:
            parts.append(part[:2])
    finish = FINISHES[surface][said.finish]
    if is_refusal and surface == "messages":
        finish = "refusal"
    return parts, finish, said.stop if surface == "messages" else None


def usage_of(surface, usage):
    """(input, cached, written, output, reasoning) as the surface tells them; None: not told."""
    if surface in ("chat", "completions"):
        into, out = usage.get("prompt_tokens_details") or {}, \
            usage.get("completion_tokens_details") or {}
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"], usage
        return (usage["prompt_tokens"], into.get("cached_tokens"), into.get("cache_write_tokens"),
                usage["completion_tokens"], out.get("reasoning_tokens"))
    if surface == "responses":
        into = usage["input_tokens_details"]
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"], usage
        return (usage["input_tokens"], into["cached_tokens"], into["cache_write_tokens"],
                usage["output_tokens"], usage["output_tokens_details"]["reasoning_tokens"])
    cached, written = usage.get("cache_read_input_tokens"), usage.get("cache_creation_input_tokens")
    return (usage["input_tokens"] + (cached or 0) + (written or 0), cached, written,
            usage["output_tokens"],
            (usage.get("output_tokens_details") or {}).get("thinking_tokens"))


def check_usage(surface, usage, said):
    told = usage_of(surface, usage)
    wanted = (said.input, said.cached, said.written, said.output, said.reasoning)
    for name, got, want in zip(("input", "cached", "written", "output", "reasoning"), told, wanted):
        # What is none may be left out.
        assert got == want or (got is None and want == 0), f"usage: {name} {got}, not {want}"


def merged(parts):
    """Texts that stand side by side are one: where they were cut is no meaning."""
    made = []
    for part in parts:
        if made and part[0] == made[-1][0] and part[0] in ("text", "reasoning"):
            made[-1] = (part[0], made[-1][1] + part[1])
        elif part != ("reasoning", ""):
            made.append(part)
    return made


def check_answer(surface, said, outcome, row, extras=EXTRAS):
    """Everything that a finished answer must show to a client."""
    assert "broken" not in outcome, f"the stream: {outcome['broken']}"
    final = outcome["final"]
    if surface == "chat" and final and outcome["events"]:
        # Node's helper keeps the last piece alone of members that OpenAI does not name.
        reasoning = chat_final(outcome["events"])["choices"][0]["message"]
        final["choices"][0]["message"].update({k: v for k, v in reasoning.items()
                                               if k.startswith("reasoning_")})
    assert final is not None, f"no end: {outcome['events'][-2:]}"
    wrong = strict.check_answer(ANSWERS[surface], final, extras)
    assert wrong is None, f"the answer: {wrong}"
    for event in outcome["events"]:
        wrong = strict.check_answer(EVENTS[surface], ended(surface, event), EXTRAS)
        assert wrong is None, f"event {json.dumps(event)[:300]}: {wrong}"
    parts, finish, stop = SAID[surface](final)
    wanted = through_surface(said, surface)
    assert merged(parts) == merged(wanted[0]), f"said {merged(parts)}, not {merged(wanted[0])}"
    assert finish == wanted[1], f"finish {finish}, not {wanted[1]}"
    assert stop == wanted[2] or surface != "messages", f"stop {stop!r}, not {wanted[2]!r}"
    ids = [p.get("id") or p.get("call_id") for p in calls_of(surface, final)]
    assert len(set(ids)) == len(ids), f"ids of calls: {ids}"
    usage = final.get("usage") or [e["usage"] for e in outcome["events"] if e.get("usage")][-1]
    check_usage(surface, usage, said)
    if "logprobs" in row.options:
        told = final["choices"][0]["logprobs"]["content"]
        assert "".join(t["token"] for t in told) == said.text, told
        assert [t["logprob"] for t in told[0]["top_logprobs"]] == [-0.25, -4.5], told
    assert final["model"], "no model"
    assert final["id"], "no id"
    count = row.options.get("n", 1)
    if surface in ("chat", "completions"):
        assert len(final["choices"]) == count, f"{len(final['choices'])} choices"


def ended(surface, event):
    """The SDK's type of completions has no event without an end, although all but the last are."""
    if surface != "completions":
        return event
    return {**event, "choices": [{**c, "finish_reason": c.get("finish_reason") or "stop"}
                                 for c in event["choices"]]}


def calls_of(surface, final):
    if surface == "chat":
        return final["choices"][0]["message"].get("tool_calls") or []
    if surface == "responses":
        return [i for i in final["output"] if i["type"] == "function_call"]
    if surface == "messages":
        return [b for b in final["content"] if b["type"] == "tool_use"]
    return []


# A request as the upstream must hear it.

def wanted_turns(row, mark):
    """Neutral turns with their calls by number."""
    numbers, made = {}, []
    for role, part in asks.marked(row.turns, mark):
        if part[0] == "call":
            numbers[part[1]] = len(numbers)
            part = ("call", numbers[part[1]], *part[2:])
        elif part[0] == "result":
            part = ("result", numbers[part[1]], list(part[2]), part[3])
        made.append((role, part))
    return made


def check_heard(asked, row, surface, upstream, mark, dropped):
    """The upstream was told all of it, but for what was dropped."""
    turns = wanted_turns(row, mark)
    if "failed tool results" in dropped:
        turns = [(r, (*p[:3], False) if p[0] == "result" else p) for r, p in turns]
    if "reasoning history" in dropped:
        turns = [(r, p) for r, p in turns if p[0] != "reasoning"]
    if asked["kind"] == "titan":
        return check_prompt(asked, row, turns, surface, dropped)
    assert asked["system"] == row.system or "\n".join(asked["system"]) == "\n".join(row.system), \
        f"system {asked['system']}"
    assert flat(asked["turns"]) == flat(turns), f"heard {asked['turns']}, not {turns}"
    heard = [{k: v for k, v in t.items() if k != "strict"} for t in asked["tools"]]
    wanted = [{k: v for k, v in t.items() if k != "strict"} for t in row.tools]
    assert heard == wanted or ("tools" in dropped and not heard), f"tools {heard}"
    if "strict tools" in row.features and "strict tools" not in dropped:
        assert asked["tools"][0]["strict"] is True, "strict was lost"
    check_options(asked["options"], row, surface, upstream, dropped)
    return None


def flat(turns):
    """Results of a text alone, and the same with one part, are alike."""
    made = []
    for role, part in turns:
        if part[0] == "result":
            part = (*part[:2], [tuple(p) for p in part[2]], part[3])
        made.append((role, tuple(part)))
    return made


def check_prompt(asked, row, turns, surface, dropped):
    """A prompt holds every text in its order."""
    prompt, at = asked["turns"][0][1][1], 0
    for text in [*row.system, *(p[1] for _, p in turns if p[0] == "text")]:
        found = prompt.find(text, at)
        assert found >= 0, f"{text!r} is not in {prompt!r}"
        at = found + len(text)
    check_options(asked["options"], row, surface, "bedrock-invoke", dropped)


def check_options(options, row, surface, upstream, dropped):
    wanted = dict(row.options)
    if surface == "messages":
        wanted.setdefault("max_tokens", 512)  # asks.messages says so, since the surface must
    for name, value in wanted.items():
        if name in DROPPED_AS and DROPPED_AS[name] & set(dropped):
            assert name not in options, f"{name} was told, although it is said to be dropped"
            continue
        got = options.get(name)
        if name == "format" and value != "json":
            assert isinstance(got, dict) and got["schema"] == value["schema"], f"format {got}"
        elif name == "tool_choice":
            assert got == value or (value == "auto" and got is None), f"tool_choice {got}"
        elif name in ("effort", "budget"):
            told = {n: options[n] for n in ("effort", "budget", "thinking") if n in options}
            assert told, f"{name} was lost"
            assert told.get(name, value) == value, f"{told}, not {name} {value}"
        elif name == "metadata":
            assert got == value, f"metadata {got}"
        elif name == "user":
            told = [got, options.get("safety_identifier"),
                    (options.get("metadata") or {}).get("user_id")]
            assert value in told, f"user {told}"
        elif name != "n":
            assert got == value, f"{name} {got}, not {value}"
    known = set(wanted) | BY_ITSELF.get(upstream, set())
    if {"effort", "budget"} & set(wanted):
        known |= THINKING
    unasked = {n: v for n, v in options.items() if n not in known and SAME_AS.get(n) != v}
    assert not unasked or row.raw, f"nobody asked for {unasked}"


# What a writer adds of itself: the limit that the protocol needs, nothing kept, sealed reasoning.
BY_ITSELF = {"anthropic": {"max_tokens"}, "bedrock-invoke": {"max_tokens"},
             "openai-responses": {"store", "include"}}
THINKING = {"effort", "budget", "thinking", "summary", "thoughts"}  # ways to have it, and to see it
SAME_AS = {"tool_choice": "auto", "metadata": {"user_id": "user-17"}}  # ways to say other members
DROPPED_AS = {"user": {"user"}, "metadata": {"metadata"}, "verbosity": {"verbosity"},
              "parallel": {"parallel tool calls off"}, "effort": {"reasoning effort"},
              "budget": {"reasoning budget"}, "seed": {"seed"}, "top_k": {"top_k"},
              "frequency_penalty": {"frequency_penalty"}, "presence_penalty": {"presence_penalty"},
              "temperature": {"temperature"}, "top_p": {"top_p"}}


def floats(text):
    """A vector told in base64."""
    data = base64.b64decode(text)
    return list(struct.unpack(f"<{len(data) // 4}f", data))


# Reasoning that the client gives back, as it came.

def given_back(surface, params, final):
    """The next request: what the LLM said, as the SDK gave it, and the tool's result."""
    params = json.loads(json.dumps(params))
    result = "Snow. [[text/@@]]"
    if surface == "chat":
        message = {k: v for k, v in final["choices"][0]["message"].items()
                   if v and k in ("role", "content", "tool_calls", "reasoning_content",
                                  "reasoning_signature", "reasoning_details")}
        params["messages"] += [message] + [{"role": "tool", "tool_call_id": c["id"],
                                            "content": result} for c in message["tool_calls"]]
    elif surface == "responses":
        told = [{k: v for k, v in item.items() if v is not None and k != "parsed_arguments"}
                for item in final["output"]]
        params["input"] += told + [{"type": "function_call_output", "call_id": i["call_id"],
                                    "output": result}
                                   for i in told if i["type"] == "function_call"]
    else:
        told = [{k: v for k, v in b.items() if v is not None and k != "caller"}
                for b in final["content"]]
        params["messages"] += [
            {"role": "assistant", "content": told},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": b["id"],
                                          "content": result}
                                         for b in told if b["type"] == "tool_use"]}]
    return params


def check_given_back(asked, upstream):
    """The LLM hears its own thought with its own seal, the call and the result."""
    thought, call = SCRIPTS["thinkcall"].parts
    kinds = [p[0] for _, p in asked["turns"]]
    assert ("assistant", ("call", 0, call[2], call[3])) in asked["turns"], asked["turns"]
    assert kinds[-1] == "result", kinds
    if upstream in ("openai", "azure"):
        return
    seals = [p[2] if p[0] == "reasoning" else p[1] for _, p in asked["turns"]
             if p[0] in ("reasoning", "seal")]
    assert thought[2] in seals, f"the seal was lost: {asked['turns']}"
    if upstream in ("anthropic", "bedrock"):
        assert ("assistant", thought) in asked["turns"], f"the thought changed: {asked['turns']}"
