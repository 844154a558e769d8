/* SPDX-License-Identifier: Apache-2.0
 * summary_text.c - a summary for people. */
#include <math.h>
#include <stdio.h>

#include "classify/summary_state.h"

#define MATRIX_LABELS_MAX 12u /* wider matrices stand in JSON and on the page alone */

/* A cell of a table, "-" where nothing is known. */
struct cell {
    char text[32];
};

static struct cell number(double value, int digits)
{
    struct cell c = {"-"};
    if (isfinite(value))
        snprintf(c.text, sizeof c.text, "%.*f", digits, value);
    return c;
}

static struct cell percent(double value)
{
    struct cell c = {"-"};
    if (isfinite(value))
        snprintf(c.text, sizeof c.text, "%.1f %%", 100 * value);
    return c;
}

static struct cell dollars(double usd)
{
    struct cell c = {"-"};
    if (isfinite(usd))
        snprintf(c.text, sizeof c.text, "$%.*f", usd < 0.001 ? 8 : usd < 1 ? 6 : 4, usd);
    return c;
}

static void write_head(const struct metallm__summary *s, const struct metallm__summary_told *t,
                       struct metallm__buf *out)
{
    metallm__buf_printf(out, "%s%llu texts: %llu answered", s->is_dry ? "predicted: " : "",
                        (unsigned long long)t->texts, (unsigned long long)t->answered);
    if (t->unmapped > 0)
        metallm__buf_printf(out, ", %llu of them without a label", (unsigned long long)t->unmapped);
    if (t->unanswered > 0)
        metallm__buf_printf(out, ", %llu not answered%s", (unsigned long long)t->unanswered,
                            s->end.is_budget_spent ? " (the budget is spent)" : "");
    metallm__buf_puts(out, "\n");
    metallm__buf_printf(out, "dollars: %s, %s a text", dollars(t->usd).text,
                        dollars(t->usd_a_text).text);
    if (t->usd_lost > 0)
        metallm__buf_printf(out, "; perhaps paid without an answer: %s", dollars(t->usd_lost).text);
    if (isfinite(s->budget_usd))
        metallm__buf_printf(out, "; budget %s", dollars(s->budget_usd).text);
    metallm__buf_puts(out, "\n");
}

static void write_accuracy(const struct metallm__summary *s, const struct metallm__summary_told *t,
                           struct metallm__buf *out)
{
    if (t->accuracy.of > 0)
        metallm__buf_printf(out,
                            "accuracy: %s [%s, %s] on %llu texts with gold; macro F1 %s; "
                            "calibration error %s\n",
                            percent(t->accuracy.value).text, percent(t->accuracy.low).text,
                            percent(t->accuracy.high).text, (unsigned long long)t->accuracy.of,
                            number(t->macro_f1, 3).text, number(t->ece, 3).text);
    else
        metallm__buf_puts(out, "accuracy: not known, no text has gold\n");
    if (t->agreement.of > 0)
        metallm__buf_printf(out, "agreement between LLMs (no accuracy): %s of %llu pairs\n",
                            percent(t->agreement.value).text, (unsigned long long)t->agreement.of);
    if (t->judged_count > 0)
        metallm__buf_printf(out, "judged (no accuracy): %s on average, %llu answers\n",
                            number(t->judged, 3).text, (unsigned long long)t->judged_count);
    if (s->lessons_count > 0 && s->lessons[0] != '\0')
        metallm__buf_printf(out, "learned from: %s, %llu texts\n", s->lessons,
                            (unsigned long long)s->lessons_count);
}

static void write_llms(const struct metallm__summary *s, struct metallm__buf *out)
{
    metallm__buf_printf(out, "\n%-20s %9s %8s %12s %7s   %12s  %s\n", "LLM", "answered", "right",
                        "dollars", "ms", "alone: $", "accuracy");
    for (uint32_t i = 0; i < s->llm_count; i++) {
        struct metallm__summary_llm m;
        metallm__summary_llm_tell(s, i, &m);
        metallm__buf_printf(out, "%-20.20s %9llu %8s %12s %7s   %12s  %s", m.name,
                            (unsigned long long)m.answered, percent(m.right.value).text,
                            dollars(m.usd).text, number(m.latency_ms, 0).text,
                            dollars(m.single_usd).text, percent(m.single).text);
        if (isfinite(m.single))
            metallm__buf_printf(out, " [%s, %s]%s", number(100 * m.single_low, 1).text,
                                number(100 * m.single_high, 1).text,
                                m.is_single_exact ? "" : " estimated");
        metallm__buf_puts(out, "\n");
    }
}

static void write_matrix(const struct metallm__summary *s, struct metallm__buf *out)
{
    if (s->gold == 0 || s->label_count > MATRIX_LABELS_MAX)
        return;
    const int width = s->label_count <= 6 ? 10 : 6;
    metallm__buf_printf(out, "\n%-12s", "gold \\ said");
    for (uint32_t a = 0; a < s->label_count; a++)
        metallm__buf_printf(out, " %*.*s", width, width, metallm__labels_name(s->labels, a));
    metallm__buf_puts(out, " (no label)\n");
    for (uint32_t g = 0; g < s->label_count; g++) {
        metallm__buf_printf(out, "%-12.12s", metallm__labels_name(s->labels, g));
        for (uint32_t a = 0; a <= s->label_count; a++)
            metallm__buf_printf(out, " %*llu", a < s->label_count ? width : 10,
                                (unsigned long long)metallm__summary_confusion(s, g, a));
        metallm__buf_puts(out, "\n");
    }
}

static void write_cascade(const struct metallm__summary *s, struct metallm__buf *out)
{
    const struct metallm__cascade *c = s->end.cascade;
    if (c == NULL)
        return;
    metallm__buf_puts(out, "\ncascade:");
    for (uint32_t i = 0; i < c->count; i++) {
        metallm__buf_printf(out, "%s %s", i > 0 ? ", then" : "",
                            c->llm[i] < s->llm_count ? s->llms[c->llm[i]].name : "?");
        if (i + 1 < c->count)
            metallm__buf_printf(out, " (kept from %s on)", number(c->keep[i], 3).text);
    }
    if (isfinite(c->accuracy))
        metallm__buf_printf(out, "; when learned: %s right%s", percent(c->accuracy).text,
                            c->is_target_met ? "" : ", below the target");
    metallm__buf_puts(out, "\n");
    if (s->end.routed.texts == 0)
        return;
    struct metallm__share right;
    metallm__wilson(s->end.routed.right, s->end.routed.texts, &right);
    metallm__buf_printf(out,
                        "on %llu texts that all were asked for: the cascade %s right at %s a "
                        "text,",
                        (unsigned long long)right.of, percent(c->accuracy).text,
                        dollars(c->usd).text);
    metallm__buf_printf(out, "\nthe router %s [%s, %s] at %s a text\n", percent(right.value).text,
                        percent(right.low).text, percent(right.high).text,
                        dollars(s->end.routed.usd / (double)right.of).text);
}

void metallm__summary_text(const struct metallm__summary *s, struct metallm__buf *out)
{
    struct metallm__summary_told told;
    metallm__summary_tell(s, &told);
    write_head(s, &told, out);
    write_accuracy(s, &told, out);
    write_llms(s, out);
    write_matrix(s, out);
    write_cascade(s, out);
}
