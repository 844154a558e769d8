#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The network layer as a proxy beside nginx: CPU microseconds a request, taken in turns.

usage: compare.py NET_PROXY [SECONDS [ROUNDS]]     needs nginx, wrk and openssl

Each case is driven by wrk through both proxies to the same upstream, ROUNDS times in turn. CPU time
is the proxy process's own, user and system; the median of the rounds is printed, and its ratio.
"""
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

CASES = [  # name, bytes of the request, connections, TLS to the upstream
    ("1 KB, 1 connection", 1024, 1, False),
    ("1 KB, 16 connections", 1024, 16, False),
    ("1 KB, 64 connections", 1024, 64, False),
    ("20 KB, 16 connections", 20480, 16, False),
    ("1 KB, 16 connections, TLS upstream", 1024, 16, True),
]
TICK = os.sysconf("SC_CLK_TCK")

NGINX = """
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; client_body_buffer_size 256k;
  client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
  upstream up {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass {scheme}://up; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_ssl_verify {verify}; proxy_ssl_trusted_certificate {folder}/cert.pem;
      proxy_ssl_name localhost;
    }}
  }}
}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port):
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"compare: nobody listens on port {port}")


def cpu_us(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1_000_000 / TICK


def children(pid):
    return [int(p) for p in
            pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def drive(folder, port, pid, size, connections, seconds):
    script = folder / "post.lua"
    script.write_text(f'wrk.method = "POST"\nwrk.body = string.rep("x", {size})\n'
                      'wrk.headers["Content-Type"] = "application/json"\n')
    before = cpu_us(pid)
    done = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "-s", str(script),
                           f"http://127.0.0.1:{port}/v1/x"], capture_output=True, text=True,
                          check=True).stdout
    if "Non-2xx" in done or "Socket errors" in done:
        sys.exit(f"compare: {done}")
    return (cpu_us(pid) - before) / int(re.search(r"(\d+) requests in", done).group(1))


def run_case(proxy, folder, case, seconds, rounds):
    name, size, connections, tls = case
    upstream, ours, theirs = free_port(), free_port(), free_port()
    served = {**os.environ, "METALLM_BENCH_CERT": f"{folder}/cert.pem",
              "METALLM_BENCH_KEY": f"{folder}/key.pem"} if tls else None
    trusting = {**os.environ, "METALLM_BENCH_CA": f"{folder}/cert.pem"} if tls else None
    (folder / "nginx.conf").write_text(NGINX.format(
        folder=folder, upstream=upstream, port=theirs, scheme="https" if tls else "http",
        verify="on" if tls else "off"))
    started = [subprocess.Popen([proxy, "upstream", str(upstream), "600"], env=served)]
    try:
        wait_for(upstream)
        started.append(subprocess.Popen([proxy, "proxy", str(ours), str(upstream)], env=trusting))
        started.append(subprocess.Popen(["nginx", "-c", f"{folder}/nginx.conf"]))
        wait_for(ours)
        wait_for(theirs)
        pairs = [(ours, started[1].pid), (theirs, children(started[2].pid)[0])]
        taken = [[drive(folder, port, pid, size, connections, seconds) for port, pid in pairs]
                 for _ in range(rounds)]
        net, nginx = (statistics.median(column) for column in zip(*taken))
        ratio = statistics.median(a / b for a, b in taken)
        print(f"{name:36} net {net:6.1f} us   nginx {nginx:6.1f} us   ratio {ratio:.2f}", flush=True)
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
            process.wait()


def main(arguments):
    if not arguments:
        print(__doc__.strip())
        return 2
    seconds = int(arguments[1]) if len(arguments) > 1 else 3
    rounds = int(arguments[2]) if len(arguments) > 2 else 5
    with tempfile.TemporaryDirectory(prefix="metallm_net.") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=DNS:localhost", "-keyout", f"{name}/key.pem",
                        "-out", f"{name}/cert.pem"], check=True, capture_output=True)
        (folder / "key.pem").chmod(0o644)
        for case in CASES:
            run_case(str(pathlib.Path(arguments[0]).resolve()), folder, case, seconds, rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
