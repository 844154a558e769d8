/* SPDX-License-Identifier: Apache-2.0
 * brain_setup.c - what the configuration says of one router, made ready for decisions: candidates,
 * their priors and prices, the router file, the policy; and the setup that records name. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"
#include "gateway/brain_state.h"
#include "router/router_state.h"

/* Prior precision of what is learned: over a router file's estimates, and over none. */
#define LAMBDA_FILE  1000.0
#define LAMBDA_PLAIN 20.0
/* How far the quality of an LLM may be from its prior. A stated one counts as prior_weight
 * observations of variance 0.2. */
#define LEVEL_SD_UNKNOWN 0.3
#define LEVEL_SD_LIKE    0.1
#define SCORE_VARIANCE   0.2
#define SIGNS_SEED       0x706c61696e0001u
#define TEXT_MOST        (METALLM__RECORD_DIM_MAX - 1 - METALLM__PLAIN_AXES)

double metallm__brain_price_of(const struct metallm__brain_price *p, double input, double output)
{
    const double call = isnan(p->usd_per_call) ? 0 : p->usd_per_call;
    if (isnan(p->input) || isnan(p->output))
        return isnan(p->usd_per_call) ? NAN : call;
    return call + 1e-6 * (p->input * input + p->output * output);
}

static void file_drop(struct metallm__router_file *f)
{
    if (f == NULL || atomic_fetch_sub(&f->holders, 1) > 1)
        return;
    metallm_router_free(f->router);
    metallm__free(f->path);
    metallm__free(f);
}

/* The file, or the one in use where its bytes are the same. */
static int file_open(struct metallm__router_file **out, const char *path,
                     struct metallm__router_file *known, metallm_error *err)
{
    struct metallm__map map;
    int rc = metallm__map_open(&map, path, err);
    if (rc != METALLM_OK)
        return rc;
    const uint64_t print = metallm__hash_bytes(map.bytes, map.len, 0);
    metallm__map_close(&map);
    if (known != NULL && known->print == print && strcmp(known->path, path) == 0) {
        atomic_fetch_add(&known->holders, 1);
        *out = known;
        return METALLM_OK;
    }
    struct metallm__router_file *f = metallm__calloc(1, sizeof *f);
    if (f == NULL)
        return metallm__error_nomem(err, "a router file");
    atomic_init(&f->holders, 1);
    f->print = print;
    f->path = metallm__strdup(path);
    rc = f->path != NULL ? metallm_router_open(&f->router, path, err)
                         : metallm__error_nomem(err, "a router file");
    if (rc != METALLM_OK) {
        file_drop(f);
        return rc;
    }
    *out = f;
    return METALLM_OK;
}

static int check_encoder(const struct metallm__generation *g, metallm_error *err)
{
    const metallm_router *r = g->file->router;
    const metallm_layout want = metallm_router_layout(r);
    if (strcmp(g->encoder, metallm_router_encoder(r)) != 0)
        return metallm__error_set(
            err, METALLM_EMISMATCH, "router '%s': '%s' was trained on encoder '%s', not '%s'",
            g->router->name, g->file->path, metallm_router_encoder(r), g->encoder);
    if (want.head != g->layout.head || want.tail != g->layout.tail || want.text != g->layout.text)
        return metallm__error_set(err, METALLM_EMISMATCH,
                                  "router '%s': '%s' was trained on vectors of %u + %u + %u floats",
                                  g->router->name, g->file->path, want.head, want.tail, want.text);
    return METALLM_OK;
}

/* Signs of a random projection (Achlioptas 2003), the same in every process: z keeps distances of
 * embeddings roughly, without having seen any. */
static int make_signs(struct metallm__generation *g, metallm_error *err)
{
    g->axes = g->layout.head < METALLM__PLAIN_AXES ? g->layout.head : METALLM__PLAIN_AXES;
    g->text = g->layout.text < TEXT_MOST ? g->layout.text : TEXT_MOST;
    g->dim = 1 + g->axes + g->text;
    const size_t count = (size_t)g->axes * g->layout.head;
    g->signs = metallm__alloc(count + 1, sizeof *g->signs);
    if (g->signs == NULL)
        return metallm__error_nomem(err, "a brain");
    metallm_rng rng;
    metallm_rng_seed(&rng, SIGNS_SEED);
    const float size = g->axes > 0 ? 1 / sqrtf((float)g->axes) : 0;
    for (size_t i = 0; i < count; i++)
        g->signs[i] = metallm__rng_next(&rng) >> 63 != 0 ? size : -size;
    return METALLM_OK;
}

static uint32_t candidate_of(const struct metallm__generation *g, uint32_t model)
{
    for (uint32_t i = 0; i < g->count; i++)
        if (g->models[i] == model)
            return i;
    return UINT32_MAX;
}

static void take_models(struct metallm__generation *g, const struct metallm__brain_price *prices)
{
    const struct metallm__config_router *r = g->router;
    for (uint32_t i = 0; i < r->model_count && i < METALLM_MODELS_MAX; i++)
        g->models[g->count++] = r->models[i];
    for (uint32_t i = 0; i < g->count; i++) {
        const struct metallm__config_model *m = &g->config->models[g->models[i]];
        g->is_open[i] = !m->drained && !m->retired;
    }
    if (r->mode == METALLM__MODE_OBSERVE && r->fallback != METALLM__CONFIG_NONE &&
        candidate_of(g, r->fallback) == UINT32_MAX && g->count < METALLM_MODELS_MAX)
        g->models[g->count++] = r->fallback; /* it answers, so it is known; it is not chosen */
    for (uint32_t i = 0; i < g->count; i++) {
        const struct metallm__config_model *m = &g->config->models[g->models[i]];
        g->prices[i] = prices[g->models[i]];
        g->in_file[i] =
            g->file == NULL ? UINT32_MAX : metallm_router_find_model(g->file->router, m->name);
        g->like[i] = m->like == METALLM__CONFIG_NONE ? UINT32_MAX : candidate_of(g, m->like);
    }
}

static int choose_policy(struct metallm__generation *g, metallm_error *err)
{
    const char *spec = g->router->policy;
    if (spec[0] == '\0')
        spec = g->has_prior ? "greedy" : "thompson";
    return metallm__policy_parse(&g->policy, spec, err);
}

/* ---- Setups as JSON. ---- */

static bool add_price(yyjson_mut_doc *doc, yyjson_mut_val *to, const char *name, double value)
{
    return isfinite(value) ? yyjson_mut_obj_add_real(doc, to, name, value)
                           : yyjson_mut_obj_add_null(doc, to, name);
}

static bool add_model(yyjson_mut_doc *doc, yyjson_mut_val *list, const char *name,
                      const struct metallm__brain_price *p)
{
    yyjson_mut_val *m = yyjson_mut_arr_add_obj(doc, list);
    return m != NULL && yyjson_mut_obj_add_str(doc, m, "name", name) &&
           add_price(doc, m, "input", p->input) && add_price(doc, m, "output", p->output) &&
           add_price(doc, m, "cached_input", p->cached_input) &&
           add_price(doc, m, "usd_per_call", p->usd_per_call);
}

/* Prints doc and frees it. */
static int print_setup(yyjson_mut_doc *doc, bool ok, uint64_t *hash, char **json,
                       metallm_error *err)
{
    size_t len = 0;
    char *text = ok ? yyjson_mut_write_opts(doc, YYJSON_WRITE_ALLOW_INVALID_UNICODE,
                                            &metallm__json_alc, &len, NULL)
                    : NULL;
    yyjson_mut_doc_free(doc);
    if (text == NULL)
        return metallm__error_nomem(err, "a setup");
    *hash = metallm__hash_bytes(text, len, 1);
    *json = text;
    return METALLM_OK;
}

int metallm__direct_setup(const struct metallm__config *config,
                          const struct metallm__brain_price *prices, uint64_t *hash, char **json,
                          metallm_error *err)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(&metallm__json_alc);
    yyjson_mut_val *root = yyjson_mut_obj(doc), *list = NULL;
    yyjson_mut_doc_set_root(doc, root);
    bool ok = yyjson_mut_obj_add_null(doc, root, "router") &&
              (list = yyjson_mut_obj_add_arr(doc, root, "models")) != NULL;
    for (uint32_t m = 0; ok && m < config->model_count; m++)
        ok = add_model(doc, list, config->models[m].name, &prices[m]);
    return print_setup(doc, ok, hash, json, err);
}

static int make_setup(struct metallm__generation *g, metallm_error *err)
{
    static const char *const modes[] = {"observe", "offline", "online", "hybrid"};
    char space[24], print[24];
    snprintf(space, sizeof space, "%016llx", (unsigned long long)g->lessons.space);
    snprintf(print, sizeof print, "%016llx",
             (unsigned long long)(g->file != NULL ? g->file->print : 0));
    yyjson_mut_doc *doc = yyjson_mut_doc_new(&metallm__json_alc);
    yyjson_mut_val *root = yyjson_mut_obj(doc), *list = NULL;
    yyjson_mut_doc_set_root(doc, root);
    bool ok = yyjson_mut_obj_add_str(doc, root, "router", g->router->name) &&
              yyjson_mut_obj_add_str(doc, root, "mode", modes[g->router->mode]) &&
              yyjson_mut_obj_add_bool(doc, root, "learns", g->learns) &&
              yyjson_mut_obj_add_str(doc, root, "space", space) &&
              yyjson_mut_obj_add_str(doc, root, "policy",
                                     g->router->policy[0] != '\0' ? g->router->policy
                                                                  : g->policy.policy->name) &&
              yyjson_mut_obj_add_str(doc, root, "file", g->file != NULL ? g->file->path : "") &&
              yyjson_mut_obj_add_str(doc, root, "file_hash", print) &&
              yyjson_mut_obj_add_str(doc, root, "encoder", g->encoder) &&
              yyjson_mut_obj_add_real(doc, root, "explore", g->router->explore.share) &&
              (list = yyjson_mut_obj_add_arr(doc, root, "models")) != NULL;
    for (uint32_t i = 0; ok && i < g->count; i++)
        ok = add_model(doc, list, g->config->models[g->models[i]].name, &g->prices[i]);
    return print_setup(doc, ok, &g->setup, &g->setup_json, err);
}

/* ---- Generations. ---- */

/* "FILE:LINE: KEY" before the sentence; a model of the admin API stands on no line. */
static int at_outcomes(const struct metallm__generation *g, uint32_t model, int code,
                       metallm_error *err)
{
    char option[64];
    snprintf(option, sizeof option, "models[%u].prior.outcomes", model);
    const uint32_t line = metallm__config_line(g->config, option);
    if (line == 0)
        return metallm__error_prefix(err, code, "%s", option);
    return metallm__error_prefix(err, code, "%.80s:%u: %s", g->config->path, line, option);
}

/* What the configuration says is to be expected of a candidate that the file's estimates do not
 * stand for. */
static int expect(struct metallm__generation *g, uint32_t i,
                  const struct metallm__brains_setup *setup, struct metallm__priors *priors,
                  metallm_error *err)
{
    const struct metallm__config_model *m = &g->config->models[g->models[i]];
    g->expected[i] = m->prior_quality;
    if (m->prior_outcomes[0] == '\0' || (g->has_prior && g->in_file[i] != UINT32_MAX))
        return METALLM_OK;
    const struct metallm__prior_request q = {.path = m->prior_outcomes,
                                             .model = m->name,
                                             .encoder = setup->outcomes,
                                             .router = g->file != NULL ? g->file->router : NULL,
                                             .print = g->file != NULL ? g->file->print : 0};
    struct metallm__prior_scores scores;
    bool is_new = false;
    metallm_error own = {0};
    int rc = metallm__priors_find(priors, &q, &scores, &is_new, &own);
    struct metallm__prior_told told = {.model = m->name, .router = g->router->name};
    if (rc == METALLM_OK) {
        g->expected[i] = told.quality = metallm__prior_quality(&scores, m->prior_score);
        told.scores = &scores;
        told.err = scores.is_partial ? &own : NULL;
    } else {
        rc = at_outcomes(g, g->models[i], rc, &own);
        told.err = &own;
        if (!m->by_admin || rc == METALLM_ENOMEM) {
            if (err != NULL)
                *err = own;
            return rc;
        }
    }
    if (setup->told != NULL && (is_new || told.err != NULL))
        setup->told(setup->payload, &told);
    return METALLM_OK;
}

static int fill(struct metallm__generation *g, const struct metallm__brains_setup *setup,
                struct metallm__router_file *known, struct metallm__priors *priors,
                metallm_error *err)
{
    int rc = METALLM_OK;
    snprintf(g->encoder, sizeof g->encoder, "%s", setup->encoder != NULL ? setup->encoder : "");
    g->layout = setup->layout;
    if (g->router->file[0] != '\0' &&
        (rc = file_open(&g->file, g->router->file, known, err)) == METALLM_OK &&
        (rc = check_encoder(g, err)) == METALLM_OK)
        g->dim = metallm__router_learn_dim(g->file->router);
    if (rc == METALLM_OK && g->file == NULL)
        rc = make_signs(g, err);
    if (rc != METALLM_OK)
        return rc;
    g->has_prior = g->file != NULL && g->router->mode != METALLM__MODE_ONLINE;
    g->learns = g->router->mode != METALLM__MODE_OFFLINE;
    take_models(g, setup->prices);
    const uint64_t space[5] = {g->file != NULL ? g->file->print : 0, g->layout.head, g->layout.tail,
                               g->layout.text, g->has_prior};
    const uint64_t hash = metallm__hash_bytes(space, sizeof space, 3) ^
                          metallm__hash_bytes(g->encoder, strlen(g->encoder), 2);
    g->lessons = (struct metallm__lessons_options){
        .dim = g->dim,
        .lambda = g->has_prior ? LAMBDA_FILE : LAMBDA_PLAIN,
        .gamma = g->router->forget > 0 ? g->router->forget : 1,
        .space = hash,
    };
    rc = choose_policy(g, err);
    for (uint32_t i = 0; i < g->count && rc == METALLM_OK; i++)
        rc = expect(g, i, setup, priors, err);
    return rc == METALLM_OK ? make_setup(g, err) : rc;
}

int metallm__generation_new(struct metallm__generation **out,
                            const struct metallm__brains_setup *setup, uint32_t router,
                            struct metallm__router_file *known, struct metallm__priors *priors,
                            metallm_error *err)
{
    struct metallm__generation *g = metallm__calloc(1, sizeof *g);
    if (g == NULL)
        return metallm__error_nomem(err, "a brain");
    atomic_init(&g->holders, 1);
    g->config = metallm__config_take(setup->config);
    g->router = &g->config->routers[router];
    int rc = fill(g, setup, known, priors, err);
    if (rc != METALLM_OK) {
        metallm__generation_drop(g);
        return rc;
    }
    *out = g;
    return METALLM_OK;
}

struct metallm__generation *metallm__generation_take(struct metallm__generation *g)
{
    atomic_fetch_add(&g->holders, 1);
    return g;
}

void metallm__generation_drop(struct metallm__generation *g)
{
    if (g == NULL || atomic_fetch_sub(&g->holders, 1) > 1)
        return;
    metallm__config_drop(g->config);
    file_drop(g->file);
    metallm__free(g->signs);
    metallm__free(g->setup_json);
    metallm__free(g);
}

/* ---- What is learned follows the configuration. ---- */

static double level_sd(const struct metallm__generation *g, uint32_t i)
{
    const struct metallm__config_model *m = &g->config->models[g->models[i]];
    if (g->has_prior && g->in_file[i] != UINT32_MAX)
        return 0;
    if (!isnan(g->expected[i]))
        return sqrt(SCORE_VARIANCE / fmax(m->prior_weight, 1));
    return g->like[i] != UINT32_MAX ? LEVEL_SD_LIKE : LEVEL_SD_UNKNOWN;
}

static void note_price(struct metallm__slot *s, const struct metallm__brain_price *p)
{
    s->input = p->input;
    s->output = p->output;
    s->usd_per_call = p->usd_per_call;
}

static bool same(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

/* An LLM whose cost the file predicts follows its price by a factor at the tokens it is known for;
 * elsewhere the price stands in the prior itself. */
static bool follow_price(const struct metallm__generation *g, uint32_t i, uint32_t slot,
                         struct metallm__lessons *l)
{
    struct metallm__slot *s = &l->slots[slot];
    const struct metallm__brain_price *now = &g->prices[i];
    const struct metallm__brain_price before = {
        .input = s->input, .output = s->output, .usd_per_call = s->usd_per_call};
    if (same(before.input, now->input) && same(before.output, now->output) &&
        same(before.usd_per_call, now->usd_per_call))
        return false;
    const double in = isnan(l->input_tokens) ? METALLM__TOKENS_INPUT : l->input_tokens;
    const double out = isnan(s->output_tokens) ? METALLM__TOKENS_OUTPUT : s->output_tokens;
    const double factor =
        metallm__brain_price_of(now, in, out) / metallm__brain_price_of(&before, in, out);
    const bool by_file = g->has_prior && g->in_file[i] != UINT32_MAX &&
                         !isnan(metallm_router_mean_cost(g->file->router, g->in_file[i]));
    if (by_file && factor > 0 && isfinite(factor))
        metallm__adapt_reprice(l->adapt, slot, factor);
    note_price(s, now);
    return true;
}

int metallm__generation_reconcile(const struct metallm__generation *g, struct metallm__lessons *l,
                                  bool *changed, metallm_error *err)
{
    int rc = METALLM_OK;
    *changed = false;
    for (int pass = 0; pass < 2; pass++) /* those that others are like come first */
        for (uint32_t i = 0; i < g->count && rc == METALLM_OK; i++) {
            const char *name = g->config->models[g->models[i]].name;
            if ((pass == 0) != (g->like[i] == UINT32_MAX))
                continue;
            uint32_t slot = metallm__lessons_find(l, name);
            if (slot != UINT32_MAX) {
                *changed |= follow_price(g, i, slot, l);
                continue;
            }
            const uint32_t like =
                g->like[i] == UINT32_MAX
                    ? UINT32_MAX
                    : metallm__lessons_find(l, g->config->models[g->models[g->like[i]]].name);
            rc = metallm__lessons_add(l, name, like, level_sd(g, i), err);
            if (rc == METALLM_OK)
                note_price(&l->slots[l->count - 1], &g->prices[i]);
            *changed = true;
        }
    return rc;
}

int metallm__generation_lessons(const struct metallm__generation *g, struct metallm__lessons **out,
                                metallm_error *err)
{
    struct metallm__lessons *l = NULL;
    bool changed;
    int rc = metallm__lessons_new(&l, &g->lessons, err);
    if (rc == METALLM_OK)
        rc = metallm__generation_reconcile(g, l, &changed, err);
    if (rc != METALLM_OK) {
        metallm__lessons_free(l);
        return rc;
    }
    *out = l;
    return METALLM_OK;
}
