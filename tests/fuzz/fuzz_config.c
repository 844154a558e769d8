/* SPDX-License-Identifier: Apache-2.0
 * fuzz_config.c - any bytes as a configuration: refused with a sentence, or one that says the same
 * when it is read again, and that can be shown. */
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "gateway/admin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct metallm__config *c = NULL, *again = NULL;
    metallm_error err = {0};
    setenv("FUZZ_KEY", "0123456789abcdef", 1);
    if (metallm__config_parse(&c, "fuzz", (const char *)data, size, NULL, &err) != METALLM_OK) {
        if (err.message[0] == '\0')
            __builtin_trap();
        return 0;
    }
    if (metallm__config_parse(&again, "fuzz", (const char *)data, size, NULL, &err) != METALLM_OK ||
        !metallm__config_equal(c, again))
        __builtin_trap();
    struct metallm__buf json;
    metallm__buf_init(&json, 1u << 26);
    metallm__config_json(c, &json);
    if (json.len == 0 || json.data[json.len - 1] != '}' || c->model_count == 0)
        __builtin_trap();
    metallm__buf_fini(&json);
    metallm__config_drop(again);
    metallm__config_drop(c);
    return 0;
}
