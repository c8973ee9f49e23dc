/*
 * test_exec.c - what a command's job is given, what it answers, and what is told of one
 * that fails; and the configured functions as rows of the table.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "common/options.h"
#include "common/task.h"
#include "jobs/functions/exec.h"
#include "jobs/rq/queue.h"
#include "tests/unit/testing.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 20000 /* of a loaded machine */

static struct arena *arena;
static struct job_run job;
static enum job_outcome result;
static enum task_outcome outcome;

static struct options *load(const char *const *sets, struct buf *errors)
{
    return options_load(&(struct conf_input){ .sets = sets }, errors);
}

/* ---- one job of one command ---- */

static void run_job(void *arg)
{
    (void)arg;
    result = job.function->run(&job);
}

static void settle_job(void *arg)
{
    (void)arg;
    job.settle(&job);
}

static void task_ended(void *arg, enum task_outcome how)
{
    (void)arg;
    outcome = how;
    task_stop_loop();
}

static void spawn(void (*run)(void *), struct arena *in, uint64_t timeout_ms)
{
    task_spawn(&(struct task_spec){ .name = "trial",
                                    .run = run,
                                    .arena = in,
                                    .timeout_ms = timeout_ms,
                                    .on_end = task_ended });
    task_run_loop();
}

/* The rest of the fields as "field=value" texts, ended by NULL. */
struct trial {
    const char *script;  /* for sh -c */
    const char *program; /* instead of one */
    const char *fields[4];
    const char *args, *kwargs, *meta;
    uint64_t task_ms;
};

static const struct value *parse(const char *json)
{
    const char *error = NULL;

    return json ? value_from_json(arena, json, strlen(json), &error) : NULL;
}

static struct options *options_of(const struct trial *trial)
{
    const char *sets[8] = { "jobs.functions.f.name=team.f" };
    struct buf command = BUF_HEAP, errors = BUF_HEAP;
    size_t count = 1;
    char *fields[4];

    if (trial->program)
        buf_addf(&command, "jobs.functions.f.command=%s", trial->program);
    else
        buf_addf(&command, "jobs.functions.f.command=/bin/sh\x1f-c\x1f%s\x1f",
                 trial->script);
    sets[count++] = buf_text(&command);
    for (size_t i = 0; i < 4 && trial->fields[i]; i++) {
        fields[i] = arena_printf(arena, "jobs.functions.f.%s", trial->fields[i]);
        sets[count++] = fields[i];
    }
    struct options *options = load(sets, &errors);
    assert_string_equal(buf_text(&errors), "");
    buf_done(&command);
    buf_done(&errors);
    return options;
}

static struct options *options;

static void start(struct trial trial)
{
    arena_free(arena);
    options_free(options);
    arena = arena_new(0);
    options = options_of(&trial);
    job = (struct job_run){ .arena = arena,
                            .id = "job-1",
                            .function = job_function_find(options, "team.f"),
                            .meta = parse(trial.meta),
                            .call = { .name = "team.f",
                                      .args = parse(trial.args ? trial.args : "[]"),
                                      .kwargs =
                                          parse(trial.kwargs ? trial.kwargs : "{}") } };
    assert_non_null(job.function);
    spawn(run_job, arena, trial.task_ms ? trial.task_ms : PATIENCE_MS);
}

static void succeeds(struct trial trial, const char *json)
{
    struct buf text = BUF_HEAP;

    start(trial);
    assert_int_equal(outcome, TASK_DONE);
    if (result != JOB_SUCCESS)
        fail_msg("%s", job.error);
    assert_null(job.settle);
    if (job.result)
        value_to_json(job.result, &text);
    assert_string_equal(buf_text(&text), json);
    buf_done(&text);
}

static void fails(struct trial trial, const char *error)
{
    start(trial);
    assert_int_equal(outcome, TASK_DONE);
    assert_int_equal(result, JOB_FAILED);
    assert_null(job.settle);
    assert_string_equal(job.error, error);
}

static int setup(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    task_runtime_init();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(arena);
    options_free(options);
    arena = NULL;
    options = NULL;
    task_runtime_done();
    /* Whatever the command did, no child of ours is left, dead or alive. */
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    return 0;
}

/* ---- commands that do their work ---- */

static void it_is_given_the_job_as_json(void **state)
{
    (void)state;
    succeeds((struct trial){ .program = "/bin/cat",
                             .args = "[1, \"caf\xc3\xa9\", null]",
                             .kwargs = "{\"width\": 2.5}",
                             .meta = "{\"request_id\": \"r\"}" },
             "{\"id\":\"job-1\",\"args\":[1,\"caf\xc3\xa9\",null],"
             "\"kwargs\":{\"width\":2.5},\"meta\":{\"request_id\":\"r\"}}");
    succeeds((struct trial){ .program = "/bin/cat" },
             "{\"id\":\"job-1\",\"args\":[],\"kwargs\":{},\"meta\":{}}");
}

static void its_output_is_the_result(void **state)
{
    (void)state;
    succeeds((struct trial){ .script = "echo '[1, {\"a\": true}]'" }, "[1,{\"a\":true}]");
    succeeds((struct trial){ .script = "exit 0" }, "");
    succeeds((struct trial){ .script = "printf ' \\n\\t'" }, "");
    succeeds((struct trial){ .script = "echo noise >&2; echo 7" }, "7");
    succeeds((struct trial){ .script = "exec <&-; sleep 0.1; echo 8",
                             .args = "[\"nobody reads this\"]" },
             "8");
}

/* Names of the server's passwords are nothing to a command, unless it is told. */
static void it_has_an_environment_of_its_own(void **state)
{
    (void)state;
    setenv("DATABASE_URL", "postgresql://secret", 1);
    setenv("SHARED", "shared", 1);
    succeeds((struct trial){ .script = "printf '\"%s|%s|%s|%s|%s\"' \"$DATABASE_URL\" "
                                       "\"$SHARED\" \"$TOKEN\" \"$FORKMARK_JOB_ID\" "
                                       "\"$FORKMARK_JOB_FUNCTION\"",
                             .fields = { "environment=SHARED\x1fTOKEN=a=b\x1f" } },
             "\"|shared|a=b|job-1|team.f\"");
    succeeds((struct trial){ .script = "printf '\"%s\"' \"$(pwd)\"",
                             .fields = { "cwd=/usr" } },
             "\"/usr\"");
    unsetenv("DATABASE_URL");
    unsetenv("SHARED");
}

/* ---- and those that do not ---- */

#define OF_SH "Command of team.f: /bin/sh\n"

static void failures_are_told(void **state)
{
    static const struct {
        struct trial trial;
        const char *error;
    } rows[] = {
        { { .script = "echo first >&2; echo second >&2; exit 3" },
          OF_SH "Its standard error:\nfirst\nsecond\n"
                "CommandError: exit status 3: second" },
        { { .script = "exit 4" }, OF_SH "CommandError: exit status 4" },
        { { .script = "kill -USR1 $$" },
          OF_SH "CommandError: killed by signal 10 (User defined signal 1)" },
        { { .script = "echo plain words" },
          OF_SH "CommandError: its standard output is no JSON (no JSON value); it "
                "begins: plain words" },
        { { .script = "printf '\\377\\000bad' >&2; exit 1" },
          OF_SH "Its standard error:\n\xef\xbf\xbd"
                "bad\nCommandError: exit status 1: \xef\xbf\xbd"
                "bad" },
        { { .program = "/no/such/program" },
          "Command of team.f: /no/such/program\nCommandError: cannot run "
          "/no/such/program: No such file or directory" },
        { { .program = "/etc/passwd" },
          "Command of team.f: /etc/passwd\nCommandError: cannot run /etc/passwd: "
          "Permission denied" },
        { { .script = "exit 0", .fields = { "cwd=/no/such/folder" } },
          OF_SH
          "CommandError: cannot run in /no/such/folder: No such file or directory" },
        { { .script = "exec yes", .fields = { "output_limit=64K" } },
          OF_SH "Had to stop: it ended at SIGTERM.\nCommandError: wrote more than 65536 "
                "bytes to its standard output (output_limit)" },
        { { .script = "exec sleep 1000", .fields = { "timeout=500ms" } },
          OF_SH "Had to stop: it ended at SIGTERM.\n"
                "rq.timeouts.JobTimeoutException: Task exceeded maximum timeout value "
                "(0.5 seconds)" },
        { { .script = "trap '' TERM; exec sleep 1000",
            .fields = { "timeout=500ms", "kill_after=300ms" } },
          OF_SH "Had to stop: it ignored SIGTERM and was killed.\n"
                "rq.timeouts.JobTimeoutException: Task exceeded maximum timeout value "
                "(0.5 seconds)" },
        { { .script = "sleep 1000 & exit 5" },
          OF_SH "Killed 1 process it left behind.\nCommandError: exit status 5" },
        { { .script = "sleep 1000 & setsid sleep 1000 & sleep 0.3; exit 6" },
          OF_SH "Killed 2 processes it left behind.\nCommandError: exit status 6" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        fails(rows[i].trial, rows[i].error);
}

/* The task is cut off in the middle; the consumer settles before it tells anybody. */
static void a_job_cut_off_is_settled(void **state)
{
    struct arena *other = arena_new(0);

    (void)state;
    start((struct trial){ .script = "echo working >&2; trap '' TERM; "
                                    "exec sleep 1000",
                          .fields = { "kill_after=30" },
                          .task_ms = 1000 });
    assert_int_equal(outcome, TASK_DEADLINE);
    assert_non_null(job.settle);
    assert_int_equal(job.settle_ms, 30000);
    job.is_hurried = true; /* or this would take half a minute */
    spawn(settle_job, other, PATIENCE_MS);
    assert_int_equal(outcome, TASK_DONE);
    assert_string_equal(job.note,
                        OF_SH "Had to stop: it ignored SIGTERM and was killed.\n"
                              "Its standard error:\nworking");
    arena_free(other);
}

/* ---- the table ---- */

static void configured_functions_are_found(void **state)
{
    const char *sets[] = { "jobs.functions.a.name=team.a",
                           "jobs.functions.a.aliases=a1,a2",
                           "jobs.functions.a.command=/bin/true",
                           "jobs.functions.a.retries=5",
                           "jobs.functions.a.retry_intervals=10s,5m",
                           "jobs.functions.a.timeout=1500ms",
                           "jobs.functions.plain.command=/bin/true",
                           NULL };
    struct buf errors = BUF_HEAP;
    struct options *one = load(sets, &errors), *none = load(NULL, &errors);
    const struct job_function *a = job_function_find(one, "team.a");

    (void)state;
    assert_string_equal(buf_text(&errors), "");
    assert_non_null(a);
    assert_ptr_equal(job_function_find(one, "a2"), a);
    assert_int_equal(a->timeout_s, 2); /* whole seconds, none lost */
    assert_non_null(job_function_find(one, "plain"));
    assert_int_equal(job_function_find(one, "plain")->timeout_s,
                     one->jobs.default_timeout);
    assert_null(job_function_find(one, "a"));

    /* What forkmark enqueues gets the function's, unless its caller says otherwise. */
    static const int soon[] = { 1 };
    struct job_spec spec = { .function = "team.a", .retries = JOB_RETRIES_OPEN },
                    own = { .timeout_s = 9, .retries = 1 }, never = { .retries = 0 },
                    sooner = { .retries = JOB_RETRIES_OPEN,
                               .retry_intervals = soon,
                               .retry_interval_count = 1 };
    job_function_complete(a, &spec);
    assert_int_equal(spec.timeout_s, 2);
    assert_int_equal(spec.retries, 5);
    assert_int_equal(spec.retry_interval_count, 2);
    assert_int_equal(spec.retry_intervals[1], 300);
    job_function_complete(a, &own);
    assert_int_equal(own.timeout_s, 9);
    assert_int_equal(own.retries, 1);
    assert_int_equal(own.retry_interval_count, 0);
    job_function_complete(a, &never);
    assert_int_equal(never.timeout_s, 2);
    assert_int_equal(never.retries, 0);
    assert_int_equal(never.retry_interval_count, 0);
    job_function_complete(a, &sooner);
    assert_int_equal(sooner.retries, 5);
    assert_int_equal(sooner.retry_interval_count, 1);
    assert_ptr_equal(sooner.retry_intervals, soon);

    /* Another configuration has others. */
    assert_null(job_function_find(none, "team.a"));
    assert_non_null(job_function_find(one, "a1"));
    options_free(one);
    options_free(none);
    buf_done(&errors);
}

static void what_cannot_run_here_is_found(void **state)
{
    const char *sets[] = { "jobs.functions.good.command=sh",
                           "jobs.functions.missing.command=/no/such/program",
                           "jobs.functions.unknown.command=no-such-program-anywhere",
                           "jobs.functions.plain.command=/etc/passwd",
                           "jobs.functions.folder.command=/usr",
                           "jobs.functions.place.command=/bin/true",
                           "jobs.functions.place.cwd=/no/such/folder",
                           "jobs.functions.ours.command=/bin/true",
                           "jobs.functions.ours.name=" JOB_PROCESS_BOOKMARK,
                           NULL };
    struct buf errors = BUF_HEAP;
    struct options *o = load(sets, &errors);

    (void)state;
    assert_string_equal(buf_text(&errors), "");
    assert_false(exec_functions_check(o, &errors));
    assert_string_equal(
        buf_text(&errors),
        "--set: `jobs.functions.missing.command`: /no/such/program: No such file or "
        "directory\n"
        "--set: `jobs.functions.unknown.command`: no-such-program-anywhere: no such "
        "program in PATH\n"
        "--set: `jobs.functions.plain.command`: /etc/passwd: it is not executable\n"
        "--set: `jobs.functions.folder.command`: /usr: it is no file\n"
        "--set: `jobs.functions.place.cwd`: /no/such/folder: No such file or directory\n"
        "--set: `jobs.functions.ours`: " JOB_PROCESS_BOOKMARK
        ": a function of forkmark has this name, and it is the one that runs\n");
    options_free(o);
    buf_done(&errors);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(it_is_given_the_job_as_json),
        TEST(its_output_is_the_result),
        TEST(it_has_an_environment_of_its_own),
        TEST(failures_are_told),
        TEST(a_job_cut_off_is_settled),
        cmocka_unit_test(configured_functions_are_found),
        cmocka_unit_test(what_cannot_run_here_is_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
