/* SPDX-License-Identifier: Apache-2.0
 * wire_same.c - whether two talks or two answers mean the same. Turns of one speaker that stand
 * side by side are one: protocols differ in how they part them. */
#include <math.h>
#include <stdio.h>

#include "support/wire_random.h"

static char told[512];

static const char *differ(const char *what, struct metallm__span a, struct metallm__span b)
{
    snprintf(told, sizeof told, "%s: '%.*s' / '%.*s'", what, (int)(a.n < 200 ? a.n : 200), a.p,
             (int)(b.n < 200 ? b.n : 200), b.p);
    return told;
}

static const char *differ_number(const char *what, double a, double b)
{
    snprintf(told, sizeof told, "%s: %g / %g", what, a, b);
    return told;
}

#define SPAN(what, member)                                                                         \
    if (!metallm__span_eq(a->member, b->member))                                                   \
        return differ(what, a->member, b->member);
#define NUMBER(what, member)                                                                       \
    if (!((double)a->member == (double)b->member ||                                                \
          (isnan((double)a->member) && isnan((double)b->member))))                                 \
        return differ_number(what, (double)a->member, (double)b->member);

/* "auto" is what nothing means. */
static struct metallm__span detail_of(const struct metallm__part *p)
{
    return metallm__span_is(p->detail, "auto") ? metallm__span(NULL, 0) : p->detail;
}

/* The next part of a result that is not an empty text; NULL: there is none left. */
static const struct metallm__part *next_inner(const struct metallm__part *result, size_t *at)
{
    while (*at < result->part_count) {
        const struct metallm__part *p = &result->parts[(*at)++];
        if (p->kind != METALLM__PART_TEXT || p->text.n > 0)
            return p;
    }
    return NULL;
}

static const char *part_difference(const struct metallm__part *a, const struct metallm__part *b)
{
    NUMBER("part", kind)
    NUMBER("part's cache", cache)
    SPAN("part's text", text)
    if (a->kind == METALLM__PART_CALL || a->kind == METALLM__PART_RESULT)
        SPAN("part's id", id)
    SPAN("part's name", name)
    SPAN("part's seal", seal)
    SPAN("part's seal_of", seal_of)
    SPAN("part's media", media)
    SPAN("part's data", data)
    SPAN("part's url", url)
    SPAN("part's file_id", file_id)
    if (!metallm__span_eq(detail_of(a), detail_of(b)))
        return differ("part's detail", a->detail, b->detail);
    NUMBER("part's is_error", is_error)
    size_t i = 0, k = 0;
    for (;;) {
        const struct metallm__part *x = next_inner(a, &i), *y = next_inner(b, &k);
        if (x == NULL || y == NULL)
            return x == y ? "" : "results: their parts are not the same many";
        const char *why = part_difference(x, y);
        if (why[0] != '\0')
            return why;
    }
}

/* A place among the parts of a talk, turn by turn. */
struct place {
    const struct metallm__talk *talk;
    size_t turn, part;
};

static bool joins(const struct metallm__turn *a, const struct metallm__turn *b)
{
    return a->role == b->role && a->name.n == 0 && b->name.n == 0;
}

/* The next part; *is_new: it begins a turn. NULL: there is none left. */
static const struct metallm__part *next(struct place *p, bool *is_new)
{
    const struct metallm__talk *t = p->talk;
    while (p->turn < t->turn_count) {
        const struct metallm__turn *turn = &t->turns[p->turn];
        if (p->part < turn->part_count) {
            *is_new = p->part == 0 && (p->turn == 0 || !joins(&t->turns[p->turn - 1], turn));
            return &turn->parts[p->part++];
        }
        p->turn++;
        p->part = 0;
    }
    return NULL;
}

static const char *turn_difference(const struct metallm__talk *one, const struct metallm__talk *two)
{
    struct place p = {.talk = one}, q = {.talk = two};
    for (;;) {
        bool is_new_p = false, is_new_q = false;
        const struct metallm__part *x = next(&p, &is_new_p), *y = next(&q, &is_new_q);
        if (x == NULL && y == NULL)
            return "";
        if (x == NULL || y == NULL || is_new_p != is_new_q)
            return "turns: their parts are not the same many";
        const struct metallm__turn *a = &one->turns[p.turn], *b = &two->turns[q.turn];
        NUMBER("role", role)
        SPAN("turn's name", name)
        const char *why = part_difference(x, y);
        if (why[0] != '\0')
            return why;
    }
}

static const char *tool_difference(const struct metallm__tool *a, const struct metallm__tool *b)
{
    SPAN("tool's name", name)
    SPAN("tool's description", description)
    SPAN("tool's schema", schema)
    if ((a->is_strict > 0) != (b->is_strict > 0)) /* not said is not strict */
        return differ_number("tool's is_strict", a->is_strict, b->is_strict);
    NUMBER("tool's cache", cache)
    return "";
}

static const char *list_difference(const struct metallm__talk *a, const struct metallm__talk *b)
{
    NUMBER("stops", stop_count)
    NUMBER("tools", tool_count)
    for (size_t i = 0; i < a->stop_count; i++)
        SPAN("stop", stops[i])
    for (size_t i = 0; i < a->tool_count; i++) {
        const char *why = tool_difference(&a->tools[i], &b->tools[i]);
        if (why[0] != '\0')
            return why;
    }
    return "";
}

const char *talk_difference(const struct metallm__talk *a, const struct metallm__talk *b)
{
    NUMBER("max_tokens", max_tokens)
    NUMBER("temperature", temperature)
    NUMBER("top_p", top_p)
    NUMBER("top_k", top_k)
    NUMBER("frequency_penalty", frequency_penalty)
    NUMBER("presence_penalty", presence_penalty)
    NUMBER("has_seed", has_seed)
    NUMBER("seed", seed)
    NUMBER("wants_logprobs", wants_logprobs)
    NUMBER("top_logprobs", top_logprobs)
    NUMBER("tool_choice", tool_choice)
    SPAN("tool_name", tool_name)
    NUMBER("is_parallel", is_parallel)
    NUMBER("format", format)
    SPAN("format_name", format_name)
    SPAN("format_description", format_description)
    SPAN("schema", schema)
    NUMBER("is_format_strict", is_format_strict)
    NUMBER("effort", effort)
    NUMBER("reasoning_tokens", reasoning_tokens)
    SPAN("user", user)
    SPAN("verbosity", verbosity)
    const char *why = list_difference(a, b);
    if (why[0] != '\0')
        return why;
    why = turn_difference(a, b);
    if (why[0] != '\0' || a->features == b->features)
        return why;
    snprintf(told, sizeof told, "features: %s", "");
    for (size_t f = 0; f < METALLM__FEATURES; f++)
        if (((a->features ^ b->features) >> f & 1u) != 0)
            snprintf(told, sizeof told, "feature '%s'",
                     metallm__feature_name((enum metallm__feature)f));
    return told;
}

/* The upstream's id may have got a prefix. */
static bool ends_with(struct metallm__span s, struct metallm__span end)
{
    return s.n >= end.n && metallm__span_eq(metallm__span(s.p + s.n - end.n, end.n), end);
}

const char *said_difference(const struct metallm__said *a, const struct metallm__said *b)
{
    if (!ends_with(b->id, a->id))
        return differ("id", a->id, b->id);
    SPAN("model", model)
    SPAN("stop", stop)
    NUMBER("finish", finish)
    NUMBER("parts", part_count)
    NUMBER("input_tokens", usage.input_tokens)
    NUMBER("cached_tokens", usage.cached_tokens)
    NUMBER("output_tokens", usage.output_tokens)
    NUMBER("reasoning_tokens", usage.reasoning_tokens)
    NUMBER("written_tokens", usage.written_tokens)
    for (size_t i = 0; i < a->part_count; i++) {
        const char *why = part_difference(&a->parts[i], &b->parts[i]);
        if (why[0] != '\0')
            return why;
    }
    return "";
}
