/* SPDX-License-Identifier: Apache-2.0
 * classify_forecast.h - a dry run's result, for people and as one line of JSON. */
#ifndef CLI_CLASSIFY_FORECAST_H
#define CLI_CLASSIFY_FORECAST_H
#include "classify/run.h"

void cli_classify_forecast_text(const struct metallm__run_forecast *f, struct metallm__buf *out);
void cli_classify_forecast_json(const struct metallm__run_forecast *f, struct metallm__buf *out);
#endif
