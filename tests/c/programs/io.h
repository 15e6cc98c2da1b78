/* All that programs of tests need of a system: bytes in, bytes out, and an end. */
#ifndef IO_H
#define IO_H

#include <stddef.h>

void take(void *bytes, size_t size);
void give(const void *bytes, size_t size);
void fail(const char *what);

#endif
