/*
 * test_gate.c - the gate's script against a real Redis: revocation, generation,
 * sliding windows.
 */
#include "common/arena.h"
#include "common/cache.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/task.h"
#include "tests/unit/redis_server.h"
#include "tests/unit/testing.h"
#include "worker/gate.h"

static struct redis_server server;
static struct redis *redis;
static const struct limit unlimited;
static const struct route list = { .method = METHOD_GET, .pattern = "/list" };
static const struct route post = { .method = METHOD_POST, .pattern = "/list" };

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
                                               .one_slot = true,
                                               .connect_timeout_ms = 2000,
                                               .timeout_ms = 1000 });
    gate_init("t:", 0, false);
    task_spawn(&(struct task_spec){ .name = "test", .run = run, .on_end = clean_up });
    task_run_loop();
    task_runtime_done();
}

static struct token token_of(int32_t user_id, const char *family_id)
{
    struct token token;

    token_make(&token, TOKEN_ACCESS, user_id, family_id, 3600);
    return token;
}

static enum gate_token ask(const struct token *token)
{
    struct gate_answer answer;

    assert_int_equal(gate_ask_user(redis, token, &unlimited, &list, &answer), 0);
    assert_null(answer.window);
    return answer.token;
}

/* ---- revocation ---- */

static void judge_tokens(void *arg)
{
    struct token one = token_of(1, "f1"), other = token_of(1, "f1"),
                 foreign = token_of(2, "f1");
    struct token old = token_of(1, "");

    (void)arg;
    assert_int_equal(ask(&one), GATE_UNKNOWN);
    gate_put_family(redis, 1, "f1", true, 60);
    assert_int_equal(ask(&one), GATE_GOOD);
    assert_int_equal(ask(&foreign), GATE_UNKNOWN);
    assert_int_equal(ask(&old), GATE_UNKNOWN);

    assert_int_equal(gate_revoke_token(redis, &one), 0);
    assert_int_equal(ask(&one), GATE_REVOKED);
    assert_int_equal(ask(&other), GATE_GOOD);
    assert_int_equal(gate_revoke_token(redis, &old), 0);
    assert_int_equal(ask(&old), GATE_REVOKED);

    gate_put_family(redis, 1, "f1", false, 60);
    assert_int_equal(ask(&other), GATE_REVOKED);
    /* One who read the database before the revocation does not undo it. */
    gate_put_family(redis, 1, "f1", true, 60);
    assert_int_equal(ask(&other), GATE_REVOKED);
}

static void revoked_is_stronger_than_good(void **state)
{
    (void)state;
    run_task(judge_tokens);
}

static void forget_in_time(void *arg)
{
    struct token token = token_of(3, "f3");
    redisReply *reply;

    (void)arg;
    token.expires_at = clock_unix() + 100;
    assert_int_equal(gate_revoke_token(redis, &token), 0);
    assert_int_equal(redis_call(redis, &reply, "TTL t:{u3}:revoked:%s", token.jti), 0);
    assert_in_range(reply->integer, 98, 100);
    token.expires_at = clock_unix() - 1;
    assert_int_equal(gate_revoke_token(redis, &token), 0);
    gate_put_family(redis, 3, "f3", true, 60);
    assert_int_equal(redis_call(redis, &reply, "TTL t:{u3}:family:f3"), 0);
    assert_in_range(reply->integer, 58, 60);
}

static void marks_end_with_their_token(void **state)
{
    (void)state;
    run_task(forget_in_time);
}

static void share_generation(void *arg)
{
    struct token token = token_of(4, "f4");
    struct gate_answer answer;
    struct cache *cache = cache_new(redis, "t:");

    (void)arg;
    assert_int_equal(gate_ask_user(redis, &token, &unlimited, &list, &answer), 0);
    assert_string_equal(answer.generation, cache_generation(cache, 4));
    cache_invalidate(cache, 4, 0);
    const char *before = answer.generation;
    assert_int_equal(gate_ask_user(redis, &token, &unlimited, &list, &answer), 0);
    assert_string_equal(answer.generation, cache_generation(cache, 4));
    assert_string_not_equal(answer.generation, before);
    cache_free(cache);
}

static void the_generation_is_the_caches(void **state)
{
    (void)state;
    run_task(share_generation);
}

/* ---- reading one's own writes ---- */

#define SETTLED_MS 1000

static struct pg_reader reader_of(const struct token *token)
{
    struct gate_answer answer;

    assert_int_equal(gate_ask_user(redis, token, &unlimited, &list, &answer), 0);
    assert_int_equal(strlen(answer.generation), 16);
    return answer.reader;
}

static void follow_positions(void *arg)
{
    struct token token = token_of(9, "f9");
    struct cache *cache = cache_new(redis, "t:");
    struct pg_reader reader;

    (void)arg;
    gate_init("t:", SETTLED_MS, false);
    /* Nobody knows of this user: perhaps the key was evicted a moment ago. */
    assert_int_equal(reader_of(&token).freshness, PG_FRESH_PRIMARY);
    cache_invalidate(cache, 9, 5033165232);
    reader = reader_of(&token);
    assert_int_equal(reader.freshness, PG_FRESH_AT);
    assert_true(reader.position == 5033165232);
    /* Two writes whose ways to Redis crossed: both are to be seen. */
    cache_invalidate(cache, 9, 999999999);
    assert_true(reader_of(&token).position == 5033165232);
    cache_invalidate(cache, 9, UINT64_C(18000000000000000001));
    assert_true(reader_of(&token).position == UINT64_C(18000000000000000001));
    cache_invalidate(cache, 9, UINT64_C(18000000000000000000));
    assert_true(reader_of(&token).position == UINT64_C(18000000000000000001));
    /* Written by one who keeps no positions, or who was not told it. */
    cache_invalidate(cache, 9, 0);
    assert_int_equal(reader_of(&token).freshness, PG_FRESH_PRIMARY);
    cache_invalidate(cache, 9, 5033165233);
    assert_true(reader_of(&token).position == 5033165233);
    cache_invalidate(cache, 9, UINT64_MAX);
    assert_int_equal(reader_of(&token).freshness, PG_FRESH_PRIMARY);
    cache_invalidate(cache, 9, 5033165234);
    cache_note_write(cache, 9, 0); /* nothing to note */
    assert_true(reader_of(&token).position == 5033165234);
    /* By then all replicas in use have it. */
    task_sleep(SETTLED_MS + 50);
    assert_int_equal(reader_of(&token).freshness, PG_FRESH_ANY);
    cache_note_write(cache, 9, 5033165235);
    assert_true(reader_of(&token).position == 5033165235);

    /* Who has no replicas is not troubled by what others keep. */
    gate_init("t:", 0, false);
    assert_string_equal(cache_generation(cache, 9),
                        arena_strndup(task_arena(), cache_generation(cache, 9), 16));
    reader_of(&token);
    cache_free(cache);
}

static void a_write_is_found_on_the_replicas_that_have_it(void **state)
{
    (void)state;
    run_task(follow_positions);
}

static void follow_with_limits(void *arg)
{
    struct limit limit;
    struct token token = token_of(10, "f10");
    struct cache *cache = cache_new(redis, "t:");
    struct gate_answer answer;

    (void)arg;
    assert_true(limit_parse("5/1m", &limit));
    gate_init("t:", SETTLED_MS, false);
    cache_invalidate(cache, 10, 77);
    assert_int_equal(gate_ask_user(redis, &token, &limit, &list, &answer), 0);
    assert_int_equal(answer.reader.freshness, PG_FRESH_AT);
    assert_int_equal(answer.reader.position, 77);
    assert_non_null(answer.window);
    assert_int_equal(answer.left, 4);
    /* An address has no writes. */
    assert_int_equal(gate_ask_address(redis, "192.0.2.7", &limit, &list, &answer), 0);
    assert_int_equal(answer.left, 4);
    gate_init("t:", 0, false);
    cache_free(cache);
}

static void positions_and_limits_go_together(void **state)
{
    (void)state;
    run_task(follow_with_limits);
}

/* ---- limits ---- */

static struct gate_answer count(const char *address, const struct limit *limit,
                                const struct route *route)
{
    struct gate_answer answer;

    assert_int_equal(gate_ask_address(redis, address, limit, route, &answer), 0);
    assert_int_equal(answer.token, GATE_GOOD);
    assert_non_null(answer.window);
    return answer;
}

static void count_down(void *arg)
{
    struct limit limit;
    struct token token = token_of(5, "f5");
    struct gate_answer answer;

    (void)arg;
    assert_true(limit_parse("100/1d,5/1h", &limit));
    for (int64_t left = 4; left >= 0; left--) {
        answer = count("192.0.2.1", &limit, &list);
        assert_int_equal(answer.wait, 0);
        assert_int_equal(answer.left, left);
        assert_ptr_equal(answer.window, &limit.windows[1]);
        assert_in_range(answer.reset, clock_unix(), clock_unix() + 3601);
    }
    for (int i = 0; i < 3; i++) {
        answer = count("192.0.2.1", &limit, &list);
        assert_in_range(answer.wait, 1, 3600);
        assert_int_equal(answer.left, 0);
        assert_in_range(answer.reset, clock_unix() + answer.wait - 2,
                        clock_unix() + answer.wait + 2);
    }
    /* Others are counted apart: address, method, user. */
    assert_int_equal(count("192.0.2.2", &limit, &list).left, 4);
    assert_int_equal(count("2001:db8::1", &limit, &list).left, 4);
    /* IPv6 by its network of 64 bits: whoever has one address there has them all. */
    assert_int_equal(count("2001:db8::ffff:2", &limit, &list).left, 3);
    assert_int_equal(count("2001:db8:0:1::1", &limit, &list).left, 4);
    assert_int_equal(count("192.0.2.1", &limit, &post).left, 4);
    assert_int_equal(gate_ask_user(redis, &token, &limit, &list, &answer), 0);
    assert_int_equal(answer.left, 4);
    assert_int_equal(answer.token, GATE_UNKNOWN);
}

static void each_counts_for_itself(void **state)
{
    (void)state;
    run_task(count_down);
}

/* Sleeps until a period of `seconds` is `share` of the way through. */
static void sleep_to(int64_t seconds, double share)
{
    int64_t span = seconds * 1000000;
    int64_t want = (int64_t)((double)span * share);
    int64_t at = clock_unix_us() % span;

    task_sleep((uint64_t)((want - at + span) % span) / 1000 + 1);
}

static int passes(const struct limit *limit, const char *address)
{
    int passed = 0;

    while (count(address, limit, &list).wait == 0)
        passed++;
    return passed;
}

static void slide(void *arg)
{
    struct limit limit;
    struct gate_answer answer;

    (void)arg;
    assert_true(limit_parse("20/2s", &limit));
    sleep_to(2, 0.5);
    assert_int_equal(passes(&limit, "a"), 20);
    answer = count("a", &limit, &list);
    assert_in_range(answer.wait, 1, 2);
    /* A quarter into the next period three quarters of the last one still count. */
    sleep_to(2, 0.25);
    assert_in_range(passes(&limit, "a"), 4, 6);
    /* Two periods on nothing does. */
    task_sleep(4000);
    assert_int_equal(passes(&limit, "a"), 20);
}

static void the_window_slides(void **state)
{
    (void)state;
    run_task(slide);
}

static void wait_as_told(void *arg)
{
    struct limit limit;

    (void)arg;
    assert_true(limit_parse("3/1s", &limit));
    for (int round = 0; round < 4; round++) {
        assert_true(passes(&limit, "w") >= 1);
        int64_t wait = count("w", &limit, &list).wait;
        assert_in_range(wait, 1, 2);
        task_sleep((uint64_t)wait * 1000 + 20);
    }
}

static void who_waits_as_told_passes(void **state)
{
    (void)state;
    run_task(wait_as_told);
}

static void survive_rubbish(void *arg)
{
    struct limit limit, other;
    redisReply *reply;

    (void)arg;
    assert_true(limit_parse("5/1h", &limit));
    assert_true(limit_parse("5/1h,9/1d", &other));
    assert_int_equal(count("r", &limit, &list).left, 4);
    assert_int_equal(count("r", &other, &list).left, 4);
    assert_int_equal(redis_call(redis, &reply, "KEYS t:{ipr}*"), 0);
    assert_int_equal(reply->elements, 2);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(
            redis_call(redis, NULL, "SET %s rubbish", reply->element[i]->str), 0);
    assert_int_equal(count("r", &limit, &list).left, 4);
    assert_int_equal(count("r", &limit, &list).left, 3);
    assert_int_equal(redis_call(redis, &reply, "TTL %s", "t:{ipr}:limit:get:/list3600"),
                     0);
    assert_in_range(reply->integer, 7190, 7200);
}

static void changed_limits_and_rubbish_start_anew(void **state)
{
    (void)state;
    run_task(survive_rubbish);
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
        cmocka_unit_test(revoked_is_stronger_than_good),
        cmocka_unit_test(marks_end_with_their_token),
        cmocka_unit_test(the_generation_is_the_caches),
        cmocka_unit_test(a_write_is_found_on_the_replicas_that_have_it),
        cmocka_unit_test(positions_and_limits_go_together),
        cmocka_unit_test(each_counts_for_itself),
        cmocka_unit_test(the_window_slides),
        cmocka_unit_test(who_waits_as_told_passes),
        cmocka_unit_test(changed_limits_and_rubbish_start_anew),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
