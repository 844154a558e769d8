/* SPDX-License-Identifier: Apache-2.0
 * prices.c - see prices.h. */
#include "cli/prices.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

#define NOTES_BYTES 512u

static const char *day_text(int day, char out[16])
{
    if (day == 0)
        return "-";
    snprintf(out, 16, "%04u-%02u-%02u", (unsigned)day / 10000 % 10000, (unsigned)day / 100 % 100,
             (unsigned)day % 100);
    return out;
}

static const char *amount_text(double value, char out[24])
{
    if (isnan(value))
        return "-";
    snprintf(out, 24, "%.6g", value);
    return out;
}

static const char *count_text(uint64_t value, char out[24])
{
    if (value == 0)
        return "-";
    snprintf(out, 24, "%" PRIu64, value);
    return out;
}

void cli_price_head(FILE *out)
{
    fprintf(out, "%-52s %8s %8s %8s %9s %8s %-18s %s\n", "model", "input", "output", "cached",
            "context", "output", "can", "checked");
}

void cli_price_row(FILE *out, const struct metallm__price *p)
{
    char input[24], output[24], cached[24], context[24], most[24], day[16], can[64];
    snprintf(can, sizeof can, "%s%s%s%s", p->tools > 0 ? "tools " : "",
             p->images > 0 ? "images " : "", p->json > 0 ? "json " : "",
             p->embeddings > 0 ? "embeddings" : "");
    if (!isnan(p->usd_per_call))
        fprintf(out, "%-52s %8s a call\n", p->model, amount_text(p->usd_per_call, input));
    else
        fprintf(out, "%-52s %8s %8s %8s %9s %8s %-18s %s\n", p->model, amount_text(p->input, input),
                amount_text(p->output, output), amount_text(p->cached_input, cached),
                count_text(p->context, context), count_text(p->max_output, most), can,
                day_text(p->checked, day));
    if (p->from > 0)
        fprintf(out, "  from %s\n", day_text(p->from, day));
}

static void put_amount(struct metallm__jw *j, const char *name, double value)
{
    if (isnan(value))
        return;
    metallm__jw_name(j, name);
    metallm__jw_real(j, value);
}

static void put_count(struct metallm__jw *j, const char *name, uint64_t value)
{
    if (value == 0)
        return;
    metallm__jw_name(j, name);
    metallm__jw_count(j, value);
}

static void put_flag(struct metallm__jw *j, const char *name, int8_t value)
{
    if (value < 0)
        return;
    metallm__jw_name(j, name);
    metallm__jw_flag(j, value > 0);
}

static void put_day(struct metallm__jw *j, const char *name, int day)
{
    char text[16];
    if (day == 0)
        return;
    metallm__jw_name(j, name);
    metallm__jw_text(j, day_text(day, text));
}

static void put_members(struct metallm__jw *j, const struct metallm__price *p)
{
    put_day(j, "from", p->from);
    put_amount(j, "usd_per_call", p->usd_per_call);
    put_amount(j, "input", p->input);
    put_amount(j, "output", p->output);
    put_amount(j, "cached_input", p->cached_input);
    put_amount(j, "cached_write", p->cached_write);
    put_amount(j, "batch_input", p->batch_input);
    put_amount(j, "batch_output", p->batch_output);
    put_count(j, "long_over", p->long_over);
    put_amount(j, "long_input", p->long_input);
    put_amount(j, "long_output", p->long_output);
    put_amount(j, "long_cached_input", p->long_cached_input);
    put_count(j, "context", p->context);
    put_count(j, "max_output", p->max_output);
    put_flag(j, "tools", p->tools);
    put_flag(j, "images", p->images);
    put_flag(j, "json", p->json);
    put_flag(j, "embeddings", p->embeddings);
    put_day(j, "checked", p->checked);
    if (p->source != NULL) {
        metallm__jw_name(j, "source");
        metallm__jw_text(j, p->source);
    }
}

void cli_price_json(struct metallm__jw *j, const struct metallm__price *p)
{
    metallm__jw_open(j, '{');
    metallm__jw_name(j, "model");
    metallm__jw_text(j, p->model);
    put_members(j, p);
    metallm__jw_close(j, '}');
}

/* Days since 1970-01-01 in the Gregorian calendar, years from March. */
static int64_t day_number(int day)
{
    int64_t y = day / 10000, m = day / 100 % 100, d = day % 100;
    y -= m <= 2;
    int64_t era = y / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

uint64_t cli_days_between(int from, int to)
{
    int64_t days = day_number(to) - day_number(from);
    return days > 0 ? (uint64_t)days : 0;
}

/* ---- The check. ---- */

static struct metallm__price own_price(const struct metallm__config_model *m, int today)
{
    struct metallm__price p = METALLM__PRICE_UNKNOWN;
    for (uint32_t i = 0; i < m->price_count && m->prices[i].from <= today; i++) {
        p.from = m->prices[i].from;
        p.input = m->prices[i].input;
        p.output = m->prices[i].output;
        p.cached_input = m->prices[i].cached_input;
        p.cached_write = m->prices[i].cached_write;
        p.usd_per_call = m->prices[i].usd_per_call;
    }
    for (uint32_t i = 0; m->price_count == 0 && i < m->known_count; i++)
        if (m->known_prices[i].from <= today)
            p = m->known_prices[i];
    return p;
}

struct notes {
    char text[NOTES_BYTES];
    size_t len;
};

static void note(struct notes *n, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(struct notes *n, const char *format, ...)
{
    va_list args;
    size_t left = sizeof n->text - n->len;
    if (n->len > 0 && left > 2) {
        memcpy(n->text + n->len, "; ", 3);
        n->len += 2;
        left -= 2;
    }
    va_start(args, format);
    int wrote = vsnprintf(n->text + n->len, left, format, args);
    va_end(args);
    n->len += wrote < 0 ? 0 : (size_t)wrote < left ? (size_t)wrote : left - 1;
}

static bool differs(double a, double b)
{
    return !isnan(a) && !isnan(b) && fabs(a - b) > 1e-6 * fmax(a, b);
}

/* Where what the configuration says differs from what the table says. */
static void compare(struct notes *n, const struct metallm__config_model *m,
                    const struct metallm__price *own, const struct metallm__price *table)
{
    const struct {
        const char *name;
        double own, table;
    } amounts[] = {{"input", own->input, table->input},
                   {"output", own->output, table->output},
                   {"cached_input", own->cached_input, table->cached_input},
                   {"cached_write", own->cached_write, table->cached_write}};
    const struct {
        const char *name;
        unsigned bit;
        int8_t table;
    } abilities[] = {{"tools", METALLM__ABLE_TOOLS, table->tools},
                     {"images", METALLM__ABLE_IMAGES, table->images},
                     {"json", METALLM__ABLE_JSON, table->json}};
    for (size_t i = 0; i < sizeof amounts / sizeof *amounts; i++)
        if (differs(amounts[i].own, amounts[i].table))
            note(n, "%s %g, the table says %g", amounts[i].name, amounts[i].own, amounts[i].table);
    if (m->context > 0 && table->context > 0 && m->context > table->context)
        note(n, "context %" PRIu64 ", the table says %" PRIu64, m->context, table->context);
    if (m->max_output > 0 && table->max_output > 0 && m->max_output > table->max_output)
        note(n, "max_output %" PRIu64 ", the table says %" PRIu64, m->max_output,
             table->max_output);
    for (size_t i = 0; i < sizeof abilities / sizeof *abilities; i++)
        if (abilities[i].table > 0 && (m->abilities & abilities[i].bit) == 0)
            note(n, "%s is off, the table says it can", abilities[i].name);
}

static void tell(struct cli_price_check *k, const struct metallm__config_model *m,
                 const struct metallm__price *own, const struct notes *n)
{
    static const char *const from[] = {"unknown", "config", "file", "table"};
    char input[24], output[24];
    struct metallm__jw *j = &k->json;
    metallm__jw_open(j, '{');
    metallm__jw_name(j, "name");
    metallm__jw_text(j, m->name);
    metallm__jw_name(j, "from");
    metallm__jw_text(j, from[m->has_price ? m->priced_by : METALLM__PRICE_FROM_NOWHERE]);
    if (m->price_name[0] != '\0') {
        metallm__jw_name(j, "as");
        metallm__jw_text(j, m->price_name);
    }
    metallm__jw_name(j, "price");
    metallm__jw_open(j, '{');
    put_members(j, own);
    metallm__jw_close(j, '}');
    metallm__jw_name(j, "notes");
    metallm__jw_text(j, n->text);
    metallm__jw_close(j, '}');
    if (k->out == NULL)
        return;
    if (!m->has_price)
        fprintf(k->out, "%-24s no price known", m->name);
    else if (!isnan(own->usd_per_call))
        fprintf(k->out, "%-24s %s a call (%s)", m->name, amount_text(own->usd_per_call, input),
                from[m->priced_by]);
    else
        fprintf(k->out, "%-24s %s / %s (%s%s%s)", m->name, amount_text(own->input, input),
                amount_text(own->output, output), from[m->priced_by],
                m->price_name[0] != '\0' ? ": " : "", m->price_name);
    fprintf(k->out, "%s%s\n", n->len > 0 ? "; " : "", n->text);
}

void cli_price_check_model(struct cli_price_check *k, const struct metallm__config_model *m)
{
    char name[METALLM__PRICE_NAME_BYTES];
    struct notes n = {.len = 0};
    const struct metallm__price own = own_price(m, k->today), *table = NULL;
    if (metallm__config_price_name(m, name))
        table = metallm__prices_find(k->known, name, k->today);
    if (!m->has_price)
        k->unpriced++;
    if (own.checked > 0 && cli_days_between(own.checked, k->today) > k->stale_days)
        note(&n, "old: read %" PRIu64 " days ago", cli_days_between(own.checked, k->today));
    if (table != NULL)
        compare(&n, m, &own, table);
    tell(k, m, &own, &n);
}
