/* SPDX-License-Identifier: Apache-2.0
 * surface.c - the list of surfaces by kind of request. */
#include "wire/surface.h"

#include "wire/wire.h"

/* Kinds without a row are told of errors as OpenAI does. */
static const struct metallm__surface *const surfaces[METALLM__WIRE_KINDS] = {
    [METALLM__WIRE_CHAT] = &metallm__surface_chat,
    [METALLM__WIRE_COMPLETION] = &metallm__surface_completion,
    [METALLM__WIRE_EMBEDDING] = &metallm__surface_embedding,
    [METALLM__WIRE_RESPONSES] = &metallm__surface_responses,
    [METALLM__WIRE_MESSAGES] = &metallm__surface_messages,
    [METALLM__WIRE_COUNT] = &metallm__surface_messages,
};

const struct metallm__surface *metallm__surface_of(enum metallm__wire_kind kind)
{
    return surfaces[kind] != NULL ? surfaces[kind] : &metallm__surface_embedding;
}
