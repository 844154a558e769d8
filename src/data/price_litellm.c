/* SPDX-License-Identifier: Apache-2.0
 * price_litellm.c - LiteLLM's model_prices_and_context_window.json as prices of the platforms that
 * are known here: dollars per token become dollars per million. */
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "data/prices.h"

#define NAME_BYTES_MAX 256u

static const struct {
    const char *theirs, *ours;
} platforms[] = {
    {"openai", "openai"}, {"anthropic", "anthropic"},      {"bedrock", "bedrock"},
    {"gemini", "gemini"}, {"bedrock_converse", "bedrock"}, {"mistral", "mistral"},
    {"groq", "groq"},     {"deepseek", "deepseek"},        {"together_ai", "together"},
};

static double per_million(yyjson_val *entry, const char *name)
{
    yyjson_val *v = yyjson_obj_get(entry, name);
    double value = yyjson_is_num(v) ? yyjson_get_num(v) * 1e6 : NAN;
    return value >= 0 && value <= 1e9 ? value : NAN;
}

static uint64_t tokens_of(yyjson_val *entry, const char *name)
{
    double value = yyjson_get_num(yyjson_obj_get(entry, name));
    return value >= 1 && value <= 1e12 ? (uint64_t)value : 0;
}

static int8_t flag_of(yyjson_val *entry, const char *name)
{
    yyjson_val *v = yyjson_obj_get(entry, name);
    return yyjson_is_bool(v) ? (int8_t)yyjson_get_bool(v) : -1;
}

static bool has_text(yyjson_val *entry, const char *name, const char *text)
{
    return yyjson_equals_str(yyjson_obj_get(entry, name), text);
}

/* "PLATFORM/NAME", without their own prefix; false: of no platform here, or of one region. */
static bool name_of(yyjson_val *key, yyjson_val *entry, char out[METALLM__PRICE_NAME_BYTES])
{
    const char *name = yyjson_get_str(key);
    if (yyjson_get_len(key) > NAME_BYTES_MAX || strlen(name) != yyjson_get_len(key))
        return false;
    for (size_t i = 0; i < sizeof platforms / sizeof *platforms; i++) {
        if (!has_text(entry, "litellm_provider", platforms[i].theirs))
            continue;
        size_t n = strlen(platforms[i].theirs);
        if (strncmp(name, platforms[i].theirs, n) == 0 && name[n] == '/')
            name += n + 1;
        bool has_owners =
            strcmp(platforms[i].ours, "together") == 0 || strcmp(platforms[i].ours, "groq") == 0;
        if (name[0] == '\0' || (!has_owners && strchr(name, '/') != NULL))
            return false;
        snprintf(out, METALLM__PRICE_NAME_BYTES, "%s/%s", platforms[i].ours, name);
        return true;
    }
    return false;
}

static int read_entry(struct metallm__prices *out, const char *name, yyjson_val *entry,
                      metallm_error *err)
{
    const bool embeds = has_text(entry, "mode", "embedding");
    const struct metallm__price unknown = METALLM__PRICE_UNKNOWN;
    struct metallm__price found = unknown, p;
    found.input = per_million(entry, "input_cost_per_token");
    found.output = per_million(entry, "output_cost_per_token");
    if (embeds && isnan(found.output))
        found.output = 0;
    if (isnan(found.input) || isnan(found.output))
        return METALLM_OK;
    found.cached_input = per_million(entry, "cache_read_input_token_cost");
    found.cached_write = per_million(entry, "cache_creation_input_token_cost");
    found.batch_input = per_million(entry, "input_cost_per_token_batches");
    found.batch_output = per_million(entry, "output_cost_per_token_batches");
    found.context = tokens_of(entry, "max_input_tokens");
    found.max_output = tokens_of(entry, "max_output_tokens");
    found.tools = flag_of(entry, "supports_function_calling");
    found.images = flag_of(entry, "supports_vision");
    found.json = flag_of(entry, "supports_response_schema");
    found.embeddings = embeds ? 1 : -1;
    for (size_t i = 0; i < out->count; i++) /* two of their providers may share a platform */
        if (strcmp(out->items[i].model, name) == 0)
            return METALLM_OK;
    int rc = metallm__price_copy(&p, &found, name, err);
    return rc == METALLM_OK ? metallm__prices_add(out, &p, err) : rc;
}

int metallm__prices_litellm(struct metallm__prices *out, const char *path, const char *bytes,
                            size_t len, metallm_error *err)
{
    yyjson_doc *doc;
    struct metallm__prices prices = {0};
    if (len > METALLM__PRICE_FILE_BYTES_MAX)
        return metallm__error_set(err, METALLM_ELIMIT, "'%.100s' is no price file: %zu bytes", path,
                                  len);
    int rc = metallm__json_read(&doc, bytes, len, err);
    if (rc != METALLM_OK)
        return metallm__error_prefix(err, rc, "%.100s", path);
    bool is_theirs = false;
    yyjson_obj_iter i = yyjson_obj_iter_with(yyjson_doc_get_root(doc));
    for (yyjson_val *key; rc == METALLM_OK && (key = yyjson_obj_iter_next(&i)) != NULL;) {
        char name[METALLM__PRICE_NAME_BYTES];
        yyjson_val *entry = yyjson_obj_iter_get_val(key);
        is_theirs |= yyjson_obj_get(entry, "litellm_provider") != NULL;
        if (name_of(key, entry, name))
            rc = read_entry(&prices, name, entry, err);
    }
    yyjson_doc_free(doc);
    if (rc == METALLM_OK && !is_theirs)
        rc =
            metallm__error_set(err, METALLM_EFORMAT, "%.100s: not LiteLLM's table of prices", path);
    if (rc != METALLM_OK) {
        metallm__prices_fini(&prices);
        return rc;
    }
    *out = prices;
    return METALLM_OK;
}
