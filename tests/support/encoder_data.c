/* SPDX-License-Identifier: Apache-2.0
 * encoder_data.c - see encoder_data.h. */
#include "support/encoder_data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yyjson.h>

#include "support/cmocka_all.h"

#define ROWS_MAX 1000u

static uint32_t *numbers(yyjson_val *array, size_t *count)
{
    *count = yyjson_arr_size(array);
    if (array == NULL)
        return NULL;
    uint32_t *out = calloc(*count + 1, sizeof *out);
    for (size_t i = 0; i < *count; i++)
        out[i] = (uint32_t)yyjson_get_uint(yyjson_arr_get(array, i));
    return out;
}

static void read_row(struct reference *r, const char *line, size_t len)
{
    yyjson_doc *doc = yyjson_read(line, len, 0);
    assert_non_null(doc);
    yyjson_val *root = yyjson_doc_get_root(doc), *text = yyjson_obj_get(root, "text"),
               *vector = yyjson_obj_get(root, "embedding");
    r->len = yyjson_get_len(text);
    r->text = malloc(r->len + 1);
    memcpy(r->text, yyjson_get_str(text), r->len + 1);
    r->ids = numbers(yyjson_obj_get(root, "ids"), &r->id_count);
    r->tail = numbers(yyjson_obj_get(root, "tail"), &r->tail_count);
    r->count = yyjson_get_uint(yyjson_obj_get(root, "count"));
    if (r->count == 0)
        r->count = yyjson_get_uint(yyjson_obj_get(root, "n_tokens_untruncated"));
    r->dim = yyjson_arr_size(vector);
    r->embedding = calloc(r->dim, sizeof *r->embedding);
    for (size_t i = 0; i < r->dim; i++)
        r->embedding[i] = (float)yyjson_get_num(yyjson_arr_get(vector, i));
    yyjson_doc_free(doc);
}

static void read_file(struct reference *rows, size_t *count, const char *path, bool is_needed)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL && !is_needed)
        return;
    assert_non_null(f);
    char *line = NULL;
    size_t cap = 0;
    for (ssize_t n; (n = getline(&line, &cap, f)) > 0 && *count < ROWS_MAX;)
        read_row(&rows[(*count)++], line, (size_t)n);
    free(line);
    fclose(f);
}

struct reference *references_load(size_t *count)
{
    char path[4096];
    struct reference *rows = calloc(ROWS_MAX, sizeof *rows);
    *count = 0;
    snprintf(path, sizeof path, "%s/encoder/reference.jsonl", getenv("METALLM_TEST_DATA"));
    read_file(rows, count, path, true);
    snprintf(path, sizeof path, "%s/../../../shared/data/golden_minilm.jsonl",
             getenv("METALLM_TEST_DATA"));
    read_file(rows, count, path, false);
    return rows;
}

void references_free(struct reference *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(rows[i].text);
        free(rows[i].ids);
        free(rows[i].tail);
        free(rows[i].embedding);
    }
    free(rows);
}

const char *weights_folder(void)
{
    static char folder[3072];
    const char *cache = getenv("METALLM_TEST_CACHE");
    char file[4096];
    snprintf(folder, sizeof folder, "%s/minilm", cache != NULL ? cache : "");
    snprintf(file, sizeof file, "%s/model.safetensors", folder);
    return cache != NULL && access(file, R_OK) == 0 ? folder : NULL;
}
