/* From reset to main on any Cortex-M: vectors, the floating-point unit, .data, .bss, a painted stack, main, the end. */
#include <stdint.h>

#include "board.h"

extern uint32_t data_load[], data_start[], data_end[], bss_start[], bss_end[], stack_bottom[], stack_top[];
int main(void);

static void reset(void)
{
    uint32_t *from = data_load;
    uint32_t *to;
#if defined(__ARM_FP)
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR: the coprocessors 10 and 11 are the unit */
    __asm__ volatile("dsb\n\tisb" ::: "memory");
#endif
    for (to = data_start; to < data_end; to++) {
        *to = *from++;
    }
    for (to = bss_start; to < bss_end; to++) {
        *to = 0u;
    }
    for (to = stack_bottom; to < (uint32_t *)__builtin_frame_address(0) - 16; to++) {
        *to = PAINT;
    }
    board_exit(main());
}

static void fault(void)
{
    board_exit(125);
}

/* No interrupt is ever enabled: only resets and faults are taken. */
__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    void (*handlers[15])(void);
} vectors = {stack_top, {reset, fault, fault, fault, fault, fault}};
