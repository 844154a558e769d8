/* SPDX-License-Identifier: Apache-2.0
 * journal.c - the journal's queue and thread (journal.h). */
#include "gateway/journal.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/error.h"
#include "base/mem.h"
#include "encoder/siphash.h"
#include "gateway/journal_state.h"

#define MS_NS         1000000ull
#define CHORES_MS     10000u /* between two looks for what is to be pruned */
#define PUBLISH_MS    100u   /* what was learned is in force by then */
#define BATCH_ENTRIES 4096u
#define BATCH_WAITERS 1024u
#define STORE_WAIT_MS 2000
#define CLAIM_WAIT_MS 2000 /* for a process that is about to end */
#define RECORDS_BYTES ((size_t)1 << 29)

uint64_t metallm__journal_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int64_t metallm__journal_wall(const struct metallm__journal *j)
{
    if (j->opts.wall_ms != NULL)
        return j->opts.wall_ms(j->opts.wall_payload);
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- The queue. ---- */

static void queue_init(struct metallm__journal_queue *q)
{
    *q = (struct metallm__journal_queue){0};
    q->entries_end = &q->entries;
    q->waiters_end = &q->waiters;
}

static void push_entry(struct metallm__journal_queue *q, struct metallm__journal_entry *e)
{
    e->next = NULL;
    *q->entries_end = e;
    q->entries_end = &e->next;
    q->entry_count++;
    q->entry_bytes += e->bytes;
}

static void push_waiter(struct metallm__journal_queue *q, struct metallm__journal_waiter *w)
{
    w->next = NULL;
    *q->waiters_end = w;
    q->waiters_end = &w->next;
    q->waiter_count++;
}

static void waiter_free(struct metallm__journal_waiter *w)
{
    metallm__free(w->label);
    metallm__free(w->comment);
    metallm__free(w);
}

/* Moves up to a batch of q's front to out. */
static void take_batch(struct metallm__journal_queue *q, struct metallm__journal_queue *out,
                       bool with_entries)
{
    queue_init(out);
    for (uint32_t n = 0; with_entries && n < BATCH_ENTRIES && q->entries != NULL; n++) {
        struct metallm__journal_entry *e = q->entries;
        q->entries = e->next;
        q->entry_count--;
        q->entry_bytes -= e->bytes;
        push_entry(out, e);
    }
    if (q->entries == NULL)
        q->entries_end = &q->entries;
    for (uint32_t n = 0; n < BATCH_WAITERS && q->waiters != NULL; n++) {
        struct metallm__journal_waiter *w = q->waiters;
        q->waiters = w->next;
        q->waiter_count--;
        push_waiter(out, w);
    }
    if (q->waiters == NULL)
        q->waiters_end = &q->waiters;
}

/* Decisions go back to the front, in their order. */
static void put_back(struct metallm__journal *j, struct metallm__journal_queue *batch)
{
    if (batch->entries == NULL)
        return;
    pthread_mutex_lock(&j->lock);
    *batch->entries_end = j->queue.entries;
    if (j->queue.entries == NULL)
        j->queue.entries_end = batch->entries_end;
    j->queue.entries = batch->entries;
    j->queue.entry_count += batch->entry_count;
    j->queue.entry_bytes += batch->entry_bytes;
    pthread_mutex_unlock(&j->lock);
    batch->entries = NULL;
}

/* ---- The thread. ---- */

static void answer(const struct metallm__journal_waiter *w, int rc, const metallm_error *err)
{
    if (w->kind == METALLM__WAIT_SHOW)
        w->shown(w->payload, rc, NULL, 0, err);
    else if (w->done != NULL)
        w->done(w->payload, rc, err);
}

static void note_result(struct metallm__journal *j, int rc, const metallm_error *err)
{
    j->failed = rc;
    j->retry_ns = rc == METALLM_OK ? 0 : metallm__journal_now() + j->opts.retry_ms * MS_NS;
    if (rc != METALLM_OK)
        j->failure = *err;
    pthread_mutex_lock(&j->lock);
    j->stats.commits += rc == METALLM_OK;
    j->stats.failures += rc != METALLM_OK;
    j->stats.is_failing = rc != METALLM_OK;
    snprintf(j->stats.failure, sizeof j->stats.failure, "%s", rc != METALLM_OK ? err->message : "");
    pthread_mutex_unlock(&j->lock);
}

/* A call has a transaction of its own. */
static void run_call(struct metallm__journal *j, struct metallm__journal_waiter *w)
{
    metallm_error err = {0};
    int rc = metallm__ledger_begin(j->store, true, &err);
    if (rc == METALLM_OK)
        rc = w->work(w->payload, j->store, &err);
    if (rc == METALLM_OK)
        rc = metallm__ledger_commit(j->store, &err);
    if (rc != METALLM_OK)
        metallm__ledger_abort(j->store);
    answer(w, rc, &err);
}

static void run_show(struct metallm__journal *j, struct metallm__journal_waiter *w)
{
    metallm_error err = {0};
    struct metallm__buf json;
    metallm__buf_init(&json, (size_t)1 << 24);
    int rc = metallm__journal_print(j->store, &w->id, w->name, &json, &err);
    if (rc == METALLM_OK)
        w->shown(w->payload, rc, json.data, json.len, &err);
    else
        w->shown(w->payload, rc, NULL, 0, &err);
    metallm__buf_fini(&json);
}

static void answer_all(struct metallm__journal *j, struct metallm__journal_queue *batch, int rc,
                       const metallm_error *err)
{
    uint64_t stored = 0;
    for (struct metallm__journal_waiter *w = batch->waiters, *next; w != NULL; w = next) {
        next = w->next;
        if (w->kind == METALLM__WAIT_SHOW) {
            run_show(j, w);
        } else if (rc != METALLM_OK) {
            answer(w, rc, err);
        } else if (w->kind == METALLM__WAIT_CALL) {
            run_call(j, w);
        } else {
            stored += w->rc == METALLM_OK;
            answer(w, w->rc, &w->err);
        }
        waiter_free(w);
    }
    pthread_mutex_lock(&j->lock);
    j->stats.feedback += stored;
    if (rc == METALLM_OK)
        j->stats.decisions += batch->entry_count;
    pthread_mutex_unlock(&j->lock);
}

/* Whether a transaction is needed for it: calls have their own, and to show is to read. */
static bool writes(const struct metallm__journal_queue *batch)
{
    for (const struct metallm__journal_waiter *w = batch->waiters; w != NULL; w = w->next)
        if (w->kind == METALLM__WAIT_FEEDBACK)
            return true;
    return batch->entries != NULL;
}

static void run_batch(struct metallm__journal *j, struct metallm__journal_queue *batch, bool wants)
{
    metallm_error err = {0};
    int rc = METALLM_OK;
    pthread_mutex_lock(&j->lock);
    const bool is_last = j->is_stopping; /* then there is no later try */
    pthread_mutex_unlock(&j->lock);
    if (j->failed != METALLM_OK && metallm__journal_now() < j->retry_ns && !is_last) {
        rc = j->failed; /* tried a moment ago */
        err = j->failure;
    } else if (wants || writes(batch) || j->failed != METALLM_OK) {
        rc = metallm__journal_write(j, batch, &err);
        note_result(j, rc, &err);
    }
    if (rc != METALLM_OK)
        put_back(j, batch);
    answer_all(j, batch, rc, &err);
    if (rc != METALLM_OK)
        return;
    for (struct metallm__journal_entry *e = batch->entries, *next; e != NULL; e = next) {
        next = e->next;
        metallm__free(e);
    }
    metallm__journal_teach(j);
}

static struct timespec time_of(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / 1000000000u),
                             .tv_nsec = (long)(ns % 1000000000u)};
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Waits until there is work; takes it. False: stopping, and nothing is left. */
static bool wait_for_work(struct metallm__journal *j, struct metallm__journal_queue *batch)
{
    pthread_mutex_lock(&j->lock);
    for (;;) {
        const uint64_t now = metallm__journal_now();
        uint64_t until = least(j->chore_ns, j->publish_ns);
        bool with_entries = j->queue.entries != NULL;
        if (with_entries) {
            uint64_t at = j->queue.entries->came_ns + j->opts.commit_ms * MS_NS;
            if (j->queue.entry_count >= BATCH_ENTRIES)
                at = now;
            if (at < j->retry_ns)
                at = j->retry_ns;
            until = least(until, at);
        }
        if (j->queue.waiters != NULL || j->is_stopping || until <= now) {
            const bool is_early = with_entries && j->retry_ns > now && !j->is_stopping;
            take_batch(&j->queue, batch, !is_early);
            break;
        }
        const struct timespec t = time_of(until);
        j->is_asleep = true;
        pthread_cond_timedwait(&j->wake, &j->lock, &t);
        j->is_asleep = false;
    }
    const bool goes_on = !j->is_stopping || batch->entries != NULL || batch->waiters != NULL;
    pthread_mutex_unlock(&j->lock);
    return goes_on;
}

static void do_chores(struct metallm__journal *j)
{
    const uint64_t now = metallm__journal_now();
    metallm_error err;
    if (now >= j->publish_ns) {
        if (j->brains != NULL)
            metallm__brains_publish(j->brains, true);
        j->publish_ns = now + PUBLISH_MS * MS_NS;
    } else if (j->brains != NULL) {
        metallm__brains_publish(j->brains, false);
    }
    if (now < j->chore_ns || j->failed != METALLM_OK)
        return;
    j->chore_ns = now + CHORES_MS * MS_NS;
    if (j->opts.decisions > 0 || j->opts.decisions_days > 0) {
        int rc = metallm__journal_prune(j, &err);
        if (rc != METALLM_OK)
            note_result(j, rc, &err);
    }
}

static void *run(void *payload)
{
    struct metallm__journal *j = payload;
    struct metallm__journal_queue batch;
    while (wait_for_work(j, &batch)) {
        const bool wants = j->brains != NULL && metallm__brains_want(j->brains) &&
                           metallm__journal_now() >= j->retry_ns;
        if (batch.entries != NULL || batch.waiters != NULL || wants)
            run_batch(j, &batch, wants);
        do_chores(j);
        pthread_mutex_lock(&j->lock);
        const bool gives_up = j->is_stopping && j->failed != METALLM_OK;
        pthread_mutex_unlock(&j->lock);
        if (gives_up)
            break;
    }
    queue_init(&batch);
    if (j->failed == METALLM_OK && j->brains != NULL && metallm__brains_want(j->brains))
        run_batch(j, &batch, true);
    return NULL;
}

/* ---- Opening and closing. ---- */

static int random_bytes(void *out, size_t len, metallm_error *err)
{
    ssize_t got = 0;
    do
        got = getrandom(out, len, 0);
    while (got < 0 && errno == EINTR);
    if (got != (ssize_t)len)
        return metallm__error_set(err, METALLM_EIO, "no random numbers from the system: %s",
                                  strerror(errno));
    return METALLM_OK;
}

/* A secret of the store, made where there is none. */
static int find_secret(struct metallm__store *s, const char *name, uint64_t out[2],
                       metallm_error *err)
{
    size_t len = 0;
    int rc = metallm__ledger_get_value(s, name, out, 16, &len, err);
    if (rc != METALLM_OK || len == 16)
        return rc;
    rc = random_bytes(out, 16, err);
    return rc == METALLM_OK ? metallm__ledger_put_value(s, name, out, 16, err) : rc;
}

static int prepare_store(struct metallm__journal *j, metallm_error *err)
{
    struct metallm__ledger_tops tops = {0};
    metallm__store_wait(j->store, STORE_WAIT_MS);
    int rc = metallm__ledger_begin(j->store, true, err);
    if (rc != METALLM_OK)
        return rc;
    rc = find_secret(j->store, "decision_id", j->id_secret, err);
    if (rc == METALLM_OK)
        rc = find_secret(j->store, "text_hash", j->text_secret, err);
    if (rc == METALLM_OK)
        rc = metallm__ledger_tops(j->store, &tops, err);
    if (rc == METALLM_OK)
        rc = metallm__ledger_commit(j->store, err);
    if (rc != METALLM_OK) {
        metallm__ledger_abort(j->store);
        return rc;
    }
    j->seq = tops.seq;
    j->first_row = tops.row + 1;
    atomic_init(&j->next_row, j->first_row);
    if (j->brains != NULL)
        rc = metallm__brains_restore(j->brains, j->store, metallm__journal_wall(j), err);
    return rc;
}

static void journal_free(struct metallm__journal *j)
{
    for (struct metallm__journal_entry *e = j->queue.entries, *next; e != NULL; e = next) {
        next = e->next;
        metallm__free(e);
    }
    metallm__store_close(j->store);
    metallm__buf_fini(&j->records);
    metallm__free(j->events);
    metallm__free(j->early);
    pthread_mutex_destroy(&j->lock);
    pthread_cond_destroy(&j->wake);
    metallm__free(j);
}

static void init(struct metallm__journal *j, const struct metallm__journal_options *opts)
{
    pthread_condattr_t attributes;
    j->opts = *opts;
    j->opts.store = NULL;
    j->opts.commit_ms = opts->commit_ms > 0 ? opts->commit_ms : 20;
    j->opts.retry_ms = opts->retry_ms > 0 ? opts->retry_ms : 500;
    j->opts.queue_bytes = opts->queue_bytes > 0 ? opts->queue_bytes : (size_t)16 << 20;
    j->opts.waiting = opts->waiting > 0 ? opts->waiting : 4096;
    j->brains = opts->brains;
    queue_init(&j->queue);
    metallm__buf_init(&j->records, RECORDS_BYTES);
    pthread_mutex_init(&j->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&j->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    j->publish_ns = metallm__journal_now();
    j->chore_ns = j->publish_ns;
}

int metallm__journal_open(struct metallm__journal **out,
                          const struct metallm__journal_options *opts, metallm_error *err)
{
    struct metallm__journal *j = metallm__calloc(1, sizeof *j);
    if (j == NULL)
        return metallm__error_nomem(err, "a journal");
    init(j, opts);
    int rc = metallm__store_open(&j->store, opts->store, METALLM__STORE_FILL, err);
    if (rc == METALLM_OK)
        rc = metallm__ledger_claim(j->store, CLAIM_WAIT_MS, err);
    if (rc == METALLM_OK)
        rc = prepare_store(j, err);
    if (rc == METALLM_OK && (errno = pthread_create(&j->thread, NULL, run, j)) != 0)
        rc = metallm__error_set(err, METALLM_EIO, "no thread for the journal: %s", strerror(errno));
    if (rc != METALLM_OK) {
        journal_free(j);
        return rc;
    }
    *out = j;
    return METALLM_OK;
}

int metallm__journal_close(struct metallm__journal *j, metallm_error *err)
{
    if (j == NULL)
        return METALLM_OK;
    pthread_mutex_lock(&j->lock);
    j->is_stopping = true;
    pthread_cond_signal(&j->wake);
    pthread_mutex_unlock(&j->lock);
    pthread_join(j->thread, NULL);
    int rc = METALLM_OK;
    if (j->queue.entry_count > 0)
        rc = metallm__error_set(err, METALLM_EIO, "%llu decisions could not be recorded: %s",
                                (unsigned long long)j->queue.entry_count, j->failure.message);
    journal_free(j);
    return rc;
}

/* ---- What other threads call. ---- */

int metallm__journal_name(struct metallm__journal *j, const char *key,
                          struct metallm__decision_id *id, char text[METALLM__DECISION_ID_LEN + 1],
                          metallm_error *err)
{
    struct metallm__decision_id made = {0};
    int rc = random_bytes(&made.nonce, sizeof made.nonce, err);
    if (rc != METALLM_OK)
        return rc;
    made.row = atomic_fetch_add_explicit(&j->next_row, 1, memory_order_relaxed);
    metallm__decision_id_print(j->id_secret, &made, key, text);
    *id = made;
    return METALLM_OK;
}

bool metallm__journal_find(const struct metallm__journal *j, const char *text, size_t len,
                           const char *key, struct metallm__decision_id *out)
{
    return metallm__decision_id_parse(j->id_secret, text, len, key, out);
}

void metallm__journal_hash(const struct metallm__journal *j, const void *bytes, size_t len,
                           uint8_t out[16])
{
    struct metallm__hash128 h = metallm__siphash(j->text_secret, bytes, len);
    if (h.lo == 0)
        h.lo = 1;
    memcpy(out, &h.lo, 8);
    memcpy(out + 8, &h.hi, 8);
}

/* The entry with its record, text and names behind it. NULL: no memory. */
static struct metallm__journal_entry *make_entry(const struct metallm__record *r, const char *text,
                                                 size_t text_bytes,
                                                 const struct metallm__journal_scope *scopes,
                                                 uint32_t scope_count)
{
    struct metallm__buf record;
    metallm__buf_init(&record, METALLM__RECORD_BYTES_MAX);
    if (metallm__record_encode(r, &record, NULL) != METALLM_OK) {
        metallm__buf_fini(&record);
        return NULL;
    }
    size_t bytes = sizeof(struct metallm__journal_entry) + record.len + text_bytes;
    for (uint32_t i = 0; i < scope_count; i++)
        bytes += strlen(scopes[i].name) + 1;
    struct metallm__journal_entry *e = metallm__alloc(1, bytes);
    if (e != NULL) {
        char *at = (char *)(e + 1);
        *e = (struct metallm__journal_entry){
            .row = r->row,
            .time_ms = r->time_ms,
            .nonce = r->nonce,
            .came_ns = metallm__journal_now(),
            .cost_usd = r->cost_usd,
            .tokens = r->usage.input + r->usage.output,
            .bytes = bytes,
            .record = at,
            .record_bytes = record.len,
            .text = text != NULL ? at + record.len : NULL,
            .text_bytes = text_bytes,
            .scope_count = scope_count,
        };
        memcpy(at, record.data, record.len);
        at += record.len;
        if (text_bytes > 0)
            memcpy(at, text, text_bytes);
        at += text_bytes;
        for (uint32_t i = 0; i < scope_count; i++) {
            const size_t len = strlen(scopes[i].name) + 1;
            e->scopes[i] = (struct metallm__journal_scope){at, scopes[i].period_ms};
            memcpy(at, scopes[i].name, len);
            at += len;
        }
    }
    metallm__buf_fini(&record);
    return e;
}

void metallm__journal_decision(struct metallm__journal *j, const struct metallm__record *r,
                               const char *text, size_t text_bytes,
                               const struct metallm__journal_scope *scopes, uint32_t scope_count)
{
    METALLM_REQUIRE(scope_count <= METALLM__JOURNAL_SCOPES);
    struct metallm__journal_entry *e =
        make_entry(r, text, text != NULL ? text_bytes : 0, scopes, scope_count);
    pthread_mutex_lock(&j->lock);
    const bool fits = e != NULL && j->queue.entry_bytes + e->bytes <= j->opts.queue_bytes;
    if (fits) {
        push_entry(&j->queue, e);
        if (j->queue.entry_count == 1 || j->queue.entry_count == BATCH_ENTRIES)
            pthread_cond_signal(&j->wake);
    } else {
        j->stats.dropped++;
    }
    pthread_mutex_unlock(&j->lock);
    if (!fits)
        metallm__free(e);
}

/* Queues w, which is freed when there is no room. */
static int submit(struct metallm__journal *j, struct metallm__journal_waiter *w, metallm_error *err)
{
    w->came_ns = metallm__journal_now();
    pthread_mutex_lock(&j->lock);
    const bool fits = j->queue.waiter_count < j->opts.waiting && !j->is_stopping;
    if (fits) {
        push_waiter(&j->queue, w);
        if (j->is_asleep)
            pthread_cond_signal(&j->wake);
    }
    pthread_mutex_unlock(&j->lock);
    if (fits)
        return METALLM_OK;
    waiter_free(w);
    return metallm__error_set(err, METALLM_EBUSY, "too much waits for the store: try again later");
}

static int check_feedback(const struct metallm__feedback *f, metallm_error *err)
{
    if (!isnan(f->score) && !(f->score >= 0 && f->score <= 1))
        return metallm__error_set(err, METALLM_EINVAL, "score %g is not between 0 and 1", f->score);
    if (isnan(f->score) && f->label == NULL && f->comment == NULL)
        return metallm__error_set(err, METALLM_EINVAL, "no score, label or comment");
    if (f->label != NULL && f->label_bytes > METALLM__FEEDBACK_LABEL_MAX)
        return metallm__error_set(err, METALLM_EINVAL, "label of %zu bytes (at most %u)",
                                  f->label_bytes, METALLM__FEEDBACK_LABEL_MAX);
    if (f->comment != NULL && f->comment_bytes > METALLM__FEEDBACK_COMMENT_MAX)
        return metallm__error_set(err, METALLM_EINVAL, "comment of %zu bytes (at most %u)",
                                  f->comment_bytes, METALLM__FEEDBACK_COMMENT_MAX);
    if ((f->label != NULL && memchr(f->label, '\0', f->label_bytes) != NULL) ||
        (f->comment != NULL && memchr(f->comment, '\0', f->comment_bytes) != NULL))
        return metallm__error_set(err, METALLM_EINVAL, "a label or comment holds a NUL");
    return METALLM_OK;
}

int metallm__journal_feedback(struct metallm__journal *j, const struct metallm__decision_id *id,
                              const struct metallm__feedback *f, metallm__journal_done *done,
                              void *payload, metallm_error *err)
{
    int rc = check_feedback(f, err);
    if (rc != METALLM_OK)
        return rc;
    struct metallm__journal_waiter *w = metallm__calloc(1, sizeof *w);
    if (w == NULL)
        return metallm__error_nomem(err, "feedback");
    w->kind = METALLM__WAIT_FEEDBACK;
    w->id = *id;
    w->score = f->score;
    w->is_graded = f->is_graded;
    w->done = done;
    w->payload = payload;
    if ((f->label != NULL && (w->label = metallm__strndup(f->label, f->label_bytes)) == NULL) ||
        (f->comment != NULL &&
         (w->comment = metallm__strndup(f->comment, f->comment_bytes)) == NULL)) {
        waiter_free(w);
        return metallm__error_nomem(err, "feedback");
    }
    return submit(j, w, err);
}

int metallm__journal_show(struct metallm__journal *j, const struct metallm__decision_id *id,
                          const char *name, metallm__journal_shown *done, void *payload,
                          metallm_error *err)
{
    struct metallm__journal_waiter *w = metallm__calloc(1, sizeof *w);
    if (w == NULL)
        return metallm__error_nomem(err, "a decision");
    w->kind = METALLM__WAIT_SHOW;
    w->id = *id;
    w->shown = done;
    w->payload = payload;
    snprintf(w->name, sizeof w->name, "%s", name);
    return submit(j, w, err);
}

int metallm__journal_call(struct metallm__journal *j,
                          int (*work)(void *payload, struct metallm__store *s, metallm_error *err),
                          metallm__journal_done *done, void *payload, metallm_error *err)
{
    struct metallm__journal_waiter *w = metallm__calloc(1, sizeof *w);
    if (w == NULL)
        return metallm__error_nomem(err, "a call");
    w->kind = METALLM__WAIT_CALL;
    w->work = work;
    w->done = done;
    w->payload = payload;
    return submit(j, w, err);
}

void metallm__journal_stats(struct metallm__journal *j, struct metallm__journal_stats *out)
{
    pthread_mutex_lock(&j->lock);
    *out = j->stats;
    out->queued_decisions = j->queue.entry_count;
    out->queued_bytes = j->queue.entry_bytes;
    out->queued_feedback = j->queue.waiter_count;
    uint64_t oldest = UINT64_MAX;
    if (j->queue.entries != NULL)
        oldest = j->queue.entries->came_ns;
    if (j->queue.waiters != NULL)
        oldest = least(oldest, j->queue.waiters->came_ns);
    pthread_mutex_unlock(&j->lock);
    const uint64_t now = metallm__journal_now();
    out->lag_s = oldest < now ? (double)(now - oldest) / 1e9 : 0;
}
