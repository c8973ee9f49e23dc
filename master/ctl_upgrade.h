/*
 * ctl_upgrade.h - `forkmark ctl upgrade --wait` and `--complete`.
 */
#ifndef FORKMARK_MASTER_CTL_UPGRADE_H
#define FORKMARK_MASTER_CTL_UPGRADE_H

#include <cjson/cJSON.h>

/*
 * After the master has agreed: asks for its status until the upgrade is over, whichever
 * process answers at that socket by then. With `completes` it is over when another master
 * than `pid` is alone there. The exit status: 0, or 1 with the reason printed.
 */
int ctl_upgrade_wait(const char *socket_path, int pid, int completes);

#endif
