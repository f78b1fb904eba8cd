// What a processor can do to several numbers at once, under names that the algorithms use.
//
// A "vector" here is a row of kLanes floats that one instruction handles together; a lane is one of its places. Every
// algorithm in this folder puts one *state* (a row of the question) into each lane and walks over the items, so that a
// maximum, a sum or a count over items is the same operation in every lane and nothing is ever moved between lanes.
// (What is asked of one row alone has its numbers in the lanes, and they are folded at the end.)
//
// A backend is a struct with static functions; it is chosen by template, so that calling them costs nothing:
//
//   kLanes     floats in a vector
//   kVectors   vectors side by side in one tile of scores (a tile is kTile items high)
//   kPair      numbers that one multiplication step takes along the sum: 1 in fp32, 2 in bfloat16
//   kBlock     items handled before moving on to the next states; a multiple of kTile and kPair
//   Stored     what operands of a product are kept as: float, or the upper 16 bits of one (bfloat16)
//   Operand    a vector of Stored, kPair numbers to a lane
//
// The portable backend is plain loops. It runs everywhere and, with kPair = 2, rounds and lays out its operands exactly
// as the bfloat16 instructions want them: so the algorithm of that path is tested on processors that lack them.

#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "questions.hpp"

namespace seqward {
namespace {  // a copy for each file that includes it, compiled for the processor of that file

constexpr int kTile = 6;  // items (or columns) of a tile: 6 x 2 sums fill 12 of the 16 vector registers of AVX2

inline uint32_t bits_of(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}

inline float float_of(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

inline int lowest_bit(uint64_t x) {
#ifdef __GNUC__
    return __builtin_ctzll(x);
#else
    int place = 0;
    for (; !(x & 1); x >>= 1) ++place;
    return place;
#endif
}

inline int count_bits(uint64_t x) {
#ifdef __GNUC__
    return __builtin_popcountll(x);
#else
    int count = 0;
    for (; x; x &= x - 1) ++count;
    return count;
#endif
}

// The nearest bfloat16 (ties to even), as VCVTNEPS2BF16 rounds. NaN stays NaN; denormals become zero, as there.
inline uint16_t bfloat_of(float x) {
    const uint32_t bits = bits_of(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
    if ((bits & 0x7f800000u) == 0) return static_cast<uint16_t>((bits >> 16) & 0x8000u);
    return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

inline float float_of_bfloat(uint16_t x) { return float_of(static_cast<uint32_t>(x) << 16); }

// 2^x = 2^n * 2^f with n whole and |f| <= 1/2; 2^f by a polynomial whose relative error is 1.1e-7, or 2.6e-6 where
// products are of bfloat16 (fitted to the least largest relative error).
constexpr float kPoly[6] = {1.0f, 0.693147004f, 0.240222424f, 0.0555073358f, 0.00967151299f, 0.00132647273f};
constexpr float kShortPoly[5] = {0.999999285f, 0.693121791f, 0.240247443f, 0.0559178591f, 0.00957010221f};
// kMagic + n, for whole n, has n + 127 in its lowest bits: shifted up they are the bits of 2^n, down to n = -126, and
// of 0 for n = -127.
constexpr float kMagic = 12582912.0f + 127.0f;

// Plain loops over the lanes. See the top of the file for Block and Pair.
template <int Lanes, int Vectors, int Pair, int Block>
struct Portable {
    static constexpr int kLanes = Lanes, kVectors = Vectors, kPair = Pair, kBlock = Block;
    static_assert(Block % kTile == 0 && Block % Pair == 0 && Lanes % Pair == 0);
    template <class T>
    struct Row {
        T at[Lanes];
    };
    struct Twofold {
        float at[Lanes][Pair];
    };
    using Vec = Row<float>;
    using Mask = Row<int32_t>;  // -1 where it holds, 0 elsewhere
    using Count = Row<int32_t>;
    using Operand = Twofold;
    using Stored = std::conditional_t<Pair == 1, float, uint16_t>;

    template <class F>
    static Vec each(F f) {
        Vec out;
        for (int i = 0; i < Lanes; ++i) out.at[i] = f(i);
        return out;
    }
    template <class F>
    static Mask where(F f) {
        Mask out;
        for (int i = 0; i < Lanes; ++i) out.at[i] = f(i) ? -1 : 0;
        return out;
    }

    static Vec all(float x) { return each([&](int) { return x; }); }
    static Vec load(const float* from) { return each([&](int i) { return from[i]; }); }
    static void store(float* to, Vec x) { std::memcpy(to, x.at, sizeof x.at); }
    static Vec add(Vec a, Vec b) { return each([&](int i) { return a.at[i] + b.at[i]; }); }
    static Vec sub(Vec a, Vec b) { return each([&](int i) { return a.at[i] - b.at[i]; }); }
    static Vec mul(Vec a, Vec b) { return each([&](int i) { return a.at[i] * b.at[i]; }); }
    static Vec fma(Vec a, Vec b, Vec c) { return each([&](int i) { return a.at[i] * b.at[i] + c.at[i]; }); }
    // b where either is NaN.
    static Vec max(Vec a, Vec b) { return each([&](int i) { return a.at[i] > b.at[i] ? a.at[i] : b.at[i]; }); }
    // All lanes, halves added up.
    static float fold(Vec x) {
        for (int half = Lanes / 2; half > 0; half /= 2)
            for (int i = 0; i < half; ++i) x.at[i] += x.at[i + half];
        return x.at[0];
    }
    static Vec whole(Vec x) { return each([&](int i) { return (x.at[i] + kMagic) - kMagic; }); }
    static constexpr float kFloor = -127.0f;
    // x 2^n, for whole n from kFloor on, where it is 0.
    static Vec scale(Vec x, Vec n) {
        return each([&](int i) { return x.at[i] * float_of(bits_of(n.at[i] + kMagic) << 23); });
    }

    static Mask above(Vec a, Vec b) { return where([&](int i) { return a.at[i] > b.at[i]; }); }
    static bool any(Mask m) { return bits(m) != 0; }
    static uint32_t bits(Mask m) {
        uint32_t out = 0;
        for (int i = 0; i < Lanes; ++i) out |= static_cast<uint32_t>(m.at[i] & 1) << i;
        return out;
    }
    static Vec either(Mask m, Vec a, Vec b) { return each([&](int i) { return m.at[i] ? a.at[i] : b.at[i]; }); }
    static Count count(Count c, Mask m) {
        for (int i = 0; i < Lanes; ++i) c.at[i] -= m.at[i];
        return c;
    }
    static Count load(const int32_t* from) { Count out; std::memcpy(out.at, from, sizeof out.at); return out; }
    static void store(int32_t* to, Count c) { std::memcpy(to, c.at, sizeof c.at); }

    static Stored round(float x) {
        if constexpr (Pair == 1) {
            return x;
        } else {
            return bfloat_of(x);
        }
    }
    static float widen(Stored x) {
        if constexpr (Pair == 1) {
            return x;
        } else {
            return float_of_bfloat(x);
        }
    }
    static Operand take(const Stored* from) {
        Operand out;
        for (int i = 0; i < Lanes; ++i)
            for (int p = 0; p < Pair; ++p) out.at[i][p] = widen(from[i * Pair + p]);
        return out;
    }
    static Operand same(const Stored* from) {
        Operand out;
        for (int i = 0; i < Lanes; ++i)
            for (int p = 0; p < Pair; ++p) out.at[i][p] = widen(from[p]);
        return out;
    }
    static Vec multiply_add(Vec sum, Operand a, Operand b) {
        for (int p = 0; p < Pair; ++p)
            for (int i = 0; i < Lanes; ++i) sum.at[i] += a.at[i][p] * b.at[i][p];
        return sum;
    }
    static Vec widened(const Stored* from) { return each([&](int i) { return widen(from[i]); }); }
    static Vec as_kept(Vec x) { return each([&](int i) { return widen(round(x.at[i])); }); }
    static void keep(Stored* to, Vec x) {
        for (int i = 0; i < Lanes; ++i) to[i] = round(x.at[i]);
    }
    static void keep_past_cache(Stored* to, Vec x) { keep(to, x); }
    static void keep_pairs(Stored* to, Vec first, Vec second) {
        for (int i = 0; i < Lanes; ++i) to[2 * i] = round(first.at[i]), to[2 * i + 1] = round(second.at[i]);
    }
    static void finish() {}

    // The sums of ``groups`` of four products: rows [groups][kScreen][4], query [groups][4] and its sum -> [kScreen].
    static void whole_products(const int8_t* rows, const int8_t* query, int64_t groups, int32_t, int32_t* out) {
        for (int64_t i = 0; i < kScreen; ++i) out[i] = 0;
        for (; groups > 0; --groups, query += 4)
            for (int64_t i = 0; i < kScreen; ++i, rows += 4)
                for (int k = 0; k < 4; ++k) out[i] += rows[k] * query[k];
    }
};

}  // namespace
}  // namespace seqward
