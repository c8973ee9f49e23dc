/*
 * redis_redirect.h - what an error of a cluster's node tells its client to do.
 */
#ifndef FORKMARK_COMMON_REDIS_REDIRECT_H
#define FORKMARK_COMMON_REDIS_REDIRECT_H

#include <hiredis/hiredis.h>
#include <stdint.h>

enum redirect_kind {
    REDIRECT_NONE,  /* an answer, or an error that is the caller's */
    REDIRECT_MOVED, /* the slot lives elsewhere from now on */
    REDIRECT_ASK,   /* this once, go there, and say ASKING first */
    REDIRECT_HALF,  /* TRYAGAIN: the slot is on its way, half of the keys are here */
    REDIRECT_DOWN,  /* CLUSTERDOWN, LOADING, MASTERDOWN: this node cannot serve now */
};

struct redirect {
    enum redirect_kind kind;
    uint16_t slot;  /* with MOVED and ASK */
    char host[256]; /* "": the host that answered */
    char port[8];
};

/* "MOVED 3999 127.0.0.1:6381" and the like; what is no such thing is REDIRECT_NONE. */
void redis_redirect_read(const redisReply *reply, struct redirect *ret);

#endif
