#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""metallm prices: the table, the check of a configuration, imports; what needs a price."""
import datetime
import json
import re
import unittest

from tool import ROOT, ToolTest

LITELLM = {
    "sample_spec": {"litellm_provider": "one of"},
    "gpt-new": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-06,
                "output_cost_per_token": 4e-06, "max_input_tokens": 1000},
    "gemini/gemini-new": {"litellm_provider": "gemini", "mode": "chat",
                          "input_cost_per_token": 2e-07, "output_cost_per_token": 8e-07},
}
OPENAI = "base_url: 'https://api.openai.com/v1', api_key: '${HOME}'"


class Prices(ToolTest):
    def setUp(self):
        super().setUp()
        self.today = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")

    def config(self, text):
        path = self.folder / "metallm.yaml"
        path.write_text(f"listen: 127.0.0.1:0\nstore: sqlite:{self.folder}/m.db\nencoder: hash\n"
                        + text)
        return path

    def test_the_table_is_the_file(self):
        told = json.loads(self.succeeds("prices", "--json").stdout)["data"]
        lines = (ROOT / "data/models.yaml").read_text(encoding="utf-8").splitlines()
        begun = [re.search(r'(?:\{|from: )([\d-]*),? ?input: ([\d.]+), output: ([\d.]+)', line)
                 for line in lines]
        self.assertEqual([(t.get("from", ""), t["input"], t["output"]) for t in told],
                         [(b[1], float(b[2]), float(b[3])) for b in begun if b])
        self.assertEqual({t["model"] for t in told},
                         set(re.findall(r'(?m)^  "([a-z]+/.*)":', "\n".join(lines))))
        for t in told:  # what is announced for a later day has one source
            self.assertEqual(t["source"], "genai-prices" if "from" in t else
                             "LiteLLM + genai-prices")
        self.assertEqual({t["checked"] for t in told}, {"2026-11-29"})

    def test_a_list_is_of_what_is_asked_for(self):
        done = self.succeeds("prices", "--list", "gpt-4o-mini")
        names = [line.split()[0] for line in done.stdout.splitlines()[1:]]
        self.assertIn("openai/gpt-4o-mini", names)
        self.assertTrue(all("gpt-4o-mini" in name for name in names))
        self.fails("prices", "no-such-model", told="no model of this name")

    def test_a_check_tells_where_prices_are_from(self):
        path = self.config(f"models:\n- {{name: a, {OPENAI}, model: gpt-4o}}\n"
                           f"- {{name: b, {OPENAI}, model: gpt-4o, price: {{input: 1, output: 10}}}}\n"
                           "- {name: c, base_url: 'http://127.0.0.1:9'}\n")
        done = self.fails("prices", "--check", "-c", path, told="1 of the models have no price")
        a, b, c = done.stdout.splitlines()
        self.assertIn("2.5 / 10 (table: openai/gpt-4o)", a)
        self.assertIn("input 1, the table says 2.5", b)
        self.assertNotIn("output", b)
        self.assertIn("no price known", c)
        told = json.loads(self.fails("prices", "--check", "-c", path, "--json",
                                     told="no price").stdout)
        self.assertEqual([m["from"] for m in told["data"]], ["table", "config", "unknown"])
        self.assertEqual(told["unpriced"], 1)

    def test_old_prices_are_told(self):
        (self.folder / "p.yaml").write_text("a: {input: 1, output: 2, checked: 2020-01-01}\n")
        path = self.config("models: [{name: a, base_url: 'http://127.0.0.1:9'}]\n"
                           f"prices: {self.folder}/p.yaml\n")
        self.assertRegex(self.succeeds("prices", "--check", "-c", path).stdout,
                         r"1 / 2 \(file: a\); old: read \d{4} days ago")
        self.assertNotIn("old", self.succeeds("prices", "--check", "-c", path, "--stale-days",
                                              "30000").stdout)
        doctor = self.succeeds("doctor", "--offline", "-c", path).stdout
        self.assertIn("days ago: see 'metallm prices --check'", doctor)

    def test_an_import_keeps_what_was_paid_before(self):
        table, out = self.folder / "litellm.json", self.folder / "prices.yaml"
        table.write_text(json.dumps(LITELLM))
        done = self.succeeds("prices", "--import", table, "-o", out)
        self.assertIn("2 prices new, 0 changed, 0 as they were", done.stderr)
        changed = json.loads(json.dumps(LITELLM))
        changed["gpt-new"]["output_cost_per_token"] = 5e-06
        table.write_text(json.dumps(changed))
        told = json.loads(self.succeeds("prices", "--import", table, "-o", out, "--json").stdout)
        self.assertEqual((told["added"], told["changed"], told["same"]), (0, 1, 1))
        listed = json.loads(self.succeeds("prices", "--file", out, "--json").stdout)["data"]
        self.assertEqual([(p["model"], p["output"], p.get("from")) for p in listed],
                         [("gemini/gemini-new", 0.8, None), ("openai/gpt-new", 4, None),
                          ("openai/gpt-new", 5, self.today)])
        self.assertEqual({p["source"] for p in listed}, {"litellm.json"})
        path = self.config(f"models:\n- {{name: a, {OPENAI}, model: gpt-new}}\nprices: {out}\n"
                           "routers: [{name: auto, dial: 1}]\n")
        self.assertIn("1 / 5 (file: openai/gpt-new)",
                      self.succeeds("prices", "--check", "-c", path).stdout)

    def test_what_is_no_table_is_refused_and_nothing_written(self):
        bad, out = self.folder / "bad.yaml", self.folder / "prices.yaml"
        bad.write_text("models: {a: {input: much}}\n")
        self.fails("prices", "--import", bad, "-o", out, told="bad.yaml:1: a price is not a number")
        self.assertFalse(out.exists())
        self.fails("prices", "--list", "--check", told="one of --list, --check and --import",
                   status=2)

    def test_a_budget_wants_prices(self):
        path = self.config("models:\n- {name: a, base_url: 'http://127.0.0.1:9'}\n"
                           "- {name: b, base_url: 'http://127.0.0.1:9', price: {input: 0, output: 0}}\n")
        said = "metallm.yaml:5: models[0].price: of 'a' is not known, and the client key mk_"
        self.fails("keys", "create", "x", "--budget", "1", "-c", path, told=said)
        self.succeeds("keys", "create", "y", "-c", path)
        self.succeeds("keys", "create", "z", "--budget", "1", "--allow-model", "b",
                      "--allow-router", "none", "-c", path)
        self.succeeds("keys", "create", "w", "--budget", "1",
                      "--store", f"sqlite:{self.folder}/m.db")
        self.fails("serve", "-c", path, told="'w' has a budget")
        path.write_text(path.read_text() + "routers:\n- {name: r, target: 0.5}\n")
        self.fails("serve", "-c", path, told="metallm.yaml:8: routers[0].target: needs the price")


if __name__ == "__main__":
    unittest.main()
