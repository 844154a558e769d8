/* SPDX-License-Identifier: Apache-2.0
 * fuzz_aws_files.c - any bytes as AWS's shared files: what is found can be sent, or there is a
 * reason why nothing is. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "upstream/aws_places.h"

static void look(const char *path, enum metallm__aws_variable file, const char *profile)
{
    struct metallm__aws_search s = {.profile = profile};
    struct metallm__aws_found found;
    metallm_error err = {0};
    s.env.at[METALLM__AWS_CREDENTIALS_FILE] = "/dev/null";
    s.env.at[METALLM__AWS_CONFIG_FILE] = "/dev/null";
    s.env.at[file] = path;
    int rc = metallm__aws_from_files(&s, &found, &err);
    if (rc != METALLM_OK && rc != METALLM_ENOTFOUND && rc != METALLM_EINVAL && rc != METALLM_ELIMIT)
        __builtin_trap();
    if (rc == METALLM_EINVAL && err.message[0] == '\0')
        __builtin_trap();
    if (rc != METALLM_OK)
        return;
    if (found.id[0] == '\0' || found.secret[0] == '\0' || strpbrk(found.id, "\r\n ") != NULL ||
        strpbrk(found.token, "\r\n ") != NULL)
        __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_path(data, size);
    look(path, METALLM__AWS_CREDENTIALS_FILE, "");
    look(path, METALLM__AWS_CREDENTIALS_FILE, "work");
    look(path, METALLM__AWS_CONFIG_FILE, "work");
    return 0;
}
