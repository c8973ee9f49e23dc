/*
 * reload.c - the configuration is read again, whole, and then applied or not at all.
 *
 *   read     in a child (conf_child.c); new addresses are bound
 *   probe    a short-lived child looks at the database: password, schema, room
 *   proof    where children have to be replaced, one of the new generation tries out
 *            what it needs before any of the old drains
 *   commit   the new options are the master's; what is live applies now
 *   roll     one in, one out (pool.c)
 *   trial    for a while more: a generation that cannot stay up is rolled back
 *
 * Until the commit nothing has changed, whatever fails. What needs a restart keeps its
 * old value until then, so that all children, old and new, agree.
 */
#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "jobs/functions/exec.h"
#include "master/control.h"
#include "master/events.h"
#include "master/master.h"
#include "master/tls_files.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define PROBE_MS 30000
#define PROOF_MS 30000
/* What the last process with a socket that goes gets to empty its backlog. */
#define LINGER_MS 20
/* A death within this time of its start speaks against the generation. */
#define YOUNG_MS   10000
#define TRIAL_MS   10000
#define DEATHS_MAX 3

/* ---- what changes ---- */

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

static bool is_changed(const struct options *old, const struct options *new,
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
    r->needs_migration = is_changed(old, r->next, "database.url") ||
                         is_changed(old, r->next, "database.migrate_url");
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

static const struct pool_options *find_pool(const struct options *options,
                                            const char *name)
{
    for (size_t i = 0; i < options->jobs.pool_count; i++)
        if (strcmp(options->jobs.pools[i].name, name) == 0)
            return &options->jobs.pools[i];
    return NULL;
}

static void compare_pools(struct reload *r, const struct options *old)
{
    for (size_t i = 0; i < r->next->jobs.pool_count; i++) {
        const struct pool_options *is = &r->next->jobs.pools[i];
        const struct pool_options *was = find_pool(old, is->name);

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
        if (!find_pool(r->next, old->jobs.pools[i].name))
            buf_addf(&r->report, "jobs.pools.%s: gone\n", old->jobs.pools[i].name);
    if (!options_same_group(old, r->next, "jobs.cron"))
        buf_addf(&r->report, "jobs.cron: other entries (by a new scheduler)\n");
}

/* ---- outcomes ---- */

static void each_line(const char *text, enum log_level level, const char *before)
{
    while (*text) {
        size_t length = strcspn(text, "\n");

        if (length > 0)
            log_line(level, "%s%.*s", before, (int)length, text);
        text += length + (text[length] == '\n');
    }
}

static void remember_failure(struct master *m, const char *reason)
{
    struct reload *r = &m->reload;

    event_note(EVENT_RELOAD, "%s failed: %s", r->is_restart ? "restart" : "reload",
               reason);
    free(r->failure);
    r->failure = strdup(reason);
    r->has_failed = true;
    r->failed_unix = clock_unix();
    board_shared(m->board)->reload_failures++;
}

/* The reload is over, and nothing of it is left. */
static void clear(struct master *m)
{
    struct reload *r = &m->reload;

    if (r->probe)
        kill(r->probe, SIGKILL);
    options_free(r->next);
    options_free(r->former);
    buf_done(&r->report);
    r->probe = 0;
    r->proof = NULL;
    r->next = r->former = NULL;
    r->report = (struct buf)BUF_HEAP;
    r->next_listeners.count = r->former_listeners.count = 0;
    r->is_restart = r->needs_children = r->has_other_work = false;
    r->needs_migration = r->has_shut = false;
    r->stage = RELOAD_NONE;
}

/* Before the commit: the old generation has not noticed anything. */
static void fail(struct master *m, const char *reason)
{
    struct reload *r = &m->reload;

    log_error("%s failed, nothing changed:", r->is_restart ? "restart" : "reload");
    each_line(reason, LOGL_ERROR, "  ");
    remember_failure(m, reason);
    if (r->proof && r->proof->pid)
        child_drain(m, r->proof, "the reload failed");
    listeners_close_others(&r->next_listeners, &m->listeners);
    clear(m);
    control_reload_done(m, false, r->failure);
}

/* With the place the option at fault was read from: "forkmark.conf:12: ...". */
static void fail_at(struct master *m, const char *path, const char *reason)
{
    const struct conf_key *key = path ? conf_find(path) : NULL;
    const struct options *options = m->reload.next ? m->reload.next : m->options;
    struct buf text = BUF_HEAP;

    if (key) {
        struct conf_source source = options_source(options, key);

        if (source.origin != CONF_BUILT_IN)
            buf_addf(&text, "%s: ", source.where);
        if (strncmp(reason, path, strlen(path)) != 0)
            buf_addf(&text, "%s: ", path);
    }
    buf_addf(&text, "%s\n", reason);
    fail(m, buf_text(&text));
    buf_done(&text);
}

void reload_abort(struct master *m, const char *why)
{
    bool was_busy = reload_is_busy(m);

    m->reload.is_wanted = false;
    if (m->reload.stage == RELOAD_PROBE || m->reload.stage == RELOAD_PROOF)
        listeners_close_others(&m->reload.next_listeners, &m->listeners);
    listeners_close_others(&m->reload.former_listeners, &m->listeners);
    clear(m);
    if (was_busy)
        control_reload_done(m, false, why);
}

bool reload_is_busy(const struct master *m)
{
    return m->reload.is_wanted ||
           (m->reload.stage != RELOAD_NONE && m->reload.stage != RELOAD_ON_TRIAL);
}

/* ---- commit, roll, trial ---- */

static void take_options(struct master *m, struct options *options)
{
    m->options = options;
    m->services.options = options;
    log_set_level((enum log_level)options->log.level);
    control_moved(m);
}

static void commit(struct master *m)
{
    struct reload *r = &m->reload;
    struct options *old = m->options;

    each_line(buf_text(&r->report), LOGL_INFO, "reload: ");
    if (r->report.length > 0)
        event_note(EVENT_RELOAD, "taken over: %s", buf_text(&r->report));
    for (size_t i = 0; i < m->pool_count; i++) {
        m->pools[i].former = m->pools[i].generation;
        if (r->needs_children)
            m->pools[i].generation = m->generation + 1;
    }
    if (r->next) {
        r->former_listeners = m->listeners;
        m->listeners = r->next_listeners;
        listeners_set_modes(&m->listeners);
        r->former = old;
        take_options(m, r->next);
        pools_configure(m, old);
        r->next = NULL;
    }
    m->generation++;
    if (r->proof)
        r->proof->is_proof = false;
    r->proof = NULL;
    r->deaths = 0;
    r->stage = RELOAD_ROLL;
}

static bool is_rolled(const struct master *m)
{
    for (size_t i = 0; i < m->pool_count; i++) {
        const struct pool *pool = &m->pools[i];

        if (pool_old(m, pool) > 0 ||
            (!pool->is_removed && pool_ready(m, pool) < pool->wanted))
            return false;
    }
    return true;
}

static void finish_roll(struct master *m)
{
    struct reload *r = &m->reload;
    bool is_back = !r->former && !r->is_restart; /* a rollback is complete */

    listeners_close_others(&r->former_listeners, &m->listeners);
    r->former_listeners.count = 0;
    r->has_shut = false;
    if (is_back) {
        log_info("reload: back at the former configuration");
        event_note(EVENT_RELOAD, "back at the former configuration");
        clear(m);
        return;
    }
    log_info("%s", r->is_restart ? "restarted" : "reloaded");
    event_note(EVENT_RELOAD, "%s: generation %u",
               r->is_restart ? "restarted" : "reloaded", m->generation);
    board_shared(m->board)->reloads++;
    r->has_failed = false;
    r->stage = RELOAD_ON_TRIAL;
    r->deadline = m->now + TRIAL_MS;
    control_reload_done(m, true, "");
}

/* The former sockets serve again; those that only the new had go when it has gone. */
static void swap_listeners(struct master *m)
{
    struct reload *r = &m->reload;
    struct listeners new = m->listeners, back;
    struct buf error = BUF_HEAP;
    int backlog = (int)m->options->server.backlog;

    if (r->former_listeners.count > 0) {
        if (r->has_shut)
            listeners_reopen_others(&r->former_listeners, &new, backlog);
        m->listeners = r->former_listeners;
    } else if (!r->former_listeners_are_same) {
        if (listeners_renew(&back, &new, m->options, &error))
            m->listeners = back;
        else
            log_error("%s", buf_text(&error));
    }
    r->former_listeners = new;
    r->has_shut = false;
    buf_done(&error);
}

static void roll_back(struct master *m, const char *reason)
{
    struct reload *r = &m->reload;
    struct options *bad = m->options;
    struct buf text = BUF_HEAP;

    buf_addf(&text,
             "the new generation cannot stay up (%u deaths, the last: %s): back to the "
             "former configuration\n",
             r->deaths, reason);
    log_error("%.*s", (int)text.length - 1, text.data);
    if (r->former) {
        take_options(m, r->former);
        r->former = NULL;
        pools_configure(m, bad);
        swap_listeners(m);
        options_free(bad);
    }
    for (size_t i = 0; i < m->pool_count; i++) {
        m->pools[i].generation = m->pools[i].former;
        m->pools[i].failures = 0;
        m->pools[i].fork_at = 0;
    }
    r->is_restart = false;
    r->stage = RELOAD_ROLL;
    remember_failure(m, buf_text(&text));
    control_reload_done(m, false, r->failure);
    buf_done(&text);
}

bool reload_lets_last_go(struct master *m)
{
    struct reload *r = &m->reload;

    if (r->stage != RELOAD_ROLL ||
        !listeners_have_others(&r->former_listeners, &m->listeners))
        return true;
    if (!r->has_shut) {
        listeners_shut_others(&r->former_listeners, &m->listeners);
        r->has_shut = true;
        r->deadline = m->now + LINGER_MS;
    }
    return m->now >= r->deadline;
}

/* ---- probe and proof ---- */

static bool has_other_work(struct master *m, const struct pool *pool)
{
    const struct pool_options *was = find_pool(m->options, pool->name);
    const struct pool_options *is = find_pool(m->reload.next, pool->name);

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
                         : find_pool(next, pool->name) ? pool->wanted
                                                       : 0;

        if (pool->is_removed || pool->wanted == 0 || configured == 0 ||
            pool->role->board == BOARD_SCHEDULER)
            continue;
        if (m->reload.needs_children || has_other_work(m, pool))
            return pool; /* pools_configure() made "web" the first */
    }
    return NULL;
}

static void start_proof(struct master *m)
{
    struct reload *r = &m->reload;
    bool is_to_prove = r->needs_children || r->has_other_work;
    struct pool *pool = is_to_prove ? pool_to_prove(m) : NULL;

    if (!pool) {
        commit(m);
        return;
    }
    r->stage = RELOAD_PROOF;
    r->deadline = m->now + PROOF_MS;
    r->proof = pool_start_proof(m, pool, m->generation + 1);
    if (!r->proof)
        fail(m, "no process can be started to try the new configuration\n");
}

/* The option a reason begins with ("redis.url: ..."), or NULL. */
static const char *option_of(const char *reason)
{
    static char path[64];
    size_t length = strcspn(reason, ":");

    if (length >= sizeof(path))
        return NULL;
    memcpy(path, reason, length);
    path[length] = '\0';
    return conf_find(path) ? path : NULL;
}

bool reload_reaped(struct master *m, pid_t pid, int status)
{
    struct reload *r = &m->reload;

    if (!r->probe || pid != r->probe)
        return false;
    r->probe = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == PROBE_GOOD)
        start_proof(m);
    else if (*m->note && r->needs_migration)
        fail_at(m,
                *r->next->database.migrate_url ? "database.migrate_url" : "database.url",
                m->note);
    else
        fail_at(m, option_of(m->note), *m->note ? m->note : status_text(status));
    return true;
}

static const char *why_died(struct master *m, const struct child *child, int status)
{
    const struct board_slot *slot = board_slot(m->board, (size_t)(child - m->children));

    return slot->last_words[0] ? slot->last_words : status_text(status);
}

void reload_child_died(struct master *m, struct child *child, int status)
{
    struct reload *r = &m->reload;
    const struct board_slot *slot = board_slot(m->board, (size_t)(child - m->children));

    if (child == r->proof && child->was_ready) {
        commit(m); /* it has proven what it should, between two turns */
    } else if (child == r->proof) {
        const char *why = why_died(m, child, status);

        r->proof = NULL;
        fail_at(m, option_of(why), why);
        return;
    }
    bool is_on_trial = r->stage == RELOAD_ROLL || r->stage == RELOAD_ON_TRIAL;
    if (!is_on_trial || (!r->former && !r->is_restart) || child->is_draining ||
        child->generation != child->pool->generation ||
        child->pool->generation == child->pool->former ||
        child_ended_on_purpose(child, status) || m->now - slot->started_ms > YOUNG_MS)
        return;
    if (++r->deaths >= DEATHS_MAX)
        roll_back(m, why_died(m, child, status));
}

/* ---- the turn ---- */

uint64_t reload_turn(struct master *m)
{
    struct reload *r = &m->reload;

    if (m->phase != PHASE_SERVING)
        return NEVER;
    switch (r->stage) {
    case RELOAD_PROBE:
        if (m->now < r->deadline)
            return r->deadline;
        fail(m, "the database did not answer in time\n");
        return m->now;
    case RELOAD_PROOF:
        if (r->proof->was_ready)
            commit(m);
        else if (m->now >= r->deadline)
            fail(m, "the first process of the new generation did not become ready in "
                    "time\n");
        else
            return r->deadline;
        return m->now;
    case RELOAD_ROLL:
        if (is_rolled(m)) {
            finish_roll(m);
            return m->now;
        }
        return r->has_shut && m->now < r->deadline ? r->deadline : NEVER;
    case RELOAD_ON_TRIAL:
        if (m->now < r->deadline && !r->is_wanted)
            return r->deadline;
        clear(m);
        return m->now;
    default:
        break;
    }
    if (r->is_wanted) {
        struct buf report = BUF_HEAP;

        r->is_wanted = false;
        if (!reload(m, &report) || !reload_is_busy(m))
            control_reload_done(m, !r->has_failed, buf_text(&report));
        buf_done(&report);
        return m->now;
    }
    return NEVER;
}

/* ---- the beginning ---- */

/* False: it cannot begin now; `report` says why, or that it will. */
static bool may_begin(struct master *m, struct buf *report, bool *ret_will)
{
    *ret_will = false;
    if (m->phase == PHASE_STOPPING) {
        buf_adds(report, "the server is stopping\n");
        return false;
    }
    if (!m->input) {
        buf_adds(report, "there is nothing to reload\n");
        return false;
    }
    if (m->phase == PHASE_SERVING && !reload_is_busy(m))
        return true;
    m->reload.is_wanted = *ret_will = true;
    buf_adds(report, m->phase == PHASE_SERVING
                         ? "a reload is under way; the next one follows it\n"
                         : "the server is starting; the reload follows\n");
    return false;
}

static void probe(struct master *m)
{
    struct reload *r = &m->reload;
    pid_t pid = spawn_short(m, "probe", r->next ? r->next : m->options, probe_reload);

    if (pid < 0) {
        fail(m, "no process can be started to look at the database\n");
        return;
    }
    r->probe = pid;
    r->stage = RELOAD_PROBE;
    r->deadline = m->now + PROBE_MS;
}

static bool bind_new(struct master *m)
{
    struct reload *r = &m->reload;
    bool is_port = is_changed(m->options, r->next, "server.port");
    bool is_bind = is_changed(m->options, r->next, "server.bind");
    struct buf error = BUF_HEAP;

    r->next_listeners = m->listeners;
    r->next_listeners.has_tls = *r->next->server.tls_certificate != '\0';
    r->former_listeners_are_same = !is_port && !is_bind;
    if (r->former_listeners_are_same)
        return true;
    bool is_open = listeners_renew(&r->next_listeners, &m->listeners, r->next, &error);
    if (!is_open)
        fail_at(m, is_bind ? "server.bind" : "server.port", buf_text(&error));
    buf_done(&error);
    return is_open;
}

static void check_files(const struct options *options)
{
    struct buf error = BUF_HEAP;

    if (!budget_files(options, &error))
        log_warn("%s", buf_text(&error));
    buf_done(&error);
}

/* As in Gunicorn, HUP starts workers again that WINCH had put away. */
static void bring_back(struct master *m)
{
    struct pool *web = pool_find(m, "web");

    if (web && web->is_put_away)
        pool_take_back(m, web);
}

bool reload(struct master *m, struct buf *report)
{
    struct reload *r = &m->reload;
    struct buf errors = BUF_HEAP;
    bool will;

    if (!may_begin(m, report, &will))
        return will;
    notify_reloading(m);
    clear(m);
    m->now = clock_ms();
    bring_back(m);
    r->next = options_load_in_child(m->input, &errors);
    if (r->next && !account_check_pools(r->next, &m->account, &errors)) {
        options_free(r->next);
        r->next = NULL;
    }
    if (r->next && !tls_files_read(r->next, &errors)) {
        options_free(r->next);
        r->next = NULL;
    }
    if (r->next && !services_complete(r->next, &m->services.data, m->embedded, &errors)) {
        options_free(r->next);
        r->next = NULL;
    }
    if (!r->next) {
        fail(m, buf_text(&errors));
    } else {
        compare_rows(r, m->options);
        compare_certificate(r, m->options);
        compare_functions(r, m->options);
        compare_pools(r, m->options);
        if (r->report.length == 0) {
            buf_adds(report, "nothing changed\n");
            log_info("reloaded: nothing changed");
            event_note(EVENT_RELOAD, "reloaded: nothing changed");
            log_set_level((enum log_level)m->options->log.level); /* `ctl log-level` */
            board_shared(m->board)->reloads++;
            r->has_failed = false;
            clear(m);
        } else if (bind_new(m)) {
            check_files(r->next);
            buf_adds(report, buf_text(&r->report));
            probe(m);
        }
    }
    buf_done(&errors);
    if (r->has_failed && r->stage == RELOAD_NONE) {
        buf_clear(report);
        buf_adds(report, r->failure);
        return false;
    }
    return true;
}

bool reload_restart(struct master *m, struct buf *report)
{
    struct reload *r = &m->reload;

    if (m->phase != PHASE_SERVING || reload_is_busy(m)) {
        buf_adds(report, m->phase == PHASE_STOPPING  ? "the server is stopping\n"
                         : m->phase == PHASE_SERVING ? "a reload is under way\n"
                                                     : "the server is starting\n");
        return false;
    }
    notify_reloading(m);
    clear(m);
    m->now = clock_ms();
    r->is_restart = true;
    r->needs_children = true;
    r->former_listeners_are_same = true;
    log_info("every process is replaced, one in, one out");
    buf_adds(report, "every process is replaced, one in, one out\n");
    start_proof(m);
    if (r->stage == RELOAD_NONE) {
        buf_clear(report);
        buf_adds(report, r->failure);
        return false;
    }
    return true;
}
