/* SPDX-License-Identifier: Apache-2.0
 * responses.c - OpenAI's Responses as a protocol of upstreams and as a surface of clients.
 */
#include "wire/responses/responses.h"
#include "wire/openai/openai.h"

static const uint8_t verdicts[METALLM__FEATURES] = {
    [METALLM__FEATURE_TEMPERATURE] = METALLM__VERDICT_CARRIED,
    [METALLM__FEATURE_TOP_P] = METALLM__VERDICT_CARRIED,
    [METALLM__FEATURE_TOOLS] = METALLM__VERDICT_CARRIED,
    [METALLM__FEATURE_TOOL_CHOICE_NONE] = METALLM__VERDICT_CARRIED,
    [METALLM__FEATURE_TOOL_CHOICE_ANY] = METALLM__VERDICT_CARRIED,
    [METALLM__FEATURE_TOOL_CHOICE_NAMED] = METALLM__VERDICT_CARRIED,
    [METALLM__FEATURE_PARALLEL_TOOLS_OFF] = METALLM__VERDICT_CARRIED,
    [METALLM__FEATURE_STRICT_TOOLS] = METALLM__VERDICT_CARRIED,
    [METALLM__FEATURE_TOOL_RESULT_IMAGES] = METALLM__VERDICT_CARRIED,
    [METALLM__FEATURE_TOOL_RESULT_ERROR] = METALLM__VERDICT_DROPPED,
    [METALLM__FEATURE_IMAGES] = METALLM__VERDICT_CARRIED,
    [METALLM__FEATURE_IMAGE_URLS] = METALLM__VERDICT_CARRIED,
    [METALLM__FEATURE_IMAGE_DETAIL] = METALLM__VERDICT_CARRIED,
    [METALLM__FEATURE_FILES] = METALLM__VERDICT_CARRIED,
    [METALLM__FEATURE_FILE_URLS] = METALLM__VERDICT_CARRIED,
    [METALLM__FEATURE_FILE_IDS] = METALLM__VERDICT_CARRIED,
    [METALLM__FEATURE_JSON] = METALLM__VERDICT_CARRIED,
    [METALLM__FEATURE_JSON_SCHEMA] = METALLM__VERDICT_CARRIED,
    [METALLM__FEATURE_REASONING_EFFORT] = METALLM__VERDICT_CARRIED,
    [METALLM__FEATURE_REASONING_BUDGET] = METALLM__VERDICT_DROPPED, /* an effort stands for it */
    [METALLM__FEATURE_REASONING_HISTORY] = METALLM__VERDICT_CARRIED,
    [METALLM__FEATURE_REFUSAL_HISTORY] = METALLM__VERDICT_CARRIED,
    [METALLM__FEATURE_SYSTEM_LATE] = METALLM__VERDICT_CARRIED,
    [METALLM__FEATURE_TURN_NAMES] = METALLM__VERDICT_DROPPED,
    [METALLM__FEATURE_CACHE_MARKS] = METALLM__VERDICT_DROPPED,
    [METALLM__FEATURE_USER] = METALLM__VERDICT_CARRIED,
    [METALLM__FEATURE_METADATA] = METALLM__VERDICT_CARRIED,
    [METALLM__FEATURE_STORE] = METALLM__VERDICT_DROPPED,
    [METALLM__FEATURE_SERVICE_TIER] = METALLM__VERDICT_DROPPED,
    [METALLM__FEATURE_VERBOSITY] = METALLM__VERDICT_CARRIED,
};

const struct metallm__wire metallm__wire_openai_responses = {
    .name = METALLM__RESPONSES,
    .native = 1u << METALLM__WIRE_RESPONSES,
    .native_paths = {[METALLM__WIRE_RESPONSES] = "/responses"},
    .verdicts = verdicts,
    .accept = "text/event-stream",
    .is_head_static = true,
    .head_out = metallm__openai_head_out,
    .talk_out = metallm__responses_talk_out,
    .said_in = metallm__responses_said_in,
    .event_in = metallm__responses_event_in,
    .error_in = metallm__openai_error_in,
};

const struct metallm__surface metallm__surface_responses = {
    .name = "responses",
    .talk_in = metallm__responses_talk_in,
    .said_out = metallm__responses_said_out,
    .delta_out = metallm__responses_delta_out,
    .error_out = metallm__wire_error_write,
    .error_event = metallm__responses_error_event,
};
