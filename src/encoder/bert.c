/* SPDX-License-Identifier: Apache-2.0
 * bert.c - see bert.h. */
#include "encoder/bert.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

#define PATH_BYTES 4096u
#define SIZE_LIMIT 65536u /* of any dimension but the vocabulary's */

static const struct metallm__bert_config minilm_l6 = {
    .layers = 6,
    .hidden = 384,
    .heads = 12,
    .inner = 1536,
    .vocab = 30522,
    .positions = 512,
    .tokens_max = 256,
    .epsilon = 1e-12f,
    .is_uncased = true,
};

/* ---- settings ---- */

/* Reads folder/name; *out stays NULL when there is no such file. */
static int read_json(yyjson_doc **out, const char *folder, const char *name, metallm_error *err)
{
    char path[PATH_BYTES];
    struct metallm__map map;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    *out = NULL;
    if (access(path, F_OK) != 0)
        return METALLM_OK;
    int rc = metallm__map_open(&map, path, err);
    if (rc != METALLM_OK)
        return rc;
    rc = metallm__json_read(out, map.bytes, map.len, err);
    metallm__map_close(&map);
    return rc == METALLM_OK ? rc : metallm__error_prefix(err, rc, "'%s'", path);
}

static int read_size(yyjson_val *root, const char *key, uint32_t high, uint32_t *out,
                     metallm_error *err)
{
    yyjson_val *v = yyjson_obj_get(root, key);
    if (!yyjson_is_uint(v) || yyjson_get_uint(v) < 1 || yyjson_get_uint(v) > high)
        return metallm__error_set(err, METALLM_EFORMAT,
                                  "config.json: %s is not a whole number from 1 to %u", key, high);
    *out = (uint32_t)yyjson_get_uint(v);
    return METALLM_OK;
}

/* A setting that must have one value, if it is given at all. */
static int require_text(yyjson_val *root, const char *key, const char *only, metallm_error *err)
{
    yyjson_val *v = yyjson_obj_get(root, key);
    if (v == NULL || yyjson_equals_str(v, only))
        return METALLM_OK;
    return metallm__error_set(err, METALLM_EMISMATCH,
                              "a model with %s '%s' is not supported, only '%s'", key,
                              yyjson_is_str(v) ? yyjson_get_str(v) : "?", only);
}

static int read_sizes(yyjson_val *root, struct metallm__bert_config *c, metallm_error *err)
{
    const struct {
        const char *key;
        uint32_t high, *out;
    } sizes[] = {{"num_hidden_layers", METALLM__BERT_LAYERS_MAX, &c->layers},
                 {"hidden_size", SIZE_LIMIT, &c->hidden},
                 {"num_attention_heads", SIZE_LIMIT, &c->heads},
                 {"intermediate_size", SIZE_LIMIT, &c->inner},
                 {"vocab_size", 1u << 20, &c->vocab},
                 {"max_position_embeddings", SIZE_LIMIT, &c->positions}};
    const char *const only[][2] = {
        {"model_type", "bert"}, {"hidden_act", "gelu"}, {"position_embedding_type", "absolute"}};
    int rc = METALLM_OK;
    for (size_t i = 0; rc == METALLM_OK && i < sizeof only / sizeof only[0]; i++)
        rc = require_text(root, only[i][0], only[i][1], err);
    for (size_t i = 0; rc == METALLM_OK && i < sizeof sizes / sizeof sizes[0]; i++)
        rc = read_size(root, sizes[i].key, sizes[i].high, sizes[i].out, err);
    if (rc != METALLM_OK)
        return rc;
    yyjson_val *epsilon = yyjson_obj_get(root, "layer_norm_eps");
    if (yyjson_is_num(epsilon))
        c->epsilon = (float)yyjson_get_num(epsilon);
    if (c->hidden % c->heads != 0 || c->hidden / c->heads % METALLM__KERNEL_COLUMNS != 0 ||
        c->inner % METALLM__KERNEL_COLUMNS != 0)
        return metallm__error_set(err, METALLM_EMISMATCH,
                                  "%u columns in %u heads are not supported: a head and the inner "
                                  "layer must be multiples of %u",
                                  c->hidden, c->heads, METALLM__KERNEL_COLUMNS);
    return METALLM_OK;
}

static int read_pooling(const char *folder, struct metallm__bert_config *c, metallm_error *err)
{
    yyjson_doc *doc;
    int rc = read_json(&doc, folder, "1_Pooling/config.json", err);
    if (rc != METALLM_OK || doc == NULL)
        return rc;
    yyjson_val *root = yyjson_doc_get_root(doc);
    c->is_cls = yyjson_get_bool(yyjson_obj_get(root, "pooling_mode_cls_token"));
    bool is_mean = yyjson_get_bool(yyjson_obj_get(root, "pooling_mode_mean_tokens"));
    if (c->is_cls == is_mean)
        rc = metallm__error_set(err, METALLM_EMISMATCH,
                                "a pooling that is neither mean nor [CLS] is not supported");
    yyjson_doc_free(doc);
    return rc;
}

static int read_limits(const char *folder, struct metallm__bert_config *c, metallm_error *err)
{
    yyjson_doc *sentence = NULL, *tokenizer = NULL;
    int rc = read_json(&sentence, folder, "sentence_bert_config.json", err);
    if (rc == METALLM_OK)
        rc = read_json(&tokenizer, folder, "tokenizer_config.json", err);
    if (rc == METALLM_OK) {
        yyjson_val *limit = yyjson_obj_get(yyjson_doc_get_root(sentence), "max_seq_length");
        yyjson_val *lower = yyjson_obj_get(yyjson_doc_get_root(tokenizer), "do_lower_case");
        if (yyjson_is_uint(limit) && yyjson_get_uint(limit) >= 2 &&
            yyjson_get_uint(limit) < c->tokens_max)
            c->tokens_max = (uint32_t)yyjson_get_uint(limit);
        if (yyjson_is_bool(lower))
            c->is_uncased = yyjson_get_bool(lower);
    }
    yyjson_doc_free(sentence);
    yyjson_doc_free(tokenizer);
    return rc;
}

static int read_config(const char *folder, struct metallm__bert_config *c, metallm_error *err)
{
    yyjson_doc *doc;
    *c = minilm_l6;
    int rc = read_json(&doc, folder, "config.json", err);
    if (rc != METALLM_OK || doc == NULL)
        return rc;
    rc = read_sizes(yyjson_doc_get_root(doc), c, err);
    yyjson_doc_free(doc);
    c->tokens_max =
        c->positions < METALLM__BERT_TOKENS_MAX ? c->positions : METALLM__BERT_TOKENS_MAX;
    if (rc == METALLM_OK)
        rc = read_limits(folder, c, err);
    return rc == METALLM_OK ? read_pooling(folder, c, err) : rc;
}

/* ---- weights ---- */

/* Where tensors are looked up: some files put "bert." before each name. */
struct source {
    const struct metallm__st_file *file;
    const char *prefix;
    int layer;
    metallm_error *err;
};

/* rows 0: a vector of columns. */
static int get(const struct source *s, const char *name, uint32_t rows, uint32_t columns,
               const float **out)
{
    char full[160];
    if (s->layer >= 0)
        snprintf(full, sizeof full, "%sencoder.layer.%d.%s", s->prefix, s->layer, name);
    else
        snprintf(full, sizeof full, "%sembeddings.%s", s->prefix, name);
    struct metallm__tensor t;
    const size_t matrix[] = {rows, columns}, vector[] = {columns};
    int rc = metallm__st_get(s->file, full, METALLM__F32, rows == 0 ? 1 : 2,
                             rows == 0 ? vector : matrix, &t, s->err);
    if (rc == METALLM_ENOTFOUND)
        return metallm__error_set(s->err, METALLM_EMISMATCH,
                                  "not a BERT encoder of these sizes: no tensor '%s'", full);
    if (rc != METALLM_OK)
        return rc;
    if ((uintptr_t)t.data % sizeof(float) != 0)
        return metallm__error_set(s->err, METALLM_EFORMAT, "tensor '%s' is not aligned", full);
    *out = t.data;
    return METALLM_OK;
}

static int get_linear(const struct source *s, const char *name, uint32_t out, uint32_t in,
                      struct metallm__linear *l)
{
    char full[96];
    snprintf(full, sizeof full, "%s.weight", name);
    int rc = get(s, full, out, in, &l->weight);
    snprintf(full, sizeof full, "%s.bias", name);
    return rc == METALLM_OK ? get(s, full, 0, out, &l->bias) : rc;
}

static int get_norm(const struct source *s, const char *name, const struct metallm__bert_config *c,
                    struct metallm__norm *norm)
{
    char full[96];
    norm->epsilon = c->epsilon;
    snprintf(full, sizeof full, "%s.weight", name);
    int rc = get(s, full, 0, c->hidden, &norm->gamma);
    snprintf(full, sizeof full, "%s.bias", name);
    return rc == METALLM_OK ? get(s, full, 0, c->hidden, &norm->beta) : rc;
}

static int get_layer(const struct source *s, const struct metallm__bert_config *c,
                     struct metallm__bert_layer *l)
{
    const struct {
        const char *name;
        uint32_t out, in;
        struct metallm__linear *into;
    } linears[] = {{"attention.self.query", c->hidden, c->hidden, &l->query},
                   {"attention.self.key", c->hidden, c->hidden, &l->key},
                   {"attention.self.value", c->hidden, c->hidden, &l->value},
                   {"attention.output.dense", c->hidden, c->hidden, &l->attended},
                   {"intermediate.dense", c->inner, c->hidden, &l->up},
                   {"output.dense", c->hidden, c->inner, &l->down}};
    int rc = METALLM_OK;
    for (size_t i = 0; rc == METALLM_OK && i < sizeof linears / sizeof linears[0]; i++)
        rc = get_linear(s, linears[i].name, linears[i].out, linears[i].in, linears[i].into);
    if (rc == METALLM_OK)
        rc = get_norm(s, "attention.output.LayerNorm", c, &l->attended_norm);
    return rc == METALLM_OK ? get_norm(s, "output.LayerNorm", c, &l->output_norm) : rc;
}

static int get_weights(struct metallm__bert *b, metallm_error *err)
{
    struct source s = {b->file, "", -1, err};
    if (metallm__st_has(b->file, "bert.embeddings.word_embeddings.weight"))
        s.prefix = "bert.";
    const struct metallm__bert_config *c = &b->config;
    int rc = get(&s, "word_embeddings.weight", c->vocab, c->hidden, &b->word);
    if (rc == METALLM_OK)
        rc = get(&s, "position_embeddings.weight", c->positions, c->hidden, &b->position);
    if (rc == METALLM_OK) /* any number of types; row 0 is used */
        rc = get(&s, "token_type_embeddings.weight", 2, c->hidden, &b->type);
    if (rc == METALLM_OK)
        rc = get_norm(&s, "LayerNorm", c, &b->norm);
    for (uint32_t i = 0; rc == METALLM_OK && i < c->layers; i++) {
        s.layer = (int)i;
        rc = get_layer(&s, c, &b->layers[i]);
    }
    return rc;
}

int metallm__bert_open(struct metallm__bert **out, const char *folder, metallm_error *err)
{
    char path[PATH_BYTES];
    struct metallm__bert *b = metallm__calloc(1, sizeof *b);
    if (b == NULL)
        return metallm__error_nomem(err, "an encoder");
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    int rc = read_config(folder, &b->config, err);
    if (rc == METALLM_OK)
        rc = metallm__st_open(&b->file, path, err);
    if (rc == METALLM_OK) {
        rc = get_weights(b, err);
        if (rc != METALLM_OK)
            metallm__error_prefix(err, rc, "'%s'", path);
    }
    if (rc != METALLM_OK) {
        metallm__bert_free(b);
        return rc;
    }
    *out = b;
    return METALLM_OK;
}

void metallm__bert_free(struct metallm__bert *b)
{
    if (b == NULL)
        return;
    metallm__st_close(b->file);
    metallm__free(b);
}
