/*
 * redis.h - Redis: one connection per process, pipelined across tasks.
 *
 * hiredis formats commands and reads replies; the connection (TCP, Unix socket,
 * TLS by OpenSSL) is ours. All tasks share it: commands go out in order, replies
 * come back in order, each waking its task. Subscriptions use a second
 * connection, blocking commands (BLMOVE) one of their own each (redis_new again).
 *
 * A command ends at its timeout, or at its task's deadline. A connection on
 * which a reply is overdue is closed (its later replies could not be told
 * apart), everyone waiting gets an error; after `breaker_ms` it reconnects in the
 * background, with back-off, and until that has worked calls fail at once
 * (-EAGAIN). A call made while the first connection, or one after a clean end, is
 * on its way waits for it. A command that was sent may have been executed even
 * though its caller got an error; -EAGAIN says that it was not sent.
 *
 * Servers and what stands before them cut idle connections, some without a word. An
 * idle one is watched, pinged every `ping_after_ms`, and tried by a PING before it is
 * used after a second of silence: one that is dead is replaced first, within a quarter
 * of a command's timeout, and the command goes out on the new one.
 *
 * With sentinels, the server is the master they name: asked at each connect, and left
 * when they name another (redis_sentinel.h). A server that says it is no master any more
 * (READONLY) is left, too, where `needs_master`; those waiting get -ECONNRESET.
 *
 * A client that was used keeps its connection, or keeps trying, and so keeps the
 * loop running until redis_free().
 *
 * With `cluster` it is a Redis Cluster's client behind the same calls: see
 * redis_cluster.h for what is different.
 *
 * Replies live in the running task's arena. Calls yield, inside tasks only.
 */
#ifndef FORKMARK_COMMON_REDIS_H
#define FORKMARK_COMMON_REDIS_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct board_slot;
struct redis;

/* See redis_sentinel.h. count 0: none; else the URL's host and port do not count. */
struct redis_sentinel_choice {
    const char *const *places;
    size_t count;
    const char *master, *user, *password;
    bool tls;
};

struct redis_options {
    /* redis://[user:password@]host:port/db, rediss://..., unix:///path?db=0 */
    const char *url;
    const char *user, *password; /* where the URL has neither; "" or NULL: none */
    bool allow_unverified_tls;
    /* For TLS; NULL or "": the system's authorities, no certificate of ours, the host's
     * name. Files are in PEM form, and read again once they are replaced. */
    const char *ca_file, *certificate, *key;
    const char *tls_name; /* what the server's certificate must be for */
    struct redis_sentinel_choice sentinel;
    bool needs_master;      /* a replica counts as not there */
    uint64_t ping_after_ms; /* 0: idle connections are not pinged */
    uint64_t connect_timeout_ms;
    uint64_t timeout_ms;     /* one command's, unless the call says otherwise */
    uint64_t breaker_ms;     /* 0: no breaker; calls wait for the reconnect */
    const char *client_name; /* CLIENT SETNAME; NULL: none */
    /*
     * All keys of a script share a slot: so it must be where the server may be a
     * cluster one day. Builds with asserts check it, with one server as well.
     */
    bool one_slot;
    /* A cluster: "host:port" of some of its nodes, NULL-ended. Then there is no `url`;
     * all the rest is every node's. */
    const char *const *cluster;
    bool tls;
    bool read_replicas; /* redis_read_argv() asks replicas */
    /* It, or a cluster's nodes and counters, are shown there; NULL: nowhere. */
    struct board_slot *slot;
    uint32_t uses; /* enum board_redis_use, or'ed; not a cluster's */
};

/* Opens nothing yet. NULL when the URL is no such URL (logged). */
struct redis *redis_new(const struct redis_options *options);
void redis_free(struct redis *redis);
bool redis_is_cluster(const struct redis *redis);

/*
 * One command. 0 and the reply; an error reply (-ERR ...) is -EPROTO with the
 * reply in *ret. -ETIMEDOUT, -EAGAIN (breaker open, or not connected),
 * -ECONNRESET (lost while waiting). `ret` may be NULL. `format` is hiredis'
 * (%s, %b with a size_t, %lld ...).
 */
int redis_call(struct redis *redis, redisReply **ret, const char *format, ...);
int redis_call_argv(struct redis *redis, redisReply **ret, int argc,
                    const char *const *argv, const size_t *lengths);
/* The same with a timeout of its own: for blocking commands. 0: none. */
int redis_call_argv_timeout(struct redis *redis, redisReply **ret, uint64_t timeout_ms,
                            int argc, const char *const *argv, const size_t *lengths);
/* A read whose answer may be a little old: in a cluster, if so configured, a replica's.
 * Else as redis_call_argv(). */
int redis_read_argv(struct redis *redis, redisReply **ret, int argc,
                    const char *const *argv, const size_t *lengths);

/*
 * A batch: commands added, sent in one write, answered together. Replies in
 * order; error replies stand in their place. 0 when all were answered. In a cluster
 * those of one node go out together, one node after the other.
 */
struct redis_batch;
struct redis_batch *redis_batch_new(struct redis *redis); /* in the task's arena */
void redis_batch_add(struct redis_batch *batch, const char *format, ...);
void redis_batch_argv(struct redis_batch *batch, int argc, const char *const *argv,
                      const size_t *lengths);
int redis_batch_run(struct redis_batch *batch, redisReply ***ret_replies,
                    size_t *ret_count);

/*
 * A Lua script, run by EVALSHA and loaded when the server does not know it. Its
 * text is embedded from a .lua file; generated/lua_scripts.h declares
 * `extern const struct embedded_file lua_scripts[];` Make one static struct a
 * script with redis_script_init() at start.
 */
struct redis_script {
    const char *name;
    const char *text;
    bool any_slots; /* its caller minds `one_slot` where there is a cluster */
    char sha1[41];
};
void redis_script_init(struct redis_script *script, const char *name, const char *text);
/* keys and args are plain texts; lengths NULL: strlen. */
int redis_run_script(struct redis *redis, const struct redis_script *script,
                     redisReply **ret, int key_count, const char *const *keys,
                     int arg_count, const char *const *args, const size_t *arg_lengths);

/*
 * Subscriptions: `message` is called on the loop's stack for each message, and
 * must not yield. They survive reconnects; `gap` (may be NULL) is called after
 * one, since messages may have been missed, and after the first connection when
 * that came later than the subscription. By then the server has confirmed the
 * channel: whoever reads the truth in it has caught up. Does not yield; works
 * outside tasks.
 */
struct redis_subscription;
struct redis_subscription *redis_subscribe(struct redis *redis, const char *channel,
                                           void (*message)(void *arg, const char *channel,
                                                           const char *data,
                                                           size_t length),
                                           void (*gap)(void *arg), void *arg);
void redis_unsubscribe(struct redis_subscription *subscription);

/*
 * A replica that takes its primary's place may lack what that one had acknowledged last.
 * Up to which moment (Unix time in microseconds) that may be so for this key; with NULL,
 * for any key. 0: as far as this process has seen, it never was.
 */
int64_t redis_lost_until_us(const struct redis *redis, const char *key, size_t length);

bool redis_is_up(const struct redis *redis); /* connected and the breaker closed */
/* What is wrong with its connection, and what helps; "": nothing is. */
const char *redis_trouble(const struct redis *redis);
/* The last attempt to connect failed for a reason that will not go away unless somebody
 * changes something: a certificate, a password, an option. */
bool redis_is_refused(const struct redis *redis);

#endif
