/* SPDX-License-Identifier: Apache-2.0
 * estimator_forest.c - extremely randomised trees of all models' scores (forest.h). */
#include "base/error.h"
#include "base/mem.h"
#include "router/estimator.h"
#include "router/forest.h"

enum { TREES, LEAF, SHARE, ROWS };

static void forest_free(void *state)
{
    if (state == NULL)
        return;
    metallm__forest_fini(state);
    metallm__free(state);
}

static int forest_fit(void **state, const struct metallm__fit_data *data, const double *values,
                      metallm_error *err)
{
    struct metallm__forest *f = metallm__calloc(1, sizeof *f);
    if (f == NULL)
        return metallm__error_nomem(err, "a forest");
    const struct metallm__forest_data on = {.x = data->x,
                                            .y = data->y,
                                            .n = data->n,
                                            .dim = data->dim,
                                            .targets = data->models,
                                            .seed = data->seed};
    const struct metallm__forest_options opts = {.trees = (uint32_t)values[TREES],
                                                 .leaf = (uint32_t)values[LEAF],
                                                 .share = values[SHARE],
                                                 .rows_max = (uint32_t)values[ROWS]};
    int rc = metallm__forest_fit(f, &on, &opts, err);
    if (rc == METALLM_OK)
        *state = f;
    else
        forest_free(f);
    return rc;
}

static int forest_predict(const void *state, const float *x, size_t n, float *out,
                          metallm_error *err)
{
    (void)err;
    metallm__forest_predict(state, x, n, out);
    return METALLM_OK;
}

static int forest_save(const void *state, struct metallm__st_writer *w, const char *prefix,
                       metallm_error *err)
{
    return metallm__forest_save(state, w, prefix, err);
}

static int forest_load(void **state, const struct metallm__st_file *f, const char *prefix,
                       uint32_t dim, uint32_t models, metallm_error *err)
{
    struct metallm__forest *s = metallm__calloc(1, sizeof *s);
    if (s == NULL)
        return metallm__error_nomem(err, "a forest");
    int rc = metallm__forest_load(s, f, prefix, dim, models, err);
    if (rc == METALLM_OK)
        *state = s;
    else
        forest_free(s);
    return rc;
}

static const struct metallm__param params[] = {
    [TREES] = {"trees", 120, 1, 10000, "trees that are averaged", {0}, 0},
    [LEAF] = {"leaf", 15, 1, 1e6, "queries in a leaf at least", {8, 20}, 2},
    [SHARE] = {"share", 0.5, 0.001, 1, "share of the features tried at a split", {0}, 0},
    [ROWS] = {"rows", 16384, 2, 1e8, "queries a tree is grown from at most", {0}, 0},
};

const struct metallm__estimator metallm__estimator_forest = {
    .name = "forest",
    .source = "extremely randomised trees: Geurts, Ernst and Wehenkel, Machine Learning 63, 2006",
    .params = params,
    .param_count = 4,
    .fit = forest_fit,
    .predict = forest_predict,
    .free = forest_free,
    .save = forest_save,
    .load = forest_load,
};
