/* SPDX-License-Identifier: Apache-2.0
 * decision_print.c - writes the lines of a decision log (decision_log.h). Numbers are printed with
 * nine significant digits: a float comes back as it was. */
#include <math.h>

#include "eval/decision_log.h"

void metallm__log_print_string(struct metallm__buf *b, const char *text)
{
    metallm__buf_puts(b, "\"");
    const char *from = text;
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        metallm__buf_add(b, from, (size_t)(text - from));
        if (c < 0x20)
            metallm__buf_printf(b, "\\u%04x", c);
        else
            metallm__buf_printf(b, "\\%c", c);
        from = text + 1;
    }
    metallm__buf_add(b, from, (size_t)(text - from));
    metallm__buf_puts(b, "\"");
}

/* ,"name":value unless it is unknown; sep is "," or "". */
static const char *print_number(struct metallm__buf *b, const char *sep, const char *name, float v)
{
    if (!isfinite(v))
        return sep;
    metallm__buf_printf(b, "%s\"%s\":%.9g", sep, name, (double)v);
    return ",";
}

static void print_estimate(struct metallm__buf *b, const struct metallm__log_estimate *e,
                           const char *name)
{
    metallm__buf_puts(b, "{\"model\":");
    metallm__log_print_string(b, name);
    print_number(b, ",", "quality", e->quality);
    print_number(b, ",", "quality_sd", e->quality_sd);
    print_number(b, ",", "cost_usd", e->cost_usd);
    print_number(b, ",", "latency_ms", e->latency_ms);
    print_number(b, ",", "score", e->score);
    print_number(b, ",", "price_usd", e->price_usd);
    metallm__buf_puts(b, "}");
}

static void print_constraints(struct metallm__buf *b, const struct metallm__log_decision *d)
{
    const char *sep = "";
    metallm__buf_puts(b, ",\"constraints\":{");
    sep = print_number(b, sep, "dial", d->dial);
    if (d->target > 0)
        sep = print_number(b, sep, "target", d->target);
    if (d->max_cost_usd > 0)
        print_number(b, sep, "max_cost_usd", d->max_cost_usd);
    metallm__buf_puts(b, "}");
}

static void print_outcome(struct metallm__buf *b, const struct metallm__log_outcome *o)
{
    print_number(b, ",", "cost_usd", o->cost_usd);
    print_number(b, ",", "latency_ms", o->latency_ms);
    if (isfinite(o->score))
        metallm__buf_printf(b, ",\"feedback\":{\"score\":%.9g}", (double)o->score);
}

void metallm__log_print(struct metallm__buf *out, const struct metallm__log_decision *d,
                        const char *(*name)(const void *payload, uint32_t model),
                        const void *payload)
{
    metallm__buf_puts(out, "{\"id\":");
    metallm__log_print_string(out, d->id);
    metallm__buf_printf(out, ",\"time\":%.15g,\"model\":", d->time);
    metallm__log_print_string(out, name(payload, d->estimates[d->chosen].model));
    metallm__buf_printf(out, ",\"propensity\":%.9g", d->propensity);
    if (d->policy != NULL) {
        metallm__buf_puts(out, ",\"policy\":");
        metallm__log_print_string(out, d->policy);
    }
    if (d->policy_version != NULL) {
        metallm__buf_puts(out, ",\"policy_version\":");
        metallm__log_print_string(out, d->policy_version);
    }
    print_constraints(out, d);
    print_number(out, ",", "cost_scale_usd", d->cost_scale_usd);
    metallm__buf_puts(out, ",\"estimates\":[");
    for (uint32_t i = 0; i < d->count; i++) {
        metallm__buf_puts(out, i > 0 ? "," : "");
        print_estimate(out, &d->estimates[i], name(payload, d->estimates[i].model));
    }
    metallm__buf_puts(out, "]");
    print_outcome(out, &d->outcome);
    metallm__buf_puts(out, "}\n");
}

void metallm__log_print_outcome(struct metallm__buf *out, const char *id,
                                const struct metallm__log_outcome *o)
{
    metallm__buf_puts(out, "{\"id\":");
    metallm__log_print_string(out, id);
    print_outcome(out, o);
    metallm__buf_puts(out, "}\n");
}
