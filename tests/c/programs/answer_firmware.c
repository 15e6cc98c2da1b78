/* On a microcontroller: the checksum of what each network of networks.h answers to its rows in rows.h, and whether its
   self-test holds. */
#include "board.h"
#include "networks.h"
#include "rows.h"

#define NETWORK(name, NAME)                                            \
    static void answer_##name(void)                                    \
    {                                                                  \
        static float y[NAME##_N_OUT];                                  \
        name##_mismatch first;                                         \
        uint32_t crc = 0u, row;                                        \
        for (row = 0u; row < name##_count; row++) {                \
            name##_run(name##_rows[row], y);                           \
            crc = board_crc(crc, y, sizeof y);                         \
        }                                                              \
        board_report(#name, crc);                                      \
        if (name##_selftest(&first) != 0) {                            \
            board_print(#name " fails its self-test");                 \
            board_exit(1);                                             \
        }                                                              \
    }
NETWORKS
#undef NETWORK

int main(void)
{
#define NETWORK(name, NAME) answer_##name();
    NETWORKS
#undef NETWORK
    return 0;
}
