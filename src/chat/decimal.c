/* decimal.c - floating-point numbers as Python reads and prints them: the nearest double of a text,
 * and the shortest text that is nearest to a double. Both exact.
 *
 * A double is m * 2^e. As a decimal number it is m * 2^e or m * 5^-e * 10^e, a whole number and a
 * power of ten, computed here in words of nine digits. Reading and printing ask how such numbers
 * compare, and nothing else. The slow way is not taken by numbers of up to 15 digits. */

#define DECIMAL_WORD 1000000000u
#define DECIMAL_WORDS 96         /* 2^54 * 5^1076 has 768 digits */
#define DECIMAL_DIGITS_READ 800u /* of a text; what comes behind tells only that it is more */
#define DECIMAL_STEPS 500        /* of a rendering: what reading or printing one takes at most */
#define DECIMAL_TEXT 32          /* bytes that decimal_print writes at most */

/* digits[0..n-1] * 10^exponent, without zeros in front; n is 0 for zero. */
struct decimal {
    uint32_t n;
    int32_t exponent;
    char digits[9 * DECIMAL_WORDS];
};

#define DECIMAL_INFINITY UINT64_C(0x7ff0000000000000)

static void decimal_multiply(uint32_t *words, uint32_t *n, uint32_t factor)
{
    uint64_t carry = 0;
    for (uint32_t i = 0; i < *n; i++) {
        carry += (uint64_t)words[i] * factor;
        words[i] = (uint32_t)(carry % DECIMAL_WORD);
        carry /= DECIMAL_WORD;
    }
    if (carry > 0) {
        words[(*n)++] = (uint32_t)carry;
    }
}

/* m * 2^e */
static void decimal_expand(uint64_t m, int32_t e, struct decimal *out)
{
    uint32_t words[DECIMAL_WORDS];
    uint32_t n = 0;
    for (; m > 0; m /= DECIMAL_WORD) {
        words[n++] = (uint32_t)(m % DECIMAL_WORD);
    }
    for (int32_t left = e; left > 0; left -= 29) {
        decimal_multiply(words, &n, 1u << (left < 29 ? left : 29));
    }
    for (int32_t left = -e; left > 0; left -= 12) {
        uint32_t power = 1;
        for (int32_t i = 0; i < 12 && i < left; i++) {
            power *= 5;
        }
        decimal_multiply(words, &n, power);
    }
    out->exponent = e < 0 ? e : 0;
    out->n = 0;
    for (uint32_t i = n; i-- > 0;) {
        uint32_t scale = DECIMAL_WORD / 10;
        for (; scale > 0; scale /= 10) {
            char digit = (char)('0' + words[i] / scale % 10);
            if (out->n > 0 || digit != '0') {
                out->digits[out->n++] = digit;
            }
        }
    }
}

/* Below, at or above 0. */
static int decimal_order(const struct decimal *a, const struct decimal *b)
{
    int64_t top_a = (int64_t)a->n + a->exponent;
    int64_t top_b = (int64_t)b->n + b->exponent;
    if (a->n == 0 || b->n == 0) {
        return (a->n > 0) - (b->n > 0);
    }
    if (top_a != top_b) {
        return top_a > top_b ? 1 : -1;
    }
    for (uint32_t i = 0; i < a->n || i < b->n; i++) {
        char x = i < a->n ? a->digits[i] : '0';
        char y = i < b->n ? b->digits[i] : '0';
        if (x != y) {
            return x > y ? 1 : -1;
        }
    }
    return 0;
}

static void decimal_split(double d, uint64_t *m, int32_t *e)
{
    uint64_t bits = f64_to_bits(d) & INT64_MAX;
    int32_t exponent = (int32_t)(bits >> 52);
    *m = (bits & ((UINT64_C(1) << 52) - 1)) | (exponent > 0 ? UINT64_C(1) << 52 : 0);
    *e = (exponent > 0 ? exponent : 1) - 1075;
}

/* ---- Reading --------------------------------------------------------------------------------- */

/* The double of these bits, 0 or more, is near d: the nearest one, of two the even one. */
static uint64_t decimal_settle(const struct decimal *d, uint64_t bits)
{
    struct decimal border;
    uint64_t m;
    int32_t e;
    for (;;) {
        /* Half way to the next one, and from the one before, which is half as far below a power of
         * two: there its own way up decides. */
        decimal_split(bits_to_f64(bits), &m, &e);
        decimal_expand(2 * m + 1, e - 1, &border);
        int above = decimal_order(d, &border);
        if (bits < DECIMAL_INFINITY && (above > 0 || (above == 0 && bits % 2 == 1))) {
            bits++;
            continue;
        }
        if (bits == 0) {
            return bits;
        }
        decimal_split(bits_to_f64(bits - 1), &m, &e);
        decimal_expand(2 * m + 1, e - 1, &border);
        int below = decimal_order(d, &border);
        if (below < 0 || (below == 0 && bits % 2 == 1)) {
            bits--;
            continue;
        }
        return bits;
    }
}

/* Those that are exact. */
static const double decimal_powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                        1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                        1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* Near enough: some units in the last place. */
static double decimal_guess(const struct decimal *d)
{
    double x = 0;
    int64_t power = (int64_t)d->n + d->exponent;
    uint32_t n = d->n < 18 ? d->n : 18;
    uint64_t head = 0;
    if (power > 310) {
        return bits_to_f64(DECIMAL_INFINITY);
    }
    if (power < -330) {
        return 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        head = head * 10 + (uint64_t)(d->digits[i] - '0');
    }
    x = (double)head;
    for (power -= n; power > 0; power -= min_i64(power, 22)) {
        x *= decimal_powers[min_i64(power, 22)];
    }
    for (; power < 0; power += min_i64(-power, 22)) {
        x /= decimal_powers[min_i64(-power, 22)];
    }
    return x;
}

/* A number of the form 12.34e-5, with digits where JSON wants some. *steps: what it cost. */
static double decimal_parse(struct text t, uint64_t *steps)
{
    struct decimal d;
    int64_t exponent = 0;
    int64_t point = 0; /* digits behind it */
    int is_behind = 0;
    size_t at = t.n > 0 && (t.s[0] == '-' || t.s[0] == '+') ? 1 : 0;
    int is_negative = at == 1 && t.s[0] == '-';
    d.n = 0;
    for (; at < t.n && t.s[at] != 'e' && t.s[at] != 'E'; at++) {
        if (t.s[at] == '.') {
            is_behind = 1;
            continue;
        }
        if (d.n < DECIMAL_DIGITS_READ && (d.n > 0 || t.s[at] != '0')) {
            d.digits[d.n++] = t.s[at];
            point += is_behind;
        } else if (d.n > 0) {
            d.digits[d.n - 1] =
                t.s[at] != '0' && d.digits[d.n - 1] == '0' ? '1' : d.digits[d.n - 1];
            point -= !is_behind;
        } else {
            point += is_behind;
        }
    }
    if (at < t.n) {
        int is_down = at + 1 < t.n && t.s[at + 1] == '-';
        for (at += at + 1 < t.n && (is_down || t.s[at + 1] == '+') ? 2 : 1; at < t.n; at++) {
            exponent = exponent < 100000 ? exponent * 10 + (t.s[at] - '0') : exponent;
        }
        exponent = is_down ? -exponent : exponent;
    }
    exponent -= point;
    exponent = min_i64(max_i64(exponent, -200000), 200000);
    while (d.n > 0 && d.digits[d.n - 1] == '0') {
        d.n--;
        exponent++;
    }
    d.exponent = (int32_t)exponent;
    double x = decimal_guess(&d);
    *steps = 1;
    if (d.n <= 15 && exponent >= -22 && exponent <= 22) {
        uint64_t head = 0;
        for (uint32_t i = 0; i < d.n; i++) {
            head = head * 10 + (uint64_t)(d.digits[i] - '0');
        }
        x = exponent < 0 ? (double)head / decimal_powers[-exponent]
                         : (double)head * decimal_powers[exponent];
    } else if (d.n > 0) {
        *steps = DECIMAL_STEPS;
        x = bits_to_f64(decimal_settle(&d, f64_to_bits(x)));
    }
    return is_negative ? -x : x;
}

/* 0 to 35, letters from 10 on; 36 for what is none. */
static int decimal_digit(char c)
{
    int letter = (uint8_t)c | 32;
    return c >= '0' && c <= '9' ? c - '0' : letter >= 'a' && letter <= 'z' ? letter - 'a' + 10 : 36;
}

/* A text of digits as a whole number: 1, or 0 if it has anything else, or -1 beyond 64 bits. */
static int decimal_parse_whole(struct text t, int base, int64_t *out)
{
    int status = t.n > 0;
    *out = 0;
    for (size_t i = 0; i < t.n; i++) {
        int digit = decimal_digit(t.s[i]);
        if (digit >= base) {
            return 0;
        }
        if (*out > (INT64_MAX - digit) / base) {
            status = -1;
        }
        *out = status > 0 ? *out * base + digit : *out;
    }
    return status;
}

/* ---- Printing -------------------------------------------------------------------------------- */

/* The first p digits of d, one more in the last place if is_up, as a number of p digits. */
static void decimal_cut(const struct decimal *d, uint32_t p, int is_up, struct decimal *out)
{
    uint32_t n = p < d->n ? p : d->n;
    memcpy(out->digits, d->digits, n);
    out->n = n;
    out->exponent = d->exponent + (int32_t)(d->n - n);
    if (is_up) {
        uint32_t i = n;
        while (i > 0 && out->digits[i - 1] == '9') {
            out->digits[--i] = '0';
        }
        if (i > 0) {
            out->digits[i - 1]++;
        } else {
            out->digits[0] = '1';
            out->exponent++;
        }
    }
}

/* Digits that decide whether the first p of d are to be rounded up: half or more. */
static int decimal_is_half(const struct decimal *d, uint32_t p)
{
    return p < d->n && d->digits[p] >= '5';
}

/* The shortest decimal number that is nearer to this double than to any other. */
static void decimal_shortest(double x, struct decimal *out)
{
    struct decimal exact;
    struct decimal low;
    struct decimal high;
    uint64_t m;
    int32_t e;
    decimal_split(x, &m, &e);
    int is_power = m == UINT64_C(1) << 52 && e > -1074;
    decimal_expand(m, e, &exact);
    decimal_expand(4 * m - (is_power ? 1 : 2), e - 2, &low);
    decimal_expand(2 * m + 1, e - 1, &high);
    for (uint32_t p = 1; p <= 17; p++) {
        int first = decimal_is_half(&exact, p);
        for (int i = 0; i < 2; i++) {
            decimal_cut(&exact, p, i == 0 ? first : !first, out);
            int above = decimal_order(out, &low);
            int below = decimal_order(&high, out);
            if ((above > 0 || (above == 0 && m % 2 == 0)) &&
                (below > 0 || (below == 0 && m % 2 == 0))) {
                return;
            }
        }
    }
}

/* repr(x) of Python, at most DECIMAL_TEXT bytes. Returns their number. */
static uint32_t decimal_print(double x, char *text)
{
    struct decimal d;
    struct text_writer w = {text, DECIMAL_TEXT + 1, 0};
    if (f64_to_bits(x) >> 63 != 0 && !math_is_nan(x)) {
        writer_char(&w, '-');
    }
    if (!math_is_finite(x)) {
        writer_text(&w, math_is_nan(x) ? "nan" : "inf", 3);
        return (uint32_t)w.size;
    }
    if (!(x < 0 || x > 0)) {
        writer_text(&w, "0.0", 3);
        return (uint32_t)w.size;
    }
    decimal_shortest(x, &d);
    while (d.n > 1 && d.digits[d.n - 1] == '0') {
        d.n--;
        d.exponent++;
    }
    int32_t point = (int32_t)d.n + d.exponent; /* of 0.digits */
    if (point > -4 && point <= 16) {
        for (int32_t i = point < 1 ? point - 1 : 0; i < point || i < (int32_t)d.n || i < point + 1;
             i++) {
            if (i == point) {
                writer_char(&w, '.');
            }
            writer_char(&w, i >= 0 && i < (int32_t)d.n ? d.digits[i] : '0');
        }
        return (uint32_t)w.size;
    }
    writer_char(&w, d.digits[0]);
    if (d.n > 1) {
        writer_char(&w, '.');
        writer_text(&w, d.digits + 1, d.n - 1);
    }
    writer_char(&w, 'e');
    writer_char(&w, point > 0 ? '+' : '-');
    uint64_t power = (uint64_t)(point > 0 ? point - 1 : 1 - point);
    if (power < 10) {
        writer_char(&w, '0');
    }
    writer_u64(&w, power, 10);
    return (uint32_t)w.size;
}

/* x with so many digits behind the point, as printf's %.*f; halves go to the even digit. text has
 * room for DECIMAL_FIXED(digits) bytes. Returns their number. */
#define DECIMAL_FIXED(digits) ((size_t)(digits) + 320)

static size_t decimal_print_fixed(double x, uint32_t digits, char *text)
{
    struct decimal exact;
    struct decimal cut;
    struct text_writer w = {text, DECIMAL_FIXED(digits), 0};
    uint64_t m;
    int32_t e;
    decimal_split(x, &m, &e);
    decimal_expand(m, e, &exact);
    int64_t keep = (int64_t)exact.n + exact.exponent + digits; /* digits in front of the cut */
    cut.n = 0;
    cut.exponent = 0;
    if (exact.n > 0 && keep >= 0) {
        int is_half = keep < exact.n && exact.digits[keep] == '5';
        int is_up = keep < exact.n && exact.digits[keep] >= '5';
        for (int64_t i = keep + 1; i < exact.n; i++) {
            is_half = is_half && exact.digits[i] == '0';
        }
        is_up = is_half ? keep > 0 && (exact.digits[keep - 1] - '0') % 2 == 1 : is_up;
        if (keep > 0 || is_up) {
            decimal_cut(&exact, keep < 800 ? (uint32_t)keep : 800, is_up, &cut);
        }
        if (keep == 0 && is_up) {
            cut.n = 1;
            cut.exponent = -(int32_t)digits;
        }
    }
    if (f64_to_bits(x) >> 63 != 0) {
        writer_char(&w, '-');
    }
    int64_t point = (int64_t)cut.n + cut.exponent;
    for (int64_t i = point < 1 ? point - 1 : 0; i < point + (int64_t)digits; i++) {
        if (i == point) {
            writer_char(&w, '.');
        }
        writer_char(&w, i >= 0 && i < (int64_t)cut.n ? cut.digits[i] : '0');
    }
    return w.size;
}
