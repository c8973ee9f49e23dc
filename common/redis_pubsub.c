/*
 * redis_pubsub.c - subscriptions over a connection of their own.
 *
 * A channel is asked for when it gets its first subscriber and given up with its
 * last. After a reconnect all channels are asked for again, and each subscriber's
 * `gap` is called when the server has confirmed its channel: from then on nothing
 * is missed, so whoever reads the truth then has caught up.
 *
 * A subscriber may leave inside its own callback or another's: while messages
 * are being delivered, those who left are only marked, and freed after.
 *
 * Nothing is ever overdue on this connection, so a silent server would go
 * unnoticed: it is asked for a sign of life now and then.
 */
#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/redis_call.h"
#include "common/redis_cluster.h"
#include "common/redis_resp.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TABLE_SIZE    1024 /* a power of two; chains stay short to 10,000 channels */
#define PING_AFTER_MS 5000
#define ANSWER_MS     2000
#define ASK_AT_ONCE   500 /* channels in one SUBSCRIBE */

struct redis_subscription {
    struct redis_subscription *next;
    struct channel *channel;
    void (*message)(void *arg, const char *channel, const char *data, size_t length);
    void (*gap)(void *arg);
    void *arg;
    bool is_gone;
};

struct channel {
    struct channel *next; /* in its chain of the table */
    struct redis_pubsub *pubsub;
    struct redis_subscription *subscribers;
    bool is_late;  /* its next confirmation ends a gap */
    bool has_gone; /* some subscriber is to be freed */
    char name[];
};

struct redis_pubsub {
    struct redis *redis;
    struct redis_link link;
    struct channel *table[TABLE_SIZE];
    struct channel *delivering; /* NULL: nothing is being delivered */
    uint64_t heard_ms;          /* when the server last said anything */
    uint64_t asked_ms;          /* the unanswered PING; 0: none */
};

/* ---- the table of channels ---- */

static struct channel **find_slot(struct redis_pubsub *pubsub, const char *name)
{
    uint32_t hash = 2166136261U;

    for (const char *c = name; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619U;
    struct channel **slot = &pubsub->table[hash & (TABLE_SIZE - 1)];
    while (*slot && strcmp((*slot)->name, name) != 0)
        slot = &(*slot)->next;
    return slot;
}

static void say(struct redis_pubsub *pubsub, const char *verb, const char *channel)
{
    if (redis_link_is_up(&pubsub->link))
        redis_resp_texts(redis_wire_out(pubsub->link.wire), verb, channel);
}

static struct channel *add_channel(struct redis_pubsub *pubsub, struct channel **slot,
                                   const char *name)
{
    size_t size = strlen(name) + 1;
    struct channel *channel = calloc(1, sizeof(*channel) + size);

    if (!channel)
        fatal("out of memory");
    memcpy(channel->name, name, size);
    channel->pubsub = pubsub;
    channel->is_late = !redis_link_is_up(&pubsub->link);
    *slot = channel;
    say(pubsub, "SUBSCRIBE", name);
    return channel;
}

/* Frees those who left, and the channel with the last of them. */
static void tidy_channel(struct redis_pubsub *pubsub, struct channel *channel)
{
    struct redis_subscription **link = &channel->subscribers;

    while (*link) {
        struct redis_subscription *each = *link;

        if (each->is_gone) {
            *link = each->next;
            free(each);
        } else {
            link = &each->next;
        }
    }
    channel->has_gone = false;
    if (channel->subscribers)
        return;
    say(pubsub, "UNSUBSCRIBE", channel->name);
    *find_slot(pubsub, channel->name) = channel->next;
    free(channel);
}

/* ---- what the server says ---- */

static void deliver(struct redis_pubsub *pubsub, struct channel *channel,
                    const redisReply *data)
{
    pubsub->delivering = channel;
    for (struct redis_subscription *each = channel->subscribers; each;
         each = each->next) {
        if (each->is_gone)
            continue;
        if (data)
            each->message(each->arg, channel->name, data->str, data->len);
        else if (each->gap)
            each->gap(each->arg);
    }
    pubsub->delivering = NULL;
    if (channel->has_gone)
        tidy_channel(pubsub, channel);
}

static bool is_kind(const redisReply *reply, const char *kind)
{
    return reply->element[0]->type == REDIS_REPLY_STRING &&
           strcasecmp(reply->element[0]->str, kind) == 0;
}

/* ["message", channel, data] or ["subscribe", channel, count]; others need nothing. */
static void handle(struct redis_pubsub *pubsub, const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3 ||
        reply->element[1]->type != REDIS_REPLY_STRING)
        return;

    struct channel *channel = *find_slot(pubsub, reply->element[1]->str);
    if (!channel)
        return;
    if (is_kind(reply, "message") && reply->element[2]->type == REDIS_REPLY_STRING) {
        deliver(pubsub, channel, reply->element[2]);
    } else if (is_kind(reply, "subscribe") && channel->is_late) {
        channel->is_late = false;
        deliver(pubsub, channel, NULL);
    }
}

static void take_message(void *arg, redisReply *reply)
{
    struct redis_pubsub *pubsub = arg;

    pubsub->heard_ms = clock_ms();
    pubsub->asked_ms = 0;
    if (reply->type == REDIS_REPLY_ERROR)
        log_warn("redis %s (subscriptions): %s", pubsub->redis->settings.place,
                 reply->str);
    handle(pubsub, reply);
    freeReplyObject(reply);
}

/* ---- the connection ---- */

static void subscribe_all(struct redis_pubsub *pubsub)
{
    const char *names[ASK_AT_ONCE + 1] = { "SUBSCRIBE" };
    size_t count = 1;
    struct buf *out = redis_wire_out(pubsub->link.wire);

    for (size_t i = 0; i < TABLE_SIZE; i++) {
        for (struct channel *each = pubsub->table[i]; each; each = each->next) {
            names[count++] = each->name;
            if (count <= ASK_AT_ONCE)
                continue;
            redis_resp_argv(out, count, names, NULL);
            count = 1;
        }
    }
    if (count > 1)
        redis_resp_argv(out, count, names, NULL);
}

static void link_up(void *arg)
{
    struct redis_pubsub *pubsub = arg;

    pubsub->heard_ms = clock_ms();
    pubsub->asked_ms = 0;
    subscribe_all(pubsub);
    redis_wire_alarm(pubsub->link.wire, pubsub->heard_ms + PING_AFTER_MS);
}

/* In a cluster another node does as well. */
static void look_elsewhere(struct redis_pubsub *pubsub)
{
    if (pubsub->redis->cluster)
        redis_cluster_place(pubsub->redis->cluster);
}

static void link_down(void *arg)
{
    struct redis_pubsub *pubsub = arg;

    look_elsewhere(pubsub);

    for (size_t i = 0; i < TABLE_SIZE; i++) {
        for (struct channel *each = pubsub->table[i]; each; each = each->next)
            each->is_late = true;
    }
}

static void link_failed(void *arg)
{
    look_elsewhere(arg);
}

static void link_due(void *arg)
{
    struct redis_pubsub *pubsub = arg;
    uint64_t now = clock_ms(), next;

    if (pubsub->asked_ms != 0 && now >= pubsub->asked_ms + ANSWER_MS) {
        redis_link_drop(&pubsub->link, "the server is silent", 0);
        return;
    }
    if (pubsub->asked_ms == 0 && now >= pubsub->heard_ms + PING_AFTER_MS) {
        redis_resp_texts(redis_wire_out(pubsub->link.wire), "PING");
        pubsub->asked_ms = now;
    }
    next = pubsub->asked_ms ? pubsub->asked_ms + ANSWER_MS
                            : pubsub->heard_ms + PING_AFTER_MS;
    redis_wire_alarm(pubsub->link.wire, next);
}

static const struct redis_link_events link_events = {
    .up = link_up,
    .failed = link_failed,
    .down = link_down,
    .reply = take_message,
    .due = link_due,
};

/* ---- birth and end ---- */

static struct redis_pubsub *pubsub_of(struct redis *redis)
{
    if (redis->pubsub)
        return redis->pubsub;
    redis->pubsub = calloc(1, sizeof(*redis->pubsub));
    if (!redis->pubsub)
        fatal("out of memory");
    redis->pubsub->redis = redis;
    look_elsewhere(redis->pubsub);
    redis_link_init(&redis->pubsub->link, &redis->settings, "subscriptions", &link_events,
                    redis->pubsub);
    return redis->pubsub;
}

void redis_pubsub_free(struct redis_pubsub *pubsub)
{
    if (!pubsub)
        return;
    assert(!pubsub->delivering);
    redis_link_stop(&pubsub->link);
    for (size_t i = 0; i < TABLE_SIZE; i++) {
        while (pubsub->table[i]) {
            struct channel *channel = pubsub->table[i];

            while (channel->subscribers) {
                struct redis_subscription *each = channel->subscribers;
                channel->subscribers = each->next;
                free(each);
            }
            pubsub->table[i] = channel->next;
            free(channel);
        }
    }
    free(pubsub);
}

void redis_pubsub_move(struct redis *redis)
{
    redis_link_drop(&redis->pubsub->link, "its node has left the cluster", 0);
}

struct redis_subscription *redis_subscribe(struct redis *redis, const char *channel,
                                           void (*message)(void *arg, const char *channel,
                                                           const char *data,
                                                           size_t length),
                                           void (*gap)(void *arg), void *arg)
{
    struct redis_pubsub *pubsub = pubsub_of(redis);
    struct redis_subscription *subscription = calloc(1, sizeof(*subscription));

    if (!subscription)
        fatal("out of memory");
    redis_link_start(&pubsub->link);
    struct channel **slot = find_slot(pubsub, channel);
    struct channel *owner = *slot ? *slot : add_channel(pubsub, slot, channel);
    *subscription = (struct redis_subscription){ .next = owner->subscribers,
                                                 .channel = owner,
                                                 .message = message,
                                                 .gap = gap,
                                                 .arg = arg };
    owner->subscribers = subscription;
    return subscription;
}

void redis_unsubscribe(struct redis_subscription *subscription)
{
    struct channel *channel = subscription->channel;

    subscription->is_gone = true;
    channel->has_gone = true;
    if (channel->pubsub->delivering != channel)
        tidy_channel(channel->pubsub, channel);
}
