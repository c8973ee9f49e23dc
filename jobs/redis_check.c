/*
 * redis_check.c - see redis_check.h.
 */
#include "jobs/redis_check.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/connect.h"
#include "common/embedded.h"
#include "common/log.h"
#include "common/task.h"
#include "jobs/cache_check.h"
#include "lua_scripts.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_MAJOR 5
#define MOST_SKEW_S 5.0
#define PATIENCE_MS 60000
#define AT_ONCE_MS  5000
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
             "servers and its scripts cannot reach them all: jobs do not work there; "
             "give the queue one server, or one behind redis.queue.sentinels, and the "
             "cluster to redis.cache.cluster");
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

static const struct {
    bool (*find)(const char *info, double ahead_s, char *text, size_t room);
    enum redis_finding as;
} findings[] = {
    { is_too_old, REDIS_WARNING },
    { is_cluster, REDIS_FAULT },
    { is_evicting, REDIS_WARNING },
    { is_skewed, REDIS_WARNING },
};

int redis_check_judge(const char *info, double ahead_s,
                      void (*say)(void *arg, enum redis_finding finding,
                                  const char *text),
                      void *arg)
{
    char text[400];
    int count = 0;

    for (size_t i = 0; i < sizeof(findings) / sizeof(findings[0]); i++) {
        if (!findings[i].find(info, ahead_s, text, sizeof(text)))
            continue;
        say(arg, findings[i].as, text);
        count++;
    }
    return count;
}

/* ---- asking ---- */

struct question {
    const struct options *options;
    struct redis *redis;
    void (*say)(void *arg, enum redis_finding finding, const char *text);
    struct buf *faults; /* what was found, a line each; NULL: nobody wants it */
    bool is_patient;    /* one that is away may come */
    bool is_answered, has_fault, has_spoken;
};

static void say(void *arg, enum redis_finding finding, const char *text)
{
    struct question *question = arg;

    question->has_fault |= finding == REDIS_FAULT;
    question->has_spoken = true;
    question->say(question, finding, text);
}

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

/* Whatever is not refused by the ACL is no matter of this check. */
static bool is_refusal(const redisReply *reply)
{
    return reply && reply->type == REDIS_REPLY_ERROR &&
           strncmp(reply->str, "NOPERM", 6) == 0;
}

static void add_refused(struct buf *list, const char *what)
{
    buf_addf(list, "%s%s", list->length > 0 ? ", " : "", what);
}

/* Keys of RQ and of ours, scripts and channels: what this user may not touch. */
static void ask_rights(struct question *question, struct buf *refused)
{
    const struct embedded_file *file = embedded_find(lua_scripts, "permissions.lua");
    const char *prefix = question->options->redis.prefix;
    const char *own = arena_printf(task_arena(), "%s{check}", prefix);
    const char *argv[] = { "EVAL", file->data, "0", "rq:forkmark-check", own };
    size_t lengths[] = { 4, file->length, 1, strlen(argv[3]), strlen(own) };
    redisReply *reply = NULL;

    redis_call_argv(question->redis, &reply, 5, argv, lengths);
    if (is_refusal(reply))
        add_refused(refused, "eval");
    for (size_t i = 0; reply && i < reply->elements; i++)
        if (reply->element[i]->str)
            add_refused(refused, reply->element[i]->str);
    redis_call(question->redis, &reply, "EVALSHA %s 0", "0");
    if (is_refusal(reply))
        add_refused(refused, "evalsha");
    redis_call(question->redis, &reply, "PUBLISH rq:forkmark-check x");
    if (is_refusal(reply))
        add_refused(refused, "publish to rq:*");
    redis_call(question->redis, &reply, "PUBLISH %sforkmark-check x", prefix);
    if (is_refusal(reply))
        add_refused(refused, arena_printf(task_arena(), "publish to %s*", prefix));
}

static void judge_rights(struct question *question)
{
    struct buf refused = BUF_IN(task_arena());
    const char *user = question->options->redis.user;

    ask_rights(question, &refused);
    if (refused.length == 0)
        return;
    say(question, REDIS_FAULT,
        arena_printf(task_arena(),
                     "the server's user %s may not: %.300s%s; forkmark needs ACL SETUSER "
                     "%s ~rq:* ~%s* &* +@all -@dangerous +info",
                     *user ? user : "named in redis.url", buf_text(&refused),
                     refused.length > 300 ? " ..." : "", *user ? user : "<name>",
                     question->options->redis.prefix));
}

/* True once it has answered. An error reply is an answer, too. */
static bool knock(struct question *question)
{
    for (;;) {
        int rc = redis_call(question->redis, NULL, "PING");

        if (rc == 0 || rc == -EPROTO)
            return true;
        if (!question->is_patient && *redis_trouble(question->redis))
            return false;
        task_sleep(100);
    }
}

static void ask(void *arg)
{
    struct question *question = arg;

    if (!knock(question)) {
        say(question, redis_is_refused(question->redis) ? REDIS_FAULT : REDIS_WARNING,
            redis_trouble(question->redis));
        return;
    }
    question->is_answered = true;
    const char *info = ask_info(question->redis);
    redis_check_judge(info, ask_clock(question->redis), say, question);
    judge_rights(question);
    const char *of_cache = cache_check(question->options);
    if (of_cache)
        say(question, REDIS_WARNING, of_cache);
}

static void asked(void *arg, enum task_outcome outcome)
{
    struct question *question = arg;

    (void)outcome;
    redis_free(question->redis);
    task_stop_loop();
}

/* False: there is no such Redis. */
static bool run(struct question *question)
{
    const struct options *options = question->options;

    task_runtime_init();
    /* With a breaker the first failure to connect is told at once. */
    question->redis =
        connect_queue(options, &(struct connect_redis){ .name = "forkmark-check",
                                                        .timeout_ms = AT_ONCE_MS,
                                                        .breaker_ms = 1 });
    if (!question->redis)
        return false;
    task_spawn(&(struct task_spec){ .name = "check",
                                    .run = ask,
                                    .arg = question,
                                    .timeout_ms =
                                        question->is_patient ? PATIENCE_MS : AT_ONCE_MS,
                                    .on_end = asked });
    task_run_loop();
    return true;
}

/* ---- to whom it is said ---- */

static void log_finding(void *arg, enum redis_finding finding, const char *text)
{
    const struct question *question = arg;

    if (finding == REDIS_FAULT)
        log_error("%s: %s", connect_queue_option(question->options), text);
    else
        log_warn("%s", text);
}

static void print_finding(void *arg, enum redis_finding finding, const char *text)
{
    const struct question *question = arg;

    if (finding == REDIS_FAULT)
        fprintf(stderr, "%s: %s\n", connect_queue_option(question->options), text);
    else if (question->is_answered)
        fprintf(stderr, "warning: %s\n", text);
    else
        fprintf(stderr, "no Redis answers at %s: %s\n",
                connect_queue_option(question->options), text);
}

/* Warnings come later, when there is time to wait for them. */
static void note_fault(void *arg, enum redis_finding finding, const char *text)
{
    const struct question *question = arg;

    if (finding == REDIS_FAULT && question->faults->length == 0)
        buf_addf(question->faults, "%s: %s", connect_queue_option(question->options),
                 text);
}

int redis_check_log(const struct options *options)
{
    struct question question = { .options = options,
                                 .say = log_finding,
                                 .is_patient = true };

    run(&question);
    return 0;
}

bool redis_check_print(const struct options *options)
{
    struct question question = { .options = options, .say = print_finding };

    log_set_level(LOGL_ERROR); /* what the client would log is said here */
    if (!run(&question))
        return false;
    if (!question.is_answered && !question.has_spoken)
        print_finding(&question, REDIS_WARNING, "no answer in time");
    return question.is_answered && !question.has_fault;
}

bool redis_check_probe(const struct options *options, struct buf *error)
{
    struct question question = { .options = options, .say = note_fault, .faults = error };

    if (!run(&question)) {
        buf_addf(error, "%s: no address of a Redis", connect_queue_option(options));
        return false;
    }
    return !question.has_fault;
}
