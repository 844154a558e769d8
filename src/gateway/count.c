/* SPDX-License-Identifier: Apache-2.0
 * count.c - POST /v1/messages/count_tokens: counted by the upstream where the LLM that is named or
 * chosen speaks Anthropic's protocol, else by the estimate that routing uses, and marked so. It
 * costs nothing and leaves no record. */
#include <stdio.h>

#include "gateway/chat.h"

static bool counts(const struct metallm__llm *llm)
{
    for (uint32_t i = 0; i < llm->deployment_count; i++)
        if (metallm__wire_is_native(llm->deployments[i].wire, &llm->deployments[i].target,
                                    METALLM__WIRE_COUNT))
            return true;
    return false;
}

void metallm__chat_count_estimate(struct metallm__chat *c, uint32_t llm)
{
    char text[64];
    int n = snprintf(text, sizeof text, "{\"input_tokens\":%u}", c->request.needs.input_tokens);
    struct metallm__reply r = {.status = 200};
    metallm__reply_add(&r, "x-metallm-model",
                       metallm__span_of(c->visit.world->config->models[llm].name));
    metallm__reply_add(&r, "x-metallm-estimated",
                       (struct metallm__span)METALLM__SPAN("input_tokens"));
    metallm__visit_reply(&c->visit, &r, metallm__span(text, (size_t)n), NULL);
}

void metallm__chat_count(struct metallm__chat *c, uint32_t llm)
{
    c->candidates[0] = llm;
    c->candidate_count = 1;
    if (counts(&c->visit.world->llms->items[llm])) {
        metallm__chat_call(c);
        return;
    }
    metallm__chat_count_estimate(c, llm);
    metallm__chat_end(c, NULL);
    metallm__chat_release(c);
}
