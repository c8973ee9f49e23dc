/*
 * fuzz_conf.c - any bytes as a configuration file, and as one option on the command
 * line. What libconfig itself ends the process over (@include of a folder) is the
 * parsing child's matter and left out.
 */
#include "common/buf.h"
#include "common/conf.h"
#include "common/options.h"
#include "tests/fuzz/fuzzing.h"
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* libconfig loses its half-read text at a syntax error: in the child, where it ends. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libconfig\n";
}

static char path[32];
static int file = -1;

static void open_file(void)
{
    file = memfd_create("forkmark.conf", MFD_CLOEXEC);
    require(file >= 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
}

/* Options or errors, never both and never neither; each error is one line. */
static void check(const struct conf_input *input)
{
    static const char *const groups[] = { "jobs.cron", "jobs.functions", "jobs.pools",
                                          "jobs.queues" };
    struct buf errors = BUF_HEAP, shown = BUF_HEAP;
    struct options *options = options_load(input, &errors);
    size_t count;
    const struct conf_key *keys = conf_keys(&count);

    require((options == NULL) == (errors.length > 0));
    require(!options || options->server.bind.items);
    for (size_t i = 0; options && i < count; i++)
        options_show(options, &keys[i], &shown);
    for (size_t i = 0; options && i < sizeof(groups) / sizeof(*groups); i++)
        options_show_group(options, groups[i], &shown);
    options_free(options);
    buf_done(&errors);
    buf_done(&shown);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf text = BUF_HEAP;
    char *variables[] = { "A=1", "B=", NULL };

    if (file < 0)
        open_file();
    buf_add(&text, data, size);
    const char *sets[] = { buf_text(&text), NULL };
    check(&(struct conf_input){ .sets = sets });
    if (!memmem(data, size, "@include", 8)) {
        require(ftruncate(file, 0) == 0);
        require(pwrite(file, data, size, 0) == (ssize_t)size);
        check(&(struct conf_input){ .file = path, .environ = variables });
    }
    buf_done(&text);
    return 0;
}
