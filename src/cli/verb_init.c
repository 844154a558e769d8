/* SPDX-License-Identifier: Apache-2.0
 * verb_init.c - `metallm init`: a commented configuration from the provider keys that stand in the
 * environment. The keys themselves are never written: the file refers to them. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/config_text.h"

struct init_options {
    bool is_forced, is_dry;
};

static const struct cli_option init_table[] = {
    {.name = "force",
     .letter = 'f',
     .kind = CLI_FLAG,
     .offset = offsetof(struct init_options, is_forced),
     .help = "write over a file that is there"},
    {.name = "print",
     .kind = CLI_FLAG,
     .offset = offsetof(struct init_options, is_dry),
     .help = "print the configuration instead of writing a file"},
    {.name = NULL},
};

/* Two models of each provider, a cheap and a good one, with prices in dollars per million tokens
 * as they were listed when this was written (2025); 0: not stated. */
struct model {
    const char *name;
    double input, output, cached_input;
};
static const struct provider {
    const char *title, *variable;
    const char *place; /* its base_url, or the protocol that knows it */
    struct model models[2];
} providers[] = {
    {"OpenAI",
     "OPENAI_API_KEY",
     "https://api.openai.com/v1",
     {{"gpt-4.1-mini", 0.40, 1.60, 0.10}, {"gpt-4.1", 2.00, 8.00, 0.50}}},
    {"Anthropic",
     "ANTHROPIC_API_KEY",
     "anthropic",
     {{"claude-3-5-haiku-latest", 0.80, 4.00, 0}, {"claude-sonnet-4-0", 3.00, 15.00, 0}}},
    {"Google Gemini",
     "GEMINI_API_KEY",
     "gemini",
     {{"gemini-2.5-flash", 0.30, 2.50, 0}, {"gemini-2.5-pro", 1.25, 10.00, 0}}},
    {"Mistral",
     "MISTRAL_API_KEY",
     "https://api.mistral.ai/v1",
     {{"mistral-small-latest", 0.10, 0.30, 0}, {"mistral-large-latest", 2.00, 6.00, 0}}},
    {"DeepSeek",
     "DEEPSEEK_API_KEY",
     "https://api.deepseek.com/v1",
     {{"deepseek-chat", 0.27, 1.10, 0.07}, {"deepseek-reasoner", 0.55, 2.19, 0.14}}},
    {"Groq",
     "GROQ_API_KEY",
     "https://api.groq.com/openai/v1",
     {{"llama-3.1-8b-instant", 0.05, 0.08, 0}, {"llama-3.3-70b-versatile", 0.59, 0.79, 0}}},
    {"Together",
     "TOGETHER_API_KEY",
     "https://api.together.xyz/v1",
     {{"meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo", 0.18, 0.18, 0},
      {"meta-llama/Llama-3.3-70B-Instruct-Turbo", 0.88, 0.88, 0}}},
    {"OpenRouter",
     "OPENROUTER_API_KEY",
     "https://openrouter.ai/api/v1",
     {{"openai/gpt-4o-mini", 0.15, 0.60, 0}, {"anthropic/claude-3.5-haiku", 0.80, 4.00, 0}}},
};

static bool is_set(const char *variable)
{
    const char *value = getenv(variable);
    return value != NULL && value[0] != '\0';
}

static void put_provider(struct metallm__buf *out, const struct provider *p)
{
    metallm__buf_printf(out, "  # %s, with the key in %s. Prices change: check them.\n", p->title,
                        p->variable);
    for (size_t i = 0; i < 2; i++) {
        const struct model *m = &p->models[i];
        metallm__buf_printf(out,
                            "  - name: %s\n    %s: %s\n    api_key: ${%s}\n"
                            "    price: {input: %.2f, output: %.2f",
                            m->name, strchr(p->place, ':') != NULL ? "base_url" : "protocol",
                            p->place, p->variable, m->input, m->output);
        if (m->cached_input > 0)
            metallm__buf_printf(out, ", cached_input: %.2f", m->cached_input);
        metallm__buf_puts(out, "}\n");
    }
}

/* OLLAMA_HOST is "host", "host:port" or a URL; 0.0.0.0 is what it listens on, not where it is. */
static void ollama_url(const char *host, char *out, size_t size)
{
    const char *scheme = strstr(host, "://");
    const char *rest = scheme != NULL ? scheme + 3 : host;
    size_t len = strcspn(rest, "/");
    bool has_port = memchr(rest, ':', len) != NULL;
    bool is_any = strncmp(rest, "0.0.0.0", 7) == 0;
    snprintf(out, size, "%.*s%s%.*s%s/v1", scheme != NULL ? (int)(scheme + 3 - host) : 7,
             scheme != NULL ? host : "http://", is_any ? "127.0.0.1" : "",
             (int)(is_any ? len - 7 : len), is_any ? rest + 7 : rest,
             has_port || scheme != NULL ? "" : ":11434");
}

static void put_local(struct metallm__buf *out, const char *host)
{
    char url[512];
    ollama_url(host, url, sizeof url);
    metallm__buf_printf(out,
                        "  # Ollama, llama.cpp, vLLM or another server of your own. Its price is "
                        "what the machine costs you.\n"
                        "  - name: llama3.2\n    base_url: %s\n"
                        "    price: {input: 0.01, output: 0.01}\n",
                        url);
}

/* Where AWS's own tools would look for a region; NULL: nobody says, or there are no credentials. */
static const char *aws_region(void)
{
    if (!is_set("AWS_ACCESS_KEY_ID") && !is_set("AWS_PROFILE"))
        return NULL;
    const char *region = getenv(is_set("AWS_REGION") ? "AWS_REGION" : "AWS_DEFAULT_REGION");
    bool is_sound = region != NULL && region[0] != '\0' &&
                    region[strspn(region, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0';
    return is_sound ? region : NULL;
}

static void put_bedrock(struct metallm__buf *out, const char *region)
{
    static const struct {
        const char *name, *model, *price;
    } models[] = {
        {"nova-lite", "amazon.nova-lite-v1:0", "{input: 0.06, output: 0.24, cached_input: 0.015}"},
        {"nova-pro", "amazon.nova-pro-v1:0", "{input: 0.80, output: 3.20, cached_input: 0.20}"},
    };
    metallm__buf_puts(out, "  # Amazon Bedrock, signed with AWS's credentials, which stand in the "
                           "environment or in AWS's\n  # own files. Prices change: check them.\n");
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        metallm__buf_printf(out,
                            "  - name: %s\n    protocol: bedrock\n    region: %.32s\n"
                            "    model: %s\n    price: %s\n",
                            models[i].name, region, models[i].model, models[i].price);
}

/* Returns how many providers there are. */
static size_t put_models(struct metallm__buf *out)
{
    size_t found = 0;
    metallm__buf_puts(out, "models:\n");
    for (size_t i = 0; i < sizeof providers / sizeof *providers; i++)
        if (is_set(providers[i].variable)) {
            put_provider(out, &providers[i]);
            found++;
        }
    if (aws_region() != NULL) {
        put_bedrock(out, aws_region());
        found++;
    }
    if (is_set("OLLAMA_HOST")) {
        put_local(out, getenv("OLLAMA_HOST"));
        found++;
    } else if (found == 0) {
        put_local(out, "127.0.0.1:11434");
        metallm__buf_puts(out, "  # A provider, once its key stands in the environment:\n"
                               "  # - name: gpt-4.1-mini\n"
                               "  #   base_url: https://api.openai.com/v1\n"
                               "  #   api_key: ${OPENAI_API_KEY}\n"
                               "  #   price: {input: 0.40, output: 1.60, cached_input: 0.10}\n");
    }
    return found;
}

static const char routers[] = "routers:\n"
                              "  - name: auto\n"
                              "    mode: hybrid\n"
                              "    dial: 0.2\n"
                              "    explore: {share: 0.02}\n";

static int write_config(const char *path, const char *models, metallm_error *err)
{
    struct metallm__outfile file;
    int rc = metallm__outfile_open(&file, path, err);
    if (rc != METALLM_OK)
        return rc;
    cli_config_example(file.stream, models, routers);
    rc = metallm__outfile_commit(&file, err);
    metallm__outfile_abort(&file);
    return rc;
}

static int run_init(const struct cli_io *io, const void *options, const char *const *operands,
                    size_t operand_count, metallm_error *err)
{
    const struct init_options *o = options;
    const char *path = operand_count > 0 ? operands[0] : "metallm.yaml";
    struct metallm__buf models;
    if (!o->is_dry && !o->is_forced && access(path, F_OK) == 0)
        return metallm__error_set(err, METALLM_EIO,
                                  "'%.150s' is there already (--force writes over it)", path);
    metallm__buf_init(&models, 1u << 20);
    size_t found = put_models(&models);
    int rc = metallm__buf_check(&models, err);
    if (rc == METALLM_OK && o->is_dry)
        cli_config_example(io->out, models.data, routers);
    else if (rc == METALLM_OK)
        rc = write_config(path, models.data, err);
    metallm__buf_fini(&models);
    if (rc != METALLM_OK || o->is_dry)
        return rc;
    for (size_t i = 0; i < sizeof providers / sizeof *providers; i++)
        if (is_set(providers[i].variable))
            fprintf(io->err, "metallm: %s: %s\n", providers[i].variable, providers[i].title);
    if (aws_region() != NULL)
        fprintf(io->err, "metallm: AWS credentials: Amazon Bedrock\n");
    if (is_set("OLLAMA_HOST"))
        fprintf(io->err, "metallm: OLLAMA_HOST: Ollama\n");
    if (found == 0)
        fprintf(io->err,
                "metallm: no provider's key in the environment: '%s' begins with a local "
                "server, change its models\n",
                path);
    fprintf(io->err, "metallm: wrote '%s'; next: metallm doctor -c %s && metallm serve -c %s\n",
            path, path, path);
    return METALLM_OK;
}

const struct cli_verb cli_verb_init = {
    .name = "init",
    .summary = "writes a commented configuration for the gateway",
    .operands = "[FILE]",
    .description =
        "Looks for the keys of providers in the environment (OPENAI_API_KEY, ANTHROPIC_API_KEY, "
        "GEMINI_API_KEY, MISTRAL_API_KEY, DEEPSEEK_API_KEY, GROQ_API_KEY, TOGETHER_API_KEY, "
        "OPENROUTER_API_KEY, AWS_ACCESS_KEY_ID or AWS_PROFILE with AWS_REGION, and OLLAMA_HOST) "
        "and writes a configuration with two models of each, "
        "a router over all of them, and every other option as a comment with its default. The "
        "file refers to the keys; it does not hold them. Without FILE it is metallm.yaml.\n\n"
        "Prices change, and so do names of models: check both, then run 'metallm doctor'.",
    .examples = "  OPENAI_API_KEY=... metallm init && metallm doctor && metallm serve\n"
                "  metallm init --print | less",
    .options_size = sizeof(struct init_options),
    .tables = {init_table},
    .operands_min = 0,
    .operands_max = 1,
    .run = run_init,
};
