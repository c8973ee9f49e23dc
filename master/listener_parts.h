/*
 * listener_parts.h - what the files of the listening sockets (listener*.c) know of each
 * other.
 */
#ifndef FORKMARK_MASTER_LISTENER_PARTS_H
#define FORKMARK_MASTER_LISTENER_PARTS_H

#include "master/listener.h"
#include <stdbool.h>

struct buf;

/* listener_inherited.c: what this process was started with. The service manager's, if
 * any, take the place of server.bind; of the former master's each is found by address. */
extern struct listeners listeners_passed, listeners_left;

/* listener.c: the descriptor of that address in `listeners`, which may be NULL; or -1. */
int listeners_find_fd(const struct listeners *listeners, const struct address *address);

/* listener_address.c: its port; 0 for a Unix socket. */
int address_port(const struct address *address);

/* listener_unix.c: the name becomes free. False with the reason, and errno EADDRINUSE
 * when another process listens there. */
bool address_remove_stale(const struct address *address, struct buf *error);
/* Remembers which file the name is, as far as it is a Unix socket's. */
void address_note_file(struct address *address);
/* The name, unless somebody else has it meanwhile; nothing happens to TCP's. */
void address_remove_name(const struct address *address);

#endif
