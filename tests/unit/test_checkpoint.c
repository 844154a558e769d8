/* SPDX-License-Identifier: Apache-2.0
 * test_checkpoint.c - BERT checkpoints other than MiniLM, by path: a small one of other depth,
 * width and pooling against plain arithmetic in double; what is not supported or damaged is refused
 * by name. */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/safetensors.h"
#include "encoder/isa.h"
#include "metallm/encoder.h"
#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

enum { LAYERS = 2, HIDDEN = 64, HEADS = 2, INNER = 128, VOCAB = 9, POSITIONS = 24, LIMIT = 12 };

static char folder[] = "/tmp/metallm-bert-XXXXXX";
static struct metallm__st_file *weights; /* the file of the folder, for the plain arithmetic */

static void write_text(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void write_config(uint32_t layers, const char *more)
{
    char text[512];
    snprintf(text, sizeof text,
             "{\"model_type\":\"bert\",\"num_hidden_layers\":%u,\"hidden_size\":%d,"
             "\"num_attention_heads\":%d,\"intermediate_size\":%d,\"vocab_size\":%d,"
             "\"max_position_embeddings\":%d,\"layer_norm_eps\":1e-6%s}",
             layers, HIDDEN, HEADS, INNER, VOCAB, POSITIONS, more);
    write_text("config.json", text);
}

/* Small numbers that differ; the weights of norms lie about 1. */
static void put(struct metallm__st_writer *w, const char *name, uint32_t rows, uint32_t columns,
                float about)
{
    static float values[HIDDEN * INNER];
    static uint32_t seed = 5;
    const size_t shape[] = {rows, columns};
    for (uint32_t i = 0; i < (rows > 0 ? rows : 1) * columns; i++) {
        seed = seed * 1664525u + 1013904223u;
        values[i] = about + ((float)(seed >> 8) / 8388608.0f - 1.0f) / 4;
    }
    assert_int_equal(metallm__st_put(w, name, METALLM__F32, rows > 0 ? 2 : 1,
                                     rows > 0 ? shape : shape + 1, values, NULL),
                     METALLM_OK);
}

static void put_pair(struct metallm__st_writer *w, const char *name, uint32_t rows,
                     uint32_t columns, float about)
{
    char full[128];
    snprintf(full, sizeof full, "bert.%s.weight", name);
    put(w, full, about > 0 ? 0 : rows, about > 0 ? rows : columns, about);
    snprintf(full, sizeof full, "bert.%s.bias", name);
    put(w, full, 0, rows, 0);
}

static int make_folder(void **state)
{
    (void)state;
    char path[128], name[96];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/1_Pooling", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    write_config(LAYERS, "");
    write_text("1_Pooling/config.json", "{\"pooling_mode_cls_token\":true}");
    write_text("sentence_bert_config.json", "{\"max_seq_length\":12}");
    write_text("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\nc\nd\n##e\n");
    struct metallm__st_writer *w = NULL;
    assert_int_equal(metallm__st_writer_new(&w, NULL), METALLM_OK);
    put(w, "bert.embeddings.word_embeddings.weight", VOCAB, HIDDEN, 0);
    put(w, "bert.embeddings.position_embeddings.weight", POSITIONS, HIDDEN, 0);
    put(w, "bert.embeddings.token_type_embeddings.weight", 2, HIDDEN, 0);
    put_pair(w, "embeddings.LayerNorm", HIDDEN, 0, 1);
    static const struct {
        const char *name;
        uint32_t rows, columns;
        float about;
    } parts[] = {
        {"attention.self.query", HIDDEN, HIDDEN, 0},  {"attention.self.key", HIDDEN, HIDDEN, 0},
        {"attention.self.value", HIDDEN, HIDDEN, 0},  {"attention.output.dense", HIDDEN, HIDDEN, 0},
        {"attention.output.LayerNorm", HIDDEN, 0, 1}, {"intermediate.dense", INNER, HIDDEN, 0},
        {"output.dense", HIDDEN, INNER, 0},           {"output.LayerNorm", HIDDEN, 0, 1}};
    for (int i = 0; i < LAYERS; i++)
        for (size_t p = 0; p < sizeof parts / sizeof parts[0]; p++) {
            snprintf(name, sizeof name, "encoder.layer.%d.%s", i, parts[p].name);
            put_pair(w, name, parts[p].rows, parts[p].columns, parts[p].about);
        }
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    assert_int_equal(metallm__st_write(w, path, NULL), METALLM_OK);
    metallm__st_writer_free(w);
    return metallm__st_open(&weights, path, NULL);
}

static void packed_path(char path[128], const char *precision)
{
    enum metallm__isa isa;
    assert_int_equal(metallm__isa_get(&isa, NULL), METALLM_OK);
    snprintf(path, 128, "%s/packed-%s-%s.bin", folder, precision, metallm__isa_name(isa));
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"1_Pooling/config.json", "sentence_bert_config.json",
                                        "vocab.txt", "config.json", "model.safetensors"};
    char path[128];
    metallm__st_close(weights);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    for (int p = 0; p < 3; p++) {
        static const char *const precisions[] = {"fp32", "bf16", "int8"};
        packed_path(path, precisions[p]);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/1_Pooling", folder);
    rmdir(path);
    return rmdir(folder);
}

/* ---- the plain arithmetic ---- */

static const float *tensor(const char *at, const char *name, uint32_t rank)
{
    char full[192];
    struct metallm__tensor t;
    snprintf(full, sizeof full, "bert.%s%s", at, name);
    assert_int_equal(
        metallm__st_get(weights, full, METALLM__F32, rank, (const size_t[]){0, 0}, &t, NULL),
        METALLM_OK);
    return t.data;
}

static void plain_linear(double *out, const double *in, uint32_t rows, uint32_t columns,
                         uint32_t inputs, const char *at, const char *name)
{
    char part[96];
    snprintf(part, sizeof part, "%s.weight", name);
    const float *w = tensor(at, part, 2);
    snprintf(part, sizeof part, "%s.bias", name);
    const float *b = tensor(at, part, 1);
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t n = 0; n < columns; n++) {
            double sum = b[n];
            for (uint32_t i = 0; i < inputs; i++)
                sum += in[r * inputs + i] * w[n * inputs + i];
            out[r * columns + n] = sum;
        }
}

static void plain_norm(double *x, uint32_t rows, const char *at, const char *name)
{
    char part[96];
    snprintf(part, sizeof part, "%s.weight", name);
    const float *g = tensor(at, part, 1);
    snprintf(part, sizeof part, "%s.bias", name);
    const float *b = tensor(at, part, 1);
    for (uint32_t r = 0; r < rows; r++, x += HIDDEN) {
        double mean = 0, variance = 0;
        for (int i = 0; i < HIDDEN; i++)
            mean += x[i] / HIDDEN;
        for (int i = 0; i < HIDDEN; i++)
            variance += (x[i] - mean) * (x[i] - mean) / HIDDEN;
        for (int i = 0; i < HIDDEN; i++)
            x[i] = (x[i] - mean) / sqrt(variance + 1e-6) * g[i] + b[i];
    }
}

static void plain_attention(double *out, const double *q, const double *k, const double *v,
                            uint32_t n)
{
    const uint32_t d = HIDDEN / HEADS;
    for (uint32_t h = 0; h < HEADS; h++)
        for (uint32_t i = 0; i < n; i++) {
            double weight[LIMIT], sum = 0;
            for (uint32_t j = 0; j < n; j++) {
                double s = 0;
                for (uint32_t c = h * d; c < h * d + d; c++)
                    s += q[i * HIDDEN + c] * k[j * HIDDEN + c];
                sum += weight[j] = exp(s / sqrt(d));
            }
            for (uint32_t c = h * d; c < h * d + d; c++) {
                out[i * HIDDEN + c] = 0;
                for (uint32_t j = 0; j < n; j++)
                    out[i * HIDDEN + c] += weight[j] / sum * v[j * HIDDEN + c];
            }
        }
}

static void plain_embed(double *out, const uint32_t *ids, uint32_t n)
{
    static double x[LIMIT * HIDDEN], q[LIMIT * HIDDEN], k[LIMIT * HIDDEN], v[LIMIT * HIDDEN],
        a[LIMIT * HIDDEN], inner[LIMIT * INNER];
    const float *word = tensor("embeddings.", "word_embeddings.weight", 2),
                *position = tensor("embeddings.", "position_embeddings.weight", 2),
                *type = tensor("embeddings.", "token_type_embeddings.weight", 2);
    for (uint32_t r = 0; r < n; r++)
        for (uint32_t i = 0; i < HIDDEN; i++)
            x[r * HIDDEN + i] =
                (double)word[ids[r] * HIDDEN + i] + position[r * HIDDEN + i] + type[i];
    plain_norm(x, n, "embeddings.", "LayerNorm");
    for (int layer = 0; layer < LAYERS; layer++) {
        char at[32];
        snprintf(at, sizeof at, "encoder.layer.%d.", layer);
        plain_linear(q, x, n, HIDDEN, HIDDEN, at, "attention.self.query");
        plain_linear(k, x, n, HIDDEN, HIDDEN, at, "attention.self.key");
        plain_linear(v, x, n, HIDDEN, HIDDEN, at, "attention.self.value");
        plain_attention(a, q, k, v, n);
        plain_linear(q, a, n, HIDDEN, HIDDEN, at, "attention.output.dense");
        for (uint32_t i = 0; i < n * HIDDEN; i++)
            x[i] += q[i];
        plain_norm(x, n, at, "attention.output.LayerNorm");
        plain_linear(inner, x, n, INNER, HIDDEN, at, "intermediate.dense");
        for (uint32_t i = 0; i < n * INNER; i++)
            inner[i] *= 0.5 * (1 + erf(inner[i] / sqrt(2)));
        plain_linear(q, inner, n, HIDDEN, INNER, at, "output.dense");
        for (uint32_t i = 0; i < n * HIDDEN; i++)
            x[i] += q[i];
        plain_norm(x, n, at, "output.LayerNorm");
    }
    double squares = 0;
    for (int i = 0; i < HIDDEN; i++)
        squares += x[i] * x[i];
    for (int i = 0; i < HIDDEN; i++)
        out[i] = x[i] / sqrt(squares); /* [CLS]'s row */
}

/* ---- tests ---- */

static int open_it(metallm_encoder **e, const char *precision, metallm_error *err)
{
    return metallm_encoder_open(
        e, &(metallm_encoder_options){.path = folder, .precision = precision}, err);
}

static void another_bert_equals_plain_arithmetic(void **state)
{
    (void)state;
    const char *texts[] = {"a", "be b", "a b c d a b c d a b c d a b"};
    const size_t lens[] = {1, 4, 27};
    static const uint32_t ids[3][LIMIT] = {
        {2, 4, 3}, {2, 5, 8, 5, 3}, {2, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 3}};
    const uint32_t counts[] = {3, 5, LIMIT};
    float out[3][HIDDEN];
    uint32_t tokens[3];
    metallm_encoder *e = NULL;
    metallm_error err = {0};
    if (open_it(&e, "fp32", &err) != METALLM_OK)
        fail_msg("%s", err.message);
    assert_int_equal(metallm_encoder_dim(e), HIDDEN);
    assert_memory_equal(metallm_encoder_id(e), "bert-2x64-", 10);
    assert_int_equal(metallm_encoder_embed(e, texts, lens, 3, out[0], tokens, NULL), METALLM_OK);
    for (int t = 0; t < 3; t++) {
        double want[HIDDEN];
        plain_embed(want, ids[t], counts[t]);
        assert_int_equal(tokens[t], counts[t]);
        for (int i = 0; i < HIDDEN; i++)
            assert_true(fabs(out[t][i] - want[i]) < 2e-6);
    }
    metallm_encoder_free(e);
}

static void check_refused(const char *more, int want, const char *word)
{
    metallm_encoder *e = NULL;
    metallm_error err = {0};
    write_config(LAYERS, more);
    int rc = open_it(&e, "fp32", &err);
    write_config(LAYERS, "");
    if (rc != want || strstr(err.message, word) == NULL)
        fail_msg("%s: %d '%s'", more, rc, err.message);
}

static void what_is_not_supported_is_refused_by_name(void **state)
{
    (void)state;
    /* Of two members of one name the first counts, so these differ in what the base lacks. */
    check_refused(",\"hidden_act\":\"relu\"", METALLM_EMISMATCH, "'relu'");
    check_refused(",\"position_embedding_type\":\"relative_key\"", METALLM_EMISMATCH,
                  "'relative_key'");
    metallm_encoder *e = NULL;
    metallm_error err = {0};
    write_text("config.json", "{\"model_type\":\"mpnet\"}");
    assert_int_equal(open_it(&e, "fp32", &err), METALLM_EMISMATCH);
    assert_non_null(strstr(err.message, "'mpnet'"));
    write_text("config.json", "{\"model_type\":");
    assert_int_equal(open_it(&e, "fp32", &err), METALLM_EFORMAT);
    write_config(LAYERS + 1, "");
    assert_int_equal(open_it(&e, "fp32", &err), METALLM_EMISMATCH);
    assert_non_null(strstr(err.message, "encoder.layer.2."));
    write_config(LAYERS, "");
    write_text("1_Pooling/config.json", "{\"pooling_mode_max_tokens\":true}");
    assert_int_equal(open_it(&e, "fp32", &err), METALLM_EMISMATCH);
    assert_non_null(strstr(err.message, "pooling"));
    write_text("1_Pooling/config.json", "{\"pooling_mode_cls_token\":true}");
}

static int open_and_embed(void *precision)
{
    metallm_encoder *e = NULL;
    const char *text = "a b c";
    const size_t len = 5;
    float out[HIDDEN];
    int rc = open_it(&e, precision, NULL);
    if (rc == METALLM_OK)
        rc = metallm_encoder_embed(e, &text, &len, 1, out, NULL, NULL);
    metallm_encoder_free(e);
    return rc;
}

/* ---- the file of packed weights ---- */

static ino_t inode_of(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 ? s.st_ino : 0;
}

static void embed_with(const char *precision, float out[HIDDEN])
{
    metallm_encoder *e = NULL;
    metallm_error err = {0};
    const char *text = "a b c d be";
    const size_t len = 10;
    if (open_it(&e, precision, &err) != METALLM_OK)
        fail_msg("%s", err.message);
    assert_int_equal(metallm_encoder_embed(e, &text, &len, 1, out, NULL, NULL), METALLM_OK);
    metallm_encoder_free(e);
}

static void flip_byte(const char *path, long from_end)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, -from_end, SEEK_END), 0);
    int byte = fgetc(f);
    assert_int_equal(fseek(f, -from_end, SEEK_END), 0);
    fputc(byte ^ 0x55, f);
    assert_int_equal(fclose(f), 0);
}

static void packed_weights_are_kept_and_mended(void **state)
{
    (void)state;
    static const char *const precisions[] = {"fp32", "bf16", "int8"};
    char model[128], path[128];
    snprintf(model, sizeof model, "%s/model.safetensors", folder);
    for (int p = 0; p < 3; p++) {
        float first[HIDDEN], again[HIDDEN];
        metallm_encoder *e = NULL;
        if (open_it(&e, precisions[p], NULL) == METALLM_EMISMATCH)
            continue; /* not on this CPU */
        metallm_encoder_free(e);
        packed_path(path, precisions[p]);
        unlink(path);
        embed_with(precisions[p], first);
        ino_t made = inode_of(path);
        assert_true(made != 0);
        embed_with(precisions[p], again);
        assert_true(inode_of(path) == made); /* used as it is */
        assert_memory_equal(first, again, sizeof first);
        for (long at = 1; at < 200; at += 99) { /* weights; the digest itself lies in front */
            flip_byte(path, at);
            embed_with(precisions[p], again);
            assert_memory_equal(first, again, sizeof first);
        }
        assert_int_equal(truncate(path, 100), 0);
        embed_with(precisions[p], again);
        assert_memory_equal(first, again, sizeof first);
        made = inode_of(path);
        assert_int_equal(utimensat(AT_FDCWD, model, NULL, 0), 0); /* the same bytes */
        embed_with(precisions[p], again);
        assert_true(inode_of(path) == made);
        flip_byte(model, 2); /* other weights: the last bias has another sign or size */
        embed_with(precisions[p], again);
        assert_true(memcmp(first, again, sizeof first) != 0);
        flip_byte(model, 2);
        embed_with(precisions[p], again);
        assert_memory_equal(first, again, sizeof first);
    }
}

static void a_place_that_cannot_be_written_to_is_no_hindrance(void **state)
{
    (void)state;
    char path[128], inside[160];
    float out[HIDDEN];
    packed_path(path, "fp32");
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0); /* nothing can be renamed onto a folder with a file */
    snprintf(inside, sizeof inside, "%s/x", path);
    FILE *f = fopen(inside, "wb");
    assert_non_null(f);
    fclose(f);
    embed_with("fp32", out);
    unlink(inside);
    assert_int_equal(rmdir(path), 0);
}

static void no_memory_is_reported_at_every_step(void **state)
{
    (void)state;
    char precision[] = "fp32";
    char path[128];
    packed_path(path, precision);
    unlink(path);
    assert_true(fail_alloc_sweep(open_and_embed, precision) > 20); /* packs */
    assert_true(inode_of(path) != 0);
    assert_true(fail_alloc_sweep(open_and_embed, precision) > 20); /* maps what was packed */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_bert_equals_plain_arithmetic),
        cmocka_unit_test(what_is_not_supported_is_refused_by_name),
        cmocka_unit_test(packed_weights_are_kept_and_mended),
        cmocka_unit_test(a_place_that_cannot_be_written_to_is_no_hindrance),
        cmocka_unit_test(no_memory_is_reported_at_every_step),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
