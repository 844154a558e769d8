/* SPDX-License-Identifier: Apache-2.0
 * text_times.c - times what comes before and beside MiniLM: text_times VOCAB PROMPTS [TABLE] prints
 * "tokenizer_us tokens" and, with a static encoder's table, "static_us features_us", CPU
 * microseconds a text: the least of many passes over all lines of PROMPTS. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "encoder/tokenizer.h"
#include "metallm/encoder.h"
#include "peak.h"

#define TEXTS_MAX  4096u
#define LINE_BYTES 65536
#define PASSES     200
#define IDS_MAX    254u /* of MiniLM's 256 tokens */

static char *texts[TEXTS_MAX];
static size_t lens[TEXTS_MAX], count;

static void read_prompts(const char *path)
{
    static char line[LINE_BYTES];
    FILE *f = fopen(path, "r");
    while (f != NULL && count < TEXTS_MAX && fgets(line, sizeof line, f) != NULL) {
        texts[count] = strdup(line);
        lens[count++] = strcspn(line, "\n");
    }
    if (f != NULL)
        fclose(f);
}

static int time_tokenizer(const char *vocab)
{
    struct metallm__tokenizer t;
    uint32_t ids[IDS_MAX];
    size_t tokens = 0;
    double least = 1e9;
    if (metallm__tokenizer_init(&t, vocab, true, NULL) != METALLM_OK)
        return 1;
    for (int pass = 0; pass < PASSES; pass++) {
        double began = peak_seconds();
        tokens = 0;
        for (size_t i = 0; i < count; i++) {
            bool is_cut;
            tokens += metallm__tokenize_head(&t, texts[i], lens[i], ids, IDS_MAX, &is_cut) + 2;
        }
        double took = peak_seconds() - began;
        least = took < least ? took : least;
    }
    metallm__tokenizer_fini(&t);
    printf("%.3f %.1f\n", least / (double)count * 1e6, (double)tokens / (double)count);
    return 0;
}

typedef int call(metallm_encoder *e, size_t i, float *out);

static int embed(metallm_encoder *e, size_t i, float *out)
{
    return metallm_encoder_embed(e, (const char *const *)&texts[i], &lens[i], 1, out, NULL, NULL);
}

static int features(metallm_encoder *e, size_t i, float *out)
{
    return metallm_encoder_features(e, (const char *const *)&texts[i], &lens[i], 1, out, NULL,
                                    NULL);
}

static double time_calls(metallm_encoder *e, call *one, float *out)
{
    double least = 1e9;
    for (int pass = 0; pass < PASSES; pass++) {
        double began = peak_seconds();
        for (size_t i = 0; i < count; i++)
            if (one(e, i, out) != METALLM_OK)
                return -1;
        double took = peak_seconds() - began;
        least = took < least ? took : least;
    }
    return least / (double)count * 1e6;
}

static int time_static(const char *table)
{
    metallm_encoder *e = NULL;
    static float out[4096];
    if (metallm_encoder_open(&e, &(metallm_encoder_options){.name = "static", .path = table},
                             NULL) != METALLM_OK)
        return 1;
    double vector = time_calls(e, embed, out), all = time_calls(e, features, out);
    printf("%.3f %.3f\n", vector, all);
    metallm_encoder_free(e);
    return vector < 0 || all < 0;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    read_prompts(argv[2]);
    if (count == 0 || time_tokenizer(argv[1]) != 0)
        return 1;
    return argc > 3 ? time_static(argv[3]) : 0;
}
