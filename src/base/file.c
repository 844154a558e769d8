/* SPDX-License-Identifier: Apache-2.0
 * file.c - see file.h. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"

static int system_error(metallm_error *err, const char *verb, const char *path)
{
    int code = errno == ENOENT ? METALLM_ENOTFOUND : METALLM_EIO;
    return metallm__error_set(err, code, "cannot %s '%s': %s", verb, path, strerror(errno));
}

int metallm__map_open(struct metallm__map *out, const char *path, metallm_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return system_error(err, "open", path);
    struct stat st;
    int rc = METALLM_OK;
    struct metallm__map map = {.bytes = ""};
    if (fstat(fd, &st) != 0) {
        rc = system_error(err, "examine", path);
    } else if (!S_ISREG(st.st_mode)) {
        rc = metallm__error_set(err, METALLM_EIO, "cannot read '%s': not a regular file", path);
    } else if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED)
            rc = system_error(err, "map", path);
        else
            map = (struct metallm__map){.bytes = p, .len = (size_t)st.st_size};
    }
    close(fd);
    if (rc == METALLM_OK)
        *out = map;
    return rc;
}

void metallm__map_passed(const struct metallm__map *map, size_t pos)
{
    const size_t whole = (pos < map->len ? pos : map->len) & ~(size_t)0xffff; /* pages and more */
    if (whole > 0)
        (void)madvise((void *)(uintptr_t)map->bytes, whole, MADV_DONTNEED);
}

void metallm__map_close(struct metallm__map *map)
{
    if (map->len > 0)
        munmap((void *)(uintptr_t)map->bytes, map->len);
    *map = (struct metallm__map){.bytes = ""};
}

/* A file beside path that nobody else has, named in name; -1: errno says why. */
static int create_beside(char *name, size_t size, const char *path)
{
    int fd = -1;
    for (unsigned attempt = 0; fd < 0 && attempt < 100; attempt++) {
        snprintf(name, size, "%s.%ld.%u", path, (long)getpid(), attempt);
        fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST)
            return -1;
    }
    return fd;
}

int metallm__outfile_open(struct metallm__outfile *out, const char *path, metallm_error *err)
{
    size_t len = strlen(path);
    struct metallm__outfile file = {.path = metallm__strdup(path),
                                    .temporary = metallm__alloc(len + 32, 1)};
    if (file.path == NULL || file.temporary == NULL) {
        metallm__outfile_abort(&file);
        return metallm__error_nomem(err, "a file name");
    }
    int fd = create_beside(file.temporary, len + 32, path);
    if (fd < 0 || (file.stream = fdopen(fd, "wb")) == NULL) {
        int rc = system_error(err, "create", path);
        if (fd >= 0) {
            close(fd);
            unlink(file.temporary);
        }
        metallm__free(file.temporary);
        file.temporary = NULL;
        metallm__outfile_abort(&file);
        return rc;
    }
    *out = file;
    return METALLM_OK;
}

int metallm__outfile_commit(struct metallm__outfile *out, metallm_error *err)
{
    errno = EIO;
    int failed = ferror(out->stream) || fflush(out->stream) != 0 || fsync(fileno(out->stream)) != 0;
    int kept = errno;
    if (fclose(out->stream) != 0 && !failed) {
        failed = 1;
        kept = errno;
    }
    out->stream = NULL;
    errno = kept;
    if (failed || rename(out->temporary, out->path) != 0) {
        int rc = system_error(err, "write", out->path);
        metallm__outfile_abort(out);
        return rc;
    }
    metallm__free(out->temporary);
    metallm__free(out->path);
    *out = (struct metallm__outfile){0};
    return METALLM_OK;
}

void metallm__outfile_abort(struct metallm__outfile *out)
{
    if (out->stream != NULL)
        fclose(out->stream);
    if (out->temporary != NULL)
        unlink(out->temporary);
    metallm__free(out->temporary);
    metallm__free(out->path);
    *out = (struct metallm__outfile){0};
}

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

int metallm__cache_path(char **out, const char *name, metallm_error *err)
{
    const char *own = variable("METALLM_CACHE"), *caches = variable("XDG_CACHE_HOME");
    const char *home = variable("HOME");
    if (own == NULL && caches == NULL && home == NULL)
        return metallm__error_set(err, METALLM_ENOTFOUND,
                                  "no cache folder: set METALLM_CACHE (HOME is not set either)");
    const char *base = own != NULL ? own : caches != NULL ? caches : home;
    const char *middle = own != NULL ? "" : caches != NULL ? "/metallm" : "/.cache/metallm";
    size_t size = strlen(base) + strlen(middle) + strlen(name) + 2;
    char *path = metallm__alloc(size, 1);
    if (path == NULL)
        return metallm__error_nomem(err, "a file name");
    snprintf(path, size, "%s%s/%s", base, middle, name);
    *out = path;
    return METALLM_OK;
}
