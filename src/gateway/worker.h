/* SPDX-License-Identifier: Apache-2.0
 * worker.h - one loop thread of the gateway: its server, its upstream connections, its readers of
 * what others publish. And the visit: one HTTP request from its arrival to its answer.
 * All of a worker is touched by its own thread alone, but for what its loop takes from others. */
#ifndef GATEWAY_WORKER_H
#define GATEWAY_WORKER_H
#include <pthread.h>

#include "gateway/gateway.h"
#include "gateway/journal.h"
#include "gateway/keys.h"
#include "gateway/limits.h"
#include "gateway/log.h"
#include "gateway/metrics.h"
#include "gateway/sessions.h"
#include "gateway/world.h"
#include "metallm/service.h"
#include "net/http_server.h"
#include "upstream/ask.h"

/* What all workers share. Made and taken apart by gateway.c. */
struct metallm__shared {
    pthread_mutex_t lock;         /* of world */
    struct metallm__world *world; /* the newest */
    _Atomic uint64_t world_number;
    struct metallm__brains *brains;
    struct metallm__journal *journal;
    struct metallm__keys *keys;
    struct metallm__limits *limits;
    struct metallm__metrics *metrics;
    struct metallm__log *log;
    struct metallm__sessions *sessions;
    metallm_encoder *encoder; /* NULL: none is needed */
    metallm_service *service; /* NULL: none */
    metallm_encoder *coarse;  /* cheap, of tiered router files; NULL: none */
    bool is_tiered;           /* coarse decides first; else it stands in for a late encoder */
    struct metallm__http_guard *guard;
    struct metallm__gateway *gateway;
    _Atomic uint64_t in_work; /* requests to LLMs, all workers */
    _Atomic uint64_t reloads, reloads_refused;
    _Atomic uint32_t running; /* workers whose thread has not ended */
    _Atomic bool is_ready, is_stopping;
    int64_t started_ms;
};

#define METALLM__JUDGING_MAX 64u /* answers that a judge reads at a time, a worker */

struct metallm__brain_seat { /* a worker's reader of one brain */
    struct metallm__brain *brain;
    struct metallm__brain_reader *reader;
    metallm_rng rng; /* of its draws: routers[].seed, a stream for each worker */
};

struct metallm__worker {
    struct metallm__shared *shared;
    uint32_t index;
    pthread_t thread;
    struct metallm__loop *loop;
    struct metallm__http_server *server;
    struct metallm__upstream *upstream;
    struct metallm__metrics_shard *shard;
    struct metallm__key_reader *keys;
    struct metallm__brain_seat *seats;
    uint32_t seat_count;
    struct metallm__world *world; /* the newest that this worker has seen */
    metallm_rng rng;
    uint64_t open; /* visits and judgements that are not over */
    struct metallm__judging *judgings[METALLM__JUDGING_MAX]; /* by a judge, now (judge.c) */
    bool is_draining, is_drained;
    struct metallm__mail poke;   /* from the control thread: time to stop */
    atomic_uint pokes;           /* not yet delivered: one mail carries them all */
    struct metallm__timer leave; /* when draining: looks whether all is over */
    uint64_t leave_ns;           /* what is left then is dropped */
    bool is_started;
};

/* Makes a worker whose thread has not begun; listeners are opened by share of the address. */
METALLM_MUSTCHECK int metallm__worker_new(struct metallm__worker **out,
                                          struct metallm__shared *shared, uint32_t index,
                                          metallm_error *err);
METALLM_MUSTCHECK int metallm__worker_start(struct metallm__worker *w, metallm_error *err);
/* Any thread: drains, then ends the thread. Again: cuts what still runs. */
void metallm__worker_stop(struct metallm__worker *w);
void metallm__worker_join(struct metallm__worker *w);
void metallm__worker_free(struct metallm__worker *w); /* joined; NULL is fine */

/* The newest world; stands until the next turn of the loop. */
struct metallm__world *metallm__worker_world(struct metallm__worker *w);
/* This worker's seat at a router's brain, until the next call; NULL: no memory. */
struct metallm__brain_seat *metallm__worker_seat(struct metallm__worker *w,
                                                 struct metallm__brain *brain, uint64_t seed);

/* One HTTP request. Its record is the first member of what an endpoint needs beside it. */
struct metallm__visit {
    struct metallm__worker *worker;
    struct metallm__exchange *x;         /* NULL: answered */
    const struct metallm__request *http; /* until answered */
    struct metallm__world *world;        /* held */
    enum metallm__endpoint endpoint;
    const struct metallm__surface *surface; /* whose errors the client understands */
    const struct metallm__keyring *ring;    /* of key; held */
    const struct metallm__key *key;         /* NULL: without keys */
    bool is_admin;                          /* came with the admin key, or needs none */
    int status;                             /* what was answered; 499: the client had gone */
    uint32_t router_slot, llm_slot;         /* for metrics; METALLM__METRICS_NONE */
    uint64_t begun_ns;
    struct metallm__trace trace;
    char id[METALLM__REQUEST_ID_LEN + 1];
};

struct metallm__endpoint_row {
    enum metallm__method method;
    const char *path; /* "/v1/decisions/" with the slash: a prefix */
    enum metallm__endpoint endpoint;
    enum metallm__access { METALLM__OPEN, METALLM__CLIENT, METALLM__ADMIN } access;
    size_t size; /* of the record that begins with the visit */
    void (*begin)(struct metallm__visit *v);
};
extern const struct metallm__endpoint_row metallm__endpoints[]; /* closed by a NULL path */

/* ---- Answering: each ends the exchange, counts and logs the request. The visit stays until
 * metallm__visit_free. ---- */
#define METALLM__REPLY_HEADERS_MAX 16u
struct metallm__reply {
    int status;
    const char *type; /* content type; NULL: application/json */
    struct metallm__header headers[METALLM__REPLY_HEADERS_MAX];
    size_t count;
};
void metallm__reply_add(struct metallm__reply *r, const char *name, struct metallm__span value);
/* Whole; body is copied or, where hold is given, referred to. x-request-id is added. */
void metallm__visit_reply(struct metallm__visit *v, const struct metallm__reply *r,
                          struct metallm__span body, const struct metallm__hold *hold);
/* type and code are OpenAI's; another surface goes by the status. */
struct metallm__refusal {
    int status;
    const char *type, *code, *param; /* code and param may be NULL */
    uint64_t retry_after_ms;         /* 0: no Retry-After */
    const char *allow;               /* methods; NULL: no Allow */
};
void metallm__visit_refuse(struct metallm__visit *v, const struct metallm__refusal *why,
                           const char *message);
/* By a status code of ours: what the client did wrong is 400, the rest 500 or 503. */
void metallm__visit_fail(struct metallm__visit *v, const metallm_error *err);
/* Answers 200 with what was written (type NULL: JSON), or says why it could not be; frees the
 * buffer and the visit. */
void metallm__visit_buffer(struct metallm__visit *v, const char *type, struct metallm__buf *b);
/* What stands behind a prefix in the path, percent signs decoded. False: malformed or too long. */
bool metallm__visit_path_rest(const struct metallm__visit *v, const char *prefix, char *out,
                              size_t room);
/* The head of an answer that comes in pieces. */
void metallm__visit_stream(struct metallm__visit *v, const struct metallm__reply *r);
/* The exchange has ended (by end or abort): counts and logs. */
void metallm__visit_over(struct metallm__visit *v, int status);
/* Gives back what the visit holds, and its memory. Answered before. */
void metallm__visit_free(struct metallm__visit *v);

/* The surface of a path; NULL: any may be meant. */
const struct metallm__surface *metallm__surface_of_path(struct metallm__span path);
/* What the server refuses by itself (a body too large, ...), in the shape of the path's surface. */
void metallm__worker_refusal(void *payload, struct metallm__span target, int status,
                             const char *message, struct metallm__buf *out);
/* Entry of every request: finds the endpoint, checks the key, begins. */
void metallm__worker_handle(void *payload, struct metallm__exchange *x);

#endif
