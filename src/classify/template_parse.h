/* SPDX-License-Identifier: Apache-2.0
 * template_parse.h - sections and marks of a template file, before they become JSON (template.h).
 * Spans point into the file's bytes. */
#ifndef CLASSIFY_TEMPLATE_PARSE_H
#define CLASSIFY_TEMPLATE_PARSE_H
#include "classify/template.h"

enum metallm__template_part {
    METALLM__PART_SYSTEM = 0,
    METALLM__PART_EXAMPLE,
    METALLM__PART_ASK,
    METALLM__PART_REPLY,
    METALLM__PART_USER,
    METALLM__PARTS
};
enum metallm__template_mark {
    METALLM__MARK_TEXT = 0,
    METALLM__MARK_LABEL,
    METALLM__MARK_LABELS,
    METALLM__MARK_OR_LABELS,
    METALLM__MARK_COUNT,
    METALLM__MARK_EXAMPLES,
    METALLM__MARK_CHOICES,
    METALLM__MARKS,       /* none: plain bytes */
    METALLM__MARK_UNKNOWN /* double braces around another word */
};

struct metallm__template_section {
    struct metallm__span bytes; /* without blank lines at both ends */
    uint32_t line;              /* of the section's header; 0: it is not there */
    uint32_t first;             /* line of the first of the bytes */
    unsigned marks;             /* bits 1 << METALLM__MARK_* that stand in it */
};
struct metallm__template_file {
    struct metallm__template_section parts[METALLM__PARTS];
};

/* Reads and checks. METALLM_EFORMAT: "PATH:LINE: ...". */
METALLM_MUSTCHECK int metallm__template_parse(struct metallm__template_file *out, const char *path,
                                              struct metallm__span file, bool is_choices,
                                              metallm_error *err);
/* Takes the next piece of a section's bytes from *left: bytes up to a mark, or a mark. Returns
 * false at the end. *mark is METALLM__MARKS where the piece is plain bytes. */
bool metallm__template_next(struct metallm__span *left, struct metallm__span *bytes,
                            enum metallm__template_mark *mark);
#endif
