/*
 * redis_cluster_map.c - who has which slots: asking, and when.
 *
 * One task at a time asks; calls that cannot go on without a new map wait for its end.
 * Nodes that are connected are asked first, each time another one; then the others, and
 * the configured ones, whose names are resolved anew each time.
 *
 * The clock rings when the map has grown old, or soon after something went wrong, and
 * again and again while it is.
 */
#include "common/arena.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/redis_cluster_parts.h"
#include "common/redis_slots.h"
#include "common/task.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OLD_MS   10000 /* a map without any doubt is asked for again */
#define AMISS_MS 250   /* and so often while something is wrong */
#define LEAST_MS 20    /* between two, whatever happens */
#define ASK_MS   1000  /* one node's time to answer */

/* A task that waits for the end of the asking; on its stack. */
struct cluster_waiter {
    struct cluster_waiter *next, **link;
    struct task *task;
};

/* ---- the map ---- */

struct cluster_shard *cluster_map_shard(struct redis_cluster *cluster, uint16_t slot)
{
    uint16_t index = cluster->shard_of[slot];

    return index == CLUSTER_NOBODY ? NULL : &cluster->shards[index];
}

/* Of a list that grows; where the shard of this primary is in it. */
struct shard_list {
    struct cluster_shard *shards;
    size_t count;
};

static size_t shard_with(struct shard_list *list, struct cluster_node *primary)
{
    assert(list->shards || list->count == 0);
    for (size_t i = 0; i < list->count; i++) {
        if (list->shards[i].primary == primary)
            return i;
    }
    list->shards = realloc(list->shards, (list->count + 1) * sizeof(list->shards[0]));
    if (!list->shards)
        fatal("out of memory");
    list->shards[list->count] = (struct cluster_shard){ .primary = primary };
    return list->count++;
}

/*
 * `before` had the slot and `primary` has it now. A move between two that stay what they
 * are loses nothing. Whoever else takes a slot may lack its last words: a replica of
 * `before`, also one that was not listed for a moment, or the heir of one that is gone.
 */
static void note_heir(struct redis_cluster *cluster, size_t slot,
                      const struct cluster_shard *before,
                      const struct cluster_node *primary, bool was_moved)
{
    for (size_t i = 0; i < before->replica_count; i++)
        was_moved &= before->replicas[i] != primary;
    if (!was_moved)
        cluster->lost_us = cluster->lost_us_of[slot] = clock_unix_us();
}

void cluster_map_move(struct redis_cluster *cluster, uint16_t slot,
                      struct cluster_node *node)
{
    struct shard_list list = { cluster->shards, cluster->shard_count };
    const struct cluster_shard *before = cluster_map_shard(cluster, slot);

    if (before && before->primary != node)
        note_heir(cluster, slot, before, node, node->is_primary);
    /* Not listed yet, or not as a primary: the next map will tell. */
    cluster->shard_of[slot] = (uint16_t)shard_with(&list, node);
    cluster->shards = list.shards;
    cluster->shard_count = list.count;
    node->retired_ms = clock_ms();
}

static void add_replicas(struct redis_cluster *cluster, struct cluster_shard *shard,
                         const struct slots_range *range)
{
    if (shard->replica_count > 0)
        return;
    for (size_t i = 1; i < range->place_count && i <= CLUSTER_REPLICAS; i++) {
        struct cluster_node *node =
            cluster_node_at(cluster, range->places[i].host, range->places[i].port);

        node->is_listed = node->is_replica = true;
        shard->replicas[shard->replica_count++] = node;
    }
}

static void settle_nodes(struct redis_cluster *cluster)
{
    uint64_t now = clock_ms();

    for (struct cluster_node *node = cluster->nodes; node; node = node->next) {
        if (node->is_listed)
            node->retired_ms = now;
        cluster_node_show(node);
    }
    if (cluster->front->pubsub && cluster->subscribed && !cluster->subscribed->is_listed)
        redis_pubsub_move(cluster->front);
}

/* What an operator may want to know: not the slots, but who is there. */
static void log_change(const struct redis_cluster *cluster, size_t slots_before,
                       size_t moved)
{
    size_t replicas = 0;

    for (size_t i = 0; i < cluster->shard_count; i++)
        replicas += cluster->shards[i].replica_count;
    if (cluster->slot_count < REDIS_SLOTS && cluster->slot_count != slots_before)
        log_warn("redis cluster: %zu of %d slots have no node: their keys do without",
                 REDIS_SLOTS - cluster->slot_count, REDIS_SLOTS);
    else if (cluster->slot_count != slots_before)
        log_info("redis cluster: all slots are served, by %zu primaries and %zu replicas",
                 cluster->shard_count, replicas);
    else if (moved > 0)
        log_info("redis cluster: %zu slots have another primary now", moved);
}

/* Gives the range to its primary in the new list; how many slots had another. */
static size_t take_range(struct redis_cluster *cluster, struct shard_list *list,
                         const struct slots_range *range, uint16_t *shard_of)
{
    struct cluster_node *primary =
        cluster_node_at(cluster, range->places[0].host, range->places[0].port);
    size_t index = shard_with(list, primary), moved = 0;

    primary->is_listed = primary->is_primary = true;
    add_replicas(cluster, &list->shards[index], range);
    for (size_t slot = range->first; slot <= range->last; slot++) {
        const struct cluster_shard *before = cluster_map_shard(cluster, (uint16_t)slot);

        moved += before && before->primary != primary;
        cluster->slot_count += shard_of[slot] == CLUSTER_NOBODY;
        shard_of[slot] = (uint16_t)index;
    }
    return moved;
}

static void adopt(struct redis_cluster *cluster, const struct slots_map *map)
{
    uint16_t *shard_of = arena_array(task_arena(), REDIS_SLOTS, sizeof(*shard_of));
    struct shard_list list = { 0 };
    size_t before = cluster->slot_count, moved = 0;

    for (struct cluster_node *node = cluster->nodes; node; node = node->next)
        node->is_listed = node->is_primary = node->is_replica = false;
    memset(shard_of, 0xff, sizeof(cluster->shard_of));
    cluster->slot_count = 0;
    for (size_t i = 0; i < map->range_count; i++)
        moved += take_range(cluster, &list, &map->ranges[i], shard_of);
    assert(list.shards);
    for (size_t slot = 0; slot < REDIS_SLOTS; slot++) {
        const struct cluster_shard *had = cluster_map_shard(cluster, (uint16_t)slot);

        if (had && shard_of[slot] != CLUSTER_NOBODY &&
            list.shards[shard_of[slot]].primary != had->primary)
            note_heir(cluster, slot, had, list.shards[shard_of[slot]].primary,
                      had->primary->is_primary);
    }
    memcpy(cluster->shard_of, shard_of, sizeof(cluster->shard_of));
    free(cluster->shards);
    cluster->shards = list.shards;
    cluster->shard_count = list.count;
    cluster->learned_ms = clock_ms();
    cluster_count(cluster, cluster_refreshes);
    settle_nodes(cluster);
    log_change(cluster, before, moved);
}

/* ---- asking ---- */

static void note_trouble(struct redis_cluster *cluster, const struct cluster_node *node,
                         const char *reason)
{
    snprintf(cluster->trouble, sizeof(cluster->trouble), "%.80s:%s: %s", node->host,
             node->port, reason);
}

static const char *reason_of(const struct cluster_node *node, int rc,
                             const redisReply *reply)
{
    if (rc == -EPROTO)
        return reply->str;
    if (*redis_trouble(node->commands))
        return redis_trouble(node->commands);
    return rc == -EAGAIN || rc == -ETIMEDOUT ? "no answer in time" : strerror(-rc);
}

static bool ask(struct redis_cluster *cluster, struct cluster_node *node)
{
    static const char *const command[] = { "CLUSTER", "SLOTS" };
    redisReply *reply = NULL;
    struct slots_map map;

    node->retired_ms = clock_ms(); /* not swept while it is asked */
    int rc = redis_call_argv_timeout(node->commands, &reply, ASK_MS, 2, command, NULL);
    if (rc < 0) {
        note_trouble(cluster, node, reason_of(node, rc, reply));
        return false;
    }
    if (!redis_slots_read(reply, node->host, task_arena(), &map)) {
        note_trouble(cluster, node, "it has no slots: it is no part of the cluster");
        return false;
    }
    adopt(cluster, &map);
    return true;
}

static struct cluster_node *node_number(const struct redis_cluster *cluster, size_t index)
{
    struct cluster_node *node = cluster->nodes;

    while (node && index-- > 0)
        node = node->next;
    return node;
}

static size_t count_nodes(const struct redis_cluster *cluster)
{
    size_t count = 0;

    for (const struct cluster_node *node = cluster->nodes; node; node = node->next)
        count++;
    return count;
}

/* Those that are connected, or the others. */
static bool ask_nodes(struct redis_cluster *cluster, bool connected)
{
    size_t count = count_nodes(cluster);

    for (size_t i = 0; i < count; i++) {
        struct cluster_node *node = node_number(cluster, (cluster->turn + i) % count);

        if (!node || redis_link_is_up(&node->commands->link) != connected ||
            !node->is_listed)
            continue;
        if (ask(cluster, node)) {
            cluster->turn++;
            return true;
        }
    }
    return false;
}

struct cluster_node *cluster_map_seed(struct redis_cluster *cluster, size_t index)
{
    struct redis_address address;
    size_t count = 0;

    while (cluster->seeds[count])
        count++;
    assert(count > 0);
    if (!redis_address_parse(cluster->seeds[index % count], "6379", &address))
        fatal("redis.cache.cluster: `%s` is no host and port",
              cluster->seeds[index % count]);
    return cluster_node_at(cluster, address.host, address.port);
}

static bool ask_seeds(struct redis_cluster *cluster)
{
    for (size_t i = 0; cluster->seeds[i]; i++) {
        if (ask(cluster, cluster_map_seed(cluster, i)))
            return true;
    }
    return false;
}

static void unhook(void *arg)
{
    struct cluster_waiter *waiter = arg;

    *waiter->link = waiter->next;
    if (waiter->next)
        waiter->next->link = waiter->link;
}

static void wake_waiters(struct redis_cluster *cluster, int result)
{
    while (cluster->waiters) {
        struct cluster_waiter *waiter = cluster->waiters;

        unhook(waiter);
        task_wake(waiter->task, result);
    }
}

static void set_clock(struct redis_cluster *cluster);

static void learn(void *arg)
{
    struct redis_cluster *cluster = arg;
    bool had_failed = cluster->has_failed;

    cluster->has_failed =
        !ask_nodes(cluster, true) && !ask_nodes(cluster, false) && !ask_seeds(cluster);
    if (cluster->has_failed && !had_failed)
        log_warn("redis cluster: no node tells who has which slots (%s); trying again in "
                 "the background",
                 cluster->trouble);
    else if (!cluster->has_failed && had_failed)
        log_info("redis cluster: found again");
    if (!cluster->has_failed)
        cluster->trouble[0] = '\0';
}

static void learned(void *arg, enum task_outcome outcome)
{
    struct redis_cluster *cluster = arg;

    if (outcome == TASK_CANCELLED) /* cluster_map_close() */
        return;
    cluster->learning = NULL;
    wake_waiters(cluster, cluster->has_failed ? -EAGAIN : 0);
    set_clock(cluster);
}

static void start_learning(struct redis_cluster *cluster)
{
    if (cluster->learning || cluster->is_closing)
        return;
    cluster->asked_ms = clock_ms();
    cluster->learning = task_spawn(&(struct task_spec){
        .name = "redis: cluster", .run = learn, .arg = cluster, .on_end = learned });
}

int cluster_map_wait(struct redis_cluster *cluster, uint64_t until_ms)
{
    uint64_t now = clock_ms();
    struct cluster_waiter waiter = { .task = task_self() };

    if (now >= until_ms)
        return -EAGAIN;
    start_learning(cluster);
    waiter.next = cluster->waiters;
    waiter.link = &cluster->waiters;
    if (waiter.next)
        waiter.next->link = &waiter.next;
    cluster->waiters = &waiter;
    int rc = task_park(&(struct task_park){ .waiting_on = "redis: cluster",
                                            .timeout_ms = until_ms - now,
                                            .on_cancel = unhook,
                                            .arg = &waiter });
    return rc == -ETIMEDOUT ? -EAGAIN : rc;
}

/* ---- when ---- */

static bool is_amiss(const struct redis_cluster *cluster)
{
    if (cluster->has_failed || cluster->slot_count < REDIS_SLOTS ||
        cluster->trouble_ms > cluster->learned_ms)
        return true;
    for (size_t i = 0; i < cluster->shard_count; i++) {
        const struct cluster_node *primary = cluster->shards[i].primary;

        if (!cluster_node_is_fit(primary) || primary->is_down)
            return true;
    }
    return false;
}

static void ring(uv_timer_t *clock)
{
    struct redis_cluster *cluster = clock->data;

    cluster_nodes_sweep(cluster);
    start_learning(cluster);
}

static uv_timer_t *new_clock(struct redis_cluster *cluster)
{
    uv_timer_t *clock = calloc(1, sizeof(*clock));

    if (!clock)
        fatal("out of memory");
    uv_timer_init(task_loop(), clock);
    clock->data = cluster;
    return clock;
}

/* The first of several reasons counts; a doubt that is new is not kept waiting. */
static void set_clock(struct redis_cluster *cluster)
{
    bool is_new = cluster->trouble_ms > cluster->asked_ms;
    uint64_t now = clock_ms(), after = is_amiss(cluster) ? AMISS_MS : OLD_MS;
    uint64_t due = cluster->asked_ms + (is_new ? LEAST_MS : after);

    if (cluster->learning || cluster->is_closing)
        return;
    if (!cluster->clock)
        cluster->clock = new_clock(cluster);
    uv_timer_start(cluster->clock, ring, due > now ? due - now : 0, 0);
}

void cluster_map_doubt(struct redis_cluster *cluster)
{
    if (cluster->is_closing)
        return;
    cluster->trouble_ms = clock_ms() + 1; /* later than anything known by now */
    set_clock(cluster);
}

/* ---- birth and end ---- */

void cluster_map_open(struct redis_cluster *cluster)
{
    memset(cluster->shard_of, 0xff, sizeof(cluster->shard_of));
}

static void clock_closed(uv_handle_t *clock)
{
    free(clock);
}

void cluster_map_close(struct redis_cluster *cluster)
{
    cluster->is_closing = true;
    if (cluster->learning)
        task_cancel(cluster->learning);
    cluster->learning = NULL;
    wake_waiters(cluster, -ECONNRESET);
    if (cluster->clock)
        uv_close((uv_handle_t *)cluster->clock, clock_closed);
    free(cluster->shards);
    cluster->shards = NULL;
    cluster->shard_count = 0;
}
