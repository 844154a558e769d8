/* SPDX-License-Identifier: Apache-2.0
 * template_parse.c - see template_parse.h. */
#include "classify/template_parse.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/error.h"

static const char *const part_names[METALLM__PARTS] = {"system", "example", "ask", "reply", "user"};
static const char *const mark_names[METALLM__MARKS] = {"text",  "label",    "labels", "or_labels",
                                                       "count", "examples", "choices"};

#define MARK(name) (1u << METALLM__MARK_##name)
/* Marks that a section may hold, of all jobs. */
static const unsigned allowed[METALLM__PARTS] = {
    [METALLM__PART_SYSTEM] = MARK(TEXT) | MARK(LABELS) | MARK(OR_LABELS) | MARK(COUNT),
    [METALLM__PART_EXAMPLE] =
        MARK(TEXT) | MARK(LABEL) | MARK(LABELS) | MARK(OR_LABELS) | MARK(COUNT) | MARK(CHOICES),
    [METALLM__PART_ASK] = MARK(TEXT) | MARK(LABELS) | MARK(OR_LABELS) | MARK(COUNT) | MARK(CHOICES),
    [METALLM__PART_REPLY] = MARK(LABEL),
    [METALLM__PART_USER] =
        MARK(TEXT) | MARK(LABELS) | MARK(OR_LABELS) | MARK(COUNT) | MARK(EXAMPLES) | MARK(CHOICES),
};

static struct metallm__span line_of(struct metallm__span file, size_t at) /* with its LF */
{
    const char *end = memchr(file.p + at, '\n', file.n - at);
    return metallm__span(file.p + at, end == NULL ? file.n - at : (size_t)(end - file.p) + 1 - at);
}

static struct metallm__span bare(struct metallm__span line) /* without blanks and line ends */
{
    while (line.n > 0 && (unsigned char)line.p[line.n - 1] <= ' ')
        line.n--;
    return metallm__span_trim(line);
}

/* The section that a header line begins; METALLM__PARTS: it is no header. */
static enum metallm__template_part header(struct metallm__span line)
{
    const struct metallm__span b = bare(line);
    if (b.n < 3 || b.p != line.p || b.p[0] != '[' || b.p[b.n - 1] != ']')
        return METALLM__PARTS;
    int part = 0;
    while (part < METALLM__PARTS &&
           !metallm__span_is(metallm__span(b.p + 1, b.n - 2), part_names[part]))
        part++;
    return (enum metallm__template_part)part;
}

static void drop_blank_lines(struct metallm__template_section *section)
{
    struct metallm__span *s = &section->bytes;
    section->first = section->line + 1;
    while (s->n > 0) {
        const struct metallm__span first = line_of(*s, 0);
        if (bare(first).n > 0)
            break;
        s->p += first.n, s->n -= first.n;
        section->first++;
    }
    while (s->n > 0 && (unsigned char)s->p[s->n - 1] <= ' ')
        s->n--;
}

/* A file that is being read. */
struct parsing {
    const char *path;
    bool is_choices;
    metallm_error *err;
    struct metallm__template_file file;
};

static int refuse(const struct parsing *p, uint32_t line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int refuse(const struct parsing *p, uint32_t line, const char *format, ...)
{
    char why[160];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    return metallm__error_set(p->err, METALLM_EFORMAT, "%s:%u: %s", p->path, line, why);
}

static int split(struct parsing *p, struct metallm__span file)
{
    struct metallm__template_section *open = NULL;
    uint32_t number = 0;
    for (size_t at = 0; at < file.n;) {
        const struct metallm__span line = line_of(file, at), text = bare(line);
        const enum metallm__template_part part = header(line);
        number++;
        at += line.n;
        if (part != METALLM__PARTS) {
            open = &p->file.parts[part];
            if (open->line != 0)
                return refuse(p, number, "a second [%s]", part_names[part]);
            open->line = number;
            open->bytes = metallm__span(file.p + at, 0);
        } else if (open != NULL) {
            open->bytes.n += line.n;
        } else if (text.n > 0 && text.p[0] != '#') {
            return refuse(p, number, "'%.*s' stands before the first section",
                          text.n < 40 ? (int)text.n : 40, text.p);
        }
    }
    for (int i = 0; i < METALLM__PARTS; i++)
        drop_blank_lines(&p->file.parts[i]);
    return METALLM_OK;
}

/* A mark at the front of s: its length with braces, 0: there is none. */
static size_t mark_at(struct metallm__span s, enum metallm__template_mark *mark)
{
    size_t n = 2;
    if (s.n < 5 || s.p[0] != '{' || s.p[1] != '{')
        return 0;
    while (n < s.n && ((s.p[n] >= 'a' && s.p[n] <= 'z') || s.p[n] == '_'))
        n++;
    if (n == 2 || s.n - n < 2 || s.p[n] != '}' || s.p[n + 1] != '}')
        return 0;
    int m = 0;
    while (m < METALLM__MARKS && !metallm__span_is(metallm__span(s.p + 2, n - 2), mark_names[m]))
        m++;
    *mark = m < METALLM__MARKS ? (enum metallm__template_mark)m : METALLM__MARK_UNKNOWN;
    return n + 2;
}

bool metallm__template_next(struct metallm__span *left, struct metallm__span *bytes,
                            enum metallm__template_mark *mark)
{
    *mark = METALLM__MARKS;
    if (left->n == 0)
        return false;
    size_t n = mark_at(*left, mark);
    if (n == 0) {
        enum metallm__template_mark unused;
        do
            n++;
        while (n < left->n && mark_at(metallm__span(left->p + n, left->n - n), &unused) == 0);
    }
    *bytes = metallm__span(left->p, n);
    left->p += n, left->n -= n;
    return true;
}

static uint32_t line_number(const struct metallm__template_section *s, const char *at)
{
    uint32_t line = s->first;
    for (const char *p = s->bytes.p; p < at; p++)
        line += *p == '\n';
    return line;
}

static int collect_marks(struct parsing *p, enum metallm__template_part part)
{
    struct metallm__template_section *s = &p->file.parts[part];
    struct metallm__span left = s->bytes, bytes;
    enum metallm__template_mark mark;
    while (metallm__template_next(&left, &bytes, &mark)) {
        if (mark == METALLM__MARKS)
            continue;
        if (mark == METALLM__MARK_UNKNOWN)
            return refuse(p, line_number(s, bytes.p), "'%.*s' is no mark",
                          bytes.n < 60 ? (int)bytes.n : 60, bytes.p);
        const bool is_allowed = allowed[part] >> mark & 1u;
        if (!is_allowed || (mark == METALLM__MARK_CHOICES && !p->is_choices))
            return refuse(p, line_number(s, bytes.p), "{{%s}} has no meaning in [%s]%s",
                          mark_names[mark], part_names[part], is_allowed ? " without choices" : "");
        s->marks |= 1u << mark;
    }
    return METALLM_OK;
}

static const struct {
    enum metallm__template_part part;
    enum metallm__template_mark mark;
    bool is_of_choices;
} needs[] = {{METALLM__PART_USER, METALLM__MARK_TEXT, false},
             {METALLM__PART_USER, METALLM__MARK_CHOICES, true},
             {METALLM__PART_EXAMPLE, METALLM__MARK_TEXT, false},
             {METALLM__PART_EXAMPLE, METALLM__MARK_LABEL, false},
             {METALLM__PART_ASK, METALLM__MARK_TEXT, false},
             {METALLM__PART_REPLY, METALLM__MARK_LABEL, false}};

static int check(const struct parsing *p)
{
    const struct metallm__template_section *user = &p->file.parts[METALLM__PART_USER],
                                           *example = &p->file.parts[METALLM__PART_EXAMPLE],
                                           *ask = &p->file.parts[METALLM__PART_ASK],
                                           *reply = &p->file.parts[METALLM__PART_REPLY];
    const bool has_place = user->marks & MARK(EXAMPLES);
    if (user->line == 0)
        return refuse(p, 1, "there is no [user]");
    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++) {
        const struct metallm__template_section *s = &p->file.parts[needs[i].part];
        if (s->line != 0 && (p->is_choices || !needs[i].is_of_choices) &&
            !(s->marks >> needs[i].mark & 1u))
            return refuse(p, s->line, "[%s] has no {{%s}}", part_names[needs[i].part],
                          mark_names[needs[i].mark]);
    }
    if (has_place && example->line == 0)
        return refuse(p, user->line, "{{examples}} needs a section [example]");
    if (!has_place && example->line != 0)
        return refuse(p, example->line, "[example] needs {{examples}} in [user]");
    if ((ask->line == 0) != (reply->line == 0))
        return refuse(p, ask->line + reply->line, "[ask] and [reply] go together");
    if (has_place && ask->line != 0)
        return refuse(p, ask->line, "examples stand in [example] or in [ask] and [reply]");
    return METALLM_OK;
}

int metallm__template_parse(struct metallm__template_file *out, const char *path,
                            struct metallm__span file, bool is_choices, metallm_error *err)
{
    struct parsing p = {.path = path, .is_choices = is_choices, .err = err};
    int rc = split(&p, file);
    for (int i = 0; i < METALLM__PARTS && rc == METALLM_OK; i++)
        rc = collect_marks(&p, (enum metallm__template_part)i);
    if (rc == METALLM_OK)
        rc = check(&p);
    if (rc == METALLM_OK)
        *out = p.file;
    return rc;
}
