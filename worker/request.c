/*
 * request.c - see request.h.
 *
 * libmicrohttpd keeps the head in the connection's memory until the request is
 * complete, so texts found there need no copy. Decoded ones go to the arena.
 */
#include "worker/request.h"
#include "common/arena.h"
#include "common/json.h"
#include "worker/decode.h"
#include "worker/reply.h"
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

/* Blanks behind a value are not part of it (RFC 9110, 5.5); libmicrohttpd cuts off only
 * those before it. */
const char *request_header(struct request *req, const char *name)
{
    const char *value =
        MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, name);
    size_t length = value ? strlen(value) : 0;

    while (length > 0 && (value[length - 1] == ' ' || value[length - 1] == '\t'))
        length--;
    return value && value[length] ? arena_strndup(req->arena, value, length) : value;
}

/* name=value pairs between &; the first of a name counts. */
const char *request_query(struct request *req, const char *name)
{
    size_t name_length = strlen(name);
    const char *pair = req->query_string;

    while (*pair) {
        size_t length = strcspn(pair, "&");
        const char *equals = memchr(pair, '=', length);
        size_t key_length = equals ? (size_t)(equals - pair) : length;
        size_t key_size;
        const char *key = decode_form(req->arena, pair, key_length, &key_size);

        if (key_size == name_length && memcmp(key, name, name_length) == 0) {
            if (!equals)
                return "";
            return decode_form(req->arena, equals + 1, length - key_length - 1, NULL);
        }
        pair += length;
        if (*pair == '&')
            pair++;
    }
    return NULL;
}

int64_t request_query_int(struct request *req, const char *name, int64_t fallback)
{
    const char *text = request_query(req, name);
    char *end;

    if (!text || !*text)
        return fallback;
    long long value = strtoll(text, &end, 10); /* past its range: the end of it */
    bool is_number = end != text;
    while (*end == ' ')
        end++;
    return is_number && *end == '\0' ? value : fallback;
}

const char *request_cookie(struct request *req, const char *name)
{
    const char *at = request_header(req, "Cookie");
    size_t name_length = strlen(name);

    while (at && *at) {
        at += strspn(at, "; \t");
        size_t length = strcspn(at, ";");

        if (length > name_length && at[name_length] == '=' &&
            memcmp(at, name, name_length) == 0) {
            const char *value = at + name_length + 1;
            size_t size = length - name_length - 1;

            while (size > 0 && (value[size - 1] == ' ' || value[size - 1] == '\t'))
                size--;
            if (size >= 2 && value[0] == '"' && value[size - 1] == '"') {
                value++;
                size -= 2;
            }
            return arena_strndup(req->arena, value, size);
        }
        at += length;
    }
    return NULL;
}

static bool is_blank(const struct buf *body)
{
    for (size_t i = 0; i < body->length; i++)
        if (!strchr(" \t\r\n", body->data[i]) || body->data[i] == '\0')
            return false;
    return true;
}

const cJSON *request_json(struct request *req)
{
    const cJSON *body = NULL;

    if (is_blank(&req->body))
        return cJSON_CreateObject();
    body = json_parse(req->body.data, req->body.length);
    if (cJSON_IsObject(body))
        return body;
    reply_invalid_json(req);
    return NULL;
}

enum http_status request_json_failed(struct request *req)
{
    return reply_invalid_json(req);
}
