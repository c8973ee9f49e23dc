/*
 * redis_cluster_nodes.c - the nodes of a cluster: made, shown, retired.
 *
 * A node that no map lists any more may still be waited on by a call that began before;
 * so it is kept until nobody has used it for longer than any call lasts.
 */
#include "common/clock.h"
#include "common/log.h"
#include "common/redis_cluster_parts.h"
#include "common/redis_shown.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETIRE_MS 5000

/* ---- shown on the scoreboard ---- */

/* Its place there, if one is free. A cluster of more nodes is not shown whole. */
static struct board_redis *take_place(struct cluster_node *node)
{
    char name[BOARD_REDIS_NAME];

    redis_shown_name(node->host, node->port, name);
    return board_redis_place(node->cluster->slot, BOARD_REDIS_CACHE | BOARD_REDIS_CLUSTER,
                             name);
}

void cluster_node_show(struct cluster_node *node)
{
    enum board_redis_state state = BOARD_REDIS_IDLE;

    if (!node->is_listed) {
        if (node->shown)
            atomic_store(&node->shown->state, BOARD_REDIS_NONE);
        node->shown = NULL;
        return;
    }
    if (!node->shown && !(node->shown = take_place(node)))
        return;
    if (redis_shown_is_up(node->commands) || redis_shown_is_up(node->reads))
        state = BOARD_REDIS_UP;
    if (node->is_down || redis_shown_is_away(node->commands) ||
        redis_shown_is_away(node->reads))
        state = BOARD_REDIS_AWAY;
    atomic_store(&node->shown->is_replica, node->is_replica);
    atomic_store(&node->shown->state, state);
}

/* ---- birth ---- */

static void changed(void *arg)
{
    struct cluster_node *node = arg;

    cluster_node_show(node);
    if (node->is_listed &&
        (node->commands->is_tripped || !redis_shown_is_up(node->commands)))
        cluster_map_doubt(node->cluster);
}

static void reads_changed(void *arg)
{
    cluster_node_show(arg);
}

static struct redis *new_client(struct cluster_node *node, bool is_reader)
{
    const struct redis *front = node->cluster->front;
    struct redis_settings settings = front->settings;

    settings.is_reader = is_reader;
    snprintf(settings.address.host, sizeof(settings.address.host), "%s", node->host);
    snprintf(settings.address.port, sizeof(settings.address.port), "%s", node->port);
    settings.place[0] = '\0'; /* each has its own */
    struct redis *redis = redis_single_new(
        &settings, &(struct redis_pace){ .timeout_ms = front->timeout_ms,
                                         .breaker_ms = front->breaker_ms,
                                         .ping_after_ms = front->ping_after_ms });
    redis->changed = is_reader ? reads_changed : changed;
    redis->changed_arg = node;
    return redis;
}

struct cluster_node *cluster_node_at(struct redis_cluster *cluster, const char *host,
                                     const char *port)
{
    struct cluster_node **link = &cluster->nodes;

    for (; *link; link = &(*link)->next) {
        if (strcmp((*link)->port, port) == 0 && strcmp((*link)->host, host) == 0)
            return *link;
    }
    struct cluster_node *node = calloc(1, sizeof(*node));
    if (!node)
        fatal("out of memory");
    node->cluster = cluster;
    snprintf(node->host, sizeof(node->host), "%s", host);
    snprintf(node->port, sizeof(node->port), "%s", port);
    node->commands = new_client(node, false);
    node->retired_ms = clock_ms();
    *link = node;
    return node;
}

struct redis *cluster_node_reads(struct cluster_node *node)
{
    if (!node->reads)
        node->reads = new_client(node, true);
    return node->reads;
}

bool cluster_node_is_fit(const struct cluster_node *node)
{
    return !node->commands->is_tripped;
}

/* ---- end ---- */

static void free_node(struct cluster_node *node)
{
    if (node->cluster->subscribed == node)
        node->cluster->subscribed = NULL;
    node->is_listed = false;
    cluster_node_show(node);
    node->commands->changed = NULL;
    redis_free(node->commands);
    if (node->reads)
        node->reads->changed = NULL;
    redis_free(node->reads);
    free(node);
}

static bool is_idle(const struct redis *redis)
{
    return !redis || (!redis->first && !redis->waiters);
}

static bool is_over(const struct cluster_node *node, uint64_t now)
{
    uint64_t longest = 2 * node->cluster->front->timeout_ms;

    return !node->is_listed &&
           now > node->retired_ms + (longest > RETIRE_MS ? longest : RETIRE_MS) &&
           is_idle(node->commands) && is_idle(node->reads);
}

void cluster_nodes_sweep(struct redis_cluster *cluster)
{
    struct cluster_node **link = &cluster->nodes;
    uint64_t now = clock_ms();

    while (*link) {
        struct cluster_node *node = *link;

        if (is_over(node, now)) {
            *link = node->next;
            free_node(node);
        } else {
            link = &node->next;
        }
    }
}

void cluster_nodes_free(struct redis_cluster *cluster)
{
    while (cluster->nodes) {
        struct cluster_node *node = cluster->nodes;

        cluster->nodes = node->next;
        free_node(node);
    }
}
