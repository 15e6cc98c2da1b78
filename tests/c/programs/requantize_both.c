/* Both forms over a range of cases. FLOATS and INTEGERS are files that hold the text of an export each. */
#include "requantize_cases.h"

#define FLOATS_INTEGER_REQUANTIZE 0
#define INTEGERS_INTEGER_REQUANTIZE 1
#include "floats.h"
#include "integers.h"


/* The answer of every form to cases first to first + count - 1, count bytes each. */
void answers(uint32_t first, uint32_t count, uint8_t *floats, uint8_t *integers, uint8_t *leaky_floats,
             uint8_t *leaky_integers)
{
    uint32_t i;
    for (i = 0u; i < count; i++) {
        requantize_case c = case_of(first + i);
        int32_t zero_point = 255 - c.high;
        floats[i] = (uint8_t)(floats_requantize(c.accumulator, c.multiplier, c.low, c.high) + zero_point);
        integers[i] = (uint8_t)(integers_requantize(c.accumulator, c.multiplier, c.low, c.high) + zero_point);
        leaky_floats[i] =
            (uint8_t)(floats_requantize_leaky(c.accumulator, c.multiplier, c.slope, c.low, c.high) + zero_point);
        leaky_integers[i] =
            (uint8_t)(integers_requantize_leaky(c.accumulator, c.multiplier, c.slope, c.low, c.high) + zero_point);
    }
}

int32_t requantize_float(int32_t accumulator, float multiplier, int32_t low, int32_t high)
{
    return floats_requantize(accumulator, multiplier, low, high);
}

int32_t requantize_integer(int32_t accumulator, float multiplier, int32_t low, int32_t high)
{
    return integers_requantize(accumulator, multiplier, low, high);
}
