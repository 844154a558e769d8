/* SPDX-License-Identifier: Apache-2.0
 * forest_grow.c - growing extremely randomised trees (forest.h). A tree is grown by a stack of row
 * ranges in one array of row numbers that each split parts in place, keeping their order, so that
 * the columns of x and the rows of y are read forwards. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "router/forest.h"

#define PARENT_COUNT 1.0 /* pseudo-count of the parent's mean in a leaf */
#define SCALE_LEAST  1e-12f

struct range {
    uint32_t node;        /* counted from the tree's first */
    uint32_t from, count; /* rows */
    size_t mean;          /* where the parent's means stand */
};

struct grower {
    const struct metallm__forest_data *d;
    const struct metallm__forest_options *o;
    struct metallm__forest *f;
    size_t node_cap, leaf_cap, first; /* room; the tree's first node */
    uint32_t stride;                  /* targets rounded up to whole vectors */
    float *columns;                   /* dim x n: x by columns */
    float *y;                         /* n x stride: known ones less the overall mean, else 0 */
    float *known;                     /* n x stride: 1 or 0; NULL: all are known */
    double *overall;                  /* targets */
    uint32_t *rows;                   /* the tree's rows, parted as it grows */
    uint32_t row_count;
    uint32_t *order;       /* n, for drawing rows */
    uint32_t *features;    /* dim, for drawing features */
    float *column;         /* row_count: one feature's values in the range */
    double *total, *count; /* targets: of the range */
    float *left_sum;       /* stride */
    float *left_count;     /* stride, only with missing scores */
    struct range *stack;
    size_t stack_count, stack_cap;
    double *means; /* stack of means: one a range that was split, targets each */
    size_t mean_count, mean_cap;
    metallm_rng rng;
};

struct split {
    uint32_t feature;
    float threshold;
    double gain; /* sum over targets of sum^2/count, both sides; -INFINITY: none */
};

static void grower_fini(struct grower *g)
{
    metallm__free(g->columns);
    metallm__free(g->y);
    metallm__free(g->known);
    metallm__free(g->overall);
    metallm__free(g->rows);
    metallm__free(g->order);
    metallm__free(g->features);
    metallm__free(g->column);
    metallm__free(g->total);
    metallm__free(g->left_sum);
    metallm__free(g->stack);
    metallm__free(g->means);
}

/* Means over all rows and the targets less them; a target that is never known is 0. */
static void centre(struct grower *g, bool is_complete)
{
    const struct metallm__forest_data *d = g->d;
    for (uint32_t m = 0; m < d->targets; m++) {
        double sum = 0, count = 0;
        for (size_t i = 0; i < d->n; i++) {
            float y = d->y[i * d->targets + m];
            sum += isnan(y) ? 0 : (double)y;
            count += isnan(y) ? 0 : 1;
        }
        g->overall[m] = count > 0 ? sum / count : 0;
    }
    for (size_t i = 0; i < d->n; i++)
        for (uint32_t m = 0; m < d->targets; m++) {
            float y = d->y[i * d->targets + m];
            g->y[i * g->stride + m] = isnan(y) ? 0 : y - (float)g->overall[m];
            if (!is_complete)
                g->known[i * g->stride + m] = isnan(y) ? 0.0f : 1.0f;
        }
}

static void transpose(struct grower *g)
{
    const struct metallm__forest_data *d = g->d;
    for (size_t i = 0; i < d->n; i++)
        for (uint32_t j = 0; j < d->dim; j++)
            g->columns[j * d->n + i] = d->x[i * d->dim + j];
}

static int grower_init(struct grower *g, metallm_error *err)
{
    const struct metallm__forest_data *d = g->d;
    bool is_complete = true;
    for (size_t i = 0; i < d->n * d->targets && is_complete; i++)
        is_complete = !isnan(d->y[i]);
    g->row_count = d->n < g->o->rows_max ? (uint32_t)d->n : g->o->rows_max;
    g->stride = (d->targets + 3) & ~3u;
    size_t cells = d->n * g->stride;
    g->columns = metallm__alloc_aligned(d->n * d->dim, sizeof *g->columns);
    g->y = metallm__alloc_aligned(cells, sizeof *g->y);
    if (!is_complete)
        g->known = metallm__alloc_aligned(cells, sizeof *g->known);
    g->overall = metallm__alloc(d->targets, sizeof *g->overall);
    g->rows = metallm__alloc(g->row_count, sizeof *g->rows);
    g->order = metallm__alloc(d->n, sizeof *g->order);
    g->features = metallm__alloc(d->dim, sizeof *g->features);
    g->column = metallm__alloc(g->row_count, sizeof *g->column);
    g->total = metallm__alloc(2 * (size_t)d->targets, sizeof *g->total);
    g->left_sum = metallm__alloc_aligned(2 * (size_t)g->stride, sizeof *g->left_sum);
    if (g->columns == NULL || g->y == NULL || (!is_complete && g->known == NULL) ||
        g->overall == NULL || g->rows == NULL || g->order == NULL || g->features == NULL ||
        g->column == NULL || g->total == NULL || g->left_sum == NULL)
        return metallm__error_nomem(err, "growing trees");
    g->count = g->total + d->targets;
    g->left_count = g->left_sum + g->stride;
    memset(g->y, 0, cells * sizeof *g->y);
    if (g->known != NULL)
        memset(g->known, 0, cells * sizeof *g->known);
    centre(g, is_complete);
    transpose(g);
    for (uint32_t i = 0; i < d->n; i++)
        g->order[i] = i;
    for (uint32_t j = 0; j < d->dim; j++)
        g->features[j] = j;
    return METALLM_OK;
}

/* Room for one more node and its number in *out. */
static int add_node(struct grower *g, uint32_t *out, metallm_error *err)
{
    struct metallm__forest *f = g->f;
    if (f->nodes == g->node_cap) {
        size_t caps[3] = {g->node_cap, g->node_cap, g->node_cap};
        if (f->nodes >= INT32_MAX / 2 ||
            metallm__grow((void **)&f->feature, &caps[0], f->nodes + 1, 4) != 0 ||
            metallm__grow((void **)&f->left, &caps[1], f->nodes + 1, 4) != 0 ||
            metallm__grow((void **)&f->threshold, &caps[2], f->nodes + 1, 4) != 0)
            return metallm__error_nomem(err, "a tree");
        g->node_cap = caps[0];
    }
    f->left[f->nodes] = 0;
    f->threshold[f->nodes] = 0;
    *out = (uint32_t)(f->nodes - g->first);
    f->nodes++;
    return METALLM_OK;
}

static int push(struct grower *g, struct range range, metallm_error *err)
{
    if (metallm__grow((void **)&g->stack, &g->stack_cap, g->stack_count + 1, sizeof *g->stack) != 0)
        return metallm__error_nomem(err, "a tree");
    g->stack[g->stack_count++] = range;
    return METALLM_OK;
}

static void sum_range(struct grower *g, const struct range *r)
{
    uint32_t targets = g->d->targets;
    memset(g->total, 0, 2 * (size_t)targets * sizeof *g->total);
    for (uint32_t i = 0; i < r->count; i++) {
        size_t row = g->rows[r->from + i];
        for (uint32_t m = 0; m < targets; m++) {
            g->total[m] += (double)g->y[row * g->stride + m];
            if (g->known != NULL)
                g->count[m] += (double)g->known[row * g->stride + m];
        }
    }
    for (uint32_t m = 0; m < targets && g->known == NULL; m++)
        g->count[m] = (double)r->count;
}

/* Four targets at a time. */
typedef float lane __attribute__((vector_size(16)));

static lane weighted(const float *values, float column, float threshold)
{
    float w = column <= threshold ? 1 : 0;
    lane v;
    memcpy(&v, values, sizeof v);
    return v * w;
}

/* sum (stride) = sum of w_i values[rows[i]], w_i 1 where column[i] is at or below the threshold:
 * weights in place of a branch that no processor could foresee, and two sums side by side so that
 * one need not wait for the other. */
static void sum_weighted(const struct grower *g, const struct range *r, float threshold,
                         const float *values, float *sum)
{
    const uint32_t *rows = g->rows + r->from;
    const float *column = g->column;
    for (uint32_t m = 0; m < g->stride; m += 4) {
        lane even = {0}, odd = {0};
        uint32_t i = 0;
        for (; i + 1 < r->count; i += 2) {
            even += weighted(values + (size_t)rows[i] * g->stride + m, column[i], threshold);
            odd += weighted(values + (size_t)rows[i + 1] * g->stride + m, column[i + 1], threshold);
        }
        if (i < r->count)
            even += weighted(values + (size_t)rows[i] * g->stride + m, column[i], threshold);
        even += odd;
        memcpy(sum + m, &even, sizeof even);
    }
}

/* Sums of the rows at or below the threshold; returns how many they are. */
static uint32_t sum_left(struct grower *g, const struct range *r, float threshold)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->count; i++)
        count += g->column[i] <= threshold;
    if (count < g->o->leaf || r->count - count < g->o->leaf)
        return count; /* no split to weigh */
    sum_weighted(g, r, threshold, g->y, g->left_sum);
    if (g->known != NULL)
        sum_weighted(g, r, threshold, g->known, g->left_count);
    return count;
}

static double gain_of(const struct grower *g, uint32_t left_rows)
{
    double gain = 0;
    for (uint32_t m = 0; m < g->d->targets; m++) {
        double left = (double)g->left_sum[m], right = g->total[m] - left;
        double n_left = g->known == NULL ? (double)left_rows : (double)g->left_count[m];
        double n_right = g->count[m] - n_left;
        gain += n_left > 0 ? left * left / n_left : 0;
        gain += n_right > 0 ? right * right / n_right : 0;
    }
    return gain;
}

/* The feature's values into g->column; false where they are all the same. */
static bool read_column(struct grower *g, const struct range *r, uint32_t feature, float *low,
                        float *high)
{
    *low = INFINITY;
    *high = -INFINITY;
    const float *column = g->columns + (size_t)feature * g->d->n;
    for (uint32_t i = 0; i < r->count; i++) {
        float v = column[g->rows[r->from + i]];
        g->column[i] = v;
        *low = v < *low ? v : *low;
        *high = v > *high ? v : *high;
    }
    return *high - *low > SCALE_LEAST;
}

/* Tries features in random order until enough of them that are not constant were tried. */
static struct split find_split(struct grower *g, const struct range *r)
{
    struct split best = {.gain = -INFINITY};
    uint32_t dim = g->d->dim, wanted = (uint32_t)ceil(g->o->share * (double)dim), tried = 0;
    for (uint32_t i = 0; i < dim && tried < wanted; i++) {
        uint32_t j = i + metallm__rng_below(&g->rng, dim - i), feature = g->features[j];
        g->features[j] = g->features[i];
        g->features[i] = feature;
        float low, high;
        if (!read_column(g, r, feature, &low, &high))
            continue;
        tried++;
        float threshold = low + (float)metallm__rng_uniform(&g->rng) * (high - low);
        uint32_t rows = sum_left(g, r, threshold);
        if (rows < g->o->leaf || r->count - rows < g->o->leaf)
            continue;
        double gain = gain_of(g, rows);
        if (gain > best.gain)
            best = (struct split){feature, threshold, gain};
    }
    return best;
}

/* Rows at or below the threshold come first; returns how many they are. Keeps their order. */
static uint32_t part(struct grower *g, const struct range *r, const struct split *s)
{
    uint32_t *rows = g->rows + r->from, left = 0, right = 0;
    uint32_t *aside = (uint32_t *)(void *)g->column; /* not needed any more for this range */
    const float *column = g->columns + (size_t)s->feature * g->d->n;
    for (uint32_t i = 0; i < r->count; i++) {
        if (column[rows[i]] > s->threshold)
            aside[right++] = rows[i];
        else
            rows[left++] = rows[i];
    }
    memcpy(rows + left, aside, right * sizeof *rows);
    return left;
}

static double mean_of(const struct grower *g, const struct range *r, uint32_t m)
{
    double parent = r->mean == SIZE_MAX ? 0 : g->means[r->mean * g->d->targets + m];
    return (g->total[m] + PARENT_COUNT * parent) / (g->count[m] + PARENT_COUNT);
}

static int make_leaf(struct grower *g, const struct range *r, metallm_error *err)
{
    struct metallm__forest *f = g->f;
    uint32_t targets = g->d->targets;
    if (metallm__grow((void **)&f->value, &g->leaf_cap, (f->leaves + 1) * targets,
                      sizeof *f->value) != 0)
        return metallm__error_nomem(err, "a tree");
    for (uint32_t m = 0; m < targets; m++)
        f->value[f->leaves * targets + m] = (float)(g->overall[m] + mean_of(g, r, m));
    f->feature[g->first + r->node] = -1 - (int32_t)f->leaves;
    f->leaves++;
    return METALLM_OK;
}

static int make_children(struct grower *g, const struct range *r, const struct split *s,
                         metallm_error *err)
{
    uint32_t targets = g->d->targets, left = 0, right = 0;
    if (metallm__grow((void **)&g->means, &g->mean_cap, (g->mean_count + 1) * targets,
                      sizeof *g->means) != 0)
        return metallm__error_nomem(err, "a tree");
    for (uint32_t m = 0; m < targets; m++)
        g->means[g->mean_count * targets + m] = mean_of(g, r, m);
    int rc = add_node(g, &left, err);
    if (rc == METALLM_OK)
        rc = add_node(g, &right, err);
    if (rc != METALLM_OK)
        return rc;
    size_t node = g->first + r->node;
    g->f->feature[node] = (int32_t)s->feature;
    g->f->threshold[node] = s->threshold;
    g->f->left[node] = (int32_t)left;
    uint32_t rows = part(g, r, s);
    size_t mean = g->mean_count++;
    rc = push(g, (struct range){right, r->from + rows, r->count - rows, mean}, err);
    return rc != METALLM_OK ? rc : push(g, (struct range){left, r->from, rows, mean}, err);
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Draws the tree's rows: all of them, or row_count without putting back. */
static void draw_rows(struct grower *g)
{
    if (g->row_count < g->d->n)
        for (uint32_t i = 0; i < g->row_count; i++) {
            uint32_t j = i + metallm__rng_below(&g->rng, (uint32_t)g->d->n - i);
            uint32_t kept = g->order[j];
            g->order[j] = g->order[i];
            g->order[i] = kept;
        }
    memcpy(g->rows, g->order, g->row_count * sizeof *g->rows);
    if (g->row_count < g->d->n)
        qsort(g->rows, g->row_count, sizeof *g->rows, by_number);
}

static int grow_tree(struct grower *g, metallm_error *err)
{
    uint32_t root = 0;
    g->first = g->f->nodes;
    g->stack_count = 0;
    g->mean_count = 0;
    draw_rows(g);
    int rc = add_node(g, &root, err);
    if (rc == METALLM_OK)
        rc = push(g, (struct range){root, 0, g->row_count, SIZE_MAX}, err);
    while (rc == METALLM_OK && g->stack_count > 0) {
        struct range r = g->stack[--g->stack_count];
        sum_range(g, &r);
        struct split s = {.gain = -INFINITY};
        if (r.count >= 2 * g->o->leaf)
            s = find_split(g, &r);
        rc = isinf(s.gain) ? make_leaf(g, &r, err) : make_children(g, &r, &s, err);
    }
    return rc;
}

int metallm__forest_fit(struct metallm__forest *out, const struct metallm__forest_data *data,
                        const struct metallm__forest_options *opts, metallm_error *err)
{
    METALLM_REQUIRE(data->n >= 1 && data->n < INT32_MAX && data->dim >= 1 && opts->leaf >= 1);
    struct metallm__forest f = {.trees = opts->trees, .targets = data->targets, .dim = data->dim};
    struct grower g = {.d = data, .o = opts, .f = &f};
    int rc = grower_init(&g, err);
    f.root = metallm__alloc(opts->trees + (size_t)1, sizeof *f.root);
    if (rc == METALLM_OK && f.root == NULL)
        rc = metallm__error_nomem(err, "growing trees");
    for (uint32_t t = 0; t < opts->trees && rc == METALLM_OK; t++) {
        metallm__rng_stream(&g.rng, data->seed, 1000 + t);
        f.root[t] = (int32_t)f.nodes;
        rc = grow_tree(&g, err);
    }
    grower_fini(&g);
    if (rc != METALLM_OK) {
        metallm__forest_fini(&f);
        return rc;
    }
    f.root[opts->trees] = (int32_t)f.nodes;
    *out = f;
    return METALLM_OK;
}
