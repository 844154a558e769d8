/* SPDX-License-Identifier: Apache-2.0
 * replay.c - runs a fuzz target without libFuzzer: replay FOLDER.
 * Each file of the corpus is given whole, cut at up to CUTS places, and in MUTATIONS seeded
 * mutations. What is tested is that nothing crashes, which the sanitizers see best. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"

#define CUTS        48u
#define MUTATIONS   96u
#define INPUT_BYTES 65536u

static uint64_t state = 0x9e3779b97f4a7c15u;

static uint64_t draw(void) /* splitmix64 */
{
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* The copy has exactly the input's size, so that reading one byte more is seen. */
static void give(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL)
        abort();
    memcpy(copy, bytes, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static size_t mutate(uint8_t *bytes, size_t size)
{
    static const uint8_t telling[] = {0,   1,   '"', '\'', ',',  '{', '[',
                                      '-', '.', '9', 0x7f, 0x80, 0xff};
    unsigned changes = 1 + (unsigned)(draw() % 4);
    for (unsigned i = 0; i < changes && size > 0; i++) {
        size_t at = (size_t)(draw() % size);
        switch (draw() % 4) {
        case 0:
            bytes[at] = (uint8_t)draw();
            break;
        case 1:
            bytes[at] = telling[draw() % sizeof telling];
            break;
        case 2:
            memmove(bytes + at, bytes + at + 1, size - at - 1);
            size--;
            break;
        default:
            memmove(bytes + at, bytes + (size_t)(draw() % size), 1);
            break;
        }
    }
    return size;
}

static unsigned replay(const uint8_t *bytes, size_t size)
{
    static uint8_t work[INPUT_BYTES];
    unsigned runs = 1;
    give(bytes, size);
    for (unsigned i = 0; i < CUTS && i < size; i++, runs++)
        give(bytes, size <= CUTS ? i : (size_t)(draw() % size));
    for (unsigned i = 0; i < MUTATIONS; i++, runs++) {
        memcpy(work, bytes, size);
        give(work, mutate(work, size));
    }
    return runs;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

int main(int argc, char **argv)
{
    static uint8_t bytes[INPUT_BYTES];
    struct dirent **entries = NULL;
    int count = argc == 2 ? scandir(argv[1], &entries, visible, by_name) : -1;
    unsigned runs = 0, files = 0;
    for (int i = 0; i < count; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", argv[1], entries[i]->d_name);
        FILE *file = fopen(path, "rb");
        if (file != NULL) {
            size_t size = fread(bytes, 1, sizeof bytes, file);
            fclose(file);
            runs += replay(bytes, size);
            files++;
        }
        free(entries[i]);
    }
    free(entries);
    printf("%u runs over %u files\n%u passed, %u failed\n", runs, files, files, files == 0);
    return files > 0 ? 0 : 1;
}
