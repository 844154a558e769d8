/* SPDX-License-Identifier: Apache-2.0
 * forest.h - extremely randomised trees (Geurts, Ernst, Wehenkel, Machine Learning 63, 2006) of
 * several targets at once: at each node a share of the features get a threshold drawn evenly
 * between their least and greatest value there, and the split that lowers the squared error of all
 * targets most is taken. A leaf holds means, drawn to its parent's by one pseudo-count, so that a
 * target that nobody there knows falls back on the parent. A prediction never leaves the range of
 * the targets: far from the training queries a forest stays tame. */
#ifndef ROUTER_FOREST_H
#define ROUTER_FOREST_H
#include "base/safetensors.h"
#include "metallm/base.h"

struct metallm__forest_data {
    const float *x; /* n x dim */
    const float *y; /* n x targets, NaN where not known; within +-1e6 */
    size_t n;
    uint32_t dim, targets;
    uint64_t seed;
};

struct metallm__forest_options {
    uint32_t trees;
    uint32_t leaf;     /* rows in a leaf at least */
    double share;      /* of the features tried at a node, 0..1 */
    uint32_t rows_max; /* rows a tree is grown from at most, drawn for each tree */
};

/* A tree's nodes follow each other; a child's number counts from the tree's first node. */
struct metallm__forest {
    uint32_t trees, targets, dim;
    size_t nodes, leaves;
    int32_t *root;    /* trees + 1: first node of each tree; the last is nodes */
    int32_t *feature; /* nodes: >= 0, or -1 - leaf */
    int32_t *left;    /* nodes: number of the child for x <= threshold; the other is the next */
    float *threshold; /* nodes */
    float *value;     /* leaves x targets */
};

METALLM_MUSTCHECK int metallm__forest_fit(struct metallm__forest *out,
                                          const struct metallm__forest_data *data,
                                          const struct metallm__forest_options *opts,
                                          metallm_error *err);
void metallm__forest_fini(struct metallm__forest *f); /* a cleared record is fine */
/* x: n x dim; out: n x targets. Allocates nothing. */
void metallm__forest_predict(const struct metallm__forest *f, const float *x, size_t n, float *out);
METALLM_MUSTCHECK int metallm__forest_save(const struct metallm__forest *f,
                                           struct metallm__st_writer *w, const char *prefix,
                                           metallm_error *err);
/* Every number is checked: a damaged file cannot lead a prediction astray. */
METALLM_MUSTCHECK int metallm__forest_load(struct metallm__forest *out,
                                           const struct metallm__st_file *f, const char *prefix,
                                           uint32_t dim, uint32_t targets, metallm_error *err);
#endif
