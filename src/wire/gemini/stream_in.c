/* SPDX-License-Identifier: Apache-2.0
 * stream_in.c - the stream of streamGenerateContent: each event is a piece of an answer in
 * the answer's own form. Texts go on from event to event; a call comes whole in one. The
 * connection's end closes the stream. */
#include "base/error.h"
#include "wire/gemini/gemini.h"
#include "wire/talk_read.h"

static int begin(struct metallm__hearing *h, enum metallm__part_kind part)
{
    struct metallm__delta d = {.kind = METALLM__DELTA_BEGIN, .part = part};
    return metallm__hear_begin(h, &d, 0);
}

static int tell_seal(struct metallm__hearing *h, struct metallm__span seal)
{
    int rc = begin(h, METALLM__PART_REASONING);
    if (rc == METALLM_OK)
        rc = metallm__hear_seal(h, seal, METALLM__GEMINI);
    return rc == METALLM_OK ? metallm__hear_end(h) : rc;
}

static int tell_text(struct metallm__hearing *h, enum metallm__part_kind part,
                     struct metallm__span text)
{
    int rc = METALLM_OK;
    if (!h->is_open || h->open != part)
        rc = begin(h, part);
    return rc == METALLM_OK ? metallm__hear_text(h, text) : rc;
}

static int tell_call(struct metallm__hearing *h, yyjson_val *call, struct metallm__span response_id)
{
    static const struct metallm__span nothing = METALLM__SPAN("{}");
    yyjson_val *args = yyjson_obj_get(call, "args");
    struct metallm__span text = yyjson_is_obj(args) ? metallm__json_kept(&h->pool, args) : nothing;
    struct metallm__delta d = {
        .kind = METALLM__DELTA_BEGIN,
        .part = METALLM__PART_CALL,
        .id = metallm__gemini_call_id(&h->pool, call, response_id, h->calls, text),
        .name = metallm__wire_text(yyjson_obj_get(call, "name"))};
    int rc = metallm__pool_check(&h->pool, h->err);
    if (rc == METALLM_OK)
        rc = metallm__hear_begin(h, &d, 0);
    if (rc == METALLM_OK)
        rc = metallm__hear_text(h, text);
    return rc == METALLM_OK ? metallm__hear_end(h) : rc;
}

static int tell_part(struct metallm__hearing *h, yyjson_val *part, struct metallm__span response_id)
{
    struct metallm__span seal = metallm__wire_text(yyjson_obj_get(part, "thoughtSignature"));
    struct metallm__span text = metallm__wire_text(yyjson_obj_get(part, "text"));
    yyjson_val *call = yyjson_obj_get(part, "functionCall");
    bool is_thought = yyjson_is_true(yyjson_obj_get(part, "thought"));
    bool is_sealed_thought = is_thought && text.n > 0 && seal.n > 0;
    int rc = METALLM_OK;
    if (seal.n > 0 && !is_sealed_thought)
        rc = tell_seal(h, seal);
    if (rc == METALLM_OK && yyjson_is_obj(call))
        return tell_call(h, call, response_id);
    if (rc == METALLM_OK && text.n > 0)
        rc = tell_text(h, is_thought ? METALLM__PART_REASONING : METALLM__PART_TEXT, text);
    if (rc == METALLM_OK && is_sealed_thought)
        rc = metallm__hear_seal(h, seal, METALLM__GEMINI);
    return rc == METALLM_OK && is_sealed_thought ? metallm__hear_end(h) : rc;
}

static int tell_usage(struct metallm__hearing *h, yyjson_val *usage)
{
    struct metallm__wire_usage u = METALLM__WIRE_USAGE_UNKNOWN;
    metallm__gemini_usage_in(usage, &u);
    return yyjson_is_obj(usage) ? metallm__hear_usage(h, &u) : METALLM_OK;
}

/* Every event may tell the finish, and the connection's end closes the stream. */
static int tell_end(struct metallm__hearing *h, yyjson_val *candidate, yyjson_val *feedback)
{
    enum metallm__wire_finish finish = METALLM__WIRE_FINISH_NONE;
    int rc = metallm__gemini_finish_in(candidate, h->calls > 0, &finish, h->err);
    if (rc == METALLM_OK && candidate == NULL &&
        metallm__wire_text(yyjson_obj_get(feedback, "blockReason")).n > 0) {
        struct metallm__span why =
            metallm__wire_text(yyjson_obj_get(feedback, "blockReasonMessage"));
        finish = METALLM__WIRE_FINISH_FILTER; /* the prompt was blocked: no candidate will come */
        rc = why.n > 0 ? tell_text(h, METALLM__PART_REFUSAL, why) : METALLM_OK;
    }
    if (rc != METALLM_OK || finish == METALLM__WIRE_FINISH_NONE)
        return rc;
    return metallm__hear_finish(h, finish, (struct metallm__span){NULL, 0});
}

static int tell_event(struct metallm__hearing *h, yyjson_val *root)
{
    yyjson_val *candidate = yyjson_arr_get_first(yyjson_obj_get(root, "candidates"));
    struct metallm__span id = metallm__wire_text(yyjson_obj_get(root, "responseId"));
    int rc = metallm__hear_start(h, id, metallm__wire_text(yyjson_obj_get(root, "modelVersion")));
    yyjson_arr_iter i =
        yyjson_arr_iter_with(yyjson_obj_get(yyjson_obj_get(candidate, "content"), "parts"));
    for (yyjson_val *part; rc == METALLM_OK && (part = yyjson_arr_iter_next(&i)) != NULL;)
        rc = tell_part(h, part, id);
    if (rc == METALLM_OK)
        rc = tell_usage(h, yyjson_obj_get(root, "usageMetadata"));
    return rc == METALLM_OK ? tell_end(h, candidate, yyjson_obj_get(root, "promptFeedback")) : rc;
}

int metallm__gemini_event_in(struct metallm__hearing *h, const struct metallm__wire_event *event,
                             bool *is_end)
{
    yyjson_val *root = NULL;
    (void)is_end;
    int rc = metallm__hear_json(h, event->data, &root);
    if (rc == METALLM_OK)
        rc = metallm__gemini_error_check(root, h->err);
    return rc == METALLM_OK ? tell_event(h, root) : rc;
}
