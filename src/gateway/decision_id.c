/* SPDX-License-Identifier: Apache-2.0
 * decision_id.c - see decision_id.h. */
#include "gateway/decision_id.h"

#include <string.h>

#include "base/error.h"
#include "encoder/siphash.h"

#define PREFIX       "dec_"
#define PREFIX_LEN   4
#define BYTES        24
#define KEY_ROOM     64
#define TAG_MARK     0x6d6c6d2d74616731u
#define MASK_MARK    0x6d6c6d2d6d61736bu
#define DIGIT_UNUSED 255

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static uint64_t tag_of(const uint64_t secret[2], const struct metallm__decision_id *id,
                       const char *key)
{
    struct {
        uint64_t mark, row, nonce;
        char key[KEY_ROOM];
    } said = {.mark = TAG_MARK, .row = (uint64_t)id->row, .nonce = id->nonce};
    const size_t len = strlen(key);
    METALLM_REQUIRE(len < sizeof said.key);
    memcpy(said.key, key, len);
    return metallm__siphash(secret, &said, sizeof said).lo;
}

static uint64_t mask_of(const uint64_t secret[2], uint64_t nonce, uint64_t tag)
{
    const uint64_t said[3] = {MASK_MARK, nonce, tag};
    return metallm__siphash(secret, said, sizeof said).lo;
}

static void put64(uint8_t *out, uint64_t x)
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(x >> (8 * i));
}

static uint64_t get64(const uint8_t *in)
{
    uint64_t x = 0;
    for (int i = 0; i < 8; i++)
        x |= (uint64_t)in[i] << (8 * i);
    return x;
}

void metallm__decision_id_print(const uint64_t secret[2], const struct metallm__decision_id *id,
                                const char *key, char text[METALLM__DECISION_ID_LEN + 1])
{
    uint8_t bytes[BYTES];
    const uint64_t tag = tag_of(secret, id, key);
    put64(bytes, id->nonce);
    put64(bytes + 8, tag);
    put64(bytes + 16, (uint64_t)id->row ^ mask_of(secret, id->nonce, tag));
    memcpy(text, PREFIX, PREFIX_LEN);
    for (int i = 0; i < BYTES / 3; i++) {
        const uint32_t three = (uint32_t)bytes[3 * i] << 16 | (uint32_t)bytes[3 * i + 1] << 8 |
                               (uint32_t)bytes[3 * i + 2];
        for (int k = 0; k < 4; k++)
            text[PREFIX_LEN + 4 * i + k] = digits[three >> (18 - 6 * k) & 63];
    }
    text[METALLM__DECISION_ID_LEN] = '\0';
}

static uint8_t digit_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (uint8_t)(c - 'A');
    if (c >= 'a' && c <= 'z')
        return (uint8_t)(c - 'a' + 26);
    if (c >= '0' && c <= '9')
        return (uint8_t)(c - '0' + 52);
    return c == '-' ? 62 : c == '_' ? 63 : DIGIT_UNUSED;
}

bool metallm__decision_id_parse(const uint64_t secret[2], const char *text, size_t len,
                                const char *key, struct metallm__decision_id *out)
{
    uint8_t bytes[BYTES];
    if (len != METALLM__DECISION_ID_LEN || memcmp(text, PREFIX, PREFIX_LEN) != 0)
        return false;
    for (int i = 0; i < BYTES / 3; i++) {
        uint32_t three = 0;
        for (int k = 0; k < 4; k++) {
            const uint8_t digit = digit_of(text[PREFIX_LEN + 4 * i + k]);
            if (digit == DIGIT_UNUSED)
                return false;
            three = three << 6 | digit;
        }
        bytes[3 * i] = (uint8_t)(three >> 16);
        bytes[3 * i + 1] = (uint8_t)(three >> 8);
        bytes[3 * i + 2] = (uint8_t)three;
    }
    const uint64_t nonce = get64(bytes), tag = get64(bytes + 8);
    const struct metallm__decision_id id = {
        .row = (int64_t)(get64(bytes + 16) ^ mask_of(secret, nonce, tag)), .nonce = nonce};
    /* one comparison of all bits: its time tells nothing */
    volatile uint64_t differs = tag ^ tag_of(secret, &id, key);
    if (differs != 0 || id.row <= 0)
        return false;
    *out = id;
    return true;
}
