/* SPDX-License-Identifier: Apache-2.0
 * talk_lines.h - talks and saids as text, so that tests compare them at a glance: a line a turn,
 * then the options. What is not said is not told. */
#ifndef SUPPORT_TALK_LINES_H
#define SUPPORT_TALK_LINES_H
#include "wire/talk.h"

struct talk_lines { /* cleared */
    char text[4096];
    size_t len;
};
/* "user: text text=hi;\n max=5 stream". Of the features: those that the record does not show. */
void talk_lines_talk(struct talk_lines *l, const struct metallm__talk *t);
/* " id=i model=m text text=hi; finish=stop in=1 cached=-1 ..." */
void talk_lines_said(struct talk_lines *l, const struct metallm__said *s);

#endif
