/*
 * cli_text.c - see cli_text.h.
 */
#include "jobs/cli_text.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/task.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#define ELLIPSIS    "\xe2\x80\xa6"
#define REPLACEMENT "\xef\xbf\xbd"

/* ---- paper ---- */

static bool has_colours(void)
{
    const char *taste = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");

    return isatty(STDOUT_FILENO) && !(taste && *taste) && terminal &&
           strcmp(terminal, "dumb") != 0;
}

void cli_paper_init(struct cli_paper *paper, struct buf *out)
{
    struct winsize size;

    *paper = (struct cli_paper){ .out = out, .has_colours = has_colours() };
    if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
        paper->width = size.ws_col;
}

static const char *const colours[] = {
    [CLI_PLAIN] = "",       [CLI_BOLD] = "\033[1m",   [CLI_DIM] = "\033[2m",
    [CLI_RED] = "\033[31m", [CLI_GREEN] = "\033[32m", [CLI_YELLOW] = "\033[33m",
};

/* Line ends stay outside: a colour is over before the next line begins. */
static void add_coloured(struct cli_paper *paper, enum cli_colour colour,
                         const char *text)
{
    size_t length = strlen(text);
    size_t end = length;

    while (end > 0 && text[end - 1] == '\n')
        end--;
    size_t begin = strspn(text, "\n");
    if (!paper->has_colours || colour == CLI_PLAIN || begin >= end) {
        buf_add(paper->out, text, length);
        return;
    }
    buf_addf(paper->out, "%.*s%s%.*s\033[0m%s", (int)begin, text, colours[colour],
             (int)(end - begin), text + begin, text + end);
}

void cli_write(struct cli_paper *paper, enum cli_colour colour, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add_coloured(paper, colour, arena_vprintf(task_arena(), format, args));
    va_end(args);
}

/* ---- texts ---- */

/* One character of UTF-8 at `text`: its length and value; 0 when it is none. */
static size_t read_character(const char *text, size_t length, uint32_t *ret)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    unsigned char first = (unsigned char)text[0];
    size_t size = first < 0x80   ? 1
                  : first < 0xc2 ? 0
                  : first < 0xe0 ? 2
                  : first < 0xf0 ? 3
                  : first < 0xf5 ? 4
                                 : 0;
    uint32_t value = size <= 1 ? first : first & (0xffU >> (size + 1));

    if (size == 0 || size > length)
        return 0;
    for (size_t i = 1; i < size; i++) {
        if (((unsigned char)text[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | ((unsigned char)text[i] & 0x3f);
    }
    if (value < least[size] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
        return 0;
    *ret = value;
    return size;
}

/* Also those that turn the direction of writing, or hide. */
static bool is_harmless(uint32_t c)
{
    return c >= 0x20 && !(c >= 0x7f && c < 0xa0) && !(c >= 0x200b && c <= 0x200f) &&
           !(c >= 0x2028 && c <= 0x202e) && !(c >= 0x2060 && c <= 0x206f) && c != 0xfeff;
}

static void add_escape(struct buf *out, uint32_t c)
{
    if (c == '\n')
        buf_adds(out, "\\n");
    else if (c == '\t')
        buf_adds(out, "\\t");
    else if (c == '\r')
        buf_adds(out, "\\r");
    else if (c < 0x100)
        buf_addf(out, "\\x%02x", (unsigned)c);
    else
        buf_addf(out, "\\u%04x", (unsigned)c);
}

const char *cli_clean_bytes(const char *text, size_t length)
{
    struct buf out = BUF_IN(task_arena());

    for (size_t at = 0; at < length;) {
        uint32_t c = 0;
        size_t size = read_character(text + at, length - at, &c);

        if (size == 0)
            buf_adds(&out, REPLACEMENT);
        else if (is_harmless(c))
            buf_add(&out, text + at, size);
        else
            add_escape(&out, c);
        at += size > 0 ? size : 1;
    }
    return buf_text(&out);
}

const char *cli_clean(const char *text)
{
    return cli_clean_bytes(text, strlen(text));
}

static int columns_of(uint32_t c)
{
    int width = wcwidth((wchar_t)c);

    return width < 0 ? 1 : width;
}

int cli_columns(const char *text)
{
    size_t left = strlen(text);
    int columns = 0;

    while (left > 0) {
        uint32_t c = 0;
        size_t size = read_character(text, left, &c);

        columns += size > 0 ? columns_of(c) : 1;
        size = size > 0 ? size : 1;
        text += size;
        left -= size;
    }
    return columns;
}

const char *cli_cut(const char *text, int columns)
{
    size_t length = strlen(text);
    size_t at = 0;
    int used = 0;

    if (cli_columns(text) <= columns)
        return text;
    while (at < length) {
        uint32_t c = 0;
        size_t size = read_character(text + at, length - at, &c);
        int width = size > 0 ? columns_of(c) : 1;

        if (used + width > columns - 1)
            break;
        used += width;
        at += size > 0 ? size : 1;
    }
    return arena_printf(task_arena(), "%.*s" ELLIPSIS, (int)at, text);
}

/* ---- times ---- */

const char *cli_span(double seconds)
{
    struct arena *arena = task_arena();

    if (seconds < 0)
        return "-";
    if (seconds < 0.9995)
        return arena_printf(arena, "%.0f ms", seconds * 1000);
    if (seconds < 9.95)
        return arena_printf(arena, "%.1f s", seconds);
    if (seconds < 120)
        return arena_printf(arena, "%.0f s", seconds);
    if (seconds < 7200)
        return arena_printf(arena, "%.0f min", seconds / 60);
    if (seconds < 172800)
        return arena_printf(arena, "%.0f h", seconds / 3600);
    return arena_printf(arena, "%.0f d", seconds / 86400);
}

/* A clock that is behind the writer's must not make it "-". */
double cli_seconds_since(int64_t unix_us)
{
    double seconds = (double)(clock_unix_us() - unix_us) / 1e6;

    return seconds > 0 ? seconds : 0;
}

/* Ages are read at a glance: no fractions. */
const char *cli_age(int64_t unix_us)
{
    double seconds = cli_seconds_since(unix_us);

    if (unix_us == 0)
        return "-";
    return seconds < 10 ? arena_printf(task_arena(), "%d s", (int)seconds)
                        : cli_span(seconds);
}

const char *cli_moment(int64_t unix_us)
{
    char iso[CLOCK_TEXT_SIZE];

    if (unix_us == 0)
        return "-";
    clock_iso(unix_us, iso);
    return arena_printf(task_arena(), "%.10s %.8s UTC", iso, iso + 11);
}

/* ---- tables ---- */

struct cli_cell {
    const char *text; /* clean */
    enum cli_colour colour;
};

void cli_cell(struct cli_table *table, const char *text, enum cli_colour colour)
{
    if (table->count == table->room) {
        size_t room = table->room > 0 ? table->room * 2 : 64;

        table->cells =
            arena_grow(task_arena(), table->cells, table->room * sizeof(*table->cells),
                       room * sizeof(*table->cells));
        table->room = room;
    }
    table->cells[table->count++] =
        (struct cli_cell){ .text = cli_clean(text), .colour = colour };
}

void cli_cell_number(struct cli_table *table, long long number, enum cli_colour colour)
{
    cli_cell(table, arena_printf(task_arena(), "%lld", number),
             number == 0 ? CLI_DIM : colour);
}

static int *measure(const struct cli_table *table)
{
    int *widths = arena_array(task_arena(), table->column_count, sizeof(*widths));

    assert(table->column_count > 0);
    for (size_t i = 0; i < table->column_count; i++)
        widths[i] = cli_columns(table->columns[i].title);
    for (size_t i = 0; i < table->count; i++) {
        int width = cli_columns(table->cells[i].text);

        if (width > widths[i % table->column_count])
            widths[i % table->column_count] = width;
    }
    return widths;
}

static void pad(struct cli_paper *paper, int columns)
{
    for (int i = 0; i < columns; i++)
        buf_addc(paper->out, ' ');
}

static void write_row(const struct cli_table *table, const int *widths,
                      struct cli_paper *paper, const struct cli_cell *cells)
{
    int used = 0;

    for (size_t i = 0; i < table->column_count; i++) {
        bool is_last = i + 1 == table->column_count;
        const char *text = cells[i].text;
        int gap = i > 0 ? 2 : 0;

        if (is_last && paper->width > used + gap + 8)
            text = cli_cut(text, paper->width - used - gap);
        int blank = widths[i] - cli_columns(text);
        pad(paper, gap + (table->columns[i].is_number ? blank : 0));
        add_coloured(paper, cells[i].colour, text);
        if (!is_last && !table->columns[i].is_number)
            pad(paper, blank);
        used += gap + widths[i];
    }
    buf_addc(paper->out, '\n');
}

void cli_table_write(const struct cli_table *table, struct cli_paper *paper)
{
    struct cli_cell *titles =
        arena_array(task_arena(), table->column_count, sizeof(*titles));
    int *widths = measure(table);

    for (size_t i = 0; i < table->column_count; i++)
        titles[i] = (struct cli_cell){ table->columns[i].title, CLI_BOLD };
    write_row(table, widths, paper, titles);
    for (size_t i = 0; i + table->column_count <= table->count; i += table->column_count)
        write_row(table, widths, paper, &table->cells[i]);
}
