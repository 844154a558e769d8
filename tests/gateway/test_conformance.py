#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every surface over every upstream, by the official SDKs: docs/conformance.md is what this finds.

The upstreams are as strict as their providers (test_fakes.py shows that they are right). A cell is
one feature: it passes if the LLM was told all of it and the client was given all of the answer, if
what was left out is what docs/protocols.md says and x-metallm-dropped told it, or if it was refused
as that page says. All else is a failure. METALLM_WRITE=1 writes the page anew."""
import json
import os
import pathlib
import re
import socket
import subprocess
import threading
import time
import unittest

from support.gateway import ROOT, SLOW, TOOL, GatewayTest, secret, wait_for

try:
    import anthropic
    import openai
    from support import asks, clients, matrix, page, scripts
    from support.fake_anthropic import Anthropic
    from support.fake_bedrock import KEYS, REGION, Bedrock
    from support.fake_gemini import Gemini
    from support.fake_openai import OpenAI
    from support.fake_responses import Responses
    from test_clients import node_environment
    MISSING = None
except ImportError as error:
    MISSING = str(error)

AZURE = "2024-10-21"
UPSTREAMS = ("openai", "openai-responses", "azure", "anthropic", "bedrock", "bedrock-invoke",
             "gemini")
SURFACES = ("chat", "completions", "responses", "messages")
PATHS = {"chat": "/v1/chat/completions", "completions": "/v1/completions",
         "responses": "/v1/responses", "messages": "/v1/messages",
         "embeddings": "/v1/embeddings", "count_tokens": "/v1/messages/count_tokens"}
# Rows whose requests differ in what is counted.
COUNTED = {"text in many alphabets", "system prompt", "several turns", "tools, not called",
           "parallel tool results", "image", "document", "JSON schema", "reasoning of earlier turns"}
FAILURES = {400: ("BadRequestError", 400), 401: ("InternalServerError", 502),
            404: ("InternalServerError", 502), 429: ("RateLimitError", 429),
            500: ("InternalServerError", 502), 529: ("InternalServerError", 502)}


def protocols():
    """({path: {protocol: way}}, {feature: {protocol: verdict}}), as the tool tells."""
    told = subprocess.run([TOOL, "help", "--markdown", "protocols"], text=True, capture_output=True,
                          check=True).stdout
    ways, verdicts, names = {}, {}, None
    for line in told.splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")]
        if cells[0] in ("request", "feature"):
            names = cells[1:]
        elif cells[0].startswith("`"):
            ways[cells[0].strip("`")] = dict(zip(names, cells[1:]))
        elif cells[0].startswith("**"):
            verdicts[re.match(r"\*\*(.+?)\*\*", cells[0]).group(1)] = dict(zip(names, cells[1:]))
    return ways, verdicts


def kernel_room():
    """Bytes that the sockets of a stream may hold by themselves, and 8 MB."""
    most = [int(pathlib.Path(f"/proc/sys/net/ipv4/tcp_{way}mem").read_text().split()[2])
            for way in "rw"]
    return most[0] + 2 * most[1] + (8 << 20)


class Cell:
    """One feature of a surface over an upstream, asked in several ways; each is a trial."""

    def __init__(self, table, name, surface, upstream):
        self.table, self.name, self.surface, self.upstream = table, name, surface, upstream
        self.verdicts, self.problems = set(), []

    def add(self, verdict):
        self.verdicts.add(verdict)

    def fail(self, sentence):
        self.problems.append(sentence)

    @property
    def verdict(self):
        if self.problems or len(self.verdicts) > 1:
            return "fail"
        return next(iter(self.verdicts), "–")


class World(GatewayTest):
    """A gateway before all upstreams; every upstream is a model of its name."""

    def begin(self):
        fakes = {
            "openai": OpenAI(model="gpt-conform"),
            "azure": OpenAI(azure=AZURE, model="gpt-dep"),
            "openai-responses": Responses(model="gpt-5-conform"),
            "anthropic": Anthropic(model="claude-conform"),
            "bedrock": Bedrock(model="anthropic.claude-conform-v1:0"),
            "bedrock-invoke": Bedrock(model="amazon.titan-text-express-v1"),
            "gemini": Gemini(model="gemini-conform"),
            "openai-embed": OpenAI(model="text-embedding-conform"),
            "azure-embed": OpenAI(azure=AZURE, model="embed-dep"),
            "bedrock-invoke-embed": Bedrock(model="amazon.titan-embed-text-v2:0"),
            "gemini-embed": Gemini(model="embedding-conform"),
        }
        self.upstreams += fakes.values()
        models = [self.model(name, fake) for name, fake in fakes.items()]
        gateway = self.gateway(
            {"models": models, "auth": {"keys": False},
             "upstream": {"attempts": 1, "breaker": {"failures": 1000, "rate": 1}}},
            environment={"AWS_ACCESS_KEY_ID": KEYS[0], "AWS_SECRET_ACCESS_KEY": KEYS[1],
                         "AWS_SESSION_TOKEN": KEYS[2], "AWS_EC2_METADATA_DISABLED": "true"})
        self.fakes, self.base = fakes, f"http://127.0.0.1:{gateway.port}"
        self.metallm = gateway
        return gateway

    def model(self, name, fake):
        protocol = name.removesuffix("-embed")
        told = {"name": name, "base_url": fake.url, "model": fake.model,
                "protocol": "openai" if protocol == "azure" else protocol,
                "price": {"input": 1.0, "output": 2.0}}
        if name.endswith("-embed"):
            told["abilities"] = {"embeddings": True, "chat": False}
        elif name == "openai":
            told["abilities"] = {"chat": True, "completions": True}
        if protocol == "azure":
            told["azure_api_version"] = AZURE
        if protocol.startswith("bedrock"):
            told["region"] = REGION
        else:
            told["api_key"] = secret(fake.key)
        return told


@unittest.skipIf(MISSING is not None, f"{MISSING}: scripts/setup test")
class Conformance(World):
    maxDiff = None

    def setUp(self):
        super().setUp()
        self.begin()
        self.ways, self.verdicts = protocols()
        self.cells, self.trials = {}, {}

    # What is asked.

    def cell(self, table, name, surface, upstream):
        return self.cells.setdefault((table, name, upstream),
                                     Cell(table, name, surface, upstream))

    def trial(self, cell, client, stream, params, **more):
        """A job for one client; its id is the mark's cell."""
        name = f"t{len(self.trials)}"
        params = json.loads(json.dumps(params).replace("@@", name))
        job = {"id": name, "surface": cell.surface, "stream": stream, "params": params}
        self.trials[name] = (cell, client, job, more)
        return job

    def ask_rows(self):
        for surface in SURFACES:
            for number, row in enumerate(asks.ROWS):
                for place, upstream in enumerate(UPSTREAMS):
                    cell = self.cell(surface, row.name, surface, upstream)
                    try:
                        params = asks.params_of(row, surface, upstream, f"[[{row.script}/@@]]")
                    except asks.Inexpressible:
                        continue
                    self.ask_ways(cell, params, row, number + place)

    def ask_ways(self, cell, params, row, turn):
        """Whole and streamed; one by Python's client and the other by Node's, by turns."""
        streamed = {**params, "stream_options": {"include_usage": True}} \
            if cell.surface in ("chat", "completions") else params
        if not (row.stream and row.whole):
            for client in ("python", "node"):
                self.trial(cell, client, row.stream, streamed if row.stream else params, row=row)
            return
        first, second = ("python", "node")[::1 if turn % 2 else -1]
        self.trial(cell, first, False, params, row=row)
        self.trial(cell, second, True, streamed, row=row)

    def ask_failures(self):
        for surface in SURFACES:
            for place, upstream in enumerate(UPSTREAMS):
                for status in FAILURES:
                    cell = self.cell(surface, f"the upstream answers {status}", surface, upstream)
                    for client, stream in (("python", status % 2 == place % 2),
                                           ("node", status % 2 != place % 2)):
                        self.trial(cell, client, stream, self.plain(
                            surface, upstream, f"error-{status}"), failure=status)
                for script, name in (("midway", "an error in the middle of a stream"),
                                     ("cut", "a stream that is cut")):
                    cell = self.cell(surface, name, surface, upstream)
                    for client in ("python", "node"):
                        self.trial(cell, client, True, self.plain(surface, upstream, script),
                                   broken=script)

    def plain(self, surface, upstream, script):
        return asks.params_of(asks.ROWS[0], surface, upstream, f"[[{script}/@@]]")

    def ask_embeddings(self):
        rows = {"one text": {"input": "a [[text/@@]]"},
                "several texts": {"input": ["a [[text/@@]]", "b", "c “ü”"]},
                "vectors as lists": {"input": "a [[text/@@]]", "encoding_format": "float"},
                "vectors as base64": {"input": "a [[text/@@]]", "encoding_format": "base64"},
                "dimensions": {"input": "a [[text/@@]]", "dimensions": 256},
                "user": {"input": "a [[text/@@]]", "user": "user-17"}}
        for name, params in rows.items():
            for upstream in UPSTREAMS:
                model = f"{upstream}-embed" if f"{upstream}-embed" in self.fakes else upstream
                cell = self.cell("embeddings", name, "embeddings", upstream)
                for client in ("python", "node"):
                    self.trial(cell, client, False, {"model": model, **params}, vectors=params)

    def ask_counts(self):
        for row in (r for r in asks.ROWS if r.name in COUNTED):
            for place, upstream in enumerate(UPSTREAMS):
                try:
                    params = asks.params_of(row, "count_tokens", upstream, "[[text/@@]]")
                except asks.Inexpressible:
                    continue
                cell = self.cell("count_tokens", row.name, "count_tokens", upstream)
                self.trial(cell, ("python", "node")[place % 2], False, params, count=row)

    # What came of it.

    def run_trials(self, trials):
        """{id: outcome}, by both clients at once."""
        jobs = {client: [t[2] for t in trials if t[1] == client] for client in ("python", "node")}
        found, problems = {}, []

        def run_node():
            node = node_environment()
            try:
                found.update(clients.run_node(
                    *node, self.folder, ROOT / "tests/gateway/node/conformance.mjs", self.base,
                    jobs["node"], 120 * SLOW))
            except Exception as error:  # told by the main thread
                problems.append(error)
        thread = None
        if jobs["node"] and node_environment() is not None:
            thread = threading.Thread(target=run_node)
            thread.start()
        outcomes = clients.run_all(self.base, jobs["python"], timeout=60 * SLOW)
        if thread is not None:
            thread.join()
        self.assertEqual(problems, [])
        return {**outcomes, **found}

    def judge(self, name, outcome):
        cell, client, job, more = self.trials[name]
        where = f"{client}, {'streamed' if job['stream'] else 'whole'}"
        try:
            cell.add(self.judged(cell, job, outcome, more))
        except (AssertionError, KeyError, TypeError, ValueError, IndexError) as error:
            fake = self.fake_of(cell, job)
            heard = fake.of(job["id"])
            cell.fail(f"{where}: {type(error).__name__}: {error}"[:1200] + (
                f"\n    sent {heard[-1].seen.body[:600]!r}" if heard else
                f"\n    asked {json.dumps(job['params'])[:400]}"))

    def fake_of(self, cell, job):
        return self.fakes[job["params"]["model"]]

    def judged(self, cell, job, outcome, more):
        if "row" in more:
            return self.judged_row(cell, job, outcome, more["row"])
        if "failure" in more:
            return self.judged_failure(cell, outcome, more["failure"])
        if "broken" in more:
            return self.judged_broken(cell, outcome)
        if "vectors" in more:
            return self.judged_vectors(cell, job, outcome, more["vectors"])
        return self.judged_count(cell, job, outcome, more["count"])

    def protocol(self, cell):
        return "openai" if cell.upstream == "azure" else cell.upstream

    def way(self, cell):
        """as bytes, translated, estimated or no."""
        way = self.ways[PATHS[cell.surface]][self.protocol(cell)]
        if "," in way:  # as bytes where the config says so, else translated
            is_said = (cell.surface, cell.upstream) == ("completions", "openai")
            return "as bytes" if is_said else "translated"
        return way

    def by_verdict(self, cell, row, verdict):
        """The features of a row that docs/protocols.md gives this verdict."""
        if self.way(cell) == "as bytes":
            return set()
        found = {f for f in row.features if self.verdicts[f][self.protocol(cell)] == verdict}
        if verdict == "dropped" and not self.by_verdict(cell, row, "refused"):
            found |= set(row.partly.get(self.protocol(cell), ()))
        return found

    def judged_row(self, cell, job, outcome, row):
        fake, mark = self.fake_of(cell, job), f"[[{row.script}/{job['id']}]]"
        heard = fake.of(job["id"])
        refused = self.by_verdict(cell, row, "refused")
        if not refused and self.way(cell) != "as bytes" and cell.upstream in row.limits:
            refused = {row.limits[cell.upstream]}
        if refused:
            return self.judged_refusal(cell, outcome, heard, refused)
        assert "error" not in outcome, f"error: {outcome.get('error')}"
        assert len(heard) == 1, f"the upstream was asked {len(heard)} times"
        dropped = self.by_verdict(cell, row, "dropped")
        told = outcome["headers"].get("x-metallm-dropped")
        if outcome["headers"]:
            told = {t.strip() for t in told.split(",")} if told else set()
            assert told == dropped, f"x-metallm-dropped: {sorted(told)}, not {sorted(dropped)}"
        if cell.surface == "completions" and outcome["final"] is None:
            outcome["final"] = clients.completion_final(outcome["events"])  # Node's has no helper
        said = matrix.through_upstream(scripts.SCRIPTS[row.script], cell.upstream,
                                       heard[0].asked["kind"])
        matrix.check_answer(cell.surface, said, outcome, row, matrix.EXTRAS | (
            set() if "sent" in outcome else matrix.NODE_EXTRAS))
        matrix.check_heard(heard[0].asked, row, cell.surface, cell.upstream, mark, dropped)
        if self.way(cell) == "as bytes" and not job["stream"] and "sent" in outcome:
            self.check_bytes(cell, fake, outcome, heard[0])
        return f"pass, without {' and '.join(sorted(dropped))}" if dropped else "pass"

    def check_bytes(self, cell, fake, outcome, heard):
        """Where both sides speak the same, nothing changes but the model's name."""
        came, wanted = heard.seen.body.decode(), re.sub(
            rf'"model":( ?)"{cell.upstream}"', rf'"model":\1"{fake.model}"', outcome["sent"], count=1)
        assert came == wanted, f"bytes were changed: {came[:300]}, not {wanted[:300]}"
        assert outcome["came"] == heard.told, f"the answer's bytes were changed: {outcome['came']}"
        version = heard.seen.header("anthropic-version")
        assert cell.surface != "messages" or version == outcome["version"], f"version {version}"

    def judged_refusal(self, cell, outcome, heard, refused):
        error = outcome.get("error")
        assert error, f"not refused, although docs/protocols.md says so of {sorted(refused)}"
        assert not heard, "refused, but the upstream was asked"
        assert (error["class"], error["status"]) == ("BadRequestError", 400), error
        named = [f for f in refused if f in error["message"]]
        assert named, f"the refusal does not name {sorted(refused)}: {error['message']}"
        return "refused: " + " and ".join(sorted(refused))

    def judged_failure(self, cell, outcome, status):
        error = outcome.get("error")
        assert error, "no error came of it"
        name, wanted = FAILURES[status]
        assert (error["class"], error["status"]) == (name, wanted), error
        if status == 400:
            assert "told to fail" in error["message"], error
        text = json.dumps(error)
        assert "sk-upstream" not in text and "127.0.0.1" not in text, error
        self.check_error_shape(cell, error)
        return f"{name}"

    def check_error_shape(self, cell, error):
        body = error["body"]
        if cell.surface == "messages":
            assert body["type"] == "error" and set(body["error"]) >= {"type", "message"}, error
            kinds = {400: "invalid_request_error", 429: "rate_limit_error"}
            assert body["error"]["type"] == kinds.get(error["status"], "api_error"), error
        else:
            assert set(body) >= {"message", "type", "param", "code"}, error

    def judged_broken(self, cell, outcome):
        error = outcome.get("error")
        kinds = [e.get("type") for e in outcome["events"]]
        is_told = error or (cell.surface == "responses" and kinds and kinds[-1] in (
            "error", "response.failed"))
        assert is_told, f"the break was not told: {outcome['events'][-2:]}"
        if error:
            assert "stack" not in error, error
        assert any("Vienna" in json.dumps(e) for e in outcome["events"]), "what came before is lost"
        assert not set(kinds) & {"message_stop", "response.completed"}, "an end was told"
        return "pass"

    def judged_vectors(self, cell, job, outcome, params):
        fake, way = self.fake_of(cell, job), self.way(cell)
        heard = fake.of(job["id"])
        inputs = params["input"] if isinstance(params["input"], list) else [params["input"]]
        if way == "no":
            error = outcome.get("error")
            assert error and error["status"] in (400, 404), outcome
            assert not heard, "the upstream was asked"
            return "refused: no embeddings"
        if cell.upstream == "bedrock-invoke" and len(inputs) > 1:
            error = outcome.get("error")
            assert error and error["class"] == "BadRequestError" and not heard, outcome
            return "refused: one text at a time"
        assert "error" not in outcome, outcome["error"]
        final = outcome.get("parsed") or outcome["final"]
        assert [d["index"] for d in final["data"]] == list(range(len(inputs))), final
        for i, told in enumerate(final["data"]):
            vector = told["embedding"]
            if isinstance(vector, str):
                vector = matrix.floats(vector)
            assert len(vector) == params.get("dimensions", len(vector)), len(vector)
            assert vector[:3] == [0.25, -0.5, float(i)], vector[:3]
        asked = heard[0].asked
        wanted = json.loads(json.dumps(inputs).replace("@@", job["id"]))
        assert asked["inputs"] == wanted, f"inputs {asked['inputs']}"
        assert asked["options"].get("dimensions") == params.get("dimensions"), asked["options"]
        assert final["usage"]["prompt_tokens"] > 0, final["usage"]
        told = outcome["headers"].get("x-metallm-dropped")
        return f"pass, without {told}" if told else "pass"

    def judged_count(self, cell, job, outcome, row):
        refused = self.by_verdict(cell, row, "refused")
        if outcome.get("error") and refused:
            return self.judged_refusal(cell, outcome, [], refused)
        assert "error" not in outcome, outcome["error"]
        tokens = outcome["final"]["input_tokens"]
        if self.way(cell) == "as bytes":
            assert tokens == scripts.SCRIPTS["text"].input, tokens
            return "pass"
        assert self.way(cell) == "estimated", self.way(cell)
        assert 8 <= tokens < 5000, tokens
        return "estimated"

    # The matrix.

    def test_matrix(self):
        self.ask_rows()
        self.ask_failures()
        self.ask_embeddings()
        self.ask_counts()
        outcomes = self.run_trials(list(self.trials.values()))
        for name, outcome in outcomes.items():
            self.judge(name, outcome)
        self.give_back(outcomes)
        self.live_streams()
        problems = [f"{c.table} over {c.upstream}: {c.name}: {p}" for c in self.cells.values()
                    for p in c.problems or (
                        [f"its trials differ: {sorted(c.verdicts)}"] if len(c.verdicts) > 1 else [])]
        self.report(problems)
        if node_environment() is not None:
            self.check_page()

    def report(self, problems):
        where = os.environ.get("METALLM_PROBLEMS")  # a file for all of them
        if where:
            with open(where, "w", encoding="utf-8") as out:
                out.write("\n".join(problems))
        faults = {f for u in self.upstreams for f in u.faults}
        self.assertEqual(problems[:12], [], f"{len(problems)} problems of {len(self.cells)} cells; "
                         f"and {len(faults)} faults, as {list(faults)[:3]}")

    def check_page(self):
        made = page.page(self.cells.values(), UPSTREAMS, PATHS)
        path = ROOT / "docs/conformance.md"
        if os.environ.get("METALLM_WRITE"):
            path.write_text(made, encoding="utf-8")
        self.assertEqual(path.read_text(encoding="utf-8"), made,
                         "docs/conformance.md is not what the run found; METALLM_WRITE=1 writes it")

    # Reasoning that a client gives back reaches the LLM that made it with its seal.

    def give_back(self, outcomes):
        first = list(self.trials.items())
        made = []
        for name, (cell, client, job, more) in first:
            row = more.get("row")
            if row is None or row.name != "reasoning and tool call" or "error" in outcomes[name] \
                    or cell.problems or cell.surface == "completions" \
                    or not outcomes[name].get("final") or self.by_verdict(cell, row, "refused"):
                continue
            params = matrix.given_back(cell.surface, job["params"], outcomes[name]["final"])
            back = self.cell(cell.table, "reasoning given back", cell.surface, cell.upstream)
            self.trial(back, client, job["stream"], params)
            made.append((list(self.trials)[-1], back))
        found = self.run_trials([self.trials[name] for name, _ in made])
        for name, back in made:
            try:
                assert "error" not in found[name], found[name]["error"]
                heard = self.fake_of(back, self.trials[name][2]).of(name)
                matrix.check_given_back(heard[-1].asked, back.upstream)
                back.add("pass")
            except (AssertionError, IndexError) as error:
                back.fail(f"{type(error).__name__}: {error}")

    # Streams as they are made: by Python's client, which shares the upstream's process.

    def live_streams(self):
        for script, name in (("wait", "pieces come as they are made"),
                             ("hang", "a client that hangs up ends the call")):
            jobs = []
            for surface in SURFACES:
                for upstream in UPSTREAMS:
                    cell = self.cell(surface, name, surface, upstream)
                    jobs.append(self.trial(cell, "python", True,
                                           self.plain(surface, upstream, script)))
            late = {}

            def on_event(job, event, script=script, late=late):
                if "Vienna" not in json.dumps(event):
                    return False
                heard = self.fakes[job["params"]["model"]].of(job["id"])[0]
                late.setdefault(job["id"], time.monotonic() - heard.seen.time)
                heard.go.set()
                return script == "hang"
            outcomes = clients.run_all(self.base, jobs, on_event, timeout=60 * SLOW)
            for job in jobs:
                self.judge_live(job, outcomes[job["id"]], script, late)
        self.slow_readers()

    def judge_live(self, job, outcome, script, late):
        cell = self.trials[job["id"]][0]
        heard = self.fake_of(cell, job).of(job["id"])
        try:
            assert "error" not in outcome, outcome.get("error")
            assert late.get(job["id"], 99) < 5 * SLOW, "the first piece came with the last"
            if script == "hang":
                wait_for(lambda: heard[0].gone, 10, "the call's end")
            cell.add("pass")
        except (AssertionError, IndexError) as error:
            cell.fail(f"{type(error).__name__}: {error}")

    def slow_readers(self):
        """Clients that read nothing: their upstreams are paused, and go on for nobody else."""
        open_ones, before, room = [], self.metallm.resident_kb(), kernel_room()
        for surface in SURFACES:
            for upstream in UPSTREAMS:
                cell = self.cell(surface, "an upstream waits for a slow client", surface, upstream)
                job = self.trial(cell, "python", True, self.plain(surface, upstream, "endless"))
                params = {**job["params"], "stream": True}
                connection = self.metallm.connect()
                connection.sock = socket.socket()
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
                connection.sock.connect(("127.0.0.1", self.metallm.port))
                connection.request("POST", PATHS[surface], json.dumps(params),
                                   {"Content-Type": "application/json",
                                    "anthropic-version": "2023-06-01"})
                open_ones.append((cell, job, connection))
        for cell, job, connection in open_ones:
            try:
                held = self.metallm.resident_kb() - before
                # Responses tell the whole text again at their end, which must be kept.
                assert held < (96 << 10) * SLOW, f"the gateway holds {held} KB more"
                heard = wait_for(lambda c=cell, j=job: self.fake_of(c, j).of(j["id"]), 10,
                                 "the call")[0]
                wait_for(lambda h=heard: self.stands_still(h), 20, "a pause")
                assert heard.sent < room, f"{heard.sent} bytes were taken"
                connection.close()
                wait_for(lambda h=heard: h.gone, 10, "the call's end")
                cell.add("pass")
            except AssertionError as error:
                cell.fail(str(error))
            finally:
                connection.close()

    def stands_still(self, heard):
        before = heard.sent
        time.sleep(0.1)
        return before > 0 and heard.sent == before

    # Errors of the gateway itself, by the SDKs' classes.

    def test_the_gateways_own_errors(self):
        base = f"{self.base}/v1"
        theirs = openai.OpenAI(base_url=base, api_key="k", max_retries=0)
        claude = anthropic.Anthropic(base_url=self.base, api_key="k", max_retries=0)
        turns = [{"role": "user", "content": "Hi"}]
        for call, kind in (
                (lambda: theirs.chat.completions.create(model="none", messages=turns),
                 openai.NotFoundError),
                (lambda: theirs.responses.create(model="none", input="Hi"), openai.NotFoundError),
                (lambda: theirs.responses.create(model="openai", input=[{"role": "x"}]),
                 openai.BadRequestError),
                (lambda: claude.messages.create(model="none", max_tokens=9, messages=turns),
                 anthropic.NotFoundError),
                (lambda: claude.messages.create(model="gemini", max_tokens=9, messages="x"),
                 anthropic.BadRequestError),
                (lambda: claude.messages.create(model="gemini", max_tokens=0, messages=turns),
                 anthropic.BadRequestError)):
            with self.assertRaises(kind) as caught:
                call()
            if isinstance(caught.exception, anthropic.APIError):
                self.assertEqual(caught.exception.body["type"], "error")


if __name__ == "__main__":
    unittest.main()
