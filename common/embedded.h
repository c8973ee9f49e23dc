/*
 * embedded.h - a file that was built into the binary (see sql/embed.c).
 */
#ifndef FORKMARK_COMMON_EMBEDDED_H
#define FORKMARK_COMMON_EMBEDDED_H

#include <stddef.h>

struct embedded_file {
    const char *name; /* file name without its folder */
    const char *data; /* followed by a NUL that does not count */
    size_t length;
    const char *etag; /* quoted, from the content */
};

/* By name in a table that ends with a NULL name; NULL when there is none. */
const struct embedded_file *embedded_find(const struct embedded_file *table,
                                          const char *name);

#endif
