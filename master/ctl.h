/*
 * ctl.h - `forkmark ctl ...`: speaks to the running master's control socket.
 */
#ifndef FORKMARK_MASTER_CTL_H
#define FORKMARK_MASTER_CTL_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

struct buf;

/*
 * `words` is the command, NULL-ended. `as_json` prints the answer's data as it is.
 * The exit status: 0 done, 1 refused (why is on standard error), 2 no master there.
 */
int ctl_run(const char *socket_path, const char *const *words, bool as_json);

/*
 * One command's answer, {"ok", "text", "data"}; the caller deletes it. NULL: there is
 * none, and `error` says why.
 */
cJSON *ctl_ask(const char *socket_path, const char *const *words, struct buf *error);

/*
 * ctl_watch.c: the status every `every_ms`, until Ctrl-C (0) or until nobody reads. On a
 * terminal one table that is drawn anew, else one after the other; `as_json`: one line
 * each. Goes on over a server's restart; 2 when there is none at the beginning.
 */
int ctl_watch(const char *socket_path, uint64_t every_ms, bool as_json);

#endif
