/* Answers rows from stdin by the networks of networks.h: for each a uint32 count, then so many rows of float32 in, and
   out the answers. Every way into a network must give the same, and its self-test must hold; otherwise status 1. */
#include "io.h"
#include "networks.h"

static int are_equal(const float *a, const float *b, uint32_t count)
{
    const uint8_t *x = (const uint8_t *)a;
    const uint8_t *y = (const uint8_t *)b;
    uint32_t k;
    for (k = 0u; k < 4u * count; k++) {
        if (x[k] != y[k]) {
            return 0;
        }
    }
    return 1;
}

static int32_t largest_of(const float *y, int32_t count)
{
    int32_t largest = 0;
    int32_t k;
    for (k = 1; k < count; k++) {
        largest = (y[k] > y[largest]) ? k : largest;
    }
    return (count == 1) ? (y[0] > 0.0f) : largest;
}

#define NETWORK(name, NAME)                                                                     \
    static void answer_##name(void)                                                             \
    {                                                                                           \
        static float x[NAME##_N_IN], y[NAME##_N_OUT], again[NAME##_N_OUT];                      \
        static uint8_t codes[NAME##_N_IN];                                                      \
        uint32_t rows;                                                                          \
        name##_mismatch first;                                                                  \
        take(&rows, sizeof rows);                                                               \
        for (; rows > 0u; rows--) {                                                             \
            int32_t largest;                                                                    \
            take(x, sizeof x);                                                                  \
            name##_run(x, y);                                                                   \
            largest = largest_of(y, NAME##_N_OUT);                                              \
            name##_quantize(x, codes);                                                          \
            name##_run_u8(codes, again);                                                        \
            if (!are_equal(y, again, NAME##_N_OUT) || name##_predict(x) != largest ||           \
                name##_predict_u8(codes) != largest) {                                          \
                fail(#name " answers differently by another of its functions");                 \
            }                                                                                   \
            give(y, sizeof y);                                                                  \
        }                                                                                       \
        if (name##_selftest(&first) != 0) {                                                     \
            fail(#name " fails its self-test");                                                 \
        }                                                                                       \
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
