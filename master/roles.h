/*
 * roles.h - the kinds of children the master starts, as a table.
 */
#ifndef FORKMARK_MASTER_ROLES_H
#define FORKMARK_MASTER_ROLES_H

#include "common/role.h"

struct role {
    const char *name; /* in titles and logs: "worker" */
    enum board_role board;
    int (*run)(const struct role_context *context);
    bool has_listeners; /* gets the HTTP sockets; others close them */
    bool finishes_jobs; /* a drain outside the final stop waits for the running job */
    bool may_end;       /* by itself, with status 0: it is replaced without an error */
    bool is_single;     /* title without a number */
};

extern const struct role role_worker, role_consumer, role_scheduler;

#endif
