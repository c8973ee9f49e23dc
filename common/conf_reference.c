/*
 * conf_reference.c - the option rows as a reference file and as README's table.
 */
#include "common/buf.h"
#include "common/conf.h"
#include "common/options.h"
#include <stdio.h>
#include <string.h>

static const char *const type_words[] = {
    [CONF_BOOL] = "true or false",
    [CONF_INT] = "number",
    [CONF_SECONDS] = "time",
    [CONF_BYTES] = "size",
    [CONF_TEXT] = "text",
    [CONF_SECRET] = "secret",
    [CONF_LIST] = "list",
    [CONF_COUNT] = "number, \"auto\" or \"50%\" of the CPUs",
    [CONF_ENUM] = "one of",
};
static const char *const applies_words[] = {
    [CONF_LIVE] = "live",
    [CONF_NEW_WORKERS] = "new workers",
    [CONF_RESTART] = "restart",
};

static void add_type(struct buf *out, const struct conf_key *key)
{
    buf_adds(out, type_words[key->type]);
    for (int i = 0; key->type == CONF_ENUM && key->words[i]; i++)
        buf_addf(out, "%s%s", i ? ", " : " ", key->words[i]);
    if (key->min != 0 || key->max != 0)
        buf_addf(out, ", %.15g to %.15g%s%s", key->min, key->max, key->unit ? " " : "",
                 key->unit ? key->unit : "");
}

static void add_names(struct buf *out, const struct conf_key *key)
{
    if (key->env)
        buf_addf(out, "%s%s%s", key->env, key->env_alt ? ", " : "",
                 key->env_alt ? key->env_alt : "");
}

/* Comment lines of at most 78 columns. */
static void add_wrapped(struct buf *out, const char *indent, const char *text)
{
    size_t column = 0;

    while (*text) {
        size_t word = strcspn(text, " ");

        if (column > 0 && column + word + 1 > 78) {
            buf_addc(out, '\n');
            column = 0;
        }
        if (column == 0) {
            buf_adds(out, indent);
            column = strlen(indent);
        } else {
            buf_addc(out, ' ');
            column++;
        }
        buf_add(out, text, word);
        column += word;
        text += word;
        text += strspn(text, " ");
    }
    buf_addc(out, '\n');
}

static void add_group_start(struct buf *out, const char *group, size_t length)
{
    buf_addf(out, "\n%.*s:\n{\n", (int)length, group);
}

static void add_pools(struct buf *out)
{
    buf_adds(
        out,
        "    # Consumer pools: any number, each a group of its own. Without any: as "
        "here.\n"
        "    # consumers: number, \"auto\" or a share; queues: in order of priority;\n"
        "    # user: runs as this user when started as root. Counts apply live.\n"
        "    # pools:\n"
        "    # {\n"
        "    #     default: { consumers = 2; queues = [ \"high\", \"default\", \"low\" "
        "]; };\n"
        "    # };\n");
}

void conf_write_reference(struct buf *out)
{
    size_t count, group_length = 0;
    const struct conf_key *keys = conf_keys(&count);
    const char *group = "";
    struct options *defaults = options_load(&(struct conf_input){ 0 }, out);

    buf_adds(
        out,
        "# forkmark.conf: every option, its meaning and its default (commented out).\n"
        "# Precedence: built-in < this file < environment < command line < ctl.\n"
        "# Texts may use ${VARIABLE} and ${VARIABLE:-default}; a secret may be\n"
        "# \"file:/path\". Times: 30, \"500ms\", \"5m\", \"2h\", \"7d\"; sizes: 4096, "
        "\"16K\".\n"
        "# `forkmark check --config FILE` says what is wrong with a file; SIGHUP or\n"
        "# `forkmark ctl reload` applies it. [live] [new workers] [restart] say how.\n");
    for (size_t i = 0; i < count; i++) {
        const struct conf_key *key = &keys[i];
        size_t length = strcspn(key->path, ".");

        if (length != group_length || strncmp(group, key->path, length) != 0) {
            if (group_length)
                buf_adds(out, "};\n");
            group = key->path;
            group_length = length;
            add_group_start(out, group, length);
            if (strncmp(key->path, "jobs.", 5) == 0)
                add_pools(out);
        }
        buf_addc(out, '\n');
        add_wrapped(out, "    # ", key->help);
        buf_adds(out, "    # ");
        add_type(out, key);
        if (key->env) {
            buf_adds(out, "; ");
            add_names(out, key);
        }
        buf_addf(out, " [%s]\n    # %s = ", applies_words[key->applies],
                 key->path + length + 1);
        options_show(defaults, key, out);
        buf_adds(out, ";\n");
    }
    buf_adds(out, "};\n");
    options_free(defaults);
}

void conf_write_markdown(struct buf *out)
{
    size_t count;
    const struct conf_key *keys = conf_keys(&count);
    struct options *defaults = options_load(&(struct conf_input){ 0 }, out);

    buf_adds(out, "| Option | Default | Environment | Applies | Meaning |\n"
                  "| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < count; i++) {
        buf_addf(out, "| `%s` | `", keys[i].path);
        options_show(defaults, &keys[i], out);
        buf_adds(out, "` | ");
        add_names(out, &keys[i]);
        buf_addf(out, " | %s | %s |\n", applies_words[keys[i].applies], keys[i].help);
    }
    options_free(defaults);
}
