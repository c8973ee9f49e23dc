/*
 * account.h - the unprivileged user that children and embedded services run as.
 *
 * Only a master started as root changes users. Without server.user it takes, in
 * this order: the owner of an embedded database that is already there, a user named
 * "forkmark", and "nobody".
 */
#ifndef FORKMARK_MASTER_ACCOUNT_H
#define FORKMARK_MASTER_ACCOUNT_H

#include <stdbool.h>
#include <sys/types.h>

struct buf;

struct account {
    bool changes; /* false: not root, everything stays as it is */
    char name[64];
    uid_t uid;
    gid_t gid;
};

/*
 * `user` and `group` "": the default; `owned` is a path whose owner comes first
 * then, NULL for none. False with the reason in `error`.
 */
bool account_find(const char *user, const char *group, const char *owned,
                  struct account *ret, struct buf *error);

/*
 * The account of a pool of consumers, by its own user and group over the server's
 * account. False with the reason, file and line in `error`.
 */
struct pool_options;
bool account_of_pool(const struct pool_options *pool, const struct account *server,
                     struct account *ret, struct buf *error);
/* Whether each pool's can be had; every complaint, one line each, in `errors`. */
struct options;
bool account_check_pools(const struct options *options, const struct account *server,
                         struct buf *errors);

/* For good: real, effective and saved ids and groups. Does nothing when !changes. */
void account_become(const struct account *account);

/* Gives a file or folder to the account. 0 or a negative errno. */
int account_give(const struct account *account, const char *path);

/* Whether the account may search the folder, and so reach what is in it. */
bool account_reaches(const struct account *account, const char *folder);

#endif
