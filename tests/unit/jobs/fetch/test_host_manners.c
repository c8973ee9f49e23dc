/* How often a host may be asked, counted in a real Redis. */
#include "jobs/fetch/fetch.h"

#include "common/task.h"
#include "tests/unit/redis_server.h"
#include "tests/unit/testing.h"

static struct redis_server server;
static struct redis *redis;
static char per_host[16] = "5/10", prefix[] = "fm:";
static struct options options = { .fetch.per_host = per_host, .redis.prefix = prefix };

#define URL "http://Example.org/a"

static void fresh_redis(void)
{
    assert_int_equal(redis_call(redis, NULL, "FLUSHALL"), 0);
}

static void admits_five_in_ten_seconds(void)
{
    fresh_redis();
    for (int i = 0; i < 5; i++)
        assert_int_equal(fetch_host_delay(redis, &options, URL), 0);
    /* The sixth to tenth come with the next window, those after with the one after. */
    for (int i = 0; i < 5; i++)
        assert_in_range(fetch_host_delay(redis, &options, "https://example.ORG:8443/b"),
                        8, 10);
    assert_in_range(fetch_host_delay(redis, &options, URL), 18, 20);
    assert_int_equal(fetch_host_delay(redis, &options, "http://other.example/"), 0);
}

static void never_puts_off_for_long(void)
{
    int delay = 0;

    fresh_redis();
    for (int i = 0; i < 300; i++)
        delay = fetch_host_delay(redis, &options, URL);
    assert_int_equal(delay, 300);
}

static void slides_its_window(void)
{
    fresh_redis();
    snprintf(per_host, sizeof(per_host), "2/1");
    assert_int_equal(fetch_host_delay(redis, &options, URL), 0);
    task_sleep(600);
    assert_int_equal(fetch_host_delay(redis, &options, URL), 0);
    assert_int_equal(fetch_host_delay(redis, &options, URL), 1);
    task_sleep(500); /* the first has left the window, the second has not */
    assert_int_equal(fetch_host_delay(redis, &options, URL), 0);
    assert_int_equal(fetch_host_delay(redis, &options, URL), 1);
    snprintf(per_host, sizeof(per_host), "5/10");
}

static void closes_a_failing_host(void)
{
    fresh_redis();
    for (int i = 0; i < 4; i++)
        fetch_host_report(redis, &options, URL, true);
    assert_int_equal(fetch_host_delay(redis, &options, URL), 0);
    fetch_host_report(redis, &options, URL, true);
    assert_in_range(fetch_host_delay(redis, &options, URL), 299, 300);
    assert_int_equal(fetch_host_delay(redis, &options, "http://other.example/"), 0);
}

static void forgives_after_a_success(void)
{
    fresh_redis();
    for (int i = 0; i < 4; i++)
        fetch_host_report(redis, &options, URL, true);
    fetch_host_report(redis, &options, URL, false);
    for (int i = 0; i < 4; i++)
        fetch_host_report(redis, &options, URL, true);
    assert_int_equal(fetch_host_delay(redis, &options, URL), 0);
}

static void takes_odd_settings(void)
{
    static const char *const unlimited[] = {
        "", "none", "0/10", "5", "5/0", "5/x", "x/5"
    };

    fresh_redis();
    for (size_t i = 0; i < sizeof(unlimited) / sizeof(unlimited[0]); i++) {
        snprintf(per_host, sizeof(per_host), "%s", unlimited[i]);
        for (int k = 0; k < 20; k++)
            assert_int_equal(fetch_host_delay(redis, &options, URL), 0);
    }
    snprintf(per_host, sizeof(per_host), "5/10");
    assert_int_equal(fetch_host_delay(redis, &options, "no url at all"), 0);
}

static void goes_on_without_redis(void)
{
    redis_server_stop(&server);
    for (int i = 0; i < 10; i++)
        assert_int_equal(fetch_host_delay(redis, &options, URL), 0);
    fetch_host_report(redis, &options, URL, true);
}

struct check {
    void (*run)(void);
};

static void run_check(void *arg)
{
    ((struct check *)arg)->run();
}

static void free_redis(void *arg, enum task_outcome outcome)
{
    (void)arg;
    assert_int_equal(outcome, TASK_DONE);
    redis_free(redis);
}

static void check(void **state)
{
    task_runtime_init();
    redis = redis_new(&(struct redis_options){ .url = server.url,
                                               .connect_timeout_ms = 1000,
                                               .timeout_ms = 1000,
                                               .breaker_ms = 5000 });
    task_spawn(&(struct task_spec){
        .name = "check", .run = run_check, .arg = *state, .on_end = free_redis });
    task_run_loop();
    task_runtime_done();
}

static int start(void **state)
{
    (void)state;
    redis_server_start(&server, NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    redis_server_remove(&server);
    return 0;
}

/* One row a check: it runs inside a task, with a Redis client of its own. */
#define CHECK(name)                               \
    {                                             \
#name, check, NULL, NULL, &(struct check) \
        {                                         \
            .run = name                           \
        }                                         \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(admits_five_in_ten_seconds), CHECK(never_puts_off_for_long),
        CHECK(slides_its_window),          CHECK(closes_a_failing_host),
        CHECK(forgives_after_a_success),   CHECK(takes_odd_settings),
        CHECK(goes_on_without_redis),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
