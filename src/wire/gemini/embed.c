/* SPDX-License-Identifier: Apache-2.0
 * embed.c - OpenAI's embeddings by batchEmbedContents, which takes one text as well as many.
 */
#include "base/error.h"
#include "wire/gemini/gemini.h"
#include "wire/talk_read.h"
#include "wire/vectors.h"

static void write_one(struct metallm__jw *j, const struct metallm__vectors_ask *ask, size_t i,
                      struct metallm__span model)
{
    metallm__jw_open(j, '{');
    metallm__jw_name(j, "model");
    metallm__jw_span(j, model);
    metallm__jw_name(j, "content");
    metallm__jw_open(j, '{');
    metallm__jw_name(j, "parts");
    metallm__jw_open(j, '[');
    metallm__jw_open(j, '{');
    metallm__jw_name(j, "text");
    metallm__jw_span(j, metallm__vectors_text(ask, i));
    metallm__jw_close(j, '}');
    metallm__jw_close(j, ']');
    metallm__jw_close(j, '}');
    if (ask->dimensions > 0) {
        metallm__jw_name(j, "outputDimensionality");
        metallm__jw_count(j, ask->dimensions);
    }
    metallm__jw_close(j, '}');
}

int metallm__gemini_embed_out(const struct metallm__wire_request *r,
                              const struct metallm__wire_target *t, struct metallm__wire_out *out,
                              metallm_error *err)
{
    struct metallm__vectors_ask ask;
    struct metallm__jw j = {.out = &out->made};
    int rc = metallm__vectors_read(&ask, r, METALLM__GEMINI, err);
    if (rc != METALLM_OK)
        return rc;
    if (ask.count > METALLM__GEMINI_EMBEDDINGS_MAX)
        return metallm__error_set(err, METALLM_EINVAL, "gemini embeds at most %u texts at a time",
                                  METALLM__GEMINI_EMBEDDINGS_MAX);
    metallm__gemini_path_write(&out->path_made, t->model);
    rc = metallm__buf_check(&out->path_made, err);
    if (rc != METALLM_OK)
        return rc;
    struct metallm__buf name; /* "models/NAME", as in the path */
    metallm__buf_init(&name, out->path_made.max);
    metallm__buf_add(&name, out->path_made.data + 1, out->path_made.len - 1);
    metallm__buf_puts(&out->path_made, ":batchEmbedContents");
    metallm__jw_open(&j, '{');
    metallm__jw_name(&j, "requests");
    metallm__jw_open(&j, '[');
    for (size_t i = 0; i < ask.count; i++)
        write_one(&j, &ask, i, metallm__span(name.data, name.len));
    metallm__jw_close(&j, ']');
    metallm__jw_close(&j, '}');
    out->made.failed |= name.failed;
    metallm__buf_fini(&name);
    rc = metallm__buf_check(&out->path_made, err);
    out->path = metallm__span(out->path_made.data, out->path_made.len);
    return rc == METALLM_OK ? metallm__buf_check(&out->made, err) : rc;
}

int metallm__gemini_embed_in(yyjson_val *root, const struct metallm__wire_request *r,
                             struct metallm__buf *out, struct metallm__wire_answer *answer,
                             metallm_error *err)
{
    struct metallm__vectors_ask ask;
    struct metallm__jw j = {.out = out};
    yyjson_val *list = yyjson_obj_get(root, "embeddings");
    int rc = metallm__gemini_error_check(root, err);
    if (rc == METALLM_OK)
        rc = metallm__vectors_read(&ask, r, METALLM__GEMINI, err);
    if (rc != METALLM_OK)
        return rc;
    if (yyjson_arr_size(list) != ask.count)
        return metallm__error_set(err, METALLM_EFORMAT, "the answer has %zu vectors for %zu texts",
                                  yyjson_arr_size(list), ask.count);
    metallm__json_tokens(yyjson_obj_get(yyjson_obj_get(root, "usageMetadata"), "promptTokenCount"),
                         &answer->usage.input_tokens);
    metallm__vectors_begin(&j);
    yyjson_arr_iter i = yyjson_arr_iter_with(list);
    for (size_t k = 0; rc == METALLM_OK && k < ask.count; k++)
        rc = metallm__vectors_one(&j, k, yyjson_obj_get(yyjson_arr_iter_next(&i), "values"),
                                  ask.is_base64, err);
    metallm__vectors_end(&j, r, answer->usage.input_tokens);
    return rc == METALLM_OK ? metallm__buf_check(out, err) : rc;
}
