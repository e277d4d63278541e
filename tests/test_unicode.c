/* test_unicode.c - UTF-8, and what is known of code points. */
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
    } want[] = {{UNICODE_UPPER, 1862},
                {UNICODE_LOWER, 2233},
                {UNICODE_UNCASED, 132631},
                {UNICODE_ACCENT, 1985},
                {UNICODE_NUMBER, 1831},
                {UNICODE_PUNCT, 842},
                {UNICODE_SYMBOL, 7775},
                {UNICODE_WHITE, 25},
                {UNICODE_MARK & ~UNICODE_ACCENT, 465},
                /* 59 of 65 control characters, 170 format characters, 2,048 surrogates, private
                 * use */
                {UNICODE_CONTROL, 59 + 170 + 2048 + 137468}};
    (void)state;
    for (uint32_t point = 0; point < 0x80; point++) {
        assert_int_equal(unicode_class_ascii((uint8_t)point), unicode_class(point));
    }
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
                {0x301, UNICODE_ACCENT},
                {0x903, UNICODE_MARK & ~UNICODE_ACCENT},
                {0x2163, UNICODE_NUMBER},
                {0x4e00, UNICODE_UNCASED},
                {0x31ef, UNICODE_SYMBOL},
                {0x2ffc, UNICODE_SYMBOL},
                {0x1f600, UNICODE_SYMBOL},
                {0x1d400, UNICODE_UPPER},
                {0x20000, UNICODE_UNCASED},
                {0x2ebf0, UNICODE_UNCASED},
                {0x2ee5d, UNICODE_UNCASED},
                {0xe0100, UNICODE_ACCENT},
                {UNICODE_BAD, UNICODE_SYMBOL},
                {0, UNICODE_CONTROL},
                {0x7f, UNICODE_CONTROL},
                {0x200d, UNICODE_CONTROL},
                {0x378, 0},
                {0xd800, UNICODE_CONTROL},
                {0xe000, UNICODE_CONTROL},
                {0x2ee5e, 0},
                {0x1fffe, 0},
                {0x10ffff, 0}};
    (void)state;
    for (int32_t i = 0; i < SLM_COUNT(want); i++) {
        assert_int_equal(unicode_class(want[i].point), want[i].type);
    }
}

static void letters_have_a_lower_case(void **state)
{
    static const uint32_t want[][2] = {
        {'A', 'a'},         {'Z', 'z'},       {'z', 'z'},       {'[', '['},
        {0xc4, 0xe4},       {0xd7, 0xd7},     {0xe4, 0xe4},     {0x100, 0x101},
        {0x101, 0x101},     {0x130, 'i'},     {0x178, 0xff},    {0x1c4, 0x1c6},
        {0x1c5, 0x1c6},     {0x1c6, 0x1c6},   {0x395, 0x3b5},   {0x410, 0x430},
        {0x10a0, 0x2d00},   {0x13a0, 0xab70}, {0x1e9e, 0xdf},   {0x2126, 0x3c9},
        {0x212a, 'k'},      {0x2160, 0x2170}, {0xff21, 0xff41}, {0x10400, 0x10428},
        {0x1e921, 0x1e943}, {0x4e00, 0x4e00}, {0, 0},           {0x10ffff, 0x10ffff}};
    uint32_t n = 0;
    (void)state;
    for (int32_t i = 0; i < SLM_COUNT(want); i++) {
        assert_int_equal(unicode_lower(want[i][0]), want[i][1]);
    }
    for (uint32_t point = 0; point < 0x110000; point++) {
        uint32_t lower = unicode_lower(point);
        n += lower != point;
        assert_int_equal(unicode_lower(lower), lower);
    }
    assert_int_equal(n, 1433);
}

static void characters_have_their_parts(void **state)
{
    static const uint32_t want[][5] = {{'a', 1, 'a'},
                                       {0xc4, 2, 'A', 0x308},
                                       {0x1d5, 3, 'U', 0x308, 0x304},
                                       {0x1f82, 4, 0x3b1, 0x313, 0x300}, /* and 0x345 */
                                       {0x958, 2, 0x915, 0x93c},
                                       {0x9cb, 2, 0x9c7, 0x9be},
                                       {0xac00, 2, 0x1100, 0x1161},
                                       {0xd7a3, 3, 0x1112, 0x1175, 0x11c2},
                                       {0x212b, 2, 'A', 0x30a},
                                       {0xf900, 1, 0x8c48},
                                       {0x1d15e, 2, 0x1d157, 0x1d165},
                                       {0x2fa1d, 1, 0x2a600},
                                       {0x10ffff, 1, 0x10ffff}};
    uint32_t n = 0;
    uint32_t parts[UNICODE_PARTS_MAX];
    (void)state;
    for (int32_t i = 0; i < SLM_COUNT(want); i++) {
        assert_int_equal(unicode_decompose(want[i][0], parts), want[i][1]);
        for (uint32_t k = 0; k < want[i][1] && k < 3; k++) {
            assert_int_equal(parts[k], want[i][2 + k]);
        }
    }
    for (uint32_t point = 0; point < 0x110000; point++) {
        int count = unicode_decompose(point, parts);
        n += parts[0] != point;
        for (int k = 0; k < count; k++) {
            uint32_t again[UNICODE_PARTS_MAX];
            assert_int_equal(unicode_decompose(parts[k], again), 1);
            assert_int_equal(again[0], parts[k]);
        }
    }
    assert_int_equal(n, 2061 + 11172);
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

static void the_table_of_small_builds_has_the_same_codes(void **state)
{
    (void)state;
    for (uint32_t point = 0; point < UNICODE_TABLE_LIMIT; point++) {
        unsigned small = 1u << unicode_code_small(point) >> 1;
        if (small != unicode_class(point)) {
            fail_msg("U+%04X: class %x, in the small table %x", point, unicode_class(point), small);
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
        cmocka_unit_test(the_table_of_small_builds_has_the_same_codes),
        cmocka_unit_test(letters_have_a_lower_case),
        cmocka_unit_test(characters_have_their_parts),
        cmocka_unit_test(every_code_point_survives_encoding),
        cmocka_unit_test(wrong_bytes_fall_into_maximal_subparts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
