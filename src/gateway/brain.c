/* SPDX-License-Identifier: Apache-2.0
 * brain.c - the brains of a gateway: made and changed by the configuration; views, and the readers
 * that take them without a lock as long as nothing changed. */
#include "gateway/brain.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "gateway/brain_state.h"
#include "router/router_state.h"

int metallm__brains_new(struct metallm__brains **out, metallm_error *err)
{
    struct metallm__brains *b = metallm__calloc(1, sizeof *b);
    if (b == NULL)
        return metallm__error_nomem(err, "brains");
    int rc = metallm__priors_new(&b->priors, err);
    if (rc != METALLM_OK) {
        metallm__free(b);
        return rc;
    }
    pthread_mutex_init(&b->lock, NULL);
    atomic_init(&b->seq, 0);
    *out = b;
    return METALLM_OK;
}

static void inner_drop(struct metallm__brain_inner *i)
{
    if (i == NULL || atomic_fetch_sub(&i->holders, 1) > 1)
        return;
    metallm__generation_drop(i->generation);
    metallm__lessons_free(i->lessons);
    metallm__free(i);
}

static void brain_free(struct metallm__brain *brain)
{
    if (brain == NULL)
        return;
    inner_drop(brain->newest);
    metallm__generation_drop(brain->generation);
    metallm__lessons_free(brain->base);
    metallm__lessons_free(brain->state);
    metallm__lessons_free(brain->next.base);
    metallm__free(brain->window);
    metallm__free(brain->corrections);
    metallm__pacer_free(brain->pacer);
    pthread_mutex_destroy(&brain->lock);
    pthread_mutex_destroy(&brain->seat_lock);
    pthread_mutex_destroy(&brain->pace_lock);
    metallm__free(brain);
}

void metallm__brains_free(struct metallm__brains *b)
{
    if (b == NULL)
        return;
    for (size_t i = 0; i < b->count; i++)
        brain_free(b->items[i]);
    for (size_t i = 0; i < b->setup_count; i++) {
        metallm__free(b->setups[i].names);
        metallm__free(b->setups[i].json);
    }
    metallm__priors_free(b->priors);
    metallm__free(b->items);
    metallm__free(b->setups);
    pthread_mutex_destroy(&b->lock);
    metallm__free(b);
}

uint32_t metallm__brains_count(const struct metallm__brains *b)
{
    return (uint32_t)b->count;
}

uint64_t metallm__brains_direct_setup(const struct metallm__brains *b)
{
    return b->direct_setup;
}

static struct metallm__brain *find(const struct metallm__brains *b, const char *name)
{
    for (size_t i = 0; i < b->count; i++)
        if (strcmp(b->items[i]->name, name) == 0)
            return b->items[i];
    return NULL;
}

struct metallm__brain *metallm__brains_find(struct metallm__brains *b, const char *name)
{
    pthread_mutex_lock(&b->lock);
    struct metallm__brain *brain = find(b, name);
    pthread_mutex_unlock(&b->lock);
    return brain;
}

/* ---- Configuring. ---- */

static int add_brain(struct metallm__brains *b, const char *name, struct metallm__brain **out,
                     metallm_error *err)
{
    void *items = b->items;
    if (strlen(name) > METALLM__LEDGER_NAME_MAX)
        return metallm__error_set(err, METALLM_EINVAL, "router '%.60s...' has a name of %zu bytes",
                                  name, strlen(name));
    if (metallm__grow(&items, &b->cap, b->count + 1, sizeof(struct metallm__brain *)) != 0)
        return metallm__error_nomem(err, "brains");
    b->items = items;
    struct metallm__brain *brain = metallm__calloc(1, sizeof *brain);
    if (brain == NULL)
        return metallm__error_nomem(err, "a brain");
    snprintf(brain->name, sizeof brain->name, "%s", name);
    pthread_mutex_init(&brain->lock, NULL);
    pthread_mutex_init(&brain->seat_lock, NULL);
    pthread_mutex_init(&brain->pace_lock, NULL);
    atomic_init(&brain->turn, 0);
    atomic_init(&brain->steps, 0);
    b->items[b->count++] = brain;
    *out = brain;
    return METALLM_OK;
}

/* A pacer for the router's budget; the one that is there where nothing of it changed. */
static int set_pacer(struct metallm__brain *brain, const struct metallm__generation *g,
                     metallm_error *err)
{
    const struct metallm__config_router *r = g->router;
    const bool has_budget = r->budget_usd > 0;
    struct metallm__pacer *made = NULL;
    pthread_mutex_lock(&brain->pace_lock);
    const bool is_same = brain->pacer != NULL && has_budget && brain->pace_usd == r->budget_usd &&
                         brain->pace_per == r->budget_per && brain->pace_count == g->count;
    int rc = METALLM_OK;
    if (has_budget && !is_same) {
        const bool per_request = r->budget_per == METALLM__PERIOD_REQUEST;
        const struct metallm__pacer_options o = {
            .usd_per_request = per_request ? r->budget_usd : r->budget_usd / 10000,
            .usd_per_period = per_request ? 0 : r->budget_usd,
            .period_s = per_request ? 0 : metallm__period_seconds(r->budget_per),
            .models = g->count,
        };
        rc = metallm__pacer_new(&made, &o, err);
    }
    if (rc == METALLM_OK && !is_same) {
        if (brain->pace_per != r->budget_per)
            brain->pace_spent = 0;
        metallm__pacer_free(brain->pacer);
        brain->pacer = made;
        brain->pace_usd = r->budget_usd;
        brain->pace_per = r->budget_per;
        brain->pace_count = g->count;
        brain->pace_end_s = brain->pace_end_s > 0 ? -1 : 0; /* the next request begins the period */
    }
    pthread_mutex_unlock(&brain->pace_lock);
    return rc;
}

static int apply(struct metallm__brains *b, struct metallm__brain *brain,
                 struct metallm__generation *g, metallm_error *err)
{
    int rc = metallm__brains_know(b, g->setup, g->setup_json, false, err);
    if (rc == METALLM_OK)
        rc = set_pacer(brain, g, err);
    if (rc != METALLM_OK)
        return rc;
    pthread_mutex_lock(&brain->lock);
    rc = metallm__brain_follow(brain, g, atomic_load(&b->seq), err);
    if (rc == METALLM_OK)
        rc = metallm__brain_publish(brain, err);
    pthread_mutex_unlock(&brain->lock);
    return rc;
}

/* Reads files and encodes outcomes: without the lock, since nobody else changes the list of brains
 * and their generations. */
static int make_generations(struct metallm__brains *b, const struct metallm__brains_setup *setup,
                            struct metallm__generation **made, metallm_error *err)
{
    const struct metallm__config *c = setup->config;
    int rc = METALLM_OK;
    for (uint32_t r = 0; r < c->router_count && rc == METALLM_OK; r++) {
        struct metallm__brain *brain = find(b, c->routers[r].name);
        struct metallm__router_file *known =
            brain != NULL && brain->generation != NULL ? brain->generation->file : NULL;
        rc = metallm__generation_new(&made[r], setup, r, known, b->priors, err);
    }
    return rc;
}

static int configure(struct metallm__brains *b, const struct metallm__brains_setup *setup,
                     struct metallm__generation **made, metallm_error *err)
{
    const struct metallm__config *c = setup->config;
    char *direct = NULL;
    uint64_t hash = 0;
    int rc = metallm__direct_setup(c, setup->prices, &hash, &direct, err);
    for (uint32_t r = 0; r < c->router_count && rc == METALLM_OK; r++) {
        struct metallm__brain *brain = find(b, c->routers[r].name);
        if (brain == NULL)
            rc = add_brain(b, c->routers[r].name, &brain, err);
        if (rc == METALLM_OK)
            rc = apply(b, brain, made[r], err);
    }
    if (rc == METALLM_OK)
        rc = metallm__brains_know(b, hash, direct, false, err);
    if (rc == METALLM_OK)
        b->direct_setup = hash;
    metallm__free(direct);
    return rc;
}

/* A router that is gone is forgotten by nobody: its state is saved with the next batch. */
static void retire(struct metallm__brains *b, const struct metallm__config *c)
{
    for (size_t i = 0; i < b->count; i++) {
        struct metallm__brain *brain = b->items[i];
        if (metallm__config_router_find(c, brain->name, strlen(brain->name)) !=
            METALLM__CONFIG_NONE)
            continue;
        pthread_mutex_lock(&brain->lock);
        metallm__generation_drop(brain->generation);
        brain->generation = NULL;
        pthread_mutex_unlock(&brain->lock);
    }
}

int metallm__brains_configure(struct metallm__brains *b, const struct metallm__brains_setup *setup,
                              metallm_error *err)
{
    const uint32_t count = setup->config->router_count;
    struct metallm__generation **made =
        metallm__calloc(count, sizeof(struct metallm__generation *));
    if (made == NULL)
        return metallm__error_nomem(err, "brains");
    int rc = make_generations(b, setup, made, err);
    pthread_mutex_lock(&b->lock);
    if (rc == METALLM_OK)
        rc = configure(b, setup, made, err);
    if (rc == METALLM_OK)
        retire(b, setup->config);
    pthread_mutex_unlock(&b->lock);
    for (uint32_t r = 0; r < count; r++)
        metallm__generation_drop(made[r]);
    metallm__free(made);
    return rc;
}

/* ---- Views. ---- */

static double scale_of(const struct metallm__brain_inner *i)
{
    const struct metallm__generation *g = i->generation;
    if (g->has_prior && g->file->router->scale > 0)
        return g->file->router->scale;
    const double in =
        isnan(i->lessons->input_tokens) ? METALLM__TOKENS_INPUT : i->lessons->input_tokens;
    double scale = NAN;
    for (uint32_t c = 0; c < g->count; c++) {
        const double seen = i->lessons->slots[i->slots[c]].output_tokens;
        const double out = isnan(seen) ? METALLM__TOKENS_OUTPUT : seen;
        const double usd = metallm__brain_price_of(&g->prices[c], in, out);
        if (g->is_open[c] && usd > 0 && !(scale >= usd))
            scale = usd;
    }
    return scale;
}

static void fill_inner(struct metallm__brain_inner *i)
{
    const struct metallm__generation *g = i->generation;
    const struct metallm__lessons *l = i->lessons;
    for (uint32_t c = 0; c < g->count; c++) {
        const char *name = g->config->models[g->models[c]].name;
        const uint32_t slot = metallm__lessons_find(l, name);
        METALLM_REQUIRE(slot != UINT32_MAX); /* follow() has added it */
        i->slots[c] = slot;
        i->is_new[c] =
            !l->slots[slot].is_trusted && l->slots[slot].scores < METALLM__LESSONS_NEW_USES;
        i->watched[c] = metallm__drift_closeness(metallm__adapt_drift(l->adapt, slot));
    }
    i->view = (struct metallm__view){
        .config = g->config,
        .router = g->router,
        .file = g->file != NULL ? g->file->router : NULL,
        .setup = g->setup,
        .version = l->events,
        .count = g->count,
        .models = g->models,
        .dim = g->dim,
        .inner = i,
    };
    i->view.scale_usd = scale_of(i);
}

int metallm__brain_publish(struct metallm__brain *brain, metallm_error *err)
{
    if (brain->generation == NULL)
        return METALLM_OK;
    struct metallm__brain_inner *i = metallm__calloc(1, sizeof *i);
    if (i == NULL)
        return metallm__error_nomem(err, "a view");
    int rc = metallm__lessons_copy(&i->lessons, brain->state, err);
    if (rc != METALLM_OK) {
        metallm__free(i);
        return rc;
    }
    atomic_init(&i->holders, 1);
    i->brain = brain;
    i->generation = metallm__generation_take(brain->generation);
    fill_inner(i);
    pthread_mutex_lock(&brain->seat_lock);
    struct metallm__brain_inner *old = brain->newest;
    brain->newest = i;
    atomic_fetch_add_explicit(&brain->turn, 1, memory_order_release);
    pthread_mutex_unlock(&brain->seat_lock);
    inner_drop(old);
    brain->published_events = brain->state->events;
    brain->is_stale = false;
    return METALLM_OK;
}

struct metallm__brain_reader {
    struct metallm__brain *brain;
    struct metallm__brain_inner *held;
    unsigned long long turn;
};

int metallm__brain_reader_new(struct metallm__brain_reader **out, struct metallm__brain *b,
                              metallm_error *err)
{
    struct metallm__brain_reader *r = metallm__calloc(1, sizeof *r);
    if (r == NULL)
        return metallm__error_nomem(err, "a reader");
    r->brain = b;
    *out = r;
    return METALLM_OK;
}

void metallm__brain_reader_free(struct metallm__brain_reader *r)
{
    if (r == NULL)
        return;
    inner_drop(r->held);
    metallm__free(r);
}

const struct metallm__view *metallm__brain_view(struct metallm__brain_reader *r)
{
    if (r->held == NULL || atomic_load_explicit(&r->brain->turn, memory_order_acquire) != r->turn) {
        pthread_mutex_lock(&r->brain->seat_lock);
        struct metallm__brain_inner *newest = r->brain->newest;
        METALLM_REQUIRE(newest != NULL); /* configure has published one */
        atomic_fetch_add(&newest->holders, 1);
        r->turn = atomic_load(&r->brain->turn);
        pthread_mutex_unlock(&r->brain->seat_lock);
        inner_drop(r->held);
        r->held = newest;
    }
    return &r->held->view;
}

static struct metallm__brain_inner *inner_of(const struct metallm__view *v)
{
    return (struct metallm__brain_inner *)(uintptr_t)v->inner;
}

const struct metallm__view *metallm__view_take(const struct metallm__view *v)
{
    atomic_fetch_add(&inner_of(v)->holders, 1);
    return v;
}

void metallm__view_drop(const struct metallm__view *v)
{
    if (v != NULL)
        inner_drop(inner_of(v));
}

double metallm__view_spent(const struct metallm__view *v)
{
    struct metallm__brain *brain = v->inner->brain;
    pthread_mutex_lock(&brain->pace_lock);
    const bool has_period = brain->pacer != NULL && brain->pace_per != METALLM__PERIOD_REQUEST;
    const double usd = has_period ? brain->pace_spent : NAN;
    pthread_mutex_unlock(&brain->pace_lock);
    return usd;
}

void metallm__brain_spent(const struct metallm__view *v, double usd)
{
    struct metallm__brain *brain = v->inner->brain;
    if (!(usd >= 0 && isfinite(usd)))
        return;
    pthread_mutex_lock(&brain->pace_lock);
    brain->pace_spent += usd;
    if (brain->pacer != NULL)
        metallm__pacer_spent(brain->pacer, usd);
    pthread_mutex_unlock(&brain->pace_lock);
}
