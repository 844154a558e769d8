/* SPDX-License-Identifier: Apache-2.0
 * verb_classify.c - `metallm classify`: a label for every text, from the LLM that does it best for
 * the money. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "classify/run.h"
#include "cli/classify_forecast.h"
#include "cli/classify_progress.h"
#include "cli/cli.h"
#include "eval/page.h"

struct classify_options {
    const char *config, *store, *router, *job;
    const char *labels, *choices, *format, *text, *id, *gold;
    const char *template, *few_shot, *out, *page, *judge;
    const char *dial;
    double target, budget, gold_share, agree, judge_share;
    uint64_t concurrent, tries, pause_ms, patience_s, tokens, logprobs, lessons, seed;
    bool has_no_header, is_cascade, is_fresh, is_dry, is_json, is_raw;
};

#define AT(field) offsetof(struct classify_options, field)

static const struct cli_option classify_table[] = {
    {.name = "config",
     .letter = 'c',
     .kind = CLI_STRING,
     .offset = AT(config),
     .arg = "FILE",
     .fallback = "metallm.yaml",
     .help = "the gateway's configuration: LLMs, prices, routers, store"},
    {.name = "router",
     .kind = CLI_STRING,
     .offset = AT(router),
     .arg = "NAME",
     .help = "router, alias or LLM of the configuration (default: its first router)"},
    {.name = "labels",
     .kind = CLI_STRING,
     .offset = AT(labels),
     .arg = "A,B,...",
     .help = "the labels, 2 to 256"},
    {.name = "choices",
     .kind = CLI_STRING,
     .offset = AT(choices),
     .arg = "COLUMNS",
     .help = "multiple choice: the columns that hold a question's choices, parted by commas, or "
             "the one member of a JSON line that holds them as an array; answers are letters"},
    {.name = "output",
     .letter = 'o',
     .kind = CLI_STRING,
     .offset = AT(out),
     .arg = "FILE",
     .help = "a row for each text: CSV, or JSON Lines where the name ends in .jsonl"},
    {.name = "format",
     .kind = CLI_STRING,
     .offset = AT(format),
     .arg = "NAME",
     .fallback = "auto",
     .help = "of the texts: csv, jsonl, lines, or auto (by the file's name)"},
    {.name = "text",
     .kind = CLI_STRING,
     .offset = AT(text),
     .arg = "COLUMN",
     .help = "where the text stands (default: text, prompt, question, sentence or headline, else "
             "the first column)"},
    {.name = "id",
     .kind = CLI_STRING,
     .offset = AT(id),
     .arg = "COLUMN",
     .help = "where its id stands (default: id, else its number)"},
    {.name = "gold",
     .kind = CLI_STRING,
     .offset = AT(gold),
     .arg = "COLUMN",
     .help = "where the right label stands, if it is known; it may be empty"},
    {.name = "no-header",
     .kind = CLI_FLAG,
     .offset = AT(has_no_header),
     .help = "a CSV file begins with a text; columns are numbers from 1"},
    {.name = "template",
     .kind = CLI_STRING,
     .offset = AT(template),
     .arg = "FILE",
     .help = "the prompt's template in place of the built-in one"},
    {.name = "few-shot",
     .kind = CLI_STRING,
     .offset = AT(few_shot),
     .arg = "FILE",
     .help = "worked examples: columns as of the texts, the label in --gold's column, else in "
             "'label'"},
    {.name = "dial",
     .kind = CLI_STRING,
     .offset = AT(dial),
     .arg = "P",
     .help = "the weight of money against quality"},
    {.name = "target",
     .kind = CLI_REAL,
     .offset = AT(target),
     .arg = "T",
     .low = 1e-9,
     .high = 1,
     .help = "the cheapest LLM that is right with this chance"},
    {.name = "budget",
     .kind = CLI_REAL,
     .offset = AT(budget),
     .arg = "USD",
     .low = 1e-12,
     .high = 1e9,
     .help = "never spend more on this job, over all its runs"},
    {.name = "gold-share",
     .kind = CLI_REAL,
     .offset = AT(gold_share),
     .arg = "SHARE",
     .low = 0,
     .high = 1,
     .fallback = "1",
     .help = "learn from this share of the gold labels; the others are for the report alone"},
    {.name = "agree",
     .kind = CLI_REAL,
     .offset = AT(agree),
     .arg = "SHARE",
     .low = 0,
     .high = 1,
     .fallback = "0",
     .help = "ask every LLM for this share of the texts without a gold label, and learn from what "
             "most of them say"},
    {.name = "judge",
     .kind = CLI_STRING,
     .offset = AT(judge),
     .arg = "LLM",
     .help = "have this LLM score answers to texts without a gold label, and learn from it"},
    {.name = "judge-share",
     .kind = CLI_REAL,
     .offset = AT(judge_share),
     .arg = "SHARE",
     .low = 0,
     .high = 1,
     .fallback = "0.1",
     .help = "of these texts that the judge reads"},
    {.name = "cascade",
     .kind = CLI_FLAG,
     .offset = AT(is_cascade),
     .help = "ask a cheap LLM, keep its answer where it is likely right, else ask the next"},
    {.name = "lessons",
     .kind = CLI_COUNT,
     .offset = AT(lessons),
     .arg = "N",
     .low = 0,
     .high = 65536,
     .fallback = "100",
     .help = "cascade: ask every LLM for the first N texts whose label is known, to learn when to "
             "stop"},
    {.name = "logprobs",
     .kind = CLI_COUNT,
     .offset = AT(logprobs),
     .arg = "N",
     .low = 0,
     .high = 20,
     .fallback = "0",
     .help = "ask for the probabilities of N alternatives a token, where the LLMs give them"},
    {.name = "raw",
     .kind = CLI_FLAG,
     .offset = AT(is_raw),
     .help = "take these probabilities as they are, and not against what an LLM says on average"},
    {.name = "tokens",
     .kind = CLI_COUNT,
     .offset = AT(tokens),
     .arg = "N",
     .low = 0,
     .high = 4096,
     .fallback = "0",
     .help = "most tokens of an answer (0: what the labels need)"},
    {.name = "concurrent",
     .kind = CLI_COUNT,
     .offset = AT(concurrent),
     .arg = "N",
     .low = 1,
     .high = METALLM__RUN_CONCURRENT_MAX,
     .fallback = "16",
     .help = "calls at a time"},
    {.name = "tries",
     .kind = CLI_COUNT,
     .offset = AT(tries),
     .arg = "N",
     .low = 1,
     .high = METALLM__RUN_TRIES_MAX,
     .fallback = "5",
     .help = "rounds for a text that no LLM answers, with a pause between that doubles"},
    {.name = "pause",
     .kind = CLI_COUNT,
     .offset = AT(pause_ms),
     .arg = "MS",
     .low = 1,
     .high = 30000,
     .fallback = "500",
     .help = "the first of these pauses, in milliseconds"},
    {.name = "patience",
     .kind = CLI_COUNT,
     .offset = AT(patience_s),
     .arg = "S",
     .low = 1,
     .high = 86400,
     .fallback = "120",
     .help = "end the run when nobody has answered for so many seconds"},
    {.name = "job",
     .kind = CLI_STRING,
     .offset = AT(job),
     .arg = "NAME",
     .help = "the job's name in the store (default: the name of the file of texts)"},
    {.name = "fresh",
     .kind = CLI_FLAG,
     .offset = AT(is_fresh),
     .help = "drop what is known of this job, and begin anew"},
    {.name = "store",
     .kind = CLI_STRING,
     .offset = AT(store),
     .arg = "URL",
     .help = "in place of the configuration's; no gateway may be at work with it"},
    {.name = "seed",
     .kind = CLI_COUNT,
     .offset = AT(seed),
     .arg = "N",
     .low = 0,
     .high = 9007199254740992.0,
     .fallback = "0",
     .help = "of all draws"},
    {.name = "dry-run",
     .kind = CLI_FLAG,
     .offset = AT(is_dry),
     .help = "ask nobody: tell what the job would cost, and how often it would be right"},
    {.name = "json",
     .kind = CLI_FLAG,
     .offset = AT(is_json),
     .help = "print the report as one JSON object"},
    {.name = "report",
     .kind = CLI_STRING,
     .offset = AT(page),
     .arg = "OUT.html",
     .help = "write the report as a self-contained page"},
    {0},
};

/* NaN where it is not given: 0 is a dial like others. */
static int read_dial(const char *text, double *out, metallm_error *err)
{
    char *end = NULL;
    const double v = text != NULL ? strtod(text, &end) : NAN;
    if (text != NULL && (end == text || *end != '\0' || !(v >= 0 && v <= 1e6)))
        return metallm__error_set(err, CLI_EUSAGE, "--dial takes a number from 0 to 1e6, not '%s'",
                                  text);
    *out = v;
    return METALLM_OK;
}

static int fill_options(const struct classify_options *o, const char *path,
                        struct metallm__run_options *out, metallm_error *err)
{
    *out = (struct metallm__run_options){
        .config = o->config,
        .store = o->store,
        .router = o->router,
        .job = o->job,
        .is_fresh = o->is_fresh,
        .is_dry = o->is_dry,
        .texts = {.path = path,
                  .has_no_header = o->has_no_header,
                  .text = o->text,
                  .id = o->id,
                  .gold = o->gold,
                  .choices = o->choices},
        .labels = o->labels,
        .template = o->template,
        .few_shot = o->few_shot,
        .target = o->target > 0 ? o->target : NAN,
        .budget_usd = o->budget > 0 ? o->budget : NAN,
        .concurrent = (unsigned)o->concurrent,
        .tries = (unsigned)o->tries,
        .pause_ms = (uint32_t)o->pause_ms,
        .patience_ms = (uint32_t)o->patience_s * 1000u,
        .output_tokens = (unsigned)o->tokens,
        .logprobs = (unsigned)o->logprobs,
        .is_raw = o->is_raw,
        .is_cascade = o->is_cascade,
        .lessons = (uint32_t)o->lessons,
        .gold_share = o->gold_share,
        .agree_share = o->agree,
        .judge_share = o->judge != NULL ? o->judge_share : 0,
        .judge = o->judge,
        .seed = o->seed,
    };
    if (o->dial != NULL && o->target > 0)
        return metallm__error_set(err, CLI_EUSAGE, "--dial and --target exclude each other");
    if (o->labels == NULL && o->choices == NULL)
        return metallm__error_set(err, CLI_EUSAGE, "give --labels, or --choices");
    int rc = read_dial(o->dial, &out->dial, err);
    if (rc == METALLM_OK)
        rc = metallm__texts_format_of(o->format, &out->texts.format, err);
    return rc == METALLM_OK ? rc : CLI_EUSAGE;
}

static int print_report(const struct cli_io *io, const struct classify_options *o,
                        const struct metallm__summary *s, metallm_error *err)
{
    struct metallm__buf b;
    metallm__buf_init(&b, (size_t)1 << 26);
    if (o->is_json)
        metallm__summary_json(s, &b);
    else
        metallm__summary_text(s, &b);
    int rc = metallm__buf_check(&b, err);
    if (rc == METALLM_OK)
        fprintf(io->out, "%s%s", b.data, o->is_json ? "\n" : "");
    metallm__buf_fini(&b);
    return rc;
}

/* Not all texts have an answer: why, and what helps. */
static int tell_left(const struct metallm__run *r, metallm_error *err)
{
    struct metallm__run_state s;
    metallm__run_state(r, &s);
    const unsigned long long left = s.texts - s.answered, all = s.texts;
    if (left == 0)
        return METALLM_OK;
    if (s.is_stopped)
        return metallm__error_set(err, METALLM_ECANCELED, "stopped");
    if (s.is_given_up)
        return metallm__error_set(err, METALLM_EIO,
                                  "%llu of %llu texts are left, since nobody answers (%.120s): the "
                                  "same command goes on",
                                  left, all, s.silence);
    if (s.left_for_money > 0)
        return metallm__error_set(
            err, METALLM_ELIMIT,
            "%llu of %llu texts are left, for want of money: the same command "
            "with a larger --budget goes on",
            left, all);
    return metallm__error_set(err, METALLM_EIO,
                              "%llu of %llu texts got no answer (%.120s): the same command asks "
                              "again",
                              left, all, s.silence);
}

static int write_page(const struct classify_options *o, const struct metallm__summary *s,
                      metallm_error *err)
{
    struct metallm__outfile file = {0};
    struct metallm__buf json;
    metallm__buf_init(&json, (size_t)1 << 26);
    metallm__summary_json(s, &json);
    int rc = metallm__buf_check(&json, err);
    if (rc == METALLM_OK)
        rc = metallm__outfile_open(&file, o->page, err);
    const struct metallm__page page = {.shape = &metallm__asset_classify,
                                       .title = "metallm classify",
                                       .router = o->router != NULL ? o->router : "",
                                       .json = json.data,
                                       .json_len = json.len};
    if (rc == METALLM_OK)
        rc = metallm__page_write(file.stream, &page, err);
    if (rc == METALLM_OK)
        rc = metallm__outfile_commit(&file, err);
    metallm__outfile_abort(&file);
    metallm__buf_fini(&json);
    return rc;
}

static int run_dry(const struct cli_io *io, const struct classify_options *o,
                   struct metallm__run *r, metallm_error *err)
{
    struct metallm__run_forecast *f = metallm__calloc(1, sizeof *f);
    struct metallm__buf b;
    metallm__buf_init(&b, (size_t)1 << 20);
    int rc = f != NULL ? metallm__run_predict(r, f, err) : metallm__error_nomem(err, "a forecast");
    if (rc == METALLM_OK && o->is_json)
        cli_classify_forecast_json(f, &b);
    else if (rc == METALLM_OK)
        cli_classify_forecast_text(f, &b);
    if (rc == METALLM_OK)
        rc = metallm__buf_check(&b, err);
    if (rc == METALLM_OK)
        fputs(b.data, io->out);
    metallm__buf_fini(&b);
    metallm__free(f);
    return rc;
}

static int run_job(const struct cli_io *io, const struct classify_options *o,
                   struct cli_classify_progress *progress, struct metallm__run *r,
                   metallm_error *err)
{
    struct metallm__summary *summary = NULL;
    int rc = metallm__run_go(r, err);
    cli_classify_progress_end(progress);
    if (rc == METALLM_OK)
        rc = metallm__run_tell(r, o->out, &summary, err);
    if (rc == METALLM_OK)
        rc = print_report(io, o, summary, err);
    if (rc == METALLM_OK && o->page != NULL)
        rc = write_page(o, summary, err);
    metallm__summary_free(summary);
    return rc == METALLM_OK ? tell_left(r, err) : rc;
}

static int run_classify(const struct cli_io *io, const void *options, const char *const *operands,
                        size_t operand_count, metallm_error *err)
{
    (void)operand_count;
    const struct classify_options *o = options;
    struct metallm__run_options run;
    struct metallm__run *r = NULL;
    struct cli_classify_progress progress;
    int rc = fill_options(o, operands[0], &run, err);
    if (rc != METALLM_OK)
        return rc;
    cli_classify_progress_init(&progress, io->err);
    run.tick = cli_classify_progress_tick;
    run.payload = &progress;
    rc = metallm__run_open(&r, &run, err);
    if (rc == METALLM_OK)
        rc = o->is_dry ? run_dry(io, o, r, err) : run_job(io, o, &progress, r, err);
    metallm__run_close(r);
    return rc;
}

const struct cli_verb cli_verb_classify = {
    .name = "classify",
    .summary = "labels texts, each by the LLM that does it best for the money",
    .operands = "TEXTS",
    .description =
        "Reads texts (CSV with a header, JSON Lines, or a text a line), asks the LLM that the "
        "router picks for each, and maps its answer to one of the labels. An answer that is no "
        "label goes to the next LLM, once; then the row says 'unmapped'.\n\n"
        "Gold labels teach the router while the job runs. Without them, --agree or --judge can "
        "stand in; the report says so.\n\n"
        "A job cannot be lost: what is answered stands in the store, and the same command goes on "
        "where it was stopped, in whatever way, without paying twice for an answer. What a call "
        "may cost at most is set aside before it is made, so that --budget holds.\n\n"
        "The report tells accuracy, dollars, each LLM's part, and what each single LLM would have "
        "cost and reached. The exit status is 0 when every text has an answer, else 1.",
    .examples =
        "  metallm classify --labels up,down,neutral,none headlines.csv -o out.csv\n"
        "  metallm classify --labels good,bad --gold label --budget 5 reviews.jsonl -o out.jsonl\n"
        "  metallm classify --choices A,B,C,D --gold answer --target 0.8 mmlu.csv -o out.csv\n",
    .options_size = sizeof(struct classify_options),
    .tables = {classify_table},
    .operands_min = 1,
    .operands_max = 1,
    .run = run_classify,
};
