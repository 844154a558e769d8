/* SPDX-License-Identifier: Apache-2.0
 * anthropic.c - the Messages protocol as an upstream's: its verdicts, its head, and the one edit
 * that a client's own bytes may need beyond those of every protocol. */
#include "wire/anthropic/anthropic.h"

#include "base/error.h"

static void write_line(struct metallm__buf *lines, const char *name, struct metallm__span value)
{
    if (value.n == 0)
        return;
    metallm__buf_puts(lines, name);
    metallm__buf_add(lines, value.p, value.n);
    metallm__buf_puts(lines, "\r\n");
}

/* Bodies of clients are of their version; those that are written here of the one which still takes
 * a temperature. */
static int head_out(const struct metallm__wire_target *t, const struct metallm__wire_out *body,
                    int64_t wall_ms, struct metallm__buf *lines, metallm_error *err)
{
    (void)wall_ms;
    bool has_version = body != NULL && body->version.n > 0;
    write_line(lines,
               "anthropic-version: ", has_version ? body->version : metallm__span_of("2023-06-01"));
    write_line(lines, "x-api-key: ", t->key);
    if (body != NULL)
        write_line(lines, "anthropic-beta: ", body->beta);
    return metallm__buf_check(lines, err);
}

/* ---- Thinking blocks of other LLMs, in a client's own bytes. ---- */

static bool is_foreign(struct metallm__span seal_of)
{
    return !metallm__span_is(seal_of, METALLM__ANTHROPIC_SEAL) &&
           !metallm__span_is(seal_of, METALLM__ANTHROPIC_REDACTED);
}

/* Is there reasoning among the turns that Anthropic did not sign, and so would refuse? */
static bool has_foreign(const struct metallm__talk *talk)
{
    if ((talk->features >> METALLM__FEATURE_REASONING_HISTORY & 1u) == 0)
        return false;
    for (size_t i = 0; i < talk->turn_count; i++)
        for (size_t k = 0; k < talk->turns[i].part_count; k++)
            if (talk->turns[i].parts[k].kind == METALLM__PART_REASONING &&
                is_foreign(talk->turns[i].parts[k].seal_of))
                return true;
    return false;
}

static bool is_block_foreign(yyjson_mut_val *block)
{
    static const char mark[] = "metallm:";
    yyjson_mut_val *type = yyjson_mut_obj_get(block, "type");
    bool is_thinking = yyjson_mut_equals_str(type, "thinking");
    if (!is_thinking && !yyjson_mut_equals_str(type, "redacted_thinking"))
        return false;
    const char *seal =
        yyjson_mut_get_str(yyjson_mut_obj_get(block, is_thinking ? "signature" : "data"));
    return seal == NULL || seal[0] == '\0' || strncmp(seal, mark, sizeof mark - 1) == 0;
}

/* Takes the foreign blocks out of a message; false: nothing is left of it. */
static bool clean_message(yyjson_mut_val *message)
{
    yyjson_mut_val *content = yyjson_mut_obj_get(message, "content"), *block;
    size_t before = yyjson_mut_arr_size(content);
    yyjson_mut_arr_iter i = yyjson_mut_arr_iter_with(content);
    while ((block = yyjson_mut_arr_iter_next(&i)) != NULL)
        if (is_block_foreign(block))
            yyjson_mut_arr_iter_remove(&i);
    return before == 0 || yyjson_mut_arr_size(content) > 0;
}

static void clean(yyjson_mut_doc *doc, const struct metallm__wire_target *t)
{
    yyjson_mut_val *root = yyjson_mut_doc_get_root(doc), *message;
    yyjson_mut_arr_iter i = yyjson_mut_arr_iter_with(yyjson_mut_obj_get(root, "messages"));
    while ((message = yyjson_mut_arr_iter_next(&i)) != NULL)
        if (!clean_message(message))
            yyjson_mut_arr_iter_remove(&i);
    yyjson_mut_obj_remove_key(root, "metallm");
    yyjson_mut_val *model = yyjson_mut_obj_get(root, "model");
    yyjson_mut_set_strn(model, t->model.p, t->model.n);
}

/* The client's body without them, numbers as they were written. */
static int write_clean(const struct metallm__wire_request *r, const struct metallm__wire_target *t,
                       struct metallm__wire_out *out, metallm_error *err)
{
    yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)r->body.p, r->body.n,
                                       YYJSON_READ_NUMBER_AS_RAW, &metallm__json_alc, NULL);
    yyjson_mut_doc *copy = doc != NULL ? yyjson_doc_mut_copy(doc, &metallm__json_alc) : NULL;
    size_t len = 0;
    char *text = NULL;
    if (copy != NULL) {
        clean(copy, t);
        text = yyjson_mut_write_opts(copy, YYJSON_WRITE_NOFLAG, &metallm__json_alc, &len, NULL);
    }
    yyjson_mut_doc_free(copy);
    yyjson_doc_free(doc);
    if (text == NULL)
        return metallm__error_nomem(err, "a request");
    metallm__buf_add(&out->made, text, len);
    metallm__json_alc.free(metallm__json_alc.ctx, text);
    out->spans[0] = metallm__span(out->made.data, out->made.len);
    out->span_count = 1;
    out->body_bytes = out->made.len;
    out->dropped = UINT64_C(1) << METALLM__FEATURE_REASONING_HISTORY;
    return metallm__buf_check(&out->made, err);
}

static int request_out(const struct metallm__wire_request *r, const struct metallm__wire_target *t,
                       struct metallm__wire_out *out, metallm_error *err)
{
    metallm__wire_native_out(&metallm__wire_anthropic, r, t, out);
    if (!r->has_talk || !has_foreign(&r->talk))
        return METALLM_OK;
    out->span_count = 0;
    return write_clean(r, t, out, err);
}

/* What each feature comes to. A name of a participant, or a hint about caches, images or prediction
 * does not change what is asked; all else that the API cannot be told is refused. */
#define CARRIED METALLM__VERDICT_CARRIED
#define DROPPED METALLM__VERDICT_DROPPED
static const uint8_t verdicts[METALLM__FEATURES] = {
    [METALLM__FEATURE_TEMPERATURE] = CARRIED, /* up to 1 */
    [METALLM__FEATURE_TOP_P] = CARRIED,
    [METALLM__FEATURE_TOP_K] = CARRIED,
    [METALLM__FEATURE_STOP] = CARRIED,
    [METALLM__FEATURE_TOOLS] = CARRIED,
    [METALLM__FEATURE_TOOL_CHOICE_NONE] = CARRIED,
    [METALLM__FEATURE_TOOL_CHOICE_ANY] = CARRIED,
    [METALLM__FEATURE_TOOL_CHOICE_NAMED] = CARRIED,
    [METALLM__FEATURE_PARALLEL_TOOLS_OFF] = CARRIED,
    [METALLM__FEATURE_STRICT_TOOLS] = CARRIED,
    [METALLM__FEATURE_TOOL_RESULT_IMAGES] = CARRIED,
    [METALLM__FEATURE_TOOL_RESULT_ERROR] = CARRIED,
    [METALLM__FEATURE_IMAGES] = CARRIED,
    [METALLM__FEATURE_IMAGE_URLS] = CARRIED,
    [METALLM__FEATURE_IMAGE_DETAIL] = DROPPED,
    [METALLM__FEATURE_FILES] = CARRIED, /* PDF and plain text */
    [METALLM__FEATURE_FILE_URLS] = CARRIED,
    [METALLM__FEATURE_JSON_SCHEMA] = CARRIED,
    [METALLM__FEATURE_REASONING_EFFORT] = CARRIED,
    [METALLM__FEATURE_REASONING_BUDGET] = CARRIED,
    [METALLM__FEATURE_REASONING_HISTORY] = CARRIED, /* what Anthropic signed; else dropped */
    [METALLM__FEATURE_REFUSAL_HISTORY] = CARRIED,   /* as text */
    [METALLM__FEATURE_SYSTEM_LATE] = CARRIED,
    [METALLM__FEATURE_PREFILL] = CARRIED,
    [METALLM__FEATURE_TURN_NAMES] = DROPPED,
    [METALLM__FEATURE_CACHE_MARKS] = CARRIED,
    [METALLM__FEATURE_USER] = CARRIED,
    [METALLM__FEATURE_METADATA] = DROPPED,
    [METALLM__FEATURE_STORE] = DROPPED,
    [METALLM__FEATURE_SERVICE_TIER] = CARRIED, /* "default"; others are dropped */
    [METALLM__FEATURE_PREDICTION] = DROPPED,
};

const struct metallm__wire metallm__wire_anthropic = {
    .name = "anthropic",
    .native = 1u << METALLM__WIRE_MESSAGES | 1u << METALLM__WIRE_COUNT,
    .native_paths =
        {[METALLM__WIRE_MESSAGES] = "/messages", [METALLM__WIRE_COUNT] = "/messages/count_tokens"},
    .verdicts = verdicts,
    .framing = METALLM__FRAMING_SSE,
    .accept = "text/event-stream",
    .is_head_static = false, /* a client's version and beta go with its body */
    .head_out = head_out,
    .talk_out = metallm__anthropic_talk_out,
    .said_in = metallm__anthropic_said_in,
    .event_in = metallm__anthropic_event_in,
    .error_in = metallm__anthropic_error_in,
    .request_out = request_out,
};
