/*
 * pg_connection.c - one connection: open it, watch its socket, shut it.
 *
 * An open connection's socket is watched for reading all the time, so a query
 * costs no call to epoll, and an idle connection whose server goes away is
 * noticed at once. The watch counts as work of the loop only while in use.
 */
#include "common/clock.h"
#include "common/log.h"
#include "common/pg_internal.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

/* Where a silent host is not worth waiting for; a reachable one takes milliseconds. */
#define ATTEMPT_MS 3000

struct pg_connection *pg_connection_new(struct pg *pg)
{
    struct pg_connection *connection = calloc(1, sizeof(*connection));
    size_t words = query_count / 64 + 1;

    if (!connection || !(connection->prepared = calloc(words, sizeof(uint64_t))))
        fatal("out of memory");
    connection->pg = pg;
    connection->connect_began = clock_ms();
    connection->is_connecting = true;
    connection->epoch = pg->epoch;
    connection->all_next = pg->all_first;
    if (pg->all_first)
        pg->all_first->all_previous = connection;
    pg->all_first = connection;
    pg->references++;
    pg->open++;
    pg->connecting++;
    return connection;
}

bool pg_connection_has_prepared(const struct pg_connection *connection,
                                const struct query *query)
{
    return connection->prepared[query->id / 64] >> (query->id % 64) & 1;
}

void pg_connection_set_prepared(struct pg_connection *connection,
                                const struct query *query, bool is_prepared)
{
    uint64_t bit = UINT64_C(1) << (query->id % 64);

    if (is_prepared)
        connection->prepared[query->id / 64] |= bit;
    else
        connection->prepared[query->id / 64] &= ~bit;
}

/* ---- cancelling on the server ---- */

struct cancel_job {
    struct cancel_job *next;
    uv_work_t request;
    PGcancel *cancel;
};

/* A silent server keeps each thread that speaks to it; the pool has four, and others
 * (who look up names, for one) need some. */
#define CANCELS_AT_ONCE 2
static struct {
    struct cancel_job *first; /* wait for their turn */
    int under_way;
} cancels;

/* In a pool thread: PQcancel() makes a connection of its own and blocks. */
static void cancel_in_thread(uv_work_t *request)
{
    const struct cancel_job *job = request->data;
    char reason[256];

    PQcancel(job->cancel, reason, sizeof(reason));
}

static void end_job(struct cancel_job *job)
{
    PQfreeCancel(job->cancel);
    free(job);
}

static void start_next(void);

static void cancel_done(uv_work_t *request, int status)
{
    (void)status;
    end_job(request->data);
    cancels.under_way--;
    start_next();
}

static void start_next(void)
{
    struct cancel_job *job = cancels.first;

    if (!job || cancels.under_way >= CANCELS_AT_ONCE)
        return;
    cancels.first = job->next;
    if (uv_queue_work(task_loop(), &job->request, cancel_in_thread, cancel_done) == 0)
        cancels.under_way++;
    else
        end_job(job);
}

/* Nobody waits for it: the connection is closed in any case. */
static void cancel_on_server(PGconn *libpq)
{
    struct cancel_job *job = calloc(1, sizeof(*job)), **last = &cancels.first;

    if (!job || !(job->cancel = PQgetCancel(libpq))) {
        free(job);
        return;
    }
    job->request.data = job;
    while (*last)
        last = &(*last)->next;
    *last = job;
    start_next();
}

/* ---- the socket ---- */

static void free_poll(uv_handle_t *poll)
{
    free(poll);
}

static void stop_watching(struct pg_connection *connection)
{
    if (!connection->poll)
        return;
    uv_poll_stop(connection->poll);
    connection->poll->data = NULL;
    uv_close((uv_handle_t *)connection->poll, free_poll);
    connection->poll = NULL;
}

void pg_connection_check_socket(struct pg_connection *connection)
{
    if (connection->libpq && PQsocket(connection->libpq) < 0)
        connection->is_lost = true;
    if (connection->is_lost)
        stop_watching(connection);
}

static void wake(struct pg_connection *connection)
{
    struct task *task = connection->waiter;

    connection->waiter = NULL;
    task_wake(task, 0);
}

static void read_socket(struct pg_connection *connection, int status, int events)
{
    /* A socket in error may still hold the server's last words. */
    bool has_news = status < 0 || (events & UV_READABLE);

    if (has_news)
        connection->pg->heard_ms = uv_now(task_loop());
    if (has_news && !PQconsumeInput(connection->libpq))
        connection->is_lost = true;
    if (status < 0)
        connection->is_lost = true;
    pg_connection_check_socket(connection);
}

static void socket_is_ready(uv_poll_t *poll, int status, int events);

static void watch_for_room(struct pg_connection *connection, bool wants_room)
{
    connection->wants_room = wants_room;
    uv_poll_start(connection->poll, UV_READABLE | (wants_room ? UV_WRITABLE : 0),
                  socket_is_ready);
}

static void socket_is_ready(uv_poll_t *poll, int status, int events)
{
    struct pg_connection *connection = poll->data;
    bool has_room = connection->wants_room && (events & UV_WRITABLE);

    read_socket(connection, status, events);
    if (connection->pipe) {
        pg_pipe_ready(connection->pipe, has_room);
        return;
    }
    /* PQisBusy() also reads what an idle server said (a changed setting, good-bye). */
    bool is_busy = !connection->is_lost && PQisBusy(connection->libpq);
    if (connection->waiter) {
        if (has_room && !connection->is_lost)
            watch_for_room(connection, false);
        if (!is_busy || has_room)
            wake(connection);
    } else if (connection->is_idle && connection->is_lost) {
        connection->pg->reconnects++;
        pg_forget_idle(connection);
        pg_connection_free(connection);
    }
}

void pg_connection_flush(struct pg_connection *connection)
{
    int left = PQflush(connection->libpq);

    if (left < 0)
        connection->is_lost = true;
    pg_connection_check_socket(connection);
    if (!connection->is_lost && connection->wants_room != (left > 0))
        watch_for_room(connection, left > 0);
}

static int watch(struct pg_connection *connection)
{
    uv_poll_t *poll = calloc(1, sizeof(*poll));

    if (!poll)
        return -ENOMEM;
    int rc = uv_poll_init(task_loop(), poll, PQsocket(connection->libpq));
    if (rc != 0) {
        free(poll);
        return rc;
    }
    poll->data = connection;
    connection->poll = poll;
    return uv_poll_start(poll, UV_READABLE, socket_is_ready);
}

void pg_connection_set_busy(struct pg_connection *connection, bool is_busy)
{
    if (!connection->poll)
        return;
    if (is_busy)
        uv_ref((uv_handle_t *)connection->poll);
    else
        uv_unref((uv_handle_t *)connection->poll);
}

bool pg_connection_is_alive(struct pg_connection *connection)
{
    struct pollfd news = { .fd = PQsocket(connection->libpq), .events = POLLIN };

    if (connection->is_lost || PQstatus(connection->libpq) != CONNECTION_OK)
        return false;
    if (poll(&news, 1, 0) <= 0)
        return true;
    read_socket(connection, 0, UV_READABLE);
    if (!connection->is_lost)
        PQisBusy(connection->libpq); /* hands what was said to notice() */
    return !connection->is_lost;
}

/* The wait is over for good: what was asked for is stopped on the server, too. */
static void wait_given_up(void *arg)
{
    struct pg_connection *connection = arg;

    connection->waiter = NULL;
    pg_connection_shut(connection);
}

int pg_connection_wait(struct pg_connection *connection, const char *label,
                       uint64_t deadline)
{
    uint64_t now = clock_ms();
    bool wants_room = PQflush(connection->libpq) > 0;

    pg_connection_check_socket(connection);
    if (connection->is_lost)
        return 0;
    if (deadline <= now) {
        wait_given_up(connection);
        return -ETIMEDOUT;
    }
    if (wants_room != connection->wants_room)
        watch_for_room(connection, wants_room);
    connection->waiter = task_self();
    return task_park(&(struct task_park){ .waiting_on = label,
                                          .timeout_ms = deadline - now,
                                          .on_cancel = wait_given_up,
                                          .arg = connection });
}

void pg_connection_abandon(struct pg_connection *connection)
{
    connection->is_lost = true;
    stop_watching(connection);
    if (connection->waiter)
        wake(connection);
}

/* ---- open and shut ---- */

/* What the server says unasked. A fatal error is its good-bye, the end follows soon. */
static void notice(void *arg, const PGresult *result)
{
    struct pg_connection *connection = arg;
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    if (severity && strcmp(severity, "FATAL") == 0)
        connection->is_lost = true;
    log_debug("PostgreSQL: %s", message ? message : "");
}

/* libpq goes on to its next host when one refuses, but not when one is silent: then the
 * attempt ends soon, and the next one starts behind that host. So it does where probes
 * try again and again. */
static uint64_t attempt_ms(const struct pg *pg)
{
    uint64_t most = pg->options.connect_timeout_ms;
    bool is_watched = pg->route || pg->primary;

    return (is_watched || pg_host_count(pg) > 1) && most > ATTEMPT_MS ? ATTEMPT_MS : most;
}

static const char *timeout_words(const struct pg *pg)
{
    return attempt_ms(pg) < pg->options.connect_timeout_ms
               ? "no answer in time"
               : "no answer within database.connect_timeout";
}

/* Yields. 0, -EAGAIN, or -ETIMEDOUT; why not stands in PQerrorMessage(), or *ret_error is
 * set. */
static int establish(struct pg_connection *connection, uint64_t deadline,
                     const char **ret_error)
{
    PGconn *libpq = connection->libpq;

    if (PQstatus(libpq) == CONNECTION_BAD)
        return -EAGAIN;
    /* libpq starts by waiting until its socket is writable. */
    for (PostgresPollingStatusType next = PGRES_POLLING_WRITING; next != PGRES_POLLING_OK;
         next = PQconnectPoll(libpq)) {
        uint64_t now = clock_ms();

        if (next == PGRES_POLLING_FAILED)
            return -EAGAIN;
        /* The socket may be another one each time, so no watch lasts here. An error
         * on it (refused, for one) is libpq's to find: it tries the next host. */
        if (now >= deadline ||
            task_poll_fd(PQsocket(libpq),
                         next == PGRES_POLLING_READING ? UV_READABLE : UV_WRITABLE,
                         deadline - now) == -ETIMEDOUT) {
            connection->pg->first_host++;
            *ret_error = timeout_words(connection->pg);
            return -ETIMEDOUT;
        }
    }
    return 0;
}

static void came_up(struct pg_connection *connection)
{
    struct pg *pg = connection->pg;

    connection->is_connecting = false;
    connection->opened_at = clock_ms();
    pg->connecting--;
    if (pg->failures > 0) {
        log_info("PostgreSQL%s%s is back after %.1f s", pg->primary ? " replica " : "",
                 pg->primary ? pg->name : "",
                 (double)(clock_ms() - pg->failing_since) / 1000);
        pg->failures = 0;
    }
    pg_board_show(pg, pg->options.max_lag_ms);
}

int pg_connection_open(struct pg_connection *connection)
{
    struct pg *pg = connection->pg;
    uint64_t timeout = attempt_ms(pg);
    uint64_t deadline = clock_ms() + timeout;
    struct pg_parameters parameters;
    const char *error = NULL;
    int rc = pg_resolve(pg, timeout, &parameters, &error);

    if (rc == 0) {
        connection->libpq =
            PQconnectStartParams(parameters.keywords, parameters.values, 0);
        if (!connection->libpq)
            fatal("out of memory");
        PQsetNoticeReceiver(connection->libpq, notice, connection);
        rc = establish(connection, deadline, &error);
    }
    if (rc == 0) {
        PQsetnonblocking(connection->libpq, 1);
        rc = watch(connection);
    }
    pg->is_silent = rc == -ETIMEDOUT;
    if (rc == 0) {
        came_up(connection);
        return 0;
    }
    pg_connect_failed(pg, error               ? error
                          : connection->libpq ? PQerrorMessage(connection->libpq)
                                              : "out of memory");
    connection->connect_began = 0;
    return -EAGAIN;
}

/* A task that ended while the server kept it waiting speaks against the server. */
static void connect_was_left(struct pg_connection *connection)
{
    struct pg *pg = connection->pg;

    connection->is_connecting = false;
    pg->connecting--;
    if (connection->connect_began != 0 && clock_ms() - connection->connect_began > 1000)
        pg_connect_failed(pg, "no answer before the caller's deadline");
}

void pg_connection_shut(struct pg_connection *connection)
{
    struct pg *pg = connection->pg;

    if (connection->is_shut)
        return;
    connection->is_shut = true;
    if (connection->is_connecting)
        connect_was_left(connection);
    stop_watching(connection);
    if (connection->in_flight && !connection->is_lost && connection->libpq)
        cancel_on_server(connection->libpq);
    PQclear(connection->result);
    connection->result = NULL;
    PQfinish(connection->libpq);
    connection->libpq = NULL;
    pg->open--;
    pg_place_is_free(pg);
}

static void leave_list(struct pg_connection *connection)
{
    if (connection->all_previous)
        connection->all_previous->all_next = connection->all_next;
    else
        connection->pg->all_first = connection->all_next;
    if (connection->all_next)
        connection->all_next->all_previous = connection->all_previous;
}

void pg_connection_free(struct pg_connection *connection)
{
    pg_connection_shut(connection);
    leave_list(connection);
    pg_unref(connection->pg);
    free(connection->prepared);
    free(connection);
}
