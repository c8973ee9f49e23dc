/*
 * service_redis.c - the embedded Redis: append-only, synced every second.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "master/program.h"
#include "master/services.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static enum service_step prepare(struct service *service, struct program *program,
                                 struct buf *error)
{
    (void)program;
    return data_make(&service->all->data, service->all->account, "redis", error)
               ? STEP_NONE
               : STEP_FAILED;
}

static bool command(struct service *service, struct program *program, struct buf *error)
{
    const struct data *data = &service->all->data;
    const char *path = service->all->options->services.redis_server;

    if (!*path)
        path = services_find_program(program->arena, "redis-server");
    if (!path) {
        buf_adds(error, "no Redis is installed to be embedded: install `redis-server`, "
                        "name the program in services.redis_server, or set REDIS_URL");
        return false;
    }
    const char *const arguments[] = {
        path,
        "--port",
        "0",
        "--unixsocket",
        arena_printf(program->arena, "%s/run/redis.sock", data->sockets),
        "--unixsocketperm",
        "700",
        "--dir",
        arena_strdup(program->arena, service_folder(service)),
        "--appendonly",
        "yes",
        "--appendfsync",
        "everysec",
        "--save",
        "", /* the append-only file is enough */
        "--maxmemory-policy",
        "noeviction",
        "--daemonize",
        "no",
        "--loglevel",
        "notice",
        "--databases",
        "16",
    };
    for (size_t i = 0; i < sizeof(arguments) / sizeof(arguments[0]); i++)
        program_add(program, "%s", arguments[i]);
    return true;
}

static int ask(const struct service *service)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int length = snprintf(address.sun_path, sizeof(address.sun_path), "%s/run/redis.sock",
                          service->all->data.sockets);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0 || length >= (int)sizeof(address.sun_path))
        return fd;
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
        send(fd, "PING\r\n", 6, MSG_NOSIGNAL) == 6)
        return fd;
    close(fd);
    return -1;
}

/* Asked in one turn, heard in another: the master does not wait for an answer. */
static bool is_up(struct service *service)
{
    char answer[64];

    if (service->probe_fd < 0) {
        service->probe_fd = ask(service);
        return false;
    }
    ssize_t got = recv(service->probe_fd, answer, sizeof(answer), MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return false;
    close(service->probe_fd); /* it answered, perhaps that it still loads its data */
    service->probe_fd = -1;
    return got >= 5 && memcmp(answer, "+PONG", 5) == 0;
}

const struct service_kind service_redis = {
    .name = "redis",
    .process = "redis-server",
    .stop_signal = SIGTERM,
    .hard_signal = SIGKILL,
    .stop_ms = 10000,
    .start_ms = 120000,
    .prepare = prepare,
    .command = command,
    .is_up = is_up,
};
