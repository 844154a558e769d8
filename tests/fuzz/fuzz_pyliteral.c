/* SPDX-License-Identifier: Apache-2.0
 * fuzz_pyliteral.c - any text as Python's repr of a list: refused, or UTF-8 that is no longer. */
#include <math.h>

#include "data/pyliteral.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct metallm__span text = {(const char *)data, size};
    struct metallm__buf out;
    metallm__buf_init(&out, 2 * size + 16);
    if (size > 0 && metallm__pyliteral_strings(text, &out)) {
        const struct metallm__span strings = {out.data != NULL ? out.data : "", out.len};
        if (metallm__text_is_utf8(text) && !metallm__text_is_utf8(strings))
            __builtin_trap();
    }
    metallm__buf_fini(&out);
    double number;
    if (metallm__text_number(text, &number) && !isfinite(number))
        __builtin_trap();
    char shown[METALLM__SHOWN_BYTES];
    if (!metallm__text_is_utf8(metallm__span_of(metallm__text_show(shown, text))))
        __builtin_trap();
    return 0;
}
