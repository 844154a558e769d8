/* SPDX-License-Identifier: Apache-2.0
 * template.h - turns a text into the body of a chat request: instructions, labels, worked examples,
 * the text. Pure: bytes in, bytes out. A template is compiled once for a job, so that a text costs
 * one copy.
 *
 * A template file is UTF-8 text of sections. A line "[NAME]" begins a section; blank lines at a
 * section's ends are left out; lines before the first section that begin with "#" are comments.
 *   [system]   a system message; may be left out
 *   [example]  one worked example; stands where [user] says {{examples}}
 *   [ask]      the user's turn of an example, and
 *   [reply]    the LLM's turn of it: examples become messages before the last one
 *   [user]     the last message: must be there and hold {{text}}
 * Marks: {{text}} {{labels}} (comma-separated) {{or_labels}} ("a, b or c") {{count}} (of labels)
 * {{examples}} {{choices}} ("A. ...\nB. ...\n"); in the sections of an example also {{label}}.
 * Anything else in double braces is refused with its line; a single brace is a brace.
 * Threads: a template is constant after _new; any number may fill. */
#ifndef CLASSIFY_TEMPLATE_H
#define CLASSIFY_TEMPLATE_H
#include "classify/label.h"

#define METALLM__TEMPLATE_BYTES_MAX    ((size_t)256 << 10) /* of a template file */
#define METALLM__TEMPLATE_EXAMPLES_MAX 256u
#define METALLM__TEMPLATE_TEXT_MAX     ((size_t)1 << 20) /* bytes of one text */
#define METALLM__TEMPLATE_BODY_MAX     ((size_t)8 << 20) /* bytes of one request */
#define METALLM__TEMPLATE_OUTPUT_MAX   4096u             /* tokens that may be asked for */
#define METALLM__TEMPLATE_LOGPROBS_MAX 20u

struct metallm__template_example {
    struct metallm__span text;
    uint32_t label;
    const struct metallm__span *choices; /* multiple choice; count 0: none */
    uint32_t choice_count;
};

struct metallm__template_source {
    const struct metallm__labels *labels; /* outlives the template */
    bool is_choices;                      /* multiple choice: labels are letters */
    struct metallm__span file;            /* the template's bytes; n 0: the built-in one */
    const char *path;                     /* for messages; NULL where file is empty */
    const struct metallm__template_example *examples; /* copied */
    uint32_t example_count;
    unsigned output_tokens; /* max_tokens; 0: enough for the longest label and a few more */
};

struct metallm__template;

/* METALLM_EFORMAT, METALLM_EINVAL: "PATH:LINE: ..."; METALLM_ELIMIT: too large. */
METALLM_MUSTCHECK int metallm__template_new(struct metallm__template **out,
                                            const struct metallm__template_source *source,
                                            metallm_error *err);
void metallm__template_free(struct metallm__template *t); /* NULL is fine */
/* The built-in template's text, as it would stand in a file; static. */
const char *metallm__template_builtin(bool is_choices);
unsigned metallm__template_output_tokens(const struct metallm__template *t); /* max_tokens sent */
/* Of all that goes into requests but the texts: equal hashes give equal requests. */
uint64_t metallm__template_hash(const struct metallm__template *t);

struct metallm__template_fill {
    struct metallm__span model; /* name of the LLM or router in the body */
    struct metallm__span text;
    const struct metallm__span *choices; /* multiple choice: 2..26; count 0 else */
    uint32_t choice_count;
    unsigned logprobs; /* alternatives a token to ask for, 0..20; 0: none */
};
/* Replaces what body holds by {"model","messages","max_tokens","temperature":0[,"logprobs":true,
 * "top_logprobs"]}. Bytes that are not UTF-8 become U+FFFD. METALLM_ELIMIT: text or body too long;
 * METALLM_EINVAL: the number of choices. */
METALLM_MUSTCHECK int metallm__template_fill(const struct metallm__template *t,
                                             const struct metallm__template_fill *fill,
                                             struct metallm__buf *body, metallm_error *err);
/* The text that a router's encoder gets for this text: the text itself, and its choices. Replaces
 * what out holds. */
METALLM_MUSTCHECK int metallm__template_routed(const struct metallm__template_fill *fill,
                                               struct metallm__buf *out, metallm_error *err);

#endif
