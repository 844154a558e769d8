/* SPDX-License-Identifier: Apache-2.0
 * savings.c - see savings.h. */
#include "eval/savings.h"

#include <math.h>

#include "base/error.h"
#include "base/mem.h"

int metallm__savings_add(struct metallm__savings *s, const char *name,
                         const struct metallm__whatif_policy *policy, metallm_error *err)
{
    struct metallm__savings_row *rows = metallm__realloc(s->rows, s->count + 1, sizeof *s->rows);
    if (rows == NULL)
        return metallm__error_nomem(err, "a policy");
    s->rows = rows;
    rows[s->count] = (struct metallm__savings_row){.policy = *policy};
    snprintf(rows[s->count].name, METALLM__SAVINGS_NAME_BYTES, "%s", name);
    s->count++;
    return METALLM_OK;
}

int metallm__savings_fill(struct metallm__savings *s, const metallm_progress *progress,
                          metallm_error *err)
{
    metallm__log_summarise(s->log, &s->done);
    for (size_t i = 0; i < s->count; i++) {
        int rc = metallm__whatif(s->log, &s->rows[i].policy, s->clip, &s->rows[i].got, err);
        if (rc != METALLM_OK)
            return rc;
        if (progress != NULL && progress->step != NULL &&
            progress->step(progress->payload, "policies", i + 1, s->count) != 0)
            return metallm__error_set(err, METALLM_ECANCELED, "stopped");
    }
    return METALLM_OK;
}

void metallm__savings_fini(struct metallm__savings *s)
{
    metallm__free(s->rows);
    s->rows = NULL;
    s->count = 0;
}

double metallm__savings_saved(const struct metallm__savings *s, size_t row)
{
    const struct metallm__ope_result *cost = &s->rows[row].got.cost;
    return cost->matched > 0 ? cost->gain.value * (double)cost->n : NAN;
}

static const struct {
    unsigned bit;
    const char *name, *sentence;
} warnings_known[] = {
    {METALLM__OPE_NO_MATCH, "no_match", "no logged decision agrees with it: nothing is known"},
    {METALLM__OPE_MASS, "mass",
     "the log rarely or never tries what it does: IPS is biased, explore more"},
    {METALLM__OPE_FEW, "few", "too few logged decisions agree with it: wide, unsafe intervals"},
    {METALLM__OPE_CLIPPED, "clipped", "weights were clipped: biased"},
    {METALLM__OPE_NO_MODEL, "no_model", "no estimates in the log: DR is IPS"},
};
#define WARNINGS (sizeof warnings_known / sizeof warnings_known[0])

const char *metallm__savings_warning(unsigned warnings)
{
    for (size_t i = 0; i < WARNINGS; i++)
        if (warnings & warnings_known[i].bit)
            return warnings_known[i].sentence;
    return "";
}

static void number(struct metallm__buf *b, const char *name, double v)
{
    if (isfinite(v))
        metallm__buf_printf(b, "\"%s\":%.9g", name, v);
    else
        metallm__buf_printf(b, "\"%s\":null", name);
}

static void estimate(struct metallm__buf *b, const char *name,
                     const struct metallm__ope_estimate *e)
{
    metallm__buf_printf(b, ",\"%s\":{", name);
    number(b, "value", e->value);
    metallm__buf_puts(b, ",");
    number(b, "low", e->low);
    metallm__buf_puts(b, ",");
    number(b, "high", e->high);
    metallm__buf_puts(b, "}");
}

static void result(struct metallm__buf *b, const char *name, const struct metallm__ope_result *r)
{
    metallm__buf_printf(b, ",\"%s\":{\"n\":%zu,\"matched\":%zu,\"clipped\":%zu,", name, r->n,
                        r->matched, r->clipped);
    number(b, "ess", r->ess);
    metallm__buf_puts(b, ",");
    number(b, "mean_weight", r->mean_weight);
    metallm__buf_puts(b, ",");
    number(b, "max_weight", r->max_weight);
    metallm__buf_puts(b, ",");
    number(b, "model_alone", r->direct);
    estimate(b, "ips", &r->ips);
    estimate(b, "snips", &r->snips);
    estimate(b, "dr", &r->dr);
    estimate(b, "gain", &r->gain);
    metallm__buf_puts(b, ",\"warnings\":[");
    const char *sep = "";
    for (size_t i = 0; i < WARNINGS; i++)
        if (r->warnings & warnings_known[i].bit) {
            metallm__buf_printf(b, "%s\"%s\"", sep, warnings_known[i].name);
            sep = ",";
        }
    metallm__buf_puts(b, "]}");
}

static void shares(struct metallm__buf *b, const struct metallm__decision_log *l,
                   const float *share)
{
    metallm__buf_puts(b, ",\"share\":{");
    for (uint32_t m = 0; m < metallm__decision_log_models(l); m++) {
        metallm__buf_puts(b, m > 0 ? "," : "");
        metallm__log_print_string(b, metallm__decision_log_model(l, m));
        metallm__buf_printf(b, ":%.6g", (double)share[m]);
    }
    metallm__buf_puts(b, "}");
}

static void done(struct metallm__buf *b, const struct metallm__savings *s)
{
    const struct metallm__log_summary *d = &s->done;
    const struct {
        const char *name;
        double value;
    } numbers[] = {{"from", d->from},
                   {"to", d->to},
                   {"quality", d->quality},
                   {"quality_low", d->quality_low},
                   {"quality_high", d->quality_high},
                   {"cost_usd", d->cost_usd},
                   {"spent_usd", d->spent_usd},
                   {"explored", d->explored}};
    metallm__buf_printf(b, "\"decisions\":%zu,\"with_feedback\":%zu,\"with_cost\":%zu",
                        d->decisions, d->scored, d->priced);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        metallm__buf_puts(b, ",");
        number(b, numbers[i].name, numbers[i].value);
    }
    shares(b, s->log, d->share);
}

void metallm__savings_json(const struct metallm__savings *s, struct metallm__buf *out)
{
    metallm__buf_puts(out, "{");
    done(out, s);
    metallm__buf_puts(out, ",\"policies\":[");
    for (size_t i = 0; i < s->count; i++) {
        const struct metallm__savings_row *row = &s->rows[i];
        metallm__buf_puts(out, i > 0 ? ",{\"name\":" : "{\"name\":");
        metallm__log_print_string(out, row->name);
        metallm__buf_printf(out, ",\"unusable\":%zu,", row->got.unusable);
        number(out, "saved_usd", metallm__savings_saved(s, i));
        result(out, "quality", &row->got.quality);
        result(out, "cost_usd", &row->got.cost);
        shares(out, s->log, row->got.share);
        metallm__buf_puts(out, "}");
    }
    metallm__buf_puts(out, "]}");
}
