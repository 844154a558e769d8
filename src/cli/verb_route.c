/* SPDX-License-Identifier: Apache-2.0
 * verb_route.c - prompts from standard input, a decision a line. Prompts that are there already are
 * encoded together; a lone one is answered at once. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/inputs.h"
#include "cli/lines.h"
#include "cli/route_log.h"
#include "cli/route_print.h"
#include "cli/streams.h"

#define BATCH_PROMPTS 64u
#define BATCH_BYTES   1048576u

struct route_options {
    struct cli_inputs_options inputs; /* of it: how prompts are encoded */
    double dial, target, max_cost;
    const char *models, *log;
    bool is_json, is_plain;
    uint64_t seed;
};

#define OFFSET(field) offsetof(struct route_options, field)

static const struct cli_option route_table[] = {
    {.name = "dial",
     .letter = 'd',
     .kind = CLI_REAL,
     .offset = OFFSET(dial),
     .arg = "P",
     .fallback = "0",
     .low = 0,
     .high = 1e6,
     .help = "how much cost counts: reward = quality - P * cost / highest mean cost"},
    {.name = "target",
     .letter = 't',
     .kind = CLI_REAL,
     .offset = OFFSET(target),
     .arg = "T",
     .low = 0,
     .high = 1,
     .help = "instead of the dial: the cheapest model whose chance of being right is at least T"},
    {.name = "max-cost",
     .kind = CLI_REAL,
     .offset = OFFSET(max_cost),
     .arg = "USD",
     .low = 0,
     .high = 1e6,
     .help = "leave out models that are expected to cost more than this for the prompt"},
    {.name = "models",
     .letter = 'm',
     .kind = CLI_STRING,
     .offset = OFFSET(models),
     .arg = "A,B,...",
     .help = "choose among these models alone"},
    {.name = "json",
     .kind = CLI_FLAG,
     .offset = OFFSET(is_json),
     .help = "read and print JSON, an object a line"},
    {.name = "plain",
     .kind = CLI_FLAG,
     .offset = OFFSET(is_plain),
     .help = "take every line as a prompt, also one that begins with '{'"},
    {.name = "log",
     .kind = CLI_STRING,
     .offset = OFFSET(log),
     .arg = "FILE",
     .help = "add every decision to this decision log, which 'metallm report' reads"},
    {.name = "seed",
     .kind = CLI_COUNT,
     .offset = OFFSET(seed),
     .arg = "N",
     .fallback = "1",
     .help = "seed of the policies that draw by chance"},
    {.name = "weights",
     .kind = CLI_STRING,
     .offset = OFFSET(inputs.weights),
     .arg = "FOLDER",
     .help =
         "where the encoder's weights are (a tiered router: the static table); the cache folder's "
         "without it"},
    {.name = "threads",
     .kind = CLI_COUNT,
     .offset = OFFSET(inputs.threads),
     .arg = "N",
     .high = 1024,
     .help = "threads of the encoder; 0: one a processor"},
    {0},
};

/* What a run needs, and the batch being gathered. */
struct route {
    const struct cli_io *io;
    const struct route_options *options;
    metallm_router *router;
    metallm_encoder *encoder;
    metallm_encoder *coarse; /* of a tiered router; else NULL */
    metallm_constraints constraints;
    metallm_rng rng;
    uint8_t *allowed;
    uint32_t models;
    struct cli_lines lines;
    struct cli_route_log log;
    char *prompts[BATCH_PROMPTS];
    size_t lens[BATCH_PROMPTS];
    size_t count, bytes;
    float *features, *scores;
    metallm_estimate *estimates;
    metallm_estimate *again; /* a tiered router's second look */
};

/* Sets a flag for each model that the list names. */
static int parse_models(struct route *r, const char *list, metallm_error *err)
{
    char name[METALLM_MODEL_NAME_MAX + 1];
    while (*list != '\0') {
        size_t len = strcspn(list, ",");
        if (len >= sizeof name)
            return metallm__error_set(err, METALLM_EINVAL, "a model name of %zu bytes is too long",
                                      len);
        memcpy(name, list, len);
        name[len] = '\0';
        uint32_t m = len > 0 ? metallm_router_find_model(r->router, name) : UINT32_MAX;
        if (m == UINT32_MAX)
            return metallm__error_set(err, METALLM_ENOTFOUND, "the router knows no model '%s'",
                                      name);
        r->allowed[m] = 1;
        list += len + (list[len] == ',');
    }
    return METALLM_OK;
}

/* A tiered router reads cheap vectors first. */
static int open_encoders(struct route *r, metallm_error *err)
{
    struct cli_inputs_options inputs = r->options->inputs;
    const metallm_router *coarse = metallm_router_coarse(r->router);
    int rc = METALLM_OK;
    if (coarse != NULL) {
        inputs = cli_inputs_of_tier(&r->options->inputs, true);
        rc = cli_inputs_encoder(&inputs, metallm_router_encoder(coarse), &r->coarse, err);
        inputs = cli_inputs_of_tier(&r->options->inputs, false);
    }
    if (rc == METALLM_OK)
        rc = cli_inputs_encoder(&inputs, metallm_router_encoder(r->router), &r->encoder, err);
    return rc;
}

/* Floats in the longest row of features. */
static size_t widest(const struct route *r)
{
    metallm_layout fine = metallm_encoder_layout(r->encoder), coarse = {0};
    if (r->coarse != NULL)
        coarse = metallm_encoder_layout(r->coarse);
    uint32_t a = metallm_layout_dim(&fine), b = metallm_layout_dim(&coarse);
    return a > b ? a : b;
}

static int prepare(struct route *r, const char *path, metallm_error *err)
{
    int rc = metallm_router_open(&r->router, path, err);
    if (rc == METALLM_OK)
        rc = open_encoders(r, err);
    if (rc != METALLM_OK)
        return rc;
    r->models = metallm_router_model_count(r->router);
    r->features = metallm__alloc(BATCH_PROMPTS * widest(r), sizeof *r->features);
    r->estimates = metallm__alloc((size_t)BATCH_PROMPTS * r->models, sizeof *r->estimates);
    r->again = metallm__alloc((size_t)BATCH_PROMPTS * r->models, sizeof *r->again);
    r->scores = metallm__alloc(r->models, sizeof *r->scores);
    r->allowed = metallm__calloc(r->models, 1);
    if (r->features == NULL || r->estimates == NULL || r->again == NULL || r->scores == NULL ||
        r->allowed == NULL)
        return metallm__error_nomem(err, "a batch of prompts");
    r->constraints = (metallm_constraints){.dial = (float)r->options->dial,
                                           .target = (float)r->options->target,
                                           .max_cost_usd = (float)r->options->max_cost};
    if (r->options->models != NULL) {
        r->constraints.allowed = r->allowed;
        rc = parse_models(r, r->options->models, err);
    }
    metallm_rng_seed(&r->rng, r->options->seed);
    return rc;
}

static void drop_batch(struct route *r)
{
    for (size_t i = 0; i < r->count; i++)
        metallm__free(r->prompts[i]);
    r->count = r->bytes = 0;
}

static int keep_prompt(struct route *r, const char *text, size_t len, metallm_error *err)
{
    if (len > METALLM_PROMPT_BYTES_MAX)
        return metallm__error_set(err, METALLM_ELIMIT, "the prompt is longer than %u bytes",
                                  METALLM_PROMPT_BYTES_MAX);
    char *copy = metallm__strndup(text, len);
    if (copy == NULL)
        return metallm__error_nomem(err, "a prompt");
    r->prompts[r->count] = copy;
    r->lens[r->count++] = len;
    r->bytes += len;
    return METALLM_OK;
}

/* The prompt of one line: the line itself, or the text named "prompt" of a JSON object. */
static int take_line(struct route *r, const char *text, size_t len, metallm_error *err)
{
    if (len == 0)
        return METALLM_OK; /* an empty line asks nothing */
    bool is_object = r->options->is_json || (!r->options->is_plain && text[0] == '{');
    if (!is_object)
        return keep_prompt(r, text, len, err);
    yyjson_doc *doc = NULL;
    int rc = metallm__json_read(&doc, text, len, err);
    if (rc != METALLM_OK)
        return rc;
    yyjson_val *prompt = yyjson_obj_get(yyjson_doc_get_root(doc), "prompt");
    if (yyjson_is_str(prompt))
        rc = keep_prompt(r, yyjson_get_str(prompt), yyjson_get_len(prompt), err);
    else
        rc = metallm__error_set(err, METALLM_EFORMAT, "no text named \"prompt\" in a JSON object");
    yyjson_doc_free(doc);
    return rc;
}

static int answer(struct route *r, size_t i, metallm_error *err)
{
    struct cli_route_answer a = {
        .router = r->router,
        .estimates = r->estimates + i * r->models,
        .scores = r->scores,
        .constraints = &r->constraints,
    };
    int rc =
        metallm_router_decide(r->router, a.estimates, &r->constraints, &r->rng, &a.decision, err);
    if (rc != METALLM_OK)
        return rc;
    metallm_router_score(r->router, a.estimates, &r->constraints, r->scores);
    rc = cli_route_log_add(&r->log, &a, err);
    if (rc != METALLM_OK)
        return rc;
    if (r->options->is_json)
        return cli_route_print_json(r->io->out, &a, err);
    cli_route_print_line(r->io->out, &a);
    return METALLM_OK;
}

/* Estimates for prompts by one router on its encoder's vectors. */
static int estimate(struct route *r, const metallm_router *router, metallm_encoder *encoder,
                    const char *const *prompts, const size_t *lens, size_t count,
                    metallm_estimate *out, metallm_error *err)
{
    metallm_vectors x = {.values = r->features,
                         .rows = count,
                         .layout = metallm_encoder_layout(encoder),
                         .encoder = metallm_encoder_id(encoder)};
    int rc = metallm_encoder_features(encoder, prompts, lens, count, r->features, NULL, err);
    return rc == METALLM_OK ? metallm_router_estimate(router, &x, out, err) : rc;
}

/* The whole batch; with a tiered router cheaply first, and again where the lead is too small. */
static int estimate_batch(struct route *r, metallm_error *err)
{
    const char *const *prompts = (const char *const *)r->prompts;
    if (r->coarse == NULL)
        return estimate(r, r->router, r->encoder, prompts, r->lens, r->count, r->estimates, err);
    const char *unsure[BATCH_PROMPTS];
    size_t lens[BATCH_PROMPTS], place[BATCH_PROMPTS], count = 0;
    int rc = estimate(r, metallm_router_coarse(r->router), r->coarse, prompts, r->lens, r->count,
                      r->estimates, err);
    for (size_t i = 0; i < r->count && rc == METALLM_OK; i++)
        if (!metallm_router_is_safe(r->router, r->estimates + i * r->models, &r->constraints)) {
            unsure[count] = r->prompts[i];
            lens[count] = r->lens[i];
            place[count++] = i;
        }
    if (rc == METALLM_OK && count > 0)
        rc = estimate(r, r->router, r->encoder, unsure, lens, count, r->again, err);
    for (size_t k = 0; k < count && rc == METALLM_OK; k++)
        memcpy(r->estimates + place[k] * r->models, r->again + k * r->models,
               r->models * sizeof *r->again);
    return rc;
}

/* Encodes, decides and prints what was gathered, and hands it to the system. */
static int run_batch(struct route *r, metallm_error *err)
{
    if (r->count == 0)
        return METALLM_OK;
    int rc = estimate_batch(r, err);
    for (size_t i = 0; rc == METALLM_OK && i < r->count; i++)
        rc = answer(r, i, err);
    if (rc == METALLM_OK)
        rc = cli_route_log_flush(&r->log, err); /* what was told is on record */
    if (rc == METALLM_OK)
        rc = cli_streams_flush(r->io->out, err);
    drop_batch(r);
    return rc;
}

static int route_all(struct route *r, metallm_error *err)
{
    for (uint64_t done = 0;;) {
        enum cli_line what = CLI_LINE_END;
        const char *text = NULL;
        size_t len = 0;
        if (r->io->progress.step(r->io->progress.payload, "routing", done, 0) != 0)
            return METALLM_ECANCELED;
        int rc = cli_lines_next(&r->lines, r->count == 0, &what, &text, &len, err);
        metallm_error line_err = {0};
        int line_rc = METALLM_OK;
        if (rc == METALLM_OK && what == CLI_LINE_GOT)
            line_rc = take_line(r, text, len, &line_err);
        bool is_full = r->count == BATCH_PROMPTS || r->bytes >= BATCH_BYTES;
        if (rc == METALLM_OK && (what != CLI_LINE_GOT || is_full || line_rc != METALLM_OK)) {
            done += r->count;
            rc = run_batch(r, err); /* what stood before a bad line is answered first */
        }
        if (rc != METALLM_OK)
            return rc;
        if (line_rc != METALLM_OK)
            return metallm__error_set(err, line_rc, "line %llu: %s",
                                      (unsigned long long)r->lines.number, line_err.message);
        if (what == CLI_LINE_END)
            return METALLM_OK;
    }
}

static int run_route(const struct cli_io *io, const void *options, const char *const *operands,
                     size_t operand_count, metallm_error *err)
{
    (void)operand_count;
    const struct route_options *o = options;
    if (o->is_json && o->is_plain)
        return metallm__error_set(err, CLI_EUSAGE, "--json and --plain contradict each other");
    if (o->target > 0 && o->dial > 0)
        return metallm__error_set(err, CLI_EUSAGE, "--dial and --target contradict each other");
    struct route r = {.io = io, .options = o};
    cli_lines_init(&r.lines, fileno(io->in));
    int rc = prepare(&r, operands[0], err);
    if (rc == METALLM_OK)
        rc = cli_route_log_open(&r.log, o->log, operands[0], err);
    if (rc == METALLM_OK)
        rc = route_all(&r, err);
    drop_batch(&r);
    cli_lines_fini(&r.lines);
    cli_route_log_close(&r.log);
    metallm__free(r.features);
    metallm__free(r.scores);
    metallm__free(r.estimates);
    metallm__free(r.again);
    metallm__free(r.allowed);
    metallm_encoder_free(r.coarse);
    metallm_encoder_free(r.encoder);
    metallm_router_free(r.router);
    return rc;
}

const struct cli_verb cli_verb_route = {
    .name = "route",
    .summary = "picks a model for each prompt on standard input, with reasons",
    .operands = "ROUTER",
    .description =
        "Reads prompts from standard input, one a line, and prints a decision a line as soon as it "
        "is made. A line that begins with '{' is a JSON object whose \"prompt\" is the text; other "
        "lines are prompts themselves; empty lines are passed over.\n\n"
        "Without --target the model with the highest reward is chosen, quality - dial * cost / "
        "highest mean cost; among equals the cheaper. With --target it is the cheapest that "
        "reaches "
        "the target; where none does, the one of the highest quality. Models dearer than "
        "--max-cost "
        "are left out; where all are, the cheapest is taken. A cost that is not known counts as "
        "the highest mean cost.\n\n"
        "A line of text holds the model, a tab, and the reason with every model's expected "
        "quality, "
        "cost and score. With --json an object holds model, propensity, reason and estimates: "
        "model, quality, quality_sd, cost_usd, latency_ms and score; null is what is not known, or "
        "the score of a model that was left out.\n\n"
        "A line that cannot be read ends the run: its number is named, the decisions before it "
        "stand.",
    .examples = "  echo 'What is 17 * 23?' | metallm route router.safetensors --dial 0.2\n"
                "  metallm route router.safetensors --json --target 0.9 < prompts.jsonl",
    .options_size = sizeof(struct route_options),
    .tables = {route_table},
    .operands_min = 1,
    .operands_max = 1,
    .run = run_route,
};
