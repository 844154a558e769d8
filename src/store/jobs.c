/* SPDX-License-Identifier: Apache-2.0
 * jobs.c - see jobs.h: every call goes to the store's backend. */
#include "store/jobs.h"

#include "base/error.h"
#include "store/backend.h"

/* NULL: this kind of database keeps no jobs. */
static const struct metallm__jobs_backend *jobs_of(const struct metallm__store *s,
                                                   metallm_error *err)
{
    if (s->backend->jobs == NULL)
        metallm__error_set(err, METALLM_EINVAL, "a store at %s keeps no jobs", s->backend->scheme);
    return s->backend->jobs;
}

int metallm__job_find(struct metallm__store *s, const char *name, struct metallm__job *job,
                      struct metallm__buf *out, bool *found, metallm_error *err)
{
    const struct metallm__jobs_backend *b = jobs_of(s, err);
    return b != NULL ? b->find(s->state, name, job, out, found, err) : METALLM_EINVAL;
}

int metallm__job_new(struct metallm__store *s, const char *name, const char *json,
                     struct metallm__job *job, metallm_error *err)
{
    const struct metallm__jobs_backend *b = jobs_of(s, err);
    return b != NULL ? b->create(s->state, name, json, job, err) : METALLM_EINVAL;
}

int metallm__job_drop(struct metallm__store *s, int64_t job, metallm_error *err)
{
    const struct metallm__jobs_backend *b = jobs_of(s, err);
    return b != NULL ? b->drop(s->state, job, err) : METALLM_EINVAL;
}

int metallm__job_recover(struct metallm__store *s, int64_t job, metallm_error *err)
{
    const struct metallm__jobs_backend *b = jobs_of(s, err);
    return b != NULL ? b->recover(s->state, job, err) : METALLM_EINVAL;
}

int metallm__job_begin(struct metallm__store *s, int64_t job, uint64_t number, uint64_t hash,
                       double reserved_usd, metallm_error *err)
{
    const struct metallm__jobs_backend *b = jobs_of(s, err);
    return b != NULL ? b->begin(s->state, job, number, hash, reserved_usd, err) : METALLM_EINVAL;
}

int metallm__job_end(struct metallm__store *s, int64_t job, const struct metallm__job_row *row,
                     metallm_error *err)
{
    const struct metallm__jobs_backend *b = jobs_of(s, err);
    return b != NULL ? b->end(s->state, job, row, err) : METALLM_EINVAL;
}

int metallm__job_states(struct metallm__store *s, int64_t job, uint64_t from, uint32_t count,
                        uint8_t *states, metallm_error *err)
{
    const struct metallm__jobs_backend *b = jobs_of(s, err);
    return b != NULL ? b->states(s->state, job, from, count, states, err) : METALLM_EINVAL;
}

int metallm__job_visit(struct metallm__store *s, int64_t job, uint64_t from, uint64_t count,
                       metallm__job_visit_row *visit, void *payload, metallm_error *err)
{
    const struct metallm__jobs_backend *b = jobs_of(s, err);
    return b != NULL ? b->visit(s->state, job, from, count, visit, payload, err) : METALLM_EINVAL;
}

int metallm__job_totals(struct metallm__store *s, int64_t job, struct metallm__job_totals *out,
                        metallm_error *err)
{
    const struct metallm__jobs_backend *b = jobs_of(s, err);
    return b != NULL ? b->totals(s->state, job, out, err) : METALLM_EINVAL;
}
