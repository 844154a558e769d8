/* SPDX-License-Identifier: Apache-2.0
 * log.h - JSON log lines: one object a line, {"ts","level","cat","msg",...}, at most
 * METALLM__LOG_LINE_BYTES. A line is built on the caller's stack and copied into a bounded queue;
 * one thread writes, so that a loop never waits for a disk or a pipe; what does not fit is dropped
 * and counted. Lines of one message beyond METALLM__LOG_BURST in METALLM__LOG_WINDOW_S seconds
 * (warn and error only) are counted in the next one that is let through ("suppressed"). No prompt,
 * answer or key goes in, except through metallm__log_content where prompts are on. Threads: any. */
#ifndef GATEWAY_LOG_H
#define GATEWAY_LOG_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metallm/base.h"

#define METALLM__LOG_LINE_BYTES 4096u
#define METALLM__LOG_QUEUE      ((size_t)1 << 20) /* bytes that wait for the writer */
#define METALLM__LOG_BURST      20u
#define METALLM__LOG_WINDOW_S   10u

enum metallm__log_level {
    METALLM__LOG_DEBUG,
    METALLM__LOG_INFO,
    METALLM__LOG_WARN,
    METALLM__LOG_ERROR,
    METALLM__LOG_OFF
};

struct metallm__log;
struct metallm__log_options {
    int fd;           /* written to, not closed */
    const char *path; /* not NULL: opened for appending in place of fd, reopened by reopen */
    enum metallm__log_level level;
    bool prompts;
    uint64_t (*wall_ms)(void *payload); /* NULL: the system's clock */
    void *payload;
};
METALLM_MUSTCHECK int metallm__log_new(struct metallm__log **out,
                                       const struct metallm__log_options *opts, metallm_error *err);
void metallm__log_free(struct metallm__log *l);  /* writes what waits; NULL is fine */
void metallm__log_flush(struct metallm__log *l); /* returns when all that waits is written */
/* After a reload or rotation. */
void metallm__log_set(struct metallm__log *l, enum metallm__log_level level, bool prompts);
METALLM_MUSTCHECK int metallm__log_reopen(struct metallm__log *l, metallm_error *err);
uint64_t metallm__log_dropped(const struct metallm__log *l);
/* "debug", "info", "warn", "error"; else METALLM__LOG_OFF. */
enum metallm__log_level metallm__log_level_of(const char *name);

struct metallm__log_line {
    struct metallm__log *log; /* NULL: this line is not written, adding to it does nothing */
    bool is_cut;
    size_t len;
    char text[METALLM__LOG_LINE_BYTES];
};
/* cat and msg are constants of the program; l may be NULL. True: the line is wanted. */
bool metallm__log_begin(struct metallm__log *l, struct metallm__log_line *line,
                        enum metallm__log_level level, const char *cat, const char *msg);
/* name is a constant of the program. A text is escaped, made valid UTF-8 and cut where the line is
 * full. */
void metallm__log_text(struct metallm__log_line *line, const char *name, const char *text,
                       size_t len);
void metallm__log_str(struct metallm__log_line *line, const char *name, const char *text);
void metallm__log_int(struct metallm__log_line *line, const char *name, int64_t value);
void metallm__log_real(struct metallm__log_line *line, const char *name, double value);
void metallm__log_flag(struct metallm__log_line *line, const char *name, bool value);
/* A prompt or an answer: only where they are switched on. */
void metallm__log_content(struct metallm__log_line *line, const char *name, const char *text,
                          size_t len);
void metallm__log_end(struct metallm__log_line *line);
/* A line that is a message and an error's sentence. */
void metallm__log_error(struct metallm__log *l, enum metallm__log_level level, const char *cat,
                        const char *msg, const metallm_error *err);

/* A request's id: "req_" and 24 hexadecimal digits. */
#define METALLM__REQUEST_ID_LEN 28u
void metallm__request_id(metallm_rng *rng, char id[METALLM__REQUEST_ID_LEN + 1]);

/* W3C trace context, version 00. */
#define METALLM__TRACEPARENT_LEN 55u
struct metallm__trace {
    uint8_t trace[16], span[8];
    uint8_t flags;
};
/* False: malformed, or all zero: a new trace is to be begun. */
bool metallm__trace_parse(struct metallm__trace *out, const char *text, size_t len);
void metallm__trace_begin(struct metallm__trace *out, metallm_rng *rng); /* not sampled */
/* The same trace with a new span: what goes to the upstream. */
void metallm__trace_child(struct metallm__trace *out, const struct metallm__trace *parent,
                          metallm_rng *rng);
void metallm__trace_text(const struct metallm__trace *t, char out[METALLM__TRACEPARENT_LEN + 1]);
#endif
