/* SPDX-License-Identifier: Apache-2.0
 * tls.c - the settings that connections share: certificate and key of a server, trust of a client.
 * A server's are replaced whole under a lock that is held for a pointer and a count alone. */
#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/error.h"
#include "base/mem.h"
#include "net/dns.h"
#include "net/tls_internal.h"

struct metallm__tls_server {
    atomic_uint refs;
    pthread_mutex_t lock; /* of context */
    SSL_CTX *context;
    char *cert_path, *key_path;
};

struct metallm__tls_client {
    atomic_uint refs;
    bool insecure;
    SSL_CTX *context;
};

static const unsigned char alpn_http1[] = "\x08http/1.1";
#define ALPN_BYTES (sizeof alpn_http1 - 1)

static const char *reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    return text != NULL ? text : "unknown reason";
}

static void common_settings(SSL_CTX *context)
{
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

/* ---- Server ---- */
static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n,
                       const unsigned char *in, unsigned in_n, void *arg)
{
    (void)ssl;
    (void)arg;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_n, alpn_http1, ALPN_BYTES, in, in_n) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL; /* it speaks no HTTP/1.1 */
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* A key file that asks for a password is refused, not waited for on the terminal. */
static int no_password(char *buf, int size, int rwflag, void *payload)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)payload;
    return -1;
}

static int read_server(SSL_CTX **out, const char *cert_path, const char *key_path,
                       metallm_error *err)
{
    static const unsigned char context_name[] = "metallm";
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL)
        return metallm__error_nomem(err, "TLS settings");
    common_settings(context);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS); /* of thousands of idle clients */
    SSL_CTX_set_default_passwd_cb(context, no_password);
    SSL_CTX_set_alpn_select_cb(context, choose_alpn, NULL);
    SSL_CTX_set_session_id_context(context, context_name, sizeof context_name - 1);
    int rc = METALLM_OK;
    if (SSL_CTX_use_certificate_chain_file(context, cert_path) != 1)
        rc = metallm__error_set(err, METALLM_EFORMAT, "cannot use the certificate '%s': %s",
                                cert_path, reason());
    else if (SSL_CTX_use_PrivateKey_file(context, key_path, SSL_FILETYPE_PEM) != 1 ||
             SSL_CTX_check_private_key(context) != 1)
        rc = metallm__error_set(err, METALLM_EFORMAT,
                                "cannot use the key '%s' with the certificate '%s': %s", key_path,
                                cert_path, reason());
    if (rc == METALLM_OK)
        *out = context;
    else
        SSL_CTX_free(context);
    ERR_clear_error();
    return rc;
}

int metallm__tls_server_new(struct metallm__tls_server **out, const char *cert_path,
                            const char *key_path, metallm_error *err)
{
    struct metallm__tls_server *tls = metallm__calloc(1, sizeof *tls);
    if (tls == NULL)
        return metallm__error_nomem(err, "TLS settings");
    atomic_init(&tls->refs, 1);
    pthread_mutex_init(&tls->lock, NULL);
    tls->cert_path = metallm__strdup(cert_path);
    tls->key_path = metallm__strdup(key_path);
    int rc = tls->cert_path == NULL || tls->key_path == NULL
                 ? metallm__error_nomem(err, "TLS settings")
                 : read_server(&tls->context, cert_path, key_path, err);
    if (rc == METALLM_OK)
        *out = tls;
    else
        metallm__tls_server_free(tls);
    return rc;
}

int metallm__tls_server_reload(struct metallm__tls_server *tls, metallm_error *err)
{
    SSL_CTX *fresh = NULL;
    int rc = read_server(&fresh, tls->cert_path, tls->key_path, err);
    if (rc != METALLM_OK)
        return rc;
    pthread_mutex_lock(&tls->lock);
    SSL_CTX *old = tls->context;
    tls->context = fresh;
    pthread_mutex_unlock(&tls->lock);
    SSL_CTX_free(old); /* connections that use it have a reference of their own */
    return METALLM_OK;
}

struct metallm__tls_server *metallm__tls_server_ref(struct metallm__tls_server *tls)
{
    atomic_fetch_add(&tls->refs, 1);
    return tls;
}

void metallm__tls_server_free(struct metallm__tls_server *tls)
{
    if (tls == NULL || atomic_fetch_sub(&tls->refs, 1) != 1)
        return;
    SSL_CTX_free(tls->context);
    pthread_mutex_destroy(&tls->lock);
    metallm__free(tls->cert_path);
    metallm__free(tls->key_path);
    metallm__free(tls);
}

SSL *metallm__tls_server_ssl(struct metallm__tls_server *tls, BIO *io)
{
    pthread_mutex_lock(&tls->lock);
    SSL *ssl = SSL_new(tls->context);
    pthread_mutex_unlock(&tls->lock);
    if (ssl != NULL) {
        SSL_set_bio(ssl, io, io);
        SSL_set_accept_state(ssl);
    }
    return ssl;
}

/* ---- Client ---- */
static int trust(SSL_CTX *context, const struct metallm__tls_client_options *opts,
                 metallm_error *err)
{
    if (opts->insecure) {
        SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
        return METALLM_OK;
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    if (opts->ca_path == NULL) {
        if (SSL_CTX_set_default_verify_paths(context) == 1)
            return METALLM_OK;
        return metallm__error_set(err, METALLM_EIO, "cannot find the system's certificates: %s",
                                  reason());
    }
    if (SSL_CTX_load_verify_file(context, opts->ca_path) == 1)
        return METALLM_OK;
    return metallm__error_set(err, METALLM_EFORMAT, "cannot use the certificates in '%s': %s",
                              opts->ca_path, reason());
}

int metallm__tls_client_new(struct metallm__tls_client **out,
                            const struct metallm__tls_client_options *opts, metallm_error *err)
{
    ERR_clear_error();
    struct metallm__tls_client *tls = metallm__calloc(1, sizeof *tls);
    SSL_CTX *context = tls == NULL ? NULL : SSL_CTX_new(TLS_client_method());
    if (context == NULL) {
        metallm__free(tls);
        return metallm__error_nomem(err, "TLS settings");
    }
    *tls = (struct metallm__tls_client){.insecure = opts->insecure, .context = context};
    atomic_init(&tls->refs, 1);
    common_settings(context);
    SSL_CTX_set_session_cache_mode(context,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(context, metallm__stream_tls_keep_session);
    int rc = SSL_CTX_set_alpn_protos(context, alpn_http1, ALPN_BYTES) != 0
                 ? metallm__error_nomem(err, "TLS settings")
                 : trust(context, opts, err);
    ERR_clear_error();
    if (rc == METALLM_OK)
        *out = tls;
    else
        metallm__tls_client_free(tls);
    return rc;
}

struct metallm__tls_client *metallm__tls_client_ref(struct metallm__tls_client *tls)
{
    atomic_fetch_add(&tls->refs, 1);
    return tls;
}

void metallm__tls_client_free(struct metallm__tls_client *tls)
{
    if (tls == NULL || atomic_fetch_sub(&tls->refs, 1) != 1)
        return;
    SSL_CTX_free(tls->context);
    metallm__free(tls);
}

static bool expect_host(SSL *ssl, const char *host)
{
    struct sockaddr_storage numeric;
    if (metallm__address_numeric(host, 0, &numeric))
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(ssl, host) == 1 && SSL_set1_host(ssl, host) == 1;
}

SSL *metallm__tls_client_ssl(struct metallm__tls_client *tls, BIO *io, const char *host)
{
    SSL *ssl = SSL_new(tls->context);
    if (ssl == NULL)
        return NULL;
    if (!expect_host(ssl, host)) {
        SSL_free(ssl);
        return NULL;
    }
    SSL_set_bio(ssl, io, io);
    SSL_set_connect_state(ssl);
    return ssl;
}
