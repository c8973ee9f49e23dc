/*
 * proof.h - the first worker of a new generation tries out what it needs.
 *
 * Its database, its Redis, and a request to itself through a socket pair: whatever a
 * configuration can break shows before any worker of the old generation drains.
 */
#ifndef FORKMARK_WORKER_PROOF_H
#define FORKMARK_WORKER_PROOF_H

#include "worker/server.h"

/*
 * `passed` is called on the loop's stack. A failure ends the process: the reason is
 * logged and left for the master, who says it to whoever asked for the reload.
 */
void proof_start(struct server *server, void (*passed)(void));

#endif
