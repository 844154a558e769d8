# SPDX-License-Identifier: Apache-2.0
"""What an LLM says, apart from any protocol. A request names its script in its text:
"... [[SCRIPT/CELL]]". CELL is any name; what was asked under it is found there again."""
import base64
import dataclasses
import json
import re

MARK = re.compile(r"\[\[([a-z0-9-]+)/([A-Za-z0-9_.-]+)\]\]")


@dataclasses.dataclass
class Said:
    """An answer. Parts are ("text", text), ("refusal", text), ("reasoning", text, seal) and
    ("call", id, name, arguments); finish is one of stop, length, tools, filter, sequence."""
    parts: list
    finish: str = "stop"
    stop: str = None
    input: int = 31     # tokens, those from the cache and into it among them
    cached: int = 0
    written: int = 0
    output: int = 12    # those of reasoning among them
    reasoning: int = 0

    def with_(self, **more):
        return dataclasses.replace(self, **more)

    @property
    def text(self):
        return "".join(p[1] for p in self.parts if p[0] == "text")

    def calls(self):
        return [p for p in self.parts if p[0] == "call"]


def seal(name):
    """An opaque text as providers give them: base64."""
    return base64.b64encode(f"sealed:{name}:".encode() + bytes(range(40))).decode()


TEXT = "Vienna — née Vindobona — has “quotes”, \\ and a 🎡.\nA second line.\tDone."
THOUGHT = "Austria's capital… it is Vienna, not Graz. 🤔"
SCRIPTS = {
    "text": Said([("text", TEXT)]),
    "empty": Said([], output=1),
    "call": Said([("call", "call_Aa1", "weather", {"city": "Graz", "days": 2})], "tools"),
    "noargs": Said([("call", "call_Bb2", "clock", {})], "tools"),
    "textcall": Said([("text", "Let me look."),
                      ("call", "call_Cc3", "weather", {"city": "Sankt Pölten", "days": 0.5})],
                     "tools"),
    "parallel": Said([("call", "call_P1", "weather", {"city": "Graz", "days": 1}),
                      ("call", "call_P2", "weather", {"city": "Linz \"an der Donau\"", "days": 2}),
                      ("call", "call_P3", "clock", {})], "tools"),
    "json": Said([("text", json.dumps({"answer": 42, "city": "Graz"}))]),
    "reasoning": Said([("reasoning", THOUGHT, seal("r1")), ("text", "Vienna.")], output=40,
                      reasoning=30),
    "thinkcall": Said([("reasoning", THOUGHT, seal("r2")),
                       ("call", "call_T1", "weather", {"city": "Wien", "days": 3})], "tools",
                      output=50, reasoning=33),
    "refusal": Said([("refusal", "I can't help with that.")]),
    "filter": Said([("text", "The first step")], "filter"),
    "length": Said([("text", "It goes on and")], "length", output=16),
    "sequence": Said([("text", "One, two, ")], "sequence", stop="END"),
    "usage": Said([("reasoning", THOUGHT, seal("r3")), ("text", "Vienna.")], input=2048,
                  cached=1024, output=300, reasoning=250),
    "written": Said([("text", "Vienna.")], input=3000, cached=1000, written=1500, output=4),
    "long": Said([("text", "".join(f"Sentence {i} of a long story. " for i in range(400)))],
                 output=3000),
}
# Scripts that are no answers: "error-STATUS", and these.
FAULTS = {"midway", "cut", "wait", "endless", "hang"}


def mark_of(text):
    """(script, cell) that a request's bytes name last; (None, None): none."""
    found = MARK.findall(text)
    return found[-1] if found else (None, None)


def is_known(script):
    return script in SCRIPTS or script in FAULTS or re.fullmatch(r"error-\d{3}", script or "")


def cut(text, count=4):
    """A text in pieces that are not all alike, none empty; characters stay whole."""
    count = max(1, min(count, len(text)))
    return [text[i * len(text) // count:(i + 1) * len(text) // count] for i in range(count)]
