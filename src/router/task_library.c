/* SPDX-License-Identifier: Apache-2.0
 * task_library.c - see task_library.h. */
#include "router/task_library.h"

#include <math.h>

#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"

/* --- half precision (IEEE 754 binary16), rounding to nearest even --- */

static uint16_t to_half(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000u;
    float magnitude = fabsf(v);
    if (!(magnitude < 65520.0f))
        return (uint16_t)(sign | (isnan(v) ? 0x7e00u : 0x7c00u));
    if (magnitude < 0x1p-14f) /* subnormal: whole multiples of 2^-24 */
        return (uint16_t)(sign | (uint32_t)rintf(magnitude * 0x1p24f));
    bits &= 0x7fffffffu;
    bits += 0xfffu + (bits >> 13 & 1u);
    return (uint16_t)(sign | ((bits >> 13) - (112u << 10)));
}

static float from_half(uint16_t h)
{
    int exponent = h >> 10 & 31, fraction = h & 1023;
    float v = exponent == 0    ? (float)fraction * 0x1p-24f
              : exponent == 31 ? (fraction != 0 ? NAN : INFINITY)
                               : ldexpf((float)(fraction + 1024), exponent - 25);
    return (h & 0x8000u) != 0 ? -v : v;
}

/* --- building --- */

static int library_new(struct metallm__library **out, size_t rows, uint32_t dim, uint32_t models,
                       uint32_t tasks, metallm_error *err)
{
    struct metallm__library *lib = metallm__calloc(1, sizeof *lib);
    if (lib == NULL)
        return metallm__error_nomem(err, "a task library");
    *lib = (struct metallm__library){.rows = rows, .dim = dim, .models = models, .tasks = tasks};
    lib->x = metallm__alloc_aligned(rows, sizeof *lib->x * dim);
    lib->score = metallm__alloc(rows, sizeof *lib->score * models);
    lib->task = metallm__alloc(rows, sizeof *lib->task);
    lib->names = metallm__calloc(tasks, sizeof *lib->names);
    if (lib->x == NULL || lib->score == NULL || lib->task == NULL || lib->names == NULL) {
        metallm__library_free(lib);
        return metallm__error_nomem(err, "a task library");
    }
    *out = lib;
    return METALLM_OK;
}

void metallm__library_free(struct metallm__library *lib)
{
    if (lib == NULL)
        return;
    for (uint32_t t = 0; lib->names != NULL && t < lib->tasks; t++)
        metallm__free(lib->names[t]);
    metallm__free(lib->names);
    metallm__free(lib->x);
    metallm__free(lib->score);
    metallm__free(lib->task);
    metallm__free(lib);
}

void metallm__library_heads(const metallm_vectors *x, float *out)
{
    size_t stride = metallm_layout_dim(&x->layout), dim = x->layout.head;
    for (size_t i = 0; i < x->rows; i++) {
        const float *from = x->values + i * stride;
        double square = 0;
        for (size_t d = 0; d < dim; d++)
            square += (double)from[d] * (double)from[d];
        float scale = square > 0 ? (float)(1 / sqrt(square)) : 0;
        for (size_t d = 0; d < dim; d++)
            out[i * dim + d] = from[d] * scale;
    }
}

struct row {
    const char *task; /* not closed: task_len bytes */
    size_t task_len;
    uint64_t order; /* by the prompt: the same rows are kept whatever the order of the files */
    size_t query;
};

static int by_task(const void *a, const void *b)
{
    const struct row *p = a, *q = b;
    size_t shorter = p->task_len < q->task_len ? p->task_len : q->task_len;
    int cmp = memcmp(p->task, q->task, shorter);
    if (cmp != 0)
        return cmp;
    if (p->task_len != q->task_len)
        return p->task_len < q->task_len ? -1 : 1;
    if (p->order != q->order)
        return p->order < q->order ? -1 : 1;
    return p->query < q->query ? -1 : p->query > q->query;
}

static bool same_task(const struct row *p, const struct row *q)
{
    return p->task_len == q->task_len && memcmp(p->task, q->task, p->task_len) == 0;
}

/* Rows of every task up to a cap; returns their number. */
static size_t count_capped(const struct row *rows, size_t n, size_t cap)
{
    size_t kept = 0, in_task = 0;
    for (size_t i = 0; i < n; i++) {
        in_task = i > 0 && same_task(&rows[i - 1], &rows[i]) ? in_task + 1 : 1;
        kept += in_task <= cap;
    }
    return kept;
}

/* The largest cap on rows a task under which at most rows_max are kept (at least 1). */
static size_t find_cap(const struct row *rows, size_t n, size_t rows_max)
{
    size_t low = 1, high = n;
    while (low < high) {
        size_t middle = low + (high - low + 1) / 2;
        if (count_capped(rows, n, middle) <= rows_max)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* rows: sorted by task. Moves those within the cap to the front; returns how many; *tasks counts
 * the tasks. */
static size_t keep_capped(struct row *rows, size_t n, size_t cap, uint32_t *tasks)
{
    size_t kept = 0, in_task = 0;
    *tasks = 0;
    struct row previous = {0};
    for (size_t i = 0; i < n; i++) {
        bool is_new = i == 0 || !same_task(&previous, &rows[i]);
        in_task = is_new ? 1 : in_task + 1;
        *tasks += is_new;
        previous = rows[i];
        if (in_task <= cap)
            rows[kept++] = rows[i];
    }
    return kept;
}

static int fill(struct metallm__library *lib, const struct row *rows,
                const metallm_outcomes *outcomes, const metallm_vectors *x, metallm_error *err)
{
    size_t stride = metallm_layout_dim(&x->layout);
    uint32_t task = 0;
    for (size_t i = 0; i < lib->rows; i++) {
        task += i > 0 && !same_task(&rows[i - 1], &rows[i]);
        if (lib->names[task] == NULL)
            lib->names[task] = metallm__strndup(rows[i].task, rows[i].task_len);
        if (lib->names[task] == NULL)
            return metallm__error_nomem(err, "the name of a task");
        lib->task[i] = task;
        metallm_vectors one = *x;
        one.values = x->values + rows[i].query * stride;
        one.rows = 1;
        metallm__library_heads(&one, lib->x + i * lib->dim);
        for (uint32_t j = 0; j < lib->models; j++)
            lib->score[i * lib->models + j] =
                metallm_outcomes_get(outcomes, rows[i].query, j).score;
    }
    return METALLM_OK;
}

int metallm__library_build(struct metallm__library **out, const metallm_outcomes *outcomes,
                           const metallm_vectors *x, size_t rows_max, uint64_t seed,
                           metallm_error *err)
{
    size_t n = metallm_outcomes_query_count(outcomes);
    METALLM_REQUIRE(n == x->rows && rows_max > 0);
    struct row *rows = metallm__alloc(n, sizeof *rows);
    if (rows == NULL)
        return metallm__error_nomem(err, "a task library");
    for (size_t i = 0; i < n; i++) {
        metallm_query q = metallm_outcomes_query(outcomes, i);
        rows[i] = (struct row){q.task, strcspn(q.task, "/"),
                               metallm__hash_bytes(q.prompt, strlen(q.prompt), seed), i};
    }
    qsort(rows, n, sizeof *rows, by_task);
    uint32_t tasks;
    size_t kept = keep_capped(rows, n, find_cap(rows, n, rows_max), &tasks);
    struct metallm__library *lib = NULL;
    int rc =
        tasks > METALLM__LIBRARY_TASKS
            ? metallm__error_set(err, METALLM_ELIMIT, "more than %u tasks", METALLM__LIBRARY_TASKS)
            : library_new(&lib, kept, x->layout.head, metallm_outcomes_model_count(outcomes), tasks,
                          err);
    if (rc == METALLM_OK)
        rc = fill(lib, rows, outcomes, x, err);
    metallm__free(rows);
    if (rc == METALLM_OK)
        *out = lib;
    else
        metallm__library_free(lib);
    return rc;
}

/* --- the file --- */

static int save_names(const struct metallm__library *lib, struct metallm__st_writer *w,
                      metallm_error *err)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(&metallm__json_alc);
    yyjson_mut_val *list = yyjson_mut_arr(doc);
    bool is_whole = list != NULL;
    for (uint32_t t = 0; t < lib->tasks; t++)
        is_whole = is_whole && yyjson_mut_arr_add_str(doc, list, lib->names[t]);
    yyjson_mut_doc_set_root(doc, list);
    char *text = is_whole ? yyjson_mut_write_opts(doc, YYJSON_WRITE_ALLOW_INVALID_UNICODE,
                                                  &metallm__json_alc, NULL, NULL)
                          : NULL;
    yyjson_mut_doc_free(doc);
    if (text == NULL)
        return metallm__error_nomem(err, "the names of tasks");
    int rc = metallm__st_put_meta(w, "tasks.names", text, err);
    metallm__free(text);
    return rc;
}

int metallm__library_save(const struct metallm__library *lib, struct metallm__st_writer *w,
                          metallm_error *err)
{
    size_t values = lib->rows * lib->dim;
    uint16_t *half = metallm__alloc(values, sizeof *half);
    if (half == NULL)
        return metallm__error_nomem(err, "a task library");
    for (size_t i = 0; i < values; i++)
        half[i] = to_half(lib->x[i]);
    int rc =
        metallm__st_put(w, "tasks.x", METALLM__F16, 2, (size_t[]){lib->rows, lib->dim}, half, err);
    metallm__free(half);
    if (rc == METALLM_OK)
        rc = metallm__st_put(w, "tasks.score", METALLM__F32, 2, (size_t[]){lib->rows, lib->models},
                             lib->score, err);
    if (rc == METALLM_OK)
        rc = metallm__st_put(w, "tasks.task", METALLM__U32, 1, (size_t[]){lib->rows}, lib->task,
                             err);
    return rc == METALLM_OK ? save_names(lib, w, err) : rc;
}

static int load_names(struct metallm__library *lib, yyjson_val *list, metallm_error *err)
{
    size_t t, max;
    yyjson_val *name;
    yyjson_arr_foreach(list, t, max, name)
    {
        if (!yyjson_is_str(name))
            return metallm__error_set(err, METALLM_EFORMAT, "a task's name is not a text");
        lib->names[t] = metallm__strdup(yyjson_get_str(name));
        if (lib->names[t] == NULL)
            return metallm__error_nomem(err, "the name of a task");
    }
    return METALLM_OK;
}

struct sections {
    struct metallm__tensor x, score, task;
};

static int check(const struct sections *s, uint32_t tasks, metallm_error *err)
{
    const float *score = s->score.data;
    for (size_t i = 0; i < s->score.count; i++)
        if (!isnan(score[i]) && !(score[i] >= 0 && score[i] <= 1))
            return metallm__error_set(err, METALLM_EFORMAT, "a score of a task is %g, not 0..1",
                                      (double)score[i]);
    const uint32_t *task = s->task.data;
    for (size_t i = 0; i < s->task.count; i++)
        if (task[i] >= tasks)
            return metallm__error_set(err, METALLM_EFORMAT, "row %zu is of task %u of %u", i,
                                      task[i], tasks);
    const uint16_t *x = s->x.data;
    for (size_t i = 0; i < s->x.count; i++)
        if ((x[i] & 0x7c00u) == 0x7c00u)
            return metallm__error_set(err, METALLM_EFORMAT, "a vector of a task is not finite");
    return METALLM_OK;
}

static int load_sections(struct sections *s, const struct metallm__st_file *f, uint32_t models,
                         metallm_error *err)
{
    int rc = metallm__st_get(f, "tasks.x", METALLM__F16, 2, (size_t[]){0, 0}, &s->x, err);
    if (rc == METALLM_OK && (s->x.shape[0] == 0 || s->x.shape[0] > METALLM__LIBRARY_ROWS_MAX ||
                             s->x.shape[1] == 0 || s->x.shape[1] > UINT16_MAX))
        rc = metallm__error_set(err, METALLM_EFORMAT, "a task library of %zu x %zu", s->x.shape[0],
                                s->x.shape[1]);
    if (rc == METALLM_OK)
        rc = metallm__st_get(f, "tasks.score", METALLM__F32, 2, (size_t[]){s->x.shape[0], models},
                             &s->score, err);
    if (rc == METALLM_OK)
        rc = metallm__st_get(f, "tasks.task", METALLM__U32, 1, (size_t[]){s->x.shape[0]}, &s->task,
                             err);
    return rc;
}

int metallm__library_load(struct metallm__library **out, const struct metallm__st_file *f,
                          uint32_t models, metallm_error *err)
{
    struct sections s;
    const char *names = metallm__st_meta(f, "tasks.names");
    if (names == NULL)
        return metallm__error_set(err, METALLM_ENOTFOUND, "the router holds no tasks");
    int rc = load_sections(&s, f, models, err);
    if (rc != METALLM_OK)
        return rc;
    yyjson_doc *doc = NULL;
    rc = metallm__json_read(&doc, names, strlen(names), err);
    if (rc != METALLM_OK)
        return metallm__error_prefix(err, rc, "the names of tasks");
    yyjson_val *list = yyjson_doc_get_root(doc);
    size_t tasks = yyjson_arr_size(list);
    struct metallm__library *lib = NULL;
    if (tasks == 0 || tasks > METALLM__LIBRARY_TASKS)
        rc = metallm__error_set(err, METALLM_EFORMAT, "a task library of %zu tasks", tasks);
    if (rc == METALLM_OK)
        rc = check(&s, (uint32_t)tasks, err);
    if (rc == METALLM_OK)
        rc = library_new(&lib, s.x.shape[0], (uint32_t)s.x.shape[1], models, (uint32_t)tasks, err);
    if (rc == METALLM_OK)
        rc = load_names(lib, list, err);
    yyjson_doc_free(doc);
    if (rc != METALLM_OK) {
        metallm__library_free(lib);
        return rc;
    }
    for (size_t i = 0; i < s.x.count; i++)
        lib->x[i] = from_half(((const uint16_t *)s.x.data)[i]);
    memcpy(lib->score, s.score.data, s.score.count * sizeof *lib->score);
    memcpy(lib->task, s.task.data, s.task.count * sizeof *lib->task);
    *out = lib;
    return METALLM_OK;
}
