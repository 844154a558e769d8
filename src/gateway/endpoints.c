/* SPDX-License-Identifier: Apache-2.0
 * endpoints.c - the table of all endpoints, and those that are short: health, metrics, stored
 * responses, feedback, decisions. */
#include <math.h>
#include <stdio.h>

#include "base/error.h"
#include "base/json.h"
#include "base/json_out.h"
#include "base/mem.h"
#include "gateway/admin_visit.h"
#include "gateway/chat.h"
#include "gateway/gauges.h"

static void reply_text(struct metallm__visit *v, int status, const char *type, const char *text)
{
    struct metallm__reply r = {.status = status, .type = type};
    metallm__visit_reply(v, &r, metallm__span_of(text), NULL);
    metallm__visit_free(v);
}

/* ---- /healthz: the process answers. /readyz: it takes requests, and the store takes records. ----
 */

static void health_begin(struct metallm__visit *v)
{
    reply_text(v, 200, "text/plain; charset=utf-8", "ok\n");
}

static void ready_begin(struct metallm__visit *v)
{
    struct metallm__shared *s = v->worker->shared;
    struct metallm__journal_stats stats;
    metallm__journal_stats(s->journal, &stats);
    if (atomic_load(&s->is_stopping))
        reply_text(v, 503, "text/plain; charset=utf-8", "stopping\n");
    else if (!atomic_load(&s->is_ready))
        reply_text(v, 503, "text/plain; charset=utf-8", "starting\n");
    else if (stats.is_failing)
        reply_text(v, 503, "text/plain; charset=utf-8", "the store cannot be written\n");
    else
        reply_text(v, 200, "text/plain; charset=utf-8", "ready\n");
}

/* ---- /metrics. ---- */

static void metrics_begin(struct metallm__visit *v)
{
    if (v->world->config->auth.metrics && !v->is_admin) {
        struct metallm__refusal no = {
            .status = 401, .type = "invalid_request_error", .code = "admin_only"};
        metallm__visit_refuse(v, &no, "this needs the admin key");
        metallm__visit_free(v);
        return;
    }
    struct metallm__buf b;
    metallm__buf_init(&b, (size_t)16 << 20);
    metallm__gauges_render(v->worker->shared, v->world, &b);
    metallm__visit_buffer(v, METALLM__METRICS_TYPE, &b);
}

/* ---- /v1/responses/...: nothing is stored here. ---- */

static void stored_begin(struct metallm__visit *v)
{
    static const char cancel[] = "/cancel";
    struct metallm__span path = v->http->path;
    const size_t n = sizeof cancel - 1;
    bool is_cancel = path.n > n && memcmp(path.p + path.n - n, cancel, n) == 0;
    bool is_stored = v->http->method != METALLM__POST || is_cancel;
    struct metallm__refusal no = {.status = 404,
                                  .type = "invalid_request_error",
                                  .code = is_stored ? "responses_not_stored" : "not_found"};
    metallm__visit_refuse(
        v, &no,
        is_stored ? "responses are not stored here: send the whole conversation in 'input'"
                  : "there is no such path here");
    metallm__visit_free(v);
}

/* ---- What the journal answers: it is posted from its thread to the loop. ---- */

struct waiting {
    struct metallm__visit visit; /* first */
    struct metallm__mail mail;
    int rc;
    metallm_error err;
    struct metallm__buf json; /* decisions */
    char id[METALLM__DECISION_ID_LEN + 1];
};

static const char *key_id(const struct metallm__visit *v)
{
    return v->key == NULL ? "" : v->key->id;
}

static void refuse_decision(struct metallm__visit *v)
{
    struct metallm__refusal no = {
        .status = 404, .type = "invalid_request_error", .code = "decision_not_found"};
    metallm__visit_refuse(v, &no, "this key made no such decision, or it is no longer kept");
    metallm__visit_free(v);
}

/* ---- POST /v1/feedback. ---- */

static void feedback_told(struct metallm__mail *mail)
{
    struct waiting *w = (struct waiting *)(void *)((char *)mail - offsetof(struct waiting, mail));
    struct metallm__visit *v = &w->visit;
    if (w->rc == METALLM_OK) {
        char text[128];
        snprintf(text, sizeof text,
                 "{\"object\":\"feedback\",\"decision\":\"%s\",\"recorded\":true}", w->id);
        metallm__metrics_feedback(v->worker->shard, METALLM__FEEDBACK_NEW);
        reply_text(v, 200, NULL, text);
    } else if (w->rc == METALLM_ENOTFOUND) {
        metallm__metrics_feedback(v->worker->shard, METALLM__FEEDBACK_UNKNOWN);
        refuse_decision(v);
    } else {
        struct metallm__refusal no = {
            .status = 503, .type = "server_error", .retry_after_ms = 1000};
        if (w->rc == METALLM_EINVAL)
            no = (struct metallm__refusal){.status = 422, .type = "invalid_request_error"};
        metallm__visit_refuse(v, &no, w->err.message);
        metallm__visit_free(v);
    }
}

static void feedback_done(void *payload, int rc, const metallm_error *err)
{
    struct waiting *w = payload;
    w->rc = rc;
    if (err != NULL)
        w->err = *err;
    metallm__loop_mail(w->visit.worker->loop, &w->mail);
}

/* A member that is a text, or not given. False: of another type. */
static bool text_member(yyjson_val *object, const char *name, const char **out, size_t *len)
{
    yyjson_val *value = yyjson_obj_get(object, name);
    *out = yyjson_get_str(value);
    *len = yyjson_get_len(value);
    return value == NULL || yyjson_is_null(value) || yyjson_is_str(value);
}

static int read_feedback(yyjson_doc *doc, struct metallm__feedback *f, const char **id,
                         size_t *id_len, metallm_error *err)
{
    yyjson_val *root = yyjson_doc_get_root(doc);
    yyjson_val *score = yyjson_obj_get(root, "score");
    if (!yyjson_is_obj(root))
        return metallm__error_set(err, METALLM_EFORMAT, "feedback is a JSON object");
    if (!text_member(root, "decision", id, id_len) || *id == NULL)
        return metallm__error_set(err, METALLM_EINVAL, "'decision' is to be the id of a decision");
    if (score != NULL && !yyjson_is_num(score) && !yyjson_is_null(score))
        return metallm__error_set(err, METALLM_EINVAL, "'score' is to be a number, 0..1");
    f->score = yyjson_is_num(score) ? yyjson_get_num(score) : NAN;
    if (!text_member(root, "label", &f->label, &f->label_bytes))
        return metallm__error_set(err, METALLM_EINVAL, "'label' is to be a text");
    if (!text_member(root, "comment", &f->comment, &f->comment_bytes))
        return metallm__error_set(err, METALLM_EINVAL, "'comment' is to be a text");
    return METALLM_OK;
}

static void feedback_begin(struct metallm__visit *v)
{
    struct waiting *w = (struct waiting *)v;
    struct metallm__journal *journal = v->worker->shared->journal;
    struct metallm__feedback f = {.score = NAN};
    struct metallm__decision_id decision;
    yyjson_doc *doc = NULL;
    const char *id = NULL;
    size_t id_len = 0;
    int rc = metallm__json_read(&doc, v->http->body.p == NULL ? "" : v->http->body.p,
                                v->http->body.n, &w->err);
    if (rc == METALLM_OK)
        rc = read_feedback(doc, &f, &id, &id_len, &w->err);
    if (rc == METALLM_OK && !metallm__journal_find(journal, id, id_len, key_id(v), &decision)) {
        yyjson_doc_free(doc);
        metallm__metrics_feedback(v->worker->shard, METALLM__FEEDBACK_UNKNOWN);
        refuse_decision(v);
        return;
    }
    if (rc == METALLM_OK) {
        memcpy(w->id, id, id_len);
        w->mail.deliver = feedback_told;
        rc = metallm__journal_feedback(journal, &decision, &f, feedback_done, w, &w->err);
    }
    yyjson_doc_free(doc);
    if (rc == METALLM_OK)
        return;
    if (rc != METALLM_EBUSY)
        metallm__metrics_feedback(v->worker->shard, METALLM__FEEDBACK_REFUSED);
    metallm__visit_fail(v, &w->err);
    metallm__visit_free(v);
}

/* ---- GET /v1/decisions/{id}. ---- */

static void decision_told(struct metallm__mail *mail)
{
    struct waiting *w = (struct waiting *)(void *)((char *)mail - offsetof(struct waiting, mail));
    struct metallm__visit *v = &w->visit;
    metallm_error err;
    if (w->rc == METALLM_OK)
        w->rc = metallm__buf_check(&w->json, &w->err);
    if (w->rc == METALLM_ENOTFOUND) {
        metallm__buf_fini(&w->json);
        refuse_decision(v);
        return;
    }
    struct metallm__reply r = {.status = 200};
    err = w->err;
    if (w->rc == METALLM_OK)
        metallm__visit_reply(v, &r, metallm__span(w->json.data, w->json.len), NULL);
    else
        metallm__visit_fail(v, &err);
    metallm__buf_fini(&w->json);
    metallm__visit_free(v);
}

static void decision_shown(void *payload, int rc, const char *json, size_t len,
                           const metallm_error *err)
{
    struct waiting *w = payload;
    w->rc = rc;
    if (rc == METALLM_OK)
        metallm__buf_add(&w->json, json, len);
    else if (err != NULL)
        w->err = *err;
    metallm__loop_mail(w->visit.worker->loop, &w->mail);
}

static void decision_begin(struct metallm__visit *v)
{
    struct waiting *w = (struct waiting *)v;
    struct metallm__journal *journal = v->worker->shared->journal;
    struct metallm__decision_id id;
    char text[METALLM__DECISION_ID_LEN + 2];
    if (!metallm__visit_path_rest(v, "/v1/decisions/", text, sizeof text) ||
        !metallm__journal_find(journal, text, strlen(text), key_id(v), &id)) {
        refuse_decision(v);
        return;
    }
    memcpy(w->id, text, sizeof w->id);
    metallm__buf_init(&w->json, (size_t)4 << 20);
    w->mail.deliver = decision_told;
    if (metallm__journal_show(journal, &id, w->id, decision_shown, w, &w->err) == METALLM_OK)
        return;
    metallm__visit_fail(v, &w->err);
    metallm__visit_free(v);
}

/* ---- All of them. ---- */

#define CHAT  sizeof(struct metallm__chat)
#define WAIT  sizeof(struct waiting)
#define PLAIN sizeof(struct metallm__visit)

const struct metallm__endpoint_row metallm__endpoints[] = {
    {METALLM__POST, "/v1/chat/completions", METALLM__EP_CHAT, METALLM__CLIENT, CHAT,
     metallm__chat_begin},
    {METALLM__POST, "/v1/completions", METALLM__EP_COMPLETIONS, METALLM__CLIENT, CHAT,
     metallm__completion_begin},
    {METALLM__POST, "/v1/embeddings", METALLM__EP_EMBEDDINGS, METALLM__CLIENT, CHAT,
     metallm__embedding_begin},
    {METALLM__POST, "/v1/responses", METALLM__EP_RESPONSES, METALLM__CLIENT, CHAT,
     metallm__responses_begin},
    {METALLM__GET, "/v1/responses/", METALLM__EP_RESPONSES, METALLM__CLIENT, PLAIN, stored_begin},
    {METALLM__POST, "/v1/responses/", METALLM__EP_RESPONSES, METALLM__CLIENT, PLAIN, stored_begin},
    {METALLM__DELETE, "/v1/responses/", METALLM__EP_RESPONSES, METALLM__CLIENT, PLAIN,
     stored_begin},
    {METALLM__POST, "/v1/messages", METALLM__EP_MESSAGES, METALLM__CLIENT, CHAT,
     metallm__messages_begin},
    {METALLM__POST, "/v1/messages/count_tokens", METALLM__EP_COUNT_TOKENS, METALLM__CLIENT, CHAT,
     metallm__count_begin},
    {METALLM__POST, "/v1/route", METALLM__EP_ROUTE, METALLM__CLIENT, CHAT, metallm__route_begin},
    {METALLM__POST, "/v1/feedback", METALLM__EP_FEEDBACK, METALLM__CLIENT, WAIT, feedback_begin},
    {METALLM__GET, "/v1/decisions/", METALLM__EP_DECISIONS, METALLM__CLIENT, WAIT, decision_begin},
    {METALLM__GET, "/v1/models", METALLM__EP_MODELS, METALLM__CLIENT, PLAIN, metallm__models_begin},
    {METALLM__GET, "/v1/models/", METALLM__EP_MODELS, METALLM__CLIENT, PLAIN, metallm__model_begin},
    {METALLM__GET, "/healthz", METALLM__EP_HEALTH, METALLM__OPEN, PLAIN, health_begin},
    {METALLM__GET, "/readyz", METALLM__EP_HEALTH, METALLM__OPEN, PLAIN, ready_begin},
    {METALLM__GET, "/", METALLM__EP_STATUS, METALLM__ADMIN, PLAIN, metallm__status_begin},
    {METALLM__GET, "/metrics", METALLM__EP_METRICS, METALLM__OPEN, PLAIN, metrics_begin},
    {METALLM__GET, "/admin/", METALLM__EP_ADMIN, METALLM__ADMIN,
     sizeof(struct metallm__admin_visit), metallm__admin_begin},
    {METALLM__POST, "/admin/", METALLM__EP_ADMIN, METALLM__ADMIN,
     sizeof(struct metallm__admin_visit), metallm__admin_begin},
    {METALLM__PUT, "/admin/", METALLM__EP_ADMIN, METALLM__ADMIN,
     sizeof(struct metallm__admin_visit), metallm__admin_begin},
    {METALLM__PATCH, "/admin/", METALLM__EP_ADMIN, METALLM__ADMIN,
     sizeof(struct metallm__admin_visit), metallm__admin_begin},
    {METALLM__DELETE, "/admin/", METALLM__EP_ADMIN, METALLM__ADMIN,
     sizeof(struct metallm__admin_visit), metallm__admin_begin},
    {0},
};
