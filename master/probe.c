/*
 * probe.c - what a short-lived child finds out about the database: does it answer, is
 * it at this program's schema, and has it room for the connections of all processes?
 * Whether certificate and key fit, and whether the queue's Redis will do: one that is
 * away will, its turn comes later.
 *
 * libpq is not for the master itself. What there is to say stands in m->note.
 */
#include "common/buf.h"
#include "common/clock.h"
#include "common/connect.h"
#include "common/log.h"
#include "jobs/redis_check.h"
#include "master/deployment.h"
#include "master/master.h"
#include "master/tls_files.h"
#include "master/upgrade.h"
#include "queries.h"
#include "sql/migrate.h"
#include <errno.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* Per process; see worker.c, consumer.c and scheduler.c. */
#define CONSUMER_BASE      1
#define CONSUMER_OVERFLOW  1
#define SCHEDULER_BASE     2
#define SCHEDULER_OVERFLOW 1
/* A primary that is only starting comes first: so long nobody serves from replicas. */
#define PRIMARY_MS 5000
/* Replicas are asked one after the other: so long all of them together, about. */
#define REPLICAS_MS 10000
/* Of a worker's descriptors, beside its connections: pools, Redis, logs, libraries. */
#define FILES_ASIDE 256

static const char *migration_url(const struct options *options)
{
    return *options->database.migrate_url ? options->database.migrate_url
                                          : options->database.url;
}

static void note(struct master *m, const char *text)
{
    snprintf(m->note, NOTE_BYTES, "%s", text);
}

/* ---- connections ---- */

struct budget {
    int64_t workers, consumers, schedulers; /* processes, one worker more for a roll */
    int64_t base, overflow;
};

/* At the height of load; what an operator scaled counts, unless the file changes at the
 * same time. */
static int processes(struct master *m, const char *name, const struct conf_count *range)
{
    const struct pool *pool = pool_find(m, name);
    int most = conf_count_most(range);

    if (!pool || pool->configured != conf_count_value(range) || pool->most != most)
        return most;
    bool is_range = most > pool->configured;
    return is_range && most > pool->wanted ? most : pool->wanted;
}

static struct budget add_up(struct master *m, const struct options *options)
{
    struct budget sum = { .schedulers = options->jobs.scheduler };

    sum.workers = processes(m, "web", &options->server.workers);
    sum.workers += sum.workers > 0;
    for (size_t i = 0; i < options->jobs.pool_count; i++)
        sum.consumers +=
            processes(m, options->jobs.pools[i].name, &options->jobs.pools[i].consumers);
    sum.base = sum.workers * options->database.pool_size + sum.consumers * CONSUMER_BASE +
               sum.schedulers * SCHEDULER_BASE;
    sum.overflow = sum.workers * options->database.max_overflow +
                   sum.consumers * CONSUMER_OVERFLOW +
                   sum.schedulers * SCHEDULER_OVERFLOW;
    return sum;
}

static void spell_out(const struct budget *sum, int64_t per_worker, int64_t per_consumer,
                      int64_t per_scheduler, struct buf *out)
{
    buf_addf(out,
             "%lld workers (one more while they are replaced) x %lld + %lld "
             "consumers x %lld",
             (long long)sum->workers, (long long)per_worker, (long long)sum->consumers,
             (long long)per_consumer);
    if (sum->schedulers)
        buf_addf(out, " + scheduler %lld", (long long)per_scheduler);
}

/* A server's room, or -1: it cannot be asked. */
static int64_t ask_room(const char *url, const char *patience_s, struct buf *error)
{
    const char *const names[] = { "connect_timeout", "dbname", "application_name", NULL };
    const char *const values[] = { patience_s, url, "forkmark probe", NULL };
    PGconn *connection = PQconnectdbParams(names, values, 1);
    PGresult *result = NULL;
    int64_t room = -1;

    if (PQstatus(connection) == CONNECTION_OK)
        result = PQexec(connection, sql_server_room.text);
    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1) {
        room = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    } else {
        const char *why = PQerrorMessage(connection);

        buf_add(error, why, strcspn(why, "\n"));
    }
    PQclear(result);
    PQfinish(connection);
    return room;
}

/* False: the base connections alone are more than the server takes. */
static bool check_connections(struct master *m, const struct options *options,
                              struct buf *error)
{
    struct budget sum = add_up(m, options);
    struct buf why = BUF_HEAP;

    /* A pooler's clients are not the server's connections. */
    if (*options->database.pooler_url)
        return true;
    int64_t room = ask_room(options->database.url, "5", &why);
    if (room < 0) {
        log_warn("max_connections of the database is not known: %s", buf_text(&why));
    } else if (sum.base > room) {
        buf_addf(error, "the processes keep %lld connections to the database open (",
                 (long long)sum.base);
        spell_out(&sum, options->database.pool_size, CONSUMER_BASE, SCHEDULER_BASE,
                  error);
        buf_addf(error,
                 "), but its max_connections leaves %lld: fewer processes, a smaller "
                 "database.pool_size, or a larger max_connections",
                 (long long)room);
    } else if (sum.base + sum.overflow > room) {
        spell_out(&sum, options->database.pool_size + options->database.max_overflow,
                  CONSUMER_BASE + CONSUMER_OVERFLOW, SCHEDULER_BASE + SCHEDULER_OVERFLOW,
                  &why);
        log_warn("at the height of load the processes open %lld connections to the "
                 "database (%s), but its max_connections leaves %lld: some will wait",
                 (long long)(sum.base + sum.overflow), buf_text(&why), (long long)room);
    } else if (upgrade_is_second(m) && 2 * (sum.base + sum.overflow) > room) {
        log_warn("together with the former master's the processes may open %lld "
                 "connections to the database, but its max_connections leaves %lld: some "
                 "will wait until the former master has gone",
                 (long long)(2 * (sum.base + sum.overflow)), (long long)room);
    }
    buf_done(&why);
    return error->length == 0;
}

/* Read replicas have the connections of HTTP workers alone. False: `error`. */
static bool check_room_of(const char *name, const struct budget *sum, int64_t room,
                          const struct options *options, struct buf *error)
{
    int64_t size = options->database.pool_size;
    int64_t base = sum->workers * size;
    int64_t most = base + sum->workers * options->database.max_overflow;

    if (base > room)
        buf_addf(error,
                 "the workers keep %lld connections to the replica %s open (%lld workers "
                 "(one more while they are replaced) x %lld), but its max_connections "
                 "leaves %lld: fewer workers, a smaller database.pool_size, or a larger "
                 "max_connections",
                 (long long)base, name, (long long)sum->workers, (long long)size,
                 (long long)room);
    else if (most > room)
        log_warn("at the height of load the workers open %lld connections to the replica "
                 "%s (%lld x %lld), but its max_connections leaves %lld: some will wait",
                 (long long)most, name, (long long)sum->workers,
                 (long long)(size + options->database.max_overflow), (long long)room);
    return base <= room;
}

/* One that does not answer is no reason to refuse anything: reads go elsewhere, and the
 * workers try it until it does. */
static bool check_replicas(struct master *m, const struct options *options,
                           struct buf *error)
{
    const struct conf_list *replicas = &options->database.replicas;
    struct budget sum = add_up(m, options);
    uint64_t until = clock_ms() + REPLICAS_MS;
    bool is_pooled = strcmp(options->database.pool_mode, "transaction") == 0;

    if (sum.workers == 0)
        return true;
    unsetenv("PGTARGETSESSIONATTRS");
    for (size_t i = 0; i < replicas->count && clock_ms() < until; i++) {
        struct buf why = BUF_HEAP;
        int64_t room = ask_room(replicas->items[i], "2", &why);
        char name[160];

        pg_server_name(replicas->items[i], name, sizeof(name));
        if (room < 0)
            log_warn("the replica %s does not answer; reads go elsewhere until it does: "
                     "%s",
                     name, buf_text(&why));
        buf_done(&why);
        if (room >= 0 && !is_pooled && !check_room_of(name, &sum, room, options, error))
            return false;
    }
    return true;
}

static int judge(struct master *m, const struct options *options)
{
    struct buf error = BUF_HEAP;
    bool is_good =
        tls_files_check(options, &error) && check_connections(m, options, &error) &&
        check_replicas(m, options, &error) && redis_check_probe(options, &error);

    if (!is_good)
        note(m, buf_text(&error));
    buf_done(&error);
    return is_good ? PROBE_GOOD : PROBE_FAILED;
}

/* ---- the schema ---- */

static int migrate(struct master *m, const struct options *options)
{
    struct buf error = BUF_HEAP;
    /* With a database of its own no other program can be older, but for the one whose
     * place this takes right now. */
    bool is_alone = m->embedded[SERVICE_POSTGRES] && !upgrade_has_heirs();
    int rc = is_alone ? migrate_contract(migration_url(options), &error)
                      : migrate_run(migration_url(options), &error);

    if (rc < 0)
        note(m, buf_text(&error));
    else
        deployment_compare(options, migration_url(options));
    buf_done(&error);
    return rc < 0 ? PROBE_FAILED : PROBE_GOOD;
}

/* With the primary away: does a replica answer, with all of the migrations? */
static bool is_on_a_replica(const struct options *options)
{
    const struct conf_list *replicas = &options->database.replicas;
    bool is_found = false;

    unsetenv("PGTARGETSESSIONATTRS");
    for (size_t i = 0; i < replicas->count && !is_found; i++) {
        struct buf why = BUF_HEAP;
        int missing, applied = migrate_status(replicas->items[i], &missing, &why);

        is_found = applied >= 0 && missing == 0;
        if (applied >= 0 && !is_found)
            log_warn("a replica lacks %d migrations: without the primary there is no "
                     "serving from it",
                     missing);
        buf_done(&why);
    }
    return is_found;
}

/* A line for each host that was tried, as one. */
static void note_lines(struct master *m, const char *lines)
{
    char text[NOTE_BYTES];
    size_t length = 0;

    for (; *lines && length + 3 < sizeof(text); lines++) {
        if (*lines != '\n') {
            text[length++] = *lines;
        } else if (lines[1]) {
            text[length++] = ';';
            text[length++] = ' ';
        }
    }
    text[length] = '\0';
    note(m, text);
}

/*
 * PROBE_GOOD: somebody answers, be it with a refusal, which migrate() will tell. Else why
 * not stands in m->note; certificates that are wrong do not become right by waiting.
 */
static int find_primary(struct master *m, const struct options *options)
{
    const char *const names[] = { "dbname", "connect_timeout", NULL };
    const char *const values[] = { migration_url(options), "5", NULL };
    PGconn *connection = PQconnectdbParams(names, values, 1);
    const char *why = PQerrorMessage(connection);
    int found = PROBE_GOOD;

    if (PQstatus(connection) != CONNECTION_OK) {
        PGPing state = PQpingParams(names, values, 1);

        note_lines(m, why);
        if (strstr(why, "session is read-only")) /* a fail-over is under way */
            found = PROBE_AWAY;
        else if (state == PQPING_NO_RESPONSE || state == PQPING_REJECT)
            found = strstr(why, "certificate") || strstr(why, "support SSL")
                        ? PROBE_FAILED
                        : PROBE_AWAY;
    }
    PQfinish(connection);
    return found;
}

int probe_start(struct master *m, const struct options *options)
{
    connect_pg_defaults(options);
    int status = find_primary(m, options);

    if (status == PROBE_AWAY && m->now - m->migration_since >= PRIMARY_MS &&
        is_on_a_replica(options)) {
        log_warn("the primary is away (%s): until it is back reads are served from "
                 "replicas, and whoever writes is told to try again",
                 m->note);
        return judge(m, options);
    }
    if (status == PROBE_GOOD)
        status = migrate(m, options);
    return status == PROBE_GOOD ? judge(m, options) : status;
}

int probe_reload(struct master *m, const struct options *options)
{
    connect_pg_defaults(options);
    int status = m->reload.needs_migration ? migrate(m, options) : PROBE_GOOD;

    if (status == PROBE_GOOD)
        status = judge(m, options);
    connect_pg_defaults(options); /* replicas were asked in another way */
    if (status == PROBE_GOOD && !m->reload.needs_migration)
        deployment_compare(options, migration_url(options));
    return status;
}

/* ---- files ---- */

bool budget_files(const struct options *options, struct buf *error)
{
    rlim_t connections = (rlim_t)options->server.worker_connections;
    rlim_t wanted = connections + FILES_ASIDE;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
        return true;
    if (limit.rlim_max < wanted) {
        struct rlimit more = { .rlim_cur = wanted, .rlim_max = wanted };

        /* A privileged master may go beyond what it was given. */
        if (setrlimit(RLIMIT_NOFILE, &more) == 0)
            return true;
        buf_addf(error,
                 "a worker needs %llu descriptors (server.worker_connections %llu + %d), "
                 "but this process may open only %llu: see ulimit -n, LimitNOFILE",
                 (unsigned long long)wanted, (unsigned long long)connections, FILES_ASIDE,
                 (unsigned long long)limit.rlim_max);
        return false;
    }
    limit.rlim_cur = wanted;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}
