/*
 * options.h - every option of forkmark as the program reads it.
 *
 * The rows that describe them (names, defaults, ranges, environment names,
 * help) are in options.c, in the same order. Times are milliseconds, sizes
 * bytes, unless a comment says otherwise. Read-only after loading.
 */
#ifndef FORKMARK_COMMON_OPTIONS_H
#define FORKMARK_COMMON_OPTIONS_H

#include "common/conf.h"
#include <stdbool.h>
#include <stdint.h>

enum environment { ENV_DEVELOPMENT, ENV_STAGING, ENV_PRODUCTION, ENV_TESTING };
enum services_mode { SERVICES_AUTO, SERVICES_YES, SERVICES_NO };

/* How a consumer goes through its queues for the next job. */
enum dequeue_strategy { DEQUEUE_DEFAULT, DEQUEUE_ROUND_ROBIN, DEQUEUE_RANDOM };

/* jobs.pools.<name> { consumers = 2; queues = [ "high", "default", "low" ]; } */
struct pool_options {
    char *name;
    struct conf_count consumers;
    struct conf_list queues; /* in order of priority */
    int strategy;            /* enum dequeue_strategy */
    bool burst;              /* consumers end when all queues are empty */
    int64_t max_jobs;        /* a consumer is replaced after so many; 0 = never */
    uint64_t max_idle_time;  /* and ends after so long without a job; 0 = never */
    char *user;              /* "" = the server's */
    char *group;             /* "" = the user's own */
    char *account_where;     /* where these two were given; "" = nowhere */
};

/* jobs.functions.<label> { name = "team.resize"; command = [ "/usr/bin/resize" ]; } */
struct function_options {
    char *label; /* its group's name in the file */
    char *name;  /* RQ's name of it; the label where none is given */
    struct conf_list aliases;
    struct conf_list command;         /* program and arguments */
    char *args;                       /* as in jobs/functions.h; "" = anything */
    uint64_t timeout;                 /* 0 = the job's own alone */
    int64_t retries;                  /* of jobs that forkmark enqueues */
    struct conf_list retry_intervals; /* times, as written */
    uint64_t kill_after;              /* from SIGTERM to SIGKILL */
    uint64_t output_limit;
    char *cwd;                    /* "" = the server's */
    struct conf_list environment; /* "NAME=value", or "NAME" to hand it on */
    char *where;                  /* of its first mention: "forkmark.conf:12" */
    int origin;                   /* enum conf_origin */
};

/* What becomes of a job whose function nobody here knows. */
enum unknown_job { UNKNOWN_FAIL, UNKNOWN_LEAVE };

/* jobs.queues.<name> { unknown = "leave"; } */
struct queue_options {
    char *name;
    int unknown; /* enum unknown_job */
};

/* jobs.cron.<name> { schedule = "30 3 * * *"; function = "..."; } */
struct cron_options {
    char *name;
    char *schedule, *zone; /* cron.h's expression; "Europe/Berlin" */
    char *function, *queue;
    char *args, *kwargs;              /* JSON: an array, an object */
    int64_t timeout;                  /* seconds; 0 = jobs.default_timeout */
    int64_t result_ttl, failure_ttl;  /* seconds; -2 = jobs.result_ttl, .failure_ttl */
    int64_t retries;                  /* -1 = the function's own */
    struct conf_list retry_intervals; /* seconds */
    uint64_t catch_up;                /* how late a missed time is made up for */
    bool at_front, enabled;
    char *where;   /* of its first mention: "forkmark.conf:12" */
    int origin;    /* enum conf_origin */
    bool is_wrong; /* one of its fields was complained of */
};

struct options {
    struct {
        struct conf_count workers;   /* HTTP workers. WEB_CONCURRENCY */
        struct conf_list bind;       /* "0.0.0.0:7860", "[::]:7860", "unix:/path" */
        int64_t port;                /* PORT; used where bind names none */
        int64_t backlog;             /* 1024 */
        int64_t worker_connections;  /* 1000 per worker */
        uint64_t connection_memory;  /* 16 KiB: libmicrohttpd's per connection */
        uint64_t keepalive;          /* 5 s, idle connections */
        uint64_t request_timeout;    /* 30 s: a request's deadline */
        uint64_t header_timeout;     /* 10 s to send the head */
        uint64_t body_timeout;       /* 30 s to send the body */
        uint64_t timeout;            /* 30 s: a worker silent so long is killed */
        uint64_t graceful_timeout;   /* 30 s */
        uint64_t drain_delay;        /* 0 */
        int64_t max_requests;        /* a worker is replaced after so many; 0: never */
        int64_t max_requests_jitter; /* up to so many more */
        uint64_t max_rss;    /* a worker with more memory is replaced; 0: none is */
        uint64_t body_limit; /* 1 MiB */
        char *user,
            *group;     /* dropped to when started as root; "" = nobody-like default */
        char *pid_file; /* "" = none */
        char *control;  /* control socket; "" = in the data or run folder */
        struct conf_list forwarded_allow_ips;
        bool proxy_protocol; /* PROXY headers, versions 1 and 2 */
        struct conf_list proxy_allow_ips;
        char *tls_certificate, *tls_key; /* files; "" = no TLS; key "" = the same file */
        char *tls_certificate_text, *tls_key_text; /* what the master read there */
        int64_t limit_request_line;                /* bytes; 0 = none */
        int64_t limit_request_fields;
        int64_t limit_request_field_size; /* bytes; 0 = none */
        int64_t trusted_proxies;          /* TRUSTED_PROXIES: most hops; -1 = no cap */
        char *static_dir;                 /* STATIC_DIR; "" = the built-in page */
        char *app_version;                /* APP_VERSION */
        int environment;                  /* enum environment. ENVIRONMENT */
    } server;
    struct {
        char *path;          /* a place of log_sink.h; "-" = standard error */
        int level;           /* enum log_level. LOG_LEVEL */
        int format;          /* enum log_format */
        bool access;         /* one line per request */
        char *access_path;   /* "" = path */
        char *access_format; /* access_format.h; "" = as `format` says */
        int syslog_facility; /* index in log_facility_words */
        char *sentry_dsn;    /* SENTRY_DSN; not yet used */
    } log;
    struct {
        char *secret_key;          /* SECRET_KEY */
        char *jwt_secret;          /* JWT_SECRET_KEY */
        uint64_t access_lifetime;  /* JWT_ACCESS_TOKEN_EXPIRES_HOURS, 1 h */
        uint64_t refresh_lifetime; /* JWT_REFRESH_TOKEN_EXPIRES_DAYS, 30 d */
        int64_t password_min;      /* 8 */
        int64_t max_attempts;      /* 5 */
        uint64_t lockout;          /* 15 min */
        int64_t bcrypt_rounds;     /* 12 */
        char *revocation_secret;
        bool revocation_fail_open;
    } auth;
    struct {
        struct conf_list origins; /* CORS_ORIGINS */
        uint64_t max_age;         /* CORS_MAX_AGE */
    } cors;
    struct {
        bool enabled; /* RATELIMIT_ENABLED */
        /* "5/15m", several joined by commas, "" = the environment's default, or "none" */
        char *standard, *login, *register_, *check_username, *bulk_check, *search,
            *extract;
    } limits;
    struct {
        char *url; /* DATABASE_URL; "" = embedded. A secret: it holds the password */
        char *pooler_url;          /* DATABASE_POOLER_URL */
        char *migrate_url;         /* "" = url */
        char *pool_mode;           /* DATABASE_POOL_MODE: "session" or "transaction" */
        char *ssl_mode;            /* DB_SSL_MODE */
        char *ssl_root_cert;       /* "" = libpq's own */
        struct conf_list replicas; /* DATABASE_REPLICAS; secrets, as url */
        uint64_t max_lag;          /* a replica further behind is not read from, 10 s */
        uint64_t probe_interval;   /* how often each server is asked, 250 ms */
        bool prepared;             /* false for transaction poolers */
        int64_t pool_size, max_overflow; /* per HTTP worker: 5, 10 */
        int64_t pipelines;               /* of pool_size */
        uint64_t pool_timeout;           /* 20 s: wait for a connection */
        uint64_t pool_recycle;           /* 300 s */
        uint64_t connect_timeout;        /* 30 s */
        uint64_t statement_timeout;      /* 30 s */
        uint64_t ping_after;             /* idle so long: ping before use, 30 s */
    } database;
    struct {
        char *url;  /* REDIS_URL; "" = host; both empty = embedded */
        char *host; /* REDIS_HOST */
        int64_t port, db;
        char *user, *password;
        bool ssl, allow_unverified_ssl;
        char *ssl_ca_file, *ssl_certificate, *ssl_key, *ssl_name;
        struct {
            struct conf_list sentinels; /* none: no Sentinel */
            char *master, *sentinel_user, *sentinel_password;
            bool sentinel_ssl;
        } queue;
        char *cache_url; /* "" = the queue's Redis */
        struct {
            struct conf_list cluster; /* REDIS_CACHE_CLUSTER; empty = no cluster */
            char *user, *password;
            bool ssl, read_replicas;
        } cache;
        char *prefix;             /* of our own keys, "fm:" */
        uint64_t connect_timeout; /* 2 s */
        uint64_t timeout;         /* 500 ms: one command of a request */
        uint64_t breaker;         /* 1 s: after a deadline, skip Redis this long */
        uint64_t ping_after;      /* 5 s: idle connections are pinged */
    } redis;
    struct {
        struct pool_options *pools; /* jobs.pools; at least one unless workers only */
        size_t pool_count;
        struct function_options *functions; /* jobs.functions: commands as jobs */
        size_t function_count;
        uint64_t functions_id; /* of this loading; none other has it */
        struct cron_options *cron;
        size_t cron_count;
        struct queue_options *queues; /* jobs.queues: those that are configured */
        size_t queue_count;
        int64_t default_timeout; /* 180 s, as a number of seconds, as RQ stores it */
        int64_t result_ttl;      /* 500 s */
        int64_t failure_ttl;     /* 31536000 s */
        uint64_t heartbeat;      /* 30 s */
        uint64_t kill_grace;     /* 5 s past a job's timeout */
        uint64_t max_rss;        /* a consumer with more memory is replaced; 0: none is */
        int64_t max_deliveries;  /* 3 */
        bool redeliver;          /* true */
        bool test_functions;     /* forkmark.test.* */
        bool scheduler;          /* run one here */
        uint64_t outbox_age;     /* push outbox rows older than this, 10 s */
        uint64_t sweep_age;      /* 15 min */
        int serializer;          /* enum payload_format of new jobs */
        uint64_t payload_limit;  /* 16 MiB, inflated */
    } jobs;
    struct {
        bool allow_private;    /* FETCH_ALLOW_PRIVATE */
        char *per_host;        /* FETCH_PER_HOST: "5/10" */
        uint64_t timeout;      /* 8 s */
        uint64_t max_bytes;    /* 5 MiB */
        int64_t max_redirects; /* 5 */
        char *user_agent;
    } fetch;
    struct {
        int mode;           /* enum services_mode. FORKMARK_SERVICES */
        char *data;         /* FORKMARK_DATA, "./data" */
        char *pg_bin;       /* folder of postgres and initdb; "" = found */
        char *redis_server; /* "" = found */
    } services;
    struct {
        bool enabled;       /* METRICS_ENABLED */
        char *auth_token;   /* METRICS_AUTH_TOKEN */
        char *prefix;       /* METRICS_PREFIX */
        char *health_token; /* INTERNAL_HEALTH_TOKEN */
    } metrics;

    struct {
        uint64_t window; /* 10 s: what is measured before a decision */
        int64_t busy;    /* 70 %: more, and one more is started */
        uint64_t calm;   /* 60 s: so long fewer must do */
        int64_t waiting; /* 10 jobs for each consumer */
        uint64_t age;    /* 30 s: a job that waits longer wants one more */
    } autoscale;
    struct {
        bool enabled; /* answers cached in Redis; off for measurements */
        bool warm_on_login;
        uint64_t warm_recommendations, warm_bookmarks, warm_projects;
    } cache;
    struct {
        bool enabled; /* ENABLE_GEMINI */
        char *api_key, *model, *fallback_model;
        char *temperature; /* a decimal number, passed on as it is */
        int64_t max_tokens;
        uint64_t timeout;
    } ai; /* GEMINI_*: read so that a deployment's environment is understood */
    struct {
        char *url, *anon_key, *service_key;
    } supabase; /* SUPABASE_* */

    struct {
        bool async_embeddings, search_use_rpc, two_stage, disable_embeddings;
        uint64_t cache_ttl;
    } features; /* Fuze's flags: read, and none has an effect yet */

    struct conf_state *state; /* origins; conf.c's own */
};

static inline bool options_is_development(const struct options *options)
{
    return options->server.environment == ENV_DEVELOPMENT;
}

#endif
