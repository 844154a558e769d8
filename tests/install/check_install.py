#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Installs into a temporary folder and uses what is there as a stranger would.

usage: check_install.py ROOT BUILD
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT, BUILD = (pathlib.Path(a).resolve() for a in sys.argv[1:3])
sys.path.insert(0, str(ROOT / "tests/support"))
import sample_outcomes  # noqa: E402  (needs the path above)


def run(command, **more):
    return subprocess.run([str(c) for c in command], text=True, capture_output=True, check=False,
                          timeout=120, **more)


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.top = pathlib.Path(cls.folder.name)
        done = run(["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", cls.top / "image"])
        if done.returncode != 0:
            raise RuntimeError(done.stdout + done.stderr)
        (package,) = (cls.top / "image").rglob("metallm.pc")
        cls.libraries = package.parent.parent  # lib, or Debian's lib/x86_64-linux-gnu
        cls.prefix = next(p for p in package.parents if p.name == "lib").parent
        cls.environment = dict(os.environ, PKG_CONFIG_PATH=str(package.parent),
                               LD_LIBRARY_PATH=str(cls.libraries))

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def pkg_config(self, *arguments):
        done = run(["pkg-config", f"--define-variable=prefix={self.prefix}", *arguments, "metallm"],
                   env=self.environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.split()

    def test_example_builds_and_routes_with_the_installed_library(self):
        program = self.top / "route"
        flags = self.pkg_config("--cflags", "--libs")
        built = run([os.environ.get("CC", "cc").split()[-1], "-std=c11", "-Wall", "-Wextra",
                     "-Werror", ROOT / "examples/route.c", *flags, "-o", program])
        self.assertEqual(built.returncode, 0, built.stderr)
        outcomes = self.top / "outcomes.csv"
        sample_outcomes.write(outcomes)
        command = [program, outcomes, self.top / "router.safetensors", "What is 12 + 30?"]
        first = run(command, env=self.environment)
        self.assertEqual(first.returncode, 0, first.stderr)
        self.assertIn("trained on", first.stdout)
        self.assertIn("dial 0", first.stdout)
        self.assertIn("after a good answer", first.stdout)
        again = run(command, env=self.environment)
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertNotIn("trained on", again.stdout)  # it was saved, and opened

    def test_headers_are_read_and_linked_by_cpp(self):
        headers = sorted(p.name for p in (self.prefix / "include/metallm").glob("*.h"))
        source, program = self.top / "user.cpp", self.top / "user"
        source.write_text("".join(f'#include "metallm/{h}"\n' for h in headers) +
                          "int main() { return metallm_version()[0] == 0; }\n", encoding="utf-8")
        flags = self.pkg_config("--cflags", "--libs")
        built = run(["c++", "-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", source, *flags,
                     "-o", program])
        self.assertEqual(built.returncode, 0, built.stderr)
        self.assertEqual(run([program], env=self.environment).returncode, 0)

    def test_version_is_the_same_everywhere(self):
        version = self.pkg_config("--modversion")[0]
        told = run([self.prefix / "bin/metallm", "--version"])
        self.assertEqual(told.stdout, f"metallm {version}\n")
        header = (self.prefix / "include/metallm/base.h").read_text(encoding="utf-8")
        self.assertIn(f'"{version}"', header)

    def test_man_pages_and_completions_are_installed(self):
        verbs = run([self.prefix / "bin/metallm", "help"]).stdout
        for name in ["metallm.1", *(f"metallm-{v}.1" for v in ("train", "evaluate", "route"))]:
            self.assertTrue((self.prefix / "share/man/man1" / name).is_file(), (name, verbs))
        for name in ("bash-completion/completions/metallm.bash", "zsh/site-functions/_metallm",
                     "fish/vendor_completions.d/metallm.fish", "metallm/models.yaml"):
            self.assertTrue((self.prefix / "share" / name).is_file(), name)

    def test_only_our_names_are_exported(self):
        shown = run(["nm", "-D", "--defined-only", self.libraries / "libmetallm.so"]).stdout
        names = [line.split()[-1] for line in shown.splitlines()]
        self.assertIn("metallm_router_decide", names)
        self.assertEqual([n for n in names if not n.startswith("metallm_") or "__" in n], [])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=1)
