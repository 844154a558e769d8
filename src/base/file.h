/* SPDX-License-Identifier: Apache-2.0
 * file.h - reading a file by mapping it, and writing one that appears whole or not at all. */
#ifndef BASE_FILE_H
#define BASE_FILE_H
#include <stdio.h>

#include "metallm/base.h"

/* A read-only mapping. bytes is never NULL, also for an empty file. */
struct metallm__map {
    const char *bytes;
    size_t len;
};
METALLM_MUSTCHECK int metallm__map_open(struct metallm__map *out, const char *path,
                                        metallm_error *err);
void metallm__map_close(struct metallm__map *map); /* a cleared record is fine */
/* The bytes before pos are hardly needed again: the system may take their pages back. */
void metallm__map_passed(const struct metallm__map *map, size_t pos);

/* Writes to a temporary neighbour of path; commit fsyncs and renames it, abort removes it. Until
 * commit the old file stands. */
struct metallm__outfile {
    FILE *stream; /* the caller writes here */
    char *path, *temporary;
};
METALLM_MUSTCHECK int metallm__outfile_open(struct metallm__outfile *out, const char *path,
                                            metallm_error *err);
METALLM_MUSTCHECK int metallm__outfile_commit(struct metallm__outfile *out, metallm_error *err);
void metallm__outfile_abort(
    struct metallm__outfile *out); /* after commit or on a cleared record: fine */

/* The path of name in the cache folder: $METALLM_CACHE, else $XDG_CACHE_HOME/metallm, else
 * ~/.cache/metallm (scripts/cache-dir says the same). The caller frees *out. METALLM_ENOTFOUND:
 * none of the three is known. */
METALLM_MUSTCHECK int metallm__cache_path(char **out, const char *name, metallm_error *err);

#endif
