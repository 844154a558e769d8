/* SPDX-License-Identifier: Apache-2.0
 * completion.c - the surface of legacy completions over LLMs that chat: the prompt is what the user
 * says, the answer's texts are the completion. */
#include "base/error.h"
#include "wire/openai/openai.h"
#include "wire/talk_read.h"

/* One text, alone or in an array. */
static int read_prompt(struct metallm__openai_reading *r, yyjson_val *v)
{
    yyjson_val *text = yyjson_arr_size(v) == 1 ? yyjson_arr_get_first(v) : v;
    struct metallm__turn_list turns = {.pool = r->pool};
    if (!yyjson_is_str(text)) {
        metallm__openai_use(r, METALLM__FEATURE_COMPLETION_EXTRAS);
        return METALLM_OK;
    }
    struct metallm__part_list *parts = metallm__turn_parts(&turns, METALLM__ROLE_USER);
    struct metallm__part *part =
        parts != NULL ? metallm__part_add(parts, METALLM__PART_TEXT) : NULL;
    if (part == NULL)
        return metallm__pool_check(r->pool, r->err);
    part->text = metallm__wire_text(text);
    metallm__turn_end(&turns);
    r->talk->turns = turns.items;
    r->talk->turn_count = turns.count;
    return METALLM_OK;
}

/* What says nothing beyond the default. */
static bool is_default(struct metallm__span name, yyjson_val *v)
{
    double value = 0;
    if (metallm__span_is(name, "best_of"))
        return metallm__json_real(v, &value) && value <= 1;
    return yyjson_is_false(v) || (yyjson_is_str(v) && yyjson_get_len(v) == 0);
}

static int read_member(struct metallm__openai_reading *r, struct metallm__span name, yyjson_val *v)
{
    static const char *const extras[] = {"suffix", "echo", "best_of", "logprobs"};
    if (metallm__span_is(name, "prompt"))
        return read_prompt(r, v);
    int rc = metallm__openai_option_in(r, name, v);
    if (rc != METALLM_ENOTFOUND)
        return rc;
    for (size_t i = 0; i < sizeof extras / sizeof *extras; i++)
        if (metallm__span_is(name, extras[i])) {
            if (!yyjson_is_null(v) && !is_default(name, v))
                metallm__openai_use(r, METALLM__FEATURE_COMPLETION_EXTRAS);
            return METALLM_OK;
        }
    if (!yyjson_is_null(v))
        metallm__openai_other_in(r, name);
    return METALLM_OK;
}

static int talk_in(yyjson_val *root, struct metallm__pool *pool, struct metallm__talk *out,
                   const char **param, metallm_error *err)
{
    struct metallm__openai_reading r = {.pool = pool, .talk = out, .param = param, .err = err};
    yyjson_obj_iter i = yyjson_obj_iter_with(root);
    for (yyjson_val *key; (key = yyjson_obj_iter_next(&i)) != NULL;) {
        int rc = read_member(&r, metallm__wire_text(key), yyjson_obj_iter_get_val(key));
        if (rc != METALLM_OK)
            return rc;
    }
    out->max_tokens = r.max_tokens;
    return metallm__pool_check(pool, err);
}

static void put_texts(struct metallm__jw *j, const struct metallm__said *said)
{
    metallm__jw_name(j, "text");
    metallm__buf_add(j->out, "\"", 1);
    for (size_t i = 0; i < said->part_count; i++)
        if (said->parts[i].kind == METALLM__PART_TEXT ||
            said->parts[i].kind == METALLM__PART_REFUSAL)
            metallm__json_escaped(j->out, said->parts[i].text.p, said->parts[i].text.n);
    metallm__buf_add(j->out, "\"", 1);
    j->wants_comma = true;
}

static int said_out(const struct metallm__said *said, const struct metallm__wire_request *request,
                    struct metallm__span model, int64_t wall_s, struct metallm__buf *out,
                    metallm_error *err)
{
    struct metallm__jw j = {.out = out};
    (void)request;
    metallm__jw_open(&j, '{');
    metallm__openai_id_out(&j, "cmpl-", said->id);
    metallm__jw_name(&j, "object");
    metallm__jw_text(&j, "text_completion");
    metallm__jw_name(&j, "created");
    metallm__jw_integer(&j, wall_s);
    metallm__jw_name(&j, "model");
    metallm__jw_span(&j, model);
    metallm__jw_name(&j, "choices");
    metallm__jw_open(&j, '[');
    metallm__jw_open(&j, '{');
    put_texts(&j, said);
    metallm__buf_puts(out, ",\"index\":0,\"logprobs\":null");
    metallm__jw_name(&j, "finish_reason");
    metallm__jw_text(&j, metallm__openai_finish_out(said->finish, false));
    metallm__jw_close(&j, '}');
    metallm__jw_close(&j, ']');
    metallm__openai_usage_out(&j, &said->usage);
    metallm__jw_close(&j, '}');
    return metallm__buf_check(out, err);
}

const struct metallm__surface metallm__surface_completion = {
    .name = "completions",
    .talk_in = talk_in,
    .said_out = said_out,
    .delta_out = metallm__completion_delta_out,
    .error_out = metallm__wire_error_write,
    .error_event = metallm__wire_error_event,
};
