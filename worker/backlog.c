/*
 * backlog.c - see backlog.h.
 *
 * TCP says it in TCP_INFO, where a listening socket has its queue's length in
 * tcpi_unacked and the limit in tcpi_sacked. A Unix socket is asked for by its inode
 * through sock_diag(7), whose answer the kernel has ready when the question is sent.
 */
#include "worker/backlog.h"
#include <arpa/inet.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static void name_it(const struct sockaddr_storage *address, socklen_t length,
                    struct backlog *ret)
{
    const struct sockaddr_in *v4 = (const void *)address;
    const struct sockaddr_in6 *v6 = (const void *)address;
    const struct sockaddr_un *local = (const void *)address;
    size_t path_at = offsetof(struct sockaddr_un, sun_path);
    char text[INET6_ADDRSTRLEN] = "";

    switch (address->ss_family) {
    case AF_INET:
        inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
        snprintf(ret->name, sizeof(ret->name), "%s:%d", text, ntohs(v4->sin_port));
        break;
    case AF_INET6:
        inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
        snprintf(ret->name, sizeof(ret->name), "[%s]:%d", text, ntohs(v6->sin6_port));
        break;
    default: /* an abstract one begins with a NUL, and need not end with one */
        if (length > path_at && local->sun_path[0] == '\0')
            snprintf(ret->name, sizeof(ret->name), "unix:@%.*s",
                     (int)(length - path_at - 1), local->sun_path + 1);
        else
            snprintf(ret->name, sizeof(ret->name), "unix:%.*s", (int)(length - path_at),
                     local->sun_path);
    }
}

static bool read_tcp(int listener, struct backlog *ret)
{
    struct tcp_info info = { 0 };
    socklen_t length = sizeof(info);

    if (getsockopt(listener, IPPROTO_TCP, TCP_INFO, &info, &length) != 0)
        return false;
    ret->waiting = info.tcpi_unacked;
    ret->room = info.tcpi_sacked;
    return true;
}

/* UNIX_DIAG_RQLEN: of a listening socket, the queue's length and its limit. */
static bool find_length(const char *answer, size_t length, struct backlog *ret)
{
    const struct nlmsghdr *head = (const void *)answer;

    if (length < NLMSG_LENGTH(sizeof(struct unix_diag_msg)) ||
        head->nlmsg_type != SOCK_DIAG_BY_FAMILY || head->nlmsg_len > length)
        return false;
    size_t at = NLMSG_LENGTH(sizeof(struct unix_diag_msg));
    while (at + sizeof(struct nlattr) <= head->nlmsg_len) {
        const struct nlattr *attribute = (const void *)(answer + at);
        const struct unix_diag_rqlen *lengths = (const void *)(attribute + 1);

        if (attribute->nla_len < sizeof(*attribute))
            return false;
        if (attribute->nla_type == UNIX_DIAG_RQLEN &&
            attribute->nla_len >= sizeof(*attribute) + sizeof(*lengths)) {
            ret->waiting = lengths->udiag_rqueue;
            ret->room = lengths->udiag_wqueue;
            return true;
        }
        at += NLMSG_ALIGN(attribute->nla_len);
    }
    return false;
}

static bool read_unix(int listener, struct backlog *ret)
{
    struct {
        struct nlmsghdr head;
        struct unix_diag_req ask;
    } question = {
        .head = { .nlmsg_len = sizeof(question),
                  .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                  .nlmsg_flags = NLM_F_REQUEST },
        .ask = { .sdiag_family = AF_UNIX,
                 .udiag_states = ~0U,
                 .udiag_show = UDIAG_SHOW_RQLEN,
                 .udiag_cookie = { ~0U, ~0U } },
    };
    _Alignas(struct nlmsghdr) char answer[512];
    struct stat file;
    bool is_found = false;
    int fd =
        socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);

    if (fd < 0)
        return false;
    if (fstat(listener, &file) == 0) {
        question.ask.udiag_ino = (uint32_t)file.st_ino;
        if (send(fd, &question, sizeof(question), 0) == (ssize_t)sizeof(question)) {
            ssize_t length = recv(fd, answer, sizeof(answer), 0);
            is_found = length > 0 && find_length(answer, (size_t)length, ret);
        }
    }
    close(fd);
    return is_found;
}

bool backlog_read(int listener, struct backlog *ret)
{
    struct sockaddr_storage address = { 0 };
    socklen_t length = sizeof(address);

    memset(ret, 0, sizeof(*ret));
    if (getsockname(listener, (struct sockaddr *)&address, &length) != 0)
        return false;
    name_it(&address, length, ret);
    return address.ss_family == AF_UNIX ? read_unix(listener, ret)
                                        : read_tcp(listener, ret);
}
