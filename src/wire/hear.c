/* SPDX-License-Identifier: Apache-2.0
 * hear.c - what the readers of streams share: deltas are told in their order, whatever the upstream
 * leaves out. See wire.h. */
#include "base/error.h"
#include "wire/wire.h"

int metallm__hear_json(struct metallm__hearing *h, struct metallm__span data, yyjson_val **root)
{
    size_t need = yyjson_read_max_memory_usage(data.n, YYJSON_READ_NUMBER_AS_RAW);
    void *room = metallm__pool_take_raw(&h->pool, need);
    yyjson_alc alc;
    if (room == NULL)
        return metallm__pool_check(&h->pool, h->err);
    if (!yyjson_alc_pool_init(&alc, room, need))
        return metallm__error_nomem(h->err, "an event");
    yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)(data.n > 0 ? data.p : ""), data.n,
                                       YYJSON_READ_NUMBER_AS_RAW, &alc, NULL);
    *root = yyjson_doc_get_root(doc);
    return yyjson_is_obj(*root) ? METALLM_OK
                                : metallm__error_set(h->err, METALLM_EFORMAT,
                                                     "an event of the stream is no JSON object");
}

static int tell(struct metallm__hearing *h, const struct metallm__delta *delta)
{
    return h->sink(h->payload, delta);
}

int metallm__hear_start(struct metallm__hearing *h, struct metallm__span id,
                        struct metallm__span model)
{
    if (h->is_started)
        return METALLM_OK;
    h->is_started = true;
    const struct metallm__delta d = {.kind = METALLM__DELTA_START, .id = id, .model = model};
    return tell(h, &d);
}

int metallm__hear_begin(struct metallm__hearing *h, const struct metallm__delta *begin,
                        uint64_t index)
{
    int rc =
        metallm__hear_start(h, (struct metallm__span){NULL, 0}, (struct metallm__span){NULL, 0});
    if (rc == METALLM_OK)
        rc = metallm__hear_end(h);
    if (rc != METALLM_OK)
        return rc;
    h->is_open = true;
    h->open = begin->part;
    h->index = index;
    h->calls += begin->part == METALLM__PART_CALL;
    struct metallm__delta d = *begin;
    d.kind = METALLM__DELTA_BEGIN;
    return tell(h, &d);
}

static int tell_more(struct metallm__hearing *h, enum metallm__delta_kind kind,
                     struct metallm__span text, const char *seal_of)
{
    if (!h->is_open)
        return metallm__error_set(h->err, METALLM_EFORMAT,
                                  "the stream tells a text that belongs to nothing");
    const struct metallm__delta d = {
        .kind = kind, .part = h->open, .text = text, .seal_of = metallm__span_of(seal_of)};
    return text.n > 0 ? tell(h, &d) : METALLM_OK;
}

int metallm__hear_text(struct metallm__hearing *h, struct metallm__span text)
{
    return tell_more(h, METALLM__DELTA_TEXT, text, NULL);
}

int metallm__hear_seal(struct metallm__hearing *h, struct metallm__span text, const char *seal_of)
{
    return tell_more(h, METALLM__DELTA_SEAL, text, seal_of);
}

int metallm__hear_end(struct metallm__hearing *h)
{
    if (!h->is_open)
        return METALLM_OK;
    h->is_open = false;
    const struct metallm__delta d = {.kind = METALLM__DELTA_END, .part = h->open};
    return tell(h, &d);
}

static void merge(int64_t *into, int64_t count)
{
    if (count >= 0)
        *into = count;
}

void metallm__wire_usage_merge(struct metallm__wire_usage *into,
                               const struct metallm__wire_usage *more)
{
    merge(&into->input_tokens, more->input_tokens);
    merge(&into->cached_tokens, more->cached_tokens);
    merge(&into->output_tokens, more->output_tokens);
    merge(&into->reasoning_tokens, more->reasoning_tokens);
    merge(&into->written_tokens, more->written_tokens);
}

int metallm__hear_usage(struct metallm__hearing *h, const struct metallm__wire_usage *usage)
{
    metallm__wire_usage_merge(&h->usage, usage);
    const struct metallm__delta d = {.kind = METALLM__DELTA_USAGE, .usage = h->usage};
    return tell(h, &d);
}

int metallm__hear_finish(struct metallm__hearing *h, enum metallm__wire_finish finish,
                         struct metallm__span stop)
{
    if (h->is_finished)
        return METALLM_OK;
    int rc =
        metallm__hear_start(h, (struct metallm__span){NULL, 0}, (struct metallm__span){NULL, 0});
    if (rc == METALLM_OK)
        rc = metallm__hear_end(h);
    if (rc != METALLM_OK)
        return rc;
    h->is_finished = true;
    h->finish = finish;
    const struct metallm__delta d = {.kind = METALLM__DELTA_FINISH, .finish = finish, .stop = stop};
    return tell(h, &d);
}
