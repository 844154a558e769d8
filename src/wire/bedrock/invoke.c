/* SPDX-License-Identifier: Apache-2.0
 * invoke.c - the protocol of Amazon Bedrock's InvokeModel for Amazon's Titan models, which
 * have forms of their own: text, whole and streamed, and embeddings. Source: AWS, "Amazon Bedrock
 * User Guide", inference parameters of Titan Text and Titan Embeddings. A conversation is told as
 * "User: ...\nBot: ...", the form that the guide names, with the system's instructions before it;
 * what has no place in it is refused. */
#include <math.h>

#include "base/error.h"
#include "wire/bedrock/bedrock.h"
#include "wire/vectors.h"

#define NAME               "bedrock-invoke"
#define PREMIER_TOKENS_MAX 3072u /* of an answer: less than the others' */

static bool has(struct metallm__span text, const char *part)
{
    return text.n > 0 && memmem(text.p, text.n, part, strlen(part)) != NULL;
}

/* An ARN may not tell what the model is. */
static int check_model(struct metallm__span model, metallm_error *err)
{
    return has(model, "titan") || metallm__bedrock_vendor(model) == METALLM__BEDROCK_UNKNOWN
               ? METALLM_OK
               : metallm__error_set(err, METALLM_EINVAL,
                                    "'" NAME "' speaks to Amazon's Titan models alone; the others "
                                    "are asked by 'bedrock'");
}

/* ---- Text. ---- */

static int put_turn(struct metallm__buf *text, const struct metallm__turn *turn, metallm_error *err)
{
    static const char *const names[] = {"", "User: ", "Bot: "};
    if (text->len > 0)
        metallm__buf_add(text, "\n", 1);
    metallm__buf_puts(text, names[turn->role]);
    size_t before = text->len;
    for (size_t i = 0; i < turn->part_count; i++) {
        const struct metallm__part *p = &turn->parts[i];
        if (p->kind == METALLM__PART_TEXT || p->kind == METALLM__PART_REFUSAL)
            metallm__buf_add(text, p->text.p, p->text.n);
        else if (p->kind != METALLM__PART_REASONING) /* which is dropped */
            return metallm__error_set(err, METALLM_EINVAL, "only text can be said to " NAME);
    }
    if (turn->role == METALLM__ROLE_SYSTEM && text->len > before)
        metallm__buf_add(text, "\n", 1);
    return METALLM_OK;
}

static int write_input(const struct metallm__talk *talk, struct metallm__jw *j, metallm_error *err)
{
    struct metallm__buf text;
    int rc = METALLM_OK;
    metallm__buf_init(&text, j->out->max);
    for (size_t i = 0; i < talk->turn_count && rc == METALLM_OK; i++)
        rc = put_turn(&text, &talk->turns[i], err);
    bool is_users =
        talk->turn_count > 0 && talk->turns[talk->turn_count - 1].role == METALLM__ROLE_USER;
    if (is_users) /* else the answer goes on from the Bot's words */
        metallm__buf_puts(&text, "\nBot:");
    if (rc == METALLM_OK)
        rc = metallm__buf_check(&text, err);
    metallm__jw_name(j, "inputText");
    metallm__jw_bytes(j, text.data, text.len);
    metallm__buf_fini(&text);
    return rc;
}

static bool is_share(double value)
{
    return isnan(value) || (value >= 0 && value <= 1);
}

static int write_config(const struct metallm__talk *talk, const struct metallm__wire_target *t,
                        struct metallm__jw *j, metallm_error *err)
{
    uint32_t most = talk->max_tokens > 0 ? talk->max_tokens : t->max_tokens;
    if (talk->max_tokens == 0 && most > PREMIER_TOKENS_MAX && has(t->model, "premier"))
        most = PREMIER_TOKENS_MAX;
    if (!is_share(talk->temperature) || !is_share(talk->top_p))
        return metallm__error_set(err, METALLM_EINVAL,
                                  "temperature and top_p above 1 cannot be said to " NAME);
    metallm__jw_name(j, "textGenerationConfig");
    metallm__jw_open(j, '{');
    if (!isnan(talk->temperature)) {
        metallm__jw_name(j, "temperature");
        metallm__jw_real(j, talk->temperature);
    }
    if (!isnan(talk->top_p)) {
        metallm__jw_name(j, "topP");
        metallm__jw_real(j, talk->top_p);
    }
    if (most > 0) {
        metallm__jw_name(j, "maxTokenCount");
        metallm__jw_count(j, most);
    }
    if (talk->stop_count > 0) {
        metallm__jw_name(j, "stopSequences");
        metallm__jw_open(j, '[');
        for (size_t i = 0; i < talk->stop_count; i++)
            metallm__jw_span(j, talk->stops[i]);
        metallm__jw_close(j, ']');
    }
    metallm__jw_close(j, '}');
    return METALLM_OK;
}

static int talk_out(const struct metallm__talk *talk, const struct metallm__wire_target *t,
                    struct metallm__wire_out *out, metallm_error *err)
{
    struct metallm__jw j = {.out = &out->made};
    int rc = check_model(t->model, err);
    if (rc == METALLM_OK)
        rc = metallm__bedrock_path(
            out, t->model, talk->is_stream ? "/invoke-with-response-stream" : "/invoke", err);
    metallm__jw_open(&j, '{');
    if (rc == METALLM_OK)
        rc = write_input(talk, &j, err);
    if (rc == METALLM_OK)
        rc = write_config(talk, t, &j, err);
    metallm__jw_close(&j, '}');
    return rc == METALLM_OK ? metallm__buf_check(&out->made, err) : rc;
}

static enum metallm__wire_finish finish_of(struct metallm__span reason)
{
    return reason.n == 0 ? METALLM__WIRE_FINISH_NONE
           : metallm__span_is(reason, "FINISH") || metallm__span_is(reason, "FINISHED")
               ? METALLM__WIRE_FINISH_STOP
           : metallm__span_is(reason, "LENGTH")            ? METALLM__WIRE_FINISH_LENGTH
           : metallm__span_is(reason, "STOP_CRITERIA_MET") ? METALLM__WIRE_FINISH_SEQUENCE
           : metallm__span_is(reason, "CONTENT_FILTERED")  ? METALLM__WIRE_FINISH_FILTER
                                                           : METALLM__WIRE_FINISH_OTHER;
}

static int said_in(yyjson_val *root, struct metallm__pool *pool, struct metallm__said *out,
                   metallm_error *err)
{
    struct metallm__part_list parts = {.pool = pool};
    yyjson_val *result = yyjson_arr_get_first(yyjson_obj_get(root, "results"));
    if (!yyjson_is_obj(result)) {
        int rc = metallm__bedrock_check(root, err);
        return rc != METALLM_OK
                   ? rc
                   : metallm__error_set(err, METALLM_EFORMAT, "the answer has no 'results'");
    }
    struct metallm__span text = metallm__wire_text(yyjson_obj_get(result, "outputText"));
    struct metallm__part *p = text.n > 0 ? metallm__part_add(&parts, METALLM__PART_TEXT) : NULL;
    if (p != NULL)
        p->text = text;
    out->parts = parts.items;
    out->part_count = parts.count;
    out->finish = finish_of(metallm__wire_text(yyjson_obj_get(result, "completionReason")));
    metallm__json_tokens(yyjson_obj_get(root, "inputTextTokenCount"), &out->usage.input_tokens);
    metallm__json_tokens(yyjson_obj_get(result, "tokenCount"), &out->usage.output_tokens);
    return metallm__pool_check(pool, err);
}

/* ---- Streams: events "chunk" with bytes that are JSON once more. ---- */

/* -1: it is no digit of base64 (RFC 4648, 4). */
static int digit_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* What base64 stands for, in the pool; an empty span: it is none, or the pool failed. */
static struct metallm__span decode(struct metallm__pool *pool, struct metallm__span text)
{
    const struct metallm__span none = {NULL, 0};
    while (text.n > 0 && text.p[text.n - 1] == '=')
        text.n--;
    char *out = text.n > 0 ? metallm__pool_take(pool, text.n / 4 * 3 + 3, 1) : NULL;
    uint32_t bits = 0;
    size_t n = 0;
    if (out == NULL)
        return none;
    for (size_t i = 0; i < text.n; i++) {
        int digit = digit_of(text.p[i]);
        if (digit < 0)
            return none;
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4 > 0)
            out[n++] = (char)(bits >> (6 - 2 * (i % 4)) & 0xff);
    }
    return metallm__span(out, n);
}

static int hear_chunk(struct metallm__hearing *h, yyjson_val *root)
{
    const struct metallm__delta begin = {.part = METALLM__PART_TEXT};
    const struct metallm__span none = {NULL, 0};
    struct metallm__wire_usage usage = METALLM__WIRE_USAGE_UNKNOWN;
    struct metallm__span text = metallm__wire_text(yyjson_obj_get(root, "outputText"));
    enum metallm__wire_finish finish =
        finish_of(metallm__wire_text(yyjson_obj_get(root, "completionReason")));
    int rc = metallm__hear_start(h, none, none);
    if (rc == METALLM_OK && text.n > 0 && !h->is_open)
        rc = metallm__hear_begin(h, &begin, 0);
    if (rc == METALLM_OK && text.n > 0)
        rc = metallm__hear_text(h, text);
    metallm__json_tokens(yyjson_obj_get(root, "inputTextTokenCount"), &usage.input_tokens);
    metallm__json_tokens(yyjson_obj_get(root, "totalOutputTextTokenCount"), &usage.output_tokens);
    if (rc == METALLM_OK && (usage.input_tokens >= 0 || usage.output_tokens >= 0))
        rc = metallm__hear_usage(h, &usage);
    return rc == METALLM_OK && finish != METALLM__WIRE_FINISH_NONE
               ? metallm__hear_finish(h, finish, none)
               : rc;
}

static int event_in(struct metallm__hearing *h, const struct metallm__wire_event *event,
                    bool *is_end)
{
    yyjson_val *root = NULL;
    (void)is_end; /* nothing tells it but the stream's end */
    if (event->is_error)
        return metallm__bedrock_exception(h, event);
    if (!metallm__span_is(event->name, "chunk"))
        return METALLM_OK;
    int rc = metallm__hear_json(h, event->data, &root);
    if (rc != METALLM_OK)
        return rc;
    struct metallm__span json = decode(&h->pool, metallm__wire_text(yyjson_obj_get(root, "bytes")));
    rc = metallm__pool_check(&h->pool, h->err);
    if (rc == METALLM_OK)
        rc = metallm__hear_json(h, json, &root);
    return rc == METALLM_OK ? hear_chunk(h, root) : rc;
}

/* ---- Embeddings: one text a request. ---- */

static int embed_out(const struct metallm__wire_request *r, const struct metallm__wire_target *t,
                     struct metallm__wire_out *out, metallm_error *err)
{
    struct metallm__vectors_ask ask;
    struct metallm__jw j = {.out = &out->made};
    bool is_image_model = has(t->model, "embed-image");
    int rc = check_model(t->model, err);
    if (rc == METALLM_OK)
        rc = metallm__vectors_read(&ask, r, NAME, err);
    if (rc == METALLM_OK && ask.count != 1)
        rc = metallm__error_set(err, METALLM_EINVAL, "Titan embeds one text at a time");
    if (rc == METALLM_OK && ask.dimensions > 0 &&
        (has(t->model, "embed-text-v1") || has(t->model, "embed-g1")))
        rc = metallm__error_set(err, METALLM_EINVAL,
                                "'dimensions' cannot be said to this model of " NAME);
    if (rc == METALLM_OK)
        rc = metallm__bedrock_path(out, t->model, "/invoke", err);
    if (rc != METALLM_OK)
        return rc;
    metallm__jw_open(&j, '{');
    metallm__jw_name(&j, "inputText");
    metallm__jw_span(&j, metallm__vectors_text(&ask, 0));
    if (ask.dimensions > 0 && is_image_model) {
        metallm__jw_name(&j, "embeddingConfig");
        metallm__jw_raw(&j, "{\"outputEmbeddingLength\":");
        j.wants_comma = false;
        metallm__jw_count(&j, ask.dimensions);
        metallm__jw_close(&j, '}');
    } else if (ask.dimensions > 0) {
        metallm__jw_name(&j, "dimensions");
        metallm__jw_count(&j, ask.dimensions);
    }
    metallm__jw_close(&j, '}');
    return metallm__buf_check(&out->made, err);
}

static int embed_in(yyjson_val *root, const struct metallm__wire_request *r,
                    struct metallm__buf *out, struct metallm__wire_answer *answer,
                    metallm_error *err)
{
    struct metallm__vectors_ask ask;
    struct metallm__jw j = {.out = out};
    yyjson_val *vector = yyjson_obj_get(root, "embedding");
    int rc = vector == NULL ? metallm__bedrock_check(root, err) : METALLM_OK;
    if (rc == METALLM_OK)
        rc = metallm__vectors_read(&ask, r, NAME, err);
    if (rc != METALLM_OK)
        return rc;
    metallm__json_tokens(yyjson_obj_get(root, "inputTextTokenCount"), &answer->usage.input_tokens);
    metallm__vectors_begin(&j);
    rc = metallm__vectors_one(&j, 0, vector, ask.is_base64, err);
    metallm__vectors_end(&j, r, answer->usage.input_tokens);
    return rc == METALLM_OK ? metallm__buf_check(out, err) : rc;
}

#define CARRIED METALLM__VERDICT_CARRIED
#define DROPPED METALLM__VERDICT_DROPPED
static const uint8_t verdicts[METALLM__FEATURES] = {
    [METALLM__FEATURE_TEMPERATURE] = CARRIED, /* up to 1 */
    [METALLM__FEATURE_TOP_P] = CARRIED,           [METALLM__FEATURE_STOP] = CARRIED,
    [METALLM__FEATURE_IMAGE_DETAIL] = DROPPED,    [METALLM__FEATURE_REASONING_HISTORY] = DROPPED,
    [METALLM__FEATURE_REFUSAL_HISTORY] = CARRIED, /* as text */
    [METALLM__FEATURE_PREFILL] = CARRIED,         [METALLM__FEATURE_TURN_NAMES] = DROPPED,
    [METALLM__FEATURE_CACHE_MARKS] = DROPPED,     [METALLM__FEATURE_USER] = DROPPED,
    [METALLM__FEATURE_METADATA] = DROPPED,        [METALLM__FEATURE_STORE] = DROPPED,
    [METALLM__FEATURE_SERVICE_TIER] = DROPPED,    [METALLM__FEATURE_PREDICTION] = DROPPED,
};

const struct metallm__wire metallm__wire_bedrock_invoke = {
    .name = NAME,
    .verdicts = verdicts,
    .framing = METALLM__FRAMING_AWS,
    .accept = "application/vnd.amazon.eventstream",
    .head_out = metallm__bedrock_head_out,
    .talk_out = talk_out,
    .said_in = said_in,
    .event_in = event_in,
    .error_in = metallm__bedrock_error_in,
    .embed_out = embed_out,
    .embed_in = embed_in,
};
