/* SPDX-License-Identifier: Apache-2.0
 * read.h - reading one file or a list of files, for the tool and the store. */
#ifndef DATA_READ_H
#define DATA_READ_H
#include "data/files.h"
#include "data/import.h"
#include "metallm/outcomes.h"

/* Appends one file's rows; opts->prices is not applied. responses and report may be NULL. *format
 * is the format's name (static), "costs" for RouterArena's cost file, whose prices fill what is
 * unknown in the whole table, or NULL with METALLM_EFORMAT: of no known format. METALLM_EFORMAT as
 * well for a file that is broken from its beginning, or strict. */
METALLM_MUSTCHECK int metallm__read_file(metallm_outcomes *o, const char *path,
                                         const metallm_read_options *opts,
                                         const struct metallm__response_sink *responses,
                                         metallm_read_report *report, const char **format,
                                         metallm_error *err);
/* The same, but full blocks of queries go to the sink; the rest is left in o. Files whose rows are
 * known by an id, or tell of one model each, are read whole: what belongs together may lie far
 * apart. */
METALLM_MUSTCHECK int metallm__read_blocks(metallm_outcomes *o, const char *path,
                                           const metallm_read_options *opts,
                                           const struct metallm__block_sink *blocks,
                                           metallm_read_report *report, const char **format,
                                           metallm_error *err);
/* Each file of the list, cost files last, then opts->prices. A file of no known format is an error
 * if it is named, else it is told and counted. */
METALLM_MUSTCHECK int metallm__read_files(metallm_outcomes *o, const struct metallm__files *files,
                                          const metallm_read_options *opts,
                                          metallm_read_report *report, metallm_error *err);
/* Fills unknown costs by opts->prices, if there are any; a model without a price is a problem. */
METALLM_MUSTCHECK int metallm__read_prices(metallm_outcomes *o, const metallm_read_options *opts,
                                           metallm_read_report *report, metallm_error *err);
/* Whether the file is a cost file; files that cannot be opened are none. */
METALLM_MUSTCHECK int metallm__is_cost_file(const char *path, bool *is_cost_file,
                                            metallm_error *err);

#endif
