/*
 * private_postgres.h - a PostgreSQL of a test program's own.
 *
 * On a Unix socket in a temporary folder, as the user postgres when the tests run
 * as root (the server refuses root), without syncing. It ends with its program.
 */
#ifndef FORKMARK_TESTS_UNIT_PRIVATE_POSTGRES_H
#define FORKMARK_TESTS_UNIT_PRIVATE_POSTGRES_H

#include <glob.h>
#include <grp.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct private_postgres {
    char folder[64], bin[256], url[128];
    pid_t pid; /* 0: stopped */
};

static inline void postgres_must(bool is_ok, const char *what)
{
    if (is_ok)
        return;
    fprintf(stderr, "private_postgres: %s failed\n", what);
    exit(99);
}

/* In a child: the rights of the user postgres, when there are any to give up. */
static inline void postgres_drop_rights(void)
{
    const struct passwd *user = getpwnam("postgres");

    if (getuid() != 0)
        return;
    postgres_must(user != NULL, "looking up the user postgres");
    postgres_must(setgroups(0, NULL) == 0 && setgid(user->pw_gid) == 0 &&
                      setuid(user->pw_uid) == 0,
                  "becoming the user postgres");
}

static inline pid_t postgres_spawn(const struct private_postgres *server,
                                   const char *program, char **arguments)
{
    pid_t parent = getpid(), pid = fork();
    char path[512];

    if (pid != 0)
        return pid;
    snprintf(path, sizeof(path), "%s/%s", server->bin, program);
    postgres_must(chdir(server->folder) == 0, "chdir");
    postgres_drop_rights();
    /* After setuid(), which clears it. SIGINT: a fast shutdown. */
    prctl(PR_SET_PDEATHSIG, SIGINT);
    if (getppid() != parent)
        _exit(1);
    postgres_must(freopen("log", "a", stdout) && dup2(1, 2) == 2, "opening the log");
    arguments[0] = path; /* initdb finds its postgres beside itself by this */
    execv(path, arguments);
    _exit(127);
}

static inline void postgres_find_bin(struct private_postgres *server)
{
    glob_t found;

    postgres_must(glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found) == 0,
                  "finding initdb");
    snprintf(server->bin, sizeof(server->bin), "%s",
             found.gl_pathv[found.gl_pathc - 1]); /* the newest */
    *strrchr(server->bin, '/') = '\0';
    globfree(&found);
}

/* Waits until it answers: 10 s at most. */
static inline void postgres_await(const struct private_postgres *server)
{
    for (int i = 0; i < 2000; i++) {
        PGPing state = PQping(server->url);

        if (state == PQPING_OK)
            return;
        nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
    }
    postgres_must(false, "starting the server");
}

static inline void postgres_start(struct private_postgres *server)
{
    char *arguments[] = {
        "postgres",           "-D", "data",      "-k", server->folder,         "-c",
        "listen_addresses=",  "-c", "fsync=off", "-c", "full_page_writes=off", "-c",
        "max_connections=60", NULL
    };

    server->pid = postgres_spawn(server, "postgres", arguments);
    postgres_must(server->pid > 0, "fork");
    postgres_await(server);
}

/* Fast: sessions are ended. */
static inline void postgres_stop(struct private_postgres *server)
{
    if (server->pid == 0)
        return;
    kill(server->pid, SIGINT);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

static inline void postgres_open(struct private_postgres *server)
{
    char *arguments[] = { "initdb",     "--no-sync", "-A",       "trust", "-E",   "UTF8",
                          "--locale=C", "-U",        "forkmark", "-D",    "data", NULL };
    int status = 0;

    *server = (struct private_postgres){ .folder = "/tmp/forkmark-pg-XXXXXX" };
    postgres_must(mkdtemp(server->folder) != NULL, "mkdtemp");
    if (getuid() == 0) {
        const struct passwd *user = getpwnam("postgres");

        postgres_must(user && chown(server->folder, user->pw_uid, user->pw_gid) == 0,
                      "giving the folder to the user postgres");
    }
    snprintf(server->url, sizeof(server->url), "host=%s user=forkmark dbname=postgres",
             server->folder);
    postgres_find_bin(server);
    pid_t pid = postgres_spawn(server, "initdb", arguments);
    postgres_must(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "initdb");
    postgres_start(server);
}

static inline void postgres_close(struct private_postgres *server)
{
    char command[128];

    postgres_stop(server);
    snprintf(command, sizeof(command), "rm -rf '%s'", server->folder);
    postgres_must(system(command) == 0, "removing the folder");
}

/* A blocking look from outside the pool. The first value, in a static buffer. */
static inline const char *postgres_ask(const struct private_postgres *server,
                                       const char *database, const char *sql)
{
    static char answer[4096];
    char url[256];

    snprintf(url, sizeof(url), "host=%s user=forkmark dbname=%s", server->folder,
             database);
    /* A server that is just recovering from a crash refuses for a moment. */
    PGconn *connection = PQconnectdb(url);
    for (int i = 0; i < 500 && PQstatus(connection) != CONNECTION_OK; i++) {
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
        PQreset(connection);
    }
    PGresult *result = PQexec(connection, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        fprintf(stderr, "%s: %s", sql, PQerrorMessage(connection));
        exit(99);
    }
    snprintf(answer, sizeof(answer), "%s",
             PQntuples(result) > 0 && PQnfields(result) > 0 ? PQgetvalue(result, 0, 0)
                                                            : "");
    PQclear(result);
    PQfinish(connection);
    return answer;
}

#endif
