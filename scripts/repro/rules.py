# SPDX-License-Identifier: Apache-2.0
"""Rules that choose an LLM for a new task, judged on the trials of `select --leave-one-task-out --json`."""
import math
import random

from tables import mean

RULES = (
    ("bma", "BMA: the best on average"),
    ("s1-k5", "S1, k = 5 (the paper's)"),
    ("s1-k20", "S1, k = 20"),
    ("s2-k5", "S2, k = 5 (the paper's)"),
    ("s2-k20", "S2, k = 20"),
    ("s3-plain", "S3, smoothed p, no way back"),
    ("s3", "S3, smoothed p, back to BMA (the paper's)"),
    ("s3-confidence-k20", "S3, p the predictor's own confidence, k = 20"),
    ("s3-true-p-k5", "S3 with true p, k = 5"),
    ("s3-true-p-k20", "S3 with true p, k = 20"),
    ("centres", "means weighted by the distance of task centres"),
)
RESAMPLES = 2000


def pearson(a, b):
    ma, mb = mean(a), mean(b)
    sa = math.fsum((x - ma) ** 2 for x in a)
    sb = math.fsum((x - mb) ** 2 for x in b)
    if sa <= 0 or sb <= 0:
        return None
    return math.fsum((x - ma) * (y - mb) for x, y in zip(a, b)) / math.sqrt(sa * sb)


def ranks(values):
    """Ranks from 0; equals share the mean of theirs."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    out = [0.0] * len(values)
    i = 0
    while i < len(order):
        j = i
        while j + 1 < len(order) and values[order[j + 1]] == values[order[i]]:
            j += 1
        for k in range(i, j + 1):
            out[order[k]] = (i + j) / 2
        i = j + 1
    return out


def bootstrap(values, seed=1):
    """95 % percentile interval of the mean over tasks."""
    rng = random.Random(seed)
    n = len(values)
    means = sorted(math.fsum(values[rng.randrange(n)] for _ in range(n)) / n for _ in range(RESAMPLES))
    return means[int(0.025 * RESAMPLES)], means[int(0.975 * RESAMPLES) - 1]


class Trials:
    """What one call of `select` told. A task's utility of a model is its true score less the penalty."""

    def __init__(self, result):
        self.result, self.models, self.penalty = result, result["models"], result["penalty"]
        self.trials = result["trials"]

    def utility(self, trial, model):
        return trial["truth"][model] - self.penalty[model]

    def known(self, trial):
        return [m for m, v in enumerate(trial["truth"]) if v is not None]

    def best(self, trial):
        return max(self.known(trial), key=lambda m: (self.utility(trial, m), -m))

    def values(self, pick):
        """The utility of pick(trial), a task."""
        return [self.utility(t, pick(t)) for t in self.trials]

    def rule(self, name):
        return self.values(lambda t: t["rules"][name]["pick"])

    def quality(self, name):
        return mean(self.rule(name))

    def judge(self, pick, score=None):
        """What the picks were worth: a dictionary. score(trial): what a rule thought of each model."""
        ratio, ps, sp, rank, as_bma = [], [], [], [], []
        for t in self.trials:
            models, got = self.known(t), self.utility(t, pick(t))
            best = self.utility(t, self.best(t))
            ratio.append(got / best if best > 0 else 1.0)
            rank.append(1 + sum(self.utility(t, m) > got for m in models))
            as_bma.append(float(pick(t) == t["rules"]["bma"]["pick"]))
            if score is not None and len(models) > 2:
                pairs = [(score(t)[m], t["truth"][m]) for m in models if score(t)[m] is not None]
                a, b = [p[0] for p in pairs], [p[1] for p in pairs]
                ps.append(pearson(a, b))
                sp.append(pearson(ranks(a), ranks(b)))
        ps, sp = ([v for v in found if v is not None] for found in (ps, sp))
        return {"got": self.values(pick), "ratio": mean(ratio), "pearson": mean(ps) if ps else None,
                "spearman": mean(sp) if sp else None, "rank": mean(rank), "bma": mean(as_bma)}

    def sides(self):
        """(title, pick, score) of each rule, of metallm's choice and of the oracle."""
        out = [(title, lambda t, r=r: t["rules"][r]["pick"], lambda t, r=r: t["rules"][r]["score"])
               for r, title in RULES]
        out.append(("metallm's choice: the rule that did best on the other tasks", lambda t: t["pick"], None))
        out.append(("oracle: the best LLM of each task", self.best, None))
        return out

    def labelled(self):
        return [t for t in self.trials if t["labels"] > 0]

    def rest(self, pick):
        """Mean utility of pick(trial) on the unlabelled rest of the tasks that have labels."""
        return mean(t["rest"][pick(t)] for t in self.labelled())

    def rest_best(self):
        return mean(max(v for v in t["rest"] if v is not None) for t in self.labelled())

    def accuracy(self, field="accuracy"):
        """Of the predictor, over tasks and models."""
        return mean(a for t in self.trials for a in t[field] if a is not None)

    def p_error(self, rule, field="accuracy"):
        return mean(abs(p - a) for t in self.trials for p, a in zip(t["rules"][rule]["p"], t[field])
                    if a is not None and p is not None)

    def constant_error(self, field="accuracy"):
        """Error of p where it is each LLM's mean accuracy over the other tasks."""
        errors = []
        for m in range(len(self.models)):
            a = [t[field][m] for t in self.trials if t[field][m] is not None]
            errors += [abs((math.fsum(a) - v) / (len(a) - 1) - v) for v in a if len(a) > 1]
        return mean(errors)

    def differences(self, name):
        """Two LLMs: the correlation of estimated and true differences over tasks."""
        return next(r["correlation"] for r in self.result["rules"] if r["rule"] == name)
