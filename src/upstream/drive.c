/* SPDX-License-Identifier: Apache-2.0
 * drive.c - see drive.h. A place is one call that may be under way; there are `concurrent`. */
#include "upstream/drive.h"

#include "base/error.h"
#include "base/mem.h"

#define LATER_NS 5000000u /* after METALLM_EBUSY */

struct driver;

struct place {
    struct driver *driver;
    struct place *next_free;
    struct metallm__ask *ask;
    struct metallm__wire_request request;
    void *tag;
};

struct driver {
    const struct metallm__drive_options *o;
    struct metallm__loop *loop;
    struct metallm__upstream *upstream;
    struct place *places, *free; /* free: a list */
    unsigned under_way;
    bool is_last_seen; /* next() has no more */
    struct metallm__timer later;
    int rc;
    metallm_error *err;
};

static void stop(struct driver *d, int rc)
{
    if (d->rc == METALLM_OK)
        d->rc = rc;
    metallm__loop_stop(d->loop);
}

static void give_back(struct place *p)
{
    metallm__wire_request_fini(&p->request);
    p->ask = NULL;
    p->next_free = p->driver->free;
    p->driver->free = p;
    p->driver->under_way--;
}

static void refill(struct driver *d);

static void on_done(void *payload, const struct metallm__ask_result *result)
{
    struct place *p = payload;
    struct driver *d = p->driver;
    int rc = d->o->done(d->o->payload, p->tag, result, d->err);
    give_back(p);
    if (rc != METALLM_OK)
        stop(d, rc);
    else
        refill(d);
}

/* Requests are not streamed: an upstream that streams all the same is read as garbage. */
static void on_stream(void *payload, uint32_t llm, uint32_t deployment, const char *content_type)
{
    (void)payload;
    (void)llm;
    (void)deployment;
    (void)content_type;
}

static void on_piece(void *payload, enum metallm__wire_piece_kind kind, struct metallm__span bytes)
{
    (void)payload;
    (void)kind;
    (void)bytes;
}

static int begin(struct driver *d, const struct metallm__drive_job *job)
{
    static const struct metallm__ask_events events = {on_stream, on_piece, on_done};
    struct place *p = d->free;
    int rc = metallm__wire_request_read(&p->request, job->kind, job->body, NULL, d->err);
    if (rc == METALLM_OK && p->request.is_stream) {
        metallm__wire_request_fini(&p->request);
        rc = metallm__error_set(d->err, METALLM_EINVAL, "a job of a batch cannot be streamed");
    }
    if (rc != METALLM_OK)
        return rc;
    const struct metallm__ask_options o = {
        .llms = d->o->llms,
        .candidates = job->candidates,
        .candidate_count = job->candidate_count,
        .request = &p->request,
        .total_ms = d->o->call_total_ms,
        .day = d->o->day,
        .events = &events,
        .payload = p,
    };
    p->tag = job->tag;
    rc = metallm__ask_start(&p->ask, d->upstream, &o, d->err);
    if (rc != METALLM_OK) {
        metallm__wire_request_fini(&p->request);
        return rc;
    }
    d->free = p->next_free;
    d->under_way++;
    return METALLM_OK;
}

/* As many as there are places for; the end when there are no more and all are done. */
static void refill(struct driver *d)
{
    int rc = METALLM_OK;
    while (rc == METALLM_OK && d->free != NULL && !d->is_last_seen) {
        struct metallm__drive_job job = {.tag = NULL};
        rc = d->o->next(d->o->payload, &job, d->err);
        if (rc == METALLM_ENOTFOUND)
            d->is_last_seen = true;
        else if (rc == METALLM_EBUSY)
            metallm__timer_set(d->loop, &d->later, metallm__loop_now(d->loop) + LATER_NS);
        else if (rc == METALLM_OK)
            rc = begin(d, &job);
    }
    if (rc != METALLM_OK && rc != METALLM_EBUSY && rc != METALLM_ENOTFOUND)
        stop(d, rc);
    else if (d->is_last_seen && d->under_way == 0)
        stop(d, METALLM_OK);
}

static void later(struct metallm__timer *timer)
{
    refill((struct driver *)(void *)((char *)timer - offsetof(struct driver, later)));
}

static int run(struct driver *d)
{
    unsigned count = d->o->concurrent;
    int rc = metallm__loop_new(&d->loop, NULL, d->err);
    if (rc == METALLM_OK)
        rc = metallm__upstream_new(&d->upstream, d->loop, &d->o->upstream, d->err);
    if (rc != METALLM_OK)
        return rc;
    d->places = metallm__calloc(count, sizeof *d->places);
    if (d->places == NULL)
        return metallm__error_nomem(d->err, "a batch of calls");
    for (unsigned i = count; i-- > 0;) {
        d->places[i].driver = d;
        d->places[i].next_free = d->free;
        d->free = &d->places[i];
    }
    refill(d);
    if (d->rc == METALLM_OK && !(d->is_last_seen && d->under_way == 0))
        metallm__loop_run(d->loop);
    return d->rc;
}

int metallm__drive(const struct metallm__drive_options *options, metallm_error *err)
{
    struct driver d = {.o = options, .later.fired = later, .err = err};
    if (options->concurrent < 1 || options->concurrent > METALLM__DRIVE_CONCURRENT_MAX)
        return metallm__error_set(err, METALLM_EINVAL, "from 1 to %u calls at a time, not %u",
                                  METALLM__DRIVE_CONCURRENT_MAX, options->concurrent);
    int rc = run(&d);
    metallm__upstream_free(d.upstream); /* cancels what is under way */
    for (unsigned i = 0; d.places != NULL && i < options->concurrent; i++)
        metallm__wire_request_fini(&d.places[i].request);
    metallm__free(d.places);
    if (d.loop != NULL)
        metallm__timer_stop(d.loop, &d.later);
    metallm__loop_free(d.loop);
    return rc;
}
