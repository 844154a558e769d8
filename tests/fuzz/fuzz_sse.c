/* SPDX-License-Identifier: Apache-2.0
 * fuzz_sse.c - any bytes as server-sent events: whole and byte by byte give the same events, and
 * the raw bytes of all events are the beginning of what came. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "wire/sse.h"

struct seen {
    const uint8_t *bytes;
    size_t size, at; /* raw bytes so far */
    uint64_t hash, events;
    bool is_end; /* what is given now may be closed by what was missing */
};

static int see(void *payload, const struct metallm__sse_event *e)
{
    struct seen *s = payload;
    if (e == NULL)
        return METALLM_OK;
    size_t n = e->raw.n < s->size - s->at ? e->raw.n : s->size - s->at;
    if ((n < e->raw.n && !s->is_end) || memcmp(e->raw.p, s->bytes + s->at, n) != 0)
        __builtin_trap();
    s->at += n;
    s->events++;
    for (size_t i = 0; i < e->data.n; i++)
        s->hash = s->hash * 31 + (unsigned char)e->data.p[i];
    for (size_t i = 0; i < e->name.n; i++)
        s->hash = s->hash * 37 + (unsigned char)e->name.p[i];
    return METALLM_OK;
}

static int run(const uint8_t *data, size_t size, size_t step, struct seen *s)
{
    struct metallm__sse p;
    int rc = METALLM_OK;
    *s = (struct seen){.bytes = data, .size = size};
    metallm__sse_init(&p, 4096);
    for (size_t at = 0; at < size && rc == METALLM_OK; at += step) {
        size_t n = size - at < step ? size - at : step;
        rc = metallm__sse_feed(&p, metallm__span((const char *)data + at, n), see, s, NULL);
    }
    s->is_end = true;
    if (rc == METALLM_OK)
        rc = metallm__sse_end(&p, see, s, NULL);
    metallm__sse_fini(&p);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen whole, cut;
    int one = run(data, size, size > 0 ? size : 1, &whole), two = run(data, size, 1, &cut);
    /* A CR at the very end of a feed ends its event before the LF that belongs to it. */
    if (one != two || (one == METALLM_OK && whole.hash != cut.hash))
        __builtin_trap();
    return 0;
}
