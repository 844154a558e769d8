/* SPDX-License-Identifier: Apache-2.0
 * wire_random.h - talks and answers made at random, and whether two of them mean the same. Texts
 * lie in the maker's pool. */
#ifndef SUPPORT_WIRE_RANDOM_H
#define SUPPORT_WIRE_RANDOM_H
#include "base/rng.h"
#include "wire/wire.h"

struct wire_random {
    metallm_rng rng;
    struct metallm__pool pool;
    uint64_t allowed;       /* features that a talk may use */
    const char *seal_of;    /* whose seals reasoning in a talk has; NULL: none */
    const char *seals[3];   /* whose seals an answer has, by chance; NULL: none */
    double temperature_max; /* 1 or 2 */
    unsigned stops_max;
    bool has_no_format_name; /* a schema is not named, and always strict */
    bool has_no_refusals;    /* answers: a refusal is a text like others */
    bool has_one_system;     /* system texts are one part of one turn */
    bool is_text_first;      /* answers: text stands before any call and behind all reasoning */
};
struct metallm__span random_text(struct wire_random *r, size_t most);
/* Settled. */
void random_talk(struct wire_random *r, struct metallm__talk *out);
void random_said(struct wire_random *r, struct metallm__said *out);

/* "" where they mean the same, else what differs. */
const char *talk_difference(const struct metallm__talk *a, const struct metallm__talk *b);
const char *said_difference(const struct metallm__said *a, const struct metallm__said *b);

/* The answer piece by piece, cut at random; USAGE before or behind FINISH. */
int said_as_deltas(struct wire_random *r, const struct metallm__said *said,
                   metallm__delta_sink sink, void *payload);
/* Deltas as an answer again; all of it lies in the pool. */
struct said_maker {
    struct metallm__pool *pool;
    struct metallm__said said;
    struct metallm__part parts[64];
    bool is_open, is_finished;
    const char *wrong; /* an order that is not allowed; NULL: none */
};
int said_from_delta(void *maker, const struct metallm__delta *d);

#endif
