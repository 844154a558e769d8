/* SPDX-License-Identifier: Apache-2.0
 * talk_read.c - see talk_read.h. Lists double; what they leave behind stays in the pool. */
#include "wire/talk_read.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"

#define TOKENS_MAX 1000000000000ULL

/* Room for one more element in a list of the pool; false: failed. */
static bool make_room(struct metallm__pool *pool, void **items, size_t count, size_t *room,
                      size_t size, size_t most)
{
    if (count < *room)
        return true;
    size_t wanted = *room == 0 ? 4 : *room * 2;
    if (count >= most)
        pool->failed = pool->is_full = true;
    void *more = metallm__pool_take(pool, wanted, size);
    if (more == NULL)
        return false;
    if (count > 0)
        memcpy(more, *items, count * size);
    *items = more;
    *room = wanted;
    return true;
}

struct metallm__part *metallm__part_add(struct metallm__part_list *l, enum metallm__part_kind kind)
{
    void *items = l->items;
    if (!make_room(l->pool, &items, l->count, &l->room, sizeof *l->items, METALLM__TALK_PARTS_MAX))
        return NULL;
    l->items = items;
    struct metallm__part *part = &l->items[l->count++];
    *part = (struct metallm__part){.kind = kind};
    return part;
}

void metallm__turn_end(struct metallm__turn_list *l)
{
    if (!l->is_open)
        return;
    struct metallm__turn *turn = &l->items[l->count - 1];
    turn->parts = l->parts.items;
    turn->part_count = l->parts.count;
    l->is_open = false;
}

bool metallm__turn_begin(struct metallm__turn_list *l, enum metallm__role role)
{
    void *items = l->items;
    metallm__turn_end(l);
    if (!make_room(l->pool, &items, l->count, &l->room, sizeof *l->items, METALLM__TALK_TURNS_MAX))
        return false;
    l->items = items;
    l->items[l->count++] = (struct metallm__turn){.role = role};
    l->parts = (struct metallm__part_list){.pool = l->pool};
    l->is_open = true;
    return true;
}

struct metallm__part_list *metallm__turn_parts(struct metallm__turn_list *l,
                                               enum metallm__role role)
{
    bool goes_on = l->is_open && l->items[l->count - 1].role == role;
    return goes_on || metallm__turn_begin(l, role) ? &l->parts : NULL;
}

struct metallm__span metallm__json_kept(struct metallm__pool *pool, yyjson_val *v)
{
    size_t len = 0;
    char *text = v != NULL
                     ? yyjson_val_write_opts(v, YYJSON_WRITE_NOFLAG, &metallm__json_alc, &len, NULL)
                     : NULL;
    if (v != NULL && text == NULL)
        pool->failed = true;
    struct metallm__span kept = metallm__pool_copy(pool, metallm__span(text, len));
    metallm__free(text);
    return kept;
}

bool metallm__data_url(struct metallm__span url, struct metallm__span *media,
                       struct metallm__span *data)
{
    static const char mark[] = ";base64";
    if (url.n < 5 || !metallm__span_is_nocase(metallm__span(url.p, 5), "data:"))
        return false;
    const char *comma = memchr(url.p, ',', url.n);
    size_t head = comma == NULL ? 0 : (size_t)(comma - url.p);
    if (comma == NULL || head < 5 + sizeof mark - 1 ||
        !metallm__span_is_nocase(metallm__span(comma - (sizeof mark - 1), sizeof mark - 1), mark))
        return false;
    *media = metallm__span(url.p + 5, head - 5 - (sizeof mark - 1));
    *data = metallm__span(comma + 1, url.n - head - 1);
    return true;
}

void metallm__part_source(struct metallm__part *part, struct metallm__span url)
{
    if (!metallm__data_url(url, &part->media, &part->data))
        part->url = url;
}

struct metallm__span metallm__json_texts(struct metallm__pool *pool, yyjson_val *array,
                                         const char *member)
{
    size_t count = yyjson_arr_size(array), bytes = 0;
    if (count == 1)
        return metallm__wire_text(yyjson_obj_get(yyjson_arr_get_first(array), member));
    yyjson_arr_iter i = yyjson_arr_iter_with(array);
    for (yyjson_val *item; (item = yyjson_arr_iter_next(&i)) != NULL;)
        bytes += metallm__wire_text(yyjson_obj_get(item, member)).n + 1;
    char *text = bytes > 0 ? metallm__pool_take(pool, bytes, 1) : NULL;
    if (text == NULL)
        return metallm__span(NULL, 0);
    size_t at = 0;
    i = yyjson_arr_iter_with(array);
    for (yyjson_val *item; (item = yyjson_arr_iter_next(&i)) != NULL;) {
        struct metallm__span s = metallm__wire_text(yyjson_obj_get(item, member));
        if (s.n > 0)
            memcpy(text + at, s.p, s.n);
        at += s.n;
        text[at++] = '\n';
    }
    return metallm__span(text, at - 1);
}

bool metallm__json_real(yyjson_val *v, double *out)
{
    if (yyjson_is_raw(v)) {
        char text[64];
        size_t n = yyjson_get_len(v);
        if (n == 0 || n >= sizeof text)
            return false;
        memcpy(text, yyjson_get_raw(v), n);
        text[n] = '\0';
        *out = strtod(text, NULL);
        return true;
    }
    if (!yyjson_is_num(v))
        return false;
    *out = yyjson_get_num(v);
    return true;
}

bool metallm__json_count(yyjson_val *v, uint64_t most, uint64_t *out)
{
    uint64_t value = 0;
    if (yyjson_is_raw(v)) {
        if (!metallm__span_u64(metallm__span(yyjson_get_raw(v), yyjson_get_len(v)), &value))
            return false;
    } else if (yyjson_is_uint(v)) {
        value = yyjson_get_uint(v);
    } else {
        return false;
    }
    if (value > most)
        return false;
    *out = value;
    return true;
}

void metallm__json_tokens(yyjson_val *v, int64_t *out)
{
    uint64_t value = 0;
    if (metallm__json_count(v, TOKENS_MAX, &value))
        *out = (int64_t)value;
}

int metallm__talk_wrong(const char **param, const char *member, const char *must,
                        metallm_error *err)
{
    *param = member;
    return metallm__error_set(err, METALLM_EINVAL, "'%s' must be %s", member, must);
}
