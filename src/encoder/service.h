/* SPDX-License-Identifier: Apache-2.0
 * service.h - the batching service over any function that turns texts into vectors: what
 * metallm/service.h's encoder is one case of. */
#ifndef ENCODER_SERVICE_H
#define ENCODER_SERVICE_H
#include "metallm/service.h"

/* The work of a batch: out is count x dim. Called by several threads at once. A batch that fails
 * with METALLM_EINVAL (one of its texts was refused) is tried again text by text, so that one bad
 * text does not fail the others; any other failure is every request's answer. */
struct metallm__service_work {
    int (*compute)(void *payload, const char *const *texts, const size_t *lens, size_t count,
                   float *out, metallm_error *err);
    void *payload;
    uint32_t dim;
    const char *scope; /* what vectors depend on beside the text: the cache's scope; not kept */
};

/* opts->encoder and opts->features are not read. */
METALLM_MUSTCHECK int metallm__service_new(metallm_service **out,
                                           const struct metallm__service_work *work,
                                           const metallm_service_options *opts, metallm_error *err);
#endif
