/* SPDX-License-Identifier: Apache-2.0
 * prices.h - how prices are printed, and what a check finds: for `metallm prices` and the doctor.
 */
#ifndef CLI_PRICES_H
#define CLI_PRICES_H
#include <stdint.h>
#include <stdio.h>

#include "base/json_out.h"
#include "data/prices.h"
#include "gateway/config.h"

void cli_price_head(FILE *out);
void cli_price_row(FILE *out, const struct metallm__price *p);
void cli_price_json(struct metallm__jw *j, const struct metallm__price *p);

struct cli_price_check {
    FILE *out;               /* lines; NULL: none */
    struct metallm__jw json; /* an object a model */
    const struct metallm__prices *known;
    uint64_t stale_days;
    int today;         /* YYYYMMDD */
    unsigned unpriced; /* so far */
};
void cli_price_check_model(struct cli_price_check *k, const struct metallm__config_model *m);

/* Days from one YYYYMMDD to another; 0 where the first is later. */
uint64_t cli_days_between(int from, int to);

#endif
