/* SPDX-License-Identifier: Apache-2.0
 * label_probs.c - the labels' probabilities out of token log-probabilities, and what an LLM leans
 * to; see label.h. */
#include <math.h>

#include "classify/label_form.h"

#define PATH_BYTES (METALLM__LABEL_BYTES_MAX + 64u)
#define FIT_BYTES  2u /* fewer bytes of a longer label say nothing: "D" begins too many words */

/* A way through the tokens: what was written since the label began. */
struct path {
    char bytes[PATH_BYTES];
    size_t n;
};

struct walk {
    const struct metallm__label_ask *ask;
    uint32_t open; /* labels that may be answers */
    yyjson_val *tokens[METALLM__LABEL_TOKENS_MAX];
    uint32_t count;
    double mass[METALLM__LABELS_MAX];
};

static double probability(yyjson_val *token)
{
    yyjson_val *v = yyjson_obj_get(token, "logprob");
    const double log = yyjson_is_num(v) ? yyjson_get_num(v) : NAN;
    return log <= 0 ? exp(log) : log > 0 && log < 1e-3 ? 1 : 0; /* NaN: 0 */
}

static struct metallm__span text_of(yyjson_val *token)
{
    yyjson_val *v = yyjson_obj_get(token, "token");
    struct metallm__span s = {yyjson_get_str(v), yyjson_is_str(v) ? yyjson_get_len(v) : 0};
    if (s.n >= 3 && memcmp(s.p, "\xe2\x96\x81", 3) == 0) /* SentencePiece's blank */
        s.p += 3, s.n -= 3;
    return s;
}

/* The path with a token behind it; marks in front of a label do not count. */
static void extend(struct path *p, const struct path *from, struct metallm__span token)
{
    *p = *from;
    size_t n;
    if (p->n == 0)
        while ((n = metallm__mark_first(token)) > 0)
            token.p += n, token.n -= n;
    if (token.n > PATH_BYTES - p->n)
        token.n = PATH_BYTES - p->n;
    if (token.n > 0)
        memcpy(p->bytes + p->n, token.p, token.n);
    p->n += token.n;
}

enum fit { FIT_NONE, FIT_PART, FIT_WHOLE };

/* Whether the path is the label, with a mark behind it perhaps, or begins it. */
static enum fit fit_of(const struct path *p, struct metallm__span form)
{
    const struct metallm__span text = {p->bytes, p->n};
    const size_t whole = metallm__label_at(text, form);
    if (whole > 0) {
        const struct metallm__span rest = {text.p + whole, text.n - whole};
        return rest.n == 0 || metallm__mark_first(rest) > 0 ? FIT_WHOLE : FIT_NONE;
    }
    char begun[PATH_BYTES];
    const size_t n = metallm__label_form(text, begun);
    return n >= FIT_BYTES && n < form.n && memcmp(begun, form.p, n) == 0 ? FIT_PART : FIT_NONE;
}

/* Labels that the path may still become; *whole: one that it is, with a mark or the end behind. */
static uint32_t fits(const struct walk *w, const struct path *p, uint32_t *list, uint32_t *whole)
{
    uint32_t count = 0;
    *whole = METALLM__LABEL_NONE;
    for (uint32_t i = 0; p->n > 0 && i < w->open; i++) {
        const enum fit fit = fit_of(p, w->ask->labels->items[i].form);
        if (fit == FIT_WHOLE)
            *whole = i;
        if (fit != FIT_NONE)
            list[count++] = i;
    }
    return count;
}

static void share(struct walk *w, const uint32_t *list, uint32_t count, uint32_t whole, double p)
{
    for (uint32_t i = 0; i < count; i++)
        if (whole == METALLM__LABEL_NONE)
            w->mass[list[i]] += p / count;
    if (whole != METALLM__LABEL_NONE)
        w->mass[whole] += p;
}

/* Adds what one alternative of a token says. Returns true where it is the one that was written and
 * leaves several labels open: the next token decides. */
static bool add_alternative(struct walk *w, const struct path *from, yyjson_val *token, double p,
                            bool is_written, bool is_last, struct path *onward)
{
    uint32_t list[METALLM__LABELS_MAX], whole;
    struct path here;
    extend(&here, from, text_of(token));
    const uint32_t count = fits(w, &here, list, &whole);
    if (is_written && !is_last && (count > 1 || here.n == 0)) {
        *onward = here;
        return true;
    }
    if (count > 0)
        share(w, list, count, whole, p);
    return false;
}

/* Masses of the labels that begin at token `first`; their sum. */
static double walk_from(struct walk *w, uint32_t first)
{
    struct path path = {.n = 0};
    double reached = 1, total = 0;
    bool goes_on = true;
    memset(w->mass, 0, sizeof w->mass);
    for (uint32_t at = first; goes_on && at < w->count; at++) {
        const bool is_last = at + 1 == w->count;
        const struct metallm__span written = text_of(w->tokens[at]);
        struct path onward = {.n = 0};
        bool is_listed = false;
        size_t i, max;
        yyjson_val *alternative;
        goes_on = false;
        yyjson_arr_foreach(yyjson_obj_get(w->tokens[at], "top_logprobs"), i, max, alternative)
        {
            const bool is_written = !is_listed && metallm__span_eq(text_of(alternative), written);
            is_listed |= is_written;
            goes_on |= add_alternative(w, &path, alternative, reached * probability(alternative),
                                       is_written, is_last, &onward);
            if (i + 1 >= METALLM__LABELS_MAX)
                break;
        }
        if (!is_listed)
            goes_on |=
                add_alternative(w, &path, w->tokens[at], reached * probability(w->tokens[at]), true,
                                is_last, &onward);
        reached *= probability(w->tokens[at]);
        path = onward;
    }
    for (uint32_t i = 0; i < w->open; i++)
        total += w->mass[i];
    return total;
}

/* The first token at which labels hold enough; else the one at which they hold most. */
static double find_masses(struct walk *w)
{
    uint32_t best = 0;
    double most = 0;
    for (uint32_t first = 0; first < w->count && most < METALLM__LABEL_MASS_LEAST; first++) {
        const double total = walk_from(w, first);
        if (total > most)
            most = total, best = first;
    }
    return most > 0 ? walk_from(w, best) : 0;
}

void metallm__label_probs(const struct metallm__label_ask *ask, yyjson_val *choice,
                          struct metallm__label_read *out, uint32_t *likeliest, double *confidence)
{
    struct walk w = {.ask = ask, .open = metallm__label_open(ask)};
    yyjson_val *content = yyjson_obj_get(yyjson_obj_get(choice, "logprobs"), "content"), *token;
    size_t i, max;
    yyjson_arr_foreach(content, i, max, token)
    {
        if (w.count == METALLM__LABEL_TOKENS_MAX)
            break;
        w.tokens[w.count++] = token;
    }
    const double total = find_masses(&w);
    if (!(total > 1e-9))
        return;
    double sum = 0, most = -1;
    for (uint32_t l = 0; l < w.open; l++) {
        out->probs[l] = (float)(w.mass[l] / total);
        const double leant = w.mass[l] / (ask->lean != NULL ? ask->lean[l] : 1);
        sum += leant;
        if (leant > most)
            most = leant, *likeliest = l;
    }
    out->has_probs = true;
    out->mass = total < 1 ? total : 1;
    *confidence = most / sum;
}

/* ---- Lean. ---- */

void metallm__lean_add(struct metallm__lean *l, const struct metallm__label_read *read,
                       uint32_t labels)
{
    if (!read->has_probs)
        return;
    for (uint32_t i = 0; i < labels && i < METALLM__LABELS_MAX; i++)
        l->sum[i] += (double)read->probs[i];
    l->count++;
}

void metallm__lean_get(const struct metallm__lean *l, uint32_t labels, double *out)
{
    for (uint32_t i = 0; i < labels && i < METALLM__LABELS_MAX; i++)
        out[i] = l->count < METALLM__LEAN_LEAST
                     ? 1
                     : (l->sum[i] + 1.0 / labels) / ((double)l->count + 1);
}
