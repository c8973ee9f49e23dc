/*
 * upgrade.c - see upgrade.h.
 *
 * What passes from one program to the next stands in variables: the sockets (listener.h),
 * side by side FORMER_VARIABLE "pid:descriptor of the link", in place STATE_VARIABLE, the
 * descriptor of a memory file with a line for each service and child. Over the link both
 * masters say a line at a time; its end tells each that the other has gone.
 */
#include "master/upgrade.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/control.h"
#include "master/events.h"
#include "master/master.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FORMER_VARIABLE  "FORKMARK_FORMER"
#define STATE_VARIABLE   "FORKMARK_STATE"
#define FAILURE_VARIABLE "FORKMARK_UPGRADE_FAILED"
#define PROGRAM_VARIABLE "FORKMARK_PROGRAM"
#define ORDERS_VARIABLE  "FORKMARK_ORDERS"

/* Reading a configuration takes milliseconds; name services may not answer. */
#define CHECK_MS    30000
#define ARGUMENTS   (256 + 2)
#define OUTPUT_SHOW 1000

/* A child of the former program. */
struct heir {
    pid_t pid;
    int role; /* enum board_role */
    int number;
    bool is_draining, is_dead;
    char pool[32];
    char rq_name[40];
};

static struct {
    char **arguments;
    char path[PATH_MAX]; /* of the program, as it was called */
    /* As the second master: */
    pid_t former;
    int link;
    /* In place: */
    bool may_go_back; /* nothing of ours has begun */
    int state, program;
    char version[32];
    struct heir *heirs;
    size_t heir_count;
    pid_t services[SERVICE_COUNT];
    char *failure; /* the new program's, when it went back to this one */
    char *orders;  /* counts that an operator had set, see pool.h */
} own = { .link = -1, .state = -1, .program = -1 };

/* What a program that goes back must find again. */
static const char *const kept_names[] = { LISTENERS_VARIABLE, STATE_VARIABLE,
                                          ORDERS_VARIABLE, "NOTIFY_SOCKET",
                                          "WATCHDOG_USEC" };
#define KEPT_COUNT (sizeof(kept_names) / sizeof(kept_names[0]))
static char *kept[KEPT_COUNT];

/* The program ---------------------------------------------------------------- */

static bool is_this_program(const char *path)
{
    struct stat here, running;

    return stat(path, &here) == 0 && stat("/proc/self/exe", &running) == 0 &&
           here.st_dev == running.st_dev && here.st_ino == running.st_ino;
}

/* In PATH; the place of this very program. */
static bool search(const char *name, char ret[PATH_MAX])
{
    const char *at = getenv("PATH");

    while (at && *at) {
        size_t length = strcspn(at, ":");

        if (length > 0 &&
            snprintf(ret, PATH_MAX, "%.*s/%s", (int)length, at, name) < PATH_MAX &&
            is_this_program(ret))
            return true;
        at += length + (at[length] == ':');
    }
    return false;
}

/*
 * The path it was called by and not what that is now: a link may lead to another version
 * by then, and a replaced file is shown as deleted in /proc.
 */
void upgrade_init(char **arguments)
{
    const char *name = arguments[0], *given = getenv(PROGRAM_VARIABLE);
    char folder[PATH_MAX];

    own.arguments = arguments;
    if (given) { /* another file may be there by now */
        snprintf(own.path, sizeof(own.path), "%s", given);
        unsetenv(PROGRAM_VARIABLE);
        return;
    }
    if (name[0] == '/')
        snprintf(own.path, sizeof(own.path), "%s", name);
    else if (strchr(name, '/') && getcwd(folder, sizeof(folder)))
        snprintf(own.path, sizeof(own.path), "%s/%s", folder, name);
    else if (!search(name, own.path))
        own.path[0] = '\0';
    if (is_this_program(own.path))
        return;
    ssize_t length = readlink("/proc/self/exe", own.path, sizeof(own.path) - 1);
    own.path[length > 0 ? length : 0] = '\0';
}

static void set_cloexec(int fd, bool on)
{
    fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0);
}

static void set_number(const char *name, long number)
{
    char text[32];

    snprintf(text, sizeof(text), "%ld", number);
    setenv(name, text, 1);
}

/* "role pool count until who" a line. */
static void set_orders(const struct master *m)
{
    struct buf orders = BUF_HEAP;

    for (size_t i = 0; i < m->pool_count; i++) {
        const struct pool *pool = &m->pools[i];

        if (pool->order.is_given && !pool->is_removed)
            buf_addf(&orders, "%d %s %d %lld %s\n", (int)pool->role->board, pool->name,
                     pool->wanted, (long long)pool->order.until_unix_ms, pool->order.who);
    }
    if (orders.length > 0)
        setenv(ORDERS_VARIABLE, buf_text(&orders), 1);
    else
        unsetenv(ORDERS_VARIABLE);
    buf_done(&orders);
}

/* Sockets and the service manager, for whoever is executed next. */
static void set_common(struct master *m)
{
    struct buf sockets = BUF_HEAP;

    for (size_t i = 0; i < m->listeners.count; i++)
        set_cloexec(m->listeners.fds[i], false);
    listeners_hand_over(&m->listeners, &sockets);
    setenv(LISTENERS_VARIABLE, buf_text(&sockets), 1);
    setenv(PROGRAM_VARIABLE, own.path, 1);
    buf_done(&sockets);
    set_orders(m);
    if (m->manager.fd < 0)
        return;
    setenv("NOTIFY_SOCKET", m->manager.path, 1);
    if (m->manager.watchdog_ms > 0)
        set_number("WATCHDOG_USEC", (long)m->manager.watchdog_ms * 1000);
}

static void remember_failure(struct master *m, const char *reason)
{
    free(m->upgrade.failure);
    m->upgrade.failure = strndup(reason, strcspn(reason, "\n"));
    event_note(EVENT_MASTER, "an upgrade failed: %s", m->upgrade.failure);
}

/* Adopting ------------------------------------------------------------------- */

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
    struct heir *more = realloc(own.heirs, (own.heir_count + 1) * sizeof(*more));

    heir.role = take_number(&line);
    heir.number = take_number(&line);
    heir.is_draining = take_number(&line) != 0;
    snprintf(heir.pool, sizeof(heir.pool), "%s", take_word(&line));
    snprintf(heir.rq_name, sizeof(heir.rq_name), "%s", take_word(&line));
    if (strcmp(heir.rq_name, "-") == 0)
        heir.rq_name[0] = '\0';
    if (!more)
        fatal("out of memory");
    own.heirs = more;
    if (heir.pid > 1)
        own.heirs[own.heir_count++] = heir;
}

/* Lines of other kinds are a later program's. */
static void read_line(char *line)
{
    const char *kind = take_word(&line);

    if (strcmp(kind, "service") == 0) {
        int index = take_number(&line);

        if (index >= 0 && index < SERVICE_COUNT)
            own.services[index] = take_number(&line);
    } else if (strcmp(kind, "program") == 0) {
        own.program = take_number(&line);
        set_cloexec(own.program, true);
    } else if (strcmp(kind, "version") == 0) {
        snprintf(own.version, sizeof(own.version), "%s", take_word(&line));
    } else if (strcmp(kind, "child") == 0) {
        read_heir(line);
    }
}

static void read_state(int fd)
{
    char chunk[1024];
    struct buf text = BUF_HEAP;
    ssize_t got;

    own.state = fd;
    set_cloexec(fd, true);
    lseek(fd, 0, SEEK_SET);
    while ((got = read(fd, chunk, sizeof(chunk))) > 0)
        buf_add(&text, chunk, (size_t)got);
    for (char *save = NULL, *line = strtok_r(text.data, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save))
        read_line(line);
    buf_done(&text);
}

/* "4711:5": the former master, and the link to it. */
static void read_former(const char *text)
{
    char *end;

    own.former = (pid_t)strtol(text, &end, 10);
    own.link = *end == ':' ? (int)strtol(end + 1, NULL, 10) : -1;
    if (own.former <= 0 || own.link <= STDERR_FILENO)
        fatal("%s=%s is nothing a former master wrote", FORMER_VARIABLE, text);
    set_cloexec(own.link, true);
}

static void keep_variables(void)
{
    for (size_t i = 0; i < KEPT_COUNT; i++) {
        const char *value = getenv(kept_names[i]);

        kept[i] = value ? strdup(value) : NULL;
    }
}

void upgrade_adopt(void)
{
    const char *former = getenv(FORMER_VARIABLE), *state = getenv(STATE_VARIABLE);
    const char *failure = getenv(FAILURE_VARIABLE), *orders = getenv(ORDERS_VARIABLE);

    own.orders = orders ? strdup(orders) : NULL;
    if (former) {
        read_former(former);
    } else if (state) {
        keep_variables();
        read_state((int)strtol(state, NULL, 10));
        own.may_go_back = own.program >= 0 && !failure;
    }
    if (failure)
        own.failure = strdup(failure);
    unsetenv(FORMER_VARIABLE);
    unsetenv(STATE_VARIABLE);
    unsetenv(ORDERS_VARIABLE);
    unsetenv(FAILURE_VARIABLE);
}

static void send_line(int fd, const char *word, const char *more)
{
    char line[512];

    snprintf(line, sizeof(line), "%s %.*s\n", word, (int)strcspn(more, "\n"), more);
    if (fd >= 0 && send(fd, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        log_debug("the other master was not told `%s`: %s", word, strerror(errno));
}

/* The former program once more, with all it left; returns when even that fails. */
static void go_back(const char *reason)
{
    log_error("the new program does not get to serve: back to the former one");
    for (size_t i = 0; i < KEPT_COUNT; i++)
        if (kept[i])
            setenv(kept_names[i], kept[i], 1);
    setenv(FAILURE_VARIABLE, reason, 1);
    setenv(PROGRAM_VARIABLE, own.path, 1);
    for (const char *at = kept[0]; at && *at;) {
        char *end;
        long fd = strtol(at + (*at == 's'), &end, 10);

        set_cloexec((int)fd, false);
        at = end + (*end == ',');
    }
    set_cloexec(own.state, false);
    set_cloexec(own.program, false); /* its state names it, for the next time */
    fexecve(own.program, own.arguments, environ);
    log_error("the former program cannot be executed: %s", strerror(errno));
}

void upgrade_tell_failure(const char *reason)
{
    if (own.link >= 0)
        send_line(own.link, "failed", reason);
    if (!own.may_go_back)
        return;
    own.may_go_back = false;
    go_back(reason);
}

/* The link ------------------------------------------------------------------- */

bool upgrade_is_second(const struct master *m)
{
    return m->upgrade.former != 0;
}

static void close_link(struct master *m)
{
    struct upgrade *upgrade = &m->upgrade;

    if (upgrade->link.fd < 0)
        return;
    master_unwatch(m, &upgrade->link);
    close(upgrade->link.fd);
    if (own.link == upgrade->link.fd)
        own.link = -1;
    upgrade->link.fd = -1;
    buf_done(&upgrade->in);
    upgrade->in = (struct buf)BUF_HEAP;
}

/* Names without ".2", and the service manager. */
static void promote(struct master *m)
{
    event_note(EVENT_MASTER, "the former master (pid %d) has gone",
               (int)m->upgrade.former);
    log_info("the former master (pid %d) has gone: this one takes its place",
             (int)m->upgrade.former);
    m->upgrade.former = 0;
    m->manager.is_mute = false;
    control_moved(m);
    if (m->pid_file) {
        char *name = strndup(m->pid_file, strlen(m->pid_file) - strlen(".2"));

        if (name && rename(m->pid_file, name) == 0) {
            free(m->pid_file);
            m->pid_file = name;
        } else {
            log_warn("%s cannot be renamed: %s", m->pid_file, strerror(errno));
            free(name);
        }
    }
}

static void hear(struct master *m, const char *line)
{
    struct upgrade *upgrade = &m->upgrade;

    if (strncmp(line, "version ", 8) == 0) {
        snprintf(upgrade->version, sizeof(upgrade->version), "%s", line + 8);
    } else if (strncmp(line, "ready", 5) == 0) {
        upgrade->successor_serves = true;
        event_note(EVENT_MASTER, "forkmark %s (pid %d) serves beside this one",
                   upgrade->version, (int)upgrade->successor);
        log_info(
            "forkmark %s (pid %d) serves beside this one; TERM or QUIT to one of them "
            "ends it",
            upgrade->version, (int)upgrade->successor);
    } else if (strncmp(line, "failed ", 7) == 0) {
        remember_failure(m, line + 7);
    } else if (strncmp(line, "main", 4) == 0) {
        upgrade->has_handed_over = true;
        m->manager.is_mute = false;
    }
}

static void successor_ended(struct master *m)
{
    struct upgrade *upgrade = &m->upgrade;

    if (upgrade->successor_serves) {
        log_warn("the new master (pid %d) has gone: this one serves on",
                 (int)upgrade->successor);
    } else {
        if (!upgrade->failure)
            remember_failure(m,
                             "the new master ended before it served; the log may tell");
        log_error("the upgrade failed, this master serves on: %s", upgrade->failure);
    }
    upgrade->successor = 0;
    upgrade->successor_serves = upgrade->completes = false;
}

/* What has been said; false when the other has gone. */
static bool read_link(struct master *m)
{
    struct upgrade *upgrade = &m->upgrade;
    char chunk[512], *end;
    ssize_t got;

    while ((got = recv(upgrade->link.fd, chunk, sizeof(chunk), MSG_DONTWAIT)) > 0) {
        buf_add(&upgrade->in, chunk, (size_t)got);
        while ((end = memchr(upgrade->in.data, '\n', upgrade->in.length))) {
            *end = '\0';
            hear(m, upgrade->in.data);
            buf_consume(&upgrade->in, (size_t)(end + 1 - upgrade->in.data));
        }
    }
    return got < 0 && (errno == EAGAIN || errno == EINTR);
}

static void on_link(struct watch *watch, uint32_t events)
{
    struct upgrade *upgrade =
        (struct upgrade *)((char *)watch - offsetof(struct upgrade, link));
    struct master *m =
        (struct master *)((char *)upgrade - offsetof(struct master, upgrade));

    (void)events;
    if (read_link(m))
        return;
    close_link(m);
    if (upgrade->former)
        promote(m);
    else if (upgrade->successor)
        successor_ended(m);
}

static bool watch_link(struct master *m, int fd)
{
    m->upgrade.link = (struct watch){ fd, on_link };
    m->upgrade.in = (struct buf)BUF_HEAP;
    return master_watch(m, &m->upgrade.link, EPOLLIN);
}

void upgrade_open(struct master *m)
{
    if (own.failure) {
        log_error("the upgrade failed, this is the former program again: %s",
                  own.failure);
        remember_failure(m, own.failure);
        free(own.failure);
        own.failure = NULL;
    } else if (own.state >= 0) {
        log_info(
            "this program takes the place of forkmark %s: %zu processes are taken over",
            own.version, own.heir_count);
    }
    if (!own.former)
        return;
    m->upgrade.former = own.former;
    m->manager.is_mute = true;
    send_line(own.link, "version", FORKMARK_VERSION);
    if (!watch_link(m, own.link))
        fatal("the former master cannot be watched: %s", strerror(errno));
    log_info("this master starts beside the former one (pid %d)", (int)own.former);
}

static void forget_state(void)
{
    if (own.state >= 0)
        close(own.state);
    if (own.program >= 0)
        close(own.program);
    own.state = own.program = -1;
    own.may_go_back = false;
    free(own.heirs);
    own.heirs = NULL;
    own.heir_count = 0;
    for (size_t i = 0; i < KEPT_COUNT; i++) {
        free(kept[i]);
        kept[i] = NULL;
    }
}

void upgrade_done(struct master *m)
{
    forget_state();
    free(own.orders);
    own.orders = NULL;
    close_link(m);
    if (m->upgrade.check_output >= 0)
        close(m->upgrade.check_output);
    free(m->upgrade.failure);
    m->upgrade.failure = NULL;
}

/* Children and services of the former program ----------------------------------- */

void upgrade_take_services(struct master *m)
{
    for (int i = 0; i < SERVICE_COUNT; i++) {
        struct service *service = &m->services.services[i];

        if (!own.services[i] || kill(own.services[i], 0) < 0)
            continue;
        if (!m->embedded[i]) {
            log_info("%s is not embedded any more: it ends", service->kind->name);
            kill(own.services[i], service->kind->stop_signal);
            continue;
        }
        service->pid = own.services[i];
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

static void take_order(struct master *m, char *line)
{
    int role = take_number(&line);
    struct pool *pool = pool_find(m, take_word(&line));
    int wanted = take_number(&line);
    int64_t until = strtoll(take_word(&line), NULL, 10);
    int64_t left = until - clock_unix_us() / 1000;

    if (!pool || (int)pool->role->board != role || wanted < 0 || (until && left <= 0))
        return;
    if (pool_order(m, pool, wanted, until ? (uint64_t)left : 0, line) < 0)
        log_warn("%s: no room for the %d processes an operator had asked for",
                 pool_path(pool), wanted);
}

static void take_orders(struct master *m)
{
    char *save = NULL;

    for (char *line = own.orders ? strtok_r(own.orders, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save))
        take_order(m, line);
    free(own.orders);
    own.orders = NULL;
}

void upgrade_take_children(struct master *m)
{
    take_orders(m);
    for (size_t i = 0; i < own.heir_count; i++)
        take(m, &own.heirs[i]);
    forget_state();
}

/* Side by side ---------------------------------------------------------------- */

_Noreturn static void be_successor(struct master *m, int link)
{
    char text[64];
    sigset_t none;

    set_common(m);
    set_cloexec(link, false);
    snprintf(text, sizeof(text), "%d:%d", (int)m->pid, link);
    setenv(FORMER_VARIABLE, text, 1);
    signal(SIGPIPE, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execv(own.path, own.arguments);
    snprintf(text, sizeof(text), "cannot be executed: %s", strerror(errno));
    send_line(link, "failed", text);
    _exit(127);
}

/*
 * As a grandchild, which is nobody's child any more: systemd ends a service in order only
 * when the main process is its own child ("Supervising process ... which is not our
 * child" is followed by SIGKILL), and that is what it becomes when its parent ends.
 */
static pid_t fork_successor(struct master *m, int link)
{
    int ends[2];
    pid_t pid = -1;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    fflush(NULL);
    pid_t between = fork();
    if (between == 0) {
        pid = fork();
        if (pid == 0)
            be_successor(m, link);
        _exit(write(ends[1], &pid, sizeof(pid)) == sizeof(pid) ? 0 : 1);
    }
    close(ends[1]);
    while (between > 0 && waitpid(between, NULL, 0) < 0 && errno == EINTR)
        continue;
    if (between < 0 || read(ends[0], &pid, sizeof(pid)) != sizeof(pid) || pid < 0)
        pid = -EAGAIN;
    close(ends[0]);
    return pid;
}

static bool start_beside(struct master *m, struct buf *report)
{
    struct upgrade *upgrade = &m->upgrade;
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        buf_addf(report, "no socket pair: %s\n", strerror(errno));
        return false;
    }
    pid_t pid = fork_successor(m, ends[1]);
    close(ends[1]);
    if (pid < 0 || !watch_link(m, ends[0])) {
        buf_addf(report, "no process for the new master: %s\n", strerror(errno));
        close(ends[0]);
        upgrade->link.fd = -1;
        return false;
    }
    upgrade->successor = pid;
    upgrade->successor_serves = upgrade->has_handed_over = false;
    upgrade->version[0] = '\0';
    log_info("upgrade: %s starts beside this master, pid %d", own.path, (int)pid);
    buf_addf(report, "%s starts beside this master, pid %d\n", own.path, (int)pid);
    return true;
}

bool upgrade_shares_sockets(const struct master *m)
{
    return m->upgrade.successor != 0 ||
           (m->upgrade.former != 0 && !m->upgrade.has_handed_over);
}

void upgrade_hand_over(struct master *m)
{
    struct upgrade *upgrade = &m->upgrade;

    if (!upgrade->successor || upgrade->has_handed_over)
        return;
    upgrade->has_handed_over = true;
    log_info("process %d goes on with the service", (int)upgrade->successor);
    /* In this order: the manager hears nobody but the main process. */
    notify_main_pid(m, upgrade->successor);
    send_line(upgrade->link.fd, "main", "");
}

void upgrade_stop_other(struct master *m)
{
    if (!m->upgrade.successor)
        return;
    kill(m->upgrade.successor, SIGTERM);
    m->upgrade.successor = 0;
    close_link(m);
}

/* In place ---------------------------------------------------------------------- */

/*
 * The new program would read the file as it is now, and so would the former one if it had
 * to come back: what has not been tried by a reload may fail in both.
 */
static bool has_other_options(struct master *m, struct buf *report)
{
    struct options *now = options_load_in_child(m->input, report);
    const struct conf_key *keys;
    size_t count;

    if (now && !services_complete(now, &m->services.data, m->embedded, report)) {
        options_free(now);
        now = NULL;
    }
    if (!now)
        return true;
    keys = conf_keys(&count);
    for (size_t i = 0; i < count; i++)
        if (keys[i].applies != CONF_RESTART && /* which this is */
            !options_equal(m->options, now, &keys[i]))
            buf_addf(report, "%s%s", report->length > 0 ? ", " : "", keys[i].path);
    if (!options_same_pools(m->options, now) ||
        !options_same_group(m->options, now, "jobs.cron") ||
        !options_same_group(m->options, now, "jobs.functions"))
        buf_addf(report, "%spools, functions or cron entries of jobs",
                 report->length > 0 ? ", " : "");
    if (report->length > 0)
        buf_adds(report, ": changed since the configuration was read; reload first\n");
    options_free(now);
    return report->length > 0;
}

/* "forkmark check" with what this one was started with. */
static void check_arguments(char *arguments[ARGUMENTS])
{
    static char check[] = "check";
    size_t count = 0;
    bool has_command = false;

    arguments[count++] = own.arguments[0];
    arguments[count++] = check;
    for (char **at = own.arguments + 1; *at && count < ARGUMENTS - 1; at++) {
        if (!has_command && strcmp(*at, "serve") == 0)
            has_command = true;
        else
            arguments[count++] = *at;
    }
    arguments[count] = NULL;
}

_Noreturn static void be_check(int output)
{
    char *arguments[ARGUMENTS];
    int input = open("/dev/null", O_RDONLY);
    sigset_t none;

    setsid();
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    close_range(STDERR_FILENO + 1, ~0U, 0);
    signal(SIGPIPE, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    check_arguments(arguments);
    execv(own.path, arguments);
    dprintf(STDERR_FILENO, "%s cannot be executed: %s\n", own.path, strerror(errno));
    _exit(127);
}

static bool start_check(struct master *m, struct buf *report)
{
    struct upgrade *upgrade = &m->upgrade;
    int output = memfd_create("check", MFD_CLOEXEC);

    fflush(NULL);
    pid_t pid = output < 0 ? -1 : fork();
    if (pid == 0)
        be_check(output);
    if (pid < 0) {
        buf_addf(report, "no process for the new program: %s\n", strerror(errno));
        if (output >= 0)
            close(output);
        return false;
    }
    upgrade->check = pid;
    upgrade->check_output = output;
    upgrade->check_deadline = clock_ms() + CHECK_MS;
    log_info("upgrade: %s reads the configuration, then it takes this program's place",
             own.path);
    buf_addf(report, "%s reads the configuration, then it takes this program's place\n",
             own.path);
    return true;
}

static void add_child(const struct master *m, size_t index, struct buf *out)
{
    const struct child *child = &m->children[index];
    const struct board_slot *slot = board_slot(m->board, index);

    buf_addf(out, "child %d %d %d %d %s %.39s\n", (int)child->pid,
             (int)child->pool->role->board, slot->number, child->is_draining,
             child->pool->name, slot->rq_name[0] ? slot->rq_name : "-");
}

/* A memory file that outlives the execution; -1: none to be had. */
static int write_state(const struct master *m, int program)
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
    if (fd >= 0 && write(fd, text.data, text.length) != (ssize_t)text.length) {
        close(fd);
        fd = -1;
    }
    buf_done(&text);
    return fd;
}

static void stay(struct master *m, const char *reason)
{
    log_error("the upgrade failed, this program serves on: %.*s",
              (int)strcspn(reason, "\n"), reason);
    remember_failure(m, reason);
}

/* Returns only when it failed, with everything as it was. */
static void replace(struct master *m)
{
    int program = open("/proc/self/exe", O_RDONLY);
    int state = program < 0 ? -1 : write_state(m, program);
    char why[256] = "no memory for the state";

    if (state >= 0) {
        notify_reloading(m);
        log_info("upgrade: %s takes this program's place", own.path);
        set_common(m);
        set_number(STATE_VARIABLE, state);
        fflush(NULL);
        execv(own.path, own.arguments);
        snprintf(why, sizeof(why), "%s cannot be executed: %s", own.path,
                 strerror(errno));
        for (size_t i = 0; i < m->listeners.count; i++)
            set_cloexec(m->listeners.fds[i], true);
        for (size_t i = 0; i < KEPT_COUNT; i++)
            unsetenv(kept_names[i]);
        unsetenv(PROGRAM_VARIABLE);
        close(state);
    }
    if (program >= 0)
        close(program);
    stay(m, why);
}

static void check_ended(struct master *m, int status)
{
    struct upgrade *upgrade = &m->upgrade;
    char said[OUTPUT_SHOW + 1];

    ssize_t got = pread(upgrade->check_output, said, OUTPUT_SHOW, 0);
    said[got > 0 ? got : 0] = '\0';
    close(upgrade->check_output);
    upgrade->check_output = -1;
    upgrade->check = 0;
    if (m->phase != PHASE_SERVING)
        return;
    if (status == 0)
        replace(m);
    else
        stay(m, *said ? said : status_text(status));
}

/* Both -------------------------------------------------------------------------- */

bool upgrade_reaped(struct master *m, pid_t pid, int status)
{
    if (m->upgrade.check && pid == m->upgrade.check) {
        check_ended(m, status);
        return true;
    }
    for (size_t i = 0; i < own.heir_count; i++) {
        if (own.heirs[i].pid != pid)
            continue;
        own.heirs[i].is_dead = true;
        log_warn("process %d of the former program ended: %s", (int)pid,
                 status_text(status));
        return true;
    }
    return false;
}

static bool may_begin(const struct master *m, struct buf *report)
{
    const struct upgrade *upgrade = &m->upgrade;

    if (!m->input || !own.path[0])
        buf_adds(report, "there is nothing to upgrade\n");
    else if (m->phase != PHASE_SERVING)
        buf_adds(report, m->phase == PHASE_STOPPING ? "the server is stopping\n"
                                                    : "the server is starting\n");
    else if (reload_is_busy(m))
        buf_adds(report, "a reload is under way\n");
    else if (upgrade->check || (upgrade->successor && !upgrade->successor_serves))
        buf_adds(report, "an upgrade is under way\n");
    else if (upgrade->successor)
        buf_addf(report, "the new master (pid %d) serves already: TERM to one of them\n",
                 (int)upgrade->successor);
    else if (upgrade->former)
        buf_addf(report, "the former master (pid %d) still runs: TERM to one of them\n",
                 (int)upgrade->former);
    return report->length == 0;
}

bool upgrade(struct master *m, bool completes, struct buf *report)
{
    struct upgrade *upgrade = &m->upgrade;

    /* Asked for a second time: what has begun is brought to its end. */
    if (completes && upgrade->successor) {
        upgrade->completes = true;
        buf_addf(report, "this master ends once process %d serves\n",
                 (int)upgrade->successor);
        return true;
    }
    if (!may_begin(m, report))
        return false;
    free(upgrade->failure);
    upgrade->failure = NULL;
    upgrade->completes = completes;
    if (m->pid == 1 || m->services.is_used)
        return !has_other_options(m, report) && start_check(m, report);
    return start_beside(m, report);
}

uint64_t upgrade_turn(struct master *m)
{
    struct upgrade *upgrade = &m->upgrade;

    if (upgrade->former && !upgrade->has_told_ready && m->phase == PHASE_SERVING &&
        pools_serve(m)) {
        upgrade->has_told_ready = true;
        send_line(upgrade->link.fd, "ready", "");
    }
    if (upgrade->completes && upgrade->successor_serves && m->phase == PHASE_SERVING) {
        stop_begin(m, false);
        return m->now;
    }
    if (!upgrade->check)
        return NEVER;
    if (m->now >= upgrade->check_deadline) {
        kill(upgrade->check, SIGKILL);
        upgrade->check_deadline = m->now + CHECK_MS;
    }
    return upgrade->check_deadline;
}

const char *upgrade_stage(const struct master *m)
{
    const struct upgrade *upgrade = &m->upgrade;

    if (upgrade->check)
        return "the new program reads the configuration";
    if (upgrade->successor)
        return upgrade->successor_serves ? "beside the new master"
                                         : "the new master starts";
    if (upgrade->former)
        return "beside the former master";
    if (own.heir_count > 0)
        return "the new program starts";
    for (size_t i = 0; i < board_slots(m->board); i++)
        if (m->children[i].pid && m->children[i].is_inherited &&
            !m->children[i].is_draining)
            return "processes of the former program are replaced";
    return "";
}
