/* SPDX-License-Identifier: Apache-2.0
 * stream_in.c - the events of ConverseStream as deltas. Text and reasoning have no event
 * that begins them; a tool's call has. Events and blocks that are not known are passed over. */
#include "base/error.h"
#include "wire/bedrock/bedrock.h"

/* hearing.state */
#define HAS_ARGUMENTS 1u /* of the call that is open, some text was told */

static uint64_t index_of(yyjson_val *root)
{
    uint64_t index = 0;
    (void)metallm__json_count(yyjson_obj_get(root, "contentBlockIndex"), UINT64_MAX, &index);
    return index;
}

/* A tool that takes nothing tells no arguments. */
static int end_part(struct metallm__hearing *h)
{
    int rc = METALLM_OK;
    if (h->is_open && h->open == METALLM__PART_CALL && (h->state & HAS_ARGUMENTS) == 0)
        rc = metallm__hear_text(h, metallm__span_of("{}"));
    h->state = 0;
    return rc == METALLM_OK ? metallm__hear_end(h) : rc;
}

/* The open part is of this kind and number, or becomes so. */
static int be_in(struct metallm__hearing *h, enum metallm__part_kind kind, yyjson_val *root)
{
    uint64_t index = index_of(root);
    const struct metallm__delta d = {.part = kind};
    if (h->is_open && h->open == kind && h->index == index)
        return METALLM_OK;
    int rc = end_part(h);
    return rc == METALLM_OK ? metallm__hear_begin(h, &d, index) : rc;
}

static int message_start(struct metallm__hearing *h, yyjson_val *root)
{
    (void)root;
    const struct metallm__span none = {NULL, 0};
    return metallm__hear_start(h, none, none);
}

static int block_start(struct metallm__hearing *h, yyjson_val *root)
{
    yyjson_val *tool = yyjson_obj_get(yyjson_obj_get(root, "start"), "toolUse");
    int rc = end_part(h);
    if (rc != METALLM_OK || tool == NULL || yyjson_obj_get(tool, "type") != NULL)
        return rc;
    const struct metallm__delta d = {
        .part = METALLM__PART_CALL,
        .id = metallm__wire_text(yyjson_obj_get(tool, "toolUseId")),
        .name = metallm__wire_text(yyjson_obj_get(tool, "name")),
    };
    return metallm__hear_begin(h, &d, index_of(root));
}

static int hear_arguments(struct metallm__hearing *h, yyjson_val *root, yyjson_val *tool)
{
    struct metallm__span input = metallm__wire_text(yyjson_obj_get(tool, "input"));
    if (!h->is_open || h->open != METALLM__PART_CALL || h->index != index_of(root))
        return METALLM_OK; /* of a call that is passed over */
    if (input.n > 0)
        h->state |= HAS_ARGUMENTS;
    return metallm__hear_text(h, input);
}

static int hear_reasoning(struct metallm__hearing *h, yyjson_val *root, yyjson_val *v)
{
    struct metallm__span text = metallm__wire_text(yyjson_obj_get(v, "text"));
    struct metallm__span seal = metallm__wire_text(yyjson_obj_get(v, "signature"));
    struct metallm__span redacted = metallm__wire_text(yyjson_obj_get(v, "redactedContent"));
    if (text.n + seal.n + redacted.n == 0)
        return METALLM_OK;
    int rc = be_in(h, METALLM__PART_REASONING, root);
    if (rc == METALLM_OK)
        rc = metallm__hear_text(h, text);
    if (rc == METALLM_OK)
        rc = metallm__hear_seal(h, seal, METALLM__BEDROCK_SEAL);
    return rc == METALLM_OK ? metallm__hear_seal(h, redacted, METALLM__BEDROCK_REDACTED) : rc;
}

static int block_delta(struct metallm__hearing *h, yyjson_val *root)
{
    yyjson_val *delta = yyjson_obj_get(root, "delta"), *v;
    if ((v = yyjson_obj_get(delta, "text")) != NULL) {
        struct metallm__span text = metallm__wire_text(v);
        int rc = text.n > 0 ? be_in(h, METALLM__PART_TEXT, root) : METALLM_OK;
        return rc == METALLM_OK && text.n > 0 ? metallm__hear_text(h, text) : rc;
    }
    if ((v = yyjson_obj_get(delta, "toolUse")) != NULL)
        return hear_arguments(h, root, v);
    v = yyjson_obj_get(delta, "reasoningContent");
    return v != NULL ? hear_reasoning(h, root, v) : METALLM_OK;
}

static int block_stop(struct metallm__hearing *h, yyjson_val *root)
{
    (void)root;
    return end_part(h);
}

static int message_stop(struct metallm__hearing *h, yyjson_val *root)
{
    const struct metallm__span none = {NULL, 0};
    enum metallm__wire_finish finish =
        metallm__bedrock_finish(metallm__wire_text(yyjson_obj_get(root, "stopReason")));
    int rc = end_part(h);
    if (rc != METALLM_OK || finish == METALLM__WIRE_FINISH_NONE)
        return rc;
    return metallm__hear_finish(h, finish, none);
}

/* The last event. */
static int metadata(struct metallm__hearing *h, yyjson_val *root)
{
    struct metallm__wire_usage usage = METALLM__WIRE_USAGE_UNKNOWN;
    yyjson_val *v = yyjson_obj_get(root, "usage");
    metallm__bedrock_usage_in(v, &usage);
    return v != NULL ? metallm__hear_usage(h, &usage) : METALLM_OK;
}

static const struct {
    const char *name;
    int (*read)(struct metallm__hearing *h, yyjson_val *root);
} events[] = {
    {"contentBlockDelta", block_delta}, /* the most frequent */
    {"contentBlockStart", block_start},
    {"contentBlockStop", block_stop},
    {"messageStart", message_start},
    {"messageStop", message_stop},
    {"metadata", metadata},
};

int metallm__bedrock_event_in(struct metallm__hearing *h, const struct metallm__wire_event *event,
                              bool *is_end)
{
    yyjson_val *root = NULL;
    if (event->is_error)
        return metallm__bedrock_exception(h, event);
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        if (!metallm__span_is(event->name, events[i].name))
            continue;
        int rc = metallm__hear_json(h, event->data, &root);
        if (rc == METALLM_OK)
            rc = events[i].read(h, root);
        *is_end = rc == METALLM_OK && events[i].read == metadata;
        return rc;
    }
    return METALLM_OK;
}
