/* The checksum of the answers to as many cases as the host asks for; -DONE_FLOAT_UNIT= chooses what computes them. */
#include "board.h"
#include "requantize_cases.h"

#include "one_form.h"

int main(void)
{
    uint32_t count = board_argument();
    uint32_t crc = 0u;
    uint32_t i;
    for (i = 0u; i < count; i++) {
        requantize_case c = case_of(i);
        uint8_t answer = (uint8_t)(one_steps(c.accumulator, c.multiplier, c.low, c.high) + 255 - c.high);
        crc = board_crc(crc, &answer, 1u);
    }
    board_report("crc", crc);
    return 0;
}
