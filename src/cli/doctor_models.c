/* SPDX-License-Identifier: Apache-2.0
 * doctor_models.c - what the doctor finds of the LLMs: prices, keys, and whether each deployment
 * answers GET /models. Nothing is generated, so that it costs nothing. */
#include <math.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "cli/doctor.h"
#include "cli/probe.h"
#include "data/prices.h"
#include "gateway/config_address.h"

#define TIMEOUT_MS   10000u
#define CLOCK_SKEW_S 120
#define HEADERS_MAX  34u

static void look_at_price(struct doctor *d, const struct metallm__config_model *m,
                          const struct metallm__prices *prices, const char *about)
{
    const int today = metallm__day_today();
    bool is_known = metallm__prices_find(prices, m->name, today) != NULL;
    for (uint32_t i = 0; i < m->price_count; i++)
        is_known |= m->prices[i].from <= today;
    if (!is_known)
        cli_doctor_tell(
            d, DOCTOR_WARN, about,
            "its price is not known: it counts as the dearest, and budgets cannot see it");
}

/* Whether the list of models that an upstream sent has this one: 1, 0, or -1: not a list. */
static int lists_model(const struct cli_probe_answer *answer, const char *name)
{
    yyjson_doc *doc = NULL;
    size_t i, count;
    yyjson_val *item;
    int found = -1;
    if (metallm__json_read(&doc, answer->body.data != NULL ? answer->body.data : "",
                           answer->body.len, NULL) != METALLM_OK)
        return -1;
    yyjson_val *data = yyjson_obj_get(yyjson_doc_get_root(doc), "data");
    if (yyjson_is_arr(data)) {
        found = 0;
        yyjson_arr_foreach(data, i, count, item)
        {
            const char *id = yyjson_get_str(yyjson_obj_get(item, "id"));
            found |= id != NULL && strcmp(id, name) == 0;
        }
    }
    yyjson_doc_free(doc);
    return found;
}

static void look_at_clock(struct doctor *d, const struct cli_probe_answer *answer)
{
    const int64_t skew = answer->date_s == 0 ? 0 : (int64_t)time(NULL) - answer->date_s;
    if (skew > CLOCK_SKEW_S || skew < -CLOCK_SKEW_S)
        cli_doctor_tell(d, DOCTOR_WARN, "clock", "%lld seconds %s the upstream's",
                        (long long)(skew < 0 ? -skew : skew), skew < 0 ? "behind" : "ahead of");
}

static void judge(struct doctor *d, const struct metallm__config_deployment *p,
                  const struct cli_probe_answer *answer, const char *about)
{
    if (answer->status == 401 || answer->status == 403) {
        cli_doctor_tell(d, DOCTOR_FAIL, about, "%s: the key is refused (%d)", p->base_url,
                        answer->status);
    } else if (answer->status == 404 || answer->status == 405) {
        cli_doctor_tell(d, DOCTOR_WARN, about,
                        "%s answers, but has no /models (%d): is the path of base_url right?",
                        p->base_url, answer->status);
    } else if (answer->status != 200) {
        cli_doctor_tell(d, answer->status >= 500 ? DOCTOR_FAIL : DOCTOR_WARN, about,
                        "%s answers %d", p->base_url, answer->status);
    } else {
        int listed = lists_model(answer, p->model);
        if (listed == 0)
            cli_doctor_tell(d, DOCTOR_WARN, about, "%s answers, and does not list '%s'",
                            p->base_url, p->model);
        else
            cli_doctor_tell(d, DOCTOR_OK, about, "%s answers%s", p->base_url,
                            listed == 1 ? ", and lists the model" : "");
    }
    look_at_clock(d, answer);
}

static void reach(struct doctor *d, const struct metallm__config_deployment *p, const char *about)
{
    struct cli_probe_header headers[HEADERS_MAX];
    char url[2100], bearer[8300];
    size_t count = 0;
    metallm_error err = {0};
    struct cli_probe_answer answer;
    if (p->api_key[0] != '\0') {
        snprintf(bearer, sizeof bearer, "Bearer %.8200s", p->api_key);
        headers[count++] = (struct cli_probe_header){"authorization", bearer};
    }
    for (uint32_t i = 0; i < p->headers.count && count < HEADERS_MAX; i++)
        headers[count++] =
            (struct cli_probe_header){p->headers.items[i].name, p->headers.items[i].value};
    snprintf(url, sizeof url, "%.2000s/models", p->base_url);
    const struct cli_probe probe = {.url = url,
                                    .headers = headers,
                                    .header_count = count,
                                    .ca_file = d->config->upstream.ca_file,
                                    .verify = d->config->upstream.verify,
                                    .timeout_ms = TIMEOUT_MS};
    if (cli_probe_get(&probe, &answer, &err) == METALLM_OK)
        judge(d, p, &answer, about);
    else
        cli_doctor_tell(d, DOCTOR_FAIL, about, "%s: %s", p->base_url, err.message);
    metallm__buf_fini(&answer.body);
    explicit_bzero(bearer, sizeof bearer);
}

static void look_at_deployment(struct doctor *d, const struct metallm__config_deployment *p,
                               const char *about)
{
    struct metallm__config_url_parts url;
    const bool is_here =
        metallm__config_url_split(p->base_url, &url) && metallm__config_is_loopback(url.host);
    if (p->api_key[0] == '\0' && !is_here)
        cli_doctor_tell(d, DOCTOR_WARN, about, "no api_key for %s", p->base_url);
    if (p->api_key[0] != '\0' && !is_here && !url.is_tls)
        cli_doctor_tell(d, DOCTOR_WARN, about, "the key goes to %s in clear text", p->base_url);
    if (!d->is_offline)
        reach(d, p, about);
}

void cli_doctor_models(struct doctor *d)
{
    struct metallm__prices prices = {0};
    metallm_error err = {0};
    if (d->config->prices[0] != '\0') {
        if (metallm__prices_read(&prices, d->config->prices, &err) == METALLM_OK)
            cli_doctor_tell(d, DOCTOR_OK, "prices", "'%s', %zu prices", d->config->prices,
                            prices.count);
        else
            cli_doctor_tell(d, DOCTOR_FAIL, "prices", "%s", err.message);
    }
    for (uint32_t i = 0; i < d->config->model_count; i++) {
        const struct metallm__config_model *m = &d->config->models[i];
        char about[96];
        snprintf(about, sizeof about, "model %.80s", m->name);
        if (m->retired)
            continue;
        look_at_price(d, m, &prices, about);
        for (uint32_t k = 0; k < m->deployment_count; k++)
            look_at_deployment(d, &m->deployments[k], about);
    }
    metallm__prices_fini(&prices);
}
