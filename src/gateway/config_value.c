/* SPDX-License-Identifier: Apache-2.0
 * config_value.c - see config_value.h. */
#include "gateway/config_value.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/file.h"
#include "data/prices.h"

static int refuse(const struct metallm__config_inner *in, const struct metallm__value *v,
                  metallm_error *err, const char *what)
{
    char shown[METALLM__SHOWN_BYTES];
    if (v->is_secret)
        return metallm__config_refuse(in, v->line, err, "%s: %s", v->option, what);
    return metallm__config_refuse(in, v->line, err, "%s: %s: '%s'", v->option, what,
                                  metallm__text_show(shown, v->text));
}

/* Appends what the reference at `at` (after "${") stands for; *at moves behind its brace. */
static int put_variable(const struct metallm__config_inner *in, const struct metallm__value *v,
                        const char **at, const char *end, struct metallm__buf *out,
                        metallm_error *err)
{
    char name[128];
    const char *brace = memchr(*at, '}', (size_t)(end - *at));
    if (brace == NULL)
        return metallm__config_refuse(in, v->line, err, "%s: '${' without '}'", v->option);
    size_t len = (size_t)(brace - *at);
    const char *other = memmem(*at, len, ":-", 2);
    size_t name_len = other != NULL ? (size_t)(other - *at) : len;
    if (name_len == 0 || name_len >= sizeof name ||
        strspn(*at, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") < name_len)
        return metallm__config_refuse(
            in, v->line, err, "%s: '${...}' does not hold the name of a variable", v->option);
    memcpy(name, *at, name_len);
    name[name_len] = '\0';
    const char *value = getenv(name);
    if ((value == NULL || value[0] == '\0') && other != NULL)
        metallm__buf_add(out, other + 2, (size_t)(brace - other - 2));
    else if (value == NULL)
        return metallm__config_refuse(
            in, v->line, err, "%s: the environment variable '%s' is not set", v->option, name);
    else
        metallm__buf_puts(out, value);
    *at = brace + 1;
    return METALLM_OK;
}

static int expand(const struct metallm__config_inner *in, const struct metallm__value *v,
                  struct metallm__buf *out, metallm_error *err)
{
    const char *at = v->text.bytes, *end = at + v->text.len;
    while (at < end) {
        const char *dollar = memchr(at, '$', (size_t)(end - at));
        if (dollar == NULL)
            dollar = end;
        metallm__buf_add(out, at, (size_t)(dollar - at));
        at = dollar;
        if (end - at >= 3 && memcmp(at, "$${", 3) == 0) {
            metallm__buf_puts(out, "${");
            at += 3;
        } else if (end - at >= 2 && at[1] == '{') {
            at += 2;
            int rc = put_variable(in, v, &at, end, out, err);
            if (rc != METALLM_OK)
                return rc;
        } else if (at < end) {
            metallm__buf_add(out, at++, 1);
        }
    }
    return METALLM_OK;
}

/* The first line of the file, without blanks at its ends, in place of "file:PATH". */
static int read_secret(const struct metallm__config_inner *in, const struct metallm__value *v,
                       struct metallm__buf *text, metallm_error *err)
{
    const char *path = text->data + strlen("file:");
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return metallm__config_refuse(in, v->line, err, "%s: cannot read the file '%.80s': %s",
                                      v->option, path, strerror(errno));
    char line[METALLM__VALUE_BYTES_MAX / 4];
    bool has_line = fgets(line, sizeof line, file) != NULL;
    fclose(file);
    struct metallm__span s =
        metallm__span_trim((struct metallm__span){line, has_line ? strcspn(line, "\r\n") : 0});
    int rc = METALLM_OK;
    if (s.len == 0)
        rc = metallm__config_refuse(in, v->line, err, "%s: the first line of '%.80s' is empty",
                                    v->option, path);
    metallm__buf_clear(text);
    metallm__buf_add(text, s.bytes, s.len);
    explicit_bzero(line, sizeof line);
    return rc;
}

/* Whether a text is empty, file:PATH, or holds a ${NAME}, none of them with a text of its own in
 * place of a missing variable. */
static bool is_reference(struct metallm__span s)
{
    const char *at = s.bytes, *end = at + s.len;
    bool holds_one = s.len == 0;
    if (s.len > 5 && memcmp(at, "file:", 5) == 0)
        return true;
    while (at < end && (at = memchr(at, '$', (size_t)(end - at))) != NULL) {
        if (end - at >= 3 && memcmp(at, "$${", 3) == 0) {
            at += 3;
        } else if (end - at >= 2 && at[1] == '{') {
            const char *brace = memchr(at, '}', (size_t)(end - at));
            if (brace == NULL)
                return true; /* expand says what is wrong */
            const char *other = memmem(at, (size_t)(brace - at), ":-", 2);
            if (other != NULL && other + 2 < brace)
                return false;
            holds_one = true;
            at = brace + 1;
        } else {
            at++;
        }
    }
    return holds_one;
}

int metallm__value_text(struct metallm__config_inner *in, const struct metallm__value *v,
                        char **out, metallm_error *err)
{
    if (v->is_referred && !is_reference(v->text))
        return metallm__config_refuse(in, v->line, err,
                                      "%s: a secret in plain: name it as ${NAME} of the "
                                      "environment or file:PATH",
                                      v->option);
    struct metallm__buf text;
    metallm__buf_init(&text, METALLM__VALUE_BYTES_MAX);
    int rc = expand(in, v, &text, err);
    if (rc == METALLM_OK && !text.failed && v->is_secret && text.len > 5 &&
        memcmp(text.data, "file:", 5) == 0)
        rc = read_secret(in, v, &text, err);
    if (rc == METALLM_OK && metallm__buf_check(&text, NULL) != METALLM_OK)
        rc = metallm__buf_check(&text, NULL) == METALLM_ENOMEM
                 ? metallm__error_nomem(err, "a configuration")
                 : metallm__config_refuse(in, v->line, err, "%s: longer than %u bytes", v->option,
                                          METALLM__VALUE_BYTES_MAX);
    if (rc == METALLM_OK && text.len > 0 && memchr(text.data, '\0', text.len) != NULL)
        rc = metallm__config_refuse(in, v->line, err, "%s: holds a NUL", v->option);
    if (rc == METALLM_OK) {
        *out = metallm__config_text(in, text.len > 0 ? text.data : "", text.len);
        rc = *out != NULL ? METALLM_OK : metallm__error_nomem(err, "a configuration");
    }
    if (text.data != NULL && v->is_secret)
        explicit_bzero(text.data, text.len);
    metallm__buf_fini(&text);
    return rc;
}

static bool is_word(const char *text, const char *words)
{
    size_t len = strlen(text);
    while (words != NULL) {
        if (strcspn(words, "|") == len && memcmp(words, text, len) == 0)
            return true;
        const char *bar = strchr(words, '|');
        words = bar == NULL ? NULL : bar + 1;
    }
    return false;
}

static bool read_flag(const char *text, bool *out)
{
    *out = is_word(text, "true|on|yes|True|On|Yes");
    return *out || is_word(text, "false|off|no|False|Off|No");
}

bool metallm__value_count(const char *text, const char *unit, uint64_t *out)
{
    static const struct {
        const char *unit, *suffix;
        uint64_t times;
    } suffixes[] = {
        {"bytes", "K", 1024},   {"bytes", "M", 1048576},   {"bytes", "G", 1073741824},
        {"bytes", "KiB", 1024}, {"bytes", "MiB", 1048576}, {"bytes", "GiB", 1073741824},
        {"ms", "ms", 1},        {"ms", "s", 1000},         {"ms", "m", 60000},
        {"ms", "h", 3600000},
    };
    uint64_t value = 0, times = 1;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (value > (UINT64_MAX - 9) / 10)
            return false;
        value = value * 10 + (uint64_t)(*at - '0');
    }
    if (at == text)
        return false;
    if (*at != '\0') {
        times = 0;
        for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
            if (unit != NULL && strcmp(suffixes[i].unit, unit) == 0 &&
                strcmp(suffixes[i].suffix, at) == 0)
                times = suffixes[i].times;
    }
    if (times == 0 || value > UINT64_MAX / times)
        return false;
    *out = value * times;
    return true;
}

static int out_of_range(struct metallm__config_inner *in, const struct metallm__value *v,
                        const struct metallm__option *o, metallm_error *err)
{
    char what[160];
    snprintf(what, sizeof what, "is not from %.10g to %.10g%s%s", o->low, o->high,
             o->unit != NULL ? " " : "", o->unit != NULL ? o->unit : "");
    return refuse(in, v, err, what);
}

static int set_number(struct metallm__config_inner *in, const struct metallm__value *v,
                      const struct metallm__option *o, const char *text, void *field,
                      metallm_error *err)
{
    double real;
    uint64_t count;
    if (o->kind == METALLM__OPT_COUNT) {
        if (!metallm__value_count(text, o->unit, &count))
            return refuse(in, v, err, "not a whole number");
        if ((double)count < o->low || (double)count > o->high)
            return out_of_range(in, v, o, err);
        *(uint64_t *)field = count;
        return METALLM_OK;
    }
    if (!metallm__text_number(metallm__span_of(text), &real) || !isfinite(real))
        return refuse(in, v, err, "not a number");
    if (!(real >= o->low && real <= o->high))
        return out_of_range(in, v, o, err);
    *(double *)field = real;
    return METALLM_OK;
}

static int wrong_choice(struct metallm__config_inner *in, const struct metallm__value *v,
                        const char *choices, metallm_error *err)
{
    char what[160];
    snprintf(what, sizeof what, "is none of %s", choices);
    for (char *bar = what; (bar = strchr(bar, '|')) != NULL;)
        *bar = ' ';
    return refuse(in, v, err, what);
}

static int set_choice(struct metallm__config_inner *in, const struct metallm__value *v,
                      const struct metallm__option *o, const char *text, void *field,
                      metallm_error *err)
{
    char name[METALLM__CHOICE_BYTES];
    for (uint32_t i = 0; metallm__option_choice(o->choices, i, name) != NULL; i++)
        if (strcmp(name, text) == 0) {
            *(int *)field = (int)i;
            return METALLM_OK;
        }
    return wrong_choice(in, v, o->choices, err);
}

int metallm__value_set(struct metallm__config_inner *in, const struct metallm__value *v,
                       const struct metallm__option *o, const char *text, void *record,
                       metallm_error *err)
{
    void *field = (char *)record + o->offset;
    bool flag;
    switch (o->kind) {
    case METALLM__OPT_TEXT:
    case METALLM__OPT_SECRET:
        if (o->choices != NULL && !is_word(text, o->choices))
            return wrong_choice(in, v, o->choices, err);
        *(const char **)field = text;
        return METALLM_OK;
    case METALLM__OPT_FLAG:
    case METALLM__OPT_ABLE:
        if (!read_flag(text, &flag))
            return refuse(in, v, err, "neither true nor false");
        if (o->kind == METALLM__OPT_FLAG)
            *(bool *)field = flag;
        else
            *(int8_t *)field = flag;
        return METALLM_OK;
    case METALLM__OPT_COUNT:
    case METALLM__OPT_REAL:
        return set_number(in, v, o, text, field, err);
    case METALLM__OPT_CHOICE:
        return set_choice(in, v, o, text, field, err);
    case METALLM__OPT_DAY:
        *(int *)field = metallm__day_parse(text, strlen(text));
        return *(int *)field != 0 ? METALLM_OK : refuse(in, v, err, "not a day as YYYY-MM-DD");
    default:
        METALLM_REQUIRE(o->kind < METALLM__OPT_TEXTS); /* lists and groups are the reader's */
        return METALLM_EINVAL;
    }
}

static int set_default(struct metallm__config_inner *in, const struct metallm__option *o,
                       void *record, metallm_error *err)
{
    void *field = (char *)record + o->offset;
    if (o->kind == METALLM__OPT_GROUP)
        return metallm__config_defaults(in, o->members, record, err);
    if (o->fallback == NULL) {
        if (o->kind == METALLM__OPT_REAL)
            *(double *)field = NAN;
        else if (o->kind == METALLM__OPT_TEXT || o->kind == METALLM__OPT_SECRET)
            *(const char **)field = "";
        else if (o->kind == METALLM__OPT_ABLE)
            *(int8_t *)field = -1;
        return METALLM_OK;
    }
    if (o->kind == METALLM__OPT_TEXTS) {
        const char **items = metallm__config_alloc(in, 1, sizeof *items);
        if (items == NULL)
            return metallm__error_nomem(err, "a configuration");
        items[0] = o->fallback;
        *(struct metallm__strings *)field = (struct metallm__strings){items, 1};
        return METALLM_OK;
    }
    const struct metallm__value v = {.option = o->name, .text = metallm__span_of(o->fallback)};
    return metallm__value_set(in, &v, o, o->fallback, record, err);
}

int metallm__config_defaults(struct metallm__config_inner *in, const struct metallm__option *table,
                             void *record, metallm_error *err)
{
    for (const struct metallm__option *o = table; o->name != NULL; o++) {
        int rc = set_default(in, o, record, err);
        if (rc != METALLM_OK)
            return rc;
    }
    return METALLM_OK;
}
