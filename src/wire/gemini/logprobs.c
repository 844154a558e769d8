/* SPDX-License-Identifier: Apache-2.0
 * logprobs.c - Gemini's logprobsResult in the form of OpenAI's chat completions:
 * {"content":[{"token","logprob","bytes","top_logprobs":[...]}],"refusal":null}. */
#include "base/json_out.h"
#include "wire/gemini/gemini.h"
#include "wire/talk_read.h"

#define LOGPROBS_BYTES_MAX ((size_t)64 << 20)

static void write_token(struct metallm__jw *j, yyjson_val *v)
{
    struct metallm__span token = metallm__wire_text(yyjson_obj_get(v, "token"));
    double logprob = 0;
    metallm__jw_name(j, "token");
    metallm__jw_span(j, token);
    metallm__jw_name(j, "logprob");
    metallm__jw_real(j, metallm__json_real(yyjson_obj_get(v, "logProbability"), &logprob) ? logprob
                                                                                          : 0);
    metallm__jw_name(j, "bytes");
    metallm__jw_open(j, '[');
    for (size_t i = 0; i < token.n; i++)
        metallm__jw_count(j, (unsigned char)token.p[i]);
    metallm__jw_close(j, ']');
}

static void write_step(struct metallm__jw *j, yyjson_val *chosen, yyjson_val *top)
{
    metallm__jw_open(j, '{');
    write_token(j, chosen);
    metallm__jw_name(j, "top_logprobs");
    metallm__jw_open(j, '[');
    yyjson_arr_iter i = yyjson_arr_iter_with(yyjson_obj_get(top, "candidates"));
    for (yyjson_val *one; (one = yyjson_arr_iter_next(&i)) != NULL;) {
        metallm__jw_open(j, '{');
        write_token(j, one);
        metallm__jw_close(j, '}');
    }
    metallm__jw_close(j, ']');
    metallm__jw_close(j, '}');
}

struct metallm__span metallm__gemini_logprobs_in(yyjson_val *result, struct metallm__pool *pool)
{
    yyjson_val *chosen = yyjson_obj_get(result, "chosenCandidates");
    if (!yyjson_is_arr(chosen))
        return (struct metallm__span){NULL, 0};
    struct metallm__buf text;
    metallm__buf_init(&text, LOGPROBS_BYTES_MAX);
    struct metallm__jw j = {.out = &text};
    metallm__jw_open(&j, '{');
    metallm__jw_name(&j, "content");
    metallm__jw_open(&j, '[');
    yyjson_arr_iter i = yyjson_arr_iter_with(chosen);
    yyjson_arr_iter tops = yyjson_arr_iter_with(yyjson_obj_get(result, "topCandidates"));
    for (yyjson_val *one; (one = yyjson_arr_iter_next(&i)) != NULL;)
        write_step(&j, one, yyjson_arr_iter_next(&tops));
    metallm__jw_close(&j, ']');
    metallm__jw_name(&j, "refusal");
    metallm__jw_raw(&j, "null");
    metallm__jw_close(&j, '}');
    pool->failed |= text.failed;
    struct metallm__span kept = metallm__pool_copy(pool, metallm__span(text.data, text.len));
    metallm__buf_fini(&text);
    return kept;
}
