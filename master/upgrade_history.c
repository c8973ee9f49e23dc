/*
 * upgrade_history.c - what has been counted, and what has happened, outlives an upgrade.
 *
 * In place both stand in the state (upgrade_state.c), so far as they had come then: what
 * children of the former program still count while they drain is lost.
 *
 * Side by side there is a memory file that both masters have open. The new one begins
 * with what stands there. Whoever ends first leaves there what it has counted since, for
 * the one that stays. Until that is complete the file does not begin with FINAL, and one
 * that was killed leaves nothing.
 */
#include "common/buf.h"
#include "common/log.h"
#include "common/scoreboard_history.h"
#include "master/events.h"
#include "master/master.h"
#include "master/upgrade.h"
#include "master/upgrade_parts.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FINAL "final\n"
/* As long, and no line of anything. */
#define NOT_YET "begin\n"

void upgrade_write_history(struct master *m, struct buf *out)
{
    static const struct board_history nothing;
    struct board_history now;

    board_history_take(m->board, &now);
    board_history_write(&now, &nothing, out);
    events_write(0, out);
}

void upgrade_take_history(struct master *m, char *text)
{
    struct board_history history = { .kills = 0 };
    char *save = NULL;

    for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save))
        if (!board_history_read(&history, line))
            events_read(line);
    board_history_add(m->board, &history);
}

/* ---- side by side ---- */

/* What is counted from now on is this master's own. */
static void begin_own(struct master *m)
{
    board_history_take(m->board, &m->upgrade.counted);
    m->upgrade.events = events_count();
}

static bool write_at(int fd, const char *data, size_t length, off_t at)
{
    while (length > 0) {
        ssize_t written = pwrite(fd, data, length, at);

        if (written <= 0)
            return false;
        data += written;
        length -= (size_t)written;
        at += written;
    }
    return true;
}

void upgrade_share_history(struct master *m)
{
    struct upgrade *upgrade = &m->upgrade;
    struct buf text = BUF_HEAP;

    begin_own(m);
    buf_adds(&text, NOT_YET);
    upgrade_write_history(m, &text);
    upgrade->history = memfd_create("forkmark-history", MFD_CLOEXEC);
    if (upgrade->history < 0 || !write_at(upgrade->history, text.data, text.length, 0))
        log_warn("the new master counts from nothing: %s", strerror(errno));
    buf_done(&text);
}

static void read_all(int fd, struct buf *ret)
{
    char chunk[4096];
    ssize_t got;

    while ((got = pread(fd, chunk, sizeof(chunk), (off_t)ret->length)) > 0)
        buf_add(ret, chunk, (size_t)got);
}

void upgrade_adopt_history(struct master *m, int fd)
{
    struct buf text = BUF_HEAP;

    m->upgrade.history = fd;
    read_all(fd, &text);
    upgrade_take_history(m, text.data);
    buf_done(&text);
    begin_own(m);
}

void upgrade_leave_history(struct master *m)
{
    struct upgrade *upgrade = &m->upgrade;
    struct board_history now;
    struct buf text = BUF_HEAP;

    if (upgrade->history < 0 || upgrade->link.fd < 0)
        return;
    board_history_take(m->board, &now);
    board_history_write(&now, &upgrade->counted, &text);
    events_write(upgrade->events, &text);
    /* The first word last. */
    if (ftruncate(upgrade->history, 0) == 0 &&
        write_at(upgrade->history, buf_text(&text), text.length, strlen(FINAL)))
        write_at(upgrade->history, FINAL, strlen(FINAL), 0);
    buf_done(&text);
}

void upgrade_end_history(struct master *m)
{
    struct buf text = BUF_HEAP;

    if (m->upgrade.history < 0)
        return;
    read_all(m->upgrade.history, &text);
    if (strncmp(buf_text(&text), FINAL, strlen(FINAL)) == 0)
        upgrade_take_history(m, text.data + strlen(FINAL));
    buf_done(&text);
    close(m->upgrade.history);
    m->upgrade.history = -1;
}
