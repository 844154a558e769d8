/* SPDX-License-Identifier: Apache-2.0
 * fuzz_texts.c - any bytes as texts of a job, by each format: parts lie in memory that can be read,
 * hold no NUL, and texts are numbered without gaps, the same ones after a rewind. */
#include "classify/texts.h"
#include "fuzz/fuzz.h"

static unsigned sum_of(const struct metallm__text *x)
{
    unsigned sum = 0;
    const struct metallm__text_part parts[] = {x->id, x->text, x->gold};
    for (size_t i = 0; i < 3 + x->choice_count; i++) {
        const struct metallm__text_part p = i < 3 ? parts[i] : x->choices[i - 3];
        for (size_t k = 0; k < p.n; k++) {
            if (p.p[k] == '\0')
                __builtin_trap();
            sum = 31 * sum + (unsigned char)p.p[k];
        }
    }
    return sum;
}

/* All texts: how many, and a sum over them. */
static uint64_t read_all(struct metallm__texts *t, unsigned *sum)
{
    struct metallm__text x;
    uint64_t count = 0;
    *sum = 0;
    for (; metallm__texts_next(t, &x, NULL) == METALLM_OK; count++) {
        if (x.number != count || x.text.n == 0 || x.id.n == 0 || x.choice_count == 1)
            __builtin_trap();
        *sum = 31 * *sum + sum_of(&x);
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct metallm__texts_options all[] = {
        {.format = METALLM__TEXTS_CSV},
        {.format = METALLM__TEXTS_CSV, .has_no_header = true, .gold = "2"},
        {.format = METALLM__TEXTS_CSV, .choices = "A,B,C", .gold = "g"},
        {.format = METALLM__TEXTS_JSONL, .gold = "label"},
        {.format = METALLM__TEXTS_JSONL, .choices = "choices", .gold = "answer", .id = "id"},
        {.format = METALLM__TEXTS_LINES},
    };
    const char *path = fuzz_path(data, size);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct metallm__texts_options o = all[i];
        struct metallm__texts *t = NULL;
        unsigned first, second;
        o.path = path;
        if (metallm__texts_open(&t, &o, NULL) != METALLM_OK)
            continue;
        const uint64_t count = read_all(t, &first);
        if (metallm__texts_rewind(t, NULL) != METALLM_OK || read_all(t, &second) != count ||
            first != second)
            __builtin_trap();
        metallm__texts_close(t);
    }
    return 0;
}
