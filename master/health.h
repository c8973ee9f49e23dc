/*
 * health.h - is the server of this configuration up? What a container's health check
 * asks.
 */
#ifndef FORKMARK_MASTER_HEALTH_H
#define FORKMARK_MASTER_HEALTH_H

#include <stdbool.h>

struct buf;
struct options;

/*
 * Asks the first of server.bind for /health/readiness, as a load balancer would; where no
 * HTTP workers are configured, whether the control socket answers. True with the answer's
 * body, or false with the reason, in `ret`. Waits a few seconds at most.
 */
bool health_ask(const struct options *options, const char *control, struct buf *ret);

#endif
