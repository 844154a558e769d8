/* SPDX-License-Identifier: Apache-2.0
 * read.c - tells a file's format from its bytes and hands it to its importer. */
#include "data/read.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "data/formats.h"
#include "data/prices.h"

/* A new format is a file and a line here; the order decides which one is asked first. */
static const struct metallm__format *const formats[] = {
    &metallm__format_routerbench,  &metallm__format_routellm,  &metallm__format_routerdc,
    &metallm__format_paretobandit, &metallm__format_llmrouter, &metallm__format_routerarena,
    &metallm__format_long,         &metallm__format_wide,
};
#define FORMAT_COUNT (sizeof formats / sizeof *formats)

const char *metallm_format_name(size_t i)
{
    return i < FORMAT_COUNT ? formats[i]->name : NULL;
}

size_t metallm__probe_column(const struct metallm__probe *probe, const char *name)
{
    for (size_t i = 0; i < probe->columns; i++)
        if (metallm__span_is(probe->header[i], name))
            return i;
    return SIZE_MAX;
}

static const struct metallm__format *known_by(const struct metallm__probe *probe)
{
    for (size_t i = 0; i < FORMAT_COUNT; i++)
        if (formats[i]->knows(probe))
            return formats[i];
    return NULL;
}

static const struct metallm__format *find_format(const char *name)
{
    for (size_t i = 0; i < FORMAT_COUNT; i++)
        if (strcmp(formats[i]->name, name) == 0)
            return formats[i];
    return NULL;
}

/* RouterArena's cost file: {"MODEL": {"input_token_price_per_million": ...}, ...}. */
static bool is_cost_record(yyjson_val *record)
{
    size_t i, n;
    yyjson_val *key, *value;
    yyjson_obj_foreach(record, i, n, key, value)
    {
        return yyjson_obj_get(value, "input_token_price_per_million") != NULL;
    }
    return false;
}

/* What the file turned out to be; shown names what was seen where it is nothing known. */
struct recognised {
    const struct metallm__format *format;
    bool is_cost_file;
    char shown[METALLM__SHOWN_BYTES];
};

static int recognise_json(const struct metallm__map *map, struct recognised *out,
                          metallm_error *err)
{
    struct metallm__records records;
    metallm__records_init(&records, map->bytes, map->len);
    for (unsigned tries = 0; tries < 16; tries++) { /* the first records may be broken */
        yyjson_doc *doc = NULL;
        enum metallm__records_state state;
        int rc = metallm__records_next(&records, &doc, &state, err);
        if (rc != METALLM_OK)
            return rc;
        if (state == METALLM__RECORDS_END || state == METALLM__RECORDS_LOST)
            break;
        yyjson_val *record = yyjson_doc_get_root(doc);
        if (yyjson_is_obj(record)) {
            out->format = known_by(&(struct metallm__probe){.record = record});
            out->is_cost_file = out->format == NULL && is_cost_record(record);
        }
        metallm__text_show(out->shown, records.text);
        yyjson_doc_free(doc);
        if (out->format != NULL || out->is_cost_file)
            break;
    }
    return METALLM_OK;
}

static int recognise_csv(const struct metallm__map *map, struct recognised *out, metallm_error *err)
{
    struct metallm__csv header, both;
    enum metallm__csv_state state;
    metallm__csv_init(&header, map->bytes, map->len);
    metallm__csv_init(&both, map->bytes, map->len);
    int rc = metallm__csv_next(&header, &state, err);
    if (rc == METALLM_OK && state == METALLM__CSV_RECORD) {
        rc = metallm__csv_next(&both, &state, err);
        if (rc == METALLM_OK)
            rc = metallm__csv_next(&both, &state, err);
        const struct metallm__probe probe = {
            .header = header.fields,
            .columns = header.field_count,
            .first = both.fields,
            .first_count = state == METALLM__CSV_RECORD ? both.field_count : 0,
        };
        if (rc == METALLM_OK)
            out->format = known_by(&probe);
        const char *end = memchr(map->bytes, '\n', map->len);
        metallm__text_show(out->shown,
                           metallm__span_trim((struct metallm__span){
                               map->bytes, end != NULL ? (size_t)(end - map->bytes) : map->len}));
    }
    metallm__csv_fini(&both);
    metallm__csv_fini(&header);
    return rc;
}

static int recognise(const struct metallm__map *map, struct recognised *out, metallm_error *err)
{
    struct metallm__records records;
    *out = (struct recognised){0};
    metallm__records_init(&records, map->bytes, map->len);
    return records.kind != METALLM__RECORDS_NONE ? recognise_json(map, out, err)
                                                 : recognise_csv(map, out, err);
}

/* The task of rows that name none: the file's name, or the folder's where the file is only called
 * after its split. NULL: no memory. */
static char *task_of(const char *path, const char *file)
{
    static const char *const splits[] = {"train", "test",       "val", "valid",
                                         "dev",   "validation", "data"};
    const char *dot = strrchr(file, '.');
    size_t len = dot != NULL && dot != file ? (size_t)(dot - file) : strlen(file);
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
        if (!metallm__span_is((struct metallm__span){file, len}, splits[i]) || file == path)
            continue;
        const char *end = file - 1, *start = end;
        while (start > path && start[-1] != '/')
            start--;
        if (end > start && start[0] != '.')
            return metallm__strndup(start, (size_t)(end - start));
    }
    return metallm__strndup(file, len);
}

static int price_day(const metallm_read_options *opts, int *day, metallm_error *err)
{
    *day = opts->prices_on == NULL ? metallm__day_today()
                                   : metallm__day_parse(opts->prices_on, strlen(opts->prices_on));
    if (*day == 0)
        return metallm__error_set(err, METALLM_EINVAL, "'%s' is not a day as YYYY-MM-DD",
                                  opts->prices_on);
    return METALLM_OK;
}

/* One message for each model that has calls of unknown cost and no price. */
static int tell_unpriced(struct metallm__import *im, const struct metallm__prices *prices, int day,
                         metallm_error *err)
{
    size_t count = metallm_outcomes_query_count(im->o);
    for (uint32_t m = 0; m < metallm_outcomes_model_count(im->o); m++) {
        const char *name = metallm_outcomes_model_name(im->o, m);
        size_t q = metallm__prices_find(prices, name, day) != NULL ? count : 0;
        for (; q < count; q++) {
            metallm_outcome cell = metallm_outcomes_get(im->o, q, m);
            if (!isnan(cell.score) && isnan(cell.cost_usd))
                break;
        }
        int rc = q == count ? METALLM_OK
                            : metallm__import_problem(im, METALLM__COSTS_CELL, 1, err,
                                                      "no price for model '%.80s', whose costs "
                                                      "are not known",
                                                      name);
        if (rc != METALLM_OK)
            return rc;
    }
    return METALLM_OK;
}

static int fill_costs(struct metallm__import *im, bool tells_unpriced, metallm_error *err)
{
    int day;
    struct metallm__prices prices = {0};
    int rc = price_day(im->opts, &day, err);
    if (rc == METALLM_OK)
        rc = metallm__prices_read(&prices, im->path, err);
    if (rc == METALLM_OK)
        rc = metallm__prices_fill(&prices, day, im->o, err);
    if (rc == METALLM_OK && tells_unpriced)
        rc = tell_unpriced(im, &prices, day, err);
    metallm__prices_fini(&prices);
    return rc;
}

static int choose_format(struct metallm__import *im, struct recognised *seen, metallm_error *err)
{
    const char *wanted = im->opts->format;
    int rc = recognise(&im->map, seen, err);
    if (rc == METALLM_OK && wanted != NULL && !seen->is_cost_file &&
        (seen->format = find_format(wanted)) == NULL)
        return metallm__error_set(err, METALLM_EINVAL, "no format '%s'", wanted);
    if (rc == METALLM_OK && im->map.len == 0)
        return metallm__import_refuse(im, 1, err, "the file is empty");
    return rc;
}

static void add_counts(metallm_read_report *sum, const metallm_read_report *c)
{
    if (sum == NULL)
        return;
    sum->rows += c->rows;
    sum->rows_skipped += c->rows_skipped;
    sum->cells_missing += c->cells_missing;
    sum->cells_bad += c->cells_bad;
    sum->duplicates += c->duplicates;
}

/* im: the table, options and sinks; all else is made here. */
static int read_one(struct metallm__import im, const char *path, metallm_read_report *report,
                    const char **format, metallm_error *err)
{
    const char *slash = strrchr(path, '/');
    im.path = path;
    im.file = slash != NULL ? slash + 1 : path;
    metallm__buf_init(&im.texts, METALLM_PROMPT_BYTES_MAX + (1u << 20));
    metallm__buf_init(&im.response, METALLM__CSV_RECORD_BYTES_MAX);
    struct recognised seen = {0};
    int rc = metallm__map_open(&im.map, path, err);
    if (rc != METALLM_OK)
        return rc;
    *format = "";
    rc = choose_format(&im, &seen, err);
    if (rc == METALLM_OK && seen.format == NULL && !seen.is_cost_file) {
        *format = NULL;
        rc =
            metallm__import_refuse(&im, 1, err, "of no known format: begins with '%s'", seen.shown);
    }
    if (rc == METALLM_OK && (im.task = task_of(path, im.file)) == NULL)
        rc = metallm__error_nomem(err, "a task's name");
    if (rc == METALLM_OK)
        rc = seen.is_cost_file ? fill_costs(&im, false, err) : seen.format->read(&im, err);
    if (rc == METALLM_OK) {
        add_counts(report, &im.counts);
        if (report != NULL)
            report->files++;
        *format = seen.is_cost_file ? "costs" : seen.format->name;
    }
    metallm__free(im.task);
    metallm__free(im.cells);
    metallm__buf_fini(&im.texts);
    metallm__buf_fini(&im.response);
    metallm__map_close(&im.map);
    return rc;
}

int metallm__read_file(metallm_outcomes *o, const char *path, const metallm_read_options *opts,
                       const struct metallm__response_sink *responses, metallm_read_report *report,
                       const char **format, metallm_error *err)
{
    const struct metallm__import im = {.o = o, .opts = opts, .responses = responses};
    return read_one(im, path, report, format, err);
}

int metallm__read_blocks(metallm_outcomes *o, const char *path, const metallm_read_options *opts,
                         const struct metallm__block_sink *blocks, metallm_read_report *report,
                         const char **format, metallm_error *err)
{
    const struct metallm__import im = {.o = o, .opts = opts, .blocks = blocks};
    return read_one(im, path, report, format, err);
}

int metallm__is_cost_file(const char *path, bool *is_cost_file, metallm_error *err)
{
    struct metallm__map map;
    struct recognised seen = {0};
    *is_cost_file = false;
    if (metallm__map_open(&map, path, NULL) != METALLM_OK)
        return METALLM_OK;
    int rc = recognise(&map, &seen, err);
    metallm__map_close(&map);
    *is_cost_file = rc == METALLM_OK && seen.is_cost_file;
    return rc;
}

int metallm__read_prices(metallm_outcomes *o, const metallm_read_options *opts,
                         metallm_read_report *report, metallm_error *err)
{
    if (opts->prices == NULL)
        return METALLM_OK;
    struct metallm__import im = {.o = o, .opts = opts, .path = opts->prices};
    int rc = fill_costs(&im, true, err);
    if (rc == METALLM_OK)
        add_counts(report, &im.counts);
    return rc;
}

/* A file met in a folder may be anything: one of no known format is told and passed over. */
static int read_listed(metallm_outcomes *o, const struct metallm__file *f,
                       const metallm_read_options *opts, metallm_read_report *report,
                       metallm_error *err)
{
    const char *format = "";
    metallm_error why = {0};
    int rc = metallm__read_file(o, f->path, opts, NULL, report, &format, &why);
    if (rc == METALLM_OK)
        return rc;
    if (format != NULL || f->is_named || opts->is_strict)
        return metallm__error_set(err, rc, "%s", why.message);
    if (opts->problem != NULL)
        opts->problem(opts->problem_payload, why.message);
    if (report != NULL)
        report->files_unknown++;
    return METALLM_OK;
}

int metallm__read_files(metallm_outcomes *o, const struct metallm__files *files,
                        const metallm_read_options *opts, metallm_read_report *report,
                        metallm_error *err)
{
    for (int turn = 0; turn <= 1; turn++) /* outcomes, then what they cost */
        for (size_t i = 0; i < files->count; i++) {
            bool is_cost_file;
            int rc = metallm__is_cost_file(files->items[i].path, &is_cost_file, err);
            if (rc == METALLM_OK && is_cost_file == (turn == 1))
                rc = read_listed(o, &files->items[i], opts, report, err);
            if (rc != METALLM_OK)
                return rc;
        }
    return metallm__read_prices(o, opts, report, err);
}

int metallm_outcomes_read(metallm_outcomes *o, const char *path, const metallm_read_options *opts,
                          metallm_read_report *report, metallm_error *err)
{
    static const metallm_read_options none = {0};
    struct metallm__files files = {0};
    int rc = metallm__files_add(&files, path, NULL, err);
    if (rc == METALLM_OK)
        rc = metallm__read_files(o, &files, opts != NULL ? opts : &none, report, err);
    metallm__files_fini(&files);
    return rc;
}
