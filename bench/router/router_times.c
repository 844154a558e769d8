/* SPDX-License-Identifier: Apache-2.0
 * router_times.c - times training and deciding through the public library, on made-up outcomes of a
 * known shape: x is normal, a model's chance of being right is logistic in x.
 *   router_times train ESTIMATOR ROWS DIM MODELS FOLDER   trains once; writes x.f32 and y.f32
 *   router_times decide ESTIMATOR ROWS DIM MODELS         decisions a second on stored vectors
 * Prints one line of name=value pairs; seconds are CPU time of this process. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "metallm/router.h"

struct made {
    size_t rows;
    uint32_t dim, models;
    float *x, *y; /* rows x dim, rows x models (0 or 1) */
    metallm_outcomes *outcomes;
};

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void stop(const char *what, const metallm_error *err)
{
    fprintf(stderr, "router_times: %s: %s\n", what, err->message);
    exit(1);
}

/* A cheap generator of its own: what is timed must not depend on the library's. */
static double uniform(uint64_t *s)
{
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return (double)(*s >> 11) * 0x1p-53;
}

static double normal(uint64_t *s)
{
    double u = 1 - uniform(s);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * uniform(s));
}

static void make_rows(struct made *d, uint64_t *s)
{
    float *w = malloc(d->models * d->dim * sizeof *w);
    d->x = malloc(d->rows * d->dim * sizeof *d->x);
    d->y = malloc(d->rows * d->models * sizeof *d->y);
    if (w == NULL || d->x == NULL || d->y == NULL)
        exit(1);
    for (size_t i = 0; i < (size_t)d->models * d->dim; i++)
        w[i] = (float)normal(s);
    for (size_t i = 0; i < d->rows * d->dim; i++)
        d->x[i] = (float)(normal(s) / sqrt(d->dim));
    for (size_t i = 0; i < d->rows; i++)
        for (uint32_t m = 0; m < d->models; m++) {
            double z = 0;
            for (uint32_t k = 0; k < d->dim; k++)
                z += (double)w[m * d->dim + k] * (double)d->x[i * d->dim + k];
            d->y[i * d->models + m] = uniform(s) < 1 / (1 + exp(-z)) ? 1.0f : 0.0f;
        }
    free(w);
}

static void make_table(struct made *d)
{
    metallm_error err = {0};
    if (metallm_outcomes_new(&d->outcomes, &err) != METALLM_OK)
        stop("outcomes", &err);
    for (uint32_t m = 0; m < d->models; m++) {
        char name[32];
        uint32_t index;
        snprintf(name, sizeof name, "model-%u", (unsigned)m);
        if (metallm_outcomes_add_model(d->outcomes, name, &index, &err) != METALLM_OK)
            stop("model", &err);
    }
    for (size_t i = 0; i < d->rows; i++) {
        char prompt[32];
        size_t q;
        snprintf(prompt, sizeof prompt, "query %zu", i);
        metallm_query query = {.prompt = prompt};
        if (metallm_outcomes_add_query(d->outcomes, &query, &q, &err) != METALLM_OK)
            stop("query", &err);
        for (uint32_t m = 0; m < d->models; m++) {
            metallm_outcome cell = metallm_outcome_unknown();
            cell.score = d->y[i * d->models + m];
            cell.cost_usd = 0.001f * (float)(m + 1);
            if (metallm_outcomes_set(d->outcomes, q, m, &cell, &err) != METALLM_OK)
                stop("outcome", &err);
        }
    }
}

static metallm_vectors vectors_of(const struct made *d, size_t rows)
{
    return (metallm_vectors){
        .values = d->x, .rows = rows, .layout = {.head = d->dim}, .encoder = "custom"};
}

static metallm_router *train(const struct made *d, const char *estimator)
{
    metallm_error err = {0};
    metallm_router *r = NULL;
    metallm_vectors x = vectors_of(d, d->rows);
    metallm_train_options opts = {.estimator = estimator, .seed = 1, .folds = 5, .threads = 1};
    if (metallm_router_train(&r, d->outcomes, &x, &opts, NULL, &err) != METALLM_OK)
        stop(estimator, &err);
    return r;
}

static void write_floats(const char *folder, const char *name, const float *v, size_t count)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(v, sizeof *v, count, f) != count || fclose(f) != 0) {
        perror(path);
        exit(1);
    }
}

static double decide_all(const struct made *d, const metallm_router *r)
{
    enum { BLOCK = 256 };
    metallm_error err = {0};
    metallm_rng rng;
    metallm_rng_seed(&rng, 1);
    metallm_constraints c = {.dial = 0.1f};
    metallm_estimate *e = malloc(BLOCK * d->models * sizeof *e);
    size_t done = 0;
    unsigned long chosen = 0;
    double start = cpu_s();
    for (size_t at = 0; e != NULL && at + BLOCK <= d->rows; at += BLOCK) {
        metallm_vectors x = vectors_of(d, BLOCK);
        x.values = d->x + at * d->dim;
        if (metallm_router_estimate(r, &x, e, &err) != METALLM_OK)
            stop("estimate", &err);
        for (size_t i = 0; i < BLOCK; i++) {
            metallm_decision decision;
            if (metallm_router_decide(r, e + i * d->models, &c, &rng, &decision, &err) !=
                METALLM_OK)
                stop("decide", &err);
            chosen += decision.model;
        }
        done += BLOCK;
    }
    double seconds = cpu_s() - start;
    free(e);
    printf("decisions=%zu chosen_sum=%lu ", done, chosen);
    return seconds;
}

int main(int argc, char **argv)
{
    if (argc < 6) {
        fprintf(stderr, "usage: router_times train|decide ESTIMATOR ROWS DIM MODELS [FOLDER]\n");
        return 2;
    }
    struct made d = {.rows = strtoul(argv[3], NULL, 10),
                     .dim = (uint32_t)strtoul(argv[4], NULL, 10),
                     .models = (uint32_t)strtoul(argv[5], NULL, 10)};
    uint64_t seed = 7;
    make_rows(&d, &seed);
    make_table(&d);
    if (argc > 6) {
        write_floats(argv[6], "x.f32", d.x, d.rows * d.dim);
        write_floats(argv[6], "y.f32", d.y, d.rows * d.models);
    }
    double start = cpu_s();
    metallm_router *r = train(&d, argv[2]);
    double seconds = cpu_s() - start;
    printf("estimator=%s rows=%zu dim=%u models=%u ", argv[2], d.rows, d.dim, d.models);
    if (strcmp(argv[1], "decide") == 0) {
        double s = decide_all(&d, r);
        printf("seconds=%.4f ns_each=%.0f\n", s, 1e9 * s / (double)d.rows);
    } else {
        struct rusage usage;
        getrusage(RUSAGE_SELF, &usage);
        printf("seconds=%.2f peak_mb=%.0f\n", seconds, (double)usage.ru_maxrss / 1024);
    }
    metallm_router_free(r);
    metallm_outcomes_free(d.outcomes);
    free(d.x);
    free(d.y);
    return 0;
}
