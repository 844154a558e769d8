#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The official OpenAI client for Python, unchanged, against a metallm gateway."""
import os

import openai

client = openai.OpenAI(base_url=os.environ.get("METALLM_URL", "http://127.0.0.1:8080") + "/v1",
                       api_key=os.environ.get("METALLM_KEY", "unused"))
question = [{"role": "user", "content": "What is 17 * 23?"}]

# "auto" is the router's name in metallm.yaml: it picks the LLM. The headers tell which, and why.
raw = client.chat.completions.with_raw_response.create(model="auto", messages=question)
answer = raw.parse()
print(f"{raw.headers['x-metallm-model']}: {answer.choices[0].message.content}")
print(f"it cost {float(raw.headers['x-metallm-cost-usd']):.6f} dollars")

# Feedback teaches the router: a score from 0 to 1, now or days later.
decision = raw.headers["x-metallm-decision"]
client.post("/feedback", cast_to=object, body={"decision": decision, "score": 1.0})

# This request has constraints of its own: an LLM that is right with a chance of 0.9, if there is one.
stream = client.chat.completions.create(
    model="auto", messages=question, stream=True, extra_body={"metallm": {"target": 0.9}})
for piece in stream:
    if piece.choices:
        print(piece.choices[0].delta.content or "", end="", flush=True)
print()
