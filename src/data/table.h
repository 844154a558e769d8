/* SPDX-License-Identifier: Apache-2.0
 * table.h - what importers know of the table beyond its public face: the index that finds a query
 * again by what its source calls it, so that rows of one query meet and copies are seen. */
#ifndef DATA_TABLE_H
#define DATA_TABLE_H
#include <stdbool.h>

#include "metallm/outcomes.h"

/* What a query is known by. Texts are compared whole, so a hash's collision does no harm. */
struct metallm__query_key {
    const char *task, *split, *id; /* "" where there is none */
    const char *prompt;            /* NULL: the id alone names the query */
};

/* The query of this key, SIZE_MAX: none. */
size_t metallm__outcomes_find_query(const metallm_outcomes *o,
                                    const struct metallm__query_key *key);
/* Remembers that query is known by key; the table's own texts are what is compared later. */
METALLM_MUSTCHECK int metallm__outcomes_index_query(metallm_outcomes *o,
                                                    const struct metallm__query_key *key,
                                                    size_t query, metallm_error *err);
/* What a query was last indexed by, and the hash of that key: a store finds it again by the same.
 */
enum metallm__key_kind {
    METALLM__KEY_NONE,   /* a row of its own */
    METALLM__KEY_ID,     /* by id */
    METALLM__KEY_PROMPT, /* by prompt */
    METALLM__KEY_BOTH,   /* by id and prompt */
};
enum metallm__key_kind metallm__outcomes_query_kind(const metallm_outcomes *o, size_t query);
uint64_t metallm__outcomes_query_hash(const metallm_outcomes *o, size_t query);
bool metallm__outcome_is_unknown(const metallm_outcome *cell);
/* Forgets all queries; the models stay. */
void metallm__outcomes_clear(metallm_outcomes *o);

#endif
