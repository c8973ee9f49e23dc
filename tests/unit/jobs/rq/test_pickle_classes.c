/*
 * The calls that build values, and everything else that looks like one: what Python's
 * pickle would import and run must end as a refusal.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "jobs/rq/payload.h"
#include "tests/unit/testing.h"
#include <string.h>

#define DATETIME "cdatetime\ndatetime\n"
#define ZONE     "cdatetime\ntimezone\n"
#define DELTA    "cdatetime\ntimedelta\n"
#define DECIMAL  "cdecimal\nDecimal\n"
#define UUID     "cuuid\nUUID\n"
#define TEXT(t)  "V" t "\n"

/* A pickle of `length` bytes, and its repr, or (in brackets) why it is refused. */
#define ROW(pickle, shown)                    \
    {                                         \
        (pickle), sizeof(pickle) - 1, (shown) \
    }

static const struct {
    const char *pickle;
    size_t length;
    const char *shown;
} rows[] = {
    /* dates and times */
    ROW(DATETIME "C\x0a\x07\xe8\x02\x1d\x17\x3b\x3a\x01\xe2\x40\x85R.",
        "datetime.datetime(2024, 2, 29, 23, 59, 58, 123456)"),
    ROW(DATETIME "C\x0a\x07\xe8\x82\x1d\x17\x3b\0\0\0\0\x85R.",
        "datetime.datetime(2024, 2, 29, 23, 59, fold=1)"),
    ROW(DATETIME "C\x0a\x07\xe7\x02\x1d\x17\x3b\x3a\x01\xe2\x40\x85R.", "<no datetime>"),
    ROW(DATETIME "C\x0a\x07\xe8\x02\x1d\x18\x3b\x3a\x01\xe2\x40\x85R.", "<no datetime>"),
    ROW(DATETIME "C\x0a\x07\xe8\x02\x1d\x17\x3b\x3a\x0f\x42\x40\x85R.", "<no datetime>"),
    ROW(DATETIME "C\x09\x07\xe8\x02\x1d\x17\x3b\x3a\x01\xe2\x85R.", "<no datetime>"),
    ROW(DATETIME ")R.", "<no datetime>"),
    ROW(DATETIME "C\x0a\x07\xe8\x02\x1d\x17\x3b\x3a\x01\xe2\x40N\x86R.",
        "datetime.datetime(2024, 2, 29, 23, 59, 58, 123456)"),
    ROW(DATETIME "C\x0a\x07\xe8\x02\x1d\x17\x3b\x3a\x01\xe2\x40K\x01\x86R.",
        "<no datetime>"),
    ROW("cdatetime\ndate\nC\x04\x27\x0f\x0c\x1f\x85R.", "datetime.date(9999, 12, 31)"),
    ROW("cdatetime\ndate\nC\x04\x27\x10\x0c\x1f\x85R.", "<no date>"),
    ROW("cdatetime\ndate\nC\x04\0\0\x0c\x1f\x85R.", "<no date>"),
    ROW("cdatetime\ndate\nC\x04\x07\x6c\x02\x1d\x85R.", "<no date>"), /* 1900: no leap */
    ROW("cdatetime\ntime\nC\x06\x81\x02\0\0\0\0\x85R.", "datetime.time(1, 2, fold=1)"),
    ROW("cdatetime\ntime\nC\x06\x01\x3c\0\0\0\0\x85R.", "<no time>"),
    ROW(DELTA "J\xff\xff\xff\xffK\x05K\x07\x87R.",
        "datetime.timedelta(days=-1, seconds=5, microseconds=7)"),
    ROW(DELTA "K\0J\x80\x51\x01\0K\0\x87R.", "<no timedelta>"),
    ROW(DELTA "K\0J\xff\xff\xff\xffK\0\x87R.", "<no timedelta>"),
    ROW(DELTA "J\0\xca\x9a\x3bK\0K\0\x87R.", "<no timedelta>"), /* 10^9 days */
    ROW(DELTA "J\0\0\0\x80K\0K\0\x87R.", "<no timedelta>"),
    ROW(DELTA "\x8a\x05\0\0\0\0\x01K\0K\0\x87R.", "<no timedelta>"),
    ROW(DELTA "K\0K\0\x86R.", "<no timedelta>"),
    ROW(ZONE DELTA "K\0K\0K\0\x87R\x85R.", "datetime.timezone.utc"),
    ROW(ZONE DELTA "K\0MXMK\0\x87R" TEXT("IST") "\x86R.",
        "datetime.timezone(datetime.timedelta(seconds=19800), 'IST')"),
    ROW(ZONE DELTA "K\x01K\0K\0\x87R\x85R.", "<no time zone>"),
    ROW(ZONE DELTA "J\xff\xff\xff\xffK\0K\0\x87R\x85R.", "<no time zone>"),
    ROW(ZONE DELTA "K\0K\0K\0\x87RK\x01\x86R.", "<no time zone>"),
    ROW(ZONE "K\x01\x85R.", "<no time zone>"),
    /* numbers */
    ROW(DECIMAL TEXT("-12.340E+7") "\x85R.", "Decimal('-12.340E+7')"),
    ROW(DECIMAL TEXT("sNaN12") "\x85R.", "Decimal('sNaN12')"),
    ROW(DECIMAL TEXT("-Infinity") "\x85R.", "Decimal('-Infinity')"),
    ROW(DECIMAL TEXT("") "\x85R.", "<no decimal>"),
    ROW(DECIMAL TEXT(".") "\x85R.", "<no decimal>"),
    ROW(DECIMAL TEXT("1E") "\x85R.", "<no decimal>"),
    ROW(DECIMAL TEXT("1 ") "\x85R.", "<no decimal>"),
    ROW(DECIMAL TEXT("1'") "\x85R.", "<no decimal>"),
    ROW(DECIMAL TEXT("0x1") "\x85R.", "<no decimal>"),
    ROW(DECIMAL TEXT("1\\u0000") "\x85R.", "<no decimal>"),
    ROW(DECIMAL "K\x01\x85R.", "<no decimal>"),
    ROW(UUID ")\x81}\x8c\x03intK\x05sb.", "UUID('00000000-0000-0000-0000-000000000005')"),
    ROW(UUID ")\x81}(\x8c\x03int\x8a\x11\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x80\0"
             "\x8c\x07is_safeK\0ub.",
        "UUID('80000000-0000-0000-0000-000000000000')"),
    ROW("ccopy_reg\n_reconstructor\n(" UUID
        "c__builtin__\nobject\nNtR}\x8c\x03intK\x05sb.",
        "UUID('00000000-0000-0000-0000-000000000005')"),
    ROW(UUID ")\x81}\x8c\x03intJ\xff\xff\xff\xffsb.", "<object not allowed>"),
    ROW(UUID ")\x81}\x8c\x03int\x8a\x11\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01sb.",
        "<object not allowed>"),
    ROW(UUID ")\x81}\x8c\x03hexK\x05sb.", "<object not allowed>"),
    ROW(UUID ")\x81}b.", "<object not allowed>"),
    ROW(UUID ")\x81Nb.", "<object not allowed>"),
    ROW(UUID ")\x81.", "<class as a value>"),
    ROW(UUID ")\x81\x85.", "<class as a value>"),
    ROW(UUID ")\x81]\x94.", "<STOP without exactly one value>"),
    ROW("]" UUID ")\x81"
        "a.",
        "<class as a value>"),
    ROW(UUID ")\x81}\x8c\x03intK\x05sb}\x8c\x03intK\x06sb.", "<object not allowed>"),
    ROW(UUID "N\x85\x81.", "<object not allowed>"),
    ROW(UUID ")R.", "<call not allowed>"),
    ROW(DECIMAL ")\x81.", "<object not allowed>"),
    ROW("cbuiltins\ncomplex\nG?\xf0\0\0\0\0\0\0G@\0\0\0\0\0\0\0\x86R.", "(1+2j)"),
    ROW("cbuiltins\ncomplex\nK\x01K\x02\x86R.", "<no complex number>"),
    /* bytes and sets of old protocols */
    ROW("c_codecs\nencode\n" TEXT("a\\u00ff") TEXT("latin1") "\x86R.", "b'a\\xff'"),
    ROW("c_codecs\nencode\n" TEXT("\\u0100") TEXT("latin1") "\x86R.", "<no bytes>"),
    ROW("c_codecs\nencode\n" TEXT("a") TEXT("rot13") "\x86R.", "<no bytes>"),
    ROW("c_codecs\nencode\n" TEXT("a") "\x85R.", "<no bytes>"),
    ROW("c__builtin__\nbytes\n)R.", "b''"),
    ROW("cbuiltins\nbytes\nK\x05\x85R.", "<no bytes>"), /* would make five zeros */
    ROW("cbuiltins\nbytearray\nC\x02"
        "ab\x85R.",
        "bytearray(b'ab')"),
    ROW("cbuiltins\nbytearray\nJ\0\0\0\x7f\x85R.", "<no bytearray>"), /* 2 GiB of zeros */
    ROW("cbuiltins\nset\n](K\x03"
        "e\x85R.",
        "{3}"),
    ROW("cbuiltins\nset\n)R.", "set()"),
    ROW("cbuiltins\nset\n](]e\x85R.", "<no set>"),
    ROW("cbuiltins\nset\nC\x01"
        "a\x85R.",
        "<no set>"),
    ROW("cbuiltins\nset\n](K\x03"
        "e\x85R(K\x04\x90.",
        "<container modified after use>"),
    ROW("cbuiltins\nfrozenset\n](K\x03"
        "e\x85R.",
        "frozenset({3})"),
    /* what is called, and with what */
    ROW("cos\nsystem\n" TEXT("true") "\x85R.", "<class os.system not allowed>"),
    ROW("\x8c\x08"
        "builtins\x8c\x04"
        "eval\x93.",
        "<class builtins.eval not allowed>"),
    ROW("cbuiltins\ngetattr\n.", "<class builtins.getattr not allowed>"),
    ROW("cdatetime\ndatetime.fromisoformat\n.",
        "<class datetime.datetime.fromisoformat not allowed>"),
    ROW("\x8c\x0b"
        "builtins\0xx\x8c\x03set\x93.",
        "<class builtins?xx.set not allowed>"),
    ROW("\x8c\x08"
        "builtins\x8c\x06set\0xx\x93.",
        "<class builtins.set?xx not allowed>"),
    ROW("cbuiltins\x1b[2J\nset\n.", "<class builtins?[2J.set not allowed>"),
    ROW("K\x01K\x02\x93.", "<class name is not a text>"),
    ROW("cbuiltins\nset\n.", "<class as a value>"),
    ROW("]cbuiltins\nset\na.", "<class as a value>"),
    ROW("}cbuiltins\nset\nNs.", "<class as a value>"),
    ROW("(cbuiltins\nset\n\x91.", "<class as a value>"),
    ROW("cbuiltins\nset\n\x85\x85.", "<class as a value>"),
    ROW("cbuiltins\nset\ncbuiltins\nset\n\x85R.", "<class as an argument>"),
    ROW("cbuiltins\nset\n]R.", "<call without a tuple of arguments>"),
    ROW("N)R.", "<call not allowed>"),
    ROW("cbuiltins\nobject\n)R.", "<call not allowed>"),
    ROW("cbuiltins\nobject\n)\x81.", "<object not allowed>"),
    ROW("ccopyreg\n_reconstructor\n(" DECIMAL "cbuiltins\nobject\nNtR.",
        "<object not allowed>"),
    ROW("ccopyreg\n_reconstructor\n(" UUID UUID "NtR.", "<object not allowed>"),
    ROW("ccopyreg\n_reconstructor\n(" UUID "cbuiltins\nobject\ncbuiltins\nset\ntR.",
        "<object not allowed>"),
    ROW("ccopyreg\n_reconstructor\n)R.", "<object not allowed>"),
    ROW("R.", "<stack underflow>"),
    ROW("(R.", "<stack underflow>"),
    ROW("b.", "<stack underflow>"),
    ROW("}b.", "<stack underflow>"),
    ROW("cbuiltins\nset", "<unterminated text argument>"),
    /* the memo takes what was just pushed, once */
    ROW("]\x94\x94.", "<memoized twice or too late>"),
    ROW("]Na\x94.", "<memoized twice or too late>"),
    ROW("]\x94\x95\0\0\0\0\0\0\0\0\x94.", "<memoized twice or too late>"),
    ROW("\x8c\x02xy\x95\0\0\0\0\0\0\0\0\x94.", "'xy'"),
    ROW("]\x94"
        "0.",
        "<opcode 0x30 not allowed>"),
};

static void values_are_built_and_nothing_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct arena *arena = arena_new(0);
        struct buf shown = BUF_IN(arena);
        const char *error = NULL;
        const struct value *value =
            pickle_read(arena, rows[i].pickle, rows[i].length, &error);

        if (value)
            value_repr(value, &shown, 200);
        else
            buf_addf(&shown, "<%s>", error + strlen("DeserializationError: "));
        if (strcmp(buf_text(&shown), rows[i].shown) != 0)
            fail_msg("row %zu: %s, not %s", i, buf_text(&shown), rows[i].shown);
        arena_free(arena);
    }
}

/* Calls are paid for: one long argument, worked on again and again. */
static void refuses_shared_work(void **state)
{
    static const char *const units[] = {
        "h%ch%cR",     /* the very tuple of arguments */
        "h%ch%c\x85R", /* a new one around the same text */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        struct arena *arena = arena_new(0);
        struct buf data = BUF_IN(arena);
        const char *error = NULL;

        buf_adds(&data, "\x80\x04](cdecimal\nDecimal\n\x94X");
        buf_add(&data, "\xa0\x0f\0\0", 4); /* 4,000 digits */
        for (int digit = 0; digit < 4000; digit++)
            buf_addc(&data, '1');
        buf_adds(&data, "\x94\x85\x94");
        for (int call = 0; call < 1000; call++)
            buf_addf(&data, units[i], 0, i == 0 ? 2 : 1);
        buf_adds(&data, "e.");
        assert_null(pickle_read(arena, data.data, data.length, &error));
        assert_string_equal(error, "DeserializationError: no decimal");
        assert_true(arena_used(arena) < 200000);
        arena_free(arena);
    }
}

/* The same value as JSON, where JSON has no such kind. */
static const struct {
    const char *pickle;
    size_t length;
    const char *shown;
} json_rows[] = {
    ROW(DATETIME "C\x0a\x07\xe8\x02\x1d\x17\x3b\x3a\x01\xe2\x40" ZONE DELTA
                 "K\0MXMK\0\x87R\x85R\x86R.",
        "\"2024-02-29T23:59:58.123456+05:30\""),
    ROW("cdatetime\ndate\nC\x04\x07\xe8\x02\x1d\x85R.", "\"2024-02-29\""),
    ROW("cdatetime\ntime\nC\x06\x01\x02\x03\0\0\x04\x85R.", "\"01:02:03.000004\""),
    ROW(DELTA "J\xff\xff\xff\xffK\x05K\x07\x87R.", "-86394.999993"),
    ROW(DELTA "J\xff\xff\xff\xffJ\x7f\x51\x01\0J\x20\xa1\x07\0\x87R.", "-0.5"),
    ROW(DELTA "J\xff\xff\xff\xffK\0K\0\x87R.", "-86400"),
    ROW(DELTA "K\x01K\0J\x20\xa1\x07\0\x87R.", "86400.5"),
    ROW(ZONE DELTA "K\0MXMK\0\x87R\x85R.", "19800"),
    ROW(DECIMAL TEXT("1.50") "\x85R.", "\"1.50\""),
    ROW(UUID ")\x81}\x8c\x03intK\x05sb.", "\"00000000-0000-0000-0000-000000000005\""),
    ROW("cbuiltins\ncomplex\nG?\xf0\0\0\0\0\0\0G@\0\0\0\0\0\0\0\x86R.", "[1.0,2.0]"),
    ROW("C\x02\0\xff.", "\"AP8=\""),
    ROW("}(K\x01NNK\x02\x88K\x03G?\xf8\0\0\0\0\0\0K\x04K\x07\x85K\x05u.",
        "{\"1\":null,\"null\":2,\"true\":3,\"1.5\":4,\"(7,)\":5}"),
};

static void typed_values_have_a_json_form(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(json_rows) / sizeof(json_rows[0]); i++) {
        struct arena *arena = arena_new(0);
        struct buf shown = BUF_IN(arena);
        struct buf result = BUF_IN(arena);
        const char *error = NULL;
        const struct value *value =
            pickle_read(arena, json_rows[i].pickle, json_rows[i].length, &error);

        if (!value)
            fail_msg("row %zu: %s", i, error);
        value_to_json(value, &shown);
        assert_string_equal(buf_text(&shown), json_rows[i].shown);
        /* RQ's JSONSerializer has none, and neither has a result. */
        assert_false(value_is_json(value));
        value_write(value, PAYLOAD_JSON, &result);
        assert_string_equal(buf_text(&result), "\"Unserializable return value\"");
        arena_free(arena);
    }
}

static void text_that_is_none_is_written_as_bytes(void **state)
{
    struct arena *arena = arena_new(0);
    struct buf pickle = BUF_IN(arena);
    const char *error = NULL;

    (void)state;
    pickle_write(value_text(arena, "a\xff", 2), &pickle);
    const struct value *value = pickle_read(arena, pickle.data, pickle.length, &error);
    assert_non_null(value);
    assert_int_equal(value->kind, VALUE_BYTES);
    assert_int_equal(value->bytes.length, 2);
    assert_false(value_is_json(value_text(arena, "a\xff", 2)));
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_built_and_nothing_else),
        cmocka_unit_test(refuses_shared_work),
        cmocka_unit_test(typed_values_have_a_json_form),
        cmocka_unit_test(text_that_is_none_is_written_as_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
