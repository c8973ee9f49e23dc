/*
 * ctl.h - `forkmark ctl ...`: speaks to the running master's control socket.
 */
#ifndef FORKMARK_MASTER_CTL_H
#define FORKMARK_MASTER_CTL_H

/*
 * `words` is the command, NULL-ended. `as_json` prints the answer's data as it is.
 * The exit status: 0 done, 1 refused (why is on standard error), 2 no master there.
 */
int ctl_run(const char *socket_path, const char *const *words, int as_json);

#endif
