/*
 * router.c - see router.h.
 *
 * Patterns without parameters are sorted and found by bisection; the few with
 * parameters are tried in order, those with the longest literal beginning first,
 * and <path:...> after everything else of the same beginning.
 */
#include "worker/router.h"
#include "common/arena.h"
#include "common/log.h"
#include "worker/decode.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ROUTES 512

/* Rows of one pattern, one per method, stand next to each other. */
static struct {
    const struct route *literal[MAX_ROUTES], *with_params[MAX_ROUTES];
    size_t literal_count, param_count;
} router;

static size_t literal_length(const char *pattern)
{
    return strcspn(pattern, "<");
}

static int by_pattern(const void *a, const void *b)
{
    const struct route *const *left = a, *const *right = b;

    return strcmp((*left)->pattern, (*right)->pattern);
}

static int by_literalness(const void *a, const void *b)
{
    const struct route *const *left = a, *const *right = b;
    size_t left_length = literal_length((*left)->pattern);
    size_t right_length = literal_length((*right)->pattern);
    bool left_rest = strstr((*left)->pattern, "<path:") != NULL;
    bool right_rest = strstr((*right)->pattern, "<path:") != NULL;

    if (left_length != right_length)
        return left_length > right_length ? -1 : 1;
    if (left_rest != right_rest)
        return left_rest ? 1 : -1;
    return by_pattern(a, b);
}

void router_init(void)
{
    router.literal_count = 0;
    router.param_count = 0;
    for (const struct route *route = route_table; route->pattern; route++) {
        if (router.literal_count + router.param_count == MAX_ROUTES)
            fatal("more than %d routes", MAX_ROUTES);
        if (strchr(route->pattern, '<'))
            router.with_params[router.param_count++] = route;
        else
            router.literal[router.literal_count++] = route;
    }
    qsort(router.literal, router.literal_count, sizeof(router.literal[0]), by_pattern);
    qsort(router.with_params, router.param_count, sizeof(router.with_params[0]),
          by_literalness);
}

/* ---- matching ---- */

/* <int:x>: [0-9]+ that fit 32 bits signed. */
static bool read_int(const char *text, size_t length, int64_t *ret)
{
    int64_t value = 0;

    if (length == 0)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (text[i] - '0');
        if (value > INT32_MAX)
            return false;
    }
    *ret = value;
    return true;
}

struct match {
    const char *start[REQUEST_PARAMS];
    size_t length[REQUEST_PARAMS];
    int64_t number[REQUEST_PARAMS];
    size_t count;
};

static bool match_param(const char *pattern, const char *path, size_t length,
                        struct match *match)
{
    size_t i = match->count;

    if (i == REQUEST_PARAMS || length == 0)
        return false;
    if (strncmp(pattern, "<int:", 5) == 0 && !read_int(path, length, &match->number[i]))
        return false;
    match->start[i] = path;
    match->length[i] = length;
    match->count++;
    return true;
}

static bool match_pattern(const char *pattern, const char *path, size_t length,
                          struct match *match)
{
    const char *end = path + length;

    match->count = 0;
    while (*pattern) {
        if (*pattern != '<') {
            if (path == end || *path != *pattern)
                return false;
            path++;
            pattern++;
            continue;
        }
        const char *stop = end;
        if (strncmp(pattern, "<path:", 6) != 0) {
            stop = memchr(path, '/', (size_t)(end - path));
            if (!stop)
                stop = end;
        }
        if (!match_param(pattern, path, (size_t)(stop - path), match))
            return false;
        path = stop;
        pattern += strcspn(pattern, ">") + 1;
    }
    return path == end;
}

/* ---- the method ---- */

static const struct {
    enum http_method method;
    const char *name;
} method_names[] = {
    { METHOD_GET, "GET, HEAD" }, { METHOD_POST, "POST" },
    { METHOD_PUT, "PUT" },       { METHOD_PATCH, "PATCH" },
    { METHOD_DELETE, "DELETE" }, { METHOD_OPTIONS, "OPTIONS" },
};

static const char *list_methods(struct request *req, unsigned methods)
{
    struct buf out = BUF_IN(req->arena);

    methods |= METHOD_OPTIONS;
    for (size_t i = 0; i < sizeof(method_names) / sizeof(method_names[0]); i++)
        if (methods & method_names[i].method) {
            if (out.length > 0)
                buf_adds(&out, ", ");
            buf_adds(&out, method_names[i].name);
        }
    return out.data;
}

/* Rows [first, end) have the pattern: the one of this method, and all methods there are.
 */
static const struct route *pick(const struct route *const *rows, size_t first, size_t end,
                                enum http_method method, unsigned *ret_methods)
{
    const struct route *found = NULL;

    for (size_t i = first; i < end; i++) {
        *ret_methods |= rows[i]->method;
        if (rows[i]->method == method)
            found = rows[i];
    }
    return found;
}

static const struct route *find_literal(const char *path, size_t length,
                                        enum http_method method, unsigned *ret_methods)
{
    size_t low = 0, high = router.literal_count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        const char *pattern = router.literal[middle]->pattern;
        int order = strncmp(pattern, path, length);

        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    /* Patterns that only begin with the path sort after the path itself. */
    size_t end = low;
    while (end < router.literal_count &&
           strncmp(router.literal[end]->pattern, path, length) == 0 &&
           router.literal[end]->pattern[length] == '\0')
        end++;
    return pick(router.literal, low, end, method, ret_methods);
}

static void fill_params(struct request *req, const struct match *match)
{
    for (size_t i = 0; i < match->count; i++) {
        req->params[i] = decode_path(req->arena, match->start[i], match->length[i], NULL);
        req->int_params[i] = match->number[i];
    }
}

static const struct route *find_with_params(struct request *req, size_t length,
                                            unsigned *ret_methods)
{
    for (size_t i = 0; i < router.param_count; i++) {
        const struct route *route = router.with_params[i];
        struct match match = { .count = 0 };
        /* The last slash of an undivided rest belongs to it. */
        bool is_rest = strstr(route->pattern, "<path:") != NULL;

        if (!match_pattern(route->pattern, req->path,
                           is_rest ? strlen(req->path) : length, &match))
            continue;
        *ret_methods |= route->method;
        if (route->method == req->method) {
            fill_params(req, &match);
            return route;
        }
    }
    return NULL;
}

enum http_status router_find(struct request *req, const char **ret_allow)
{
    size_t length = strlen(req->path);
    unsigned methods = 0;

    if (length > 1 && req->path[length - 1] == '/')
        length--;
    req->route = find_literal(req->path, length, req->method, &methods);
    if (!req->route)
        req->route = find_with_params(req, length, &methods);
    if (req->route)
        return HTTP_OK;
    if (methods == 0)
        return HTTP_NOT_FOUND;
    *ret_allow = list_methods(req, methods);
    return HTTP_METHOD_NOT_ALLOWED;
}
