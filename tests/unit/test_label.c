/* SPDX-License-Identifier: Apache-2.0
 * test_label.c - sets of labels; what answers of every kind say, their probabilities included. */
#include "classify/label.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/cmocka_all.h"
#include "support/fail_alloc.h"

static struct metallm__labels *set_of(const char *list)
{
    struct metallm__labels *l = NULL;
    metallm_error err;
    if (metallm__labels_parse(&l, list, &err) != METALLM_OK)
        fail_msg("%s", err.message);
    return l;
}

static void sets_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *list, *says;
    } cases[] = {
        {"up", "1 labels"},
        {"", "1 labels"},
        {"up,,down", "label 2 is empty"},
        {"up,down, UP ", "labels 'up' and 'UP' are the same"},
        {"very good,Very-Good", "are the same"},
        {"up,\"up\"", "are the same"},
        {"a,b\x01", "label 2 is not UTF-8"},
        {"a,b\xff", "label 2 is not UTF-8"},
        {"a,\xed\xa0\x80", "label 2 is not UTF-8"},
        {"a,\xf0\x9f\x98", "label 2 is not UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct metallm__labels *l = NULL;
        metallm_error err = {0};
        assert_int_equal(metallm__labels_parse(&l, cases[i].list, &err), METALLM_EINVAL);
        if (strstr(err.message, cases[i].says) == NULL)
            fail_msg("'%s': %s", cases[i].list, err.message);
        assert_null(l);
    }
    char many[1200] = "l0", is_long[200];
    for (int i = 1; i < 257; i++)
        snprintf(many + strlen(many), sizeof many - strlen(many), ",l%d", i);
    struct metallm__labels *l = NULL;
    assert_int_equal(metallm__labels_parse(&l, many, NULL), METALLM_EINVAL);
    many[strlen(many) - 5] = '\0';
    assert_int_equal(metallm__labels_parse(&l, many, NULL), METALLM_OK);
    assert_int_equal(metallm__labels_count(l), 256);
    metallm__labels_free(l);
    snprintf(is_long, sizeof is_long, "a,%0*d", (int)METALLM__LABEL_BYTES_MAX + 1, 0);
    assert_int_equal(metallm__labels_parse(&l, is_long, NULL), METALLM_EINVAL);
    assert_int_equal(metallm__labels_letters(&l, 27, NULL), METALLM_EINVAL);
    assert_int_equal(metallm__labels_letters(&l, 1, NULL), METALLM_EINVAL);
}

static void names_are_found_in_any_writing(void **state)
{
    (void)state;
    struct metallm__labels *l = set_of(" very good , c++,c#,+,-,\xc3\xa9t\xc3\xa9"),
                           *other = set_of("c++,very good,c#,+,-,\xc3\xa9t\xc3\xa9");
    static const struct {
        const char *name;
        uint32_t label;
    } cases[] = {{"Very-Good.", 0}, {"\"very  good\"", 0},     {"C++", 1},
                 {"c#", 2},         {"c", UINT32_MAX},         {" + ", 3},
                 {"-", 4},          {"\xc3\xa9t\xc3\xa9!", 5}, {"good", UINT32_MAX},
                 {"", UINT32_MAX}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (metallm__labels_find(l, metallm__span_of(cases[i].name)) != cases[i].label)
            fail_msg("'%s'", cases[i].name);
    assert_string_equal(metallm__labels_name(l, 0), "very good");
    assert_int_equal(metallm__labels_longest(l), 9);
    assert_true(metallm__labels_hash(l) != metallm__labels_hash(other)); /* the order counts */
    metallm__labels_free(l);
    metallm__labels_free(other);
}

static void texts_say_their_label(void **state)
{
    (void)state;
    static const struct {
        const char *text, *label, *how;
    } cases[] = {
        {"up", "up", "exact"},
        {"  up\n", "up", "exact"},
        {"UP", "up", "normal"},
        {"**Up.**", "up", "normal"},
        {"\xe2\x80\x9cup\xe2\x80\x9d", "up", "normal"},
        {"Very-Positive!", "very positive", "normal"},
        {"up, because demand rose", "up", "led"},
        {"Up\n\nHeadline: gold falls\nDirection: down", "up", "led"},
        {"Up, not down", "up", "led"},
        {"Label: up", "up", "marked"},
        {"The answer is UP.", "up", "marked"},
        {"The direction (up, down, neutral or none) is: **down**", "down", "marked"},
        {"{\"label\": \"neutral\", \"why\": \"neither up nor down\"}", "neutral", "marked"},
        {"It could be up or down. Final answer: none", "none", "marked"},
        {"Gold went 'down' they say, upwards of 5%", "down", "marked"},
        {"\xe2\x86\x92 I'd say that it went up there", "up", "sentence"},
        {"It is not up; I would call it neutral", "neutral", "sentence"},
        {"It isn't down, it's up", "up", "sentence"},
        {"This is very positive news", "very positive", "sentence"},
        {"positive, not very positive", "positive", "led"},
        {"<think>up or down? Answer: down</think>\n\nup", "up", "exact"},
        {"neut", "neutral", "cut"},
        {"Very pos", "very positive", "cut"},
        {"n", NULL, "unmapped"},
        {"up or down", NULL, "unmapped"},
        {"not up", NULL, "unmapped"},
        {"The upper update is breakdown", NULL, "unmapped"},
        {"upward", NULL, "unmapped"},
        {"42", NULL, "unmapped"},
        {"***", NULL, "unmapped"},
        {"#", NULL, "unmapped"},
        {" \n\t", NULL, "empty"},
        {"", NULL, "empty"},
    };
    struct metallm__labels *l = set_of("up,down,neutral,none,positive,very positive");
    const struct metallm__label_ask ask = {.labels = l};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct metallm__label_read got;
        char *exact = malloc(strlen(cases[i].text) + 1); /* so that a sanitizer sees its end */
        memcpy(exact, cases[i].text, strlen(cases[i].text));
        metallm__label_read_text(&ask, metallm__span(exact, strlen(cases[i].text)), &got);
        free(exact);
        const char *label =
            got.label == METALLM__LABEL_NONE ? NULL : metallm__labels_name(l, got.label);
        if (strcmp(metallm__label_how_name(got.how), cases[i].how) != 0 ||
            (label == NULL) != (cases[i].label == NULL) ||
            (label != NULL && strcmp(label, cases[i].label) != 0))
            fail_msg("'%s': %s, %s", cases[i].text, label == NULL ? "-" : label,
                     metallm__label_how_name(got.how));
        assert_true(isnan(got.confidence) && !got.has_probs);
    }
    metallm__labels_free(l);
}

static void labels_without_blanks_between_words_are_found(void **state)
{
    (void)state;
    struct metallm__labels *l = set_of("\xe4\xb8\x8a\xe6\xb6\xa8,\xe4\xb8\x8b\xe8\xb7\x8c");
    const struct metallm__label_ask ask = {.labels = l};
    struct metallm__label_read got;
    metallm__label_read_text(
        &ask, metallm__span_of("\xe4\xbb\xb7\xe6\xa0\xbc\xe4\xb8\x8b\xe8\xb7\x8c\xe4\xba\x86"),
        &got);
    assert_int_equal(got.label, 1);
    metallm__labels_free(l);
}

static void choices_are_answered_by_letter_or_text(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t label;
    } cases[] = {{"B", 1},
                 {"(b)", 1},
                 {"B. London", 1},
                 {"B) it is obvious", 1},
                 {"The answer is A because it is big", 0},
                 {"Paris", 0},
                 {"paris.", 0},
                 {"I think that it is New  York", 2},
                 {"\\boxed{C}", 2},
                 {"A city on the Thames", UINT32_MAX},
                 {"D", UINT32_MAX}, /* this question has three choices */
                 {"Paris or London", UINT32_MAX},
                 {"Berlin", UINT32_MAX}};
    const struct metallm__span choices[] = {METALLM__SPAN("Paris"), METALLM__SPAN("London"),
                                            METALLM__SPAN("New York")};
    struct metallm__labels *l = NULL;
    assert_int_equal(metallm__labels_letters(&l, 26, NULL), METALLM_OK);
    const struct metallm__label_ask ask = {.labels = l, .choices = choices, .choice_count = 3};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct metallm__label_read got;
        metallm__label_read_text(&ask, metallm__span_of(cases[i].text), &got);
        if (got.label != cases[i].label)
            fail_msg("'%s': %d, %s", cases[i].text, (int)got.label,
                     metallm__label_how_name(got.how));
    }
    metallm__labels_free(l);
}

/* ---- Whole answers. ---- */

#define ALT(token, p) "{\"token\":\"" token "\",\"logprob\":" p "}"
#define TOKEN(t, p, alternatives)                                                                  \
    "{\"token\":\"" t "\",\"logprob\":" p ",\"top_logprobs\":[" alternatives "]}"
#define ANSWER(text, tokens)                                                                       \
    "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"" text           \
    "\"},\"logprobs\":{\"content\":[" tokens "]}}]}"

static struct metallm__label_read read_body(const struct metallm__labels *l, const char *body,
                                            const double *lean)
{
    const struct metallm__label_ask ask = {
        .labels = l, .body = metallm__span_of(body), .lean = lean};
    struct metallm__label_read got;
    assert_int_equal(metallm__label_read(&ask, &got, NULL), METALLM_OK);
    return got;
}

/* ln 0.5, 0.25, 0.125, 0.05 */
#define P50 "-0.6931471805599453"
#define P25 "-1.3862943611198906"
#define P12 "-2.0794415416798357"
#define P05 "-2.995732273553991"

static void probabilities_are_summed_over_writings(void **state)
{
    (void)state;
    struct metallm__labels *l = set_of("up,down,neutral,none");
    const char *body = ANSWER("up", TOKEN("up", P50,
                                          ALT("up", P50) "," ALT(" Up", P12) "," ALT(
                                              "down", P25) "," ALT("D", P05) "," ALT("The", P05)));
    struct metallm__label_read got = read_body(l, body, NULL);
    assert_int_equal(got.label, 0);
    assert_int_equal(got.how, METALLM__LABEL_EXACT);
    assert_true(got.has_probs && !got.is_probs_label);
    assert_true(fabs(got.mass - 0.875) < 1e-6); /* "D" and "The" say nothing */
    assert_true(fabs(got.confidence - 0.625 / 0.875) < 1e-6);
    assert_true(fabs((double)got.probs[1] - 0.25 / 0.875) < 1e-6);
    /* An LLM that leans to "up" ten times as much as to "down" said "down". */
    const double lean[] = {0.8, 0.08, 0.06, 0.06};
    got = read_body(l, body, lean);
    assert_int_equal(got.label, 1);
    assert_int_equal(got.how, METALLM__LABEL_LOGPROBS);
    assert_true(got.is_probs_label);
    assert_true(fabs((double)got.probs[0] - 0.625 / 0.875) < 1e-6); /* as they were */
    metallm__labels_free(l);
}

static void labels_that_begin_alike_are_told_apart_by_the_next_token(void **state)
{
    (void)state;
    struct metallm__labels *l = set_of("negative,negligible,positive,positive trend");
    struct metallm__label_read got = read_body(
        l,
        ANSWER("negative", TOKEN("neg", P50, ALT("neg", P50) "," ALT("positive", P25)) "," TOKEN(
                               "ative", P50, ALT("ative", P50) "," ALT("ligible", P25))),
        NULL);
    assert_int_equal(got.label, 0);
    assert_true(fabs(got.mass - 0.625) < 1e-6);
    assert_true(fabs((double)got.probs[0] - 0.25 / 0.625) < 1e-6);
    assert_true(fabs((double)got.probs[1] - 0.125 / 0.625) < 1e-6);
    /* "positive" alone, whose longer sister could not follow, counts for itself. */
    assert_true(fabs((double)got.probs[2] - 0.25 / 0.625) < 1e-6);
    assert_true((double)got.probs[3] < 1e-9);
    metallm__labels_free(l);
}

static void a_label_behind_other_tokens_is_weighed_where_it_stands(void **state)
{
    (void)state;
    struct metallm__labels *l = set_of("up,down");
    struct metallm__label_read got = read_body(
        l,
        ANSWER(
            "**Answer**: down",
            TOKEN("**", P50, ALT("**", P50) "," ALT("up", P05)) "," TOKEN(
                "Answer", P50,
                ALT("Answer", P50)) "," TOKEN("**:", P50,
                                              "") "," TOKEN(" down", P50,
                                                            ALT(" down", P50) "," ALT(" up", P25))),
        NULL);
    assert_int_equal(got.label, 1);
    assert_int_equal(got.how, METALLM__LABEL_MARKED);
    assert_true(fabs(got.confidence - 0.5 / 0.75) < 1e-6);
    /* Nothing readable was written, but the labels were thought of. */
    got =
        read_body(l, ANSWER("Well", TOKEN("Well", P50, ALT("Well", P50) "," ALT("up", P25))), NULL);
    assert_int_equal(got.label, 0);
    assert_int_equal(got.how, METALLM__LABEL_LOGPROBS);
    assert_false(got.is_probs_label);
    metallm__labels_free(l);
}

static void damaged_answers_say_so(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        enum metallm__label_how how;
    } cases[] = {
        {"", METALLM__LABEL_DAMAGED},
        {"<html>502</html>", METALLM__LABEL_DAMAGED},
        {"[]", METALLM__LABEL_DAMAGED},
        {"{\"choices\":[]}", METALLM__LABEL_DAMAGED},
        {"{\"choices\":[{\"message\":\"up\"}]}", METALLM__LABEL_DAMAGED},
        {"{\"choices\":[{\"message\":{\"content\":null}}]}", METALLM__LABEL_EMPTY},
        {"{\"choices\":[{\"message\":{\"content\":[\"up\"]}}]}", METALLM__LABEL_EMPTY},
        {ANSWER("?", "7"), METALLM__LABEL_UNMAPPED},
        {ANSWER("?", "{\"token\":7,\"logprob\":\"x\",\"top_logprobs\":{}}"),
         METALLM__LABEL_UNMAPPED},
        {ANSWER("?", TOKEN("up", "1e999", "")), METALLM__LABEL_DAMAGED}, /* no number in JSON */
        {ANSWER("?", TOKEN("up", "5", ALT("up", "5") ",[],null")), METALLM__LABEL_UNMAPPED},
    };
    struct metallm__labels *l = set_of("up,down");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct metallm__label_read got = read_body(l, cases[i].body, NULL);
        if (got.how != cases[i].how)
            fail_msg("%s: %s", cases[i].body, metallm__label_how_name(got.how));
        assert_int_equal(got.label, METALLM__LABEL_NONE);
        assert_false(got.has_probs);
    }
    metallm__labels_free(l);
}

static void lean_is_the_mean_of_what_was_seen(void **state)
{
    (void)state;
    struct metallm__lean lean = {0};
    struct metallm__label_read read = {.has_probs = true, .probs = {0.75f, 0.25f}};
    double out[2];
    for (unsigned i = 0; i < METALLM__LEAN_LEAST - 1; i++)
        metallm__lean_add(&lean, &read, 2);
    metallm__lean_get(&lean, 2, out);
    assert_true(out[0] == 1 && out[1] == 1); /* too early */
    metallm__lean_add(&lean, &read, 2);
    read.has_probs = false;
    metallm__lean_add(&lean, &read, 2);
    assert_int_equal(lean.count, METALLM__LEAN_LEAST);
    metallm__lean_get(&lean, 2, out);
    assert_true(fabs(out[0] - (METALLM__LEAN_LEAST * 0.75 + 0.5) / (METALLM__LEAN_LEAST + 1)) <
                1e-9);
    assert_true(fabs(out[0] + out[1] - 1) < 1e-9);
}

static int read_all(void *payload)
{
    struct metallm__labels *l = NULL;
    struct metallm__label_read got;
    (void)payload;
    int rc = metallm__labels_parse(&l, "up,down", NULL);
    if (rc != METALLM_OK)
        return rc;
    const struct metallm__label_ask ask = {
        .labels = l, .body = metallm__span_of(ANSWER("up", TOKEN("up", P50, "")))};
    rc = metallm__label_read(&ask, &got, NULL);
    metallm__labels_free(l);
    return rc;
}

static void missing_memory_is_told(void **state)
{
    (void)state;
    assert_true(fail_alloc_sweep(read_all, NULL) >= 7);
}

/* A body cut anywhere is read without a crash, and never as another label. */
static void cut_answers_are_safe(void **state)
{
    (void)state;
    struct metallm__labels *l = set_of("up,down");
    const char *body = ANSWER("The answer is up", TOKEN("up", P50, ALT("up", P50)));
    for (size_t n = 0; n <= strlen(body); n++) {
        char *exact = malloc(n + 1);
        memcpy(exact, body, n);
        const struct metallm__label_ask ask = {.labels = l, .body = metallm__span(exact, n)};
        struct metallm__label_read got;
        assert_int_equal(metallm__label_read(&ask, &got, NULL), METALLM_OK);
        assert_int_equal(got.label, n == strlen(body) ? 0 : METALLM__LABEL_NONE);
        free(exact);
    }
    metallm__labels_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_are_checked),
        cmocka_unit_test(names_are_found_in_any_writing),
        cmocka_unit_test(texts_say_their_label),
        cmocka_unit_test(labels_without_blanks_between_words_are_found),
        cmocka_unit_test(choices_are_answered_by_letter_or_text),
        cmocka_unit_test(probabilities_are_summed_over_writings),
        cmocka_unit_test(labels_that_begin_alike_are_told_apart_by_the_next_token),
        cmocka_unit_test(a_label_behind_other_tokens_is_weighed_where_it_stands),
        cmocka_unit_test(damaged_answers_say_so),
        cmocka_unit_test(lean_is_the_mean_of_what_was_seen),
        cmocka_unit_test(missing_memory_is_told),
        cmocka_unit_test(cut_answers_are_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
