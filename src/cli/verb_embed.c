/* SPDX-License-Identifier: Apache-2.0
 * verb_embed.c - `metallm embed`: a vector for each line, for checks and other tools. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/lines.h"
#include "cli/streams.h"
#include "metallm/encoder.h"

#define BATCH_MAX    64u
#define OUTPUT_BYTES (BATCH_MAX * 1048576u)

struct embed_options {
    const char *encoder, *precision, *weights;
    uint64_t threads;
    bool is_json;
};

static const struct cli_option embed_table[] = {
    {.name = "encoder",
     .kind = CLI_STRING,
     .offset = offsetof(struct embed_options, encoder),
     .arg = "NAME",
     .fallback = "auto",
     .help = "minilm, hash, static, remote, or auto: minilm"},
    {.name = "precision",
     .kind = CLI_STRING,
     .offset = offsetof(struct embed_options, precision),
     .arg = "P",
     .fallback = "auto",
     .help = "fp32, bf16, int8, or auto: the fastest that is accurate on this machine"},
    {.name = "weights",
     .kind = CLI_STRING,
     .offset = offsetof(struct embed_options, weights),
     .arg = "PATH",
     .help = "folder of the encoder's files (default: the cache folder's)"},
    {.name = "threads",
     .kind = CLI_COUNT,
     .offset = offsetof(struct embed_options, threads),
     .arg = "N",
     .fallback = "1",
     .low = 1,
     .high = 64,
     .help = "threads for one batch"},
    {.name = "json",
     .kind = CLI_FLAG,
     .offset = offsetof(struct embed_options, is_json),
     .help = "lines are JSON objects with a text, and so are the answers"},
    {.name = NULL},
};

/* The lines read and not yet answered. */
struct batch {
    metallm_encoder *encoder;
    bool is_json;
    char *texts[BATCH_MAX];
    size_t lens[BATCH_MAX], count;
    float *vectors; /* BATCH_MAX x dim */
    uint32_t tokens[BATCH_MAX];
    struct metallm__buf out;
};

static void forget_texts(struct batch *b)
{
    for (size_t i = 0; i < b->count; i++)
        metallm__free(b->texts[i]);
    b->count = 0;
}

/* The text of one line: the line itself, or the member "text" of its JSON object. */
static int add_line(struct batch *b, uint64_t number, const char *line, size_t len,
                    metallm_error *err)
{
    yyjson_doc *doc = NULL;
    if (b->is_json) {
        int rc = metallm__json_read(&doc, line, len, err);
        if (rc != METALLM_OK)
            return metallm__error_prefix(err, rc, "line %llu", (unsigned long long)number);
        yyjson_val *text = yyjson_obj_get(yyjson_doc_get_root(doc), "text");
        if (!yyjson_is_str(text)) {
            yyjson_doc_free(doc);
            return metallm__error_set(err, METALLM_EFORMAT, "line %llu: no JSON object with a text",
                                      (unsigned long long)number);
        }
        line = yyjson_get_str(text);
        len = yyjson_get_len(text);
    }
    char *copy = metallm__strndup(line, len);
    yyjson_doc_free(doc);
    if (copy == NULL)
        return metallm__error_nomem(err, "a line");
    b->texts[b->count] = copy;
    b->lens[b->count++] = len;
    return METALLM_OK;
}

static void print_vector(struct batch *b, const float *v, uint32_t dim, const char *separator)
{
    for (uint32_t i = 0; i < dim; i++)
        metallm__buf_printf(&b->out, "%s%.9g", i > 0 ? separator : "", (double)v[i]);
}

static int answer(struct batch *b, FILE *to, metallm_error *err)
{
    const uint32_t dim = metallm_encoder_dim(b->encoder);
    int rc = metallm_encoder_embed(b->encoder, (const char *const *)b->texts, b->lens, b->count,
                                   b->vectors, b->tokens, err);
    if (rc != METALLM_OK)
        return rc;
    metallm__buf_clear(&b->out);
    for (size_t i = 0; i < b->count; i++) {
        if (b->is_json)
            metallm__buf_printf(&b->out, "{\"tokens\":%u,\"embedding\":[", b->tokens[i]);
        print_vector(b, b->vectors + i * dim, dim, b->is_json ? "," : " ");
        metallm__buf_puts(&b->out, b->is_json ? "]}\n" : "\n");
    }
    rc = metallm__buf_check(&b->out, err);
    if (rc == METALLM_OK && b->out.len > 0)
        fwrite(b->out.data, 1, b->out.len, to);
    forget_texts(b);
    return rc == METALLM_OK ? cli_streams_flush(to, err) : rc;
}

/* Takes what lines there are as one batch: nobody waits for it to fill. */
static int answer_all(struct batch *b, const struct cli_io *io, metallm_error *err)
{
    struct cli_lines lines;
    cli_lines_init(&lines, fileno(io->in));
    enum cli_line what = CLI_LINE_LATER;
    int rc = METALLM_OK;
    while (rc == METALLM_OK && what != CLI_LINE_END) {
        const char *line = NULL;
        size_t len = 0;
        rc = cli_lines_next(&lines, b->count == 0, &what, &line, &len, err);
        if (rc == METALLM_OK && what == CLI_LINE_GOT)
            rc = add_line(b, lines.number, line, len, err);
        if (rc == METALLM_OK && b->count > 0 && (what != CLI_LINE_GOT || b->count == BATCH_MAX))
            rc = answer(b, io->out, err);
    }
    cli_lines_fini(&lines);
    return rc;
}

static int run(const struct cli_io *io, const void *options, const char *const *operands,
               size_t operand_count, metallm_error *err)
{
    (void)operands;
    (void)operand_count;
    const struct embed_options *o = options;
    struct batch b = {.is_json = o->is_json};
    metallm__buf_init(&b.out, OUTPUT_BYTES);
    int rc = metallm_encoder_open(&b.encoder,
                                  &(metallm_encoder_options){.name = o->encoder,
                                                             .path = o->weights,
                                                             .precision = o->precision,
                                                             .threads = (uint32_t)o->threads},
                                  err);
    if (rc != METALLM_OK)
        return rc;
    b.vectors = metallm__alloc((size_t)BATCH_MAX * metallm_encoder_dim(b.encoder), sizeof(float));
    rc = b.vectors != NULL ? answer_all(&b, io, err) : metallm__error_nomem(err, "vectors");
    forget_texts(&b);
    metallm__free(b.vectors);
    metallm__buf_fini(&b.out);
    metallm_encoder_free(b.encoder);
    return rc;
}

const struct cli_verb cli_verb_embed = {
    .name = "embed",
    .summary = "vectors of texts, a line each",
    .operands = "",
    .description =
        "Reads a text a line from standard input and prints its vector, numbers parted by blanks. "
        "Lines are answered as soon as no more are waiting.\n\n"
        "With --json a line is an object with \"text\", and the answer an object with \"tokens\" "
        "(how many were encoded, [CLS] and [SEP] included) and \"embedding\".",
    .examples = "echo 'How many legs has a spider?' | metallm embed\n"
                "echo '{\"text\": \"one\\ntwo\"}' | metallm embed --json --precision int8",
    .options_size = sizeof(struct embed_options),
    .tables = {embed_table},
    .operands_min = 0,
    .operands_max = 0,
    .run = run,
};
