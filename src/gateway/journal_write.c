/* SPDX-License-Identifier: Apache-2.0
 * journal_write.c - a batch as one transaction: decisions, feedback, the events that learning
 * follows, money spent. What is kept in memory changes only after the commit. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "gateway/grade.h"
#include "gateway/journal_state.h"

#define EARLY_MAX     65536u
#define EARLY_MS      (86400LL * 1000) /* a request is over by then */
#define PRUNE_AT_ONCE 2000u
#define DAY_MS        (86400LL * 1000)
#define SPENDS_MAX    64u /* scopes added up in a batch; more are written one by one */

/* The batch so far: what becomes true with the commit. */
struct writing {
    struct metallm__journal *j;
    int64_t seq;
    struct metallm__ledger_spend spends[SPENDS_MAX];
    size_t spend_count;
};

/* ---- Events. ---- */

static int keep_record(struct metallm__journal *j, const void *bytes, size_t len, size_t *offset,
                       metallm_error *err)
{
    *offset = j->records.len;
    metallm__buf_add(&j->records, bytes, len);
    return metallm__buf_check(&j->records, err);
}

static int add_event(struct writing *w, const struct metallm__ledger_event *e, size_t record,
                     size_t record_bytes, metallm_error *err)
{
    struct metallm__journal *j = w->j;
    void *events = j->events;
    if (metallm__grow(&events, &j->event_cap, j->event_count + 1, sizeof *j->events) != 0)
        return metallm__error_nomem(err, "events");
    j->events = events;
    j->events[j->event_count++] = (struct metallm__journal_event){
        .event = *e, .record = record, .record_bytes = record_bytes};
    return metallm__ledger_put_event(j->store, e, err);
}

/* ---- Feedback. ---- */

/* The score that this feedback gives an answer; NaN: none. */
static int score_of(const struct metallm__journal_waiter *f, const struct metallm__record *r,
                    double *score, metallm_error *err)
{
    *score = f->score;
    if (!isnan(f->score) || f->label == NULL)
        return METALLM_OK;
    if (r->answer_hash == 0)
        return metallm__error_set(err, METALLM_EINVAL,
                                  "no answer of this decision is known to hold the label against");
    *score = metallm__answer_hash(metallm__span_of(f->label)) == r->answer_hash ? 1 : 0;
    return METALLM_OK;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* The decision's record, if it is there: *found. METALLM_ENOTFOUND: it is another's, or too old. */
static int find_decision(struct writing *w, const struct metallm__decision_id *id, size_t *record,
                         size_t *record_bytes, bool *found, metallm_error *err)
{
    struct metallm__journal *j = w->j;
    struct metallm__ledger_decision d;
    const uint64_t days = j->opts.feedback_days;
    *record = j->records.len;
    int rc = metallm__ledger_get_decision(j->store, id->row, &d, &j->records, found, err);
    if (rc != METALLM_OK)
        return rc;
    if (!*found && (id->row < j->first_row || id->row <= j->pruned_row))
        return metallm__error_set(err, METALLM_ENOTFOUND, "this decision is no longer there");
    if (*found && d.nonce != id->nonce)
        return metallm__error_set(err, METALLM_ENOTFOUND, "no such decision");
    if (*found && days > 0 && metallm__journal_wall(j) - d.time_ms > (int64_t)days * DAY_MS)
        return metallm__error_set(err, METALLM_ENOTFOUND,
                                  "feedback is taken for %llu days after a decision",
                                  (unsigned long long)days);
    *record_bytes = *found ? d.record_bytes : 0;
    return METALLM_OK;
}

static int note_early(struct metallm__journal *j, int64_t row, metallm_error *err)
{
    const int64_t now = metallm__journal_wall(j);
    for (size_t i = 0; i < j->early_count; i++)
        if (j->early[i].row == row)
            return METALLM_OK;
    if (j->early_count >= EARLY_MAX) {
        size_t left = 0;
        for (size_t i = 0; i < j->early_count; i++)
            if (now - j->early[i].time_ms < EARLY_MS)
                j->early[left++] = j->early[i];
        j->early_count = left;
    }
    if (j->early_count >= EARLY_MAX)
        return metallm__error_set(err, METALLM_EBUSY,
                                  "too much feedback on requests that are not over");
    void *early = j->early;
    if (metallm__grow(&early, &j->early_cap, j->early_count + 1, sizeof *j->early) != 0)
        return metallm__error_nomem(err, "feedback");
    j->early = early;
    j->early[j->early_count++] = (struct metallm__journal_early){.row = row, .time_ms = now};
    return METALLM_OK;
}

/* Stores feedback f on a decision; record: its bytes, or none yet. before: what was known. */
static int merge_feedback(struct writing *w, const struct metallm__journal_waiter *f,
                          const struct metallm__ledger_feedback *before, size_t record,
                          size_t record_bytes, metallm_error *err)
{
    struct metallm__journal *j = w->j;
    struct metallm__record_room room;
    struct metallm__record r;
    double score = f->score;
    int rc = METALLM_OK;
    if (record_bytes > 0) {
        rc = metallm__record_decode(&r, &room, j->records.data + record, record_bytes, err);
        if (rc == METALLM_OK)
            rc = score_of(f, &r, &score, err);
    }
    if (rc != METALLM_OK || (f->is_graded && !isnan(before->score)))
        return rc;
    struct metallm__ledger_feedback now = *before;
    now.row = f->id.row;
    now.nonce = f->id.nonce;
    now.time_ms = metallm__journal_wall(j);
    if (!isnan(score))
        now.score = score;
    if (f->label != NULL)
        now.label = f->label;
    if (f->comment != NULL)
        now.comment = f->comment;
    const bool is_event =
        record_bytes > 0 && !isnan(now.score) && (before->seq == 0 || now.score != before->score);
    if (!is_event && before->row != 0 && same_text(now.label, before->label) &&
        same_text(now.comment, before->comment) &&
        (now.score == before->score || (isnan(now.score) && isnan(before->score))))
        return METALLM_OK; /* repeated */
    if (is_event) {
        const struct metallm__ledger_event e = {
            .seq = ++w->seq,
            .row = now.row,
            .is_feedback = true,
            .score = now.score,
            .before = before->seq != 0 ? before->score : NAN,
            .first = before->seq != 0 ? before->seq : w->seq,
        };
        now.seq = e.first;
        rc = add_event(w, &e, record, record_bytes, err);
    }
    return rc == METALLM_OK ? metallm__ledger_put_feedback(j->store, &now, err) : rc;
}

/* What is stored of an earlier feedback; row 0: nothing. Texts are in out. */
static int feedback_before(struct metallm__journal *j, const struct metallm__decision_id *id,
                           struct metallm__ledger_feedback *before, struct metallm__buf *out,
                           metallm_error *err)
{
    bool found = false;
    int rc = metallm__ledger_get_feedback(j->store, id->row, before, out, &found, err);
    if (rc == METALLM_OK && (!found || before->nonce != id->nonce))
        *before = (struct metallm__ledger_feedback){.score = NAN};
    return rc;
}

/* A failure that is this feedback's own goes to its rc; others are the batch's. */
static int write_feedback(struct writing *w, struct metallm__journal_waiter *f, metallm_error *err)
{
    struct metallm__journal *j = w->j;
    struct metallm__ledger_feedback before;
    struct metallm__buf texts;
    size_t record = 0, record_bytes = 0;
    bool found = false;
    metallm__buf_init(&texts, METALLM__FEEDBACK_LABEL_MAX + METALLM__FEEDBACK_COMMENT_MAX + 64);
    int rc = find_decision(w, &f->id, &record, &record_bytes, &found, err);
    if (rc == METALLM_OK)
        rc = feedback_before(j, &f->id, &before, &texts, err);
    if (rc == METALLM_OK && !found)
        rc = note_early(j, f->id.row, err);
    if (rc == METALLM_OK)
        rc = merge_feedback(w, f, &before, record, record_bytes, err);
    metallm__buf_fini(&texts);
    f->rc = METALLM_OK;
    if (rc == METALLM_ENOTFOUND || rc == METALLM_EINVAL || rc == METALLM_EBUSY ||
        rc == METALLM_EFORMAT) {
        f->rc = rc;
        if (err != NULL)
            f->err = *err;
        return METALLM_OK;
    }
    return rc;
}

/* Feedback that came before its decision becomes an event now. */
static int follow_early(struct writing *w, const struct metallm__journal_entry *e, size_t record,
                        metallm_error *err)
{
    struct metallm__journal *j = w->j;
    size_t at = 0;
    while (at < j->early_count && j->early[at].row != e->row)
        at++;
    if (at == j->early_count)
        return METALLM_OK;
    struct metallm__ledger_feedback before;
    struct metallm__buf texts;
    const struct metallm__decision_id id = {.row = e->row, .nonce = e->nonce};
    metallm__buf_init(&texts, METALLM__FEEDBACK_LABEL_MAX + METALLM__FEEDBACK_COMMENT_MAX + 64);
    int rc = feedback_before(j, &id, &before, &texts, err);
    if (rc == METALLM_OK && before.row != 0) {
        const struct metallm__journal_waiter f = {
            .id = id, .score = before.score, .label = (char *)(uintptr_t)before.label};
        before.score = NAN;
        rc = merge_feedback(w, &f, &before, record, e->record_bytes, err);
        if (rc == METALLM_EINVAL || rc == METALLM_EFORMAT)
            rc = METALLM_OK; /* a label without an answer to hold it against: it stays as it is */
    }
    metallm__buf_fini(&texts);
    return rc;
}

/* ---- Decisions. ---- */

static int add_spend(struct writing *w, const struct metallm__journal_entry *e, uint32_t i,
                     metallm_error *err)
{
    const struct metallm__ledger_spend a = {.scope = e->scopes[i].name,
                                            .period_ms = e->scopes[i].period_ms,
                                            .usd = e->cost_usd > 0 ? e->cost_usd : 0,
                                            .requests = 1,
                                            .tokens = e->tokens};
    for (size_t k = 0; k < w->spend_count; k++) {
        struct metallm__ledger_spend *s = &w->spends[k];
        if (s->period_ms != a.period_ms || strcmp(s->scope, a.scope) != 0)
            continue;
        s->usd += a.usd;
        s->requests++;
        s->tokens += a.tokens;
        return METALLM_OK;
    }
    if (w->spend_count == SPENDS_MAX)
        return metallm__ledger_add_spend(w->j->store, &a, err);
    w->spends[w->spend_count++] = a;
    return METALLM_OK;
}

static int write_decision(struct writing *w, const struct metallm__journal_entry *e,
                          metallm_error *err)
{
    struct metallm__journal *j = w->j;
    const struct metallm__ledger_decision d = {
        .row = e->row,
        .nonce = e->nonce,
        .time_ms = e->time_ms,
        .record = e->record,
        .record_bytes = e->record_bytes,
        .text = e->text,
        .text_bytes = e->text_bytes,
    };
    const struct metallm__ledger_event event = {.seq = ++w->seq, .row = e->row};
    size_t record;
    int rc = metallm__ledger_put_decision(j->store, &d, err);
    if (rc == METALLM_OK)
        rc = keep_record(j, e->record, e->record_bytes, &record, err);
    if (rc == METALLM_OK)
        rc = add_event(w, &event, record, e->record_bytes, err);
    if (rc == METALLM_OK && j->early_count > 0)
        rc = follow_early(w, e, record, err);
    for (uint32_t i = 0; i < e->scope_count && rc == METALLM_OK; i++)
        rc = add_spend(w, e, i, err);
    return rc;
}

static void forget_early(struct metallm__journal *j, const struct metallm__journal_queue *batch)
{
    for (const struct metallm__journal_entry *e = batch->entries; e != NULL && j->early_count > 0;
         e = e->next)
        for (size_t i = 0; i < j->early_count; i++)
            if (j->early[i].row == e->row) {
                j->early[i] = j->early[--j->early_count];
                break;
            }
}

static int write_all(struct writing *w, struct metallm__journal_queue *batch, metallm_error *err)
{
    int rc = METALLM_OK;
    for (struct metallm__journal_entry *e = batch->entries; e != NULL && rc == METALLM_OK;
         e = e->next)
        rc = write_decision(w, e, err);
    for (size_t i = 0; i < w->spend_count && rc == METALLM_OK; i++)
        rc = metallm__ledger_add_spend(w->j->store, &w->spends[i], err);
    for (struct metallm__journal_waiter *f = batch->waiters; f != NULL && rc == METALLM_OK;
         f = f->next)
        if (f->kind == METALLM__WAIT_FEEDBACK)
            rc = write_feedback(w, f, err);
    return rc;
}

int metallm__journal_write(struct metallm__journal *j, struct metallm__journal_queue *batch,
                           metallm_error *err)
{
    struct writing w = {.j = j, .seq = j->seq};
    const bool is_synced = batch->waiters != NULL;
    j->event_count = 0;
    metallm__buf_clear(&j->records);
    int rc = metallm__ledger_begin(j->store, is_synced, err);
    if (rc == METALLM_OK && j->brains != NULL)
        rc = metallm__brains_write(j->brains, j->store, j->seq, err);
    if (rc == METALLM_OK)
        rc = write_all(&w, batch, err);
    if (rc == METALLM_OK)
        rc = metallm__ledger_commit(j->store, err);
    if (rc != METALLM_OK)
        metallm__ledger_abort(j->store);
    if (j->brains != NULL)
        metallm__brains_written(j->brains, rc == METALLM_OK);
    if (rc != METALLM_OK)
        return rc;
    j->seq = w.seq;
    forget_early(j, batch);
    return METALLM_OK;
}

void metallm__journal_teach(struct metallm__journal *j)
{
    for (size_t i = 0; i < j->event_count && j->brains != NULL; i++)
        metallm__brains_fold(j->brains, &j->events[i].event, j->records.data + j->events[i].record,
                             j->events[i].record_bytes);
    j->event_count = 0;
}

int metallm__journal_prune(struct metallm__journal *j, metallm_error *err)
{
    const int64_t days = (int64_t)j->opts.decisions_days;
    struct metallm__ledger_pruned done = {0};
    const struct metallm__ledger_prune p = {
        .before_ms = days > 0 ? metallm__journal_wall(j) - days * DAY_MS : INT64_MIN,
        .keep = (int64_t)j->opts.decisions,
        .seq = j->brains != NULL ? metallm__brains_needed(j->brains, j->seq) : j->seq,
        .most = PRUNE_AT_ONCE,
    };
    int rc = metallm__ledger_begin(j->store, false, err);
    if (rc == METALLM_OK)
        rc = metallm__ledger_prune(j->store, &p, &done, err);
    if (rc == METALLM_OK)
        rc = metallm__ledger_commit(j->store, err);
    if (rc != METALLM_OK) {
        metallm__ledger_abort(j->store);
        return rc;
    }
    if (done.row > j->pruned_row)
        j->pruned_row = done.row;
    pthread_mutex_lock(&j->lock);
    j->stats.pruned += done.decisions;
    pthread_mutex_unlock(&j->lock);
    if (done.decisions >= PRUNE_AT_ONCE)
        j->chore_ns = 0; /* there is more */
    return METALLM_OK;
}
