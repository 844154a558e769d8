/* SPDX-License-Identifier: Apache-2.0
 * dns.c - a list of names: each with its last answer, the lookup that may be running, and those who
 * wait for it. */
#include "net/dns.h"

#include <netdb.h>
#include <netinet/in.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/span.h"
#include "net/internal.h"

#define WAITING_MAX 256u
#define HOST_MAX    253u

struct name {
    struct metallm__dns *dns; /* NULL: freed while the lookup was running */
    struct name *next;
    struct metallm__lookup *waiting;
    struct metallm__addresses found; /* port 0 */
    uint64_t found_ns, failed_ns;    /* 0: never */
    bool is_wanted, is_running;      /* a lookup is due; is in the pool */
    uv_getaddrinfo_t req;
    char why[96];
    char host[HOST_MAX + 1];
};

struct metallm__dns {
    struct metallm__loop *loop;
    struct metallm__dns_options opts;
    struct name *names; /* newest first */
    uint32_t name_count, running, waiting;
};

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

int metallm__dns_new(struct metallm__dns **out, struct metallm__loop *loop,
                     const struct metallm__dns_options *opts, metallm_error *err)
{
    struct metallm__dns *dns = metallm__calloc(1, sizeof *dns);
    if (dns == NULL)
        return metallm__error_nomem(err, "name lookups");
    dns->loop = loop;
    if (opts != NULL)
        dns->opts = *opts;
    dns->opts.ttl_ms = or_default(dns->opts.ttl_ms, 30000);
    dns->opts.fail_ttl_ms = or_default(dns->opts.fail_ttl_ms, 1000);
    dns->opts.stale_ms = or_default(dns->opts.stale_ms, 600000);
    dns->opts.names_max = or_default(dns->opts.names_max, 256);
    dns->opts.running_max = or_default(dns->opts.running_max, 2);
    *out = dns;
    return METALLM_OK;
}

void metallm__dns_free(struct metallm__dns *dns)
{
    if (dns == NULL)
        return;
    while (dns->names != NULL) {
        struct name *name = dns->names;
        dns->names = name->next;
        while (name->waiting != NULL)
            metallm__dns_cancel(name->waiting);
        if (name->is_running) {
            name->dns = NULL; /* on_found frees it */
            (void)uv_cancel((uv_req_t *)&name->req);
        } else {
            metallm__free(name);
        }
    }
    metallm__free(dns);
}

static bool is_recent(const struct metallm__dns *dns, uint64_t then_ns, uint32_t ms)
{
    uint64_t now = metallm__loop_now(dns->loop);
    return then_ns != 0 && now - then_ns < (uint64_t)ms * 1000000;
}

static void copy_addresses(struct metallm__addresses *out, const struct metallm__addresses *from,
                           uint16_t port)
{
    *out = *from;
    for (uint32_t i = 0; i < out->count; i++)
        metallm__address_set_port(&out->at[i], port);
}

static void keep_answer(struct name *name, int status, const struct addrinfo *list)
{
    struct metallm__addresses found = {.count = 0};
    for (; list != NULL && found.count < METALLM__ADDRESSES_MAX; list = list->ai_next)
        if (list->ai_family == AF_INET || list->ai_family == AF_INET6)
            memcpy(&found.at[found.count++], list->ai_addr, list->ai_addrlen);
    uint64_t now = metallm__loop_now(name->dns->loop);
    if (status == 0 && found.count > 0) {
        name->found = found;
        name->found_ns = now;
        name->failed_ns = 0;
    } else {
        name->failed_ns = now;
        (void)snprintf(name->why, sizeof name->why, "%s",
                       status != 0 ? uv_strerror(status) : "the name has no address");
    }
}

static bool is_usable(const struct metallm__dns *dns, const struct name *name)
{
    return name->found.count > 0 &&
           is_recent(dns, name->found_ns,
                     name->failed_ns != 0 ? dns->opts.stale_ms : dns->opts.ttl_ms);
}

static void start_wanted(struct metallm__dns *dns);

static void tell_waiting(struct metallm__dns *dns, struct name *name)
{
    const bool is_found = is_usable(dns, name);
    const struct metallm__addresses found = name->found;
    char why[96];
    memcpy(why, name->why, sizeof why);
    /* A call may look up, cancel or free anything: the list is taken off first. */
    struct metallm__lookup *list = name->waiting;
    name->waiting = NULL;
    if (list != NULL)
        list->link = &list;
    while (list != NULL) {
        struct metallm__lookup *lookup = list;
        struct metallm__addresses answer;
        copy_addresses(&answer, &found, lookup->port);
        metallm__dns_cancel(lookup);
        lookup->done(lookup, is_found ? &answer : NULL, why);
    }
}

static void on_found(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct name *name = req->data;
    struct metallm__dns *dns = name->dns;
    if (dns == NULL) {
        metallm__free(name);
    } else {
        name->is_running = false;
        dns->running--;
        keep_answer(name, status, list);
        start_wanted(dns);
        tell_waiting(dns, name);
    }
    uv_freeaddrinfo(list);
}

static void start_wanted(struct metallm__dns *dns)
{
    static const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    for (struct name *n = dns->names; n != NULL && dns->running < dns->opts.running_max;
         n = n->next) {
        if (!n->is_wanted)
            continue;
        n->is_wanted = false;
        n->req.data = n;
        n->is_running = true;
        dns->running++;
        if (uv_getaddrinfo(&dns->loop->uv, &n->req, on_found, n->host, NULL, &hints) < 0) {
            n->is_running = false; /* no memory: whoever waits times out or asks again */
            n->is_wanted = true;
            dns->running--;
            return;
        }
    }
}

static struct name *find_name(struct metallm__dns *dns, const char *host)
{
    for (struct name *n = dns->names; n != NULL; n = n->next)
        if (strcmp(n->host, host) == 0)
            return n;
    return NULL;
}

static void drop_oldest(struct metallm__dns *dns)
{
    struct name **oldest = NULL;
    for (struct name **n = &dns->names; *n != NULL; n = &(*n)->next)
        if (!(*n)->is_running && !(*n)->is_wanted && (*n)->waiting == NULL)
            oldest = n;
    if (oldest != NULL) {
        struct name *gone = *oldest;
        *oldest = gone->next;
        metallm__free(gone);
        dns->name_count--;
    }
}

static struct name *add_name(struct metallm__dns *dns, const char *host)
{
    if (dns->name_count >= dns->opts.names_max)
        drop_oldest(dns);
    struct name *name = metallm__calloc(1, sizeof *name);
    if (name == NULL)
        return NULL;
    name->dns = dns;
    (void)snprintf(name->host, sizeof name->host, "%s", host);
    name->next = dns->names;
    dns->names = name;
    dns->name_count++;
    return name;
}

static bool is_host(const char *host)
{
    size_t n = strlen(host);
    for (size_t i = 0; i < n; i++) {
        char c = metallm__lower(host[i]);
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '.' && c != '-' && c != '_')
            return false;
    }
    return n > 0 && n <= HOST_MAX;
}

int metallm__dns_find(struct metallm__dns *dns, const char *host, uint16_t port,
                      struct metallm__addresses *out, struct metallm__lookup *lookup,
                      metallm_error *err)
{
    if (metallm__address_numeric(host, port, &out->at[0])) {
        out->count = 1;
        return METALLM_OK;
    }
    if (!is_host(host))
        return metallm__error_set(err, METALLM_EINVAL, "'%.64s' is no host name", host);
    struct name *name = find_name(dns, host);
    if (name != NULL && !name->is_running && !name->is_wanted) {
        bool has_failed = is_recent(dns, name->failed_ns, dns->opts.fail_ttl_ms);
        if (is_usable(dns, name) && (name->failed_ns == 0 || has_failed)) {
            copy_addresses(out, &name->found, port);
            return METALLM_OK;
        }
        if (has_failed)
            return metallm__error_set(err, METALLM_ENOTFOUND, "%s", name->why);
    }
    if (dns->waiting >= WAITING_MAX)
        return metallm__error_set(err, METALLM_ELIMIT, "too many name lookups are waiting");
    if (name == NULL && (name = add_name(dns, host)) == NULL)
        return metallm__error_nomem(err, "a name lookup");
    lookup->dns = dns;
    lookup->port = port;
    lookup->next = name->waiting;
    lookup->link = &name->waiting;
    if (lookup->next != NULL)
        lookup->next->link = &lookup->next;
    name->waiting = lookup;
    dns->waiting++;
    if (!name->is_running)
        name->is_wanted = true;
    start_wanted(dns);
    return METALLM_EBUSY;
}

void metallm__dns_cancel(struct metallm__lookup *lookup)
{
    if (lookup->link == NULL)
        return;
    *lookup->link = lookup->next;
    if (lookup->next != NULL)
        lookup->next->link = lookup->link;
    lookup->link = NULL;
    lookup->dns->waiting--;
}

void metallm__dns_forget(struct metallm__dns *dns, const char *host)
{
    struct name *name = find_name(dns, host);
    if (name != NULL)
        name->found_ns = 0;
}
