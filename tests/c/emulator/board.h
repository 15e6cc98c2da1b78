/* What firmware under test has of its board: a word to the host, the host's words, a counter, its stack. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

#define PAINT 0xDEADBEEFu

void board_exit(int status) __attribute__((noreturn));
void board_print(const char *text);
/* "name=value" on a line of its own. */
void board_report(const char *name, uint32_t value);
/* The number that was handed to the firmware on QEMU's command line. */
uint32_t board_argument(void);
/* Ticks since the last call, up to 2^24: under `-icount` each stands for a fixed number of instructions. */
uint32_t board_ticks(void);
/* Bytes of stack below the caller's frame: paint them, and see how many were written since. */
void board_paint_stack(void);
uint32_t board_stack_used(void);
/* CRC-32 (zlib's) of more bytes. Begin with 0. */
uint32_t board_crc(uint32_t crc, const void *bytes, uint32_t count);

#endif
