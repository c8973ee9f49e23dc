/*
 * ctl_watch.c - `forkmark ctl status --watch`: a table of the processes, drawn anew.
 *
 * On a terminal each round begins at the top, and lines are cut to its size, so that
 * nothing scrolls; into a pipe or a file the tables follow each other as plain text.
 */
#include "common/buf.h"
#include "common/clock.h"
#include "master/ctl.h"
#include "master/status.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { WATCHED, WATCHED_NOBODY = 2 };

static volatile sig_atomic_t is_over;

static void on_interrupt(int signum)
{
    (void)signum;
    is_over = 1;
}

/* ---- the table ---- */

static void add_row(const cJSON *child, struct buf *out)
{
    const cJSON *doing = cJSON_GetObjectItemCaseSensitive(child, "doing");
    bool is_worker = cJSON_GetObjectItemCaseSensitive(child, "connections") != NULL;

    buf_addf(out, "%-22s %7.0f %-8s %7.0f %7.1f %5.0f %8.1f %9.0f ",
             status_word(child, "name"), status_number(child, "pid"),
             status_word(child, "state"), status_number(child, "age"),
             status_number(child, "memory") / 1048576, status_number(child, "busy") * 100,
             status_number(child, "per_second"),
             status_number(child, is_worker ? "connections" : "jobs_done"));
    if (status_number(child, "silent") >= 1)
        buf_addf(out, "silent for %.1f s ", status_number(child, "silent"));
    if (doing)
        buf_addf(out, "%s [%s] %.1f s%s%s", status_word(doing, "what"),
                 status_word(doing, "id"), status_number(doing, "seconds"),
                 *status_word(doing, "waiting_on") ? " on " : "",
                 status_word(doing, "waiting_on"));
    buf_addc(out, '\n');
}

static void add_table(const cJSON *status, struct buf *out)
{
    const cJSON *pool, *child;
    char now[CLOCK_TEXT_SIZE];

    buf_addf(out, "forkmark %s, pid %.0f, %s at %s   %.19sZ\n",
             status_word(status, "version"), status_number(status, "pid"),
             status_word(status, "phase"), status_word(status, "address"),
             clock_iso_z(clock_unix_us(), now));
    cJSON_ArrayForEach(pool, cJSON_GetObjectItemCaseSensitive(status, "pools"))
    {
        buf_addf(out, "%s %.0f/%.0f  ", status_word(pool, "name"),
                 status_number(pool, "ready"), status_number(pool, "wanted"));
    }
    const cJSON *reload = cJSON_GetObjectItemCaseSensitive(status, "reload");
    if (*status_word(reload, "stage"))
        buf_addf(out, "reload: %s", status_word(reload, "stage"));
    buf_addc(out, '\n');
    status_add_databases(status, "", out);
    status_add_redis(status, "", out);
    buf_addf(out, "\n%-22s %7s %-8s %7s %7s %5s %8s %9s %s\n", "PROCESS", "PID", "STATE",
             "AGE s", "MB", "BUSY%", "PER s", "CONN/JOBS", "NOW");
    cJSON_ArrayForEach(pool, cJSON_GetObjectItemCaseSensitive(status, "pools"))
    {
        cJSON_ArrayForEach(child, cJSON_GetObjectItemCaseSensitive(pool, "children"))
        {
            add_row(child, out);
        }
    }
}

/* ---- onto the screen ---- */

/* Bytes of the line that take at most so many columns; a character is not cut. */
static size_t bytes_of(const char *line, size_t length, size_t columns)
{
    size_t at = 0;

    while (at < length) {
        bool is_first = ((unsigned char)line[at] & 0xc0) != 0x80;

        if (is_first && columns-- == 0)
            break;
        at++;
    }
    return at;
}

static void draw(const char *table)
{
    struct winsize size = { .ws_row = 24, .ws_col = 80 };

    struct winsize asked;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &asked) == 0 && asked.ws_row && asked.ws_col)
        size = asked;
    fputs("\033[H", stdout);
    for (unsigned row = 1; *table && row < size.ws_row; row++) {
        size_t length = strcspn(table, "\n");

        printf("%.*s\033[K\n", (int)bytes_of(table, length, size.ws_col), table);
        table += length + (table[length] == '\n');
    }
    fputs("\033[J", stdout);
}

static void show(const char *table, bool is_terminal)
{
    if (is_terminal)
        draw(table);
    else
        printf("%s\n", table);
    fflush(stdout);
}

static void show_json(const cJSON *data)
{
    char *line = cJSON_PrintUnformatted(data);

    printf("%s\n", line ? line : "{}");
    fflush(stdout);
    cJSON_free(line);
}

/* A server that is away may come back. */
static void look(const char *socket_path, bool as_json, bool is_terminal)
{
    static const char *const words[] = { "status", NULL };
    struct buf out = BUF_HEAP;
    cJSON *answer = ctl_ask(socket_path, words, &out);
    const cJSON *data = cJSON_GetObjectItemCaseSensitive(answer, "data");
    bool is_there = data != NULL;

    if (is_there && as_json) {
        show_json(data);
    } else if (!as_json) {
        if (is_there)
            add_table(data, &out);
        else
            buf_addc(&out, '\n');
        show(buf_text(&out), is_terminal);
    }
    cJSON_Delete(answer);
    buf_done(&out);
}

int ctl_watch(const char *socket_path, uint64_t every_ms, bool as_json)
{
    struct sigaction action = { .sa_handler = on_interrupt }; /* it ends the sleep */
    struct timespec pause = { .tv_sec = (time_t)(every_ms / 1000),
                              .tv_nsec = (long)(every_ms % 1000) * 1000000 };
    bool is_terminal = isatty(STDOUT_FILENO) && !as_json;
    struct buf error = BUF_HEAP;
    cJSON *first = ctl_ask(socket_path, (const char *const[]){ "status", NULL }, &error);

    if (!first)
        fprintf(stderr, "forkmark ctl: %s\n", buf_text(&error));
    buf_done(&error);
    cJSON_Delete(first);
    if (!first)
        return WATCHED_NOBODY;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (is_terminal)
        fputs("\033[2J", stdout);
    while (!is_over && !ferror(stdout)) {
        look(socket_path, as_json, is_terminal);
        nanosleep(&pause, NULL);
    }
    return WATCHED;
}
