/* SPDX-License-Identifier: Apache-2.0
 * admin.c - see admin.h: finds what a path means and answers; keys, models and routers have files
 * of their own. */
#include "gateway/admin.h"

#include <stdarg.h>
#include <string.h>

#include "base/error.h"
#include "gateway/admin_inner.h"
#include "gateway/keep.h"
#include "gateway/prior.h"

#define ANSWER_BYTES_MAX ((size_t)32 << 20)

int metallm__admin_refuse(struct metallm__admin_call *c, int status, const char *code,
                          const char *format, ...)
{
    char text[METALLM_ERROR_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    metallm__buf_clear(&c->out->body);
    c->out->status = status;
    c->out->effects = 0;
    c->j = (struct metallm__jw){.out = &c->out->body};
    metallm__jw_open(&c->j, '{');
    metallm__jw_name(&c->j, "error");
    metallm__jw_open(&c->j, '{');
    metallm__jw_name(&c->j, "message");
    metallm__jw_text(&c->j, text);
    metallm__jw_name(&c->j, "type");
    metallm__jw_text(&c->j, status >= 500 ? "server_error" : "invalid_request_error");
    metallm__jw_name(&c->j, "param");
    metallm__jw_text(&c->j, NULL);
    metallm__jw_name(&c->j, "code");
    metallm__jw_text(&c->j, code);
    metallm__jw_close(&c->j, '}');
    metallm__jw_close(&c->j, '}');
    return METALLM_EINVAL;
}

int metallm__admin_failed(struct metallm__admin_call *c, int rc)
{
    bool is_ours = rc == METALLM_ENOMEM || rc == METALLM_EIO;
    return metallm__admin_refuse(c, is_ours ? 500 : 400,
                                 is_ours ? "internal_error" : "invalid_value", "%s",
                                 c->err->message);
}

/* Outcomes of models that are added by this call. */
static int check_outcomes(struct metallm__admin_call *c, const struct metallm__config *next)
{
    int rc = METALLM_OK;
    for (uint32_t m = 0; m < next->model_count && rc == METALLM_OK; m++) {
        const struct metallm__config_model *model = &next->models[m];
        if (!model->by_admin || model->prior_outcomes[0] == '\0' ||
            metallm__config_model_find(c->a->config, model->name, strlen(model->name)) !=
                METALLM__CONFIG_NONE)
            continue;
        rc = metallm__prior_check(model->prior_outcomes, model->name, c->err);
        if (rc != METALLM_OK)
            rc = metallm__error_prefix(c->err, rc, "models[%u].prior.outcomes", m);
    }
    return rc;
}

/* Keys with a budget, against the models as they would be. */
static int check_keys(struct metallm__admin_call *c, const struct metallm__config *next)
{
    const struct metallm__keyring *ring = NULL;
    int rc = metallm__keep_keys(c->a->store, &ring, c->err);
    if (rc == METALLM_OK)
        rc = metallm__keyring_prices(ring, next, c->a->wall_ms, c->err);
    metallm__keyring_drop(ring);
    return rc;
}

int metallm__admin_check(struct metallm__admin_call *c)
{
    struct metallm__changes *changes = NULL;
    const struct metallm__config *next = NULL;
    int rc = metallm__keep_changes(c->a->store, &changes, c->err);
    if (rc == METALLM_OK)
        rc = metallm__config_reload(&next, c->a->config, metallm__changes_list(changes), c->err);
    if (rc == METALLM_OK)
        rc = check_outcomes(c, next);
    if (rc == METALLM_OK)
        rc = check_keys(c, next);
    metallm__config_drop(next);
    metallm__changes_free(changes);
    return rc == METALLM_OK ? rc : metallm__admin_failed(c, rc);
}

int metallm__admin_changes(struct metallm__admin_call *c)
{
    struct metallm__changes *changes = NULL;
    int rc = metallm__keep_changes(c->a->store, &changes, c->err);
    if (rc != METALLM_OK)
        return metallm__admin_failed(c, rc);
    const struct metallm__config_changes *list = metallm__changes_list(changes);
    metallm__jw_open(&c->j, '{');
    metallm__jw_name(&c->j, "data");
    metallm__jw_open(&c->j, '[');
    for (uint32_t i = 0; i < list->count; i++) {
        metallm__jw_open(&c->j, '{');
        metallm__jw_name(&c->j, "kind");
        metallm__jw_text(&c->j, list->items[i].kind);
        metallm__jw_name(&c->j, "name");
        metallm__jw_text(&c->j, list->items[i].name);
        metallm__jw_name(&c->j, "change");
        metallm__jw_raw(&c->j, list->items[i].json);
        metallm__jw_close(&c->j, '}');
    }
    metallm__jw_close(&c->j, ']');
    metallm__jw_close(&c->j, '}');
    metallm__changes_free(changes);
    return METALLM_OK;
}

static int show_config(struct metallm__admin_call *c)
{
    metallm__config_json(c->a->config, &c->out->body);
    return METALLM_OK;
}

static int reload(struct metallm__admin_call *c)
{
    int rc = metallm__admin_check(c);
    if (rc != METALLM_OK)
        return rc;
    c->out->effects = METALLM__ADMIN_CONFIG | METALLM__ADMIN_KEYS;
    metallm__jw_open(&c->j, '{');
    metallm__jw_name(&c->j, "reloaded");
    metallm__jw_text(&c->j, c->a->config->path);
    metallm__jw_close(&c->j, '}');
    return METALLM_OK;
}

static int digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* A part of a path, percent-decoded; names may hold slashes. False: malformed or too long. */
static bool decode(char *out, size_t size, const char *text, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++, n++) {
        if (n + 1 >= size)
            return false;
        out[n] = text[i];
        if (text[i] != '%')
            continue;
        int high = i + 2 < len ? digit(text[i + 1]) : -1, low = high >= 0 ? digit(text[i + 2]) : -1;
        if (low < 0 || high * 16 + low == 0)
            return false;
        out[n] = (char)(high * 16 + low);
        i += 2;
    }
    out[n] = '\0';
    return true;
}

static const struct collection {
    const char *name;
    const char *methods; /* without a name behind it, then with one: "GET POST|GET DELETE" */
    int (*call)(struct metallm__admin_call *c);
} collections[] = {
    {"keys", "GET POST|GET PATCH DELETE", metallm__admin_keys},
    {"models", "GET POST|GET PATCH DELETE", metallm__admin_models},
    {"routers", "GET|GET PATCH DELETE", metallm__admin_routers},
    {"changes", "GET|", metallm__admin_changes},
    {"config", "GET|", show_config},
    {"reload", "POST|", reload},
};

/* Whether the word stands in a list parted by blanks. */
static bool has_word(const char *list, size_t len, const char *word)
{
    size_t n = strlen(word);
    for (size_t at = 0; at < len;) {
        size_t end = at;
        while (end < len && list[end] != ' ')
            end++;
        if (end - at == n && memcmp(list + at, word, n) == 0)
            return true;
        at = end + 1;
    }
    return false;
}

static int dispatch(struct metallm__admin_call *c)
{
    const char *path = c->request->path;
    if (strncmp(path, "/admin/", 7) != 0)
        return metallm__admin_refuse(c, 404, "not_found", "no such path of the admin API");
    path += 7;
    size_t len = strcspn(path, "/");
    const struct collection *found = NULL;
    for (size_t i = 0; i < sizeof collections / sizeof *collections; i++)
        if (strlen(collections[i].name) == len && memcmp(collections[i].name, path, len) == 0)
            found = &collections[i];
    const char *name = path[len] == '/' ? path + len + 1 : "";
    if (found == NULL || !decode(c->name, sizeof c->name, name, strlen(name)))
        return metallm__admin_refuse(c, 404, "not_found",
                                     "no such path of the admin API: there are keys, models, "
                                     "routers, changes, config and reload");
    const char *bar = strchr(found->methods, '|');
    const char *methods = c->name[0] != '\0' ? bar + 1 : found->methods;
    size_t methods_len = c->name[0] != '\0' ? strlen(methods) : (size_t)(bar - found->methods);
    if (methods_len == 0)
        return metallm__admin_refuse(c, 404, "not_found", "nothing stands below '%s'", found->name);
    if (!has_word(methods, methods_len, c->request->method))
        return metallm__admin_refuse(c, 405, "method_not_allowed", "'%s' takes %.*s", found->name,
                                     (int)methods_len, methods);
    return found->call(c);
}

/* The body is one JSON object, where the method has one. */
static int read_body(struct metallm__admin_call *c)
{
    const struct metallm__admin_request *r = c->request;
    bool wants_one = strcmp(r->method, "PATCH") == 0 || strcmp(r->method, "POST") == 0;
    if (!wants_one || r->body_len == 0)
        return METALLM_OK;
    if (r->body_len > METALLM__ADMIN_BODY_MAX)
        return metallm__admin_refuse(c, 413, "too_long", "a body of %zu bytes", r->body_len);
    int rc = metallm__json_read(&c->body, r->body, r->body_len, c->err);
    if (rc != METALLM_OK)
        return metallm__admin_failed(c, rc == METALLM_ENOMEM ? rc : METALLM_EINVAL);
    if (!yyjson_is_obj(yyjson_doc_get_root(c->body)))
        return metallm__admin_refuse(c, 400, "invalid_value", "the body is no JSON object");
    return METALLM_OK;
}

int metallm__admin_do(const struct metallm__admin *a, const struct metallm__admin_request *request,
                      struct metallm__admin_answer *out)
{
    metallm_error err = {0};
    struct metallm__admin_call c = {.a = a, .request = request, .out = out, .err = &err};
    *out = (struct metallm__admin_answer){.status = 200};
    metallm__buf_init(&out->body, ANSWER_BYTES_MAX);
    c.j = (struct metallm__jw){.out = &out->body};
    int rc = read_body(&c);
    if (rc == METALLM_OK)
        rc = dispatch(&c);
    if (metallm__buf_check(&out->body, &err) != METALLM_OK) {
        static const char nomem[] =
            "{\"error\":{\"message\":\"no memory\",\"type\":\"server_error\","
            "\"param\":null,\"code\":\"internal_error\"}}";
        metallm__buf_fini(&out->body);
        metallm__buf_init(&out->body, ANSWER_BYTES_MAX);
        metallm__buf_puts(&out->body, nomem);
        out->status = 500;
        out->effects = 0;
        rc = METALLM_ENOMEM;
    }
    yyjson_doc_free(c.body);
    return rc;
}
