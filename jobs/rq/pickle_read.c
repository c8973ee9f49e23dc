/*
 * pickle_read.c - pickle as data: a machine of stack and memo, and no more.
 *
 * Reads what plain data needs of protocols 0 to 5. Opcodes that import, call,
 * build or persist anything are refused, as is every unknown byte. The input is
 * hostile: every length is checked against what is left before anything is
 * allocated; a container is frozen by its first use, so no value is cyclic; the
 * memo is dense; sizes count every use of a shared item (see value.h).
 */
#include "common/arena.h"
#include "common/buf.h"
#include "common/utf8.h"
#include "jobs/rq/bigint.h"
#include "jobs/rq/payload.h"
#include <stdlib.h>
#include <string.h>

/* A growing vector of values. On the heap, since it doubles; see reader_free(). */
struct values {
    struct value **items;
    size_t count, room;
};

struct reader {
    struct arena *arena;
    const uint8_t *data;
    size_t length, at;
    size_t frame_end; /* 0: outside a frame */
    struct values stack, memo;
    const char *error; /* set: everything stops */
    struct value *result;
};

/* Stands on the stack where a MARK opcode was; never leaves it. */
static struct value mark;

static bool refuse(struct reader *r, const char *error)
{
    if (!r->error)
        r->error = error;
    return false;
}

/* ---- input ---- */

/* The next `count` bytes; NULL when they are not there. */
static const uint8_t *take(struct reader *r, uint64_t count)
{
    if (count > r->length - r->at) {
        refuse(r, "truncated");
        return NULL;
    }
    if (r->frame_end > r->at && count > r->frame_end - r->at) {
        refuse(r, "value crosses the frame's end");
        return NULL;
    }
    const uint8_t *bytes = r->data + r->at;
    r->at += count;
    return bytes;
}

/* A little-endian number of 1 to 8 bytes. */
static bool take_number(struct reader *r, size_t size, uint64_t *ret)
{
    const uint8_t *bytes = take(r, size);
    uint64_t number = 0;

    if (!bytes)
        return false;
    for (size_t i = size; i-- > 0;)
        number = number << 8 | bytes[i];
    *ret = number;
    return true;
}

/* A text argument up to its newline (protocols 0 and 1). */
static const char *take_line(struct reader *r, size_t *ret_length)
{
    const uint8_t *start = r->data + r->at;
    const uint8_t *end = memchr(start, '\n', r->length - r->at);

    if (!end) {
        refuse(r, "unterminated text argument");
        return NULL;
    }
    *ret_length = (size_t)(end - start);
    return (const char *)take(r, *ret_length + 1);
}

/* ---- stack and memo ---- */

static bool append(struct reader *r, struct values *to, struct value *value)
{
    if (to->count >= VALUE_MAX_NODES)
        return refuse(r, "too many values");
    if (to->count == to->room) {
        size_t room = to->room > 0 ? to->room * 2 : 64;
        struct value **items = realloc(to->items, room * sizeof(*items));

        if (!items)
            return refuse(r, "out of memory");
        to->items = items;
        to->room = room;
    }
    to->items[to->count++] = value;
    return true;
}

static bool push(struct reader *r, struct value *value)
{
    return append(r, &r->stack, value);
}

static struct value *top(struct reader *r)
{
    struct value *value = r->stack.count > 0 ? r->stack.items[r->stack.count - 1] : &mark;

    if (value != &mark)
        return value;
    refuse(r, "stack underflow");
    return NULL;
}

static struct value *pop(struct reader *r)
{
    struct value *value = top(r);

    if (value)
        r->stack.count--;
    return value;
}

/* The container on top of the stack, which must be of that kind. */
static struct value *top_container(struct reader *r, enum value_kind kind)
{
    struct value *value = top(r);

    if (value && value->kind == kind)
        return value;
    refuse(r, "opcode on a value of the wrong kind");
    return NULL;
}

/* Takes everything down to the mark off the stack. They stay readable in *ret_items
 * until the next push. */
static bool pop_to_mark(struct reader *r, struct value ***ret_items, size_t *ret_count)
{
    size_t at = r->stack.count;

    while (at > 0 && r->stack.items[at - 1] != &mark)
        at--;
    if (at == 0)
        return refuse(r, "no mark");
    *ret_items = r->stack.items + at;
    *ret_count = r->stack.count - at;
    r->stack.count = at - 1;
    return true;
}

static bool memo_put(struct reader *r, uint64_t index)
{
    struct value *value = top(r);

    if (!value)
        return false;
    if (index > r->memo.count)
        return refuse(r, "memo index not dense");
    if (index == r->memo.count)
        return append(r, &r->memo, value);
    r->memo.items[index] = value;
    return true;
}

static bool memo_get(struct reader *r, uint64_t index)
{
    if (index >= r->memo.count)
        return refuse(r, "memo index unset");
    return push(r, r->memo.items[index]);
}

/* ---- containers ---- */

static bool add_all(struct reader *r, struct value *to, struct value **items,
                    size_t count)
{
    const char *why = value_refuses(to, items, count);

    if (why)
        return refuse(r, why);
    value_reserve(r->arena, to, count);
    for (size_t i = 0; i < count; i++)
        value_add(r->arena, to, items[i]);
    return true;
}

/* Adds to a dict (keys at even places) or a set (`step` 1: each is a key). */
static bool add_hashed(struct reader *r, struct value *to, struct value **items,
                       size_t count, size_t step)
{
    if (count % step != 0)
        return refuse(r, "odd number of dict items");
    for (size_t i = 0; i < count; i += step) {
        if (items[i]->unhashable)
            return refuse(r, "unhashable key");
    }
    return add_all(r, to, items, count);
}

static bool push_container(struct reader *r, enum value_kind kind, struct value **items,
                           size_t count)
{
    struct value *container = value_container(r->arena, kind);
    size_t step = kind == VALUE_DICT ? 2 : 1;
    bool is_added = kind == VALUE_DICT || kind == VALUE_FROZENSET
                        ? add_hashed(r, container, items, count, step)
                        : add_all(r, container, items, count);

    return is_added && push(r, container);
}

static bool push_marked(struct reader *r, enum value_kind kind)
{
    struct value **items = NULL;
    size_t count = 0;

    return pop_to_mark(r, &items, &count) && push_container(r, kind, items, count);
}

static bool push_short_tuple(struct reader *r, size_t count)
{
    struct value *items[3];

    for (size_t i = count; i-- > 0;) {
        items[i] = pop(r);
        if (!items[i])
            return false;
    }
    return push_container(r, VALUE_TUPLE, items, count);
}

static bool append_one(struct reader *r)
{
    struct value *item = pop(r);
    struct value *list = item ? top_container(r, VALUE_LIST) : NULL;

    return list && add_all(r, list, &item, 1);
}

static bool set_one(struct reader *r)
{
    struct value *pair[2];

    pair[1] = pop(r);
    pair[0] = pair[1] ? pop(r) : NULL;
    struct value *dict = pair[0] ? top_container(r, VALUE_DICT) : NULL;
    return dict && add_hashed(r, dict, pair, 2, 2);
}

static bool extend(struct reader *r, enum value_kind kind)
{
    struct value **items = NULL;
    size_t count = 0;

    if (!pop_to_mark(r, &items, &count))
        return false;
    struct value *container = top_container(r, kind);
    if (!container)
        return false;
    if (kind == VALUE_LIST)
        return add_all(r, container, items, count);
    return add_hashed(r, container, items, count, kind == VALUE_DICT ? 2 : 1);
}

/* ---- scalars ---- */

static bool push_int(struct reader *r, size_t size, bool is_signed)
{
    uint64_t number = 0;

    if (!take_number(r, size, &number))
        return false;
    return push(r, value_int(r->arena, is_signed ? (int32_t)number : (int64_t)number));
}

static bool push_long(struct reader *r, size_t length_size)
{
    uint64_t length = 0;

    if (!take_number(r, length_size, &length))
        return false;
    /* LONG4's length is signed: a negative one is huge here. */
    if (length > BIGINT_MAX_BYTES)
        return refuse(r, "integer too large");
    const uint8_t *bytes = take(r, length);
    return bytes && push(r, value_integer(r->arena, bytes, length));
}

static bool push_double(struct reader *r)
{
    const uint8_t *bytes = take(r, 8);
    uint64_t bits = 0;
    double real;

    if (!bytes)
        return false;
    for (size_t i = 0; i < 8; i++)
        bits = bits << 8 | bytes[i];
    memcpy(&real, &bits, sizeof(real));
    return push(r, value_float(r->arena, real));
}

static bool push_bytes(struct reader *r, enum value_kind kind, size_t length_size)
{
    uint64_t length = 0;
    const uint8_t *bytes;

    if (!take_number(r, length_size, &length) || !(bytes = take(r, length)))
        return false;
    if (kind == VALUE_BYTES)
        return push(r, value_bytes(r->arena, bytes, length));
    if (!utf8_is_valid(bytes, length))
        return refuse(r, "text is not valid UTF-8");
    return push(r, value_text(r->arena, (const char *)bytes, length));
}

/* ---- protocols 0 and 1: arguments as text ---- */

static bool line_number(struct reader *r, uint64_t *ret)
{
    size_t length;
    const char *line = take_line(r, &length);
    uint64_t number = 0;

    if (!line)
        return false;
    if (length == 0 || length > 9)
        return refuse(r, "bad memo index");
    for (size_t i = 0; i < length; i++) {
        if (line[i] < '0' || line[i] > '9')
            return refuse(r, "bad memo index");
        number = number * 10 + (uint64_t)(line[i] - '0');
    }
    *ret = number;
    return true;
}

/* INT also carries the booleans, as 01 and 00; LONG ends in an L. */
static bool push_line_int(struct reader *r, bool is_long)
{
    size_t length;
    const char *line = take_line(r, &length);

    if (!line)
        return false;
    if (!is_long && length == 2 && line[0] == '0' && (line[1] == '0' || line[1] == '1'))
        return push(r, value_bool(r->arena, line[1] == '1'));
    if (is_long && length > 0 && line[length - 1] == 'L')
        length--;
    struct value *value = bigint_read(r->arena, line, length);
    return value ? push(r, value) : refuse(r, "bad integer");
}

static bool push_line_float(struct reader *r)
{
    size_t length;
    const char *line = take_line(r, &length);
    char text[64];
    char *end;

    if (!line)
        return false;
    if (length == 0 || length >= sizeof(text))
        return refuse(r, "bad float");
    memcpy(text, line, length);
    text[length] = '\0';
    /* Nothing strtod() takes beyond Python's float(): no hexadecimal, no spaces. */
    if (strspn(text, "0123456789+-.eEinfa") != length)
        return refuse(r, "bad float");
    double real = strtod(text, &end);
    if (*end != '\0')
        return refuse(r, "bad float");
    return push(r, value_float(r->arena, real));
}

/* \uXXXX or \UXXXXXXXX at `text`; 0 when it is no escape. */
static size_t read_escape(const char *text, size_t length, uint32_t *ret)
{
    size_t digits = length > 1 && text[1] == 'u'   ? 4
                    : length > 1 && text[1] == 'U' ? 8
                                                   : 0;
    uint32_t number = 0;

    if (digits == 0)
        return 0;
    for (size_t i = 2; i < 2 + digits; i++) {
        const char *hex = "0123456789abcdef";
        char c = i < length ? text[i] : '\0';
        const char *found =
            c ? strchr(hex, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c) : NULL;

        if (!found) {
            *ret = UINT32_MAX;
            return 2;
        }
        number = number << 4 | (uint32_t)(found - hex);
    }
    *ret = number;
    return 2 + digits;
}

/* Python's raw-unicode-escape: Latin-1 with \u and \U escapes; an escape counts only
 * behind an odd number of backslashes. */
static bool push_line_text(struct reader *r)
{
    size_t length;
    const char *line = take_line(r, &length);
    struct buf text = BUF_IN(r->arena);
    size_t slashes = 0;

    if (!line)
        return false;
    buf_reserve(&text, length);
    for (size_t i = 0; i < length;) {
        uint32_t character = (uint8_t)line[i];
        size_t used = 0;

        if (line[i] == '\\' && slashes++ % 2 == 0)
            used = read_escape(line + i, length - i, &character);
        else if (line[i] != '\\')
            slashes = 0;
        if (used > 0)
            slashes = 0;
        if (character > 0x10ffff || (character >= 0xd800 && character <= 0xdfff))
            return refuse(r, "bad unicode text");
        utf8_add(&text, character);
        i += used > 0 ? used : 1;
    }
    return push(r, value_text(r->arena, buf_text(&text), text.length));
}

/* ---- the opcodes ---- */

static bool start_frame(struct reader *r)
{
    uint64_t length = 0;

    if (r->frame_end > r->at)
        return refuse(r, "nested frame");
    if (!take_number(r, 8, &length))
        return false;
    if (length > r->length - r->at)
        return refuse(r, "frame longer than the data");
    r->frame_end = r->at + length;
    return true;
}

static bool read_protocol(struct reader *r)
{
    uint64_t version = 0;

    if (r->at != 1)
        return refuse(r, "PROTO not at the start");
    if (!take_number(r, 1, &version))
        return false;
    return version <= 5 || refuse(r, "unsupported protocol");
}

static bool stop(struct reader *r)
{
    if (r->stack.count != 1 || r->stack.items[0] == &mark)
        return refuse(r, "STOP without exactly one value");
    if (r->frame_end > r->at)
        return refuse(r, "STOP before the frame's end");
    r->result = r->stack.items[0];
    return true;
}

static bool read_scalar(struct reader *r, uint8_t opcode, bool *ret)
{
    switch (opcode) {
    case 'N':
        *ret = push(r, value_none(r->arena));
        return true;
    case 0x88: /* NEWTRUE, NEWFALSE */
    case 0x89:
        *ret = push(r, value_bool(r->arena, opcode == 0x88));
        return true;
    case 'K': /* BININT1, BININT2, BININT */
        *ret = push_int(r, 1, false);
        return true;
    case 'M':
        *ret = push_int(r, 2, false);
        return true;
    case 'J':
        *ret = push_int(r, 4, true);
        return true;
    case 0x8a: /* LONG1, LONG4 */
        *ret = push_long(r, 1);
        return true;
    case 0x8b:
        *ret = push_long(r, 4);
        return true;
    case 'G':
        *ret = push_double(r);
        return true;
    case 0x8c: /* SHORT_BINUNICODE, BINUNICODE, BINUNICODE8 */
        *ret = push_bytes(r, VALUE_TEXT, 1);
        return true;
    case 'X':
        *ret = push_bytes(r, VALUE_TEXT, 4);
        return true;
    case 0x8d:
        *ret = push_bytes(r, VALUE_TEXT, 8);
        return true;
    case 'C': /* SHORT_BINBYTES, BINBYTES, BINBYTES8 */
        *ret = push_bytes(r, VALUE_BYTES, 1);
        return true;
    case 'B':
        *ret = push_bytes(r, VALUE_BYTES, 4);
        return true;
    case 0x8e:
        *ret = push_bytes(r, VALUE_BYTES, 8);
        return true;
    default:
        return false;
    }
}

static bool read_container(struct reader *r, uint8_t opcode, bool *ret)
{
    switch (opcode) {
    case ']':
        *ret = push_container(r, VALUE_LIST, NULL, 0);
        return true;
    case '}':
        *ret = push_container(r, VALUE_DICT, NULL, 0);
        return true;
    case ')':
        *ret = push_container(r, VALUE_TUPLE, NULL, 0);
        return true;
    case 0x8f: /* EMPTY_SET */
        *ret = push_container(r, VALUE_SET, NULL, 0);
        return true;
    case 'a': /* APPEND, APPENDS */
        *ret = append_one(r);
        return true;
    case 'e':
        *ret = extend(r, VALUE_LIST);
        return true;
    case 's': /* SETITEM, SETITEMS */
        *ret = set_one(r);
        return true;
    case 'u':
        *ret = extend(r, VALUE_DICT);
        return true;
    case 0x90: /* ADDITEMS */
        *ret = extend(r, VALUE_SET);
        return true;
    case 0x91: /* FROZENSET */
        *ret = push_marked(r, VALUE_FROZENSET);
        return true;
    case 't':
        *ret = push_marked(r, VALUE_TUPLE);
        return true;
    case 'l': /* LIST, DICT: protocol 0 */
        *ret = push_marked(r, VALUE_LIST);
        return true;
    case 'd':
        *ret = push_marked(r, VALUE_DICT);
        return true;
    case 0x85: /* TUPLE1, TUPLE2, TUPLE3 */
    case 0x86:
    case 0x87:
        *ret = push_short_tuple(r, (size_t)opcode - 0x84);
        return true;
    default:
        return false;
    }
}

static bool put_numbered(struct reader *r, size_t size)
{
    uint64_t index = 0;

    return (size > 0 ? take_number(r, size, &index) : line_number(r, &index)) &&
           memo_put(r, index);
}

static bool get_numbered(struct reader *r, size_t size)
{
    uint64_t index = 0;

    return (size > 0 ? take_number(r, size, &index) : line_number(r, &index)) &&
           memo_get(r, index);
}

static bool read_other(struct reader *r, uint8_t opcode, bool *ret)
{
    switch (opcode) {
    case 0x80:
        *ret = read_protocol(r);
        return true;
    case 0x95:
        *ret = start_frame(r);
        return true;
    case '(':
        *ret = push(r, &mark);
        return true;
    case 0x94: /* MEMOIZE, BINPUT, LONG_BINPUT, PUT */
        *ret = memo_put(r, r->memo.count);
        return true;
    case 'q':
        *ret = put_numbered(r, 1);
        return true;
    case 'r':
        *ret = put_numbered(r, 4);
        return true;
    case 'p':
        *ret = put_numbered(r, 0);
        return true;
    case 'h': /* BINGET, LONG_BINGET, GET */
        *ret = get_numbered(r, 1);
        return true;
    case 'j':
        *ret = get_numbered(r, 4);
        return true;
    case 'g':
        *ret = get_numbered(r, 0);
        return true;
    case 'I': /* INT, LONG, FLOAT, UNICODE as lines of text */
        *ret = push_line_int(r, false);
        return true;
    case 'L':
        *ret = push_line_int(r, true);
        return true;
    case 'F':
        *ret = push_line_float(r);
        return true;
    case 'V':
        *ret = push_line_text(r);
        return true;
    case '.':
        *ret = stop(r);
        return true;
    default:
        return false;
    }
}

static bool read_opcode(struct reader *r)
{
    const uint8_t *opcode = take(r, 1);
    bool is_read = false;

    if (!opcode)
        return false;
    if (read_scalar(r, *opcode, &is_read) || read_container(r, *opcode, &is_read) ||
        read_other(r, *opcode, &is_read))
        return is_read;
    return refuse(r, arena_printf(r->arena, "opcode 0x%02x not allowed", *opcode));
}

static void reader_free(void *arg)
{
    struct reader *r = arg;

    free(r->stack.items);
    free(r->memo.items);
    r->stack = r->memo = (struct values){ 0 };
}

struct value *pickle_read(struct arena *arena, const void *data, size_t length,
                          const char **ret_error)
{
    struct reader *r = arena_alloc(arena, sizeof(*r));

    r->arena = arena;
    r->data = data;
    r->length = length;
    /* The arena may end the task in the middle (its cap): then this cleans up. */
    struct arena_deferred *cleanup = arena_defer(arena, reader_free, r);
    while (!r->result && read_opcode(r))
        ;
    reader_free(r);
    arena_undefer(cleanup);
    if (!r->result)
        *ret_error = arena_printf(arena, "DeserializationError: %s",
                                  r->error ? r->error : "no value");
    return r->result;
}
