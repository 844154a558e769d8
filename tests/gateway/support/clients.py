# SPDX-License-Identifier: Apache-2.0
"""The official SDKs as clients: jobs in, what the SDK made of the answer out, as JSON.

A job is {"id", "surface", "stream", "params"}, its outcome
{"id", "final", "events", "headers"}, or with "error": {"class", "status", "type", "code",
"message", "body"} where the SDK raised something. Surfaces: chat, completions, responses,
embeddings, messages, count_tokens."""
import asyncio
import functools
import inspect
import json
import os
import pathlib
import subprocess

import anthropic
import openai

AT_ONCE = 24


class Clients:
    """One of each SDK for a server. base is its address without /v1."""

    def __init__(self, base, key="unused", timeout=30.0, openai_client=openai.AsyncOpenAI, **more):
        self.openai = openai_client(base_url=f"{base}/v1" if openai_client is openai.AsyncOpenAI
                                    else base, api_key=key, max_retries=0, timeout=timeout, **more)
        self.anthropic = anthropic.AsyncAnthropic(base_url=base, api_key=key, max_retries=0,
                                                  timeout=timeout)

    def call(self, surface):
        """The SDK's own method, raw."""
        return {"chat": self.openai.chat.completions, "completions": self.openai.completions,
                "responses": self.openai.responses, "embeddings": self.openai.embeddings,
                "messages": self.anthropic.messages}[surface].with_raw_response.create \
            if surface != "count_tokens" else \
            self.anthropic.messages.with_raw_response.count_tokens

    async def close(self):
        await self.openai.close()
        await self.anthropic.close()


def as_json(model):
    return model.to_dict(mode="json", warnings=False) if hasattr(model, "to_dict") else model


def finish(outcome, surface):
    """Puts a stream together; what is wrong with its order is told as "broken"."""
    outcome["final"] = None
    try:
        outcome["final"] = FINALS[surface](outcome["events"])
    except (AssertionError, KeyError, IndexError, TypeError, ValueError) as error:
        outcome["broken"] = f"{type(error).__name__}: {error}"


async def settled(value):
    """One SDK parses at once, the other when it is awaited."""
    return await value if inspect.isawaitable(value) else value


def told(error):
    body = getattr(error, "body", None)
    return {"class": type(error).__name__, "status": getattr(error, "status_code", None),
            "type": getattr(error, "type", None), "code": getattr(error, "code", None),
            "message": str(error), "body": body if isinstance(body, (dict, str)) else None}


async def run(clients, job, on_event=None):
    """One job by the Python SDKs. on_event(event) -> True: the client hangs up."""
    outcome = {"id": job["id"], "events": [], "headers": {}}
    try:
        params = dict(job["params"])
        if job["stream"]:
            params["stream"] = True
        raw = await clients.call(job["surface"])(**params)
        outcome["headers"] = {k.lower(): v for k, v in raw.headers.items()}
        outcome["sent"] = raw.http_request.content.decode()
        outcome["version"] = raw.http_request.headers.get("anthropic-version")
        if job["stream"]:
            stream = await settled(raw.parse())
            async for event in stream:
                outcome["events"].append(as_json(event))
                if on_event is not None and on_event(outcome["events"][-1]):
                    await stream.close()
                    return outcome
            finish(outcome, job["surface"])
        else:
            outcome["parsed"] = as_json(await settled(raw.parse()))
            outcome["came"] = raw.http_response.content.decode()
            outcome["final"] = json.loads(outcome["came"])
    except (openai.OpenAIError, anthropic.AnthropicError) as error:
        outcome["error"] = told(error)
    return outcome


def run_all(base, jobs, on_event=None, at_once=AT_ONCE, **more):
    """All jobs by the Python SDKs, many at once; {id: outcome}. on_event(job, event): see run."""
    async def go():
        clients, slots = Clients(base, **more), asyncio.Semaphore(at_once)

        async def one(job):
            async with slots:
                return await run(clients, job, on_event and functools.partial(on_event, job))
        try:
            return await asyncio.gather(*map(one, jobs))
        finally:
            await clients.close()
    return {outcome["id"]: outcome for outcome in asyncio.run(go())}


# Streams put together again, by what their events say and nothing else.

def chat_final(events):
    made = None
    for event in events:
        if made is None:
            made = {"id": event["id"], "object": "chat.completion", "model": event["model"],
                    "created": event["created"], "choices": []}
        if event.get("usage"):
            made["usage"] = event["usage"]
        for told in event["choices"]:
            while len(made["choices"]) <= told["index"]:
                made["choices"].append({"index": len(made["choices"]), "finish_reason": None,
                                        "message": {"role": "assistant", "content": None}})
            choice = made["choices"][told["index"]]
            choice["finish_reason"] = told.get("finish_reason") or choice["finish_reason"]
            if told.get("logprobs"):
                choice.setdefault("logprobs", {"content": []})["content"] += \
                    told["logprobs"]["content"]
            add_delta(choice["message"], told["delta"])
    return made


def add_delta(message, delta):
    for name, value in delta.items():
        if name == "tool_calls":
            for call in value:
                add_call(message.setdefault("tool_calls", []), call)
        elif name == "role" or value is None:
            continue
        elif isinstance(value, str):
            message[name] = (message.get(name) or "") + value
        elif isinstance(value, list):
            message[name] = message.get(name, []) + value
        else:
            raise AssertionError(f"a delta of {name}: {value!r}")


def add_call(calls, call):
    assert call["index"] <= len(calls), f"call {call['index']} behind {len(calls)} others"
    if call["index"] == len(calls):
        assert call.get("id") and call["function"].get("name"), f"a call without id or name: {call}"
        calls.append({"id": call["id"], "type": call.get("type"), "function": {
            "name": call["function"]["name"], "arguments": ""}})
    else:
        assert call.get("id") in (None, "", calls[call["index"]]["id"]), "a call's id changed"
    calls[call["index"]]["function"]["arguments"] += call["function"].get("arguments") or ""


def completion_final(events):
    made = {"id": events[0]["id"], "object": "text_completion", "model": events[0]["model"],
            "created": events[0]["created"],
            "choices": [{"index": 0, "text": "", "finish_reason": None}]}
    for event in events:
        if event.get("usage"):
            made["usage"] = event["usage"]
        for told in event["choices"]:
            made["choices"][0]["text"] += told.get("text") or ""
            made["choices"][0]["finish_reason"] = \
                told.get("finish_reason") or made["choices"][0]["finish_reason"]
    return made


def messages_final(events):
    """By the rules of the protocol: start, blocks one after the other, delta, stop."""
    told = [e for e in events if e["type"] != "ping"]
    if not told or told[-1]["type"] != "message_stop":
        return None
    assert told[0]["type"] == "message_start", told[0]
    made, is_open = json.loads(json.dumps(told[0]["message"])), False
    texts = []
    for event in told[1:]:
        kind = event["type"]
        if kind == "content_block_start":
            assert not is_open and event["index"] == len(made["content"]), event
            made["content"].append(dict(event["content_block"]))
            texts.append("")
            is_open = True
        elif kind == "content_block_delta":
            assert is_open and event["index"] == len(made["content"]) - 1, event
            add_block_delta(made["content"][-1], event["delta"], texts)
        elif kind == "content_block_stop":
            assert is_open and event["index"] == len(made["content"]) - 1, event
            if made["content"][-1]["type"] == "tool_use":
                made["content"][-1]["input"] = json.loads(texts[-1] or "{}")
            is_open = False
        elif kind == "message_delta":
            assert not is_open, "the message ends within a block"
            made.update({k: v for k, v in event["delta"].items() if v is not None})
            made["usage"] = {**made["usage"], **{k: v for k, v in event["usage"].items()
                                                 if v is not None}}
        elif kind != "message_stop":
            raise AssertionError(f"event {kind}")
    return made


def add_block_delta(block, delta, texts):
    kind = delta["type"]
    if kind == "text_delta":
        block["text"] += delta["text"]
    elif kind == "thinking_delta":
        block["thinking"] += delta["thinking"]
    elif kind == "signature_delta":
        block["signature"] = (block.get("signature") or "") + delta["signature"]
    elif kind == "input_json_delta":
        texts[-1] += delta["partial_json"]
    else:
        raise AssertionError(f"a delta of type {kind}")


def responses_final(events):
    """The response of the last event, once the events before it have told the same output."""
    numbers = [e["sequence_number"] for e in events]
    assert numbers == sorted(set(numbers)), f"sequence numbers {numbers}"
    last = events[-1]
    if last["type"] not in ("response.completed", "response.incomplete", "response.failed"):
        return None
    assert events[0]["type"] == "response.created", events[0]["type"]
    output = []
    for event in events[1:-1]:
        kind = event["type"].removeprefix("response.")
        if kind == "output_item.added":
            assert event["output_index"] == len(output), event
            output.append(dict(event["item"], told={}))
        elif kind == "output_item.done":
            item = output[event["output_index"]]
            assert item["id"] == event["item"]["id"], "an item's id changed"
            check_item(event["item"], item["told"])
            output[event["output_index"]] = event["item"]
        elif "output_index" in event:
            note_piece(output[event["output_index"]], kind, event)
    assert output == last["response"]["output"], (output, last["response"]["output"])
    return last["response"]


def note_piece(item, kind, event):
    assert event["item_id"] == item["id"], f"{event['item_id']} in {item['id']}"
    place = event.get("content_index", event.get("summary_index", 0))
    parts = item["told"]
    if kind.endswith(".delta"):
        parts[place] = parts.get(place, "") + event["delta"]
    elif kind.endswith("part.added"):
        assert place == len(parts), f"part {place} behind {len(parts)} others"
        parts[place] = ""
    elif kind.endswith(".done") and "part" not in event:
        value = event.get("text", event.get("arguments", event.get("refusal")))
        assert parts.get(place, "") == value, f"{kind}: {value!r} after {parts}"


def check_item(item, parts):
    """A finished item holds what its pieces told."""
    if item["type"] == "function_call":
        told = [item["arguments"]]
    elif item["type"] == "message":
        told = [c.get("text", c.get("refusal")) for c in item["content"]]
    else:
        told = [s["text"] for s in item["summary"]] or \
            [c["text"] for c in item.get("content") or []]
    assert [parts[i] for i in sorted(parts)] == told, f"{told} after {parts}"


FINALS = {"chat": chat_final, "completions": completion_final, "messages": messages_final,
          "responses": responses_final}


def run_node(node, modules, folder, script, base, jobs, timeout, key="unused"):
    """All jobs by the Node.js SDKs; {id: outcome}."""
    folder = pathlib.Path(folder)
    if not (folder / "node_modules").exists():
        os.symlink(modules, folder / "node_modules")
    (folder / "client.mjs").write_text(script.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    done = subprocess.run([node, "client.mjs", base, "jobs.json", "outcomes.json", key], cwd=folder,
                          text=True, capture_output=True, timeout=timeout, check=False)
    if done.returncode != 0:
        raise AssertionError(f"Node.js ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    outcomes = json.loads((folder / "outcomes.json").read_text(encoding="utf-8"))
    return {outcome["id"]: outcome for outcome in outcomes}
