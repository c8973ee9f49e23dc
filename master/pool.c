/*
 * pool.c - see pool.h.
 */
#include "master/pool.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/events.h"
#include "master/master.h"
#include "master/tally.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define PAUSE_FIRST_MS 100
#define PAUSE_MAX_MS   30000

uint64_t pool_pause_ms(unsigned failures)
{
    if (failures <= 1)
        return 0; /* the first young death may be an accident: again at once */
    if (failures > 10)
        return PAUSE_MAX_MS;
    uint64_t pause = (uint64_t)PAUSE_FIRST_MS << (failures - 2);
    return pause < PAUSE_MAX_MS ? pause : PAUSE_MAX_MS;
}

void child_title(const struct pool *pool, int number, char *text, size_t room)
{
    if (pool->role->is_single)
        snprintf(text, room, "%s", pool->role->name);
    else if (pool->role->board == BOARD_CONSUMER)
        snprintf(text, room, "%s %s %d", pool->role->name, pool->name, number);
    else
        snprintf(text, room, "%s %d", pool->role->name, number);
}

struct pool *pool_find(struct master *m, const char *name)
{
    for (size_t i = 0; i < m->pool_count; i++)
        if (strcmp(m->pools[i].name, name) == 0 && !m->pools[i].is_removed)
            return &m->pools[i];
    return NULL;
}

/* A removed pool's place is free once its last child has gone. */
static struct pool *free_place(struct master *m)
{
    for (size_t i = 0; i < m->pool_count; i++) {
        struct pool *pool = &m->pools[i];
        bool is_used = !pool->is_removed;

        for (size_t c = 0; c < board_slots(m->board) && !is_used; c++)
            is_used = m->children[c].pid && m->children[c].pool == pool;
        if (!is_used)
            return pool;
    }
    return m->pool_count < POOLS_MAX ? &m->pools[m->pool_count++] : NULL;
}

struct pool *pool_add(struct master *m, const struct role *role, const char *name,
                      int wanted)
{
    struct pool *pool = free_place(m);

    if (!pool)
        return NULL;
    memset(pool, 0, sizeof(*pool));
    pool->role = role;
    pool->configured = pool->most = pool->wanted = wanted;
    snprintf(pool->name, sizeof(pool->name), "%s", name);
    board_name_backlog(m->board, (size_t)(pool - m->pools), name);
    return pool;
}

/* Children ------------------------------------------------------------------ */

static bool is_of(const struct child *child, const struct pool *pool)
{
    return child->pid != 0 && child->pool == pool;
}

static bool is_former(const struct child *child)
{
    return child->generation != child->pool->generation;
}

static bool is_current(const struct child *child)
{
    return !is_former(child) && !child->is_worn;
}

static int number_of(const struct master *m, const struct child *child)
{
    return board_slot(m->board, (size_t)(child - m->children))->number;
}

const char *child_name(const struct master *m, const struct child *child)
{
    static char text[48];

    child_title(child->pool, number_of(m, child), text, sizeof(text));
    return text;
}

const char *pool_path(const struct pool *pool)
{
    static char text[48];

    snprintf(text, sizeof(text), "%s%s",
             pool->role->board == BOARD_CONSUMER ? "jobs." : "", pool->name);
    return text;
}

/* What a pool has, counted once a turn. */
struct census {
    int total; /* not draining, and no reload's proof */
    int draining;
    int starting;                  /* of these, not ready yet */
    int former;                    /* of these, of another generation */
    int old;                       /* those, and the worn ones */
    struct child *oldest, *newest; /* the next to drain */
};

/* A reload is not held up by the current generation's wear; else by number. */
static bool goes_before(const struct master *m, const struct child *a,
                        const struct child *b)
{
    if (is_former(a) != is_former(b))
        return is_former(a);
    return number_of(m, a) < number_of(m, b);
}

static struct census count_children(const struct master *m, const struct pool *pool)
{
    struct census census = { 0 };

    for (size_t i = 0; i < board_slots(m->board); i++) {
        struct child *child = &m->children[i];

        if (!is_of(child, pool) || child->is_proof)
            continue;
        if (child->is_draining) {
            census.draining++;
            continue;
        }
        census.total++;
        census.starting += !child->was_ready;
        if (!is_current(child)) {
            census.old++;
            census.former += is_former(child);
            if (!census.oldest || goes_before(m, child, census.oldest))
                census.oldest = child;
        }
        if (!census.newest || number_of(m, child) > number_of(m, census.newest))
            census.newest = child;
    }
    return census;
}

int pool_running(const struct master *m, const struct pool *pool)
{
    return count_children(m, pool).total;
}

int pool_old(const struct master *m, const struct pool *pool)
{
    return count_children(m, pool).former;
}

int pool_ready(const struct master *m, const struct pool *pool)
{
    struct census census = count_children(m, pool);

    return census.total - census.starting;
}

bool pools_serve(const struct master *m)
{
    for (size_t i = 0; i < m->pool_count; i++)
        if (!m->pools[i].is_removed && pool_ready(m, &m->pools[i]) < m->pools[i].wanted)
            return false;
    return true;
}

/* The lowest number no child of the pool has, draining ones included. */
static int free_number(const struct master *m, const struct pool *pool)
{
    for (int number = 1;; number++) {
        bool is_taken = false;

        for (size_t i = 0; i < board_slots(m->board) && !is_taken; i++)
            is_taken =
                is_of(&m->children[i], pool) && number_of(m, &m->children[i]) == number;
        if (!is_taken)
            return number;
    }
}

/* Orphans: RQ names of dead consumers, whose jobs the next ones take back. */

static void orphan_add(struct pool *pool, const struct orphaned *orphan)
{
    if (!*orphan->rq_name)
        return;
    if (pool->orphan_count == POOL_ORPHANS_MAX) {
        log_warn("pool %s: too many dead consumers at once; the job of %s waits for "
                 "its registry's deadline",
                 pool->name, orphan->rq_name);
        return;
    }
    pool->orphans[pool->orphan_count++] = *orphan;
}

static struct orphaned orphan_take(struct pool *pool)
{
    struct orphaned first = { .rq_name = "" };

    if (pool->orphan_count == 0)
        return first;
    first = pool->orphans[0];
    pool->orphan_count--;
    memmove(&pool->orphans[0], &pool->orphans[1],
            pool->orphan_count * sizeof(pool->orphans[0]));
    return first;
}

/* One more child. NULL when there is no slot or no process to be had. */
static struct child *start_child(struct master *m, struct pool *pool, unsigned generation,
                                 bool is_proof)
{
    int slot = board_take(m->board, pool->role->board, free_number(m, pool), pool->name);

    if (slot < 0) {
        log_warn("pool %s: no slot is free for one more process", pool->name);
        pool->fork_at = m->now + 1000;
        return NULL;
    }
    struct child *child = &m->children[slot];
    *child = (struct child){
        .pool = pool,
        .generation = generation,
        .attempt = pool->failures,
        .is_proof = is_proof,
    };
    child->predecessor = orphan_take(pool);
    pid_t pid = spawn_child(m, child, slot);
    if (pid < 0) {
        log_error("%s cannot be forked: %s; again in a second", child_name(m, child),
                  strerror(-pid));
        orphan_add(pool, &child->predecessor);
        board_release(m->board, slot);
        pool->fork_at = m->now + 1000;
        *child = (struct child){ 0 };
        return NULL;
    }
    child->pid = pid;
    log_debug("%s started with pid %d", child_name(m, child), (int)pid);
    return child;
}

struct child *pool_start_proof(struct master *m, struct pool *pool, unsigned generation)
{
    return start_child(m, pool, generation, true);
}

struct child *pool_inherit(struct master *m, struct pool *pool, pid_t pid, int number,
                           const char *rq_name)
{
    int slot = board_take(m->board, pool->role->board, number, pool->name);

    if (slot < 0)
        return NULL;
    struct board_slot *of_child = board_slot(m->board, (size_t)slot);
    snprintf(of_child->rq_name, sizeof(of_child->rq_name), "%s", rq_name);
    of_child->pid = pid;
    board_set_state(of_child, BOARD_READY);
    m->children[slot] = (struct child){
        .pid = pid,
        .pool = pool,
        .generation = pool->generation - 1,
        .was_ready = true,
        .is_inherited = true,
    };
    return &m->children[slot];
}

void pool_leave_orphan(struct pool *pool, const char *rq_name)
{
    struct orphaned orphan = { .has_overrun = false };

    snprintf(orphan.rq_name, sizeof(orphan.rq_name), "%s", rq_name);
    orphan_add(pool, &orphan);
}

/*
 * A worker's drain has graceful_timeout. A consumer finishes its job, however long
 * that may take (watch.c knows the job's deadline); only the final stop hurries it.
 */
void child_drain(struct master *m, struct child *child, const char *why)
{
    bool is_unlimited = child->pool->role->finishes_jobs && m->phase != PHASE_STOPPING;

    child->is_draining = true;
    child->why = why;
    child->kill_at = is_unlimited ? 0 : m->now + m->options->server.graceful_timeout;
    log_debug("%s (pid %d) drains", child_name(m, child), (int)child->pid);
    kill(child->pid, SIGTERM);
}

static void note_worn(struct master *m, struct pool *pool)
{
    for (size_t i = 0; i < board_slots(m->board); i++) {
        struct child *child = &m->children[i];

        if (!is_of(child, pool) || child->is_worn || !board_slot(m->board, i)->is_worn)
            continue;
        child->is_worn = true;
        log_info("%s (pid %d) has done its share of requests: replaced",
                 child_name(m, child), (int)child->pid);
        event_note(EVENT_RECYCLE, "%s (pid %d) has done its share of requests",
                   child_name(m, child), (int)child->pid);
    }
}

/* Notes who became ready since the last turn. */
static void note_ready(struct master *m, struct pool *pool)
{
    for (size_t i = 0; i < board_slots(m->board); i++) {
        struct child *child = &m->children[i];

        if (!is_of(child, pool) || child->was_ready ||
            board_slot(m->board, i)->state < BOARD_READY)
            continue;
        child->was_ready = true;
        child->predecessor = (struct orphaned){ .rq_name = "" };
        if (!child->is_proof) {
            pool->failures = 0;
            pool->fork_at = 0;
        }
        log_debug("%s (pid %d) is ready", child_name(m, child), (int)child->pid);
        event_note(EVENT_START, "%s (pid %d) is ready", child_name(m, child),
                   (int)child->pid);
    }
}

/*
 * Memory never holds two full sets of workers: those that still drain count as well.
 * (A consumer that finishes a long job does not hold up the others.)
 */
static bool has_room_to_roll(const struct pool *pool, const struct census *census)
{
    int most = 2 * pool->wanted - 1;

    if (pool->role->finishes_jobs || census->draining == 0)
        return true;
    return census->total + census->draining + 1 <= most;
}

/*
 * While an older generation is there: one in, one out. Whoever is new must be ready
 * before somebody old leaves; if it never gets ready, the old ones serve on.
 */
static void roll(struct master *m, struct pool *pool, struct census *census)
{
    if (!census->oldest || census->starting > 0)
        return;
    if (census->total > pool->wanted) {
        if (census->former == 1 && pool->role->has_listeners && !reload_lets_last_go(m))
            return;
        child_drain(m, census->oldest,
                    census->oldest->is_worn ? "recycled" : "replaced by a newer one");
    } else if (m->now >= pool->fork_at && has_room_to_roll(pool, census)) {
        start_child(m, pool, pool->generation, false);
    } else {
        return;
    }
    *census = count_children(m, pool);
}

static uint64_t balance(struct master *m, struct pool *pool)
{
    struct census census = count_children(m, pool);

    roll(m, pool, &census);
    while (census.newest && census.old == 0 && census.total > pool->wanted) {
        child_drain(m, census.newest, "fewer are wanted");
        census = count_children(m, pool);
    }
    while (census.total < pool->wanted) {
        if (m->now < pool->fork_at)
            return pool->fork_at;
        /* After young deaths one child alone shows whether it works again. */
        if (pool->failures > 0 && census.starting > 0)
            return NEVER;
        if (!start_child(m, pool, pool->generation, false))
            return pool->fork_at;
        census = count_children(m, pool);
    }
    return NEVER;
}

/* Counts -------------------------------------------------------------------- */

int pool_room(const struct master *m, const struct pool *pool)
{
    int others = 0;

    for (size_t i = 0; i < m->pool_count; i++)
        if (&m->pools[i] != pool)
            others += m->pools[i].wanted;
    /* One slot stays free for a replacement that starts before the old one ends. */
    return (int)board_slots(m->board) - others - 1;
}

int pool_scale(struct master *m, struct pool *pool, int wanted)
{
    if (wanted < 0 || wanted > pool_room(m, pool))
        return -ENOSPC;
    if (wanted > pool->wanted)
        pool->fork_at = 0; /* somebody asks for it now */
    pool->wanted = wanted;
    pool->is_put_away = false;
    if (pool->role->board == BOARD_WORKER)
        board_shared(m->board)->configured_workers = (uint32_t)wanted;
    return 0;
}

int pool_order(struct master *m, struct pool *pool, int wanted, uint64_t for_ms,
               const char *who)
{
    int rc = pool_scale(m, pool, wanted);

    if (rc < 0)
        return rc;
    pool->order = (struct pool_order){
        .is_given = true,
        .since_unix = clock_unix(),
        .until_unix_ms = for_ms ? clock_unix_us() / 1000 + (int64_t)for_ms : 0,
    };
    snprintf(pool->order.who, sizeof(pool->order.who), "%s", who);
    return 0;
}

/* Where the load decides, it goes on from where the operator was. */
static int as_configured(const struct pool *pool)
{
    if (pool->wanted < pool->configured)
        return pool->configured;
    return pool->wanted > pool->most ? pool->most : pool->wanted;
}

int pool_take_back(struct master *m, struct pool *pool)
{
    int rc = pool_scale(m, pool, as_configured(pool));

    if (rc == 0) {
        pool->order = (struct pool_order){ .is_given = false };
        autoscale_restart(&pool->load);
    }
    return rc;
}

/* The wall clock: a limit is a promise about the time of day, also over a suspend. */
static uint64_t end_orders(struct master *m, struct pool *pool)
{
    int64_t left = pool->order.until_unix_ms - clock_unix_us() / 1000;
    char who[sizeof(pool->order.who)];
    int before = pool->wanted;

    if (!pool->order.is_given || !pool->order.until_unix_ms)
        return NEVER;
    if (left > 0)
        return m->now + (uint64_t)left;
    memcpy(who, pool->order.who, sizeof(who));
    if (pool_take_back(m, pool) < 0) {
        pool->order.until_unix_ms = 0; /* the configured count does not fit: said once */
        log_error("pool %s: there is no room for what is configured", pool->name);
        return NEVER;
    }
    const char *then = pool->most > pool->configured ? "; the load decides again" : "";
    log_info("scale %s: %d -> %d, the time that %s set is over%s", pool_path(pool),
             before, pool->wanted, who, then);
    event_note(EVENT_SCALE, "%s: %d -> %d, the time that %s set is over%s",
               pool_path(pool), before, pool->wanted, who, then);
    return NEVER;
}

/* A turn ---------------------------------------------------------------------- */

/* The final word to those that should have ended by now. */
static uint64_t hurry(struct master *m)
{
    uint64_t next = NEVER;

    for (size_t i = 0; i < board_slots(m->board); i++) {
        struct child *child = &m->children[i];

        if (!child->pid || !child->kill_at)
            continue;
        if (m->now < child->kill_at) {
            next = sooner(next, child->kill_at);
            continue;
        }
        if (!child->was_killed) {
            log_warn("%s (pid %d) did not end in time: killed", child_name(m, child),
                     (int)child->pid);
            event_note(EVENT_KILL, "%s (pid %d) did not end in time",
                       child_name(m, child), (int)child->pid);
            board_shared(m->board)->kills++;
        }
        child->kill_at = 0;
        kill(child->pid, SIGKILL);
    }
    return next;
}

uint64_t pools_turn(struct master *m)
{
    uint64_t next = hurry(m);

    if (m->phase != PHASE_SERVING)
        return next;
    for (size_t i = 0; i < m->pool_count; i++) {
        next = sooner(next, end_orders(m, &m->pools[i]));
        note_ready(m, &m->pools[i]);
        note_worn(m, &m->pools[i]);
        next = sooner(next, balance(m, &m->pools[i]));
    }
    return next;
}

/* Deaths -------------------------------------------------------------------- */

/* Several deaths of one round count once: only those forked since the last one. */
static void note_young_death(struct master *m, struct child *child)
{
    struct pool *pool = child->pool;

    if (child->attempt != pool->failures)
        return;
    pool->failures++;
    uint64_t pause = pool_pause_ms(pool->failures);
    pool->fork_at = m->now + pause;
    if (pause > 0)
        log_warn("pool %s: %u starts failed, next in %.1f s", pool->name, pool->failures,
                 (double)pause / 1000);
}

/* Its work is over for good: there is one place less, until somebody asks. */
static void note_done(const struct master *m, struct pool *pool)
{
    if (pool->is_removed || pool->wanted == 0)
        return;
    pool->wanted--;
    event_note(EVENT_SCALE, "%s: %d wanted now, a consumer's work is over",
               pool_path(pool), pool->wanted);
    if (m->control) /* `jobs work` has none, and ends */
        log_info(
            "pool %s: %d wanted now; `forkmark ctl scale jobs.%s config` starts it anew",
            pool->name, pool->wanted, pool->name);
}

static bool is_done(int status)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == ROLE_DONE;
}

bool child_ended_on_purpose(const struct child *child, int status)
{
    if (is_done(status))
        return true;
    return status == 0 &&
           (child->is_draining || (child->was_ready && child->pool->role->may_end));
}

/* The signal or exit status, what it used, and whether the kernel wanted its memory. */
static void say_how(struct master *m, int status, struct buf *out)
{
    uint64_t kills = WIFSIGNALED(status) ? autopsy_oom_kills() : 0;

    buf_adds(out, status_text(status));
    if (kills > m->oom_kills)
        buf_addf(out, ", out of memory (oom_kill of the control group is %llu)",
                 (unsigned long long)kills);
    if (kills > 0)
        m->oom_kills = kills;
    buf_adds(out, "; ");
    autopsy_usage(&m->usage, out);
}

static void say_end(struct master *m, const struct child *child, int status)
{
    struct buf used = BUF_HEAP;

    log_debug("%s (pid %d) ended", child_name(m, child), (int)child->pid);
    autopsy_usage(&m->usage, &used);
    event_note(EVENT_END, "%s (pid %d) ended: %s; %s", child_name(m, child),
               (int)child->pid,
               is_done(status) ? "its work is over"
               : child->why    ? child->why
                               : "by itself, as it may",
               buf_text(&used));
    buf_done(&used);
}

static void say_death(struct master *m, const struct child *child, int status)
{
    struct board_slot *slot = board_slot(m->board, (size_t)(child - m->children));
    struct board_doing doing = { 0 };
    struct buf how = BUF_HEAP;

    if (child_ended_on_purpose(child, status)) {
        say_end(m, child, status);
        return;
    }
    if (slot->at_last.since_ms)
        doing = slot->at_last;
    else
        board_read_doing(slot, &doing);
    say_how(m, status, &how);
    if (doing.since_ms)
        buf_addf(&how, "; at %s [%s] for %.1f s%s%s", doing.what, doing.id,
                 (double)(m->now - doing.since_ms) / 1000,
                 doing.waiting_on[0] ? ", waiting on " : "", doing.waiting_on);
    log_error("%s (pid %d) died%s: %s", child_name(m, child), (int)child->pid,
              child->was_ready ? "" : " before it was ready", buf_text(&how));
    event_note(EVENT_DEATH, "%s (pid %d) died%s: %s%s%s", child_name(m, child),
               (int)child->pid, child->was_ready ? "" : " before it was ready",
               slot->last_words, slot->last_words[0] ? "; " : "", buf_text(&how));
    autopsy_log_stack(slot, child_name(m, child));
    buf_done(&how);
}

/* What a dead consumer may still have held: its own job, and its predecessor's. */
static void leave_orphans(struct child *child, const struct board_slot *slot)
{
    struct orphaned own = { .has_overrun = child->has_overrun };

    /* Empty when it said good-bye to Redis itself. */
    memcpy(own.rq_name, slot->rq_name, sizeof(own.rq_name));
    own.rq_name[sizeof(own.rq_name) - 1] = '\0';
    if (!child->was_ready)
        orphan_add(child->pool, &child->predecessor);
    orphan_add(child->pool, &own);
}

bool pools_reaped(struct master *m, pid_t pid, int status)
{
    for (size_t i = 0; i < board_slots(m->board); i++) {
        struct child *child = &m->children[i];
        struct board_slot *slot = board_slot(m->board, i);

        if (child->pid != pid)
            continue;
        note_ready(m, child->pool); /* it may have become so since the last turn */
        uint64_t oom_kills = m->oom_kills;
        if (m->phase != PHASE_STOPPING || status != 0)
            say_death(m, child, status);
        tally_end(m, child, status, m->oom_kills > oom_kills);
        reload_child_died(m, child, status);
        if (child->pool->role->board == BOARD_CONSUMER)
            leave_orphans(child, slot);
        if (is_done(status) && !child->is_draining)
            note_done(m, child->pool);
        else if (!child->was_ready && !child->is_draining && !child->is_proof)
            note_young_death(m, child);
        if (!child_ended_on_purpose(child, status) && !child->is_draining)
            board_shared(m->board)->restarts++;
        board_release(m->board, (int)i);
        *child = (struct child){ 0 };
        return true;
    }
    return false;
}

size_t pools_left(const struct master *m)
{
    size_t left = 0;

    for (size_t i = 0; i < board_slots(m->board); i++)
        left += m->children[i].pid != 0;
    return left;
}

void pools_signal(struct master *m, int signum)
{
    for (size_t i = 0; i < board_slots(m->board); i++)
        if (m->children[i].pid)
            kill(m->children[i].pid, signum);
}

/* By the configuration ------------------------------------------------------ */

static void configure(struct master *m, const struct role *role, const char *name,
                      const struct conf_count *range)
{
    struct pool *pool = pool_find(m, name);
    int count = conf_count_value(range), most = conf_count_most(range);
    bool is_new = !pool;

    if (is_new)
        pool = pool_add(m, role, name, 0);
    if (!pool) {
        log_error("more than %d pools: %s is not started", POOLS_MAX, name);
        return;
    }
    if (!is_new && pool->configured == count && pool->most == most)
        return; /* what an operator or the load scaled meanwhile stays */
    int before = pool->wanted;
    pool->configured = count;
    pool->most = most;
    if (pool_take_back(m, pool) < 0)
        log_error("pool %s: %d processes are more than this master has slots for (%zu); "
                  "a restart makes room",
                  name, count, board_slots(m->board));
    else if (!is_new && pool->wanted != before)
        event_note(EVENT_SCALE, "%s: %d -> %d, by the configuration", pool_path(pool),
                   before, pool->wanted);
}

static const struct pool_options *find_options(const struct options *options,
                                               const char *name)
{
    for (size_t i = 0; options && i < options->jobs.pool_count; i++)
        if (strcmp(options->jobs.pools[i].name, name) == 0)
            return &options->jobs.pools[i];
    return NULL;
}

bool pool_has_same_work(const struct options *before, const struct pool_options *was,
                        const struct options *now, const struct pool_options *is)
{
    if (!options_same_pool(was, is) || !options_same_group(before, now, "jobs.functions"))
        return false;
    for (size_t i = 0; i < is->queues.count; i++) {
        const char *queue = is->queues.items[i];

        if (options_queue(before, queue)->unknown != options_queue(now, queue)->unknown)
            return false;
    }
    return true;
}

/* The scheduler counts the jobs that wait for pools whose count is a range. */
static bool is_counted_otherwise(const struct options *before, const struct options *now)
{
    for (size_t i = 0; i < now->jobs.pool_count; i++) {
        const struct pool_options *is = &now->jobs.pools[i];
        const struct pool_options *was = find_options(before, is->name);

        if (is->consumers.is_range && (!was || !was->consumers.is_range ||
                                       !pool_has_same_work(before, was, now, is)))
            return true;
    }
    return false;
}

void pools_configure(struct master *m, const struct options *before)
{
    const struct options *now = m->options;

    for (size_t i = 0; i < m->pool_count; i++) {
        struct pool *pool = &m->pools[i];
        const struct pool_options *was = find_options(before, pool->name);
        const struct pool_options *is = find_options(now, pool->name);

        if (pool->role->board != BOARD_CONSUMER || pool->is_removed)
            continue;
        if (!is) {
            pool_scale(m, pool, 0);
            pool->is_removed = true;
        } else if (was && !pool_has_same_work(before, was, now, is) &&
                   pool->generation == pool->former) {
            pool->generation = m->generation + 1;
        }
    }
    configure(m, &role_worker, "web", &now->server.workers);
    for (size_t i = 0; i < now->jobs.pool_count; i++)
        configure(m, &role_consumer, now->jobs.pools[i].name,
                  &now->jobs.pools[i].consumers);
    if (before && (is_counted_otherwise(before, now) ||
                   !(options_same_group(before, now, "jobs.cron") &&
                     options_same_group(before, now, "jobs.functions")))) {
        struct pool *scheduler = pool_find(m, "scheduler");

        if (scheduler && scheduler->generation == scheduler->former)
            scheduler->generation = m->generation + 1;
    }
    configure(m, &role_scheduler, "scheduler",
              &(struct conf_count){ .number = now->jobs.scheduler ? 1 : 0 });
}
