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

/* A child's counters; plain atomics, each valid by itself, no lock needed. */
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
    _Atomic uint64_t pg_waits, pg_in_use, cache_hits, cache_misses;
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
    _Atomic uint32_t is_stopping; /* the server's end, not one child's */
    _Atomic uint64_t restarts, kills, reloads, reload_failures;
    _Atomic int32_t
        log_level; /* enum log_level of every process, see log_share_level() */
    int64_t started_unix;
    uint32_t slot_count;
    struct board_backlog backlogs[BOARD_BACKLOGS];
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
void board_release(struct scoreboard *board, int index);

/* Master: the pool of that place. */
void board_name_backlog(struct scoreboard *board, size_t place, const char *pool);
struct board_backlog *board_backlog(struct scoreboard *board, const char *pool);

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

/* A consistent copy; false when the writer was torn off in the middle. */
bool board_read_doing(const struct board_slot *slot, struct board_doing *ret);

#endif
