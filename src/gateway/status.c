/* SPDX-License-Identifier: Apache-2.0
 * status.c - see status.h. */
#include "gateway/status.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "metallm/base.h"

static const char style[] =
    ":root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--text:#1c2128;--dim:#5d6776;"
    "--line:#dfe3e8;--bar:#3b6fd4;--soft:#dbe6fb;--good:#1a7f47;--warn:#9a6200;--bad:#c0312b}"
    "@media(prefers-color-scheme:dark){:root{--bg:#12151a;--card:#1b2027;--text:#e4e8ee;"
    "--dim:#97a2b1;--line:#2e3640;--bar:#6c9bf2;--soft:#27395c;--good:#58c18a;--warn:#e0ad4b;"
    "--bad:#f2817b}}"
    "*{box-sizing:border-box}"
    "body{margin:0;background:var(--bg);color:var(--text);"
    "font:15px/1.5 system-ui,-apple-system,'Segoe UI',sans-serif;font-variant-numeric:tabular-nums}"
    "main{max-width:64rem;margin:0 auto;padding:1.5rem 1rem 3rem}"
    "header{display:flex;flex-wrap:wrap;gap:.25rem 1rem;align-items:baseline}"
    "h1{font-size:1.5rem;margin:0;letter-spacing:-.01em}"
    "h2{font-size:1.05rem;margin:2rem 0 .6rem}"
    "small{display:block;color:var(--dim);font-weight:400;font-size:.82rem}"
    "h2 small{display:inline;font-size:.92rem}"
    ".dim,header p{color:var(--dim);margin:0}"
    ".tiles{display:grid;grid-template-columns:repeat(4,1fr);gap:.7rem;margin:1.2rem 0 0}"
    ".tile,.table{background:var(--card);border:1px solid var(--line);border-radius:10px}"
    ".tile{padding:.7rem .9rem}.tile b{display:block;font-size:1.35rem;font-weight:600}"
    ".tile span{color:var(--dim);font-size:.85rem}"
    ".table{overflow-x:auto}"
    "table{border-collapse:collapse;width:100%}"
    "th,td{padding:.55rem .9rem;text-align:right;white-space:nowrap;"
    "border-top:1px solid var(--line);vertical-align:top}"
    "thead th{border-top:0;color:var(--dim);font-weight:500;font-size:.85rem}"
    "th:first-child{text-align:left}"
    "tbody th{font-weight:600;white-space:normal;overflow-wrap:anywhere}"
    ".bar{display:inline-block;width:6rem;height:.55rem;border-radius:3px;background:var(--soft);"
    "margin-right:.6rem;position:relative;overflow:hidden;vertical-align:middle}"
    ".bar i{position:absolute;top:0;bottom:0;left:0;background:var(--bar)}"
    ".range u{position:absolute;top:-1px;bottom:-1px;width:2px;background:var(--text)}"
    ".good{color:var(--good)}.warn{color:var(--warn)}.bad{color:var(--bad)}"
    ".problem{background:var(--card);border:1px solid var(--bad);border-left-width:5px;"
    "border-radius:8px;padding:.7rem .9rem;margin:1rem 0 0}"
    "footer{margin-top:2.5rem;color:var(--dim);font-size:.85rem}"
    "code{font:.92em ui-monospace,'SF Mono',Menlo,monospace}"
    "@media(max-width:44rem){.tiles{grid-template-columns:1fr 1fr}.wide{display:none}"
    "th,td{padding:.5rem .6rem}.bar{width:3rem;margin-right:.4rem}}";

static void put(struct metallm__buf *out, const char *text)
{
    metallm__buf_puts(out, text);
}

static void put_text(struct metallm__buf *out, const char *text)
{
    for (; *text != '\0'; text++)
        switch (*text) {
        case '&':
            put(out, "&amp;");
            break;
        case '<':
            put(out, "&lt;");
            break;
        case '>':
            put(out, "&gt;");
            break;
        case '"':
            put(out, "&quot;");
            break;
        case '\'':
            put(out, "&#39;");
            break;
        default:
            metallm__buf_add(out, text, 1);
        }
}

/* 1,234,567 */
static void put_count(struct metallm__buf *out, uint64_t value)
{
    char digits[32];
    size_t len = (size_t)snprintf(digits, sizeof digits, "%" PRIu64, value);
    for (size_t i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            put(out, ",");
        metallm__buf_add(out, digits + i, 1);
    }
}

/* Enough digits to tell small sums apart. */
static void put_usd(struct metallm__buf *out, double usd)
{
    if (!isfinite(usd))
        put(out, "&ndash;");
    else
        metallm__buf_printf(out, "$%.*f",
                            usd == 0 || usd >= 1 ? 2
                            : usd >= 0.01        ? 4
                            : usd >= 1e-4        ? 6
                                                 : 8,
                            usd);
}

static void put_seconds(struct metallm__buf *out, double s)
{
    if (!isfinite(s))
        put(out, "&ndash;");
    else if (s < 1)
        metallm__buf_printf(out, "%.*f ms", s < 0.01 ? 2 : 0, s * 1000);
    else
        metallm__buf_printf(out, "%.1f s", s);
}

static void put_age(struct metallm__buf *out, uint64_t seconds)
{
    if (seconds >= 86400)
        metallm__buf_printf(out, "%" PRIu64 " d %" PRIu64 " h", seconds / 86400,
                            seconds % 86400 / 3600);
    else if (seconds >= 3600)
        metallm__buf_printf(out, "%" PRIu64 " h %" PRIu64 " min", seconds / 3600,
                            seconds % 3600 / 60);
    else
        metallm__buf_printf(out, "%" PRIu64 " min %" PRIu64 " s", seconds / 60, seconds % 60);
}

static void put_time(struct metallm__buf *out, uint64_t wall_ms)
{
    const time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm = {0};
    gmtime_r(&seconds, &tm);
    metallm__buf_printf(out, "%04d-%02d-%02d %02d:%02d:%02d UTC", tm.tm_year + 1900, tm.tm_mon + 1,
                        tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static void put_share(struct metallm__buf *out, double share)
{
    metallm__buf_printf(out,
                        "<span class=\"bar\"><i style=\"width:%.1f%%\"></i></span>%.1f&nbsp;%%",
                        100 * share, 100 * share);
}

static void tile_begin(struct metallm__buf *out)
{
    put(out, "<div class=\"tile\"><b>");
}

static void tile_end(struct metallm__buf *out, const char *label)
{
    metallm__buf_printf(out, "</b><span>%s</span></div>\n", label);
}

static void put_tiles(const struct metallm__status *s, struct metallm__buf *out)
{
    const struct metallm__metrics_sums *m = &s->sums;
    put(out, "<div class=\"tiles\">\n");
    tile_begin(out);
    put_count(out, m->requests);
    tile_end(out, "requests");
    metallm__buf_printf(out, "<div class=\"tile\"><b class=\"%s\">",
                        m->errors > 0 ? "bad" : "good");
    put_count(out, m->errors);
    tile_end(out, "answered with 5xx");
    tile_begin(out);
    put_usd(out, m->usd);
    tile_end(out, "spent");
    tile_begin(out);
    put_count(out, m->input_tokens + m->output_tokens);
    tile_end(out, "tokens");
    tile_begin(out);
    put_seconds(out, m->latency_p50_s);
    tile_end(out, "median latency");
    tile_begin(out);
    put_seconds(out, m->latency_p95_s);
    tile_end(out, "95 % are faster");
    tile_begin(out);
    put_seconds(out, m->first_token_p50_s);
    tile_end(out, "median to the first token");
    tile_begin(out);
    put_count(out, m->in_work);
    tile_end(out, "requests in work now");
    put(out, "</div>\n");
}

static void put_deployments(const struct metallm__status_model *m, struct metallm__buf *out)
{
    static const struct {
        const char *style, *word;
    } breakers[] = {{"good", "in service"}, {"warn", "being tried"}, {"bad", "out of service"}};
    for (uint32_t i = 0; i < m->deployment_count; i++) {
        const struct metallm__status_deployment *d = &m->deployments[i];
        const int b = d->breaker >= 0 && d->breaker <= 2 ? d->breaker : 0;
        put(out, "<small>");
        put_text(out, d->name);
        metallm__buf_printf(out, " <span class=\"%s\">%s</span>", breakers[b].style,
                            breakers[b].word);
        if (d->in_flight > 0)
            metallm__buf_printf(out, ", %" PRIu64 " in flight", d->in_flight);
        put(out, "</small>");
    }
}

static void put_price(const struct metallm__status_model *m, struct metallm__buf *out)
{
    if (isnan(m->input_price) || isnan(m->output_price))
        put(out, "<span class=\"warn\">not known</span>");
    else
        metallm__buf_printf(out, "$%.4g / $%.4g", m->input_price, m->output_price);
}

static void put_model(const struct metallm__status_model *m, uint64_t all, struct metallm__buf *out)
{
    put(out, "<tr><th>");
    put_text(out, m->name);
    if (m->state != 0)
        metallm__buf_printf(out, "<small class=\"warn\">%s</small>",
                            m->state == 1 ? "drained" : "retired");
    if (m->by_admin)
        put(out, "<small>added at run time</small>");
    put_deployments(m, out);
    put(out, "</th><td>");
    put_share(out, all > 0 ? (double)m->sums.answered / (double)all : 0);
    put(out, "<small>");
    put_count(out, m->sums.answered);
    put(out, " answers</small>");
    metallm__buf_printf(out, "</td><td class=\"wide%s\">", m->sums.failed > 0 ? " bad" : "");
    put_count(out, m->sums.failed);
    put(out, "</td><td>");
    put_usd(out, m->sums.usd);
    put(out, "<small>");
    put_count(out, m->sums.input_tokens);
    put(out, " tokens in</small><small>");
    put_count(out, m->sums.output_tokens);
    put(out, " out</small></td><td class=\"wide\">");
    put_price(m, out);
    put(out, "</td></tr>\n");
}

static void put_models(const struct metallm__status *s, struct metallm__buf *out)
{
    uint64_t all = 0;
    for (uint32_t i = 0; i < s->model_count; i++)
        all += s->models[i].sums.answered;
    put(out, "<h2>Models</h2>\n<div class=\"table\"><table><thead><tr><th>Model</th>"
             "<th>Share of answers</th><th class=\"wide\">Failed calls</th><th>Spent</th>"
             "<th class=\"wide\">Price in / out<small>per million tokens</small></th></tr></thead>"
             "\n<tbody>\n");
    for (uint32_t i = 0; i < s->model_count; i++)
        put_model(&s->models[i], all, out);
    put(out, "</tbody></table></div>\n");
}

static double clamp(double x)
{
    return x > 0 ? fmin(x, 1) : 0;
}

/* The interval as a bar, the mean as a mark in it. */
static void put_quality(const struct metallm__status_belief *b, struct metallm__buf *out)
{
    if (isnan(b->quality)) {
        put(out, "<span class=\"dim\">not known yet</span>");
        return;
    }
    if (!isnan(b->low) && !isnan(b->high)) {
        const double low = clamp(b->low), high = clamp(b->high);
        metallm__buf_printf(out,
                            "<span class=\"bar range\"><i style=\"left:%.1f%%;width:%.1f%%\"></i>"
                            "<u style=\"left:calc(%.1f%% - 1px)\"></u></span>%.3f"
                            "<small>%.3f to %.3f</small>",
                            100 * low, fmax(100 * (high - low), 1), 100 * clamp(b->quality),
                            b->quality, low, high);
    } else {
        metallm__buf_printf(out, "%.3f", b->quality);
    }
}

static void put_rule(const struct metallm__status_router *r, struct metallm__buf *out)
{
    put_text(out, r->mode);
    if (!isnan(r->budget_usd)) {
        put(out, ", ");
        put_usd(out, r->budget_usd);
        metallm__buf_printf(out, " a %s", r->budget_per != NULL ? r->budget_per : "period");
        if (!isnan(r->spent_usd)) {
            put(out, ", ");
            put_usd(out, r->spent_usd);
            put(out, " spent");
        }
    } else if (!isnan(r->target)) {
        metallm__buf_printf(out, ", target %g", r->target);
    } else {
        metallm__buf_printf(out, ", dial %g", isnan(r->dial) ? 0 : r->dial);
    }
    put(out, ", ");
    put_count(out, r->decisions);
    put(out, " decisions, ");
    put_count(out, r->feedback);
    put(out, " scores");
    if (r->by_admin)
        put(out, ", set at run time");
}

static void put_router(const struct metallm__status_router *r, struct metallm__buf *out)
{
    put(out, "<h2>Router <code>");
    put_text(out, r->name);
    put(out, "</code> <small>");
    put_rule(r, out);
    put(out, "</small></h2>\n");
    if (r->belief_count == 0)
        return;
    put(out, "<div class=\"table\"><table><thead><tr><th>Model</th>"
             "<th>Quality believed<small>mean and 95 % interval</small></th>"
             "<th>Cost of a request</th><th class=\"wide\">Scores learned "
             "from</th></tr></thead>\n<tbody>\n");
    for (uint32_t i = 0; i < r->belief_count; i++) {
        const struct metallm__status_belief *b = &r->beliefs[i];
        put(out, "<tr><th>");
        put_text(out, b->model);
        if (b->is_new)
            put(out, "<small>newcomer</small>");
        put(out, "</th><td>");
        put_quality(b, out);
        put(out, "</td><td>");
        put_usd(out, b->cost_usd);
        put(out, "</td><td class=\"wide\">");
        put_count(out, b->seen);
        put(out, "</td></tr>\n");
    }
    put(out, "</tbody></table></div>\n");
}

void metallm__status_page(const struct metallm__status *s, struct metallm__buf *out)
{
    put(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
             "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
             "<meta http-equiv=\"refresh\" content=\"15\"><title>metallm</title><style>");
    put(out, style);
    put(out, "</style></head>\n<body><main>\n<header><h1>metallm</h1><p>version ");
    put_text(out, metallm_version());
    put(out, ", up ");
    put_age(out, s->wall_ms > s->started_ms ? (s->wall_ms - s->started_ms) / 1000 : 0);
    put(out, "</p></header>\n");
    if (s->problem != NULL) {
        put(out, "<p class=\"problem\"><b class=\"bad\">Something is wrong.</b> ");
        put_text(out, s->problem);
        put(out, "</p>\n");
    }
    put_tiles(s, out);
    put_models(s, out);
    for (uint32_t i = 0; i < s->router_count; i++)
        put_router(&s->routers[i], out);
    put(out, "<footer>Counted since the start. ");
    put_count(out, s->sums.connections);
    put(out, " connections, ");
    put_count(out, s->journal_waiting);
    put(out, " records waiting to be written");
    if (s->asks_keys)
        metallm__buf_printf(out, ", %u client keys", s->keys);
    put(out, ". Encoder <code>");
    put_text(out, s->encoder != NULL ? s->encoder : "none");
    put(out, "</code>, configuration <code>");
    put_text(out, s->config_path != NULL ? s->config_path : "");
    put(out, "</code>. ");
    put_time(out, s->wall_ms);
    put(out, ". More in <code>/metrics</code> and <code>/admin/</code>.</footer>\n"
             "</main></body></html>\n");
}
