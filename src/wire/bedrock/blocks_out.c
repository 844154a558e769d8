/* SPDX-License-Identifier: Apache-2.0
 * blocks_out.c - parts as Converse's content blocks. Texts that are empty are left out, as
 * the API refuses them, and so is reasoning that Bedrock did not seal. */
#include "base/error.h"
#include "base/sha256.h"
#include "wire/bedrock/bedrock.h"

#define DOCUMENT_NAME_CHARS 160u /* of 200, the rest for a number */

static void member(struct metallm__jw *j, const char *name, struct metallm__span text)
{
    metallm__jw_name(j, name);
    metallm__jw_span(j, text);
}

static void open_member(struct metallm__jw *j, const char *name)
{
    metallm__jw_name(j, name);
    metallm__jw_open(j, '{');
}

void metallm__bedrock_cache_out(struct metallm__bedrock_writing *w, enum metallm__cache_mark mark)
{
    if (mark == METALLM__CACHE_NONE)
        return;
    if (w->vendor == METALLM__BEDROCK_OTHER) {
        w->out->dropped |= UINT64_C(1) << METALLM__FEATURE_CACHE_MARKS;
        return;
    }
    metallm__jw_raw(&w->j, mark == METALLM__CACHE_LONG
                               ? "{\"cachePoint\":{\"type\":\"default\",\"ttl\":\"1h\"}}"
                               : "{\"cachePoint\":{\"type\":\"default\"}}");
}

/* ---- Names and ids. ---- */

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

int metallm__bedrock_tool_name(struct metallm__jw *j, struct metallm__span name, metallm_error *err)
{
    bool is_name = name.n > 0 && name.n <= METALLM__BEDROCK_NAME_BYTES_MAX;
    for (size_t i = 0; i < name.n && is_name; i++)
        is_name = is_name_char(name.p[i]);
    if (!is_name)
        return metallm__error_set(err, METALLM_EINVAL,
                                  "a tool of the name '%.*s' cannot be said to bedrock",
                                  (int)(name.n < 80 ? name.n : 80), name.n > 0 ? name.p : "");
    metallm__jw_span(j, name);
    return METALLM_OK;
}

/* The id of a call as Bedrock takes it: at most 64 characters, of few kinds. The same id always
 * becomes the same, and different ones stay different. */
static void write_call_id(struct metallm__jw *j, struct metallm__span id)
{
    char text[METALLM__BEDROCK_NAME_BYTES_MAX];
    uint8_t hash[METALLM__SHA256_BYTES];
    bool is_plain = id.n > 0 && id.n <= sizeof text;
    for (size_t i = 0; i < id.n && is_plain; i++)
        is_plain = is_name_char(id.p[i]) || id.p[i] == '.' || id.p[i] == ':';
    metallm__jw_name(j, "toolUseId");
    if (is_plain) {
        metallm__jw_span(j, id);
        return;
    }
    metallm__sha256(id.p, id.n, hash);
    for (size_t i = 0; i < sizeof text / 2; i++) {
        text[2 * i] = "0123456789abcdef"[hash[i] >> 4];
        text[2 * i + 1] = "0123456789abcdef"[hash[i] & 15];
    }
    metallm__jw_bytes(j, text, sizeof text);
}

/* ---- Images, sounds and documents. ---- */

struct format {
    const char *media, *name;
};
static const struct format images[] = {{"image/png", "png"},
                                       {"image/jpeg", "jpeg"},
                                       {"image/gif", "gif"},
                                       {"image/webp", "webp"},
                                       {0}};
static const struct format sounds[] = {{"audio/wav", "wav"},
                                       {"audio/x-wav", "wav"},
                                       {"audio/mp3", "mp3"},
                                       {"audio/mpeg", "mp3"},
                                       {"audio/flac", "flac"},
                                       {"audio/ogg", "ogg"},
                                       {"audio/opus", "opus"},
                                       {"audio/aac", "aac"},
                                       {"audio/mp4", "mp4"},
                                       {"audio/m4a", "m4a"},
                                       {"audio/webm", "webm"},
                                       {"audio/pcm", "pcm"},
                                       {0}};
static const struct format documents[] = {
    {"application/pdf", "pdf"},
    {"text/plain", "txt"},
    {"text/markdown", "md"},
    {"text/csv", "csv"},
    {"text/html", "html"},
    {"application/msword", "doc"},
    {"application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"},
    {"application/vnd.ms-excel", "xls"},
    {"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"},
    {0}};

/* Without parameters, as "; charset=utf-8". */
static struct metallm__span plain_media(struct metallm__span media)
{
    const char *semicolon = media.n > 0 ? memchr(media.p, ';', media.n) : NULL;
    if (semicolon != NULL)
        media.n = (size_t)(semicolon - media.p);
    return metallm__span_trim(media);
}

static int write_format(struct metallm__jw *j, const struct format *formats, const char *what,
                        const struct metallm__part *p, metallm_error *err)
{
    struct metallm__span media = plain_media(p->media);
    for (; formats->media != NULL; formats++)
        if (metallm__span_is_nocase(media, formats->media))
            break;
    if (formats->media == NULL || p->data.n == 0)
        return metallm__error_set(err, METALLM_EINVAL,
                                  "%s of type '%.*s' cannot be said to bedrock", what,
                                  (int)(media.n < 64 ? media.n : 64), media.n > 0 ? media.p : "");
    metallm__jw_name(j, "format");
    metallm__jw_text(j, formats->name);
    return METALLM_OK;
}

/* Letters, digits, single blanks, hyphens, parentheses and brackets alone; no name twice. */
static void write_document_name(struct metallm__bedrock_writing *w, struct metallm__span name)
{
    char text[DOCUMENT_NAME_CHARS + 24];
    size_t n = 0;
    for (size_t i = 0; i < name.n && n < DOCUMENT_NAME_CHARS; i++) {
        char c = name.p[i];
        bool is_fine = (is_name_char(c) && c != '_') || strchr(" ()[]", c) != NULL;
        c = is_fine && c != '\0' ? c : '-';
        if (c != ' ' || n == 0 || text[n - 1] != ' ')
            text[n++] = c;
    }
    w->documents++;
    int more = n == 0             ? snprintf(text, sizeof text, "document %u", w->documents)
               : w->documents > 1 ? snprintf(text + n, sizeof text - n, " (%u)", w->documents)
                                  : 0;
    member(&w->j, "name", metallm__span(text, n + (size_t)more));
}

static int write_media(struct metallm__bedrock_writing *w, const struct metallm__part *p,
                       metallm_error *err)
{
    struct metallm__jw *j = &w->j;
    bool is_image = p->kind == METALLM__PART_IMAGE, is_sound = p->kind == METALLM__PART_AUDIO;
    const char *what = is_image ? "an image" : is_sound ? "a sound" : "a document";
    metallm__jw_open(j, '{');
    open_member(j, is_image ? "image" : is_sound ? "audio" : "document");
    int rc = write_format(j, is_image ? images : is_sound ? sounds : documents, what, p, err);
    if (rc != METALLM_OK)
        return rc;
    if (p->kind == METALLM__PART_FILE)
        write_document_name(w, p->name);
    open_member(j, "source");
    member(j, "bytes", p->data);
    metallm__jw_close(j, '}');
    metallm__jw_close(j, '}');
    metallm__jw_close(j, '}');
    return METALLM_OK;
}

/* ---- The other parts. ---- */

static void write_text(struct metallm__jw *j, struct metallm__span text)
{
    metallm__jw_open(j, '{');
    member(j, "text", text);
    metallm__jw_close(j, '}');
}

static void write_reasoning(struct metallm__jw *j, const struct metallm__part *p)
{
    metallm__jw_open(j, '{');
    open_member(j, "reasoningContent");
    if (metallm__span_is(p->seal_of, METALLM__BEDROCK_REDACTED)) {
        member(j, "redactedContent", p->seal);
    } else {
        open_member(j, "reasoningText");
        member(j, "text", p->text);
        member(j, "signature", p->seal);
        metallm__jw_close(j, '}');
    }
    metallm__jw_close(j, '}');
    metallm__jw_close(j, '}');
}

static int write_call(struct metallm__jw *j, const struct metallm__part *p, metallm_error *err)
{
    metallm__jw_open(j, '{');
    open_member(j, "toolUse");
    write_call_id(j, p->id);
    metallm__jw_name(j, "name");
    int rc = metallm__bedrock_tool_name(j, p->name, err);
    metallm__jw_name(j, "input");
    metallm__jw_json(j, p->text.n > 0 ? p->text : metallm__span_of("{}"));
    metallm__jw_close(j, '}');
    metallm__jw_close(j, '}');
    return rc;
}

static int write_result(struct metallm__bedrock_writing *w, const struct metallm__part *p,
                        metallm_error *err)
{
    struct metallm__jw *j = &w->j;
    int rc = METALLM_OK;
    metallm__jw_open(j, '{');
    open_member(j, "toolResult");
    write_call_id(j, p->id);
    metallm__jw_name(j, "content");
    metallm__jw_open(j, '[');
    for (size_t i = 0; i < p->part_count && rc == METALLM_OK; i++) {
        const struct metallm__part *inner = &p->parts[i];
        if (inner->kind == METALLM__PART_IMAGE || inner->kind == METALLM__PART_FILE)
            rc = write_media(w, inner, err);
        else if (inner->text.n > 0)
            write_text(j, inner->text);
    }
    metallm__jw_close(j, ']');
    if (p->is_error) {
        metallm__jw_name(j, "status");
        metallm__jw_text(j, "error");
    }
    metallm__jw_close(j, '}');
    metallm__jw_close(j, '}');
    return rc;
}

/* What is not said at all. */
static bool is_told(const struct metallm__part *p)
{
    switch (p->kind) {
    case METALLM__PART_TEXT:
    case METALLM__PART_REFUSAL:
        return p->text.n > 0;
    case METALLM__PART_REASONING:
        return p->seal.n > 0 && (metallm__span_is(p->seal_of, METALLM__BEDROCK_REDACTED) ||
                                 metallm__span_is(p->seal_of, METALLM__BEDROCK_SEAL));
    default:
        return true;
    }
}

bool metallm__bedrock_has_content(const struct metallm__turn *turns, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < turns[i].part_count; k++)
            if (is_told(&turns[i].parts[k]))
                return true;
    return false;
}

bool metallm__bedrock_drops_reasoning(const struct metallm__talk *talk)
{
    for (size_t i = 0; i < talk->turn_count; i++)
        for (size_t k = 0; k < talk->turns[i].part_count; k++)
            if (talk->turns[i].parts[k].kind == METALLM__PART_REASONING &&
                !is_told(&talk->turns[i].parts[k]))
                return true;
    return false;
}

static int write_part(struct metallm__bedrock_writing *w, const struct metallm__part *p,
                      metallm_error *err)
{
    switch (p->kind) {
    case METALLM__PART_REASONING:
        write_reasoning(&w->j, p);
        return METALLM_OK;
    case METALLM__PART_CALL:
        return write_call(&w->j, p, err);
    case METALLM__PART_RESULT:
        return write_result(w, p, err);
    case METALLM__PART_IMAGE:
    case METALLM__PART_AUDIO:
    case METALLM__PART_FILE:
        return write_media(w, p, err);
    default:
        write_text(&w->j, p->text);
        return METALLM_OK;
    }
}

int metallm__bedrock_content_out(struct metallm__bedrock_writing *w,
                                 const struct metallm__turn *turns, size_t count,
                                 metallm_error *err)
{
    int rc = METALLM_OK;
    metallm__jw_open(&w->j, '[');
    for (size_t i = 0; i < count && rc == METALLM_OK; i++)
        for (size_t k = 0; k < turns[i].part_count && rc == METALLM_OK; k++) {
            const struct metallm__part *p = &turns[i].parts[k];
            if (!is_told(p))
                continue;
            rc = write_part(w, p, err);
            metallm__bedrock_cache_out(w, p->cache);
        }
    metallm__jw_close(&w->j, ']');
    return rc;
}
