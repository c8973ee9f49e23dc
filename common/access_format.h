/*
 * access_format.h - Gunicorn's access_log_format, read once.
 *
 * A format is text with atoms: %(h)s, %({User-Agent}i)s; "%%" is a percent sign. The
 * words "text", "json" and "gunicorn" stand for forkmark's own line, an object, and
 * Gunicorn's default. What each atom is replaced by is worker/access_log.c's.
 */
#ifndef FORKMARK_COMMON_ACCESS_FORMAT_H
#define FORKMARK_COMMON_ACCESS_FORMAT_H

#include <stddef.h>

enum access_atom {
    ATOM_TEXT,       /* between atoms; `text` */
    ATOM_ADDRESS,    /* h */
    ATOM_DASH,       /* l: a "-" as ever */
    ATOM_USER,       /* u */
    ATOM_TIME,       /* t */
    ATOM_LINE,       /* r: the request line */
    ATOM_METHOD,     /* m */
    ATOM_PATH,       /* U */
    ATOM_QUERY,      /* q */
    ATOM_PROTOCOL,   /* H */
    ATOM_STATUS,     /* s */
    ATOM_BYTES,      /* B */
    ATOM_BYTES_DASH, /* b: "-" for none */
    ATOM_REFERER,    /* f */
    ATOM_AGENT,      /* a */
    ATOM_SECONDS,    /* T */
    ATOM_MICROS,     /* D */
    ATOM_MILLIS,     /* M */
    ATOM_DECIMAL,    /* L: seconds with six decimals */
    ATOM_PID,        /* p */
    ATOM_HEADER_IN,  /* {Name}i; `text` */
    ATOM_HEADER_OUT, /* {Name}o; `text` */
};

struct access_part {
    enum access_atom atom;
    char *text; /* of a text, or a header's name */
};

struct access_format {
    struct access_part *parts;
    size_t count;
};

#define ACCESS_FORMAT_TEXT     "text"
#define ACCESS_FORMAT_JSON     "json"
#define ACCESS_FORMAT_GUNICORN "gunicorn"

/* NULL when fine, else what is wrong, with the nearest atom; in a static buffer. */
const char *access_format_check(const char *text);
/* On the heap, for as long as the process lives. NULL: one of the words "text" and
 * "json", or "". The text must have been checked. */
struct access_format *access_format_new(const char *text);
void access_format_free(struct access_format *format);

#endif
