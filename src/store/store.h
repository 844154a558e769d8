/* SPDX-License-Identifier: Apache-2.0
 * store.h - outcomes, prices and vectors kept in a database: filled once by `metallm import`, read
 * by the other verbs. The URL's scheme names the backend (store/backend.h): "sqlite:PATH". Threads:
 * a store belongs to one thread at a time; several processes may open the same one. Every call
 * leaves what was there or the whole of its own work, also when the process is killed. */
#ifndef STORE_STORE_H
#define STORE_STORE_H
#include <stdbool.h>

#include "metallm/outcomes.h"

struct metallm__store;

enum metallm__store_mode {
    METALLM__STORE_USE,  /* there must be one; only vectors and decisions are added */
    METALLM__STORE_FILL, /* made where there is none; an older one is brought up to date */
};

/* METALLM_EINVAL: an unknown scheme. METALLM_ENOTFOUND: there is none. METALLM_EFORMAT: it is
 * something else, or made by a newer version. METALLM_EIO: locked, no room, not readable. The other
 * calls fail with METALLM_EIO, METALLM_EFORMAT (damaged) and METALLM_ENOMEM. */
METALLM_MUSTCHECK int metallm__store_open(struct metallm__store **out, const char *url,
                                          enum metallm__store_mode mode, metallm_error *err);
void metallm__store_close(struct metallm__store *s); /* NULL is fine */

/* How long to wait for another process that writes, before METALLM_EIO; 10 s unless told. */
void metallm__store_wait(struct metallm__store *s, int wait_ms);

/* What importing a file did. */
struct metallm__store_added {
    size_t queries, outcomes; /* new ones */
    size_t copies;            /* outcomes left out: another file gave them already */
    size_t files_known;       /* of the same bytes and options: nothing was done */
    size_t files_replaced; /* the same path with other bytes: what it gave before was taken out */
    size_t costs;          /* filled in by prices */
};

/* One file, whole or not at all; counts are added to. opts->prices is not applied. */
METALLM_MUSTCHECK int metallm__store_import(struct metallm__store *s, const char *path,
                                            const metallm_read_options *opts,
                                            struct metallm__store_added *added,
                                            metallm_read_report *report, const char **format,
                                            metallm_error *err);
/* Rows that no file gave, under a name of their source: new queries and outcomes are added, what is
 * there stays. Whole or not at all; opens a transaction of its own. */
METALLM_MUSTCHECK int metallm__store_add(struct metallm__store *s, const char *source,
                                         const metallm_outcomes *o,
                                         struct metallm__store_added *added, metallm_error *err);
/* Takes out what such a source gave, as if it had never been; within a transaction (ledger.h). */
METALLM_MUSTCHECK int metallm__store_drop(struct metallm__store *s, const char *source,
                                          metallm_error *err);
/* Keeps the prices of a price file and fills in the costs that are not known by those that hold on
 * opts->prices_on. */
METALLM_MUSTCHECK int metallm__store_prices(struct metallm__store *s, const char *path,
                                            const metallm_read_options *opts,
                                            struct metallm__store_added *added, metallm_error *err);

/* What the store holds. */
struct metallm__store_summary {
    size_t queries;
    uint32_t model_count;
    struct metallm__store_model {
        char name[METALLM_MODEL_NAME_MAX + 1];
        size_t scores, costs;   /* how many are known */
        double score, cost_usd; /* means of these; NaN: none */
    } models[METALLM_MODELS_MAX];
};
METALLM_MUSTCHECK int metallm__store_summary(struct metallm__store *s,
                                             struct metallm__store_summary *out,
                                             metallm_error *err);

/* Appends what the store holds of this task and split (NULL: all) in the order of import. */
METALLM_MUSTCHECK int metallm__store_read(struct metallm__store *s, const char *task,
                                          const char *split, metallm_outcomes *o,
                                          const metallm_progress *progress, metallm_error *err);

/* Vectors of texts by one encoder. kind is the encoder's id with the layout of its vectors. */
struct metallm__store_vectors {
    const char *kind;
    const char *const *texts;
    const size_t *lens;
    size_t count;
    float *rows;    /* count x dim */
    uint32_t dim;   /* floats */
    uint8_t *found; /* count flags */
};
/* Fills the rows it holds and sets their flags; the others' flags are cleared. */
METALLM_MUSTCHECK int metallm__store_vectors_get(struct metallm__store *s,
                                                 const struct metallm__store_vectors *v,
                                                 metallm_error *err);
/* Keeps the rows whose flag is not set. */
METALLM_MUSTCHECK int metallm__store_vectors_put(struct metallm__store *s,
                                                 const struct metallm__store_vectors *v,
                                                 metallm_error *err);
#endif
