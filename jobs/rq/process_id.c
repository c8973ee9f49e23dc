/*
 * process_id.c - see process_id.h. Linux: /proc.
 */
#include "jobs/rq/process_id.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The file's first line, without its end. False when it cannot be read. */
static bool read_line(const char *path, char *line, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    ssize_t got = read(fd, line, size - 1);
    close(fd);
    if (got <= 0)
        return false;
    line[got] = '\0';
    line[strcspn(line, "\n")] = '\0';
    return true;
}

void process_home(char ret[PROCESS_HOME_SIZE])
{
    char boot[48] = "";
    char space[40] = "";

    if (!read_line("/proc/sys/kernel/random/boot_id", boot, sizeof(boot)))
        boot[0] = '\0';
    ssize_t got = readlink("/proc/self/ns/pid", space, sizeof(space) - 1);
    space[got > 0 ? got : 0] = '\0';
    snprintf(ret, PROCESS_HOME_SIZE, "%s %s", boot, space);
}

unsigned long long process_started(pid_t pid)
{
    char path[64];
    char line[1024];

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (!read_line(path, line, sizeof(line)))
        return 0;
    /* The command's name stands in brackets and may hold anything: look behind it.
     * There come the state, and 19 fields later the start time. */
    const char *field = strrchr(line, ')');
    if (!field || strlen(field) < 3)
        return 0;
    field += 2;
    /* Dead already, only not yet reaped. */
    if (*field == 'Z' || *field == 'X')
        return 0;
    for (int i = 0; i < 19 && field; i++)
        field = strchr(field + 1, ' ');
    return field ? strtoull(field, NULL, 10) : 0;
}

/* It is there, but /proc does not show it (hidepid, ProtectProc): another user's. */
static bool is_hidden(pid_t pid)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    return access(path, R_OK) < 0 && (kill(pid, 0) == 0 || errno == EPERM);
}

bool process_is_dead(const char *home, const char *pid, const char *started)
{
    char own[PROCESS_HOME_SIZE];
    long number = strtol(pid, NULL, 10);

    process_home(own);
    if (strcmp(home, own) != 0 || number <= 0 || !*started)
        return false;
    unsigned long long found = process_started((pid_t)number);
    if (found == 0 && is_hidden((pid_t)number))
        return false;
    return found != strtoull(started, NULL, 10);
}
