/* SPDX-License-Identifier: Apache-2.0
 * metallm/outcomes.h - the table of benchmark outcomes: queries x models, a cell per call.
 * Owner: the caller of new frees. Texts given are copied; texts returned belong to the table and
 * live until it is freed. Threads: any number may read; adding needs the table to itself. */
#ifndef METALLM_OUTCOMES_H
#define METALLM_OUTCOMES_H
#include "metallm/base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define METALLM_MODELS_MAX       256u /* models in a table or router */
#define METALLM_QUERIES_MAX      50000000u
#define METALLM_PROMPT_BYTES_MAX 16777216u /* a longer prompt is refused */
#define METALLM_MODEL_NAME_MAX   255u      /* bytes */

typedef struct metallm_outcomes metallm_outcomes;

/* One query. Every text is UTF-8 and closed by NUL; "" where the source has none. */
typedef struct metallm_query {
    const char *id;     /* the source's id, or "FILE:ROW" */
    const char *task;   /* benchmark or task name */
    const char *split;  /* the source's own split */
    const char *prompt; /* never NULL; may hold any character but NUL */
    const char *label;  /* gold answer */
} metallm_query;

/* What one model did with one query. NaN: not known. A missing score is never 0. */
typedef struct metallm_outcome {
    float score;         /* 0..1 */
    float cost_usd;      /* >= 0, dollars for this call */
    float latency_ms;    /* >= 0 */
    float input_tokens;  /* >= 0 */
    float output_tokens; /* >= 0 */
} metallm_outcome;

METALLM_API metallm_outcome metallm_outcome_unknown(void); /* every field NaN */

METALLM_API METALLM_MUSTCHECK int metallm_outcomes_new(metallm_outcomes **out, metallm_error *err);
METALLM_API void metallm_outcomes_free(metallm_outcomes *o);

METALLM_API size_t metallm_outcomes_query_count(const metallm_outcomes *o);
METALLM_API uint32_t metallm_outcomes_model_count(const metallm_outcomes *o);
METALLM_API const char *metallm_outcomes_model_name(const metallm_outcomes *o, uint32_t model);
/* *model is the index of this name, added when new. METALLM_ELIMIT beyond METALLM_MODELS_MAX. */
METALLM_API METALLM_MUSTCHECK int metallm_outcomes_add_model(metallm_outcomes *o, const char *name,
                                                             uint32_t *model, metallm_error *err);
/* UINT32_MAX when there is none of this name. */
METALLM_API uint32_t metallm_outcomes_find_model(const metallm_outcomes *o, const char *name);
/* Adds a query whose cells are all unknown; NULL fields are taken as "". */
METALLM_API METALLM_MUSTCHECK int metallm_outcomes_add_query(metallm_outcomes *o,
                                                             const metallm_query *q, size_t *query,
                                                             metallm_error *err);
METALLM_API metallm_query metallm_outcomes_query(const metallm_outcomes *o, size_t query);
METALLM_API metallm_outcome metallm_outcomes_get(const metallm_outcomes *o, size_t query,
                                                 uint32_t model);
/* METALLM_EINVAL: a field is outside its range (infinite, negative, a score above 1). */
METALLM_API METALLM_MUSTCHECK int metallm_outcomes_set(metallm_outcomes *o, size_t query,
                                                       uint32_t model, const metallm_outcome *cell,
                                                       metallm_error *err);

/* Reading benchmark files. The formats are described in docs/formats.md. */
typedef struct metallm_read_options {
    const char *format;    /* NULL: told from the bytes; else one of metallm_format_name() */
    const char *task;      /* NULL: from the row, else from the file's name */
    const char *split;     /* NULL: from the row */
    const char *prices;    /* path of a price file; NULL: none */
    const char *prices_on; /* the day whose prices hold, "YYYY-MM-DD"; NULL: today */
    int is_strict; /* 1: the first bad cell or row fails the call; 0: counted, named, skipped */
    /* Told of each problem as "FILE:LINE: what is wrong with 'VALUE'"; may be NULL. */
    void (*problem)(void *payload, const char *message);
    void *problem_payload;
    metallm_progress progress;
} metallm_read_options;

typedef struct metallm_read_report {
    size_t files;         /* read */
    size_t files_unknown; /* met in a folder, of no known format: told and passed over */
    size_t rows;          /* met, whatever became of them */
    size_t rows_skipped;  /* told and left out, for what stands in them */
    size_t cells_missing; /* scores that the file leaves empty */
    size_t cells_bad;     /* values told and left unknown */
    size_t duplicates;    /* rows told and left out: there already */
} metallm_read_report;

METALLM_API const char *metallm_format_name(size_t i); /* NULL after the last */
/* Appends the rows of one file, or of each benchmark file below a folder. report may be NULL; its
 * counts are added to. On failure o may hold part of the file. */
METALLM_API METALLM_MUSTCHECK int metallm_outcomes_read(metallm_outcomes *o, const char *path,
                                                        const metallm_read_options *opts,
                                                        metallm_read_report *report,
                                                        metallm_error *err);

#ifdef __cplusplus
}
#endif
#endif
