/* SPDX-License-Identifier: Apache-2.0
 * page.c - see page.h. */
#include "eval/page.h"

#include <string.h>

#include "base/error.h"

static void write_text(FILE *out, const char *text)
{
    for (; *text != '\0'; text++)
        switch (*text) {
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '&':
            fputs("&amp;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        default:
            fputc(*text, out);
        }
}

/* No "</script>" and no "<!--" can end or hide the element: '<' stands only inside JSON strings,
 * where the escape means the same. */
static void write_json(FILE *out, const char *json, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (json[i] == '<')
            fputs("\\u003c", out);
        else
            fputc(json[i], out);
}

/* Writes what a mark stands for; returns its length, 0 when there is no mark at `at`. */
static size_t write_mark(FILE *out, const struct metallm__page *page, const char *at, size_t left)
{
    static const char *const marks[] = {"@TITLE@", "@ROUTER@", "@DATA@", "@CHART_JS@"};
    for (size_t m = 0; m < sizeof marks / sizeof *marks; m++) {
        size_t len = strlen(marks[m]);
        if (left < len || memcmp(at, marks[m], len) != 0)
            continue;
        if (m == 0)
            write_text(out, page->title);
        else if (m == 1)
            write_text(out, page->router);
        else if (m == 2)
            write_json(out, page->json, page->json_len);
        else
            fwrite(metallm__asset_chart_js.bytes, 1, metallm__asset_chart_js.len, out);
        return len;
    }
    return 0;
}

int metallm__page_write(FILE *out, const struct metallm__page *page, metallm_error *err)
{
    const char *at = page->shape->bytes, *end = at + page->shape->len;
    while (at < end) {
        const char *mark = memchr(at, '@', (size_t)(end - at));
        const char *stop = mark != NULL ? mark : end;
        fwrite(at, 1, (size_t)(stop - at), out);
        at = stop;
        if (mark == NULL)
            break;
        size_t len = write_mark(out, page, at, (size_t)(end - at));
        if (len == 0)
            fputc(*at, out);
        at += len > 0 ? len : 1;
    }
    if (ferror(out))
        return metallm__error_set(err, METALLM_EIO, "cannot write the report");
    return METALLM_OK;
}
