/* SPDX-License-Identifier: Apache-2.0
 * config_json.c - a config as JSON, by the table of options: what is in force, defaults included,
 * with "***" in place of secrets. */
#include <math.h>
#include <string.h>

#include "base/json_out.h"
#include "gateway/admin.h"
#include "gateway/config_table.h"

static void put_table(struct metallm__jw *j, const struct metallm__option *table,
                      const void *record);

static void put_headers(struct metallm__jw *j, const struct metallm__config_headers *h)
{
    metallm__jw_open(j, '{');
    for (uint32_t i = 0; i < h->count; i++) {
        metallm__jw_name(j, h->items[i].name);
        metallm__jw_text(j, "***");
    }
    metallm__jw_close(j, '}');
}

/* A single secret is no list: most places have one key. */
static void put_texts(struct metallm__jw *j, const struct metallm__strings *texts, bool is_secret)
{
    if (is_secret && texts->count == 1) {
        metallm__jw_text(j, "***");
        return;
    }
    metallm__jw_open(j, '[');
    for (uint32_t i = 0; i < texts->count; i++)
        metallm__jw_text(j, is_secret ? "***" : texts->items[i]);
    metallm__jw_close(j, ']');
}

static void put_day(struct metallm__jw *j, int day)
{
    char text[40];
    snprintf(text, sizeof text, "%04d-%02d-%02d", day / 10000, day / 100 % 100, day % 100);
    metallm__jw_text(j, text);
}

static void put_records(struct metallm__jw *j, const struct metallm__option *o,
                        const struct metallm__raw_list *list)
{
    metallm__jw_open(j, '[');
    for (uint32_t i = 0; i < list->count; i++) {
        metallm__jw_open(j, '{');
        put_table(j, o->members, (const char *)list->items + i * o->record_bytes);
        metallm__jw_close(j, '}');
    }
    metallm__jw_close(j, ']');
}

static void put_value(struct metallm__jw *j, const struct metallm__option *o, const void *field)
{
    char name[METALLM__CHOICE_BYTES];
    switch (o->kind) {
    case METALLM__OPT_TEXT:
        metallm__jw_text(j, *(const char *const *)field);
        break;
    case METALLM__OPT_SECRET:
        metallm__jw_text(j, "***");
        break;
    case METALLM__OPT_FLAG:
        metallm__jw_flag(j, *(const bool *)field);
        break;
    case METALLM__OPT_ABLE:
        metallm__jw_flag(j, *(const int8_t *)field == 1);
        break;
    case METALLM__OPT_COUNT:
        metallm__jw_count(j, *(const uint64_t *)field);
        break;
    case METALLM__OPT_REAL:
        metallm__jw_real(j, *(const double *)field);
        break;
    case METALLM__OPT_CHOICE:
        metallm__jw_text(j,
                         metallm__option_choice(o->choices, (uint32_t) * (const int *)field, name));
        break;
    case METALLM__OPT_DAY:
        put_day(j, *(const int *)field);
        break;
    case METALLM__OPT_SECRETS:
    case METALLM__OPT_TEXTS:
        put_texts(j, field, o->kind == METALLM__OPT_SECRETS);
        break;
    case METALLM__OPT_HEADERS:
        put_headers(j, field);
        break;
    case METALLM__OPT_RECORDS:
        put_records(j, o, field);
        break;
    case METALLM__OPT_GROUP:
        break;
    }
}

/* Whether the file, or a default, says anything. */
static bool is_stated(const struct metallm__option *o, const void *field)
{
    switch (o->kind) {
    case METALLM__OPT_TEXT:
    case METALLM__OPT_SECRET:
        return (*(const char *const *)field)[0] != '\0';
    case METALLM__OPT_ABLE:
        return *(const int8_t *)field >= 0;
    case METALLM__OPT_REAL:
        return !isnan(*(const double *)field);
    case METALLM__OPT_DAY:
        return *(const int *)field != 0;
    case METALLM__OPT_TEXTS:
    case METALLM__OPT_SECRETS:
        return ((const struct metallm__strings *)field)->count > 0;
    case METALLM__OPT_HEADERS:
        return ((const struct metallm__config_headers *)field)->count > 0;
    case METALLM__OPT_RECORDS:
        return ((const struct metallm__raw_list *)field)->count > 0;
    default:
        return true;
    }
}

static void put_table(struct metallm__jw *j, const struct metallm__option *table,
                      const void *record)
{
    for (const struct metallm__option *o = table; o->name != NULL; o++) {
        const void *field = (const char *)record + o->offset;
        if (o->kind == METALLM__OPT_GROUP) {
            metallm__jw_name(j, o->name);
            metallm__jw_open(j, '{');
            put_table(j, o->members, record);
            metallm__jw_close(j, '}');
        } else if (is_stated(o, field)) {
            metallm__jw_name(j, o->name);
            put_value(j, o, field);
        }
    }
}

void metallm__config_json(const struct metallm__config *c, struct metallm__buf *out)
{
    struct metallm__jw j = {.out = out};
    metallm__jw_open(&j, '{');
    put_table(&j, metallm__config_options, &c->inner->raw);
    metallm__jw_close(&j, '}');
}
