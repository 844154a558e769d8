/* SPDX-License-Identifier: Apache-2.0
 * service_encoder.c - metallm_service_new: the service over an encoder. */
#include <stdio.h>

#include "base/error.h"
#include "encoder/service.h"

static int embed(void *payload, const char *const *texts, const size_t *lens, size_t count,
                 float *out, metallm_error *err)
{
    return metallm_encoder_embed(payload, texts, lens, count, out, NULL, err);
}

static int features(void *payload, const char *const *texts, const size_t *lens, size_t count,
                    float *out, metallm_error *err)
{
    return metallm_encoder_features(payload, texts, lens, count, out, NULL, err);
}

int metallm_service_new(metallm_service **out, const metallm_service_options *opts,
                        metallm_error *err)
{
    METALLM_REQUIRE(opts != NULL && opts->encoder != NULL);
    metallm_layout layout = metallm_encoder_layout(opts->encoder);
    char scope[METALLM_ENCODER_ID_BYTES + 16];
    snprintf(scope, sizeof scope, "%s %s", opts->features ? "features" : "embedding",
             metallm_encoder_id(opts->encoder));
    struct metallm__service_work work = {
        .compute = opts->features ? features : embed,
        .payload = opts->encoder,
        .dim = opts->features ? metallm_layout_dim(&layout) : metallm_encoder_dim(opts->encoder),
        .scope = scope,
    };
    return metallm__service_new(out, &work, opts, err);
}
