/*
 * greeting.c - see greeting.h.
 *
 * A header is peeked at first, and only its own bytes are taken: what follows is the
 * client's (HTTP, or TLS) and stays in the socket for libmicrohttpd.
 */
#include "worker/greeting.h"
#include "common/log.h"
#include "common/task.h"
#include "worker/client_ip.h"
#include "worker/client_ip_rules.h"
#include "worker/proxy_protocol.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_EVERY_MS 250

struct guest {
    struct guest *next, *prev;
    struct greeting *greeting;
    uv_poll_t poll;
    int fd;
    uint64_t since; /* loop time */
    struct sockaddr_storage peer;
    socklen_t peer_length;
    size_t length; /* taken so far */
    uint8_t header[PROXY_HEADER_MAX];
};

struct greeting {
    struct server *server;
    struct client_ip_rules rules;
    struct guest *first;
    size_t count;
    uv_timer_t timer;
    bool is_timed;
    void (*gone)(void *arg);
    void *arg;
};

static void guest_closed(uv_handle_t *handle)
{
    free(handle->data);
}

/* It waits no longer; its socket is the caller's. */
static int let_go(struct guest *guest)
{
    struct greeting *greeting = guest->greeting;
    int fd = guest->fd;

    if (guest->prev)
        guest->prev->next = guest->next;
    else
        greeting->first = guest->next;
    if (guest->next)
        guest->next->prev = guest->prev;
    greeting->count--;
    uv_close((uv_handle_t *)&guest->poll, guest_closed);
    return fd;
}

static void turn_away(struct guest *guest, const char *why)
{
    struct greeting *greeting = guest->greeting;
    char peer[INET6_ADDRSTRLEN];

    client_ip_text((struct sockaddr *)&guest->peer, peer);
    log_debug("a connection of %s is closed: %s", *peer ? peer : "a Unix socket", why);
    close(let_go(guest));
    greeting->gone(greeting->arg);
}

static void welcome(struct guest *guest, const struct proxy_header *header)
{
    struct greeting *greeting = guest->greeting;
    unsigned flags = http_is_tls(greeting->server->http, (struct sockaddr *)&guest->peer)
                         ? HTTP_TLS
                         : 0;
    struct sockaddr_storage address = header->is_local ? guest->peer : header->address;
    socklen_t length = header->is_local ? guest->peer_length : header->address_length;

    if (!http_add(greeting->server->http, let_go(guest), (struct sockaddr *)&address,
                  length,
                  flags | (header->is_tls ? HTTP_BEHIND_TLS : 0) |
                      (header->length == 0 ? HTTP_CHECK : 0))) {
        log_warn("a connection could not be taken over: %s", strerror(errno));
        greeting->gone(greeting->arg);
    }
}

/* Whether it is a question about this server's health, whose beginning nobody sends in
 * pieces. Where TLS comes first it cannot be seen. */
static bool is_check(const struct guest *guest, size_t size)
{
    static const char *const checks[] = { "GET /health/", "HEAD /health/",
                                          "GET /api/health", "HEAD /api/health" };

    if (http_is_tls(guest->greeting->server->http, (struct sockaddr *)&guest->peer))
        return false;
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        size_t length = strlen(checks[i]);

        if (size >= length && memcmp(guest->header, checks[i], length) == 0)
            return true;
    }
    return false;
}

/* What is there of the header; never a byte behind it. */
static void listen_to(struct guest *guest)
{
    struct proxy_header header;
    ssize_t got = recv(guest->fd, guest->header + guest->length,
                       sizeof(guest->header) - guest->length, MSG_PEEK);

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        turn_away(guest, "it ended before its PROXY header did");
        return;
    }
    size_t before = guest->length, all = before + (size_t)got;
    enum proxy_state state = proxy_parse(guest->header, all, &header);
    if (state == PROXY_BAD && before == 0 && is_check(guest, all)) {
        /* What has come stays in the socket: it is HTTP's. */
        welcome(guest, &(struct proxy_header){ .is_local = true });
        return;
    }
    if (state == PROXY_GOOD)
        all = header.length;
    else if (state == PROXY_BAD || all == sizeof(guest->header)) {
        turn_away(guest, "it does not begin with a PROXY header");
        return;
    }
    /* They are there: none of it can be missing. */
    if (recv(guest->fd, guest->header + before, all - before, 0) !=
        (ssize_t)(all - before)) {
        turn_away(guest, "its PROXY header cannot be read");
        return;
    }
    guest->length = all;
    if (state == PROXY_GOOD)
        welcome(guest, &header);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    listen_to(poll->data);
}

static void on_timer(uv_timer_t *timer)
{
    struct greeting *greeting = timer->data;
    uint64_t limit = greeting->server->options->server.header_timeout;
    uint64_t now = uv_now(task_loop());

    for (struct guest *guest = greeting->first, *next; guest; guest = next) {
        next = guest->next;
        if (now - guest->since > limit)
            turn_away(guest, "its PROXY header did not come in time");
    }
    if (greeting->count == 0) {
        uv_timer_stop(timer);
        greeting->is_timed = false;
    }
}

struct greeting *greeting_new(struct server *server, void (*gone)(void *arg), void *arg)
{
    const struct conf_list *allowed = &server->options->server.proxy_allow_ips;
    struct greeting *greeting;
    const char *wrong;

    if (!server->options->server.proxy_protocol)
        return NULL;
    greeting = calloc(1, sizeof(*greeting));
    if (!greeting)
        fatal("out of memory");
    greeting->server = server;
    greeting->gone = gone;
    greeting->arg = arg;
    if (!client_ip_rules_read(&greeting->rules, allowed->items, allowed->count, -1,
                              &wrong))
        fatal("server.proxy_allow_ips: `%s` is no address and no network", wrong);
    uv_timer_init(task_loop(), &greeting->timer);
    greeting->timer.data = greeting;
    return greeting;
}

static void greeting_closed(uv_handle_t *handle)
{
    struct greeting *greeting = handle->data;

    client_ip_rules_done(&greeting->rules);
    free(greeting);
}

void greeting_free(struct greeting *greeting)
{
    if (!greeting)
        return;
    while (greeting->first)
        close(let_go(greeting->first));
    uv_close((uv_handle_t *)&greeting->timer, greeting_closed);
}

bool greeting_expects(const struct greeting *greeting, const struct sockaddr *peer)
{
    char text[INET6_ADDRSTRLEN];

    if (!greeting)
        return false;
    client_ip_text(peer, text);
    return client_ip_is_trusted(&greeting->rules,
                                peer->sa_family == AF_UNIX ? NULL : text);
}

void greeting_add(struct greeting *greeting, int fd, const struct sockaddr *peer,
                  socklen_t length)
{
    struct guest *guest = calloc(1, sizeof(*guest));

    if (!guest)
        fatal("out of memory");
    guest->greeting = greeting;
    guest->fd = fd;
    guest->since = uv_now(task_loop());
    memcpy(&guest->peer, peer, length);
    guest->peer_length = length;
    guest->poll.data = guest;
    if (uv_poll_init(task_loop(), &guest->poll, fd) != 0) {
        log_warn("a connection cannot be polled");
        close(fd);
        free(guest);
        greeting->gone(greeting->arg);
        return;
    }
    guest->next = greeting->first;
    if (greeting->first)
        greeting->first->prev = guest;
    greeting->first = guest;
    greeting->count++;
    uv_poll_start(&guest->poll, UV_READABLE | UV_DISCONNECT, on_readable);
    if (!greeting->is_timed) {
        uv_timer_start(&greeting->timer, on_timer, LOOK_EVERY_MS, LOOK_EVERY_MS);
        greeting->is_timed = true;
    }
    listen_to(guest); /* as a rule it is there with the connection */
}

size_t greeting_count(const struct greeting *greeting)
{
    return greeting ? greeting->count : 0;
}
