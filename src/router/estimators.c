/* SPDX-License-Identifier: Apache-2.0
 * estimators.c - the list of estimators, and "NAME:key=value,key=value" read and printed. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "router/estimator.h"

#define SPEC_BYTES_MAX 512u

static const struct metallm__estimator *const estimators[] = {
    &metallm__estimator_forest, &metallm__estimator_kernel,   &metallm__estimator_knn,
    &metallm__estimator_linear, &metallm__estimator_logistic, &metallm__estimator_mean,
    &metallm__estimator_mlp,
};
#define ESTIMATORS (sizeof estimators / sizeof estimators[0])

const struct metallm__estimator *metallm__estimator_at(uint32_t i)
{
    return i < ESTIMATORS ? estimators[i] : NULL;
}

const struct metallm__estimator *metallm__estimator_find(const char *name)
{
    for (size_t i = 0; i < ESTIMATORS; i++)
        if (strcmp(estimators[i]->name, name) == 0)
            return estimators[i];
    return NULL;
}

void metallm__spec_default(struct metallm__spec *out, const struct metallm__estimator *e)
{
    *out = (struct metallm__spec){.estimator = e};
    for (uint32_t i = 0; i < e->param_count; i++)
        out->values[i] = e->params[i].fallback;
}

static int set_value(struct metallm__spec *s, const char *key, const char *value,
                     metallm_error *err)
{
    const struct metallm__estimator *e = s->estimator;
    for (uint32_t i = 0; i < e->param_count; i++) {
        const struct metallm__param *p = &e->params[i];
        if (strcmp(p->name, key) != 0)
            continue;
        char *end = NULL;
        double v = strtod(value, &end);
        if (end == value || *end != '\0' || !(v >= p->low && v <= p->high))
            return metallm__error_set(err, METALLM_EINVAL,
                                      "'%s' of estimator '%s' is '%s', not a number in %g..%g", key,
                                      e->name, value, p->low, p->high);
        s->values[i] = v;
        s->given[i] = 1;
        return METALLM_OK;
    }
    return metallm__error_set(err, METALLM_EINVAL, "estimator '%s' has no parameter '%s'", e->name,
                              key);
}

/* "key=value,key=value"; text is taken apart in place. */
static int set_values(struct metallm__spec *s, char *text, metallm_error *err)
{
    while (text != NULL && *text != '\0') {
        char *next = strchr(text, ','), *value = strchr(text, '=');
        if (next != NULL)
            *next++ = '\0';
        if (value == NULL || (next != NULL && value >= next))
            return metallm__error_set(err, METALLM_EINVAL, "'%s' is not key=value", text);
        *value++ = '\0';
        int rc = set_value(s, text, value, err);
        if (rc != METALLM_OK)
            return rc;
        text = next;
    }
    return METALLM_OK;
}

int metallm__spec_parse(struct metallm__spec *out, const char *text, metallm_error *err)
{
    char copy[SPEC_BYTES_MAX];
    if (strlen(text) >= sizeof copy)
        return metallm__error_set(err, METALLM_EINVAL, "the estimator's description is too long");
    memcpy(copy, text, strlen(text) + 1);
    char *values = strchr(copy, ':');
    if (values != NULL)
        *values++ = '\0';
    const struct metallm__estimator *e = metallm__estimator_find(copy);
    if (e == NULL)
        return metallm__error_set(err, METALLM_ENOTFOUND, "no estimator '%s'", copy);
    struct metallm__spec s;
    metallm__spec_default(&s, e);
    int rc = set_values(&s, values, err);
    if (rc == METALLM_OK)
        *out = s;
    return rc;
}

void metallm__spec_print(const struct metallm__spec *spec, char *out, size_t size)
{
    size_t len = (size_t)snprintf(out, size, "%s", spec->estimator->name);
    for (uint32_t i = 0; i < spec->estimator->param_count && len < size; i++)
        len += (size_t)snprintf(out + len, size - len, "%c%s=%g", i == 0 ? ':' : ',',
                                spec->estimator->params[i].name, spec->values[i]);
}
