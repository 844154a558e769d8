/* SPDX-License-Identifier: Apache-2.0
 * ask_internal.h - what the files of a call share; for src/upstream alone.
 * upstream.c: what one loop has. pick.c: which deployment is next. ask.c: the way of a call from
 * candidate to candidate. attempt.c: one HTTP call of it. */
#ifndef UPSTREAM_ASK_INTERNAL_H
#define UPSTREAM_ASK_INTERNAL_H
#include "base/rng.h"
#include "net/http_client.h"
#include "upstream/ask.h"

/* A deployment as one loop sees it. */
struct metallm__seat {
    struct metallm__origin *origin;    /* NULL until first used */
    struct metallm__ask *first, *last; /* wait for a slot, in their order */
    unsigned waiting;
};

/* A generation as one loop sees it: its seats, numbered as all its deployments. */
struct metallm__binding {
    struct metallm__llms *llms; /* a reference */
    struct metallm__binding *next;
    unsigned asks; /* calls that use it */
    struct metallm__seat seats[];
};

struct metallm__upstream {
    struct metallm__loop *loop;
    struct metallm__upstream_options options; /* defaults filled in */
    struct metallm__dns *dns;
    struct metallm__http_pool *pool;
    metallm_rng rng;
    struct metallm__binding *bindings; /* the newest first */
    struct metallm__ask *asks;         /* all that are under way */
    unsigned waiting;                  /* of them, for a slot */
    struct metallm__timer tick;        /* looks for slots that other loops gave back */
};

enum metallm__ask_phase {
    METALLM__PHASE_IDLE = 0, /* between two attempts, within a function */
    METALLM__PHASE_SLOT,     /* waits in a seat */
    METALLM__PHASE_BACKOFF,  /* waits for the timer, then tries again */
    METALLM__PHASE_CALLING,  /* an HTTP call is under way */
    METALLM__PHASE_FAILING   /* nothing is left: the timer tells */
};

struct metallm__ask {
    struct metallm__upstream *u;
    struct metallm__binding *binding;
    struct metallm__ask *next, **link; /* of u->asks */
    uint32_t candidates[METALLM__ASK_CANDIDATES_MAX];
    unsigned candidate_count;
    struct metallm__wire_request *request;
    struct metallm__headers headers;
    int day;
    const struct metallm__ask_events *events;
    void *payload;
    uint64_t started_ns, deadline_ns; /* deadline UINT64_MAX: none */

    /* Where it stands. */
    enum metallm__ask_phase phase;
    unsigned at;         /* index of candidates */
    uint64_t tried;      /* bits of that LLM's deployments that are done with */
    unsigned tries_here; /* failed attempts at the present deployment */
    unsigned backoffs;   /* so far */
    uint32_t llm, deployment;
    bool has_slot, is_probe, is_fresh, is_stale_retried;
    bool is_open_seen; /* a deployment was passed over because its breaker is open */
    struct metallm__timer timer;
    struct metallm__ask *seat_next; /* of the seat's queue */

    /* The attempt under way. */
    struct metallm__http_call *http;
    struct metallm__wire_out out;
    uint64_t attempt_ns;
    int status;                             /* 0: none yet */
    char content_type[128], error_kind[64]; /* error_kind: "x-amzn-errortype"; "": none */
    uint64_t retry_after_ns;
    bool is_events, is_streaming; /* the answer is a stream; on_stream has been called */
    bool is_paused, is_cancelled, is_in_event;
    struct metallm__buf body;
    struct metallm__wire_stream stream; /* where is_events */
    struct metallm__wire_answer answer;
    metallm_error untold; /* why the request could not be said in the protocol */
    uint64_t first_ns;    /* the first byte for the client; 0: none yet */

    /* What happened. */
    struct metallm__attempt attempts[METALLM__ASK_ATTEMPTS_MAX];
    unsigned attempt_count;
    enum metallm__fault fault; /* the last one */
    char message[240];
};

/* ---- upstream.c ---- */
METALLM_MUSTCHECK int metallm__binding_get(struct metallm__binding **out,
                                           struct metallm__upstream *u,
                                           const struct metallm__llms *llms, metallm_error *err);
void metallm__binding_put(struct metallm__upstream *u, struct metallm__binding *b);
struct metallm__seat *metallm__ask_seat(const struct metallm__ask *ask);
const struct metallm__deployment *metallm__ask_deployment(const struct metallm__ask *ask);
/* Takes a slot of the present deployment; false: all are taken. */
bool metallm__slot_take(struct metallm__ask *ask);
/* Gives it back, and lets the next one go on that waits for it on this loop. */
void metallm__slot_give(struct metallm__ask *ask);
/* METALLM_EBUSY: the queue is full. */
int metallm__slot_wait(struct metallm__ask *ask);
void metallm__slot_leave(struct metallm__ask *ask); /* the queue; not the slot */

/* ---- pick.c ---- */
/* The next deployment into ask->llm and ask->deployment, from where ask->at and ask->tried stand,
 * and with leave of its breaker. false: nothing is left. */
bool metallm__ask_pick(struct metallm__ask *ask);
/* Is there another one to go to than the present? */
bool metallm__ask_has_other(const struct metallm__ask *ask);
/* Nanoseconds until a breaker of any candidate lets a request pass; 0: not known. */
uint64_t metallm__ask_wait(const struct metallm__ask *ask);

/* ---- ask.c ---- */
void metallm__ask_advance(struct metallm__ask *ask); /* to the next attempt, or to the end */
void metallm__ask_go(struct metallm__ask *ask);      /* with a slot: begins the attempt */
/* The attempt has failed: again, elsewhere, or the end. */
void metallm__ask_failed(struct metallm__ask *ask, enum metallm__fault fault, bool was_stale);
void metallm__ask_finish(struct metallm__ask *ask, enum metallm__ask_end end);
void metallm__ask_free(struct metallm__ask *ask);
void metallm__ask_end_attempt(struct metallm__ask *ask, enum metallm__fault fault);

/* ---- attempt.c ---- */
/* METALLM_OK: under way, its events follow. */
METALLM_MUSTCHECK int metallm__attempt_begin(struct metallm__ask *ask, metallm_error *err);
void metallm__attempt_clear(struct metallm__ask *ask); /* what one attempt has left */

#endif
