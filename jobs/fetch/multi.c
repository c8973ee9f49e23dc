/*
 * multi.c - one uv_poll for each of curl's sockets, one uv_timer for its timer.
 */
#include "jobs/fetch/multi.h"

#include "common/log.h"
#include "common/task.h"
#include <pthread.h>
#include <stdlib.h>
#include <uv.h>

#define IDLE_CONNECTIONS 8L /* kept for the next page of the same host */

struct multi {
    CURLM *curl;
    uv_timer_t timer;
    void (*done)(CURL *easy, CURLcode code);
};

/* One socket curl wants watched. */
struct watch {
    uv_poll_t poll;
    struct multi *multi;
    curl_socket_t socket;
};

static void init_curl(void)
{
    if (curl_global_init(CURL_GLOBAL_ALL) != CURLE_OK)
        fatal("libcurl does not start");
}

static void tell_done(struct multi *multi)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(multi->curl, &left)) != NULL) {
        if (message->msg == CURLMSG_DONE)
            multi->done(message->easy_handle, message->data.result);
    }
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
    struct watch *watch = poll->data;
    struct multi *multi = watch->multi;
    int flags = 0, running;

    if (status < 0)
        flags = CURL_CSELECT_ERR;
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    /* The watch may be gone after this. */
    curl_multi_socket_action(multi->curl, watch->socket, flags, &running);
    tell_done(multi);
}

static void on_timer(uv_timer_t *timer)
{
    struct multi *multi = timer->data;
    int running;

    curl_multi_socket_action(multi->curl, CURL_SOCKET_TIMEOUT, 0, &running);
    tell_done(multi);
}

static void free_watch(uv_handle_t *handle)
{
    free(handle->data);
}

static struct watch *watch_socket(struct multi *multi, curl_socket_t socket)
{
    struct watch *watch = calloc(1, sizeof(*watch));

    if (!watch)
        return NULL;
    watch->multi = multi;
    watch->socket = socket;
    if (uv_poll_init_socket(task_loop(), &watch->poll, socket) != 0) {
        free(watch);
        return NULL;
    }
    watch->poll.data = watch;
    curl_multi_assign(multi->curl, socket, watch);
    return watch;
}

/* CURLMOPT_SOCKETFUNCTION: -1 fails the transfer. */
static int want_socket(CURL *easy, curl_socket_t socket, int what, void *arg, void *known)
{
    struct multi *multi = arg;
    struct watch *watch = known;
    int events = 0;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (watch) {
            curl_multi_assign(multi->curl, socket, NULL);
            uv_close((uv_handle_t *)&watch->poll, free_watch);
        }
        return 0;
    }
    if (!watch && !(watch = watch_socket(multi, socket)))
        return -1;
    if (what & CURL_POLL_IN)
        events |= UV_READABLE;
    if (what & CURL_POLL_OUT)
        events |= UV_WRITABLE;
    return uv_poll_start(&watch->poll, events, on_socket) == 0 ? 0 : -1;
}

/* CURLMOPT_TIMERFUNCTION: never act from inside it, curl is not re-entrant. */
static int want_timer(CURLM *curl, long timeout_ms, void *arg)
{
    struct multi *multi = arg;

    (void)curl;
    if (timeout_ms < 0)
        uv_timer_stop(&multi->timer);
    else
        uv_timer_start(&multi->timer, on_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

struct multi *multi_new(void (*done)(CURL *easy, CURLcode code))
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct multi *multi = calloc(1, sizeof(*multi));

    pthread_once(&once, init_curl);
    if (!multi || !(multi->curl = curl_multi_init()))
        fatal("out of memory for libcurl");
    multi->done = done;
    uv_timer_init(task_loop(), &multi->timer);
    multi->timer.data = multi;
    curl_multi_setopt(multi->curl, CURLMOPT_SOCKETFUNCTION, want_socket);
    curl_multi_setopt(multi->curl, CURLMOPT_SOCKETDATA, multi);
    curl_multi_setopt(multi->curl, CURLMOPT_TIMERFUNCTION, want_timer);
    curl_multi_setopt(multi->curl, CURLMOPT_TIMERDATA, multi);
    curl_multi_setopt(multi->curl, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS);
    return multi;
}

static void free_multi(uv_handle_t *handle)
{
    free(handle->data);
}

void multi_free(struct multi *multi)
{
    if (!multi)
        return;
    curl_multi_cleanup(multi->curl);
    uv_close((uv_handle_t *)&multi->timer, free_multi);
}

bool multi_add(struct multi *multi, CURL *easy)
{
    return curl_multi_add_handle(multi->curl, easy) == CURLM_OK;
}

void multi_remove(struct multi *multi, CURL *easy)
{
    curl_multi_remove_handle(multi->curl, easy);
}
