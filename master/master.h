/*
 * master.h - what the parts of the master share.
 *
 * One thread, one loop (arbiter.c), no library that a fork would split in two:
 * no libuv, TLS, libpq or Redis client. Each part keeps its state in a structure
 * of its own, here in one place, and offers at most one *turn* function, which
 * the loop calls whenever something happened or its time has come.
 */
#ifndef FORKMARK_MASTER_MASTER_H
#define FORKMARK_MASTER_MASTER_H

#include "common/buf.h"
#include "common/options.h"
#include "common/scoreboard.h"
#include "common/scoreboard_history.h"
#include "master/account.h"
#include "master/listener.h"
#include "master/notify.h"
#include "master/pool.h"
#include "master/services.h"
#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct control;

/* A descriptor the loop looks at. Embedded in whoever owns the descriptor. */
struct watch {
    int fd;
    void (*call)(struct watch *watch, uint32_t events);
};

enum master_phase {
    PHASE_SERVICES, /* waiting for the embedded services */
    PHASE_MIGRATE,  /* a short-lived child brings the schema up to date */
    PHASE_SERVING,
    PHASE_STOPPING, /* see stop.c */
    PHASE_GONE,     /* nothing left: the loop ends */
};

enum stop_stage {
    STOP_NONE,
    STOP_NOTICE, /* readiness says no, for server.drain_delay; all is served as ever */
    STOP_LINGER, /* no new connections; workers empty the backlog */
    STOP_DRAIN,  /* children finish what they have */
    STOP_SERVICES,
};

/* How far a reload is; see reload.c. */
enum reload_stage {
    RELOAD_NONE,
    RELOAD_PROBE,   /* a short-lived child looks at the database */
    RELOAD_PROOF,   /* one process of the new generation tries out what it needs */
    RELOAD_ROLL,    /* one in, one out */
    RELOAD_ON_TRIAL /* complete; may still be rolled back */
};

struct reload {
    enum reload_stage stage;
    bool is_restart;      /* `restart --rolling`: the options stay */
    bool is_wanted;       /* asked for while one was under way: again after it */
    unsigned serial;      /* of the one that has begun last; see control_reload_done() */
    struct options *next; /* to become master.options; NULL in a restart */
    struct options *former; /* what a rollback goes back to; NULL: none */
    struct listeners next_listeners, former_listeners;
    bool former_listeners_are_same;
    bool has_shut;        /* former listeners that are not kept let nobody in any more */
    bool needs_children;  /* of every pool */
    bool has_other_work;  /* some consumer pool's, whose children alone are replaced */
    bool needs_migration; /* the database is another one */
    pid_t probe;
    struct child *proof;
    uint64_t deadline; /* of the proof, the linger, or the trial */
    unsigned deaths;   /* of the new generation's processes since the commit */
    struct buf report; /* what changes, one line each; then why it failed */
    cJSON *changes;    /* the same as rows of data */
    /* The last one's outcome, for `ctl status`. */
    bool has_failed;
    char *failure;
    int64_t failed_unix;
};

/* See upgrade.h. */
struct upgrade {
    /* Of the old master: */
    pid_t successor; /* 0: none */
    bool successor_serves;
    bool has_handed_over; /* the new one is the service */
    bool completes;       /* this master ends when the other one serves */
    char version[32];     /* the other's */
    pid_t check; /* in place: the new program reads the configuration; 0: not now */
    int check_output;
    uint64_t check_deadline;
    /* Of the new one: */
    pid_t former; /* 0: none, or it has gone */
    bool has_told_ready;
    /* Of both: */
    struct watch link; /* to the other; fd -1: none */
    struct buf in;
    int history;                  /* upgrade_history.c's file; -1: none */
    struct board_history counted; /* when it was begun: the rest is this master's own */
    size_t events;                /* the same of events */
    char *failure;                /* of the last attempt; NULL: none */
};

struct master {
    const struct conf_input *input; /* what a reload reads again */
    struct options *options;
    struct scoreboard *board;
    struct account account;
    pid_t pid;

    struct child *children; /* one for each slot of the scoreboard, same index */
    struct pool pools[POOLS_MAX];
    size_t pool_count;
    unsigned generation; /* of the options; grows when children must be replaced */
    bool was_announced;  /* the "ready" line is written once */

    struct listeners listeners;
    uint64_t doors_at; /* when to try again to listen; 0: nothing failed */
    struct reload reload;
    struct upgrade upgrade;
    struct notify manager; /* systemd, as a rule */
    struct rusage usage;   /* of the child that on_child() has just reaped */
    /* Of the control group: a second ago or two, and when it was looked at last. What has
     * been killed since may be the child whose end is being told. */
    uint64_t oom_kills, oom_kills_lately;
    char *note; /* shared with short-lived children: what they have to say */
    struct services services;
    bool embedded[SERVICE_COUNT];
    struct control *control;
    char *control_path;
    char *pid_file; /* NULL: none written */

    enum master_phase phase;
    pid_t migration; /* the child that migrates; 0: none */
    uint64_t migration_since, migration_at;
    bool migration_was_away; /* said already */
    enum stop_stage stop;
    bool stop_is_quick;
    bool stop_returns_jobs;      /* at once, while requests may end */
    bool had_served, had_notice; /* before the stop; of it */
    uint64_t refuses_at; /* in a drain: whoever connects is refused from then on */
    uint64_t stop_at;    /* when the present stage has had its time */
    int exit_status;

    int epoll_fd, notify_fd;
    struct watch signals, notify;
    uint64_t now;         /* clock_ms() at this turn */
    uint64_t due_at;      /* when this turn should have begun at the latest */
    uint64_t awake_since; /* since when this process has been punctual, see watch.c */
};

/* arbiter.c */
void master_init(struct master *m, struct options *options, size_t slots);
void master_done(struct master *m);
int master_run(struct master *m); /* the exit status */
/* Every duty once, then a wait for what comes next. */
void master_turn(struct master *m, uint64_t at_most_ms);
bool master_watch(struct master *m, struct watch *watch, uint32_t events);
void master_unwatch(struct master *m, struct watch *watch);

/* start.c: services, then the schema, then the children. */
uint64_t start_turn(struct master *m);
bool start_reaped(struct master *m, pid_t pid, int status);

/* doors.c: the listening sockets follow the number of workers. */
uint64_t doors_turn(struct master *m);
/* Sockets that were taken over may listen already, where nobody is to answer. */
void doors_begin(struct master *m);

/* watch.c: silent children and overdue jobs. */
uint64_t watch_turn(struct master *m);
void watch_note_lateness(struct master *m); /* at the start of each turn */
/* The child of that slot leaves its stack in the log, then it ends. */
void watch_kill(struct master *m, size_t index, const char *why, bool is_stopped);
/* ", out of memory ..." where the kernel killed for that a moment ago; else nothing. */
void watch_say_oom(struct master *m, int status, struct buf *out);
/* How long the child has been silent, counted from when the master was awake to notice.
 */
uint64_t watch_silence(const struct master *m, size_t index);

/* stop.c */
void stop_begin(struct master *m, bool quick);
uint64_t stop_turn(struct master *m);

/*
 * reload.c. False: nothing changed, `report` says why; else it lists what changes, and
 * reload_is_busy() until that is done, or has failed and left everything as it was.
 */
bool reload(struct master *m, struct buf *report);
bool reload_restart(struct master *m, struct buf *report); /* every child anew */
bool reload_is_busy(const struct master *m);
uint64_t reload_turn(struct master *m);
bool reload_reaped(struct master *m, pid_t pid, int status); /* the probe's end */
void reload_child_died(struct master *m, struct child *child, int status);
/* Whether the last process that has the former listeners may drain now. */
bool reload_lets_last_go(struct master *m);
void reload_abort(struct master *m, const char *why);

/* probe.c: in a short-lived child; the reason of a failure is left in m->note. */
enum { PROBE_GOOD, PROBE_FAILED, PROBE_AWAY };
int probe_start(struct master *m, const struct options *options);
int probe_reload(struct master *m, const struct options *options);
/* Files this process may open; children inherit it. */
bool budget_files(const struct options *options, struct buf *error);
#define NOTE_BYTES 4096

/* No turn needed before this: only an event. */
#define NEVER UINT64_MAX

static inline uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* "signal 9 (Killed)" or "exit status 3"; in a static buffer. */
const char *status_text(int status);

#endif
