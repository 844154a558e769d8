/* SPDX-License-Identifier: Apache-2.0
 * aws_frame.h - writes messages of AWS's event stream, for what reads them. The CRC is the plain
 * one, a bit a step: it shares nothing with the reader's. */
#ifndef SUPPORT_AWS_FRAME_H
#define SUPPORT_AWS_FRAME_H
#include <stddef.h>
#include <stdint.h>

uint32_t aws_frame_crc(const void *bytes, size_t n);
/* A message with these headers, as they stand in it, and payload. to has room for 16 bytes more
 * than both. Returns its length. */
size_t aws_frame_raw(char *to, const void *headers, size_t header_bytes, const void *payload,
                     size_t payload_bytes);
/* An event of Bedrock: ":event-type" name, ":content-type" application/json. to has room for
 * strlen(json) + strlen(name) + 128 bytes. */
size_t aws_frame_event(char *to, const char *name, const char *json);
/* The same as an exception: ":exception-type" name. */
size_t aws_frame_exception(char *to, const char *name, const char *json);

#endif
