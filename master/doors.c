/*
 * doors.c - the server listens as long as HTTP workers are wanted, or still there.
 *
 * A machine for consumers alone (server.workers = 0) keeps its addresses, so that nobody
 * else takes them, but whoever connects is refused at once: a load balancer, or a person,
 * must not wait for answers that nobody gives. Workers that WINCH has put away come back
 * soon, and so their clients wait.
 */
#include "common/buf.h"
#include "common/log.h"
#include "master/master.h"
#include "master/pool_parts.h"
#include "master/upgrade.h"

/* Between two attempts at an address that somebody else has begun to listen on. */
#define RETRY_MS 1000

static void open_doors(struct master *m)
{
    struct buf error = BUF_HEAP;

    if (!listeners_start(&m->listeners, (int)m->options->server.backlog, &error)) {
        if (m->doors_at == 0)
            log_error("%s", buf_text(&error));
        m->doors_at = m->now + RETRY_MS;
    } else {
        m->doors_at = 0;
    }
    buf_done(&error);
}

void doors_begin(struct master *m)
{
    const struct pool *web = pool_find(m, "web");

    if (web && web->wanted == 0 && !web->is_put_away && !upgrade_shares_sockets(m))
        listeners_refuse(&m->listeners);
}

uint64_t doors_turn(struct master *m)
{
    const struct pool *web = pool_find(m, "web");

    if (m->phase != PHASE_SERVING || !web || upgrade_shares_sockets(m))
        return NEVER;
    struct census census = pool_census(m, web);
    if (web->wanted > 0 || web->is_put_away) {
        if (!m->listeners.is_listening && m->now >= m->doors_at)
            open_doors(m);
        return m->doors_at > m->now ? m->doors_at : NEVER;
    }
    if (m->listeners.is_listening && census.total > 0) {
        listeners_shut(&m->listeners); /* they drain in this turn, and take who waits */
    } else if (m->listeners.is_listening && census.draining == 0) {
        listeners_refuse(&m->listeners);
        log_info("no HTTP worker is wanted: the addresses are closed");
    }
    return NEVER;
}
