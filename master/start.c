/*
 * start.c - what stands between a fresh master and its children: services, schema.
 *
 * Nothing waits here: each stage is looked at when something happened, so that a
 * master that is asked to stop in the middle of its start does so.
 */
#include "common/buf.h"
#include "common/log.h"
#include "jobs/redis_check.h"
#include "master/events.h"
#include "master/master.h"
#include "master/upgrade.h"
#include <sys/wait.h>

/* The database may come up after this server: wait so long for it. */
#define PATIENCE_MS    30000
#define RETRY_EVERY_MS 1000

static void give_up(struct master *m, const char *reason)
{
    upgrade_tell_failure(reason);
    m->exit_status = 1;
    stop_begin(m, true);
}

static int check_redis(struct master *m, const struct options *options)
{
    (void)m;
    return redis_check_log(options);
}

static void start_serving(struct master *m)
{
    bool has_workers = conf_count_value(&m->options->server.workers) > 0;
    struct buf error = BUF_HEAP;

    if (!has_workers ||
        listeners_start(&m->listeners, (int)m->options->server.backlog, &error)) {
        m->phase = PHASE_SERVING;
        pools_configure(m, NULL);
        upgrade_take_children(m);
        doors_begin(m);
        /* Whether its Redis keeps jobs: a matter of warnings, nobody waits for it. */
        if (spawn_short(m, "check", m->options, check_redis) < 0)
            log_warn("the queue's Redis could not be looked at");
    } else {
        log_error("%s", buf_text(&error));
        give_up(m, buf_text(&error));
    }
    buf_done(&error);
}

static void database_away(struct master *m)
{
    if (m->now - m->migration_since > PATIENCE_MS) {
        log_error("no PostgreSQL answers after %d s; see database.url (DATABASE_URL): %s",
                  PATIENCE_MS / 1000, m->note);
        give_up(m, "no PostgreSQL answers");
        return;
    }
    if (!m->migration_was_away)
        log_warn("no PostgreSQL answers at database.url (DATABASE_URL): trying for %d s: "
                 "%s",
                 PATIENCE_MS / 1000, m->note);
    m->migration_was_away = true;
    m->migration_at = m->now + RETRY_EVERY_MS;
}

bool start_reaped(struct master *m, pid_t pid, int status)
{
    if (!m->migration || pid != m->migration)
        return false;
    m->migration = 0;
    if (m->phase != PHASE_MIGRATE)
        return true;
    if (WIFEXITED(status) && WEXITSTATUS(status) == PROBE_GOOD) {
        start_serving(m);
    } else if (WIFEXITED(status) && WEXITSTATUS(status) == PROBE_AWAY) {
        database_away(m);
    } else {
        log_error("the start cannot work: %s", *m->note ? m->note : status_text(status));
        give_up(m, *m->note ? m->note : "the database cannot be used");
    }
    return true;
}

/* Once, when the configured workers are there. */
static void announce(struct master *m)
{
    struct pool *web = pool_find(m, "web");
    struct buf where = BUF_HEAP;
    int consumers = 0;

    if (m->was_announced || !web || pool_ready(m, web) < web->wanted)
        return;
    for (size_t i = 0; i < m->pool_count; i++)
        if (m->pools[i].role->board == BOARD_CONSUMER)
            consumers += m->pools[i].wanted;
    listeners_describe(&m->listeners, &where);
    log_info("forkmark %s ready: %s (%d worker%s, %d consumer%s)", FORKMARK_VERSION,
             buf_text(&where), web->wanted, web->wanted == 1 ? "" : "s", consumers,
             consumers == 1 ? "" : "s");
    event_note(EVENT_MASTER, "forkmark %s serves at %s", FORKMARK_VERSION,
               buf_text(&where));
    buf_done(&where);
    m->was_announced = true;
}

uint64_t start_turn(struct master *m)
{
    if (m->phase == PHASE_SERVICES && services_are_up(&m->services)) {
        m->phase = PHASE_MIGRATE;
        m->migration_since = m->migration_at = m->now;
    }
    if (m->phase == PHASE_MIGRATE && !m->migration) {
        if (m->now < m->migration_at)
            return m->migration_at;
        pid_t pid = spawn_short(m, "migrate", m->options, probe_start);
        if (pid > 0)
            m->migration = pid;
        else
            m->migration_at = m->now + RETRY_EVERY_MS;
        return m->migration ? NEVER : m->migration_at;
    }
    if (m->phase == PHASE_SERVING)
        announce(m);
    return NEVER;
}
