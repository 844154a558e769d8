/* SPDX-License-Identifier: Apache-2.0
 * http_head.c - collecting names and values. */
#include "net/http_head.h"

#include "base/mem.h"

void metallm__head_fini(struct metallm__http_head *head)
{
    metallm__free(head->bytes);
    metallm__free(head->headers);
    *head = (struct metallm__http_head){0};
}

void metallm__head_reset(struct metallm__http_head *head, size_t keep_bytes)
{
    if (head->cap > keep_bytes) {
        metallm__free(head->bytes);
        head->bytes = NULL;
        head->cap = 0;
    }
    head->n = head->count = 0;
    head->is_in_value = false;
}

static void move_span(struct metallm__span *span, const char *from, char *to)
{
    if (span->p != NULL)
        span->p = to + (span->p - from);
}

enum metallm__head_fault metallm__head_room(struct metallm__http_head *head, size_t n,
                                            struct metallm__span *extra)
{
    if (head->cap - head->n >= n)
        return METALLM__HEAD_OK;
    size_t cap = head->cap < 1024 ? 2048 : head->cap;
    while (cap - head->n < n)
        cap *= 2;
    char *more = metallm__alloc(cap, 1);
    if (more == NULL)
        return METALLM__HEAD_NO_MEMORY;
    if (head->n > 0)
        memcpy(more, head->bytes, head->n);
    for (size_t i = 0; i < head->count; i++) {
        move_span(&head->headers[i].name, head->bytes, more);
        move_span(&head->headers[i].value, head->bytes, more);
    }
    if (extra != NULL)
        move_span(extra, head->bytes, more);
    metallm__free(head->bytes);
    head->bytes = more;
    head->cap = cap;
    return METALLM__HEAD_OK;
}

static enum metallm__head_fault add(struct metallm__http_head *head, size_t n,
                                    struct metallm__span *extra)
{
    if (n > head->max - (head->n < head->max ? head->n : head->max))
        return METALLM__HEAD_TOO_LARGE;
    return metallm__head_room(head, n, extra);
}

enum metallm__head_fault metallm__head_name(struct metallm__http_head *head, const char *p,
                                            size_t n, struct metallm__span *extra)
{
    enum metallm__head_fault fault = add(head, n, extra);
    if (fault != METALLM__HEAD_OK)
        return fault;
    char *at = head->bytes + head->n;
    for (size_t i = 0; i < n; i++)
        at[i] = metallm__lower(p[i]);
    if (head->count == 0 || head->is_in_value) {
        if (head->count == head->count_max)
            return METALLM__HEAD_TOO_LARGE;
        if (head->count == head->header_cap &&
            metallm__grow((void **)&head->headers, &head->header_cap,
                          head->count == 0 ? 32 : head->count + 1, sizeof *head->headers) != 0)
            return METALLM__HEAD_NO_MEMORY;
        head->headers[head->count++] = (struct metallm__header){.name = {at, 0}};
        head->is_in_value = false;
    }
    head->headers[head->count - 1].name.n += n;
    head->n += n;
    return METALLM__HEAD_OK;
}

enum metallm__head_fault metallm__head_value(struct metallm__http_head *head, const char *p,
                                             size_t n, struct metallm__span *extra)
{
    enum metallm__head_fault fault = add(head, n, extra);
    if (fault != METALLM__HEAD_OK)
        return fault;
    if (n > 0)
        memcpy(head->bytes + head->n, p, n);
    struct metallm__header *h = &head->headers[head->count - 1];
    if (h->value.p == NULL)
        h->value.p = head->bytes + head->n;
    h->value.n += n;
    head->n += n;
    head->is_in_value = true;
    return METALLM__HEAD_OK;
}

bool metallm__head_finish(struct metallm__http_head *head)
{
    for (size_t i = 0; i < head->count; i++) {
        struct metallm__header *h = &head->headers[i];
        h->value = metallm__span_trim(h->value);
        for (size_t k = 0; k < h->value.n; k++) {
            unsigned char c = (unsigned char)h->value.p[k];
            if ((c < 0x20 && c != '\t') || c == 0x7f)
                return false;
        }
    }
    return true;
}

size_t metallm__head_count(const struct metallm__http_head *head, const char *lower_name,
                           struct metallm__span *value)
{
    size_t count = 0, n = strlen(lower_name);
    for (size_t i = 0; i < head->count; i++) {
        const struct metallm__header *h = &head->headers[i];
        if (h->name.n == n && memcmp(h->name.p, lower_name, n) == 0 && count++ == 0)
            *value = h->value;
    }
    return count;
}
