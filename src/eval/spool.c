/* SPDX-License-Identifier: Apache-2.0
 * spool.c - see spool.h. */
#include "eval/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"

/* Bytes read after which the pages of a large file are given back. */
#define READ_BYTES_MAX ((size_t)64 << 20)

struct metallm__spool {
    FILE *file; /* NULL once closed */
    void *map;  /* NULL until closed, or when empty */
    size_t row_bytes, count, map_bytes;
    atomic_size_t read_bytes; /* since pages were last given back; as many for a row as the system
                                 brings in */
};

static FILE *open_nameless(metallm_error *err)
{
    const char *folder = getenv("TMPDIR");
    char path[4096];
    if (folder == NULL || folder[0] == '\0')
        folder = "/tmp";
    int n = snprintf(path, sizeof path, "%s/metallm-replay-XXXXXX", folder);
    int fd = n > 0 && (size_t)n < sizeof path ? mkostemp(path, O_CLOEXEC) : -1;
    if (fd < 0) {
        metallm__error_set(err, METALLM_EIO, "cannot make a temporary file in '%s': %s", folder,
                           strerror(errno));
        return NULL;
    }
    unlink(path);
    FILE *f = fdopen(fd, "w+b");
    if (f == NULL) {
        close(fd);
        metallm__error_nomem(err, "a temporary file");
    }
    return f;
}

int metallm__spool_new(struct metallm__spool **out, uint32_t floats, metallm_error *err)
{
    METALLM_REQUIRE(floats >= 1);
    struct metallm__spool *s = metallm__calloc(1, sizeof *s);
    if (s == NULL)
        return metallm__error_nomem(err, "a spool of rows");
    s->row_bytes = floats * sizeof(float);
    s->file = open_nameless(err);
    if (s->file == NULL) {
        metallm__free(s);
        return METALLM_EIO;
    }
    *out = s;
    return METALLM_OK;
}

void metallm__spool_free(struct metallm__spool *s)
{
    if (s == NULL)
        return;
    if (s->file != NULL)
        fclose(s->file);
    if (s->map != NULL)
        munmap(s->map, s->map_bytes);
    metallm__free(s);
}

int metallm__spool_add(struct metallm__spool *s, const float *rows, size_t count,
                       metallm_error *err)
{
    METALLM_REQUIRE(s->file != NULL);
    if (fwrite(rows, s->row_bytes, count, s->file) != count)
        return metallm__error_set(err, METALLM_EIO, "cannot write a temporary file: %s",
                                  strerror(errno));
    s->count += count;
    return METALLM_OK;
}

int metallm__spool_close(struct metallm__spool *s, metallm_error *err)
{
    METALLM_REQUIRE(s->file != NULL);
    s->map_bytes = s->count * s->row_bytes;
    if (fflush(s->file) != 0)
        return metallm__error_set(err, METALLM_EIO, "cannot write a temporary file: %s",
                                  strerror(errno));
    if (s->map_bytes > 0) {
        void *map = mmap(NULL, s->map_bytes, PROT_READ, MAP_SHARED, fileno(s->file), 0);
        if (map == MAP_FAILED)
            return metallm__error_set(err, METALLM_EIO, "cannot map a temporary file: %s",
                                      strerror(errno));
        s->map = map;
    }
    fclose(s->file);
    s->file = NULL;
    return METALLM_OK;
}

size_t metallm__spool_count(const struct metallm__spool *s)
{
    return s->count;
}

const float *metallm__spool_row(const struct metallm__spool *s, size_t i)
{
    METALLM_REQUIRE(s->map != NULL && i < s->count);
    if (s->map_bytes > READ_BYTES_MAX) {
        /* A row out of order brings its page and some around it; rows given out stay valid. */
        struct metallm__spool *counted = (struct metallm__spool *)(uintptr_t)s;
        const size_t bytes =
            atomic_fetch_add_explicit(&counted->read_bytes, 65536, memory_order_relaxed);
        if (bytes > READ_BYTES_MAX && atomic_exchange(&counted->read_bytes, 0) > READ_BYTES_MAX)
            (void)madvise(s->map, s->map_bytes, MADV_DONTNEED);
    }
    return (const float *)((const char *)s->map + i * s->row_bytes);
}
