/* SPDX-License-Identifier: Apache-2.0
 * fuzz_classify.c - any bytes as an LLM's answer, as bare text, as a template and as a list of
 * labels: a label that was read is one of the set, chances are chances, and what a template makes
 * is a request that the gateway reads. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "classify/template.h"
#include "fuzz/fuzz.h"
#include "wire/wire.h"

#define REQUIRE(fact) ((fact) ? (void)0 : __builtin_trap())

static const struct metallm__span choices[] = {METALLM__SPAN("Paris"), METALLM__SPAN("London"),
                                               METALLM__SPAN("")};

static void check_read(const struct metallm__label_read *r, uint32_t open)
{
    REQUIRE(r->label == METALLM__LABEL_NONE || r->label < open);
    REQUIRE((r->label == METALLM__LABEL_NONE) ==
            (r->how <= METALLM__LABEL_DAMAGED)); /* unmapped, empty, damaged */
    REQUIRE(isnan(r->confidence) || (r->confidence >= 0 && r->confidence <= 1));
    REQUIRE(isnan(r->mass) || (r->mass > 0 && r->mass <= 1));
    if (r->has_probs) {
        double sum = 0;
        for (uint32_t i = 0; i < open; i++) {
            REQUIRE(r->probs[i] >= 0 && r->probs[i] <= 1);
            sum += (double)r->probs[i];
        }
        REQUIRE(fabs(sum - 1) < 1e-3);
    }
}

static void read_answer(const struct metallm__labels *labels, struct metallm__span bytes,
                        uint32_t choice_count)
{
    static const double lean[26] = {0.9, 0.01, 0.5, 0.1, 0.1, 1, 1, 1, 1, 1, 1, 1, 1,
                                    1,   1,    1,   1,   1,   1, 1, 1, 1, 1, 1, 1, 1};
    const struct metallm__label_ask ask = {.labels = labels,
                                           .body = bytes,
                                           .choices = choices,
                                           .choice_count = choice_count,
                                           .lean = lean};
    const uint32_t open = choice_count > 0 ? choice_count : metallm__labels_count(labels);
    struct metallm__label_read r;
    REQUIRE(metallm__label_read(&ask, &r, NULL) == METALLM_OK);
    check_read(&r, open);
    metallm__label_read_text(&ask, bytes, &r);
    check_read(&r, open);
}

static void fill(const struct metallm__template *t, struct metallm__span text, bool is_choices)
{
    struct metallm__buf body;
    struct metallm__wire_request request = {0};
    const char *param;
    metallm__buf_init(&body, METALLM__TEMPLATE_BODY_MAX);
    const struct metallm__template_fill f = {.model = METALLM__SPAN("m"),
                                             .text = text,
                                             .choices = choices,
                                             .choice_count = is_choices ? 3 : 0,
                                             .logprobs = 5};
    if (metallm__template_fill(t, &f, &body, NULL) == METALLM_OK) {
        REQUIRE(metallm__wire_request_read(&request, METALLM__WIRE_CHAT,
                                           metallm__span(body.data, body.len), &param,
                                           NULL) == METALLM_OK);
        metallm__wire_request_fini(&request);
    }
    metallm__buf_fini(&body);
}

static void compile(const struct metallm__labels *labels, struct metallm__span bytes,
                    bool is_choices)
{
    const struct metallm__template_example example = {
        .text = bytes, .label = 1, .choices = choices, .choice_count = is_choices ? 3 : 0};
    for (uint32_t examples = 0; examples < 2; examples++) {
        const struct metallm__template_source source = {.labels = labels,
                                                        .is_choices = is_choices,
                                                        .file = bytes,
                                                        .path = "t",
                                                        .examples = &example,
                                                        .example_count = examples};
        struct metallm__template *t = NULL;
        metallm_error err = {0};
        if (metallm__template_new(&t, &source, &err) == METALLM_OK)
            fill(t, bytes, is_choices);
        else
            REQUIRE(err.message[0] != '\0');
        metallm__template_free(t);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct metallm__labels *plain, *letters;
    char *exact = malloc(size > 0 ? size : 1); /* a sanitizer sees what is read beyond it */
    if (exact == NULL)
        return 0;
    if (size > 0)
        memcpy(exact, data, size);
    if (plain == NULL) {
        REQUIRE(metallm__labels_parse(&plain, "up,down,negative,negligible,very good,c++,+",
                                      NULL) == METALLM_OK);
        REQUIRE(metallm__labels_letters(&letters, 26, NULL) == METALLM_OK);
    }
    const struct metallm__span bytes = {exact, size};
    read_answer(plain, bytes, 0);
    read_answer(letters, bytes, 3);
    compile(plain, bytes, false);
    compile(letters, bytes, true);
    free(exact);

    char *list = malloc(size + 1);
    if (list != NULL) {
        if (size > 0)
            memcpy(list, data, size);
        list[size] = '\0';
        struct metallm__labels *l = NULL;
        if (metallm__labels_parse(&l, list, NULL) == METALLM_OK)
            for (uint32_t i = 0; i < metallm__labels_count(l); i++)
                REQUIRE(metallm__labels_find(l, metallm__span_of(metallm__labels_name(l, i))) == i);
        metallm__labels_free(l);
        free(list);
    }
    return 0;
}
