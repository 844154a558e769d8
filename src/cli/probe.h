/* SPDX-License-Identifier: Apache-2.0
 * probe.h - one GET or POST, waited for, over the gateway's own client: what it reaches, the
 * gateway reaches. */
#ifndef CLI_PROBE_H
#define CLI_PROBE_H
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct cli_probe_header {
    const char *name, *value;
};
struct cli_probe {
    const char *url; /* http(s)://host[:port][/path] */
    const struct cli_probe_header *headers;
    size_t header_count;
    const char *body;    /* NULL: a GET; else it is posted */
    const char *ca_file; /* "" : the system's */
    bool verify;
    uint32_t timeout_ms;
};
struct cli_probe_answer {
    int status;               /* HTTP */
    int64_t date_s;           /* of its Date header, since 1970; 0: none */
    struct metallm__buf body; /* at most CLI_PROBE_BYTES; the caller's to free, also after errors */
};
#define CLI_PROBE_BYTES ((size_t)4 << 20)

/* METALLM_EIO: not reached; err tells why. Never a key in it. */
METALLM_MUSTCHECK int cli_probe_ask(const struct cli_probe *p, struct cli_probe_answer *out,
                                    metallm_error *err);
#endif
