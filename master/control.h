/*
 * control.h - the control socket: an operator's commands to the running master.
 *
 * One request a connection: a line of JSON, {"words":["scale","web","+1"],
 * "user":"alice"}. One answer, a line as well: {"ok":true,"text":"...", "data":...}, or
 * {"ok":false,"text":"why"}. Only root and the master's own user are heard.
 */
#ifndef FORKMARK_MASTER_CONTROL_H
#define FORKMARK_MASTER_CONTROL_H

#include "common/options.h"
#include "master/data.h"
#include <stdbool.h>

struct buf;
struct master;

/* Where the socket of this configuration is. The caller frees it. */
char *control_path(const struct options *options, const struct data *data,
                   bool is_embedded);

bool control_open(struct master *m, struct buf *error);
void control_close(struct master *m); /* never opened is fine */
/* The options may name another place for the socket: it moves there. */
void control_moved(struct master *m);
/* Who gave the command that is being run: "alice (uid 1000)". */
const char *control_who(const struct master *m);
/* One that was asked for while another was under way has begun: what changes is news to
 * those who wait for it. */
void control_reload_begun(struct master *m, const char *text);
/* The reload of that serial number is over: whoever waits for it (and not for the one
 * that follows it) is told, on top of what it was told to change. */
void control_reload_done(struct master *m, bool is_ok, const char *text);

#endif
