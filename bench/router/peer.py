# SPDX-License-Identifier: Apache-2.0
"""peer.py ESTIMATOR FOLDER DIM MODELS: the same fit with scikit-learn on the vectors that
router_times wrote: predictions of five folds, then one fit on all rows. Prints CPU seconds and peak
memory in the same form."""
import resource
import sys
import time

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPRegressor


class PerModel:
    """One logistic regression a model, as scikit-learn has no multi-output one."""

    def fit(self, x, y):
        self.fits = [LogisticRegression(C=1 / 3, max_iter=200).fit(x, column) for column in y.T]
        return self

    def predict(self, x):
        return np.stack([fit.predict_proba(x)[:, 1] for fit in self.fits], axis=1)


MAKERS = {
    "linear": lambda: Ridge(alpha=10),
    "logistic": PerModel,
    "knn": lambda: KNeighborsRegressor(100, algorithm="brute", metric="cosine"),
    "mlp": lambda: MLPRegressor(hidden_layer_sizes=(32,), alpha=1e-3, max_iter=8, batch_size=64),
}


def main():
    estimator, folder, dim, models = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    x = np.fromfile(f"{folder}/x.f32", np.float32).reshape(-1, dim)
    y = np.fromfile(f"{folder}/y.f32", np.float32).reshape(-1, models)
    make = MAKERS[estimator]
    start = time.process_time()
    held_out = np.empty_like(y)
    for train, test in KFold(5, shuffle=True, random_state=1).split(x):
        held_out[test] = make().fit(x[train], y[train]).predict(x[test])
    make().fit(x, y)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    brier = float(np.mean((held_out - y) ** 2))
    print(f"estimator={estimator} seconds={seconds:.2f} peak_mb={peak:.0f} brier={brier:.4f}")


main()
