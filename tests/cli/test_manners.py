#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Help, versions, wrong usage, streams and completion: what holds for every verb."""
import os
import re
import shutil
import subprocess
import unittest

from tool import ENVIRONMENT, TOOL, ToolTest, run


def verbs():
    return re.findall(r"^  ([a-z]+) ", run("help").stdout, re.MULTILINE)


class Manners(ToolTest):
    def test_help_lists_verbs_and_each_is_explained(self):
        for verb in verbs():
            with self.subTest(verb=verb):
                told = self.succeeds("help", verb).stdout
                self.assertIn(f"usage: metallm {verb}", told)
                self.assertEqual(told, self.succeeds(verb, "--help").stdout)
                self.assertEqual(told, self.succeeds(verb, "-h").stdout)

    def test_version_is_one_line(self):
        self.assertRegex(self.succeeds("--version").stdout, r"\Ametallm \d+\.\d+\.\d+\n\Z")

    def test_no_verb_is_wrong_usage_and_shows_the_list(self):
        done = self.fails(told=["a verb is needed", "usage: metallm VERB"], status=2)
        self.assertEqual(done.stdout, "")

    def test_wrong_verbs_and_options_are_named(self):
        self.fails("trian", told="is 'train' meant?", status=2)
        self.fails("help", "nothing-like-it", told="no verb 'nothing-like-it'", status=2)
        for verb in verbs():
            with self.subTest(verb=verb):
                self.fails(verb, "--no-such-option", told="--no-such-option", status=2)

    def test_a_missing_operand_shows_the_usage(self):
        for verb in ("evaluate", "route", "select", "replay"):
            with self.subTest(verb=verb):
                self.fails(verb, told=f"metallm {verb}", status=2)

    def test_a_full_or_closed_standard_output_is_a_failure(self):
        for arguments in (["help"], ["--version"], ["help", "train"]):
            with open("/dev/full", "w", encoding="utf-8") as full:
                done = subprocess.run([TOOL, *arguments], stdout=full, stderr=subprocess.PIPE,
                                      text=True, check=False, timeout=60, env=ENVIRONMENT)
            self.assertEqual(done.returncode, 1)
            self.assertIn("cannot write to standard output: No space left", done.stderr)
            closed = subprocess.run(["sh", "-c", 'exec "$0" "$@" >&-', TOOL, *arguments], text=True,
                                    capture_output=True, check=False, timeout=60, env=ENVIRONMENT)
            self.assertEqual(closed.returncode, 1)
            self.assertIn("cannot write to standard output", closed.stderr)

    def test_a_reader_that_goes_away_is_a_failure_not_a_signal(self):
        read_end, write_end = os.pipe()
        os.close(read_end)
        try:
            done = subprocess.run([TOOL, "help"], stdout=write_end, stderr=subprocess.PIPE,
                                  text=True, check=False, timeout=60, env=ENVIRONMENT)
        finally:
            os.close(write_end)
        self.assertEqual(done.returncode, 1)
        self.assertIn("Broken pipe", done.stderr)

    def test_man_pages_name_every_option_of_the_help(self):
        for verb in verbs():
            with self.subTest(verb=verb):
                page = self.succeeds("help", "--man", verb).stdout
                text = page.replace("\\-", "-").replace("\\fR", "").replace("\\fB", "")
                for option in re.findall(r"^ +(?:-\w, )?--([a-z][a-z-]*)",
                                         self.succeeds("help", verb).stdout, re.MULTILINE):
                    self.assertIn(f"--{option}", text)

    def test_bash_completes_verbs_options_and_files(self):
        bash = shutil.which("bash")
        if bash is None:
            self.skipTest("no bash")
        script = self.folder / "completion"
        script.write_text(self.succeeds("help", "--completion", "bash").stdout, encoding="utf-8")
        (self.folder / "outcomes file.csv").touch()

        def complete(*words):
            typed = " ".join(f"'{w}'" for w in words)
            done = subprocess.run(
                [bash, "--norc", "-c",
                 f"compopt() {{ :; }}; . '{script}'; COMP_WORDS=({typed}); "
                 f"COMP_CWORD={len(words) - 1}; _metallm; printf '%s\\n' \"${{COMPREPLY[@]}}\""],
                text=True, capture_output=True, check=False, cwd=self.folder, timeout=60)
            self.assertEqual(done.stderr, "")
            return done.stdout.split("\n")[:-1]

        self.assertEqual(complete("metallm", "trai"), ["train"])
        self.assertEqual(complete("metallm", "help", "eval"), ["evaluate"])
        self.assertIn("--dial", complete("metallm", "route", "--d"))
        self.assertNotIn("--online", complete("metallm", "route", "--"))

    def test_other_shells_have_completions_too(self):
        for shell, word in (("zsh", "#compdef metallm"), ("fish", "complete -c metallm")):
            told = self.succeeds("help", "--completion", shell).stdout
            self.assertIn(word, told)
            for verb in verbs():
                self.assertIn(verb, told)
            checker = shutil.which(shell)
            if checker is not None:
                done = subprocess.run([checker, "-n"], input=told, text=True, check=False,
                                      capture_output=True, timeout=60)
                self.assertEqual(done.stderr, "")
        self.fails("help", "--completion", "csh", told="no completion for 'csh'", status=2)


if __name__ == "__main__":
    unittest.main()
