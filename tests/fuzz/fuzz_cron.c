/*
 * fuzz_cron.c - any bytes as a cron expression, and as a time zone's file.
 */
#include "common/cron.h"
#include "tests/fuzz/fuzzing.h"
#include <string.h>

/* A good one is due again and again, and backwards as forwards. */
static void check_times(const struct cron *cron, const struct zone *zone, int64_t at)
{
    for (int i = 0; i < 3; i++) {
        int64_t next = cron_next(cron, zone, at);

        if (next == CRON_NEVER)
            return;
        require(next > at);
        require(cron_next(cron, zone, next - 1) == next);
        require(cron_last(cron, zone, next) == next);
        at = next;
    }
}

static void check_expression(const char *text)
{
    static struct zone *zones[2];
    const char *zone_error;
    char error[CRON_ERROR_SIZE] = "";
    struct cron cron;

    if (!zones[0]) {
        zones[0] = zone_open("UTC", &zone_error);
        zones[1] = zone_open("Australia/Lord_Howe", &zone_error);
    }
    bool is_good = cron_parse(text, &cron, error);
    require(is_good == (*error == '\0'));
    for (size_t i = 0; is_good && i < 2; i++) {
        if (zones[i]) {
            check_times(&cron, zones[i], 1775300000);
            check_times(&cron, zones[i], 4000000000);
        }
    }
}

static void check_zone(const uint8_t *data, size_t size)
{
    struct zone *zone = zone_read(data, size);
    int64_t at = 1700000000;

    if (!zone)
        return;
    for (int i = 0; i < 4; i++) {
        int64_t next = zone_next_change(zone, at);

        require(zone_abbreviation(zone, at) != NULL);
        if (next == INT64_MAX)
            break;
        require(next > at);
        require(zone_offset(zone, next) != zone_offset(zone, next - 1));
        at = next;
    }
    zone_free(zone);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[300];

    if (size < sizeof(text)) {
        memcpy(text, data, size);
        text[size] = '\0';
        check_expression(text);
    }
    check_zone(data, size);
    return 0;
}
