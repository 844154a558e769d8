/* SPDX-License-Identifier: Apache-2.0
 * wire_random.c - see wire_random.h. */
#include "support/wire_random.h"

#include <math.h>
#include <stdio.h>

static bool flip(struct wire_random *r)
{
    return metallm__rng_below(&r->rng, 2) == 1;
}

static bool may(struct wire_random *r, enum metallm__feature f)
{
    return (r->allowed >> f & 1u) != 0 && metallm__rng_below(&r->rng, 3) == 0;
}

struct metallm__span random_text(struct wire_random *r, size_t most)
{
    static const char *const words[] = {"the ",
                                        "fox",
                                        " \"said\" ",
                                        "\\",
                                        "\n",
                                        "\t",
                                        "{\"a\":1}",
                                        "\xc3\xa4",
                                        "1",
                                        "\x01",
                                        "\xe6\x97\xa5",
                                        "\xf0\x9f\x98\x80",
                                        "a b c d e f g h i j k l m n o p ",
                                        "<|end|>",
                                        "/",
                                        "'"};
    char text[512];
    size_t n = 0, count = 1 + metallm__rng_below(&r->rng, (uint32_t)most);
    for (size_t i = 0; i < count; i++) {
        const char *word = words[metallm__rng_below(&r->rng, 16)];
        size_t len = strlen(word);
        if (n + len > sizeof text)
            break;
        memcpy(text + n, word, len);
        n += len;
    }
    return metallm__pool_copy(&r->pool, metallm__span(text, n));
}

static struct metallm__span name(struct wire_random *r, const char *stem)
{
    char text[64];
    int n = snprintf(text, sizeof text, "%s_%u", stem, metallm__rng_below(&r->rng, 1000000));
    return metallm__pool_copy(&r->pool, metallm__span(text, (size_t)n));
}

static struct metallm__span base64(struct wire_random *r)
{
    static const char *const data[] = {"AAAA", "iVBORw0KGgo=", "Zm9vYmFy", "QUJD/+8="};
    return metallm__span_of(data[metallm__rng_below(&r->rng, 4)]);
}

static struct metallm__span json_object(struct wire_random *r)
{
    static const char *const values[] = {"1",     "-2.50",
                                         "\"x\"", "true",
                                         "null",  "[1,{\"b\":2}]",
                                         "{}",    "\"\\\"\\n\xc3\xa4\"",
                                         "1e30",  "12345678901234567890123"};
    char text[256] = "{";
    size_t n = 1, count = metallm__rng_below(&r->rng, 4);
    for (size_t i = 0; i < count; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s\"k%zu\":%s", i > 0 ? "," : "", i,
                              values[metallm__rng_below(&r->rng, 10)]);
    n += (size_t)snprintf(text + n, sizeof text - n, "}");
    return metallm__pool_copy(&r->pool, metallm__span(text, n));
}

static struct metallm__span schema(struct wire_random *r)
{
    char text[160];
    int n = snprintf(text, sizeof text,
                     "{\"type\":\"object\",\"properties\":{\"p%u\":{\"type\":\"string\"}},"
                     "\"required\":[],\"additionalProperties\":false}",
                     metallm__rng_below(&r->rng, 100));
    return metallm__pool_copy(&r->pool, metallm__span(text, (size_t)n));
}

/* ---- Talks. ---- */

static void put_cache(struct wire_random *r, enum metallm__cache_mark *cache)
{
    if (may(r, METALLM__FEATURE_CACHE_MARKS))
        *cache = flip(r) ? METALLM__CACHE_SHORT : METALLM__CACHE_LONG;
}

static bool image(struct wire_random *r, struct metallm__part *p)
{
    p->kind = METALLM__PART_IMAGE;
    if (may(r, METALLM__FEATURE_IMAGES)) {
        p->media = metallm__span_of(flip(r) ? "image/png" : "image/jpeg");
        p->data = base64(r);
    } else if (may(r, METALLM__FEATURE_IMAGE_URLS)) {
        p->url = metallm__span_of("https://example.com/a.png?b=\"c\"");
    } else {
        return false;
    }
    if (may(r, METALLM__FEATURE_IMAGE_DETAIL))
        p->detail = metallm__span_of(flip(r) ? "low" : "high");
    return true;
}

static bool other_media(struct wire_random *r, struct metallm__part *p)
{
    if (may(r, METALLM__FEATURE_AUDIO)) {
        p->kind = METALLM__PART_AUDIO;
        p->media = metallm__span_of(flip(r) ? "audio/wav" : "audio/mp3");
        p->data = base64(r);
        return true;
    }
    if (may(r, METALLM__FEATURE_FILES)) {
        p->kind = METALLM__PART_FILE;
        p->media = metallm__span_of("application/pdf");
        p->data = base64(r);
        p->name = name(r, "file");
        return true;
    }
    return false;
}

static void text_part(struct wire_random *r, struct metallm__part *p)
{
    *p = (struct metallm__part){.kind = METALLM__PART_TEXT, .text = random_text(r, 12)};
}

static struct metallm__part *room(struct wire_random *r)
{
    return metallm__pool_take(&r->pool, 16, sizeof(struct metallm__part));
}

static void result(struct wire_random *r, struct metallm__part *p, struct metallm__span id)
{
    struct metallm__part *inner = room(r);
    *p = (struct metallm__part){.kind = METALLM__PART_RESULT, .id = id, .parts = inner};
    for (unsigned i = metallm__rng_below(&r->rng, 3); i > 0; i--)
        text_part(r, &inner[p->part_count++]);
    if (may(r, METALLM__FEATURE_TOOL_RESULT_IMAGES) && image(r, &inner[p->part_count]))
        p->part_count++;
    p->is_error = may(r, METALLM__FEATURE_TOOL_RESULT_ERROR);
    put_cache(r, &p->cache);
}

static void user_turn(struct wire_random *r, struct metallm__turn *t,
                      const struct metallm__turn *before)
{
    struct metallm__part *parts = room(r);
    *t = (struct metallm__turn){.role = METALLM__ROLE_USER, .parts = parts};
    for (size_t i = 0; before != NULL && i < before->part_count; i++)
        if (before->parts[i].kind == METALLM__PART_CALL)
            result(r, &parts[t->part_count++], before->parts[i].id);
    size_t results = t->part_count;
    if (results > 0 && flip(r))
        return;
    if (results == 0 && may(r, METALLM__FEATURE_TURN_NAMES))
        t->name = name(r, "ann");
    for (unsigned i = metallm__rng_below(&r->rng, 3); i > 0; i--) {
        struct metallm__part *p = &parts[t->part_count];
        *p = (struct metallm__part){.kind = METALLM__PART_TEXT};
        if (!image(r, p) && !other_media(r, p))
            text_part(r, p);
        put_cache(r, &p->cache);
        t->part_count++;
    }
    text_part(r, &parts[t->part_count++]);
}

static void assistant_turn(struct wire_random *r, struct metallm__turn *t, bool may_call)
{
    struct metallm__part *parts = room(r);
    *t = (struct metallm__turn){.role = METALLM__ROLE_ASSISTANT, .parts = parts};
    if (may(r, METALLM__FEATURE_REASONING_HISTORY) && r->seal_of != NULL)
        parts[t->part_count++] = (struct metallm__part){.kind = METALLM__PART_REASONING,
                                                        .text = random_text(r, 5),
                                                        .seal = base64(r),
                                                        .seal_of = metallm__span_of(r->seal_of)};
    bool has_calls = may_call && (r->allowed >> METALLM__FEATURE_TOOLS & 1u) != 0 && flip(r);
    if (!has_calls && !r->has_no_refusals && may(r, METALLM__FEATURE_REFUSAL_HISTORY))
        parts[t->part_count++] =
            (struct metallm__part){.kind = METALLM__PART_REFUSAL, .text = random_text(r, 3)};
    else if (!has_calls || flip(r))
        text_part(r, &parts[t->part_count++]);
    for (unsigned i = has_calls ? 1 + metallm__rng_below(&r->rng, 3) : 0; i > 0; i--)
        parts[t->part_count++] = (struct metallm__part){.kind = METALLM__PART_CALL,
                                                        .id = name(r, "call"),
                                                        .name = name(r, "tool"),
                                                        .text = json_object(r)};
}

static void system_turn(struct wire_random *r, struct metallm__turn *t)
{
    struct metallm__part *parts = room(r);
    *t = (struct metallm__turn){.role = METALLM__ROLE_SYSTEM, .parts = parts};
    for (unsigned i = r->has_one_system ? 1 : 1 + metallm__rng_below(&r->rng, 2); i > 0; i--) {
        text_part(r, &parts[t->part_count]);
        put_cache(r, &parts[t->part_count++].cache);
    }
}

static void turns(struct wire_random *r, struct metallm__talk *t)
{
    struct metallm__turn *all = metallm__pool_take(&r->pool, 32, sizeof *all);
    const struct metallm__turn *before = NULL;
    size_t n = 0;
    if (flip(r))
        system_turn(r, &all[n++]);
    for (unsigned i = metallm__rng_below(&r->rng, 4); i > 0; i--) {
        user_turn(r, &all[n++], before);
        if (may(r, METALLM__FEATURE_SYSTEM_LATE))
            system_turn(r, &all[n++]);
        before = &all[n];
        assistant_turn(r, &all[n++], t->tool_count > 0);
    }
    user_turn(r, &all[n++], before);
    t->turns = all;
    t->turn_count = n;
}

static void tools(struct wire_random *r, struct metallm__talk *t)
{
    if (!may(r, METALLM__FEATURE_TOOLS))
        return;
    size_t count = 1 + metallm__rng_below(&r->rng, 3);
    struct metallm__tool *all = metallm__pool_take(&r->pool, count, sizeof *all);
    for (size_t i = 0; i < count; i++) {
        all[i] = (struct metallm__tool){.name = name(r, "tool"), .is_strict = -1};
        all[i].schema = schema(r);
        if (flip(r))
            all[i].description = random_text(r, 6);
        if (may(r, METALLM__FEATURE_STRICT_TOOLS))
            all[i].is_strict = 1;
        put_cache(r, &all[i].cache);
    }
    t->tools = all;
    t->tool_count = count;
    if (may(r, METALLM__FEATURE_PARALLEL_TOOLS_OFF))
        t->is_parallel = 0;
    if (may(r, METALLM__FEATURE_TOOL_CHOICE_NONE))
        t->tool_choice = METALLM__TOOL_CHOICE_NONE;
    else if (may(r, METALLM__FEATURE_TOOL_CHOICE_ANY))
        t->tool_choice = METALLM__TOOL_CHOICE_ANY;
    else if (may(r, METALLM__FEATURE_TOOL_CHOICE_NAMED))
        t->tool_choice = METALLM__TOOL_CHOICE_NAMED, t->tool_name = all[0].name;
    else if (t->is_parallel == 0 || flip(r)) /* Anthropic says both in one member */
        t->tool_choice = METALLM__TOOL_CHOICE_AUTO;
    if (t->tool_choice == METALLM__TOOL_CHOICE_NONE)
        t->is_parallel = -1;
}

static double number(struct wire_random *r, double most)
{
    return round(metallm__rng_uniform(&r->rng) * most * 1000) / 1000;
}

static void sampling(struct wire_random *r, struct metallm__talk *t)
{
    if (may(r, METALLM__FEATURE_TEMPERATURE))
        t->temperature = number(r, r->temperature_max);
    else if (may(r, METALLM__FEATURE_TOP_P)) /* some take but one of the two */
        t->top_p = number(r, 0.9) + 0.05;
    if (may(r, METALLM__FEATURE_TOP_K))
        t->top_k = 1 + metallm__rng_below(&r->rng, 100);
    if (may(r, METALLM__FEATURE_FREQUENCY_PENALTY))
        t->frequency_penalty = number(r, 1.9) + 0.05;
    if (may(r, METALLM__FEATURE_PRESENCE_PENALTY))
        t->presence_penalty = -number(r, 1.9) - 0.05;
    if (may(r, METALLM__FEATURE_SEED))
        t->has_seed = true, t->seed = (int64_t)metallm__rng_below(&r->rng, 1u << 30) - (1 << 20);
    if (t->seed < 0 && flip(r))
        t->seed = -t->seed;
    if (may(r, METALLM__FEATURE_LOGPROBS))
        t->wants_logprobs = true, t->top_logprobs = metallm__rng_below(&r->rng, 5);
    if (!may(r, METALLM__FEATURE_STOP))
        return;
    size_t count = 1 + metallm__rng_below(&r->rng, r->stops_max);
    struct metallm__span *stops = metallm__pool_take(&r->pool, count, sizeof *stops);
    for (size_t i = 0; i < count; i++)
        stops[i] = name(r, "stop");
    t->stops = stops;
    t->stop_count = count;
}

static void format(struct wire_random *r, struct metallm__talk *t)
{
    if (may(r, METALLM__FEATURE_JSON)) {
        t->format = METALLM__FORMAT_JSON;
    } else if (may(r, METALLM__FEATURE_JSON_SCHEMA)) {
        t->format = METALLM__FORMAT_SCHEMA;
        t->schema = schema(r);
        t->is_format_strict = 1;
        if (r->has_no_format_name)
            return;
        t->format_name = name(r, "format");
        t->is_format_strict = (int8_t)flip(r);
        if (flip(r))
            t->format_description = random_text(r, 4);
    }
}

void random_talk(struct wire_random *r, struct metallm__talk *out)
{
    metallm__talk_clear(out);
    out->max_tokens = 1 + metallm__rng_below(&r->rng, 100000);
    tools(r, out);
    turns(r, out);
    sampling(r, out);
    format(r, out);
    if (may(r, METALLM__FEATURE_REASONING_EFFORT))
        out->effort = METALLM__EFFORT_LOW + (enum metallm__effort)metallm__rng_below(&r->rng, 3);
    if (may(r, METALLM__FEATURE_REASONING_BUDGET))
        out->reasoning_tokens = 1024 + metallm__rng_below(&r->rng, 1000), out->max_tokens += 4096;
    if (may(r, METALLM__FEATURE_USER))
        out->user = name(r, "user");
    if (may(r, METALLM__FEATURE_VERBOSITY))
        out->verbosity = metallm__span_of(flip(r) ? "low" : "high");
    if (metallm__talk_settle(out, &r->pool, NULL) != METALLM_OK)
        __builtin_trap();
}

/* ---- Answers. ---- */

static void sealed(struct wire_random *r, struct metallm__part *p)
{
    const char *of = r->seals[metallm__rng_below(&r->rng, 3)];
    if (of == NULL)
        return;
    *p = (struct metallm__part){
        .kind = METALLM__PART_REASONING, .seal = base64(r), .seal_of = metallm__span_of(of)};
    if (flip(r))
        p->text = random_text(r, 6);
}

static size_t add_sealed(struct wire_random *r, struct metallm__part *parts, size_t n)
{
    parts[n].kind = METALLM__PART_TEXT;
    if (flip(r))
        sealed(r, &parts[n]);
    return n + (parts[n].kind == METALLM__PART_REASONING);
}

void random_said(struct wire_random *r, struct metallm__said *out)
{
    struct metallm__part *parts = room(r);
    unsigned calls = flip(r) ? metallm__rng_below(&r->rng, 4) : 0;
    size_t n = 0;
    bool has_seals = flip(r),
         has_refusal = calls == 0 && !r->has_no_refusals && metallm__rng_below(&r->rng, 5) == 0;
    if (has_seals)
        n = add_sealed(r, parts, add_sealed(r, parts, n));
    else if (flip(r))
        parts[n++] =
            (struct metallm__part){.kind = METALLM__PART_REASONING, .text = random_text(r, 9)};
    if (has_refusal)
        parts[n++] =
            (struct metallm__part){.kind = METALLM__PART_REFUSAL, .text = random_text(r, 3)};
    else if (calls == 0 || flip(r))
        text_part(r, &parts[n++]);
    for (unsigned i = 0; i < calls; i++) {
        if (has_seals && !r->is_text_first)
            n = add_sealed(r, parts, n);
        parts[n++] = (struct metallm__part){.kind = METALLM__PART_CALL,
                                            .id = name(r, "call"),
                                            .name = name(r, "tool"),
                                            .text = json_object(r)};
    }
    if (has_seals && !r->is_text_first) /* as Gemini's, in an empty text at the end */
        n = add_sealed(r, parts, n);
    int64_t input = metallm__rng_below(&r->rng, 100000), output = metallm__rng_below(&r->rng, 9999);
    *out =
        (struct metallm__said){.id = name(r, "answer"),
                               .model = name(r, "model"),
                               .parts = parts,
                               .part_count = n,
                               .finish = calls > 0     ? METALLM__WIRE_FINISH_TOOLS
                                         : has_refusal ? METALLM__WIRE_FINISH_FILTER
                                         : flip(r)     ? METALLM__WIRE_FINISH_LENGTH
                                                       : METALLM__WIRE_FINISH_STOP,
                               .usage = {input, input / 3, output, output / 2, input / 4, false}};
}

/* Behind a character's end, at or before at. */
static size_t whole(struct metallm__span s, size_t at)
{
    while (at > 0 && at < s.n && ((unsigned char)s.p[at] & 0xc0) == 0x80)
        at--;
    return at;
}

static int cut(struct wire_random *r, struct metallm__span text, struct metallm__delta *d,
               metallm__delta_sink sink, void *payload)
{
    size_t at = 0;
    while (at < text.n) {
        size_t stop = at + 1 + metallm__rng_below(&r->rng, 12);
        stop = whole(text, stop < text.n ? stop : text.n);
        if (stop <= at)
            stop = text.n;
        d->text = metallm__span(text.p + at, stop - at);
        int rc = sink(payload, d);
        if (rc != METALLM_OK)
            return rc;
        at = stop;
    }
    return METALLM_OK;
}

static int part_as_deltas(struct wire_random *r, const struct metallm__part *p,
                          metallm__delta_sink sink, void *payload)
{
    struct metallm__delta begin = {
        .kind = METALLM__DELTA_BEGIN, .part = p->kind, .id = p->id, .name = p->name};
    struct metallm__delta text = {.kind = METALLM__DELTA_TEXT, .part = p->kind};
    struct metallm__delta seal = {
        .kind = METALLM__DELTA_SEAL, .part = p->kind, .seal_of = p->seal_of};
    struct metallm__delta end = {.kind = METALLM__DELTA_END, .part = p->kind};
    int rc = sink(payload, &begin);
    if (rc == METALLM_OK)
        rc = cut(r, p->text, &text, sink, payload);
    if (rc == METALLM_OK)
        rc = cut(r, p->seal, &seal, sink, payload);
    return rc == METALLM_OK ? sink(payload, &end) : rc;
}

int said_as_deltas(struct wire_random *r, const struct metallm__said *said,
                   metallm__delta_sink sink, void *payload)
{
    struct metallm__delta start = {
        .kind = METALLM__DELTA_START, .id = said->id, .model = said->model};
    struct metallm__delta usage = {.kind = METALLM__DELTA_USAGE, .usage = said->usage};
    struct metallm__delta finish = {
        .kind = METALLM__DELTA_FINISH, .finish = said->finish, .stop = said->stop};
    int rc = sink(payload, &start);
    for (size_t i = 0; rc == METALLM_OK && i < said->part_count; i++)
        rc = part_as_deltas(r, &said->parts[i], sink, payload);
    if (rc == METALLM_OK)
        rc = sink(payload, &usage);
    return rc == METALLM_OK ? sink(payload, &finish) : rc;
}

static struct metallm__span append(struct metallm__pool *pool, struct metallm__span a,
                                   struct metallm__span b)
{
    char *text = metallm__pool_take(pool, a.n + b.n, 1);
    if (a.n > 0)
        memcpy(text, a.p, a.n);
    if (b.n > 0)
        memcpy(text + a.n, b.p, b.n);
    return metallm__span(text, a.n + b.n);
}

int said_from_delta(void *maker, const struct metallm__delta *d)
{
    struct said_maker *m = maker;
    struct metallm__said *s = &m->said;
    struct metallm__part *open = m->is_open ? &m->parts[s->part_count - 1] : NULL;
    bool is_within = d->kind == METALLM__DELTA_TEXT || d->kind == METALLM__DELTA_SEAL ||
                     d->kind == METALLM__DELTA_END;
    if (is_within && (open == NULL || open->kind != d->part))
        m->wrong = "a piece of what is not open";
    else if (d->kind == METALLM__DELTA_BEGIN && (m->is_open || s->part_count == 64))
        m->wrong = "parts overlap";
    else if (m->is_finished && d->kind != METALLM__DELTA_USAGE)
        m->wrong = "something behind the end";
    if (m->wrong != NULL)
        return METALLM_EINVAL;
    s->parts = m->parts;
    if (d->kind == METALLM__DELTA_START) {
        s->id = metallm__pool_copy(m->pool, d->id);
        s->model = metallm__pool_copy(m->pool, d->model);
    } else if (d->kind == METALLM__DELTA_BEGIN) {
        m->is_open = true;
        m->parts[s->part_count++] =
            (struct metallm__part){.kind = d->part,
                                   .id = metallm__pool_copy(m->pool, d->id),
                                   .name = metallm__pool_copy(m->pool, d->name)};
    } else if (d->kind == METALLM__DELTA_TEXT) {
        open->text = append(m->pool, open->text, d->text);
    } else if (d->kind == METALLM__DELTA_SEAL) {
        open->seal = append(m->pool, open->seal, d->text);
        open->seal_of = d->seal_of;
    } else if (d->kind == METALLM__DELTA_END) {
        m->is_open = false;
    } else if (d->kind == METALLM__DELTA_USAGE) {
        metallm__wire_usage_merge(&s->usage, &d->usage);
    } else if (d->kind == METALLM__DELTA_FINISH) {
        m->is_finished = true;
        s->finish = d->finish;
        s->stop = metallm__pool_copy(m->pool, d->stop);
    }
    return METALLM_OK;
}
