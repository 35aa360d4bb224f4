// How fast can this processor go without any library? `peaks KIND THREADS BYTES SECONDS` prints a rate a second.
//
// fp32, bf16, int8: vector instructions on registers alone, so that no memory and no library has a part in it; two
// operations a multiply-accumulate. read: BYTES of each thread are read from end to end, again and again.
// A kind that the processor has no instruction for prints 0. Compile: cc -O3 -march=native
// -mprefer-vector-width=512 (x86) -ffp-contract=fast -pthread.

#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define WIDTH 64
#else
#define WIDTH 32
#endif
#define CHAINS 12 // more than the latency of a multiply-add times the units that do it

#if defined(__AVX512F__)
typedef __m512 vf;
#define MULTIPLY_ADD(sum, by, plus) _mm512_fmadd_ps(sum, by, plus)
#elif defined(__FMA__)
typedef __m256 vf;
#define MULTIPLY_ADD(sum, by, plus) _mm256_fmadd_ps(sum, by, plus)
#else
typedef float vf __attribute__((vector_size(WIDTH)));
#define MULTIPLY_ADD(sum, by, plus) (sum * by + plus)
#endif
typedef int64_t vi __attribute__((vector_size(WIDTH)));

static const char *kind;
static double seconds;
static size_t bytes;
static pthread_barrier_t together;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// A chain of its own for each, in a register of its own: arrays end up in memory.
#define EACH(do) do(0) do(1) do(2) do(3) do(4) do(5) do(6) do(7) do(8) do(9) do(10) do(11)
#define BEGIN(i) sum##i = zero; __asm__ volatile("" : "+v"(sum##i)); /* or all chains would be one */
#define USED(i) __asm__ volatile("" : : "v"(sum##i));
#define NAMES sum0, sum1, sum2, sum3, sum4, sum5, sum6, sum7, sum8, sum9, sum10, sum11
#define RUN(type, step)                                                                                               \
    type zero, one, NAMES;                                                                                            \
    memset(&zero, 0, sizeof zero);                                                                                    \
    memset(&one, 1, sizeof one);                                                                                      \
    __asm__ volatile("" : "+v"(zero), "+v"(one)); /* the compiler must not know these values */                       \
    EACH(BEGIN)                                                                                                       \
    for (long i = 0; i < times; i++) {                                                                                \
        EACH(step)                                                                                                    \
        __asm__ volatile("" ::: "memory");                                                                            \
    }                                                                                                                 \
    EACH(USED)

#define FP32(i) sum##i = MULTIPLY_ADD(sum##i, one, one);
#define BF16(i) sum##i = _mm512_dpbf16_ps(sum##i, (__m512bh)one, (__m512bh)one);
#define INT8(i) sum##i = _mm512_dpbusd_epi32(sum##i, one, one);
#define INT8_AVX(i) sum##i = _mm256_dpbusd_avx_epi32(sum##i, one, one);

static double fp32(long times) {
    RUN(vf, FP32)
    return (double)times * CHAINS * (sizeof(vf) / 4) * 2;
}

static double bf16(long times) {
#if defined(__AVX512BF16__)
    __m512 zero, NAMES;
    __m512i one = _mm512_set1_epi16(0x3f80);
    memset(&zero, 0, sizeof zero);
    __asm__ volatile("" : "+v"(zero), "+v"(one));
    EACH(BEGIN)
    for (long i = 0; i < times; i++) {
        EACH(BF16)
        __asm__ volatile("" ::: "memory");
    }
    EACH(USED)
    return (double)times * CHAINS * 32 * 2;
#else
    (void)times;
    return 0;
#endif
}

static double int8(long times) {
#if defined(__AVX512VNNI__)
    RUN(__m512i, INT8)
    return (double)times * CHAINS * 64 * 2;
#elif defined(__AVXVNNI__)
    RUN(__m256i, INT8_AVX)
    return (double)times * CHAINS * 32 * 2;
#else
    (void)times;
    return 0;
#endif
}

#define OR(i) sum##i |= row[i];
// From main memory the next lines are asked for while these arrive: the processor alone doesn't look that far.
#define FAR ((size_t)48 << 20)
#define AHEAD 4096

static double reading(const vi *data, long times) {
    vi zero = {0}, NAMES;
    EACH(BEGIN)
    size_t n = bytes / sizeof(vi) / CHAINS;
    size_t ahead = bytes < FAR ? 0 : CHAINS * sizeof(vi);
    for (long i = 0; i < times; i++) {
        const vi *row = data;
        for (size_t j = 0; j < n; j++, row += CHAINS) {
            for (size_t k = 0; k < ahead; k += 64) __builtin_prefetch((const char *)row + AHEAD + k);
            EACH(OR)
        }
        __asm__ volatile("" ::: "memory");
    }
    EACH(USED)
    return (double)times * (double)(n * CHAINS * sizeof(vi));
}

static double some(const vi *data, long times) {
    if (!strcmp(kind, "fp32")) return fp32(times);
    if (!strcmp(kind, "bf16")) return bf16(times);
    if (!strcmp(kind, "int8")) return int8(times);
    return reading(data, times);
}

static void *worker(void *rate) {
    vi *data = NULL;
    if (bytes) {
        if (posix_memalign((void **)&data, 2 << 20, bytes)) exit(2);
#if defined(MADV_HUGEPAGE)
        madvise(data, bytes, MADV_HUGEPAGE); // small pages would measure how fast addresses are translated
#endif
        memset(data, 1, bytes);
    }
    long times = 1;
    double took = 0;
    while (took < 0.01) { // as many as take a moment, so that reading the clock costs nothing
        double begun = now();
        if (some(data, times) == 0) break;
        took = now() - begun;
        if (took < 0.01) times *= 2;
    }
    pthread_barrier_wait(&together);
    double begun = now(), done = 0;
    do done += some(data, times);
    while (done > 0 && now() - begun < seconds);
    *(double *)rate = done / (now() - begun);
    free(data);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 5) return 1;
    kind = argv[1];
    int threads = atoi(argv[2]);
    bytes = strcmp(kind, "read") ? 0 : strtoull(argv[3], NULL, 10);
    seconds = atof(argv[4]);
    if (threads < 1 || threads > 1024) return 1;
    pthread_t made[1024];
    double rates[1024], total = 0;
    pthread_barrier_init(&together, NULL, (unsigned)threads);
    for (int i = 0; i < threads; i++) pthread_create(&made[i], NULL, worker, &rates[i]);
    for (int i = 0; i < threads; i++) pthread_join(made[i], NULL), total += rates[i];
    printf("%.6g\n", total);
    return 0;
}
