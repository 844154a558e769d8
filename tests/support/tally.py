#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counts the tests that ran: tally.py FOLDER.

FOLDER/builds holds a line 'pass NAME' or 'fail NAME' for each build; FOLDER/*.json are meson's
testlog.json files. The cases inside a test are counted from its own output (cmocka, unittest, or a
line 'N passed, N failed'); a test that prints no counts is one case. Prints a table, writes the
closing line to FOLDER/closing, and exits with 1 if anything failed or nothing ran.
"""
import json
import pathlib
import re
import sys

COUNTS = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", re.MULTILINE)
CMOCKA_PASSED = re.compile(r"\[  PASSED  \] (\d+) test")
CMOCKA_FAILED = re.compile(r"\[  FAILED  \] (\d+) test")
CMOCKA_SKIPPED = re.compile(r"\[  SKIPPED \] (\d+) test")
UNITTEST = re.compile(r"^Ran (\d+) tests? in .*\n\n(OK|FAILED)(?: \(([^)]*)\))?$", re.MULTILINE)


def unittest_counts(ran, detail):
    kinds = dict(re.findall(r"(failures|errors|skipped|expected failures)=(\d+)", detail or ""))
    failed = int(kinds.get("failures", 0)) + int(kinds.get("errors", 0))
    skipped = int(kinds.get("skipped", 0))
    return max(0, int(ran) - failed - skipped), failed, skipped


def counts_of(output):
    """(passed, failed, skipped) that the output itself tells; None when it tells nothing."""
    own = COUNTS.findall(output)
    if own:
        return tuple(int(n or 0) for n in own[-1])
    found = UNITTEST.findall(output)
    if found:
        each = [unittest_counts(ran, detail) for ran, _, detail in found]
        return tuple(sum(column) for column in zip(*each))
    if CMOCKA_PASSED.search(output):
        return tuple(
            sum(int(n) for n in pattern.findall(output))
            for pattern in (CMOCKA_PASSED, CMOCKA_FAILED, CMOCKA_SKIPPED)
        )
    return None


def count_test(record):
    output = record.get("stdout", "") + "\n" + record.get("stderr", "")
    passed, failed, skipped = counts_of(output) or (0, 0, 0)
    if record["result"] == "OK":
        if failed:  # told of failures and still exited with 0: not to be trusted
            return passed, failed, skipped
        return (passed or (0 if skipped else 1)), 0, skipped
    if record["result"] == "SKIP":
        return 0, 0, max(skipped, 1)
    return passed, max(failed, 1), skipped


def main(folder):
    rows, bad = [], []
    builds = folder / "builds"
    for line in builds.read_text(encoding="utf-8").splitlines() if builds.exists() else []:
        verdict, name = line.split(" ", 1)
        rows.append((f"build {name}", int(verdict == "pass"), int(verdict != "pass"), 0, 0.0))
        if verdict != "pass":
            bad.append(f"build {name}")
    for path in sorted(folder.glob("*.json")):
        total, seconds = [0, 0, 0], 0.0
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            counted = count_test(record)
            total = [a + b for a, b in zip(total, counted)]
            seconds += record.get("duration", 0.0)
            if counted[1]:
                bad.append(f"{path.stem} {record['name']} ({record['result'].lower()})")
        rows.append((f"tests {path.stem}", *total, seconds))
    for name, passed, failed, skipped, seconds in rows:
        print(f"  {name:28} {passed:6} passed {failed:4} failed {skipped:4} skipped {seconds:8.1f} s")
    for name in bad:
        print(f"  FAILED: {name}")
    passed, failed, skipped = (sum(row[i] for row in rows) for i in (1, 2, 3))
    closing = f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else "")
    (folder / "closing").write_text(closing + "\n", encoding="utf-8")
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
