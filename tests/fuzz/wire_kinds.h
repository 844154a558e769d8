/* SPDX-License-Identifier: Apache-2.0
 * wire_kinds.h - what the fuzz targets of translation share: a request of each surface, and what
 * must hold of everything that is written. */
#ifndef FUZZ_WIRE_KINDS_H
#define FUZZ_WIRE_KINDS_H
#include <stdlib.h>

#include "wire/wire.h"

#define MUST(fact) ((fact) ? (void)0 : __builtin_trap())

static const struct {
    enum metallm__wire_kind kind;
    const char *body;
} wire_kinds[] = {
    {METALLM__WIRE_CHAT, "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":"
                         "true},\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}"},
    {METALLM__WIRE_COMPLETION, "{\"model\":\"m\",\"stream\":true,\"prompt\":\"a\"}"},
    {METALLM__WIRE_RESPONSES, "{\"model\":\"m\",\"stream\":true,\"input\":\"a\"}"},
    {METALLM__WIRE_MESSAGES, "{\"model\":\"m\",\"stream\":true,\"max_tokens\":9,\"messages\":[{"
                             "\"role\":\"user\",\"content\":\"a\"}]}"},
};
#define WIRE_KINDS (sizeof wire_kinds / sizeof *wire_kinds)

/* By a letter, so that a corpus keeps its meaning; any other byte chooses some protocol, too. */
static inline const struct metallm__wire *wire_by(unsigned char letter)
{
    static const struct {
        char letter;
        const char *name;
    } letters[] = {{'o', "openai"},  {'r', "openai-responses"}, {'a', "anthropic"},
                   {'b', "bedrock"}, {'i', "bedrock-invoke"},   {'g', "gemini"}};
    const struct metallm__wire *w = NULL;
    unsigned count = 0;
    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++)
        if (letters[i].letter == (char)letter)
            w = metallm__wire_find(letters[i].name);
    while (metallm__wire_at(count) != NULL)
        count++;
    return w != NULL ? w : metallm__wire_at(letter % count);
}

static inline void must_be_json(const char *text, size_t n)
{
    yyjson_doc *doc = yyjson_read(text, n, YYJSON_READ_NUMBER_AS_RAW); /* of any size */
    MUST(yyjson_is_obj(yyjson_doc_get_root(doc)));
    yyjson_doc_free(doc);
}

#endif
