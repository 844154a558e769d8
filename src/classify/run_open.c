/* SPDX-License-Identifier: Apache-2.0
 * run_open.c - opens a run: what the options name is found, every text is looked at once, and the
 * job is made or met again. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "classify/run_job.h"

/* ---- Labels, template, examples. ---- */

static int open_labels(struct metallm__run *r, metallm_error *err)
{
    if (r->o.texts.choices != NULL) {
        if (r->o.labels != NULL)
            return metallm__error_set(err, METALLM_EINVAL,
                                      "choices are answered by their letters: labels cannot be "
                                      "given as well");
        return metallm__labels_letters(&r->labels, METALLM__CHOICES_MAX, err);
    }
    if (r->o.labels == NULL)
        return metallm__error_set(err, METALLM_EINVAL, "no labels: give at least two");
    return metallm__labels_parse(&r->labels, r->o.labels, err);
}

static uint32_t label_of(const struct metallm__run *r, struct metallm__text_part gold)
{
    return gold.n == 0 ? METALLM__LABEL_NONE
                       : metallm__labels_find(r->labels, metallm__span(gold.p, gold.n));
}

static int bad_gold(const char *path, const struct metallm__text *x, metallm_error *err)
{
    return metallm__error_set(err, METALLM_EFORMAT, "%.120s:%zu: '%.*s' is none of the labels",
                              path, x->line, x->gold.n < 60 ? (int)x->gold.n : 60, x->gold.p);
}

/* Worked examples, and the bytes that they lie in. */
struct examples {
    struct metallm__template_example items[METALLM__TEMPLATE_EXAMPLES_MAX];
    struct metallm__span choices[METALLM__TEMPLATE_EXAMPLES_MAX * METALLM__CHOICES_MAX];
    char *bytes[METALLM__TEMPLATE_EXAMPLES_MAX]; /* of each: its text and choices */
    uint32_t count;
};

static void examples_free(struct examples *e)
{
    for (uint32_t i = 0; e != NULL && i < e->count; i++)
        metallm__free(e->bytes[i]);
    metallm__free(e);
}

static int add_example(const struct metallm__run *r, struct examples *e,
                       const struct metallm__text *x, metallm_error *err)
{
    const uint32_t label = label_of(r, x->gold);
    if (e->count == METALLM__TEMPLATE_EXAMPLES_MAX)
        return metallm__error_set(err, METALLM_ELIMIT, "%.120s: more than %u examples",
                                  r->o.few_shot, METALLM__TEMPLATE_EXAMPLES_MAX);
    if (label == METALLM__LABEL_NONE)
        return bad_gold(r->o.few_shot, x, err);
    size_t bytes = x->text.n;
    for (unsigned i = 0; i < x->choice_count; i++)
        bytes += x->choices[i].n;
    char *at = metallm__alloc(bytes + 1, 1);
    if (at == NULL)
        return metallm__error_nomem(err, "examples");
    struct metallm__span *choices = e->choices + (size_t)e->count * METALLM__CHOICES_MAX;
    e->bytes[e->count] = at;
    e->items[e->count] = (struct metallm__template_example){.text = {at, x->text.n},
                                                            .label = label,
                                                            .choices = choices,
                                                            .choice_count = x->choice_count};
    memcpy(at, x->text.p, x->text.n);
    at += x->text.n;
    for (unsigned i = 0; i < x->choice_count; i++) {
        choices[i] = metallm__span(at, x->choices[i].n);
        memcpy(at, x->choices[i].p, x->choices[i].n);
        at += x->choices[i].n;
    }
    e->count++;
    return METALLM_OK;
}

/* The file has the columns of the texts; its labels stand in the gold column, else in "label". */
static int read_examples(const struct metallm__run *r, struct examples *e, metallm_error *err)
{
    struct metallm__texts_options o = r->o.texts;
    struct metallm__texts *texts = NULL;
    struct metallm__text x;
    o.path = r->o.few_shot;
    o.format = METALLM__TEXTS_AUTO;
    if (o.gold == NULL)
        o.gold = o.has_no_header ? "2" : "label";
    int rc = metallm__texts_open(&texts, &o, err);
    while (rc == METALLM_OK && (rc = metallm__texts_next(texts, &x, err)) == METALLM_OK)
        rc = add_example(r, e, &x, err);
    metallm__texts_close(texts);
    return rc == METALLM_ENOTFOUND && texts != NULL ? METALLM_OK : rc;
}

static int open_template(struct metallm__run *r, metallm_error *err)
{
    struct metallm__map file = {.bytes = ""};
    struct examples *e = NULL;
    int rc = METALLM_OK;
    if (r->o.few_shot != NULL) {
        e = metallm__calloc(1, sizeof *e);
        rc = e == NULL ? metallm__error_nomem(err, "examples") : read_examples(r, e, err);
    }
    if (rc == METALLM_OK && r->o.template != NULL)
        rc = metallm__map_open(&file, r->o.template, err);
    if (rc == METALLM_OK && file.len > METALLM__TEMPLATE_BYTES_MAX)
        rc = metallm__error_set(err, METALLM_ELIMIT, "%.120s: a template of more than 256 KiB",
                                r->o.template);
    if (rc == METALLM_OK) {
        const struct metallm__template_source source = {.labels = r->labels,
                                                        .is_choices = r->o.texts.choices != NULL,
                                                        .file = {file.bytes, file.len},
                                                        .path = r->o.template,
                                                        .examples = e != NULL ? e->items : NULL,
                                                        .example_count = e != NULL ? e->count : 0,
                                                        .output_tokens = r->o.output_tokens};
        rc = metallm__template_new(&r->template, &source, err);
    }
    metallm__map_close(&file);
    examples_free(e);
    return rc;
}

/* ---- LLMs. ---- */

static int add_llm(struct metallm__run *r, uint32_t world, metallm_error *err)
{
    struct metallm__run_llm *l = &r->llms[r->llm_count];
    *l = (struct metallm__run_llm){
        .name = r->parts.world->config->models[world].name, .world = world, .bound = 1};
    l->seen = metallm__calloc(METALLM__RUN_SEEN_MAX, sizeof *l->seen);
    if (l->seen == NULL)
        return metallm__error_nomem(err, "LLMs");
    r->names[r->llm_count++] = l->name;
    metallm__confidence_fit(&l->confidence, NULL, 0);
    return METALLM_OK;
}

static int open_judge(struct metallm__run *r, metallm_error *err)
{
    const struct metallm__config *c = r->parts.world->config;
    r->judge = METALLM__LABEL_NONE;
    if (r->o.judge == NULL)
        return METALLM_OK;
    const uint32_t world = metallm__config_model_find(c, r->o.judge, strlen(r->o.judge));
    if (world == METALLM__CONFIG_NONE)
        return metallm__error_set(err, METALLM_ENOTFOUND, "no LLM '%.80s' in '%.80s' to judge",
                                  r->o.judge, c->path);
    int rc = metallm__run_judge_open(r, err);
    if (rc != METALLM_OK)
        return rc;
    r->judge = 0;
    while (r->judge < r->llm_count && r->llms[r->judge].world != world)
        r->judge++;
    return r->judge < r->llm_count ? METALLM_OK : add_llm(r, world, err);
}

static int open_llms(struct metallm__run *r, metallm_error *err)
{
    const struct metallm__world *w = r->parts.world;
    struct metallm__name name = {.router = 0, .model = METALLM__CONFIG_NONE};
    if (r->o.router != NULL &&
        metallm__world_find(w, r->o.router, strlen(r->o.router), &name) != METALLM_OK)
        return metallm__error_set(err, METALLM_ENOTFOUND, "no router or LLM '%.80s' in '%.120s'",
                                  r->o.router, w->config->path);
    if (r->o.router == NULL && w->config->router_count == 0)
        return metallm__error_set(err, METALLM_ENOTFOUND,
                                  "'%.120s' has no router: name an LLM by --router",
                                  w->config->path);
    r->alias = name.alias;
    const struct metallm__view *v = NULL;
    int rc = METALLM_OK;
    if (name.router != METALLM__CONFIG_NONE) {
        r->router = &w->config->routers[name.router];
        rc = metallm__brain_reader_new(&r->reader, w->brains[name.router], err);
        if (rc == METALLM_OK)
            v = metallm__brain_view(r->reader);
    }
    const uint32_t count = r->router == NULL ? 1 : rc == METALLM_OK ? v->count : 0;
    r->llms = metallm__calloc(count + 1u, sizeof *r->llms);
    r->names = metallm__calloc(count + 1u, sizeof *r->names);
    r->shares = metallm__calloc(count + 1u, sizeof *r->shares);
    if (rc == METALLM_OK && (r->llms == NULL || r->names == NULL || r->shares == NULL))
        rc = metallm__error_nomem(err, "LLMs");
    for (uint32_t i = 0; i < count && rc == METALLM_OK; i++)
        rc = add_llm(r, v != NULL ? v->models[i] : name.model, err);
    r->candidate_count = r->llm_count;
    return rc == METALLM_OK ? open_judge(r, err) : rc;
}

/* A budget can be kept where every price is known. */
static int check_prices(const struct metallm__run *r, metallm_error *err)
{
    for (uint32_t i = 0; i < r->llm_count && !isnan(r->o.budget_usd); i++) {
        const struct metallm__llm *llm = &r->parts.world->llms->items[r->llms[i].world];
        const struct metallm__price *p = metallm__llm_price(llm, r->day);
        const bool is_known =
            p != NULL && (!isnan(p->usd_per_call) || (!isnan(p->input) && !isnan(p->output)));
        if (!is_known)
            return metallm__error_set(
                err, METALLM_EINVAL, "a budget needs every price, and '%.80s' has none", llm->name);
    }
    return METALLM_OK;
}

/* ---- The texts, all of them, before anything is spent. ---- */

static int look_at_texts(struct metallm__run *r, metallm_error *err)
{
    struct metallm__text x;
    int rc = metallm__texts_open(&r->texts, &r->o.texts, err);
    while (rc == METALLM_OK && (rc = metallm__texts_next(r->texts, &x, err)) == METALLM_OK) {
        if (x.gold.n > 0 && label_of(r, x.gold) == METALLM__LABEL_NONE)
            return bad_gold(r->o.texts.path, &x, err);
        r->text_count++;
        r->gold_count += x.gold.n > 0;
    }
    if (rc != METALLM_ENOTFOUND || r->texts == NULL)
        return rc;
    if (r->text_count == 0)
        return metallm__error_set(err, METALLM_EFORMAT, "no text in '%.120s'", r->o.texts.path);
    return metallm__texts_rewind(r->texts, err);
}

static int open_pacer(struct metallm__run *r, metallm_error *err)
{
    const uint64_t left = r->text_count - r->state.answered;
    const double money = r->o.budget_usd - r->spent;
    if (isnan(r->o.budget_usd) || r->router == NULL || left == 0 || !(money > 0))
        return METALLM_OK;
    r->pace = money / (double)left;
    const struct metallm__pacer_options o = {.usd_per_request = r->pace,
                                             .models = r->candidate_count};
    return metallm__pacer_new(&r->pacer, &o, err);
}

static void settle_options(struct metallm__run *r)
{
    struct metallm__run_options *o = &r->o;
    if (o->concurrent == 0)
        o->concurrent = 16;
    if (o->tries == 0)
        o->tries = 5;
    if (o->pause_ms == 0)
        o->pause_ms = 500;
    if (o->patience_ms == 0)
        o->patience_ms = 120000;
    if (o->lessons == 0)
        o->lessons = 100;
    if (o->job == NULL) {
        const char *slash = strrchr(o->texts.path, '/');
        o->job = slash != NULL ? slash + 1 : o->texts.path;
    }
}

static int check_options(const struct metallm__run_options *o, metallm_error *err)
{
    const size_t name = strlen(o->job);
    if (name < 1 || name > METALLM__JOB_NAME_MAX)
        return metallm__error_set(err, METALLM_EINVAL, "a job's name has 1 to %u bytes, not %zu",
                                  METALLM__JOB_NAME_MAX, name);
    if (strcmp(o->texts.path, "-") == 0)
        return metallm__error_set(err, METALLM_EINVAL,
                                  "texts must stand in a file: a job reads them again when it goes "
                                  "on");
    if (o->concurrent > METALLM__RUN_CONCURRENT_MAX || o->tries > METALLM__RUN_TRIES_MAX)
        return metallm__error_set(err, METALLM_EINVAL, "at most %u calls at a time and %u tries",
                                  METALLM__RUN_CONCURRENT_MAX, METALLM__RUN_TRIES_MAX);
    if (!isnan(o->budget_usd) && !(o->budget_usd > 0 && isfinite(o->budget_usd)))
        return metallm__error_set(err, METALLM_EINVAL, "budget %g is not above 0", o->budget_usd);
    return METALLM_OK;
}

static int open_all(struct metallm__run *r, metallm_error *err)
{
    int rc = check_options(&r->o, err);
    if (rc == METALLM_OK)
        rc = open_labels(r, err);
    if (rc == METALLM_OK)
        rc = open_template(r, err);
    if (rc == METALLM_OK)
        rc = look_at_texts(r, err);
    if (rc == METALLM_OK)
        rc = metallm__parts_open(&r->parts, r->o.config, r->o.store, err);
    if (rc == METALLM_OK)
        rc = r->o.is_dry ? metallm__parts_restore(&r->parts, err)
                         : metallm__parts_open_journal(&r->parts, err);
    if (rc == METALLM_OK)
        rc = open_llms(r, err);
    if (rc == METALLM_OK)
        rc = check_prices(r, err);
    if (rc == METALLM_OK)
        rc = metallm__run_find_logprobs(r, err);
    if (rc == METALLM_OK)
        rc = metallm__run_meet(r, err);
    if (rc == METALLM_OK && r->o.is_cascade)
        rc = metallm__run_cascade_open(r, err);
    return rc == METALLM_OK ? open_pacer(r, err) : rc;
}

int metallm__run_open(struct metallm__run **out, const struct metallm__run_options *options,
                      metallm_error *err)
{
    struct metallm__run *r = metallm__calloc(1, sizeof *r);
    if (r == NULL)
        return metallm__error_nomem(err, "a job");
    r->o = *options;
    r->day = metallm__day_today();
    pthread_mutex_init(&r->lock, NULL);
    settle_options(r);
    int rc = open_all(r, err);
    if (rc != METALLM_OK) {
        metallm__run_close(r);
        return rc;
    }
    metallm__rng_stream(&r->rng, r->o.seed, r->state.answered);
    *out = r;
    return METALLM_OK;
}

void metallm__run_close(struct metallm__run *r)
{
    if (r == NULL)
        return;
    metallm__run_items_free(r); /* stops the encoder's threads first */
    metallm__brain_reader_free(r->reader);
    for (uint32_t i = 0; i < r->llm_count; i++) {
        metallm__free(r->llms[i].seen);
        metallm__free(r->llms[i].leaning);
    }
    metallm__free(r->llms);
    metallm__free(r->names);
    metallm__free(r->shares);
    metallm__free(r->feedback);
    metallm__free(r->cells);
    metallm__graders_free(r->graders);
    metallm__pacer_free(r->pacer);
    metallm__parts_close(&r->parts);
    metallm__texts_close(r->texts);
    metallm__template_free(r->template);
    metallm__labels_free(r->labels);
    pthread_mutex_destroy(&r->lock);
    metallm__free(r);
}
