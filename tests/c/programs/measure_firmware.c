/* What one run costs: instructions, by ticks, and bytes of stack. Compiled with -DWITHOUT it is the same
   without the network, for sizes to be subtracted. */
#include "board.h"
#include "net.h"
#include "codes.h" /* static const uint8_t codes[NET_N_IN] */

static float y[NET_N_OUT];

#ifdef WITHOUT
#define net_run_u8 net_run_nothing
static void net_run_nothing(const uint8_t *x, float *to)
{
    __asm__ volatile("" : : "r"(x), "r"(to) : "memory"); /* both are kept */
}
#endif

int main(void)
{
    uint32_t nothing, ticks;
    (void)board_ticks();
    nothing = board_ticks();
    net_run_u8(codes, y);
    (void)board_ticks();
    net_run_u8(codes, y);
    ticks = board_ticks();
    board_paint_stack();
    net_run_u8(codes, y);
    board_report("stack", board_stack_used());
    board_report("ticks", ticks - nothing);
    board_report("crc", board_crc(0u, y, sizeof y));
    return 0;
}
