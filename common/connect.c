/*
 * connect.c - see connect.h.
 */
#include "common/connect.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pg *connect_pg(const struct options *options, const struct connect_pool *pool)
{
    const char *pooler = options->database.pooler_url;
    const struct conf_list *replicas = &options->database.replicas;

    return pg_new(&(struct pg_options){
        .url = *pooler ? pooler : options->database.url,
        .ssl_mode = options->database.ssl_mode,
        .ssl_root_cert = options->database.ssl_root_cert,
        .size = pool->size,
        .overflow = pool->overflow,
        .pipelines = pool->pipelines,
        .prepared = options->database.prepared,
        .acquire_timeout_ms = options->database.pool_timeout,
        .recycle_ms = options->database.pool_recycle,
        .connect_timeout_ms = options->database.connect_timeout,
        .statement_timeout_ms = options->database.statement_timeout,
        .ping_after_ms = options->database.ping_after,
        .application_name = pool->name,
        .slot = pool->slot,
        .board = pool->board,
        .replicas = (const char *const *)replicas->items,
        .replica_count = pool->reads_replicas ? replicas->count : 0,
        .max_lag_ms = options->database.max_lag,
        .probe_ms = options->database.probe_interval,
        .keeps_positions = replicas->count > 0,
    });
}

/* Of redis.host and its like. With sentinels only database and TLS are taken from it. */
static void compose_url(const struct options *options, char *ret, size_t size)
{
    bool is_asked = options->redis.queue.sentinels.count > 0;
    const char *host = is_asked ? "sentinel" : options->redis.host;
    bool is_v6 = strchr(host, ':') && host[0] != '[';

    snprintf(ret, size, "redis%s://%s%s%s:%lld/%lld", options->redis.ssl ? "s" : "",
             is_v6 ? "[" : "", host, is_v6 ? "]" : "", (long long)options->redis.port,
             (long long)options->redis.db);
}

static struct redis_sentinel_choice sentinels_of(const struct options *options)
{
    return (struct redis_sentinel_choice){
        .places = (const char *const *)options->redis.queue.sentinels.items,
        .count = options->redis.queue.sentinels.count,
        .master = options->redis.queue.master,
        .user = options->redis.queue.sentinel_user,
        .password = options->redis.queue.sentinel_password,
        .tls = options->redis.queue.sentinel_ssl,
    };
}

static void set_default(const char *name, const char *value)
{
    if (*value)
        setenv(name, value, 1);
}

void connect_pg_defaults(const struct options *options)
{
    char name[256];

    set_default("PGSSLMODE", options->database.ssl_mode);
    set_default("PGSSLROOTCERT", options->database.ssl_root_cert);
    pg_server_name(options->database.url, name, sizeof(name));
    if (strchr(name, ',')) /* several hosts: the one that takes writes */
        setenv("PGTARGETSESSIONATTRS", "read-write", 1);
}

/* What any Redis of ours is spoken to with: TLS and times. */
static struct redis_options manners(const struct options *options,
                                    const struct connect_redis *how)
{
    return (struct redis_options){
        .allow_unverified_tls = options->redis.allow_unverified_ssl,
        .ca_file = options->redis.ssl_ca_file,
        .certificate = options->redis.ssl_certificate,
        .key = options->redis.ssl_key,
        .tls_name = options->redis.ssl_name,
        .connect_timeout_ms = options->redis.connect_timeout,
        .timeout_ms = how->timeout_ms,
        .breaker_ms = how->breaker_ms,
        .ping_after_ms = options->redis.ping_after,
        .client_name = how->name,
    };
}

/* Without a URL: whom the sentinels name, or redis.host. */
static struct redis *open_redis(const struct options *options, const char *url,
                                const struct connect_redis *how, uint32_t uses)
{
    struct redis_options how_to = manners(options, how);
    char composed[512];

    if (!*url) {
        compose_url(options, composed, sizeof(composed));
        how_to.sentinel = sentinels_of(options);
        url = composed;
    }
    how_to.url = url;
    how_to.user = options->redis.user;
    how_to.password = options->redis.password;
    how_to.needs_master = true;
    how_to.one_slot = uses == BOARD_REDIS_CACHE;
    how_to.slot = how->slot;
    how_to.uses = uses;
    return redis_new(&how_to);
}

const char *connect_queue_option(const struct options *options)
{
    if (*options->redis.url)
        return "redis.url";
    return options->redis.queue.sentinels.count > 0 ? "redis.queue.sentinels"
                                                    : "redis.host";
}

bool connect_names_redis(const struct options *options)
{
    return *options->redis.url || *options->redis.host ||
           options->redis.queue.sentinels.count > 0;
}

struct redis *connect_queue(const struct options *options,
                            const struct connect_redis *how)
{
    bool is_cache = !connect_has_own_cache(options);

    return open_redis(options, options->redis.url, how,
                      BOARD_REDIS_QUEUE | (is_cache ? BOARD_REDIS_CACHE : 0));
}

/* A cluster's nodes have a user and a password of their own. */
static struct redis *open_cluster(const struct options *options,
                                  const struct connect_redis *how)
{
    struct redis_options how_to = manners(options, how);

    how_to.cluster = (const char *const *)options->redis.cache.cluster.items;
    how_to.user = options->redis.cache.user;
    how_to.password = options->redis.cache.password;
    how_to.tls = options->redis.cache.ssl;
    how_to.read_replicas = options->redis.cache.read_replicas;
    how_to.slot = how->slot;
    return redis_new(&how_to);
}

bool connect_has_own_cache(const struct options *options)
{
    return *options->redis.cache_url || options->redis.cache.cluster.count > 0;
}

struct redis *connect_cache(const struct options *options,
                            const struct connect_redis *how)
{
    struct connect_redis unseen = *how;

    if (options->redis.cache.cluster.count > 0)
        return open_cluster(options, how);
    if (*options->redis.cache_url)
        return open_redis(options, options->redis.cache_url, how, BOARD_REDIS_CACHE);
    unseen.slot = NULL; /* one server is shown once */
    return open_redis(options, options->redis.url, &unseen, BOARD_REDIS_CACHE);
}
