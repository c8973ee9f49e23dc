/*
 * cli_info.c - `forkmark jobs info`: the whole state at a glance, once or again and
 * again, and how fast jobs come and go.
 *
 * Redis keeps no rates. Each consumer counts what it has done, so one look gives the
 * average of their lives; --watch compares looks, at most a minute apart, and then
 * knows how many jobs have arrived, too: what is held now and was not before, and
 * what was done in between.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/task.h"
#include "jobs/cli_parts.h"
#include "jobs/rq/scripts.h"
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define WINDOW_MS   60000
#define APART_MS    1000 /* looks that are nearer than that are not all kept */
#define YOUNG_S     1.0  /* nothing is said of the average of a shorter life */
#define SUSPENDED   "SUSPENDED%s: nobody starts a job until `forkmark jobs resume`.\n\n"
#define NOT_EXPIRES (-1)
#define NOT_THERE   (-2)

/* What one look saw, for the next ones. In an arena of its own. */
struct look {
    struct arena *arena;
    struct look *older;
    uint64_t at_ms;
    long long held;         /* jobs that wait or run */
    long long done, failed; /* since the first look, also by those who left */
    struct counter {
        const char *name;
        long long done, failed;
    } * counters; /* of each consumer, by name */
    size_t count;
};

struct rates {
    bool is_known, has_arrived;
    bool is_average; /* of lives, not of looks */
    double seconds;
    double done, failed, arrived; /* a minute */
};

struct info {
    struct cli_queue *queues;
    size_t queue_count;
    struct cli_worker *workers;
    size_t worker_count;
    long long suspended; /* seconds, or one of the above */
    struct rates rates;
};

/* ---- rates ---- */

static void look_free(struct look *look)
{
    while (look) {
        struct look *older = look->older;

        arena_free(look->arena);
        look = older;
    }
}

void cli_forget_looks(struct cli *cli)
{
    look_free(cli->looks);
    cli->looks = NULL;
}

static long long held(const struct info *info)
{
    static const enum cli_registry places[] = { CLI_WAITING, CLI_STARTED, CLI_SCHEDULED,
                                                CLI_DEFERRED };
    long long sum = 0;

    for (size_t i = 0; i < info->queue_count; i++) {
        for (size_t k = 0; k < sizeof(places) / sizeof(places[0]); k++)
            sum += info->queues[i].counts[places[k]];
    }
    return sum;
}

static int by_counter_name(const void *a, const void *b)
{
    return strcmp(((const struct counter *)a)->name, ((const struct counter *)b)->name);
}

static struct counter *counter_of(const struct look *look, const char *name)
{
    struct counter key = { .name = name };

    return look->count == 0 ? NULL
                            : bsearch(&key, look->counters, look->count,
                                      sizeof(*look->counters), by_counter_name);
}

static struct look *look_new(const struct info *info)
{
    struct arena *arena = arena_new(0);
    struct look *look = arena_alloc(arena, sizeof(*look));

    *look = (struct look){
        .arena = arena,
        .at_ms = clock_ms(),
        .held = held(info),
        .counters = arena_array(arena, info->worker_count, sizeof(*look->counters)),
        .count = info->worker_count,
    };
    for (size_t i = 0; i < info->worker_count; i++) {
        look->counters[i] = (struct counter){
            .name = arena_strdup(arena, info->workers[i].name),
            .done = info->workers[i].done,
            .failed = info->workers[i].failed,
        };
    }
    return look;
}

/* What those did at the end who have left since: their records outlive them. */
static int add_departed(struct cli *cli, struct look *now, const struct look *before)
{
    for (size_t i = 0; i < before->count; i++) {
        const struct counter *old = &before->counters[i];
        redisReply *last;

        if (counter_of(now, old->name))
            continue;
        int rc = redis_call(cli->redis, &last,
                            "HMGET rq:worker:%s successful_job_count failed_job_count",
                            old->name);
        if (rc < 0)
            return rc;
        if (rq_reply_int(last, 0) >= old->done && rq_reply_int(last, 1) >= old->failed) {
            now->done += rq_reply_int(last, 0) - old->done;
            now->failed += rq_reply_int(last, 1) - old->failed;
        }
    }
    return 0;
}

static int add_up(struct cli *cli, struct look *now, const struct look *before)
{
    now->done = before->done;
    now->failed = before->failed;
    for (size_t i = 0; i < now->count; i++) {
        const struct counter *counter = &now->counters[i];
        const struct counter *old = counter_of(before, counter->name);

        now->done += counter->done - (old ? old->done : 0);
        now->failed += counter->failed - (old ? old->failed : 0);
    }
    return add_departed(cli, now, before);
}

/* One that lies close to both of its neighbours says nothing more than they do. */
static void keep(struct cli *cli, struct look *now)
{
    struct look *last = cli->looks;

    if (last && last->older && last->at_ms - last->older->at_ms < APART_MS) {
        now->older = last->older;
        last->older = NULL;
        look_free(last);
    } else {
        now->older = last;
    }
    cli->looks = now;
    for (struct look *look = now->older; look; look = look->older) {
        if (look->older && now->at_ms - look->older->at_ms > WINDOW_MS) {
            look_free(look->older);
            look->older = NULL;
        }
    }
}

static double a_minute(long long count, double seconds)
{
    return (double)count * 60 / seconds;
}

static struct rates between(const struct cli *cli, const struct look *now)
{
    const struct look *then = now->older;

    while (then->older)
        then = then->older;
    double seconds = (double)(now->at_ms - then->at_ms) / 1000;
    long long done = now->done - then->done;
    long long failed = now->failed - then->failed;
    return (struct rates){
        .is_known = seconds > 0,
        /* Consumers count for all their queues together. */
        .has_arrived = !cli->queue,
        .seconds = seconds,
        .done = a_minute(done, seconds),
        .failed = a_minute(failed, seconds),
        .arrived = a_minute(now->held - then->held + done + failed, seconds),
    };
}

static struct rates average(const struct info *info)
{
    struct rates rates = { .is_average = true };

    for (size_t i = 0; i < info->worker_count; i++) {
        const struct cli_worker *worker = &info->workers[i];
        double life = cli_seconds_since(worker->birth_us);

        if (life < YOUNG_S)
            continue;
        rates.is_known = true;
        rates.done += a_minute(worker->done, life);
        rates.failed += a_minute(worker->failed, life);
        if (life > rates.seconds)
            rates.seconds = life;
    }
    return rates;
}

static int measure(struct cli *cli, struct info *info)
{
    struct look *now;

    info->rates = average(info);
    if (cli->watch_s <= 0)
        return 0;
    now = look_new(info);
    if (cli->looks) {
        int rc = add_up(cli, now, cli->looks);

        if (rc < 0) {
            look_free(now);
            return rc;
        }
    }
    keep(cli, now);
    if (now->older)
        info->rates = between(cli, now);
    return 0;
}

/* ---- reading ---- */

static int read_info(struct cli *cli, struct info *info)
{
    redisReply *ttl;
    int rc = cli_read_queues(cli, &info->queues, &info->queue_count);

    if (rc >= 0)
        rc = cli_read_workers(cli, &info->workers, &info->worker_count);
    if (rc >= 0)
        rc = redis_call(cli->redis, &ttl, "TTL rq:suspended");
    if (rc < 0)
        return rc;
    info->suspended = ttl->integer;
    return measure(cli, info);
}

/* ---- as text ---- */

static void write_queue(struct cli_table *table, const char *name,
                        const long long *counts, int64_t oldest_us)
{
    static const enum cli_colour colours[CLI_REGISTRY_COUNT] = {
        [CLI_STARTED] = CLI_GREEN,
        [CLI_FAILED] = CLI_RED,
    };

    cli_cell(table, name, CLI_PLAIN);
    for (int i = 0; i < CLI_REGISTRY_COUNT; i++)
        cli_cell_number(table, counts[i], colours[i]);
    cli_cell(table, cli_age(oldest_us), CLI_PLAIN);
}

static void write_queues(struct cli *cli, const struct info *info)
{
    struct cli_column columns[CLI_REGISTRY_COUNT + 2] = { { "queue", false } };
    struct cli_table table = { .columns = columns,
                               .column_count = CLI_REGISTRY_COUNT + 2 };
    struct cli_queue all = { .name = "all" };

    for (int i = 0; i < CLI_REGISTRY_COUNT; i++)
        columns[i + 1] = (struct cli_column){ cli_registry_names[i], true };
    columns[CLI_REGISTRY_COUNT + 1] = (struct cli_column){ "oldest", true };
    for (size_t i = 0; i < info->queue_count; i++) {
        const struct cli_queue *queue = &info->queues[i];

        write_queue(&table, queue->name, queue->counts, queue->oldest_us);
        for (int k = 0; k < CLI_REGISTRY_COUNT; k++)
            all.counts[k] += queue->counts[k];
        if (queue->oldest_us && (!all.oldest_us || queue->oldest_us < all.oldest_us))
            all.oldest_us = queue->oldest_us;
    }
    if (info->queue_count > 1)
        write_queue(&table, all.name, all.counts, all.oldest_us);
    if (info->queue_count > 0)
        cli_table_write(&table, &cli->paper);
    else
        cli_write(&cli->paper, CLI_PLAIN, "No queues yet.\n");
}

/* "2 consumers, 1 busy": who is there. */
static void write_consumers(struct cli *cli, const struct info *info)
{
    size_t busy = 0;

    for (size_t i = 0; i < info->worker_count; i++)
        busy += strcmp(info->workers[i].state, "busy") == 0;
    cli_write(&cli->paper, CLI_PLAIN, "\n%zu consumer%s, %zu busy", info->worker_count,
              info->worker_count == 1 ? "" : "s", busy);
}

static void write_rates(struct cli *cli, const struct rates *rates)
{
    struct cli_paper *paper = &cli->paper;

    if (!rates->is_known) {
        cli_write(paper, CLI_PLAIN, "\n");
        return;
    }
    cli_write(paper, CLI_PLAIN, "; a minute: %.1f done, ", rates->done);
    cli_write(paper, rates->failed > 0 ? CLI_RED : CLI_PLAIN, "%.1f failed",
              rates->failed);
    if (rates->is_average) {
        cli_write(paper, CLI_DIM, " (average of their lives, up to %s)\n",
                  cli_span(rates->seconds));
        return;
    }
    if (rates->has_arrived)
        cli_write(paper, CLI_PLAIN, ", %.1f arrived", rates->arrived);
    cli_write(paper, CLI_DIM, " (in the last %s; a retry counts as failed and arrived)\n",
              cli_span(rates->seconds));
}

static void write_suspended(struct cli *cli, long long seconds)
{
    if (seconds == NOT_THERE)
        return;
    cli_write(&cli->paper, CLI_YELLOW, SUSPENDED,
              seconds == NOT_EXPIRES ? ""
                                     : arena_printf(task_arena(), " for %s more",
                                                    cli_span((double)seconds)));
}

/* ---- as JSON ---- */

static void put_rates(struct json_writer *w, const struct rates *rates)
{
    json_begin_object(w, "rates");
    json_put_text(w, "of",
                  !rates->is_known    ? NULL
                  : rates->is_average ? "consumers' lives"
                                      : "looks");
    json_put_double(w, "seconds", rates->seconds, 1);
    if (rates->is_known) {
        json_put_double(w, "done_per_minute", rates->done, 2);
        json_put_double(w, "failed_per_minute", rates->failed, 2);
    } else {
        json_put_null(w, "done_per_minute");
        json_put_null(w, "failed_per_minute");
    }
    if (rates->has_arrived)
        json_put_double(w, "arrived_per_minute", rates->arrived, 2);
    else
        json_put_null(w, "arrived_per_minute");
    json_end_object(w);
}

static void put_queues(struct json_writer *w, const struct info *info)
{
    char text[CLOCK_TEXT_SIZE];

    json_begin_array(w, "queues");
    for (size_t i = 0; i < info->queue_count; i++) {
        const struct cli_queue *queue = &info->queues[i];

        json_begin_object(w, NULL);
        json_put_text(w, "name", queue->name);
        for (int k = 0; k < CLI_REGISTRY_COUNT; k++)
            json_put_int(w, cli_registry_names[k], queue->counts[k]);
        json_put_text(w, "oldest",
                      queue->oldest_us ? clock_iso_z(queue->oldest_us, text) : NULL);
        if (queue->oldest_us)
            json_put_double(w, "oldest_seconds", cli_seconds_since(queue->oldest_us), 3);
        else
            json_put_null(w, "oldest_seconds");
        json_end_object(w);
    }
    json_end_array(w);
}

static void put_info(struct cli *cli, const struct info *info)
{
    struct json_writer w = { .out = cli->paper.out };
    char now[CLOCK_TEXT_SIZE];

    json_begin_object(&w, NULL);
    json_put_text(&w, "time", clock_iso_z(clock_unix_us(), now));
    put_queues(&w, info);
    cli_workers_json(&w, info->workers, info->worker_count);
    json_put_bool(&w, "suspended", info->suspended != NOT_THERE);
    if (info->suspended >= 0)
        json_put_int(&w, "suspended_seconds", info->suspended);
    else
        json_put_null(&w, "suspended_seconds");
    put_rates(&w, &info->rates);
    json_end_object(&w);
    buf_addc(cli->paper.out, '\n');
}

/* ---- the command ---- */

/*
 * A terminal is written over from its corner, line by line, so that it does not
 * flicker; what does not fit on it is left out. Into a pipe one look follows another.
 */
static void write_over(struct cli *cli, const struct buf *look)
{
    struct winsize size = { 0 };
    struct buf *out = cli->paper.out;
    const char *at = buf_text(look);
    int left;

    ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    left = size.ws_row > 1 ? size.ws_row - 1 : 1000;
    buf_adds(out, cli->looks && cli->looks->older ? "\033[H" : "\033[2J\033[H");
    for (; *at && left > 0; left--) {
        size_t length = strcspn(at, "\n");

        buf_add(out, at, length);
        buf_adds(out, "\033[K\n");
        at += length + (at[length] == '\n');
    }
    buf_adds(out, "\033[J");
    if (*at)
        buf_adds(out, "...");
}

static void write_info(struct cli *cli, const struct info *info)
{
    bool is_watched = cli->watch_s > 0;
    bool is_terminal = isatty(STDOUT_FILENO);
    struct buf *out = cli->paper.out;
    struct buf look = BUF_IN(task_arena());

    if (is_watched)
        cli->paper.out = &look;
    if (is_watched)
        cli_write(&cli->paper, CLI_DIM, "%s, every %g s%s\n\n",
                  cli_moment(clock_unix_us()), cli->watch_s,
                  is_terminal ? "; Ctrl-C ends" : "");
    /* What matters most comes first: a terminal may be too low for everybody. */
    write_suspended(cli, info->suspended);
    write_queues(cli, info);
    if (info->worker_count > 0) {
        write_consumers(cli, info);
        write_rates(cli, &info->rates);
    }
    buf_addc(cli->paper.out, '\n');
    cli_write_workers(cli, info->workers, info->worker_count, false);
    cli->paper.out = out;
    if (is_watched && is_terminal)
        write_over(cli, &look);
    else if (is_watched)
        buf_addf(out, "%s\n", buf_text(&look));
}

int cli_info(struct cli *cli)
{
    struct info info = { 0 };

    if (cli->queue && !cli->looks) {
        int is_there = cli_is_queue(cli, cli->queue);

        if (is_there <= 0) {
            cli->watch_s = is_there < 0 ? cli->watch_s : 0;
            return is_there;
        }
    }
    int rc = read_info(cli, &info);
    if (rc < 0)
        return rc;
    if (cli->is_json)
        put_info(cli, &info);
    else
        write_info(cli, &info);
    return 0;
}
