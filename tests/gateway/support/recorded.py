# SPDX-License-Identifier: Apache-2.0
"""Answers of real small LLMs, recorded once (tests/data/classify/README.md) and given again to the
same requests: an LLM's answer belongs to its name, the examples and the text. Any other request is
refused, so that a prompt that has changed cannot go unnoticed."""
import csv
import json

from .upstream import head, says, send, usage_of

LLMS = ("smollm2", "gemma")


class Recording:
    """A file of tests/data/classify: worked examples, then texts with their gold and answers."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as f:
            first, *rows = map(json.loads, f)
        self.examples = [tuple(e) for e in first["examples"]]
        self.rows = {r["text"]: r for r in rows}
        self.labels = sorted({r["gold"] for r in rows})
        self.prefix = []
        for text, label in self.examples:
            self.prefix += [{"role": "user", "content": text},
                            {"role": "assistant", "content": label}]

    def replays(self, llm):
        """A behaviour of an Upstream: what this LLM said."""
        async def behave(seen, writer):
            asked = seen.json()
            *before, last = asked["messages"]
            row = self.rows.get(last["content"])
            if before != self.prefix or last["role"] != "user" or row is None:
                await says(400, "this was never asked")(seen, writer)
                return
            body = json.dumps(answer_of(asked, row[llm]), ensure_ascii=False).encode()
            await send(writer, head(length=len(body)) + body)
        return behave

    def write_examples(self, path):
        write_csv(path, ["text", "label"], self.examples)

    def write_texts(self, path, first, last):
        """Texts `first` to `last` as CSV, in the order in which they were recorded."""
        write_csv(path, ["text", "label"],
                  [(t, r["gold"]) for t, r in list(self.rows.items())[first:last]])


def write_csv(path, columns, rows):
    with open(path, "w", newline="", encoding="utf-8") as f:
        out = csv.writer(f)
        out.writerow(columns)
        out.writerows(rows)


def answer_of(asked, said):
    """The body as the server gave it, with as many alternatives as are asked for."""
    choice = {"index": 0, "message": {"role": "assistant", "content": said["says"]},
              "finish_reason": "stop"}
    if asked.get("logprobs"):
        choice["logprobs"] = {"content": [
            {"token": token, "logprob": p, "top_logprobs": [
                {"token": t, "logprob": q} for t, q in (said["top"] if i == 0 else [])
            ][:asked.get("top_logprobs", 0)]} for i, (token, p) in enumerate(said["tokens"])]}
    return {"id": "chatcmpl-recorded", "object": "chat.completion", "created": 1700000000,
            "model": asked["model"], "choices": [choice], "usage": usage_of(said["usage"])}
