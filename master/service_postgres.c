/*
 * service_postgres.c - the embedded PostgreSQL.
 *
 * The first start makes the database aside (postgres.new) and renames it when it is
 * complete, so that a start that was interrupted leaves nothing half made. It listens
 * on a Unix socket alone, in a folder that only its own account (and root) may enter:
 * that folder is the password.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "common/log.h"
#include "master/program.h"
#include "master/services.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEBIAN_FOLDERS "/usr/lib/postgresql/*/bin/postgres"

static int remove_entry(const char *path, const struct stat *status, int type,
                        struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

/* PG_VERSION's number, 0 when there is no database there. */
static int version_of(const char *folder)
{
    char path[PATH_MAX + 64], text[16] = "";

    snprintf(path, sizeof(path), "%s/PG_VERSION", folder);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t got = read(fd, text, sizeof(text) - 1);
    close(fd);
    return got > 0 ? (int)strtol(text, NULL, 10) : 0;
}

/* The folder of programs: that of major version `wanted`, or the newest for 0. */
static const char *find_programs(struct service *service, struct arena *arena, int wanted,
                                 int *ret_newest)
{
    const char *found = NULL;
    glob_t paths;

    *ret_newest = 0;
    if (glob(DEBIAN_FOLDERS, 0, NULL, &paths) != 0)
        paths.gl_pathc = 0;
    for (size_t i = 0; i < paths.gl_pathc; i++) {
        const char *folder = paths.gl_pathv[i] + strlen("/usr/lib/postgresql/");
        int version = (int)strtol(folder, NULL, 10);

        if (version <= *ret_newest || (wanted && version != wanted))
            continue;
        *ret_newest = version;
        found = arena_printf(arena, "/usr/lib/postgresql/%d/bin", version);
    }
    globfree(&paths);
    if (*service->all->options->services.pg_bin)
        return service->all->options->services.pg_bin;
    if (found)
        return found;
    const char *program = services_find_program(arena, "postgres");
    return program ? arena_strndup(arena, program, strlen(program) - strlen("/postgres"))
                   : NULL;
}

/* "postgres (PostgreSQL) 15.18 (Debian ...)": what these programs are. */
static int version_of_programs(struct arena *arena, const char *folder)
{
    char text[128] = "", *number;
    FILE *answer = popen(arena_printf(arena, "'%s/postgres' --version", folder), "re");

    if (!answer)
        return 0;
    if (!fgets(text, sizeof(text), answer))
        text[0] = '\0';
    pclose(answer);
    number = strstr(text, "(PostgreSQL) ");
    return number ? (int)strtol(number + strlen("(PostgreSQL) "), NULL, 10) : 0;
}

static void explain_version(const char *folder, int has, int programs, struct buf *error)
{
    buf_addf(
        error,
        "%s was made by PostgreSQL %d, and the programs here are those of version %d. "
        "Either install postgresql-%d again, or move the data: with both versions "
        "installed, make a new folder with `initdb -U forkmark`, then `pg_upgrade -U "
        "forkmark -b /usr/lib/postgresql/%d/bin -B /usr/lib/postgresql/%d/bin -d %s -D "
        "NEW_FOLDER` and put it in this one's place; or, on a machine with version %d, "
        "`pg_dumpall` there and restore the file into a fresh data folder by `psql`",
        folder, has, programs, has, has, programs, folder, has);
}

/* The folder of the programs that fit the database there is; NULL and `error`. */
static const char *choose_programs(struct service *service, struct arena *arena,
                                   struct buf *error)
{
    int has = version_of(service_folder(service)), newest;
    const char *programs = find_programs(service, arena, has, &newest);

    if (!programs)
        programs = find_programs(service, arena, 0, &newest);
    if (!programs) {
        buf_adds(error,
                 "no PostgreSQL is installed to be embedded: install `postgresql`, "
                 "name its folder in services.pg_bin, or set DATABASE_URL");
        return NULL;
    }
    if (has) {
        int version = version_of_programs(arena, programs);

        if (version != has) {
            explain_version(service_folder(service), has, version, error);
            return NULL;
        }
    }
    return programs;
}

static const char *new_folder(struct service *service, struct arena *arena)
{
    return arena_printf(arena, "%s.new", service_folder(service));
}

static void add_initdb(struct program *program, const char *programs, const char *folder)
{
    program_add(program, "%s/initdb", programs);
    program_add(program, "--pgdata=%s", folder);
    program_add(program, "--username=forkmark");
    program_add(program, "--encoding=UTF8");
    program_add(program, "--locale=C.UTF-8");
    program_add(program, "--auth-local=trust");
    program_add(program, "--auth-host=reject");
}

/* Step 0: initdb. Step 1: our database in it. Step 2: done, into its place. */
static enum service_step prepare(struct service *service, struct program *program,
                                 struct buf *error)
{
    struct arena *arena = program->arena;
    const char *folder = arena_strdup(arena, service_folder(service));
    const char *aside = new_folder(service, arena);

    if (version_of(folder))
        return STEP_NONE;
    const char *programs = choose_programs(service, arena, error);
    if (!programs)
        return STEP_FAILED;
    switch (service->step) {
    case 0:
        log_info("making an empty database in %s", folder);
        nftw(aside, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        if (!data_make(&service->all->data, service->all->account, "postgres.new", error))
            return STEP_FAILED;
        add_initdb(program, programs, aside);
        return STEP_RUN;
    case 1:
        program_add(program, "%s/postgres", programs);
        program_add(program, "--single");
        program_add(program, "-D");
        program_add(program, "%s", aside);
        program_add(program, "postgres");
        program->input = "CREATE DATABASE forkmark;\n";
        return STEP_RUN;
    default:
        if (rename(aside, folder) == 0)
            return STEP_NONE;
        buf_addf(error, "cannot rename %s to %s: %s", aside, folder, strerror(errno));
        return STEP_FAILED;
    }
}

/*
 * What all processes may open at once, twice, so that an operator may scale up, and
 * some for the migration, psql and PostgreSQL's own. An idle slot costs little.
 */
static int max_connections(const struct options *options)
{
    int64_t sum = conf_count_most(&options->server.workers) *
                  (options->database.pool_size + options->database.max_overflow);

    for (size_t i = 0; i < options->jobs.pool_count; i++)
        sum += 2 * (int64_t)conf_count_most(&options->jobs.pools[i].consumers);
    sum = 2 * (sum + 3) + 20;
    return sum < 100 ? 100 : sum > 5000 ? 5000 : (int)sum;
}

/*
 * A postmaster.pid whose process is none of ours would keep PostgreSQL from
 * starting: after a container's restart, that number is somebody else. Nobody works
 * in the folder (services.c has looked), and the data folder's lock is ours.
 */
static void remove_stale_pid(const char *folder, struct arena *arena)
{
    const char *path = arena_printf(arena, "%s/postmaster.pid", folder);

    if (unlink(path) == 0)
        log_info("removed %s, which a killed PostgreSQL had left", path);
}

static bool command(struct service *service, struct program *program, struct buf *error)
{
    static const char *const settings[] = {
        "listen_addresses=",
        "unix_socket_permissions=0700",
        "shared_buffers=64MB",
        "fsync=on",
        "synchronous_commit=on",
        "jit=off",
        "timezone=UTC",
        "log_timezone=UTC",
        "log_min_messages=warning",
        "log_checkpoints=off",
        "cluster_name=forkmark",
        "logging_collector=off",
        "log_destination=stderr",
    };
    const char *folder = arena_strdup(program->arena, service_folder(service));
    const char *programs = choose_programs(service, program->arena, error);

    if (!programs)
        return false;
    remove_stale_pid(folder, program->arena);
    program_add(program, "%s/postgres", programs);
    program_add(program, "-D");
    program_add(program, "%s", folder);
    program_add(program, "-k");
    program_add(program, "%s/run", service->all->data.sockets);
    program_add(program, "-N");
    program_add(program, "%d", max_connections(service->all->options));
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        program_add(program, "-c");
        program_add(program, "%s", settings[i]);
    }
    return true;
}

/* The eighth line of postmaster.pid says so, as pg_ctl reads it. */
static bool is_up(struct service *service)
{
    char path[PATH_MAX + 64], text[1024];

    snprintf(path, sizeof(path), "%s/postmaster.pid", service_folder(service));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (got <= 0)
        return false;
    text[got] = '\0';
    const char *line = text;
    for (int i = 1; i < 8 && line; i++) {
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    return line && strncmp(line, "ready", 5) == 0;
}

const struct service_kind service_postgres = {
    .name = "postgres",
    .process = "postgres",
    .stop_signal = SIGINT, /* "fast": sessions end, a checkpoint is written */
    .hard_signal = SIGQUIT,
    .stop_ms = 20000,
    .start_ms = 300000, /* recovery after a crash may take long */
    .prepare = prepare,
    .command = command,
    .is_up = is_up,
};
