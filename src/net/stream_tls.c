/* SPDX-License-Identifier: Apache-2.0
 * stream_tls.c - OpenSSL between a stream's socket and its owner. A BIO of our own reads records
 * from the bytes at hand and collects outgoing ones in a block, so that nothing is copied but
 * into and out of the cipher, and what one call writes leaves in one system call. */
#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include "base/error.h"
#include "base/mem.h"
#include "net/stream_internal.h"
#include "net/tls_internal.h"

#define RECORD_BYTES 16384u
#define FLUSH_BYTES  (METALLM__READ_BYTES - RECORD_BYTES - 1024u) /* so that a record still fits */

struct stream_tls {
    SSL *ssl;
    BIO_METHOD *method;
    struct metallm__loop *loop;
    struct metallm__span in; /* not yet read by OpenSSL */
    char *out;               /* records not yet sent; a block of the loop, NULL: none */
    size_t out_n, out_bytes;
    char *kept; /* what was at hand when the owner paused */
    struct metallm__tls_ticket *ticket;
    struct metallm__tls_client *client;
    struct metallm__tls_server *server;
};

/* ---- The BIO ---- */
static int bio_read(BIO *bio, char *out, int n)
{
    struct stream_tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (tls->in.n == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t take = (size_t)n < tls->in.n ? (size_t)n : tls->in.n;
    memcpy(out, tls->in.p, take);
    tls->in.p += take;
    tls->in.n -= take;
    return (int)take;
}

static bool make_room(struct stream_tls *tls, size_t need)
{
    if (tls->out_bytes - tls->out_n >= need)
        return true;
    size_t got = 0;
    char *more = metallm__loop_block(tls->loop, tls->out_n + need, &got);
    if (more == NULL)
        return false;
    if (tls->out_n > 0)
        memcpy(more, tls->out, tls->out_n);
    metallm__loop_unblock(tls->loop, tls->out, tls->out_bytes);
    tls->out = more;
    tls->out_bytes = got;
    return true;
}

static int bio_write(BIO *bio, const char *bytes, int n)
{
    struct stream_tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (n <= 0 || !make_room(tls, (size_t)n))
        return -1;
    memcpy(tls->out + tls->out_n, bytes, (size_t)n);
    tls->out_n += (size_t)n;
    return n;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO *make_bio(struct stream_tls *tls)
{
    tls->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "metallm");
    if (tls->method == NULL || BIO_meth_set_read(tls->method, bio_read) != 1 ||
        BIO_meth_set_write(tls->method, bio_write) != 1 ||
        BIO_meth_set_ctrl(tls->method, bio_ctrl) != 1)
        return NULL;
    BIO *bio = BIO_new(tls->method);
    if (bio != NULL) {
        BIO_set_data(bio, tls);
        BIO_set_init(bio, 1);
    }
    return bio;
}

/* ---- Life ---- */
int metallm__stream_tls_keep_session(SSL *ssl, SSL_SESSION *session)
{
    struct stream_tls *tls = SSL_get_app_data(ssl);
    if (tls == NULL || tls->ticket == NULL)
        return 0;
    metallm__tls_ticket_fini(tls->ticket);
    tls->ticket->session = session;
    return 1;
}

void metallm__tls_ticket_fini(struct metallm__tls_ticket *ticket)
{
    SSL_SESSION_free(ticket->session);
    ticket->session = NULL;
}

static struct stream_tls *make_tls(struct metallm__stream *s, BIO **bio)
{
    struct stream_tls *tls = metallm__calloc(1, sizeof *tls);
    if (tls == NULL)
        return NULL;
    tls->loop = s->loop;
    s->tls = tls; /* freed with the stream */
    *bio = make_bio(tls);
    return *bio == NULL ? NULL : tls;
}

int metallm__stream_tls_server(struct metallm__stream *s, struct metallm__tls_server *settings)
{
    BIO *bio = NULL;
    struct stream_tls *tls = make_tls(s, &bio);
    if (tls == NULL)
        return METALLM_ENOMEM;
    tls->ssl = metallm__tls_server_ssl(settings, bio);
    if (tls->ssl == NULL) {
        BIO_free(bio);
        return METALLM_ENOMEM;
    }
    tls->server = metallm__tls_server_ref(settings);
    SSL_set_app_data(tls->ssl, tls);
    s->state = STREAM_HANDSHAKE;
    return METALLM_OK;
}

int metallm__stream_tls_client(struct metallm__stream *s, struct metallm__tls_client *settings,
                               const char *host, struct metallm__tls_ticket *ticket)
{
    BIO *bio = NULL;
    struct stream_tls *tls = make_tls(s, &bio);
    if (tls == NULL)
        return METALLM_ENOMEM;
    tls->ssl = metallm__tls_client_ssl(settings, bio, host);
    if (tls->ssl == NULL) {
        BIO_free(bio);
        return METALLM_ENOMEM;
    }
    tls->client = metallm__tls_client_ref(settings);
    tls->ticket = ticket;
    SSL_set_app_data(tls->ssl, tls);
    if (ticket != NULL && ticket->session != NULL)
        (void)SSL_set_session(tls->ssl, ticket->session); /* else a whole handshake */
    return METALLM_OK;
}

bool metallm__stream_is_resumed(const struct metallm__stream *s)
{
    return s->tls != NULL && SSL_session_reused(s->tls->ssl) == 1;
}

void metallm__stream_tls_forget(struct metallm__stream *s)
{
    if (s->tls != NULL)
        s->tls->ticket = NULL;
}

void metallm__stream_tls_free(struct metallm__stream *s)
{
    struct stream_tls *tls = s->tls;
    if (tls == NULL)
        return;
    SSL_free(tls->ssl);
    BIO_meth_free(tls->method);
    metallm__loop_unblock(tls->loop, tls->out, tls->out_bytes);
    metallm__free(tls->kept);
    metallm__tls_client_free(tls->client);
    metallm__tls_server_free(tls->server);
    metallm__free(tls);
}

/* ---- Out ---- */
static void flush(struct metallm__stream *s)
{
    struct stream_tls *tls = s->tls;
    if (tls->out_n == 0 || s->state == STREAM_ENDED)
        return;
    struct metallm__span span = {tls->out, tls->out_n};
    void *block = tls->out;
    size_t bytes = tls->out_bytes;
    tls->out = NULL;
    tls->out_n = tls->out_bytes = 0;
    metallm__stream_send(s, &span, 1, 0, NULL, block, bytes);
}

static void fail(struct metallm__stream *s, const char *doing)
{
    char why[120];
    unsigned long code = ERR_peek_error();
    long verified = SSL_get_verify_result(s->tls->ssl);
    const char *text = ERR_reason_error_string(code);
    if (s->state == STREAM_HANDSHAKE && verified != X509_V_OK)
        text = X509_verify_cert_error_string(verified);
    (void)snprintf(why, sizeof why, "TLS %s failed: %s", doing,
                   text != NULL ? text : "unknown reason");
    flush(s); /* the alert, if there is one */
    metallm__stream_end(s, METALLM__END_TLS, why);
    ERR_clear_error();
}

static void write_record(struct metallm__stream *s, const char *bytes, size_t n)
{
    while (n > 0 && s->state == STREAM_OPEN) {
        int wrote = SSL_write(s->tls->ssl, bytes, (int)(n < RECORD_BYTES ? n : RECORD_BYTES));
        if (wrote <= 0) {
            fail(s, "writing");
            return;
        }
        bytes += wrote;
        n -= (size_t)wrote;
        if (s->tls->out_n >= FLUSH_BYTES)
            flush(s);
    }
}

void metallm__stream_tls_write(struct metallm__stream *s, const struct metallm__span *spans,
                               size_t count)
{
    char together[RECORD_BYTES]; /* a head and a short body share a record */
    size_t n = 0;
    ERR_clear_error();
    for (size_t i = 0; i < count; i++) {
        const char *p = spans[i].p;
        size_t left = spans[i].n;
        if (n == 0 && i + 1 == count) {
            write_record(s, p, left);
            break;
        }
        while (left > 0) {
            size_t take = left < RECORD_BYTES - n ? left : RECORD_BYTES - n;
            memcpy(together + n, p, take);
            p += take;
            left -= take;
            n += take;
            if (n == RECORD_BYTES)
                write_record(s, together, n), n = 0;
        }
    }
    write_record(s, together, n);
    if (s->state == STREAM_OPEN)
        flush(s);
}

void metallm__stream_tls_notify(struct metallm__stream *s)
{
    ERR_clear_error();
    (void)SSL_shutdown(s->tls->ssl);
    ERR_clear_error();
    flush(s);
}

/* ---- In ---- */
static void shake_hands(struct metallm__stream *s)
{
    ERR_clear_error();
    int rc = SSL_do_handshake(s->tls->ssl);
    if (rc == 1) {
        flush(s);
        if (s->state == STREAM_ENDED)
            return;
        s->state = STREAM_OPEN;
        metallm__stream_connect_stop(s);
        if (s->events->opened != NULL)
            s->events->opened(s->owner);
    } else if (SSL_get_error(s->tls->ssl, rc) == SSL_ERROR_WANT_READ) {
        flush(s);
    } else {
        fail(s, "handshake");
    }
}

void metallm__stream_tls_begin(struct metallm__stream *s)
{
    shake_hands(s);
}

void metallm__stream_tls_pump(struct metallm__stream *s)
{
    char *plain = s->loop->plain_buffer;
    while (s->state == STREAM_HANDSHAKE && s->tls->in.n > 0)
        shake_hands(s);
    while (s->state == STREAM_OPEN && !s->is_paused && !s->is_eof) {
        ERR_clear_error();
        int n = SSL_read(s->tls->ssl, plain, RECORD_BYTES);
        if (n > 0) {
            s->events->bytes(s->owner, metallm__span(plain, (size_t)n));
            continue;
        }
        int why = SSL_get_error(s->tls->ssl, n);
        if (why == SSL_ERROR_ZERO_RETURN)
            metallm__stream_got_eof(s);
        else if (why != SSL_ERROR_WANT_READ)
            fail(s, "reading");
        break;
    }
    if (s->state == STREAM_OPEN && s->tls->out_n > 0)
        flush(s); /* a key update's answer */
}

/* What is at hand when the owner pauses must outlive the loop's read buffer. */
static void keep_rest(struct metallm__stream *s)
{
    struct stream_tls *tls = s->tls;
    struct metallm__span in = tls->in;
    if (s->is_paused) /* perhaps since before the handshake's end */
        metallm__stream_pause(s);
    if (s->state == STREAM_ENDED || s->is_eof || in.n == 0) {
        tls->in.n = 0;
        return;
    }
    char *kept = metallm__alloc(in.n, 1);
    if (kept == NULL) {
        metallm__stream_end(s, METALLM__END_MEMORY, "no memory for what was read");
        return;
    }
    memcpy(kept, in.p, in.n);
    metallm__free(tls->kept);
    tls->kept = kept;
    tls->in.p = kept;
}

void metallm__stream_tls_feed(struct metallm__stream *s, struct metallm__span in)
{
    /* Reading is off while something is kept, but for what libuv had read already. */
    METALLM_REQUIRE(s->tls->in.n == 0);
    s->tls->in = in;
    metallm__stream_tls_pump(s);
    keep_rest(s);
}
