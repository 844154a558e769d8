/* SPDX-License-Identifier: Apache-2.0
 * tls.h - TLS settings for both sides (OpenSSL, TLS 1.2 and later, ALPN http/1.1). The records are
 * shared by all loops: making, reloading, referring and freeing are safe from any thread. */
#ifndef NET_TLS_H
#define NET_TLS_H
#include <stdbool.h>

#include "metallm/base.h"

/* ---- A server's certificate. ---- */
struct metallm__tls_server;
/* PEM files: the chain, leaf first, and its key. METALLM_EIO, METALLM_EFORMAT: with the file's
 * name; a key that does not belong to the certificate is refused. */
METALLM_MUSTCHECK int metallm__tls_server_new(struct metallm__tls_server **out,
                                              const char *cert_path, const char *key_path,
                                              metallm_error *err);
/* Reads the same files again; connections that stand keep what they have. If it fails the old
 * certificate stays. */
METALLM_MUSTCHECK int metallm__tls_server_reload(struct metallm__tls_server *tls,
                                                 metallm_error *err);
struct metallm__tls_server *metallm__tls_server_ref(struct metallm__tls_server *tls);
void metallm__tls_server_free(struct metallm__tls_server *tls); /* gives one reference back */

/* ---- What a client asks of servers. ---- */
struct metallm__tls_client;
struct metallm__tls_client_options {
    const char *ca_path; /* PEM file of trusted certificates; NULL: the system's store */
    bool insecure;       /* neither chain nor name is checked: for tests and closed networks */
};
METALLM_MUSTCHECK int metallm__tls_client_new(struct metallm__tls_client **out,
                                              const struct metallm__tls_client_options *opts,
                                              metallm_error *err);
struct metallm__tls_client *metallm__tls_client_ref(struct metallm__tls_client *tls);
void metallm__tls_client_free(struct metallm__tls_client *tls);

#endif
