/* SPDX-License-Identifier: Apache-2.0
 * prices.c - see prices.h: finding the price that holds, and filling costs. The file: price_file.c.
 */
#include "data/prices.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/mem.h"

void metallm__price_fini(struct metallm__price *item)
{
    metallm__free(item->model);
    metallm__free(item->source);
    item->model = item->source = NULL;
}

void metallm__prices_fini(struct metallm__prices *prices)
{
    for (size_t i = 0; i < prices->count; i++)
        metallm__price_fini(&prices->items[i]);
    metallm__free(prices->items);
    *prices = (struct metallm__prices){0};
}

int metallm__prices_add(struct metallm__prices *prices, struct metallm__price *item,
                        metallm_error *err)
{
    void *items = prices->items;
    if (metallm__grow(&items, &prices->cap, prices->count + 1, sizeof *prices->items) != 0) {
        metallm__price_fini(item);
        return metallm__error_nomem(err, "prices");
    }
    prices->items = items;
    prices->items[prices->count++] = *item;
    return METALLM_OK;
}

int metallm__price_copy(struct metallm__price *out, const struct metallm__price *item,
                        const char *model, metallm_error *err)
{
    struct metallm__price copy = *item;
    copy.model = metallm__strdup(model);
    copy.source = item->source != NULL ? metallm__strdup(item->source) : NULL;
    if (copy.model == NULL || (item->source != NULL && copy.source == NULL)) {
        metallm__price_fini(&copy);
        return metallm__error_nomem(err, "prices");
    }
    *out = copy;
    return METALLM_OK;
}

static bool same_amount(double a, double b)
{
    return isnan(a) || isnan(b) ? isnan(a) == isnan(b) : fabs(a - b) <= 1e-9 * fmax(a, b);
}

bool metallm__price_same(const struct metallm__price *a, const struct metallm__price *b)
{
    return same_amount(a->usd_per_call, b->usd_per_call) && same_amount(a->input, b->input) &&
           same_amount(a->output, b->output) && same_amount(a->cached_input, b->cached_input) &&
           same_amount(a->cached_write, b->cached_write) &&
           same_amount(a->batch_input, b->batch_input) &&
           same_amount(a->batch_output, b->batch_output) &&
           same_amount(a->long_input, b->long_input) &&
           same_amount(a->long_output, b->long_output) &&
           same_amount(a->long_cached_input, b->long_cached_input) && a->long_over == b->long_over;
}

const struct metallm__price *metallm__prices_find(const struct metallm__prices *prices,
                                                  const char *model, int day)
{
    const struct metallm__price *best = NULL;
    for (size_t i = 0; i < prices->count; i++) {
        const struct metallm__price *p = &prices->items[i];
        if (p->from <= day && (best == NULL || p->from > best->from) &&
            strcmp(p->model, model) == 0)
            best = p;
    }
    return best;
}

float metallm__price_of(const struct metallm__price *price, const metallm_outcome *call)
{
    if (!isnan(price->usd_per_call))
        return (float)price->usd_per_call;
    /* NaN where a price or a count is not known. */
    return (float)(1e-6 * (price->input * (double)call->input_tokens +
                           price->output * (double)call->output_tokens));
}

static int digits(const char *text, size_t count)
{
    int value = 0;
    for (size_t i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        value = value * 10 + (text[i] - '0');
    }
    return value;
}

int metallm__day_parse(const char *text, size_t len)
{
    static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (len != 10 || text[4] != '-' || text[7] != '-')
        return 0;
    int year = digits(text, 4), month = digits(text + 5, 2), day = digits(text + 8, 2);
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > days[month - 1] ||
        (month == 2 && day == 29 && (year % 4 != 0 || (year % 100 == 0 && year % 400 != 0))))
        return 0;
    return year * 10000 + month * 100 + day;
}

int metallm__day_today(void)
{
    time_t now = time(NULL);
    struct tm tm;
    if (gmtime_r(&now, &tm) == NULL)
        return 99991231;
    return (tm.tm_year + 1900) * 10000 + (tm.tm_mon + 1) * 100 + tm.tm_mday;
}

int metallm__prices_fill(const struct metallm__prices *prices, int day, metallm_outcomes *o,
                         metallm_error *err)
{
    size_t count = metallm_outcomes_query_count(o);
    for (uint32_t m = 0; m < metallm_outcomes_model_count(o); m++) {
        const struct metallm__price *price =
            metallm__prices_find(prices, metallm_outcomes_model_name(o, m), day);
        for (size_t q = 0; price != NULL && q < count; q++) {
            metallm_outcome cell = metallm_outcomes_get(o, q, m);
            if (isnan(cell.score) || !isnan(cell.cost_usd))
                continue;
            cell.cost_usd = metallm__price_of(price, &cell);
            if (isnan(cell.cost_usd) || isinf(cell.cost_usd))
                continue;
            int rc = metallm_outcomes_set(o, q, m, &cell, err);
            if (rc != METALLM_OK)
                return rc;
        }
    }
    return METALLM_OK;
}
