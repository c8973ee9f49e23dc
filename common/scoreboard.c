/*
 * scoreboard.c - see scoreboard.h.
 *
 * One anonymous shared mapping: what all have in common, then the slots. Counters
 * are plain atomics. Only `doing` is more than a word wide and needs the sequence
 * number; its writer is the slot's own process (one thread), so a writer never
 * waits, and a reader copies, then looks whether the number stood still meanwhile.
 */
#include "common/scoreboard.h"
#include "common/clock.h"
#include <assert.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A writer needs well under a microsecond; so many tries mean that it is gone. */
#define READ_TRIES 1000

/* One that does not wait is at work; so long, and it will not be back soon. */
#define LONG_TURN_MS 100
/* Twice what lies between two beats of a loop that has nothing to do. */
#define OVERDUE_BEAT_MS 1000

const double board_latency_limits[BOARD_LATENCY_BUCKETS - 1] = {
    .005, .01, .025, .05, .075, .1, .15, .2, .3, .5, .75, 1, 2, 5,
};

struct scoreboard {
    struct board_shared shared;
    size_t size; /* of the whole mapping */
    struct board_slot slots[];
};

struct scoreboard *board_new(size_t slots)
{
    size_t size = sizeof(struct scoreboard) + slots * sizeof(struct board_slot);
    struct scoreboard *board =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (board == MAP_FAILED)
        return NULL;
    board->size = size;
    board->shared.slot_count = (uint32_t)slots;
    board->shared.started_unix = clock_unix();
    return board;
}

void board_free(struct scoreboard *board)
{
    if (board)
        munmap(board, board->size);
}

struct board_shared *board_shared(struct scoreboard *board)
{
    return &board->shared;
}

size_t board_slots(const struct scoreboard *board)
{
    return board->shared.slot_count;
}

struct board_slot *board_slot(struct scoreboard *board, size_t index)
{
    assert(index < board->shared.slot_count);
    return &board->slots[index];
}

static void begin_write(struct board_slot *slot)
{
    atomic_fetch_add_explicit(&slot->sequence, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
}

static void end_write(struct board_slot *slot)
{
    atomic_fetch_add_explicit(&slot->sequence, 1, memory_order_release);
}

static void set_text(char *field, size_t room, const char *text)
{
    size_t length = strnlen(text, room - 1);

    memcpy(field, text, length);
    field[length] = '\0';
}

/* The sequence number of a writer killed in the middle is odd: made even again. */
static void reset_slot(struct board_slot *slot)
{
    uint32_t sequence = atomic_load(&slot->sequence);
    uint32_t generation = atomic_load(&slot->generation);

    memset(slot, 0, sizeof(*slot));
    atomic_store(&slot->sequence, (sequence + 2) & ~1U);
    atomic_store(&slot->generation, generation + 1);
}

int board_take(struct scoreboard *board, enum board_role role, int number,
               const char *pool)
{
    for (size_t i = 0; i < board->shared.slot_count; i++) {
        struct board_slot *slot = &board->slots[i];

        if (atomic_load(&slot->state) != BOARD_FREE)
            continue;
        reset_slot(slot);
        slot->number = number;
        slot->started_ms = clock_ms();
        set_text(slot->pool, sizeof(slot->pool), pool ? pool : "");
        /* A child is not to be called silent before it had a chance to beat. */
        atomic_store(&slot->count.beat_ms, slot->started_ms);
        atomic_store(&slot->role, (int32_t)role);
        atomic_store(&slot->state, BOARD_STARTING);
        return (int)i;
    }
    return -1;
}

/* Arrays of uint64_t, or single ones. */
#define GROWS(field)                                                       \
    {                                                                      \
#field, offsetof(struct board_counters, field),                    \
            sizeof(((struct board_counters *)0)->field) / sizeof(uint64_t) \
    }
const struct board_growing board_growing[] = {
    GROWS(requests),        GROWS(errors_5xx),
    GROWS(accepted),        GROWS(jobs_done),
    GROWS(jobs_failed),     GROWS(busy_us),
    GROWS(latency),         GROWS(latency_sum_us),
    GROWS(responses),       GROWS(job_ends),
    GROWS(job_us),          GROWS(pg_waits),
    GROWS(pg_wait_us),      GROWS(pg_wait_failures),
    GROWS(cache_hits),      GROWS(cache_misses),
    GROWS(server_queries),  GROWS(server_waits),
    GROWS(server_retries),  GROWS(cluster_redirects),
    GROWS(cluster_retries), GROWS(cluster_refreshes),
    GROWS(cluster_errors),  { 0 },
};

static _Atomic uint64_t *field_at(struct board_counters *count, size_t offset)
{
    return (_Atomic uint64_t *)(void *)((char *)count + offset);
}

static uint64_t read_at(const struct board_counters *count, size_t offset)
{
    const char *at = (const char *)count + offset;

    return atomic_load_explicit((const _Atomic uint64_t *)(const void *)at,
                                memory_order_relaxed);
}

static void add_up(struct board_counters *to, const struct board_counters *from)
{
    for (const struct board_growing *row = board_growing; row->name; row++)
        for (size_t n = 0; n < row->count; n++) {
            size_t offset = row->offset + n * sizeof(uint64_t);

            atomic_fetch_add_explicit(field_at(to, offset), read_at(from, offset),
                                      memory_order_relaxed);
        }
}

static bool is_role(int role)
{
    return role >= 0 && role < BOARD_ROLES;
}

static void begin_past(struct board_shared *shared)
{
    atomic_fetch_add_explicit(&shared->past_sequence, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
}

static void end_past(struct board_shared *shared)
{
    atomic_fetch_add_explicit(&shared->past_sequence, 1, memory_order_release);
}

void board_add_past(struct scoreboard *board, const struct board_totals *totals)
{
    begin_past(&board->shared);
    for (int role = 0; role < BOARD_ROLES; role++)
        add_up(&board->shared.past[role], &totals->of[role]);
    end_past(&board->shared);
}

/* Its counters move to the past at one stroke, as readers see it. */
static void fold(struct scoreboard *board, struct board_slot *slot)
{
    struct board_shared *shared = &board->shared;
    int role = atomic_load(&slot->role);

    begin_past(shared);
    if (is_role(role))
        add_up(&shared->past[role], &slot->count);
    memset(&slot->count, 0, sizeof(slot->count));
    atomic_store_explicit(&slot->role, BOARD_NONE, memory_order_relaxed);
    end_past(shared);
}

static void sum_once(const struct scoreboard *board, struct board_totals *ret)
{
    memset(ret, 0, sizeof(*ret));
    for (int role = 0; role < BOARD_ROLES; role++)
        add_up(&ret->of[role], &board->shared.past[role]);
    for (size_t i = 0; i < board->shared.slot_count; i++) {
        const struct board_slot *slot = &board->slots[i];
        int role = atomic_load_explicit(&slot->role, memory_order_relaxed);

        if (role != BOARD_NONE && is_role(role))
            add_up(&ret->of[role], &slot->count);
    }
}

/* The master may have lost its processor in the middle: it needs ours, perhaps. */
static void let_writer_run(int tries)
{
    if (tries > 10)
        usleep(50);
}

void board_sum(const struct scoreboard *board, struct board_totals *ret)
{
    const struct board_shared *shared = &board->shared;

    for (int i = 0; i < READ_TRIES; i++) {
        uint32_t before =
            atomic_load_explicit(&shared->past_sequence, memory_order_acquire);

        if (before & 1) {
            let_writer_run(i);
            continue;
        }
        sum_once(board, ret);
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&shared->past_sequence, memory_order_relaxed) == before)
            return;
        let_writer_run(i);
    }
    sum_once(board, ret); /* a master that died in the middle takes us along anyway */
}

void board_release(struct scoreboard *board, int index)
{
    struct board_slot *slot = board_slot(board, (size_t)index);

    fold(board, slot);
    atomic_store(&slot->pid, 0);
    atomic_store(&slot->state, BOARD_FREE);
}

void board_name_backlog(struct scoreboard *board, size_t place, const char *pool)
{
    struct board_backlog *backlog = &board->shared.backlogs[place];

    assert(place < BOARD_BACKLOGS);
    atomic_store(&backlog->counted_ms, 0);
    set_text(backlog->pool, sizeof(backlog->pool), pool);
}

struct board_backlog *board_backlog(struct scoreboard *board, const char *pool)
{
    for (size_t i = 0; i < BOARD_BACKLOGS; i++)
        if (*board->shared.backlogs[i].pool &&
            strcmp(board->shared.backlogs[i].pool, pool) == 0)
            return &board->shared.backlogs[i];
    return NULL;
}

/* ---- servers ---- */

const char *const board_server_states[BOARD_SERVER_STATES] = {
    [BOARD_SERVER_UNKNOWN] = "unknown",     [BOARD_SERVER_UP] = "up",
    [BOARD_SERVER_BEHIND] = "behind",       [BOARD_SERVER_PROMOTED] = "promoted",
    [BOARD_SERVER_READ_ONLY] = "read-only", [BOARD_SERVER_DOWN] = "down",
};

enum { NAME_FREE, NAME_IN_WORK, NAME_GIVEN };

/* Children look for their places at the same time. One that dies while it writes a name
 * costs that place, no more. */
int board_server_place(struct scoreboard *board, const char *name)
{
    for (int i = 0; i < BOARD_SERVERS; i++) {
        _Atomic uint32_t *state = &board->shared.server_names[i].state;
        char *given = board->shared.server_names[i].name;
        uint32_t found = NAME_FREE;

        if (atomic_compare_exchange_strong(state, &found, NAME_IN_WORK)) {
            set_text(given, BOARD_SERVER_NAME, name);
            atomic_store(state, NAME_GIVEN);
            return i;
        }
        for (int tries = 0; tries < READ_TRIES && atomic_load(state) == NAME_IN_WORK;
             tries++)
            let_writer_run(tries);
        if (atomic_load(state) == NAME_GIVEN &&
            strncmp(given, name, BOARD_SERVER_NAME - 1) == 0)
            return i;
    }
    return -1;
}

const char *board_server_name(const struct scoreboard *board, int place)
{
    return atomic_load(&board->shared.server_names[place].state) == NAME_GIVEN
               ? board->shared.server_names[place].name
               : NULL;
}

bool board_server_sum(const struct scoreboard *board, int place,
                      struct board_server_sum *ret)
{
    int seen[BOARD_SERVER_STATES] = { 0 };

    *ret = (struct board_server_sum){ .lag_ms = -1 };
    for (size_t i = 0; i < board->shared.slot_count; i++) {
        const struct board_slot *slot = &board->slots[i];
        const struct board_server *server = &slot->servers[place];
        int state = atomic_load(&server->state), alive = atomic_load(&slot->state);
        int64_t lag_ms = atomic_load(&server->lag_ms);

        if ((alive != BOARD_READY && alive != BOARD_DRAINING) || server->role == 0 ||
            state < 0 || state >= BOARD_SERVER_STATES)
            continue;
        ret->role = server->role;
        ret->in_use += server->in_use;
        ret->seen_by++;
        ret->up_for += state == BOARD_SERVER_UP;
        ret->lag_ms = lag_ms > ret->lag_ms ? lag_ms : ret->lag_ms;
        seen[state]++;
    }
    /* Who has not asked yet has no say. */
    for (int state = BOARD_SERVER_UP; state < BOARD_SERVER_STATES; state++)
        if (seen[state] > 0 &&
            (ret->state == BOARD_SERVER_UNKNOWN || seen[state] >= seen[ret->state]))
            ret->state = state;
    return ret->seen_by > 0;
}

void board_set_state(struct board_slot *slot, enum board_state state)
{
    atomic_store(&slot->state, (int32_t)state);
}

void board_beat(struct board_slot *slot)
{
    atomic_store_explicit(&slot->count.is_waiting, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->count.beat_ms, clock_ms(), memory_order_relaxed);
}

void board_waits(struct board_slot *slot)
{
    atomic_store_explicit(&slot->count.is_waiting, 1, memory_order_relaxed);
}

bool board_is_awake(const struct board_slot *slot, uint64_t now_ms)
{
    uint64_t beat = atomic_load_explicit(&slot->count.beat_ms, memory_order_relaxed);
    bool waits = atomic_load_explicit(&slot->count.is_waiting, memory_order_relaxed);

    return beat + (waits ? OVERDUE_BEAT_MS : LONG_TURN_MS) >= now_ms;
}

void board_begin(struct board_slot *slot, const char *id, const char *what,
                 uint64_t deadline_ms)
{
    begin_write(slot);
    set_text(slot->doing.id, sizeof(slot->doing.id), id);
    set_text(slot->doing.what, sizeof(slot->doing.what), what);
    slot->doing.waiting_on[0] = '\0';
    slot->doing.since_ms = clock_ms();
    slot->doing.deadline_ms = deadline_ms;
    end_write(slot);
}

void board_waiting(struct board_slot *slot, const char *waiting_on)
{
    begin_write(slot);
    set_text(slot->doing.waiting_on, sizeof(slot->doing.waiting_on),
             waiting_on ? waiting_on : "");
    end_write(slot);
}

void board_end(struct board_slot *slot)
{
    /* A worker's requests overlap: there the loop's idle time tells how busy it is. */
    if (slot->doing.since_ms && slot->role == BOARD_CONSUMER)
        atomic_fetch_add_explicit(&slot->count.busy_us,
                                  (clock_ms() - slot->doing.since_ms) * 1000,
                                  memory_order_relaxed);
    begin_write(slot);
    memset(&slot->doing, 0, sizeof(slot->doing));
    end_write(slot);
}

void board_last_words(struct board_slot *slot, const char *text)
{
    set_text(slot->last_words, sizeof(slot->last_words), text);
}

void board_observe(struct board_slot *slot, uint64_t microseconds)
{
    double seconds = (double)microseconds / 1e6;
    size_t bucket = 0;

    while (bucket < BOARD_LATENCY_BUCKETS - 1 && seconds > board_latency_limits[bucket])
        bucket++;
    atomic_fetch_add_explicit(&slot->count.latency[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&slot->count.latency_sum_us, microseconds,
                              memory_order_relaxed);
}

bool board_read_doing(const struct board_slot *slot, struct board_doing *ret)
{
    for (int i = 0; i < READ_TRIES; i++) {
        uint32_t before = atomic_load_explicit(&slot->sequence, memory_order_acquire);

        if (before & 1)
            continue;
        struct board_doing copy = slot->doing;
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&slot->sequence, memory_order_relaxed) == before) {
            *ret = copy;
            return true;
        }
    }
    return false;
}
