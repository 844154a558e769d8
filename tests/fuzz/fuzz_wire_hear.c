/* SPDX-License-Identifier: Apache-2.0
 * fuzz_wire_hear.c - any bytes as a streamed answer of the protocol that the first byte chooses,
 * told to a client of the surface that the second one does: however it is cut, the same events of
 * valid JSON, and where both speak the same, nothing but what came. For AWS's framing each line
 * "NAME JSON" becomes a message with right checksums. */
#include "fuzz/fuzz.h"
#include "fuzz/wire_kinds.h"

struct told {
    struct metallm__buf bytes;
};

static int take(void *payload, enum metallm__wire_piece_kind kind, struct metallm__span bytes)
{
    struct told *t = payload;
    (void)kind;
    metallm__buf_add(&t->bytes, bytes.p, bytes.n);
    return METALLM_OK;
}

static int check_event(void *payload, const struct metallm__sse_event *e)
{
    (void)payload;
    if (e != NULL && e->has_data && !metallm__span_is(e->data, "[DONE]"))
        must_be_json(e->data.p, e->data.n);
    return METALLM_OK;
}

static void check_told(const struct told *t)
{
    struct metallm__sse sse;
    metallm__sse_init(&sse, (size_t)1 << 28);
    if (t->bytes.len > 0)
        MUST(metallm__sse_feed(&sse, metallm__span(t->bytes.data, t->bytes.len), check_event, NULL,
                               NULL) == METALLM_OK);
    metallm__sse_fini(&sse);
}

/* Ids that we made ourselves differ: texts of hexadecimal digits are left out. */
static void forget_ids(struct metallm__buf *b)
{
    size_t put = 0;
    for (size_t i = 0, n; i < b->len; i += n) {
        n = 0;
        while (i + n < b->len && strchr("0123456789abcdef", b->data[i + n]) != NULL &&
               b->data[i + n] != '\0')
            n++;
        bool is_id = n >= 8;
        n = n > 0 ? n : 1;
        if (!is_id)
            memmove(b->data + put, b->data + i, n);
        put += is_id ? 0 : n;
    }
    b->len = put;
}

static int stream(const struct metallm__wire *w, const struct metallm__wire_request *r,
                  bool is_translated, struct metallm__span in, size_t step, struct told *t)
{
    struct metallm__wire_stream s;
    const struct metallm__wire_out out = {.is_translated = is_translated};
    metallm_error err = {0};
    int rc = METALLM_OK;
    metallm__wire_stream_init(&s, w, r, &out, 5);
    for (size_t at = 0; at < in.n && rc == METALLM_OK; at += step) {
        size_t n = in.n - at < step ? in.n - at : step;
        char *exact = malloc(n);
        memcpy(exact, in.p + at, n);
        rc = metallm__wire_stream_feed(&s, metallm__span(exact, n), take, t, &err);
        free(exact);
    }
    if (rc == METALLM_OK)
        rc = metallm__wire_stream_end(&s, take, t, &err);
    MUST((rc == METALLM_OK) == (err.message[0] == '\0'));
    metallm__wire_stream_fini(&s);
    return rc;
}

/* ---- AWS's framing. ---- */

static uint32_t crc_of(const char *p, size_t n)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < n; i++) {
        crc ^= (unsigned char)p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ ((crc & 1u) != 0 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static void put_number(struct metallm__buf *b, uint32_t value, unsigned bytes)
{
    for (unsigned i = bytes; i-- > 0;) {
        char byte = (char)(value >> 8 * i);
        metallm__buf_add(b, &byte, 1);
    }
}

static void put_header(struct metallm__buf *b, const char *name, struct metallm__span value)
{
    put_number(b, (uint32_t)strlen(name), 1);
    metallm__buf_puts(b, name);
    put_number(b, 7, 1); /* a string */
    put_number(b, (uint32_t)value.n, 2);
    metallm__buf_add(b, value.p, value.n);
}

/* A line that begins with "!" is an exception. */
static void put_message(struct metallm__buf *out, struct metallm__span line)
{
    bool is_exception = line.n > 0 && line.p[0] == '!';
    line.p += is_exception;
    line.n -= is_exception;
    const char *blank = line.n > 0 ? memchr(line.p, ' ', line.n) : NULL;
    size_t name = blank != NULL ? (size_t)(blank - line.p) : line.n;
    name = name > 1000 ? 1000 : name;
    struct metallm__buf headers;
    metallm__buf_init(&headers, 4096);
    put_header(&headers, ":message-type", metallm__span_of(is_exception ? "exception" : "event"));
    put_header(&headers, is_exception ? ":exception-type" : ":event-type",
               metallm__span(line.p, name));
    size_t payload = line.n - name - (blank != NULL && name < line.n), begin = out->len;
    put_number(out, (uint32_t)(16 + headers.len + payload), 4);
    put_number(out, (uint32_t)headers.len, 4);
    put_number(out, crc_of(out->data + begin, 8), 4);
    metallm__buf_add(out, headers.data, headers.len);
    metallm__buf_add(out, line.p + line.n - payload, payload);
    put_number(out, crc_of(out->data + begin, out->len - begin), 4);
    metallm__buf_fini(&headers);
}

static void frame(struct metallm__span text, struct metallm__buf *out)
{
    while (text.n > 0) {
        const char *end = memchr(text.p, '\n', text.n);
        size_t n = end != NULL ? (size_t)(end - text.p) : text.n;
        put_message(out, metallm__span(text.p, n));
        n += end != NULL;
        text = metallm__span(text.p + n, text.n - n);
    }
}

/* Both ways of feeding give the same. */
static void translated(const struct metallm__wire *w, const struct metallm__wire_request *r,
                       struct metallm__span in)
{
    struct told whole, cut;
    metallm__buf_init(&whole.bytes, (size_t)1 << 28);
    metallm__buf_init(&cut.bytes, (size_t)1 << 28);
    int rc = stream(w, r, true, in, in.n > 0 ? in.n : 1, &whole);
    check_told(&whole);
    MUST(stream(w, r, true, in, 7, &cut) == rc);
    forget_ids(&whole.bytes);
    forget_ids(&cut.bytes);
    MUST(metallm__span_eq(metallm__span(whole.bytes.data, whole.bytes.len),
                          metallm__span(cut.bytes.data, cut.bytes.len)));
    metallm__buf_fini(&whole.bytes);
    metallm__buf_fini(&cut.bytes);
}

/* What passes is the beginning of what came; an event at the very end may have been closed. */
static void native(const struct metallm__wire *w, const struct metallm__wire_request *r,
                   struct metallm__span in, size_t step)
{
    struct told t;
    metallm__buf_init(&t.bytes, (size_t)1 << 28);
    (void)stream(w, r, false, in, step, &t);
    size_t n = t.bytes.len < in.n ? t.bytes.len : in.n;
    MUST(t.bytes.len <= in.n + 4 && (n == 0 || memcmp(t.bytes.data, in.p, n) == 0));
    metallm__buf_fini(&t.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const struct metallm__wire *w = wire_by(data[0]);
    unsigned k = data[1] % WIRE_KINDS;
    struct metallm__span in = metallm__span((const char *)data + 2, size - 2);
    struct metallm__wire_request r;
    struct metallm__buf framed;
    if (w->event_in == NULL)
        return 0;
    metallm__buf_init(&framed, (size_t)1 << 28);
    if (w->framing == METALLM__FRAMING_AWS) {
        frame(in, &framed);
        in = metallm__span(framed.data, framed.len);
    }
    MUST(metallm__wire_request_read(&r, wire_kinds[k].kind, metallm__span_of(wire_kinds[k].body),
                                    NULL, NULL) == METALLM_OK);
    translated(w, &r, in);
    if ((w->native >> r.kind & 1u) != 0) {
        native(w, &r, in, in.n > 0 ? in.n : 1);
        native(w, &r, in, 7);
    }
    metallm__wire_request_fini(&r);
    metallm__buf_fini(&framed);
    return 0;
}
