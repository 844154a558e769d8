/* SPDX-License-Identifier: Apache-2.0
 * error.c - the sentence for people, and what happens when our own contract is broken. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int metallm__error_set(metallm_error *err, int code, const char *format, ...)
{
    if (err == NULL)
        return code;
    va_list args;
    va_start(args, format);
    err->code = code;
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    return code;
}

int metallm__error_prefix(metallm_error *err, int code, const char *format, ...)
{
    if (err == NULL)
        return code;
    char rest[METALLM_ERROR_BYTES], head[METALLM_ERROR_BYTES];
    memcpy(rest, err->message, sizeof rest);
    va_list args;
    va_start(args, format);
    vsnprintf(head, sizeof head, format, args);
    va_end(args);
    err->code = code;
    size_t used = strlen(head);
    memcpy(err->message, head, used + 1);
    if (snprintf(err->message + used, sizeof err->message - used, ": %s", rest) < 0)
        err->message[used] = '\0';
    return code;
}

int metallm__error_nomem(metallm_error *err, const char *what_for)
{
    return metallm__error_set(err, METALLM_ENOMEM, "no memory for %s", what_for);
}

void metallm__require_failed(const char *fact, const char *file, int line)
{
    fprintf(stderr, "metallm: broken contract: %s (%s:%d)\n", fact, file, line);
    abort();
}

const char *metallm_version(void)
{
    return METALLM_VERSION;
}

const char *metallm_status_name(int status)
{
    switch (status) {
    case METALLM_OK:
        return "ok";
    case METALLM_EINVAL:
        return "out of range";
    case METALLM_ENOMEM:
        return "no memory";
    case METALLM_EIO:
        return "input or output failed";
    case METALLM_EFORMAT:
        return "damaged or unknown format";
    case METALLM_ENOTFOUND:
        return "not found";
    case METALLM_EMISMATCH:
        return "parts do not fit";
    case METALLM_ELIMIT:
        return "limit passed";
    case METALLM_ENUMERIC:
        return "numerical failure";
    case METALLM_ECANCELED:
        return "cancelled";
    case METALLM_EBUSY:
        return "queue full";
    case METALLM_ETIMEOUT:
        return "deadline passed";
    default:
        return "unknown status";
    }
}
