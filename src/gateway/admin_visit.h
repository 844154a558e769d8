/* SPDX-License-Identifier: Apache-2.0
 * admin_visit.h - the admin API and the status page as endpoints. */
#ifndef GATEWAY_ADMIN_VISIT_H
#define GATEWAY_ADMIN_VISIT_H
#include "gateway/admin.h"
#include "gateway/worker.h"

struct metallm__admin_visit {
    struct metallm__visit visit; /* first */
    struct metallm__gateway_job job;
    struct metallm__mail mail;
    struct metallm__admin_answer answer;
    char *path, *body; /* copies: the exchange may go meanwhile */
    size_t body_len;
    const char *method;
};

void metallm__admin_begin(struct metallm__visit *v); /* a struct metallm__admin_visit */
void metallm__status_begin(struct metallm__visit *v);
#endif
