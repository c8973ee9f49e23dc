/*
 * redis_login.c - the first words on a connection: redis_talk_log_in().
 *
 * All commands leave in one write; each answer is then judged. A refusal says which
 * option to look at, in the words of an operator rather than of the protocol.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "common/redis_resp.h"
#include "common/redis_talk.h"
#include "common/redis_tls.h"
#include "common/task.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define STEPS 6

struct step {
    const char *name;
    bool may_fail;
    bool is_role;
};

static size_t write_steps(const struct redis_login *login, struct buf *out,
                          struct step steps[STEPS])
{
    size_t count = 0;

    if (*login->password && *login->user)
        redis_resp_texts(out, "AUTH", login->user, login->password);
    else if (*login->password)
        redis_resp_texts(out, "AUTH", login->password);
    if (*login->password)
        steps[count++] = (struct step){ .name = "AUTH" };
    if (*login->client_name) {
        /* A user without the right to CLIENT only goes nameless. */
        redis_resp_texts(out, "CLIENT", "SETNAME", login->client_name);
        steps[count++] = (struct step){ .name = "CLIENT SETNAME", .may_fail = true };
    }
    if (login->db > 0) {
        char db[16];
        snprintf(db, sizeof(db), "%d", login->db);
        redis_resp_texts(out, "SELECT", db);
        steps[count++] = (struct step){ .name = "SELECT" };
    }
    if (login->is_reader) {
        redis_resp_texts(out, "READONLY");
        steps[count++] = (struct step){ .name = "READONLY" };
    }
    if (login->needs_master) {
        /* Managed services deny it; then a write's READONLY tells. */
        redis_resp_texts(out, "ROLE");
        steps[count++] =
            (struct step){ .name = "ROLE", .may_fail = true, .is_role = true };
    }
    /* PING tells a server that listens from one that answers, and shows LOADING. */
    redis_resp_texts(out, "PING");
    steps[count++] = (struct step){ .name = "PING" };
    return count;
}

/* ---- refusals ---- */

/* What an answer that begins so means here; NULL: see the options of user and password.
 * Any other may be gone in a moment. */
static const struct {
    const char *step, *begins, *means;
} meanings[] = {
    { NULL, "NOAUTH", NULL },
    { "AUTH", "WRONGPASS", NULL },
    { "AUTH", "ERR invalid password", NULL },
    { "AUTH", "ERR AUTH <password> called without any password",
      "the server has no password for its default user: leave it out, or name a user" },
    { "AUTH", "ERR Client sent AUTH, but no password is set",
      "the server has no password: leave it out" },
    { "AUTH", "ERR wrong number of arguments",
      "the server is older than 6.0 and knows no users: leave the user out" },
    { "SELECT", "ERR DB index is out of range",
      "the server has fewer databases: take a smaller number in redis.url or redis.db" },
    { "SELECT", "ERR SELECT is not allowed", "a cluster has database 0 alone" },
    { NULL, "NOPERM", "see the user's rights on the server (ACL SETUSER)" },
};

static int refused(struct redis_talk *talk, const struct redis_login *login,
                   const struct step *step, const char *answer)
{
    for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++) {
        if ((meanings[i].step && strcmp(meanings[i].step, step->name) != 0) ||
            strncmp(answer, meanings[i].begins, strlen(meanings[i].begins)) != 0)
            continue;
        if (strcmp(meanings[i].begins, "NOAUTH") == 0)
            snprintf(talk->error, sizeof(talk->error),
                     "the server asks for a password and none is configured: see %s",
                     login->options);
        else
            snprintf(talk->error, sizeof(talk->error), "%s refused: %.150s; %s%s",
                     step->name, answer, meanings[i].means ? meanings[i].means : "see ",
                     meanings[i].means ? "" : login->options);
        return -EACCES;
    }
    snprintf(talk->error, sizeof(talk->error), "%s refused: %.150s", step->name, answer);
    return -EAGAIN;
}

/* "master", or what else this is. A replica may become the master in a moment. */
static int judge_role(struct redis_talk *talk, const redisReply *reply)
{
    const redisReply *first = reply->type == REDIS_REPLY_ARRAY && reply->elements > 0
                                  ? reply->element[0]
                                  : NULL;

    if (!first || !first->str || strcmp(first->str, "master") == 0)
        return 0;
    if (strcmp(first->str, "sentinel") == 0) {
        snprintf(talk->error, sizeof(talk->error),
                 "this is a sentinel, which keeps no data: name it in "
                 "redis.queue.sentinels instead");
        return -EACCES;
    }
    if (reply->elements > 2 && reply->element[1]->str)
        snprintf(talk->error, sizeof(talk->error),
                 "this is a replica of %.200s:%lld, which takes no writes: name the "
                 "master, or the sentinels in redis.queue.sentinels",
                 reply->element[1]->str, reply->element[2]->integer);
    else
        snprintf(talk->error, sizeof(talk->error), "this is a %.40s, no master",
                 first->str);
    return -EAGAIN;
}

/* A server that hangs up at the first word: the wrong language, or no certificate. */
static int hung_up(struct redis_talk *talk)
{
    const struct redis_address *address = talk->address;
    const char *reason = NULL;

    if (redis_stream_lacks_certificate(talk->stream))
        reason = redis_tls_no_certificate;
    else if (!address->tls && !address->is_unix && redis_stream_speaks_tls(address))
        reason = redis_talk_tls;
    snprintf(talk->error, sizeof(talk->error), "%s",
             reason ? reason : "the server closed the connection at once");
    return reason ? -EACCES : -ECONNRESET;
}

static int read_step(struct redis_talk *talk, const struct redis_login *login,
                     const struct step *step, bool is_first)
{
    redisReply *reply;
    int rc = redis_talk_reply(talk, &reply);

    if (rc == -EPROTO || rc == -EACCES)
        return -EACCES;
    if (rc == -ECONNRESET && is_first)
        return hung_up(talk);
    if (rc < 0) {
        const char *reason = arena_strdup(task_arena(), talk->error);

        snprintf(talk->error, sizeof(talk->error), "no answer to %s: %.400s", step->name,
                 reason);
        return rc;
    }
    bool is_error = reply->type == REDIS_REPLY_ERROR;
    if (is_error && (!step->may_fail || strncmp(reply->str, "NOAUTH", 6) == 0))
        rc = refused(talk, login, step, reply->str);
    else if (!is_error && step->is_role)
        rc = judge_role(talk, reply);
    freeReplyObject(reply);
    return rc;
}

int redis_talk_log_in(struct redis_talk *talk, const struct redis_login *login)
{
    struct step steps[STEPS];
    struct buf out = BUF_IN(task_arena());
    size_t count = write_steps(login, &out, steps);
    int rc = redis_talk_send(talk, &out);

    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = read_step(talk, login, &steps[i], i == 0);
    return rc;
}
