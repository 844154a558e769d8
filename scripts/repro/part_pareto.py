# SPDX-License-Identifier: Apache-2.0
"""ParetoBandit's four experiments, beside the package itself: budget pacing, price drift, quality
collapse, onboarding."""
import json

import svg
import traces
from tables import Page, cell, interval, mean, mean_interval, money
from tool import run_peer

LLAMA, MISTRAL, GEMINI = ("meta-llama/llama-3.1-8b-instruct", "mistralai/mistral-large-2512",
                          "google/gemini-2.5-pro")
ARMS = [LLAMA, MISTRAL, GEMINI]
BUDGETS = [8.3e-5, 2.3e-4, 3.0e-4, 6.6e-4, 1.9e-3, 5.3e-3]
THREE = {"tight": 3.0e-4, "moderate": 6.6e-4, "loose": 1.9e-3}
SEEDS = list(range(42, 52))
CHANGE, BACK = 608, 1216  # steps: three phases of 608 of the hold-out's 1,824 queries
PRICE_CUT = 0.2 / 11.25   # the package's own: both of Gemini's prices to 0.10 dollars a million tokens
COLLAPSED = 0.75          # the package's own: the score of every answer of Mistral's

SCENARIOS = {
    "price": [{"step": CHANGE, "what": "price", "model": GEMINI, "factor": PRICE_CUT},
              {"step": BACK, "what": "price", "model": GEMINI, "factor": 1.0}],
    "quality": [{"step": CHANGE, "what": "quality", "model": MISTRAL, "score": COLLAPSED},
                {"step": BACK, "what": "quality", "model": MISTRAL, "score": None}],
    "arrival": [{"step": CHANGE, "what": "arrive", "model": MISTRAL}],
}


def event_line(e):
    """A line of `replay --events`."""
    if e["what"] == "price":
        factor = e["factor"] if e["step"] == CHANGE else 1 / PRICE_CUT  # of the price until then
        return {"step": e["step"], "what": "price", "model": e["model"], "factor": factor}
    if e["what"] == "quality" and e["score"] is None:
        return {"step": e["step"], "what": "restore", "model": e["model"]}
    if e["what"] == "quality":
        return {"step": e["step"], "what": "quality", "model": e["model"], "score": e["score"]}
    return {"step": e["step"], "what": "arrive", "model": e["model"], "prior": "none"}


class Ours:
    def __init__(self, context):
        self.tool, self.work = context.tool, context.work
        self.set = context.sets["paretobandit"]
        self.store = context.store(self.set)
        self.router = context.router(self.set)
        self.seeds = context.some(SEEDS)

    def run(self, name, budget, events):
        """Ten traces."""
        path = self.work / f"events-{name}.jsonl"
        path.write_text("".join(json.dumps(event_line(e)) + "\n" for e in events), encoding="utf-8")
        found = []
        for seed in self.seeds:
            call = ["replay", self.router, *self.store, "--split", "test", "--budget", budget,
                    "--seed", seed, "--log", "@"]
            depends = [self.router]
            if events:
                call += ["--events", path]
                depends.append(path)
            log = self.tool.file("log.jsonl", *call, depends=depends)
            found.append(traces.from_log(log))
        return found


def peer_jobs(context):
    seeds = context.some(SEEDS)
    jobs = [{"name": f"budget {b:g}", "budget": b, "seeds": seeds, "arms": ARMS, "events": []}
            for b in BUDGETS]
    for name, events in SCENARIOS.items():
        arms = [a for a in ARMS if not (name == "arrival" and a == MISTRAL)]
        jobs += [{"name": f"{name} {b:g}", "budget": b, "seeds": seeds, "arms": arms, "events": events}
                 for b in THREE.values()]
    data = context.sets["paretobandit"]
    texts, vectors = context.embeddings(data)
    return {"train": str(data.train), "holdout": str(data.test), "texts": str(texts),
            "vectors": str(vectors), "jobs": jobs}


def static_mix(rows, budget):
    """Quality of the best mix of two models (or one) whose mean cost is the budget."""
    points = [(mean(r["arms"][a]["cost"] for r in rows), mean(r["arms"][a]["reward"] for r in rows))
              for a in ARMS]
    best = max((q for c, q in points if c <= budget), default=float("nan"))
    for c1, q1 in points:
        for c2, q2 in points:
            if c1 < budget < c2:
                best = max(best, q1 + (q2 - q1) * (budget - c1) / (c2 - c1))
    return best


def oracle_mix(rows, budget):
    """Quality of the choice that knows every score, at this mean cost: argmax of score - price * cost."""
    def at(price):
        got = [max(((a["reward"] - price * a["cost"], -a["cost"], a["reward"]) for a in r["arms"].values()))
               for r in rows]
        return mean(q for _, _, q in got), mean(-c for _, c, _ in got)

    low, high = 0.0, 1e6
    if at(0.0)[1] <= budget:
        return at(0.0)[0]
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if at(middle)[1] > budget else (low, middle)
    return at(high)[0]


def used(found, budget):
    return mean(mean(t.cost) for t in found) / budget


def budgets(page, ours, peer, rows):
    page.head("Budget pacing")
    page.text(
        f"Mean score of {len(rows):,} hold-out queries answered within a budget of so many dollars a "
        f"request; {len(ours.seeds)} orders, 95 % intervals over orders. *mix*: the best mix of one or two LLMs "
        "that does not look at the query; *oracle*: knows every score. *used*: share of the budget spent.")
    table, numbers = [], []
    for b in BUDGETS:
        mine = ours.run("none", b, [])
        other = [traces.from_peer(r) for r in peer[f"budget {b:g}"]] if peer else None
        q = traces.whole(mine)[0]
        row = [money(b), static_mix(rows, b), interval(*q), used(mine, b)]
        number = [b, static_mix(rows, b), *q, used(mine, b)]
        if other:
            p = traces.whole(other)[0]
            row += [interval(*p), used(other, b)]
            number += [*p, used(other, b)]
        else:
            row += ["-", "-"]
            number += [None] * 4
        row.append(oracle_mix(rows, b))
        number.append(row[-1])
        table.append(row)
        numbers.append(number)
    page.table(["dollars a request", "mix", "metallm", "used", "ParetoBandit", "used", "oracle"], table)
    page.csv("budgets", ["budget_usd", "mix", "metallm", "metallm_low", "metallm_high", "metallm_used",
                         "paretobandit", "paretobandit_low", "paretobandit_high", "paretobandit_used",
                         "oracle"], numbers)
    series = [{"name": "metallm", "x": BUDGETS, "y": [n[2] for n in numbers], "low": [n[3] for n in numbers],
               "high": [n[4] for n in numbers]},
              {"name": "mix of LLMs", "x": BUDGETS, "y": [n[1] for n in numbers], "dashed": True},
              {"name": "oracle", "x": BUDGETS, "y": [n[10] for n in numbers], "dashed": True}]
    if peer:
        series.insert(1, {"name": "ParetoBandit 0.1.1", "x": BUDGETS, "y": [n[6] for n in numbers],
                          "low": [n[7] for n in numbers], "high": [n[8] for n in numbers]})
    page.figure("budgets", svg.line_plot("Quality within a budget", "budget, dollars a request", "mean score",
                                         series, is_log_x=True),
                "Mean score on the hold-out within a budget; bands: 95 % over orders.")


PHASES = [(0, CHANGE), (CHANGE, BACK), (BACK, 1824)]


def steps_text(v):
    return "not" if v is None else str(v)


def changes(page, ours, peer, name, title, model, text):
    page.head(title)
    page.text(text)
    table, numbers, series = [], [], []
    for label, budget in THREE.items():
        sides = [("metallm", ours.run(name, budget, SCENARIOS[name]))]
        if peer:
            sides.append(("ParetoBandit", [traces.from_peer(r) for r in peer[f"{name} {budget:g}"]]))
        for who, found in sides:
            shares = traces.share_at(found, model)
            phases = [traces.phase_means(found, a, b) for a, b in PHASES]
            settled = [traces.settled_after(shares, a, b) for a, b in PHASES[1:]]
            table.append([f"{label} ({money(budget)})", who, *[q[0] for q, _ in phases],
                          *[c / budget for _, c in phases], *[mean(shares[a:b]) for a, b in PHASES],
                          *map(steps_text, settled)])
            numbers.append([budget, who, *[v for q, _ in phases for v in q], *[c / budget for _, c in phases],
                            *[mean(shares[a:b]) for a, b in PHASES], *settled])
            smooth = traces.moving(shares)
            series.append({"name": f"{who}, {label}", "x": list(range(0, len(smooth), 8)), "y": smooth[::8],
                           "dashed": who != "metallm", "colour": svg.COLOURS[list(THREE).index(label)]})
    page.table(["budget", "router", "score 1", "score 2", "score 3", "used 1", "used 2", "used 3", "share 1",
                "share 2", "share 3", "settled 2", "settled 3"], table, 3)
    page.csv(name, ["budget_usd", "router", *[f"score{i}{s}" for i in (1, 2, 3) for s in ("", "_low", "_high")],
                    "used1", "used2", "used3", "share1", "share2", "share3", "settled2", "settled3"], numbers)
    page.figure(name, svg.line_plot(f"Share of {model}", "query", f"share of the next {traces.WINDOW} queries",
                                    series, marks=[(CHANGE, "change"), (BACK, "back")]),
                f"Share of the queries that go to {model}: means over {len(ours.seeds)} orders.")


def arrivals(page, ours, peer):
    page.head("A newcomer")
    page.text(
        f"The stream begins with {LLAMA} and {GEMINI}; {MISTRAL} appears at query {CHANGE}, with nothing known "
        "of it but its price. *adopted after*: queries until it holds 10 % of the traffic for good (a moving "
        f"window of {traces.WINDOW}, held for {traces.WINDOW} more; the package's definition); mean over the "
        "orders in which it is, and in how many. The package gives a newcomer its first 20 queries without "
        "asking what it is worth; metallm explores it within a share of the traffic and of the budget. The "
        "package's own experiment brings in a fourth LLM (Gemini 2.5 Flash) whose hold-out outcomes are not "
        "published: not to be had here.")
    table, numbers = [], []
    for label, budget in THREE.items():
        sides = [("metallm", ours.run("arrival", budget, SCENARIOS["arrival"]))]
        if peer:
            sides.append(("ParetoBandit", [traces.from_peer(r) for r in peer[f"arrival {budget:g}"]]))
        for who, found in sides:
            after = [traces.adopted_after(t, MISTRAL, CHANGE) for t in found]
            adopted = [a for a in after if a is not None]
            q1, c1 = traces.phase_means(found, 0, CHANGE)
            q2, c2 = traces.phase_means(found, CHANGE, 1824)
            share = mean(traces.share_at(found, MISTRAL)[CHANGE:])
            table.append([f"{label} ({money(budget)})", who, interval(*q1, 3), interval(*q2, 3), c1 / budget,
                          c2 / budget, share, cell(mean(adopted), 0) if adopted else "-",
                          f"{len(adopted)} of {len(found)}"])
            numbers.append([budget, who, *q1, *q2, c1 / budget, c2 / budget, share,
                            mean(adopted) if adopted else None, len(adopted), len(found)])
    page.table(["budget", "router", "score before", "score after", "used before", "used after",
                "newcomer's share", "adopted after", "in"], table, 3)
    page.csv("arrival", ["budget_usd", "router", "before", "before_low", "before_high", "after", "after_low",
                         "after_high", "used_before", "used_after", "share", "adopted_after", "adopted_runs",
                         "runs"], numbers)


def run(context):
    page = Page(context.results, "paretobandit", "ParetoBandit's experiments, beside the package")
    data = context.sets["paretobandit"]
    if data is None:
        page.text("Left out: the package's outcomes were not in the cache when this page was made.")
        page.save()
        return
    with open(data.test, encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream if line.strip()]
    ours = Ours(context)
    peer = run_peer(context.cache, context.work, peer_jobs(context))
    page.text(
        "Recorded: prompts, scores and dollars of three LLMs (the package's `val.jsonl` and "
        "`test_holdout.jsonl`). Simulated: the order of the queries, and the changes, which are the package's "
        "own. `metallm` is trained on the validation split with all LLMs' outcomes, then replayed on the "
        "hold-out, where it sees only the chosen LLM's. `paretobandit` 0.1.1 runs by its own protocol: priors "
        "fitted on its 8,374 training prompts (not published; shipped as matrices), an online pass over the "
        "validation split, then the hold-out. Both read all-MiniLM-L6-v2 embeddings of the prompt; metallm adds "
        "features of the text.",
        "Every figure of both sides comes from their traces by the same code (`scripts/repro/traces.py`).")
    if peer is None:
        page.text("The package could not be had when this page was made: its columns are empty.")
    budgets(page, ours, peer, rows)
    changes(page, ours, peer, "price", "Price drift", GEMINI,
            f"Between queries {CHANGE} and {BACK}, {GEMINI} costs {PRICE_CUT:.4f} of its price; both routers "
            "are told of the change. Scores, shares of the budget used and shares of the traffic in the three "
            "phases; *settled*: queries after the change until that model's share (mean over orders, moving "
            f"window of {traces.WINDOW}) stays within {traces.NEAR} of where the phase ends.")
    changes(page, ours, peer, "quality", "Quality collapse", MISTRAL,
            f"Between queries {CHANGE} and {BACK}, every answer of {MISTRAL} scores {COLLAPSED}; nobody is told. "
            "Columns as above.")
    arrivals(page, ours, peer)
    page.save()
