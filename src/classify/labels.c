/* SPDX-License-Identifier: Apache-2.0
 * labels.c - sets of labels and the normal form; see label.h. */
#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "classify/label_form.h"

/* General punctuation (U+2000..U+206F: quotes, dashes, dots, thin blanks), no-break blank, angle
 * quotes, CJK comma, full stop and brackets. */
static bool is_wide_mark(const unsigned char *p)
{
    return (p[0] == 0xe2 && (p[1] == 0x80 || p[1] == 0x81)) ||
           (p[0] == 0xe3 && p[1] == 0x80 && p[2] >= 0x80 && p[2] <= 0x91);
}

static bool is_pair_mark(const unsigned char *p)
{
    return p[0] == 0xc2 && (p[1] == 0xa0 || p[1] == 0xab || p[1] == 0xbb);
}

/* Marks that may belong to a label ("c++", "c#", "50%") are none. */
static bool is_mark(unsigned char c)
{
    return c <= ' ' || c == 0x7f || (c < 0x80 && strchr("\"'`*_.,;:!?()[]{}<>~-\\|", c) != NULL);
}

size_t metallm__mark_first(struct metallm__span text)
{
    const unsigned char *p = (const unsigned char *)text.p;
    if (text.n == 0)
        return 0;
    if (is_mark(p[0]) || (p[0] == '#' && text.n > 1)) /* a heading */
        return 1;
    return text.n >= 3 && is_wide_mark(p) ? 3 : text.n >= 2 && is_pair_mark(p) ? 2 : 0;
}

size_t metallm__mark_last(struct metallm__span text)
{
    const unsigned char *end = (const unsigned char *)text.p + text.n;
    if (text.n == 0)
        return 0;
    if (is_mark(end[-1]))
        return 1;
    return text.n >= 3 && is_wide_mark(end - 3) ? 3 : text.n >= 2 && is_pair_mark(end - 2) ? 2 : 0;
}

struct metallm__span metallm__label_core(struct metallm__span text)
{
    for (size_t n; (n = metallm__mark_first(text)) > 0;)
        text.p += n, text.n -= n;
    for (size_t n; (n = metallm__mark_last(text)) > 0;)
        text.n -= n;
    return text;
}

size_t metallm__label_form(struct metallm__span text, char *out)
{
    struct metallm__span core = metallm__label_core(text);
    size_t n = 0;
    if (core.n == 0) { /* marks alone */
        while (text.n > 0 && (unsigned char)text.p[text.n - 1] <= ' ')
            text.n--;
        while (text.n > 0 && (unsigned char)text.p[0] <= ' ')
            text.p++, text.n--;
        if (text.n > 0)
            memcpy(out, text.p, text.n);
        return text.n;
    }
    for (size_t i = 0; i < core.n; i++)
        if (!metallm__is_gap(core.p[i]))
            out[n++] = metallm__lower(core.p[i]);
        else if (out[n - 1] != ' ')
            out[n++] = ' ';
    return n;
}

size_t metallm__label_at(struct metallm__span text, struct metallm__span form)
{
    size_t at = 0;
    for (size_t i = 0; i < form.n; i++) {
        if (form.p[i] != ' ') {
            if (at == text.n || metallm__lower(text.p[at]) != form.p[i])
                return 0;
            at++;
            continue;
        }
        const size_t begin = at;
        while (at < text.n && metallm__is_gap(text.p[at]))
            at++;
        if (at == begin)
            return 0;
    }
    return at;
}

/* Well-formed UTF-8 (RFC 3629) without control characters. */
static bool is_clean(struct metallm__span s)
{
    for (size_t i = 0; i < s.n;) {
        const unsigned char c = (unsigned char)s.p[i];
        const size_t more = c < 0x80                ? 0
                            : c >= 0xc2 && c < 0xe0 ? 1
                            : c >= 0xe0 && c < 0xf0 ? 2
                            : c >= 0xf0 && c < 0xf5 ? 3
                                                    : SIZE_MAX;
        if (c < 0x20 || c == 0x7f || more >= s.n - i)
            return false;
        for (size_t k = 1; k <= more; k++)
            if (((unsigned char)s.p[i + k] & 0xc0) != 0x80)
                return false;
        const unsigned char d = more > 0 ? (unsigned char)s.p[i + 1] : 0;
        if ((c == 0xe0 && d < 0xa0) || (c == 0xed && d >= 0xa0) || (c == 0xf0 && d < 0x90) ||
            (c == 0xf4 && d >= 0x90))
            return false;
        i += more + 1;
    }
    return true;
}

static int add_name(struct metallm__labels *l, struct metallm__span name, metallm_error *err)
{
    const int shown = name.n < 60 ? (int)name.n : 60;
    if (name.n == 0)
        return metallm__error_set(err, METALLM_EINVAL, "label %u is empty", l->count + 1);
    if (name.n > METALLM__LABEL_BYTES_MAX)
        return metallm__error_set(err, METALLM_EINVAL, "label '%.*s...' is longer than %u bytes",
                                  shown, name.p, METALLM__LABEL_BYTES_MAX);
    if (!is_clean(name))
        return metallm__error_set(
            err, METALLM_EINVAL, "label %u is not UTF-8, or has a control character", l->count + 1);
    struct metallm__label_name *item = &l->items[l->count];
    item->name = metallm__strndup(name.p, name.n);
    char *form = metallm__alloc(1, name.n);
    l->count++;
    item->form = metallm__span(form, form == NULL ? 0 : metallm__label_form(name, form));
    if (item->name == NULL || form == NULL)
        return metallm__error_nomem(err, "labels");
    for (uint32_t i = 0; i + 1 < l->count; i++)
        if (metallm__span_eq(l->items[i].form, item->form))
            return metallm__error_set(err, METALLM_EINVAL,
                                      "labels '%.60s' and '%.60s' are the same", l->items[i].name,
                                      item->name);
    l->longest = name.n > l->longest ? name.n : l->longest;
    l->hash = metallm__hash_bytes(name.p, name.n, l->hash);
    return METALLM_OK;
}

int metallm__labels_new(struct metallm__labels **out, const struct metallm__span *names,
                        uint32_t count, metallm_error *err)
{
    if (count < METALLM__LABELS_MIN || count > METALLM__LABELS_MAX)
        return metallm__error_set(err, METALLM_EINVAL, "%u labels: there must be %u to %u", count,
                                  METALLM__LABELS_MIN, METALLM__LABELS_MAX);
    struct metallm__labels *l = metallm__calloc(1, sizeof *l);
    if (l == NULL)
        return metallm__error_nomem(err, "labels");
    l->items = metallm__calloc(count, sizeof *l->items);
    int rc = l->items != NULL ? METALLM_OK : metallm__error_nomem(err, "labels");
    for (uint32_t i = 0; i < count && rc == METALLM_OK; i++)
        rc = add_name(l, names[i], err);
    if (rc != METALLM_OK) {
        metallm__labels_free(l);
        return rc;
    }
    *out = l;
    return METALLM_OK;
}

int metallm__labels_parse(struct metallm__labels **out, const char *list, metallm_error *err)
{
    struct metallm__span names[METALLM__LABELS_MAX];
    uint32_t count = 0;
    for (const char *at = list;; at++) {
        const size_t len = strcspn(at, ",");
        if (count == METALLM__LABELS_MAX)
            return metallm__error_set(err, METALLM_EINVAL, "more than %u labels",
                                      METALLM__LABELS_MAX);
        names[count++] = metallm__span_trim(metallm__span(at, len));
        at += len;
        if (*at == '\0')
            return metallm__labels_new(out, names, count, err);
    }
}

int metallm__labels_letters(struct metallm__labels **out, uint32_t count, metallm_error *err)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    struct metallm__span names[METALLM__CHOICES_MAX];
    if (count < METALLM__CHOICES_MIN || count > METALLM__CHOICES_MAX)
        return metallm__error_set(err, METALLM_EINVAL, "%u choices: there must be %u to %u", count,
                                  METALLM__CHOICES_MIN, METALLM__CHOICES_MAX);
    for (uint32_t i = 0; i < count; i++)
        names[i] = metallm__span(letters + i, 1);
    return metallm__labels_new(out, names, count, err);
}

void metallm__labels_free(struct metallm__labels *l)
{
    if (l == NULL)
        return;
    for (uint32_t i = 0; i < l->count; i++) {
        metallm__free(l->items[i].name);
        metallm__free((char *)(uintptr_t)l->items[i].form.p);
    }
    metallm__free(l->items);
    metallm__free(l);
}

uint32_t metallm__labels_count(const struct metallm__labels *l)
{
    return l->count;
}

const char *metallm__labels_name(const struct metallm__labels *l, uint32_t label)
{
    METALLM_REQUIRE(label < l->count);
    return l->items[label].name;
}

size_t metallm__labels_longest(const struct metallm__labels *l)
{
    return l->longest;
}

uint64_t metallm__labels_hash(const struct metallm__labels *l)
{
    return l->hash;
}

uint32_t metallm__labels_find(const struct metallm__labels *l, struct metallm__span name)
{
    char form[METALLM__LABEL_BYTES_MAX + 64];
    if (name.n > sizeof form)
        return METALLM__LABEL_NONE;
    const struct metallm__span normal = {form, metallm__label_form(name, form)};
    for (uint32_t i = 0; i < l->count; i++)
        if (metallm__span_eq(l->items[i].form, normal))
            return i;
    return METALLM__LABEL_NONE;
}
