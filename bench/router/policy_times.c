/* SPDX-License-Identifier: Apache-2.0
 * policy_times.c - CPU time of one online decision and of taking in its outcome, for each policy,
 * after the models have been learned of: policy_times prints CSV rows
 *   what,policy,dim,models,ns_median,ns_least
 * "decide": estimates of quality, cost and latency corrected for all models, their chances, the
 * draw. "update": quality, cost and latency of one model taken in. "decide, budget": the same with
 * a pacer. Each figure is over ROUNDS rounds of at least ROUND_S seconds. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/rng.h"
#include "router/agent.h"

enum { ROUNDS = 9, ROWS = 1024, MODELS_MOST = 16, DIM_MOST = 384 };
#define ROUND_S 0.05

struct bench {
    uint32_t dim, models;
    double *z; /* ROWS x pad */
    uint32_t pad;
    struct metallm__belief prior[ROWS][MODELS_MOST];
    struct metallm__agent *agent;
    metallm_rng rng;
    const char *policy;
};

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void stop(const metallm_error *err)
{
    fprintf(stderr, "policy_times: %s\n", err->message);
    exit(1);
}

static void make_rows(struct bench *b)
{
    b->pad = (b->dim + 7) & ~7u;
    b->z = aligned_alloc(64, (size_t)ROWS * b->pad * sizeof *b->z);
    if (b->z == NULL)
        exit(1);
    memset(b->z, 0, (size_t)ROWS * b->pad * sizeof *b->z);
    for (size_t i = 0; i < ROWS; i++) {
        for (uint32_t k = 0; k < b->dim; k++)
            b->z[i * b->pad + k] = k == 0 ? 1 : metallm__rng_normal(&b->rng) / sqrt(b->dim);
        for (uint32_t m = 0; m < b->models; m++)
            b->prior[i][m] = (struct metallm__belief){
                .quality = 0.5 + 0.3 * metallm__rng_uniform(&b->rng) + 0.2 * m / b->models,
                .cost_usd =
                    1e-4 * pow(10, 2.0 * m / b->models) * (0.5 + metallm__rng_uniform(&b->rng)),
                .latency_ms = 500};
    }
}

static void learn_one(struct bench *b, size_t i, uint32_t m)
{
    metallm_error err = {0};
    const struct metallm__belief *p = &b->prior[i][m];
    const double chance = fmin(p->quality + 0.1 * b->z[i * b->pad + 1], 1);
    const struct metallm__seen seen = {.quality = metallm__rng_uniform(&b->rng) < chance,
                                       .cost_usd = p->cost_usd,
                                       .latency_ms = p->latency_ms};
    if (metallm__agent_observe(b->agent, m, b->z + i * b->pad, p, &seen, NULL, &err) != METALLM_OK)
        stop(&err);
}

static void decide_one(struct bench *b, size_t i)
{
    const struct metallm__choice c =
        metallm__agent_decide(b->agent, b->z + i * b->pad, b->prior[i], NULL, &b->rng);
    metallm__agent_spent(b->agent, b->prior[i][c.model].cost_usd);
}

static void update_one(struct bench *b, size_t i)
{
    learn_one(b, i, (uint32_t)(i % b->models));
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(struct bench *b, const char *what, void (*one)(struct bench *, size_t))
{
    double ns[ROUNDS];
    size_t i = 0;
    for (int r = 0; r < ROUNDS; r++) {
        size_t done = 0;
        const double start = cpu_s();
        double now = start;
        while (now - start < ROUND_S) {
            for (int k = 0; k < 64; k++, done++, i = (i + 1) % ROWS)
                one(b, i);
            now = cpu_s();
        }
        ns[r] = 1e9 * (now - start) / (double)done;
    }
    qsort(ns, ROUNDS, sizeof ns[0], by_value);
    printf("%s,%s,%u,%u,%.0f,%.0f\n", what, b->policy, (unsigned)b->dim, (unsigned)b->models,
           ns[ROUNDS / 2], ns[0]);
}

static void begin(struct bench *b, double budget)
{
    metallm_error err = {0};
    struct metallm__agent_options o = metallm__agent_defaults();
    o.adapt.learner.dim = b->dim;
    o.adapt.learner.models = b->models;
    o.dial = 0.1;
    o.scale = 0.01;
    o.pacer.usd_per_request = budget;
    if (metallm__policy_parse(&o.policy, b->policy, &err) != METALLM_OK ||
        metallm__agent_new(&b->agent, &o, &err) != METALLM_OK)
        stop(&err);
    for (size_t i = 0; i < ROWS; i++)
        learn_one(b, i, (uint32_t)(i % b->models));
}

static void run(uint32_t dim, uint32_t models)
{
    static const char *const policies[] = {"greedy",           "linucb",  "thompson",
                                           "thompson:scale=1", "epsilon", "squarecb"};
    static struct bench b;
    b = (struct bench){.dim = dim, .models = models};
    metallm_rng_seed(&b.rng, 1);
    make_rows(&b);
    for (size_t p = 0; p < sizeof policies / sizeof policies[0]; p++) {
        b.policy = policies[p];
        begin(&b, 0);
        measure(&b, "decide", decide_one);
        if (p == 0)
            measure(&b, "update", update_one);
        metallm__agent_free(b.agent);
    }
    b.policy = "greedy";
    begin(&b, 1e-3);
    measure(&b, "decide within a budget", decide_one);
    metallm__agent_free(b.agent);
    free(b.z);
}

int main(void)
{
    printf("what,policy,dim,models,ns_median,ns_least\n");
    run(64, 4);
    run(DIM_MOST, MODELS_MOST);
    return 0;
}
