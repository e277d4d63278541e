/* binary64.c - doubles of files and of the public structs without arithmetic on doubles: their bits,
 * from and to what the library computes in. Exact, or rounded to the nearest and to even. */

/* (-1)^negative * magnitude as the bits of a double. */
static uint64_t f64_bits_of(uint64_t magnitude, int negative)
{
    uint64_t sign = negative ? UINT64_C(1) << 63 : 0;
    uint64_t exponent = 1023 + 63;
    if (magnitude == 0) {
        return sign;
    }
    while (magnitude >> 63 == 0) {
        magnitude <<= 1;
        exponent--;
    }
    /* The 11 bits that go decide; a carry out of the fraction is right in the exponent. */
    uint64_t half = UINT64_C(1) << 10;
    uint64_t rest = magnitude & (2 * half - 1);
    uint64_t fraction = magnitude >> 11 & (UINT64_C(0xfffffffffffff));
    uint64_t up = rest > half || (rest == half && (fraction & 1) != 0);
    return sign | ((exponent << 52 | fraction) + up);
}

static uint64_t f64_bits_of_u64(uint64_t value)
{
    return f64_bits_of(value, 0);
}

static uint64_t f64_bits_of_i64(int64_t value)
{
    return value < 0 ? f64_bits_of(0 - (uint64_t)value, 1) : f64_bits_of((uint64_t)value, 0);
}

static uint64_t f64_bits_of_f32(float value)
{
    uint32_t bits = f32_to_bits(value);
    uint64_t sign = (uint64_t)(bits >> 31) << 63;
    uint64_t exponent = bits >> 23 & 0xff;
    uint64_t fraction = (uint64_t)(bits & 0x7fffff) << 29;
    if (exponent == 0xff) {
        return sign | UINT64_C(0x7ff) << 52 | fraction;
    }
    if (exponent == 0 && fraction == 0) {
        return sign;
    }
    if (exponent == 0) { /* fraction * 2^-149 */
        return f64_bits_of(bits & 0x7fffff, (int)(bits >> 31)) - (UINT64_C(149) << 52);
    }
    return sign | (exponent + 1023 - 127) << 52 | fraction;
}

#if defined(SLM_NO_DOUBLE)

/* Too large is infinity, too small is 0. */
static wide_float wide_of_f64_bits(uint64_t bits)
{
    uint32_t sign = (uint32_t)(bits >> 63) << 31;
    int32_t exponent = (int32_t)(bits >> 52 & 0x7ff) - 1023 + 127;
    uint64_t fraction = bits & UINT64_C(0xfffffffffffff);
    if (exponent == 0x7ff - 1023 + 127) {
        return bits_to_f32(sign | 0x7f800000u | (fraction != 0 ? 0x400000u : 0));
    }
    uint32_t shift = 29;
    if (exponent <= 0) { /* below the normal numbers of float */
        fraction |= UINT64_C(1) << 52;
        shift += (uint32_t)(1 - exponent);
        exponent = 0;
        if (shift > 54) {
            return bits_to_f32(sign);
        }
    }
    uint64_t half = UINT64_C(1) << (shift - 1);
    uint64_t rest = fraction & (2 * half - 1);
    uint32_t value = (uint32_t)exponent << 23 | (uint32_t)(fraction >> shift);
    value += rest > half || (rest == half && (value & 1) != 0);
    return bits_to_f32(sign | (exponent > 254 || value > 0x7f800000u ? 0x7f800000u : value));
}

#else

static wide_float wide_of_f64_bits(uint64_t bits)
{
    return bits_to_f64(bits);
}

#endif
