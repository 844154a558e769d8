/* SPDX-License-Identifier: Apache-2.0
 * bedrock.c - the protocol of Amazon Bedrock's Converse and ConverseStream: its verdicts, its head,
 * its errors. A request is signed (Signature Version 4), or carries a Bedrock API key. */
#include "wire/bedrock/bedrock.h"

#include "base/error.h"
#include "wire/bedrock/sigv4.h"

static int sign(const struct metallm__wire_target *t, const struct metallm__wire_out *body,
                int64_t wall_ms, struct metallm__buf *lines, metallm_error *err)
{
    static const struct metallm__span host = METALLM__SPAN("host");
    static const struct metallm__span type = METALLM__SPAN("content-type");
    static const struct metallm__span json = METALLM__SPAN("application/json");
    const struct metallm__sigv4_header headers[] = {{host, t->host}, {type, json}};
    struct metallm__buf path;
    if (t->aws.id.n == 0)
        return metallm__error_set(err, METALLM_EINVAL, "there are no AWS credentials to sign with");
    METALLM_REQUIRE(body->span_count == 1); /* nothing native passes */
    metallm__buf_init(&path, t->base_path.n + body->path.n);
    metallm__buf_add(&path, t->base_path.p, t->base_path.n);
    metallm__buf_add(&path, body->path.p, body->path.n);
    const struct metallm__sigv4 r = {
        .method = METALLM__SPAN("POST"),
        .path = {path.data, path.len},
        .headers = headers,
        .header_count = sizeof headers / sizeof *headers,
        .payload = body->spans[0],
        .wall_s = wall_ms / 1000,
        .region = t->region,
        .service = METALLM__SPAN("bedrock"),
        .key_id = t->aws.id,
        .secret = t->aws.secret,
        .token = t->aws.token,
    };
    int rc = metallm__buf_check(&path, err);
    if (rc == METALLM_OK)
        rc = metallm__sigv4_sign(&r, lines, err);
    metallm__buf_fini(&path);
    return rc;
}

int metallm__bedrock_head_out(const struct metallm__wire_target *t,
                              const struct metallm__wire_out *body, int64_t wall_ms,
                              struct metallm__buf *lines, metallm_error *err)
{
    if (t->key.n == 0)
        return sign(t, body, wall_ms, lines, err);
    metallm__buf_puts(lines, "authorization: Bearer ");
    metallm__buf_add(lines, t->key.p, t->key.n);
    metallm__buf_puts(lines, "\r\n");
    return metallm__buf_check(lines, err);
}

int metallm__bedrock_path(struct metallm__wire_out *out, struct metallm__span model,
                          const char *name, metallm_error *err)
{
    metallm__buf_puts(&out->path_made, "/model/");
    metallm__wire_segment_write(&out->path_made, model);
    metallm__buf_puts(&out->path_made, name);
    out->path = metallm__span(out->path_made.data, out->path_made.len);
    return metallm__buf_check(&out->path_made, err);
}

static bool has(struct metallm__span text, const char *part)
{
    return text.n > 0 && memmem(text.p, text.n, part, strlen(part)) != NULL;
}

enum metallm__bedrock_vendor metallm__bedrock_vendor(struct metallm__span model)
{
    if (has(model, "anthropic."))
        return METALLM__BEDROCK_CLAUDE;
    if (has(model, "amazon.nova"))
        return METALLM__BEDROCK_NOVA;
    bool is_arn = model.n > 4 && memcmp(model.p, "arn:", 4) == 0;
    return is_arn && !has(model, ":foundation-model/") && !has(model, ":inference-profile/")
               ? METALLM__BEDROCK_UNKNOWN
               : METALLM__BEDROCK_OTHER;
}

/* ---- Errors. ---- */

/* "com.amazon.coral.service#ValidationException:http://..." is "ValidationException". */
static struct metallm__span short_type(struct metallm__span type)
{
    const char *hash = type.n > 0 ? memchr(type.p, '#', type.n) : NULL;
    if (hash != NULL)
        type = metallm__span(hash + 1, (size_t)(type.p + type.n - hash - 1));
    const char *colon = type.n > 0 ? memchr(type.p, ':', type.n) : NULL;
    return colon != NULL ? metallm__span(type.p, (size_t)(colon - type.p)) : type;
}

static struct metallm__span message_of(yyjson_val *root)
{
    struct metallm__span s = metallm__wire_text(yyjson_obj_get(root, "message"));
    if (s.n == 0)
        s = metallm__wire_text(yyjson_obj_get(root, "Message"));
    return s.n > 0 ? s : metallm__wire_text(yyjson_obj_get(root, "originalMessage"));
}

static struct metallm__span type_of(yyjson_val *root)
{
    struct metallm__span s = metallm__wire_text(yyjson_obj_get(root, "__type"));
    return short_type(s.n > 0 ? s : metallm__wire_text(yyjson_obj_get(root, "code")));
}

void metallm__bedrock_error_in(struct metallm__span body, struct metallm__wire_error *out)
{
    yyjson_doc *doc = NULL;
    *out = (struct metallm__wire_error){.message = ""};
    if (metallm__json_read(&doc, body.n > 0 ? body.p : "", body.n, NULL) != METALLM_OK)
        return;
    yyjson_val *root = yyjson_doc_get_root(doc);
    metallm__wire_text_copy(out->message, sizeof out->message, message_of(root));
    metallm__wire_text_copy(out->type, sizeof out->type, type_of(root));
    metallm__wire_text_copy(out->code, sizeof out->code, type_of(root));
    yyjson_doc_free(doc);
}

static int tell_error(struct metallm__span type, struct metallm__span message, metallm_error *err)
{
    char name[64], text[160];
    metallm__wire_text_copy(name, sizeof name, type);
    metallm__wire_text_copy(text, sizeof text, message);
    return metallm__error_set(err, METALLM_EFORMAT, "%s%s%s", name[0] != '\0' ? name : "an error",
                              text[0] != '\0' ? ": " : "", text);
}

int metallm__bedrock_check(yyjson_val *root, metallm_error *err)
{
    struct metallm__span type = type_of(root), message = message_of(root);
    return type.n > 0 || message.n > 0 ? tell_error(type, message, err) : METALLM_OK;
}

int metallm__bedrock_exception(struct metallm__hearing *h, const struct metallm__wire_event *event)
{
    struct metallm__wire_error e;
    metallm__bedrock_error_in(event->data, &e);
    struct metallm__span message = e.message[0] != '\0' ? metallm__span_of(e.message) : event->data;
    return tell_error(event->name, message, h->err);
}

/* What each feature comes to. Sampling that Converse has no field for is refused but for top_k,
 * which Claude and Nova take beside it. */
#define CARRIED METALLM__VERDICT_CARRIED
#define DROPPED METALLM__VERDICT_DROPPED
static const uint8_t verdicts[METALLM__FEATURES] = {
    [METALLM__FEATURE_TEMPERATURE] = CARRIED, /* up to 1 */
    [METALLM__FEATURE_TOP_P] = CARRIED,
    [METALLM__FEATURE_TOP_K] = CARRIED, /* to Claude and Nova */
    [METALLM__FEATURE_STOP] = CARRIED,
    [METALLM__FEATURE_TOOLS] = CARRIED,
    [METALLM__FEATURE_TOOL_CHOICE_ANY] = CARRIED,
    [METALLM__FEATURE_TOOL_CHOICE_NAMED] = CARRIED,
    [METALLM__FEATURE_STRICT_TOOLS] = CARRIED,
    [METALLM__FEATURE_TOOL_RESULT_IMAGES] = CARRIED,
    [METALLM__FEATURE_TOOL_RESULT_ERROR] = CARRIED,
    [METALLM__FEATURE_IMAGES] = CARRIED,
    [METALLM__FEATURE_IMAGE_DETAIL] = DROPPED,
    [METALLM__FEATURE_AUDIO] = CARRIED,
    [METALLM__FEATURE_FILES] = CARRIED,
    [METALLM__FEATURE_JSON_SCHEMA] = CARRIED,
    [METALLM__FEATURE_REASONING_EFFORT] = CARRIED,
    [METALLM__FEATURE_REASONING_BUDGET] = CARRIED,  /* to Claude */
    [METALLM__FEATURE_REASONING_HISTORY] = CARRIED, /* what Bedrock sealed; else dropped */
    [METALLM__FEATURE_REFUSAL_HISTORY] = CARRIED,   /* as text */
    [METALLM__FEATURE_SYSTEM_LATE] = CARRIED,
    [METALLM__FEATURE_PREFILL] = CARRIED,
    [METALLM__FEATURE_TURN_NAMES] = DROPPED,
    [METALLM__FEATURE_CACHE_MARKS] = CARRIED, /* where the model has a cache; else dropped */
    [METALLM__FEATURE_USER] = DROPPED,
    [METALLM__FEATURE_METADATA] = DROPPED,
    [METALLM__FEATURE_STORE] = DROPPED,
    [METALLM__FEATURE_SERVICE_TIER] = CARRIED, /* those that Bedrock has; others are dropped */
    [METALLM__FEATURE_PREDICTION] = DROPPED,
};

const struct metallm__wire metallm__wire_bedrock = {
    .name = "bedrock",
    .verdicts = verdicts,
    .framing = METALLM__FRAMING_AWS,
    .accept = "application/vnd.amazon.eventstream",
    .head_out = metallm__bedrock_head_out,
    .talk_out = metallm__bedrock_talk_out,
    .said_in = metallm__bedrock_said_in,
    .event_in = metallm__bedrock_event_in,
    .error_in = metallm__bedrock_error_in,
};
