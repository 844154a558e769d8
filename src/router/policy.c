/* SPDX-License-Identifier: Apache-2.0
 * policy.c - what the policies share: their list, their parameters as text, ties, the draw. */
#include "router/policy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/rng.h"

/* A new policy is one file and one line here. */
static const struct metallm__policy *const policies[] = {
    &metallm__policy_greedy,  &metallm__policy_linucb,   &metallm__policy_thompson,
    &metallm__policy_epsilon, &metallm__policy_squarecb,
};

const struct metallm__policy *metallm__policy_at(size_t i)
{
    return i < sizeof policies / sizeof policies[0] ? policies[i] : NULL;
}

static const struct metallm__policy *find(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++)
        if (strlen(policies[i]->name) == len && memcmp(policies[i]->name, name, len) == 0)
            return policies[i];
    return NULL;
}

/* One "key=value" of len bytes. */
static int set_value(struct metallm__policy_choice *c, const char *text, size_t len,
                     metallm_error *err)
{
    const struct metallm__policy *p = c->policy;
    const char *equals = memchr(text, '=', len);
    if (equals == NULL)
        return metallm__error_set(err, METALLM_EINVAL, "'%.*s' is not key=value", (int)len, text);
    const size_t key_len = (size_t)(equals - text);
    for (uint32_t i = 0; i < p->param_count; i++) {
        const struct metallm__param *param = &p->params[i];
        if (strlen(param->name) != key_len || memcmp(param->name, text, key_len) != 0)
            continue;
        char *end;
        const double value = strtod(equals + 1, &end);
        if (end != text + len || end == equals + 1 ||
            !(value >= param->low && value <= param->high))
            return metallm__error_set(err, METALLM_EINVAL, "'%.*s': %s is %g..%g", (int)len, text,
                                      param->name, param->low, param->high);
        c->values[i] = value;
        return METALLM_OK;
    }
    return metallm__error_set(err, METALLM_EINVAL, "policy '%s' has no parameter '%.*s'", p->name,
                              (int)key_len, text);
}

int metallm__policy_parse(struct metallm__policy_choice *out, const char *spec, metallm_error *err)
{
    const size_t name_len = strcspn(spec, ":");
    struct metallm__policy_choice c = {.policy = find(spec, name_len)};
    if (c.policy == NULL)
        return metallm__error_set(err, METALLM_ENOTFOUND, "no policy '%.*s'", (int)name_len, spec);
    for (uint32_t i = 0; i < c.policy->param_count; i++)
        c.values[i] = c.policy->params[i].fallback;
    for (const char *at = spec + name_len; *at != '\0';) {
        const size_t len = strcspn(++at, ",");
        int rc = set_value(&c, at, len, err);
        if (rc != METALLM_OK)
            return rc;
        at += len;
    }
    *out = c;
    return METALLM_OK;
}

uint32_t metallm__policy_candidates(const struct metallm__arms *arms)
{
    uint32_t n = 0;
    for (uint32_t m = 0; m < arms->count; m++)
        n += !isnan(arms->score[m]);
    return n;
}

uint32_t metallm__policy_best(const struct metallm__arms *arms, double bonus)
{
    uint32_t best = UINT32_MAX;
    double top = 0;
    for (uint32_t m = 0; m < arms->count; m++) {
        if (isnan(arms->score[m]))
            continue;
        const double s = arms->score[m] + (bonus > 0 ? bonus * arms->sd[m] : 0);
        if (best == UINT32_MAX || s > top || (s == top && arms->cost[m] < arms->cost[best])) {
            best = m;
            top = s;
        }
    }
    METALLM_REQUIRE(best != UINT32_MAX);
    return best;
}

void metallm__policy_mix(const struct metallm__arms *arms, const double *extra, double *chance)
{
    double sum = 0;
    for (uint32_t m = 0; m < arms->count; m++)
        sum += extra[m];
    for (uint32_t m = 0; m < arms->count; m++)
        chance[m] = (1 - sum) * chance[m] + extra[m];
}

uint32_t metallm__policy_draw(const double *chance, uint32_t count, metallm_rng *rng)
{
    double u = metallm__rng_uniform(rng);
    uint32_t last = 0;
    for (uint32_t m = 0; m < count; m++) {
        if (!(chance[m] > 0))
            continue;
        last = m; /* rounding may leave a rest after the last candidate */
        if (u < chance[m])
            break;
        u -= chance[m];
    }
    return last;
}
