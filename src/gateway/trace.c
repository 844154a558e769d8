/* SPDX-License-Identifier: Apache-2.0
 * trace.c - request ids and W3C trace contexts (https://www.w3.org/TR/trace-context/, version 00);
 * see log.h. */
#include <string.h>

#include "base/rng.h"
#include "gateway/log.h"

static const char digits[] = "0123456789abcdef";

static void put_hex(char *out, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
}

static void draw(metallm_rng *rng, uint8_t *bytes, size_t count)
{
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++, value >>= 8) {
        if (i % 8 == 0)
            value = metallm__rng_next(rng);
        bytes[i] = (uint8_t)value;
    }
}

void metallm__request_id(metallm_rng *rng, char id[METALLM__REQUEST_ID_LEN + 1])
{
    uint8_t bytes[12];
    draw(rng, bytes, sizeof bytes);
    memcpy(id, "req_", 4);
    put_hex(id + 4, bytes, sizeof bytes);
    id[METALLM__REQUEST_ID_LEN] = '\0';
}

/* Lower-case digits alone, as the standard asks; false: not these, or all zero. */
static bool read_hex(uint8_t *out, const char *text, size_t count)
{
    unsigned any = 0;
    for (size_t i = 0; i < 2 * count; i++) {
        const char *d = memchr(digits, text[i], 16);
        if (d == NULL)
            return false;
        const unsigned value = (unsigned)(d - digits);
        out[i / 2] = (uint8_t)(i % 2 == 0 ? value << 4 : out[i / 2] | value);
        any |= value;
    }
    return any != 0;
}

bool metallm__trace_parse(struct metallm__trace *out, const char *text, size_t len)
{
    uint8_t version = 0, flags = 0;
    /* A later version may be longer: what follows a further '-' is left out. */
    if (len < METALLM__TRACEPARENT_LEN || text[2] != '-' || text[35] != '-' || text[52] != '-')
        return false;
    struct metallm__trace t;
    bool has_version = memcmp(text, "00", 2) == 0;
    if (!has_version && (!read_hex(&version, text, 1) || version == 0xff))
        return false;
    if (len > METALLM__TRACEPARENT_LEN && (has_version || text[METALLM__TRACEPARENT_LEN] != '-'))
        return false;
    if (!read_hex(t.trace, text + 3, sizeof t.trace) || !read_hex(t.span, text + 36, sizeof t.span))
        return false;
    if (!read_hex(&flags, text + 53, 1) && memcmp(text + 53, "00", 2) != 0)
        return false;
    t.flags = flags & 1; /* sampled; version 00 knows no other */
    *out = t;
    return true;
}

void metallm__trace_begin(struct metallm__trace *out, metallm_rng *rng)
{
    draw(rng, out->trace, sizeof out->trace);
    draw(rng, out->span, sizeof out->span);
    out->trace[15] |= 1; /* never all zero */
    out->span[7] |= 1;
    out->flags = 0;
}

void metallm__trace_child(struct metallm__trace *out, const struct metallm__trace *parent,
                          metallm_rng *rng)
{
    *out = *parent;
    draw(rng, out->span, sizeof out->span);
    out->span[7] |= 1;
}

void metallm__trace_text(const struct metallm__trace *t, char out[METALLM__TRACEPARENT_LEN + 1])
{
    memcpy(out, "00-", 3);
    put_hex(out + 3, t->trace, sizeof t->trace);
    out[35] = '-';
    put_hex(out + 36, t->span, sizeof t->span);
    out[52] = '-';
    put_hex(out + 53, &t->flags, 1);
    out[METALLM__TRACEPARENT_LEN] = '\0';
}
