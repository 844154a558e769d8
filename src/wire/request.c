/* SPDX-License-Identifier: Apache-2.0
 * request.c - see request.h: the body is parsed once; its members are walked together with their
 * byte ranges. What the text routed on is made of stands in request_text.c, hints in hints.c. */
#include <limits.h>
#if defined __x86_64__
#include <emmintrin.h>
#endif

#include "base/error.h"
#include "wire/request_parts.h"
#include "wire/scan.h"
#include "wire/talk_read.h"

/* What a talk's records may take: as many turns as there may be, each of one short text, and more
 * for each byte of the body. A part of a few bytes is a record of many: whoever sends nothing but
 * these is refused. */
#define POOL_BYTES_MIN ((size_t)32 << 20)
#define POOL_FACTOR    8u

uint64_t metallm__token_units(struct metallm__span text)
{
    size_t i = 0, high = 0, more = 0; /* bytes beyond ASCII; of them: not a character's first */
#if defined __x86_64__
    const __m128i zero = _mm_setzero_si128(), first = _mm_set1_epi8((char)0xc0);
    __m128i highs = zero, mores = zero; /* two sums each */
    for (; text.n - i >= 16; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(text.p + i));
        if (_mm_movemask_epi8(v) == 0) /* mostly */
            continue;
        __m128i is_high = _mm_sub_epi8(zero, _mm_cmplt_epi8(v, zero)); /* signed */
        __m128i is_more = _mm_sub_epi8(zero, _mm_cmplt_epi8(v, first));
        highs = _mm_add_epi64(highs, _mm_sad_epu8(is_high, zero));
        mores = _mm_add_epi64(mores, _mm_sad_epu8(is_more, zero));
    }
    high = (size_t)_mm_cvtsi128_si64(_mm_add_epi64(highs, _mm_unpackhi_epi64(highs, highs)));
    more = (size_t)_mm_cvtsi128_si64(_mm_add_epi64(mores, _mm_unpackhi_epi64(mores, mores)));
#endif
    for (; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        high += c >= 0x80;
        more += (c & 0xc0) == 0x80;
    }
    return (uint64_t)(text.n - high) * 5 + (uint64_t)(high - more) * 16;
}

uint32_t metallm__tokens_estimate(struct metallm__span text)
{
    uint64_t tokens =
        (metallm__token_units(text) + METALLM__TOKEN_UNITS - 1) / METALLM__TOKEN_UNITS;
    return tokens < INT32_MAX ? (uint32_t)tokens : INT32_MAX;
}

int metallm__wire_wrong(struct metallm__wire_reading *r, const char *member, const char *must)
{
    r->param = member;
    return metallm__error_set(r->err, METALLM_EINVAL, "'%s' must be %s", member, must);
}

bool metallm__wire_key_is(yyjson_val *key, const char *name)
{
    return yyjson_equals_str(key, name);
}

/* ---- One reader for each member that is looked at. ---- */

static int read_model(struct metallm__wire_reading *r, yyjson_val *v)
{
    size_t len = yyjson_get_len(v);
    if (!yyjson_is_str(v) || len == 0 || len > METALLM__WIRE_NAME_BYTES_MAX)
        return metallm__wire_wrong(r, "model", "a string of 1 to 256 bytes");
    r->out->model = metallm__span(yyjson_get_str(v), len);
    r->out->model_at = r->at;
    return METALLM_OK;
}

static int read_stream(struct metallm__wire_reading *r, yyjson_val *v)
{
    if (!yyjson_is_bool(v) && !yyjson_is_null(v))
        return metallm__wire_wrong(r, "stream", "true or false");
    r->out->is_stream = yyjson_is_true(v);
    return METALLM_OK;
}

static int read_stream_options(struct metallm__wire_reading *r, yyjson_val *v)
{
    r->out->options_at = r->at;
    if (yyjson_is_null(v))
        return METALLM_OK;
    if (!yyjson_is_obj(v))
        return metallm__wire_wrong(r, "stream_options", "an object");
    struct metallm__scan scan;
    struct metallm__scan_member m;
    metallm__scan_begin(&scan,
                        metallm__span(r->out->body.p + r->at.begin, r->at.end - r->at.begin));
    bool is_seen = false;
    yyjson_obj_iter i = yyjson_obj_iter_with(v);
    for (yyjson_val *key; (key = yyjson_obj_iter_next(&i)) != NULL;) {
        if (!metallm__scan_next(&scan, &m))
            break;
        if (!metallm__wire_key_is(key, "include_usage"))
            continue;
        yyjson_val *value = yyjson_obj_iter_get_val(key);
        if (is_seen || (!yyjson_is_bool(value) && !yyjson_is_null(value)))
            return metallm__wire_wrong(r, "stream_options.include_usage",
                                       is_seen ? "given once" : "true or false");
        is_seen = true;
        r->out->wants_usage = yyjson_is_true(value);
        r->out->usage_at.begin = r->at.begin + m.value;
        r->out->usage_at.end = r->at.begin + m.stop;
    }
    return METALLM_OK;
}

/* An integer in [1, most], or null. */
static int read_count(struct metallm__wire_reading *r, yyjson_val *v, const char *member,
                      const char *must, uint32_t most, uint32_t *out)
{
    if (yyjson_is_null(v))
        return METALLM_OK;
    double value = 0;
    if (!metallm__json_real(v, &value) || !(value >= 1 && value <= most) ||
        value != (double)(uint32_t)value)
        return metallm__wire_wrong(r, member, must);
    *out = (uint32_t)value;
    return METALLM_OK;
}

static int read_n(struct metallm__wire_reading *r, yyjson_val *v)
{
    return read_count(r, v, "n", "an integer from 1 to 128", 128, &r->out->needs.choices);
}

/* The newer member wins, whichever stands first. */
static int read_max_completion_tokens(struct metallm__wire_reading *r, yyjson_val *v)
{
    return read_count(r, v, "max_completion_tokens", "an integer from 1 to 2147483647", INT_MAX,
                      &r->out->needs.output_tokens_max);
}

static int read_max_tokens(struct metallm__wire_reading *r, yyjson_val *v)
{
    return read_count(r, v, "max_tokens", "an integer of at least 1", INT_MAX, &r->max_tokens);
}

static int read_tools(struct metallm__wire_reading *r, yyjson_val *v)
{
    if (!yyjson_is_arr(v) && !yyjson_is_null(v))
        return metallm__wire_wrong(r, "tools", "an array");
    if (yyjson_arr_size(v) > 0) {
        r->out->needs.tools = true;
        r->tokens += (r->at.end - r->at.begin) / 4;
    }
    return METALLM_OK;
}

static int read_response_format(struct metallm__wire_reading *r, yyjson_val *v)
{
    yyjson_val *type = NULL;
    yyjson_obj_iter i = yyjson_obj_iter_with(v); /* of what is no object: empty */
    for (yyjson_val *key; (key = yyjson_obj_iter_next(&i)) != NULL;) {
        if (!metallm__wire_key_is(key, "type"))
            continue;
        if (type != NULL)
            return metallm__wire_wrong(r, "response_format.type", "given once");
        type = yyjson_obj_iter_get_val(key);
    }
    if (!yyjson_is_null(v) && !yyjson_is_str(type))
        return metallm__wire_wrong(r, "response_format", "an object with a string 'type'");
    r->out->needs.json_schema = yyjson_equals_str(type, "json_schema");
    r->out->needs.json = r->out->needs.json_schema || yyjson_equals_str(type, "json_object");
    return METALLM_OK;
}

static int read_modalities(struct metallm__wire_reading *r, yyjson_val *v)
{
    yyjson_arr_iter i = yyjson_arr_iter_with(v);
    for (yyjson_val *item; (item = yyjson_arr_iter_next(&i)) != NULL;)
        if (yyjson_equals_str(item, "audio"))
            r->out->needs.audio = true;
    return METALLM_OK;
}

static int read_metallm(struct metallm__wire_reading *r, yyjson_val *v)
{
    /* The member goes with one of its commas: the one behind it, else the one before. */
    const struct metallm__scan_member *m = r->member;
    r->out->hints_at.begin = m->key;
    r->out->hints_at.end = m->stop;
    if (m->comma_after != SIZE_MAX)
        r->out->hints_at.end = m->comma_after + 1;
    else if (m->comma_before != SIZE_MAX)
        r->out->hints_at.begin = m->comma_before;
    return metallm__wire_hints_read(r, v);
}

#define CHAT       (1u << METALLM__WIRE_CHAT)
#define COMPLETION (1u << METALLM__WIRE_COMPLETION)
#define EMBEDDING  (1u << METALLM__WIRE_EMBEDDING)
#define RESPONSES  (1u << METALLM__WIRE_RESPONSES)
#define MESSAGES   (1u << METALLM__WIRE_MESSAGES)
#define COUNT      (1u << METALLM__WIRE_COUNT)
#define ALL        (CHAT | COMPLETION | EMBEDDING | TALKS)
#define TALKS      (RESPONSES | MESSAGES | COUNT) /* the rest is read by their surface */

/* A member that is not here, or not for this kind, passes unseen. */
static const struct member {
    const char *name;
    unsigned kinds;
    int (*read)(struct metallm__wire_reading *r, yyjson_val *v);
} members[] = {
    {"model", ALL, read_model},
    {"messages", CHAT, metallm__wire_messages_read},
    {"prompt", COMPLETION, metallm__wire_prompt_read},
    {"input", EMBEDDING, metallm__wire_input_read},
    {"stream", CHAT | COMPLETION | RESPONSES | MESSAGES, read_stream},
    {"stream_options", CHAT | COMPLETION, read_stream_options},
    {"metallm", ALL, read_metallm},
    {"tools", CHAT, read_tools},
    {"functions", CHAT, read_tools},
    {"response_format", CHAT, read_response_format},
    {"n", CHAT | COMPLETION, read_n},
    {"max_completion_tokens", CHAT, read_max_completion_tokens},
    {"max_tokens", CHAT | COMPLETION, read_max_tokens},
    {"modalities", CHAT, read_modalities},
};
#define MEMBER_COUNT (sizeof members / sizeof *members)

static const struct member *find_member(yyjson_val *key, enum metallm__wire_kind kind)
{
    const char *text = yyjson_get_str(key);
    size_t len = yyjson_get_len(key);
    for (size_t i = 0; i < MEMBER_COUNT; i++)
        if (members[i].name[0] == text[0] && strlen(members[i].name) == len &&
            memcmp(members[i].name, text, len) == 0)
            return (members[i].kinds >> kind & 1u) != 0 ? &members[i] : NULL;
    return NULL;
}

static int read_members(struct metallm__wire_reading *r, yyjson_val *root)
{
    struct metallm__scan scan;
    struct metallm__scan_member at;
    unsigned seen = 0;
    r->out->object_at = metallm__scan_begin(&scan, r->out->body);
    r->member = &at;
    yyjson_obj_iter i = yyjson_obj_iter_with(root);
    for (yyjson_val *key; (key = yyjson_obj_iter_next(&i)) != NULL;) {
        if (!metallm__scan_next(&scan, &at))
            return metallm__error_set(r->err, METALLM_EFORMAT, "the body is not one JSON object");
        const struct member *m = find_member(key, r->out->kind);
        if (m == NULL)
            continue;
        unsigned bit = 1u << (m - members);
        if ((seen & bit) != 0)
            return metallm__wire_wrong(r, m->name, "given once");
        seen |= bit;
        r->at = (struct metallm__wire_range){at.value, at.stop};
        int rc = m->read(r, yyjson_obj_iter_get_val(key));
        if (rc != METALLM_OK)
            return rc;
    }
    if (scan.depth > METALLM__WIRE_DEPTH_MAX)
        return metallm__error_set(r->err, METALLM_ELIMIT, "the body is nested deeper than %u",
                                  METALLM__WIRE_DEPTH_MAX);
    for (size_t m = 0; m < 4; m++) /* model, and what is asked */
        if ((members[m].kinds >> r->out->kind & 1u) != 0 && (seen >> m & 1u) == 0) {
            r->param = members[m].name;
            return metallm__error_set(r->err, METALLM_EINVAL, "'%s' is missing", members[m].name);
        }
    return METALLM_OK;
}

static int parse(struct metallm__wire_reading *r)
{
    struct metallm__span body = r->out->body;
    if (body.n > METALLM__WIRE_BODY_BYTES_MAX)
        return metallm__error_set(r->err, METALLM_ELIMIT, "a body of more than %zu bytes",
                                  METALLM__WIRE_BODY_BYTES_MAX);
    metallm_error why = {0};
    int rc = metallm__json_read_raw(&r->out->doc, body.n > 0 ? body.p : "", body.n, &why);
    if (rc != METALLM_OK)
        return metallm__error_set(r->err, rc, "the body is %s", why.message);
    yyjson_val *root = yyjson_doc_get_root(r->out->doc);
    if (!yyjson_is_obj(root))
        return metallm__error_set(r->err, METALLM_EFORMAT, "the body is no JSON object");
    rc = read_members(r, root);
    if (rc == METALLM_OK && (TALKS >> r->out->kind & 1u) != 0)
        rc = metallm__wire_talk_read(r);
    return rc == METALLM_OK ? metallm__wire_text_settle(r) : rc;
}

int metallm__wire_request_read(struct metallm__wire_request *out, enum metallm__wire_kind kind,
                               struct metallm__span body, const char **param, metallm_error *err)
{
    *out = (struct metallm__wire_request){.kind = kind, .body = body};
    out->needs.choices = 1;
    metallm__wire_hints_clear(&out->hints);
    /* Joined texts repeat parts of the body, at most twice, with a byte between parts. */
    metallm__buf_init(&out->texts, 3 * METALLM__WIRE_BODY_BYTES_MAX);
    metallm__buf_init(&out->joined, 2 * METALLM__WIRE_TEXT_BYTES_MAX);
    metallm__pool_init(&out->pool, POOL_BYTES_MIN + POOL_FACTOR * body.n);
    struct metallm__wire_reading r = {.out = out, .err = err};
    int rc = parse(&r);
    if (out->needs.output_tokens_max == 0)
        out->needs.output_tokens_max = r.max_tokens;
    if (rc != METALLM_OK)
        metallm__wire_request_fini(out);
    if (param != NULL)
        *param = rc == METALLM_EINVAL ? r.param : NULL;
    return rc;
}

void metallm__wire_request_fini(struct metallm__wire_request *r)
{
    yyjson_doc_free(r->doc);
    metallm__buf_fini(&r->texts);
    metallm__buf_fini(&r->joined);
    metallm__pool_fini(&r->pool);
    *r = (struct metallm__wire_request){.kind = r->kind};
}
