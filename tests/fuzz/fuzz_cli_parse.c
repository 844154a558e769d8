/* SPDX-License-Identifier: Apache-2.0
 * fuzz_cli_parse.c - the input, cut at newlines, is a command line for a table with every kind. */
#include <string.h>

#include "cli/cli.h"
#include "fuzz/fuzz.h"

#define WORDS_MAX 64

struct options {
    bool flag;
    const char *text;
    double real, bounded;
    uint64_t count;
    struct cli_list list;
};

static const struct cli_option table[] = {
    {"flag", 'f', CLI_FLAG, offsetof(struct options, flag), NULL, NULL, 0, 0, "a flag"},
    {"text", 't', CLI_STRING, offsetof(struct options, text), "TEXT", "none", 0, 0, "a text"},
    {"real", 'r', CLI_REAL, offsetof(struct options, real), "X", "0.5", 0, 0, "a number"},
    {"bounded", 0, CLI_REAL, offsetof(struct options, bounded), "X", NULL, -1, 1, "in bounds"},
    {"count", 'c', CLI_COUNT, offsetof(struct options, count), "N", "3", 1, 1e6, "a count"},
    {"list", 'l', CLI_LIST, offsetof(struct options, list), "ITEM", NULL, 0, 0, "a list"},
    {.name = NULL},
};

static const struct cli_verb verb = {
    .name = "fuzz",
    .summary = "is fuzzed",
    .operands = "[FILES...]",
    .description = "",
    .options_size = sizeof(struct options),
    .tables = {table},
    .operands_max = WORDS_MAX,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[4096];
    char *words[WORDS_MAX];
    const char *operands[WORDS_MAX + 1];
    size_t operand_count = 0;
    int count = 0;
    if (size >= sizeof text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    for (char *word = text; word != NULL && count < WORDS_MAX;) {
        char *end = strchr(word, '\n');
        words[count++] = word;
        if (end != NULL)
            *end++ = '\0';
        word = end;
    }
    struct options options;
    metallm_error err = {0};
    int rc = cli_parse(&verb, count, words, &options, operands, &operand_count, &err);
    if (rc == METALLM_OK) {
        if (operand_count > (size_t)count || options.count < 1 || options.count > 1000000 ||
            !(options.bounded >= -1 && options.bounded <= 1) || options.text == NULL)
            __builtin_trap();
    } else if (rc != CLI_EUSAGE || err.message[0] == '\0') {
        __builtin_trap();
    }
    return 0;
}
