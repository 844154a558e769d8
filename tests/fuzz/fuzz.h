/* SPDX-License-Identifier: Apache-2.0
 * fuzz.h - what fuzz targets share. A target is one file fuzz_NAME.c with LLVMFuzzerTestOneInput
 * and a folder corpus/NAME of inputs. With clang and -Dfuzzers=true it is a libFuzzer program;
 * without, replay.c runs its corpus, and mutations of it, in every test run. */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A file with these bytes, for parsers that take a path. The text is valid until the next call. */
const char *fuzz_path(const uint8_t *data, size_t size);

#endif
