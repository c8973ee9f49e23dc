/*
 * ctl.c - see ctl.h.
 */
#include "master/ctl.h"
#include "common/buf.h"
#include "common/conf.h"
#include "master/ctl_upgrade.h"
#include <cjson/cJSON.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* A reload waits for the parsing child, which has ten seconds. (A zero: for ever; it is
 * for commands that wait until the last process has been replaced.) */
#define ANSWER_SECONDS 30
#define WATCH_EVERY_MS 1000

enum { CTL_DONE, CTL_REFUSED, CTL_NO_MASTER };

static int connect_to(const char *path, bool waits)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct timeval wait = { .tv_sec = waits ? 0 : ANSWER_SECONDS };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || strlen(path) >= sizeof(address.sun_path)) {
        if (fd >= 0)
            close(fd);
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* Who listens there must be one whom this user would believe anyway. */
static bool is_trusted(int fd)
{
    struct ucred peer;
    socklen_t length = sizeof(peer);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid() || geteuid() == 0);
}

/* For the server's log and history; what counts is the user id that it sees. */
static const char *own_name(void)
{
    const char *behind = getenv("SUDO_USER");
    const struct passwd *entry = getpwuid(geteuid());

    return behind && *behind ? behind : entry ? entry->pw_name : "";
}

static void send_words(int fd, const char *const *words)
{
    cJSON *request = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(request, "words");

    for (; *words; words++)
        cJSON_AddItemToArray(list, cJSON_CreateString(*words));
    cJSON_AddStringToObject(request, "user", own_name());
    char *line = cJSON_PrintUnformatted(request);
    if (line) {
        struct buf out = BUF_HEAP;

        buf_addf(&out, "%s\n", line);
        /* One that refuses may have closed already, with an answer that can be read. */
        if (send(fd, out.data, out.length, MSG_NOSIGNAL) < 0 && errno != EPIPE)
            fprintf(stderr, "forkmark ctl: %s\n", strerror(errno));
        buf_done(&out);
    }
    cJSON_free(line);
    cJSON_Delete(request);
}

static bool has_word(const char *const *words, const char *wanted)
{
    for (; *words; words++)
        if (strcmp(*words, wanted) == 0)
            return true;
    return false;
}

static cJSON *receive(int fd)
{
    struct buf in = BUF_HEAP;
    char chunk[4096];
    ssize_t got;

    while ((got = recv(fd, chunk, sizeof(chunk), 0)) > 0)
        buf_add(&in, chunk, (size_t)got);
    cJSON *answer = cJSON_Parse(buf_text(&in));
    buf_done(&in);
    return answer;
}

static int show(const cJSON *answer, bool as_json)
{
    const cJSON *data = cJSON_GetObjectItemCaseSensitive(answer, "data");
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(answer, "text");
    bool is_ok = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(answer, "ok"));

    if (as_json) {
        char *printed = cJSON_Print(data ? data : answer);

        printf("%s\n", printed ? printed : "{}");
        cJSON_free(printed);
    } else if (cJSON_IsString(text)) {
        fputs(text->valuestring, is_ok ? stdout : stderr);
    }
    return is_ok ? CTL_DONE : CTL_REFUSED;
}

cJSON *ctl_ask(const char *socket_path, const char *const *words, struct buf *error)
{
    int fd = connect_to(socket_path, has_word(words, "--wait"));

    if (fd < 0) {
        buf_addf(error, "no server answers at %s: %s", socket_path, strerror(errno));
        return NULL;
    }
    if (!is_trusted(fd)) {
        buf_addf(error, "%s belongs to another user", socket_path);
        close(fd);
        return NULL;
    }
    send_words(fd, words);
    cJSON *answer = receive(fd);
    close(fd);
    if (!answer)
        buf_addf(error, "the server at %s gave no answer", socket_path);
    return answer;
}

/* `status --watch [SECONDS]`; 0: it is another command. */
static uint64_t watch_interval(const char *const *words)
{
    uint64_t every_ms = WATCH_EVERY_MS;

    if (strcmp(words[0], "status") != 0 || !words[1] || strcmp(words[1], "--watch") != 0)
        return 0;
    if (words[2] && (words[3] || !conf_parse_duration(words[2], &every_ms)))
        return 0; /* the server will not know it either, and say so */
    return every_ms < 100 ? 100 : every_ms;
}

/* An upgrade outlives the connection that began it: it is waited for by asking. */
static int wait_for_upgrade(const char *socket_path, const char *const *words,
                            const cJSON *answer)
{
    const cJSON *data = cJSON_GetObjectItemCaseSensitive(answer, "data");
    const cJSON *pid = cJSON_GetObjectItemCaseSensitive(data, "pid");

    if (strcmp(words[0], "upgrade") != 0 || !words[1])
        return CTL_DONE;
    return ctl_upgrade_wait(socket_path, cJSON_IsNumber(pid) ? pid->valueint : 0,
                            strcmp(words[1], "--complete") == 0);
}

int ctl_run(const char *socket_path, const char *const *words, bool as_json)
{
    uint64_t every_ms = watch_interval(words);
    struct buf error = BUF_HEAP;

    if (every_ms > 0)
        return ctl_watch(socket_path, every_ms, as_json);
    cJSON *answer = ctl_ask(socket_path, words, &error);
    if (!answer)
        fprintf(stderr, "forkmark ctl: %s\n", buf_text(&error));
    buf_done(&error);
    int status = answer ? show(answer, as_json) : CTL_NO_MASTER;
    if (status == CTL_DONE)
        status = wait_for_upgrade(socket_path, words, answer);
    cJSON_Delete(answer);
    return status;
}
