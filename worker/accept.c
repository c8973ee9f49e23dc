/*
 * accept.c - see accept.h.
 */
#include "worker/accept.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/task.h"
#include "worker/greeting.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* How long others get for a connection this worker leaves to them. */
#define DEFER_MS 1
/* Nobody has left this worker for so long: its connections stay. */
#define STAYS_MS 2
/* Without descriptors or memory a poll that reports the same socket again at once
 * would only burn the processor. */
#define EXHAUSTED_MS 100
/* A worker with too many keep-alive connections ends one so often. */
#define LET_GO_MS 10
/* Accepted in one turn, before requests get theirs. */
#define BATCH 32

struct accept {
    struct server *server;
    struct greeting *greeting; /* NULL: server.proxy_protocol is off */
    uv_poll_t *polls;          /* one for each listening socket */
    size_t count;
    uv_timer_t timer;   /* ends a deferral, or the wait for descriptors */
    uint64_t closed_ms; /* clock_ms() of the last that ended */
    bool is_polling, is_stopped;
    int open_handles;
};

/* Connections of the workers that take new ones, this one among them. */
static void sum_up(struct scoreboard *board, const struct board_slot *own,
                   uint64_t now_ms, uint64_t *ret_sum, uint64_t *ret_workers)
{
    *ret_sum = *ret_workers = 0;
    for (size_t i = 0; i < board_slots(board); i++) {
        const struct board_slot *slot = board_slot(board, i);

        if (slot != own &&
            (atomic_load_explicit(&slot->role, memory_order_relaxed) != BOARD_WORKER ||
             !atomic_load_explicit(&slot->count.accepting, memory_order_relaxed) ||
             !board_is_awake(slot, now_ms)))
            continue;
        *ret_sum += atomic_load_explicit(&slot->count.connections, memory_order_relaxed);
        ++*ret_workers;
    }
}

bool accept_is_above_mean(struct scoreboard *board, const struct board_slot *own,
                          uint64_t now_ms, unsigned above)
{
    uint64_t sum, workers;
    uint64_t mine = atomic_load_explicit(&own->count.connections, memory_order_relaxed);

    sum_up(board, own, now_ms, &sum, &workers);
    return mine * workers > sum + above * workers;
}

bool accept_lets_go(struct server *server)
{
    static uint64_t last_ms;
    uint64_t sum, workers, now_ms = uv_now(task_loop());
    uint64_t mine =
        atomic_load_explicit(&server->slot->count.connections, memory_order_relaxed);

    if (now_ms - last_ms < LET_GO_MS)
        return false;
    last_ms = now_ms;
    sum_up(server->board, server->slot, clock_ms(), &sum, &workers);
    return 8 * mine * workers > 9 * sum + 16 * workers; /* mean * 9/8 + 2 */
}

static void on_listener(uv_poll_t *poll, int status, int events);

static void set_polling(struct accept *accept, bool on)
{
    if (accept->is_polling == on)
        return;
    accept->is_polling = on;
    for (size_t i = 0; i < accept->count; i++)
        if (on)
            uv_poll_start(&accept->polls[i], UV_READABLE, on_listener);
        else
            uv_poll_stop(&accept->polls[i]);
}

static bool is_full(const struct accept *accept)
{
    const struct server *server = accept->server;

    return http_connections(server->http) + greeting_count(accept->greeting) >=
           (size_t)server->options->server.worker_connections;
}

static void set_accepting(struct accept *accept, bool on)
{
    atomic_store_explicit(&accept->server->slot->count.accepting, on ? 1 : 0,
                          memory_order_relaxed);
}

static void take(struct accept *accept, int fd, const struct sockaddr *peer,
                 socklen_t length)
{
    struct http *http = accept->server->http;

    if (greeting_expects(accept->greeting, peer))
        greeting_add(accept->greeting, fd, peer, length);
    else if (!http_add(http, fd, peer, length, http_is_tls(http, peer) ? HTTP_TLS : 0))
        log_warn("a connection could not be taken over: %s", strerror(errno));
}

/* One connection. 0, -EAGAIN when none waits, or another negative errno. */
static int accept_one(struct accept *accept, int listener)
{
    struct sockaddr_storage address = { 0 };
    socklen_t length = sizeof(address);
    int yes = 1;
    int fd = accept4(listener, (struct sockaddr *)&address, &length,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0)
        return -errno;
    if (address.ss_family == AF_UNIX || length < sizeof(address.ss_family)) {
        /* libmicrohttpd wants an address; an unnamed peer has none worth keeping. */
        address.ss_family = AF_UNIX;
        length = sizeof(address.ss_family);
    } else {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    }
    take(accept, fd, (struct sockaddr *)&address, length);
    atomic_fetch_add_explicit(&accept->server->slot->count.accepted, 1,
                              memory_order_relaxed);
    return 0;
}

static bool is_gone(int error)
{
    /* The client left while it waited, or the network says something of its own
     * (accept(2), "Error handling"): the next one may be fine. */
    return error == -ECONNABORTED || error == -EINTR || error == -EPROTO ||
           error == -ENETDOWN || error == -ENOPROTOOPT || error == -EHOSTDOWN ||
           error == -ENONET || error == -EHOSTUNREACH || error == -ENETUNREACH;
}

static void report_failure(int error)
{
    static uint64_t last_ms;

    if (last_ms != 0 && clock_ms() - last_ms < 1000)
        return;
    last_ms = clock_ms();
    log_warn("connections wait: accept says %s", strerror(-error));
}

/*
 * The others had their time. What still waits is taken whatever the mean; when nothing
 * does, the next connection is again a matter of whose turn it is.
 */
static void on_timer(uv_timer_t *timer)
{
    struct accept *accept = timer->data;

    if (accept->is_stopped)
        return;
    for (size_t i = 0; i < accept->count && !is_full(accept); i++)
        accept_one(accept, accept->server->role->listeners[i]);
    set_accepting(accept, !is_full(accept));
    set_polling(accept, !is_full(accept));
}

static void pause_for(struct accept *accept, uint64_t ms)
{
    set_polling(accept, false);
    uv_timer_start(&accept->timer, on_timer, ms, 0);
}

static void on_listener(uv_poll_t *poll, int status, int events)
{
    struct accept *accept = poll->data;
    const struct role_context *role = accept->server->role;
    int listener = role->listeners[poll - accept->polls];

    (void)status;
    (void)events;
    for (int i = 0; i < BATCH && !accept->is_stopped; i++) {
        if (is_full(accept)) {
            set_accepting(accept, false);
            set_polling(accept, false);
            return;
        }
        uint64_t now = clock_ms();
        bool stays = i == 0 && now - accept->closed_ms >= STAYS_MS;
        if (accept_is_above_mean(accept->server->board, accept->server->slot, now,
                                 stays ? 0 : 1)) {
            pause_for(accept, DEFER_MS);
            return;
        }
        int rc = accept_one(accept, listener);
        if (rc == -EAGAIN)
            return;
        if (rc < 0 && !is_gone(rc)) {
            report_failure(rc);
            pause_for(accept, EXHAUSTED_MS);
            return;
        }
    }
}

/* Room again: those who wait in the backlog may come. */
static void on_closed(void *arg)
{
    struct accept *accept = arg;

    accept->closed_ms = clock_ms();
    if (accept->is_stopped || accept->is_polling || is_full(accept) ||
        uv_is_active((uv_handle_t *)&accept->timer))
        return;
    set_accepting(accept, true);
    set_polling(accept, true);
}

struct accept *accept_new(struct server *server)
{
    struct accept *accept = calloc(1, sizeof(*accept));
    uv_poll_t *polls = calloc(server->role->listener_count + 1, sizeof(*polls));

    if (!accept || !polls)
        fatal("out of memory");
    accept->server = server;
    accept->polls = polls;
    accept->count = server->role->listener_count;
    uv_timer_init(task_loop(), &accept->timer);
    accept->timer.data = accept;
    for (size_t i = 0; i < accept->count; i++) {
        if (uv_poll_init(task_loop(), &polls[i], server->role->listeners[i]) != 0)
            fatal("listening socket %d cannot be polled", server->role->listeners[i]);
        polls[i].data = accept;
    }
    http_on_close(server->http, on_closed, accept);
    accept->greeting = greeting_new(server, on_closed, accept);
    set_accepting(accept, true);
    set_polling(accept, true);
    return accept;
}

size_t accept_waiting(const struct accept *accept)
{
    return accept ? greeting_count(accept->greeting) : 0;
}

void accept_stop(struct accept *accept)
{
    if (accept->is_stopped)
        return;
    accept->is_stopped = true;
    set_accepting(accept, false);
    set_polling(accept, false);
    uv_timer_stop(&accept->timer);
    /* Whoever the kernel has already let in would be reset when the socket goes. */
    for (size_t i = 0; i < accept->count; i++) {
        int rc = 0;

        while (!is_full(accept) && (rc == 0 || is_gone(rc)))
            rc = accept_one(accept, accept->server->role->listeners[i]);
    }
}

static void handle_closed(uv_handle_t *handle)
{
    struct accept *accept = handle->data;

    if (--accept->open_handles == 0) {
        free(accept->polls);
        free(accept);
    }
}

void accept_free(struct accept *accept)
{
    if (!accept)
        return;
    accept->is_stopped = true;
    set_accepting(accept, false);
    set_polling(accept, false);
    http_on_close(accept->server->http, NULL, NULL);
    greeting_free(accept->greeting);
    accept->open_handles = (int)accept->count + 1;
    for (size_t i = 0; i < accept->count; i++)
        uv_close((uv_handle_t *)&accept->polls[i], handle_closed);
    uv_close((uv_handle_t *)&accept->timer, handle_closed);
}
