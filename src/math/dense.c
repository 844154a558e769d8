/* SPDX-License-Identifier: Apache-2.0
 * dense.c - see dense.h. The only file that calls CBLAS and LAPACKE. */
#include "math/dense.h"

#include <cblas.h>
#include <complex.h>
#define LAPACKE_malloc(size) NULL /* its header names malloc, which is banned; we do not use it */
#include <lapacke.h>
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

#define GRAM_BLOCK 512u /* rows widened to double at a time */

/* Up to here rows are multiplied one by one: prompts that are routed come in batches no larger. */
#define ROWS_APART 64u

void metallm__mul_nt(const float *a, const float *b, float *out, size_t n, size_t m, size_t k)
{
    if (n == 0 || m == 0)
        return;
    if (n <= ROWS_APART) { /* b need not be packed; a row's numbers do not depend on the others */
        for (size_t i = 0; i < n; i++)
            cblas_sgemv(CblasRowMajor, CblasNoTrans, (int)m, (int)k, 1, b, (int)k, a + i * k, 1, 0,
                        out + i * m, 1);
        return;
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)m, (int)k, 1, a, (int)k, b,
                (int)k, 0, out, (int)m);
}

void metallm__mul_nn(const float *a, const float *b, float *out, size_t n, size_t m, size_t k)
{
    if (n == 0 || m == 0)
        return;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n, (int)m, (int)k, 1, a, (int)k, b,
                (int)m, 0, out, (int)m);
}

void metallm__mul_tn(const float *a, const float *b, float *out, size_t n, size_t m, size_t k)
{
    if (m == 0 || k == 0)
        return;
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)k, (int)m, (int)n, 1, a, (int)k, b,
                (int)m, 0, out, (int)m);
}

void metallm__column_means(const float *x, size_t n, uint32_t dim, double *mean)
{
    memset(mean, 0, dim * sizeof *mean);
    for (size_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < dim; j++)
            mean[j] += (double)x[i * dim + j];
    for (uint32_t j = 0; j < dim && n > 0; j++)
        mean[j] /= (double)n;
}

int metallm__gram(const float *x, size_t n, uint32_t dim, const double *mean, const double *w,
                  double *gram, metallm_error *err)
{
    METALLM_REQUIRE(dim >= 1 && dim <= METALLM__DENSE_DIM_MAX);
    double *block = metallm__alloc(GRAM_BLOCK * (size_t)dim, sizeof *block);
    if (block == NULL)
        return metallm__error_nomem(err, "a block of rows");
    memset(gram, 0, (size_t)dim * dim * sizeof *gram);
    for (size_t from = 0; from < n; from += GRAM_BLOCK) {
        size_t rows = n - from < GRAM_BLOCK ? n - from : GRAM_BLOCK;
        for (size_t i = 0; i < rows; i++) {
            double root = w == NULL ? 1 : sqrt(w[from + i]);
            const float *row = x + (from + i) * dim;
            for (uint32_t j = 0; j < dim; j++)
                block[i * dim + j] = root * ((double)row[j] - (mean == NULL ? 0 : mean[j]));
        }
        cblas_dsyrk(CblasRowMajor, CblasLower, CblasTrans, (int)dim, (int)rows, 1, block, (int)dim,
                    1, gram, (int)dim);
    }
    for (uint32_t i = 0; i < dim; i++)
        for (uint32_t j = i + 1; j < dim; j++)
            gram[(size_t)i * dim + j] = gram[(size_t)j * dim + i];
    metallm__free(block);
    return METALLM_OK;
}

static int lapack_failed(metallm_error *err, const char *what, lapack_int info)
{
    if (info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR)
        return metallm__error_nomem(err, what);
    return metallm__error_set(err, METALLM_ENUMERIC, "%s failed (LAPACK info %d)", what, (int)info);
}

/* Row-major lower is column-major upper: the data are handed over as they are, so that LAPACKE
 * transposes nothing. */
int metallm__solve_spd(double *a, uint32_t dim, double *b, uint32_t rhs, metallm_error *err)
{
    lapack_int info = LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'U', (int)dim, a, (int)dim);
    if (info == 0 && rhs > 0)
        info = LAPACKE_dpotrs(LAPACK_COL_MAJOR, 'U', (int)dim, (int)rhs, a, (int)dim, b, (int)dim);
    return info == 0 ? METALLM_OK : lapack_failed(err, "solving for the weights", info);
}

int metallm__cholesky(double *a, uint32_t dim, metallm_error *err)
{
    lapack_int info = LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'U', (int)dim, a, (int)dim);
    if (info != 0)
        return lapack_failed(err, "the Cholesky factorisation", info);
    for (uint32_t i = 0; i < dim; i++)
        for (uint32_t j = i + 1; j < dim; j++)
            a[(size_t)i * dim + j] = 0;
    return METALLM_OK;
}

int metallm__invert_lower(double *l, uint32_t dim, metallm_error *err)
{
    lapack_int info = LAPACKE_dtrtri(LAPACK_COL_MAJOR, 'U', 'N', (int)dim, l, (int)dim);
    return info == 0 ? METALLM_OK : lapack_failed(err, "inverting a factor", info);
}

/* Turns v so that its greatest element is positive. */
static void fix_sign(double *v, uint32_t dim)
{
    uint32_t top = 0;
    for (uint32_t j = 1; j < dim; j++)
        if (fabs(v[j]) > fabs(v[top]))
            top = j;
    if (v[top] < 0)
        for (uint32_t j = 0; j < dim; j++)
            v[j] = -v[j];
}

int metallm__eigen_top(double *a, uint32_t dim, uint32_t top, double *values, double *vectors,
                       metallm_error *err)
{
    METALLM_REQUIRE(top >= 1 && top <= dim);
    double *w = metallm__alloc(dim, sizeof *w);
    double *z = metallm__alloc((size_t)dim * top, sizeof *z);
    lapack_int *support = metallm__alloc(2 * (size_t)dim, sizeof *support);
    int rc = METALLM_OK;
    if (w == NULL || z == NULL || support == NULL) {
        rc = metallm__error_nomem(err, "eigenvectors");
        goto out;
    }
    lapack_int found = 0;
    lapack_int info =
        LAPACKE_dsyevr(LAPACK_COL_MAJOR, 'V', 'I', 'U', (int)dim, a, (int)dim, 0, 0,
                       (int)(dim - top + 1), (int)dim, 0, &found, w, z, (int)dim, support);
    if (info != 0 || found != (lapack_int)top) {
        rc = lapack_failed(err, "the eigenvalue decomposition", info);
        goto out;
    }
    for (uint32_t k = 0; k < top; k++) { /* LAPACK's are rising */
        values[k] = w[top - 1 - k];
        memcpy(vectors + (size_t)k * dim, z + (size_t)(top - 1 - k) * dim, dim * sizeof *vectors);
        fix_sign(vectors + (size_t)k * dim, dim);
    }
out:
    metallm__free(w);
    metallm__free(z);
    metallm__free(support);
    return rc;
}

double metallm__sigmoid(double z)
{
    return z >= 0 ? 1 / (1 + exp(-z)) : exp(z) / (1 + exp(z));
}

double metallm__logit(double p)
{
    double q = p < 1e-4 ? 1e-4 : p > 1 - 1e-4 ? 1 - 1e-4 : p;
    return log(q / (1 - q));
}

void metallm__math_threads(int count)
{
    openblas_set_num_threads(count);
}
