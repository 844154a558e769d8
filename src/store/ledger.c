/* SPDX-License-Identifier: Apache-2.0
 * ledger.c - see ledger.h: every call goes to the store's backend. */
#include "store/ledger.h"

#include "base/error.h"
#include "store/backend.h"

int metallm__ledger_begin(struct metallm__store *s, bool is_synced, metallm_error *err)
{
    if (s->backend->ledger == NULL)
        return metallm__error_set(err, METALLM_EINVAL, "a store at %s cannot serve a gateway",
                                  s->backend->scheme);
    return s->backend->ledger->begin(s->state, is_synced, err);
}

int metallm__ledger_commit(struct metallm__store *s, metallm_error *err)
{
    return s->backend->ledger->commit(s->state, err);
}

void metallm__ledger_abort(struct metallm__store *s)
{
    s->backend->ledger->abort(s->state);
}

int metallm__ledger_claim(struct metallm__store *s, int wait_ms, metallm_error *err)
{
    if (s->backend->ledger == NULL)
        return metallm__error_set(err, METALLM_EINVAL, "a store at %s cannot serve a gateway",
                                  s->backend->scheme);
    return s->backend->ledger->claim(s->state, wait_ms, err);
}

int metallm__ledger_get_value(struct metallm__store *s, const char *name, void *bytes, size_t room,
                              size_t *len, metallm_error *err)
{
    return s->backend->ledger->get_value(s->state, name, bytes, room, len, err);
}

int metallm__ledger_put_value(struct metallm__store *s, const char *name, const void *bytes,
                              size_t len, metallm_error *err)
{
    return s->backend->ledger->put_value(s->state, name, bytes, len, err);
}

int metallm__ledger_put_setup(struct metallm__store *s, uint64_t hash, const char *json,
                              metallm_error *err)
{
    return s->backend->ledger->put_setup(s->state, hash, json, err);
}

int metallm__ledger_get_setup(struct metallm__store *s, uint64_t hash, struct metallm__buf *out,
                              bool *found, metallm_error *err)
{
    return s->backend->ledger->get_setup(s->state, hash, out, found, err);
}

int metallm__ledger_put_decision(struct metallm__store *s, const struct metallm__ledger_decision *d,
                                 metallm_error *err)
{
    return s->backend->ledger->put_decision(s->state, d, err);
}

int metallm__ledger_get_decision(struct metallm__store *s, int64_t row,
                                 struct metallm__ledger_decision *d, struct metallm__buf *out,
                                 bool *found, metallm_error *err)
{
    return s->backend->ledger->get_decision(s->state, row, d, out, found, err);
}

int metallm__ledger_visit(struct metallm__store *s, int64_t after,
                          metallm__ledger_decision_visit *visit, void *payload, metallm_error *err)
{
    return s->backend->ledger->visit(s->state, after, visit, payload, err);
}

int metallm__ledger_put_feedback(struct metallm__store *s, const struct metallm__ledger_feedback *f,
                                 metallm_error *err)
{
    return s->backend->ledger->put_feedback(s->state, f, err);
}

int metallm__ledger_get_feedback(struct metallm__store *s, int64_t row,
                                 struct metallm__ledger_feedback *f, struct metallm__buf *out,
                                 bool *found, metallm_error *err)
{
    return s->backend->ledger->get_feedback(s->state, row, f, out, found, err);
}

int metallm__ledger_put_event(struct metallm__store *s, const struct metallm__ledger_event *e,
                              metallm_error *err)
{
    return s->backend->ledger->put_event(s->state, e, err);
}

int metallm__ledger_events(struct metallm__store *s, int64_t after,
                           metallm__ledger_event_visit *visit, void *payload, metallm_error *err)
{
    return s->backend->ledger->events(s->state, after, visit, payload, err);
}

int metallm__ledger_tops(struct metallm__store *s, struct metallm__ledger_tops *out,
                         metallm_error *err)
{
    return s->backend->ledger->tops(s->state, out, err);
}

int metallm__ledger_put_snapshot(struct metallm__store *s, const char *router, int64_t seq,
                                 const void *bytes, size_t len, metallm_error *err)
{
    return s->backend->ledger->put_snapshot(s->state, router, seq, bytes, len, err);
}

int metallm__ledger_get_snapshot(struct metallm__store *s, const char *router, int64_t *seq,
                                 struct metallm__buf *out, bool *found, metallm_error *err)
{
    return s->backend->ledger->get_snapshot(s->state, router, seq, out, found, err);
}

int metallm__ledger_prune(struct metallm__store *s, const struct metallm__ledger_prune *p,
                          struct metallm__ledger_pruned *out, metallm_error *err)
{
    return s->backend->ledger->prune(s->state, p, out, err);
}

int metallm__ledger_put_key(struct metallm__store *s, const struct metallm__ledger_key *k,
                            metallm_error *err)
{
    return s->backend->ledger->put_key(s->state, k, err);
}

int metallm__ledger_drop_key(struct metallm__store *s, const char *id, bool *found,
                             metallm_error *err)
{
    return s->backend->ledger->drop_key(s->state, id, found, err);
}

int metallm__ledger_keys(struct metallm__store *s, metallm__ledger_key_visit *visit, void *payload,
                         metallm_error *err)
{
    return s->backend->ledger->keys(s->state, visit, payload, err);
}

int metallm__ledger_add_spend(struct metallm__store *s, const struct metallm__ledger_spend *a,
                              metallm_error *err)
{
    return s->backend->ledger->add_spend(s->state, a, err);
}

int metallm__ledger_spend(struct metallm__store *s, int64_t since_ms,
                          metallm__ledger_spend_visit *visit, void *payload, metallm_error *err)
{
    return s->backend->ledger->spend(s->state, since_ms, visit, payload, err);
}

int metallm__ledger_put_change(struct metallm__store *s, const char *kind, const char *name,
                               const char *json, metallm_error *err)
{
    return s->backend->ledger->put_change(s->state, kind, name, json, err);
}

int metallm__ledger_changes(struct metallm__store *s, metallm__ledger_change_visit *visit,
                            void *payload, metallm_error *err)
{
    return s->backend->ledger->changes(s->state, visit, payload, err);
}
