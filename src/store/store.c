/* SPDX-License-Identifier: Apache-2.0
 * store.c - see store.h. */
#include "store/store.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "data/read.h"
#include "store/backend.h"

static const struct metallm__store_backend *const backends[] = {&metallm__store_sqlite};

void metallm__store_hash(const void *bytes, size_t len, uint8_t hash[16])
{
    const uint64_t halves[2] = {metallm__hash_bytes(bytes, len, 0x6d6574616c6c6d01u),
                                metallm__hash_bytes(bytes, len, 0x6d6574616c6c6d02u)};
    memcpy(hash, halves, 16);
}

int metallm__store_open(struct metallm__store **out, const char *url, enum metallm__store_mode mode,
                        metallm_error *err)
{
    const struct metallm__store_backend *backend = NULL;
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++)
        if (strncmp(url, backends[i]->scheme, strlen(backends[i]->scheme)) == 0)
            backend = backends[i];
    if (backend == NULL)
        return metallm__error_set(err, METALLM_EINVAL, "no store at '%s': give sqlite:PATH", url);
    const char *place = url + strlen(backend->scheme);
    if (place[0] == '\0')
        return metallm__error_set(err, METALLM_EINVAL, "no path in the store's URL '%s'", url);
    struct metallm__store *s = metallm__calloc(1, sizeof *s);
    if (s == NULL)
        return metallm__error_nomem(err, "a store");
    s->backend = backend;
    int rc = backend->open(&s->state, place, mode, err);
    if (rc != METALLM_OK) {
        metallm__free(s);
        return rc;
    }
    *out = s;
    return METALLM_OK;
}

void metallm__store_close(struct metallm__store *s)
{
    if (s == NULL)
        return;
    s->backend->close(s->state);
    metallm__free(s);
}

void metallm__store_wait(struct metallm__store *s, int wait_ms)
{
    s->backend->wait(s->state, wait_ms);
}

static int put_answer(void *payload, size_t query, uint32_t model, struct metallm__span text,
                      metallm_error *err)
{
    struct metallm__store *s = payload;
    return s->backend->file_answer(s->state, query, model, text, err);
}

static int read_and_commit(struct metallm__store *s, const char *path,
                           const metallm_read_options *opts, struct metallm__store_added *added,
                           metallm_read_report *report, const char **format, metallm_error *err)
{
    const struct metallm__response_sink answers = {put_answer, s};
    metallm_outcomes *o = NULL;
    int rc = metallm_outcomes_new(&o, err);
    if (rc == METALLM_OK)
        rc = metallm__read_file(o, path, opts, &answers, report, format, err);
    if (rc == METALLM_OK)
        rc = s->backend->file_commit(s->state, o, *format, added, err);
    metallm_outcomes_free(o);
    return rc;
}

/* The options that change what a file's rows are. */
static int options_text(const metallm_read_options *opts, struct metallm__buf *out,
                        metallm_error *err)
{
    const char *const texts[] = {opts->format, opts->task, opts->split};
    metallm__buf_init(out, 65536);
    for (size_t i = 0; i < 3; i++) {
        metallm__buf_puts(out, texts[i] != NULL ? texts[i] : "");
        metallm__buf_puts(out, "\n");
    }
    return metallm__buf_check(out, err);
}

int metallm__store_import(struct metallm__store *s, const char *path,
                          const metallm_read_options *opts, struct metallm__store_added *added,
                          metallm_read_report *report, const char **format, metallm_error *err)
{
    char absolute[PATH_MAX];
    struct metallm__store_file file = {.path = realpath(path, absolute)};
    struct metallm__buf options;
    struct metallm__map map;
    bool is_known = false;
    *format = "";
    if (file.path == NULL)
        file.path = path; /* opening it tells why */
    int rc = metallm__map_open(&map, path, err);
    if (rc != METALLM_OK)
        return rc;
    metallm__store_hash(map.bytes, map.len, file.hash);
    metallm__map_close(&map);
    rc = options_text(opts, &options, err);
    if (rc == METALLM_OK) {
        file.options = options.data;
        rc = s->backend->file_begin(s->state, &file, &is_known, added, err);
        if (rc == METALLM_OK && !is_known)
            rc = read_and_commit(s, path, opts, added, report, format, err);
        if (rc != METALLM_OK || is_known)
            s->backend->file_abort(s->state);
    }
    if (rc == METALLM_OK && is_known && report != NULL)
        report->files++;
    metallm__buf_fini(&options);
    return rc;
}

int metallm__store_add(struct metallm__store *s, const char *source, const metallm_outcomes *o,
                       struct metallm__store_added *added, metallm_error *err)
{
    return s->backend->add_rows(s->state, source, o, added, err);
}

int metallm__store_drop(struct metallm__store *s, const char *source, metallm_error *err)
{
    return s->backend->drop_rows(s->state, source, err);
}

int metallm__store_prices(struct metallm__store *s, const char *path,
                          const metallm_read_options *opts, struct metallm__store_added *added,
                          metallm_error *err)
{
    struct metallm__prices prices = {0};
    int day = opts->prices_on == NULL
                  ? metallm__day_today()
                  : metallm__day_parse(opts->prices_on, strlen(opts->prices_on));
    if (day == 0)
        return metallm__error_set(err, METALLM_EINVAL, "'%s' is not a day as YYYY-MM-DD",
                                  opts->prices_on);
    int rc = metallm__prices_read(&prices, path, err);
    if (rc == METALLM_OK)
        rc = s->backend->prices(s->state, &prices, day, added, err);
    metallm__prices_fini(&prices);
    return rc;
}

int metallm__store_summary(struct metallm__store *s, struct metallm__store_summary *out,
                           metallm_error *err)
{
    return s->backend->summary(s->state, out, err);
}

int metallm__store_read(struct metallm__store *s, const char *task, const char *split,
                        metallm_outcomes *o, const metallm_progress *progress, metallm_error *err)
{
    return s->backend->read(s->state, task, split, o, progress, err);
}

int metallm__store_vectors_get(struct metallm__store *s, const struct metallm__store_vectors *v,
                               metallm_error *err)
{
    return s->backend->vectors_get(s->state, v, err);
}

int metallm__store_vectors_put(struct metallm__store *s, const struct metallm__store_vectors *v,
                               metallm_error *err)
{
    return s->backend->vectors_put(s->state, v, err);
}
