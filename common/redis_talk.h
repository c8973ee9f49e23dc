/*
 * redis_talk.h - a conversation with a Redis in straight lines, inside one task.
 *
 * For the first words on a connection that redis_link.c then keeps, and for those that
 * are short altogether: asking a sentinel. Everything yields and ends at `until_ms`.
 */
#ifndef FORKMARK_COMMON_REDIS_TALK_H
#define FORKMARK_COMMON_REDIS_TALK_H

#include "common/redis_stream.h"
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdint.h>

struct buf;

#define REDIS_REASON 480

struct redis_talk {
    const struct redis_address *address; /* borrowed */
    struct redis_stream *stream;
    redisReader *reader;
    uint64_t until_ms; /* as clock_ms(); may be moved */
    bool is_kept;
    char error[REDIS_REASON]; /* after a failure: the reason, and what helps */
};

/*
 * Connects. The talk lives in the task's arena, which closes it in the end unless
 * redis_talk_keep() is called. 0, or a negative errno with the reason in `error`;
 * -EACCES: it will fail again until somebody changes something.
 */
struct redis_talk *redis_talk_new(uint64_t until_ms);
int redis_talk_open(struct redis_talk *talk, const struct redis_address *address);
/* Closes before the arena does. */
void redis_talk_close(struct redis_talk *talk);
/* Stream and reader are the caller's from here on. */
void redis_talk_keep(struct redis_talk *talk);

extern const char
    redis_talk_tls[]; /* what is said of a server with TLS, on plain words */
int redis_talk_send(struct redis_talk *talk, const struct buf *out);
/* The next reply; the caller frees it. -EPROTO: what came is not Redis' protocol. */
int redis_talk_reply(struct redis_talk *talk, redisReply **ret);

/* As whom to speak. `user` "": the default user; `password` "": no AUTH at all. */
struct redis_login {
    const char *user, *password;
    const char *client_name; /* ""; none */
    int db;
    bool needs_master;   /* a replica, a sentinel: refused */
    bool is_reader;      /* READONLY: a cluster's replica answers reads */
    const char *options; /* that hold user and password, for messages */
};
/* AUTH, CLIENT SETNAME, SELECT, READONLY, ROLE and PING, as far as they are needed. As
 * above. */
int redis_talk_log_in(struct redis_talk *talk, const struct redis_login *login);

#endif
