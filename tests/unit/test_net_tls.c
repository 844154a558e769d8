/* SPDX-License-Identifier: Apache-2.0
 * test_net_tls.c - the HTTP client against the HTTP server over TLS, with certificates made here:
 * who is trusted and who is not, sessions, large bodies, reloading. */
#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/http_client.h"
#include "net/http_server.h"
#include "support/cmocka_all.h"
#include "support/net_peer.h"

/* ---- Certificates ---- */
static char folder[64];

static const char *path_of(const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

struct identity {
    EVP_PKEY *key;
    X509 *certificate;
};

static void extend(X509 *certificate, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    assert_int_equal(X509_add_ext(certificate, e, -1), 1);
    X509_EXTENSION_free(e);
}

/* issuer NULL: signed by itself. days < 0: it is no longer valid. */
static struct identity make(const char *name, const char *alternative,
                            const struct identity *issuer, int days)
{
    static long serial = 1;
    struct identity me = {EVP_EC_gen("P-256"), X509_new()};
    assert_non_null(me.key);
    assert_non_null(me.certificate);
    X509_NAME *subject = X509_get_subject_name(me.certificate);
    X509_set_version(me.certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(me.certificate), serial++);
    X509_gmtime_adj(X509_getm_notBefore(me.certificate), -200L * 86400);
    X509_gmtime_adj(X509_getm_notAfter(me.certificate), (long)days * 86400);
    X509_set_pubkey(me.certificate, me.key);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(me.certificate,
                         issuer == NULL ? subject : X509_get_subject_name(issuer->certificate));
    extend(me.certificate, NID_basic_constraints, issuer == NULL ? "critical,CA:TRUE" : "CA:FALSE");
    if (alternative != NULL)
        extend(me.certificate, NID_subject_alt_name, alternative);
    assert_true(X509_sign(me.certificate, issuer == NULL ? me.key : issuer->key, EVP_sha256()) > 0);
    return me;
}

static void save(const struct identity *me, const char *certificate, const char *key)
{
    FILE *file = fopen(path_of(certificate), "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, me->certificate), 1);
    fclose(file);
    file = fopen(path_of(key), "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_PrivateKey(file, me->key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
}

static void forget(struct identity *me)
{
    X509_free(me->certificate);
    EVP_PKEY_free(me->key);
}

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/metallm_tls_XXXXXX");
    assert_non_null(mkdtemp(folder));
    struct identity ca = make("test CA", NULL, NULL, 10);
    struct identity good = make("localhost", "DNS:localhost,IP:127.0.0.1", &ca, 10);
    struct identity other = make("elsewhere", "DNS:elsewhere.example", &ca, 10);
    struct identity old = make("localhost", "DNS:localhost", &ca, -1);
    struct identity stranger = make("localhost", "DNS:localhost", NULL, 10);
    save(&ca, "ca.pem", "ca.key");
    save(&good, "good.pem", "good.key");
    save(&other, "other.pem", "other.key");
    save(&old, "old.pem", "old.key");
    save(&stranger, "stranger.pem", "stranger.key");
    forget(&ca);
    forget(&good);
    forget(&other);
    forget(&old);
    forget(&stranger);
    return 0;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"ca", "good", "other", "old", "stranger", "live"};
    char name[32];
    (void)state;
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)snprintf(name, sizeof name, "%s.pem", names[i]);
        unlink(path_of(name));
        (void)snprintf(name, sizeof name, "%s.key", names[i]);
        unlink(path_of(name));
    }
    rmdir(folder);
    return 0;
}

/* ---- The world: server and client on one loop ---- */
struct world {
    struct metallm__loop *loop;
    struct metallm__http_server *server;
    struct metallm__tls_server *identity;
    struct metallm__tls_client *trust;
    struct metallm__dns *dns;
    struct metallm__http_pool *pool;
    struct metallm__origin *origin;
    uint16_t port;
    unsigned tls_requests;
    size_t body_n;
    uint64_t sum;
    bool is_over, has_ended;
    char message[128];
    enum metallm__http_call_failure why;
};

#define BIG (3 << 20)
static char big[BIG];

static void handle(void *payload, struct metallm__exchange *x)
{
    static const struct metallm__headers none = {NULL, 0};
    struct world *w = payload;
    const struct metallm__request *q = metallm__exchange_request(x);
    w->tls_requests += q->is_tls;
    if (metallm__span_is(q->path, "/big"))
        metallm__reply(x, 200, none, metallm__span(big, BIG), NULL);
    else
        metallm__reply(x, 200, none, q->body, NULL);
}

static void on_head(void *owner, const struct metallm__http_answer *a)
{
    (void)owner;
    assert_int_equal(a->status, 200);
}

static void on_body(void *owner, struct metallm__span piece)
{
    struct world *w = owner;
    for (size_t i = 0; i < piece.n; i++)
        w->sum = w->sum * 31 + (unsigned char)piece.p[i];
    w->body_n += piece.n;
}

static void on_end(void *owner)
{
    struct world *w = owner;
    w->is_over = w->has_ended = true;
}

static void on_failed(void *owner, const struct metallm__http_call_fault *fault)
{
    struct world *w = owner;
    w->is_over = true;
    w->why = fault->why;
    (void)snprintf(w->message, sizeof w->message, "%s", fault->message);
}

static void start(struct world *w, const char *name, const char *host, const char *ca,
                  bool insecure)
{
    struct sockaddr_storage address;
    struct metallm__http_limits limits = metallm__http_limits_default();
    struct metallm__http_server_options opts = {.limits = &limits, .handle = handle, .payload = w};
    struct metallm__tls_client_options trust = {.ca_path = ca == NULL ? NULL : path_of(ca),
                                                .insecure = insecure};
    char certificate[32], key[32];
    int fd;
    *w = (struct world){0};
    (void)snprintf(certificate, sizeof certificate, "%s.pem", name);
    (void)snprintf(key, sizeof key, "%s.key", name);
    assert_int_equal(metallm__loop_new(&w->loop, NULL, NULL), METALLM_OK);
    assert_int_equal(
        metallm__tls_server_new(&w->identity, path_of(certificate), path_of(key), NULL),
        METALLM_OK);
    assert_int_equal(metallm__tls_client_new(&w->trust, &trust, NULL), METALLM_OK);
    assert_int_equal(metallm__address_parse("127.0.0.1:0", &address, NULL), METALLM_OK);
    assert_int_equal(metallm__listen_open(&address, false, &fd, &w->port, NULL), METALLM_OK);
    assert_int_equal(metallm__http_server_new(&w->server, w->loop, &opts, NULL), METALLM_OK);
    assert_int_equal(metallm__http_server_listen(w->server, fd, w->identity, NULL), METALLM_OK);
    assert_int_equal(metallm__dns_new(&w->dns, w->loop, NULL, NULL), METALLM_OK);
    assert_int_equal(metallm__http_pool_new(&w->pool, w->loop, w->dns, NULL, NULL), METALLM_OK);
    assert_int_equal(metallm__origin_get(&w->origin, w->pool, host, w->port, w->trust, NULL),
                     METALLM_OK);
}

static void stop(struct world *w)
{
    metallm__origin_put(w->origin);
    metallm__http_pool_free(w->pool);
    metallm__dns_free(w->dns);
    metallm__http_server_free(w->server);
    metallm__loop_free(w->loop);
    metallm__tls_server_free(w->identity);
    metallm__tls_client_free(w->trust);
}

static void call(struct world *w, const char *target, struct metallm__span body, bool fresh)
{
    static const struct metallm__http_call_events events = {
        .head = on_head, .body = on_body, .end = on_end, .failed = on_failed};
    struct metallm__http_call *c;
    struct metallm__http_call_options o = {.origin = w->origin,
                                           .method = METALLM__POST,
                                           .target = metallm__span_of(target),
                                           .body = &body,
                                           .body_count = 1,
                                           .fresh = fresh,
                                           .total_ns = UINT64_C(30000000000)};
    w->is_over = w->has_ended = false;
    w->body_n = 0;
    w->sum = 0;
    assert_int_equal(metallm__http_call_start(&c, &o, &events, w, NULL), METALLM_OK);
    assert_true(net_wait(w->loop, &w->is_over));
}

static uint64_t sum_of(const char *bytes, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum = sum * 31 + (unsigned char)bytes[i];
    return sum;
}

static void requests_and_answers_of_all_sizes_pass(void **state)
{
    (void)state;
    struct world w;
    static const size_t sizes[] = {0, 1, 600, 16384, 16385, 100000, BIG};
    for (size_t i = 0; i < BIG; i++)
        big[i] = (char)(i * 2654435761u >> 13);
    start(&w, "good", "localhost", "ca.pem", false);
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        call(&w, "/echo", metallm__span(big, sizes[i]), i % 2 == 1);
        assert_string_equal(w.message, "");
        assert_true(w.has_ended);
        assert_int_equal(w.body_n, sizes[i]);
        assert_true(w.sum == sum_of(big, sizes[i]));
    }
    call(&w, "/big", metallm__span("x", 1), false);
    assert_int_equal(w.body_n, BIG);
    assert_true(w.sum == sum_of(big, BIG));
    assert_int_equal(w.tls_requests, 8);
    struct metallm__http_call_counts counts;
    metallm__http_pool_counts(w.pool, &counts);
    assert_in_range(counts.reuses, 3, 7);
    stop(&w);
}

static void only_the_right_certificate_is_trusted(void **state)
{
    (void)state;
    static const struct {
        const char *name, *host, *ca;
        bool insecure, is_fine;
        const char *why;
    } cases[] = {
        {"good", "localhost", "ca.pem", false, true, ""},
        {"good", "127.0.0.1", "ca.pem", false, true, ""},
        {"good", "localhost", NULL, false, false, "certificate"}, /* the system's store */
        {"other", "localhost", "ca.pem", false, false, "hostname mismatch"},
        {"other", "127.0.0.1", "ca.pem", false, false, "IP address mismatch"},
        {"old", "localhost", "ca.pem", false, false, "expired"},
        {"stranger", "localhost", "ca.pem", false, false, "self-signed certificate"},
        {"stranger", "localhost", NULL, true, true, ""},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world w;
        start(&w, cases[i].name, cases[i].host, cases[i].ca, cases[i].insecure);
        call(&w, "/echo", metallm__span("hello", 5), false);
        assert_int_equal(w.has_ended, cases[i].is_fine);
        if (!cases[i].is_fine) {
            assert_int_equal(w.why, METALLM__HTTP_TLS);
            assert_non_null(strstr(w.message, cases[i].why));
            assert_int_equal(w.tls_requests, 0); /* nothing was sent to it */
        }
        stop(&w);
    }
}

static void a_certificate_is_replaced_while_serving(void **state)
{
    (void)state;
    struct world w;
    char command[300];
    (void)snprintf(command, sizeof command, "cd %s && cp good.pem live.pem && cp good.key live.key",
                   folder);
    assert_int_equal(system(command), 0);
    start(&w, "live", "localhost", "ca.pem", false);
    call(&w, "/echo", metallm__span("a", 1), false);
    assert_true(w.has_ended);
    (void)snprintf(command, sizeof command, "cd %s && cp other.pem live.pem", folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(metallm__tls_server_reload(w.identity, NULL), METALLM_EFORMAT);
    call(&w, "/echo", metallm__span("a", 1), true); /* the old one stays */
    assert_true(w.has_ended);
    (void)snprintf(command, sizeof command, "cd %s && cp other.key live.key", folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(metallm__tls_server_reload(w.identity, NULL), METALLM_OK);
    call(&w, "/echo", metallm__span("a", 1), false); /* a kept connection goes on */
    assert_true(w.has_ended);
    metallm__tls_client_free(w.trust);
    metallm__origin_put(w.origin);
    struct metallm__tls_client_options trust = {.ca_path = path_of("ca.pem")};
    assert_int_equal(metallm__tls_client_new(&w.trust, &trust, NULL), METALLM_OK);
    assert_int_equal(metallm__origin_get(&w.origin, w.pool, "localhost", w.port, w.trust, NULL),
                     METALLM_OK);
    call(&w, "/echo", metallm__span("a", 1), true);
    assert_false(w.has_ended);
    assert_non_null(strstr(w.message, "hostname mismatch"));
    stop(&w);
}

static void bad_files_are_named(void **state)
{
    (void)state;
    struct metallm__tls_server *server = NULL;
    struct metallm__tls_client *client = NULL;
    metallm_error err;
    struct metallm__tls_client_options trust = {.ca_path = "/nonexistent/ca.pem"};
    assert_true(metallm__tls_server_new(&server, "/nonexistent/c.pem", path_of("good.key"), &err) <
                0);
    assert_non_null(strstr(err.message, "'/nonexistent/c.pem'"));
    assert_true(metallm__tls_server_new(&server, path_of("good.pem"), path_of("other.key"), &err) <
                0);
    assert_non_null(strstr(err.message, "other.key"));
    assert_true(metallm__tls_client_new(&client, &trust, &err) < 0);
    assert_non_null(strstr(err.message, "'/nonexistent/ca.pem'"));
    assert_null(server);
    assert_null(client);
}

static void plain_http_to_a_tls_port_is_cut(void **state)
{
    (void)state;
    struct world w;
    struct net_peer p;
    start(&w, "good", "localhost", "ca.pem", false);
    net_connect(&p, w.port);
    net_say(w.loop, &p, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(net_ends(w.loop, &p));
    net_free(&p);
    stop(&w);
}

static void a_handshake_that_does_not_come_is_timed(void **state)
{
    (void)state;
    static const struct metallm__http_call_events events = {
        .head = on_head, .body = on_body, .end = on_end, .failed = on_failed};
    struct world w;
    struct net_peer p;
    struct metallm__http_call *c;
    struct metallm__origin *silent = NULL;
    uint16_t port;
    int listener = net_listen(&port);
    start(&w, "good", "localhost", "ca.pem", false);
    assert_int_equal(metallm__origin_get(&silent, w.pool, "localhost", port, w.trust, NULL),
                     METALLM_OK);
    struct metallm__http_call_options o = {.origin = silent,
                                           .method = METALLM__GET,
                                           .target = METALLM__SPAN("/"),
                                           .connect_ns = UINT64_C(300000000)};
    assert_int_equal(metallm__http_call_start(&c, &o, &events, &w, NULL), METALLM_OK);
    net_accept(w.loop, listener, &p);
    assert_true(net_wait(w.loop, &w.is_over));
    assert_int_equal(w.why, METALLM__HTTP_TIMEOUT_CONNECT);
    assert_string_equal(w.message, "no TLS handshake in time");
    assert_true(net_ends(w.loop, &p));
    net_free(&p);
    close(listener);
    metallm__origin_put(silent);
    stop(&w);
}

static void a_session_is_used_again(void **state)
{
    (void)state;
    struct world w;
    start(&w, "good", "localhost", "ca.pem", false);
    for (int i = 0; i < 3; i++) {
        call(&w, "/echo", metallm__span("a", 1), true);
        assert_true(w.has_ended);
    }
    struct metallm__http_call_counts counts;
    metallm__http_pool_counts(w.pool, &counts);
    assert_int_equal(counts.connects, 3);
    assert_int_equal(counts.resumed, 2);
    stop(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_and_answers_of_all_sizes_pass),
        cmocka_unit_test(only_the_right_certificate_is_trusted),
        cmocka_unit_test(a_certificate_is_replaced_while_serving),
        cmocka_unit_test(bad_files_are_named),
        cmocka_unit_test(plain_http_to_a_tls_port_is_cut),
        cmocka_unit_test(a_handshake_that_does_not_come_is_timed),
        cmocka_unit_test(a_session_is_used_again),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
