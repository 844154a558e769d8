/* SPDX-License-Identifier: Apache-2.0
 * lines.c - see lines.h. */
#include "cli/lines.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"
#include "cli/progress.h"

#define READ_BYTES 65536u

void cli_lines_init(struct cli_lines *l, int fd)
{
    *l = (struct cli_lines){.fd = fd};
}

void cli_lines_fini(struct cli_lines *l)
{
    metallm__free(l->bytes);
    *l = (struct cli_lines){.fd = -1, .is_ended = true};
}

static int make_room(struct cli_lines *l, metallm_error *err)
{
    if (l->begin > 0) {
        memmove(l->bytes, l->bytes + l->begin, l->len - l->begin);
        l->len -= l->begin;
        l->begin = 0;
    }
    if (l->len >= CLI_LINE_BYTES_MAX)
        return metallm__error_set(err, METALLM_ELIMIT, "line %llu is longer than %u bytes",
                                  (unsigned long long)l->number + 1, CLI_LINE_BYTES_MAX);
    void *p = l->bytes;
    if (metallm__grow(&p, &l->cap, l->len + READ_BYTES, 1) != 0)
        return metallm__error_nomem(err, "a line");
    l->bytes = p;
    return METALLM_OK;
}

/* Reads once. *is_there: something came, or the end; false: reading would wait. */
static int fill(struct cli_lines *l, bool may_wait, bool *is_there, metallm_error *err)
{
    struct pollfd ready = {.fd = l->fd, .events = POLLIN};
    *is_there = may_wait || poll(&ready, 1, 0) != 0;
    if (!*is_there)
        return METALLM_OK;
    int rc = make_room(l, err);
    if (rc != METALLM_OK)
        return rc;
    ssize_t got;
    do {
        if (cli_progress_stop_signal() != 0)
            return metallm__error_set(err, METALLM_ECANCELED, "stopped");
        got = read(l->fd, l->bytes + l->len, READ_BYTES);
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return metallm__error_set(err, METALLM_EIO, "cannot read standard input: %s",
                                  strerror(errno));
    l->len += (size_t)got;
    l->is_ended = got == 0;
    return METALLM_OK;
}

static void give(struct cli_lines *l, size_t end, size_t next, const char **text, size_t *len)
{
    const char *start = l->bytes + l->begin;
    size_t n = end - l->begin;
    if (l->number++ == 0 && n >= 3 && memcmp(start, "\xef\xbb\xbf", 3) == 0) {
        start += 3;
        n -= 3;
    }
    if (n > 0 && start[n - 1] == '\r')
        n--;
    *text = start;
    *len = n;
    l->begin = next;
    l->seen = 0;
}

int cli_lines_next(struct cli_lines *l, bool may_wait, enum cli_line *what, const char **text,
                   size_t *len, metallm_error *err)
{
    for (;;) {
        size_t from = l->begin + l->seen;
        const char *end = l->len > from ? memchr(l->bytes + from, '\n', l->len - from) : NULL;
        if (end != NULL) {
            size_t at = (size_t)(end - l->bytes);
            *what = CLI_LINE_GOT;
            give(l, at, at + 1, text, len);
            return METALLM_OK;
        }
        l->seen = l->len - l->begin;
        if (l->is_ended) {
            *what = l->seen > 0 ? CLI_LINE_GOT : CLI_LINE_END;
            if (l->seen > 0)
                give(l, l->len, l->len, text, len);
            return METALLM_OK;
        }
        bool is_there = false;
        int rc = fill(l, may_wait, &is_there, err);
        if (rc != METALLM_OK)
            return rc;
        if (!is_there) {
            *what = CLI_LINE_LATER;
            return METALLM_OK;
        }
    }
}
