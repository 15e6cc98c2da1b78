/* The checksum of as many cases as the host asks for; -DFORM= chooses what computes them. */
#include "board.h"
#include "requantize_cases.h"

#include "form.h"

int main(void)
{
    uint32_t count = board_argument();
    uint32_t crc = 0u;
    uint32_t leaky_crc = 0u;
    uint32_t i;
    for (i = 0u; i < count; i++) {
        requantize_case c = case_of(i);
        int32_t zero_point = 255 - c.high;
        uint8_t answer = (uint8_t)(form_requantize(c.accumulator, c.multiplier, c.low, c.high) + zero_point);
        crc = board_crc(crc, &answer, 1u);
        answer = (uint8_t)(form_requantize_leaky(c.accumulator, c.multiplier, c.slope, c.low, c.high) + zero_point);
        leaky_crc = board_crc(leaky_crc, &answer, 1u);
    }
    board_report("crc", crc);
    board_report("leaky_crc", leaky_crc);
    return 0;
}
