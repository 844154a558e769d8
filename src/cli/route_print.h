/* SPDX-License-Identifier: Apache-2.0
 * route_print.h - how a decision is shown, as a line of text or of JSON. */
#ifndef CLI_ROUTE_PRINT_H
#define CLI_ROUTE_PRINT_H
#include <stdio.h>

#include "metallm/router.h"

struct cli_route_answer {
    const metallm_router *router;
    const metallm_estimate *estimates; /* a record a model */
    const float *scores;               /* NaN: left out */
    const metallm_constraints *constraints;
    metallm_decision decision;
};

const char *cli_route_reason(enum metallm_reason reason); /* the word that JSON carries */
void cli_route_print_line(FILE *out, const struct cli_route_answer *a);
METALLM_MUSTCHECK int cli_route_print_json(FILE *out, const struct cli_route_answer *a,
                                           metallm_error *err);

#endif
