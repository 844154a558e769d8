/* SPDX-License-Identifier: Apache-2.0
 * http.c - names of methods and statuses, looking up headers and judging them. */
#include "net/http.h"

#include "base/buf.h"

const char *metallm__method_name(enum metallm__method method)
{
    static const char *const names[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
    return names[method];
}

const struct metallm__header *metallm__headers_find(struct metallm__headers headers,
                                                    const char *lower_name)
{
    size_t n = strlen(lower_name);
    for (size_t i = 0; i < headers.count; i++)
        if (headers.at[i].name.n == n && memcmp(headers.at[i].name.p, lower_name, n) == 0)
            return &headers.at[i];
    return NULL;
}

struct metallm__span metallm__headers_value(struct metallm__headers headers, const char *lower_name)
{
    const struct metallm__header *found = metallm__headers_find(headers, lower_name);
    return found == NULL ? metallm__span(NULL, 0) : found->value;
}

bool metallm__header_is_hop(struct metallm__span name)
{
    if (name.n == 0)
        return false;
    switch (metallm__lower(name.p[0])) {
    case 'c':
        return metallm__span_is_nocase(name, "connection") ||
               metallm__span_is_nocase(name, "content-length");
    case 'k':
        return metallm__span_is_nocase(name, "keep-alive");
    case 'p':
        return name.n > 6 && metallm__span_is_nocase(metallm__span(name.p, 6), "proxy-");
    case 't':
        return metallm__span_is_nocase(name, "te") || metallm__span_is_nocase(name, "trailer") ||
               metallm__span_is_nocase(name, "transfer-encoding");
    case 'u':
        return metallm__span_is_nocase(name, "upgrade");
    default:
        return false;
    }
}

/* tchar of RFC 9110, 5.6.2. */
static bool is_token_char(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

bool metallm__header_is_sound(const struct metallm__header *header)
{
    for (size_t i = 0; i < header->name.n; i++)
        if (!is_token_char((unsigned char)header->name.p[i]))
            return false;
    for (size_t i = 0; i < header->value.n; i++) {
        unsigned char c = (unsigned char)header->value.p[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return header->name.n > 0;
}

void metallm__http_put_number(struct metallm__buf *b, uint64_t value)
{
    char digits[20];
    unsigned n = 0;
    do
        digits[sizeof digits - ++n] = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    metallm__buf_add(b, digits + sizeof digits - n, n);
}

const char *metallm__status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } known[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {424, "Failed Dependency"},
        {425, "Too Early"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {451, "Unavailable For Legal Reasons"},
        {499, "Client Closed Request"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
        {529, "Overloaded"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].status == status)
            return known[i].text;
    return "Status";
}
