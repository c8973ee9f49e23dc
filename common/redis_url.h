/*
 * redis_url.h - where a Redis is, read from its URL.
 *
 *   redis://[user[:password]@]host[:port][/db]      rediss:// with TLS
 *   unix://[user[:password]@]/path/of.sock[?db=1]   a Unix socket
 *
 * The query may hold db, user (or username), password and ssl_cert_reqs, as
 * redis-py reads them, since people bring such URLs along. User and password are
 * percent-decoded.
 */
#ifndef FORKMARK_COMMON_REDIS_URL_H
#define FORKMARK_COMMON_REDIS_URL_H

#include <stdbool.h>
#include <stddef.h>

#define REDIS_URL_TEXT 512

struct redis_address {
    bool is_unix, tls, allow_unverified;
    char host[256]; /* or the socket's path */
    char port[8];
    char user[REDIS_URL_TEXT]; /* "": the default user */
    char password[REDIS_URL_TEXT];
    int db;
};

/* False with the reason in `error` (never the password); then `ret` is undefined. */
bool redis_url_parse(const char *url, struct redis_address *ret, char *error,
                     size_t error_size);
/* "host:6379/2" or "/path/of.sock": for log lines. */
void redis_address_show(const struct redis_address *address, char *ret, size_t size);

#endif
