/* SPDX-License-Identifier: Apache-2.0
 * price_table.c - the table of prices and abilities that is compiled in, and which platform a URL
 * belongs to. See prices.h. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "data/prices.h"

extern const char metallm__models_yaml[];
extern const size_t metallm__models_yaml_bytes;

int metallm__prices_known(struct metallm__prices *out, metallm_error *err)
{
    return metallm__prices_parse(out, "data/models.yaml", metallm__models_yaml,
                                 metallm__models_yaml_bytes, err);
}

/* Of a URL, without scheme, user and port. */
static void host_of(const char *url, const char **host, size_t *len)
{
    const char *at = strstr(url, "://");
    *host = at != NULL ? at + 3 : url;
    *len = strcspn(*host, ":/?#");
}

static bool is_platform(const char *host, size_t len, const char *begin, const char *end)
{
    size_t b = strlen(begin), e = strlen(end);
    return (e == 0 ? len == b : len > b + e) && strncasecmp(host, begin, b) == 0 &&
           strncasecmp(host + len - e, end, e) == 0;
}

bool metallm__price_name(char out[METALLM__PRICE_NAME_BYTES], const char *base_url,
                         const char *model)
{
    static const struct {
        const char *name, *begin, *end; /* of the host; end "": all of it */
    } platforms[] = {
        {"openai", "api.openai.com", ""},
        {"anthropic", "api.anthropic.com", ""},
        {"bedrock", "bedrock-runtime.", ".amazonaws.com"},
        {"gemini", "generativelanguage.googleapis.com", ""},
        {"mistral", "api.mistral.ai", ""},
        {"groq", "api.groq.com", ""},
        {"deepseek", "api.deepseek.com", ""},
        {"together", "api.together.xyz", ""},
        {"together", "api.together.ai", ""},
    };
    const char *host;
    size_t len;
    host_of(base_url, &host, &len);
    if (strncmp(model, "models/", 7) == 0) /* Gemini's full names */
        model += 7;
    for (size_t i = 0; i < sizeof platforms / sizeof *platforms; i++)
        if (is_platform(host, len, platforms[i].begin, platforms[i].end)) {
            int n = snprintf(out, METALLM__PRICE_NAME_BYTES, "%s/%s", platforms[i].name, model);
            return n > 0 && (size_t)n < METALLM__PRICE_NAME_BYTES;
        }
    return false;
}
