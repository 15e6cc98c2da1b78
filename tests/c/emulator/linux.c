/* io.h and a start for Linux on arm64 and riscv64 without a library, which no compiler for other machines brings. */
#include <stdint.h>

#include "io.h"

#if defined(__aarch64__)
#define SYSTEM "svc 0"
#define NUMBER "x8"
#define FIRST "x0"
#define SECOND "x1"
#define THIRD "x2"
#elif defined(__riscv)
#define SYSTEM "ecall"
#define NUMBER "a7"
#define FIRST "a0"
#define SECOND "a1"
#define THIRD "a2"
#else
#error "a start for arm64 and riscv64"
#endif
enum { READ = 63, WRITE = 64, EXIT = 93 };

int main(void);

static long system_call(long number, long first, const void *second, size_t third)
{
    register long n __asm__(NUMBER) = number;
    register long a __asm__(FIRST) = first;
    register const void *b __asm__(SECOND) = second;
    register size_t c __asm__(THIRD) = third;
    __asm__ volatile(SYSTEM : "+r"(a) : "r"(n), "r"(b), "r"(c) : "memory");
    return a;
}

static void move(long number, long file, const char *bytes, size_t size)
{
    while (size > 0u) {
        long moved = system_call(number, file, bytes, size);
        if (moved <= 0) {
            fail("stdin or stdout ends early");
        }
        bytes += moved;
        size -= (size_t)moved;
    }
}

void take(void *bytes, size_t size)
{
    move(READ, 0, bytes, size);
}

void give(const void *bytes, size_t size)
{
    move(WRITE, 1, bytes, size);
}

void fail(const char *what)
{
    size_t size = 0u;
    while (what[size] != '\0') {
        size++;
    }
    (void)system_call(WRITE, 2, what, size);
    (void)system_call(EXIT, 1, 0, 0u);
    __builtin_unreachable();
}

void _start(void)
{
    (void)system_call(EXIT, main(), 0, 0u);
    __builtin_unreachable();
}

/* Compilers call these two of themselves. */
void *memcpy(void *to, const void *from, size_t size)
{
    volatile uint8_t *t = to;
    const uint8_t *f = from;
    while (size-- > 0u) {
        *t++ = *f++;
    }
    return to;
}

void *memset(void *to, int value, size_t size)
{
    volatile uint8_t *t = to;
    while (size-- > 0u) {
        *t++ = (uint8_t)value;
    }
    return to;
}
