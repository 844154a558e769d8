/* SPDX-License-Identifier: Apache-2.0
 * stream_in.c - Responses' events read as deltas. Items follow each other; what is told
 * again when it is complete is passed over, but for the seal of reasoning, which comes only then.
 */
#include "base/error.h"
#include "wire/responses/responses.h"
#include "wire/seal.h"
#include "wire/talk_read.h"

static uint64_t count_of(yyjson_val *root, const char *member)
{
    uint64_t count = 0;
    (void)metallm__json_count(yyjson_obj_get(root, member), UINT64_MAX, &count);
    return count;
}

static int begin(struct metallm__hearing *h, enum metallm__part_kind kind, yyjson_val *item,
                 uint64_t index)
{
    const struct metallm__delta d = {.part = kind,
                                     .id = metallm__wire_text(yyjson_obj_get(item, "call_id")),
                                     .name = metallm__wire_text(yyjson_obj_get(item, "name"))};
    return metallm__hear_begin(h, &d, index);
}

static int item_added(struct metallm__hearing *h, yyjson_val *root)
{
    yyjson_val *item = yyjson_obj_get(root, "item"), *type = yyjson_obj_get(item, "type");
    uint64_t index = count_of(root, "output_index");
    if (yyjson_equals_str(type, "function_call"))
        return begin(h, METALLM__PART_CALL, item, index);
    if (yyjson_equals_str(type, "reasoning"))
        return begin(h, METALLM__PART_REASONING, NULL, index);
    return METALLM_OK; /* a message begins with its first content */
}

static int content_added(struct metallm__hearing *h, yyjson_val *root)
{
    yyjson_val *type = yyjson_obj_get(yyjson_obj_get(root, "part"), "type");
    uint64_t index = count_of(root, "output_index");
    if (yyjson_equals_str(type, "output_text"))
        return begin(h, METALLM__PART_TEXT, NULL, index);
    if (yyjson_equals_str(type, "refusal"))
        return begin(h, METALLM__PART_REFUSAL, NULL, index);
    return METALLM_OK;
}

/* Text of a part that no event has begun begins it. */
static int text_of(struct metallm__hearing *h, enum metallm__part_kind kind, yyjson_val *root)
{
    int rc = METALLM_OK;
    if (!h->is_open || h->open != kind)
        rc = begin(h, kind, NULL, count_of(root, "output_index"));
    return rc == METALLM_OK
               ? metallm__hear_text(h, metallm__wire_text(yyjson_obj_get(root, "delta")))
               : rc;
}

static int output_text(struct metallm__hearing *h, yyjson_val *root)
{
    return text_of(h, METALLM__PART_TEXT, root);
}

static int refusal(struct metallm__hearing *h, yyjson_val *root)
{
    return text_of(h, METALLM__PART_REFUSAL, root);
}

static int reasoning_text(struct metallm__hearing *h, yyjson_val *root)
{
    return text_of(h, METALLM__PART_REASONING, root);
}

/* A second summary of the same reasoning is set off by a line end. */
static int summary_added(struct metallm__hearing *h, yyjson_val *root)
{
    bool is_next = count_of(root, "summary_index") > 0;
    return is_next && h->is_open ? metallm__hear_text(h, metallm__span_of("\n")) : METALLM_OK;
}

static int arguments(struct metallm__hearing *h, yyjson_val *root)
{
    if (!h->is_open || h->open != METALLM__PART_CALL)
        return metallm__error_set(h->err, METALLM_EFORMAT,
                                  "arguments of a call that has not begun");
    return metallm__hear_text(h, metallm__wire_text(yyjson_obj_get(root, "delta")));
}

static int item_done(struct metallm__hearing *h, yyjson_val *root)
{
    yyjson_val *item = yyjson_obj_get(root, "item");
    struct metallm__span seal = metallm__wire_text(yyjson_obj_get(item, "encrypted_content"));
    int rc = METALLM_OK;
    if (h->is_open && h->open == METALLM__PART_REASONING && seal.n > 0)
        rc = metallm__hear_seal(h, seal, METALLM__RESPONSES);
    return rc == METALLM_OK ? metallm__hear_end(h) : rc;
}

static int started(struct metallm__hearing *h, yyjson_val *root)
{
    yyjson_val *response = yyjson_obj_get(root, "response");
    return metallm__hear_start(h, metallm__wire_text(yyjson_obj_get(response, "id")),
                               metallm__wire_text(yyjson_obj_get(response, "model")));
}

static int finished(struct metallm__hearing *h, yyjson_val *root)
{
    yyjson_val *response = yyjson_obj_get(root, "response");
    yyjson_val *error = yyjson_obj_get(response, "error");
    struct metallm__wire_usage usage = METALLM__WIRE_USAGE_UNKNOWN;
    if (yyjson_is_obj(error))
        return metallm__responses_error_in(error, h->err);
    metallm__responses_usage_in(yyjson_obj_get(response, "usage"), &usage);
    int rc = metallm__hear_usage(h, &usage);
    return rc == METALLM_OK
               ? metallm__hear_finish(h, metallm__responses_finish_in(response, h->calls > 0),
                                      (struct metallm__span){NULL, 0})
               : rc;
}

static int failed(struct metallm__hearing *h, yyjson_val *root)
{
    yyjson_val *error = yyjson_obj_get(yyjson_obj_get(root, "response"), "error");
    return metallm__responses_error_in(yyjson_is_obj(error) ? error : root, h->err);
}

static const struct {
    const char *type;
    int (*read)(struct metallm__hearing *h, yyjson_val *root);
    bool is_end;
} events[] = {
    {"response.output_text.delta", output_text, false},
    {"response.function_call_arguments.delta", arguments, false},
    {"response.reasoning_summary_text.delta", reasoning_text, false},
    {"response.reasoning_text.delta", reasoning_text, false},
    {"response.refusal.delta", refusal, false},
    {"response.created", started, false},
    {"response.output_item.added", item_added, false},
    {"response.content_part.added", content_added, false},
    {"response.reasoning_summary_part.added", summary_added, false},
    {"response.output_item.done", item_done, false},
    {"response.completed", finished, true},
    {"response.incomplete", finished, true},
    {"response.failed", failed, true},
    {"error", failed, true},
};

int metallm__responses_event_in(struct metallm__hearing *h, const struct metallm__wire_event *event,
                                bool *is_end)
{
    yyjson_val *root;
    if (metallm__span_is(event->data, "[DONE]")) { /* some servers end as chat does */
        *is_end = h->is_finished;
        return METALLM_OK;
    }
    int rc = metallm__hear_json(h, event->data, &root);
    if (rc != METALLM_OK)
        return rc;
    yyjson_val *type = yyjson_obj_get(root, "type");
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        if (yyjson_equals_str(type, events[i].type)) {
            rc = events[i].read(h, root);
            *is_end = rc == METALLM_OK && events[i].is_end;
            return rc;
        }
    return METALLM_OK;
}
