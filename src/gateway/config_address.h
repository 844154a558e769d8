/* SPDX-License-Identifier: Apache-2.0
 * config_address.h - addresses to listen on, and the URLs of LLMs. */
#ifndef GATEWAY_CONFIG_ADDRESS_H
#define GATEWAY_CONFIG_ADDRESS_H
#include "gateway/config_table.h"

struct metallm__config_address {
    char host[256]; /* without brackets; "" : all addresses */
    uint16_t port;  /* 0: any free one */
    bool is_loopback;
    char text[272]; /* the whole, in numbers: "127.0.0.1:80", "[::1]:80", ":80" */
};
/* ADDRESS:PORT, [IPV6]:PORT, :PORT, *:PORT or localhost:PORT. False: why tells. */
bool metallm__config_address_parse(struct metallm__config_address *out, const char *text, char *why,
                                   size_t size);
/* http(s)://host[:port][/path] without user, query or fragment; slashes at its end are cut off. */
bool metallm__config_url(char *url, char *why, size_t size);
/* The parts of a good URL; path: without a slash at its end, may be "". */
struct metallm__config_url_parts {
    char host[256]; /* without brackets */
    uint16_t port;
    bool is_tls;
    const char *path; /* within the URL */
};
bool metallm__config_url_split(const char *url, struct metallm__config_url_parts *out);
/* "host:port" of a good URL, as the config's; NULL: no memory. */
const char *metallm__config_host(struct metallm__config_inner *in, const char *url);
/* 127.0.0.0/8, ::1, localhost. */
bool metallm__config_is_loopback(const char *host);
#endif
