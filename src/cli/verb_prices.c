/* SPDX-License-Identifier: Apache-2.0
 * verb_prices.c - `metallm prices`: the table of prices and abilities that is compiled in, what a
 * configuration's models cost and where that is from, and price files made of other tables. */
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json_out.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/prices.h"
#include "data/prices.h"
#include "gateway/config.h"

#define OUT_BYTES_MAX ((size_t)64 << 20)

struct prices_options {
    const char *config, *import, *file, *output;
    bool is_list, is_check, is_json;
    uint64_t stale_days;
};

static const struct cli_option prices_table[] = {
    {.name = "list",
     .kind = CLI_FLAG,
     .offset = offsetof(struct prices_options, is_list),
     .help = "print the table; what is done without --check and --import"},
    {.name = "file",
     .kind = CLI_STRING,
     .offset = offsetof(struct prices_options, file),
     .arg = "FILE",
     .help = "list: this price file in place of the table that is built in"},
    {.name = "check",
     .kind = CLI_FLAG,
     .offset = offsetof(struct prices_options, is_check),
     .help = "tell what the models of a configuration cost, which have no price, which prices are "
             "old, and where the configuration and the table differ"},
    {.name = "config",
     .letter = 'c',
     .kind = CLI_STRING,
     .offset = offsetof(struct prices_options, config),
     .arg = "FILE",
     .fallback = "metallm.yaml",
     .help = "check: the gateway's configuration"},
    {.name = "stale-days",
     .kind = CLI_COUNT,
     .offset = offsetof(struct prices_options, stale_days),
     .arg = "N",
     .fallback = "90",
     .low = 1,
     .high = 36500,
     .help = "check: prices that were read longer ago are old"},
    {.name = "import",
     .kind = CLI_STRING,
     .offset = offsetof(struct prices_options, import),
     .arg = "FILE",
     .help = "put the prices of FILE into a price file: a price file (YAML), or LiteLLM's table "
             "(model_prices_and_context_window.json)"},
    {.name = "output",
     .letter = 'o',
     .kind = CLI_STRING,
     .offset = offsetof(struct prices_options, output),
     .arg = "FILE",
     .fallback = "prices.yaml",
     .help = "import: the price file, which is made or added to"},
    {.name = "json",
     .kind = CLI_FLAG,
     .offset = offsetof(struct prices_options, is_json),
     .help = "print one JSON object"},
    {.name = NULL},
};

/* Is it asked for? By a part of its name; nothing asks for all. */
static bool is_wanted(const char *name, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strstr(name, words[i]) != NULL)
            return true;
    return count == 0;
}

static int print_json(const struct cli_io *io, struct metallm__buf *text, metallm_error *err)
{
    int rc = metallm__buf_check(text, err);
    if (rc == METALLM_OK)
        fprintf(io->out, "%s\n", text->data);
    metallm__buf_fini(text);
    return rc;
}

/* ---- The list. ---- */

static int read_list(const struct prices_options *o, struct metallm__prices *out,
                     metallm_error *err)
{
    return o->file != NULL ? metallm__prices_read(out, o->file, err)
                           : metallm__prices_known(out, err);
}

static int list(const struct cli_io *io, const struct prices_options *o, const char *const *words,
                size_t word_count, metallm_error *err)
{
    struct metallm__prices prices = {0};
    struct metallm__buf json;
    int rc = read_list(o, &prices, err);
    if (rc != METALLM_OK)
        return rc;
    metallm__buf_init(&json, OUT_BYTES_MAX);
    struct metallm__jw j = {.out = &json};
    metallm__jw_open(&j, '{');
    metallm__jw_name(&j, "data");
    metallm__jw_open(&j, '[');
    size_t count = 0;
    for (size_t i = 0; i < prices.count; i++) {
        if (!is_wanted(prices.items[i].model, words, word_count))
            continue;
        if (count++ == 0 && !o->is_json)
            cli_price_head(io->out);
        if (o->is_json)
            cli_price_json(&j, &prices.items[i]);
        else
            cli_price_row(io->out, &prices.items[i]);
    }
    metallm__jw_close(&j, ']');
    metallm__jw_close(&j, '}');
    metallm__prices_fini(&prices);
    if (o->is_json)
        return print_json(io, &json, err);
    metallm__buf_fini(&json);
    if (count == 0)
        return metallm__error_set(err, METALLM_ENOTFOUND, "no model of this name");
    fprintf(io->err, "metallm: %zu models; dollars per million tokens\n", count);
    return METALLM_OK;
}

/* ---- The check. ---- */

static int check(const struct cli_io *io, const struct prices_options *o, metallm_error *err)
{
    const struct metallm__config *c = NULL;
    struct metallm__prices known = {0};
    struct metallm__buf json;
    int rc = metallm__config_load(&c, o->config, NULL, err);
    if (rc != METALLM_OK)
        return rc;
    rc = metallm__prices_known(&known, err);
    metallm__buf_init(&json, OUT_BYTES_MAX);
    struct cli_price_check k = {.out = o->is_json ? NULL : io->out,
                                .json = {.out = &json},
                                .known = &known,
                                .stale_days = o->stale_days,
                                .today = metallm__day_today()};
    metallm__jw_open(&k.json, '{');
    metallm__jw_name(&k.json, "data");
    metallm__jw_open(&k.json, '[');
    for (uint32_t i = 0; rc == METALLM_OK && i < c->model_count; i++)
        cli_price_check_model(&k, &c->models[i]);
    metallm__jw_close(&k.json, ']');
    metallm__jw_name(&k.json, "unpriced");
    metallm__jw_count(&k.json, k.unpriced);
    metallm__jw_close(&k.json, '}');
    metallm__prices_fini(&known);
    metallm__config_drop(c);
    if (rc == METALLM_OK && o->is_json)
        rc = print_json(io, &json, err);
    else
        metallm__buf_fini(&json);
    if (rc == METALLM_OK && k.unpriced > 0)
        rc = metallm__error_set(err, METALLM_ENOTFOUND, "%u of the models have no price",
                                k.unpriced);
    return rc;
}

/* ---- Imports. ---- */

static bool is_json_text(const struct metallm__map *map)
{
    size_t i = 0;
    while (i < map->len && strchr(" \t\r\n", map->bytes[i]) != NULL && map->bytes[i] != '\0')
        i++;
    return i < map->len && map->bytes[i] == '{' &&
           memmem(map->bytes, map->len, "\"litellm_provider\"", 18) != NULL;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL && slash[1] != '\0' ? slash + 1 : path;
}

/* What is wanted of the file, with where it is from. */
static int read_import(const struct prices_options *o, const char *const *words, size_t word_count,
                       struct metallm__prices *out, metallm_error *err)
{
    struct metallm__map map;
    struct metallm__prices all = {0};
    int rc = metallm__map_open(&map, o->import, err);
    if (rc != METALLM_OK)
        return rc;
    rc = is_json_text(&map) ? metallm__prices_litellm(&all, o->import, map.bytes, map.len, err)
                            : metallm__prices_parse(&all, o->import, map.bytes, map.len, err);
    metallm__map_close(&map);
    for (size_t i = 0; rc == METALLM_OK && i < all.count; i++) {
        struct metallm__price one;
        if (!is_wanted(all.items[i].model, words, word_count))
            continue;
        rc = metallm__price_copy(&one, &all.items[i], all.items[i].model, err);
        if (rc == METALLM_OK && one.source == NULL &&
            (one.source = metallm__strdup(base_name(o->import))) == NULL) {
            metallm__price_fini(&one);
            rc = metallm__error_nomem(err, "prices");
        }
        if (rc == METALLM_OK)
            rc = metallm__prices_add(out, &one, err);
    }
    metallm__prices_fini(&all);
    return rc;
}

static int write_file(const char *path, const struct metallm__prices *prices, metallm_error *err)
{
    struct metallm__buf text;
    struct metallm__outfile out = {0};
    metallm__buf_init(&text, OUT_BYTES_MAX);
    metallm__buf_puts(&text, "# Prices in dollars per million tokens (docs/prices.md), kept by "
                             "'metallm prices --import'.\n");
    int rc = metallm__prices_write(&text, prices, err);
    if (rc == METALLM_OK)
        rc = metallm__outfile_open(&out, path, err);
    if (rc == METALLM_OK && fwrite(text.data, 1, text.len, out.stream) != text.len)
        rc = metallm__error_set(err, METALLM_EIO, "cannot write '%.100s'", path);
    if (rc == METALLM_OK)
        rc = metallm__outfile_commit(&out, err);
    metallm__outfile_abort(&out);
    metallm__buf_fini(&text);
    return rc;
}

static int tell_import(const struct cli_io *io, const struct prices_options *o,
                       const struct metallm__price_merge *n, metallm_error *err)
{
    struct metallm__buf json;
    if (!o->is_json) {
        fprintf(io->err, "metallm: '%s': %zu prices new, %zu changed, %zu as they were\n",
                o->output, n->added, n->changed, n->same);
        return METALLM_OK;
    }
    metallm__buf_init(&json, OUT_BYTES_MAX);
    struct metallm__jw j = {.out = &json};
    metallm__jw_open(&j, '{');
    metallm__jw_name(&j, "file");
    metallm__jw_text(&j, o->output);
    metallm__jw_name(&j, "added");
    metallm__jw_count(&j, n->added);
    metallm__jw_name(&j, "changed");
    metallm__jw_count(&j, n->changed);
    metallm__jw_name(&j, "same");
    metallm__jw_count(&j, n->same);
    metallm__jw_close(&j, '}');
    return print_json(io, &json, err);
}

static int import(const struct cli_io *io, const struct prices_options *o, const char *const *words,
                  size_t word_count, metallm_error *err)
{
    struct metallm__prices kept = {0}, more = {0};
    struct metallm__price_merge counts = {0};
    int rc = metallm__prices_read(&kept, o->output, err);
    if (rc == METALLM_ENOTFOUND)
        rc = METALLM_OK;
    if (rc == METALLM_OK)
        rc = read_import(o, words, word_count, &more, err);
    if (rc == METALLM_OK && more.count == 0)
        rc = metallm__error_set(err, METALLM_ENOTFOUND, "'%.100s' has no price that is wanted",
                                o->import);
    if (rc == METALLM_OK)
        rc = metallm__prices_merge(&kept, &more, metallm__day_today(), &counts, err);
    if (rc == METALLM_OK)
        rc = write_file(o->output, &kept, err);
    metallm__prices_fini(&kept);
    metallm__prices_fini(&more);
    return rc == METALLM_OK ? tell_import(io, o, &counts, err) : rc;
}

static int run_prices(const struct cli_io *io, const void *options, const char *const *operands,
                      size_t operand_count, metallm_error *err)
{
    const struct prices_options *o = options;
    if (o->is_list + o->is_check + (o->import != NULL) > 1)
        return metallm__error_set(err, CLI_EUSAGE, "prices: one of --list, --check and --import");
    if (o->is_check && operand_count > 0)
        return metallm__error_set(err, CLI_EUSAGE, "prices --check wants no names");
    if (o->is_check)
        return check(io, o, err);
    return o->import != NULL ? import(io, o, operands, operand_count, err)
                             : list(io, o, operands, operand_count, err);
}

const struct cli_verb cli_verb_prices = {
    .name = "prices",
    .summary = "lists, checks and imports prices and abilities of models",
    .operands = "[NAMES...]",
    .description =
        "The tool knows what models of OpenAI, Anthropic, Amazon Bedrock, Gemini, Mistral, Groq, "
        "DeepSeek and Together cost and can do, by a table with the source and the day of its "
        "figures (docs/prices.md). A gateway whose configuration states no price of a model takes "
        "the table's, by the host of its base_url and the upstream's name of it.\n\n"
        "Prices change. --import keeps newer ones in a file, each with the day from which it "
        "holds, which the configuration's option 'prices' names: it goes before the table. NAMES "
        "are parts of models' names; without them all are listed or imported.",
    .examples = "  metallm prices claude gpt-5\n"
                "  metallm prices --check -c metallm.yaml --stale-days 30\n"
                "  metallm prices --import model_prices_and_context_window.json -o prices.yaml "
                "openai/ gemini/\n"
                "  metallm prices --list --json openai/",
    .options_size = sizeof(struct prices_options),
    .tables = {prices_table},
    .operands_min = 0,
    .operands_max = 64,
    .run = run_prices,
};
