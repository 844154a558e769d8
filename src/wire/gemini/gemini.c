/* SPDX-License-Identifier: Apache-2.0
 * gemini.c - the protocol of Google's Gemini API (v1beta), as an upstream: what it can say, its
 * key, its errors. The rest is in gemini_*.c. Shapes are those of Google's own SDK (google-genai
 * 3.6.1, types.py). */
#include "wire/gemini/gemini.h"

#include "base/json.h"
#include "wire/json_text.h"

#define RETRY_S_MAX 1000000u

#define R METALLM__VERDICT_REFUSED
#define D METALLM__VERDICT_DROPPED
#define C METALLM__VERDICT_CARRIED

static const uint8_t verdicts[METALLM__FEATURES] = {
    [METALLM__FEATURE_TEMPERATURE] = C,
    [METALLM__FEATURE_TOP_P] = C,
    [METALLM__FEATURE_TOP_K] = C,
    [METALLM__FEATURE_STOP] = C,
    [METALLM__FEATURE_SEED] = C,
    [METALLM__FEATURE_FREQUENCY_PENALTY] = C,
    [METALLM__FEATURE_PRESENCE_PENALTY] = C,
    [METALLM__FEATURE_LOGIT_BIAS] = R,
    [METALLM__FEATURE_LOGPROBS] = C, /* of whole answers */
    [METALLM__FEATURE_CHOICES] = R,
    [METALLM__FEATURE_TOOLS] = C,
    [METALLM__FEATURE_TOOL_CHOICE_NONE] = C,
    [METALLM__FEATURE_TOOL_CHOICE_ANY] = C,
    [METALLM__FEATURE_TOOL_CHOICE_NAMED] = C,
    [METALLM__FEATURE_PARALLEL_TOOLS_OFF] = R,
    [METALLM__FEATURE_STRICT_TOOLS] = C, /* mode VALIDATED */
    [METALLM__FEATURE_HOSTED_TOOLS] = R,
    [METALLM__FEATURE_TOOL_RESULT_IMAGES] = C,
    [METALLM__FEATURE_TOOL_RESULT_ERROR] = C,
    [METALLM__FEATURE_IMAGES] = C,
    [METALLM__FEATURE_IMAGE_URLS] = C,
    [METALLM__FEATURE_IMAGE_DETAIL] = D,
    [METALLM__FEATURE_AUDIO] = C,
    [METALLM__FEATURE_FILES] = C,
    [METALLM__FEATURE_FILE_URLS] = C,
    [METALLM__FEATURE_FILE_IDS] = R,
    [METALLM__FEATURE_JSON] = C,
    [METALLM__FEATURE_JSON_SCHEMA] = C,
    [METALLM__FEATURE_REASONING_EFFORT] = C,
    [METALLM__FEATURE_REASONING_BUDGET] = C,
    [METALLM__FEATURE_REASONING_HISTORY] = C, /* its own; talk_out tells what it left out */
    [METALLM__FEATURE_REFUSAL_HISTORY] = C,   /* as text */
    [METALLM__FEATURE_SYSTEM_LATE] = R,
    [METALLM__FEATURE_PREFILL] = R,
    [METALLM__FEATURE_TURN_NAMES] = D,
    [METALLM__FEATURE_CACHE_MARKS] = D,
    [METALLM__FEATURE_USER] = D,
    [METALLM__FEATURE_METADATA] = D,
    [METALLM__FEATURE_STORE] = D,
    [METALLM__FEATURE_STATE] = R,
    [METALLM__FEATURE_SERVICE_TIER] = D,
    [METALLM__FEATURE_VERBOSITY] = R,
    [METALLM__FEATURE_PREDICTION] = D,
    [METALLM__FEATURE_AUDIO_OUT] = R,
    [METALLM__FEATURE_COMPLETION_EXTRAS] = R,
    [METALLM__FEATURE_OTHER] = R,
};

static int head_out(const struct metallm__wire_target *t, const struct metallm__wire_out *body,
                    int64_t wall_ms, struct metallm__buf *lines, metallm_error *err)
{
    (void)body;
    (void)wall_ms;
    if (t->key.n > 0) {
        metallm__buf_puts(lines, "x-goog-api-key: ");
        metallm__buf_add(lines, t->key.p, t->key.n);
        metallm__buf_puts(lines, "\r\n");
    }
    return metallm__buf_check(lines, err);
}

/* A delay as "46s" or "3.5s", in milliseconds; 0: it is none. */
static uint64_t delay_ms(struct metallm__span text)
{
    uint64_t whole = 0, thousandths = 0, unit = 100;
    size_t i = 0;
    for (; i < text.n && text.p[i] >= '0' && text.p[i] <= '9' && whole < RETRY_S_MAX; i++)
        whole = whole * 10 + (uint64_t)(text.p[i] - '0');
    if (i < text.n && text.p[i] == '.')
        for (i++; i < text.n && text.p[i] >= '0' && text.p[i] <= '9'; i++, unit /= 10)
            thousandths += unit * (uint64_t)(text.p[i] - '0');
    return i + 1 == text.n && text.p[i] == 's' ? whole * 1000 + thousandths : 0;
}

/* google.rpc: ErrorInfo tells the reason in one word, RetryInfo when to come again. */
static void read_details(yyjson_val *details, struct metallm__wire_error *out)
{
    yyjson_arr_iter i = yyjson_arr_iter_with(details);
    for (yyjson_val *one; (one = yyjson_arr_iter_next(&i)) != NULL;) {
        struct metallm__span reason = metallm__wire_text(yyjson_obj_get(one, "reason"));
        struct metallm__span delay = metallm__wire_text(yyjson_obj_get(one, "retryDelay"));
        if (reason.n > 0)
            metallm__wire_text_copy(out->code, sizeof out->code, reason);
        if (delay.n > 0)
            out->retry_after_ms = delay_ms(delay);
    }
}

static void error_in(struct metallm__span body, struct metallm__wire_error *out)
{
    *out = (struct metallm__wire_error){0};
    yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)(body.n > 0 ? body.p : ""), body.n,
                                       YYJSON_READ_NOFLAG, &metallm__json_alc, NULL);
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (yyjson_is_arr(root)) /* a stream that was not asked for as events */
        root = yyjson_arr_get_first(root);
    yyjson_val *error = yyjson_obj_get(root, "error");
    struct metallm__span status = metallm__wire_text(yyjson_obj_get(error, "status"));
    metallm__wire_text_copy(out->message, sizeof out->message,
                            metallm__wire_text(yyjson_obj_get(error, "message")));
    metallm__wire_text_copy(out->type, sizeof out->type, status);
    metallm__wire_text_copy(out->code, sizeof out->code, status);
    read_details(yyjson_obj_get(error, "details"), out);
    yyjson_doc_free(doc);
}

const struct metallm__wire metallm__wire_gemini = {
    .name = METALLM__GEMINI,
    .verdicts = verdicts,
    .framing = METALLM__FRAMING_SSE,
    .accept = "text/event-stream",
    .is_head_static = true,
    .head_out = head_out,
    .talk_out = metallm__gemini_talk_out,
    .said_in = metallm__gemini_said_in,
    .event_in = metallm__gemini_event_in,
    .error_in = error_in,
    .embed_out = metallm__gemini_embed_out,
    .embed_in = metallm__gemini_embed_in,
};
