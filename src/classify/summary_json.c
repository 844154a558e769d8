/* SPDX-License-Identifier: Apache-2.0
 * summary_json.c - a summary as one JSON object; docs/classify.md tells the members. */
#include <math.h>

#include "base/json_out.h"
#include "classify/summary_state.h"

static void real(struct metallm__jw *j, const char *name, double value)
{
    metallm__jw_name(j, name);
    metallm__jw_real(j, value);
}

static void count(struct metallm__jw *j, const char *name, uint64_t value)
{
    metallm__jw_name(j, name);
    metallm__jw_count(j, value);
}

static void text(struct metallm__jw *j, const char *name, const char *value)
{
    metallm__jw_name(j, name);
    metallm__jw_text(j, value);
}

static void flag(struct metallm__jw *j, const char *name, bool value)
{
    metallm__jw_name(j, name);
    metallm__jw_flag(j, value);
}

static void share(struct metallm__jw *j, const char *name, const struct metallm__share *s)
{
    metallm__jw_name(j, name);
    metallm__jw_open(j, '{');
    real(j, "value", s->value);
    real(j, "low", s->low);
    real(j, "high", s->high);
    count(j, "hits", s->hits);
    count(j, "of", s->of);
    metallm__jw_close(j, '}');
}

static void write_labels(struct metallm__jw *j, const struct metallm__summary *s)
{
    metallm__jw_name(j, "labels");
    metallm__jw_open(j, '[');
    for (uint32_t i = 0; i < s->label_count; i++) {
        struct metallm__summary_label l;
        metallm__summary_label_tell(s, i, &l);
        metallm__jw_open(j, '{');
        text(j, "name", metallm__labels_name(s->labels, i));
        count(j, "answers", l.answers);
        count(j, "gold", l.gold);
        real(j, "precision", l.precision);
        real(j, "recall", l.recall);
        real(j, "f1", l.f1);
        metallm__jw_close(j, '}');
    }
    metallm__jw_close(j, ']');
    metallm__jw_name(j, "confusion");
    metallm__jw_open(j, '[');
    for (uint32_t g = 0; g < s->label_count && s->gold > 0; g++) {
        metallm__jw_open(j, '[');
        for (uint32_t a = 0; a <= s->label_count; a++)
            metallm__jw_count(j, metallm__summary_confusion(s, g, a));
        metallm__jw_close(j, ']');
    }
    metallm__jw_close(j, ']');
    metallm__jw_name(j, "read_as");
    metallm__jw_open(j, '{');
    for (int how = 0; how < METALLM__LABEL_HOWS; how++)
        if (s->hows[how] > 0)
            count(j, metallm__label_how_name((enum metallm__label_how)how), s->hows[how]);
    metallm__jw_close(j, '}');
}

static void write_llms(struct metallm__jw *j, const struct metallm__summary *s)
{
    metallm__jw_name(j, "llms");
    metallm__jw_open(j, '[');
    for (uint32_t i = 0; i < s->llm_count; i++) {
        struct metallm__summary_llm m;
        metallm__summary_llm_tell(s, i, &m);
        metallm__jw_open(j, '{');
        text(j, "name", m.name);
        count(j, "answered", m.answered);
        count(j, "calls", m.calls);
        count(j, "unmapped", m.unmapped);
        real(j, "usd", m.usd);
        real(j, "latency_ms", m.latency_ms);
        share(j, "right", &m.right);
        metallm__jw_name(j, "alone");
        metallm__jw_open(j, '{');
        real(j, "usd", m.single_usd);
        real(j, "accuracy", m.single);
        real(j, "low", m.single_low);
        real(j, "high", m.single_high);
        count(j, "texts", m.single_rows);
        flag(j, "is_counted", m.is_single_exact);
        metallm__jw_close(j, '}');
        metallm__jw_close(j, '}');
    }
    metallm__jw_close(j, ']');
}

static void write_cascade(struct metallm__jw *j, const struct metallm__summary *s)
{
    const struct metallm__cascade *c = s->end.cascade;
    metallm__jw_name(j, "cascade");
    if (c == NULL) {
        metallm__jw_text(j, NULL);
        return;
    }
    metallm__jw_open(j, '{');
    metallm__jw_name(j, "stages");
    metallm__jw_open(j, '[');
    for (uint32_t i = 0; i < c->count; i++) {
        metallm__jw_open(j, '{');
        text(j, "llm", c->llm[i] < s->llm_count ? s->llms[c->llm[i]].name : NULL);
        real(j, "keep", c->keep[i]);
        real(j, "share", c->share[i]);
        metallm__jw_close(j, '}');
    }
    metallm__jw_close(j, ']');
    real(j, "expected_accuracy", c->expected);
    real(j, "learned_accuracy", c->accuracy);
    real(j, "learned_usd_a_text", c->usd);
    flag(j, "is_target_met", c->is_target_met);
    const uint64_t routed = s->end.routed.texts;
    metallm__jw_name(j, "routed_texts");
    metallm__jw_count(j, routed);
    real(j, "routed_accuracy", routed > 0 ? (double)s->end.routed.right / (double)routed : NAN);
    real(j, "routed_usd_a_text", routed > 0 ? s->end.routed.usd / (double)routed : NAN);
    metallm__jw_close(j, '}');
}

static void write_totals(struct metallm__jw *j, const struct metallm__summary *s,
                         const struct metallm__summary_told *t)
{
    count(j, "texts", t->texts);
    count(j, "answered", t->answered);
    count(j, "unmapped", t->unmapped);
    count(j, "unanswered", t->unanswered);
    flag(j, "is_budget_spent", s->end.is_budget_spent);
    real(j, "usd", t->usd);
    real(j, "usd_perhaps_paid", t->usd_lost);
    real(j, "usd_a_text", t->usd_a_text);
    real(j, "seconds", s->end.seconds);
    share(j, "accuracy", &t->accuracy);
    real(j, "macro_f1", t->macro_f1);
    real(j, "calibration_error", t->ece);
    share(j, "agreement", &t->agreement);
    metallm__jw_name(j, "judged");
    metallm__jw_open(j, '{');
    real(j, "mean", t->judged);
    count(j, "count", t->judged_count);
    metallm__jw_close(j, '}');
    text(j, "best_alone", t->best < s->llm_count ? s->llms[t->best].name : NULL);
}

void metallm__summary_json(const struct metallm__summary *s, struct metallm__buf *out)
{
    struct metallm__jw j = {.out = out};
    struct metallm__summary_told told;
    metallm__summary_tell(s, &told);
    metallm__jw_open(&j, '{');
    text(&j, "job", s->job);
    text(&j, "mode", s->mode == METALLM__SUMMARY_CASCADE ? "cascade" : "route");
    text(&j, "router", s->router);
    text(&j, "input", s->input);
    flag(&j, "is_dry_run", s->is_dry);
    real(&j, "budget_usd", s->budget_usd);
    real(&j, "dial", s->dial);
    real(&j, "target", s->target);
    text(&j, "learned_from", s->lessons);
    count(&j, "lessons", s->lessons_count);
    write_totals(&j, s, &told);
    write_labels(&j, s);
    write_llms(&j, s);
    write_cascade(&j, s);
    metallm__jw_close(&j, '}');
}
