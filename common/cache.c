/*
 * cache.c - see cache.h.
 *
 * Keys: PREFIX{u12}:gen holds the generation, PREFIX{u12}:GENERATION:NAME an entry.
 * A cache that fails is a cache that misses: errors are not passed on, and the
 * Redis client has logged why it is away. Only what a write of the user had to say is
 * kept, and said until it has been heard (cache_owed.h).
 */
#include "common/cache.h"
#include "common/arena.h"
#include "common/cache_owed.h"
#include "common/clock.h"
#include "common/embedded.h"
#include "common/log.h"
#include "common/pg.h"
#include "common/task.h"
#include "lua_scripts.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How soon Redis is told, or tried again with, what it is owed. */
#define OWED_MS        100
#define SETTLE_LOOK_MS 20

struct cache {
    struct redis *redis;
    char *prefix;
    struct board_slot *slot;
    bool is_disabled;
    struct redis_script generation, invalidate;
    struct cache_owed owed;
    struct task *teller; /* says what is owed; NULL: nothing is */
    int32_t telling;     /* of whom it speaks now; 0: nobody, or there is news of him */
};

static void load_script(struct redis_script *script, const char *name)
{
    const struct embedded_file *file = embedded_find(lua_scripts, name);

    assert(file);
    redis_script_init(script, name, file->data);
}

struct cache *cache_new(struct redis *redis, const char *prefix)
{
    struct cache *cache = calloc(1, sizeof(*cache));

    if (!cache || !(cache->prefix = strdup(prefix)))
        fatal("out of memory");
    cache->redis = redis;
    load_script(&cache->generation, "cache_generation.lua");
    load_script(&cache->invalidate, "cache_invalidate.lua");
    return cache;
}

void cache_disable(struct cache *cache)
{
    cache->is_disabled = true;
}

void cache_count(struct cache *cache, struct board_slot *slot)
{
    cache->slot = slot;
}

static void count_get(const struct cache *cache, bool is_hit)
{
    if (cache->slot)
        atomic_fetch_add_explicit(is_hit ? &cache->slot->count.cache_hits
                                         : &cache->slot->count.cache_misses,
                                  1, memory_order_relaxed);
}

void cache_free(struct cache *cache)
{
    if (!cache)
        return;
    if (cache->teller)
        task_cancel(cache->teller);
    cache_owed_done(&cache->owed);
    free(cache->prefix);
    free(cache);
}

static int run_on_generation(struct cache *cache, const struct redis_script *script,
                             int32_t user_id, const char *position, redisReply **ret)
{
    const char *keys[] = { arena_printf(task_arena(), "%s{u%d}:gen", cache->prefix,
                                        (int)user_id) };

    return redis_run_script(cache->redis, script, ret, 1, keys, 1, &position, NULL);
}

const char *cache_generation(struct cache *cache, int32_t user_id)
{
    redisReply *reply;

    if (run_on_generation(cache, &cache->generation, user_id, "", &reply) != 0 ||
        reply->type != REDIS_REPLY_STRING)
        return NULL;
    return reply->str;
}

/*
 * Not while this user's generation may be an old one: an invalidation is owed, or a
 * replica has taken the place of the server that knew a younger one. (The generation's
 * time is the server's, the other one ours: as far as the two differ, entries are made in
 * vain.)
 */
static bool is_trusted(struct cache *cache, int32_t user_id, const char *generation)
{
    char tag[16];

    if (cache_owed_has(&cache->owed, user_id))
        return false;
    if (redis_lost_until_us(cache->redis, NULL, 0) == 0)
        return true;
    int64_t lost_us = redis_lost_until_us(
        cache->redis, tag, (size_t)snprintf(tag, sizeof(tag), "u%d", (int)user_id));
    if (lost_us == 0 || strtoll(generation, NULL, 10) > lost_us)
        return true;
    cache_invalidate(cache, user_id, PG_POSITION_UNKNOWN);
    return false;
}

static char *entry_key(const struct cache *cache, int32_t user_id, const char *generation,
                       const char *name)
{
    return arena_printf(task_arena(), "%s{u%d}:%s:%s", cache->prefix, (int)user_id,
                        generation, name);
}

const char *cache_get(struct cache *cache, int32_t user_id, const char *generation,
                      const char *name, size_t *ret_length)
{
    redisReply *reply;

    if (!generation || cache->is_disabled)
        return NULL;
    if (!is_trusted(cache, user_id, generation)) {
        count_get(cache, false);
        return NULL;
    }
    const char *argv[] = { "GET", entry_key(cache, user_id, generation, name) };
    bool is_hit = redis_read_argv(cache->redis, &reply, 2, argv, NULL) == 0 &&
                  reply->type == REDIS_REPLY_STRING;
    count_get(cache, is_hit);
    if (!is_hit)
        return NULL;
    *ret_length = reply->len;
    return reply->str;
}

void cache_put(struct cache *cache, int32_t user_id, const char *generation,
               const char *name, const char *data, size_t length, int ttl_s)
{
    char ttl[16];

    if (!generation || cache->is_disabled || !is_trusted(cache, user_id, generation))
        return;
    snprintf(ttl, sizeof(ttl), "%d", ttl_s);
    const char *argv[] = { "SET", entry_key(cache, user_id, generation, name), data, "EX",
                           ttl };
    const size_t lengths[] = { 3, strlen(argv[1]), length, 2, strlen(ttl) };
    redis_call_argv(cache->redis, NULL, 5, argv, lengths);
}

/* ---- writes ---- */

static bool tell(struct cache *cache, int32_t user_id, uint64_t position)
{
    bool is_known = position != PG_POSITION_NONE && position != PG_POSITION_UNKNOWN;
    const char *text =
        is_known ? arena_printf(task_arena(), "%llu", (unsigned long long)position) : "";

    return run_on_generation(cache, &cache->invalidate, user_id, text, NULL) == 0;
}

/* All of them: while one is not heard, another's server may be there. */
static void tell_owed(void *arg)
{
    struct cache *cache = arg;
    struct cache_owed_entry entry;
    size_t at = 0;

    task_sleep(OWED_MS);
    while (cache_owed_next(&cache->owed, &at, &entry)) {
        cache->telling = entry.user_id;
        bool is_told = tell(cache, entry.user_id, entry.position);
        if (is_told && cache->telling == entry.user_id)
            cache_owed_remove(&cache->owed, entry.user_id);
    }
    cache->telling = 0;
}

static void start_telling(struct cache *cache);

static void told(void *arg, enum task_outcome outcome)
{
    struct cache *cache = arg;

    if (outcome == TASK_CANCELLED) /* cache_free() */
        return;
    cache->teller = NULL;
    if (cache->owed.count > 0)
        start_telling(cache);
}

/* One task for each round: what a call leaves in the arena goes with it. */
static void start_telling(struct cache *cache)
{
    cache->teller = task_spawn(&(struct task_spec){
        .name = "cache:owed", .run = tell_owed, .arg = cache, .on_end = told });
}

static void owe(struct cache *cache, int32_t user_id, uint64_t position)
{
    /* What the teller says of him now may be from before this write. */
    if (cache->telling == user_id)
        cache->telling = 0;
    cache_owed_add(&cache->owed, user_id, position);
    if (!cache->teller)
        start_telling(cache);
}

void cache_invalidate(struct cache *cache, int32_t user_id, uint64_t position)
{
    if (!tell(cache, user_id, position))
        owe(cache, user_id, position);
}

struct cache_write {
    struct cache *cache;
    int32_t user_id;
    struct arena_deferred *deferred;
};

/* PostgreSQL is told to cancel it, and has done one thing or the other a moment later. */
static void write_abandoned(void *arg)
{
    struct cache_write *write = arg;

    owe(write->cache, write->user_id, PG_POSITION_UNKNOWN);
}

struct cache_write *cache_write_begin(struct cache *cache, int32_t user_id)
{
    struct cache_write *write = arena_alloc(task_arena(), sizeof(*write));

    *write = (struct cache_write){ .cache = cache, .user_id = user_id };
    write->deferred = arena_defer(task_arena(), write_abandoned, write);
    return write;
}

void cache_write_end(struct cache_write *write, int rc, uint64_t position)
{
    /* Only then taken back: the task may end while Redis is told, too. */
    if (rc == 0 || position == PG_POSITION_UNKNOWN)
        cache_invalidate(write->cache, write->user_id, position);
    arena_undefer(write->deferred);
    if (rc < 0 && position == PG_POSITION_UNKNOWN) /* may still be about to be done */
        owe(write->cache, write->user_id, position);
}

bool cache_owes(const struct cache *cache)
{
    return cache->owed.count > 0;
}

void cache_settle(struct cache *cache, uint64_t most_ms)
{
    uint64_t end = clock_ms() + most_ms;

    while (cache_owes(cache) && clock_ms() < end)
        task_sleep(SETTLE_LOOK_MS);
}

void cache_note_write(struct cache *cache, int32_t user_id, uint64_t position)
{
    if (position != PG_POSITION_NONE)
        cache_invalidate(cache, user_id, position);
}
