/* SPDX-License-Identifier: Apache-2.0
 * gemm.c - see gemm.h. The only file that knows oneDNN (2.6, C interface). Small numbers on CPUs
 * that have instructions for them but no tiles (AMX) take gemm_dot.h's way. */
#include "encoder/gemm.h"

#include <oneapi/dnnl/dnnl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "encoder/arena.h"
#include "encoder/gemm_dot.h"

#define ROW_CLASSES (METALLM__GEMM_ROWS_MAX / METALLM__GEMM_ROW_STEP)

void omp_set_num_threads(int count); /* libgomp, which oneDNN is linked with */
int omp_get_max_threads(void);

static const struct {
    dnnl_data_type_t a, w, c;
} types[METALLM__PRECISION_COUNT] = {
    [METALLM__PRECISION_FP32] = {dnnl_f32, dnnl_f32, dnnl_f32},
    [METALLM__PRECISION_BF16] = {dnnl_bf16, dnnl_bf16, dnnl_f32},
    [METALLM__PRECISION_INT8] = {dnnl_u8, dnnl_s8, dnnl_s32},
};

struct shape {
    uint32_t n, k;
    dnnl_memory_desc_t packed;                   /* one layout for every row count */
    _Atomic(dnnl_primitive_t) rows[ROW_CLASSES]; /* NULL until needed */
};

struct metallm__gemm_library {
    enum metallm__precision precision;
    metallm__dot_run *dot; /* NULL: everything by oneDNN */
    uint32_t per_lane;     /* numbers in one of dot's lanes */
    dnnl_engine_t engine;
    pthread_mutex_t lock; /* while a primitive or shape is made */
    struct shape shapes[METALLM__GEMM_SHAPES_MAX];
    unsigned shape_count;
    struct metallm__arena packed; /* all weights */
};

struct metallm__gemm_weights {
    uint32_t n, k;
    size_t bytes;
    const void *packed;
    bool is_dot; /* packed for the library's dot, else: */
    unsigned shape;
    dnnl_memory_t memory; /* stands for packed */
};

/* Memory objects stand for the caller's A and C of one shape and row class. */
struct slot {
    dnnl_memory_t a, c, scratchpad;
};

struct metallm__gemm_worker {
    struct metallm__gemm_library *lib;
    dnnl_stream_t stream;
    struct slot slots[METALLM__GEMM_SHAPES_MAX][ROW_CLASSES];
};

static int failed(metallm_error *err, dnnl_status_t status, const char *what)
{
    if (status == dnnl_out_of_memory)
        return metallm__error_nomem(err, what);
    if (status == dnnl_unimplemented)
        return metallm__error_set(err, METALLM_EMISMATCH, "oneDNN has no %s on this CPU", what);
    return metallm__error_set(err, METALLM_ENUMERIC, "oneDNN fails at %s (status %d)", what,
                              (int)status);
}

int metallm__gemm_begin(void)
{
    int kept = omp_get_max_threads();
    omp_set_num_threads(1);
    return kept;
}

void metallm__gemm_end(int kept)
{
    omp_set_num_threads(kept);
}

/* ---- library ---- */

/* Has no effect once oneDNN has been used in this process; the level is the same each time. */
static void limit_isa(enum metallm__isa isa)
{
    static const dnnl_cpu_isa_t levels[METALLM__ISA_COUNT] = {
        [METALLM__ISA_SSE] = dnnl_cpu_isa_sse41,
        [METALLM__ISA_AVX2] = dnnl_cpu_isa_avx2,
        [METALLM__ISA_AVX512] = dnnl_cpu_isa_avx512_core,
        [METALLM__ISA_VNNI] = dnnl_cpu_isa_avx512_core_vnni,
        [METALLM__ISA_BF16] = dnnl_cpu_isa_avx512_core_bf16,
        [METALLM__ISA_AMX] = dnnl_cpu_isa_avx512_core_amx,
    };
    dnnl_set_max_cpu_isa(levels[isa]);
}

int metallm__gemm_library_new(struct metallm__gemm_library **out, enum metallm__precision precision,
                              enum metallm__isa isa, metallm_error *err)
{
    struct metallm__gemm_library *lib = metallm__calloc(1, sizeof *lib);
    if (lib == NULL)
        return metallm__error_nomem(err, "an encoder");
    limit_isa(isa);
    lib->precision = precision;
    if (precision == METALLM__PRECISION_INT8 && isa >= METALLM__ISA_VNNI && isa < METALLM__ISA_AMX)
        lib->dot = metallm__dot_int8;
    if (precision == METALLM__PRECISION_BF16 && isa == METALLM__ISA_BF16)
        lib->dot = metallm__dot_bf16;
    lib->per_lane = precision == METALLM__PRECISION_INT8 ? 4 : 2;
    dnnl_status_t status = dnnl_engine_create(&lib->engine, dnnl_cpu, 0);
    if (status != dnnl_success || pthread_mutex_init(&lib->lock, NULL) != 0) {
        dnnl_engine_destroy(lib->engine);
        metallm__free(lib);
        return failed(err, status, "an engine");
    }
    *out = lib;
    return METALLM_OK;
}

void metallm__gemm_library_free(struct metallm__gemm_library *lib)
{
    if (lib == NULL)
        return;
    for (unsigned s = 0; s < lib->shape_count; s++)
        for (unsigned r = 0; r < ROW_CLASSES; r++)
            if (lib->shapes[s].rows[r] != NULL)
                dnnl_primitive_destroy(lib->shapes[s].rows[r]);
    dnnl_engine_destroy(lib->engine);
    pthread_mutex_destroy(&lib->lock);
    metallm__arena_fini(&lib->packed);
    metallm__free(lib);
}

/* Describes the product for one row class. A shape's first call chooses the packed layout. */
static dnnl_status_t describe(const struct metallm__gemm_library *lib, const struct shape *shape,
                              unsigned row_class, const dnnl_memory_desc_t *packed,
                              dnnl_primitive_desc_t *out)
{
    const dnnl_dim_t rows = (dnnl_dim_t)(row_class + 1) * METALLM__GEMM_ROW_STEP;
    dnnl_memory_desc_t a, w, c;
    dnnl_matmul_desc_t product;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_status_t status = dnnl_memory_desc_init_by_tag(&a, 2, (dnnl_dims_t){rows, shape->k},
                                                        types[lib->precision].a, dnnl_ab);
    if (status == dnnl_success)
        status = dnnl_memory_desc_init_by_tag(&w, 2, (dnnl_dims_t){shape->k, shape->n},
                                              types[lib->precision].w, dnnl_format_tag_any);
    if (status == dnnl_success)
        status = dnnl_memory_desc_init_by_tag(&c, 2, (dnnl_dims_t){rows, shape->n},
                                              types[lib->precision].c, dnnl_ab);
    if (status == dnnl_success)
        status = dnnl_matmul_desc_init(&product, &a, packed != NULL ? packed : &w, NULL, &c);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_create(&attr);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (status == dnnl_success)
        status = dnnl_primitive_desc_create(out, &product, attr, lib->engine, NULL);
    dnnl_primitive_attr_destroy(attr);
    return status;
}

/* The index of shape (n, k), made when new; under the lock. */
static int find_shape(struct metallm__gemm_library *lib, uint32_t n, uint32_t k, unsigned *out,
                      metallm_error *err)
{
    for (unsigned s = 0; s < lib->shape_count; s++)
        if (lib->shapes[s].n == n && lib->shapes[s].k == k) {
            *out = s;
            return METALLM_OK;
        }
    METALLM_REQUIRE(lib->shape_count < METALLM__GEMM_SHAPES_MAX);
    struct shape *shape = &lib->shapes[lib->shape_count];
    *shape = (struct shape){.n = n, .k = k};
    dnnl_primitive_desc_t pd;
    dnnl_status_t status = describe(lib, shape, ROW_CLASSES - 1, NULL, &pd);
    if (status != dnnl_success)
        return failed(err, status, "matrix product of this precision");
    shape->packed = *dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    dnnl_primitive_desc_destroy(pd);
    *out = lib->shape_count++;
    return METALLM_OK;
}

/* ---- weights ---- */

static dnnl_status_t reorder(struct metallm__gemm_library *lib, const struct shape *shape,
                             const void *plain, dnnl_memory_t to)
{
    dnnl_memory_desc_t from_desc;
    dnnl_memory_t from = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t copy = NULL;
    dnnl_stream_t stream = NULL;
    /* W (n x k) row-major is W^T (k x n) column-major. */
    dnnl_status_t status = dnnl_memory_desc_init_by_tag(
        &from_desc, 2, (dnnl_dims_t){shape->k, shape->n}, types[lib->precision].w, dnnl_ba);
    if (status == dnnl_success)
        status = dnnl_memory_create(&from, &from_desc, lib->engine, (void *)(uintptr_t)plain);
    if (status == dnnl_success)
        status = dnnl_reorder_primitive_desc_create(&pd, &from_desc, lib->engine, &shape->packed,
                                                    lib->engine, NULL);
    if (status == dnnl_success)
        status = dnnl_primitive_create(&copy, pd);
    if (status == dnnl_success)
        status = dnnl_stream_create(&stream, lib->engine, dnnl_stream_default_flags);
    if (status == dnnl_success) {
        const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
        status = dnnl_primitive_execute(copy, stream, 2, args);
    }
    if (status == dnnl_success)
        status = dnnl_stream_wait(stream);
    dnnl_stream_destroy(stream);
    dnnl_primitive_destroy(copy);
    dnnl_primitive_desc_destroy(pd);
    dnnl_memory_destroy(from);
    return status;
}

void metallm__dot_pack(uint32_t *packed, const uint32_t *plain, uint32_t n, uint32_t lanes)
{
    for (uint32_t block = 0; block < n; block += METALLM__DOT_COLUMNS)
        for (uint32_t k = 0; k < lanes; k++)
            for (uint32_t i = 0; i < METALLM__DOT_COLUMNS; i++)
                *packed++ = plain[(size_t)(block + i) * lanes + k];
}

static void *take_packed(struct metallm__gemm_library *lib, size_t bytes)
{
    pthread_mutex_lock(&lib->lock);
    void *taken = metallm__arena_take(&lib->packed, bytes);
    pthread_mutex_unlock(&lib->lock);
    return taken;
}

/* Weights without their bytes: what they are, and how many bytes they take. */
static int weights_new(struct metallm__gemm_weights **out, struct metallm__gemm_library *lib,
                       uint32_t n, uint32_t k, metallm_error *err)
{
    struct metallm__gemm_weights *w = metallm__calloc(1, sizeof *w);
    if (w == NULL)
        return metallm__error_nomem(err, "packed weights");
    *w = (struct metallm__gemm_weights){.n = n, .k = k};
    w->is_dot = lib->dot != NULL && n % METALLM__DOT_COLUMNS == 0 && k % lib->per_lane == 0;
    w->bytes = (size_t)n * (k / lib->per_lane) * sizeof(uint32_t);
    int rc = METALLM_OK;
    if (!w->is_dot) {
        pthread_mutex_lock(&lib->lock);
        rc = find_shape(lib, n, k, &w->shape, err);
        pthread_mutex_unlock(&lib->lock);
    }
    if (rc != METALLM_OK) {
        metallm__gemm_weights_free(w);
        return rc;
    }
    if (!w->is_dot)
        w->bytes = dnnl_memory_desc_get_size(&lib->shapes[w->shape].packed);
    *out = w;
    return METALLM_OK;
}

static int set_packed(struct metallm__gemm_weights *w, struct metallm__gemm_library *lib,
                      const void *packed, metallm_error *err)
{
    w->packed = packed;
    if (w->is_dot)
        return METALLM_OK;
    /* Weights are an input: the library only reads them. */
    dnnl_status_t status = dnnl_memory_create(&w->memory, &lib->shapes[w->shape].packed,
                                              lib->engine, (void *)(uintptr_t)packed);
    return status == dnnl_success ? METALLM_OK : failed(err, status, "packing of weights");
}

int metallm__gemm_form(struct metallm__gemm_library *lib, uint32_t n, uint32_t k,
                       struct metallm__gemm_form *out, metallm_error *err)
{
    struct metallm__gemm_weights *w = NULL;
    int rc = weights_new(&w, lib, n, k, err);
    if (rc != METALLM_OK)
        return rc;
    const dnnl_version_t *version = dnnl_version();
    uint64_t tag = METALLM__DOT_COLUMNS;
    if (!w->is_dot) {
        const dnnl_memory_desc_t *d = &lib->shapes[w->shape].packed;
        tag = metallm__hash_bytes(d, sizeof *d,
                                  (uint64_t)version->major << 32 | (uint64_t)version->minor << 16 |
                                      (uint64_t)version->patch);
    }
    *out = (struct metallm__gemm_form){.bytes = w->bytes, .tag = tag};
    metallm__gemm_weights_free(w);
    return METALLM_OK;
}

int metallm__gemm_pack(struct metallm__gemm_weights **out, struct metallm__gemm_library *lib,
                       uint32_t n, uint32_t k, const void *plain, metallm_error *err)
{
    struct metallm__gemm_weights *w = NULL;
    int rc = weights_new(&w, lib, n, k, err);
    if (rc != METALLM_OK)
        return rc;
    void *packed = take_packed(lib, w->bytes);
    rc = packed != NULL ? set_packed(w, lib, packed, err)
                        : metallm__error_nomem(err, "packed weights");
    if (rc == METALLM_OK && w->is_dot) {
        metallm__dot_pack(packed, plain, n, k / lib->per_lane);
    } else if (rc == METALLM_OK) {
        dnnl_status_t status = reorder(lib, &lib->shapes[w->shape], plain, w->memory);
        rc = status == dnnl_success ? METALLM_OK : failed(err, status, "packing of weights");
    }
    if (rc != METALLM_OK) {
        metallm__gemm_weights_free(w);
        return rc;
    }
    *out = w;
    return METALLM_OK;
}

int metallm__gemm_adopt(struct metallm__gemm_weights **out, struct metallm__gemm_library *lib,
                        uint32_t n, uint32_t k, const void *packed, metallm_error *err)
{
    struct metallm__gemm_weights *w = NULL;
    int rc = weights_new(&w, lib, n, k, err);
    if (rc == METALLM_OK)
        rc = set_packed(w, lib, packed, err);
    if (rc != METALLM_OK) {
        metallm__gemm_weights_free(w);
        return rc;
    }
    *out = w;
    return METALLM_OK;
}

const void *metallm__gemm_packed(const struct metallm__gemm_weights *w, size_t *bytes)
{
    *bytes = w->bytes;
    return w->packed;
}

void metallm__gemm_weights_free(struct metallm__gemm_weights *w)
{
    if (w == NULL)
        return;
    dnnl_memory_destroy(w->memory);
    metallm__free(w);
}

/* ---- running ---- */

int metallm__gemm_worker_new(struct metallm__gemm_worker **out, struct metallm__gemm_library *lib,
                             metallm_error *err)
{
    struct metallm__gemm_worker *w = metallm__calloc(1, sizeof *w);
    if (w == NULL)
        return metallm__error_nomem(err, "an encoder's thread");
    w->lib = lib;
    dnnl_status_t status = dnnl_stream_create(&w->stream, lib->engine, dnnl_stream_default_flags);
    if (status != dnnl_success) {
        metallm__free(w);
        return failed(err, status, "a stream");
    }
    *out = w;
    return METALLM_OK;
}

void metallm__gemm_worker_free(struct metallm__gemm_worker *w)
{
    if (w == NULL)
        return;
    for (unsigned s = 0; s < METALLM__GEMM_SHAPES_MAX; s++)
        for (unsigned r = 0; r < ROW_CLASSES; r++) {
            dnnl_memory_destroy(w->slots[s][r].a);
            dnnl_memory_destroy(w->slots[s][r].c);
            dnnl_memory_destroy(w->slots[s][r].scratchpad);
        }
    dnnl_stream_destroy(w->stream);
    metallm__free(w);
}

/* The primitive of a shape and row class, made on first use. */
static int get_primitive(struct metallm__gemm_library *lib, struct shape *shape, unsigned row_class,
                         dnnl_primitive_t *out, metallm_error *err)
{
    dnnl_primitive_t p = atomic_load_explicit(&shape->rows[row_class], memory_order_acquire);
    if (p != NULL) {
        *out = p;
        return METALLM_OK;
    }
    dnnl_status_t status = dnnl_success;
    pthread_mutex_lock(&lib->lock);
    p = atomic_load_explicit(&shape->rows[row_class], memory_order_relaxed);
    if (p == NULL) {
        dnnl_primitive_desc_t pd = NULL;
        status = describe(lib, shape, row_class, &shape->packed, &pd);
        if (status == dnnl_success)
            status = dnnl_primitive_create(&p, pd);
        dnnl_primitive_desc_destroy(pd);
        if (status == dnnl_success)
            atomic_store_explicit(&shape->rows[row_class], p, memory_order_release);
    }
    pthread_mutex_unlock(&lib->lock);
    if (status != dnnl_success)
        return failed(err, status, "matrix product of this precision");
    *out = p;
    return METALLM_OK;
}

static dnnl_status_t fill_slot(struct slot *slot, dnnl_primitive_t p, dnnl_engine_t engine)
{
    const_dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = dnnl_primitive_get_primitive_desc(p, &pd);
    struct slot fresh = {0};
    if (status == dnnl_success)
        status =
            dnnl_memory_create(&fresh.a, dnnl_primitive_desc_query_md(pd, dnnl_query_src_md, 0),
                               engine, DNNL_MEMORY_NONE);
    if (status == dnnl_success)
        status =
            dnnl_memory_create(&fresh.c, dnnl_primitive_desc_query_md(pd, dnnl_query_dst_md, 0),
                               engine, DNNL_MEMORY_NONE);
    if (status == dnnl_success)
        status = dnnl_memory_create(&fresh.scratchpad,
                                    dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0),
                                    engine, DNNL_MEMORY_ALLOCATE);
    if (status == dnnl_success) {
        *slot = fresh;
        return status;
    }
    dnnl_memory_destroy(fresh.a);
    dnnl_memory_destroy(fresh.c);
    return status;
}

int metallm__gemm_run(struct metallm__gemm_worker *worker, const struct metallm__gemm_weights *w,
                      const void *a, uint32_t rows, void *c, metallm_error *err)
{
    METALLM_REQUIRE(rows >= 1 && rows <= METALLM__GEMM_ROWS_MAX);
    if (w->is_dot) {
        const struct metallm__gemm_library *lib = worker->lib;
        lib->dot(c, a, w->packed, rows, w->k / lib->per_lane, w->n);
        return METALLM_OK;
    }
    unsigned row_class = (rows - 1) / METALLM__GEMM_ROW_STEP;
    dnnl_primitive_t p = NULL;
    int rc = get_primitive(worker->lib, &worker->lib->shapes[w->shape], row_class, &p, err);
    if (rc != METALLM_OK)
        return rc;
    struct slot *slot = &worker->slots[w->shape][row_class];
    dnnl_status_t status = dnnl_success;
    if (slot->a == NULL)
        status = fill_slot(slot, p, worker->lib->engine);
    if (status == dnnl_success)
        status = dnnl_memory_set_data_handle(slot->a, (void *)(uintptr_t)a);
    if (status == dnnl_success)
        status = dnnl_memory_set_data_handle(slot->c, c);
    if (status == dnnl_success) {
        const dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, slot->a},
                                        {DNNL_ARG_WEIGHTS, w->memory},
                                        {DNNL_ARG_DST, slot->c},
                                        {DNNL_ARG_SCRATCHPAD, slot->scratchpad}};
        status = dnnl_primitive_execute(p, worker->stream, 4, args);
    }
    return status == dnnl_success ? METALLM_OK : failed(err, status, "a matrix product");
}
