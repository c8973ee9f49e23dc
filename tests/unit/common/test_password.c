/*
 * test_password.c - known hashes, the queue's bound, and tasks that leave early.
 */
#include "common/password.h"
#include "common/task.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define FAST        4
#define SALT        "saltSALT12345678"
#define BCRYPT_TAIL "$04$abcdefghijklmnopqrstuuH1DTYOwhMssbDIzDrS7ScYYVsI1N6C6"

/* Made by Python's crypt and hashlib. */
static const struct {
    const char *password, *hash;
    int expected;
} known[] = {
    { "Passw0rd!x", "$2b" BCRYPT_TAIL, 1 },
    { "Passw0rd!x", "$2a" BCRYPT_TAIL, 1 },
    { "Passw0rd!x", "$2y" BCRYPT_TAIL, 1 },
    { "passw0rd!x", "$2b" BCRYPT_TAIL, 0 },
    { "", "$2b" BCRYPT_TAIL, 0 },
    { "Passw0rd!x",
      "scrypt:1024:8:1$" SALT
      "$bafc36cff7e3e1df889a39093de78eab22242db79c1b59ff69424da3a7c276c9c4211c76c2f903920"
      "451b0b051cbfa0e35637eebd4b9ec3e06b746be3f177f48",
      1 },
    { "Passw0rd!x",
      "scrypt:32768:8:1$" SALT
      "$91ff37b3de272a87153036ba802d329c396906769253a76e5d37681d39e29ad7cb4b0a457e8ccc05e"
      "adb769ae7b0f2d80f9acb2a8de4a6d65342f05cdc0b6a4a",
      1 },
    { "Passw0rd!y",
      "scrypt:1024:8:1$" SALT
      "$bafc36cff7e3e1df889a39093de78eab22242db79c1b59ff69424da3a7c276c9c4211c76c2f903920"
      "451b0b051cbfa0e35637eebd4b9ec3e06b746be3f177f48",
      0 },
    { "Passw0rd!x",
      "pbkdf2:sha256:1000$" SALT
      "$59589215b953c0062e7075f0cc4e195ccf5eb7034ae8237ae5317dfc3d47aa9f",
      1 },
    { "x",
      "pbkdf2:sha256:1000$" SALT
      "$59589215b953c0062e7075f0cc4e195ccf5eb7034ae8237ae5317dfc3d47aa9f",
      0 },
    /* No hash of a known form, or one that cannot be. */
    { "x", "", -EINVAL },
    { "x", "plain", -EINVAL },
    { "x", "*0", -EINVAL },
    { "x", "$1$salt$hash", -EINVAL },
    { "x", "$2b$", -EINVAL },
    { "x", "$2b$99$abcdefghijklmnopqrstuuH1DTYOwhMssbDIzDrS7ScYYVsI1N6C6", -EINVAL },
    { "x", "$2b$04$short", -EINVAL },
    { "x", "scrypt:", -EINVAL },
    { "x", "scrypt:32768:8$" SALT "$00", -EINVAL },
    { "x", "scrypt:99999999:8:1$" SALT "$00", -EINVAL },
    { "x", "scrypt:-1:8:1$" SALT "$00", -EINVAL },
    { "x", "scrypt:1024:8:1:1$" SALT "$00", -EINVAL },
    { "x", "scrypt:1024:8:1$" SALT "$zz", -EINVAL },
    { "x", "scrypt:1024:8:1$" SALT "$0", -EINVAL },
    { "x", "scrypt:1024:8:1$" SALT, -EINVAL },
    { "x", "pbkdf2:md5:1000$" SALT "$00", -EINVAL },
    { "x", "pbkdf2:sha256:0$" SALT "$00", -EINVAL },
    { "x", "pbkdf2:sha256:1000$" SALT "$00", -EINVAL },
};

static int setup(void **state)
{
    (void)state;
    task_runtime_init();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    password_stop();
    task_runtime_done();
    return 0;
}

static void in_task(void (*run)(void *arg), void *arg)
{
    task_spawn(&(struct task_spec){ .name = "test", .run = run, .arg = arg });
    task_run_loop();
}

static int results[sizeof(known) / sizeof(known[0])];

static void verify_known(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        results[i] = password_verify(known[i].password, known[i].hash, FAST);
}

static void test_known(void **state)
{
    (void)state;
    in_task(verify_known, NULL);
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (results[i] != known[i].expected)
            fail_msg("row %zu (%s): %d", i, known[i].hash, results[i]);
    }
}

struct made {
    char hash[PASSWORD_HASH_SIZE], again[PASSWORD_HASH_SIZE];
    char long_hash[PASSWORD_HASH_SIZE];
    int right, wrong, dummy, too_cheap, cut_equal, cut_different;
};

static void make_and_verify(void *arg)
{
    struct made *made = arg;
    char text[600];

    assert_int_equal(password_hash("Passw0rd!x", FAST, made->hash), 0);
    assert_int_equal(password_hash("Passw0rd!x", FAST, made->again), 0);
    made->right = password_verify("Passw0rd!x", made->hash, FAST);
    made->wrong = password_verify("Passw0rd!X", made->hash, FAST);
    made->dummy = password_verify("anything", NULL, FAST);
    made->too_cheap = password_hash("x", 3, made->again);

    /* bcrypt uses the first 72 bytes, and longer texts are no error. */
    memset(text, 'a', sizeof(text));
    text[599] = '\0';
    assert_int_equal(password_hash(text, FAST, made->long_hash), 0);
    text[72] = 'b';
    made->cut_equal = password_verify(text, made->long_hash, FAST);
    text[71] = 'b';
    made->cut_different = password_verify(text, made->long_hash, FAST);
}

static void test_made(void **state)
{
    struct made made = { .right = -1 };

    (void)state;
    in_task(make_and_verify, &made);
    assert_memory_equal(made.hash, "$2b$04$", 7);
    assert_int_equal(strlen(made.hash), 60);
    assert_string_not_equal(made.hash, made.again);
    assert_int_equal(made.right, 1);
    assert_int_equal(made.wrong, 0);
    assert_int_equal(made.dummy, 0);
    assert_int_equal(made.too_cheap, -EINVAL);
    assert_int_equal(made.cut_equal, 1);
    assert_int_equal(made.cut_different, 0);
}

#define SLOW 10

static const char *const unreadable[] = { "", "plain", "$2b$04$short", "scrypt:1024:8:1$",
                                          "$1$salt$hash" };
static uint64_t times[1 + sizeof(unreadable) / sizeof(unreadable[0])];

/* Of all threads: what the hash itself takes, whatever else the machine does. */
static uint64_t processor_us(void)
{
    struct timespec used;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
}

static void time_verifying(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        uint64_t before = processor_us();

        password_verify("x", i > 0 ? unreadable[i - 1] : NULL, SLOW);
        times[i] = processor_us() - before;
    }
}

/* By the time it takes, nobody learns which accounts have no usable password. */
static void test_unreadable_hashes_take_as_long(void **state)
{
    (void)state;
    in_task(time_verifying, NULL);
    for (size_t i = 1; i < sizeof(times) / sizeof(times[0]); i++)
        if (times[i] < times[0] / 4)
            fail_msg("`%s`: %d us instead of %d", unreadable[i - 1], (int)times[i],
                     (int)times[0]);
}

static int busy, finished;

static void count_one(void *arg)
{
    int rc = password_verify("x", NULL, arg ? SLOW : FAST);
    if (rc == -EBUSY)
        busy++;
    else if (rc == 0)
        finished++;
}

/* One with the thread, for as long as it takes the others to come; PASSWORD_QUEUE
 * waiting; whoever comes then is told at once. */
static void test_queue_is_bounded(void **state)
{
    (void)state;
    busy = finished = 0;
    for (int i = 0; i < PASSWORD_QUEUE + 6; i++)
        task_spawn(&(struct task_spec){
            .name = "one", .run = count_one, .arg = i == 0 ? &busy : NULL });
    task_run_loop();
    assert_int_equal(busy, 5);
    assert_int_equal(finished, PASSWORD_QUEUE + 1);
}

static int ended[3];

static void note_end(void *arg, enum task_outcome outcome)
{
    (void)arg;
    ended[outcome == TASK_DONE ? 0 : outcome == TASK_DEADLINE ? 1 : 2]++;
}

static void hash_slowly(void *arg)
{
    (void)arg;
    password_verify("x", NULL, 10);
}

/* Some leave in mid-hash, some while they wait; the queue goes on for those who stay. */
static void test_leaving_early(void **state)
{
    struct task *cancelled;

    (void)state;
    memset(ended, 0, sizeof(ended));
    for (int i = 0; i < 4; i++)
        task_spawn(&(struct task_spec){
            .name = "leaver", .run = hash_slowly, .timeout_ms = 5, .on_end = note_end });
    task_spawn(
        &(struct task_spec){ .name = "stayer", .run = hash_slowly, .on_end = note_end });
    cancelled = task_spawn(&(struct task_spec){
        .name = "cancelled", .run = hash_slowly, .on_end = note_end });
    for (int i = 0; i < 3; i++)
        uv_run(task_loop(), UV_RUN_NOWAIT);
    task_cancel(cancelled);
    task_run_loop();
    assert_int_equal(ended[0], 1);
    assert_int_equal(ended[1], 4);
    assert_int_equal(ended[2], 1);

    busy = finished = 0;
    in_task(count_one, NULL);
    assert_int_equal(finished, 1);
}

static const struct {
    const char *hash;
    int rounds;
    bool expected;
} outdated[] = {
    { "$2b$12$abcdefghijklmnopqrstuu", 12, false },
    { "$2a$12$abcdefghijklmnopqrstuu", 12, false },
    { "$2b$04$abcdefghijklmnopqrstuu", 4, false },
    { "$2b$10$abcdefghijklmnopqrstuu", 12, true },
    { "scrypt:1024:8:1$salt$00", 12, true },
    { "", 12, true },
    { "$2b$", 12, true },
};

static void test_outdated(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(outdated) / sizeof(outdated[0]); i++)
        assert_int_equal(password_is_outdated(outdated[i].hash, outdated[i].rounds),
                         outdated[i].expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_known, setup, teardown),
        cmocka_unit_test_setup_teardown(test_made, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unreadable_hashes_take_as_long, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_queue_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leaving_early, setup, teardown),
        cmocka_unit_test(test_outdated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
