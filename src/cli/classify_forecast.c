/* SPDX-License-Identifier: Apache-2.0
 * classify_forecast.c - prints what a job would cost and how often it would be right. */
#include "cli/classify_forecast.h"

#include <math.h>

#include "base/json_out.h"

static void put_real(struct metallm__jw *j, const char *name, double value)
{
    metallm__jw_name(j, name);
    metallm__jw_real(j, value);
}

static void put_count(struct metallm__jw *j, const char *name, uint64_t value)
{
    metallm__jw_name(j, name);
    metallm__jw_count(j, value);
}

void cli_classify_forecast_json(const struct metallm__run_forecast *f, struct metallm__buf *out)
{
    struct metallm__jw j = {.out = out};
    metallm__jw_open(&j, '{');
    metallm__jw_name(&j, "dry_run");
    metallm__jw_flag(&j, true);
    put_count(&j, "answered", f->answered);
    put_count(&j, "texts", f->texts);
    put_count(&j, "looked_at", f->looked_at);
    put_count(&j, "paid_texts", f->paid_texts);
    put_real(&j, "spent_usd", f->spent_usd);
    put_real(&j, "budget_usd", f->budget_usd);
    put_real(&j, "usd", f->usd);
    put_real(&j, "most_usd", f->most_usd);
    put_real(&j, "accuracy", f->accuracy);
    put_real(&j, "accuracy_low", f->low);
    put_real(&j, "accuracy_high", f->high);
    metallm__jw_name(&j, "llms");
    metallm__jw_open(&j, '[');
    for (uint32_t m = 0; m < f->llm_count; m++) {
        metallm__jw_open(&j, '{');
        metallm__jw_name(&j, "name");
        metallm__jw_text(&j, f->llms[m].name);
        put_real(&j, "share", f->llms[m].share);
        put_real(&j, "single_usd", f->llms[m].single_usd);
        put_real(&j, "single_accuracy", f->llms[m].single_accuracy);
        metallm__jw_close(&j, '}');
    }
    metallm__jw_close(&j, ']');
    metallm__jw_close(&j, '}');
    metallm__buf_puts(out, "\n");
}

static void put_number(struct metallm__buf *out, const char *format, double value)
{
    char text[40];
    snprintf(text, sizeof text, "%.6g", value);
    metallm__buf_printf(out, "%s%s", format, isnan(value) ? "not known" : text);
}

void cli_classify_forecast_text(const struct metallm__run_forecast *f, struct metallm__buf *out)
{
    metallm__buf_printf(out, "dry run: nobody was asked\n%llu texts answered before, %llu to ask",
                        (unsigned long long)f->answered, (unsigned long long)f->texts);
    if (f->looked_at < f->texts)
        metallm__buf_printf(out, " (judged by %llu of them)", (unsigned long long)f->looked_at);
    put_number(out, "\ndollars: ", f->usd);
    put_number(out, ", at most ", f->most_usd);
    put_number(out, "\nright:   ", f->accuracy);
    if (!isnan(f->low))
        metallm__buf_printf(out, " [%.4f,%.4f]", f->low, f->high);
    if (f->paid_texts < f->texts)
        metallm__buf_printf(out, "\nthe budget of %.6g dollars pays for about %llu of them",
                            f->budget_usd, (unsigned long long)f->paid_texts);
    metallm__buf_puts(out, "\n\n  asked  alone: dollars      right  LLM\n");
    for (uint32_t m = 0; m < f->llm_count; m++)
        metallm__buf_printf(out, "%5.1f %%  %14.6g %10.4f  %s\n", 100 * f->llms[m].share,
                            f->llms[m].single_usd, f->llms[m].single_accuracy, f->llms[m].name);
}
