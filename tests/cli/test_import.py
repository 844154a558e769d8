#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`metallm import`: the documented formats, the report, the store and what can go wrong with it."""
import json
import re
import signal
import sqlite3
import subprocess
import time
import unittest

from tool import ENVIRONMENT, ROOT, TOOL, ToolTest

FORMATS = ROOT / "tests/data/formats"
ENDINGS = {"csv": ".csv", "json": ".jsonl", "yaml": ".yaml"}


def documented():
    """(format, language, text) of each example in the document of formats."""
    text = (ROOT / "docs/formats.md").read_text(encoding="utf-8")
    for language, name, body in re.findall(r"^```(csv|json|yaml) (\w+)\n(.*?)^```", text,
                                           re.MULTILINE | re.DOTALL):
        yield name, language, body


class Import(ToolTest):
    def file(self, name, text):
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def store(self):
        return f"sqlite:{self.folder / 'test.db'}"

    def test_documented_examples_are_what_they_are_said_to_be(self):
        seen = set()
        for number, (name, language, body) in enumerate(documented()):
            with self.subTest(format=name, number=number):
                path = self.file(f"{number}{ENDINGS[language]}", body)
                if name == "prices":
                    wide = self.file("w.csv", "prompt,small,big\np,1,1\n")
                    told = self.succeeds_json("import", wide, "--prices", path, "--json")
                    self.assertEqual(told["models"][0]["cost"], float(0.00019999999494757503))
                    continue
                seen.add(name)
                told = self.succeeds_json("import", path, "--strict", "--json", "--store",
                                          self.store())
                self.assertGreater(told["queries_added"], 0)
        database = sqlite3.connect(self.folder / "test.db")
        read_as = {row[0] for row in database.execute("SELECT DISTINCT format FROM files")}
        self.assertEqual(read_as, seen)
        self.assertEqual(len(seen), 8)

    def test_report_counts_what_was_met(self):
        path = self.file("w.csv", "prompt,a,b\none,1,0\ntwo,7,\nthree,1\n")
        done = self.succeeds("import", path, "--json")
        told = json.loads(done.stdout)
        self.assertEqual((told["rows"], told["rows_skipped"], told["cells_bad"],
                          told["cells_missing"], told["queries"]), (3, 1, 1, 1, 2))
        self.assertEqual([m["name"] for m in told["models"]], ["a", "b"])
        self.assertEqual((told["models"][0]["quality"], told["models"][0]["cost"]), (1.0, None))
        self.assertIn(f"{path}:3: score '7' of model 'a' is above 1", done.stderr)
        self.assertIn(f"{path}:4: 2 fields, the header has 3", done.stderr)
        self.fails("import", path, "--strict", told=f"{path}:3: score '7'")
        self.assertIn("2 queries", self.succeeds("import", path).stdout)

    def test_many_problems_are_told_in_part_and_counted(self):
        path = self.file("w.csv", "prompt,a\n" + "p,x\n" * 100)
        done = self.succeeds("import", path)
        self.assertEqual(done.stderr.count("is not a number"), 20)
        self.assertIn("and 80 problems more", done.stderr)

    def test_a_store_is_filled_once(self):
        first = self.succeeds_json("import", FORMATS / "routellm", "--store", self.store(), "--json")
        again = self.succeeds_json("import", FORMATS / "routellm", "--store", self.store(), "--json")
        self.assertEqual((first["files"], first["queries_added"], first["files_known"]), (2, 4, 0))
        self.assertEqual((again["files"], again["queries_added"], again["files_known"]), (2, 0, 2))
        self.assertEqual(first["models"], again["models"])
        told = self.succeeds("import", FORMATS / "routellm", "--store", self.store()).stdout
        self.assertIn("2 files were there already: nothing was added", told)

    def test_costs_come_from_a_cost_file_or_prices(self):
        told = self.succeeds_json("import", FORMATS / "routerarena", "--store", self.store(),
                                  "--json")
        self.assertEqual((told["files"], told["queries"], told["costs_filled"]), (3, 3, 2))
        looked = self.succeeds_json("import", FORMATS / "routerarena", "--json")
        for stored, read in zip(told["models"], looked["models"]):
            self.assertEqual(stored["name"], read["name"])
            self.assertAlmostEqual(stored["cost"], read["cost"], delta=1e-11)
        done = self.succeeds("import", FORMATS / "long.csv", "--prices", FORMATS / "prices.yaml",
                             "--prices-on", "2026-04-01", "--json")
        self.assertEqual(json.loads(done.stdout)["cells_bad"], 0)
        spare = self.file("p.yaml", "models:\n  elsewhere: {usd_per_call: 1}\n")
        done = self.succeeds("import", FORMATS / "wide.csv", "--prices", spare)
        self.assertIn(f"{spare}:2: model 'elsewhere' is in no outcome", done.stderr)
        self.fails("import", FORMATS / "wide.csv", "--prices-on", "soon", "--prices", spare,
                   told="'soon' is not a day")

    def test_what_is_no_store_is_refused(self):
        path = self.file("w.csv", "prompt,a\np,1\n")
        letter = self.file("letter", "Dear Sir, this is no database. " * 20)
        self.fails("import", path, "--store", f"sqlite:{letter}", told="not an SQLite database")
        self.fails("import", path, "--store", "file.db", told="give sqlite:PATH")
        self.fails("import", path, "--store", "sqlite:/nonexistent/a.db",
                   told="/nonexistent/a.db")
        self.fails("import", self.folder / "none.csv", told="none.csv")
        self.fails("import", self.file("x.csv", "a,b\n1,2\n"), told="of no known format")
        self.fails("import", self.file("e.csv", "prompt,a\n"), told="no usable row")

    def test_ctrl_c_leaves_whole_files(self):
        path = self.file("w.csv", "prompt,a\n" + "".join(f"prompt {i},1\n" for i in range(200000)))
        with subprocess.Popen([TOOL, "import", path, "--store", self.store()], env=ENVIRONMENT,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tool:
            time.sleep(0.15)
            tool.send_signal(signal.SIGINT)
            tool.communicate(timeout=60)
        told = self.succeeds_json("import", path, "--store", self.store(), "--json")
        self.assertEqual(told["queries"], 200000)

    def test_vectors_are_made_at_once_when_an_encoder_is_named(self):
        for _ in range(2):
            self.succeeds("import", FORMATS / "wide.csv", "--store", self.store(), "--encoder",
                          "hash")
            database = sqlite3.connect(self.folder / "test.db")
            count = database.execute("SELECT count(*), min(length(vector)) FROM vectors").fetchone()
            self.assertEqual(count[0], 2)  # two of three prompts are equal
            self.assertGreater(count[1], 0)
            database.close()


if __name__ == "__main__":
    unittest.main()
