# SPDX-License-Identifier: Apache-2.0
"""The gateway under test: `metallm serve` with a configuration of the test's, on a free port.

METALLM_TOOL is the path of the tool; METALLM_TEST_SLOW multiplies every wait (sanitizers)."""
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from .upstream import Upstream

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests/support"))
TOOL = os.environ["METALLM_TOOL"]
SLOW = float(os.environ.get("METALLM_TEST_SLOW", "1"))
SANITIZER_WORDS = ("AddressSanitizer", "ThreadSanitizer", "LeakSanitizer", "runtime error:",
                   "contract broken")
CHAT = "/v1/chat/completions"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def secret(text):
    """What a configuration says for a key: a variable of the environment that holds it, which
    every process that is started later has."""
    name = f"TEST_KEY_{text.encode().hex()}"
    os.environ[name] = text
    return f"${{{name}}}"


def model(name, upstream, price=(1.0, 2.0), **more):
    """A model of the configuration, served by an Upstream."""
    told = {"name": name, "base_url": upstream.url, "model": upstream.model,
            "price": {"input": price[0], "output": price[1]}, **more}
    if upstream.key is not None:
        told.setdefault("api_key", secret(upstream.key))
    return told


class Answer:
    """An HTTP answer, whole."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def header(self, name):
        values = [v for n, v in self.headers if n.lower() == name.lower()]
        return values[0] if values else None

    def json(self):
        return json.loads(self.body)

    def events(self):
        """The values of a streamed answer, 'data: [DONE]' left out."""
        told = [part[6:] for part in self.body.decode().split("\n\n") if part.startswith("data: ")]
        return [json.loads(t) for t in told if t != "[DONE]"]

    def text(self):
        """What the LLM said."""
        if (self.header("content-type") or "").startswith("text/event-stream"):
            return "".join((c.get("delta") or {}).get("content") or "" for e in self.events()
                           for c in e.get("choices", []))
        return self.json()["choices"][0]["message"]["content"]

    @property
    def decision(self):
        return self.header("x-metallm-decision")

    @property
    def model(self):
        return self.header("x-metallm-model")


class Gateway:
    """A running gateway. Its folder outlives it, so that it can be started again."""

    def __init__(self, folder, config, environment=None, limits=None):
        self.folder, self.port = pathlib.Path(folder), free_port()
        self.environment = {"OPENBLAS_NUM_THREADS": "1", "LC_ALL": "C.UTF-8",
                            **(environment or {})}
        self.path, self.log_path = self.folder / "metallm.yaml", self.folder / "log.jsonl"
        self.limits, self.process, self.config = limits, None, None
        self.scheme, self.context = "http", None
        self.write(config)

    def write(self, config):
        """The configuration file; what a test does not say is small and quick."""
        whole = {"listen": f"127.0.0.1:{self.port}", "threads": 2, "encoder": "hash",
                 "store": f"sqlite:{self.folder}/metallm.db", **config}
        self.config = whole
        # JSON is YAML.
        self.path.write_text(json.dumps(whole, indent=1), encoding="utf-8")

    def start(self, wait=True):
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [TOOL, "serve", "-c", str(self.path)], stdin=subprocess.DEVNULL, stdout=log,
            stderr=log, env={**os.environ, **self.environment}, cwd=self.folder,
            preexec_fn=self.limits)
        log.close()
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, seconds=20):
        until = time.monotonic() + seconds * SLOW
        while True:
            if self.process.poll() is not None:
                raise AssertionError(f"the gateway ended with {self.process.returncode}:\n"
                                     f"{self.log()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.get("/readyz").status == 200:
                    return
            if time.monotonic() > until:
                raise AssertionError(f"not ready after {seconds * SLOW} s:\n{self.log()}")
            time.sleep(0.02)

    def stop(self, seconds=20):
        """Asks it to stop; its exit status."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"did not stop:\n{self.log()}") from None
        self.process = None
        return status

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def log(self):
        return self.log_path.read_text(encoding="utf-8", errors="replace") \
            if self.log_path.exists() else ""

    def connect(self, timeout=20.0):
        if self.scheme == "https":
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout * SLOW,
                                               context=self.context)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout * SLOW)

    def request(self, method, path, body=None, headers=None, connection=None):
        """One request; a body that is not bytes is sent as JSON."""
        own = connection is None
        connection = connection or self.connect()
        sent = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, body=body, headers=sent)
            got = connection.getresponse()
            return Answer(got.status, got.getheaders(), got.read())
        finally:
            if own:
                connection.close()

    def get(self, path, headers=None):
        return self.request("GET", path, headers=headers)

    def post(self, path, body, headers=None, connection=None):
        return self.request("POST", path, body, headers, connection)

    def chat(self, text="Hello", model="auto", headers=None, connection=None, **more):
        """A chat request with one user message."""
        return self.post(CHAT, {"model": model, "messages": [{"role": "user", "content": text}],
                                **more}, headers, connection)

    def feedback(self, decision, score, headers=None, connection=None, **more):
        return self.post("/v1/feedback", {"decision": decision, "score": score, **more}, headers,
                         connection)

    def metrics(self):
        """{(name, labels as a frozenset of pairs): value}"""
        from prometheus_client.parser import text_string_to_metric_families
        return {(s.name, frozenset(s.labels.items())): s.value
                for family in text_string_to_metric_families(self.get("/metrics").body.decode())
                for s in family.samples}

    def resident_kb(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines()
                    if line.startswith("VmRSS:"))


def raw(port, data, timeout=5.0, half_close=False):
    """Sends bytes as they are; all that comes back until the peer closes or says no more."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout * SLOW) as s:
        with contextlib.suppress(ConnectionError, BrokenPipeError):
            s.sendall(data)
            if half_close:
                s.shutdown(socket.SHUT_WR)
        got = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            while block := s.recv(65536):
                got += block
        return got


def wait_for(condition, seconds=10.0, what="the condition"):
    """Waits until condition() is true, and returns what it gave."""
    until = time.monotonic() + seconds * SLOW
    while not (value := condition()):
        if time.monotonic() > until:
            raise AssertionError(f"{what}: not after {seconds * SLOW} s")
        time.sleep(0.02)
    return value


class GatewayTest(unittest.TestCase):
    """A test with a folder, and gateways and upstreams that are gone after it. A gateway must stop
    with 0, a sanitizer must have said nothing, and no upstream may have noted a fault."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="metallm-gateway-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.gateways, self.upstreams = [], []
        self.addCleanup(self.close_all)

    def close_all(self):
        problems = []
        for gateway in self.gateways:
            try:
                status = gateway.stop()
                if status not in (None, 0):
                    problems.append(f"the gateway's exit status is {status}:\n"
                                    f"{gateway.log()[-6000:]}")
            except AssertionError as error:
                problems.append(str(error))
            for word in SANITIZER_WORDS:
                if word in gateway.log():
                    problems.append(f"{word} in the log:\n{gateway.log()[-6000:]}")
                    break
        for upstream in self.upstreams:
            upstream.close()
            problems += upstream.faults[:5]
        self.assertEqual(problems, [])

    def upstream(self, name="m", **more):
        """An upstream whose LLM is NAME-upstream."""
        made = Upstream(model=f"{name}-upstream", **more)
        self.upstreams.append(made)
        return made

    def gateway(self, config, start=True, **more):
        made = Gateway(self.folder, config, **more)
        self.gateways.append(made)
        return made.start() if start else made

    def pair(self, router=None, start=True, **config):
        """A gateway with a dear LLM 'big', a cheap one 'small', and a router 'auto' over both."""
        self.big, self.small = self.upstream("big"), self.upstream("small")
        return self.gateway({
            "models": [model("big", self.big, (10.0, 30.0)),
                       model("small", self.small, (0.1, 0.3))],
            "routers": [{k: v for k, v in {
                "name": "auto", "mode": "hybrid", "policy": "greedy", "dial": 0.2, "seed": 1,
                "explore": {"share": 0, "newcomer": 0},
                **(router or {})}.items() if v is not None}], **config}, start=start)

    def decided(self, gateway, decision, headers=None):
        """The record of a decision; it is durable a moment after the answer."""
        return wait_for(lambda: (got := gateway.get(f"/v1/decisions/{decision}", headers)).status
                        == 200 and got.json(), what=f"decision {decision}")
