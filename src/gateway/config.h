/* SPDX-License-Identifier: Apache-2.0
 * config.h - the gateway's configuration: a YAML file read by one table of options
 * (config_table.h), from which parser, help, man page, commented example and docs/config.md follow.
 *
 * A metallm__config is immutable and counted: every request may hold the one it began with while a
 * new one is already in force. Strings are never NULL unless said so; lists are in file order.
 * Every mistake is refused as "FILE:LINE: KEY: what is wrong with 'VALUE'".
 * Threads: any number may read, take and drop at once. */
#ifndef GATEWAY_CONFIG_H
#define GATEWAY_CONFIG_H
#include <stdbool.h>
#include <stdint.h>

#include "metallm/base.h"

#define METALLM__CONFIG_BYTES_MAX       ((size_t)4 << 20)
#define METALLM__CONFIG_MODELS_MAX      256u
#define METALLM__CONFIG_DEPLOYMENTS_MAX 64u /* of one model */
#define METALLM__CONFIG_ROUTERS_MAX     64u
#define METALLM__CONFIG_ALIASES_MAX     256u
#define METALLM__CONFIG_LIST_MAX        256u       /* of any other list */
#define METALLM__CONFIG_NONE            UINT32_MAX /* no index */

struct metallm__strings {
    const char *const *items;
    uint32_t count;
};

struct metallm__config_header {
    uint32_t line;
    const char *name, *value; /* value is secret */
};
struct metallm__config_headers {
    const struct metallm__config_header *items;
    uint32_t count;
};

/* Dollars per million tokens from a day on; NaN: not stated. The first entry of a list may have no
 * day; entries are sorted by day. */
struct metallm__config_price {
    uint32_t line;
    int from; /* YYYYMMDD; 0: always */
    double input, output, cached_input, cached_write, usd_per_call;
    const char
        *table; /* in place of all this: "table", or a name there, PLATFORM/NAME; "" : none */
};

struct metallm__price;     /* data/prices.h */
enum metallm__price_from { /* where a model's price is from */
                           METALLM__PRICE_FROM_NOWHERE,
                           METALLM__PRICE_FROM_CONFIG,
                           METALLM__PRICE_FROM_FILE, /* `prices` */
                           METALLM__PRICE_FROM_TABLE /* compiled in */
};

/* One place where an LLM can be called, with one key. A model without `deployments` has one place,
 * made of its own base_url, api_key, model and headers; a place with several keys is as many
 * deployments, NAME#1 and so on. */
struct metallm__config_deployment {
    uint32_t line;
    const char *name;                 /* for metrics and logs; default: host and port of base_url */
    const char *protocol;             /* that it is spoken to in: "openai", ... */
    const char *base_url;             /* "https://host[:port][/path]", no slash at the end */
    const char *api_key;              /* "" : none. Never to be shown */
    const char *model;                /* the upstream's name of the LLM */
    const char *region, *aws_profile; /* AWS; "" elsewhere; aws_profile "" : the default one */
    const char *azure_version;        /* "" : not Azure's URLs by deployment */
    double weight;                    /* > 0: share of calls among the deployments that are well */
    uint64_t concurrency;             /* calls at once; 0: no limit */
    struct metallm__config_headers headers; /* sent with every call */
};

enum metallm__ability { /* bits of config_model.abilities */
                        METALLM__ABLE_TOOLS = 1 << 0,
                        METALLM__ABLE_IMAGES = 1 << 1,
                        METALLM__ABLE_JSON = 1
                                             << 2, /* response_format json_object or json_schema */
                        METALLM__ABLE_AUDIO = 1 << 3,
                        METALLM__ABLE_CHAT = 1 << 4,        /* /v1/chat/completions */
                        METALLM__ABLE_COMPLETIONS = 1 << 5, /* /v1/completions */
                        METALLM__ABLE_EMBEDDINGS = 1 << 6,  /* /v1/embeddings; never routed */
                        METALLM__ABLE_RESPONSES = 1 << 7,   /* /v1/responses, byte for byte */
};

struct metallm__config_timeouts { /* milliseconds, > 0 */
    uint64_t connect_ms, first_token_ms, idle_ms, total_ms;
};

/* Of a newcomer's outcomes on benchmarks (gateway/prior.h). */
enum metallm__prior_score { METALLM__SCORE_S1, METALLM__SCORE_S2, METALLM__SCORE_S3 };

struct metallm__config_model {
    uint32_t line;
    const char *name; /* the name clients, routers and price files use */
    const struct metallm__config_deployment *deployments;
    uint32_t deployment_count; /* >= 1 */
    const struct metallm__config_price *prices;
    uint32_t price_count;                      /* 0: the known prices hold */
    const struct metallm__price *known_prices; /* of the price file or the table, by day */
    uint32_t known_count;
    enum metallm__price_from priced_by;
    const char *price_name;       /* ... by this name there; "" */
    bool has_price;               /* one that held when the config was read */
    unsigned abilities;           /* METALLM__ABLE_*; what the file leaves open is resolved */
    uint64_t context, max_output; /* tokens; 0: not stated */
    uint64_t max_tokens;          /* where the client names none and the protocol wants it; >= 1 */
    bool usage;                   /* asks for usage in streams (stream_options.include_usage) */
    struct metallm__config_timeouts timeouts;
    uint32_t like;              /* index of the model whose state a newcomer borrows; NONE */
    double prior_quality;       /* where nothing else is known of it; NaN: not stated */
    const char *prior_outcomes; /* instead: a file of outcomes to work it out from; "" : none */
    enum metallm__prior_score prior_score; /* ... by this task score */
    double prior_weight;                   /* observations that the expectation counts as */
    bool drained;  /* by the admin API: takes no new routed requests, stays known */
    bool retired;  /* by the admin API: serves nothing */
    bool by_admin; /* not in the file */
};

enum metallm__mode {
    METALLM__MODE_OBSERVE,
    METALLM__MODE_OFFLINE,
    METALLM__MODE_ONLINE,
    METALLM__MODE_HYBRID,
};
enum metallm__period {
    METALLM__PERIOD_DAY,   /* UTC midnight to midnight */
    METALLM__PERIOD_MONTH, /* UTC calendar month */
    METALLM__PERIOD_HOUR,
    METALLM__PERIOD_REQUEST, /* routers only: dollars a request on average */
};

enum metallm__grader_kind {
    METALLM__GRADER_EXACT, /* the answer, trimmed, equals the label sent with the request */
    METALLM__GRADER_REGEX, /* regular expression (PCRE2) found in the answer */
    METALLM__GRADER_JSON,  /* the answer is valid JSON */
    METALLM__GRADER_JUDGE, /* an LLM scores the answer, on a share of the requests */
};
struct metallm__config_grader {
    uint32_t line;
    enum metallm__grader_kind kind;
    const char *pattern; /* regex; "" else */
    const char *prompt;  /* judge: instruction, "" for the built-in one */
    const char *task;    /* only for requests of this task; "": all */
    uint32_t model;      /* judge: index of the LLM that judges; NONE else */
    double share;        /* of the requests that are graded, 0..1 */
};
struct metallm__config_explore {
    double share;    /* of requests spread over all candidates to learn */
    double floor;    /* least chance of any candidate */
    double cap;      /* most of all requests that exploration may take, newcomers' included */
    double newcomer; /* share for each newcomer until it is known */
};

struct metallm__config_router {
    uint32_t line;
    const char *name; /* what clients put in "model" */
    const char *file; /* "" : starts from the prior */
    enum metallm__mode mode;
    double dial;       /* NaN: not stated */
    double target;     /* NaN: not stated */
    double budget_usd; /* NaN: not stated; at most one of the three is */
    enum metallm__period budget_per;
    double max_cost_usd; /* 0: none */
    const char *policy;  /* NAME or NAME:key=value,...; "" : the default */
    const char *task;    /* default task; "" */
    struct metallm__config_explore explore;
    const uint32_t *models; /* indices, ascending; all that chat where the file names none */
    uint32_t model_count;
    uint32_t fallback; /* observe: the model that answers; else the one when routing fails; NONE */
    const struct metallm__config_grader *graders;
    uint32_t grader_count;
    double forget; /* discount per observation, 0.9..1 */
    uint64_t seed; /* of its draws */
    bool sticky;   /* weighs the lost prompt cache within a session */
    bool by_admin; /* dial, target or budget were set by the admin API */
};

/* A further name for a model or router, with defaults for requests that use it. */
struct metallm__config_alias {
    uint32_t line;
    const char *name;
    uint32_t model, router; /* index; the other is NONE */
    double dial, target;    /* NaN: not stated */
    double max_cost_usd;    /* 0: not stated */
    const char *task;       /* "" */
    const uint32_t *models; /* candidates; all of the router's where count is 0 */
    uint32_t model_count;
};

enum metallm__log_requests { METALLM__LOG_NONE, METALLM__LOG_ERRORS, METALLM__LOG_ALL };

struct metallm__config_limits {
    uint64_t header_bytes, header_count, body_bytes, url_bytes;
    uint64_t connections, connections_per_address, requests_per_connection; /* 0: no limit */
    uint64_t idle_ms, header_ms, body_ms, write_ms; /* waiting for / reading / slow reader */
    uint64_t total_ms;     /* of a request, from its first byte to the answer's last */
    uint64_t stream_bytes; /* buffered for one slow reader before the upstream is paused */
    uint64_t requests;     /* in work at once; beyond: 503 with Retry-After */
    uint64_t drain_ms;     /* graceful stop: then what is left is cut */
};

struct metallm__config_upstream {
    uint64_t attempts; /* of a request, over deployments and LLMs */
    uint64_t backoff_ms, backoff_max_ms;
    uint64_t answer_bytes;     /* of an answer that is not streamed */
    uint64_t idle_connections; /* kept per deployment and thread */
    uint64_t idle_ms;          /* kept for this long */
    uint64_t dns_ms;           /* an address is believed for this long */
    uint64_t breaker_failures; /* in a row that open it */
    double breaker_rate;       /* or this share of the last calls */
    uint64_t breaker_open_ms;
    const char *ca_file; /* "" : the system's */
    bool verify;         /* certificates */
};

struct metallm__config_encoder {
    const char *name, *precision, *weights; /* "" : automatic */
    const char *url, *model, *api_key;      /* remote; "" */
    uint64_t threads, queue, batch, cache;
    uint64_t timeout_ms;  /* deadline in a request's path */
    const char *fallback; /* "static", "hash" or "none" (the best on average) */
};

struct metallm__config {
    const char *path;               /* as given */
    struct metallm__strings listen; /* in numbers: "127.0.0.1:8080", "[::1]:8080", ":8080" */
    const char *tls_cert, *tls_key; /* "" : plain HTTP */
    uint64_t threads;               /* loops; 0 in the file: one a processor (resolved, >= 1) */
    const char *store;              /* URL */
    const char *prices;             /* file; "" */
    struct metallm__config_encoder encoder;
    struct metallm__config_limits limits;
    struct metallm__config_upstream upstream;
    const struct metallm__config_model *models;
    uint32_t model_count; /* >= 1 */
    const struct metallm__config_router *routers;
    uint32_t router_count; /* 0: names go straight to LLMs */
    const struct metallm__config_alias *aliases;
    uint32_t alias_count;
    struct {
        bool keys;             /* client keys are asked for */
        const char *admin_key; /* "" : the admin API answers loopback addresses alone */
        bool metrics;          /* /metrics asks for the admin key from other than loopback */
    } auth;
    struct {
        const char *level; /* debug, info, warn, error */
        const char *file;  /* "" : standard error */
        enum metallm__log_requests requests;
        bool prompts; /* prompts and answers may stand in the log */
    } log;
    struct {
        uint64_t idle_s, count; /* sessions are forgotten after this idle time, or when more */
    } sessions;
    struct {
        uint64_t decisions_days; /* 0: for ever */
        bool prompts;            /* prompts are stored with decisions */
        uint64_t feedback_days;  /* feedback that comes later is refused */
    } retention;
    struct metallm__config_inner *inner; /* memory, lines of options, count of holders */
};

/* Changes made by the admin API, applied over the file (docs/operations.md). One JSON object each.
 */
struct metallm__config_change {
    const char *kind; /* "model", "price", "state", "router" */
    const char *name; /* of the model or router */
    const char *json;
};
struct metallm__config_changes {
    const struct metallm__config_change *items;
    uint32_t count;
};

/* Reads the file, with what it refers to in the environment and in secret files; changes may be
 * NULL. The caller holds *out. METALLM_EFORMAT, METALLM_EINVAL: refused with its line.
 * METALLM_ENOTFOUND, METALLM_EIO: the file itself. */
METALLM_MUSTCHECK int metallm__config_load(const struct metallm__config **out, const char *path,
                                           const struct metallm__config_changes *changes,
                                           metallm_error *err);
/* The same from bytes; path is for messages. */
METALLM_MUSTCHECK int metallm__config_parse(const struct metallm__config **out, const char *path,
                                            const char *bytes, size_t len,
                                            const struct metallm__config_changes *changes,
                                            metallm_error *err);
/* As load, and refuses what cannot change while the gateway runs (listen, threads, store, ...) with
 * its line. old stays as it is. */
METALLM_MUSTCHECK int metallm__config_reload(const struct metallm__config **out,
                                             const struct metallm__config *old,
                                             const struct metallm__config_changes *changes,
                                             metallm_error *err);
const struct metallm__config *metallm__config_take(const struct metallm__config *c);
void metallm__config_drop(const struct metallm__config *c); /* NULL is fine */

/* Whether both say the same, lines and path aside. */
bool metallm__config_equal(const struct metallm__config *a, const struct metallm__config *b);
/* The line of an option ("limits.body_bytes", "models[1].name"); 0: it is not in the file. */
uint32_t metallm__config_line(const struct metallm__config *c, const char *option);

/* Index by name, or METALLM__CONFIG_NONE. Names are bytes that need no NUL. */
uint32_t metallm__config_model_find(const struct metallm__config *c, const char *name, size_t len);
uint32_t metallm__config_router_find(const struct metallm__config *c, const char *name, size_t len);
uint32_t metallm__config_alias_find(const struct metallm__config *c, const char *name, size_t len);

/* Seconds of a period as pacers reckon (a month: 30 days); 0 for a request. */
double metallm__period_seconds(enum metallm__period p);
/* First millisecond of the period that holds at wall_ms (since 1970, UTC), and of the next one. */
uint64_t metallm__period_begin(enum metallm__period p, uint64_t wall_ms);
uint64_t metallm__period_end(enum metallm__period p, uint64_t wall_ms);
/* The one name that all of the model's places have in the table of prices, into out
 * (METALLM__PRICE_NAME_BYTES); false: there is none. */
bool metallm__config_price_name(const struct metallm__config_model *m, char *out);

#endif
