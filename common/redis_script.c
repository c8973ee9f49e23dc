/*
 * redis_script.c - Lua scripts by their digest.
 *
 * EVALSHA first; a server that has not seen the script (restarted, failed over,
 * SCRIPT FLUSH) answers NOSCRIPT having done nothing, and gets the text by EVAL,
 * which also loads it.
 */
#include "common/buf.h"
#include "common/redis_call.h"
#include "common/redis_resp.h"
#include <errno.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

void redis_script_init(struct redis_script *script, const char *name, const char *text)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int length = 0;

    script->name = name;
    script->text = text;
    EVP_Digest(text, strlen(text), digest, &length, EVP_sha1(), NULL);
    for (unsigned int i = 0; i < length; i++)
        snprintf(script->sha1 + 2 * (size_t)i, 3, "%02x", digest[i]);
}

struct script_call {
    int key_count, arg_count;
    const char *const *keys, *const *args;
    const size_t *arg_lengths;
};

static void add_command(struct buf *out, const char *verb, const char *what,
                        size_t what_length, const struct script_call *call)
{
    redis_resp_head(out, 3 + (size_t)call->key_count + (size_t)call->arg_count);
    redis_resp_arg(out, verb, strlen(verb));
    redis_resp_arg(out, what, what_length);
    redis_resp_int(out, call->key_count);
    for (int i = 0; i < call->key_count; i++)
        redis_resp_arg(out, call->keys[i], strlen(call->keys[i]));
    for (int i = 0; i < call->arg_count; i++)
        redis_resp_arg(out, call->args[i],
                       call->arg_lengths ? call->arg_lengths[i] : strlen(call->args[i]));
}

static int run(struct redis *redis, const char *verb, const char *what,
               size_t what_length, const struct script_call *call, redisReply **ret)
{
    uint64_t until_ms = redis_call_until(redis->timeout_ms);
    int rc = redis_call_begin(redis, until_ms);

    if (rc < 0)
        return rc;
    add_command(redis_call_out(redis), verb, what, what_length, call);
    return redis_call_wait_one(redis, until_ms, ret);
}

int redis_run_script(struct redis *redis, const struct redis_script *script,
                     redisReply **ret, int key_count, const char *const *keys,
                     int arg_count, const char *const *args, const size_t *arg_lengths)
{
    struct script_call call = { .key_count = key_count,
                                .keys = keys,
                                .arg_count = arg_count,
                                .args = args,
                                .arg_lengths = arg_lengths };
    redisReply *reply = NULL;
    int rc = run(redis, "EVALSHA", script->sha1, 40, &call, &reply);

    if (rc == -EPROTO && reply && strncmp(reply->str, "NOSCRIPT", 8) == 0)
        rc = run(redis, "EVAL", script->text, strlen(script->text), &call, &reply);
    if (ret && (rc == 0 || rc == -EPROTO))
        *ret = reply;
    return rc;
}
