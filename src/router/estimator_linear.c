/* SPDX-License-Identifier: Apache-2.0
 * estimator_linear.c - ridge regression of the score, one weight vector a model (weights.h). */
#include "base/error.h"
#include "base/mem.h"
#include "router/weights.h"

static void linear_free(void *state)
{
    if (state == NULL)
        return;
    metallm__weights_fini(state);
    metallm__free(state);
}

static int linear_fit(void **state, const struct metallm__fit_data *data, const double *values,
                      metallm_error *err)
{
    struct metallm__weights *w = metallm__calloc(1, sizeof *w);
    if (w == NULL)
        return metallm__error_nomem(err, "a linear estimator");
    int rc = metallm__ridge_fit(w, data, values[0], err);
    if (rc == METALLM_OK)
        *state = w;
    else
        linear_free(w);
    return rc;
}

static int linear_predict(const void *state, const float *x, size_t n, float *out,
                          metallm_error *err)
{
    (void)err;
    metallm__weights_apply(state, x, n, out);
    return METALLM_OK;
}

static int linear_save(const void *state, struct metallm__st_writer *w, const char *prefix,
                       metallm_error *err)
{
    return metallm__weights_save(state, w, prefix, err);
}

static int linear_load(void **state, const struct metallm__st_file *f, const char *prefix,
                       uint32_t dim, uint32_t models, metallm_error *err)
{
    struct metallm__weights *w = metallm__calloc(1, sizeof *w);
    if (w == NULL)
        return metallm__error_nomem(err, "a linear estimator");
    int rc = metallm__weights_load(w, f, prefix, dim, models, err);
    if (rc == METALLM_OK)
        *state = w;
    else
        linear_free(w);
    return rc;
}

static const struct metallm__param params[] = {
    {"lambda", 30, 1e-6, 1e9, "weight of the prior: larger is smoother", {3, 10, 30, 100}, 4},
};

const struct metallm__estimator metallm__estimator_linear = {
    .name = "linear",
    .source = "ridge regression: MetaLLM, arXiv 2407.10834, section 3",
    .params = params,
    .param_count = 1,
    .fit = linear_fit,
    .predict = linear_predict,
    .free = linear_free,
    .save = linear_save,
    .load = linear_load,
};
