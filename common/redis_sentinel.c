/*
 * redis_sentinel.c - see redis_sentinel.h.
 *
 * Listening is a chain of tasks, each one session with one sentinel: subscribe, ask what
 * may have happened before, then wait for what they announce. The next one goes to the
 * next sentinel.
 */
#include "common/redis_sentinel.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/redis_resp.h"
#include "common/redis_talk.h"
#include "common/task.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PING_AFTER_MS 2000
#define FIRST_WAIT_MS 100
#define LAST_WAIT_MS  2000

struct redis_sentinels {
    struct redis_sentinels *next;
    size_t uses;
    char *key; /* all options in one text: who has the same shares this */
    struct redis_address *addresses;
    size_t count, first; /* the one to ask first */
    char *master;
    uint64_t timeout_ms;
    struct {
        char host[REDIS_URL_PATH], port[8];
    } known;        /* host "": none yet */
    bool is_silent; /* none of them answered; logged */

    struct redis_ear *ears;
    struct session *session; /* NULL while nobody listens */
    size_t at;               /* the one it is with */
    uint64_t wait_ms;        /* before the next session */
};

struct session {
    struct redis_sentinels *sentinels; /* NULL: nobody listens any more */
    struct arena *arena;               /* it lives in this one */
    struct task *task;
    uint64_t wait_ms;
};

static struct redis_sentinels *all;

/* ---- asking ---- */

static int log_in(struct redis_talk *talk, const struct redis_address *sentinel)
{
    return redis_talk_log_in(
        talk,
        &(struct redis_login){
            .user = sentinel->user,
            .password = sentinel->password,
            .client_name = "",
            .options = "redis.queue.sentinel_user and redis.queue.sentinel_password" });
}

/* [host, port], or nil for a name it does not know. */
static int judge(const struct redis_sentinels *s, const redisReply *reply, char *error)
{
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
        reply->element[0]->str && reply->element[1]->str)
        return 0;
    if (reply->type == REDIS_REPLY_ERROR &&
        strncmp(reply->str, "ERR unknown command", 19) == 0)
        snprintf(error, REDIS_REASON, "this is no sentinel");
    else if (reply->type == REDIS_REPLY_ERROR)
        snprintf(error, REDIS_REASON, "%.200s", reply->str);
    else
        snprintf(error, REDIS_REASON,
                 "it knows no master `%.100s`: see redis.queue.master", s->master);
    return -EACCES;
}

static int ask(struct redis_sentinels *s, size_t index, uint64_t until_ms,
               redisReply **ret, const char **ret_error)
{
    struct redis_talk *talk = redis_talk_new(until_ms);
    struct buf out = BUF_IN(task_arena());
    int rc = redis_talk_open(talk, &s->addresses[index]);

    *ret_error = talk->error;
    if (rc == 0)
        rc = log_in(talk, &s->addresses[index]);
    if (rc == 0) {
        redis_resp_texts(&out, "SENTINEL", "get-master-addr-by-name", s->master);
        rc = redis_talk_send(talk, &out);
    }
    if (rc == 0)
        rc = redis_talk_reply(talk, ret);
    redis_talk_close(talk);
    if (rc != 0)
        return rc;
    rc = judge(s, *ret, talk->error);
    if (rc < 0)
        freeReplyObject(*ret);
    return rc;
}

static void take_known(struct redis_sentinels *s, const char *host, const char *port)
{
    snprintf(s->known.host, sizeof(s->known.host), "%s", host);
    snprintf(s->known.port, sizeof(s->known.port), "%s", port);
}

static void set_place(const struct redis_sentinels *s, struct redis_address *address)
{
    snprintf(address->host, sizeof(address->host), "%s", s->known.host);
    snprintf(address->port, sizeof(address->port), "%s", s->known.port);
}

/* "a:26379: Connection refused; b:26379: ..."; what another one has said is not repeated.
 */
static void add_reason(struct buf *reasons, const struct redis_address *sentinel,
                       const char *reason)
{
    char place[320];

    if (strstr(buf_text(reasons), reason))
        return;
    redis_address_show(sentinel, place, sizeof(place));
    buf_addf(reasons, "%s%s: %s", reasons->length > 0 ? "; " : "", place, reason);
}

/* Without any of them there is no fail-over: the last master is as good as ever. */
static int find_none(struct redis_sentinels *s, int rc, const char *reasons,
                     struct redis_address *address, char *error, size_t error_size)
{
    if (!s->known.host[0]) {
        snprintf(error, error_size, "no sentinel names the master: %s", reasons);
        return rc;
    }
    if (!s->is_silent)
        log_warn("no sentinel of `%s` answers (%s): the last known master is tried",
                 s->master, reasons);
    s->is_silent = true;
    set_place(s, address);
    return 0;
}

int redis_sentinels_find(struct redis_sentinels *s, uint64_t until_ms,
                         struct redis_address *address, char *error, size_t error_size)
{
    struct buf reasons = BUF_IN(task_arena());
    size_t first = s->first;
    int worst = -EHOSTUNREACH;

    for (size_t i = 0; i < s->count && clock_ms() < until_ms; i++) {
        size_t index = (first + i) % s->count;
        uint64_t share = (until_ms - clock_ms()) / (s->count - i + 1);
        redisReply *reply = NULL;
        const char *reason;

        if (share > s->timeout_ms)
            share = s->timeout_ms;
        int rc = ask(s, index, clock_ms() + share, &reply, &reason);
        if (rc != 0 || !reply) {
            add_reason(&reasons, &s->addresses[index], reason);
            worst = rc == -EACCES || worst != -EACCES ? rc : worst;
            continue;
        }
        take_known(s, reply->element[0]->str, reply->element[1]->str);
        freeReplyObject(reply);
        s->first = index;
        s->is_silent = false;
        set_place(s, address);
        return 0;
    }
    return find_none(s, worst, buf_text(&reasons), address, error, error_size);
}

void redis_sentinels_doubt(struct redis_sentinels *s)
{
    s->first = (s->first + 1) % s->count;
}

const char *redis_sentinels_master(const struct redis_sentinels *s)
{
    return s->master;
}

/* ---- listening ---- */

static void tell(struct redis_sentinels *s, const char *host, const char *port)
{
    take_known(s, host, port);
    for (struct redis_ear *each = s->ears, *next; each; each = next) {
        next = each->next;
        each->switched(each->arg, host, port);
    }
}

/* ["message", "+switch-master", "<name> <old host> <old port> <host> <port>"] */
static void take_message(struct redis_sentinels *s, const redisReply *reply)
{
    char name[256], old_host[256], old_port[8], host[256], port[8];

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3 ||
        !reply->element[0]->str || strcasecmp(reply->element[0]->str, "message") != 0 ||
        !reply->element[2]->str)
        return;
    if (sscanf(reply->element[2]->str, "%255s %255s %7s %255s %7s", name, old_host,
               old_port, host, port) != 5 ||
        strcmp(name, s->master) != 0)
        return;
    log_warn("the sentinels have made %s:%s the master of `%s` in place of %s:%s", host,
             port, name, old_host, old_port);
    tell(s, host, port);
}

static bool subscribe(struct redis_sentinels *s, struct redis_talk *talk)
{
    const struct redis_address *sentinel = &s->addresses[s->at];
    struct buf out = BUF_IN(task_arena());
    redisReply *reply;

    if (redis_talk_open(talk, sentinel) < 0 || log_in(talk, sentinel) < 0)
        return false;
    redis_resp_texts(&out, "SUBSCRIBE", "+switch-master");
    if (redis_talk_send(talk, &out) < 0 || redis_talk_reply(talk, &reply) < 0)
        return false;
    bool is_good = reply->type == REDIS_REPLY_ARRAY;
    freeReplyObject(reply);
    return is_good;
}

/* What was announced before we listened. */
static void catch_up(struct redis_sentinels *s)
{
    struct redis_address address = { 0 };
    char error[REDIS_REASON];

    if (redis_sentinels_find(s, clock_ms() + s->timeout_ms * s->count, &address, error,
                             sizeof(error)) == 0 &&
        !s->is_silent)
        tell(s, address.host, address.port);
}

static void listen_on(struct redis_sentinels *s, struct redis_talk *talk)
{
    struct buf ping = BUF_IN(task_arena());
    bool is_asked = false;
    redisReply *reply;

    redis_resp_texts(&ping, "PING");
    for (;;) {
        talk->until_ms = clock_ms() + PING_AFTER_MS;
        int rc = redis_talk_reply(talk, &reply);

        if (rc == -ETIMEDOUT && !is_asked) {
            is_asked = true;
            rc = redis_talk_send(talk, &ping);
            if (rc == 0)
                continue;
        }
        if (rc < 0)
            return;
        is_asked = false;
        take_message(s, reply);
        freeReplyObject(reply);
    }
}

static void run_session(void *arg)
{
    struct session *session = arg;
    struct redis_sentinels *s = session->sentinels;

    if (session->wait_ms > 0)
        task_sleep(session->wait_ms);
    struct redis_talk *talk = redis_talk_new(clock_ms() + s->timeout_ms);
    if (!subscribe(s, talk)) {
        log_debug("sentinel %s:%s: %s", s->addresses[s->at].host,
                  s->addresses[s->at].port, talk->error);
        return;
    }
    s->wait_ms = FIRST_WAIT_MS;
    catch_up(s);
    listen_on(s, talk);
}

static void session_ended(void *arg, enum task_outcome outcome);

static void start_session(struct redis_sentinels *s, uint64_t wait_ms)
{
    struct arena *arena = arena_new(0);
    struct session *session = arena_alloc(arena, sizeof(*session));

    *session = (struct session){ .sentinels = s, .arena = arena, .wait_ms = wait_ms };
    s->session = session;
    session->task = task_spawn(&(struct task_spec){ .name = "redis: sentinel",
                                                    .run = run_session,
                                                    .arg = session,
                                                    .arena = arena,
                                                    .on_end = session_ended });
}

static void session_ended(void *arg, enum task_outcome outcome)
{
    struct session *session = arg;
    struct redis_sentinels *s = session->sentinels;

    (void)outcome;
    if (s) {
        uint64_t wait_ms = s->wait_ms;

        s->at = (s->at + 1) % s->count;
        s->wait_ms = wait_ms * 2 < LAST_WAIT_MS ? wait_ms * 2 : LAST_WAIT_MS;
        start_session(s, wait_ms);
    }
    arena_free(session->arena);
}

void redis_sentinels_listen(struct redis_sentinels *s, struct redis_ear *ear)
{
    if (ear->link)
        return;
    ear->next = s->ears;
    ear->link = &s->ears;
    if (ear->next)
        ear->next->link = &ear->next;
    s->ears = ear;
    if (!s->session)
        start_session(s, 0);
}

void redis_sentinels_unlisten(struct redis_sentinels *s, struct redis_ear *ear)
{
    if (!ear->link)
        return;
    *ear->link = ear->next;
    if (ear->next)
        ear->next->link = ear->link;
    ear->link = NULL;
    if (s->ears || !s->session)
        return;
    s->session->sentinels = NULL;
    task_cancel(s->session->task);
    s->session = NULL;
}

/* ---- birth and end ---- */

static char *make_key(const struct redis_sentinel_options *options)
{
    struct buf key = BUF_HEAP;

    for (size_t i = 0; i < options->count; i++)
        buf_addf(&key, "%s\n", options->places[i]);
    buf_addf(&key, "\n%s\n%s\n%s\n%d\n%llu", options->master, options->user,
             options->password, options->tls, (unsigned long long)options->timeout_ms);
    char *text = strdup(buf_text(&key));
    buf_done(&key);
    if (!text)
        fatal("out of memory");
    return text;
}

static bool set_credentials(struct redis_address *address,
                            const struct redis_sentinel_options *options)
{
    if (strlen(options->user) >= sizeof(address->user) ||
        strlen(options->password) >= sizeof(address->password))
        return false;
    snprintf(address->user, sizeof(address->user), "%s", options->user);
    snprintf(address->password, sizeof(address->password), "%s", options->password);
    return true;
}

static bool set_addresses(struct redis_sentinels *s,
                          const struct redis_sentinel_options *options)
{
    s->addresses = calloc(options->count, sizeof(*s->addresses));
    if (!s->addresses)
        fatal("out of memory");
    s->count = options->count;
    for (size_t i = 0; i < s->count; i++) {
        struct redis_address *address = &s->addresses[i];

        if (options->tls)
            *address = *options->tls_like;
        address->tls = options->tls;
        address->is_unix = false;
        address->db = 0;
        if (!set_credentials(address, options) ||
            !redis_address_parse(options->places[i], "26379", address)) {
            log_error("the sentinel `%s` cannot be used: it is no host and port, or the "
                      "password is too long",
                      options->places[i]);
            return false;
        }
    }
    return true;
}

static void free_sentinels(struct redis_sentinels *s)
{
    free(s->key);
    free(s->master);
    free(s->addresses);
    free(s);
}

struct redis_sentinels *redis_sentinels_open(const struct redis_sentinel_options *options)
{
    char *key = make_key(options);

    for (struct redis_sentinels *each = all; each; each = each->next) {
        if (strcmp(each->key, key) != 0)
            continue;
        free(key);
        each->uses++;
        return each;
    }
    struct redis_sentinels *s = calloc(1, sizeof(*s));
    if (!s || !(s->master = strdup(options->master)))
        fatal("out of memory");
    s->key = key;
    s->uses = 1;
    s->timeout_ms = options->timeout_ms;
    s->wait_ms = FIRST_WAIT_MS;
    if (!set_addresses(s, options)) {
        free_sentinels(s);
        return NULL;
    }
    s->next = all;
    all = s;
    return s;
}

void redis_sentinels_close(struct redis_sentinels *s)
{
    struct redis_sentinels **link = &all;

    if (!s || --s->uses > 0)
        return;
    while (*link != s)
        link = &(*link)->next;
    *link = s->next;
    free_sentinels(s);
}
