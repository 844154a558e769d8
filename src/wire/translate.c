/* SPDX-License-Identifier: Apache-2.0
 * translate.c - requests, answers and refusals on their way between the client's surface and the
 * upstream's protocol: passed where these are the same, else read and written anew. */
#include <stdatomic.h>
#include <stdio.h>

#include "base/error.h"
#include "wire/json_text.h"
#include "wire/wire.h"

/* ---- Requests. ---- */

bool metallm__wire_says(const struct metallm__wire *w, const struct metallm__wire_target *t,
                        struct metallm__wire_request *r, const char **why)
{
    const struct metallm__talk *talk;
    *why = "cannot be told this kind of request";
    if (metallm__wire_is_native(w, t, r->kind))
        return true;
    if (r->kind == METALLM__WIRE_EMBEDDING)
        return w->embed_out != NULL;
    if (r->kind == METALLM__WIRE_COUNT || w->talk_out == NULL)
        return false;
    int rc = metallm__wire_request_talk(r, &talk, NULL);
    if (rc != METALLM_OK) {
        *why = r->talk_err.message;
        return false;
    }
    uint64_t refused = metallm__talk_with(talk, w->verdicts, METALLM__VERDICT_REFUSED);
    if (refused != 0)
        *why = metallm__feature_untold((enum metallm__feature)__builtin_ctzll(refused));
    return refused == 0;
}

static void put_made(struct metallm__wire_out *out)
{
    out->spans[0] = metallm__span(out->made.data, out->made.len);
    out->span_count = 1;
    out->body_bytes = out->made.len;
    out->is_translated = true;
}

static int translate_out(const struct metallm__wire *w, struct metallm__wire_request *r,
                         const struct metallm__wire_target *t, struct metallm__wire_out *out,
                         metallm_error *err)
{
    const struct metallm__talk *talk = NULL;
    if (r->kind == METALLM__WIRE_COUNT || r->kind == METALLM__WIRE_EMBEDDING || w->talk_out == NULL)
        return metallm__error_set(err, METALLM_EINVAL, "%s cannot be told this kind of request",
                                  w->name);
    int rc = metallm__wire_request_talk(r, &talk, err);
    if (rc == METALLM_OK)
        rc = metallm__talk_check(talk, w->verdicts, w->name, err);
    if (rc != METALLM_OK)
        return rc;
    out->dropped = metallm__talk_with(talk, w->verdicts, METALLM__VERDICT_DROPPED);
    rc = w->talk_out(talk, t, out, err);
    return rc == METALLM_OK ? metallm__buf_check(&out->made, err) : rc;
}

int metallm__wire_request_out(const struct metallm__wire *w, struct metallm__wire_request *r,
                              const struct metallm__wire_target *t, struct metallm__wire_out *out,
                              metallm_error *err)
{
    int rc = METALLM_OK;
    *out = (struct metallm__wire_out){.is_translated = false};
    metallm__buf_init(&out->made, 4 * METALLM__WIRE_BODY_BYTES_MAX);
    metallm__buf_init(&out->path_made, 8192);
    if (metallm__wire_is_native(w, t, r->kind) && w->request_out != NULL) {
        rc = w->request_out(r, t, out, err);
    } else if (metallm__wire_is_native(w, t, r->kind)) {
        metallm__wire_native_out(w, r, t, out);
    } else {
        if (r->kind == METALLM__WIRE_EMBEDDING && w->embed_out != NULL)
            rc = w->embed_out(r, t, out, err);
        else
            rc = translate_out(w, r, t, out, err);
        if (rc == METALLM_OK)
            put_made(out);
    }
    if (rc == METALLM_OK)
        rc = metallm__buf_check(&out->path_made, err);
    if (rc != METALLM_OK)
        metallm__wire_out_fini(out);
    return rc;
}

/* ---- Answers. ---- */

static int parse_answer(struct metallm__span body, yyjson_doc **out, metallm_error *err)
{
    yyjson_read_err why = {0};
    *out = yyjson_read_opts((char *)(uintptr_t)(body.n > 0 ? body.p : ""), body.n,
                            YYJSON_READ_NUMBER_AS_RAW, &metallm__json_alc, &why);
    if (*out != NULL)
        return METALLM_OK;
    return why.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION
               ? metallm__error_nomem(err, "an answer")
               : metallm__error_set(err, METALLM_EFORMAT, "the answer is no JSON");
}

void metallm__wire_id_make(char out[METALLM__WIRE_MADE_ID_BYTES], int64_t wall_s)
{
    static atomic_uint_fast32_t serial;
    snprintf(out, METALLM__WIRE_MADE_ID_BYTES, "%llx%08x", (unsigned long long)wall_s,
             (unsigned)(atomic_fetch_add(&serial, 1) * 2654435761u));
}

static void tell_of(const struct metallm__said *said, struct metallm__wire_answer *out)
{
    out->usage = said->usage;
    out->finish = said->finish;
    metallm__wire_text_copy(out->id, sizeof out->id, said->id);
    metallm__wire_text_copy(out->model, sizeof out->model, said->model);
    for (size_t i = 0; i < said->part_count; i++) {
        out->text_units += metallm__token_units(said->parts[i].text);
        if (said->parts[i].kind == METALLM__PART_CALL)
            out->text_units += metallm__token_units(said->parts[i].name);
    }
}

static int read_said(const struct metallm__wire *w, const struct metallm__wire_request *r,
                     bool is_translated, yyjson_val *root, int64_t wall_s,
                     struct metallm__buf *made, struct metallm__wire_answer *out,
                     metallm_error *err)
{
    struct metallm__pool pool;
    struct metallm__said said = {.usage = METALLM__WIRE_USAGE_UNKNOWN};
    metallm__pool_init(&pool, METALLM__WIRE_ANSWER_POOL_BYTES_MAX);
    int rc = w->said_in(root, &pool, &said, err);
    if (rc == METALLM_OK)
        rc = metallm__pool_check(&pool, err);
    if (rc == METALLM_OK) {
        tell_of(&said, out);
        struct metallm__span model = said.model.n > 0 ? said.model : r->model;
        char made_id[METALLM__WIRE_MADE_ID_BYTES];
        metallm__wire_id_make(made_id, wall_s);
        if (said.id.n == 0)
            said.id = metallm__span_of(made_id);
        if (is_translated)
            rc = metallm__surface_of(r->kind)->said_out(&said, r, model, wall_s, made, err);
    }
    metallm__pool_fini(&pool);
    return rc;
}

int metallm__wire_answer_in(const struct metallm__wire *w, const struct metallm__wire_request *r,
                            bool is_translated, struct metallm__span body, int64_t wall_s,
                            struct metallm__buf *made, struct metallm__wire_answer *out,
                            metallm_error *err)
{
    yyjson_doc *doc = NULL;
    metallm__wire_answer_clear(out);
    if (!is_translated)
        w = metallm__wire_native(w, r->kind);
    if (!is_translated && w->answer_in != NULL)
        return w->answer_in(r->kind, body, out, err);
    int rc = parse_answer(body, &doc, err);
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (rc == METALLM_OK && !yyjson_is_obj(root))
        rc = metallm__error_set(err, METALLM_EFORMAT, "the answer is no JSON object");
    else if (rc == METALLM_OK && r->kind == METALLM__WIRE_COUNT) /* costs nothing */
        out->usage = (struct metallm__wire_usage){0, 0, 0, 0, 0, false};
    else if (rc == METALLM_OK && r->kind == METALLM__WIRE_EMBEDDING)
        rc = w->embed_in(root, r, made, out, err);
    else if (rc == METALLM_OK)
        rc = read_said(w, r, is_translated, root, wall_s, made, out, err);
    yyjson_doc_free(doc);
    return rc == METALLM_OK ? metallm__buf_check(made, err) : rc;
}

void metallm__wire_refusal_in(const struct metallm__wire *w, const struct metallm__wire_request *r,
                              const struct metallm__wire_refused *refused,
                              struct metallm__buf *made)
{
    struct metallm__wire_error e = {.message = ""};
    w->error_in(refused->body, &e);
    if (e.code[0] == '\0') { /* "ValidationException:http://..." */
        struct metallm__span kind = refused->kind;
        const char *colon = kind.n > 0 ? memchr(kind.p, ':', kind.n) : NULL;
        kind.n = colon != NULL ? (size_t)(colon - kind.p) : kind.n;
        metallm__wire_text_copy(e.code, sizeof e.code, kind);
    }
    const struct metallm__wire_refusal refusal = {
        .message = e.message[0] != '\0' ? e.message : "the LLM's provider refused the request",
        .type = "invalid_request_error",
        .code = e.code[0] != '\0' ? e.code : NULL,
        .status = (int)refused->status};
    metallm__surface_of(r->kind)->error_out(made, &refusal);
}
