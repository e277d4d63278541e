/* test_unicode.c - UTF-8 and the classes of code points. */
#include "../slm.c"

#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

/* The counts of Unicode 15.1: a table written from other data, or read wrongly, does not have
 * them. */
static void every_class_has_as_many_code_points_as_unicode_says(void **state)
{
    static const struct {
        unsigned type;
        uint32_t count;
    } want[] = {{UNICODE_UPPER, 1862},  {UNICODE_LOWER, 2233},  {UNICODE_UNCASED, 132631},
                {UNICODE_MARK, 2450},   {UNICODE_NUMBER, 1831}, {UNICODE_PUNCT, 842},
                {UNICODE_SYMBOL, 7775}, {UNICODE_WHITE, 25}};
    (void)state;
    for (int32_t i = 0; i < SLM_COUNT(want); i++) {
        uint32_t count = 0;
        for (uint32_t point = 0; point < 0x110000; point++) {
            count += unicode_class(point) == want[i].type;
        }
        assert_int_equal(count, want[i].count);
    }
}

static void code_points_have_their_class(void **state)
{
    static const struct {
        uint32_t point;
        unsigned type;
    } want[] = {{'A', UNICODE_UPPER},
                {'z', UNICODE_LOWER},
                {'0', UNICODE_NUMBER},
                {' ', UNICODE_WHITE},
                {'\n', UNICODE_WHITE},
                {0x85, UNICODE_WHITE},
                {0xa0, UNICODE_WHITE},
                {0x3000, UNICODE_WHITE},
                {'_', UNICODE_PUNCT},
                {'$', UNICODE_SYMBOL},
                {'`', UNICODE_SYMBOL},
                {0xbd, UNICODE_NUMBER},
                {0x1c5, UNICODE_UPPER},
                {0x2b0, UNICODE_UNCASED},
                {0x301, UNICODE_MARK},
                {0x903, UNICODE_MARK},
                {0x2163, UNICODE_NUMBER},
                {0x4e00, UNICODE_UNCASED},
                {0x31ef, UNICODE_SYMBOL},
                {0x2ffc, UNICODE_SYMBOL},
                {0x1f600, UNICODE_SYMBOL},
                {0x1d400, UNICODE_UPPER},
                {0x20000, UNICODE_UNCASED},
                {0x2ebf0, UNICODE_UNCASED},
                {0x2ee5d, UNICODE_UNCASED},
                {0xe0100, UNICODE_MARK},
                {UNICODE_BAD, UNICODE_SYMBOL},
                {0, 0},
                {0x7f, 0},
                {0x200d, 0},
                {0x378, 0},
                {0xd800, 0},
                {0xe000, 0},
                {0x2ee5e, 0},
                {0x1fffe, 0},
                {0x10ffff, 0}};
    (void)state;
    for (int32_t i = 0; i < SLM_COUNT(want); i++) {
        assert_int_equal(unicode_class(want[i].point), want[i].type);
    }
}

static void every_code_point_survives_encoding(void **state)
{
    (void)state;
    for (uint32_t point = 0; point < 0x110000; point++) {
        uint8_t bytes[4];
        uint32_t back = 0;
        int missing = 0;
        size_t n = unicode_encode(point, bytes);
        assert_int_equal(n, point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4);
        size_t length = 0;
        if (point >= 0xd800 && point < 0xe000) {
            assert_int_equal(unicode_decode(bytes, n, &length), UNICODE_BAD);
            assert_int_equal(length, 1);
            continue;
        }
        assert_int_equal(unicode_decode(bytes, n, &length), point);
        assert_int_equal(length, n);
        for (size_t cut = 1; cut < n; cut++) {
            assert_int_equal(unicode_scan(bytes, cut, &back, &missing), cut);
            assert_int_equal(missing, n - cut);
            assert_int_equal(unicode_decode(bytes, cut, &length), UNICODE_BAD);
            assert_int_equal(length, 1);
        }
    }
}

/* The example of Unicode chapter 3, table 3-8, and others of its kind: how many bytes each U+FFFD
 * stands for. */
static void wrong_bytes_fall_into_maximal_subparts(void **state)
{
    static const struct {
        const char *bytes;
        const char *sizes;
    } want[] = {{"\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64", "a321a1a11a"},
                {"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", "11111111a"},
                {"\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41", "11111111a"},
                {"\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42", "11111a11a"},
                {"\xF8\x88\x80\x80\x80", "11111"}};
    (void)state;
    for (int32_t i = 0; i < SLM_COUNT(want); i++) {
        const uint8_t *s = (const uint8_t *)want[i].bytes;
        size_t left = strlen(want[i].bytes);
        for (const char *w = want[i].sizes; *w != 0; w++) {
            uint32_t point = 0;
            int missing = 0;
            size_t n = unicode_scan(s, left, &point, &missing);
            assert_int_equal(n, *w == 'a' ? 1 : *w - '0');
            assert_int_equal(missing, *w == 'a' ? 0 : -1);
            s += n;
            left -= n;
        }
        assert_int_equal(left, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_class_has_as_many_code_points_as_unicode_says),
        cmocka_unit_test(code_points_have_their_class),
        cmocka_unit_test(every_code_point_survives_encoding),
        cmocka_unit_test(wrong_bytes_fall_into_maximal_subparts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
