/*
 * pg_resolve.c - connection parameters with every host name already resolved.
 *
 * libpq resolves names with a blocking getaddrinfo() even in its asynchronous
 * connect. Here a pool thread does it, and libpq is given `hostaddr` beside `host`,
 * one entry per address, so that TLS still checks the name and a URL of several
 * hosts, or a host of several addresses, is tried in order as libpq would.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "common/pg_internal.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define MAX_HOSTS   16
#define MAX_TARGETS 32

struct target {
    const char *host, *port; /* as in the URL */
    char address[INET6_ADDRSTRLEN + 20];
};

/* Given to a thread: plain memory, no arena. */
struct lookup {
    char *hosts, *ports; /* cut at the commas */
    const char *host[MAX_HOSTS], *port[MAX_HOSTS];
    int host_count, port_count;
    struct target targets[MAX_TARGETS];
    int target_count;
    const char *failed_host;
    int failure; /* getaddrinfo()'s */
};

static void lookup_free(void *arg)
{
    struct lookup *lookup = arg;

    free(lookup->hosts);
    free(lookup->ports);
    free(lookup);
}

const char *pg_option(const struct pg *pg, const char *keyword)
{
    for (const PQconninfoOption *row = pg->info; row->keyword; row++) {
        if (strcmp(row->keyword, keyword) == 0)
            return row->val && row->val[0] ? row->val : NULL;
    }
    return NULL;
}

unsigned pg_host_count(const struct pg *pg)
{
    const char *hosts = pg_option(pg, "host");
    unsigned count = 1;

    if (pg_option(pg, "hostaddr"))
        hosts = pg_option(pg, "hostaddr");
    for (; hosts && *hosts; hosts++)
        count += *hosts == ',';
    return count;
}

static int split(char *text, const char **parts)
{
    int count = 0;

    for (char *part; count < MAX_HOSTS && (part = strsep(&text, ",")) != NULL;)
        parts[count++] = part;
    return count;
}

/* Sockets in the file system, and addresses, need no lookup. */
static bool is_name(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];

    return host[0] && host[0] != '/' && host[0] != '@' &&
           inet_pton(AF_INET, host, address) != 1 &&
           inet_pton(AF_INET6, host, address) != 1;
}

static bool has_names(const struct lookup *lookup)
{
    for (int i = 0; i < lookup->host_count; i++) {
        if (is_name(lookup->host[i]))
            return true;
    }
    return false;
}

static struct target *add_target(struct lookup *lookup, int i)
{
    if (lookup->target_count == MAX_TARGETS)
        return NULL;
    struct target *target = &lookup->targets[lookup->target_count++];
    target->host = lookup->host[i];
    /* One port stands for all hosts. */
    target->port = lookup->port_count == 0  ? ""
                   : i < lookup->port_count ? lookup->port[i]
                                            : lookup->port[0];
    target->address[0] = '\0';
    return target;
}

static void look_up_name(struct lookup *lookup, int i)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL;

    int rc = getaddrinfo(lookup->host[i], NULL, &hints, &found);
    if (rc != 0) {
        lookup->failed_host = lookup->host[i];
        lookup->failure = rc;
        return;
    }
    for (const struct addrinfo *at = found; at; at = at->ai_next) {
        struct target *target = add_target(lookup, i);

        if (target && getnameinfo(at->ai_addr, at->ai_addrlen, target->address,
                                  sizeof(target->address), NULL, 0, NI_NUMERICHOST) != 0)
            lookup->target_count--;
    }
    freeaddrinfo(found);
}

/* In a pool thread. */
static void look_up(void *arg)
{
    struct lookup *lookup = arg;

    for (int i = 0; i < lookup->host_count; i++) {
        if (is_name(lookup->host[i]))
            look_up_name(lookup, i);
        else
            add_target(lookup, i);
    }
}

struct parameter_list {
    struct pg_parameters *out;
    int count;
};

static void put(struct parameter_list *list, const char *keyword, const char *value)
{
    list->out->keywords[list->count] = keyword;
    list->out->values[list->count] = value;
    list->count++;
}

static void put_targets(struct parameter_list *list, const struct lookup *lookup,
                        unsigned first)
{
    struct buf hosts = BUF_IN(task_arena()), ports = BUF_IN(task_arena());
    struct buf addresses = BUF_IN(task_arena());

    for (int i = 0; i < lookup->target_count; i++) {
        const struct target *target =
            &lookup->targets[((unsigned)i + first) % (unsigned)lookup->target_count];
        const char *comma = i ? "," : "";

        buf_addf(&hosts, "%s%s", comma, target->host);
        buf_addf(&ports, "%s%s", comma, target->port);
        buf_addf(&addresses, "%s%s", comma, target->address);
    }
    put(list, "host", buf_text(&hosts));
    put(list, "port", buf_text(&ports));
    put(list, "hostaddr", buf_text(&addresses));
}

/* What we set unless the URL does. */
static void put_defaults(struct parameter_list *list, const struct pg *pg)
{
    const struct {
        const char *keyword, *value;
    } defaults[] = {
        { "application_name", pg->options.application_name },
        { "sslmode", pg->options.ssl_mode },
        { "sslrootcert", pg->options.ssl_root_cert },
        /* Of several hosts one takes writes, and that is the one we mean. */
        { "target_session_attrs",
          !pg->primary && pg_host_count(pg) > 1 ? "read-write" : NULL },
        { "gssencmode", "disable" },
        /* PQcancel() has no timeout of its own, but it heeds this one. */
        { "tcp_user_timeout",
          arena_printf(task_arena(), "%llu",
                       (unsigned long long)pg->options.connect_timeout_ms) },
    };

    for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++) {
        if (defaults[i].value && defaults[i].value[0] &&
            !pg_option(pg, defaults[i].keyword))
            put(list, defaults[i].keyword, defaults[i].value);
    }
    put(list, "client_encoding", "UTF8");
}

static void put_url(struct parameter_list *list, const struct pg *pg, bool has_targets)
{
    for (const PQconninfoOption *row = pg->info; row->keyword; row++) {
        bool is_target =
            strcmp(row->keyword, "host") == 0 || strcmp(row->keyword, "port") == 0;

        if (row->val && row->val[0] && !(has_targets && is_target) &&
            strcmp(row->keyword, "client_encoding") != 0)
            put(list, row->keyword, row->val);
    }
}

static size_t option_count(const struct pg *pg)
{
    size_t count = 0;

    while (pg->info[count].keyword)
        count++;
    return count;
}

/* Yields when there are names to look up. */
static int find_targets(const struct pg *pg, uint64_t timeout_ms,
                        struct lookup **ret_lookup, const char **ret_error)
{
    const char *hosts = pg_option(pg, "host"), *ports = pg_option(pg, "port");
    struct lookup *lookup = calloc(1, sizeof(*lookup));

    if (!lookup)
        return -EAGAIN;
    arena_defer(task_arena(), lookup_free, lookup);
    lookup->hosts = hosts ? strdup(hosts) : NULL;
    lookup->ports = ports ? strdup(ports) : NULL;
    if (!lookup->hosts || pg_option(pg, "hostaddr"))
        return 0;
    lookup->host_count = split(lookup->hosts, lookup->host);
    lookup->port_count = lookup->ports ? split(lookup->ports, lookup->port) : 0;
    if (lookup->host_count < 2 && !has_names(lookup))
        return 0;
    if (task_work("pg:resolve", look_up, lookup, timeout_ms) < 0) {
        *ret_error = arena_printf(task_arena(), "resolving %s takes too long", hosts);
        return -EAGAIN;
    }
    if (lookup->target_count == 0) {
        *ret_error = arena_printf(task_arena(), "cannot resolve %s: %s",
                                  lookup->failed_host, gai_strerror(lookup->failure));
        return -EAGAIN;
    }
    *ret_lookup = lookup;
    return 0;
}

int pg_resolve(const struct pg *pg, uint64_t timeout_ms, struct pg_parameters *ret,
               const char **ret_error)
{
    struct lookup *lookup = NULL;
    int rc = find_targets(pg, timeout_ms, &lookup, ret_error);

    if (rc < 0)
        return rc;
    /* The URL's, three for targets, and put_defaults()'s seven; both end with NULL. */
    size_t room = option_count(pg) + 12;
    struct parameter_list list = { .out = ret };
    ret->keywords = arena_array(task_arena(), room, sizeof(*ret->keywords));
    ret->values = arena_array(task_arena(), room, sizeof(*ret->values));
    put_url(&list, pg, lookup != NULL);
    if (lookup)
        put_targets(&list, lookup, pg->first_host);
    put_defaults(&list, pg);
    return 0;
}
