/* SPDX-License-Identifier: Apache-2.0
 * fuzz_vocab.c - any bytes as a vocabulary: refused in words, or every token is found again. */
#include "encoder/vocab.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct metallm__vocab v = {0};
    metallm_error err = {0};
    if (metallm__vocab_init(&v, fuzz_path(data, size), &err) != METALLM_OK) {
        if (err.message[0] == '\0')
            __builtin_trap();
        return 0;
    }
    for (uint32_t id = 0; id < v.count; id++)
        if (metallm__vocab_find(&v, metallm__vocab_token(&v, id)) != id)
            __builtin_trap();
    metallm__vocab_fini(&v);
    return 0;
}
