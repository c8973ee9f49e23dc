/*
 * pool.h - how many children of a kind are wanted, and what is done about it.
 *
 * A turn looks at each pool and starts, replaces or drains children until what
 * runs is what is wanted. Deaths of children that had not become ready count as
 * young: each round of them doubles the pause before the next attempt, which is
 * made with one child alone; the first that becomes ready clears it.
 */
#ifndef FORKMARK_MASTER_POOL_H
#define FORKMARK_MASTER_POOL_H

#include "master/autopsy.h"
#include "master/autoscale.h"
#include "master/meter.h"
#include "master/roles.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct buf;
struct master;

#define POOLS_MAX        66 /* 64 consumer pools, the workers, the scheduler */
#define POOL_ORPHANS_MAX 64

/* A consumer that died, by its RQ worker name ("": none). */
struct orphaned {
    char rq_name[40];
    bool has_overrun; /* killed by watch.c, since its job had overrun its time */
};

/* A count that an operator set: it stays over reloads, and the load decides nothing. */
struct pool_order {
    bool is_given;
    int wanted;            /* by it; the pool's own differs while WINCH has put it away */
    int64_t until_unix_ms; /* 0: until it is taken back */
    int64_t since_unix;
    char who[80];
};

struct pool {
    const struct role *role;
    char name[32];  /* "web", "default", "scheduler" */
    int configured; /* by the configuration: the number, or the least */
    int most;       /* more than that where the load decides (autoscale.h) */
    int wanted;     /* configured, unless an operator or the load scaled it */
    struct pool_order order;
    struct autoscale load;
    unsigned generation; /* children of another one are replaced, one in, one out */
    unsigned former;     /* the one before the last reload, to which it may go back */
    unsigned failures;   /* rounds of young deaths without a ready child */
    uint64_t fork_at;    /* not before this */
    /* RQ worker names of consumers that died; each new consumer inherits one and
     * takes that one's job back. Oldest first. */
    struct orphaned orphans[POOL_ORPHANS_MAX];
    size_t orphan_count;
    bool is_put_away; /* WINCH: none until a reload, or until somebody scales it */
    bool is_removed;  /* gone from the configuration; its last children drain */
};

struct child {
    pid_t pid; /* 0: none in this slot */
    struct pool *pool;
    unsigned generation; /* of the pool, at its fork */
    unsigned attempt;    /* the pool's failures at its fork */
    int log_link;        /* log files are handed over there; 0: no longer */
    bool was_ready;
    bool is_draining;
    bool is_proof;      /* belongs to nobody yet: a reload's first, see reload.c */
    bool is_inherited;  /* of the former program, see upgrade.h: its slot tells nothing */
    bool is_worn;       /* replaced like one of an older generation */
    const char *why;    /* it was told to end; NULL: it was not */
    bool is_operators;  /* an operator's wish: `ctl drain`, `ctl kill` */
    bool was_killed;    /* by watch.c; said already */
    bool has_overrun;   /* that was the reason: its job, past its time */
    struct vital vital; /* since it is silent; see watch.c */
    struct meter meter;
    uint64_t kill_at;            /* must have ended by then; 0: no limit */
    struct orphaned predecessor; /* whose job it was to take back */
};

/* A new pool, or NULL when there are POOLS_MAX. `name` is copied. */
struct pool *pool_add(struct master *m, const struct role *role, const char *name,
                      int wanted);
struct pool *pool_find(struct master *m, const char *name);
/*
 * The pools of the options: new ones made, missing ones drained, counts taken over.
 * A count an operator set stays, unless the configured one changed meanwhile. Those
 * whose work changed belong to generation master.generation + 1, see reload.c.
 */
void pools_configure(struct master *m, const struct options *before);
/* Whether consumers of the pool, before and now, would do the same things. */
bool pool_has_same_work(const struct options *before, const struct pool_options *was,
                        const struct options *now, const struct pool_options *is);

/* How many children the scoreboard has slots for, beside those of other pools. */
int pool_room(const struct master *m, const struct pool *pool);
/* 0, or -ENOSPC when the scoreboard has no room for so many. */
int pool_scale(struct master *m, struct pool *pool, int wanted);
/* The same by an operator, `who`; `for_ms` 0: until pool_take_back(). */
int pool_order(struct master *m, struct pool *pool, int wanted, uint64_t for_ms,
               const char *who);
/* What the configuration says holds again. */
int pool_take_back(struct master *m, struct pool *pool);
/* "web" and "jobs.default": as an operator writes it, in a static buffer. */
const char *pool_path(const struct pool *pool);
int pool_running(const struct master *m, const struct pool *pool); /* not draining */
int pool_ready(const struct master *m, const struct pool *pool);
/* Whether every pool has as many ready children as are wanted. */
bool pools_serve(const struct master *m);

uint64_t pools_turn(struct master *m);
/* Whether it was a child of a pool. */
bool pools_reaped(struct master *m, pid_t pid, int status);
/* Children of all pools that are still there. */
size_t pools_left(const struct master *m);
/* Everybody opens log files again, as the master has just done. */
void pools_reopen_logs(struct master *m);

/* The pause after so many rounds of young deaths: 0, 0.1, 0.2, 0.4 ... 30 s. */
uint64_t pool_pause_ms(unsigned failures);

/* "worker 3", "consumer default 1", "scheduler". */
void child_title(const struct pool *pool, int number, char *text, size_t room);
const char *child_name(const struct master *m, const struct child *child); /* static */
void child_close_link(struct child *child);
/* `why` is a literal: it stands in the events when the child has ended. */
void child_drain(struct master *m, struct child *child, const char *why);
/* It was told to, or its pool says so: no death, and no error. */
bool child_ended_on_purpose(const struct child *child, int status);

/* A child that runs already becomes the pool's, as one of an older generation. */
struct child *pool_inherit(struct master *m, struct pool *pool, pid_t pid, int number,
                           const char *rq_name); /* NULL: no slot is free */
/* It died before it could become one: its job goes to the next of the pool. */
void pool_leave_orphan(struct pool *pool, const char *rq_name);
/* One more child, with the options of the reload under way; NULL: not possible. */
struct child *pool_start_proof(struct master *m, struct pool *pool, unsigned generation);
/* Children of a generation that is not the pool's: what a roll has yet to replace. */
int pool_old(const struct master *m, const struct pool *pool);

/* spawn.c: forks the child of that slot. Its pid, or a negative errno. */
pid_t spawn_child(struct master *m, struct child *child, int slot);
/* The same surroundings for something short: its exit status is run()'s. */
pid_t spawn_short(struct master *m, const char *name, const struct options *options,
                  int (*run)(struct master *m, const struct options *options));

#endif
