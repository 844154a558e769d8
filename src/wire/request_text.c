/* SPDX-License-Identifier: Apache-2.0
 * request_text.c - what a conversation is routed on (docs/gateway.md), and an estimate of its
 * tokens. Texts of one part stay where they are; several are joined by a line end. */
#include <limits.h>

#include "base/error.h"
#include "wire/request_parts.h"
#include "wire/talk_read.h"

/* The value of this member; sets *is_twice if it is there again. */
static yyjson_val *member(yyjson_val *object, const char *name, bool *is_twice)
{
    yyjson_val *found = NULL;
    yyjson_obj_iter i = yyjson_obj_iter_with(object);
    for (yyjson_val *key; (key = yyjson_obj_iter_next(&i)) != NULL;) {
        if (!metallm__wire_key_is(key, name))
            continue;
        *is_twice |= found != NULL;
        found = yyjson_obj_iter_get_val(key);
    }
    return found;
}

void metallm__wire_piece_add(struct metallm__wire_reading *r, struct metallm__wire_piece *p,
                             struct metallm__span s)
{
    if (s.n == 0)
        return;
    if (p->len == 0) {
        *p = (struct metallm__wire_piece){.direct = s.p, .len = s.n};
        return;
    }
    struct metallm__buf *texts = &r->out->texts;
    if (p->direct != NULL) { /* the second part: begin to join */
        size_t offset = texts->len;
        metallm__buf_add(texts, p->direct, p->len);
        *p = (struct metallm__wire_piece){.offset = offset, .len = p->len};
    }
    metallm__buf_add(texts, "\n", 1);
    metallm__buf_add(texts, s.p, s.n);
    p->len += 1 + s.n;
}

/* A part that is no text: what it needs, and about what it costs. */
static void count_other_part(struct metallm__wire_reading *r, yyjson_val *type)
{
    struct metallm__wire_needs *needs = &r->out->needs;
    if (yyjson_equals_str(type, "image_url")) {
        needs->images = true;
        r->tokens += IMAGE_TOKENS;
    } else if (yyjson_equals_str(type, "input_audio")) {
        needs->audio = true;
        r->tokens += AUDIO_TOKENS;
    } else if (yyjson_equals_str(type, "file")) {
        needs->files = true;
        r->tokens += FILE_TOKENS;
    }
}

/* The text of a message's content into *p: a string, or an array of parts, or null. */
static int read_content(struct metallm__wire_reading *r, yyjson_val *content,
                        struct metallm__wire_piece *p)
{
    bool is_twice = false;
    if (yyjson_is_str(content)) {
        metallm__wire_piece_add(r, p, metallm__wire_text(content));
        r->tokens += metallm__tokens_estimate(metallm__wire_text(content));
        return METALLM_OK;
    }
    if (content != NULL && !yyjson_is_null(content) && !yyjson_is_arr(content))
        return metallm__wire_wrong(r, "messages.content", "a string or an array of parts");
    yyjson_arr_iter i = yyjson_arr_iter_with(content);
    for (yyjson_val *part; (part = yyjson_arr_iter_next(&i)) != NULL;) {
        if (yyjson_is_str(part)) {
            metallm__wire_piece_add(r, p, metallm__wire_text(part));
            r->tokens += metallm__tokens_estimate(metallm__wire_text(part));
            continue;
        }
        if (!yyjson_is_obj(part))
            return metallm__wire_wrong(r, "messages.content", "made of objects");
        yyjson_val *type = member(part, "type", &is_twice), *text = member(part, "text", &is_twice);
        if (is_twice)
            return metallm__wire_wrong(r, "messages.content", "of members given once");
        if (yyjson_is_str(text) && (type == NULL || yyjson_equals_str(type, "text"))) {
            metallm__wire_piece_add(r, p, metallm__wire_text(text));
            r->tokens += metallm__tokens_estimate(metallm__wire_text(text));
        } else {
            count_other_part(r, type);
        }
    }
    return METALLM_OK;
}

/* Names and arguments of tool calls in an assistant's message. */
static void count_tool_calls(struct metallm__wire_reading *r, yyjson_val *calls)
{
    yyjson_arr_iter i = yyjson_arr_iter_with(calls);
    for (yyjson_val *call; (call = yyjson_arr_iter_next(&i)) != NULL;) {
        yyjson_val *function = yyjson_obj_get(call, "function");
        r->tokens += MESSAGE_TOKENS;
        r->tokens += metallm__tokens_estimate(metallm__wire_text(yyjson_obj_get(function, "name")));
        r->tokens +=
            metallm__tokens_estimate(metallm__wire_text(yyjson_obj_get(function, "arguments")));
    }
}

/* The members of a message that are looked at, each at most once. */
static int open_message(struct metallm__wire_reading *r, yyjson_val *message, yyjson_val **role,
                        yyjson_val **content)
{
    if (!yyjson_is_obj(message))
        return metallm__wire_wrong(r, "messages", "an array of objects");
    bool is_twice = false;
    yyjson_obj_iter i = yyjson_obj_iter_with(message);
    for (yyjson_val *key; (key = yyjson_obj_iter_next(&i)) != NULL;) {
        yyjson_val *value = yyjson_obj_iter_get_val(key), **place = NULL;
        if (metallm__wire_key_is(key, "role"))
            place = role;
        else if (metallm__wire_key_is(key, "content"))
            place = content;
        else if (metallm__wire_key_is(key, "tool_calls"))
            count_tool_calls(r, value);
        if (place != NULL) {
            is_twice |= *place != NULL;
            *place = value;
        }
    }
    return is_twice ? metallm__wire_wrong(r, "messages", "made of members given once") : METALLM_OK;
}

int metallm__wire_messages_read(struct metallm__wire_reading *r, yyjson_val *v)
{
    if (!yyjson_is_arr(v) || yyjson_arr_size(v) == 0)
        return metallm__wire_wrong(r, "messages", "an array with a message");
    struct metallm__wire_piece last = {0}; /* of any role, for where no user speaks */
    bool is_system_seen = false, is_user_seen = false;
    size_t all = 0;
    yyjson_arr_iter i = yyjson_arr_iter_with(v);
    for (yyjson_val *message; (message = yyjson_arr_iter_next(&i)) != NULL;) {
        yyjson_val *role = NULL, *content = NULL;
        struct metallm__wire_piece text = {0};
        int rc = open_message(r, message, &role, &content);
        if (rc == METALLM_OK)
            rc = read_content(r, content, &text);
        if (rc != METALLM_OK)
            return rc;
        r->tokens += MESSAGE_TOKENS;
        all += text.len;
        bool is_system = yyjson_equals_str(role, "system") || yyjson_equals_str(role, "developer");
        if (is_system && !is_system_seen) {
            r->system = text;
            is_system_seen = true;
        } else if (yyjson_equals_str(role, "user")) {
            r->user = text;
            is_user_seen = true;
        } else if (text.len > 0 && !is_system) {
            last = text;
        }
    }
    if (!is_user_seen)
        r->user = last;
    r->out->message_count = (unsigned)yyjson_arr_size(v);
    r->out->rest_bytes = all - r->user.len - r->system.len;
    return METALLM_OK;
}

/* A string, an array of strings, of token numbers, or of arrays of token numbers. */
static int read_prompt(struct metallm__wire_reading *r, yyjson_val *v, const char *name)
{
    static const char must[] = "a string, or an array of strings or tokens";
    if (yyjson_is_str(v)) {
        metallm__wire_piece_add(r, &r->user, metallm__wire_text(v));
        r->tokens += metallm__tokens_estimate(metallm__wire_text(v));
        return METALLM_OK;
    }
    if (!yyjson_is_arr(v) || yyjson_arr_size(v) == 0)
        return metallm__wire_wrong(r, name, must);
    uint64_t token;
    yyjson_arr_iter i = yyjson_arr_iter_with(v);
    for (yyjson_val *item; (item = yyjson_arr_iter_next(&i)) != NULL;) {
        if (yyjson_is_str(item)) {
            metallm__wire_piece_add(r, &r->user, metallm__wire_text(item));
            r->tokens += metallm__tokens_estimate(metallm__wire_text(item));
        } else if (yyjson_is_arr(item)) {
            r->tokens += yyjson_arr_size(item);
        } else if (metallm__json_count(item, UINT32_MAX, &token)) {
            r->tokens++;
        } else {
            return metallm__wire_wrong(r, name, must);
        }
    }
    return METALLM_OK;
}

int metallm__wire_prompt_read(struct metallm__wire_reading *r, yyjson_val *v)
{
    r->out->message_count = 1;
    return read_prompt(r, v, "prompt");
}

int metallm__wire_input_read(struct metallm__wire_reading *r, yyjson_val *v)
{
    r->out->message_count = 1;
    int rc = read_prompt(r, v, "input");
    r->user = (struct metallm__wire_piece){0}; /* not routed by content */
    return rc;
}

/* Where a text of at most `most` bytes may be cut without splitting a character. */
static size_t cut_before(struct metallm__span s, size_t most)
{
    if (s.n <= most)
        return s.n;
    while (most > 0 && ((unsigned char)s.p[most] & 0xc0) == 0x80)
        most--;
    return most;
}

static size_t cut_behind(struct metallm__span s, size_t least)
{
    while (least < s.n && ((unsigned char)s.p[least] & 0xc0) == 0x80)
        least++;
    return least;
}

static struct metallm__span span_of_piece(const struct metallm__wire_request *out,
                                          const struct metallm__wire_piece *p)
{
    if (p->len == 0)
        return (struct metallm__span){NULL, 0};
    return metallm__span(p->direct != NULL ? p->direct : out->texts.data + p->offset, p->len);
}

/* The system message, cut, an empty line, and the user's, its middle left out where it is long. */
static void join(struct metallm__wire_request *out)
{
    struct metallm__buf *b = &out->joined;
    struct metallm__span user = out->last_user;
    size_t half = METALLM__WIRE_TEXT_BYTES_MAX / 2;
    if (out->system.n > 0) {
        metallm__buf_add(b, out->system.p, cut_before(out->system, METALLM__WIRE_SYSTEM_BYTES_MAX));
        metallm__buf_puts(b, "\n\n");
    }
    if (user.n <= 2 * half) {
        metallm__buf_add(b, user.p, user.n);
    } else {
        size_t from = cut_behind(user, user.n - half);
        metallm__buf_add(b, user.p, cut_before(user, half));
        metallm__buf_puts(b, "\n");
        metallm__buf_add(b, user.p + from, user.n - from);
    }
    out->text = metallm__span(b->data, b->len);
}

int metallm__wire_text_settle(struct metallm__wire_reading *r)
{
    struct metallm__wire_request *out = r->out;
    int rc = metallm__buf_check(&out->texts, r->err);
    if (rc != METALLM_OK)
        return rc;
    out->last_user = span_of_piece(out, &r->user);
    out->system = span_of_piece(out, &r->system);
    out->text = out->last_user;
    if (out->system.n > 0 || out->last_user.n > METALLM__WIRE_TEXT_BYTES_MAX)
        join(out);
    out->needs.input_tokens = r->tokens < INT32_MAX ? (uint32_t)r->tokens : INT32_MAX;
    return metallm__buf_check(&out->joined, r->err);
}
