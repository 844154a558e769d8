/* SPDX-License-Identifier: Apache-2.0
 * fuzz_json_records.c - any bytes as JSON records: reading ends, and each record is told or given.
 */
#include "data/records.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct metallm__records r;
    enum metallm__records_state state = METALLM__RECORD;
    metallm__records_init(&r, (const char *)data, size);
    for (size_t i = 0; state != METALLM__RECORDS_END; i++) {
        yyjson_doc *doc = NULL;
        metallm_error err = {0};
        if (metallm__records_next(&r, &doc, &state, &err) != METALLM_OK)
            break;
        bool is_told = err.message[0] != '\0';
        if ((state == METALLM__RECORD) != (doc != NULL) || i > size + 1 || r.pos > size ||
            ((state == METALLM__RECORDS_BAD || state == METALLM__RECORDS_LOST) && !is_told))
            __builtin_trap();
        yyjson_doc_free(doc);
    }
    return 0;
}
