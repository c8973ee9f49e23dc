/*
 * test_redis_slots.c - CLUSTER SLOTS' replies, good and bad, and redirections.
 */
#include "common/arena.h"
#include "common/redis_reader.h"
#include "common/redis_redirect.h"
#include "common/redis_slots.h"
#include "tests/unit/testing.h"
#include <stdlib.h>
#include <string.h>

/* The reply that this text is; the caller frees it. */
static redisReply *reply_of(const char *text)
{
    redisReader *reader = redis_reader_new();
    void *reply = NULL;

    redisReaderFeed(reader, text, strlen(text));
    assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
    assert_non_null(reply);
    redisReaderFree(reader);
    return reply;
}

#define NODE(host, port)   "*3\r\n" host ":" port "\r\n$2\r\nid\r\n"
#define HOST(length, name) "$" length "\r\n" name "\r\n"

static void the_map_is_read(void **state)
{
    /* Redis 7 has a list of names behind the id. */
    redisReply *reply =
        reply_of("*3\r\n"
                 "*4\r\n:0\r\n:100\r\n"
                 "*4\r\n" HOST("9", "127.0.0.1") ":7000\r\n$2\r\nid\r\n*0\r\n" NODE(
                     HOST("9", "127.0.0.1"),
                     "7003") "*3\r\n:200\r\n:200\r\n" NODE(HOST("3", "::1"),
                                                           "7001") "*2\r\n:300\r\n:"
                                                                   "400\r\n"); /* nobody's
                                                                                */
    struct arena *arena = arena_new(0);
    struct slots_map map;

    (void)state;
    assert_true(redis_slots_read(reply, "asked", arena, &map));
    assert_int_equal(map.range_count, 2);
    assert_int_equal(map.slot_count, 102);
    assert_int_equal(map.ranges[0].last, 100);
    assert_int_equal(map.ranges[0].place_count, 2);
    assert_string_equal(map.ranges[0].places[0].host, "127.0.0.1");
    assert_string_equal(map.ranges[0].places[0].port, "7000");
    assert_string_equal(map.ranges[0].places[1].port, "7003");
    assert_string_equal(map.ranges[1].places[0].host, "::1");
    freeReplyObject(reply);
    arena_free(arena);
}

static void a_node_without_a_host_is_where_we_asked(void **state)
{
    redisReply *reply = reply_of("*1\r\n*5\r\n:0\r\n:16383\r\n" NODE(
        "$-1\r\n", "7000") NODE(HOST("1", "?"), "7001") NODE("$0\r\n\r\n", "7002"));
    struct arena *arena = arena_new(0);
    struct slots_map map;

    (void)state;
    assert_true(redis_slots_read(reply, "asked", arena, &map));
    assert_int_equal(map.slot_count, 16384);
    assert_int_equal(map.ranges[0].place_count, 2);
    assert_string_equal(map.ranges[0].places[0].host, "asked");
    assert_string_equal(map.ranges[0].places[1].host, "asked");
    assert_string_equal(map.ranges[0].places[1].port, "7002");
    freeReplyObject(reply);
    arena_free(arena);
}

static void what_is_no_map_is_refused(void **state)
{
    static const char *const texts[] = {
        "+OK\r\n",
        "*0\r\n",
        "*1\r\n:1\r\n",
        "*1\r\n*2\r\n:5\r\n:4\r\n",
        "*1\r\n*3\r\n:-1\r\n:4\r\n" NODE(HOST("1", "h"), "1"),
        "*1\r\n*3\r\n:0\r\n:16384\r\n" NODE(HOST("1", "h"), "1"),
        "*1\r\n*3\r\n$1\r\n0\r\n:1\r\n" NODE(HOST("1", "h"), "1"),
        /* A primary that is not to be had: its replica does not take its place. */
        "*1\r\n*4\r\n:0\r\n:1\r\n" NODE(HOST("1", "?"), "1") NODE(HOST("1", "h"), "2"),
        "*1\r\n*3\r\n:0\r\n:1\r\n" NODE(HOST("1", "h"), "0"),
        "*1\r\n*3\r\n:0\r\n:1\r\n" NODE(HOST("1", "h"), "65536"),
        "*1\r\n*3\r\n:0\r\n:1\r\n*1\r\n" HOST("1", "h"),
    };
    struct arena *arena = arena_new(0);

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        redisReply *reply = reply_of(texts[i]);
        struct slots_map map;

        if (redis_slots_read(reply, "asked", arena, &map))
            fail_msg("taken for a map: %s", texts[i]);
        freeReplyObject(reply);
    }
    arena_free(arena);
}

static void redirections_are_read(void **state)
{
    static const struct {
        const char *text;
        enum redirect_kind kind;
        uint16_t slot;
        const char *host, *port;
    } table[] = {
        { "-MOVED 3999 127.0.0.1:6381\r\n", REDIRECT_MOVED, 3999, "127.0.0.1", "6381" },
        { "-MOVED 0 ::1:1\r\n", REDIRECT_MOVED, 0, "::1", "1" },
        { "-MOVED 16383 :6381\r\n", REDIRECT_MOVED, 16383, "", "6381" },
        { "-ASK 7 redis-1.internal:65535\r\n", REDIRECT_ASK, 7, "redis-1.internal",
          "65535" },
        { "-TRYAGAIN Multiple keys request during rehashing of slot\r\n", REDIRECT_HALF,
          0, NULL, NULL },
        { "-CLUSTERDOWN The cluster is down\r\n", REDIRECT_DOWN, 0, NULL, NULL },
        { "-LOADING Redis is loading\r\n", REDIRECT_DOWN, 0, NULL, NULL },
        { "-MASTERDOWN Link with MASTER is down\r\n", REDIRECT_DOWN, 0, NULL, NULL },
        { "-ERR unknown command\r\n", REDIRECT_NONE, 0, NULL, NULL },
        { "+MOVED 1 a:1\r\n", REDIRECT_NONE, 0, NULL, NULL },
        { "-MOVED\r\n", REDIRECT_NONE, 0, NULL, NULL },
        { "-MOVED x a:1\r\n", REDIRECT_NONE, 0, NULL, NULL },
        { "-MOVED 16384 a:1\r\n", REDIRECT_NONE, 0, NULL, NULL },
        { "-MOVED 1a:1\r\n", REDIRECT_NONE, 0, NULL, NULL },
        { "-MOVED 1 a:\r\n", REDIRECT_NONE, 0, NULL, NULL },
        { "-MOVED 1 a:0\r\n", REDIRECT_NONE, 0, NULL, NULL },
        { "-MOVED 1 a:65536\r\n", REDIRECT_NONE, 0, NULL, NULL },
        { "-MOVED 1 a:-1\r\n", REDIRECT_NONE, 0, NULL, NULL },
        { "-ASK 1 a:1x\r\n", REDIRECT_NONE, 0, NULL, NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        redisReply *reply = reply_of(table[i].text);
        struct redirect redirect = { 0 };

        redis_redirect_read(reply, &redirect);
        freeReplyObject(reply);
        if (redirect.kind != table[i].kind)
            fail_msg("%s is no %d but %d", table[i].text, table[i].kind, redirect.kind);
        if (!table[i].host)
            continue;
        assert_int_equal(redirect.slot, table[i].slot);
        assert_string_equal(redirect.host, table[i].host);
        assert_string_equal(redirect.port, table[i].port);
    }
}

static void a_length_beyond_belief_is_an_error(void **state)
{
    static const char text[] = "*1\r\n*316381313\r\n"; /* 2.5 GB of pointers */
    redisReader *reader = redis_reader_new();
    void *reply = NULL;

    (void)state;
    redisReaderFeed(reader, text, strlen(text));
    assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_ERR);
    assert_null(reply);
    redisReaderFree(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_map_is_read),
        cmocka_unit_test(a_node_without_a_host_is_where_we_asked),
        cmocka_unit_test(what_is_no_map_is_refused),
        cmocka_unit_test(redirections_are_read),
        cmocka_unit_test(a_length_beyond_belief_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
