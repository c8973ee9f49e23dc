/*
 * reload_outcome.c - how a reload ends that failed or is given up: the log says so,
 * `ctl status` remembers it, whoever asked is told, and nothing of it is left.
 */
#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/control.h"
#include "master/events.h"
#include "master/master.h"
#include "master/reload_parts.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>

void reload_log_lines(const char *text, enum log_level level, const char *before)
{
    while (*text) {
        size_t length = strcspn(text, "\n");

        if (length > 0)
            log_line(level, "%s%.*s", before, (int)length, text);
        text += length + (text[length] == '\n');
    }
}

void reload_remember_failure(struct master *m, const char *reason)
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

void reload_clear(struct master *m)
{
    struct reload *r = &m->reload;

    if (r->probe)
        kill(r->probe, SIGKILL);
    options_free(r->next);
    options_free(r->former);
    buf_done(&r->report);
    cJSON_Delete(r->changes);
    r->changes = NULL;
    r->probe = 0;
    r->proof = NULL;
    r->next = r->former = NULL;
    r->report = (struct buf)BUF_HEAP;
    r->next_listeners.count = r->former_listeners.count = 0;
    r->is_restart = r->needs_children = r->has_other_work = false;
    r->needs_migration = r->has_shut = false;
    r->stage = RELOAD_NONE;
}

void reload_fail(struct master *m, const char *reason)
{
    struct reload *r = &m->reload;

    log_error("%s failed, nothing changed:", r->is_restart ? "restart" : "reload");
    reload_log_lines(reason, LOGL_ERROR, "  ");
    reload_remember_failure(m, reason);
    if (r->proof && r->proof->pid)
        child_drain(m, r->proof, "the reload failed");
    listeners_close_others(&r->next_listeners, &m->listeners);
    reload_clear(m);
    control_reload_done(m, false, r->failure);
}

const char *reload_option_of(const char *reason)
{
    static char path[64];
    size_t length = strcspn(reason, ":");

    if (length >= sizeof(path))
        return NULL;
    memcpy(path, reason, length);
    path[length] = '\0';
    return conf_find(path) ? path : NULL;
}

void reload_fail_at(struct master *m, const char *path, const char *reason)
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
    reload_fail(m, buf_text(&text));
    buf_done(&text);
}

void reload_abort(struct master *m, const char *why)
{
    bool was_busy = reload_is_busy(m);

    m->reload.serial += m->reload.is_wanted; /* whoever waits for that one is told, too */
    m->reload.is_wanted = false;
    if (m->reload.stage == RELOAD_PROBE || m->reload.stage == RELOAD_PROOF)
        listeners_close_others(&m->reload.next_listeners, &m->listeners);
    listeners_close_others(&m->reload.former_listeners, &m->listeners);
    reload_clear(m);
    if (was_busy)
        control_reload_done(m, false, why);
}
