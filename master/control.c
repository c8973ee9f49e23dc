/*
 * control.c - see control.h. Each command is one row: its words, and the function.
 */
#include "master/control.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/events.h"
#include "master/master.h"
#include "master/operate.h"
#include "master/status.h"
#include "master/upgrade.h"
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENTS_MAX   8
#define WORDS_MAX     8
#define REQUEST_BYTES 4096
/* Who has had a place for so long without a command, or without reading the answer, may
 * lose it to another one. */
#define IDLE_MS 10000

struct client {
    struct watch watch;
    struct control *control; /* NULL: this place is free */
    struct buf in, out;
    uid_t uid;
    uint64_t since_ms; /* clock_ms() at its connect */
    bool is_waiting;   /* for the end of the reload `serial`, which changes `report` */
    unsigned serial;
    char *report;
    cJSON *data; /* the same as data; NULL: not known yet */
};

struct control {
    struct watch listening;
    struct master *master;
    struct client clients[CLIENTS_MAX];
    char who[80]; /* gave the command that is being run */
};

/* Commands ------------------------------------------------------------------ */

struct command {
    const char *words; /* "scale <pool> <count>": <x> stands for any word */
    /* False: refused. `text` is for people; `answer` may get a member "data". */
    bool (*run)(struct master *m, char *const words[], struct buf *text, cJSON *answer);
    bool waits; /* the answer comes when the reload it began is over */
};

/* {"changes":[{"key","old","new","applies"}, ...]} */
static cJSON *reload_data(const struct master *m)
{
    cJSON *data = cJSON_CreateObject();
    cJSON *changes = m->reload.changes ? cJSON_Duplicate(m->reload.changes, true)
                                       : cJSON_CreateArray();

    cJSON_AddItemToObject(data, "changes", changes);
    return data;
}

static bool run_reload(struct master *m, char *const words[], struct buf *text,
                       cJSON *answer)
{
    (void)words;
    event_note(EVENT_RELOAD, "a reload, asked for by %s", control_who(m));
    bool is_good = reload(m, text);
    if (is_good && !m->reload.is_wanted)
        cJSON_AddItemToObject(answer, "data", reload_data(m));
    return is_good;
}

static bool run_restart(struct master *m, char *const words[], struct buf *text,
                        cJSON *answer)
{
    (void)words;
    (void)answer;
    event_note(EVENT_RELOAD, "a rolling restart, asked for by %s", control_who(m));
    return reload_restart(m, text);
}

static bool run_stop(struct master *m, char *const words[], struct buf *text,
                     cJSON *answer)
{
    (void)answer;
    event_note(EVENT_MASTER, "told to stop by %s", control_who(m));
    stop_begin(m, words[1] != NULL);
    buf_adds(text, "stopping\n");
    return true;
}

static bool run_upgrade(struct master *m, char *const words[], struct buf *text,
                        cJSON *answer)
{
    cJSON *data = cJSON_AddObjectToObject(answer, "data");

    cJSON_AddNumberToObject(data, "pid", m->pid);
    event_note(EVENT_MASTER, "an upgrade, asked for by %s", control_who(m));
    return upgrade(m, words[1] && strcmp(words[1], "--complete") == 0, text);
}

static const char *const origins[] = {
    [CONF_BUILT_IN] = "built-in", [CONF_FILE] = "file",       [CONF_ENV] = "environment",
    [CONF_ARGUMENT] = "argument", [CONF_RUNTIME] = "runtime",
};

struct shown {
    struct buf *text;
    cJSON *list;
};

static void show_value(void *arg, const char *key, const char *value,
                       const struct conf_source *source)
{
    struct shown *shown = arg;
    cJSON *row = cJSON_CreateObject();

    buf_addf(shown->text, "%s = %s  # %s\n", key, value, source->where);
    cJSON_AddStringToObject(row, "key", key);
    cJSON_AddStringToObject(row, "value", value);
    cJSON_AddStringToObject(row, "origin", origins[source->origin]);
    cJSON_AddStringToObject(row, "where", source->where);
    cJSON_AddItemToArray(shown->list, row);
}

static bool run_show_config(struct master *m, char *const words[], struct buf *text,
                            cJSON *answer)
{
    size_t count;
    const struct conf_key *keys = conf_keys(&count);
    struct shown shown = { text, cJSON_AddArrayToObject(answer, "data") };

    (void)words;
    for (size_t i = 0; i < count; i++) {
        struct conf_source source = options_source(m->options, &keys[i]);
        struct buf value = BUF_HEAP;

        options_show(m->options, &keys[i], &value);
        show_value(&shown, keys[i].path, buf_text(&value), &source);
        buf_done(&value);
    }
    options_each_item(m->options, show_value, &shown);
    return true;
}

static bool run_status(struct master *m, char *const words[], struct buf *text,
                       cJSON *answer)
{
    cJSON *data = status_json(m);

    (void)words;
    status_text_tree(data, text);
    cJSON_AddItemToObject(answer, "data", data);
    return true;
}

/* In the order `forkmark ctl --help` lists them. */
static const struct command commands[] = {
    { .words = "status", .run = run_status },
    { .words = "reload", .run = run_reload },
    { .words = "reload --wait", .run = run_reload, .waits = true },
    { .words = "restart --rolling", .run = run_restart },
    { .words = "restart --rolling --wait", .run = run_restart, .waits = true },
    { .words = "scale <pool> <count>", .run = operate_scale },
    { .words = "scale <pool> <count> --for <time>", .run = operate_scale },
    { .words = "drain <pid>", .run = operate_drain },
    { .words = "kill <pid>", .run = operate_kill },
    { .words = "log-level <level>", .run = operate_log_level },
    { .words = "stop", .run = run_stop },
    { .words = "stop --quick", .run = run_stop },
    { .words = "upgrade", .run = run_upgrade },
    { .words = "upgrade --wait", .run = run_upgrade }, /* by asking, see ctl_upgrade.c */
    { .words = "upgrade --complete", .run = run_upgrade },
    { .words = "show config", .run = run_show_config },
    { .words = "show events", .run = operate_show_events },
    { .words = "show listeners", .run = operate_show_listeners },
    { .words = "show pools", .run = operate_show_pools },
};

/* Whether the words are an instance of the pattern. */
static bool matches(const char *pattern, char *const words[], size_t count)
{
    size_t at = 0;

    while (*pattern) {
        size_t length = strcspn(pattern, " ");

        if (at == count || (*pattern != '<' && (strlen(words[at]) != length ||
                                                memcmp(words[at], pattern, length) != 0)))
            return false;
        at++;
        pattern += length + (pattern[length] == ' ');
    }
    return at == count;
}

static const struct command *find_command(char *const words[], size_t count)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (matches(commands[i].words, words, count))
            return &commands[i];
    return NULL;
}

/* Of a command that is known by its first word, how it is written. */
static void say_unknown(const char *word, struct buf *text)
{
    size_t length = strlen(word), before = text->length;

    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strncmp(commands[i].words, word, length) == 0 &&
            (commands[i].words[length] == ' ' || !commands[i].words[length]))
            buf_addf(text, "%s`%s`", text->length > before ? " or " : "write ",
                     commands[i].words);
    if (text->length == before)
        buf_addf(text, "unknown command `%s`", word);
    buf_adds(text, "; see forkmark ctl --help\n");
}

/* {"words":[...]} to texts that live as long as `request`. */
static bool read_words(const cJSON *request, char *words[WORDS_MAX + 1],
                       size_t *ret_count)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(request, "words"), *item;
    size_t count = 0;

    cJSON_ArrayForEach(item, list)
    {
        if (!cJSON_IsString(item) || count == WORDS_MAX)
            return false;
        words[count++] = item->valuestring;
    }
    words[count] = NULL;
    *ret_count = count;
    return count > 0;
}

/* The number is the kernel's word, the name is what the other side says of itself. */
static void note_who(const struct client *client, const cJSON *request)
{
    const cJSON *user = cJSON_GetObjectItemCaseSensitive(request, "user");
    char *who = client->control->who;

    snprintf(who, sizeof(client->control->who), "%.40s (uid %u)",
             cJSON_IsString(user) && *user->valuestring ? user->valuestring : "somebody",
             (unsigned)client->uid);
    for (; *who; who++)
        if ((unsigned char)*who < ' ' || *who == 0x7f)
            *who = '?';
}

const char *control_who(const struct master *m)
{
    return m->control && *m->control->who ? m->control->who : "nobody";
}

static void put_answer(cJSON *reply, bool is_ok, const char *text, struct buf *out)
{
    cJSON_AddBoolToObject(reply, "ok", is_ok);
    cJSON_AddStringToObject(reply, "text", text);
    char *printed = cJSON_PrintUnformatted(reply);
    buf_addf(out, "%s\n", printed ? printed : "{\"ok\":false,\"text\":\"no memory\"}");
    cJSON_free(printed);
}

static void set_report(struct client *client, const char *text, cJSON *data)
{
    free(client->report);
    client->report = strdup(text);
    cJSON_Delete(client->data);
    client->data = data;
}

/* One that cannot begin yet is the next one. */
static void wait_for_reload(const struct master *m, struct client *client,
                            const char *text, cJSON *reply)
{
    client->serial = m->reload.serial + (m->reload.is_wanted ? 1 : 0);
    set_report(client, text, cJSON_DetachItemFromObjectCaseSensitive(reply, "data"));
}

/* False: the answer comes later. */
static bool answer(struct master *m, struct client *client)
{
    const char *line = client->in.data;
    cJSON *request = cJSON_Parse(line), *reply = cJSON_CreateObject();
    char *words[WORDS_MAX + 1];
    struct buf text = BUF_HEAP;
    size_t count;
    bool is_ok = false;

    if (!read_words(request, words, &count)) {
        buf_adds(&text, "no command\n");
    } else {
        const struct command *command = find_command(words, count);

        note_who(client, request);
        if (command)
            is_ok = command->run(m, words, &text, reply);
        client->is_waiting = is_ok && command->waits && reload_is_busy(m);
        if (!command)
            say_unknown(words[0], &text);
    }
    if (client->is_waiting)
        wait_for_reload(m, client, buf_text(&text), reply);
    else
        put_answer(reply, is_ok, buf_text(&text), &client->out);
    cJSON_Delete(reply);
    cJSON_Delete(request);
    buf_done(&text);
    return !client->is_waiting;
}

/* Connections --------------------------------------------------------------- */

static void close_client(struct client *client)
{
    master_unwatch(client->control->master, &client->watch);
    close(client->watch.fd);
    buf_done(&client->in);
    buf_done(&client->out);
    free(client->report);
    cJSON_Delete(client->data);
    client->report = NULL;
    client->data = NULL;
    client->is_waiting = false;
    client->control = NULL;
}

static void send_answer(struct client *client)
{
    ssize_t sent = send(client->watch.fd, client->out.data, client->out.length,
                        MSG_DONTWAIT | MSG_NOSIGNAL);

    if (sent < 0 && errno != EAGAIN) {
        close_client(client);
        return;
    }
    if (sent > 0)
        buf_consume(&client->out, (size_t)sent);
    if (client->out.length == 0)
        close_client(client);
    else
        master_watch(client->control->master, &client->watch, EPOLLOUT);
}

static void on_client(struct watch *watch, uint32_t events)
{
    struct client *client =
        (struct client *)((char *)watch - offsetof(struct client, watch));
    char chunk[1024];

    if (events & EPOLLOUT) {
        send_answer(client);
        return;
    }
    ssize_t got = recv(watch->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0 || client->in.length + (size_t)got > REQUEST_BYTES) {
        close_client(client);
        return;
    }
    if (client->is_waiting)
        return; /* it has asked already */
    buf_add(&client->in, chunk, (size_t)got);
    char *end = memchr(client->in.data, '\n', client->in.length);
    if (!end)
        return;
    *end = '\0';
    if (answer(client->control->master, client))
        send_answer(client);
}

/* Whether it waits for the reload that has begun last, or one before. */
static bool waits_for_it(const struct master *m, const struct client *client)
{
    return client->control && client->is_waiting && client->serial <= m->reload.serial;
}

void control_reload_begun(struct master *m, const char *text)
{
    for (size_t i = 0; m->control && i < CLIENTS_MAX; i++)
        if (waits_for_it(m, &m->control->clients[i]))
            set_report(&m->control->clients[i], text, reload_data(m));
}

void control_reload_done(struct master *m, bool is_ok, const char *text)
{
    for (size_t i = 0; m->control && i < CLIENTS_MAX; i++) {
        struct client *client = &m->control->clients[i];
        struct buf both = BUF_HEAP;
        cJSON *reply;

        if (!waits_for_it(m, client))
            continue;
        reply = cJSON_CreateObject();
        if (is_ok)
            buf_adds(&both, client->report);
        if (is_ok && client->data)
            cJSON_AddItemToObject(reply, "data", client->data);
        else
            cJSON_Delete(client->data);
        client->data = NULL;
        buf_adds(&both, text);
        put_answer(reply, is_ok, buf_text(&both), &client->out);
        cJSON_Delete(reply);
        buf_done(&both);
        client->is_waiting = false;
        send_answer(client);
    }
}

/* Only those who could end this process by a signal may command it. */
static bool may_command(int fd, uid_t *ret_uid)
{
    struct ucred peer;
    socklen_t length = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 &&
        (peer.uid == 0 || peer.uid == geteuid())) {
        *ret_uid = peer.uid;
        return true;
    }
    log_warn("the control socket was used by user %u: refused", (unsigned)peer.uid);
    return false;
}

static void refuse(int fd, const char *why)
{
    char line[128];
    int length = snprintf(line, sizeof(line), "{\"ok\":false,\"text\":\"%s\\n\"}\n", why);

    if (send(fd, line, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        log_debug("who was refused has gone already");
    close(fd);
}

static struct client *free_client(struct control *control)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (!control->clients[i].control)
            return &control->clients[i];
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = &control->clients[i];

        if (client->is_waiting || clock_ms() - client->since_ms < IDLE_MS)
            continue;
        close_client(client);
        return client;
    }
    return NULL;
}

static void on_connect(struct watch *watch, uint32_t events)
{
    struct control *control =
        (struct control *)((char *)watch - offsetof(struct control, listening));
    int fd = accept4(watch->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct client *client;
    uid_t uid = 0;

    (void)events;
    if (fd < 0)
        return;
    if (!may_command(fd, &uid)) {
        refuse(fd, "this server obeys root and its own user alone");
        return;
    }
    if (!(client = free_client(control))) {
        refuse(fd, "too many commands at once");
        return;
    }
    *client = (struct client){
        .watch = { fd, on_client }, .control = control, .uid = uid, .since_ms = clock_ms()
    };
    if (!master_watch(control->master, &client->watch, EPOLLIN))
        close_client(client);
}

/* The socket ---------------------------------------------------------------- */

char *control_path(const struct options *options, const struct data *data,
                   bool is_embedded)
{
    struct buf path = BUF_HEAP;
    int port = (int)options->server.port;

    if (*options->server.control)
        buf_adds(&path, options->server.control);
    else if (is_embedded)
        buf_addf(&path, "%s/control", data->sockets);
    else if (geteuid() == 0)
        buf_addf(&path, "/run/forkmark-%d.control", port);
    else
        buf_addf(&path, "/tmp/forkmark-%u-%d.control", (unsigned)geteuid(), port);
    return path.data;
}

/* Whether that name is free, or has been freed of a socket nobody listens at any more. A
 * full backlog (EAGAIN) is somebody's, and so is what is no socket at all. 0 or a
 * negative errno. */
static int make_way(const char *path, const struct sockaddr_un *address)
{
    struct stat status;

    if (lstat(path, &status) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(status.st_mode))
        return -EEXIST;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int rc =
        fd < 0 ? -1 : connect(fd, (const struct sockaddr *)address, sizeof(*address));
    int error = rc == 0 || errno == EAGAIN ? EADDRINUSE : errno;
    if (fd >= 0)
        close(fd);
    if (error != ECONNREFUSED)
        return -error;
    return unlink(path) < 0 ? -errno : 0;
}

static int bind_socket(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path));
    int rc = make_way(path, &address);
    if (rc < 0)
        return rc;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    mode_t mask = umask(0177);
    rc = bind(fd, (struct sockaddr *)&address, sizeof(address));
    if (rc == 0)
        rc = listen(fd, CLIENTS_MAX);
    int error = errno;
    umask(mask);
    if (rc < 0)
        close(fd);
    return rc < 0 ? -error : fd;
}

/* Beside the master of before there is a second one. */
static char *own_path(const struct master *m)
{
    char *path = control_path(m->options, &m->services.data, m->services.is_used);
    struct buf second = BUF_HEAP;

    if (!upgrade_is_second(m))
        return path;
    buf_addf(&second, "%s.2", path);
    free(path);
    return second.data;
}

bool control_open(struct master *m, struct buf *error)
{
    struct control *control = calloc(1, sizeof(*control));

    m->control_path = own_path(m);
    int fd = control ? bind_socket(m->control_path) : -ENOMEM;
    if (fd < 0) {
        buf_addf(error, "cannot open the control socket %s: %s; see server.control",
                 m->control_path,
                 fd == -EADDRINUSE ? "another forkmark has it"
                 : fd == -EEXIST   ? "there is already something else of that name"
                                   : strerror(-fd));
        free(control);
        free(m->control_path);
        m->control_path = NULL;
        return false;
    }
    control->master = m;
    control->listening = (struct watch){ fd, on_connect };
    m->control = control;
    return master_watch(m, &control->listening, EPOLLIN);
}

void control_close(struct master *m)
{
    struct control *control = m->control;

    if (!control)
        return;
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (control->clients[i].control)
            close_client(&control->clients[i]);
    close(control->listening.fd);
    unlink(m->control_path);
    free(m->control_path);
    free(control);
    m->control = NULL;
    m->control_path = NULL;
}

void control_moved(struct master *m)
{
    if (!m->control)
        return;
    char *path = own_path(m);
    if (strcmp(path, m->control_path) != 0 && rename(m->control_path, path) == 0) {
        free(m->control_path);
        m->control_path = path;
        return;
    }
    free(path);
}
