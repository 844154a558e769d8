/* SPDX-License-Identifier: Apache-2.0
 * translate_times.c - CPU time of translation: a request of 1 KB from each surface to each
 * upstream's protocol (read, routed text and all, and written), and an event of text the other way.
 * Prints microseconds, the least of REPEATS rounds. "translate_times SURFACE PROTOCOL WHAT ROUNDS"
 * runs one cell alone, for callgrind: WHAT is request, tools or event. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "wire/wire.h"

#define REPEATS 20
#define ROUNDS  1000
#define BYTES   1024

static size_t sum; /* so that nothing is left out */

static double cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "translate_times: %s: %s\n", what, why);
    exit(1);
}

/* ---- Requests. A filler of text brings each to BYTES; others are of tools, calls and results.
 * ----
 */

struct surface {
    const char *name;
    enum metallm__wire_kind kind;
    const char *head, *tail; /* around the filler */
    const char *tools;       /* a whole request; NULL: it has none */
    char body[2 * BYTES];
    size_t len;
};
static struct surface surfaces[] = {
    {.name = "chat",
     .kind = METALLM__WIRE_CHAT,
     .head =
         "{\"model\":\"auto\",\"temperature\":0.7,\"max_completion_tokens\":500,\"stream\":true,"
         "\"messages\":[{\"role\":\"system\",\"content\":\"You are helpful.\"},{\"role\":"
         "\"user\",\"content\":\"Who wrote it?\"},{\"role\":\"assistant\",\"content\":\"She "
         "did.\"},{\"role\":\"user\",\"content\":\"",
     .tail = "\"}]}",
     .tools =
         "{\"model\":\"auto\",\"stream\":true,\"tools\":[{\"type\":\"function\",\"function\":{"
         "\"name\""
         ":\"weather\",\"description\":\"Weather of some days.\",\"parameters\":{\"type\":\"objec"
         "t\",\"properties\":{\"city\":{\"type\":\"string\",\"description\":\"Where\"},\"days\":{"
         "\"typ"
         "e\":\"integer\",\"minimum\":1}},\"required\":[\"city\"]}}},{\"type\":\"function\","
         "\"functi"
         "on\":{\"name\":\"train\",\"description\":\"Trains to a "
         "city.\",\"parameters\":{\"type\":\""
         "object\",\"properties\":{\"city\":{\"type\":\"string\",\"description\":\"To\"},\"days\":{"
         "\"t"
         "ype\":\"integer\",\"minimum\":1}},\"required\":[\"city\"]}}}],\"tool_choice\":\"auto\","
         "\"m"
         "essages\":[{\"role\":\"user\",\"content\":\"Shall I go to Bern or to Rome?\"},{\"role\""
         ":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"call_1\",\"type\":\"function\","
         "\""
         "function\":{\"name\":\"weather\",\"arguments\":\"{\\\"city\\\":\\\"Bern\\\",\\\"days\\\":"
         "2}\"}},{"
         "\"id\":\"call_2\",\"type\":\"function\",\"function\":{\"name\":\"weather\",\"arguments\":"
         "\"{\\"
         "\"city\\\":\\\"Rome\\\",\\\"days\\\":2}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"call_"
         "1\",\"co"
         "ntent\":\"Rain.\"},{\"role\":\"tool\",\"tool_call_id\":\"call_2\",\"content\":\"Sun.\"}]"
         "}"},
    {.name = "completion",
     .kind = METALLM__WIRE_COMPLETION,
     .head = "{\"model\":\"auto\",\"temperature\":0.7,\"max_tokens\":500,\"stream\":true,"
             "\"prompt\":\"",
     .tail = "\"}"},
    {.name = "responses",
     .kind = METALLM__WIRE_RESPONSES,
     .head = "{\"model\":\"auto\",\"temperature\":0.7,\"max_output_tokens\":500,\"stream\":true,"
             "\"instructions\":\"You are helpful.\",\"input\":[{\"role\":\"user\",\"content\":"
             "\"Who wrote it?\"},{\"role\":\"assistant\",\"content\":\"She did.\"},{\"role\":"
             "\"user\",\"content\":\"",
     .tail = "\"}]}",
     .tools =
         "{\"model\":\"auto\",\"stream\":true,\"tools\":[{\"type\":\"function\",\"name\":"
         "\"weather\",\""
         "description\":\"Weather of some days.\",\"parameters\":{\"type\":\"object\",\"properti"
         "es\":{\"city\":{\"type\":\"string\",\"description\":\"Where\"},\"days\":{\"type\":"
         "\"integer\""
         ",\"minimum\":1}},\"required\":[\"city\"]}},{\"type\":\"function\",\"name\":\"train\","
         "\"desc"
         "ription\":\"Trains to a city.\",\"parameters\":{\"type\":\"object\",\"properties\":{\"ci"
         "ty\":{\"type\":\"string\",\"description\":\"To\"},\"days\":{\"type\":\"integer\","
         "\"minimum\":"
         "1}},\"required\":[\"city\"]}}],\"tool_choice\":\"auto\",\"input\":[{\"role\":\"user\","
         "\"con"
         "tent\":\"Shall I go to Bern or to Rome?\"},{\"type\":\"function_call\",\"call_id\":\"c"
         "all_1\",\"name\":\"weather\",\"arguments\":\"{\\\"city\\\":\\\"Bern\\\",\\\"days\\\":2}"
         "\"},{\"type"
         "\":\"function_call\",\"call_id\":\"call_2\",\"name\":\"weather\",\"arguments\":\"{"
         "\\\"city\\\""
         ":\\\"Rome\\\",\\\"days\\\":2}\"},{\"type\":\"function_call_output\",\"call_id\":\"call_"
         "1\",\"o"
         "utput\":\"Rain.\"},{\"type\":\"function_call_output\",\"call_id\":\"call_2\",\"output\":"
         "\""
         "Sun.\"}]}"},
    {.name = "messages",
     .kind = METALLM__WIRE_MESSAGES,
     .head =
         "{\"model\":\"auto\",\"temperature\":0.7,\"max_tokens\":500,\"stream\":true,\"system\":"
         "\"You are helpful.\",\"messages\":[{\"role\":\"user\",\"content\":\"Who wrote "
         "it?\"},{\"role\":\"assistant\",\"content\":\"She did.\"},{\"role\":\"user\","
         "\"content\":\"",
     .tail = "\"}]}",
     .tools =
         "{\"model\":\"auto\",\"max_tokens\":500,\"stream\":true,\"tools\":[{\"name\":\"weather\","
         "\"d"
         "escription\":\"Weather of some days.\",\"input_schema\":{\"type\":\"object\",\"propert"
         "ies\":{\"city\":{\"type\":\"string\",\"description\":\"Where\"},\"days\":{\"type\":"
         "\"integer"
         "\",\"minimum\":1}},\"required\":[\"city\"]}},{\"name\":\"train\",\"description\":"
         "\"Trains "
         "to a "
         "city.\",\"input_schema\":{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"st"
         "ring\",\"description\":\"To\"},\"days\":{\"type\":\"integer\",\"minimum\":1}},"
         "\"required\":"
         "[\"city\"]}}],\"tool_choice\":{\"type\":\"auto\"},\"messages\":[{\"role\":\"user\","
         "\"conten"
         "t\":\"Shall I go to Bern or to Rome?\"},{\"role\":\"assistant\",\"content\":[{\"type\":"
         "\"tool_use\",\"id\":\"call_1\",\"name\":\"weather\",\"input\":{\"city\":\"Bern\","
         "\"days\":2}},"
         "{\"type\":\"tool_use\",\"id\":\"call_2\",\"name\":\"weather\",\"input\":{\"city\":"
         "\"Rome\",\"da"
         "ys\":2}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":"
         "\"cal"
         "l_1\",\"content\":\"Rain.\"},{\"type\":\"tool_result\",\"tool_use_id\":\"call_2\","
         "\"conten"
         "t\":\"Sun.\"}]}]}"},
};
#define SURFACES (sizeof surfaces / sizeof *surfaces)

static void fill(struct surface *s, bool is_of_tools)
{
    if (is_of_tools && s->tools != NULL) {
        s->len = strlen(s->tools);
        memcpy(s->body, s->tools, s->len + 1);
        return;
    }
    static const char text[] = "What does the quick brown fox say?\\n";
    size_t n = strlen(s->head), end = strlen(s->tail);
    memcpy(s->body, s->head, n);
    while (n + sizeof text + end < BYTES) {
        memcpy(s->body + n, text, sizeof text - 1);
        n += sizeof text - 1;
    }
    memcpy(s->body + n, s->tail, end + 1);
    s->len = n + end;
}

/* ---- Events: how each protocol's stream begins, and one of its events of text. ---- */

static const struct {
    const char *protocol, *begin, *text; /* AWS: a JSON text for each, its name before it */
} events[] = {
    {"openai",
     "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\","
     "\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
     "\"finish_reason\":null}]}\n\n",
     "data: {\"id\":\"chatcmpl-123\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
     "\"model\":\"gpt-x-2026-01-01\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_1\","
     "\"choices\":[{\"index\":0,\"delta\":{\"content\":\" fox\"},\"logprobs\":null,"
     "\"finish_reason\":null}],\"usage\":null}\n\n"},
    {"openai-responses",
     "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\","
     "\"model\":\"m\",\"status\":\"in_progress\",\"output\":[]}}\n\nevent: "
     "response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"output_index\":"
     "0,\"item\":{\"type\":\"message\",\"id\":\"m\",\"role\":\"assistant\",\"content\":[]}}\n\n"
     "event: response.content_part.added\ndata: {\"type\":\"response.content_part.added\","
     "\"item_id\":\"m\",\"output_index\":0,\"content_index\":0,\"part\":{\"type\":\"output_text\","
     "\"text\":\"\"}}\n\n",
     "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\","
     "\"sequence_number\":7,\"item_id\":\"msg_0123456789abcdef\",\"output_index\":0,"
     "\"content_index\":0,\"delta\":\" fox\",\"logprobs\":[]}\n\n"},
    {"anthropic",
     "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\","
     "\"model\":\"c\",\"content\":[],\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\nevent:"
     " "
     "content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{"
     "\"type\":\"text\",\"text\":\"\"}}\n\n",
     "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{"
     "\"type\":\"text_delta\",\"text\":\" fox\"}}\n\n"},
    {"gemini",
     "data: {\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"The\"}]}}],"
     "\"modelVersion\":\"g\",\"responseId\":\"r\"}\n\n",
     "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\" fox\"}],\"role\":\"model\"},"
     "\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":10,\"candidatesTokenCount\":5,"
     "\"totalTokenCount\":15},\"modelVersion\":\"gemini-x\",\"responseId\":\"abcdefghijkl\"}\n\n"},
    {"bedrock", "messageStart {\"role\":\"assistant\"}",
     "contentBlockDelta {\"contentBlockIndex\":0,\"delta\":{\"text\":\" fox\"},\"p\":\"abcdef\"}"},
};
#define EVENTS (sizeof events / sizeof *events)

static uint32_t crc_of(const char *p, size_t n)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < n; i++) {
        crc ^= (unsigned char)p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ ((crc & 1u) != 0 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static void put_number(struct metallm__buf *b, uint32_t value, unsigned bytes)
{
    for (unsigned i = bytes; i-- > 0;) {
        char byte = (char)(value >> 8 * i);
        metallm__buf_add(b, &byte, 1);
    }
}

static void put_header(struct metallm__buf *b, const char *name, struct metallm__span value)
{
    put_number(b, (uint32_t)strlen(name), 1);
    metallm__buf_puts(b, name);
    put_number(b, 7, 1); /* a string */
    put_number(b, (uint32_t)value.n, 2);
    metallm__buf_add(b, value.p, value.n);
}

/* An event's bytes as they come. */
static void frame(const struct metallm__wire *w, const char *text, struct metallm__buf *out)
{
    if (w->framing != METALLM__FRAMING_AWS) {
        metallm__buf_puts(out, text);
        return;
    }
    struct metallm__buf headers;
    const char *json = strchr(text, ' ') + 1;
    metallm__buf_init(&headers, 1000);
    put_header(&headers, ":event-type", metallm__span(text, (size_t)(json - text) - 1));
    put_header(&headers, ":content-type", metallm__span_of("application/json"));
    put_header(&headers, ":message-type", metallm__span_of("event"));
    put_number(out, (uint32_t)(16 + headers.len + strlen(json)), 4);
    put_number(out, (uint32_t)headers.len, 4);
    put_number(out, crc_of(out->data, 8), 4);
    metallm__buf_add(out, headers.data, headers.len);
    metallm__buf_puts(out, json);
    put_number(out, crc_of(out->data, out->len), 4);
    metallm__buf_fini(&headers);
}

/* ---- What is timed. ---- */

static void translate_request(const struct surface *s, const struct metallm__wire *w)
{
    static const struct metallm__wire_target target = {.model = METALLM__SPAN("big"),
                                                       .model_json = METALLM__SPAN("\"big\""),
                                                       .region = METALLM__SPAN("eu-west-1"),
                                                       .host = METALLM__SPAN("h")};
    struct metallm__wire_request r;
    struct metallm__wire_out out;
    metallm_error err = {0};
    if (metallm__wire_request_read(&r, s->kind, metallm__span(s->body, s->len), NULL, &err) !=
            METALLM_OK ||
        metallm__wire_request_out(w, &r, &target, &out, &err) != METALLM_OK)
        die(s->name, err.message);
    sum += out.body_bytes;
    metallm__wire_out_fini(&out);
    metallm__wire_request_fini(&r);
}

static int take(void *payload, enum metallm__wire_piece_kind kind, struct metallm__span bytes)
{
    (void)payload;
    (void)kind;
    sum += bytes.n;
    return METALLM_OK;
}

static void feed(struct metallm__wire_stream *s, const struct metallm__buf *b)
{
    metallm_error err = {0};
    if (metallm__wire_stream_feed(s, metallm__span(b->data, b->len), take, NULL, &err) !=
        METALLM_OK)
        die("event", err.message);
}

static int time_requests(const struct surface *s, const struct metallm__wire *w, int rounds)
{
    for (int k = 0; k < rounds; k++)
        translate_request(s, w);
    return rounds;
}

/* A stream as long as the rounds, so that what grows with it is seen. */
static int time_events(const struct surface *s, const struct metallm__wire *w, int rounds)
{
    const struct metallm__wire_out sent = {.is_translated = true};
    struct metallm__wire_request r;
    struct metallm__wire_stream stream;
    struct metallm__buf begin, text;
    size_t e = 0;
    while (e < EVENTS && strcmp(events[e].protocol, w->name) != 0)
        e++;
    if (e == EVENTS)
        return 0;
    if (metallm__wire_request_read(&r, s->kind, metallm__span(s->body, s->len), NULL, NULL) !=
        METALLM_OK)
        die(s->name, "not read");
    metallm__buf_init(&begin, 10000);
    metallm__buf_init(&text, 10000);
    frame(w, events[e].begin, &begin);
    frame(w, events[e].text, &text);
    metallm__wire_stream_init(&stream, w, &r, &sent, 5);
    feed(&stream, &begin);
    for (int k = 0; k < rounds; k++)
        feed(&stream, &text);
    metallm__wire_stream_fini(&stream);
    metallm__wire_request_fini(&r);
    metallm__buf_fini(&begin);
    metallm__buf_fini(&text);
    return rounds;
}

typedef int (*timed)(const struct surface *s, const struct metallm__wire *w, int rounds);

static void show(const char *what, timed run)
{
    printf("%-18s", what);
    for (size_t i = 0; i < SURFACES; i++)
        printf(" %11s", surfaces[i].name);
    printf("\n");
    for (size_t n = 0; metallm__wire_at(n) != NULL; n++) {
        const struct metallm__wire *w = metallm__wire_at(n);
        if (w->talk_out == NULL || w->event_in == NULL || strcmp(w->name, "bedrock-invoke") == 0)
            continue;
        printf("%-18s", w->name);
        for (size_t i = 0; i < SURFACES; i++) {
            double best = 1e300;
            for (int k = 0; k < REPEATS; k++) {
                double from = cpu_us();
                int rounds = run(&surfaces[i], w, ROUNDS);
                double us = (cpu_us() - from) / (rounds > 0 ? rounds : 1);
                best = us < best ? us : best;
            }
            printf(" %11.3f", best);
        }
        printf("\n");
    }
}

int main(int argc, char **argv)
{
    for (size_t i = 0; i < SURFACES; i++)
        fill(&surfaces[i], argc == 5 && strcmp(argv[3], "tools") == 0);
    if (argc == 5) {
        const struct metallm__wire *w = metallm__wire_find(argv[2]);
        for (size_t i = 0; i < SURFACES && w != NULL; i++)
            if (strcmp(surfaces[i].name, argv[1]) == 0)
                (strcmp(argv[3], "event") == 0 ? time_events : time_requests)(
                    &surfaces[i], w, (int)strtol(argv[4], NULL, 10));
        return sum == 0;
    }
    show("a request, us", time_requests);
    show("an event, us", time_events);
    for (size_t i = 0; i < SURFACES; i++)
        fill(&surfaces[i], true);
    show("tools, us", time_requests);
    return sum == 0;
}
