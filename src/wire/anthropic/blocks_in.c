/* SPDX-License-Identifier: Apache-2.0
 * blocks_in.c - content blocks of a message as parts. What only Anthropic itself can make
 * or read (its own tools' calls and results, citations, search results) is a feature. A part that
 * cannot be added (NULL) is no error here: the pool has failed, and remembers it. */
#include "base/error.h"
#include "wire/anthropic/anthropic.h"
#include "wire/seal.h"

#define USE(r, feature) ((r)->out->features |= UINT64_C(1) << (feature))

int metallm__anthropic_cache_in(struct metallm__anthropic_reading *r, yyjson_val *v,
                                enum metallm__cache_mark *out)
{
    if (v == NULL || yyjson_is_null(v))
        return METALLM_OK;
    if (!yyjson_is_obj(v))
        return metallm__anthropic_wrong(r, "cache_control", "an object");
    if (!yyjson_equals_str(yyjson_obj_get(v, "type"), "ephemeral"))
        metallm__anthropic_other(r, metallm__span_of("cache_control"));
    *out = yyjson_equals_str(yyjson_obj_get(v, "ttl"), "1h") ? METALLM__CACHE_LONG
                                                             : METALLM__CACHE_SHORT;
    return METALLM_OK;
}

static void other(struct metallm__anthropic_reading *r, const char *name)
{
    metallm__anthropic_other(r, metallm__span_of(name));
}

static bool is_given(yyjson_val *v)
{
    return v != NULL && !yyjson_is_null(v);
}

static int add_text(struct metallm__anthropic_reading *r, struct metallm__part_list *parts,
                    yyjson_val *text)
{
    if (!yyjson_is_str(text))
        return metallm__anthropic_wrong(r, "messages.content.text", "a string");
    struct metallm__part *part = metallm__part_add(parts, METALLM__PART_TEXT);
    if (part != NULL)
        part->text = metallm__wire_text(text);
    return METALLM_OK;
}

static int read_text(struct metallm__anthropic_reading *r, yyjson_val *block,
                     struct metallm__part_list *parts)
{
    if (yyjson_arr_size(yyjson_obj_get(block, "citations")) > 0)
        other(r, "citations");
    return add_text(r, parts, yyjson_obj_get(block, "text"));
}

/* ---- Images and documents. ---- */

/* Base64 of a text (RFC 4648, 4). */
static struct metallm__span encode(struct metallm__pool *pool, struct metallm__span text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = (text.n + 2) / 3 * 4, put = 0;
    char *out = metallm__pool_take(pool, n, 1);
    if (out == NULL)
        return metallm__span(NULL, 0);
    for (size_t i = 0; i < text.n; i += 3) {
        unsigned bits = (unsigned char)text.p[i] * 0x10000u;
        bits |= i + 1 < text.n ? (unsigned char)text.p[i + 1] * 0x100u : 0;
        bits |= i + 2 < text.n ? (unsigned char)text.p[i + 2] : 0;
        for (unsigned k = 0; k < 4; k++)
            out[put++] = i + k > text.n ? '=' : digits[bits >> (18 - 6 * k) & 63u];
    }
    return metallm__span(out, n);
}

/* {"type":"base64"|"url"|"file", ...}, which images and documents share. */
static int read_source(struct metallm__anthropic_reading *r, yyjson_val *source,
                       struct metallm__part *part)
{
    yyjson_val *type = yyjson_obj_get(source, "type");
    struct metallm__span *to = NULL;
    const char *member = "data";
    if (yyjson_equals_str(type, "base64")) {
        to = &part->data;
        part->media = metallm__wire_text(yyjson_obj_get(source, "media_type"));
        if (part->media.n == 0)
            return metallm__anthropic_wrong(r, "source.media_type", "a string");
    } else if (yyjson_equals_str(type, "url")) {
        to = &part->url;
        member = "url";
    } else if (yyjson_equals_str(type, "file")) {
        to = &part->file_id;
        member = "file_id";
    } else if (yyjson_is_str(type)) {
        other(r, "source");
        return METALLM_OK;
    } else {
        return metallm__anthropic_wrong(r, "source", "an object with a type");
    }
    *to = metallm__wire_text(yyjson_obj_get(source, member));
    return to->n > 0 ? METALLM_OK
                     : metallm__anthropic_wrong(r, "source", "of data, a URL or an id");
}

static int read_image(struct metallm__anthropic_reading *r, yyjson_val *block,
                      struct metallm__part_list *parts)
{
    yyjson_val *big = yyjson_obj_get(yyjson_obj_get(block, "transformations"), "oversized_image");
    if (is_given(big) && !yyjson_equals_str(big, "downsize"))
        other(r, "transformations");
    struct metallm__part *part = metallm__part_add(parts, METALLM__PART_IMAGE);
    return part == NULL ? METALLM_OK : read_source(r, yyjson_obj_get(block, "source"), part);
}

/* A text is a document of type text/plain; one made of blocks has no place. */
static int read_document_source(struct metallm__anthropic_reading *r, yyjson_val *source,
                                struct metallm__part *part)
{
    yyjson_val *type = yyjson_obj_get(source, "type"), *content = NULL;
    if (yyjson_equals_str(type, "text"))
        content = yyjson_obj_get(source, "data");
    else if (yyjson_equals_str(type, "content"))
        content = yyjson_obj_get(source, "content");
    else
        return read_source(r, source, part);
    if (!yyjson_is_str(content)) {
        other(r, "document of blocks");
        return METALLM_OK;
    }
    part->media = metallm__span_of("text/plain");
    part->data = encode(r->pool, metallm__wire_text(content));
    return METALLM_OK;
}

static int read_document(struct metallm__anthropic_reading *r, yyjson_val *block,
                         struct metallm__part_list *parts)
{
    if (is_given(yyjson_obj_get(block, "context")))
        other(r, "document context");
    if (yyjson_is_true(yyjson_obj_get(yyjson_obj_get(block, "citations"), "enabled")))
        other(r, "citations");
    struct metallm__part *part = metallm__part_add(parts, METALLM__PART_FILE);
    if (part == NULL)
        return METALLM_OK;
    part->name = metallm__wire_text(yyjson_obj_get(block, "title"));
    return read_document_source(r, yyjson_obj_get(block, "source"), part);
}

/* ---- Thinking, and tools. ---- */

static int read_thinking(struct metallm__anthropic_reading *r, yyjson_val *block,
                         struct metallm__part_list *parts)
{
    yyjson_val *text = yyjson_obj_get(block, "thinking");
    if (!yyjson_is_str(text))
        return metallm__anthropic_wrong(r, "messages.content.thinking", "a string");
    struct metallm__part *part = metallm__part_add(parts, METALLM__PART_REASONING);
    if (part == NULL)
        return METALLM_OK;
    part->text = metallm__wire_text(text);
    metallm__seal_read(metallm__wire_text(yyjson_obj_get(block, "signature")),
                       METALLM__ANTHROPIC_SEAL, &part->seal, &part->seal_of);
    return METALLM_OK;
}

static int read_redacted(struct metallm__anthropic_reading *r, yyjson_val *block,
                         struct metallm__part_list *parts)
{
    struct metallm__span data = metallm__wire_text(yyjson_obj_get(block, "data"));
    if (data.n == 0)
        return metallm__anthropic_wrong(r, "messages.content.data", "a string");
    struct metallm__part *part = metallm__part_add(parts, METALLM__PART_REASONING);
    if (part != NULL)
        metallm__seal_read(data, METALLM__ANTHROPIC_REDACTED, &part->seal, &part->seal_of);
    return METALLM_OK;
}

static int read_tool_use(struct metallm__anthropic_reading *r, yyjson_val *block,
                         struct metallm__part_list *parts)
{
    yyjson_val *input = yyjson_obj_get(block, "input"), *caller = yyjson_obj_get(block, "caller");
    struct metallm__part call = {
        .kind = METALLM__PART_CALL,
        .id = metallm__wire_text(yyjson_obj_get(block, "id")),
        .name = metallm__wire_text(yyjson_obj_get(block, "name")),
        .text = metallm__json_kept(r->pool, input),
    };
    if (call.id.n == 0 || call.name.n == 0 || !yyjson_is_obj(input))
        return metallm__anthropic_wrong(r, "messages.content.tool_use",
                                        "of an id, a name and an input object");
    if (is_given(yyjson_obj_get(block, "toolset_name")) ||
        (is_given(caller) && !yyjson_equals_str(yyjson_obj_get(caller, "type"), "direct")))
        USE(r, METALLM__FEATURE_HOSTED_TOOLS);
    struct metallm__part *part = metallm__part_add(parts, METALLM__PART_CALL);
    if (part != NULL)
        *part = call;
    return METALLM_OK;
}

typedef int (*block_reader)(struct metallm__anthropic_reading *r, yyjson_val *block,
                            struct metallm__part_list *parts);

/* The parts within a result. */
static int read_result_blocks(struct metallm__anthropic_reading *r, yyjson_val *content,
                              struct metallm__part_list *parts)
{
    int rc = METALLM_OK;
    if (yyjson_is_str(content))
        return add_text(r, parts, content);
    if (!yyjson_is_arr(content) || yyjson_arr_size(content) > METALLM__TALK_PARTS_MAX)
        return metallm__anthropic_wrong(r, "messages.content.content",
                                        "a string or an array of at most 4096 blocks");
    yyjson_arr_iter i = yyjson_arr_iter_with(content);
    for (yyjson_val *item; rc == METALLM_OK && (item = yyjson_arr_iter_next(&i)) != NULL;) {
        yyjson_val *type = yyjson_obj_get(item, "type");
        block_reader read = yyjson_equals_str(type, "text")       ? read_text
                            : yyjson_equals_str(type, "image")    ? read_image
                            : yyjson_equals_str(type, "document") ? read_document
                                                                  : NULL;
        size_t before = parts->count;
        if (!yyjson_is_str(type))
            rc = metallm__anthropic_wrong(r, "messages.content.content", "of blocks with a type");
        else if (read == NULL)
            metallm__anthropic_other(r, metallm__wire_text(type));
        else
            rc = read(r, item, parts);
        if (rc == METALLM_OK && parts->count > before)
            rc = metallm__anthropic_cache_in(r, yyjson_obj_get(item, "cache_control"),
                                             &parts->items[before].cache);
    }
    return rc;
}

static int read_tool_result(struct metallm__anthropic_reading *r, yyjson_val *block,
                            struct metallm__part_list *parts)
{
    yyjson_val *content = yyjson_obj_get(block, "content");
    struct metallm__span id = metallm__wire_text(yyjson_obj_get(block, "tool_use_id"));
    struct metallm__part_list inner = {.pool = r->pool};
    if (id.n == 0)
        return metallm__anthropic_wrong(r, "messages.content.tool_use_id", "a string");
    if (is_given(yyjson_obj_get(block, "toolset_name")))
        USE(r, METALLM__FEATURE_HOSTED_TOOLS);
    int rc = is_given(content) ? read_result_blocks(r, content, &inner) : METALLM_OK;
    struct metallm__part *part =
        rc == METALLM_OK ? metallm__part_add(parts, METALLM__PART_RESULT) : NULL;
    if (part == NULL)
        return rc;
    part->id = id;
    part->is_error = yyjson_is_true(yyjson_obj_get(block, "is_error"));
    part->parts = inner.items;
    part->part_count = inner.count;
    return METALLM_OK;
}

/* ---- All blocks. ---- */

#define SYSTEM    (1u << METALLM__ROLE_SYSTEM)
#define USER      (1u << METALLM__ROLE_USER)
#define ASSISTANT (1u << METALLM__ROLE_ASSISTANT)

static const struct block {
    const char *type;
    unsigned roles;
    block_reader read;
} blocks[] = {
    {"text", SYSTEM | USER | ASSISTANT, read_text},
    {"image", USER, read_image},
    {"document", USER, read_document},
    {"thinking", ASSISTANT, read_thinking},
    {"redacted_thinking", ASSISTANT, read_redacted},
    {"tool_use", ASSISTANT, read_tool_use},
    {"tool_result", USER, read_tool_result},
};

static bool ends_in(struct metallm__span text, const char *end)
{
    size_t n = strlen(end);
    return text.n >= n && memcmp(text.p + text.n - n, end, n) == 0;
}

/* "server_tool_use", "web_search_tool_result", "mcp_tool_use", "container_upload" and the like. */
static void use_unknown(struct metallm__anthropic_reading *r, struct metallm__span type)
{
    if (ends_in(type, "tool_use") || ends_in(type, "tool_result") || ends_in(type, "upload"))
        USE(r, METALLM__FEATURE_HOSTED_TOOLS);
    else
        metallm__anthropic_other(r, type);
}

static int read_block(struct metallm__anthropic_reading *r, yyjson_val *block,
                      enum metallm__role role, struct metallm__part_list *parts)
{
    struct metallm__span type = metallm__wire_text(yyjson_obj_get(block, "type"));
    const struct block *b = NULL;
    if (type.n == 0)
        return metallm__anthropic_wrong(r, "messages.content", "of blocks with a type");
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        if (metallm__span_is(type, blocks[i].type))
            b = &blocks[i];
    if (b == NULL || (b->roles >> role & 1u) == 0) { /* a known one, but not of this role */
        use_unknown(r, b == NULL ? type : metallm__span_of("blocks of another role"));
        return METALLM_OK;
    }
    size_t before = parts->count;
    int rc = b->read(r, block, parts);
    if (rc != METALLM_OK || parts->count == before)
        return rc;
    return metallm__anthropic_cache_in(r, yyjson_obj_get(block, "cache_control"),
                                       &parts->items[before].cache);
}

int metallm__anthropic_content_in(struct metallm__anthropic_reading *r, yyjson_val *content,
                                  enum metallm__role role, struct metallm__part_list *parts)
{
    if (yyjson_is_str(content))
        return add_text(r, parts, content);
    if (!yyjson_is_arr(content) || yyjson_arr_size(content) > METALLM__TALK_PARTS_MAX)
        return metallm__anthropic_wrong(
            r, role == METALLM__ROLE_SYSTEM ? "system" : "messages.content",
            "a string or an array of at most 4096 blocks");
    int rc = METALLM_OK;
    yyjson_arr_iter i = yyjson_arr_iter_with(content);
    for (yyjson_val *item; rc == METALLM_OK && (item = yyjson_arr_iter_next(&i)) != NULL;)
        rc = read_block(r, item, role, parts);
    return rc;
}
