/*
 * data.h - the data folder: whose it is, where things are in it, who holds it.
 *
 *   data/lock        held by the master; two on one folder would ruin it
 *   data/control     the control socket
 *   data/secrets/    made once, 0600
 *   data/log/        what the services have to say
 *   data/postgres/   the embedded database   \
 *   data/redis/      the embedded queue       | the account's
 *   data/run/        their sockets           /
 *
 * A socket's path has at most 107 bytes; where the folder's own path is too long,
 * control and run/ are in a private folder below /run or /tmp instead.
 */
#ifndef FORKMARK_MASTER_DATA_H
#define FORKMARK_MASTER_DATA_H

#include "common/options.h"
#include "master/account.h"
#include <limits.h>
#include <stdbool.h>

struct buf;

struct data {
    char folder[PATH_MAX];  /* absolute */
    char sockets[PATH_MAX]; /* the folder that holds `control` and run/ */
    bool was_moved;         /* to /var/lib/forkmark */
    bool is_short_of_room;  /* sockets is not folder */
    int lock_fd;
};

/*
 * Where the data folder is, without touching it. The default folder gives way to
 * /var/lib/forkmark when `account` cannot reach it (a clone below /root).
 */
void data_locate(const struct options *options, const struct account *account,
                 struct data *ret);

/* Makes what is missing and takes the lock. False with the reason in `error`. */
bool data_open(struct data *data, const struct account *account, struct buf *error);
/* A folder in it that belongs to the account, mode 0700. */
bool data_make(const struct data *data, const struct account *account, const char *name,
               struct buf *error);
/* The folder of sockets, and run/ in it for the account's. */
bool data_make_sockets(const struct data *data, const struct account *account,
                       struct buf *error);
void data_close(struct data *data);

/* The secret of that name, 64 hex digits, made the first time. */
bool data_secret(const struct data *data, const char *name, char ret_text[65],
                 struct buf *error);

#endif
