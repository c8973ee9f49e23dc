/*
 * host_manners.c - be a polite guest: so many pages of a host in so many seconds,
 * and none for a while after it failed several times.
 *
 * Counted in Redis, since consumers are many processes. Without Redis there are no
 * jobs either, so then nothing holds a fetch back.
 */
#include "jobs/fetch/fetch.h"

#include "common/arena.h"
#include "common/buf.h"
#include "common/embedded.h"
#include "common/ids.h"
#include "common/log.h"
#include "common/task.h"
#include "common/url.h"
#include "lua_scripts.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define FAILURES        "5"
#define FAILURES_IN_MS  "60000"
#define CLOSED_FOR_MS   "300000"
#define LONGEST_DELAY_S 300
#define NAME_DIGITS     16

static struct redis_script admit, report;

static void load_scripts(void)
{
    if (admit.text)
        return;
    redis_script_init(&admit, "fetch_admit",
                      embedded_find(lua_scripts, "fetch_admit.lua")->data);
    redis_script_init(&report, "fetch_report",
                      embedded_find(lua_scripts, "fetch_report.lua")->data);
}

/* "5/10": five in ten seconds. False: no limit ("none", "0/10"). */
static bool read_limit(const char *text, long *ret_count, long *ret_seconds)
{
    char *end;
    long count = strtol(text, &end, 10);

    if (end == text || *end != '/' || count < 1)
        return false;
    long seconds = strtol(end + 1, &end, 10);
    if (*end != '\0' || seconds < 1 || seconds > 86400)
        return false;
    *ret_count = count;
    *ret_seconds = seconds;
    return true;
}

/* `prefix`fetch:{host}:`what`; the braces keep a host's keys in one cluster slot. */
static const char *host_key(const struct options *options, const char *url,
                            const char *what)
{
    struct buf key = BUF_IN(task_arena());
    struct url parts;

    if (!url_parse(url, strlen(url), &parts))
        return NULL;
    buf_addf(&key, "%sfetch:{", options->redis.prefix);
    for (size_t i = 0; i < parts.host_length; i++)
        buf_addc(&key, (char)tolower((unsigned char)parts.host[i]));
    buf_addf(&key, "}:%s", what);
    return buf_text(&key);
}

static long long number_of(const redisReply *reply)
{
    return reply && reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
}

int fetch_host_delay(struct redis *redis, const struct options *options, const char *url)
{
    const char *keys[] = { host_key(options, url, "pages"),
                           host_key(options, url, "closed"),
                           host_key(options, url, "waiting") };
    char name[NAME_DIGITS + 1];
    long count, seconds;
    redisReply *reply = NULL;

    if (!keys[0] || !read_limit(options->fetch.per_host, &count, &seconds))
        return 0;
    load_scripts();
    id_hex(name, NAME_DIGITS);
    const char *args[] = { arena_printf(task_arena(), "%ld", count),
                           arena_printf(task_arena(), "%ld", seconds * 1000), name };
    if (redis_run_script(redis, &admit, &reply, 3, keys, 3, args, NULL) < 0)
        return 0;
    long long delay = (number_of(reply) + 999) / 1000;
    return delay < LONGEST_DELAY_S ? (int)delay : LONGEST_DELAY_S;
}

void fetch_host_report(struct redis *redis, const struct options *options,
                       const char *url, bool failed)
{
    const char *keys[] = { host_key(options, url, "failures"),
                           host_key(options, url, "closed") };
    char name[NAME_DIGITS + 1];
    redisReply *reply = NULL;

    if (!keys[0])
        return;
    load_scripts();
    id_hex(name, NAME_DIGITS);
    const char *args[] = { failed ? "1" : "0", FAILURES, FAILURES_IN_MS, CLOSED_FOR_MS,
                           name };
    if (redis_run_script(redis, &report, &reply, 2, keys, 5, args, NULL) == 0 &&
        number_of(reply) == 1)
        log_warn("%s failed " FAILURES " times within a minute: no page of it for 300 s",
                 keys[0]);
}
