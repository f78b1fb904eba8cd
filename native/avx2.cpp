// Variant for processors with AVX2 and FMA: 8 floats a vector, 16 vector registers.

#include "variants.hpp"

#ifdef SEQWARD_X86

#include <immintrin.h>

// From here on the compiler may use these instructions, whatever the processor that it runs on. What is above was
// included before, so that no function shared with other files is compiled with them.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,bmi,popcnt"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,bmi,popcnt")
#endif

#include "kernels.hpp"

namespace seqward {
namespace {

struct Avx2 {
    static constexpr int kLanes = 8, kVectors = 2, kPair = 1, kBlock = 192;
    using Vec = __m256;
    using Mask = __m256;
    using Count = __m256i;
    using Operand = __m256;
    using Stored = float;

    static Vec all(float x) { return _mm256_set1_ps(x); }
    static Vec load(const float* from) { return _mm256_loadu_ps(from); }
    static void store(float* to, Vec x) { _mm256_storeu_ps(to, x); }
    static Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
    static Vec sub(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
    static Vec mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
    static Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
    static Vec max(Vec a, Vec b) { return _mm256_max_ps(a, b); }  // b where either is NaN
    static float fold(Vec x) {
        const __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
        const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
    }
    static constexpr float kFloor = -127.0f;
    static Vec whole(Vec x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
    static Vec scale(Vec x, Vec n) {
        const __m256i bits = _mm256_castps_si256(_mm256_add_ps(n, _mm256_set1_ps(kMagic)));
        return _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32(bits, 23)));
    }

    static Mask above(Vec a, Vec b) { return _mm256_cmp_ps(a, b, _CMP_GT_OQ); }
    static uint32_t bits(Mask m) { return static_cast<uint32_t>(_mm256_movemask_ps(m)); }
    static bool any(Mask m) { return bits(m) != 0; }
    static Vec either(Mask m, Vec a, Vec b) { return _mm256_blendv_ps(b, a, m); }
    static Count count(Count c, Mask m) { return _mm256_sub_epi32(c, _mm256_castps_si256(m)); }  // true is -1
    static Count load(const int32_t* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }
    static void store(int32_t* to, Count c) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), c); }

    static Stored round(float x) { return x; }
    static Operand take(const Stored* from) { return _mm256_loadu_ps(from); }
    static Operand same(const Stored* from) { return _mm256_broadcast_ss(from); }
    static Vec multiply_add(Vec sum, Operand a, Operand b) { return _mm256_fmadd_ps(a, b, sum); }
    static Vec widened(const Stored* from) { return load(from); }
    static void keep(Stored* to, Vec x) { _mm256_storeu_ps(to, x); }
    static void keep_past_cache(Stored* to, Vec x) { _mm256_stream_ps(to, x); }
    static void finish() { _mm_sfence(); }  // what went past the cache is there for every thread

    // One instruction multiplies 32 bytes without a sign by 32 with one, and adds neighbours to 16 sums of two bytes:
    // so the query gives its size, and the rows take over its sign. As no number is beyond 127, 2 * 127 * 127 fits into
    // such a sum. The next one adds neighbours again (times 1): four products of a row in each 32-bit lane.
    static void whole_products(const int8_t* rows, const int8_t* query, int64_t groups, int32_t, int32_t* out) {
        constexpr int kVecs = kScreen / kLanes;
        const __m256i ones = _mm256_set1_epi16(1);
        __m256i sum[kVecs];
        for (int v = 0; v < kVecs; ++v) sum[v] = _mm256_setzero_si256();
        for (; groups > 0; --groups, query += 4) {
            int32_t four;
            std::memcpy(&four, query, sizeof four);
            const __m256i sign = _mm256_set1_epi32(four), size = _mm256_abs_epi8(sign);
            for (int v = 0; v < kVecs; ++v, rows += 32) {
                const __m256i row = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows));
                const __m256i pairs = _mm256_maddubs_epi16(size, _mm256_sign_epi8(row, sign));
                sum[v] = _mm256_add_epi32(sum[v], _mm256_madd_epi16(pairs, ones));
            }
        }
        for (int v = 0; v < kVecs; ++v) _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + v * kLanes), sum[v]);
    }
};

bool runs() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("popcnt");
}

}  // namespace

constexpr Kernels kAvx2 = kernels<Avx2>("avx2", runs);

}  // namespace seqward

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif
