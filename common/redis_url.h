/*
 * redis_url.h - where a Redis is, read from its URL.
 *
 *   redis://[user[:password]@]host[:port][/db]      rediss:// with TLS
 *   unix://[user[:password]@]/path/of.sock[?db=1]   a Unix socket
 *
 * The query may hold db, user (or username), password, ssl_cert_reqs, ssl_ca_certs,
 * ssl_certfile and ssl_keyfile, as redis-py reads them, since people bring such URLs
 * along. All are percent-decoded.
 */
#ifndef FORKMARK_COMMON_REDIS_URL_H
#define FORKMARK_COMMON_REDIS_URL_H

#include <stdbool.h>
#include <stddef.h>

#define REDIS_URL_TEXT 512
#define REDIS_URL_PATH 256

struct redis_address {
    bool is_unix, tls, allow_unverified;
    char host[REDIS_URL_PATH]; /* or the socket's path */
    char port[8];
    char user[REDIS_URL_TEXT]; /* "": the default user */
    char password[REDIS_URL_TEXT];
    int db;
    /* With TLS; "": the system's authorities, no certificate of our own, the host. */
    char ca_file[REDIS_URL_PATH], certificate[REDIS_URL_PATH], key[REDIS_URL_PATH];
    char tls_name[REDIS_URL_PATH]; /* what the certificate must be for, and SNI */
};

/* False with the reason in `error` (never the password); then `ret` is undefined. */
bool redis_url_parse(const char *url, struct redis_address *ret, char *error,
                     size_t error_size);
/* "host", "host:port", "[v6]:port": sets host and port (`port` when there is none). */
bool redis_address_parse(const char *text, const char *port, struct redis_address *ret);
/* "host:6379/2" or "/path/of.sock": for log lines. */
void redis_address_show(const struct redis_address *address, char *ret, size_t size);

#endif
