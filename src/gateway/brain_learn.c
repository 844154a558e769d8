/* SPDX-License-Identifier: Apache-2.0
 * brain_learn.c - what the journal's thread does with the brains: events are folded in the order of
 * their commits, bases move on once they stand in the store, a restart reads both (lessons.h). */
#include "gateway/brain_learn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "gateway/brain_state.h"

#define PUBLISH_EVENTS  512u  /* a new view after so many, at the latest when a batch is due */
#define IDLE_EVENTS     16384 /* a base older than that is brought up to date */
#define CORRECTIONS_MAX 8192u /* then the base takes in the whole window */
#define SETUPS_KEPT     4096u /* known at once; the oldest that stands in the store goes first */

/* ---- Setups. ---- */

static struct metallm__known_setup *find_setup(const struct metallm__brains *b, uint64_t hash)
{
    for (size_t i = b->setup_count; i-- > 0;) /* the newest is asked for most */
        if (b->setups[i].hash == hash)
            return &b->setups[i];
    return NULL;
}

static struct metallm__brain *find_brain(const struct metallm__brains *b, const char *name)
{
    for (size_t i = 0; name != NULL && i < b->count; i++)
        if (strcmp(b->items[i]->name, name) == 0)
            return b->items[i];
    return NULL;
}

static int read_setup(const struct metallm__brains *b, struct metallm__known_setup *k,
                      yyjson_val *root, metallm_error *err)
{
    yyjson_val *models = yyjson_obj_get(root, "models"), *m;
    const char *space = yyjson_get_str(yyjson_obj_get(root, "space"));
    size_t i, count;
    if (!yyjson_is_arr(models) || yyjson_arr_size(models) > METALLM_MODELS_MAX)
        return metallm__error_set(err, METALLM_EFORMAT, "a setup of the store is damaged");
    k->space = space != NULL ? strtoull(space, NULL, 16) : 0;
    k->names = metallm__calloc(yyjson_arr_size(models) + 1, sizeof *k->names);
    if (k->names == NULL)
        return metallm__error_nomem(err, "a setup");
    yyjson_arr_foreach(models, i, count, m)
    {
        const char *name = yyjson_get_str(yyjson_obj_get(m, "name"));
        snprintf(k->names[k->count++], sizeof *k->names, "%s", name != NULL ? name : "");
    }
    if (yyjson_get_bool(yyjson_obj_get(root, "learns")))
        k->brain = find_brain(b, yyjson_get_str(yyjson_obj_get(root, "router")));
    return METALLM_OK;
}

static int make_room(struct metallm__brains *b, metallm_error *err)
{
    if (b->setup_count >= SETUPS_KEPT && b->setups[0].json == NULL) {
        metallm__free(b->setups[0].names);
        memmove(b->setups, b->setups + 1, --b->setup_count * sizeof *b->setups);
    }
    void *items = b->setups;
    if (metallm__grow(&items, &b->setup_cap, b->setup_count + 1, sizeof *b->setups) != 0)
        return metallm__error_nomem(err, "setups");
    b->setups = items;
    return METALLM_OK;
}

int metallm__brains_know(struct metallm__brains *b, uint64_t hash, const char *json, bool is_stored,
                         metallm_error *err)
{
    struct metallm__known_setup k = {.hash = hash}, *known = find_setup(b, hash);
    if (known != NULL) {
        if (known->brain != NULL || is_stored)
            return METALLM_OK;
        metallm__free(known->names); /* read before its router was known */
        metallm__free(known->json);
        memmove(known, known + 1, (size_t)(b->setups + b->setup_count - known - 1) * sizeof *known);
        b->setup_count--;
    }
    yyjson_doc *doc = NULL;
    int rc = make_room(b, err);
    if (rc == METALLM_OK)
        rc = metallm__json_read(&doc, json, strlen(json), err);
    if (rc == METALLM_OK)
        rc = read_setup(b, &k, yyjson_doc_get_root(doc), err);
    yyjson_doc_free(doc);
    if (rc == METALLM_OK && !is_stored && (k.json = metallm__strdup(json)) == NULL)
        rc = metallm__error_nomem(err, "a setup");
    if (rc != METALLM_OK) {
        metallm__free(k.names);
        return rc;
    }
    b->setups[b->setup_count++] = k;
    return METALLM_OK;
}

/* ---- Folding. ---- */

int metallm__lessons_settle(struct metallm__lessons **l, metallm_error *err)
{
    struct metallm__lessons *settled = NULL;
    struct metallm__buf bytes;
    metallm__buf_init(&bytes, METALLM__LESSONS_BLOB_MAX);
    int rc = metallm__lessons_save(*l, &bytes, err);
    if (rc == METALLM_OK)
        rc = metallm__lessons_load(&settled, bytes.data, bytes.len, err);
    metallm__buf_fini(&bytes);
    if (rc != METALLM_OK)
        return rc;
    metallm__lessons_free(*l);
    *l = settled;
    return METALLM_OK;
}

static int fold_many(struct metallm__lessons *l, const struct metallm__lesson *e, size_t count,
                     metallm_error *err)
{
    int rc = METALLM_OK;
    for (size_t i = 0; i < count && rc == METALLM_OK; i++)
        rc = metallm__lessons_fold(l, &e[i], err);
    return rc;
}

int metallm__brain_refold(struct metallm__brain *brain, metallm_error *err)
{
    struct metallm__lessons *l = NULL;
    if (!brain->is_dirty)
        return METALLM_OK;
    int rc = metallm__lessons_copy(&l, brain->base, err);
    if (rc == METALLM_OK)
        rc = fold_many(l, brain->window, brain->window_len, err);
    if (rc != METALLM_OK) {
        metallm__lessons_free(l);
        return rc;
    }
    metallm__lessons_free(brain->state);
    brain->state = l;
    brain->is_dirty = false;
    return METALLM_OK;
}

static void forget_next(struct metallm__brain *brain)
{
    metallm__lessons_free(brain->next.base);
    memset(&brain->next, 0, sizeof brain->next);
}

/* l becomes the base, and what is known; it takes l. */
static int begin_anew(struct metallm__brain *brain, struct metallm__lessons *l, int64_t seq,
                      metallm_error *err)
{
    struct metallm__lessons *state = NULL;
    int rc = metallm__lessons_settle(&l, err);
    if (rc == METALLM_OK)
        rc = metallm__lessons_copy(&state, l, err);
    if (rc != METALLM_OK) {
        metallm__lessons_free(l);
        return rc;
    }
    metallm__lessons_free(brain->base);
    metallm__lessons_free(brain->state);
    forget_next(brain);
    brain->base = l;
    brain->state = state;
    brain->base_seq = seq;
    brain->window_len = brain->correction_count = 0;
    brain->is_dirty = false;
    brain->is_unsaved = brain->is_stale = true;
    return METALLM_OK;
}

int metallm__brain_follow(struct metallm__brain *brain, struct metallm__generation *g, int64_t seq,
                          metallm_error *err)
{
    struct metallm__lessons *l = NULL;
    bool changed = true;
    int rc = METALLM_OK;
    if (brain->state == NULL || brain->state->space != g->lessons.space) {
        rc = metallm__generation_lessons(g, &l, err);
    } else {
        rc = metallm__brain_refold(brain, err);
        if (rc == METALLM_OK)
            rc = metallm__lessons_copy(&l, brain->state, err);
        if (rc == METALLM_OK)
            rc = metallm__generation_reconcile(g, l, &changed, err);
    }
    if (rc != METALLM_OK || !changed)
        metallm__lessons_free(l);
    else
        rc = begin_anew(brain, l, seq, err);
    if (rc != METALLM_OK)
        return rc;
    struct metallm__generation *old = brain->generation;
    brain->generation = metallm__generation_take(g);
    metallm__generation_drop(old);
    return METALLM_OK;
}

/* The event as a lesson. False: it teaches this brain nothing. */
static bool read_lesson(const struct metallm__brain *brain, const struct metallm__known_setup *k,
                        const struct metallm__record *r, const struct metallm__ledger_event *e,
                        struct metallm__lesson *out)
{
    if (k->space != brain->state->space || r->model >= k->count ||
        (r->flags & METALLM__RECORD_DIRECT) != 0)
        return false;
    const bool is_whole = (r->flags & METALLM__RECORD_CUT) == 0 && r->status == 200;
    *out = (struct metallm__lesson){
        .seq = e->seq,
        .row = e->row,
        .is_feedback = e->is_feedback,
        .slot = metallm__lessons_find(brain->state, k->names[r->model]),
        .dim = r->dim,
        .prior = r->prior,
        .quality = e->score,
        .cost_usd = is_whole && r->usage.is_known ? r->cost_usd : NAN,
        .latency_ms = is_whole ? r->latency_ms : NAN,
        .input_tokens = r->usage.is_known ? (double)r->usage.input : NAN,
        .output_tokens = is_whole && r->usage.is_known ? (double)r->usage.output : NAN,
    };
    memcpy(out->z, r->z, r->dim * sizeof *r->z);
    return out->slot != UINT32_MAX;
}

static bool is_applied(const struct metallm__lessons *base, int64_t seq)
{
    for (size_t i = 0; i < base->applied_count; i++)
        if (base->applied[i] == seq)
            return true;
    return false;
}

/* A score that was replaced: in the window where it is there, else in the base. */
static int correct(struct metallm__brain *brain, const struct metallm__lesson *lesson,
                   const struct metallm__ledger_event *e, metallm_error *err)
{
    void *corrections = brain->corrections;
    if (metallm__grow(&corrections, &brain->correction_cap, brain->correction_count + 1,
                      sizeof *brain->corrections) != 0)
        return metallm__error_nomem(err, "an event");
    brain->corrections = corrections;
    brain->corrections[brain->correction_count++] =
        (struct metallm__correction){.seq = e->seq, .first = e->first};
    if (is_applied(brain->base, e->seq))
        return METALLM_OK;
    for (size_t i = brain->window_len; i-- > 0;)
        if (brain->window[i].is_feedback && brain->window[i].row == e->row) {
            brain->window[i].quality = e->score;
            brain->is_dirty = brain->is_stale = true;
            return METALLM_OK;
        }
    if (e->first > brain->base_seq)
        return METALLM_OK; /* it was not learned from */
    metallm__lessons_correct(brain->base, lesson, e->first, e->score - e->before);
    brain->is_dirty = brain->is_stale = true;
    return METALLM_OK;
}

static int fold_one(struct metallm__brain *brain, const struct metallm__lesson *lesson,
                    metallm_error *err)
{
    void *window = brain->window;
    if (metallm__grow(&window, &brain->window_cap, brain->window_len + 1, sizeof *lesson) != 0)
        return metallm__error_nomem(err, "an event");
    brain->window = window;
    brain->window[brain->window_len++] = *lesson;
    brain->is_stale = true;
    if (brain->is_dirty)
        return METALLM_OK; /* it is folded with the rest */
    int rc = metallm__lessons_fold(brain->state, lesson, err);
    if (rc != METALLM_OK)
        brain->is_dirty = true;
    return rc;
}

void metallm__brains_fold(struct metallm__brains *b, const struct metallm__ledger_event *e,
                          const void *record, size_t record_bytes)
{
    struct metallm__record_room room;
    struct metallm__record r;
    struct metallm__lesson lesson;
    atomic_store(&b->seq, e->seq);
    if (metallm__record_decode(&r, &room, record, record_bytes, NULL) != METALLM_OK)
        return;
    pthread_mutex_lock(&b->lock);
    const struct metallm__known_setup *known = find_setup(b, r.setup);
    struct metallm__brain *brain = known != NULL ? known->brain : NULL;
    if (brain != NULL) {
        pthread_mutex_lock(&brain->lock);
        if (brain->state == NULL || e->seq <= brain->base_seq ||
            !read_lesson(brain, known, &r, e, &lesson))
            brain->unread++;
        else if ((e->is_feedback && !isnan(e->before)
                      ? correct(brain, &lesson, e, NULL)
                      : fold_one(brain, &lesson, NULL)) != METALLM_OK)
            brain->unread++;
        pthread_mutex_unlock(&brain->lock);
    }
    pthread_mutex_unlock(&b->lock);
}

void metallm__brains_publish(struct metallm__brains *b, bool is_due)
{
    pthread_mutex_lock(&b->lock);
    for (size_t i = 0; i < b->count; i++) {
        struct metallm__brain *brain = b->items[i];
        pthread_mutex_lock(&brain->lock);
        const uint64_t new_events =
            brain->state != NULL ? brain->state->events - brain->published_events : 0;
        /* Without memory the old view stands, and it is tried again. */
        if (brain->is_stale && (is_due || new_events >= PUBLISH_EVENTS) &&
            metallm__brain_refold(brain, NULL) == METALLM_OK &&
            metallm__brain_publish(brain, NULL) != METALLM_OK)
            brain->is_stale = true;
        pthread_mutex_unlock(&brain->lock);
    }
    pthread_mutex_unlock(&b->lock);
}

/* ---- What is stored. ---- */

static int write_setups(struct metallm__brains *b, struct metallm__store *s, metallm_error *err)
{
    int rc = METALLM_OK;
    for (size_t i = 0; i < b->setup_count && rc == METALLM_OK; i++)
        if (b->setups[i].json != NULL)
            rc = metallm__ledger_put_setup(s, b->setups[i].hash, b->setups[i].json, err);
    return rc;
}

/* Corrections after `seq` of scores before it: they are in the base already. */
static int note_applied(const struct metallm__brain *brain, struct metallm__lessons *l, int64_t seq,
                        metallm_error *err)
{
    l->applied = metallm__alloc(brain->correction_count + 1, sizeof *l->applied);
    if (l->applied == NULL)
        return metallm__error_nomem(err, "lessons");
    for (size_t i = 0; i < brain->correction_count; i++)
        if (brain->corrections[i].seq > seq && brain->corrections[i].first <= seq)
            l->applied[l->applied_count++] = brain->corrections[i].seq;
    return METALLM_OK;
}

/* A base that takes in `taken` events of the window. */
static int make_next(struct metallm__brain *brain, size_t taken, int64_t seq, metallm_error *err)
{
    struct metallm__lessons *l = NULL;
    int rc = metallm__lessons_copy(&l, brain->base, err);
    if (rc == METALLM_OK)
        rc = fold_many(l, brain->window, taken, err);
    if (rc == METALLM_OK)
        rc = note_applied(brain, l, seq, err);
    if (rc == METALLM_OK)
        rc = metallm__lessons_settle(&l, err);
    if (rc != METALLM_OK) {
        metallm__lessons_free(l);
        return rc;
    }
    forget_next(brain);
    brain->next.base = l;
    brain->next.seq = seq;
    brain->next.taken = taken;
    brain->next.is_there = true;
    return METALLM_OK;
}

/* Whether the base is to move on, up to which event, and how much of the window that is. */
static bool is_due(const struct metallm__brain *brain, int64_t seq, size_t *taken, int64_t *to)
{
    *taken = 0;
    *to = brain->base_seq;
    if (brain->window_len >= 2 * (size_t)METALLM__LESSONS_KEPT) {
        *taken = brain->window_len - METALLM__LESSONS_KEPT;
        *to = brain->window[*taken - 1].seq;
        return true;
    }
    if ((seq - brain->base_seq >= IDLE_EVENTS && brain->window_len < METALLM__LESSONS_KEPT) ||
        brain->correction_count >= CORRECTIONS_MAX) {
        *taken = brain->window_len;
        *to = seq;
        return true;
    }
    return brain->is_unsaved;
}

static int write_snapshot(struct metallm__brain *brain, struct metallm__store *s, int64_t seq,
                          metallm_error *err)
{
    size_t taken;
    int64_t to;
    if (brain->state == NULL || !is_due(brain, seq, &taken, &to))
        return METALLM_OK;
    struct metallm__buf bytes;
    metallm__buf_init(&bytes, METALLM__LESSONS_BLOB_MAX);
    int rc = make_next(brain, taken, to, err);
    if (rc == METALLM_OK)
        rc = metallm__lessons_save(brain->next.base, &bytes, err);
    if (rc == METALLM_OK)
        rc = metallm__ledger_put_snapshot(s, brain->name, to, bytes.data, bytes.len, err);
    metallm__buf_fini(&bytes);
    if (rc != METALLM_OK)
        forget_next(brain);
    return rc;
}

/* What the store knows of a router that came at run time. */
static int restore_late(struct metallm__brain *brain, struct metallm__store *s, metallm_error *err);

int metallm__brains_write(struct metallm__brains *b, struct metallm__store *s, int64_t seq,
                          metallm_error *err)
{
    pthread_mutex_lock(&b->lock);
    int rc = write_setups(b, s, err);
    b->setups_written = b->setup_count;
    for (size_t i = 0; i < b->count && rc == METALLM_OK; i++) {
        struct metallm__brain *brain = b->items[i];
        pthread_mutex_lock(&brain->lock);
        if (!brain->is_restored)
            rc = restore_late(brain, s, err);
        if (rc == METALLM_OK)
            rc = write_snapshot(brain, s, seq, err);
        pthread_mutex_unlock(&brain->lock);
    }
    pthread_mutex_unlock(&b->lock);
    return rc;
}

static void adopt_next(struct metallm__brain *brain)
{
    metallm__lessons_free(brain->base);
    brain->base = brain->next.base;
    brain->base_seq = brain->next.seq;
    brain->window_len -= brain->next.taken;
    if (brain->window_len > 0)
        memmove(brain->window, brain->window + brain->next.taken,
                brain->window_len * sizeof *brain->window);
    brain->next.base = NULL;
    size_t left = 0;
    for (size_t i = 0; i < brain->correction_count; i++)
        if (brain->corrections[i].seq > brain->base_seq)
            brain->corrections[left++] = brain->corrections[i];
    brain->correction_count = left;
    forget_next(brain);
    brain->is_unsaved = false;
    brain->is_dirty = true; /* of the settled base */
    brain->is_stale = true;
}

void metallm__brains_written(struct metallm__brains *b, bool is_committed)
{
    pthread_mutex_lock(&b->lock);
    for (size_t i = 0; is_committed && i < b->setups_written && i < b->setup_count; i++) {
        metallm__free(b->setups[i].json);
        b->setups[i].json = NULL;
    }
    b->setups_written = 0;
    for (size_t i = 0; i < b->count; i++) {
        struct metallm__brain *brain = b->items[i];
        pthread_mutex_lock(&brain->lock);
        if (brain->next.is_there && is_committed)
            adopt_next(brain);
        else
            forget_next(brain);
        pthread_mutex_unlock(&brain->lock);
    }
    pthread_mutex_unlock(&b->lock);
}

bool metallm__brains_want(struct metallm__brains *b)
{
    bool wants = false;
    pthread_mutex_lock(&b->lock);
    for (size_t i = 0; i < b->setup_count; i++)
        wants |= b->setups[i].json != NULL;
    for (size_t i = 0; i < b->count; i++) {
        pthread_mutex_lock(&b->items[i]->lock);
        wants |= b->items[i]->is_unsaved || !b->items[i]->is_restored;
        pthread_mutex_unlock(&b->items[i]->lock);
    }
    pthread_mutex_unlock(&b->lock);
    return wants;
}

int64_t metallm__brains_needed(struct metallm__brains *b, int64_t seq)
{
    int64_t needed = seq;
    pthread_mutex_lock(&b->lock);
    for (size_t i = 0; i < b->count; i++) {
        pthread_mutex_lock(&b->items[i]->lock);
        if ((b->items[i]->window_len > 0 || b->items[i]->is_unsaved) &&
            b->items[i]->base_seq < needed)
            needed = b->items[i]->base_seq;
        pthread_mutex_unlock(&b->items[i]->lock);
    }
    pthread_mutex_unlock(&b->lock);
    return needed;
}

int metallm__brain_state_save(struct metallm__brain *brain, struct metallm__buf *out,
                              metallm_error *err)
{
    pthread_mutex_lock(&brain->lock);
    int rc = metallm__brain_refold(brain, err);
    if (rc == METALLM_OK)
        rc = metallm__lessons_save(brain->state, out, err);
    pthread_mutex_unlock(&brain->lock);
    return rc;
}

/* ---- Restoring. ---- */

/* The snapshot takes the place of what nobody was taught yet, where it fits. *seq: its event. */
static int load_snapshot(struct metallm__brain *brain, struct metallm__store *s, bool *found,
                         metallm_error *err)
{
    struct metallm__lessons *l = NULL, *state = NULL;
    struct metallm__buf bytes;
    int64_t seq = 0;
    metallm__buf_init(&bytes, METALLM__LESSONS_BLOB_MAX);
    int rc = metallm__ledger_get_snapshot(s, brain->name, &seq, &bytes, found, err);
    if (rc == METALLM_OK && *found) {
        rc = metallm__lessons_load(&l, bytes.data, bytes.len, err);
        if (rc != METALLM_OK)
            metallm__error_prefix(err, rc, "router '%s'", brain->name);
    }
    metallm__buf_fini(&bytes);
    if (rc == METALLM_OK && l != NULL && l->space != brain->state->space) {
        metallm__lessons_free(l); /* another router file or encoder: it begins anew */
        l = NULL;
        *found = false;
    }
    if (rc == METALLM_OK && l != NULL)
        rc = metallm__lessons_copy(&state, l, err);
    if (rc != METALLM_OK || l == NULL) {
        metallm__lessons_free(l);
        return rc;
    }
    metallm__lessons_free(brain->base);
    metallm__lessons_free(brain->state);
    brain->base = l;
    brain->state = state;
    brain->base_seq = seq;
    brain->is_unsaved = false;
    brain->is_stale = true;
    return METALLM_OK;
}

static int restore_late(struct metallm__brain *brain, struct metallm__store *s, metallm_error *err)
{
    bool found = false;
    int rc = METALLM_OK;
    const int64_t seq = brain->base_seq;
    if (brain->window_len == 0)
        rc = load_snapshot(brain, s, &found, err);
    if (rc == METALLM_OK && found && brain->generation != NULL) {
        brain->base_seq = seq;
        rc = metallm__brain_follow(brain, brain->generation, seq, err);
    }
    if (rc == METALLM_OK)
        brain->is_restored = true;
    return rc;
}

struct restoring {
    struct metallm__brains *brains;
    struct metallm__store *store;
    struct metallm__buf record, json;
};

static int fold_stored(void *payload, const struct metallm__ledger_event *e, metallm_error *err)
{
    struct restoring *r = payload;
    struct metallm__ledger_decision d;
    struct metallm__record_room room;
    struct metallm__record record;
    bool found = false;
    metallm__buf_clear(&r->record);
    int rc = metallm__ledger_get_decision(r->store, e->row, &d, &r->record, &found, err);
    if (rc != METALLM_OK)
        return rc;
    if (!found ||
        metallm__record_decode(&record, &room, d.record, d.record_bytes, err) != METALLM_OK) {
        atomic_store(&r->brains->seq, e->seq);
        return METALLM_OK; /* pruned by hand, or damaged: what is there still teaches */
    }
    if (find_setup(r->brains, record.setup) == NULL) {
        metallm__buf_clear(&r->json);
        rc = metallm__ledger_get_setup(r->store, record.setup, &r->json, &found, err);
        if (rc == METALLM_OK && found)
            rc = metallm__brains_know(r->brains, record.setup, r->json.data, true, err);
    }
    if (rc == METALLM_OK)
        metallm__brains_fold(r->brains, e, d.record, d.record_bytes);
    return rc;
}

static int add_spent(void *payload, const struct metallm__ledger_spend *a, metallm_error *err)
{
    struct restoring *r = payload;
    static const char mark[] = "router:";
    (void)err;
    if (strncmp(a->scope, mark, sizeof mark - 1) != 0)
        return METALLM_OK;
    struct metallm__brain *brain = find_brain(r->brains, a->scope + sizeof mark - 1);
    if (brain == NULL || brain->pacer == NULL || brain->pace_per == METALLM__PERIOD_REQUEST)
        return METALLM_OK;
    if ((double)a->period_ms / 1000 == brain->pace_end_s) /* for now: when it began */
        brain->pace_spent = a->usd;
    return METALLM_OK;
}

static int restore_spend(struct restoring *r, int64_t wall_ms, metallm_error *err)
{
    const int64_t month_ms = 32LL * 86400 * 1000;
    for (size_t i = 0; i < r->brains->count; i++) {
        struct metallm__brain *brain = r->brains->items[i];
        if (brain->pacer != NULL && brain->pace_per != METALLM__PERIOD_REQUEST)
            brain->pace_end_s =
                (double)metallm__period_begin(brain->pace_per, (uint64_t)wall_ms) / 1000;
    }
    int rc = metallm__ledger_spend(r->store, wall_ms > month_ms ? wall_ms - month_ms : 0, add_spent,
                                   r, err);
    for (size_t i = 0; i < r->brains->count; i++) {
        struct metallm__brain *brain = r->brains->items[i];
        if (brain->pacer == NULL || brain->pace_per == METALLM__PERIOD_REQUEST)
            continue;
        const double begin = brain->pace_end_s;
        brain->pace_end_s = (double)metallm__period_end(brain->pace_per, (uint64_t)wall_ms) / 1000;
        metallm__pacer_resume(brain->pacer, begin, brain->pace_end_s - begin, brain->pace_spent);
    }
    return rc;
}

/* Newcomers and prices of today, after all that was learned before. */
static int settle_all(struct metallm__brains *b, int64_t seq, metallm_error *err)
{
    int rc = METALLM_OK;
    for (size_t i = 0; i < b->count && rc == METALLM_OK; i++) {
        struct metallm__brain *brain = b->items[i];
        pthread_mutex_lock(&brain->lock);
        brain->is_restored = true;
        if (brain->generation != NULL)
            rc = metallm__brain_follow(brain, brain->generation, seq, err);
        if (rc == METALLM_OK)
            rc = metallm__brain_refold(brain, err);
        if (rc == METALLM_OK)
            rc = metallm__brain_publish(brain, err);
        pthread_mutex_unlock(&brain->lock);
    }
    return rc;
}

int metallm__brains_restore(struct metallm__brains *b, struct metallm__store *s, int64_t wall_ms,
                            metallm_error *err)
{
    struct restoring r = {.brains = b, .store = s};
    struct metallm__ledger_tops tops;
    int64_t after = INT64_MAX;
    metallm__buf_init(&r.record, METALLM__RECORD_BYTES_MAX);
    metallm__buf_init(&r.json, METALLM__LESSONS_BLOB_MAX);
    int rc = metallm__ledger_tops(s, &tops, err);
    for (size_t i = 0; i < b->count && rc == METALLM_OK; i++) {
        struct metallm__brain *brain = b->items[i];
        bool found = false;
        rc = load_snapshot(brain, s, &found, err);
        if (rc == METALLM_OK && !found)
            brain->base_seq = tops.seq; /* nothing of it is in the store */
        if (brain->base_seq < after)
            after = brain->base_seq;
    }
    if (rc == METALLM_OK && after < tops.seq)
        rc = metallm__ledger_events(s, after, fold_stored, &r, err);
    atomic_store(&b->seq, tops.seq);
    if (rc == METALLM_OK)
        rc = restore_spend(&r, wall_ms, err);
    if (rc == METALLM_OK)
        rc = settle_all(b, tops.seq, err);
    metallm__buf_fini(&r.record);
    metallm__buf_fini(&r.json);
    return rc;
}
