/*
 * services.c - see services.h.
 */
#include "master/services.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/connect.h"
#include "common/log.h"
#include "master/events.h"
#include "master/master.h"
#include "master/program.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROBE_EVERY_MS 20
/* So many failures before it was ever up: the start cannot work. */
#define MOST_FIRST_FAILURES 3
/* A service that ran this long did not fail at its start. */
#define STEADY_MS 10000
/* What a former start left gets so long to end by itself, then less politely. */
#define LEFTOVER_HARD_MS 5000
#define LEFTOVER_KILL_MS 10000

/* Choosing ------------------------------------------------------------------ */

static const struct {
    const char *what, *variable;
} choices[SERVICE_COUNT] = {
    [SERVICE_POSTGRES] = { "a database", "DATABASE_URL" },
    [SERVICE_REDIS] = { "a Redis", "REDIS_URL" },
};

static bool may_embed(const struct options *options, const struct data *data, int service,
                      struct buf *error)
{
    if (options->services.mode == SERVICES_NO) {
        buf_addf(error, "%s is not set, and services.mode (FORKMARK_SERVICES) is \"no\"",
                 choices[service].variable);
        return false;
    }
    if (options->services.mode == SERVICES_YES ||
        options->server.environment != ENV_PRODUCTION || access(data->folder, F_OK) == 0)
        return true;
    buf_addf(error,
             "%s is not set. In production no empty %s is started by itself, since the "
             "name may only be mistyped: set it, or FORKMARK_SERVICES=yes to embed %s in "
             "%s",
             choices[service].variable, choices[service].what + 2, choices[service].what,
             data->folder);
    return false;
}

bool services_choose(const struct options *options, const struct data *data,
                     bool ret_embedded[SERVICE_COUNT], struct buf *error)
{
    bool is_missing[SERVICE_COUNT] = {
        [SERVICE_POSTGRES] = !*options->database.url,
        [SERVICE_REDIS] = !connect_names_redis(options),
    };

    for (int i = 0; i < SERVICE_COUNT; i++)
        if (is_missing[i] && !may_embed(options, data, i, error))
            return false;
    memcpy(ret_embedded, is_missing, sizeof(is_missing));
    return true;
}

static bool set(struct options *options, const char *key, const char *text,
                struct buf *error)
{
    return options_set(options, key, text, "embedded", error);
}

/* A folder's name may hold what means something in a URL. */
static void add_escaped(struct buf *url, const char *path)
{
    for (; *path; path++) {
        if (isalnum((unsigned char)*path) || strchr("/-_.~", *path))
            buf_addc(url, *path);
        else
            buf_addf(url, "%%%02X", (unsigned char)*path);
    }
}

static bool complete_urls(struct options *options, const struct data *data,
                          const bool embedded[SERVICE_COUNT], struct buf *error)
{
    struct buf url = BUF_HEAP;
    bool is_set = true;

    if (embedded[SERVICE_POSTGRES]) {
        buf_adds(&url, "postgresql:///forkmark?user=forkmark&host=");
        add_escaped(&url, data->sockets);
        buf_adds(&url, "/run");
        is_set = set(options, "database.url", buf_text(&url), error);
    }
    /* A reload may name another one. */
    if (is_set && embedded[SERVICE_REDIS] && !connect_names_redis(options)) {
        buf_clear(&url);
        buf_adds(&url, "unix://");
        add_escaped(&url, data->sockets);
        buf_adds(&url, "/run/redis.sock?db=0");
        is_set = set(options, "redis.url", buf_text(&url), error);
    }
    buf_done(&url);
    return is_set;
}

/* In production somebody has to choose the secrets, except for what is embedded. */
static bool complete_secrets(struct options *options, const struct data *data,
                             bool may_make, struct buf *error)
{
    static const struct {
        const char *key, *file;
    } secrets[] = {
        { "auth.secret_key", "secret_key" },
        { "auth.jwt_secret", "jwt_secret" },
    };
    const char *missing = options_missing_secret(options);

    if (!missing)
        return true;
    if (!may_make) {
        buf_addf(error, "%s is not set; outside development it must be", missing);
        return false;
    }
    const bool is_set[] = { *options->auth.secret_key != '\0',
                            *options->auth.jwt_secret != '\0' };
    for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
        char text[65];

        if (!is_set[i] && (!data_secret(data, secrets[i].file, text, error) ||
                           !set(options, secrets[i].key, text, error)))
            return false;
    }
    return true;
}

bool services_complete(struct options *options, const struct data *data,
                       const bool embedded[SERVICE_COUNT], struct buf *error)
{
    bool may_make = options_is_development(options) || embedded[SERVICE_POSTGRES];

    return complete_secrets(options, data, may_make, error) &&
           complete_urls(options, data, embedded, error);
}

bool services_open(struct services *services, const struct options *options,
                   const struct account *account, const struct data *data,
                   const bool embedded[SERVICE_COUNT], struct buf *error)
{
    static const struct service_kind *const kinds[SERVICE_COUNT] = {
        [SERVICE_POSTGRES] = &service_postgres,
        [SERVICE_REDIS] = &service_redis,
    };

    services->data = *data;
    services->options = options;
    services->account = account;
    for (int i = 0; i < SERVICE_COUNT; i++) {
        services->services[i] = (struct service){
            .kind = kinds[i],
            .all = services,
            .state = embedded[i] ? SERVICE_WAITING : SERVICE_OFF,
            .probe_fd = -1,
        };
        services->is_used |= embedded[i];
    }
    if (!services->is_used)
        return true;
    /* The programs get their logs opened: the folder stays the master's. */
    return data_open(&services->data, account, error) &&
           data_make(&services->data, &(struct account){ 0 }, "log", error) &&
           data_make_sockets(&services->data, account, error);
}

/* Looking around ------------------------------------------------------------ */

const char *service_folder(const struct service *service)
{
    static char path[PATH_MAX + 32];

    snprintf(path, sizeof(path), "%s/%s", service->all->data.folder, service->kind->name);
    return path;
}

static bool is_process(const char *pid, const char *process, const char *folder)
{
    char path[64], text[PATH_MAX];
    size_t length = strlen(process);

    snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, text, sizeof(text));
    close(fd);
    if (got < (ssize_t)length || memcmp(text, process, length) != 0)
        return false;
    snprintf(path, sizeof(path), "/proc/%.20s/cwd", pid);
    got = readlink(path, text, sizeof(text) - 1);
    if (got < 0)
        return false;
    text[got] = '\0';
    return strcmp(text, folder) == 0;
}

size_t services_leftovers(const char *process, const char *folder, int signum)
{
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    size_t found = 0;

    while (proc && (entry = readdir(proc))) {
        if (!isdigit((unsigned char)entry->d_name[0]) ||
            !is_process(entry->d_name, process, folder))
            continue;
        found++;
        if (signum)
            kill((pid_t)strtol(entry->d_name, NULL, 10), signum);
    }
    if (proc)
        closedir(proc);
    return found;
}

const char *services_find_program(struct arena *arena, const char *name)
{
    const char *paths = getenv("PATH");

    for (const char *at = paths ? paths : "/usr/local/bin:/usr/bin:/bin"; *at;) {
        size_t length = strcspn(at, ":");
        const char *path = arena_printf(arena, "%.*s/%s", (int)length, at, name);

        if (length > 0 && access(path, X_OK) == 0)
            return path;
        at += length + (at[length] == ':');
    }
    return NULL;
}

/* The end of what the service had to say, for the log. */
static void quote_log(const struct service *service)
{
    char path[PATH_MAX + 64], text[1024];

    snprintf(path, sizeof(path), "%s/log/%s.log", service->all->data.folder,
             service->kind->name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (lseek(fd, -(off_t)sizeof(text) + 1, SEEK_END) < 0)
        lseek(fd, 0, SEEK_SET);
    ssize_t got = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (got <= 0)
        return;
    text[got] = '\0';
    log_error("%s ends with:", path);
    for (char *save = NULL, *line = strtok_r(text, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save))
        log_error("  %s", line);
}

/* States -------------------------------------------------------------------- */

static void give_up(struct master *m, struct service *service)
{
    service->state = SERVICE_OFF;
    m->exit_status = 1;
    stop_begin(m, true);
}

static void failed(struct master *m, struct service *service)
{
    service->failures++;
    service->state = SERVICE_WAITING;
    if (!service->was_up && service->failures >= MOST_FIRST_FAILURES) {
        quote_log(service);
        log_error("%s does not start", service->kind->name);
        give_up(m, service);
        return;
    }
    service->retry_at = m->now + pool_pause_ms(service->failures);
}

static bool run_program(struct master *m, struct service *service,
                        struct program *program, enum service_state state)
{
    const struct data *data = &service->all->data;

    program->account = service->all->account;
    program->output =
        arena_printf(program->arena, "%s/log/%s.log", data->folder, service->kind->name);
    if (!program->folder)
        program->folder = data->folder;
    program->death_signal = service->kind->stop_signal;
    pid_t pid = program_start(program);
    if (pid < 0) {
        log_error("%s cannot be started: %s", program->arguments[0], strerror(-pid));
        failed(m, service);
        return false;
    }
    service->pid = pid;
    service->state = state;
    service->since = m->now;
    return true;
}

/* True when nobody of a former start is in the way. */
static bool is_alone(struct master *m, struct service *service)
{
    const char *folder = service_folder(service);

    if (services_leftovers(service->kind->process, folder, 0) == 0) {
        service->since = 0;
        return true;
    }
    if (!service->since) {
        service->since = m->now;
        log_warn("%s of a former start still runs in %s: waiting for its end",
                 service->kind->name, folder);
        services_leftovers(service->kind->process, folder, service->kind->stop_signal);
    } else if (m->now - service->since > LEFTOVER_KILL_MS) {
        services_leftovers(service->kind->process, folder, SIGKILL);
    } else if (m->now - service->since > LEFTOVER_HARD_MS) {
        services_leftovers(service->kind->process, folder, service->kind->hard_signal);
    }
    service->retry_at = m->now + 50;
    return false;
}

static void next_step(struct master *m, struct service *service)
{
    struct program program = { .arena = arena_new(0) };
    struct buf error = BUF_HEAP;
    enum service_step step = service->kind->prepare(service, &program, &error);

    if (step == STEP_RUN) {
        run_program(m, service, &program, SERVICE_PREPARING);
    } else if (step == STEP_NONE && service->kind->command(service, &program, &error)) {
        run_program(m, service, &program, SERVICE_STARTING);
    } else {
        log_error("%s", buf_text(&error));
        if (service->was_up)
            failed(m, service);
        else
            give_up(m, service);
    }
    buf_done(&error);
    arena_free(program.arena);
}

static uint64_t look(struct master *m, struct service *service)
{
    if (service->kind->is_up(service)) {
        log_info("%s is up (%.2f s)", service->kind->name,
                 (double)(m->now - service->since) / 1000);
        service->state = SERVICE_UP;
        service->was_up = true;
        service->since = m->now;
        return NEVER;
    }
    if (m->now - service->since > service->kind->start_ms) {
        log_error("%s does not answer after %.0f s: restarted", service->kind->name,
                  (double)service->kind->start_ms / 1000);
        kill(service->pid, SIGKILL);
        service->since = m->now;
    }
    return m->now + PROBE_EVERY_MS;
}

static uint64_t turn(struct master *m, struct service *service)
{
    if (service->state == SERVICE_WAITING && m->stop == STOP_NONE) {
        if (m->now < service->retry_at)
            return service->retry_at;
        if (!is_alone(m, service))
            return service->retry_at;
        next_step(m, service);
    }
    if (service->state == SERVICE_STARTING)
        return look(m, service);
    return service->state == SERVICE_WAITING ? service->retry_at : NEVER;
}

uint64_t services_turn(struct master *m)
{
    uint64_t next = NEVER;

    for (int i = 0; i < SERVICE_COUNT; i++)
        next = sooner(next, turn(m, &m->services.services[i]));
    return next;
}

static void ended(struct master *m, struct service *service, int status)
{
    enum service_state state = service->state;
    struct buf how = BUF_HEAP;

    service->pid = 0;
    if (service->probe_fd >= 0)
        close(service->probe_fd);
    service->probe_fd = -1;
    service->state = SERVICE_WAITING;
    service->retry_at = m->now;
    switch (state) {
    case SERVICE_PREPARING:
        if (status == 0) {
            service->step++;
            service->since = 0;
            return;
        }
        service->step = 0;
        log_error("%s could not be prepared: %s", service->kind->name,
                  status_text(status));
        break;
    case SERVICE_UP:
        buf_adds(&how, status_text(status));
        watch_say_oom(m, status, &how);
        log_error("%s died: %s; it is started again", service->kind->name,
                  buf_text(&how));
        event_note(EVENT_DEATH, "%s died: %s", service->kind->name, buf_text(&how));
        buf_done(&how);
        if (m->now - service->since > STEADY_MS)
            service->failures = 0;
        break;
    case SERVICE_STOPPING:
        log_debug("%s ended: %s", service->kind->name, status_text(status));
        service->state = SERVICE_OFF;
        return;
    default:
        log_error("%s ended before it was up: %s", service->kind->name,
                  status_text(status));
    }
    service->since = 0;
    failed(m, service);
}

bool services_reaped(struct master *m, pid_t pid, int status)
{
    for (int i = 0; i < SERVICE_COUNT; i++) {
        if (m->services.services[i].pid != pid)
            continue;
        ended(m, &m->services.services[i], status);
        return true;
    }
    return false;
}

bool services_are_up(const struct services *services)
{
    for (int i = 0; i < SERVICE_COUNT; i++)
        if (services->services[i].state != SERVICE_OFF &&
            services->services[i].state != SERVICE_UP)
            return false;
    return true;
}

bool services_left(const struct services *services)
{
    for (int i = 0; i < SERVICE_COUNT; i++)
        if (services->services[i].pid)
            return true;
    return false;
}

/* Consumers have ended: what Redis still knows is on its way to the disk. */
uint64_t services_stop(struct master *m)
{
    static const int order[SERVICE_COUNT] = { SERVICE_REDIS, SERVICE_POSTGRES };

    for (int i = 0; i < SERVICE_COUNT; i++) {
        struct service *service = &m->services.services[order[i]];

        if (!service->pid) {
            service->state = SERVICE_OFF;
            continue;
        }
        if (service->state != SERVICE_STOPPING) {
            /* initdb runs programs of its own; they are of its process group. */
            bool is_preparing = service->state == SERVICE_PREPARING;

            service->state = SERVICE_STOPPING;
            service->hard_at = m->now + service->kind->stop_ms;
            kill(is_preparing ? -service->pid : service->pid, service->kind->stop_signal);
        } else if (m->now >= service->hard_at) {
            log_warn("%s does not end in %.0f s: %s", service->kind->name,
                     (double)service->kind->stop_ms / 1000,
                     strsignal(service->kind->hard_signal));
            service->hard_at = m->now + service->kind->stop_ms;
            kill(service->pid, service->kind->hard_signal);
        }
        return service->hard_at;
    }
    return NEVER;
}

const char *service_state_text(const struct service *service)
{
    static const char *const texts[] = {
        [SERVICE_OFF] = "off",
        [SERVICE_WAITING] = "waiting for its next start",
        [SERVICE_PREPARING] = "being prepared",
        [SERVICE_STARTING] = "starting",
        [SERVICE_UP] = "up",
        [SERVICE_STOPPING] = "stopping",
    };

    return texts[service->state];
}
