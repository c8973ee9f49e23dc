/*
 * title.h - what ps and top show of a process: "forkmark: worker 3".
 */
#ifndef FORKMARK_MASTER_TITLE_H
#define FORKMARK_MASTER_TITLE_H

/*
 * Moves arguments and environment to the heap, so that their room is free for
 * titles. Call first in main() and go on with the arguments it returns: what
 * pointed at the old ones, or came from getenv() before, is overwritten later.
 */
char **title_init(int argc, char **argv);

/* Cut to fit. Nothing happens without title_init(). */
void title_set(const char *title);

#endif
