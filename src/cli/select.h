/* SPDX-License-Identifier: Apache-2.0
 * select.h - what `metallm select` for a new task (verb_select.c) and for the known ones, each left
 * out in turn (select_tasks.c), share: options, penalties, printing as JSON and as a table. */
#ifndef CLI_SELECT_H
#define CLI_SELECT_H
#include <yyjson.h>

#include "cli/inputs.h"
#include "router/task_select.h"

struct select_options {
    struct cli_inputs_options inputs;
    uint64_t labels, seed, clusters, neighbours, nearest, library;
    double dial, label_share, width, sure;
    bool leaves_out, is_json;
};

struct metallm__task_settings cli_select_settings(const struct select_options *o);
/* What the dial takes off each model's score; a cost that is not known counts as the highest. */
void cli_select_penalty(double *penalty, const double *cost, uint32_t models, double dial);
METALLM_MUSTCHECK int cli_select_leave_out(const struct cli_io *io, const struct select_options *o,
                                           const char *const *operands, size_t count,
                                           metallm_error *err);

/* An object that is being made; keys and texts outlive it. What is not finite becomes null. */
struct cli_json {
    yyjson_mut_doc *doc;
    bool failed; /* something could not be added: no memory */
};
yyjson_mut_val *cli_json_object(struct cli_json *j);
void cli_json_add(struct cli_json *j, yyjson_mut_val *object, const char *key, yyjson_mut_val *v);
void cli_json_real(struct cli_json *j, yyjson_mut_val *object, const char *key, double v);
void cli_json_uint(struct cli_json *j, yyjson_mut_val *object, const char *key, uint64_t v);
void cli_json_text(struct cli_json *j, yyjson_mut_val *object, const char *key, const char *v);
METALLM_MUSTCHECK int cli_json_print(struct cli_json *j, yyjson_mut_val *root, FILE *out,
                                     metallm_error *err);
/* Four digits, or a dash. */
void cli_select_number(FILE *out, int width, double v);

#endif
