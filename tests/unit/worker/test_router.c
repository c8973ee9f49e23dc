/*
 * test_router.c - method and path to one row, as a table.
 */
#include "../testing.h"
#include "common/arena.h"
#include "worker/router.h"
#include <string.h>

static enum http_status none(struct request *req)
{
    (void)req;
    return HTTP_OK;
}

#define ROW(m, p)                                     \
    {                                                 \
        .method = (m), .pattern = (p), .handle = none \
    }

const struct route route_table[] = {
    ROW(METHOD_GET, "/"),
    ROW(METHOD_GET, "/api/b"),
    ROW(METHOD_POST, "/api/b"),
    ROW(METHOD_DELETE, "/api/b/<int:id>"),
    ROW(METHOD_GET, "/api/b/<int:id>"),
    ROW(METHOD_DELETE, "/api/b/all"),
    ROW(METHOD_DELETE, "/api/b/url/<path:url>"),
    ROW(METHOD_GET, "/api/b/<name>"),
    ROW(METHOD_GET, "/api/p/<int:p>/t/<int:t>"),
    ROW(METHOD_GET, "/api/bb"),
    { .pattern = NULL },
};

static const struct {
    enum http_method method;
    const char *path;
    enum http_status status;
    const char *pattern; /* or the Allow header of a 405 */
    const char *param;
    int64_t number;
} rows[] = {
    { METHOD_GET, "/", 200, "/", NULL, 0 },
    { METHOD_GET, "/api/b", 200, "/api/b", NULL, 0 },
    { METHOD_GET, "/api/b/", 200, "/api/b", NULL, 0 },
    { METHOD_GET, "/api/b//", 404, NULL, NULL, 0 },
    { METHOD_POST, "/api/b", 200, "/api/b", NULL, 0 },
    { METHOD_GET, "/api/bb", 200, "/api/bb", NULL, 0 },
    { METHOD_GET, "/api/bbb", 404, NULL, NULL, 0 },
    { METHOD_GET, "/api", 404, NULL, NULL, 0 },
    { METHOD_GET, "/API/b", 404, NULL, NULL, 0 },
    { METHOD_GET, "", 404, NULL, NULL, 0 },
    { METHOD_PUT, "/api/b", 405, "GET, HEAD, POST, OPTIONS", NULL, 0 },
    { METHOD_DELETE, "/api/b/12", 200, "/api/b/<int:id>", "12", 12 },
    { METHOD_DELETE, "/api/b/12/", 200, "/api/b/<int:id>", "12", 12 },
    { METHOD_DELETE, "/api/b/2147483647", 200, "/api/b/<int:id>", "2147483647",
      INT32_MAX },
    { METHOD_DELETE, "/api/b/all", 200, "/api/b/all", NULL, 0 },
    { METHOD_POST, "/api/b/12", 405, "GET, HEAD, DELETE, OPTIONS", NULL, 0 },
    /* More literal wins: no number, so the name. */
    { METHOD_GET, "/api/b/12", 200, "/api/b/<int:id>", "12", 12 },
    { METHOD_GET, "/api/b/x%20y", 200, "/api/b/<name>", "x y", 0 },
    { METHOD_GET, "/api/b/99999999999999999999", 200, "/api/b/<name>",
      "99999999999999999999", 0 },
    { METHOD_GET, "/api/b/-1", 200, "/api/b/<name>", "-1", 0 },
    { METHOD_GET, "/api/b/a/b", 404, NULL, NULL, 0 },
    { METHOD_DELETE, "/api/b/url/http%3A%2F%2Fx%2F%3Fa%3D%2525", 200,
      "/api/b/url/<path:url>", "http://x/?a=%25", 0 },
    { METHOD_DELETE, "/api/b/url/http://x/a/", 200, "/api/b/url/<path:url>",
      "http://x/a/", 0 },
    { METHOD_DELETE, "/api/b/url/", 405, "GET, HEAD, OPTIONS", NULL, 0 },
    { METHOD_GET, "/api/p/3/t/4", 200, "/api/p/<int:p>/t/<int:t>", "3", 3 },
    { METHOD_GET, "/api/p/3/t/x", 404, NULL, NULL, 0 },
    { METHOD_GET, "/api/p/3/t", 404, NULL, NULL, 0 },
    { METHOD_GET, "/api/p//t/4", 404, NULL, NULL, 0 },
};

static void routes(void **state)
{
    (void)state;
    router_init();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct arena *arena = arena_new(0);
        struct request req = { .arena = arena,
                               .method = rows[i].method,
                               .path = rows[i].path };
        const char *allow = NULL;
        enum http_status status = router_find(&req, &allow);

        if (status != rows[i].status)
            fail_msg("%s: %d", rows[i].path, (int)status);
        if (status == HTTP_OK)
            assert_string_equal(req.route->pattern, rows[i].pattern);
        if (status == HTTP_METHOD_NOT_ALLOWED)
            assert_string_equal(allow, rows[i].pattern);
        if (rows[i].param)
            assert_string_equal(req.params[0], rows[i].param);
        assert_int_equal(req.int_params[0], rows[i].number);
        arena_free(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(routes) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
