/*
 * embed.c - the build step that turns files into C tables.
 *
 *   embed queries OUT FILE.sql ...   named statements -> OUT.h, OUT.c (see
 * common/query.h) embed files OUT FILE ...         whole files -> OUT.h, OUT.c (see
 * common/embedded.h)
 *
 * A host program: it runs while forkmark is built and is never installed. Any
 * mistake in a file ends the build with that file's name and line.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_QUERIES 1024
#define MAX_LINE    4096

struct parsed_query {
    char *name, *route, *params, *tenant, *index, *quick;
    char *text;
    size_t text_length;
    const char *file;
    int line;
};

static struct parsed_query queries[MAX_QUERIES];
static size_t query_total;

static _Noreturn void stop(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static _Noreturn void stop(const char *file, int line, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fprintf(stderr, "%s:%d: error: ", file, line);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static void *must(void *memory)
{
    if (!memory)
        stop("embed", 0, "out of memory");
    return memory;
}

static FILE *open_file(const char *path, const char *mode)
{
    FILE *file = fopen(path, mode);

    if (!file)
        stop(path, 0, "cannot open");
    return file;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* The value of "-- key: value", trimmed; NULL when the line is something else. */
static char *header_value(const char *line, const char *key)
{
    size_t key_length = strlen(key);

    if (strncmp(line, "-- ", 3) != 0 || strncmp(line + 3, key, key_length) != 0 ||
        line[3 + key_length] != ':')
        return NULL;

    const char *start = line + 3 + key_length + 1;
    while (*start == ' ')
        start++;
    size_t length = strlen(start);
    while (length > 0 && isspace((unsigned char)start[length - 1]))
        length--;
    return must(strndup(start, length));
}

static bool is_blank(const char *line)
{
    return line[strspn(line, " \t\r\n")] == '\0';
}

static void append_text(struct parsed_query *query, const char *line)
{
    size_t length = strlen(line);

    query->text = must(realloc(query->text, query->text_length + length + 1));
    memcpy(query->text + query->text_length, line, length + 1);
    query->text_length += length;
}

/* Trailing white space and the semicolon go: a statement is prepared without it. */
static void finish_query(struct parsed_query *query)
{
    if (!query->text)
        stop(query->file, query->line, "query `%s` has no statement", query->name);
    while (query->text_length > 0) {
        char last = query->text[query->text_length - 1];
        if (!isspace((unsigned char)last) && last != ';')
            break;
        query->text[--query->text_length] = '\0';
    }
    if (!query->route ||
        (strcmp(query->route, "primary") != 0 && strcmp(query->route, "replica") != 0))
        stop(query->file, query->line,
             "query `%s` needs `-- route: primary` or `replica`", query->name);
    if (query->quick && strcmp(query->route, "replica") != 0)
        stop(query->file, query->line,
             "query `%s` may be sent again, so only a `replica` one can be quick",
             query->name);
    if (!query->tenant)
        stop(query->file, query->line,
             "query `%s` needs `-- tenant: <column>` or `-- tenant: all: <reason>`",
             query->name);
    if (!query->params)
        stop(query->file, query->line, "query `%s` needs `-- params: ...` (or `none`)",
             query->name);
}

static struct parsed_query *start_query(const char *file, int line, char *name)
{
    for (const char *c = name; *c; c++) {
        if (!isalnum((unsigned char)*c) && *c != '_')
            stop(file, line, "query name `%s` is no C identifier", name);
    }
    for (size_t i = 0; i < query_total; i++) {
        if (strcmp(queries[i].name, name) == 0)
            stop(file, line, "query `%s` stands in %s:%d too", name, queries[i].file,
                 queries[i].line);
    }
    if (query_total == MAX_QUERIES)
        stop(file, line, "more than %d queries", MAX_QUERIES);
    queries[query_total] =
        (struct parsed_query){ .name = name, .file = file, .line = line };
    return &queries[query_total++];
}

static void read_queries(const char *path)
{
    FILE *file = open_file(path, "r");
    struct parsed_query *query = NULL;
    char line[MAX_LINE];
    int number = 0;

    while (fgets(line, sizeof(line), file)) {
        char *value;

        number++;
        if ((value = header_value(line, "name")) != NULL) {
            if (query)
                finish_query(query);
            query = start_query(path, number, value);
        } else if (!query || is_blank(line)) {
            continue;
        } else if (!query->text && (value = header_value(line, "route")) != NULL) {
            query->route = value;
        } else if (!query->text && (value = header_value(line, "params")) != NULL) {
            query->params = value;
        } else if (!query->text && (value = header_value(line, "tenant")) != NULL) {
            query->tenant = value;
        } else if (!query->text && (value = header_value(line, "index")) != NULL) {
            query->index = value;
        } else if (!query->text && (value = header_value(line, "quick")) != NULL) {
            query->quick = value;
        } else if (strncmp(line, "--", 2) == 0) {
            continue; /* a comment between header and statement, or inside it */
        } else {
            append_text(query, line);
        }
    }
    if (query)
        finish_query(query);
    fclose(file);
}

static int count_params(const char *params)
{
    int count = 1;

    if (strcmp(params, "none") == 0)
        return 0;
    for (const char *c = params; *c; c++)
        count += *c == ',';
    return count;
}

static void put_string(FILE *out, const char *text)
{
    if (!text) {
        fputs("NULL", out);
        return;
    }
    fputc('"', out);
    for (const char *c = text; *c; c++) {
        if (*c == '\n')
            fputs("\\n\"\n    \"", out);
        else if (*c == '"' || *c == '\\')
            fprintf(out, "\\%c", *c);
        else
            fputc(*c, out);
    }
    fputc('"', out);
}

static FILE *open_output(const char *out, const char *suffix)
{
    char path[MAX_LINE];

    snprintf(path, sizeof(path), "%s%s", out, suffix);
    return open_file(path, "w");
}

static void write_queries(const char *out)
{
    FILE *header = open_output(out, ".h");
    FILE *source = open_output(out, ".c");

    fprintf(header, "/* Made by embed from sql/queries. */\n#pragma once\n"
                    "#include \"common/query.h\"\n\n");
    fprintf(source, "/* Made by embed from sql/queries. */\n#include \"%s.h\"\n\n",
            base_name(out));
    for (size_t i = 0; i < query_total; i++) {
        const struct parsed_query *query = &queries[i];

        fprintf(header, "extern const struct query sql_%s;\n", query->name);
        fprintf(source,
                "const struct query sql_%s = {\n    .name = \"%s\",\n    .text = ",
                query->name, query->name);
        put_string(source, query->text);
        fprintf(source, ",\n    .route = %s,\n    .param_count = %d,\n    .params = ",
                strcmp(query->route, "replica") == 0 ? "QUERY_REPLICA" : "QUERY_PRIMARY",
                count_params(query->params));
        put_string(source, query->params);
        fputs(",\n    .tenant = ", source);
        put_string(source, query->tenant);
        fputs(",\n    .index = ", source);
        put_string(source, query->index);
        fprintf(source, ",\n    .is_quick = %d,\n    .id = %zu,\n};\n\n",
                query->quick != NULL, i);
    }
    fputs("const struct query *const query_table[] = {\n", source);
    for (size_t i = 0; i < query_total; i++)
        fprintf(source, "    &sql_%s,\n", queries[i].name);
    fprintf(source, "    NULL,\n};\nconst size_t query_count = %zu;\n", query_total);
    fclose(header);
    fclose(source);
}

/* FNV-1a, 64 bits: an entity tag only has to change when the content does. */
static uint64_t content_tag(const unsigned char *data, size_t length)
{
    uint64_t hash = 14695981039346656037ULL;

    for (size_t i = 0; i < length; i++)
        hash = (hash ^ data[i]) * 1099511628211ULL;
    return hash;
}

static unsigned char *read_whole(const char *path, size_t *ret_length)
{
    FILE *file = open_file(path, "rb");
    unsigned char *data = NULL;
    size_t length = 0, got;

    do {
        data = must(realloc(data, length + 65536));
        got = fread(data + length, 1, 65536, file);
        length += got;
    } while (got > 0);
    fclose(file);
    *ret_length = length;
    return data;
}

static void write_files(const char *out, char **paths, int count)
{
    const char *table = base_name(out);
    FILE *header = open_output(out, ".h");
    FILE *source = open_output(out, ".c");

    fprintf(header,
            "/* Made by embed. */\n#pragma once\n#include \"common/embedded.h\"\n\n"
            "/* In the order of the files' names; ends with a NULL name. */\n"
            "extern const struct embedded_file %s[];\n",
            table);
    fprintf(source, "/* Made by embed. */\n#include \"%s.h\"\n\n", table);
    for (int i = 0; i < count; i++) {
        size_t length;
        unsigned char *data = read_whole(paths[i], &length);

        fprintf(source, "static const unsigned char data_%d[] = {", i);
        for (size_t at = 0; at < length; at++)
            fprintf(source, "%s%u,", at % 20 == 0 ? "\n    " : "", data[at]);
        fprintf(source, "\n    0,\n};\n#define TAG_%d \"\\\"%016llx\\\"\"\n", i,
                (unsigned long long)content_tag(data, length));
        free(data);
    }
    fprintf(source, "\nconst struct embedded_file %s[] = {\n", table);
    for (int i = 0; i < count; i++)
        fprintf(source,
                "    { .name = \"%s\", .data = (const char *)data_%d,\n"
                "      .length = sizeof(data_%d) - 1, .etag = TAG_%d },\n",
                base_name(paths[i]), i, i, i);
    fputs("    { .name = NULL },\n};\n", source);
    fclose(header);
    fclose(source);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: embed queries|files OUT FILE ...\n");
        return 2;
    }
    if (strcmp(argv[1], "queries") == 0) {
        for (int i = 3; i < argc; i++)
            read_queries(argv[i]);
        write_queries(argv[2]);
    } else if (strcmp(argv[1], "files") == 0) {
        write_files(argv[2], argv + 3, argc - 3);
    } else {
        stop("embed", 0, "unknown kind `%s`", argv[1]);
    }
    return 0;
}
