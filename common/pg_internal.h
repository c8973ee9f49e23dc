/*
 * pg_internal.h - what the pool's files share. Nothing else includes this.
 *
 *   pg_pool.c        who gets which connection: acquire, release, waiting, back-off
 *   pg_connection.c  one connection: open, watch, shut, cancel on the server
 *   pg_resolve.c     host names to addresses, in the thread pool
 *   pg_statement.c   one statement on a connection: send, wait, read
 *   pg_pipe.c        quick reads of many tasks on a few shared connections
 *   pg_error.c       SQLSTATE to errno
 *   pg_query.c       the public calls
 */
#ifndef FORKMARK_COMMON_PG_INTERNAL_H
#define FORKMARK_COMMON_PG_INTERNAL_H

#include "common/pg.h"
#include "common/task.h"

struct arena_deferred;
struct pg_pipe;
struct pg_pipes;

/* A task that waits for a connection. Lives in its arena, on the pool's queue. */
struct pg_waiter {
    struct pg_waiter *next, *previous;
    struct task *task;
    uint64_t ticket; /* the queue is in this order */
    struct pg_lease *lease;
    struct pg *pg;
    bool is_queued;
};

struct pg {
    struct pg_options options; /* its texts are ours */
    PQconninfoOption *info;    /* the parsed URL */
    int references;            /* the owner's, and one per connection object */
    bool is_closing;

    /* Every open connection is counted in `open`; the idle ones stand in the list,
     * the one used last first, so that a quiet pool keeps few of them warm. */
    struct pg_connection *idle_first;
    int open, connecting, idle;
    struct pg_waiter *waiting_first, *waiting_last;
    int waiting;
    uint64_t next_ticket;

    /* After a failed connect nobody tries before retry_at, then one at a time. */
    int failures;
    uint64_t retry_at, failing_since;
    char last_error[200];

    struct pg_pipes *pipes; /* NULL: none */

    const char **labels; /* "pg:<query>" by query id, made at first use */
    uint64_t acquired, waited, failed, reconnects, pipelined;
};

struct pg_connection {
    struct pg *pg;
    PGconn *libpq;
    uv_poll_t *poll; /* always watched for reading; NULL once the socket is gone */
    struct pg_connection *next; /* idle list */
    struct pg_pipe *pipe;       /* whose it is; NULL: one task's at a time */
    struct task *waiter;        /* parked until the socket says more */
    PGresult *result;           /* of the statement that ran last */
    uint64_t *prepared;         /* bit per query id */
    uint64_t opened_at, idle_since, connect_began;
    bool is_idle, is_connecting, is_lent;
    bool is_shut;    /* has left the pool; the object waits for its lease to end */
    bool in_flight;  /* sent and not answered to the end */
    bool wants_room; /* the waiter waits for writability too */
    bool is_lost;    /* the socket failed */
    bool was_unsent; /* the statement that failed had no effect, for certain */
};

/* What a task holds; in its arena, given back by the arena at the latest. */
struct pg_lease {
    struct pg_connection *connection;
    struct arena_deferred *deferred;
};

/* pg_pool.c. `wait_ms`: the longest wait. Yields. 0 or -EAGAIN. */
int pg_acquire(struct pg *pg, uint64_t wait_ms, struct pg_lease **ret);
void pg_release(struct pg_lease *lease);
/* A connection has been shut: its place may be taken. */
void pg_place_is_free(struct pg *pg);
void pg_connect_failed(struct pg *pg, const char *why);
void pg_forget_idle(struct pg_connection *connection);
/* Whether one more connection may be opened now, overflow included. */
bool pg_may_open(const struct pg *pg);
void pg_count_in_use(const struct pg *pg, int change);
void pg_unref(struct pg *pg);

/* pg_connection.c */
struct pg_connection *pg_connection_new(struct pg *pg);
/* Yields. 0 or -EAGAIN (and the pool's back-off was told). */
int pg_connection_open(struct pg_connection *connection);
/* Closes the socket; a statement in flight is cancelled on the server. Keeps the object.
 */
void pg_connection_shut(struct pg_connection *connection);
void pg_connection_free(struct pg_connection *connection);
/* The server has said or done something while nobody asked. False: shut it. */
bool pg_connection_is_alive(struct pg_connection *connection);
/* Yields until the socket has news or `deadline` (clock_ms()); on -ETIMEDOUT, and
 * when the task is ended here, the connection is shut. 0 or -ETIMEDOUT. */
int pg_connection_wait(struct pg_connection *connection, const char *label,
                       uint64_t deadline);
/* libpq closes its socket by itself when it fails: stops watching it then. */
void pg_connection_check_socket(struct pg_connection *connection);
void pg_connection_set_busy(struct pg_connection *connection, bool is_busy);
/* Sends what libpq holds back, now or when there is room; sets is_lost when it failed. */
void pg_connection_flush(struct pg_connection *connection);
/* Which queries are prepared on it. */
bool pg_connection_has_prepared(const struct pg_connection *connection,
                                const struct query *query);
void pg_connection_set_prepared(struct pg_connection *connection,
                                const struct query *query, bool is_prepared);

/* pg_resolve.c: the connection parameters, with host names resolved, in the task's
 * arena, for PQconnectStartParams. Yields. 0 or -EAGAIN and `ret_error`. */
struct pg_parameters {
    const char **keywords, **values;
};
int pg_resolve(const struct pg *pg, uint64_t timeout_ms, struct pg_parameters *ret,
               const char **ret_error);

/* pg_statement.c: the result, if any, is in connection->result. Yield. 0 or an error. */
int pg_statement_run(struct pg_connection *connection, const struct query *query,
                     const struct pg_param *params, int count, uint64_t deadline);
int pg_statement_command(struct pg_connection *connection, const char *label,
                         const char *command, uint64_t deadline);
/* Only hands it to libpq. False: it could not. */
bool pg_statement_send(struct pg_connection *connection, const struct query *query,
                       const struct pg_param *params, int count, bool by_name);
/* The statement's name or plan is not this connection's any more: prepare it anew. */
bool pg_statement_is_stale(const PGresult *result);
/* "pg:<query>", for reports. */
const char *pg_statement_label(struct pg *pg, const struct query *query);

/* pg_pipe.c. One quick query; its rows live in the task's arena. Yields. 0, an error, or
 * PG_NOT_HERE: nothing came of it, run it on a connection of its own. */
#define PG_NOT_HERE 1
int pg_pipe_run(struct pg *pg, const struct query *query, const struct pg_param *params,
                int count, struct pg_rows *ret);
/* The socket of a pipe's connection has news. */
void pg_pipe_ready(struct pg_pipe *pipe, bool has_room);
struct pg_pipes *pg_pipes_new(struct pg *pg, int count);
/* Closes the connections; who waits is told PG_NOT_HERE. */
void pg_pipes_close(struct pg_pipes *pipes);
void pg_pipes_free(struct pg_pipes *pipes);
int pg_pipes_idle(const struct pg_pipes *pipes);

/* pg_query.c: `result` stays its owner's. */
void pg_rows_of(PGresult *result, struct pg_rows *ret);

/* pg_error.c: 0 for a result that is none; logs what a caller cannot know. */
int pg_error_of(const PGresult *result, const char *what);
int pg_error_of_state(const char *sqlstate);

#endif
