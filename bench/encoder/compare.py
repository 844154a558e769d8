# SPDX-License-Identifier: Apache-2.0
"""compare.py TIMES CACHE CSV: our encoder beside ONNX Runtime, in one run.

TIMES is the program encoder_times. Every figure is CPU time a text (microseconds; best of several
runs), of one thread and of two, for texts of equal length and for real prompts one after another.
ONNX Runtime gets the graph of the same weights (fp32, and quantize_dynamic's int8) with all of its
graph optimizations on.
"""
import csv
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy
import onnxruntime

import peer_graph

LENGTHS, BATCHES, PRECISIONS = (12, 40, 128, 256), (1, 32), ("fp32", "bf16", "int8")
LAYERS, HIDDEN, LINEAR = 6, 384, 6 * (4 * 384 * 384 + 2 * 384 * 1536)
RUNS, RUN_SECONDS, MIXED = 5, 0.2, 32


def ours(program, precision, threads, tokens, batch, prompts):
    done = subprocess.run([program, precision, str(threads), str(tokens), str(batch), prompts],
                          capture_output=True, text=True)
    return tuple(map(float, done.stdout.split())) if done.returncode == 0 else None


def timed(call, texts):
    cpu, wall = 1e9, 1e9
    for run in range(RUNS + 1):
        c, w, n = time.process_time(), time.perf_counter(), 0
        while n == 0 or time.perf_counter() - w < RUN_SECONDS:
            call()
            n += texts
        if run:
            cpu = min(cpu, (time.process_time() - c) / n)
            wall = min(wall, (time.perf_counter() - w) / n)
    return cpu * 1e6, wall * 1e6


def session(path, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def limit_us(lengths, int8, bf16):
    """The least time of the units themselves: products in int8, attention in bfloat16."""
    if not int8 or not bf16:
        return None
    n = numpy.array(lengths, float)
    return float((2 * n * LINEAR / int8 + 4 * LAYERS * n * n * HIDDEN / bf16).mean() / 1e3)


def real_prompts(cache, folder):
    """MIXED prompts of the outcomes in the cache, a line each, and their token counts."""
    source = pathlib.Path(cache, "paretobandit", "val.jsonl")
    if not source.exists():
        return None, []
    rows = [json.loads(line)["prompt"] for line in source.open(encoding="utf-8")]
    texts = [" ".join(r.split()) for r in rows]
    texts = [t for t in texts if len(t) < 900]
    texts = texts[::max(1, len(texts) // MIXED)][:MIXED]
    path = pathlib.Path(folder, "prompts.txt")
    path.write_text("".join(t + "\n" for t in texts), encoding="utf-8")
    lines = "".join(json.dumps({"text": t}) + "\n" for t in texts)
    out = subprocess.run([os.environ.get("METALLM_TOOL", "build/metallm"), "embed", "--json"],
                         input=lines, capture_output=True, text=True, check=True).stdout
    return str(path), [json.loads(line)["tokens"] for line in out.splitlines()]


def machine():
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo")
                if line.startswith("model name")), "unknown")
    git = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True)
    return cpu, git.stdout.strip() or "unknown"


def feed(length, batch, rng):
    return {"ids": rng.integers(1000, 30000, (batch, length)).astype("int64")}


def measure(program, models, threads, lengths, batch, prompts, rng):
    """One row of the table: name -> (cpu, wall). Several lengths: one by one, our own as a batch."""
    is_mixed = len(lengths) > 1
    row = {p: ours(program, p, threads, 0 if is_mixed else lengths[0], batch, prompts or "")
           for p in PRECISIONS}
    for name, path in models.items():
        s = session(path, threads)
        feeds = [feed(n, 1 if is_mixed else batch, rng) for n in lengths]
        row[name] = timed(lambda: [s.run(None, f) for f in feeds], len(lengths) if is_mixed else batch)
    return row


def ratio(row, peer, own, k=0):
    return f"{row[peer][k] / row[own][k]:6.2f}" if row.get(own) and row.get(peer) else "     -"


def text_times(program, cache, folder, tool):
    """Tokenizer and static encoder on real prompts of about 100 and about 40 tokens."""
    source = pathlib.Path(cache, "paretobandit", "val.jsonl")
    if not source.exists():
        return
    rows = sorted({" ".join(json.loads(line)["prompt"].split()) for line in source.open(encoding="utf-8")})
    rows = [r for r in rows if len(r) > 200]
    table = str(pathlib.Path(folder, "static.safetensors"))
    corpus = pathlib.Path(folder, "corpus.txt")
    corpus.write_text("".join(r + "\n" for r in rows), encoding="utf-8")
    subprocess.run([tool, "distill", "--text", str(corpus), "-o", table], check=True,
                   stdout=subprocess.DEVNULL)
    for characters in (460, 170):
        texts = pathlib.Path(folder, "texts.txt")
        texts.write_text("".join(r[:characters] + "\n" for r in rows), encoding="utf-8")
        done = subprocess.run([program, cache + "/minilm/vocab.txt", str(texts), table], check=True,
                              capture_output=True, text=True).stdout.split()
        us, tokens, vector, features = map(float, done)
        print(f"{len(rows)} prompts of {tokens:.0f} tokens, CPU us a text: tokenizer {us:.2f} "
              f"({100 * us / tokens:.2f} for 100 tokens), static vector {vector:.2f}, "
              f"with text features {features:.2f}")


def verdicts(walls, limits):
    """One line for each ratio that was asked for; walls: (threads, length, batch) -> row."""
    def line(what, values, bound, is_most=False):
        known = [(n, v) for n, v in values if v]
        good = bool(known) and all(v <= bound if is_most else v >= bound for _, v in known)
        print(f"{'met   ' if good else 'missed'} {what} {'<=' if is_most else '>='} {bound}: "
              + "  ".join(f"{n}: {v:.2f}" for n, v in known))

    def over(peer, own, threads, length, batch, k=0):
        row = walls.get((threads, length, batch), {})
        return row[peer][k] / row[own][k] if row.get(peer) and row.get(own) else None

    names = [str(n) for n in LENGTHS]
    ones = [(f"{n}", walls.get((1, n, 1), {})) for n in names]
    line("int8 / limit, batch 1", [(n, r["int8"][0] / limits[n, 1]) for n, r in ones
                                   if r.get("int8") and limits.get((n, 1))], 1.4, True)
    line("ONNX Runtime int8 / int8, batch 1", [(n, over("ort int8", "int8", 1, n, 1)) for n in names], 2)
    line("ONNX Runtime fp32 / bf16, batch 1", [(n, over("ort fp32", "bf16", 1, n, 1)) for n in names], 2)
    mixed = [n for _, n, b in walls if n.startswith("~")][:1]
    line("ONNX Runtime fp32 one by one / int8 as one mixed batch",
         [(n, over("ort fp32", "int8", 1, n, MIXED)) for n in mixed], 3)
    two = [(f"{n}x{b}", walls[1, n, b]["int8"][1] / walls[2, n, b]["int8"][1])
           for t, n, b in walls if t == 1 and walls[t, n, b].get("int8") and walls.get((2, n, b), {}).get("int8")]
    line("int8, one thread / two, by the clock", two, 1.7)


def main(program, cache, target):
    cpu, commit = machine()
    rng = numpy.random.default_rng(7)
    int8, bf16 = map(float, subprocess.run([program, "peak"], capture_output=True, text=True,
                                           check=True).stdout.split())
    print(f"{cpu}, commit {commit}, ONNX Runtime {onnxruntime.__version__}; "
          f"units: int8 {int8:.0f}, bf16 {bf16:.0f} GOPS a thread")
    with tempfile.TemporaryDirectory() as folder, open(target, "w", newline="") as out:
        models = peer_graph.build(cache + "/minilm/model.safetensors", folder)
        prompts, mixed = real_prompts(cache, folder)
        write = csv.writer(out)
        write.writerow(["cpu", "commit", "threads", "tokens", "batch", "what", "cpu_us", "wall_us"])
        print("threads tokens batch |   fp32   bf16   int8 | ort fp32 ort int8 | int8/limit "
              "ort8/int8 ort32/bf16 ort32/int8")
        walls, limits = {}, {}
        for threads in (1, 2):
            cases = [([n], b) for n in LENGTHS for b in BATCHES]
            cases += [(mixed, MIXED)] if mixed else []
            for lengths, batch in cases:
                row = measure(program, models, threads, lengths, batch, prompts, rng)
                limit = limit_us(lengths, int8, bf16)
                name = f"{lengths[0]}" if len(lengths) == 1 else f"~{numpy.mean(lengths):.0f}"
                for what, value in list(row.items()) + [("limit", limit and (limit, limit))]:
                    if value:
                        write.writerow([cpu, commit, threads, name, batch, what,
                                        f"{value[0]:.1f}", f"{value[1]:.1f}"])
                walls[threads, name, batch] = row
                limits[name, batch] = limit
                show = [f"{row[p][0]:6.0f}" if row[p] else "     -" for p in PRECISIONS]
                near = f"{row['int8'][0] / limit:6.2f}" if limit and row["int8"] else "     -"
                print(f"{threads:7} {name:>6} {batch:5} | {' '.join(show)} | {row['ort fp32'][0]:8.0f} "
                      f"{row['ort int8'][0]:8.0f} |     {near}    {ratio(row, 'ort int8', 'int8')}     "
                      f"{ratio(row, 'ort fp32', 'bf16')}     {ratio(row, 'ort fp32', 'int8')}",
                      flush=True)
        verdicts(walls, limits)
        text_times(str(pathlib.Path(program).with_name("text_times")), cache, folder,
                   os.environ.get("METALLM_TOOL", "build/metallm"))
    print(f"written: {target}")


main(*sys.argv[1:])
