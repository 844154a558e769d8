# SPDX-License-Identifier: Apache-2.0
"""The data sets: where they are, and their split by prompt. A set that is not there is None."""
import csv
import hashlib
import json
import os
import pathlib

csv.field_size_limit(1 << 30)

ROOT = pathlib.Path(__file__).resolve().parents[2]
TRAIN_SHARE = 6  # of 10, by the hash of the prompt: copies of a prompt stay together
SPLIT = "split 60/40 by the hash of the prompt, so that copies of a prompt stay together"
FLAT = "scores recorded; dollars simulated: list prices, 1,000 tokens a call"

# name, title, the prompt's column, whether prices are given beside it, what it is
FOLDERS = (
    ("routellm_mmlu", "MMLU, 57 tasks, 2 LLMs (RouteLLM)", "prompt", True, FLAT),
    ("routerbench", "RouterBench, 3 tasks, 11 LLMs", "prompt", False,
     "scores and dollars recorded; rows with an empty score left out"),
    ("routerdc", "RouterDC's set, 6 tasks, 7 LLMs", "question", False, "scores recorded; no dollars"),
    ("ulab", "LLMRouter's set (ulab), 9 LLMs", "question", True, FLAT),
)


def is_train(prompt):
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest()[0] * 10 // 256 < TRAIN_SHARE


class Set:
    """One data set. files: all rows; train, test: files or folders with the split rows; key: a hash of
    what it holds; prices: a price file or None; source: what is recorded and how it is split."""

    def __init__(self, name, title, source, files, train, test, key, prices=None):
        self.name, self.title, self.source, self.files = name, title, source, files
        self.train, self.test, self.key, self.prices = train, test, key, prices


def fingerprint(paths):
    digest = hashlib.sha256(pathlib.Path(__file__).read_bytes())
    for path in paths:
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")


def write_csv(path, head, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as stream:
        out = csv.writer(stream, lineterminator="\n")
        out.writerow(head)
        out.writerows(rows)


def is_complete(row, head):
    """RouterBench leaves some score cells empty; its own tables leave such rows out."""
    return all(row[i] != "" for i, h in enumerate(head)
               if f"{h}|model_response" in head or f"{h}|total_cost" in head)


def split_csv(path, prompt, folder):
    with open(path, encoding="utf-8", newline="") as stream:
        head, *rows = csv.reader(stream)
    rows = [r for r in rows if is_complete(r, head)]
    at = head.index(prompt)
    for part, key in (("train", True), ("test", False)):
        write_csv(folder / part / path.name, head, [r for r in rows if is_train(r[at]) == key])


def split_json(path, prompt, folder):
    rows = json.loads(path.read_text(encoding="utf-8"))
    for part, key in (("train", True), ("test", False)):
        write(folder / part / path.name,
              json.dumps([r for r in rows if is_train(str(r[prompt])) == key], ensure_ascii=False))


SPLITTERS = {".csv": split_csv, ".json": split_json}


def find_folder(folder, work, entry):
    name, title, prompt, is_priced, source = entry
    files = sorted(p for p in (folder / name).glob("*") if p.suffix in SPLITTERS)
    prices = folder / "prices.yaml"
    if not files or (is_priced and not prices.is_file()):
        return None
    key = fingerprint([*files, prices] if is_priced else files)
    split = work / f"{name}-{key}"
    if not (split / "done").exists():
        for path in files:
            SPLITTERS[path.suffix](path, prompt, split)
        write(split / "done", "")
    return Set(name, title, f"{source}; {SPLIT}", files, split / "train", split / "test", key,
               prices if is_priced else None)


def find(cache, work):
    """{name: Set or None}. Recorded outcomes come from the folder METALLM_DATA (../shared/data beside
    the source when that is unset); ParetoBandit's two files come from the cache, where scripts/setup
    puts them."""
    given = os.environ.get("METALLM_DATA")
    folder = pathlib.Path(given) if given else ROOT.parent / "shared" / "data"
    files = [cache / "paretobandit" / n for n in ("val.jsonl", "test_holdout.jsonl")]
    sets = {"paretobandit": None}
    if all(p.is_file() for p in files):
        sets["paretobandit"] = Set(
            "paretobandit", "ParetoBandit's set, 9 sources, 3 LLMs",
            "scores and dollars recorded; fitted on its validation split, measured on its hold-out", files,
            *files, fingerprint(files))
    for entry in FOLDERS:
        sets[entry[0]] = find_folder(folder, work, entry)
    return sets


def missing(sets, names):
    """The titles of those that are not there."""
    titles = {e[0]: e[1] for e in FOLDERS}
    return [titles.get(n, "ParetoBandit's set") for n in names if sets[n] is None]
