/* SPDX-License-Identifier: Apache-2.0
 * doctor_here.c - what the doctor finds on this machine: store, addresses, certificates, keys,
 * router files and encoder, limits of the system. */
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"
#include "cli/doctor.h"
#include "cli/probe.h"
#include "gateway/config_address.h"
#include "gateway/keep.h"
#include "metallm/router.h"
#include "net/tls.h"

/* Whether a file could be made at this path. */
static bool can_make(const char *path)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return access(".", W_OK) == 0;
    if (slash == path)
        return access("/", W_OK) == 0;
    snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
    return access(folder, W_OK) == 0;
}

static void look_into_store(struct doctor *d)
{
    struct metallm__store *store = NULL;
    const struct metallm__keyring *ring = NULL;
    metallm_error err = {0};
    int rc = metallm__store_open(&store, d->config->store, METALLM__STORE_USE, &err);
    if (rc == METALLM_OK)
        rc = metallm__ledger_begin(store, false, &err); /* shows that it can be written */
    if (rc == METALLM_OK)
        rc = metallm__keep_keys(store, &ring, &err);
    if (rc != METALLM_OK) {
        cli_doctor_tell(d, DOCTOR_FAIL, "store", "%s", err.message);
    } else {
        uint32_t holding = 0;
        for (uint32_t i = 0; i < metallm__keyring_count(ring); i++)
            holding += metallm__keyring_at(ring, i)->revoked_ms == 0;
        cli_doctor_tell(d, DOCTOR_OK, "store", "'%s' can be written", d->config->store);
        if (d->config->auth.keys && holding == 0)
            cli_doctor_tell(d, DOCTOR_WARN, "keys",
                            "clients need a key, and there is none yet: metallm keys create NAME");
        else if (d->config->auth.keys)
            cli_doctor_tell(d, DOCTOR_OK, "keys", "%u client keys hold", holding);
    }
    metallm__keyring_drop(ring);
    if (store != NULL)
        metallm__ledger_abort(store);
    metallm__store_close(store);
}

void cli_doctor_store(struct doctor *d)
{
    const char *path = strchr(d->config->store, ':') + 1;
    if (access(path, F_OK) == 0) {
        look_into_store(d);
        return;
    }
    if (can_make(path))
        cli_doctor_tell(d, DOCTOR_OK, "store", "'%s' will be made", d->config->store);
    else
        cli_doctor_tell(d, DOCTOR_FAIL, "store", "'%s' cannot be made: %s", d->config->store,
                        strerror(errno));
    if (d->config->auth.keys)
        cli_doctor_tell(d, DOCTOR_WARN, "keys",
                        "clients need a key, and there is none yet: metallm keys create NAME");
}

/* 0: free; else errno. */
static int try_address(const struct metallm__config_address *a)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char port[8];
    int on = 1, failed = 0;
    snprintf(port, sizeof port, "%u", a->port);
    if (getaddrinfo(a->host[0] != '\0' ? a->host : NULL, port, &hints, &found) != 0)
        return EADDRNOTAVAIL;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        failed = errno;
    } else {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(fd, found->ai_addr, found->ai_addrlen) != 0)
            failed = errno;
        close(fd);
    }
    freeaddrinfo(found);
    return failed;
}

/* Whether what is there answers as a gateway does. */
static bool is_gateway(const struct doctor *d, const struct metallm__config_address *a)
{
    struct cli_probe_answer answer;
    char url[320];
    const bool is_six = strchr(a->host, ':') != NULL;
    const char *host = a->host[0] != '\0' ? a->host : "127.0.0.1";
    snprintf(url, sizeof url, "http%s://%s%s%s:%u/healthz",
             d->config->tls_cert[0] != '\0' ? "s" : "", is_six ? "[" : "", host, is_six ? "]" : "",
             a->port);
    const struct cli_probe probe = {.url = url, .ca_file = "", .timeout_ms = 2000};
    int rc = cli_probe_ask(&probe, &answer, NULL);
    metallm__buf_fini(&answer.body);
    return rc == METALLM_OK && answer.status == 200;
}

static void look_at_tls(struct doctor *d)
{
    struct metallm__tls_server *tls = NULL;
    metallm_error err = {0};
    if (d->config->tls_cert[0] == '\0')
        return;
    if (metallm__tls_server_new(&tls, d->config->tls_cert, d->config->tls_key, &err) == METALLM_OK)
        cli_doctor_tell(d, DOCTOR_OK, "tls", "'%s' and its key fit", d->config->tls_cert);
    else
        cli_doctor_tell(d, DOCTOR_FAIL, "tls", "%s", err.message);
    metallm__tls_server_free(tls);
}

void cli_doctor_listen(struct doctor *d)
{
    for (uint32_t i = 0; i < d->config->listen.count; i++) {
        const char *text = d->config->listen.items[i];
        struct metallm__config_address a;
        char why[160];
        if (!metallm__config_address_parse(&a, text, why, sizeof why))
            continue; /* the config was checked */
        int failed = try_address(&a);
        if (failed == 0)
            cli_doctor_tell(d, DOCTOR_OK, "listen", "%s is free", text);
        else if (failed == EADDRINUSE && is_gateway(d, &a))
            cli_doctor_tell(d, DOCTOR_OK, "listen", "%s: a gateway answers there", text);
        else
            cli_doctor_tell(d, DOCTOR_FAIL, "listen", "%s: %s", text, strerror(failed));
    }
    look_at_tls(d);
}

void cli_doctor_auth(struct doctor *d)
{
    const struct metallm__config *c = d->config;
    bool is_open = false;
    for (uint32_t i = 0; i < c->listen.count; i++) {
        struct metallm__config_address a;
        char why[160];
        is_open |= metallm__config_address_parse(&a, c->listen.items[i], why, sizeof why) &&
                   !a.is_loopback;
    }
    if (is_open && c->tls_cert[0] == '\0')
        cli_doctor_tell(d, DOCTOR_WARN, "tls",
                        "keys travel in clear text: set tls, or put a TLS proxy in front");
    if (is_open && c->auth.admin_key[0] == '\0')
        cli_doctor_tell(
            d, DOCTOR_WARN, "auth",
            "no admin_key: the admin API and the status page answer this machine alone");
    if (c->log.prompts)
        cli_doctor_tell(d, DOCTOR_WARN, "log", "prompts and answers are logged at level debug");
}

/* Names of the config that the file does not know, and the other way round. */
static void compare_models(struct doctor *d, const struct metallm__config_router *r,
                           const metallm_router *file, const char *about)
{
    for (uint32_t i = 0; i < r->model_count; i++) {
        const char *name = d->config->models[r->models[i]].name;
        if (metallm_router_find_model(file, name) >= metallm_router_model_count(file))
            cli_doctor_tell(d, DOCTOR_WARN, about,
                            "'%s' is not in the file: it begins from its prior as a newcomer",
                            name);
    }
    for (uint32_t m = 0; m < metallm_router_model_count(file); m++) {
        const char *name = metallm_router_model_name(file, m);
        if (metallm__config_model_find(d->config, name, strlen(name)) == METALLM__CONFIG_NONE)
            cli_doctor_tell(d, DOCTOR_WARN, about,
                            "the file knows '%s', the configuration does not", name);
    }
}

/* The encoder that the configuration names, opened as the gateway would. */
static metallm_encoder *open_encoder(struct doctor *d, const char *id)
{
    const struct metallm__config_encoder *e = &d->config->encoder;
    char name[64];
    metallm_encoder *encoder = NULL;
    metallm_error err = {0};
    const metallm_remote_options remote = {
        .url = e->url, .model = e->model[0] != '\0' ? e->model : NULL, .key = e->api_key};
    snprintf(name, sizeof name, "%s", e->name);
    if (strcmp(name, "auto") == 0 && id != NULL) /* "minilm-l6-v2/fp32": what stands before '-' */
        snprintf(name, sizeof name, "%.*s", (int)strcspn(id, "-/:"), id);
    if (strcmp(name, "tiered") == 0)
        snprintf(name, sizeof name, "minilm");
    const metallm_encoder_options opts = {.name = name,
                                          .path = e->weights[0] != '\0' ? e->weights : NULL,
                                          .precision = e->precision,
                                          .threads = 1,
                                          .remote = e->url[0] != '\0' ? &remote : NULL};
    if (metallm_encoder_open(&encoder, &opts, &err) == METALLM_OK)
        cli_doctor_tell(d, DOCTOR_OK, "encoder", "%s", metallm_encoder_id(encoder));
    else
        cli_doctor_tell(d, DOCTOR_FAIL, "encoder", "%s", err.message);
    return encoder;
}

void cli_doctor_routers(struct doctor *d)
{
    const char *encoder_id = NULL;
    metallm_router *files[METALLM__CONFIG_ROUTERS_MAX] = {NULL};
    for (uint32_t i = 0; i < d->config->router_count; i++) {
        const struct metallm__config_router *r = &d->config->routers[i];
        char about[96];
        metallm_error err = {0};
        snprintf(about, sizeof about, "router %.80s", r->name);
        if (r->file[0] == '\0') {
            cli_doctor_tell(d, DOCTOR_OK, about, "no file: it begins from the prior and learns");
        } else if (metallm_router_open(&files[i], r->file, &err) != METALLM_OK) {
            cli_doctor_tell(d, DOCTOR_FAIL, about, "%s", err.message);
        } else {
            const char *id = metallm_router_encoder(files[i]);
            cli_doctor_tell(d, DOCTOR_OK, about, "'%s', %u models, encoder %s", r->file,
                            metallm_router_model_count(files[i]), id);
            compare_models(d, r, files[i], about);
            if (encoder_id != NULL && strcmp(encoder_id, id) != 0)
                cli_doctor_tell(d, DOCTOR_FAIL, about,
                                "its encoder is not that of another router, %s", encoder_id);
            encoder_id = id;
        }
    }
    if (d->config->router_count > 0) {
        metallm_encoder *encoder = open_encoder(d, encoder_id);
        metallm_encoder_free(encoder);
    }
    for (uint32_t i = 0; i < d->config->router_count; i++)
        metallm_router_free(files[i]);
}

void cli_doctor_system(struct doctor *d)
{
    struct rlimit files;
    const time_t now = time(NULL);
    if (now < 1767225600) /* 2026-01-01 */
        cli_doctor_tell(d, DOCTOR_FAIL, "clock",
                        "it says a day before 2026: budgets and prices go by it");
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_max != RLIM_INFINITY &&
        files.rlim_max < d->config->limits.connections)
        cli_doctor_tell(
            d, DOCTOR_WARN, "system",
            "%llu open files are allowed, limits.connections is %llu: raise LimitNOFILE",
            (unsigned long long)files.rlim_max, (unsigned long long)d->config->limits.connections);
}
