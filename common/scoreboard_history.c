/*
 * scoreboard_history.c - see scoreboard_history.h.
 */
#include "common/scoreboard_history.h"
#include "common/buf.h"
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LINE_WORD "count "

/* What all roles have in common stands under the first of them, which nobody has. */
static const struct {
    const char *name;
    size_t offset; /* in struct board_history */
} common[] = {
    { "kills", offsetof(struct board_history, kills) },
    { "restarts", offsetof(struct board_history, restarts) },
    { "reloads", offsetof(struct board_history, reloads) },
    { "reload_failures", offsetof(struct board_history, reload_failures) },
};
#define COMMON_COUNT (sizeof(common) / sizeof(common[0]))

#define BY_REASON "restarts_by"

/* The numbers of that name and role, and how many they are; NULL: there are none. */
static const void *find(const struct board_history *history, const char *name,
                        size_t length, int role, size_t *ret_count)
{
    const char *at = (const char *)history;

    if (role < 0 || role >= BOARD_ROLES)
        return NULL;
    for (size_t i = 0; role == BOARD_NONE && i < COMMON_COUNT; i++)
        if (strlen(common[i].name) == length &&
            memcmp(common[i].name, name, length) == 0) {
            *ret_count = 1;
            return at + common[i].offset;
        }
    if (length == strlen(BY_REASON) && memcmp(name, BY_REASON, length) == 0) {
        *ret_count = BOARD_RESTARTS;
        return history->restarts_by[role];
    }
    for (const struct board_growing *row = board_growing; row->name; row++)
        if (strlen(row->name) == length && memcmp(row->name, name, length) == 0) {
            *ret_count = row->count;
            return (const char *)&history->totals.of[role] + row->offset;
        }
    return NULL;
}

static uint64_t number_at(const void *numbers, size_t i)
{
    uint64_t number;

    /* A copy, which nobody else writes: what was atomic is a plain number here. */
    memcpy(&number, (const char *)numbers + i * sizeof(number), sizeof(number));
    return number;
}

void board_history_take(struct scoreboard *board, struct board_history *ret)
{
    struct board_shared *shared = board_shared(board);

    memset(ret, 0, sizeof(*ret));
    board_sum(board, &ret->totals);
    ret->kills = shared->kills;
    ret->restarts = shared->restarts;
    ret->reloads = shared->reloads;
    ret->reload_failures = shared->reload_failures;
    for (int role = 0; role < BOARD_ROLES; role++)
        for (int reason = 0; reason < BOARD_RESTARTS; reason++)
            ret->restarts_by[role][reason] = shared->restarts_by[role][reason];
}

static void write_row(const struct board_history *now, const struct board_history *before,
                      const char *name, int role, struct buf *out)
{
    size_t count = 0;
    const void *is = find(now, name, strlen(name), role, &count);
    const void *was = find(before, name, strlen(name), role, &count);
    bool has_grown = false;

    for (size_t i = 0; i < count; i++)
        has_grown |= number_at(is, i) != number_at(was, i);
    if (!has_grown)
        return;
    buf_addf(out, LINE_WORD "%s %d", name, role);
    for (size_t i = 0; i < count; i++)
        buf_addf(out, " %" PRIu64, number_at(is, i) - number_at(was, i));
    buf_addc(out, '\n');
}

void board_history_write(const struct board_history *now,
                         const struct board_history *before, struct buf *out)
{
    for (size_t i = 0; i < COMMON_COUNT; i++)
        write_row(now, before, common[i].name, BOARD_NONE, out);
    for (int role = 0; role < BOARD_ROLES; role++) {
        write_row(now, before, BY_REASON, role, out);
        for (const struct board_growing *row = board_growing; row->name; row++)
            write_row(now, before, row->name, role, out);
    }
}

bool board_history_read(struct board_history *history, const char *line)
{
    size_t count = 0;

    if (strncmp(line, LINE_WORD, strlen(LINE_WORD)) != 0)
        return false;
    const char *name = line + strlen(LINE_WORD);
    size_t length = strcspn(name, " ");
    char *at;
    int role = (int)strtol(name + length, &at, 10);
    /* Ours to write to, whatever find() promises in general. */
    char *numbers = (char *)find(history, name, length, role, &count);
    for (size_t i = 0; numbers && i < count; i++) {
        at += strspn(at, " ");
        if (!isdigit((unsigned char)*at))
            break;
        uint64_t sum = number_at(numbers, i) + strtoull(at, &at, 10);
        memcpy(numbers + i * sizeof(sum), &sum, sizeof(sum));
    }
    return numbers != NULL;
}

void board_history_add(struct scoreboard *board, const struct board_history *history)
{
    struct board_shared *shared = board_shared(board);

    board_add_past(board, &history->totals);
    shared->kills += history->kills;
    shared->restarts += history->restarts;
    shared->reloads += history->reloads;
    shared->reload_failures += history->reload_failures;
    for (int role = 0; role < BOARD_ROLES; role++)
        for (int reason = 0; reason < BOARD_RESTARTS; reason++)
            shared->restarts_by[role][reason] += history->restarts_by[role][reason];
}
