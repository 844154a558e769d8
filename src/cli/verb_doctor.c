/* SPDX-License-Identifier: Apache-2.0
 * verb_doctor.c - `metallm doctor`: checks the gateway's configuration and all that it refers to.
 */
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json_out.h"
#include "cli/cli.h"
#include "cli/doctor.h"
#include "gateway/keep.h"

struct doctor_options {
    const char *config;
    bool is_json, is_offline;
};

static const struct cli_option doctor_table[] = {
    {.name = "config",
     .letter = 'c',
     .kind = CLI_STRING,
     .offset = offsetof(struct doctor_options, config),
     .arg = "FILE",
     .fallback = "metallm.yaml",
     .help = "the configuration to check"},
    {.name = "offline",
     .kind = CLI_FLAG,
     .offset = offsetof(struct doctor_options, is_offline),
     .help = "do not ask the models' endpoints"},
    {.name = "json",
     .kind = CLI_FLAG,
     .offset = offsetof(struct doctor_options, is_json),
     .help = "print one JSON object: ok, and checks [{verdict, about, message}]"},
    {.name = NULL},
};

static const char *const verdicts[] = {"ok", "warn", "fail"};

void cli_doctor_tell(struct doctor *d, enum doctor_verdict verdict, const char *about,
                     const char *format, ...)
{
    char text[2 * METALLM_ERROR_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (d->json != NULL) {
        struct metallm__jw j = {.out = d->json,
                                .wants_comma = d->found[0] + d->found[1] + d->found[2] > 0};
        metallm__jw_open(&j, '{');
        metallm__jw_name(&j, "verdict");
        metallm__jw_text(&j, verdicts[verdict]);
        metallm__jw_name(&j, "about");
        metallm__jw_text(&j, about);
        metallm__jw_name(&j, "message");
        metallm__jw_text(&j, text);
        metallm__jw_close(&j, '}');
    }
    if (d->out != NULL) {
        fprintf(d->out, "%-4s  %-20s  %s\n", verdicts[verdict], about, text);
        fflush(d->out);
    }
    d->found[verdict]++;
}

/* The config with what the admin API changed, where there is a store that tells. */
static int load(const char *path, const struct metallm__config **out, struct doctor *d,
                metallm_error *err)
{
    struct metallm__store *store = NULL;
    struct metallm__changes *changes = NULL;
    int rc = metallm__config_load(out, path, NULL, err);
    if (rc != METALLM_OK || access(strchr((*out)->store, ':') + 1, F_OK) != 0 ||
        metallm__store_open(&store, (*out)->store, METALLM__STORE_USE, NULL) != METALLM_OK)
        return rc;
    if (metallm__keep_changes(store, &changes, NULL) == METALLM_OK &&
        metallm__changes_list(changes)->count > 0) {
        const struct metallm__config *whole = NULL;
        metallm_error why = {0};
        if (metallm__config_load(&whole, path, metallm__changes_list(changes), &why) ==
            METALLM_OK) {
            metallm__config_drop(*out);
            *out = whole;
            cli_doctor_tell(d, DOCTOR_OK, "changes", "%u by the admin API lie over the file",
                            metallm__changes_list(changes)->count);
        } else {
            cli_doctor_tell(d, DOCTOR_FAIL, "changes", "%s", why.message);
        }
    }
    metallm__changes_free(changes);
    metallm__store_close(store);
    return rc;
}

static void examine(struct doctor *d)
{
    cli_doctor_store(d);
    cli_doctor_listen(d);
    cli_doctor_auth(d);
    cli_doctor_routers(d);
    cli_doctor_models(d);
    cli_doctor_system(d);
}

static int run_doctor(const struct cli_io *io, const void *options, const char *const *operands,
                      size_t operand_count, metallm_error *err)
{
    (void)operands;
    (void)operand_count;
    const struct doctor_options *o = options;
    struct metallm__buf json;
    metallm__buf_init(&json, 1u << 24);
    struct doctor d = {.out = o->is_json ? NULL : io->out,
                       .json = o->is_json ? &json : NULL,
                       .is_offline = o->is_offline};
    const struct metallm__config *config = NULL;
    metallm_error why = {0};
    if (load(o->config, &config, &d, &why) != METALLM_OK) {
        cli_doctor_tell(&d, DOCTOR_FAIL, "configuration", "%s", why.message);
    } else {
        cli_doctor_tell(&d, DOCTOR_OK, "configuration", "'%s': %u models, %u routers, %u aliases",
                        o->config, config->model_count, config->router_count, config->alias_count);
        d.config = config;
        examine(&d);
    }
    metallm__config_drop(config);
    int rc = metallm__buf_check(&json, err);
    if (rc == METALLM_OK && o->is_json)
        fprintf(io->out, "{\"ok\":%s,\"checks\":[%s]}\n",
                d.found[DOCTOR_FAIL] == 0 ? "true" : "false", json.data);
    metallm__buf_fini(&json);
    if (rc == METALLM_OK && d.found[DOCTOR_FAIL] > 0)
        rc = metallm__error_set(err, METALLM_EINVAL, "doctor: %u checks failed, %u warnings",
                                d.found[DOCTOR_FAIL], d.found[DOCTOR_WARN]);
    return rc;
}

const struct cli_verb cli_verb_doctor = {
    .name = "doctor",
    .summary = "checks the gateway's configuration and all that it refers to",
    .operands = "",
    .description =
        "Reads the configuration as the gateway would and looks at what it refers to: the store "
        "can be written, the addresses are free (or a gateway answers there), certificate and key "
        "fit, router files are readable and know the models, the encoder opens, each model has a "
        "price, and each deployment answers in its protocol and takes its key. No tokens are "
        "spent.\n\n"
        "A line each begins with ok, warn or fail. Exit status 1: something failed. Keys are never "
        "shown.",
    .examples =
        "  metallm doctor\n  metallm doctor -c /etc/metallm/metallm.yaml --json | jq .checks",
    .options_size = sizeof(struct doctor_options),
    .tables = {doctor_table},
    .operands_min = 0,
    .operands_max = 0,
    .run = run_doctor,
};
