/* SPDX-License-Identifier: Apache-2.0
 * fuzz_aws_events.c - any bytes as AWS's event stream: refused, or messages that lie within what
 * came, the same however it is cut. With an odd first byte the checksums are put right first, so
 * that what lies behind them is reached. */
#include <stdlib.h>

#include "fuzz/fuzz.h"
#include "metallm/base.h"
#include "wire/aws_events.h"

#define MUST(fact) ((fact) ? (void)0 : __builtin_trap())

static uint32_t crc_of(const uint8_t *p, size_t n)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ ((crc & 1u) != 0 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static uint32_t number(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put(uint8_t *p, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        p[i] = (uint8_t)(value >> (24 - 8 * i));
}

static void repair(uint8_t *p, size_t n)
{
    while (n >= 16) {
        size_t len = number(p);
        put(p + 8, crc_of(p, 8));
        if (len < 16 || len > n)
            return;
        put(p + len - 4, crc_of(p, len - 4));
        p += len;
        n -= len;
    }
}

struct seen {
    size_t events, bytes;
    uint32_t sum;
};

static void see(struct seen *s, struct metallm__span part)
{
    s->bytes += part.n;
    for (size_t i = 0; i < part.n; i++)
        s->sum = s->sum * 31 + (unsigned char)part.p[i];
}

static int take(void *payload, const struct metallm__aws_event *e)
{
    struct seen *s = payload;
    s->events++;
    see(s, e->type);
    see(s, e->name);
    see(s, e->message);
    see(s, e->payload);
    return METALLM_OK;
}

static int feed(const uint8_t *data, size_t size, size_t step, struct seen *s)
{
    struct metallm__aws_events p;
    metallm_error err = {0};
    int rc = METALLM_OK;
    metallm__aws_events_init(&p);
    for (size_t at = 0; at < size && rc == METALLM_OK; at += step) {
        size_t n = size - at < step ? size - at : step;
        char *exact = malloc(n);
        memcpy(exact, data + at, n);
        rc = metallm__aws_events_feed(&p, metallm__span(exact, n), take, s, &err);
        free(exact);
    }
    if (rc == METALLM_OK)
        rc = metallm__aws_events_end(&p, &err);
    MUST((rc == METALLM_OK) == (err.message[0] == '\0'));
    metallm__aws_events_fini(&p);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen whole = {0}, cut = {0};
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (size > 0)
        memcpy(copy, data, size);
    if (size > 1 && (copy[0] & 1) != 0)
        repair(copy + 1, size - 1);
    size_t n = size > 0 ? size - 1 : 0;
    int rc = feed(copy + 1, n, n > 0 ? n : 1, &whole);
    MUST(feed(copy + 1, n, 5, &cut) == rc);
    MUST(whole.events == cut.events && whole.sum == cut.sum && whole.bytes <= n);
    free(copy);
    return 0;
}
