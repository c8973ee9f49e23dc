/*
 * test_services.c - what is embedded when, the data folder, its lock and secrets.
 */
#include "tests/unit/testing.h"

#include "common/buf.h"
#include "master/data.h"
#include "master/services.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/fm-services-XXXXXX";

static struct options *load(const char *const *sets)
{
    struct conf_input input = { .sets = sets };
    struct buf errors = BUF_HEAP;
    struct options *options = options_load(&input, &errors);

    if (!options)
        fail_msg("%s", buf_text(&errors));
    buf_done(&errors);
    return options;
}

static void services_are_embedded_by_rule(void **state)
{
    static const char pg[] = "database.url=postgresql:///x", redis[] = "redis.host=r",
                      production[] = "server.environment=production",
                      yes[] = "services.mode=yes", no[] = "services.mode=no",
                      there[] = "services.data=/tmp",
                      missing[] = "services.data=/nowhere/data";
    static const struct {
        const char *sets[5];
        bool postgres, redis;
        const char *error;
    } cases[] = {
        { { missing }, true, true, NULL },
        { { missing, pg }, false, true, NULL },
        { { missing, redis }, true, false, NULL },
        { { missing, pg, redis, production }, false, false, NULL },
        { { missing, production }, false, false, "DATABASE_URL is not set" },
        { { missing, production, pg }, false, false, "REDIS_URL is not set" },
        { { missing, production, yes }, true, true, NULL },
        { { there, production }, true, true, NULL },
        { { there, no }, false, false, "DATABASE_URL is not set" },
        { { there, no, pg }, false, false, "REDIS_URL is not set" },
        { { there, no, pg, redis }, false, false, NULL },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct options *options = load(cases[i].sets);
        struct account account = { 0 };
        struct buf error = BUF_HEAP;
        struct data data;
        bool embedded[SERVICE_COUNT] = { 0 };

        data_locate(options, &account, &data);
        bool is_good = services_choose(options, &data, embedded, &error);
        assert_int_equal(is_good, cases[i].error == NULL);
        if (cases[i].error)
            assert_non_null(strstr(buf_text(&error), cases[i].error));
        assert_int_equal(embedded[SERVICE_POSTGRES], cases[i].postgres);
        assert_int_equal(embedded[SERVICE_REDIS], cases[i].redis);
        buf_done(&error);
        options_free(options);
    }
}

static void addresses_are_escaped_and_secrets_made_once(void **state)
{
    static const bool both[SERVICE_COUNT] = { true, true };
    char set[128], path[PATH_MAX + 32];
    const char *const sets[] = { set, NULL };
    struct account account = { 0 };
    struct buf error = BUF_HEAP;
    struct data data;
    struct stat status;
    (void)state;

    snprintf(set, sizeof(set), "services.data=%s/a b%%", folder);
    struct options *options = load(sets), *again = load(sets);
    data_locate(options, &account, &data);
    assert_true(services_complete(options, &data, both, &error));
    assert_non_null(strstr(options->database.url, "/a%20b%25/run"));
    assert_non_null(strstr(options->redis.url, "/a%20b%25/run/redis.sock?db=0"));
    assert_int_equal(strlen(options->auth.secret_key), 64);
    assert_string_not_equal(options->auth.secret_key, options->auth.jwt_secret);
    snprintf(path, sizeof(path), "%s/secrets/jwt_secret", data.folder);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);

    assert_true(services_complete(again, &data, both, &error));
    assert_string_equal(again->auth.secret_key, options->auth.secret_key);
    assert_string_equal(again->auth.jwt_secret, options->auth.jwt_secret);

    options_free(again);
    again = load(sets);
    assert_int_equal(truncate(path, 10), 0); /* never replaced behind one's back */
    assert_false(services_complete(again, &data, both, &error));
    assert_non_null(strstr(buf_text(&error), "jwt_secret"));
    options_free(options);
    options_free(again);
    buf_done(&error);
}

static void production_makes_no_secrets(void **state)
{
    static const char *const sets[] = { "server.environment=production", NULL };
    static const bool none[SERVICE_COUNT] = { false, false };
    struct options *options = load(sets);
    struct account account = { 0 };
    struct buf error = BUF_HEAP;
    struct data data;
    (void)state;

    data_locate(options, &account, &data);
    assert_false(services_complete(options, &data, none, &error));
    assert_non_null(strstr(buf_text(&error), "SECRET_KEY"));
    options_free(options);
    buf_done(&error);
}

static void a_data_folder_has_one_master(void **state)
{
    char set[128];
    const char *const sets[] = { set, NULL };
    struct account account = { 0 };
    struct buf error = BUF_HEAP;
    struct data data;
    int status;
    (void)state;

    snprintf(set, sizeof(set), "services.data=%s/deep/er", folder);
    struct options *options = load(sets);
    data_locate(options, &account, &data);
    assert_true(data_open(&data, &account, &error));
    pid_t pid = fork();
    if (pid == 0) {
        struct data other;

        data_locate(options, &account, &other);
        _exit(data_open(&other, &account, &error)                      ? 1
              : strstr(buf_text(&error), "in use by another forkmark") ? 0
                                                                       : 2);
    }
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    data_close(&data);
    assert_true(data_open(&data, &account, &error));
    data_close(&data);
    options_free(options);
    buf_done(&error);
}

static void a_long_path_gets_short_sockets(void **state)
{
    char set[300], run[PATH_MAX + 8];
    const char *const sets[] = { set, NULL };
    struct account account = { 0 };
    struct buf error = BUF_HEAP;
    struct data data;
    (void)state;

    snprintf(set, sizeof(set), "services.data=%s/%0100d", folder, 7);
    struct options *options = load(sets);
    data_locate(options, &account, &data);
    assert_true(data.is_short_of_room);
    assert_true(strlen(data.sockets) < 40);
    assert_true(data_open(&data, &account, &error));
    assert_true(data_make_sockets(&data, &account, &error));
    snprintf(run, sizeof(run), "%s/run", data.sockets);
    assert_int_equal(access(run, F_OK), 0);
    assert_int_equal(rmdir(run), 0);

    assert_int_equal(chmod(data.sockets, 0777), 0); /* anybody's: not to be trusted */
    assert_false(data_make_sockets(&data, &account, &error));
    assert_int_equal(rmdir(data.sockets), 0);
    data_close(&data);
    options_free(options);
    buf_done(&error);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    char command[64];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(services_are_embedded_by_rule),
        cmocka_unit_test(addresses_are_escaped_and_secrets_made_once),
        cmocka_unit_test(production_makes_no_secrets),
        cmocka_unit_test(a_data_folder_has_one_master),
        cmocka_unit_test(a_long_path_gets_short_sockets),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
