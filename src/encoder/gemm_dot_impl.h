/* SPDX-License-Identifier: Apache-2.0
 * gemm_dot_impl.h - the body of gemm_dot.h over DOT(sum, a, w), ZERO, SUM (the vector of sums) and
 * RUN (the function's name). */
#include <immintrin.h>
#include <string.h>

#include "encoder/gemm_dot.h"

#define VECTORS 4 /* of 16 lanes in a block of columns */
#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

/* rows x 64 sums. next: the block to fetch from memory meanwhile, or NULL. */
static inline __attribute__((always_inline)) void tile(uint32_t *c, const uint32_t *a,
                                                       const uint32_t *w, const uint32_t *next,
                                                       uint32_t lanes, uint32_t n, const int rows)
{
    SUM sum[METALLM__DOT_ROWS][VECTORS];
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < VECTORS; v++) sum[r][v] = ZERO;
    for (size_t k = 0; k < lanes; k++) {
        const uint32_t *at = w + k * METALLM__DOT_COLUMNS;
        __m512i weights[VECTORS];
        UNROLL for (int v = 0; v < VECTORS; v++) weights[v] = _mm512_load_si512(at + 16 * v);
        if (next != NULL)
            UNROLL for (int v = 0; v < VECTORS; v++)
                _mm_prefetch((const char *)(next + k * METALLM__DOT_COLUMNS + 16 * v), _MM_HINT_T1);
        UNROLL for (int r = 0; r < rows; r++)
        {
            __m512i lane = _mm512_set1_epi32((int)a[(size_t)r * lanes + k]);
            UNROLL for (int v = 0; v < VECTORS; v++) sum[r][v] = DOT(sum[r][v], lane, weights[v]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < VECTORS; v++)
        memcpy(c + (size_t)r * n + 16 * v, &sum[r][v], sizeof sum[r][v]);
}

typedef void tile_rows(uint32_t *c, const uint32_t *a, const uint32_t *w, const uint32_t *next,
                       uint32_t lanes, uint32_t n);
#define TILE(rows)                                                                                 \
    static __attribute__((noinline)) void tile_##rows(uint32_t *c, const uint32_t *a,              \
                                                      const uint32_t *w, const uint32_t *next,     \
                                                      uint32_t lanes, uint32_t n)                  \
    {                                                                                              \
        tile(c, a, w, next, lanes, n, rows);                                                       \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)
static tile_rows *const tiles[METALLM__DOT_ROWS] = {tile_1, tile_2, tile_3, tile_4, tile_5, tile_6};

void RUN(void *c, const void *a, const void *packed, uint32_t rows, uint32_t lanes, uint32_t n)
{
    const uint32_t count = (rows + METALLM__DOT_ROWS - 1) / METALLM__DOT_ROWS;
    const size_t block = (size_t)lanes * METALLM__DOT_COLUMNS;
    const uint32_t *w = packed;
    for (uint32_t column = 0; column < n; column += METALLM__DOT_COLUMNS, w += block)
        for (uint32_t t = 0, r = 0, height; t < count; t++, r += height) {
            height = (rows - r + count - t - 1) / (count - t); /* as even as can be */
            /* Beyond the last block lie the weights that are wanted next; a fetch cannot fail. */
            tiles[height - 1]((uint32_t *)c + (size_t)r * n + column,
                              (const uint32_t *)a + (size_t)r * lanes, w, t == 0 ? w + block : NULL,
                              lanes, n);
        }
}
