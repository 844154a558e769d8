/* SPDX-License-Identifier: Apache-2.0
 * world.c - from a config to what requests refer to. */
#include "gateway/world.h"

#include <math.h>

#include "base/error.h"
#include "base/mem.h"
#include "data/prices.h"

/* Room for the options of all LLMs; strings are the config's. */
struct llm_room {
    struct metallm__llm_options *llms;
    struct metallm__price *prices;                   /* all, one after another */
    struct metallm__deployment_options *deployments; /* all */
    struct metallm__header_option *headers;          /* all */
};

static void room_fini(struct llm_room *room)
{
    metallm__free(room->llms);
    metallm__free(room->prices);
    metallm__free(room->deployments);
    metallm__free(room->headers);
}

static int room_init(struct llm_room *room, const struct metallm__config *c, metallm_error *err)
{
    *room = (struct llm_room){0};
    size_t prices = 0, deployments = 0, headers = 0;
    for (uint32_t m = 0; m < c->model_count; m++) {
        const struct metallm__config_model *model = &c->models[m];
        prices += model->price_count > 0 ? model->price_count : model->known_count;
        deployments += model->deployment_count;
        for (uint32_t d = 0; d < model->deployment_count; d++)
            headers += model->deployments[d].headers.count;
    }
    room->llms = metallm__calloc(c->model_count, sizeof *room->llms);
    room->prices = metallm__calloc(prices, sizeof *room->prices);
    room->deployments = metallm__calloc(deployments, sizeof *room->deployments);
    room->headers = metallm__calloc(headers, sizeof *room->headers);
    if (room->llms == NULL || room->prices == NULL || room->deployments == NULL ||
        room->headers == NULL)
        return metallm__error_nomem(err, "the LLMs of the config");
    return METALLM_OK;
}

/* The model's own prices, else what is known of them elsewhere. Returns how many. */
static size_t take_prices(const struct metallm__config_model *model, struct metallm__price *out)
{
    size_t count = 0;
    for (uint32_t i = 0; i < model->price_count; i++) {
        const struct metallm__config_price *p = &model->prices[i];
        out[count++] = (struct metallm__price){.line = p->line,
                                               .from = p->from,
                                               .usd_per_call = p->usd_per_call,
                                               .input = p->input,
                                               .output = p->output,
                                               .cached_input = p->cached_input,
                                               .cached_write = p->cached_write};
    }
    for (uint32_t i = 0; model->price_count == 0 && i < model->known_count; i++)
        out[count++] = model->known_prices[i];
    return count;
}

/* Kinds whose bodies may pass, of those that the protocol has: of the servers that speak OpenAI's,
 * not all serve /completions, and few /responses. */
static unsigned native_of(const struct metallm__config_model *m,
                          const struct metallm__config_deployment *d)
{
    unsigned kinds = (1u << METALLM__WIRE_KINDS) - 1;
    if (strcmp(d->protocol, "openai") != 0)
        return kinds;
    if ((m->abilities & METALLM__ABLE_COMPLETIONS) == 0)
        kinds &= ~(1u << METALLM__WIRE_COMPLETION);
    if ((m->abilities & METALLM__ABLE_RESPONSES) == 0)
        kinds &= ~(1u << METALLM__WIRE_RESPONSES);
    return kinds;
}

static size_t take_deployments(const struct metallm__config *c,
                               const struct metallm__config_model *model,
                               struct metallm__deployment_options *out,
                               struct metallm__header_option *headers)
{
    size_t taken = 0;
    for (uint32_t i = 0; i < model->deployment_count; i++) {
        const struct metallm__config_deployment *d = &model->deployments[i];
        out[i] = (struct metallm__deployment_options){
            .base_url = d->base_url,
            .protocol = d->protocol,
            .region = d->region[0] == '\0' ? NULL : d->region,
            .aws_profile = d->aws_profile[0] == '\0' ? NULL : d->aws_profile,
            .azure_version = d->azure_version[0] == '\0' ? NULL : d->azure_version,
            .native = native_of(model, d),
            .max_tokens = (uint32_t)model->max_tokens,
            .model = d->model,
            .key = d->api_key[0] == '\0' ? NULL : d->api_key,
            .headers = headers + taken,
            .header_count = d->headers.count,
            .weight = d->weight,
            .concurrent_max = (unsigned)d->concurrency,
            .connect_ms = (uint32_t)model->timeouts.connect_ms,
            .first_byte_ms = (uint32_t)model->timeouts.first_token_ms,
            .idle_ms = (uint32_t)model->timeouts.idle_ms,
            .total_ms = (uint32_t)model->timeouts.total_ms,
            .ca_file = c->upstream.ca_file[0] == '\0' ? NULL : c->upstream.ca_file,
            .is_tls_unverified = !c->upstream.verify,
            .is_usage_unasked = !model->usage,
            .breaker = {.consecutive_max = (unsigned)c->upstream.breaker_failures,
                        .error_rate_max = c->upstream.breaker_rate,
                        .open_ns = c->upstream.breaker_open_ms * 1000000u}};
        for (uint32_t h = 0; h < d->headers.count; h++)
            headers[taken++] = (struct metallm__header_option){.name = d->headers.items[h].name,
                                                               .value = d->headers.items[h].value};
    }
    return taken;
}

static enum metallm__llm_state state_of(const struct metallm__config_model *m)
{
    return m->retired   ? METALLM__LLM_RETIRED
           : m->drained ? METALLM__LLM_DRAINING
                        : METALLM__LLM_ACTIVE;
}

/* Which requests it answers, as upstream numbers them; who answers chat answers every conversation.
 */
static unsigned kinds_of(const struct metallm__config_model *m)
{
    unsigned kinds = 0;
    if ((m->abilities & METALLM__ABLE_CHAT) != 0)
        kinds |= 1u << METALLM__WIRE_CHAT;
    if ((m->abilities & METALLM__ABLE_RESPONSES) != 0)
        kinds |= 1u << METALLM__WIRE_RESPONSES;
    if ((m->abilities & METALLM__ABLE_COMPLETIONS) != 0)
        kinds |= 1u << METALLM__WIRE_COMPLETION;
    if ((m->abilities & METALLM__ABLE_EMBEDDINGS) != 0)
        kinds |= 1u << METALLM__WIRE_EMBEDDING;
    return kinds;
}

int metallm__world_llms(struct metallm__llms **out, const struct metallm__config *c,
                        const struct metallm__llms *before, metallm_error *err)
{
    struct llm_room room;
    int rc = room_init(&room, c, err);
    size_t price = 0, deployment = 0, header = 0;
    for (uint32_t m = 0; m < c->model_count && rc == METALLM_OK; m++) {
        const struct metallm__config_model *model = &c->models[m];
        size_t prices = take_prices(model, room.prices + price);
        size_t headers =
            take_deployments(c, model, room.deployments + deployment, room.headers + header);
        room.llms[m] = (struct metallm__llm_options){
            .name = model->name,
            .state = state_of(model),
            .kinds = kinds_of(model),
            .has_tools = (model->abilities & METALLM__ABLE_TOOLS) != 0,
            .has_images = (model->abilities & METALLM__ABLE_IMAGES) != 0,
            .has_audio = (model->abilities & METALLM__ABLE_AUDIO) != 0,
            .has_json = (model->abilities & METALLM__ABLE_JSON) != 0,
            .context_tokens = (uint32_t)model->context,
            .output_tokens_max = (uint32_t)model->max_output,
            .prices = room.prices + price,
            .price_count = prices,
            .deployments = room.deployments + deployment,
            .deployment_count = model->deployment_count};
        price += prices;
        deployment += model->deployment_count;
        header += headers;
    }
    if (rc == METALLM_OK)
        rc = metallm__llms_new(out, room.llms, c->model_count, before, err);
    room_fini(&room);
    return rc == METALLM_OK ? rc : metallm__error_prefix(err, rc, "%s", c->path);
}

/* YYYYMMDD of a wall time. */
static int day_of(int64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    return (tm.tm_year + 1900) * 10000 + (tm.tm_mon + 1) * 100 + tm.tm_mday;
}

static void tell_prior(void *payload, const struct metallm__prior_told *what)
{
    const bool is_well = what->err == NULL;
    struct metallm__log_line line;
    if (!metallm__log_begin(payload, &line, is_well ? METALLM__LOG_INFO : METALLM__LOG_WARN,
                            "prior", is_well ? "by outcomes" : "not as stated"))
        return;
    metallm__log_str(&line, "model", what->model);
    metallm__log_str(&line, "router", what->router);
    if (what->err != NULL)
        metallm__log_str(&line, "error", what->err->message);
    if (what->scores != NULL) {
        const struct metallm__prior_scores *s = what->scores;
        const char *basis = s->queries > 0  ? "the router's queries"
                            : s->is_partial ? "mean score: the outcomes could not be encoded"
                                            : "mean score: the router keeps no queries";
        metallm__log_real(&line, "quality", what->quality);
        metallm__log_str(&line, "basis", basis);
        metallm__log_int(&line, "outcomes", (int64_t)s->rows);
        metallm__log_int(&line, "queries", (int64_t)s->queries);
    }
    metallm__log_end(&line);
}

static int configure_brains(struct metallm__world *w, const struct metallm__world_parts *parts,
                            metallm_error *err)
{
    const struct metallm__config *c = w->config;
    struct metallm__brain_price *prices = metallm__calloc(c->model_count, sizeof *prices);
    if (prices == NULL)
        return metallm__error_nomem(err, "prices");
    for (uint32_t m = 0; m < c->model_count; m++) {
        const struct metallm__price *p =
            metallm__llm_price(&w->llms->items[m], day_of(parts->wall_ms));
        prices[m] = p == NULL ? (struct metallm__brain_price){NAN, NAN, NAN, NAN}
                              : (struct metallm__brain_price){.input = p->input,
                                                              .output = p->output,
                                                              .cached_input = p->cached_input,
                                                              .usd_per_call = p->usd_per_call};
    }
    struct metallm__brains_setup setup = {.config = c,
                                          .prices = prices,
                                          .encoder = parts->encoder,
                                          .layout = parts->layout,
                                          .outcomes = parts->outcomes,
                                          .told = tell_prior,
                                          .payload = parts->log};
    int rc = metallm__brains_configure(parts->brains, &setup, err);
    metallm__free(prices);
    for (uint32_t r = 0; r < c->router_count && rc == METALLM_OK; r++)
        w->brains[r] = metallm__brains_find(parts->brains, c->routers[r].name);
    return rc;
}

static int fill(struct metallm__world *w, const struct metallm__world_parts *parts,
                metallm_error *err)
{
    const struct metallm__config *c = w->config;
    w->brains = metallm__calloc(c->router_count, sizeof *w->brains);
    w->graders = metallm__calloc(c->router_count, sizeof *w->graders);
    w->llm_slots = metallm__calloc(c->model_count, sizeof *w->llm_slots);
    w->router_slots = metallm__calloc(c->router_count, sizeof *w->router_slots);
    if (w->brains == NULL || w->graders == NULL || w->llm_slots == NULL || w->router_slots == NULL)
        return metallm__error_nomem(err, "a generation of the config");
    for (uint32_t m = 0; m < c->model_count; m++)
        w->llm_slots[m] = metallm__metrics_llm(parts->metrics, c->models[m].name);
    for (uint32_t r = 0; r < c->router_count; r++)
        w->router_slots[r] = metallm__metrics_router(parts->metrics, c->routers[r].name);
    int rc =
        metallm__world_llms(&w->llms, c, parts->before == NULL ? NULL : parts->before->llms, err);
    for (uint32_t r = 0; r < c->router_count && rc == METALLM_OK; r++)
        if (c->routers[r].grader_count > 0)
            rc = metallm__graders_new(&w->graders[r], &c->routers[r], err);
    return rc == METALLM_OK ? configure_brains(w, parts, err) : rc;
}

static void clear(struct metallm__world *w)
{
    for (uint32_t r = 0; w->graders != NULL && r < w->config->router_count; r++)
        metallm__graders_free(w->graders[r]);
    metallm__free(w->graders);
    metallm__free(w->brains);
    metallm__free(w->llm_slots);
    metallm__free(w->router_slots);
    metallm__llms_unref(w->llms);
    metallm__free(w);
}

int metallm__world_new(struct metallm__world **out, const struct metallm__config *config,
                       const struct metallm__world_parts *parts, metallm_error *err)
{
    struct metallm__world *w = metallm__calloc(1, sizeof *w);
    if (w == NULL)
        return metallm__error_nomem(err, "a generation of the config");
    atomic_init(&w->references, 1);
    w->number = parts->before == NULL ? 1 : parts->before->number + 1;
    w->config = config;
    w->models_since_s = parts->wall_ms / 1000;
    int rc = fill(w, parts, err);
    if (rc != METALLM_OK) {
        clear(w);
        return rc;
    }
    *out = w;
    return METALLM_OK;
}

struct metallm__world *metallm__world_take(struct metallm__world *w)
{
    atomic_fetch_add_explicit(&w->references, 1, memory_order_relaxed);
    return w;
}

void metallm__world_drop(struct metallm__world *w)
{
    if (w == NULL || atomic_fetch_sub_explicit(&w->references, 1, memory_order_acq_rel) > 1)
        return;
    const struct metallm__config *config = w->config;
    clear(w);
    metallm__config_drop(config);
}

int metallm__world_find(const struct metallm__world *w, const char *name, size_t len,
                        struct metallm__name *out)
{
    const struct metallm__config *c = w->config;
    *out = (struct metallm__name){.router = METALLM__CONFIG_NONE, .model = METALLM__CONFIG_NONE};
    uint32_t at = metallm__config_alias_find(c, name, len);
    if (at != METALLM__CONFIG_NONE) {
        out->alias = &c->aliases[at];
        out->router = out->alias->router;
        out->model = out->alias->model;
    } else {
        out->router = metallm__config_router_find(c, name, len);
        if (out->router == METALLM__CONFIG_NONE)
            out->model = metallm__config_model_find(c, name, len);
    }
    if (out->router == METALLM__CONFIG_NONE &&
        (out->model == METALLM__CONFIG_NONE || c->models[out->model].retired))
        return METALLM_ENOTFOUND;
    return METALLM_OK;
}
