/* SPDX-License-Identifier: Apache-2.0
 * safetensors.c - see safetensors.h. The reader trusts no number of the header: types, shapes and
 * offsets must agree, and the tensors must cover the data without holes or overlaps. */
#include "base/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

#define LENGTH_BYTES     8u
#define HEADER_BYTES_MAX 100000000u /* the format's own limit */
#define DATA_ALIGN       64u        /* where our data begins: fit for vector loads */
#define RANK_MAX         4u

/* In the order of enum metallm__dtype. */
static const struct {
    const char *name;
    size_t size;
} dtypes[] = {{"F32", 4}, {"F64", 8}, {"I8", 1},  {"U8", 1},  {"I32", 4},
              {"U32", 4}, {"I64", 8}, {"U64", 8}, {"F16", 2}, {"BF16", 2}};
#define DTYPES (sizeof dtypes / sizeof dtypes[0])

struct entry {
    const char *name; /* in the document */
    size_t begin, end;
    struct metallm__tensor tensor;
};

struct metallm__st_file {
    struct metallm__map map;
    bool is_borrowed; /* the map is bytes of the caller's */
    char *path;
    yyjson_doc *header;
    struct entry *entries; /* sorted by name */
    size_t count;
    char prefix[METALLM__ST_PREFIX_BYTES];
};

/* A name with the part's prefix, in room where there is one. NULL: it is too long. */
#define NAME_BYTES 512u
static const char *full_name(const char *prefix, const char *name, char room[NAME_BYTES])
{
    if (prefix[0] == '\0')
        return name;
    int n = snprintf(room, NAME_BYTES, "%s%s", prefix, name);
    return n > 0 && (size_t)n < NAME_BYTES ? room : NULL;
}

static void set_prefix(char out[METALLM__ST_PREFIX_BYTES], const char *prefix)
{
    METALLM_REQUIRE(strlen(prefix) < METALLM__ST_PREFIX_BYTES);
    memcpy(out, prefix, strlen(prefix) + 1);
}

/* ---- reading ---- */

static uint64_t read_u64(const char *bytes)
{
    uint64_t v = 0;
    for (unsigned i = LENGTH_BYTES; i-- > 0;)
        v = v << 8 | (unsigned char)bytes[i];
    return v;
}

/* The number of JSON value v if it is a whole number that fits, else SIZE_MAX. */
static size_t whole(yyjson_val *v)
{
    return yyjson_is_uint(v) && yyjson_get_uint(v) < SIZE_MAX ? (size_t)yyjson_get_uint(v)
                                                              : SIZE_MAX;
}

static bool read_dtype(yyjson_val *v, enum metallm__dtype *out)
{
    for (size_t i = 0; i < DTYPES; i++)
        if (yyjson_equals_str(v, dtypes[i].name)) {
            *out = (enum metallm__dtype)i;
            return true;
        }
    return false;
}

static bool read_shape(yyjson_val *v, struct metallm__tensor *t)
{
    if (!yyjson_is_arr(v) || yyjson_arr_size(v) > RANK_MAX)
        return false;
    t->rank = (uint32_t)yyjson_arr_size(v);
    t->count = 1;
    for (uint32_t i = 0; i < t->rank; i++) {
        t->shape[i] = whole(yyjson_arr_get(v, i));
        if (t->shape[i] == SIZE_MAX || __builtin_mul_overflow(t->count, t->shape[i], &t->count))
            return false;
    }
    return true;
}

/* One member of the header, checked against the size of the data. */
static int read_entry(struct entry *out, const char *name, yyjson_val *v, const char *data,
                      size_t data_bytes, metallm_error *err)
{
    struct entry e = {.name = name};
    size_t bytes;
    if (!read_dtype(yyjson_obj_get(v, "dtype"), &e.tensor.dtype))
        return metallm__error_set(err, METALLM_EFORMAT, "tensor '%s': no known dtype", name);
    if (!read_shape(yyjson_obj_get(v, "shape"), &e.tensor) ||
        __builtin_mul_overflow(e.tensor.count, dtypes[e.tensor.dtype].size, &bytes))
        return metallm__error_set(err, METALLM_EFORMAT,
                                  "tensor '%s': shape is not up to %u sizes that fit", name,
                                  RANK_MAX);
    yyjson_val *offsets = yyjson_obj_get(v, "data_offsets");
    e.begin = whole(yyjson_arr_get(offsets, 0));
    e.end = whole(yyjson_arr_get(offsets, 1));
    if (yyjson_arr_size(offsets) != 2 || e.begin > e.end || e.end > data_bytes)
        return metallm__error_set(err, METALLM_EFORMAT,
                                  "tensor '%s': data_offsets reach outside the %zu bytes of data",
                                  name, data_bytes);
    if (e.end - e.begin != bytes)
        return metallm__error_set(err, METALLM_EFORMAT,
                                  "tensor '%s': %zu bytes of data, its shape needs %zu", name,
                                  e.end - e.begin, bytes);
    e.tensor.data = data + e.begin;
    *out = e;
    return METALLM_OK;
}

static int check_meta(yyjson_val *meta, metallm_error *err)
{
    if (!yyjson_is_obj(meta))
        return metallm__error_set(err, METALLM_EFORMAT, "__metadata__ is not an object");
    yyjson_obj_iter it = yyjson_obj_iter_with(meta);
    yyjson_val *key;
    while ((key = yyjson_obj_iter_next(&it)) != NULL) {
        yyjson_val *text = yyjson_obj_iter_get_val(key);
        if (!yyjson_is_str(text) || strlen(yyjson_get_str(text)) != yyjson_get_len(text))
            return metallm__error_set(err, METALLM_EFORMAT, "__metadata__ '%s' is not a text",
                                      yyjson_get_str(key));
    }
    return METALLM_OK;
}

static int by_begin(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

/* No holes, no overlaps, no name twice. Leaves the entries sorted by name. */
static int check_cover(struct metallm__st_file *f, size_t data_bytes, metallm_error *err)
{
    size_t at = 0;
    qsort(f->entries, f->count, sizeof *f->entries, by_begin);
    for (size_t i = 0; i < f->count; at = f->entries[i].end, i++)
        if (f->entries[i].begin != at)
            return metallm__error_set(err, METALLM_EFORMAT,
                                      "tensor '%s' begins at byte %zu, %zu expected",
                                      f->entries[i].name, f->entries[i].begin, at);
    if (at != data_bytes)
        return metallm__error_set(err, METALLM_EFORMAT,
                                  "%zu bytes of data, but the tensors fill %zu", data_bytes, at);
    qsort(f->entries, f->count, sizeof *f->entries, by_name);
    for (size_t i = 1; i < f->count; i++)
        if (strcmp(f->entries[i - 1].name, f->entries[i].name) == 0)
            return metallm__error_set(err, METALLM_EFORMAT, "tensor '%s' stands there twice",
                                      f->entries[i].name);
    return METALLM_OK;
}

static int read_header(struct metallm__st_file *f, metallm_error *err)
{
    uint64_t header_len = f->map.len >= LENGTH_BYTES ? read_u64(f->map.bytes) : 0;
    if (header_len < 2 || header_len > HEADER_BYTES_MAX || header_len > f->map.len - LENGTH_BYTES)
        return metallm__error_set(err, METALLM_EFORMAT,
                                  "not a safetensors file, or cut short (%zu bytes)", f->map.len);
    const char *data = f->map.bytes + LENGTH_BYTES + header_len;
    size_t data_bytes = f->map.len - LENGTH_BYTES - (size_t)header_len;
    int rc = metallm__json_read(&f->header, f->map.bytes + LENGTH_BYTES, (size_t)header_len, err);
    if (rc != METALLM_OK)
        return rc;
    yyjson_val *root = yyjson_doc_get_root(f->header), *key, *v;
    if (!yyjson_is_obj(root))
        return metallm__error_set(err, METALLM_EFORMAT, "the header is not a JSON object");
    f->entries = metallm__alloc(yyjson_obj_size(root), sizeof *f->entries);
    if (f->entries == NULL)
        return metallm__error_nomem(err, "the header");
    yyjson_obj_iter it = yyjson_obj_iter_with(root);
    while (rc == METALLM_OK && (key = yyjson_obj_iter_next(&it)) != NULL) {
        const char *name = yyjson_get_str(key);
        v = yyjson_obj_iter_get_val(key);
        if (strlen(name) != yyjson_get_len(key))
            rc = metallm__error_set(err, METALLM_EFORMAT, "a name holds a NUL: '%s'", name);
        else if (strcmp(name, "__metadata__") == 0)
            rc = check_meta(v, err);
        else
            rc = read_entry(&f->entries[f->count++], name, v, data, data_bytes, err);
    }
    return rc == METALLM_OK ? check_cover(f, data_bytes, err) : rc;
}

int metallm__st_open(struct metallm__st_file **out, const char *path, metallm_error *err)
{
    struct metallm__st_file *f = metallm__calloc(1, sizeof *f);
    if (f == NULL || (f->path = metallm__strdup(path)) == NULL) {
        metallm__free(f);
        return metallm__error_nomem(err, "a tensor file");
    }
    int rc = metallm__map_open(&f->map, path, err);
    if (rc == METALLM_OK) {
        rc = read_header(f, err);
        if (rc != METALLM_OK)
            metallm__error_prefix(err, rc, "'%s'", path);
    }
    if (rc != METALLM_OK) {
        metallm__st_close(f);
        return rc;
    }
    *out = f;
    return METALLM_OK;
}

int metallm__st_parse(struct metallm__st_file **out, const void *bytes, size_t len,
                      const char *what, metallm_error *err)
{
    struct metallm__st_file *f = metallm__calloc(1, sizeof *f);
    if (f == NULL || (f->path = metallm__strdup(what)) == NULL) {
        metallm__free(f);
        return metallm__error_nomem(err, "tensors");
    }
    f->map = (struct metallm__map){.bytes = bytes, .len = len};
    f->is_borrowed = true;
    int rc = read_header(f, err);
    if (rc != METALLM_OK) {
        metallm__st_close(f);
        return metallm__error_prefix(err, rc, "'%s'", what);
    }
    *out = f;
    return METALLM_OK;
}

void metallm__st_close(struct metallm__st_file *f)
{
    if (f == NULL)
        return;
    if (!f->is_borrowed)
        metallm__map_close(&f->map);
    yyjson_doc_free(f->header);
    metallm__free(f->entries);
    metallm__free(f->path);
    metallm__free(f);
}

static const struct entry *find(const struct metallm__st_file *f, const char *name)
{
    char room[NAME_BYTES];
    struct entry key = {.name = full_name(f->prefix, name, room)};
    return f->count == 0 || key.name == NULL
               ? NULL
               : bsearch(&key, f->entries, f->count, sizeof *f->entries, by_name);
}

int metallm__st_get(const struct metallm__st_file *f, const char *name, enum metallm__dtype dtype,
                    uint32_t rank, const size_t *shape, struct metallm__tensor *out,
                    metallm_error *err)
{
    const struct entry *e = find(f, name);
    if (e == NULL)
        return metallm__error_set(err, METALLM_ENOTFOUND, "'%s': no tensor '%s'", f->path, name);
    const struct metallm__tensor *t = &e->tensor;
    if (t->dtype != dtype)
        return metallm__error_set(err, METALLM_EFORMAT, "'%s': tensor '%s' is %s, not %s", f->path,
                                  name, dtypes[t->dtype].name, dtypes[dtype].name);
    if (t->rank != rank)
        return metallm__error_set(err, METALLM_EFORMAT, "'%s': tensor '%s' has rank %u, not %u",
                                  f->path, name, t->rank, rank);
    for (uint32_t i = 0; i < rank; i++)
        if (shape[i] != 0 && shape[i] != t->shape[i])
            return metallm__error_set(err, METALLM_EFORMAT,
                                      "'%s': tensor '%s' has size %zu in dimension %u, not %zu",
                                      f->path, name, t->shape[i], i, shape[i]);
    *out = *t;
    return METALLM_OK;
}

bool metallm__st_has(const struct metallm__st_file *f, const char *name)
{
    return find(f, name) != NULL;
}

const char *metallm__st_meta(const struct metallm__st_file *f, const char *key)
{
    yyjson_val *meta = yyjson_obj_get(yyjson_doc_get_root(f->header), "__metadata__");
    char room[NAME_BYTES];
    const char *full = full_name(f->prefix, key, room);
    return full != NULL ? yyjson_get_str(yyjson_obj_get(meta, full)) : NULL;
}

void metallm__st_read_part(struct metallm__st_file *f, const char *prefix)
{
    set_prefix(f->prefix, prefix);
}

/* ---- writing ---- */

struct pending {
    char *name;
    void *data;
    struct metallm__tensor tensor;
    size_t begin, bytes;
};

struct pair {
    char *key, *text;
};

struct metallm__st_writer {
    struct pending *tensors; /* in the order of the calls */
    size_t count, cap;
    struct pair *meta;
    size_t meta_count, meta_cap;
    char prefix[METALLM__ST_PREFIX_BYTES];
};

void metallm__st_write_part(struct metallm__st_writer *w, const char *prefix)
{
    set_prefix(w->prefix, prefix);
}

int metallm__st_writer_new(struct metallm__st_writer **out, metallm_error *err)
{
    struct metallm__st_writer *w = metallm__calloc(1, sizeof *w);
    if (w == NULL)
        return metallm__error_nomem(err, "a tensor file");
    *out = w;
    return METALLM_OK;
}

void metallm__st_writer_free(struct metallm__st_writer *w)
{
    if (w == NULL)
        return;
    for (size_t i = 0; i < w->count; i++) {
        metallm__free(w->tensors[i].name);
        metallm__free(w->tensors[i].data);
    }
    for (size_t i = 0; i < w->meta_count; i++) {
        metallm__free(w->meta[i].key);
        metallm__free(w->meta[i].text);
    }
    metallm__free(w->tensors);
    metallm__free(w->meta);
    metallm__free(w);
}

int metallm__st_put(struct metallm__st_writer *w, const char *name, enum metallm__dtype dtype,
                    uint32_t rank, const size_t *shape, const void *data, metallm_error *err)
{
    METALLM_REQUIRE(rank <= RANK_MAX && (size_t)dtype < DTYPES);
    char room[NAME_BYTES];
    if ((name = full_name(w->prefix, name, room)) == NULL)
        return metallm__error_set(err, METALLM_ELIMIT, "a tensor's name is too long");
    struct pending p = {.tensor = {.dtype = dtype, .rank = rank, .count = 1}};
    bool is_taken = strcmp(name, "__metadata__") == 0;
    for (size_t i = 0; i < w->count; i++)
        is_taken = is_taken || strcmp(w->tensors[i].name, name) == 0;
    if (is_taken)
        return metallm__error_set(err, METALLM_EINVAL, "tensor '%s' is already there", name);
    for (uint32_t i = 0; i < rank; i++) {
        p.tensor.shape[i] = shape[i];
        if (__builtin_mul_overflow(p.tensor.count, shape[i], &p.tensor.count))
            return metallm__error_set(err, METALLM_ELIMIT, "tensor '%s' is too large", name);
    }
    if (__builtin_mul_overflow(p.tensor.count, dtypes[dtype].size, &p.bytes))
        return metallm__error_set(err, METALLM_ELIMIT, "tensor '%s' is too large", name);
    void *tensors = w->tensors;
    int no_room = metallm__grow(&tensors, &w->cap, w->count + 1, sizeof *w->tensors);
    w->tensors = tensors;
    p.name = metallm__strdup(name);
    p.data = metallm__alloc(p.bytes, 1);
    if (no_room != 0 || p.name == NULL || p.data == NULL) {
        metallm__free(p.name);
        metallm__free(p.data);
        return metallm__error_nomem(err, "a tensor");
    }
    if (p.bytes > 0)
        memcpy(p.data, data, p.bytes);
    w->tensors[w->count++] = p;
    return METALLM_OK;
}

int metallm__st_put_meta(struct metallm__st_writer *w, const char *key, const char *text,
                         metallm_error *err)
{
    char room[NAME_BYTES];
    if ((key = full_name(w->prefix, key, room)) == NULL)
        return metallm__error_set(err, METALLM_ELIMIT, "a key of the metadata is too long");
    for (size_t i = 0; i < w->meta_count; i++)
        if (strcmp(w->meta[i].key, key) == 0)
            return metallm__error_set(err, METALLM_EINVAL, "metadata '%s' is already there", key);
    void *meta = w->meta;
    int no_room = metallm__grow(&meta, &w->meta_cap, w->meta_count + 1, sizeof *w->meta);
    w->meta = meta;
    struct pair p = {metallm__strdup(key), metallm__strdup(text)};
    if (no_room != 0 || p.key == NULL || p.text == NULL) {
        metallm__free(p.key);
        metallm__free(p.text);
        return metallm__error_nomem(err, "metadata");
    }
    w->meta[w->meta_count++] = p;
    return METALLM_OK;
}

/* Wide elements first, so that each tensor is aligned to its element without holes; calls of equal
 * width keep their order. Fills order with indices and sets begin. */
static void lay_out(struct metallm__st_writer *w, size_t *order)
{
    size_t at = 0, n = 0;
    for (size_t width = 8; width > 0; width /= 2)
        for (size_t i = 0; i < w->count; i++) {
            struct pending *p = &w->tensors[i];
            if (dtypes[p->tensor.dtype].size != width)
                continue;
            order[n++] = i;
            p->begin = at;
            at += p->bytes;
        }
}

static bool add_tensor(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct pending *p)
{
    yyjson_mut_val *o = yyjson_mut_obj(doc), *shape = yyjson_mut_arr(doc),
                   *offsets = yyjson_mut_arr(doc);
    bool ok = yyjson_mut_obj_add_str(doc, o, "dtype", dtypes[p->tensor.dtype].name);
    for (uint32_t i = 0; i < p->tensor.rank; i++)
        ok = ok && yyjson_mut_arr_add_uint(doc, shape, p->tensor.shape[i]);
    return ok && yyjson_mut_obj_add_val(doc, o, "shape", shape) &&
           yyjson_mut_arr_add_uint(doc, offsets, p->begin) &&
           yyjson_mut_arr_add_uint(doc, offsets, p->begin + p->bytes) &&
           yyjson_mut_obj_add_val(doc, o, "data_offsets", offsets) &&
           yyjson_mut_obj_add_val(doc, root, p->name, o);
}

/* The header's JSON text; the caller frees it. */
static int make_header(const struct metallm__st_writer *w, const size_t *order, char **out,
                       size_t *len, metallm_error *err)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(&metallm__json_alc);
    yyjson_mut_val *root = yyjson_mut_obj(doc), *meta = yyjson_mut_obj(doc);
    bool ok = root != NULL && meta != NULL;
    if (ok && w->meta_count > 0)
        ok = yyjson_mut_obj_add_val(doc, root, "__metadata__", meta);
    for (size_t i = 0; ok && i < w->meta_count; i++)
        ok = yyjson_mut_obj_add_str(doc, meta, w->meta[i].key, w->meta[i].text);
    for (size_t i = 0; ok && i < w->count; i++)
        ok = add_tensor(doc, root, &w->tensors[order[i]]);
    yyjson_write_err why = {0};
    char *text = NULL;
    if (ok) {
        yyjson_mut_doc_set_root(doc, root);
        text = yyjson_mut_write_opts(doc, YYJSON_WRITE_NOFLAG, &metallm__json_alc, len, &why);
    }
    yyjson_mut_doc_free(doc);
    if (text == NULL && why.code == YYJSON_WRITE_ERROR_INVALID_STRING)
        return metallm__error_set(err, METALLM_EINVAL,
                                  "a tensor's name or metadata is not valid UTF-8");
    if (text == NULL)
        return metallm__error_nomem(err, "the header");
    *out = text;
    return METALLM_OK;
}

/* The bytes of the file, piece by piece, to where put(payload) takes them. */
static void give_bytes(const struct metallm__st_writer *w, const size_t *order, const char *header,
                       size_t header_len, void (*put)(void *, const void *, size_t), void *payload)
{
    static const char blanks[DATA_ALIGN] =
        "                                                               ";
    const size_t padded =
        (LENGTH_BYTES + header_len + DATA_ALIGN - 1) / DATA_ALIGN * DATA_ALIGN - LENGTH_BYTES;
    uint8_t length[LENGTH_BYTES];
    for (unsigned i = 0; i < LENGTH_BYTES; i++)
        length[i] = (uint8_t)((uint64_t)padded >> 8 * i & 0xff);
    put(payload, length, sizeof length);
    put(payload, header, header_len);
    put(payload, blanks, padded - header_len);
    for (size_t i = 0; i < w->count; i++)
        put(payload, w->tensors[order[i]].data, w->tensors[order[i]].bytes);
}

static void put_in_file(void *payload, const void *bytes, size_t len)
{
    fwrite(bytes, 1, len, payload);
}

static void put_in_buf(void *payload, const void *bytes, size_t len)
{
    metallm__buf_add(payload, bytes, len);
}

struct layout {
    size_t *order;
    char *header;
    size_t header_len;
};

static int layout_init(struct layout *l, struct metallm__st_writer *w, metallm_error *err)
{
    *l = (struct layout){.order = metallm__alloc(w->count, sizeof *l->order)};
    if (l->order == NULL)
        return metallm__error_nomem(err, "the header");
    lay_out(w, l->order);
    return make_header(w, l->order, &l->header, &l->header_len, err);
}

static void layout_fini(struct layout *l)
{
    metallm__free(l->header);
    metallm__free(l->order);
}

int metallm__st_write(struct metallm__st_writer *w, const char *path, metallm_error *err)
{
    struct layout l;
    struct metallm__outfile file = {0};
    int rc = layout_init(&l, w, err);
    if (rc == METALLM_OK)
        rc = metallm__outfile_open(&file, path, err);
    if (rc == METALLM_OK) {
        give_bytes(w, l.order, l.header, l.header_len, put_in_file, file.stream);
        rc = metallm__outfile_commit(&file, err); /* sees the stream's error too */
    }
    layout_fini(&l);
    return rc;
}

int metallm__st_print(struct metallm__st_writer *w, struct metallm__buf *out, metallm_error *err)
{
    struct layout l;
    int rc = layout_init(&l, w, err);
    if (rc == METALLM_OK) {
        give_bytes(w, l.order, l.header, l.header_len, put_in_buf, out);
        rc = metallm__buf_check(out, err);
    }
    layout_fini(&l);
    return rc;
}
