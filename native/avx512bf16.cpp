// Variant for processors with AVX512-BF16: an instruction multiplies 16 pairs of bfloat16 and adds each pair of products to
// a float.

#include "variants.hpp"

#ifdef SEQWARD_X86

#include <immintrin.h>

// See avx2.cpp.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx512vnni,bmi,popcnt"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx512vnni,bmi,popcnt")
#endif

#include "avx512.hpp"

namespace seqward {
namespace {

struct Avx512Bf16 : Avx512 {
    static constexpr int kPair = 2;
    using Operand = __m512bh;
    using Stored = uint16_t;

    // One number at a time where states are packed: the instruction's own rounding, taken from the emulation.
    static Stored round(float x) { return bfloat_of(x); }
    static Operand take(const Stored* from) { return reinterpret_cast<Operand>(_mm512_loadu_si512(from)); }
    static Operand same(const Stored* from) {
        int32_t pair;
        std::memcpy(&pair, from, sizeof pair);
        return reinterpret_cast<Operand>(_mm512_set1_epi32(pair));
    }
    static Vec multiply_add(Vec sum, Operand a, Operand b) { return _mm512_dpbf16_ps(sum, a, b); }
    static __m256i rounded(Vec x) { return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)); }
    static Vec wide(__m256i x) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16)); }
    static Vec widened(const Stored* from) { return wide(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))); }
    static Vec as_kept(Vec x) { return wide(rounded(x)); }
    static void keep(Stored* to, Vec x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), rounded(x)); }
    static void keep_past_cache(Stored* to, Vec x) { _mm256_stream_si256(reinterpret_cast<__m256i*>(to), rounded(x)); }
    static __m512i turns() {  // 0, 16, 1, 17 ...
        const __m512i place = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        return _mm512_or_si512(place, _mm512_slli_epi32(_mm512_add_epi32(place, _mm512_set1_epi32(16)), 16));
    }
    static void keep_pairs(Stored* to, Vec first, Vec second) {
        // One instruction rounds both, the first into the lower half; then they take turns.
        const __m512i halves = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(second, first));
        _mm512_storeu_si512(to, _mm512_permutexvar_epi16(turns(), halves));
    }
};

bool runs() { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }

}  // namespace

constexpr Kernels kAvx512Bf16 = kernels<Avx512Bf16>("avx512-bf16", runs);

}  // namespace seqward

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif
