/* SPDX-License-Identifier: Apache-2.0
 * answer_out.c - an answer written as a Response object. Each text is a message item of
 * its own; reasoning is told as a summary, its seal as encrypted content. */
#include <stdio.h>

#include "wire/responses/responses.h"
#include "wire/seal.h"

static void put(struct metallm__jw *j, const char *name, const char *json)
{
    metallm__jw_name(j, name);
    metallm__jw_raw(j, json);
}

static void put_span(struct metallm__jw *j, const char *name, struct metallm__span text)
{
    metallm__jw_name(j, name);
    metallm__jw_span(j, text);
}

/* ---- Items. ---- */

void metallm__responses_content_write(struct metallm__jw *j, enum metallm__part_kind kind,
                                      struct metallm__span text)
{
    metallm__jw_open(j, '{');
    if (kind == METALLM__PART_REFUSAL) {
        put(j, "type", "\"refusal\"");
        put_span(j, "refusal", text);
    } else {
        put(j, "type", "\"output_text\"");
        put(j, "annotations", "[]");
        put_span(j, "text", text);
    }
    metallm__jw_close(j, '}');
}

static void put_message(struct metallm__jw *j, const struct metallm__part *part, bool is_done)
{
    put(j, "type", "\"message\"");
    put(j, "role", "\"assistant\"");
    put(j, "status", is_done ? "\"completed\"" : "\"in_progress\"");
    metallm__jw_name(j, "content");
    metallm__jw_open(j, '[');
    if (is_done)
        metallm__responses_content_write(j, part->kind, part->text);
    metallm__jw_close(j, ']');
}

static void put_call(struct metallm__jw *j, const struct metallm__part *part, bool is_done)
{
    put(j, "type", "\"function_call\"");
    put(j, "status", is_done ? "\"completed\"" : "\"in_progress\"");
    put_span(j, "call_id", part->id);
    put_span(j, "name", part->name);
    put_span(j, "arguments", is_done ? part->text : metallm__span(NULL, 0));
}

static void put_reasoning(struct metallm__jw *j, const struct metallm__part *part, bool is_done)
{
    put(j, "type", "\"reasoning\"");
    metallm__jw_name(j, "summary");
    metallm__jw_open(j, '[');
    if (is_done && part->text.n > 0) {
        metallm__jw_open(j, '{');
        put(j, "type", "\"summary_text\"");
        put_span(j, "text", part->text);
        metallm__jw_close(j, '}');
    }
    metallm__jw_close(j, ']');
    if (is_done && part->seal.n > 0) {
        metallm__jw_name(j, "encrypted_content");
        metallm__seal_write(j, part->seal, part->seal_of, METALLM__RESPONSES);
    }
}

void metallm__responses_item_write(struct metallm__jw *j, const struct metallm__part *part,
                                   struct metallm__span id, bool is_done)
{
    metallm__jw_open(j, '{');
    put_span(j, "id", id);
    if (part->kind == METALLM__PART_CALL)
        put_call(j, part, is_done);
    else if (part->kind == METALLM__PART_REASONING)
        put_reasoning(j, part, is_done);
    else
        put_message(j, part, is_done);
    metallm__jw_close(j, '}');
}

/* ---- The response around them. ---- */

static void put_usage(struct metallm__jw *j, const struct metallm__wire_usage *u)
{
    metallm__jw_name(j, "usage");
    if (u == NULL || (u->input_tokens < 0 && u->output_tokens < 0)) {
        metallm__jw_raw(j, "null");
        return;
    }
    uint64_t input = u->input_tokens > 0 ? (uint64_t)u->input_tokens : 0;
    uint64_t output = u->output_tokens > 0 ? (uint64_t)u->output_tokens : 0;
    metallm__jw_open(j, '{');
    metallm__jw_name(j, "input_tokens");
    metallm__jw_count(j, input);
    metallm__jw_name(j, "input_tokens_details");
    metallm__jw_open(j, '{');
    metallm__jw_name(j, "cached_tokens");
    metallm__jw_count(j, u->cached_tokens > 0 ? (uint64_t)u->cached_tokens : 0);
    metallm__jw_name(j, "cache_write_tokens");
    metallm__jw_count(j, u->written_tokens > 0 ? (uint64_t)u->written_tokens : 0);
    metallm__jw_close(j, '}');
    metallm__jw_name(j, "output_tokens");
    metallm__jw_count(j, output);
    metallm__jw_name(j, "output_tokens_details");
    metallm__jw_open(j, '{');
    metallm__jw_name(j, "reasoning_tokens");
    metallm__jw_count(j, u->reasoning_tokens > 0 ? (uint64_t)u->reasoning_tokens : 0);
    metallm__jw_close(j, '}');
    metallm__jw_name(j, "total_tokens");
    metallm__jw_count(j, input + output);
    metallm__jw_close(j, '}');
}

/* What the client asked, as a Response repeats it: the bytes of the member, or what stands for it.
 */
static void put_echo(struct metallm__jw *j, const struct metallm__wire_request *r, const char *name,
                     const char *otherwise)
{
    yyjson_val *v = r != NULL ? yyjson_obj_get(yyjson_doc_get_root(r->doc), name) : NULL;
    metallm__jw_name(j, name);
    if (v == NULL || yyjson_is_null(v)) {
        metallm__jw_raw(j, otherwise);
        return;
    }
    size_t len = 0;
    char *text = yyjson_val_write_opts(v, YYJSON_WRITE_NOFLAG, &metallm__json_alc, &len, NULL);
    if (text == NULL)
        j->out->failed = true;
    else
        metallm__jw_json(j, metallm__span(text, len));
    metallm__json_alc.free(NULL, text);
}

static void put_status(struct metallm__jw *j, const struct metallm__responses_frame *f)
{
    bool is_cut =
        f->finish == METALLM__WIRE_FINISH_LENGTH || f->finish == METALLM__WIRE_FINISH_FILTER;
    put(j, "status", !f->is_done ? "\"in_progress\"" : is_cut ? "\"incomplete\"" : "\"completed\"");
    put(j, "error", "null");
    put(j, "incomplete_details",
        !f->is_done || !is_cut                     ? "null"
        : f->finish == METALLM__WIRE_FINISH_LENGTH ? "{\"reason\":\"max_output_tokens\"}"
                                                   : "{\"reason\":\"content_filter\"}");
}

/* The upstream's id, marked as this protocol marks them. */
static void put_id(struct metallm__jw *j, struct metallm__span id)
{
    char text[80];
    bool is_own = id.n >= 5 && memcmp(id.p, "resp_", 5) == 0;
    int n = snprintf(text, sizeof text, "%s%.*s", is_own ? "" : "resp_",
                     (int)(id.n < 64 ? id.n : 64), id.n > 0 ? id.p : "");
    metallm__jw_name(j, "id");
    metallm__jw_bytes(j, text, n > 0 ? (size_t)n : 0);
}

void metallm__responses_frame_write(struct metallm__jw *j, const struct metallm__responses_frame *f)
{
    metallm__jw_open(j, '{');
    put_id(j, f->id);
    put(j, "object", "\"response\"");
    metallm__jw_name(j, "created_at");
    metallm__jw_count(j, f->wall_s > 0 ? (uint64_t)f->wall_s : 0);
    put_status(j, f);
    put_span(j, "model", f->model);
    metallm__jw_name(j, "output");
    metallm__jw_open(j, '[');
    if (f->output.n > 0)
        metallm__jw_json(j, f->output);
    metallm__jw_close(j, ']');
    put_echo(j, f->request, "instructions", "null");
    put_echo(j, f->request, "max_output_tokens", "null");
    put_echo(j, f->request, "metadata", "{}");
    put_echo(j, f->request, "parallel_tool_calls", "true");
    put(j, "previous_response_id", "null");
    put_echo(j, f->request, "reasoning", "{\"effort\":null,\"summary\":null}");
    put(j, "store", "false");
    put_echo(j, f->request, "temperature", "null");
    put_echo(j, f->request, "text", "{\"format\":{\"type\":\"text\"}}");
    put_echo(j, f->request, "tool_choice", "\"auto\"");
    put_echo(j, f->request, "tools", "[]");
    put_echo(j, f->request, "top_p", "null");
    put(j, "truncation", "\"disabled\"");
    put_usage(j, f->usage);
    metallm__jw_close(j, '}');
}

/* "msg_2_ID": what the item is, its number, and the answer's id. */
struct metallm__span metallm__responses_item_id(char room[METALLM__RESPONSES_ID_BYTES],
                                                enum metallm__part_kind kind, unsigned number,
                                                struct metallm__span id)
{
    const char *mark = kind == METALLM__PART_CALL        ? "fc"
                       : kind == METALLM__PART_REASONING ? "rs"
                                                         : "msg";
    int n = snprintf(room, METALLM__RESPONSES_ID_BYTES, "%s_%u_%.*s", mark, number,
                     (int)(id.n < 48 ? id.n : 48), id.n > 0 ? id.p : "");
    return metallm__span(room, n > 0 ? (size_t)n : 0);
}

int metallm__responses_said_out(const struct metallm__said *said,
                                const struct metallm__wire_request *request,
                                struct metallm__span model, int64_t wall_s,
                                struct metallm__buf *out, metallm_error *err)
{
    struct metallm__buf items;
    metallm__buf_init(&items, out->max);
    struct metallm__jw j = {.out = &items};
    for (size_t i = 0; i < said->part_count; i++) {
        char room[METALLM__RESPONSES_ID_BYTES];
        const struct metallm__part *part = &said->parts[i];
        metallm__responses_item_write(
            &j, part, metallm__responses_item_id(room, part->kind, (unsigned)i, said->id), true);
    }
    struct metallm__responses_frame f = {.id = said->id,
                                         .model = model,
                                         .wall_s = wall_s,
                                         .request = request,
                                         .finish = said->finish,
                                         .is_done = true,
                                         .output = metallm__span(items.data, items.len),
                                         .usage = &said->usage};
    struct metallm__jw whole = {.out = out};
    metallm__responses_frame_write(&whole, &f);
    out->failed |= items.failed;
    metallm__buf_fini(&items);
    return metallm__buf_check(out, err);
}
