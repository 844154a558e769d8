/* SPDX-License-Identifier: Apache-2.0
 * service.c - see metallm/service.h. One lock guards queue, table of texts in flight and request
 * slots; it is never held while encoding, while the cache is asked, or while a done runs.
 * A job is a text in flight, a request somebody who waits for it: equal texts share a job. */
#include "encoder/service.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/error.h"
#include "base/mem.h"
#include "encoder/cache.h"

enum slot_state { SLOT_FREE, SLOT_WAITING, SLOT_DELIVERING };

struct job;
struct request {
    struct request *next; /* of its job, of the free list, or of those to be delivered */
    struct job *job;
    metallm_service_request asked; /* text is the job's copy's business, not kept here */
    uint32_t generation;           /* of the slot: an old ticket does not fit a new request */
    enum slot_state state;
    int status;
    const metallm_error *err;
};

struct job {
    struct metallm__cache_key key;
    struct job *chain;         /* of the table of texts in flight */
    struct job *newer, *older; /* of the queue; both NULL while running */
    struct request *waiters;
    bool is_running;
    size_t len;
    char text[];
};

struct worker {
    pthread_t thread;
    metallm_service *service;
    struct job **jobs; /* arrays of opts.batch */
    const char **texts;
    size_t *lens;
    int *status;
    metallm_error *errs;
    float *values; /* batch x dim */
};

struct metallm_service {
    struct metallm__service_work work;
    metallm_service_options opts; /* no field is 0, apart from cache */
    uint64_t hash_key[2];
    struct metallm__cache *cache; /* or NULL */
    struct worker *workers;
    uint32_t started; /* threads that run */
    atomic_bool is_stopping;
    atomic_ullong requests;

    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct job *oldest, *newest; /* the queue */
    struct job **table;          /* table_mask + 1 chains */
    size_t table_mask;
    struct request *slots, *free_slots;
    size_t bytes; /* of the texts in flight */
    uint32_t idle;
    metallm_service_counts counts; /* but for requests and cache_* */
};

static const metallm_error no_error;

static uint64_t system_clock(void *payload)
{
    (void)payload;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

uint64_t metallm_service_now_ns(const metallm_service *s)
{
    return s->opts.clock_ns(s->opts.clock_payload);
}

uint32_t metallm_service_dim(const metallm_service *s)
{
    return s->work.dim;
}

/* ---- the table of texts in flight and the queue; the caller holds the lock ---- */

static struct job **chain_of(metallm_service *s, const struct metallm__cache_key *key)
{
    return &s->table[key->hash.hi & s->table_mask];
}

/* Compares the texts themselves: no chance of a mix-up here. */
static struct job *find_job(metallm_service *s, const struct metallm__cache_key *key,
                            const char *text)
{
    struct job *j = *chain_of(s, key);
    while (j != NULL && (j->len != key->len || j->key.hash.lo != key->hash.lo ||
                         memcmp(j->text, text, j->len) != 0))
        j = j->chain;
    return j;
}

static void table_remove(metallm_service *s, struct job *j)
{
    struct job **link = chain_of(s, &j->key);
    while (*link != j)
        link = &(*link)->chain;
    *link = j->chain;
    s->bytes -= j->len;
}

static void queue_remove(metallm_service *s, struct job *j)
{
    *(j->older != NULL ? &j->older->newer : &s->oldest) = j->newer;
    *(j->newer != NULL ? &j->newer->older : &s->newest) = j->older;
    j->older = j->newer = NULL;
    s->counts.waiting--;
}

static void enqueue(metallm_service *s, struct job *j)
{
    struct job **chain = chain_of(s, &j->key);
    j->chain = *chain;
    *chain = j;
    j->older = s->newest;
    *(s->newest != NULL ? &s->newest->newer : &s->oldest) = j;
    s->newest = j;
    s->bytes += j->len;
    s->counts.waiting++;
}

/* Moves a waiter of a job to the list of those to be answered. */
static void settle(metallm_service *s, struct request **answers, struct request *r, int status,
                   const metallm_error *err)
{
    r->state = SLOT_DELIVERING;
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

/* ---- answers; the caller does not hold the lock ---- */

static void release_slot(metallm_service *s, struct request *r)
{
    r->state = SLOT_FREE;
    r->generation++;
    r->next = s->free_slots;
    s->free_slots = r;
    s->counts.unanswered--;
}

static void deliver(metallm_service *s, struct request *answers)
{
    if (answers == NULL)
        return;
    for (struct request *r = answers; r != NULL; r = r->next)
        r->asked.done(r->asked.payload, r->status, r->err);
    pthread_mutex_lock(&s->lock);
    while (answers != NULL) {
        struct request *r = answers;
        answers = r->next;
        release_slot(s, r);
    }
    pthread_mutex_unlock(&s->lock);
}

/* ---- the encoder threads ---- */

static const metallm_error timeout_error = {METALLM_ETIMEOUT,
                                            "the deadline passed before the text was encoded"};
static const metallm_error stopped_error = {METALLM_ECANCELED, "the encoder service has stopped"};

/* Waiters whose deadline has passed leave their job. */
static void drop_late(metallm_service *s, struct job *j, uint64_t now, struct request **answers)
{
    struct request **link = &j->waiters;
    while (*link != NULL) {
        struct request *r = *link;
        if (r->asked.deadline_ns != 0 && now >= r->asked.deadline_ns) {
            *link = r->next;
            settle(s, answers, r, METALLM_ETIMEOUT, &timeout_error);
        } else {
            link = &r->next;
        }
    }
}

/* What is waiting, shared evenly with the threads that are idle as well; never waits for more. */
static size_t take_batch(struct worker *w, struct request **answers)
{
    metallm_service *s = w->service;
    uint64_t now = metallm_service_now_ns(s);
    size_t share = (s->counts.waiting + s->idle) / (s->idle + 1);
    size_t wanted = share < s->opts.batch ? share : s->opts.batch, count = 0;
    while (count < wanted && s->oldest != NULL) {
        struct job *j = s->oldest;
        queue_remove(s, j);
        drop_late(s, j, now, answers);
        if (j->waiters == NULL) {
            table_remove(s, j);
            metallm__free(j);
            continue;
        }
        j->is_running = true;
        w->jobs[count] = j;
        w->texts[count] = j->text;
        w->lens[count++] = j->len;
    }
    s->counts.running += count;
    s->counts.texts += count;
    s->counts.batches += count > 0;
    if (s->oldest != NULL && s->idle > 0)
        pthread_cond_signal(&s->wake);
    return count;
}

static void compute(struct worker *w, size_t count)
{
    const struct metallm__service_work *work = &w->service->work;
    w->errs[0] = no_error;
    int rc = work->compute(work->payload, w->texts, w->lens, count, w->values, &w->errs[0]);
    for (size_t i = 0; i < count; i++)
        w->status[i] = rc;
    if (rc == METALLM_EINVAL && count > 1)
        for (size_t i = 0; i < count; i++) {
            w->errs[i] = no_error;
            w->status[i] = work->compute(work->payload, w->texts + i, w->lens + i, 1,
                                         w->values + i * work->dim, &w->errs[i]);
        }
    else
        for (size_t i = 1; i < count && rc != METALLM_OK; i++)
            w->errs[i] = w->errs[0];
}

/* Hands results to all who still wait. A result that comes after its deadline is a timeout: who
 * gets METALLM_OK got it in time. */
static void finish_batch(struct worker *w, size_t count)
{
    metallm_service *s = w->service;
    struct request *answers = NULL;
    if (s->cache != NULL)
        for (size_t i = 0; i < count; i++)
            if (w->status[i] == METALLM_OK)
                metallm__cache_put(s->cache, &w->jobs[i]->key, w->values + i * s->work.dim);
    pthread_mutex_lock(&s->lock);
    uint64_t now = metallm_service_now_ns(s);
    for (size_t i = 0; i < count; i++) {
        struct job *j = w->jobs[i];
        drop_late(s, j, now, &answers);
        while (j->waiters != NULL) {
            struct request *r = j->waiters;
            j->waiters = r->next;
            if (w->status[i] == METALLM_OK)
                memcpy(r->asked.out, w->values + i * s->work.dim, s->work.dim * sizeof(float));
            settle(s, &answers, r, w->status[i],
                   w->status[i] == METALLM_OK ? &no_error : &w->errs[i]);
        }
        table_remove(s, j);
    }
    s->counts.running -= count;
    pthread_mutex_unlock(&s->lock);
    deliver(s, answers);
    for (size_t i = 0; i < count; i++)
        metallm__free(w->jobs[i]);
}

static void *work_loop(void *arg)
{
    struct worker *w = arg;
    metallm_service *s = w->service;
    for (;;) {
        pthread_mutex_lock(&s->lock);
        while (s->oldest == NULL && !atomic_load(&s->is_stopping)) {
            s->idle++;
            pthread_cond_wait(&s->wake, &s->lock);
            s->idle--;
        }
        if (s->oldest == NULL) {
            pthread_mutex_unlock(&s->lock);
            return NULL;
        }
        struct request *late = NULL;
        size_t count = take_batch(w, &late);
        pthread_mutex_unlock(&s->lock);
        deliver(s, late);
        if (count > 0) {
            compute(w, count);
            finish_batch(w, count);
        }
    }
}

/* ---- requests ---- */

static struct metallm__cache_key key_of(const metallm_service *s, const char *text, size_t len)
{
    if (s->cache != NULL)
        return metallm__cache_key_of(s->cache, text, len);
    return (struct metallm__cache_key){metallm__siphash(s->hash_key, text, len), len};
}

static struct job *job_new(const struct metallm__cache_key *key, const char *text)
{
    if (key->len > SIZE_MAX - sizeof(struct job))
        return NULL;
    struct job *j = metallm__alloc(sizeof *j + key->len, 1);
    if (j == NULL)
        return NULL;
    *j = (struct job){.key = *key, .len = key->len};
    if (key->len > 0)
        memcpy(j->text, text, key->len);
    return j;
}

/* Under the lock: joins an equal text, or puts a new job in the queue; fresh is used up (NULL)
 * then.
 */
static int admit(metallm_service *s, const metallm_service_request *asked,
                 const struct metallm__cache_key *key, struct job **fresh, struct request **out)
{
    if (atomic_load(&s->is_stopping))
        return METALLM_ECANCELED;
    struct job *j = find_job(s, key, asked->text);
    if (s->free_slots == NULL || (j == NULL && s->bytes + key->len > s->opts.queue_bytes)) {
        s->counts.busy++;
        return METALLM_EBUSY;
    }
    if (j != NULL) {
        s->counts.joined++;
    } else {
        j = *fresh;
        *fresh = NULL;
        enqueue(s, j);
        pthread_cond_signal(&s->wake);
    }
    struct request *r = s->free_slots;
    s->free_slots = r->next;
    r->asked = *asked;
    r->job = j;
    r->state = SLOT_WAITING;
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
    return metallm__error_set(err, rc, "%s", stopped_error.message);
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
        return metallm__error_set(err, METALLM_ETIMEOUT, "%s", timeout_error.message);
    struct job *fresh = job_new(&key, asked->text); /* before the lock: it may be long */
    if (fresh == NULL)
        return metallm__error_nomem(err, "a text to encode");
    struct request *r = NULL;
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
    struct job *unwanted = NULL;
    pthread_mutex_lock(&s->lock);
    struct request *r = &s->slots[index];
    bool is_waiting = r->state == SLOT_WAITING && r->generation == (uint32_t)(ticket >> 32);
    if (is_waiting) {
        struct job *j = r->job;
        struct request **link = &j->waiters;
        while (*link != r)
            link = &(*link)->next;
        *link = r->next;
        release_slot(s, r);
        s->counts.cancelled++;
        if (j->waiters == NULL && !j->is_running) {
            queue_remove(s, j);
            table_remove(s, j);
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

/* ---- the start and the end ---- */

static int check_options(metallm_service_options *o, metallm_error *err)
{
    o->threads = o->threads == 0 ? 1 : o->threads;
    o->queue = o->queue == 0 ? 1024 : o->queue;
    o->batch = o->batch == 0 ? 32 : o->batch;
    o->queue_bytes = o->queue_bytes == 0 ? (size_t)64 << 20 : o->queue_bytes;
    if (o->clock_ns == NULL)
        o->clock_ns = system_clock;
    if (o->threads > METALLM_SERVICE_THREADS_MAX)
        return metallm__error_set(err, METALLM_EINVAL, "%u encoder threads: the limit is %u",
                                  o->threads, METALLM_SERVICE_THREADS_MAX);
    if (o->queue > METALLM_SERVICE_QUEUE_MAX)
        return metallm__error_set(err, METALLM_EINVAL, "a queue of %u: the limit is %u", o->queue,
                                  METALLM_SERVICE_QUEUE_MAX);
    if (o->batch > METALLM_SERVICE_BATCH_MAX)
        return metallm__error_set(err, METALLM_EINVAL, "a batch of %u: the limit is %u", o->batch,
                                  METALLM_SERVICE_BATCH_MAX);
    return METALLM_OK;
}

static int make_tables(metallm_service *s)
{
    size_t chains = 1;
    while (chains < s->opts.queue)
        chains *= 2;
    s->table_mask = chains - 1;
    s->table = metallm__calloc(chains, sizeof(struct job *));
    s->slots = metallm__calloc(s->opts.queue, sizeof *s->slots);
    s->workers = metallm__calloc(s->opts.threads, sizeof *s->workers);
    if (s->table == NULL || s->slots == NULL || s->workers == NULL)
        return METALLM_ENOMEM;
    for (uint32_t i = s->opts.queue; i-- > 0;) {
        s->slots[i].generation = 1; /* no ticket is 0 */
        s->slots[i].next = s->free_slots;
        s->free_slots = &s->slots[i];
    }
    for (uint32_t i = 0; i < s->opts.threads; i++) {
        struct worker *w = &s->workers[i];
        size_t n = s->opts.batch;
        w->service = s;
        w->jobs = metallm__alloc(n, sizeof(struct job *));
        w->texts = metallm__alloc(n, sizeof(char *));
        w->lens = metallm__alloc(n, sizeof *w->lens);
        w->status = metallm__alloc(n, sizeof *w->status);
        w->errs = metallm__alloc(n, sizeof *w->errs);
        w->values = metallm__alloc_aligned(n * s->work.dim, sizeof *w->values);
        if (w->jobs == NULL || w->texts == NULL || w->lens == NULL || w->status == NULL ||
            w->errs == NULL || w->values == NULL)
            return METALLM_ENOMEM;
    }
    return METALLM_OK;
}

static int start(metallm_service *s, metallm_error *err)
{
    if (make_tables(s) != METALLM_OK)
        return metallm__error_nomem(err, "an encoder service");
    if (getrandom(s->hash_key, sizeof s->hash_key, 0) != (ssize_t)sizeof s->hash_key)
        return metallm__error_set(err, METALLM_EIO, "the system gives no random numbers");
    if (s->opts.cache > 0) {
        struct metallm__cache_options cache = {s->opts.cache, s->work.dim, s->work.scope, NULL};
        int rc = metallm__cache_new(&s->cache, &cache, err);
        if (rc != METALLM_OK)
            return rc;
    }
    for (; s->started < s->opts.threads; s->started++) {
        struct worker *w = &s->workers[s->started];
        if (pthread_create(&w->thread, NULL, work_loop, w) != 0)
            return metallm__error_set(err, METALLM_EIO, "cannot start encoder thread %u of %u",
                                      s->started + 1, s->opts.threads);
    }
    return METALLM_OK;
}

int metallm__service_new(metallm_service **out, const struct metallm__service_work *work,
                         const metallm_service_options *opts, metallm_error *err)
{
    METALLM_REQUIRE(out != NULL && opts != NULL && work->dim > 0);
    metallm_service_options checked = *opts;
    int rc = check_options(&checked, err);
    if (rc != METALLM_OK)
        return rc;
    metallm_service *s = metallm__calloc(1, sizeof *s);
    if (s == NULL)
        return metallm__error_nomem(err, "an encoder service");
    s->work = *work;
    s->opts = checked;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, NULL);
    rc = start(s, err);
    if (rc != METALLM_OK) {
        metallm_service_free(s);
        return rc;
    }
    *out = s;
    return METALLM_OK;
}

/* Takes every waiting job out; their waiters are answered with METALLM_ECANCELED. */
static struct request *empty_queue(metallm_service *s)
{
    struct request *answers = NULL;
    while (s->oldest != NULL) {
        struct job *j = s->oldest;
        queue_remove(s, j);
        table_remove(s, j);
        while (j->waiters != NULL) {
            struct request *r = j->waiters;
            j->waiters = r->next;
            settle(s, &answers, r, METALLM_ECANCELED, &stopped_error);
        }
        metallm__free(j);
    }
    return answers;
}

void metallm_service_stop(metallm_service *s, bool drain)
{
    pthread_mutex_lock(&s->lock);
    atomic_store(&s->is_stopping, true);
    struct request *answers = drain ? NULL : empty_queue(s);
    pthread_cond_broadcast(&s->wake);
    pthread_mutex_unlock(&s->lock);
    deliver(s, answers);
    for (; s->started > 0; s->started--)
        pthread_join(s->workers[s->started - 1].thread, NULL);
}

void metallm_service_free(metallm_service *s)
{
    if (s == NULL)
        return;
    metallm_service_stop(s, false);
    for (uint32_t i = 0; s->workers != NULL && i < s->opts.threads; i++) {
        struct worker *w = &s->workers[i];
        metallm__free(w->jobs);
        metallm__free(w->texts);
        metallm__free(w->lens);
        metallm__free(w->status);
        metallm__free(w->errs);
        metallm__free(w->values);
    }
    metallm__cache_free(s->cache);
    metallm__free(s->workers);
    metallm__free(s->slots);
    metallm__free(s->table);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    metallm__free(s);
}
