/* SPDX-License-Identifier: Apache-2.0
 * address.c - socket addresses from and to text. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/span.h"
#include "net/dns.h"

bool metallm__address_numeric(const char *host, uint16_t port, struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        return true;
    }
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        return true;
    }
    return false;
}

int metallm__address_parse(const char *text, struct sockaddr_storage *out, metallm_error *err)
{
    char host[METALLM__ADDRESS_BYTES] = "";
    const char *colon = strrchr(text, ':');
    uint64_t port = 0;
    if (colon == NULL || !metallm__span_u64(metallm__span_of(colon + 1), &port) || port > 65535)
        return metallm__error_set(
            err, METALLM_EINVAL, "'%s' is no ADDRESS:PORT (as 127.0.0.1:8080 or [::1]:8080)", text);
    size_t n = (size_t)(colon - text);
    if (n >= 2 && text[0] == '[' && text[n - 1] == ']')
        text++, n -= 2;
    if (n < sizeof host)
        memcpy(host, text, n), host[n] = '\0';
    struct sockaddr_storage found;
    const char *name = n == 0 ? "0.0.0.0" : strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    if (!metallm__address_numeric(name, (uint16_t)port, &found))
        return metallm__error_set(err, METALLM_EINVAL, "'%.*s' is no numeric address",
                                  (int)(n > 64 ? 64 : n), text);
    *out = found;
    return METALLM_OK;
}

void metallm__address_text(const struct sockaddr_storage *address, char *out)
{
    const void *bytes = address->ss_family == AF_INET6
                            ? (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr
                            : (const void *)&((const struct sockaddr_in *)address)->sin_addr;
    if (inet_ntop(address->ss_family, bytes, out, METALLM__ADDRESS_BYTES) == NULL)
        memcpy(out, "unknown", 8);
}

uint16_t metallm__address_port(const struct sockaddr_storage *address)
{
    return ntohs(address->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)address)->sin6_port
                                                : ((const struct sockaddr_in *)address)->sin_port);
}

void metallm__address_set_port(struct sockaddr_storage *address, uint16_t port)
{
    if (address->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)address)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)address)->sin_port = htons(port);
}

bool metallm__address_is_loopback(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET6) {
        const struct in6_addr *a = &((const struct sockaddr_in6 *)address)->sin6_addr;
        return IN6_IS_ADDR_LOOPBACK(a) || (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == 127);
    }
    return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == 127;
}
