/*
 * log_sink.h - where lines go: a descriptor, a file, syslog or the journal.
 *
 *   "-", "stderr", "stdout"   standard error or output
 *   "syslog"                  the local daemon's /dev/log, in its local format
 *   "syslog:/path"            the same at another Unix socket
 *   "syslog://host:port"      by UDP, RFC 5424; the port is 514 unless given
 *   "journal"                 systemd's journal, by its own protocol
 *   anything else             a file's path
 *
 * The journal is spoken to in its native protocol rather than by "<6>" prefixes on
 * standard error: a stream belongs to the process that opened it, so all lines would
 * carry the master's pid, while a datagram carries its sender's; and level, request id
 * and process arrive as fields one can filter by.
 *
 * Nothing here waits for a slow daemon: what does not fit into its socket is dropped and
 * counted, and the next line that passes says how many were.
 */
#ifndef FORKMARK_COMMON_LOG_SINK_H
#define FORKMARK_COMMON_LOG_SINK_H

#include "common/log.h"
#include <stddef.h>
#include <sys/types.h>

struct log_sink;

/* One line, both as its parts and as the whole that a file gets. */
struct log_record {
    enum log_level level;
    int64_t unix_us;
    const char *process; /* "worker 3" */
    const char *id;      /* of the request or job, or "" */
    const char *message; /* without all of these; may be JSON */
    const char *line;    /* with all of these, and a newline at its end */
    size_t line_length;
    bool is_access;
    bool is_json; /* the line is an object: syslog gets that whole */
};

/* NULL when fine, else what is wrong with such a text (static). */
const char *log_sink_check(const char *text);
bool log_sink_is_file(const char *text);
/* NULL: `*ret_error` is a negative errno. The sink is closed by log_sink_close(). */
struct log_sink *log_sink_open(const char *text, int *ret_error);
void log_sink_close(struct log_sink *sink); /* NULL is fine */

void log_sink_write(struct log_sink *sink, const struct log_record *record);
/* USR1: the same place again. On failure it goes on as it was. 0 or a negative errno. */
int log_sink_reopen(struct log_sink *sink);
/* The same with a descriptor that is open already, and is this function's now. */
int log_sink_adopt(struct log_sink *sink, int fd);
/* Files only: to the user that will have to open it again. False: errno says why. */
bool log_sink_give(struct log_sink *sink, uid_t uid, gid_t gid);

/* What to keep over close_range() in a child. -1 for none. */
int log_sink_fd(const struct log_sink *sink);
const char *log_sink_name(const struct log_sink *sink); /* as it was given */

/* syslog's facility for all sinks of this process: "daemon", "local0" ... */
extern const char *const log_facility_words[]; /* NULL-ended, in syslog's order */
void log_sink_set_facility(int index_of_word);

#endif
