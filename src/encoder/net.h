/* SPDX-License-Identifier: Apache-2.0
 * net.h - BERT's forward pass over packed sequences (no padding): weights packed once per
 * precision, a crew of threads per batch, each doing its share of the rows. Threads: a net is
 * shared; a crew serves one batch at a time. */
#ifndef ENCODER_NET_H
#define ENCODER_NET_H
#include "base/sha256.h"
#include "encoder/bert.h"
#include "encoder/gemm.h"

#define METALLM__PACK_ROWS   1024u /* tokens in one batch */
#define METALLM__THREADS_MAX 64u

struct metallm__net;
struct metallm__crew;

/* Sequences one after another. */
struct metallm__pack {
    uint32_t ids[METALLM__PACK_ROWS], positions[METALLM__PACK_ROWS];
    uint32_t starts[METALLM__PACK_ROWS + 1]; /* first row of each sequence, then the end */
    float *out[METALLM__PACK_ROWS];          /* where each sequence's vector goes */
    float *copy[METALLM__PACK_ROWS];         /* where it goes as well, or NULL */
    uint32_t count;                          /* sequences */
};

/* Whether the CPU at this level has the instructions for a precision. */
bool metallm__precision_runs(enum metallm__precision precision, enum metallm__isa isa);

/* How the weights' file looks: while that stays the same, it is taken to be the same. */
struct metallm__weights_look {
    uint64_t size, mtime_ns, inode, device;
};

/* Where b's weights come from, and the file beside them that keeps what was packed (net_file.h).
 * metallm__net_new fills in the SHA-256. */
struct metallm__net_source {
    const char *weights, *packed; /* paths */
    struct metallm__weights_look look;
    uint8_t sha256[METALLM__SHA256_BYTES];
    bool is_hashed;
};

/* b outlives the net. source: NULL: nothing is read or kept. sample: texts on which int8 measures
 * the range of each column (its out may be NULL); not kept. METALLM_EMISMATCH: the CPU (or
 * METALLM_ISA) lacks this precision. */
METALLM_MUSTCHECK int metallm__net_new(struct metallm__net **out, const struct metallm__bert *b,
                                       enum metallm__precision precision, enum metallm__isa isa,
                                       const struct metallm__pack *sample,
                                       struct metallm__net_source *source, metallm_error *err);
void metallm__net_free(struct metallm__net *net);

METALLM_MUSTCHECK int metallm__crew_new(struct metallm__crew **out, struct metallm__net *net,
                                        uint32_t threads, metallm_error *err);
void metallm__crew_free(struct metallm__crew *crew);
/* Fills the out of every sequence: hidden floats, unit length. */
METALLM_MUSTCHECK int metallm__crew_run(struct metallm__crew *crew,
                                        const struct metallm__pack *pack, metallm_error *err);
#endif
