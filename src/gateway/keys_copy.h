/* SPDX-License-Identifier: Apache-2.0
 * keys_copy.h - a key as one block of memory. */
#ifndef GATEWAY_KEYS_COPY_H
#define GATEWAY_KEYS_COPY_H
#include "gateway/keys.h"

struct metallm__key *metallm__key_copy(const struct metallm__key *k); /* NULL: no memory */

#endif
