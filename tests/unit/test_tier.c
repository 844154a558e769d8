/* SPDX-License-Identifier: Apache-2.0
 * test_tier.c - how safe a coarse decision is, and the margin that is chosen for it, by hand. */
#include "router/tier.h"

#include <math.h>

#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

static metallm_estimate estimate(float quality, float cost_usd)
{
    return (metallm_estimate){.quality = quality, .cost_usd = cost_usd, .latency_ms = NAN};
}

static void the_lead_is_what_would_overturn_the_choice(void **state)
{
    (void)state;
    const metallm_estimate e[3] = {estimate(.9f, 2), estimate(.7f, 1), estimate(.4f, .1f)};
    struct metallm__deciding d = {.models = 3, .scale = 2};
    assert_true(fabs(metallm__tier_lead(&d, e) - .2) < 1e-6);
    d.constraints.dial = .3f; /* .9 - .3, .7 - .15, .4 - .015 */
    assert_true(fabs(metallm__tier_lead(&d, e) - .05) < 1e-6);
    d.constraints.allowed = (const uint8_t[]){0, 1, 1};
    assert_true(fabs(metallm__tier_lead(&d, e) - (.55 - .385)) < 1e-6);
    d.constraints.allowed = (const uint8_t[]){0, 1, 0};
    assert_true(isinf(metallm__tier_lead(&d, e))); /* nothing to choose */
    d.constraints = (metallm_constraints){.target = .75f};
    assert_true(fabs(metallm__tier_lead(&d, e) - .05) < 1e-6);
    d.constraints = (metallm_constraints){.max_cost_usd = 1.5f};
    assert_true(fabs(metallm__tier_lead(&d, e) - .3) < 1e-6);
}

/* Two models without costs: coarse and fine disagree in rows 2 and 3; leads .4 .3 .2 .1 .05. */
static const metallm_estimate coarse[10] = {
    {.quality = .9f}, {.quality = .5f}, {.quality = .8f}, {.quality = .5f}, {.quality = .6f},
    {.quality = .4f}, {.quality = .5f}, {.quality = .4f}, {.quality = .5f}, {.quality = .45f}};
static const metallm_estimate fine[10] = {
    {.quality = .9f}, {.quality = .5f}, {.quality = .8f}, {.quality = .5f}, {.quality = .4f},
    {.quality = .6f}, {.quality = .1f}, {.quality = .4f}, {.quality = .5f}, {.quality = .4f}};
static struct metallm__tier_choice choose(double loss_max)
{
    const struct metallm__tier_rows rows = {coarse, fine, 5, 2, NAN};
    struct metallm__tier_choice out;
    assert_int_equal(metallm__tier_choose(&rows, loss_max, &out, NULL), METALLM_OK);
    return out;
}

static void the_margin_is_the_smallest_that_keeps_the_loss(void **state)
{
    (void)state;
    struct metallm__tier_choice c = choose(.03); /* row 2 costs .2 / 5, row 3 .3 / 5 */
    assert_true(fabs(c.margin - .3) < 1e-6);
    assert_true(fabs(c.share - .6) < 1e-9);
    assert_true(c.lost == 0);
    c = choose(.05);
    assert_true(fabs(c.margin - .2) < 1e-6);
    assert_true(fabs(c.share - .4) < 1e-9);
    assert_true(fabs(c.lost - .04) < 1e-6);
    c = choose(.101);
    assert_true(c.margin == 0);
    assert_true(c.share == 0);
    assert_true(fabs(c.lost - .1) < 1e-6);
}

static void equal_leads_stand_or_fall_together(void **state)
{
    (void)state;
    const metallm_estimate same[4] = {
        {.quality = .6f}, {.quality = .5f}, {.quality = .6f}, {.quality = .5f}};
    const metallm_estimate other[4] = {
        {.quality = .6f}, {.quality = .5f}, {.quality = .5f}, {.quality = .6f}};
    const struct metallm__tier_rows rows = {same, other, 2, 2, NAN};
    struct metallm__tier_choice c;
    assert_int_equal(metallm__tier_choose(&rows, .01, &c, NULL), METALLM_OK);
    assert_true(isinf(c.margin));
    assert_true(c.share == 1 && c.lost == 0);
}

static void tiers_that_agree_lose_nothing(void **state)
{
    (void)state;
    const struct metallm__tier_rows rows = {coarse, coarse, 5, 2, NAN};
    struct metallm__tier_choice c;
    assert_int_equal(metallm__tier_choose(&rows, 0, &c, NULL), METALLM_OK);
    assert_true(c.margin == 0 && c.share == 0 && c.lost == 0);
}

static void costs_enter_as_in_the_reward(void **state)
{
    (void)state;
    /* The coarse tier thinks the dear model worth it, the fine one does not; it is not. */
    const metallm_estimate far[2] = {estimate(1, 1), estimate(.2f, 0)};
    const metallm_estimate near[2] = {estimate(.5f, 1), estimate(.5f, 0)};
    const struct metallm__tier_rows rows = {far, near, 1, 2, 1};
    struct metallm__tier_choice c;
    assert_int_equal(metallm__tier_choose(&rows, 10, &c, NULL), METALLM_OK);
    double lost = 0; /* the dial, up to where the coarse tier too takes the cheap one: .8 */
    for (unsigned k = 0; k < METALLM__TIER_DIALS; k++)
        if (metallm__tier_dials[k] < .8f)
            lost += (double)metallm__tier_dials[k];
    assert_true(fabs(c.lost - lost / METALLM__TIER_DIALS) < 1e-6);
}

static int choose_once(void *payload)
{
    const struct metallm__tier_rows rows = {coarse, fine, 5, 2, NAN};
    return metallm__tier_choose(&rows, .1, payload, NULL);
}

static void a_failing_allocation_is_reported(void **state)
{
    (void)state;
    struct metallm__tier_choice c;
    assert_int_equal(fail_alloc_sweep(choose_once, &c), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_lead_is_what_would_overturn_the_choice),
        cmocka_unit_test(the_margin_is_the_smallest_that_keeps_the_loss),
        cmocka_unit_test(equal_leads_stand_or_fall_together),
        cmocka_unit_test(tiers_that_agree_lose_nothing),
        cmocka_unit_test(costs_enter_as_in_the_reward),
        cmocka_unit_test(a_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
