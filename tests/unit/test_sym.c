/* SPDX-License-Identifier: Apache-2.0
 * test_sym.c - symmetric matrices by blocks against the plain definition, at sizes around the
 * block. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "math/sym.h"
#include "support/cmocka_all.h"
#include "support/near.h"

enum { DIM_MAX = 41 };
static const uint32_t dims[] = {1, 2, 7, 8, 9, 16, 23, 33, DIM_MAX};
#define EACH_DIM(k)                                                                                \
    size_t k = 0;                                                                                  \
    k < sizeof dims / sizeof dims[0];                                                              \
    k++

/* A random symmetric matrix in both forms; rows of full are DIM_MAX apart. */
struct pair {
    double *sym, *x, *y;
    double full[DIM_MAX][DIM_MAX];
    uint32_t dim;
};

static double *zeros(size_t count)
{
    double *v = metallm__alloc_aligned(count, sizeof *v);
    assert_non_null(v);
    memset(v, 0, count * sizeof *v);
    return v;
}

static struct pair *pair_new(uint32_t dim, uint64_t seed)
{
    metallm_rng rng;
    metallm_rng_seed(&rng, seed);
    struct pair *p = metallm__calloc(1, sizeof *p);
    assert_non_null(p);
    p->dim = dim;
    p->sym = zeros(metallm__sym_size(dim));
    p->x = zeros(metallm__sym_pad(dim));
    p->y = zeros(metallm__sym_pad(dim));
    for (uint32_t n = 0; n < 2 * dim; n++) { /* a sum of outer products */
        for (uint32_t i = 0; i < dim; i++)
            p->x[i] = metallm__rng_normal(&rng);
        metallm__sym_rank1(p->sym, dim, 0.9, p->x, 0.5);
        for (uint32_t i = 0; i < dim; i++)
            for (uint32_t j = 0; j < dim; j++)
                p->full[i][j] = 0.9 * p->full[i][j] + 0.5 * p->x[i] * p->x[j];
    }
    return p;
}

static void pair_free(struct pair *p)
{
    metallm__free(p->sym);
    metallm__free(p->x);
    metallm__free(p->y);
    metallm__free(p);
}

static void rank_one_updates_match_the_definition(void **state)
{
    (void)state;
    for (EACH_DIM(k)) {
        struct pair *p = pair_new(dims[k], 3 + k);
        for (uint32_t i = 0; i < p->dim; i++)
            for (uint32_t j = 0; j < p->dim; j++)
                assert_near(metallm__sym_get(p->sym, i, j), p->full[i][j], 1e-12);
        pair_free(p);
    }
}

static void products_match_the_definition(void **state)
{
    (void)state;
    for (EACH_DIM(k)) {
        struct pair *p = pair_new(dims[k], 17 + k);
        double quad = 0;
        metallm__sym_mul(p->sym, p->dim, p->x, p->y);
        for (uint32_t i = 0; i < p->dim; i++) {
            double want = 0;
            for (uint32_t j = 0; j < p->dim; j++)
                want += p->full[i][j] * p->x[j];
            assert_near(p->y[i], want, 1e-11);
            quad += want * p->x[i];
        }
        for (uint32_t i = p->dim; i < metallm__sym_pad(p->dim); i++)
            assert_true(p->y[i] == 0);
        assert_near(metallm__sym_quad(p->sym, p->dim, p->x), quad, 1e-10);
        assert_near(metallm__vec_dot(p->x, p->y, p->dim), quad, 1e-10);
        for (uint32_t i = 0; i < p->dim; i++) {
            metallm__sym_column(p->sym, p->dim, i, p->y);
            for (uint32_t j = 0; j < p->dim; j++)
                assert_near(p->y[j], p->full[i][j], 1e-12);
        }
        pair_free(p);
    }
}

static void inverse_times_matrix_is_the_identity(void **state)
{
    (void)state;
    for (EACH_DIM(k)) {
        struct pair *p = pair_new(dims[k], 29 + k);
        const uint32_t dim = p->dim, pad = metallm__sym_pad(dim);
        double *inverse = zeros(metallm__sym_size(dim)), *scratch = zeros((size_t)dim * pad);
        double *ridge = zeros(pad);
        for (uint32_t i = 0; i < dim; i++)
            ridge[i] = 0.1 + i;
        assert_int_equal(metallm__sym_invert(p->sym, dim, ridge, inverse, scratch, NULL),
                         METALLM_OK);
        for (uint32_t i = 0; i < dim; i++)
            for (uint32_t j = 0; j < dim; j++) {
                double s = 0;
                for (uint32_t c = 0; c < dim; c++)
                    s +=
                        (p->full[i][c] + (i == c ? ridge[i] : 0)) * metallm__sym_get(inverse, c, j);
                assert_near(s, i == j, 1e-9);
            }
        metallm__free(inverse);
        metallm__free(scratch);
        metallm__free(ridge);
        pair_free(p);
    }
}

static void indefinite_matrix_is_refused_and_the_output_kept(void **state)
{
    (void)state;
    struct pair *p = pair_new(9, 5);
    double *scratch = zeros((size_t)9 * 16), *ridge = zeros(16);
    double *inverse = zeros(metallm__sym_size(9));
    inverse[0] = 42;
    ridge[4] = -1e6;
    metallm_error err = {0};
    assert_int_equal(metallm__sym_invert(p->sym, 9, ridge, inverse, scratch, &err),
                     METALLM_ENUMERIC);
    assert_non_null(strstr(err.message, "positive definite"));
    assert_true(inverse[0] == 42);
    ridge[4] = NAN;
    assert_int_equal(metallm__sym_invert(p->sym, 9, ridge, inverse, scratch, NULL),
                     METALLM_ENUMERIC);
    metallm__free(scratch);
    metallm__free(ridge);
    metallm__free(inverse);
    pair_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rank_one_updates_match_the_definition),
        cmocka_unit_test(products_match_the_definition),
        cmocka_unit_test(inverse_times_matrix_is_the_identity),
        cmocka_unit_test(indefinite_matrix_is_refused_and_the_output_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
