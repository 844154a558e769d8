/* SPDX-License-Identifier: Apache-2.0
 * run_write.c - rows in batches: the journal's thread writes them, and posts what it has written.
 * A batch is a transaction of its own, synced before its calls are made or its items forgotten. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "classify/run_inner.h"

/* The chance with which the LLM that gave the answer was drawn; NaN: it was not drawn. */
static double propensity_of(const struct metallm__item *i)
{
    const bool is_drawn = i->view != NULL && i->call_count > 0 &&
                          i->calls[0].why == METALLM__WHY_ROUTED && i->calls[0].model == i->model &&
                          i->model == i->decision.chosen;
    return is_drawn ? i->decision.propensity : NAN;
}

/* What was paid; NaN where one of the calls has no price. */
static double usd_of(const struct metallm__item *i)
{
    for (unsigned k = 0; k < i->call_count; k++)
        if (isnan(i->calls[k].usd))
            return NAN;
    return i->usd;
}

static int write_end(struct metallm__store *s, int64_t job, const struct metallm__item *i,
                     metallm_error *err)
{
    struct metallm__job_row row = {
        .number = i->number,
        .state = i->state,
        .label = i->label == METALLM__LABEL_NONE ? METALLM__JOB_NO_LABEL : (int32_t)i->label,
        .model = i->model,
        .how = i->how,
        .confidence = i->confidence,
        .propensity = propensity_of(i),
        .usd = usd_of(i),
        .lost_usd = i->lost_usd,
        .latency_ms = i->latency_ms,
        .is_lesson = i->is_lesson,
        .decision_row = i->id.row,
        .calls = i->calls,
        .call_count = i->call_count,
    };
    snprintf(row.decision, sizeof row.decision, "%s", i->id_text);
    return metallm__job_end(s, job, &row, err);
}

/* On the journal's thread, within its transaction. */
static int write_batch(void *payload, struct metallm__store *s, metallm_error *err)
{
    const struct metallm__run_batch *b = payload;
    const int64_t job = b->run->job.id;
    const struct metallm__item *i;
    int rc = METALLM_OK;
    for (i = b->begins.first; i != NULL && rc == METALLM_OK; i = i->next)
        rc = metallm__job_begin(s, job, i->number, i->hash, i->reserved_usd, err);
    for (i = b->ends.first; i != NULL && rc == METALLM_OK; i = i->next)
        rc = write_end(s, job, i, err);
    return rc;
}

static void written(void *payload, int rc, const metallm_error *err)
{
    struct metallm__run_batch *b = payload;
    struct metallm__run *r = b->run;
    b->rc = rc;
    if (rc != METALLM_OK && err != NULL)
        b->err = *err;
    pthread_mutex_lock(&r->lock);
    b->next = r->posted;
    r->posted = b;
    pthread_mutex_unlock(&r->lock);
}

static void move_all(struct metallm__items *from, struct metallm__items *to)
{
    for (struct metallm__item *i; (i = metallm__items_take(from)) != NULL;)
        metallm__items_put(to, i);
}

int metallm__run_flush(struct metallm__run *r, metallm_error *err)
{
    struct metallm__run_batch *b = metallm__calloc(1, sizeof *b);
    if (b == NULL)
        return metallm__error_nomem(err, "rows of a job");
    b->run = r;
    metallm__items_init(&b->begins);
    metallm__items_init(&b->ends);
    move_all(&r->begin, &b->begins);
    move_all(&r->end, &b->ends);
    const unsigned begins = b->begins.count,
                   ends = b->ends.count; /* b may be gone behind the call */
    int rc = metallm__journal_call(r->parts.journal, write_batch, written, b, err);
    if (rc == METALLM_OK) {
        r->in_begin += begins;
        r->in_end += ends;
        return METALLM_OK;
    }
    move_all(&b->begins, &r->begin);
    move_all(&b->ends, &r->end);
    metallm__free(b);
    return rc == METALLM_EBUSY ? METALLM_OK : rc; /* full: the next look tries again */
}

static void forget(struct metallm__run *r, struct metallm__item *i)
{
    metallm__view_drop(i->view);
    i->view = NULL;
    metallm__items_put(&r->free, i);
}

int metallm__run_collect(struct metallm__run *r, metallm_error *err)
{
    int rc = METALLM_OK;
    pthread_mutex_lock(&r->lock);
    struct metallm__run_batch *posted = r->posted;
    r->posted = NULL;
    for (struct metallm__item *i; (i = metallm__items_take(&r->posted_encoded)) != NULL;) {
        r->encoding_count--;
        metallm__items_put(&r->encoded, i);
    }
    pthread_mutex_unlock(&r->lock);
    for (struct metallm__run_batch *b = posted, *after; b != NULL; b = after) {
        after = b->next;
        if (b->rc != METALLM_OK) {
            rc = b->rc;
            if (err != NULL)
                *err = b->err;
        }
        r->in_begin -= b->begins.count;
        r->in_end -= b->ends.count;
        for (struct metallm__item *i; (i = metallm__items_take(&b->begins)) != NULL;) {
            i->has_row = true;
            metallm__items_put(&r->ready, i);
        }
        for (struct metallm__item *i; (i = metallm__items_take(&b->ends)) != NULL;)
            forget(r, i);
        metallm__free(b);
    }
    return rc;
}
