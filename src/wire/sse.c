/* SPDX-License-Identifier: Apache-2.0
 * sse.c - see sse.h. Lines are found by memchr; an event is looked at once it is whole. Events that
 * lie whole in the caller's bytes are never copied; what is left of an event is held. */
#include "wire/sse.h"

#include <string.h>

#include "base/error.h"

void metallm__sse_init(struct metallm__sse *p, size_t event_bytes_max)
{
    *p = (struct metallm__sse){.event_bytes_max = event_bytes_max};
    /* The event that is too large by one feed is held before it is refused. */
    metallm__buf_init(&p->held, SIZE_MAX / 2);
    metallm__buf_init(&p->joined, event_bytes_max + 1);
}

void metallm__sse_fini(struct metallm__sse *p)
{
    metallm__buf_fini(&p->held);
    metallm__buf_fini(&p->joined);
}

/* The first CR or LF in bytes[from, end); end: none. */
static size_t line_end(const char *bytes, size_t from, size_t end)
{
    if (from >= end)
        return end;
    const char *lf = memchr(bytes + from, '\n', end - from);
    size_t at = lf != NULL ? (size_t)(lf - bytes) : end;
    const char *cr = memchr(bytes + from, '\r', at - from);
    return cr != NULL ? (size_t)(cr - bytes) : at;
}

/* "field: value" of one line into the event. */
static void take_line(struct metallm__sse *p, struct metallm__sse_event *e, struct metallm__span l)
{
    const char *colon = l.n > 0 ? memchr(l.p, ':', l.n) : NULL;
    struct metallm__span name = {l.p, colon != NULL ? (size_t)(colon - l.p) : l.n};
    struct metallm__span value = {l.p + l.n, 0};
    if (colon != NULL) {
        value = metallm__span(colon + 1, l.n - name.n - 1);
        if (value.n > 0 && value.p[0] == ' ')
            value = metallm__span(value.p + 1, value.n - 1);
    }
    if (metallm__span_is(name, "event")) {
        e->name = value;
    } else if (metallm__span_is(name, "data")) {
        if (!e->has_data) {
            e->data = value;
            e->has_data = true;
            return;
        }
        if (e->data.p != p->joined.data || p->joined.len == 0) { /* the second one: begin to join */
            metallm__buf_clear(&p->joined);
            metallm__buf_add(&p->joined, e->data.p, e->data.n);
        }
        metallm__buf_add(&p->joined, "\n", 1);
        metallm__buf_add(&p->joined, value.p, value.n);
        e->data = metallm__span(p->joined.data, p->joined.len);
    }
}

/* Gives the event that lies in bytes[begin, end) on. */
static int give(struct metallm__sse *p, const char *bytes, size_t begin, size_t end,
                metallm__sse_sink sink, void *payload, metallm_error *err)
{
    struct metallm__sse_event e = {.raw = {bytes + begin, end - begin}};
    if (e.raw.n > p->event_bytes_max)
        return metallm__error_set(err, METALLM_ELIMIT, "an event of more than %zu bytes",
                                  p->event_bytes_max);
    metallm__buf_clear(&p->joined);
    size_t at = begin;
    if (!p->is_started && e.raw.n >= 3 && memcmp(e.raw.p, "\xef\xbb\xbf", 3) == 0)
        at += 3;
    p->is_started = true;
    while (at < end) {
        size_t stop = line_end(bytes, at, end);
        take_line(p, &e, metallm__span(bytes + at, stop - at));
        at = stop + 1; /* between CR and LF stands an empty line, which says nothing */
    }
    int rc = metallm__buf_check(&p->joined, err);
    return rc == METALLM_OK ? sink(payload, &e) : rc;
}

/* Gives all whole events of in on; *used is where the first that is not whole begins. p->line and
 * p->scanned are offsets in `in` and stay so. */
static int scan(struct metallm__sse *p, struct metallm__span in, size_t *used,
                metallm__sse_sink sink, void *payload, metallm_error *err)
{
    size_t begin = 0;
    *used = 0;
    for (;;) {
        if (p->after_cr && p->scanned < in.n) {
            p->after_cr = false;
            if (in.p[p->scanned] == '\n') { /* of a CRLF: no line of its own */
                p->line = ++p->scanned;
            }
        }
        size_t stop = line_end(in.p, p->scanned, in.n);
        if (stop == in.n) {
            p->scanned = in.n;
            *used = begin;
            return METALLM_OK;
        }
        bool is_blank = stop == p->line;
        p->after_cr = in.p[stop] == '\r';
        p->scanned = p->line = stop + 1;
        if (!is_blank)
            continue;
        if (p->after_cr && stop + 1 < in.n && in.p[stop + 1] == '\n') { /* the LF goes with it */
            p->after_cr = false;
            p->scanned = p->line = stop + 2;
        }
        int rc = give(p, in.p, begin, p->line, sink, payload, err);
        if (rc != METALLM_OK)
            return rc;
        begin = p->line;
    }
}

/* What has not ended is kept, and offsets count from its beginning. */
static int hold(struct metallm__sse *p, struct metallm__span in, size_t used, metallm_error *err)
{
    size_t left = in.n - used;
    if (left > p->event_bytes_max)
        return metallm__error_set(err, METALLM_ELIMIT, "an event of more than %zu bytes",
                                  p->event_bytes_max);
    p->line -= used;
    p->scanned -= used;
    if (in.p == p->held.data) {
        if (left > 0 && used > 0)
            memmove(p->held.data, p->held.data + used, left);
        p->held.len = left;
        return METALLM_OK;
    }
    metallm__buf_clear(&p->held);
    metallm__buf_add(&p->held, in.p + used, left);
    return metallm__buf_check(&p->held, err);
}

int metallm__sse_feed(struct metallm__sse *p, struct metallm__span in, metallm__sse_sink sink,
                      void *payload, metallm_error *err)
{
    if (in.n == 0)
        return METALLM_OK;
    if (p->held.len > 0) {
        metallm__buf_add(&p->held, in.p, in.n);
        int rc = metallm__buf_check(&p->held, err);
        if (rc != METALLM_OK)
            return rc;
        in = metallm__span(p->held.data, p->held.len);
    }
    size_t used = 0;
    int rc = scan(p, in, &used, sink, payload, err);
    if (rc == METALLM_OK)
        rc = sink(payload, NULL);
    return rc == METALLM_OK ? hold(p, in, used, err) : rc;
}

int metallm__sse_end(struct metallm__sse *p, metallm__sse_sink sink, void *payload,
                     metallm_error *err)
{
    if (p->held.len == 0 || (p->held.len == 1 && p->held.data[0] == '\n')) /* the end of a CRLF */
        return METALLM_OK;
    char last = p->held.data[p->held.len - 1];
    metallm__buf_puts(&p->held, last == '\n' || last == '\r' ? "\n" : "\n\n");
    int rc = metallm__buf_check(&p->held, err);
    if (rc == METALLM_OK)
        rc = give(p, p->held.data, 0, p->held.len, sink, payload, err);
    if (rc == METALLM_OK)
        rc = sink(payload, NULL);
    metallm__buf_clear(&p->held);
    return rc;
}

void metallm__sse_write(struct metallm__buf *out, const char *name, struct metallm__span data)
{
    if (name != NULL) {
        metallm__buf_puts(out, "event: ");
        metallm__buf_puts(out, name);
        metallm__buf_add(out, "\n", 1);
    }
    for (size_t at = 0; at <= data.n;) {
        size_t stop = line_end(data.p, at, data.n);
        metallm__buf_add(out, "data: ", 6);
        metallm__buf_add(out, data.p + at, stop - at);
        metallm__buf_add(out, "\n", 1);
        at = stop + 1;
        if (stop < data.n && data.p[stop] == '\r' && at < data.n && data.p[at] == '\n')
            at++;
    }
    metallm__buf_add(out, "\n", 1);
}
