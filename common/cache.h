/*
 * cache.h - per-user cached answers in Redis, invalidated by generation.
 *
 * A key carries the user's generation: Redis' TIME at that user's last write. A
 * counter could be evicted or rolled back by a fail-over and revive old entries;
 * a time cannot. Keys are tagged {u<id>}, so one user's keys share a cluster
 * slot. Without Redis, or while this slot is away, every get is a miss and nothing
 * fails. What comes back after that may know less than was said: an invalidation that
 * failed is said again until it is heard, and until then this process reads nothing of
 * that user's (another process may, for that tenth of a second); a generation that a
 * promoted replica brings along counts as old. What is left: a process that ends while
 * it owes one (it waits a moment); then an entry lives out its time.
 *
 * Where PostgreSQL has read replicas the generation also says how far its log was behind
 * the user's last write (pg.h), and the gate's script hands that to every request: in
 * one value, so that neither is there without the other. A generation that is younger
 * than pg_settled_ms() and has no position (it was evicted and made up anew, or somebody
 * wrote who keeps none) means that nothing is known: the primary. An older one needs
 * none, as every replica in use has passed it.
 *
 * Yields, inside tasks.
 */
#ifndef FORKMARK_COMMON_CACHE_H
#define FORKMARK_COMMON_CACHE_H

#include "common/redis.h"
#include "common/scoreboard.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cache;
/* `redis` is borrowed. */
struct cache *cache_new(struct redis *redis, const char *prefix);
/*
 * cache.enabled = false: every get is a miss and every put does nothing. Writes still
 * move the generation on, so that nothing from before is found when it is on again.
 */
void cache_disable(struct cache *cache);
/* Hits and misses are counted there; borrowed. Without it they are not. */
void cache_count(struct cache *cache, struct board_slot *slot);
void cache_free(struct cache *cache);

/* The user's generation now, as text in the arena; NULL: no Redis, do not cache. */
const char *cache_generation(struct cache *cache, int32_t user_id);
/* The entry stored under this generation, in the arena; NULL: a miss. */
const char *cache_get(struct cache *cache, int32_t user_id, const char *generation,
                      const char *name, size_t *ret_length);
/* `generation` is the one read before the data was: a write in between makes
 * the entry unreachable instead of stale. NULL: nothing is done. */
void cache_put(struct cache *cache, int32_t user_id, const char *generation,
               const char *name, const char *data, size_t length, int ttl_s);
/* Everything cached before of this user is out of reach. `position`: of his last write,
 * PG_POSITION_NONE for none. */
void cache_invalidate(struct cache *cache, int32_t user_id, uint64_t position);
/*
 * Around pg_commit_at() or pg_write(): the same, with all that they returned, also if
 * they failed in a way that leaves open whether it is written; otherwise nothing is done.
 * Nor is it known of a write in whose middle the task ends (its deadline, a drain): Redis
 * is told a moment later. The begin does not yield; its result lives in the task's arena.
 */
struct cache_write *cache_write_begin(struct cache *cache, int32_t user_id);
void cache_write_end(struct cache_write *write, int rc, uint64_t position);

/* Before a process ends: whether Redis has to be told of something, and a wait for it, of
 * so long at most. The wait yields. */
#define CACHE_SETTLE_MS 500
bool cache_owes(const struct cache *cache);
void cache_settle(struct cache *cache, uint64_t most_ms);
/* Only for its position, after a write that changes nothing that is cached. */
void cache_note_write(struct cache *cache, int32_t user_id, uint64_t position);

#endif
