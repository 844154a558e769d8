/* SPDX-License-Identifier: Apache-2.0
 * files.h - which files are meant by the paths a user gives: files as they are, folders walked in
 * the order of their names' bytes for .csv, .json, .jsonl and .ndjson. */
#ifndef DATA_FILES_H
#define DATA_FILES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metallm/base.h"

#define METALLM__FOLDER_DEPTH_MAX 32u

struct metallm__file {
    char *path;
    uint64_t device, inode;
    bool is_named; /* given by the user, not met in a folder */
};

struct metallm__files { /* a cleared record is an empty list */
    struct metallm__file *items;
    size_t count, cap;
};

/* Adds what path means. A file that is in the list already is passed over (repeats is counted up;
 * may be NULL). METALLM_ENOTFOUND: no such path, or a folder without any such file. */
METALLM_MUSTCHECK int metallm__files_add(struct metallm__files *files, const char *path,
                                         size_t *repeats, metallm_error *err);
void metallm__files_fini(struct metallm__files *files);

#endif
