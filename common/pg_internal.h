/*
 * pg_internal.h - what the pool's files share. Nothing else includes this.
 *
 *   pg_pool.c        who gets which connection: acquire, release, waiting, back-off
 *   pg_connection.c  one connection: open, watch, shut, cancel on the server
 *   pg_resolve.c     host names to addresses, in the thread pool
 *   pg_statement.c   one statement on a connection: send, wait, read
 *   pg_error.c       SQLSTATE to errno
 *   pg_query.c       the public calls
 */
#ifndef FORKMARK_COMMON_PG_INTERNAL_H
#define FORKMARK_COMMON_PG_INTERNAL_H

#include "common/pg.h"
#include "common/task.h"

struct arena_deferred;

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

    const char **labels; /* "pg:<query>" by query id, made at first use */
    uint64_t acquired, waited, failed, reconnects;
};

struct pg_connection {
    struct pg *pg;
    PGconn *libpq;
    uv_poll_t *poll; /* always watched for reading; NULL once the socket is gone */
    struct pg_connection *next; /* idle list */
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

/* pg_error.c: 0 for a result that is none; logs what a caller cannot know. */
int pg_error_of(const PGresult *result, const char *what);
int pg_error_of_state(const char *sqlstate);

#endif
