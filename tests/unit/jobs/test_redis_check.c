/*
 * What is said of a Redis: INFO's text and its clock, and the warnings they are worth.
 */
#include "common/buf.h"
#include "jobs/redis_check.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void collect(void *arg, enum redis_finding finding, const char *text)
{
    /* In cluster mode no job runs; all else is worth a warning. */
    assert_int_equal(finding == REDIS_FAULT, strstr(text, "cluster mode") != NULL);
    buf_adds(arg, text);
}

#define GOOD                                                              \
    "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n\r\n\n" \
    "# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n"

static void table(void **state)
{
    static const struct {
        const char *info;
        double ahead_s;
        int count;
        const char *words; /* part of what is said */
    } rows[] = {
        { GOOD, 0, 0, "" },
        { GOOD, 4.9, 0, "" },
        { GOOD, -4.9, 0, "" },
        { GOOD, 5.1, 1, "5 s ahead" },
        { GOOD, -7200, 1, "7200 s behind" },
        { "", 0, 0, "" }, /* INFO was refused */
        { "redis_version:4.0.14\r\nredis_mode:standalone\r\n", 0, 1, "is 4.0.14:" },
        { "redis_version:5.0.0\r\n", 0, 0, "" },
        { "redis_version:10.1.0\r\n", 0, 0, "" },
        { "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\n", 0, 0,
          "" },
        { "redis_version:7.0.0\nredis_mode:sentinel\n", 0, 0, "" },
        { "redis_version:7.0.0\r\nredis_mode:cluster\r\n", 0, 1, "cluster mode" },
        { "maxmemory_policy:allkeys-lru\r\n", 0, 1, "maxmemory-policy allkeys-lru" },
        { "maxmemory_policy:volatile-ttl", 0, 1, "maxmemory-policy volatile-ttl" },
        { "x_maxmemory_policy:allkeys-lru\r\n", 0, 0, "" },
        { "redis_version:3.2.1\r\nredis_mode:cluster\r\nmaxmemory_policy:allkeys-lfu\r\n",
          60, 4, "60 s ahead" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf said = BUF_HEAP;
        int count = redis_check_judge(rows[i].info, rows[i].ahead_s, collect, &said);

        if (count != rows[i].count || !strstr(buf_text(&said), rows[i].words))
            fail_msg("row %zu: %d findings: %s", i, count, buf_text(&said));
        buf_done(&said);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(table) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
