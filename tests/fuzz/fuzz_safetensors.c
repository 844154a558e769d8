/* SPDX-License-Identifier: Apache-2.0
 * fuzz_safetensors.c - any bytes as a .safetensors file: refused, or every tensor lies inside it.
 */
#include "base/safetensors.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"a", "b", ""};
    static const size_t any[4] = {0};
    struct metallm__st_file *file = NULL;
    metallm_error err = {0};
    int rc = metallm__st_open(&file, fuzz_path(data, size), &err);
    if (rc != METALLM_OK) {
        if (err.message[0] == '\0')
            __builtin_trap();
        return 0;
    }
    volatile unsigned sum = 0; /* so that the reads stay */
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (uint32_t rank = 0; rank <= 4; rank++) {
            struct metallm__tensor t = {0};
            rc = metallm__st_get(file, names[i], METALLM__F32, rank, any, &t, &err);
            const uint8_t *bytes = t.data; /* touched only when there: the sanitizers watch */
            for (size_t k = 0; rc == METALLM_OK && k < t.count * sizeof(float); k++)
                sum += bytes[k];
        }
    const char *meta = metallm__st_meta(file, "format");
    if (meta != NULL)
        sum += (unsigned)(unsigned char)meta[0];
    (void)sum;
    metallm__st_close(file);
    return 0;
}
