/* SPDX-License-Identifier: Apache-2.0
 * fuzz_csv.c - any bytes as CSV: records end, fields lie in memory that can be read, and lines only
 * go up. */
#include "data/csv.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct metallm__csv c;
    enum metallm__csv_state state = METALLM__CSV_RECORD;
    volatile unsigned sum = 0; /* so that the reads stay */
    size_t line = 0;
    metallm__csv_init(&c, (const char *)data, size);
    while (state != METALLM__CSV_END) {
        if (metallm__csv_next(&c, &state, NULL) != METALLM_OK)
            break;
        if (c.record_line < line || (state == METALLM__CSV_BAD && c.why == NULL))
            __builtin_trap();
        line = c.record_line;
        for (size_t i = 0; state == METALLM__CSV_RECORD && i < c.field_count; i++)
            for (size_t k = 0; k < c.fields[i].len; k++)
                sum += (unsigned char)c.fields[i].bytes[k];
    }
    (void)sum;
    metallm__csv_fini(&c);
    return 0;
}
