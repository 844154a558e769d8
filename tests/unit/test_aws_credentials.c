/* SPDX-License-Identifier: Apache-2.0
 * Keys for AWS out of the environment, the shared files, and endpoints on this machine that are
 * right, slow, wrong or gone. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "support/cmocka_all.h"
#include "support/fail_alloc.h"
#include "support/http_server.h"
#include "upstream/aws_credentials.h"

#define SECRET "wJalr+very/secret"

/* ---- A folder with files. ---- */

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/metallm-aws-XXXXXX");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static char *path_in(char to[128], const char *name)
{
    snprintf(to, 128, "%s/%s", folder, name);
    return to;
}

static void write_file(const char *name, const char *text)
{
    char path[128];
    FILE *f = fopen(path_in(path, name), "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int drop_folder(void **state)
{
    char path[128];
    (void)state;
    unlink(path_in(path, "credentials"));
    unlink(path_in(path, "config"));
    unlink(path_in(path, "token"));
    return rmdir(folder);
}

/* ---- What is found. ---- */

/* "id|secret|token", or the reason why there is nothing. */
static int look(const struct metallm__aws_environment *env, const char *profile, char out[256])
{
    struct metallm__aws_credentials *c = NULL;
    struct metallm__aws_copy copy;
    metallm_error err = {0};
    const struct metallm__aws_options o = {.profile = profile, .from = env, .timeout_ms = 500};
    int rc = metallm__aws_credentials_new(&c, &o, &err);
    if (rc != METALLM_OK)
        return rc;
    rc = metallm__aws_credentials_copy(c, (int64_t)time(NULL), &copy, &err);
    if (rc == METALLM_OK) {
        snprintf(out, 256, "%.*s|%.*s|%.*s", (int)copy.keys.id.n, copy.keys.id.p,
                 (int)copy.keys.secret.n, copy.keys.secret.p, (int)copy.keys.token.n,
                 copy.keys.token.p);
        metallm__aws_copy_wipe(&copy);
        assert_int_equal(copy.bytes[0], 0);
    } else {
        snprintf(out, 256, "%s", err.message);
        assert_null(strstr(err.message, SECRET));
    }
    metallm__aws_credentials_unref(c);
    return rc;
}

static struct metallm__aws_environment nothing(void)
{
    return (struct metallm__aws_environment){.at = {[METALLM__AWS_METADATA_DISABLED] = "true"}};
}

static void the_environment_comes_first(void **state)
{
    (void)state;
    char out[256];
    struct metallm__aws_environment env = nothing();
    write_file("credentials", "[default]\naws_access_key_id=F\naws_secret_access_key=G\n");
    char path[128];
    env.at[METALLM__AWS_CREDENTIALS_FILE] = path_in(path, "credentials");
    env.at[METALLM__AWS_ACCESS_KEY_ID] = "AKID";
    env.at[METALLM__AWS_SECRET_ACCESS_KEY] = SECRET;
    assert_int_equal(look(&env, NULL, out), METALLM_OK);
    assert_string_equal(out, "AKID|" SECRET "|");
    env.at[METALLM__AWS_SESSION_TOKEN] = "tok";
    assert_int_equal(look(&env, "", out), METALLM_OK);
    assert_string_equal(out, "AKID|" SECRET "|tok");
    assert_int_equal(look(&env, "default", out), METALLM_OK); /* named: the files alone */
    assert_string_equal(out, "F|G|");
    env.at[METALLM__AWS_ACCESS_KEY_ID] = NULL;
    assert_int_equal(look(&env, NULL, out), METALLM_ENOTFOUND);
    assert_non_null(strstr(out, "the environment are incomplete"));
    env.at[METALLM__AWS_ACCESS_KEY_ID] = "A\nB";
    assert_int_equal(look(&env, NULL, out), METALLM_ENOTFOUND);
    assert_non_null(strstr(out, "control characters"));
}

static void profiles_are_read_out_of_the_files(void **state)
{
    static const struct {
        const char *profile, *variable; /* AWS_PROFILE */
        const char *found;              /* or a part of the reason */
    } rows[] = {
        {NULL, NULL, "D|" SECRET "=x|"},
        {"work", NULL, "W|" SECRET "|T"},
        {NULL, "work", "W|" SECRET "|T"},
        {"work", "other", "W|" SECRET "|T"},
        {"other", NULL, "O|" SECRET "|"},
        {"with blank", NULL, "B|" SECRET "|"},
        {"sso", NULL, "profile 'sso' has no aws_access_key_id"},
        {NULL, "sso", "no endpoint to ask"},
        {"none", NULL, "profile 'none' is in none"},
        {NULL, "none", "profile 'none' is in none"},
        {"nested", NULL, "no aws_access_key_id"},
        {"half", NULL, "incomplete"},
        {"long", NULL, "too long"},
    };
    (void)state;
    char credentials[2048], longest[300], path[2][128], out[256];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    snprintf(credentials, sizeof credentials,
             "# [default]\n; a comment\r\n[ default ]\r\naws_access_key_id = D\r\n"
             "AWS_SECRET_ACCESS_KEY=" SECRET "=x\r\nregion = x\r\n\n[work]\n"
             "aws_access_key_id\t=\tW \naws_secret_access_key= " SECRET "\naws_session_token=T\n"
             "[half]\naws_access_key_id = H\n[long]\naws_access_key_id=L\n"
             "aws_secret_access_key=%s\n[nested]\ns3 =\n  aws_access_key_id = N\n[unclosed",
             longest);
    write_file("credentials", credentials);
    write_file("config", "[work]\naws_access_key_id=no\n[profile work]\naws_access_key_id=no\n"
                         "aws_secret_access_key=no\n[profile other]\naws_access_key_id=O\n"
                         "aws_secret_access_key=" SECRET "\n[profile   with blank]\n"
                         "aws_access_key_id=B\naws_secret_access_key=" SECRET
                         "\n[profile sso]\nsso_session = x");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct metallm__aws_environment env = nothing();
        env.at[METALLM__AWS_CREDENTIALS_FILE] = path_in(path[0], "credentials");
        env.at[METALLM__AWS_CONFIG_FILE] = path_in(path[1], "config");
        env.at[METALLM__AWS_PROFILE] = rows[i].variable;
        int rc = look(&env, rows[i].profile, out);
        assert_int_equal(rc, strchr(rows[i].found, '|') != NULL ? METALLM_OK : METALLM_ENOTFOUND);
        assert_non_null(strstr(out, rows[i].found));
    }
}

static void files_lie_in_the_home_where_nothing_else_is_said(void **state)
{
    (void)state;
    char out[256], path[160];
    struct metallm__aws_environment env = nothing();
    write_file("credentials", "[default]\naws_access_key_id=F\naws_secret_access_key=G\n");
    env.at[METALLM__AWS_HOME] = folder;
    assert_int_equal(look(&env, NULL, out), METALLM_ENOTFOUND); /* there is no .aws */
    env.at[METALLM__AWS_CREDENTIALS_FILE] = "~/credentials";
    assert_int_equal(look(&env, NULL, out), METALLM_OK);
    assert_string_equal(out, "F|G|");
    env.at[METALLM__AWS_CREDENTIALS_FILE] = NULL;
    snprintf(path, sizeof path, "%s/.aws", folder);
    assert_int_equal(symlink(folder, path), 0);
    assert_int_equal(look(&env, NULL, out), METALLM_OK);
    assert_string_equal(out, "F|G|");
    unlink(path);
}

/* ---- Endpoints. ---- */

struct script {
    struct http_server server;
    atomic_bool has_wrong_head; /* a request without what it must carry has come */
    int status;                 /* of the credentials' answer; 0: 200 */
    int token_status;
    int delay_ms;
    const char *role, *body;     /* body: in place of the keys */
    long expires_in_s;           /* 0: never */
    _Atomic(const char *) token; /* that a container must send */
    atomic_uint given;           /* keys so far: "K1", "K2", ... */
};

static void give_keys(struct script *s, int fd)
{
    char body[512], when[40] = "";
    time_t t = time(NULL) + s->expires_in_s;
    struct tm tm;
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &tm));
    unsigned given = ++s->given;
    int n = snprintf(body, sizeof body,
                     "{\"Code\":\"Success\",\"AccessKeyId\":\"K%u\",\"SecretAccessKey\":\"" SECRET
                     "\",\"Token\":\"T%u\"%s%s%s}",
                     given, given, s->expires_in_s != 0 ? ",\"Expiration\":\"" : "",
                     s->expires_in_s != 0 ? when : "", s->expires_in_s != 0 ? "\"" : "");
    if (s->body != NULL)
        http_answer(fd, s->status != 0 ? s->status : 200, "", s->body, strlen(s->body));
    else
        http_answer(fd, s->status != 0 ? s->status : 200, "", body, (size_t)n);
}

static void check(struct script *s, const struct http_request *r, const char *header)
{
    if (strstr(r->head, header) == NULL)
        s->has_wrong_head = true;
}

static void handle(void *payload, int fd, const struct http_request *r)
{
    static const char place[] = "GET /latest/meta-data/iam/security-credentials/";
    struct script *s = payload;
    if (s->delay_ms > 0)
        usleep((unsigned)s->delay_ms * 1000);
    if (strncmp(r->head, "PUT /latest/api/token ", 22) == 0) {
        check(s, r, "x-aws-ec2-metadata-token-ttl-seconds: 21600");
        http_answer(fd, s->token_status != 0 ? s->token_status : 200, "", "SESSION==", 9);
    } else if (strncmp(r->head, place, sizeof place - 1) == 0) {
        check(s, r, "x-aws-ec2-metadata-token: SESSION==");
        if (r->head[sizeof place - 1] == ' ')
            http_answer(fd, 200, "", s->role, strlen(s->role));
        else if (strncmp(r->head + sizeof place - 1, "my-role ", 8) == 0)
            give_keys(s, fd);
    } else if (strncmp(r->head, "GET /keys?x=1 ", 14) == 0) {
        if (s->token != NULL)
            check(s, r, s->token);
        give_keys(s, fd);
    }
}

static void begin(struct script *s, struct metallm__aws_environment *env, char url[64],
                  bool is_container)
{
    s->server.handle = handle;
    s->server.payload = s;
    assert_int_equal(http_server_start(&s->server), 0);
    snprintf(url, 64, "http://127.0.0.1:%d%s", s->server.port, is_container ? "/keys?x=1" : "/");
    *env = (struct metallm__aws_environment){.at = {NULL}};
    env->at[is_container ? METALLM__AWS_FULL_URI : METALLM__AWS_METADATA_ENDPOINT] = url;
}

static void an_instance_gives_its_roles_keys(void **state)
{
    static const struct {
        struct script script;
        const char *found; /* or a part of the reason */
    } rows[] = {
        {{.role = "my-role"}, "K1|" SECRET "|T1"},
        {{.role = "my-role\nanother", .expires_in_s = 7200}, "K1|" SECRET "|T1"},
        {{.role = "my-role", .expires_in_s = -10}, "expired"},
        {{.role = "", .expires_in_s = 100}, "no role"},
        {{.role = "a/../b"}, "cannot read"},
        {{.role = "my-role", .token_status = 403}, "HTTP 403"},
        {{.role = "my-role", .status = 500}, "HTTP 500"},
        {{.role = "my-role", .body = "{\"Code\":\"Failed\"}"}, "gave no AWS credentials"},
        {{.role = "my-role", .body = "<html>"}, "gave no AWS credentials"},
        {{.role = "my-role", .body = "{\"AccessKeyId\":\"a\",\"SecretAccessKey\":7}"},
         "incomplete"},
        {{.role = "my-role", .delay_ms = 800}, "cannot read"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct script s = rows[i].script;
        struct metallm__aws_environment env;
        char url[64], out[256];
        begin(&s, &env, url, false);
        int rc = look(&env, NULL, out);
        assert_int_equal(rc, strchr(rows[i].found, '|') != NULL ? METALLM_OK : METALLM_ENOTFOUND);
        assert_non_null(strstr(out, rows[i].found));
        assert_false(s.has_wrong_head);
        http_server_stop(&s.server);
    }
}

static void a_container_gives_keys_to_who_has_its_token(void **state)
{
    (void)state;
    struct script s = {.token = "uthorization: Basic abc"};
    struct metallm__aws_environment env;
    char url[64], out[256], path[128];
    begin(&s, &env, url, true);
    env.at[METALLM__AWS_CONTAINER_TOKEN] = "Basic abc";
    assert_int_equal(look(&env, NULL, out), METALLM_OK);
    assert_string_equal(out, "K1|" SECRET "|T1");
    assert_false(s.has_wrong_head);
    s.token = "uthorization: from-file";
    write_file("token", "from-file\n");
    env.at[METALLM__AWS_CONTAINER_TOKEN_FILE] = path_in(path, "token"); /* the file wins */
    assert_int_equal(look(&env, NULL, out), METALLM_OK);
    assert_string_equal(out, "K2|" SECRET "|T2");
    assert_false(s.has_wrong_head);
    write_file("token", "two\nlines");
    assert_int_equal(look(&env, NULL, out), METALLM_ENOTFOUND);
    assert_non_null(strstr(out, "control characters"));
    env.at[METALLM__AWS_CONTAINER_TOKEN_FILE] = "/nowhere/token";
    assert_int_equal(look(&env, NULL, out), METALLM_ENOTFOUND);
    assert_int_equal(s.given, 2);
    http_server_stop(&s.server);
}

static void a_containers_endpoint_must_be_near_or_secret(void **state)
{
    static const char *const refused[] = {
        "http://example.com/keys",
        "http://127.0.0.1.example.com/",
        "http://10.0.0.1/",
        "http://169.254.170.3/",
        "ftp://127.0.0.1/",
        "http://[fd00:ec2::24]/",
        "http://me@127.0.0.1/",
        "127.0.0.1",
        "http://",
        "http://localhost.example.com",
        "file:///etc/passwd",
        "http://[::2]/",
    };
    static const char *const taken[] = {"http://127.0.0.1:1/", "http://127.9.9.9:1/",
                                        "http://localhost:1/", "http://[::1]:1/",
                                        "https://127.0.0.1:1/"};
    (void)state;
    char out[256];
    struct metallm__aws_environment env = nothing();
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        env.at[METALLM__AWS_FULL_URI] = refused[i];
        assert_int_equal(look(&env, NULL, out), METALLM_ENOTFOUND);
        assert_non_null(strstr(out, "AWS_CONTAINER_CREDENTIALS_FULL_URI"));
    }
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) { /* nobody listens there */
        env.at[METALLM__AWS_FULL_URI] = taken[i];
        assert_int_equal(look(&env, NULL, out), METALLM_ENOTFOUND);
        assert_non_null(strstr(out, "cannot read"));
    }
    env.at[METALLM__AWS_FULL_URI] = NULL;
    env.at[METALLM__AWS_RELATIVE_URI] = "@evil.example/";
    assert_int_equal(look(&env, NULL, out), METALLM_ENOTFOUND);
    assert_non_null(strstr(out, "malformed"));
}

/* ---- Renewal. ---- */

static unsigned key_number(struct metallm__aws_credentials *c)
{
    struct metallm__aws_copy copy;
    unsigned n = 0;
    if (metallm__aws_credentials_copy(c, (int64_t)time(NULL), &copy, NULL) != METALLM_OK)
        return 0;
    assert_true(copy.keys.id.p[0] == 'K' && copy.keys.token.p[0] == 'T');
    for (size_t i = 1; i < copy.keys.id.n; i++) /* the id and the token are of one answer */
        assert_int_equal(copy.keys.id.p[i], copy.keys.token.p[i]);
    sscanf(copy.keys.id.p + 1, "%u", &n);
    metallm__aws_copy_wipe(&copy);
    return n;
}

static bool becomes(struct metallm__aws_credentials *c, unsigned least)
{
    for (int i = 0; i < 2000 && key_number(c) < least; i++)
        usleep(1000);
    return key_number(c) >= least;
}

static void keys_are_renewed_before_they_expire(void **state)
{
    (void)state;
    struct script s = {.role = "my-role", .expires_in_s = 100};
    struct metallm__aws_environment env;
    struct metallm__aws_credentials *c = NULL;
    struct metallm__aws_report report;
    struct metallm__aws_copy copy;
    char url[64];
    begin(&s, &env, url, false);
    const struct metallm__aws_options o = {.from = &env, .retry_ms = 10, .early_s = 1000};
    assert_int_equal(metallm__aws_credentials_new(&c, &o, NULL), METALLM_OK);
    assert_int_equal(metallm__aws_credentials_ref(c) == c, 1);
    metallm__aws_credentials_unref(c);
    assert_true(becomes(c, 3));
    metallm__aws_credentials_report(c, &report);
    assert_int_equal(report.provider, METALLM__AWS_INSTANCE);
    assert_true(report.key_id[0] == 'K' && report.why[0] == '\0');
    assert_true(report.expires_s > time(NULL) + 50);
    http_server_stop(&s.server); /* now it is gone: what was found stays until it expires */
    unsigned last = key_number(c);
    usleep(50000);
    assert_true(last > 0 && key_number(c) == last);
    metallm__aws_credentials_report(c, &report);
    assert_true(report.why[0] != '\0');
    assert_int_equal(metallm__aws_credentials_copy(c, report.expires_s, &copy, NULL),
                     METALLM_ENOTFOUND);
    metallm__aws_credentials_unref(c);
}

static void files_are_read_again_when_asked(void **state)
{
    (void)state;
    struct metallm__aws_environment env = nothing();
    struct metallm__aws_credentials *c = NULL;
    char path[128];
    unlink(path_in(path, "credentials"));
    env.at[METALLM__AWS_CREDENTIALS_FILE] = path;
    const struct metallm__aws_options o = {.from = &env, .profile = "p"};
    assert_int_equal(metallm__aws_credentials_new(&c, &o, NULL), METALLM_OK);
    assert_string_equal(metallm__aws_credentials_profile(c), "p");
    assert_int_equal(key_number(c), 0);
    for (unsigned n = 1; n <= 2; n++) {
        char text[160];
        snprintf(text, sizeof text,
                 "[p]\naws_access_key_id=K%u\naws_secret_access_key=s\naws_session_token=T%u\n", n,
                 n);
        write_file("credentials", text);
        metallm__aws_credentials_renew(c);
        assert_true(becomes(c, n));
    }
    metallm__aws_credentials_unref(c);
}

static void *read_on(void *payload)
{
    for (int i = 0; i < 2000; i++)
        assert_true(key_number(payload) > 0);
    return NULL;
}

static void readers_always_see_whole_keys(void **state)
{
    (void)state;
    struct script s = {.role = "my-role", .expires_in_s = 100};
    struct metallm__aws_environment env;
    struct metallm__aws_credentials *c = NULL;
    pthread_t readers[2];
    char url[64];
    begin(&s, &env, url, false);
    const struct metallm__aws_options o = {.from = &env, .retry_ms = 1, .early_s = 1000};
    assert_int_equal(metallm__aws_credentials_new(&c, &o, NULL), METALLM_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_on, c), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(readers[i], NULL);
    metallm__aws_credentials_unref(c);
    http_server_stop(&s.server);
}

static int open_and_close(void *payload)
{
    struct metallm__aws_credentials *c = NULL;
    const struct metallm__aws_options o = {.from = payload, .profile = "work"};
    int rc = metallm__aws_credentials_new(&c, &o, NULL);
    metallm__aws_credentials_unref(c);
    return rc;
}

static void no_memory_is_told(void **state)
{
    (void)state;
    char path[128];
    struct metallm__aws_environment env = nothing();
    write_file("credentials", "[work]\naws_access_key_id=F\naws_secret_access_key=G\n");
    env.at[METALLM__AWS_CREDENTIALS_FILE] = path_in(path, "credentials");
    assert_true(fail_alloc_sweep(open_and_close, &env) >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_environment_comes_first),
        cmocka_unit_test(profiles_are_read_out_of_the_files),
        cmocka_unit_test(files_lie_in_the_home_where_nothing_else_is_said),
        cmocka_unit_test(an_instance_gives_its_roles_keys),
        cmocka_unit_test(a_container_gives_keys_to_who_has_its_token),
        cmocka_unit_test(a_containers_endpoint_must_be_near_or_secret),
        cmocka_unit_test(keys_are_renewed_before_they_expire),
        cmocka_unit_test(files_are_read_again_when_asked),
        cmocka_unit_test(readers_always_see_whole_keys),
        cmocka_unit_test(no_memory_is_told),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
