/*
 * cache.c - see cache.h.
 *
 * Keys: PREFIX{u12}:gen holds the generation, PREFIX{u12}:GENERATION:NAME an entry.
 * A cache that fails is a cache that misses: errors are not passed on, and the
 * Redis client has logged why it is away.
 */
#include "common/cache.h"
#include "common/arena.h"
#include "common/cache_owed.h"
#include "common/embedded.h"
#include "common/log.h"
#include "common/pg.h"
#include "common/task.h"
#include "lua_scripts.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How soon Redis is tried again with what it is owed. */
#define OWED_MS 200

struct cache {
    struct redis *redis;
    char *prefix;
    struct board_slot *slot;
    bool is_disabled;
    struct redis_script generation, invalidate;
    struct cache_owed *owed; /* NULL: nothing ever was */
    bool is_telling, is_closing;
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
    cache->is_closing = true;
    if (cache->is_telling) /* its end frees the rest */
        return;
    free(cache->owed);
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
    const char *argv[] = { "GET", entry_key(cache, user_id, generation, name) };
    bool is_hit = redis_call_argv(cache->redis, &reply, 2, argv, NULL) == 0 &&
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

    if (!generation || cache->is_disabled)
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

/* One after the other, until one fails: then Redis is still away. */
static void tell_owed(void *arg)
{
    struct cache *cache = arg;
    struct cache_owed_entry entry;

    while (!cache->is_closing) {
        task_sleep(OWED_MS);
        while (!cache->is_closing && cache_owed_take(cache->owed, &entry)) {
            if (!tell(cache, entry.user_id, entry.position)) {
                cache_owed_add(cache->owed, entry.user_id, entry.position);
                break;
            }
        }
        if (cache->owed->count == 0)
            return;
    }
}

static void told(void *arg, enum task_outcome outcome)
{
    struct cache *cache = arg;

    (void)outcome;
    cache->is_telling = false;
    if (cache->is_closing)
        cache_free(cache);
}

static void owe(struct cache *cache, int32_t user_id, uint64_t position)
{
    if (!cache->owed && !(cache->owed = calloc(1, sizeof(*cache->owed))))
        fatal("out of memory");
    if (!cache_owed_add(cache->owed, user_id, position))
        log_warn("more than %d users have written while Redis is away: what is cached of "
                 "the first is not made invalid",
                 CACHE_OWED_MAX);
    if (cache->is_telling)
        return;
    cache->is_telling = true;
    task_spawn(&(struct task_spec){
        .name = "cache:owed", .run = tell_owed, .arg = cache, .on_end = told });
}

void cache_invalidate(struct cache *cache, int32_t user_id, uint64_t position)
{
    if (!tell(cache, user_id, position))
        owe(cache, user_id, position);
}

void cache_note_write(struct cache *cache, int32_t user_id, uint64_t position)
{
    if (position != PG_POSITION_NONE)
        cache_invalidate(cache, user_id, position);
}
