/* SPDX-License-Identifier: Apache-2.0
 * error.h - filling a caller's metallm_error, and checks of our own contracts. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H
#include "metallm/base.h"

/* Writes the sentence (cut at METALLM_ERROR_BYTES) and returns code, so that a failing call is one
 * statement. err may be NULL. Wording: lower case, cause first, the value in quotes, no full stop.
 */
int metallm__error_set(metallm_error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Puts "PREFIX: " before the sentence that is there: a caller adds the file or line. Returns code.
 */
int metallm__error_prefix(metallm_error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int metallm__error_nomem(metallm_error *err, const char *what_for); /* METALLM_ENOMEM */

/* Our own contract, on in release builds too. Never for bytes from a peer, a file or a database. */
#define METALLM_REQUIRE(fact)                                                                      \
    ((fact) ? (void)0 : metallm__require_failed(#fact, __FILE__, __LINE__))
_Noreturn void metallm__require_failed(const char *fact, const char *file, int line);

#endif
