/*
 * multi.h - libcurl's multi interface on the task loop.
 *
 * curl says which sockets and which timer it wants watched, libuv watches them.
 * Nothing here knows what a transfer is for.
 */
#ifndef FORKMARK_JOBS_FETCH_MULTI_H
#define FORKMARK_JOBS_FETCH_MULTI_H

#include <curl/curl.h>
#include <stdbool.h>

struct multi;

/* `done` is called on the loop's stack for each transfer that ended; it must not
 * yield, and finds its own by CURLINFO_PRIVATE. */
struct multi *multi_new(void (*done)(CURL *easy, CURLcode code));
/* No transfer may be left. The memory goes once the loop has closed the handles. */
void multi_free(struct multi *multi);

/* Starts from the loop, not inside this call. False when curl refuses it. */
bool multi_add(struct multi *multi, CURL *easy);
/* Ends it, finished or not; `done` is not called. */
void multi_remove(struct multi *multi, CURL *easy);

#endif
