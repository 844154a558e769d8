# SPDX-License-Identifier: Apache-2.0
"""Measures `metallm classify` against an endpoint that answers at once. See run."""
import argparse
import csv
import json
import os
import pathlib
import resource
import shutil
import socket
import subprocess
import tempfile
import time


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def write_texts(path, count):
    """Headlines of about 60 bytes, two labels in turn."""
    with open(path, "w", newline="", encoding="utf-8") as f:
        rows = csv.writer(f)
        rows.writerow(["id", "text", "label"])
        for i in range(count):
            rows.writerow([f"h{i}", f"Gold {'climbs' if i % 2 else 'slips'} by {i % 97} dollars as "
                           f"traders wait for day {i}", "up" if i % 2 else "down"])


def write_config(path, ports, folder):
    models = [{"name": name, "base_url": f"http://127.0.0.1:{port}/v1",
               "price": {"input": price, "output": 3 * price}}
              for name, port, price in zip(("big", "small"), ports, (10.0, 0.1))]
    path.write_text(json.dumps({
        "encoder": "hash", "store": f"sqlite:{folder}/metallm.db", "models": models,
        "routers": [{"name": "auto", "mode": "hybrid", "dial": 0.2, "seed": 1}]}), encoding="utf-8")


def run_once(tool, folder, texts, more):
    """Wall and CPU seconds, and the most resident memory in MB, of one job."""
    for old in folder.glob("metallm.db*"):
        old.unlink()
    began = time.monotonic()
    process = subprocess.Popen([tool, "classify", "-c", "metallm.yaml", "--labels", "up,down",
                                "-o", "out.csv", "--json", *more, str(texts)], cwd=folder,
                               stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"metallm classify ended with {status}")
    return (time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


CASES = (("an LLM by its name", ["--router", "small"]), ("router", []),
         ("router, gold", ["--gold", "label"]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--csv", type=pathlib.Path, required=True)
    parser.add_argument("--texts", type=int, default=100000)
    parser.add_argument("--concurrent", type=int, default=64)
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="metallm-bench-"))
    ports = [free_port(), free_port()]
    upstreams = [subprocess.Popen([options.build / "bench/gateway_upstream", str(p), "--say", "up"])
                 for p in ports]
    try:
        time.sleep(0.3)
        write_config(folder / "metallm.yaml", ports, folder)
        rows = []
        tool = options.build.resolve() / "metallm"
        for count in (options.texts // 4, options.texts):
            write_texts(folder / "texts.csv", count)
            for name, more in CASES:
                wall, cpu, memory = run_once(tool, folder, "texts.csv",
                                             ["--concurrent", str(options.concurrent), *more])
                rows.append({"case": name, "texts": count, "seconds": round(wall, 3),
                             "cpu_us_a_text": round(1e6 * cpu / count, 1),
                             "texts_a_cpu_second": round(count / cpu),
                             "peak_mb": round(memory, 1)})
                print("{case:20} {texts:7} texts  {seconds:8.2f} s  {cpu_us_a_text:6.1f} us CPU a "
                      "text  {texts_a_cpu_second:6} a CPU second  {peak_mb:6.1f} MB".format(
                          **rows[-1]), flush=True)
        with open(options.csv, "w", newline="", encoding="utf-8") as f:
            out = csv.DictWriter(f, rows[0])
            out.writeheader()
            out.writerows(rows)
        print(f"load of the machine now: {os.getloadavg()[0]:.1f}")
    finally:
        for upstream in upstreams:
            upstream.terminate()
            upstream.wait()
        shutil.rmtree(folder)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    main()
