/*
 * upgrade_state.c - what the next program takes over: services, children, orders.
 *
 * In place, services and children stand in a memory file, a line for each, which outlives
 * the execution. Counts that an operator has ordered (see pool.h) stand in a variable and
 * pass side by side too. What writes a line and what reads it are found here together.
 */
#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/master.h"
#include "master/upgrade.h"
#include "master/upgrade_parts.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The memory file --------------------------------------------------------------- */

static void add_child(const struct master *m, size_t index, struct buf *out)
{
    const struct child *child = &m->children[index];
    const struct board_slot *slot = board_slot(m->board, index);

    buf_addf(out, "child %d %d %d %d %s %.39s\n", (int)child->pid,
             (int)child->pool->role->board, slot->number, child->is_draining,
             child->pool->name, slot->rq_name[0] ? slot->rq_name : "-");
}

int upgrade_write_state(struct master *m, int program)
{
    struct buf text = BUF_HEAP;
    int fd = memfd_create("forkmark-state", 0);

    buf_addf(&text, "version %s\nprogram %d\n", FORKMARK_VERSION, program);
    for (int i = 0; i < SERVICE_COUNT; i++)
        if (m->services.services[i].state == SERVICE_UP)
            buf_addf(&text, "service %d %d\n", i, (int)m->services.services[i].pid);
    for (size_t i = 0; i < board_slots(m->board); i++)
        if (m->children[i].pid)
            add_child(m, i, &text);
    upgrade_write_history(m, &text);
    if (fd >= 0 && write(fd, text.data, text.length) != (ssize_t)text.length) {
        close(fd);
        fd = -1;
    }
    buf_done(&text);
    return fd;
}

/* The next word of a line; "" at its end. */
static char *take_word(char **at)
{
    char *word = *at + strspn(*at, " ");

    *at = word + strcspn(word, " ");
    if (**at)
        *(*at)++ = '\0';
    return word;
}

static int take_number(char **at)
{
    return (int)strtol(take_word(at), NULL, 10);
}

static void read_heir(char *line)
{
    struct heir heir = { .pid = take_number(&line) };
    struct heir *more =
        realloc(upgrade_own.heirs, (upgrade_own.heir_count + 1) * sizeof(*more));

    heir.role = take_number(&line);
    heir.number = take_number(&line);
    heir.is_draining = take_number(&line) != 0;
    snprintf(heir.pool, sizeof(heir.pool), "%s", take_word(&line));
    snprintf(heir.rq_name, sizeof(heir.rq_name), "%s", take_word(&line));
    if (strcmp(heir.rq_name, "-") == 0)
        heir.rq_name[0] = '\0';
    if (!more)
        fatal("out of memory");
    upgrade_own.heirs = more;
    if (heir.pid > 1)
        upgrade_own.heirs[upgrade_own.heir_count++] = heir;
}

/* Lines of other kinds are the history's, or a later program's. */
static void read_line(char *line)
{
    const char *whole = line, *kind = take_word(&line);

    if (strcmp(kind, "service") == 0) {
        int index = take_number(&line);

        if (index >= 0 && index < SERVICE_COUNT)
            upgrade_own.services[index] = take_number(&line);
    } else if (strcmp(kind, "program") == 0) {
        upgrade_own.program = take_number(&line);
        upgrade_set_cloexec(upgrade_own.program, true);
    } else if (strcmp(kind, "version") == 0) {
        snprintf(upgrade_own.version, sizeof(upgrade_own.version), "%s",
                 take_word(&line));
    } else if (strcmp(kind, "child") == 0) {
        read_heir(line);
    } else {
        buf_addf(&upgrade_own.counted, "%s %s\n", whole, line);
    }
}

void upgrade_read_state(int fd)
{
    char chunk[1024];
    struct buf text = BUF_HEAP;
    ssize_t got;

    upgrade_own.state = fd;
    upgrade_set_cloexec(fd, true);
    lseek(fd, 0, SEEK_SET);
    while ((got = read(fd, chunk, sizeof(chunk))) > 0)
        buf_add(&text, chunk, (size_t)got);
    for (char *save = NULL, *line = strtok_r(text.data, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save))
        read_line(line);
    buf_done(&text);
}

/* Services and children of the former program ----------------------------------- */

void upgrade_take_services(struct master *m)
{
    for (int i = 0; i < SERVICE_COUNT; i++) {
        struct service *service = &m->services.services[i];

        if (!upgrade_own.services[i] || kill(upgrade_own.services[i], 0) < 0)
            continue;
        if (!m->embedded[i]) {
            log_info("%s is not embedded any more: it ends", service->kind->name);
            kill(upgrade_own.services[i], service->kind->stop_signal);
            continue;
        }
        service->pid = upgrade_own.services[i];
        service->state = SERVICE_UP;
        service->was_up = true;
        service->since = clock_ms();
    }
}

static const struct role *const roles[] = {
    [BOARD_NONE] = NULL,
    [BOARD_WORKER] = &role_worker,
    [BOARD_CONSUMER] = &role_consumer,
    [BOARD_SCHEDULER] = &role_scheduler,
};

/* One that the configuration has no more is there until its last child has gone. */
bool upgrade_has_heirs(void)
{
    return upgrade_own.heir_count > 0;
}

static struct pool *pool_of(struct master *m, const struct heir *heir)
{
    struct pool *pool = pool_find(m, heir->pool);

    if (pool && (int)pool->role->board == heir->role)
        return pool;
    if (heir->role <= BOARD_NONE || heir->role > BOARD_SCHEDULER)
        return NULL;
    pool = pool_add(m, roles[heir->role], heir->pool, 0);
    if (pool)
        pool->is_removed = true;
    return pool;
}

static void take(struct master *m, const struct heir *heir)
{
    struct pool *pool = pool_of(m, heir);
    struct child *child = NULL;

    if (heir->is_dead || kill(heir->pid, 0) < 0) {
        if (pool && heir->role == BOARD_CONSUMER)
            pool_leave_orphan(pool, heir->rq_name);
        return;
    }
    if (pool)
        child = pool_inherit(m, pool, heir->pid, heir->number, heir->rq_name);
    if (!child)
        kill(heir->pid, SIGTERM);
    else if (heir->is_draining || pool->is_removed)
        child_drain(m, child, "of the former program");
}

/* Orders ------------------------------------------------------------------------ */

/* In place of a time: nobody's order, but where the load had brought the pool. */
#define BY_LOAD (-1)

static bool is_by_load(const struct pool *pool)
{
    return !pool->order.is_given && pool->most > pool->configured && !pool->is_put_away;
}

/* "role pool count until who" a line. */
void upgrade_set_orders(const struct master *m)
{
    struct buf orders = BUF_HEAP;

    for (size_t i = 0; i < m->pool_count; i++) {
        const struct pool *pool = &m->pools[i];

        if (pool->order.is_given && !pool->is_removed)
            buf_addf(&orders, "%d %s %d %lld %s\n", (int)pool->role->board, pool->name,
                     pool->is_put_away ? pool->order.wanted : pool->wanted,
                     (long long)pool->order.until_unix_ms, pool->order.who);
        else if (is_by_load(pool) && !pool->is_removed)
            buf_addf(&orders, "%d %s %d %d load\n", (int)pool->role->board, pool->name,
                     pool->wanted, BY_LOAD);
    }
    if (orders.length > 0)
        setenv(ORDERS_VARIABLE, buf_text(&orders), 1);
    else
        unsetenv(ORDERS_VARIABLE);
    buf_done(&orders);
}

/* As far as the range that is configured now allows it. */
static void take_load(struct master *m, struct pool *pool, int wanted)
{
    if (wanted > pool->most)
        wanted = pool->most;
    if (wanted > pool->configured)
        pool_scale(m, pool, wanted);
}

static void take_order(struct master *m, char *line)
{
    int role = take_number(&line);
    struct pool *pool = pool_find(m, take_word(&line));
    int wanted = take_number(&line);
    int64_t until = strtoll(take_word(&line), NULL, 10);
    int64_t left = until - clock_unix_us() / 1000;

    if (pool && (int)pool->role->board == role && until == BY_LOAD)
        take_load(m, pool, wanted);
    if (!pool || (int)pool->role->board != role || wanted < 0 || (until && left <= 0))
        return;
    if (pool_order(m, pool, wanted, until ? (uint64_t)left : 0, line) < 0)
        log_warn("%s: no room for the %d processes an operator had asked for",
                 pool_path(pool), wanted);
}

static void take_orders(struct master *m)
{
    char *save = NULL;

    for (char *line = upgrade_own.orders ? strtok_r(upgrade_own.orders, "\n", &save)
                                         : NULL;
         line; line = strtok_r(NULL, "\n", &save))
        take_order(m, line);
    free(upgrade_own.orders);
    upgrade_own.orders = NULL;
}

void upgrade_take_children(struct master *m)
{
    take_orders(m);
    for (size_t i = 0; i < upgrade_own.heir_count; i++)
        take(m, &upgrade_own.heirs[i]);
    upgrade_forget_state();
}
