/* SPDX-License-Identifier: Apache-2.0
 * doctor.h - what `metallm doctor` looks at, a function a subject; each tells what it found, a line
 * a finding. */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H
#include <stdbool.h>
#include <stdio.h>

#include "gateway/config.h"
#include "upstream/llms.h"

enum doctor_verdict { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL };

struct doctor {
    const struct metallm__config *config;
    FILE *out;                 /* lines are printed as they come; NULL: only collected */
    struct metallm__buf *json; /* objects parted by commas; NULL: none */
    bool is_offline;
    unsigned found[3]; /* by verdict */
};

/* about: what it is about ("model small"), a word or two. */
void cli_doctor_tell(struct doctor *d, enum doctor_verdict verdict, const char *about,
                     const char *format, ...) __attribute__((format(printf, 4, 5)));

void cli_doctor_store(struct doctor *d);
void cli_doctor_listen(struct doctor *d);
void cli_doctor_auth(struct doctor *d);
void cli_doctor_models(struct doctor *d); /* prices, keys, reachability; the clock by the way */
/* Asks a deployment in its own protocol for its list of models, or for an answer that it has to
 * refuse: nothing is generated, so that it costs nothing. */
void cli_doctor_reach(struct doctor *d, const struct metallm__config_deployment *p,
                      const struct metallm__deployment *live, const char *about);
void cli_doctor_routers(struct doctor *d);
void cli_doctor_system(struct doctor *d);

#endif
