/*
 * redis_cluster_parts.h - what the files of the cluster client share.
 *
 *   redis_cluster.c        a call finds its node, and follows where it is sent
 *   redis_cluster_map.c    who has which slots: asking, and when
 *   redis_cluster_nodes.c  the nodes: made, shown, retired
 */
#ifndef FORKMARK_COMMON_REDIS_CLUSTER_PARTS_H
#define FORKMARK_COMMON_REDIS_CLUSTER_PARTS_H

#include "common/redis_cluster.h"
#include "common/redis_slot.h"
#include "common/scoreboard.h"
#include <uv.h>

#define CLUSTER_REPLICAS 8      /* of one primary that reads are spread over */
#define CLUSTER_NOBODY   0xffff /* in shard_of */

struct cluster_node {
    struct cluster_node *next;
    struct redis_cluster *cluster;
    char host[256], port[8];
    struct redis *commands;
    struct redis *reads; /* READONLY, from a replica; NULL until the first */
    bool is_listed;      /* in the last map */
    bool is_primary, is_replica;
    bool is_down; /* it said CLUSTERDOWN or the like until somebody's time was over */
    uint64_t retired_ms;       /* not listed since; 0: it is, or was just met */
    struct board_redis *shown; /* NULL: nowhere */
};

/* A primary and its replicas. */
struct cluster_shard {
    struct cluster_node *primary, *replicas[CLUSTER_REPLICAS];
    size_t replica_count, turn;
};

struct cluster_waiter;

struct redis_cluster {
    struct redis *front;
    char **seeds; /* "host:port", NULL-ended */
    bool read_replicas;
    struct board_slot *slot;
    struct cluster_node *nodes;

    /* The map. Shards are only added while it lasts; a new map replaces both. */
    uint16_t shard_of[REDIS_SLOTS];
    struct cluster_shard *shards;
    size_t shard_count;
    size_t slot_count; /* that somebody has; 0: nothing is known yet */
    /* TRYAGAIN until somebody's time was over; cleared by the first answer. */
    bool is_stuck[REDIS_SLOTS];
    /* When the slot's primary was seen replaced by its replica; and the last of those. */
    int64_t lost_us_of[REDIS_SLOTS], lost_us;

    struct task *learning;          /* NULL: nobody asks for a map now */
    struct cluster_waiter *waiters; /* tasks that wait for its end */
    uint64_t learned_ms, asked_ms;  /* the last map; the last time one was asked for */
    uint64_t trouble_ms;            /* when something last went wrong; 0: never */
    size_t turn;                    /* which node is asked first */
    bool has_failed;                /* nobody answered the last time */
    bool is_closing;
    size_t calls; /* whose arenas are still there: until then this memory is */
    char trouble[REDIS_REASON + 96]; /* why; "": it did not fail */
    uv_timer_t *clock;
    struct cluster_node *subscribed; /* where subscriptions are */
};

/* ---- redis_cluster_nodes.c ---- */

/* "" in host: as `asked`. Found, or made; never NULL. */
struct cluster_node *cluster_node_at(struct redis_cluster *cluster, const char *host,
                                     const char *port);
struct redis *cluster_node_reads(struct cluster_node *node);
void cluster_node_show(struct cluster_node *node);
/* It can be asked now, or is not known to be unable. */
bool cluster_node_is_fit(const struct cluster_node *node);
/* Those that nobody lists and nobody uses any more. */
void cluster_nodes_sweep(struct redis_cluster *cluster);
void cluster_nodes_free(struct redis_cluster *cluster);

/* ---- redis_cluster_map.c ---- */

void cluster_map_open(struct redis_cluster *cluster);
void cluster_map_close(struct redis_cluster *cluster);
struct cluster_shard *cluster_map_shard(struct redis_cluster *cluster, uint16_t slot);
/* The configured node of that number (over all of them, again and again). */
struct cluster_node *cluster_map_seed(struct redis_cluster *cluster, size_t index);
/* One slot has moved, as MOVED says. */
void cluster_map_move(struct redis_cluster *cluster, uint16_t slot,
                      struct cluster_node *node);
/* Something is amiss: a new map is asked for soon. Does not yield. */
void cluster_map_doubt(struct redis_cluster *cluster);
/* Waits for the map that is asked for now. Yields. 0, -EAGAIN: nobody answers, or it
 * took longer than until_ms. */
int cluster_map_wait(struct redis_cluster *cluster, uint64_t until_ms);

/* ---- what is counted ---- */

#define cluster_count(cluster, counter)                                   \
    do {                                                                  \
        if ((cluster)->slot)                                              \
            atomic_fetch_add_explicit(&(cluster)->slot->count.counter, 1, \
                                      memory_order_relaxed);              \
    } while (0)

#endif
