/*
 * page.c - the built-in page, or the files of server.static_dir.
 *
 * The built-in files are part of the program. With server.static_dir set, the web
 * client's built files are served instead: a path that is no file answers
 * index.html (the client routes by itself); files below /assets carry a hash of
 * their content in their names and never change (contract 6, STATIC_DIR).
 */
#include "worker/handlers/page.h"
#include "common/arena.h"
#include "common/embedded.h"
#include "common/task.h"
#include "web_files.h"
#include "worker/decode.h"
#include "worker/handlers/handlers.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INDEX "index.html"

/* Nothing but our own files may run in our own page. */
#define POLICY                                                      \
    "default-src 'self'; img-src 'self' data:; object-src 'none'; " \
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

static const struct {
    const char *ending, *type;
} types[] = {
    { ".html", "text/html; charset=utf-8" },
    { ".js", "text/javascript; charset=utf-8" },
    { ".mjs", "text/javascript; charset=utf-8" },
    { ".css", "text/css; charset=utf-8" },
    { ".json", "application/json" },
    { ".map", "application/json" },
    { ".webmanifest", "application/manifest+json" },
    { ".svg", "image/svg+xml" },
    { ".png", "image/png" },
    { ".jpg", "image/jpeg" },
    { ".jpeg", "image/jpeg" },
    { ".gif", "image/gif" },
    { ".webp", "image/webp" },
    { ".ico", "image/x-icon" },
    { ".woff", "font/woff" },
    { ".woff2", "font/woff2" },
    { ".txt", "text/plain; charset=utf-8" },
    { ".xml", "application/xml" },
    { ".wasm", "application/wasm" },
};

static const char *type_of(const char *name)
{
    const char *ending = strrchr(name, '.');

    for (size_t i = 0; ending && i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(types[i].ending, ending) == 0)
            return types[i].type;
    return "application/octet-stream";
}

/* If-None-Match: a list of tags, or *; weak and strong ones match alike for GET. */
static bool has_already(struct request *req, const char *etag)
{
    const char *given = request_header(req, "If-None-Match");
    size_t length = strlen(etag);

    while (given && *given) {
        given += strspn(given, ", \t");
        if (*given == '*')
            return true;
        if (strncmp(given, "W/", 2) == 0)
            given += 2;
        if (strncmp(given, etag, length) == 0)
            return true;
        given += strcspn(given, ",");
    }
    return false;
}

/* ---- the built-in page ---- */

static enum http_status show_built_in(struct request *req, const char *name)
{
    const struct embedded_file *file = embedded_find(web_files, name[0] ? name : INDEX);

    if (!file)
        return reply_not_found(req);
    reply_header(req, "ETag", file->etag);
    reply_header(req, "Content-Security-Policy", POLICY);
    reply_cache_control(req, "no-cache");
    if (has_already(req, file->etag))
        return reply_empty(req, HTTP_NOT_MODIFIED);
    return reply_data(req, HTTP_OK, type_of(file->name), file->data, file->length);
}

/* ---- server.static_dir ---- */

/* No way up, nothing hidden: every part is a plain name. */
static bool is_plain_path(const char *name)
{
    const char *part = name;

    if (!*name || strchr(name, '\\'))
        return false;
    for (;;) {
        size_t length = strcspn(part, "/");

        if (length == 0 || part[0] == '.')
            return false;
        if (part[length] == '\0')
            return true;
        part += length + 1;
    }
}

/* A file to be opened, in a thread: a disk may be slow. */
struct opening {
    char *path;
    int fd; /* -1: no such file */
    struct stat stat;
};

static void open_in_thread(void *arg)
{
    struct opening *opening = arg;

    opening->fd = open(opening->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (opening->fd < 0)
        return;
    if (fstat(opening->fd, &opening->stat) < 0 || !S_ISREG(opening->stat.st_mode)) {
        close(opening->fd);
        opening->fd = -1;
    }
}

static void close_opened(void *arg)
{
    struct opening *opening = arg;

    if (opening->fd >= 0)
        close(opening->fd);
}

static struct opening *open_file(struct request *req, const char *name)
{
    struct opening *opening = arena_alloc(req->arena, sizeof(*opening));

    opening->fd = -1;
    opening->path =
        arena_printf(req->arena, "%s/%s", req->server->options->server.static_dir, name);
    arena_defer(req->arena, close_opened, opening);
    task_work("file", open_in_thread, opening, 0);
    return opening;
}

static const char *cache_rule(const char *name)
{
    if (strcmp(name, INDEX) == 0 || strcmp(name, "sw.js") == 0)
        return "no-cache, no-store, must-revalidate";
    if (strncmp(name, "assets/", 7) == 0)
        return "public, max-age=31536000, immutable";
    return "no-cache";
}

static enum http_status show_file(struct request *req, const char *name)
{
    struct opening *opening = is_plain_path(name) ? open_file(req, name) : NULL;

    if (!opening || opening->fd < 0) {
        name = INDEX;
        opening = open_file(req, name);
    }
    if (opening->fd < 0)
        return reply_not_found(req);

    const char *etag = arena_printf(
        req->arena, "\"%" PRIx64 "-%" PRIx64 "%08" PRIx64 "\"",
        (uint64_t)opening->stat.st_size, (uint64_t)opening->stat.st_mtim.tv_sec,
        (uint64_t)opening->stat.st_mtim.tv_nsec);
    reply_header(req, "ETag", etag);
    reply_cache_control(req, cache_rule(name));
    if (has_already(req, etag))
        return reply_empty(req, HTTP_NOT_MODIFIED);

    int fd = opening->fd;
    opening->fd = -1;
    return reply_file(req, HTTP_OK, type_of(name), fd, (size_t)opening->stat.st_size);
}

/* GET of any path outside the API */
enum http_status page_show(struct request *req)
{
    const char *name = decode_path(req->arena, req->path, strlen(req->path), NULL);

    name += strspn(name, "/");
    if (req->server->options->server.static_dir[0])
        return show_file(req, name[0] ? name : INDEX);
    return show_built_in(req, name);
}

/* ---- its place behind the route table ---- */

/* Built-in files are in memory; those of server.static_dir are opened in a thread. */
static const struct route built_in_page = { .method = METHOD_GET,
                                            .pattern = "/<path:file>",
                                            .limit = LIMIT_NONE,
                                            .handle = page_show,
                                            .is_inline = true };
static const struct route static_page = { .method = METHOD_GET,
                                          .pattern = "/<path:file>",
                                          .limit = LIMIT_NONE,
                                          .handle = page_show };

static const char *const api_roots[] = { "/api", "/health", "/metrics" };

const struct route *page_route(const struct request *req)
{
    if (req->method != METHOD_GET)
        return NULL;
    for (size_t i = 0; i < sizeof(api_roots) / sizeof(api_roots[0]); i++) {
        size_t length = strlen(api_roots[i]);

        if (strncmp(req->path, api_roots[i], length) == 0 &&
            (req->path[length] == '/' || req->path[length] == '\0'))
            return NULL;
    }
    return req->server->options->server.static_dir[0] ? &static_page : &built_in_page;
}
