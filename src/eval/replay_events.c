/* SPDX-License-Identifier: Apache-2.0
 * replay_events.c - see replay_events.h. Every field is checked; a field that the kind of event
 * does not know is refused, so that a slip of the pen does not go unnoticed. */
#include "eval/replay_events.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

/* What each kind takes; a number's range is low..high. */
struct shape {
    const char *what;
    enum metallm__event_kind kind;
    bool has_model;
    const char *number; /* NULL: none */
    double low, high;
};
static const struct shape shapes[] = {
    {"price", METALLM__EVENT_PRICE, true, "factor", 1e-9, 1e9},
    {"cost", METALLM__EVENT_COST, true, "factor", 1e-9, 1e9},
    {"quality", METALLM__EVENT_QUALITY, true, NULL, 0, 0}, /* score or shift */
    {"restore", METALLM__EVENT_RESTORE, true, NULL, 0, 0},
    {"arrive", METALLM__EVENT_ARRIVE, true, NULL, 0, 0}, /* prior, like, p */
    {"leave", METALLM__EVENT_LEAVE, true, NULL, 0, 0},
    {"delay", METALLM__EVENT_DELAY, false, "requests", 0, 1e6},
    {"missing", METALLM__EVENT_MISSING, false, "share", 0, 1},
    {"noise", METALLM__EVENT_NOISE, false, "sd", 0, 10},
};

static const char *const priors[] = {"router", "s1", "s2", "s3", "like", "none"};

static int find_model(const struct metallm__event_names *names, const char *name, uint32_t *out,
                      metallm_error *err)
{
    for (uint32_t m = 0; name != NULL && m < names->count; m++)
        if (strcmp(names->name(names->payload, m), name) == 0) {
            *out = m;
            return METALLM_OK;
        }
    return metallm__error_set(err, METALLM_ENOTFOUND, "no model '%s'",
                              name != NULL ? name : "(not a text)");
}

static int take_number(yyjson_val *v, const char *name, double low, double high, double *out,
                       metallm_error *err)
{
    const double x = yyjson_is_num(v) ? yyjson_get_num(v) : NAN;
    if (!(x >= low && x <= high))
        return metallm__error_set(err, METALLM_EFORMAT, "'%s' is not a number in %g..%g", name, low,
                                  high);
    *out = x;
    return METALLM_OK;
}

static int take_prior(yyjson_val *v, struct metallm__event *e, metallm_error *err)
{
    const char *text = yyjson_get_str(v);
    for (size_t i = 0; text != NULL && i < sizeof priors / sizeof priors[0]; i++)
        if (strcmp(text, priors[i]) == 0) {
            e->prior = (enum metallm__event_prior)i;
            return METALLM_OK;
        }
    return metallm__error_set(err, METALLM_EFORMAT, "no prior '%s'",
                              text != NULL ? text : "(not a text)");
}

/* One field beside "what". */
static int take_field(const struct shape *shape, const struct metallm__event_names *names,
                      const char *key, yyjson_val *v, struct metallm__event *e, metallm_error *err)
{
    double step = 0;
    if (strcmp(key, "step") == 0) {
        int rc = take_number(v, key, 0, 1e15, &step, err);
        if (rc == METALLM_OK)
            e->step = (uint64_t)step;
        return rc;
    }
    if (shape->has_model && strcmp(key, "model") == 0)
        return find_model(names, yyjson_get_str(v), &e->model, err);
    if (shape->number != NULL && strcmp(key, shape->number) == 0)
        return take_number(v, key, shape->low, shape->high,
                           shape->has_model ? &e->factor : &e->amount, err);
    if (shape->kind == METALLM__EVENT_QUALITY && strcmp(key, "score") == 0)
        return take_number(v, key, 0, 1, &e->score, err);
    if (shape->kind == METALLM__EVENT_QUALITY && strcmp(key, "shift") == 0)
        return take_number(v, key, -1, 1, &e->shift, err);
    if (shape->kind == METALLM__EVENT_ARRIVE && strcmp(key, "prior") == 0)
        return take_prior(v, e, err);
    if (shape->kind == METALLM__EVENT_ARRIVE && strcmp(key, "like") == 0)
        return find_model(names, yyjson_get_str(v), &e->like, err);
    if (shape->kind == METALLM__EVENT_ARRIVE && strcmp(key, "p") == 0)
        return take_number(v, key, 0, 1, &e->amount, err);
    return metallm__error_set(err, METALLM_EFORMAT, "event '%s' has no field '%s'", shape->what,
                              key);
}

static const struct shape *find_shape(const char *what)
{
    for (size_t i = 0; what != NULL && i < sizeof shapes / sizeof shapes[0]; i++)
        if (strcmp(shapes[i].what, what) == 0)
            return &shapes[i];
    return NULL;
}

static int check_whole(const struct shape *shape, yyjson_val *root, const struct metallm__event *e,
                       metallm_error *err)
{
    if (yyjson_obj_get(root, "step") == NULL)
        return metallm__error_set(err, METALLM_EFORMAT, "no 'step'");
    if (shape->has_model && yyjson_obj_get(root, "model") == NULL)
        return metallm__error_set(err, METALLM_EFORMAT, "no 'model'");
    if (shape->number != NULL && yyjson_obj_get(root, shape->number) == NULL)
        return metallm__error_set(err, METALLM_EFORMAT, "no '%s'", shape->number);
    if (shape->kind == METALLM__EVENT_QUALITY && isnan(e->score) &&
        yyjson_obj_get(root, "shift") == NULL)
        return metallm__error_set(err, METALLM_EFORMAT, "neither 'score' nor 'shift'");
    if (e->prior == METALLM__PRIOR_LIKE && (e->like == UINT32_MAX || e->like == e->model))
        return metallm__error_set(err, METALLM_EFORMAT, "prior 'like' needs another model");
    return METALLM_OK;
}

static void describe(struct metallm__event *e, const struct shape *shape,
                     const struct metallm__event_names *names)
{
    char detail[32] = "";
    if (shape->has_model && shape->number != NULL)
        snprintf(detail, sizeof detail, " x%.4g", e->factor);
    else if (shape->number != NULL)
        snprintf(detail, sizeof detail, " %s %.4g", shape->number, e->amount);
    else if (shape->kind == METALLM__EVENT_QUALITY && !isnan(e->score))
        snprintf(detail, sizeof detail, " %.4g", e->score);
    else if (shape->kind == METALLM__EVENT_QUALITY)
        snprintf(detail, sizeof detail, " %+.4g", e->shift);
    else if (shape->kind == METALLM__EVENT_ARRIVE)
        snprintf(detail, sizeof detail, " (prior: %s)", priors[e->prior]);
    snprintf(e->what, sizeof e->what, "%s%s%.*s%s", shape->what, shape->has_model ? " " : "",
             (int)(sizeof e->what - 48),
             shape->has_model ? names->name(names->payload, e->model) : "", detail);
}

static int parse_event(const char *line, size_t len, const struct metallm__event_names *names,
                       struct metallm__event *out, metallm_error *err)
{
    yyjson_doc *doc = NULL;
    int rc = metallm__json_read(&doc, line, len, err);
    if (rc != METALLM_OK)
        return rc;
    yyjson_val *root = yyjson_doc_get_root(doc), *key;
    const char *what = yyjson_get_str(yyjson_obj_get(root, "what"));
    const struct shape *shape = find_shape(what);
    struct metallm__event e = {.factor = 1, .score = NAN, .like = UINT32_MAX, .amount = NAN};
    if (shape == NULL) {
        rc = metallm__error_set(err, METALLM_EFORMAT, "no event '%s'",
                                what != NULL ? what : "(without a 'what')");
    } else {
        yyjson_obj_iter it = yyjson_obj_iter_with(root);
        e.kind = shape->kind;
        while (rc == METALLM_OK && (key = yyjson_obj_iter_next(&it)) != NULL)
            if (strcmp(yyjson_get_str(key), "what") != 0)
                rc = take_field(shape, names, yyjson_get_str(key), yyjson_obj_iter_get_val(key), &e,
                                err);
        if (rc == METALLM_OK)
            rc = check_whole(shape, root, &e, err);
        if (rc == METALLM_OK)
            describe(&e, shape, names);
    }
    yyjson_doc_free(doc);
    if (rc == METALLM_OK)
        *out = e;
    return rc;
}

/* By step; events of one step keep the order of the file. */
static void sort(struct metallm__event *e, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        const struct metallm__event kept = e[i];
        size_t j = i;
        for (; j > 0 && e[j - 1].step > kept.step; j--)
            e[j] = e[j - 1];
        e[j] = kept;
    }
}

static bool is_blank(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r')
            return false;
    return true;
}

int metallm__events_read(const char *path, const struct metallm__event_names *names,
                         struct metallm__event **out, size_t *count, metallm_error *err)
{
    struct metallm__map map;
    int rc = metallm__map_open(&map, path, err);
    if (rc != METALLM_OK)
        return rc;
    struct metallm__event *events = metallm__alloc(METALLM__EVENTS_MAX, sizeof *events);
    size_t n = 0, number = 0;
    if (events == NULL)
        rc = metallm__error_nomem(err, "events");
    for (const char *at = map.bytes, *end = map.bytes + map.len; at < end && rc == METALLM_OK;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const size_t len = (size_t)((stop != NULL ? stop : end) - at);
        number++;
        if (!is_blank(at, len)) {
            if (n == METALLM__EVENTS_MAX)
                rc = metallm__error_set(err, METALLM_ELIMIT, "more than %u events",
                                        METALLM__EVENTS_MAX);
            else
                rc = parse_event(at, len, names, &events[n++], err);
        }
        if (rc != METALLM_OK)
            metallm__error_prefix(err, rc, "%s:%zu", path, number);
        at += len + 1;
    }
    metallm__map_close(&map);
    if (rc != METALLM_OK) {
        metallm__free(events);
        return rc;
    }
    sort(events, n);
    *out = events;
    *count = n;
    return METALLM_OK;
}
