/* SPDX-License-Identifier: Apache-2.0
 * record.c - decision records to bytes and back (docs/formats.md, "Decision record"). Little-endian
 * fixed fields, then the arrays; numbers of candidates are float32. */
#include "gateway/record.h"

#include <math.h>
#include <string.h>

#include "base/error.h"

#define RECORD_VERSION  1
#define CANDIDATE_BYTES 24u /* six float32 */
#define ATTEMPT_BYTES   12u

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "records are written as memory has them");

/* The fixed part, as it stands in the file; no padding: every field at a multiple of its size. */
struct fixed {
    uint8_t version, reason, key_len, task_len;
    uint32_t flags;
    uint64_t nonce;
    int64_t row, time_ms;
    uint64_t setup, learned, session;
    uint8_t text_hash[16];
    double dial, target, max_cost_usd, scale_usd, money, propensity, cost_usd;
    uint64_t answer_hash;
    uint64_t input, output, cached;
    float latency_ms, ttft_ms;
    uint32_t chosen, model;
    float prior[4];
    uint16_t candidates, dim, attempts, status;
    uint8_t usage_known, usage_estimated, reserved[6];
};
_Static_assert(sizeof(struct fixed) == 208, "the layout is part of the format");

static const struct metallm__candidate *answered(const struct metallm__record *r)
{
    return r->model < r->candidate_count ? &r->candidates[r->model] : NULL;
}

static void add_floats(struct metallm__buf *out, const double *values, size_t count)
{
    float floats[8];
    METALLM_REQUIRE(count <= 8);
    for (size_t i = 0; i < count; i++)
        floats[i] = (float)values[i];
    metallm__buf_add(out, floats, count * sizeof *floats);
}

static void add_arrays(struct metallm__buf *out, const struct metallm__record *r)
{
    for (uint32_t i = 0; i < r->candidate_count; i++) {
        const struct metallm__candidate *c = &r->candidates[i];
        add_floats(
            out,
            (const double[]){c->quality, c->sd, c->cost_usd, c->latency_ms, c->score, c->chance},
            6);
    }
    metallm__buf_add(out, r->z, r->dim * sizeof *r->z);
    for (uint32_t i = 0; i < r->attempt_count; i++) {
        const struct metallm__record_attempt *a = &r->attempts[i];
        const uint16_t numbers[4] = {(uint16_t)a->model, (uint16_t)a->deployment,
                                     (uint16_t)a->status, (uint16_t)a->failure};
        metallm__buf_add(out, numbers, sizeof numbers);
        metallm__buf_add(out, &a->ms, sizeof a->ms);
    }
}

int metallm__record_encode(const struct metallm__record *r, struct metallm__buf *out,
                           metallm_error *err)
{
    METALLM_REQUIRE(r->candidate_count <= METALLM_MODELS_MAX && r->dim <= METALLM__RECORD_DIM_MAX &&
                    r->attempt_count <= METALLM__RECORD_ATTEMPTS_MAX);
    const struct metallm__candidate *c = answered(r);
    struct fixed f = {
        .version = RECORD_VERSION,
        .reason = (uint8_t)r->reason,
        .key_len = (uint8_t)strlen(r->key),
        .task_len = (uint8_t)strlen(r->task),
        .flags = r->flags,
        .nonce = r->nonce,
        .row = r->row,
        .time_ms = r->time_ms,
        .setup = r->setup,
        .learned = r->version,
        .session = r->session,
        .dial = r->dial,
        .target = r->target,
        .max_cost_usd = r->max_cost_usd,
        .scale_usd = r->scale_usd,
        .money = r->money,
        .propensity = r->propensity,
        .cost_usd = r->cost_usd,
        .answer_hash = r->answer_hash,
        .input = r->usage.input,
        .output = r->usage.output,
        .cached = r->usage.cached,
        .latency_ms = (float)r->latency_ms,
        .ttft_ms = (float)r->ttft_ms,
        .chosen = r->chosen,
        .model = r->model,
        .prior = {NAN, NAN, NAN, NAN},
        .candidates = (uint16_t)r->candidate_count,
        .dim = (uint16_t)r->dim,
        .attempts = (uint16_t)r->attempt_count,
        .status = (uint16_t)r->status,
        .usage_known = r->usage.is_known,
        .usage_estimated = r->usage.is_estimated,
    };
    memcpy(f.text_hash, r->text_hash, sizeof f.text_hash);
    if (c != NULL) {
        f.prior[0] = (float)c->prior_quality;
        f.prior[1] = (float)c->prior_sd;
        f.prior[2] = (float)c->prior_cost_usd;
        f.prior[3] = (float)c->prior_latency_ms;
    }
    metallm__buf_add(out, &f, sizeof f);
    metallm__buf_add(out, r->key, f.key_len);
    metallm__buf_add(out, r->task, f.task_len);
    add_arrays(out, r);
    return metallm__buf_check(out, err);
}

static size_t body_bytes(const struct fixed *f)
{
    return sizeof *f + f->key_len + f->task_len + (size_t)f->candidates * CANDIDATE_BYTES +
           (size_t)f->dim * sizeof(float) + (size_t)f->attempts * ATTEMPT_BYTES;
}

static bool is_sane(const struct fixed *f, size_t len)
{
    return body_bytes(f) == len && f->key_len < sizeof((struct metallm__record *)0)->key &&
           f->task_len <= METALLM__RECORD_TASK_MAX && f->candidates <= METALLM_MODELS_MAX &&
           f->dim <= METALLM__RECORD_DIM_MAX && f->attempts <= METALLM__RECORD_ATTEMPTS_MAX &&
           (f->candidates == 0 || f->chosen < f->candidates) && f->row > 0 &&
           f->reason <= METALLM_REASON_EXPLORED;
}

static void take_fixed(struct metallm__record *r, const struct fixed *f)
{
    *r = (struct metallm__record){
        .row = f->row,
        .nonce = f->nonce,
        .time_ms = f->time_ms,
        .setup = f->setup,
        .version = f->learned,
        .session = f->session,
        .flags = f->flags,
        .reason = (enum metallm_reason)f->reason,
        .dial = f->dial,
        .target = f->target,
        .max_cost_usd = f->max_cost_usd,
        .scale_usd = f->scale_usd,
        .money = f->money,
        .chosen = f->chosen,
        .propensity = f->propensity,
        .model = f->model,
        .candidate_count = f->candidates,
        .dim = f->dim,
        .attempt_count = f->attempts,
        .usage = {.input = f->input,
                  .output = f->output,
                  .cached = f->cached,
                  .is_known = f->usage_known != 0,
                  .is_estimated = f->usage_estimated != 0},
        .cost_usd = f->cost_usd,
        .latency_ms = (double)f->latency_ms,
        .ttft_ms = (double)f->ttft_ms,
        .status = f->status,
        .answer_hash = f->answer_hash,
        .prior = {(double)f->prior[0], (double)f->prior[1], (double)f->prior[2],
                  (double)f->prior[3]},
    };
    memcpy(r->text_hash, f->text_hash, sizeof r->text_hash);
}

static void take_candidate(struct metallm__candidate *c, const char *at)
{
    float x[6];
    memcpy(x, at, sizeof x);
    *c = (struct metallm__candidate){
        .quality = (double)x[0],
        .sd = (double)x[1],
        .cost_usd = (double)x[2],
        .latency_ms = (double)x[3],
        .score = (double)x[4],
        .chance = (double)x[5],
        .prior_quality = NAN,
        .prior_sd = NAN,
        .prior_cost_usd = NAN,
        .prior_latency_ms = NAN,
    };
}

static void take_attempt(struct metallm__record_attempt *a, const char *at)
{
    uint16_t x[4];
    memcpy(x, at, sizeof x);
    *a = (struct metallm__record_attempt){
        .model = x[0], .deployment = x[1], .status = x[2], .failure = x[3]};
    memcpy(&a->ms, at + sizeof x, sizeof a->ms);
}

int metallm__record_decode(struct metallm__record *out, struct metallm__record_room *room,
                           const void *bytes, size_t len, metallm_error *err)
{
    struct fixed f;
    const char *at = bytes;
    if (len < sizeof f)
        return metallm__error_set(err, METALLM_EFORMAT, "decision record of %zu bytes", len);
    memcpy(&f, at, sizeof f);
    if (f.version != RECORD_VERSION)
        return metallm__error_set(err, METALLM_EFORMAT, "decision record of version %u, not %u",
                                  (unsigned)f.version, (unsigned)RECORD_VERSION);
    if (!is_sane(&f, len))
        return metallm__error_set(err, METALLM_EFORMAT, "decision record %lld is damaged",
                                  (long long)f.row);
    take_fixed(out, &f);
    at += sizeof f;
    memcpy(out->key, at, f.key_len);
    at += f.key_len;
    memcpy(out->task, at, f.task_len);
    at += f.task_len;
    for (uint32_t i = 0; i < f.candidates; i++, at += CANDIDATE_BYTES)
        take_candidate(&room->candidates[i], at);
    if (f.dim > 0)
        memcpy(room->z, at, f.dim * sizeof *room->z);
    at += f.dim * sizeof *room->z;
    for (uint32_t i = 0; i < f.attempts; i++, at += ATTEMPT_BYTES)
        take_attempt(&room->attempts[i], at);
    out->candidates = room->candidates;
    out->z = room->z;
    out->attempts = room->attempts;
    return METALLM_OK;
}
