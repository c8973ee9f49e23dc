/*
 * cli_parts.h - what the files of `forkmark jobs` share.
 *
 * cli.c: the commands' table and their task; cli_show.c: those that look;
 * cli_change.c: those that change; cli_cron.c: jobs.cron.
 */
#ifndef FORKMARK_JOBS_CLI_PARTS_H
#define FORKMARK_JOBS_CLI_PARTS_H

#include "common/options.h"
#include "common/redis.h"
#include <stdbool.h>

struct cli {
    const struct options *options;
    struct redis *redis;
    const struct cli_command *command;
    int argc; /* behind the command's name; options taken out */
    char **argv;
    /* Options any command may look at. */
    const char *queue, *state, *id;
    long limit, timeout_s, retries;
    bool is_json, is_all, is_at_front;
    int status; /* of the process */
};

struct cli_command {
    const char *name, *usage, *summary;
    const char *help; /* lines behind the usage */
    int least_args;
    int (*run)(struct cli *cli); /* 0, or a negative error of Redis */
};

/* One row per queue with its counts. */
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
/* What went wrong with the call of this command. */
int cli_usage(struct cli *cli, const char *what);

int cli_cron(struct cli *cli);
int cli_info(struct cli *cli);
int cli_list(struct cli *cli);
int cli_show(struct cli *cli);
int cli_workers(struct cli *cli);

int cli_cancel(struct cli *cli);
int cli_empty(struct cli *cli);
int cli_enqueue(struct cli *cli);
int cli_requeue(struct cli *cli);
int cli_resume(struct cli *cli);
int cli_stop(struct cli *cli);
int cli_suspend(struct cli *cli);

#endif
