/*
 * conf_check.c - what a text must look like where its type alone does not say.
 *
 * Each returns NULL, or how to write it: the words that follow "`limits.login` ...".
 */
#include "common/conf_internal.h"
#include "common/log_sink.h"
#include "common/redis_url.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static bool is_one_of(const char *text, const char *const *words)
{
    for (; *words; words++) {
        if (strcmp(*words, text) == 0)
            return true;
    }
    return false;
}

/* Digits up to `most`, then one of `stops` or the end; where it stopped, or NULL. */
static const char *pass_number(const char *text, unsigned long most, const char *stops)
{
    char *end;

    if (!isdigit((unsigned char)*text))
        return NULL;
    unsigned long number = strtoul(text, &end, 10);
    if (number == 0 || number > most || (*end && !strchr(stops, *end)))
        return NULL;
    return end;
}

/* "5/15m,100/1h", "none", or "" for what the environment calls for. */
const char *conf_check_limit(const char *text)
{
    static const char wrong[] =
        "must be limits such as \"5/15m\" or \"50/1m,200/1h\", or \"none\"";

    if (!*text || strcmp(text, "none") == 0)
        return NULL;
    for (;;) {
        const char *slash = pass_number(text, 1000000000, "/");
        size_t length = slash && *slash ? strcspn(slash + 1, ",") : 0;
        char window[32];
        uint64_t ms;

        if (length == 0 || length >= sizeof(window))
            return wrong;
        memcpy(window, slash + 1, length);
        window[length] = '\0';
        if (!conf_parse_duration(window, &ms) || ms < 1000)
            return wrong;
        text = slash + 1 + length;
        if (!*text)
            return NULL;
        text++;
        text += strspn(text, " ");
    }
}

/* "5/10": requests per seconds. */
const char *conf_check_per_host(const char *text)
{
    const char *slash = pass_number(text, 1000000, "/");
    const char *end = slash && *slash ? pass_number(slash + 1, 86400, "") : NULL;

    return end ? NULL : "must be requests per seconds, such as \"5/10\"";
}

const char *conf_check_pool_mode(const char *text)
{
    static const char *const modes[] = { "", "session", "transaction", NULL };

    return is_one_of(text, modes) ? NULL : "must be \"session\" or \"transaction\"";
}

const char *conf_check_ssl_mode(const char *text)
{
    static const char *const modes[] = { "",        "disable",   "allow",       "prefer",
                                         "require", "verify-ca", "verify-full", NULL };

    return is_one_of(text, modes) ? NULL
                                  : "must be one of: disable, allow, prefer, require, "
                                    "verify-ca, verify-full";
}

const char *conf_check_prefix(const char *text)
{
    for (; *text; text++) {
        if (!isalnum((unsigned char)*text) && !strchr("_:-.", *text))
            return "may hold letters, digits and _ : - . only";
    }
    return NULL;
}

const char *conf_check_decimal(const char *text)
{
    char *end;

    if (!isdigit((unsigned char)*text))
        return "must be a decimal number such as \"0.7\"";
    strtod(text, &end);
    return *end ? "must be a decimal number such as \"0.7\"" : NULL;
}

/* libpq's own words for what is wrong would repeat the URL, and with it the password. */
const char *conf_check_database_url(const char *text)
{
    PQconninfoOption *options = *text ? PQconninfoParse(text, NULL) : NULL;

    if (*text && !options)
        return "must look like postgresql://user:password@host:port/database, with %XX "
               "for special characters";
    PQconninfoFree(options);
    return NULL;
}

const char *conf_check_replica_url(const char *text)
{
    return conf_check_database_url(text)
               ? "must hold URLs such as postgresql://user:password@host:port/database"
               : NULL;
}

const char *conf_check_redis_url(const char *text)
{
    struct redis_address address;
    char error[160];

    if (!*text || redis_url_parse(text, &address, error, sizeof(error)))
        return NULL;
    return "must look like redis://user:password@host:port/database, rediss:// or "
           "unix:///path";
}

const char *conf_check_place(const char *text)
{
    struct redis_address address;

    if (strstr(text, "://"))
        return "must be a host and a port, without redis://";
    return redis_address_parse(text, "26379", &address)
               ? NULL
               : "must look like host:26379 or [::1]:26379";
}

/* The same of a node of a Redis Cluster. */
const char *conf_check_node(const char *text)
{
    struct redis_address address;

    if (strpbrk(text, "/@"))
        return "must hold hosts and ports, without redis:// or password";
    return redis_address_parse(text, "6379", &address)
               ? NULL
               : "must hold places such as \"10.0.0.1:6379\" or \"[::1]:6379\"";
}

static bool is_address(const char *host, size_t length, int *ret_bits)
{
    char text[INET6_ADDRSTRLEN], room[sizeof(struct in6_addr)];

    if (length == 0 || length >= sizeof(text))
        return false;
    memcpy(text, host, length);
    text[length] = '\0';
    *ret_bits = strchr(text, ':') ? 128 : 32;
    return inet_pton(*ret_bits == 32 ? AF_INET : AF_INET6, text, room) == 1;
}

static const char *check_socket_path(const char *path)
{
    if (!*path)
        return "needs a path behind \"unix:\"";
    if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return "has a socket path that is too long for the system (107 bytes at most)";
    return NULL;
}

/* The forms that master/listener_address.c takes; an error here has a file and a line. */
const char *conf_check_bind(const char *text)
{
    static const char wrong[] =
        "must hold addresses such as \"0.0.0.0\", \"127.0.0.1:8000\", \"[::1]:8000\", "
        "\"*:8000\", \"localhost\" or \"unix:/run/forkmark.sock\"";
    int bits;

    if (strncmp(text, "unix:", 5) == 0)
        return check_socket_path(text + 5);
    if (is_address(text, strlen(text), &bits))
        return NULL;

    bool has_brackets = *text == '[';
    char plain[INET6_ADDRSTRLEN + 16];
    size_t before = strcspn(text, "?");
    if (has_brackets && text[before] && before < sizeof(plain)) {
        if (strcmp(text + before, "?v6only=0") != 0 &&
            strcmp(text + before, "?v6only=1") != 0)
            return wrong;
        snprintf(plain, sizeof(plain), "%.*s", (int)before, text);
        text = plain;
    }
    const char *host = text + has_brackets;
    size_t length = strcspn(host, has_brackets ? "]" : ":");
    const char *after = host + length;
    if (has_brackets && *after++ != ']')
        return wrong;
    bool is_any = length == 0 || (length == 1 && *host == '*');
    bool is_here = length == 9 && strncmp(host, "localhost", 9) == 0;
    if (has_brackets ? !is_address(host, length, &bits) || bits != 128
                     : !is_any && !is_here && !is_address(host, length, &bits))
        return wrong;
    if (!*after)
        return *text ? NULL : wrong;
    return *after == ':' && pass_number(after + 1, 65535, "") ? NULL : wrong;
}

/* "10.0.0.1", "10.0.0.0/8", "::1", or "*" for every peer. */
const char *conf_check_network(const char *text)
{
    static const char wrong[] = "must hold addresses or networks such as \"10.0.0.1\" or "
                                "\"10.0.0.0/8\", or \"*\"";
    size_t length = strcspn(text, "/");
    int bits;

    if (strcmp(text, "*") == 0)
        return NULL;
    if (!is_address(text, length, &bits))
        return wrong;
    if (!text[length] || strcmp(text + length, "/0") == 0)
        return NULL;
    return pass_number(text + length + 1, (unsigned long)bits, "") ? NULL : wrong;
}

const char *conf_check_log(const char *text)
{
    return log_sink_check(text);
}
