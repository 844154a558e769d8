/* SPDX-License-Identifier: Apache-2.0
 * answer_text.h - the text that a client reads in an answer of its surface: of the first choice,
 * without tool calls, reasoning and refusals. For graders; the answer itself passes untouched. */
#ifndef WIRE_ANSWER_TEXT_H
#define WIRE_ANSWER_TEXT_H
#include "wire/request.h"

/* Appends to out. What is no such answer adds nothing. */
void metallm__answer_text_whole(enum metallm__wire_kind kind, struct metallm__span body,
                                struct metallm__buf *out);
/* Of whole events of a stream ("data: {...}" lines). */
void metallm__answer_text_events(enum metallm__wire_kind kind, struct metallm__span events,
                                 struct metallm__buf *out);
#endif
