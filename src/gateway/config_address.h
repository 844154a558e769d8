/* SPDX-License-Identifier: Apache-2.0
 * config_address.h - addresses to listen on, and the URLs of LLMs. */
#ifndef GATEWAY_CONFIG_ADDRESS_H
#define GATEWAY_CONFIG_ADDRESS_H
#include "data/text.h"
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
/* "host:port" of a good URL, as the config's; NULL: no memory. */
const char *metallm__config_host(struct metallm__config_inner *in, const char *url);
/* 127.0.0.0/8, ::1, localhost. */
bool metallm__config_is_loopback(const char *host);
#endif
