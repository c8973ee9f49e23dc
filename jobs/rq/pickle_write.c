/*
 * pickle_write.c - protocol 4 without frames and memo, which every Python since
 * 3.4 reads.
 */
#include "common/buf.h"
#include "common/utf8.h"
#include "jobs/rq/payload.h"
#include <string.h>

static void put_little(struct buf *out, uint64_t number, size_t size)
{
    for (size_t i = 0; i < size; i++)
        buf_addc(out, (char)(number >> (8 * i)));
}

/* An opcode for short lengths, another for long ones, then the bytes. */
static void put_sized(struct buf *out, int short_opcode, int long_opcode,
                      const char *data, size_t length)
{
    bool is_short = length < 256;

    buf_addc(out, (char)(is_short ? short_opcode : long_opcode));
    put_little(out, length, is_short ? 1 : 4);
    buf_add(out, data, length);
}

/* Beyond 32 bits: LONG1 with as few bytes as hold the sign. */
static void put_long(struct buf *out, int64_t number)
{
    char bytes[sizeof(number)];
    size_t length = sizeof(number);

    for (size_t i = 0; i < sizeof(number); i++)
        bytes[i] = (char)((uint64_t)number >> (8 * i));
    while (length > 1) {
        char sign = (char)(bytes[length - 2] & 0x80 ? 0xff : 0);
        if (bytes[length - 1] != sign)
            break;
        length--;
    }
    put_sized(out, 0x8a, 0x8b, bytes, length);
}

static void put_int(struct buf *out, int64_t number)
{
    if (number >= 0 && number <= UINT8_MAX) {
        buf_addc(out, 'K');
        put_little(out, (uint64_t)number, 1);
    } else if (number >= 0 && number <= UINT16_MAX) {
        buf_addc(out, 'M');
        put_little(out, (uint64_t)number, 2);
    } else if (number >= INT32_MIN && number <= INT32_MAX) {
        buf_addc(out, 'J');
        put_little(out, (uint64_t)number, 4);
    } else {
        put_long(out, number);
    }
}

static void put_double(struct buf *out, double real)
{
    uint64_t bits;

    memcpy(&bits, &real, sizeof(bits));
    buf_addc(out, 'G');
    for (int shift = 56; shift >= 0; shift -= 8)
        buf_addc(out, (char)(bits >> shift));
}

/* ---- what is written as a call of its class ---- */

static void put_text(struct buf *out, const char *text, size_t length)
{
    /* No text for Python; the bytes themselves are no loss. */
    if (utf8_is_valid(text, length))
        put_sized(out, 0x8c, 'X', text, length);
    else
        put_sized(out, 'C', 'B', text, length);
}

/* STACK_GLOBAL; the arguments follow, and put_call(). */
static void put_class(struct buf *out, const char *module, const char *name)
{
    put_text(out, module, strlen(module));
    put_text(out, name, strlen(name));
    buf_addc(out, (char)0x93);
}

/* The tuple of 0 to 3 arguments, and REDUCE. */
static void put_call(struct buf *out, size_t arguments)
{
    static const char tuples[] = { ')', (char)0x85, (char)0x86, (char)0x87 };

    buf_addc(out, tuples[arguments]);
    buf_addc(out, 'R');
}

static void put_timedelta(struct buf *out, const struct value_delta *delta)
{
    put_class(out, "datetime", "timedelta");
    put_int(out, delta->days);
    put_int(out, delta->seconds);
    put_int(out, delta->microseconds);
    put_call(out, 3);
}

static void put_timezone(struct buf *out, const struct value *zone)
{
    put_class(out, "datetime", "timezone");
    put_timedelta(out, &zone->zone.offset->delta);
    if (zone->zone.name)
        put_text(out, zone->zone.name->bytes.data, zone->zone.name->bytes.length);
    put_call(out, zone->zone.name ? 2 : 1);
}

/* The packed bytes of datetime's own pickles: see pickle_classes.c. */
static void put_moment(struct buf *out, const struct value *value)
{
    static const char *const names[] = {
        [VALUE_DATE] = "date", [VALUE_TIME] = "time", [VALUE_DATETIME] = "datetime"
    };
    const struct value_moment *moment = value->moment;
    unsigned fold = moment->fold ? 0x80 : 0;
    char packed[10];
    size_t length = 0;

    if (value->kind != VALUE_TIME) {
        packed[length++] = (char)(moment->year >> 8);
        packed[length++] = (char)moment->year;
        packed[length++] = (char)(moment->month | fold);
        packed[length++] = (char)moment->day;
        fold = 0;
    }
    if (value->kind != VALUE_DATE) {
        packed[length++] = (char)(moment->hour | fold);
        packed[length++] = (char)moment->minute;
        packed[length++] = (char)moment->second;
        packed[length++] = (char)(moment->microsecond >> 16);
        packed[length++] = (char)(moment->microsecond >> 8);
        packed[length++] = (char)moment->microsecond;
    }
    put_class(out, "datetime", names[value->kind]);
    put_sized(out, 'C', 'B', packed, length);
    if (moment->zone)
        put_timezone(out, moment->zone);
    put_call(out, moment->zone ? 2 : 1);
}

static void put_uuid(struct buf *out, const struct value *uuid)
{
    char little[VALUE_UUID_SIZE + 1] = { 0 };
    size_t length = sizeof(little);

    for (size_t i = 0; i < VALUE_UUID_SIZE; i++)
        little[i] = uuid->bytes.data[VALUE_UUID_SIZE - 1 - i];
    while (length > 1 && little[length - 1] == 0 && !(little[length - 2] & 0x80))
        length--;
    put_class(out, "uuid", "UUID");
    buf_adds(out, ")\x81}"); /* NEWOBJ, and its only field */
    put_text(out, "int", 3);
    put_sized(out, 0x8a, 0x8b, little, length);
    buf_adds(out, "sb");
}

/* False: not a value of these kinds. */
static bool put_typed(struct buf *out, const struct value *value)
{
    switch (value->kind) {
    case VALUE_COMPLEX:
        put_class(out, "builtins", "complex");
        put_double(out, value->complex.real);
        put_double(out, value->complex.imaginary);
        put_call(out, 2);
        return true;
    case VALUE_BYTEARRAY: /* protocol 4 has no opcode for it */
        put_class(out, "builtins", "bytearray");
        put_sized(out, 'C', 'B', value->bytes.data, value->bytes.length);
        put_call(out, 1);
        return true;
    case VALUE_DECIMAL:
        put_class(out, "decimal", "Decimal");
        put_text(out, value->bytes.data, value->bytes.length);
        put_call(out, 1);
        return true;
    case VALUE_UUID:
        put_uuid(out, value);
        return true;
    case VALUE_DATE:
    case VALUE_TIME:
    case VALUE_DATETIME:
        put_moment(out, value);
        return true;
    case VALUE_TIMEDELTA:
        put_timedelta(out, &value->delta);
        return true;
    case VALUE_TIMEZONE:
        put_timezone(out, value);
        return true;
    default:
        return false;
    }
}

/* A container opens with its empty form; items stand behind a mark. */
static void open_container(struct buf *out, const struct value *value)
{
    size_t count = value->list.count;

    if (value->kind == VALUE_LIST)
        buf_addc(out, ']');
    else if (value->kind == VALUE_DICT)
        buf_addc(out, '}');
    else if (value->kind == VALUE_SET)
        buf_addc(out, (char)0x8f);
    if (value->kind == VALUE_FROZENSET || (value->kind == VALUE_TUPLE && count > 3) ||
        (value->kind != VALUE_TUPLE && count > 0))
        buf_addc(out, '(');
}

static enum value_step enter(void *arg, const struct value *value,
                             const struct value *parent, size_t index)
{
    struct buf *out = arg;

    (void)parent;
    (void)index;
    switch (value->kind) {
    case VALUE_NONE:
        buf_addc(out, 'N');
        break;
    case VALUE_BOOL:
        buf_addc(out, (char)(value->boolean ? 0x88 : 0x89));
        break;
    case VALUE_INT:
        put_int(out, value->integer);
        break;
    case VALUE_BIGINT:
        put_sized(out, 0x8a, 0x8b, value->bytes.data, value->bytes.length);
        break;
    case VALUE_FLOAT:
        put_double(out, value->real);
        break;
    case VALUE_TEXT:
        put_text(out, value->bytes.data, value->bytes.length);
        break;
    case VALUE_BYTES:
        put_sized(out, 'C', 'B', value->bytes.data, value->bytes.length);
        break;
    default:
        if (!put_typed(out, value))
            open_container(out, value);
        break;
    }
    return VALUE_DESCEND;
}

static void leave(void *arg, const struct value *container)
{
    static const char tuple_ends[] = { ')', (char)0x85, (char)0x86, (char)0x87 };
    struct buf *out = arg;
    size_t count = container->list.count;

    switch (container->kind) {
    case VALUE_TUPLE:
        buf_addc(out, count > 3 ? 't' : tuple_ends[count]);
        break;
    case VALUE_FROZENSET:
        buf_addc(out, (char)0x91);
        break;
    default:
        if (count > 0)
            buf_addc(out, container->kind == VALUE_LIST   ? 'e'
                          : container->kind == VALUE_DICT ? 'u'
                                                          : (char)0x90);
        break;
    }
}

void pickle_write(const struct value *value, struct buf *out)
{
    static const struct value_visitor visitor = { enter, leave };

    buf_add(out, "\x80\x04", 2);
    value_walk(value, &visitor, out);
    buf_addc(out, '.');
}
