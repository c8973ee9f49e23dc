/*
 * limits.c - see limits.h.
 */
#include "worker/limits.h"
#include "common/conf_internal.h"
#include "common/log.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLASSES    (LIMIT_EXTRACT + 1)
#define MOST_COUNT 1000000000L /* counters are 4 bytes wide */

/* "5/15m" up to a comma or the end; returns where it ends, NULL when it is wrong. */
static const char *parse_window(const char *text, struct limit_window *ret)
{
    char span[32], *end;
    uint64_t ms;

    if (!isdigit((unsigned char)*text))
        return NULL;
    long most = strtol(text, &end, 10);
    if (most < 1 || most > MOST_COUNT || *end != '/')
        return NULL;
    size_t length = strcspn(end + 1, ", ");
    if (length == 0 || length >= sizeof(span))
        return NULL;
    memcpy(span, end + 1, length);
    span[length] = '\0';
    if (!conf_parse_duration(span, &ms) || ms < 1000 || ms / 1000 > INT32_MAX)
        return NULL;

    ret->most = most;
    ret->seconds = (int64_t)(ms / 1000);
    return end + 1 + length;
}

static void pack_number(char *at, int64_t number)
{
    for (int i = 0; i < 4; i++)
        at[i] = (char)(number >> 8 * i & 0xff);
}

/* What the gate needs of it, ready for use. */
static void prepare(struct limit *limit)
{
    size_t length = 0;

    for (int i = 0; i < limit->count; i++) {
        const struct limit_window *window = &limit->windows[i];
        char *packed = &limit->packed[(size_t)i * LIMIT_PACKED];

        length += (size_t)snprintf(limit->spans + length, sizeof(limit->spans) - length,
                                   "%s%d", i > 0 ? "," : "", (int)window->seconds);
        pack_number(packed, window->most);
        pack_number(packed + LIMIT_PACKED / 2, window->seconds);
    }
}

bool limit_parse(const char *text, struct limit *ret)
{
    *ret = (struct limit){ 0 };
    if (strcmp(text, "none") == 0)
        return true;
    while (*text) {
        if (ret->count == LIMIT_WINDOWS)
            return false;
        text = parse_window(text, &ret->windows[ret->count]);
        if (!text)
            return false;
        ret->count++;
        text += strspn(text, ", ");
    }
    prepare(ret);
    return ret->count > 0;
}

void limit_window_show(const struct limit_window *window, char *ret, size_t size)
{
    static const struct {
        int64_t seconds;
        const char *name;
    } units[] = { { 86400, "day" }, { 3600, "hour" }, { 60, "minute" }, { 1, "second" } };
    size_t unit = 0;

    while (window->seconds % units[unit].seconds != 0)
        unit++;
    snprintf(ret, size, "%lld per %lld %s", (long long)window->most,
             (long long)(window->seconds / units[unit].seconds), units[unit].name);
}

/* ---- the table ---- */

static struct limit table[CLASSES];

static const char *standard_of(const struct options *options)
{
    bool is_strict = options->server.environment == ENV_PRODUCTION ||
                     options->server.environment == ENV_STAGING;

    if (*options->limits.standard)
        return options->limits.standard;
    return is_strict ? "1000/1d,200/1h,50/1m" : "100000/1d,10000/1h,1000/1m";
}

bool limits_init(const struct options *options)
{
    const struct {
        const char *name, *text;
    } texts[CLASSES] = {
        [LIMIT_STANDARD] = { "limits.standard", standard_of(options) },
        [LIMIT_NONE] = { "none", "none" },
        [LIMIT_LOGIN] = { "limits.login", options->limits.login },
        [LIMIT_REGISTER] = { "limits.register", options->limits.register_ },
        [LIMIT_CHECK_USERNAME] = { "limits.check_username",
                                   options->limits.check_username },
        [LIMIT_BULK_CHECK] = { "limits.bulk_check", options->limits.bulk_check },
        [LIMIT_SEARCH] = { "limits.search", options->limits.search },
        [LIMIT_EXTRACT] = { "limits.extract", options->limits.extract },
    };

    for (size_t i = 0; i < CLASSES; i++) {
        /* An empty one falls back on the standard, as routes without one do. */
        const char *text = *texts[i].text ? texts[i].text : standard_of(options);

        if (!limit_parse(options->limits.enabled ? text : "none", &table[i])) {
            log_error("%s: `%s` is no limit such as \"5/15m,100/1h\" or \"none\"",
                      texts[i].name, text);
            return false;
        }
    }
    return true;
}

const struct limit *limits_of(enum limit_class class)
{
    return &table[class];
}
