/* SPDX-License-Identifier: Apache-2.0
 * prices.h - what a call costs, from a price file (YAML; docs/formats.md):
 *   models: NAME: {usd_per_call: X} | {input: , output: , cached_input: } dollars per million
 * tokens, or a list of these, each with the day (from: YYYY-MM-DD) from which it holds. Beside the
 * price may stand what else is known of the model, and where the figures are from (docs/prices.md).
 * RouterArena's cost file, JSON, is read as well. Prices fill costs that are not known; a cost that
 * an outcome carries is never changed. */
#ifndef DATA_PRICES_H
#define DATA_PRICES_H
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "metallm/outcomes.h"

#define METALLM__PRICE_FILE_BYTES_MAX ((size_t)16 << 20)

struct metallm__price {
    char *model;          /* owned */
    size_t line;          /* of the price file */
    int from;             /* YYYYMMDD; 0: always */
    double usd_per_call;  /* NaN: not stated */
    double input, output; /* dollars per million tokens; NaN: not stated */
    double cached_input;  /* NaN: not stated (input holds) */

    double cached_write, batch_input, batch_output;    /* NaN: not stated */
    double long_input, long_output, long_cached_input; /* of prompts of more than long_over tokens;
                                                        * NaN: not stated */
    uint64_t long_over, context, max_output;           /* tokens; 0: not stated */
    int8_t tools, images, json, embeddings;            /* -1: not stated */
    int checked;  /* YYYYMMDD: when the figures were read; 0: not told */
    char *source; /* owned: where they are from; NULL: not told */
};
/* Nothing stated. */
#define METALLM__PRICE_UNKNOWN                                                                     \
    {                                                                                              \
        .usd_per_call = NAN, .input = NAN, .output = NAN, .cached_input = NAN,                     \
        .cached_write = NAN, .batch_input = NAN, .batch_output = NAN, .long_input = NAN,           \
        .long_output = NAN, .long_cached_input = NAN, .tools = -1, .images = -1, .json = -1,       \
        .embeddings = -1                                                                           \
    }

struct metallm__prices { /* a cleared record is an empty list */
    struct metallm__price *items;
    size_t count, cap;
};

/* METALLM_EFORMAT: "FILE:LINE: what is wrong with 'VALUE'". */
METALLM_MUSTCHECK int metallm__prices_read(struct metallm__prices *out, const char *path,
                                           metallm_error *err);
METALLM_MUSTCHECK int metallm__prices_parse(struct metallm__prices *out, const char *path,
                                            const char *bytes, size_t len, metallm_error *err);
void metallm__prices_fini(struct metallm__prices *prices);
/* Takes over what item owns, also where it fails. METALLM_ENOMEM. */
METALLM_MUSTCHECK int metallm__prices_add(struct metallm__prices *prices,
                                          struct metallm__price *item, metallm_error *err);
void metallm__price_fini(struct metallm__price *item);
/* A copy of item under this name. */
METALLM_MUSTCHECK int metallm__price_copy(struct metallm__price *out,
                                          const struct metallm__price *item, const char *model,
                                          metallm_error *err);
/* Are the prices themselves the same? */
bool metallm__price_same(const struct metallm__price *a, const struct metallm__price *b);

/* The table that is compiled in (data/models.yaml): "PLATFORM/NAME" each. */
METALLM_MUSTCHECK int metallm__prices_known(struct metallm__prices *out, metallm_error *err);
/* The table's name of what is asked at this URL by this name, "openai/gpt-4o", into out; false: the
 * URL is of no platform that the table knows, or the name is too long. */
#define METALLM__PRICE_NAME_BYTES 320u
bool metallm__price_name(char out[METALLM__PRICE_NAME_BYTES], const char *base_url,
                         const char *model);

/* LiteLLM's table of prices (JSON), for the platforms that the table knows. METALLM_EFORMAT: it is
 * none. */
METALLM_MUSTCHECK int metallm__prices_litellm(struct metallm__prices *out, const char *path,
                                              const char *bytes, size_t len, metallm_error *err);
/* Puts the items of more into prices: what is new, and what costs something else from day on, is
 * added; what costs the same is only checked anew. counts: added, changed, same. */
struct metallm__price_merge {
    size_t added, changed, same;
};
METALLM_MUSTCHECK int metallm__prices_merge(struct metallm__prices *prices,
                                            const struct metallm__prices *more, int day,
                                            struct metallm__price_merge *counts,
                                            metallm_error *err);
/* As a price file, sorted by name and day. METALLM_ENOMEM; the buffer tells of its own failure. */
METALLM_MUSTCHECK int metallm__prices_write(struct metallm__buf *out,
                                            const struct metallm__prices *prices,
                                            metallm_error *err);

/* The model's price that holds on this day (YYYYMMDD): the latest that began; NULL: none. */
const struct metallm__price *metallm__prices_find(const struct metallm__prices *prices,
                                                  const char *model, int day);
/* Dollars for a call: usd_per_call, else from token counts; NaN when neither is known. */
float metallm__price_of(const struct metallm__price *price, const metallm_outcome *call);
/* "YYYY-MM-DD" as YYYYMMDD; 0: not a day. */
int metallm__day_parse(const char *text, size_t len);
int metallm__day_today(void); /* UTC */

/* Fills what costs are unknown in the table, where the score is known. */
METALLM_MUSTCHECK int metallm__prices_fill(const struct metallm__prices *prices, int day,
                                           metallm_outcomes *o, metallm_error *err);

#endif
