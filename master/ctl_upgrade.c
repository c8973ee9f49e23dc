/*
 * ctl_upgrade.c - see ctl_upgrade.h.
 *
 * By asking again and again: the connection that began it ends with the program that
 * took it, and for a moment nobody may listen.
 */
#include "master/ctl_upgrade.h"
#include "common/buf.h"
#include "common/clock.h"
#include "master/ctl.h"
#include "master/status.h"
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define ASK_EVERY_MS 50
/* Nobody answers for so long: there is no server any more. */
#define PATIENCE_MS 60000

static void pause_between(void)
{
    nanosleep(&(struct timespec){ .tv_nsec = ASK_EVERY_MS * 1000000L }, NULL);
}

enum outcome { GOES_ON, DONE, FAILED };

static enum outcome judge(const cJSON *status, int pid, bool completes)
{
    const cJSON *upgrade = cJSON_GetObjectItemCaseSensitive(status, "upgrade");
    const char *stage = status_word(upgrade, "stage"),
               *failure = status_word(upgrade, "failure");
    bool is_same = (int)status_number(status, "pid") == pid;

    if (*failure && !*stage) {
        fprintf(stderr, "the upgrade failed: %s\n", failure);
        return FAILED;
    }
    if (strcmp(status_word(status, "phase"), "serving") != 0)
        return GOES_ON;
    if (completes && is_same && strstr(stage, "beside"))
        return GOES_ON;
    if (*stage && !(is_same && strcmp(stage, "beside the new master") == 0))
        return GOES_ON;
    if (*stage)
        printf("forkmark %s serves beside this master, pid %.0f\n",
               status_word(upgrade, "version"), status_number(upgrade, "other"));
    else
        printf("forkmark %s serves, pid %.0f\n", status_word(status, "version"),
               status_number(status, "pid"));
    return DONE;
}

int ctl_upgrade_wait(const char *socket_path, int pid, int completes)
{
    static const char *const words[] = { "status", NULL };
    uint64_t heard_ms = clock_ms();

    for (;;) {
        struct buf error = BUF_HEAP;
        cJSON *answer = ctl_ask(socket_path, words, &error);
        enum outcome outcome = GOES_ON;

        if (answer) {
            heard_ms = clock_ms();
            outcome = judge(cJSON_GetObjectItemCaseSensitive(answer, "data"), pid,
                            completes != 0);
        }
        cJSON_Delete(answer);
        if (outcome == GOES_ON && clock_ms() - heard_ms > PATIENCE_MS) {
            fprintf(stderr, "forkmark ctl: %s\n", buf_text(&error));
            outcome = FAILED;
        }
        buf_done(&error);
        if (outcome != GOES_ON)
            return outcome == DONE ? 0 : 1;
        pause_between();
    }
}
