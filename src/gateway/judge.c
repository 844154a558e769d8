/* SPDX-License-Identifier: Apache-2.0
 * judge.c - an LLM scores an answer, after the client has it: a call in the background whose
 * verdict is feedback like any other. At most METALLM__JUDGING_MAX run on a worker at a time; what
 * comes beyond is not judged. Its cost is on nobody's budget but in the metrics of the judge. */
#include <math.h>

#include "base/mem.h"
#include "gateway/chat.h"
#include "wire/answer_text.h"

struct metallm__judging {
    struct metallm__worker *worker;
    struct metallm__world *world; /* held */
    struct metallm__decision_id id;
    struct metallm__wire_request request;
    struct metallm__buf body;
    struct metallm__ask *ask;
    uint32_t seat; /* in the worker's */
};

static void judging_free(struct metallm__judging *j)
{
    metallm__wire_request_fini(&j->request);
    metallm__buf_fini(&j->body);
    metallm__world_drop(j->world);
    struct metallm__worker *w = j->worker;
    w->judgings[j->seat] = NULL;
    w->open--;
    metallm__free(j);
}

static void on_stream(void *payload, uint32_t llm, uint32_t deployment, const char *content_type)
{
    (void)payload, (void)llm, (void)deployment, (void)content_type; /* it is never streamed */
}

static void on_piece(void *payload, enum metallm__wire_piece_kind kind, struct metallm__span bytes)
{
    (void)payload, (void)kind, (void)bytes;
}

static void on_done(void *payload, const struct metallm__ask_result *result)
{
    struct metallm__judging *j = payload;
    struct metallm__worker *w = j->worker;
    double score = NAN;
    if (result->end == METALLM__ASK_ANSWERED) {
        struct metallm__buf text;
        metallm__buf_init(&text, 65536);
        metallm__answer_text_whole(METALLM__WIRE_CHAT,
                                   metallm__span(result->body->data, result->body->len), &text);
        score = metallm__judge_verdict(metallm__span(text.data, text.len));
        metallm__buf_fini(&text);
    }
    metallm_error err;
    struct metallm__feedback f = {.score = score, .is_graded = true};
    if (!isnan(score) &&
        metallm__journal_feedback(w->shared->journal, &j->id, &f, NULL, NULL, &err) == METALLM_OK)
        metallm__metrics_feedback(w->shard, METALLM__FEEDBACK_GRADED);
    else
        metallm__log_error(w->shared->log, METALLM__LOG_WARN, "judge", "gave no verdict", NULL);
    judging_free(j);
}

static const struct metallm__ask_events events = {on_stream, on_piece, on_done};

static int start(struct metallm__judging *j, const struct metallm__graders *graders,
                 uint32_t grader, const struct metallm__chat *c, struct metallm__span answer,
                 metallm_error *err)
{
    uint32_t judge = c->router->graders[grader].model;
    int rc = metallm__judge_request(graders, grader, c->request.last_user, answer,
                                    j->world->config->models[judge].name, &j->body, err);
    const char *param;
    if (rc == METALLM_OK)
        rc = metallm__wire_request_read(&j->request, METALLM__WIRE_CHAT,
                                        metallm__span(j->body.data, j->body.len), &param, err);
    struct metallm__ask_options options = {.llms = j->world->llms,
                                           .candidates = &judge,
                                           .candidate_count = 1,
                                           .request = &j->request,
                                           .day = metallm__day_today(),
                                           .events = &events,
                                           .payload = j};
    return rc == METALLM_OK ? metallm__ask_start(&j->ask, j->worker->upstream, &options, err) : rc;
}

void metallm__judge_start(struct metallm__chat *c, uint32_t grader, struct metallm__span answer)
{
    struct metallm__worker *w = c->visit.worker;
    uint32_t seat = 0;
    while (seat < METALLM__JUDGING_MAX && w->judgings[seat] != NULL)
        seat++;
    struct metallm__judging *j = seat < METALLM__JUDGING_MAX ? metallm__calloc(1, sizeof *j) : NULL;
    if (j == NULL)
        return;
    metallm_error err;
    metallm__buf_init(&j->body, (size_t)4 << 20);
    j->worker = w;
    j->id = c->id;
    j->world = metallm__world_take(c->visit.world);
    j->seat = seat;
    w->judgings[seat] = j;
    w->open++;
    if (start(j, j->world->graders[c->name.router], grader, c, answer, &err) == METALLM_OK)
        return;
    metallm__log_error(w->shared->log, METALLM__LOG_WARN, "judge", "could not be asked", &err);
    judging_free(j);
}

void metallm__judge_stop(struct metallm__worker *w)
{
    for (uint32_t i = 0; i < METALLM__JUDGING_MAX; i++)
        if (w->judgings[i] != NULL) {
            metallm__ask_cancel(w->judgings[i]->ask);
            judging_free(w->judgings[i]);
        }
}
