/* SPDX-License-Identifier: Apache-2.0
 * select_out.c - see select.h: options and printing that both kinds of `metallm select` share. */
#include "cli/select.h"

#include <math.h>

#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"

yyjson_mut_val *cli_json_object(struct cli_json *j)
{
    return yyjson_mut_obj(j->doc);
}

void cli_json_add(struct cli_json *j, yyjson_mut_val *object, const char *key, yyjson_mut_val *v)
{
    j->failed |= !yyjson_mut_obj_add(object, yyjson_mut_str(j->doc, key), v);
}

void cli_json_real(struct cli_json *j, yyjson_mut_val *object, const char *key, double v)
{
    cli_json_add(j, object, key,
                 isfinite(v) ? yyjson_mut_real(j->doc, v) : yyjson_mut_null(j->doc));
}

void cli_json_uint(struct cli_json *j, yyjson_mut_val *object, const char *key, uint64_t v)
{
    cli_json_add(j, object, key, yyjson_mut_uint(j->doc, v));
}

void cli_json_text(struct cli_json *j, yyjson_mut_val *object, const char *key, const char *v)
{
    cli_json_add(j, object, key, v != NULL ? yyjson_mut_str(j->doc, v) : yyjson_mut_null(j->doc));
}

int cli_json_print(struct cli_json *j, yyjson_mut_val *root, FILE *out, metallm_error *err)
{
    char *text = NULL;
    yyjson_mut_doc_set_root(j->doc, root);
    if (!j->failed)
        text = yyjson_mut_write_opts(j->doc, YYJSON_WRITE_NOFLAG, &metallm__json_alc, NULL, NULL);
    if (text == NULL)
        return metallm__error_nomem(err, "the result as JSON");
    fprintf(out, "%s\n", text);
    metallm__free(text);
    return METALLM_OK;
}

void cli_select_number(FILE *out, int width, double v)
{
    if (isfinite(v))
        fprintf(out, " %*.4f", width, v);
    else
        fprintf(out, " %*s", width, "-");
}

void cli_select_penalty(double *penalty, const double *cost, uint32_t models, double dial)
{
    double highest = 0;
    for (uint32_t m = 0; m < models; m++)
        highest = cost[m] > highest ? cost[m] : highest; /* false for NaN */
    for (uint32_t m = 0; m < models; m++)
        penalty[m] = highest > 0 ? dial * (isnan(cost[m]) ? 1 : cost[m] / highest) : 0;
}

struct metallm__task_settings cli_select_settings(const struct select_options *o)
{
    return (struct metallm__task_settings){.k = {(uint32_t)o->neighbours},
                                           .nearest = (uint32_t)o->nearest,
                                           .width = o->width,
                                           .sure = o->sure};
}
