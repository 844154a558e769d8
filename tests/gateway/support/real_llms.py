# SPDX-License-Identifier: Apache-2.0
"""The two real LLMs as servers, for a test class; 'make check-live' fetches them."""
import os
import pathlib
import subprocess
import unittest

from .gateway import free_port, raw, wait_for

CACHE = pathlib.Path(os.environ.get("METALLM_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "metallm"))
PYTHON = CACHE / "venv-live/bin/python"
needs_real_llms = unittest.skipUnless((CACHE / "venv-live/ready").exists(),
                                      "the real LLMs are fetched by 'make check-live'")


def healthy(port):
    try:
        return raw(port, b"GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
                   timeout=2).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def start(cls):
    """Servers for the tests of a class; cls.ports is {name: port}."""
    cls.ports = {}
    for name in ("smollm2", "gemma"):
        cls.ports[name] = free_port()
        log = open(f"/tmp/metallm-live-{os.getpid()}-{name}.log", "wb")
        cls.addClassCleanup(os.unlink, log.name)
        server = subprocess.Popen(
            [PYTHON, pathlib.Path(__file__).parent / "llama.py", name, str(cls.ports[name]),
             str(CACHE)], stdout=log, stderr=log)
        log.close()
        cls.addClassCleanup(server.wait)
        cls.addClassCleanup(server.kill)
    for port in cls.ports.values():
        wait_for(lambda p=port: healthy(p), 120, "the LLM is loaded")
