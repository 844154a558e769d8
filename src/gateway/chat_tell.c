/* SPDX-License-Identifier: Apache-2.0
 * chat_tell.c - POST /v1/route: the decision alone, as JSON. */
#include <math.h>

#include "base/json_out.h"
#include "gateway/chat.h"

static const char *reason_name(enum metallm_reason reason)
{
    static const char *const names[] = {
        [METALLM_REASON_BEST_SCORE] = "best score",
        [METALLM_REASON_TARGET_MET] = "target met",
        [METALLM_REASON_TARGET_MISSED] = "target missed",
        [METALLM_REASON_OVER_MAX_COST] = "over max cost",
        [METALLM_REASON_EXPLORED] = "explored",
    };
    return names[reason];
}

static void put_number(struct metallm__buf *b, const char *name, double value)
{
    if (isfinite(value))
        metallm__buf_printf(b, ",\"%s\":%.9g", name, value);
    else
        metallm__buf_printf(b, ",\"%s\":null", name);
}

static void put_name(struct metallm__buf *b, const char *name)
{
    metallm__json_string(b, name, strlen(name));
}

void metallm__chat_tell(struct metallm__chat *c)
{
    const struct metallm__brain_decision *d = &c->decision;
    const struct metallm__config *config = c->view->config;
    struct metallm__buf b;
    metallm__buf_init(&b, (size_t)1 << 20);
    metallm__buf_printf(&b, "{\"id\":\"%s\",\"model\":", c->id_text);
    put_name(&b, config->models[c->view->models[d->chosen]].name);
    metallm__buf_printf(&b, ",\"reason\":\"%s\"", reason_name(d->reason));
    put_number(&b, "propensity", d->propensity);
    put_number(&b, "dial", d->dial);
    put_number(&b, "target", d->target > 0 ? d->target : NAN);
    put_number(&b, "max_cost_usd", d->max_cost_usd > 0 ? d->max_cost_usd : NAN);
    metallm__buf_printf(&b, ",\"policy_version\":%llu,\"estimates\":[",
                        (unsigned long long)c->view->version);
    for (uint32_t i = 0; i < c->view->count; i++) {
        const struct metallm__candidate *e = &d->candidates[i];
        metallm__buf_puts(&b, i == 0 ? "{\"model\":" : ",{\"model\":");
        put_name(&b, config->models[c->view->models[i]].name);
        put_number(&b, "quality", e->quality);
        put_number(&b, "quality_low", fmax(0, e->quality - 1.959964 * e->sd));
        put_number(&b, "quality_high", fmin(1, e->quality + 1.959964 * e->sd));
        put_number(&b, "cost_usd", e->cost_usd);
        put_number(&b, "latency_ms", e->latency_ms);
        put_number(&b, "score", e->score);
        put_number(&b, "chance", e->chance);
        metallm__buf_puts(&b, "}");
    }
    metallm__buf_puts(&b, "]}");
    struct metallm__reply r = {.status = 200};
    metallm_error err;
    if (metallm__buf_check(&b, &err) == METALLM_OK)
        metallm__visit_reply(&c->visit, &r, metallm__span(b.data, b.len), NULL);
    else
        metallm__visit_fail(&c->visit, &err);
    metallm__buf_fini(&b);
    metallm__chat_end(c, NULL);
    metallm__chat_release(c);
}
