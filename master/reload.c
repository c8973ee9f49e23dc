/*
 * reload.c - the configuration is read again, whole, and then applied or not at all.
 *
 * A changed count forks or drains the difference; what only new children can take in
 * replaces them one in, one out; what needs a restart keeps its old value until then,
 * so that all children, old and new, agree.
 */
#include "common/buf.h"
#include "common/log.h"
#include "jobs/functions/exec.h"
#include "master/master.h"
#include <string.h>

static const char *const effects[] = {
    [CONF_LIVE] = "applied",
    [CONF_NEW_WORKERS] = "by new processes, one in, one out",
    [CONF_RESTART] = "needs a restart; until then the old value stays",
};

static void report_change(const struct conf_key *key, const struct options *old,
                          const struct options *new, struct buf *report)
{
    struct buf line = BUF_HEAP;

    buf_addf(&line, "%s: ", key->path);
    options_show(old, key, &line);
    buf_adds(&line, " -> ");
    options_show(new, key, &line);
    buf_addf(&line, " (%s)", effects[key->applies]);
    log_info("reload: %s", buf_text(&line));
    buf_addf(report, "%s\n", buf_text(&line));
    buf_done(&line);
}

/* Whether children have to be replaced. */
static bool compare(const struct options *old, struct options *new, struct buf *report)
{
    size_t count;
    const struct conf_key *keys = conf_keys(&count);
    bool needs_children = false;

    for (size_t i = 0; i < count; i++) {
        if (options_equal(old, new, &keys[i]))
            continue;
        report_change(&keys[i], old, new, report);
        needs_children |= keys[i].applies == CONF_NEW_WORKERS;
        if (keys[i].applies == CONF_RESTART)
            options_keep(new, old, &keys[i]);
    }
    return needs_children;
}

/* Commands that cannot run are no reason to refuse the rest, but one to speak up. */
static bool compare_functions(const struct options *old, const struct options *new,
                              struct buf *report)
{
    struct buf complaints = BUF_HEAP;

    if (options_same_group(old, new, "jobs.functions"))
        return false;
    log_info("reload: jobs.functions changed (%s)", effects[CONF_NEW_WORKERS]);
    buf_addf(report, "jobs.functions changed (%s)\n", effects[CONF_NEW_WORKERS]);
    exec_functions_check(new, &complaints);
    buf_adds(report, buf_text(&complaints));
    exec_functions_warn(new);
    buf_done(&complaints);
    return true;
}

static void report_pools(struct master *m, struct buf *report)
{
    for (size_t i = 0; i < m->pool_count; i++) {
        const struct pool *pool = &m->pools[i];

        if (pool->role->board != BOARD_CONSUMER || pool_running(m, pool) == pool->wanted)
            continue;
        log_info("reload: pool %s: %d consumers wanted", pool->name, pool->wanted);
        buf_addf(report, "jobs.pools.%s: %d consumers\n", pool->name, pool->wanted);
    }
}

static bool replaces(const struct pool *pool, bool needs_children, bool needs_consumers)
{
    return needs_children || (needs_consumers && pool->role->board != BOARD_WORKER);
}

static void apply(struct master *m, struct options *new, struct buf *report)
{
    struct options *old = m->options;
    bool needs_children = compare(old, new, report);
    bool needs_consumers = compare_functions(old, new, report);

    m->options = new;
    m->services.options = new;
    log_set_level((enum log_level) new->log.level);
    if (m->phase == PHASE_SERVING) {
        for (size_t i = 0; i < m->pool_count; i++)
            m->pools[i].generation +=
                replaces(&m->pools[i], needs_children, needs_consumers);
        pools_configure(m, old);
        report_pools(m, report);
    }
    options_free(old);
}

static void report_errors(struct buf *errors, struct buf *report)
{
    buf_adds(report, buf_text(errors));
    log_error("reload failed, nothing changed:");
    for (char *save = NULL, *line = strtok_r(errors->data, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save))
        log_error("  %s", line);
}

bool reload(struct master *m, struct buf *report)
{
    struct buf errors = BUF_HEAP;

    if (m->phase == PHASE_STOPPING) {
        buf_adds(report, "the server is stopping\n");
        return false;
    }
    if (!m->input) {
        buf_adds(report, "there is nothing to reload\n");
        return false;
    }
    struct options *new = options_load_in_child(m->input, &errors);
    if (new && !account_check_pools(new, &m->account, &errors)) {
        options_free(new);
        new = NULL;
    }
    if (new && !services_complete(new, &m->services.data, m->embedded, &errors)) {
        options_free(new);
        new = NULL;
    }
    if (!new) {
        report_errors(&errors, report);
        board_shared(m->board)->reload_failures++;
    } else {
        apply(m, new, report);
        board_shared(m->board)->reloads++;
        if (report->length == 0)
            buf_adds(report, "nothing changed\n");
        log_info("reloaded");
    }
    buf_done(&errors);
    return new != NULL;
}
