/* SPDX-License-Identifier: Apache-2.0
 * config_builder.h - what the files that make a config of its raw records share; for
 * config_build.c and config_deployments.c alone. */
#ifndef GATEWAY_CONFIG_BUILDER_H
#define GATEWAY_CONFIG_BUILDER_H
#include "gateway/config_table.h"

struct metallm__builder {
    struct metallm__config_inner *in;
    struct metallm__config *c;
    const struct metallm__raw_model *models;
    const struct metallm__raw_router *routers;
    const struct metallm__raw_alias *aliases;
    metallm_error *err;
};

/* "FILE:LINE: OPTION: sentence", at the option's own line where it is in the file. */
int metallm__builder_refuse(const struct metallm__builder *b, uint32_t line, const char *option,
                            const char *format, ...) __attribute__((format(printf, 4, 5)));
/* "models[2].price" into out (METALLM__OPTION_BYTES of it); member "" : the record itself. */
#define METALLM__OPTION_BYTES 96u
const char *metallm__builder_option(char *out, const char *list, size_t i, const char *member);

/* config_deployments.c: the places of model `at`, one for each of their keys. */
METALLM_MUSTCHECK int metallm__build_deployments(const struct metallm__builder *b, size_t at,
                                                 struct metallm__config_model *m);
/* Tokens of an answer whose client names no limit. */
uint64_t metallm__config_max_tokens(const struct metallm__raw_model *raw);
/* Whether one of its places can embed, by its protocol. */
bool metallm__config_embeds(const struct metallm__config_model *m);
/* What the models cost, which are b->c's; refuses a config that needs a price that is not known. */
METALLM_MUSTCHECK int metallm__build_prices(const struct metallm__builder *b,
                                            struct metallm__config_model *models);

#endif
