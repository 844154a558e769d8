/* SPDX-License-Identifier: Apache-2.0
 * log.c - see log.h. Lines are built here; the queue and its writer are at the end. Request ids and
 * trace contexts: trace.c. */
#include "gateway/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json_out.h"
#include "base/mem.h"
#include "base/rng.h"

#define TAIL_BYTES 24u /* kept for the mark of a cut line and its end */
#define SITES      64u /* messages whose repetition is watched */

struct site {
    uint64_t hash, window; /* of the message; number of the window */
    uint32_t count, suppressed;
};

struct metallm__log {
    struct metallm__log_options opts; /* fd is the open one */
    int level, prompts;               /* atomic */
    bool owns_fd;
    pthread_mutex_t lock;
    pthread_cond_t work, drained;
    pthread_t thread;
    char *ring; /* METALLM__LOG_QUEUE bytes: lines, each closed by '\n' */
    size_t head, len;
    bool is_writing, stops;
    uint64_t dropped; /* atomic */
    struct site sites[SITES];
};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

enum metallm__log_level metallm__log_level_of(const char *name)
{
    for (int i = 0; i < METALLM__LOG_OFF; i++)
        if (strcmp(name, level_names[i]) == 0)
            return (enum metallm__log_level)i;
    return METALLM__LOG_OFF;
}

static uint64_t now_ms(const struct metallm__log *l)
{
    struct timespec t;
    if (l->opts.wall_ms != NULL)
        return l->opts.wall_ms(l->opts.payload);
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Whether a warning or error may be written now; *suppressed: how many were not since the last. */
static bool may_repeat(struct metallm__log *l, const char *cat, const char *msg, uint64_t wall_ms,
                       uint32_t *suppressed)
{
    const uint64_t window = wall_ms / 1000 / METALLM__LOG_WINDOW_S;
    const uint64_t hash = metallm__hash_bytes(msg, strlen(msg), (uint64_t)(unsigned char)cat[0]);
    struct site *s = &l->sites[hash % SITES];
    pthread_mutex_lock(&l->lock);
    if (s->hash != hash)
        *s = (struct site){.hash = hash, .window = window};
    if (s->window != window) {
        s->window = window;
        s->count = 0;
    }
    bool may = s->count < METALLM__LOG_BURST;
    s->count += may;
    *suppressed = may ? s->suppressed : 0;
    s->suppressed = may ? 0 : s->suppressed + 1;
    pthread_mutex_unlock(&l->lock);
    return may;
}

static void put(struct metallm__log_line *line, const char *text, size_t len)
{
    if (line->is_cut || len > sizeof line->text - TAIL_BYTES - line->len) {
        line->is_cut = true;
        return;
    }
    memcpy(line->text + line->len, text, len);
    line->len += len;
}

bool metallm__log_begin(struct metallm__log *l, struct metallm__log_line *line,
                        enum metallm__log_level level, const char *cat, const char *msg)
{
    line->log = NULL;
    if (l == NULL || (int)level < __atomic_load_n(&l->level, __ATOMIC_RELAXED) ||
        level >= METALLM__LOG_OFF)
        return false;
    uint32_t suppressed = 0;
    const uint64_t wall = now_ms(l);
    if (level >= METALLM__LOG_WARN && !may_repeat(l, cat, msg, wall, &suppressed))
        return false;
    struct tm tm = {0};
    const time_t seconds = (time_t)(wall / 1000);
    gmtime_r(&seconds, &tm);
    line->log = l;
    line->is_cut = false;
    line->len = (size_t)snprintf(line->text, sizeof line->text,
                                 "{\"ts\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03uZ\",\"level\":\"%s\"",
                                 tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
                                 tm.tm_min, tm.tm_sec, (unsigned)(wall % 1000), level_names[level]);
    metallm__log_str(line, "cat", cat);
    metallm__log_str(line, "msg", msg);
    if (suppressed > 0)
        metallm__log_int(line, "suppressed", suppressed);
    return true;
}

void metallm__log_text(struct metallm__log_line *line, const char *name, const char *text,
                       size_t len)
{
    char head[96];
    if (line->log == NULL || line->is_cut)
        return;
    const size_t before = line->len;
    put(line, head, (size_t)snprintf(head, sizeof head, ",\"%.80s\":\"", name));
    if (line->is_cut)
        return;
    size_t used, room = sizeof line->text - TAIL_BYTES - line->len;
    if (room < 8) { /* a name without a beginning of its text says nothing */
        line->len = before;
        line->is_cut = true;
        return;
    }
    line->len += metallm__jw_escape(line->text + line->len, room - 1, text, len, &used);
    line->text[line->len++] = '"';
    line->is_cut = used < len;
}

void metallm__log_str(struct metallm__log_line *line, const char *name, const char *text)
{
    metallm__log_text(line, name, text, strlen(text));
}

static void put_plain(struct metallm__log_line *line, const char *name, const char *value)
{
    char text[160];
    if (line->log != NULL)
        put(line, text, (size_t)snprintf(text, sizeof text, ",\"%.80s\":%.40s", name, value));
}

void metallm__log_int(struct metallm__log_line *line, const char *name, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, value);
    put_plain(line, name, text);
}

void metallm__log_real(struct metallm__log_line *line, const char *name, double value)
{
    char text[40] = "null";
    if (isfinite(value))
        snprintf(text, sizeof text, "%.9g", value);
    put_plain(line, name, text);
}

void metallm__log_flag(struct metallm__log_line *line, const char *name, bool value)
{
    put_plain(line, name, value ? "true" : "false");
}

void metallm__log_content(struct metallm__log_line *line, const char *name, const char *text,
                          size_t len)
{
    if (line->log != NULL && __atomic_load_n(&line->log->prompts, __ATOMIC_RELAXED) != 0)
        metallm__log_text(line, name, text, len);
}

void metallm__log_error(struct metallm__log *l, enum metallm__log_level level, const char *cat,
                        const char *msg, const metallm_error *err)
{
    struct metallm__log_line line;
    if (!metallm__log_begin(l, &line, level, cat, msg))
        return;
    if (err != NULL)
        metallm__log_str(&line, "error", err->message);
    metallm__log_end(&line);
}

static void ring_add(struct metallm__log *l, const char *text, size_t len)
{
    size_t at = (l->head + l->len) % METALLM__LOG_QUEUE;
    size_t first = len < METALLM__LOG_QUEUE - at ? len : METALLM__LOG_QUEUE - at;
    memcpy(l->ring + at, text, first);
    memcpy(l->ring, text + first, len - first);
    l->len += len;
}

void metallm__log_end(struct metallm__log_line *line)
{
    struct metallm__log *l = line->log;
    if (l == NULL)
        return;
    const char *tail = line->is_cut ? ",\"cut\":true}\n" : "}\n";
    memcpy(line->text + line->len, tail, strlen(tail));
    line->len += strlen(tail);
    line->log = NULL;
    pthread_mutex_lock(&l->lock);
    if (l->len + line->len <= METALLM__LOG_QUEUE) {
        ring_add(l, line->text, line->len);
        if (!l->is_writing)
            pthread_cond_signal(&l->work);
    } else {
        __atomic_add_fetch(&l->dropped, 1, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&l->lock);
}

/* The oldest line out of the queue; its length. */
static size_t take_line(struct metallm__log *l, char *out)
{
    size_t n = 0;
    do {
        out[n] = l->ring[l->head];
        l->head = (l->head + 1) % METALLM__LOG_QUEUE;
        l->len--;
    } while (out[n++] != '\n');
    return n;
}

/* A write that fails is not told anywhere: there is no other place to tell it. */
static bool write_line(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0) {
            text += n;
            len -= (size_t)n;
        }
    }
    return true;
}

static void *run(void *payload)
{
    struct metallm__log *l = payload;
    char line[METALLM__LOG_LINE_BYTES];
    pthread_mutex_lock(&l->lock);
    for (;;) {
        while (l->len > 0) {
            size_t n = take_line(l, line);
            int fd = l->opts.fd;
            l->is_writing = true;
            pthread_mutex_unlock(&l->lock);
            bool is_written = write_line(fd, line, n);
            pthread_mutex_lock(&l->lock);
            l->is_writing = false;
            if (!is_written)
                __atomic_add_fetch(&l->dropped, 1, __ATOMIC_RELAXED);
        }
        pthread_cond_broadcast(&l->drained);
        if (l->stops)
            break;
        pthread_cond_wait(&l->work, &l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static int open_file(const char *path, int *out, metallm_error *err)
{
    *out = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (*out < 0)
        return metallm__error_set(err, METALLM_EIO, "cannot write the log '%.100s': %s", path,
                                  strerror(errno));
    return METALLM_OK;
}

static void release(struct metallm__log *l)
{
    if (l->owns_fd)
        close(l->opts.fd);
    metallm__free((char *)l->opts.path);
    metallm__free(l->ring);
    metallm__free(l);
}

int metallm__log_new(struct metallm__log **out, const struct metallm__log_options *opts,
                     metallm_error *err)
{
    struct metallm__log *l = metallm__calloc(1, sizeof *l);
    if (l == NULL)
        return metallm__error_nomem(err, "a log");
    l->opts = *opts;
    l->opts.path = NULL;
    l->ring = metallm__alloc(METALLM__LOG_QUEUE, 1);
    l->level = (int)opts->level;
    l->prompts = opts->prompts;
    int rc = l->ring != NULL ? METALLM_OK : metallm__error_nomem(err, "a log");
    if (rc == METALLM_OK && opts->path != NULL) {
        l->opts.path = metallm__strdup(opts->path);
        rc = l->opts.path != NULL ? open_file(opts->path, &l->opts.fd, err)
                                  : metallm__error_nomem(err, "a log");
        l->owns_fd = rc == METALLM_OK;
    }
    if (rc != METALLM_OK) {
        release(l);
        return rc;
    }
    pthread_mutex_init(&l->lock, NULL); /* with no attributes these do not fail on Linux */
    pthread_cond_init(&l->work, NULL);
    pthread_cond_init(&l->drained, NULL);
    if (pthread_create(&l->thread, NULL, run, l) != 0) {
        release(l);
        return metallm__error_set(err, METALLM_EIO, "cannot start a thread for the log");
    }
    *out = l;
    return METALLM_OK;
}

void metallm__log_flush(struct metallm__log *l)
{
    pthread_mutex_lock(&l->lock);
    while (l->len > 0 || l->is_writing)
        pthread_cond_wait(&l->drained, &l->lock);
    pthread_mutex_unlock(&l->lock);
}

void metallm__log_free(struct metallm__log *l)
{
    if (l == NULL)
        return;
    pthread_mutex_lock(&l->lock);
    l->stops = true;
    pthread_cond_signal(&l->work);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    pthread_cond_destroy(&l->work);
    pthread_cond_destroy(&l->drained);
    pthread_mutex_destroy(&l->lock);
    release(l);
}

void metallm__log_set(struct metallm__log *l, enum metallm__log_level level, bool prompts)
{
    __atomic_store_n(&l->level, (int)level, __ATOMIC_RELAXED);
    __atomic_store_n(&l->prompts, prompts, __ATOMIC_RELAXED);
}

int metallm__log_reopen(struct metallm__log *l, metallm_error *err)
{
    int fd;
    if (l->opts.path == NULL)
        return METALLM_OK;
    int rc = open_file(l->opts.path, &fd, err);
    if (rc != METALLM_OK)
        return rc;
    metallm__log_flush(l);
    pthread_mutex_lock(&l->lock);
    while (l->is_writing)
        pthread_cond_wait(&l->drained, &l->lock);
    close(l->opts.fd);
    l->opts.fd = fd;
    pthread_mutex_unlock(&l->lock);
    return METALLM_OK;
}

uint64_t metallm__log_dropped(const struct metallm__log *l)
{
    return __atomic_load_n(&l->dropped, __ATOMIC_RELAXED);
}
