/* SPDX-License-Identifier: Apache-2.0
 * request_talk.c - a request as a talk, read by its surface; and what a talk tells of the request
 * where nothing else is read: needs, and the text that it is routed on. */
#include "base/error.h"
#include "wire/request_parts.h"
#include "wire/surface.h"

/* ---- The talk of a request. ---- */

static int read_talk(struct metallm__wire_request *r, const char **param, metallm_error *err)
{
    const struct metallm__surface *surface = metallm__surface_of(r->kind);
    if (surface->talk_in == NULL)
        return metallm__error_set(err, METALLM_ENOTFOUND, "this kind of request has no turns");
    metallm__talk_clear(&r->talk);
    int rc = surface->talk_in(yyjson_doc_get_root(r->doc), &r->pool, &r->talk, param, err);
    if (rc == METALLM_OK)
        rc = metallm__talk_settle(&r->talk, &r->pool, err);
    r->talk.is_stream = r->is_stream;
    r->has_talk = rc == METALLM_OK;
    return rc;
}

int metallm__wire_request_talk(struct metallm__wire_request *r, const struct metallm__talk **out,
                               metallm_error *err)
{
    const char *param = NULL;
    if (!r->has_talk && r->talk_rc == METALLM_OK)
        r->talk_rc = read_talk(r, &param, &r->talk_err);
    if (r->talk_rc != METALLM_OK) {
        if (err != NULL)
            *err = r->talk_err;
        return r->talk_rc;
    }
    *out = &r->talk;
    return METALLM_OK;
}

/* ---- What a talk tells. ---- */

static void need_media(struct metallm__wire_reading *r, enum metallm__part_kind kind)
{
    struct metallm__wire_needs *needs = &r->out->needs;
    if (kind == METALLM__PART_IMAGE) {
        needs->images = true;
        r->tokens += IMAGE_TOKENS;
    } else if (kind == METALLM__PART_AUDIO) {
        needs->audio = true;
        r->tokens += AUDIO_TOKENS;
    } else if (kind == METALLM__PART_FILE) {
        needs->files = true;
        r->tokens += FILE_TOKENS;
    }
}

/* A tool's result is text of the talk, but not what the user asks. */
static size_t count_result(struct metallm__wire_reading *r, const struct metallm__part *result)
{
    size_t bytes = 0;
    for (size_t i = 0; i < result->part_count; i++) {
        const struct metallm__part *p = &result->parts[i];
        need_media(r, p->kind);
        if (p->kind != METALLM__PART_TEXT)
            continue;
        bytes += p->text.n;
        r->tokens += metallm__tokens_estimate(p->text);
    }
    return bytes;
}

/* A turn's text into *text; *bytes more of it that is not the turn's own. false: nothing but
 * results of tools. */
static bool read_turn(struct metallm__wire_reading *r, const struct metallm__turn *turn,
                      struct metallm__wire_piece *text, size_t *bytes)
{
    bool is_own = turn->part_count == 0;
    for (size_t i = 0; i < turn->part_count; i++) {
        const struct metallm__part *p = &turn->parts[i];
        is_own |= p->kind != METALLM__PART_RESULT;
        need_media(r, p->kind);
        if (p->kind == METALLM__PART_RESULT) {
            *bytes += count_result(r, p);
        } else if (p->kind == METALLM__PART_TEXT) {
            metallm__wire_piece_add(r, text, p->text);
            r->tokens += metallm__tokens_estimate(p->text);
        } else if (p->kind == METALLM__PART_CALL) {
            r->tokens += MESSAGE_TOKENS + metallm__tokens_estimate(p->name) +
                         metallm__tokens_estimate(p->text);
        }
    }
    return is_own;
}

static void read_turns(struct metallm__wire_reading *r, const struct metallm__talk *t)
{
    struct metallm__wire_piece last = {0}; /* of any role, for where no user speaks */
    bool is_system_seen = false, is_user_seen = false;
    size_t all = 0;
    for (size_t i = 0; i < t->turn_count; i++) {
        const struct metallm__turn *turn = &t->turns[i];
        struct metallm__wire_piece text = {0};
        bool is_own = read_turn(r, turn, &text, &all);
        bool is_system = turn->role == METALLM__ROLE_SYSTEM;
        r->tokens += MESSAGE_TOKENS;
        all += text.len;
        if (is_system && !is_system_seen) {
            r->system = text;
            is_system_seen = true;
        } else if (turn->role == METALLM__ROLE_USER && is_own) {
            r->user = text;
            is_user_seen = true;
        } else if (text.len > 0 && !is_system) {
            last = text;
        }
    }
    if (!is_user_seen)
        r->user = last;
    r->out->message_count = (unsigned)t->turn_count;
    r->out->rest_bytes = all - r->user.len - r->system.len;
}

static void read_needs(struct metallm__wire_reading *r, const struct metallm__talk *t)
{
    struct metallm__wire_needs *needs = &r->out->needs;
    const uint64_t audio_out = 1ull << METALLM__FEATURE_AUDIO_OUT;
    const uint64_t hosted = 1ull << METALLM__FEATURE_HOSTED_TOOLS;
    needs->tools = t->tool_count > 0 || (t->features & hosted) != 0;
    needs->audio |= (t->features & audio_out) != 0;
    needs->json_schema = t->format == METALLM__FORMAT_SCHEMA;
    needs->json = t->format != METALLM__FORMAT_TEXT;
    needs->output_tokens_max = t->max_tokens;
    for (size_t i = 0; i < t->tool_count; i++)
        r->tokens +=
            (t->tools[i].name.n + t->tools[i].description.n + t->tools[i].schema.n + 40) / 4;
}

int metallm__wire_talk_read(struct metallm__wire_reading *r)
{
    int rc = read_talk(r->out, &r->param, r->err);
    if (rc == METALLM_ENOTFOUND)
        return metallm__error_set(r->err, METALLM_EINVAL, "this kind of request is not known");
    if (rc != METALLM_OK)
        return rc;
    read_needs(r, &r->out->talk);
    read_turns(r, &r->out->talk);
    return METALLM_OK;
}
