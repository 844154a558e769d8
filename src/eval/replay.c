/* SPDX-License-Identifier: Apache-2.0
 * replay.c - runs an agent over the rows, once per order; replay_world.c knows what the outcomes
 * are at each step, replay_sums.c keeps what is reported. */
#include "eval/replay.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "eval/replay_sums.h"
#include "eval/replay_world.h"
#include "router/task_scores.h"

/* Feedback on quality that is still to come. */
struct pending {
    uint64_t due;
    size_t row;
    uint32_t model; /* of the input */
    float quality;
};

struct run {
    const struct metallm__replay_input *in;
    const struct metallm__replay_options *opts;
    const struct metallm__rules *rules;
    const struct metallm__worlds *worlds;
    struct metallm__sums *sums;
    struct metallm__agent *agent;
    metallm_rng rng;
    uint32_t *order; /* NULL: as they come */
    size_t first;    /* rows of the order that were seen whole */
    uint64_t steps, t;
    size_t world, event;
    double *z;                               /* prepared */
    uint32_t slot_model[METALLM_MODELS_MAX]; /* the agent's models: which of the input */
    uint32_t slots;
    enum metallm__event_prior prior[METALLM_MODELS_MAX]; /* by model of the input */
    uint32_t like[METALLM_MODELS_MAX];
    struct metallm__replay_task task;
    double level[METALLM_MODELS_MAX]; /* a prior that is the same for every query */
    struct pending *queue;            /* ring */
    size_t queue_cap, queue_head, queue_len;
    double delay; /* in force */
};

static const float *cells_of(const struct run *r, const float *row, uint32_t model)
{
    return row + r->in->dim + (size_t)model * METALLM__REPLAY_CELLS;
}

static const float *row_at(const struct run *r, uint64_t t, size_t *index)
{
    const size_t n = metallm__spool_count(r->in->rows);
    const size_t i = r->first + (size_t)(t % (n - r->first));
    *index = r->order != NULL ? r->order[i] : i;
    return metallm__spool_row(r->in->rows, *index);
}

/* Slot of a model of the input; UINT32_MAX: it is not there. */
static uint32_t slot_of(const struct run *r, uint32_t model)
{
    for (uint32_t s = 0; s < r->slots; s++)
        if (r->slot_model[s] == model)
            return s;
    return UINT32_MAX;
}

static double mean_prior_of_others(const struct run *r, const float *row, uint32_t model)
{
    double sum = 0;
    uint32_t n = 0;
    for (uint32_t s = 0; s < r->slots; s++) {
        const uint32_t m = r->slot_model[s];
        if (m != model && r->prior[m] != METALLM__PRIOR_NONE) {
            sum += (double)cells_of(r, row, m)[METALLM__CELL_PRIOR_QUALITY];
            n++;
        }
    }
    return n > 0 ? sum / n : 0.5;
}

static double prior_quality(const struct run *r, const float *row, uint32_t model)
{
    switch (r->prior[model]) {
    case METALLM__PRIOR_S1:
    case METALLM__PRIOR_S2:
    case METALLM__PRIOR_S3:
        return r->level[model];
    case METALLM__PRIOR_LIKE:
        return (double)cells_of(r, row, r->like[model])[METALLM__CELL_PRIOR_QUALITY];
    case METALLM__PRIOR_NONE:
        return mean_prior_of_others(r, row, model);
    default:
        return (double)cells_of(r, row, model)[METALLM__CELL_PRIOR_QUALITY];
    }
}

static struct metallm__belief prior_of(const struct run *r, const float *row, uint32_t model)
{
    const float *c = cells_of(r, row, model);
    const double cost = (double)c[METALLM__CELL_PRIOR_COST];
    const float sd = c[METALLM__CELL_PRIOR_SD];
    return (struct metallm__belief){.quality = prior_quality(r, row, model),
                                    .sd = isnan(sd) ? 0 : (double)sd,
                                    .cost_usd = isnan(cost) ? r->rules->unknown : cost,
                                    .latency_ms = NAN};
}

static void priors_of(const struct run *r, const float *row, struct metallm__belief *out)
{
    for (uint32_t s = 0; s < r->slots; s++)
        out[s] = prior_of(r, row, r->slot_model[s]);
}

static int observe(struct run *r, const float *row, uint32_t model,
                   const struct metallm__seen *seen, metallm_error *err)
{
    const uint32_t slot = slot_of(r, model);
    if (slot == UINT32_MAX) /* it has left since */
        return METALLM_OK;
    const struct metallm__belief prior = prior_of(r, row, model);
    enum metallm__drift_change change;
    int rc = metallm__agent_observe(r->agent, slot, r->z, &prior, seen, &change, err);
    if (change != METALLM__DRIFT_NONE)
        metallm__sums_change(r->sums);
    return rc;
}

static const struct metallm__learner *learner_of(const struct run *r)
{
    return metallm__adapt_learner(metallm__agent_adapt(r->agent));
}

static int push_pending(struct run *r, const struct pending *p, metallm_error *err)
{
    if (r->queue_len == r->queue_cap) { /* grow, and lay the ring straight */
        const size_t cap = r->queue_cap == 0 ? 64 : 2 * r->queue_cap;
        struct pending *q = metallm__alloc(cap, sizeof *q);
        if (q == NULL)
            return metallm__error_nomem(err, "delayed feedback");
        for (size_t i = 0; i < r->queue_len; i++)
            q[i] = r->queue[(r->queue_head + i) % r->queue_cap];
        metallm__free(r->queue);
        r->queue = q;
        r->queue_cap = cap;
        r->queue_head = 0;
    }
    r->queue[(r->queue_head + r->queue_len++) % r->queue_cap] = *p;
    return METALLM_OK;
}

/* Feedback that is due: first in, first out; a shorter delay overtakes nobody. */
static int deliver(struct run *r, metallm_error *err)
{
    while (r->queue_len > 0 && r->queue[r->queue_head].due <= r->t) {
        const struct pending p = r->queue[r->queue_head];
        r->queue_head = (r->queue_head + 1) % r->queue_cap;
        r->queue_len--;
        const float *row = metallm__spool_row(r->in->rows, p.row);
        metallm__learner_prepare(learner_of(r), row, r->z);
        const struct metallm__seen seen = {(double)p.quality, NAN, NAN};
        int rc = observe(r, row, p.model, &seen, err);
        if (rc != METALLM_OK)
            return rc;
    }
    return METALLM_OK;
}

/* What comes back of one call: cost at once; quality now, later, noisy or never. */
static int feed_back(struct run *r, const struct metallm__world *w, const float *row, size_t index,
                     uint32_t model, struct metallm__seen *seen, metallm_error *err)
{
    if (w->noise > 0)
        seen->quality = fmin(fmax(seen->quality + w->noise * metallm__rng_normal(&r->rng), 0), 1);
    if (w->missing > 0 && metallm__rng_uniform(&r->rng) < w->missing)
        seen->quality = NAN;
    struct metallm__seen now = *seen;
    if (!(w->delay > 0) || isnan(seen->quality))
        return observe(r, row, model, &now, err);
    now.quality = NAN;
    const struct pending p = {.due = r->t + (uint64_t)w->delay,
                              .row = index,
                              .model = model,
                              .quality = (float)seen->quality};
    int rc = push_pending(r, &p, err);
    return rc == METALLM_OK ? observe(r, row, model, &now, err) : rc;
}

static int arrive(struct run *r, const struct metallm__event *e, metallm_error *err)
{
    const uint32_t like = e->prior == METALLM__PRIOR_LIKE ? slot_of(r, e->like) : UINT32_MAX;
    const bool is_known = e->prior == METALLM__PRIOR_ROUTER;
    const struct metallm__newcomer n = {
        .like = like, .share = 0.25, .level = 0, .level_sd = is_known ? 0.02 : 0.1};
    int rc = metallm__agent_add_model(r->agent, &n, err);
    if (rc != METALLM_OK)
        return rc;
    r->prior[e->model] = r->opts->start == METALLM__START_PRIOR ? e->prior : METALLM__PRIOR_ROUTER;
    r->like[e->model] = e->like;
    r->level[e->model] = e->prior == METALLM__PRIOR_S1   ? r->task.s1[e->model]
                         : e->prior == METALLM__PRIOR_S2 ? r->task.s2[e->model]
                         : isnan(e->amount)              ? r->task.s3[e->model]
                                            : metallm__task_s3(r->task.s2[e->model], e->amount);
    r->slot_model[r->slots++] = e->model;
    const double factor = r->worlds->items[r->world].factor[e->model];
    if (factor != 1)
        metallm__agent_reprice(r->agent, r->slots - 1, factor);
    return METALLM_OK;
}

static void leave(struct run *r, uint32_t slot)
{
    metallm__agent_remove_model(r->agent, slot);
    r->slots--;
    memmove(&r->slot_model[slot], &r->slot_model[slot + 1],
            (r->slots - slot) * sizeof r->slot_model[0]);
}

/* The agent is told of prices, arrivals and leavers; all else it has to find out. */
static int tell(struct run *r, const struct metallm__event *e, const struct metallm__world *before,
                metallm_error *err)
{
    const uint32_t slot = slot_of(r, e->model);
    switch (e->kind) {
    case METALLM__EVENT_PRICE:
        if (slot != UINT32_MAX)
            metallm__agent_reprice(r->agent, slot, e->factor);
        return METALLM_OK;
    case METALLM__EVENT_RESTORE:
        if (slot != UINT32_MAX && before->factor[e->model] != 1)
            metallm__agent_reprice(r->agent, slot, 1 / before->factor[e->model]);
        return METALLM_OK;
    case METALLM__EVENT_ARRIVE:
        return slot == UINT32_MAX ? arrive(r, e, err) : METALLM_OK;
    case METALLM__EVENT_LEAVE:
        if (slot != UINT32_MAX)
            leave(r, slot);
        return METALLM_OK;
    default:
        return METALLM_OK;
    }
}

static int follow_events(struct run *r, metallm_error *err)
{
    const struct metallm__world *before = &r->worlds->items[r->world];
    while (r->world + 1 < r->worlds->count && r->worlds->items[r->world + 1].from <= r->t)
        r->world++;
    for (; r->event < r->opts->event_count && r->opts->events[r->event].step <= r->t; r->event++) {
        int rc = tell(r, &r->opts->events[r->event], before, err);
        if (rc != METALLM_OK)
            return rc;
    }
    return METALLM_OK;
}

/* The mix that is in force, on a fixed panel of rows: no luck of the draw in it. */
static void look_at_panel(struct run *r)
{
    const size_t n = metallm__spool_count(r->in->rows);
    const size_t panel = n < METALLM__PANEL_ROWS ? n : METALLM__PANEL_ROWS;
    double mix[METALLM_MODELS_MAX] = {0}, chance[METALLM_MODELS_MAX];
    struct metallm__belief priors[METALLM_MODELS_MAX];
    for (size_t k = 0; k < panel; k++) {
        const float *row = metallm__spool_row(r->in->rows, k * n / panel);
        metallm__learner_prepare(learner_of(r), row, r->z);
        priors_of(r, row, priors);
        metallm__agent_peek(r->agent, r->z, priors, NULL, chance);
        for (uint32_t s = 0; s < r->slots; s++)
            mix[r->slot_model[s]] += chance[s] / (double)panel;
    }
    metallm__sums_mix(r->sums, r->t, mix);
}

static int report_decision(struct run *r, const struct metallm__choice *choice,
                           const struct metallm__seen *seen, metallm_error *err)
{
    struct metallm__belief beliefs[METALLM_MODELS_MAX];
    double scores[METALLM_MODELS_MAX];
    for (uint32_t m = 0; m < r->in->models; m++) {
        const uint32_t slot = slot_of(r, m);
        beliefs[m].quality = scores[m] = NAN;
        if (slot != UINT32_MAX) {
            beliefs[m] = metallm__agent_beliefs(r->agent)[slot];
            scores[m] = metallm__agent_scores(r->agent)[slot];
        }
    }
    const struct metallm__replay_decision d = {.step = r->t,
                                               .model = r->slot_model[choice->model],
                                               .propensity = choice->propensity,
                                               .price = metallm__agent_price(r->agent),
                                               .beliefs = beliefs,
                                               .scores = scores,
                                               .cost_factor = r->worlds->items[r->world].factor,
                                               .seen = *seen};
    return r->opts->decided(r->opts->payload, &d, err);
}

static int step(struct run *r, bool is_logged, metallm_error *err)
{
    size_t index;
    const float *row = row_at(r, r->t, &index);
    const struct metallm__world *w = &r->worlds->items[r->world];
    struct metallm__belief priors[METALLM_MODELS_MAX];
    priors_of(r, row, priors);
    metallm__learner_prepare(learner_of(r), row, r->z);
    const struct metallm__choice choice =
        metallm__agent_decide(r->agent, r->z, priors, NULL, &r->rng);
    const uint32_t model = r->slot_model[choice.model];
    const float *cells = row + r->in->dim, latency = cells_of(r, row, model)[METALLM__CELL_LATENCY];
    struct metallm__seen seen = {.quality = metallm__world_score(w, cells, model),
                                 .cost_usd = metallm__world_cost(w, cells, model),
                                 .latency_ms = (double)latency};
    const struct metallm__reference best =
        metallm__world_reference(w, r->rules, cells, r->in->models);
    metallm__sums_add(r->sums,
                      &(struct metallm__got){.row = index,
                                             .step = r->t,
                                             .model = model,
                                             .quality = seen.quality,
                                             .cost = seen.cost_usd,
                                             .price = r->rules->budget > 0 ? 0 : r->rules->price,
                                             .explored = choice.reason == METALLM_REASON_EXPLORED,
                                             .best = &best});
    metallm__agent_spent(r->agent, seen.cost_usd);
    if (r->opts->start == METALLM__START_OFFLINE)
        return is_logged ? report_decision(r, &choice, &seen, err) : METALLM_OK;
    if (!r->in->has_cost)
        seen.cost_usd = NAN;
    int rc = feed_back(r, w, row, index, model, &seen, err);
    if (rc == METALLM_OK && is_logged)
        rc = report_decision(r, &choice, &seen, err);
    return rc;
}

/* Rows that are seen whole, before the stream: every model's outcome is learned. */
static int learn_offline(struct run *r, metallm_error *err)
{
    for (size_t i = 0; i < r->first; i++) {
        const size_t index = r->order != NULL ? r->order[i] : i;
        const float *row = metallm__spool_row(r->in->rows, index);
        const struct metallm__world *w = &r->worlds->items[0];
        metallm__learner_prepare(learner_of(r), row, r->z);
        for (uint32_t s = 0; s < r->slots; s++) {
            const uint32_t m = r->slot_model[s];
            const struct metallm__seen seen = {
                .quality = metallm__world_score(w, row + r->in->dim, m),
                .cost_usd = r->in->has_cost ? metallm__world_cost(w, row + r->in->dim, m) : NAN,
                .latency_ms = (double)cells_of(r, row, m)[METALLM__CELL_LATENCY]};
            int rc = observe(r, row, m, &seen, err);
            if (rc != METALLM_OK)
                return rc;
        }
    }
    return METALLM_OK;
}

static int stream(struct run *r, uint32_t run, metallm_error *err)
{
    const metallm_progress *p = &r->opts->progress;
    const uint64_t every = metallm__sums_mix_every(r->sums);
    for (r->t = 0; r->t < r->steps; r->t++) {
        int rc = follow_events(r, err);
        if (rc == METALLM_OK)
            rc = deliver(r, err);
        if (rc == METALLM_OK && every > 0 && r->t % every == 0)
            look_at_panel(r);
        if (rc == METALLM_OK)
            rc = step(r, run == 0 && r->opts->decided != NULL, err);
        if (rc != METALLM_OK)
            return rc;
        if (p->step != NULL && r->t % 1024 == 0 &&
            p->step(p->payload, "replaying", run * r->steps + r->t, r->opts->runs * r->steps) != 0)
            return metallm__error_set(err, METALLM_ECANCELED, "stopped while replaying");
    }
    return METALLM_OK;
}

/* The rows as one task, by the router's own estimates. */
static void judge_task(struct run *r)
{
    const size_t n = metallm__spool_count(r->in->rows);
    for (uint32_t m = 0; m < r->in->models; m++) {
        double s1 = 0, s2 = 0, p = 0;
        for (size_t i = 0; i < n; i++) {
            const double q = (double)cells_of(r, metallm__spool_row(r->in->rows, i),
                                              m)[METALLM__CELL_PRIOR_QUALITY];
            s1 += q / (double)n;
            s2 += (q > 0.5) / (double)n;
            p += fmax(q, 1 - q) / (double)n;
        }
        r->task.s1[m] = s1;
        r->task.s2[m] = s2;
        r->task.s3[m] = metallm__task_s3(s2, p);
    }
}

bool metallm__replay_needs_task(const struct metallm__replay_options *o)
{
    for (size_t i = 0; i < o->event_count; i++)
        if (o->events[i].kind == METALLM__EVENT_ARRIVE && o->events[i].prior >= METALLM__PRIOR_S1 &&
            o->events[i].prior <= METALLM__PRIOR_S3)
            return true;
    return false;
}

static int begin(struct run *r, uint32_t run, metallm_error *err)
{
    const size_t n = metallm__spool_count(r->in->rows);
    metallm__rng_stream(&r->rng, r->opts->seed, run);
    for (size_t i = 0; r->order != NULL && i < n; i++)
        r->order[i] = (uint32_t)i;
    if (r->order != NULL)
        metallm__rng_shuffle(&r->rng, r->order, n);
    r->slots = 0;
    for (uint32_t m = 0; m < r->in->models; m++) {
        r->prior[m] = METALLM__PRIOR_ROUTER;
        if (r->worlds->items[0].is_there[m] != 0)
            r->slot_model[r->slots++] = m;
    }
    struct metallm__agent_options o = r->opts->agent;
    o.adapt.kind = r->opts->start == METALLM__START_PRIOR ? METALLM__ADAPT_RESIDUAL
                   : r->opts->is_joint                    ? METALLM__ADAPT_JOINT
                                                          : METALLM__ADAPT_ABSOLUTE;
    o.adapt.learner.dim = r->in->dim;
    o.adapt.learner.models = r->slots;
    o.adapt.dial = o.dial;
    o.adapt.scale = o.scale > 0 ? o.scale : 1;
    r->world = r->event = 0;
    r->queue_head = r->queue_len = 0;
    return metallm__agent_new(&r->agent, &o, err);
}

static int run_once(struct run *r, uint32_t run, metallm_error *err)
{
    int rc = begin(r, run, err);
    if (rc == METALLM_OK)
        rc = learn_offline(r, err);
    if (rc == METALLM_OK)
        rc = stream(r, run, err);
    if (rc == METALLM_OK)
        metallm__sums_end_run(r->sums);
    metallm__agent_free(r->agent);
    r->agent = NULL;
    return rc;
}

static int check(const struct metallm__replay_input *in, const struct metallm__replay_options *o,
                 metallm_error *err)
{
    const size_t n = metallm__spool_count(in->rows);
    if (n < 2 || n > UINT32_MAX)
        return metallm__error_set(err, METALLM_EINVAL, "replay of %zu rows", n);
    if (o->runs < 1 || !(o->share >= 0 && o->share < 1))
        return metallm__error_set(err, METALLM_EINVAL, "%u runs, share %g (0 to below 1)",
                                  (unsigned)o->runs, o->share);
    if (o->is_joint && o->agent.pacer.usd_per_request > 0)
        return metallm__error_set(err, METALLM_EINVAL,
                                  "a joint regression has a fixed dial, so it can keep no budget");
    if (o->agent.pacer.usd_per_request > 0 && !in->has_cost)
        return metallm__error_set(err, METALLM_EINVAL, "a budget needs outcomes with costs");
    for (size_t i = 0; i < o->event_count; i++)
        if (o->events[i].model >= in->models ||
            (i > 0 && o->events[i].step < o->events[i - 1].step))
            return metallm__error_set(err, METALLM_EINVAL, "event %zu is out of order or range", i);
    return METALLM_OK;
}

int metallm__replay(const struct metallm__replay_input *in,
                    const struct metallm__replay_options *opts, struct metallm__replay_result *out,
                    metallm_error *err)
{
    int rc = check(in, opts, err);
    if (rc != METALLM_OK)
        return rc;
    const double scale = opts->agent.scale;
    const struct metallm__rules rules = {.price = scale > 0 ? opts->agent.dial / scale : 0,
                                         .budget = opts->agent.pacer.usd_per_request,
                                         .unknown = scale};
    const size_t n = metallm__spool_count(in->rows);
    struct metallm__worlds worlds = {0};
    struct metallm__sums *sums = NULL;
    struct run r = {
        .in = in,
        .opts = opts,
        .rules = &rules,
        .worlds = &worlds,
        .first = opts->start >= METALLM__START_HYBRID ? (size_t)(opts->share * (double)n) : 0};
    r.steps = opts->steps > 0 ? opts->steps : n - r.first;
    r.z = metallm__alloc_aligned(((size_t)in->dim + 7) & ~(size_t)7, sizeof *r.z);
    r.order = opts->is_in_order ? NULL : metallm__alloc(n, sizeof *r.order);
    if (r.z == NULL || (!opts->is_in_order && r.order == NULL))
        rc = metallm__error_nomem(err, "a replay");
    if (rc == METALLM_OK)
        rc = metallm__worlds_make(&worlds, in, opts, &rules, err);
    if (rc == METALLM_OK)
        rc = metallm__sums_new(&sums, in, opts, r.steps, err);
    if (rc == METALLM_OK) {
        r.sums = sums;
        if (opts->task != NULL)
            r.task = *opts->task;
        else if (metallm__replay_needs_task(opts))
            judge_task(&r);
        for (uint32_t k = 0; k < opts->runs && rc == METALLM_OK; k++)
            rc = run_once(&r, k, err);
    }
    if (rc == METALLM_OK)
        rc = metallm__sums_result(sums, &worlds, out, err);
    metallm__sums_free(sums);
    metallm__worlds_fini(&worlds);
    metallm__free(r.queue);
    metallm__free(r.order);
    metallm__free(r.z);
    return rc;
}
