/*
 * test_redis_cluster.c - the cluster client against two real nodes: slots are found and
 * found again, MOVED and ASK followed, a lost node stops only those whose keys it has.
 */
#include "common/arena.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/redis.h"
#include "common/redis_slot.h"
#include "common/scoreboard.h"
#include "common/task.h"
#include "tests/unit/redis_server.h"
#include "tests/unit/testing.h"

#define HALF 8192 /* the first slot of the second node */

static struct redis_server servers[2];
static redisContext *admin[2];
static int ports[2];
static char seeds[2][32];
static struct redis *redis;
static struct board_slot *slot;

/* ---- the cluster ---- */

static void start_node(int i)
{
    char port[8];

    snprintf(port, sizeof(port), "%d", ports[i]);
    const char *args[] = { "--port",
                           port,
                           "--cluster-enabled",
                           "yes",
                           "--cluster-node-timeout",
                           "1000",
                           "--bind",
                           "127.0.0.1",
                           "--cluster-require-full-coverage",
                           "no",
                           "--save",
                           "",
                           NULL };
    redis_server_start(&servers[i], args);
    if (admin[i])
        redisFree(admin[i]);
    admin[i] = redisConnectUnix(servers[i].socket);
}

/* An administrator's word to a node; what it says, for the next such call. */
static const redisReply *tell(int i, const char *format, ...)
{
    static redisReply *reply;
    va_list args;

    if (reply)
        freeReplyObject(reply);
    va_start(args, format);
    reply = redisvCommand(admin[i], format, args);
    va_end(args);
    assert_non_null(reply);
    if (reply->type == REDIS_REPLY_ERROR)
        fail_msg("%s: %s", format, reply->str);
    return reply;
}

/*
 * A node without the most of its fellows stops after the time-out, and of two, one is
 * not the most: once they have met they are given all the time there is.
 */
static void wait_for_node(int i)
{
    while (!strstr(tell(i, "CLUSTER INFO")->str, "cluster_state:ok") ||
           !strstr(tell(i, "CLUSTER INFO")->str, "cluster_slots_ok:16384"))
        usleep(10000);
    tell(i, "CONFIG SET cluster-node-timeout 600000");
}

/* A port whose neighbour for the cluster's own talk (10,000 above) exists. */
static int free_port(void)
{
    int port;

    do
        port = redis_server_free_port();
    while (port > 55000);
    return port;
}

static int start_cluster(void **state)
{
    (void)state;
    log_set_level(LOGL_ERROR);
    slot = calloc(1, sizeof(*slot));
    for (int i = 0; i < 2; i++) {
        ports[i] = free_port();
        snprintf(seeds[i], sizeof(seeds[i]), "127.0.0.1:%d", ports[i]);
        start_node(i);
    }
    tell(0, "CLUSTER ADDSLOTSRANGE 0 %d", HALF - 1);
    tell(1, "CLUSTER ADDSLOTSRANGE %d %d", HALF, REDIS_SLOTS - 1);
    tell(1, "CLUSTER SET-CONFIG-EPOCH 2");
    tell(0, "CLUSTER MEET 127.0.0.1 %d", ports[1]);
    for (int i = 0; i < 2; i++)
        wait_for_node(i);
    return 0;
}

static int stop_cluster(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        redisFree(admin[i]);
        redis_server_remove(&servers[i]);
    }
    free(slot);
    return 0;
}

static void id_of(int i, char ret[41])
{
    snprintf(ret, 41, "%.40s", tell(i, "CLUSTER MYID")->str);
}

static void give_slot(int number, int to)
{
    char id[41];

    id_of(to, id);
    for (int i = 0; i < 2; i++)
        tell(i, "CLUSTER SETSLOT %d NODE %s", number, id);
}

/* From the node that has it to the other; keys stay until they are moved. */
static void begin_move(int number, int from, int to)
{
    char source[41], target[41];

    id_of(from, source);
    id_of(to, target);
    tell(to, "CLUSTER SETSLOT %d IMPORTING %s", number, source);
    tell(from, "CLUSTER SETSLOT %d MIGRATING %s", number, target);
}

static void move_key(const char *key, int from, int to)
{
    tell(from, "MIGRATE 127.0.0.1 %d %s 0 1000", ports[to], key);
}

/* ---- a test's frame ---- */

static int setup(void **state)
{
    const char *const nodes[] = { seeds[0], seeds[1], NULL };

    (void)state;
    memset(slot, 0, sizeof(*slot));
    tell(0, "FLUSHALL");
    tell(1, "FLUSHALL");
    task_runtime_init();
    redis = redis_new(&(struct redis_options){ .cluster = nodes,
                                               .connect_timeout_ms = 2000,
                                               .timeout_ms = 1000,
                                               .breaker_ms = 200,
                                               .client_name = "test",
                                               .slot = slot });
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    task_runtime_done();
    return 0;
}

static void free_and_stop(void *arg, enum task_outcome outcome)
{
    (void)arg;
    assert_int_equal(outcome, TASK_DONE);
    redis_free(redis);
}

static void run_task(void (*run)(void *arg))
{
    task_spawn(
        &(struct task_spec){ .name = "test", .run = run, .on_end = free_and_stop });
    task_run_loop();
}

/* The node whose slot the key is in, as the nodes were made. */
static int home_of(const char *key)
{
    return redis_slot_of(key, strlen(key)) < HALF ? 0 : 1;
}

/* A key of that node, with a tag of its own. */
static const char *key_of(int node, const char *rest)
{
    for (int i = 0;; i++) {
        const char *key = arena_printf(task_arena(), "{%d}%s", i, rest);

        if (home_of(key) == node)
            return key;
    }
}

static uint64_t count_of(const _Atomic uint64_t *counter)
{
    return atomic_load(counter);
}

/* ---- where keys go ---- */

static void set_and_get(void *arg)
{
    redisReply *reply;

    (void)arg;
    assert_int_equal(redis_call(redis, NULL, "PING"), 0);
    for (int i = 0; i < 200; i++)
        assert_int_equal(redis_call(redis, NULL, "SET k%d %d", i, i), 0);
    for (int i = 0; i < 200; i++) {
        const char *key = arena_printf(task_arena(), "k%d", i);
        const char *argv[] = { "GET", key };

        assert_int_equal(redis_call_argv(redis, &reply, 2, argv, NULL), 0);
        assert_int_equal(strtol(reply->str, NULL, 10), i);
        assert_int_equal(tell(home_of(key), "EXISTS %s", key)->integer, 1);
        /* The server itself agrees about the slot. */
        assert_int_equal(tell(0, "CLUSTER KEYSLOT %s", key)->integer,
                         redis_slot_of(key, strlen(key)));
    }
    assert_int_equal(count_of(&slot->count.cluster_redirects), 0);
    assert_int_equal(count_of(&slot->count.cluster_refreshes), 1);
    assert_true(redis_is_up(redis));
    assert_int_equal(redis_call(redis, &reply, "GET"), -EPROTO);
    assert_int_equal(redis_call(redis, &reply, "NOSUCH k"), -EPROTO);
}

static void each_key_goes_to_its_node(void **state)
{
    (void)state;
    run_task(set_and_get);
}

static void run_batch(void *arg)
{
    struct redis_batch *batch = redis_batch_new(redis);
    redisReply **replies;
    size_t count;

    (void)arg;
    for (int i = 0; i < 50; i++) {
        const char *argv[] = { "GET", arena_printf(task_arena(), "k%d", i) };

        redis_batch_add(batch, "SET k%d %d", i, i);
        redis_batch_argv(batch, 2, argv, NULL);
    }
    redis_batch_add(batch, "GET");
    redis_batch_add(batch, "PING");
    assert_int_equal(redis_batch_run(batch, &replies, &count), 0);
    assert_int_equal(count, 102);
    for (size_t i = 0; i < 50; i++) {
        assert_string_equal(replies[2 * i]->str, "OK");
        assert_int_equal(strtol(replies[2 * i + 1]->str, NULL, 10), (long)i);
    }
    assert_int_equal(replies[100]->type, REDIS_REPLY_ERROR);
    assert_string_equal(replies[101]->str, "PONG");
}

static void a_batch_is_answered_in_order(void **state)
{
    (void)state;
    run_task(run_batch);
}

static void run_scripts(void *arg)
{
    struct redis_script script;
    redisReply *reply;

    (void)arg;
    redis_script_init(&script, "test", "return redis.call('INCR', KEYS[1]) + ARGV[1]");
    for (int node = 0; node < 2; node++) {
        for (int i = 1; i < 4; i++) { /* the first time the node has never heard of it */
            const char *keys[] = { key_of(node, "count"), key_of(node, "other") };
            const char *args[] = { "10" };

            assert_int_equal(
                redis_run_script(redis, &script, &reply, 2, keys, 1, args, NULL), 0);
            assert_int_equal(reply->integer, 10 + i);
        }
    }
    tell(1, "SCRIPT FLUSH");
    const char *keys[] = { key_of(1, "count") }, *args[] = { "0" };
    assert_int_equal(redis_run_script(redis, &script, &reply, 1, keys, 1, args, NULL), 0);
    assert_int_equal(reply->integer, 4);
}

static void scripts_are_loaded_where_they_run(void **state)
{
    (void)state;
    run_task(run_scripts);
}

/* ---- slots that move ---- */

static void move_slot(void *arg)
{
    const char *key = key_of(0, "moves"), *argv[] = { "GET", key };
    int number = redis_slot_of(key, strlen(key));
    redisReply *reply;

    (void)arg;
    assert_int_equal(redis_call(redis, NULL, "SET %s here", key), 0);
    begin_move(number, 0, 1);
    move_key(key, 0, 1);
    /* Half-way: the old node says ASK for what it has given away already. */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(redis_call_argv(redis, &reply, 2, argv, NULL), 0);
        assert_string_equal(reply->str, "here");
    }
    assert_int_equal(count_of(&slot->count.cluster_redirects), 3);
    struct redis_batch *batch = redis_batch_new(redis);
    redisReply **replies;
    redis_batch_argv(batch, 2, argv, NULL);
    redis_batch_add(batch, "GET %s", key);
    assert_int_equal(redis_batch_run(batch, &replies, NULL), 0);
    assert_string_equal(replies[0]->str, "here");
    assert_string_equal(replies[1]->str, "here");

    give_slot(number, 1);
    uint64_t before = count_of(&slot->count.cluster_redirects);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(redis_call_argv(redis, &reply, 2, argv, NULL), 0);
        assert_string_equal(reply->str, "here");
    }
    /* MOVED is heard once. */
    assert_int_equal(count_of(&slot->count.cluster_redirects), before + 1);
    task_sleep(300);
    assert_true(count_of(&slot->count.cluster_refreshes) >= 2);
    tell(1, "FLUSHALL");
    give_slot(number, 0);
}

static void a_slot_may_move(void **state)
{
    (void)state;
    run_task(move_slot);
}

static int half_moved;
static const char *moving[2];

static void finish_move(void *arg)
{
    (void)arg;
    task_sleep(200);
    move_key(moving[1], 0, 1);
    give_slot(half_moved, 1);
}

/* Two keys, one gone already: the server can only say TRYAGAIN. */
static void ask_for_both(void *arg)
{
    redisReply *reply;
    uint64_t start;

    (void)arg;
    moving[0] = key_of(0, "a");
    moving[1] = key_of(0, "b");
    half_moved = redis_slot_of(moving[0], strlen(moving[0]));
    const char *argv[] = { "MGET", moving[0], moving[1] };
    assert_int_equal(redis_call(redis, NULL, "SET %s 1", moving[0]), 0);
    assert_int_equal(redis_call(redis, NULL, "SET %s 2", moving[1]), 0);
    begin_move(half_moved, 0, 1);
    move_key(moving[0], 0, 1);
    task_spawn(&(struct task_spec){ .name = "finish", .run = finish_move });
    start = clock_ms();
    assert_int_equal(redis_call_argv(redis, &reply, 3, argv, NULL), 0);
    assert_string_equal(reply->element[0]->str, "1");
    assert_string_equal(reply->element[1]->str, "2");
    assert_true(clock_ms() - start >= 150);
    assert_true(count_of(&slot->count.cluster_retries) > 0);
    tell(1, "FLUSHALL");
    give_slot(half_moved, 0);
}

static void half_a_slot_is_waited_for(void **state)
{
    (void)state;
    run_task(ask_for_both);
}

/* Nobody finishes the move: one waits its time, the others are not kept. */
static void ask_in_vain(void *arg)
{
    const char *a = key_of(0, "c"), *b = key_of(0, "d");
    const char *argv[] = { "MGET", a, b }, *other[] = { "GET", key_of(1, "e") };
    int number = redis_slot_of(a, strlen(a));

    (void)arg;
    assert_int_equal(redis_call(redis, NULL, "SET %s 1", a), 0);
    assert_int_equal(redis_call(redis, NULL, "SET %s 2", b), 0);
    begin_move(number, 0, 1);
    move_key(a, 0, 1);
    uint64_t start = clock_ms();
    assert_int_equal(redis_call_argv(redis, NULL, 3, argv, NULL), -EAGAIN);
    assert_true(clock_ms() - start >= 700);
    start = clock_ms();
    for (int i = 0; i < 20; i++)
        assert_int_equal(redis_call_argv(redis, NULL, 3, argv, NULL), -EAGAIN);
    assert_int_equal(redis_call_argv(redis, NULL, 2, other, NULL), 0);
    assert_true(clock_ms() - start < 700);
    move_key(b, 0, 1);
    give_slot(number, 1);
    assert_int_equal(redis_call_argv(redis, NULL, 3, argv, NULL), 0);
    assert_int_equal(redis_call_argv(redis, NULL, 3, argv, NULL), 0);
    tell(1, "FLUSHALL");
    give_slot(number, 0);
}

static void a_slot_that_stays_half_way_delays_nobody_for_long(void **state)
{
    (void)state;
    run_task(ask_in_vain);
}

/* ---- a node that is lost ---- */

static const struct board_redis *shown(const char *name)
{
    for (int i = 0; i < BOARD_REDIS; i++) {
        if (strcmp(slot->redis[i].name, name) == 0 &&
            atomic_load(&slot->redis[i].state) != BOARD_REDIS_NONE)
            return &slot->redis[i];
    }
    fail_msg("%s is not shown", name);
    return NULL;
}

static void lose_a_node(void *arg)
{
    const char *here[] = { "GET", key_of(0, "x") }, *there[] = { "GET", key_of(1, "x") };

    (void)arg;
    assert_int_equal(redis_call_argv(redis, NULL, 2, here, NULL), 0);
    assert_int_equal(redis_call_argv(redis, NULL, 2, there, NULL), 0);
    assert_int_equal(shown(seeds[1])->state, BOARD_REDIS_UP);
    redis_server_stop(&servers[1]);
    uint64_t start = clock_ms();
    int failed = 0;
    for (int i = 0; i < 50; i++) {
        failed += redis_call_argv(redis, NULL, 2, there, NULL) < 0;
        assert_int_equal(redis_call_argv(redis, NULL, 2, here, NULL), 0);
    }
    assert_true(failed >= 49); /* the first may not have known */
    assert_true(clock_ms() - start < 2000);
    assert_int_equal(shown(seeds[1])->state, BOARD_REDIS_AWAY);
    assert_int_equal(shown(seeds[0])->state, BOARD_REDIS_UP);
    assert_true(redis_is_up(redis));

    start_node(1); /* its nodes.conf knows its slots */
    while (redis_call_argv(redis, NULL, 2, there, NULL) < 0 && clock_ms() < start + 15000)
        task_sleep(20);
    assert_int_equal(redis_call_argv(redis, NULL, 2, there, NULL), 0);
    assert_int_equal(shown(seeds[1])->state, BOARD_REDIS_UP);
    wait_for_node(1);
}

static void a_lost_node_stops_only_its_keys(void **state)
{
    (void)state;
    run_task(lose_a_node);
}

static void stop_a_node(void *arg)
{
    const char *here[] = { "GET", key_of(0, "x") }, *there[] = { "GET", key_of(1, "x") };

    (void)arg;
    assert_int_equal(redis_call_argv(redis, NULL, 2, there, NULL), 0);
    kill(servers[1].pid, SIGSTOP);
    assert_int_equal(redis_call_argv(redis, NULL, 2, there, NULL), -ETIMEDOUT);
    uint64_t start = clock_ms();
    for (int i = 0; i < 20; i++) {
        assert_int_equal(redis_call_argv(redis, NULL, 2, there, NULL), -EAGAIN);
        assert_int_equal(redis_call_argv(redis, NULL, 2, here, NULL), 0);
    }
    assert_true(clock_ms() - start < 900);
    kill(servers[1].pid, SIGCONT);
    while (redis_call_argv(redis, NULL, 2, there, NULL) < 0 && clock_ms() < start + 15000)
        task_sleep(20);
    assert_int_equal(redis_call_argv(redis, NULL, 2, there, NULL), 0);
}

static void a_hung_node_has_a_breaker_of_its_own(void **state)
{
    (void)state;
    run_task(stop_a_node);
}

/* ---- subscriptions ---- */

static int heard, gaps;

static void hear(void *arg, const char *channel, const char *data, size_t length)
{
    (void)arg;
    (void)channel;
    (void)data;
    heard += length == 4;
}

static void note_gap(void *arg)
{
    (void)arg;
    gaps++;
}

static void publish_everywhere(void *arg)
{
    struct redis_subscription *subscription =
        redis_subscribe(redis, "news", hear, note_gap, NULL);

    (void)arg;
    heard = gaps = 0;
    while (gaps == 0)
        task_sleep(10);
    /* Said to either node, it arrives. */
    tell(0, "PUBLISH news text");
    tell(1, "PUBLISH news text");
    assert_int_equal(redis_call(redis, NULL, "PUBLISH news text"), 0);
    for (int i = 0; i < 500 && heard < 3; i++)
        task_sleep(10);
    assert_int_equal(heard, 3);
    /* Its node is lost: another one will do. */
    const char *list = tell(0, "PUBSUB NUMSUB news")->element[1]->integer > 0 ? "0" : "1";
    int its = *list - '0';
    redis_server_stop(&servers[its]);
    while (gaps == 1)
        task_sleep(10);
    tell(1 - its, "PUBLISH news text");
    for (int i = 0; i < 500 && heard < 4; i++)
        task_sleep(10);
    assert_int_equal(heard, 4);
    redis_unsubscribe(subscription);
    start_node(its);
    wait_for_node(its);
}

static void subscriptions_survive_their_node(void **state)
{
    (void)state;
    run_task(publish_everywhere);
}

/* ---- wrong places ---- */

static void ask_no_cluster(void *arg)
{
    (void)arg;
    assert_int_equal(redis_call(redis, NULL, "GET k"), -EAGAIN);
    if (!strstr(redis_trouble(redis), "cluster support disabled"))
        fail_msg("%s", redis_trouble(redis));
    uint64_t start = clock_ms();
    for (int i = 0; i < 20; i++)
        assert_int_equal(redis_call(redis, NULL, "GET k"), -EAGAIN);
    assert_true(clock_ms() - start < 900);
}

static void one_redis_is_no_cluster(void **state)
{
    struct redis_server single = { 0 };
    int port = free_port();
    char text[8], seed[32];
    const char *const nodes[] = { seed, NULL };

    (void)state;
    snprintf(text, sizeof(text), "%d", port);
    snprintf(seed, sizeof(seed), "localhost:%d", port);
    const char *args[] = { "--port", text, NULL };
    redis_server_start(&single, args);
    redis_free(redis);
    redis = redis_new(&(struct redis_options){ .cluster = nodes,
                                               .connect_timeout_ms = 2000,
                                               .timeout_ms = 1000,
                                               .breaker_ms = 200 });
    run_task(ask_no_cluster);
    redis_server_remove(&single);
}

/* A client that goes while somebody waits for it. */
static void wait_for_ever(void *arg)
{
    (void)arg;
    assert_int_equal(redis_call(redis, NULL, "BLPOP list 5"), -ECONNRESET);
}

static void free_it(void *arg)
{
    (void)arg;
    task_sleep(100);
    redis_free(redis);
}

static void a_client_may_go_before_its_answer(void **state)
{
    (void)state;
    task_spawn(&(struct task_spec){ .name = "waits", .run = wait_for_ever });
    task_spawn(&(struct task_spec){ .name = "frees", .run = free_it });
    task_run_loop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_key_goes_to_its_node, setup, teardown),
        cmocka_unit_test_setup_teardown(a_batch_is_answered_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(scripts_are_loaded_where_they_run, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_slot_may_move, setup, teardown),
        cmocka_unit_test_setup_teardown(half_a_slot_is_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(a_slot_that_stays_half_way_delays_nobody_for_long,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_hung_node_has_a_breaker_of_its_own, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_lost_node_stops_only_its_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(subscriptions_survive_their_node, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(one_redis_is_no_cluster, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_may_go_before_its_answer, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
