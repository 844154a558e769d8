# SPDX-License-Identifier: Apache-2.0
"""Regenerates docs/results: main.py BINARY CACHE RESULTS [--quick] [--encoder NAME] [PART...]; see
scripts/reproduce. --quick: only the ends of every list of values, to see that it runs."""
import argparse
import hashlib
import importlib
import json
import pathlib
import sys

import data
from tool import Tool

ROOT = pathlib.Path(__file__).resolve().parents[2]
PARTS = {"metallm": "part_metallm", "tasks": "part_tasks", "paretobandit": "part_pareto"}


class Context:
    """What the parts share: the tool, the data, stores with embeddings, trained routers."""

    def __init__(self, binary, cache, results, is_quick=False, encoder="minilm"):
        self.cache, self.results = pathlib.Path(cache), pathlib.Path(results)
        self.is_quick, self.encoder = is_quick, encoder
        self.work = self.cache / "reproduce"
        self.tool = Tool(binary, self.work)
        self.sources = self.hash_sources("src/base", "src/data", "src/encoder", "src/store")
        self.sets = data.find(self.cache, self.work / "data")

    def encoder_note(self):
        if self.encoder != "minilm":
            return f"Prompts are encoded by `{self.encoder}`."
        return ("Prompts are encoded by all-MiniLM-L6-v2 in the arithmetic that metallm chooses for the processor; "
                "on one with other arithmetic the last digits differ.")

    def some(self, values):
        """All values, or the first and the last."""
        values = list(values)
        return values[::len(values) - 1] if self.is_quick and len(values) > 2 else values

    @staticmethod
    def hash_sources(*folders):
        """Stores are made anew when what fills them has changed."""
        digest = hashlib.sha256()
        for folder in folders:
            for path in sorted((ROOT / folder).iterdir()):
                digest.update(path.name.encode() + path.read_bytes())
        return digest.hexdigest()[:12]

    def store(self, s):
        """Options that name a set's store, which holds both splits and keeps their vectors."""
        path = self.work / f"{s.name}-{s.key}-{self.sources}.db"
        ready = path.with_suffix(".ready")
        if not ready.exists():
            path.unlink(missing_ok=True)
            for split, files in (("train", s.train), ("test", s.test)):
                self.say(f"importing {s.name} ({split})")
                call = ["import", files, "--store", f"sqlite:{path}", "--split", split]
                self.tool.call(*call, *(["--prices", s.prices] if s.prices else []))
            ready.write_text("", encoding="utf-8")
        return ["--store", f"sqlite:{path}"]

    def router(self, s, *options):
        """A router trained on the set's training split."""
        self.say(f"training on {s.name} {' '.join(map(str, options))}")
        if "--encoder" not in options:
            options = (*options, "--encoder", self.encoder)
        return self.tool.file("router.safetensors", "train", *self.store(s), "--split", "train", "-o", "@",
                              *options)

    def embeddings(self, s):
        """The distinct prompts of a JSON Lines set and their embeddings: two files, line by line."""
        prompts = {}
        for path in (s.train, s.test):
            with open(path, encoding="utf-8", newline="\n") as stream:
                for line in stream.read().split("\n"):
                    if line.strip():
                        prompts[json.loads(line)["prompt"]] = None
        texts = self.work / f"{s.name}-texts.jsonl"
        texts.write_text("".join(json.dumps({"text": p}) + "\n" for p in prompts), encoding="utf-8")
        return texts, self.tool.embed(texts)

    @staticmethod
    def say(text):
        print(f"reproduce: {text}", file=sys.stderr, flush=True)


def main(arguments):
    parser = argparse.ArgumentParser(prog="reproduce")
    for name in ("binary", "cache", "results"):
        parser.add_argument(name)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    a = parser.parse_intermixed_args(arguments)
    unknown = [p for p in a.parts if p not in PARTS]
    if unknown:
        parser.error(f"no part '{unknown[0]}'; parts: {', '.join(PARTS)}")
    context = Context(a.binary, a.cache, a.results, a.quick, a.encoder)
    for part in a.parts or PARTS:
        context.say(f"part {part}")
        importlib.import_module(PARTS[part]).run(context)


if __name__ == "__main__":
    main(sys.argv[1:])
