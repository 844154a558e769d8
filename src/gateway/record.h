/* SPDX-License-Identifier: Apache-2.0
 * record.h - the durable record of a decision: who asked under which constraints, what was believed
 * of each candidate, how the choice was drawn, and what came of it. Its bytes are specified in
 * docs/formats.md, section "Decision record". What many decisions share (models, prices, policy,
 * encoder) stands once, in the setup that they name by its hash (brain.h). No text of the
 * conversation is in it. Encoding and decoding allocate nothing but the caller's buffer. */
#ifndef GATEWAY_RECORD_H
#define GATEWAY_RECORD_H
#include <stdbool.h>

#include "base/buf.h"
#include "metallm/router.h"

#define METALLM__RECORD_BYTES_MAX    65536u
#define METALLM__RECORD_ATTEMPTS_MAX 32u
#define METALLM__RECORD_TASK_MAX     64u
#define METALLM__RECORD_NONE         UINT32_MAX
#define METALLM__RECORD_DIM_MAX      96u /* floats in z */

/* What was known of one candidate of the setup when the decision was made. NaN: not known. */
struct metallm__candidate {
    double quality, sd; /* 0..1, and its standard error */
    double cost_usd, latency_ms;
    double score;  /* what was compared; NaN: it was no candidate */
    double chance; /* with which it was drawn, exploration included */
    double prior_quality, prior_sd, prior_cost_usd, prior_latency_ms; /* before feedback */
};

struct metallm__record_attempt {
    uint32_t model;      /* of the setup */
    uint32_t deployment; /* of that model */
    uint32_t status;     /* HTTP; 0: no answer */
    uint32_t failure;    /* upstream's own code of what went wrong; 0: nothing */
    float ms;
};

struct metallm__usage {
    uint64_t input, output, cached; /* tokens; cached: part of input */
    bool is_known, is_estimated;
};

enum metallm__record_flag {
    METALLM__RECORD_EXPLORED = 1,  /* another than the policy's first choice was drawn */
    METALLM__RECORD_STICKY = 2,    /* the session's LLM was kept for its prompt cache */
    METALLM__RECORD_NO_VECTOR = 4, /* routed on means: the encoder failed or was late */
    METALLM__RECORD_SHADOW = 8,    /* observe: `model` answered, `chosen` would have */
    METALLM__RECORD_STREAMED = 16,
    METALLM__RECORD_CUT = 32,    /* the client hung up, or the answer broke off */
    METALLM__RECORD_DIRECT = 64, /* the client named the LLM; nothing was decided */
};

struct metallm__record {
    int64_t row;
    uint64_t nonce;
    int64_t time_ms;  /* wall clock, of the request */
    uint64_t setup;   /* hash */
    uint64_t version; /* events that had been learned from when it was decided */
    char key[16];     /* id of the client key, "" : none */
    char task[METALLM__RECORD_TASK_MAX + 1];
    uint64_t session;      /* hash; 0: none */
    uint8_t text_hash[16]; /* keyed hash of the text that was routed on */
    unsigned flags;        /* METALLM__RECORD_* */
    enum metallm_reason reason;
    double dial, target, max_cost_usd; /* in force; 0: off */
    double scale_usd;                  /* what the dial is per; NaN: no costs known */
    double money;                      /* quality per dollar that was paid with */
    uint32_t chosen;                   /* candidate */
    double propensity;
    uint32_t model; /* of the setup: answered, or was tried last; METALLM__RECORD_NONE: none */
    uint32_t candidate_count; /* the setup's; 0: nothing was decided */
    struct metallm__candidate *candidates;
    uint32_t dim; /* floats in z; 0: none */
    float *z;     /* what the decision was made on and what is learned on */
    uint32_t attempt_count;
    struct metallm__record_attempt *attempts;
    struct metallm__usage usage;
    double cost_usd;            /* NaN: not known */
    double latency_ms, ttft_ms; /* NaN: not known */
    uint32_t status;            /* HTTP status that the client got; 0: it had gone */
    struct metallm__prior {
        double quality, sd, cost_usd, latency_ms;
    } prior;              /* decoded: of the model that answered, before feedback; NaN: not known */
    uint64_t answer_hash; /* of the answer, normalised (grade.h); 0: none */
};

/* Appends the bytes of r to out. */
METALLM_MUSTCHECK int metallm__record_encode(const struct metallm__record *r,
                                             struct metallm__buf *out, metallm_error *err);
/* Room that decoding fills. */
struct metallm__record_room {
    struct metallm__candidate candidates[METALLM_MODELS_MAX];
    struct metallm__record_attempt attempts[METALLM__RECORD_ATTEMPTS_MAX];
    float z[METALLM__RECORD_DIM_MAX];
};
/* METALLM_EFORMAT: damaged, or of a newer version. Of the candidates' priors only that of the one
 * that answered is kept, as `prior`. */
METALLM_MUSTCHECK int metallm__record_decode(struct metallm__record *out,
                                             struct metallm__record_room *room, const void *bytes,
                                             size_t len, metallm_error *err);
#endif
