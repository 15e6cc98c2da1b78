#include "io.h"

#include <stdio.h>
#include <stdlib.h>

void fail(const char *what)
{
    fputs(what, stderr);
    exit(1);
}

void take(void *bytes, size_t size)
{
    if (fread(bytes, 1u, size, stdin) != size) {
        fail("stdin ends early");
    }
}

void give(const void *bytes, size_t size)
{
    if (fwrite(bytes, 1u, size, stdout) != size) {
        fail("stdout is closed");
    }
}
