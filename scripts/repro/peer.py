# SPDX-License-Identifier: Apache-2.0
"""Runs the package paretobandit 0.1.1 on its own hold-out, by its own protocol.

usage: peer.py JOBS.json OUT.json        (with the Python of the peer's own environment)

The protocol is the package's (pareto_bandit/demo.py, section 4.1 of its paper): its priors fitted on
8,374 training prompts, its PCA of MiniLM embeddings, its best hyper-parameters; one online pass over
the validation prompts (nothing is recorded), then the hold-out in an order drawn by seed, still
learning. The embeddings are all-MiniLM-L6-v2's, computed by `metallm embed`.

JOBS: {"train": FILE, "holdout": FILE, "texts": FILE, "vectors": FILE, "jobs": [{"name", "budget" (dollars a
request or null), "seeds": [..], "arms": [..] at the start,
"events": [{"step", "what": "price"|"quality"|"arrive", "model", "factor"|"score"}]}]}
A model that arrives is given the first 20 queries, as in the package's own experiment: without them it
is never tried (its exploration bonus is far below what the others are known to earn).
OUT: {"name": [{"seed", "arms": [names], "choice": [index a step], "reward": [..], "cost": [..]}]}
"""
import json
import logging
import sys
import warnings

import numpy as np
from pareto_bandit.budget_pacer import BudgetPacer, PacingMode
from pareto_bandit.config import BEST_K3_HPARAMS, DEFAULT_MODEL_REGISTRY_PATH, DEFAULT_PCA_PATH
from pareto_bandit.feature_service import FeatureService
from pareto_bandit.router import BanditRouter
from pareto_bandit.storage import EphemeralContextStore


FORCED_PULLS = 20


def read_registry():
    with open(DEFAULT_MODEL_REGISTRY_PATH, encoding="utf-8") as stream:
        models = json.load(stream)["models"]
    return {m["model_id"]: {"model_id": m["model_id"], "display_name": m["display"],
                            "input_cost_per_m": m["input_cost_per_m"],
                            "output_cost_per_m": m["output_cost_per_m"]} for m in models}


class Split:
    def __init__(self, path, vectors):
        with open(path, encoding="utf-8") as stream:
            rows = [json.loads(line) for line in stream if line.strip()]
        self.n = len(rows)
        service = FeatureService(custom_encoder=lambda text: vectors[text], embedding_dim=384,
                                 pca_path=DEFAULT_PCA_PATH)
        self.x = service.extract_features_batch([r["prompt"] for r in rows])
        self.reward = [{a: v["reward"] for a, v in r["arms"].items()} for r in rows]
        self.cost = [{a: v["cost"] for a, v in r["arms"].items()} for r in rows]


def read_vectors(texts, vectors):
    with open(texts, encoding="utf-8") as keys, open(vectors, encoding="utf-8") as values:
        return {json.loads(k)["text"]: np.asarray(json.loads(v)["embedding"])
                for k, v in zip(keys, values)}


class Run:
    """One seed of one job."""

    def __init__(self, job, seed, registry, dim):
        self.registry = registry
        pacer = None
        if job["budget"] is not None:
            pacer = BudgetPacer(target_avg_spend_usd=job["budget"], mode=PacingMode.ADAPTIVE)
        self.router = BanditRouter.create(
            model_registry={a: dict(registry[a]) for a in job["arms"]},
            feature_service=FeatureService.for_precomputed(dim),
            context_store=EphemeralContextStore(), priors="warmup",
            prior_n_effective=BEST_K3_HPARAMS["prior_n_effective"],
            alpha=BEST_K3_HPARAMS["alpha"],
            forgetting_factor=BEST_K3_HPARAMS["forgetting_factor"],
            cost_penalty=0.0, budget_pacer=pacer, bandit_seed=seed)
        self.pacer = pacer
        self.price, self.score = {}, {}
        self.forced = []

    def got(self, split, i, model):
        return (float(self.score.get(model, split.reward[i][model])),
                float(split.cost[i][model] * self.price.get(model, 1.0)))

    def step(self, split, i):
        if self.forced:
            model = self.forced.pop()
            reward, cost = self.got(split, i, model)
            self.router.update(model, split.x[i], reward)
            if self.pacer is not None:
                self.pacer.observe(cost)
            return model, reward, cost
        model, log = self.router.route(split.x[i])
        reward, cost = self.got(split, i, model)
        log.cost_usd = cost
        self.router.process_feedback(log.request_id, reward=reward)
        return model, reward, cost

    def happen(self, event):
        model = event["model"]
        if event["what"] == "price":
            self.price[model] = event["factor"]
            prices = {k: self.registry[model][k] * event["factor"]
                      for k in ("input_cost_per_m", "output_cost_per_m")}
            self.router.update_model_pricing(model, **prices)
        elif event["what"] == "quality":
            if event["score"] is None:
                self.score.pop(model, None)
            else:
                self.score[model] = event["score"]
        else:
            self.router.register_model(
                model, input_cost_per_m=self.registry[model]["input_cost_per_m"],
                output_cost_per_m=self.registry[model]["output_cost_per_m"])
            self.forced = [model] * FORCED_PULLS


def run(job, seed, registry, train, holdout):
    rng = np.random.default_rng(seed)
    one = Run(job, seed, registry, holdout.x.shape[1])
    arms = list(registry)
    for i in rng.permutation(train.n):
        one.step(train, i)
    events = {e["step"]: [] for e in job["events"]}
    for e in job["events"]:
        events[e["step"]].append(e)
    trace = {"seed": seed, "arms": arms, "choice": [], "reward": [], "cost": []}
    for step, i in enumerate(rng.permutation(holdout.n)):
        for event in events.get(step, []):
            one.happen(event)
        model, reward, cost = one.step(holdout, i)
        trace["choice"].append(arms.index(model))
        trace["reward"].append(reward)
        trace["cost"].append(cost)
    return trace


def main(jobs_path, out_path):
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")  # scikit-learn notes that the PCA was saved by another version
    with open(jobs_path, encoding="utf-8") as stream:
        work = json.load(stream)
    vectors = read_vectors(work["texts"], work["vectors"])
    train, holdout = (Split(work[k], vectors) for k in ("train", "holdout"))
    registry = read_registry()
    out = {}
    for job in work["jobs"]:
        print(f"paretobandit: {job['name']}", file=sys.stderr, flush=True)
        out[job["name"]] = [run(job, s, registry, train, holdout) for s in job["seeds"]]
    with open(out_path, "w", encoding="utf-8") as stream:
        json.dump(out, stream)


if __name__ == "__main__":
    main(*sys.argv[1:])
