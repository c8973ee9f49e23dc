/*
 * serve.h - a master, from its configuration to its exit status.
 */
#ifndef FORKMARK_MASTER_SERVE_H
#define FORKMARK_MASTER_SERVE_H

#include "common/conf.h"
#include "master/account.h"
#include "master/data.h"
#include "master/services.h"

/* `input` is read again on each reload. The exit status. */
int serve(const struct conf_input *input);

/*
 * The configuration as the server completes it: account, data folder, which
 * services are embedded, their addresses, secrets. For sub-commands that talk to
 * what a server runs. Each step ends the process when the configuration is wrong.
 */
struct setup {
    struct options *options;
    struct account account;
    struct data data;
    bool embedded[SERVICE_COUNT];
};
void setup_load(const struct conf_input *input, struct setup *ret);
/* Decides what is embedded; or the end, when something is missing that must not be. */
void setup_choose(struct setup *setup);
/* Users and groups of the consumer pools: they are there and can be had; or the end. */
void setup_check_pools(const struct setup *setup);
/* Addresses and secrets of the embedded services into the options; or the end. */
void setup_complete(struct setup *setup);
bool setup_is_embedded(const struct setup *setup);

#endif
