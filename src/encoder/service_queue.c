/* SPDX-License-Identifier: Apache-2.0
 * service_queue.c - see service_internal.h: texts in flight, who waits for them, and answers. */
#include <string.h>

#include "encoder/service_internal.h"

const metallm_error metallm__service_no_error;
const metallm_error metallm__service_timeout = {METALLM_ETIMEOUT,
                                                "the deadline passed before the text was encoded"};
const metallm_error metallm__service_stopped = {METALLM_ECANCELED,
                                                "the encoder service has stopped"};

/* ---- the table of texts in flight and the queue; the caller holds the lock ---- */

static struct metallm__service_job **chain_of(metallm_service *s,
                                              const struct metallm__cache_key *key)
{
    return &s->table[key->hash.hi & s->table_mask];
}

struct metallm__service_job *metallm__service_find_job(metallm_service *s,
                                                       const struct metallm__cache_key *key,
                                                       const char *text)
{
    struct metallm__service_job *j = *chain_of(s, key);
    while (j != NULL && (j->len != key->len || j->key.hash.lo != key->hash.lo ||
                         memcmp(j->text, text, j->len) != 0))
        j = j->chain;
    return j;
}

void metallm__service_table_remove(metallm_service *s, struct metallm__service_job *j)
{
    struct metallm__service_job **link = chain_of(s, &j->key);
    while (*link != j)
        link = &(*link)->chain;
    *link = j->chain;
    s->bytes -= j->len;
}

void metallm__service_queue_remove(metallm_service *s, struct metallm__service_job *j)
{
    *(j->older != NULL ? &j->older->newer : &s->oldest) = j->newer;
    *(j->newer != NULL ? &j->newer->older : &s->newest) = j->older;
    j->older = j->newer = NULL;
    s->counts.waiting--;
}

void metallm__service_enqueue(metallm_service *s, struct metallm__service_job *j)
{
    struct metallm__service_job **chain = chain_of(s, &j->key);
    j->chain = *chain;
    *chain = j;
    j->older = s->newest;
    *(s->newest != NULL ? &s->newest->newer : &s->oldest) = j;
    s->newest = j;
    s->bytes += j->len;
    s->counts.waiting++;
}

void metallm__service_settle(metallm_service *s, struct metallm__service_request **answers,
                             struct metallm__service_request *r, int status,
                             const metallm_error *err)
{
    r->state = METALLM__SLOT_DELIVERING;
    r->job = NULL;
    r->status = status;
    r->err = err;
    r->next = *answers;
    *answers = r;
    s->counts.timeouts += status == METALLM_ETIMEOUT;
    s->counts.cancelled += status == METALLM_ECANCELED;
    s->counts.failed +=
        status != METALLM_OK && status != METALLM_ETIMEOUT && status != METALLM_ECANCELED;
}

void metallm__service_drop_late(metallm_service *s, struct metallm__service_job *j, uint64_t now,
                                struct metallm__service_request **answers)
{
    struct metallm__service_request **link = &j->waiters;
    while (*link != NULL) {
        struct metallm__service_request *r = *link;
        if (r->asked.deadline_ns != 0 && now >= r->asked.deadline_ns) {
            *link = r->next;
            metallm__service_settle(s, answers, r, METALLM_ETIMEOUT, &metallm__service_timeout);
        } else {
            link = &r->next;
        }
    }
}

/* ---- answers; the caller does not hold the lock ---- */

void metallm__service_release_slot(metallm_service *s, struct metallm__service_request *r)
{
    r->state = METALLM__SLOT_FREE;
    r->generation++;
    r->next = s->free_slots;
    s->free_slots = r;
    s->counts.unanswered--;
}

void metallm__service_deliver(metallm_service *s, struct metallm__service_request *answers)
{
    if (answers == NULL)
        return;
    for (struct metallm__service_request *r = answers; r != NULL; r = r->next)
        r->asked.done(r->asked.payload, r->status, r->err);
    pthread_mutex_lock(&s->lock);
    while (answers != NULL) {
        struct metallm__service_request *r = answers;
        answers = r->next;
        metallm__service_release_slot(s, r);
    }
    pthread_mutex_unlock(&s->lock);
}
