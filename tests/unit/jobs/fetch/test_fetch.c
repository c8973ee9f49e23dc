/* Fetching from a real server that misbehaves in every way. */
#include "jobs/fetch/fetch.h"

#include "common/arena.h"
#include "common/clock.h"
#include "common/task.h"
#include "tests/unit/jobs/fetch/web_server.h"
#include "tests/unit/redis_server.h"
#include "tests/unit/testing.h"
#include <string.h>

static struct web_server web;

#define MAX_BYTES ((uint64_t)1 << 20)

static char agent[] = "Mozilla/5.0 (test)";

static struct options options = {
    .fetch = { .allow_private = true,
               .max_bytes = MAX_BYTES,
               .max_redirects = 5,
               .user_agent = agent },
};

/* A fetch, and a copy of what came of it that outlives the task. */
struct asked {
    const char *url; /* %d: the server's port */
    uint64_t timeout_ms;
    enum fetch_outcome outcome;
    int status;
    bool is_retryable, is_truncated;
    char content_type[64], final_url[256], detail[64], body[2048];
    size_t length;
    bool is_done;
};

static struct fetcher *fetcher;

static void copy(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%s", from);
}

static void ask(void *arg)
{
    struct asked *asked = arg;
    struct fetch_result result;
    char url[4096];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(url, sizeof(url), asked->url, web.port);
#pragma GCC diagnostic pop
    fetch_page(fetcher, url, asked->timeout_ms ? asked->timeout_ms : 5000, &result);
    asked->outcome = result.outcome;
    asked->status = result.status;
    asked->is_retryable = result.is_retryable;
    asked->is_truncated = result.is_truncated;
    asked->length = result.length;
    copy(asked->content_type, sizeof(asked->content_type), result.content_type);
    copy(asked->final_url, sizeof(asked->final_url), result.final_url);
    copy(asked->detail, sizeof(asked->detail), result.detail);
    copy(asked->body, sizeof(asked->body), result.body);
    asked->is_done = true;
}

static void run(struct asked *asked, size_t count, uint64_t task_timeout_ms)
{
    task_runtime_init();
    fetcher = fetcher_new(&options);
    for (size_t i = 0; i < count; i++)
        task_spawn(&(struct task_spec){ .name = "fetch",
                                        .run = ask,
                                        .arg = &asked[i],
                                        .timeout_ms = task_timeout_ms });
    while (task_count() > 0)
        uv_run(task_loop(), UV_RUN_ONCE);
    fetcher_free(fetcher);
    uv_run(task_loop(), UV_RUN_DEFAULT);
    task_runtime_done();
}

static struct asked fetch(const char *url)
{
    struct asked asked = { .url = url };

    run(&asked, 1, 0);
    assert_true(asked.is_done);
    return asked;
}

static void gets_a_page(void **state)
{
    (void)state;
    struct asked page = fetch("http://127.0.0.1:%d/ok?q=a b&é#part");
    assert_int_equal(page.outcome, FETCH_OK);
    assert_int_equal(page.status, 200);
    assert_string_equal(page.body, "<p>ok");
    assert_int_equal(page.length, 5);
    assert_string_equal(page.content_type, "text/html");
    assert_false(page.is_truncated);
}

static void looks_like_a_browser(void **state)
{
    (void)state;
    setenv("http_proxy", "http://127.0.0.1:1/", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1/", 1);
    struct asked page = fetch("http://127.0.0.1:%d/echo");
    unsetenv("http_proxy");
    unsetenv("ALL_PROXY");
    assert_int_equal(page.outcome, FETCH_OK);
    assert_non_null(strstr(page.body, "User-Agent: Mozilla/5.0 (test)\r\n"));
    assert_non_null(strstr(page.body, "Accept: text/html,"));
    assert_non_null(strstr(page.body, "Accept-Language: en-US,en;q=0.9\r\n"));
    assert_non_null(strstr(page.body, "gzip"));
    assert_null(strstr(page.body, "Cookie"));
}

static const struct {
    const char *path;
    enum fetch_outcome outcome;
    int status;
    bool is_retryable;
    const char *detail;
} answers[] = {
    { "/ok", FETCH_OK, 200, false, "HTTP 200" },
    { "/status/204", FETCH_OK, 204, false, "HTTP 204" },
    { "/status/404", FETCH_STATUS, 404, false, "HTTP 404" },
    { "/status/403", FETCH_STATUS, 403, false, "HTTP 403" },
    { "/status/429", FETCH_STATUS, 429, true, "HTTP 429" },
    { "/status/500", FETCH_STATUS, 500, true, "HTTP 500" },
    { "/status/503", FETCH_STATUS, 503, true, "HTTP 503" },
    { "/redirect/1", FETCH_OK, 200, false, "HTTP 200" },
    { "/redirect/5", FETCH_OK, 200, false, "HTTP 200" },
    { "/redirect/6", FETCH_FAILED, 0, false, "too many redirects" },
    { "/loop", FETCH_FAILED, 0, false, "too many redirects" },
    { "/to-localhost", FETCH_OK, 200, false, "HTTP 200" },
    { "/to-file", FETCH_REFUSED, 0, false, "scheme not allowed" },
    { "/to-ftp", FETCH_REFUSED, 0, false, "scheme not allowed" },
    { "/nothing", FETCH_FAILED, 0, true, "empty answer" },
    { "/cut", FETCH_FAILED, 0, true, "answer cut off" },
    { "/garbage", FETCH_FAILED, 0, true, "no HTTP answer" },
};

static void tells_answers_apart(void **state)
{
    char urls[sizeof(answers) / sizeof(answers[0])][64];
    struct asked asked[sizeof(answers) / sizeof(answers[0])] = { 0 };
    size_t count = sizeof(answers) / sizeof(answers[0]);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        snprintf(urls[i], sizeof(urls[i]), "http://127.0.0.1:%%d%s", answers[i].path);
        asked[i].url = urls[i];
    }
    run(asked, count, 0);
    for (size_t i = 0; i < count; i++) {
        if (asked[i].outcome != answers[i].outcome ||
            asked[i].status != answers[i].status ||
            asked[i].is_retryable != answers[i].is_retryable ||
            (answers[i].detail && strcmp(asked[i].detail, answers[i].detail) != 0))
            fail_msg("%s: outcome %d, status %d, retryable %d, %s", answers[i].path,
                     asked[i].outcome, asked[i].status, asked[i].is_retryable,
                     asked[i].detail);
    }
}

static void follows_to_the_final_url(void **state)
{
    char url[128];

    (void)state;
    struct asked page = fetch("http://127.0.0.1:%d/to-localhost");
    snprintf(url, sizeof(url), "http://localhost:%d/ok", web.port);
    assert_string_equal(page.final_url, url);
}

static void cuts_what_is_too_long(void **state)
{
    static const char *const paths[] = { "http://127.0.0.1:%d/endless",
                                         "http://127.0.0.1:%d/bomb" };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct asked page = fetch(paths[i]);
        assert_int_equal(page.outcome, FETCH_OK);
        assert_true(page.is_truncated);
        assert_int_equal(page.length, MAX_BYTES);
    }
}

static void unpacks_gzip(void **state)
{
    (void)state;
    struct asked page = fetch("http://127.0.0.1:%d/gzip");
    assert_int_equal(page.outcome, FETCH_OK);
    assert_int_equal(page.length, 65536);
    assert_false(page.is_truncated);
}

static void gives_up_in_time(void **state)
{
    struct asked asked[] = {
        { .url = "http://127.0.0.1:%d/slow", .timeout_ms = 300 },
        { .url = "http://127.0.0.1:%d/slow-body", .timeout_ms = 300 },
        { .url = "http://127.0.0.1:%d/ok", .timeout_ms = 5000 },
    };
    uint64_t start = clock_ms();

    (void)state;
    run(asked, 3, 0);
    assert_true(clock_ms() - start < 1200);
    assert_int_equal(asked[0].outcome, FETCH_TIMEOUT);
    assert_string_equal(asked[0].detail, "timeout");
    assert_true(asked[0].is_retryable);
    assert_int_equal(asked[1].outcome, FETCH_TIMEOUT);
    assert_int_equal(asked[2].outcome, FETCH_OK);
}

static void ends_with_its_task(void **state)
{
    struct asked asked[] = {
        { .url = "http://127.0.0.1:%d/slow", .timeout_ms = 10000 },
        { .url = "http://127.0.0.1:%d/endless", .timeout_ms = 10000 },
    };
    uint64_t start = clock_ms();

    (void)state;
    options.fetch.max_bytes = UINT64_MAX / 4;
    run(asked, 2, 100);
    options.fetch.max_bytes = MAX_BYTES;
    assert_true(clock_ms() - start < 1500);
    assert_false(asked[0].is_done);
    assert_false(asked[1].is_done);
}

/* Loopback in all its spellings, a name for it, and where nobody should go. */
static const char *const private_urls[] = {
    "http://127.0.0.1:%d/ok",  "http://localhost:%d/ok",
    "http://[::1]:%d/ok",      "http://[::ffff:127.0.0.1]:%d/ok",
    "http://0.0.0.0:%d/ok",    "http://127.1:%d/ok",
    "http://2130706433:%d/ok", "http://0x7f000001:%d/ok",
    "http://0177.0.0.1:%d/ok", "http://user:secret@127.0.0.1:%d/ok",
    "http://10.0.0.1:%d/",     "http://169.254.169.254/latest/meta-data/?%d",
    "https://127.0.0.1:%d/",
};

static void refuses_private_addresses(void **state)
{
    struct asked asked[sizeof(private_urls) / sizeof(private_urls[0])] = { 0 };
    size_t count = sizeof(private_urls) / sizeof(private_urls[0]);

    (void)state;
    for (size_t i = 0; i < count; i++)
        asked[i].url = private_urls[i];
    options.fetch.allow_private = false;
    run(asked, count, 0);
    options.fetch.allow_private = true;
    for (size_t i = 0; i < count; i++) {
        if (asked[i].outcome != FETCH_REFUSED || asked[i].is_retryable ||
            strcmp(asked[i].detail, "address not allowed") != 0)
            fail_msg("%s: %d, %s", private_urls[i], asked[i].outcome, asked[i].detail);
    }
}

static void refuses_other_schemes(void **state)
{
    static const char *const urls[] = { "file:///etc/passwd?%d",
                                        "ftp://127.0.0.1:%d/",
                                        "gopher://127.0.0.1:%d/",
                                        "javascript:alert(%d)",
                                        "dict://127.0.0.1:%d/",
                                        "not a url %d",
                                        "http://:%d/" };

    (void)state;
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct asked page = fetch(urls[i]);
        if (page.outcome != FETCH_REFUSED || page.is_retryable)
            fail_msg("%s: %d, %s", urls[i], page.outcome, page.detail);
    }
}

static void reports_dead_hosts(void **state)
{
    char url[64];

    (void)state;
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/?%%d", redis_server_free_port());
    struct asked page = fetch(url);
    assert_int_equal(page.outcome, FETCH_FAILED);
    assert_true(page.is_retryable);
    assert_string_equal(page.detail, "connection refused");
    page = fetch("http://no-such-host.invalid/?%d");
    assert_int_equal(page.outcome, FETCH_FAILED);
    assert_string_equal(page.detail, "host not found");
}

static pid_t start_tls_server(const char *folder, int port)
{
    char command[1024], accept[32], cert[128], key[128];

    snprintf(cert, sizeof(cert), "%s/cert", folder);
    snprintf(key, sizeof(key), "%s/key", folder);
    snprintf(accept, sizeof(accept), "127.0.0.1:%d", port);
    snprintf(command, sizeof(command),
             "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost "
             "-keyout %s -out %s 2>/dev/null",
             key, cert);
    assert_int_equal(system(command), 0);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execlp("openssl", "openssl", "s_server", "-quiet", "-www", "-accept", accept,
               "-cert", cert, "-key", key, NULL);
        _exit(127);
    }
    return pid;
}

static bool accepts(int port)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool is_up = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;

    close(fd);
    return is_up;
}

static void checks_certificates(void **state)
{
    char folder[] = "/tmp/fm-tls-XXXXXX", url[64], command[64];
    int port = redis_server_free_port();

    (void)state;
    assert_non_null(mkdtemp(folder));
    pid_t pid = start_tls_server(folder, port);
    for (int i = 0; i < 500 && !accepts(port); i++)
        usleep(10000);
    snprintf(url, sizeof(url), "https://localhost:%d/?%%d", port);
    struct asked page = fetch(url);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(page.outcome, FETCH_FAILED);
    assert_string_equal(page.detail, "TLS certificate not valid");
}

static int start(void **state)
{
    (void)state;
    web_server_start(&web);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    web_server_stop(&web);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gets_a_page),
        cmocka_unit_test(looks_like_a_browser),
        cmocka_unit_test(tells_answers_apart),
        cmocka_unit_test(follows_to_the_final_url),
        cmocka_unit_test(cuts_what_is_too_long),
        cmocka_unit_test(unpacks_gzip),
        cmocka_unit_test(gives_up_in_time),
        cmocka_unit_test(ends_with_its_task),
        cmocka_unit_test(refuses_private_addresses),
        cmocka_unit_test(refuses_other_schemes),
        cmocka_unit_test(reports_dead_hosts),
        cmocka_unit_test(checks_certificates),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
