/*
 * gate.c - see gate.h. On the path of every request: keys are joined, not printed.
 */
#include "worker/gate.h"
#include "common/arena.h"
#include "common/clock.h"
#include "common/embedded.h"
#include "common/task.h"
#include "lua_scripts.h"
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    const char *prefix;
    size_t prefix_length;
    char settled_us[24]; /* "": no read replicas */
    struct redis_script script;
} gate;

void gate_init(const char *prefix, uint64_t settled_ms)
{
    const struct embedded_file *file = embedded_find(lua_scripts, "gate.lua");

    assert(file);
    gate.prefix = prefix;
    gate.prefix_length = strlen(prefix);
    if (settled_ms > 0)
        snprintf(gate.settled_us, sizeof(gate.settled_us), "%llu",
                 (unsigned long long)settled_ms * 1000);
    redis_script_init(&gate.script, "gate", file->data);
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

static int64_t number_at(const redisReply *reply, size_t i)
{
    return reply->elements > i && reply->element[i]->type == REDIS_REPLY_INTEGER
               ? reply->element[i]->integer
               : 0;
}

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

static int read_answer(const redisReply *reply, const struct limit *limit,
                       struct gate_answer *ret)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0)
        return -EPROTO;

    *ret = (struct gate_answer){ .token = (enum gate_token)number_at(reply, 0) };
    if (reply->elements > 1 && reply->element[1]->type == REDIS_REPLY_STRING)
        read_generation(reply->element[1]->str, ret);
    int64_t window = number_at(reply, 2);
    if (window >= 1 && window <= limit->count)
        ret->window = &limit->windows[window - 1];
    ret->left = number_at(reply, 3);
    ret->reset = number_at(reply, 4);
    ret->wait = number_at(reply, 5);
    return 0;
}

static int ask(struct redis *redis, const char *const *keys, int key_count,
               const struct limit *limit, struct gate_answer *ret)
{
    const char *args[2 * LIMIT_WINDOWS + 1];
    int count = 2 * limit->count;
    redisReply *reply;

    for (int i = 0; i < limit->count; i++) {
        args[2 * i] = limit->windows[i].most_text;
        args[2 * i + 1] = limit->windows[i].seconds_text;
    }
    if (key_count >= 3 && *gate.settled_us)
        args[count++] = gate.settled_us;
    int rc =
        redis_run_script(redis, &gate.script, &reply, key_count, keys, count, args, NULL);
    return rc < 0 ? rc : read_answer(reply, limit, ret);
}

int gate_ask_user(struct redis *redis, const struct token *token,
                  const struct limit *limit, const struct route *route,
                  struct gate_answer *ret)
{
    struct owner owner = owner_user(token->user_id);
    const char *keys[4] = { join_key(&owner, ":gen", "", ""),
                            token_key(&owner, token->jti),
                            family_key(&owner, token->family_id) };
    int count = 3;

    if (limit->count > 0)
        keys[count++] = counters_key(&owner, route, limit);
    return ask(redis, keys, count, limit, ret);
}

int gate_ask_address(struct redis *redis, const char *address, const struct limit *limit,
                     const struct route *route, struct gate_answer *ret)
{
    struct owner owner = owner_address(address);
    const char *keys[1] = { counters_key(&owner, route, limit) };

    return ask(redis, keys, 1, limit, ret);
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
