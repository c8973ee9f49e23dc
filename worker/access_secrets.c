/*
 * access_secrets.c - see access_secrets.h.
 */
#include "worker/access_secrets.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const secret_headers[] = {
    "Authorization",       "Cookie",           "Set-Cookie",
    "Proxy-Authorization", "X-Internal-Token", "X-API-Key",
};

bool access_is_secret_header(const char *name)
{
    for (size_t i = 0; i < sizeof(secret_headers) / sizeof(secret_headers[0]); i++)
        if (strcasecmp(name, secret_headers[i]) == 0)
            return true;
    return false;
}

static bool is_secret_parameter(const char *name)
{
    static const char *const words[] = { "token", "password", "secret", "key" };

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcasestr(name, words[i]))
            return true;
    return false;
}

/* A name that is written "%74oken" is one as well. The arena may be full by now, so
 * nothing here is decoded into it; a longer name is none of ours. */
static bool is_secret_pair(const char *pair, size_t name_length)
{
    char name[64];
    size_t length = 0;

    for (size_t i = 0; i < name_length && length < sizeof(name) - 1; i++) {
        char digits[3] = "", c = pair[i];

        if (pair[i] == '%' && i + 2 < name_length &&
            isxdigit((unsigned char)pair[i + 1]) &&
            isxdigit((unsigned char)pair[i + 2])) {
            memcpy(digits, pair + i + 1, 2);
            c = (char)strtol(digits, NULL, 16);
            i += 2;
        }
        if (c) /* as the router drops it */
            name[length++] = c;
    }
    name[length] = '\0';
    return is_secret_parameter(name);
}

void access_add_query(struct buf *out, const char *query_string)
{
    const char *pair = query_string;

    while (*pair) {
        size_t length = strcspn(pair, "&");
        size_t name_length = strcspn(pair, "=&");

        if (name_length < length && is_secret_pair(pair, name_length))
            buf_addf(out, "%.*s=%s", (int)name_length, pair, ACCESS_HIDDEN);
        else
            buf_addf(out, "%.*s", (int)length, pair);
        pair += length;
        if (*pair)
            buf_addc(out, *pair++);
    }
}
