# SPDX-License-Identifier: Apache-2.0
"""What the paper leaves out, and its experiments on one benchmark: sensitivity to its constants, the
benchmark's size, other predictors, small LLMs against a big one, routing query by query."""
import csv
import hashlib
import json
import random

import svg
from rules import bootstrap, pearson
from tables import interval, mean, mean_interval

SIZES = [500, 1000, 2000, 5000, 20000]
TASKS = [10, 20, 40]
DRAWS = 5  # random choices of tasks
CONSTANTS = (
    ("Neighbours k behind S1, S2 and S3", "k", "--neighbours", [1, 3, 5, 10, 20, 50, 100]),
    ("Neighbours kappa in the distance u", "kappa", "--nearest", [1, 5, 10, 19, 50, 100]),
    ("Width of S3's kernel over distances", "width", "--width", [0.003, 0.01, 0.03, 0.09, 0.3, 1]),
    ("Certainty eta below which S3 falls back to BMA", "eta", "--sure", [0.5, 0.6, 0.7, 0.8, 0.9]),
)
PAPER = (("BMA", "bma"), ("S1", "s1-k5"), ("S2", "s2-k5"), ("S3, no way back", "s3-plain"), ("S3", "s3"),
         ("S3, true p", "s3-true-p-k5"))
GROUPS = 10  # of tasks, left out together where an estimator is fitted
ESTIMATORS = ("linear:lambda=30", "logistic:l2=3", "mlp", "auto")
SMALL = ("gemma-2-9b-it", "codegemma-7b", "qwen2.5-7b-instruct", "llama3-chatqa-1.5-8b",
         "mistral-7b-instruct-v0.3", "llama-3.1-8b-instruct")


def sensitivity(page, bench):
    page.head(f"Sensitivity to the constants: {bench.title}")
    page.text("One constant at a time, the others as in the paper. Mean true score of the choice.")
    for what, column, option, values in CONSTANTS:
        rows = []
        for v in bench.context.some(values):
            t = bench.trials(option, f"{v:g}")
            rows.append([f"{v:g}", *[t.quality(r) for _, r in PAPER], t.accuracy(), t.p_error("s3-plain")])
        page.text(f"{what}:")
        page.table([column, *[c for c, _ in PAPER], "accuracy of gbar", "error of p"], rows)


def size(page, bench):
    page.head(f"The benchmark's size: {bench.title}")
    rows = []
    for n in bench.context.some(SIZES):
        t = bench.trials("--library", n)
        rows.append([t.result["n"], len(t.trials), *[t.quality(r) for _, r in PAPER], t.accuracy()])
    page.text("Fewer samples of every task, drawn evenly; the task left out is as small as the others" +
              (", and clusters are made anew of the samples that are kept:" if bench.is_clustered else ":"))
    page.table(["samples", "tasks", *[c for c, _ in PAPER], "accuracy of gbar"], rows)
    page.csv(f"{bench.name}-size", ["samples", "tasks", "bma", "s1", "s2", "s3_plain", "s3", "s3_true_p", "accuracy"],
             rows)
    page.figure(f"{bench.name}-size", svg.line_plot(
        f"{bench.title}: the benchmark's size", "samples", "true score of the choice",
        [{"name": c, "x": [r[0] for r in rows], "y": [r[2 + i] for r in rows]} for i, (c, _) in enumerate(PAPER)],
        is_log_x=True), "True score of the chosen LLM against the number of samples known.")


def clusterings(page, benches):
    page.head("Other clusterings")
    page.text(f"Where clusters stand for tasks, the choice of clusters matters: means over {DRAWS} clusterings "
              f"(k-means "
              f"seeds 1 to {DRAWS}) and their 95 % intervals (Student's t).")
    rules = [*PAPER, ("S1, k 20", "s1-k20"), ("by centres", "centres")]
    rows = []
    for bench in benches:
        found = [bench.trials("--seed", seed) for seed in range(1, DRAWS + 1)]
        cells = [interval(*mean_interval(t.quality(r) for t in found)) for _, r in rules]
        rows.append([bench.title, *cells, mean(mean(t.values(lambda x: x["pick"])) for t in found),
                     mean(mean(t.values(t.best)) for t in found)])
    page.table(["benchmark", *[c for c, _ in rules], "metallm's choice", "oracle"], rows)


def fewer_tasks(page, bench):
    files = bench.set.files
    counts = [n for n in TASKS if n < len(files)]
    if not counts:
        return
    page.text(f"Fewer tasks: {DRAWS} random choices of each number (seeds 1 to {DRAWS}), means; *gain*: over the "
              f"BMA of "
              "the same choice of tasks.")
    rows = []
    for n in bench.context.some(counts):
        found = [bench.trials(files=chosen_files(files, n, seed)) for seed in range(1, DRAWS + 1)]
        gain = [mean(t.quality(r) - t.quality("bma") for t in found) for _, r in PAPER[1:]]
        rows.append([n, mean(t.quality("bma") for t in found), *gain])
    page.table(["tasks", "BMA", *[f"gain of {c}" for c, _ in PAPER[1:]]], rows)


def chosen_files(files, count, seed):
    """A random choice of files, in their own order."""
    chosen = set(random.Random(seed).sample(range(len(files)), count))
    return [f for i, f in enumerate(files) if i in chosen]


def prompts(context, paths):
    """A file with a line {"prompt"} for each row of these tables, and how many rows each has."""
    counts, lines = [], []
    for path in paths:
        with open(path, encoding="utf-8", newline="") as stream:
            found = [json.dumps({"prompt": row["prompt"]}) for row in csv.DictReader(stream)]
        counts.append(len(found))
        lines += found
    text = "".join(line + "\n" for line in lines)
    out = context.work / "files" / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}-prompts.jsonl"
    out.write_text(text, encoding="utf-8")
    return out, counts


def estimates(bench, estimator):
    """{task: {LLM: its mean estimate}}, each by a router that has seen nothing of the task's group."""
    context, s = bench.context, bench.set
    out = {}
    for group in (s.files[g::GROUPS] for g in range(min(GROUPS, len(s.files)))):
        rest = [f for f in s.files if f not in group]
        context.say(f"training without {len(group)} tasks: {estimator}")
        router = context.tool.file("router.safetensors", "train", *rest, *context.store(s), "--prices", s.prices,
                                   "--encoder", context.encoder, "--estimator", estimator, "--folds", 3, "-o", "@")
        source, counts = prompts(context, group)
        told = context.tool.stream("estimates.jsonl", source, "route", router, "--json", depends=[router])
        with open(told, encoding="utf-8") as stream:
            for path, count in zip(group, counts):
                rows = [json.loads(next(stream))["estimates"] for _ in range(count)]
                out[path.stem] = {e["model"]: mean(r[i]["quality"] for r in rows) for i, e in enumerate(rows[0])}
    return out


def other_predictors(page, bench, tied):
    page.head("S1 by other predictors than kNN: MMLU")
    page.text(f"S1 with the router's own estimators in place of kNN (mean of the estimates of `metallm route`); "
              f"fitted {GROUPS} "
              f"times, each time without a tenth of the tasks, so on a little less than the rules above. *r*: over "
              f"tasks, "
              "the correlation of the estimated difference of the two LLMs with the true one.")
    plain, tie = bench.trials(), tied.trials()
    rows = [[f"kNN, k = {k}", by_rule(plain, f"s1-k{k}"), by_rule(tie, f"s1-k{k}"), plain.differences(f"s1-k{k}")]
            for k in (5, 20)]
    for estimator in bench.context.some(ESTIMATORS):
        told = estimates(bench, estimator)
        score = {t["task"]: [told[t["task"]][m] for m in plain.models] for t in plain.trials}
        r = pearson([score[t["task"]][1] - score[t["task"]][0] for t in plain.trials],
                    [t["truth"][1] - t["truth"][0] for t in plain.trials])
        rows.append([estimator, by_score(plain, score), by_score(tie, score), r])
    page.table(["predictor", "true score of the choice", "with the tie", "r"], rows)


def by_rule(trials, rule):
    values = trials.rule(rule)
    return interval(mean(values), *bootstrap(values))


def by_score(trials, score):
    values = trials.values(lambda t: max(trials.known(t), key=lambda m: score[t["task"]][m] - trials.penalty[m]))
    return interval(mean(values), *bootstrap(values))


def small_against_big(page, bench):
    page.head(f"Small LLMs against a big one, with a few labels: {bench.title}")
    whole = bench.trials()
    small = [i for i, n in enumerate(whole.models) if n in SMALL]
    big = [i for i in range(len(whole.models)) if i not in small]
    if len(small) != len(SMALL) or not big:
        page.text("The set's LLMs are not those expected: left out.")
        return
    page.text("Scores recorded. One of the six small LLMs (7 to 9 billion parameters) is chosen for each task; the "
              "big ones have 49 to 70 billion. *best big*, *best small*: on average over tasks, known afterwards.")
    rows = []
    for n in [0, *bench.context.some([5, 10, 20, 50])]:
        t = bench.trials(labels=n) if n else whole
        tasks = t.labelled() if n else t.trials
        field = "rest" if n else "truth"
        def score(x, n=n):
            return x["labelled"] if n else x["rules"]["s1-k20"]["score"]
        chosen = [x[field][max(small, key=lambda m, x=x: score(x)[m])] for x in tasks]
        averages = [mean(x[field][m] for x in tasks) for m in range(len(t.models))]
        best_big = max(big, key=lambda m: averages[m])
        behind = [a - x[field][best_big] for a, x in zip(chosen, tasks)]
        rows.append([n, len(tasks), interval(mean(chosen), *bootstrap(chosen)),
                     interval(mean(behind), *bootstrap(behind)), max(averages[m] for m in small),
                     mean(max(x[field][m] for m in small) for x in tasks), averages[best_big]])
    page.table(["labels", "tasks", "small LLM chosen by S1 and labels", "above the best big LLM", "best small LLM",
                "best small LLM of each task", "best big LLM"], rows)


def per_query(page, context):
    page.head("Query by query")
    page.text("Each query gets the LLM of the highest estimate for it. The paper's predictor (kNN, k = 5, unweighted) "
              "beside others; all are calibrated on the training split, which also breaks ties towards the LLM that is "
              "better on average, as the paper's small bonus does. Mean score at dial 0 on each set's test split; "
              "intervals are 95 %, 1,000 bootstrap resamples of the queries, seed 1.")
    rows = []
    for name in ("routellm_mmlu", "routerbench", "routerdc", "ulab", "paretobandit"):
        s = context.sets[name]
        if s is None:
            continue
        cells = []
        for estimator in ("knn:k=5,weight=0", "knn:k=100", "auto"):
            router = context.router(s, "--estimator", estimator)
            e = context.tool.json("evaluate", router, *context.store(s), "--split", "test", "--json", depends=[router])
            zero = min(e["curve"], key=lambda c: c["dial"])
            cells.append(interval(zero["quality"], *zero["quality_ci"]))
        rows.append([s.title, e["n"], interval(e["best"]["quality"], *e["best"]["quality_ci"]), *cells,
                     e["oracle"]["quality"]])
    page.table(["set", "n", "best single LLM", "kNN, k = 5", "kNN, k = 100", "auto", "oracle"], rows)


def run(page, context, found):
    if "routellm_mmlu" in found:
        sensitivity(page, found["mmlu-tie"])
        size(page, found["mmlu-tie"])
        fewer_tasks(page, found["mmlu-tie"])
        other_predictors(page, found["routellm_mmlu"], found["mmlu-tie"])
    if any(b.is_clustered for b in found.values()):
        clusterings(page, [b for b in found.values() if b.is_clustered])
    if "ulab" in found:
        sensitivity(page, found["ulab"])
        size(page, found["ulab"])
        small_against_big(page, found["ulab"])
    per_query(page, context)
