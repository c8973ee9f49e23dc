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
 *   pg_route.c       a primary and its replicas: which one serves a read
 *   pg_lag.c         how each of them is: health, position, lag
 *   pg_board.c       the same for status and metrics, in the scoreboard
 */
#ifndef FORKMARK_COMMON_PG_INTERNAL_H
#define FORKMARK_COMMON_PG_INTERNAL_H

#include "common/pg.h"
#include "common/scoreboard.h"
#include "common/task.h"

struct arena_deferred;
struct board_server;
struct pg_pipe;
struct pg_pipes;
struct pg_route;

/* What the last probe found; see pg_lag.c. */
struct pg_health {
    enum { PG_STATE_UNKNOWN, PG_STATE_UP, PG_STATE_DOWN } state;
    bool is_replica;   /* in recovery: it takes no writes */
    bool is_probing;   /* a probe is under way */
    uint64_t position; /* replayed so far; of a primary: written */
    /* Of a replica: what the primary had written by then (clock_ms()) is here; 0: that
     * has not been seen yet. */
    uint64_t caught_up_ms;
};

/* A task that waits for a connection. Lives in its arena, on the pool's queue. */
struct pg_waiter {
    struct pg_waiter *next, *previous;
    struct task *task;
    uint64_t ticket; /* the queue is in this order */
    struct pg_lease *lease;
    struct pg *pg;
    bool is_queued;
    bool is_probe; /* has a place of its own */
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
    bool is_silent;    /* the last attempt to connect got no answer at all */
    uint64_t heard_ms; /* uv_now() when any connection last said something */

    struct pg_pipes *pipes; /* NULL: none */

    struct pg_connection *all_first; /* every connection there is */
    unsigned epoch;                  /* grows when all that is open leads to the wrong
                                      * server: those connections are not used again */
    unsigned first_host;             /* of a URL with several: where an attempt starts */

    char name[BOARD_SERVER_NAME]; /* "10.0.0.2:5432", for people */
    struct pg_route *route;       /* of a primary with replicas */
    struct pg *primary;           /* of a replica */
    struct pg_health health;
    struct board_server *board; /* our line in the scoreboard; NULL: none */
    int board_place;            /* where its counters are; -1: nowhere */

    const char **labels; /* "pg:<query>" by query id, made at first use */
    uint64_t acquired, waited, failed, reconnects, pipelined;
};

struct pg_connection {
    struct pg *pg;
    PGconn *libpq;
    uv_poll_t *poll; /* always watched for reading; NULL once the socket is gone */
    struct pg_connection *next; /* idle list */
    struct pg_connection *all_next, *all_previous;
    unsigned epoch;
    uint64_t position;    /* what the statement that ran last was asked for; or UNKNOWN */
    struct pg_pipe *pipe; /* whose it is; NULL: one task's at a time */
    struct task *waiter;  /* parked until the socket says more */
    PGresult *result;     /* of the statement that ran last */
    uint64_t *prepared;   /* bit per query id */
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

/* pg_pool.c. `primary` NULL: it is one. */
struct pg *pg_new_of(const struct pg_options *options, struct pg *primary);
/* `wait_ms`: the longest wait. Yields. 0 or -EAGAIN. */
int pg_acquire(struct pg *pg, uint64_t wait_ms, struct pg_lease **ret);
/* For probes: also of a server that is down, and where requests hold all places. */
int pg_acquire_probe(struct pg *pg, uint64_t wait_ms, struct pg_lease **ret);
void pg_release(struct pg_lease *lease);
/* A connection has been shut: its place may be taken. */
void pg_place_is_free(struct pg *pg);
void pg_connect_failed(struct pg *pg, const char *why);
void pg_forget_idle(struct pg_connection *connection);
/* Whether one more connection may be opened now, overflow included. */
bool pg_may_open(const struct pg *pg);
void pg_count_in_use(const struct pg *pg, int change);
void pg_unref(struct pg *pg);

/* Nothing that is open is used again: idle connections go at once, those in use when they
 * are given back. */
void pg_retire_connections(struct pg *pg);
/* The server is silent: whoever waits for it is told -EAGAIN, now. */
void pg_abandon(struct pg *pg);
/* Whether a connection is there, or could be had as far as we know. */
bool pg_is_usable(const struct pg *pg);
/* Queries that are under way or wait for their turn. */
int pg_load(const struct pg *pg);
const char *pg_option(const struct pg *pg, const char *keyword); /* of the URL, or NULL */

/* pg_connection.c */
/* Its socket is given up, and its waiting task told. */
void pg_connection_abandon(struct pg_connection *connection);
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
/* How many hosts the URL names; at least 1. */
unsigned pg_host_count(const struct pg *pg);

/* pg_statement.c: the result, if any, is in connection->result. Yield. 0 or an error.
 * Marked: connection->position says how far the log was behind it, asked in one batch. */
int pg_statement_run(struct pg_connection *connection, const struct query *query,
                     const struct pg_param *params, int count, bool is_marked,
                     uint64_t deadline);
int pg_statement_command(struct pg_connection *connection, const char *label,
                         const char *command, uint64_t deadline);
int pg_statement_commit_marked(struct pg_connection *connection, uint64_t deadline);
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
/* Statements under way, less the connections that they take in `open`. */
int pg_pipes_load(const struct pg_pipes *pipes);

/* pg_query.c: `result` stays its owner's. */
void pg_rows_of(PGresult *result, struct pg_rows *ret);
/* One attempt on this server. `ret_may_repeat`: its connection was lost, and to ask again
 * is harmless. Yields. 0 or an error. */
int pg_run_here(struct pg *pg, const struct query *query, const struct pg_param *params,
                int count, struct pg_rows *ret, bool *ret_may_repeat);

/* pg_lag.c: what a replica still lacks, measured in the primary's own time. */
#define PG_SAMPLES 128
struct pg_sample {
    uint64_t at_ms, position;
};
/* Where the primary's log was when: the oldest first, positions only grow. */
struct pg_log {
    struct pg_sample samples[PG_SAMPLES];
    size_t count;
    uint64_t spacing_ms;
};

/* pg_route.c */
struct pg_route {
    struct pg **replicas;
    size_t count;
    unsigned turn; /* who is first among equals */
    struct pg_log log;
    uv_timer_t timer;
};
void pg_route_init(struct pg *pg);
void pg_route_close(struct pg *pg);
void pg_route_free(struct pg_route *route);

void pg_log_add(struct pg_log *log, uint64_t at_ms, uint64_t position);
/* The latest moment whose writes are all below `position`; 0: before we looked. */
uint64_t pg_log_time_of(const struct pg_log *log, uint64_t position);
/* Asks every server of the route that is not being asked. */
void pg_lag_probe(struct pg *primary);
/* The position in a server's answer, without the page header it may have skipped; 0: it
 * gave none. */
uint64_t pg_position_of(const char *digits);

/* pg_board.c: NULL and -1 are fine. */
void pg_board_open(struct pg *pg);
void pg_board_show(const struct pg *pg, uint64_t max_lag_ms);
enum pg_count { PG_COUNT_QUERIES, PG_COUNT_WAITS, PG_COUNT_RETRIES };
void pg_board_count(const struct pg *pg, enum pg_count what);

/* pg_error.c: "this server takes no writes". */
bool pg_error_is_read_only(const PGresult *result);
/* 0 for a result that is none; logs what a caller cannot know. */
int pg_error_of(const PGresult *result, const char *what);
int pg_error_of_state(const char *sqlstate);

#endif
