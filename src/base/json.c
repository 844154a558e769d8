/* SPDX-License-Identifier: Apache-2.0
 * json.c - see json.h. */
#include "base/json.h"

#include "base/error.h"
#include "base/mem.h"

static void *json_malloc(void *ctx, size_t size)
{
    (void)ctx;
    return metallm__alloc(size, 1);
}

static void *json_realloc(void *ctx, void *old, size_t old_size, size_t size)
{
    (void)ctx;
    (void)old_size;
    return metallm__realloc(old, size, 1);
}

static void json_free(void *ctx, void *p)
{
    (void)ctx;
    metallm__free(p);
}

const yyjson_alc metallm__json_alc = {json_malloc, json_realloc, json_free, NULL};

static int read_with(yyjson_doc **out, const char *text, size_t len, yyjson_read_flag flags,
                     metallm_error *err)
{
    yyjson_read_err why = {0};
    /* Without YYJSON_READ_INSITU the text is only read; yyjson's prototype lacks the const. */
    yyjson_doc *doc =
        yyjson_read_opts((char *)(uintptr_t)text, len, flags, &metallm__json_alc, &why);
    if (doc == NULL && why.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION)
        return metallm__error_nomem(err, "a JSON text");
    if (doc == NULL)
        return metallm__error_set(err, METALLM_EFORMAT, "not JSON at byte %zu: %s", why.pos,
                                  why.msg);
    *out = doc;
    return METALLM_OK;
}

int metallm__json_read(yyjson_doc **out, const char *text, size_t len, metallm_error *err)
{
    return read_with(out, text, len, YYJSON_READ_NOFLAG, err);
}

int metallm__json_read_raw(yyjson_doc **out, const char *text, size_t len, metallm_error *err)
{
    return read_with(out, text, len, YYJSON_READ_NUMBER_AS_RAW, err);
}
