/* SPDX-License-Identifier: Apache-2.0
 * pick.c - which deployment a call goes to next: LLMs in the order given; within one, by weight
 * among those whose breaker lets pass, those with a free slot first. */
#include "upstream/ask_internal.h"

static bool is_full(const struct metallm__deployment *d)
{
    return d->concurrent_max > 0 && atomic_load(&d->health->in_flight) >= d->concurrent_max;
}

static bool is_usable(const struct metallm__deployment *d, uint64_t tried, uint32_t i, uint64_t now)
{
    return (tried >> i & 1u) == 0 && metallm__health_would_pass(d->health, now);
}

/* Bits of the deployments that can be told the request; of all, where none can: asking one gives
 * the reason. */
static uint64_t tellable(struct metallm__ask *ask, const struct metallm__llm *llm)
{
    uint64_t found = 0;
    const char *why;
    if (llm->deployment_count == 1)
        return 1;
    for (uint32_t i = 0; i < llm->deployment_count; i++)
        if (metallm__deployment_says(&llm->deployments[i], ask->request, &why))
            found |= 1ull << i;
    return found != 0 ? found : UINT64_MAX;
}

/* By weight among the usable, full or not as asked; -1: there is none. */
static int draw(struct metallm__ask *ask, const struct metallm__llm *llm, bool may_be_full)
{
    uint64_t now = metallm__loop_now(ask->u->loop);
    double sum = 0;
    uint64_t usable = 0, told = tellable(ask, llm);
    int last = -1;
    for (uint32_t i = 0; i < llm->deployment_count; i++) {
        const struct metallm__deployment *d = &llm->deployments[i];
        if ((told >> i & 1u) == 0 || !is_usable(d, ask->tried, i, now) ||
            (!may_be_full && is_full(d)))
            continue;
        usable |= 1ull << i;
        sum += d->weight;
        last = (int)i;
    }
    if (last < 0 || (usable & (usable - 1)) == 0) /* none, or one: no draw is needed */
        return last;
    double at = metallm__rng_uniform(&ask->u->rng) * sum;
    for (uint32_t i = 0; i < llm->deployment_count; i++) {
        if ((usable >> i & 1u) == 0)
            continue;
        at -= llm->deployments[i].weight;
        if (at < 0)
            return (int)i;
    }
    return last;
}

static bool has_open(const struct metallm__llm *llm, uint64_t tried)
{
    for (uint32_t i = 0; i < llm->deployment_count; i++)
        if ((tried >> i & 1u) == 0)
            return true;
    return false;
}

bool metallm__ask_pick(struct metallm__ask *ask)
{
    uint64_t now = metallm__loop_now(ask->u->loop);
    for (; ask->at < ask->candidate_count; ask->at++, ask->tried = 0) {
        const struct metallm__llm *llm = &ask->binding->llms->items[ask->candidates[ask->at]];
        for (int i; llm->state != METALLM__LLM_RETIRED;) {
            i = draw(ask, llm, false);
            if (i < 0)
                i = draw(ask, llm, true);
            if (i < 0)
                break;
            ask->llm = ask->candidates[ask->at];
            ask->deployment = (uint32_t)i;
            ask->tries_here = 0;
            if (metallm__health_pass(llm->deployments[i].health, now, &ask->is_probe))
                return true;
            ask->tried |= 1ull << i; /* another loop was faster with the probe */
            ask->is_open_seen = true;
        }
        if (llm->state != METALLM__LLM_RETIRED && has_open(llm, ask->tried))
            ask->is_open_seen = true;
    }
    return false;
}

bool metallm__ask_has_other(const struct metallm__ask *ask)
{
    uint64_t now = metallm__loop_now(ask->u->loop);
    uint64_t tried = ask->tried | 1ull << ask->deployment;
    for (unsigned c = ask->at; c < ask->candidate_count; c++, tried = 0) {
        const struct metallm__llm *llm = &ask->binding->llms->items[ask->candidates[c]];
        for (uint32_t i = 0; i < llm->deployment_count && llm->state != METALLM__LLM_RETIRED; i++)
            if (is_usable(&llm->deployments[i], tried, i, now))
                return true;
    }
    return false;
}

uint64_t metallm__ask_wait(const struct metallm__ask *ask)
{
    uint64_t now = metallm__loop_now(ask->u->loop), least = UINT64_MAX;
    for (unsigned c = 0; c < ask->candidate_count; c++) {
        const struct metallm__llm *llm = &ask->binding->llms->items[ask->candidates[c]];
        for (uint32_t i = 0; i < llm->deployment_count && llm->state != METALLM__LLM_RETIRED; i++) {
            uint64_t wait = metallm__health_wait(llm->deployments[i].health, now);
            least = wait < least ? wait : least;
        }
    }
    return least == UINT64_MAX ? 0 : least;
}
