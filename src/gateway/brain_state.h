/* SPDX-License-Identifier: Apache-2.0
 * brain_state.h - the inside of brains, shared by brain*.c. Nobody else includes it.
 *   brains -> brain (one per router's name, for good) -> generation (what the configuration says,
 *   counted) and lessons (what was learned) -> view (a generation with a copy of lessons, counted).
 * Locks: brains.lock: the list and the setups. brain.lock: everything that learns; held by the
 * journal's thread while it folds and by configure, never by loops. brain.seat_lock: which view is
 * the newest. brain.pace_lock: the pacer. None is held over I/O. */
#ifndef GATEWAY_BRAIN_STATE_H
#define GATEWAY_BRAIN_STATE_H
#include <pthread.h>
#include <stdatomic.h>

#include "gateway/brain.h"
#include "gateway/brain_learn.h"
#include "gateway/lessons.h"
#include "router/choose.h"

/* Reckoned with until some were seen. */
#define METALLM__TOKENS_INPUT  300.0
#define METALLM__TOKENS_OUTPUT 200.0

#define METALLM__PLAIN_AXES 64u /* random projections that stand in for a router file's axes */

/* A router file in use by several generations. */
struct metallm__router_file {
    atomic_uint holders;
    metallm_router *router;
    char *path;
    uint64_t print; /* hash of its bytes */
};

struct metallm__generation {
    atomic_uint holders;
    const struct metallm__config *config;
    const struct metallm__config_router *router;
    struct metallm__router_file *file; /* NULL: none */
    bool has_prior;                    /* the file's estimates are believed */
    bool learns;
    uint32_t count; /* candidates */
    uint32_t models[METALLM_MODELS_MAX];
    uint32_t in_file[METALLM_MODELS_MAX]; /* model of the file, or UINT32_MAX */
    uint32_t like[METALLM_MODELS_MAX];    /* candidate, or UINT32_MAX */
    uint8_t is_open[METALLM_MODELS_MAX];  /* takes new requests */
    double expected[METALLM_MODELS_MAX];  /* stated quality, or by outcomes; NaN: neither */
    struct metallm__brain_price prices[METALLM_MODELS_MAX];
    struct metallm__policy_choice policy;
    char encoder[METALLM_ENCODER_ID_BYTES];
    metallm_layout layout;
    uint32_t dim, axes, text; /* of z = [1 | axes | text] without a file */
    float *signs;             /* layout.head x axes, without a file */
    struct metallm__lessons_options lessons;
    uint64_t setup;
    char *setup_json;
};

struct metallm__brain_inner { /* of a view */
    struct metallm__view view;
    atomic_uint holders;
    struct metallm__brain *brain;
    struct metallm__generation *generation;
    struct metallm__lessons *lessons;
    uint32_t slots[METALLM_MODELS_MAX]; /* of the candidates */
    uint8_t is_new[METALLM_MODELS_MAX], watched[METALLM_MODELS_MAX];
};

struct metallm__brain {
    char name[METALLM__LEDGER_NAME_MAX + 1];

    pthread_mutex_t lock;
    struct metallm__generation *generation; /* NULL: its router is no longer configured */
    bool is_restored;                       /* the store was asked for it */
    struct metallm__lessons *base, *state;
    int64_t base_seq; /* last event in base */
    struct metallm__lesson *window;
    size_t window_len, window_cap;
    struct metallm__correction {
        int64_t seq, first;
    } * corrections; /* scores replaced by events after base_seq */
    size_t correction_count, correction_cap;
    bool is_dirty;   /* state is to be folded anew */
    bool is_unsaved; /* base is not in the store */
    uint64_t published_events;
    bool is_stale; /* the newest view is older than the generation or the state */
    struct {       /* a base that is being written */
        struct metallm__lessons *base;
        int64_t seq;
        size_t taken; /* of the window */
        bool is_there;
    } next;
    uint64_t unread; /* events whose record could not be used */

    pthread_mutex_t seat_lock;
    struct metallm__brain_inner *newest; /* NULL before the first configure */
    atomic_ullong turn;                  /* grows with every new view */

    pthread_mutex_t pace_lock;
    struct metallm__pacer *pacer; /* NULL: no budget */
    double pace_usd;
    enum metallm__period pace_per;
    double pace_end_s, pace_spent; /* when its period ends, and what was spent in it */
    uint32_t pace_count;

    atomic_ullong steps; /* decisions */
};

/* What the store's setups say, for the events that name them. */
struct metallm__known_setup {
    uint64_t hash, space;
    struct metallm__brain *brain; /* NULL: nobody learns from it */
    uint32_t count;
    char (*names)[METALLM__LESSONS_MODEL_MAX];
    char *json; /* to be written to the store; NULL: it is there */
};

struct metallm__brains {
    struct metallm__priors *priors; /* configure's alone */
    pthread_mutex_t lock;
    struct metallm__brain **items;
    size_t count, cap;
    struct metallm__known_setup *setups;
    size_t setup_count, setup_cap;
    size_t setups_written;         /* of those with json, in the transaction that is open */
    _Atomic uint64_t direct_setup; /* a reload replaces it while workers read */
    atomic_llong seq;              /* last event that was folded */
};

/* brain_setup.c. The caller holds *out. */
METALLM_MUSTCHECK int metallm__generation_new(struct metallm__generation **out,
                                              const struct metallm__brains_setup *setup,
                                              uint32_t router, struct metallm__router_file *known,
                                              struct metallm__priors *priors, metallm_error *err);
struct metallm__generation *metallm__generation_take(struct metallm__generation *g);
void metallm__generation_drop(struct metallm__generation *g);
/* Lessons that nobody was taught yet. */
METALLM_MUSTCHECK int metallm__generation_lessons(const struct metallm__generation *g,
                                                  struct metallm__lessons **out,
                                                  metallm_error *err);
/* Adds slots for newcomers and follows prices. *changed: something was. */
METALLM_MUSTCHECK int metallm__generation_reconcile(const struct metallm__generation *g,
                                                    struct metallm__lessons *l, bool *changed,
                                                    metallm_error *err);
METALLM_MUSTCHECK int metallm__direct_setup(const struct metallm__config *config,
                                            const struct metallm__brain_price *prices,
                                            uint64_t *hash, char **json, metallm_error *err);
/* brain_learn.c; brain.lock is held (know: brains.lock). */
/* Another generation: newcomers and prices are followed, and the base is made anew. */
METALLM_MUSTCHECK int metallm__brain_follow(struct metallm__brain *brain,
                                            struct metallm__generation *g, int64_t seq,
                                            metallm_error *err);
/* l as a file gives it back. */
METALLM_MUSTCHECK int metallm__lessons_settle(struct metallm__lessons **l, metallm_error *err);
METALLM_MUSTCHECK int metallm__brain_refold(struct metallm__brain *brain, metallm_error *err);
METALLM_MUSTCHECK int metallm__brains_know(struct metallm__brains *b, uint64_t hash,
                                           const char *json, bool is_stored, metallm_error *err);
/* brain.c; brain.lock is held. */
METALLM_MUSTCHECK int metallm__brain_publish(struct metallm__brain *brain, metallm_error *err);

/* Dollars that a request of these tokens costs; NaN: not known. */
double metallm__brain_price_of(const struct metallm__brain_price *p, double input, double output);
#endif
