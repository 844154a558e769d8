/* SPDX-License-Identifier: Apache-2.0
 * files.c - see files.h. */
#include "data/files.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/mem.h"

static int system_error(metallm_error *err, const char *path)
{
    int code = errno == ENOENT ? METALLM_ENOTFOUND : METALLM_EIO;
    return metallm__error_set(err, code, "cannot open '%s': %s", path, strerror(errno));
}

static bool has_known_ending(const char *name)
{
    static const char *const endings[] = {".csv", ".json", ".jsonl", ".ndjson"};
    size_t len = strlen(name);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t end = strlen(endings[i]);
        if (len > end && strcasecmp(name + len - end, endings[i]) == 0)
            return true;
    }
    return false;
}

static int add_file(struct metallm__files *files, const char *path, const struct stat *st,
                    bool is_named, size_t *repeats, metallm_error *err)
{
    for (size_t i = 0; i < files->count; i++)
        if (files->items[i].device == st->st_dev && files->items[i].inode == st->st_ino) {
            if (repeats != NULL)
                *repeats += 1;
            return METALLM_OK;
        }
    void *items = files->items;
    if (metallm__grow(&items, &files->cap, files->count + 1, sizeof *files->items) != 0)
        return metallm__error_nomem(err, "a list of files");
    files->items = items;
    char *copy = metallm__strdup(path);
    if (copy == NULL)
        return metallm__error_nomem(err, "a file name");
    files->items[files->count++] =
        (struct metallm__file){copy, (uint64_t)st->st_dev, (uint64_t)st->st_ino, is_named};
    return METALLM_OK;
}

static int not_hidden(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int walk(struct metallm__files *files, const char *folder, unsigned depth, size_t *repeats,
                metallm_error *err);

static int visit(struct metallm__files *files, const char *folder, const char *name, unsigned depth,
                 size_t *repeats, metallm_error *err)
{
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = metallm__alloc(size, 1);
    if (path == NULL)
        return metallm__error_nomem(err, "a file name");
    const char *slash = folder[0] != '\0' && folder[strlen(folder) - 1] == '/' ? "" : "/";
    snprintf(path, size, "%s%s%s", folder, slash, name);
    struct stat st;
    int rc = METALLM_OK;
    if (stat(path, &st) != 0)
        rc = errno == ENOENT ? METALLM_OK : system_error(err, path); /* a dangling link */
    else if (S_ISDIR(st.st_mode))
        rc = walk(files, path, depth + 1, repeats, err);
    else if (S_ISREG(st.st_mode) && has_known_ending(name))
        rc = add_file(files, path, &st, false, repeats, err);
    metallm__free(path);
    return rc;
}

static int walk(struct metallm__files *files, const char *folder, unsigned depth, size_t *repeats,
                metallm_error *err)
{
    if (depth > METALLM__FOLDER_DEPTH_MAX)
        return metallm__error_set(err, METALLM_ELIMIT, "'%s' lies more than %u folders deep",
                                  folder, METALLM__FOLDER_DEPTH_MAX);
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, not_hidden, by_bytes);
    if (count < 0)
        return system_error(err, folder);
    int rc = METALLM_OK;
    for (int i = 0; i < count; i++) {
        if (rc == METALLM_OK)
            rc = visit(files, folder, entries[i]->d_name, depth, repeats, err);
        free(entries[i]); /* scandir's own, not base/mem.h's */
    }
    free(entries);
    return rc;
}

int metallm__files_add(struct metallm__files *files, const char *path, size_t *repeats,
                       metallm_error *err)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return system_error(err, path);
    if (!S_ISDIR(st.st_mode))
        return add_file(files, path, &st, true, repeats, err);
    size_t before = files->count, repeated = 0;
    int rc = walk(files, path, 0, &repeated, err);
    if (rc == METALLM_OK && files->count == before && repeated == 0)
        return metallm__error_set(err, METALLM_ENOTFOUND,
                                  "no .csv, .json or .jsonl file below '%s'", path);
    if (repeats != NULL)
        *repeats += repeated;
    return rc;
}

void metallm__files_fini(struct metallm__files *files)
{
    for (size_t i = 0; i < files->count; i++)
        metallm__free(files->items[i].path);
    metallm__free(files->items);
    *files = (struct metallm__files){0};
}
