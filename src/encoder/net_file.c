/* SPDX-License-Identifier: Apache-2.0
 * net_file.c - see net_file.h. The header, then for each product of each layer its int8 parameters
 * and its packed weights, every part at a multiple of 64 bytes. No size is read from the file: all
 * follow from the model's settings, and the digest covers every byte after itself. */
#include "encoder/net_file.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/error.h"

#define MAGIC    "metallm packed 1" /* a new layout of the file is a new number */
#define PRODUCTS 4u                 /* in a layer */

struct header {
    char magic[16];
    uint64_t digest, none; /* digest: of all that follows these two */
    uint64_t layout;       /* of the products: shapes, precision, how they are packed */
    struct metallm__weights_look look;
    uint8_t sha256[METALLM__SHA256_BYTES];
    uint8_t rest[24];
};
#define COVERED offsetof(struct header, layout) /* by the digest, from here on */
_Static_assert(sizeof(struct header) == 128 && COVERED == 32, "whole steps of the digest");

int metallm__weights_look(struct metallm__weights_look *out, const char *path, metallm_error *err)
{
    struct stat s;
    if (stat(path, &s) != 0)
        return metallm__error_set(err, METALLM_ENOTFOUND, "'%s' cannot be found", path);
    *out = (struct metallm__weights_look){.size = (uint64_t)s.st_size,
                                          .mtime_ns = (uint64_t)s.st_mtim.tv_sec * 1000000000u +
                                                      (uint64_t)s.st_mtim.tv_nsec,
                                          .inode = s.st_ino,
                                          .device = s.st_dev};
    return METALLM_OK;
}

int metallm__weights_sha256(uint8_t out[METALLM__SHA256_BYTES], const char *path,
                            metallm_error *err)
{
    struct metallm__map map = {0};
    int rc = metallm__map_open(&map, path, err);
    if (rc == METALLM_OK)
        metallm__sha256(map.bytes, map.len, out);
    metallm__map_close(&map);
    return rc;
}

/* ---- a digest at the speed of memory: four sums of words, each word multiplied in ---- */

struct digest {
    uint64_t lanes[4];
};

static void digest_add(struct digest *d, const void *bytes, size_t len)
{
    const char *at = bytes; /* len is a multiple of 32 */
    for (; len >= 32; len -= 32, at += 32)
        for (int i = 0; i < 4; i++) {
            uint64_t word;
            memcpy(&word, at + 8 * i, sizeof word);
            d->lanes[i] = (d->lanes[i] ^ word) * 0x9fb21c651e98df25u;
            d->lanes[i] ^= d->lanes[i] >> 29;
        }
}

static uint64_t digest_end(const struct digest *d)
{
    uint64_t h = 0x243f6a8885a308d3u;
    for (int i = 0; i < 4; i++) {
        h = (h ^ d->lanes[i]) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    return h;
}

static size_t round_up(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* ---- products ---- */

static struct metallm__product *product_at(const struct metallm__net *net, uint32_t i)
{
    const struct metallm__net_layer *l = &net->layers[i / PRODUCTS];
    const struct metallm__product *all[PRODUCTS] = {&l->qkv, &l->attended, &l->up, &l->down};
    return (struct metallm__product *)(uintptr_t)all[i % PRODUCTS];
}

static uint32_t product_count(const struct metallm__net *net)
{
    return net->bert->config.layers * PRODUCTS;
}

static size_t params_bytes(const struct metallm__net *net, const struct metallm__product *p)
{
    if (net->precision != METALLM__PRECISION_INT8)
        return 0;
    return round_up((2 * (size_t)p->columns + p->inputs) * sizeof *p->params);
}

/* The file's whole size, and a number that tells one layout from another. */
static int survey(const struct metallm__net *net, size_t *size, uint64_t *layout,
                  metallm_error *err)
{
    *size = sizeof(struct header);
    *layout = (uint64_t)net->precision;
    for (uint32_t i = 0; i < product_count(net); i++) {
        const struct metallm__product *p = product_at(net, i);
        struct metallm__gemm_form form;
        int rc = metallm__gemm_form(net->gemm, p->columns, p->inputs, &form, err);
        if (rc != METALLM_OK)
            return rc;
        *size += params_bytes(net, p) + round_up(form.bytes);
        *layout =
            (*layout ^ form.tag ^ p->columns ^ (uint64_t)p->inputs << 32) * 0x9e3779b97f4a7c15u;
        *layout ^= *layout >> 31;
    }
    return METALLM_OK;
}

static int adopt_all(struct metallm__net *net, const char *at, metallm_error *err)
{
    for (uint32_t i = 0; i < product_count(net); i++) {
        struct metallm__product *p = product_at(net, i);
        struct metallm__gemm_form form;
        if (params_bytes(net, p) > 0)
            metallm__product_take_params(p, (const float *)(const void *)at);
        at += params_bytes(net, p);
        int rc = metallm__gemm_form(net->gemm, p->columns, p->inputs, &form, err);
        if (rc == METALLM_OK)
            rc = metallm__gemm_adopt(&p->weights, net->gemm, p->columns, p->inputs, at, err);
        if (rc != METALLM_OK)
            return rc;
        at += round_up(form.bytes);
    }
    return METALLM_OK;
}

int metallm__net_file_open(struct metallm__net *net, const char *path,
                           struct metallm__weights_look *look,
                           uint8_t sha256[METALLM__SHA256_BYTES], metallm_error *err)
{
    struct header h;
    size_t size = 0;
    uint64_t layout = 0;
    struct digest d = {{0}};
    int rc = metallm__map_open(&net->packed, path, err);
    if (rc == METALLM_OK)
        rc = survey(net, &size, &layout, err);
    if (rc != METALLM_OK)
        return rc;
    if (net->packed.len == size)
        memcpy(&h, net->packed.bytes, sizeof h);
    bool fits = net->packed.len == size && memcmp(h.magic, MAGIC, sizeof h.magic) == 0 &&
                h.layout == layout;
    if (fits) {
        digest_add(&d, net->packed.bytes + COVERED, size - COVERED);
        fits = digest_end(&d) == h.digest;
    }
    if (!fits)
        return metallm__error_set(err, METALLM_EFORMAT, "'%s' does not fit or is damaged", path);
    (void)madvise((void *)(uintptr_t)net->packed.bytes, size, MADV_HUGEPAGE); /* a wish */
    *look = h.look;
    memcpy(sha256, h.sha256, sizeof h.sha256);
    return adopt_all(net, net->packed.bytes + sizeof h, err);
}

/* ---- writing ---- */

struct writing {
    FILE *stream;
    struct digest digest;
};

/* Bytes and zeros up to a multiple of 64. */
static void put(struct writing *w, const void *bytes, size_t len)
{
    static const char zeros[64];
    char last[64] = {0};
    size_t whole = len / 64 * 64;
    digest_add(&w->digest, bytes, whole);
    if (w->stream != NULL)
        fwrite(bytes, 1, len, w->stream);
    if (whole == len)
        return;
    memcpy(last, (const char *)bytes + whole, len - whole);
    digest_add(&w->digest, last, sizeof last);
    if (w->stream != NULL)
        fwrite(zeros, 1, whole + 64 - len, w->stream);
}

static void put_all(const struct metallm__net *net, struct writing *w)
{
    for (uint32_t i = 0; i < product_count(net); i++) {
        const struct metallm__product *p = product_at(net, i);
        size_t bytes;
        const void *packed = metallm__gemm_packed(p->weights, &bytes);
        if (net->precision == METALLM__PRECISION_INT8)
            put(w, p->columns8.scale, (2 * (size_t)p->columns + p->inputs) * sizeof(float));
        put(w, packed, bytes);
    }
}

int metallm__net_file_write(const struct metallm__net *net, const char *path,
                            const struct metallm__weights_look *look,
                            const uint8_t sha256[METALLM__SHA256_BYTES], metallm_error *err)
{
    struct header h = {.magic = MAGIC, .look = *look};
    struct metallm__outfile file = {0};
    size_t size;
    memcpy(h.sha256, sha256, sizeof h.sha256);
    int rc = survey(net, &size, &h.layout, err);
    if (rc == METALLM_OK)
        rc = metallm__outfile_open(&file, path, err);
    if (rc == METALLM_OK) {
        struct writing sum = {0}, w = {.stream = file.stream};
        digest_add(&sum.digest, (const char *)&h + COVERED, sizeof h - COVERED);
        put_all(net, &sum);
        h.digest = digest_end(&sum.digest);
        put(&w, &h, sizeof h);
        put_all(net, &w);
        rc = metallm__outfile_commit(&file, err);
    }
    metallm__outfile_abort(&file);
    return rc;
}
