/* SPDX-License-Identifier: Apache-2.0
 * net_file.h - packed weights kept in a file beside the weights: packing and int8's measuring of
 * ranges are done once, and every process maps the same pages read-only. The file carries the
 * SHA-256 of the weights that it was made from and how that file looked (size, time, inode); while
 * it looks the same, the weights are not read through again. A file that is damaged, of another
 * layout, or of other weights is made anew; where none can be written, nothing is kept. */
#ifndef ENCODER_NET_FILE_H
#define ENCODER_NET_FILE_H
#include "encoder/net_internal.h"

METALLM_MUSTCHECK int metallm__weights_look(struct metallm__weights_look *out, const char *path,
                                            metallm_error *err);
METALLM_MUSTCHECK int metallm__weights_sha256(uint8_t out[METALLM__SHA256_BYTES], const char *path,
                                              metallm_error *err);

/* Opens the file of a net whose products know their sizes. *look and sha256 become those that it
 * was made with. METALLM_ENOTFOUND: there is no such file; METALLM_EFORMAT: it does not fit or is
 * damaged. */
METALLM_MUSTCHECK int metallm__net_file_open(struct metallm__net *net, const char *path,
                                             struct metallm__weights_look *look,
                                             uint8_t sha256[METALLM__SHA256_BYTES],
                                             metallm_error *err);
METALLM_MUSTCHECK int metallm__net_file_write(const struct metallm__net *net, const char *path,
                                              const struct metallm__weights_look *look,
                                              const uint8_t sha256[METALLM__SHA256_BYTES],
                                              metallm_error *err);
#endif
