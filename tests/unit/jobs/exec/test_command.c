/*
 * test_command.c - commands that behave and commands that do not, and what is left of
 * them: nothing.
 */
#include "common/arena.h"
#include "common/clock.h"
#include "common/task.h"
#include "jobs/exec/command.h"
#include "tests/unit/testing.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 20000 /* of a loaded machine */

static char folder[] = "/tmp/fm-command-XXXXXX";

/* ---- what is tried: one script a time, in a task ---- */

struct trial {
    const char *script; /* for sh -c */
    const char *input;
    size_t input_length;
    size_t output_limit;
    uint64_t timeout_ms, kill_after_ms;
    const char *path; /* instead of a script */
    const char *cwd;
};

static struct command *command; /* the last one; its arena is the next line's */
static struct arena *arena;
static enum task_outcome outcome;
static uint64_t ticks; /* of a timer beside the command */

static void run_trial(void *arg)
{
    const struct trial *trial = arg;
    static char path[] = "PATH=/usr/bin:/bin", greeting[] = "GREETING=hello";
    static char *const environment[] = { path, greeting, NULL };
    char **argv = arena_array(arena, 4, sizeof(*argv));
    struct command_spec *spec = arena_alloc(arena, sizeof(*spec));

    argv[0] = arena_strdup(arena, trial->path ? trial->path : "sh");
    argv[1] = trial->path ? NULL : arena_strdup(arena, "-c");
    argv[2] = trial->path ? NULL : arena_strdup(arena, trial->script);
    *spec = (struct command_spec){
        .path = command_find(arena, argv[0], "/usr/bin:/bin"),
        .argv = argv,
        .envp = environment,
        .cwd = trial->cwd,
        .input = trial->input ? trial->input : "",
        .input_length = trial->input_length ? trial->input_length
                        : trial->input      ? strlen(trial->input)
                                            : 0,
        .output_limit = trial->output_limit ? trial->output_limit : 1048576,
        .timeout_ms = trial->timeout_ms,
        .kill_after_ms = trial->kill_after_ms,
    };
    command = command_start(arena, spec);
    command_wait(command);
}

static void trial_ended(void *arg, enum task_outcome how)
{
    (void)arg;
    outcome = how;
    task_stop_loop();
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
    ticks++;
}

static void free_arena(void)
{
    arena_free(arena);
    arena = NULL;
}

/* The task may have an end of its own before the command has. */
static struct task *start_trial(struct trial *trial, uint64_t task_ms)
{
    free_arena();
    arena = arena_new(0);
    command = NULL;
    return task_spawn(&(struct task_spec){ .name = "trial",
                                           .run = run_trial,
                                           .arg = trial,
                                           .arena = arena,
                                           .timeout_ms = task_ms,
                                           .on_end = trial_ended });
}

static void try(struct trial trial)
{
    start_trial(&trial, PATIENCE_MS);
    task_run_loop();
    assert_int_equal(outcome, TASK_DONE);
    assert_non_null(command);
}

static const char *tail(void)
{
    return buf_text(&command->tail);
}

static void assert_exit(int status)
{
    assert_int_equal(command->end, COMMAND_ENDED);
    assert_true(WIFEXITED(command->status));
    assert_int_equal(WEXITSTATUS(command->status), status);
}

static void assert_signal(int signum)
{
    assert_int_equal(command->end, COMMAND_ENDED);
    assert_true(WIFSIGNALED(command->status));
    assert_int_equal(WTERMSIG(command->status), signum);
}

/* ---- processes that a script names in a file of its own ---- */

static char *in_folder(const char *name)
{
    static char path[128];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

/* The number in the file; 0 while there is none. */
static pid_t pid_of(const char *name)
{
    char text[32] = "";
    FILE *file = fopen(in_folder(name), "r");

    if (!file)
        return 0;
    if (!fgets(text, sizeof(text), file))
        text[0] = '\0';
    fclose(file);
    return strchr(text, '\n') ? (pid_t)strtol(text, NULL, 10) : 0;
}

static void wait_ms(unsigned ms)
{
    usleep(ms * 1000);
}

static pid_t wait_for_pid(const char *name)
{
    for (int i = 0; i < PATIENCE_MS / 10; i++) {
        pid_t pid = pid_of(name);

        if (pid > 0)
            return pid;
        wait_ms(10);
    }
    fail_msg("no process wrote %s", name);
    return 0;
}

/* A zombie of nobody's counts as gone: the process runs no more. */
static bool is_alive(pid_t pid)
{
    char path[64], text[256] = "";
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    file = fopen(path, "r");
    if (!file)
        return false;
    size_t got = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[got] = '\0';
    const char *end = strrchr(text, ')');
    return end && end[2] != 'Z' && end[2] != 'X';
}

static void assert_gone(const char *name)
{
    pid_t pid = wait_for_pid(name);

    for (int i = 0; i < PATIENCE_MS / 10 && is_alive(pid); i++)
        wait_ms(10);
    assert_false(is_alive(pid));
    unlink(in_folder(name));
}

/* The script with the folder for every %s, in a buffer of its own. */
__attribute__((format(printf, 1, 2))) static char *script(const char *format, ...)
{
    static char texts[4][1024];
    static int next;
    va_list args;
    char *text = texts[next++ % 4];

    va_start(args, format);
    vsnprintf(text, sizeof(texts[0]), format, args);
    va_end(args);
    return text;
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
    free_arena();
    task_runtime_done();
    /* No child of ours is left, dead or alive. */
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    return 0;
}

/* ---- commands that behave ---- */

static void input_comes_back(void **state)
{
    (void)state;
    try((struct trial){ .path = "cat", .input = "{\"a\":1}\n" });
    assert_exit(0);
    assert_string_equal(buf_text(&command->output), "{\"a\":1}\n");
    assert_string_equal(tail(), "");
    assert_int_equal(command->left_behind, 0);
}

/* Both pipes are full at times, and neither side waits for the other for ever. */
static void much_input_comes_back(void **state)
{
    size_t length = (size_t)3 << 20;
    char *text = malloc(length);

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < length; i++)
        text[i] = (char)('a' + i % 26);
    try((struct trial){
        .path = "cat", .input = text, .input_length = length, .output_limit = length });
    assert_exit(0);
    assert_int_equal(command->output.length, length);
    assert_memory_equal(command->output.data, text, length);
    free(text);
}

static void words_status_and_place(void **state)
{
    (void)state;
    try((struct trial){ .script = "echo $GREETING $HOME; pwd; echo no >&2; exit 3",
                        .cwd = "/usr" });
    assert_exit(3);
    assert_string_equal(buf_text(&command->output), "hello\n/usr\n");
    assert_string_equal(tail(), "no\n");
}

/* It starts as after a login: no signal ignored or blocked, three descriptors. */
static void starts_clean(void **state)
{
    (void)state;
    try((struct trial){ .script = "exec grep -E '^Sig(Ign|Blk)' /proc/self/status" });
    assert_string_equal(buf_text(&command->output),
                        "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    try((struct trial){ .script = "exec ls /proc/self/fd" }); /* 3 is the folder's */
    assert_string_equal(buf_text(&command->output), "0\n1\n2\n3\n");
    try((struct trial){ .script = "set $(cat /proc/$$/stat); "
                                  "test $5 = $$ && test $6 = $$ && echo own" });
    assert_string_equal(buf_text(&command->output), "own\n");
}

static void many_one_after_the_other(void **state)
{
    (void)state;
    for (int i = 0; i < 30; i++) {
        try((struct trial){ .path = "cat", .input = "x" });
        assert_exit(0);
        assert_string_equal(buf_text(&command->output), "x");
    }
}

/* ---- commands that do not ---- */

static void closed_input_is_its_business(void **state)
{
    size_t length = (size_t)1 << 20;
    char *text = calloc(1, length);

    (void)state;
    assert_non_null(text);
    try((struct trial){ .script = "exec <&-; sleep 0.2; echo done",
                        .input = text,
                        .input_length = length });
    assert_exit(0);
    assert_string_equal(buf_text(&command->output), "done\n");
    try((struct trial){ .path = "true", .input = text, .input_length = length });
    assert_exit(0);
    assert_int_equal(command->output.length, 0);
    free(text);
}

static void of_huge_errors_the_end_is_kept(void **state)
{
    (void)state;
    try((struct trial){ .script = "seq 1 300000 >&2; printf 'the end' >&2" });
    assert_exit(0);
    assert_int_equal(command->tail.length, COMMAND_TAIL);
    assert_true(command->is_tail_cut);
    assert_string_equal(tail() + COMMAND_TAIL - 14, "300000\nthe end");
}

static void deaths_by_signal_are_told(void **state)
{
    static const int signums[] = { SIGSEGV, SIGKILL, SIGTERM, SIGPIPE };

    (void)state;
    for (size_t i = 0; i < sizeof(signums) / sizeof(*signums); i++) {
        try((struct trial){ .script = script("kill -%d $$", signums[i]) });
        assert_signal(signums[i]);
        assert_false(command->was_told);
    }
}

static void what_cannot_start(void **state)
{
    (void)state;
    try((struct trial){ .path = "/no/such/program" });
    assert_int_equal(command->end, COMMAND_NOT_STARTED);
    assert_int_equal(command->stage, KEEPER_EXEC);
    assert_int_equal(command->error, ENOENT);
    try((struct trial){ .path = "no-such-program-anywhere" });
    assert_int_equal(command->error, ENOENT);
    try((struct trial){ .path = "/etc/passwd" });
    assert_int_equal(command->end, COMMAND_NOT_STARTED);
    assert_int_equal(command->error, EACCES);
    try((struct trial){ .path = "cat", .cwd = "/no/such/folder" });
    assert_int_equal(command->end, COMMAND_NOT_STARTED);
    assert_int_equal(command->stage, KEEPER_CWD);
    assert_int_equal(command->error, ENOENT);
}

static void floods_are_stopped(void **state)
{
    (void)state;
    try((struct trial){ .path = "yes", .output_limit = 100000, .kill_after_ms = 5000 });
    assert_true(command->has_overflowed);
    assert_true(command->was_told);
    assert_false(command->was_killed);
    assert_signal(SIGTERM);
    assert_true(command->output.length <= 100000);
}

/* Just as much as allowed is allowed. */
static void the_limit_itself_is_fine(void **state)
{
    (void)state;
    try((struct trial){ .script = "printf 12345", .output_limit = 5 });
    assert_exit(0);
    try((struct trial){ .script = "printf 123456", .output_limit = 5 });
    assert_true(command->has_overflowed);
}

static void who_hangs_is_stopped(void **state)
{
    (void)state;
    try((struct trial){
        .script = "exec sleep 1000", .timeout_ms = 200, .kill_after_ms = 5000 });
    assert_true(command->has_timed_out);
    assert_signal(SIGTERM);
    assert_false(command->was_killed);
}

static void who_ignores_sigterm_is_killed(void **state)
{
    (void)state;
    try((struct trial){ .script = "trap '' TERM; echo $$ >&2; while :; do sleep 1; done",
                        .timeout_ms = 300,
                        .kill_after_ms = 300 });
    assert_true(command->has_timed_out);
    assert_true(command->was_killed);
    assert_signal(SIGKILL);
}

/* What it says after SIGTERM is still heard, however much it is. */
static void last_words_are_heard(void **state)
{
    (void)state;
    try((struct trial){ .script = "trap 'seq 1 100000; seq 1 100000 >&2; echo bye >&2; "
                                  "exit 4' TERM; echo on; while :; do sleep 0.05; done",
                        .timeout_ms = 500,
                        .kill_after_ms = 15000 });
    assert_exit(4);
    assert_false(command->was_killed);
    assert_string_equal(tail() + command->tail.length - 4, "bye\n");
    assert_string_equal(buf_text(&command->output), "on\n");
}

/* ---- those that fork ---- */

static void children_end_with_it(void **state)
{
    (void)state;
    /* One in its group that holds its output open, one that left group and session. */
    try((struct trial){ .script =
                            script("sleep 1000 & echo $! >%s/a; "
                                   "setsid sh -c 'echo $$ >%s/b; exec sleep 1000' & "
                                   "while ! test -s %s/b; do sleep 0.01; done; "
                                   "echo done",
                                   folder, folder, folder) });
    assert_exit(0);
    assert_string_equal(buf_text(&command->output), "done\n");
    assert_int_equal(command->left_behind, 2);
    assert_gone("a");
    assert_gone("b");
}

static void children_are_stopped_with_it(void **state)
{
    (void)state;
    try((struct trial){
        .script =
            script("trap '' TERM; sh -c 'trap \"\" TERM; echo $$ >%s/a; while :; do "
                   "sleep 1; done' & (setsid sh -c 'trap \"\" TERM; echo $$ >%s/b; "
                   "while :; do sleep 1; done' &); wait; wait; sleep 1000",
                   folder, folder),
        .timeout_ms = 1000,
        .kill_after_ms = 100 });
    assert_signal(SIGKILL);
    assert_gone("a");
    assert_gone("b");
}

/* ---- cut off ---- */

static struct command *cut_off;
static bool is_hurried;

static void stop_it(void *arg)
{
    (void)arg;
    command_stop(cut_off, &is_hurried);
}

static void a_cancelled_task_stops_it_elsewhere(void **state)
{
    struct trial trial = { .script = script("trap '' TERM; echo $$ >%s/a; "
                                            "while :; do sleep 1; done",
                                            folder),
                           .kill_after_ms = 30000 };

    (void)state;
    start_trial(&trial, 500);
    task_run_loop();
    assert_int_equal(outcome, TASK_DEADLINE);
    assert_int_equal(command->end, COMMAND_RUNS);
    assert_true(is_alive(wait_for_pid("a")));
    cut_off = command;
    is_hurried = true; /* or this would take half a minute */
    task_spawn(&(struct task_spec){ .name = "stop",
                                    .run = stop_it,
                                    .timeout_ms = PATIENCE_MS,
                                    .on_end = trial_ended });
    task_run_loop();
    assert_int_equal(outcome, TASK_DONE);
    assert_true(command->was_killed);
    assert_signal(SIGKILL);
    assert_gone("a");
}

/* Nobody stops it, nobody waits: its arena's end is enough. */
static void a_closed_command_ends(void **state)
{
    struct trial trial = {
        .script = script("trap '' TERM; echo $$ >%s/a; (setsid sh -c 'echo $$ >%s/b; "
                         "exec sleep 1000' &); while :; do sleep 1; done",
                         folder, folder)
    };

    (void)state;
    start_trial(&trial, 500);
    task_run_loop();
    assert_int_equal(outcome, TASK_DEADLINE);
    wait_for_pid("a");
    wait_for_pid("b");
    free_arena();
    assert_gone("a");
    assert_gone("b");
    wait(NULL); /* its keeper, which the next command would have reaped */
}

/* The consumer is killed: the whole family ends, without anybody's help. */
static void the_death_of_the_consumer_ends_it(void **state)
{
    pid_t consumer = fork();

    (void)state;
    if (consumer == 0) {
        struct trial trial = {
            .script = script("echo $$ >%s/a; (setsid sh -c 'echo $$ >%s/b; exec sleep "
                             "1000' &); sleep 1000 & echo $! >%s/c; sleep 1000",
                             folder, folder, folder)
        };

        task_runtime_init();
        start_trial(&trial, 0);
        task_run_loop();
        _exit(0);
    }
    wait_for_pid("a");
    wait_for_pid("b");
    wait_for_pid("c");
    kill(consumer, SIGKILL);
    waitpid(consumer, NULL, 0);
    assert_gone("a");
    assert_gone("b");
    assert_gone("c");
}

static void the_death_of_the_keeper_is_told(void **state)
{
    (void)state;
    try((struct trial){ .script =
                            script("echo $$ >%s/a; kill -9 $PPID; sleep 1000", folder) });
    assert_int_equal(command->end, COMMAND_LOST);
    assert_gone("a");
}

/* ---- beside everything else ---- */

static void the_loop_goes_on(void **state)
{
    static uv_timer_t timer;

    (void)state;
    ticks = 0;
    uv_timer_init(task_loop(), &timer);
    uv_timer_start(&timer, on_tick, 10, 10);
    try((struct trial){ .script = "sleep 0.5; yes >&2", .timeout_ms = 1000 });
    assert_true(command->has_timed_out);
    assert_true(ticks > 10); /* of about a hundred: the machine may be loaded */
    uv_close((uv_handle_t *)&timer, NULL);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(input_comes_back),
        TEST(much_input_comes_back),
        TEST(words_status_and_place),
        TEST(starts_clean),
        TEST(many_one_after_the_other),
        TEST(closed_input_is_its_business),
        TEST(of_huge_errors_the_end_is_kept),
        TEST(deaths_by_signal_are_told),
        TEST(what_cannot_start),
        TEST(floods_are_stopped),
        TEST(the_limit_itself_is_fine),
        TEST(who_hangs_is_stopped),
        TEST(who_ignores_sigterm_is_killed),
        TEST(last_words_are_heard),
        TEST(children_end_with_it),
        TEST(children_are_stopped_with_it),
        TEST(a_cancelled_task_stops_it_elsewhere),
        TEST(a_closed_command_ends),
        cmocka_unit_test(the_death_of_the_consumer_ends_it), /* its own loop */
        TEST(the_death_of_the_keeper_is_told),
        TEST(the_loop_goes_on),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
