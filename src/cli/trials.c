/* SPDX-License-Identifier: Apache-2.0
 * trials.c - see trials.h. Models are given by their index, unknown numbers are null. */
#include "cli/trials.h"

#include <math.h>

#include "eval/decision_log.h" /* metallm__log_print_string */

#define TRIALS_BYTES_MAX (1u << 30)

void cli_trials_init(struct cli_trials *t)
{
    metallm__buf_init(&t->text, TRIALS_BYTES_MAX);
}

void cli_trials_fini(struct cli_trials *t)
{
    metallm__buf_fini(&t->text);
}

const char *cli_trials_end(struct cli_trials *t)
{
    metallm__buf_puts(&t->text, t->text.len > 0 ? "]" : "[]");
    return t->text.data != NULL ? t->text.data : "[]";
}

static void number(struct metallm__buf *b, double v)
{
    if (isfinite(v))
        metallm__buf_printf(b, "%.9g", v);
    else
        metallm__buf_puts(b, "null");
}

static void list(struct metallm__buf *b, const char *name, const double *values, uint32_t count)
{
    metallm__buf_printf(b, ",\"%s\":[", name);
    for (uint32_t j = 0; j < count; j++) {
        metallm__buf_puts(b, j > 0 ? "," : "");
        number(b, values[j]);
    }
    metallm__buf_puts(b, "]");
}

static void add_rule(struct metallm__buf *b, const struct metallm__task_trial *t,
                     enum metallm__task_rule rule)
{
    metallm__buf_printf(b, "%s\"%s\":{\"pick\":%u", rule > 0 ? "," : "",
                        metallm__task_rule_name(rule), (unsigned)t->pick[rule]);
    list(b, "score", t->score[rule], t->models);
    list(b, "p", t->p[rule], t->models);
    metallm__buf_puts(b, "}");
}

void cli_trials_add(void *trials, const struct metallm__task_trial *t)
{
    struct metallm__buf *b = &((struct cli_trials *)trials)->text;
    metallm__buf_puts(b, b->len > 0 ? ",{\"task\":" : "[{\"task\":");
    metallm__log_print_string(b, t->task);
    metallm__buf_printf(b, ",\"samples\":%zu,\"distance\":", t->samples);
    number(b, t->distance);
    list(b, "truth", t->row->truth, t->models);
    list(b, "accuracy", t->row->patch[0].accuracy, t->models);
    list(b, "accuracy_wide", t->row->patch[1].accuracy, t->models);
    metallm__buf_puts(b, ",\"rules\":{");
    for (unsigned r = 0; r < METALLM__RULES; r++)
        add_rule(b, t, (enum metallm__task_rule)r);
    metallm__buf_printf(b, "},\"used\":\"%s\",\"pick\":%u,\"labels\":%zu",
                        metallm__task_rule_name(t->used), (unsigned)t->used_pick, t->labels);
    if (t->labels > 0) {
        list(b, "labelled", t->labelled, t->models);
        list(b, "rest", t->rest, t->models);
        metallm__buf_printf(b, ",\"labelled_pick\":%u,\"moved\":{", (unsigned)t->labelled_pick);
        for (unsigned r = 0; r < METALLM__RULES; r++)
            metallm__buf_printf(b, "%s\"%s\":%u", r > 0 ? "," : "",
                                metallm__task_rule_name((enum metallm__task_rule)r),
                                (unsigned)t->moved_pick[r]);
        metallm__buf_puts(b, "},\"moved_distance\":");
        number(b, t->moved_distance);
    }
    metallm__buf_puts(b, "}");
}
