/*
 * pg_board.c - each server's line in the scoreboard, for `ctl status` and /metrics.
 *
 * A server is known by its address, so that its counters are its own whatever else a
 * reload adds or removes.
 */
#include "common/clock.h"
#include "common/log.h"
#include "common/pg_internal.h"
#include <stdio.h>
#include <string.h>

/* The i-th part of a list with commas; the last one stands for all that are missing. */
static const char *part(const char *list, unsigned i, int *ret_length)
{
    for (const char *comma; i > 0 && list && (comma = strchr(list, ',')); i--)
        list = comma + 1;
    *ret_length = list ? (int)strcspn(list, ",") : 0;
    return list ? list : "";
}

static const char *value_of(const PQconninfoOption *info, const char *keyword)
{
    for (; info && info->keyword; info++) {
        if (strcmp(info->keyword, keyword) == 0)
            return info->val && info->val[0] ? info->val : NULL;
    }
    return NULL;
}

static unsigned count_parts(const char *list)
{
    unsigned count = 1;

    for (; list && *list; list++)
        count += *list == ',';
    return count;
}

void pg_server_name(const char *url, char *ret, size_t room)
{
    PQconninfoOption *info = PQconninfoParse(url, NULL);
    const char *hosts = value_of(info, "host"), *ports = value_of(info, "port");
    size_t used = 0;

    if (!hosts)
        hosts = value_of(info, "hostaddr");
    ret[0] = '\0';
    for (unsigned i = 0; i < count_parts(hosts) && used < room; i++) {
        int host_length, port_length;
        const char *host = part(hosts, i, &host_length);
        const char *port = part(ports, i, &port_length);

        used += (size_t)snprintf(
            ret + used, room - used, "%s%.*s:%.*s", i ? "," : "",
            host_length ? host_length : 9, host_length ? host : "localhost",
            port_length ? port_length : 4, port_length ? port : "5432");
    }
    PQconninfoFree(info);
}

/* Behind one pooler all servers have one address: there the database says which it is. */
static void add_database(struct pg *pg)
{
    const char *own = value_of(pg->info, "dbname");
    const char *usual = pg->primary ? value_of(pg->primary->info, "dbname") : own;
    size_t used = strlen(pg->name);

    if (own && usual && strcmp(own, usual) != 0)
        snprintf(pg->name + used, sizeof(pg->name) - used, "/%s", own);
}

void pg_board_open(struct pg *pg)
{
    struct board_slot *slot = pg->options.slot;

    add_database(pg);
    pg->board_place = -1;
    if (!slot || !pg->options.board)
        return;
    pg->board_place = board_server_place(pg->options.board, pg->name);
    if (pg->board_place < 0) {
        log_warn(
            "PostgreSQL %s is used, but not shown: since this master began there were "
            "%d others; a restart forgets those that are gone",
            pg->name, BOARD_SERVERS);
        return;
    }
    pg->board = &slot->servers[pg->board_place];
    pg->board->lag_ms = -1;
    pg->board->role = pg->primary ? BOARD_SERVER_REPLICA : BOARD_SERVER_PRIMARY;
}

static int state_of(const struct pg *pg, uint64_t max_lag_ms)
{
    const struct pg_health *health = &pg->health;

    if (!pg_is_usable(pg))
        return BOARD_SERVER_DOWN;
    if (health->state == PG_STATE_UNKNOWN)
        return pg->open > pg->connecting ? BOARD_SERVER_UP : BOARD_SERVER_UNKNOWN;
    if (!pg->primary)
        return health->is_replica ? BOARD_SERVER_READ_ONLY : BOARD_SERVER_UP;
    if (!health->is_replica)
        return BOARD_SERVER_PROMOTED;
    return health->caught_up_ms && clock_ms() - health->caught_up_ms <= max_lag_ms
               ? BOARD_SERVER_UP
               : BOARD_SERVER_BEHIND;
}

void pg_board_show(const struct pg *pg, uint64_t max_lag_ms)
{
    const struct pg_health *health = &pg->health;

    if (!pg->board)
        return;
    pg->board->state = state_of(pg, max_lag_ms);
    pg->board->lag_ms = pg->primary && health->is_replica && health->caught_up_ms
                            ? (int64_t)(clock_ms() - health->caught_up_ms)
                            : -1;
}

void pg_board_count(const struct pg *pg, enum pg_count what)
{
    if (pg->board_place < 0)
        return;
    struct board_counters *count = &pg->options.slot->count;
    _Atomic uint64_t *const counters[] = {
        [PG_COUNT_QUERIES] = count->server_queries,
        [PG_COUNT_WAITS] = count->server_waits,
        [PG_COUNT_RETRIES] = count->server_retries,
    };

    atomic_fetch_add_explicit(&counters[what][pg->board_place], 1, memory_order_relaxed);
}
