/*
 * ctl.c - see ctl.h.
 */
#include "master/ctl.h"
#include "common/buf.h"
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* A reload waits for the parsing child, which has ten seconds. (A zero: for ever; it is
 * for commands that wait until the last process has been replaced.) */
#define ANSWER_SECONDS 30

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

static void send_words(int fd, const char *const *words)
{
    cJSON *request = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(request, "words");

    for (; *words; words++)
        cJSON_AddItemToArray(list, cJSON_CreateString(*words));
    char *line = cJSON_PrintUnformatted(request);
    if (line) {
        struct buf out = BUF_HEAP;

        buf_addf(&out, "%s\n", line);
        if (send(fd, out.data, out.length, MSG_NOSIGNAL) < 0)
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

static int show(const cJSON *answer, int as_json)
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

int ctl_run(const char *socket_path, const char *const *words, int as_json)
{
    int fd = connect_to(socket_path, has_word(words, "--wait"));

    if (fd < 0) {
        fprintf(stderr, "forkmark ctl: no server answers at %s: %s\n", socket_path,
                strerror(errno));
        return CTL_NO_MASTER;
    }
    if (!is_trusted(fd)) {
        fprintf(stderr, "forkmark ctl: %s belongs to another user\n", socket_path);
        close(fd);
        return CTL_NO_MASTER;
    }
    send_words(fd, words);
    cJSON *answer = receive(fd);
    close(fd);
    if (!answer) {
        fprintf(stderr, "forkmark ctl: the server at %s gave no answer\n", socket_path);
        return CTL_NO_MASTER;
    }
    int status = show(answer, as_json);
    cJSON_Delete(answer);
    return status;
}
