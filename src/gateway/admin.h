/* SPDX-License-Identifier: Apache-2.0
 * admin.h - the admin API as a function from request to answer (docs/operations.md lists its
 * paths). What it changes goes into the store and lies over the config file until it is taken back;
 * the caller puts it into force afterwards, as `effects` tells. Blocks on the store and reads the
 * config file: not for a loop's thread. Who may call it is the caller's to check. */
#ifndef GATEWAY_ADMIN_H
#define GATEWAY_ADMIN_H
#include "base/buf.h"
#include "gateway/config.h"
#include "gateway/keys.h"
#include "gateway/limits.h"
#include "gateway/status.h"
#include "store/ledger.h"

#define METALLM__ADMIN_BODY_MAX ((size_t)256 << 10) /* of a request */

enum metallm__admin_effect {
    METALLM__ADMIN_KEYS = 1,   /* load and publish the keyring again */
    METALLM__ADMIN_CONFIG = 2, /* load the config again, with the changes of the store */
};

struct metallm__admin {
    struct metallm__store *store; /* within a transaction, committed if METALLM_OK comes back */
    const struct metallm__config *config; /* in force */
    struct metallm__limits *limits;       /* for what keys spent; may be NULL */
    const struct metallm__status *status; /* for what models and routers did; may be NULL */
    uint64_t wall_ms;
};
struct metallm__admin_request {
    const char *method; /* "GET", ... */
    const char *path;   /* "/admin/keys", as the client sent it, without what follows '?' */
    const char *body;
    size_t body_len;
};
struct metallm__admin_answer {
    int status;               /* HTTP */
    unsigned effects;         /* METALLM__ADMIN_* */
    struct metallm__buf body; /* JSON; the caller's to free, also after an error */
};
/* Always fills *out, an OpenAI error object where it failed. A result other than METALLM_OK: the
 * transaction is to be aborted. */
int metallm__admin_do(const struct metallm__admin *a, const struct metallm__admin_request *request,
                      struct metallm__admin_answer *out);

/* The config as JSON, as in the file, secrets masked. */
void metallm__config_json(const struct metallm__config *c, struct metallm__buf *out);
#endif
