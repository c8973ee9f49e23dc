/*
 * generate.c - prints what is written from the rows of common/options.c.
 *
 *   build/generate reference > config/forkmark.conf
 *   build/generate markdown     the options' table of README.md
 */
#include "common/buf.h"
#include "common/conf.h"
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*write)(struct buf *out);
    } kinds[] = {
        { "reference", conf_write_reference },
        { "markdown", conf_write_markdown },
    };

    for (size_t i = 0; argc == 2 && i < sizeof(kinds) / sizeof(*kinds); i++) {
        struct buf out = BUF_HEAP;

        if (strcmp(argv[1], kinds[i].name) != 0)
            continue;
        kinds[i].write(&out);
        size_t written = fwrite(buf_text(&out), 1, out.length, stdout);
        int status = written == out.length && fflush(stdout) == 0 ? 0 : 1;
        buf_done(&out);
        return status;
    }
    fprintf(stderr, "usage: generate reference|markdown\n");
    return 2;
}
