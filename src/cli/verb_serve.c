/* SPDX-License-Identifier: Apache-2.0
 * verb_serve.c - the gateway, until a signal ends it. */
#include <signal.h>

#include "cli/cli.h"
#include "gateway/gateway.h"

struct serve_options {
    const char *config;
};

static const struct cli_option serve_table[] = {
    {.name = "config",
     .letter = 'c',
     .kind = CLI_STRING,
     .offset = offsetof(struct serve_options, config),
     .arg = "FILE",
     .fallback = "metallm.yaml",
     .help = "the configuration; 'metallm init' writes one, 'metallm doctor' checks it"},
    {0},
};

static struct metallm__gateway *served; /* for the signal handler */

static void on_signal(int number)
{
    if (number == SIGHUP)
        metallm__gateway_reload(served);
    else
        metallm__gateway_stop(served);
}

static void watch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
}

static int run_serve(const struct cli_io *io, const void *options, const char *const *operands,
                     size_t operand_count, metallm_error *err)
{
    (void)operands;
    (void)operand_count;
    const struct serve_options *o = options;
    int rc = metallm__gateway_new(&served, o->config, err);
    if (rc != METALLM_OK)
        return rc;
    watch_signals();
    for (uint32_t i = 0; metallm__gateway_address(served, i) != NULL; i++)
        fprintf(io->err, "metallm: listening on %s\n", metallm__gateway_address(served, i));
    rc = metallm__gateway_run(served, err);
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGHUP, SIG_IGN);
    metallm__gateway_free(served);
    served = NULL;
    return rc;
}

const struct cli_verb cli_verb_serve = {
    .name = "serve",
    .summary = "runs the gateway: an OpenAI-compatible endpoint that routes and learns",
    .operands = "",
    .description =
        "Serves the OpenAI protocol on the addresses of the configuration. A request whose "
        "\"model\" is the name of a router goes to the LLM that serves it best for the money; the "
        "name of an LLM goes straight to it. POST /v1/feedback teaches it while it runs.\n\n"
        "SIGTERM and SIGINT stop it: what runs is finished, at most limits.drain_ms, and what "
        "waits is written; a second one cuts what still runs. SIGHUP reads the configuration, "
        "certificates and keys again; a bad one is refused with its line in the log, and the old "
        "one stays.\n\n"
        "Log lines are JSON, on standard error unless log.file says otherwise. GET /metrics "
        "answers Prometheus, /healthz and /readyz answer probes, / is a status page.",
    .examples = "  metallm init && metallm doctor && metallm serve\n"
                "  curl localhost:8080/v1/chat/completions -d '{\"model\": \"auto\", \"messages\": "
                "[{\"role\": \"user\", \"content\": \"hi\"}]}'\n",
    .options_size = sizeof(struct serve_options),
    .tables = {serve_table},
    .operands_min = 0,
    .operands_max = 0,
    .run = run_serve,
};
