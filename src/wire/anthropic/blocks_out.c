/* SPDX-License-Identifier: Apache-2.0
 * blocks_out.c - parts as content blocks. Texts that are empty are left out, as the API
 * refuses them, and so is reasoning that Anthropic did not sign. */
#include "base/error.h"
#include "wire/anthropic/anthropic.h"

void metallm__anthropic_cache_out(struct metallm__jw *j, enum metallm__cache_mark cache)
{
    if (cache == METALLM__CACHE_NONE)
        return;
    metallm__jw_name(j, "cache_control");
    metallm__jw_raw(j, cache == METALLM__CACHE_LONG ? "{\"type\":\"ephemeral\",\"ttl\":\"1h\"}"
                                                    : "{\"type\":\"ephemeral\"}");
}

void metallm__anthropic_call_id(struct metallm__jw *j, struct metallm__span id)
{
    static const char hex[] = "0123456789abcdef";
    char text[3 * 128];
    size_t n = 0;
    for (size_t i = 0; i < id.n && n + 3 <= sizeof text; i++) {
        unsigned char c = (unsigned char)id.p[i];
        if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_' ||
            c == '-') {
            text[n++] = (char)c;
        } else {
            text[n++] = '_';
            text[n++] = hex[c >> 4];
            text[n++] = hex[c & 15];
        }
    }
    metallm__jw_bytes(j, text, n);
}

/* What is not said at all. */
static bool is_told(const struct metallm__part *p)
{
    switch (p->kind) {
    case METALLM__PART_TEXT:
    case METALLM__PART_REFUSAL:
        return p->text.n > 0;
    case METALLM__PART_REASONING:
        return p->seal.n > 0 && (metallm__span_is(p->seal_of, METALLM__ANTHROPIC_SEAL) ||
                                 metallm__span_is(p->seal_of, METALLM__ANTHROPIC_REDACTED));
    case METALLM__PART_AUDIO: /* refused by the verdicts */
        return false;
    default:
        return true;
    }
}

/* The next part of them that is said, behind *i and *k; NULL: there is none. */
static const struct metallm__part *next_part(const struct metallm__anthropic_turns *t, size_t *i,
                                             size_t *k)
{
    for (; *i < t->count; ++*i, *k = 0)
        while (t->turns[*i].role == t->role && *k < t->turns[*i].part_count) {
            const struct metallm__part *p = &t->turns[*i].parts[(*k)++];
            if (is_told(p))
                return p;
        }
    return NULL;
}

bool metallm__anthropic_has_content(const struct metallm__anthropic_turns *t,
                                    struct metallm__wire_out *out)
{
    for (size_t i = 0; i < t->count; i++)
        for (size_t k = 0; t->turns[i].role == t->role && k < t->turns[i].part_count; k++) {
            const struct metallm__part *p = &t->turns[i].parts[k];
            if (p->kind == METALLM__PART_REASONING && !is_told(p))
                out->dropped |= UINT64_C(1) << METALLM__FEATURE_REASONING_HISTORY;
        }
    size_t i = 0, k = 0;
    return next_part(t, &i, &k) != NULL;
}

/* ---- Images and documents. ---- */

static bool is_image_type(struct metallm__span media)
{
    return metallm__span_is(media, "image/png") || metallm__span_is(media, "image/jpeg") ||
           metallm__span_is(media, "image/webp") || metallm__span_is(media, "image/gif");
}

static void member(struct metallm__jw *j, const char *name, struct metallm__span text)
{
    metallm__jw_name(j, name);
    metallm__jw_span(j, text);
}

static int refuse_media(const char *what, struct metallm__span media, metallm_error *err)
{
    return metallm__error_set(err, METALLM_EINVAL, "%s of type '%.*s' cannot be said to anthropic",
                              what, (int)(media.n < 64 ? media.n : 64), media.n > 0 ? media.p : "");
}

/* -1: it is no digit of base64. */
static int digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Base64 (RFC 4648, 4) as what it stands for, appended to out; false: it is none. */
static bool decode(struct metallm__span data, struct metallm__buf *out)
{
    while (data.n > 0 && data.p[data.n - 1] == '=')
        data.n--;
    for (size_t i = 0; i < data.n; i += 4) {
        size_t n = data.n - i < 4 ? data.n - i : 4;
        unsigned bits = 0;
        for (size_t k = 0; k < n; k++) {
            int value = digit(data.p[i + k]);
            if (value < 0)
                return false;
            bits |= (unsigned)value << (18 - 6 * k);
        }
        char bytes[3] = {(char)(bits >> 16), (char)(bits >> 8 & 0xff), (char)(bits & 0xff)};
        metallm__buf_add(out, bytes, n > 0 ? n - 1 : 0);
    }
    return true;
}

/* U+FFFD, which is what the writer makes of bytes that are not UTF-8. */
static size_t count_replaced(const char *p, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i + 3 <= n; i++)
        count += memcmp(p + i, "\xef\xbf\xbd", 3) == 0;
    return count;
}

static int write_plain_text(struct metallm__jw *j, struct metallm__span data, metallm_error *err)
{
    struct metallm__buf text;
    metallm__buf_init(&text, data.n + 4);
    bool is_text = decode(data, &text);
    j->out->failed |= text.failed;
    metallm__jw_raw(j, "{\"type\":\"text\",\"media_type\":\"text/plain\"");
    size_t from = j->out->len;
    member(j, "data", metallm__span(text.data, text.len));
    if (text.len > 0 && !j->out->failed)
        is_text &= count_replaced(text.data, text.len) ==
                   count_replaced(j->out->data + from, j->out->len - from);
    metallm__jw_close(j, '}');
    metallm__buf_fini(&text);
    return is_text ? METALLM_OK
                   : metallm__error_set(err, METALLM_EINVAL,
                                        "a document of type 'text/plain' is not UTF-8 in base64");
}

static int write_source(struct metallm__jw *j, const struct metallm__part *p, metallm_error *err)
{
    bool is_image = p->kind == METALLM__PART_IMAGE;
    metallm__jw_name(j, "source");
    if (p->file_id.n > 0 || p->url.n > 0) {
        bool is_file = p->file_id.n > 0;
        metallm__jw_raw(j, is_file ? "{\"type\":\"file\"" : "{\"type\":\"url\"");
        member(j, is_file ? "file_id" : "url", is_file ? p->file_id : p->url);
        metallm__jw_close(j, '}');
        return METALLM_OK;
    }
    if (!is_image && metallm__span_is(p->media, "text/plain"))
        return write_plain_text(j, p->data, err);
    if (is_image ? !is_image_type(p->media) : !metallm__span_is(p->media, "application/pdf"))
        return refuse_media(is_image ? "an image" : "a document", p->media, err);
    metallm__jw_raw(j, "{\"type\":\"base64\"");
    member(j, "media_type", p->media);
    member(j, "data", p->data);
    metallm__jw_close(j, '}');
    return METALLM_OK;
}

static int write_media(struct metallm__jw *j, const struct metallm__part *p, metallm_error *err)
{
    bool is_image = p->kind == METALLM__PART_IMAGE;
    metallm__jw_raw(j, is_image ? "{\"type\":\"image\"" : "{\"type\":\"document\"");
    int rc = write_source(j, p, err);
    if (!is_image && p->name.n > 0)
        member(j, "title", p->name);
    metallm__anthropic_cache_out(j, p->cache);
    metallm__jw_close(j, '}');
    return rc;
}

/* ---- The other parts. ---- */

static void write_text(struct metallm__jw *j, const struct metallm__part *p)
{
    metallm__jw_raw(j, "{\"type\":\"text\"");
    member(j, "text", p->text);
    metallm__anthropic_cache_out(j, p->cache);
    metallm__jw_close(j, '}');
}

static void write_reasoning(struct metallm__jw *j, const struct metallm__part *p)
{
    if (metallm__span_is(p->seal_of, METALLM__ANTHROPIC_REDACTED)) {
        metallm__jw_raw(j, "{\"type\":\"redacted_thinking\"");
        member(j, "data", p->seal);
    } else {
        metallm__jw_raw(j, "{\"type\":\"thinking\"");
        member(j, "thinking", p->text);
        member(j, "signature", p->seal);
    }
    metallm__jw_close(j, '}');
}

static void write_call(struct metallm__jw *j, const struct metallm__part *p)
{
    metallm__jw_raw(j, "{\"type\":\"tool_use\"");
    metallm__jw_name(j, "id");
    metallm__anthropic_call_id(j, p->id);
    member(j, "name", p->name);
    metallm__jw_name(j, "input");
    metallm__jw_json(j, p->text.n > 0 ? p->text : metallm__span_of("{}"));
    metallm__anthropic_cache_out(j, p->cache);
    metallm__jw_close(j, '}');
}

static int write_result_content(struct metallm__jw *j, const struct metallm__part *result,
                                metallm_error *err)
{
    const struct metallm__part *parts = result->parts;
    int rc = METALLM_OK;
    if (result->part_count == 1 && parts->kind == METALLM__PART_TEXT &&
        parts->cache == METALLM__CACHE_NONE) {
        metallm__jw_span(j, parts->text);
        return METALLM_OK;
    }
    metallm__jw_open(j, '[');
    for (size_t i = 0; rc == METALLM_OK && i < result->part_count; i++) {
        if (!is_told(&parts[i]))
            continue;
        if (parts[i].kind == METALLM__PART_TEXT)
            write_text(j, &parts[i]);
        else if (parts[i].kind == METALLM__PART_IMAGE || parts[i].kind == METALLM__PART_FILE)
            rc = write_media(j, &parts[i], err);
    }
    metallm__jw_close(j, ']');
    return rc;
}

static int write_result(struct metallm__jw *j, const struct metallm__part *p, metallm_error *err)
{
    int rc = METALLM_OK;
    metallm__jw_raw(j, "{\"type\":\"tool_result\"");
    metallm__jw_name(j, "tool_use_id");
    metallm__anthropic_call_id(j, p->id);
    if (p->part_count > 0) {
        metallm__jw_name(j, "content");
        rc = write_result_content(j, p, err);
    }
    if (p->is_error) {
        metallm__jw_name(j, "is_error");
        metallm__jw_flag(j, true);
    }
    metallm__anthropic_cache_out(j, p->cache);
    metallm__jw_close(j, '}');
    return rc;
}

static int write_part(struct metallm__jw *j, const struct metallm__part *p, metallm_error *err)
{
    switch (p->kind) {
    case METALLM__PART_TEXT:
    case METALLM__PART_REFUSAL:
        write_text(j, p);
        return METALLM_OK;
    case METALLM__PART_REASONING:
        write_reasoning(j, p);
        return METALLM_OK;
    case METALLM__PART_CALL:
        write_call(j, p);
        return METALLM_OK;
    case METALLM__PART_RESULT:
        return write_result(j, p, err);
    default:
        return write_media(j, p, err);
    }
}

/* The only part, where it is one text without a mark; else NULL. */
static const struct metallm__part *single_text(const struct metallm__anthropic_turns *t)
{
    size_t i = 0, k = 0;
    const struct metallm__part *only = next_part(t, &i, &k);
    bool is_plain = only != NULL && only->kind == METALLM__PART_TEXT &&
                    only->cache == METALLM__CACHE_NONE && next_part(t, &i, &k) == NULL;
    return is_plain ? only : NULL;
}

/* Results stand before all else, as the API demands. */
int metallm__anthropic_content_out(struct metallm__jw *j, const struct metallm__anthropic_turns *t,
                                   metallm_error *err)
{
    const struct metallm__part *only = single_text(t), *p;
    int rc = METALLM_OK;
    if (only != NULL) {
        metallm__jw_span(j, only->text);
        return METALLM_OK;
    }
    metallm__jw_open(j, '[');
    for (int pass = 0; pass < 2; pass++) {
        size_t i = 0, k = 0;
        while (rc == METALLM_OK && (p = next_part(t, &i, &k)) != NULL)
            if ((p->kind == METALLM__PART_RESULT) == (pass == 0))
                rc = write_part(j, p, err);
    }
    metallm__jw_close(j, ']');
    return rc;
}
