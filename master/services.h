/*
 * services.h - the embedded PostgreSQL and Redis: prepared, started, supervised.
 *
 * A service is embedded when the configuration names none of its kind. Each has a
 * row of functions (service_postgres.c, service_redis.c); what they have in common,
 * states and restarts, is in services.c.
 */
#ifndef FORKMARK_MASTER_SERVICES_H
#define FORKMARK_MASTER_SERVICES_H

#include "common/options.h"
#include "master/data.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct arena;
struct buf;
struct master;
struct program;
struct service;

enum service_state {
    SERVICE_OFF,       /* not embedded, or stopped for good */
    SERVICE_WAITING,   /* to be started at retry_at */
    SERVICE_PREPARING, /* a program such as initdb runs first */
    SERVICE_STARTING,  /* runs, does not answer yet */
    SERVICE_UP,
    SERVICE_STOPPING,
};

/* What to do before a service can start. */
enum service_step { STEP_RUN, STEP_NONE, STEP_FAILED };

struct service_kind {
    const char *name;           /* "postgres": in logs, data/NAME, data/log/NAME.log */
    const char *process;        /* its name in /proc/PID/comm */
    int stop_signal;            /* ends it in order */
    int hard_signal;            /* ends it when that took too long */
    uint64_t stop_ms, start_ms; /* how long each may take */
    /* The next program to run before it, or none, or not possible (`error`). */
    enum service_step (*prepare)(struct service *service, struct program *program,
                                 struct buf *error);
    bool (*command)(struct service *service, struct program *program, struct buf *error);
    bool (*is_up)(struct service *service);
};

struct service {
    const struct service_kind *kind;
    struct services *all;
    enum service_state state;
    pid_t pid; /* of the service or of what prepares it; 0: none */
    int step;  /* of the preparation */
    unsigned failures;
    bool was_up; /* at least once since the master started */
    uint64_t retry_at, since, hard_at;
    int probe_fd; /* a question under way (Redis); -1: none */
};

enum { SERVICE_POSTGRES, SERVICE_REDIS, SERVICE_COUNT };

struct services {
    struct service services[SERVICE_COUNT];
    struct data data;
    const struct options *options;
    const struct account *account;
    bool is_used; /* at least one is embedded */
};

extern const struct service_kind service_postgres, service_redis;

/*
 * Which services this configuration embeds, by services.mode and the URLs. False
 * when something is missing that must not be embedded: the variable is in `error`.
 */
bool services_choose(const struct options *options, const struct data *data,
                     bool ret_embedded[SERVICE_COUNT], struct buf *error);
/*
 * Completes a configuration: the embedded services' addresses, and secrets made in
 * the data folder where it is allowed to do without configured ones.
 */
bool services_complete(struct options *options, const struct data *data,
                       const bool embedded[SERVICE_COUNT], struct buf *error);

/* Folders, lock. False with the reason in `error`. */
bool services_open(struct services *services, const struct options *options,
                   const struct account *account, const struct data *data,
                   const bool embedded[SERVICE_COUNT], struct buf *error);

uint64_t services_turn(struct master *m);
bool services_reaped(struct master *m, pid_t pid, int status);
bool services_are_up(const struct services *services);
/* The orderly end, one after the other, Redis first. Called until none is left. */
uint64_t services_stop(struct master *m);
bool services_left(const struct services *services);
const char *service_state_text(const struct service *service);

/* For the kinds: "DATA/NAME" of the service, in a static buffer. */
const char *service_folder(const struct service *service);
/* Processes of a former start that still work in `folder`: how many, each signalled. */
size_t services_leftovers(const char *process, const char *folder, int signum);
/* The program of that name in PATH, or NULL; in `arena`. */
const char *services_find_program(struct arena *arena, const char *name);

#endif
