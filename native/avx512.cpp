// Variant for processors with AVX-512, in fp32.

#include "variants.hpp"

#ifdef SEQWARD_X86

#include <immintrin.h>

// See avx2.cpp.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,bmi,popcnt"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,bmi,popcnt")
#endif

#include "avx512.hpp"

namespace seqward {
namespace {

struct Avx512Fp32 : Avx512 {
    static constexpr int kPair = 1;
    using Operand = Vec;
    using Stored = float;

    static Stored round(float x) { return x; }
    static Operand take(const Stored* from) { return load(from); }
    static Operand same(const Stored* from) { return all(*from); }
    static Vec multiply_add(Vec sum, Operand a, Operand b) { return fma(a, b, sum); }
    static Vec widened(const Stored* from) { return load(from); }
    static void keep(Stored* to, Vec x) { store(to, x); }
    static void keep_past_cache(Stored* to, Vec x) { _mm512_stream_ps(to, x); }
};

}  // namespace

constexpr Kernels kAvx512 = kernels<Avx512Fp32>("avx512", has_avx512);

}  // namespace seqward

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif
