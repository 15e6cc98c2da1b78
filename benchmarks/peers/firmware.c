/* What a peer answers to the rows of rows.h, value by value as bits, and what its first run takes; see peer.h. */
#include "board.h"
#include "peer.h"
#include "rows.h" /* static const peer_in rows[ROWS][N_IN] */

static peer_out y[N_OUT];

int main(void)
{
    uint32_t nothing, ticks, row, k;
    (void)board_ticks();
    nothing = board_ticks();
    PEER_RUN(rows[0], y);
    (void)board_ticks();
    PEER_RUN(rows[0], y);
    ticks = board_ticks();
    board_paint_stack();
    PEER_RUN(rows[0], y);
    board_report("stack", board_stack_used());
    board_report("ticks", ticks - nothing);
    for (row = 0u; row < ROWS; row++) {
        PEER_RUN(rows[row], y);
        for (k = 0u; k < N_OUT; k++) {
            uint32_t bits = 0u;
            __builtin_memcpy(&bits, &y[k], sizeof y[k]);
            board_report("y", bits);
        }
    }
    return 0;
}
