/* SPDX-License-Identifier: Apache-2.0
 * estimator_kernel.c - kernel ridge regression with k(z, z') = exp(-gamma |z - z'|^2) on landmarks
 * (Nystroem: Williams and Seeger, NIPS 2000; Rudi, Camoriano, Rosasco, NIPS 2015). With landmarks
 * c_1..c_m, K_mm = L L' and features phi(z) = L^-1 k(c, z), ridge regression on phi predicts what
 * kernel ridge regression (Saunders et al. 1998) restricted to the landmarks does; where all
 * training rows are landmarks it is the exact one. On unit vectors exp(-gamma |z - z'|^2) equals
 * exp(2 gamma (cos - 1)). */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "math/dense.h"
#include "router/tensors.h"
#include "router/weights.h"

#define JITTER        1e-4 /* on K_mm's diagonal: equal landmarks stay harmless */
#define PREDICT_BLOCK 256u

enum { GAMMA, LAMBDA, LANDMARKS };

struct kernel {
    uint32_t dim, landmarks;
    float gamma;
    float *centres;              /* landmarks x dim */
    float *squares;              /* landmarks: |c|^2 */
    struct metallm__weights map; /* landmarks -> models, on k(c, z) */
};

static void kernel_free(void *state)
{
    struct kernel *s = state;
    if (s == NULL)
        return;
    metallm__free(s->centres);
    metallm__free(s->squares);
    metallm__weights_fini(&s->map);
    metallm__free(s);
}

static float squared(const float *x, uint32_t dim)
{
    float sum = 0;
    for (uint32_t j = 0; j < dim; j++)
        sum += x[j] * x[j];
    return sum;
}

/* out: n x landmarks. */
static void kernel_rows(const struct kernel *s, const float *x, size_t n, float *out)
{
    metallm__mul_nt(x, s->centres, out, n, s->landmarks, s->dim);
    for (size_t i = 0; i < n; i++) {
        float own = squared(x + i * s->dim, s->dim), *row = out + i * s->landmarks;
        for (uint32_t c = 0; c < s->landmarks; c++) {
            float d = own + s->squares[c] - 2 * row[c];
            row[c] = expf(-s->gamma * (d > 0 ? d : 0));
        }
    }
}

static int choose_landmarks(struct kernel *s, const struct metallm__fit_data *d, uint32_t count,
                            metallm_error *err)
{
    uint32_t *order = metallm__alloc(d->n, sizeof *order);
    s->centres = metallm__alloc_aligned((size_t)count * d->dim, sizeof *s->centres);
    s->squares = metallm__alloc(count, sizeof *s->squares);
    if (order == NULL || s->centres == NULL || s->squares == NULL) {
        metallm__free(order);
        return metallm__error_nomem(err, "landmarks");
    }
    for (uint32_t i = 0; i < d->n; i++)
        order[i] = i;
    if (count < d->n) {
        metallm_rng rng;
        metallm__rng_stream(&rng, d->seed, 1);
        metallm__rng_shuffle(&rng, order, d->n);
    }
    s->dim = d->dim;
    s->landmarks = count;
    for (uint32_t c = 0; c < count; c++) {
        float *centre = s->centres + (size_t)c * d->dim;
        memcpy(centre, d->x + (size_t)order[c] * d->dim, d->dim * sizeof *centre);
        s->squares[c] = squared(centre, d->dim);
    }
    metallm__free(order);
    return METALLM_OK;
}

/* inverse (m x m) = L^-1 of K_mm. */
static int whitening(const struct kernel *s, float *inverse, metallm_error *err)
{
    uint32_t m = s->landmarks;
    double *k = metallm__alloc((size_t)m * m, sizeof *k);
    if (k == NULL)
        return metallm__error_nomem(err, "the landmarks' kernel");
    kernel_rows(s, s->centres, m, inverse);
    for (size_t i = 0; i < (size_t)m * m; i++)
        k[i] = (double)inverse[i];
    for (uint32_t i = 0; i < m; i++)
        k[(size_t)i * m + i] += JITTER;
    int rc = metallm__cholesky(k, m, err);
    if (rc == METALLM_OK)
        rc = metallm__invert_lower(k, m, err);
    if (rc == METALLM_OK)
        for (size_t i = 0; i < (size_t)m * m; i++)
            inverse[i] = (float)k[i];
    metallm__free(k);
    return rc;
}

/* Ridge regression on phi, then its weights are taken back to k(c, z): w_k = L^-T w_phi. */
static int regress(struct kernel *s, const struct metallm__fit_data *d, double lambda,
                   const float *inverse, metallm_error *err)
{
    uint32_t m = s->landmarks;
    float *phi = metallm__alloc_aligned(d->n * m, sizeof *phi);
    float *k = metallm__alloc_aligned((size_t)PREDICT_BLOCK * m, sizeof *k);
    struct metallm__weights on_phi = {0};
    int rc = METALLM_OK;
    if (phi == NULL || k == NULL) {
        rc = metallm__error_nomem(err, "kernel features");
        goto out;
    }
    for (size_t from = 0; from < d->n; from += PREDICT_BLOCK) {
        size_t rows = d->n - from < PREDICT_BLOCK ? d->n - from : PREDICT_BLOCK;
        kernel_rows(s, d->x + from * d->dim, rows, k);
        metallm__mul_nt(k, inverse, phi + from * m, rows, m, m);
    }
    struct metallm__fit_data on = *d;
    on.x = phi;
    on.dim = m;
    if ((rc = metallm__ridge_fit(&on_phi, &on, lambda, err)) != METALLM_OK ||
        (rc = metallm__weights_new(&s->map, m, d->models, err)) != METALLM_OK)
        goto out;
    metallm__mul_nn(on_phi.w, inverse, s->map.w, d->models, m, m);
    memcpy(s->map.b, on_phi.b, d->models * sizeof *s->map.b);
out:
    metallm__weights_fini(&on_phi);
    metallm__free(phi);
    metallm__free(k);
    return rc;
}

static int kernel_fit(void **state, const struct metallm__fit_data *data, const double *values,
                      metallm_error *err)
{
    struct kernel *s = metallm__calloc(1, sizeof *s);
    if (s == NULL)
        return metallm__error_nomem(err, "a kernel estimator");
    uint32_t most = (uint32_t)values[LANDMARKS];
    uint32_t count = data->n < most ? (uint32_t)data->n : most;
    s->gamma = (float)values[GAMMA];
    float *inverse = NULL;
    int rc = choose_landmarks(s, data, count, err);
    if (rc == METALLM_OK) {
        inverse = metallm__alloc_aligned((size_t)count * count, sizeof *inverse);
        rc = inverse == NULL ? metallm__error_nomem(err, "the landmarks' kernel")
                             : whitening(s, inverse, err);
    }
    if (rc == METALLM_OK)
        rc = regress(s, data, values[LAMBDA], inverse, err);
    metallm__free(inverse);
    if (rc == METALLM_OK)
        *state = s;
    else
        kernel_free(s);
    return rc;
}

static int kernel_predict(const void *state, const float *x, size_t n, float *out,
                          metallm_error *err)
{
    const struct kernel *s = state;
    size_t block = n < PREDICT_BLOCK ? n : PREDICT_BLOCK;
    float *k = metallm__alloc_aligned(block * s->landmarks + 1, sizeof *k);
    if (k == NULL)
        return metallm__error_nomem(err, "kernel features");
    for (size_t from = 0; from < n; from += block) {
        size_t rows = n - from < block ? n - from : block;
        kernel_rows(s, x + from * s->dim, rows, k);
        metallm__weights_apply(&s->map, k, rows, out + from * s->map.models);
    }
    metallm__free(k);
    return METALLM_OK;
}

static int kernel_save(const void *state, struct metallm__st_writer *w, const char *prefix,
                       metallm_error *err)
{
    const struct kernel *s = state;
    int rc = metallm__put_f32(w, prefix, "centres", s->landmarks, s->dim, s->centres, err);
    if (rc == METALLM_OK)
        rc = metallm__put_f32(w, prefix, "gamma", 1, 1, &s->gamma, err);
    if (rc == METALLM_OK)
        rc = metallm__weights_save(&s->map, w, prefix, err);
    return rc;
}

static int read_state(struct kernel *s, const struct metallm__st_file *f, const char *prefix,
                      uint32_t models, metallm_error *err)
{
    size_t n = 0, columns = s->dim, one = 1;
    float *gamma = NULL;
    int rc = metallm__get_f32(f, prefix, "centres", &n, &columns, &s->centres, err);
    if (rc == METALLM_OK && (n == 0 || n > METALLM__DENSE_DIM_MAX))
        rc = metallm__error_set(err, METALLM_EFORMAT, "'%s' has %zu landmarks", prefix, n);
    if (rc == METALLM_OK)
        rc = metallm__get_f32(f, prefix, "gamma", &one, &one, &gamma, err);
    if (rc == METALLM_OK)
        s->gamma = gamma[0];
    metallm__free(gamma);
    if (rc == METALLM_OK)
        rc = metallm__weights_load(&s->map, f, prefix, (uint32_t)n, models, err);
    if (rc != METALLM_OK)
        return rc;
    s->landmarks = (uint32_t)n;
    s->squares = metallm__alloc(n, sizeof *s->squares);
    if (s->squares == NULL)
        return metallm__error_nomem(err, "landmarks");
    for (size_t c = 0; c < n; c++)
        s->squares[c] = squared(s->centres + c * s->dim, s->dim);
    return METALLM_OK;
}

static int kernel_load(void **state, const struct metallm__st_file *f, const char *prefix,
                       uint32_t dim, uint32_t models, metallm_error *err)
{
    struct kernel *s = metallm__calloc(1, sizeof *s);
    if (s == NULL)
        return metallm__error_nomem(err, "a kernel estimator");
    s->dim = dim;
    int rc = read_state(s, f, prefix, models, err);
    if (rc == METALLM_OK)
        *state = s;
    else
        kernel_free(s);
    return rc;
}

static const struct metallm__param params[] = {
    [GAMMA] = {"gamma", 2, 1e-6, 1e6, "kernel exp(-gamma |z - z'|^2)", {1, 2}, 2},
    [LAMBDA] = {"lambda", 3, 1e-6, 1e9, "weight of the prior: larger is smoother", {3, 10}, 2},
    [LANDMARKS] = {"landmarks", 600, 1, 4000, "queries kept at most", {0}, 0},
};

const struct metallm__estimator metallm__estimator_kernel = {
    .name = "kernel",
    .source = "kernel ridge regression on landmarks: Rudi et al., NIPS 2015",
    .params = params,
    .param_count = 3,
    .fit = kernel_fit,
    .predict = kernel_predict,
    .free = kernel_free,
    .save = kernel_save,
    .load = kernel_load,
};
