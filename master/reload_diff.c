/*
 * reload_diff.c - what changes between two configurations, said line by line, and by
 * whom it is applied: at once, by new children, or by a restart.
 */
#include "common/buf.h"
#include "jobs/functions/exec.h"
#include "master/master.h"
#include "master/reload_parts.h"
#include <string.h>

static const char *const effects[] = {
    [CONF_LIVE] = "applied",
    [CONF_NEW_WORKERS] = "by new processes, one in, one out",
    [CONF_RESTART] = "needs a restart; until then the old value stays",
};

static void add_change(const struct conf_key *key, const struct options *old,
                       const struct options *new, struct buf *report)
{
    buf_addf(report, "%s: ", key->path);
    options_show(old, key, report);
    buf_adds(report, " -> ");
    options_show(new, key, report);
    buf_addf(report, " (%s)\n", effects[key->applies]);
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
        add_change(&keys[i], old, r->next, &r->report);
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
             r->next->server.tls_certificate, effects[CONF_NEW_WORKERS]);
    r->needs_children = true;
}

/* Commands that cannot run are no reason to refuse the rest, but one to speak up. */
static void compare_functions(struct reload *r, const struct options *old)
{
    struct buf complaints = BUF_HEAP;

    if (options_same_group(old, r->next, "jobs.functions"))
        return;
    buf_addf(&r->report, "jobs.functions: others (%s)\n", effects[CONF_NEW_WORKERS]);
    exec_functions_check(r->next, &complaints);
    buf_adds(&r->report, buf_text(&complaints));
    exec_functions_warn(r->next);
    buf_done(&complaints);
}

static void compare_pools(struct reload *r, const struct options *old)
{
    for (size_t i = 0; i < r->next->jobs.pool_count; i++) {
        const struct pool_options *is = &r->next->jobs.pools[i];
        const struct pool_options *was = options_pool(old, is->name);

        if (!was) {
            buf_addf(&r->report, "jobs.pools.%s: ", is->name);
            conf_count_text(&is->consumers, &r->report);
            buf_adds(&r->report, " consumers (new)\n");
        } else if (!conf_count_same(&was->consumers, &is->consumers)) {
            buf_addf(&r->report, "jobs.pools.%s: ", is->name);
            conf_count_text(&was->consumers, &r->report);
            buf_adds(&r->report, " -> ");
            conf_count_text(&is->consumers, &r->report);
            buf_adds(&r->report, " consumers (applied)\n");
        }
        if (was && !pool_has_same_work(old, was, r->next, is)) {
            buf_addf(&r->report, "jobs.pools.%s: other work (%s)\n", is->name,
                     effects[CONF_NEW_WORKERS]);
            r->has_other_work = true;
        }
    }
    for (size_t i = 0; i < old->jobs.pool_count; i++)
        if (!options_pool(r->next, old->jobs.pools[i].name))
            buf_addf(&r->report, "jobs.pools.%s: gone\n", old->jobs.pools[i].name);
    if (!options_same_group(old, r->next, "jobs.cron"))
        buf_addf(&r->report, "jobs.cron: other entries (by a new scheduler)\n");
}

void reload_compare(struct reload *r, const struct options *old)
{
    compare_rows(r, old);
    compare_certificate(r, old);
    compare_functions(r, old);
    compare_pools(r, old);
}
