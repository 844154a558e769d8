/* SPDX-License-Identifier: Apache-2.0
 * sym.c - products, rank-one updates and the inverse of symmetric matrices stored by blocks. */
#include "math/sym.h"

#include <math.h>

#include "base/error.h"

/* One cache line; the compiler splits it where the machine's registers are shorter. */
typedef double v8 __attribute__((vector_size(64), may_alias));

/* One body, compiled for each kind of machine; the call picks at run time. Double arithmetic needs
 * no more than AVX and FMA. (clang 14 cannot link target_clones across files.) */
#define BODY static inline __attribute__((always_inline))
#define DISPATCH(type, name, params, args)                                                         \
    __attribute__((target("avx512f"))) static type name##_avx512 params                            \
    {                                                                                              \
        return name##_body args;                                                                   \
    }                                                                                              \
    __attribute__((target("fma"))) static type name##_fma params                                   \
    {                                                                                              \
        return name##_body args;                                                                   \
    }                                                                                              \
    type metallm__##name params                                                                    \
    {                                                                                              \
        if (__builtin_cpu_supports("avx512f"))                                                     \
            return name##_avx512 args;                                                             \
        if (__builtin_cpu_supports("fma"))                                                         \
            return name##_fma args;                                                                \
        return name##_body args;                                                                   \
    }

BODY double sum8(const v8 *x)
{
    return (((*x)[0] + (*x)[4]) + ((*x)[2] + (*x)[6])) +
           (((*x)[1] + (*x)[5]) + ((*x)[3] + (*x)[7]));
}

double metallm__sym_get(const double *a, uint32_t i, uint32_t j)
{
    return i >= j ? a[metallm__sym_at(i) + j] : a[metallm__sym_at(j) + i];
}

BODY double vec_dot_body(const double *x, const double *y, uint32_t dim)
{
    const v8 *u = (const v8 *)x, *w = (const v8 *)y;
    uint32_t blocks = metallm__sym_pad(dim) / 8, b = 0;
    v8 s0 = {0}, s1 = {0};
    for (; b + 1 < blocks; b += 2) {
        s0 += u[b] * w[b];
        s1 += u[b + 1] * w[b + 1];
    }
    if (b < blocks)
        s0 += u[b] * w[b];
    s0 += s1;
    return sum8(&s0);
}

DISPATCH(double, vec_dot, (const double *x, const double *y, uint32_t dim), (x, y, dim))

BODY void vec_axpy_body(double *y, double weight, const double *x, uint32_t dim)
{
    v8 *u = (v8 *)y;
    const v8 *w = (const v8 *)x;
    for (uint32_t b = 0, blocks = metallm__sym_pad(dim) / 8; b < blocks; b++)
        u[b] += weight * w[b];
}

DISPATCH(void, vec_axpy, (double *y, double weight, const double *x, uint32_t dim),
         (y, weight, x, dim))

/* Each block off the diagonal stands for itself and its mirror image: it adds to y by rows
 * (dot products) and by columns. */
BODY void sym_mul_body(const double *a, uint32_t dim, const double *x, double *y)
{
    const uint32_t blocks = metallm__sym_pad(dim) / 8;
    const v8 *xv = (const v8 *)x;
    v8 *yv = (v8 *)y;
    for (uint32_t q = 0; q < blocks; q++) {
        const v8 *row = (const v8 *)(a + metallm__sym_at(8 * q));
        const v8 x_q = xv[q];
        v8 y_q = {0};
        for (uint32_t r = 0; r < 8; r++, row += q + 1) {
            v8 s = row[q] * x_q;
            for (uint32_t b = 0; b < q; b++) {
                s += row[b] * xv[b];
                yv[b] += x_q[r] * row[b];
            }
            y_q[r] = sum8(&s);
        }
        yv[q] = y_q;
    }
}

DISPATCH(void, sym_mul, (const double *a, uint32_t dim, const double *x, double *y), (a, dim, x, y))

BODY double sym_quad_body(const double *a, uint32_t dim, const double *x)
{
    const uint32_t blocks = metallm__sym_pad(dim) / 8;
    const v8 *xv = (const v8 *)x;
    v8 off = {0}, on = {0};
    for (uint32_t q = 0; q < blocks; q++) {
        const v8 *row = (const v8 *)(a + metallm__sym_at(8 * q));
        const double *x_q = x + 8 * q;
        const uint32_t step = q + 1;
        for (uint32_t b = 0; b <= q; b++) {
            const v8 *cell = row + b;
            v8 s0 = x_q[0] * cell[0], s1 = x_q[1] * cell[step];
            s0 += x_q[2] * cell[2 * step];
            s1 += x_q[3] * cell[3 * step];
            s0 += x_q[4] * cell[4 * step];
            s1 += x_q[5] * cell[5 * step];
            s0 += x_q[6] * cell[6 * step];
            s1 += x_q[7] * cell[7 * step];
            s0 += s1;
            if (b < q)
                off += s0 * xv[b];
            else
                on += s0 * xv[b];
        }
    }
    on += 2 * off;
    return sum8(&on);
}

DISPATCH(double, sym_quad, (const double *a, uint32_t dim, const double *x), (a, dim, x))

BODY void sym_rank1_body(double *a, uint32_t dim, double scale, const double *x, double weight)
{
    const uint32_t blocks = metallm__sym_pad(dim) / 8;
    const v8 *xv = (const v8 *)x;
    for (uint32_t q = 0; q < blocks; q++) {
        v8 *row = (v8 *)(a + metallm__sym_at(8 * q));
        for (uint32_t r = 0; r < 8; r++, row += q + 1) {
            const double w = weight * x[8 * q + r];
            for (uint32_t b = 0; b <= q; b++)
                row[b] = scale * row[b] + w * xv[b];
        }
    }
}

DISPATCH(void, sym_rank1, (double *a, uint32_t dim, double scale, const double *x, double weight),
         (a, dim, scale, x, weight))

void metallm__sym_column(const double *a, uint32_t dim, uint32_t i, double *out)
{
    const uint32_t pad = metallm__sym_pad(dim), own = 8 * (i / 8 + 1);
    const double *row = a + metallm__sym_at(i);
    for (uint32_t j = 0; j < own; j++)
        out[j] = row[j];
    for (uint32_t j = own; j < pad; j++)
        out[j] = a[metallm__sym_at(j) + i];
}

BODY void sym_add_body(double *a, uint32_t dim, double scale, const double *b, double weight)
{
    v8 *u = (v8 *)a;
    const v8 *w = (const v8 *)b;
    for (size_t i = 0, n = metallm__sym_size(dim) / 8; i < n; i++)
        u[i] = scale * u[i] + weight * w[i];
}

DISPATCH(void, sym_add, (double *a, uint32_t dim, double scale, const double *b, double weight),
         (a, dim, scale, b, weight))

/* L in the rows of l, zeros right of the diagonal. */
static int cholesky(const double *a, uint32_t dim, const double *ridge, double *l)
{
    const uint32_t pad = metallm__sym_pad(dim);
    for (uint32_t i = 0; i < dim; i++) {
        double *row = l + (size_t)i * pad;
        for (uint32_t j = 0; j < pad; j++)
            row[j] = 0;
        for (uint32_t j = 0; j < i; j++) {
            const double *other = l + (size_t)j * pad;
            row[j] = (a[metallm__sym_at(i) + j] - metallm__vec_dot(row, other, j)) / other[j];
        }
        double d = a[metallm__sym_at(i) + i] + ridge[i] - metallm__vec_dot(row, row, i);
        if (!(d > 0) || !isfinite(d))
            return METALLM_ENUMERIC;
        row[i] = sqrt(d);
    }
    return METALLM_OK;
}

/* Row i of L^-1 = (e_i - sum over j < i of L_ij row j of L^-1) / L_ii, in place of L. The row of L
 * is eaten from the left: row j of L^-1 ends at column j, so L_ik with k > j is still there. */
static void invert_lower(double *l, uint32_t dim)
{
    const uint32_t pad = metallm__sym_pad(dim);
    for (uint32_t i = 0; i < dim; i++) {
        double *row = l + (size_t)i * pad;
        const double d = row[i];
        row[i] = 1;
        for (uint32_t j = 0; j < i; j++) {
            const double w = row[j];
            row[j] = 0;
            metallm__vec_axpy(row, -w, l + (size_t)j * pad, j + 1);
        }
        for (uint32_t j = 0; j <= i; j++)
            row[j] /= d;
    }
}

int metallm__sym_invert(const double *a, uint32_t dim, const double *ridge, double *out,
                        double *scratch, metallm_error *err)
{
    METALLM_REQUIRE(dim >= 1 && dim <= METALLM__SYM_DIM_MAX);
    if (cholesky(a, dim, ridge, scratch) != METALLM_OK)
        return metallm__error_set(err, METALLM_ENUMERIC,
                                  "matrix of %u rows is not positive definite", (unsigned)dim);
    invert_lower(scratch, dim);
    const uint32_t pad = metallm__sym_pad(dim);
    for (size_t i = 0, n = metallm__sym_size(dim); i < n; i++)
        out[i] = 0;
    for (uint32_t k = 0; k < dim; k++) /* out += row k of L^-1, outer product with itself */
        metallm__sym_rank1(out, k + 1, 1, scratch + (size_t)k * pad, 1);
    return METALLM_OK;
}
