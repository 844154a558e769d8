/* SPDX-License-Identifier: Apache-2.0
 * decision_log.c - reads decision logs (decision_log.h) into flat arrays. Every line is checked
 * whole before anything of it counts, so that a bad line leaves no trace. */
#include "eval/decision_log.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"

#define ID_BYTES_MAX 255u

struct decision {
    double time, propensity;
    size_t first; /* of its estimates */
    uint64_t id_hash, id_check;
    uint32_t count, chosen, policy; /* policy: index into policies, UINT32_MAX: none */
    float dial, target, max_cost_usd, cost_scale_usd;
    struct metallm__log_outcome outcome;
};

struct names { /* a few distinct texts; searched in order */
    char **items;
    size_t count, cap;
};

struct metallm__decision_log {
    struct decision *decisions;
    size_t count, cap;
    struct metallm__log_estimate *estimates;
    size_t estimate_count, estimate_cap;
    struct names models, policies;
    uint32_t *slots; /* by id_hash: decision + 1; a power of two of them, at most half full */
    size_t slot_count;
};

int metallm__decision_log_new(struct metallm__decision_log **out, metallm_error *err)
{
    struct metallm__decision_log *l = metallm__calloc(1, sizeof *l);
    if (l == NULL)
        return metallm__error_nomem(err, "a decision log");
    *out = l;
    return METALLM_OK;
}

static void names_cut(struct names *n, size_t count)
{
    while (n->count > count)
        metallm__free(n->items[--n->count]);
}

static void names_fini(struct names *n)
{
    names_cut(n, 0);
    metallm__free(n->items);
}

void metallm__decision_log_free(struct metallm__decision_log *l)
{
    if (l == NULL)
        return;
    names_fini(&l->models);
    names_fini(&l->policies);
    metallm__free(l->decisions);
    metallm__free(l->estimates);
    metallm__free(l->slots);
    metallm__free(l);
}

static int names_index(struct names *n, const char *text, size_t most, uint32_t *index,
                       metallm_error *err)
{
    for (size_t i = 0; i < n->count; i++)
        if (strcmp(n->items[i], text) == 0) {
            *index = (uint32_t)i;
            return METALLM_OK;
        }
    if (n->count >= most)
        return metallm__error_set(err, METALLM_ELIMIT,
                                  "more than %zu different names, with '%.60s'", most, text);
    void *items = n->items;
    if (metallm__grow(&items, &n->cap, n->count + 1, sizeof *n->items) != 0)
        return metallm__error_nomem(err, "names");
    n->items = items;
    n->items[n->count] = metallm__strdup(text);
    if (n->items[n->count] == NULL)
        return metallm__error_nomem(err, "a name");
    *index = (uint32_t)n->count++;
    return METALLM_OK;
}

/* Two hashes tell ids apart: 128 bits, so that the texts need not be kept. */
static void hash_id(const char *id, size_t len, uint64_t *hash, uint64_t *check)
{
    *hash = metallm__hash_bytes(id, len, 1);
    *check = metallm__hash_bytes(id, len, 2);
}

/* The slot that holds this id, or the free one where it belongs. slot_count > 0. */
static uint32_t *find_slot(const struct metallm__decision_log *l, uint64_t hash, uint64_t check)
{
    size_t mask = l->slot_count - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        if (l->slots[i] == 0)
            return &l->slots[i];
        const struct decision *d = &l->decisions[l->slots[i] - 1];
        if (d->id_hash == hash && d->id_check == check)
            return &l->slots[i];
    }
}

static int make_slots(struct metallm__decision_log *l, metallm_error *err)
{
    if (l->slot_count >= 2 * (l->count + 1))
        return METALLM_OK;
    size_t count = l->slot_count == 0 ? 1024 : 2 * l->slot_count;
    uint32_t *slots = metallm__calloc(count, sizeof *slots);
    if (slots == NULL)
        return metallm__error_nomem(err, "an index of decisions");
    metallm__free(l->slots);
    l->slots = slots;
    l->slot_count = count;
    for (size_t i = 0; i < l->count; i++)
        *find_slot(l, l->decisions[i].id_hash, l->decisions[i].id_check) = (uint32_t)(i + 1);
    return METALLM_OK;
}

/* A number that may be missing (or null): NaN then. */
static int get_number(yyjson_val *object, const char *name, double low, double high, float *out,
                      metallm_error *err)
{
    yyjson_val *v = yyjson_obj_get(object, name);
    *out = NAN;
    if (v == NULL || yyjson_is_null(v))
        return METALLM_OK;
    double number = yyjson_is_num(v) ? yyjson_get_num(v) : NAN;
    if (!(number >= low && number <= high))
        return metallm__error_set(err, METALLM_EFORMAT, "'%s' is not a number from %g to %g", name,
                                  low, high);
    *out = (float)number;
    return METALLM_OK;
}

static int get_text(yyjson_val *object, const char *name, size_t most, const char **out,
                    metallm_error *err)
{
    yyjson_val *v = yyjson_obj_get(object, name);
    size_t len = yyjson_get_len(v);
    if (!yyjson_is_str(v) || len == 0 || len > most || strlen(yyjson_get_str(v)) != len)
        return metallm__error_set(err, METALLM_EFORMAT, "'%s' is not a text of 1 to %zu bytes",
                                  name, most);
    *out = yyjson_get_str(v);
    return METALLM_OK;
}

#define DOLLARS_MAX 1e9
#define SCORE_MAX   1e9

static int read_outcome(yyjson_val *object, struct metallm__log_outcome *o, metallm_error *err)
{
    yyjson_val *feedback = yyjson_obj_get(object, "feedback");
    *o = (struct metallm__log_outcome){NAN, NAN, NAN};
    if (feedback != NULL && !yyjson_is_null(feedback) && !yyjson_is_obj(feedback))
        return metallm__error_set(err, METALLM_EFORMAT, "'feedback' is not an object");
    int rc = get_number(object, "cost_usd", 0, DOLLARS_MAX, &o->cost_usd, err);
    if (rc == METALLM_OK)
        rc = get_number(object, "latency_ms", 0, 1e12, &o->latency_ms, err);
    if (rc == METALLM_OK && yyjson_is_obj(feedback))
        rc = get_number(feedback, "score", 0, 1, &o->score, err);
    return rc;
}

static int read_estimate(struct metallm__decision_log *l, yyjson_val *v,
                         struct metallm__log_estimate *e, metallm_error *err)
{
    const struct {
        const char *name;
        double low, high;
        float *out;
    } fields[] = {
        {"quality", 0, 1, &e->quality},
        {"quality_sd", 0, 1e3, &e->quality_sd},
        {"cost_usd", 0, DOLLARS_MAX, &e->cost_usd},
        {"latency_ms", 0, 1e12, &e->latency_ms},
        {"score", -SCORE_MAX, SCORE_MAX, &e->score},
        {"price_usd", 0, DOLLARS_MAX, &e->price_usd},
    };
    const char *name = NULL;
    if (!yyjson_is_obj(v))
        return metallm__error_set(err, METALLM_EFORMAT, "'estimates' holds something but objects");
    int rc = get_text(v, "model", METALLM_MODEL_NAME_MAX, &name, err);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0] && rc == METALLM_OK; i++)
        rc = get_number(v, fields[i].name, fields[i].low, fields[i].high, fields[i].out, err);
    if (rc == METALLM_OK)
        rc = names_index(&l->models, name, METALLM_MODELS_MAX, &e->model, err);
    return rc;
}

/* The candidates go behind those that are there; l->estimate_count is left as it was. */
static int read_estimates(struct metallm__decision_log *l, yyjson_val *root, struct decision *d,
                          metallm_error *err)
{
    yyjson_val *list = yyjson_obj_get(root, "estimates"), *item;
    const char *chosen = NULL;
    int rc = get_text(root, "model", METALLM_MODEL_NAME_MAX, &chosen, err);
    if (rc != METALLM_OK)
        return rc;
    size_t count = yyjson_arr_size(list), i, max;
    if (count < 1 || count > METALLM_MODELS_MAX)
        return metallm__error_set(err, METALLM_EFORMAT,
                                  "'estimates' is not a list of 1 to %u models",
                                  METALLM_MODELS_MAX);
    void *estimates = l->estimates;
    if (metallm__grow(&estimates, &l->estimate_cap, l->estimate_count + count,
                      sizeof *l->estimates) != 0)
        return metallm__error_nomem(err, "estimates");
    l->estimates = estimates;
    d->first = l->estimate_count;
    d->count = (uint32_t)count;
    d->chosen = UINT32_MAX;
    struct metallm__log_estimate *e = l->estimates + d->first;
    yyjson_arr_foreach(list, i, max, item)
    {
        rc = read_estimate(l, item, &e[i], err);
        if (rc != METALLM_OK)
            return rc;
        for (size_t j = 0; j < i; j++)
            if (e[j].model == e[i].model)
                return metallm__error_set(err, METALLM_EFORMAT, "'estimates' names '%.80s' twice",
                                          l->models.items[e[i].model]);
        if (strcmp(l->models.items[e[i].model], chosen) == 0)
            d->chosen = (uint32_t)i;
    }
    if (d->chosen == UINT32_MAX)
        return metallm__error_set(err, METALLM_EFORMAT,
                                  "the model '%.80s' is not among 'estimates'", chosen);
    return METALLM_OK;
}

static int read_constraints(yyjson_val *root, struct decision *d, metallm_error *err)
{
    yyjson_val *c = yyjson_obj_get(root, "constraints");
    if (c != NULL && !yyjson_is_null(c) && !yyjson_is_obj(c))
        return metallm__error_set(err, METALLM_EFORMAT, "'constraints' is not an object");
    int rc = get_number(c, "dial", 0, SCORE_MAX, &d->dial, err);
    if (rc == METALLM_OK)
        rc = get_number(c, "target", 0, 1, &d->target, err);
    if (rc == METALLM_OK)
        rc = get_number(c, "max_cost_usd", 0, DOLLARS_MAX, &d->max_cost_usd, err);
    if (rc == METALLM_OK)
        rc = get_number(root, "cost_scale_usd", 0, DOLLARS_MAX, &d->cost_scale_usd, err);
    d->dial = isnan(d->dial) ? 0 : d->dial;
    d->target = isnan(d->target) ? 0 : d->target;
    d->max_cost_usd = isnan(d->max_cost_usd) ? 0 : d->max_cost_usd;
    return rc;
}

static int read_policy(struct metallm__decision_log *l, yyjson_val *root, struct decision *d,
                       metallm_error *err)
{
    const char *policy = NULL;
    d->policy = UINT32_MAX;
    if (yyjson_obj_get(root, "policy") == NULL)
        return METALLM_OK;
    int rc = get_text(root, "policy", METALLM_MODEL_NAME_MAX, &policy, err);
    return rc != METALLM_OK ? rc : names_index(&l->policies, policy, 4096, &d->policy, err);
}

static int read_decision(struct metallm__decision_log *l, yyjson_val *root, struct decision *d,
                         metallm_error *err)
{
    yyjson_val *time = yyjson_obj_get(root, "time"), *p = yyjson_obj_get(root, "propensity");
    d->time = yyjson_is_num(time) ? yyjson_get_num(time) : NAN;
    d->propensity = yyjson_is_num(p) ? yyjson_get_num(p) : NAN;
    if (!isfinite(d->time))
        return metallm__error_set(err, METALLM_EFORMAT, "'time' is not a number of seconds");
    if (!(d->propensity > 0 && d->propensity <= 1))
        return metallm__error_set(err, METALLM_EFORMAT,
                                  "'propensity' is not a chance above 0, at most 1");
    int rc = read_constraints(root, d, err);
    if (rc == METALLM_OK)
        rc = read_policy(l, root, d, err);
    if (rc == METALLM_OK)
        rc = read_outcome(root, &d->outcome, err);
    if (rc == METALLM_OK)
        rc = read_estimates(l, root, d, err);
    return rc;
}

static int keep_decision(struct metallm__decision_log *l, const struct decision *d,
                         metallm_error *err)
{
    if (l->count >= METALLM__LOG_DECISIONS_MAX)
        return metallm__error_set(err, METALLM_ELIMIT, "more than %u decisions",
                                  METALLM__LOG_DECISIONS_MAX);
    void *decisions = l->decisions;
    if (metallm__grow(&decisions, &l->cap, l->count + 1, sizeof *l->decisions) != 0)
        return metallm__error_nomem(err, "decisions");
    l->decisions = decisions;
    int rc = make_slots(l, err);
    if (rc != METALLM_OK)
        return rc;
    l->decisions[l->count++] = *d;
    l->estimate_count += d->count;
    *find_slot(l, d->id_hash, d->id_check) = (uint32_t)l->count;
    return METALLM_OK;
}

/* What is stated replaces what was known: feedback may be repeated. */
static void keep_outcome(struct decision *d, const struct metallm__log_outcome *o)
{
    d->outcome.score = isnan(o->score) ? d->outcome.score : o->score;
    d->outcome.cost_usd = isnan(o->cost_usd) ? d->outcome.cost_usd : o->cost_usd;
    d->outcome.latency_ms = isnan(o->latency_ms) ? d->outcome.latency_ms : o->latency_ms;
}

static int read_object(struct metallm__decision_log *l, yyjson_val *root,
                       struct metallm__log_report *report, metallm_error *err)
{
    if (!yyjson_is_obj(root))
        return metallm__error_set(err, METALLM_EFORMAT, "not a JSON object");
    struct decision d = {0};
    const char *id = NULL;
    int rc = get_text(root, "id", ID_BYTES_MAX, &id, err);
    if (rc != METALLM_OK)
        return rc;
    hash_id(id, strlen(id), &d.id_hash, &d.id_check);
    uint32_t known = l->slot_count > 0 ? *find_slot(l, d.id_hash, d.id_check) : 0;
    if (yyjson_obj_get(root, "estimates") == NULL) {
        struct metallm__log_outcome outcome;
        rc = read_outcome(root, &outcome, err);
        if (rc == METALLM_OK) {
            report->outcomes++;
            report->orphans += known == 0;
            if (known > 0)
                keep_outcome(&l->decisions[known - 1], &outcome);
        }
        return rc;
    }
    if (known > 0)
        return metallm__error_set(err, METALLM_EFORMAT, "a second decision has the id '%.80s'", id);
    size_t models = l->models.count, policies = l->policies.count;
    rc = read_decision(l, root, &d, err);
    if (rc == METALLM_OK)
        rc = keep_decision(l, &d, err);
    if (rc != METALLM_OK) { /* the names of a bad line */
        names_cut(&l->models, models);
        names_cut(&l->policies, policies);
    }
    return rc;
}

static int read_line(struct metallm__decision_log *l, const char *line, size_t len,
                     struct metallm__log_report *report, metallm_error *err)
{
    if (len > METALLM__LOG_LINE_BYTES_MAX)
        return metallm__error_set(err, METALLM_EFORMAT, "longer than %u bytes",
                                  METALLM__LOG_LINE_BYTES_MAX);
    yyjson_doc *doc = NULL;
    int rc = metallm__json_read(&doc, line, len, err);
    if (rc != METALLM_OK)
        return rc;
    rc = read_object(l, yyjson_doc_get_root(doc), report, err);
    yyjson_doc_free(doc);
    return rc;
}

static bool is_blank(const char *line, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r')
            return false;
    return true;
}

static int tell(const struct metallm__log_options *opts, const char *path, size_t line, int rc,
                metallm_error *err)
{
    metallm__error_prefix(err, rc, "%s:%zu", path, line);
    if (rc != METALLM_EFORMAT || opts->is_strict)
        return rc;
    if (opts->problem != NULL)
        opts->problem(opts->problem_payload, err->message);
    *err = (metallm_error){0};
    return METALLM_OK;
}

static int read_lines(struct metallm__decision_log *l, const struct metallm__map *map,
                      const char *path, const struct metallm__log_options *opts,
                      struct metallm__log_report *report, metallm_error *err)
{
    const char *at = map->bytes, *end = map->bytes + map->len;
    for (size_t line = 1; at < end; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)((stop != NULL ? stop : end) - at);
        if (!is_blank(at, len)) {
            int rc = read_line(l, at, len, report, err);
            report->lines++;
            report->bad += rc == METALLM_EFORMAT;
            if (rc != METALLM_OK)
                rc = tell(opts, path, line, rc, err);
            if (rc != METALLM_OK)
                return rc;
        }
        if (stop == NULL)
            break;
        at = stop + 1;
        if (line % 4096 == 0 && opts->progress.step != NULL &&
            opts->progress.step(opts->progress.payload, "reading decisions",
                                (uint64_t)(map->len - (size_t)(end - at)), map->len) != 0)
            return metallm__error_set(err, METALLM_ECANCELED, "stopped");
    }
    return METALLM_OK;
}

int metallm__decision_log_read(struct metallm__decision_log *l, const char *path,
                               const struct metallm__log_options *opts,
                               struct metallm__log_report *report, metallm_error *err)
{
    struct metallm__log_report ignored = {0};
    metallm_error local = {0}; /* a problem is told also to a caller who wants no error record */
    struct metallm__map map;
    int rc = metallm__map_open(&map, path, &local);
    if (rc == METALLM_OK) {
        rc = read_lines(l, &map, path, opts, report != NULL ? report : &ignored, &local);
        metallm__map_close(&map);
    }
    if (rc != METALLM_OK && err != NULL)
        *err = local;
    return rc;
}

int metallm__decision_log_text(struct metallm__decision_log *l, const char *what, const char *text,
                               size_t len, const struct metallm__log_options *opts,
                               struct metallm__log_report *report, metallm_error *err)
{
    const struct metallm__map map = {.bytes = text, .len = len};
    metallm_error local = {0};
    int rc = read_lines(l, &map, what, opts, report, &local);
    if (rc != METALLM_OK && err != NULL)
        *err = local;
    return rc;
}

size_t metallm__decision_log_count(const struct metallm__decision_log *l)
{
    return l->count;
}

uint32_t metallm__decision_log_models(const struct metallm__decision_log *l)
{
    return (uint32_t)l->models.count;
}

const char *metallm__decision_log_model(const struct metallm__decision_log *l, uint32_t model)
{
    METALLM_REQUIRE(model < l->models.count);
    return l->models.items[model];
}

struct metallm__log_decision metallm__decision_log_get(const struct metallm__decision_log *l,
                                                       size_t i)
{
    METALLM_REQUIRE(i < l->count);
    const struct decision *d = &l->decisions[i];
    return (struct metallm__log_decision){
        .time = d->time,
        .policy = d->policy == UINT32_MAX ? NULL : l->policies.items[d->policy],
        .estimates = l->estimates + d->first,
        .count = d->count,
        .chosen = d->chosen,
        .propensity = d->propensity,
        .dial = d->dial,
        .target = d->target,
        .max_cost_usd = d->max_cost_usd,
        .cost_scale_usd = d->cost_scale_usd,
        .outcome = d->outcome,
    };
}
