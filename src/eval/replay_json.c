/* SPDX-License-Identifier: Apache-2.0
 * replay_json.c - see replay_json.h. */
#include "eval/replay_json.h"

#include <math.h>

#include "eval/decision_log.h"

static void print_value(struct metallm__buf *b, double v)
{
    if (isfinite(v))
        metallm__buf_printf(b, "%.9g", v);
    else
        metallm__buf_puts(b, "null");
}

static void print_pair(struct metallm__buf *b, double low, double high)
{
    metallm__buf_puts(b, "[");
    print_value(b, low);
    metallm__buf_puts(b, ",");
    print_value(b, high);
    metallm__buf_puts(b, "]");
}

static void print_field(struct metallm__buf *b, const char *name, double v)
{
    metallm__buf_printf(b, ",\"%s\":", name);
    print_value(b, v);
}

struct named {
    const char *name;
    const struct metallm__mean *mean;
};

/* The means, then one object with their intervals, if there are any. */
static void print_means(struct metallm__buf *b, const struct named *means, size_t count)
{
    for (size_t i = 0; i < count; i++)
        print_field(b, means[i].name, means[i].mean->value);
    const char *sep = ",\"ci\":{";
    for (size_t i = 0; i < count; i++)
        if (isfinite(means[i].mean->low)) {
            metallm__buf_printf(b, "%s\"%s\":", sep, means[i].name);
            print_pair(b, means[i].mean->low, means[i].mean->high);
            sep = ",";
        }
    if (sep[1] == '\0')
        metallm__buf_puts(b, "}");
}

static void print_head(struct metallm__buf *b, const struct metallm__replay_result *r)
{
    const struct named means[] = {{"quality", &r->quality},
                                  {"cost", &r->cost},
                                  {"reward", &r->reward},
                                  {"regret", &r->regret},
                                  {"regret_best_model", &r->regret_best_model},
                                  {"regret_best_policy", &r->regret_best_policy},
                                  {"budget_used", &r->budget_used}};
    metallm__buf_printf(b, "{\"n\":%llu,\"seeds\":%u", (unsigned long long)r->n, (unsigned)r->runs);
    print_field(b, "budget", r->budget > 0 ? r->budget : NAN);
    if (!(r->budget > 0))
        metallm__buf_puts(b, ",\"budget_used\":null");
    print_means(b, means, sizeof means / sizeof means[0] - (r->budget > 0 ? 0 : 1));
    if (isfinite(r->period_most))
        print_field(b, "budget_period_most", r->period_most);
    const struct metallm__over_rows *o = &r->over_rows;
    const struct named by_query[] = {{"quality", &o->quality},
                                     {"cost", &o->cost},
                                     {"reward", &o->reward},
                                     {"regret", &o->regret},
                                     {"regret_best_model", &o->regret_best_model},
                                     {"regret_best_policy", &o->regret_best_policy}};
    for (size_t i = 0; i < sizeof by_query / sizeof by_query[0]; i++) {
        metallm__buf_printf(b, "%s\"%s\":", i == 0 ? ",\"ci_queries\":{" : ",", by_query[i].name);
        print_pair(b, by_query[i].mean->low, by_query[i].mean->high);
    }
    metallm__buf_puts(b, "}");
    print_field(b, "reward_oracle", r->reward_oracle);
    print_field(b, "reward_best_model", r->reward_best_model);
    print_field(b, "reward_best_policy", r->reward_best_policy);
    print_field(b, "explored", r->explored);
    print_field(b, "changes", r->changes);
    if (r->is_tiered)
        print_field(b, "fine_share", r->fine_share);
}

static void print_point(struct metallm__buf *b, const struct metallm__replay_point *p)
{
    const struct named means[] = {{"quality", &p->quality},
                                  {"cost", &p->cost},
                                  {"regret", &p->regret},
                                  {"reward", &p->reward},
                                  {"regret_best_model", &p->regret_best_model},
                                  {"regret_best_policy", &p->regret_best_policy}};
    metallm__buf_printf(b, "{\"step\":%llu", (unsigned long long)p->step);
    print_means(b, means, sizeof means / sizeof means[0]);
    metallm__buf_puts(b, "}");
}

void metallm__replay_json(struct metallm__buf *b, const struct metallm__replay_result *r,
                          const struct metallm__event_names *names)
{
    print_head(b, r);
    metallm__buf_puts(b, ",\"share\":{");
    for (uint32_t m = 0; m < r->models; m++) {
        metallm__buf_puts(b, m > 0 ? "," : "");
        metallm__log_print_string(b, names->name(names->payload, m));
        metallm__buf_puts(b, ":");
        print_value(b, r->share[m]);
    }
    metallm__buf_puts(b, "},\"curve\":[");
    for (size_t i = 0; i < r->point_count; i++) {
        metallm__buf_puts(b, i > 0 ? "," : "");
        print_point(b, &r->points[i]);
    }
    metallm__buf_puts(b, "],\"events\":[");
    for (size_t i = 0; i < r->event_count; i++) {
        const struct metallm__replay_event *e = &r->events[i];
        metallm__buf_printf(b, "%s{\"step\":%llu,\"what\":", i > 0 ? "," : "",
                            (unsigned long long)e->step);
        metallm__log_print_string(b, e->what);
        print_field(b, "settled_after", e->settled_after);
        metallm__buf_puts(b, "}");
    }
    metallm__buf_puts(b, "]}");
}
