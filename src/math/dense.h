/* SPDX-License-Identifier: Apache-2.0
 * dense.h - dense matrices for training and for prediction in batches, over BLAS and LAPACK.
 * Matrices are row-major without gaps. Sums run in double precision over blocks of rows, so that
 * memory beyond the operands is bounded whatever the number of rows. */
#ifndef MATH_DENSE_H
#define MATH_DENSE_H
#include <stddef.h>
#include <stdint.h>

#include "metallm/base.h"

/* Longest vector and largest factor that the training code makes. */
#define METALLM__DENSE_DIM_MAX 4096u

/* out (n x m) = a (n x k) b' where b is m x k. */
void metallm__mul_nt(const float *a, const float *b, float *out, size_t n, size_t m, size_t k);
/* out (n x m) = a (n x k) b where b is k x m. */
void metallm__mul_nn(const float *a, const float *b, float *out, size_t n, size_t m, size_t k);
/* out (k x m) = a' b where a is n x k and b is n x m. */
void metallm__mul_tn(const float *a, const float *b, float *out, size_t n, size_t m, size_t k);

/* Mean of each column of x (n x dim). */
void metallm__column_means(const float *x, size_t n, uint32_t dim, double *mean);

/* gram (dim x dim, both halves) = sum over rows w_i (x_i - mean)(x_i - mean)'. mean NULL: zero;
 * w NULL: ones, else w_i >= 0. METALLM_ENOMEM. */
METALLM_MUSTCHECK int metallm__gram(const float *x, size_t n, uint32_t dim, const double *mean,
                                    const double *w, double *gram, metallm_error *err);

/* Solves a x = b in place of b; a is symmetric and positive definite (dim x dim) and is
 * overwritten by its factor; b is rhs x dim, one right-hand side a row.
 * METALLM_ENUMERIC: a is not positive definite. */
METALLM_MUSTCHECK int metallm__solve_spd(double *a, uint32_t dim, double *b, uint32_t rhs,
                                         metallm_error *err);
/* a (dim x dim) = L L'; L in the lower half, zeros above. METALLM_ENUMERIC as above. */
METALLM_MUSTCHECK int metallm__cholesky(double *a, uint32_t dim, metallm_error *err);
/* inverse (lower, zeros above) of the lower factor l, in place. */
METALLM_MUSTCHECK int metallm__invert_lower(double *l, uint32_t dim, metallm_error *err);

/* The `top` largest eigenvalues of symmetric a (dim x dim, overwritten), falling, and their
 * vectors: vectors is top x dim, a unit vector a row whose greatest element is positive, so that
 * equal input gives equal signs. */
METALLM_MUSTCHECK int metallm__eigen_top(double *a, uint32_t dim, uint32_t top, double *values,
                                         double *vectors, metallm_error *err);

double metallm__sigmoid(double z);
double metallm__logit(double p); /* p is taken into [1e-4, 1 - 1e-4] first */

/* How many threads the library of linear algebra may use, in the whole process: a server whose
 * threads are all its own says 1. */
void metallm__math_threads(int count);

#endif
