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

/* Two models of each provider, a cheap and a good one. What they cost is in the table of prices
 * (data/models.yaml), unless it is said here. */
static const struct provider {
    const char *title, *variable;
    const char *place; /* its base_url, or the protocol that knows it */
    const char *models[2];
    const char *prices[2]; /* NULL: the table's */
} providers[] = {
    {"OpenAI",
     "OPENAI_API_KEY",
     "https://api.openai.com/v1",
     {"gpt-5.4-mini", "gpt-5.4"},
     {NULL, NULL}},
    {"Anthropic",
     "ANTHROPIC_API_KEY",
     "anthropic",
     {"claude-haiku-5-5", "claude-sonnet-5-5"},
     {NULL, NULL}},
    {"Google Gemini",
     "GEMINI_API_KEY",
     "gemini",
     {"gemini-3.5-flash-lite", "gemini-3.8-flash"},
     {NULL, NULL}},
    {"Mistral",
     "MISTRAL_API_KEY",
     "https://api.mistral.ai/v1",
     {"mistral-small-latest", "mistral-large-4"},
     {NULL, NULL}},
    {"DeepSeek",
     "DEEPSEEK_API_KEY",
     "https://api.deepseek.com/v1",
     {"deepseek-v4-flash", "deepseek-v4-pro"},
     {NULL, NULL}},
    {"Groq",
     "GROQ_API_KEY",
     "https://api.groq.com/openai/v1",
     {"openai/gpt-oss-20b", "openai/gpt-oss-120b"},
     {NULL, NULL}},
    {"Together",
     "TOGETHER_API_KEY",
     "https://api.together.xyz/v1",
     {"zai-org/GLM-5.3-Flash", "zai-org/GLM-5.3"},
     {NULL, NULL}},
    {"OpenRouter",
     "OPENROUTER_API_KEY",
     "https://openrouter.ai/api/v1",
     {"openai/gpt-5.4-mini", "anthropic/claude-haiku-4.5"},
     {"openai/gpt-5.4-mini", "anthropic/claude-haiku-4-5"}},
};

static bool is_set(const char *variable)
{
    const char *value = getenv(variable);
    return value != NULL && value[0] != '\0';
}

static void put_provider(struct metallm__buf *out, const struct provider *p)
{
    metallm__buf_printf(out, "  # %s, with the key in %s.\n", p->title, p->variable);
    for (size_t i = 0; i < 2; i++) {
        metallm__buf_printf(out, "  - name: %s\n    %s: %s\n    api_key: ${%s}\n", p->models[i],
                            strchr(p->place, ':') != NULL ? "base_url" : "protocol", p->place,
                            p->variable);
        if (p->prices[i] != NULL)
            metallm__buf_printf(out, "    price: %s # its maker's: check it\n", p->prices[i]);
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
                               "  # - name: gpt-5.4-mini\n"
                               "  #   base_url: https://api.openai.com/v1\n"
                               "  #   api_key: ${OPENAI_API_KEY}\n");
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
        "Prices are those of the table that is built in ('metallm prices'). They change, and so do "
        "names of models: check both, then run 'metallm doctor'.",
    .examples = "  OPENAI_API_KEY=... metallm init && metallm doctor && metallm serve\n"
                "  metallm init --print | less",
    .options_size = sizeof(struct init_options),
    .tables = {init_table},
    .operands_min = 0,
    .operands_max = 1,
    .run = run_init,
};
