#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What changes while it runs: the configuration, LLMs, client keys, limits and budgets."""
import json
import random
import subprocess
import threading
import time
import unittest

from support import upstream as up
from support.gateway import TOOL, GatewayTest, model, secret, wait_for

ADMIN = {"Authorization": "Bearer admin-secret-canary"}


class Admin:
    """The admin API's paths, in one place."""

    def __init__(self, gateway, headers=None):
        self.gateway, self.headers = gateway, headers or {}

    def do(self, method, path, body=None):
        return self.gateway.request(method, f"/admin/{path}", body, self.headers)

    def add_key(self, **more):
        told = self.do("POST", "keys", {"name": "test", **more})
        assert told.status in (200, 201), told.body
        return told.json()

    def revoke_key(self, id_):
        return self.do("DELETE", f"keys/{id_}")

    def add_model(self, told):
        return self.do("POST", "models", told)

    def reprice(self, name, price):
        return self.do("PATCH", f"models/{name}", {"price": price})

    def state(self, name, state):
        return self.do("PATCH", f"models/{name}", {"state": state})

    def router(self, name, **more):
        return self.do("PATCH", f"routers/{name}", more)


class Reload(GatewayTest):
    def test_a_good_config_is_taken_in_without_losing_a_request(self):
        gateway = self.pair(router={"dial": 100.0})
        failed, stop = [], threading.Event()

        def ask():
            connection = gateway.connect()
            while not stop.is_set():
                told = gateway.chat(connection=connection)
                if told.status != 200:
                    failed.append(told.body)
            connection.close()
        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        third = self.upstream("third")
        config = dict(gateway.config)
        config["models"] = config["models"] + [model("third", third, (0.01, 0.01))]
        for _ in range(5):
            gateway.write(config)
            gateway.reload()
            time.sleep(0.1)
        wait_for(lambda: gateway.chat(model="third").status == 200, what="the new LLM")
        wait_for(lambda: gateway.chat().model == "third", what="the cheapest one is routed to")
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(failed, [])

    def test_a_bad_config_is_refused_with_its_line_and_the_old_one_stays(self):
        gateway = self.pair()
        good = gateway.path.read_text()
        for bad, word in ((good.replace('"dial": 0.2', '"dail": 0.2'), "dail"),
                          (good.replace('"dial": 0.2', '"dial": "much"'), "much"),
                          (good.replace('"hybrid"', '"hybird"'), "hybird"), ("models: [", None),
                          (good.replace("127.0.0.1:" + str(gateway.port), "127.0.0.1:1"), "listen")):
            before = gateway.log()
            gateway.path.write_text(bad)
            gateway.reload()
            told = wait_for(lambda b=before: gateway.log()[len(b):], what="a refusal in the log")
            wait_for(lambda b=before: "metallm.yaml:" in gateway.log()[len(b):], what="its line")
            told = gateway.log()[len(before):]
            if word:
                self.assertIn(word, told)
            self.assertEqual(gateway.chat().status, 200)
        gateway.path.write_text(good)
        gateway.reload()
        self.assertEqual(gateway.chat().status, 200)

    def test_what_was_learned_of_the_others_stays(self):
        gateway = self.pair(router={"mode": "online", "explore": {"share": 0.1, "cap": 0.2}})
        connection = gateway.connect()
        for i in range(60):
            told = gateway.chat(f"question {i}", connection=connection)
            gateway.feedback(told.decision, int(told.model == "small"), connection=connection)
        connection.close()
        asked = {"model": "auto", "messages": [{"role": "user", "content": "question"}]}

        def quality():
            told = gateway.post("/v1/route", asked).json()["estimates"]
            return {e["model"]: e["quality"] for e in told}
        time.sleep(0.3)
        before = quality()
        third = self.upstream("third")
        gateway.write({**gateway.config, "models": gateway.config["models"]
                       + [model("third", third, (0.01, 0.01))]})
        gateway.reload()
        wait_for(lambda: "third" in quality(), what="the new LLM is a candidate")
        after = quality()
        for name, value in before.items():
            self.assertAlmostEqual(after[name], value, 6)


class Config(GatewayTest):
    def test_mistakes_are_refused_with_file_line_and_key(self):
        path = self.folder / "bad.yaml"
        for text, words in (
                ("listen: 127.0.0.1:1\nmodels: []\n", ["models"]),
                ("models:\n  - name: a\n    base_url: ftp://x\n", ["bad.yaml:3", "base_url"]),
                ("models:\n  - name: a\n    base_url: http://x/v1\n    prise: 3\n",
                 ["bad.yaml:4", "prise", "price"]),
                ("listen: 0.0.0.0:1\nmodels:\n  - name: a\n    base_url: http://x/v1\n",
                 ["listen"]),
                ("models:\n  - name: a\n    base_url: http://x/v1\n    api_key: ${NO_SUCH_NAME}\n",
                 ["bad.yaml:4", "NO_SUCH_NAME"]),
                ("models:\n  - name: a\n    base_url: http://x/v1\n    api_key: sk-plain-canary\n",
                 ["bad.yaml:4", "models[0].api_key: a secret in plain: name it as ${NAME}"]),
                ("a: [\n", ["bad.yaml"])):
            path.write_text(text)
            done = subprocess.run([TOOL, "serve", "-c", str(path)], capture_output=True, text=True,
                                  timeout=30, check=False)
            self.assertEqual(done.returncode, 1, text)
            for word in words:
                self.assertIn(word, done.stderr)
            self.assertNotIn("canary", done.stdout + done.stderr)
        done = subprocess.run([TOOL, "serve", "-c", str(self.folder / "none.yaml")], check=False,
                              capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 1)
        self.assertIn("none.yaml", done.stderr)

    def test_init_writes_a_config_that_doctor_and_serve_accept(self):
        made = self.upstream("gpt")
        path = self.folder / "metallm.yaml"
        done = subprocess.run([TOOL, "init", str(path)], capture_output=True, text=True, check=False,
                              cwd=self.folder, env={"OPENAI_API_KEY": "sk-init-canary",
                                                    "PATH": "/usr/bin:/bin"}, timeout=30)
        self.assertEqual(done.returncode, 0, done.stderr)
        text = path.read_text()
        self.assertIn("${OPENAI_API_KEY}", text)
        self.assertNotIn("sk-init-canary", text)
        self.assertGreater(text.count("#"), 20, "it is commented")
        self.assertEqual(made.requests, [])

    def test_doctor_tells_what_is_well_and_what_is_not(self):
        gateway = self.pair(start=False)
        done = subprocess.run([TOOL, "doctor", "-c", str(gateway.path)], capture_output=True,
                              text=True, check=False, timeout=60)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertNotIn("sk-upstream-canary", done.stdout + done.stderr)
        self.small.refuse()
        done = subprocess.run([TOOL, "doctor", "-c", str(gateway.path)], capture_output=True,
                              text=True, check=False, timeout=60)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("small", done.stdout + done.stderr)


class Models(GatewayTest):
    def test_llms_are_added_repriced_drained_and_retired_and_it_lasts(self):
        gateway = self.pair(router={"dial": 100.0, "mode": "hybrid"})
        admin, third = Admin(gateway), self.upstream("third", key=None)
        told = admin.add_model(model("third", third, (0.01, 0.01)))
        self.assertIn(told.status, (200, 201), told.body)
        wait_for(lambda: gateway.chat(model="third").status == 200)
        wait_for(lambda: gateway.chat().model == "third", what="it is routed to")
        self.assertEqual(admin.reprice("third", {"input": 50000, "output": 50000}).status, 200)
        wait_for(lambda: gateway.chat().model == "small", what="it is too dear now")
        self.assertEqual(admin.state("small", "drained").status, 200)
        wait_for(lambda: gateway.chat().model == "big", what="small is drained")
        gateway.stop()
        gateway.start()
        self.assertEqual(gateway.chat().model, "big")
        self.assertEqual(admin.state("third", "retired").status, 200)
        wait_for(lambda: gateway.chat(model="third").status == 404, what="third is retired")
        self.assertEqual(admin.state("small", "serving").status, 200)
        wait_for(lambda: gateway.chat().model == "small", what="small is back")

    def test_mistakes_are_refused(self):
        admin = Admin(self.pair())
        for told, status in ((admin.add_model({"name": "x"}), 400),
                             (admin.reprice("nobody", {"input": 1, "output": 1}), 404),
                             (admin.state("small", "asleep"), 400),
                             (admin.do("GET", "nothing"), 404),
                             (admin.do("POST", "models", b"{"), 400)):
            self.assertEqual(told.status, status, told.body)
            self.assertIn("message", told.json()["error"])

    def test_a_routers_dial_is_turned_at_run_time(self):
        gateway = self.pair(router={"dial": 100.0})
        self.assertEqual(gateway.chat().model, "small")
        self.assertEqual(Admin(gateway).router("auto", dial=0.0).status, 200)
        listed = Admin(gateway).do("GET", "routers").json()
        self.assertIn('"dial":0', json.dumps(listed).replace(" ", "").replace("0.0", "0"))

    def test_a_newcomer_is_explored_within_its_share(self):
        gateway = self.pair(router={"dial": 0.0, "mode": "hybrid", "explore": {
            "share": 0.02, "newcomer": 0.1, "cap": 0.15}})
        rng, connection = random.Random(1), gateway.connect()
        for i in range(80):
            told = gateway.chat(f"question {i}", connection=connection)
            gateway.feedback(told.decision, int(rng.random() < 0.9), connection=connection)
        third = self.upstream("third", key=None)
        Admin(gateway).add_model(model("third", third, (1, 1), prior={"quality": 0.3}))
        wait_for(lambda: gateway.chat(model="third").status == 200)
        told = [gateway.chat(f"question {i}", connection=connection).model for i in range(300)]
        connection.close()
        self.assertTrue(1 <= told.count("third") <= 60, told.count("third"))


class Keys(GatewayTest):
    def setUp(self):
        super().setUp()
        self.metallm = self.pair(auth={"keys": True, "admin_key": secret("admin-secret-canary")},
                                 router={"dial": 0.0})
        self.admin = Admin(self.metallm, ADMIN)

    def bearer(self, **more):
        told = self.admin.add_key(**more)
        return {"Authorization": f"Bearer {told['key']}"}, told

    def test_without_a_key_nothing_but_health_answers(self):
        for headers in ({}, {"Authorization": "Bearer mk_" + "A" * 40},
                        {"Authorization": "Basic abc"}, {"Authorization": "Bearer "}, ADMIN):
            told = self.metallm.chat(headers=headers)
            self.assertEqual(told.status, 401, (headers, told.body))
            self.assertEqual(told.json()["error"]["code"], "invalid_api_key")
        for path in ("/v1/models", "/v1/decisions/dec_" + "A" * 32):
            self.assertEqual(self.metallm.get(path).status, 401)
        self.assertEqual(self.metallm.feedback("dec_" + "A" * 32, 1).status, 401)
        self.assertEqual(self.metallm.get("/healthz").status, 200)
        self.assertIn(self.metallm.get("/admin/keys").status, (401, 403))
        self.assertEqual(self.big.requests + self.small.requests, [])

    def test_keys_are_made_used_revoked_and_kept_as_hashes(self):
        headers, told = self.bearer()
        wait_for(lambda: self.metallm.chat(headers=headers).status == 200)
        self.assertNotIn(told["key"], self.admin.do("GET", "keys").body.decode())
        self.metallm.stop()
        for path in self.folder.glob("metallm.db*"):
            self.assertNotIn(told["key"].encode(), path.read_bytes())
        self.assertNotIn(told["key"], self.metallm.log())
        self.metallm.start()
        self.assertEqual(self.metallm.chat(headers=headers).status, 200)
        self.assertEqual(self.admin.revoke_key(told["id"]).status, 200)
        wait_for(lambda: self.metallm.chat(headers=headers).status == 401, what="it is revoked")

    def test_the_tool_makes_keys_for_a_running_gateway(self):
        done = subprocess.run([TOOL, "keys", "create", "cli", "-c", str(self.metallm.path)],
                              capture_output=True, text=True, check=False, timeout=30)
        self.assertEqual(done.returncode, 0, done.stderr)
        key = next(w for w in done.stdout.split() if w.startswith("mk_") and len(w) == 43)
        headers = {"Authorization": f"Bearer {key}"}
        wait_for(lambda: self.metallm.chat(headers=headers).status == 200, what="it is noticed")

    def test_decisions_belong_to_their_key(self):
        (mine, _), (other, _) = self.bearer(), self.bearer()
        wait_for(lambda: self.metallm.get("/v1/models", other).status == 200)
        told = self.metallm.chat(headers=mine)
        self.assertEqual(self.metallm.feedback(told.decision, 1, other).status, 404)
        self.assertEqual(self.metallm.get(f"/v1/decisions/{told.decision}", other).status, 404)
        self.assertEqual(self.metallm.feedback(told.decision, 1, mine).status, 200)
        self.assertEqual(self.decided(self.metallm, told.decision, mine)["feedback"]["score"], 1)

    def test_allowed_llms(self):
        headers, _ = self.bearer(models=["small"])
        wait_for(lambda: self.metallm.get("/v1/models", headers).status == 200)
        for _ in range(5):
            self.assertEqual(self.metallm.chat(headers=headers).model, "small")
        self.assertIn(self.metallm.chat(headers=headers, model="big").status, (403, 404))
        listed = [m["id"] for m in self.metallm.get("/v1/models", headers).json()["data"]]
        self.assertNotIn("big", listed)

    def test_requests_and_tokens_a_minute(self):
        headers, _ = self.bearer(requests_per_minute=5)
        wait_for(lambda: self.metallm.get("/v1/models", headers).status == 200)
        told = [self.metallm.chat(headers=headers) for _ in range(8)]
        self.assertEqual([t.status for t in told[:4]], [200] * 4)
        refused = told[-1]
        self.assertEqual(refused.status, 429)
        self.assertEqual(refused.json()["error"]["code"], "rate_limit_exceeded")
        self.assertGreaterEqual(int(refused.header("retry-after")), 1)
        self.assertEqual(told[0].header("x-ratelimit-limit-requests"), "5")
        headers, _ = self.bearer(tokens_per_minute=2000)
        wait_for(lambda: self.metallm.get("/v1/models", headers).status == 200)
        self.small.behave = self.big.behave = up.well(usage=(1500, 100))
        self.assertEqual(self.metallm.chat("word " * 1000, headers=headers).status, 200)
        wait_for(lambda: self.metallm.chat("word " * 1000, headers=headers).status == 429)

    def test_a_budget_is_never_overrun_and_it_gets_cheaper_before_it_refuses(self):
        # big costs 10 * 1000 + 30 * 100 = 0.013 dollars a call, small 0.00013
        self.small.behave = self.big.behave = up.well(usage=(1000, 100))
        headers, told = self.bearer(budget={"usd": 0.1, "per": "day"})
        wait_for(lambda: self.metallm.get("/v1/models", headers).status == 200)
        spent, models, statuses, lock = [0.0], [], [], threading.Lock()

        def ask():
            connection = self.metallm.connect()
            for _ in range(40):
                got = self.metallm.chat("word " * 800, headers=headers, connection=connection,
                                        max_tokens=100)
                with lock:
                    statuses.append(got.status)
                    if got.status == 200:
                        spent[0] += float(got.header("x-metallm-cost-usd"))
                        models.append(got.model)
            connection.close()
        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertLessEqual(spent[0], 0.1 + 1e-9)
        self.assertEqual(set(statuses) - {200, 429}, set())
        self.assertIn("small", models)
        headers2, _ = self.bearer(budget={"usd": 0.0001, "per": "day"})
        wait_for(lambda: self.metallm.get("/v1/models", headers2).status == 200)
        got = wait_for(lambda: (g := self.metallm.chat("word " * 800, headers=headers2,
                                                       max_tokens=100)).status == 429 and g)
        self.assertEqual(got.json()["error"]["code"], "insufficient_quota")
        listed = json.dumps(self.admin.do("GET", "keys").json())
        self.assertIn("spent", listed)

    def test_spend_is_remembered_over_a_restart(self):
        self.small.behave = self.big.behave = up.well(usage=(1000, 100))
        headers, _ = self.bearer(budget={"usd": 0.0004, "per": "day"})
        wait_for(lambda: self.metallm.get("/v1/models", headers).status == 200)
        for _ in range(20):
            last = self.metallm.chat("word " * 800, headers=headers, max_tokens=100).status
        self.assertEqual(last, 429)
        time.sleep(0.3)
        self.metallm.stop()
        self.metallm.start()
        self.assertEqual(self.metallm.chat("word " * 800, headers=headers, max_tokens=100).status, 429)


class Budget(GatewayTest):
    def test_a_routers_budget_a_request_is_kept_on_average(self):
        gateway = self.pair(router={"dial": None, 
                                    "budget": {"usd": 0.002, "per": "request"}})
        self.small.behave = self.big.behave = up.well(usage=(1000, 100))
        connection = gateway.connect()
        spent = [float(gateway.chat(f"question {i} " + "word " * 300, connection=connection)
                       .header("x-metallm-cost-usd")) for i in range(400)]
        connection.close()
        self.assertLess(sum(spent) / len(spent), 0.002 * 1.15)


if __name__ == "__main__":
    unittest.main()
