/* SPDX-License-Identifier: Apache-2.0
 * label.c - which label an answer's text says, and the answer as a whole; see label.h. One pass
 * over the text notes every place where a label stands, and what is around it. */
#include "classify/label.h"

#include <math.h>

#include "base/error.h"
#include "base/mem.h"
#include "classify/label_form.h"

#define CUE_BYTES 64u /* how far before a label a word such as "answer" is looked for */

static const char *const how_names[METALLM__LABEL_HOWS] = {
    [METALLM__LABEL_UNMAPPED] = "unmapped", [METALLM__LABEL_EMPTY] = "empty",
    [METALLM__LABEL_DAMAGED] = "damaged",   [METALLM__LABEL_EXACT] = "exact",
    [METALLM__LABEL_NORMAL] = "normal",     [METALLM__LABEL_LED] = "led",
    [METALLM__LABEL_MARKED] = "marked",     [METALLM__LABEL_SENTENCE] = "sentence",
    [METALLM__LABEL_CUT] = "cut",           [METALLM__LABEL_CHOICE] = "choice",
    [METALLM__LABEL_LOGPROBS] = "logprobs"};

const char *metallm__label_how_name(enum metallm__label_how how)
{
    METALLM_REQUIRE(how >= 0 && how < METALLM__LABEL_HOWS);
    return how_names[how];
}

/* One label out of those seen: none, the same again, or several. */
struct only {
    uint32_t label;
    bool is_many;
};
static void only_see(struct only *o, uint32_t label)
{
    if (o->label == METALLM__LABEL_NONE)
        o->label = label;
    else if (o->label != label)
        o->is_many = true;
}
static bool only_one(const struct only *o)
{
    return o->label != METALLM__LABEL_NONE && !o->is_many;
}

struct scan {
    const struct metallm__label_ask *ask;
    struct metallm__span text;
    size_t line_end;   /* of the first line that says anything */
    uint32_t led;      /* label that the text begins with */
    struct only first; /* labels in the first line */
    uint32_t cued;     /* the last one behind "answer: ", "label is " and the like */
    struct only mild;  /* quoted, bold, or behind a colon */
    struct only any;
};

static struct metallm__span trim(struct metallm__span s)
{
    while (s.n > 0 && (unsigned char)s.p[s.n - 1] <= ' ')
        s.n--;
    while (s.n > 0 && (unsigned char)s.p[0] <= ' ')
        s.p++, s.n--;
    return s;
}

static bool is_word_at(struct metallm__span text, size_t at)
{
    return at < text.n && metallm__mark_first(metallm__span(text.p + at, text.n - at)) == 0 &&
           text.p[at] != '#' && text.p[at] != '=' && text.p[at] != '/';
}

static bool is_word_before(struct metallm__span text, size_t at)
{
    const struct metallm__span s = {text.p, at};
    return at > 0 && metallm__mark_last(s) == 0 && text.p[at - 1] != '#' && text.p[at - 1] != '=' &&
           text.p[at - 1] != '/';
}

/* Scripts that put no blanks between words (U+3000 on) have no word boundaries to look for. */
static bool is_unspaced(struct metallm__span form)
{
    return (unsigned char)form.p[0] >= 0xe3;
}

/* The longest label at this place as a whole word; METALLM__LABEL_NONE: none. */
static uint32_t label_here(const struct scan *s, size_t at, size_t *len)
{
    const uint32_t count = metallm__label_open(s->ask);
    const struct metallm__span rest = {s->text.p + at, s->text.n - at};
    uint32_t best = METALLM__LABEL_NONE;
    for (uint32_t i = 0; i < count; i++) {
        const struct metallm__span form = s->ask->labels->items[i].form;
        if (form.p[0] != metallm__lower(rest.p[0]))
            continue;
        const size_t n = metallm__label_at(rest, form);
        if (n == 0 || (best != METALLM__LABEL_NONE && n <= *len))
            continue;
        if (!is_unspaced(form) && (is_word_at(s->text, at + n) || is_word_before(s->text, at)))
            continue;
        best = i;
        *len = n;
    }
    return best;
}

/* The word that ends before `at`, without marks between; *at becomes its beginning. Stops at a line
 * end. */
static struct metallm__span word_before(struct metallm__span text, size_t *at)
{
    size_t end = *at;
    while (end > 0 && text.p[end - 1] != '\n' && !is_word_before(text, end))
        end--;
    size_t begin = end;
    while (begin > 0 && (is_word_before(text, begin) || text.p[begin - 1] == '\''))
        begin--;
    *at = begin;
    return metallm__span(text.p + begin, end - begin);
}

static bool is_one_of(struct metallm__span word, const char *const *list)
{
    for (; *list != NULL; list++)
        if (metallm__span_is_nocase(word, *list))
            return true;
    return false;
}

static bool is_negated(const struct scan *s, size_t at)
{
    static const char *const articles[] = {"a", "an", "the", NULL};
    static const char *const nots[] = {"not",     "no",    "neither", "nor",
                                       "without", "never", "cannot",  NULL};
    struct metallm__span word = word_before(s->text, &at);
    if (is_one_of(word, articles))
        word = word_before(s->text, &at);
    if (word.n >= 3 && metallm__span_is_nocase(metallm__span(word.p + word.n - 3, 3), "n't"))
        return true;
    return is_one_of(word, nots) &&
           metallm__labels_find(s->ask->labels, word) == METALLM__LABEL_NONE;
}

/* Whether a word that announces an answer stands shortly before, in the same line. */
static bool has_cue(const struct scan *s, size_t at)
{
    static const char *const cues[] = {"answer",         "label",    "category",   "class",
                                       "classification", "choice",   "option",     "sentiment",
                                       "direction",      "verdict",  "classified", "labeled",
                                       "labelled",       "category", NULL};
    const size_t least = at > CUE_BYTES ? at - CUE_BYTES : 0;
    while (at > least) {
        const struct metallm__span word = word_before(s->text, &at);
        if (word.n == 0)
            return false;
        if (is_one_of(word, cues))
            return true;
    }
    return false;
}

/* How a label is pointed to. */
struct pointed {
    bool by_colon; /* ": ", "= ", "-> " before it */
    bool by_word;  /* "is", "be", "as", a cue */
    bool by_quote; /* the same mark on both sides: quotes, bold, code, brackets */
};

static struct pointed pointed_at(const struct scan *s, size_t begin, size_t end)
{
    static const char *const links[] = {"is",     "be",     "as",        "was",    "answer",
                                        "label",  "choose", "category",  "option", "class",
                                        "choice", "pick",   "therefore", NULL};
    static const char *const articles[] = {"a", "an", "the", NULL};
    const struct metallm__span text = s->text;
    struct pointed p = {0};
    size_t at = begin;
    while (at > 0 && text.p[at - 1] != '\n' && !is_word_before(text, at)) {
        at--;
        p.by_colon = p.by_colon || strchr(":=", text.p[at]) != NULL ||
                     (text.p[at] == '>' && at > 0 && text.p[at - 1] == '-');
    }
    struct metallm__span word = word_before(text, &at);
    if (is_one_of(word, articles))
        word = word_before(text, &at);
    p.by_word = is_one_of(word, links);
    const char before = begin > 0 ? text.p[begin - 1] : ' ',
               after = end < text.n ? text.p[end] : ' ';
    p.by_quote = (before == after && strchr("\"'*`_", before) != NULL) ||
                 (before == '(' && after == ')') || (before == '[' && after == ']') ||
                 (before == '{' && after == '}') ||
                 ((unsigned char)before >= 0x80 && (unsigned char)after >= 0x80);
    return p;
}

/* "A dog" and "I think" begin with words, not with choices. */
static bool is_plain_word(const struct scan *s, size_t at, size_t len)
{
    const char c = s->text.p[at];
    if (len != 1 || s->ask->choice_count == 0)
        return false;
    return c < 'A' || c > 'Z' ||
           ((c == 'A' || c == 'I') && at + 2 < s->text.n && s->text.p[at + 1] == ' ' &&
            s->text.p[at + 2] >= 'a' && s->text.p[at + 2] <= 'z');
}

static void see(struct scan *s, uint32_t label, size_t at, size_t len)
{
    const struct pointed p = pointed_at(s, at, at + len);
    if (is_negated(s, at))
        return;
    if ((p.by_colon || p.by_word) && has_cue(s, at))
        s->cued = label;
    if (is_plain_word(s, at, len))
        return;
    if (p.by_colon || p.by_quote)
        only_see(&s->mild, label);
    if (at < s->line_end)
        only_see(&s->first, label);
    if (metallm__label_core(metallm__span(s->text.p, at + len)).n == len)
        s->led = label;
    only_see(&s->any, label);
}

static void scan(struct scan *s)
{
    const char *end = memchr(s->text.p, '\n', s->text.n);
    s->line_end = end == NULL ? s->text.n : (size_t)(end - s->text.p);
    for (size_t at = 0; at < s->text.n;) {
        size_t len = 1;
        const uint32_t label = label_here(s, at, &len);
        if (label != METALLM__LABEL_NONE)
            see(s, label, at, len);
        at += len;
    }
}

/* ---- Steps of label.h that need no scan. ---- */

static uint32_t find_exact(const struct metallm__label_ask *ask, struct metallm__span text)
{
    for (uint32_t i = 0; i < metallm__label_open(ask); i++)
        if (metallm__span_is(text, ask->labels->items[i].name))
            return i;
    return METALLM__LABEL_NONE;
}

/* The whole text is the beginning of one label alone, two bytes at least. */
static uint32_t find_cut(const struct metallm__label_ask *ask, struct metallm__span text)
{
    char form[METALLM__LABEL_BYTES_MAX];
    struct only found = {.label = METALLM__LABEL_NONE};
    if (text.n > sizeof form)
        return METALLM__LABEL_NONE;
    const size_t n = metallm__label_form(text, form);
    for (uint32_t i = 0; n >= 2 && i < metallm__label_open(ask); i++) {
        const struct metallm__span whole = ask->labels->items[i].form;
        if (whole.n > n && memcmp(whole.p, form, n) == 0)
            only_see(&found, i);
    }
    return only_one(&found) ? found.label : METALLM__LABEL_NONE;
}

/* Bytes at the front of text that say `what` (no marks at its ends) in some writing; 0: none. */
static size_t front_of(struct metallm__span text, struct metallm__span what)
{
    size_t at = 0;
    for (size_t i = 0; i < what.n;) {
        const size_t begin = at;
        if (!metallm__is_gap(what.p[i])) {
            if (at == text.n || metallm__lower(text.p[at]) != metallm__lower(what.p[i]))
                return 0;
            at++, i++;
            continue;
        }
        while (at < text.n && metallm__is_gap(text.p[at]))
            at++;
        while (i < what.n && metallm__is_gap(what.p[i]))
            i++;
        if (at == begin)
            return 0;
    }
    return at;
}

/* The choice whose text the answer is; where none, the one that it alone holds, in any case. */
static uint32_t find_choice(const struct metallm__label_ask *ask, struct metallm__span text,
                            bool is_whole)
{
    struct only found = {.label = METALLM__LABEL_NONE};
    const struct metallm__span core = metallm__label_core(text);
    for (uint32_t i = 0; i < metallm__label_open(ask) && ask->choice_count > 0; i++) {
        const struct metallm__span what = metallm__label_core(ask->choices[i]);
        bool holds = what.n > 0 && front_of(core, what) == core.n;
        for (size_t at = 0; !is_whole && !holds && what.n > 0 && at < text.n; at++) {
            const size_t n = front_of(metallm__span(text.p + at, text.n - at), what);
            holds = n > 0 && !is_word_before(text, at) && !is_word_at(text, at + n);
        }
        if (holds)
            only_see(&found, i);
    }
    return only_one(&found) ? found.label : METALLM__LABEL_NONE;
}

/* What stands behind the last "</think>": reasoning is no answer. */
static struct metallm__span behind_thoughts(struct metallm__span text)
{
    static const char mark[] = "</think>";
    for (size_t at = text.n; at-- > 0;)
        if (text.n - at >= sizeof mark - 1 && memcmp(text.p + at, mark, sizeof mark - 1) == 0)
            return metallm__span(text.p + at + sizeof mark - 1, text.n - at - (sizeof mark - 1));
    return text;
}

static bool settle(struct metallm__label_read *out, uint32_t label, enum metallm__label_how how)
{
    if (label == METALLM__LABEL_NONE)
        return false;
    out->label = label;
    out->how = how;
    return true;
}

static bool read_scanned(const struct metallm__label_ask *ask, struct metallm__span text,
                         struct metallm__label_read *out)
{
    struct scan s = {.ask = ask,
                     .text = text,
                     .led = METALLM__LABEL_NONE,
                     .first = {.label = METALLM__LABEL_NONE},
                     .cued = METALLM__LABEL_NONE,
                     .mild = {.label = METALLM__LABEL_NONE},
                     .any = {.label = METALLM__LABEL_NONE}};
    scan(&s);
    return (only_one(&s.first) && settle(out, s.led, METALLM__LABEL_LED)) ||
           settle(out, s.cued, METALLM__LABEL_MARKED) ||
           (only_one(&s.mild) && settle(out, s.mild.label, METALLM__LABEL_MARKED)) ||
           (only_one(&s.any) && settle(out, s.any.label, METALLM__LABEL_SENTENCE));
}

void metallm__label_read_text(const struct metallm__label_ask *ask, struct metallm__span text,
                              struct metallm__label_read *out)
{
    char form[METALLM__LABEL_BYTES_MAX + 64];
    *out = (struct metallm__label_read){
        .label = METALLM__LABEL_NONE, .confidence = NAN, .mass = NAN, .how = METALLM__LABEL_EMPTY};
    text = trim(behind_thoughts(text));
    if (text.n > METALLM__LABEL_TEXT_BYTES)
        text.n = METALLM__LABEL_TEXT_BYTES;
    if (text.n == 0)
        return;
    out->how = METALLM__LABEL_UNMAPPED;
    if (settle(out, find_exact(ask, text), METALLM__LABEL_EXACT))
        return;
    const uint32_t normal =
        text.n <= sizeof form ? metallm__labels_find(ask->labels, text) : METALLM__LABEL_NONE;
    if (normal < metallm__label_open(ask)) {
        settle(out, normal, METALLM__LABEL_NORMAL);
        return;
    }
    if (settle(out, find_choice(ask, text, true), METALLM__LABEL_CHOICE) ||
        read_scanned(ask, text, out) || settle(out, find_cut(ask, text), METALLM__LABEL_CUT))
        return;
    settle(out, find_choice(ask, text, false), METALLM__LABEL_CHOICE);
}

/* ---- The answer as a whole. ---- */

static void weigh(const struct metallm__label_ask *ask, yyjson_val *choice,
                  struct metallm__label_read *out)
{
    uint32_t likeliest = METALLM__LABEL_NONE;
    double confidence = NAN;
    metallm__label_probs(ask, choice, out, &likeliest, &confidence);
    if (likeliest == METALLM__LABEL_NONE)
        return;
    if (out->label == METALLM__LABEL_NONE ||
        (out->mass >= METALLM__LABEL_MASS_LEAST && out->label != likeliest)) {
        out->is_probs_label = out->label != METALLM__LABEL_NONE;
        out->label = likeliest;
        out->how = METALLM__LABEL_LOGPROBS;
    }
    out->confidence = confidence;
}

int metallm__label_read(const struct metallm__label_ask *ask, struct metallm__label_read *out,
                        metallm_error *err)
{
    yyjson_doc *doc = NULL;
    int rc = ask->body.n <= METALLM__LABEL_ANSWER_BYTES
                 ? metallm__json_read(&doc, ask->body.p, ask->body.n, err)
                 : METALLM_EFORMAT;
    if (rc == METALLM_ENOMEM)
        return rc;
    yyjson_val *choice = yyjson_arr_get_first(yyjson_obj_get(yyjson_doc_get_root(doc), "choices"));
    yyjson_val *message = yyjson_obj_get(choice, "message"),
               *text = yyjson_obj_get(message, "content");
    metallm__label_read_text(
        ask, metallm__span(yyjson_get_str(text), yyjson_is_str(text) ? yyjson_get_len(text) : 0),
        out);
    if (rc != METALLM_OK || !yyjson_is_obj(message))
        out->how = METALLM__LABEL_DAMAGED;
    else
        weigh(ask, choice, out);
    yyjson_doc_free(doc);
    return METALLM_OK;
}
