/*
 * cli_parts.h - what the files of `forkmark jobs` share.
 *
 * cli.c: the commands' table, options, and the task they run in; cli_text.c: columns
 * and durations; cli_look.c: what several of them read; then one file per command or
 * kind of command.
 *
 * A command writes to cli->paper, what goes wrong to stderr, and the exit status to
 * cli->status: 0, 1 when something could not be done, 2 for a wrong call.
 */
#ifndef FORKMARK_JOBS_CLI_PARTS_H
#define FORKMARK_JOBS_CLI_PARTS_H

#include "common/options.h"
#include "common/redis.h"
#include "jobs/cli_text.h"
#include <limits.h>
#include <stdbool.h>

struct look;

struct cli {
    const struct options *options;
    struct redis *redis;
    const struct cli_command *command;
    struct cli_paper paper; /* made anew for each look of --watch */
    int argc;               /* behind the command's name; options taken out */
    char **argv;
    /* Options; a command gets those that its usage names. */
    const char *queue, *state, *id, *unique, *after, *description;
    long limit, timeout_s, retries, delay_s, result_ttl_s, failure_ttl_s;
    bool has_result_ttl, has_failure_ttl;
    bool is_json, is_all, is_at_front, is_lines, is_while_running;
    double watch_s;     /* seconds between two looks; 0: one look */
    struct look *looks; /* of --watch so far, newest first; cli_info.c's */
    char wrong[128];    /* what is, with the call */
    int status;         /* of the process */
};

struct cli_command {
    const char *name;
    const char *usage; /* only options named here are taken */
    const char *summary;
    const char *help; /* lines behind the usage */
    int least_args, most_args;
    int (*run)(struct cli *cli); /* 0, or a negative error of Redis */
};

#define CLI_MANY INT_MAX

/* The places a job can be in, one registry each. */
enum cli_registry {
    CLI_WAITING,
    CLI_STARTED,
    CLI_SCHEDULED,
    CLI_DEFERRED,
    CLI_FAILED,
    CLI_FINISHED,
    CLI_CANCELED,
    CLI_REGISTRY_COUNT,
};
extern const char *const cli_registry_names[CLI_REGISTRY_COUNT];
/* "rq:queue:Q", "rq:wip:Q", ...; in the task's arena. */
const char *cli_registry_key(enum cli_registry registry, const char *queue);
/* Names of the queues, sorted; --queue: only that one. Yields. */
int cli_queues(struct cli *cli, struct conf_list *ret);
/* Whether anybody has ever used that queue; says so when not. Yields. 1, 0 or an error.
 */
int cli_is_queue(struct cli *cli, const char *name);
/* Everything that was remembered from look to look. */
void cli_forget_looks(struct cli *cli);

/* RQ 2 writes "id:execution" into the registry of started jobs: the id of it. */
const char *cli_job_of(const char *member);

struct cli_queue {
    const char *name;
    long long counts[CLI_REGISTRY_COUNT];
    int64_t oldest_us; /* when the job that waits longest was queued; 0: nobody waits */
};
/* With their counts. Three round trips for all. Yields. */
int cli_read_queues(struct cli *cli, struct cli_queue **ret, size_t *ret_count);

struct cli_worker {
    const char *name, *queues, *state, *job, *call, *host, *version;
    long long pid, done, failed;
    double worked_s;
    int64_t birth_us, heartbeat_us, job_since_us;
};
/* Those of --queue, or all, by name. Records that expired are passed over. Yields. */
int cli_read_workers(struct cli *cli, struct cli_worker **ret, size_t *ret_count);
void cli_write_workers(struct cli *cli, const struct cli_worker *workers, size_t count,
                       bool wide);
struct json_writer;
void cli_workers_json(struct json_writer *w, const struct cli_worker *workers,
                      size_t count);

/* What is wrong with the call of this command. */
int cli_usage(struct cli *cli, const char *what);
/* Something could not be done: a line to stderr, and status 1. */
void cli_fail(struct cli *cli, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

int cli_cancel(struct cli *cli);
int cli_cron(struct cli *cli);
int cli_empty(struct cli *cli);
int cli_enqueue(struct cli *cli);
int cli_info(struct cli *cli);
int cli_list(struct cli *cli);
int cli_requeue(struct cli *cli);
int cli_resume(struct cli *cli);
int cli_show(struct cli *cli);
int cli_stop(struct cli *cli);
int cli_suspend(struct cli *cli);
int cli_workers(struct cli *cli);

#endif
