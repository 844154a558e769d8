/* SPDX-License-Identifier: Apache-2.0
 * talk_lines.c - see talk_lines.h. */
#include "support/talk_lines.h"

#include <math.h>
#include <stdio.h>

#include "support/cmocka_all.h"

static void put(struct talk_lines *l, const char *name, struct metallm__span value)
{
    if (value.n > 0)
        l->len += (size_t)snprintf(l->text + l->len, sizeof l->text - l->len, " %s=%.*s", name,
                                   (int)value.n, value.p);
    assert_true(l->len < sizeof l->text);
}

static void say(struct talk_lines *l, const char *word)
{
    l->len += (size_t)snprintf(l->text + l->len, sizeof l->text - l->len, "%s", word);
    assert_true(l->len < sizeof l->text);
}

static const char *const kinds[] = {"text",   "refusal", "reasoning", "call",
                                    "result", "image",   "audio",     "file"};

static void tell_parts(struct talk_lines *l, const struct metallm__part *parts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct metallm__part *p = &parts[i];
        say(l, " ");
        say(l, kinds[p->kind]);
        put(l, "text", p->text);
        put(l, "id", p->id);
        put(l, "name", p->name);
        put(l, "seal", p->seal);
        put(l, "of", p->seal_of);
        put(l, "media", p->media);
        put(l, "data", p->data);
        put(l, "url", p->url);
        put(l, "file", p->file_id);
        say(l, p->is_error ? " failed" : "");
        say(l, p->cache == METALLM__CACHE_LONG    ? " 1h"
               : p->cache == METALLM__CACHE_SHORT ? " 5m"
                                                  : "");
        if (p->part_count > 0) {
            say(l, " [");
            tell_parts(l, p->parts, p->part_count);
            say(l, " ]");
        }
        say(l, ";");
    }
}

static void tell_number(struct talk_lines *l, const char *name, double value)
{
    if (!isnan(value) && fabs(value) > 0)
        l->len +=
            (size_t)snprintf(l->text + l->len, sizeof l->text - l->len, " %s=%g", name, value);
}

static void tell_options(struct talk_lines *l, const struct metallm__talk *t)
{
    static const char *const choices[] = {"", "auto", "none", "any", "named"};
    static const char *const efforts[] = {"",       "none", "minimal", "low",
                                          "medium", "high", "xhigh",   "max"};
    tell_number(l, "max", t->max_tokens);
    tell_number(l, "temperature", t->temperature);
    tell_number(l, "top_p", t->top_p);
    tell_number(l, "top_k", t->top_k);
    tell_number(l, "budget", t->reasoning_tokens);
    for (size_t i = 0; i < t->stop_count; i++)
        put(l, "stop", t->stops[i]);
    for (size_t i = 0; i < t->tool_count; i++) {
        put(l, "tool", t->tools[i].name);
        put(l, "about", t->tools[i].description);
        put(l, "schema", t->tools[i].schema);
        say(l, t->tools[i].is_strict > 0 ? " strict" : "");
        say(l, t->tools[i].cache != METALLM__CACHE_NONE ? " kept" : "");
    }
    put(l, "choice", metallm__span_of(choices[t->tool_choice]));
    put(l, "tool_name", t->tool_name);
    say(l, t->is_parallel < 0 ? "" : t->is_parallel > 0 ? " parallel" : " one-by-one");
    put(l, "effort", metallm__span_of(efforts[t->effort]));
    say(l, t->wants_reasoning_summary ? " shown" : "");
    put(l, "format", t->schema);
    put(l, "user", t->user);
    put(l, "tier", t->service_tier);
    say(l, t->is_stream ? " stream" : "");
}

void talk_lines_talk(struct talk_lines *l, const struct metallm__talk *t)
{
    static const char *const roles[] = {"system:", "user:", "assistant:"};
    for (size_t i = 0; i < t->turn_count; i++) {
        say(l, roles[t->turns[i].role]);
        tell_parts(l, t->turns[i].parts, t->turns[i].part_count);
        say(l, "\n");
    }
    tell_options(l, t);
    /* Of the features: those that are not told by the record itself. */
    static const enum metallm__feature shown[] = {
        METALLM__FEATURE_HOSTED_TOOLS, METALLM__FEATURE_STATE,       METALLM__FEATURE_CACHE_MARKS,
        METALLM__FEATURE_PREFILL,      METALLM__FEATURE_SYSTEM_LATE, METALLM__FEATURE_OTHER};
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        if ((t->features >> shown[i] & 1u) != 0)
            put(l, "uses", metallm__span_of(metallm__feature_name(shown[i])));
    put(l, "other", t->other_name);
}

static const char *const finishes[] = {"none",   "stop",     "length", "tools",
                                       "filter", "sequence", "other"};

static void tell_usage(struct talk_lines *l, const struct metallm__wire_usage *u)
{
    l->len += (size_t)snprintf(l->text + l->len, sizeof l->text - l->len,
                               " in=%d cached=%d written=%d out=%d thought=%d",
                               (int)u->input_tokens, (int)u->cached_tokens, (int)u->written_tokens,
                               (int)u->output_tokens, (int)u->reasoning_tokens);
}

void talk_lines_said(struct talk_lines *l, const struct metallm__said *s)
{
    put(l, "id", s->id);
    put(l, "model", s->model);
    tell_parts(l, s->parts, s->part_count);
    put(l, "finish", metallm__span_of(finishes[s->finish]));
    put(l, "stop", s->stop);
    tell_usage(l, &s->usage);
}
