/* SPDX-License-Identifier: Apache-2.0
 * prices.h - what a call costs, from a price file (YAML; docs/formats.md):
 *   models: NAME: {usd_per_call: X} | {input: , output: , cached_input: } dollars per million
 * tokens, or a list of these, each with the day (from: YYYY-MM-DD) from which it holds.
 * RouterArena's cost file, JSON, is read as well. Prices fill costs that are not known; a cost that
 * an outcome carries is never changed. */
#ifndef DATA_PRICES_H
#define DATA_PRICES_H
#include <stdbool.h>

#include "metallm/outcomes.h"

#define METALLM__PRICE_FILE_BYTES_MAX ((size_t)16 << 20)

struct metallm__price {
    char *model;          /* owned */
    size_t line;          /* of the price file */
    int from;             /* YYYYMMDD; 0: always */
    double usd_per_call;  /* NaN: not stated */
    double input, output; /* dollars per million tokens; NaN: not stated */
    double cached_input;  /* NaN: not stated (input holds) */
};

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
