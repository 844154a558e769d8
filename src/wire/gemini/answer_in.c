/* SPDX-License-Identifier: Apache-2.0
 * answer_in.c - answers of generateContent. A signature that stands in a part becomes a
 * textless piece of reasoning before it, which the writer of requests puts back. */
#include "base/error.h"
#include "wire/gemini/gemini.h"
#include "wire/talk_read.h"

int metallm__gemini_error_check(yyjson_val *root, metallm_error *err)
{
    yyjson_val *error =
        yyjson_obj_get(yyjson_is_arr(root) ? yyjson_arr_get_first(root) : root, "error");
    char message[160];
    if (error == NULL)
        return METALLM_OK;
    metallm__wire_text_copy(message, sizeof message,
                            metallm__wire_text(yyjson_obj_get(error, "message")));
    return metallm__error_set(err, METALLM_EFORMAT, "the upstream answered with an error: %s",
                              message[0] != '\0' ? message : "(no message)");
}

void metallm__gemini_usage_in(yyjson_val *usage, struct metallm__wire_usage *out)
{
    int64_t input = -1, output = -1, thoughts = -1, tools = -1, total = -1;
    metallm__json_tokens(yyjson_obj_get(usage, "promptTokenCount"), &input);
    metallm__json_tokens(yyjson_obj_get(usage, "toolUsePromptTokenCount"), &tools);
    metallm__json_tokens(yyjson_obj_get(usage, "candidatesTokenCount"), &output);
    metallm__json_tokens(yyjson_obj_get(usage, "thoughtsTokenCount"), &thoughts);
    metallm__json_tokens(yyjson_obj_get(usage, "totalTokenCount"), &total);
    metallm__json_tokens(yyjson_obj_get(usage, "cachedContentTokenCount"), &out->cached_tokens);
    if (input >= 0)
        out->input_tokens = input + (tools > 0 ? tools : 0);
    if (output < 0 && total >= 0 && input >= 0) /* nothing was written: the count is left out */
        output = 0;
    if (output >= 0 || thoughts >= 0)
        out->output_tokens = (output > 0 ? output : 0) + (thoughts > 0 ? thoughts : 0);
    if (thoughts >= 0)
        out->reasoning_tokens = thoughts;
    if (out->cached_tokens > out->input_tokens) /* a part of the input cannot be more than it */
        out->cached_tokens = out->input_tokens;
}

static const struct {
    const char *name;
    enum metallm__wire_finish finish; /* NONE: it broke off, and is no answer */
} reasons[] = {
    {"STOP", METALLM__WIRE_FINISH_STOP},
    {"MAX_TOKENS", METALLM__WIRE_FINISH_LENGTH},
    {"CONTINUATION", METALLM__WIRE_FINISH_LENGTH},
    {"SAFETY", METALLM__WIRE_FINISH_FILTER},
    {"RECITATION", METALLM__WIRE_FINISH_FILTER},
    {"LANGUAGE", METALLM__WIRE_FINISH_FILTER},
    {"BLOCKLIST", METALLM__WIRE_FINISH_FILTER},
    {"PROHIBITED_CONTENT", METALLM__WIRE_FINISH_FILTER},
    {"SPII", METALLM__WIRE_FINISH_FILTER},
    {"IMAGE_SAFETY", METALLM__WIRE_FINISH_FILTER},
    {"IMAGE_PROHIBITED_CONTENT", METALLM__WIRE_FINISH_FILTER},
    {"IMAGE_RECITATION", METALLM__WIRE_FINISH_FILTER},
    {"ESCALATION", METALLM__WIRE_FINISH_FILTER},
    {"MODEL_ARMOR", METALLM__WIRE_FINISH_FILTER},
    {"MALFORMED_FUNCTION_CALL", METALLM__WIRE_FINISH_NONE},
    {"UNEXPECTED_TOOL_CALL", METALLM__WIRE_FINISH_NONE},
    {"TOO_MANY_TOOL_CALLS", METALLM__WIRE_FINISH_NONE},
    {"MISSING_THOUGHT_SIGNATURE", METALLM__WIRE_FINISH_NONE},
    {"MALFORMED_RESPONSE", METALLM__WIRE_FINISH_NONE},
    {"PUP_LIMITED_DISABLED", METALLM__WIRE_FINISH_NONE},
};

int metallm__gemini_finish_in(yyjson_val *candidate, bool has_calls, enum metallm__wire_finish *out,
                              metallm_error *err)
{
    struct metallm__span reason = metallm__wire_text(yyjson_obj_get(candidate, "finishReason"));
    char why[120], name[48];
    enum metallm__wire_finish finish = METALLM__WIRE_FINISH_OTHER;
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (metallm__span_is(reason, reasons[i].name))
            finish = reasons[i].finish;
    if (reason.n > 0 && finish == METALLM__WIRE_FINISH_NONE) {
        metallm__wire_text_copy(name, sizeof name, reason);
        metallm__wire_text_copy(why, sizeof why,
                                metallm__wire_text(yyjson_obj_get(candidate, "finishMessage")));
        return metallm__error_set(err, METALLM_EFORMAT, "the answer broke off (%s)%s%s", name,
                                  why[0] != '\0' ? ": " : "", why);
    }
    if (reason.n == 0)
        finish = METALLM__WIRE_FINISH_NONE;
    if (finish == METALLM__WIRE_FINISH_STOP && has_calls)
        finish = METALLM__WIRE_FINISH_TOOLS;
    *out = finish;
    return METALLM_OK;
}

/* FNV-1a: an id must differ from call to call, and need not withstand anybody. */
static uint64_t mix(uint64_t hash, struct metallm__span text)
{
    for (size_t i = 0; i < text.n; i++)
        hash = (hash ^ (unsigned char)text.p[i]) * 0x100000001b3u;
    return (hash ^ 0xff) * 0x100000001b3u; /* no byte of UTF-8: the border */
}

struct metallm__span metallm__gemini_call_id(struct metallm__pool *pool, yyjson_val *call,
                                             struct metallm__span response_id, unsigned number,
                                             struct metallm__span args)
{
    struct metallm__span id = metallm__wire_text(yyjson_obj_get(call, "id"));
    if (id.n > 0)
        return id;
    char text[] = "call_0123456789abcdef";
    uint64_t hash = mix(0xcbf29ce484222325u, response_id);
    hash = mix(hash ^ number, (struct metallm__span){NULL, 0});
    hash = mix(hash, metallm__wire_text(yyjson_obj_get(call, "name")));
    hash = mix(hash, args);
    for (size_t i = 0; i < 16; i++)
        text[5 + i] = "0123456789abcdef"[hash >> (60 - 4 * i) & 15];
    return metallm__pool_copy(pool, metallm__span(text, sizeof text - 1));
}

static void add_seal(struct metallm__part_list *parts, struct metallm__span seal)
{
    struct metallm__part *p = metallm__part_add(parts, METALLM__PART_REASONING);
    if (p == NULL)
        return;
    p->seal = seal;
    p->seal_of = metallm__span_of(METALLM__GEMINI);
}

static void add_call(struct metallm__part_list *parts, yyjson_val *call,
                     struct metallm__span response_id, unsigned number)
{
    static const struct metallm__span nothing = METALLM__SPAN("{}");
    yyjson_val *args = yyjson_obj_get(call, "args");
    struct metallm__part *p = metallm__part_add(parts, METALLM__PART_CALL);
    if (p == NULL)
        return;
    p->name = metallm__wire_text(yyjson_obj_get(call, "name"));
    p->text = yyjson_is_obj(args) ? metallm__json_kept(parts->pool, args) : nothing;
    p->id = metallm__gemini_call_id(parts->pool, call, response_id, number, p->text);
}

/* Parts of another kind (code that the provider ran, pictures) are never asked for. */
static void read_part(struct metallm__part_list *parts, yyjson_val *part,
                      struct metallm__span response_id, unsigned *calls)
{
    struct metallm__span seal = metallm__wire_text(yyjson_obj_get(part, "thoughtSignature"));
    struct metallm__span text = metallm__wire_text(yyjson_obj_get(part, "text"));
    yyjson_val *call = yyjson_obj_get(part, "functionCall");
    bool is_thought = yyjson_is_true(yyjson_obj_get(part, "thought"));
    if (seal.n > 0 && !(is_thought && text.n > 0))
        add_seal(parts, seal);
    if (yyjson_is_obj(call)) {
        add_call(parts, call, response_id, (*calls)++);
        return;
    }
    if (text.n == 0)
        return;
    struct metallm__part *p =
        metallm__part_add(parts, is_thought ? METALLM__PART_REASONING : METALLM__PART_TEXT);
    if (p == NULL)
        return;
    p->text = text;
    if (is_thought && seal.n > 0) {
        p->seal = seal;
        p->seal_of = metallm__span_of(METALLM__GEMINI);
    }
}

/* No candidate: the prompt was blocked, and somebody may have written why. */
static int read_block(yyjson_val *root, struct metallm__part_list *parts, struct metallm__said *out,
                      metallm_error *err)
{
    yyjson_val *feedback = yyjson_obj_get(root, "promptFeedback");
    if (metallm__wire_text(yyjson_obj_get(feedback, "blockReason")).n == 0)
        return metallm__error_set(err, METALLM_EFORMAT, "the answer has no 'candidates'");
    struct metallm__span why = metallm__wire_text(yyjson_obj_get(feedback, "blockReasonMessage"));
    struct metallm__part *p = why.n > 0 ? metallm__part_add(parts, METALLM__PART_REFUSAL) : NULL;
    if (p != NULL)
        p->text = why;
    out->finish = METALLM__WIRE_FINISH_FILTER;
    return METALLM_OK;
}

static int read_candidate(yyjson_val *candidate, struct metallm__part_list *parts,
                          struct metallm__said *out, metallm_error *err)
{
    unsigned calls = 0;
    yyjson_val *list = yyjson_obj_get(yyjson_obj_get(candidate, "content"), "parts");
    yyjson_arr_iter i = yyjson_arr_iter_with(list);
    for (yyjson_val *part; (part = yyjson_arr_iter_next(&i)) != NULL && !parts->pool->failed;) {
        if (parts->count + 2 > METALLM__SAID_PARTS_MAX)
            return metallm__error_set(err, METALLM_EFORMAT, "an answer of more than %u parts",
                                      METALLM__SAID_PARTS_MAX);
        read_part(parts, part, out->id, &calls);
    }
    out->logprobs =
        metallm__gemini_logprobs_in(yyjson_obj_get(candidate, "logprobsResult"), parts->pool);
    return metallm__gemini_finish_in(candidate, calls > 0, &out->finish, err);
}

int metallm__gemini_said_in(yyjson_val *root, struct metallm__pool *pool, struct metallm__said *out,
                            metallm_error *err)
{
    struct metallm__part_list parts = {.pool = pool};
    struct metallm__said said = {.id = metallm__wire_text(yyjson_obj_get(root, "responseId")),
                                 .model = metallm__wire_text(yyjson_obj_get(root, "modelVersion")),
                                 .usage = METALLM__WIRE_USAGE_UNKNOWN};
    yyjson_val *candidate = yyjson_arr_get_first(yyjson_obj_get(root, "candidates"));
    int rc = metallm__gemini_error_check(root, err);
    if (rc != METALLM_OK)
        return rc;
    metallm__gemini_usage_in(yyjson_obj_get(root, "usageMetadata"), &said.usage);
    rc = yyjson_is_obj(candidate) ? read_candidate(candidate, &parts, &said, err)
                                  : read_block(root, &parts, &said, err);
    if (rc == METALLM_OK)
        rc = metallm__pool_check(pool, err);
    if (rc != METALLM_OK)
        return rc;
    said.parts = parts.items;
    said.part_count = parts.count;
    *out = said;
    return METALLM_OK;
}
