/*
 * log_link.c - see log_link.h. A message is a byte for each descriptor that comes with
 * it: the number of its sink.
 */
#include "common/log_link.h"
#include "common/log_sink.h"
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* Room for the descriptors of one message, aligned as the kernel wants it. */
union room {
    char bytes[CMSG_SPACE(LOG_FDS * sizeof(int))];
    struct cmsghdr align;
};

bool log_link_open(int ends[2])
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
        return false;
    if (ends[0] > STDERR_FILENO && ends[1] > STDERR_FILENO)
        return true;
    /* Numbers that mean something else to everybody. */
    close(ends[0]);
    close(ends[1]);
    return false;
}

bool log_link_hand(int end, struct log_sink *const sinks[LOG_FDS])
{
    union room room = { .bytes = "" };
    int fds[LOG_FDS];
    char numbers[LOG_FDS];
    size_t count = 0;

    for (size_t i = 0; i < LOG_FDS; i++) {
        if (!sinks[i] || !log_sink_is_file(log_sink_name(sinks[i])))
            continue;
        fds[count] = log_sink_fd(sinks[i]);
        numbers[count++] = (char)i;
    }
    if (count == 0)
        return true;
    struct iovec text = { .iov_base = numbers, .iov_len = count };
    struct msghdr message = { .msg_iov = &text,
                              .msg_iovlen = 1,
                              .msg_control = room.bytes,
                              .msg_controllen = CMSG_SPACE(count * sizeof(int)) };
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(head), fds, count * sizeof(int));
    return sendmsg(end, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

/* One message; how many descriptors came with it, or 0: there is none. */
static size_t receive(int end, int fds[LOG_FDS], char numbers[LOG_FDS])
{
    union room room;
    struct iovec text = { .iov_base = numbers, .iov_len = LOG_FDS };
    struct msghdr message = { .msg_iov = &text,
                              .msg_iovlen = 1,
                              .msg_control = room.bytes,
                              .msg_controllen = sizeof(room.bytes) };
    ssize_t length = recvmsg(end, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    if (length <= 0)
        return 0;
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    if (!head || head->cmsg_type != SCM_RIGHTS)
        return 0;
    size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(fds, CMSG_DATA(head), count * sizeof(int));
    return count;
}

void log_link_take(int end, struct log_sink *const sinks[LOG_FDS],
                   bool ret_taken[LOG_FDS])
{
    int fds[LOG_FDS];
    char numbers[LOG_FDS];
    size_t count;

    while ((count = receive(end, fds, numbers)) > 0)
        for (size_t i = 0; i < count; i++) {
            size_t number = (size_t)numbers[i];

            if (number < LOG_FDS && sinks[number])
                ret_taken[number] = log_sink_adopt(sinks[number], fds[i]) == 0;
            else
                close(fds[i]);
        }
}
