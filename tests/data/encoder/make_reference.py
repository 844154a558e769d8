#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes reference.jsonl: make_reference.py FOLDER > reference.jsonl.

FOLDER holds all-MiniLM-L6-v2's model.safetensors and tokenizer.json. Token ids come from
HuggingFace's tokenizers (0.23), vectors from the published equations in float64 (numpy alone: BERT,
Devlin et al. 2018, post-norm, exact GELU, mean pooling, unit length). The sentences are our own.
"""
import json
import math
import struct
import sys

import numpy
import tokenizers

LIMIT = 256
TEXTS = [
    "", " ", "\n\t", "a", "The cat sat on the mat.", "THE CAT SAT ON THE MAT!",
    "Which of these is a prime number? A. 91 B. 87 C. 97 D. 51",
    "Write a function that reverses a linked list in place.",
    "What is 17 * 23 - 4^2 / 8?", "for (int i = 0; i < n; i++) { sum += a[i]; }",
    "naïve café, déjà vu, Ångström, Dvořák and smørrebrød", "ﬁx the ﬂow of ﬂour",
    "ÅÄÖ åäö ẞ ß İ ı ŉ", "Tiếng Việt có nhiều dấu thanh", "今天天气很好，我们去公园吧。",
    "東京は日本の首都です。カタカナも。", "안녕하세요, 반갑습니다!", "Привет, как дела?",
    "שלום, מה שלומך?", "مرحبا، كيف حالك؟", "नमस्ते दुनिया", "สวัสดีชาวโลก",
    "zero\u200bwidth \u00adsoft \ufeffmark", "tab\there, vertical\vtab, form\ffeed, nul-like \x01\x02",
    "x\u0301\u0302\u0303 y\u0323\u0307 stacked", "\u302e\u0301\u302f order of marks \U0001d165\u0300\U0001d16d",
    "[CLS] inside [SEP] text [MASK] and [PAD], [cls] [unk] [[SEP]]",
    "emoji 🙂🚀 and flags 🇪🇺 and family 👨\u200d👩\u200d👧", "$5.00 + €3.50 = £7.10?",
    "__init__ and __repr__ are dunder methods", "don't can't won't it's o'clock",
    "http://www.example.org/path?query=1&other=two#part", "e-mail: someone@example.org",
    "antidisestablishmentarianism floccinaucinihilipilification",
    "a" * 99, "a" * 100, "a" * 101, "b" * 1000 + " end", "é" * 100, "é" * 101,
    "1" * 60 + " " + "2.5" * 20, "word " * 253, "word " * 254, "word " * 255, "word " * 400,
    "字" * 300, "." * 300, "The quick brown fox jumps over the lazy dog. " * 40,
]


def tensors(path):
    raw = open(path, "rb").read()
    size = struct.unpack("<Q", raw[:8])[0]
    out = {}
    for name, t in json.loads(raw[8:8 + size]).items():
        if name != "__metadata__" and t["dtype"] == "F32":
            begin, end = (8 + size + x for x in t["data_offsets"])
            out[name] = numpy.frombuffer(raw[begin:end], "<f4").reshape(t["shape"]).astype("f8")
    return out


def norm(x, w, name):
    x = x - x.mean(-1, keepdims=True)
    x = x / numpy.sqrt((x * x).mean(-1, keepdims=True) + 1e-12)
    return x * w[name + ".weight"] + w[name + ".bias"]


def linear(x, w, name):
    return x @ w[name + ".weight"].T + w[name + ".bias"]


def embed(ids, w):
    n = len(ids)
    gelu = numpy.vectorize(lambda v: 0.5 * v * (1 + math.erf(v / math.sqrt(2))))
    x = w["embeddings.word_embeddings.weight"][ids] + \
        w["embeddings.position_embeddings.weight"][:n] + \
        w["embeddings.token_type_embeddings.weight"][0]
    x = norm(x, w, "embeddings.LayerNorm")
    for layer in range(6):
        at = f"encoder.layer.{layer}."
        q, k, v = (linear(x, w, at + "attention.self." + part).reshape(n, 12, 32).swapaxes(0, 1)
                   for part in ("query", "key", "value"))
        s = q @ k.swapaxes(1, 2) / math.sqrt(32)
        s = numpy.exp(s - s.max(-1, keepdims=True))
        a = (s / s.sum(-1, keepdims=True) @ v).swapaxes(0, 1).reshape(n, 384)
        x = norm(linear(a, w, at + "attention.output.dense") + x, w, at + "attention.output.LayerNorm")
        h = linear(gelu(linear(x, w, at + "intermediate.dense")), w, at + "output.dense")
        x = norm(h + x, w, at + "output.LayerNorm")
    mean = x.mean(0)
    return mean / math.sqrt(mean @ mean)


def main(folder):
    w = tensors(folder + "/model.safetensors")
    tokenizer = tokenizers.Tokenizer.from_file(folder + "/tokenizer.json")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        cut = ids[:LIMIT - 1] + ids[-1:] if len(ids) > LIMIT else ids
        tail = ids[:1] + ids[-(LIMIT - 1):] if len(ids) > LIMIT else ids
        row = {"text": text, "ids": cut, "tail": tail, "count": len(ids),
               "embedding": [round(v, 7) for v in embed(cut, w)]}
        print(json.dumps(row, separators=(",", ":")))


main(sys.argv[1])
