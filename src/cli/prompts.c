/* SPDX-License-Identifier: Apache-2.0
 * prompts.c - see prompts.h. */
#include "cli/prompts.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/lines.h"

/* Fields that make an object an outcome of some format. */
static const char *const outcome_keys[] = {"model", "score", "scores", "arms", "response"};

static bool is_prompt_object(yyjson_val *root)
{
    if (!yyjson_is_str(yyjson_obj_get(root, "prompt")))
        return false;
    for (size_t k = 0; k < sizeof outcome_keys / sizeof *outcome_keys; k++)
        if (yyjson_obj_get(root, outcome_keys[k]) != NULL)
            return false;
    return true;
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), tail = strlen(end);
    return len >= tail && strcmp(text + len - tail, end) == 0;
}

struct reader {
    struct cli_lines lines;
    const char *path;
    metallm_outcomes *out;
    bool is_json; /* objects with a prompt, not plain lines */
};

static bool is_blank(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r')
            return false;
    return true;
}

static int add_prompt(struct reader *r, const char *text, size_t len, metallm_error *err)
{
    if (memchr(text, '\0', len) != NULL)
        return metallm__error_set(err, METALLM_EFORMAT, "%s:%llu: a prompt holds a NUL byte",
                                  r->path, (unsigned long long)r->lines.number);
    char *prompt = metallm__strndup(text, len);
    if (prompt == NULL)
        return metallm__error_nomem(err, "a prompt");
    size_t query;
    metallm_query q = {.prompt = prompt};
    int rc = metallm_outcomes_add_query(r->out, &q, &query, err);
    metallm__free(prompt);
    return rc;
}

static int add_object(struct reader *r, const char *text, size_t len, metallm_error *err)
{
    yyjson_doc *doc = NULL;
    int rc = metallm__json_read(&doc, text, len, err);
    if (rc == METALLM_OK) {
        yyjson_val *prompt = yyjson_obj_get(yyjson_doc_get_root(doc), "prompt");
        rc = yyjson_is_str(prompt)
                 ? add_prompt(r, yyjson_get_str(prompt), yyjson_get_len(prompt), err)
                 : metallm__error_set(err, METALLM_EFORMAT, "there is no text \"prompt\"");
    }
    yyjson_doc_free(doc);
    return rc == METALLM_EFORMAT ? metallm__error_prefix(err, rc, "%s:%llu", r->path,
                                                         (unsigned long long)r->lines.number)
                                 : rc;
}

static int read_all(struct reader *r, metallm_error *err)
{
    for (;;) {
        enum cli_line what;
        const char *text;
        size_t len;
        int rc = cli_lines_next(&r->lines, true, &what, &text, &len, err);
        if (rc != METALLM_OK || what == CLI_LINE_END)
            return rc;
        if (is_blank(text, len))
            continue;
        if (metallm_outcomes_query_count(r->out) == 0 && text[0] == '{')
            r->is_json = true; /* of standard input: the first line tells */
        rc = r->is_json ? add_object(r, text, len, err) : add_prompt(r, text, len, err);
        if (rc != METALLM_OK)
            return rc;
    }
}

/* Does the first line that is not blank hold a prompt without outcomes? */
static int looks_like_prompts(int fd, bool *is_prompts, metallm_error *err)
{
    struct cli_lines lines;
    enum cli_line what = CLI_LINE_END;
    const char *text = NULL;
    size_t len = 0;
    int rc;
    cli_lines_init(&lines, fd);
    do
        rc = cli_lines_next(&lines, true, &what, &text, &len, err);
    while (rc == METALLM_OK && what == CLI_LINE_GOT && is_blank(text, len));
    *is_prompts = false;
    if (rc == METALLM_OK && what == CLI_LINE_GOT && text[0] == '{') {
        yyjson_doc *doc = NULL;
        metallm_error ignored;
        if (metallm__json_read(&doc, text, len, &ignored) == METALLM_OK)
            *is_prompts = is_prompt_object(yyjson_doc_get_root(doc));
        yyjson_doc_free(doc);
    }
    cli_lines_fini(&lines);
    /* A file of one enormous line is no list of prompts; its importer says what is wrong. */
    return rc == METALLM_ELIMIT ? METALLM_OK : rc;
}

static int read_prompts(const char *path, int fd, metallm_outcomes **out, metallm_error *err)
{
    struct reader r = {.path = path};
    int rc = metallm_outcomes_new(&r.out, err);
    if (rc != METALLM_OK)
        return rc;
    cli_lines_init(&r.lines, fd);
    rc = read_all(&r, err);
    cli_lines_fini(&r.lines);
    if (rc == METALLM_OK && metallm_outcomes_query_count(r.out) == 0)
        rc = metallm__error_set(err, METALLM_EFORMAT, "'%s' holds no prompt", path);
    if (rc == METALLM_OK)
        *out = r.out;
    else
        metallm_outcomes_free(r.out);
    return rc;
}

int cli_prompts_load(const struct cli_io *io, const struct cli_inputs_options *opts,
                     const char *path, metallm_outcomes **out, metallm_error *err)
{
    struct stat st;
    if (path == NULL || opts->format != NULL)
        return cli_inputs_load(io, opts, &path, path != NULL ? 1 : 0, out, err);
    if (strcmp(path, "-") == 0)
        return read_prompts("standard input", fileno(io->in), out, err);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return metallm__error_set(err, METALLM_EIO, "cannot open '%s'", path);
    bool is_prompts = false;
    int rc = METALLM_OK;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        is_prompts = ends_with(path, ".txt");
        if (!is_prompts)
            rc = looks_like_prompts(fd, &is_prompts, err);
    }
    if (rc == METALLM_OK && is_prompts) {
        rc = lseek(fd, 0, SEEK_SET) == 0
                 ? read_prompts(path, fd, out, err)
                 : metallm__error_set(err, METALLM_EIO, "cannot read '%s'", path);
    } else if (rc == METALLM_OK) {
        rc = cli_inputs_load(io, opts, &path, 1, out, err);
    }
    close(fd);
    return rc;
}
