/*
 * test_redis_login.c - getting in: TLS with good, foreign and misnamed certificates;
 * passwords, users and databases; what the log says when it does not work.
 */
#include "common/log.h"
#include "common/redis.h"
#include "common/task.h"
#include "tests/unit/redis_server.h"
#include "tests/unit/testing.h"
#include <fcntl.h>

static char folder[64];
static struct redis_server plain, trusted, foreign;
static int trusted_port, foreign_port;

static char log_text[8192];

/* ---- certificates ---- */

static void shell(const char *format, const char *name)
{
    char command[1024];

    snprintf(command, sizeof(command), format, folder, name);
    if (system(command) != 0) {
        fprintf(stderr, "failed: %s\n", command);
        abort();
    }
}

/* An authority and a certificate it signed for the name `localhost` alone. */
static void make_certificates(const char *name)
{
    shell("cd %s && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "
          "/CN=authority -keyout %s-ca.key -out ca.tmp 2>/dev/null",
          name);
    shell("cd %s && mv ca.tmp %s-ca.crt", name);
    shell("cd %s && echo subjectAltName=DNS:localhost > ext; openssl req -newkey "
          "rsa:2048 -nodes -subj /CN=localhost -keyout %s.key -out csr 2>/dev/null",
          name);
    shell("cd %1$s && openssl x509 -req -in csr -CA %2$s-ca.crt -CAkey %2$s-ca.key "
          "-CAcreateserial -days 2 -extfile ext -out %2$s.crt 2>/dev/null",
          name);
}

static int start_tls_server(struct redis_server *server, const char *name)
{
    char port[16], files[3][128];
    int number = redis_server_free_port();

    snprintf(port, sizeof(port), "%d", number);
    snprintf(files[0], sizeof(files[0]), "%s/%s.crt", folder, name);
    snprintf(files[1], sizeof(files[1]), "%s/%s.key", folder, name);
    snprintf(files[2], sizeof(files[2]), "%s/%s-ca.crt", folder, name);
    const char *args[] = { "--tls-port",
                           port,
                           "--tls-cert-file",
                           files[0],
                           "--tls-key-file",
                           files[1],
                           "--tls-ca-cert-file",
                           files[2],
                           "--tls-auth-clients",
                           "no",
                           "--bind",
                           "127.0.0.1",
                           NULL };
    redis_server_start(server, args);
    return number;
}

/* ---- one attempt ---- */

struct attempt {
    struct redis_options options;
    struct redis *redis;
    int rc;
    char answer[64];
    bool is_large; /* moves some megabytes both ways */
};

static void move_much(struct attempt *attempt)
{
    size_t size = (size_t)3 * 1024 * 1024;
    char *data = malloc(size);
    redisReply *reply;

    memset(data, 'd', size);
    const char *argv[] = { "SET", "much", data };
    const size_t lengths[] = { 3, 4, size };
    assert_int_equal(redis_call_argv(attempt->redis, NULL, 3, argv, lengths), 0);
    argv[0] = "GET";
    assert_int_equal(redis_call_argv(attempt->redis, &reply, 2, argv, lengths), 0);
    assert_int_equal(reply->len, size);
    assert_memory_equal(reply->str, data, size);
    free(data);
}

static void run_attempt(void *arg)
{
    struct attempt *attempt = arg;
    redisReply *reply;

    attempt->rc = redis_call(attempt->redis, &reply, "ECHO inside");
    if (attempt->rc == 0)
        snprintf(attempt->answer, sizeof(attempt->answer), "%s", reply->str);
    if (attempt->rc == 0 && attempt->is_large)
        move_much(attempt);
    if (attempt->rc == 0) {
        assert_int_equal(redis_call(attempt->redis, &reply, "CLIENT INFO"), 0);
        assert_non_null(strstr(reply->str, "name=guest"));
    }
}

static void attempt_ended(void *arg, enum task_outcome outcome)
{
    struct attempt *attempt = arg;

    assert_int_equal(outcome, TASK_DONE);
    redis_free(attempt->redis);
}

/* Runs it and keeps what was logged meanwhile in log_text. */
static int try_to_enter(struct attempt *attempt)
{
    char path[96];

    snprintf(path, sizeof(path), "%s/log", folder);
    unlink(path);
    assert_int_equal(log_open(path, LOGF_TEXT, LOGL_WARN), 0);
    task_runtime_init();
    attempt->options.connect_timeout_ms = 3000;
    attempt->options.timeout_ms = 5000;
    attempt->options.breaker_ms = 100;
    attempt->options.client_name = "guest";
    attempt->redis = redis_new(&attempt->options);
    assert_non_null(attempt->redis);
    task_spawn(&(struct task_spec){
        .name = "attempt", .run = run_attempt, .arg = attempt, .on_end = attempt_ended });
    task_run_loop();
    task_runtime_done();
    log_open(NULL, LOGF_TEXT, LOGL_ERROR);

    int fd = open(path, O_RDONLY);
    ssize_t length = read(fd, log_text, sizeof(log_text) - 1);
    log_text[length > 0 ? length : 0] = '\0';
    close(fd);
    return attempt->rc;
}

static void must_enter(struct attempt *attempt)
{
    int rc = try_to_enter(attempt);

    if (rc != 0)
        fail_msg("%s: %d, %s", attempt->options.url, rc, log_text);
    assert_string_equal(attempt->answer, "inside");
    assert_string_equal(log_text, "");
}

static void must_be_refused(struct attempt *attempt, const char *reason)
{
    int rc = try_to_enter(attempt);

    if (rc != -EAGAIN || !strstr(log_text, reason))
        fail_msg("%s: %d, no `%s` in: %s", attempt->options.url, rc, reason, log_text);
}

/* ---- TLS ---- */

static char *tls_url(char url[64], const char *host, int port)
{
    snprintf(url, 64, "rediss://%s:%d/1", host, port);
    return url;
}

static void a_trusted_certificate_is_accepted(void **state)
{
    char url[64];
    struct attempt attempt = { .options.url = tls_url(url, "localhost", trusted_port),
                               .is_large = true };

    (void)state;
    must_enter(&attempt);
}

static void a_foreign_certificate_is_refused(void **state)
{
    char url[64];
    struct attempt attempt = { .options.url = tls_url(url, "localhost", foreign_port) };

    (void)state;
    must_be_refused(&attempt, "its certificate is refused: ");
    attempt.options.allow_unverified_tls = true;
    must_enter(&attempt);
}

static void a_certificate_for_another_name_is_refused(void **state)
{
    char url[64];
    struct attempt attempt = { .options.url = tls_url(url, "127.0.0.1", trusted_port) };

    (void)state;
    must_be_refused(&attempt, "it is for localhost, not for `127.0.0.1`");
    attempt.options.allow_unverified_tls = true;
    must_enter(&attempt);
}

static void plain_and_tls_do_not_mix(void **state)
{
    char url[64];
    struct attempt attempt = { .options.url = url };

    (void)state;
    snprintf(url, sizeof(url), "redis://localhost:%d", trusted_port);
    assert_int_equal(try_to_enter(&attempt), -EAGAIN);
    assert_non_null(strstr(log_text, "not connected"));
}

/* ---- names and ports ---- */

static void what_is_not_there_is_named(void **state)
{
    char url[128];
    struct attempt attempt = { .options.url = url };

    (void)state;
    snprintf(url, sizeof(url), "redis://127.0.0.1:%d", redis_server_free_port());
    must_be_refused(&attempt, "cannot connect: Connection refused");
    snprintf(url, sizeof(url), "redis://no-such-host.invalid");
    must_be_refused(&attempt, "cannot resolve `no-such-host.invalid`");
    snprintf(url, sizeof(url), "unix://%s/nothing", folder);
    must_be_refused(&attempt, "cannot connect: No such file or directory");
}

/* ---- passwords ---- */

static void configure(const char *command)
{
    char line[256], socket[128];

    snprintf(socket, sizeof(socket), "%s", plain.socket);
    snprintf(line, sizeof(line), "redis-cli -s %s %s >/dev/null 2>&1", socket, command);
    assert_int_equal(system(line), 0);
}

static void passwords_are_checked(void **state)
{
    char url[192];
    struct attempt attempt = { .options.url = plain.url };

    (void)state;
    must_enter(&attempt);
    configure("CONFIG SET requirepass 'open sesame'");
    must_be_refused(&attempt, "asks for a password and none is configured");
    attempt.options.password = "wrong";
    must_be_refused(&attempt, "AUTH refused: WRONGPASS");
    assert_null(strstr(log_text, "wrong "));
    attempt.options.password = "open sesame";
    must_enter(&attempt);

    configure("-a 'open sesame' ACL SETUSER guest on '>pw' +echo +ping +select "
              "'+client|info' '+client|setname'");
    snprintf(url, sizeof(url), "unix://guest:pw@%s", plain.socket);
    attempt.options = (struct redis_options){ .url = url };
    must_enter(&attempt);
    snprintf(url, sizeof(url), "unix://guest:no@%s", plain.socket);
    must_be_refused(&attempt, "AUTH refused: WRONGPASS");
    snprintf(url, sizeof(url), "unix://:open%%20sesame@%s?db=99", plain.socket);
    must_be_refused(&attempt, "SELECT refused: ERR DB index is out of range");
}

/* ---- set-up ---- */

static int start(void **state)
{
    char authority[96];

    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/fm-login-XXXXXX");
    assert_non_null(mkdtemp(folder));
    make_certificates("trusted");
    make_certificates("foreign");
    /* OpenSSL reads the system's authorities from here instead. */
    snprintf(authority, sizeof(authority), "%s/trusted-ca.crt", folder);
    setenv("SSL_CERT_FILE", authority, 1);
    redis_server_start(&plain, NULL);
    trusted_port = start_tls_server(&trusted, "trusted");
    foreign_port = start_tls_server(&foreign, "foreign");
    return 0;
}

static int stop(void **state)
{
    (void)state;
    redis_server_remove(&plain);
    redis_server_remove(&trusted);
    redis_server_remove(&foreign);
    shell("rm -rf '%s' # %s", "");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trusted_certificate_is_accepted),
        cmocka_unit_test(a_foreign_certificate_is_refused),
        cmocka_unit_test(a_certificate_for_another_name_is_refused),
        cmocka_unit_test(plain_and_tls_do_not_mix),
        cmocka_unit_test(what_is_not_there_is_named),
        cmocka_unit_test(passwords_are_checked),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
