/*
 * autopsy.c - see autopsy.h.
 */
#include "master/autopsy.h"
#include "common/buf.h"
#include "common/log.h"
#include "common/scoreboard.h"
#include <execinfo.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Less of a processor than this is none. */
#define SPIN_PERCENT 10

/* The first line of a file below /proc, without its end; "" when there is none. */
static const char *first_line(const char *path, char *room, size_t size)
{
    FILE *file = fopen(path, "re");

    room[0] = '\0';
    if (!file)
        return room;
    if (!fgets(room, (int)size, file))
        room[0] = '\0';
    fclose(file);
    room[strcspn(room, "\n")] = '\0';
    return room;
}

static const char *proc_line(pid_t pid, const char *name, char *room, size_t size)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    return first_line(path, room, size);
}

/* The word of that number, from 0 on, in a line of words; "" past its end. */
static const char *word_of(const char *line, int number)
{
    for (; number > 0; number--) {
        line += strcspn(line, " ");
        line += strspn(line, " ");
    }
    return line;
}

/* The number behind `key` at the beginning of a line of that file; 0: not there. */
static uint64_t number_behind(const char *path, const char *key)
{
    FILE *file = fopen(path, "re");
    char line[256];
    uint64_t number = 0;

    while (file && fgets(line, sizeof(line), file))
        if (strncmp(line, key, strlen(key)) == 0)
            number = strtoull(line + strlen(key), NULL, 10);
    if (file)
        fclose(file);
    return number;
}

/* proc(5): behind the name, which may hold anything, the 1st word is the state, and the
 * 12th and 13th are the times. */
bool vital_read(pid_t pid, uint64_t now_ms, struct vital *ret)
{
    char line[512];

    proc_line(pid, "stat", line, sizeof(line));
    const char *after = strrchr(line, ')');
    if (!after || !*word_of(after, 13))
        return false;
    uint64_t ticks =
        strtoull(word_of(after, 12), NULL, 10) + strtoull(word_of(after, 13), NULL, 10);
    ret->state = *word_of(after, 1);
    ret->cpu_ms = ticks * 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
    ret->at_ms = now_ms;
    return true;
}

enum hang hang_kind(const struct vital *before, const struct vital *now)
{
    uint64_t cpu = now->cpu_ms - before->cpu_ms, wall = now->at_ms - before->at_ms;

    if (now->state == 'T' || now->state == 't')
        return HANG_STOPPED;
    if (cpu * 100 >= wall * SPIN_PERCENT && cpu > 0)
        return HANG_SPINNING;
    return now->state == 'R' ? HANG_STARVED : HANG_BLOCKED;
}

void hang_describe(pid_t pid, const struct vital *before, const struct vital *now,
                   struct buf *out)
{
    static const char *const kinds[] = {
        [HANG_BLOCKED] = "blocked in a system call",
        [HANG_SPINNING] = "spinning",
        [HANG_STOPPED] = "stopped by a signal or a debugger",
        [HANG_STARVED] = "not given a processor",
    };
    char channel[64], call[64];

    buf_addf(out, "%s (%.2f s of processor in the last %.1f s, state %c",
             kinds[hang_kind(before, now)], (double)(now->cpu_ms - before->cpu_ms) / 1000,
             (double)(now->at_ms - before->at_ms) / 1000, now->state);
    proc_line(pid, "wchan", channel, sizeof(channel));
    if (*channel && strcmp(channel, "0") != 0)
        buf_addf(out, ", kernel wait channel %s", channel);
    proc_line(pid, "syscall", call, sizeof(call));
    if (*call >= '0' && *call <= '9')
        buf_addf(out, ", system call %.*s", (int)strcspn(call, " "), call);
    buf_addc(out, ')');
}

/*
 * The main thread is asked: others of the process wait for work and know nothing. One
 * that is stopped takes the signal first when it goes on, before anything else.
 */
void autopsy_ask(pid_t pid, bool is_stopped)
{
    syscall(SYS_tgkill, pid, pid, SIGUSR2);
    if (is_stopped)
        kill(pid, SIGCONT);
}

/* Whether "memory" is among the words that commas part, up to a colon. */
static bool has_memory(const char *words)
{
    for (;; words++) {
        size_t length = strcspn(words, ",:\n");

        if (length == strlen("memory") && strncmp(words, "memory", length) == 0)
            return true;
        words += length;
        if (*words != ',')
            return false;
    }
}

/*
 * "4:memory:/a" (version 1) or "0::/a" (version 2) to the file that counts; cgroups(7).
 * In a container without a namespace of its own the path is the host's, and the folder
 * that is seen at the top is ours.
 */
static bool find_counter(const char *line, char *path, size_t room)
{
    const char *words = strchr(line, ':'),
               *folder = words ? strchr(words + 1, ':') : NULL;
    bool is_v2 = folder == words + 1;

    if (!folder || (!is_v2 && !has_memory(words + 1)))
        return false;
    const char *top = is_v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    const char *file = is_v2 ? "memory.events" : "memory.oom_control";
    snprintf(path, room, "%s%.*s/%s", top, (int)strcspn(folder + 1, "\n"), folder + 1,
             file);
    if (access(path, R_OK) == 0)
        return true;
    snprintf(path, room, "%s/%s", top, file);
    return access(path, R_OK) == 0;
}

uint64_t autopsy_oom_kills(void)
{
    FILE *file = fopen("/proc/self/cgroup", "re");
    char line[512], path[640];
    uint64_t kills = 0;
    bool is_found = false;

    while (file && !is_found && fgets(line, sizeof(line), file))
        if ((is_found = find_counter(line, path, sizeof(path))))
            kills = number_behind(path, "oom_kill ");
    if (file)
        fclose(file);
    return kills;
}

void autopsy_usage(const struct rusage *usage, struct buf *out)
{
    buf_addf(out, "user %.2f s, system %.2f s, %.1f MB at most",
             (double)usage->ru_utime.tv_sec + (double)usage->ru_utime.tv_usec / 1e6,
             (double)usage->ru_stime.tv_sec + (double)usage->ru_stime.tv_usec / 1e6,
             (double)usage->ru_maxrss / 1024);
}

/* Children are forked, not executed: their addresses mean the same here. */
void autopsy_log_stack(struct board_slot *slot, const char *name)
{
    int count = atomic_load(&slot->frame_count);

    if (count <= 0 || count > BOARD_FRAMES)
        return;
    char **symbols = backtrace_symbols(slot->frames, count);
    for (int i = 0; symbols && i < count; i++)
        log_error("%s: #%d %s", name, i, symbols[i]);
    free((void *)symbols);
}

static uint64_t pss_of(pid_t pid)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    return number_behind(path, "Pss:") * 1024;
}

static uint64_t rss_of(pid_t pid)
{
    char line[256];

    proc_line(pid, "statm", line, sizeof(line));
    return strtoull(word_of(line, 1), NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

struct memory memory_read(pid_t pid)
{
    return (struct memory){ .pss = pss_of(pid), .rss = rss_of(pid) };
}

uint64_t memory_of(pid_t pid)
{
    uint64_t pss = pss_of(pid);

    return pss > 0 ? pss : rss_of(pid);
}
