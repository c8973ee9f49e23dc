/*
 * test_conf.c - what an operator may write, and what is said when it is wrong.
 */
#include "common/buf.h"
#include "common/conf.h"
#include "common/conf_internal.h"
#include "common/options.h"
#include "tests/unit/testing.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/fm-conf-XXXXXX";
static char file_path[64];

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static const char *in_folder(const char *name)
{
    static char path[128];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

/* The input's file is `text` when that is not NULL. */
static struct options *load(const char *text, struct conf_input input, struct buf *errors)
{
    if (text) {
        write_file(file_path, text);
        input.file = file_path;
    }
    struct options *direct = options_load(&input, errors);
    struct buf again = BUF_HEAP;
    struct options *by_child = options_load_in_child(&input, &again);
    size_t count;
    const struct conf_key *keys = conf_keys(&count);

    /* Whatever is loaded or refused, the child's way says the same. */
    assert_string_equal(buf_text(errors), buf_text(&again));
    assert_true((direct == NULL) == (by_child == NULL));
    for (size_t i = 0; direct && i < count; i++) {
        struct conf_source one = options_source(direct, &keys[i]);
        struct conf_source other = options_source(by_child, &keys[i]);

        assert_true(options_equal(direct, by_child, &keys[i]));
        assert_int_equal(one.origin, other.origin);
        assert_string_equal(one.where, other.where);
    }
    if (direct) {
        struct buf pools = BUF_HEAP, other_pools = BUF_HEAP;

        assert_true(options_same_pools(direct, by_child));
        assert_true(options_same_group(direct, by_child, "jobs.functions"));
        for (size_t i = 0; i < direct->jobs.function_count; i++)
            assert_string_equal(direct->jobs.functions[i].where,
                                by_child->jobs.functions[i].where);
        for (size_t i = 0; i < direct->jobs.pool_count; i++)
            assert_string_equal(direct->jobs.pools[i].account_where,
                                by_child->jobs.pools[i].account_where);
        assert_string_equal(options_pools_source(direct).where,
                            options_pools_source(by_child).where);
        options_show_group(direct, "jobs.pools", &pools);
        options_show_group(by_child, "jobs.pools", &other_pools);
        options_show_group(direct, "jobs.queues", &pools);
        options_show_group(by_child, "jobs.queues", &other_pools);
        assert_string_equal(buf_text(&pools), buf_text(&other_pools));
        buf_done(&pools);
        buf_done(&other_pools);
    }
    options_free(by_child);
    buf_done(&again);
    return direct;
}

static struct options *load_good(const char *text, struct conf_input input)
{
    struct buf errors = BUF_HEAP;
    struct options *options = load(text, input, &errors);

    if (!options)
        fail_msg("%s", buf_text(&errors));
    buf_done(&errors);
    return options;
}

/* One --set: the option as it is shown, or "! " and the error. */
static char *shown(const char *set)
{
    static char text[512];
    const char *sets[] = { set, NULL };
    struct conf_input input = { .sets = sets };
    struct buf out = BUF_HEAP;
    char path[64];
    struct options *options = options_load(&input, &out);

    snprintf(path, sizeof(path), "%.*s", (int)strcspn(set, "="), set);
    if (options)
        options_show(options, conf_find(path), &out);
    snprintf(text, sizeof(text), "%s%s", options ? "" : "! ", buf_text(&out));
    text[strcspn(text, "\n")] = '\0';
    options_free(options);
    buf_done(&out);
    return text;
}

static void values_of_each_type(void **state)
{
    static const struct {
        const char *set, *shown;
    } rows[] = {
        { "log.access=true", "true" },
        { "log.access=1", "true" },
        { "log.access=YES", "true" },
        { "log.access=on", "true" },
        { "log.access=false", "false" },
        { "log.access=0", "false" },
        { "log.access=No", "false" },
        { "log.access=off", "false" },
        { "log.access=maybe",
          "! --set: `log.access` must be true or false; it is \"maybe\"" },
        { "log.access=", "! --set: `log.access` must be true or false; it is \"\"" },
        { "server.port=1", "1" },
        { "server.port=65535", "65535" },
        { "server.trusted_proxies=-1", "-1" },
        { "server.port=0",
          "! --set: `server.port` must be between 1 and 65535; it is \"0\"" },
        { "server.port=65536",
          "! --set: `server.port` must be between 1 and 65535; it is \"65536\"" },
        { "server.port=80x",
          "! --set: `server.port` must be a whole number; it is \"80x\"" },
        { "server.port=1.5",
          "! --set: `server.port` must be a whole number; it is \"1.5\"" },
        { "server.port=99999999999999999999",
          "! --set: `server.port` must be a whole number; it is "
          "\"99999999999999999999\"" },
        { "server.keepalive=30", "30" },
        { "server.keepalive=30s", "30" },
        { "server.keepalive=500ms", "\"500ms\"" },
        { "server.keepalive=1.5", "\"1500ms\"" },
        { "server.keepalive=5m", "\"5m\"" },
        { "server.keepalive=90s", "90" },
        { "server.keepalive=0", "0" },
        { "auth.access_lifetime=2h", "\"2h\"" },
        { "auth.access_lifetime=7d", "\"7d\"" },
        { "auth.access_lifetime=36h", "\"36h\"" },
        { "server.keepalive=2h",
          "! --set: `server.keepalive` must be between 0 and 1h; it is \"2h\"" },
        { "server.keepalive=-1",
          "! --set: `server.keepalive` must be a time such as 30, \"500ms\", \"5m\", "
          "\"2h\" or \"7d\"; it is \"-1\"" },
        { "server.keepalive=5 weeks",
          "! --set: `server.keepalive` must be a time such as 30, \"500ms\", \"5m\", "
          "\"2h\" or \"7d\"; it is \"5 weeks\"" },
        { "server.body_limit=4096", "\"4K\"" },
        { "server.body_limit=4097", "4097" },
        { "server.body_limit=16K", "\"16K\"" },
        { "server.body_limit=1M", "\"1M\"" },
        { "server.body_limit=2MiB", "\"2M\"" },
        { "server.body_limit=1G", "\"1G\"" },
        { "server.body_limit=1",
          "! --set: `server.body_limit` must be between 1K and 1G; it is \"1\"" },
        { "server.backlog=0",
          "! --set: `server.backlog` must be between 1 and 65535 connections; it is "
          "\"0\"" },
        { "server.body_limit=1X",
          "! --set: `server.body_limit` must be a size such as 4096, \"16K\" or \"1M\"; "
          "it is \"1X\"" },
        { "server.workers=4", "4" },
        { "server.workers=0", "0" },
        { "server.workers=auto", "\"auto\"" },
        { "server.workers=50%", "\"50%\"" },
        { "server.workers=0%", "! --set: `server.workers` must be a number up to 1024, "
                               "\"auto\", or a share of "
                               "the CPUs such as \"50%\"; it is \"0%\"" },
        { "server.workers=1025", "! --set: `server.workers` must be a number up to 1024, "
                                 "\"auto\", or a share of "
                                 "the CPUs such as \"50%\"; it is \"1025\"" },
        { "server.workers=-1", "! --set: `server.workers` must be a number up to 1024, "
                               "\"auto\", or a share of "
                               "the CPUs such as \"50%\"; it is \"-1\"" },
        { "server.workers=2..8", "{ min = 2; max = 8; }" },
        { "server.workers=1..400%", "{ min = 1; max = \"400%\"; }" },
        { "server.workers=2..2", "{ min = 2; max = 2; }" },
        { "server.workers=0..2",
          "! --set: `server.workers` is a range: its `min` must be at least 1" },
        { "server.workers=5..2", "! --set: `server.workers` has a `min` of 5, but a "
                                 "`max` of 2; it is \"5..2\"" },
        { "server.workers=2..", "! --set: `server.workers` must be a range of two counts "
                                "such as \"2..8\"; it is \"2..\"" },
        { "server.workers=2..1025", "! --set: `server.workers` must be a range of two "
                                    "counts such as \"2..8\"; it is \"2..1025\"" },
        { "log.level=debug", "\"debug\"" },
        { "log.level=DEBUG", "\"debug\"" },
        { "log.level=WARNING", "\"warn\"" },
        { "log.level=loud",
          "! --set: `log.level` must be one of: error, warn, info, debug; it is "
          "\"loud\"" },
        { "server.bind=127.0.0.1:80,unix:/run/a",
          "[ \"127.0.0.1:80\", \"unix:/run/a\" ]" },
        { "cors.origins=", "[ ]" },
        { "cors.origins= a , b,,c ", "[ \"a\", \"b\", \"c\" ]" },
        { "server.app_version=say \"x\"\\", "\"say \\\"x\\\"\\\\\"" },
        { "server.app_version=a=b", "\"a=b\"" },
        { "auth.secret_key=hidden", "(set)" },
        { "auth.secret_key=", "\"\"" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_string_equal(shown(rows[i].set), rows[i].shown);
}

/* Good with one text and refused with another, whatever is said. */
static void checks_of_rows(void **state)
{
    static const struct {
        const char *path;
        const char *good[12], *bad[14];
    } rows[] = {
        { "server.bind",
          { "0.0.0.0", "0.0.0.0:80", "::", "[::]", "[::1]:80", "*", "*:80", ":80",
            "localhost", "localhost:80", "unix:/x" },
          { "1.2.3", "256.1.1.1", "host.example", "[::1", "[::1]x", "[1.2.3.4]",
            "1.2.3.4:", "1.2.3.4:0", "1.2.3.4:65536", "1.2.3.4:x", "unix:", "[]:80",
            "tcp://0.0.0.0" } },
        { "server.forwarded_allow_ips",
          { "*", "10.0.0.1", "10.0.0.0/8", "0.0.0.0/0", "::1", "fd00::/128" },
          { "10.0.0.0/33", "::/129", "10/8", "10.0.0.0/", "host", "10.0.0.0/8x", "**" } },
        { "limits.login",
          { "", "none", "5/15m", "5/15m,100/1h", "5/15m, 100/1h", "1/1",
            "50/1m,200/1h,9/1d" },
          { "5", "5/", "/5m", "0/5m", "-1/5m", "5/15m,", "5/15m;6/1h", "5/0", "x/1m",
            "5/1week", ",5/1m", "5/100ms" } },
        { "fetch.per_host",
          { "5/10", "1/1", "1000/60" },
          { "", "5", "5/", "/10", "0/10", "5/0", "5/10s", "-5/10", "5/10/2" } },
        { "database.pool_mode",
          { "", "session", "transaction" },
          { "statement", "Session" } },
        { "database.ssl_mode", { "prefer", "verify-full", "" }, { "on", "full" } },
        { "redis.url",
          { "", "redis://h:6379/0", "rediss://:pw@h", "unix:///run/redis.sock?db=0" },
          { "http://h", "localhost:6379", "redis:h" } },
        { "metrics.prefix", { "", "a_b:c-1." }, { "a b", "\xc3\xa4", "{" } },
        { "ai.temperature", { "0", "0.7", "1" }, { "", "x", "0.7x", "-1", "nan" } },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char set[256];

        for (int n = 0; n < 12 && rows[i].good[n]; n++) {
            snprintf(set, sizeof(set), "%s=%s", rows[i].path, rows[i].good[n]);
            if (*shown(set) == '!')
                fail_msg("%s was refused: %s", set, shown(set));
        }
        for (int n = 0; n < 14 && rows[i].bad[n]; n++) {
            snprintf(set, sizeof(set), "%s=%s", rows[i].path, rows[i].bad[n]);
            if (*shown(set) != '!')
                fail_msg("%s was accepted: %s", set, shown(set));
        }
    }
}

static void fields_from_a_file(void **state)
{
    struct options *o = load_good(
        "server: { workers = \"50%\"; bind = [ \"127.0.0.1\", \"unix:/run/a,b\" ];\n"
        "  port = 8000; keepalive = \"500ms\"; request_timeout = 1.5;\n"
        "  body_limit = 2097152; environment = \"production\"; };\n"
        "log = { access = true; level = \"warning\"; };\n"
        "cors: { origins = \"http://a, http://b\"; };\n"
        "jobs: { result_ttl = -1; };\n",
        (struct conf_input){ 0 });

    (void)state;
    assert_int_equal(o->server.workers.percent, 50);
    assert_int_equal(o->server.bind.count, 2);
    assert_string_equal(o->server.bind.items[1], "unix:/run/a,b");
    assert_null(o->server.bind.items[2]);
    assert_int_equal(o->server.port, 8000);
    assert_int_equal(o->server.keepalive, 500);
    assert_int_equal(o->server.request_timeout, 1500);
    assert_int_equal(o->server.body_limit, 2097152);
    assert_int_equal(o->server.environment, ENV_PRODUCTION);
    assert_true(o->log.access);
    assert_int_equal(o->cors.origins.count, 2);
    assert_string_equal(o->cors.origins.items[1], "http://b");
    assert_int_equal(o->jobs.result_ttl, -1);
    assert_int_equal(o->database.pool_size, 5); /* untouched ones stay built-in */
    options_free(o);
}

static void counts_that_are_ranges(void **state)
{
    struct options *o = load_good("server: { workers = { min = 2; max = 8; }; };\n"
                                  "jobs: { pools: {\n"
                                  "  default: { consumers = { max = 4; min = 0; }; };\n"
                                  "  bulk: { consumers = \"1..3\"; };\n"
                                  "  plain: { consumers = 5; }; }; };\n",
                                  (struct conf_input){ 0 });
    struct buf text = BUF_HEAP;

    (void)state;
    assert_true(o->server.workers.is_range);
    assert_int_equal(conf_count_value(&o->server.workers), 2);
    assert_int_equal(conf_count_most(&o->server.workers), 8);
    assert_int_equal(conf_count_value(&o->jobs.pools[0].consumers), 0);
    assert_int_equal(conf_count_most(&o->jobs.pools[0].consumers), 4);
    assert_int_equal(conf_count_value(&o->jobs.pools[1].consumers), 1);
    assert_int_equal(conf_count_most(&o->jobs.pools[1].consumers), 3);
    assert_false(o->jobs.pools[2].consumers.is_range);
    assert_int_equal(conf_count_most(&o->jobs.pools[2].consumers), 5);
    assert_false(
        conf_count_same(&o->jobs.pools[0].consumers, &o->jobs.pools[1].consumers));
    conf_count_text(&o->server.workers, &text);
    assert_string_equal(buf_text(&text), "2..8");
    buf_done(&text);
    options_free(o);
}

static void expect_errors(const char *text, struct conf_input input, const char *expected)
{
    struct buf errors = BUF_HEAP, all = BUF_HEAP;

    assert_null(load(text, input, &errors));
    /* "FILE:" stands for the file's path. */
    for (const char *c = expected; *c; c++) {
        bool is_word = c == expected || c[-1] == '\n' || c[-1] == ' ';

        if (is_word && strncmp(c, "FILE:", 5) == 0) {
            buf_adds(&all, file_path);
            c += 3;
        } else {
            buf_addc(&all, *c);
        }
    }
    assert_string_equal(buf_text(&errors), buf_text(&all));
    buf_done(&errors);
    buf_done(&all);
}

static void errors_of_files(void **state)
{
    static const struct {
        const char *text, *errors;
    } rows[] = {
        { "server: {\n  worker = 2;\n};\n",
          "FILE:2: unknown option `server.worker`; did you mean `server.workers`?\n" },
        { "server: {\n  wrokers = 2;\n};\n",
          "FILE:2: unknown option `server.wrokers`; did you mean `server.workers`?\n" },
        { "log: {\n  workers = 2;\n};\n",
          "FILE:2: unknown option `log.workers`; did you mean `server.workers`?\n" },
        { "server: {\n  xyzzy_plugh = 2;\n};\n",
          "FILE:2: unknown option `server.xyzzy_plugh`\n" },
        { "sever: {\n  workers = 2;\n};\n",
          "FILE:1: unknown group `sever`; did you mean `server`?\n" },
        { "jobs: {\n pool: { };\n};\n",
          "FILE:2: unknown group `jobs.pool`; did you mean `jobs.pools`?\n" },
        { "server = 3;\n",
          "FILE:1: `server` is a group of options: write server: { ... };\n" },
        { "server: { port: { }; };\n",
          "FILE:1: `server.port` is an option and takes a value, not a group\n" },
        { "server: {\n port = \"x\";\n};\n",
          "FILE:2: `server.port` must be a whole number; it is \"x\"\n" },
        { "server: {\n port = [ 1, 2 ];\n};\n",
          "FILE:2: `server.port` takes one value, not a list\n" },
        { "redis: {\n password = 123;\n};\n",
          "FILE:2: `redis.password` is a text: write it in double quotes\n" },
        { "server: {\n bind = ( ( \"a\" ) );\n};\n",
          "FILE:2: the items of `server.bind` must be texts\n" },
        { "server: {\n bind = [ \"::1\", \"x\" ];\n};\n",
          "FILE:2: `server.bind` must hold addresses such as \"0.0.0.0\", "
          "\"127.0.0.1:8000\", \"[::1]:8000\", \"*:8000\", \"localhost\" or "
          "\"unix:/run/forkmark.sock\"; it is \"::1, x\"\n" },
        /* All of them, not only the first. */
        { "server: {\n port = 0;\n};\nlog: {\n level = \"x\";\n};\n",
          "FILE:2: `server.port` must be between 1 and 65535; it is \"0\"\n"
          "FILE:5: `log.level` must be one of: error, warn, info, debug; it is \"x\"\n" },
        { "auth: {\n secret_key = \"${FM_NOT_THERE}\";\n};\n",
          "FILE:2: the variable FM_NOT_THERE is not set; set it, or write "
          "${FM_NOT_THERE:-default}\n" },
        { "auth: {\n secret_key = \"${A\";\n};\n",
          "FILE:2: a ${ without its } (write $${ for a plain ${)\n" },
        { "auth: {\n secret_key = \"${A B}\";\n};\n",
          "FILE:2: `${A B}` is no variable's name (write $${ for a plain ${)\n" },
        { "auth: {\n secret_key = \"file:/nowhere/x\";\n};\n",
          "FILE:2: `auth.secret_key` cannot read /nowhere/x: No such file or "
          "directory\n" },
        { "redis: {\n url = \"http://:pw@h\";\n};\n",
          "FILE:2: `redis.url` must look like redis://user:password@host:port/database, "
          "rediss:// or unix:///path\n" },
        { "redis: {\n url = \"redis://:pw@h:1x\";\n};\n",
          "FILE:2: `redis.url` must look like redis://user:password@host:port/database, "
          "rediss:// or unix:///path\n" },
        /* The password stays out of the message. */
        { "database: {\n url = \"postgres://u:pw@[::1\";\n};\n",
          "FILE:2: `database.url` must look like "
          "postgresql://user:password@host:port/database, with %XX for special "
          "characters\n" },
        { "database: {\n url = \"postgres://h/d?nonsense=pw\";\n};\n",
          "FILE:2: `database.url` must look like "
          "postgresql://user:password@host:port/database, with %XX for special "
          "characters\n" },
        { "database: {\n url = \"host=a\";\n primary = \"host=b\";\n};\n",
          "FILE:3: `database.url` is set already at FILE:2, perhaps by its other "
          "name\n" },
        { "database: {\n replicas = [ \"postgres://a\", \"postgres://u:pw@[::1\" "
          "];\n};\n",
          "FILE:2: `database.replicas` must hold URLs such as "
          "postgresql://user:password@host:port/database\n" },
        { "database: {\n migrate_url = \"u:pw h\";\n};\n",
          "FILE:2: `database.migrate_url` must look like "
          "postgresql://user:password@host:port/database, with %XX for special "
          "characters\n" },
        { "jobs: { pools: {\n a: { consumers = 1;\n colour = 2; }; }; };\n",
          "FILE:3: `jobs.pools.a.colour` is unknown; a pool has `consumers`, `queues`, "
          "`strategy`, `burst`, `max_jobs`, `max_idle_time`, `user` and "
          "`group`\n" },
        { "jobs: { pools: {\n a: { strategy = \"fair\"; }; }; };\n",
          "FILE:2: `jobs.pools.a.strategy` must be one of: default, round_robin, "
          "random\n" },
        { "jobs: { pools: {\n a: { max_jobs = -1; }; }; };\n",
          "FILE:2: `jobs.pools.a.max_jobs` must be between 0 and 1000000000\n" },
        { "jobs: { queues: {\n a: { unknown = \"lose\"; }; }; };\n",
          "FILE:2: `jobs.queues.a.unknown` must be one of: fail, leave\n" },
        { "jobs: { queues: {\n a: { colour = 2; }; }; };\n",
          "FILE:2: `jobs.queues.a.colour` is unknown; a queue has `unknown`\n" },
        { "jobs: { pools: {\n a: { user = 1000; }; }; };\n",
          "FILE:2: `jobs.pools.a.user` is a text: write it in double quotes\n" },
        { "jobs: { pools: {\n a: { consumers = [ 1 ]; }; }; };\n",
          "FILE:2: `jobs.pools.a.consumers` takes one value, not a list\n" },
        { "jobs: { cron: {\n a: { schedule = 5; function = \"f\"; }; }; };\n",
          "FILE:2: `jobs.cron.a.schedule` is a text: write it in double quotes\n"
          "FILE:2: `jobs.cron.a` has no schedule, such as \"30 3 * * *\" or "
          "\"@daily\"\n" },
        { "jobs: { pools: {\n a: { queues = [ \"x:intermediate\" ]; }; }; };\n",
          "FILE:2: `jobs.pools.a.queues` `x:intermediate` would collide with RQ's "
          "intermediate lists\n" },
        { "jobs: { pools: {\n a: { queues = [ \"a,b\" ]; }; }; };\n",
          "FILE:2: `jobs.pools.a.queues` `a,b` cannot be a queue's name\n" },
        { "jobs: { pools: {\n a: { queues = [ ]; }; }; };\n",
          "FILE:2: `jobs.pools.a.queues` names no queue\n" },
        { "jobs: { pools: {\n a12345678901234567890123456789012: { }; }; };\n",
          "FILE:2: `jobs.pools.a12345678901234567890123456789012`: a pool's name has 1 "
          "to "
          "31 characters\n" },
        { "jobs: { pools: {\n a*b: { }; }; };\n",
          "FILE:2: `jobs.pools.a*b`: a pool's name has letters, digits, _ and -\n" },
        { "server: {\n  workers 2;\n};\n",
          "FILE:2: syntax error in or just before `workers 2;`\n" },
        { "server: {\n  port = 1;\n  port = 2;\n};\n",
          "FILE:3: duplicate setting name in or just before `port = 2;`\n" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        expect_errors(rows[i].text, (struct conf_input){ 0 }, rows[i].errors);
}

static void files_that_are_none(void **state)
{
    struct buf errors = BUF_HEAP;

    (void)state;
    assert_null(options_load(&(struct conf_input){ .file = "/nowhere/x.conf" }, &errors));
    assert_string_equal(buf_text(&errors), "/nowhere/x.conf: cannot read the "
                                           "configuration file: No such file or "
                                           "directory\n");
    buf_clear(&errors);
    assert_null(options_load(&(struct conf_input){ .file = folder }, &errors));
    assert_non_null(strstr(buf_text(&errors), "it is a folder"));
    buf_done(&errors);
}

/* libconfig 1.5 ends the process at an @include of a folder; later ones refuse it. */
static void a_parser_that_exits(void **state)
{
    struct conf_input input = { .file = file_path };
    struct buf errors = BUF_HEAP;

    (void)state;
    write_file(file_path, "@include \"/tmp\"\n");
    assert_null(options_load_in_child(&input, &errors));
    assert_int_equal(strncmp(buf_text(&errors), file_path, strlen(file_path)), 0);
    assert_int_equal(errors.data[errors.length - 1], '\n');
    buf_done(&errors);
}

static void includes(void **state)
{
    char text[256], error[256];

    (void)state;
    write_file(in_folder("more.conf"), "log: {\n  levle = \"debug\";\n};\n");
    snprintf(text, sizeof(text), "server: { port = 81; };\n@include \"%s\"\n",
             in_folder("more.conf"));
    snprintf(error, sizeof(error),
             "%s:2: unknown option `log.levle`; did you mean `log.level`?\n",
             in_folder("more.conf"));
    expect_errors(text, (struct conf_input){ 0 }, error);
    write_file(in_folder("more.conf"), "log: {\n  level = \"debug\";\n};\n");
    struct options *o = load_good(text, (struct conf_input){ 0 });
    assert_int_equal(o->log.level, 3);
    assert_int_equal(o->server.port, 81);
    options_free(o);
}

static void expect_source(const struct options *o, const char *path,
                          enum conf_origin origin, const char *where)
{
    struct conf_source source = options_source(o, conf_find(path));

    assert_int_equal(source.origin, origin);
    assert_string_equal(source.where, where);
}

static void layers_and_origins(void **state)
{
    char *variables[] = { "WEB_CONCURRENCY=3", "PORT=9000",
                          "LOG_LEVEL=", "DB_POOL_SIZE=7", NULL };
    const char *sets[] = { "server.port=9001", "server.backlog=55", NULL };
    const char *runtime[] = { "server.workers=5", NULL };
    char where[96];
    struct options *o = load_good(
        "server: {\n  workers = 1;\n  port = 8999;\n};\nlog: { level = \"debug\"; };\n",
        (struct conf_input){ .environ = variables, .sets = sets, .runtime = runtime });

    (void)state;
    assert_int_equal(o->server.workers.number, 5);
    assert_int_equal(o->server.port, 9001);
    assert_int_equal(o->log.level, 3); /* an empty variable is none */
    assert_int_equal(o->database.pool_size, 7);
    snprintf(where, sizeof(where), "%s:5", file_path);
    expect_source(o, "server.workers", CONF_RUNTIME, "ctl");
    expect_source(o, "server.port", CONF_ARGUMENT, "--set");
    expect_source(o, "log.level", CONF_FILE, where);
    expect_source(o, "database.pool_size", CONF_ENV, "DB_POOL_SIZE");
    expect_source(o, "redis.db", CONF_BUILT_IN, "built-in");
    options_free(o);
}

static void errors_of_other_sources(void **state)
{
    char *variables[] = { "WEB_CONCURRENCY=many", "SECRET_KEY_FILE=/nowhere/key", NULL };
    const char *sets[] = { "server.port", "server.prot=1", "log=1", NULL };
    const char *runtime[] = { "jobs.pools.default.consumers=x", NULL };

    (void)state;
    expect_errors(
        NULL,
        (struct conf_input){ .environ = variables, .sets = sets, .runtime = runtime },
        "WEB_CONCURRENCY: `server.workers` must be a number up to 1024, \"auto\", or a "
        "share of the CPUs such as \"50%\"; it is \"many\"\n"
        "SECRET_KEY_FILE: `auth.secret_key` cannot read /nowhere/key: No such file or "
        "directory\n"
        "--set: `server.port` must be written option=value, such as server.workers=4\n"
        "--set: unknown option `server.prot`; did you mean `server.port`?\n"
        "--set: `log` is a group of options, not an option\n"
        "ctl: `jobs.pools.default.consumers` must be a number up to 1024, \"auto\", or a "
        "share of the CPUs such as \"50%\"\n");
}

/* Where the cache is, is said once, and whole. */
static void errors_of_the_cache(void **state)
{
    static const char lonely[] =
        "is for the nodes of redis.cache.cluster, and there are none; redis.cache_url "
        "holds its own";
    static const char *const schemes[] = { "redis://127.0.0.1:7000", "u:p@a:1", "a:1/2" };
    static const char *const bad_places[] = { "a:0", "a:65536", ":1", "[]:1", "[::1" };
    struct buf errors = BUF_HEAP;

    (void)state;
    for (size_t i = 0; i < 8; i++) {
        const char *place = i < 3 ? schemes[i] : bad_places[i - 3];
        char text[128], expected[256];

        snprintf(text, sizeof(text), "redis: { cache: {\n cluster = [ \"%s\" ]; }; };\n",
                 place);
        snprintf(expected, sizeof(expected),
                 "FILE:2: `redis.cache.cluster` must hold %s; it is \"%s\"\n",
                 i < 3 ? "hosts and ports, without redis:// or password"
                       : "places such as \"10.0.0.1:6379\" or \"[::1]:6379\"",
                 place);
        expect_errors(text, (struct conf_input){ 0 }, expected);
    }
    expect_errors("redis: {\n cache_url = \"redis://h\";\n"
                  " cache: {\n cluster = \"a:1, [::1]:2\"; }; };\n",
                  (struct conf_input){ 0 },
                  "FILE:4: `redis.cache.cluster` and redis.cache_url both say where the "
                  "cache is: give one of them\n");
    for (int i = 0; i < 3; i++) {
        static const char *const settings[][2] = { { "user", "\"u\"" },
                                                   { "password", "\"p\"" },
                                                   { "ssl", "true" } };
        char text[128], expected[256];

        snprintf(text, sizeof(text), "redis: { cache: {\n %s = %s; }; };\n",
                 settings[i][0], settings[i][1]);
        snprintf(expected, sizeof(expected), "FILE:2: `redis.cache.%s` %s\n",
                 settings[i][0], lonely);
        expect_errors(text, (struct conf_input){ 0 }, expected);
    }
    expect_errors("redis: { cache: { read_replicas = true; }; };\n",
                  (struct conf_input){ 0 },
                  "FILE:1: `redis.cache.read_replicas` needs redis.cache.cluster: one "
                  "Redis has no slots to share out\n");
    expect_errors("redis: { cache: { cluster = \"a:1\";\n user = \"u\"; }; };\n",
                  (struct conf_input){ 0 },
                  "FILE:2: `redis.cache.user` needs a password: set "
                  "redis.cache.password\n");
    struct options *options =
        load("redis: { cache: { cluster = [ \"a-1.b:6379\", \"[::1]:7000\" ]; user = "
             "\"u\"; password = \"p\"; ssl = true; read_replicas = true; }; };\n",
             (struct conf_input){ 0 }, &errors);
    assert_string_equal(buf_text(&errors), "");
    assert_int_equal(options->redis.cache.cluster.count, 2);
    assert_string_equal(options->redis.cache.cluster.items[1], "[::1]:7000");
    options_free(options);
    buf_done(&errors);
}

static void errors_of_ranges(void **state)
{
    (void)state;
    expect_errors("server: { workers = { min = 2; }; };\n"
                  "jobs: { scheduler = false; pools: {\n"
                  "  a: { consumers = { min = 0; most = 3; }; };\n"
                  "  b: { consumers = { min = 1; max = [ 3 ]; }; };\n"
                  "  c: { consumers = { min = 3; max = 1; }; };\n"
                  "}; };\n",
                  (struct conf_input){ 0 },
                  "FILE:1: `server.workers` is a range without its `max`\n"
                  "FILE:3: `jobs.pools.a.consumers` has a `min` and a `max`, no `most`\n"
                  "FILE:4: `jobs.pools.b.consumers`: `max` takes one value\n"
                  "FILE:5: `jobs.pools.c.consumers` has a `min` of 3, but a `max` of "
                  "1\n");
    expect_errors("jobs: { scheduler = false;\n"
                  "pools: { a: { consumers = { min = 0; max = 3; }; }; }; };\n",
                  (struct conf_input){ 0 },
                  "FILE:2: `jobs.pools.a.consumers` is a range, but jobs.scheduler is "
                  "off, and nobody counts the jobs that wait\n");
}

static void variables_in_texts(void **state)
{
    char *variables[] = { "FM_A=one", "FM_EMPTY=", NULL };
    struct conf_input input = { .environ = variables };
    struct options *o = load_good(
        "auth: { secret_key = \"${FM_A}/${FM_A}$\"; jwt_secret = \"${FM_NONE:-a b}\"; "
        "};\n"
        "server: { app_version = \"x${FM_EMPTY}y${FM_EMPTY:-z}${FM_NONE:-}\"; port = "
        "\"${FM_PORT:-81}\";\n bind = [ \"${FM_NONE:-127.0.0.1}\" ]; };\n"
        "redis: { password = \"a$${FM_A}\"; };\n",
        input);

    (void)state;
    assert_string_equal(o->auth.secret_key, "one/one$");
    assert_string_equal(o->auth.jwt_secret, "a b");
    assert_string_equal(o->server.app_version, "xyz");
    assert_int_equal(o->server.port, 81);
    assert_string_equal(o->server.bind.items[0], "127.0.0.1");
    assert_string_equal(o->redis.password, "a${FM_A}");
    options_free(o);
}

static void secrets_in_files(void **state)
{
    char key_file[128], variable[160];
    char *variables[] = { variable, "JWT_SECRET_KEY=direct",
                          "JWT_SECRET_KEY_FILE=/nowhere", NULL };
    char text[256], error[256];

    (void)state;
    snprintf(key_file, sizeof(key_file), "%s", in_folder("key"));
    snprintf(variable, sizeof(variable), "SECRET_KEY_FILE=%s", key_file);
    write_file(key_file, "from a file\r\n");
    snprintf(text, sizeof(text), "redis: { password = \"file:%s\"; };\n", key_file);
    struct options *o = load_good(text, (struct conf_input){ .environ = variables });
    assert_string_equal(o->auth.secret_key, "from a file");
    expect_source(o, "auth.secret_key", CONF_ENV, "SECRET_KEY_FILE");
    assert_string_equal(o->auth.jwt_secret, "direct"); /* the plain name wins */
    assert_string_equal(o->redis.password, "from a file");
    options_free(o);

    write_file(key_file, "\n");
    snprintf(error, sizeof(error), "FILE:1: `redis.password` %s is empty\n", key_file);
    expect_errors(text, (struct conf_input){ 0 }, error);

    /* What the file holds is checked as if it stood in its place. */
    write_file(key_file, "http://:pw@h\n");
    snprintf(text, sizeof(text), "redis: { url = \"file:%s\"; };\n", key_file);
    expect_errors(text, (struct conf_input){ 0 },
                  "FILE:1: `redis.url` must look like "
                  "redis://user:password@host:port/database, rediss:// or "
                  "unix:///path\n");
}

static void pools(void **state)
{
    const char *more[] = { "jobs.pools.default.consumers=9", NULL };
    struct buf out = BUF_HEAP;
    struct options *o = load_good(NULL, (struct conf_input){ 0 });

    (void)state;
    assert_int_equal(o->jobs.pool_count, 1);
    assert_string_equal(o->jobs.pools[0].name, "default");
    assert_int_equal(o->jobs.pools[0].consumers.number, 2);
    assert_int_equal(o->jobs.pools[0].queues.count, 3);
    assert_string_equal(o->jobs.pools[0].queues.items[0], "high");
    assert_int_equal(options_pools_source(o).origin, CONF_BUILT_IN);
    options_free(o);

    /* The command line and ctl change the built-in pool, too. */
    o = load_good(NULL, (struct conf_input){ .runtime = more });
    assert_int_equal(o->jobs.pool_count, 1);
    assert_int_equal(o->jobs.pools[0].consumers.number, 9);
    assert_int_equal(options_pools_source(o).origin, CONF_RUNTIME);
    options_free(o);

    /* A file's pools replace the built-in one; what they leave out has defaults. */
    o = load_good("jobs: { pools: { mail: { queues = \"mail\"; user = \"post\"; "
                  "\ngroup = \"mail\"; };\n"
                  " fast: { strategy = \"round_robin\"; }; cpu: { consumers = \"auto\"; "
                  "burst = true; max_jobs = 7; max_idle_time = \"5m\"; }; }; };\n",
                  (struct conf_input){ 0 });
    options_show_group(o, "jobs.pools", &out);
    assert_string_equal(
        buf_text(&out),
        "jobs.pools.mail = { consumers = 1; queues = [ \"mail\" ]; strategy = "
        "\"default\"; burst = false; max_jobs = 0; max_idle_time = 0; user = \"post\"; "
        "group = \"mail\"; }\n"
        "jobs.pools.fast = { consumers = 1; queues = [ \"high\", \"default\", \"low\" ]; "
        "strategy = \"round_robin\"; burst = false; max_jobs = 0; max_idle_time = 0; "
        "user = \"\"; group = \"\"; }\n"
        "jobs.pools.cpu = { consumers = \"auto\"; queues = [ \"high\", \"default\", "
        "\"low\" ]; strategy = \"default\"; burst = true; max_jobs = 7; max_idle_time = "
        "\"5m\"; user = \"\"; group = \"\"; }\n");
    /* Where the account stands is kept, for whoever finds no such user. */
    assert_non_null(strstr(o->jobs.pools[0].account_where, ":2"));
    assert_string_equal(o->jobs.pools[1].account_where, "");
    assert_non_null(strstr(options_pools_source(o).where, ":3"));
    options_free(o);
    buf_done(&out);

    /* No pool at all: a machine that only answers requests. */
    o = load_good("jobs: { pools: { }; };\n", (struct conf_input){ 0 });
    assert_int_equal(o->jobs.pool_count, 0);
    options_free(o);
}

static void queues(void **state)
{
    const char *sets[] = { "jobs.queues.a.b.unknown=leave", NULL };
    struct buf out = BUF_HEAP;
    struct options *o = load_good("jobs: { queues: { x: { unknown = \"leave\"; }; y: { "
                                  "unknown = \"fail\"; }; }; };\n",
                                  (struct conf_input){ .sets = sets });

    (void)state;
    options_show_group(o, "jobs.queues", &out);
    assert_string_equal(buf_text(&out), "jobs.queues.x = { unknown = \"leave\"; }\n"
                                        "jobs.queues.y = { unknown = \"fail\"; }\n"
                                        "jobs.queues.a.b = { unknown = \"leave\"; }\n");
    assert_int_equal(options_queue(o, "x")->unknown, UNKNOWN_LEAVE);
    assert_int_equal(options_queue(o, "y")->unknown, UNKNOWN_FAIL);
    assert_int_equal(options_queue(o, "a.b")->unknown, UNKNOWN_LEAVE);
    assert_int_equal(options_queue(o, "other")->unknown, UNKNOWN_FAIL);
    options_free(o);
    buf_done(&out);
}

static void collect(void *arg, const char *key, const char *value,
                    const struct conf_source *source)
{
    buf_addf(arg, "%s|%s|%s\n", key, value, source->where);
}

/* Everything that has no row, as `check --show` prints it. */
static void items_of_all_groups(void **state)
{
    const char *sets[] = {
        "jobs.cron.c.schedule=@daily",       "jobs.cron.c.function=f",
        "jobs.functions.f.command=/bin/cat", "jobs.functions.f.environment=A=secret",
        "jobs.queues.a\nb.unknown=leave",    NULL
    };
    struct buf out = BUF_HEAP;
    struct options *o = load_good(NULL, (struct conf_input){ .sets = sets });

    (void)state;
    options_each_item(o, collect, &out);
    assert_string_equal(
        buf_text(&out),
        "jobs.cron.c|{ schedule = \"@daily\"; zone = \"UTC\"; function = \"f\"; args = "
        "\"[]\"; kwargs = \"{}\"; queue = \"default\"; at_front = false; timeout = 0; "
        "result_ttl = -2; failure_ttl = -2; retries = -1; retry_intervals = [ ]; "
        "catch_up "
        "= \"1h\"; enabled = true; }|--set\n"
        "jobs.functions.f|{ name = \"f\"; aliases = [ ]; command = [ \"/bin/cat\" ]; "
        "args = \"\"; timeout = 0; retries = 0; retry_intervals = [ ]; kill_after = 5; "
        "output_limit = \"1M\"; cwd = \"\"; environment = [ \"A=(set)\" ]; }|--set\n"
        "jobs.pools.default|{ consumers = 2; queues = [ \"high\", \"default\", \"low\" "
        "]; "
        "strategy = \"default\"; burst = false; max_jobs = 0; max_idle_time = 0; user = "
        "\"\"; group = \"\"; }|built-in\n"
        "jobs.queues.a\nb|{ unknown = \"leave\"; }|--set\n");
    options_free(o);
    buf_done(&out);
}

static void functions(void **state)
{
    static const char text[] =
        "jobs: { functions: {\n"
        " resize: { name = \"team.resize\"; aliases = [ \"resize\", \"r\" ];\n"
        "  command = [ \"/bin/sh\", \"-c\", \" a, b \", \"\" ]; timeout = \"2m\";\n"
        "  args = \"int width, text? url\"; retries = 3; retry_intervals = [ \"10\", "
        "\"1m\" ];\n"
        "  kill_after = \"500ms\"; output_limit = \"64K\"; cwd = \"/tmp\";\n"
        "  environment = [ \"TOKEN=geheim\", \"LANG\" ]; };\n"
        " plain: { command = \"/bin/true\"; };\n"
        "}; };\n";
    const char *more[] = { "jobs.functions.plain.timeout=9",
                           "jobs.functions.other.command=/bin/cat", NULL };
    struct buf out = BUF_HEAP;
    struct options *o = load_good(text, (struct conf_input){ 0 });
    struct options *other = load_good(text, (struct conf_input){ .runtime = more });
    const struct function_options *resize = &o->jobs.functions[0];

    (void)state;
    assert_int_equal(o->jobs.function_count, 2);
    assert_string_equal(resize->command.items[2], " a, b ");
    assert_string_equal(resize->command.items[3], "");
    assert_int_equal(resize->timeout, 120000);
    assert_string_equal(resize->environment.items[0], "TOKEN=geheim");
    assert_string_equal(o->jobs.functions[1].name, "plain");
    options_show_group(o, "jobs.functions", &out);
    assert_string_equal(
        buf_text(&out),
        "jobs.functions.resize = { name = \"team.resize\"; aliases = [ \"resize\", "
        "\"r\" ]; command = [ \"/bin/sh\", \"-c\", \" a, b \", \"\" ]; args = \"int "
        "width, text? url\"; timeout = \"2m\"; retries = 3; retry_intervals = [ \"10\", "
        "\"1m\" ]; kill_after = \"500ms\"; output_limit = \"64K\"; cwd = \"/tmp\"; "
        "environment = [ \"TOKEN=(set)\", \"LANG\" ]; }\n"
        "jobs.functions.plain = { name = \"plain\"; aliases = [ ]; command = [ "
        "\"/bin/true\" ]; args = \"\"; timeout = 0; retries = 0; retry_intervals = [ ]; "
        "kill_after = 5; output_limit = \"1M\"; cwd = \"\"; environment = [ ]; }\n");
    assert_non_null(strstr(o->jobs.functions[1].where, ":7"));

    assert_int_equal(other->jobs.function_count, 3);
    assert_int_equal(other->jobs.functions[1].timeout, 9000);
    assert_string_equal(other->jobs.functions[2].command.items[0], "/bin/cat");
    assert_false(options_same_group(o, other, "jobs.functions"));
    assert_true(o->jobs.functions_id != other->jobs.functions_id);
    options_free(other);

    /* A secret that changed is a change, though nothing shows it. */
    char *changed = strdup(text);
    assert_non_null(changed);
    memcpy(strstr(changed, "geheim"), "anders", 6);
    other = load_good(changed, (struct conf_input){ 0 });
    assert_false(options_same_group(o, other, "jobs.functions"));
    free(changed);
    options_free(other);
    options_free(o);
    buf_done(&out);
}

static void errors_of_functions(void **state)
{
    static const struct {
        const char *fields, *error;
    } rows[] = {
        { "comand = \"/bin/cat\";",
          "FILE:2: `jobs.functions.f.comand` is unknown; a function has `name`, "
          "`aliases`, "
          "`command`, `args`, `timeout`, `retries`, `retry_intervals`, `kill_after`, "
          "`output_limit`, `cwd` and `environment`\n"
          "FILE:2: `jobs.functions.f` names no command\n" },
        { "command = [ ];", "FILE:2: `jobs.functions.f` names no command\n" },
        { "command = \"a\"; timeout = \"soon\";",
          "FILE:2: `jobs.functions.f.timeout` must be a time such as 30, \"500ms\", "
          "\"5m\", \"2h\" or \"7d\"; it is \"soon\"\n" },
        { "command = \"a\"; kill_after = 31;",
          "FILE:2: `jobs.functions.f.kill_after` must be between 0 and 30s; it is "
          "\"31\"\n" },
        { "command = \"a\"; cwd = \"tmp\";",
          "FILE:2: `jobs.functions.f.cwd` must be a full path, such as \"/srv/work\"; "
          "it is \"tmp\"\n" },
        { "command = \"a\"; name = \"a b\";",
          "FILE:2: `jobs.functions.f.name` may hold no blanks and no control "
          "characters; it is \"a b\"\n" },
        { "command = \"a\"; environment = [ \"TOKEN=x\", \"9=geheim\" ];",
          "FILE:2: `jobs.functions.f.environment` must hold \"NAME=value\", or "
          "\"NAME\" to hand the server's on\n" },
        { "command = \"a\"; args = \"integer x\";",
          "FILE:2: `jobs.functions.f.args` must be written as \"int width, text? "
          "url\", with the types int, number, text and any; it is \"integer x\"\n" },
        { "command = \"a\"; retry_intervals = [ 10, 0 ];",
          "FILE:2: `jobs.functions.f.retry_intervals` must hold times from 1s to 365d, "
          "such as [ \"10s\", \"5m\" ]; it is \"10, 0\"\n" },
        { "command = \"a\"; retries = [ 1 ];",
          "FILE:2: `jobs.functions.f.retries` takes one value, not a list\n" },
        { "command = [ \"a\" ]; }; g: { command = \"b\"; aliases = [ \"f\" ];",
          "FILE:2: `jobs.functions.g`: the name `f` is that of `jobs.functions.f` "
          "already\n" },
    };
    struct buf text = BUF_HEAP;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        buf_clear(&text);
        buf_addf(&text, "jobs: { functions: {\n f: { %s }; }; };\n", rows[i].fields);
        expect_errors(text.data, (struct conf_input){ 0 }, rows[i].error);
    }
    expect_errors("jobs: { function: { }; };\n", (struct conf_input){ 0 },
                  "FILE:1: unknown group `jobs.function`; did you mean "
                  "`jobs.functions`?\n");
    expect_errors("jobs: { functions = 3; };\n", (struct conf_input){ 0 },
                  "FILE:1: `jobs.functions` is a group of options: write functions: { "
                  "... };\n");
    buf_done(&text);
}

static void set_later(void **state)
{
    struct options *o = load_good(NULL, (struct conf_input){ 0 });
    struct options *other = load_good(NULL, (struct conf_input){ 0 });
    struct buf error = BUF_HEAP;

    (void)state;
    assert_string_equal(options_missing_secret(o), "SECRET_KEY");
    assert_true(options_set(o, "auth.secret_key", "s", "data/secrets", &error));
    assert_string_equal(options_missing_secret(o), "JWT_SECRET_KEY");
    assert_true(options_set(o, "auth.jwt_secret", "t", "data/secrets", &error));
    assert_null(options_missing_secret(o));
    expect_source(o, "auth.jwt_secret", CONF_RUNTIME, "data/secrets");
    assert_false(options_equal(o, other, conf_find("auth.jwt_secret")));
    assert_true(options_equal(o, other, conf_find("server.port")));
    assert_false(options_set(o, "server.port", "x", "test", &error));
    assert_int_equal(o->server.port, 7860);
    assert_string_equal(buf_text(&error),
                        "test: `server.port` must be a whole number; it is \"x\"\n");
    buf_done(&error);
    options_free(other);
    options_free(o);
}

static void replicas(void **state)
{
    static const struct {
        const char *text;
        size_t count;
        const char *last;
    } rows[] = {
        { "", 0, NULL },
        { "postgresql://a/d", 1, "postgresql://a/d" },
        { "postgresql://a/d postgresql://b/d", 2, "postgresql://b/d" },
        { "postgresql://a/d,postgresql://b/d", 2, "postgresql://b/d" },
        { " postgresql://a/d,  postgres://b/d\n", 2, "postgres://b/d" },
        /* The hosts of one URL. */
        { "postgresql://a:1,b:2/d", 1, "postgresql://a:1,b:2/d" },
        { "postgresql://a:1,b:2/d,postgresql://c/d", 2, "postgresql://c/d" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char variable[200];
        char *variables[] = { variable, NULL };

        snprintf(variable, sizeof(variable), "DATABASE_REPLICAS=%s", rows[i].text);
        struct options *o = load_good(NULL, (struct conf_input){ .environ = variables });
        assert_int_equal(o->database.replicas.count, rows[i].count);
        if (rows[i].count > 0)
            assert_string_equal(o->database.replicas.items[rows[i].count - 1],
                                rows[i].last);
        options_free(o);
    }

    /* An array's items are as they stand, and nobody is shown the passwords in them. */
    struct options *o =
        load_good("database: { primary = \"host=p dbname=d\";\n"
                  "replicas = [ \"host=a password='x y'\", \"host=b\" ]; };\n",
                  (struct conf_input){ .environ = NULL });
    struct buf shown = BUF_HEAP;
    options_show(o, conf_find("database.replicas"), &shown);
    assert_string_equal(buf_text(&shown), "[ (set), (set) ]");
    assert_string_equal(o->database.replicas.items[0], "host=a password='x y'");
    assert_string_equal(o->database.url, "host=p dbname=d");
    struct options *other =
        load_good("database: { url = \"host=p dbname=d\";\n"
                  "replicas = [ \"host=a password='x z'\", \"host=b\" ]; };\n",
                  (struct conf_input){ .environ = NULL });
    assert_false(options_equal(o, other, conf_find("database.replicas")));
    assert_true(options_equal(o, other, conf_find("database.primary")));
    buf_done(&shown);
    options_free(other);
    options_free(o);
}

static void poolers(void **state)
{
    char *variables[] = { "DATABASE_POOL_MODE=transaction", NULL };
    const char *sets[] = { "database.prepared=true", NULL };
    struct options *o = load_good(NULL, (struct conf_input){ .environ = variables });

    (void)state;
    assert_false(o->database.prepared);
    options_free(o);
    o = load_good(NULL, (struct conf_input){ .environ = variables, .sets = sets });
    assert_true(o->database.prepared);
    options_free(o);
}

static void cpus(void **state)
{
    int usable = conf_usable_cpus();
    struct conf_count all = { .is_auto = true }, three = { .number = 3 },
                      share = { .percent = 400 }, little = { .percent = 1 };

    (void)state;
    assert_in_range(usable, 1, sysconf(_SC_NPROCESSORS_ONLN));
    assert_int_equal(conf_count_value(&all), usable);
    assert_int_equal(conf_count_value(&three), 3);
    assert_int_equal(conf_count_value(&share), usable * 4);
    assert_int_equal(conf_count_value(&little), 1);
}

/* A made-up hierarchy: each text is a path below the folder, then its content. */
static double cgroup_cpus(const char *list, const char *const *files)
{
    char root[96], list_path[160], command[300], path[256];

    snprintf(root, sizeof(root), "%s/cgroup", folder);
    snprintf(list_path, sizeof(list_path), "%s/list", root);
    for (int i = 0; files[i]; i += 2) {
        snprintf(path, sizeof(path), "%s%s", root, files[i]);
        snprintf(command, sizeof(command), "mkdir -p $(dirname %s)", path);
        assert_int_equal(system(command), 0);
        write_file(path, files[i + 1]);
    }
    snprintf(command, sizeof(command), "mkdir -p %s", root);
    assert_int_equal(system(command), 0);
    write_file(list_path, list);
    double result = conf_cgroup_cpus(root, list_path);
    snprintf(command, sizeof(command), "rm -r %s", root);
    assert_int_equal(system(command), 0);
    return result;
}

static void control_groups(void **state)
{
    static const struct {
        double cpus;
        const char *list;
        const char *files[9];
    } rows[] = {
        { 0, "", { NULL } },
        { 0, "0::/\n", { "/cpu.max", "max 100000\n", NULL } },
        { 1.5, "0::/\n", { "/cpu.max", "150000 100000\n", NULL } },
        /* The tightest of the group and those above it. */
        { 0.5,
          "0::/a/b\n",
          { "/a/cpu.max", "50000 100000\n", "/a/b/cpu.max", "200000 100000\n", NULL } },
        { 2,
          "0::/a/b\n",
          { "/a/cpu.max", "max 100000\n", "/a/b/cpu.max", "200000 100000\n", NULL } },
        /* In a container the path is the host's, the root our own. */
        { 3, "0::/../../host\n", { "/cpu.max", "300000 100000\n", NULL } },
        { 2.5,
          "5:cpuset:/x\n3:cpu,cpuacct:/y\n",
          { "/cpu/y/cpu.cfs_quota_us", "250000\n", "/cpu/y/cpu.cfs_period_us", "100000\n",
            "/cpu/x/cpu.cfs_quota_us", "1000\n", "/cpu/x/cpu.cfs_period_us",
            "100000\n" } },
        { 0,
          "3:cpu:/y\n",
          { "/cpu/y/cpu.cfs_quota_us", "-1\n", "/cpu/y/cpu.cfs_period_us", "100000\n",
            NULL } },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_true(cgroup_cpus(rows[i].list, rows[i].files) == rows[i].cpus);
}

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(file_path, sizeof(file_path), "%s/forkmark.conf", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(file_path);
    unlink(in_folder("more.conf"));
    unlink(in_folder("key"));
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_each_type),
        cmocka_unit_test(checks_of_rows),
        cmocka_unit_test(fields_from_a_file),
        cmocka_unit_test(counts_that_are_ranges),
        cmocka_unit_test(errors_of_ranges),
        cmocka_unit_test(errors_of_the_cache),
        cmocka_unit_test(errors_of_files),
        cmocka_unit_test(files_that_are_none),
        cmocka_unit_test(a_parser_that_exits),
        cmocka_unit_test(includes),
        cmocka_unit_test(layers_and_origins),
        cmocka_unit_test(errors_of_other_sources),
        cmocka_unit_test(variables_in_texts),
        cmocka_unit_test(secrets_in_files),
        cmocka_unit_test(pools),
        cmocka_unit_test(queues),
        cmocka_unit_test(items_of_all_groups),
        cmocka_unit_test(functions),
        cmocka_unit_test(errors_of_functions),
        cmocka_unit_test(set_later),
        cmocka_unit_test(replicas),
        cmocka_unit_test(poolers),
        cmocka_unit_test(cpus),
        cmocka_unit_test(control_groups),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
