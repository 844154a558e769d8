/* SPDX-License-Identifier: Apache-2.0
 * verb_distill.c - `metallm distill`: a static encoder's table from MiniLM and a corpus. */
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/inputs.h"
#include "encoder/distill.h"

struct distill_options {
    struct cli_inputs_options inputs;
    const char *output;
    struct cli_list text;
    uint64_t dim;
    double sif_a;
    bool is_json;
};

static const struct cli_option distill_table[] = {
    {.name = "output",
     .letter = 'o',
     .kind = CLI_STRING,
     .offset = offsetof(struct distill_options, output),
     .arg = "FILE",
     .help = "the table to write (default: where --encoder static looks, in the cache folder)"},
    {.name = "text",
     .kind = CLI_LIST,
     .offset = offsetof(struct distill_options, text),
     .arg = "FILE",
     .help = "a corpus file of plain text, a text a line; may be given several times"},
    {.name = "dim",
     .kind = CLI_COUNT,
     .offset = offsetof(struct distill_options, dim),
     .arg = "N",
     .fallback = "256",
     .low = 2,
     .high = METALLM__STATIC_DIM_MAX,
     .help = "principal components that are kept"},
    {.name = "sif",
     .kind = CLI_REAL,
     .offset = offsetof(struct distill_options, sif_a),
     .arg = "A",
     .fallback = "0.001",
     .low = 1e-9,
     .high = 1,
     .help = "a token that makes up the share p of the corpus weighs A / (A + p)"},
    {.name = "json",
     .kind = CLI_FLAG,
     .offset = offsetof(struct distill_options, is_json),
     .help = "print one JSON object"},
    {.name = NULL},
};

/* The corpus: prompts of outcomes, and lines of mapped files. */
struct corpus {
    metallm_outcomes *outcomes; /* or NULL */
    struct metallm__map *maps;
    size_t map_count;
    const char **texts;
    size_t *lens;
    size_t count, texts_cap, lens_cap;
};

static void corpus_fini(struct corpus *c)
{
    for (size_t i = 0; i < c->map_count; i++)
        metallm__map_close(&c->maps[i]);
    metallm__free(c->maps);
    metallm__free(c->texts);
    metallm__free(c->lens);
    metallm_outcomes_free(c->outcomes);
}

static int corpus_add(struct corpus *c, const char *text, size_t len, metallm_error *err)
{
    if (metallm__grow((void **)&c->texts, &c->texts_cap, c->count + 1, sizeof *c->texts) != 0 ||
        metallm__grow((void **)&c->lens, &c->lens_cap, c->count + 1, sizeof *c->lens) != 0)
        return metallm__error_nomem(err, "a corpus");
    c->texts[c->count] = text;
    c->lens[c->count++] = len;
    return METALLM_OK;
}

static int add_lines(struct corpus *c, const struct metallm__map *map, metallm_error *err)
{
    int rc = METALLM_OK;
    const char *at = map->bytes, *end = map->bytes + map->len;
    while (at < end && rc == METALLM_OK) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)((stop != NULL ? stop : end) - at);
        if (len > 0)
            rc = corpus_add(c, at, len, err);
        at += len + 1;
    }
    return rc;
}

static int read_corpus(const struct cli_io *io, const struct distill_options *o,
                       const char *const *files, size_t count, struct corpus *c, metallm_error *err)
{
    int rc = METALLM_OK;
    if (count > 0 || o->inputs.store != NULL)
        rc = cli_inputs_load(io, &o->inputs, files, count, &c->outcomes, err);
    else if (o->text.count == 0)
        return metallm__error_set(err, CLI_EUSAGE,
                                  "distill needs a corpus: FILES, --store or --text");
    size_t queries = c->outcomes != NULL ? metallm_outcomes_query_count(c->outcomes) : 0;
    for (size_t q = 0; q < queries && rc == METALLM_OK; q++) {
        const char *prompt = metallm_outcomes_query(c->outcomes, q).prompt;
        rc = corpus_add(c, prompt, strlen(prompt), err);
    }
    if (rc == METALLM_OK && o->text.count > 0) {
        c->maps = metallm__calloc(o->text.count, sizeof *c->maps);
        if (c->maps == NULL)
            rc = metallm__error_nomem(err, "a corpus");
    }
    for (size_t i = 0; i < o->text.count && rc == METALLM_OK; i++) {
        rc = metallm__map_open(&c->maps[i], o->text.items[i], err);
        if (rc == METALLM_OK) {
            c->map_count = i + 1;
            rc = add_lines(c, &c->maps[i], err);
        }
    }
    return rc;
}

static int print_report(const struct cli_io *io, const struct distill_options *o,
                        const struct metallm__distill_report *r, const char *path,
                        metallm_error *err)
{
    if (!o->is_json) {
        fprintf(io->out,
                "%u tokens in %u dimensions, which keep %.1f %% of their variance\n"
                "corpus     %llu texts, %llu tokens, %llu different ones\n"
                "written to %s\n",
                (unsigned)r->tokens, (unsigned)r->dim, 100 * r->kept,
                (unsigned long long)r->corpus_texts, (unsigned long long)r->corpus_tokens,
                (unsigned long long)r->corpus_distinct, path);
        return METALLM_OK;
    }
    yyjson_mut_doc *doc = yyjson_mut_doc_new(&metallm__json_alc);
    yyjson_mut_val *root = doc != NULL ? yyjson_mut_obj(doc) : NULL;
    bool ok = root != NULL && yyjson_mut_obj_add_uint(doc, root, "tokens", r->tokens) &&
              yyjson_mut_obj_add_uint(doc, root, "dim", r->dim) &&
              yyjson_mut_obj_add_real(doc, root, "kept", r->kept) &&
              yyjson_mut_obj_add_uint(doc, root, "corpus_texts", r->corpus_texts) &&
              yyjson_mut_obj_add_uint(doc, root, "corpus_tokens", r->corpus_tokens) &&
              yyjson_mut_obj_add_uint(doc, root, "corpus_distinct", r->corpus_distinct) &&
              yyjson_mut_obj_add_str(doc, root, "written", path);
    if (ok)
        yyjson_mut_doc_set_root(doc, root);
    char *text = ok ? yyjson_mut_write_opts(doc, 0, &metallm__json_alc, NULL, NULL) : NULL;
    if (text != NULL)
        fprintf(io->out, "%s\n", text);
    int rc = text != NULL ? METALLM_OK : metallm__error_nomem(err, "the report");
    metallm__free(text);
    yyjson_mut_doc_free(doc);
    return rc;
}

static int run(const struct cli_io *io, const void *options, const char *const *operands,
               size_t operand_count, metallm_error *err)
{
    const struct distill_options *o = options;
    if (o->inputs.encoder != NULL && strcmp(o->inputs.encoder, "auto") != 0 &&
        strcmp(o->inputs.encoder, "minilm") != 0)
        return metallm__error_set(err, CLI_EUSAGE, "distill reads minilm, not '%s'",
                                  o->inputs.encoder);
    struct corpus c = {0};
    char *standard = NULL;
    int rc = read_corpus(io, o, operands, operand_count, &c, err);
    if (rc == METALLM_OK && o->output == NULL)
        rc = metallm__cache_path(&standard, METALLM__STATIC_DEFAULT, err);
    const char *path = o->output != NULL ? o->output : standard;
    struct metallm__distill_report report;
    struct metallm__distill_options opts = {
        .dim = (uint32_t)o->dim, .sif_a = o->sif_a, .progress = &io->progress};
    struct metallm__corpus corpus = {c.texts, c.lens, c.count};
    if (rc == METALLM_OK)
        rc = metallm__distill(o->inputs.weights, &corpus, &opts, path, &report, err);
    if (rc == METALLM_OK)
        rc = print_report(io, o, &report, path, err);
    metallm__free(standard);
    corpus_fini(&c);
    return rc;
}

const struct cli_verb cli_verb_distill = {
    .name = "distill",
    .summary = "makes the static encoder from MiniLM",
    .operands = "[FILES...]",
    .description =
        "Asks MiniLM for the vector of every token of its vocabulary, keeps their principal "
        "components, weighs each token by how rare it is in a corpus, removes what all texts of "
        "the corpus share, and writes a table of 8-bit numbers (Arora, Liang and Ma 2017). "
        "--encoder static adds the rows of a text's tokens: about a thousand times faster than "
        "MiniLM; docs/encoders.md says what one gives up.\n\n"
        "The corpus is the prompts of benchmark files or of --store, or lines of --text files: "
        "the nearer to the queries to come, the better. It gives frequencies only; no answer and "
        "no score is read. --weights names the folder of another BERT sentence encoder.",
    .examples = "metallm distill outcomes.csv\n"
                "metallm distill --text prompts.txt -o table.safetensors\n"
                "metallm train outcomes.csv --encoder static -o router.safetensors",
    .options_size = sizeof(struct distill_options),
    .tables = {cli_inputs_table, distill_table},
    .operands_min = 0,
    .operands_max = SIZE_MAX,
    .run = run,
};
