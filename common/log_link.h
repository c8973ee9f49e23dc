/*
 * log_link.h - log files that the master has opened again, handed to its children.
 *
 * A child has given up root, perhaps for a user of its pool's own: it may no longer get
 * to the file's folder, or not write to a file that is another user's. So on USR1 the
 * master alone opens files, and each child is sent the descriptors over a pair of
 * sockets. What comes while a child is busy, or has not begun to listen for signals,
 * waits in its socket.
 */
#ifndef FORKMARK_COMMON_LOG_LINK_H
#define FORKMARK_COMMON_LOG_LINK_H

#include "common/log.h"
#include <stdbool.h>

struct log_sink;

/* [0] is the master's, [1] the child's. False: there is none to be had. */
bool log_link_open(int ends[2]);

/* The files among the sinks as they are open now; NULL in place of one is fine. Does not
 * wait: false when the other side takes nothing any more. */
bool log_link_hand(int end, struct log_sink *const sinks[LOG_FDS]);

/* Whatever has come goes into the sinks, the latest last; `ret_taken` says into which. */
void log_link_take(int end, struct log_sink *const sinks[LOG_FDS],
                   bool ret_taken[LOG_FDS]);

#endif
