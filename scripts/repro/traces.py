# SPDX-License-Identifier: Apache-2.0
"""Runs step by step, of the tool (its decision log) and of the peer, and what is read off them. Both
are measured by the same functions."""
import json

from tables import mean, mean_interval

WINDOW = 50          # steps of a moving mean
NEAR = 0.1           # of the share where a phase ends: settled
ADOPTED_SHARE = 0.1  # of the queries, held for WINDOW steps: the peer's own definition of adoption


class Trace:
    """choice: a model's name a step; quality, cost: what it got."""

    def __init__(self, choice, quality, cost):
        self.choice, self.quality, self.cost = choice, quality, cost


def from_log(path):
    """The tool's decision log (docs/formats.md)."""
    choice, quality, cost = [], [], []
    at, late = {}, []
    with open(path, encoding="utf-8") as stream:
        for line in stream:
            row = json.loads(line)
            if "estimates" not in row:
                late.append(row)
                continue
            at[row["id"]] = len(choice)
            choice.append(row["model"])
            quality.append((row.get("feedback") or {}).get("score"))
            cost.append(row.get("cost_usd"))
    for row in late:
        i = at.get(row["id"])
        if i is not None and row.get("feedback"):
            quality[i] = row["feedback"]["score"]
    return Trace(choice, quality, cost)


def from_peer(run):
    return Trace([run["arms"][a] for a in run["choice"]], run["reward"], run["cost"])


def moving(values, window=WINDOW):
    """Means over [i, i + window), for each i that has so many; sums are exact."""
    return [mean(values[i:i + window]) for i in range(len(values) - window + 1)]


def share_at(traces, model):
    """Share of the runs that chose this model, a step."""
    n = min(len(t.choice) for t in traces)
    return [mean(t.choice[i] == model for t in traces) for i in range(n)]


def settled_after(shares, start, end):
    """Steps from `start` until the moving mean of a share is within NEAR of where the phase ends (the
    mean of its last half) and stays there; None: it does not."""
    phase = shares[start:end]
    final = mean(phase[len(phase) // 2:])
    smooth = moving(phase)
    last = None
    for i, v in enumerate(smooth):
        if abs(v - final) > NEAR:
            last = i
    if last is None:
        return 0
    return last + 1 if last + 1 < len(smooth) else None


def adopted_after(trace, model, start):
    """Steps from `start` until the model's share of the next WINDOW steps is at least ADOPTED_SHARE and
    stays so for WINDOW steps more; None: never."""
    smooth = moving([float(c == model) for c in trace.choice[start:]])
    run = 0
    for i, v in enumerate(smooth):
        run = run + 1 if v >= ADOPTED_SHARE else 0
        if run >= WINDOW:
            return i - WINDOW + 1
    return None


def phase_means(traces, start, end):
    """(quality, low, high), mean cost over a phase, intervals over runs."""
    quality = mean_interval(mean(t.quality[start:end]) for t in traces)
    return quality, mean(mean(t.cost[start:end]) for t in traces)


def whole(traces):
    return phase_means(traces, 0, min(len(t.choice) for t in traces))
