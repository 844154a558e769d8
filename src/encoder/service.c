/* SPDX-License-Identifier: Apache-2.0
 * service.c - see metallm/service.h: a request's way in, and out again when it is cancelled. */
#include "encoder/service.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "encoder/service_internal.h"

uint64_t metallm_service_now_ns(const metallm_service *s)
{
    return s->opts.clock_ns(s->opts.clock_payload);
}

uint32_t metallm_service_dim(const metallm_service *s)
{
    return s->work.dim;
}

static struct metallm__cache_key key_of(const metallm_service *s, const char *text, size_t len)
{
    if (s->cache != NULL)
        return metallm__cache_key_of(s->cache, text, len);
    return (struct metallm__cache_key){metallm__siphash(s->hash_key, text, len), len};
}

static struct metallm__service_job *job_new(const struct metallm__cache_key *key, const char *text)
{
    if (key->len > SIZE_MAX - sizeof(struct metallm__service_job))
        return NULL;
    struct metallm__service_job *j = metallm__alloc(sizeof *j + key->len, 1);
    if (j == NULL)
        return NULL;
    *j = (struct metallm__service_job){.key = *key, .len = key->len};
    if (key->len > 0)
        memcpy(j->text, text, key->len);
    return j;
}

/* Under the lock: joins an equal text, or puts a new job in the queue; fresh is used up (NULL)
 * then.
 */
static int admit(metallm_service *s, const metallm_service_request *asked,
                 const struct metallm__cache_key *key, struct metallm__service_job **fresh,
                 struct metallm__service_request **out)
{
    if (atomic_load(&s->is_stopping))
        return METALLM_ECANCELED;
    struct metallm__service_job *j = metallm__service_find_job(s, key, asked->text);
    if (s->free_slots == NULL || (j == NULL && s->bytes + key->len > s->opts.queue_bytes)) {
        s->counts.busy++;
        return METALLM_EBUSY;
    }
    if (j != NULL) {
        s->counts.joined++;
    } else {
        j = *fresh;
        *fresh = NULL;
        metallm__service_enqueue(s, j);
        pthread_cond_signal(&s->wake);
    }
    struct metallm__service_request *r = s->free_slots;
    s->free_slots = r->next;
    r->asked = *asked;
    r->job = j;
    r->state = METALLM__SLOT_WAITING;
    r->next = j->waiters;
    j->waiters = r;
    s->counts.unanswered++;
    *out = r;
    return METALLM_OK;
}

static int refused(const metallm_service *s, int rc, metallm_error *err)
{
    if (rc == METALLM_EBUSY)
        return metallm__error_set(err, rc, "the encoder's queue is full (%u requests, %zu bytes)",
                                  s->opts.queue, s->opts.queue_bytes);
    return metallm__error_set(err, rc, "%s", metallm__service_stopped.message);
}

int metallm_service_submit(metallm_service *s, const metallm_service_request *asked, bool *ready,
                           uint64_t *ticket, metallm_error *err)
{
    METALLM_REQUIRE(s != NULL && asked != NULL && ready != NULL && asked->out != NULL);
    METALLM_REQUIRE(asked->done != NULL && (asked->text != NULL || asked->len == 0));
    atomic_fetch_add(&s->requests, 1);
    if (atomic_load(&s->is_stopping))
        return refused(s, METALLM_ECANCELED, err);
    if (asked->len > s->opts.queue_bytes)
        return metallm__error_set(err, METALLM_ELIMIT, "a text of %zu bytes: the limit is %zu",
                                  asked->len, s->opts.queue_bytes);
    struct metallm__cache_key key = key_of(s, asked->text, asked->len);
    if (s->cache != NULL && metallm__cache_get(s->cache, &key, asked->out)) {
        *ready = true;
        return METALLM_OK;
    }
    if (asked->deadline_ns != 0 && metallm_service_now_ns(s) >= asked->deadline_ns)
        return metallm__error_set(err, METALLM_ETIMEOUT, "%s", metallm__service_timeout.message);
    struct metallm__service_job *fresh =
        job_new(&key, asked->text); /* before the lock: it may be long */
    if (fresh == NULL)
        return metallm__error_nomem(err, "a text to encode");
    struct metallm__service_request *r = NULL;
    uint64_t number = 0;
    pthread_mutex_lock(&s->lock);
    int rc = admit(s, asked, &key, &fresh, &r);
    if (rc == METALLM_OK)
        number = (uint64_t)r->generation << 32 | (uint64_t)(r - s->slots);
    pthread_mutex_unlock(&s->lock);
    metallm__free(fresh);
    if (rc != METALLM_OK)
        return refused(s, rc, err);
    *ready = false;
    if (ticket != NULL)
        *ticket = number;
    return METALLM_OK;
}

bool metallm_service_cancel(metallm_service *s, uint64_t ticket)
{
    uint32_t index = (uint32_t)ticket;
    if (index >= s->opts.queue)
        return false;
    struct metallm__service_job *unwanted = NULL;
    pthread_mutex_lock(&s->lock);
    struct metallm__service_request *r = &s->slots[index];
    bool is_waiting =
        r->state == METALLM__SLOT_WAITING && r->generation == (uint32_t)(ticket >> 32);
    if (is_waiting) {
        struct metallm__service_job *j = r->job;
        struct metallm__service_request **link = &j->waiters;
        while (*link != r)
            link = &(*link)->next;
        *link = r->next;
        metallm__service_release_slot(s, r);
        s->counts.cancelled++;
        if (j->waiters == NULL && !j->is_running) {
            metallm__service_queue_remove(s, j);
            metallm__service_table_remove(s, j);
            unwanted = j;
        }
    }
    pthread_mutex_unlock(&s->lock);
    metallm__free(unwanted);
    return is_waiting;
}

metallm_service_counts metallm_service_read(metallm_service *s)
{
    pthread_mutex_lock(&s->lock);
    metallm_service_counts out = s->counts;
    pthread_mutex_unlock(&s->lock);
    out.requests = atomic_load(&s->requests);
    if (s->cache != NULL) {
        struct metallm__cache_counts c = metallm__cache_read(s->cache);
        out.cache_hits = c.hits;
        out.cache_misses = c.misses;
        out.cache_evictions = c.evictions;
        out.cache_entries = c.entries;
        out.cache_capacity = c.capacity;
        out.cache_bytes = c.bytes;
    }
    return out;
}
