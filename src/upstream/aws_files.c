/* SPDX-License-Identifier: Apache-2.0
 * aws_files.c - keys for AWS out of the environment and the shared files, which are INI files: a
 * section a profile. See aws_credentials.h. */
#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "upstream/aws_places.h"

#define FILE_BYTES_MAX ((size_t)1 << 20)

const char *metallm__aws_variable(const struct metallm__aws_search *s,
                                  enum metallm__aws_variable variable)
{
    return s->env.at[variable] != NULL ? s->env.at[variable] : "";
}

static bool is_sendable(struct metallm__span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~')
            return false;
    return true;
}

int metallm__aws_found_set(struct metallm__aws_found *out, enum metallm__aws_provider provider,
                           const struct metallm__wire_aws_keys *keys, metallm_error *err)
{
    const struct metallm__span all[] = {keys->id, keys->secret, keys->token};
    char *const to[] = {out->id, out->secret, out->token};
    const size_t room[] = {sizeof out->id, sizeof out->secret, sizeof out->token};
    for (size_t i = 0; i < 3; i++) {
        if (all[i].n >= room[i] || !is_sendable(all[i]) || (all[i].n == 0 && i < 2))
            return metallm__error_set(err, METALLM_EINVAL,
                                      "the AWS credentials of %s are incomplete, too long, or hold "
                                      "blanks or control characters",
                                      metallm__aws_provider_name(provider));
        if (all[i].n > 0)
            memcpy(to[i], all[i].p, all[i].n);
        to[i][all[i].n] = '\0';
    }
    out->provider = provider;
    out->expires_s = 0;
    return METALLM_OK;
}

int metallm__aws_from_environment(const struct metallm__aws_search *s,
                                  struct metallm__aws_found *out, metallm_error *err)
{
    const struct metallm__wire_aws_keys keys = {
        .id = metallm__span_of(metallm__aws_variable(s, METALLM__AWS_ACCESS_KEY_ID)),
        .secret = metallm__span_of(metallm__aws_variable(s, METALLM__AWS_SECRET_ACCESS_KEY)),
        .token = metallm__span_of(metallm__aws_variable(s, METALLM__AWS_SESSION_TOKEN)),
    };
    if (keys.id.n == 0 && keys.secret.n == 0)
        return METALLM_ENOTFOUND;
    return metallm__aws_found_set(out, METALLM__AWS_ENVIRONMENT, &keys, err);
}

/* ---- INI. ---- */

static struct metallm__span cut_line(struct metallm__span *rest)
{
    const char *end = memchr(rest->p, '\n', rest->n);
    struct metallm__span line = {rest->p, end != NULL ? (size_t)(end - rest->p) : rest->n};
    size_t used = line.n + (end != NULL);
    *rest = metallm__span(rest->p + used, rest->n - used);
    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    return line;
}

/* Is the line "[name]", or with `prefix` "[profile name]"? "[default]" has no prefix. */
static bool is_section(struct metallm__span line, bool has_prefix, const char *name)
{
    static const char prefix[] = "profile";
    const char *end = memchr(line.p, ']', line.n);
    if (end == NULL)
        return false;
    struct metallm__span s = {line.p + 1, (size_t)(end - line.p - 1)};
    s = metallm__span_trim(s);
    if (has_prefix && s.n > sizeof prefix && memcmp(s.p, prefix, sizeof prefix - 1) == 0 &&
        (s.p[sizeof prefix - 1] == ' ' || s.p[sizeof prefix - 1] == '\t'))
        s = metallm__span_trim(metallm__span(s.p + sizeof prefix, s.n - sizeof prefix));
    else if (has_prefix && strcmp(name, "default") != 0)
        return false;
    return metallm__span_is(s, name);
}

static void take_setting(struct metallm__span line, struct metallm__wire_aws_keys *keys)
{
    const char *equals = memchr(line.p, '=', line.n);
    if (equals == NULL)
        return;
    size_t n = (size_t)(equals - line.p);
    struct metallm__span name = metallm__span_trim(metallm__span(line.p, n));
    struct metallm__span value = metallm__span_trim(metallm__span(equals + 1, line.n - n - 1));
    struct metallm__span *to = metallm__span_is_nocase(name, "aws_access_key_id") ? &keys->id
                               : metallm__span_is_nocase(name, "aws_secret_access_key")
                                   ? &keys->secret
                               : metallm__span_is_nocase(name, "aws_session_token") ? &keys->token
                                                                                    : NULL;
    if (to != NULL)
        *to = value;
}

/* The profile's keys; false: there is no such section. Lines that begin with a blank belong to a
 * setting with parts of its own. */
static bool read_profile(struct metallm__span text, bool has_prefix, const char *name,
                         struct metallm__wire_aws_keys *keys)
{
    bool is_in = false, is_there = false;
    while (text.n > 0) {
        struct metallm__span line = cut_line(&text);
        if (line.n == 0 || strchr("#; \t", line.p[0]) != NULL)
            continue;
        if (line.p[0] == '[') {
            is_in = is_section(line, has_prefix, name);
            is_there = is_there || is_in;
        } else if (is_in) {
            take_setting(line, keys);
        }
    }
    return is_there;
}

/* ---- The two files. ---- */

/* The variable's path, else the file of this name in ~/.aws; the caller frees it. NULL with
 * METALLM_ENOTFOUND: no home. */
static int path_of(const struct metallm__aws_search *s, enum metallm__aws_variable variable,
                   const char *name, char **out, metallm_error *err)
{
    const char *path = metallm__aws_variable(s, variable);
    const char *home = metallm__aws_variable(s, METALLM__AWS_HOME);
    struct metallm__buf b;
    metallm__buf_init(&b, 8192);
    if (path[0] == '~' && path[1] == '/')
        metallm__buf_printf(&b, "%s%s", home, path + 1);
    else if (path[0] != '\0')
        metallm__buf_puts(&b, path);
    else if (home[0] != '\0')
        metallm__buf_printf(&b, "%s/.aws/%s", home, name);
    else
        return METALLM_ENOTFOUND;
    *out = b.data;
    if (b.failed) {
        metallm__buf_fini(&b);
        return metallm__error_nomem(err, "a path");
    }
    return METALLM_OK;
}

/* Reads the profile out of one file; a file that is not there has none. The keys point into map. */
static int read_file(const struct metallm__aws_search *s, bool is_config, const char *profile,
                     struct metallm__map *map, struct metallm__wire_aws_keys *keys, bool *is_there,
                     metallm_error *err)
{
    char *path = NULL;
    metallm_error why;
    int rc = path_of(s, is_config ? METALLM__AWS_CONFIG_FILE : METALLM__AWS_CREDENTIALS_FILE,
                     is_config ? "config" : "credentials", &path, err);
    if (rc != METALLM_OK)
        return rc == METALLM_ENOTFOUND ? METALLM_OK : rc;
    rc = metallm__map_open(map, path, &why);
    if (rc == METALLM_OK && map->len > FILE_BYTES_MAX)
        rc = metallm__error_set(err, METALLM_ELIMIT, "'%s' is larger than %zu bytes", path,
                                FILE_BYTES_MAX);
    else if (rc == METALLM_OK)
        *is_there |= read_profile(metallm__span(map->bytes, map->len), is_config, profile, keys);
    else if (rc != METALLM_ENOMEM)
        rc = METALLM_OK;
    metallm__free(path);
    return rc;
}

static int no_profile(const struct metallm__aws_search *s, const char *profile, bool is_there,
                      metallm_error *err)
{
    if (s->profile[0] != '\0' && is_there)
        return metallm__error_set(err, METALLM_EINVAL,
                                  "the AWS profile '%.64s' has no aws_access_key_id", profile);
    if (!is_there && strcmp(profile, "default") != 0)
        return metallm__error_set(
            err, METALLM_EINVAL, "the AWS profile '%.64s' is in none of the shared files", profile);
    return METALLM_ENOTFOUND;
}

int metallm__aws_from_files(const struct metallm__aws_search *s, struct metallm__aws_found *out,
                            metallm_error *err)
{
    const char *named = metallm__aws_variable(s, METALLM__AWS_PROFILE);
    const char *profile = s->profile[0] != '\0' ? s->profile : named[0] != '\0' ? named : "default";
    struct metallm__map maps[2] = {{0}};
    struct metallm__wire_aws_keys keys = {.token = {NULL, 0}};
    bool is_there = false;
    int rc = read_file(s, false, profile, &maps[0], &keys, &is_there, err);
    if (rc == METALLM_OK && keys.id.n == 0) {
        keys = (struct metallm__wire_aws_keys){.token = {NULL, 0}};
        rc = read_file(s, true, profile, &maps[1], &keys, &is_there, err);
    }
    if (rc == METALLM_OK && keys.id.n == 0)
        rc = no_profile(s, profile, is_there, err);
    else if (rc == METALLM_OK)
        rc = metallm__aws_found_set(out, METALLM__AWS_FILES, &keys, err);
    metallm__map_close(&maps[0]);
    metallm__map_close(&maps[1]);
    return rc;
}
