/* SPDX-License-Identifier: Apache-2.0
 * fuzz_prices.c - any bytes as a price file, and as LiteLLM's table: refused with a sentence, or
 * prices that can be paid, and that are the same once written and read. */
#include <math.h>

#include "data/prices.h"
#include "fuzz/fuzz.h"

static void require(bool fact)
{
    if (!fact)
        __builtin_trap();
}

static void check(const struct metallm__prices *prices)
{
    struct metallm__buf text;
    struct metallm__prices again = {0};
    const metallm_outcome call = {.input_tokens = 1000, .output_tokens = 1000};
    for (size_t i = 0; i < prices->count; i++) {
        float cost = metallm__price_of(&prices->items[i], &call);
        require(cost >= 0 && !isinf(cost));
    }
    metallm__buf_init(&text, (size_t)64 << 20);
    require(metallm__prices_write(&text, prices, NULL) == METALLM_OK);
    if (prices->count > 0) {
        require(metallm__prices_parse(&again, "again", text.data, text.len, NULL) == METALLM_OK);
        require(again.count == prices->count);
    }
    for (size_t i = 0; i < prices->count; i++) {
        const struct metallm__price *a = &prices->items[i];
        const struct metallm__price *b = metallm__prices_find(&again, a->model, a->from);
        require(b != NULL && b->from == a->from && metallm__price_same(a, b));
        require(a->context == b->context && a->images == b->images && a->checked == b->checked);
    }
    metallm__prices_fini(&again);
    metallm__buf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct metallm__prices prices = {0};
    metallm_error err = {0};
    if (metallm__prices_parse(&prices, "fuzz", (const char *)data, size, &err) == METALLM_OK)
        check(&prices);
    else
        require(err.message[0] != '\0');
    metallm__prices_fini(&prices);
    err = (metallm_error){0};
    if (metallm__prices_litellm(&prices, "fuzz", (const char *)data, size, &err) == METALLM_OK)
        check(&prices);
    else
        require(err.message[0] != '\0');
    metallm__prices_fini(&prices);
    return 0;
}
