/*
 * notify.c - see notify.h.
 */
#include "master/notify.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/master.h"
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* sd_watchdog_enabled(3) advises half the time; a quarter forgives one lost turn. */
#define FEEDS_PER_WATCHDOG  4
#define SHORTEST_SILENCE_MS 1000

static void say(struct master *m, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void say(struct master *m, const char *format, ...)
{
    char text[1024];
    va_list args;

    if (m->manager.fd < 0 || m->manager.is_mute)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (sendto(m->manager.fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT,
               (struct sockaddr *)&m->manager.address, m->manager.length) < 0)
        log_debug("the service manager was not told `%.*s`: %s", (int)strcspn(text, "\n"),
                  text, strerror(errno));
}

/* A path, or a name of the abstract kind, written with @. False: neither. */
static bool read_address(struct notify *notify, const char *path)
{
    size_t length = strlen(path);

    if ((path[0] != '/' && path[0] != '@') || length < 2 ||
        length >= sizeof(notify->address.sun_path))
        return false;
    notify->address.sun_family = AF_UNIX;
    memcpy(notify->address.sun_path, path, length + 1);
    memcpy(notify->path, path, length + 1);
    if (path[0] == '@')
        notify->address.sun_path[0] = '\0';
    notify->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    return true;
}

static uint64_t read_watchdog(const struct master *m)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

    if (!usec || (pid && strtol(pid, NULL, 10) != m->pid))
        return 0;
    return strtoull(usec, NULL, 10) / 1000;
}

void notify_open(struct master *m)
{
    struct notify *notify = &m->manager;
    const char *path = getenv("NOTIFY_SOCKET");

    notify->fd = -1;
    notify->status = (struct buf)BUF_HEAP;
    if (path && *path && read_address(notify, path)) {
        notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        notify->watchdog_ms = read_watchdog(m);
    } else if (path && *path) {
        log_warn(
            "NOTIFY_SOCKET is no socket's path: the service manager is told nothing");
    }
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void notify_done(struct master *m)
{
    if (m->manager.fd >= 0)
        close(m->manager.fd);
    m->manager.fd = -1;
    buf_done(&m->manager.status);
}

/* ---- what there is to say ---- */

static const char *noun(const struct pool *pool, bool is_one)
{
    if (pool->role->board == BOARD_WORKER)
        return is_one ? "worker" : "workers";
    if (pool->role->board == BOARD_CONSUMER)
        return is_one ? "consumer" : "consumers";
    return pool->role->name;
}

static void add_pools(struct master *m, struct buf *out)
{
    for (size_t i = 0; i < m->pool_count; i++) {
        const struct pool *pool = &m->pools[i];

        if (pool->is_removed)
            continue;
        buf_addf(out, "%s%d of %d %s", out->length > 0 ? ", " : "", pool_ready(m, pool),
                 pool->wanted, noun(pool, pool->wanted == 1));
        if (pool->role->board == BOARD_CONSUMER)
            buf_addf(out, " (%s)", pool->name);
    }
}

static void make_status(struct master *m, struct buf *out)
{
    const struct reload *reload = &m->reload;

    if (m->phase == PHASE_SERVICES)
        buf_adds(out, "waiting for the embedded services");
    else if (m->phase == PHASE_MIGRATE)
        buf_adds(out, "bringing the database's schema up to date");
    else if (m->phase != PHASE_SERVING)
        buf_addf(out, "stopping, %zu processes left", pools_left(m));
    else
        add_pools(m, out);
    if (m->phase != PHASE_SERVING)
        return;
    if (reload_is_busy(m))
        buf_adds(out, "; reloading");
    else if (reload->has_failed)
        buf_addf(out, "; the last reload failed: %.*s",
                 (int)strcspn(reload->failure, "\n"), reload->failure);
}

static void tell_status(struct master *m)
{
    struct buf text = BUF_HEAP;

    make_status(m, &text);
    if (strcmp(buf_text(&text), buf_text(&m->manager.status)) != 0) {
        say(m, "STATUS=%s", buf_text(&text));
        buf_clear(&m->manager.status);
        buf_adds(&m->manager.status, buf_text(&text));
    }
    buf_done(&text);
}

/* ---- readiness ---- */

static void tell_readiness(struct master *m)
{
    struct notify *notify = &m->manager;

    if (m->phase != PHASE_SERVING)
        return;
    if (!notify->is_ready) {
        if (!pools_serve(m))
            return;
        notify->is_ready = true;
        notify->is_reloading = false;
        say(m, "READY=1");
    } else if (notify->is_reloading && !reload_is_busy(m)) {
        notify->is_reloading = false;
        say(m, "READY=1");
    } else if (!notify->is_reloading && reload_is_busy(m)) {
        notify_reloading(m);
    }
}

void notify_reloading(struct master *m)
{
    if (!m->manager.is_ready || m->manager.is_reloading || m->phase != PHASE_SERVING)
        return;
    m->manager.is_reloading = true;
    say(m, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)clock_us());
}

void notify_stopping(struct master *m)
{
    if (!m->manager.is_stopping)
        say(m, "STOPPING=1");
    m->manager.is_stopping = true;
}

void notify_main_pid(struct master *m, pid_t pid)
{
    say(m, "MAINPID=%d", (int)pid);
    m->manager.is_mute = true; /* the service goes on */
}

/* ---- the watchdog ---- */

bool notify_is_quorum(int healthy, int wanted)
{
    return healthy >= wanted || 2 * healthy > wanted;
}

static bool is_healthy(const struct master *m, size_t index)
{
    const struct child *child = &m->children[index];
    uint64_t limit = m->manager.watchdog_ms / 2;

    if (limit < SHORTEST_SILENCE_MS)
        limit = SHORTEST_SILENCE_MS;
    return child->pid && child->was_ready && !child->is_draining && !child->was_killed &&
           watch_silence(m, index) < limit;
}

/* Of the workers; a machine without them has consumers that count. */
static bool has_quorum(const struct master *m)
{
    enum board_role role = BOARD_CONSUMER;
    int wanted[BOARD_SCHEDULER + 1] = { 0 }, healthy[BOARD_SCHEDULER + 1] = { 0 };

    for (size_t i = 0; i < m->pool_count; i++)
        if (!m->pools[i].is_removed)
            wanted[m->pools[i].role->board] += m->pools[i].wanted;
    for (size_t i = 0; i < board_slots(m->board); i++)
        if (is_healthy(m, i))
            healthy[m->children[i].pool->role->board]++;
    if (wanted[BOARD_WORKER] > 0)
        role = BOARD_WORKER;
    return notify_is_quorum(healthy[role], wanted[role]);
}

static uint64_t feed(struct master *m)
{
    struct notify *notify = &m->manager;

    if (notify->watchdog_ms == 0 || !notify->is_ready)
        return NEVER;
    if (m->now < notify->feed_at)
        return notify->feed_at;
    notify->feed_at = m->now + notify->watchdog_ms / FEEDS_PER_WATCHDOG;
    bool is_well = m->phase != PHASE_SERVING || has_quorum(m);
    if (is_well)
        say(m, "WATCHDOG=1");
    else if (notify->was_healthy)
        log_error("most of the workers do not answer: the service manager's watchdog is "
                  "not fed any more");
    else
        log_debug("the watchdog is not fed");
    notify->was_healthy = is_well;
    return notify->feed_at;
}

uint64_t notify_turn(struct master *m)
{
    if (m->manager.fd < 0 || m->manager.is_mute)
        return NEVER;
    tell_readiness(m);
    tell_status(m);
    return feed(m);
}
