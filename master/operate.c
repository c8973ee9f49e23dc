/*
 * operate.c - see operate.h.
 */
#include "master/operate.h"
#include "common/buf.h"
#include "common/log.h"
#include "master/control.h"
#include "master/events.h"
#include "master/master.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

/* ---- counts ---- */

static const char *pool_word(const char *word)
{
    return strncmp(word, "jobs.", 5) == 0 ? word + 5 : word;
}

static struct pool *find(struct master *m, const char *word, struct buf *text)
{
    struct pool *pool = m->phase == PHASE_SERVING ? pool_find(m, pool_word(word)) : NULL;

    if (!pool)
        buf_addf(text, "there is no pool `%s`%s\n", word,
                 m->phase == PHASE_SERVING ? "" : " yet");
    return pool;
}

/* "4", "+1", "-1". */
static bool parse_count(const struct pool *pool, const char *word, int *ret,
                        struct buf *text)
{
    char *end;
    long number = strtol(word, &end, 10);

    if (end == word || *end || number < -1024 || number > 1024) {
        buf_addf(text, "`%s` is no count; write 4, +1, -1 or config\n", word);
        return false;
    }
    *ret = (int)number + (*word == '+' || *word == '-' ? pool->wanted : 0);
    /* What the file says is allowed, none at all as well; and that alone. */
    int least = pool->role->board == BOARD_WORKER ? 1 : 0;
    if (*ret >= least && (!pool->role->is_single || *ret <= 1))
        return true;
    buf_addf(text, "%s cannot have %d processes\n", pool_path(pool), *ret);
    return false;
}

static void say_scaled(struct master *m, const struct pool *pool, int before,
                       const char *how, struct buf *text)
{
    log_info("scale %s: %d -> %d by %s%s", pool_path(pool), before, pool->wanted,
             control_who(m), how);
    event_note(EVENT_SCALE, "%s: %d -> %d by %s%s", pool_path(pool), before, pool->wanted,
               control_who(m), how);
    buf_addf(text, "%s: %d -> %d%s\n", pool->name, before, pool->wanted, how);
}

bool operate_scale(struct master *m, char *const words[], struct buf *text, cJSON *answer)
{
    struct pool *pool = find(m, words[1], text);
    const char *duration = words[3] ? words[4] : NULL; /* `--for 30m` */
    bool is_back = strcmp(words[2], "config") == 0;
    struct buf how = BUF_HEAP;
    uint64_t for_ms = 0;
    int wanted = 0;

    (void)answer;
    if (!pool || (!is_back && !parse_count(pool, words[2], &wanted, text)))
        return false;
    if (duration && (is_back || !conf_parse_duration(duration, &for_ms) || for_ms == 0)) {
        buf_addf(text,
                 is_back ? "what the configuration says holds without --for\n"
                         : "`%s` is no time; write 90s, 30m or 2h\n",
                 duration);
        return false;
    }
    int before = pool->wanted;
    int rc = is_back ? pool_take_back(m, pool)
                     : pool_order(m, pool, wanted, for_ms, control_who(m));
    if (rc < 0) {
        buf_addf(text, "%d processes are more than this master has room for (%zu)\n",
                 wanted, board_slots(m->board));
        return false;
    }
    if (duration)
        buf_addf(&how, " for %s", duration);
    say_scaled(m, pool, before, is_back ? "" : buf_text(&how), text);
    buf_done(&how);
    return true;
}

/* ---- single processes ---- */

static const char *service_of(const struct master *m, pid_t pid)
{
    for (int i = 0; i < SERVICE_COUNT; i++)
        if (m->embedded[i] && m->services.services[i].pid == pid)
            return m->services.services[i].kind->name;
    return NULL;
}

/* Only children of pools: nobody else's process, and none of the server's other ones. */
static struct child *child_of(struct master *m, const char *word, struct buf *text)
{
    char *end;
    long pid = strtol(word, &end, 10);

    if (end == word || *end || pid <= 0) {
        buf_addf(text, "`%s` is no process id\n", word);
        return NULL;
    }
    for (size_t i = 0; i < board_slots(m->board); i++)
        if (m->children[i].pid == pid)
            return &m->children[i];
    const char *service = service_of(m, (pid_t)pid);
    if (pid == m->pid)
        buf_addf(text, "%ld is the master: `forkmark ctl stop` ends the server\n", pid);
    else if (service)
        buf_addf(text, "%ld is the embedded %s, which ends with the server\n", pid,
                 service);
    else
        buf_addf(text,
                 "%ld is no worker, consumer or scheduler of this server; see "
                 "`forkmark ctl status`\n",
                 pid);
    return NULL;
}

/* Why this one cannot be told to drain, or NULL. A reload's order matters: its first
 * process must prove itself, and the last of the old ones empties sockets that go. */
static const char *why_not_drain(const struct master *m, const struct child *child)
{
    if (child->is_draining)
        return "drains already";
    if (child->is_proof)
        return "is the first of a reload: wait for its end";
    if (reload_is_busy(m) && child->generation != child->pool->generation)
        return "is about to be replaced by the reload that is under way";
    return NULL;
}

bool operate_drain(struct master *m, char *const words[], struct buf *text, cJSON *answer)
{
    struct child *child = child_of(m, words[1], text);
    const char *why_not = child ? why_not_drain(m, child) : NULL;

    (void)answer;
    if (!child)
        return false;
    if (why_not) {
        buf_addf(text, "%s (pid %d) %s\n", child_name(m, child), (int)child->pid,
                 why_not);
        return false;
    }
    log_info("%s (pid %d) drains, by %s", child_name(m, child), (int)child->pid,
             control_who(m));
    event_note(EVENT_MASTER, "%s (pid %d) drains, by %s", child_name(m, child),
               (int)child->pid, control_who(m));
    child->is_operators = true;
    child_drain(m, child, "drained by an operator");
    buf_addf(text, "%s (pid %d) drains; another one takes its place\n",
             child_name(m, child), (int)child->pid);
    return true;
}

bool operate_kill(struct master *m, char *const words[], struct buf *text, cJSON *answer)
{
    struct child *child = child_of(m, words[1], text);
    struct buf why = BUF_HEAP;

    (void)answer;
    if (!child)
        return false;
    buf_addf(&why, "by %s", control_who(m));
    child->is_operators = true;
    /* One that is stopped leaves its stack as well, when it goes on for that. */
    watch_kill(m, (size_t)(child - m->children), buf_text(&why), true);
    buf_addf(text, "%s (pid %d) is killed; its stack is in the log\n",
             child_name(m, child), (int)child->pid);
    buf_done(&why);
    return true;
}

/* ---- the log ---- */

/* The level of that name, or -1. */
static int find_level(const struct master *m, const char *word)
{
    if (strcmp(word, "config") == 0)
        return m->options->log.level;
    for (int level = LOGL_ERROR; level <= LOGL_DEBUG; level++)
        if (strcmp(log_level_text((enum log_level)level), word) == 0)
            return level;
    return -1;
}

bool operate_log_level(struct master *m, char *const words[], struct buf *text,
                       cJSON *answer)
{
    const char *before = log_level_text(log_get_level());
    int level = find_level(m, words[1]);

    (void)answer;
    if (level < 0) {
        buf_addf(text, "`%s` is no level: error, warn, info, debug or config\n",
                 words[1]);
        return false;
    }
    log_set_level((enum log_level)level); /* every process reads it in shared memory */
    const char *now = log_level_text(log_get_level());
    log_info("the log's level: %s -> %s by %s", before, now, control_who(m));
    event_note(EVENT_MASTER, "the log's level: %s -> %s by %s", before, now,
               control_who(m));
    buf_addf(text, "log level: %s -> %s%s\n", before, now,
             level == m->options->log.level ? "" : ", until the next reload");
    return true;
}

/* ---- to look at ---- */

bool operate_show_events(struct master *m, char *const words[], struct buf *text,
                         cJSON *answer)
{
    (void)m;
    (void)words;
    events_show(cJSON_AddArrayToObject(answer, "data"), text);
    return true;
}

/* Connections that wait to be accepted, as the kernel tells of a listening socket. */
static bool read_backlog(int fd, unsigned *ret_waiting, unsigned *ret_most)
{
    struct tcp_info info;
    socklen_t length = sizeof(info);

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0 ||
        info.tcpi_state != TCP_LISTEN)
        return false;
    *ret_waiting = info.tcpi_unacked;
    *ret_most = info.tcpi_sacked;
    return true;
}

bool operate_show_listeners(struct master *m, char *const words[], struct buf *text,
                            cJSON *answer)
{
    cJSON *list = cJSON_AddArrayToObject(answer, "data");

    (void)words;
    for (size_t i = 0; i < m->listeners.count; i++) {
        cJSON *row = cJSON_CreateObject();
        unsigned waiting, most;

        buf_addf(text, "%-32s fd %d", m->listeners.addresses[i].text,
                 m->listeners.fds[i]);
        cJSON_AddStringToObject(row, "address", m->listeners.addresses[i].text);
        cJSON_AddNumberToObject(row, "fd", m->listeners.fds[i]);
        if (read_backlog(m->listeners.fds[i], &waiting, &most)) {
            buf_addf(text, "  %u of %u wait to be accepted", waiting, most);
            cJSON_AddNumberToObject(row, "waiting", waiting);
            cJSON_AddNumberToObject(row, "backlog", most);
        }
        buf_addc(text, '\n');
        cJSON_AddItemToArray(list, row);
    }
    return true;
}

bool operate_show_pools(struct master *m, char *const words[], struct buf *text,
                        cJSON *answer)
{
    cJSON *list = cJSON_AddArrayToObject(answer, "data");

    (void)words;
    for (size_t i = 0; i < m->pool_count; i++) {
        const struct pool *pool = &m->pools[i];

        if (pool->is_removed)
            continue;
        buf_addf(text, "%s\n", pool_path(pool));
        cJSON_AddItemToArray(list, cJSON_CreateString(pool_path(pool)));
    }
    return true;
}
