/* SPDX-License-Identifier: Apache-2.0
 * lessons.c - see lessons.h. */
#include "gateway/lessons.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

#define TOKENS_GAIN 0.02 /* of the running means of tokens, once 50 were seen */

int metallm__lessons_new(struct metallm__lessons **out, const struct metallm__lessons_options *opts,
                         metallm_error *err)
{
    METALLM_REQUIRE(opts->dim >= 1 && opts->dim <= METALLM__RECORD_DIM_MAX);
    struct metallm__lessons *l = metallm__calloc(1, sizeof *l);
    if (l == NULL || (l->slots = metallm__calloc(METALLM_MODELS_MAX, sizeof *l->slots)) == NULL) {
        metallm__free(l);
        return metallm__error_nomem(err, "lessons");
    }
    l->input_tokens = NAN;
    l->space = opts->space;
    struct metallm__adapt_options o = metallm__adapt_defaults();
    o.learner.dim = opts->dim;
    o.learner.models = 0;
    o.learner.lambda = opts->lambda;
    o.learner.gamma = opts->gamma;
    int rc = metallm__adapt_new(&l->adapt, &o, err);
    if (rc != METALLM_OK) {
        metallm__lessons_free(l);
        return rc;
    }
    *out = l;
    return METALLM_OK;
}

int metallm__lessons_copy(struct metallm__lessons **out, const struct metallm__lessons *l,
                          metallm_error *err)
{
    struct metallm__lessons *copy = metallm__calloc(1, sizeof *copy);
    if (copy == NULL)
        return metallm__error_nomem(err, "lessons");
    *copy = *l;
    copy->adapt = NULL;
    copy->applied = NULL;
    copy->applied_count = 0;
    copy->slots = metallm__alloc(METALLM_MODELS_MAX, sizeof *copy->slots);
    int rc = copy->slots != NULL ? metallm__adapt_copy(&copy->adapt, l->adapt, err)
                                 : metallm__error_nomem(err, "lessons");
    if (rc != METALLM_OK) {
        metallm__lessons_free(copy);
        return rc;
    }
    memcpy(copy->slots, l->slots, METALLM_MODELS_MAX * sizeof *copy->slots);
    *out = copy;
    return METALLM_OK;
}

void metallm__lessons_free(struct metallm__lessons *l)
{
    if (l == NULL)
        return;
    metallm__adapt_free(l->adapt);
    metallm__free(l->applied);
    metallm__free(l->slots);
    metallm__free(l);
}

uint32_t metallm__lessons_find(const struct metallm__lessons *l, const char *name)
{
    for (uint32_t i = 0; i < l->count; i++)
        if (strcmp(l->slots[i].name, name) == 0)
            return i;
    return UINT32_MAX;
}

int metallm__lessons_add(struct metallm__lessons *l, const char *name, uint32_t like,
                         double level_sd, metallm_error *err)
{
    METALLM_REQUIRE(strlen(name) < METALLM__LESSONS_MODEL_MAX);
    const struct metallm__newcomer n = {.like = like, .share = 0.25, .level_sd = level_sd};
    int rc = metallm__adapt_add_model(l->adapt, &n, err);
    if (rc != METALLM_OK)
        return rc;
    struct metallm__slot *s = &l->slots[l->count++];
    *s = (struct metallm__slot){.output_tokens = NAN,
                                .input = NAN,
                                .output = NAN,
                                .usd_per_call = NAN,
                                .is_trusted = !(level_sd > 0)};
    memcpy(s->name, name, strlen(name) + 1);
    if (like != UINT32_MAX)
        s->output_tokens = l->slots[like].output_tokens;
    return METALLM_OK;
}

void metallm__lessons_prepare(const struct metallm__lessons *l, const float *z, uint32_t dim,
                              double *out)
{
    const struct metallm__learner *learner = metallm__adapt_learner(l->adapt);
    float intercept[METALLM__RECORD_DIM_MAX] = {1};
    METALLM_REQUIRE(metallm__learner_pad(learner) <= METALLM__LESSONS_PAD);
    metallm__learner_prepare(learner, dim == metallm__learner_dim(learner) ? z : intercept, out);
}

static void follow_mean(double *mean, double seen, double uses)
{
    if (!(seen >= 0 && seen <= 1e9))
        return;
    *mean = isnan(*mean) ? seen : *mean + fmax(TOKENS_GAIN, 1 / (uses + 1)) * (seen - *mean);
}

static void note_fade(struct metallm__slot *s, int64_t seq)
{
    memmove(s->fades, s->fades + 1, (METALLM__LESSONS_FADES - 1) * sizeof *s->fades);
    s->fades[METALLM__LESSONS_FADES - 1] = seq;
}

int metallm__lessons_fold(struct metallm__lessons *l, const struct metallm__lesson *e,
                          metallm_error *err)
{
    double z[METALLM__LESSONS_PAD] __attribute__((aligned(64)));
    METALLM_REQUIRE(e->slot < l->count);
    struct metallm__slot *s = &l->slots[e->slot];
    l->events++;
    if (!e->is_feedback)
        metallm__adapt_tick(l->adapt);
    if (!(fabs(e->prior.quality) <= 10)) /* NaN too: no belief to correct */
        return METALLM_OK;
    metallm__lessons_prepare(l, e->z, e->dim, z);
    const struct metallm__belief prior = {.quality = e->prior.quality,
                                          .sd = e->prior.sd,
                                          .cost_usd = e->prior.cost_usd,
                                          .latency_ms = e->prior.latency_ms};
    const struct metallm__seen seen = {.quality = e->is_feedback ? e->quality : NAN,
                                       .cost_usd = e->is_feedback ? NAN : e->cost_usd,
                                       .latency_ms = e->is_feedback ? NAN : e->latency_ms};
    enum metallm__drift_change change = METALLM__DRIFT_NONE;
    int rc = metallm__adapt_observe(l->adapt, e->slot, z, &prior, &seen, &change, err);
    if (rc == METALLM_EINVAL) /* nothing was learned */
        return METALLM_OK;
    if (rc != METALLM_OK)
        return rc;
    if (change != METALLM__DRIFT_NONE)
        note_fade(s, e->seq);
    if (e->is_feedback) {
        s->scores++;
    } else {
        follow_mean(&s->output_tokens, e->output_tokens, (double)l->events);
        follow_mean(&l->input_tokens, e->input_tokens, (double)l->events);
    }
    return METALLM_OK;
}

void metallm__lessons_correct(struct metallm__lessons *l, const struct metallm__lesson *e,
                              int64_t first, double by)
{
    double z[METALLM__LESSONS_PAD] __attribute__((aligned(64)));
    const struct metallm__slot *s = &l->slots[e->slot];
    const struct metallm__adapt_options defaults = metallm__adapt_defaults();
    double weight = 1;
    METALLM_REQUIRE(e->slot < l->count);
    if (metallm__learner_gamma(metallm__adapt_learner(l->adapt)) < 1 ||
        !(fabs(e->prior.quality) <= 10))
        return; /* it is forgotten anyhow, or was never learned from */
    for (uint32_t i = 0; i < METALLM__LESSONS_FADES; i++)
        if (s->fades[i] > first)
            weight *= defaults.fade;
    metallm__lessons_prepare(l, e->z, e->dim, z);
    metallm__adapt_correct(l->adapt, e->slot, z, weight, by);
}

/* ---- The file form. ---- */

enum { SLOT_NUMBERS = 7 + METALLM__LESSONS_FADES };

static double or_none(double x)
{
    return isnan(x) ? -1 : x;
}

static double from_file(double x)
{
    return x < 0 ? NAN : x;
}

static int put_slots(const struct metallm__lessons *l, struct metallm__st_writer *w,
                     metallm_error *err)
{
    double *out = metallm__alloc(l->count, SLOT_NUMBERS * sizeof *out), *at = out;
    if (out == NULL)
        return metallm__error_nomem(err, "lessons");
    for (uint32_t i = 0; i < l->count; i++) {
        const struct metallm__slot *s = &l->slots[i];
        *at++ = or_none(s->output_tokens);
        *at++ = or_none(s->input);
        *at++ = or_none(s->output);
        *at++ = or_none(s->usd_per_call);
        *at++ = (double)s->scores;
        *at++ = s->is_trusted ? 1 : 0;
        *at++ = 0;
        for (uint32_t k = 0; k < METALLM__LESSONS_FADES; k++)
            *at++ = (double)s->fades[k];
    }
    int rc = metallm__st_put(w, "slots", METALLM__F64, 2, (const size_t[]){l->count, SLOT_NUMBERS},
                             out, err);
    metallm__free(out);
    return rc;
}

static int put_names(const struct metallm__lessons *l, struct metallm__st_writer *w,
                     metallm_error *err)
{
    struct metallm__buf names;
    metallm__buf_init(&names, METALLM_MODELS_MAX * (METALLM__LESSONS_MODEL_MAX + (size_t)1));
    for (uint32_t i = 0; i < l->count; i++) {
        metallm__buf_puts(&names, l->slots[i].name);
        metallm__buf_puts(&names, "\n");
    }
    int rc = metallm__buf_check(&names, err);
    if (rc == METALLM_OK)
        rc = metallm__st_put(w, "names", METALLM__U8, 1, (const size_t[]){names.len},
                             names.len > 0 ? names.data : "", err);
    metallm__buf_fini(&names);
    return rc;
}

int metallm__lessons_save(const struct metallm__lessons *l, struct metallm__buf *out,
                          metallm_error *err)
{
    struct metallm__st_writer *w = NULL;
    const uint64_t counts[2] = {l->events, l->space};
    const double means[1] = {or_none(l->input_tokens)};
    int rc = metallm__st_writer_new(&w, err);
    if (rc != METALLM_OK)
        return rc;
    rc = metallm__st_put(w, "counts", METALLM__U64, 1, (const size_t[]){2}, counts, err);
    if (rc == METALLM_OK)
        rc = metallm__st_put(w, "means", METALLM__F64, 1, (const size_t[]){1}, means, err);
    if (rc == METALLM_OK)
        rc = metallm__st_put(w, "applied", METALLM__I64, 1, (const size_t[]){l->applied_count},
                             l->applied_count > 0 ? (const void *)l->applied : "", err);
    if (rc == METALLM_OK)
        rc = put_names(l, w, err);
    if (rc == METALLM_OK)
        rc = put_slots(l, w, err);
    if (rc == METALLM_OK)
        rc = metallm__adapt_save(l->adapt, w, "learned", err);
    if (rc == METALLM_OK)
        rc = metallm__st_print(w, out, err);
    metallm__st_writer_free(w);
    return rc;
}

static int damaged(metallm_error *err)
{
    return metallm__error_set(err, METALLM_EFORMAT, "a snapshot of what was learned is damaged");
}

static int get_names(struct metallm__lessons *l, const struct metallm__st_file *f,
                     metallm_error *err)
{
    struct metallm__tensor t;
    int rc = metallm__st_get(f, "names", METALLM__U8, 1, (const size_t[]){0}, &t, err);
    if (rc != METALLM_OK)
        return rc;
    const char *p = t.data, *end = p + t.count;
    while (p < end) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        if (stop == NULL || (size_t)(stop - p) >= METALLM__LESSONS_MODEL_MAX ||
            l->count == METALLM_MODELS_MAX)
            return damaged(err);
        memcpy(l->slots[l->count++].name, p, (size_t)(stop - p));
        p = stop + 1;
    }
    return METALLM_OK;
}

static int get_slots(struct metallm__lessons *l, const struct metallm__st_file *f,
                     metallm_error *err)
{
    struct metallm__tensor t;
    int rc = metallm__st_get(f, "slots", METALLM__F64, 2, (const size_t[]){l->count, SLOT_NUMBERS},
                             &t, err);
    for (uint32_t i = 0; i < l->count && rc == METALLM_OK; i++) {
        double x[SLOT_NUMBERS];
        memcpy(x, (const char *)t.data + i * sizeof x, sizeof x);
        for (int k = 0; k < SLOT_NUMBERS; k++)
            if (!(fabs(x[k]) <= 0x1p53))
                return damaged(err);
        struct metallm__slot *s = &l->slots[i];
        s->output_tokens = from_file(x[0]);
        s->input = from_file(x[1]);
        s->output = from_file(x[2]);
        s->usd_per_call = from_file(x[3]);
        s->scores = (uint64_t)fmax(x[4], 0);
        s->is_trusted = x[5] > 0;
        for (uint32_t k = 0; k < METALLM__LESSONS_FADES; k++)
            s->fades[k] = (int64_t)x[7 + k];
    }
    return rc;
}

static int get_applied(struct metallm__lessons *l, const struct metallm__st_file *f,
                       metallm_error *err)
{
    struct metallm__tensor t;
    int rc = metallm__st_get(f, "applied", METALLM__I64, 1, (const size_t[]){0}, &t, err);
    if (rc != METALLM_OK || t.count == 0)
        return rc;
    l->applied = metallm__alloc(t.count, sizeof *l->applied);
    if (l->applied == NULL)
        return metallm__error_nomem(err, "lessons");
    memcpy(l->applied, t.data, t.count * sizeof *l->applied);
    l->applied_count = t.count;
    return METALLM_OK;
}

static int load_all(struct metallm__lessons *l, const struct metallm__st_file *f,
                    metallm_error *err)
{
    struct metallm__tensor counts, means, b;
    int rc = metallm__st_get(f, "counts", METALLM__U64, 1, (const size_t[]){2}, &counts, err);
    if (rc == METALLM_OK)
        rc = metallm__st_get(f, "means", METALLM__F64, 1, (const size_t[]){1}, &means, err);
    if (rc == METALLM_OK)
        rc = get_applied(l, f, err);
    if (rc == METALLM_OK)
        rc = get_names(l, f, err);
    if (rc == METALLM_OK)
        rc = get_slots(l, f, err);
    if (rc == METALLM_OK)
        rc = metallm__st_get(f, "learned.b", METALLM__F64, 3, (const size_t[]){0, 0, 0}, &b, err);
    if (rc != METALLM_OK)
        return rc;
    if (b.shape[2] < 1 || b.shape[2] > METALLM__RECORD_DIM_MAX)
        return damaged(err);
    memcpy(&l->events, counts.data, sizeof l->events);
    memcpy(&l->space, (const char *)counts.data + sizeof l->events, sizeof l->space);
    memcpy(&l->input_tokens, means.data, sizeof l->input_tokens);
    l->input_tokens = from_file(l->input_tokens);
    return metallm__adapt_load(&l->adapt, f, "learned", (uint32_t)b.shape[2], l->count, err);
}

int metallm__lessons_load(struct metallm__lessons **out, const void *bytes, size_t len,
                          metallm_error *err)
{
    struct metallm__st_file *f = NULL;
    struct metallm__lessons *l = metallm__calloc(1, sizeof *l);
    if (l == NULL || (l->slots = metallm__calloc(METALLM_MODELS_MAX, sizeof *l->slots)) == NULL) {
        metallm__free(l);
        return metallm__error_nomem(err, "lessons");
    }
    int rc = metallm__st_parse(&f, bytes, len, "snapshot", err);
    if (rc == METALLM_OK)
        rc = load_all(l, f, err);
    if (rc == METALLM_ENOTFOUND)
        rc = damaged(err);
    metallm__st_close(f);
    if (rc != METALLM_OK) {
        metallm__lessons_free(l);
        return rc;
    }
    *out = l;
    return METALLM_OK;
}
