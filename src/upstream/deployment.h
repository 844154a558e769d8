/* SPDX-License-Identifier: Apache-2.0
 * deployment.h - making one deployment from its options; for src/upstream/llms.c alone. */
#ifndef UPSTREAM_DEPLOYMENT_H
#define UPSTREAM_DEPLOYMENT_H
#include "upstream/llms.h"

/* Fills *out, all zero before, but for tls and health. On failure metallm__deployment_fini frees
 * what is there. */
METALLM_MUSTCHECK int metallm__deployment_init(struct metallm__deployment *out,
                                               const struct metallm__deployment_options *options,
                                               const struct metallm__llm *llm, metallm_error *err);
void metallm__deployment_fini(struct metallm__deployment *d);
bool metallm__deployment_is_same(const struct metallm__deployment *a,
                                 const struct metallm__deployment *b);

#endif
