/*
 * pickle_read.c - pickle as data: a machine of stack and memo, and no more.
 *
 * Reads what plain data needs of protocols 0 to 5, and the calls that build the few
 * classes of pickle_classes.h; every other name, call and unknown byte is refused. The
 * input is hostile: every length is checked against what is left before anything is
 * allocated; a container is frozen by its first use, so no value is cyclic; the memo is
 * dense; sizes count every use of a shared item (see value.h).
 *
 * Memory: a text stays where it is in the input, moved by one byte onto its own length to
 * make room for a NUL behind it; empty containers and small values are shared; whatever
 * one byte of input can do again and again (marks, MEMOIZE) is bounded.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "common/utf8.h"
#include "jobs/rq/bigint.h"
#include "jobs/rq/payload.h"
#include "jobs/rq/pickle_classes.h"
#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 64
/* An open mark becomes a container or the arguments of a call inside one. */
#define MAX_MARKS ((size_t)2 * VALUE_MAX_DEPTH)
/* As much as a list of VALUE_MAX_NODES datetimes takes, with what they are made of. */
#define MAX_MEMORY  ((size_t)160 << 20)
#define CLASS_SHOWN 100 /* characters of a refused name */

/* A growing vector of values. Past `first` on the heap, since it doubles; see
 * reader_free(). */
struct values {
    struct value **items;
    size_t count, room;
    struct value *first[FIRST_ROOM];
};

struct reader {
    struct pickle_build build; /* with the arena */
    char *data;
    size_t length, at;
    size_t frame_end; /* 0: outside a frame */
    size_t marks;
    size_t memory_end; /* of the arena's use */
    bool is_fresh;     /* the last opcode pushed the top, which was not yet memoized */
    struct values stack, memo;
    const char *error; /* set: everything stops */
    struct value *result;
};

/* Stands on the stack where a MARK opcode was; never leaves it. */
static struct value mark = { .internal = true };

static bool refuse(struct reader *r, const char *error)
{
    if (!r->error)
        r->error = error;
    return false;
}

/* ---- input ---- */

/* The next `count` bytes; NULL when they are not there. */
static char *take(struct reader *r, uint64_t count)
{
    if (count > r->length - r->at) {
        refuse(r, "truncated");
        return NULL;
    }
    if (r->frame_end > r->at && count > r->frame_end - r->at) {
        refuse(r, "value crosses the frame's end");
        return NULL;
    }
    char *bytes = r->data + r->at;
    r->at += count;
    return bytes;
}

/* A little-endian number of 1 to 8 bytes. */
static bool take_number(struct reader *r, size_t size, uint64_t *ret)
{
    const char *bytes = take(r, size);
    uint64_t number = 0;

    if (!bytes)
        return false;
    for (size_t i = size; i-- > 0;)
        number = number << 8 | (uint8_t)bytes[i];
    *ret = number;
    return true;
}

/* A text argument up to its newline, which becomes a NUL (protocols 0 and 1). */
static char *take_line(struct reader *r, size_t *ret_length)
{
    const char *start = r->data + r->at;
    const char *end = memchr(start, '\n', r->length - r->at);

    if (!end) {
        refuse(r, "unterminated text argument");
        return NULL;
    }
    *ret_length = (size_t)(end - start);
    char *line = take(r, *ret_length + 1);
    if (line)
        line[*ret_length] = '\0';
    return line;
}

/* ---- stack and memo ---- */

static bool grow(struct reader *r, struct values *values)
{
    size_t room = values->room * 2;
    bool is_first = values->items == values->first;
    struct value **items =
        realloc(is_first ? NULL : values->items, room * sizeof(*items));

    if (!items)
        return refuse(r, "out of memory");
    if (is_first)
        memcpy(items, values->first, sizeof(values->first));
    values->items = items;
    values->room = room;
    return true;
}

static bool append(struct reader *r, struct values *to, struct value *value)
{
    if (to->count >= VALUE_MAX_NODES)
        return refuse(r, "too many values");
    if (to->count == to->room && !grow(r, to))
        return false;
    to->items[to->count++] = value;
    return true;
}

static bool push(struct reader *r, struct value *value)
{
    if (arena_used(r->build.arena) > r->memory_end)
        return refuse(r, "too much memory");
    r->is_fresh = true;
    return append(r, &r->stack, value);
}

static bool push_mark(struct reader *r, size_t ignored)
{
    (void)ignored;
    if (++r->marks > MAX_MARKS)
        return refuse(r, "nested too deeply");
    return append(r, &r->stack, &mark);
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

/* The container on top of the stack, which must be of that kind. One that is still empty
 * gets memory of its own now. */
static struct value *top_container(struct reader *r, enum value_kind kind)
{
    struct value *value = top(r);

    if (!value || value->kind != kind) {
        refuse(r, "opcode on a value of the wrong kind");
        return NULL;
    }
    if (value == value_empty(kind))
        value = r->stack.items[r->stack.count - 1] =
            value_container(r->build.arena, kind);
    return value;
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
    r->marks--;
    return true;
}

/* As picklers do it: what was just pushed, and once. */
static bool memo_put(struct reader *r, uint64_t index)
{
    struct value *value = top(r);

    if (!value)
        return false;
    if (!r->is_fresh)
        return refuse(r, "memoized twice or too late");
    r->is_fresh = false;
    if (index > r->memo.count)
        return refuse(r, "memo index not dense");
    if (value->kind == VALUE_LIST || value->kind == VALUE_DICT ||
        value->kind == VALUE_SET)
        value = top_container(r, value->kind);
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

/* Classes, and objects without their fields, are only what a call takes. */
static bool admit(struct reader *r, struct value *to, struct value *const *items,
                  size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!items[i]->internal)
            continue;
        if (to->kind != VALUE_TUPLE || items[i]->kind == VALUE_TUPLE)
            return refuse(r, "class as a value");
        to->internal = true;
    }
    return true;
}

static bool add_all(struct reader *r, struct value *to, struct value **items,
                    size_t count)
{
    const char *why = value_refuses(to, items, count);

    if (why)
        return refuse(r, why);
    if (!admit(r, to, items, count))
        return false;
    value_reserve(r->build.arena, to, count);
    for (size_t i = 0; i < count; i++)
        value_add(r->build.arena, to, items[i]);
    return true;
}

/* Adds to a dict (keys at even places) or a set (`step` 1: each is a key). */
static bool add_hashed(struct reader *r, struct value *to, struct value **items,
                       size_t count, size_t step)
{
    if (count % step != 0)
        return refuse(r, "odd number of dict items");
    for (size_t i = 0; i < count; i += step) {
        if (!value_is_hashable(items[i]))
            return refuse(r, "unhashable key");
    }
    return add_all(r, to, items, count);
}

static bool push_container(struct reader *r, enum value_kind kind, struct value **items,
                           size_t count)
{
    if (count == 0)
        return push(r, value_empty(kind));

    struct value *container = value_container(r->build.arena, kind);
    size_t step = kind == VALUE_DICT ? 2 : 1;
    bool is_added = kind == VALUE_DICT || kind == VALUE_FROZENSET
                        ? add_hashed(r, container, items, count, step)
                        : add_all(r, container, items, count);

    return is_added && push(r, container);
}

static bool push_empty(struct reader *r, size_t kind)
{
    return push(r, value_empty((enum value_kind)kind));
}

static bool push_marked(struct reader *r, size_t kind)
{
    struct value **items = NULL;
    size_t count = 0;

    return pop_to_mark(r, &items, &count) &&
           push_container(r, (enum value_kind)kind, items, count);
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

static bool append_one(struct reader *r, size_t ignored)
{
    struct value *item = pop(r);
    struct value *list = item ? top_container(r, VALUE_LIST) : NULL;

    (void)ignored;
    return list && add_all(r, list, &item, 1);
}

static bool set_one(struct reader *r, size_t ignored)
{
    struct value *pair[2];

    (void)ignored;
    pair[1] = pop(r);
    pair[0] = pair[1] ? pop(r) : NULL;
    struct value *dict = pair[0] ? top_container(r, VALUE_DICT) : NULL;
    return dict && add_hashed(r, dict, pair, 2, 2);
}

static bool extend(struct reader *r, size_t kind)
{
    struct value **items = NULL;
    size_t count = 0;

    if (!pop_to_mark(r, &items, &count))
        return false;
    struct value *container = top_container(r, (enum value_kind)kind);
    if (!container)
        return false;
    if (kind == VALUE_LIST)
        return add_all(r, container, items, count);
    return add_hashed(r, container, items, count, kind == VALUE_DICT ? 2 : 1);
}

/* ---- scalars ---- */

enum constant { NONE, FALSE, TRUE };

static bool push_constant(struct reader *r, size_t which)
{
    return push(r, which == NONE ? value_none(r->build.arena)
                                 : value_bool(r->build.arena, which == TRUE));
}

/* 1 and 2 bytes unsigned, 4 signed. */
static bool push_int(struct reader *r, size_t size)
{
    uint64_t number = 0;

    if (!take_number(r, size, &number))
        return false;
    return push(r,
                value_int(r->build.arena, size == 4 ? (int32_t)number : (int64_t)number));
}

static bool push_long(struct reader *r, size_t length_size)
{
    uint64_t length = 0;

    if (!take_number(r, length_size, &length))
        return false;
    /* LONG4's length is signed: a negative one is huge here. */
    if (length > BIGINT_MAX_BYTES)
        return refuse(r, "integer too large");
    const char *bytes = take(r, length);
    return bytes && push(r, value_integer(r->build.arena, bytes, length));
}

static bool push_double(struct reader *r, size_t ignored)
{
    const char *bytes = take(r, 8);
    uint64_t bits = 0;
    double real;

    (void)ignored;
    if (!bytes)
        return false;
    for (size_t i = 0; i < 8; i++)
        bits = bits << 8 | (uint8_t)bytes[i];
    memcpy(&real, &bits, sizeof(real));
    return push(r, value_float(r->build.arena, real));
}

static bool push_bytes(struct reader *r, enum value_kind kind, size_t length_size)
{
    uint64_t length = 0;
    char *bytes;

    if (!take_number(r, length_size, &length) || !(bytes = take(r, length)))
        return false;
    if (kind == VALUE_TEXT && !utf8_is_valid(bytes, length))
        return refuse(r, "text is not valid UTF-8");
    bytes = memmove(bytes - 1, bytes, length); /* over the length's last byte */
    bytes[length] = '\0';
    return push(r, value_view(r->build.arena, kind, bytes, length));
}

static bool push_text(struct reader *r, size_t length_size)
{
    return push_bytes(r, VALUE_TEXT, length_size);
}

static bool push_binary(struct reader *r, size_t length_size)
{
    return push_bytes(r, VALUE_BYTES, length_size);
}

static bool push_bytearray(struct reader *r, size_t length_size)
{
    return push_bytes(r, VALUE_BYTEARRAY, length_size);
}

/* ---- protocols 0 and 1: arguments as text ---- */

#define FLOAT_LENGTH 63

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
static bool push_line_int(struct reader *r, size_t is_long)
{
    size_t length;
    const char *line = take_line(r, &length);

    if (!line)
        return false;
    if (!is_long && length == 2 && line[0] == '0' && (line[1] == '0' || line[1] == '1'))
        return push(r, value_bool(r->build.arena, line[1] == '1'));
    if (is_long && length > 0 && line[length - 1] == 'L')
        length--;
    struct value *value = bigint_read(r->build.arena, line, length);
    return value ? push(r, value) : refuse(r, "bad integer");
}

static bool push_line_float(struct reader *r, size_t ignored)
{
    size_t length;
    const char *line = take_line(r, &length);
    char *end;

    (void)ignored;
    if (!line)
        return false;
    /* Nothing strtod() takes beyond Python's float(): no hexadecimal, no spaces. */
    if (length == 0 || length > FLOAT_LENGTH ||
        strspn(line, "0123456789+-.eEinfa") != length)
        return refuse(r, "bad float");
    double real = strtod(line, &end);
    if (*end != '\0')
        return refuse(r, "bad float");
    return push(r, value_float(r->build.arena, real));
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

/* ASCII that says what it means, so it can stay where it is. */
static bool is_plain(const char *line, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)line[i] >= 0x80 || line[i] == '\\')
            return false;
    }
    return true;
}

/* Python's raw-unicode-escape: Latin-1 with \u and \U escapes; an escape counts only
 * behind an odd number of backslashes. */
static bool push_line_text(struct reader *r, size_t ignored)
{
    size_t length;
    const char *line = take_line(r, &length);
    struct buf text = BUF_IN(r->build.arena);
    size_t slashes = 0;

    (void)ignored;
    if (!line)
        return false;
    if (is_plain(line, length))
        return push(r, value_view(r->build.arena, VALUE_TEXT, line, length));
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
    return push(r, value_view(r->build.arena, VALUE_TEXT, buf_text(&text), text.length));
}

/* ---- classes and calls ---- */

static bool push_class(struct reader *r, const char *module, size_t module_length,
                       const char *name, size_t name_length)
{
    struct value *class = pickle_class(module, module_length, name, name_length);

    if (class)
        return push(r, class);
    struct buf text = BUF_IN(r->build.arena);
    buf_add(&text, module, module_length < CLASS_SHOWN ? module_length : CLASS_SHOWN);
    buf_addc(&text, '.');
    buf_add(&text, name, name_length < CLASS_SHOWN ? name_length : CLASS_SHOWN);
    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] < 0x20 || text.data[i] > 0x7e)
            text.data[i] = '?';
    }
    return refuse(r,
                  arena_printf(r->build.arena, "class %s not allowed", buf_text(&text)));
}

static bool push_global(struct reader *r, size_t ignored)
{
    size_t module_length;
    size_t name_length;
    const char *module = take_line(r, &module_length);
    const char *name = module ? take_line(r, &name_length) : NULL;

    (void)ignored;
    return name && push_class(r, module, module_length, name, name_length);
}

static bool push_stack_global(struct reader *r, size_t ignored)
{
    const struct value *name = pop(r);
    const struct value *module = name ? pop(r) : NULL;

    (void)ignored;
    if (!module)
        return false;
    if (name->kind != VALUE_TEXT || module->kind != VALUE_TEXT)
        return refuse(r, "class name is not a text");
    return push_class(r, module->bytes.data, module->bytes.length, name->bytes.data,
                      name->bytes.length);
}

/* REDUCE and NEWOBJ: what is below the arguments is called. */
static bool call(struct reader *r, size_t is_new)
{
    struct value *args = pop(r);
    const struct value *callable = args ? pop(r) : NULL;

    if (!callable)
        return false;
    struct value *value = is_new ? pickle_new(&r->build, callable, args)
                                 : pickle_call(&r->build, callable, args);
    return value ? push(r, value) : refuse(r, r->build.error);
}

static bool set_state(struct reader *r, size_t ignored)
{
    const struct value *state = pop(r);
    struct value *object = state ? top(r) : NULL;

    (void)ignored;
    return object &&
           (pickle_set_state(&r->build, object, state) || refuse(r, r->build.error));
}

/* ---- the opcodes ---- */

static bool start_frame(struct reader *r, size_t was_fresh)
{
    uint64_t length = 0;

    if (r->frame_end > r->at)
        return refuse(r, "nested frame");
    if (!take_number(r, 8, &length))
        return false;
    if (length > r->length - r->at)
        return refuse(r, "frame longer than the data");
    r->frame_end = r->at + length;
    r->is_fresh = was_fresh; /* a large text's MEMOIZE stands in the next frame */
    return true;
}

static bool read_protocol(struct reader *r, size_t ignored)
{
    uint64_t version = 0;

    (void)ignored;
    if (r->at != 1)
        return refuse(r, "PROTO not at the start");
    if (!take_number(r, 1, &version))
        return false;
    return version <= 5 || refuse(r, "unsupported protocol");
}

static bool stop(struct reader *r, size_t ignored)
{
    struct value *value = r->stack.count == 1 ? r->stack.items[0] : &mark;

    (void)ignored;
    if (value == &mark)
        return refuse(r, "STOP without exactly one value");
    if (value->internal)
        return refuse(r, "class as a value");
    if (r->frame_end > r->at)
        return refuse(r, "STOP before the frame's end");
    /* The caller may add to what it gets. */
    if (value_is_container(value) && value == value_empty(value->kind))
        value = value_container(r->build.arena, value->kind);
    r->result = value;
    return true;
}

/* MEMOIZE (AS_NEXT), or a PUT with an index of 1 or 4 bytes, or (0) as a line. */
#define AS_NEXT SIZE_MAX

static bool take_index(struct reader *r, size_t size, uint64_t *ret)
{
    return size > 0 ? take_number(r, size, ret) : line_number(r, ret);
}

static bool memoize(struct reader *r, size_t size)
{
    uint64_t index = r->memo.count;

    return (size == AS_NEXT || take_index(r, size, &index)) && memo_put(r, index);
}

static bool recall(struct reader *r, size_t size)
{
    uint64_t index = 0;

    return take_index(r, size, &index) && memo_get(r, index);
}

/* The opcodes that are read, by their byte; the argument says which of its kind it is,
 * mostly how many bytes its length or number has. */
static const struct {
    bool (*read)(struct reader *r, size_t argument);
    size_t argument;
} opcodes[256] = {
    [0x80] = { read_protocol, 0 },
    [0x95] = { start_frame, 0 },
    ['.'] = { stop, 0 },
    ['('] = { push_mark, 0 },
    ['N'] = { push_constant, NONE },
    [0x88] = { push_constant, TRUE }, /* NEWTRUE, NEWFALSE */
    [0x89] = { push_constant, FALSE },
    ['K'] = { push_int, 1 }, /* BININT1, BININT2, BININT */
    ['M'] = { push_int, 2 },
    ['J'] = { push_int, 4 },
    [0x8a] = { push_long, 1 }, /* LONG1, LONG4 */
    [0x8b] = { push_long, 4 },
    ['G'] = { push_double, 0 },
    [0x8c] = { push_text, 1 }, /* SHORT_BINUNICODE, BINUNICODE, BINUNICODE8 */
    ['X'] = { push_text, 4 },
    [0x8d] = { push_text, 8 },
    ['C'] = { push_binary, 1 }, /* SHORT_BINBYTES, BINBYTES, BINBYTES8 */
    ['B'] = { push_binary, 4 },
    [0x8e] = { push_binary, 8 },
    [0x96] = { push_bytearray, 8 }, /* BYTEARRAY8 */
    [']'] = { push_empty, VALUE_LIST },
    ['}'] = { push_empty, VALUE_DICT },
    [')'] = { push_empty, VALUE_TUPLE },
    [0x8f] = { push_empty, VALUE_SET },
    ['a'] = { append_one, 0 }, /* APPEND, APPENDS */
    ['e'] = { extend, VALUE_LIST },
    ['s'] = { set_one, 0 }, /* SETITEM, SETITEMS */
    ['u'] = { extend, VALUE_DICT },
    [0x90] = { extend, VALUE_SET },            /* ADDITEMS */
    [0x91] = { push_marked, VALUE_FROZENSET }, /* FROZENSET */
    ['t'] = { push_marked, VALUE_TUPLE },      /* TUPLE, LIST, DICT */
    ['l'] = { push_marked, VALUE_LIST },
    ['d'] = { push_marked, VALUE_DICT },
    [0x85] = { push_short_tuple, 1 }, /* TUPLE1, TUPLE2, TUPLE3 */
    [0x86] = { push_short_tuple, 2 },
    [0x87] = { push_short_tuple, 3 },
    [0x94] = { memoize, AS_NEXT }, /* MEMOIZE, BINPUT, LONG_BINPUT, PUT */
    ['q'] = { memoize, 1 },
    ['r'] = { memoize, 4 },
    ['p'] = { memoize, 0 },
    ['h'] = { recall, 1 }, /* BINGET, LONG_BINGET, GET */
    ['j'] = { recall, 4 },
    ['g'] = { recall, 0 },
    ['I'] = { push_line_int, false }, /* INT, LONG, FLOAT, UNICODE as lines of text */
    ['L'] = { push_line_int, true },
    ['F'] = { push_line_float, 0 },
    ['V'] = { push_line_text, 0 },
    ['c'] = { push_global, 0 }, /* GLOBAL, STACK_GLOBAL */
    [0x93] = { push_stack_global, 0 },
    ['R'] = { call, false }, /* REDUCE, NEWOBJ, BUILD */
    [0x81] = { call, true },
    ['b'] = { set_state, 0 },
};

static bool read_opcode(struct reader *r)
{
    const char *at = take(r, 1);
    bool was_fresh = r->is_fresh;

    if (!at)
        return false;
    uint8_t opcode = (uint8_t)*at;
    if (!opcodes[opcode].read)
        return refuse(r,
                      arena_printf(r->build.arena, "opcode 0x%02x not allowed", opcode));
    if (opcodes[opcode].read == start_frame)
        return start_frame(r, was_fresh);
    if (opcodes[opcode].read != memoize)
        r->is_fresh = false;
    return opcodes[opcode].read(r, opcodes[opcode].argument);
}

static void values_free(struct values *values)
{
    if (values->items != values->first)
        free(values->items);
    values->items = values->first;
}

static void reader_free(void *arg)
{
    struct reader *r = arg;

    values_free(&r->stack);
    values_free(&r->memo);
}

struct value *pickle_read_in_place(struct arena *arena, char *data, size_t length,
                                   const char **ret_error)
{
    struct reader *r = arena_alloc(arena, sizeof(*r));

    /* A text of protocol 0 may be twice as long in UTF-8. */
    r->build = (struct pickle_build){ .arena = arena, .budget = 2 * length };
    r->memory_end = arena_used(arena) + MAX_MEMORY;
    r->data = data;
    r->length = length;
    r->stack.items = r->stack.first;
    r->memo.items = r->memo.first;
    r->stack.room = r->memo.room = FIRST_ROOM;
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

struct value *pickle_read(struct arena *arena, const void *data, size_t length,
                          const char **ret_error)
{
    return pickle_read_in_place(arena, arena_memdup(arena, data, length), length,
                                ret_error);
}
