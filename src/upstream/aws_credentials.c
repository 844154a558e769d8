/* SPDX-License-Identifier: Apache-2.0
 * aws_credentials.c - see aws_credentials.h: the order of the places, the record with its lock, and
 * its thread. The thread holds a reference of its own and leaves when nobody else has one. */
#include "upstream/aws_credentials.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"
#include "upstream/aws_places.h"

#define TIMEOUT_MS  2000u
#define RETRY_MS    10000u
#define EARLY_S     900u
#define REREAD_MS   60000u /* files, and what was not found */
#define WAIT_MS_MAX 3600000u

struct metallm__aws_credentials {
    atomic_uint references, users; /* users: references but the thread's */
    atomic_bool is_stopped;
    char *variables[METALLM__AWS_VARIABLES]; /* copies; some are secret */
    char *profile;
    struct metallm__aws_search search;
    uint32_t retry_ms, early_s;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    bool is_wanted; /* a search, now */
    struct metallm__aws_found found;
    char why[METALLM_ERROR_BYTES]; /* of the last search, where it failed */
};

void metallm__aws_environment_read(struct metallm__aws_environment *out)
{
    static const char *const names[METALLM__AWS_VARIABLES] = {
        [METALLM__AWS_ACCESS_KEY_ID] = "AWS_ACCESS_KEY_ID",
        [METALLM__AWS_SECRET_ACCESS_KEY] = "AWS_SECRET_ACCESS_KEY",
        [METALLM__AWS_SESSION_TOKEN] = "AWS_SESSION_TOKEN",
        [METALLM__AWS_PROFILE] = "AWS_PROFILE",
        [METALLM__AWS_CREDENTIALS_FILE] = "AWS_SHARED_CREDENTIALS_FILE",
        [METALLM__AWS_CONFIG_FILE] = "AWS_CONFIG_FILE",
        [METALLM__AWS_RELATIVE_URI] = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        [METALLM__AWS_FULL_URI] = "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        [METALLM__AWS_CONTAINER_TOKEN] = "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        [METALLM__AWS_CONTAINER_TOKEN_FILE] = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        [METALLM__AWS_METADATA_DISABLED] = "AWS_EC2_METADATA_DISABLED",
        [METALLM__AWS_METADATA_ENDPOINT] = "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        [METALLM__AWS_METADATA_MODE] = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
        [METALLM__AWS_HOME] = "HOME",
    };
    for (size_t i = 0; i < METALLM__AWS_VARIABLES; i++)
        out->at[i] = getenv(names[i]);
}

const char *metallm__aws_provider_name(enum metallm__aws_provider provider)
{
    static const char *const names[] = {"nowhere", "the environment", "the shared files",
                                        "the container endpoint", "the instance endpoint"};
    return names[provider];
}

/* ---- The search. ---- */

static int search(const struct metallm__aws_search *s, struct metallm__aws_found *out,
                  metallm_error *err)
{
    static int (*const places[])(const struct metallm__aws_search *s,
                                 struct metallm__aws_found *out, metallm_error *err) = {
        metallm__aws_from_environment, metallm__aws_from_files, metallm__aws_from_container,
        metallm__aws_from_instance};
    if (s->profile[0] != '\0')
        return metallm__aws_from_files(s, out, err);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        int rc = places[i](s, out, err);
        if (rc != METALLM_ENOTFOUND)
            return rc;
    }
    return metallm__error_set(err, METALLM_ENOTFOUND,
                              "neither the environment nor the shared files have AWS credentials, "
                              "and there is no endpoint to ask");
}

/* Old keys stay where a search fails. */
static int search_and_keep(struct metallm__aws_credentials *c)
{
    struct metallm__aws_found found = {.provider = METALLM__AWS_NOWHERE};
    metallm_error err = {0};
    int rc = search(&c->search, &found, &err);
    pthread_mutex_lock(&c->lock);
    if (rc == METALLM_OK)
        c->found = found;
    memcpy(c->why, rc == METALLM_OK ? "" : err.message, rc == METALLM_OK ? 1 : sizeof c->why);
    pthread_mutex_unlock(&c->lock);
    explicit_bzero(&found, sizeof found);
    return rc;
}

/* ---- The thread. ---- */

/* Until the next search. Called with the lock. */
static uint64_t wait_ms(const struct metallm__aws_credentials *c, int rc, unsigned failures)
{
    uint64_t wait = REREAD_MS;
    if (rc != METALLM_OK) {
        wait = (uint64_t)c->retry_ms << (failures < 3 ? failures : 3);
        return wait < REREAD_MS ? wait : REREAD_MS;
    }
    if (c->found.expires_s > 0) {
        int64_t left = c->found.expires_s - (int64_t)time(NULL) - (int64_t)c->early_s;
        wait = left > 0 ? (uint64_t)left * 1000 : c->retry_ms;
    } else if (c->found.provider == METALLM__AWS_ENVIRONMENT) {
        wait = WAIT_MS_MAX;
    }
    wait = wait < c->retry_ms ? c->retry_ms : wait;
    return wait < WAIT_MS_MAX ? wait : WAIT_MS_MAX;
}

/* Waits with the lock; false: the record is not needed any more. */
static bool wait_for(struct metallm__aws_credentials *c, uint64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    while (!atomic_load(&c->is_stopped) && !c->is_wanted)
        if (pthread_cond_timedwait(&c->changed, &c->lock, &until) != 0)
            break;
    c->is_wanted = false;
    return !atomic_load(&c->is_stopped);
}

static void drop(struct metallm__aws_credentials *c)
{
    if (atomic_fetch_sub(&c->references, 1) != 1)
        return;
    for (size_t i = 0; i < METALLM__AWS_VARIABLES; i++) {
        if (c->variables[i] != NULL)
            explicit_bzero(c->variables[i], strlen(c->variables[i]));
        metallm__free(c->variables[i]);
    }
    metallm__free(c->profile);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    explicit_bzero(&c->found, sizeof c->found);
    metallm__free(c);
}

static void *renew(void *payload)
{
    struct metallm__aws_credentials *c = payload;
    int rc = METALLM_OK;
    unsigned failures = 0;
    pthread_mutex_lock(&c->lock);
    rc = c->why[0] == '\0' ? METALLM_OK : METALLM_ENOTFOUND;
    while (wait_for(c, wait_ms(c, rc, failures))) {
        pthread_mutex_unlock(&c->lock);
        rc = search_and_keep(c);
        failures = rc == METALLM_OK ? 0 : failures + 1;
        pthread_mutex_lock(&c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    drop(c);
    return NULL;
}

static int start_thread(struct metallm__aws_credentials *c, metallm_error *err)
{
    pthread_attr_t attr;
    pthread_t thread;
    atomic_fetch_add(&c->references, 1);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    int failed = pthread_create(&thread, &attr, renew, c);
    pthread_attr_destroy(&attr);
    if (failed == 0)
        return METALLM_OK;
    atomic_fetch_sub(&c->references, 1);
    return metallm__error_nomem(err, "a thread for AWS credentials");
}

/* ---- The record. ---- */

static int copy_texts(struct metallm__aws_credentials *c, const struct metallm__aws_options *o,
                      metallm_error *err)
{
    struct metallm__aws_environment here;
    if (o->from == NULL)
        metallm__aws_environment_read(&here);
    const struct metallm__aws_environment *from = o->from != NULL ? o->from : &here;
    for (size_t i = 0; i < METALLM__AWS_VARIABLES; i++) {
        if (from->at[i] == NULL || from->at[i][0] == '\0')
            continue;
        c->variables[i] = metallm__strdup(from->at[i]);
        c->search.env.at[i] = c->variables[i];
        if (c->variables[i] == NULL)
            return metallm__error_nomem(err, "AWS credentials");
    }
    c->profile = metallm__strdup(o->profile != NULL ? o->profile : "");
    c->search.profile = c->profile;
    return c->profile != NULL ? METALLM_OK : metallm__error_nomem(err, "AWS credentials");
}

static void init_lock(struct metallm__aws_credentials *c)
{
    pthread_condattr_t attr;
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->changed, &attr);
    pthread_condattr_destroy(&attr);
}

int metallm__aws_credentials_new(struct metallm__aws_credentials **out,
                                 const struct metallm__aws_options *options, metallm_error *err)
{
    struct metallm__aws_credentials *c = metallm__calloc(1, sizeof *c);
    if (c == NULL)
        return metallm__error_nomem(err, "AWS credentials");
    atomic_init(&c->references, 1);
    atomic_init(&c->users, 1);
    init_lock(c);
    c->retry_ms = options->retry_ms != 0 ? options->retry_ms : RETRY_MS;
    c->early_s = options->early_s != 0 ? options->early_s : EARLY_S;
    c->search.timeout_ms = options->timeout_ms != 0 ? options->timeout_ms : TIMEOUT_MS;
    c->search.is_stopped = &c->is_stopped;
    int rc = copy_texts(c, options, err);
    if (rc == METALLM_OK && search_and_keep(c) == METALLM_ENOMEM)
        rc = metallm__error_nomem(err, "AWS credentials");
    if (rc == METALLM_OK)
        rc = start_thread(c, err);
    if (rc != METALLM_OK) {
        drop(c);
        return rc;
    }
    *out = c;
    return METALLM_OK;
}

struct metallm__aws_credentials *metallm__aws_credentials_ref(struct metallm__aws_credentials *c)
{
    atomic_fetch_add(&c->users, 1);
    atomic_fetch_add(&c->references, 1);
    return c;
}

void metallm__aws_credentials_unref(struct metallm__aws_credentials *c)
{
    if (c == NULL)
        return;
    if (atomic_fetch_sub(&c->users, 1) == 1) {
        pthread_mutex_lock(&c->lock);
        atomic_store(&c->is_stopped, true);
        pthread_cond_signal(&c->changed);
        pthread_mutex_unlock(&c->lock);
    }
    drop(c);
}

const char *metallm__aws_credentials_profile(const struct metallm__aws_credentials *c)
{
    return c->profile;
}

void metallm__aws_credentials_renew(struct metallm__aws_credentials *c)
{
    pthread_mutex_lock(&c->lock);
    c->is_wanted = true;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

static struct metallm__span put(struct metallm__aws_copy *out, size_t *at, const char *text)
{
    size_t n = strlen(text);
    memcpy(out->bytes + *at, text, n);
    *at += n;
    return metallm__span(out->bytes + *at - n, n);
}

int metallm__aws_credentials_copy(struct metallm__aws_credentials *c, int64_t wall_s,
                                  struct metallm__aws_copy *out, metallm_error *err)
{
    const struct metallm__aws_found *f = &c->found;
    size_t at = 0;
    int rc = METALLM_OK;
    pthread_mutex_lock(&c->lock);
    if (f->provider == METALLM__AWS_NOWHERE || (f->expires_s > 0 && wall_s >= f->expires_s)) {
        rc = metallm__error_set(err, METALLM_ENOTFOUND, "%s%s%s",
                                f->provider == METALLM__AWS_NOWHERE ? "no AWS credentials"
                                                                    : "the AWS credentials expired",
                                c->why[0] != '\0' ? ": " : "", c->why);
    } else {
        out->keys.id = put(out, &at, f->id);
        out->keys.secret = put(out, &at, f->secret);
        out->keys.token = put(out, &at, f->token);
    }
    pthread_mutex_unlock(&c->lock);
    return rc;
}

void metallm__aws_copy_wipe(struct metallm__aws_copy *copy)
{
    size_t n = copy->keys.id.n + copy->keys.secret.n + copy->keys.token.n;
    explicit_bzero(copy->bytes, n);
    copy->keys = (struct metallm__wire_aws_keys){.id = {NULL, 0}};
}

void metallm__aws_credentials_report(struct metallm__aws_credentials *c,
                                     struct metallm__aws_report *out)
{
    pthread_mutex_lock(&c->lock);
    out->provider = c->found.provider;
    out->expires_s = c->found.expires_s;
    memcpy(out->key_id, c->found.id, sizeof out->key_id);
    memcpy(out->why, c->why, sizeof out->why);
    pthread_mutex_unlock(&c->lock);
}
