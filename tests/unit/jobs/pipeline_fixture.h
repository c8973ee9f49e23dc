/*
 * pipeline_fixture.h - job functions against a real PostgreSQL, Redis and web server.
 *
 * A check is a function that runs inside a task, with the services of a consumer.
 * What the events' channel carried is kept in `heard`.
 */
#ifndef FORKMARK_TESTS_UNIT_PIPELINE_FIXTURE_H
#define FORKMARK_TESTS_UNIT_PIPELINE_FIXTURE_H

#include "common/arena.h"
#include "common/buf.h"
#include "common/cache.h"
#include "common/json.h"
#include "common/log.h"
#include "common/pg.h"
#include "common/redis.h"
#include "common/task.h"
#include "jobs/events.h"
#include "jobs/fetch/fetch.h"
#include "jobs/functions.h"
#include "tests/unit/jobs/fetch/web_server.h"
#include "tests/unit/private_postgres.h"
#include "tests/unit/redis_server.h"
#include "tests/unit/testing.h"

static struct private_postgres postgres;
static struct redis_server redis_process;
static struct web_server web;

static char no_limit[] = "none", prefix[] = "fm:", agent[] = "test";
static struct options options = {
    .redis.prefix = prefix,
    .fetch = { .allow_private = true,
               .per_host = no_limit,
               .timeout = 3000,
               .max_bytes = (uint64_t)5 << 20,
               .max_redirects = 5,
               .user_agent = agent },
};
static struct job_services services = { .options = &options };
static struct buf heard;

#define ASK(...) \
    postgres_ask(&postgres, "postgres", arena_printf(task_arena(), __VA_ARGS__))

static inline void fixture_schema(void)
{
    static const char path[] = TEST_DATA "/../sql/migrations/0001_schema.sql";
    struct buf text = BUF_HEAP;
    char block[8192];
    size_t got;

    FILE *file = fopen(path, "r");
    postgres_must(file != NULL, path);
    while ((got = fread(block, 1, sizeof(block), file)) > 0)
        buf_add(&text, block, got);
    fclose(file);
    postgres_ask(&postgres, "postgres", text.data);
    buf_done(&text);
    postgres_ask(&postgres, "postgres",
                 "INSERT INTO users (username, email, password_hash) "
                 "VALUES ('one', 'one@example.org', ''), ('two', 'two@example.org', '')");
}

static inline int fixture_open(void **state)
{
    (void)state;
    log_set_level(LOGL_ERROR);
    web_server_start(&web);
    redis_server_start(&redis_process, NULL);
    postgres_open(&postgres);
    fixture_schema();
    return 0;
}

static inline int fixture_close(void **state)
{
    (void)state;
    postgres_close(&postgres);
    redis_server_remove(&redis_process);
    web_server_stop(&web);
    return 0;
}

static inline void fixture_hear(void *arg, const char *channel, const char *data,
                                size_t length)
{
    (void)arg;
    (void)channel;
    buf_add(&heard, data, length);
    buf_addc(&heard, '\x1e');
}

struct check {
    void (*run)(void);
};

static inline void fixture_run(void *arg)
{
    redis_call(services.redis, NULL, "FLUSHALL");
    redis_subscribe(services.redis, EVENTS_CHANNEL, fixture_hear, NULL, NULL);
    task_sleep(50); /* the subscription is a connection of its own */
    ASK("DELETE FROM saved_content");
    ((struct check *)arg)->run();
    task_sleep(20);
}

static inline void fixture_end(void *arg, enum task_outcome outcome)
{
    (void)arg;
    assert_int_equal(outcome, TASK_DONE);
    fetcher_free(services.fetcher);
    cache_free(services.cache);
    pg_free(services.pg);
    redis_free(services.redis);
}

static inline void fixture_check(void **state)
{
    task_runtime_init();
    json_init();
    services.pg = pg_new(&(struct pg_options){ .url = postgres.url,
                                               .ssl_mode = "",
                                               .size = 1,
                                               .overflow = 1,
                                               .prepared = true,
                                               .acquire_timeout_ms = 1000,
                                               .recycle_ms = 300000,
                                               .connect_timeout_ms = 1000,
                                               .statement_timeout_ms = 10000,
                                               .ping_after_ms = 30000,
                                               .application_name = "test" });
    services.redis = redis_new(&(struct redis_options){
        .url = redis_process.url, .connect_timeout_ms = 1000, .timeout_ms = 1000 });
    services.cache_redis = services.redis;
    services.cache = cache_new(services.redis, prefix);
    services.fetcher = fetcher_new(&options);
    task_spawn(&(struct task_spec){
        .name = "check", .run = fixture_run, .arg = *state, .on_end = fixture_end });
    task_run_loop();
    task_runtime_done();
    buf_done(&heard);
}

/* One row a check. */
#define CHECK(name)                                       \
    {                                                     \
#name, fixture_check, NULL, NULL, &(struct check) \
        {                                                 \
            .run = name                                   \
        }                                                 \
    }

/* ---- what checks do ---- */

/* A bookmark of user 1, as a save leaves it, with its outbox row. */
static inline int32_t add_bookmark(const char *path, const char *title)
{
    const char *url = path[0] == '/' ? arena_printf(task_arena(), "http://127.0.0.1:%d%s",
                                                    web.port, path)
                                     : path;
    int id =
        atoi(ASK("INSERT INTO saved_content (user_id, url, url_norm, page_key, title, "
                 "quality_score) VALUES (1, '%s', '%s', '%s', '%s', 0) RETURNING id",
                 url, url, url, title));

    ASK("INSERT INTO outbox (job_id, user_id, bookmark_id, url, queue) "
        "VALUES ('job-%d', 1, %d, '%s', 'default')",
        id, id, url);
    return id;
}

/* A row per bookmark: what one column holds. */
#define COLUMN(id, column) ASK("SELECT %s FROM saved_content WHERE id = %d", column, id)
/* "1 scraping.started,2 scraping.completed": what is stored, in order. */
#define EVENTS(id)                                                                 \
    ASK("SELECT string_agg(sequence || ' ' || substr(type, 19), ',' ORDER BY id) " \
        "FROM bookmark_events WHERE bookmark_id = %d",                             \
        id)
#define RUNS(id)                                                                         \
    ASK("SELECT count(DISTINCT pipeline_run_id) FROM bookmark_events WHERE bookmark_id " \
        "= %d",                                                                          \
        id)

static inline long long queued(void)
{
    redisReply *reply;

    assert_int_equal(redis_call(services.redis, &reply, "LLEN rq:queue:default"), 0);
    return reply->integer;
}

/* Runs J1 or J3 as a consumer would, with its arguments by keyword. */
/* The one the outbox owes; else one that nobody has heard of. */
static inline const char *owed_job(const char *name, int32_t bookmark_id)
{
    static int count;
    const char *id = ASK(
        "SELECT coalesce((SELECT job_id FROM outbox WHERE bookmark_id = %d "
        "AND (job_id LIKE 'job-%%') = %s), 'other-%d')",
        bookmark_id, strcmp(name, JOB_PROCESS_BOOKMARK) == 0 ? "true" : "false", ++count);

    return id;
}

static inline enum job_outcome run_job(const char *name, int32_t bookmark_id,
                                       bool is_last, struct job_run *ret)
{
    struct arena *arena = task_arena();
    struct value *kwargs = value_container(arena, VALUE_DICT);
    const char *url =
        ASK("SELECT coalesce((SELECT url FROM saved_content WHERE id = %d), "
            "'http://127.0.0.1/')",
            bookmark_id);

    value_put(arena, kwargs, "bookmark_id", value_int(arena, bookmark_id));
    if (strcmp(name, JOB_PROCESS_BOOKMARK) == 0)
        value_put(arena, kwargs, "url",
                  value_text(arena, arena_strdup(arena, url), strlen(url)));
    value_put(arena, kwargs, "user_id", value_int(arena, 1));
    *ret = (struct job_run){
        .services = &services,
        .function = job_function_find(&options, name),
        .arena = arena,
        .id = arena_strdup(arena, owed_job(name, bookmark_id)),
        .call = { .name = name,
                  .args = value_container(arena, VALUE_TUPLE),
                  .kwargs = kwargs },
        .is_last_attempt = is_last,
        .retries_left = is_last ? 0 : 2,
    };
    assert_true(job_args_check(ret, ret->function));
    return ret->function->run(ret);
}

#endif
