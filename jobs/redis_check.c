/*
 * redis_check.c - see redis_check.h.
 */
#include "jobs/redis_check.h"
#include "common/arena.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/task.h"
#include "jobs/connections.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_MAJOR 5
#define MOST_SKEW_S 5.0
#define PATIENCE_MS 60000
#define AT_ONCE_MS  3000
#define WORD_SIZE   64

/* INFO's "name:value" lines; false when there is none of that name. */
static bool find_word(const char *info, const char *name, char ret[WORD_SIZE])
{
    size_t length = strlen(name);

    for (const char *line = info; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, length) == 0 && line[length] == ':') {
            const char *value = line + length + 1;

            snprintf(ret, WORD_SIZE, "%.*s", (int)strcspn(value, "\r\n"), value);
            return true;
        }
    }
    return false;
}

/* ---- one function a finding: false, or the text of a warning ---- */

static bool is_too_old(const char *info, double ahead_s, char *text, size_t room)
{
    char version[WORD_SIZE];

    (void)ahead_s;
    if (!find_word(info, "redis_version", version) ||
        strtol(version, NULL, 10) >= LEAST_MAJOR)
        return false;
    snprintf(text, room,
             "the queue's Redis is %s: jobs need streams, which came with 5.0; nothing "
             "will run here",
             version);
    return true;
}

static bool is_cluster(const char *info, double ahead_s, char *text, size_t room)
{
    char mode[WORD_SIZE];

    (void)ahead_s;
    if (!find_word(info, "redis_mode", mode) || strcmp(mode, "cluster") != 0)
        return false;
    snprintf(text, room,
             "the queue's Redis is in cluster mode, where RQ's keys are spread over "
             "servers: jobs do not work there; give redis.url one server, and the "
             "cluster to redis.cache_url");
    return true;
}

static bool is_evicting(const char *info, double ahead_s, char *text, size_t room)
{
    char policy[WORD_SIZE];

    (void)ahead_s;
    if (!find_word(info, "maxmemory_policy", policy) || strcmp(policy, "noeviction") == 0)
        return false;
    snprintf(
        text, room,
        "the queue's Redis evicts keys when its memory is full (maxmemory-policy "
        "%s): jobs get lost; set it to noeviction, and give the cache a Redis of its "
        "own by redis.cache_url",
        policy);
    return true;
}

static bool is_skewed(const char *info, double ahead_s, char *text, size_t room)
{
    (void)info;
    if (fabs(ahead_s) <= MOST_SKEW_S)
        return false;
    snprintf(text, room,
             "the clock of the queue's Redis is %.0f s %s: jobs' times are off, and "
             "Python workers may take running jobs for abandoned; see to NTP on both "
             "machines",
             fabs(ahead_s), ahead_s > 0 ? "ahead" : "behind");
    return true;
}

static bool (*const findings[])(const char *info, double ahead_s, char *text,
                                size_t room) = {
    is_too_old,
    is_cluster,
    is_evicting,
    is_skewed,
};

int redis_check_judge(const char *info, double ahead_s,
                      void (*say)(void *arg, const char *text), void *arg)
{
    char text[256];
    int count = 0;

    for (size_t i = 0; i < sizeof(findings) / sizeof(findings[0]); i++) {
        if (!findings[i](info, ahead_s, text, sizeof(text)))
            continue;
        say(arg, text);
        count++;
    }
    return count;
}

/* ---- asking ---- */

struct question {
    struct redis *redis;
    void (*say)(void *arg, const char *text);
    bool is_answered;
};

/* Sections one by one: before 7.0, INFO takes one at a time. What is refused (a user
 * without INFO) is unknown, and nothing is said of it. */
static const char *ask_info(struct redis *redis)
{
    redisReply *server = NULL, *memory = NULL;

    redis_call(redis, &server, "INFO server");
    redis_call(redis, &memory, "INFO memory");
    return arena_printf(task_arena(), "%s\n%s", server && server->str ? server->str : "",
                        memory && memory->str ? memory->str : "");
}

static double ask_clock(struct redis *redis)
{
    redisReply *reply = NULL;
    int64_t before_us = clock_unix_us();

    if (redis_call(redis, &reply, "TIME") < 0 || reply->elements != 2)
        return 0;
    /* It was asked somewhere between the two. */
    double here_s = (double)(before_us + clock_unix_us()) / 2e6;
    return strtod(reply->element[0]->str, NULL) +
           strtod(reply->element[1]->str, NULL) / 1e6 - here_s;
}

static void ask(void *arg)
{
    struct question *question = arg;

    /* An error reply is an answer, too. */
    while (redis_call(question->redis, NULL, "PING") < 0 && !redis_is_up(question->redis))
        task_sleep(250);
    question->is_answered = true;
    const char *info = ask_info(question->redis);
    redis_check_judge(info, ask_clock(question->redis), question->say, NULL);
}

static void asked(void *arg, enum task_outcome outcome)
{
    struct question *question = arg;

    (void)outcome;
    redis_free(question->redis);
    task_stop_loop();
}

static bool run(const struct options *options, uint64_t patience_ms,
                void (*say)(void *arg, const char *text))
{
    struct question question = { .say = say };

    task_runtime_init();
    question.redis = jobs_queue_redis(options, "forkmark-check");
    if (!question.redis)
        return false;
    task_spawn(&(struct task_spec){ .name = "check",
                                    .run = ask,
                                    .arg = &question,
                                    .timeout_ms = patience_ms,
                                    .on_end = asked });
    task_run_loop();
    return question.is_answered;
}

static void log_finding(void *arg, const char *text)
{
    (void)arg;
    log_warn("%s", text);
}

static void print_finding(void *arg, const char *text)
{
    (void)arg;
    fprintf(stderr, "warning: %s\n", text);
}

int redis_check_log(const struct options *options)
{
    run(options, PATIENCE_MS, log_finding);
    return 0;
}

bool redis_check_print(const struct options *options)
{
    return run(options, AT_ONCE_MS, print_finding);
}
