/*
 * deployment.c - see deployment.h.
 */
#include "master/deployment.h"
#include "common/log.h"
#include "common/options.h"
#include "queries.h"
#include <libpq-fe.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name; /* the option's, and the row's */
    size_t field;     /* in struct options */
    const char *consequence;
} shared[] = {
    { "auth.jwt_secret", offsetof(struct options, auth.jwt_secret),
      "a token that one of them has signed is refused by the other" },
    { "auth.secret_key", offsetof(struct options, auth.secret_key),
      "keys that one of them has stored cannot be read by the other" },
    { "redis.prefix", offsetof(struct options, redis.prefix),
      "what one of them changes stays in the other's cache, and limits are counted "
      "twice" },
};

void deployment_fingerprint(const char *name, const char *secret,
                            char ret[FINGERPRINT_SIZE])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;

    HMAC(EVP_sha256(), secret, (int)strlen(secret), (const unsigned char *)name,
         strlen(name), digest, &length);
    for (size_t i = 0; i < (FINGERPRINT_SIZE - 1) / 2; i++)
        snprintf(ret + 2 * i, 3, "%02x", digest[i]);
}

static void compare_one(PGconn *connection, size_t i, const char *secret,
                        const char *server)
{
    char value[FINGERPRINT_SIZE];
    const char *const values[] = { shared[i].name, value, server };

    deployment_fingerprint(shared[i].name, secret, value);
    PGresult *result = PQexecParams(connection, sql_deployment_note.text, 3, NULL, values,
                                    NULL, NULL, 0);
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        log_debug("%s could not be compared with other servers': %s", shared[i].name,
                  PQerrorMessage(connection));
    else if (PQntuples(result) > 0)
        log_warn(
            "%s is not what server %s noted in this database on %s: %s. Every server "
            "needs the same; if it was changed on purpose, all of them have to be "
            "given the new one",
            shared[i].name, PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1),
            shared[i].consequence);
    PQclear(result);
}

void deployment_compare(const struct options *options, const char *url)
{
    const char *const names[] = { "connect_timeout", "dbname", "application_name", NULL };
    const char *const values[] = { "5", url, "forkmark probe", NULL };
    char server[HOST_NAME_MAX + 1] = "";

    gethostname(server, sizeof(server) - 1);
    PGconn *connection = PQconnectdbParams(names, values, 1);
    for (size_t i = 0;
         i < sizeof(shared) / sizeof(shared[0]) && PQstatus(connection) == CONNECTION_OK;
         i++)
        compare_one(
            connection, i,
            *(char *const *)(const void *)((const char *)options + shared[i].field),
            server);
    PQfinish(connection);
}
