/* SPDX-License-Identifier: Apache-2.0
 * fuzz_outcomes.c - any bytes as a file of outcomes: refused with a sentence, or a table in which
 * every number is in its range and every text is one. An input "#N" and more is read as format N.
 */
#include <math.h>

#include "data/read.h"
#include "fuzz/fuzz.h"

static void check_query(const metallm_outcomes *o, size_t q)
{
    const metallm_query query = metallm_outcomes_query(o, q);
    const char *const texts[] = {query.id, query.task, query.split, query.prompt, query.label};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!metallm__text_is_utf8(metallm__span_of(texts[i])))
            __builtin_trap();
    if (query.prompt[0] == '\0')
        __builtin_trap();
    for (uint32_t m = 0; m < metallm_outcomes_model_count(o); m++) {
        const metallm_outcome c = metallm_outcomes_get(o, q, m);
        const float rest[] = {c.cost_usd, c.latency_ms, c.input_tokens, c.output_tokens};
        if (!isnan(c.score) && !(c.score >= 0 && c.score <= 1))
            __builtin_trap();
        for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
            if (!isnan(rest[i]) && !(rest[i] >= 0 && isfinite(rest[i])))
                __builtin_trap();
    }
}

static int pass_answer(void *payload, size_t query, uint32_t model, struct metallm__span text,
                       metallm_error *err)
{
    (void)payload, (void)query, (void)model, (void)err;
    if (!metallm__text_is_utf8(text))
        __builtin_trap();
    return METALLM_OK;
}

static void count_problem(void *payload, const char *message)
{
    if (message[0] == '\0')
        __builtin_trap();
    *(size_t *)payload += 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t problems = 0;
    metallm_read_options opts = {.problem = count_problem, .problem_payload = &problems};
    if (size >= 2 && data[0] == '#' && data[1] >= '0' && data[1] <= '9') {
        opts.format = metallm_format_name((size_t)(data[1] - '0'));
        data += 2;
        size -= 2;
    }
    const struct metallm__response_sink sink = {.put = pass_answer};
    metallm_outcomes *o = NULL;
    metallm_read_report r = {0};
    metallm_error err = {0};
    const char *format;
    if (metallm_outcomes_new(&o, NULL) != METALLM_OK)
        return 0;
    int rc = metallm__read_file(o, fuzz_path(data, size), &opts, &sink, &r, &format, &err);
    if (rc == METALLM_OK ? problems != r.rows_skipped + r.cells_bad + r.duplicates ||
                               metallm_outcomes_query_count(o) > r.rows
                         : err.message[0] == '\0')
        __builtin_trap();
    for (size_t q = 0; q < metallm_outcomes_query_count(o); q++)
        check_query(o, q);
    metallm_outcomes_free(o);
    return 0;
}
