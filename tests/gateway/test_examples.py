#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""examples/gateway: every script is run against the tool, every file for other programs is read."""
import importlib.util
import os
import shutil
import subprocess
import sys
import unittest

from support import upstream as up
from support.gateway import ROOT, SLOW, TOOL, GatewayTest
from test_clients import node_environment

EXAMPLES = ROOT / "examples/gateway"


class Examples(GatewayTest):
    def run_example(self, *command, cwd=None):
        metallm = self.pair()
        self.big.behave = self.small.behave = up.well(text="It is 391.")
        done = subprocess.run(
            [str(c) for c in command], cwd=cwd or self.folder, text=True, capture_output=True,
            timeout=60 * SLOW, check=False,
            env=dict(os.environ, METALLM_URL=f"http://127.0.0.1:{metallm.port}"))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertGreaterEqual(done.stdout.count("391"), 1)
        self.assertIn("It is", done.stdout)
        self.assertEqual(len(self.big.requests) + len(self.small.requests), 2)

    @unittest.skipIf(importlib.util.find_spec("openai") is None, "no package openai: scripts/setup test")
    def test_the_python_client(self):
        self.run_example(sys.executable, EXAMPLES / "client.py")

    @unittest.skipIf(node_environment() is None, "no Node.js with its client: scripts/setup test")
    def test_the_node_client(self):
        node, modules = node_environment()
        os.symlink(modules, self.folder / "node_modules")
        shutil.copy(EXAMPLES / "client.mjs", self.folder)
        self.run_example(node, self.folder / "client.mjs")

    @unittest.skipIf(shutil.which("curl") is None, "no curl")
    def test_the_shell_client(self):
        self.run_example("sh", EXAMPLES / "client.sh")


class Files(unittest.TestCase):
    @unittest.skipIf(shutil.which("systemd-analyze") is None, "no systemd-analyze")
    def test_the_systemd_unit(self):
        # The tool is not installed: verify the unit with the one under test.
        text = (EXAMPLES / "metallm.service").read_text().replace("/usr/local/bin/metallm",
                                                                  os.path.abspath(TOOL))
        import tempfile
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "metallm.service")
            with open(path, "w", encoding="utf-8") as out:
                out.write(text)
            done = subprocess.run(["systemd-analyze", "verify", "--man=no", path], text=True,
                                  capture_output=True, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertNotIn("Unknown", done.stderr)

    @unittest.skipIf(importlib.util.find_spec("yaml") is None, "no package PyYAML")
    def test_the_compose_file(self):
        import yaml
        told = yaml.safe_load((EXAMPLES / "compose.yaml").read_text())
        service = told["services"]["metallm"]
        self.assertTrue((EXAMPLES / service["build"]["context"]
                         / service["build"]["dockerfile"]).resolve().exists())
        self.assertTrue(service["read_only"])
        self.assertEqual(set(told["volumes"]), {"state"})

    def test_the_image_installs_what_the_tool_is_linked_with(self):
        linked = subprocess.run(["ldd", TOOL], text=True, capture_output=True, check=False).stdout
        image = (EXAMPLES / "Dockerfile").read_text()
        for library, package in (("libdnnl", "libdnnl2"), ("libsqlite3", "libsqlite3-0"),
                                 ("libuv", "libuv1"), ("libssl", "libssl3"), ("libcurl", "libcurl4"),
                                 ("libyaml", "libyaml-0-2"), ("libutf8proc", "libutf8proc2")):
            if library in linked:
                self.assertIn(package, image)


if __name__ == "__main__":
    unittest.main()
