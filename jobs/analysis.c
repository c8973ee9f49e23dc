/*
 * analysis.c - technologies by name, and sensible constants for the rest.
 *
 * The text is read once, word by word, each looked up in a sorted table. Names that
 * are English words as well count only in the way the technology writes itself.
 */
#include "jobs/analysis.h"

#include "common/arena.h"
#include "common/buf.h"
#include "common/json.h"
#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_WORD           24
#define CONCEPT_CHARACTERS 30
#define SUMMARY_CHARACTERS 150
#define RELEVANCE          75

/* Sorted by `word`, for bsearch. */
static const struct technology {
    const char *word; /* in lower case */
    const char *name; /* what it is called; NULL: the word */
    const char *only; /* counts only when written so; NULL: in any case */
} technologies[] = {
    { "airflow", NULL, NULL },
    { "android", NULL, NULL },
    { "angular", NULL, NULL },
    { "angularjs", "angular", NULL },
    { "ansible", NULL, NULL },
    { "apache", NULL, "Apache" },
    { "aws", NULL, NULL },
    { "azure", NULL, NULL },
    { "bash", NULL, NULL },
    { "bigquery", NULL, NULL },
    { "blender", NULL, NULL },
    { "bootstrap", NULL, NULL },
    { "c#", NULL, NULL },
    { "c++", NULL, NULL },
    { "cassandra", NULL, NULL },
    { "celery", NULL, NULL },
    { "chef", NULL, "Chef" },
    { "claude", NULL, "Claude" },
    { "clojure", NULL, NULL },
    { "cmake", NULL, NULL },
    { "cobol", NULL, NULL },
    { "cockroachdb", NULL, NULL },
    { "consul", NULL, "Consul" },
    { "cpp", "c++", NULL },
    { "crystal", NULL, "Crystal" },
    { "csharp", "c#", NULL },
    { "css", NULL, NULL },
    { "css3", "css", NULL },
    { "cuda", NULL, NULL },
    { "cypress", NULL, "Cypress" },
    { "dart", NULL, "Dart" },
    { "debian", NULL, NULL },
    { "delphi", NULL, NULL },
    { "deno", NULL, NULL },
    { "django", NULL, NULL },
    { "docker", NULL, NULL },
    { "dotnet", ".net", NULL },
    { "elasticsearch", NULL, NULL },
    { "electron", NULL, NULL },
    { "elixir", NULL, NULL },
    { "elm", NULL, "Elm" },
    { "emacs", NULL, NULL },
    { "ember", NULL, "Ember" },
    { "erlang", NULL, NULL },
    { "es6", "javascript", NULL },
    { "etcd", NULL, NULL },
    { "excel", NULL, "Excel" },
    { "express", NULL, "Express" },
    { "fastapi", NULL, NULL },
    { "fedora", NULL, NULL },
    { "ffmpeg", NULL, NULL },
    { "figma", NULL, NULL },
    { "firebase", NULL, NULL },
    { "flask", NULL, "Flask" },
    { "flutter", NULL, "Flutter" },
    { "fortran", NULL, NULL },
    { "freebsd", NULL, NULL },
    { "gatsby", NULL, "Gatsby" },
    { "gcc", NULL, NULL },
    { "gcp", NULL, NULL },
    { "gemini", NULL, "Gemini" },
    { "git", NULL, NULL },
    { "github", NULL, NULL },
    { "gitlab", NULL, NULL },
    { "golang", "go", NULL },
    { "gradle", NULL, NULL },
    { "grafana", NULL, NULL },
    { "graphql", NULL, NULL },
    { "grpc", NULL, NULL },
    { "gunicorn", NULL, NULL },
    { "hadoop", NULL, "Hadoop" },
    { "haproxy", NULL, NULL },
    { "haskell", NULL, NULL },
    { "helm", NULL, "Helm" },
    { "heroku", NULL, NULL },
    { "hibernate", NULL, NULL },
    { "html", NULL, NULL },
    { "html5", "html", NULL },
    { "htmx", NULL, NULL },
    { "http", NULL, "HTTP" },
    { "huggingface", NULL, NULL },
    { "hugo", NULL, "Hugo" },
    { "ios", NULL, NULL },
    { "istio", NULL, NULL },
    { "java", NULL, NULL },
    { "javascript", NULL, NULL },
    { "jenkins", NULL, NULL },
    { "jest", NULL, "Jest" },
    { "jinja", NULL, NULL },
    { "jira", NULL, NULL },
    { "jquery", NULL, NULL },
    { "jsx", "react", NULL },
    { "julia", NULL, "Julia" },
    { "junit", NULL, NULL },
    { "jupyter", NULL, NULL },
    { "k8s", "kubernetes", NULL },
    { "kafka", NULL, NULL },
    { "keras", NULL, NULL },
    { "kibana", NULL, NULL },
    { "kotlin", NULL, NULL },
    { "kubernetes", NULL, NULL },
    { "langchain", NULL, NULL },
    { "laravel", NULL, NULL },
    { "latex", NULL, NULL },
    { "libuv", NULL, NULL },
    { "lighttpd", NULL, NULL },
    { "linux", NULL, NULL },
    { "llm", NULL, NULL },
    { "llvm", NULL, NULL },
    { "lua", NULL, NULL },
    { "macos", NULL, NULL },
    { "mariadb", NULL, NULL },
    { "matplotlib", NULL, NULL },
    { "maven", NULL, NULL },
    { "memcached", NULL, NULL },
    { "meteor", NULL, "Meteor" },
    { "mongodb", NULL, NULL },
    { "mysql", NULL, NULL },
    { "neo4j", NULL, NULL },
    { "nestjs", NULL, NULL },
    { "netlify", NULL, NULL },
    { "nextjs", "next.js", NULL },
    { "nginx", NULL, NULL },
    { "nim", NULL, "Nim" },
    { "nix", NULL, NULL },
    { "nixos", NULL, NULL },
    { "node", NULL, NULL },
    { "nodejs", "node", NULL },
    { "npm", NULL, NULL },
    { "numpy", NULL, NULL },
    { "nuxt", NULL, NULL },
    { "oauth", NULL, NULL },
    { "ocaml", NULL, NULL },
    { "openai", NULL, NULL },
    { "openbsd", NULL, NULL },
    { "opencl", NULL, NULL },
    { "opengl", NULL, NULL },
    { "openssl", NULL, NULL },
    { "openstack", NULL, NULL },
    { "oracle", NULL, "Oracle" },
    { "pandas", NULL, NULL },
    { "perl", NULL, NULL },
    { "pgbouncer", NULL, NULL },
    { "pgvector", NULL, NULL },
    { "phoenix", NULL, "Phoenix" },
    { "php", NULL, NULL },
    { "playwright", NULL, NULL },
    { "podman", NULL, NULL },
    { "postgres", "postgresql", NULL },
    { "postgresql", NULL, NULL },
    { "powershell", NULL, NULL },
    { "prolog", NULL, NULL },
    { "prometheus", NULL, NULL },
    { "puppet", NULL, "Puppet" },
    { "pytest", NULL, NULL },
    { "python", NULL, NULL },
    { "pytorch", NULL, NULL },
    { "qt", NULL, NULL },
    { "rabbitmq", NULL, NULL },
    { "rails", NULL, NULL },
    { "raspberrypi", "raspberry pi", NULL },
    { "react", NULL, NULL },
    { "reactjs", "react", NULL },
    { "redis", NULL, NULL },
    { "redux", NULL, NULL },
    { "regex", NULL, NULL },
    { "rest", NULL, "REST" },
    { "ruby", NULL, "Ruby" },
    { "rust", NULL, "Rust" },
    { "rxjs", NULL, NULL },
    { "scala", NULL, NULL },
    { "scikit", "scikit-learn", NULL },
    { "selenium", NULL, NULL },
    { "sinatra", NULL, NULL },
    { "sklearn", "scikit-learn", NULL },
    { "snowflake", NULL, "Snowflake" },
    { "solidity", NULL, NULL },
    { "solr", NULL, NULL },
    { "spark", NULL, "Spark" },
    { "splunk", NULL, NULL },
    { "spring", NULL, "Spring" },
    { "sql", NULL, NULL },
    { "sqlalchemy", NULL, NULL },
    { "sqlite", NULL, NULL },
    { "supabase", NULL, NULL },
    { "svelte", NULL, NULL },
    { "swift", NULL, "Swift" },
    { "symfony", NULL, NULL },
    { "systemd", NULL, NULL },
    { "tailwind", NULL, NULL },
    { "tcp", NULL, "TCP" },
    { "tensorflow", NULL, NULL },
    { "terraform", NULL, NULL },
    { "threejs", "three.js", NULL },
    { "tls", NULL, "TLS" },
    { "tsx", "react", NULL },
    { "typescript", NULL, NULL },
    { "ubuntu", NULL, NULL },
    { "unity", NULL, "Unity" },
    { "unix", NULL, "Unix" },
    { "vagrant", NULL, NULL },
    { "valgrind", NULL, NULL },
    { "vercel", NULL, NULL },
    { "vim", NULL, NULL },
    { "vite", NULL, NULL },
    { "vue", NULL, NULL },
    { "vuejs", "vue", NULL },
    { "wasm", "webassembly", NULL },
    { "webassembly", NULL, NULL },
    { "webgl", NULL, NULL },
    { "webpack", NULL, NULL },
    { "websocket", NULL, NULL },
    { "wireshark", NULL, NULL },
    { "wordpress", NULL, NULL },
    { "xcode", NULL, NULL },
    { "xml", NULL, "XML" },
    { "yaml", NULL, NULL },
    { "zig", NULL, "Zig" },
    { "zookeeper", NULL, NULL },
};

static int compare_word(const void *word, const void *technology)
{
    return strcmp(word, ((const struct technology *)technology)->word);
}

/* A letter, digit or underscore; bytes of other letters too, so that no word ends
 * inside a name. */
static bool is_word_byte(char c)
{
    return (unsigned char)c >= 0x80 || isalnum((unsigned char)c) || c == '_';
}

/* The length of the word at `at`; "c++" and "c#" keep their signs. */
static size_t word_length(const char *at)
{
    size_t length = 0;

    while (at[length] && is_word_byte(at[length]))
        length++;
    if (length == 1 && at[1] == '+' && at[2] == '+')
        return 3;
    if (length == 1 && at[1] == '#')
        return 2;
    return length;
}

static void note_technology(struct analysis *analysis, const char *at, size_t length)
{
    char word[MAX_WORD];

    if (length >= sizeof(word) || analysis->technology_count == ANALYSIS_MAX_TECHNOLOGIES)
        return;
    for (size_t i = 0; i < length; i++)
        word[i] = (char)tolower((unsigned char)at[i]);
    word[length] = '\0';
    const struct technology *found =
        bsearch(word, technologies, sizeof(technologies) / sizeof(technologies[0]),
                sizeof(technologies[0]), compare_word);
    if (!found || (found->only && strncmp(at, found->only, length) != 0))
        return;
    const char *name = found->name ? found->name : found->word;
    for (size_t i = 0; i < analysis->technology_count; i++) {
        if (strcmp(analysis->technologies[i], name) == 0)
            return;
    }
    analysis->technologies[analysis->technology_count++] = name;
}

static void find_technologies(struct analysis *analysis, const char *text)
{
    while (*text) {
        size_t length = word_length(text);

        if (length > 0)
            note_technology(analysis, text, length);
        text += length > 0 ? length : 1;
    }
}

/* The first `most` characters. */
static const char *first_characters(struct arena *arena, const char *text, int most)
{
    size_t at = 0;

    for (int count = 0; text[at]; at++) {
        if (((unsigned char)text[at] & 0xC0) != 0x80 && ++count > most)
            break;
    }
    return arena_strndup(arena, text, at);
}

void analysis_make(struct arena *arena, const char *title, const char *notes,
                   const char *text, struct analysis *ret)
{
    *ret = (struct analysis){ .content_type = "article",
                              .difficulty = "intermediate",
                              .intent = "learning",
                              .relevance_score = RELEVANCE };
    find_technologies(ret, title);
    find_technologies(ret, notes);
    find_technologies(ret, text);
    if (ret->technology_count == 0)
        ret->technologies[ret->technology_count++] = "General";
    ret->key_concept = first_characters(arena, title, CONCEPT_CHARACTERS);
    ret->summary = first_characters(arena, notes[0] ? notes : title, SUMMARY_CHARACTERS);
}

static void put_technologies(struct json_writer *w, const char *key,
                             const struct analysis *analysis)
{
    json_begin_array(w, key);
    for (size_t i = 0; i < analysis->technology_count; i++)
        json_put_text(w, NULL, analysis->technologies[i]);
    json_end_array(w);
}

const char *analysis_technologies_json(struct arena *arena,
                                       const struct analysis *analysis)
{
    struct buf out = BUF_IN(arena);

    put_technologies(&(struct json_writer){ .out = &out }, NULL, analysis);
    return buf_text(&out);
}

const char *analysis_technologies_text(struct arena *arena,
                                       const struct analysis *analysis)
{
    struct buf out = BUF_IN(arena);

    for (size_t i = 0; i < analysis->technology_count; i++)
        buf_addf(&out, "%s%s", i ? "," : "", analysis->technologies[i]);
    return buf_text(&out);
}

const char *analysis_json(struct arena *arena, const struct analysis *analysis)
{
    struct buf out = BUF_IN(arena);
    struct json_writer w = { .out = &out };

    json_begin_object(&w, NULL);
    put_technologies(&w, "technologies", analysis);
    json_put_text(&w, "content_type", analysis->content_type);
    json_put_text(&w, "difficulty", analysis->difficulty);
    json_put_text(&w, "intent", analysis->intent);
    json_begin_array(&w, "key_concepts");
    if (analysis->key_concept[0])
        json_put_text(&w, NULL, analysis->key_concept);
    json_end_array(&w);
    json_put_int(&w, "relevance_score", analysis->relevance_score);
    json_put_text(&w, "summary", analysis->summary);
    json_put_text(&w, "basic_summary", analysis->summary);
    json_end_object(&w);
    return buf_text(&out);
}
