/*
 * scoreboard.h - shared memory in which every child says how it is.
 *
 * Made by the master before it forks anyone; one slot per child, written only
 * by that child (and reset by the master before it is given away), read by
 * everyone. It replaces heartbeat files, feeds /metrics from any worker, `ctl
 * status`, balanced accept, and the report before a stuck child is killed.
 *
 * A slot is written under a sequence number (odd while being written). Readers
 * retry a bounded number of times, since a killed writer leaves it odd.
 */
#ifndef FORKMARK_COMMON_SCOREBOARD_H
#define FORKMARK_COMMON_SCOREBOARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum board_role { BOARD_NONE, BOARD_WORKER, BOARD_CONSUMER, BOARD_SCHEDULER };
enum board_state {
    BOARD_FREE,
    BOARD_STARTING, /* forked, not yet ready */
    BOARD_READY,    /* serving */
    BOARD_DRAINING, /* takes nothing new */
    BOARD_DEAD,     /* reaped, not yet given away again */
};

#define BOARD_ROLES 4 /* as many as in enum board_role */

/* How a job ended for the consumer that had it. */
enum board_job_end {
    BOARD_JOB_FINISHED,
    BOARD_JOB_FAILED,
    BOARD_JOB_RETRIED, /* failed, with retries left */
    BOARD_JOB_STOPPED, /* by command */
    BOARD_JOB_POSTPONED,
    BOARD_JOB_RETURNED, /* to the head of its queue: its consumer had to go */
    BOARD_JOB_LOST,     /* somebody else had decided about it meanwhile */
    BOARD_JOB_ENDS,
};

/* Why a process was replaced. */
enum board_restart {
    BOARD_RESTART_CRASH, /* a signal of its own making */
    BOARD_RESTART_KILLED,
    BOARD_RESTART_OOM,
    BOARD_RESTART_EXIT,  /* it gave up */
    BOARD_RESTART_START, /* before it was ready */
    BOARD_RESTART_HUNG,
    BOARD_RESTART_OVERRUN, /* its job, past its time */
    BOARD_RESTART_MAX_REQUESTS,
    BOARD_RESTART_MAX_RSS,
    BOARD_RESTART_RELOAD,   /* of a former generation */
    BOARD_RESTART_OPERATOR, /* `ctl drain`, `ctl kill` */
    BOARD_RESTART_ENDED,    /* its work was over: max_jobs, a shutdown command */
    BOARD_RESTARTS,
};

/* Of PostgreSQL: the primary and so many replicas. Each server there was since the start
 * keeps its place. */
#define BOARD_SERVERS     32
#define BOARD_SERVER_NAME 160
enum board_server_role { BOARD_SERVER_NONE, BOARD_SERVER_PRIMARY, BOARD_SERVER_REPLICA };
enum board_server_state {
    BOARD_SERVER_UNKNOWN, /* not asked yet */
    BOARD_SERVER_UP,
    BOARD_SERVER_BEHIND,    /* a replica beyond max_lag */
    BOARD_SERVER_PROMOTED,  /* a replica that takes writes now */
    BOARD_SERVER_READ_ONLY, /* a primary that takes none */
    BOARD_SERVER_DOWN,
};
#define BOARD_SERVER_STATES 6
extern const char *const board_server_states[BOARD_SERVER_STATES];

/* How one child finds it; those without replicas to read from know the primary alone. */
struct board_server {
    _Atomic int32_t role, state; /* enum board_server_role, enum board_server_state */
    _Atomic int32_t in_use;      /* connections */
    _Atomic int64_t lag_ms;      /* of a replica; -1: unknown */
};

#define BOARD_CLASSES         5  /* of answers: 1xx to 5xx */
#define BOARD_LATENCY_BUCKETS 15 /* contract 2.13's 14 limits and +Inf */
extern const double board_latency_limits[BOARD_LATENCY_BUCKETS - 1]; /* seconds */

/* What a child does now. Texts are cut to fit. */
struct board_doing {
    char id[64];          /* request id or job id */
    char what[64];        /* route pattern or job function */
    char waiting_on[48];  /* "pg:bookmark_list", "redis", "" = computing */
    uint64_t since_ms;    /* clock_ms() at its start; 0 = idle */
    uint64_t deadline_ms; /* clock_ms() at which it must have ended; 0 = none */
};

/*
 * A child's counters; plain atomics, each valid by itself, no lock needed. Which of them
 * only grow, and outlive the child in board_shared.past, is listed in scoreboard.c.
 */
struct board_counters {
    _Atomic uint64_t beat_ms; /* clock_ms() at the loop's last turn */
    /* Its loop waits for events: it will come at once, however old its beat is. (One that
     * was stopped while it waited looks the same until the next beat is overdue.) */
    _Atomic uint32_t is_waiting;
    _Atomic uint32_t connections, streams, accepting;
    _Atomic uint64_t requests, errors_5xx, accepted, jobs_done, jobs_failed;
    _Atomic uint64_t busy_us; /* time the loop was not waiting */
    _Atomic uint64_t latency[BOARD_LATENCY_BUCKETS];
    _Atomic uint64_t latency_sum_us;
    _Atomic uint64_t responses[BOARD_CLASSES];
    _Atomic uint64_t job_ends[BOARD_JOB_ENDS], job_us;
    _Atomic uint64_t pg_waits, pg_wait_us, pg_wait_failures, pg_in_use;
    _Atomic uint64_t cache_hits, cache_misses;
    /* By place of the server. */
    _Atomic uint64_t server_queries[BOARD_SERVERS], server_waits[BOARD_SERVERS];
    _Atomic uint64_t server_retries[BOARD_SERVERS];
    /* Of the cache's Redis Cluster: MOVED and ASK followed; commands tried again for
     * TRYAGAIN or CLUSTERDOWN; maps of the slots learned; commands that got no answer. */
    _Atomic uint64_t cluster_redirects, cluster_retries, cluster_refreshes,
        cluster_errors;
};

/* A Redis server as one process sees it: the queue's, the cache's, or a node of the
 * cache's cluster. */
#define BOARD_REDIS      32
#define BOARD_REDIS_NAME 72
enum board_redis_state {
    BOARD_REDIS_NONE, /* nothing stands here */
    BOARD_REDIS_IDLE, /* known, and not needed yet */
    BOARD_REDIS_UP,
    BOARD_REDIS_AWAY, /* the worst comes last */
};
enum board_redis_use {
    BOARD_REDIS_QUEUE = 1,
    BOARD_REDIS_CACHE = 2,
    BOARD_REDIS_CLUSTER = 4,
};
struct board_redis {
    _Atomic int32_t state; /* enum board_redis_state; written after the name */
    _Atomic uint32_t is_replica;
    _Atomic uint32_t uses;       /* enum board_redis_use, or'ed */
    char name[BOARD_REDIS_NAME]; /* "host:port", or a socket's path */
};

#define BOARD_FRAMES 32

struct board_slot {
    _Alignas(64) _Atomic uint32_t sequence;
    _Atomic int32_t state; /* enum board_state */
    _Atomic int32_t role;  /* enum board_role */
    _Atomic int32_t pid;
    _Atomic uint32_t generation; /* of this slot: grows each time it is given away */
    int32_t number;              /* "worker 3" */
    uint64_t started_ms;         /* clock_ms() at the fork */
    char pool[32];
    char rq_name[40]; /* a consumer's RQ worker name, so that its successor finds it */
    char last_words[256]; /* why it gives up, written before it ends; "": nothing said */
    _Atomic uint32_t is_worn; /* it has done its share: to be replaced */
    struct board_counters count;
    struct board_server servers[BOARD_SERVERS]; /* by place */
    /* By the master: memory when somebody wants to know, the busy share as meter.h has
     * it. */
    _Atomic uint64_t pss, rss;
    _Atomic uint32_t busy_permille;
    struct board_redis redis[BOARD_REDIS];
    struct board_doing doing; /* under `sequence` */
    /* By its signal handler when it crashes or is asked: its stack, and what it was at.
     * Written once, before frame_count. */
    struct board_doing at_last;
    void *frames[BOARD_FRAMES];
    _Atomic int32_t frame_count;
};

/* The jobs that wait for a pool whose count is a range: counted by the scheduler, read by
 * the master, which names the pools. */
#define BOARD_BACKLOGS 66
struct board_backlog {
    char pool[32];
    _Atomic uint64_t counted_ms; /* clock_ms(); 0: never */
    _Atomic int64_t waiting, age_ms;
};

/* What every child has in common. */
struct board_shared {
    _Atomic uint32_t configured_workers;
    _Atomic uint32_t is_leaving;  /* readiness says no; all is still served */
    _Atomic uint32_t is_stopping; /* the server's end, not one child's */
    _Atomic uint64_t restarts, kills, reloads, reload_failures;
    _Atomic int32_t
        log_level; /* enum log_level of every process, see log_share_level() */
    _Atomic uint64_t restarts_by[BOARD_ROLES][BOARD_RESTARTS];
    /* Memory is read when asked for, as it costs the kernel a walk through all pages: who
     * wants to know writes the time here and wakes the master, which fills in the numbers
     * and then the time when it did. */
    _Atomic uint64_t memory_wanted_ms, memory_at_ms, master_pss, master_rss;
    /* What those had counted that are gone; under `past_sequence`, as a slot is. */
    _Atomic uint32_t past_sequence;
    struct board_counters past[BOARD_ROLES];
    int64_t started_unix;
    uint32_t slot_count;
    struct board_backlog backlogs[BOARD_BACKLOGS];
    struct {
        _Atomic uint32_t state; /* 0 free, 1 being named, 2 named */
        char name[BOARD_SERVER_NAME];
    } server_names[BOARD_SERVERS];
};

struct scoreboard;

/* Anonymous shared memory, inherited over fork. NULL when there is none to be had. */
struct scoreboard *board_new(size_t slots);
void board_free(struct scoreboard *board);
struct board_shared *board_shared(struct scoreboard *board);
size_t board_slots(const struct scoreboard *board);
struct board_slot *board_slot(struct scoreboard *board, size_t index);

/* Master: a free slot, given to a child about to be forked. -1 when full. */
int board_take(struct scoreboard *board, enum board_role role, int number,
               const char *pool);
/* What it has counted is added to what is past. */
void board_release(struct scoreboard *board, int index);

/* Master: the pool of that place. */
void board_name_backlog(struct scoreboard *board, size_t place, const char *pool);
struct board_backlog *board_backlog(struct scoreboard *board, const char *pool);

/* The place of the server of that name, given to it now if it has none; -1: none left. */
int board_server_place(struct scoreboard *board, const char *name);
/* NULL: nobody has that place. */
const char *board_server_name(const struct scoreboard *board, int place);

/*
 * What all children together know of one server: the state that most of them see (of
 * equals the worse), the longest lag, sums of the rest. False: it is nobody's now.
 */
struct board_server_sum {
    int role, state;
    int64_t lag_ms; /* -1: unknown */
    int64_t in_use;
    int seen_by, up_for; /* children that know of it; those that find it up */
};
bool board_server_sum(const struct scoreboard *board, int place,
                      struct board_server_sum *ret);

/* Child: its own slot. */
void board_set_state(struct board_slot *slot, enum board_state state);
void board_beat(struct board_slot *slot);
void board_waits(struct board_slot *slot); /* until the next beat */
void board_begin(struct board_slot *slot, const char *id, const char *what,
                 uint64_t deadline_ms);
void board_waiting(struct board_slot *slot, const char *waiting_on);
void board_end(struct board_slot *slot);
void board_last_words(struct board_slot *slot, const char *text);
void board_observe(struct board_slot *slot,
                   uint64_t microseconds); /* a request's latency */

/* Whether its loop turns or could at once; its beat comes twice a second. */
bool board_is_awake(const struct board_slot *slot, uint64_t now_ms);

/*
 * The counters of a role, of those that live and those that are gone: none goes missing
 * and none is counted twice while a slot is released. Gauges are left at 0.
 */
struct board_totals {
    struct board_counters of[BOARD_ROLES];
};
void board_sum(const struct scoreboard *board, struct board_totals *ret);
/* Counted by another program before; see scoreboard_history.h. */
void board_add_past(struct scoreboard *board, const struct board_totals *totals);

/* What only grows, in struct board_counters: so many numbers from there on. */
struct board_growing {
    const char *name; /* NULL: the end */
    size_t offset, count;
};
extern const struct board_growing board_growing[];

/* How many processes see a Redis server so; scoreboard_redis.c. */
struct board_redis_sum {
    char name[BOARD_REDIS_NAME];
    bool is_replica; /* all that know it say so */
    uint32_t uses;   /* of any of them */
    uint32_t up, away, idle;
};
size_t board_sum_redis(struct scoreboard *board, struct board_redis_sum *ret,
                       size_t room);
/* "queue", "cache", "queue and cache" or "cache cluster". */
const char *board_redis_use_name(uint32_t uses);
/* Child: a free place of its own slot, with that name and state IDLE; NULL: none is left,
 * or no slot. */
struct board_redis *board_redis_place(struct board_slot *slot, uint32_t uses,
                                      const char *name);

/* A consistent copy; false when the writer was torn off in the middle. */
bool board_read_doing(const struct board_slot *slot, struct board_doing *ret);

#endif
