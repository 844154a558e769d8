/* SPDX-License-Identifier: Apache-2.0
 * sym.h - symmetric matrices of doubles, for statistics that are updated one vector at a time.
 * Layout: rows in blocks of 8. Row i of block q = i / 8 holds the columns 0 .. 8q + 7, so that the
 * blocks on the diagonal are whole and everything right of them is left out: half the memory and
 * half the work of a full matrix, in cache lines. Vectors are padded to metallm__sym_pad(dim) with
 * zeros; matrices and vectors are aligned to 64 bytes (metallm__alloc_aligned).
 * Vector code is picked at run time (AVX-512, AVX with FMA, or the machine's baseline). */
#ifndef MATH_SYM_H
#define MATH_SYM_H
#include <stddef.h>
#include <stdint.h>

#include "metallm/base.h"

#define METALLM__SYM_DIM_MAX 1024u

static inline uint32_t metallm__sym_pad(uint32_t dim)
{
    return (dim + 7) & ~7u;
}

/* Place of the first column of row i; metallm__sym_at(metallm__sym_pad(dim)) is the size. */
static inline size_t metallm__sym_at(uint32_t i)
{
    size_t q = i / 8, r = i % 8;
    return 32 * q * (q + 1) + 8 * r * (q + 1);
}

/* Doubles in a matrix; those that no row uses are zero. */
static inline size_t metallm__sym_size(uint32_t dim)
{
    return metallm__sym_at(metallm__sym_pad(dim));
}

double metallm__sym_get(const double *a, uint32_t i, uint32_t j);

double metallm__vec_dot(const double *x, const double *y, uint32_t dim);         /* x'y */
void metallm__vec_axpy(double *y, double weight, const double *x, uint32_t dim); /* y += weight x */

void metallm__sym_mul(const double *a, uint32_t dim, const double *x, double *y); /* y = A x */
double metallm__sym_quad(const double *a, uint32_t dim, const double *x);         /* x'A x */
/* A = scale A + weight x x' */
void metallm__sym_rank1(double *a, uint32_t dim, double scale, const double *x, double weight);
void metallm__sym_column(const double *a, uint32_t dim, uint32_t i, double *out); /* A e_i */
/* A = scale A + weight B */
void metallm__sym_add(double *a, uint32_t dim, double scale, const double *b, double weight);

/* out = (A + diag(ridge))^-1 by Cholesky (A = L L', rows by dot products; out = L^-T L^-1).
 * scratch: dim x metallm__sym_pad(dim) doubles, aligned. METALLM_ENUMERIC: not positive definite;
 * out is untouched then. */
METALLM_MUSTCHECK int metallm__sym_invert(const double *a, uint32_t dim, const double *ridge,
                                          double *out, double *scratch, metallm_error *err);
#endif
