/* Both forms of an export's arithmetic over a range of cases; floats_form.h and integers_form.h hold its text. */
#include "requantize_cases.h"

#define FLOATS_FLOAT_UNIT 1
#define INTEGERS_FLOAT_UNIT 0
#include "floats_form.h"
#include "integers_form.h"

int32_t steps_by_floats(int32_t sum, float multiplier, int32_t low, int32_t high);
int32_t steps_by_integers(int32_t sum, float multiplier, int32_t low, int32_t high);
void answers(uint32_t first, uint32_t count, uint8_t *floats, uint8_t *integers);

int32_t steps_by_floats(int32_t sum, float multiplier, int32_t low, int32_t high)
{
    return floats_steps(sum, multiplier, low, high);
}

int32_t steps_by_integers(int32_t sum, float multiplier, int32_t low, int32_t high)
{
    return integers_steps(sum, multiplier, low, high);
}

/* The answers to cases first to first + count - 1, count bytes each. */
void answers(uint32_t first, uint32_t count, uint8_t *floats, uint8_t *integers)
{
    uint32_t i;
    for (i = 0u; i < count; i++) {
        requantize_case c = case_of(first + i);
        int32_t zero_point = 255 - c.high;
        floats[i] = (uint8_t)(floats_steps(c.accumulator, c.multiplier, c.low, c.high) + zero_point);
        integers[i] = (uint8_t)(integers_steps(c.accumulator, c.multiplier, c.low, c.high) + zero_point);
    }
}
