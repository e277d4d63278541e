#!/usr/bin/env python3
"""Writes src/unicode.inc: the class of every code point, what letters are in lower case, and what
characters are made of, Unicode 15.1; or src/chat/case.inc: upper case, title case and digits.

    python3 tests/unicode_gen.py /usr/share/unicode > src/unicode.inc
    python3 tests/unicode_gen.py /usr/share/unicode case > src/chat/case.inc

The folder needs UnicodeData.txt and PropList.txt of Unicode 15.0 or 15.1 (Debian: unicode-data).
15.1 added to 15.0 only what ADDED lists, so that either gives the same bytes.
"""

import sys

LIMIT = 0x20000  # code points below it stand in the two-stage table, those above in ranges
BLOCK = 128
RUN_BLOCK = 512  # of the small table, which has runs
CASED = 11  # code of a run that alternates between capitals and small letters; 12: the other way round
ADDED = [(0x2EBF0, 0x2EE5D, "Lo"), (0x2FFC, 0x2FFF, "So"), (0x31EF, 0x31EF, "So")]

# The codes of unicode.c: class bit 1 << (code - 1), 0 for what is in no class.
CODE = {"Lu": 1, "Lt": 1, "Ll": 2, "Lm": 3, "Lo": 3, "Mn": 4, "N": 5, "P": 6, "S": 7}
CODE.update({"M": 9, "Cc": 10, "Cf": 10, "Co": 10, "Cs": 10})
WHITE = 8


def read_classes(folder):
    """The codes; the points whose simple lower case is another one; [point, first, second] of each
    canonical decomposition, second 0 where there is one character only."""
    category = ["Cn"] * 0x110000
    first = None
    lower, parts = {}, []
    for line in open(folder + "/UnicodeData.txt", encoding="utf-8"):
        field = line.split(";")
        point = int(field[0], 16)
        if field[1].endswith("First>"):
            first = point
            continue
        low = first if field[1].endswith("Last>") else point
        category[low : point + 1] = [field[2]] * (point + 1 - low)
        if field[13]:
            lower[point] = int(field[13], 16)
        if field[5] and not field[5].startswith("<"):
            of = [int(x, 16) for x in field[5].split()]
            parts.append([point] + of + [0] * (2 - len(of)))
    for low, high, name in ADDED:
        category[low : high + 1] = [name] * (high + 1 - low)
    codes = [CODE.get(c, CODE.get(c[0], 0)) for c in category]
    for line in open(folder + "/PropList.txt", encoding="utf-8"):
        field = line.split("#")[0].split(";")
        if len(field) == 2 and field[1].strip() == "White_Space":
            low, _, high = field[0].strip().partition("..")
            for point in range(int(low, 16), int(high or low, 16) + 1):
                codes[point] = WHITE
    assert not {p[2] for p in parts} & {p[0] for p in parts}  # only first characters have parts
    return codes, lower, parts


def read_case(folder):
    """The points whose simple upper case is another one; those whose title case is not that, as
    what is added to it; and of each digit 1 for a decimal one, 2 for others such as superscripts."""
    upper, title, digits = {}, {}, {}
    for line in open(folder + "/UnicodeData.txt", encoding="utf-8"):
        field = line.strip().split(";")
        point = int(field[0], 16)
        up = int(field[12] or field[0], 16)
        if up != point:
            upper[point] = up
        if field[14] and int(field[14], 16) != up:
            title[point] = point + int(field[14], 16) - up
        if field[7]:
            digits[point] = 1 if field[6] else 2
    return upper, title, digits


def case_ranges(case):
    """[first, last, step, other case - point]: every letter, or every second one."""
    ranges = []
    for point in sorted(case):
        delta = case[point] - point
        r = ranges[-1] if ranges else None
        if r and r[3] == delta and point - r[1] in (1, 2) and r[2] in (0, point - r[1]):
            r[1], r[2] = point, point - r[1]
        else:
            ranges.append([point, point, 0, delta])
    return [[first, last, step or 1, delta] for first, last, step, delta in ranges]


def runs_of(codes):
    """A byte a run: its code, and its length less 1; 15: what another byte says is added."""
    runs = []
    for i, code in enumerate(codes):
        if runs and runs[-1][0] == code:
            runs[-1][1] += 1
        else:
            runs.append([code, 1])
    out = bytearray()
    i = 0
    while i < len(runs):
        n = 0
        while i + n < len(runs) and runs[i + n][0] in (1, 2) and runs[i + n][1] == 1:
            n += 1
        code, left = runs[i]
        if n > 2:
            code, left = CASED + code - 1, n
        i += n if n > 2 else 1
        while left > 0:
            n = min(left, 16 + 255)
            out += bytes([code << 4 | n - 1] if n < 16 else [code << 4 | 15, n - 16])
            left -= n
    return bytes(out)


def write_runs(codes):
    data = bytearray()
    starts = []
    for start in range(0, LIMIT, RUN_BLOCK):
        runs = runs_of(codes[start : start + RUN_BLOCK])
        at = data.find(runs)
        starts.append(at if at >= 0 else len(data))
        data += runs if at < 0 else b""
    print("/* The same as runs: the code in the high half, the length less 1 in the low, 15 with a byte to add. */")
    write_array("uint8_t unicode_runs[]", data)
    print()
    write_array("uint16_t unicode_run_at[UNICODE_TABLE_LIMIT / UNICODE_RUN_BLOCK]", starts)
    print()


def write_array(declaration, values):
    print("static const %s = {" % declaration)
    line = "   "
    for value in values:
        item = " %d," % value
        if len(line) + len(item) > 100:
            print(line)
            line = "   "
        line += item
    print(line)
    print("};")


def write_rows(declaration, rows, n_decimal):
    """Structs of numbers, the last n_decimal of which are decimal."""
    print("static const %s = {" % declaration)
    line = "   "
    for row in rows:
        n_hex = len(row) - n_decimal
        item = " {%s}," % ", ".join(["0x%x" % x for x in row[:n_hex]] + ["%d" % x for x in row[n_hex:]])
        if len(line) + len(item) > 100:
            print(line)
            line = "   "
        line += item
    print(line)
    print("};")


def digit_ranges(digits):
    """[first, last, code]"""
    ranges = []
    for point in sorted(digits):
        if ranges and ranges[-1][1] == point - 1 and ranges[-1][2] == digits[point]:
            ranges[-1][1] = point
        else:
            ranges.append([point, point, digits[point]])
    return ranges


def write_case(folder):
    upper, title, digits = read_case(folder)
    print("/* Written by tests/unicode_gen.py from the Unicode 15.1 data; do not edit.")
    print(" * text.c says what the codes mean. */")
    print()
    print("/* clang-format off */")
    write_rows("struct unicode_case_range text_upper_ranges[]", case_ranges(upper), 2)
    print()
    write_rows("struct unicode_case_range text_title_ranges[]", case_ranges(title), 2)
    print()
    write_rows("struct unicode_range text_digit_ranges[]", digit_ranges(digits), 1)
    print("/* clang-format on */")


def main():
    if sys.argv[2:] == ["case"]:
        write_case(sys.argv[1])
        return
    codes, lower, parts = read_classes(sys.argv[1])
    blocks = {}
    index = []
    for start in range(0, LIMIT, BLOCK):
        index.append(blocks.setdefault(tuple(codes[start : start + BLOCK]), len(blocks)))
    assert len(blocks) <= 256
    flat = [code for block in blocks for code in block]
    ranges = []
    for point in range(LIMIT, 0x110000):
        code = codes[point]
        if code == 0:
            continue
        if ranges and ranges[-1][1] == point - 1 and ranges[-1][2] == code:
            ranges[-1][1] = point
        else:
            ranges.append([point, point, code])
    print("/* Written by tests/unicode_gen.py from the Unicode 15.1 data; do not edit.")
    print(" * unicode.c says what the codes mean. */")
    print()
    print("/* clang-format off */")
    print("#define UNICODE_TABLE_LIMIT 0x%xu" % LIMIT)
    print("#define UNICODE_BLOCK %d" % BLOCK)
    print("#define UNICODE_RUN_BLOCK %d" % RUN_BLOCK)
    print("#define UNICODE_CASED %d" % CASED)
    print()
    write_array("uint8_t unicode_block[UNICODE_TABLE_LIMIT / UNICODE_BLOCK]", index)
    print()
    print("/* Two codes a byte, the even code point in the low half. */")
    packed = [flat[i] | flat[i + 1] << 4 for i in range(0, len(flat), 2)]
    write_array("uint8_t unicode_codes[%d * UNICODE_BLOCK / 2]" % len(blocks), packed)
    print()
    write_runs(codes)
    print("static const struct unicode_range unicode_ranges[] = {")
    for low, high, code in ranges:
        print("    {0x%x, 0x%x, %d}," % (low, high, code))
    print("};")
    print()
    write_rows("struct unicode_case_range unicode_lower_ranges[]", case_ranges(lower), 2)
    print()
    write_rows("struct unicode_parts unicode_decompositions[]", parts, 0)
    print("/* clang-format on */")


if __name__ == "__main__":
    main()
