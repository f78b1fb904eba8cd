// What the variants for AVX-512 share: 16 floats a vector, 32 vector registers. Included by their files, which have told
// the compiler of the processor before. With VNNI, which adds products of bytes: servers from Cascade Lake on have it, and
// those before take the variant for AVX2.

#pragma once

#include <immintrin.h>

#include "kernels.hpp"

namespace seqward {
namespace {

struct Avx512 {
    static constexpr int kLanes = 16, kVectors = 4, kBlock = 192;
    using Vec = __m512;
    using Mask = __mmask16;  // a bit a lane
    using Count = __m512i;

    static Vec all(float x) { return _mm512_set1_ps(x); }
    static Vec load(const float* from) { return _mm512_loadu_ps(from); }
    static void store(float* to, Vec x) { _mm512_storeu_ps(to, x); }
    static Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
    static Vec sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
    static Vec mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
    static Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
    static Vec max(Vec a, Vec b) { return _mm512_max_ps(a, b); }  // b where either is NaN
    static float fold(Vec x) {
        const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
        const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
        const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
    }
    static constexpr float kFloor = -127.0f;
    static Vec whole(Vec x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
    // 0 below the normal numbers, as elsewhere: some processors are slow with what lies there. NaN stays.
    static Vec scale(Vec x, Vec n) {
        return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(n, _mm512_set1_ps(-126.0f), _CMP_NLT_UQ), x, n);
    }

    static Mask above(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
    static uint32_t bits(Mask m) { return m; }
    static bool any(Mask m) { return m != 0; }
    static Vec either(Mask m, Vec a, Vec b) { return _mm512_mask_blend_ps(m, b, a); }
    static Count count(Count c, Mask m) { return _mm512_mask_add_epi32(c, m, c, _mm512_set1_epi32(1)); }
    static Count load(const int32_t* from) { return _mm512_loadu_si512(from); }
    static void store(int32_t* to, Count c) { _mm512_storeu_si512(to, c); }
    static void finish() { _mm_sfence(); }

    // VNNI: one instruction multiplies 64 bytes without a sign by 64 with one and adds each four products to a 32-bit
    // lane. Turning the first bit of a row's number adds 128 to it, and 128 times the query's sum to the product. Two
    // sums a vector, since each waits for the one before.
    static void whole_products(const int8_t* rows, const int8_t* query, int64_t groups, int32_t query_sum,
                               int32_t* out) {
        constexpr int kVecs = kScreen / kLanes, kChains = 2;
        const __m512i first_bits = _mm512_set1_epi8(-128);
        __m512i sum[kChains][kVecs];
        for (int v = 0; v < kVecs; ++v)
            sum[0][v] = _mm512_set1_epi32(-128 * query_sum), sum[1][v] = _mm512_setzero_si512();
        for (; groups > 0; groups -= kChains)  // a width is a multiple of 16, so they are even
            for (int c = 0; c < kChains; ++c, query += 4) {
                int32_t four;
                std::memcpy(&four, query, sizeof four);
                const __m512i all = _mm512_set1_epi32(four);
                for (int v = 0; v < kVecs; ++v, rows += 64)
                    sum[c][v] =
                        _mm512_dpbusd_epi32(sum[c][v], _mm512_xor_si512(_mm512_loadu_si512(rows), first_bits), all);
            }
        for (int v = 0; v < kVecs; ++v)
            _mm512_storeu_si512(out + v * kLanes, _mm512_add_epi32(sum[0][v], sum[1][v]));
    }
};

// A virtual machine can hide some of them.
bool has_avx512() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("popcnt");
}

}  // namespace
}  // namespace seqward
