/* SPDX-License-Identifier: Apache-2.0
 * limits.c - see limits.h.
 *
 * Pacing: what is left of the money, over the requests still expected in the period, is the rate
 * that the pacer (router/pacer.h) keeps to. Expected requests: the key's rate, averaged with a time
 * constant of a 24th of the period, times what is left of the period. */
#include "gateway/limits.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "router/pacer.h"

#define SLOTS_FIRST  64u
#define PACER_WINDOW 128u
#define PACER_EVERY  8u /* requests between two looks at the rate */
#define MINUTE_S     60.0
#define MEMORY_PARTS 24.0 /* of a period: the time constant of the rate */
#define FIRST_GAP_S  60.0
#define KEPT_BACK    0.01 /* share of a budget that is not planned with: for the last requests */

struct bucket {
    double left;
    uint64_t last_ns;
    uint64_t limit; /* a minute; 0: not in use */
};

struct slot {
    char id[METALLM__KEY_ID_LEN + 1];
    pthread_mutex_t lock;
    struct bucket requests, tokens;
    enum metallm__period per;
    uint64_t period_begin_ms; /* 0: nothing yet */
    double spent, reserved;   /* dollars, of this period */
    struct metallm__pacer *pacer;
    uint32_t pacer_models, since;
    double count, mix; /* requests, decayed; what is owed of the lower price */
    uint64_t first_ms, last_ms;
};

struct metallm__limits {
    pthread_rwlock_t lock; /* of the table; a slot stays where it is */
    struct slot **slots;
    uint32_t mask, count;
};

int metallm__limits_new(struct metallm__limits **out, metallm_error *err)
{
    struct metallm__limits *l = metallm__calloc(1, sizeof *l);
    if (l == NULL)
        return metallm__error_nomem(err, "limits");
    l->slots = metallm__calloc(SLOTS_FIRST, sizeof *l->slots);
    if (l->slots == NULL || pthread_rwlock_init(&l->lock, NULL) != 0) {
        metallm__free(l->slots);
        metallm__free(l);
        return metallm__error_nomem(err, "limits");
    }
    l->mask = SLOTS_FIRST - 1;
    *out = l;
    return METALLM_OK;
}

void metallm__limits_free(struct metallm__limits *l)
{
    if (l == NULL)
        return;
    for (uint32_t i = 0; i <= l->mask; i++)
        if (l->slots[i] != NULL) {
            metallm__pacer_free(l->slots[i]->pacer);
            pthread_mutex_destroy(&l->slots[i]->lock);
            metallm__free(l->slots[i]);
        }
    metallm__free(l->slots);
    pthread_rwlock_destroy(&l->lock);
    metallm__free(l);
}

static uint32_t place_of(struct slot *const *slots, uint32_t mask, const char *id)
{
    uint32_t at = (uint32_t)metallm__hash_bytes(id, strlen(id), 0) & mask;
    while (slots[at] != NULL && strcmp(slots[at]->id, id) != 0)
        at = (at + 1) & mask;
    return at;
}

static bool enlarge(struct metallm__limits *l)
{
    uint32_t mask = l->mask * 2 + 1;
    struct slot **more = metallm__calloc((size_t)mask + 1, sizeof *more);
    if (more == NULL)
        return false;
    for (uint32_t i = 0; i <= l->mask; i++)
        if (l->slots[i] != NULL)
            more[place_of(more, mask, l->slots[i]->id)] = l->slots[i];
    metallm__free(l->slots);
    l->slots = more;
    l->mask = mask;
    return true;
}

static struct slot *slot_find(struct metallm__limits *l, const char *id)
{
    pthread_rwlock_rdlock(&l->lock);
    struct slot *s = l->slots[place_of(l->slots, l->mask, id)];
    pthread_rwlock_unlock(&l->lock);
    return s;
}

/* The key's slot, made when new. NULL: no memory. */
static struct slot *slot_of(struct metallm__limits *l, const char *id)
{
    struct slot *s = slot_find(l, id);
    if (s != NULL)
        return s;
    pthread_rwlock_wrlock(&l->lock);
    bool has_room = 2 * (l->count + 1) <= l->mask || enlarge(l);
    uint32_t at = place_of(l->slots, l->mask, id);
    s = l->slots[at];
    if (s == NULL && has_room && (s = metallm__calloc(1, sizeof *s)) != NULL) {
        snprintf(s->id, sizeof s->id, "%s", id);
        if (pthread_mutex_init(&s->lock, NULL) != 0) {
            metallm__free(s);
            s = NULL;
        } else {
            l->slots[at] = s;
            l->count++;
        }
    }
    pthread_rwlock_unlock(&l->lock);
    return s;
}

/* Brings a bucket up to now; a new or changed limit begins with a full one. */
static void refill(struct bucket *b, uint64_t limit, uint64_t now_ns)
{
    if (b->limit != limit) {
        b->left = b->limit == 0 ? (double)limit : fmin(b->left, (double)limit);
        b->limit = limit;
        b->last_ns = now_ns;
    }
    if (now_ns > b->last_ns) {
        double seconds = (double)(now_ns - b->last_ns) / 1e9;
        b->left = fmin(b->left + seconds * (double)limit / MINUTE_S, (double)limit);
        b->last_ns = now_ns;
    }
}

/* Milliseconds until the bucket holds `wanted`; 0: it does. */
static uint64_t wait_ms(const struct bucket *b, double wanted)
{
    if (b->limit == 0 || b->left >= wanted)
        return 0;
    return (uint64_t)ceil((wanted - b->left) / (double)b->limit * MINUTE_S * 1000);
}

static uint64_t whole(double left)
{
    return left > 0 ? (uint64_t)left : 0;
}

static void tell_state(const struct slot *s, struct metallm__limit_state *state)
{
    *state = (struct metallm__limit_state){
        .requests_limit = s->requests.limit,
        .requests_left = whole(s->requests.left),
        .requests_reset_ms = wait_ms(&s->requests, (double)s->requests.limit),
        .tokens_limit = s->tokens.limit,
        .tokens_left = whole(s->tokens.left),
        .tokens_reset_ms = wait_ms(&s->tokens, (double)s->tokens.limit),
    };
}

int metallm__limits_admit(struct metallm__limits *l, const struct metallm__key *k, uint64_t tokens,
                          uint64_t now_ns, struct metallm__limit_state *state,
                          struct metallm__limit_refusal *refusal)
{
    if (state != NULL)
        *state = (struct metallm__limit_state){0};
    if (k->requests_per_minute == 0 && k->tokens_per_minute == 0)
        return METALLM_OK;
    struct slot *s = slot_of(l, k->id);
    if (s == NULL)
        return METALLM_ENOMEM;
    pthread_mutex_lock(&s->lock);
    refill(&s->requests, k->requests_per_minute, now_ns);
    refill(&s->tokens, k->tokens_per_minute, now_ns);
    /* A request for more tokens than a minute's passes when the bucket is full. */
    double wanted = fmin((double)tokens, (double)s->tokens.limit);
    uint64_t requests_ms = wait_ms(&s->requests, 1), tokens_ms = wait_ms(&s->tokens, wanted);
    int rc = requests_ms > 0 || tokens_ms > 0 ? METALLM_EBUSY : METALLM_OK;
    if (rc == METALLM_OK) {
        s->requests.left -= s->requests.limit > 0;
        s->tokens.left -= s->tokens.limit > 0 ? (double)tokens : 0;
    } else {
        *refusal = (struct metallm__limit_refusal){
            .kind = requests_ms >= tokens_ms ? METALLM__LIMIT_REQUESTS : METALLM__LIMIT_TOKENS,
            .retry_after_ms = requests_ms >= tokens_ms ? requests_ms : tokens_ms};
    }
    if (state != NULL)
        tell_state(s, state);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

void metallm__limits_tokens(struct metallm__limits *l, const struct metallm__key *k,
                            uint64_t predicted, uint64_t used, uint64_t now_ns)
{
    struct slot *s = k->tokens_per_minute > 0 ? slot_find(l, k->id) : NULL;
    if (s == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    refill(&s->tokens, k->tokens_per_minute, now_ns);
    s->tokens.left =
        fmin(s->tokens.left + (double)predicted - (double)used, (double)s->tokens.limit);
    pthread_mutex_unlock(&s->lock);
}

/* Money of a period that is over is of no use in the next. */
static void follow_period(struct slot *s, enum metallm__period per, uint64_t wall_ms)
{
    uint64_t begin = metallm__period_begin(per, wall_ms);
    if (s->period_begin_ms == begin && s->per == per)
        return;
    if (begin > s->period_begin_ms || s->per != per) { /* a clock set back changes nothing */
        s->spent = s->reserved = 0;
        s->period_begin_ms = begin;
        s->per = per;
    }
}

/* Requests still expected in this period, one at least: the rate so far, with one request in
 * FIRST_GAP_S seconds as what is believed before any is seen. */
static double expected(const struct slot *s, const struct metallm__key *k, uint64_t wall_ms)
{
    const double memory_s = metallm__period_seconds(k->budget_per) / MEMORY_PARTS;
    const double age_s = (double)(wall_ms - s->first_ms) / 1000;
    const double left_s = (double)(metallm__period_end(k->budget_per, wall_ms) - wall_ms) / 1000;
    const double weight = -expm1(-age_s / memory_s) * memory_s;
    /* s->count holds the first request, which stands for the one that is expected before. */
    return fmax(s->count / (weight + FIRST_GAP_S) * left_s, 1);
}

static void count_request(struct slot *s, const struct metallm__key *k, uint64_t wall_ms)
{
    const double memory_s = metallm__period_seconds(k->budget_per) / MEMORY_PARTS;
    if (s->first_ms == 0)
        s->first_ms = s->last_ms = wall_ms;
    if (wall_ms > s->last_ms) {
        s->count *= exp(-(double)(wall_ms - s->last_ms) / 1000 / memory_s);
        s->last_ms = wall_ms;
    }
    s->count += 1;
}

/* A pacer with room for as many candidates. */
static bool has_pacer(struct slot *s, uint32_t count)
{
    if (s->pacer != NULL && count <= s->pacer_models)
        return true;
    struct metallm__pacer *p = NULL;
    const struct metallm__pacer_options opts = {
        .usd_per_request = 1e-6, .models = count, .window = PACER_WINDOW, .every = PACER_EVERY};
    if (count == 0 || metallm__pacer_new(&p, &opts, NULL) != METALLM_OK)
        return false;
    metallm__pacer_free(s->pacer);
    s->pacer = p;
    s->pacer_models = count;
    s->since = 0;
    return true;
}

double metallm__limits_money(struct metallm__limits *l, const struct metallm__key *k,
                             const double *quality, const double *cost, uint32_t count,
                             uint64_t wall_ms)
{
    struct slot *s = isnan(k->budget_usd) ? NULL : slot_of(l, k->id);
    if (s == NULL)
        return 0;
    pthread_mutex_lock(&s->lock);
    double money = 0;
    follow_period(s, k->budget_per, wall_ms);
    count_request(s, k, wall_ms);
    if (has_pacer(s, count)) {
        if (s->since++ % PACER_EVERY == 0 || s->since < PACER_WINDOW) {
            double left = (1 - KEPT_BACK) * k->budget_usd - s->spent - s->reserved;
            metallm__pacer_set(s->pacer, fmax(left / expected(s, k, wall_ms), 1e-15));
        }
        const struct metallm__pacer_price p =
            metallm__pacer_next(s->pacer, quality, cost, count, 0);
        s->mix += p.share_low;
        money = s->mix >= 1 ? p.low : p.high;
        s->mix -= s->mix >= 1;
    }
    pthread_mutex_unlock(&s->lock);
    return money;
}

double metallm__limits_left(struct metallm__limits *l, const struct metallm__key *k,
                            uint64_t wall_ms)
{
    if (isnan(k->budget_usd))
        return INFINITY;
    struct metallm__limit_spend now = metallm__limits_spend(l, k, wall_ms);
    return fmax(k->budget_usd - now.spent_usd - now.reserved_usd, 0);
}

int metallm__limits_reserve(struct metallm__limits *l, const struct metallm__key *k, double usd,
                            uint64_t wall_ms, struct metallm__reservation *out,
                            struct metallm__limit_refusal *refusal)
{
    *out = (struct metallm__reservation){0};
    if (isnan(k->budget_usd))
        return METALLM_OK;
    METALLM_REQUIRE(usd >= 0);
    struct slot *s = slot_of(l, k->id);
    if (s == NULL)
        return METALLM_ENOMEM;
    pthread_mutex_lock(&s->lock);
    follow_period(s, k->budget_per, wall_ms);
    const double used = s->spent + s->reserved;
    bool fits = used < k->budget_usd && used + usd <= k->budget_usd;
    if (fits) {
        s->reserved += usd;
        *out = (struct metallm__reservation){
            .usd = usd, .period_begin_ms = s->period_begin_ms, .is_open = true};
        memcpy(out->key, k->id, sizeof out->key);
    } else {
        *refusal = (struct metallm__limit_refusal){
            .kind = METALLM__LIMIT_BUDGET,
            .retry_after_ms = metallm__period_end(k->budget_per, wall_ms) - wall_ms};
    }
    pthread_mutex_unlock(&s->lock);
    return fits ? METALLM_OK : METALLM_EBUSY;
}

void metallm__limits_settle(struct metallm__limits *l, struct metallm__reservation *r, double usd,
                            uint64_t wall_ms)
{
    (void)wall_ms; /* it is booked where it was reserved */
    struct slot *s = r->is_open ? slot_find(l, r->key) : NULL;
    r->is_open = false;
    if (s == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    if (s->period_begin_ms == r->period_begin_ms) {
        s->reserved = fmax(s->reserved - r->usd, 0);
        s->spent += usd >= 0 && isfinite(usd) ? usd : 0;
    }
    pthread_mutex_unlock(&s->lock);
}

int metallm__limits_restore(struct metallm__limits *l, const struct metallm__key *k,
                            uint64_t period_begin_ms, double usd, metallm_error *err)
{
    struct slot *s = slot_of(l, k->id);
    if (s == NULL)
        return metallm__error_nomem(err, "limits");
    pthread_mutex_lock(&s->lock);
    s->per = k->budget_per;
    s->period_begin_ms = period_begin_ms;
    s->spent = usd;
    s->reserved = 0;
    pthread_mutex_unlock(&s->lock);
    return METALLM_OK;
}

struct metallm__limit_spend metallm__limits_spend(struct metallm__limits *l,
                                                  const struct metallm__key *k, uint64_t wall_ms)
{
    struct metallm__limit_spend out = {.period_begin_ms =
                                           metallm__period_begin(k->budget_per, wall_ms)};
    struct slot *s = isnan(k->budget_usd) ? NULL : slot_find(l, k->id);
    if (s == NULL)
        return out;
    pthread_mutex_lock(&s->lock);
    follow_period(s, k->budget_per, wall_ms);
    out.spent_usd = s->spent;
    out.reserved_usd = s->reserved;
    out.period_begin_ms = s->period_begin_ms;
    pthread_mutex_unlock(&s->lock);
    return out;
}
