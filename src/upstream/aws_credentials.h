/* SPDX-License-Identifier: Apache-2.0
 * aws_credentials.h - the keys that requests to AWS are signed with: found once, shared by all
 * deployments of one profile, and renewed before they expire. Places, in this order: the
 * environment; the shared files (~/.aws/credentials and ~/.aws/config); the container endpoint
 * (ECS, EKS); the instance endpoint (EC2, IMDSv2). A profile that is named by a deployment is
 * looked for in the shared files alone. Sources: AWS, "AWS SDKs and Tools Reference Guide",
 * standardized credential providers. Not looked at: roles to be assumed, single sign-on,
 * credential_process.
 *
 * Keys are read and copied by any thread; a thread of the record's own renews them. They are wiped
 * when they are replaced or the record goes, and stand in no sentence. */
#ifndef UPSTREAM_AWS_CREDENTIALS_H
#define UPSTREAM_AWS_CREDENTIALS_H
#include "wire/bedrock/sigv4.h"
#include "wire/wire.h"

/* What the environment says. */
enum metallm__aws_variable {
    METALLM__AWS_ACCESS_KEY_ID = 0,
    METALLM__AWS_SECRET_ACCESS_KEY,
    METALLM__AWS_SESSION_TOKEN,
    METALLM__AWS_PROFILE,
    METALLM__AWS_CREDENTIALS_FILE,
    METALLM__AWS_CONFIG_FILE,
    METALLM__AWS_RELATIVE_URI,
    METALLM__AWS_FULL_URI,
    METALLM__AWS_CONTAINER_TOKEN,
    METALLM__AWS_CONTAINER_TOKEN_FILE,
    METALLM__AWS_METADATA_DISABLED,
    METALLM__AWS_METADATA_ENDPOINT,
    METALLM__AWS_METADATA_MODE,
    METALLM__AWS_HOME,
    METALLM__AWS_VARIABLES
};
struct metallm__aws_environment {
    const char *at[METALLM__AWS_VARIABLES]; /* NULL and "" are not set */
};
/* Of this process; the texts are the environment's. */
void metallm__aws_environment_read(struct metallm__aws_environment *out);

enum metallm__aws_provider {
    METALLM__AWS_NOWHERE = 0,
    METALLM__AWS_ENVIRONMENT,
    METALLM__AWS_FILES,
    METALLM__AWS_CONTAINER,
    METALLM__AWS_INSTANCE
};
/* "the environment", "the shared files", ...; static. */
const char *metallm__aws_provider_name(enum metallm__aws_provider provider);

/* Zero means the default. Texts are copied. */
struct metallm__aws_options {
    const char *profile;                         /* NULL, "": AWS_PROFILE's, else "default" */
    const struct metallm__aws_environment *from; /* NULL: this process's */
    uint32_t timeout_ms;                         /* of one call of an endpoint: 2,000 */
    uint32_t retry_ms;                           /* least time between two searches: 10,000 */
    uint32_t early_s;                            /* renewed so long before they expire: 900 */
};

struct metallm__aws_credentials;
/* Looks for keys once, which may take a few calls of timeout_ms, and goes on looking in a thread of
 * its own; that none were found is no failure. One reference for the caller. METALLM_ENOMEM. */
METALLM_MUSTCHECK int metallm__aws_credentials_new(struct metallm__aws_credentials **out,
                                                   const struct metallm__aws_options *options,
                                                   metallm_error *err);
struct metallm__aws_credentials *metallm__aws_credentials_ref(struct metallm__aws_credentials *c);
/* NULL is fine. Never waits: the thread ends by itself. */
void metallm__aws_credentials_unref(struct metallm__aws_credentials *c);
/* As given; "": none. */
const char *metallm__aws_credentials_profile(const struct metallm__aws_credentials *c);
/* Looks again soon: after a reload. */
void metallm__aws_credentials_renew(struct metallm__aws_credentials *c);

/* Keys of one moment; keys' spans point into bytes. */
struct metallm__aws_copy {
    struct metallm__wire_aws_keys keys;
    char bytes[METALLM__SIGV4_ID_BYTES_MAX + METALLM__SIGV4_SECRET_BYTES_MAX +
               METALLM__SIGV4_TOKEN_BYTES_MAX];
};
/* METALLM_ENOTFOUND with the reason: there are none, or they have expired by wall_s. The caller
 * wipes the copy. */
METALLM_MUSTCHECK int metallm__aws_credentials_copy(struct metallm__aws_credentials *c,
                                                    int64_t wall_s, struct metallm__aws_copy *out,
                                                    metallm_error *err);
void metallm__aws_copy_wipe(struct metallm__aws_copy *copy);

/* For people: where the keys come from, the id of the key (which is no secret), when they expire
 * (seconds since 1970; 0: never), and why there are none. */
struct metallm__aws_report {
    enum metallm__aws_provider provider;
    char key_id[METALLM__SIGV4_ID_BYTES_MAX + 1];
    int64_t expires_s;
    char why[METALLM_ERROR_BYTES];
};
void metallm__aws_credentials_report(struct metallm__aws_credentials *c,
                                     struct metallm__aws_report *out);

#endif
