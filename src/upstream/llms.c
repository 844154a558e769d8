/* SPDX-License-Identifier: Apache-2.0
 * llms.c - see llms.h. A generation's references are counted in a member that is written through a
 * pointer to const: everything else of it never changes. */
#include "upstream/llms.h"

#include <math.h>

#include "base/error.h"
#include "base/mem.h"
#include "upstream/deployment.h"

const char *metallm__llm_state_name(enum metallm__llm_state state)
{
    static const char *const names[] = {"active", "draining", "retired"};
    return names[state];
}

/* ---- What passes from one deployment to another: TLS settings, AWS's keys, health. ---- */

/* Calls visit(d) for each deployment until it returns true. */
struct search {
    const struct metallm__deployment *for_whom, *found;
    bool (*is_it)(const struct metallm__deployment *a, const struct metallm__deployment *b);
};

static bool is_same_tls(const struct metallm__deployment *a, const struct metallm__deployment *b)
{
    const char *one = a->ca_file != NULL ? a->ca_file : "";
    const char *two = b->ca_file != NULL ? b->ca_file : "";
    return b->tls != NULL && a->is_tls_unverified == b->is_tls_unverified && strcmp(one, two) == 0;
}

static bool search_llms(struct search *s, const struct metallm__llms *l)
{
    for (uint32_t m = 0; l != NULL && m < l->count; m++)
        for (uint32_t i = 0; i < l->items[m].deployment_count; i++) {
            const struct metallm__deployment *d = &l->items[m].deployments[i];
            if (d != s->for_whom && d->health != NULL && s->is_it(s->for_whom, d)) {
                s->found = d;
                return true;
            }
        }
    return false;
}

static int share_tls(struct metallm__deployment *d, const struct metallm__llms *own,
                     const struct metallm__llms *before, metallm_error *err)
{
    struct search s = {.for_whom = d, .is_it = is_same_tls};
    if (!d->is_tls)
        return METALLM_OK;
    if (search_llms(&s, own) || search_llms(&s, before)) {
        d->tls = metallm__tls_client_ref(s.found->tls);
        return METALLM_OK;
    }
    struct metallm__tls_client_options o = {.ca_path = d->ca_file,
                                            .insecure = d->is_tls_unverified};
    return metallm__tls_client_new(&d->tls, &o, err);
}

static bool is_same_aws(const struct metallm__deployment *a, const struct metallm__deployment *b)
{
    const char *profile = a->aws_profile != NULL ? a->aws_profile : "";
    return b->aws != NULL && strcmp(metallm__aws_credentials_profile(b->aws), profile) == 0;
}

/* Requests to AWS are signed where no API key is given. */
static int share_aws(struct metallm__deployment *d, const struct metallm__llms *own,
                     const struct metallm__llms *before, metallm_error *err)
{
    struct search s = {.for_whom = d, .is_it = is_same_aws};
    if (d->wire->framing != METALLM__FRAMING_AWS || d->key_len > 0)
        return METALLM_OK;
    if (search_llms(&s, own)) {
        d->aws = metallm__aws_credentials_ref(s.found->aws);
        return METALLM_OK;
    }
    if (search_llms(&s, before)) {
        d->aws = metallm__aws_credentials_ref(s.found->aws);
        metallm__aws_credentials_renew(d->aws);
        return METALLM_OK;
    }
    const struct metallm__aws_options o = {.profile = d->aws_profile};
    return metallm__aws_credentials_new(&d->aws, &o, err);
}

static int share_health(struct metallm__deployment *d, const struct metallm__llms *before,
                        const struct metallm__breaker_options *breaker, metallm_error *err)
{
    struct search s = {.for_whom = d, .is_it = metallm__deployment_is_same};
    if (!search_llms(&s, before))
        return metallm__health_new(&d->health, breaker, err);
    d->health = metallm__health_ref(s.found->health);
    metallm__health_tune(d->health, breaker);
    return METALLM_OK;
}

/* ---- Making a generation. ---- */

static int by_day(const void *a, const void *b)
{
    const struct metallm__price *x = a, *y = b;
    return (x->from > y->from) - (x->from < y->from);
}

static bool is_amount(double x, bool may_be_unknown)
{
    return isnan(x) ? may_be_unknown : x >= 0 && x <= 1e9;
}

static int copy_prices(struct metallm__llm *llm, const struct metallm__llm_options *o,
                       metallm_error *err)
{
    llm->prices = metallm__calloc(o->price_count, sizeof *llm->prices);
    if (llm->prices == NULL)
        return metallm__error_nomem(err, "prices");
    llm->price_count = o->price_count;
    for (size_t i = 0; i < o->price_count; i++) {
        llm->prices[i] = o->prices[i];
        llm->prices[i].model = NULL;
        const struct metallm__price *p = &o->prices[i];
        bool is_per_call = !isnan(p->usd_per_call);
        if (!is_amount(p->usd_per_call, true) || !is_amount(p->input, is_per_call) ||
            !is_amount(p->output, is_per_call) || !is_amount(p->cached_input, true))
            return metallm__error_set(err, METALLM_EINVAL,
                                      "a price is not from 0 to 1e9 dollars a million tokens");
    }
    qsort(llm->prices, llm->price_count, sizeof *llm->prices, by_day);
    return METALLM_OK;
}

static int make_deployments(struct metallm__llms *l, struct metallm__llm *llm,
                            const struct metallm__llm_options *o,
                            const struct metallm__llms *before, metallm_error *err)
{
    if (o->deployment_count < 1 || o->deployment_count > METALLM__DEPLOYMENTS_MAX)
        return metallm__error_set(err, METALLM_EINVAL, "from 1 to %u deployments, not %zu",
                                  METALLM__DEPLOYMENTS_MAX, o->deployment_count);
    llm->deployments = metallm__calloc(o->deployment_count, sizeof *llm->deployments);
    if (llm->deployments == NULL)
        return metallm__error_nomem(err, "deployments");
    llm->deployment_count = (uint32_t)o->deployment_count;
    llm->deployment_base = l->deployment_count;
    l->deployment_count += llm->deployment_count;
    for (uint32_t i = 0; i < llm->deployment_count; i++) {
        struct metallm__deployment *d = &llm->deployments[i];
        int rc = metallm__deployment_init(d, &o->deployments[i], llm, err);
        if (rc == METALLM_OK)
            rc = share_tls(d, l, before, err);
        if (rc == METALLM_OK)
            rc = share_aws(d, l, before, err);
        if (rc == METALLM_OK)
            rc = share_health(d, before, &o->deployments[i].breaker, err);
        if (rc != METALLM_OK)
            return rc;
    }
    return METALLM_OK;
}

static int make_llm(struct metallm__llms *l, struct metallm__llm *llm,
                    const struct metallm__llm_options *o, const struct metallm__llms *before,
                    metallm_error *err)
{
    *llm = (struct metallm__llm){
        .name = metallm__strdup(o->name),
        .state = o->state,
        .kinds = o->kinds != 0 ? o->kinds : 1u << METALLM__WIRE_CHAT,
        .has_tools = o->has_tools,
        .has_images = o->has_images,
        .has_audio = o->has_audio,
        .has_json = o->has_json,
        .context_tokens = o->context_tokens,
        .output_tokens_max = o->output_tokens_max,
    };
    if (llm->name == NULL)
        return metallm__error_nomem(err, "an LLM");
    int rc = copy_prices(llm, o, err);
    if (rc == METALLM_OK)
        rc = make_deployments(l, llm, o, before, err);
    return rc;
}

int metallm__llms_new(struct metallm__llms **out, const struct metallm__llm_options *llms,
                      size_t count, const struct metallm__llms *before, metallm_error *err)
{
    if (count > METALLM__LLMS_MAX)
        return metallm__error_set(err, METALLM_ELIMIT, "more than %u LLMs", METALLM__LLMS_MAX);
    struct metallm__llms *l = metallm__calloc(1, sizeof *l);
    if (l == NULL)
        return metallm__error_nomem(err, "LLMs");
    atomic_init(&l->references, 1);
    l->items = metallm__calloc(count, sizeof *l->items);
    int rc = l->items != NULL ? METALLM_OK : metallm__error_nomem(err, "LLMs");
    for (size_t i = 0; rc == METALLM_OK && i < count; i++) {
        if (llms[i].name == NULL || llms[i].name[0] == '\0' ||
            metallm__llms_find(l, metallm__span_of(llms[i].name)) >= 0) {
            rc = metallm__error_set(err, METALLM_EINVAL, "an LLM without a name, or named twice");
            break;
        }
        l->count = (uint32_t)i + 1;
        rc = make_llm(l, &l->items[i], &llms[i], before, err);
        if (rc != METALLM_OK)
            (void)metallm__error_prefix(err, rc, "LLM '%.80s'", llms[i].name);
    }
    if (rc != METALLM_OK) {
        metallm__llms_unref(l);
        return rc;
    }
    *out = l;
    return METALLM_OK;
}

struct metallm__llms *metallm__llms_ref(const struct metallm__llms *l)
{
    struct metallm__llms *counted = (struct metallm__llms *)(uintptr_t)l;
    atomic_fetch_add(&counted->references, 1);
    return counted;
}

static void free_llm(struct metallm__llm *llm)
{
    for (uint32_t i = 0; i < llm->deployment_count; i++)
        metallm__deployment_fini(&llm->deployments[i]);
    metallm__free(llm->deployments);
    metallm__free(llm->prices);
    metallm__free(llm->name);
}

void metallm__llms_unref(const struct metallm__llms *l)
{
    struct metallm__llms *counted = (struct metallm__llms *)(uintptr_t)l;
    if (l == NULL || atomic_fetch_sub(&counted->references, 1) > 1)
        return;
    for (uint32_t i = 0; i < l->count; i++)
        free_llm(&l->items[i]);
    metallm__free(l->items);
    metallm__free(counted);
}

/* ---- Looking at one. ---- */

int32_t metallm__llms_find(const struct metallm__llms *l, struct metallm__span name)
{
    for (uint32_t i = 0; i < l->count; i++)
        if (metallm__span_is(name, l->items[i].name))
            return (int32_t)i;
    return -1;
}

bool metallm__deployment_says(const struct metallm__deployment *d,
                              struct metallm__wire_request *request, const char **why)
{
    return metallm__wire_says(d->wire, &d->target, request, why);
}

/* A talk in whatever surface is a chat. */
static bool answers_kind(const struct metallm__llm *llm, enum metallm__wire_kind kind)
{
    return (llm->kinds >> kind & 1u) != 0 ||
           (kind != METALLM__WIRE_EMBEDDING && (llm->kinds >> METALLM__WIRE_CHAT & 1u) != 0);
}

static const char *unsaid(const struct metallm__llm *llm, struct metallm__wire_request *request)
{
    const char *why = NULL;
    for (uint32_t i = 0; i < llm->deployment_count; i++)
        if (metallm__deployment_says(&llm->deployments[i], request, &why))
            return NULL;
    return why;
}

bool metallm__llm_fits(const struct metallm__llm *llm, struct metallm__wire_request *request,
                       const char **why)
{
    const struct metallm__wire_needs *needs = &request->needs;
    uint64_t tokens = (uint64_t)needs->input_tokens + needs->output_tokens_max;
    const char *reason =
        !answers_kind(llm, request->kind)   ? "does not answer this kind of request"
        : needs->tools && !llm->has_tools   ? "has no tools"
        : needs->images && !llm->has_images ? "sees no images"
        : needs->files && !llm->has_images  ? "reads no files"
        : needs->audio && !llm->has_audio   ? "hears no audio"
        : needs->json && !llm->has_json     ? "has no JSON mode"
        : llm->context_tokens > 0 && tokens > llm->context_tokens ? "has too short a context"
        : llm->output_tokens_max > 0 && needs->output_tokens_max > llm->output_tokens_max
            ? "writes no answers that long"
            : unsaid(llm, request);
    if (why != NULL)
        *why = reason;
    return reason == NULL;
}

const struct metallm__price *metallm__llm_price(const struct metallm__llm *llm, int day)
{
    const struct metallm__price *best = NULL;
    for (size_t i = 0; i < llm->price_count && llm->prices[i].from <= day; i++)
        best = &llm->prices[i];
    return best;
}

double metallm__price_usage(const struct metallm__price *price,
                            const struct metallm__wire_usage *usage)
{
    if (price == NULL)
        return NAN;
    if (!isnan(price->usd_per_call))
        return price->usd_per_call;
    if (usage->input_tokens < 0 || usage->output_tokens < 0)
        return NAN;
    bool is_long = price->long_over > 0 && (uint64_t)usage->input_tokens > price->long_over;
    double input = is_long ? price->long_input : price->input;
    double output = is_long ? price->long_output : price->output;
    double cached = usage->cached_tokens > 0 ? (double)usage->cached_tokens : 0;
    double cached_price = is_long ? price->long_cached_input : price->cached_input;
    if (isnan(cached_price))
        cached_price = input;
    double written = usage->written_tokens > 0 ? (double)usage->written_tokens : 0;
    double written_price = price->cached_write > 0 ? price->cached_write : input;
    return 1e-6 *
           (((double)usage->input_tokens - cached - written) * input + cached * cached_price +
            written * written_price + (double)usage->output_tokens * output);
}
