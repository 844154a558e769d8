/* SPDX-License-Identifier: Apache-2.0
 * price_merge.c - price files put together and written. See prices.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "data/prices.h"

static struct metallm__price *latest(struct metallm__prices *prices, const char *model, int day)
{
    return (struct metallm__price *)(uintptr_t)metallm__prices_find(prices, model, day);
}

/* Limits and abilities that the newer record knows, and when they were read. */
static int take_facts(struct metallm__price *to, const struct metallm__price *from, int day,
                      metallm_error *err)
{
    char *source = from->source != NULL ? metallm__strdup(from->source) : NULL;
    if (from->source != NULL && source == NULL)
        return metallm__error_nomem(err, "prices");
    if (source != NULL) {
        metallm__free(to->source);
        to->source = source;
    }
    to->context = from->context > 0 ? from->context : to->context;
    to->max_output = from->max_output > 0 ? from->max_output : to->max_output;
    to->tools = from->tools >= 0 ? from->tools : to->tools;
    to->images = from->images >= 0 ? from->images : to->images;
    to->json = from->json >= 0 ? from->json : to->json;
    to->embeddings = from->embeddings >= 0 ? from->embeddings : to->embeddings;
    to->checked = from->checked > 0 ? from->checked : day;
    return METALLM_OK;
}

static int merge_one(struct metallm__prices *prices, const struct metallm__price *item, int day,
                     struct metallm__price_merge *counts, metallm_error *err)
{
    int from = item->from > 0 ? item->from : day;
    struct metallm__price *old = latest(prices, item->model, from), copy;
    if (old != NULL && metallm__price_same(old, item)) {
        counts->same++;
        return take_facts(old, item, day, err);
    }
    int rc = metallm__price_copy(&copy, item, item->model, err);
    if (rc != METALLM_OK)
        return rc;
    copy.checked = item->checked > 0 ? item->checked : day;
    if (old == NULL) {
        counts->added++;
        return metallm__prices_add(prices, &copy, err);
    }
    counts->changed++;
    copy.from = from;
    if (old->from != from)
        return metallm__prices_add(prices, &copy, err);
    metallm__price_fini(old);
    *old = copy;
    return METALLM_OK;
}

int metallm__prices_merge(struct metallm__prices *prices, const struct metallm__prices *more,
                          int day, struct metallm__price_merge *counts, metallm_error *err)
{
    int rc = METALLM_OK;
    *counts = (struct metallm__price_merge){0};
    for (size_t i = 0; rc == METALLM_OK && i < more->count; i++)
        rc = merge_one(prices, &more->items[i], day, counts, err);
    return rc;
}

/* ---- Writing. ---- */

static void put_amount(struct metallm__buf *out, const char *name, double value)
{
    if (!isnan(value))
        metallm__buf_printf(out, ", %s: %.10g", name, value);
}

static void put_tokens(struct metallm__buf *out, const char *name, uint64_t value)
{
    if (value > 0)
        metallm__buf_printf(out, ", %s: %" PRIu64, name, value);
}

static void put_flag(struct metallm__buf *out, const char *name, int8_t value)
{
    if (value >= 0)
        metallm__buf_printf(out, ", %s: %s", name, value > 0 ? "true" : "false");
}

static void put_day(struct metallm__buf *out, const char *name, int day)
{
    if (day > 0)
        metallm__buf_printf(out, ", %s: %04d-%02d-%02d", name, day / 10000, day / 100 % 100,
                            day % 100);
}

/* In YAML's double quotes, which take JSON's escapes. */
static void put_text(struct metallm__buf *out, const char *text)
{
    metallm__buf_add(out, "\"", 1);
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == 127)
            metallm__buf_printf(out, "\\u%04x", (unsigned)(unsigned char)*text);
        else if (*text == '"' || *text == '\\')
            metallm__buf_printf(out, "\\%c", *text);
        else
            metallm__buf_add(out, text, 1);
    }
    metallm__buf_add(out, "\"", 1);
}

static void put_price(struct metallm__buf *out, const struct metallm__price *p)
{
    struct metallm__buf members;
    metallm__buf_init(&members, out->max);
    put_day(&members, "from", p->from);
    put_amount(&members, "usd_per_call", p->usd_per_call);
    put_amount(&members, "input", p->input);
    put_amount(&members, "output", p->output);
    put_amount(&members, "cached_input", p->cached_input);
    put_amount(&members, "cached_write", p->cached_write);
    put_amount(&members, "batch_input", p->batch_input);
    put_amount(&members, "batch_output", p->batch_output);
    put_tokens(&members, "long_over", p->long_over);
    put_amount(&members, "long_input", p->long_input);
    put_amount(&members, "long_output", p->long_output);
    put_amount(&members, "long_cached_input", p->long_cached_input);
    put_tokens(&members, "context", p->context);
    put_tokens(&members, "max_output", p->max_output);
    put_flag(&members, "tools", p->tools);
    put_flag(&members, "images", p->images);
    put_flag(&members, "json", p->json);
    put_flag(&members, "embeddings", p->embeddings);
    if (p->source != NULL) {
        metallm__buf_puts(&members, ", source: ");
        put_text(&members, p->source);
    }
    put_day(&members, "checked", p->checked);
    metallm__buf_add(out, "{", 1);
    if (members.len > 2) /* behind the first ", " */
        metallm__buf_add(out, members.data + 2, members.len - 2);
    metallm__buf_add(out, "}", 1);
    out->failed |= members.failed;
    metallm__buf_fini(&members);
}

static int by_name(const void *a, const void *b)
{
    const struct metallm__price *const *x = a, *const *y = b;
    int order = strcmp((*x)->model, (*y)->model);
    return order != 0 ? order : ((*x)->from > (*y)->from) - ((*x)->from < (*y)->from);
}

int metallm__prices_write(struct metallm__buf *out, const struct metallm__prices *prices,
                          metallm_error *err)
{
    const struct metallm__price **sorted = metallm__alloc(prices->count, sizeof(*sorted));
    if (sorted == NULL)
        return metallm__error_nomem(err, "prices");
    for (size_t i = 0; i < prices->count; i++)
        sorted[i] = &prices->items[i];
    qsort(sorted, prices->count, sizeof(*sorted), by_name);
    metallm__buf_puts(out, "models:\n");
    for (size_t i = 0, end; i < prices->count; i = end) {
        for (end = i + 1; end < prices->count && strcmp(sorted[end]->model, sorted[i]->model) == 0;)
            end++;
        metallm__buf_puts(out, "  ");
        put_text(out, sorted[i]->model);
        metallm__buf_puts(out, end == i + 1 ? ": " : ":\n");
        for (size_t k = i; k < end; k++) {
            metallm__buf_puts(out, end == i + 1 ? "" : "    - ");
            put_price(out, sorted[k]);
            metallm__buf_puts(out, "\n");
        }
    }
    metallm__free(sorted);
    return metallm__buf_check(out, err);
}
