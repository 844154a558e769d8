/* SPDX-License-Identifier: Apache-2.0
 * brain_box.c - see brain_box.h. */
#include "support/brain_box.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "support/cmocka_all.h"

const char box_models[] = "  - name: big\n"
                          "    base_url: http://127.0.0.1:1/v1\n"
                          "    price: {input: 10, output: 20, cached_input: 1}\n"
                          "  - name: small\n"
                          "    base_url: http://127.0.0.1:2/v1\n"
                          "    price: {input: 1, output: 2, cached_input: 0.1}\n";

void box_configure(struct brain_box *box, const char *models, const char *router)
{
    char text[4096];
    metallm_error err = {0};
    const struct metallm__config *c = NULL;
    snprintf(text, sizeof text, "store: %s\nmodels:\n%srouters:\n  - name: auto\n%s", box->url,
             models, router);
    if (metallm__config_parse(&c, "test.yaml", text, strlen(text), box->changes, &err) !=
        METALLM_OK)
        fail_msg("%s", err.message);
    metallm__config_drop(box->config);
    box->config = c;
    if (box->brains == NULL)
        assert_int_equal(metallm__brains_new(&box->brains, NULL), METALLM_OK);
    struct metallm__brain_price prices[METALLM_MODELS_MAX];
    for (uint32_t m = 0; m < c->model_count; m++) {
        const struct metallm__config_model *model = &c->models[m];
        prices[m] = (struct metallm__brain_price){NAN, NAN, NAN, NAN};
        if (model->price_count > 0)
            prices[m] = (struct metallm__brain_price){
                model->prices[0].input, model->prices[0].output, model->prices[0].cached_input,
                model->prices[0].usd_per_call};
    }
    const struct metallm__brains_setup setup = {
        .config = c,
        .prices = prices,
        .encoder = "custom",
        .layout = {.head = BOX_HEAD, .text = BOX_TEXT},
    };
    if (metallm__brains_configure(box->brains, &setup, &err) != METALLM_OK)
        fail_msg("%s", err.message);
}

void box_start(struct brain_box *box)
{
    metallm_error err = {0};
    box->options.store = box->url;
    box->options.brains = box->brains;
    if (box->options.commit_ms == 0)
        box->options.commit_ms = 1;
    if (metallm__journal_open(&box->journal, &box->options, &err) != METALLM_OK)
        fail_msg("%s", err.message);
    assert_int_equal(
        metallm__brain_reader_new(&box->reader, metallm__brains_find(box->brains, "auto"), NULL),
        METALLM_OK);
}

void box_stop(struct brain_box *box)
{
    metallm__brain_reader_free(box->reader);
    box->reader = NULL;
    assert_int_equal(metallm__journal_close(box->journal, NULL), METALLM_OK);
    box->journal = NULL;
    metallm__brains_free(box->brains);
    box->brains = NULL;
}

void box_open(struct brain_box *box, const char *router)
{
    *box = (struct brain_box){.folder = "/tmp/metallm-box-XXXXXX"};
    assert_non_null(mkdtemp(box->folder));
    snprintf(box->db, sizeof box->db, "%s/test.db", box->folder);
    snprintf(box->url, sizeof box->url, "sqlite:%s", box->db);
    metallm_rng_seed(&box->rng, 7);
    box_configure(box, box_models, router);
    box_start(box);
}

void box_close(struct brain_box *box)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-claim"};
    char path[160];
    if (box->journal != NULL)
        box_stop(box);
    metallm__config_drop(box->config);
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s%s", box->db, suffixes[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(box->folder), 0);
}

struct metallm__decision_id box_decide(struct brain_box *box, struct metallm__record *out)
{
    const struct metallm__view *v = metallm__brain_view(box->reader);
    struct metallm__candidate candidates[METALLM_MODELS_MAX];
    uint32_t order[METALLM_MODELS_MAX];
    float features[BOX_HEAD + BOX_TEXT];
    char name[METALLM__DECISION_ID_LEN + 1];
    struct metallm__decision_id id;
    struct metallm__brain_decision d = {.candidates = candidates, .order = order};
    for (uint32_t i = 0; i < BOX_HEAD + BOX_TEXT; i++)
        features[i] = (float)metallm__rng_normal(&box->rng) / 3;
    const struct metallm__brain_query q = {
        .features = features,
        .dial = NAN,
        .target = NAN,
        .input_tokens = 100,
        .session = {.model = METALLM__CONFIG_NONE},
        .now_s = 1.8e9,
        .rng = &box->rng,
    };
    metallm__brain_estimate(v, &q, &d);
    assert_int_equal(metallm__brain_decide(v, &q, &d, NULL), METALLM_OK);
    assert_int_equal(metallm__journal_name(box->journal, "", &id, name, NULL), METALLM_OK);
    struct metallm__record r = {
        .row = id.row,
        .nonce = id.nonce,
        .time_ms = 1800000000000 + id.row,
        .model = d.chosen,
        .status = 200,
        .usage = {.input = 100,
                  .output = 50 + metallm__rng_below(&box->rng, 100),
                  .is_known = true},
        .latency_ms = 200 + 100 * metallm__rng_uniform(&box->rng),
        .ttft_ms = 50,
    };
    metallm__brain_record(v, &d, &r);
    r.cost_usd = (d.chosen == 0 ? 1e-5 : 1e-6) * (double)(r.usage.input + 2 * r.usage.output);
    metallm__journal_decision(box->journal, &r, NULL, 0, NULL, 0);
    if (out != NULL) {
        *out = r;
        out->candidates = NULL;
        out->z = NULL;
    }
    return id;
}

/* ---- Waiting for answers. ---- */

struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool is_done;
    int rc;
    char *json;
};

static void tell(struct waiting *w, int rc)
{
    pthread_mutex_lock(&w->lock);
    w->rc = rc;
    w->is_done = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

static void on_done(void *payload, int rc, const metallm_error *err)
{
    (void)err;
    tell(payload, rc);
}

static void on_shown(void *payload, int rc, const char *json, size_t len, const metallm_error *err)
{
    struct waiting *w = payload;
    (void)err;
    if (rc == METALLM_OK)
        w->json = strndup(json, len);
    tell(w, rc);
}

static int wait_for(struct waiting *w)
{
    pthread_mutex_lock(&w->lock);
    while (!w->is_done)
        pthread_cond_wait(&w->wake, &w->lock);
    pthread_mutex_unlock(&w->lock);
    return w->rc;
}

#define WAITING                                                                                    \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER                        \
    }

static int give(struct brain_box *box, const struct metallm__decision_id *id,
                const struct metallm__feedback *f)
{
    struct waiting w = WAITING;
    int rc = metallm__journal_feedback(box->journal, id, f, on_done, &w, NULL);
    return rc == METALLM_OK ? wait_for(&w) : rc;
}

int box_feedback(struct brain_box *box, const struct metallm__decision_id *id, double score)
{
    return give(box, id, &(struct metallm__feedback){.score = score});
}

int box_label(struct brain_box *box, const struct metallm__decision_id *id, const char *label)
{
    return give(
        box, id,
        &(struct metallm__feedback){.score = NAN, .label = label, .label_bytes = strlen(label)});
}

char *box_show(struct brain_box *box, const struct metallm__decision_id *id)
{
    struct waiting w = WAITING;
    assert_int_equal(metallm__journal_show(box->journal, id, "dec_test", on_shown, &w, NULL),
                     METALLM_OK);
    wait_for(&w);
    return w.json;
}

static int nothing(void *payload, struct metallm__store *s, metallm_error *err)
{
    (void)payload, (void)s, (void)err;
    return METALLM_OK;
}

void box_flush(struct brain_box *box)
{
    struct metallm__journal_stats stats;
    for (;;) {
        struct waiting w = WAITING;
        assert_int_equal(metallm__journal_call(box->journal, nothing, on_done, &w, NULL),
                         METALLM_OK);
        wait_for(&w);
        metallm__journal_stats(box->journal, &stats);
        if (stats.queued_decisions == 0)
            break;
        usleep(1000);
    }
    /* one more round: the batch before this call is folded by then */
    struct waiting w = WAITING;
    assert_int_equal(metallm__journal_call(box->journal, nothing, on_done, &w, NULL), METALLM_OK);
    wait_for(&w);
}

void box_state(struct brain_box *box, struct metallm__buf *out)
{
    metallm__buf_init(out, (size_t)1 << 28);
    assert_int_equal(
        metallm__brain_state_save(metallm__brains_find(box->brains, "auto"), out, NULL),
        METALLM_OK);
}
