/* SPDX-License-Identifier: Apache-2.0
 * fuzz_router.c - any bytes as a router file: refused in words, or a router that can be asked, and
 * whose estimates are in range or not known. */
#include <math.h>
#include <stdlib.h>

#include "fuzz/fuzz.h"
#include "metallm/router.h"

#define WIDTH_MAX 4096u

static void require(int fact)
{
    if (!fact)
        __builtin_trap();
}

static void ask(metallm_router *r)
{
    static float values[WIDTH_MAX];
    uint32_t models = metallm_router_model_count(r);
    metallm_layout layout = metallm_router_layout(r);
    metallm_vectors x = {.values = values, .rows = 1, .layout = layout};
    x.encoder = metallm_router_encoder(r);
    for (uint32_t m = 0; m < models; m++)
        require(metallm_router_find_model(r, metallm_router_model_name(r, m)) <= m);
    if (metallm_layout_dim(&layout) > WIDTH_MAX)
        return;
    for (uint32_t i = 0; i < WIDTH_MAX; i++)
        values[i] = (float)(i % 7) / 7 - 0.4f;
    metallm_estimate *e = calloc(models, sizeof *e);
    metallm_error err = {0};
    require(e != NULL);
    if (metallm_router_estimate(r, &x, e, &err) == METALLM_OK)
        for (uint32_t m = 0; m < models; m++)
            require(isnan(e[m].quality) || (e[m].quality >= 0 && e[m].quality <= 1));
    free(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    metallm_router *r = NULL;
    metallm_error err = {0};
    if (metallm_router_open(&r, fuzz_path(data, size), &err) != METALLM_OK) {
        require(err.message[0] != '\0');
        return 0;
    }
    ask(r);
    metallm_router_free(r);
    return 0;
}
