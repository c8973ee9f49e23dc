/*
 * title.c - see title.h.
 *
 * The kernel puts the arguments and then the environment into one run of memory,
 * and shows it up to the end of the arguments, or, when their closing NUL is gone,
 * on into the environment. So that run is the room for a title.
 */
#include "master/title.h"
#include "common/log.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static struct {
    char *start;
    size_t room;
} area;

/* The end of the run that starts at `end`, if `text` is its continuation. */
static char *extend(char *end, char *text)
{
    return text == end ? text + strlen(text) + 1 : end;
}

static char **copy_texts(char **texts, size_t count)
{
    char **copy = calloc(count + 1, sizeof(*copy));

    if (!copy)
        fatal("out of memory for arguments and environment");
    for (size_t i = 0; i < count; i++)
        if (!(copy[i] = strdup(texts[i])))
            fatal("out of memory for arguments and environment");
    return copy;
}

char **title_init(int argc, char **argv)
{
    static char **arguments, **variables; /* kept for good, whatever is unset */
    char *end = argv[0];
    size_t count = 0;

    for (int i = 0; i < argc; i++)
        end = extend(end, argv[i]);
    for (; environ[count]; count++)
        end = extend(end, environ[count]);
    arguments = copy_texts(argv, (size_t)argc);
    variables = copy_texts(environ, count);
    environ = calloc(count + 1, sizeof(*environ));
    if (!environ)
        fatal("out of memory for arguments and environment");
    memcpy(environ, variables, count * sizeof(*environ));
    area.start = argv[0];
    area.room = (size_t)(end - argv[0]);
    return arguments;
}

void title_set(const char *title)
{
    char name[16];

    /* 15 characters: "forkmark:worker", which pgrep forkmark still finds. */
    snprintf(name, sizeof(name), "forkmark:%s",
             strncmp(title, "forkmark: ", 10) == 0 ? title + 10 : title);
    if (strchr(name, ' '))
        *strchr(name, ' ') = '\0';
    prctl(PR_SET_NAME, name);

    if (area.room < 2)
        return;
    size_t length = strnlen(title, area.room - 1);
    memset(area.start, 0, area.room);
    memcpy(area.start, title, length);
}
