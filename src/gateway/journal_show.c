/* SPDX-License-Identifier: Apache-2.0
 * journal_show.c - a recorded decision as the JSON object of GET /v1/decisions/{id}. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/json_out.h"
#include "gateway/journal_state.h"

#define Z95       1.959964
#define SETUP_MAX ((size_t)1 << 24)

static void real(struct metallm__jw *w, const char *name, double value)
{
    metallm__jw_name(w, name);
    metallm__jw_real(w, value);
}

static void text(struct metallm__jw *w, const char *name, const char *value)
{
    metallm__jw_name(w, name);
    metallm__jw_text(w, value);
}

static void count(struct metallm__jw *w, const char *name, uint64_t value)
{
    metallm__jw_name(w, name);
    metallm__jw_count(w, value);
}

static void flag(struct metallm__jw *w, const char *name, bool value)
{
    metallm__jw_name(w, name);
    metallm__jw_flag(w, value);
}

static const char *model_name(yyjson_val *models, uint32_t m)
{
    return yyjson_get_str(yyjson_obj_get(yyjson_arr_get(models, m), "name"));
}

static void show_estimates(struct metallm__jw *w, const struct metallm__record *r,
                           yyjson_val *models)
{
    metallm__jw_name(w, "estimates");
    metallm__jw_open(w, '[');
    for (uint32_t i = 0; i < r->candidate_count; i++) {
        const struct metallm__candidate *c = &r->candidates[i];
        yyjson_val *m = yyjson_arr_get(models, i);
        metallm__jw_open(w, '{');
        text(w, "model", model_name(models, i));
        real(w, "quality", c->quality);
        real(w, "quality_low", fmax(c->quality - Z95 * c->sd, 0));
        real(w, "quality_high", fmin(c->quality + Z95 * c->sd, 1));
        real(w, "cost_usd", c->cost_usd);
        real(w, "latency_ms", c->latency_ms);
        real(w, "score", c->score);
        real(w, "chance", c->chance);
        static const char *const prices[] = {"input", "output", "cached_input"};
        metallm__jw_name(w, "price");
        metallm__jw_open(w, '{');
        for (size_t k = 0; k < sizeof prices / sizeof *prices; k++) {
            yyjson_val *v = yyjson_obj_get(m, prices[k]);
            real(w, prices[k], yyjson_is_num(v) ? yyjson_get_num(v) : NAN);
        }
        metallm__jw_close(w, '}');
        metallm__jw_close(w, '}');
    }
    metallm__jw_close(w, ']');
}

static void show_attempts(struct metallm__jw *w, const struct metallm__record *r,
                          yyjson_val *models)
{
    metallm__jw_name(w, "attempts");
    metallm__jw_open(w, '[');
    for (uint32_t i = 0; i < r->attempt_count; i++) {
        const struct metallm__record_attempt *a = &r->attempts[i];
        metallm__jw_open(w, '{');
        text(w, "model", model_name(models, a->model));
        count(w, "deployment", a->deployment);
        count(w, "status", a->status);
        count(w, "failure", a->failure);
        real(w, "ms", (double)a->ms);
        metallm__jw_close(w, '}');
    }
    metallm__jw_close(w, ']');
}

static void show_constraints(struct metallm__jw *w, const struct metallm__record *r)
{
    metallm__jw_name(w, "constraints");
    metallm__jw_open(w, '{');
    real(w, "dial", r->dial);
    real(w, "target", r->target > 0 ? r->target : NAN);
    real(w, "max_cost_usd", r->max_cost_usd > 0 ? r->max_cost_usd : NAN);
    real(w, "scale_usd", r->scale_usd);
    real(w, "money", r->money);
    metallm__jw_close(w, '}');
}

static void show_usage(struct metallm__jw *w, const struct metallm__record *r)
{
    metallm__jw_name(w, "usage");
    if (!r->usage.is_known && !r->usage.is_estimated) {
        metallm__jw_raw(w, "null");
        return;
    }
    metallm__jw_open(w, '{');
    count(w, "input_tokens", r->usage.input);
    count(w, "output_tokens", r->usage.output);
    count(w, "cached_tokens", r->usage.cached);
    flag(w, "is_estimated", r->usage.is_estimated);
    metallm__jw_close(w, '}');
}

static void show_feedback(struct metallm__jw *w, const struct metallm__ledger_feedback *f)
{
    metallm__jw_name(w, "feedback");
    if (f == NULL) {
        metallm__jw_raw(w, "null");
        return;
    }
    metallm__jw_open(w, '{');
    real(w, "score", f->score);
    real(w, "time", (double)f->time_ms / 1000);
    if (f->label != NULL)
        text(w, "label", f->label);
    if (f->comment != NULL)
        text(w, "comment", f->comment);
    metallm__jw_close(w, '}');
}

static void show(struct metallm__jw *w, const char *name, const struct metallm__record *r,
                 yyjson_val *setup, const struct metallm__ledger_feedback *f)
{
    static const char *const reasons[] = {"best score", "target met", "target missed",
                                          "over max cost", "explored"};
    yyjson_val *models = yyjson_obj_get(setup, "models");
    char version[64];
    snprintf(version, sizeof version, "%016llx.%llu", (unsigned long long)r->setup,
             (unsigned long long)r->version);
    const bool is_decided = r->candidate_count > 0;
    metallm__jw_open(w, '{');
    text(w, "id", name);
    text(w, "object", "metallm.decision");
    real(w, "time", (double)r->time_ms / 1000);
    text(w, "router", yyjson_get_str(yyjson_obj_get(setup, "router")));
    text(w, "model", model_name(models, r->model));
    text(w, "chosen", is_decided ? model_name(models, r->chosen) : NULL);
    text(w, "policy", yyjson_get_str(yyjson_obj_get(setup, "policy")));
    text(w, "policy_version", version);
    text(w, "reason", is_decided ? reasons[r->reason] : "named by the client");
    real(w, "propensity", is_decided ? r->propensity : NAN);
    flag(w, "explored", (r->flags & METALLM__RECORD_EXPLORED) != 0);
    flag(w, "sticky", (r->flags & METALLM__RECORD_STICKY) != 0);
    flag(w, "observed", (r->flags & METALLM__RECORD_SHADOW) != 0);
    flag(w, "has_vector", is_decided && (r->flags & METALLM__RECORD_NO_VECTOR) == 0);
    text(w, "task", r->task[0] != '\0' ? r->task : NULL);
    show_estimates(w, r, models);
    show_constraints(w, r);
    show_attempts(w, r, models);
    count(w, "status", r->status);
    real(w, "cost_usd", r->cost_usd);
    show_usage(w, r);
    real(w, "latency_ms", r->latency_ms);
    real(w, "first_token_ms", r->ttft_ms);
    show_feedback(w, f);
    metallm__jw_close(w, '}');
}

static int read_setup(struct metallm__store *s, uint64_t hash, yyjson_doc **out, metallm_error *err)
{
    struct metallm__buf json;
    bool found = false;
    metallm__buf_init(&json, SETUP_MAX);
    int rc = metallm__ledger_get_setup(s, hash, &json, &found, err);
    *out = NULL;
    if (rc == METALLM_OK && found)
        rc = metallm__json_read(out, json.data, json.len, err);
    metallm__buf_fini(&json);
    return rc;
}

int metallm__journal_print(struct metallm__store *s, const struct metallm__decision_id *id,
                           const char *name, struct metallm__buf *out, metallm_error *err)
{
    struct metallm__ledger_decision d;
    struct metallm__ledger_feedback f;
    struct metallm__record_room room;
    struct metallm__record r;
    struct metallm__buf bytes, texts;
    yyjson_doc *setup = NULL;
    bool found = false, has_feedback = false;
    metallm__buf_init(&bytes, METALLM__RECORD_BYTES_MAX);
    metallm__buf_init(&texts, METALLM__FEEDBACK_LABEL_MAX + METALLM__FEEDBACK_COMMENT_MAX + 64);
    int rc = metallm__ledger_get_decision(s, id->row, &d, &bytes, &found, err);
    if (rc == METALLM_OK && (!found || d.nonce != id->nonce))
        rc = metallm__error_set(err, METALLM_ENOTFOUND, "this decision is not recorded");
    if (rc == METALLM_OK)
        rc = metallm__record_decode(&r, &room, d.record, d.record_bytes, err);
    if (rc == METALLM_OK)
        rc = metallm__ledger_get_feedback(s, id->row, &f, &texts, &has_feedback, err);
    if (rc == METALLM_OK)
        rc = read_setup(s, r.setup, &setup, err);
    if (rc == METALLM_OK) {
        struct metallm__jw w = {.out = out};
        show(&w, name, &r, yyjson_doc_get_root(setup),
             has_feedback && f.nonce == id->nonce ? &f : NULL);
        rc = metallm__buf_check(out, err);
    }
    yyjson_doc_free(setup);
    metallm__buf_fini(&bytes);
    metallm__buf_fini(&texts);
    return rc;
}
