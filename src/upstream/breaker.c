/* SPDX-License-Identifier: Apache-2.0
 * breaker.c - see breaker.h. */
#include "upstream/breaker.h"

#include <string.h>

#define SECOND 1000000000u

const char *metallm__breaker_state_name(enum metallm__breaker_state state)
{
    static const char *const names[] = {"closed", "open", "half-open"};
    return names[state];
}

static struct metallm__breaker_options with_defaults(const struct metallm__breaker_options *o)
{
    struct metallm__breaker_options options = *o;
    if (options.consecutive_max == 0)
        options.consecutive_max = 5;
    if (options.requests_min == 0)
        options.requests_min = 20;
    if (!(options.error_rate_max > 0))
        options.error_rate_max = 0.5;
    if (options.window_ns < METALLM__BREAKER_BUCKETS)
        options.window_ns = 30ull * SECOND;
    if (options.open_ns == 0)
        options.open_ns = 2ull * SECOND;
    if (options.open_max_ns == 0)
        options.open_max_ns = 120ull * SECOND;
    if (options.probe_ns == 0)
        options.probe_ns = 60ull * SECOND;
    return options;
}

static void forget_counts(struct metallm__breaker *b)
{
    memset(b->requests, 0, sizeof b->requests);
    memset(b->faults, 0, sizeof b->faults);
}

void metallm__breaker_init(struct metallm__breaker *b, const struct metallm__breaker_options *o)
{
    *b = (struct metallm__breaker){.options = with_defaults(o)};
}

void metallm__breaker_tune(struct metallm__breaker *b, const struct metallm__breaker_options *o)
{
    uint64_t window = b->options.window_ns;
    b->options = with_defaults(o);
    if (b->options.window_ns != window) {
        forget_counts(b);
        b->bucket = 0;
    }
}

/* Empties the parts of the window that time has left behind. */
static void turn(struct metallm__breaker *b, uint64_t now)
{
    uint64_t bucket = now / (b->options.window_ns / METALLM__BREAKER_BUCKETS);
    uint64_t passed = bucket > b->bucket ? bucket - b->bucket : 0;
    for (uint64_t i = 0; i < passed && i < METALLM__BREAKER_BUCKETS; i++) {
        unsigned at = (unsigned)((b->bucket + 1 + i) % METALLM__BREAKER_BUCKETS);
        b->requests[at] = b->faults[at] = 0;
    }
    b->bucket += passed;
}

static void count(struct metallm__breaker *b, uint64_t now, bool is_fault)
{
    turn(b, now);
    unsigned at = (unsigned)(b->bucket % METALLM__BREAKER_BUCKETS);
    b->requests[at]++;
    b->faults[at] += is_fault;
}

static bool is_rate_high(const struct metallm__breaker *b)
{
    uint64_t requests = 0, faults = 0;
    for (unsigned i = 0; i < METALLM__BREAKER_BUCKETS; i++) {
        requests += b->requests[i];
        faults += b->faults[i];
    }
    return requests >= b->options.requests_min &&
           (double)faults >= b->options.error_rate_max * (double)requests;
}

static uint64_t bounded(const struct metallm__breaker *b, uint64_t ns)
{
    return ns < b->options.open_max_ns ? ns : b->options.open_max_ns;
}

static void open_until(struct metallm__breaker *b, uint64_t until)
{
    if (b->state != METALLM__BREAKER_OPEN || until > b->open_until_ns)
        b->open_until_ns = until;
    b->state = METALLM__BREAKER_OPEN;
}

/* open_ns 2^opened, spread over 75-125 %, so that many gateways do not return together. */
static void trip(struct metallm__breaker *b, uint64_t now, double u)
{
    uint64_t ns = b->options.open_ns;
    for (unsigned i = 0; i < b->opened && ns < b->options.open_max_ns; i++)
        ns *= 2;
    ns = bounded(b, ns);
    b->opened++;
    open_until(b, now + (uint64_t)((double)ns * (0.75 + 0.5 * u)));
}

/* Is a probe under way that may still tell something? */
static bool is_probing(const struct metallm__breaker *b, uint64_t now)
{
    return b->state == METALLM__BREAKER_HALF_OPEN && now - b->probe_since_ns < b->options.probe_ns;
}

bool metallm__breaker_would_pass(const struct metallm__breaker *b, uint64_t now)
{
    return metallm__breaker_wait(b, now) == 0;
}

bool metallm__breaker_pass(struct metallm__breaker *b, uint64_t now, bool *is_probe)
{
    *is_probe = false;
    if (b->state == METALLM__BREAKER_CLOSED)
        return true;
    if (!metallm__breaker_would_pass(b, now))
        return false;
    b->state = METALLM__BREAKER_HALF_OPEN;
    b->probe_since_ns = now;
    *is_probe = true;
    return true;
}

void metallm__breaker_success(struct metallm__breaker *b, uint64_t now)
{
    b->consecutive = 0;
    if (b->state == METALLM__BREAKER_OPEN) /* begun before it opened: says nothing of now */
        return;
    if (b->state == METALLM__BREAKER_HALF_OPEN) {
        b->state = METALLM__BREAKER_CLOSED;
        b->opened = 0;
        forget_counts(b);
    }
    count(b, now, false);
}

void metallm__breaker_fault(struct metallm__breaker *b, uint64_t now, double u)
{
    if (b->state == METALLM__BREAKER_OPEN)
        return;
    count(b, now, true);
    b->consecutive++;
    if (b->state == METALLM__BREAKER_HALF_OPEN || b->consecutive >= b->options.consecutive_max ||
        is_rate_high(b))
        trip(b, now, u);
}

void metallm__breaker_hold(struct metallm__breaker *b, uint64_t now, uint64_t for_ns)
{
    open_until(b, now + bounded(b, for_ns));
}

void metallm__breaker_forget(struct metallm__breaker *b)
{
    if (b->state == METALLM__BREAKER_HALF_OPEN) { /* as if its time had just come */
        b->state = METALLM__BREAKER_OPEN;
        b->open_until_ns = 0;
    }
}

uint64_t metallm__breaker_wait(const struct metallm__breaker *b, uint64_t now)
{
    if (b->state == METALLM__BREAKER_OPEN && now < b->open_until_ns)
        return b->open_until_ns - now;
    if (is_probing(b, now))
        return b->probe_since_ns + b->options.probe_ns - now;
    return 0;
}
