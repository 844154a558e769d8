/* SPDX-License-Identifier: Apache-2.0
 * nearest.c - see nearest.h. Similarities of a block of queries with a block of the base are one
 * matrix product; what beats a query's k-th best so far is put into its sorted list. */
#include "math/nearest.h"

#include <cblas.h>
#include <math.h>

#include "base/error.h"
#include "base/mem.h"

#define QUERY_BLOCK 128u
#define BASE_BLOCK  1024u

/* The base is read by rising index, so an equal that comes later never goes before. */
static void insert(uint32_t *index, float *similarity, uint32_t k, uint32_t row, float value)
{
    uint32_t at = k - 1;
    while (at > 0 && similarity[at - 1] < value) {
        index[at] = index[at - 1];
        similarity[at] = similarity[at - 1];
        at--;
    }
    index[at] = row;
    similarity[at] = value;
}

struct block {
    size_t query, queries, base, bases; /* first row and count of each side */
};

static void merge(const struct metallm__nearest *n, const struct block *b, const float *products,
                  uint32_t *index, float *similarity)
{
    for (size_t q = 0; q < b->queries; q++) {
        size_t query = b->query + q;
        uint32_t *best = index + query * n->k;
        float *value = similarity + query * n->k;
        uint32_t own = n->query_group != NULL ? n->query_group[query] : 0;
        for (size_t j = 0; j < b->bases; j++) {
            float product = products[q * BASE_BLOCK + j];
            if (product > value[n->k - 1] &&
                (n->base_group == NULL || n->base_group[b->base + j] != own))
                insert(best, value, n->k, (uint32_t)(b->base + j), product);
        }
    }
}

int metallm__nearest_find(const struct metallm__nearest *n, uint32_t *index, float *similarity,
                          metallm_error *err)
{
    METALLM_REQUIRE(n->k >= 1 && n->k <= METALLM__NEAREST_MAX && n->base_rows < UINT32_MAX);
    METALLM_REQUIRE((n->base_group == NULL) == (n->query_group == NULL));
    float *products = metallm__alloc_aligned((size_t)QUERY_BLOCK * BASE_BLOCK, sizeof *products);
    if (products == NULL)
        return metallm__error_nomem(err, "similarities");
    for (size_t i = 0; i < n->query_rows * n->k; i++) {
        index[i] = METALLM__NEAREST_NONE;
        similarity[i] = -INFINITY;
    }
    for (size_t query = 0; query < n->query_rows; query += QUERY_BLOCK)
        for (size_t base = 0; base < n->base_rows; base += BASE_BLOCK) {
            struct block b = {query, n->query_rows - query, base, n->base_rows - base};
            b.queries = b.queries < QUERY_BLOCK ? b.queries : QUERY_BLOCK;
            b.bases = b.bases < BASE_BLOCK ? b.bases : BASE_BLOCK;
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)b.queries,
                        (blasint)b.bases, (blasint)n->dim, 1.0f, n->queries + query * n->dim,
                        (blasint)n->dim, n->base + base * n->dim, (blasint)n->dim, 0.0f, products,
                        (blasint)BASE_BLOCK);
            merge(n, &b, products, index, similarity);
        }
    metallm__free(products);
    return METALLM_OK;
}
