# SPDX-License-Identifier: Apache-2.0
"""What the black-box tests share: the tool under test, and a folder with a sample and a router.

METALLM_TOOL is the path of the tool; the tests know nothing else of the build."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
import sample_outcomes  # noqa: E402  (needs the path above)

TOOL = os.environ["METALLM_TOOL"]
ENVIRONMENT = dict(os.environ, OPENBLAS_NUM_THREADS="1", LC_ALL="C.UTF-8")


def run(*arguments, stdin="", **more):
    """Runs the tool; text in, text out."""
    return subprocess.run([TOOL, *(str(a) for a in arguments)], input=stdin, text=True,
                          capture_output=True, check=False, timeout=120, env=ENVIRONMENT, **more)


class ToolTest(unittest.TestCase):
    """A test with a folder of its own, as self.folder."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def succeeds(self, *arguments, stdin=""):
        done = run(*arguments, stdin=stdin)
        self.assertEqual(done.returncode, 0, (arguments, done.stderr))
        return done

    def succeeds_json(self, *arguments, stdin=""):
        return json.loads(self.succeeds(*arguments, stdin=stdin).stdout)

    def fails(self, *arguments, told, status=1, stdin=""):
        """It ends with this status, prints no result, and says each word of told."""
        done = run(*arguments, stdin=stdin)
        self.assertEqual(done.returncode, status, (arguments, done.stdout, done.stderr))
        for word in [told] if isinstance(told, str) else told:
            self.assertIn(str(word), done.stderr)
        for line in done.stderr.splitlines():
            if line.startswith("metallm: "):
                return done
        self.fail(f"no line 'metallm: ...' in {done.stderr!r}")


class WithRouter(ToolTest):
    """One router for the class, trained on the sample; the hold-out is of another seed."""

    @classmethod
    def setUpClass(cls):
        cls.shared = tempfile.TemporaryDirectory()
        cls.outcomes = os.path.join(cls.shared.name, "outcomes.csv")
        cls.holdout = os.path.join(cls.shared.name, "holdout.csv")
        cls.router = os.path.join(cls.shared.name, "router.safetensors")
        sample_outcomes.write(cls.outcomes)
        sample_outcomes.write(cls.holdout, count=200, seed=8)
        done = run("train", cls.outcomes, "-o", cls.router, "--encoder", "hash", "--estimator",
                   "linear", "--json")
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        cls.report = json.loads(done.stdout)

    @classmethod
    def tearDownClass(cls):
        cls.shared.cleanup()
