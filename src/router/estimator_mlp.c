/* SPDX-License-Identifier: Apache-2.0
 * estimator_mlp.c - a small network: one hidden layer of ReLU units shared by all models, a
 * sigmoid for each, cross-entropy on soft labels, dropout (Srivastava et al. 2014) and AdamW
 * (Loshchilov and Hutter, ICLR 2019). Several seeds are averaged. A missing score has no gradient.
 * h = relu(W1 x + b1), p = sigmoid(W2 h + b2); x = INPUT_SCALE z. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "math/dense.h"
#include "router/tensors.h"
#include "router/weights.h"

#define INPUT_SCALE   3.0f /* z's columns have a spread of about .1 to .2 */
#define BATCH         64u
#define PREDICT_BLOCK 256u
#define BETA1         0.9f
#define BETA2         0.999f
#define ADAM_EPS      1e-8f
#define STEPS_LEAST   200u   /* few rows: more epochs */
#define STEPS_MAX     20000u /* many rows: fewer */

enum { HIDDEN, SEEDS, EPOCHS, RATE, DECAY, DROPOUT };
enum { W1, B1, W2, B2, PARTS };

/* One network's numbers in one block: W1 (hidden x dim), b1, W2 (models x hidden), b2. */
struct shape {
    uint32_t dim, hidden, models;
    size_t at[PARTS + 1]; /* where each part begins; the last is their sum */
};

struct mlp {
    struct shape shape;
    uint32_t seeds;
    float *nets; /* seeds x shape.at[PARTS] */
};

static struct shape shape_of(uint32_t dim, uint32_t hidden, uint32_t models)
{
    struct shape s = {.dim = dim, .hidden = hidden, .models = models};
    s.at[B1] = (size_t)hidden * dim;
    s.at[W2] = s.at[B1] + hidden;
    s.at[B2] = s.at[W2] + (size_t)models * hidden;
    s.at[PARTS] = s.at[B2] + models;
    return s;
}

static void mlp_free(void *state)
{
    struct mlp *s = state;
    if (s == NULL)
        return;
    metallm__free(s->nets);
    metallm__free(s);
}

/* What one training run needs beside the network itself. */
struct run {
    const struct metallm__fit_data *data;
    const struct shape *shape;
    float *net, *gradient, *first, *second; /* shape->at[PARTS] */
    float *x, *y;                           /* a batch: BATCH x dim, BATCH x models */
    float *h, *mask;                        /* BATCH x hidden; mask: dropout and ReLU's slope */
    float *p, *back;                        /* BATCH x models, BATCH x hidden */
    uint32_t *order;                        /* n */
    float rate, decay, dropout;
    uint64_t step;
    metallm_rng rng;
};

static void run_fini(struct run *r)
{
    metallm__free(r->gradient); /* one block with first and second */
    metallm__free(r->x);        /* one block with the rest of the batch */
    metallm__free(r->order);
}

static int run_init(struct run *r, metallm_error *err)
{
    const struct shape *s = r->shape;
    size_t all = s->at[PARTS];
    size_t row = s->dim + 2 * (size_t)s->models + 3 * (size_t)s->hidden;
    r->gradient = metallm__alloc_aligned(3 * all, sizeof *r->gradient);
    r->x = metallm__alloc_aligned(BATCH * row, sizeof *r->x);
    r->order = metallm__alloc(r->data->n, sizeof *r->order);
    if (r->gradient == NULL || r->x == NULL || r->order == NULL) {
        run_fini(r);
        return metallm__error_nomem(err, "training a network");
    }
    r->first = r->gradient + all;
    r->second = r->first + all;
    r->y = r->x + BATCH * (size_t)s->dim;
    r->p = r->y + BATCH * (size_t)s->models;
    r->h = r->p + BATCH * (size_t)s->models;
    r->mask = r->h + BATCH * (size_t)s->hidden;
    r->back = r->mask + BATCH * (size_t)s->hidden;
    for (uint32_t i = 0; i < r->data->n; i++)
        r->order[i] = i;
    return METALLM_OK;
}

/* Uniform in +-1/sqrt(inputs); the output's bias starts at the mean scores. */
static void start(struct run *r, const double *mean)
{
    const struct shape *s = r->shape;
    memset(r->first, 0, 2 * s->at[PARTS] * sizeof *r->first);
    double range_in = 1 / sqrt((double)s->dim), range_out = 1 / sqrt((double)s->hidden);
    for (size_t i = 0; i < s->at[B2]; i++)
        r->net[i] = (float)((2 * metallm__rng_uniform(&r->rng) - 1) *
                            (i < s->at[W2] ? range_in : range_out));
    for (uint32_t m = 0; m < s->models; m++)
        r->net[s->at[B2] + m] = (float)metallm__logit(fmin(fmax(mean[m], 0.02), 0.98));
}

static void take_batch(struct run *r, size_t from, size_t rows)
{
    const struct metallm__fit_data *d = r->data;
    for (size_t i = 0; i < rows; i++) {
        size_t row = r->order[from + i];
        for (uint32_t j = 0; j < d->dim; j++)
            r->x[i * d->dim + j] = INPUT_SCALE * d->x[row * d->dim + j];
        memcpy(r->y + i * d->models, d->y + row * d->models, d->models * sizeof *r->y);
    }
}

/* h = relu(W1 x + b1) .* mask, p = sigmoid(W2 h + b2). mask NULL: no dropout. */
static void forward(const struct shape *s, const float *net, const float *x, size_t rows, float *h,
                    float *mask, float *p)
{
    metallm__mul_nt(x, net, h, rows, s->hidden, s->dim);
    for (size_t i = 0; i < rows; i++)
        for (uint32_t u = 0; u < s->hidden; u++) {
            float v = h[i * s->hidden + u] + net[s->at[B1] + u];
            if (mask != NULL) {
                mask[i * s->hidden + u] = v > 0 ? mask[i * s->hidden + u] : 0;
                h[i * s->hidden + u] = v * mask[i * s->hidden + u];
            } else {
                h[i * s->hidden + u] = v > 0 ? v : 0;
            }
        }
    metallm__mul_nt(h, net + s->at[W2], p, rows, s->models, s->hidden);
    for (size_t i = 0; i < rows; i++)
        for (uint32_t m = 0; m < s->models; m++)
            p[i * s->models + m] = 1 / (1 + expf(-(p[i * s->models + m] + net[s->at[B2] + m])));
}

static void draw_mask(struct run *r, size_t rows)
{
    float kept = 1 / (1 - r->dropout);
    for (size_t i = 0; i < rows * r->shape->hidden; i++)
        r->mask[i] = (float)metallm__rng_uniform(&r->rng) >= r->dropout ? kept : 0;
}

static void sum_columns(const float *a, size_t rows, uint32_t columns, float *out)
{
    memset(out, 0, columns * sizeof *out);
    for (size_t i = 0; i < rows; i++)
        for (uint32_t j = 0; j < columns; j++)
            out[j] += a[i * columns + j];
}

/* Leaves the gradient of the mean cross-entropy in r->gradient. */
static void backward(struct run *r, size_t rows)
{
    const struct shape *s = r->shape;
    float *g = r->gradient, each = 1 / (float)(rows * s->models);
    for (size_t i = 0; i < rows * s->models; i++)
        r->p[i] = isnan(r->y[i]) ? 0 : (r->p[i] - r->y[i]) * each;
    sum_columns(r->p, rows, s->models, g + s->at[B2]);
    metallm__mul_tn(r->p, r->h, g + s->at[W2], rows, s->hidden, s->models);
    metallm__mul_nn(r->p, r->net + s->at[W2], r->back, rows, s->hidden, s->models);
    for (size_t i = 0; i < rows * s->hidden; i++)
        r->back[i] *= r->mask[i];
    sum_columns(r->back, rows, s->hidden, g + s->at[B1]);
    metallm__mul_tn(r->back, r->x, g, rows, s->dim, s->hidden);
}

static void adam_step(struct run *r)
{
    const struct shape *s = r->shape;
    r->step++;
    float c1 = 1 / (1 - powf(BETA1, (float)r->step)), c2 = 1 / (1 - powf(BETA2, (float)r->step));
    for (size_t i = 0; i < s->at[PARTS]; i++) {
        float g = r->gradient[i];
        int is_weight = i < s->at[B1] || (i >= s->at[W2] && i < s->at[B2]);
        r->first[i] = BETA1 * r->first[i] + (1 - BETA1) * g;
        r->second[i] = BETA2 * r->second[i] + (1 - BETA2) * g * g;
        if (is_weight)
            r->net[i] *= 1 - r->rate * r->decay;
        r->net[i] -= r->rate * (r->first[i] * c1) / (sqrtf(r->second[i] * c2) + ADAM_EPS);
    }
}

static void train(struct run *r, uint32_t epochs)
{
    size_t n = r->data->n;
    for (uint32_t e = 0; (e < epochs || r->step < STEPS_LEAST) && r->step < STEPS_MAX; e++) {
        metallm__rng_shuffle(&r->rng, r->order, n);
        for (size_t from = 0; from < n && r->step < STEPS_MAX; from += BATCH) {
            size_t rows = n - from < BATCH ? n - from : BATCH;
            take_batch(r, from, rows);
            draw_mask(r, rows);
            forward(r->shape, r->net, r->x, rows, r->h, r->mask, r->p);
            backward(r, rows);
            adam_step(r);
        }
    }
}

static int fit_nets(struct mlp *s, const struct metallm__fit_data *data, const double *values,
                    metallm_error *err)
{
    struct run r = {.data = data,
                    .shape = &s->shape,
                    .rate = (float)values[RATE],
                    .decay = (float)values[DECAY],
                    .dropout = (float)values[DROPOUT]};
    int rc = run_init(&r, err);
    if (rc != METALLM_OK)
        return rc;
    double *mean = metallm__alloc(data->models, sizeof *mean);
    if (mean == NULL) {
        run_fini(&r);
        return metallm__error_nomem(err, "training a network");
    }
    metallm__score_means(data, mean);
    for (uint32_t k = 0; k < s->seeds; k++) {
        metallm__rng_stream(&r.rng, data->seed, 100 + k);
        r.net = s->nets + k * s->shape.at[PARTS];
        r.step = 0;
        start(&r, mean);
        train(&r, (uint32_t)values[EPOCHS]);
    }
    metallm__free(mean);
    run_fini(&r);
    return METALLM_OK;
}

static int mlp_fit(void **state, const struct metallm__fit_data *data, const double *values,
                   metallm_error *err)
{
    struct mlp *s = metallm__calloc(1, sizeof *s);
    if (s == NULL)
        return metallm__error_nomem(err, "a network");
    s->shape = shape_of(data->dim, (uint32_t)values[HIDDEN], data->models);
    s->seeds = (uint32_t)values[SEEDS];
    s->nets = metallm__calloc(s->seeds * s->shape.at[PARTS], sizeof *s->nets);
    int rc =
        s->nets == NULL ? metallm__error_nomem(err, "a network") : fit_nets(s, data, values, err);
    if (rc == METALLM_OK)
        *state = s;
    else
        mlp_free(s);
    return rc;
}

static void predict_block(const struct mlp *s, const float *x, size_t rows, float *scratch,
                          float *out)
{
    const struct shape *h = &s->shape;
    float *scaled = scratch, *hidden = scaled + rows * h->dim, *p = hidden + rows * h->hidden;
    for (size_t i = 0; i < rows * h->dim; i++)
        scaled[i] = INPUT_SCALE * x[i];
    memset(out, 0, rows * h->models * sizeof *out);
    for (uint32_t k = 0; k < s->seeds; k++) {
        forward(h, s->nets + k * h->at[PARTS], scaled, rows, hidden, NULL, p);
        for (size_t i = 0; i < rows * h->models; i++)
            out[i] += p[i] / (float)s->seeds;
    }
}

static int mlp_predict(const void *state, const float *x, size_t n, float *out, metallm_error *err)
{
    const struct mlp *s = state;
    const struct shape *h = &s->shape;
    size_t block = n < PREDICT_BLOCK ? n : PREDICT_BLOCK;
    float *scratch =
        metallm__alloc(block * (h->dim + (size_t)h->hidden + h->models) + 1, sizeof *scratch);
    if (scratch == NULL)
        return metallm__error_nomem(err, "a network's layers");
    for (size_t from = 0; from < n; from += block) {
        size_t rows = n - from < block ? n - from : block;
        predict_block(s, x + from * h->dim, rows, scratch, out + from * h->models);
    }
    metallm__free(scratch);
    return METALLM_OK;
}

static int mlp_save(const void *state, struct metallm__st_writer *w, const char *prefix,
                    metallm_error *err)
{
    const struct mlp *s = state;
    const int32_t hidden = (int32_t)s->shape.hidden;
    int rc = metallm__put_f32(w, prefix, "nets", s->seeds, s->shape.at[PARTS], s->nets, err);
    if (rc == METALLM_OK)
        rc = metallm__put_i32(w, prefix, "hidden", 1, 1, &hidden, err);
    return rc;
}

static int read_state(struct mlp *s, const struct metallm__st_file *f, const char *prefix,
                      uint32_t dim, uint32_t models, metallm_error *err)
{
    size_t one = 1, seeds = 0;
    int32_t *hidden = NULL;
    int rc = metallm__get_i32(f, prefix, "hidden", &one, &one, &hidden, err);
    if (rc != METALLM_OK)
        return rc;
    if (hidden[0] < 1 || hidden[0] > 4096) {
        metallm__free(hidden);
        return metallm__error_set(err, METALLM_EFORMAT, "'%s' has an impossible layer", prefix);
    }
    s->shape = shape_of(dim, (uint32_t)hidden[0], models);
    metallm__free(hidden);
    size_t columns = s->shape.at[PARTS];
    if ((rc = metallm__get_f32(f, prefix, "nets", &seeds, &columns, &s->nets, err)) != METALLM_OK)
        return rc;
    if (seeds == 0 || seeds > 1000)
        return metallm__error_set(err, METALLM_EFORMAT, "'%s' has %zu networks", prefix, seeds);
    s->seeds = (uint32_t)seeds;
    return METALLM_OK;
}

static int mlp_load(void **state, const struct metallm__st_file *f, const char *prefix,
                    uint32_t dim, uint32_t models, metallm_error *err)
{
    struct mlp *s = metallm__calloc(1, sizeof *s);
    if (s == NULL)
        return metallm__error_nomem(err, "a network");
    int rc = read_state(s, f, prefix, dim, models, err);
    if (rc == METALLM_OK)
        *state = s;
    else
        mlp_free(s);
    return rc;
}

static const struct metallm__param params[] = {
    [HIDDEN] = {"hidden", 32, 1, 1024, "ReLU units", {0}, 0},
    [SEEDS] = {"seeds", 3, 1, 100, "networks that are averaged", {0}, 0},
    [EPOCHS] = {"epochs", 12, 1, 1000, "passes over the rows", {0}, 0},
    [RATE] = {"rate", 1e-3, 1e-7, 1, "AdamW's learning rate", {0}, 0},
    [DECAY] = {"decay", 0.3, 0, 100, "AdamW's weight decay", {0}, 0},
    [DROPOUT] = {"dropout", 0.3, 0, 0.95, "share of units left out at each step", {0}, 0},
};

const struct metallm__estimator metallm__estimator_mlp = {
    .name = "mlp",
    .source = "one hidden layer, AdamW: Loshchilov and Hutter, ICLR 2019",
    .params = params,
    .param_count = 6,
    .fit = mlp_fit,
    .predict = mlp_predict,
    .free = mlp_free,
    .save = mlp_save,
    .load = mlp_load,
};
