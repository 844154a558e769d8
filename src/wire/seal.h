/* SPDX-License-Identifier: Apache-2.0
 * seal.h - what an LLM gives to have its reasoning given back (a signature, encrypted text), as it
 * stands in a client's protocol: a seal of that protocol as it is, any other as
 * "metallm:PROTOCOL:SEAL", so that it finds back to the LLM that can read it. */
#ifndef WIRE_SEAL_H
#define WIRE_SEAL_H
#include "base/json_out.h"
#include "wire/talk.h"

/* As a JSON string. own: the protocol that is written. */
void metallm__seal_write(struct metallm__jw *j, struct metallm__span seal,
                         struct metallm__span seal_of, const char *own);
/* text as a client gave it; the spans point into it. own is static: the protocol of a bare seal. */
void metallm__seal_read(struct metallm__span text, const char *own, struct metallm__span *seal,
                        struct metallm__span *seal_of);

#endif
