/* The cases of tests/c/requantizer.py, number by number the same: accumulators of every size, accumulators beside ties,
   exact ties of dyadic multipliers, and accumulators that float32 itself has to round. */
#include <stdint.h>

typedef struct {
    int32_t accumulator;
    float multiplier;
    int32_t low;
    int32_t high;
} requantize_case;

static uint32_t scrambled(uint32_t x)
{
    x = (x ^ (x >> 16)) * 0x7FEB352Du;
    x = (x ^ (x >> 15)) * 0x846CA68Bu;
    return x ^ (x >> 16);
}

static float float_of(uint32_t mantissa, uint32_t exponent)
{
    union {
        float value;
        uint32_t bits;
    } f;
    f.bits = (exponent << 23) | (mantissa & 0x7FFFFFu);
    return f.value;
}

static requantize_case case_of(uint32_t number)
{
    requantize_case found;
    uint32_t kind = number & 3u;
    uint32_t a = scrambled(number * 3u);
    uint32_t b = scrambled(number * 3u + 1u);
    uint32_t c = scrambled(number * 3u + 2u);
    uint32_t mantissa = (kind == 2u) ? (b & 0x400000u) : (b & 0x7FFFFFu);
    uint32_t shift = 23u + (b >> 23) % 22u; /* the multiplier is (2^23 + mantissa) / 2^shift: 2^-21 to 2 */
    uint32_t zero_point = c >> 24;
    uint32_t magnitude;
    if (kind == 0u) {
        magnitude = (a >> 1) >> (c & 31u);
    } else if (kind == 3u) {
        magnitude = (((a >> 1) & 0x7FFFFF00u) | 0x80u) >> (c & 7u);
        shift = 37u + (b >> 23) % 8u;
    } else {
        uint64_t half_steps = 2u * (a & 0x1FFu) + 1u;
        magnitude = (uint32_t)((half_steps << (shift - 1u)) / (0x800000u + mantissa)) + (a >> 9) % 3u;
        magnitude -= (magnitude > 0u) ? 1u : 0u;
    }
    found.accumulator = ((c >> 8) & 1u) != 0u ? -(int32_t)magnitude : (int32_t)magnitude;
    found.multiplier = float_of(mantissa, 150u - shift);
    found.low = ((c >> 12) & 1u) != 0u ? 0 : -(int32_t)zero_point;
    found.high = 255 - (int32_t)zero_point;
    return found;
}
