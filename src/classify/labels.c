/* SPDX-License-Identifier: Apache-2.0
 * labels.c - sets of labels and the normal form; see label.h. */
#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "classify/label_form.h"

static bool is_gap(char c) /* what separates words within a label */
{
    return c == ' ' || c == '_' || c == '-' || (c >= '\t' && c <= '\r');
}

size_t metallm__label_form(struct metallm__span text, char *out)
{
    size_t begin = 0, end = text.n, n = 0;
    while (begin < end && !metallm__is_word_byte(text.p[begin]))
        begin++;
    while (end > begin && !metallm__is_word_byte(text.p[end - 1]))
        end--;
    if (begin == end) { /* marks alone */
        begin = 0, end = text.n;
        while (begin < end &&
               (text.p[begin] == ' ' || (text.p[begin] >= '\t' && text.p[begin] <= '\r')))
            begin++;
        while (end > begin &&
               (text.p[end - 1] == ' ' || (text.p[end - 1] >= '\t' && text.p[end - 1] <= '\r')))
            end--;
        if (end > begin)
            memcpy(out, text.p + begin, end - begin);
        return end - begin;
    }
    for (size_t i = begin; i < end; i++)
        if (!is_gap(text.p[i]))
            out[n++] = metallm__lower(text.p[i]);
        else if (out[n - 1] != ' ')
            out[n++] = ' ';
    return n;
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
