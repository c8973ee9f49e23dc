/*
 * redis_server.h - a private redis-server for unit tests.
 *
 * It listens on a Unix socket in a folder of its own (and, if asked, on a TCP or
 * TLS port of 127.0.0.1), keeps nothing on disk, and ends with the test program.
 */
#ifndef FORKMARK_TESTS_UNIT_REDIS_SERVER_H
#define FORKMARK_TESTS_UNIT_REDIS_SERVER_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define REDIS_SERVER_ARGS 24

struct redis_server {
    pid_t pid;
    char folder[64];
    char socket[96]; /* its path */
    char url[128];   /* unix://... */
};

static inline void redis_server_folder(struct redis_server *server)
{
    snprintf(server->folder, sizeof(server->folder), "/tmp/fm-redis-XXXXXX");
    if (!mkdtemp(server->folder)) {
        perror("mkdtemp");
        abort();
    }
    snprintf(server->socket, sizeof(server->socket), "%s/s", server->folder);
    snprintf(server->url, sizeof(server->url), "unix://%s", server->socket);
}

static inline bool redis_server_answers(const struct redis_server *server)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char answer[7] = "";
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", server->socket);
    bool is_up = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
                 write(fd, "PING\r\n", 6) == 6 && read(fd, answer, 6) > 0;
    close(fd);
    return is_up;
}

/* `args`: further arguments, NULL-ended; NULL: none. */
static inline void redis_server_start(struct redis_server *server,
                                      const char *const *args)
{
    if (server->folder[0] == '\0')
        redis_server_folder(server);
    server->pid = fork();
    if (server->pid == 0) {
        const char *argv[REDIS_SERVER_ARGS + 16] = {
            "redis-server", "--unixsocket", server->socket, "--save",       "",
            "--appendonly", "no",           "--dir",        server->folder,
        };
        size_t count = 9;
        bool has_port = false;

        for (; args && *args; args++) {
            has_port |= strcmp(*args, "--port") == 0;
            argv[count++] = *args;
        }
        if (!has_port) {
            argv[count++] = "--port";
            argv[count++] = "0";
        }
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(quiet, STDOUT_FILENO);
        execvp("redis-server", (char *const *)argv);
        _exit(127);
    }
    for (int i = 0; i < 500; i++) {
        if (redis_server_answers(server))
            return;
        usleep(10000);
    }
    fprintf(stderr, "redis-server does not answer on %s\n", server->socket);
    abort();
}

static inline void redis_server_stop(struct redis_server *server)
{
    if (server->pid <= 0)
        return;
    kill(server->pid, SIGCONT);
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

/* Also removes its folder. */
static inline void redis_server_remove(struct redis_server *server)
{
    char command[128];

    redis_server_stop(server);
    snprintf(command, sizeof(command), "rm -rf '%s'", server->folder);
    if (server->folder[0] && system(command) != 0)
        fprintf(stderr, "cannot remove %s\n", server->folder);
}

/* A TCP port that was free a moment ago. */
static inline int redis_server_free_port(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (bind(fd, (struct sockaddr *)&address, size) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0)
        abort();
    close(fd);
    return ntohs(address.sin_port);
}

#endif
