/* SPDX-License-Identifier: Apache-2.0
 * tiered.c - a router with a coarse one inside: its training, and the question whether a coarse
 * decision may stand. The mathematics is in tier.c. */
#include <math.h>

#include "base/error.h"
#include "base/mem.h"
#include "router/router_state.h"
#include "router/tier.h"

struct tiers {
    metallm_router *coarse, *fine;
    metallm_estimate *held_out[2]; /* coarse, fine: n x models */
};

static void tiers_fini(struct tiers *t)
{
    metallm_router_free(t->coarse);
    metallm_router_free(t->fine);
    metallm__free(t->held_out[0]);
    metallm__free(t->held_out[1]);
}

static int choose_margin(struct tiers *t, const metallm_outcomes *outcomes, double loss_max,
                         metallm_tier_report *out, metallm_error *err)
{
    size_t n = metallm_outcomes_query_count(outcomes);
    const struct metallm__tier_rows rows = {.coarse = t->held_out[0],
                                            .fine = t->held_out[1],
                                            .n = n,
                                            .models = t->fine->models,
                                            .scale = t->fine->scale};
    struct metallm__tier_choice choice;
    int rc = metallm__tier_choose(&rows, isnan(loss_max) ? METALLM__TIER_LOSS_MAX : loss_max,
                                  &choice, err);
    if (rc == METALLM_OK)
        *out = (metallm_tier_report){choice.margin, choice.share, choice.lost};
    return rc;
}

int metallm_router_train_tiered(metallm_router **out, const metallm_outcomes *outcomes,
                                const metallm_vectors *coarse, const metallm_vectors *fine,
                                const metallm_train_options *opts, double loss_max,
                                metallm_train_report *report, metallm_tier_report *tiers,
                                metallm_error *err)
{
    if (loss_max < 0)
        return metallm__error_set(err, METALLM_EINVAL, "a loss of %g is not >= 0", loss_max);
    size_t cells =
        metallm_outcomes_query_count(outcomes) * (size_t)metallm_outcomes_model_count(outcomes);
    struct tiers t = {.held_out = {metallm__alloc(cells, sizeof(metallm_estimate)),
                                   metallm__alloc(cells, sizeof(metallm_estimate))}};
    metallm_tier_report chosen;
    int rc = METALLM_OK;
    if (t.held_out[0] == NULL || t.held_out[1] == NULL)
        rc = metallm__error_nomem(err, "the training rows");
    if (rc == METALLM_OK)
        rc = metallm__router_train(&t.coarse, outcomes, coarse, opts, NULL, t.held_out[0], err);
    if (rc == METALLM_OK)
        rc = metallm__router_train(&t.fine, outcomes, fine, opts, report, t.held_out[1], err);
    if (rc == METALLM_OK)
        rc = choose_margin(&t, outcomes, loss_max, &chosen, err);
    if (rc == METALLM_OK) {
        t.fine->margin = chosen.margin;
        t.fine->coarse = t.coarse;
        if (tiers != NULL)
            *tiers = chosen;
        *out = t.fine;
        t.coarse = t.fine = NULL;
    }
    tiers_fini(&t);
    return rc;
}

const metallm_router *metallm_router_coarse(const metallm_router *r)
{
    return r->coarse;
}

bool metallm_router_is_safe(const metallm_router *r, const metallm_estimate *coarse,
                            const metallm_constraints *c)
{
    if (r->coarse == NULL)
        return false;
    struct metallm__deciding d = {*c, r->models, r->coarse->scale};
    return metallm__tier_lead(&d, coarse) >= r->margin;
}
