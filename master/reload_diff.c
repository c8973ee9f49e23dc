/*
 * reload_diff.c - what changes between two configurations, said line by line, and by
 * whom it is applied: at once, by new children, or by a restart.
 */
#include "common/buf.h"
#include "jobs/functions/exec.h"
#include "master/master.h"
#include "master/reload_parts.h"
#include <string.h>

/* For people, and as README's table has them. */
static const struct {
    const char *text, *word;
} effects[] = {
    [CONF_LIVE] = { "applied", "live" },
    [CONF_NEW_WORKERS] = { "by new processes, one in, one out", "new workers" },
    [CONF_RESTART] = { "needs a restart; until then the old value stays", "restart" },
};

static void add_text(cJSON *row, const char *name, const char *text)
{
    if (text)
        cJSON_AddStringToObject(row, name, text);
    else
        cJSON_AddNullToObject(row, name);
}

/* A row of data; a value that is not there, or that has no short text, is null. */
static void add_row(struct reload *r, const char *key, const char *old, const char *new,
                    enum conf_applies applies)
{
    cJSON *row = cJSON_CreateObject();

    if (!r->changes)
        r->changes = cJSON_CreateArray();
    cJSON_AddStringToObject(row, "key", key);
    add_text(row, "old", old);
    add_text(row, "new", new);
    cJSON_AddStringToObject(row, "applies", effects[applies].word);
    cJSON_AddItemToArray(r->changes, row);
}

static void add_change(struct reload *r, const struct conf_key *key,
                       const struct options *old)
{
    struct buf was = BUF_HEAP, is = BUF_HEAP;

    options_show(old, key, &was);
    options_show(r->next, key, &is);
    buf_addf(&r->report, "%s: %s -> %s (%s)\n", key->path, buf_text(&was), buf_text(&is),
             effects[key->applies].text);
    add_row(r, key->path, buf_text(&was), buf_text(&is), key->applies);
    buf_done(&was);
    buf_done(&is);
}

bool reload_is_changed(const struct options *old, const struct options *new,
                       const char *path)
{
    return !options_equal(old, new, conf_find(path));
}

/* Notes in the reload what has to be done, and takes back what has to wait. */
static void compare_rows(struct reload *r, const struct options *old)
{
    size_t count;
    const struct conf_key *keys = conf_keys(&count);

    for (size_t i = 0; i < count; i++) {
        if (options_equal(old, r->next, &keys[i]))
            continue;
        add_change(r, &keys[i], old);
        r->needs_children |= keys[i].applies == CONF_NEW_WORKERS;
        if (keys[i].applies == CONF_RESTART)
            options_keep(r->next, old, &keys[i]);
    }
    r->needs_migration = reload_is_changed(old, r->next, "database.url") ||
                         reload_is_changed(old, r->next, "database.migrate_url");
}

/* Renewed in the same files, as a rule. */
static void compare_certificate(struct reload *r, const struct options *old)
{
    const char *was = old->server.tls_certificate_text;
    const char *is = r->next->server.tls_certificate_text;
    const char *key_was = old->server.tls_key_text;
    const char *key_is = r->next->server.tls_key_text;

    if (!was || !is || (strcmp(was, is) == 0 && strcmp(key_was, key_is) == 0))
        return;
    buf_addf(&r->report, "server.tls_certificate: another certificate in %s (%s)\n",
             r->next->server.tls_certificate, effects[CONF_NEW_WORKERS].text);
    add_row(r, "server.tls_certificate", NULL, NULL, CONF_NEW_WORKERS);
    r->needs_children = true;
}

/* Commands that cannot run are no reason to refuse the rest, but one to speak up. */
static void compare_functions(struct reload *r, const struct options *old)
{
    struct buf complaints = BUF_HEAP;

    if (options_same_group(old, r->next, "jobs.functions"))
        return;
    buf_addf(&r->report, "jobs.functions: others (%s)\n", effects[CONF_NEW_WORKERS].text);
    add_row(r, "jobs.functions", NULL, NULL, CONF_NEW_WORKERS);
    exec_functions_check(r->next, &complaints);
    buf_adds(&r->report, buf_text(&complaints));
    exec_functions_warn(r->next);
    buf_done(&complaints);
}

/* NULL: no such pool there. */
static void add_consumers(struct reload *r, const char *name,
                          const struct conf_count *was, const struct conf_count *is)
{
    struct buf key = BUF_HEAP, before = BUF_HEAP, now = BUF_HEAP;

    buf_addf(&key, "jobs.pools.%s", name);
    if (was)
        conf_count_text(was, &before);
    if (is)
        conf_count_text(is, &now);
    if (was && is)
        buf_addf(&r->report, "%s: %s -> %s consumers (applied)\n", buf_text(&key),
                 buf_text(&before), buf_text(&now));
    else if (is)
        buf_addf(&r->report, "%s: %s consumers (new)\n", buf_text(&key), buf_text(&now));
    else
        buf_addf(&r->report, "%s: gone\n", buf_text(&key));
    buf_adds(&key, ".consumers");
    add_row(r, buf_text(&key), was ? buf_text(&before) : NULL, is ? buf_text(&now) : NULL,
            CONF_LIVE);
    buf_done(&key);
    buf_done(&before);
    buf_done(&now);
}

static void add_other_work(struct reload *r, const char *name)
{
    struct buf key = BUF_HEAP;

    buf_addf(&key, "jobs.pools.%s", name);
    buf_addf(&r->report, "%s: other work (%s)\n", buf_text(&key),
             effects[CONF_NEW_WORKERS].text);
    add_row(r, buf_text(&key), NULL, NULL, CONF_NEW_WORKERS);
    buf_done(&key);
    r->has_other_work = true;
}

static void compare_pools(struct reload *r, const struct options *old)
{
    for (size_t i = 0; i < r->next->jobs.pool_count; i++) {
        const struct pool_options *is = &r->next->jobs.pools[i];
        const struct pool_options *was = options_pool(old, is->name);

        if (!was || !conf_count_same(&was->consumers, &is->consumers))
            add_consumers(r, is->name, was ? &was->consumers : NULL, &is->consumers);
        if (was && !pool_has_same_work(old, was, r->next, is))
            add_other_work(r, is->name);
    }
    for (size_t i = 0; i < old->jobs.pool_count; i++)
        if (!options_pool(r->next, old->jobs.pools[i].name))
            add_consumers(r, old->jobs.pools[i].name, &old->jobs.pools[i].consumers,
                          NULL);
    if (!options_same_group(old, r->next, "jobs.cron")) {
        buf_addf(&r->report, "jobs.cron: other entries (by a new scheduler)\n");
        add_row(r, "jobs.cron", NULL, NULL, CONF_NEW_WORKERS);
    }
}

void reload_compare(struct reload *r, const struct options *old)
{
    compare_rows(r, old);
    compare_certificate(r, old);
    compare_functions(r, old);
    compare_pools(r, old);
}
