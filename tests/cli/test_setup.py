#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Setting a gateway up: init, doctor and keys, and the texts made from the table of options."""
import http.server
import json
import os
import re
import subprocess
import threading
import unittest

from tool import ENVIRONMENT, ROOT, TOOL, ToolTest, run

PROVIDERS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "MISTRAL_API_KEY",
             "DEEPSEEK_API_KEY", "GROQ_API_KEY", "TOGETHER_API_KEY", "OPENROUTER_API_KEY")


class Upstream(http.server.BaseHTTPRequestHandler):
    """Lists one model to those who have the key, in the manner of each protocol."""
    protocol_version = "HTTP/1.1"
    KEY = "sk-good-canary"
    BEARER = ("authorization", f"Bearer {KEY}")
    LIST = {"data": [{"id": "big"}]}
    # What a request of this path must carry, and what it gets.
    KNOWN = {
        "/v1/models": (BEARER, 200, LIST),
        "/openai/models?api-version=2024-10-21": (("api-key", KEY), 200, {"data": [{"id": "x"}]}),
        "/a/models?limit=1000": (("x-api-key", KEY), 200, LIST),
        "/g/models?pageSize=1000": (("x-goog-api-key", KEY), 200,
                                    {"models": [{"name": "models/big"}, {"name": "big2"}]}),
        "/b/model/vendor.big-v1%3A0/converse": (BEARER, 400, {"message": "no messages"}),
        "/b/model/signed/converse": (("authorization",
                                      "AWS4-HMAC-SHA256 Credential=AKIDCANARY/"), 400, {}),
        "/b/model/amazon.titan/invoke": (BEARER, 404, {"message": "no such model"}),
    }

    def answer(self):
        (name, value), status, told = self.KNOWN[self.path]
        if self.path == "/b/model/signed/converse":
            value += self.headers["authorization"].partition(" Credential=AKIDCANARY/")[2]
        told = json.dumps(told).encode()
        self.rfile.read(int(self.headers.get("content-length", "0")))
        self.send_response(status if self.headers.get(name) == value else 401)
        self.send_header("content-length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    do_GET = do_POST = answer

    def log_message(self, *arguments):
        pass


class Setup(ToolTest):
    def config(self, text):
        path = self.folder / "metallm.yaml"
        path.write_text(f"listen: 127.0.0.1:0\nstore: sqlite:{self.folder}/m.db\nencoder: hash\n"
                        + text)
        return path

    def init(self, path, *options, **environment):
        kept = {k: v for k, v in ENVIRONMENT.items()
                if k not in PROVIDERS and k != "OLLAMA_HOST" and not k.startswith("AWS_")}
        return subprocess.run([TOOL, "init", *options, str(path)], text=True, capture_output=True,
                              env={**kept, **environment}, check=False, timeout=60)

    def check(self, path, **environment):
        """Whether doctor takes the configuration, without asking anybody."""
        done = subprocess.run([TOOL, "doctor", "--offline", "--json", "-c", str(path)], text=True,
                              capture_output=True, check=False, timeout=60, cwd=self.folder,
                              env={**ENVIRONMENT, **environment})
        told = json.loads(done.stdout)
        first = next(c for c in told["checks"] if c["about"] == "configuration")
        self.assertEqual(first["verdict"], "ok", first["message"])
        return told


class Init(Setup):
    def test_without_a_key_it_begins_with_a_local_server(self):
        path = self.folder / "a.yaml"
        done = self.init(path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("no provider's key", done.stderr)
        self.check(path)

    def test_every_provider_is_written_by_reference_alone(self):
        path = self.folder / "a.yaml"
        keys = {name: f"canary-{i}-secret" for i, name in enumerate(PROVIDERS)}
        done = self.init(path, **keys, OLLAMA_HOST="0.0.0.0", AWS_ACCESS_KEY_ID="canary-id",
                         AWS_DEFAULT_REGION="eu-west-1")
        self.assertEqual(done.returncode, 0, done.stderr)
        text = path.read_text()
        for name in PROVIDERS:
            self.assertIn("${" + name + "}", text)
        self.assertIn("base_url: http://127.0.0.1:11434/v1", text)
        self.assertIn("protocol: bedrock\n    region: eu-west-1\n", text)
        self.assertNotIn("canary", text + done.stdout + done.stderr)
        self.check(path, **keys)

    def test_ollama_host_in_all_its_forms(self):
        for given, made in (("box", "http://box:11434/v1"), ("box:1", "http://box:1/v1"),
                            ("https://box/", "https://box/v1"),
                            ("http://0.0.0.0:5", "http://127.0.0.1:5/v1")):
            done = self.init("unused", "--print", OLLAMA_HOST=given)
            self.assertIn(f"base_url: {made}\n", done.stdout, given)

    def test_the_commented_defaults_are_the_defaults(self):
        path, whole = self.folder / "a.yaml", self.folder / "whole.yaml"
        self.assertEqual(self.init(path).returncode, 0)
        text = re.sub(r"(?m)^#((?:  )*)(\S)", r"\1\2", path.read_text())
        self.assertGreater(len(re.findall(r"(?m)^  \w+: ", text)), 40)
        whole.write_text(text)
        self.check(whole)

    def test_a_file_that_is_there_stays(self):
        path = self.folder / "a.yaml"
        path.write_text("mine")
        done = self.init(path)
        self.assertEqual(done.returncode, 1)
        self.assertIn("is there already", done.stderr)
        self.assertEqual(path.read_text(), "mine")
        self.assertEqual(self.init(path, "--force").returncode, 0)
        self.assertIn("models:", path.read_text())


class Doctor(Setup):
    def setUp(self):
        super().setUp()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def doctor(self, text):
        done = run("doctor", "--json", "-c", self.config(text))
        self.assertNotIn("canary", done.stdout + done.stderr)
        told = json.loads(done.stdout)
        self.assertEqual(done.returncode, 0 if told["ok"] else 1, done.stderr)
        return {(c["about"], c["verdict"]): c["message"] for c in told["checks"]}

    def test_what_is_well(self):
        (self.folder / "key").write_text("sk-good-canary\n")
        found = self.doctor(f"models:\n- {{name: big, base_url: '{self.url}', api_key: "
                            f"'file:{self.folder}/key', price: {{input: 1, output: 1}}}}\n"
                            "routers: [{name: auto}]\n")
        self.assertEqual({verdict for _, verdict in found}, {"ok"}, found)
        self.assertIn("lists the model", found["model big", "ok"])

    def test_what_is_not(self):
        (self.folder / "bad").write_text("sk-bad-canary\n")
        (self.folder / "good").write_text("sk-good-canary\n")
        found = self.doctor(
            f"models:\n- {{name: a, base_url: '{self.url}', api_key: 'file:{self.folder}/bad'}}\n"
            f"- {{name: b, base_url: '{self.url}', api_key: 'file:{self.folder}/good'}}\n"
            "- {name: c, base_url: 'http://127.0.0.1:9/v1'}\n"
            "- {name: d, base_url: 'http://no-such-host.invalid/v1'}\n"
            f"routers: [{{name: auto, file: '{self.folder}/none.safetensors'}}]\n")
        self.assertIn("the key is refused (401)", found["model a", "fail"])
        self.assertIn("does not list 'b'", found["model b", "warn"])
        self.assertIn("refused", found["model c", "fail"])
        self.assertIn("model d", {about for about, verdict in found if verdict == "fail"})
        self.assertIn("none.safetensors", found["router auto", "fail"])

    def test_a_key_in_plain(self):
        found = self.doctor(f"models:\n- {{name: a, base_url: '{self.url}', api_key: sk-canary}}\n")
        self.assertIn("metallm.yaml:5: models[0].api_key: a secret in plain",
                      found["configuration", "fail"])

    def test_each_upstream_is_asked_in_its_own_protocol(self):
        (self.folder / "key").write_text("sk-good-canary\n")
        root = self.url.removesuffix("/v1")
        models = {
            "o": f"base_url: '{self.url}'", "r": f"protocol: openai-responses, base_url: "
                                                 f"'{self.url}'",
            "z": f"base_url: '{root}', azure_api_version: 2024-10-21",
            "a": f"protocol: anthropic, base_url: '{root}/a'",
            "g": f"protocol: gemini, base_url: '{root}/g'",
            "b": f"protocol: bedrock, region: us-east-1, base_url: '{root}/b'",
            "t": f"protocol: bedrock-invoke, region: us-east-1, base_url: '{root}/b'"}
        names = {"b": "'vendor.big-v1:0'", "t": "amazon.titan"}
        found = self.doctor("models:\n" + "".join(
            f"- {{name: {name}, model: {names.get(name, 'big')}, {place}, price: {{input: 1, "
            f"output: 1}}, api_key: 'file:{self.folder}/key'}}\n"
            for name, place in models.items()))
        for name in "orag":
            self.assertIn("answers, and lists the model", found[f"model {name}", "ok"])
        self.assertTrue(found["model z", "ok"].endswith(" answers"))
        self.assertIn("answers, and takes the key", found["model b", "ok"])
        self.assertIn("does not know 'amazon.titan'", found["model t", "fail"])

    def test_a_request_to_aws_is_signed_with_what_the_environment_has(self):
        root = self.url.removesuffix("/v1")
        path = self.config("models: [{name: s, protocol: bedrock, region: us-east-1, model: signed,"
                           f" base_url: '{root}/b', price: {{input: 1, output: 1}}}}]\n")
        keys = {"AWS_ACCESS_KEY_ID": "AKIDCANARY", "AWS_SECRET_ACCESS_KEY": "secret-canary"}
        kept = {k: v for k, v in ENVIRONMENT.items() if not k.startswith("AWS_")}
        for more, told in ((keys, "answers, and takes the key"),
                           ({"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(self.folder)},
                            "no AWS credentials")):
            done = subprocess.run([TOOL, "doctor", "-c", str(path)], text=True, timeout=60,
                                  capture_output=True, check=False, env={**kept, **more})
            self.assertIn(told, done.stdout)
            self.assertNotIn("secret-canary", done.stdout + done.stderr)

    def test_a_price_file_that_cannot_be_read(self):
        found = self.doctor("models: [{name: a, base_url: 'http://127.0.0.1:9/v1'}]\n"
                            f"prices: {self.folder}/none.yaml\n")
        self.assertIn("none.yaml", found["configuration", "fail"])

    def test_a_bad_configuration_is_told_with_its_line(self):
        path = self.config("models: []\nlimits: {body_byte: 3}\n")
        done = self.fails("doctor", "-c", path, told="1 checks failed")
        self.assertIn("metallm.yaml:5: unknown key 'limits.body_byte': is 'body_bytes' meant?",
                      done.stdout)

    def test_a_store_in_no_folder(self):
        path = self.folder / "b.yaml"
        path.write_text("store: sqlite:/no/such/folder/m.db\nlisten: 127.0.0.1:0\nencoder: hash\n"
                        "models: [{name: a, base_url: 'http://127.0.0.1:9'}]\n")
        done = self.fails("doctor", "--offline", "-c", path, told="1 checks failed")
        self.assertIn("cannot be made", done.stdout)


class Keys(Setup):
    def test_made_listed_and_revoked(self):
        path = self.config("models: [{name: a, price: {usd_per_call: 0.01}, "
                           "base_url: 'http://127.0.0.1:9'}]\n")
        made = self.succeeds("keys", "create", "ci", "-c", path, "--budget", 5, "--per", "month",
                             "--allow-model", "a", "--requests-per-minute", 7)
        key = made.stdout.strip()
        self.assertRegex(key, r"^mk_[0-9A-Za-z]{40}$")
        other = self.succeeds_json("keys", "create", "other", "-c", path, "--json")
        listed = self.succeeds_json("keys", "list", "-c", path, "--json")["data"]
        self.assertEqual({k["name"] for k in listed}, {"ci", "other"})
        first = next(k for k in listed if k["name"] == "ci")
        self.assertEqual((first["id"], first["budget"], first["models"]),
                         (key[:11], {"usd": 5, "per": "month"}, ["a"]))
        self.assertEqual(other["id"], other["key"][:11])
        self.succeeds("keys", "revoke", key[:11], "-c", path)
        listed = self.succeeds("keys", "list", "-c", path).stdout
        self.assertRegex(listed, f"{key[:11]} .* revoked .* ci")
        for secret in (key, other["key"]):
            self.assertNotIn(secret, listed)
            for file in self.folder.glob("m.db*"):
                self.assertNotIn(secret.encode(), file.read_bytes())

    def test_wrong_uses(self):
        store = f"sqlite:{self.folder}/k.db"
        self.fails("keys", "frob", told="create, list or revoke", status=2)
        self.fails("keys", "create", told="wants a NAME", status=2)
        self.fails("keys", "create", "x", "--store", store, "--per", "year", told="day or month",
                   status=2)
        self.fails("keys", "create", "x", "--store", store, "--dial", 1, "--target", 0.5,
                   told="one of", status=2)
        self.fails("keys", "revoke", "mk_00000000", "--store", store, told="no key of this id")
        self.fails("keys", "list", "-c", self.folder / "none.yaml", told="none.yaml")


class Texts(ToolTest):
    def test_the_page_is_the_one_that_the_table_makes(self):
        made = self.succeeds("help", "--markdown", "config").stdout
        kept = (ROOT / "docs/config.md").read_text(encoding="utf-8")
        self.assertEqual(made, kept, "metallm help --markdown config > docs/config.md")

    def test_the_tables_of_protocols_are_those_of_the_tool(self):
        made = self.succeeds("help", "--markdown", "protocols").stdout
        page = (ROOT / "docs/protocols.md").read_text(encoding="utf-8")
        kept = page.partition("<!-- begin -->\n")[2].partition("<!-- end -->")[0]
        self.assertEqual(made, kept, "metallm help --markdown protocols, in docs/protocols.md")
        told = self.succeeds("help", "protocols").stdout
        self.assertLessEqual(max(len(line) for line in told.splitlines()), 80)
        for feature in re.findall(r"(?m)^\| \*\*(.*?)\*\*: ", made):
            self.assertIn(f"\n  {feature}: ", told)

    def test_help_and_man_page_name_every_option(self):
        page = self.succeeds("help", "config").stdout
        self.assertLessEqual(max(len(line) for line in page.splitlines()), 80)
        man = self.succeeds("help", "--man", "config").stdout
        for option in re.findall(r"(?m)^\| `([\w.\[\]]+)`",
                                 (ROOT / "docs/config.md").read_text(encoding="utf-8")):
            self.assertIn(".B " + option.replace("-", "\\-"), man)
            self.assertIn(option.rpartition(".")[2].rstrip("[]"), page)


if __name__ == "__main__":
    os.environ.pop("OLLAMA_HOST", None)
    unittest.main()
