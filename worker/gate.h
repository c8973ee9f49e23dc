/*
 * gate.h - what Redis says about a request, in one round trip (scripts/gate.lua):
 * whether its token is revoked, the user's cache generation, the rate limit, and, where
 * there are read replicas, how far one must be to show this user's own writes.
 *
 * All keys of a user carry {u<id>}, those of an address {ip<address>}, so that one
 * request's keys share a cluster slot.
 */
#ifndef FORKMARK_WORKER_GATE_H
#define FORKMARK_WORKER_GATE_H

#include "common/pg.h"
#include "common/redis.h"
#include "common/token.h"
#include "worker/limits.h"

enum gate_token { GATE_REVOKED = -1, GATE_UNKNOWN, GATE_GOOD };

struct gate_answer {
    enum gate_token token;   /* GATE_UNKNOWN: PostgreSQL knows */
    const char *generation;  /* of the user, in the task's arena; NULL: nobody */
    struct pg_reader reader; /* how fresh a server this user needs */
    /* The window nearest to its end; NULL: the route is not limited. */
    const struct limit_window *window;
    int64_t left, reset; /* requests; Unix seconds */
    int64_t wait;        /* seconds; 0: the request passes */
};

/* The scripts and the prefix of keys (borrowed); once per process. `settled_ms`: as
 * pg_settled_ms() says, 0 without read replicas. `is_cluster`: see gate_batch.h. */
void gate_init(const char *prefix, uint64_t settled_ms, bool is_cluster);

/* Each route has counters of its own. Both yield. 0, or an error of redis_call(). */
int gate_ask_user(struct redis *redis, const struct token *token,
                  const struct limit *limit, const struct route *route,
                  struct gate_answer *ret);
int gate_ask_address(struct redis *redis, const char *address, const struct limit *limit,
                     const struct route *route, struct gate_answer *ret);

/* What PostgreSQL said about a family, for the next requests. Yields. Best effort. */
void gate_put_family(struct redis *redis, int32_t user_id, const char *family_id,
                     bool is_good, int64_t seconds);
/* Until it expires by itself. Yields. 0 or an error of redis_call(). */
int gate_revoke_token(struct redis *redis, const struct token *token);

#endif
