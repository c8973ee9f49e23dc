/*
 * spawn.c - from fork() to a role's run(): what a child leaves behind and gets.
 */
#include "common/buf.h"
#include "common/log.h"
#include "common/log_link.h"
#include "master/master.h"
#include "master/title.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/*
 * Words of the master to itself are not for its children, and before role_watch()
 * a USR1 must not end one. TERM, INT and QUIT have their default effect until then,
 * which is right: a child that is not ready has nothing to finish. (Others keep what
 * they have: the sanitizers' handlers, for one.)
 */
static const struct {
    int signum;
    void (*act)(int);
} dispositions[] = {
    { SIGCHLD, SIG_DFL }, { SIGHUP, SIG_IGN },   { SIGINT, SIG_DFL },
    { SIGPIPE, SIG_IGN }, { SIGQUIT, SIG_DFL },  { SIGTERM, SIG_DFL },
    { SIGTTIN, SIG_IGN }, { SIGTTOU, SIG_IGN },  { SIGUSR1, SIG_IGN },
    { SIGUSR2, SIG_IGN }, { SIGWINCH, SIG_IGN },
};

static void reset_signals(void)
{
    sigset_t none;

    for (size_t i = 0; i < sizeof(dispositions) / sizeof(dispositions[0]); i++)
        signal(dispositions[i].signum, dispositions[i].act);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Closes every descriptor but standard input, output, error and those to keep. */
static void close_others(int *keep, size_t count)
{
    unsigned from = STDERR_FILENO + 1;

    qsort(keep, count, sizeof(*keep), by_number);
    for (size_t i = 0; i < count; i++) {
        if (keep[i] < (int)from)
            continue;
        if (keep[i] > (int)from)
            close_range(from, (unsigned)keep[i] - 1, 0);
        from = (unsigned)keep[i] + 1;
    }
    close_range(from, ~0U, 0);
}

static void leave_descriptors(struct master *m, const struct role *role,
                              const struct listeners *listeners, int log_link)
{
    int keep[LISTENERS_MAX + LOG_FDS + 2];
    size_t count = log_fds(keep);

    keep[count++] = m->notify_fd;
    keep[count++] = log_link; /* none is 0, which stays open anyway */
    if (role->has_listeners)
        for (size_t i = 0; i < listeners->count; i++)
            keep[count++] = listeners->fds[i];
    close_others(keep, count);
}

/*
 * After the change of user, which clears the wish to die with the parent; and the
 * parent may have died before the wish was made.
 */
static void die_with_master(pid_t master)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != master)
        _exit(0);
#ifdef FORKMARK_DEBUG
    prctl(PR_SET_DUMPABLE, 1); /* the leak checker looks into its own process */
#endif
}

static const struct pool_options *pool_options_of(const struct options *options,
                                                  const struct pool *pool)
{
    for (size_t i = 0; i < options->jobs.pool_count; i++)
        if (strcmp(options->jobs.pools[i].name, pool->name) == 0)
            return &options->jobs.pools[i];
    return NULL;
}

/* A pool of consumers may have a user and a group of its own. */
static struct account account_of(struct master *m, const struct pool_options *pool)
{
    struct account account = m->account;
    struct buf error = BUF_HEAP;

    /* Checked when the configuration was taken: only a user deleted since is missed. */
    if (pool && !account_of_pool(pool, &m->account, &account, &error))
        fatal("%.*s", (int)strcspn(buf_text(&error), "\n"), buf_text(&error));
    return account;
}

/* A start that cannot work leaves its reason where the master finds it. */
static struct board_slot *own_slot;

static void leave_last_words(const char *reason)
{
    board_last_words(own_slot, reason);
}

_Noreturn static void be_child(struct master *m, struct child *child,
                               struct board_slot *slot, int log_link)
{
    const struct role *role = child->pool->role;
    char name[48], title[64];
    bool is_new = child->is_proof && m->reload.next;
    const struct options *options = is_new ? m->reload.next : m->options;
    const struct listeners *listeners =
        is_new ? &m->reload.next_listeners : &m->listeners;
    struct role_context context = {
        .options = options,
        .board = m->board,
        .slot = slot,
        .listeners = role->has_listeners ? listeners->fds : NULL,
        .listener_count = role->has_listeners ? listeners->count : 0,
        .pool =
            role->board == BOARD_CONSUMER ? pool_options_of(options, child->pool) : NULL,
        .log_link = log_link,
        .notify_fd = m->notify_fd,
        .is_proof = child->is_proof,
    };

    own_slot = slot;
    log_on_fatal(leave_last_words);
    struct account account = account_of(m, context.pool);

    memcpy(context.predecessor, child->predecessor.rq_name, sizeof(context.predecessor));
    context.predecessor_overran = child->predecessor.has_overrun;
    setsid();
    leave_descriptors(m, role, listeners, log_link);
    child_title(child->pool, slot->number, name, sizeof(name));
    log_set_process(name);
    snprintf(title, sizeof(title), "forkmark: %s", name);
    title_set(title);
    account_become(&account);
    die_with_master(m->pid);
    reset_signals();
    exit(role->run(&context));
}

pid_t spawn_child(struct master *m, struct child *child, int slot)
{
    struct board_slot *of_child = board_slot(m->board, (size_t)slot);
    int link[2] = { 0, 0 };

    if (!log_link_open(link)) /* then it opens files by itself */
        link[0] = link[1] = 0;
    fflush(NULL); /* what stands in buffers must not be written twice */
    pid_t pid = fork();
    int error = errno;
    if (pid == 0)
        be_child(m, child, of_child, link[1]);
    if (link[1])
        close(link[1]);
    child->log_link = link[0];
    if (pid < 0) {
        child_close_link(child);
        return -error;
    }
    of_child->pid = pid;
    return pid;
}

static char *own_note;

static void leave_note(const char *reason)
{
    snprintf(own_note, NOTE_BYTES, "%s", reason);
}

_Noreturn static void
be_short(struct master *m, const char *name, const struct options *options,
         int (*run)(struct master *m, const struct options *options))
{
    int keep[LOG_FDS];
    char title[64];

    setsid();
    close_others(keep, log_fds(keep));
    log_set_process(name);
    snprintf(title, sizeof(title), "forkmark: %s", name);
    title_set(title);
    account_become(&m->account);
    die_with_master(m->pid);
    reset_signals();
    own_note = m->note;
    log_on_fatal(leave_note);
    exit(run(m, options));
}

pid_t spawn_short(struct master *m, const char *name, const struct options *options,
                  int (*run)(struct master *m, const struct options *options))
{
    m->note[0] = '\0';
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        be_short(m, name, options, run);
    return pid < 0 ? -errno : pid;
}
