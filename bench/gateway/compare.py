#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The gateway beside nginx and LiteLLM, in one run: compare.py --cache FOLDER --csv OUT [--soak M].

Each peer stands between the same load generator and the same upstream. CPU time is the scheduler's
(/proc/PID/task/*/schedstat, all threads and processes), so that it does not depend on who else
waits; latency added is the median or 99th percentile less that of calls to the upstream itself.
metallm runs with client keys, a trained router over hash vectors, metrics and the decision record
on; every request has another text, so that none is answered from the cache of vectors.
"""
import argparse
import contextlib
import csv
import http.client
import json
import os
import pathlib
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/support"), str(ROOT / "tests/gateway")]
import sample_outcomes  # noqa: E402  (needs the path above)

TOOL, BUILD = str(ROOT / "build/metallm"), ROOT / "build/bench"
PATH = "/v1/chat/completions"
CHUNKS, PACE_US = 20, 1000


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def family(pid):
    """The process and all its descendants."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{parent}/task"):
                text = pathlib.Path(f"/proc/{parent}/task/{task}/children").read_text()
                found += [int(child) for child in text.split()]
    return found


def cpu_ns(pid):
    total = 0
    for process in family(pid):
        for path in pathlib.Path(f"/proc/{process}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                total += int(path.read_text().split()[0])
    return total


def rss_mb(pid):
    """Resident memory; what processes share is counted once (proportional set size)."""
    total = 0
    for process in family(pid):
        with contextlib.suppress(OSError):
            for line in pathlib.Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


def wait_for(port, path="/", seconds=90, process=None):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process is not None and process.poll() is not None:
            break
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", path)
            if connection.getresponse().status < 500:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nothing answers at port {port}")


class Peer:
    """Something between load and upstream: a process, a port and the headers it wants."""

    def __init__(self, name, process, port, headers=()):
        self.name, self.process, self.port, self.headers = name, process, port, list(headers)

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder, self.running = options, pathlib.Path(folder), []
        from support import certificate
        self.certificate = certificate.make(self.folder)
        self.plain = self.upstream()
        self.secure = self.upstream("--tls", *self.certificate)

    def start(self, name, command, port, headers=(), path="/", **more):
        log = open(self.folder / f"{name}.log", "wb")
        process = subprocess.Popen([str(c) for c in command], stdout=log, stderr=log, **more)
        log.close()
        peer = Peer(name, process, port, headers)
        self.running.append(peer)
        try:
            wait_for(port, path, process=process)
        except RuntimeError:
            raise RuntimeError(f"{name} does not start:\n"
                               f"{(self.folder / f'{name}.log').read_text()[-2000:]}") from None
        return peer

    def stop(self):
        for peer in reversed(self.running):
            peer.stop()

    def upstream(self, *more):
        port = free_port()
        process = subprocess.Popen([str(BUILD / "gateway_upstream"), str(port), "--chunks",
                                    str(CHUNKS), "--pace", str(PACE_US), *more])
        self.running.append(Peer("upstream", process, port))
        time.sleep(0.2)
        return port

    def nginx(self, is_tls):
        binary = pathlib.Path(self.options.cache) / "nginx/usr/sbin/nginx"
        if not binary.exists():
            return None
        port, place = free_port(), self.folder / f"nginx-{is_tls}"
        place.mkdir()
        scheme, upstream = ("https", self.secure) if is_tls else ("http", self.plain)
        paths = "".join(f"{kind}_temp_path {place}/{kind};" for kind in
                        ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (place / "nginx.conf").write_text(f"""
daemon off; worker_processes 1; pid {place}/pid; error_log {place}/error.log;
events {{ worker_connections 4096; }}
http {{ access_log off; {paths}
  upstream llm {{ server 127.0.0.1:{upstream}; keepalive 128; }}
  server {{ listen 127.0.0.1:{port}; keepalive_requests 1000000; client_body_buffer_size 64k;
    location / {{ proxy_pass {scheme}://llm; proxy_http_version 1.1; proxy_buffering off;
      proxy_set_header Connection ""; proxy_set_header Authorization "Bearer sk-upstream";
      proxy_ssl_trusted_certificate {self.certificate[0]}; proxy_ssl_verify on;
      proxy_ssl_name localhost; proxy_ssl_session_reuse on; }}
    location /healthz {{ return 200; }} }} }}
""")
        return self.start(f"nginx-{is_tls}", [binary, "-p", place, "-c", place / "nginx.conf"],
                          port, path="/healthz")

    def litellm(self, is_tls):
        binary = pathlib.Path(self.options.cache) / "venv-litellm/bin/litellm"
        if not binary.exists():
            return None
        port, config = free_port(), self.folder / f"litellm-{is_tls}.yaml"
        scheme, upstream = ("https", self.secure) if is_tls else ("http", self.plain)
        config.write_text(json.dumps({
            "model_list": [{"model_name": "auto", "litellm_params": {
                "model": "openai/m", "api_base": f"{scheme}://127.0.0.1:{upstream}/v1",
                "api_key": "sk-upstream"}}],
            "litellm_settings": {"telemetry": False},
            "general_settings": {"master_key": "sk-bench"}}))
        return self.start(f"litellm-{is_tls}",
                          [binary, "--config", config, "--port", port, "--host", "127.0.0.1",
                           "--num_workers", "1"], port, ["Authorization: Bearer sk-bench"],
                          "/health/liveliness",
                          env=dict(os.environ, SSL_CERT_FILE=self.certificate[0],
                                   LITELLM_LOCAL_MODEL_COST_MAP="True"))

    def metallm(self, is_tls):
        port, place = free_port(), self.folder / f"metallm-{is_tls}"
        place.mkdir()
        router, outcomes = self.folder / "router.safetensors", self.folder / "outcomes.csv"
        if not router.exists():
            sample_outcomes.write(outcomes)
            subprocess.run([TOOL, "train", outcomes, "-o", router, "--encoder", "hash",
                            "--estimator", "linear"], check=True, capture_output=True)
        scheme, upstream = ("https", self.secure) if is_tls else ("http", self.plain)
        (place / "key").write_text("sk-upstream\n")
        models = [{"name": name, "base_url": f"{scheme}://localhost:{upstream}/v1", "model": "m",
                   "api_key": f"file:{place}/key", "price": {"input": price, "output": 2 * price}}
                  for name, price in (("small", 0.1), ("coder", 0.8), ("big", 10))]
        config = place / "metallm.yaml"
        config.write_text(json.dumps({
            "listen": f"127.0.0.1:{port}", "threads": 1, "store": f"sqlite:{place}/metallm.db",
            "encoder": "hash", "models": models, "auth": {"keys": True},
            "upstream": {"ca_file": self.certificate[0]},
            "routers": [{"name": "auto", "file": str(router), "mode": "hybrid", "dial": 0.5}]}))
        key = subprocess.run([TOOL, "keys", "create", "bench", "-c", config], check=True,
                             capture_output=True, text=True).stdout
        key = next(word for word in key.split() if word.startswith("mk_"))
        return self.start(f"metallm-{is_tls}", [TOOL, "serve", "-c", config], port,
                          [f"Authorization: Bearer {key}"], "/readyz")

    def body(self, size, is_stream):
        path = self.folder / f"body-{size}-{is_stream}"
        filler = "What is 17 + 4 * 3? Tell it step by step. "
        told = {"model": "auto", "stream": is_stream, "messages": [
            {"role": "user", "content": "########: "}]}
        told["messages"][0]["content"] += (filler * (size // len(filler) + 1))[
            :max(1, size - len(json.dumps(told)))]
        path.write_text(json.dumps(told))
        return path

    def load(self, peer, size, is_stream, connections, requests):
        """What the load generator told, with CPU time a request in us."""
        port = peer.port if peer else self.plain
        before = cpu_ns(peer.process.pid) if peer else 0
        done = subprocess.run(
            [BUILD / "gateway_load", str(port), PATH, self.body(size, is_stream), str(connections),
             str(requests), *(peer.headers if peer else [])], capture_output=True, text=True,
            check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{peer.name if peer else 'direct'}: {done.stderr[-500:]}"
                               f"{done.stdout[-300:]}")
        told = json.loads(done.stdout)
        # The warm-up's CPU time is in the difference too: reckon with all requests.
        told["cpu_us"] = (cpu_ns(peer.process.pid) - before) / 1e3 / requests if peer else 0.0
        return told


def cases(quick):
    for is_tls in (False, True):
        for size in (1000, 20000):
            for is_stream in (False, True):
                for connections in (1, 16, 64):
                    if is_tls and (connections != 16 or size != 1000):
                        continue
                    if quick and connections != 16:
                        continue
                    yield is_tls, size, is_stream, connections


def requests_of(name, is_stream, connections, quick):
    if name == "litellm":
        return max(connections, 60 if is_stream else 300)
    if is_stream:
        return {1: 200, 16: 1600, 64: 4000}[connections] // (4 if quick else 1)
    return {1: 8000, 16: 30000, 64: 30000}[connections] // (4 if quick else 1)


def compare(bench, options):
    names = [n for n in ("nginx", "metallm", "litellm") if n == "metallm" or n in options.peers]
    rows = []
    print(f"{'case':34} {'peer':8} {'CPU us':>9} {'x nginx':>8} {'p50 added us':>13} "
          f"{'p99 added us':>13} {'RSS MB':>7}", flush=True)
    peers = {}
    for is_tls, size, is_stream, connections in cases(options.quick):
        for name in names:
            if (name, is_tls) not in peers:
                peers[name, is_tls] = getattr(bench, name)(is_tls)
        label = (f"{size // 1000} KB {'SSE 20 chunks' if is_stream else 'plain'}"
                 f"{' TLS' if is_tls else ''}, {connections} conn.")
        direct = bench.load(None, size, is_stream, connections,
                            requests_of("direct", is_stream, connections, options.quick))
        base = None
        for name in names:
            peer = peers[name, is_tls]
            if peer is None:
                continue
            told = bench.load(peer, size, is_stream, connections,
                              requests_of(name, is_stream, connections, options.quick))
            base = told["cpu_us"] if name == "nginx" else base
            ratio = told["cpu_us"] / base if base else float("nan")
            added = [told[q] - direct[q] for q in ("p50_us", "p99_us")]
            memory = rss_mb(peer.process.pid)
            print(f"{label:34} {name:8} {told['cpu_us']:9.1f} {ratio:8.2f} {added[0]:13.0f} "
                  f"{added[1]:13.0f} {memory:7.1f}", flush=True)
            rows.append([label, name, told["n"], f"{told['cpu_us']:.2f}", f"{ratio:.3f}",
                         f"{added[0]:.1f}", f"{added[1]:.1f}", f"{memory:.1f}"])
    return rows


def soak(bench, minutes):
    """Load at about 1,000 requests a second; memory every 10 seconds."""
    peer = bench.metallm(False)
    print("seconds  requests  RSS MB", flush=True)
    began, samples, count = time.monotonic(), [], 0
    turn = 0
    while (now := time.monotonic() - began) < minutes * 60:
        if now >= len(samples) * 10:
            samples.append(rss_mb(peer.process.pid))
            print(f"{now:7.0f} {count:9d} {samples[-1]:7.1f}", flush=True)
        is_stream = turn % 4 == 3
        requests = 320 if is_stream else 1000
        bench.load(peer, 1000 if turn % 3 else 20000, is_stream, 16, requests)
        count += requests
        turn += 1
        ahead = count / 1000 - (time.monotonic() - began)
        if ahead > 0:
            time.sleep(ahead)
    late = samples[len(samples) // 3:]
    middle = (len(late) - 1) / 2
    slope = sum((i - middle) * v for i, v in enumerate(late)) / max(1e-9, sum(
        (i - middle) ** 2 for i in range(len(late)))) * 60 if len(late) > 1 else 0.0
    print(f"after the first third: {min(late):.1f} to {max(late):.1f} MB, {slope:+.2f} MB in ten "
          f"minutes, {count} requests")
    return slope < 2.0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", required=True)
    parser.add_argument("--csv", required=True)
    parser.add_argument("--peers", default="nginx litellm")
    parser.add_argument("--soak", type=float)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="metallm-bench-") as folder:
        bench = Bench(options, folder)
        try:
            if options.soak is not None:
                return 0 if soak(bench, options.soak) else 1
            rows = compare(bench, options)
        finally:
            bench.stop()
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], check=False,
                            capture_output=True, text=True).stdout.strip() or "unknown"
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
                if line.startswith("model name")), platform.machine())
    with open(options.csv, "w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["case", "peer", "n", "cpu_us", "times_nginx", "p50_added_us",
                         "p99_added_us", "rss_mb", "cpu", "commit"])
        writer.writerows([*row, cpu, commit] for row in rows)
    print(f"{cpu}, commit {commit}; written to {options.csv}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
