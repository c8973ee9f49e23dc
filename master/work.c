/*
 * work.c - see work.h: the master with one pool, no listener, no service, no control
 * socket. It ends when it is told to, or when all of its consumers have ended for good.
 */
#include "master/work.h"
#include "common/buf.h"
#include "common/log.h"
#include "master/master.h"
#include "master/serve.h"
#include "master/title.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POOL "jobs.pools.work."

/* As RQ's own where it has them; each is an option of a pool. */
static const struct {
    const char *name, *letter;
    const char *field;
    bool is_flag;
} options_table[] = {
    { "--burst", "-b", "burst", true },
    { "--consumers", "-n", "consumers", false },
    { "--max-idle-time", NULL, "max_idle_time", false },
    { "--max-jobs", NULL, "max_jobs", false },
    { "--queue", NULL, NULL, false },
    { "--strategy", NULL, "strategy", false },
};
#define OPTION_COUNT (sizeof(options_table) / sizeof(options_table[0]))

/* Everything a pool has, so that nothing of one in the file shows through; what was
 * said comes behind. */
static const char *const defaults[] = {
    POOL "consumers=1", POOL "strategy=default", POOL "burst=false",
    POOL "max_jobs=0",  POOL "max_idle_time=0",  POOL "user=",
};
#define DEFAULT_COUNT (sizeof(defaults) / sizeof(defaults[0]))

struct line {
    const char *sets[CLI_SETS_MAX + DEFAULT_COUNT + 2 * CLI_WORDS_MAX];
    size_t set_count;
    struct buf texts[CLI_WORDS_MAX];
    size_t text_count;
    struct buf queues;
};

_Noreturn static void usage(const char *what, const char *word)
{
    fprintf(stderr, "forkmark jobs work: %s%s; see forkmark jobs work --help\n", what,
            word);
    exit(2);
}

static void add_set(struct line *line, const char *field, const char *value)
{
    struct buf *text = &line->texts[line->text_count++];

    buf_addf(text, POOL "%s=%s", field, value);
    line->sets[line->set_count++] = buf_text(text);
}

static void add_queue(struct line *line, const char *name)
{
    buf_addf(&line->queues, "%s%s", line->queues.length > 0 ? "," : "", name);
}

/* Takes the option at words[*at], and its value. */
static void take_option(struct line *line, char *const *words, size_t *at)
{
    const char *word = words[*at];

    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (strcmp(word, options_table[i].name) != 0 &&
            !(options_table[i].letter && strcmp(word, options_table[i].letter) == 0))
            continue;
        if (options_table[i].is_flag) {
            add_set(line, options_table[i].field, "true");
            return;
        }
        if (!words[*at + 1])
            usage("a value is missing behind ", word);
        ++*at;
        if (options_table[i].field)
            add_set(line, options_table[i].field, words[*at]);
        else
            add_queue(line, words[*at]);
        return;
    }
    usage("there is no option ", word);
}

static void read_line(struct line *line, const struct arguments *arguments)
{
    for (size_t i = 0; i < arguments->set_count; i++)
        line->sets[line->set_count++] = arguments->sets[i];
    for (size_t i = 0; i < DEFAULT_COUNT; i++)
        line->sets[line->set_count++] = defaults[i];
    for (size_t i = 1; i < arguments->word_count; i++) {
        if (arguments->words[i][0] == '-')
            take_option(line, arguments->words, &i);
        else
            add_queue(line, arguments->words[i]);
    }
    add_set(line, "queues",
            line->queues.length > 0 ? buf_text(&line->queues) : "high,default,low");
}

static void free_line(struct line *line)
{
    for (size_t i = 0; i < line->text_count; i++)
        buf_done(&line->texts[i]);
    buf_done(&line->queues);
}

/* The exit status of a pool that runs until nobody is left in it. */
static int run(struct master *m, const struct setup *setup, int consumers)
{
    m->account = setup->account;
    m->phase = PHASE_SERVING;
    struct pool *pool = pool_add(m, &role_consumer, "work", consumers);

    while (m->phase != PHASE_GONE) {
        master_turn(m, 1000);
        if (m->phase == PHASE_SERVING && pool->wanted == 0 && pools_left(m) == 0)
            stop_begin(m, false);
    }
    return m->exit_status;
}

int work(const struct arguments *arguments)
{
    static struct master master; /* found by the leak checker in every child */
    struct conf_input input = arguments->input;
    struct line line = { 0 };
    struct setup setup;
    int consumers = 0;

    read_line(&line, arguments);
    input.sets = line.sets;
    setup_load(&input, &setup);
    free_line(&line);
    setup_choose(&setup);
    setup_complete(&setup);
    for (size_t i = 0; i < setup.options->jobs.pool_count; i++) {
        const struct pool_options *pool = &setup.options->jobs.pools[i];

        if (strcmp(pool->name, "work") == 0)
            consumers = conf_count_value(&pool->consumers);
    }
    log_open("-", (enum log_format)setup.options->log.format,
             (enum log_level)setup.options->log.level);
    master_init(&master, setup.options, 2 * (size_t)consumers + 2);
    title_set("forkmark: jobs work");
    int status = run(&master, &setup, consumers);
    options_free(master.options);
    master_done(&master);
    return status;
}
