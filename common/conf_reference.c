/*
 * conf_reference.c - the option rows as config/forkmark.conf and as README's table.
 *
 * config/generate.c prints them; tests/unit/common/test_options.c fails when the
 * committed files and the rows differ.
 */
#include "common/buf.h"
#include "common/conf.h"
#include "common/conf_internal.h"
#include "common/options.h"
#include <string.h>

#define WIDEST_LINE 88

static const char head[] =
    "# forkmark.conf: every option of forkmark, each with its default (commented out).\n"
    "#\n"
    "# Precedence: built-in < this file < environment < command line (--set) < ctl.\n"
    "# Times are written 30 (seconds), \"500ms\", \"5m\", \"2h\" or \"7d\", sizes 4096, "
    "\"16K\" or\n"
    "# \"1M\", lists [ \"a\", \"b\" ] or \"a, b\". Texts may use ${VARIABLE} and "
    "${VARIABLE:-default}.\n"
    "# A secret may be \"file:/path\", and its variable's name may have _FILE behind "
    "it.\n"
    "#\n"
    "# `forkmark check --config FILE` says what is wrong with a file. SIGHUP or "
    "`forkmark "
    "ctl\n"
    "# reload` reads it again: [live] applies at once, [new workers] by rolling the\n"
    "# processes over without losing a request, [restart] when forkmark starts.\n"
    "#\n"
    "# This file is written by config/generate.c from the rows of common/options.c.\n";

static const char pools[] =
    "\n"
    "    # Consumer pools: any number, each a group with a name of its own.\n"
    "    #   consumers: number, \"auto\", \"50%\" of the CPUs, or { min = 1; max = 4; } "
    "by\n"
    "    #     the jobs that wait (group autoscale); default 1 [live]\n"
    "    #   queues: in order of priority; default high, default, low [new workers]\n"
    "    #   strategy: \"default\" (earlier queues first), \"round_robin\" or \"random\" "
    "[new workers]\n"
    "    #   burst: consumers end when all queues are empty, until `ctl scale` [new "
    "workers]\n"
    "    #   max_jobs: a consumer is replaced after so many jobs; 0: never [new "
    "workers]\n"
    "    #   max_idle_time: it ends after so long without a job, until `ctl scale`; 0: "
    "never\n"
    "    #   user, group: it runs as these, where forkmark is started as root; default "
    "the\n"
    "    #     server's [new workers]\n"
    "    # pools:\n"
    "    # {\n"
    "    #     default: { consumers = 2; queues = [ \"high\", \"default\", \"low\" ]; "
    "};\n"
    "    # };\n"
    "\n"
    "    # Single queues, each by its name.\n"
    "    #   unknown: \"fail\" (default), or \"leave\": a job whose function nobody "
    "here\n"
    "    #     knows is left in the queue, for a Python worker [new workers]\n"
    "    # queues:\n"
    "    # {\n"
    "    #     shared: { unknown = \"leave\"; };\n"
    "    # };\n";

static const char cron[] =
    "\n"
    "    # Jobs by the clock, each with a name of its own. Several servers: each due "
    "time\n"
    "    # is served exactly once. `forkmark jobs cron` shows them. [live]\n"
    "    #   schedule: minute, hour, day of month, month, day of week, as \"30 3 * * "
    "mon-fri\",\n"
    "    #     or @hourly, @daily, @weekly, @monthly, @yearly\n"
    "    #   zone: time zone of the schedule; default \"UTC\"\n"
    "    #   function: its name, as producers write it\n"
    "    #   args, kwargs: JSON, as \"[1, true]\" and \"{ \\\"a\\\": 1 }\"; default "
    "none\n"
    "    #   queue: default \"default\"; at_front: default false\n"
    "    #   timeout, result_ttl, failure_ttl: seconds; default as for any job\n"
    "    #   retries: default the function's own; retry_intervals: [ \"10\", \"60\" ] "
    "seconds\n"
    "    #   catch_up: how late a time that was missed (no scheduler ran) is made up "
    "for,\n"
    "    #     once however many were missed; default \"1h\"\n"
    "    #   enabled: default true\n"
    "    # cron:\n"
    "    # {\n"
    "    #     nightly: { schedule = \"30 3 * * *\"; zone = \"Europe/Berlin\"; function "
    "= "
    "\"mail.report\"; };\n"
    "    # };\n";

static const char functions_head[] =
    "\n"
    "    # Commands as job functions: any number, each a group with a name of its own. "
    "See\n"
    "    # README, \"Any command as a job\". [new workers]\n";

static const char functions_example[] =
    "    # functions:\n"
    "    # {\n"
    "    #     resize: { name = \"team.resize\"; command = [ \"/usr/bin/resize\", "
    "\"--json\" ]; };\n"
    "    # };\n";

static const char *const type_words[] = {
    [CONF_BOOL] = "true or false",
    [CONF_INT] = "number",
    [CONF_SECONDS] = "time",
    [CONF_BYTES] = "size",
    [CONF_TEXT] = "text",
    [CONF_SECRET] = "secret",
    [CONF_LIST] = "list",
    [CONF_WORDS] = "list",
    [CONF_VARIABLES] = "list",
    [CONF_SECRETS] = "list of secrets",
    [CONF_COUNT] = "number, \"auto\", \"50%\" of the CPUs, or a range \"2..8\"",
    [CONF_ENUM] = "one of",
};
static const char *const applies_words[] = {
    [CONF_LIVE] = "live",
    [CONF_NEW_WORKERS] = "new workers",
    [CONF_RESTART] = "restart",
};

/* "number, 1 to 65535; PORT [restart]" */
static void add_facts(struct buf *out, const struct conf_key *key)
{
    buf_adds(out, type_words[key->type]);
    for (int i = 0; key->type == CONF_ENUM && key->words[i]; i++)
        buf_addf(out, "%s \"%s\"", i ? "," : "", key->words[i]);
    if (conf_has_range(key)) {
        buf_adds(out, ", ");
        conf_print_range(out, key, " to ");
    }
    if (key->env)
        buf_addf(out, "; %s", key->env);
    if (key->env && key->env_unit)
        buf_addf(out, " (in %s)", key->env_unit);
    if (key->env_alt)
        buf_addf(out, ", %s", key->env_alt);
    buf_addf(out, " [%s]", applies_words[key->applies]);
}

/* Comment lines, broken between words. */
static void add_wrapped(struct buf *out, const char *indent, const char *text)
{
    size_t column = 0;

    while (*text) {
        size_t word = strcspn(text, " ");

        if (column > 0 && column + word + 1 > WIDEST_LINE) {
            buf_addc(out, '\n');
            column = 0;
        }
        buf_adds(out, column == 0 ? indent : " ");
        buf_add(out, text, word);
        column += word + (column == 0 ? strlen(indent) : 1);
        text += word;
        text += strspn(text, " ");
    }
    buf_addc(out, '\n');
}

/* "redis.cache." of "redis.cache.cluster": how long it is; 0: in no group of a group. */
static size_t inner_length(const struct conf_key *key)
{
    const char *dot = key ? strchr(key->path, '.') : NULL;
    const char *inner = dot ? strchr(dot + 1, '.') : NULL;

    return inner ? (size_t)(inner + 1 - key->path) : 0;
}

static bool is_same_inner(const struct conf_key *a, const struct conf_key *b)
{
    size_t length = inner_length(a);

    return length == inner_length(b) && strncmp(a->path, b->path, length) == 0;
}

/* `before` and `after`: its neighbours, or NULL. */
static void add_option(struct buf *out, const struct options *defaults,
                       const struct conf_key *key, const struct conf_key *before,
                       const struct conf_key *after)
{
    size_t inner = inner_length(key);
    const char *indent = inner ? "        # " : "    # ";
    struct buf facts = BUF_HEAP;

    add_facts(&facts, key);
    buf_addc(out, '\n');
    if (inner && !(before && is_same_inner(key, before))) {
        const char *name = strchr(key->path, '.') + 1;

        buf_addf(out, "    %.*s:\n    {\n", (int)strcspn(name, "."), name);
    }
    add_wrapped(out, indent, key->help);
    add_wrapped(out, indent, facts.data);
    buf_addf(out, "%s%s = ", indent, strrchr(key->path, '.') + 1);
    options_show(defaults, key, out);
    buf_adds(out, ";\n");
    if (inner && !(after && is_same_inner(key, after)))
        buf_adds(out, "    };\n");
    buf_done(&facts);
}

static void add_functions(struct buf *out)
{
    buf_adds(out, functions_head);
    for (const struct conf_key *field = conf_function_fields; field->path; field++) {
        struct buf line = BUF_HEAP;

        buf_addf(&line, "%s: %s; %s", field->path, field->help, type_words[field->type]);
        if (conf_has_range(field)) {
            buf_adds(&line, ", ");
            conf_print_range(&line, field, " to ");
        }
        if (*field->def)
            buf_addf(&line, "; default %s", field->def);
        add_wrapped(out, "    #   ", line.data);
        buf_done(&line);
    }
    buf_adds(out, functions_example);
}

static bool is_same_group(const struct conf_key *a, const struct conf_key *b)
{
    size_t length = strcspn(a->path, ".");

    return strncmp(a->path, b->path, length + 1) == 0;
}

void conf_write_reference(struct buf *out)
{
    size_t count;
    const struct conf_key *keys = conf_keys(&count);
    struct options *defaults = conf_defaults();

    buf_adds(out, head);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || !is_same_group(&keys[i - 1], &keys[i])) {
            int length = (int)strcspn(keys[i].path, ".");

            buf_addf(out, "\n%.*s:\n{", length, keys[i].path);
            if (strncmp(keys[i].path, "jobs.", 5) == 0) {
                buf_addf(out, "%s%s", pools, cron);
                add_functions(out);
            }
        }
        add_option(out, defaults, &keys[i], i > 0 ? &keys[i - 1] : NULL,
                   i + 1 < count ? &keys[i + 1] : NULL);
        if (i + 1 == count || !is_same_group(&keys[i], &keys[i + 1]))
            buf_adds(out, "};\n");
    }
    options_free(defaults);
}

/* A bar would end the cell. */
static void add_cell(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            buf_addc(out, '\\');
        buf_addc(out, *text);
    }
}

/* jobs.functions.<label>, after the rows of its group. */
static void add_function_rows(struct buf *out)
{
    for (const struct conf_key *field = conf_function_fields; field->path; field++) {
        buf_addf(out, "| `" CONF_FUNCTION_PREFIX "*.%s` | `%s` |  | new workers | ",
                 field->path, *field->def ? field->def : "\"\"");
        add_cell(out, field->help);
        buf_adds(out, " |\n");
    }
}

void conf_write_markdown(struct buf *out)
{
    size_t count;
    const struct conf_key *keys = conf_keys(&count);
    struct options *defaults = conf_defaults();

    buf_adds(out, "| Option | Default | Environment | Applies | Meaning |\n"
                  "| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < count; i++) {
        const struct conf_key *key = &keys[i];
        struct buf value = BUF_HEAP;

        options_show(defaults, key, &value);
        buf_addf(out, "| `%s` | `", key->path);
        add_cell(out, buf_text(&value));
        buf_adds(out, "` | ");
        if (key->env)
            buf_addf(out, "`%s`", key->env);
        buf_addf(out, " | %s | ", applies_words[key->applies]);
        add_cell(out, key->help);
        buf_adds(out, " |\n");
        buf_done(&value);
        if (strncmp(key->path, "jobs.", 5) == 0 &&
            (i + 1 == count || !is_same_group(key, &keys[i + 1])))
            add_function_rows(out);
    }
    options_free(defaults);
}
