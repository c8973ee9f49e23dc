/*
 * data.c - see data.h.
 */
#include "master/data.h"
#include "common/buf.h"
#include "common/log.h"
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SYSTEM_FOLDER "/var/lib/forkmark"
/* The longest name below `sockets`. */
#define LONGEST_SOCKET "/run/.s.PGSQL.5432"

static void make_absolute(const char *path, char ret[PATH_MAX])
{
    char here[PATH_MAX] = "";

    if (realpath(path, ret))
        return;
    while (strncmp(path, "./", 2) == 0)
        path += 2;
    if (path[0] == '/' || !getcwd(here, sizeof(here)))
        snprintf(ret, PATH_MAX, "%s", path);
    else
        snprintf(ret, PATH_MAX, "%.2000s/%.2000s", here, path);
}

/* FNV-1a: only to tell folders apart. */
static uint32_t hash_of(const char *text)
{
    uint32_t hash = 2166136261U;

    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * 16777619U;
    return hash;
}

static void choose_sockets(struct data *data)
{
    struct sockaddr_un un;

    data->is_short_of_room =
        strlen(data->folder) + strlen(LONGEST_SOCKET) >= sizeof(un.sun_path);
    if (!data->is_short_of_room)
        snprintf(data->sockets, sizeof(data->sockets), "%s", data->folder);
    else if (geteuid() == 0)
        snprintf(data->sockets, sizeof(data->sockets), "/run/forkmark-%08x",
                 hash_of(data->folder));
    else
        snprintf(data->sockets, sizeof(data->sockets), "/tmp/forkmark-%u-%08x",
                 (unsigned)geteuid(), hash_of(data->folder));
}

/* Whether the account can reach `path`, of which perhaps only the start exists. */
static bool is_reachable(const struct account *account, const char *path)
{
    char folder[PATH_MAX];

    snprintf(folder, sizeof(folder), "%s", path);
    for (char *slash; access(folder, F_OK) != 0; *slash = '\0') {
        slash = strrchr(folder, '/');
        if (!slash || slash == folder)
            return true; /* below the root folder */
    }
    return account_reaches(account, folder);
}

void data_locate(const struct options *options, const struct account *account,
                 struct data *ret)
{
    bool is_default =
        options_source(options, conf_find("services.data")).origin == CONF_BUILT_IN;

    memset(ret, 0, sizeof(*ret));
    ret->lock_fd = -1;
    make_absolute(options->services.data, ret->folder);
    ret->was_moved =
        is_default && account->changes && !is_reachable(account, ret->folder);
    if (ret->was_moved)
        snprintf(ret->folder, sizeof(ret->folder), "%s", SYSTEM_FOLDER);
    choose_sockets(ret);
}

static bool make_folder(const char *path, mode_t mode, struct buf *error)
{
    struct stat status;

    if (mkdir(path, mode) == 0)
        return chmod(path, mode) == 0;
    if (errno == EEXIST && stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return true;
    buf_addf(error, "cannot make the folder %s: %s; see services.data (FORKMARK_DATA)",
             path, strerror(errno));
    return false;
}

/* Its parents too: /var/lib/a/b is what an operator may mean. */
static bool make_folders(const char *path, struct buf *error)
{
    char part[PATH_MAX];

    for (const char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
        snprintf(part, sizeof(part), "%.*s", (int)(at - path), path);
        if (access(part, F_OK) != 0 && !make_folder(part, 0755, error))
            return false;
    }
    /* Others may pass through to what is theirs, but not look around. */
    return make_folder(path, 0711, error);
}

bool data_make(const struct data *data, const struct account *account, const char *name,
               struct buf *error)
{
    char path[PATH_MAX + 32];

    snprintf(path, sizeof(path), "%s/%s", data->folder, name);
    if (!make_folder(path, 0700, error))
        return false;
    int rc = account_give(account, path);
    if (rc < 0)
        buf_addf(error, "cannot give %s to %s: %s", path, account->name, strerror(-rc));
    return rc == 0;
}

/*
 * A name in /tmp can be guessed: what is already there must be ours and nobody
 * else's to write.
 */
static bool is_ours(const char *folder, struct buf *error)
{
    struct stat status;

    if (lstat(folder, &status) == 0 && S_ISDIR(status.st_mode) &&
        status.st_uid == geteuid() && !(status.st_mode & 022))
        return true;
    buf_addf(error, "%s is not a folder of this user alone; remove it", folder);
    return false;
}

bool data_make_sockets(const struct data *data, const struct account *account,
                       struct buf *error)
{
    char run[PATH_MAX + 8];

    if (data->is_short_of_room &&
        (!make_folder(data->sockets, 0711, error) || !is_ours(data->sockets, error)))
        return false;
    snprintf(run, sizeof(run), "%s/run", data->sockets);
    if (!make_folder(run, 0700, error))
        return false;
    int rc = account_give(account, run);
    if (rc < 0)
        buf_addf(error, "cannot give %s to %s: %s", run, account->name, strerror(-rc));
    return rc == 0;
}

/* A POSIX lock: children do not inherit it, so it goes with the master. */
static bool take_lock(struct data *data, struct buf *error)
{
    char path[PATH_MAX + 8];
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    snprintf(path, sizeof(path), "%s/lock", data->folder);
    data->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (data->lock_fd < 0) {
        buf_addf(error, "cannot open %s: %s", path, strerror(errno));
        return false;
    }
    if (fcntl(data->lock_fd, F_SETLK, &lock) == 0)
        return true;
    fcntl(data->lock_fd, F_GETLK, &lock);
    buf_addf(error,
             "the data folder %s is in use by another forkmark (process %d); stop it, or "
             "choose another folder by services.data (FORKMARK_DATA)",
             data->folder, (int)lock.l_pid);
    return false;
}

bool data_open(struct data *data, const struct account *account, struct buf *error)
{
    char resolved[PATH_MAX];

    if (!make_folders(data->folder, error))
        return false;
    /* As the kernel will show it in /proc: see services_leftovers(). */
    if (realpath(data->folder, resolved))
        memcpy(data->folder, resolved, sizeof(resolved));
    choose_sockets(data);
    if (!account_reaches(account, data->folder)) {
        buf_addf(error,
                 "user %s cannot reach the data folder %s; choose one that it may enter "
                 "by services.data (FORKMARK_DATA), or another user by server.user",
                 account->name, data->folder);
        return false;
    }
    return take_lock(data, error);
}

void data_close(struct data *data)
{
    if (data->lock_fd >= 0)
        close(data->lock_fd);
    data->lock_fd = -1;
}

/* Secrets ------------------------------------------------------------------- */

static bool read_secret(const char *path, char ret_text[65])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    ssize_t got = read(fd, ret_text, 64);
    close(fd);
    if (got != 64)
        return false;
    ret_text[64] = '\0';
    return strspn(ret_text, "0123456789abcdef") == 64;
}

/* Written aside, synced and renamed: there is a whole secret, or none. */
static bool write_secret(const char *path, const char text[65])
{
    char aside[PATH_MAX + 64];

    snprintf(aside, sizeof(aside), "%s.new", path);
    int fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool is_written = write(fd, text, 64) == 64 && fsync(fd) == 0;
    close(fd);
    return is_written && rename(aside, path) == 0;
}

static bool make_secret(char ret_text[65])
{
    uint8_t bytes[32];

    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        return false;
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(ret_text + 2 * i, 3, "%02x", bytes[i]);
    return true;
}

bool data_secret(const struct data *data, const char *name, char ret_text[65],
                 struct buf *error)
{
    char folder[PATH_MAX + 16], path[PATH_MAX + 40];

    snprintf(folder, sizeof(folder), "%s/secrets", data->folder);
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    if (!make_folders(data->folder, error) || !make_folder(folder, 0700, error))
        return false;
    if (read_secret(path, ret_text))
        return true;
    if (access(path, F_OK) == 0) {
        buf_addf(error,
                 "%s cannot be read as a secret (64 hex digits); restore it, or remove "
                 "it if all sessions and stored keys may be lost",
                 path);
        return false;
    }
    if (make_secret(ret_text) && write_secret(path, ret_text))
        return true;
    buf_addf(error, "cannot write the secret %s: %s", path, strerror(errno));
    return false;
}
