# SPDX-License-Identifier: Apache-2.0
"""LLM routing with benchmark datasets (arXiv 2309.15789): the best LLM for a new task."""
import data
import part_tasks_more as more
import svg
from rules import RULES, Trials, bootstrap
from tables import Page, cell, interval, mean

LABELS = [5, 10, 20, 50]
SHARES = [0, 0.01, 0.02, 0.05, 0.1, 0.2]
LABELS_MAX = 50  # the paper's


class Benchmark:
    """Leave-one-task-out experiments on one set; all its rows. name: of its figures."""

    def __init__(self, context, set_name, title, note, options=(), name=None):
        self.context, self.tool, self.title, self.note = context, context.tool, title, note
        self.name, self.set = name or set_name, context.sets[set_name]
        self.is_clustered = "--clusters" in options
        self.options = [*context.store(self.set), "--encoder", context.encoder, *options]

    def trials(self, *options, files=(), labels=None):
        if labels is not None:
            options = (*options, "--labels", labels)
        prices = ["--prices", self.set.prices] if files and self.set.prices else []
        return Trials(self.tool.json("select", "--leave-one-task-out", *files, *prices, *self.options,
                                     *options, "--json"))


def main_table(page, bench, trials):
    rows, numbers = [], []
    bma = trials.rule("bma")
    for title, pick, score in trials.sides():
        j = trials.judge(pick, score)
        got, gain = j["got"], [a - b for a, b in zip(j["got"], bma)]
        around, above = bootstrap(got), bootstrap(gain)
        rows.append([title, interval(mean(got), *around), interval(mean(gain), *above), j["ratio"],
                     j["pearson"], j["spearman"], cell(j["bma"], 2), cell(j["rank"], 2)])
        numbers.append([title, mean(got), *around, mean(gain), *above, j["ratio"], j["pearson"], j["spearman"],
                        j["bma"], j["rank"]])
    page.table(["rule", "true score of the choice", "above BMA", "ratio to best", "Pearson", "Spearman",
                "chooses BMA's", "rank"], rows)
    page.csv(f"{bench.name}-rules", ["rule", "score", "low", "high", "above_bma", "above_low", "above_high",
                                     "ratio", "pearson", "spearman", "chooses_bma", "rank"], numbers)
    if len(trials.models) == 2:
        page.text("With two LLMs there is no correlation within a task. Over tasks, the difference of the two "
                  "scores correlates with the true difference (Pearson): " +
                  ", ".join(f"{name} {trials.differences(name):.2f}" for name, _ in RULES
                            if trials.differences(name) is not None) + ".")


def predictor_table(page, bench, trials):
    page.text("The predictor gbar on the left-out task, over tasks and LLMs: how often it is right, and the mean "
              "absolute error of p, the chance that it is right: smoothed over tasks' distances (the paper's), a "
              "constant (each LLM's mean over the other tasks), and the predictor's own mean confidence.")
    rows = []
    for k in bench.context.some([5, 20, 100]):
        t = trials if k == 5 else bench.trials("--neighbours", k)
        own = t.p_error("s3-confidence-k20", "accuracy_wide") if k == 20 else None
        rows.append([k, t.accuracy(), t.p_error("s3-plain"), t.constant_error(), own])
    page.table(["k", "accuracy", "error of smoothed p", "error of a constant", "error of the confidence"], rows)


def distance_curve(page, bench, result):
    """Quarters of the tasks by distance."""
    trials = sorted((t for t in result.trials if t["distance"] is not None), key=lambda t: t["distance"])
    rows, parts = [], min(4, len(trials))
    for i in range(parts):
        part = trials[i * len(trials) // parts:(i + 1) * len(trials) // parts]
        behind = [mean(result.utility(t, result.best(t)) - result.utility(t, t["rules"][r]["pick"]) for t in part)
                  for r in ("bma", "s1-k5", "s3")]
        rows.append([f"{part[0]['distance']:.3f} to {part[-1]['distance']:.3f}", len(part),
                     mean(a for t in part for a in t["accuracy"] if a is not None), *behind])
    page.text("Against the task's distance u (mean cosine distance to the 19 nearest samples of other tasks): the "
              "predictor's accuracy, and how far behind the best LLM of each task a rule's choice is.")
    page.table(["u", "tasks", "accuracy", "BMA behind", "S1 behind", "S3 behind"], rows)
    page.figure(f"{bench.name}-distance", svg.line_plot(
        f"{bench.title}: predictor against task distance", "task distance u", "accuracy of gbar, k = 5",
        [{"name": "a task", "x": [t["distance"] for t in trials],
          "y": [mean(a for a in t["accuracy"] if a is not None) for t in trials], "points": True}]),
        "Each dot is a task, left out of the benchmark.")


def label_row(t):
    return [t.rest(lambda t: t["rules"]["bma"]["pick"]), t.rest(lambda t: t["moved"]["s1-k5"]),
            t.rest(lambda t: t["moved"]["s2-k5"]), t.rest(lambda t: t["moved"]["s3"]),
            t.rest(lambda t: t["labelled_pick"]), t.rest_best()]


LABEL_COLUMNS = ["BMA", "S1", "S2", "S3", "S1 and labels beside it", "best"]


def alpha_curve(page, bench, whole):
    page.text(
        f"A share alpha of the new task's samples is labelled, at most {LABELS_MAX} of a task. S1, S2 and S3 use them "
        "the paper's way: they become known samples, neighbours of the rest. *beside it*: the labels are observations "
        "next to S1 (k = 20), which counts as 30. Choices are judged on the unlabelled rest; u: mean distance of the "
        "rest to what is known.")
    rows, distance = [], mean(t["distance"] for t in whole.trials)
    for a in bench.context.some(SHARES):
        if a == 0:
            rules = [whole.quality(r) for r in ("bma", "s1-k5", "s2-k5", "s3", "s1-k20")]
            rows.append([a, len(whole.trials), distance, *rules, mean(whole.values(whole.best))])
            continue
        t = bench.trials("--label-share", a, labels=LABELS_MAX)
        if t.labelled():
            rows.append([a, len(t.labelled()), mean(x["moved_distance"] for x in t.labelled()), *label_row(t)])
    page.table(["alpha", "tasks", "u", *LABEL_COLUMNS], [[f"{r[0]:g}", *r[1:]] for r in rows])
    page.csv(f"{bench.name}-alpha", ["alpha", "tasks", "u", "bma", "s1", "s2", "s3", "s1_labels", "best"], rows)
    series = [{"name": c, "x": [100 * r[0] for r in rows], "y": [r[3 + i] for r in rows],
               "dashed": c in ("best", "BMA")}
              for i, c in enumerate(LABEL_COLUMNS)]
    page.figure(f"{bench.name}-alpha", svg.line_plot(f"{bench.title}: labels", "alpha, % of the new task's samples",
                                                     "true score of the choice", series),
                "True score of the chosen LLM on the unlabelled rest, against the share of labelled samples.")


def label_counts(page, bench):
    rows = []
    for n in bench.context.some(LABELS):
        t = bench.trials(labels=n)
        if t.labelled():
            rows.append([n, len(t.labelled()), *label_row(t)])
    page.text("The same by number of labels, for the tasks that have so many and five more:")
    page.table(["labels", "tasks", *LABEL_COLUMNS], rows)


def one(page, bench):
    page.head(bench.title)
    trials = bench.trials()
    samples = sum(t["samples"] for t in trials.trials)
    page.text(f"{bench.note} {samples:,} samples, {len(trials.trials)} tasks, {len(trials.models)} LLMs.")
    main_table(page, bench, trials)
    if any(trials.penalty):
        alone = [mean(trials.values(lambda t, m=m: m)) for m in range(len(trials.models))]
        page.text(f"Either LLM alone has a mean utility of {max(alone):.4f}. At a tie the better one on the other "
                  f"tasks "
                  "is the worse one on the task left out, so that BMA fails by construction: compare with the LLMs "
                  "alone. The predictor is the same as above.")
    else:
        predictor_table(page, bench, trials)
    distance_curve(page, bench, trials)
    alpha_curve(page, bench, trials)
    label_counts(page, bench)


def tie_dial(trials):
    """The dial at which two LLMs are equally good on average over tasks; trials: at dial 1."""
    models = range(len(trials.models))
    means = [mean(t["truth"][m] for t in trials.trials) for m in models]
    return (max(means) - min(means)) / (max(trials.penalty) - min(trials.penalty))


def benchmarks(context):
    """Each with its name in the overview."""
    out = []
    if context.sets["routellm_mmlu"]:
        plain = Benchmark(context, "routellm_mmlu", "MMLU, 57 tasks, 2 LLMs",
                          "Scores recorded (RouteLLM). On quality alone there is little to choose: GPT-4 is the better "
                          "one nearly everywhere.")
        dial = tie_dial(plain.trials("--dial", 1))
        out += [plain, Benchmark(
            context, "routellm_mmlu", "MMLU with a tie",
            f"Scores recorded; each LLM's is lowered by {dial:.4f} of its price as a share of GPT-4's (the dial), at "
            "which both are equally good on average. This is where a rule can show what it knows. All scores in this "
            "section are such utilities.", ["--dial", f"{dial:.6f}"], "mmlu-tie")]
    if context.sets["routerdc"]:
        out += [Benchmark(context, "routerdc", "RouterDC's 6 tasks, 7 LLMs", "Scores recorded."),
                Benchmark(context, "routerdc", "RouterDC, 10 clusters, 7 LLMs",
                          "Scores recorded. 10 k-means clusters of the prompts stand for tasks.", ["--clusters", 10],
                          "routerdc-clusters")]
    if context.sets["ulab"]:
        out.append(Benchmark(context, "ulab", "LLMRouter's set (ulab), 20 clusters, 9 LLMs",
                             "Scores recorded. The set names no tasks: 20 k-means clusters of the prompts stand for "
                             "them.", ["--clusters", 20]))
    if context.sets["routerbench"]:
        out.append(Benchmark(context, "routerbench", "RouterBench, 3 tasks, 11 LLMs",
                             "Scores recorded. Three tasks are too few to tell rules apart."))
    if context.sets["paretobandit"]:
        out.append(Benchmark(context, "paretobandit", "ParetoBandit's set, 9 sources, 3 LLMs",
                             "Scores recorded, both splits. A task is a source of prompts."))
    return out


def overview(page, found):
    page.head("Overview")
    page.text("Mean true score of the chosen LLM; all numbers are from the sections below.")
    columns = [("BMA", "bma"), ("S1, k 5", "s1-k5"), ("S1, k 20", "s1-k20"), ("S2, k 5", "s2-k5"), ("S3", "s3"),
               ("S3, confidence", "s3-confidence-k20"), ("S3, true p", "s3-true-p-k5"), ("by centres", "centres")]
    rows = []
    for bench, trials in found:
        rows.append([bench.title, *[trials.quality(r) for _, r in columns], mean(trials.values(lambda t: t["pick"])),
                     mean(trials.values(trials.best))])
    page.table(["benchmark", *[c for c, _ in columns], "metallm's choice", "oracle"], rows)


def run(context):
    page = Page(context.results, "new-tasks", "Choosing an LLM for a new task")
    page.text(
        "LLM routing with benchmark datasets (arXiv 2309.15789): the best LLM for a task that was never seen, from its "
        "unlabelled prompts. Every score here is recorded, none is simulated. Each task is left out in turn and all "
        "its "
        "samples are the new task; the rest is the benchmark (`metallm select --leave-one-task-out`). Unless a table "
        "says otherwise k = 5, kappa = 19 nearest samples in u, kernel width 0.09, eta = 0.6 (the paper's), seed 1. "
        "Means over tasks; intervals are 95 %, 2,000 bootstrap resamples of the tasks. " + context.encoder_note(),
        "*ratio to best*: the choice's true score over the best LLM's, a task. *Pearson*, *Spearman*: of a rule's "
        "scores "
        "with the true ones over LLMs, within a task. *chooses BMA's*: how often the choice is the best LLM on "
        "average. "
        "*rank*: of the choice among the LLMs, 1 is best.",
        "Not to be had: HELM's outcomes, the paper's benchmark (29 tasks, 18 LLMs), and MixInstruct's; its experiments "
        "are repeated on recorded outcomes that can be.")
    absent = data.missing(context.sets, ["routellm_mmlu", "routerdc", "ulab", "routerbench", "paretobandit"])
    if absent:
        page.text(f"Left out, since these outcomes were not there when this page was made: {', '.join(absent)}.")
    found = [(b, b.trials()) for b in benchmarks(context)]
    overview(page, found)
    for bench, _ in found:
        one(page, bench)
    named = {b.name: b for b, _ in found}
    more.run(page, context, named)
    page.save()

