#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the fuzz target's vocabulary and the part of its corpus that carries reference ids:
make_tokenizer_ids.py (in this folder; needs HuggingFace's tokenizers, 0.23).

A file of the corpus is a line "IDS HASH ID ID ..." and the text: HASH is FNV-1a of all that
follows it, so that a mutated file is told from one whose ids belong to its text. The texts are our own, and drawn.
"""
import pathlib
import random

import tokenizers

HERE = pathlib.Path(__file__).parent
PLAIN = """[PAD] [UNK] [CLS] [SEP] [MASK] ! " # $ % & ' ( ) * + , - . / : ; < = > ? @ [ \\ ] ^ _ ` { | } ~
a b c d e f g h i j k l m n o p q r s t u v w x y z 0 1 2 3 4 5 6 7 8 9 the un sun words token how
many not international under running he she wo 12 123 2024 中 文 字 é й ß ə α ω ا ب न ह が 안 。 、 – “
internationalizations straße наука""".split()
AFTER = """a b c d e f g h i j k l m n o p q r s t u v w x y z 0 1 2 3 4 5 6 7 8 9 able aff ing ize izer ized
ational ly er 23 24 00 ый ка ा ि ß ə δ 하""".split()
VOCABULARY = PLAIN + ["##" + piece for piece in AFTER]
TEXTS = [
    "", " \n\t", "unaffable", "tokenizers tokenized tokenizing", "internationalizations international",
    "don't can't — “quoted” – 2024-12-31", "[CLS] [SEP][MASK] [PAD][UNK] [cls] [ SEP ]", "[[CLS]]",
    "naïve Ångström DÉJÀ vu é e\u0301 e\u0301\u0323 e\u0323\u0301", "ﬁx ﬂow ẞ ß straße STRASSE",
    "今天天气很好 中文字 中a文", "が か\u3099 ガ 안녕 하세요 \u1112\u1161", "наука НАУКА й и\u0306",
    "नमस्ते हिन्दी", "اب ب\u0651ا", "\u0130stanbul I\u0307 ıI", "zero\u200bwidth \u00adsoft \ufeffmark",
    "\u0000\u0001\u007f\u0085\u00a0\u2028\u3000x\ufffdy", "a" * 100, "a" * 101, "é" * 100, "é" * 101,
    "x" * 15 + " " + "y" * 16 + " " + "z" * 17, "\u0301\u0302 x\u0301\u0302\u0303 y\u0323\u0307",
    "\u302e\u0301\u302f \U0001d165\u0300\U0001d16d", "emoji 🙂🚀 🇪🇺 👨\u200d👩\u200d👧 1\ufe0f\u20e3",
    "$5.00+€3.50=£7.10?`~^|<>", "a\rb\r\nc\vd\fe", "\U000e0001tag \ue000private \U0010ffff",
    "αΩ Σς", "ǅ ǆ Ǆ ŉ", "½ ² ³ ①", "ａｂｃ １２", "un\u200baffable un\u00adable",
]
PARTS = PLAIN + AFTER + [" ", " ", " ", "\n", "\t", "É", "é", "e\u0301", "\u0301", "\u0323", "中", "㐀", "𠀀",
                         "Ａ", "İ", "ﬁ", "\u200d", "\ufe0f", "🙂", "\u00a0", "\u3000", "「", "」", "…", "ﾞ", "が",
                         "각", "\u1100\u1161\u11a8", "ऩ", "\u0b4d", "\u09cd", "ค่", "\x7f", "\x1f", "Ǆ", "ẛ̣"]


def fnv(data):
    h = 0xcbf29ce484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001b3 % 2**64
    return h


def c_string(text):
    out = "".join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in text)
    return f'    "{out}"'


def main():
    made = tokenizers.BertWordPieceTokenizer(
        vocab={t: i for i, t in enumerate(VOCABULARY)}, clean_text=True, handle_chinese_chars=True,
        strip_accents=None, lowercase=True)
    rng = random.Random(20)
    texts = TEXTS + ["".join(rng.choice(PARTS) for _ in range(rng.randrange(2, 60))) for _ in range(40)]
    lines = [c_string((token + "\n").encode()) for token in VOCABULARY]
    HERE.joinpath("tokenizer_vocab.h").write_text(
        "/* SPDX-License-Identifier: Apache-2.0\n"
        " * tokenizer_vocab.h - the vocabulary of fuzz_tokenizer.c, made by make_tokenizer_ids.py. */\n"
        "/* clang-format off */\nstatic const char vocabulary[] =\n" + "\n".join(lines) + ";\n")
    for i, text in enumerate(texts):
        ids = made.encode(text, add_special_tokens=False).ids
        data = ("".join(f" {i}" for i in ids) + "\n" + text).encode()
        head = f"IDS {fnv(data):016x}".encode()
        HERE.joinpath("corpus", "tokenizer", f"ids-{i:02}").write_bytes(head + data)


main()
