# SPDX-License-Identifier: Apache-2.0
"""A BERT sentence encoder of two layers and 32 columns, drawn from a seed: no sense, but every part.

write(FOLDER) makes model.safetensors, config.json and vocab.txt as a Sentence-BERT folder has them."""
import json
import pathlib
import random
import struct

LAYERS, HIDDEN, HEADS, INNER, POSITIONS = 2, 32, 2, 64, 64
WORDS = """what is write a python function that can list of numbers def name famous and explain for why
they matter to rivers painters treaties planets operas bridges emperors islands sort reverse merge count
rotate split hash one two three""".split()


def vocabulary():
    marks = list("[](){}+*?.,:;!'\"-_=/0123456789")
    letters = list("abcdefghijklmnopqrstuvwxyz")
    tail = ["##" + c for c in letters + list("0123456789")]
    seen = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *marks, *letters, *WORDS, *tail]
    return list(dict.fromkeys(seen))


def write(folder, seed=3):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    words, rng = vocabulary(), random.Random(seed)
    shapes = {"embeddings.word_embeddings.weight": (len(words), HIDDEN),
              "embeddings.position_embeddings.weight": (POSITIONS, HIDDEN),
              "embeddings.token_type_embeddings.weight": (2, HIDDEN)}
    linears = {"attention.self.query": (HIDDEN, HIDDEN), "attention.self.key": (HIDDEN, HIDDEN),
               "attention.self.value": (HIDDEN, HIDDEN),
               "attention.output.dense": (HIDDEN, HIDDEN), "intermediate.dense": (INNER, HIDDEN),
               "output.dense": (HIDDEN, INNER)}
    norms = ["embeddings.LayerNorm"]
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        for name, (rows, columns) in linears.items():
            shapes[at + name + ".weight"] = (rows, columns)
            shapes[at + name + ".bias"] = (rows,)
        norms += [at + "attention.output.LayerNorm", at + "output.LayerNorm"]
    for name in norms:
        shapes[name + ".weight"] = shapes[name + ".bias"] = (HIDDEN,)
    header, data = {}, b""
    for name, shape in shapes.items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        middle = 1 if "LayerNorm.weight" in name else 0
        values = [middle + rng.uniform(-0.2, 0.2) for _ in range(count)]
        header[name] = {"dtype": "F32", "shape": list(shape),
                        "data_offsets": [len(data), len(data) + 4 * count]}
        data += struct.pack(f"<{count}f", *values)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    (folder / "vocab.txt").write_text("".join(w + "\n" for w in words))
    (folder / "config.json").write_text(json.dumps({
        "model_type": "bert", "num_hidden_layers": LAYERS, "hidden_size": HIDDEN,
        "num_attention_heads": HEADS, "intermediate_size": INNER, "vocab_size": len(words),
        "max_position_embeddings": POSITIONS, "layer_norm_eps": 1e-12}))
