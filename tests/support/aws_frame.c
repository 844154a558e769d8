/* SPDX-License-Identifier: Apache-2.0
 * aws_frame.c - see aws_frame.h. */
#include "support/aws_frame.h"

#include <string.h>

uint32_t aws_frame_crc(const void *bytes, size_t n)
{
    const unsigned char *at = bytes;
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        crc ^= at[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static size_t put_number(char *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (char)(value >> (24 - 8 * i));
    return 4;
}

size_t aws_frame_raw(char *to, const void *headers, size_t header_bytes, const void *payload,
                     size_t payload_bytes)
{
    size_t n = put_number(to, (uint32_t)(16 + header_bytes + payload_bytes));
    n += put_number(to + n, (uint32_t)header_bytes);
    n += put_number(to + n, aws_frame_crc(to, n));
    if (header_bytes > 0)
        memcpy(to + n, headers, header_bytes);
    n += header_bytes;
    if (payload_bytes > 0)
        memcpy(to + n, payload, payload_bytes);
    n += payload_bytes;
    return n + put_number(to + n, aws_frame_crc(to, n));
}

static size_t put_header(char *to, const char *name, const char *value)
{
    size_t name_len = strlen(name), len = strlen(value), n = 0;
    to[n++] = (char)name_len;
    memcpy(to + n, name, name_len);
    n += name_len;
    to[n++] = 7;
    to[n++] = (char)(len >> 8);
    to[n++] = (char)len;
    memcpy(to + n, value, len);
    return n + len;
}

static size_t frame(char *to, const char *kind, const char *name_header, const char *name,
                    const char *json)
{
    char headers[512];
    size_t n = put_header(headers, name_header, name);
    n += put_header(headers + n, ":content-type", "application/json");
    n += put_header(headers + n, ":message-type", kind);
    return aws_frame_raw(to, headers, n, json, strlen(json));
}

size_t aws_frame_event(char *to, const char *name, const char *json)
{
    return frame(to, "event", ":event-type", name, json);
}

size_t aws_frame_exception(char *to, const char *name, const char *json)
{
    return frame(to, "exception", ":exception-type", name, json);
}
