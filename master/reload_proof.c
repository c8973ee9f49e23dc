/*
 * reload_proof.c - what a reload tries out before anything changes: a short-lived child
 * looks at the database, then one child of the new generation has to become ready.
 */
#include "master/master.h"
#include "master/reload_parts.h"
#include <sys/wait.h>

#define PROBE_MS 30000
#define PROOF_MS 30000

/* ---- the proof ---- */

static bool has_other_work(struct master *m, const struct pool *pool)
{
    const struct pool_options *was = options_pool(m->options, pool->name);
    const struct pool_options *is = options_pool(m->reload.next, pool->name);

    return was && is && !pool_has_same_work(m->options, was, m->reload.next, is);
}

/* Whose configuration can be tried out: workers first, else consumers; where only
 * consumers of some pool are replaced, one of these. */
static struct pool *pool_to_prove(struct master *m)
{
    const struct options *next = m->reload.next ? m->reload.next : m->options;

    for (size_t i = 0; i < m->pool_count; i++) {
        struct pool *pool = &m->pools[i];
        int configured = pool->role->board == BOARD_WORKER
                             ? conf_count_most(&next->server.workers)
                         : options_pool(next, pool->name) ? pool->wanted
                                                          : 0;

        if (pool->is_removed || pool->wanted == 0 || configured == 0 ||
            pool->role->board == BOARD_SCHEDULER)
            continue;
        if (m->reload.needs_children || has_other_work(m, pool))
            return pool; /* pools_configure() made "web" the first */
    }
    return NULL;
}

void reload_start_proof(struct master *m)
{
    struct reload *r = &m->reload;
    bool is_to_prove = r->needs_children || r->has_other_work;
    struct pool *pool = is_to_prove ? pool_to_prove(m) : NULL;

    if (!pool) {
        reload_commit(m);
        return;
    }
    r->stage = RELOAD_PROOF;
    r->deadline = m->now + PROOF_MS;
    r->proof = pool_start_proof(m, pool, m->generation + 1);
    if (!r->proof)
        reload_fail(m, "no process can be started to try the new configuration\n");
}

/* ---- the probe ---- */

void reload_probe(struct master *m)
{
    struct reload *r = &m->reload;
    pid_t pid = spawn_short(m, "probe", r->next ? r->next : m->options, probe_reload);

    if (pid < 0) {
        reload_fail(m, "no process can be started to look at the database\n");
        return;
    }
    r->probe = pid;
    r->stage = RELOAD_PROBE;
    r->deadline = m->now + PROBE_MS;
}

bool reload_reaped(struct master *m, pid_t pid, int status)
{
    struct reload *r = &m->reload;

    if (!r->probe || pid != r->probe)
        return false;
    r->probe = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == PROBE_GOOD)
        reload_start_proof(m);
    else if (*m->note && r->needs_migration)
        reload_fail_at(
            m, *r->next->database.migrate_url ? "database.migrate_url" : "database.url",
            m->note);
    else
        reload_fail_at(m, reload_option_of(m->note),
                       *m->note ? m->note : status_text(status));
    return true;
}
