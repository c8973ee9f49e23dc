/*
 * conf_child.c - a configuration parsed in a short-lived child.
 *
 * libconfig ends the process on some inputs (1.5: an @include of a folder), and a
 * running master must not be that process. The child reports every value that is
 * not built-in as path, text, origin and place; the parent applies them to fresh
 * defaults through the same checks.
 */
#include "common/buf.h"
#include "common/clock.h"
#include "common/conf_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A parser that does not come back is a failed reload, not a stuck master. */
#define CHILD_TIMEOUT_MS 10000

#define ALL_POOLS "jobs.pools"

/* A result on the pipe: 'o' and NUL-ended fields, or 'e' and the errors. */
static void put_record(struct buf *out, const char *path, const char *text,
                       const struct conf_source *source)
{
    buf_add(out, path, strlen(path) + 1);
    buf_add(out, text, strlen(text) + 1);
    buf_addc(out, (char)('0' + (int)source->origin));
    buf_add(out, source->where, strlen(source->where) + 1);
}

static void put_field(struct buf *out, const char *item, const void *base,
                      const struct conf_key *field, const struct conf_source *source)
{
    struct buf path = BUF_HEAP, text = BUF_HEAP;

    buf_addf(&path, "%s.%s", item, field->path);
    conf_field_write(base, field, &text);
    put_record(out, buf_text(&path), buf_text(&text), source);
    buf_done(&path);
    buf_done(&text);
}

static void put_fields(struct buf *out, const struct conf_group *group,
                       const struct conf_item *item)
{
    struct buf path = BUF_HEAP;

    buf_addf(&path, "%s.%s", group->path, item->name);
    for (const struct conf_key *field = group->fields; field->path; field++)
        put_field(out, path.data, item->base, field, &item->source);
    buf_done(&path);
}

/* The file and line, for whoever finds that there is no such user. */
static void put_account(struct buf *out, const struct options *options,
                        const struct pool_options *pool)
{
    const struct conf_source source = { options->state->pools_source.origin,
                                        pool->account_where };
    struct buf path = BUF_HEAP;

    buf_addf(&path, ALL_POOLS ".%s", pool->name);
    put_field(out, path.data, pool, conf_find_field(conf_pool_fields, "user"), &source);
    put_field(out, path.data, pool, conf_find_field(conf_pool_fields, "group"), &source);
    buf_done(&path);
}

/*
 * The first record makes the reader forget the built-in pool, also for no pools; the
 * last one names the source of all of them again.
 */
static void put_pools(struct buf *out, const struct options *options,
                      const struct conf_group *group)
{
    struct conf_item item;

    if (options->state->pools_source.origin == CONF_BUILT_IN)
        return;
    put_record(out, ALL_POOLS, "", &options->state->pools_source);
    for (size_t i = 0; group->at(options, i, &item); i++) {
        put_fields(out, group, &item);
        put_account(out, options, &options->jobs.pools[i]);
    }
    put_record(out, ALL_POOLS, "", &options->state->pools_source);
}

static void put_groups(struct buf *out, const struct options *options)
{
    size_t count;
    const struct conf_group *groups = conf_groups(&count);
    struct conf_item item;

    for (size_t g = 0; g < count; g++) {
        if (strcmp(groups[g].path, ALL_POOLS) == 0)
            put_pools(out, options, &groups[g]);
        else
            for (size_t i = 0; groups[g].at(options, i, &item); i++)
                put_fields(out, &groups[g], &item);
    }
}

static bool write_all(int fd, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t written = write(fd, data, length);

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        data += written;
        length -= (size_t)written;
    }
    return true;
}

static _Noreturn void parse_and_report(const struct conf_input *input, int fd)
{
    struct buf errors = BUF_HEAP, out = BUF_HEAP;
    struct options *options = options_load(input, &errors);
    size_t count;
    const struct conf_key *keys = conf_keys(&count);

    if (!options) {
        buf_addc(&out, 'e');
        buf_add(&out, errors.data, errors.length);
    } else {
        buf_addc(&out, 'o');
        for (size_t i = 0; i < count; i++) {
            const struct conf_entry *entry = &options->state->entries[i];

            if (entry->source.origin != CONF_BUILT_IN)
                put_record(&out, keys[i].path, entry->text, &entry->source);
        }
        put_groups(&out, options);
    }
    _exit(write_all(fd, out.data, out.length) ? 0 : 1);
}

/* The next NUL-ended text of a report; NULL at its end. */
static const char *take_text(const char **at, const char *end)
{
    const char *text = *at;
    const char *stop = text < end ? memchr(text, '\0', (size_t)(end - text)) : NULL;

    if (!stop)
        return NULL;
    *at = stop + 1;
    return text;
}

static struct options *read_report(const struct buf *report, struct buf *errors)
{
    struct options *options = conf_defaults();
    const char *at = report->data + 1, *end = report->data + report->length;
    size_t before = errors->length;
    const char *path, *text, *where;

    while ((path = take_text(&at, end)) && (text = take_text(&at, end)) && at < end) {
        struct conf_context context = { .options = options,
                                        .errors = errors,
                                        .origin = (enum conf_origin)(*at++ - '0') };

        where = take_text(&at, end);
        if (!where)
            break;
        context.where = arena_strdup(options->state->arena, where);
        if (strcmp(path, ALL_POOLS) == 0)
            conf_pools_begin(&context);
        else
            conf_apply(&context, path, text);
    }
    if (errors->length == before) {
        conf_settle(options);
        return options;
    }
    options_free(options);
    return NULL;
}

/* False when the child did not finish in time. */
static bool read_until_end(int fd, struct buf *report)
{
    uint64_t deadline = clock_ms() + CHILD_TIMEOUT_MS;
    char chunk[4096];

    for (;;) {
        struct pollfd ready = { .fd = fd, .events = POLLIN };
        uint64_t now = clock_ms();

        if (now >= deadline)
            return false;
        if (poll(&ready, 1, (int)(deadline - now)) <= 0)
            continue; /* a signal, or time is up */
        ssize_t got = read(fd, chunk, sizeof(chunk));
        if (got == 0)
            return true;
        if (got > 0)
            buf_add(report, chunk, (size_t)got);
        else if (errno != EINTR)
            return false;
    }
}

static int wait_for(pid_t child)
{
    int status = 0;

    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

static void complain_of_child(struct buf *errors, const char *file, int status,
                              bool is_late)
{
    buf_addf(errors, "%s: the parser ", file ? file : "configuration");
    if (is_late)
        buf_addf(errors, "did not come back within %d s", CHILD_TIMEOUT_MS / 1000);
    else if (WIFSIGNALED(status))
        buf_addf(errors, "died of signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        buf_addf(errors, "gave up with status %d", WEXITSTATUS(status));
    buf_adds(errors, "; is there an @include of a folder, or of a file that cannot be "
                     "read?\n");
}

struct options *options_load_in_child(const struct conf_input *input, struct buf *errors)
{
    struct options *options = NULL;
    struct buf report = BUF_HEAP;
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0) {
        buf_addf(errors, "cannot read the configuration: %s\n", strerror(errno));
        return NULL;
    }
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        parse_and_report(input, ends[1]);
    }
    int fork_errno = errno;
    close(ends[1]);
    if (child < 0) {
        buf_addf(errors, "cannot read the configuration: %s\n", strerror(fork_errno));
        close(ends[0]);
        return NULL;
    }
    bool is_late = !read_until_end(ends[0], &report);
    close(ends[0]);
    if (is_late)
        kill(child, SIGKILL);
    int status = wait_for(child);

    if (status != 0 || is_late || report.length == 0)
        complain_of_child(errors, input->file, status, is_late);
    else if (*report.data == 'e')
        buf_add(errors, report.data + 1, report.length - 1);
    else
        options = read_report(&report, errors);
    buf_done(&report);
    return options;
}
