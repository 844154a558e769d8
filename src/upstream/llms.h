/* SPDX-License-Identifier: Apache-2.0
 * llms.h - one generation of the configured LLMs: immutable, counted by references, shared by all
 * threads. A reload or an admin call makes the next generation; requests under way keep theirs.
 * Health (breakers, counters) passes from one generation to the next with the deployment.
 * Keys stay in memory, are wiped when the last reference goes, and are never printed. */
#ifndef UPSTREAM_LLMS_H
#define UPSTREAM_LLMS_H
#include "data/prices.h"
#include "net/http.h"
#include "net/tls.h"
#include "upstream/aws_credentials.h"
#include "upstream/health.h"
#include "wire/wire.h"

#define METALLM__LLMS_MAX          256u /* in a generation */
#define METALLM__DEPLOYMENTS_MAX   64u  /* of an LLM */
#define METALLM__EXTRA_HEADERS_MAX 16u  /* of a deployment */
#define METALLM__URL_BYTES_MAX     2048u
#define METALLM__KEY_BYTES_MAX     8192u

enum metallm__llm_state {
    METALLM__LLM_ACTIVE = 0,
    METALLM__LLM_DRAINING, /* answers what was begun and sessions that hold it; gets nothing new */
    METALLM__LLM_RETIRED   /* gets nothing; stays so that records keep its name */
};
const char *metallm__llm_state_name(enum metallm__llm_state state); /* static */

struct metallm__header_option {
    const char *name, *value; /* value is secret */
};

/* What the config says of a deployment. Zero means the default; texts are copied. */
struct metallm__deployment_options {
    const char
        *base_url; /* http(s)://host[:port][/path], "/v1" included; no user, query or fragment */
    const char *protocol;                         /* NULL: "openai" */
    const char *model;                            /* the upstream's name; NULL: the LLM's */
    const char *key;                              /* secret; NULL: none */
    const struct metallm__header_option *headers; /* sent with each request */
    size_t header_count;
    double weight;           /* share among the LLM's deployments, > 0; 0: 1 */
    unsigned concurrent_max; /* requests at a time over all loops; 0: no limit */
    unsigned waiting_max;    /* requests that wait for a slot, a loop: 64 */
    uint32_t waiting_ms;     /* longest wait for a slot: 2,000 */
    uint32_t connect_ms;     /* 3,000: address, connection and handshake */
    uint32_t first_byte_ms;  /* 60,000: from the request to the first byte of an answer */
    uint32_t idle_ms;        /* 60,000: between two pieces of an answer */
    uint32_t total_ms;       /* 600,000 */
    /* Of protocols that ask for them; NULL or 0: not stated. */
    const char *azure_version; /* openai: api-version of Azure's classic URLs; the key goes as
                                * api-key */
    const char *region, *aws_profile; /* bedrock */
    unsigned native;        /* bits 1 << METALLM__WIRE_*: kinds that pass as bytes, of those that
                             * the protocol has; 0: all, but of openai no RESPONSES */
    uint32_t max_tokens;    /* of answers where the client does not say and the protocol must be
                             * told: METALLM__WIRE_MAX_TOKENS */
    const char *ca_file;    /* PEM; NULL: the system's */
    bool is_tls_unverified; /* accepts any certificate: for tests */
    bool is_usage_unasked;  /* never adds stream_options.include_usage */
    struct metallm__breaker_options breaker;
};

struct metallm__llm_options {
    const char *name;
    enum metallm__llm_state state;
    unsigned kinds; /* of requests that it answers: bits 1 << METALLM__WIRE_CHAT, ...; 0: chat. Who
                     * answers chat answers every kind of talk, by translation where need be */
    bool has_tools, has_images, has_audio, has_json; /* abilities; has_json: response_format */
    uint32_t context_tokens;                         /* input and output; 0: not known, no limit */
    uint32_t output_tokens_max;                      /* 0: not known */
    const struct metallm__price *prices; /* this LLM's, any order; `model` is not looked at */
    size_t price_count;
    const struct metallm__deployment_options *deployments;
    size_t deployment_count; /* 1..METALLM__DEPLOYMENTS_MAX */
};

struct metallm__deployment {
    char *base_url, *model, *ca_file; /* ca_file NULL: the system's */
    char *host;                       /* without brackets */
    char *path;                       /* of base_url, without a slash at its end */
    uint16_t port;
    bool is_tls, is_tls_unverified;
    const struct metallm__wire *wire;
    struct metallm__wire_target target; /* its spans point into what is owned here */
    char *model_json, *origin; /* origin: host, with its port where that is not the scheme's */
    char *azure_version, *region, *aws_profile; /* NULL: not stated */
    char *key;                                  /* secret, key_len bytes; NULL: none */
    size_t key_len;
    struct metallm__header *headers; /* that go with every request; values are secret */
    size_t header_count;
    char *head; /* their bytes, head_len of them: secret */
    size_t head_len;
    struct metallm__tls_client *tls;      /* NULL: plain; shared by all with equal TLS options */
    struct metallm__aws_credentials *aws; /* NULL: not signed; shared by all of one profile */
    double weight;
    unsigned concurrent_max, waiting_max; /* concurrent_max 0: no limit */
    uint32_t waiting_ms, connect_ms, first_byte_ms, idle_ms, total_ms;
    struct metallm__health *health;
};

struct metallm__llm {
    char *name;
    enum metallm__llm_state state;
    unsigned kinds;
    bool has_tools, has_images, has_audio, has_json;
    uint32_t context_tokens, output_tokens_max;
    struct metallm__price *prices; /* sorted by `from`; model is NULL */
    size_t price_count;
    struct metallm__deployment *deployments;
    uint32_t deployment_count;
    uint32_t deployment_base; /* number of the first one among all of the generation */
};

struct metallm__llms {
    atomic_uint references;
    struct metallm__llm *items; /* an id is an index into this */
    uint32_t count;
    uint32_t deployment_count; /* of all LLMs */
};

/* A generation with one reference for the caller. before, which may be NULL, gives the health of
 * deployments with equal base_url, protocol, model, key,
 * headers and TLS options. METALLM_EINVAL with the LLM's name and what is wrong: no key
 * is ever in it. */
METALLM_MUSTCHECK int metallm__llms_new(struct metallm__llms **out,
                                        const struct metallm__llm_options *llms, size_t count,
                                        const struct metallm__llms *before, metallm_error *err);
struct metallm__llms *metallm__llms_ref(const struct metallm__llms *l);
void metallm__llms_unref(const struct metallm__llms *l); /* NULL is fine */

/* The id of this name; -1: none. */
int32_t metallm__llms_find(const struct metallm__llms *l, struct metallm__span name);
/* Is the LLM able to answer the request, its state aside? why, which may be NULL, gets a reason if
 * not, which lives as long as the request. */
bool metallm__llm_fits(const struct metallm__llm *llm, struct metallm__wire_request *request,
                       const char **why);
/* Can it be told the request in the deployment's protocol? */
bool metallm__deployment_says(const struct metallm__deployment *d,
                              struct metallm__wire_request *request, const char **why);

/* The next line "name: value\r\n" of *lines, as protocols write them, into *out, whose spans point
 * into the lines; false: there is none left. */
bool metallm__header_line(struct metallm__span *lines, struct metallm__header *out);

/* The price that holds on this day (YYYYMMDD); NULL: none. */
const struct metallm__price *metallm__llm_price(const struct metallm__llm *llm, int day);
/* Dollars: usd_per_call, else (input - cached - written) input price + cached cached_input price +
 * written cached_write price + output output price, per million; cached and written tokens cost the
 * input price where no other is stated, and a prompt of more than long_over tokens costs the long
 * prices. NaN: price or counts are not known. price may be NULL. */
double metallm__price_usage(const struct metallm__price *price,
                            const struct metallm__wire_usage *usage);

#endif
