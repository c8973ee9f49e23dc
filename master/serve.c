/*
 * serve.c - see serve.h.
 */
#include "master/serve.h"
#include "common/buf.h"
#include "common/log.h"
#include "common/log_sink.h"
#include "jobs/functions/exec.h"
#include "master/control.h"
#include "master/master.h"
#include "master/title.h"
#include "master/tls_files.h"
#include "master/upgrade.h"
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The scoreboard cannot grow: room for twice what is configured, and then some. */
#define SPARE_SLOTS 32
#define LEAST_SLOTS 64

_Noreturn static void end_with(const struct buf *errors)
{
    fprintf(stderr, "%s%s", buf_text(errors),
            errors->length > 0 && errors->data[errors->length - 1] == '\n' ? "" : "\n");
    upgrade_tell_failure(buf_text(errors));
    exit(1);
}

bool setup_is_embedded(const struct setup *setup)
{
    for (int i = 0; i < SERVICE_COUNT; i++)
        if (setup->embedded[i])
            return true;
    return false;
}

/* The owner of a database that is already in `folder` stays its owner. */
static void find_account(struct setup *setup, const char *folder)
{
    const struct options *options = setup->options;
    struct buf errors = BUF_HEAP, owned = BUF_HEAP;

    buf_addf(&owned, "%s/postgres", folder);
    if (!account_find(options->server.user, options->server.group, buf_text(&owned),
                      &setup->account, &errors))
        end_with(&errors);
    buf_done(&owned);
    buf_done(&errors);
}

void setup_load(const struct conf_input *input, struct setup *ret)
{
    struct buf errors = BUF_HEAP;

    ret->options = options_load_in_child(input, &errors);
    if (!ret->options)
        end_with(&errors);
    find_account(ret, ret->options->services.data);
    data_locate(ret->options, &ret->account, &ret->data);
    if (ret->data.was_moved)
        find_account(ret, ret->data.folder);
    memset(ret->embedded, 0, sizeof(ret->embedded));
    buf_done(&errors);
}

void setup_choose(struct setup *setup)
{
    struct buf errors = BUF_HEAP;

    if (!services_choose(setup->options, &setup->data, setup->embedded, &errors))
        end_with(&errors);
    buf_done(&errors);
}

void setup_check_pools(const struct setup *setup)
{
    struct buf errors = BUF_HEAP;

    if (!account_check_pools(setup->options, &setup->account, &errors))
        end_with(&errors);
    buf_done(&errors);
}

void setup_complete(struct setup *setup)
{
    struct buf errors = BUF_HEAP;

    if (!services_complete(setup->options, &setup->data, setup->embedded, &errors))
        end_with(&errors);
    buf_done(&errors);
}

/* The files belong to the user that writes to them; see log_link.h for who opens them. */
static void open_log(const struct setup *setup)
{
    const struct options *options = setup->options;
    log_sink_set_facility(options->log.syslog_facility);
    int rc = log_open(options->log.path, (enum log_format)options->log.format,
                      (enum log_level)options->log.level);

    if (rc < 0)
        fatal("log.path: cannot open %s: %s", options->log.path, strerror(-rc));
    rc = log_open_access(options->log.access_path);
    if (rc < 0)
        fatal("log.access_path: cannot open %s: %s", options->log.access_path,
              strerror(-rc));
    if (setup->account.changes)
        log_give(setup->account.uid, setup->account.gid);
}

static size_t slots_for(const struct options *options)
{
    size_t wanted = (size_t)conf_count_most(&options->server.workers) + 1;

    for (size_t i = 0; i < options->jobs.pool_count; i++)
        wanted += (size_t)conf_count_most(&options->jobs.pools[i].consumers);
    wanted = 2 * wanted + SPARE_SLOTS;
    return wanted < LEAST_SLOTS ? LEAST_SLOTS : wanted;
}

/* The first line of a file, into `text`; "" when there is none. */
static void read_first_line(const char *path, char text[32])
{
    FILE *file = fopen(path, "re");

    text[0] = '\0';
    if (!file)
        return;
    if (!fgets(text, 32, file))
        text[0] = '\0';
    fclose(file);
}

/* After a crash or a reboot the number is anybody's: a server is called as title.c says,
 * whatever its program's file is called. One that may not be asked for its name counts.
 */
static bool is_server(pid_t pid)
{
    char path[64], name[32];

    snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
    read_first_line(path, name);
    return !*name || strncmp(name, "forkmark", strlen("forkmark")) == 0;
}

/* The server a pid file names, if it runs; 0 for none. */
static pid_t pid_in(const char *path)
{
    char text[32];

    read_first_line(path, text);
    long pid = strtol(text, NULL, 10);
    if (pid <= 1 || pid == getpid() || (kill((pid_t)pid, 0) < 0 && errno == ESRCH))
        return 0;
    return is_server((pid_t)pid) ? (pid_t)pid : 0;
}

/* One that a killed master left names nobody, and is written over. */
static void write_pid_file(struct master *m, const char *configured)
{
    char path[PATH_MAX];

    if (!*configured)
        return;
    snprintf(path, sizeof(path), "%s%s", configured, upgrade_is_second(m) ? ".2" : "");
    pid_t other = pid_in(path);
    if (other)
        fatal("server.pid_file: %s names process %d, a forkmark that runs; stop it, or "
              "remove the file",
              path, (int)other);
    FILE *file = fopen(path, "we");
    if (!file || fprintf(file, "%d\n", (int)getpid()) < 0 || fclose(file) != 0)
        fatal("server.pid_file: cannot write %s: %s", path, strerror(errno));
    m->pid_file = strdup(path);
}

/* Everything that can be refused is tried before anything is started. */
static void open_all(struct master *m, struct setup *setup)
{
    struct buf error = BUF_HEAP;

    m->account = setup->account;
    memcpy(m->embedded, setup->embedded, sizeof(m->embedded));
    upgrade_open(m);
    if (!services_open(&m->services, m->options, &m->account, &setup->data,
                       setup->embedded, &error))
        fatal("%s", buf_text(&error));
    upgrade_take_services(m);
    setup->data = m->services.data; /* it knows its full path now */
    setup_complete(setup);
    if (!tls_files_read(m->options, &error))
        fatal("%.*s", (int)strcspn(buf_text(&error), "\n"), buf_text(&error));
    if (!listeners_adopt(upgrade_is_second(m), &error) ||
        !listeners_open(&m->listeners, m->options, &error) || !control_open(m, &error))
        fatal("%s", buf_text(&error));
    listeners_drop_unused(&m->listeners);
    write_pid_file(m, m->options->server.pid_file);
    if (!budget_files(m->options, &error))
        log_warn("%s", buf_text(&error));
    buf_done(&error);
}

int serve(const struct conf_input *input)
{
    static struct master master; /* found by the leak checker in every child */
    struct setup setup;

    upgrade_adopt();
    log_on_fatal(upgrade_tell_failure);
    setup_load(input, &setup);
    setup_choose(&setup);
    setup_check_pools(&setup);
    open_log(&setup);
    log_info("forkmark %s starts, pid %d%s%s", FORKMARK_VERSION, (int)getpid(),
             setup.account.changes ? ", children run as " : "",
             setup.account.changes ? setup.account.name : "");
    if (setup.data.was_moved && setup_is_embedded(&setup))
        log_info("user %s cannot reach %s: the data folder is %s", setup.account.name,
                 setup.options->services.data, setup.data.folder);
    exec_functions_warn(setup.options);
    master_init(&master, setup.options, slots_for(setup.options));
    master.input = input;
    notify_open(&master);
    open_all(&master, &setup);
    title_set("forkmark: master");

    int status = master_run(&master);
    log_info("stopped");
    options_free(master.options);
    data_close(&master.services.data);
    master_done(&master);
    return status;
}
