/* SPDX-License-Identifier: Apache-2.0
 * deployment.c - see deployment.h: the URL taken apart once, and the headers written once. */
#include "upstream/deployment.h"

#include "base/error.h"
#include "base/json_out.h"
#include "base/mem.h"

static bool is_host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
}

/* The host at the beginning of s, without its brackets; *used bytes of s. */
static struct metallm__span host_of(struct metallm__span s, size_t *used)
{
    size_t n = 0;
    *used = 0;
    if (s.n > 0 && s.p[0] == '[') {
        for (n = 1; n < s.n && s.p[n] != ']'; n++)
            if (strchr("0123456789abcdefABCDEF:.", s.p[n]) == NULL)
                return (struct metallm__span){NULL, 0};
        if (n == s.n)
            return (struct metallm__span){NULL, 0};
        *used = n + 1;
        return metallm__span(s.p + 1, n - 1);
    }
    while (n < s.n && is_host_char(s.p[n]))
        n++;
    *used = n;
    return metallm__span(s.p, n);
}

static bool is_path(struct metallm__span s)
{
    if (s.n > 0 && s.p[0] != '/')
        return false;
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= 0x20 || (unsigned char)s.p[i] >= 0x7f ||
            strchr("?#\"<>\\^`{|}", s.p[i]) != NULL)
            return false;
    return true;
}

static bool cut_start(struct metallm__span *s, const char *start)
{
    size_t n = strlen(start);
    if (s->n < n || memcmp(s->p, start, n) != 0)
        return false;
    *s = metallm__span(s->p + n, s->n - n);
    return true;
}

/* The port behind a colon, if there is one, else the scheme's; 0: it is none. */
static uint16_t port_of(struct metallm__span *s, bool is_tls)
{
    uint64_t port = 0;
    size_t n = 0;
    if (!cut_start(s, ":"))
        return is_tls ? 443 : 80;
    while (n < s->n && s->p[n] != '/')
        n++;
    if (!metallm__span_u64(metallm__span(s->p, n), &port) || port > UINT16_MAX)
        return 0;
    *s = metallm__span(s->p + n, s->n - n);
    return (uint16_t)port;
}

static int split_url(struct metallm__deployment *d, const char *url, metallm_error *err)
{
    static const char wrong[] = "base_url must be http(s)://host[:port][/path] without user, query "
                                "and fragment";
    struct metallm__span s = metallm__span_of(url);
    size_t used = 0;
    d->is_tls = cut_start(&s, "https://");
    if (s.n > METALLM__URL_BYTES_MAX || (!d->is_tls && !cut_start(&s, "http://")))
        return metallm__error_set(err, METALLM_EINVAL, "%s", wrong);
    struct metallm__span host = host_of(s, &used);
    s = metallm__span(s.p + used, s.n - used);
    d->port = port_of(&s, d->is_tls);
    if (host.n == 0 || host.n > 253 || d->port == 0 || !is_path(s))
        return metallm__error_set(err, METALLM_EINVAL, "%s", wrong);
    while (s.n > 0 && s.p[s.n - 1] == '/')
        s.n--;
    d->host = metallm__strndup(host.p, host.n);
    d->path = metallm__strndup(s.p, s.n);
    d->base_url = metallm__strdup(url);
    return d->host != NULL && d->path != NULL && d->base_url != NULL
               ? METALLM_OK
               : metallm__error_nomem(err, "a deployment");
}

static int name_model(struct metallm__deployment *d, const char *model, metallm_error *err)
{
    struct metallm__buf json;
    metallm__buf_init(&json, 64 * METALLM__WIRE_NAME_BYTES_MAX);
    struct metallm__jw j = {.out = &json};
    metallm__jw_text(&j, model);
    d->model_json = json.data;
    d->target.model_json = metallm__span(json.data, json.len);
    d->model = metallm__strdup(model);
    return json.failed || d->model == NULL ? metallm__error_nomem(err, "a deployment") : METALLM_OK;
}

static bool has_header(const struct metallm__deployment_options *o, struct metallm__span name)
{
    for (size_t i = 0; i < o->header_count; i++)
        if (metallm__span_is_nocase(name, o->headers[i].name))
            return true;
    return false;
}

bool metallm__header_line(struct metallm__span *lines, struct metallm__header *out)
{
    const char *end = lines->n > 0 ? memchr(lines->p, '\n', lines->n) : NULL;
    const char *colon = end != NULL ? memchr(lines->p, ':', (size_t)(end - lines->p)) : NULL;
    if (colon == NULL)
        return false;
    out->name = metallm__span(lines->p, (size_t)(colon - lines->p));
    out->value = metallm__span(colon + 2, (size_t)(end - 1 - (colon + 2)));
    *lines = metallm__span(end + 1, lines->n - (size_t)(end + 1 - lines->p));
    return true;
}

/* Everything is written to one block that has room from the start, so that no copy of a secret is
 * left behind by growing. */
static int write_lines(struct metallm__deployment *d, const struct metallm__deployment_options *o,
                       struct metallm__buf *lines, metallm_error *err)
{
    static const char own[] = "content-type: application/json\r\n"
                              "user-agent: metallm/" METALLM_VERSION "\r\n";
    size_t room = sizeof own + d->key_len + 256;
    for (size_t i = 0; i < o->header_count; i++)
        room += strlen(o->headers[i].name) + strlen(o->headers[i].value) + 8;
    metallm__buf_init(lines, room);
    lines->data = metallm__alloc(room + 1, 1);
    lines->cap = lines->data != NULL ? room + 1 : 0;
    d->head = lines->data;
    d->head_len = lines->cap;
    if (lines->data == NULL)
        return metallm__error_nomem(err, "a deployment");
    metallm__buf_puts(lines, own);
    if (d->wire->framing == METALLM__FRAMING_AWS) /* which takes one type alone */
        metallm__buf_puts(lines, "accept: */*\r\n");
    else
        metallm__buf_printf(lines, "accept: application/json, %s\r\n", d->wire->accept);
    if (d->wire->is_head_static) {
        int rc = d->wire->head_out(&d->target, NULL, 0, lines, err);
        if (rc != METALLM_OK)
            return rc;
    }
    return metallm__buf_check(lines, err);
}

/* Within the room that there is: what was given before stays where it is. */
static struct metallm__span append(struct metallm__buf *lines, const char *text)
{
    size_t begin = lines->len;
    metallm__buf_puts(lines, text);
    return metallm__span(lines->data + begin, lines->len - begin);
}

static int make_headers(struct metallm__deployment *d, const struct metallm__deployment_options *o,
                        metallm_error *err)
{
    struct metallm__buf lines;
    struct metallm__header h;
    int rc = write_lines(d, o, &lines, err);
    if (rc != METALLM_OK)
        return rc;
    d->headers = metallm__calloc(8 + o->header_count, sizeof *d->headers);
    if (d->headers == NULL)
        return metallm__error_nomem(err, "a deployment");
    struct metallm__span rest = metallm__span(lines.data, lines.len);
    while (d->header_count < 8 && metallm__header_line(&rest, &h))
        if (!has_header(o, h.name)) /* the config's own wins */
            d->headers[d->header_count++] = h;
    for (size_t i = 0; i < o->header_count; i++) {
        struct metallm__header *to = &d->headers[d->header_count++];
        to->name = append(&lines, o->headers[i].name);
        to->value = append(&lines, o->headers[i].value);
    }
    for (size_t i = 0; i < d->header_count; i++)
        if (!metallm__header_is_sound(&d->headers[i]))
            return metallm__error_set(err, METALLM_EINVAL,
                                      "a header holds characters that cannot be sent");
    return METALLM_OK;
}

/* NULL and "" are not stated. false: no memory. */
static bool copy_stated(char **out, const char *text)
{
    if (text != NULL && text[0] != '\0')
        *out = metallm__strdup(text);
    return *out != NULL || text == NULL || text[0] == '\0';
}

static int copy_texts(struct metallm__deployment *d, const struct metallm__deployment_options *o,
                      metallm_error *err)
{
    bool is_plain = d->port == (d->is_tls ? 443 : 80);
    bool is_ipv6 = strchr(d->host, ':') != NULL;
    struct metallm__buf origin;
    metallm__buf_init(&origin, METALLM__URL_BYTES_MAX);
    metallm__buf_printf(&origin, is_ipv6 ? "[%s]" : "%s", d->host);
    if (!is_plain)
        metallm__buf_printf(&origin, ":%u", d->port);
    d->origin = origin.data;
    d->key = metallm__strndup(o->key, d->key_len);
    bool is_done =
        copy_stated(&d->ca_file, o->ca_file) && copy_stated(&d->azure_version, o->azure_version) &&
        copy_stated(&d->region, o->region) && copy_stated(&d->aws_profile, o->aws_profile);
    return is_done && d->key != NULL && !origin.failed ? METALLM_OK
                                                       : metallm__error_nomem(err, "a deployment");
}

/* An LLM that is asked for chats passes talks of all surfaces that its protocol has; completions
 * only where it is said to answer them. */
static unsigned native_kinds(const struct metallm__wire *wire, unsigned wanted, unsigned kinds)
{
    const unsigned completion = 1u << METALLM__WIRE_COMPLETION;
    const unsigned all = wire->responses == NULL ? ~0u : ~(1u << METALLM__WIRE_RESPONSES);
    unsigned native = wire->native & (wanted != 0 ? wanted : all);
    return (kinds & completion) != 0 ? native : native & ~completion;
}

static void fill_target(struct metallm__deployment *d, const struct metallm__deployment_options *o,
                        unsigned kinds)
{
    struct metallm__wire_target *t = &d->target;
    t->key = metallm__span(d->key, d->key_len);
    t->model = metallm__span_of(d->model);
    t->is_usage_asked = !o->is_usage_unasked;
    t->native = native_kinds(d->wire, o->native, kinds);
    t->max_tokens = o->max_tokens;
    t->azure_version = metallm__span_of(d->azure_version);
    t->region = metallm__span_of(d->region);
    t->host = metallm__span_of(d->origin);
    t->base_path = metallm__span_of(d->path);
}

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

int metallm__deployment_init(struct metallm__deployment *d,
                             const struct metallm__deployment_options *o,
                             const struct metallm__llm *llm, metallm_error *err)
{
    const char *model = o->model != NULL && o->model[0] != '\0' ? o->model : llm->name;
    d->wire = metallm__wire_find(o->protocol != NULL ? o->protocol : "openai");
    if (d->wire == NULL)
        return metallm__error_set(err, METALLM_EINVAL, "no protocol '%.40s'", o->protocol);
    if (o->base_url == NULL || strlen(model) > METALLM__WIRE_NAME_BYTES_MAX ||
        o->header_count > METALLM__EXTRA_HEADERS_MAX || !(o->weight >= 0 && o->weight <= 1e6))
        return metallm__error_set(err, METALLM_EINVAL,
                                  "base_url, model, headers or weight is out of range");
    d->key_len = o->key != NULL ? strlen(o->key) : 0;
    if (d->key_len > METALLM__KEY_BYTES_MAX)
        return metallm__error_set(err, METALLM_EINVAL, "the key is longer than %u bytes",
                                  METALLM__KEY_BYTES_MAX);
    for (size_t i = 0; i < d->key_len; i++)
        if ((unsigned char)o->key[i] <= 0x20 || o->key[i] == 0x7f)
            return metallm__error_set(err, METALLM_EINVAL,
                                      "the key holds a blank or a control character");
    int rc = split_url(d, o->base_url, err);
    if (rc == METALLM_OK)
        rc = name_model(d, model, err);
    if (rc != METALLM_OK)
        return rc;
    rc = copy_texts(d, o, err);
    if (rc != METALLM_OK)
        return rc;
    fill_target(d, o, llm->kinds);
    d->is_tls_unverified = o->is_tls_unverified;
    d->weight = o->weight > 0 ? o->weight : 1;
    d->concurrent_max = o->concurrent_max;
    d->waiting_max = or_default(o->waiting_max, 64);
    d->waiting_ms = or_default(o->waiting_ms, 2000);
    d->connect_ms = or_default(o->connect_ms, 3000);
    d->first_byte_ms = or_default(o->first_byte_ms, 60000);
    d->idle_ms = or_default(o->idle_ms, 60000);
    d->total_ms = or_default(o->total_ms, 600000);
    return make_headers(d, o, err);
}

static void wipe_free(char *secret, size_t len)
{
    if (secret != NULL)
        explicit_bzero(secret, len);
    metallm__free(secret);
}

void metallm__deployment_fini(struct metallm__deployment *d)
{
    metallm__free(d->base_url);
    metallm__free(d->model);
    metallm__free(d->ca_file);
    metallm__free(d->host);
    metallm__free(d->path);
    metallm__free(d->model_json);
    metallm__free(d->origin);
    metallm__free(d->azure_version);
    metallm__free(d->region);
    metallm__free(d->aws_profile);
    metallm__free(d->headers);
    wipe_free(d->key, d->key_len);
    wipe_free(d->head, d->head_len);
    metallm__tls_client_free(d->tls);
    metallm__aws_credentials_unref(d->aws);
    metallm__health_unref(d->health);
}

static bool is_equal(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool metallm__deployment_is_same(const struct metallm__deployment *a,
                                 const struct metallm__deployment *b)
{
    if (a->wire != b->wire || !is_equal(a->base_url, b->base_url) ||
        !is_equal(a->model, b->model) || !is_equal(a->region, b->region) ||
        !is_equal(a->azure_version, b->azure_version) ||
        !is_equal(a->aws_profile, b->aws_profile) || !is_equal(a->ca_file, b->ca_file) ||
        a->is_tls_unverified != b->is_tls_unverified || a->header_count != b->header_count ||
        !metallm__span_eq(a->target.key, b->target.key))
        return false;
    for (size_t i = 0; i < a->header_count; i++)
        if (!metallm__span_eq(a->headers[i].name, b->headers[i].name) ||
            !metallm__span_eq(a->headers[i].value, b->headers[i].value))
            return false;
    return true;
}
