/* SPDX-License-Identifier: Apache-2.0
 * tensors.c - see tensors.h. */
#include "router/tensors.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

static void full_name(char *out, const char *prefix, const char *name)
{
    (void)snprintf(out, METALLM__TENSOR_NAME_BYTES, "%s.%s", prefix, name);
}

static int put(struct metallm__st_writer *w, const char *prefix, const char *name,
               enum metallm__dtype dtype, const size_t shape[2], const void *data,
               metallm_error *err)
{
    char full[METALLM__TENSOR_NAME_BYTES];
    full_name(full, prefix, name);
    return metallm__st_put(w, full, dtype, 2, shape, data, err);
}

int metallm__put_f32(struct metallm__st_writer *w, const char *prefix, const char *name,
                     size_t rows, size_t columns, const float *data, metallm_error *err)
{
    return put(w, prefix, name, METALLM__F32, (const size_t[]){rows, columns}, data, err);
}

int metallm__put_i32(struct metallm__st_writer *w, const char *prefix, const char *name,
                     size_t rows, size_t columns, const int32_t *data, metallm_error *err)
{
    return put(w, prefix, name, METALLM__I32, (const size_t[]){rows, columns}, data, err);
}

static int get(const struct metallm__st_file *f, const char *prefix, const char *name,
               enum metallm__dtype dtype, size_t *rows, size_t *columns, void **out,
               metallm_error *err)
{
    char full[METALLM__TENSOR_NAME_BYTES];
    full_name(full, prefix, name);
    struct metallm__tensor t;
    int rc = metallm__st_get(f, full, dtype, 2, (const size_t[]){*rows, *columns}, &t, err);
    if (rc != METALLM_OK)
        return rc;
    void *copy = metallm__alloc_aligned(t.count + 1, 4); /* both kinds are 4 bytes wide */
    if (copy == NULL)
        return metallm__error_nomem(err, "a tensor");
    memcpy(copy, t.data, t.count * 4);
    *rows = t.shape[0];
    *columns = t.shape[1];
    *out = copy;
    return METALLM_OK;
}

int metallm__get_f32(const struct metallm__st_file *f, const char *prefix, const char *name,
                     size_t *rows, size_t *columns, float **out, metallm_error *err)
{
    void *copy = NULL;
    int rc = get(f, prefix, name, METALLM__F32, rows, columns, &copy, err);
    if (rc != METALLM_OK)
        return rc;
    const float *values = copy;
    for (size_t i = 0; i < *rows * *columns; i++)
        if (!isfinite(values[i])) {
            metallm__free(copy);
            return metallm__error_set(err, METALLM_EFORMAT,
                                      "tensor '%s.%s' holds a number that is not finite", prefix,
                                      name);
        }
    *out = copy;
    return METALLM_OK;
}

int metallm__get_i32(const struct metallm__st_file *f, const char *prefix, const char *name,
                     size_t *rows, size_t *columns, int32_t **out, metallm_error *err)
{
    void *copy = NULL;
    int rc = get(f, prefix, name, METALLM__I32, rows, columns, &copy, err);
    if (rc == METALLM_OK)
        *out = copy;
    return rc;
}
