/* SPDX-License-Identifier: Apache-2.0
 * train.c - from outcomes and vectors to a router. Everything that is chosen is chosen on the
 * training rows: hyper-parameters, the members' weights, their strength and the calibration come
 * from out-of-fold predictions. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "math/calibration.h"
#include "math/parallel.h"
#include "router/crossfit.h"
#include "router/router_state.h"

#define FOLDS_DEFAULT 5u
#define ROWS_MAX      (INT32_MAX / 2)

/* `auto`: bounded, smooth and local views of the same rows. Averaging such members beat every one
 * of them over five benchmarks and their random splits; the prior weights are drawn to by the
 * combination, so that few rows cannot overturn them. */
static const struct {
    const char *spec;
    double prior;
} auto_members[] = {{"forest", 8. / 14},
                    {"mlp", 3. / 14},
                    {"logistic", 1. / 14},
                    {"kernel", 1. / 14},
                    {"knn", 1. / 14}};
#define AUTO_MEMBERS (sizeof auto_members / sizeof auto_members[0])

struct training {
    const metallm_outcomes *outcomes;
    const metallm_vectors *x;
    const metallm_train_options *opts;
    metallm_router *router;
    struct metallm__spec spec[METALLM__MEMBERS_MAX];
    double prior[METALLM__MEMBERS_MAX];
    struct metallm__folds folds;
    struct metallm__fit_data data; /* x: z of all rows; y: scores */
    float *z, *lengths, *y, *amount;
    float *p[METALLM__MEMBERS_MAX]; /* out-of-fold predictions, n x models */
    int is_auto;
};

static void training_fini(struct training *t)
{
    metallm__folds_fini(&t->folds);
    metallm__free(t->z);
    metallm__free(t->lengths);
    metallm__free(t->y);
    metallm__free(t->amount);
    for (uint32_t k = 0; k < METALLM__MEMBERS_MAX; k++)
        metallm__free(t->p[k]);
    metallm_router_free(t->router);
}

static int check(const metallm_outcomes *outcomes, const metallm_vectors *x,
                 const metallm_train_options *opts, metallm_error *err)
{
    size_t n = metallm_outcomes_query_count(outcomes);
    uint32_t models = metallm_outcomes_model_count(outcomes);
    if (n == 0 || models == 0)
        return metallm__error_set(err, METALLM_EINVAL, "there are no outcomes to learn from");
    if (n > ROWS_MAX)
        return metallm__error_set(err, METALLM_ELIMIT, "%zu queries are too many to learn from", n);
    if (x->rows != n)
        return metallm__error_set(err, METALLM_EMISMATCH, "%zu vectors for %zu queries", x->rows,
                                  n);
    if (x->encoder == NULL || strlen(x->encoder) >= METALLM_ENCODER_ID_BYTES)
        return metallm__error_set(err, METALLM_EINVAL, "the encoder's name is missing or too long");
    if (opts->folds == 1 || opts->folds > METALLM__FOLDS_MAX)
        return metallm__error_set(err, METALLM_EINVAL, "%u folds are not within 2..%u", opts->folds,
                                  METALLM__FOLDS_MAX);
    return METALLM_OK;
}

static int choose_specs(struct training *t, metallm_error *err)
{
    const char *wanted = t->opts->estimator == NULL ? "auto" : t->opts->estimator;
    metallm_router *r = t->router;
    t->is_auto = strcmp(wanted, "auto") == 0;
    if (!t->is_auto) {
        r->members = 1;
        t->prior[0] = 1;
        int rc = metallm__spec_parse(&t->spec[0], wanted, err);
        r->members = rc == METALLM_OK;
        return rc;
    }
    for (uint32_t k = 0; k < AUTO_MEMBERS; k++) {
        int rc = metallm__spec_parse(&t->spec[k], auto_members[k].spec, err);
        if (rc != METALLM_OK)
            return rc;
        t->prior[k] = auto_members[k].prior;
    }
    r->members = AUTO_MEMBERS;
    return METALLM_OK;
}

static int copy_names(struct training *t, metallm_error *err)
{
    metallm_router *r = t->router;
    (void)snprintf(r->encoder, sizeof r->encoder, "%s", t->x->encoder);
    for (uint32_t m = 0; m < r->models; m++) {
        r->name[m] = metallm__strdup(metallm_outcomes_model_name(t->outcomes, m));
        if (r->name[m] == NULL)
            return metallm__error_nomem(err, "a model's name");
    }
    return METALLM_OK;
}

/* Scores and the rows' folds. */
static int take_rows(struct training *t, metallm_error *err)
{
    size_t n = t->x->rows;
    uint32_t models = t->router->models;
    uint64_t *keys = metallm__alloc(n, sizeof *keys);
    t->y = metallm__alloc(n * models, sizeof *t->y);
    t->amount = metallm__alloc(n * models, sizeof *t->amount);
    if (keys == NULL || t->y == NULL || t->amount == NULL) {
        metallm__free(keys);
        return metallm__error_nomem(err, "the training rows");
    }
    for (size_t i = 0; i < n; i++) {
        const char *prompt = metallm_outcomes_query(t->outcomes, i).prompt;
        keys[i] = metallm__hash_bytes(prompt, strlen(prompt), 0);
        for (uint32_t m = 0; m < models; m++)
            t->y[i * models + m] = metallm_outcomes_get(t->outcomes, i, m).score;
    }
    uint32_t folds = t->opts->folds == 0 ? FOLDS_DEFAULT : t->opts->folds;
    int rc = metallm__folds_new(&t->folds, keys, n, folds, t->opts->seed, err);
    metallm__free(keys);
    return rc;
}

static int project_rows(struct training *t, metallm_error *err)
{
    metallm_router *r = t->router;
    int rc = metallm__projection_fit(&r->projection, t->x, err);
    if (rc != METALLM_OK)
        return rc;
    t->z = metallm__alloc_aligned(t->x->rows * r->projection.dim, sizeof *t->z);
    t->lengths = metallm__alloc(t->x->rows, sizeof *t->lengths);
    if (t->z == NULL || t->lengths == NULL)
        return metallm__error_nomem(err, "the training rows");
    rc = metallm__router_project(r, t->x, t->z, t->lengths, err);
    t->data = (struct metallm__fit_data){.x = t->z,
                                         .y = t->y,
                                         .n = t->x->rows,
                                         .dim = r->projection.dim,
                                         .models = r->models,
                                         .seed = t->opts->seed,
                                         .threads = t->opts->threads,
                                         .progress = &t->opts->progress};
    return rc;
}

static int leave_out(struct training *t, metallm_error *err)
{
    for (uint32_t k = 0; k < t->router->members; k++) {
        t->p[k] = metallm__alloc(t->data.n * t->data.models, sizeof **t->p);
        if (t->p[k] == NULL)
            return metallm__error_nomem(err, "out-of-fold predictions");
        if (t->folds.count == 0)
            continue;
        int rc = metallm__tune(&t->spec[k], &t->data, &t->folds, t->p[k], err);
        if (rc != METALLM_OK)
            return rc;
    }
    return METALLM_OK;
}

static int fit_member(void *payload, size_t k, metallm_error *err)
{
    struct training *t = payload;
    struct metallm__member *m = &t->router->member[k];
    struct metallm__fit_data d = t->data;
    d.progress = NULL;
    m->estimator = t->spec[k].estimator;
    return m->estimator->fit(&m->state, &d, t->spec[k].values, err);
}

static int fit_members(struct training *t, metallm_error *err)
{
    const struct metallm__tasks tasks = {.count = t->router->members,
                                         .run = fit_member,
                                         .payload = t,
                                         .threads = t->opts->threads,
                                         .what = "fit",
                                         .progress = &t->opts->progress};
    int rc = metallm__tasks_run(&tasks, err);
    for (uint32_t k = 0; k < t->router->members && rc == METALLM_OK && t->folds.count == 0; k++)
        rc = t->spec[k].estimator->predict(t->router->member[k].state, t->z, t->data.n, t->p[k],
                                           err);
    return rc;
}

/* Weights, strength and calibration; t->p[0] becomes the combined prediction. */
static int combine(struct training *t, metallm_error *err)
{
    metallm_router *r = t->router;
    struct metallm__combination *c = &r->combination;
    if (t->is_auto && t->folds.count > 0) {
        metallm__combine_fit(c, &t->data, t->p, t->prior, r->members, r->mean);
    } else {
        *c = (struct metallm__combination){.members = r->members, .strength = 1};
        memcpy(c->weight, t->prior, sizeof c->weight);
    }
    if (r->members > 1 || c->strength != 1)
        metallm__combine_apply(c, r->mean, t->p, t->data.n, r->models, t->p[0]);
    if (t->folds.count > 0)
        metallm__platt_fit(r->platt, &t->data, t->p[0]);
    const struct metallm__gate_rows rows = {t->z, t->lengths, t->data.n, r->projection.dim,
                                            r->projection.axes};
    return t->is_auto ? metallm__gate_fit(&r->gate, &rows, t->opts->seed, err) : METALLM_OK;
}

static int fit_spend(struct training *t, int is_latency, metallm_error *err)
{
    metallm_router *r = t->router;
    for (size_t i = 0; i < t->data.n; i++)
        for (uint32_t m = 0; m < r->models; m++) {
            metallm_outcome o = metallm_outcomes_get(t->outcomes, i, m);
            t->amount[i * r->models + m] = is_latency ? o.latency_ms : o.cost_usd;
        }
    struct metallm__fit_data d = t->data;
    d.y = t->amount;
    enum metallm__spend_kind kind = METALLM__SPEND_LOG;
    if (t->is_auto || t->spec[0].estimator == &metallm__estimator_forest)
        kind = METALLM__SPEND_FOREST;
    else if (t->spec[0].estimator == &metallm__estimator_mean)
        kind = METALLM__SPEND_MEAN;
    return metallm__spend_fit(is_latency ? &r->latency : &r->cost, &d, kind, err);
}

static void describe(struct training *t)
{
    metallm_router *r = t->router;
    size_t len = 0, size = sizeof r->described;
    if (t->is_auto)
        len = (size_t)snprintf(r->described, size, "auto %.2f of", r->combination.strength);
    for (uint32_t k = 0; k < r->members && len < size; k++) {
        if (t->is_auto)
            len += (size_t)snprintf(r->described + len, size - len, " %.2f ",
                                    r->combination.weight[k]);
        char text[METALLM_ERROR_BYTES];
        if (t->is_auto)
            (void)snprintf(text, sizeof text, "%s", t->spec[k].estimator->name);
        else
            metallm__spec_print(&t->spec[k], text, sizeof text);
        if (len < size)
            len += (size_t)snprintf(r->described + len, size - len, "%s", text);
    }
}

/* The out-of-fold estimate of a cell. */
static float held_out(const struct training *t, size_t i, uint32_t m)
{
    return metallm__router_finish(t->router, m, t->p[0][i * t->data.models + m], 1);
}

static void report_choices(const struct training *t, metallm_train_report *out)
{
    double quality = 0, cost = 0;
    size_t rows = 0, priced = 0;
    for (size_t i = 0; i < t->data.n; i++) {
        uint32_t best = 0;
        for (uint32_t m = 1; m < t->data.models; m++)
            if (held_out(t, i, m) > held_out(t, i, best))
                best = m;
        metallm_outcome o = metallm_outcomes_get(t->outcomes, i, best);
        if (!isnan(o.score)) {
            quality += (double)o.score;
            rows++;
        }
        if (!isnan(o.cost_usd)) {
            cost += (double)o.cost_usd;
            priced++;
        }
    }
    out->quality = rows > 0 ? quality / (double)rows : NAN;
    out->cost_usd = priced > 0 ? cost / (double)priced : NAN;
}

/* As `metallm evaluate` measures it, on out-of-fold estimates; t->amount holds them meanwhile. */
static int report_calibration(const struct training *t, metallm_train_report *out,
                              metallm_error *err)
{
    const size_t cells = t->data.n * t->data.models;
    struct metallm__calibration c;
    for (size_t i = 0; i < cells; i++)
        t->amount[i] = held_out(t, i / t->data.models, (uint32_t)(i % t->data.models));
    int rc = metallm__calibrate(t->amount, t->y, cells, &c, err);
    if (rc != METALLM_OK)
        return rc;
    out->brier = c.brier;
    out->ece = c.ece;
    return METALLM_OK;
}

static int report(const struct training *t, metallm_train_report *out, metallm_error *err)
{
    const metallm_router *r = t->router;
    *out = (metallm_train_report){.queries = t->data.n,
                                  .models = r->models,
                                  .folds = t->folds.count,
                                  .quality_best = r->mean[0]};
    for (uint32_t m = 1; m < r->models; m++)
        out->quality_best = fmax(out->quality_best, r->mean[m]);
    memcpy(out->chosen, r->described, sizeof out->chosen);
    report_choices(t, out);
    return report_calibration(t, out, err);
}

static int run(struct training *t, metallm_error *err)
{
    int rc = choose_specs(t, err);
    if (rc == METALLM_OK)
        rc = copy_names(t, err);
    if (rc == METALLM_OK)
        rc = take_rows(t, err);
    if (rc == METALLM_OK)
        rc = project_rows(t, err);
    if (rc == METALLM_OK) {
        metallm__score_means(&t->data, t->router->mean);
        rc = leave_out(t, err);
    }
    if (rc == METALLM_OK)
        rc = fit_members(t, err);
    if (rc == METALLM_OK)
        rc = combine(t, err);
    if (rc == METALLM_OK)
        rc = metallm__doubt_fit(&t->router->doubt, &t->data, t->p[0], err);
    if (rc == METALLM_OK)
        rc = fit_spend(t, 0, err);
    if (rc == METALLM_OK)
        rc = fit_spend(t, 1, err);
    if (rc == METALLM_OK && t->x->layout.head > 0)
        rc = metallm__library_build(&t->router->tasks, t->outcomes, t->x, METALLM__LIBRARY_ROWS_MAX,
                                    t->opts->seed, err);
    if (rc == METALLM_OK) {
        metallm__router_set_scale(t->router);
        describe(t);
    }
    return rc;
}

/* Out-of-fold qualities beside the costs that the fitted router expects. */
static void give_held_out(struct training *t, metallm_estimate *out)
{
    metallm__spend_predict(&t->router->cost, t->z, t->data.n, t->amount);
    for (size_t i = 0; i < t->data.n; i++)
        for (uint32_t m = 0; m < t->data.models; m++)
            out[i * t->data.models + m] =
                (metallm_estimate){.quality = held_out(t, i, m),
                                   .cost_usd = t->amount[i * t->data.models + m],
                                   .latency_ms = NAN};
}

int metallm__router_train(metallm_router **out, const metallm_outcomes *outcomes,
                          const metallm_vectors *x, const metallm_train_options *opts,
                          metallm_train_report *report_out, metallm_estimate *held_out_out,
                          metallm_error *err)
{
    int rc = check(outcomes, x, opts, err);
    if (rc != METALLM_OK)
        return rc;
    struct training t = {.outcomes = outcomes, .x = x, .opts = opts};
    rc = metallm__router_new(&t.router, metallm_outcomes_model_count(outcomes), err);
    if (rc == METALLM_OK)
        rc = run(&t, err);
    if (rc == METALLM_OK && report_out != NULL)
        rc = report(&t, report_out, err);
    if (rc == METALLM_OK) {
        if (held_out_out != NULL)
            give_held_out(&t, held_out_out);
        *out = t.router;
        t.router = NULL;
    }
    training_fini(&t);
    return rc;
}

int metallm_router_train(metallm_router **out, const metallm_outcomes *outcomes,
                         const metallm_vectors *x, const metallm_train_options *opts,
                         metallm_train_report *report_out, metallm_error *err)
{
    return metallm__router_train(out, outcomes, x, opts, report_out, NULL, err);
}
