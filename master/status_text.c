/*
 * status_text.c - the status (status.h) as people read it: a tree of the processes.
 */
#include "common/buf.h"
#include "master/status.h"
#include <stdbool.h>
#include <string.h>

double status_number(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

const char *status_word(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    return cJSON_IsString(item) ? item->valuestring : "";
}

static void add_age(struct buf *out, double seconds)
{
    long whole = (long)seconds;

    if (whole < 60)
        buf_addf(out, "%lds", whole);
    else if (whole < 3600)
        buf_addf(out, "%ldm%02lds", whole / 60, whole % 60);
    else
        buf_addf(out, "%ldh%02ldm", whole / 3600, whole / 60 % 60);
}

static void add_child(const cJSON *child, const char *role, struct buf *out)
{
    const cJSON *doing = cJSON_GetObjectItemCaseSensitive(child, "doing");

    struct buf age = BUF_HEAP;

    add_age(&age, status_number(child, "age"));
    buf_addf(out, "%-22s pid %-7.0f %-8s %7s %6.1f MB", status_word(child, "name"),
             status_number(child, "pid"), status_word(child, "state"), buf_text(&age),
             status_number(child, "memory") / 1048576);
    buf_done(&age);
    if (strcmp(role, "scheduler") != 0)
        buf_addf(out, "  busy %3.0f %% %7.1f/s", status_number(child, "busy") * 100,
                 status_number(child, "per_second"));
    if (strcmp(role, "worker") == 0)
        buf_addf(out, "  %.0f connections, %.0f requests, %.0f errors",
                 status_number(child, "connections"), status_number(child, "requests"),
                 status_number(child, "errors_5xx"));
    else if (strcmp(role, "consumer") == 0)
        buf_addf(out, "  %.0f jobs, %.0f failed", status_number(child, "jobs_done"),
                 status_number(child, "jobs_failed"));
    if (doing)
        buf_addf(out, "; %s [%s] for %.1f s%s%s", status_word(doing, "what"),
                 status_word(doing, "id"), status_number(doing, "seconds"),
                 *status_word(doing, "waiting_on") ? ", waiting on " : "",
                 status_word(doing, "waiting_on"));
    if (status_number(child, "silent") >= 1)
        buf_addf(out, "; silent for %.1f s", status_number(child, "silent"));
    buf_addc(out, '\n');
}

/* Why there are as many as there are. */
static void add_reason(const cJSON *pool, struct buf *out)
{
    const cJSON *scaled = cJSON_GetObjectItemCaseSensitive(pool, "scaled");
    double configured = status_number(pool, "configured"),
           most = status_number(pool, "most");

    if (most > 0)
        buf_addf(out, " (%.0f to %.0f by load)", configured, most);
    else if (status_number(pool, "wanted") != configured)
        buf_addf(out, " (%.0f configured)", configured);
    if (scaled)
        buf_addf(out, ", scaled by %s", status_word(scaled, "by"));
    if (scaled && *status_word(scaled, "until"))
        buf_addf(out, " until %s", status_word(scaled, "until"));
    if (cJSON_GetObjectItemCaseSensitive(pool, "waiting"))
        buf_addf(out, ", %.0f jobs wait, the oldest for %.1f s",
                 status_number(pool, "waiting"), status_number(pool, "oldest"));
}

static void add_pool(const cJSON *pool, bool is_last, struct buf *out)
{
    const cJSON *children = cJSON_GetObjectItemCaseSensitive(pool, "children"), *child;
    buf_addf(out, "%s %-24s %.0f wanted, %.0f ready", is_last ? "└─" : "├─",
             status_word(pool, "name"), status_number(pool, "wanted"),
             status_number(pool, "ready"));
    add_reason(pool, out);
    if (status_number(pool, "failed_starts") > 0)
        buf_addf(out, ", %.0f starts failed, next in %.1f s",
                 status_number(pool, "failed_starts"), status_number(pool, "next_start"));
    buf_addc(out, '\n');
    cJSON_ArrayForEach(child, children)
    {
        buf_addf(out, "%s  %s ", is_last ? " " : "│", child->next ? "├─" : "└─");
        add_child(child, status_word(pool, "role"), out);
    }
}

static void add_reload_text(const cJSON *reload, struct buf *out)
{
    const char *failure = status_word(reload, "failure");

    if (*status_word(reload, "stage"))
        buf_addf(out, "reload: %s\n", status_word(reload, "stage"));
    if (!*failure)
        return;
    buf_adds(out, "the last reload failed ");
    add_age(out, status_number(reload, "failed_seconds_ago"));
    buf_addf(out, " ago: %s%s", failure,
             failure[strlen(failure) - 1] == '\n' ? "" : "\n");
}

static void add_upgrade_text(const cJSON *upgrade, struct buf *out)
{
    const char *failure = status_word(upgrade, "failure");

    if (*status_word(upgrade, "stage"))
        buf_addf(out, "upgrade: %s", status_word(upgrade, "stage"));
    if (status_number(upgrade, "other") > 0)
        buf_addf(out, " (pid %.0f%s%s)", status_number(upgrade, "other"),
                 *status_word(upgrade, "version") ? ", version " : "",
                 status_word(upgrade, "version"));
    if (*status_word(upgrade, "stage"))
        buf_addc(out, '\n');
    if (*failure)
        buf_addf(out, "the last upgrade failed: %s\n", failure);
}

static void add_database(const cJSON *row, struct buf *out)
{
    buf_addf(out, "%s %s: %s", status_word(row, "role"), status_word(row, "name"),
             status_word(row, "state"));
    if (cJSON_GetObjectItemCaseSensitive(row, "lag"))
        buf_addf(out, ", %.1f s behind", status_number(row, "lag"));
    buf_addf(out, ", %.0f in use, %.0f queries, %.0f waits, %.0f retries\n",
             status_number(row, "in_use"), status_number(row, "queries"),
             status_number(row, "waits"), status_number(row, "retries"));
}

void status_add_databases(const cJSON *status, const char *before, struct buf *out)
{
    const cJSON *row;

    cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(status, "databases"))
    {
        buf_adds(out, before);
        add_database(row, out);
    }
}

static bool is_of_cluster(const cJSON *row)
{
    return strcmp(status_word(row, "use"), "cache cluster") == 0;
}

static void add_redis(const cJSON *row, struct buf *out)
{
    double up = status_number(row, "up"), away = status_number(row, "away");

    buf_addf(out, "redis (%s) %s: %s", status_word(row, "use"), status_word(row, "name"),
             away > 0 ? "away"
             : up > 0 ? "up"
                      : "not needed yet");
    if (away > 0 && up > 0)
        buf_addf(out, " for %.0f of %.0f processes", away, away + up);
    buf_addc(out, '\n');
}

/* One line for all nodes: only those that are away have something to say. */
static void add_cluster(const cJSON *servers, struct buf *out)
{
    int primaries = 0, replicas = 0, away = 0;
    const cJSON *row;

    cJSON_ArrayForEach(row, servers)
    {
        bool is_replica = strcmp(status_word(row, "role"), "replica") == 0;

        primaries += is_of_cluster(row) && !is_replica;
        replicas += is_of_cluster(row) && is_replica;
    }
    if (primaries + replicas == 0)
        return;
    buf_addf(out, "cache: cluster of %d primaries and %d replicas", primaries, replicas);
    cJSON_ArrayForEach(row, servers)
    {
        if (is_of_cluster(row) && status_number(row, "away") > 0)
            buf_addf(out, "%s %s (for %.0f processes)",
                     away++ ? "," : "; away:", status_word(row, "name"),
                     status_number(row, "away"));
    }
    buf_addc(out, '\n');
}

void status_add_redis(const cJSON *status, const char *before, struct buf *out)
{
    const cJSON *servers = cJSON_GetObjectItemCaseSensitive(status, "redis");
    const cJSON *row;

    cJSON_ArrayForEach(row, servers)
    {
        if (is_of_cluster(row))
            continue;
        buf_adds(out, before);
        add_redis(row, out);
    }
    add_cluster(servers, out);
}

void status_text_tree(const cJSON *status, struct buf *out)
{
    const cJSON *row;

    buf_addf(out, "forkmark %s, pid %.0f, %.1f MB, %s at %s, up ",
             status_word(status, "version"), status_number(status, "pid"),
             status_number(status, "memory") / 1048576, status_word(status, "phase"),
             status_word(status, "address"));
    add_age(out, status_number(status, "uptime"));
    buf_addf(out, "\n%.0f restarts, %.0f kills, %.0f reloads (%.0f failed)\n",
             status_number(status, "restarts"), status_number(status, "kills"),
             status_number(status, "reloads"), status_number(status, "reload_failures"));
    if (*status_word(status, "log_level"))
        buf_addf(out, "the log's level is %s until the next reload\n",
                 status_word(status, "log_level"));
    add_reload_text(cJSON_GetObjectItemCaseSensitive(status, "reload"), out);
    add_upgrade_text(cJSON_GetObjectItemCaseSensitive(status, "upgrade"), out);
    cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(status, "services"))
    {
        buf_addf(out, "├─ %-24s pid %-7.0f %s\n", status_word(row, "name"),
                 status_number(row, "pid"), status_word(row, "state"));
    }
    status_add_databases(status, "├─ ", out);
    status_add_redis(status, "├─ ", out);
    cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(status, "pools"))
    {
        add_pool(row, !row->next, out);
    }
}
