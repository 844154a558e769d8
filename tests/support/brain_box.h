/* SPDX-License-Identifier: Apache-2.0
 * brain_box.h - a folder with a store, a configuration, brains and a journal over them, for tests
 * of what the gateway decides, records and learns. */
#ifndef SUPPORT_BRAIN_BOX_H
#define SUPPORT_BRAIN_BOX_H
#include "gateway/brain.h"
#include "gateway/brain_learn.h"
#include "gateway/journal.h"

#define BOX_HEAD 8u
#define BOX_TEXT 3u

struct brain_box {
    char folder[64], url[128], db[112];
    const struct metallm__config *config;
    struct metallm__brains *brains;
    struct metallm__journal *journal;
    struct metallm__brain_reader *reader;
    metallm_rng rng;
    struct metallm__journal_options options;
    const struct metallm__config_changes *changes; /* of the admin API; NULL: none */
};

/* Two models, big and small, and what `router` says of the router "auto" (YAML, indented by four).
 */
void box_open(struct brain_box *box, const char *router);
void box_configure(struct brain_box *box, const char *models, const char *router);
void box_start(struct brain_box *box); /* brains and journal, over what is stored */
void box_stop(struct brain_box *box);
void box_close(struct brain_box *box); /* stops, and removes the folder */
extern const char box_models[];        /* YAML of big and small */

/* A decision by the newest view on features drawn by box->rng, recorded as answered by its choice.
 * Returns its id; out may be NULL. */
struct metallm__decision_id box_decide(struct brain_box *box, struct metallm__record *out);
/* Waits for the answer. */
int box_feedback(struct brain_box *box, const struct metallm__decision_id *id, double score);
int box_label(struct brain_box *box, const struct metallm__decision_id *id, const char *label);
/* The JSON of a decision; the caller frees. NULL: not found. */
char *box_show(struct brain_box *box, const struct metallm__decision_id *id);
/* Until the journal has written all decisions. */
void box_flush(struct brain_box *box);
/* Bytes of the state of "auto"; the caller finis. */
void box_state(struct brain_box *box, struct metallm__buf *out);

#endif
