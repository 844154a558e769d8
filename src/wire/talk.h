/* SPDX-License-Identifier: Apache-2.0
 * talk.h - a conversation apart from any protocol: what a client asks (talk), what the LLM answers
 * (said), and the pieces in which it answers (delta). Each protocol reads into these and writes
 * from these, so that a pair of protocols needs no code of its own. Texts are UTF-8. Spans lie in
 * the bytes that were read, in a parsed document, or in the pool: all outlive the record. An empty
 * span means: not given. What a protocol can't say is told by features: each one that a talk uses
 * is a bit, and each protocol has a verdict on every feature. */
#ifndef WIRE_TALK_H
#define WIRE_TALK_H
#include "base/pool.h"

#define METALLM__TALK_TURNS_MAX 16384u
#define METALLM__TALK_PARTS_MAX 4096u /* of a turn */
#define METALLM__TALK_TOOLS_MAX 1024u
#define METALLM__TALK_STOPS_MAX 64u
#define METALLM__SAID_PARTS_MAX 1024u

enum metallm__part_kind {
    METALLM__PART_TEXT = 0,
    METALLM__PART_REFUSAL,   /* assistant: in the LLM's words */
    METALLM__PART_REASONING, /* assistant: what it thought */
    METALLM__PART_CALL,      /* assistant: calls a tool */
    METALLM__PART_RESULT,    /* user: what a tool gave back */
    METALLM__PART_IMAGE,     /* user, or within a result */
    METALLM__PART_AUDIO,     /* user */
    METALLM__PART_FILE,      /* user: a document */
    METALLM__PART_KINDS
};

/* Where the client asks the provider to keep the prompt so far in its cache. */
enum metallm__cache_mark {
    METALLM__CACHE_NONE = 0,
    METALLM__CACHE_SHORT, /* five minutes */
    METALLM__CACHE_LONG   /* an hour */
};

struct metallm__part {
    enum metallm__part_kind kind;
    enum metallm__cache_mark cache; /* behind this part */
    struct metallm__span text; /* TEXT, REFUSAL, REASONING; CALL: arguments, the JSON text of an
                                * object ("{}" where there are none), checked to be JSON */
    struct metallm__span id;   /* CALL; RESULT: of the call that it answers */
    struct metallm__span name; /* CALL: the tool's. RESULT: the tool's, if known. FILE: its name */
    struct metallm__span seal; /* REASONING, CALL: opaque, to be given back: a signature, encrypted
                                * reasoning. Text of the protocol (base64 mostly) */
    struct metallm__span seal_of; /* who can read the seal: a protocol's name ("anthropic",
                                   * "openai-responses", "gemini", "bedrock"); another drops it */
    struct metallm__span media;   /* IMAGE, AUDIO, FILE: "image/png"; not known for most URLs */
    struct metallm__span data;    /* ... base64 without blanks; or */
    struct metallm__span url;     /* ... where it is; or */
    struct metallm__span file_id; /* ... the provider's own name of an uploaded file */
    struct metallm__span detail;  /* IMAGE: "low", "high", "auto" */
    bool is_error;                /* RESULT: the tool failed */
    const struct metallm__part *parts; /* RESULT: its content, TEXT and IMAGE and FILE */
    size_t part_count;
};

enum metallm__role {
    METALLM__ROLE_SYSTEM = 0, /* also "developer" */
    METALLM__ROLE_USER,       /* tool results are the user's parts */
    METALLM__ROLE_ASSISTANT
};

struct metallm__turn {
    enum metallm__role role;
    struct metallm__span name; /* of the participant */
    const struct metallm__part *parts;
    size_t part_count;
};

struct metallm__tool {
    struct metallm__span name, description;
    struct metallm__span schema; /* JSON text of an object; empty: takes nothing */
    int8_t is_strict;            /* -1: not said */
    enum metallm__cache_mark cache;
};

enum metallm__tool_choice {
    METALLM__TOOL_CHOICE_UNSAID = 0,
    METALLM__TOOL_CHOICE_AUTO,
    METALLM__TOOL_CHOICE_NONE,
    METALLM__TOOL_CHOICE_ANY,  /* "required" */
    METALLM__TOOL_CHOICE_NAMED /* tool_name */
};

enum metallm__effort { /* of reasoning */
                       METALLM__EFFORT_UNSAID = 0,
                       METALLM__EFFORT_NONE, /* none at all */
                       METALLM__EFFORT_MINIMAL,
                       METALLM__EFFORT_LOW,
                       METALLM__EFFORT_MEDIUM,
                       METALLM__EFFORT_HIGH,
                       METALLM__EFFORT_XHIGH,
                       METALLM__EFFORT_MAX
};

/* "none" to "max", as OpenAI and Anthropic name efforts; NULL: unsaid. */
const char *metallm__effort_name(enum metallm__effort effort);
/* METALLM__EFFORT_UNSAID: no such effort. */
enum metallm__effort metallm__effort_find(struct metallm__span name);
/* The effort nearest to a budget of thinking, where only efforts are understood: low up to 2,048
 * tokens, medium up to 8,192, else high. 0: unsaid. */
enum metallm__effort metallm__effort_of_budget(uint32_t tokens);

enum metallm__format {
    METALLM__FORMAT_TEXT = 0,
    METALLM__FORMAT_JSON,  /* any JSON object */
    METALLM__FORMAT_SCHEMA /* schema */
};

/* What a talk may use beyond roles, texts and max_tokens. Names in talk.c are what people read in
 * errors, in x-metallm-dropped and in docs/protocols.md. */
enum metallm__feature {
    METALLM__FEATURE_TEMPERATURE = 0,
    METALLM__FEATURE_TOP_P,
    METALLM__FEATURE_TOP_K,
    METALLM__FEATURE_STOP,
    METALLM__FEATURE_SEED,
    METALLM__FEATURE_FREQUENCY_PENALTY,
    METALLM__FEATURE_PRESENCE_PENALTY,
    METALLM__FEATURE_LOGIT_BIAS,
    METALLM__FEATURE_LOGPROBS,
    METALLM__FEATURE_CHOICES, /* n > 1 */
    METALLM__FEATURE_TOOLS,
    METALLM__FEATURE_TOOL_CHOICE_NONE,
    METALLM__FEATURE_TOOL_CHOICE_ANY,
    METALLM__FEATURE_TOOL_CHOICE_NAMED,
    METALLM__FEATURE_PARALLEL_TOOLS_OFF,
    METALLM__FEATURE_STRICT_TOOLS,
    METALLM__FEATURE_HOSTED_TOOLS, /* that the provider runs: web search, code, ... */
    METALLM__FEATURE_TOOL_RESULT_IMAGES,
    METALLM__FEATURE_TOOL_RESULT_ERROR,
    METALLM__FEATURE_IMAGES,     /* as data */
    METALLM__FEATURE_IMAGE_URLS, /* as http(s) URLs */
    METALLM__FEATURE_IMAGE_DETAIL,
    METALLM__FEATURE_AUDIO,
    METALLM__FEATURE_FILES, /* as data */
    METALLM__FEATURE_FILE_URLS,
    METALLM__FEATURE_FILE_IDS, /* the provider's own names of uploaded files or images */
    METALLM__FEATURE_JSON,
    METALLM__FEATURE_JSON_SCHEMA,
    METALLM__FEATURE_REASONING_EFFORT,
    METALLM__FEATURE_REASONING_BUDGET,  /* tokens */
    METALLM__FEATURE_REASONING_HISTORY, /* reasoning parts among the turns */
    METALLM__FEATURE_REFUSAL_HISTORY,
    METALLM__FEATURE_SYSTEM_LATE, /* a system turn behind a user's */
    METALLM__FEATURE_PREFILL,     /* the last turn is the assistant's */
    METALLM__FEATURE_TURN_NAMES,
    METALLM__FEATURE_CACHE_MARKS,
    METALLM__FEATURE_USER, /* who the end user is */
    METALLM__FEATURE_METADATA,
    METALLM__FEATURE_STORE, /* keep the answer at the provider */
    METALLM__FEATURE_STATE, /* go on from what the provider kept: previous_response_id, ... */
    METALLM__FEATURE_SERVICE_TIER,
    METALLM__FEATURE_VERBOSITY,
    METALLM__FEATURE_PREDICTION,
    METALLM__FEATURE_AUDIO_OUT,
    METALLM__FEATURE_COMPLETION_EXTRAS, /* suffix, echo, best_of, several or token prompts */
    METALLM__FEATURE_OTHER,             /* a member that is not known here; other_name tells it */
    METALLM__FEATURES
};
const char *metallm__feature_name(enum metallm__feature f);  /* "tool_choice none"; static */
const char *metallm__feature_about(enum metallm__feature f); /* what it is, for docs; static */
/* "cannot be told seed": why an LLM does not fit; static. */
const char *metallm__feature_untold(enum metallm__feature f);

enum metallm__verdict {
    METALLM__VERDICT_REFUSED = 0, /* the request is not sent there */
    METALLM__VERDICT_DROPPED,     /* left out, and told in x-metallm-dropped */
    METALLM__VERDICT_CARRIED
};

struct metallm__talk {
    uint64_t features;               /* bits 1 << METALLM__FEATURE_* */
    struct metallm__span other_name; /* the first unknown member */
    const struct metallm__turn *turns;
    size_t turn_count;
    bool is_stream;
    uint32_t max_tokens; /* 0: not said */

    /* NaN, 0 or an empty span: not said. */
    double temperature, top_p, frequency_penalty, presence_penalty;
    uint32_t top_k;
    bool has_seed, wants_logprobs;
    int64_t seed;
    uint32_t top_logprobs;
    const struct metallm__span *stops;
    size_t stop_count;

    const struct metallm__tool *tools;
    size_t tool_count;
    enum metallm__tool_choice tool_choice;
    struct metallm__span tool_name;
    int8_t is_parallel; /* tool calls; -1: not said */

    enum metallm__format format;
    struct metallm__span format_name, format_description, schema; /* schema: JSON text */
    int8_t is_format_strict;                                      /* -1: not said */

    enum metallm__effort effort;
    uint32_t reasoning_tokens;     /* budget */
    bool wants_reasoning_summary;  /* the client wants to see it */
    struct metallm__span user;     /* the end user's id */
    struct metallm__span metadata; /* JSON text of an object */
    struct metallm__span verbosity, service_tier;
};
void metallm__talk_clear(struct metallm__talk *t); /* nothing said */

/* Bits of the features that the talk uses and that have this verdict. */
uint64_t metallm__talk_with(const struct metallm__talk *t,
                            const uint8_t verdicts[METALLM__FEATURES],
                            enum metallm__verdict verdict);
/* METALLM_EINVAL: a feature that is refused, by name: "'seed' cannot be said to anthropic". */
METALLM_MUSTCHECK int metallm__talk_check(const struct metallm__talk *t,
                                          const uint8_t verdicts[METALLM__FEATURES],
                                          const char *protocol, metallm_error *err);
/* Fills features that follow from turns and options, after a reader is done with them: what shows
 * in the record itself (TEMPERATURE, IMAGES, PREFILL, ...). The reader sets only what the record
 * has no place for (LOGIT_BIAS, STATE, OTHER, ...). Also names the tool of each result by its
 * call's id, which needs the pool that the turns lie in. */
METALLM_MUSTCHECK int metallm__talk_settle(struct metallm__talk *t, struct metallm__pool *pool,
                                           metallm_error *err);

/* ---- Answers. ---- */

enum metallm__wire_finish {                                /* why the answer ended */
                            METALLM__WIRE_FINISH_NONE = 0, /* not told */
                            METALLM__WIRE_FINISH_STOP,
                            METALLM__WIRE_FINISH_LENGTH,
                            METALLM__WIRE_FINISH_TOOLS,
                            METALLM__WIRE_FINISH_FILTER,   /* the provider's filter, or a refusal */
                            METALLM__WIRE_FINISH_SEQUENCE, /* a stop sequence, where it is told
                                                              apart */
                            METALLM__WIRE_FINISH_OTHER
};
const char *metallm__wire_finish_name(enum metallm__wire_finish finish); /* "stop"...; static */

/* Token counts; -1: not known. cached_tokens (read from a cache) and written_tokens (put into one)
 * are parts of input_tokens, reasoning_tokens of output_tokens: in every protocol alike, whatever
 * the provider's own numbers mean. */
struct metallm__wire_usage {
    int64_t input_tokens, cached_tokens, output_tokens, reasoning_tokens, written_tokens;
    bool is_estimated; /* input or output was counted by us, roughly */
};
#define METALLM__WIRE_USAGE_UNKNOWN                                                                \
    {                                                                                              \
        -1, -1, -1, -1, -1, false                                                                  \
    }

/* A whole answer. */
struct metallm__said {
    struct metallm__span id, model;    /* the upstream's */
    const struct metallm__part *parts; /* TEXT, REFUSAL, REASONING, CALL, in their order */
    size_t part_count;
    enum metallm__wire_finish finish;
    struct metallm__span stop;     /* the stop sequence, where told */
    struct metallm__span logprobs; /* JSON text as OpenAI's choice has it; empty: none */
    struct metallm__wire_usage usage;
};

/* A piece of an answer that is being made. seal_of is static. Order: START, then for each part
 * BEGIN, any number of TEXT and SEAL, END (parts do not overlap), USAGE at any time (what is known
 * then; -1 stays as it was), last FINISH. */
enum metallm__delta_kind {
    METALLM__DELTA_START = 0, /* id, model */
    METALLM__DELTA_BEGIN,     /* part; CALL: id, name */
    METALLM__DELTA_TEXT,      /* text: more of the part's text, or of a call's arguments */
    METALLM__DELTA_SEAL,      /* text: more of the seal */
    METALLM__DELTA_END,
    METALLM__DELTA_USAGE,
    METALLM__DELTA_FINISH, /* finish, stop */
    METALLM__DELTA_PING    /* a sign of life */
};
struct metallm__delta {
    enum metallm__delta_kind kind;
    enum metallm__part_kind part; /* of the part at hand: BEGIN, TEXT, SEAL, END */
    struct metallm__span id, name, model, text, stop;
    struct metallm__span seal_of;
    enum metallm__wire_finish finish;
    struct metallm__wire_usage usage;
};
/* Takes one delta; its spans are valid during the call. Not METALLM_OK: stop, and return it. */
typedef int (*metallm__delta_sink)(void *payload, const struct metallm__delta *delta);

#endif
