/* SPDX-License-Identifier: Apache-2.0
 * fuzz_prices.c - any bytes as a price file: refused with a sentence, or prices that can be paid.
 */
#include <math.h>

#include "data/prices.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct metallm__prices prices = {0};
    metallm_error err = {0};
    if (metallm__prices_parse(&prices, "fuzz", (const char *)data, size, &err) != METALLM_OK) {
        if (err.message[0] == '\0')
            __builtin_trap();
        return 0;
    }
    const metallm_outcome call = {.input_tokens = 1000, .output_tokens = 1000};
    for (size_t i = 0; i < prices.count; i++) {
        float cost = metallm__price_of(&prices.items[i], &call);
        if (!(cost >= 0) || isinf(cost))
            __builtin_trap();
    }
    metallm__prices_fini(&prices);
    return 0;
}
