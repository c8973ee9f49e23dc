/*
 * test_redis_pubsub.c - subscriptions against a real server: delivery, leaving
 * inside a callback, reconnects and the gaps they make.
 */
#include "common/clock.h"
#include "common/log.h"
#include "common/redis.h"
#include "common/task.h"
#include "tests/unit/redis_server.h"
#include "tests/unit/testing.h"

static struct redis_server server;
static struct redis *redis;

struct listener {
    struct redis_subscription *subscription;
    int messages, gaps;
    char last[64];
    struct listener *leaves; /* on its first message, this one unsubscribes */
};

static void hear(void *arg, const char *channel, const char *data, size_t length)
{
    struct listener *listener = arg;

    assert_null(task_self());
    listener->messages++;
    snprintf(listener->last, sizeof(listener->last), "%s=%.*s", channel, (int)length,
             data);
    if (listener->leaves) {
        redis_unsubscribe(listener->leaves->subscription);
        listener->leaves->subscription = NULL;
        listener->leaves = NULL;
    }
}

static void miss(void *arg)
{
    struct listener *listener = arg;

    assert_null(task_self());
    listener->gaps++;
}

static void join(struct listener *listener, const char *channel)
{
    listener->subscription = redis_subscribe(redis, channel, hear, miss, listener);
}

static void clean_up(void *arg, enum task_outcome outcome)
{
    (void)arg;
    assert_int_equal(outcome, TASK_DONE);
    redis_free(redis);
}

static void run_task(void (*run)(void *arg))
{
    task_runtime_init();
    redis = redis_new(&(struct redis_options){ .url = server.url,
                                               .connect_timeout_ms = 2000,
                                               .timeout_ms = 1000,
                                               .breaker_ms = 100,
                                               .client_name = "listener" });
    task_spawn(&(struct task_spec){ .name = "test", .run = run, .on_end = clean_up });
    task_run_loop();
    task_runtime_done();
}

/* How many the server says it reached. */
static long long publish(const char *channel, const char *data)
{
    redisReply *reply;

    assert_int_equal(redis_call(redis, &reply, "PUBLISH %s %s", channel, data), 0);
    return reply->integer;
}

static void wait_until(const int *what, int value)
{
    uint64_t give_up = clock_ms() + 5000;

    while (*what != value) {
        if (clock_ms() > give_up)
            fail_msg("waited in vain for %d, it is %d", value, *what);
        task_sleep(5);
    }
}

static void wait_for_subscribers(const char *channel, long long count)
{
    uint64_t give_up = clock_ms() + 5000;
    redisReply *reply;

    for (;;) {
        assert_int_equal(redis_call(redis, &reply, "PUBSUB NUMSUB %s", channel), 0);
        if (reply->element[1]->integer == count)
            return;
        assert_true(clock_ms() < give_up);
        task_sleep(5);
    }
}

static void hear_all(void *arg)
{
    struct listener a = { 0 }, b = { 0 }, c = { 0 };

    (void)arg;
    join(&a, "one");
    wait_until(&a.gaps, 1); /* the connection came later than the subscription */
    join(&b, "one");
    join(&c, "two");
    wait_for_subscribers("two", 1);
    assert_int_equal(publish("one", "x"), 1);
    assert_int_equal(publish("two", "y"), 1);
    wait_until(&c.messages, 1);
    assert_string_equal(a.last, "one=x");
    assert_string_equal(b.last, "one=x");
    assert_string_equal(c.last, "two=y");
    redis_unsubscribe(a.subscription);
    assert_int_equal(publish("one", "z"), 1);
    wait_until(&b.messages, 2);
    assert_int_equal(a.messages, 1);
    redis_unsubscribe(b.subscription);
    wait_for_subscribers("one", 0);
    assert_int_equal(b.gaps + c.gaps, 0);
    /* Once more, after nobody was left. */
    join(&a, "one");
    wait_for_subscribers("one", 1);
    publish("one", "again");
    wait_until(&a.messages, 2);
}

static void messages_reach_their_subscribers(void **state)
{
    (void)state;
    run_task(hear_all);
}

static void leave_inside(void *arg)
{
    struct listener a = { 0 }, b = { 0 }, c = { 0 };

    (void)arg;
    join(&a, "c");
    join(&b, "c");
    join(&c, "c");
    /* The newest is called first: c ends b before b's turn, a ends itself. */
    c.leaves = &b;
    a.leaves = &a;
    wait_until(&a.gaps, 1);
    publish("c", "1");
    publish("c", "2");
    wait_until(&c.messages, 2);
    assert_int_equal(b.messages, 0);
    assert_int_equal(a.messages, 1);
    c.leaves = &c;
    publish("c", "3");
    wait_until(&c.messages, 3);
    wait_for_subscribers("c", 0);
}

static void one_may_leave_in_a_callback(void **state)
{
    (void)state;
    run_task(leave_inside);
}

#define CHANNELS 1200 /* more than one SUBSCRIBE takes */

static void lose_connection(void *arg)
{
    static struct listener listeners[CHANNELS];
    char name[32];

    (void)arg;
    memset(listeners, 0, sizeof(listeners));
    for (int i = 0; i < CHANNELS; i++) {
        snprintf(name, sizeof(name), "ch%d", i);
        join(&listeners[i], name);
    }
    for (int i = 0; i < CHANNELS; i++)
        wait_until(&listeners[i].gaps, 1);
    assert_int_equal(redis_call(redis, NULL, "CLIENT KILL TYPE pubsub"), 0);
    for (int i = 0; i < CHANNELS; i++)
        wait_until(&listeners[i].gaps, 2);
    for (int i = 0; i < CHANNELS; i++) {
        snprintf(name, sizeof(name), "ch%d", i);
        assert_int_equal(publish(name, "back"), 1);
    }
    for (int i = 0; i < CHANNELS; i++)
        wait_until(&listeners[i].messages, 1);
}

static void subscriptions_survive_a_reconnect(void **state)
{
    (void)state;
    run_task(lose_connection);
}

static void lose_server(void *arg)
{
    struct listener a = { 0 };

    (void)arg;
    join(&a, "one");
    wait_until(&a.gaps, 1);
    redis_server_stop(&server);
    task_sleep(200);
    redis_server_start(&server, NULL);
    wait_until(&a.gaps, 2);
    assert_int_equal(publish("one", "x"), 1);
    wait_until(&a.messages, 1);
}

static void subscriptions_survive_a_restart(void **state)
{
    (void)state;
    run_task(lose_server);
}

static void meet_silent_server(void *arg)
{
    struct listener a = { 0 };
    uint64_t before;

    (void)arg;
    join(&a, "one");
    wait_until(&a.gaps, 1);
    kill(server.pid, SIGSTOP);
    before = clock_ms();
    /* Asked after 5 s of silence, given up 5 s later: then the connection is new. */
    task_sleep(11000);
    kill(server.pid, SIGCONT);
    wait_until(&a.gaps, 2);
    assert_true(clock_ms() - before < 14000);
}

static void a_silent_server_is_noticed(void **state)
{
    (void)state;
    run_task(meet_silent_server);
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
        cmocka_unit_test(messages_reach_their_subscribers),
        cmocka_unit_test(one_may_leave_in_a_callback),
        cmocka_unit_test(subscriptions_survive_a_reconnect),
        cmocka_unit_test(subscriptions_survive_a_restart),
        cmocka_unit_test(a_silent_server_is_noticed),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
