/* SPDX-License-Identifier: Apache-2.0
 * config_value.h - one value of the configuration: what it refers to (environment, secret file),
 * its type and its range. */
#ifndef GATEWAY_CONFIG_VALUE_H
#define GATEWAY_CONFIG_VALUE_H
#include "data/text.h"
#include "gateway/config_table.h"

#define METALLM__VALUE_BYTES_MAX 65536u

struct metallm__value {
    const char *option;        /* "limits.body_bytes" */
    uint32_t line;             /* 0: not from the file */
    struct metallm__span text; /* as written */
    bool is_secret;            /* file:PATH is read; the text is not shown in messages */
    bool is_referred; /* one that stands in plain, or as the :-text of a ${NAME}, is refused */
};

/* ${NAME} and ${NAME:-text} become what the environment says ($${ is a literal ${); a secret that
 * begins with file: becomes the first line of that file. *out is the config's. */
METALLM_MUSTCHECK int metallm__value_text(struct metallm__config_inner *in,
                                          const struct metallm__value *v, char **out,
                                          metallm_error *err);
/* Sets the field of a scalar option. text: from value_text, or a fallback. */
METALLM_MUSTCHECK int metallm__value_set(struct metallm__config_inner *in,
                                         const struct metallm__value *v,
                                         const struct metallm__option *o, const char *text,
                                         void *record, metallm_error *err);
/* A count with the suffix of its unit: 20M (bytes), 30s (ms). False: it is none. */
bool metallm__value_count(const char *text, const char *unit, uint64_t *out);
#endif
