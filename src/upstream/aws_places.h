/* SPDX-License-Identifier: Apache-2.0
 * aws_places.h - the places where keys for AWS are looked for; for aws_credentials.c alone. */
#ifndef UPSTREAM_AWS_PLACES_H
#define UPSTREAM_AWS_PLACES_H
#include <stdatomic.h>

#include "upstream/aws_credentials.h"

#define METALLM__AWS_ANSWER_BYTES_MAX 65536u /* of an endpoint */

/* What a place gave: texts closed by NUL. Secret. */
struct metallm__aws_found {
    enum metallm__aws_provider provider;
    char id[METALLM__SIGV4_ID_BYTES_MAX + 1], secret[METALLM__SIGV4_SECRET_BYTES_MAX + 1],
        token[METALLM__SIGV4_TOKEN_BYTES_MAX + 1];
    int64_t expires_s; /* 0: never */
};

struct metallm__aws_search {
    struct metallm__aws_environment env;
    const char *profile; /* "": not named by the caller */
    uint32_t timeout_ms;
    const atomic_bool *is_stopped; /* ends a call that is under way */
};

/* All of the following: METALLM_OK with *out, whose strings are checked; METALLM_ENOTFOUND: nothing
 * is said there, look at the next place; any other: what is there is wrong, with a sentence. */
int metallm__aws_from_environment(const struct metallm__aws_search *s,
                                  struct metallm__aws_found *out, metallm_error *err);
int metallm__aws_from_files(const struct metallm__aws_search *s, struct metallm__aws_found *out,
                            metallm_error *err);
int metallm__aws_from_container(const struct metallm__aws_search *s, struct metallm__aws_found *out,
                                metallm_error *err);
int metallm__aws_from_instance(const struct metallm__aws_search *s, struct metallm__aws_found *out,
                               metallm_error *err);

/* A variable's value; "": not set. */
const char *metallm__aws_variable(const struct metallm__aws_search *s,
                                  enum metallm__aws_variable variable);
/* Copies the three texts; token may be empty. METALLM_EINVAL: one is too long or holds what no
 * header can hold. place: "the environment". */
int metallm__aws_found_set(struct metallm__aws_found *out, enum metallm__aws_provider provider,
                           const struct metallm__wire_aws_keys *keys, metallm_error *err);

/* One HTTP call. */
struct metallm__aws_call {
    const char *url;
    bool is_put;
    const char *header;       /* "name: value"; NULL: none. Secret */
    struct metallm__buf body; /* made by the call; the caller wipes and frees it */
    long status;
};
/* METALLM_EIO, METALLM_ETIMEOUT: no answer came. */
int metallm__aws_get(const struct metallm__aws_search *s, struct metallm__aws_call *call,
                     metallm_error *err);
void metallm__aws_call_wipe(struct metallm__aws_call *call);

#endif
