/* SPDX-License-Identifier: Apache-2.0
 * stream_in.c - the events of a streamed Message as deltas. Events and blocks that are
 * not known are passed over, as the API asks for. */
#include "base/error.h"
#include "wire/anthropic/anthropic.h"

/* hearing.state */
#define HAS_ARGUMENTS 1u /* of the call that is open, some text was told */

static int begin(struct metallm__hearing *h, const struct metallm__delta *d, yyjson_val *root)
{
    uint64_t index = 0;
    (void)metallm__json_count(yyjson_obj_get(root, "index"), UINT64_MAX, &index);
    h->state = 0;
    return metallm__hear_begin(h, d, index);
}

/* Tools mostly begin with {} and tell their input by deltas; some servers give it whole. */
static int begin_call(struct metallm__hearing *h, yyjson_val *root, yyjson_val *block)
{
    const struct metallm__delta d = {.part = METALLM__PART_CALL,
                                     .id = metallm__wire_text(yyjson_obj_get(block, "id")),
                                     .name = metallm__wire_text(yyjson_obj_get(block, "name"))};
    yyjson_val *input = yyjson_obj_get(block, "input");
    int rc = begin(h, &d, root);
    if (rc != METALLM_OK || yyjson_obj_size(input) == 0)
        return rc;
    h->state |= HAS_ARGUMENTS;
    struct metallm__span text = metallm__json_kept(&h->pool, input);
    rc = metallm__pool_check(&h->pool, h->err);
    return rc == METALLM_OK ? metallm__hear_text(h, text) : rc;
}

static int block_start(struct metallm__hearing *h, yyjson_val *root)
{
    yyjson_val *block = yyjson_obj_get(root, "content_block");
    yyjson_val *type = yyjson_obj_get(block, "type");
    struct metallm__delta d = {.part = METALLM__PART_TEXT};
    const char *member = "text";
    if (yyjson_equals_str(type, "tool_use"))
        return begin_call(h, root, block);
    if (yyjson_equals_str(type, "redacted_thinking")) {
        d.part = METALLM__PART_REASONING;
        d.seal_of = metallm__span_of(METALLM__ANTHROPIC_REDACTED);
        int rc = begin(h, &d, root);
        return rc != METALLM_OK
                   ? rc
                   : metallm__hear_seal(h, metallm__wire_text(yyjson_obj_get(block, "data")),
                                        METALLM__ANTHROPIC_REDACTED);
    }
    if (yyjson_equals_str(type, "thinking")) {
        d.part = METALLM__PART_REASONING;
        member = "thinking";
    } else if (!yyjson_equals_str(type, "text")) {
        return metallm__hear_end(h); /* and its deltas are passed over */
    }
    int rc = begin(h, &d, root);
    return rc != METALLM_OK
               ? rc
               : metallm__hear_text(h, metallm__wire_text(yyjson_obj_get(block, member)));
}

static int block_delta(struct metallm__hearing *h, yyjson_val *root)
{
    yyjson_val *delta = yyjson_obj_get(root, "delta"), *type = yyjson_obj_get(delta, "type");
    const char *member = NULL;
    if (!h->is_open) /* of a block that is passed over */
        return METALLM_OK;
    if (yyjson_equals_str(type, "text_delta") && h->open == METALLM__PART_TEXT)
        member = "text";
    else if (yyjson_equals_str(type, "input_json_delta") && h->open == METALLM__PART_CALL)
        member = "partial_json";
    else if (yyjson_equals_str(type, "thinking_delta") && h->open == METALLM__PART_REASONING)
        member = "thinking";
    else if (yyjson_equals_str(type, "signature_delta") && h->open == METALLM__PART_REASONING)
        return metallm__hear_seal(h, metallm__wire_text(yyjson_obj_get(delta, "signature")),
                                  METALLM__ANTHROPIC_SEAL);
    if (member == NULL)
        return METALLM_OK;
    struct metallm__span text = metallm__wire_text(yyjson_obj_get(delta, member));
    if (text.n > 0)
        h->state |= HAS_ARGUMENTS;
    return metallm__hear_text(h, text);
}

static int block_stop(struct metallm__hearing *h, yyjson_val *root)
{
    (void)root;
    int rc = METALLM_OK;
    if (h->is_open && h->open == METALLM__PART_CALL && (h->state & HAS_ARGUMENTS) == 0)
        rc = metallm__hear_text(h, metallm__span_of("{}"));
    return rc == METALLM_OK ? metallm__hear_end(h) : rc;
}

static int hear_usage(struct metallm__hearing *h, yyjson_val *usage)
{
    struct metallm__wire_usage seen = h->usage;
    metallm__anthropic_usage_in(usage, &seen);
    return yyjson_is_obj(usage) ? metallm__hear_usage(h, &seen) : METALLM_OK;
}

static int message_start(struct metallm__hearing *h, yyjson_val *root)
{
    yyjson_val *message = yyjson_obj_get(root, "message");
    int rc = metallm__hear_start(h, metallm__wire_text(yyjson_obj_get(message, "id")),
                                 metallm__wire_text(yyjson_obj_get(message, "model")));
    return rc == METALLM_OK ? hear_usage(h, yyjson_obj_get(message, "usage")) : rc;
}

static int message_delta(struct metallm__hearing *h, yyjson_val *root)
{
    yyjson_val *delta = yyjson_obj_get(root, "delta");
    enum metallm__wire_finish finish =
        metallm__anthropic_finish(yyjson_obj_get(delta, "stop_reason"));
    struct metallm__span why =
        metallm__wire_text(yyjson_obj_get(yyjson_obj_get(delta, "stop_details"), "explanation"));
    const struct metallm__delta refusal = {.part = METALLM__PART_REFUSAL};
    int rc = METALLM_OK;
    if (finish == METALLM__WIRE_FINISH_FILTER && why.n > 0) {
        rc = metallm__hear_begin(h, &refusal, UINT64_MAX);
        if (rc == METALLM_OK)
            rc = metallm__hear_text(h, why);
    }
    if (rc == METALLM_OK)
        rc = metallm__hear_end(h);
    if (rc == METALLM_OK)
        rc = hear_usage(h, yyjson_obj_get(root, "usage"));
    if (rc != METALLM_OK || finish == METALLM__WIRE_FINISH_NONE)
        return rc;
    return metallm__hear_finish(h, finish,
                                metallm__wire_text(yyjson_obj_get(delta, "stop_sequence")));
}

static int ping(struct metallm__hearing *h, yyjson_val *root)
{
    (void)root;
    const struct metallm__delta d = {.kind = METALLM__DELTA_PING};
    return h->sink(h->payload, &d);
}

static const struct {
    const char *type;
    int (*read)(struct metallm__hearing *h, yyjson_val *root);
} events[] = {
    {"content_block_delta", block_delta}, /* the most frequent */
    {"content_block_start", block_start},
    {"content_block_stop", block_stop},
    {"message_start", message_start},
    {"message_delta", message_delta},
    {"ping", ping},
};

int metallm__anthropic_event_in(struct metallm__hearing *h, const struct metallm__wire_event *event,
                                bool *is_end)
{
    yyjson_val *root = NULL;
    int rc = metallm__hear_json(h, event->data, &root);
    if (rc != METALLM_OK)
        return rc;
    struct metallm__span type = metallm__wire_text(yyjson_obj_get(root, "type"));
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        if (metallm__span_is(type, events[i].type))
            return events[i].read(h, root);
    *is_end = metallm__span_is(type, "message_stop");
    return metallm__anthropic_error(root, h->err) ? METALLM_EFORMAT : METALLM_OK;
}
