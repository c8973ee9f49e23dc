/*
 * gate.c - see gate.h. On the path of every request: keys are joined, not printed.
 */
#include "worker/gate.h"
#include "common/arena.h"
#include "common/clock.h"
#include "common/task.h"
#include "worker/gate_batch.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    const char *prefix;
    size_t prefix_length;
    char settled_us[24]; /* "": no read replicas */
} gate;

void gate_init(const char *prefix, uint64_t settled_ms, bool is_cluster)
{
    gate.prefix = prefix;
    gate.prefix_length = strlen(prefix);
    if (settled_ms > 0)
        snprintf(gate.settled_us, sizeof(gate.settled_us), "%llu",
                 (unsigned long long)settled_ms * 1000);
    gate_batch_init(gate.settled_us, is_cluster);
}

/* ---- keys: PREFIX{OWNER}KIND A B ---- */

struct owner {
    char text[64]; /* "{u12}" or "{ip192.0.2.1}" */
    size_t length;
};

static struct owner owner_user(int32_t user_id)
{
    struct owner owner;

    owner.length = (size_t)snprintf(owner.text, sizeof(owner.text), "{u%d}", user_id);
    return owner;
}

/*
 * Who has one IPv6 address has the other 2^64 of its network as well, and a limit per
 * address would be none: the network counts.
 */
static const char *counted_address(const char *address, char room[INET6_ADDRSTRLEN])
{
    struct in6_addr six;

    if (inet_pton(AF_INET6, address, &six) != 1)
        return address;
    memset(six.s6_addr + 8, 0, 8);
    return inet_ntop(AF_INET6, &six, room, INET6_ADDRSTRLEN);
}

static struct owner owner_address(const char *address)
{
    struct owner owner;
    char room[INET6_ADDRSTRLEN];

    owner.length = (size_t)snprintf(owner.text, sizeof(owner.text), "{ip%.55s}",
                                    counted_address(address, room));
    return owner;
}

static char *append(char *at, const char *text, size_t length)
{
    memcpy(at, text, length);
    return at + length;
}

static const char *join_key(const struct owner *owner, const char *kind, const char *a,
                            const char *b)
{
    size_t kind_length = strlen(kind), a_length = strlen(a), b_length = strlen(b);
    char *key = arena_alloc(task_arena(), gate.prefix_length + owner->length +
                                              kind_length + a_length + b_length + 1);
    char *at = append(key, gate.prefix, gate.prefix_length);

    at = append(at, owner->text, owner->length);
    at = append(at, kind, kind_length);
    at = append(at, a, a_length);
    at = append(at, b, b_length);
    *at = '\0';
    return key;
}

static const char *family_key(const struct owner *owner, const char *family_id)
{
    return join_key(owner, ":family:", family_id, "");
}

static const char *token_key(const struct owner *owner, const char *jti)
{
    return join_key(owner, ":revoked:", jti, "");
}

static const char *counters_key(const struct owner *owner, const struct route *route,
                                const struct limit *limit)
{
    static const char *const kinds[] = {
        [METHOD_GET] = ":limit:get:",       [METHOD_POST] = ":limit:post:",
        [METHOD_PUT] = ":limit:put:",       [METHOD_PATCH] = ":limit:patch:",
        [METHOD_DELETE] = ":limit:delete:", [METHOD_OPTIONS] = ":limit:options:",
    };

    return join_key(owner, kinds[route->method], route->pattern, limit->spans);
}

/* ---- asking ---- */

/*
 * "1764000000123456" alone, "1764000000123456 5033165232" or "1764000000123456+": see
 * gate.lua. Where nobody here reads from replicas, others may, and keep positions.
 */
static void read_generation(char *text, struct gate_answer *ret)
{
    char *end = text + strspn(text, "0123456789");

    ret->generation = text;
    if (*end == '+') {
        ret->reader.freshness = PG_FRESH_ANY;
    } else if (*end == ' ') {
        ret->reader.freshness = PG_FRESH_AT;
        ret->reader.position = strtoull(end + 1, NULL, 10);
    }
    *end = '\0';
}

static int ask(struct redis *redis, struct gate_question *question,
               struct gate_answer *ret)
{
    struct gate_values *values = &question->values;
    int rc = gate_batch_ask(redis, question);

    if (rc < 0)
        return rc;
    *ret = (struct gate_answer){ .token = (enum gate_token)values->known,
                                 .left = values->left,
                                 .reset = values->reset,
                                 .wait = values->wait };
    if (*values->generation)
        read_generation(values->generation, ret);
    if (values->window >= 1 && values->window <= question->limit->count)
        ret->window = &question->limit->windows[values->window - 1];
    return 0;
}

/* In the arena: the answer points into it. */
static struct gate_question *question_new(int32_t user_id, const struct limit *limit)
{
    struct gate_question *question = arena_alloc(task_arena(), sizeof(*question));

    question->user_id = user_id;
    question->limit = limit;
    return question;
}

int gate_ask_user(struct redis *redis, const struct token *token,
                  const struct limit *limit, const struct route *route,
                  struct gate_answer *ret)
{
    struct owner owner = owner_user(token->user_id);
    struct gate_question *question = question_new(token->user_id, limit);

    question->keys[0] = join_key(&owner, ":gen", "", "");
    question->keys[1] = token_key(&owner, token->jti);
    question->keys[2] = family_key(&owner, token->family_id);
    question->key_count = 3;
    if (limit->count > 0)
        question->keys[question->key_count++] = counters_key(&owner, route, limit);
    return ask(redis, question, ret);
}

int gate_ask_address(struct redis *redis, const char *address, const struct limit *limit,
                     const struct route *route, struct gate_answer *ret)
{
    struct owner owner = owner_address(address);
    struct gate_question *question = question_new(0, limit);

    question->keys[0] = counters_key(&owner, route, limit);
    question->key_count = 1;
    return ask(redis, question, ret);
}

/* ---- telling ---- */

/*
 * "good" never replaces "revoked": who read the family before it was revoked may
 * say so only now.
 */
void gate_put_family(struct redis *redis, int32_t user_id, const char *family_id,
                     bool is_good, int64_t seconds)
{
    struct owner owner = owner_user(user_id);
    char ttl[24];

    snprintf(ttl, sizeof(ttl), "%lld", (long long)seconds);
    const char *argv[] = {
        "SET", family_key(&owner, family_id), is_good ? "good" : "revoked", "EX", ttl,
        "NX"
    };
    redis_call_argv(redis, NULL, is_good ? 6 : 5, argv, NULL);
}

int gate_revoke_token(struct redis *redis, const struct token *token)
{
    struct owner owner = owner_user(token->user_id);
    int64_t seconds = token->expires_at - clock_unix();
    char ttl[24];

    if (seconds <= 0)
        return 0;
    snprintf(ttl, sizeof(ttl), "%lld", (long long)seconds);
    const char *argv[] = { "SET", token_key(&owner, token->jti), "1", "EX", ttl };
    return redis_call_argv(redis, NULL, 5, argv, NULL);
}
