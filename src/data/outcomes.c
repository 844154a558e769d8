/* SPDX-License-Identifier: Apache-2.0
 * outcomes.c - the table of benchmark outcomes in memory. Texts lie in an arena of chunks, so that
 * they never move; numbers lie in one column per model and field, made when its first known value
 * comes, so that memory is linear in what is known and a new model costs nothing. */
#include "metallm/outcomes.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "data/index.h"
#include "data/table.h"

#define CHUNK_BYTES ((size_t)1 << 20)

enum field { SCORE, COST, LATENCY, TOKENS_IN, TOKENS_OUT, FIELD_COUNT };

static const char *const field_names[FIELD_COUNT] = {"score", "cost_usd", "latency_ms",
                                                     "input_tokens", "output_tokens"};

struct chunk {
    struct chunk *next;
    size_t used, size;
    char bytes[];
};

struct column {
    float *values; /* NaN where not known; every row from len on is NaN as well */
    size_t len, cap;
};

struct model {
    char *name;
    uint64_t hash;
    struct column columns[FIELD_COUNT];
};

struct query {
    metallm_query text;
    enum metallm__key_kind kind;
};

struct metallm_outcomes {
    struct chunk *chunks; /* the one being filled comes first */
    struct query *queries;
    size_t query_count, query_cap;
    struct model *models;
    size_t model_cap;
    uint32_t model_count;
    struct metallm__index index; /* queries by key: data/table.h */
};

metallm_outcome metallm_outcome_unknown(void)
{
    return (metallm_outcome){NAN, NAN, NAN, NAN, NAN};
}

int metallm_outcomes_new(metallm_outcomes **out, metallm_error *err)
{
    metallm_outcomes *o = metallm__calloc(1, sizeof *o);
    if (o == NULL)
        return metallm__error_nomem(err, "a table of outcomes");
    *out = o;
    return METALLM_OK;
}

void metallm_outcomes_free(metallm_outcomes *o)
{
    if (o == NULL)
        return;
    for (uint32_t m = 0; m < o->model_count; m++) {
        metallm__free(o->models[m].name);
        for (int f = 0; f < FIELD_COUNT; f++)
            metallm__free(o->models[m].columns[f].values);
    }
    metallm__index_fini(&o->index);
    metallm__free(o->models);
    metallm__free(o->queries);
    for (struct chunk *c = o->chunks, *next; c != NULL; c = next) {
        next = c->next;
        metallm__free(c);
    }
    metallm__free(o);
}

void metallm__outcomes_clear(metallm_outcomes *o)
{
    for (uint32_t m = 0; m < o->model_count; m++)
        for (int f = 0; f < FIELD_COUNT; f++) {
            metallm__free(o->models[m].columns[f].values);
            o->models[m].columns[f] = (struct column){0};
        }
    metallm__index_fini(&o->index);
    o->index = (struct metallm__index){0};
    for (struct chunk *c = o->chunks, *next; c != NULL; c = next) {
        next = c->next;
        metallm__free(c);
    }
    o->chunks = NULL;
    o->query_count = 0;
}

size_t metallm_outcomes_query_count(const metallm_outcomes *o)
{
    return o->query_count;
}

uint32_t metallm_outcomes_model_count(const metallm_outcomes *o)
{
    return o->model_count;
}

const char *metallm_outcomes_model_name(const metallm_outcomes *o, uint32_t model)
{
    METALLM_REQUIRE(model < o->model_count);
    return o->models[model].name;
}

static uint32_t find_hashed(const metallm_outcomes *o, const char *name, uint64_t hash)
{
    for (uint32_t m = 0; m < o->model_count; m++)
        if (o->models[m].hash == hash && strcmp(o->models[m].name, name) == 0)
            return m;
    return UINT32_MAX;
}

uint32_t metallm_outcomes_find_model(const metallm_outcomes *o, const char *name)
{
    return find_hashed(o, name, metallm__hash_bytes(name, strlen(name), 0));
}

int metallm_outcomes_add_model(metallm_outcomes *o, const char *name, uint32_t *model,
                               metallm_error *err)
{
    size_t len = strlen(name);
    if (len == 0 || len > METALLM_MODEL_NAME_MAX)
        return metallm__error_set(err, METALLM_EINVAL,
                                  "model name of %zu bytes, not 1 to %u: '%.40s'", len,
                                  METALLM_MODEL_NAME_MAX, name);
    uint64_t hash = metallm__hash_bytes(name, len, 0);
    uint32_t found = find_hashed(o, name, hash);
    if (found != UINT32_MAX) {
        *model = found;
        return METALLM_OK;
    }
    if (o->model_count == METALLM_MODELS_MAX)
        return metallm__error_set(err, METALLM_ELIMIT, "more than %u models: '%s'",
                                  METALLM_MODELS_MAX, name);
    void *models = o->models;
    if (metallm__grow(&models, &o->model_cap, o->model_count + 1u, sizeof *o->models) != 0)
        return metallm__error_nomem(err, "a model");
    o->models = models;
    char *copy = metallm__strdup(name);
    if (copy == NULL)
        return metallm__error_nomem(err, "a model's name");
    o->models[o->model_count] = (struct model){.name = copy, .hash = hash};
    *model = o->model_count++;
    return METALLM_OK;
}

/* Room for size bytes in one piece; they belong to the table from then on. */
static char *arena_take(metallm_outcomes *o, size_t size)
{
    struct chunk *c = o->chunks;
    if (c == NULL || size > c->size - c->used) {
        size_t bytes = size > CHUNK_BYTES / 4 ? size : CHUNK_BYTES;
        struct chunk *fresh = metallm__alloc(sizeof *fresh + bytes, 1);
        if (fresh == NULL)
            return NULL;
        *fresh = (struct chunk){.next = c, .size = bytes};
        if (c != NULL && bytes != CHUNK_BYTES) { /* a long text: keep filling the old chunk */
            fresh->next = c->next;
            c->next = fresh;
        } else {
            o->chunks = fresh;
        }
        c = fresh;
    }
    char *at = c->bytes + c->used;
    c->used += size;
    return at;
}

/* A text as the table keeps it: "" and the previous row's text are shared, not copied. */
struct piece {
    const char *text;
    size_t size; /* bytes to copy with the NUL; 0: shared */
};

static struct piece piece_of(const char *text, const char *previous)
{
    if (text == NULL || text[0] == '\0')
        return (struct piece){"", 0};
    if (previous != NULL && strcmp(text, previous) == 0)
        return (struct piece){previous, 0};
    return (struct piece){text, strlen(text) + 1};
}

static const char *place(struct piece p, char **at)
{
    if (p.size == 0)
        return p.text;
    char *copy = *at;
    memcpy(copy, p.text, p.size);
    *at += p.size;
    return copy;
}

int metallm_outcomes_add_query(metallm_outcomes *o, const metallm_query *q, size_t *query,
                               metallm_error *err)
{
    if (o->query_count >= METALLM_QUERIES_MAX)
        return metallm__error_set(err, METALLM_ELIMIT, "more than %u queries", METALLM_QUERIES_MAX);
    const metallm_query *last = o->query_count > 0 ? &o->queries[o->query_count - 1].text : NULL;
    struct piece id = piece_of(q->id, NULL);
    struct piece task = piece_of(q->task, last != NULL ? last->task : NULL);
    struct piece split = piece_of(q->split, last != NULL ? last->split : NULL);
    struct piece prompt = piece_of(q->prompt, NULL);
    struct piece label = piece_of(q->label, last != NULL ? last->label : NULL);
    if (prompt.size > METALLM_PROMPT_BYTES_MAX)
        return metallm__error_set(err, METALLM_ELIMIT, "prompt of %zu bytes is longer than %u",
                                  prompt.size - 1, METALLM_PROMPT_BYTES_MAX);
    void *queries = o->queries;
    if (metallm__grow(&queries, &o->query_cap, o->query_count + 1, sizeof *o->queries) != 0)
        return metallm__error_nomem(err, "a query");
    o->queries = queries;
    char *at = arena_take(o, id.size + task.size + split.size + prompt.size + label.size);
    if (at == NULL)
        return metallm__error_nomem(err, "a query's text");
    metallm_query *kept = &o->queries[o->query_count].text;
    o->queries[o->query_count].kind = METALLM__KEY_NONE;
    kept->id = place(id, &at);
    kept->task = place(task, &at);
    kept->split = place(split, &at);
    kept->prompt = place(prompt, &at);
    kept->label = place(label, &at);
    *query = o->query_count++;
    return METALLM_OK;
}

metallm_query metallm_outcomes_query(const metallm_outcomes *o, size_t query)
{
    METALLM_REQUIRE(query < o->query_count);
    return o->queries[query].text;
}

static float column_get(const struct column *c, size_t row)
{
    return row < c->len ? c->values[row] : NAN;
}

metallm_outcome metallm_outcomes_get(const metallm_outcomes *o, size_t query, uint32_t model)
{
    METALLM_REQUIRE(query < o->query_count && model < o->model_count);
    const struct column *c = o->models[model].columns;
    return (metallm_outcome){column_get(&c[SCORE], query), column_get(&c[COST], query),
                             column_get(&c[LATENCY], query), column_get(&c[TOKENS_IN], query),
                             column_get(&c[TOKENS_OUT], query)};
}

/* Makes the column long enough to hold row; an unknown value behind its end needs no room. */
static int column_reach(struct column *c, size_t row, float value)
{
    if (row < c->len || isnan(value))
        return 0;
    void *values = c->values;
    if (metallm__grow(&values, &c->cap, row + 1, sizeof *c->values) != 0)
        return -1;
    c->values = values;
    while (c->len <= row)
        c->values[c->len++] = NAN;
    return 0;
}

int metallm_outcomes_set(metallm_outcomes *o, size_t query, uint32_t model,
                         const metallm_outcome *cell, metallm_error *err)
{
    METALLM_REQUIRE(query < o->query_count && model < o->model_count);
    const float values[FIELD_COUNT] = {cell->score, cell->cost_usd, cell->latency_ms,
                                       cell->input_tokens, cell->output_tokens};
    for (int f = 0; f < FIELD_COUNT; f++)
        if (values[f] < 0 || isinf(values[f]) || (f == SCORE && values[f] > 1))
            return metallm__error_set(err, METALLM_EINVAL, "%s %g of model '%s' is out of range",
                                      field_names[f], (double)values[f], o->models[model].name);
    struct column *columns = o->models[model].columns;
    for (int f = 0; f < FIELD_COUNT; f++)
        if (column_reach(&columns[f], query, values[f]) != 0)
            return metallm__error_nomem(err, "outcomes");
    for (int f = 0; f < FIELD_COUNT; f++)
        if (query < columns[f].len)
            columns[f].values[query] = values[f];
    return METALLM_OK;
}

bool metallm__outcome_is_unknown(const metallm_outcome *cell)
{
    return isnan(cell->score) && isnan(cell->cost_usd) && isnan(cell->latency_ms) &&
           isnan(cell->input_tokens) && isnan(cell->output_tokens);
}

static uint64_t key_hash(const struct metallm__query_key *key)
{
    uint64_t hash = metallm__hash_bytes(key->task, strlen(key->task), 1);
    hash = metallm__hash_bytes(key->split, strlen(key->split), hash);
    hash = metallm__hash_bytes(key->id, strlen(key->id), hash);
    return key->prompt == NULL ? hash : metallm__hash_bytes(key->prompt, strlen(key->prompt), hash);
}

size_t metallm__outcomes_find_query(const metallm_outcomes *o, const struct metallm__query_key *key)
{
    uint64_t hash = key_hash(key);
    size_t cursor = SIZE_MAX, row;
    while ((row = metallm__index_find(&o->index, hash, &cursor)) != SIZE_MAX) {
        const metallm_query *q = &o->queries[row].text;
        /* A query without an id of its source bears one made up from file and line. */
        if (strcmp(q->task, key->task) == 0 && strcmp(q->split, key->split) == 0 &&
            (key->id[0] == '\0' || strcmp(q->id, key->id) == 0) &&
            (key->prompt == NULL || strcmp(q->prompt, key->prompt) == 0))
            return row;
    }
    return SIZE_MAX;
}

int metallm__outcomes_index_query(metallm_outcomes *o, const struct metallm__query_key *key,
                                  size_t query, metallm_error *err)
{
    if (metallm__index_add(&o->index, key_hash(key), query) != 0)
        return metallm__error_nomem(err, "an index of queries");
    o->queries[query].kind = key->prompt == NULL  ? METALLM__KEY_ID
                             : key->id[0] == '\0' ? METALLM__KEY_PROMPT
                                                  : METALLM__KEY_BOTH;
    return METALLM_OK;
}

enum metallm__key_kind metallm__outcomes_query_kind(const metallm_outcomes *o, size_t query)
{
    METALLM_REQUIRE(query < o->query_count);
    return o->queries[query].kind;
}

uint64_t metallm__outcomes_query_hash(const metallm_outcomes *o, size_t query)
{
    METALLM_REQUIRE(query < o->query_count);
    const struct query *q = &o->queries[query];
    const struct metallm__query_key key = {
        .task = q->text.task,
        .split = q->text.split,
        .id = q->kind == METALLM__KEY_PROMPT ? "" : q->text.id,
        .prompt = q->kind == METALLM__KEY_ID ? NULL : q->text.prompt,
    };
    return key_hash(&key);
}
