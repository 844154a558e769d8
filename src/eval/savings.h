/* SPDX-License-Identifier: Apache-2.0
 * savings.h - what `metallm report` tells: what was done, and what each of a list of other policies
 * would have earned and spent on the same queries. */
#ifndef EVAL_SAVINGS_H
#define EVAL_SAVINGS_H
#include "base/buf.h"
#include "eval/whatif.h"

#define METALLM__SAVINGS_NAME_BYTES 320u

struct metallm__savings_row {
    char name[METALLM__SAVINGS_NAME_BYTES]; /* "always MODEL", "dial 0.3", ... */
    struct metallm__whatif_policy policy;
    struct metallm__whatif got; /* filled by metallm__savings_fill */
};
struct metallm__savings {
    const struct metallm__decision_log *log; /* borrowed */
    struct metallm__log_summary done;
    struct metallm__savings_row *rows;
    size_t count;
    double clip; /* of the weights; 0: not clipped */
};

/* Adds a policy; the name is cut at its field. */
METALLM_MUSTCHECK int metallm__savings_add(struct metallm__savings *s, const char *name,
                                           const struct metallm__whatif_policy *policy,
                                           metallm_error *err);
METALLM_MUSTCHECK int metallm__savings_fill(struct metallm__savings *s,
                                            const metallm_progress *progress, metallm_error *err);
void metallm__savings_fini(struct metallm__savings *s); /* the rows */

/* Dollars not spent: what the policy would have cost on the priced decisions, less what they did.
 * By DR. */
double metallm__savings_saved(const struct metallm__savings *s, size_t row);
/* "" or a sentence, the gravest first; static. */
const char *metallm__savings_warning(unsigned warnings);
/* The object of `report --json`, one line without its newline. */
void metallm__savings_json(const struct metallm__savings *s, struct metallm__buf *out);

#endif
