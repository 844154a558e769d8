/* SPDX-License-Identifier: Apache-2.0
 * unicode.c - see unicode.h. Properties come from utf8proc, but for the few characters whose
 * category the reference implementation (HuggingFace tokenizers 0.23) does not know or knows from
 * Unicode 8. */
#include "encoder/unicode.h"

#include <utf8proc.h>

enum treatment { PLAIN, MARK, PUNCT };

/* Found by comparing every code point with the reference. PLAIN: a letter that stays as it is. */
static const struct {
    int32_t low, high;
    enum treatment as;
} exceptions[] = {
    {0x61d, 0x61d, PLAIN},     {0x7fd, 0x7fd, PLAIN},     {0x890, 0x8e2, PLAIN},
    {0x9fd, 0x9fe, PLAIN},     {0xa76, 0xa76, PLAIN},     {0xafa, 0xaff, PLAIN},
    {0xb55, 0xb55, PLAIN},     {0xc04, 0xc3c, PLAIN},     {0xc77, 0xc77, PLAIN},
    {0xc84, 0xc84, PLAIN},     {0xd00, 0xd00, PLAIN},     {0xd3b, 0xd3c, PLAIN},
    {0xd81, 0xd81, PLAIN},     {0xeba, 0xeba, PLAIN},     {0xece, 0xece, PLAIN},
    {0x166d, 0x166d, PUNCT},   {0x1734, 0x1734, MARK},    {0x180f, 0x1886, PLAIN},
    {0x1abf, 0x1ace, PLAIN},   {0x1b7d, 0x1b7e, PLAIN},   {0x1df6, 0x1dfb, PLAIN},
    {0x2e43, 0x2e5d, PLAIN},   {0xa82c, 0xa82c, PLAIN},   {0xa8c5, 0xa8c5, PLAIN},
    {0xa8ff, 0xa8ff, PLAIN},   {0xa9bd, 0xa9bd, PLAIN},   {0x10d24, 0x10d27, PLAIN},
    {0x10eab, 0x10f89, PLAIN}, {0x11070, 0x11074, PLAIN}, {0x110c2, 0x110cd, PLAIN},
    {0x111c9, 0x111c9, PUNCT}, {0x111cf, 0x111cf, PLAIN}, {0x1123e, 0x11241, PLAIN},
    {0x1133b, 0x1133b, PLAIN}, {0x11438, 0x1145e, PLAIN}, {0x11660, 0x1166c, PLAIN},
    {0x116b9, 0x116b9, PLAIN}, {0x1182f, 0x1183b, PLAIN}, {0x11938, 0x11fff, PLAIN},
    {0x12ff1, 0x12ff2, PLAIN}, {0x13430, 0x13455, PLAIN}, {0x16e97, 0x16e9a, PLAIN},
    {0x16f4f, 0x16f4f, PLAIN}, {0x16fe2, 0x16fe4, PLAIN}, {0x1cf00, 0x1cf46, PLAIN},
    {0x1e000, 0x1e2ef, PLAIN}, {0x1e4ec, 0x1e4ef, PLAIN}, {0x1e944, 0x1e95f, PLAIN},
};

/* The index of c's exception, or -1. */
static int exception_of(int32_t c)
{
    int low = 0, high = (int)(sizeof exceptions / sizeof exceptions[0]);
    if (c < exceptions[0].low || metallm__char_is_cjk(c))
        return -1;
    while (low < high) {
        int middle = (low + high) / 2;
        if (c > exceptions[middle].high)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < (int)(sizeof exceptions / sizeof exceptions[0]) && c >= exceptions[low].low)
        return low;
    return -1;
}

bool metallm__char_is_space(int32_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

bool metallm__char_is_cjk(int32_t c)
{
    return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) ||
           (c >= 0x20000 && c <= 0x2a6df) || (c >= 0x2a700 && c <= 0x2b73f) ||
           (c >= 0x2b740 && c <= 0x2b81f) || (c >= 0x2b920 && c <= 0x2ceaf) ||
           (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

bool metallm__char_is_punct(int32_t c)
{
    if (c < 0x80) /* every ASCII mark, those that Unicode calls symbols as well */
        return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
               (c >= '{' && c <= '~');
    int e = exception_of(c);
    if (e >= 0)
        return exceptions[e].as == PUNCT;
    utf8proc_category_t g = utf8proc_category(c);
    return g >= UTF8PROC_CATEGORY_PC && g <= UTF8PROC_CATEGORY_PO;
}

bool metallm__char_is_mark(int32_t c)
{
    if (c < 0x300)
        return false;
    int e = exception_of(c);
    return e >= 0 ? exceptions[e].as == MARK : utf8proc_category(c) == UTF8PROC_CATEGORY_MN;
}

unsigned metallm__char_combining(int32_t c)
{
    return c < 0x300 ? 0 : (unsigned)utf8proc_get_property(c)->combining_class;
}

/* Control, format and private characters are dropped; tab and line ends are spaces. */
static bool is_dropped(int32_t c)
{
    if (c == 0 || c == 0xfffd)
        return true;
    if (c == '\t' || c == '\n' || c == '\r' || exception_of(c) >= 0)
        return false;
    utf8proc_category_t g = utf8proc_category(c);
    return g == UTF8PROC_CATEGORY_CC || g == UTF8PROC_CATEGORY_CF || g == UTF8PROC_CATEGORY_CO;
}

void metallm__char_normalise(int32_t c, bool is_uncased, struct metallm__char *out)
{
    out->count = 0;
    out->is_split = false;
    if (is_dropped(c))
        return;
    if (metallm__char_is_space(c)) {
        out->is_split = true;
        return;
    }
    out->is_split = metallm__char_is_cjk(c);
    out->out[0] = c;
    out->count = 1;
    int e = exception_of(c);
    if (!is_uncased || (e >= 0 && exceptions[e].as == PLAIN))
        return;
    /* Canonical decomposition (NFD) gives at most 4 code points; accents go later. */
    utf8proc_ssize_t n =
        utf8proc_decompose_char(c, out->out, METALLM__CHAR_OUT_MAX, UTF8PROC_DECOMPOSE, NULL);
    out->count = n > 0 && n <= (utf8proc_ssize_t)METALLM__CHAR_OUT_MAX ? (uint32_t)n : 1;
    for (uint32_t i = 0; i < out->count; i++)
        out->out[i] = utf8proc_tolower(out->out[i]);
}

size_t metallm__utf8_decode(const char *text, size_t len, int32_t *c)
{
    utf8proc_ssize_t room = len < 4 ? (utf8proc_ssize_t)len : 4;
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text, room, c);
    if (n > 0)
        return (size_t)n;
    *c = 0xfffd;
    return 1;
}

size_t metallm__utf8_encode(int32_t c, char *out)
{
    return (size_t)utf8proc_encode_char(c, (utf8proc_uint8_t *)out);
}
