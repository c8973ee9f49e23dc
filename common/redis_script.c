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
#include "common/redis_slot.h"
#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

void redis_script_init(struct redis_script *script, const char *name, const char *text)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int length = 0;

    *script = (struct redis_script){ .name = name, .text = text };
    EVP_Digest(text, strlen(text), digest, &length, EVP_sha1(), NULL);
    for (unsigned int i = 0; i < length; i++)
        snprintf(script->sha1 + 2 * (size_t)i, 3, "%02x", digest[i]);
}

struct script_call {
    const char *verb, *what;
    size_t what_length;
    int key_count, arg_count;
    const char *const *keys, *const *args;
    const size_t *arg_lengths;
};

static void write_call(struct buf *out, const void *arg)
{
    const struct script_call *call = arg;

    redis_resp_head(out, 3 + (size_t)call->key_count + (size_t)call->arg_count);
    redis_resp_arg(out, call->verb, strlen(call->verb));
    redis_resp_arg(out, call->what, call->what_length);
    redis_resp_int(out, call->key_count);
    for (int i = 0; i < call->key_count; i++)
        redis_resp_arg(out, call->keys[i], strlen(call->keys[i]));
    for (int i = 0; i < call->arg_count; i++)
        redis_resp_arg(out, call->args[i],
                       call->arg_lengths ? call->arg_lengths[i] : strlen(call->args[i]));
}

static int run(struct redis *redis, const struct script_call *call, redisReply **ret)
{
    struct redis_command command = { .write = write_call, .arg = call };

    if (call->key_count > 0) {
        command.key = call->keys[0];
        command.key_length = strlen(command.key);
    }
    return redis_execute(redis, &command, redis->timeout_ms, ret);
}

/* For builds with asserts: a script that breaks it works until there is a cluster. */
__attribute__((unused)) static bool share_a_slot(int count, const char *const *keys)
{
    for (int i = 1; i < count; i++) {
        if (redis_slot_of(keys[i], strlen(keys[i])) !=
            redis_slot_of(keys[0], strlen(keys[0])))
            return false;
    }
    return true;
}

int redis_run_script(struct redis *redis, const struct redis_script *script,
                     redisReply **ret, int key_count, const char *const *keys,
                     int arg_count, const char *const *args, const size_t *arg_lengths)
{
    struct script_call call = { .verb = "EVALSHA",
                                .what = script->sha1,
                                .what_length = 40,
                                .key_count = key_count,
                                .keys = keys,
                                .arg_count = arg_count,
                                .args = args,
                                .arg_lengths = arg_lengths };
    redisReply *reply = NULL;

    bool needs_one = redis->cluster || (redis->one_slot && !script->any_slots);
    assert(!needs_one || share_a_slot(key_count, keys));
    (void)needs_one;
    int rc = run(redis, &call, &reply);
    if (rc == -EPROTO && reply && strncmp(reply->str, "NOSCRIPT", 8) == 0) {
        call.verb = "EVAL";
        call.what = script->text;
        call.what_length = strlen(script->text);
        rc = run(redis, &call, &reply);
    }
    if (ret && (rc == 0 || rc == -EPROTO))
        *ret = reply;
    return rc;
}
