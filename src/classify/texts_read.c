/* SPDX-License-Identifier: Apache-2.0
 * texts_read.c - the parts of a text out of a CSV record, a JSON line or a plain line. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "classify/texts_inner.h"

#define PASS_BYTES ((size_t)1 << 20) /* read pages go back to the system in such pieces */

static const char *const text_names[] = {"text", "prompt", "question", "sentence", "headline"};
#define TEXT_NAMES (sizeof text_names / sizeof *text_names)

static const struct metallm__span nothing;

static void pass(struct metallm__texts *t, size_t pos)
{
    if (pos - t->passed < PASS_BYTES)
        return;
    metallm__map_passed(&t->map, pos);
    t->passed = pos;
}

/* The next name of a list parted by commas; n 0: the end. */
static struct metallm__span next_name(const char **list)
{
    while (**list == ',')
        (*list)++;
    const size_t n = strcspn(*list, ",");
    const struct metallm__span name = {*list, n};
    *list += n;
    return name;
}

static bool is_same(struct metallm__span a, struct metallm__span b)
{
    return a.len == b.len && memcmp(a.bytes, b.bytes, a.len) == 0;
}

/* ---- CSV. ---- */

static int next_record(struct metallm__texts *t, bool *has_record, metallm_error *err)
{
    enum metallm__csv_state state;
    int rc = metallm__csv_next(&t->csv, &state, err);
    *has_record = state == METALLM__CSV_RECORD;
    if (rc == METALLM_OK && state != METALLM__CSV_RECORD && state != METALLM__CSV_END)
        rc = metallm__texts_wrong(t, t->csv.record_line, METALLM_EFORMAT, t->csv.why, nothing, err);
    return rc;
}

/* The place of a column; without a header its number. */
static int find_column(const struct metallm__texts *t, struct metallm__span name, int *out,
                       metallm_error *err)
{
    if (!t->o.has_no_header) {
        for (size_t i = 0; i < t->csv.field_count; i++)
            if (is_same(metallm__span_trim(t->csv.fields[i]), name)) {
                *out = (int)i;
                return METALLM_OK;
            }
        return metallm__texts_wrong(t, t->csv.record_line, METALLM_ENOTFOUND,
                                    "the header names no such column", name, err);
    }
    unsigned number = 0;
    for (size_t i = 0; i < name.len && number <= METALLM__CSV_FIELDS_MAX; i++)
        number = name.bytes[i] >= '0' && name.bytes[i] <= '9'
                     ? number * 10 + (unsigned)(name.bytes[i] - '0')
                     : METALLM__CSV_FIELDS_MAX + 1;
    if (number < 1 || number > t->csv.field_count)
        return metallm__texts_wrong(t, t->csv.record_line, METALLM_ENOTFOUND,
                                    "without a header a column is a number up to that of the "
                                    "fields",
                                    name, err);
    *out = (int)number - 1;
    return METALLM_OK;
}

/* The column that was named, else a usual one, else `fallback`. */
static int find_or_guess(const struct metallm__texts *t, const char *name, const char *const *usual,
                         size_t usual_count, int fallback, int *out, metallm_error *err)
{
    if (name != NULL)
        return find_column(t, metallm__span_of(name), out, err);
    *out = fallback;
    for (size_t i = 0; !t->o.has_no_header && i < usual_count; i++)
        if (find_column(t, metallm__span_of(usual[i]), out, NULL) == METALLM_OK)
            break;
    return METALLM_OK;
}

static int find_choices(struct metallm__texts *t, metallm_error *err)
{
    const char *list = t->o.choices;
    int rc = METALLM_OK;
    t->choice_count = 0;
    while (rc == METALLM_OK && list != NULL) {
        const struct metallm__span name = next_name(&list);
        if (name.len == 0)
            break;
        if (t->choice_count == METALLM__TEXTS_CHOICES_MAX)
            return metallm__error_set(err, METALLM_ELIMIT, "at most %u columns of choices",
                                      METALLM__TEXTS_CHOICES_MAX);
        rc = find_column(t, name, &t->choices[t->choice_count++], err);
    }
    if (rc == METALLM_OK && list != NULL && t->choice_count < 2)
        rc = metallm__error_set(err, METALLM_EINVAL,
                                "choices in a CSV file are 2 columns or more, parted by commas");
    return rc;
}

int metallm__texts_read_header(struct metallm__texts *t, metallm_error *err)
{
    static const char *const id_names[] = {"id"};
    bool has_record = false;
    int rc = next_record(t, &has_record, err);
    t->is_first_pending = false;
    if (rc != METALLM_OK || !has_record)
        return rc; /* an empty file has no texts */
    t->column_count = t->csv.field_count;
    rc = find_or_guess(t, t->o.text, text_names, TEXT_NAMES, 0, &t->text, err);
    if (rc == METALLM_OK)
        rc = find_or_guess(t, t->o.id, id_names, 1, -1, &t->id, err);
    if (rc == METALLM_OK)
        rc = find_or_guess(t, t->o.gold, NULL, 0, -1, &t->gold, err);
    if (rc == METALLM_OK)
        rc = find_choices(t, err);
    t->is_first_pending = t->o.has_no_header;
    return rc;
}

static struct metallm__text_part field(const struct metallm__texts *t, int column)
{
    if (column < 0)
        return (struct metallm__text_part){"", 0};
    return (struct metallm__text_part){t->csv.fields[column].bytes, t->csv.fields[column].len};
}

int metallm__texts_read_csv(struct metallm__texts *t, struct metallm__text *x, metallm_error *err)
{
    bool has_record = true;
    int rc = METALLM_OK;
    if (t->is_first_pending)
        t->is_first_pending = false;
    else
        rc = next_record(t, &has_record, err);
    if (rc != METALLM_OK || !has_record)
        return rc != METALLM_OK ? rc : METALLM_ENOTFOUND;
    pass(t, t->csv.pos);
    x->line = t->csv.record_line;
    if (t->csv.field_count != t->column_count)
        return metallm__error_set(err, METALLM_EFORMAT, "%.120s:%zu: %zu fields, not %zu",
                                  t->o.path, x->line, t->csv.field_count, t->column_count);
    x->text = field(t, t->text);
    x->id = field(t, t->id);
    x->gold = field(t, t->gold);
    for (unsigned i = 0; i < t->choice_count; i++)
        x->choices[i] = field(t, t->choices[i]);
    x->choice_count = t->choice_count;
    return METALLM_OK;
}

/* ---- Lines. ---- */

/* The next line that is not blank, without its end. */
static bool next_line(struct metallm__texts *t, struct metallm__span *out, size_t *number)
{
    while (t->pos < t->map.len) {
        const char *from = t->map.bytes + t->pos;
        const char *end = memchr(from, '\n', t->map.len - t->pos);
        const size_t n = end != NULL ? (size_t)(end - from) : t->map.len - t->pos;
        *number = t->line++;
        t->pos += n + (end != NULL);
        *out = (struct metallm__span){from, n};
        if (n > 0 && from[n - 1] == '\r')
            out->len--;
        if (metallm__span_trim(*out).len > 0)
            return true;
    }
    return false;
}

int metallm__texts_read_line(struct metallm__texts *t, struct metallm__text *x, metallm_error *err)
{
    (void)err;
    struct metallm__span line;
    pass(t, t->pos);
    if (!next_line(t, &line, &x->line))
        return METALLM_ENOTFOUND;
    x->text = (struct metallm__text_part){line.bytes, line.len};
    x->id = x->gold = (struct metallm__text_part){"", 0};
    return METALLM_OK;
}

/* ---- JSON Lines. ---- */

static yyjson_val *member(const struct metallm__texts *t, struct metallm__span name)
{
    return yyjson_obj_getn(yyjson_doc_get_root(t->doc), name.bytes, name.len);
}

/* A text, or a whole number as it is written. */
static int take(struct metallm__texts *t, size_t line, struct metallm__span name, yyjson_val *v,
                char number[METALLM__TEXTS_NUMBER], struct metallm__text_part *out,
                metallm_error *err)
{
    *out = (struct metallm__text_part){"", 0};
    if (v == NULL || yyjson_is_null(v))
        return METALLM_OK;
    if (yyjson_is_str(v)) {
        *out = (struct metallm__text_part){yyjson_get_str(v), yyjson_get_len(v)};
        return METALLM_OK;
    }
    if (yyjson_is_int(v)) {
        int n = snprintf(number, METALLM__TEXTS_NUMBER, "%lld", (long long)yyjson_get_sint(v));
        *out = (struct metallm__text_part){number, (size_t)n};
        return METALLM_OK;
    }
    return metallm__texts_wrong(t, line, METALLM_EFORMAT, "neither a text nor a whole number", name,
                                err);
}

static int take_text(struct metallm__texts *t, struct metallm__text *x, metallm_error *err)
{
    struct metallm__span name = metallm__span_of(t->o.text);
    yyjson_val *v = NULL;
    for (size_t i = 0; t->o.text == NULL && v == NULL && i < TEXT_NAMES; i++) {
        name = metallm__span_of(text_names[i]);
        v = member(t, name);
    }
    if (t->o.text != NULL)
        v = member(t, name);
    if (!yyjson_is_str(v))
        return metallm__texts_wrong(t, x->line, METALLM_EFORMAT, "no text in the member", name,
                                    err);
    x->text = (struct metallm__text_part){yyjson_get_str(v), yyjson_get_len(v)};
    return METALLM_OK;
}

static int take_id(struct metallm__texts *t, struct metallm__text *x, metallm_error *err)
{
    const struct metallm__span name = metallm__span_of(t->o.id != NULL ? t->o.id : "id");
    yyjson_val *v = member(t, name);
    if (v == NULL && t->o.id != NULL)
        return metallm__texts_wrong(t, x->line, METALLM_EFORMAT, "no such member", name, err);
    return take(t, x->line, name, v, t->number, &x->id, err);
}

/* A number among choices is a place from 0; among labels it is the label. */
static int take_gold(struct metallm__texts *t, struct metallm__text *x, metallm_error *err)
{
    const struct metallm__span name = metallm__span_of(t->o.gold);
    x->gold = (struct metallm__text_part){"", 0};
    if (t->o.gold == NULL)
        return METALLM_OK;
    yyjson_val *v = member(t, name);
    if (yyjson_is_int(v) && t->o.choices != NULL) {
        const int64_t place = yyjson_get_sint(v);
        t->gold_place = place >= 0 && place < (int64_t)METALLM__TEXTS_CHOICES_MAX ? (int)place : -1;
        x->gold = (struct metallm__text_part){"(number)", 8};
        return METALLM_OK;
    }
    return take(t, x->line, name, v, t->gold_number, &x->gold, err);
}

static int add_choice(struct metallm__texts *t, struct metallm__text *x, struct metallm__span name,
                      yyjson_val *v, metallm_error *err)
{
    if (!yyjson_is_str(v))
        return metallm__texts_wrong(t, x->line, METALLM_EFORMAT, "no text as a choice in", name,
                                    err);
    if (x->choice_count == METALLM__TEXTS_CHOICES_MAX)
        return metallm__texts_wrong(t, x->line, METALLM_ELIMIT, "more than 26 choices in", name,
                                    err);
    x->choices[x->choice_count++] =
        (struct metallm__text_part){yyjson_get_str(v), yyjson_get_len(v)};
    return METALLM_OK;
}

static int take_choices(struct metallm__texts *t, struct metallm__text *x, metallm_error *err)
{
    const char *list = t->o.choices;
    int rc = METALLM_OK;
    while (rc == METALLM_OK && list != NULL) {
        const struct metallm__span name = next_name(&list);
        if (name.len == 0)
            break;
        yyjson_val *v = member(t, name), *one;
        size_t i, count;
        if (!yyjson_is_arr(v)) {
            rc = add_choice(t, x, name, v, err);
            continue;
        }
        yyjson_arr_foreach(v, i, count, one)
        {
            if (rc == METALLM_OK)
                rc = add_choice(t, x, name, one, err);
        }
    }
    return rc;
}

int metallm__texts_read_json(struct metallm__texts *t, struct metallm__text *x, metallm_error *err)
{
    struct metallm__span line;
    pass(t, t->pos);
    if (!next_line(t, &line, &x->line))
        return METALLM_ENOTFOUND;
    if (line.len > METALLM__TEXTS_LINE_BYTES)
        return metallm__texts_wrong(t, x->line, METALLM_ELIMIT, "a line of more than 16 MiB", line,
                                    err);
    yyjson_doc_free(t->doc);
    t->doc = NULL;
    int rc = metallm__json_read(&t->doc, line.bytes, line.len, err);
    if (rc != METALLM_OK)
        return metallm__error_prefix(err, rc, "%.120s:%zu", t->o.path, x->line);
    if (!yyjson_is_obj(yyjson_doc_get_root(t->doc)))
        return metallm__texts_wrong(t, x->line, METALLM_EFORMAT, "not a JSON object", line, err);
    rc = take_text(t, x, err);
    if (rc == METALLM_OK)
        rc = take_id(t, x, err);
    if (rc == METALLM_OK)
        rc = take_gold(t, x, err);
    return rc == METALLM_OK ? take_choices(t, x, err) : rc;
}
