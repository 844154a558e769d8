/* SPDX-License-Identifier: Apache-2.0
 * route.c - the whole way of libmetallm in one small program:
 *
 *     route OUTCOMES ROUTER PROMPT
 *
 * opens ROUTER, or, where there is none yet, trains one on the benchmark file OUTCOMES; estimates
 * what each model would make of PROMPT; decides at three settings of the dial; learns from an
 * answer; and saves the router. It uses the encoder "hash", which needs no weights; "minilm" makes
 * better routers.
 *
 * cc route.c $(pkg-config --cflags --libs metallm) -o route */
#include <metallm/encoder.h>
#include <metallm/outcomes.h>
#include <metallm/router.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The vectors of n prompts, a row each: the caller frees x->values. */
static int vectors_of(metallm_encoder *encoder, const char *const *prompts, size_t n,
                      metallm_vectors *x, metallm_error *err)
{
    metallm_layout layout = metallm_encoder_layout(encoder);
    float *values = calloc(n, metallm_layout_dim(&layout) * sizeof *values);
    size_t *lens = calloc(n, sizeof *lens);
    int rc = METALLM_ENOMEM;
    if (values != NULL && lens != NULL) {
        for (size_t i = 0; i < n; i++)
            lens[i] = strlen(prompts[i]);
        rc = metallm_encoder_features(encoder, prompts, lens, n, values, NULL, err);
    }
    free(lens);
    if (rc != METALLM_OK) {
        free(values);
        return rc;
    }
    *x = (metallm_vectors){
        .values = values, .rows = n, .layout = layout, .encoder = metallm_encoder_id(encoder)};
    return METALLM_OK;
}

/* Reads outcomes of any known format, makes the prompts' vectors, and fits. */
static int train(metallm_router **router, metallm_encoder *encoder, const char *path,
                 metallm_error *err)
{
    metallm_outcomes *outcomes = NULL;
    metallm_read_options reading = {0}; /* the format is told from the bytes */
    metallm_train_options training = {.estimator = "linear", .seed = 1};
    metallm_train_report report;
    metallm_vectors x = {0};
    const char **prompts = NULL;

    int rc = metallm_outcomes_new(&outcomes, err);
    if (rc == METALLM_OK)
        rc = metallm_outcomes_read(outcomes, path, &reading, NULL, err);
    if (rc != METALLM_OK)
        goto out;
    size_t n = metallm_outcomes_query_count(outcomes);
    prompts = calloc(n + 1, sizeof *prompts);
    if (prompts == NULL) {
        rc = METALLM_ENOMEM;
        goto out;
    }
    for (size_t i = 0; i < n; i++)
        prompts[i] = metallm_outcomes_query(outcomes, i).prompt;
    rc = vectors_of(encoder, prompts, n, &x, err);
    if (rc == METALLM_OK)
        rc = metallm_router_train(router, outcomes, &x, &training, &report, err);
    if (rc == METALLM_OK)
        printf("trained on %zu prompts and %u models: cross-validated quality %.3f, best single "
               "model %.3f\n",
               report.queries, report.models, report.quality, report.quality_best);
out:
    free((void *)x.values);
    free(prompts);
    metallm_outcomes_free(outcomes);
    return rc;
}

/* Estimates once, decides at three dials, and learns from one answer. */
static int route(metallm_router *router, metallm_encoder *encoder, const char *prompt,
                 metallm_error *err)
{
    static const float dials[] = {0, 0.1f, 1};
    uint32_t models = metallm_router_model_count(router);
    metallm_estimate *estimates = calloc(models, sizeof *estimates);
    metallm_decision decision = {0};
    metallm_vectors x = {0};
    metallm_rng rng; /* all chance comes from here */
    metallm_rng_seed(&rng, 1);

    int rc = estimates != NULL ? vectors_of(encoder, &prompt, 1, &x, err) : METALLM_ENOMEM;
    if (rc == METALLM_OK)
        rc = metallm_router_estimate(router, &x, estimates, err);
    for (uint32_t m = 0; rc == METALLM_OK && m < models; m++)
        printf("  %-32s quality %.3f +- %.3f, $%g\n", metallm_router_model_name(router, m),
               (double)estimates[m].quality, (double)estimates[m].quality_sd,
               (double)estimates[m].cost_usd);
    for (size_t i = 0; rc == METALLM_OK && i < sizeof dials / sizeof *dials; i++) {
        metallm_constraints constraints = {.dial = dials[i]};
        rc = metallm_router_decide(router, estimates, &constraints, &rng, &decision, err);
        if (rc == METALLM_OK)
            printf("dial %-4g: %s (chance %g)\n", (double)dials[i],
                   metallm_router_model_name(router, decision.model), (double)decision.propensity);
    }
    if (rc == METALLM_OK) { /* the model answered well: its next estimate near here is higher */
        metallm_outcome seen = metallm_outcome_unknown();
        seen.score = 1;
        rc = metallm_router_observe(router, &x, decision.model, &seen, err);
    }
    if (rc == METALLM_OK)
        rc = metallm_router_estimate(router, &x, estimates, err);
    if (rc == METALLM_OK)
        printf("after a good answer: %s quality %.3f\n",
               metallm_router_model_name(router, decision.model),
               (double)estimates[decision.model].quality);
    free((void *)x.values);
    free(estimates);
    return rc;
}

int main(int argc, char **argv)
{
    metallm_error err = {0};
    metallm_encoder *encoder = NULL;
    metallm_router *router = NULL;
    metallm_encoder_options encoding = {.name = "hash"};
    if (argc != 4) {
        fprintf(stderr, "usage: route OUTCOMES ROUTER PROMPT\n");
        return 2;
    }
    int rc = metallm_encoder_open(&encoder, &encoding, &err);
    if (rc == METALLM_OK) {
        rc = metallm_router_open(&router, argv[2], &err);
        if (rc == METALLM_ENOTFOUND) /* none yet */
            rc = train(&router, encoder, argv[1], &err);
    }
    if (rc == METALLM_OK)
        rc = route(router, encoder, argv[3], &err);
    if (rc == METALLM_OK)
        rc = metallm_router_save(router, argv[2], &err);
    if (rc != METALLM_OK)
        fprintf(stderr, "route: %s\n",
                err.message[0] != '\0' ? err.message : metallm_status_name(rc));
    metallm_router_free(router);
    metallm_encoder_free(encoder);
    return rc == METALLM_OK ? 0 : 1;
}
