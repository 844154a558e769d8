/* SPDX-License-Identifier: Apache-2.0
 * template.c - compiles a template to pieces of JSON and fills them; see template.h. */
#include "classify/template.h"

#include "base/error.h"
#include "base/json_out.h"
#include "base/mem.h"
#include "base/rng.h"
#include "classify/template_parse.h"

enum piece_kind {
    PIECE_BYTES = 0, /* JSON as it goes out */
    PIECE_TEXT,
    PIECE_CHOICES,
    PIECE_LETTERS,    /* "A, B, C" */
    PIECE_OR_LETTERS, /* "A, B or C" */
    PIECE_COUNT       /* of choices */
};
struct piece {
    enum piece_kind kind;
    size_t begin, end; /* of bytes */
};

struct metallm__template {
    struct metallm__buf bytes;
    struct piece *pieces;
    size_t count, cap;
    bool is_choices;
    uint32_t choices_max;
    unsigned output_tokens;
    uint64_t hash;
};

/* What a section is written with. */
struct writing {
    struct metallm__template *t;
    const struct metallm__template_source *source;
    const struct metallm__template_file *file;
    const struct metallm__template_example *example; /* NULL: the text to be labelled */
    metallm_error *err;
};

static const char plain_template[] =
    "[system]\n"
    "You label texts. Answer with one of these labels, and nothing else: {{labels}}.\n"
    "[ask]\n"
    "{{text}}\n"
    "[reply]\n"
    "{{label}}\n"
    "[user]\n"
    "{{text}}\n";
static const char choice_template[] =
    "[system]\n"
    "Answer with the letter of the right choice, and nothing else: {{or_labels}}.\n"
    "[ask]\n"
    "{{text}}\n"
    "{{choices}}\n"
    "[reply]\n"
    "{{label}}\n"
    "[user]\n"
    "{{text}}\n"
    "{{choices}}\n";

const char *metallm__template_builtin(bool is_choices)
{
    return is_choices ? choice_template : plain_template;
}

/* ---- Bytes of JSON. ---- */

/* The text as it stands within a JSON string. */
static void add_escaped(struct metallm__buf *b, struct metallm__span text)
{
    const size_t at = b->len;
    metallm__json_string(b, text.p, text.n);
    if (b->failed)
        return;
    b->len -= 2;
    memmove(b->data + at, b->data + at + 1, b->len - at);
    b->data[b->len] = '\0';
}

static void add_escaped_text(struct metallm__buf *b, const char *text)
{
    add_escaped(b, metallm__span_of(text));
}

/* Bytes of the template's file: a line end of CR LF is one of LF. */
static void add_lines(struct metallm__buf *b, struct metallm__span lines)
{
    for (size_t at = 0, begin = 0; begin < lines.n; at++)
        if (at == lines.n || (lines.p[at] == '\r' && at + 1 < lines.n && lines.p[at + 1] == '\n')) {
            add_escaped(b, metallm__span(lines.p + begin, at - begin));
            begin = at + 1;
        }
}

static void add_choices(struct metallm__buf *b, const struct metallm__span *choices, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        metallm__buf_printf(b, "%s%c. ", i > 0 ? "\\n" : "", 'A' + (int)i);
        add_escaped(b, choices[i]);
    }
}

/* "a, b, c", or with `last` between the last two: "a, b or c". */
static void add_names(struct metallm__buf *b, const struct metallm__labels *labels, uint32_t count,
                      const char *last)
{
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0)
            metallm__buf_puts(b, i + 1 == count ? last : ", ");
        add_escaped_text(b, metallm__labels_name(labels, i));
    }
}

static void add_letters(struct metallm__buf *b, uint32_t count, const char *last)
{
    for (uint32_t i = 0; i < count; i++)
        metallm__buf_printf(b, "%s%c", i == 0 ? "" : i + 1 == count ? last : ", ", 'A' + (int)i);
}

/* ---- Compiling. ---- */

static int add_piece(struct writing *w, enum piece_kind kind)
{
    struct metallm__template *t = w->t;
    if (metallm__grow((void **)&t->pieces, &t->cap, t->count + 1, sizeof *t->pieces) != 0)
        return metallm__error_nomem(w->err, "a template");
    const size_t begin = t->count > 0 ? t->pieces[t->count - 1].end : 0;
    t->pieces[t->count++] = (struct piece){kind, begin, t->bytes.len};
    return METALLM_OK;
}

/* Ends the bytes so far, then adds what differs from text to text. */
static int add_hole(struct writing *w, enum piece_kind kind)
{
    const int rc = add_piece(w, PIECE_BYTES);
    return rc == METALLM_OK ? add_piece(w, kind) : rc;
}

static int write_section(struct writing *w, enum metallm__template_part part);

static int write_examples(struct writing *w)
{
    int rc = METALLM_OK;
    for (uint32_t i = 0; i < w->source->example_count && rc == METALLM_OK; i++) {
        w->example = &w->source->examples[i];
        rc = write_section(w, METALLM__PART_EXAMPLE);
        metallm__buf_puts(&w->t->bytes, "\\n\\n");
    }
    w->example = NULL;
    return rc;
}

static int write_mark(struct writing *w, enum metallm__template_mark mark)
{
    struct metallm__buf *b = &w->t->bytes;
    const struct metallm__labels *labels = w->source->labels;
    const uint32_t count = metallm__labels_count(labels);
    const struct metallm__template_example *e = w->example;
    const bool is_open = w->source->is_choices && e == NULL; /* known with the question alone */
    switch (mark) {
    case METALLM__MARK_TEXT:
        if (e == NULL)
            return add_hole(w, PIECE_TEXT);
        add_escaped(b, e->text);
        break;
    case METALLM__MARK_LABEL:
        add_escaped_text(b, metallm__labels_name(labels, e->label));
        break;
    case METALLM__MARK_LABELS:
    case METALLM__MARK_OR_LABELS:
        if (is_open)
            return add_hole(w, mark == METALLM__MARK_LABELS ? PIECE_LETTERS : PIECE_OR_LETTERS);
        if (w->source->is_choices)
            add_letters(b, e->choice_count, mark == METALLM__MARK_LABELS ? ", " : " or ");
        else
            add_names(b, labels, count, mark == METALLM__MARK_LABELS ? ", " : " or ");
        break;
    case METALLM__MARK_COUNT:
        if (is_open)
            return add_hole(w, PIECE_COUNT);
        metallm__buf_printf(b, "%u", w->source->is_choices ? e->choice_count : count);
        break;
    case METALLM__MARK_EXAMPLES:
        return write_examples(w);
    case METALLM__MARK_CHOICES:
        if (e == NULL)
            return add_hole(w, PIECE_CHOICES);
        add_choices(b, e->choices, e->choice_count);
        break;
    case METALLM__MARKS:
    case METALLM__MARK_UNKNOWN: /* refused by the parser */
        break;
    }
    return METALLM_OK;
}

static int write_section(struct writing *w, enum metallm__template_part part)
{
    struct metallm__span left = w->file->parts[part].bytes, bytes;
    enum metallm__template_mark mark;
    int rc = METALLM_OK;
    while (rc == METALLM_OK && metallm__template_next(&left, &bytes, &mark)) {
        if (mark == METALLM__MARKS)
            add_lines(&w->t->bytes, bytes);
        else
            rc = write_mark(w, mark);
    }
    return rc;
}

static int write_message(struct writing *w, const char *role, enum metallm__template_part part)
{
    struct metallm__buf *b = &w->t->bytes;
    metallm__buf_printf(b, "%s{\"role\":\"%s\",\"content\":\"", b->len > 0 ? "," : "", role);
    const int rc = write_section(w, part);
    metallm__buf_puts(b, "\"}");
    return rc;
}

static int write_all(struct writing *w)
{
    const struct metallm__template_section *parts = w->file->parts;
    int rc = METALLM_OK;
    if (parts[METALLM__PART_SYSTEM].bytes.n > 0)
        rc = write_message(w, "system", METALLM__PART_SYSTEM);
    const uint32_t turns = parts[METALLM__PART_ASK].line != 0 ? w->source->example_count : 0;
    for (uint32_t i = 0; i < turns && rc == METALLM_OK; i++) {
        w->example = &w->source->examples[i];
        rc = write_message(w, "user", METALLM__PART_ASK);
        if (rc == METALLM_OK)
            rc = write_message(w, "assistant", METALLM__PART_REPLY);
    }
    w->example = NULL;
    if (rc == METALLM_OK)
        rc = write_message(w, "user", METALLM__PART_USER);
    if (rc == METALLM_OK)
        rc = add_piece(w, PIECE_BYTES);
    return rc == METALLM_OK ? metallm__buf_check(&w->t->bytes, w->err) : rc;
}

static int check_examples(const struct metallm__template_source *s,
                          const struct metallm__template_file *f, metallm_error *err)
{
    if (s->example_count > METALLM__TEMPLATE_EXAMPLES_MAX)
        return metallm__error_set(err, METALLM_ELIMIT, "%u examples: at most %u", s->example_count,
                                  METALLM__TEMPLATE_EXAMPLES_MAX);
    if (s->example_count > 0 && f->parts[METALLM__PART_EXAMPLE].line == 0 &&
        f->parts[METALLM__PART_ASK].line == 0)
        return metallm__error_set(err, METALLM_EINVAL, "the template has no place for examples");
    for (uint32_t i = 0; i < s->example_count; i++) {
        const struct metallm__template_example *e = &s->examples[i];
        const uint32_t names = metallm__labels_count(s->labels),
                       labels = s->is_choices ? e->choice_count : names;
        if (s->is_choices && (labels < METALLM__CHOICES_MIN || labels > names))
            return metallm__error_set(err, METALLM_EINVAL, "example %u has %u choices", i + 1,
                                      e->choice_count);
        if (e->label >= labels || e->text.n == 0)
            return metallm__error_set(err, METALLM_EINVAL, "example %u has no %s", i + 1,
                                      e->text.n == 0 ? "text" : "label");
    }
    return METALLM_OK;
}

/* A label takes about a token for three bytes; four more leave room for a quote or a word before
 * it. */
static unsigned output_tokens_of(const struct metallm__template_source *s)
{
    return s->output_tokens > 0 ? s->output_tokens
                                : (unsigned)metallm__labels_longest(s->labels) / 3 + 5;
}

static void hash(struct metallm__template *t)
{
    uint64_t h = metallm__hash_bytes(t->bytes.data, t->bytes.len, t->output_tokens);
    for (size_t i = 0; i < t->count; i++) {
        const uint64_t piece[] = {(uint64_t)t->pieces[i].kind, t->pieces[i].end};
        h = metallm__hash_bytes(piece, sizeof piece, h);
    }
    t->hash = h;
}

static int compile(struct metallm__template *t, const struct metallm__template_source *source,
                   metallm_error *err)
{
    struct metallm__span file = source->file;
    struct metallm__template_file parsed;
    if (file.n == 0)
        file = metallm__span_of(metallm__template_builtin(source->is_choices));
    if (file.n > METALLM__TEMPLATE_BYTES_MAX)
        return metallm__error_set(err, METALLM_ELIMIT, "'%s': a template has at most %zu bytes",
                                  source->path != NULL ? source->path : "template",
                                  METALLM__TEMPLATE_BYTES_MAX);
    if (source->output_tokens > METALLM__TEMPLATE_OUTPUT_MAX)
        return metallm__error_set(err, METALLM_EINVAL, "%u output tokens: at most %u",
                                  source->output_tokens, METALLM__TEMPLATE_OUTPUT_MAX);
    const char *path = source->path != NULL ? source->path : "template";
    int rc = metallm__template_parse(&parsed, path, file, source->is_choices, err);
    if (rc == METALLM_OK)
        rc = check_examples(source, &parsed, err);
    struct writing w = {.t = t, .source = source, .file = &parsed, .err = err};
    return rc == METALLM_OK ? write_all(&w) : rc;
}

int metallm__template_new(struct metallm__template **out,
                          const struct metallm__template_source *source, metallm_error *err)
{
    struct metallm__template *t = metallm__calloc(1, sizeof *t);
    if (t == NULL)
        return metallm__error_nomem(err, "a template");
    metallm__buf_init(&t->bytes, METALLM__TEMPLATE_BODY_MAX);
    t->is_choices = source->is_choices;
    t->choices_max = source->is_choices ? metallm__labels_count(source->labels) : 0;
    t->output_tokens = output_tokens_of(source);
    const int rc = compile(t, source, err);
    if (rc != METALLM_OK) {
        metallm__template_free(t);
        return rc;
    }
    hash(t);
    *out = t;
    return METALLM_OK;
}

void metallm__template_free(struct metallm__template *t)
{
    if (t == NULL)
        return;
    metallm__buf_fini(&t->bytes);
    metallm__free(t->pieces);
    metallm__free(t);
}

unsigned metallm__template_output_tokens(const struct metallm__template *t)
{
    return t->output_tokens;
}

uint64_t metallm__template_hash(const struct metallm__template *t)
{
    return t->hash;
}

/* ---- Filling. ---- */

static int check_fill(const struct metallm__template *t, const struct metallm__template_fill *f,
                      metallm_error *err)
{
    if (f->text.n > METALLM__TEMPLATE_TEXT_MAX)
        return metallm__error_set(err, METALLM_ELIMIT, "a text of %zu bytes: at most %zu",
                                  f->text.n, METALLM__TEMPLATE_TEXT_MAX);
    if (t->is_choices &&
        (f->choice_count < METALLM__CHOICES_MIN || f->choice_count > t->choices_max))
        return metallm__error_set(err, METALLM_EINVAL, "%u choices: there must be %u to %u",
                                  f->choice_count, METALLM__CHOICES_MIN, t->choices_max);
    if (f->logprobs > METALLM__TEMPLATE_LOGPROBS_MAX)
        return metallm__error_set(err, METALLM_EINVAL, "%u log-probabilities: at most %u",
                                  f->logprobs, METALLM__TEMPLATE_LOGPROBS_MAX);
    return METALLM_OK;
}

static void add_hole_of(const struct piece *piece, const struct metallm__template_fill *f,
                        struct metallm__buf *b)
{
    switch (piece->kind) {
    case PIECE_BYTES:
        break;
    case PIECE_TEXT:
        add_escaped(b, f->text);
        break;
    case PIECE_CHOICES:
        add_choices(b, f->choices, f->choice_count);
        break;
    case PIECE_LETTERS:
        add_letters(b, f->choice_count, ", ");
        break;
    case PIECE_OR_LETTERS:
        add_letters(b, f->choice_count, " or ");
        break;
    case PIECE_COUNT:
        metallm__buf_printf(b, "%u", f->choice_count);
        break;
    }
}

int metallm__template_fill(const struct metallm__template *t,
                           const struct metallm__template_fill *fill, struct metallm__buf *body,
                           metallm_error *err)
{
    int rc = check_fill(t, fill, err);
    if (rc != METALLM_OK)
        return rc;
    metallm__buf_clear(body);
    metallm__buf_puts(body, "{\"model\":");
    metallm__json_string(body, fill->model.p, fill->model.n);
    metallm__buf_puts(body, ",\"messages\":[");
    for (size_t i = 0; i < t->count; i++)
        if (t->pieces[i].kind == PIECE_BYTES)
            metallm__buf_add(body, t->bytes.data + t->pieces[i].begin,
                             t->pieces[i].end - t->pieces[i].begin);
        else
            add_hole_of(&t->pieces[i], fill, body);
    metallm__buf_printf(body, "],\"max_tokens\":%u,\"temperature\":0", t->output_tokens);
    if (fill->logprobs > 0)
        metallm__buf_printf(body, ",\"logprobs\":true,\"top_logprobs\":%u", fill->logprobs);
    metallm__buf_puts(body, "}");
    return metallm__buf_check(body, err);
}

int metallm__template_routed(const struct metallm__template_fill *fill, struct metallm__buf *out,
                             metallm_error *err)
{
    metallm__buf_clear(out);
    metallm__buf_add(out, fill->text.p, fill->text.n);
    for (uint32_t i = 0; i < fill->choice_count; i++) {
        metallm__buf_printf(out, "\n%c. ", 'A' + (int)i);
        metallm__buf_add(out, fill->choices[i].p, fill->choices[i].n);
    }
    return metallm__buf_check(out, err);
}
