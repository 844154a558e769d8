/* SPDX-License-Identifier: Apache-2.0
 * decisions.h - what a gateway recorded in a store, as a decision log (eval/decision_log.h). */
#ifndef CLI_DECISIONS_H
#define CLI_DECISIONS_H
#include "eval/decision_log.h"

/* Appends the decisions of the store's gateway, each with the feedback that counts. Left out: what
 * the client named itself, and what was never answered. In mode observe the LLM that answered is
 * the choice, with propensity 1. A failed LLM's fallback counts as what came of choosing it.
 * router: this one's alone; NULL: all. */
METALLM_MUSTCHECK int cli_decisions_read(struct metallm__decision_log *l, const char *url,
                                         const char *router,
                                         const struct metallm__log_options *opts,
                                         struct metallm__log_report *report, metallm_error *err);
#endif
