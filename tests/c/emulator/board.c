/* See board.h. Semihosting is answered by QEMU; SysTick is a part of every Cortex-M. */
#include "board.h"

extern uint32_t stack_bottom[];

static uint32_t semihosting(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void board_exit(int status)
{
    const uint32_t block[2] = {0x20026u, (uint32_t)status}; /* ADP_Stopped_ApplicationExit */
    for (;;) {
        (void)semihosting(0x20u, block);
    }
}

void board_print(const char *text)
{
    (void)semihosting(0x04u, text);
}

void board_report(const char *name, uint32_t value)
{
    char digits[12];
    char *next = digits + sizeof digits;
    *--next = '\0';
    *--next = '\n';
    do {
        *--next = (char)('0' + value % 10u);
        value /= 10u;
    } while (value != 0u);
    board_print(name);
    board_print("=");
    board_print(next);
}

uint32_t board_argument(void)
{
    static char line[64];
    const struct {
        char *text;
        uint32_t size;
    } block = {line, sizeof line};
    const char *next = line;
    uint32_t number = 0u;
    (void)semihosting(0x15u, &block);
    while (*next != '\0' && *next != ' ') {
        next++; /* the name of the program */
    }
    for (; *next != '\0'; next++) {
        number = (*next == ' ') ? 0u : number * 10u + (uint32_t)(*next - '0');
    }
    return number;
}

uint32_t board_ticks(void)
{
    static volatile uint32_t *const systick = (volatile uint32_t *)0xE000E010u;
    uint32_t left = systick[2];
    uint32_t ran = (systick[0] & 1u) ? 0xFFFFFFu - left : 0u;
    systick[1] = 0xFFFFFFu;
    systick[2] = 0u; /* any write starts again from the top */
    systick[0] = 5u; /* on, by the processor's clock */
    return ran;
}

void board_paint_stack(void)
{
    uint32_t *word = stack_bottom;
    while (word < (uint32_t *)__builtin_frame_address(0) - 16) {
        *word++ = PAINT;
    }
}

uint32_t board_stack_used(void)
{
    const uint32_t *word = stack_bottom;
    while (*word == PAINT) {
        word++;
    }
    return (uint32_t)((const char *)__builtin_frame_address(0) - (const char *)word);
}

uint32_t board_crc(uint32_t crc, const void *bytes, uint32_t count)
{
    static const uint32_t table[16] = {
        0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u, 0x4DB26158u, 0x5005713Cu,
        0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu, 0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu};
    const uint8_t *next = (const uint8_t *)bytes;
    crc = ~crc;
    while (count-- != 0u) {
        crc ^= *next++;
        crc = (crc >> 4) ^ table[crc & 15u];
        crc = (crc >> 4) ^ table[crc & 15u];
    }
    return ~crc;
}
