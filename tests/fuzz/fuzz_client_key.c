/* SPDX-License-Identifier: Apache-2.0
 * fuzz_client_key.c - any bytes as a client key's JSON: refused with a sentence, or a key whose
 * JSON is read again. */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "fuzz/fuzz.h"
#include "gateway/keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct metallm__key *k = NULL, *again = NULL;
    metallm_error err = {0};
    if (metallm__key_parse(&k, (const char *)data, size, &err) != METALLM_OK) {
        if (err.message[0] == '\0')
            __builtin_trap();
        return 0;
    }
    struct metallm__buf json;
    metallm__buf_init(&json, 1u << 24);
    metallm__key_json(k, &json);
    if (metallm__key_parse(&again, json.data, json.len, &err) != METALLM_OK ||
        strcmp(k->name, again->name) != 0 || k->models.count != again->models.count)
        __builtin_trap();
    metallm__buf_fini(&json);
    metallm__free(again);
    metallm__free(k);
    return 0;
}
