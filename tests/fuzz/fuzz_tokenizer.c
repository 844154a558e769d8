/* SPDX-License-Identifier: Apache-2.0
 * fuzz_tokenizer.c - any bytes as a text, with a small vocabulary. The ids are of the vocabulary,
 * a cut text gives a prefix of the whole, and head and tail agree where nothing is cut. */
#include <string.h>

#include "encoder/tokenizer.h"
#include "fuzz/fuzz.h"

#define IDS_MAX 4096u

static const char vocabulary[] =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n!\n\"\n'\n,\n-\n.\n?\n{\n}\na\nb\nc\nd\ne\nthe\nun\n"
    "##a\n##b\n##c\n##d\n##e\n##able\n##"
    "aff\nsun\nwords\n\xe4\xb8\xad\n\xe6\x96\x87\n\xc3\xa9\n1\n2\n"
    "##1\n##2\n";

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint32_t whole[IDS_MAX], few[16], tail[IDS_MAX];
    const char *text = (const char *)data;
    bool is_cut = false, few_cut = false;
    if (tokenizer.vocab.count == 0) {
        const char *path = fuzz_path((const uint8_t *)vocabulary, sizeof vocabulary - 1);
        require(metallm__tokenizer_init(&tokenizer, path, true, NULL) == METALLM_OK);
    }
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
