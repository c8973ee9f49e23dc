/*
 * test_cache.c - generations against a real Redis: hits, misses, writes in between.
 */
#include "common/cache.h"
#include "common/log.h"
#include "common/task.h"
#include "tests/unit/redis_server.h"
#include "tests/unit/testing.h"

static struct redis_server server;
static struct redis *redis;
static struct cache *cache;

static void clean_up(void *arg, enum task_outcome outcome)
{
    (void)arg;
    assert_int_equal(outcome, TASK_DONE);
    cache_free(cache);
    redis_free(redis);
}

static void run_task(void (*run)(void *arg))
{
    task_runtime_init();
    redis = redis_new(&(struct redis_options){ .url = server.url,
                                               .connect_timeout_ms = 2000,
                                               .timeout_ms = 1000,
                                               .breaker_ms = 200 });
    cache = cache_new(redis, "t:");
    task_spawn(&(struct task_spec){ .name = "test", .run = run, .on_end = clean_up });
    task_run_loop();
    task_runtime_done();
}

static void put_and_get(void *arg)
{
    size_t length = 0;
    redisReply *reply;

    (void)arg;
    const char *generation = cache_generation(cache, 7);
    assert_non_null(generation);
    assert_int_equal(strlen(generation), 16);
    assert_string_equal(cache_generation(cache, 7), generation);
    assert_null(cache_get(cache, 7, generation, "list:1", &length));
    cache_put(cache, 7, generation, "list:1", "a\0b", 3, 60);
    const char *entry = cache_get(cache, 7, generation, "list:1", &length);
    assert_int_equal(length, 3);
    assert_memory_equal(entry, "a\0b", 3);
    assert_null(cache_get(cache, 7, generation, "list:2", &length));
    assert_null(cache_get(cache, 8, generation, "list:1", &length));
    assert_int_equal(redis_call(redis, &reply, "KEYS *"), 0);
    assert_int_equal(reply->elements, 2);
    assert_int_equal(redis_call(redis, &reply, "TTL t:{u7}:%s:list:1", generation), 0);
    assert_in_range(reply->integer, 58, 60);
}

static void what_is_put_is_got(void **state)
{
    (void)state;
    run_task(put_and_get);
}

static void write_in_between(void *arg)
{
    size_t length;

    (void)arg;
    const char *before = cache_generation(cache, 9);
    cache_put(cache, 9, before, "x", "old", 3, 60);
    cache_invalidate(cache, 9, 0);
    const char *after = cache_generation(cache, 9);
    assert_true(strcmp(after, before) > 0);
    assert_null(cache_get(cache, 9, after, "x", &length));
    /* One who read the data before the write and stores it now reaches nobody. */
    cache_put(cache, 9, before, "x", "old", 3, 60);
    assert_null(cache_get(cache, 9, after, "x", &length));
    /* The generation was evicted: nothing old comes back to life. */
    assert_int_equal(redis_call(redis, NULL, "DEL t:{u9}:gen"), 0);
    assert_true(strcmp(cache_generation(cache, 9), after) > 0);
}

static void a_write_puts_the_old_out_of_reach(void **state)
{
    (void)state;
    run_task(write_in_between);
}

static void put_and_miss(void *arg)
{
    size_t length;
    redisReply *reply;

    (void)arg;
    const char *before = cache_generation(cache, 11);
    cache_put(cache, 11, before, "x", "old", 3, 60);
    cache_disable(cache);
    assert_null(cache_get(cache, 11, before, "x", &length));
    cache_put(cache, 11, before, "y", "new", 3, 60);
    assert_int_equal(redis_call(redis, &reply, "EXISTS t:{u11}:%s:y", before), 0);
    assert_int_equal(reply->integer, 0);
    /* Others may still use theirs: a write of ours counts for them. */
    cache_invalidate(cache, 11, 0);
    assert_true(strcmp(cache_generation(cache, 11), before) > 0);
}

static void a_disabled_cache_neither_gives_nor_takes(void **state)
{
    (void)state;
    run_task(put_and_miss);
}

static const char *generation_key(int32_t user_id)
{
    redisReply *reply;

    assert_int_equal(redis_call(redis, &reply, "GET t:{u%d}:gen", user_id), 0);
    return reply->str;
}

/* One that is full refuses to write at once, and nothing of it happens later. */
static void write_while_full(void *arg)
{
    size_t length;

    (void)arg;
    const char *before = cache_generation(cache, 13);
    cache_put(cache, 13, before, "x", "old", 3, 60);
    assert_int_equal(redis_call(redis, NULL, "CONFIG SET maxmemory 1"), 0);
    cache_invalidate(cache, 13, 500);
    cache_invalidate(cache, 13, 400);
    cache_invalidate(cache, 14, 0);
    task_sleep(300); /* tried again in vain meanwhile */
    assert_string_equal(generation_key(13), before);
    assert_int_equal(redis_call(redis, NULL, "CONFIG SET maxmemory 0"), 0);
    for (int i = 0; i < 200 && strcmp(generation_key(13), before) == 0; i++)
        task_sleep(50);
    const char *after = cache_generation(cache, 13);
    assert_true(strcmp(after, before) > 0);
    assert_string_equal(generation_key(13) + 16, " 500");
    assert_null(cache_get(cache, 13, after, "x", &length));
    task_sleep(500); /* it is told once */
    assert_string_equal(cache_generation(cache, 13), after);
    assert_non_null(generation_key(14));
}

static void what_redis_missed_it_is_told_later(void **state)
{
    (void)state;
    run_task(write_while_full);
}

static void live_without(void *arg)
{
    size_t length;

    (void)arg;
    redis_server_stop(&server);
    const char *generation = cache_generation(cache, 7);
    assert_null(generation);
    assert_null(cache_get(cache, 7, generation, "x", &length));
    assert_null(cache_get(cache, 7, "1", "x", &length));
    cache_put(cache, 7, "1", "x", "y", 1, 60);
    cache_invalidate(cache, 7, 0);
}

static void without_redis_everything_is_a_miss(void **state)
{
    (void)state;
    run_task(live_without);
}

static int start(void **state)
{
    (void)state;
    log_set_level(LOGL_ERROR);
    redis_server_start(&server, NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    redis_server_remove(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_is_got),
        cmocka_unit_test(a_write_puts_the_old_out_of_reach),
        cmocka_unit_test(a_disabled_cache_neither_gives_nor_takes),
        cmocka_unit_test(what_redis_missed_it_is_told_later),
        cmocka_unit_test(without_redis_everything_is_a_miss),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
