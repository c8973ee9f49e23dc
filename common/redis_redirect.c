/*
 * redis_redirect.c - see redis_redirect.h.
 */
#include "common/redis_redirect.h"
#include "common/redis_slot.h"
#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *word;
    enum redirect_kind kind;
} words[] = {
    { "MOVED ", REDIRECT_MOVED },   { "ASK ", REDIRECT_ASK },
    { "TRYAGAIN", REDIRECT_HALF },  { "CLUSTERDOWN", REDIRECT_DOWN },
    { "LOADING", REDIRECT_DOWN },   { "MASTERDOWN", REDIRECT_DOWN },
    { "READONLY ", REDIRECT_DOWN }, /* a primary that has just been replaced */
};

/* "3999 127.0.0.1:6381", "3999 ::1:6381", "3999 :6381"; the last colon counts. */
static bool read_target(const char *text, struct redirect *ret)
{
    char *end;
    unsigned long slot = strtoul(text, &end, 10);
    const char *host = end + 1, *colon = strrchr(text, ':');

    if (!isdigit((unsigned char)*text) || *end != ' ' || slot >= REDIS_SLOTS || !colon ||
        colon < host)
        return false;
    size_t host_length = (size_t)(colon - host), port_length = strlen(colon + 1);
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (!isdigit((unsigned char)colon[1]) || *end || port == 0 || port > 65535 ||
        host_length >= sizeof(ret->host) || port_length >= sizeof(ret->port))
        return false;
    ret->slot = (uint16_t)slot;
    memcpy(ret->host, host, host_length);
    ret->host[host_length] = '\0';
    memcpy(ret->port, colon + 1, port_length + 1);
    return true;
}

void redis_redirect_read(const redisReply *reply, struct redirect *ret)
{
    ret->kind = REDIRECT_NONE;
    if (reply->type != REDIS_REPLY_ERROR)
        return;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        size_t length = strlen(words[i].word);

        if (strncmp(reply->str, words[i].word, length) != 0)
            continue;
        bool has_target =
            words[i].kind == REDIRECT_MOVED || words[i].kind == REDIRECT_ASK;
        if (!has_target || read_target(reply->str + length, ret))
            ret->kind = words[i].kind;
        return;
    }
}
