/*
 * redis_cluster.c - a call finds its node, and follows where it is sent.
 */
#include "common/redis_cluster.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/redis_cluster_parts.h"
#include "common/redis_redirect.h"
#include "common/redis_resp.h"
#include "common/task.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_PAUSE_MS 2 /* before what was put off is tried again; then twice that */
#define LAST_PAUSE_MS  64
#define MOST_REDIRECTS 8 /* without a pause: two nodes may disagree for a moment */
#define NO_SLOT        (-1)
#define LOG_EACH_MS    10000

/* One call on its way. No pointer into the map is kept over a wait. */
struct journey {
    struct redis_cluster *cluster;
    const struct redis_command *command;
    uint64_t until_ms;
    int slot;                    /* NO_SLOT: any node will do */
    struct cluster_node *target; /* where it was sent; NULL: as the map says */
    bool is_asking;              /* ASKING comes first */
    bool is_reading;             /* the node is asked as a replica */
    bool avoids_replicas;        /* one has failed it already */
    int redirects;
    uint64_t pause_ms;
};

/* ---- which node ---- */

/* In turn, those that can be had; NULL: none. */
static struct cluster_node *pick_replica(struct cluster_shard *shard)
{
    for (size_t i = 0; i < shard->replica_count; i++) {
        struct cluster_node *node =
            shard->replicas[(shard->turn + i) % shard->replica_count];

        if (node->reads && node->reads->is_tripped)
            continue;
        shard->turn += i + 1;
        return node;
    }
    return NULL;
}

static struct cluster_node *pick_any(struct redis_cluster *cluster)
{
    for (size_t i = 0; i < cluster->shard_count; i++) {
        if (cluster_node_is_fit(cluster->shards[i].primary))
            return cluster->shards[i].primary;
    }
    return cluster->shard_count > 0 ? cluster->shards[0].primary : NULL;
}

static struct cluster_node *pick(struct journey *journey)
{
    struct redis_cluster *cluster = journey->cluster;

    journey->is_reading = false;
    if (journey->target)
        return journey->target;
    if (journey->slot == NO_SLOT)
        return pick_any(cluster);

    struct cluster_shard *shard = cluster_map_shard(cluster, (uint16_t)journey->slot);
    if (!shard)
        return NULL;
    if (cluster->read_replicas && journey->command->may_be_stale &&
        !journey->avoids_replicas) {
        struct cluster_node *replica = pick_replica(shard);
        if (replica) {
            journey->is_reading = true;
            return replica;
        }
    }
    return shard->primary;
}

/* ---- one attempt ---- */

static int send_command(const struct journey *journey, struct redis *redis,
                        redisReply **ret)
{
    struct buf *out = redis_call_out(redis);
    redisReply **replies = NULL;
    size_t count = 1;

    if (journey->is_asking) {
        redis_resp_texts(out, "ASKING");
        count = 2;
    }
    journey->command->write(out, journey->command->arg);
    int rc = redis_call_wait(redis, journey->until_ms, count, &replies);
    if (rc < 0)
        return rc;
    assert(replies);
    *ret = replies[count - 1];
    return 0;
}

/* ---- what was put off ---- */

static bool was_given_up(const struct journey *journey, const struct cluster_node *node,
                         enum redirect_kind kind)
{
    if (kind == REDIRECT_DOWN)
        return node->is_down;
    return journey->slot != NO_SLOT && journey->cluster->is_stuck[journey->slot];
}

/* Nobody after us waits for it as long as we did, until somebody gets an answer. */
static void give_up(const struct journey *journey, struct cluster_node *node,
                    enum redirect_kind kind)
{
    if (kind == REDIRECT_DOWN) {
        node->is_down = true;
        cluster_node_show(node);
    } else if (journey->slot != NO_SLOT) {
        journey->cluster->is_stuck[journey->slot] = true;
    }
}

static void has_answered(const struct journey *journey, struct cluster_node *node)
{
    if (node->is_down) {
        node->is_down = false;
        cluster_node_show(node);
    }
    if (journey->slot != NO_SLOT)
        journey->cluster->is_stuck[journey->slot] = false;
}

/* Yields. False: the time is over, or others have waited long enough for it. */
static bool wait_a_little(struct journey *journey, struct cluster_node *node,
                          enum redirect_kind kind)
{
    uint64_t now = clock_ms();

    cluster_count(journey->cluster, cluster_retries);
    if (kind == REDIRECT_DOWN)
        cluster_map_doubt(journey->cluster);
    if (was_given_up(journey, node, kind))
        return false;
    if (now + journey->pause_ms >= journey->until_ms) {
        give_up(journey, node, kind);
        return false;
    }
    task_sleep(journey->pause_ms);
    if (journey->cluster->is_closing)
        return false;
    if (journey->pause_ms < LAST_PAUSE_MS)
        journey->pause_ms *= 2;
    journey->target = NULL;
    journey->is_asking = false;
    journey->redirects = 0;
    return true;
}

/* ---- following ---- */

static void follow(struct journey *journey, const struct cluster_node *from,
                   const struct redirect *redirect)
{
    struct redis_cluster *cluster = journey->cluster;

    cluster_count(cluster, cluster_redirects);
    journey->redirects++;
    journey->target = cluster_node_at(
        cluster, *redirect->host ? redirect->host : from->host, redirect->port);
    journey->is_asking = redirect->kind == REDIRECT_ASK;
    if (redirect->kind == REDIRECT_ASK)
        return;
    if (journey->is_reading)
        journey->avoids_replicas = true; /* it is none of this slot's any more */
    cluster_map_move(cluster, redirect->slot, journey->target);
    cluster_map_doubt(cluster);
}

/* A replica that cannot be had is no reason to do without the answer. */
static bool may_try_primary(struct journey *journey)
{
    if (!journey->is_reading || clock_ms() >= journey->until_ms)
        return false;
    journey->avoids_replicas = true;
    return true;
}

/*
 * Nothing was sent: there is no such node, or no connection. If that was not known when
 * the map was made, a new map may name another node. Yields. True: it may be tried again.
 */
static bool find_again(struct journey *journey, const struct cluster_node *node)
{
    struct redis_cluster *cluster = journey->cluster;
    bool was_known = cluster->learned_ms > cluster->trouble_ms;

    if (may_try_primary(journey))
        return true;
    if (cluster->has_failed || (cluster->slot_count > 0 && was_known) ||
        cluster_map_wait(cluster, journey->until_ms) < 0)
        return false;
    journey->target = NULL;
    journey->is_asking = false;
    struct cluster_node *found = pick(journey);
    return found && found != node;
}

/* Our keys, our scripts: what is refused for more than one slot is our mistake. */
static void note_refusal(const redisReply *reply)
{
    static uint64_t logged_ms;
    uint64_t now = clock_ms();

    if (!strstr(reply->str, "CROSSSLOT") && !strstr(reply->str, "non local key") &&
        !strstr(reply->str, "do not hash to the same slot"))
        return;
    if (logged_ms == 0 || now - logged_ms >= LOG_EACH_MS)
        log_error("redis cluster: a command's keys lie in several slots: %s", reply->str);
    logged_ms = now;
}

static int travel(struct journey *journey, redisReply **ret)
{
    while (!journey->cluster->is_closing) {
        struct cluster_node *node = pick(journey);
        struct redis *redis = NULL;
        struct redirect redirect;
        redisReply *reply = NULL;
        int rc = -EAGAIN;

        if (node) {
            redis = journey->is_reading ? cluster_node_reads(node) : node->commands;
            rc = redis_call_begin(redis, journey->until_ms);
        }
        if (journey->cluster->is_closing)
            return -ECONNRESET;
        if (rc < 0) {
            if (rc == -EAGAIN && find_again(journey, node))
                continue;
            return rc;
        }
        rc = send_command(journey, redis, &reply);
        if (journey->cluster->is_closing)
            return -ECONNRESET;
        if (rc < 0) {
            if (may_try_primary(journey)) /* a read may be done twice */
                continue;
            return rc;
        }
        redis_redirect_read(reply, &redirect);
        if (redirect.kind == REDIRECT_NONE) {
            has_answered(journey, node);
            *ret = reply;
            return 0;
        }
        if (may_try_primary(journey))
            continue;
        bool is_sent_on =
            redirect.kind == REDIRECT_MOVED || redirect.kind == REDIRECT_ASK;
        if (is_sent_on && journey->redirects < MOST_REDIRECTS)
            follow(journey, node, &redirect);
        else if (!wait_a_little(journey, node, redirect.kind))
            return -EAGAIN;
    }
    return -ECONNRESET;
}

/* The call's arena goes, and with it the call, however it ended. */
static void release(void *arg)
{
    struct redis_cluster *cluster = arg;

    if (--cluster->calls == 0 && cluster->is_closing)
        free(cluster);
}

void redis_cluster_hold(struct redis_cluster *cluster)
{
    cluster->calls++;
    arena_defer(task_arena(), release, cluster);
}

int redis_cluster_execute(struct redis_cluster *cluster,
                          const struct redis_command *command, uint64_t until_ms,
                          redisReply **ret)
{
    redisReply *reply = NULL;
    struct journey journey = {
        .cluster = cluster,
        .command = command,
        .until_ms = until_ms ? until_ms : redis_call_until(cluster->front->timeout_ms),
        .slot = command->key ? redis_slot_of(command->key, command->key_length) : NO_SLOT,
        .pause_ms = FIRST_PAUSE_MS,
    };

    redis_cluster_hold(cluster);
    int rc = travel(&journey, &reply);
    if (rc < 0) {
        cluster_count(cluster, cluster_errors);
        return rc;
    }
    assert(reply);
    if (ret)
        *ret = reply;
    if (reply->type != REDIS_REPLY_ERROR)
        return 0;
    note_refusal(reply);
    return -EPROTO;
}

struct redis *redis_cluster_node(struct redis_cluster *cluster, const char *key,
                                 size_t key_length)
{
    struct cluster_shard *shard =
        key ? cluster_map_shard(cluster, redis_slot_of(key, key_length)) : NULL;

    return shard ? shard->primary->commands : NULL;
}

/* ---- the state ---- */

bool redis_cluster_is_up(const struct redis_cluster *cluster)
{
    for (const struct cluster_node *node = cluster->nodes; node; node = node->next) {
        if (node->is_listed && redis_link_is_up(&node->commands->link))
            return true;
    }
    return false;
}

bool redis_cluster_is_refused(const struct redis_cluster *cluster)
{
    for (const struct cluster_node *node = cluster->nodes; node; node = node->next) {
        if (cluster->has_failed && redis_is_refused(node->commands))
            return true;
    }
    return false;
}

int64_t redis_cluster_lost_until_us(const struct redis_cluster *cluster, const char *key,
                                    size_t length)
{
    if (!key || cluster->lost_us == 0)
        return cluster->lost_us;
    return cluster->lost_us_of[redis_slot_of(key, length)];
}

const char *redis_cluster_trouble(const struct redis_cluster *cluster)
{
    return cluster->trouble;
}

/* ---- subscriptions ---- */

/* The next node that is listed, after the one in use; the first seed without a map. */
static struct cluster_node *next_place(const struct redis_cluster *cluster)
{
    struct cluster_node *first = NULL;
    bool is_past = false;

    for (struct cluster_node *node = cluster->nodes; node; node = node->next) {
        bool is_good =
            node->is_listed && cluster_node_is_fit(node) && node != cluster->subscribed;

        if (is_good && !first)
            first = node;
        if (is_good && is_past)
            return node;
        is_past |= node == cluster->subscribed;
    }
    return first;
}

void redis_cluster_place(struct redis_cluster *cluster)
{
    struct cluster_node *node = next_place(cluster);
    struct redis_settings *settings = &cluster->front->settings;

    if (!node)
        node = cluster->subscribed ? cluster->subscribed
                                   : cluster_map_seed(cluster, cluster->turn);
    cluster->subscribed = node;
    snprintf(settings->address.host, sizeof(settings->address.host), "%s", node->host);
    snprintf(settings->address.port, sizeof(settings->address.port), "%s", node->port);
    redis_address_show(&settings->address, settings->place, sizeof(settings->place));
    if (cluster->slot_count == 0)
        cluster_map_doubt(cluster);
}

/* ---- birth and end ---- */

static char **copy_seeds(const char *const *seeds)
{
    size_t count = 0;

    while (seeds[count])
        count++;
    assert(count > 0);
    char **copy = calloc(count + 1, sizeof(*copy));
    for (size_t i = 0; copy && i < count; i++) {
        copy[i] = strdup(seeds[i]);
        if (!copy[i])
            fatal("out of memory");
    }
    if (!copy)
        fatal("out of memory");
    return copy;
}

struct redis_cluster *redis_cluster_new(struct redis *front,
                                        const struct redis_options *options)
{
    struct redis_cluster *cluster = calloc(1, sizeof(*cluster));

    if (!cluster)
        fatal("out of memory");
    cluster->front = front;
    cluster->seeds = copy_seeds(options->cluster);
    cluster->read_replicas = options->read_replicas;
    cluster->slot = options->slot;
    cluster_map_open(cluster);
    return cluster;
}

void redis_cluster_free(struct redis_cluster *cluster)
{
    if (!cluster)
        return;
    cluster_map_close(cluster);
    cluster_nodes_free(cluster);
    for (char **seed = cluster->seeds; *seed; seed++)
        free(*seed);
    free(cluster->seeds);
    cluster->seeds = NULL;
    if (cluster->calls == 0)
        free(cluster);
}
