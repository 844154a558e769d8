/* SPDX-License-Identifier: Apache-2.0
 * config_address.c - see config_address.h. */
#include "gateway/config_address.h"

#include <arpa/inet.h>
#include <string.h>

bool metallm__config_is_loopback(const char *host)
{
    struct in_addr four;
    struct in6_addr six;
    if (inet_pton(AF_INET, host, &four) == 1)
        return (ntohl(four.s_addr) >> 24) == 127;
    if (inet_pton(AF_INET6, host, &six) == 1)
        return IN6_IS_ADDR_LOOPBACK(&six);
    return strcasecmp(host, "localhost") == 0;
}

static bool no(char *why, size_t size, const char *text)
{
    snprintf(why, size, "%s", text);
    return false;
}

/* "1" to "65535", or "0". */
static bool read_port(const char *text, size_t len, uint16_t *out)
{
    unsigned long port = 0;
    if (len == 0 || len > 5)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        port = port * 10 + (unsigned long)(text[i] - '0');
    }
    *out = (uint16_t)port;
    return port <= 65535;
}

bool metallm__config_address_parse(struct metallm__config_address *out, const char *text, char *why,
                                   size_t size)
{
    const char *colon = strrchr(text, ':');
    struct in6_addr six;
    *out = (struct metallm__config_address){0};
    if (colon == NULL)
        return no(why, size, "an address wants a port");
    if (!read_port(colon + 1, strlen(colon + 1), &out->port))
        return no(why, size, "not a port from 0 to 65535");
    const char *host = text;
    size_t len = (size_t)(colon - text);
    bool has_brackets = len >= 2 && host[0] == '[' && host[len - 1] == ']';
    if (has_brackets) {
        host++;
        len -= 2;
    }
    if (len >= sizeof out->host)
        return no(why, size, "an address is too long");
    memcpy(out->host, host, len);
    out->host[len] = '\0';
    if (strcmp(out->host, "*") == 0)
        out->host[0] = '\0';
    bool is_six = inet_pton(AF_INET6, out->host, &six) == 1;
    if (is_six != has_brackets)
        return no(why, size,
                  has_brackets ? "not an IPv6 address" : "an IPv6 address wants brackets");
    if (strcasecmp(out->host, "localhost") == 0)
        snprintf(out->host, sizeof out->host, "127.0.0.1");
    struct in_addr four;
    if (!is_six && out->host[0] != '\0' && inet_pton(AF_INET, out->host, &four) != 1)
        return no(why, size, "not an address in numbers");
    snprintf(out->text, sizeof out->text, "%s%s%s:%u", is_six ? "[" : "", out->host,
             is_six ? "]" : "", out->port);
    out->is_loopback = metallm__config_is_loopback(out->host);
    return true;
}

/* Where the parts of a URL begin and end. */
struct parts {
    const char *host, *port; /* port: behind its colon; NULL: none */
    size_t host_len, port_len;
    bool is_tls, has_brackets;
};

static bool split(const char *url, struct parts *p)
{
    *p = (struct parts){.is_tls = strncmp(url, "https://", 8) == 0};
    if (!p->is_tls && strncmp(url, "http://", 7) != 0)
        return false;
    const char *host = url + (p->is_tls ? 8 : 7);
    size_t len = strcspn(host, "/");
    p->has_brackets = host[0] == '[';
    const char *end = p->has_brackets ? memchr(host, ']', len) : NULL;
    if (p->has_brackets && end == NULL)
        return false;
    const char *from = p->has_brackets ? end + 1 : host;
    const char *colon = memchr(from, ':', len - (size_t)(from - host));
    if (p->has_brackets && from < host + len && *from != ':')
        return false;
    p->host = p->has_brackets ? host + 1 : host;
    p->host_len = p->has_brackets ? (size_t)(end - host - 1)
                                  : (size_t)((colon != NULL ? colon : host + len) - host);
    p->port = colon != NULL ? colon + 1 : NULL;
    p->port_len = colon != NULL ? (size_t)(host + len - colon - 1) : 0;
    return p->host_len > 0;
}

bool metallm__config_url(char *url, char *why, size_t size)
{
    struct parts p;
    uint16_t port;
    for (const char *c = url; *c != '\0'; c++)
        if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 127 ||
            strchr("\"<>\\^`{|}", *c) != NULL)
            return no(why, size, "a URL holds a character that has no place there");
    if (!split(url, &p))
        return no(why, size, "not a URL as http://HOST[:PORT][/PATH] or https://...");
    if (memchr(p.host, '@', strcspn(p.host, "/")) != NULL)
        return no(why, size, "a URL holds a user: keys belong into api_key");
    if (strpbrk(url, "?#") != NULL)
        return no(why, size, "a URL holds a query or a fragment");
    if (p.port != NULL && (!read_port(p.port, p.port_len, &port) || port == 0))
        return no(why, size, "a URL's port is not from 1 to 65535");
    size_t len = strlen(url);
    while (len > 0 && url[len - 1] == '/')
        url[--len] = '\0';
    return true;
}

bool metallm__config_url_split(const char *url, struct metallm__config_url_parts *out)
{
    struct parts p;
    if (!split(url, &p) || p.host_len >= sizeof out->host)
        return false;
    *out = (struct metallm__config_url_parts){.port = p.is_tls ? 443 : 80, .is_tls = p.is_tls};
    memcpy(out->host, p.host, p.host_len);
    if (p.port != NULL && !read_port(p.port, p.port_len, &out->port))
        return false;
    out->path = p.host + strcspn(p.host, "/");
    return true;
}

const char *metallm__config_host(struct metallm__config_inner *in, const char *url)
{
    struct parts p;
    char text[320];
    if (!split(url, &p))
        return "";
    snprintf(text, sizeof text, "%s%.*s%s:%.*s", p.has_brackets ? "[" : "",
             (int)(p.host_len < 255 ? p.host_len : 255), p.host, p.has_brackets ? "]" : "",
             p.port != NULL ? (int)p.port_len : 3,
             p.port != NULL ? p.port : (p.is_tls ? "443" : "80"));
    return metallm__config_text(in, text, strlen(text));
}
