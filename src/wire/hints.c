/* SPDX-License-Identifier: Apache-2.0
 * hints.c - what a request says to the router: the member "metallm", or x-metallm-* headers. A hint
 * that is not known or out of range is refused, so that a slip of the pen does not cost money. */
#include <math.h>

#include "base/error.h"
#include "wire/request_parts.h"
#include "wire/talk_read.h"

void metallm__wire_hints_clear(struct metallm__wire_hints *h)
{
    h->dial = h->target = h->max_cost_usd = NAN;
    h->model_count = 0;
    h->task = h->session = h->label = (struct metallm__span){NULL, 0};
}

enum kind { NUMBER, NAMES, NAME, TEXT };

/* The one table: what the body's member and the headers may hold. */
static const struct hint {
    const char *name, *member; /* member: as it is called in an error */
    enum kind kind;
    double most; /* NUMBER: 0..most */
    const char *must;
    size_t offset;
} hints[] = {
    {"dial", "metallm.dial", NUMBER, 1e6, "a number from 0 to 1000000",
     offsetof(struct metallm__wire_hints, dial)},
    {"target", "metallm.target", NUMBER, 1, "a number from 0 to 1",
     offsetof(struct metallm__wire_hints, target)},
    {"max_cost_usd", "metallm.max_cost_usd", NUMBER, 1e6, "a number from 0 to 1000000",
     offsetof(struct metallm__wire_hints, max_cost_usd)},
    {"models", "metallm.models", NAMES, 0, "1 to 64 different names of 1 to 256 bytes", 0},
    {"task", "metallm.task", NAME, 0, "a text of 1 to 256 bytes without control characters",
     offsetof(struct metallm__wire_hints, task)},
    {"session", "metallm.session", NAME, 0, "a text of 1 to 256 bytes without control characters",
     offsetof(struct metallm__wire_hints, session)},
    {"label", "metallm.label", TEXT, 0, "a text of 1 to 4096 bytes",
     offsetof(struct metallm__wire_hints, label)},
};
#define HINT_COUNT (sizeof hints / sizeof *hints)

static bool is_name(struct metallm__span s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return false;
    return s.n >= 1 && s.n <= METALLM__WIRE_NAME_BYTES_MAX;
}

static bool put_number(struct metallm__wire_hints *h, const struct hint *hint, double value)
{
    if (!(value >= 0 && value <= hint->most))
        return false;
    memcpy((char *)h + hint->offset, &value, sizeof value);
    return true;
}

/* A TEXT may hold any characters. */
static bool put_text(struct metallm__wire_hints *h, const struct hint *hint, struct metallm__span s)
{
    if (hint->kind == NAME ? !is_name(s) : s.n == 0 || s.n > METALLM__WIRE_LABEL_BYTES_MAX)
        return false;
    memcpy((char *)h + hint->offset, &s, sizeof s);
    return true;
}

static bool add_model(struct metallm__wire_hints *h, struct metallm__span s)
{
    for (unsigned i = 0; i < h->model_count; i++)
        if (metallm__span_eq(h->models[i], s))
            return false;
    if (!is_name(s) || h->model_count == METALLM__WIRE_MODELS_MAX)
        return false;
    h->models[h->model_count++] = s;
    return true;
}

static bool put_value(struct metallm__wire_hints *h, const struct hint *hint, yyjson_val *v)
{
    double value = 0;
    if (hint->kind == NUMBER)
        return metallm__json_real(v, &value) && put_number(h, hint, value);
    if (hint->kind != NAMES)
        return yyjson_is_str(v) && put_text(h, hint, metallm__wire_text(v));
    bool is_good = yyjson_is_arr(v) && yyjson_arr_size(v) > 0;
    yyjson_arr_iter i = yyjson_arr_iter_with(v);
    for (yyjson_val *item; is_good && (item = yyjson_arr_iter_next(&i)) != NULL;)
        is_good = yyjson_is_str(item) && add_model(h, metallm__wire_text(item));
    return is_good;
}

int metallm__wire_hints_read(struct metallm__wire_reading *r, yyjson_val *v)
{
    unsigned seen = 0;
    if (!yyjson_is_obj(v) && !yyjson_is_null(v))
        return metallm__wire_wrong(r, "metallm", "an object");
    yyjson_obj_iter i = yyjson_obj_iter_with(v);
    for (yyjson_val *key; (key = yyjson_obj_iter_next(&i)) != NULL;) {
        size_t at = 0;
        while (at < HINT_COUNT && !metallm__wire_key_is(key, hints[at].name))
            at++;
        if (at == HINT_COUNT)
            return metallm__wire_wrong(
                r, "metallm",
                "made of dial, target, max_cost_usd, models, task, session and label");
        yyjson_val *value = yyjson_obj_iter_get_val(key);
        if ((seen >> at & 1u) != 0)
            return metallm__wire_wrong(r, hints[at].member, "given once");
        seen |= 1u << at;
        if (!yyjson_is_null(value) && !put_value(&r->out->hints, &hints[at], value))
            return metallm__wire_wrong(r, hints[at].member, hints[at].must);
    }
    return METALLM_OK;
}

/* max-cost-usd as well as max_cost_usd. */
static bool is_header_of(struct metallm__span name, const char *hint)
{
    size_t i = 0;
    for (; i < name.n && hint[i] != '\0'; i++) {
        char c = name.p[i] == '-' ? '_' : metallm__lower(name.p[i]);
        if (c != hint[i])
            return false;
    }
    return i == name.n && hint[i] == '\0';
}

static bool number_of(struct metallm__span s, double *out)
{
    char text[32];
    if (s.n == 0 || s.n >= sizeof text || s.p[0] == '-' || s.p[0] == '+')
        return false;
    for (size_t i = 0; i < s.n; i++) /* no "inf", "nan", hexadecimal */
        if ((s.p[i] < '0' || s.p[i] > '9') && strchr(".eE+-", s.p[i]) == NULL)
            return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    yyjson_val number;
    if (yyjson_read_number(text, &number, YYJSON_READ_NOFLAG, NULL, NULL) != text + s.n)
        return false;
    *out = yyjson_get_num(&number);
    return true;
}

static bool put_models(struct metallm__wire_hints *h, struct metallm__span list)
{
    for (size_t at = 0; at <= list.n;) {
        const char *comma = at < list.n ? memchr(list.p + at, ',', list.n - at) : NULL;
        size_t stop = comma != NULL ? (size_t)(comma - list.p) : list.n;
        if (!add_model(h, metallm__span_trim(metallm__span(list.p + at, stop - at))))
            return false;
        at = stop + 1;
    }
    return true;
}

/* What the one hint is, from `from` to `to`, unless it is given there already. */
static void fill(struct metallm__wire_hints *to, const struct metallm__wire_hints *from,
                 const struct hint *hint)
{
    const char *source = (const char *)from + hint->offset;
    char *target = (char *)to + hint->offset;
    double number;
    struct metallm__span name;
    if (hint->kind == NUMBER) {
        memcpy(&number, target, sizeof number);
        if (isnan(number))
            memcpy(target, source, sizeof number);
    } else if (hint->kind != NAMES) {
        memcpy(&name, target, sizeof name);
        if (name.n == 0)
            memcpy(target, source, sizeof name);
    } else if (to->model_count == 0) {
        to->model_count = from->model_count;
        memcpy(to->models, from->models, from->model_count * sizeof *from->models);
    }
}

int metallm__wire_hint_header(struct metallm__wire_hints *h, struct metallm__span name,
                              struct metallm__span value, metallm_error *err)
{
    for (size_t i = 0; i < HINT_COUNT; i++) {
        if (!is_header_of(name, hints[i].name))
            continue;
        struct metallm__wire_hints given;
        double number;
        metallm__wire_hints_clear(&given);
        bool is_good = hints[i].kind == NUMBER
                           ? number_of(value, &number) && put_number(&given, &hints[i], number)
                       : hints[i].kind == NAMES ? put_models(&given, value)
                                                : put_text(&given, &hints[i], value);
        if (!is_good)
            return metallm__error_set(err, METALLM_EINVAL, "header 'x-metallm-%s' must be %s",
                                      hints[i].name, hints[i].must);
        fill(h, &given, &hints[i]);
        return METALLM_OK;
    }
    return metallm__error_set(err, METALLM_ENOTFOUND,
                              "headers x-metallm-* are dial, target, max_cost_usd, models, task, "
                              "session and label");
}
