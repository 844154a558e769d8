/* SPDX-License-Identifier: Apache-2.0
 * upstream.c - what the calls of one loop share: connections by deployment, and queues for slots. A
 * slot that another loop gives back is seen by a timer that runs while somebody waits. */
#include "base/error.h"
#include "base/mem.h"
#include "upstream/ask_internal.h"

#define TICK_NS 5000000u

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

static struct metallm__upstream_options with_defaults(const struct metallm__upstream_options *given)
{
    struct metallm__upstream_options o = *given;
    o.idle_max = or_default(o.idle_max, 64);
    o.idle_ms = or_default(o.idle_ms, 30000);
    o.retries_max = or_default(o.retries_max, 1);
    o.attempts_max = or_default(o.attempts_max, 6);
    if (o.attempts_max > METALLM__ASK_ATTEMPTS_MAX)
        o.attempts_max = METALLM__ASK_ATTEMPTS_MAX;
    o.backoff_ms = or_default(o.backoff_ms, 100);
    o.backoff_max_ms = or_default(o.backoff_max_ms, 2000);
    if (o.answer_bytes_max == 0)
        o.answer_bytes_max = METALLM__ASK_ANSWER_BYTES_MAX;
    o.dns_ms = or_default(o.dns_ms, 30000);
    return o;
}

static void tick(struct metallm__timer *timer);

int metallm__upstream_new(struct metallm__upstream **out, struct metallm__loop *loop,
                          const struct metallm__upstream_options *options, metallm_error *err)
{
    struct metallm__upstream *u = metallm__calloc(1, sizeof *u);
    if (u == NULL)
        return metallm__error_nomem(err, "upstreams");
    u->loop = loop;
    u->options = with_defaults(options);
    u->tick.fired = tick;
    metallm_rng_seed(&u->rng, options->seed);
    struct metallm__dns_options dns = {.ttl_ms = u->options.dns_ms};
    struct metallm__http_pool_options pool = {.idle_max = u->options.idle_max,
                                              .idle_ms = u->options.idle_ms};
    int rc = metallm__dns_new(&u->dns, loop, &dns, err);
    if (rc == METALLM_OK)
        rc = metallm__http_pool_new(&u->pool, loop, u->dns, &pool, err);
    if (rc != METALLM_OK) {
        metallm__upstream_free(u);
        return rc;
    }
    *out = u;
    return METALLM_OK;
}

static void free_binding(struct metallm__binding *b)
{
    for (uint32_t i = 0; i < b->llms->deployment_count; i++)
        metallm__origin_put(b->seats[i].origin);
    metallm__llms_unref(b->llms);
    metallm__free(b);
}

void metallm__upstream_free(struct metallm__upstream *u)
{
    if (u == NULL)
        return;
    while (u->asks != NULL)
        metallm__ask_cancel(u->asks);
    while (u->bindings != NULL) {
        struct metallm__binding *b = u->bindings;
        u->bindings = b->next;
        free_binding(b);
    }
    metallm__timer_stop(u->loop, &u->tick);
    metallm__http_pool_free(u->pool);
    metallm__dns_free(u->dns);
    metallm__free(u);
}

/* ---- Generations. ---- */

/* Old generations that nobody uses go; the newest stays, and its connections with it. */
static void drop_unused(struct metallm__upstream *u)
{
    for (struct metallm__binding **link = &u->bindings->next; *link != NULL;) {
        struct metallm__binding *b = *link;
        if (b->asks > 0) {
            link = &b->next;
            continue;
        }
        *link = b->next;
        free_binding(b);
    }
}

/* Origins of all deployments now, so that kept connections pass from the old generation. */
static int get_origins(struct metallm__upstream *u, struct metallm__binding *b, metallm_error *err)
{
    for (uint32_t m = 0; m < b->llms->count; m++) {
        const struct metallm__llm *llm = &b->llms->items[m];
        for (uint32_t i = 0; i < llm->deployment_count; i++) {
            const struct metallm__deployment *d = &llm->deployments[i];
            int rc = metallm__origin_get(&b->seats[llm->deployment_base + i].origin, u->pool,
                                         d->host, d->port, d->tls, err);
            if (rc != METALLM_OK)
                return rc;
        }
    }
    return METALLM_OK;
}

int metallm__binding_get(struct metallm__binding **out, struct metallm__upstream *u,
                         const struct metallm__llms *llms, metallm_error *err)
{
    struct metallm__binding *b = u->bindings;
    while (b != NULL && b->llms != llms)
        b = b->next;
    if (b == NULL) {
        b = metallm__calloc(1, sizeof *b + llms->deployment_count * sizeof *b->seats);
        if (b == NULL)
            return metallm__error_nomem(err, "upstreams");
        b->llms = metallm__llms_ref(llms);
        int rc = get_origins(u, b, err);
        if (rc != METALLM_OK) {
            free_binding(b);
            return rc;
        }
        b->next = u->bindings;
        u->bindings = b;
        drop_unused(u);
    }
    b->asks++;
    *out = b;
    return METALLM_OK;
}

void metallm__binding_put(struct metallm__upstream *u, struct metallm__binding *b)
{
    b->asks--;
    drop_unused(u);
}

struct metallm__seat *metallm__ask_seat(const struct metallm__ask *ask)
{
    const struct metallm__llm *llm = &ask->binding->llms->items[ask->llm];
    return &ask->binding->seats[llm->deployment_base + ask->deployment];
}

const struct metallm__deployment *metallm__ask_deployment(const struct metallm__ask *ask)
{
    return &ask->binding->llms->items[ask->llm].deployments[ask->deployment];
}

/* ---- Slots. ---- */

bool metallm__slot_take(struct metallm__ask *ask)
{
    const struct metallm__deployment *d = metallm__ask_deployment(ask);
    unsigned taken = atomic_load(&d->health->in_flight);
    do {
        if (d->concurrent_max > 0 && taken >= d->concurrent_max)
            return false;
    } while (!atomic_compare_exchange_weak(&d->health->in_flight, &taken, taken + 1));
    ask->has_slot = true;
    return true;
}

/* Lets those go on that wait in this seat, as long as there are slots. */
static void wake(struct metallm__seat *seat)
{
    while (seat->first != NULL) {
        struct metallm__ask *ask = seat->first;
        if (!metallm__slot_take(ask))
            return;
        metallm__slot_leave(ask);
        metallm__ask_go(ask);
    }
}

void metallm__slot_give(struct metallm__ask *ask)
{
    if (!ask->has_slot)
        return;
    ask->has_slot = false;
    atomic_fetch_sub(&metallm__ask_deployment(ask)->health->in_flight, 1);
    /* From the loop, not from here: whoever goes on may end, and this call is in the midst of it.
     */
    if (metallm__ask_seat(ask)->first != NULL)
        metallm__timer_set(ask->u->loop, &ask->u->tick, metallm__loop_now(ask->u->loop) + 1);
}

int metallm__slot_wait(struct metallm__ask *ask)
{
    struct metallm__upstream *u = ask->u;
    struct metallm__seat *seat = metallm__ask_seat(ask);
    const struct metallm__deployment *d = metallm__ask_deployment(ask);
    uint64_t now = metallm__loop_now(u->loop);
    if (seat->waiting >= d->waiting_max)
        return METALLM_EBUSY;
    seat->waiting++;
    u->waiting++;
    atomic_fetch_add(&d->health->waiting, 1);
    ask->seat_next = NULL;
    if (seat->last != NULL)
        seat->last->seat_next = ask;
    else
        seat->first = ask;
    seat->last = ask;
    ask->phase = METALLM__PHASE_SLOT;
    uint64_t until = now + (uint64_t)d->waiting_ms * 1000000u;
    metallm__timer_set(u->loop, &ask->timer, until < ask->deadline_ns ? until : ask->deadline_ns);
    if (!metallm__timer_armed(&u->tick))
        metallm__timer_set(u->loop, &u->tick, now + TICK_NS);
    return METALLM_OK;
}

void metallm__slot_leave(struct metallm__ask *ask)
{
    struct metallm__seat *seat = metallm__ask_seat(ask);
    struct metallm__ask *before = NULL, *at = seat->first;
    while (at != ask) {
        before = at;
        at = at->seat_next;
    }
    if (before != NULL)
        before->seat_next = ask->seat_next;
    else
        seat->first = ask->seat_next;
    if (seat->last == ask)
        seat->last = before;
    seat->waiting--;
    ask->u->waiting--;
    atomic_fetch_sub(&metallm__ask_deployment(ask)->health->waiting, 1);
    metallm__timer_stop(ask->u->loop, &ask->timer);
    ask->phase = METALLM__PHASE_IDLE;
}

static void tick(struct metallm__timer *timer)
{
    struct metallm__upstream *u =
        (struct metallm__upstream *)(void *)((char *)timer -
                                             offsetof(struct metallm__upstream, tick));
    for (struct metallm__binding *b = u->bindings; b != NULL; b = b->next)
        for (uint32_t i = 0; i < b->llms->deployment_count; i++)
            wake(&b->seats[i]);
    if (u->waiting > 0)
        metallm__timer_set(u->loop, &u->tick, metallm__loop_now(u->loop) + TICK_NS);
}
