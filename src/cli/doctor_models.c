/* SPDX-License-Identifier: Apache-2.0
 * doctor_models.c - what the doctor finds of the LLMs: prices, keys, and whether each deployment
 * answers (doctor_reach.c). */
#include <math.h>
#include <string.h>

#include "cli/doctor.h"
#include "cli/prices.h"
#include "data/prices.h"
#include "gateway/config_address.h"
#include "gateway/world.h"

#define STALE_DAYS 90u

static void look_at_price(struct doctor *d, const struct metallm__config_model *m,
                          const char *about)
{
    const int today = metallm__day_today();
    int checked = 0;
    for (uint32_t i = 0; m->price_count == 0 && i < m->known_count; i++)
        if (m->known_prices[i].from <= today)
            checked = m->known_prices[i].checked;
    if (!m->has_price)
        cli_doctor_tell(
            d, DOCTOR_WARN, about,
            "its price is not known: it counts as the dearest, and budgets cannot see it");
    else if (checked > 0 && cli_days_between(checked, today) > STALE_DAYS)
        cli_doctor_tell(d, DOCTOR_WARN, about,
                        "its price, '%s', was read %llu days ago: see 'metallm prices --check'",
                        m->price_name, (unsigned long long)cli_days_between(checked, today));
}

static void look_at_deployment(struct doctor *d, const struct metallm__config_deployment *p,
                               const struct metallm__deployment *live, const char *about)
{
    struct metallm__config_url_parts url;
    const bool is_here =
        metallm__config_url_split(p->base_url, &url) && metallm__config_is_loopback(url.host);
    if (p->api_key[0] == '\0' && p->region[0] == '\0' && !is_here)
        cli_doctor_tell(d, DOCTOR_WARN, about, "no api_key for %s", p->base_url);
    if (p->api_key[0] != '\0' && !is_here && !url.is_tls)
        cli_doctor_tell(d, DOCTOR_WARN, about, "the key goes to %s in clear text", p->base_url);
    if (!d->is_offline && live != NULL)
        cli_doctor_reach(d, p, live, about);
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
    struct metallm__llms *llms = NULL;
    if (!d->is_offline && err.code == METALLM_OK &&
        metallm__world_llms(&llms, d->config, NULL, &err) != METALLM_OK)
        cli_doctor_tell(d, DOCTOR_FAIL, "models", "%s", err.message);
    for (uint32_t i = 0; i < d->config->model_count; i++) {
        const struct metallm__config_model *m = &d->config->models[i];
        char about[96];
        snprintf(about, sizeof about, "model %.80s", m->name);
        if (m->retired)
            continue;
        look_at_price(d, m, about);
        for (uint32_t k = 0; k < m->deployment_count; k++)
            look_at_deployment(d, &m->deployments[k],
                               llms != NULL ? &llms->items[i].deployments[k] : NULL, about);
    }
    metallm__llms_unref(llms);
    metallm__prices_fini(&prices);
}
