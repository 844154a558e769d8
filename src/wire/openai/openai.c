/* SPDX-License-Identifier: Apache-2.0
 * openai.c - the protocol of OpenAI's chat completions, completions and embeddings, as spoken by
 * OpenAI, Together, Mistral, Groq, DeepSeek, vLLM, Ollama and llama.cpp. */
#include "wire/openai/openai.h"

#include "base/error.h"
#include "wire/stream.h"

int metallm__openai_head_out(const struct metallm__wire_target *t,
                             const struct metallm__wire_out *body, int64_t wall_ms,
                             struct metallm__buf *lines, metallm_error *err)
{
    (void)body;
    (void)wall_ms;
    if (t->key.n > 0) {
        metallm__buf_puts(lines, t->azure_version.n > 0 ? "api-key: " : "authorization: Bearer ");
        metallm__buf_add(lines, t->key.p, t->key.n);
        metallm__buf_puts(lines, "\r\n");
    }
    return metallm__buf_check(lines, err);
}

/* Azure's classic URLs name the model, as it is called there, and a version; Responses name it in
 * the body alone. */
int metallm__openai_path(const struct metallm__wire_target *t, struct metallm__wire_out *out,
                         metallm_error *err)
{
    if (t->azure_version.n == 0)
        return METALLM_OK;
    struct metallm__buf *b = &out->path_made;
    metallm__buf_puts(b, "/openai");
    if (!metallm__span_is(out->path, "/responses")) {
        metallm__buf_puts(b, "/deployments/");
        metallm__wire_segment_write(b, t->model);
    }
    metallm__buf_add(b, out->path.p, out->path.n);
    metallm__buf_puts(b, "?api-version=");
    metallm__wire_segment_write(b, t->azure_version);
    out->path = metallm__span(b->data, b->len);
    return metallm__buf_check(b, err);
}

static int request_out(const struct metallm__wire_request *r, const struct metallm__wire_target *t,
                       struct metallm__wire_out *out, metallm_error *err)
{
    metallm__wire_native_out(&metallm__wire_openai, r, t, out);
    return metallm__openai_path(t, out, err);
}

/* ---- Answers. ---- */

static int answer_in(enum metallm__wire_kind kind, struct metallm__span body,
                     struct metallm__wire_answer *out, metallm_error *err)
{
    yyjson_read_err why = {0};
    metallm__wire_answer_clear(out);
    /* Numbers are left as they are written: of an embedding's thousands none is looked at. */
    yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)(body.n > 0 ? body.p : ""), body.n,
                                       YYJSON_READ_NUMBER_AS_RAW, &metallm__json_alc, &why);
    if (doc == NULL)
        return why.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION
                   ? metallm__error_nomem(err, "an answer")
                   : metallm__error_set(err, METALLM_EFORMAT, "the answer is no JSON");
    yyjson_val *root = yyjson_doc_get_root(doc);
    int rc = METALLM_OK;
    if (metallm__openai_read_error(root, err))
        rc = METALLM_EFORMAT;
    else if (!yyjson_is_arr(
                 yyjson_obj_get(root, kind == METALLM__WIRE_EMBEDDING ? "data" : "choices")))
        rc = metallm__error_set(err, METALLM_EFORMAT, "the answer has no '%s'",
                                kind == METALLM__WIRE_EMBEDDING ? "data" : "choices");
    else
        metallm__openai_read_answer(root, out);
    yyjson_doc_free(doc);
    return rc;
}

static int raw_event_in(struct metallm__wire_stream *s, const struct metallm__sse_event *e)
{
    if (metallm__span_is(e->data, "[DONE]")) {
        s->is_done = true;
        return metallm__stream_pass_alone(s, METALLM__WIRE_PIECE_DONE, e->raw);
    }
    yyjson_val *root = NULL;
    int rc = metallm__hear_json(&s->hearing, e->data, &root);
    if (rc != METALLM_OK)
        return rc;
    if (metallm__openai_read_error(root, s->err))
        return METALLM_EFORMAT;
    bool is_usage_alone = metallm__openai_read_chunk(root, &s->answer);
    if (!is_usage_alone)
        return metallm__stream_pass(s, e->raw);
    return s->is_usage_dropped ? metallm__stream_flush(s)
                               : metallm__stream_pass_alone(s, METALLM__WIRE_PIECE_USAGE, e->raw);
}

#define KINDS(kind) (1u << METALLM__WIRE_##kind)

const struct metallm__wire metallm__wire_openai = {
    .name = "openai",
    .native = KINDS(CHAT) | KINDS(COMPLETION) | KINDS(EMBEDDING) | KINDS(RESPONSES),
    .responses = &metallm__wire_openai_responses,
    .native_paths = {[METALLM__WIRE_CHAT] = "/chat/completions",
                     [METALLM__WIRE_COMPLETION] = "/completions",
                     [METALLM__WIRE_EMBEDDING] = "/embeddings",
                     [METALLM__WIRE_RESPONSES] = "/responses"},
    .verdicts = metallm__openai_verdicts,
    .accept = "text/event-stream",
    .is_head_static = true,
    .head_out = metallm__openai_head_out,
    .talk_out = metallm__openai_talk_out,
    .said_in = metallm__openai_said_in,
    .event_in = metallm__openai_event_in,
    .request_out = request_out,
    .answer_in = answer_in,
    .raw_event_in = raw_event_in,
    .error_in = metallm__openai_error_in,
};

/* ---- Surfaces. ---- */

const struct metallm__surface metallm__surface_chat = {
    .name = "chat",
    .talk_in = metallm__openai_talk_in,
    .said_out = metallm__openai_said_out,
    .delta_out = metallm__openai_delta_out,
    .error_out = metallm__wire_error_write,
    .error_event = metallm__wire_error_event,
};
const struct metallm__surface metallm__surface_embedding = {
    .name = "embeddings",
    .error_out = metallm__wire_error_write,
    .error_event = metallm__wire_error_event,
};
