/* SPDX-License-Identifier: Apache-2.0
 * inputs.h - what every verb that reads outcomes shares: its options, reading them from benchmark
 * files or from a store, and the feature vectors of their prompts. */
#ifndef CLI_INPUTS_H
#define CLI_INPUTS_H
#include "cli/cli.h"
#include "metallm/encoder.h"
#include "metallm/outcomes.h"
#include "metallm/router.h"

/* The first member, named inputs, of such a verb's option struct; cli_inputs_table is its first
 * table. */
struct cli_inputs_options {
    const char *format, *task, *split, *prices, *prices_on;
    bool is_strict;
    const char *store;
    const char *encoder, *precision, *weights;
    uint64_t threads; /* of the encoder; 0: one a processor */
};

extern const struct cli_option cli_inputs_table[];

/* Reads the files and folders, or, without any, what --store holds (of --task and --split only,
 * where they are given). Problems go to io->err: the first ones in words, the rest counted. *out is
 * the caller's to free and has one query at least. CLI_EUSAGE: neither files nor a store. */
METALLM_MUSTCHECK int cli_inputs_load(const struct cli_io *io,
                                      const struct cli_inputs_options *opts,
                                      const char *const *files, size_t count,
                                      metallm_outcomes **out, metallm_error *err);
/* The same, with the counts of what was met (report may be NULL). */
METALLM_MUSTCHECK int cli_inputs_load_report(const struct cli_io *io,
                                             const struct cli_inputs_options *opts,
                                             const char *const *files, size_t count,
                                             metallm_outcomes **out, metallm_read_report *report,
                                             metallm_error *err);

/* Problems while reading: told to err up to a number, then counted. */
struct cli_problems {
    FILE *err;
    size_t told, kept_back;
};
#define CLI_PROBLEMS_TOLD 20u
void cli_problems_tell(void *problems, const char *message); /* metallm_read_options.problem */
void cli_problems_end(const struct cli_problems *problems);
metallm_read_options cli_inputs_read_options(const struct cli_io *io,
                                             const struct cli_inputs_options *opts,
                                             struct cli_problems *problems);

/* The encoder that the options ask for, or, where they say nothing, the wanted one: wanted is an
 * encoder's id ("minilm-l6-v2/fp32") or NULL. METALLM_EMISMATCH: the options contradict it. */
METALLM_MUSTCHECK int cli_inputs_encoder(const struct cli_inputs_options *opts, const char *wanted,
                                         metallm_encoder **out, metallm_error *err);

struct cli_features {
    metallm_vectors vectors; /* a row a query; points at the rest */
    float *values;
    char *encoder;
};
/* The features of every query's prompt; equal prompts are encoded once. With --store those that it
 * holds are taken from it and new ones are kept there (also where the outcomes come from files). */
METALLM_MUSTCHECK int cli_inputs_features(const struct cli_io *io,
                                          const struct cli_inputs_options *opts, const char *wanted,
                                          const metallm_outcomes *o, struct cli_features *out,
                                          metallm_error *err);
void cli_features_fini(struct cli_features *features);

/* The options for one of a tiered router's two encoders. --weights names the table of the coarse
 * one, which has no precision to choose; "tiered" as --encoder says no more than the file does. */
struct cli_inputs_options cli_inputs_of_tier(const struct cli_inputs_options *opts, bool is_coarse);

/* What a router asks for: vectors of its own encoder, and, of a tiered one, of the cheap encoder.
 */
struct cli_tiers {
    struct cli_features fine, coarse;
    const metallm_vectors *cheap; /* coarse's, or NULL: a plain router */
};
METALLM_MUSTCHECK int cli_inputs_tiers(const struct cli_io *io,
                                       const struct cli_inputs_options *opts,
                                       const metallm_router *router, const metallm_outcomes *o,
                                       struct cli_tiers *out, metallm_error *err);
void cli_tiers_fini(struct cli_tiers *tiers);

/* A name for the state of a router's file, of its bytes, for decision logs. */
#define CLI_VERSION_BYTES 17u
METALLM_MUSTCHECK int cli_router_version(const char *path, char out[CLI_VERSION_BYTES],
                                         metallm_error *err);

#endif
