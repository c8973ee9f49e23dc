/*
 * redis_cluster.h - a Redis Cluster behind the calls of redis.h.
 *
 * Each node is a single client (redis_call.h) with a connection, a queue and a breaker
 * of its own, so that a node that is lost stops nobody but those whose keys it has:
 * their calls fail at once (-EAGAIN), as with one Redis, until its successor is found.
 *
 * Which slots a node has is learned from whichever node answers first (the configured
 * ones to begin with), and again every few seconds, after MOVED, when a connection is
 * lost, and four times a second while something is amiss. MOVED and ASK are followed
 * within a call. What can only be waited for (TRYAGAIN while a slot is on its way,
 * CLUSTERDOWN) is tried again until the call's time is over; whoever comes after that
 * tries once and is told -EAGAIN, until there is an answer again.
 *
 * -EAGAIN means here too that the command was not carried out. A command whose answer
 * was lost (-ECONNRESET, -ETIMEDOUT) is not repeated: it may have been.
 *
 * With `read_replicas`, redis_read_argv() asks the replicas of a slot in turn, over
 * connections of their own (READONLY), and the primary when none of them can be had.
 * Only cached answers are read so: their key names the state they were made from, so an
 * old copy of the data can lack one, but has no wrong one. Limits, revocations and
 * generations are always the primary's.
 *
 * A subscription is made at one node, since a cluster passes messages on to all; when
 * that node is lost, at another. (forkmark's own events ride on the queue's Redis, which
 * is no cluster.)
 */
#ifndef FORKMARK_COMMON_REDIS_CLUSTER_H
#define FORKMARK_COMMON_REDIS_CLUSTER_H

#include "common/redis_call.h"

struct redis_cluster;

/* `front` is what callers hold: its settings are every node's but for the place. */
struct redis_cluster *redis_cluster_new(struct redis *front,
                                        const struct redis_options *options);
void redis_cluster_free(struct redis_cluster *cluster); /* NULL is fine */

/* Keeps its memory until the running task's arena goes: a call may outlive the rest. */
void redis_cluster_hold(struct redis_cluster *cluster);
/* Yields. As redis_call(). */
int redis_cluster_execute(struct redis_cluster *cluster,
                          const struct redis_command *command, uint64_t until_ms,
                          redisReply **ret);
/* Where a key's commands go now; NULL: not known. Does not yield. */
struct redis *redis_cluster_node(struct redis_cluster *cluster, const char *key,
                                 size_t key_length);

/* The slots are known and some node is connected. */
bool redis_cluster_is_up(const struct redis_cluster *cluster);
bool redis_cluster_is_refused(const struct redis_cluster *cluster);
int64_t redis_cluster_lost_until_us(const struct redis_cluster *cluster, const char *key,
                                    size_t length);
const char *redis_cluster_trouble(const struct redis_cluster *cluster);

/* Points the front's settings at a node, another than before if there is one. */
void redis_cluster_place(struct redis_cluster *cluster);

#endif
