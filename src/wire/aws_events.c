/* SPDX-License-Identifier: Apache-2.0
 * aws_events.c - see aws_events.h. A message that lies whole in the caller's bytes is not copied;
 * the lengths are checked as soon as the 12 bytes that tell them are there. */
#include "wire/aws_events.h"

#include "base/error.h"

#define PRELUDE_BYTES 12u
#define CRC_BYTES     4u

/* ---- CRC-32, eight bytes a step: a table for each number of bytes that follow the one looked up.
 * The CRC is linear, so a byte's is the sum of its bits', and eight numbers make a table. ---- */

#define BIT(i, bit, crc) ((i) >> (bit)&1u ? (crc) : 0u)
#define SUM(i, a, b, c, d, e, f, g, h)                                                             \
    (BIT(i, 0, a) ^ BIT(i, 1, b) ^ BIT(i, 2, c) ^ BIT(i, 3, d) ^ BIT(i, 4, e) ^ BIT(i, 5, f) ^     \
     BIT(i, 6, g) ^ BIT(i, 7, h))
#define FOLLOWED_BY_0(i)                                                                           \
    SUM(i, 0x77073096u, 0xee0e612cu, 0x076dc419u, 0x0edb8832u, 0x1db71064u, 0x3b6e20c8u,           \
        0x76dc4190u, 0xedb88320u)
#define FOLLOWED_BY_1(i)                                                                           \
    SUM(i, 0x191b3141u, 0x32366282u, 0x646cc504u, 0xc8d98a08u, 0x4ac21251u, 0x958424a2u,           \
        0xf0794f05u, 0x3b83984bu)
#define FOLLOWED_BY_2(i)                                                                           \
    SUM(i, 0x01c26a37u, 0x0384d46eu, 0x0709a8dcu, 0x0e1351b8u, 0x1c26a370u, 0x384d46e0u,           \
        0x709a8dc0u, 0xe1351b80u)
#define FOLLOWED_BY_3(i)                                                                           \
    SUM(i, 0xb8bc6765u, 0xaa09c88bu, 0x8f629757u, 0xc5b428efu, 0x5019579fu, 0xa032af3eu,           \
        0x9b14583du, 0xed59b63bu)
#define FOLLOWED_BY_4(i)                                                                           \
    SUM(i, 0x3d6029b0u, 0x7ac05360u, 0xf580a6c0u, 0x30704bc1u, 0x60e09782u, 0xc1c12f04u,           \
        0x58f35849u, 0xb1e6b092u)
#define FOLLOWED_BY_5(i)                                                                           \
    SUM(i, 0xcb5cd3a5u, 0x4dc8a10bu, 0x9b914216u, 0xec53826du, 0x03d6029bu, 0x07ac0536u,           \
        0x0f580a6cu, 0x1eb014d8u)
#define FOLLOWED_BY_6(i)                                                                           \
    SUM(i, 0xa6770bb4u, 0x979f1129u, 0xf44f2413u, 0x33ef4e67u, 0x67de9cceu, 0xcfbd399cu,           \
        0x440b7579u, 0x8816eaf2u)
#define FOLLOWED_BY_7(i)                                                                           \
    SUM(i, 0xccaa009eu, 0x4225077du, 0x844a0efau, 0xd3e51bb5u, 0x7cbb312bu, 0xf9766256u,           \
        0x299dc2edu, 0x533b85dau)
#define FOUR(row, i)    row(i), row((i) + 1u), row((i) + 2u), row((i) + 3u)
#define SIXTEEN(row, i) FOUR(row, i), FOUR(row, (i) + 4u), FOUR(row, (i) + 8u), FOUR(row, (i) + 12u)
#define SIXTY_FOUR(row, i)                                                                         \
    SIXTEEN(row, i), SIXTEEN(row, (i) + 16u), SIXTEEN(row, (i) + 32u), SIXTEEN(row, (i) + 48u)
#define TABLE(row)                                                                                 \
    {                                                                                              \
        SIXTY_FOUR(row, 0u), SIXTY_FOUR(row, 64u), SIXTY_FOUR(row, 128u), SIXTY_FOUR(row, 192u)    \
    }

static const uint32_t tables[8][256] = {
    TABLE(FOLLOWED_BY_0), TABLE(FOLLOWED_BY_1), TABLE(FOLLOWED_BY_2), TABLE(FOLLOWED_BY_3),
    TABLE(FOLLOWED_BY_4), TABLE(FOLLOWED_BY_5), TABLE(FOLLOWED_BY_6), TABLE(FOLLOWED_BY_7)};

static uint32_t crc32_of(const char *bytes, size_t n)
{
    uint32_t crc = 0xffffffffu;
    for (; n >= 8; n -= 8, bytes += 8) {
        uint64_t w;
        memcpy(&w, bytes, sizeof w);
        w ^= crc;
        crc = 0;
        for (unsigned i = 0; i < 8; i++)
            crc ^= tables[7 - i][w >> 8 * i & 0xff];
    }
    for (; n > 0; n--, bytes++)
        crc = tables[0][(crc ^ (unsigned char)*bytes) & 0xff] ^ crc >> 8;
    return ~crc;
}

/* ---- Messages. ---- */

static uint32_t number_at(const char *bytes)
{
    uint32_t n;
    memcpy(&n, bytes, sizeof n);
    return __builtin_bswap32(n);
}

/* The message's length, from the 12 bytes that it begins with. */
static int read_prelude(const char *bytes, size_t *total, metallm_error *err)
{
    uint32_t all = number_at(bytes), headers = number_at(bytes + 4);
    if (crc32_of(bytes, PRELUDE_BYTES - CRC_BYTES) != number_at(bytes + 8))
        return metallm__error_set(err, METALLM_EFORMAT,
                                  "an event's lengths do not match their CRC");
    if (all < PRELUDE_BYTES + CRC_BYTES || headers > all - PRELUDE_BYTES - CRC_BYTES)
        return metallm__error_set(err, METALLM_EFORMAT, "an event of %u bytes with %u of headers",
                                  all, headers);
    if (all > METALLM__AWS_EVENT_BYTES_MAX)
        return metallm__error_set(err, METALLM_ELIMIT, "an event of more than %zu bytes",
                                  METALLM__AWS_EVENT_BYTES_MAX);
    *total = all;
    return METALLM_OK;
}

struct headers {
    struct metallm__span rest;
    struct metallm__span type, event_type, exception_type, error_code, error_message;
};

/* The first n bytes of the rest; false: there are fewer. */
static bool cut(struct metallm__span *rest, size_t n, struct metallm__span *out)
{
    if (n > rest->n)
        return false;
    *out = metallm__span(rest->p, n);
    *rest = metallm__span(rest->p + n, rest->n - n);
    return true;
}

/* A value of this type; only a string's bytes are of interest. */
static bool cut_value(struct metallm__span *rest, unsigned type, struct metallm__span *out)
{
    static const uint8_t sizes[] = {0, 0, 1, 2, 4, 8, 0, 0, 8, 16};
    struct metallm__span size;
    if (type >= sizeof sizes)
        return false;
    if (type != 6 && type != 7)
        return cut(rest, sizes[type], out);
    return cut(rest, 2, &size) &&
           cut(rest, (size_t)(unsigned char)size.p[0] << 8 | (unsigned char)size.p[1], out);
}

static bool read_header(struct headers *h)
{
    struct metallm__span size, name, type, value;
    if (!cut(&h->rest, 1, &size) || !cut(&h->rest, (unsigned char)size.p[0], &name) ||
        !cut(&h->rest, 1, &type) || !cut_value(&h->rest, (unsigned char)type.p[0], &value))
        return false;
    struct metallm__span *to = metallm__span_is(name, ":message-type")     ? &h->type
                               : metallm__span_is(name, ":event-type")     ? &h->event_type
                               : metallm__span_is(name, ":exception-type") ? &h->exception_type
                               : metallm__span_is(name, ":error-code")     ? &h->error_code
                               : metallm__span_is(name, ":error-message")  ? &h->error_message
                                                                           : NULL;
    if (to == NULL || type.p[0] != 7)
        return true;
    bool is_twice = to->p != NULL;
    *to = value;
    return !is_twice;
}

/* A whole message, whose lengths have been checked. */
static int give(struct metallm__span m, metallm__aws_sink sink, void *payload, metallm_error *err)
{
    size_t checked = m.n - CRC_BYTES, header_bytes = number_at(m.p + 4);
    if (crc32_of(m.p, checked) != number_at(m.p + checked))
        return metallm__error_set(err, METALLM_EFORMAT, "an event does not match its CRC");
    struct headers h = {.rest = {m.p + PRELUDE_BYTES, header_bytes}};
    while (h.rest.n > 0)
        if (!read_header(&h))
            return metallm__error_set(err, METALLM_EFORMAT, "an event's headers are damaged");
    struct metallm__aws_event event = {
        .type = h.type,
        .name = metallm__span_is(h.type, "exception") ? h.exception_type
                : metallm__span_is(h.type, "error")   ? h.error_code
                                                      : h.event_type,
        .message = h.error_message,
        .payload = {m.p + PRELUDE_BYTES + header_bytes, checked - PRELUDE_BYTES - header_bytes},
    };
    return sink(payload, &event);
}

void metallm__aws_events_init(struct metallm__aws_events *p)
{
    metallm__buf_init(&p->held, METALLM__AWS_EVENT_BYTES_MAX);
}

void metallm__aws_events_fini(struct metallm__aws_events *p)
{
    metallm__buf_fini(&p->held);
}

/* Puts what the held message lacks to it, up to `most` bytes in all. */
static int hold(struct metallm__aws_events *p, struct metallm__span *in, size_t most,
                metallm_error *err)
{
    size_t lacking = most - p->held.len, n = in->n < lacking ? in->n : lacking;
    metallm__buf_add(&p->held, in->p, n);
    *in = metallm__span(in->p + n, in->n - n);
    return metallm__buf_check(&p->held, err);
}

static int give_held(struct metallm__aws_events *p, struct metallm__span *in,
                     metallm__aws_sink sink, void *payload, metallm_error *err)
{
    size_t total = 0;
    int rc = p->held.len < PRELUDE_BYTES ? hold(p, in, PRELUDE_BYTES, err) : METALLM_OK;
    if (rc != METALLM_OK || p->held.len < PRELUDE_BYTES)
        return rc;
    rc = read_prelude(p->held.data, &total, err);
    if (rc == METALLM_OK)
        rc = hold(p, in, total, err);
    if (rc != METALLM_OK || p->held.len < total)
        return rc;
    rc = give(metallm__span(p->held.data, total), sink, payload, err);
    metallm__buf_clear(&p->held);
    return rc;
}

int metallm__aws_events_feed(struct metallm__aws_events *p, struct metallm__span in,
                             metallm__aws_sink sink, void *payload, metallm_error *err)
{
    int rc = METALLM_OK;
    while (rc == METALLM_OK && in.n > 0) {
        struct metallm__span message = {NULL, 0};
        size_t total = SIZE_MAX;
        if (p->held.len == 0 && in.n >= PRELUDE_BYTES)
            rc = read_prelude(in.p, &total, err);
        if (rc == METALLM_OK && cut(&in, total, &message))
            rc = give(message, sink, payload, err);
        else if (rc == METALLM_OK)
            rc = give_held(p, &in, sink, payload, err);
    }
    return rc;
}

int metallm__aws_events_end(const struct metallm__aws_events *p, metallm_error *err)
{
    return p->held.len == 0
               ? METALLM_OK
               : metallm__error_set(err, METALLM_EFORMAT, "the stream ended within an event");
}
