/* SPDX-License-Identifier: Apache-2.0
 * run_judge.c - an LLM as judge of an answer, by the gateway's own grader. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "classify/run_inner.h"
#include "gateway/grade.h"
#include "wire/answer_text.h"

#define QUESTION_BYTES ((size_t)4 << 20)

static const struct metallm__config_grader judge = {
    .kind = METALLM__GRADER_JUDGE,
    .pattern = "",
    .prompt = "You check how a text was labelled. You get a text with the labels to choose from, "
              "and the label that was given. Score 10 if it is the best of these labels, 0 if "
              "another fits better, and between where you are unsure. Write the score alone.",
    .task = "",
    .share = 1};
static const struct metallm__config_router judged = {
    .name = "classify", .graders = &judge, .grader_count = 1};

int metallm__run_judge_open(struct metallm__run *r, metallm_error *err)
{
    return metallm__graders_new(&r->graders, &judged, err);
}

static void put_question(const struct metallm__run *r, const struct metallm__item *i,
                         struct metallm__buf *out)
{
    struct metallm__span choices[METALLM__CHOICES_MAX];
    metallm__item_choices(i, choices);
    metallm__buf_puts(out, i->choice_count > 0 ? "Choices:\n" : "Labels: ");
    for (unsigned c = 0; c < i->choice_count; c++) {
        metallm__buf_printf(out, "%c. ", 'A' + (int)c);
        metallm__buf_add(out, choices[c].p, choices[c].n);
        metallm__buf_puts(out, "\n");
    }
    for (uint32_t l = 0; i->choice_count == 0 && l < metallm__labels_count(r->labels); l++)
        metallm__buf_printf(out, "%s%s", l > 0 ? ", " : "", metallm__labels_name(r->labels, l));
    metallm__buf_puts(out, "\nText:\n");
    metallm__buf_add(out, i->bytes.data, i->text_bytes);
}

int metallm__run_fill_judge(const struct metallm__run *r, struct metallm__item *i,
                            metallm_error *err)
{
    struct metallm__buf question;
    metallm__buf_init(&question, QUESTION_BYTES);
    put_question(r, i, &question);
    metallm__buf_clear(&i->body);
    int rc = metallm__buf_check(&question, err);
    if (rc == METALLM_OK)
        rc = metallm__judge_request(r->graders, 0, metallm__span(question.data, question.len),
                                    metallm__span_of(metallm__labels_name(r->labels, i->label)),
                                    r->llms[r->judge].name, &i->body, err);
    metallm__buf_fini(&question);
    return rc;
}

double metallm__run_verdict(struct metallm__span body)
{
    struct metallm__buf text;
    metallm__buf_init(&text, METALLM__GRADE_ANSWER_BYTES);
    metallm__answer_text_whole(METALLM__WIRE_CHAT, body, &text);
    const double score = text.len > 0 && !text.failed
                             ? metallm__judge_verdict(metallm__span(text.data, text.len))
                             : NAN;
    metallm__buf_fini(&text);
    return score;
}
