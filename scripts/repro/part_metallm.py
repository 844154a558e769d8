# SPDX-License-Identifier: Apache-2.0
"""MetaLLM (arXiv 2407.10834): routing as a contextual bandit along the price dial p."""
import data
import simulate
import svg
from tables import Page, cell, interval, money

DIALS = [0, 0.003, 0.01, 0.03, 0.1, 0.3, 1]
ORDERS = 3
MODES = (("offline", ["--offline", 0.6]), ("hybrid", ["--hybrid", 0.2]), ("online", ["--online"]))
HYBRID, ONLINE = MODES[1][1], MODES[2][1]
MIDDLE = {"paretobandit": 0.03}  # the dial of the learning curves and of the effects; 0.1 for the others
LINUCB = "linucb:alpha=1"
EFFECTS = (
    ("alpha", "--policy", "linucb:alpha={}", [0, 0.1, 0.3, 1, 3]),
    ("lambda", "--lambda", "{}", [0.01, 0.1, 1, 10, 100]),
    ("gamma", "--gamma", "{}", [0.99, 0.997, 0.999, 1]),
    ("axes of the embedding", "--axes", "{}", [4, 10, 25, 64]),
)


class Bandit:
    """`replay` of one set with MetaLLM's policy. table: of the static encoder."""

    def __init__(self, context, s, encoder, table=None):
        self.tool = context.tool
        encoder = ["--encoder", encoder, *(["--weights", table] if table else [])]
        self.router = context.router(s, "--estimator", "linear:lambda=30", *encoder)
        self.store = [*context.store(s), *encoder]

    def run(self, mode, dial, **options):
        call = {"--policy": LINUCB, "--lambda": 1, "--seeds": ORDERS, "--points": 20, **options}
        return self.tool.json("replay", self.router, *self.store, *mode, "--dial", dial,
                              *[x for option in call.items() for x in option if x is not None], "--json",
                              depends=[self.router])


def ci(result, field):
    low, high = result.get("ci", {}).get(field, [None, None])
    return result[field], low, high


def singles(page, evaluation):
    page.head("Each LLM, and the ends of the scale", 3)
    models = sorted(evaluation["models"], key=lambda m: m["cost"] or 0)
    best = max(models, key=lambda m: m["quality"])
    rows = []
    for m in models:
        note = " and ".join(t for t, o in (("best", best), ("dearest", models[-1])) if o is m)
        rows.append([m["name"], interval(m["quality"], *m["quality_ci"]), money(m["cost"] * 10000), note])
    for name, note in (("random", "an LLM drawn evenly"), ("oracle", "the cheapest of those with the highest score")):
        p = evaluation[name]
        rows.append([name, interval(p["quality"], *p["quality_ci"]), money(p["cost"] * 10000), note])
    page.text(f"On all {evaluation['n']:,} queries; intervals are 95 %, 1,000 bootstrap resamples of the queries, "
              "seed 1.")
    page.table(["", "accuracy", "dollars per 10,000 queries", ""], rows)
    return best


def modes(context, bandit, names, best):
    """Rows of the page and of the CSV file, shares of the LLMs by mode, and lines of the figure."""
    table, numbers, mixes, series = [], [], {}, []
    for mode, options in MODES:
        runs = [(p, bandit.run(options, p)) for p in context.some(DIALS)]
        for p, r in runs:
            table.append([mode, f"{p:g}", interval(*ci(r, "quality")), money(r["cost"] * 10000),
                          percent(r["cost"] / best["cost"])])
            numbers.append([mode, p, *ci(r, "quality"), r["cost"], *[r["share"].get(n, 0.0) for n in names]])
            mixes.setdefault(mode, []).append([r["share"].get(n, 0.0) for n in names])
        series.append({"name": f"MetaLLM {mode}", "x": [r["cost"] * 10000 for _, r in runs],
                       "y": [r["quality"] for _, r in runs]})
    return table, numbers, mixes, series


def percent(share):
    return f"{100 * share:.1f} %"


def along_p(page, context, s, bandit, held_out, best):
    page.head("MetaLLM along p", 3)
    page.text(
        f"Disjoint LinUCB (alpha 1, lambda 1, 25 axes), {ORDERS} orders of all rows (seeds 1 to {ORDERS}); 95 % "
        "intervals over orders. *offline*: 60 % of the rows seen whole (every LLM's outcome), measured on the rest "
        "without learning on. *hybrid*: 20 % seen whole, then online. *online*: nothing known at first and measured "
        "from "
        "the first query, so that it pays for its learning. *auto*: metallm's own estimator, fitted on the training "
        f"split, on the {held_out['n']:,} queries of the test split (intervals over queries), at dials of its curve. "
        "*of best*: dollars as a share of the best LLM's.")
    names = [m["name"] for m in held_out["models"]]
    table, numbers, mixes, series = modes(context, bandit, names, best)
    curve = held_out["curve"]
    for point in near(curve, DIALS):
        table.append(["auto", f"{point['dial']:.3g}", interval(point["quality"], *point["quality_ci"]),
                      money(point["cost"] * 10000), percent(point["cost"] / best["cost"])])
    page.table(["mode", "p", "accuracy", "dollars per 10,000 queries", "of best"], table)
    page.csv(f"{s.name}-along-p", ["mode", "p", "accuracy", "low", "high", "cost_usd", *names], numbers)
    series.append({"name": "auto", "x": [c["cost"] * 10000 for c in curve], "y": [c["quality"] for c in curve]})
    series.append({"name": "single LLMs", "x": [m["cost"] * 10000 for m in held_out["models"]],
                   "y": [m["quality"] for m in held_out["models"]], "points": True})
    page.figure(f"{s.name}-curve", svg.line_plot(f"{s.title}: accuracy and cost along p",
                                                 "dollars per 10,000 queries", "accuracy", series, is_log_x=True),
                "Accuracy against cost: MetaLLM's modes along p, metallm's own estimator, each LLM.")
    for mode in ("offline", "online"):
        page.figure(f"{s.name}-mix-{mode}", svg.share_plot(
            f"{s.title}: LLM mix along p ({mode})", "p (0 drawn at 0.001)", names,
            [max(p, 0.001) for p in context.some(DIALS)], mixes[mode], is_log_x=True),
            f"Which LLM answers, along p ({mode}); the numbers of every mode are in the file above.")


def near(curve, dials):
    """The points of a curve next to these dials, each once."""
    found = []
    for d in dials:
        point = min(curve, key=lambda c: (abs(c["dial"] - d), c["dial"]))
        if point not in found:
            found.append(point)
    return found


def learning(page, s, bandit, dial):
    page.head(f"Learning curves at p = {dial}", 3)
    reward, regret, numbers = [], [], []
    for mode, options in MODES[1:]:
        told = bandit.run(options, dial)
        curve = told["curve"]
        steps = [c["step"] for c in curve]
        low, high = ([c["ci"]["reward"][i] for c in curve] for i in (0, 1))
        reward.append({"name": mode, "x": steps, "y": [c["reward"] for c in curve], "low": low, "high": high})
        for name, field in (("oracle", "regret"), ("best policy", "regret_best_policy"),
                            ("best LLM", "regret_best_model")):
            regret.append({"name": f"{mode}: {name}", "x": steps, "y": [c[field] for c in curve],
                           "dashed": mode == "hybrid", "colour": svg.COLOURS[len(regret) % 3]})
        numbers += [[mode, c["step"], c["reward"], c["quality"], c["cost"], c["regret_best_model"],
                     c["regret_best_policy"], c["regret"]] for c in curve]
    for name, field in (("best LLM alone", "reward_best_model"), ("best fixed policy", "reward_best_policy")):
        reward.append({"name": name, "x": [0, told["n"]], "y": [told[field]] * 2, "dashed": True})
    page.csv(f"{s.name}-learning", ["mode", "step", "reward", "quality", "cost_usd", "regret_best_model",
                                    "regret_best_policy", "regret_oracle"], numbers)
    page.figure(f"{s.name}-learning", svg.line_plot(f"{s.title}: reward while learning", "query",
                                                    "mean reward since the last point", reward),
                f"Reward (accuracy less p times cost over the highest mean cost) as queries come: means over {ORDERS} "
                "orders, bands 95 % over orders.")
    page.figure(f"{s.name}-regret", svg.line_plot(f"{s.title}: regret while learning", "query", "regret so far",
                                                  regret),
                "Regret summed since the first query: to the oracle, to the best fixed policy on the linear estimates "
                "fitted offline, and to the best LLM alone.")


def embeddings(context, s, bandit):
    """The bandits of other embeddings, by what they are called."""
    found = {context.encoder: bandit}
    if context.encoder == "minilm":
        table = context.tool.file("static.bin", "distill", *context.store(s), "--split", "train", "-o", "@")
        found["static (word vectors distilled from MiniLM)"] = Bandit(context, s, "static", table)
    found["hash (words and letters; no model file)"] = Bandit(context, s, "hash")
    return found


def effects(page, context, s, bandit, dial):
    page.head(f"What alpha, lambda, gamma, dimension and embedding do (p = {dial})", 3)
    page.text("One at a time, the others as above. *regret*: a query, to the best fixed policy. Learning quality and "
              "cost apart and combining them, or learning the reward itself, is the same: ridge regression is "
              "linear in "
              "its target.")
    rows = []

    def add(what, value, who, **options):
        cells = []
        for mode in (ONLINE, HYBRID):
            r = who.run(mode, dial, **options)
            cells += [interval(*ci(r, "reward")), cell(r["quality"]), money(r["cost"] * 10000),
                      cell(r["regret_best_policy"])]
        rows.append([what, value, *cells])

    for what, option, form, values in EFFECTS:
        for v in context.some(values):
            add(what, f"{v:g}", bandit, **{option: form.format(v)})
    for name, who in embeddings(context, s, bandit).items():
        add("embedding", name, who)
    add("regression", "quality and cost apart", bandit)
    add("regression", "the reward itself (the paper's)", bandit, **{"--joint": None})
    page.table(["what", "value", *[f"{mode}: {c}" for mode in ("online", "hybrid")
                                   for c in ("reward", "accuracy", "dollars per 10,000", "regret")]], rows)


def simulated(context):
    folder = context.work / "data" / "sst2-simulated"
    files = simulate.write(folder, *([60, 60] if context.is_quick else []))
    return data.Set(
        "sst2-simulated", "SIMULATED LLMs: zero-shot sentiment, SST-2's shape, 4 LLMs",
        "**everything is simulated**: sentences from templates, four made-up LLMs at the paper's prices (0.0004, "
        "0.0005, "
        "0.0020 and 0.0200 dollars per 1,000 tokens), right or wrong by a made-up chance per kind of sentence "
        "(`scripts/repro/simulate.py`); 3,000 sentences to fit on, 3,000 to measure. The paper's own outcomes on SST-2 "
        "are not published: not to be had", files, *files, data.fingerprint(files))


def one_set(page, context, s):
    page.head(s.title)
    page.text(s.source[0].upper() + s.source[1:] + ".")
    bandit = Bandit(context, s, context.encoder)
    router, dial = context.router(s), MIDDLE.get(s.name, 0.1)
    call = ["evaluate", router, *context.store(s), "--json"]
    best = singles(page, context.tool.json(*call, depends=[router]))
    held_out = context.tool.json(*call, "--split", "test", depends=[router])
    along_p(page, context, s, bandit, held_out, best)
    learning(page, s, bandit, dial)
    effects(page, context, s, bandit, dial)


def run(context):
    page = Page(context.results, "metallm", "MetaLLM's experiments")
    page.text(
        "MetaLLM (arXiv 2407.10834) routes each query to the LLM of the highest upper confidence bound of the reward "
        "*a - p c*: accuracy less the dial times the price, as a share of the dearest LLM's mean. Its outcomes "
        "(SST-2 and "
        "MMLU, answered by OpenAI and Amazon Bedrock LLMs) are not published: not to be had. Its experiments are "
        "repeated here on the recorded outcomes of other LLMs, and once on simulated ones.",
        "Everything is made by `metallm train`, `evaluate` and `replay`. In `replay` a policy sees the outcome of the "
        "chosen LLM alone; the learned part of a query is its embedding's principal axes and an intercept. "
        + context.encoder_note())
    names = ["routellm_mmlu", "routerbench", "paretobandit"]
    absent = data.missing(context.sets, names)
    if absent:
        page.text(f"Left out, since these outcomes were not there when this page was made: {', '.join(absent)}.")
    for name in names:
        if context.sets[name]:
            one_set(page, context, context.sets[name])
    one_set(page, context, simulated(context))
    page.save()
