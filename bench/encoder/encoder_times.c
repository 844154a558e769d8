/* SPDX-License-Identifier: Apache-2.0
 * encoder_times.c - times the encoder: encoder_times PRECISION THREADS TOKENS BATCH [PROMPTS]
 * prints "cpu_us wall_us", the best of several runs, microseconds a text. TOKENS 0: the first BATCH
 * lines of the file PROMPTS. encoder_times peak: the units' highest rates, 10^9 operations a
 * second. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "metallm/encoder.h"
#include "peak.h"

#define RUNS        8
#define RUN_SECONDS 0.15
#define LINE_BYTES  65536

static double wall_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* "word" for each token between [CLS] and [SEP]. */
static char *text_of(size_t tokens)
{
    char *text = calloc(tokens + 1, 5);
    for (size_t i = 0; i + 2 < tokens; i++)
        memcpy(text + 5 * i, "word ", 5);
    return text;
}

static size_t read_prompts(const char *path, char **texts, size_t count)
{
    static char line[LINE_BYTES];
    size_t n = 0;
    FILE *f = fopen(path, "r");
    while (f != NULL && n < count && fgets(line, sizeof line, f) != NULL)
        texts[n++] = strdup(line);
    if (f != NULL)
        fclose(f);
    return n;
}

static int time_batch(metallm_encoder *e, const char *const *texts, const size_t *lens,
                      size_t count)
{
    float *out = calloc(count * metallm_encoder_dim(e), sizeof *out);
    double cpu = 1e9, wall = 1e9;
    for (int run = 0; run < RUNS; run++) {
        double c = peak_seconds(), w = wall_seconds();
        size_t n = 0;
        do {
            if (metallm_encoder_embed(e, texts, lens, count, out, NULL, NULL) != METALLM_OK)
                return 1;
            n += count;
        } while (wall_seconds() - w < RUN_SECONDS);
        c = (peak_seconds() - c) / (double)n;
        w = (wall_seconds() - w) / (double)n;
        cpu = run > 0 && c < cpu ? c : cpu; /* the first run warms up */
        wall = run > 0 && w < wall ? w : wall;
    }
    free(out);
    printf("%.2f %.2f\n", cpu * 1e6, wall * 1e6);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "peak") == 0) {
        printf("%.1f %.1f\n", peak_int8(), peak_bf16());
        return 0;
    }
    if (argc < 5)
        return 2;
    const size_t tokens = strtoul(argv[3], NULL, 10), batch = strtoul(argv[4], NULL, 10);
    metallm_encoder *e = NULL;
    metallm_error err = {0};
    if (metallm_encoder_open(
            &e,
            &(metallm_encoder_options){.precision = argv[1],
                                       .threads = (uint32_t)strtoul(argv[2], NULL, 10)},
            &err) != METALLM_OK) {
        fprintf(stderr, "encoder_times: %s\n", err.message);
        return 1;
    }
    char **texts = calloc(batch, sizeof *texts);
    size_t *lens = calloc(batch, sizeof *lens), count = batch;
    if (tokens == 0 && argc > 5)
        count = read_prompts(argv[5], texts, batch);
    for (size_t i = 0; i < count; i++) {
        if (tokens > 0)
            texts[i] = text_of(tokens);
        lens[i] = strlen(texts[i]);
    }
    int rc = count > 0 ? time_batch(e, (const char *const *)texts, lens, count) : 1;
    for (size_t i = 0; i < count; i++)
        free(texts[i]);
    free(texts);
    free(lens);
    metallm_encoder_free(e);
    return rc;
}
