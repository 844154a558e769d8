/* SPDX-License-Identifier: Apache-2.0
 * fuzz_tokenizer.c - any bytes as a text, with a small vocabulary. The ids are of the vocabulary,
 * a cut text gives a prefix of the whole, and head and tail agree where nothing is cut. A text that
 * comes with the ids of the reference implementation (make_tokenizer_ids.py) gives the same. */
#include <stdlib.h>
#include <string.h>

#include "encoder/tokenizer.h"
#include "fuzz/fuzz.h"
#include "fuzz/tokenizer_vocab.h"

#define IDS_MAX 4096u

static struct metallm__tokenizer tokenizer;

static void require(bool fact)
{
    if (!fact)
        __builtin_trap();
}

static void check_ids(const uint32_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        require(ids[i] < tokenizer.vocab.count);
}

static uint64_t fnv_1a(const uint8_t *bytes, size_t size)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++)
        h = (h ^ bytes[i]) * 0x100000001b3u;
    return h;
}

/* Passes over "IDS HASH ID ID ...\n" and compares, where the hash says that the ids belong to what
 * follows. Returns the bytes that were passed over. */
static size_t check_reference(const uint8_t *data, size_t size)
{
    static uint32_t ids[IDS_MAX];
    char line[8192] = {0};
    const uint8_t *newline = memchr(data, '\n', size);
    if (size < 4 || memcmp(data, "IDS ", 4) != 0 || newline == NULL)
        return 0;
    size_t head = (size_t)(newline - data) + 1;
    if (head > sizeof line)
        return 0;
    memcpy(line, data, head - 1);
    char *at = line + 4;
    uint64_t hash = strtoull(at, &at, 16);
    size_t hashed = (size_t)(at - line);
    if (hash != fnv_1a(data + hashed, size - hashed))
        return head;
    bool is_cut = false;
    size_t n = metallm__tokenize_head(&tokenizer, (const char *)data + head, size - head, ids,
                                      IDS_MAX, &is_cut);
    for (size_t i = 0; i < n; i++)
        require(strtoul(at, &at, 10) == ids[i] && (*at == ' ' || *at == '\0'));
    require(!is_cut && *at == '\0');
    return head;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint32_t whole[IDS_MAX], few[16], tail[IDS_MAX];
    const char *text = (const char *)data;
    bool is_cut = false, few_cut = false;
    if (tokenizer.vocab.count == 0) {
        const char *path = fuzz_path((const uint8_t *)vocabulary, sizeof vocabulary - 1);
        require(metallm__tokenizer_init(&tokenizer, path, true, NULL) == METALLM_OK);
    }
    size_t head = check_reference(data, size);
    text += head;
    size -= head;
    size_t n = metallm__tokenize_head(&tokenizer, text, size, whole, IDS_MAX, &is_cut);
    size_t k = metallm__tokenize_head(&tokenizer, text, size, few, 16, &few_cut);
    size_t m = metallm__tokenize_tail(&tokenizer, text, size, tail, IDS_MAX);
    require(n <= IDS_MAX && k <= 16 && m <= IDS_MAX && k <= n);
    check_ids(whole, n);
    check_ids(tail, m);
    require(memcmp(whole, few, k * sizeof *few) == 0);
    require(few_cut == (n > k));
    if (!is_cut && n < IDS_MAX)
        require(m == n && memcmp(whole, tail, n * sizeof *tail) == 0);
    return 0;
}
