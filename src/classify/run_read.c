/* SPDX-License-Identifier: Apache-2.0
 * run_read.c - texts that have no answer yet become items, and get their vectors. There is a fixed
 * number of items, so that memory follows the calls at a time and not the texts. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "classify/run_inner.h"

#define ITEMS_MORE 128u        /* beyond four for each call at a time */
#define KEPT_BYTES (64u << 10) /* a buffer that has grown beyond is given back */

struct metallm__text_part metallm__item_text(const struct metallm__item *i)
{
    return (struct metallm__text_part){i->bytes.data, i->text_bytes};
}

void metallm__item_choices(const struct metallm__item *i, struct metallm__span *out)
{
    size_t at = i->text_bytes;
    for (unsigned c = 0; c < i->choice_count; c++) {
        out[c] = metallm__span(i->bytes.data + at, i->choice_end[c] - at);
        at = i->choice_end[c];
    }
}

/* ---- Items. ---- */

static uint32_t feature_dim(metallm_encoder *e)
{
    if (e == NULL)
        return 0;
    const metallm_layout layout = metallm_encoder_layout(e);
    return metallm_layout_dim(&layout);
}

static int item_init(struct metallm__run *r, struct metallm__item *i, metallm_error *err)
{
    const uint32_t fine = feature_dim(r->parts.encoder), coarse = feature_dim(r->parts.coarse);
    i->run = r;
    metallm__buf_init(&i->bytes, (size_t)4 << 20);
    metallm__buf_init(&i->routed, (size_t)4 << 20);
    metallm__buf_init(&i->body, METALLM__TEMPLATE_BODY_MAX);
    if (r->router == NULL)
        return METALLM_OK;
    i->features = metallm__calloc(fine, sizeof *i->features);
    i->coarse = metallm__calloc(coarse, sizeof *i->coarse);
    i->decision.candidates = metallm__calloc(r->candidate_count, sizeof *i->decision.candidates);
    i->decision.order = metallm__calloc(r->candidate_count, sizeof *i->decision.order);
    if (i->features == NULL || i->coarse == NULL || i->decision.candidates == NULL ||
        i->decision.order == NULL)
        return metallm__error_nomem(err, "texts of a job");
    return METALLM_OK;
}

int metallm__run_items_new(struct metallm__run *r, metallm_error *err)
{
    struct metallm__items *queues[] = {&r->wanted, &r->free,    &r->encoded, &r->begin,
                                       &r->ready,  &r->delayed, &r->end,     &r->posted_encoded};
    for (size_t q = 0; q < sizeof queues / sizeof *queues; q++)
        metallm__items_init(queues[q]);
    const unsigned count = 4 * r->o.concurrent + ITEMS_MORE + METALLM__RUN_BATCH;
    r->items = metallm__calloc(count, sizeof *r->items);
    r->feedback = metallm__calloc(METALLM__RUN_FEEDBACK_MAX, sizeof *r->feedback);
    if (r->items == NULL || r->feedback == NULL)
        return metallm__error_nomem(err, "texts of a job");
    int rc = METALLM_OK;
    for (; r->item_count < count && rc == METALLM_OK; r->item_count++) {
        rc = item_init(r, &r->items[r->item_count], err);
        metallm__items_put(&r->free, &r->items[r->item_count]);
    }
    return rc;
}

void metallm__run_encoder_stop(struct metallm__run *r)
{
    if (r->parts.service != NULL) /* then nobody writes into an item any more */
        metallm_service_stop(r->parts.service, false);
}

void metallm__run_items_free(struct metallm__run *r)
{
    metallm__run_encoder_stop(r);
    (void)metallm__parts_close_journal(&r->parts, NULL); /* its thread has batches of items */
    for (struct metallm__run_batch *b = r->posted, *after; b != NULL; b = after) {
        after = b->next;
        metallm__free(b);
    }
    r->posted = NULL;
    for (unsigned n = 0; n < r->item_count; n++) {
        struct metallm__item *i = &r->items[n];
        metallm__view_drop(i->view);
        metallm__buf_fini(&i->bytes);
        metallm__buf_fini(&i->routed);
        metallm__buf_fini(&i->body);
        metallm__free(i->features);
        metallm__free(i->coarse);
        metallm__free(i->decision.candidates);
        metallm__free(i->decision.order);
    }
    metallm__free(r->items);
    r->items = NULL;
    r->item_count = 0;
}

/* ---- Texts. ---- */

/* Whether this run has to ask for the text. */
static int is_wanted(struct metallm__run *r, uint64_t number, bool *wanted, metallm_error *err)
{
    *wanted = true;
    if (!r->is_met)
        return METALLM_OK;
    if (number - r->states_from >= r->states_count) {
        int rc = metallm__job_states(r->parts.store, r->job.id, number, sizeof r->states, r->states,
                                     err);
        if (rc != METALLM_OK)
            return rc;
        r->states_from = number;
        r->states_count = sizeof r->states;
    }
    *wanted = r->states[number - r->states_from] != METALLM__JOB_ANSWERED;
    return METALLM_OK;
}

static void refresh(struct metallm__buf *b)
{
    if (b->cap > KEPT_BYTES) {
        const size_t max = b->max;
        metallm__buf_fini(b);
        metallm__buf_init(b, max);
    }
    metallm__buf_clear(b);
}

/* A draw that is the text's own in every run: of gold labels, lessons, judgements. */
static double draw(const struct metallm__run *r, uint64_t number, uint64_t what)
{
    const uint64_t key[3] = {r->o.seed, number, what};
    return (double)(metallm__hash_bytes(key, sizeof key, 0) >> 11) * 0x1p-53;
}

bool metallm__run_is_taught(const struct metallm__run *r, uint64_t number)
{
    return draw(r, number, 1) < r->o.gold_share;
}

static void settle_lesson(struct metallm__run *r, struct metallm__item *i)
{
    const bool is_open = i->gold == METALLM__LABEL_NONE;
    i->is_taught = !is_open && metallm__run_is_taught(r, i->number);
    i->is_lesson = is_open && draw(r, i->number, 2) < r->o.agree_share;
    if (r->o.is_cascade && i->is_taught && r->lessons_asked < r->o.lessons) {
        i->is_lesson = true;
        r->lessons_asked++;
    }
    i->is_judged =
        is_open && r->judge != METALLM__LABEL_NONE && draw(r, i->number, 3) < r->o.judge_share;
}

static int fill_item(struct metallm__run *r, struct metallm__item *i, const struct metallm__text *x,
                     metallm_error *err)
{
    refresh(&i->bytes);
    refresh(&i->body);
    refresh(&i->routed);
    metallm__buf_add(&i->bytes, x->text.p, x->text.n);
    i->text_bytes = x->text.n;
    i->choice_count = x->choice_count;
    for (unsigned c = 0; c < x->choice_count; c++) {
        metallm__buf_add(&i->bytes, x->choices[c].p, x->choices[c].n);
        i->choice_end[c] = i->bytes.len;
    }
    i->number = x->number;
    i->gold = x->gold.n == 0 ? METALLM__LABEL_NONE
                             : metallm__labels_find(r->labels, metallm__span(x->gold.p, x->gold.n));
    i->encoded = METALLM_ENOTFOUND;
    i->has_coarse = i->has_row = false;
    i->order_count = i->tries = i->call_count = 0;
    i->passed = 0;
    memset(i->asked, 0, sizeof i->asked);
    i->why = METALLM__WHY_ROUTED;
    i->label = METALLM__LABEL_NONE;
    i->model = 0;
    i->how = METALLM__LABEL_UNMAPPED;
    i->confidence = i->latency_ms = NAN;
    i->usd = i->lost_usd = i->reserved_usd = 0;
    i->id = (struct metallm__decision_id){0};
    i->id_text[0] = '\0';
    settle_lesson(r, i);
    int rc = metallm__buf_check(&i->bytes, err);
    i->hash = metallm__hash_bytes(i->bytes.data, i->bytes.len, 0);
    return rc;
}

/* ---- Vectors. ---- */

static void post_encoded(void *payload, int status, const metallm_error *err)
{
    (void)err;
    struct metallm__item *i = payload;
    struct metallm__run *r = i->run;
    i->encoded = status;
    pthread_mutex_lock(&r->lock);
    metallm__items_put(&r->posted_encoded, i);
    pthread_mutex_unlock(&r->lock);
}

static void encode_here(metallm_encoder *e, const struct metallm__item *i, float *out, int *rc)
{
    const char *text = i->routed.data;
    const size_t len = i->routed.len;
    metallm_error own;
    *rc = metallm_encoder_features(e, &text, &len, 1, out, NULL, &own);
}

/* Whether a tiered router's cheap estimates are clear enough. */
static bool is_clear(struct metallm__run *r, struct metallm__item *i)
{
    int rc = METALLM_ENOTFOUND;
    const struct metallm__view *v = metallm__brain_view(r->reader);
    const metallm_router *coarse = v->file == NULL ? NULL : metallm_router_coarse(v->file);
    if (!r->parts.is_tiered || coarse == NULL ||
        strcmp(metallm_router_encoder(coarse), metallm_encoder_id(r->parts.coarse)) != 0)
        return false;
    encode_here(r->parts.coarse, i, i->coarse, &rc);
    i->has_coarse = rc == METALLM_OK;
    const struct metallm__brain_query q = {
        .coarse = i->coarse,
        .dial = r->o.dial,
        .target = r->o.target,
        .session.model = METALLM__CONFIG_NONE,
        .input_tokens = metallm__tokens_estimate(metallm__span(i->routed.data, i->routed.len)),
        .rng = &r->rng};
    return i->has_coarse && metallm__brain_is_clear(v, &q);
}

static int encode(struct metallm__run *r, struct metallm__item *i, metallm_error *err)
{
    if (r->router == NULL || r->parts.encoder == NULL) {
        metallm__items_put(&r->encoded, i);
        return METALLM_OK;
    }
    struct metallm__span choices[METALLM__CHOICES_MAX];
    metallm__item_choices(i, choices);
    const struct metallm__template_fill fill = {.text = {i->bytes.data, i->text_bytes},
                                                .choices = choices,
                                                .choice_count = i->choice_count};
    int rc = metallm__template_routed(&fill, &i->routed, err);
    if (rc != METALLM_OK)
        return rc;
    if (is_clear(r, i)) {
        metallm__items_put(&r->encoded, i);
        return METALLM_OK;
    }
    if (r->parts.service == NULL) {
        encode_here(r->parts.encoder, i, i->features, &i->encoded);
        metallm__items_put(&r->encoded, i);
        return METALLM_OK;
    }
    const metallm_service_request request = {.text = i->routed.data,
                                             .len = i->routed.len,
                                             .out = i->features,
                                             .done = post_encoded,
                                             .payload = i};
    bool is_ready = false;
    metallm_error own;
    rc = metallm_service_submit(r->parts.service, &request, &is_ready, NULL, &own);
    if (rc == METALLM_OK && !is_ready) {
        r->encoding_count++;
        return METALLM_OK;
    }
    i->encoded = rc; /* without a vector it is decided on means */
    metallm__items_put(&r->encoded, i);
    return METALLM_OK;
}

int metallm__run_read(struct metallm__run *r, unsigned most, metallm_error *err)
{
    int rc = METALLM_OK;
    while (most > 0 && r->free.first != NULL && rc == METALLM_OK) {
        struct metallm__text x;
        bool wanted = true;
        rc = metallm__texts_next(r->texts, &x, err);
        if (rc == METALLM_ENOTFOUND) {
            r->is_read = true;
            return METALLM_OK;
        }
        if (rc == METALLM_OK)
            rc = is_wanted(r, x.number, &wanted, err);
        if (rc != METALLM_OK || !wanted)
            continue;
        struct metallm__item *i = r->free.first;
        rc = fill_item(r, i, &x, err);
        if (rc != METALLM_OK)
            break;
        (void)metallm__items_take(&r->free);
        rc = encode(r, i, err);
        most--;
    }
    return rc;
}
