/* SPDX-License-Identifier: Apache-2.0
 * protocols_text.c - see protocols_text.h. */
#include "cli/protocols_text.h"

#include <string.h>

#include "cli/help.h"
#include "wire/wire.h"

static const char *const endpoints[METALLM__WIRE_KINDS] = {
    [METALLM__WIRE_CHAT] = "/v1/chat/completions",
    [METALLM__WIRE_COMPLETION] = "/v1/completions",
    [METALLM__WIRE_EMBEDDING] = "/v1/embeddings",
    [METALLM__WIRE_RESPONSES] = "/v1/responses",
    [METALLM__WIRE_MESSAGES] = "/v1/messages",
    [METALLM__WIRE_COUNT] = "/v1/messages/count_tokens",
};

/* How a protocol answers a kind of request. */
static const char *way_of(const struct metallm__wire *w, unsigned kind)
{
    const bool is_openai = strcmp(w->name, "openai") == 0;
    if (is_openai && kind == METALLM__WIRE_COMPLETION)
        return "as bytes where `abilities.completions` holds, else translated";
    if (is_openai && kind == METALLM__WIRE_RESPONSES)
        return "as bytes where `abilities.responses` is stated, else translated";
    if ((w->native >> kind & 1u) != 0)
        return "as bytes";
    if (kind == METALLM__WIRE_COUNT)
        return "estimated";
    if (kind == METALLM__WIRE_EMBEDDING)
        return w->embed_out != NULL ? "translated" : "no";
    return w->talk_out != NULL ? "translated" : "no";
}

static const char *verdict_of(const struct metallm__wire *w, unsigned feature)
{
    static const char *const names[] = {[METALLM__VERDICT_REFUSED] = "refused",
                                        [METALLM__VERDICT_DROPPED] = "dropped",
                                        [METALLM__VERDICT_CARRIED] = "carried"};
    return names[w->verdicts[feature]];
}

static void put_head(FILE *out, const char *first)
{
    const struct metallm__wire *w;
    size_t count = 0;
    fprintf(out, "| %s |", first);
    for (size_t i = 0; (w = metallm__wire_at(i)) != NULL; i++, count++)
        fprintf(out, " %s |", w->name);
    fputs("\n|---|", out);
    for (size_t i = 0; i < count; i++)
        fputs("---|", out);
    fputc('\n', out);
}

void cli_protocols_markdown(FILE *out)
{
    const struct metallm__wire *w;
    put_head(out, "request");
    for (unsigned k = 0; k < METALLM__WIRE_KINDS; k++) {
        fprintf(out, "| `%s` |", endpoints[k]);
        for (size_t i = 0; (w = metallm__wire_at(i)) != NULL; i++)
            fprintf(out, " %s |", way_of(w, k));
        fputc('\n', out);
    }
    fputc('\n', out);
    put_head(out, "feature");
    for (unsigned f = 0; f < METALLM__FEATURES; f++) {
        fprintf(out, "| **%s**: %s |", metallm__feature_name((enum metallm__feature)f),
                metallm__feature_about((enum metallm__feature)f));
        for (size_t i = 0; (w = metallm__wire_at(i)) != NULL; i++)
            fprintf(out, " %s |", w->verdicts != NULL ? verdict_of(w, f) : "no");
        fputc('\n', out);
    }
}

/* "  carried: openai, gemini" */
static void put_line(FILE *out, unsigned feature, const char *verdict)
{
    const struct metallm__wire *w;
    char text[512];
    size_t n = 0;
    for (size_t i = 0; (w = metallm__wire_at(i)) != NULL; i++)
        if (w->verdicts != NULL && strcmp(verdict_of(w, feature), verdict) == 0 && n < sizeof text)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", n > 0 ? ", " : "", w->name);
    if (n == 0)
        return;
    unsigned column = (unsigned)fprintf(out, "    %s: ", verdict);
    cli_wrap(out, text, n < sizeof text ? n : sizeof text - 1, column, column);
}

void cli_protocols_help(FILE *out)
{
    static const char intro[] =
        "What each protocol makes of what a request may ask for, where the request has to be "
        "translated: carried; dropped, which the answer tells in x-metallm-dropped; or refused, so "
        "that LLMs of that protocol are passed over. docs/protocols.md tells more.";
    cli_wrap(out, intro, sizeof intro - 1, 0, 0);
    for (unsigned f = 0; f < METALLM__FEATURES; f++) {
        char text[512];
        int n =
            snprintf(text, sizeof text, "%s: %s", metallm__feature_name((enum metallm__feature)f),
                     metallm__feature_about((enum metallm__feature)f));
        fputc('\n', out);
        cli_wrap(out, text, (size_t)n, 2, 0);
        put_line(out, f, "carried");
        put_line(out, f, "dropped");
        put_line(out, f, "refused");
    }
}
