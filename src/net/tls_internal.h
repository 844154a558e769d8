/* SPDX-License-Identifier: Apache-2.0
 * tls_internal.h - settings into connections, for stream_tls.c. */
#ifndef NET_TLS_INTERNAL_H
#define NET_TLS_INTERNAL_H
#include <openssl/ssl.h>

#include "net/tls.h"

/* A connection's SSL with io as its two-way BIO (taken over on success); NULL: no memory. */
SSL *metallm__tls_server_ssl(struct metallm__tls_server *tls, BIO *io);
/* Checks the certificate against host, name or address. */
SSL *metallm__tls_client_ssl(struct metallm__tls_client *tls, BIO *io, const char *host);
/* stream_tls.c: called with each session that a server offers; returns 1 if it keeps it. */
int metallm__stream_tls_keep_session(SSL *ssl, SSL_SESSION *session);

#endif
