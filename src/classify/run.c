/* SPDX-License-Identifier: Apache-2.0
 * run.c - the loop of a run: what is asked next, what has come, when it is over. All of it runs on
 * the driver's thread; encoder and journal post what they have done. */
#include <math.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/mem.h"
#include "classify/run_inner.h"

#define TICK_NS    50000000u    /* between two looks for a wish to stop */
#define GROUP_NS   20000000u    /* longest that an answer's row waits */
#define GRACE_NS   10000000000u /* for what is under way, once asked to stop */
#define SILENT_MIN 64u

uint64_t metallm__run_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- Queues. ---- */

void metallm__items_init(struct metallm__items *q)
{
    *q = (struct metallm__items){0};
    q->end = &q->first;
}

void metallm__items_put(struct metallm__items *q, struct metallm__item *i)
{
    i->next = NULL;
    *q->end = i;
    q->end = &i->next;
    q->count++;
}

struct metallm__item *metallm__items_take(struct metallm__items *q)
{
    struct metallm__item *i = q->first;
    if (i == NULL)
        return NULL;
    q->first = i->next;
    if (q->first == NULL)
        q->end = &q->first;
    q->count--;
    return i;
}

/* ---- Stopping. ---- */

static bool is_stopping(const struct metallm__run *r)
{
    return r->state.is_stopped || r->state.is_given_up;
}

static void tick(struct metallm__run *r, uint64_t now)
{
    if (now - r->ticked_ns < TICK_NS)
        return;
    r->ticked_ns = now;
    if (r->o.tick != NULL && r->o.tick(r->o.payload, r) != 0 && !is_stopping(r))
        r->state.is_stopped = true;
    const uint64_t most = 4u * r->o.concurrent > SILENT_MIN ? 4u * r->o.concurrent : SILENT_MIN;
    const bool is_silent =
        r->silent >= most || (r->delayed.count > 0 && r->calling == 0 &&
                              now - r->answered_ns > r->o.patience_ms * 1000000ull);
    if (is_silent && !is_stopping(r))
        r->state.is_given_up = true;
    if (is_stopping(r) && r->stopped_ns == 0)
        r->stopped_ns = now;
}

/* What was begun and is not asked any more is given back as cut; what was not begun is forgotten.
 */
static void drop(struct metallm__run *r, struct metallm__items *q)
{
    for (struct metallm__item *i; (i = metallm__items_take(q)) != NULL;) {
        if (i->has_row) {
            metallm__run_finish(r, i, METALLM__JOB_CUT);
            continue;
        }
        metallm__run_settle(r, i);
        metallm__items_put(&r->free, i);
    }
}

static void drop_waiting(struct metallm__run *r)
{
    struct metallm__items *const queues[] = {&r->encoded, &r->wanted, &r->begin, &r->ready,
                                             &r->delayed};
    for (size_t q = 0; q < sizeof queues / sizeof *queues; q++)
        drop(r, queues[q]);
}

/* ---- What is asked next. ---- */

/* Items whose pause is over are wanted again. */
static void wake_delayed(struct metallm__run *r, uint64_t now)
{
    for (unsigned n = r->delayed.count; n > 0; n--) {
        struct metallm__item *i = metallm__items_take(&r->delayed);
        metallm__items_put(now >= i->due_ns ? &r->wanted : &r->delayed, i);
    }
}

/* Whether money may still come back by what is under way. */
static bool is_still(const struct metallm__run *r)
{
    return r->calling + r->in_begin + r->begin.count + r->ready.count + r->delayed.count == 0;
}

/* All wait for money that they hold themselves: one that holds some goes without its further call.
 */
static int give_way(struct metallm__run *r, metallm_error *err)
{
    for (unsigned n = r->wanted.count; n > 0; n--) {
        struct metallm__item *i = metallm__items_take(&r->wanted);
        if (i->reserved_usd > 0 && i->call_count > 0)
            return metallm__run_unpaid(r, i, err);
        if (i->reserved_usd > 0) { /* it lost some, and was never answered */
            r->state.left_for_money++;
            metallm__run_finish(r, i, METALLM__JOB_CUT);
            return METALLM_OK;
        }
        metallm__items_put(&r->wanted, i);
    }
    r->reserved = 0; /* nobody holds any: what is left is rounding */
    return METALLM_OK;
}

/* Money for what is wanted, in its order: who waits for money holds up those behind. *waits: so it
 * is. */
static int pay_wanted(struct metallm__run *r, bool *waits, metallm_error *err)
{
    int rc = METALLM_OK;
    while (rc == METALLM_OK && r->wanted.first != NULL) {
        struct metallm__item *i = r->wanted.first;
        rc = metallm__run_fit(r, i, err);
        if (rc != METALLM_OK)
            return rc;
        const int paid = metallm__run_reserve(r, i);
        *waits = paid == METALLM_EBUSY && !is_still(r);
        if (*waits)
            return METALLM_OK; /* money comes back with an answer */
        if (paid == METALLM_EBUSY) {
            rc = give_way(r, err);
            continue;
        }
        (void)metallm__items_take(&r->wanted);
        if (paid == METALLM_OK)
            metallm__items_put(&r->begin, i);
        else
            rc = metallm__run_unpaid(r, i, err);
    }
    return rc;
}

/* Decides on what has its vector. */
static int choose_all(struct metallm__run *r, metallm_error *err)
{
    bool waits = false;
    int rc = pay_wanted(r, &waits, err);
    while (rc == METALLM_OK && !waits && r->encoded.first != NULL) {
        struct metallm__item *i = metallm__items_take(&r->encoded);
        rc = metallm__run_choose(r, i, err);
        if (rc == METALLM_ENOTFOUND) { /* nobody can answer it: it has no row, and stays open */
            snprintf(r->silence, sizeof r->silence, "%s", err != NULL ? err->message : "");
            r->state.failed++;
            metallm__items_put(&r->free, i);
            rc = METALLM_OK;
            continue;
        }
        if (rc != METALLM_OK)
            return rc;
        metallm__items_put(&r->wanted, i);
        rc = pay_wanted(r, &waits, err);
    }
    return rc;
}

/* Texts that are begun before their turn. After a kill each of them counts as perhaps paid, so
 * there are no more than calls need that they do not wait. */
static unsigned ahead_target(const struct metallm__run *r)
{
    return 2 * r->o.concurrent > 4 ? 2 * r->o.concurrent : 4;
}

/* Answers that may wait for their commit: after a kill they are paid for again. */
static unsigned answers_max(const struct metallm__run *r)
{
    return 4 * r->o.concurrent > METALLM__RUN_BATCH ? METALLM__RUN_BATCH : 4 * r->o.concurrent;
}

/* Keeps enough texts begun that no call waits for one. */
static int pump(struct metallm__run *r, metallm_error *err)
{
    const unsigned target = ahead_target(r);
    const unsigned ahead = r->encoding_count + r->encoded.count + r->wanted.count + r->begin.count +
                           r->in_begin + r->ready.count;
    int rc = METALLM_OK;
    if (ahead < target && !r->is_read && r->feedback_count < METALLM__RUN_FEEDBACK_MAX / 4)
        rc = metallm__run_read(r, target - ahead, err);
    if (rc == METALLM_OK)
        rc = choose_all(r, err);
    return rc;
}

/* A batch of rows is due. What is to begin waits for the batch before it, so that a commit carries
 * as many as there are; what has ended goes along, and waits for at most GROUP_NS. */
static bool is_batch_due(struct metallm__run *r, uint64_t now)
{
    const bool is_idle = r->ready.count == 0 && r->in_begin == 0 && r->calling == 0;
    if (r->end.count == 0)
        r->end_since_ns = now;
    if (r->begin.count > 0 && (r->in_begin == 0 || r->begin.count >= ahead_target(r)))
        return true;
    return r->end.count > 0 && (is_idle || r->end.count + r->in_end >= answers_max(r) ||
                                now - r->end_since_ns >= GROUP_NS);
}

/* The journal must keep up: what it cannot queue it would drop. */
static bool is_journal_full(struct metallm__run *r)
{
    struct metallm__journal_stats stats;
    metallm__journal_stats(r->parts.journal, &stats);
    return stats.queued_bytes > (size_t)8 << 20;
}

static bool is_over(const struct metallm__run *r)
{
    const unsigned waiting = r->encoding_count + r->encoded.count + r->wanted.count +
                             r->begin.count + r->in_begin + r->ready.count + r->delayed.count;
    return (r->is_read || is_stopping(r)) && (waiting == 0 || is_stopping(r)) && r->calling == 0 &&
           r->end.count == 0 && r->in_end == 0 && r->in_begin == 0;
}

static int give(struct metallm__run *r, struct metallm__drive_job *job, metallm_error *err)
{
    struct metallm__item *i = metallm__items_take(&r->ready);
    int rc = metallm__run_fit(r, i, err); /* its LLM may have refused logprobs meanwhile */
    i->world = r->llms[i->llm].world;
    *job = (struct metallm__drive_job){.kind = METALLM__WIRE_CHAT,
                                       .body = {i->body.data, i->body.len},
                                       .candidates = &i->world,
                                       .candidate_count = 1,
                                       .tag = i};
    r->calling += rc == METALLM_OK;
    return rc;
}

static int next(void *payload, struct metallm__drive_job *job, metallm_error *err)
{
    struct metallm__run *r = payload;
    const uint64_t now = metallm__run_now();
    tick(r, now);
    int rc = metallm__run_collect(r, err);
    if (rc != METALLM_OK)
        return rc;
    metallm__run_feed(r);
    if (is_stopping(r)) {
        drop_waiting(r);
        if (r->stopped_ns != 0 && now - r->stopped_ns > GRACE_NS)
            return metallm__error_set(err, METALLM_ECANCELED, "stopped");
    } else if (r->ready.count < ahead_target(r) / 2) {
        wake_delayed(r, now);
        rc = is_journal_full(r) ? METALLM_OK : pump(r, err);
    }
    if (rc == METALLM_OK && is_batch_due(r, now))
        rc = metallm__run_flush(r, err);
    if (rc != METALLM_OK)
        return rc;
    if (r->ready.count == 0 || r->end.count + r->in_end >= answers_max(r))
        return is_over(r) ? METALLM_ENOTFOUND : METALLM_EBUSY;
    return give(r, job, err);
}

static int done(void *payload, void *tag, const struct metallm__ask_result *result,
                metallm_error *err)
{
    struct metallm__run *r = payload;
    r->calling--;
    return metallm__run_answer(r, tag, result, err);
}

static int drive(struct metallm__run *r, metallm_error *err)
{
    const struct metallm__config_upstream *u = &r->parts.world->config->upstream;
    const struct metallm__drive_options o = {
        .llms = r->parts.world->llms,
        .upstream = {.seed = r->o.seed,
                     .idle_max = r->o.concurrent > u->idle_connections
                                     ? r->o.concurrent
                                     : (unsigned)u->idle_connections,
                     .idle_ms = (uint32_t)u->idle_ms,
                     .attempts_max = 1, /* the next one needs money of its own: run_answer.c */
                     .backoff_ms = (uint32_t)u->backoff_ms,
                     .backoff_max_ms = (uint32_t)u->backoff_max_ms,
                     .answer_bytes_max = u->answer_bytes,
                     .dns_ms = (uint32_t)u->dns_ms},
        .concurrent = r->o.concurrent,
        .day = r->day,
        .next = next,
        .done = done,
        .payload = r,
    };
    int rc = metallm__drive(&o, err);
    return rc == METALLM_ECANCELED && is_stopping(r) ? METALLM_OK : rc;
}

int metallm__run_go(struct metallm__run *r, metallm_error *err)
{
    int rc = metallm__run_items_new(r, err);
    if (rc == METALLM_OK)
        rc = metallm__run_again(r, err);
    if (rc != METALLM_OK)
        return rc;
    r->began_ns = r->answered_ns = metallm__run_now();
    if (r->router != NULL && r->router->seed != 0 && r->o.seed == 0)
        r->o.seed = r->router->seed;
    rc = drive(r, err);
    metallm__run_encoder_stop(r);
    while (rc == METALLM_OK && r->feedback_count > 0) { /* the journal's queue has a bound */
        const struct timespec pause = {.tv_nsec = 2000000};
        metallm__run_feed(r);
        if (r->feedback_count > 0)
            nanosleep(&pause, NULL);
    }
    metallm_error own = {0};
    int closed = metallm__parts_close_journal(&r->parts, &own);
    if (rc == METALLM_OK && closed != METALLM_OK && err != NULL)
        *err = own;
    r->state.seconds = (double)(metallm__run_now() - r->began_ns) / 1e9;
    return rc == METALLM_OK ? closed : rc;
}

void metallm__run_state(const struct metallm__run *r, struct metallm__run_state *out)
{
    *out = r->state;
    out->under_way = r->calling;
    out->llm_count = r->candidate_count;
    out->llms = r->names;
    out->shares = r->shares;
    out->silence = r->silence;
    if (r->began_ns != 0 && out->seconds == 0)
        out->seconds = (double)(metallm__run_now() - r->began_ns) / 1e9;
}
