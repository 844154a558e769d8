/* SPDX-License-Identifier: Apache-2.0
 * verb_keys.c - `metallm keys`: client keys of the gateway, made, listed and revoked in its store,
 * also while it runs: it notices within a second. */
#include <math.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/json_out.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "gateway/keep.h"

struct keys_options {
    const char *config, *store;
    struct cli_list models, routers;
    uint64_t requests, tokens, expires_days;
    double budget, dial, target, max_cost_usd;
    const char *per, *router;
    bool is_admin, is_json;
};

static const struct cli_option keys_table[] = {
    {.name = "config",
     .letter = 'c',
     .kind = CLI_STRING,
     .offset = offsetof(struct keys_options, config),
     .arg = "FILE",
     .fallback = "metallm.yaml",
     .help = "the gateway's configuration, which names the store"},
    {.name = "store",
     .kind = CLI_STRING,
     .offset = offsetof(struct keys_options, store),
     .arg = "URL",
     .help = "the store itself, sqlite:PATH, in place of a configuration"},
    {.name = "allow-model",
     .kind = CLI_LIST,
     .offset = offsetof(struct keys_options, models),
     .arg = "NAME",
     .help = "create: a model that it may use; without this all"},
    {.name = "allow-router",
     .kind = CLI_LIST,
     .offset = offsetof(struct keys_options, routers),
     .arg = "NAME",
     .help = "create: a router that it may use; without this all"},
    {.name = "requests-per-minute",
     .kind = CLI_COUNT,
     .offset = offsetof(struct keys_options, requests),
     .arg = "N",
     .low = 1,
     .high = 1e9,
     .help = "create: more are refused with 429"},
    {.name = "tokens-per-minute",
     .kind = CLI_COUNT,
     .offset = offsetof(struct keys_options, tokens),
     .arg = "N",
     .low = 1,
     .high = 1e12,
     .help = "create: more are refused with 429"},
    {.name = "budget",
     .kind = CLI_REAL,
     .offset = offsetof(struct keys_options, budget),
     .arg = "USD",
     .low = 1e-9,
     .high = 1e12,
     .help = "create: dollars that it may spend in a day or month; the choice of models gets "
             "cheaper as it runs low"},
    {.name = "per",
     .kind = CLI_STRING,
     .offset = offsetof(struct keys_options, per),
     .arg = "PERIOD",
     .fallback = "day",
     .help = "create: of the budget, day or month (UTC)"},
    {.name = "dial",
     .kind = CLI_REAL,
     .offset = offsetof(struct keys_options, dial),
     .arg = "P",
     .low = 1e-9,
     .high = 1e6,
     .help = "create: price dial of requests that state none"},
    {.name = "target",
     .kind = CLI_REAL,
     .offset = offsetof(struct keys_options, target),
     .arg = "T",
     .low = 1e-6,
     .high = 1,
     .help = "create: target of requests that state none"},
    {.name = "max-cost",
     .kind = CLI_REAL,
     .offset = offsetof(struct keys_options, max_cost_usd),
     .arg = "USD",
     .low = 1e-12,
     .high = 1e6,
     .help = "create: models dearer than this for a request are left out"},
    {.name = "router",
     .kind = CLI_STRING,
     .offset = offsetof(struct keys_options, router),
     .arg = "NAME",
     .help = "create: what the model 'auto' means for it"},
    {.name = "expires-days",
     .kind = CLI_COUNT,
     .offset = offsetof(struct keys_options, expires_days),
     .arg = "N",
     .low = 1,
     .high = 36500,
     .help = "create: it opens nothing after so many days"},
    {.name = "admin",
     .kind = CLI_FLAG,
     .offset = offsetof(struct keys_options, is_admin),
     .help = "create: it opens the admin API as well"},
    {.name = "json",
     .kind = CLI_FLAG,
     .offset = offsetof(struct keys_options, is_json),
     .help = "print one JSON object"},
    {.name = NULL},
};

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* *config: NULL where the store was named instead. The caller drops it. */
static int open_store(const struct keys_options *o, const struct metallm__config **config,
                      struct metallm__store **out, metallm_error *err)
{
    *config = NULL;
    if (o->store != NULL)
        return metallm__store_open(out, o->store, METALLM__STORE_FILL, err);
    int rc = metallm__config_load(config, o->config, NULL, err);
    return rc == METALLM_OK ? metallm__store_open(out, (*config)->store, METALLM__STORE_FILL, err)
                            : rc;
}

static int keep(struct metallm__store *s, const struct metallm__key *k, metallm_error *err)
{
    int rc = metallm__ledger_begin(s, true, err);
    if (rc == METALLM_OK)
        rc = metallm__keep_key(s, k, err);
    if (rc == METALLM_OK)
        rc = metallm__ledger_commit(s, err);
    metallm__ledger_abort(s);
    return rc;
}

/* {"id":...,"key":...,the key's own members}; text may be NULL. */
static void put_key(struct metallm__buf *out, const struct metallm__key *k, const char *text)
{
    struct metallm__buf json;
    metallm__buf_init(&json, 1u << 20);
    metallm__key_json(k, &json);
    metallm__buf_printf(out, "{\"id\":\"%s\"", k->id);
    if (text != NULL)
        metallm__buf_printf(out, ",\"key\":\"%s\"", text);
    metallm__buf_printf(out, ",%s", json.data != NULL ? json.data + 1 : "}");
    metallm__buf_fini(&json);
}

static int print(const struct cli_io *io, struct metallm__buf *text, metallm_error *err)
{
    int rc = metallm__buf_check(text, err);
    if (rc == METALLM_OK)
        fprintf(io->out, "%s\n", text->data);
    metallm__buf_fini(text);
    return rc;
}

static int create(const struct cli_io *io, const struct keys_options *o, const char *name,
                  const struct metallm__config *c, struct metallm__store *s, metallm_error *err)
{
    struct metallm__key k = {.name = name,
                             .models = {o->models.items, (uint32_t)o->models.count},
                             .routers = {o->routers.items, (uint32_t)o->routers.count},
                             .requests_per_minute = o->requests,
                             .tokens_per_minute = o->tokens,
                             .budget_usd = o->budget > 0 ? o->budget : NAN,
                             .budget_per = strcmp(o->per, "month") == 0 ? METALLM__PERIOD_MONTH
                                                                        : METALLM__PERIOD_DAY,
                             .dial = o->dial > 0 ? o->dial : NAN,
                             .target = o->target > 0 ? o->target : NAN,
                             .max_cost_usd = o->max_cost_usd,
                             .router = o->router != NULL ? o->router : "",
                             .created_ms = now_ms(),
                             .is_admin = o->is_admin};
    char text[METALLM__KEY_TEXT_LEN + 1];
    if (strlen(name) > METALLM__KEY_NAME_MAX)
        return metallm__error_set(err, CLI_EUSAGE, "a key's name has at most %u bytes",
                                  METALLM__KEY_NAME_MAX);
    if (strcmp(o->per, "day") != 0 && strcmp(o->per, "month") != 0)
        return metallm__error_set(err, CLI_EUSAGE, "--per takes day or month, not '%.40s'", o->per);
    if (!isnan(k.dial) && !isnan(k.target))
        return metallm__error_set(err, CLI_EUSAGE, "give one of --dial and --target");
    if (o->expires_days > 0)
        k.expires_ms = k.created_ms + o->expires_days * 86400000u;
    int rc = metallm__key_make(text, &k, err);
    if (rc == METALLM_OK && c != NULL)
        rc = metallm__key_prices(&k, c, k.created_ms, err);
    if (rc == METALLM_OK)
        rc = keep(s, &k, err);
    if (rc != METALLM_OK)
        return rc;
    if (o->is_json) {
        struct metallm__buf json;
        metallm__buf_init(&json, 1u << 20);
        put_key(&json, &k, text);
        return print(io, &json, err);
    }
    fprintf(io->out, "%s\n", text);
    fprintf(io->err,
            "metallm: key '%s' (%s); its text is not kept: this is the only time it is "
            "shown\n",
            name, k.id);
    return METALLM_OK;
}

static const char *day_text(uint64_t ms, char text[40])
{
    const time_t seconds = (time_t)(ms / 1000);
    struct tm tm = {0};
    gmtime_r(&seconds, &tm);
    snprintf(text, 40, "%04d-%02d-%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
    return text;
}

static void print_row(FILE *out, const struct metallm__key *k)
{
    char day[40], state[64] = "in use", money[64] = "-";
    if (k->revoked_ms != 0)
        snprintf(state, sizeof state, "revoked %s", day_text(k->revoked_ms, day));
    else if (k->expires_ms != 0)
        snprintf(state, sizeof state, "until %s", day_text(k->expires_ms, day));
    if (!isnan(k->budget_usd))
        snprintf(money, sizeof money, "$%g a %s", k->budget_usd,
                 k->budget_per == METALLM__PERIOD_MONTH ? "month" : "day");
    fprintf(out, "%-12s %-10s %-20s %-18s %s%s\n", k->id, day_text(k->created_ms, day), state,
            money, k->name, k->is_admin ? " (admin)" : "");
}

static int list(const struct cli_io *io, const struct keys_options *o, struct metallm__store *s,
                metallm_error *err)
{
    const struct metallm__keyring *ring = NULL;
    int rc = metallm__keep_keys(s, &ring, err);
    if (rc != METALLM_OK)
        return rc;
    const uint32_t count = metallm__keyring_count(ring);
    if (o->is_json) {
        struct metallm__buf json;
        metallm__buf_init(&json, (size_t)256 << 20);
        metallm__buf_puts(&json, "{\"data\":[");
        for (uint32_t i = 0; i < count; i++) {
            metallm__buf_puts(&json, i > 0 ? "," : "");
            put_key(&json, metallm__keyring_at(ring, i), NULL);
        }
        metallm__buf_puts(&json, "]}");
        rc = print(io, &json, err);
    } else if (count == 0) {
        fprintf(io->err, "metallm: no client keys\n");
    } else {
        fprintf(io->out, "%-12s %-10s %-20s %-18s %s\n", "id", "made", "state", "budget", "name");
        for (uint32_t i = 0; i < count; i++)
            print_row(io->out, metallm__keyring_at(ring, i));
    }
    metallm__keyring_drop(ring);
    return rc;
}

static int revoke(const struct cli_io *io, const struct keys_options *o, const char *id,
                  struct metallm__store *s, metallm_error *err)
{
    const struct metallm__keyring *ring = NULL;
    int rc = metallm__keep_keys(s, &ring, err);
    if (rc != METALLM_OK)
        return rc;
    const struct metallm__key *found = metallm__keyring_find(ring, id);
    struct metallm__key k;
    if (found == NULL) {
        /* Whoever typed the whole key may have meant it, but it is not to be shown again. */
        rc = metallm__error_set(err, METALLM_ENOTFOUND,
                                "no key of this id: 'metallm keys list' tells them (mk_ and 8 "
                                "characters)");
    } else {
        k = *found;
        if (k.revoked_ms == 0)
            k.revoked_ms = now_ms();
        rc = keep(s, &k, err);
    }
    if (rc == METALLM_OK && o->is_json) {
        struct metallm__buf json;
        metallm__buf_init(&json, 1u << 20);
        put_key(&json, &k, NULL);
        rc = print(io, &json, err);
    } else if (rc == METALLM_OK) {
        fprintf(io->err, "metallm: revoked %s '%s'\n", k.id, k.name);
    }
    metallm__keyring_drop(ring);
    return rc;
}

static int run_keys(const struct cli_io *io, const void *options, const char *const *operands,
                    size_t operand_count, metallm_error *err)
{
    const struct keys_options *o = options;
    const char *what = operands[0];
    const bool creates = strcmp(what, "create") == 0, revokes = strcmp(what, "revoke") == 0;
    if (!creates && !revokes && strcmp(what, "list") != 0)
        return metallm__error_set(err, CLI_EUSAGE, "keys: create, list or revoke, not '%.40s'",
                                  what);
    if (operand_count != (creates || revokes ? 2u : 1u))
        return metallm__error_set(err, CLI_EUSAGE, "keys %s %s", what,
                                  creates   ? "wants a NAME"
                                  : revokes ? "wants an ID"
                                            : "wants nothing else");
    const struct metallm__config *config = NULL;
    struct metallm__store *store = NULL;
    int rc = open_store(o, &config, &store, err);
    if (rc == METALLM_OK)
        rc = creates   ? create(io, o, operands[1], config, store, err)
             : revokes ? revoke(io, o, operands[1], store, err)
                       : list(io, o, store, err);
    metallm__store_close(store);
    metallm__config_drop(config);
    return rc;
}

const struct cli_verb cli_verb_keys = {
    .name = "keys",
    .summary = "makes, lists and revokes the gateway's client keys",
    .operands = "create NAME | list | revoke ID",
    .description =
        "Clients of a gateway with auth: {keys: on} send a key as their API key. Keys are made "
        "here or by the admin API. What is kept is a hash: the key itself is printed once, on "
        "standard output, when it is made.\n\n"
        "Works on the gateway's store, also while the gateway runs, which notices within a second. "
        "A key may be bound to models and routers, to requests and tokens a minute, and to dollars "
        "a day or month.",
    .examples = "  metallm keys create ci --requests-per-minute 60 --budget 5\n"
                "  metallm keys create team-a --budget 200 --per month --router auto --json\n"
                "  metallm keys list\n"
                "  metallm keys revoke mk_3fQz81Lp",
    .options_size = sizeof(struct keys_options),
    .tables = {keys_table},
    .operands_min = 1,
    .operands_max = 2,
    .run = run_keys,
};
