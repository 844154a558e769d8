/* SPDX-License-Identifier: Apache-2.0
 * doctor_reach.c - whether a deployment answers, asked in its own protocol with its own key. Where
 * a protocol lists models, the list is asked for; AWS lists them at another host, so there a
 * conversation without messages is sent, which has to be refused as invalid, not as unsigned. */
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/mem.h"
#include "cli/doctor.h"
#include "cli/probe.h"

#define TIMEOUT_MS   10000u
#define CLOCK_SKEW_S 120
#define HEADERS_MAX  34u
#define URL_BYTES    4096u

/* How a protocol is asked. */
struct way {
    const char *protocol;
    const char *path;        /* of the list; NULL: the empty conversation */
    const char *list, *name; /* members: the list, and the name in each of its items */
    const char *begins;      /* of each name, beside the model's own */
};
static const struct way ways[] = {
    {"openai", "/models", "data", "id", ""},
    {"openai-responses", "/models", "data", "id", ""},
    {"anthropic", "/models?limit=1000", "data", "id", ""},
    {"gemini", "/models?pageSize=1000", "models", "name", "models/"},
    {"bedrock", NULL, NULL, NULL, NULL},
    {"bedrock-invoke", NULL, NULL, NULL, NULL},
};

static const struct way *way_of(const char *protocol)
{
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (strcmp(ways[i].protocol, protocol) == 0)
            return &ways[i];
    return &ways[0];
}

/* Whether the list of models that an upstream sent has this one: 1, 0, or -1: not a list. */
static int lists_model(const struct way *way, const struct cli_probe_answer *answer,
                       const char *model)
{
    yyjson_doc *doc = NULL;
    size_t i, count, skip = strlen(way->begins);
    yyjson_val *item;
    int found = -1;
    if (metallm__json_read(&doc, answer->body.data != NULL ? answer->body.data : "",
                           answer->body.len, NULL) != METALLM_OK)
        return -1;
    yyjson_val *list = yyjson_obj_get(yyjson_doc_get_root(doc), way->list);
    if (yyjson_is_arr(list)) {
        found = 0;
        yyjson_arr_foreach(list, i, count, item)
        {
            const char *name = yyjson_get_str(yyjson_obj_get(item, way->name));
            if (name != NULL && strncmp(name, way->begins, skip) == 0)
                found |= strcmp(name + skip, model) == 0;
        }
    }
    yyjson_doc_free(doc);
    return found;
}

static void look_at_clock(struct doctor *d, const struct cli_probe_answer *answer)
{
    const int64_t skew = answer->date_s == 0 ? 0 : (int64_t)time(NULL) - answer->date_s;
    if (skew > CLOCK_SKEW_S || skew < -CLOCK_SKEW_S)
        cli_doctor_tell(d, DOCTOR_WARN, "clock", "%lld seconds %s the upstream's",
                        (long long)(skew < 0 ? -skew : skew), skew < 0 ? "behind" : "ahead of");
}

static void judge(struct doctor *d, const struct way *way,
                  const struct metallm__config_deployment *p, const struct cli_probe_answer *answer,
                  const char *about)
{
    const int status = answer->status;
    const bool is_list = way->path != NULL;
    if (status == 401 || status == 403) {
        cli_doctor_tell(d, DOCTOR_FAIL, about, "%s: the key is refused (%d)", p->base_url, status);
    } else if (!is_list && status == 400) {
        cli_doctor_tell(d, DOCTOR_OK, about, "%s answers, and takes the key", p->base_url);
    } else if (!is_list && status == 404) {
        cli_doctor_tell(d, DOCTOR_FAIL, about, "%s answers, and does not know '%s'", p->base_url,
                        p->model);
    } else if (status == 404 || status == 405) {
        cli_doctor_tell(d, DOCTOR_WARN, about,
                        "%s answers, but has no /models (%d): is the path of base_url right?",
                        p->base_url, status);
    } else if (status != 200 || !is_list) {
        cli_doctor_tell(d, status >= 500 ? DOCTOR_FAIL : DOCTOR_WARN, about, "%s answers %d",
                        p->base_url, status);
    } else {
        /* Azure lists models, not the deployments that it is asked for by. */
        int listed = p->azure_version[0] != '\0' ? -1 : lists_model(way, answer, p->model);
        if (listed == 0)
            cli_doctor_tell(d, DOCTOR_WARN, about, "%s answers, and does not list '%s'",
                            p->base_url, p->model);
        else
            cli_doctor_tell(d, DOCTOR_OK, about, "%s answers%s", p->base_url,
                            listed == 1 ? ", and lists the model" : "");
    }
    look_at_clock(d, answer);
}

/* What is asked: a request as the gateway would make it. */
struct asking {
    struct metallm__wire_out out; /* of AWS: path and body */
    struct metallm__buf lines;    /* headers that stand for this request alone */
    struct cli_probe_header headers[HEADERS_MAX];
    char text[HEADERS_MAX][256]; /* names, closed by NUL */
    char *values[HEADERS_MAX];   /* secret */
    size_t count;
    char url[URL_BYTES];
};

static void add_header(struct asking *a, const struct metallm__header *h)
{
    if (a->count == HEADERS_MAX || h->name.n >= sizeof a->text[0])
        return;
    char *value = metallm__strndup(h->value.p, h->value.n);
    if (value == NULL)
        return;
    memcpy(a->text[a->count], h->name.p, h->name.n);
    a->text[a->count][h->name.n] = '\0';
    a->values[a->count] = value;
    a->headers[a->count] = (struct cli_probe_header){a->text[a->count], value};
    a->count++;
}

static void asking_fini(struct asking *a)
{
    for (size_t i = 0; i < a->count; i++) {
        explicit_bzero(a->values[i], strlen(a->values[i]));
        metallm__free(a->values[i]);
    }
    if (a->lines.data != NULL)
        explicit_bzero(a->lines.data, a->lines.len);
    metallm__buf_fini(&a->lines);
    metallm__wire_out_fini(&a->out);
}

static const char empty_talk[] = "{\"messages\":[]}";

/* Of AWS: a path that names the model, and the empty conversation. */
static int write_talk(struct asking *a, const struct metallm__deployment *live, metallm_error *err)
{
    struct metallm__wire_out *out = &a->out;
    metallm__buf_init(&out->path_made, URL_BYTES);
    metallm__buf_puts(&out->path_made, "/model/");
    metallm__wire_segment_write(&out->path_made, live->target.model);
    metallm__buf_puts(&out->path_made,
                      strcmp(live->wire->name, "bedrock") == 0 ? "/converse" : "/invoke");
    out->path = metallm__span(out->path_made.data, out->path_made.len);
    out->spans[0] = metallm__span(empty_talk, sizeof empty_talk - 1);
    out->span_count = 1;
    out->body_bytes = out->spans[0].n;
    return metallm__buf_check(&out->path_made, err);
}

static bool is_among(struct metallm__span name, const struct asking *a)
{
    for (size_t i = 0; i < a->count; i++)
        if (metallm__span_is_nocase(name, a->headers[i].name))
            return true;
    return false;
}

static int write_own_lines(struct asking *a, const struct metallm__deployment *live,
                           metallm_error *err)
{
    const int64_t now_s = (int64_t)time(NULL);
    struct metallm__wire_target target = live->target;
    struct metallm__aws_copy copy;
    int rc = METALLM_OK;
    if (live->aws != NULL) {
        rc = metallm__aws_credentials_copy(live->aws, now_s, &copy, err);
        if (rc != METALLM_OK)
            return rc;
        target.aws = copy.keys;
    }
    rc = live->wire->head_out(&target, &a->out, now_s * 1000, &a->lines, err);
    if (live->aws != NULL)
        metallm__aws_copy_wipe(&copy);
    return rc;
}

/* The headers of the deployment, and those of the request where they differ from one to the next;
 * the config's own win. */
static int write_headers(struct asking *a, const struct metallm__deployment *live,
                         metallm_error *err)
{
    struct metallm__header h;
    int rc = METALLM_OK;
    for (size_t i = 0; i < live->header_count; i++)
        add_header(a, &live->headers[i]);
    if (!live->wire->is_head_static)
        rc = write_own_lines(a, live, err);
    struct metallm__span rest = metallm__span(a->lines.data, a->lines.len);
    while (rc == METALLM_OK && metallm__header_line(&rest, &h))
        if (!is_among(h.name, a))
            add_header(a, &h);
    return rc;
}

static void tell_credentials(struct doctor *d, const struct metallm__deployment *live,
                             const char *about)
{
    struct metallm__aws_report report;
    metallm__aws_credentials_report(live->aws, &report);
    if (report.provider != METALLM__AWS_NOWHERE)
        cli_doctor_tell(d, DOCTOR_OK, about, "credentials from %s",
                        metallm__aws_provider_name(report.provider));
}

void cli_doctor_reach(struct doctor *d, const struct metallm__config_deployment *p,
                      const struct metallm__deployment *live, const char *about)
{
    const struct way *way = way_of(p->protocol);
    struct cli_probe_answer answer = {0};
    struct asking a = {0};
    metallm_error err = {0};
    int rc = METALLM_OK;
    metallm__buf_init(&a.lines, 65536);
    if (live->aws != NULL)
        tell_credentials(d, live, about);
    if (way->path == NULL)
        rc = write_talk(&a, live, &err);
    if (rc == METALLM_OK)
        rc = write_headers(&a, live, &err);
    const bool is_azure = p->azure_version[0] != '\0';
    snprintf(a.url, sizeof a.url, "%.2000s%.*s%s%s", p->base_url,
             way->path == NULL ? (int)a.out.path.n : 0, way->path == NULL ? a.out.path.p : "",
             is_azure            ? "/openai/models?api-version="
             : way->path != NULL ? way->path
                                 : "",
             is_azure ? p->azure_version : "");
    const struct cli_probe probe = {.url = a.url,
                                    .headers = a.headers,
                                    .header_count = a.count,
                                    .body = way->path == NULL ? empty_talk : NULL,
                                    .ca_file = d->config->upstream.ca_file,
                                    .verify = d->config->upstream.verify,
                                    .timeout_ms = TIMEOUT_MS};
    if (rc == METALLM_OK)
        rc = cli_probe_ask(&probe, &answer, &err);
    if (rc == METALLM_OK)
        judge(d, way, p, &answer, about);
    else
        cli_doctor_tell(d, DOCTOR_FAIL, about, "%s: %s", p->base_url, err.message);
    metallm__buf_fini(&answer.body);
    asking_fini(&a);
}
