/*
 * test_options.c - the rows agree with each other, with the committed files that
 * are written from them, and with what a Fuze deployment sets (contract 6).
 */
#include "common/buf.h"
#include "common/conf.h"
#include "common/options.h"
#include "tests/unit/testing.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SOURCE_FILE(name) TEST_DATA "/../" name

static char *content_of(const char *path)
{
    struct buf text = BUF_HEAP;
    char chunk[4096];
    FILE *file = fopen(path, "r");
    size_t got;

    if (!file)
        fail_msg("cannot read %s", path);
    while ((got = fread(chunk, 1, sizeof(chunk), file)) > 0)
        buf_add(&text, chunk, got);
    fclose(file);
    return text.data;
}

static void rows_are_sound(void **state)
{
    size_t count;
    const struct conf_key *keys = conf_keys(&count);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        const struct conf_key *key = &keys[i];
        size_t group = strcspn(key->path, ".");

        assert_ptr_equal(conf_find(key->path), key);
        /* "group.name", or "group.inner.name": the reference shows no more. */
        const char *dot = strchr(key->path, '.'),
                   *inner = dot ? strchr(dot + 1, '.') : NULL;
        assert_true(dot && !(inner && strchr(inner + 1, '.')));
        assert_true(strlen(key->help) > 5);
        assert_true((key->type == CONF_ENUM) == (key->words != NULL));
        assert_true(key->field < sizeof(struct options));
        for (size_t j = i + 1; j < count; j++) {
            assert_int_not_equal(key->field, keys[j].field);
            if (key->env && keys[j].env)
                assert_string_not_equal(key->env, keys[j].env);
            /* A group in two places would be written twice in the reference. */
            if (strncmp(key->path, keys[j].path, group + 1) == 0)
                assert_int_equal(strncmp(key->path, keys[j - 1].path, group + 1), 0);
        }
    }
}

static void reads_fuze_names(void **state)
{
    static const struct {
        const char *variable, *path, *shown;
    } rows[] = {
        { "DATABASE_URL=postgresql://a@b/c", "database.url", "(set)" },
        { "DATABASE_POOLER_URL=postgresql://a@b/c", "database.pooler_url", "(set)" },
        { "DATABASE_POOL_MODE=transaction", "database.pool_mode", "\"transaction\"" },
        { "DB_POOL_SIZE=6", "database.pool_size", "6" },
        { "DB_MAX_OVERFLOW=0", "database.max_overflow", "0" },
        { "DB_POOL_TIMEOUT=21", "database.pool_timeout", "21" },
        { "DB_POOL_RECYCLE=301", "database.pool_recycle", "\"301s\"" },
        { "DB_CONNECT_TIMEOUT=31", "database.connect_timeout", "31" },
        { "DB_SSL_MODE=require", "database.ssl_mode", "\"require\"" },
        { "REDIS_URL=rediss://h", "redis.url", "(set)" },
        { "REDIS_HOST=h", "redis.host", "\"h\"" },
        { "REDIS_PORT=1", "redis.port", "1" },
        { "REDIS_DB=3", "redis.db", "3" },
        { "REDIS_PASSWORD=p", "redis.password", "(set)" },
        { "REDIS_SSL=True", "redis.ssl", "true" },
        { "REDIS_ALLOW_UNVERIFIED_SSL=1", "redis.allow_unverified_ssl", "true" },
        { "SECRET_KEY=x", "auth.secret_key", "(set)" },
        { "JWT_SECRET_KEY=x", "auth.jwt_secret", "(set)" },
        { "ENVIRONMENT=production", "server.environment", "\"production\"" },
        { "JWT_ACCESS_TOKEN_EXPIRES_HOURS=2", "auth.access_lifetime", "\"2h\"" },
        { "JWT_ACCESS_TOKEN_EXPIRES_HOURS=0.5", "auth.access_lifetime", "\"30m\"" },
        { "JWT_ACCESS_TOKEN_EXPIRES_HOURS=90s", "auth.access_lifetime", "90" },
        { "JWT_REFRESH_TOKEN_EXPIRES_DAYS=14", "auth.refresh_lifetime", "\"14d\"" },
        { "PASSWORD_MIN_LENGTH=9", "auth.password_min", "9" },
        { "MAX_LOGIN_ATTEMPTS=6", "auth.max_attempts", "6" },
        { "BCRYPT_LOG_ROUNDS=4", "auth.bcrypt_rounds", "4" },
        { "CORS_ORIGINS=http://a, http://b", "cors.origins",
          "[ \"http://a\", \"http://b\" ]" },
        { "CORS_MAX_AGE=60", "cors.max_age", "60" },
        { "PORT=5000", "server.port", "5000" },
        { "RATELIMIT_ENABLED=false", "limits.enabled", "false" },
        { "METRICS_ENABLED=no", "metrics.enabled", "false" },
        { "METRICS_AUTH_TOKEN=t", "metrics.auth_token", "(set)" },
        { "METRICS_PREFIX=fuze_", "metrics.prefix", "\"fuze_\"" },
        { "INTERNAL_HEALTH_TOKEN=t", "metrics.health_token", "(set)" },
        { "GEMINI_API_KEY=k", "ai.api_key", "(set)" },
        { "GEMINI_MODEL=m", "ai.model", "\"m\"" },
        { "GEMINI_FALLBACK_MODEL=m", "ai.fallback_model", "\"m\"" },
        { "GEMINI_TEMPERATURE=0.2", "ai.temperature", "\"0.2\"" },
        { "GEMINI_MAX_TOKENS=5", "ai.max_tokens", "5" },
        { "GEMINI_TIMEOUT=9", "ai.timeout", "9" },
        { "ENABLE_GEMINI=false", "ai.enabled", "false" },
        { "SUPABASE_URL=https://s", "supabase.url", "\"https://s\"" },
        { "SUPABASE_ANON_KEY=k", "supabase.anon_key", "(set)" },
        { "SUPABASE_SERVICE_ROLE_KEY=k", "supabase.service_key", "(set)" },
        { "REVOCATION_SECRET=s", "auth.revocation_secret", "(set)" },
        { "REVOCATION_FAIL_OPEN=false", "auth.revocation_fail_open", "false" },
        { "CACHE_WARM_ON_LOGIN=true", "cache.warm_on_login", "true" },
        { "CACHE_WARM_TTL_RECOMMENDATIONS=10", "cache.warm_recommendations", "10" },
        { "CACHE_WARM_TTL_BOOKMARKS=10", "cache.warm_bookmarks", "10" },
        { "CACHE_WARM_TTL_PROJECTS=10", "cache.warm_projects", "10" },
        { "ASYNC_EMBEDDINGS=true", "features.async_embeddings", "true" },
        { "SEARCH_USE_RPC=true", "features.search_use_rpc", "true" },
        { "RECOMMENDATIONS_TWO_STAGE=true", "features.two_stage", "true" },
        { "FEATURE_FLAGS_CACHE_TTL=6", "features.cache_ttl", "6" },
        { "DISABLE_EMBEDDINGS=true", "features.disable_embeddings", "true" },
        { "LOG_LEVEL=WARNING", "log.level", "\"warn\"" },
        { "SENTRY_DSN=https://k@h/1", "log.sentry_dsn", "(set)" },
        { "APP_VERSION=1.2", "server.app_version", "\"1.2\"" },
        { "WEB_CONCURRENCY=auto", "server.workers", "\"auto\"" },
        { "FORKMARK_DATA=/d", "services.data", "\"/d\"" },
        { "FORKMARK_SERVICES=no", "services.mode", "\"no\"" },
        { "TRUSTED_PROXIES=2", "server.trusted_proxies", "2" },
        { "FETCH_ALLOW_PRIVATE=true", "fetch.allow_private", "true" },
        { "FETCH_PER_HOST=7/20", "fetch.per_host", "\"7/20\"" },
        { "STATIC_DIR=/s", "server.static_dir", "\"/s\"" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char variable[128];
        char *variables[] = { variable, NULL };
        struct conf_input input = { .environ = variables };
        struct buf out = BUF_HEAP;

        snprintf(variable, sizeof(variable), "%s", rows[i].variable);
        struct options *options = options_load(&input, &out);
        if (!options)
            fail_msg("%s", buf_text(&out));
        const struct conf_key *key = conf_find(rows[i].path);
        assert_int_equal(options_source(options, key).origin, CONF_ENV);
        options_show(options, key, &out);
        assert_string_equal(buf_text(&out), rows[i].shown);
        options_free(options);
        buf_done(&out);
    }
}

static void defaults_of_the_contract(void **state)
{
    struct buf errors = BUF_HEAP;
    struct options *o = options_load(&(struct conf_input){ 0 }, &errors);

    (void)state;
    assert_non_null(o);
    assert_int_equal(o->server.port, 7860);
    assert_true(o->server.workers.is_auto);
    assert_true(options_is_development(o));
    assert_int_equal(o->server.connection_memory, 16384);
    assert_int_equal(o->server.body_limit, 1048576);
    assert_int_equal(o->auth.access_lifetime, 3600000);
    assert_int_equal(o->auth.refresh_lifetime, 30 * 86400000LL);
    assert_int_equal(o->database.pool_size, 5);
    assert_int_equal(o->database.max_overflow, 10);
    assert_int_equal(o->redis.timeout, 500);
    assert_int_equal(o->cors.origins.count, 4);
    assert_int_equal(o->server.trusted_proxies, -1);
    assert_string_equal(o->limits.login, "5/15m");
    assert_string_equal(o->database.url, "");
    options_free(o);
    buf_done(&errors);
}

static void reference_is_current(void **state)
{
    struct buf reference = BUF_HEAP;
    char *committed = content_of(SOURCE_FILE("config/forkmark.conf"));

    (void)state;
    conf_write_reference(&reference);
    if (strcmp(committed, buf_text(&reference)) != 0)
        fail_msg("config/forkmark.conf is not what the rows say: build write_reference");
    free(committed);
    buf_done(&reference);
}

/* README's table stands between two comments and comes from the rows, too. */
static void readme_is_current(void **state)
{
    static const char begin[] = "<!-- options: build/generate markdown -->\n",
                      end[] = "<!-- end of options -->";
    struct buf table = BUF_HEAP;
    char *readme = content_of(SOURCE_FILE("README.md"));
    char *from = strstr(readme, begin), *to = strstr(readme, end);

    (void)state;
    conf_write_markdown(&table);
    assert_int_equal(strncmp(table.data, "| Option | Default |", 20), 0);
    assert_true((from == NULL) == (to == NULL));
    if (from) {
        from += strlen(begin);
        *to = '\0';
        if (strcmp(from, buf_text(&table)) != 0)
            fail_msg("README.md's options are not what the rows say: put the output of "
                     "build/generate markdown there");
    }
    free(readme);
    buf_done(&table);
}

/* With each "# name = value;" uncommented, the reference means the defaults. */
static void reference_can_be_loaded(void **state)
{
    char path[] = "/tmp/fm-reference-XXXXXX";
    int fd = mkstemp(path);
    struct buf reference = BUF_HEAP, text = BUF_HEAP, errors = BUF_HEAP;
    size_t count, seen = 0;
    const struct conf_key *keys = conf_keys(&count);

    (void)state;
    assert_true(fd >= 0);
    conf_write_reference(&reference);
    char *save = NULL;
    for (char *line = strtok_r(reference.data, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        size_t length = strlen(line), blanks = strspn(line, " ");
        const char *inside = line + blanks;
        bool is_value = blanks > 0 && strncmp(inside, "# ", 2) == 0 && inside[2] != ' ' &&
                        line[length - 1] == ';' && strstr(line, " = ");

        seen += is_value;
        buf_addf(&text, "%s\n", is_value ? inside + 2 : line);
    }
    assert_int_equal(seen, count);
    assert_int_equal(write(fd, text.data, text.length), (ssize_t)text.length);
    close(fd);

    struct options *defaults = options_load(&(struct conf_input){ 0 }, &errors);
    struct options *loaded = options_load(&(struct conf_input){ .file = path }, &errors);
    if (!loaded)
        fail_msg("%s", buf_text(&errors));
    for (size_t i = 0; i < count; i++) {
        assert_true(options_equal(defaults, loaded, &keys[i]));
        assert_int_equal(options_source(loaded, &keys[i]).origin, CONF_FILE);
    }
    options_free(loaded);
    options_free(defaults);
    unlink(path);
    buf_done(&reference);
    buf_done(&text);
    buf_done(&errors);
}

static void minimal_file_works(void **state)
{
    char *variables[] = { "SECRET_KEY=a", "JWT_SECRET_KEY=b",
                          "DATABASE_URL=postgresql://u@h/d", "REDIS_URL=redis://h",
                          NULL };
    struct conf_input input = { .file = SOURCE_FILE("config/minimal.conf"),
                                .environ = variables };
    struct buf errors = BUF_HEAP;
    struct options *options = options_load(&input, &errors);

    (void)state;
    if (!options)
        fail_msg("%s", buf_text(&errors));
    assert_string_equal(options->auth.secret_key, "a");
    assert_null(options_missing_secret(options));
    options_free(options);
    variables[3] = NULL;
    assert_null(options_load(&input, &errors));
    assert_non_null(strstr(buf_text(&errors), "the variable REDIS_URL is not set"));
    buf_done(&errors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_sound),
        cmocka_unit_test(reads_fuze_names),
        cmocka_unit_test(defaults_of_the_contract),
        cmocka_unit_test(reference_is_current),
        cmocka_unit_test(readme_is_current),
        cmocka_unit_test(reference_can_be_loaded),
        cmocka_unit_test(minimal_file_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
