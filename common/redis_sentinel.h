/*
 * redis_sentinel.h - which Redis is the master now, as its sentinels say.
 *
 * One struct a process for each set of sentinels, shared by all its connections. Each
 * time a connection is made, the sentinels are asked, the one first that answered last;
 * and as long as somebody listens, a connection to one of them is held open on which
 * they announce another master (+switch-master), so that a master that hangs, or was
 * cut off alive, is left at once and not at the next timeout.
 *
 * A sentinel may be wrong for a moment: whoever connects asks the server for its ROLE
 * (redis_talk.h), and says redis_sentinels_doubt() when that is no master.
 */
#ifndef FORKMARK_COMMON_REDIS_SENTINEL_H
#define FORKMARK_COMMON_REDIS_SENTINEL_H

#include "common/redis_url.h"
#include <stddef.h>
#include <stdint.h>

struct redis_sentinels;

struct redis_sentinel_options {
    const char *const *places; /* "host" or "host:port", by default 26379 */
    size_t count;
    const char *master;          /* the name they know it by */
    const char *user, *password; /* of the sentinels themselves; "": none */
    /* Borrowed during the call: how TLS is done, where the sentinels speak it. */
    const struct redis_address *tls_like;
    bool tls;
    uint64_t timeout_ms; /* for asking one */
};

/* Opens nothing yet. NULL: one of the places is no address (logged). */
struct redis_sentinels *
redis_sentinels_open(const struct redis_sentinel_options *options);
void redis_sentinels_close(struct redis_sentinels *sentinels); /* NULL is fine */

/*
 * Sets host and port of `address` to the master's. When no sentinel answers, to those of
 * the last one known, if there is one: a fail-over is impossible then. Yields. 0, or a
 * negative errno with the reason in `error`; -EACCES as in redis_talk.h.
 */
int redis_sentinels_find(struct redis_sentinels *sentinels, uint64_t until_ms,
                         struct redis_address *address, char *error, size_t error_size);
/* What they named was no master: the next question goes to another one. */
void redis_sentinels_doubt(struct redis_sentinels *sentinels);
const char *redis_sentinels_master(const struct redis_sentinels *sentinels);

/*
 * `switched` is called, on any stack, when the sentinels name a master; it may be the
 * one that is known already. It must not yield. In place, from listen to unlisten.
 */
struct redis_ear {
    struct redis_ear *next, **link; /* link NULL: does not listen */
    void (*switched)(void *arg, const char *host, const char *port);
    void *arg;
};
void redis_sentinels_listen(struct redis_sentinels *sentinels, struct redis_ear *ear);
void redis_sentinels_unlisten(struct redis_sentinels *sentinels, struct redis_ear *ear);

#endif
