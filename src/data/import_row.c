/* SPDX-License-Identifier: Apache-2.0
 * import_row.c - a row enters the table: its texts are checked, its query is found or added, its
 * cells are set.
 *
 * What is one query: rows of a wide file are queries of their own, also when their prompts are
 * equal, unless the source gives the same id to the same prompt again; rows of a long file with the
 * same id (without ids: the same prompt), task and split are one query. A cell that is known
 * already makes the row a copy: the first stands. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "data/import.h"
#include "data/table.h"

struct texts { /* offsets into im->texts, then texts closed by NUL */
    size_t id, task, split, prompt, label;
};

static const char *fault_of(struct metallm__span s, size_t bytes_max)
{
    if (s.len > bytes_max)
        return "is too long";
    if (s.len > 0 && memchr(s.bytes, '\0', s.len) != NULL)
        return "holds a NUL";
    return metallm__text_is_utf8(s) ? NULL : "is not UTF-8";
}

/* NULL, or what is wrong with one of the row's texts; that text and its name. */
static const char *text_fault(const struct metallm__row *row, struct metallm__span *text,
                              const char **name)
{
    static const char *const names[] = {"prompt", "id", "task", "split", "label"};
    const struct metallm__span texts[] = {row->prompt, row->id, row->task, row->split, row->label};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *fault = fault_of(texts[i], i == 0 ? METALLM_PROMPT_BYTES_MAX : 65536);
        if (fault != NULL) {
            *text = texts[i];
            *name = names[i];
            return fault;
        }
    }
    return NULL;
}

static size_t keep(struct metallm__import *im, struct metallm__span s)
{
    size_t at = im->texts.len;
    metallm__buf_add(&im->texts, s.bytes, s.len);
    metallm__buf_add(&im->texts, "", 1);
    return at;
}

/* The first that is given and not empty. */
static struct metallm__span chosen(const char *option, struct metallm__span own,
                                   const char *fallback)
{
    if (option != NULL)
        return metallm__span_of(option);
    return own.len > 0 ? own : metallm__span_of(fallback);
}

static int collect_texts(struct metallm__import *im, const struct metallm__row *row,
                         metallm_query *q, metallm_error *err)
{
    char made[32];
    struct texts at;
    metallm__buf_clear(&im->texts);
    if (row->id.len > 0) {
        at.id = keep(im, row->id);
    } else {
        at.id = im->texts.len;
        metallm__buf_puts(&im->texts, im->file);
        snprintf(made, sizeof made, ":%zu", row->line);
        keep(im, metallm__span_of(made));
    }
    at.task = keep(im, chosen(im->opts->task, row->task, im->task));
    at.split = keep(im, chosen(im->opts->split, row->split, ""));
    at.prompt = keep(im, row->prompt);
    at.label = keep(im, row->label);
    int rc = metallm__buf_check(&im->texts, err);
    if (rc != METALLM_OK)
        return rc;
    const char *base = im->texts.data;
    *q = (metallm_query){base + at.id, base + at.task, base + at.split, base + at.prompt,
                         base + at.label};
    return METALLM_OK;
}

static bool knows_nothing(const struct metallm__import *im)
{
    for (size_t i = 0; i < im->cell_count; i++)
        if (!metallm__outcome_is_unknown(&im->cells[i].outcome))
            return false;
    return true;
}

/* A cell that is known to the row and to the table, NULL: none. */
static const struct metallm__cell *known_cell(const struct metallm__import *im, size_t query)
{
    for (size_t i = 0; i < im->cell_count; i++) {
        metallm_outcome there = metallm_outcomes_get(im->o, query, im->cells[i].model);
        if (!metallm__outcome_is_unknown(&im->cells[i].outcome) &&
            !metallm__outcome_is_unknown(&there))
            return &im->cells[i];
    }
    return NULL;
}

static int put_response(struct metallm__import *im, const struct metallm__row *row, size_t query,
                        const struct metallm__cell *cell, metallm_error *err)
{
    struct metallm__span text = cell->response;
    metallm__buf_clear(&im->response);
    if (im->decode_response != NULL && !im->decode_response(&text, &im->response) &&
        im->response.failed)
        return metallm__error_nomem(err, "a response");
    const char *fault = fault_of(text, METALLM_PROMPT_BYTES_MAX);
    if (fault == NULL)
        return im->responses->put(im->responses->payload, query, cell->model, text, err);
    return metallm__import_problem(im, METALLM__COSTS_CELL, row->line, err,
                                   "the response of model '%.80s' %s",
                                   metallm_outcomes_model_name(im->o, cell->model), fault);
}

static int set_cells(struct metallm__import *im, const struct metallm__row *row, size_t query,
                     metallm_error *err)
{
    for (size_t i = 0; i < im->cell_count; i++) {
        const struct metallm__cell *cell = &im->cells[i];
        int rc = METALLM_OK;
        if (!metallm__outcome_is_unknown(&cell->outcome))
            rc = metallm_outcomes_set(im->o, query, cell->model, &cell->outcome, err);
        if (rc == METALLM_OK && cell->response.bytes != NULL && im->responses != NULL)
            rc = put_response(im, row, query, cell, err);
        if (rc != METALLM_OK)
            return rc;
    }
    return METALLM_OK;
}

/* Two rows of one long query that disagree on its prompt. */
static bool is_other_prompt(const struct metallm__import *im, size_t query, const metallm_query *q)
{
    return q->prompt[0] != '\0' &&
           strcmp(metallm_outcomes_query(im->o, query).prompt, q->prompt) != 0;
}

/* Hands a whole block over and forgets it. */
static int pass_block(struct metallm__import *im, metallm_error *err)
{
    int rc = im->blocks->take(im->blocks->payload, im->o, err);
    if (rc == METALLM_OK) {
        metallm__outcomes_clear(im->o);
        metallm__map_passed(&im->map, im->pos);
    }
    return rc;
}

static int enter(struct metallm__import *im, const struct metallm__row *row, const metallm_query *q,
                 metallm_error *err)
{
    char shown[METALLM__SHOWN_BYTES];
    bool has_id = row->id.len > 0, is_keyed = has_id || row->is_long;
    const struct metallm__query_key key = {
        .task = q->task,
        .split = q->split,
        .id = has_id ? q->id : "",
        .prompt = row->is_long && has_id ? NULL : q->prompt,
    };
    size_t query = is_keyed ? metallm__outcomes_find_query(im->o, &key) : SIZE_MAX;
    if (query == SIZE_MAX) {
        if (q->prompt[0] == '\0')
            return metallm__import_problem(im, METALLM__COSTS_ROW, row->line, err,
                                           "the prompt is empty");
        int rc = METALLM_OK;
        if (im->blocks != NULL && !is_keyed &&
            metallm_outcomes_query_count(im->o) >= im->blocks->queries)
            rc = pass_block(im, err);
        if (rc == METALLM_OK)
            rc = metallm_outcomes_add_query(im->o, q, &query, err);
        if (rc == METALLM_OK && is_keyed)
            rc = metallm__outcomes_index_query(im->o, &key, query, err);
        return rc == METALLM_OK ? set_cells(im, row, query, err) : rc;
    }
    const char *name = metallm__text_show(shown, has_id ? row->id : row->prompt);
    if (is_other_prompt(im, query, q))
        return metallm__import_problem(im, METALLM__COSTS_ROW, row->line, err,
                                       "query '%s' has another prompt elsewhere", name);
    const struct metallm__cell *known = known_cell(im, query);
    if (known != NULL)
        return metallm__import_problem(im, METALLM__COSTS_COPY, row->line, err,
                                       "query '%s' with model '%.80s' is there already", name,
                                       metallm_outcomes_model_name(im->o, known->model));
    if (!row->is_long && knows_nothing(im))
        return metallm__import_problem(im, METALLM__COSTS_COPY, row->line, err,
                                       "query '%s' is there already", name);
    return set_cells(im, row, query, err);
}

int metallm__import_row(struct metallm__import *im, const struct metallm__row *row,
                        metallm_error *err)
{
    char shown[METALLM__SHOWN_BYTES];
    struct metallm__span text;
    const char *name;
    im->counts.rows++;
    const char *fault = text_fault(row, &text, &name);
    int rc;
    if (fault != NULL) {
        rc = metallm__import_problem(im, METALLM__COSTS_ROW, row->line, err, "%s '%s' %s", name,
                                     metallm__text_show(shown, text), fault);
    } else {
        metallm_query q;
        rc = collect_texts(im, row, &q, err);
        if (rc == METALLM_OK)
            rc = enter(im, row, &q, err);
    }
    im->cell_count = 0;
    return rc;
}
