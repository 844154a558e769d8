/* SPDX-License-Identifier: Apache-2.0
 * texts.c - see texts.h: which columns are meant, and what is checked of every text. texts_read.c
 * takes them out of a line. */
#include "classify/texts_inner.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"

int metallm__texts_format_of(const char *name, enum metallm__texts_format *out, metallm_error *err)
{
    static const struct {
        const char *name;
        enum metallm__texts_format format;
    } known[] = {{"auto", METALLM__TEXTS_AUTO},
                 {"csv", METALLM__TEXTS_CSV},
                 {"jsonl", METALLM__TEXTS_JSONL},
                 {"lines", METALLM__TEXTS_LINES}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].name, name) == 0) {
            *out = known[i].format;
            return METALLM_OK;
        }
    return metallm__error_set(err, METALLM_ENOTFOUND,
                              "no format '%.60s' of texts: csv, jsonl, lines or auto", name);
}

int metallm__texts_wrong(const struct metallm__texts *t, size_t line, int code, const char *what,
                         struct metallm__span value, metallm_error *err)
{
    char shown[METALLM__SHOWN_BYTES];
    if (value.bytes == NULL)
        return metallm__error_set(err, code, "%.120s:%zu: %s", t->o.path, line, what);
    return metallm__error_set(err, code, "%.120s:%zu: %s: '%s'", t->o.path, line, what,
                              metallm__text_show(shown, value));
}

static struct metallm__span span_of(struct metallm__text_part p)
{
    return (struct metallm__span){p.p, p.n};
}

/* ---- What holds for every text. ---- */

static int check_part(const struct metallm__texts *t, size_t line, struct metallm__text_part p,
                      size_t most, const char *long_text, metallm_error *err)
{
    if (p.n > most)
        return metallm__texts_wrong(t, line, METALLM_ELIMIT, long_text, span_of(p), err);
    if (!metallm__text_is_utf8(span_of(p)) || (p.n > 0 && memchr(p.p, '\0', p.n) != NULL))
        return metallm__texts_wrong(t, line, METALLM_EFORMAT, "not UTF-8, or a NUL", span_of(p),
                                    err);
    return METALLM_OK;
}

static bool is_blank(struct metallm__text_part p)
{
    return metallm__span_trim(span_of(p)).len == 0;
}

/* Gold among choices: a letter, the text of a choice, or (from JSON) a place from 0. */
static int settle_choice(struct metallm__texts *t, struct metallm__text *x, metallm_error *err)
{
    const struct metallm__span gold = metallm__span_trim(span_of(x->gold));
    unsigned at = x->choice_count;
    if (gold.len == 1 && gold.bytes[0] >= 'A' && gold.bytes[0] < (char)('A' + x->choice_count))
        at = (unsigned)(gold.bytes[0] - 'A');
    else if (t->gold_place >= 0 && t->gold_place < (int)x->choice_count)
        at = (unsigned)t->gold_place;
    for (unsigned i = 0; at == x->choice_count && i < x->choice_count; i++) {
        const struct metallm__span choice = metallm__span_trim(span_of(x->choices[i]));
        if (choice.len == gold.len && memcmp(choice.bytes, gold.bytes, gold.len) == 0)
            at = i;
    }
    if (at == x->choice_count)
        return metallm__texts_wrong(t, x->line, METALLM_EFORMAT, "gold is none of the choices",
                                    gold, err);
    t->letter = (char)('A' + at);
    x->gold = (struct metallm__text_part){&t->letter, 1};
    return METALLM_OK;
}

static int check_choices(struct metallm__texts *t, struct metallm__text *x, metallm_error *err)
{
    while (x->choice_count > 0 && is_blank(x->choices[x->choice_count - 1]))
        x->choice_count--; /* columns of questions with more choices */
    if (x->choice_count < 2)
        return metallm__texts_wrong(t, x->line, METALLM_EFORMAT, "fewer than 2 choices",
                                    (struct metallm__span){0}, err);
    int rc = METALLM_OK;
    for (unsigned i = 0; i < x->choice_count && rc == METALLM_OK; i++) {
        rc = check_part(t, x->line, x->choices[i], METALLM__TEXT_PART_BYTES,
                        "a choice of more than 4096 bytes", err);
        if (rc == METALLM_OK && is_blank(x->choices[i]))
            rc = metallm__texts_wrong(t, x->line, METALLM_EFORMAT, "an empty choice between others",
                                      (struct metallm__span){0}, err);
    }
    return rc == METALLM_OK && x->gold.n > 0 ? settle_choice(t, x, err) : rc;
}

static int check(struct metallm__texts *t, struct metallm__text *x, metallm_error *err)
{
    int rc =
        check_part(t, x->line, x->text, METALLM__TEXT_BYTES_MAX, "a text of more than 1 MiB", err);
    if (rc == METALLM_OK && is_blank(x->text))
        rc = metallm__texts_wrong(t, x->line, METALLM_EFORMAT, "an empty text",
                                  (struct metallm__span){0}, err);
    if (rc == METALLM_OK)
        rc = check_part(t, x->line, x->id, METALLM__TEXT_ID_BYTES_MAX,
                        "an id of more than 256 bytes", err);
    if (rc == METALLM_OK)
        rc = check_part(t, x->line, x->gold, METALLM__TEXT_PART_BYTES,
                        "a gold label of more than 4096 bytes", err);
    if (rc != METALLM_OK)
        return rc;
    const struct metallm__span gold = metallm__span_trim(span_of(x->gold));
    x->gold = (struct metallm__text_part){gold.bytes, gold.len};
    return t->o.choices != NULL ? check_choices(t, x, err) : METALLM_OK;
}

int metallm__texts_next(struct metallm__texts *t, struct metallm__text *out, metallm_error *err)
{
    struct metallm__text x = {.number = t->count};
    t->gold_place = -1;
    int rc = t->format == METALLM__TEXTS_CSV     ? metallm__texts_read_csv(t, &x, err)
             : t->format == METALLM__TEXTS_JSONL ? metallm__texts_read_json(t, &x, err)
                                                 : metallm__texts_read_line(t, &x, err);
    if (rc != METALLM_OK)
        return rc;
    if (x.id.n == 0) {
        int n = snprintf(t->number, sizeof t->number, "%llu", (unsigned long long)t->count + 1);
        x.id = (struct metallm__text_part){t->number, (size_t)n};
    }
    rc = check(t, &x, err);
    if (rc != METALLM_OK)
        return rc;
    t->count++;
    *out = x;
    return METALLM_OK;
}

/* ---- Opening. ---- */

static enum metallm__texts_format guess(const char *path)
{
    struct metallm__span name = metallm__span_of(path);
    if (metallm__span_cut_end(&name, ".csv"))
        return METALLM__TEXTS_CSV;
    if (metallm__span_cut_end(&name, ".jsonl") || metallm__span_cut_end(&name, ".ndjson"))
        return METALLM__TEXTS_JSONL;
    return METALLM__TEXTS_LINES;
}

int metallm__texts_rewind(struct metallm__texts *t, metallm_error *err)
{
    yyjson_doc_free(t->doc);
    t->doc = NULL;
    metallm__csv_fini(&t->csv);
    metallm__csv_init(&t->csv, t->map.bytes, t->map.len);
    t->pos = t->map.len >= 3 && memcmp(t->map.bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    t->line = 1;
    t->count = 0;
    t->passed = 0;
    return t->format == METALLM__TEXTS_CSV ? metallm__texts_read_header(t, err) : METALLM_OK;
}

int metallm__texts_open(struct metallm__texts **out, const struct metallm__texts_options *options,
                        metallm_error *err)
{
    struct metallm__texts *t = metallm__calloc(1, sizeof *t);
    if (t == NULL)
        return metallm__error_nomem(err, "texts");
    t->o = *options;
    t->format = options->format == METALLM__TEXTS_AUTO ? guess(options->path) : options->format;
    int rc = metallm__map_open(&t->map, options->path, err);
    if (rc == METALLM_OK && t->format == METALLM__TEXTS_LINES &&
        (options->text != NULL || options->id != NULL || options->gold != NULL ||
         options->choices != NULL))
        rc = metallm__error_set(err, METALLM_EINVAL,
                                "'%.120s' holds a text a line, without columns: give --format csv "
                                "or jsonl",
                                options->path);
    if (rc == METALLM_OK)
        rc = metallm__texts_rewind(t, err);
    if (rc != METALLM_OK) {
        metallm__texts_close(t);
        return rc;
    }
    *out = t;
    return METALLM_OK;
}

void metallm__texts_close(struct metallm__texts *t)
{
    if (t == NULL)
        return;
    yyjson_doc_free(t->doc);
    metallm__csv_fini(&t->csv);
    metallm__map_close(&t->map);
    metallm__free(t);
}

void metallm__texts_hash(const struct metallm__texts *t, uint8_t out[16])
{
    const uint64_t halves[2] = {metallm__hash_bytes(t->map.bytes, t->map.len, 1),
                                metallm__hash_bytes(t->map.bytes, t->map.len, 2)};
    memcpy(out, halves, 16);
    metallm__map_passed(&t->map, t->map.len);
}
