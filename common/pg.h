/*
 * pg.h - PostgreSQL: one pool per process and server, straight-line queries for tasks.
 *
 * Base connections stay open, overflow connections close when given back. A
 * connection is recycled after pool_recycle, pinged before use only after it
 * idled, and replaced with back-off after a failure. A query ends at its task's
 * deadline or at statement_timeout, whichever is first; then it is cancelled on
 * the server too (PQcancel in the thread pool). A connection released with a
 * query in flight is closed, not reused. The server's host name is resolved in
 * the thread pool and passed as hostaddr, since libpq resolves blocking. Queries
 * that are `quick` share a few of the base connections, in libpq's pipeline mode.
 *
 * Servers. `struct pg` is the primary with all its replicas, each with a pool of its own.
 * Everything but pg_read() is for the primary, wherever that is: with several hosts in
 * its URL a connection that is lost, or that turns out to be read-only, is followed by
 * one to the host that takes writes. pg_read() is for queries of `route: replica`: it
 * goes to the healthy replica with the fewest queries in flight that is fresh enough for
 * whoever reads, else to the primary, else to the replica that is the furthest; and once
 * more elsewhere when a server fails. Health and lag are asked by tasks of their own,
 * every `probe_ms` (pg_lag.c). Without replicas none of that exists or costs anything.
 *
 * Reading one's own writes. A position is one in the primary's log (an LSN), 0 for none.
 * pg_commit_at() and pg_write() also ask, in the same batch, how far the log is right
 * behind the commit; who keeps that for the user (cache.h) and hands it to the user's
 * next reads is never shown a time before the write.
 *
 * Every call yields and must be made inside a task; results live in its arena.
 */
#ifndef FORKMARK_COMMON_PG_H
#define FORKMARK_COMMON_PG_H

#include "common/query.h"
#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct board_slot;
struct buf;

struct pg_options {
    const char *url;                      /* postgresql://... or key=value form */
    const char *ssl_mode, *ssl_root_cert; /* where the URL does not say; may be NULL */
    const char *option; /* where the URL stands, for messages; NULL: database.url */
    int size, overflow;
    int pipelines; /* of `size`, those that quick reads share; none unless `prepared` */
    bool prepared; /* false: unnamed statements (transaction poolers) */
    uint64_t acquire_timeout_ms, recycle_ms, connect_timeout_ms, statement_timeout_ms,
        ping_after_ms;
    const char *application_name;
    struct board_slot *slot;  /* counters; NULL is fine */
    struct scoreboard *board; /* where servers have their places; NULL is fine */
    /* URLs of the replicas that pg_read() may use; copied. Each has a pool as large. */
    const char *const *replicas;
    size_t replica_count;
    uint64_t max_lag_ms, probe_ms;
    /* Somebody reads from replicas, perhaps another process: positions are asked for. */
    bool keeps_positions;
};

struct pg;
/* Opens nothing yet; needs the runtime when there are replicas. The caller owns it. */
struct pg *pg_new(const struct pg_options *options);
/* Closes idle connections; those in use close when released. */
void pg_free(struct pg *pg);

/*
 * Errors, negative: -EAGAIN no connection in time or the server is away (503),
 * -ETIMEDOUT the statement's time is over, -EEXIST unique violation, -ENOENT
 * foreign key violation, -ERANGE value too long or out of range, -EDEADLK
 * serialisation failure or deadlock, -ENOSYS undefined table or column,
 * -EIO anything else (logged with SQLSTATE).
 */

/* A parameter; texts are borrowed until the call returns. */
struct pg_param {
    enum { PG_NULL, PG_INT, PG_TEXT, PG_BYTES, PG_DOUBLE, PG_BOOL } kind;
    int64_t number;
    double real;
    const char *data;
    size_t length;
};
static inline struct pg_param pg_null(void)
{
    return (struct pg_param){ .kind = PG_NULL };
}
static inline struct pg_param pg_int(int64_t value)
{
    return (struct pg_param){ .kind = PG_INT, .number = value };
}
static inline struct pg_param pg_bool(bool value)
{
    return (struct pg_param){ .kind = PG_BOOL, .number = value };
}
static inline struct pg_param pg_double(double value)
{
    return (struct pg_param){ .kind = PG_DOUBLE, .real = value };
}
/* NULL text: SQL NULL. */
static inline struct pg_param pg_text(const char *text)
{
    return (struct pg_param){ .kind = text ? PG_TEXT : PG_NULL, .data = text };
}
static inline struct pg_param pg_bytes(const void *data, size_t length)
{
    return (struct pg_param){ .kind = PG_BYTES, .data = data, .length = length };
}
#define PG_ARGS(...)                                             \
    (const struct pg_param[]){ __VA_ARGS__ },                    \
        (int)(sizeof((const struct pg_param[]){ __VA_ARGS__ }) / \
              sizeof(struct pg_param))
#define PG_NO_ARGS NULL, 0

/* Rows, in text format, owned by the arena they were asked into. */
struct pg_rows {
    PGresult *result;
    int count;    /* rows */
    int affected; /* of INSERT, UPDATE, DELETE */
};
bool pg_is_null(const struct pg_rows *rows, int row, int column);
const char *pg_get_text(const struct pg_rows *rows, int row,
                        int column); /* "" for NULL */
size_t pg_get_length(const struct pg_rows *rows, int row, int column);
int64_t pg_get_int(const struct pg_rows *rows, int row, int column); /* 0 for NULL */
double pg_get_double(const struct pg_rows *rows, int row, int column);
bool pg_get_bool(const struct pg_rows *rows, int row, int column);

/* One statement on a connection of its own. `ret` may be NULL. Yields. 0 or an error. */
int pg_run(struct pg *pg, const struct query *query, const struct pg_param *params,
           int count, struct pg_rows *ret);

/*
 * A transaction: holds one connection until commit or rollback; rolled back by
 * the arena when neither was called. After an error only rollback is useful.
 */
struct pg_tx;
int pg_begin(struct pg *pg, struct pg_tx **ret); /* Yields. */
int pg_tx_run(struct pg_tx *tx, const struct query *query, const struct pg_param *params,
              int count, struct pg_rows *ret); /* Yields. */
int pg_commit(struct pg_tx *tx);               /* Yields. 0: durable. */
void pg_rollback(struct pg_tx *tx);            /* Yields. */
/* After an error: the connection broke while a statement was under way, without a word of
 * the server's: it was no orderly restart, and no time was over. */
bool pg_tx_is_lost(const struct pg_tx *tx);

/*
 * What somebody has written, for those who read it next. PG_POSITION_NONE: nobody keeps
 * positions. PG_POSITION_UNKNOWN: it is written, but where the server did not say. With
 * an error NONE says that nothing is written, for certain, and UNKNOWN that it may be:
 * the answer was lost on the way. Who has told others of what he writes tells them then,
 * too (cache_write_end()).
 */
#define PG_POSITION_NONE    UINT64_C(0)
#define PG_POSITION_UNKNOWN UINT64_MAX
/* Commits, and asks for the position in the same batch. As pg_commit(). */
int pg_commit_at(struct pg_tx *tx, uint64_t *ret_position);
/* pg_run() on the primary, for one statement that writes; the same. */
int pg_write(struct pg *pg, const struct query *query, const struct pg_param *params,
             int count, struct pg_rows *ret, uint64_t *ret_position);

/* How fresh a server must be for whoever reads. All 0: nothing is known, the primary. */
enum pg_freshness {
    PG_FRESH_PRIMARY,
    PG_FRESH_ANY, /* any replica within max_lag */
    PG_FRESH_AT,  /* one that has passed `position`, too */
};
struct pg_reader {
    enum pg_freshness freshness;
    uint64_t position;
    /* Set by pg_read(): there was no other server left than one that may not have all
     * that this reader has written. What was read is not to be kept. */
    bool was_behind;
};
/* A query of `route: replica`, as pg_run(). Yields. 0 or an error. */
int pg_read(struct pg *pg, struct pg_reader *reader, const struct query *query,
            const struct pg_param *params, int count, struct pg_rows *ret);
/* How long after a write it takes at most until every replica in use has it; 0: there are
 * no replicas, and no position is of use. */
uint64_t pg_settled_ms(const struct pg *pg);
/* Whether the server that should be the primary was found to be a replica (of somebody);
 * without replicas of its own nobody looks. */
bool pg_is_read_only(const struct pg *pg);
/* Whether some replica can serve reads now. */
bool pg_has_reader(const struct pg *pg);

/* Whether the server answers, within `timeout_ms`. Yields. 0 or an error. */
int pg_ping(struct pg *pg, uint64_t timeout_ms);

struct pg_stats {
    int open, in_use, idle, waiting;
    uint64_t acquired, waited, failed, reconnects;
    uint64_t pipelined; /* statements on shared connections */
};
void pg_stats(const struct pg *pg, struct pg_stats *ret);
/* "host:port" of each host in a URL: what a server is called in logs and metrics. */
void pg_server_name(const char *url, char *ret, size_t room);
/* Why the last attempt to connect failed, one line; "" when none has. */
const char *pg_last_error(const struct pg *pg);

#endif
