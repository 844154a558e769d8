/* SPDX-License-Identifier: Apache-2.0
 * router_file.c - a router as a .safetensors file: tensors of every part, and in the metadata
 * "format" ("metallm-router"), "version", "encoder", "layout" ("HEAD TAIL TEXT"), "estimator",
 * "members" and "models" (JSON lists of names). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "router/router_state.h"
#include "router/tensors.h"

#define FORMAT "metallm-router"
#define COARSE "coarse." /* prefix of the parts of a coarse router in the same file */

static int put_list(struct metallm__st_writer *w, const char *key, const char *const *names,
                    uint32_t count, metallm_error *err)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(&metallm__json_alc);
    yyjson_mut_val *list = yyjson_mut_arr(doc);
    char *text = NULL;
    if (doc != NULL && list != NULL) {
        yyjson_mut_doc_set_root(doc, list);
        bool is_whole = true;
        for (uint32_t i = 0; i < count && is_whole; i++)
            is_whole = yyjson_mut_arr_add_str(doc, list, names[i]);
        if (is_whole)
            text = yyjson_mut_write_opts(doc, YYJSON_WRITE_ALLOW_INVALID_UNICODE,
                                         &metallm__json_alc, NULL, NULL);
    }
    int rc = text == NULL ? metallm__error_nomem(err, "a list of names")
                          : metallm__st_put_meta(w, key, text, err);
    metallm__free(text);
    yyjson_mut_doc_free(doc);
    return rc;
}

static int put_meta(const metallm_router *r, struct metallm__st_writer *w, metallm_error *err)
{
    char layout[64];
    const char *members[METALLM__MEMBERS_MAX];
    const metallm_layout *l = &r->projection.layout;
    (void)snprintf(layout, sizeof layout, "%u %u %u", l->head, l->tail, l->text);
    for (uint32_t k = 0; k < r->members; k++)
        members[k] = r->member[k].estimator->name;
    int rc = metallm__st_put_meta(w, "format", FORMAT, err);
    if (rc == METALLM_OK)
        rc = metallm__st_put_meta(w, "version", METALLM__ROUTER_VERSION, err);
    if (rc == METALLM_OK)
        rc = metallm__st_put_meta(w, "encoder", r->encoder, err);
    if (rc == METALLM_OK)
        rc = metallm__st_put_meta(w, "layout", layout, err);
    if (rc == METALLM_OK)
        rc = metallm__st_put_meta(w, "estimator", r->described, err);
    if (rc == METALLM_OK)
        rc = put_list(w, "members", members, r->members, err);
    return rc != METALLM_OK ? rc
                            : put_list(w, "models", (const char *const *)r->name, r->models, err);
}

static void member_prefix(char out[32], uint32_t k, const metallm_router *r)
{
    (void)snprintf(out, 32, "member%u.%s", k, r->member[k].estimator->name);
}

/* weights: the members' and, last, the strength; levels: models x (mean, intercept, slope). */
static int put_levels(const metallm_router *r, struct metallm__st_writer *w, metallm_error *err)
{
    float weights[METALLM__MEMBERS_MAX + 1];
    for (uint32_t k = 0; k < r->members; k++)
        weights[k] = (float)r->combination.weight[k];
    weights[r->members] = (float)r->combination.strength;
    int rc = metallm__put_f32(w, "router", "weights", 1, r->members + (size_t)1, weights, err);
    float *levels = metallm__alloc(3 * (size_t)r->models, sizeof *levels);
    if (rc == METALLM_OK && levels == NULL)
        rc = metallm__error_nomem(err, "a router's levels");
    for (uint32_t m = 0; m < r->models && rc == METALLM_OK; m++) {
        levels[3 * m] = (float)r->mean[m];
        levels[3 * m + 1] = r->platt[m].intercept;
        levels[3 * m + 2] = r->platt[m].slope;
    }
    if (rc == METALLM_OK)
        rc = metallm__put_f32(w, "router", "levels", r->models, 3, levels, err);
    metallm__free(levels);
    return rc;
}

static int put_parts(const metallm_router *r, struct metallm__st_writer *w, metallm_error *err)
{
    int rc = put_meta(r, w, err);
    if (rc == METALLM_OK)
        rc = put_levels(r, w, err);
    if (rc == METALLM_OK)
        rc = metallm__projection_save(&r->projection, w, err);
    for (uint32_t k = 0; k < r->members && rc == METALLM_OK; k++) {
        char prefix[32];
        member_prefix(prefix, k, r);
        rc = r->member[k].estimator->save(r->member[k].state, w, prefix, err);
    }
    if (rc == METALLM_OK)
        rc = metallm__gate_save(&r->gate, w, err);
    if (rc == METALLM_OK)
        rc = metallm__doubt_save(&r->doubt, w, err);
    if (rc == METALLM_OK)
        rc = metallm__spend_save(&r->cost, w, "cost", err);
    if (rc == METALLM_OK)
        rc = metallm__spend_save(&r->latency, w, "latency", err);
    if (rc == METALLM_OK && r->adapt != NULL)
        rc = metallm__adapt_save(r->adapt, w, "online", err);
    return rc != METALLM_OK || r->tasks == NULL ? rc : metallm__library_save(r->tasks, w, err);
}

static int put_coarse(const metallm_router *r, struct metallm__st_writer *w, metallm_error *err)
{
    char margin[32];
    (void)snprintf(margin, sizeof margin, "%.9g", r->margin);
    int rc = metallm__st_put_meta(w, "coarse_margin", margin, err);
    metallm__st_write_part(w, COARSE);
    if (rc == METALLM_OK)
        rc = put_parts(r->coarse, w, err);
    metallm__st_write_part(w, "");
    return rc;
}

int metallm_router_save(const metallm_router *r, const char *path, metallm_error *err)
{
    struct metallm__st_writer *w = NULL;
    int rc = metallm__st_writer_new(&w, err);
    if (rc == METALLM_OK)
        rc = put_parts(r, w, err);
    if (rc == METALLM_OK && r->coarse != NULL)
        rc = put_coarse(r, w, err);
    if (rc == METALLM_OK)
        rc = metallm__st_write(w, path, err);
    metallm__st_writer_free(w);
    return rc;
}

/* A list of strings from the metadata; *out is the caller's to free. */
static int get_list(const struct metallm__st_file *f, const char *key, yyjson_doc **out,
                    metallm_error *err)
{
    const char *text = metallm__st_meta(f, key);
    if (text == NULL)
        return metallm__error_set(err, METALLM_EFORMAT, "the metadata have no '%s'", key);
    yyjson_doc *doc = NULL;
    int rc = metallm__json_read(&doc, text, strlen(text), err);
    if (rc != METALLM_OK)
        return rc;
    yyjson_val *root = yyjson_doc_get_root(doc), *item;
    size_t i, count;
    bool is_list = yyjson_is_arr(root) && yyjson_arr_size(root) >= 1;
    yyjson_arr_foreach(root, i, count, item) is_list = is_list && yyjson_is_str(item);
    if (!is_list) {
        yyjson_doc_free(doc);
        return metallm__error_set(err, METALLM_EFORMAT, "'%s' is not a list of names", key);
    }
    *out = doc;
    return METALLM_OK;
}

static int get_names(metallm_router **out, const struct metallm__st_file *f, metallm_error *err)
{
    yyjson_doc *doc = NULL;
    int rc = get_list(f, "models", &doc, err);
    if (rc != METALLM_OK)
        return rc;
    yyjson_val *root = yyjson_doc_get_root(doc), *item;
    size_t i, count = yyjson_arr_size(root);
    if (count > METALLM_MODELS_MAX)
        rc = metallm__error_set(err, METALLM_EFORMAT, "%zu models are too many", count);
    else
        rc = metallm__router_new(out, (uint32_t)count, err);
    if (rc == METALLM_OK)
        yyjson_arr_foreach(root, i, count, item)
        {
            (*out)->name[i] = metallm__strdup(yyjson_get_str(item));
            if ((*out)->name[i] == NULL)
                rc = metallm__error_nomem(err, "a model's name");
        }
    yyjson_doc_free(doc);
    return rc;
}

static int get_layout(metallm_layout *out, const struct metallm__st_file *f, metallm_error *err)
{
    const char *text = metallm__st_meta(f, "layout");
    char extra = 0;
    if (text == NULL ||
        sscanf(text, "%u %u %u%c", &out->head, &out->tail, &out->text, &extra) != 3 ||
        out->head > METALLM__LAYOUT_MAX || out->tail > METALLM__LAYOUT_MAX)
        return metallm__error_set(err, METALLM_EFORMAT, "the layout is '%s'",
                                  text == NULL ? "missing" : text);
    return METALLM_OK;
}

static int get_texts(metallm_router *r, const struct metallm__st_file *f, metallm_error *err)
{
    const char *encoder = metallm__st_meta(f, "encoder");
    const char *estimator = metallm__st_meta(f, "estimator");
    if (encoder == NULL || estimator == NULL || strlen(encoder) >= sizeof r->encoder ||
        strlen(estimator) >= sizeof r->described)
        return metallm__error_set(err, METALLM_EFORMAT,
                                  "the metadata name no encoder or estimator");
    memcpy(r->encoder, encoder, strlen(encoder) + 1);
    memcpy(r->described, estimator, strlen(estimator) + 1);
    return METALLM_OK;
}

static int get_members(metallm_router *r, const struct metallm__st_file *f, metallm_error *err)
{
    yyjson_doc *doc = NULL;
    int rc = get_list(f, "members", &doc, err);
    if (rc != METALLM_OK)
        return rc;
    yyjson_val *root = yyjson_doc_get_root(doc);
    size_t count = yyjson_arr_size(root);
    if (count > METALLM__MEMBERS_MAX)
        rc = metallm__error_set(err, METALLM_EFORMAT, "%zu members are too many", count);
    for (uint32_t k = 0; k < count && rc == METALLM_OK; k++) {
        struct metallm__member *m = &r->member[k];
        const char *name = yyjson_get_str(yyjson_arr_get(root, k));
        char prefix[32];
        m->estimator = metallm__estimator_find(name);
        if (m->estimator == NULL) {
            rc = metallm__error_set(err, METALLM_EFORMAT, "no estimator '%s'", name);
            break;
        }
        member_prefix(prefix, k, r);
        rc = m->estimator->load(&m->state, f, prefix, r->projection.dim, r->models, err);
        if (rc == METALLM_OK)
            r->members = k + 1;
    }
    yyjson_doc_free(doc);
    return rc;
}

static int get_levels(metallm_router *r, const struct metallm__st_file *f, metallm_error *err)
{
    float *weights = NULL, *levels = NULL;
    size_t one = 1, count = r->members + (size_t)1, models = r->models, three = 3;
    int rc = metallm__get_f32(f, "router", "weights", &one, &count, &weights, err);
    if (rc == METALLM_OK)
        rc = metallm__get_f32(f, "router", "levels", &models, &three, &levels, err);
    if (rc == METALLM_OK) {
        r->combination.members = r->members;
        for (uint32_t k = 0; k < r->members; k++)
            r->combination.weight[k] = (double)weights[k];
        r->combination.strength = (double)weights[r->members];
        for (uint32_t m = 0; m < r->models; m++) {
            r->mean[m] = (double)levels[3 * m];
            r->platt[m] = (struct metallm__platt){levels[3 * m + 1], levels[3 * m + 2]};
        }
    }
    metallm__free(weights);
    metallm__free(levels);
    return rc;
}

static int get_parts(metallm_router *r, const struct metallm__st_file *f, metallm_error *err)
{
    metallm_layout layout;
    int rc = get_layout(&layout, f, err);
    if (rc == METALLM_OK)
        rc = get_texts(r, f, err);
    if (rc == METALLM_OK)
        rc = metallm__projection_load(&r->projection, f, &layout, err);
    if (rc == METALLM_OK)
        rc = get_members(r, f, err);
    if (rc == METALLM_OK)
        rc = get_levels(r, f, err);
    if (rc == METALLM_OK)
        rc = metallm__gate_load(&r->gate, f, r->projection.axes, err);
    if (rc == METALLM_OK)
        rc = metallm__doubt_load(&r->doubt, f, r->projection.dim, r->models, err);
    if (rc == METALLM_OK)
        rc = metallm__spend_load(&r->cost, f, "cost", r->projection.dim, r->models, err);
    if (rc == METALLM_OK)
        rc = metallm__spend_load(&r->latency, f, "latency", r->projection.dim, r->models, err);
    if (rc == METALLM_OK && metallm__st_meta(f, "tasks.names") != NULL)
        rc = metallm__library_load(&r->tasks, f, r->models, err);
    if (rc == METALLM_OK && metallm__st_has(f, "online.sides"))
        rc = metallm__adapt_load(&r->adapt, f, "online", metallm__router_learn_dim(r), r->models,
                                 err);
    if (rc == METALLM_OK)
        metallm__router_set_scale(r);
    return rc;
}

static int check_kind(const struct metallm__st_file *f, metallm_error *err)
{
    const char *format = metallm__st_meta(f, "format"), *version = metallm__st_meta(f, "version");
    if (format == NULL || strcmp(format, FORMAT) != 0)
        return metallm__error_set(err, METALLM_EFORMAT, "this is no router file");
    if (version == NULL || strcmp(version, METALLM__ROUTER_VERSION) != 0)
        return metallm__error_set(err, METALLM_EFORMAT,
                                  "the router file is of version '%s', this program reads '%s'",
                                  version == NULL ? "" : version, METALLM__ROUTER_VERSION);
    return METALLM_OK;
}

static bool has_same_models(const metallm_router *a, const metallm_router *b)
{
    bool same = a->models == b->models;
    for (uint32_t m = 0; m < a->models && same; m++)
        same = strcmp(a->name[m], b->name[m]) == 0;
    return same;
}

/* The coarse router of the same file, where there is one. */
static int get_coarse(metallm_router *r, struct metallm__st_file *f, metallm_error *err)
{
    const char *margin = metallm__st_meta(f, "coarse_margin");
    if (margin == NULL)
        return METALLM_OK;
    char extra = 0;
    if (sscanf(margin, "%lf%c", &r->margin, &extra) != 1 || !(r->margin >= 0))
        return metallm__error_set(err, METALLM_EFORMAT, "the margin is '%s'", margin);
    metallm__st_read_part(f, COARSE);
    int rc = check_kind(f, err);
    if (rc == METALLM_OK)
        rc = get_names(&r->coarse, f, err);
    if (rc == METALLM_OK)
        rc = get_parts(r->coarse, f, err);
    if (rc == METALLM_OK && !has_same_models(r, r->coarse))
        rc = metallm__error_set(err, METALLM_EFORMAT, "the coarse router knows other models");
    return rc;
}

int metallm_router_open(metallm_router **out, const char *path, metallm_error *err)
{
    struct metallm__st_file *f = NULL;
    int rc = metallm__st_open(&f, path, err);
    if (rc != METALLM_OK)
        return rc;
    metallm_router *r = NULL;
    rc = check_kind(f, err);
    if (rc == METALLM_OK)
        rc = get_names(&r, f, err);
    if (rc == METALLM_OK)
        rc = get_parts(r, f, err);
    if (rc == METALLM_OK)
        rc = get_coarse(r, f, err);
    metallm__st_close(f);
    if (rc != METALLM_OK) {
        metallm_router_free(r);
        if (rc == METALLM_ENOTFOUND) /* a tensor is missing */
            rc = METALLM_EFORMAT;
        return metallm__error_prefix(err, rc, "%s", path);
    }
    *out = r;
    return METALLM_OK;
}
