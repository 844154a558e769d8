/* SPDX-License-Identifier: Apache-2.0
 * net_internal.h - what net.c (weights), crew.c (threads) and pass_*.c (the arithmetic of a
 * precision) share. */
#ifndef ENCODER_NET_INTERNAL_H
#define ENCODER_NET_INTERNAL_H
#include <pthread.h>
#include <stdatomic.h>

#include "base/file.h"
#include "encoder/arena.h"
#include "encoder/kernels_int8.h"
#include "encoder/net.h"

/* One linear part, packed. */
struct metallm__product {
    struct metallm__gemm_weights *weights;
    const float *bias;
    uint32_t columns, inputs; /* of the output, of the input */
    /* int8 */
    struct metallm__columns8 columns8;
    const float *smooth; /* factors of the inputs */
    float *params;       /* owned, or NULL: in a file; the arrays above but the bias */
    float *seen;         /* owned; not NULL: the fp32 pass notes the greatest |input| by column */
};

struct metallm__net_layer {
    struct metallm__product qkv, attended, up, down; /* qkv: three parts in one */
    float *qkv_bias;                                 /* owned */
};

struct metallm__worker;

/* One precision: how a thread does its rows begin..end of a layer. */
struct metallm__pass {
    void (*project)(struct metallm__worker *w, const struct metallm__net_layer *l, uint32_t begin,
                    uint32_t end); /* x -> queries, keys, values */
    void (*attend)(struct metallm__worker *w, uint32_t begin, uint32_t end); /* -> context */
    void (*feed_forward)(struct metallm__worker *w, const struct metallm__net_layer *l,
                         const struct metallm__bert_layer *b, uint32_t begin,
                         uint32_t end); /* -> x */
};
extern const struct metallm__pass metallm__pass_fp32, metallm__pass_bf16, metallm__pass_int8;

struct metallm__net {
    const struct metallm__pass *pass;
    bool is_bf16_attended; /* queries, keys and values are bfloat16 */
    const struct metallm__bert *bert;
    const struct metallm__kernels *kernels;
    struct metallm__gemm_library *gemm;
    enum metallm__precision precision;
    struct metallm__map packed; /* the file that the packed weights are in, or nothing */
    struct metallm__net_layer layers[METALLM__BERT_LAYERS_MAX];
};
/* One thread's own memory. */
struct metallm__worker {
    struct metallm__crew *crew;
    uint32_t part;
    struct metallm__gemm_worker *gemm;
    struct metallm__arena arena; /* the buffers below */
    void *input;                 /* a block's input, of the precision's type: rows x widest input */
    void *block;                 /* a block's product, float or int32_t: rows x widest output */
    void *scratch;               /* attention's */
    float *line;                 /* widest output */
    struct metallm__row8 rows8[2][METALLM__GEMM_ROWS_MAX];
    int rc;
    metallm_error err;
    pthread_t thread; /* parts 1 and up */
};

struct metallm__crew {
    struct metallm__net *net;
    uint32_t threads, started;
    struct metallm__worker *workers;
    struct metallm__arena arena; /* the buffers below */
    float *x;                    /* [rows][hidden]: the tokens' state */
    void *qkv;                   /* [rows][3 * hidden], float or bfloat16 */
    float *context;              /* [rows][hidden]: what attention gives */

    const struct metallm__pack *pack; /* the batch that runs */
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    uint64_t batch;   /* its number: a new one wakes the helpers */
    uint32_t at_work; /* helpers that have not finished it */
    bool is_ending;
    atomic_uint waiting, generation; /* the barrier */
};

/* ---- packing, by precision ---- */

struct metallm__plain {
    const float *weight, *bias; /* [columns][inputs], [columns] */
    uint32_t columns, inputs;
    const float *seen; /* int8: greatest |input| by column, on sample texts */
};
METALLM_MUSTCHECK int metallm__pack_bf16(struct metallm__gemm_library *gemm,
                                         struct metallm__product *p,
                                         const struct metallm__plain *plain, metallm_error *err);
METALLM_MUSTCHECK int metallm__pack_int8(struct metallm__gemm_library *gemm,
                                         struct metallm__product *p,
                                         const struct metallm__plain *plain, metallm_error *err);

/* int8: scale and correction of each column, and a factor for each input, one after another. */
void metallm__product_take_params(struct metallm__product *p, const float *params);

/* ---- shared by the passes ---- */

/* The size of the next block: the rest is spread evenly over as few blocks as possible. */
uint32_t metallm__block_rows(uint32_t left);
/* w->block = in W^T; in has the precision's type. Does nothing once w->rc is set. */
void metallm__product_run(struct metallm__worker *w, const struct metallm__product *p,
                          const void *in, uint32_t rows);
/* feed_forward of the precisions whose products give floats (fp32, bf16). */
struct metallm__float_steps {
    void (*product)(struct metallm__worker *w, const struct metallm__product *p, const float *in,
                    uint32_t rows); /* w->block = in W^T */
    void (*gelu)(struct metallm__worker *w, const float *bias, uint32_t rows,
                 uint32_t columns); /* w->input = GELU(w->block + bias), of the precision's type */
};
void metallm__feed_forward(const struct metallm__float_steps *steps, struct metallm__worker *w,
                           const struct metallm__net_layer *l, const struct metallm__bert_layer *b,
                           uint32_t begin, uint32_t end);
/* Attention over w's share of each sequence, by what the net says of its type. */
void metallm__attend_run(struct metallm__worker *w, uint32_t begin, uint32_t end);
#endif
