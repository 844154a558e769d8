/* SPDX-License-Identifier: Apache-2.0
 * admin_visit.c - the admin API and the status page as visits. What the admin API does blocks on
 * the store, so it runs on the control thread; the answer comes back to the loop by mail. */
#include "gateway/admin_visit.h"

#include <stdio.h>

#include "base/mem.h"
#include "gateway/gateway_parts.h"
#include "gateway/gauges.h"

static void told(struct metallm__mail *mail)
{
    struct metallm__admin_visit *a =
        (struct metallm__admin_visit *)(void *)((char *)mail -
                                                offsetof(struct metallm__admin_visit, mail));
    struct metallm__reply r = {.status = a->answer.status};
    metallm__reply_add(&r, "cache-control", (struct metallm__span)METALLM__SPAN("no-store"));
    metallm__visit_reply(&a->visit, &r, metallm__span(a->answer.body.data, a->answer.body.len),
                         NULL);
    metallm__buf_fini(&a->answer.body);
    metallm__free(a->path);
    metallm__free(a->body);
    metallm__visit_free(&a->visit);
}

/* The request within a transaction; then what it changed is put in force. */
static void perform(struct metallm__gateway *g, struct metallm__admin_visit *a)
{
    struct metallm__shared *s = &g->shared;
    metallm_error err = {0};
    struct metallm__status *status = NULL;
    int rc = metallm__status_take(&status, s, s->world, &err);
    if (rc == METALLM_OK)
        rc = metallm__ledger_begin(g->store, true, &err);
    struct metallm__admin admin = {.store = g->store,
                                   .config = s->world->config,
                                   .limits = s->limits,
                                   .status = status,
                                   .wall_ms = (uint64_t)time(NULL) * 1000u};
    struct metallm__admin_request request = {
        .method = a->method, .path = a->path, .body = a->body, .body_len = a->body_len};
    if (rc == METALLM_OK) {
        int done = metallm__admin_do(&admin, &request, &a->answer);
        rc = done == METALLM_OK ? metallm__ledger_commit(g->store, &err) : METALLM_OK;
        if (done != METALLM_OK || rc != METALLM_OK)
            metallm__ledger_abort(g->store);
        if (done != METALLM_OK)
            a->answer.effects = 0;
    }
    metallm__free(status);
    if (rc == METALLM_OK && (a->answer.effects & METALLM__ADMIN_KEYS) != 0)
        rc = metallm__gateway_refresh_keys(g, &err);
    if (rc == METALLM_OK && (a->answer.effects & METALLM__ADMIN_CONFIG) != 0)
        rc = metallm__gateway_refresh(g, &err);
    if (rc == METALLM_OK)
        return;
    metallm__log_error(s->log, METALLM__LOG_ERROR, "admin", "not done", &err);
    a->answer.status = 503;
    metallm__buf_clear(&a->answer.body);
    struct metallm__wire_refusal why = {.message = err.message, .type = "server_error"};
    metallm__wire_error_write(&a->answer.body, &why);
}

static void run(struct metallm__gateway *g, struct metallm__gateway_job *job)
{
    struct metallm__admin_visit *a =
        (struct metallm__admin_visit *)(void *)((char *)job -
                                                offsetof(struct metallm__admin_visit, job));
    perform(g, a);
    metallm__loop_mail(a->visit.worker->loop, &a->mail);
}

void metallm__admin_begin(struct metallm__visit *v)
{
    struct metallm__admin_visit *a = (struct metallm__admin_visit *)v;
    const struct metallm__request *http = v->http;
    metallm_error err = {.code = METALLM_ENOMEM, .message = "no memory for this request"};
    metallm__buf_init(&a->answer.body, (size_t)8 << 20);
    a->job.run = run;
    a->mail.deliver = told;
    a->method = metallm__method_name(http->method);
    a->path = metallm__strndup(http->path.p, http->path.n);
    a->body_len = http->body.n;
    a->body = metallm__strndup(http->body.p == NULL ? "" : http->body.p, http->body.n);
    if (http->body.n > METALLM__ADMIN_BODY_MAX) {
        err.code = METALLM_ELIMIT;
        snprintf(err.message, sizeof err.message,
                 "a request to the admin API has at most %zu bytes", METALLM__ADMIN_BODY_MAX);
    } else if (a->path != NULL && a->body != NULL &&
               metallm__gateway_submit(v->worker->shared->gateway, &a->job) == METALLM_OK) {
        return;
    }
    metallm__visit_fail(v, &err);
    metallm__buf_fini(&a->answer.body);
    metallm__free(a->path);
    metallm__free(a->body);
    metallm__visit_free(v);
}

void metallm__status_begin(struct metallm__visit *v)
{
    metallm_error err = {0};
    struct metallm__status *status = NULL;
    struct metallm__buf page;
    metallm__buf_init(&page, (size_t)8 << 20);
    int rc = metallm__status_take(&status, v->worker->shared, v->world, &err);
    if (rc == METALLM_OK) {
        metallm__status_page(status, &page);
        rc = metallm__buf_check(&page, &err);
    }
    struct metallm__reply r = {.status = 200, .type = METALLM__STATUS_TYPE};
    metallm__reply_add(&r, "content-security-policy",
                       (struct metallm__span)METALLM__SPAN(METALLM__STATUS_CSP));
    metallm__reply_add(&r, "cache-control", (struct metallm__span)METALLM__SPAN("no-store"));
    if (rc == METALLM_OK)
        metallm__visit_reply(v, &r, metallm__span(page.data, page.len), NULL);
    else
        metallm__visit_fail(v, &err);
    metallm__buf_fini(&page);
    metallm__free(status);
    metallm__visit_free(v);
}
