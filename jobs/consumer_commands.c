/*
 * consumer_commands.c - what RQ tells a worker on its channel (protocol 10).
 *
 * Messages are fire and forget; what is not understood is logged and ignored.
 */
#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "jobs/consumer_parts.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOLD_BEFORE_MS 1000 /* what a claim's answer may take */

static void shutdown_worker(struct consumer *c, const cJSON *message)
{
    (void)message;
    log_info("told to shut down by RQ's command");
    consumer_leave(c);
}

static void kill_horse(struct consumer *c, const cJSON *message)
{
    (void)message;
    consumer_cut_job(c, CUT_KILLED);
}

static bool is_job(const struct consumer *c, const char *id, const char *execution)
{
    return strcmp(id, c->job->id) == 0 &&
           (!execution || strcmp(execution, c->job->execution) == 0);
}

static void forget_stop(struct consumer *c)
{
    free(c->stop_id);
    free(c->stop_execution);
    c->stop_id = c->stop_execution = NULL;
}

/* Who reads in Redis that we run the job may tell us before Redis has. */
static void note_stop(struct consumer *c, const char *id, const char *execution)
{
    forget_stop(c);
    c->stop_id = strdup(id);
    c->stop_execution = execution ? strdup(execution) : NULL;
    c->stop_told_ms = clock_ms();
}

bool consumer_was_stopped(struct consumer *c)
{
    bool was_told = c->stop_id && clock_ms() < c->stop_told_ms + TOLD_BEFORE_MS &&
                    is_job(c, c->stop_id, c->stop_execution);

    forget_stop(c);
    return was_told;
}

/* By job, or by execution as later versions do. */
static void stop_job(struct consumer *c, const cJSON *message)
{
    const char *id = json_text(message, "job_id");
    const char *execution = json_text(message, "execution_id");

    if (id && c->job_task && is_job(c, id, execution))
        consumer_cut_job(c, CUT_STOPPED);
    else if (id)
        note_stop(c, id, execution);
}

static const struct {
    const char *name;
    void (*act)(struct consumer *c, const cJSON *message);
} commands[] = {
    { "kill-horse", kill_horse },
    { "shutdown", shutdown_worker },
    { "stop-execution", stop_job },
    { "stop-job", stop_job },
};

static void act_on(struct consumer *c, const cJSON *message)
{
    const char *name = json_text(message, "command");

    for (size_t i = 0; name && i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, name) == 0) {
            commands[i].act(c, message);
            return;
        }
    }
    log_warn("a command that is none of ours came on this worker's channel");
}

static void on_message(void *arg, const char *channel, const char *data, size_t length)
{
    cJSON *message = NULL;

    (void)channel;
    /* On the loop's stack, so cJSON uses plain malloc here. */
    if (json_check(data, length, JSON_MAX_DEPTH, JSON_MAX_VALUES) == 0)
        message = cJSON_ParseWithLength(data, length);
    act_on(arg, message);
    cJSON_Delete(message);
}

/* The connection is new, so this is said for the first subscription as well. */
static void on_confirmed(void *arg)
{
    struct consumer *c = arg;

    c->is_listening = true;
    consumer_poke(c);
}

void consumer_listen(struct consumer *c)
{
    char channel[sizeof("rq:pubsub:") + sizeof(c->worker.name)];

    snprintf(channel, sizeof(channel), "rq:pubsub:%s", c->worker.name);
    c->commands = redis_subscribe(c->worker.redis, channel, on_message, on_confirmed, c);
}
