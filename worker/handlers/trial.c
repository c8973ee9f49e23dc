/*
 * trial.c - requests that take long, hang or spin: for the tests of the master.
 *
 * Answered only where jobs.test_functions is on; elsewhere there is no such path.
 */
#include "common/clock.h"
#include "common/task.h"
#include "worker/handlers/handlers.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#define LONGEST_MS 60000

struct late {
    uv_async_t async;
    useconds_t us;
};

static void free_late(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_late(uv_async_t *async)
{
    struct late *late = async->data;

    usleep(late->us);
    uv_close((uv_handle_t *)async, free_late);
}

/* Blocks in the middle of the loop's poll, before it looks at connections again. */
static void block_in_poll(int64_t ms)
{
    struct late *late = calloc(1, sizeof(*late));

    if (!late)
        return;
    late->us = (useconds_t)ms * 1000;
    uv_async_init(task_loop(), &late->async, on_late);
    late->async.data = late;
    uv_async_send(&late->async);
}

/* GET /test/wait?how=sleep|block|spin|poll&ms=500: the first is what a handler should do.
 */
enum http_status trial_wait(struct request *req)
{
    const char *how = request_query(req, "how");
    int64_t ms = request_query_int(req, "ms", 0);

    if (!req->server->options->jobs.test_functions)
        return reply_not_found(req);
    ms = ms < 0 ? 0 : ms > LONGEST_MS ? LONGEST_MS : ms;
    uint64_t end = clock_ms() + (uint64_t)ms;
    if (how && strcmp(how, "block") == 0)
        usleep((useconds_t)ms * 1000);
    else if (how && strcmp(how, "poll") == 0)
        block_in_poll(ms);
    else if (how && strcmp(how, "spin") == 0)
        while (clock_ms() < end)
            ;
    else
        task_sleep((uint64_t)ms);
    return reply_text(req, HTTP_OK, "{\"waited\":true}", strlen("{\"waited\":true}"));
}
