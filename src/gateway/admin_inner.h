/* SPDX-License-Identifier: Apache-2.0
 * admin_inner.h - what the files of the admin API share. */
#ifndef GATEWAY_ADMIN_INNER_H
#define GATEWAY_ADMIN_INNER_H
#include "base/json.h"
#include "base/json_out.h"
#include "gateway/admin.h"

/* A call under way. name: what stands in the path after the collection, decoded; "" : nothing. */
struct metallm__admin_call {
    const struct metallm__admin *a;
    const struct metallm__admin_request *request;
    struct metallm__admin_answer *out;
    struct metallm__jw j; /* of out->body */
    char name[METALLM_MODEL_NAME_MAX + 1];
    yyjson_doc *body; /* NULL: none was sent */
    metallm_error *err;
};

/* Answers with an error object. Returns a status that aborts the transaction. */
int metallm__admin_refuse(struct metallm__admin_call *c, int status, const char *code,
                          const char *format, ...) __attribute__((format(printf, 4, 5)));
/* The same from err: 400 for what the client said, 500 else. */
int metallm__admin_failed(struct metallm__admin_call *c, int rc);

/* By collection and method; METALLM_OK and an answer, or refused. */
int metallm__admin_keys(struct metallm__admin_call *c);
int metallm__admin_models(struct metallm__admin_call *c);
int metallm__admin_routers(struct metallm__admin_call *c);
int metallm__admin_changes(struct metallm__admin_call *c);
/* Whether the file with the changes that the store holds now makes a config that could follow the
 * one in force; refused if not. */
int metallm__admin_check(struct metallm__admin_call *c);
#endif
