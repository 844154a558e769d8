/* SPDX-License-Identifier: Apache-2.0
 * lessons.h - what one router learned in use, by name of LLM, as a function of the events that
 * taught it. A brain's state is
 *     state = fold(base, window)
 * base: a snapshot that stands in the store; window: the events after it, in the order of their
 * commits. A score that is replaced while its event is in the window is replaced there, and the
 * window is folded anew: the state is, to the last bit, that of one that only saw the last score. A
 * score that is part of the base already is put right by linearity: b += w (new - old) z, w what
 * the event still counts after the fadings since; the level, which follows the newest
 * METALLM__LESSONS_KEPT events, is left.
 * The base moves on when the window has twice METALLM__LESSONS_KEPT events: it takes in the older
 * half and is brought to the form that a file gives back (saved and loaded), so that a process that
 * reads snapshot and events later has the same bytes.
 * Owner: the caller of new frees. Threads: one at a time; a copy that is not changed: any. */
#ifndef GATEWAY_LESSONS_H
#define GATEWAY_LESSONS_H
#include "base/buf.h"
#include "gateway/record.h"
#include "router/adapt.h"

#define METALLM__LESSONS_KEPT      1024u
#define METALLM__LESSONS_FADES     8u
#define METALLM__LESSONS_NEW_USES  20u /* scores that make a newcomer known */
#define METALLM__LESSONS_BLOB_MAX  ((size_t)1 << 28)
#define METALLM__LESSONS_MODEL_MAX 256u /* bytes of a name, with its NUL */

/* What is kept of one LLM beside its statistics. */
struct metallm__slot {
    char name[METALLM__LESSONS_MODEL_MAX];
    double output_tokens;               /* mean; NaN: none seen */
    double input, output, usd_per_call; /* prices that its cost level goes with; NaN: not known */
    uint64_t scores;                    /* learned from */
    bool is_trusted;                    /* known from the router file: no newcomer */
    int64_t
        fades[METALLM__LESSONS_FADES]; /* events at which its statistics were faded, newest last */
};

struct metallm__lessons {
    struct metallm__adapt *adapt; /* a model per slot */
    struct metallm__slot *slots;  /* METALLM_MODELS_MAX */
    uint32_t count;
    double input_tokens; /* mean of all; NaN: none seen */
    uint64_t events;     /* folded in */
    uint64_t space;      /* of z and priors: others do not fit */
    int64_t *applied;    /* of a base: corrections by later events that it has taken in already */
    size_t applied_count;
};

struct metallm__lessons_options {
    uint32_t dim;
    double lambda, gamma;
    uint64_t space;
};

/* One event as it is folded. */
struct metallm__lesson {
    int64_t seq, row;
    bool is_feedback;
    uint32_t slot;
    uint32_t dim; /* of z; 0: none, the intercept alone */
    float z[METALLM__RECORD_DIM_MAX];
    struct metallm__prior prior;
    double quality;              /* feedback */
    double cost_usd, latency_ms; /* decision; NaN: not known */
    double input_tokens, output_tokens;
};

METALLM_MUSTCHECK int metallm__lessons_new(struct metallm__lessons **out,
                                           const struct metallm__lessons_options *opts,
                                           metallm_error *err);
METALLM_MUSTCHECK int metallm__lessons_copy(struct metallm__lessons **out,
                                            const struct metallm__lessons *l, metallm_error *err);
void metallm__lessons_free(struct metallm__lessons *l);
uint32_t metallm__lessons_find(const struct metallm__lessons *l, const char *name); /* UINT32_MAX */
/* A new slot. like: a slot whose statistics it borrows at a quarter of their weight, or UINT32_MAX.
 * level_sd: how far its prior quality may be off; 0: it is trusted. METALLM_ELIMIT: no room. */
METALLM_MUSTCHECK int metallm__lessons_add(struct metallm__lessons *l, const char *name,
                                           uint32_t like, double level_sd, metallm_error *err);
/* Widens z (dim floats, or the intercept alone) for adapt; out: METALLM__LESSONS_PAD doubles,
 * aligned to 64 bytes. */
#define METALLM__LESSONS_PAD 96u
void metallm__lessons_prepare(const struct metallm__lessons *l, const float *z, uint32_t dim,
                              double *out);
/* An event that makes no sense (a number out of range) teaches nothing but counts. */
METALLM_MUSTCHECK int metallm__lessons_fold(struct metallm__lessons *l,
                                            const struct metallm__lesson *e, metallm_error *err);
/* Of the score that came with event `first`: it was `by` higher. */
void metallm__lessons_correct(struct metallm__lessons *l, const struct metallm__lesson *e,
                              int64_t first, double by);

/* The bytes of a snapshot: a safetensors file. load: METALLM_EFORMAT: damaged. */
METALLM_MUSTCHECK int metallm__lessons_save(const struct metallm__lessons *l,
                                            struct metallm__buf *out, metallm_error *err);
METALLM_MUSTCHECK int metallm__lessons_load(struct metallm__lessons **out, const void *bytes,
                                            size_t len, metallm_error *err);
#endif
