/* SPDX-License-Identifier: Apache-2.0
 * decision_id.h - names of decisions: "dec_" and 32 characters (base64url of 24 bytes):
 *     nonce[8] | tag[8] | row[8] xor mask
 *     tag  = SipHash-2-4(secret, "tag"  | row | nonce | key id), its lower 64 bits
 *     mask = SipHash-2-4(secret, "mask" | nonce | tag), its lower 64 bits
 * nonce: 64 bits from the system's random source. The row is how a decision is found by primary
 * key; it does not show how many there were. The tag binds a name to the client key that made the
 * request: for any other key it is as good as made up, without a look into the store. A name holds
 * before its decision is recorded. Tags are compared in constant time. */
#ifndef GATEWAY_DECISION_ID_H
#define GATEWAY_DECISION_ID_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define METALLM__DECISION_ID_LEN 36u

struct metallm__decision_id {
    int64_t row; /* > 0 */
    uint64_t nonce;
};

/* key: the client key's id, "" without keys. */
void metallm__decision_id_print(const uint64_t secret[2], const struct metallm__decision_id *id,
                                const char *key, char text[METALLM__DECISION_ID_LEN + 1]);
/* False: no such decision, of this key. */
bool metallm__decision_id_parse(const uint64_t secret[2], const char *text, size_t len,
                                const char *key, struct metallm__decision_id *out);
#endif
