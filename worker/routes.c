/*
 * routes.c - every route of the server, one row each (contract 2).
 */
#include "worker/routes.h"
#include "worker/handlers/handlers.h"
#include <string.h>

/* In the contract's order. */
const struct route route_table[] = {
    /* 2.1 Auth */
    { .method = METHOD_POST,
      .pattern = "/api/auth/register",
      .limit = LIMIT_REGISTER,
      .handle = auth_register },
    { .method = METHOD_POST,
      .pattern = "/api/auth/login",
      .limit = LIMIT_LOGIN,
      .handle = auth_login },
    { .method = METHOD_POST,
      .pattern = "/api/auth/refresh",
      .access = ACCESS_REFRESH,
      .handle = auth_refresh },
    { .method = METHOD_POST,
      .pattern = "/api/auth/logout",
      .access = ACCESS_USER,
      .optional_auth = true,
      .handle = auth_logout },
    { .method = METHOD_GET,
      .pattern = "/api/auth/verify",
      .access = ACCESS_USER,
      .limit = LIMIT_NONE,
      .handle = auth_verify },
    { .method = METHOD_POST,
      .pattern = "/api/auth/check-username",
      .limit = LIMIT_CHECK_USERNAME,
      .handle = auth_check_username },
    { .method = METHOD_POST,
      .pattern = "/api/auth/update-username",
      .access = ACCESS_USER,
      .handle = auth_update_username },
    { .method = METHOD_POST,
      .pattern = "/api/auth/set-password",
      .access = ACCESS_USER,
      .handle = auth_set_password },

    /* 2.2 Bookmarks */
    { .method = METHOD_GET,
      .pattern = "/api/bookmarks",
      .access = ACCESS_USER,
      .handle = bookmark_list },
    { .method = METHOD_POST,
      .pattern = "/api/bookmarks",
      .access = ACCESS_USER,
      .handle = bookmark_create },
    { .method = METHOD_POST,
      .pattern = "/api/bookmarks/quick-save",
      .access = ACCESS_USER,
      .handle = bookmark_quick_save },
    { .method = METHOD_POST,
      .pattern = "/api/bookmarks/check-duplicate",
      .access = ACCESS_USER,
      .handle = bookmark_check_duplicate },
    { .method = METHOD_POST,
      .pattern = "/api/bookmarks/extract-url",
      .access = ACCESS_USER,
      .limit = LIMIT_EXTRACT,
      .handle = bookmark_extract_url },
    { .method = METHOD_DELETE,
      .pattern = "/api/bookmarks/<int:id>",
      .access = ACCESS_USER,
      .handle = bookmark_delete },
    { .method = METHOD_DELETE,
      .pattern = "/api/bookmarks/url/<path:url>",
      .access = ACCESS_USER,
      .handle = bookmark_delete_by_url },
    { .method = METHOD_DELETE,
      .pattern = "/api/bookmarks/all",
      .access = ACCESS_USER,
      .handle = bookmark_delete_all },
    { .method = METHOD_GET,
      .pattern = "/api/bookmarks/dashboard/stats",
      .access = ACCESS_USER,
      .handle = bookmark_stats },

    /* 2.4 Search */
    { .method = METHOD_GET,
      .pattern = "/api/search/text",
      .access = ACCESS_USER,
      .handle = search_text },

    /* 2.11 Events */
    { .method = METHOD_GET,
      .pattern = "/api/realtime/stream",
      .access = ACCESS_STREAM,
      .handle = events_stream },

    /* 2.13 Health and metrics */
    { .method = METHOD_GET,
      .pattern = "/api/health",
      .limit = LIMIT_NONE,
      .handle = health_overview },
    { .method = METHOD_GET,
      .pattern = "/health/liveness",
      .limit = LIMIT_NONE,
      .is_inline = true,
      .handle = health_liveness },
    { .method = METHOD_GET,
      .pattern = "/api/health/liveness",
      .limit = LIMIT_NONE,
      .is_inline = true,
      .handle = health_liveness },
    { .method = METHOD_GET,
      .pattern = "/health/readiness",
      .limit = LIMIT_NONE,
      .handle = health_readiness },
    { .method = METHOD_GET,
      .pattern = "/api/health/readiness",
      .limit = LIMIT_NONE,
      .handle = health_readiness },
    { .method = METHOD_GET,
      .pattern = "/health/queue",
      .limit = LIMIT_NONE,
      .handle = health_queue },
    { .method = METHOD_GET,
      .pattern = "/api/health/queue",
      .limit = LIMIT_NONE,
      .handle = health_queue },
    { .method = METHOD_GET,
      .pattern = "/api/health/redis",
      .limit = LIMIT_NONE,
      .handle = health_redis },
    { .method = METHOD_GET,
      .pattern = "/api/health/database",
      .limit = LIMIT_NONE,
      .handle = health_database },
    { .method = METHOD_GET,
      .pattern = "/metrics",
      .limit = LIMIT_NONE,
      .handle = metrics_show },

    { .pattern = NULL },
};

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

const struct route *routes_page(const struct request *req)
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
