/* SPDX-License-Identifier: Apache-2.0
 * ask_world.c - see ask_world.h. */
#include "support/ask_world.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "net/stream.h"
#include "support/cmocka_all.h"

struct fake_upstream *world_fake;

struct metallm__deployment_options world_deployment = {
    .key = "sk-1", .first_byte_ms = 150, .idle_ms = 150, .connect_ms = 500};
enum metallm__wire_kind world_kind = METALLM__WIRE_CHAT;
struct metallm__upstream_options world_options = {.seed = 1, .backoff_ms = 5, .backoff_max_ms = 80};

static uint16_t closed_port(void)
{
    struct sockaddr_storage address;
    int fd;
    uint16_t port;
    /* Bound and let go: nobody listens there. */
    assert_int_equal(metallm__address_parse("127.0.0.1:0", &address, NULL), METALLM_OK);
    assert_int_equal(metallm__listen_open(&address, false, &fd, &port, NULL), METALLM_OK);
    close(fd);
    return port;
}

static int make_llms(struct metallm__llms **out, const char *plan, uint32_t *count,
                     metallm_error *err)
{
    static const struct metallm__price price = {
        .usd_per_call = NAN, .input = 100, .output = 1000, .cached_input = NAN};
    static char urls[16][128], names[16][8];
    struct metallm__deployment_options d[16];
    struct metallm__llm_options llms[8];
    char copy[256], *at = copy;
    unsigned n = 0;
    *count = 0;
    snprintf(copy, sizeof copy, "%s", plan);
    for (char *llm, *rest = at; (llm = strtok_r(rest, " ", &rest)) != NULL; ++*count) {
        llms[*count] = (struct metallm__llm_options){
            .name = names[*count], .prices = &price, .price_count = 1, .deployments = d + n};
        snprintf(names[*count], sizeof *names, "m%u", *count);
        for (char *what, *more = llm; (what = strtok_r(more, ",", &more)) != NULL; n++) {
            d[n] = world_deployment;
            d[n].base_url = urls[n];
            bool is_refused = strcmp(what, "refuse") == 0;
            snprintf(urls[n], sizeof *urls, "http://127.0.0.1:%u/%s",
                     is_refused ? closed_port() : fake_upstream_port(world_fake), what);
            llms[*count].deployment_count++;
        }
    }
    return metallm__llms_new(out, llms, *count, NULL, err);
}

void world_open(struct world *w, const char *plan)
{
    metallm_error err = {0};
    *w = (struct world){.loop = NULL};
    assert_int_equal(metallm__loop_new(&w->loop, NULL, &err), METALLM_OK);
    assert_int_equal(metallm__upstream_new(&w->u, w->loop, &world_options, &err), METALLM_OK);
    assert_int_equal(make_llms(&w->llms, plan, &w->candidate_count, &err), METALLM_OK);
    for (uint32_t i = 0; i < w->candidate_count; i++)
        w->candidates[i] = i;
}

void world_close(struct world *w)
{
    metallm__upstream_free(w->u);
    metallm__llms_unref(w->llms);
    metallm__loop_free(w->loop);
}

/* ---- One call and what its caller sees. ---- */

static void on_stream(void *payload, uint32_t llm, uint32_t d, const char *content_type)
{
    struct seen *s = payload;
    (void)llm;
    (void)d;
    assert_int_equal(strncmp(content_type, "text/event-stream", 17), 0);
    s->streams++;
}

static void on_piece(void *payload, enum metallm__wire_piece_kind kind, struct metallm__span bytes)
{
    struct seen *s = payload;
    (void)kind;
    assert_int_equal(s->streams, 1);
    if (s->piece_bytes + bytes.n < sizeof s->pieces)
        memcpy(s->pieces + s->piece_bytes, bytes.p, bytes.n);
    s->piece_bytes += bytes.n;
    s->piece_count++;
    if (s->piece_count == s->pause_after)
        metallm__ask_pause(s->ask);
    if (s->piece_count == s->cancel_after) {
        metallm__ask_cancel(s->ask);
        s->ask = NULL;
    }
}

static void on_done(void *payload, const struct metallm__ask_result *r)
{
    struct seen *s = payload;
    s->result = *r;
    snprintf(s->content_type, sizeof s->content_type, "%s",
             r->content_type != NULL ? r->content_type : "");
    memcpy(s->attempts, r->attempts, r->attempt_count * sizeof *r->attempts);
    snprintf(s->body, sizeof s->body, "%.*s", (int)r->body->len,
             r->body->data != NULL ? r->body->data : "");
    snprintf(s->message, sizeof s->message, "%s", r->message != NULL ? r->message : "");
    s->ask = NULL;
    s->dones++;
}

static const struct metallm__ask_events events = {on_stream, on_piece, on_done};

int world_begin(struct world *w, struct seen *s, const char *body, uint32_t total_ms,
                metallm_error *err)
{
    int rc = metallm__wire_request_read(&s->request, world_kind, metallm__span_of(body), NULL, err);
    const struct metallm__ask_options o = {.llms = w->llms,
                                           .candidates = w->candidates,
                                           .candidate_count = w->candidate_count,
                                           .request = &s->request,
                                           .total_ms = total_ms,
                                           .day = 20261122,
                                           .events = &events,
                                           .payload = s};
    return rc == METALLM_OK ? metallm__ask_start(&s->ask, w->u, &o, err) : rc;
}

void world_turn_until_done(struct world *w, struct seen *s)
{
    struct timespec from, now;
    clock_gettime(CLOCK_MONOTONIC, &from);
    do {
        metallm__loop_turn(w->loop, 20);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (s->dones == 0 && now.tv_sec - from.tv_sec < 20);
    assert_int_equal(s->dones, 1);
}

void world_turn_for(struct world *w, unsigned ms)
{
    struct timespec from, now;
    clock_gettime(CLOCK_MONOTONIC, &from);
    do {
        metallm__loop_turn(w->loop, 5);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - from.tv_sec) * 1000 + (now.tv_nsec - from.tv_nsec) / 1000000 < ms);
}

void world_call(struct world *w, struct seen *s, const char *body, uint32_t total_ms)
{
    metallm_error err = {0};
    *s = (struct seen){.dones = 0};
    assert_int_equal(world_begin(w, s, body, total_ms, &err), METALLM_OK);
    assert_int_equal(s->dones, 0); /* never from within start */
    world_turn_until_done(w, s);
    metallm__wire_request_fini(&s->request);
}

int world_fake_start(void **state)
{
    (void)state;
    world_fake = fake_upstream_start();
    return 0;
}

int world_fake_stop(void **state)
{
    (void)state;
    fake_upstream_stop(world_fake);
    return 0;
}
