/*
 * accept.h - new connections, shared fairly between the workers.
 *
 * Every worker polls the same listening sockets. One whose connections exceed the
 * mean leaves the next to the others for a millisecond; after one
 * such deferral it accepts whatever the mean, so a hung neighbour starves nobody.
 * (Measured: design, "Balanced accept". EPOLLEXCLUSIVE made it worse.)
 */
#ifndef FORKMARK_WORKER_ACCEPT_H
#define FORKMARK_WORKER_ACCEPT_H

#include "worker/http.h"
#include <stdbool.h>

struct accept;

/* Polls the role's listening sockets. Borrows the server, whose http must stand. */
struct accept *accept_new(struct server *server);
/* Accepted, but not connections yet: their PROXY header is not there. */
size_t accept_waiting(const struct accept *accept);
/* Takes what already waits in the backlog, then listens no more. */
void accept_stop(struct accept *accept);
/* Stops, and closes its handles on the loop. The sockets stay open: they are the
 * role's. */
void accept_free(struct accept *accept);

/*
 * Whether an answer should end its connection, so that the client's next one may go
 * elsewhere. Keep-alive connections stay where they are: after `scale web 4` the new
 * workers would idle beside the one that holds them all. So a worker with an eighth
 * and 2 more than the mean lets one go every 10 ms, by `Connection: close`. Measured with
 * 64 connections, 2 s after scaling 1 to 4: 22 at most on one worker instead of 64.
 */
bool accept_lets_go(struct server *server);

/*
 * Whether this worker leaves the next connection to others: it has more than the mean
 * and `above`. One above is let pass where connections rush in or come and go, since each
 * deferral costs them (measured with fresh connections: a quarter of 8,500 a second);
 * none where they come one at a time and stay, which spreads 40 kept ones 10 or 11 to
 * each of 4 workers. (Half a connection leaves a slow worker with 8 beside three of 11.)
 */
bool accept_is_above_mean(struct scoreboard *board, const struct board_slot *own,
                          uint64_t now_ms, unsigned above);

#endif
