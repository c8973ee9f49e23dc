/*
 * redis_link.h - keeps one connection to Redis up: connect, log in, again.
 *
 * A link that was started tries until it is stopped: at once the first time,
 * then with a wait that doubles from 50 ms to 1 s. With sentinels each attempt asks
 * them for the master first, and the link leaves a server as soon as they name another.
 * Logging in is AUTH, CLIENT SETNAME, SELECT, ROLE and PING as far as they are needed;
 * a server that is still loading its data, refuses the password, or is a replica where
 * a master is needed, counts as not there. Each change is logged once, with its reason;
 * that an idle connection was closed is none, as long as the next one works.
 */
#ifndef FORKMARK_COMMON_REDIS_LINK_H
#define FORKMARK_COMMON_REDIS_LINK_H

#include "common/redis_sentinel.h"
#include "common/redis_talk.h"
#include "common/redis_url.h"
#include "common/redis_wire.h"
#include <stdbool.h>
#include <stdint.h>

/* What connecting needs; shared by the links of one `struct redis`. */
struct redis_settings {
    struct redis_address address;      /* with sentinels: without host and port */
    struct redis_sentinels *sentinels; /* NULL: none; borrowed */
    bool needs_master;
    char place[320]; /* the address as log lines show it */
    char client_name[64];
    uint64_t connect_timeout_ms;
    bool is_reader; /* a cluster's replica answers reads: READONLY */
};

struct redis_link_events {
    void (*up)(void *arg);     /* commands may be written now */
    void (*failed)(void *arg); /* an attempt to connect; the next one is on its way */
    void (*down)(void *arg);   /* an established connection was lost */
    void (*reply)(void *arg, redisReply *reply); /* the callee owns the reply */
    void (*due)(void *arg);                      /* redis_link_alarm() */
    /* Nobody waits for anything: that the server closes is no trouble. NULL: never so. */
    bool (*is_idle)(void *arg);
};

struct redis_link {
    const struct redis_settings *settings;
    const struct redis_link_events *events; /* all on the loop's stack */
    void *arg;
    const char *purpose;      /* for log lines: "commands", "subscriptions" */
    struct redis_wire *wire;  /* NULL: not connected */
    struct redis_try *trying; /* the attempt that runs or waits for its turn */
    uint64_t next_wait_ms;    /* before the attempt after this one */
    struct redis_ear ear;     /* to the sentinels, once started */
    struct {
        char host[REDIS_URL_PATH], port[8];
    } peer;                    /* where it is connected, or tries to */
    const char *last_what;     /* the trouble logged last; NULL: none since it was up */
    char reason[REDIS_REASON]; /* of that; stays when it is up again */
    bool is_refused; /* and it will not get better unless somebody changes something */
    uint64_t last_logged_ms, up_ms;
};

void redis_link_init(struct redis_link *link, const struct redis_settings *settings,
                     const char *purpose, const struct redis_link_events *events,
                     void *arg);
/* Closes and stops trying; no event comes after this. May be started again. */
void redis_link_stop(struct redis_link *link);

/* Connects in the background unless it is connected or trying. Does not yield. */
void redis_link_start(struct redis_link *link);
/* Gives the connection up for the reason (NULL: none worth a line in the log), and tries
 * again after `wait_ms`. */
void redis_link_drop(struct redis_link *link, const char *reason, uint64_t wait_ms);

static inline bool redis_link_is_up(const struct redis_link *link)
{
    return link->wire != NULL;
}

#endif
