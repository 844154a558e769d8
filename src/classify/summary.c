/* SPDX-License-Identifier: Apache-2.0
 * summary.c - see summary.h. */
#include "classify/summary.h"

#include <math.h>

#include "base/error.h"
#include "base/mem.h"
#include "classify/summary_state.h"
#include "eval/ope.h"

#define Z95 1.959963984540054

/* ---- Life. ---- */

static int copy_names(struct metallm__summary *s, const struct metallm__summary_setup *setup)
{
    const char *const texts[] = {setup->job, setup->router, setup->input, setup->lessons};
    char **const places[] = {&s->job, &s->router, &s->input, &s->lessons};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if ((*places[i] = metallm__strdup(texts[i] != NULL ? texts[i] : "")) == NULL)
            return METALLM_ENOMEM;
    for (uint32_t i = 0; i < setup->llm_count; i++)
        if ((s->llms[i].name = metallm__strdup(setup->llms[i])) == NULL)
            return METALLM_ENOMEM;
    return METALLM_OK;
}

int metallm__summary_new(struct metallm__summary **out, const struct metallm__summary_setup *setup,
                         metallm_error *err)
{
    METALLM_REQUIRE(setup->llm_count >= 1 && setup->llm_count <= METALLM__SUMMARY_LLMS_MAX &&
                    setup->candidate_count <= setup->llm_count);
    struct metallm__summary *s = metallm__calloc(1, sizeof *s);
    if (s == NULL)
        return metallm__error_nomem(err, "a summary");
    const uint32_t n = metallm__labels_count(setup->labels);
    s->mode = setup->mode;
    s->labels = setup->labels;
    s->label_count = n;
    s->llm_count = setup->llm_count;
    s->candidate_count = setup->candidate_count > 0 ? setup->candidate_count : setup->llm_count;
    s->budget_usd = setup->budget_usd;
    s->dial = setup->dial;
    s->target = setup->target;
    s->is_dry = setup->is_dry;
    s->end.seconds = NAN;
    s->llms = metallm__calloc(setup->llm_count, sizeof *s->llms);
    s->confusion = metallm__calloc((size_t)n * (n + 1), sizeof *s->confusion);
    s->answers = metallm__calloc(n, sizeof *s->answers);
    if (s->llms == NULL || s->confusion == NULL || s->answers == NULL ||
        copy_names(s, setup) != METALLM_OK) {
        metallm__summary_free(s);
        return metallm__error_nomem(err, "a summary");
    }
    *out = s;
    return METALLM_OK;
}

void metallm__summary_free(struct metallm__summary *s)
{
    if (s == NULL)
        return;
    for (uint32_t i = 0; s->llms != NULL && i < s->llm_count; i++)
        metallm__free(s->llms[i].name);
    metallm__free(s->job);
    metallm__free(s->router);
    metallm__free(s->input);
    metallm__free(s->lessons);
    metallm__free(s->llms);
    metallm__free(s->confusion);
    metallm__free(s->answers);
    metallm__free(s);
}

/* ---- Rows. ---- */

static const struct metallm__summary_call *call_of(const struct metallm__summary_row *row,
                                                   uint32_t llm)
{
    for (uint32_t i = 0; i < row->call_count; i++)
        if (row->calls[i].llm == llm && !row->calls[i].is_judge)
            return &row->calls[i];
    return NULL;
}

static void add_calls(struct metallm__summary *s, const struct metallm__summary_row *row)
{
    for (uint32_t i = 0; i < row->call_count; i++) {
        const struct metallm__summary_call *c = &row->calls[i];
        METALLM_REQUIRE(c->llm < s->llm_count);
        struct metallm__summary_sums *m = &s->llms[c->llm];
        m->calls++;
        m->unmapped += c->label == METALLM__LABEL_NONE && !c->is_judge;
        if (isfinite(c->usd)) {
            m->usd += c->usd;
            s->usd += c->usd;
        }
        if (isfinite(c->latency_ms)) {
            m->latency_ms += c->latency_ms;
            m->latencies++;
        }
        for (uint32_t k = 0; k < i && row->is_lesson; k++)
            if (row->calls[k].llm != c->llm && row->calls[k].label != METALLM__LABEL_NONE &&
                c->label != METALLM__LABEL_NONE) {
                s->pairs++;
                s->pairs_agree += row->calls[k].label == c->label;
            }
    }
}

/* What LLM m alone would have cost: what it did cost, or was expected to. */
static void add_single_usd(struct metallm__summary_sums *m, const struct metallm__summary_row *row,
                           uint32_t llm)
{
    const struct metallm__summary_call *call = call_of(row, llm);
    const double usd = call != NULL && isfinite(call->usd) ? call->usd
                       : row->usd_of != NULL               ? (double)row->usd_of[llm]
                                                           : NAN;
    if (isfinite(usd)) {
        m->single_usd += usd;
        m->single_priced++;
    }
}

static void add_term(struct metallm__summary_sums *m, double term, double weight)
{
    m->terms++;
    m->w += weight;
    m->term += term;
    m->term2 += term * term;
    m->w2 += weight * weight;
    m->w4 += weight * weight * weight * weight;
}

/* Whether LLM m would have been right. Where every LLM was asked to learn, that is known; else the
 * first answer is weighed by the chance with which it was asked. */
static void add_single(struct metallm__summary_sums *m, const struct metallm__summary_row *row,
                       uint32_t llm, bool is_full)
{
    const struct metallm__summary_call *call = call_of(row, llm);
    if (call != NULL) {
        m->exact++;
        m->exact_right += call->label == row->gold;
    }
    if (is_full) {
        m->full++;
        m->full_right += call->label == row->gold;
        return;
    }
    if (!(row->propensity > 0 && row->propensity <= 1) || row->call_count == 0 ||
        row->calls[0].is_judge)
        return;
    const double believed = row->quality_of != NULL ? (double)row->quality_of[llm] : NAN,
                 q = isfinite(believed) ? believed : 0;
    const struct metallm__summary_call *first = &row->calls[0];
    const double w = first->llm == llm ? 1 / row->propensity : 0;
    add_term(m, q + w * ((first->label == row->gold) - q), w);
}

static void add_gold(struct metallm__summary *s, const struct metallm__summary_row *row)
{
    const uint32_t n = s->label_count;
    const bool is_right = row->label == row->gold;
    METALLM_REQUIRE(row->gold < n);
    s->gold++;
    s->right += is_right;
    s->confusion[(size_t)row->gold * (n + 1) + (row->label < n ? row->label : n)]++;
    s->llms[row->llm].right_of++;
    s->llms[row->llm].right += is_right;
    bool is_full = row->is_lesson; /* a cascade asks all about hard texts: no fair sample */
    for (uint32_t i = 0; i < s->candidate_count; i++)
        is_full = is_full && call_of(row, i) != NULL;
    for (uint32_t i = 0; i < s->candidate_count; i++)
        add_single(&s->llms[i], row, i, is_full);
    if (row->confidence >= 0 && row->confidence <= 1 && row->label < n) {
        const uint32_t at = (uint32_t)(row->confidence * METALLM__SUMMARY_BINS);
        struct metallm__summary_bin *b =
            &s->bins[at < METALLM__SUMMARY_BINS ? at : METALLM__SUMMARY_BINS - 1];
        b->count++;
        b->right += is_right;
        b->predicted += row->confidence;
    }
}

void metallm__summary_add(struct metallm__summary *s, const struct metallm__summary_row *row)
{
    s->seen++;
    s->lessons_count += row->is_lesson;
    if (isfinite(row->usd_lost))
        s->usd_lost += row->usd_lost;
    add_calls(s, row);
    if (row->llm == METALLM__LABEL_NONE)
        return;
    METALLM_REQUIRE(row->llm < s->llm_count);
    s->answered++;
    s->hows[row->how]++;
    s->llms[row->llm].answered++;
    if (row->label < s->label_count)
        s->answers[row->label]++;
    else
        s->unmapped++;
    for (uint32_t i = 0; i < s->candidate_count; i++)
        add_single_usd(&s->llms[i], row, i);
    if (row->gold != METALLM__LABEL_NONE)
        add_gold(s, row);
    if (isfinite(row->judged)) {
        s->judged += row->judged;
        s->judged_count++;
    }
}

void metallm__summary_close(struct metallm__summary *s, const struct metallm__summary_end *end)
{
    s->end = *end;
    s->is_closed = true;
    if (end->cascade != NULL) {
        s->cascade = *end->cascade;
        s->end.cascade = &s->cascade;
    }
}

/* ---- What it tells. ---- */

void metallm__wilson(uint64_t hits, uint64_t of, struct metallm__share *out)
{
    *out = (struct metallm__share){hits, of, NAN, NAN, NAN};
    if (of == 0)
        return;
    const double n = (double)of, p = (double)hits / n, zz = Z95 * Z95,
                 middle = (p + zz / (2 * n)) / (1 + zz / n),
                 half = Z95 / (1 + zz / n) * sqrt(p * (1 - p) / n + zz / (4 * n * n));
    out->value = p;
    out->low = hits == 0 ? 0 : fmax(0, middle - half);
    out->high = hits == of ? 1 : fmin(1, middle + half);
}

void metallm__summary_label_tell(const struct metallm__summary *s, uint32_t label,
                                 struct metallm__summary_label *out)
{
    const uint32_t n = s->label_count;
    *out = (struct metallm__summary_label){
        .answers = s->answers[label], .precision = NAN, .recall = NAN, .f1 = NAN};
    for (uint32_t i = 0; i <= n; i++)
        out->gold += s->confusion[(size_t)label * (n + 1) + i];
    for (uint32_t i = 0; i < n; i++)
        out->said += s->confusion[(size_t)i * (n + 1) + label];
    out->right = s->confusion[(size_t)label * (n + 1) + label];
    if (out->said > 0)
        out->precision = (double)out->right / (double)out->said;
    if (out->gold > 0)
        out->recall = (double)out->right / (double)out->gold;
    if (out->said + out->gold > 0)
        out->f1 = 2 * (double)out->right / (double)(out->said + out->gold);
}

static double macro_f1(const struct metallm__summary *s)
{
    double sum = 0;
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->label_count; i++) {
        struct metallm__summary_label l;
        metallm__summary_label_tell(s, i, &l);
        if (!isnan(l.f1)) {
            sum += l.f1;
            count++;
        }
    }
    return count > 0 ? sum / count : NAN;
}

static double ece(const struct metallm__summary *s)
{
    double sum = 0;
    uint64_t count = 0;
    for (size_t i = 0; i < METALLM__SUMMARY_BINS; i++) {
        sum += fabs(s->bins[i].predicted - (double)s->bins[i].right);
        count += s->bins[i].count;
    }
    return count > 0 ? sum / (double)count : NAN;
}

void metallm__summary_tell(const struct metallm__summary *s, struct metallm__summary_told *out)
{
    *out = (struct metallm__summary_told){
        .texts = s->is_closed && s->end.texts > s->seen ? s->end.texts : s->seen,
        .answered = s->answered,
        .unmapped = s->unmapped,
        .macro_f1 = macro_f1(s),
        .usd = s->usd,
        .usd_lost = s->usd_lost,
        .usd_a_text = s->answered > 0 ? s->usd / (double)s->answered : NAN,
        .ece = ece(s),
        .judged = s->judged_count > 0 ? s->judged / (double)s->judged_count : NAN,
        .judged_count = s->judged_count,
        .best = METALLM__LABEL_NONE,
    };
    out->unanswered = out->texts - out->answered;
    metallm__wilson(s->right, s->gold, &out->accuracy);
    metallm__wilson(s->pairs_agree, s->pairs, &out->agreement);
    double most = -INFINITY;
    for (uint32_t i = 0; i < s->llm_count; i++) {
        struct metallm__summary_llm m;
        metallm__summary_llm_tell(s, i, &m);
        if (m.single > most) {
            most = m.single;
            out->best = i;
        }
    }
}

static double clamp(double p)
{
    return p < 0 ? 0 : p > 1 ? 1 : p;
}

/* Whether the weights average 1, as they must where an LLM had a chance at every text
 * (METALLM__OPE_MASS of eval/ope.h): a deterministic choice tells nothing of what it never chose.
 */
static bool has_mass(const struct metallm__summary_sums *m)
{
    const double n = (double)m->terms, mean = m->w / n, spread = fmax(0, m->w2 / n - mean * mean);
    return m->w2 > 0 && fabs(mean - 1) <= METALLM__OPE_MASS_SLACK + 4 * sqrt(spread / n);
}

static void tell_share(uint64_t hits, uint64_t of, struct metallm__summary_llm *out)
{
    struct metallm__share share;
    metallm__wilson(hits, of, &share);
    out->single = share.value;
    out->single_low = share.low;
    out->single_high = share.high;
    out->single_rows = of;
}

static void tell_estimate(const struct metallm__summary_sums *m, struct metallm__summary_llm *out)
{
    const double n = (double)(m->terms + m->full), right = (double)m->full_right,
                 mean = (m->term + right) / n, w2 = m->w2 + (double)m->full,
                 w4 = m->w4 + (double)m->full,
                 variance = fmax(0, (m->term2 + right - n * mean * mean) / (n - 1)),
                 half = metallm__student_975(w2 * w2 / w4 - 1) * sqrt(variance / n);
    if (!(half < 0.5)) /* next to nothing is known */
        return;
    out->single = clamp(mean);
    out->single_low = clamp(mean - half);
    out->single_high = clamp(mean + half);
    out->single_rows = m->terms + m->full;
}

static void tell_single(const struct metallm__summary *s, const struct metallm__summary_sums *m,
                        struct metallm__summary_llm *out)
{
    out->single = out->single_low = out->single_high = NAN;
    out->is_single_exact = s->gold > 0 && m->exact == s->gold;
    if (out->is_single_exact)
        tell_share(m->exact_right, m->exact, out);
    else if (m->terms > 1 && has_mass(m))
        tell_estimate(m, out);
    else if (m->full > 0)
        tell_share(m->full_right, m->full, out);
}

void metallm__summary_llm_tell(const struct metallm__summary *s, uint32_t llm,
                               struct metallm__summary_llm *out)
{
    METALLM_REQUIRE(llm < s->llm_count);
    const struct metallm__summary_sums *m = &s->llms[llm];
    *out = (struct metallm__summary_llm){
        .name = m->name,
        .answered = m->answered,
        .calls = m->calls,
        .unmapped = m->unmapped,
        .usd = m->usd,
        .latency_ms = m->latencies > 0 ? m->latency_ms / (double)m->latencies : NAN,
        .single_usd = m->single_priced > 0
                          ? m->single_usd / (double)m->single_priced * (double)s->answered
                          : NAN,
    };
    metallm__wilson(m->right, m->right_of, &out->right);
    tell_single(s, m, out);
}

uint64_t metallm__summary_confusion(const struct metallm__summary *s, uint32_t gold,
                                    uint32_t answer)
{
    METALLM_REQUIRE(gold < s->label_count && answer <= s->label_count);
    return s->confusion[(size_t)gold * (s->label_count + 1) + answer];
}
