/* SPDX-License-Identifier: Apache-2.0
 * estimator_logistic.c - logistic regression with an L2 prior on soft labels (scores in 0..1), a
 * free intercept, one weight vector a model: minimises
 *     -sum_i y_i log p_i + (1 - y_i) log(1 - p_i)  +  l2/2 |theta|^2,  p_i = sigmoid(theta'z + b)
 * by Newton's method (Hastie, Tibshirani, Friedman, The Elements of Statistical Learning, 4.4.1)
 * with steps halved until the objective falls. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "math/dense.h"
#include "router/weights.h"

#define NEWTON_STEPS_MAX 25
#define HALVINGS_MAX     10
#define INTERCEPT_PRIOR  1e-6
#define STEP_LEAST       1e-6

/* One model's problem. Rows are its known ones, with a column of ones for the intercept. */
struct problem {
    float *x; /* n x dim */
    double *y;
    size_t n;
    uint32_t dim; /* of z, plus 1 */
    double l2;
    double *p, *curvature;                      /* n */
    double *theta, *trial, *gradient, *hessian; /* dim, dim x dim */
};

static void problem_fini(struct problem *q)
{
    metallm__free(q->x);
    metallm__free(q->y);
    metallm__free(q->p);
    metallm__free(q->curvature);
    metallm__free(q->theta);
    metallm__free(q->trial);
    metallm__free(q->gradient);
    metallm__free(q->hessian);
}

static int problem_init(struct problem *q, const struct metallm__fit_data *d, double l2,
                        metallm_error *err)
{
    size_t dim = d->dim + (size_t)1;
    *q = (struct problem){.dim = d->dim + 1, .l2 = l2};
    q->x = metallm__alloc(d->n * dim, sizeof *q->x);
    q->y = metallm__alloc(d->n, sizeof *q->y);
    q->p = metallm__alloc(d->n, sizeof *q->p);
    q->curvature = metallm__alloc(d->n, sizeof *q->curvature);
    q->theta = metallm__alloc(dim, sizeof *q->theta);
    q->trial = metallm__alloc(dim, sizeof *q->trial);
    q->gradient = metallm__alloc(dim, sizeof *q->gradient);
    q->hessian = metallm__alloc(dim * dim, sizeof *q->hessian);
    if (q->x != NULL && q->y != NULL && q->p != NULL && q->curvature != NULL && q->theta != NULL &&
        q->trial != NULL && q->gradient != NULL && q->hessian != NULL)
        return METALLM_OK;
    problem_fini(q);
    return metallm__error_nomem(err, "logistic regression");
}

static double prior_of(const struct problem *q, uint32_t j)
{
    return j + 1 == q->dim ? INTERCEPT_PRIOR : q->l2;
}

/* Known rows of one model; starts at its mean score. */
static void problem_take(struct problem *q, const struct metallm__fit_data *d, uint32_t model,
                         double mean)
{
    q->n = 0;
    for (size_t i = 0; i < d->n; i++) {
        float y = d->y[i * d->models + model];
        if (isnan(y))
            continue;
        memcpy(q->x + q->n * q->dim, d->x + i * d->dim, d->dim * sizeof *q->x);
        q->x[q->n * q->dim + d->dim] = 1;
        q->y[q->n++] = (double)y;
    }
    memset(q->theta, 0, q->dim * sizeof *q->theta);
    q->theta[d->dim] = metallm__logit(fmin(fmax(mean, 0.005), 0.995));
}

static double dot(const float *x, const double *theta, uint32_t dim)
{
    double sum = 0;
    for (uint32_t j = 0; j < dim; j++)
        sum += (double)x[j] * theta[j];
    return sum;
}

/* The objective at theta; leaves p there. log(1 + e^z) - y z is the loss of one row. */
static double objective(const struct problem *q, const double *theta)
{
    double sum = 0;
    for (uint32_t j = 0; j < q->dim; j++)
        sum += 0.5 * prior_of(q, j) * theta[j] * theta[j];
    for (size_t i = 0; i < q->n; i++) {
        double z = dot(q->x + i * q->dim, theta, q->dim);
        q->p[i] = metallm__sigmoid(z);
        sum += (z > 0 ? z + log1p(exp(-z)) : log1p(exp(z))) - q->y[i] * z;
    }
    return sum;
}

/* The Newton step, in q->gradient. */
static int newton_step(struct problem *q, metallm_error *err)
{
    for (uint32_t j = 0; j < q->dim; j++)
        q->gradient[j] = prior_of(q, j) * q->theta[j];
    for (size_t i = 0; i < q->n; i++) {
        double off = q->p[i] - q->y[i];
        q->curvature[i] = q->p[i] * (1 - q->p[i]);
        for (uint32_t j = 0; j < q->dim; j++)
            q->gradient[j] += off * (double)q->x[i * q->dim + j];
    }
    int rc = metallm__gram(q->x, q->n, q->dim, NULL, q->curvature, q->hessian, err);
    if (rc != METALLM_OK)
        return rc;
    for (uint32_t j = 0; j < q->dim; j++)
        q->hessian[(size_t)j * q->dim + j] += prior_of(q, j) + 1e-9;
    return metallm__solve_spd(q->hessian, q->dim, q->gradient, 1, err);
}

static int minimise(struct problem *q, metallm_error *err)
{
    double now = objective(q, q->theta);
    for (int step = 0; step < NEWTON_STEPS_MAX; step++) {
        int rc = newton_step(q, err);
        if (rc != METALLM_OK)
            return rc;
        double size = 1, next = INFINITY, longest = 0;
        for (int halved = 0; halved < HALVINGS_MAX && !(next <= now); halved++, size /= 2) {
            for (uint32_t j = 0; j < q->dim; j++)
                q->trial[j] = q->theta[j] - size * q->gradient[j];
            next = objective(q, q->trial);
        }
        if (!(next <= now))
            return METALLM_OK; /* no better place along the step: at the minimum */
        for (uint32_t j = 0; j < q->dim; j++)
            longest = fmax(longest, fabs(q->trial[j] - q->theta[j]));
        memcpy(q->theta, q->trial, q->dim * sizeof *q->theta);
        now = next;
        if (longest < STEP_LEAST)
            break;
    }
    return METALLM_OK;
}

static void logistic_free(void *state)
{
    if (state == NULL)
        return;
    metallm__weights_fini(state);
    metallm__free(state);
}

static int fit_models(struct metallm__weights *w, struct problem *q,
                      const struct metallm__fit_data *d, const double *mean, metallm_error *err)
{
    for (uint32_t m = 0; m < d->models; m++) {
        problem_take(q, d, m, mean[m]);
        int rc = q->n == 0 ? METALLM_OK : minimise(q, err);
        if (rc != METALLM_OK)
            return rc;
        for (uint32_t j = 0; j < d->dim; j++)
            w->w[(size_t)m * d->dim + j] = (float)q->theta[j];
        w->b[m] = (float)q->theta[d->dim];
    }
    return METALLM_OK;
}

static int logistic_fit(void **state, const struct metallm__fit_data *data, const double *values,
                        metallm_error *err)
{
    struct problem q;
    int rc = problem_init(&q, data, values[0], err);
    if (rc != METALLM_OK)
        return rc;
    struct metallm__weights *w = metallm__calloc(1, sizeof *w);
    double *mean = metallm__alloc(data->models, sizeof *mean);
    if (w == NULL || mean == NULL) {
        rc = metallm__error_nomem(err, "logistic regression");
    } else if ((rc = metallm__weights_new(w, data->dim, data->models, err)) == METALLM_OK) {
        metallm__score_means(data, mean);
        rc = fit_models(w, &q, data, mean, err);
    }
    metallm__free(mean);
    problem_fini(&q);
    if (rc == METALLM_OK)
        *state = w;
    else
        logistic_free(w);
    return rc;
}

static int logistic_predict(const void *state, const float *x, size_t n, float *out,
                            metallm_error *err)
{
    (void)err;
    const struct metallm__weights *w = state;
    metallm__weights_apply(w, x, n, out);
    for (size_t i = 0; i < n * w->models; i++)
        out[i] = 1 / (1 + expf(-out[i]));
    return METALLM_OK;
}

static int logistic_save(const void *state, struct metallm__st_writer *w, const char *prefix,
                         metallm_error *err)
{
    return metallm__weights_save(state, w, prefix, err);
}

static int logistic_load(void **state, const struct metallm__st_file *f, const char *prefix,
                         uint32_t dim, uint32_t models, metallm_error *err)
{
    struct metallm__weights *w = metallm__calloc(1, sizeof *w);
    if (w == NULL)
        return metallm__error_nomem(err, "logistic regression");
    int rc = metallm__weights_load(w, f, prefix, dim, models, err);
    if (rc == METALLM_OK)
        *state = w;
    else
        logistic_free(w);
    return rc;
}

static const struct metallm__param params[] = {
    {"l2", 3, 1e-6, 1e9, "weight of the prior: larger is smoother", {1, 3, 10, 30}, 4},
};

const struct metallm__estimator metallm__estimator_logistic = {
    .name = "logistic",
    .source = "L2 logistic regression on soft labels: Hastie et al., ESL, section 4.4",
    .params = params,
    .param_count = 1,
    .fit = logistic_fit,
    .predict = logistic_predict,
    .free = logistic_free,
    .save = logistic_save,
    .load = logistic_load,
};
