/* SPDX-License-Identifier: Apache-2.0
 * config_table.h - the one table of the configuration's options, and the raw records that it fills.
 * Parser (config_yaml.c), checks (config_build.c), comparison, help, man page, commented example
 * and docs/config.md (config_text.c) all walk it. A new option is a line here and a field. */
#ifndef GATEWAY_CONFIG_TABLE_H
#define GATEWAY_CONFIG_TABLE_H
#include "gateway/config.h"

enum metallm__option_kind {
    METALLM__OPT_TEXT,    /* const char * */
    METALLM__OPT_SECRET,  /* const char *; may be file:PATH; never shown */
    METALLM__OPT_FLAG,    /* bool */
    METALLM__OPT_ABLE,    /* int8_t: -1 not stated, 0, 1 */
    METALLM__OPT_COUNT,   /* uint64_t */
    METALLM__OPT_REAL,    /* double; NaN without a fallback: not stated */
    METALLM__OPT_CHOICE,  /* int: the index in choices */
    METALLM__OPT_DAY,     /* int: YYYYMMDD */
    METALLM__OPT_TEXTS,   /* struct metallm__strings; a single text is a list of one */
    METALLM__OPT_SECRETS, /* struct metallm__strings, each as SECRET; empty ones are left out */
    METALLM__OPT_HEADERS, /* struct metallm__config_headers; values are secrets */
    METALLM__OPT_GROUP,   /* a mapping into the same record */
    METALLM__OPT_RECORDS, /* struct metallm__raw_list: a list of mappings */
};

enum metallm__option_flags {
    METALLM__OPT_NEEDED = 1, /* must be in the file */
    METALLM__OPT_FIXED = 2,  /* cannot change while the gateway runs */
    METALLM__OPT_ONE = 4,    /* RECORDS: a single mapping is a list of one */
    METALLM__OPT_EMPTY = 8,  /* TEXT: may be "" */
};

struct metallm__option {
    const char *name; /* NULL closes a table */
    enum metallm__option_kind kind;
    unsigned flags;
    size_t offset;
    double low, high;     /* COUNT and REAL */
    const char *fallback; /* as typed; NULL: none */
    const char *unit;     /* "bytes" and "ms" take suffixes; NULL: none */
    const char *choices;  /* CHOICE, or TEXT that is one of these: "a|b|c" */
    const char *help;     /* one sentence or two */
    const char *example;  /* a value as typed, where the fallback teaches nothing */
    const struct metallm__option *members; /* GROUP, RECORDS */
    size_t record_bytes;                   /* RECORDS; each begins with uint32_t line */
    uint32_t most;                         /* TEXTS, HEADERS, RECORDS: items */
    const char *brief; /* GROUP, RECORDS: a scalar in place of the mapping is this member's */
};

struct metallm__raw_list {
    void *items;
    uint32_t count;
};

/* What a model says for all its places, or a deployment for itself; "" : not stated. */
struct metallm__raw_place {
    const char *protocol, *base_url, *model, *region, *aws_profile, *azure_version;
    struct metallm__strings api_keys;
};

struct metallm__raw_deployment {
    uint32_t line;
    const char *name;
    struct metallm__raw_place place;
    double weight;
    uint64_t concurrency;
    struct metallm__config_headers headers;
};

#define METALLM__ABILITIES 8u /* the bits of enum metallm__ability */

struct metallm__raw_model {
    uint32_t line;
    const char *name;
    struct metallm__raw_place place;
    struct metallm__config_headers headers;
    struct metallm__raw_list deployments; /* raw_deployment */
    struct metallm__raw_list prices;      /* config_price */
    int8_t able[METALLM__ABILITIES];
    uint64_t context, max_output, max_tokens, concurrency;
    bool usage;
    struct metallm__config_timeouts timeouts;
    const char *like;
    double prior_quality, prior_weight;
    const char *prior_outcomes;
    int prior_score;
    int state;     /* by the admin API: 0 serving, 1 drained, 2 retired */
    bool by_admin; /* not in the file */
};

struct metallm__raw_grader {
    uint32_t line;
    int kind;
    const char *pattern, *prompt, *task, *model;
    double share;
};

struct metallm__raw_router {
    uint32_t line;
    const char *name, *file, *policy, *task, *fallback;
    int mode, budget_per;
    double dial, target, budget_usd, max_cost_usd, forget;
    struct metallm__config_explore explore;
    struct metallm__strings models;
    struct metallm__raw_list graders; /* raw_grader */
    uint64_t seed;
    bool sticky;
    bool by_admin; /* dial, target or budget were set by the admin API */
};

struct metallm__raw_alias {
    uint32_t line;
    const char *name, *to, *task;
    double dial, target, max_cost_usd;
    struct metallm__strings models;
};

struct metallm__raw {
    struct metallm__config c; /* what needs no resolving is read into its place */
    int log_requests;
    struct metallm__raw_list models, routers, aliases;
};

extern const struct metallm__option metallm__config_options[];
/* Members of one model, router or alias. */
extern const struct metallm__option metallm__model_options[], metallm__router_options[],
    metallm__alias_options[];
const struct metallm__option *metallm__option_find(const struct metallm__option *table,
                                                   const char *name);
/* The n-th choice of a list "a|b|c" into name (METALLM__CHOICE_BYTES of it); NULL after the last.
 */
#define METALLM__CHOICE_BYTES 24u
const char *metallm__option_choice(const char *choices, uint32_t n, char *name);

/* Memory of a config, the lines of its options, and the count of its holders. */
struct metallm__config_inner {
    struct metallm__config *config;
    struct metallm__config_block *blocks;
    struct metallm__raw raw;
    struct metallm__config_place {
        const char *option;
        uint32_t line;
        bool is_hidden; /* from the environment: the value does not stand in messages */
    } * places;
    uint32_t place_count, place_room;
    uint32_t holders; /* atomic */
};
/* Cleared; freed with the config. NULL: no memory. */
void *metallm__config_alloc(struct metallm__config_inner *in, size_t count, size_t size);
char *metallm__config_text(struct metallm__config_inner *in, const char *text, size_t len);

/* "FILE:LINE: " and the sentence. Returns METALLM_EFORMAT. */
int metallm__config_refuse(const struct metallm__config_inner *in, uint32_t line,
                           metallm_error *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Fills a record with the fallbacks of its table (GROUPs included). */
METALLM_MUSTCHECK int metallm__config_defaults(struct metallm__config_inner *in,
                                               const struct metallm__option *table, void *record,
                                               metallm_error *err);
/* Reads YAML into in->raw. in->raw.c.path is set. */
METALLM_MUSTCHECK int metallm__config_read(struct metallm__config_inner *in, const char *bytes,
                                           size_t len, metallm_error *err);
/* Reads one mapping (JSON is YAML) into a record that holds its defaults; options are placed below
 * `path` in messages. */
METALLM_MUSTCHECK int metallm__config_read_record(struct metallm__config_inner *in,
                                                  const struct metallm__option *table,
                                                  const char *path, const char *text, size_t len,
                                                  void *record, metallm_error *err);
/* Applies the admin API's changes to in->raw. */
METALLM_MUSTCHECK int metallm__config_apply(struct metallm__config_inner *in,
                                            const struct metallm__config_changes *changes,
                                            metallm_error *err);
/* Checks what the table cannot, and makes in->config of in->raw. */
METALLM_MUSTCHECK int metallm__config_build(struct metallm__config_inner *in, metallm_error *err);
#endif
