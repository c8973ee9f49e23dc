/*
 * account.c - see account.h.
 */
#include "master/account.h"
#include "common/buf.h"
#include "common/log.h"
#include "common/options.h"
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void take(struct account *ret, const struct passwd *entry)
{
    ret->changes = true;
    snprintf(ret->name, sizeof(ret->name), "%s", entry->pw_name);
    ret->uid = entry->pw_uid;
    ret->gid = entry->pw_gid;
}

static bool take_owner(struct account *ret, const char *owned)
{
    struct stat status;

    if (!owned || stat(owned, &status) < 0 || status.st_uid == 0)
        return false;
    struct passwd *entry = getpwuid(status.st_uid);
    if (entry) {
        take(ret, entry);
    } else { /* a volume of another system: the number is what counts */
        ret->changes = true;
        snprintf(ret->name, sizeof(ret->name), "#%u", (unsigned)status.st_uid);
        ret->uid = status.st_uid;
        ret->gid = status.st_gid;
    }
    return true;
}

static bool take_default(struct account *ret, struct buf *error)
{
    static const char *const names[] = { "forkmark", "nobody" };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct passwd *entry = getpwnam(names[i]);

        if (entry && entry->pw_uid != 0) {
            take(ret, entry);
            return true;
        }
    }
    buf_adds(error, "started as root, and there is neither a user `forkmark` nor "
                    "`nobody` to give root up for: name one in server.user");
    return false;
}

static bool take_named(struct account *ret, const char *user, struct buf *error)
{
    struct passwd *entry = getpwnam(user);

    if (!entry) {
        buf_addf(error, "server.user: there is no user `%s`", user);
        return false;
    }
    take(ret, entry);
    return true;
}

bool account_find(const char *user, const char *group, const char *owned,
                  struct account *ret, struct buf *error)
{
    struct account found = { .uid = geteuid(), .gid = getegid() };

    if (geteuid() == 0) {
        if (*user ? !take_named(&found, user, error)
                  : !take_owner(&found, owned) && !take_default(&found, error))
            return false;
    } else if (*user) {
        struct passwd *entry = getpwnam(user);

        if (!entry || entry->pw_uid != geteuid()) {
            buf_addf(error, "server.user: only root can become `%s`", user);
            return false;
        }
    }
    if (*group && found.changes) {
        struct group *entry = getgrnam(group);

        if (!entry) {
            buf_addf(error, "server.group: there is no group `%s`", group);
            return false;
        }
        found.gid = entry->gr_gid;
    }
    *ret = found;
    return true;
}

__attribute__((format(printf, 3, 4))) static bool
refuse(const struct pool_options *pool, struct buf *error, const char *format, ...)
{
    va_list args;

    buf_addf(error, "%s: ", pool->account_where);
    va_start(args, format);
    buf_addv(error, format, args);
    va_end(args);
    buf_addc(error, '\n');
    return false;
}

static bool is_me(const char *user, const char *group)
{
    const struct passwd *entry = *user ? getpwnam(user) : NULL;
    const struct group *of = *group ? getgrnam(group) : NULL;

    return (!*user || (entry && entry->pw_uid == geteuid())) &&
           (!*group || (of && of->gr_gid == getegid()));
}

bool account_of_pool(const struct pool_options *pool, const struct account *server,
                     struct account *ret, struct buf *error)
{
    struct account found = *server;

    if (*pool->user) {
        struct passwd *entry = getpwnam(pool->user);

        if (!entry)
            return refuse(pool, error, "`jobs.pools.%s.user`: there is no user `%s`",
                          pool->name, pool->user);
        take(&found, entry);
    }
    if (*pool->group) {
        struct group *entry = getgrnam(pool->group);

        if (!entry)
            return refuse(pool, error, "`jobs.pools.%s.group`: there is no group `%s`",
                          pool->name, pool->group);
        found.gid = entry->gr_gid;
    }
    if (geteuid() != 0) {
        if (!is_me(pool->user, pool->group))
            return refuse(pool, error,
                          "`jobs.pools.%s.%s`: only a server started as root can run "
                          "a pool as `%s`",
                          pool->name, *pool->user ? "user" : "group",
                          *pool->user ? pool->user : pool->group);
        found = *server;
    }
    *ret = found;
    return true;
}

bool account_check_pools(const struct options *options, const struct account *server,
                         struct buf *errors)
{
    size_t before = errors->length;
    struct account account;

    for (size_t i = 0; i < options->jobs.pool_count; i++)
        account_of_pool(&options->jobs.pools[i], server, &account, errors);
    return errors->length == before;
}

void account_become(const struct account *account)
{
    if (!account->changes)
        return;
    int groups = account->name[0] == '#' ? setgroups(1, &account->gid)
                                         : initgroups(account->name, account->gid);

    if (groups < 0 || setresgid(account->gid, account->gid, account->gid) < 0 ||
        setresuid(account->uid, account->uid, account->uid) < 0)
        fatal("cannot become user %s: %s", account->name, strerror(errno));
    if (account->uid != 0 && setuid(0) == 0)
        fatal("root could be taken back after becoming user %s", account->name);
}

int account_give(const struct account *account, const char *path)
{
    if (!account->changes)
        return 0;
    return chown(path, account->uid, account->gid) < 0 ? -errno : 0;
}

bool account_reaches(const struct account *account, const char *folder)
{
    int status;

    if (!account->changes)
        return access(folder, X_OK) == 0;
    pid_t pid = fork(); /* only the account itself can say, with all its groups */
    if (pid == 0) {
        account_become(account);
        _exit(access(folder, X_OK) == 0 ? 0 : 1);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return pid > 0 && status == 0;
}
