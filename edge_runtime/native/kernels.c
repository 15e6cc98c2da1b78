/* The kernels of the native engine: one file for every model, compiled once for a kind of processor.

   Integers: exact sums of uint8 activations times int8 weights, then acc * m, clamp, round half to even, as
   edge_runtime/numerics/quantization.py defines it; the same bits under every compiler and on every processor.
   Zero points are folded into the biases when weights are packed (modulo 2^32, which unsigned sums are exact in).
   Floats: each output is one chain of multiply-adds in the order of the inputs, begun anew every CHUNK inputs, with
   fused multiply-adds where the processor has them: a row's bits hang neither on the rows beside it nor on the compiler.

   Weights are packed as panels of LANES outputs: [panel][step][lane][GROUP inputs]. A tile is `rows` x `panels`
   accumulators that stay in registers. Buffers and arrays of one value an output are padded to whole panels: what is
   computed there is multiplied by weights that are 0, or never copied out.
   Compiled with -ffp-contract=off: nothing is fused but what says so. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A tall tile loads each weight once: without this gcc loads it again for every row. */
#if defined(__x86_64__)
#include <immintrin.h>
#define IN_REGISTER(value) __asm__("" : "+v"(value))
#else
#define IN_REGISTER(value) (void)0
#if defined(__ARM_NEON)
#include <arm_neon.h>
#endif
#endif

enum { BLOCK = 32, TALL = 4, WIDE = 8, CHUNK = 128 }; /* rows of a pass; rows, panels of the largest tiles; see above */
enum { DENSE, INT8_DENSE, ELEMENTWISE, LAYER_NORM };
enum { LINEAR, RELU, LEAKY_RELU, SIGMOID, SOFTMAX };

/* What a processor multiplies and adds at once: LANES sums of GROUP products, and LANES floats. */

#if defined(__AVX512VNNI__) && defined(__AVX512BW__)
#define KIND "AVX-512 VNNI"
enum { LANES = 16, GROUP = 4, TALL_PANELS = 4, OFFSET = 0 };
typedef uint8_t act;
typedef int8_t weight;
typedef __m512i sums, some_weights;
static inline sums no_sums(void) { return _mm512_setzero_si512(); }
static inline sums spread(const act *x) { int32_t v; memcpy(&v, x, 4); return _mm512_set1_epi32(v); }
static inline sums load(const weight *w) { return _mm512_loadu_si512(w); }
static inline sums dot(sums a, sums x, sums w)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(a) : "v"(x), "v"(w)); /* of the intrinsic gcc 12 copies each sum twice a step */
    return a;
}
static inline void store(uint32_t *to, sums a) { _mm512_storeu_si512(to, a); }
#elif defined(__AVX512BW__)
#define KIND "AVX-512"
enum { LANES = 16, GROUP = 2, TALL_PANELS = 4, OFFSET = 0 };
typedef int16_t act;
typedef int16_t weight;
typedef __m512i sums, some_weights;
static inline sums no_sums(void) { return _mm512_setzero_si512(); }
static inline sums spread(const act *x) { int32_t v; memcpy(&v, x, 4); return _mm512_set1_epi32(v); }
static inline sums load(const weight *w) { return _mm512_loadu_si512(w); }
static inline sums dot(sums a, sums x, sums w) { return _mm512_add_epi32(a, _mm512_madd_epi16(x, w)); }
static inline void store(uint32_t *to, sums a) { _mm512_storeu_si512(to, a); }
#elif defined(__AVX2__)
#define KIND "AVX2"
enum { LANES = 8, GROUP = 2, TALL_PANELS = 2, OFFSET = 0 };
typedef int16_t act;
typedef int16_t weight;
typedef __m256i sums, some_weights;
static inline sums no_sums(void) { return _mm256_setzero_si256(); }
static inline sums spread(const act *x) { int32_t v; memcpy(&v, x, 4); return _mm256_set1_epi32(v); }
static inline sums load(const weight *w) { return _mm256_loadu_si256((const __m256i *)w); }
static inline sums dot(sums a, sums x, sums w) { return _mm256_add_epi32(a, _mm256_madd_epi16(x, w)); }
static inline void store(uint32_t *to, sums a) { _mm256_storeu_si256((__m256i *)to, a); }
#elif defined(__ARM_FEATURE_DOTPROD)
#define KIND "NEON with dot products"
enum { LANES = 4, GROUP = 4, TALL_PANELS = 4, OFFSET = 128 }; /* its bytes are signed: q - OFFSET is held */
typedef int8_t act;
typedef int8_t weight;
typedef int32x4_t sums, some_weights;
static inline sums no_sums(void) { return vdupq_n_s32(0); }
static inline sums spread(const act *x) { int32_t v; memcpy(&v, x, 4); return vdupq_n_s32(v); }
static inline sums load(const weight *w) { return vreinterpretq_s32_s8(vld1q_s8(w)); }
static inline sums dot(sums a, sums x, sums w) { return vdotq_s32(a, vreinterpretq_s8_s32(x), vreinterpretq_s8_s32(w)); }
static inline void store(uint32_t *to, sums a) { vst1q_u32(to, vreinterpretq_u32_s32(a)); }
#elif defined(__x86_64__)
#define KIND "SSE2"
enum { LANES = 4, GROUP = 2, TALL_PANELS = 2, OFFSET = 0 };
typedef int16_t act;
typedef int16_t weight;
typedef __m128i sums, some_weights;
static inline sums no_sums(void) { return _mm_setzero_si128(); }
static inline sums spread(const act *x) { int32_t v; memcpy(&v, x, 4); return _mm_set1_epi32(v); }
static inline sums load(const weight *w) { return _mm_loadu_si128((const __m128i *)w); }
static inline sums dot(sums a, sums x, sums w) { return _mm_add_epi32(a, _mm_madd_epi16(x, w)); }
static inline void store(uint32_t *to, sums a) { _mm_storeu_si128((__m128i *)to, a); }
#else
#define KIND "plain C"
enum { LANES = 4, GROUP = 2, TALL_PANELS = 2, OFFSET = 0 };
typedef int16_t act;
typedef int16_t weight;
typedef struct { uint32_t v[LANES]; } sums;
typedef struct { int16_t v[GROUP]; } pair;
typedef struct { int16_t v[GROUP * LANES]; } some_weights;
static inline sums no_sums(void) { sums a; memset(&a, 0, sizeof a); return a; }
static inline pair spread(const act *x) { pair v; memcpy(&v, x, sizeof v); return v; }
static inline some_weights load(const weight *w) { some_weights v; memcpy(&v, w, sizeof v); return v; }
static inline sums dot(sums a, pair x, some_weights w)
{
    for (int i = 0; i < LANES; i++)
        a.v[i] += (uint32_t)(x.v[0] * w.v[2 * i] + x.v[1] * w.v[2 * i + 1]);
    return a;
}
static inline void store(uint32_t *to, sums a) { memcpy(to, &a, sizeof a); }
#endif

#if defined(__AVX512F__)
typedef __m512 floats;
static inline floats no_floats(void) { return _mm512_setzero_ps(); }
static inline floats load_floats(const float *w) { return _mm512_loadu_ps(w); }
static inline void store_floats(float *to, floats a) { _mm512_storeu_ps(to, a); }
static inline floats add_floats(floats a, floats b) { return _mm512_add_ps(a, b); }
static inline floats multiply_add(floats a, float x, floats w) { return _mm512_fmadd_ps(_mm512_set1_ps(x), w, a); }
#elif defined(__AVX2__) && defined(__FMA__)
typedef __m256 floats;
static inline floats no_floats(void) { return _mm256_setzero_ps(); }
static inline floats load_floats(const float *w) { return _mm256_loadu_ps(w); }
static inline void store_floats(float *to, floats a) { _mm256_storeu_ps(to, a); }
static inline floats add_floats(floats a, floats b) { return _mm256_add_ps(a, b); }
static inline floats multiply_add(floats a, float x, floats w) { return _mm256_fmadd_ps(_mm256_set1_ps(x), w, a); }
#elif defined(__ARM_NEON) && defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)
typedef float32x4_t floats;
static inline floats no_floats(void) { return vdupq_n_f32(0); }
static inline floats load_floats(const float *w) { return vld1q_f32(w); }
static inline void store_floats(float *to, floats a) { vst1q_f32(to, a); }
static inline floats add_floats(floats a, floats b) { return vaddq_f32(a, b); }
static inline floats multiply_add(floats a, float x, floats w) { return vfmaq_n_f32(a, w, x); }
#else
typedef float floats __attribute__((vector_size(LANES * 4)));
static inline floats no_floats(void) { floats a = {0}; return a; }
static inline floats load_floats(const float *w) { floats a; memcpy(&a, w, sizeof a); return a; }
static inline void store_floats(float *to, floats a) { memcpy(to, &a, sizeof a); }
static inline floats add_floats(floats a, floats b) { return a + b; }
static inline floats multiply_add(floats a, float x, floats w) { return a + x * w; }
#endif

/* A layer and a program as edge_runtime/native/structures.py has them: keep the fields in step. */

struct layer {
    int32_t kind, n_in, n_out, quantizes, gives_grid, activation; /* quantizes: an int8 layer whose source holds floats */
    int32_t input_zero_point, zero_point;                            /* of the grids of its inputs and outputs */
    float scale, input_low, input_high, low, high; /* 0 - zero_point and 255 - zero_point; low is 0 where relu says so */
    float alpha;                                   /* of leaky_relu */
    const void *weight, *bias; /* packed; int32 or float, one for each output of whole panels */
    const float *multiplier;
    const uint8_t *table;                      /* or NULL */
    const float *gain, *shift, *slope, *least, *most; /* of a stage, one for each value; slope to most may be NULL */
    float epsilon;                             /* of a layer norm */
    int32_t centered;
};

struct program {
    const struct layer *layers;
    const float *mean, *inv_std; /* NULL where rows are not standardized */
    char *buffers;               /* three, of BLOCK rows each */
    const float *source;
    float *target;
    int64_t rows, pitch, data_offset; /* pitch: bytes of a row of a buffer; data_offset: see smallnet_run_on */
    int32_t count, mean_step; /* 0 where one mean is for all */
};

struct tile { /* what the loops of a product need */
    const void *x, *w, *bias;
    size_t pitch, steps, panel; /* bytes of a row; GROUPs, or inputs; weights of a panel */
};

int32_t smallnet_lanes(void) { return LANES; }
int32_t smallnet_group(void) { return GROUP; }
int32_t smallnet_weight_bytes(void) { return sizeof(weight); }
int32_t smallnet_offset(void) { return OFFSET; }
int32_t smallnet_block(void) { return BLOCK; }
int32_t smallnet_layer_bytes(void) { return sizeof(struct layer); }
int32_t smallnet_program_bytes(void) { return sizeof(struct program); }
const char *smallnet_kind(void) { return KIND; }

/* Sums of products: to[row][panel][lane] = sum over k of x[row][k] * w[k][panel][lane], modulo 2^32. */

static inline __attribute__((always_inline)) void int8_tile(int rows, int panels, struct tile t, uint32_t *to)
{
    sums a[TALL][WIDE];
    for (int r = 0; r < rows; r++)
        for (int p = 0; p < panels; p++)
            a[r][p] = no_sums();
    const weight *w = t.w;
    const char *x = t.x;
    for (size_t k = 0; k < t.steps; k++, w += GROUP * LANES, x += GROUP * sizeof(act)) {
        some_weights v[WIDE];
        for (int p = 0; p < panels; p++) {
            v[p] = load(w + p * t.panel);
            if (rows > 1)
                IN_REGISTER(v[p]);
        }
        for (int r = 0; r < rows; r++)
            for (int p = 0; p < panels; p++)
                a[r][p] = dot(a[r][p], spread((const act *)(x + r * t.pitch)), v[p]);
    }
    for (int r = 0; r < rows; r++)
        for (int p = 0; p < panels; p++)
            store(to + (r * panels + p) * LANES, a[r][p]);
}

static inline __attribute__((always_inline)) void float_tile(int rows, int panels, struct tile t, float *to)
{
    const float *w = t.w;
    for (int r = 0; r < rows; r++)
        memcpy(to + r * panels * LANES, t.bias, panels * LANES * sizeof(float));
    for (size_t from = 0; from < t.steps; from += CHUNK) {
        size_t until = from + CHUNK < t.steps ? from + CHUNK : t.steps;
        floats a[TALL][WIDE];
        for (int r = 0; r < rows; r++)
            for (int p = 0; p < panels; p++)
                a[r][p] = no_floats();
        for (size_t k = from; k < until; k++) {
            floats v[WIDE];
            for (int p = 0; p < panels; p++) {
                v[p] = load_floats(w + p * t.panel + k * LANES);
                if (rows > 1)
                    IN_REGISTER(v[p]);
            }
            for (int r = 0; r < rows; r++)
                for (int p = 0; p < panels; p++)
                    a[r][p] = multiply_add(a[r][p], ((const float *)((const char *)t.x + r * t.pitch))[k], v[p]);
        }
        for (int r = 0; r < rows; r++)
            for (int p = 0; p < panels; p++) {
                float *at = to + (r * panels + p) * LANES;
                store_floats(at, add_floats(load_floats(at), a[r][p]));
            }
    }
}

#define TILE(kind, type, rows, panels) \
    static void kind##_##rows##_##panels(struct tile t, type *to) { kind##_tile(rows, panels, t, to); }
#define TILES(kind, type) \
    TILE(kind, type, 1, 1) TILE(kind, type, 1, 2) TILE(kind, type, 1, 3) TILE(kind, type, 1, 4) \
    TILE(kind, type, 1, 5) TILE(kind, type, 1, 6) TILE(kind, type, 1, 7) TILE(kind, type, 1, 8) \
    TILE(kind, type, 4, 1) TILE(kind, type, 4, 2) TILE(kind, type, 4, 3) TILE(kind, type, 4, 4) \
    static void (*const kind##_flat[WIDE])(struct tile, type *) = { \
        kind##_1_1, kind##_1_2, kind##_1_3, kind##_1_4, kind##_1_5, kind##_1_6, kind##_1_7, kind##_1_8}; \
    static void (*const kind##_tall[4])(struct tile, type *) = {kind##_4_1, kind##_4_2, kind##_4_3, kind##_4_4};
TILES(int8, uint32_t)
TILES(float, float)

/* exp(x) to 2 units in the last place for x from -87 to 88; below as for -87. NaN stays NaN. */
static inline float exponential(float x)
{
    union { float f; int32_t i; } n, power;
    x = x < -87.0f ? -87.0f : x;
    n.f = x * 1.44269504f + 12582912.0f; /* the nearest whole number, in the low bits */
    float whole = n.f - 12582912.0f;
    float r = (x - whole * 0.693359375f) - whole * -2.12194440e-4f;
    float y = 1.9875691500e-4f;
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * r * r + r + 1.0f;
    power.i = (int32_t)(((uint32_t)n.i - 0x4B400000u + 127u) << 23);
    return y * power.f;
}

/* The activations that need a row's values: in place, on floats. Comparisons keep NaN. */
static void activate_row(int32_t activation, float *y, int32_t n)
{
    if (activation == SIGMOID)
        for (int32_t j = 0; j < n; j++)
            y[j] = 1.0f / (1.0f + exponential(y[j] < -87.0f ? 87.0f : -y[j]));
    if (activation != SOFTMAX)
        return;
    float top = y[0], total = 0.0f;
    for (int32_t j = 1; j < n; j++)
        top = y[j] > top ? y[j] : top;
    for (int32_t j = 0; j < n; j++)
        y[j] = exponential(y[j] - top);
    for (int32_t j = 0; j < n; j++)
        total += y[j];
    for (int32_t j = 0; j < n; j++)
        y[j] = y[j] / total;
}

/* relu and leaky_relu of `n` floats, in place. fmax and fmin of NumPy's engine: of two numbers where one is NaN, v. */
static void activate_floats(const struct layer *l, float *v, int n)
{
    if (l->activation == RELU)
        for (int j = 0; j < n; j++)
            v[j] = v[j] < 0.0f ? 0.0f : v[j];
    if (l->activation == LEAKY_RELU && l->alpha <= 1.0f)
        for (int j = 0; j < n; j++)
            v[j] = l->alpha * v[j] > v[j] ? l->alpha * v[j] : v[j];
    if (l->activation == LEAKY_RELU && l->alpha > 1.0f)
        for (int j = 0; j < n; j++)
            v[j] = l->alpha * v[j] < v[j] ? l->alpha * v[j] : v[j];
}

/* The grid's point for f, as activations are held: clamped, rounded half to even, and then the zero point. */
static inline act rounded(float f, float low, float high, int32_t zero_point)
{
    union { float f; int32_t i; } u;
    f = f > low ? f : low; /* between the multiplication and the addition, so that nothing fuses them; NaN becomes low */
    f = f < high ? f : high;
    u.f = f + 12582912.0f;
    return (act)(u.i - 0x4B400000 + zero_point - OFFSET);
}

/* From sums to the values of `n` outputs from `first` on: scaled, and on the grid if the layer has one. */
static void finish_int8(const struct layer *l, size_t first, int n, const uint32_t *restrict a, act *restrict y,
                        float *restrict v)
{
    const uint32_t *bias = (const uint32_t *)l->bias + first;
    const float *m = l->multiplier + first;
    for (int j = 0; j < n; j++)
        v[j] = (float)(int32_t)(a[j] + bias[j]) * m[j];
    if (!l->gives_grid || l->activation == LEAKY_RELU)
        activate_floats(l, v, n);
    if (!l->gives_grid)
        return;
    for (int j = 0; j < n; j++)
        y[j] = rounded(v[j], l->low, l->high, l->zero_point);
    if (l->table != NULL)
        for (int j = 0; j < n; j++)
            y[j] = (act)(l->table[(int)y[j] + OFFSET] - OFFSET);
}

/* The stages: a row of floats to a row of floats, in the order that edge_runtime/engine/stages.py computes them in. */

static void map_row(const struct layer *l, const float *restrict x, float *restrict y)
{
    int32_t n = l->n_in;
    for (int32_t j = 0; j < n; j++)
        y[j] = x[j] * l->gain[j] + l->shift[j];
    if (l->slope != NULL)
        for (int32_t j = 0; j < n; j++)
            y[j] = y[j] < 0.0f ? l->slope[j] * y[j] : y[j];
    if (l->least != NULL)
        for (int32_t j = 0; j < n; j++)
            y[j] = y[j] < l->least[j] ? l->least[j] : y[j];
    if (l->most != NULL)
        for (int32_t j = 0; j < n; j++)
            y[j] = y[j] > l->most[j] ? l->most[j] : y[j];
}

static void normalize_row(const struct layer *l, const float *restrict x, float *restrict y)
{
    int32_t n = l->n_in;
    float mean = 0.0f, squares = 0.0f;
    if (l->centered) {
        for (int32_t j = 0; j < n; j++)
            mean += x[j];
        mean /= (float)n;
    }
    for (int32_t j = 0; j < n; j++)
        y[j] = x[j] - mean;
    for (int32_t j = 0; j < n; j++)
        squares += y[j] * y[j];
    float spread = __builtin_sqrtf(squares / (float)n + l->epsilon);
    for (int32_t j = 0; j < n; j++)
        y[j] = y[j] / spread * l->gain[j] + l->shift[j];
}

static void run_stage(const struct layer *l, const char *x, size_t x_pitch, int rows, char *y, size_t pitch)
{
    for (int row = 0; row < rows; row++) {
        float *to = (float *)(y + (size_t)row * pitch);
        (l->kind == ELEMENTWISE ? map_row : normalize_row)(l, (const float *)(x + (size_t)row * x_pitch), to);
        activate_floats(l, to, l->n_out);
        activate_row(l->activation, to, l->n_out);
    }
}

/* A layer with weights for `rows` rows. y: acts of `pitch` bytes a row, or floats, of `pitch` or of the user's own array. */
static void run_dense(const struct layer *l, const char *x, size_t x_pitch, int rows, char *y, size_t pitch)
{
    const int is_int8 = l->kind == INT8_DENSE;
    uint32_t a[TALL * WIDE * LANES];
    float v[TALL * WIDE * LANES];
    size_t panels = ((size_t)l->n_out + LANES - 1) / LANES;
    size_t group = is_int8 ? GROUP : 1, steps = ((size_t)l->n_in + group - 1) / group, panel = steps * group * LANES;
    size_t size = is_int8 ? sizeof(weight) : sizeof(float);
    for (size_t p = 0; p < panels;) {
        size_t most = rows >= TALL ? TALL_PANELS : WIDE, width = panels - p < most ? panels - p : most;
        int n = (int)width * LANES, left = l->n_out - (int)(p * LANES), kept = left < n ? left : n;
        for (int row = 0; row < rows;) {
            int tall = rows - row >= TALL ? TALL : 1;
            struct tile t = {x + (size_t)row * x_pitch, (const char *)l->weight + p * panel * size,
                             (const float *)l->bias + p * LANES, x_pitch, steps, panel};
            if (is_int8)
                (tall == TALL ? int8_tall : int8_flat)[width - 1](t, a);
            else
                (tall == TALL ? float_tall : float_flat)[width - 1](t, v);
            for (int r = 0; r < tall; r++, row++) {
                char *to = y + (size_t)row * pitch;
                if (is_int8)
                    finish_int8(l, p * LANES, n, a + r * n, (act *)to + p * LANES, v + r * n);
                else
                    activate_floats(l, v + r * n, n);
                if (!l->gives_grid)
                    memcpy((float *)to + p * LANES, v + r * n, (size_t)kept * sizeof(float));
            }
        }
        p += width;
    }
    if (!l->gives_grid)
        for (int row = 0; row < rows; row++)
            activate_row(l->activation, (float *)(y + (size_t)row * pitch), l->n_out);
}

/* A row on the grid of an int8 layer's inputs. */
static void quantize_row(const struct layer *l, const float *restrict x, act *restrict q)
{
    float scale = l->scale, low = l->input_low, high = l->input_high;
    int32_t zero_point = l->input_zero_point;
    for (int32_t k = 0; k < l->n_in; k++)
        q[k] = rounded(x[k] / scale, low, high, zero_point);
}

static void standardize_row(const struct program *g, const float *restrict x, float *restrict y)
{
    int32_t n = g->layers[0].n_in;
    if (g->mean_step)
        for (int32_t k = 0; k < n; k++)
            y[k] = (x[k] - g->mean[k]) * g->inv_std[k];
    else
        for (int32_t k = 0; k < n; k++)
            y[k] = (x[k] - g->mean[0]) * g->inv_std[0];
}

/* int8 weights, (n_in, n_out), into panels of zeros. totals: the sum of each output's weights, for whole panels. */
void smallnet_pack(const int8_t *w, int32_t n_in, int32_t n_out, weight *to, int32_t *totals)
{
    const int32_t steps = (n_in + GROUP - 1) / GROUP;
    for (int32_t first = 0; first < n_out; first += LANES, to += (size_t)steps * GROUP * LANES)
        for (int32_t k = 0; k < n_in; k++) {
            const int8_t *from = w + (size_t)k * n_out + first;
            weight *at = to + (size_t)(k / GROUP) * GROUP * LANES + k % GROUP;
            int32_t count = n_out - first < LANES ? n_out - first : LANES;
            for (int32_t lane = 0; lane < count; lane++) {
                at[lane * GROUP] = from[lane];
                totals[first + lane] += from[lane];
            }
        }
}

/* All rows of a program through its layers, BLOCK at a time. */
void smallnet_run(const struct program *g)
{
    const int32_t n_in = g->layers[0].n_in, n_out = g->layers[g->count - 1].n_out;
    const size_t pitch = (size_t)g->pitch;
    char *buffers[3] = {g->buffers, g->buffers + BLOCK * pitch, g->buffers + 2 * BLOCK * pitch};
    for (int64_t start = 0; start < g->rows; start += BLOCK) {
        int rows = g->rows - start < BLOCK ? (int)(g->rows - start) : BLOCK;
        const char *x = (const char *)(g->source + start * n_in);
        size_t x_pitch = (size_t)n_in * sizeof(float);
        if (g->mean != NULL) {
            for (int row = 0; row < rows; row++)
                standardize_row(g, (const float *)(x + row * x_pitch), (float *)(buffers[1] + row * pitch));
            x = buffers[1], x_pitch = pitch;
        }
        for (int32_t i = 0; i < g->count; i++) {
            const struct layer *l = g->layers + i;
            int is_last = i == g->count - 1;
            if (l->quantizes) {
                for (int row = 0; row < rows; row++)
                    quantize_row(l, (const float *)(x + row * x_pitch), (act *)(buffers[2] + row * pitch));
                x = buffers[2], x_pitch = pitch;
            }
            char *y = is_last ? (char *)(g->target + start * n_out) : buffers[i & 1];
            size_t y_pitch = is_last ? (size_t)n_out * sizeof(float) : pitch;
            (l->kind >= ELEMENTWISE ? run_stage : run_dense)(l, x, x_pitch, rows, y, y_pitch);
            x = y, x_pitch = y_pitch;
        }
    }
}

/* The same on the rows of a NumPy array. array: the object, which holds the address of its values at data_offset. */
void smallnet_run_on(struct program *g, const char *array)
{
    memcpy(&g->source, array + g->data_offset, sizeof g->source);
    smallnet_run(g);
}
