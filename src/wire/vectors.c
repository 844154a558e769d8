/* SPDX-License-Identifier: Apache-2.0
 * vectors.c - see vectors.h. */
#include "wire/vectors.h"

#include "base/error.h"
#include "wire/talk_read.h"

static int refuse(const char *protocol, const char *name, metallm_error *err)
{
    return metallm__error_set(err, METALLM_EINVAL, "'%.64s' cannot be said to %s", name, protocol);
}

static int read_input(struct metallm__vectors_ask *out, yyjson_val *v, const char *protocol,
                      metallm_error *err)
{
    out->input = v;
    out->count = yyjson_is_arr(v) ? yyjson_arr_size(v) : 1;
    yyjson_arr_iter i = yyjson_arr_iter_with(v);
    for (yyjson_val *one; (one = yyjson_arr_iter_next(&i)) != NULL;)
        if (!yyjson_is_str(one))
            return refuse(protocol, "input, as tokens", err);
    return out->count > 0 && (yyjson_is_arr(v) || yyjson_is_str(v))
               ? METALLM_OK
               : metallm__error_set(err, METALLM_EINVAL,
                                    "'input' must be a text or a list of texts");
}

static int read_member(struct metallm__vectors_ask *out, const char *name, yyjson_val *v,
                       const char *protocol, metallm_error *err)
{
    static const char *const passed[] = {"model", "user", "metallm"};
    uint64_t count = 0;
    if (strcmp(name, "input") == 0)
        return read_input(out, v, protocol, err);
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++)
        if (strcmp(name, passed[i]) == 0)
            return METALLM_OK;
    if (yyjson_is_null(v))
        return METALLM_OK;
    if (strcmp(name, "dimensions") == 0) {
        if (!metallm__json_count(v, UINT32_MAX, &count) || count == 0)
            return metallm__error_set(err, METALLM_EINVAL,
                                      "'dimensions' must be a number of at least 1");
        out->dimensions = (uint32_t)count;
        return METALLM_OK;
    }
    if (strcmp(name, "encoding_format") != 0)
        return refuse(protocol, name, err);
    out->is_base64 = yyjson_equals_str(v, "base64");
    return out->is_base64 || yyjson_equals_str(v, "float")
               ? METALLM_OK
               : metallm__error_set(err, METALLM_EINVAL,
                                    "'encoding_format' must be \"float\" or \"base64\"");
}

int metallm__vectors_read(struct metallm__vectors_ask *out, const struct metallm__wire_request *r,
                          const char *protocol, metallm_error *err)
{
    struct metallm__vectors_ask ask = {0};
    yyjson_obj_iter i = yyjson_obj_iter_with(yyjson_doc_get_root(r->doc));
    for (yyjson_val *key; (key = yyjson_obj_iter_next(&i)) != NULL;) {
        int rc =
            read_member(&ask, yyjson_get_str(key), yyjson_obj_iter_get_val(key), protocol, err);
        if (rc != METALLM_OK)
            return rc;
    }
    *out = ask;
    return METALLM_OK;
}

struct metallm__span metallm__vectors_text(const struct metallm__vectors_ask *ask, size_t i)
{
    return metallm__wire_text(yyjson_is_arr(ask->input) ? yyjson_arr_get(ask->input, i)
                                                        : ask->input);
}

/* ---- The answer. ---- */

void metallm__vectors_begin(struct metallm__jw *j)
{
    metallm__jw_open(j, '{');
    metallm__jw_name(j, "object");
    metallm__jw_raw(j, "\"list\"");
    metallm__jw_name(j, "data");
    metallm__jw_open(j, '[');
}

static void write_base64(struct metallm__buf *out, const unsigned char *bytes, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        unsigned left = n - i < 3 ? (unsigned)(n - i) : 3;
        unsigned three = (unsigned)bytes[i] << 16 | (left > 1 ? (unsigned)bytes[i + 1] << 8 : 0) |
                         (left > 2 ? bytes[i + 2] : 0);
        char four[4] = {digits[three >> 18], digits[three >> 12 & 63],
                        left > 1 ? digits[three >> 6 & 63] : '=',
                        left > 2 ? digits[three & 63] : '='};
        metallm__buf_add(out, four, 4);
    }
}

/* Three floats at a time: their bytes, little-endian, make sixteen digits. */
static int write_floats(struct metallm__jw *j, yyjson_val *values, metallm_error *err)
{
    unsigned char bytes[12];
    size_t have = 0;
    metallm__jw_raw(j, "\"");
    yyjson_arr_iter i = yyjson_arr_iter_with(values);
    for (yyjson_val *v; (v = yyjson_arr_iter_next(&i)) != NULL;) {
        double value = 0;
        if (!metallm__json_real(v, &value))
            return metallm__error_set(err, METALLM_EFORMAT, "a vector holds what is no number");
        float f = (float)value;
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        for (unsigned b = 0; b < 4; b++)
            bytes[have++] = (unsigned char)(bits >> 8 * b);
        if (have == sizeof bytes) {
            write_base64(j->out, bytes, have);
            have = 0;
        }
    }
    write_base64(j->out, bytes, have);
    metallm__buf_add(j->out, "\"", 1);
    return METALLM_OK;
}

static int write_list(struct metallm__jw *j, yyjson_val *values, metallm_error *err)
{
    metallm__jw_open(j, '[');
    yyjson_arr_iter i = yyjson_arr_iter_with(values);
    for (yyjson_val *v; (v = yyjson_arr_iter_next(&i)) != NULL;) {
        double value = 0;
        if (yyjson_is_raw(v)) /* as it was written */
            metallm__jw_json(j, metallm__span(yyjson_get_raw(v), yyjson_get_len(v)));
        else if (metallm__json_real(v, &value))
            metallm__jw_real(j, value);
        else
            return metallm__error_set(err, METALLM_EFORMAT, "a vector holds what is no number");
    }
    metallm__jw_close(j, ']');
    return METALLM_OK;
}

int metallm__vectors_one(struct metallm__jw *j, size_t index, yyjson_val *values, bool is_base64,
                         metallm_error *err)
{
    if (!yyjson_is_arr(values))
        return metallm__error_set(err, METALLM_EFORMAT, "the answer has no vector");
    metallm__jw_open(j, '{');
    metallm__jw_name(j, "object");
    metallm__jw_raw(j, "\"embedding\"");
    metallm__jw_name(j, "index");
    metallm__jw_count(j, index);
    metallm__jw_name(j, "embedding");
    int rc = is_base64 ? write_floats(j, values, err) : write_list(j, values, err);
    metallm__jw_close(j, '}');
    return rc;
}

void metallm__vectors_end(struct metallm__jw *j, const struct metallm__wire_request *r,
                          int64_t tokens)
{
    uint64_t count = tokens >= 0 ? (uint64_t)tokens : r->needs.input_tokens;
    metallm__jw_close(j, ']');
    metallm__jw_name(j, "model");
    metallm__jw_span(j, r->model);
    metallm__jw_name(j, "usage");
    metallm__jw_open(j, '{');
    metallm__jw_name(j, "prompt_tokens");
    metallm__jw_count(j, count);
    metallm__jw_name(j, "total_tokens");
    metallm__jw_count(j, count);
    metallm__jw_close(j, '}');
    metallm__jw_close(j, '}');
}
