/*
 * http.c - see http.h.
 *
 * Two clocks watch a connection. libmicrohttpd's own timeout ends one that neither
 * reads nor writes for long (a client that stops taking its answer). It restarts
 * with every byte, so a client that sends one byte now and then would stay for
 * ever: a sweep therefore ends connections that spend too long in one phase.
 */
#include "worker/http.h"
#include "common/log.h"
#include "common/task.h"
#include "worker/exchange.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SWEEP_MS 250
/* A keep-alive time promised to the client is kept a little longer than promised. */
#define KEEPALIVE_GRACE_MS 500
/* GnuTLS' words: its own defaults without what browsers have given up. */
static char tls_priorities[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";

/* One libmicrohttpd. */
struct engine {
    struct MHD_Daemon *daemon;
    uv_poll_t poll; /* its epoll descriptor */
};

enum { ENGINE_PLAIN, ENGINE_TLS, ENGINE_COUNT };

struct http {
    struct server *server;
    struct engine engines[ENGINE_COUNT];
    size_t engine_count;      /* 2 with TLS */
    struct connection *first; /* newest first */
    size_t count;
    size_t pending; /* handed over; libmicrohttpd takes them up when it runs next */
    uint8_t *flags; /* of a socket, from http_add() until libmicrohttpd has it */
    size_t flags_size;
    uv_timer_t timer;     /* what MHD_get_timeout() asked for */
    uv_timer_t sweep;     /* phases that last too long */
    uv_prepare_t prepare; /* runs libmicrohttpd after resumes, before the loop waits */
    uv_idle_t busy;       /* active: libmicrohttpd has more to do at once */
    uint64_t timer_at;    /* loop time; 0: not armed */
    void (*closed)(void *arg);
    void *closed_arg;
    int open_handles;
};

struct server *http_server(const struct http *http)
{
    return http->server;
}

size_t http_connections(const struct http *http)
{
    return http->count + http->pending;
}

void http_on_close(struct http *http, void (*closed)(void *arg), void *arg)
{
    http->closed = closed;
    http->closed_arg = arg;
}

void connection_set_phase(struct connection *connection, enum connection_phase phase)
{
    connection->phase = phase;
    connection->phase_since = uv_now(task_loop());
}

static void on_sweep(uv_timer_t *timer);

/* ---- turning libmicrohttpd ---- */

static void run_daemon(struct http *http);

static void on_prepare(uv_prepare_t *prepare)
{
    run_daemon(prepare->data);
}

/* Once for any number of resumes in this turn of the loop. */
static void kick(struct http *http)
{
    uv_prepare_start(&http->prepare, on_prepare);
}

/* Its presence keeps the poll from waiting. */
static void on_busy(uv_idle_t *idle)
{
    kick(idle->data);
}

static void on_timer(uv_timer_t *timer)
{
    struct http *http = timer->data;

    http->timer_at = 0;
    run_daemon(http);
}

/* A timer that fires earlier than asked is left alone: it looks again then. */
static void arm_timer(struct http *http)
{
    MHD_UNSIGNED_LONG_LONG wait = 0, soonest = 0;
    bool has_any = false;

    for (size_t i = 0; i < http->engine_count; i++) {
        if (MHD_get_timeout(http->engines[i].daemon, &wait) != MHD_YES)
            continue;
        soonest = !has_any || wait < soonest ? wait : soonest;
        has_any = true;
    }
    if (!has_any) {
        uv_idle_stop(&http->busy);
        return;
    }
    wait = soonest;
    if (wait == 0) {
        uv_idle_start(&http->busy, on_busy);
        return;
    }
    uv_idle_stop(&http->busy);
    uint64_t at = uv_now(task_loop()) + wait;
    if (http->timer_at != 0 && http->timer_at <= at)
        return;
    http->timer_at = at;
    uv_timer_start(&http->timer, on_timer, wait, 0);
}

static void run_daemon(struct http *http)
{
    uv_prepare_stop(&http->prepare);
    for (size_t i = 0; i < http->engine_count; i++)
        MHD_run(http->engines[i].daemon);
    http->pending = 0;
    arm_timer(http);
}

static void on_epoll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    run_daemon(poll->data);
}

void http_resume(struct http *http, struct MHD_Connection *mhd)
{
    MHD_resume_connection(mhd);
    kick(http);
}

/* ---- libmicrohttpd's callbacks ---- */

static void on_connection(void *arg, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http *http = arg;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        struct connection *connection = calloc(1, sizeof(*connection));
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);

        if (!connection)
            fatal("out of memory");
        connection->http = http;
        connection->mhd = mhd;
        connection->fd = info->connect_fd;
        connection->flags = http->flags[info->connect_fd];
        connection_set_phase(connection, CONNECTION_NEW);
        connection->next = http->first;
        if (http->first)
            http->first->prev = connection;
        http->first = connection;
        *context = connection;
        if (http->count++ == 0)
            uv_timer_start(&http->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
        if (http->pending > 0)
            http->pending--;
    } else {
        struct connection *connection = *context;

        if (connection->prev)
            connection->prev->next = connection->next;
        else
            http->first = connection->next;
        if (connection->next)
            connection->next->prev = connection->prev;
        free(connection);
        if (--http->count == 0)
            uv_timer_stop(&http->sweep); /* nothing to look at wakes nobody */
    }
    atomic_store_explicit(&http->server->slot->count.connections, (uint32_t)http->count,
                          memory_order_relaxed);
    if (code == MHD_CONNECTION_NOTIFY_CLOSED && http->closed)
        http->closed(http->closed_arg);
}

/* The request line is there, its headers not yet. The result is the request's context. */
static void *on_uri(void *arg, const char *uri, struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct connection *connection = info->socket_context;

    (void)arg;
    connection_set_phase(connection, CONNECTION_HEAD);
    connection->exchange = exchange_new(connection, uri ? uri : "");
    return connection;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *mhd, const char *url,
                                  const char *method, const char *version,
                                  const char *body, size_t *body_size, void **context)
{
    struct connection *connection = *context;

    (void)arg;
    (void)mhd;
    (void)url;
    if (!connection || !connection->exchange)
        return MHD_NO;
    return exchange_step(connection->exchange, method, version, body, body_size);
}

static void on_completed(void *arg, struct MHD_Connection *mhd, void **context,
                         enum MHD_RequestTerminationCode code)
{
    struct connection *connection = *context;

    (void)arg;
    (void)mhd;
    (void)code;
    if (!connection)
        return;
    if (connection->exchange) {
        exchange_end(connection->exchange);
        connection->exchange = NULL;
    }
    connection_set_phase(connection, CONNECTION_IDLE);
}

/* Paths and queries are decoded by us, where each part is used (router, request). */
static size_t keep_escapes(void *arg, struct MHD_Connection *mhd, char *text)
{
    (void)arg;
    (void)mhd;
    return strlen(text);
}

static void on_log(void *arg, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

/* Broken requests and lost clients: nothing an operator could act on. */
static void on_log(void *arg, const char *format, va_list args)
{
    char line[256];

    (void)arg;
    if (!log_is_on(LOGL_DEBUG))
        return;
    vsnprintf(line, sizeof(line), format, args);
    line[strcspn(line, "\n")] = '\0';
    log_debug("http: %s", line);
}

static void on_panic(void *arg, const char *file, unsigned line, const char *reason)
{
    (void)arg;
    fatal("libmicrohttpd gave up at %s:%u: %s", file, line, reason ? reason : "");
}

/* ---- the sweep ---- */

/* Something has come that nobody has read yet. */
static bool has_unread(const struct connection *connection)
{
    char byte;

    return recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static bool is_past_its_time(const struct connection *connection, uint64_t now)
{
    const struct server *server = connection->http->server;
    uint64_t age = now - connection->phase_since;

    switch (connection->phase) {
    case CONNECTION_NEW:
        if (server->draining && age > server->options->server.keepalive)
            return true;
        return age > server->options->server.header_timeout;
    case CONNECTION_HEAD:
        return age > server->options->server.header_timeout;
    case CONNECTION_BODY:
        return age > server->options->server.body_timeout;
    case CONNECTION_IDLE:
        return age > server->options->server.keepalive + KEEPALIVE_GRACE_MS;
    case CONNECTION_BUSY:
        break;
    }
    return false;
}

/*
 * A process that stood still (stopped, suspended, without a processor) comes here before
 * it reads what was sent meanwhile, in time: whoever waits for an answer is not idle.
 */
static bool is_overdue(const struct connection *connection, uint64_t now)
{
    bool may_have_begun =
        connection->phase == CONNECTION_NEW || connection->phase == CONNECTION_IDLE;

    return is_past_its_time(connection, now) &&
           !(may_have_begun && has_unread(connection));
}

static void on_sweep(uv_timer_t *timer)
{
    struct http *http = timer->data;
    uint64_t now = uv_now(task_loop());

    for (struct connection *connection = http->first; connection;
         connection = connection->next)
        if (is_overdue(connection, now)) {
            /* libmicrohttpd sees the end of the stream and closes it. */
            shutdown(connection->fd, SHUT_RDWR);
            connection_set_phase(connection, CONNECTION_BUSY);
        }
}

/* ---- public ---- */

bool http_is_tls(const struct http *http, const struct sockaddr *peer)
{
    return http->engine_count > ENGINE_TLS && peer->sa_family != AF_UNIX;
}

bool http_can_tls(void)
{
    return MHD_is_feature_supported(MHD_FEATURE_TLS) == MHD_YES;
}

static void note_flags(struct http *http, int fd, unsigned flags)
{
    size_t needed = (size_t)fd + 1;

    if (needed > http->flags_size) {
        http->flags = realloc(http->flags, 2 * needed);
        if (!http->flags)
            fatal("out of memory");
        http->flags_size = 2 * needed;
    }
    http->flags[fd] = (uint8_t)flags;
}

bool http_add(struct http *http, int fd, const struct sockaddr *address, socklen_t length,
              unsigned flags)
{
    struct MHD_Daemon *daemon =
        http->engines[flags & HTTP_TLS ? ENGINE_TLS : ENGINE_PLAIN].daemon;

    note_flags(http, fd, flags);

    /* Version 0.9 starts the connection here, 1.0 when it runs next: counted from now
     * on either way, or a burst would pass the limit. It closes the socket when it fails.
     */
    size_t before = http->count;
    if (MHD_add_connection(daemon, fd, address, length) != MHD_YES)
        return false;
    if (http->count == before)
        http->pending++;
    kick(http);
    return true;
}

/* Certificate and key were read by the master, who may read them. */
static size_t tls_options(const struct http *http, struct MHD_OptionItem items[])
{
    const struct options *options = http->server->options;
    size_t count = 0;

    items[count++] = (struct MHD_OptionItem){ MHD_OPTION_HTTPS_MEM_CERT, 0,
                                              options->server.tls_certificate_text };
    items[count++] = (struct MHD_OptionItem){ MHD_OPTION_HTTPS_MEM_KEY, 0,
                                              options->server.tls_key_text };
    items[count++] =
        (struct MHD_OptionItem){ MHD_OPTION_HTTPS_PRIORITIES, 0, tls_priorities };
    return count;
}

static struct MHD_Daemon *start_daemon(struct http *http, bool is_tls)
{
    struct MHD_OptionItem more[4] = { { MHD_OPTION_END, 0, NULL } };
    unsigned tls_flag = is_tls ? MHD_USE_TLS : 0;

    const struct options *options = http->server->options;
    uint64_t stall = options->server.body_timeout > options->server.header_timeout
                         ? options->server.body_timeout
                         : options->server.header_timeout;

    if (is_tls)
        more[tls_options(http, more)] =
            (struct MHD_OptionItem){ MHD_OPTION_END, 0, NULL };
    return MHD_start_daemon(
        tls_flag | MHD_USE_EPOLL | MHD_USE_TURBO | MHD_USE_NO_LISTEN_SOCKET |
            MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG | MHD_USE_SUPPRESS_DATE_NO_CLOCK,
        0, NULL, NULL, on_request, http, MHD_OPTION_EXTERNAL_LOGGER, on_log, http,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)options->server.connection_memory,
        /* Whole buffers are used anyway; growing in steps would copy them. */
        MHD_OPTION_CONNECTION_MEMORY_INCREMENT, (size_t)1024, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)(options->server.worker_connections + 64),
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)((stall + 999) / 1000 + 1),
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, http, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, http, MHD_OPTION_URI_LOG_CALLBACK, on_uri, http,
        MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, http,
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_ARRAY, more, MHD_OPTION_END);
}

static void start_engine(struct http *http, bool is_tls)
{
    struct engine *engine = &http->engines[http->engine_count++];

    engine->daemon = start_daemon(http, is_tls);
    if (!engine->daemon && is_tls)
        fatal("server.tls_certificate: libmicrohttpd does not start with it%s",
              http_can_tls() ? "" : ": it was built without TLS");
    const union MHD_DaemonInfo *info =
        engine->daemon ? MHD_get_daemon_info(engine->daemon, MHD_DAEMON_INFO_EPOLL_FD)
                       : NULL;
    if (!info || uv_poll_init(task_loop(), &engine->poll, info->epoll_fd) != 0)
        fatal("libmicrohttpd does not start");
    engine->poll.data = http;
    uv_poll_start(&engine->poll, UV_READABLE, on_epoll);
}

static void open_handles(struct http *http)
{
    uv_loop_t *loop = task_loop();

    http->timer.data = http;
    http->sweep.data = http;
    http->prepare.data = http;
    http->busy.data = http;
    uv_timer_init(loop, &http->timer);
    uv_timer_init(loop, &http->sweep);
    uv_prepare_init(loop, &http->prepare);
    uv_idle_init(loop, &http->busy);
}

struct http *http_new(struct server *server)
{
    struct http *http = calloc(1, sizeof(*http));

    if (!http)
        fatal("out of memory");
    http->server = server;
    MHD_set_panic_func(on_panic, NULL);
    start_engine(http, false);
    if (*server->options->server.tls_certificate)
        start_engine(http, true);
    open_handles(http);
    return http;
}

static void handle_closed(uv_handle_t *handle)
{
    struct http *http = handle->data;

    if (--http->open_handles == 0) {
        free(http->flags);
        free(http);
    }
}

void http_free(struct http *http)
{
    uv_handle_t *handles[] = { (uv_handle_t *)&http->timer, (uv_handle_t *)&http->sweep,
                               (uv_handle_t *)&http->prepare,
                               (uv_handle_t *)&http->busy };

    http->open_handles = (int)(sizeof(handles) / sizeof(handles[0]) + http->engine_count);
    for (size_t i = 0; i < http->engine_count; i++) {
        struct engine *engine = &http->engines[i];

        MHD_run(engine->daemon);
        uv_poll_stop(&engine->poll);
        MHD_stop_daemon(engine->daemon);
        uv_close((uv_handle_t *)&engine->poll, handle_closed);
    }
    for (size_t i = 0; i < sizeof(handles) / sizeof(handles[0]); i++)
        uv_close(handles[i], handle_closed);
}

void http_drain(struct http *http)
{
    http->server->draining = true;
    on_sweep(&http->sweep);
}

void http_cancel_all(struct http *http)
{
    for (struct connection *connection = http->first; connection;
         connection = connection->next)
        if (connection->exchange)
            exchange_cancel(connection->exchange);
}

void http_hang_up(struct http *http)
{
    for (struct connection *connection = http->first; connection;
         connection = connection->next)
        shutdown(connection->fd, SHUT_WR);
}
