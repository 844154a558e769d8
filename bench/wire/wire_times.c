/* SPDX-License-Identifier: Apache-2.0
 * wire_times.c - CPU time of the protocol's parts: a request of 1 and 20 KB read and written, an
 * answer read, an event of a stream. Prints the least of REPEATS rounds, microseconds each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "wire/wire.h"

#define REPEATS 15
#define ROUNDS  4000

static double cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static char *request_of(size_t bytes, size_t *len)
{
    static const char head[] = "{\"model\":\"auto\",\"temperature\":0.7,\"messages\":[{\"role\":"
                               "\"system\",\"content\":\"You are helpful.\"},{\"role\":\"user\","
                               "\"content\":\"";
    static const char tail[] = "\"}],\"metallm\":{\"dial\":0.3},\"stream\":true}";
    static const char text[] = "What does the quick brown fox say?\\n";
    char *out = malloc(bytes + sizeof head + sizeof tail + sizeof text);
    if (out == NULL)
        exit(1);
    size_t n = sizeof head - 1;
    memcpy(out, head, n);
    while (n + sizeof tail < bytes) {
        memcpy(out + n, text, sizeof text - 1);
        n += sizeof text - 1;
    }
    memcpy(out + n, tail, sizeof tail);
    *len = n + sizeof tail - 1;
    return out;
}

static size_t sum; /* so that nothing is left out */

static void one_request(struct metallm__span body)
{
    static const struct metallm__wire_target target = {.model_json = METALLM__SPAN("\"big\""),
                                                       .native = 1u << METALLM__WIRE_CHAT,
                                                       .is_usage_asked = true};
    struct metallm__wire_request r;
    struct metallm__wire_out out;
    if (metallm__wire_request_read(&r, METALLM__WIRE_CHAT, body, NULL, NULL) != METALLM_OK ||
        metallm__wire_request_out(&metallm__wire_openai, &r, &target, &out, NULL) != METALLM_OK)
        exit(1);
    sum += out.body_bytes + r.text.n;
    metallm__wire_request_fini(&r);
}

static void one_answer(struct metallm__span body)
{
    struct metallm__wire_answer a;
    if (metallm__wire_openai.answer_in(METALLM__WIRE_CHAT, body, &a, NULL) != METALLM_OK)
        exit(1);
    sum += (size_t)a.usage.output_tokens;
}

static int take(void *payload, enum metallm__wire_piece_kind kind, struct metallm__span bytes)
{
    (void)payload;
    (void)kind;
    sum += bytes.n;
    return METALLM_OK;
}

static struct metallm__wire_stream stream;

static void one_event(struct metallm__span event)
{
    if (metallm__wire_stream_feed(&stream, event, take, NULL, NULL) != METALLM_OK)
        exit(1);
}

static void show(const char *what, void (*one)(struct metallm__span), struct metallm__span in)
{
    double best = 1e300;
    for (int i = 0; i < REPEATS; i++) {
        double from = cpu_us();
        for (int k = 0; k < ROUNDS; k++)
            one(in);
        double us = (cpu_us() - from) / ROUNDS;
        best = us < best ? us : best;
    }
    printf("%-34s %6zu bytes %8.3f us\n", what, in.n, best);
}

int main(void)
{
    static const char answer[] =
        "{\"id\":\"chatcmpl-123\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":"
        "\"gpt-x\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"The "
        "quick brown fox says nothing of note, but it jumps over the lazy dog, as it is known to "
        "do, and then it goes on its way through the wood, where other animals live.\"},"
        "\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":25,"
        "\"completion_tokens\":40,\"total_tokens\":65,\"prompt_tokens_details\":{\"cached_tokens\":"
        "0},\"completion_tokens_details\":{\"reasoning_tokens\":0}}}";
    static const char event[] =
        "data: "
        "{\"id\":\"chatcmpl-123\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
        "\"model\":\"gpt-x-2026-01-01\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_"
        "1\","
        "\"choices\":[{\"index\":0,\"delta\":{\"content\":\" fox\"},\"logprobs\":null,"
        "\"finish_reason\":null}],\"usage\":null}\n\n";
    size_t len;
    char *small = request_of(1024, &len);
    show("request read and written", one_request, metallm__span(small, len));
    char *large = request_of(20480, &len);
    show("request read and written", one_request, metallm__span(large, len));
    show("answer read", one_answer, metallm__span(answer, sizeof answer - 1));
    static const struct metallm__wire_request chat = {.kind = METALLM__WIRE_CHAT};
    const struct metallm__wire_out sent = {.is_usage_dropped = true};
    metallm__wire_stream_init(&stream, &metallm__wire_openai, &chat, &sent, 0);
    show("stream event", one_event, metallm__span(event, sizeof event - 1));
    metallm__wire_stream_fini(&stream);
    free(small);
    free(large);
    return sum == 0;
}
