/* SPDX-License-Identifier: Apache-2.0
 * remote_wire.c - see remote.h: OpenAI's embeddings protocol. Nothing an endpoint sends is trusted.
 */
#include <math.h>
#include <string.h>
#include <utf8proc.h>

#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "encoder/remote.h"

/* Appends text as valid UTF-8 of at most text_bytes. */
static void add_clean(struct metallm__buf *b, const char *text, size_t len, size_t text_bytes)
{
    size_t used = 0;
    for (size_t at = 0; at < len;) {
        utf8proc_int32_t c;
        size_t rest = len - at;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text + at,
                                              (utf8proc_ssize_t)(rest < 4 ? rest : 4), &c);
        const char *bytes = n > 0 ? text + at : "\xef\xbf\xbd";
        size_t size = n > 0 ? (size_t)n : 3;
        if (used + size > text_bytes)
            return;
        metallm__buf_add(b, bytes, size);
        used += size;
        at += n > 0 ? (size_t)n : 1;
    }
}

static int add_texts(yyjson_mut_doc *doc, yyjson_mut_val *input, const char *const *texts,
                     const size_t *lens, size_t count, size_t text_bytes, metallm_error *err)
{
    struct metallm__buf clean;
    metallm__buf_init(&clean, text_bytes);
    int rc = METALLM_OK;
    for (size_t i = 0; i < count && rc == METALLM_OK; i++) {
        metallm__buf_clear(&clean);
        add_clean(&clean, texts[i], lens[i], text_bytes);
        rc = metallm__buf_check(&clean, err);
        bool is_empty = clean.len == 0;
        if (rc == METALLM_OK && !yyjson_mut_arr_add_strncpy(doc, input, is_empty ? " " : clean.data,
                                                            is_empty ? 1 : clean.len))
            rc = metallm__error_nomem(err, "a request for embeddings");
    }
    metallm__buf_fini(&clean);
    return rc;
}

int metallm__remote_request(struct metallm__buf *out, const char *model, const char *const *texts,
                            const size_t *lens, size_t count, size_t text_bytes, metallm_error *err)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(&metallm__json_alc);
    yyjson_mut_val *root = yyjson_mut_obj(doc), *input = yyjson_mut_arr(doc);
    int rc = METALLM_ENOMEM;
    if (input != NULL && yyjson_mut_obj_add_str(doc, root, "model", model) &&
        yyjson_mut_obj_add_val(doc, root, "input", input) &&
        yyjson_mut_obj_add_str(doc, root, "encoding_format", "float"))
        rc = add_texts(doc, input, texts, lens, count, text_bytes, err);
    else
        metallm__error_nomem(err, "a request for embeddings");
    if (rc == METALLM_OK) {
        yyjson_mut_doc_set_root(doc, root);
        size_t len = 0;
        yyjson_write_err why = {0};
        char *text = yyjson_mut_write_opts(doc, 0, &metallm__json_alc, &len, &why);
        if (text == NULL && why.code != YYJSON_WRITE_ERROR_MEMORY_ALLOCATION)
            rc = metallm__error_set(err, METALLM_EINVAL, "the model's name is not valid UTF-8");
        else if (text == NULL)
            rc = metallm__error_nomem(err, "a request for embeddings");
        else
            metallm__buf_add(out, text, len);
        metallm__free(text);
    }
    yyjson_mut_doc_free(doc);
    return rc == METALLM_OK ? metallm__buf_check(out, err) : rc;
}

/* One embedding into row, unit length. */
static int read_row(yyjson_val *values, uint32_t dim, float *row, metallm_error *err)
{
    size_t i, n;
    yyjson_val *v;
    double sum = 0;
    yyjson_arr_foreach(values, i, n, v)
    {
        double x = yyjson_is_num(v) ? yyjson_get_num(v) : NAN;
        if (!(fabs(x) <= 1e18))
            return metallm__error_set(err, METALLM_EFORMAT,
                                      "the endpoint sent an embedding whose number %zu is not a "
                                      "finite number",
                                      i);
        row[i] = (float)x;
        sum += x * x;
    }
    if (!(sum > 0))
        return metallm__error_set(err, METALLM_EFORMAT,
                                  "the endpoint sent an embedding that is zero throughout");
    double scale = 1 / sqrt(sum);
    for (uint32_t k = 0; k < dim; k++)
        row[k] = (float)(row[k] * scale);
    return METALLM_OK;
}

static int check_dim(size_t got, uint32_t *dim, metallm_error *err)
{
    if (*dim == 0 && got >= 1 && got <= METALLM__REMOTE_DIM_MAX)
        return METALLM_OK;
    if (*dim == 0)
        return metallm__error_set(err, METALLM_EFORMAT,
                                  "the endpoint sent an embedding of %zu numbers (1 to %u are "
                                  "possible)",
                                  got, METALLM__REMOTE_DIM_MAX);
    if (got != *dim)
        return metallm__error_set(err, METALLM_EMISMATCH,
                                  "the endpoint sent an embedding of %zu numbers, earlier ones had "
                                  "%u",
                                  got, *dim);
    return METALLM_OK;
}

/* Where the embedding goes: its "index", or its place where there is none. */
static int place_of(yyjson_val *item, size_t at, size_t count, uint8_t *seen, size_t *place,
                    metallm_error *err)
{
    yyjson_val *index = yyjson_obj_get(item, "index");
    *place = at;
    if (index != NULL) {
        if (!yyjson_is_uint(index) || yyjson_get_uint(index) >= count)
            return metallm__error_set(err, METALLM_EFORMAT,
                                      "the endpoint sent an embedding whose index is not below %zu",
                                      count);
        *place = (size_t)yyjson_get_uint(index);
    }
    if (seen[*place])
        return metallm__error_set(err, METALLM_EFORMAT, "the endpoint sent embedding %zu twice",
                                  *place);
    seen[*place] = 1;
    return METALLM_OK;
}

static int read_data(yyjson_val *data, size_t count, uint32_t *dim, float *out, size_t stride,
                     metallm_error *err)
{
    uint8_t seen[METALLM__REMOTE_BATCH_MAX] = {0};
    size_t i, n, place = 0;
    yyjson_val *item;
    yyjson_arr_foreach(data, i, n, item)
    {
        yyjson_val *values = yyjson_obj_get(item, "embedding");
        if (!yyjson_is_arr(values))
            return metallm__error_set(err, METALLM_EFORMAT,
                                      "the endpoint's answer %zu has no array 'embedding'", i);
        int rc = check_dim(yyjson_arr_size(values), dim, err);
        if (rc == METALLM_OK)
            rc = place_of(item, i, count, seen, &place, err);
        if (rc != METALLM_OK)
            return rc;
        if (*dim == 0)
            *dim = (uint32_t)yyjson_arr_size(values);
        else if ((rc = read_row(values, *dim, out + place * stride, err)) != METALLM_OK)
            return rc;
    }
    return METALLM_OK;
}

int metallm__remote_answer(const char *body, size_t len, size_t count, uint32_t *dim, float *out,
                           size_t stride, metallm_error *err)
{
    METALLM_REQUIRE(count >= 1 && count <= METALLM__REMOTE_BATCH_MAX && (*dim != 0 || count == 1));
    yyjson_doc *doc = NULL;
    int rc = metallm__json_read(&doc, len > 0 ? body : "", len, err);
    if (rc != METALLM_OK)
        return metallm__error_prefix(err, rc, "the endpoint's answer");
    yyjson_val *data = yyjson_obj_get(yyjson_doc_get_root(doc), "data");
    if (!yyjson_is_arr(data))
        rc = metallm__error_set(err, METALLM_EFORMAT, "the endpoint's answer has no array 'data'");
    else if (yyjson_arr_size(data) != count)
        rc = metallm__error_set(err, METALLM_EFORMAT,
                                "the endpoint sent %zu embeddings for %zu texts",
                                yyjson_arr_size(data), count);
    else
        rc = read_data(data, count, dim, out, stride, err);
    yyjson_doc_free(doc);
    return rc;
}

void metallm__remote_complaint(const char *body, size_t len, const char *key, char *out,
                               size_t out_size)
{
    out[0] = '\0';
    yyjson_doc *doc = NULL;
    if (len == 0 || metallm__json_read(&doc, body, len, NULL) != METALLM_OK)
        return;
    yyjson_val *error = yyjson_obj_get(yyjson_doc_get_root(doc), "error");
    const char *text =
        yyjson_get_str(yyjson_is_str(error) ? error : yyjson_obj_get(error, "message"));
    if (text != NULL && (key == NULL || strstr(text, key) == NULL)) {
        size_t used = strnlen(text, out_size - 1);
        memcpy(out, text, used);
        out[used] = '\0';
        for (size_t i = 0; i < used; i++)
            if ((unsigned char)out[i] < ' ' || (unsigned char)out[i] > '~')
                out[i] = '?';
    }
    yyjson_doc_free(doc);
}
