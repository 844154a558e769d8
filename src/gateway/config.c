/* SPDX-License-Identifier: Apache-2.0
 * config.c - see config.h: a config's life, comparison, and looking things up. */
#include "gateway/config.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "gateway/config_table.h"

/* Memory of a config: blocks that are freed together, wiped since keys stand in them. */
struct metallm__config_block {
    struct metallm__config_block *next;
    size_t bytes;
    max_align_t data[];
};

void *metallm__config_alloc(struct metallm__config_inner *in, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) ||
        __builtin_add_overflow(bytes, sizeof(struct metallm__config_block), &bytes))
        return NULL;
    struct metallm__config_block *block = metallm__calloc(1, bytes);
    if (block == NULL)
        return NULL;
    block->bytes = bytes;
    block->next = in->blocks;
    in->blocks = block;
    return block->data;
}

char *metallm__config_text(struct metallm__config_inner *in, const char *text, size_t len)
{
    char *copy = metallm__config_alloc(in, len + 1, 1);
    if (copy != NULL && len > 0)
        memcpy(copy, text, len);
    return copy;
}

int metallm__config_refuse(const struct metallm__config_inner *in, uint32_t line,
                           metallm_error *err, const char *format, ...)
{
    char text[METALLM_ERROR_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (line == 0)
        return metallm__error_set(err, METALLM_EFORMAT, "%s", text);
    return metallm__error_set(err, METALLM_EFORMAT, "%.80s:%u: %s", in->raw.c.path, line, text);
}

static void inner_free(struct metallm__config_inner *in)
{
    while (in->blocks != NULL) {
        struct metallm__config_block *block = in->blocks;
        in->blocks = block->next;
        explicit_bzero(block, block->bytes);
        metallm__free(block);
    }
    metallm__free(in);
}

const struct metallm__config *metallm__config_take(const struct metallm__config *c)
{
    __atomic_fetch_add(&c->inner->holders, 1, __ATOMIC_RELAXED);
    return c;
}

void metallm__config_drop(const struct metallm__config *c)
{
    if (c != NULL && __atomic_sub_fetch(&c->inner->holders, 1, __ATOMIC_ACQ_REL) == 0)
        inner_free(c->inner);
}

int metallm__config_parse(const struct metallm__config **out, const char *path, const char *bytes,
                          size_t len, const struct metallm__config_changes *changes,
                          metallm_error *err)
{
    struct metallm__config_inner *in = metallm__calloc(1, sizeof *in);
    if (in == NULL)
        return metallm__error_nomem(err, "a configuration");
    in->holders = 1;
    in->raw.c.path = metallm__config_text(in, path, strlen(path));
    int rc = in->raw.c.path != NULL ? METALLM_OK : metallm__error_nomem(err, "a configuration");
    if (rc == METALLM_OK)
        rc = metallm__config_read(in, bytes, len, err);
    if (rc == METALLM_OK && changes != NULL)
        rc = metallm__config_apply(in, changes, err);
    if (rc == METALLM_OK)
        rc = metallm__config_build(in, err);
    if (rc != METALLM_OK) {
        inner_free(in);
        return rc;
    }
    *out = in->config;
    return METALLM_OK;
}

int metallm__config_load(const struct metallm__config **out, const char *path,
                         const struct metallm__config_changes *changes, metallm_error *err)
{
    struct metallm__map map;
    int rc = metallm__map_open(&map, path, err);
    if (rc != METALLM_OK)
        return rc;
    rc = metallm__config_parse(out, path, map.bytes, map.len, changes, err);
    metallm__map_close(&map);
    return rc;
}

static bool same_text(const char *a, const char *b)
{
    return (a == NULL || b == NULL) ? a == b : strcmp(a, b) == 0;
}

static bool same_texts(const struct metallm__strings *a, const struct metallm__strings *b)
{
    bool is_same = a->count == b->count;
    for (uint32_t i = 0; is_same && i < a->count; i++)
        is_same = same_text(a->items[i], b->items[i]);
    return is_same;
}

static bool same_headers(const struct metallm__config_headers *a,
                         const struct metallm__config_headers *b)
{
    bool is_same = a->count == b->count;
    for (uint32_t i = 0; is_same && i < a->count; i++)
        is_same = same_text(a->items[i].name, b->items[i].name) &&
                  same_text(a->items[i].value, b->items[i].value);
    return is_same;
}

static const struct metallm__option *differing(const struct metallm__option *table, const void *a,
                                               const void *b, unsigned flags);

static bool same_records(const struct metallm__option *o, const struct metallm__raw_list *a,
                         const struct metallm__raw_list *b)
{
    bool is_same = a->count == b->count;
    for (uint32_t i = 0; is_same && i < a->count; i++)
        is_same = differing(o->members, (const char *)a->items + i * o->record_bytes,
                            (const char *)b->items + i * o->record_bytes, 0) == NULL;
    return is_same;
}

static bool same_value(const struct metallm__option *o, const void *a, const void *b)
{
    const char *x = (const char *)a + o->offset, *y = (const char *)b + o->offset;
    switch (o->kind) {
    case METALLM__OPT_TEXT:
    case METALLM__OPT_SECRET:
        return same_text(*(const char *const *)x, *(const char *const *)y);
    case METALLM__OPT_FLAG:
        return *(const bool *)x == *(const bool *)y;
    case METALLM__OPT_ABLE:
        return *(const int8_t *)x == *(const int8_t *)y;
    case METALLM__OPT_COUNT:
        return *(const uint64_t *)x == *(const uint64_t *)y;
    case METALLM__OPT_REAL:
        return memcmp(x, y, sizeof(double)) == 0; /* NaN equals NaN here */
    case METALLM__OPT_CHOICE:
    case METALLM__OPT_DAY:
        return *(const int *)x == *(const int *)y;
    case METALLM__OPT_TEXTS:
    case METALLM__OPT_SECRETS:
        return same_texts((const struct metallm__strings *)x, (const struct metallm__strings *)y);
    case METALLM__OPT_HEADERS:
        return same_headers((const struct metallm__config_headers *)x,
                            (const struct metallm__config_headers *)y);
    case METALLM__OPT_RECORDS:
        return same_records(o, (const struct metallm__raw_list *)x,
                            (const struct metallm__raw_list *)y);
    case METALLM__OPT_GROUP:
        break;
    }
    return differing(o->members, a, b, 0) == NULL;
}

/* The first option, of those with these flags, that the records say differently; NULL: none. */
static const struct metallm__option *differing(const struct metallm__option *table, const void *a,
                                               const void *b, unsigned flags)
{
    for (const struct metallm__option *o = table; o->name != NULL; o++) {
        const struct metallm__option *found = NULL;
        if (o->kind == METALLM__OPT_GROUP)
            found = differing(o->members, a, b, flags);
        else if ((o->flags & flags) == flags && !same_value(o, a, b))
            found = o;
        if (found != NULL)
            return found;
    }
    return NULL;
}

/* What the admin API changed stands in the records, not in the table. */
static bool same_states(const struct metallm__config *a, const struct metallm__config *b)
{
    for (uint32_t i = 0; i < a->model_count; i++)
        if (a->models[i].drained != b->models[i].drained ||
            a->models[i].retired != b->models[i].retired)
            return false;
    return true;
}

bool metallm__config_equal(const struct metallm__config *a, const struct metallm__config *b)
{
    return differing(metallm__config_options, &a->inner->raw, &b->inner->raw, 0) == NULL &&
           same_states(a, b);
}

/* "tls.cert": the option's own path, for a message. */
static bool find_path(const struct metallm__option *table, const struct metallm__option *wanted,
                      const char *prefix, char *out, size_t size)
{
    for (const struct metallm__option *o = table; o->name != NULL; o++) {
        char path[96];
        snprintf(path, sizeof path, "%.60s%s%.30s", prefix, prefix[0] != '\0' ? "." : "", o->name);
        if (o == wanted) {
            snprintf(out, size, "%.95s", path);
            return true;
        }
        if (o->kind == METALLM__OPT_GROUP && find_path(o->members, wanted, path, out, size))
            return true;
    }
    return false;
}

int metallm__config_reload(const struct metallm__config **out, const struct metallm__config *old,
                           const struct metallm__config_changes *changes, metallm_error *err)
{
    const struct metallm__config *c;
    int rc = metallm__config_load(&c, old->path, changes, err);
    if (rc != METALLM_OK)
        return rc;
    const struct metallm__option *o =
        differing(metallm__config_options, &old->inner->raw, &c->inner->raw, METALLM__OPT_FIXED);
    if (o != NULL) {
        char path[96] = "", top[96];
        find_path(metallm__config_options, o, "", path, sizeof path);
        snprintf(top, sizeof top, "%.*s", (int)strcspn(path, "."), path);
        uint32_t line = metallm__config_line(c, path);
        line = line != 0 ? line : metallm__config_line(c, top);
        rc = metallm__config_refuse(c->inner, line != 0 ? line : 1, err,
                                    "%s: cannot change while the gateway runs: restart it, or take "
                                    "the change back",
                                    path);
        metallm__config_drop(c);
        return rc;
    }
    *out = c;
    return METALLM_OK;
}

uint32_t metallm__config_line(const struct metallm__config *c, const char *option)
{
    const struct metallm__config_inner *in = c->inner;
    for (uint32_t i = 0; i < in->place_count; i++)
        if (strcmp(in->places[i].option, option) == 0)
            return in->places[i].line;
    return 0;
}

static bool is_named(const char *name, const char *wanted, size_t len)
{
    return strncmp(name, wanted, len) == 0 && name[len] == '\0' && memchr(wanted, 0, len) == NULL;
}

uint32_t metallm__config_model_find(const struct metallm__config *c, const char *name, size_t len)
{
    for (uint32_t i = 0; i < c->model_count; i++)
        if (is_named(c->models[i].name, name, len))
            return i;
    return METALLM__CONFIG_NONE;
}

uint32_t metallm__config_router_find(const struct metallm__config *c, const char *name, size_t len)
{
    for (uint32_t i = 0; i < c->router_count; i++)
        if (is_named(c->routers[i].name, name, len))
            return i;
    return METALLM__CONFIG_NONE;
}

uint32_t metallm__config_alias_find(const struct metallm__config *c, const char *name, size_t len)
{
    for (uint32_t i = 0; i < c->alias_count; i++)
        if (is_named(c->aliases[i].name, name, len))
            return i;
    return METALLM__CONFIG_NONE;
}

#define HOUR_MS 3600000u
#define DAY_MS  86400000u

double metallm__period_seconds(enum metallm__period p)
{
    static const double seconds[] = {[METALLM__PERIOD_DAY] = 86400,
                                     [METALLM__PERIOD_MONTH] = 30 * 86400.0,
                                     [METALLM__PERIOD_HOUR] = 3600,
                                     [METALLM__PERIOD_REQUEST] = 0};
    return seconds[p];
}

/* First millisecond of the month that lies `ahead` months after the one of wall_ms. */
static uint64_t month_begin(uint64_t wall_ms, int ahead)
{
    time_t now = (time_t)(wall_ms / 1000);
    struct tm tm;
    if (gmtime_r(&now, &tm) == NULL)
        return 0;
    struct tm first = {.tm_year = tm.tm_year, .tm_mon = tm.tm_mon + ahead, .tm_mday = 1};
    return (uint64_t)timegm(&first) * 1000;
}

uint64_t metallm__period_begin(enum metallm__period p, uint64_t wall_ms)
{
    switch (p) {
    case METALLM__PERIOD_MONTH:
        return month_begin(wall_ms, 0);
    case METALLM__PERIOD_HOUR:
        return wall_ms - wall_ms % HOUR_MS;
    case METALLM__PERIOD_DAY:
        return wall_ms - wall_ms % DAY_MS;
    case METALLM__PERIOD_REQUEST:
        break;
    }
    return 0;
}

uint64_t metallm__period_end(enum metallm__period p, uint64_t wall_ms)
{
    switch (p) {
    case METALLM__PERIOD_MONTH:
        return month_begin(wall_ms, 1);
    case METALLM__PERIOD_HOUR:
        return metallm__period_begin(p, wall_ms) + HOUR_MS;
    case METALLM__PERIOD_DAY:
        return metallm__period_begin(p, wall_ms) + DAY_MS;
    case METALLM__PERIOD_REQUEST:
        break;
    }
    return UINT64_MAX;
}
