// The one loop that all time goes into: a small matrix product whose sums stay in registers.
//
//   c[t][lane] (+)= sum over k of a[t][k] * b[k][lane]         t < kTile, lane < Vectors * kLanes
//
// ``b`` is packed: the lanes of one k lie side by side. ``a`` is read one number at a time and repeated in all lanes.
// With kPair = 2 a "number" is a pair of neighbours along k, which one instruction multiplies and adds.

#pragma once

#include "lanes.hpp"

#ifdef __GNUC__
#define SEQWARD_APART __attribute__((noinline))
#define SEQWARD_WITHIN inline __attribute__((always_inline))
#else
#define SEQWARD_APART inline
#define SEQWARD_WITHIN inline
#endif

namespace seqward {
namespace {  // a copy for each file that includes it, compiled for the processor of that file

// sum += the product, in registers. ARow, AStep: how far apart the numbers of ``a`` lie along t and along k, in
// elements. ``a`` is read in ``runs`` of ``steps`` along k, ``run_gap`` elements from the start of one to that of the
// next; ``b`` without a gap.
template <class B, int Vectors, int ARow, int AStep>
SEQWARD_WITHIN void multiply(const typename B::Stored* a, const typename B::Stored* b, int64_t runs, int64_t run_gap,
                             int64_t steps, typename B::Vec (&sum)[kTile][Vectors]) {
    constexpr int kLanes = B::kLanes;
    for (int64_t run = 0; run < runs; ++run, a += run_gap) {
        const typename B::Stored* number = a;
        for (int64_t k = 0; k < steps; ++k, number += AStep, b += Vectors * kLanes * B::kPair) {
            typename B::Operand right[Vectors];
            for (int v = 0; v < Vectors; ++v) right[v] = B::take(b + v * kLanes * B::kPair);
            for (int t = 0; t < kTile; ++t) {
                const typename B::Operand left = B::same(number + t * ARow);
                for (int v = 0; v < Vectors; ++v) sum[t][v] = B::multiply_add(sum[t][v], left, right[v]);
            }
        }
    }
}

// c (+)= the product. A function of its own wherever it is called: amid others, compilers run out of registers.
template <class B, int Vectors, int ARow, int AStep>
SEQWARD_APART void product(const typename B::Stored* a, const typename B::Stored* b, int64_t runs, int64_t run_gap,
                           int64_t steps, float* c, int64_t c_row, bool add) {
    typename B::Vec sum[kTile][Vectors];
    for (int t = 0; t < kTile; ++t)
        for (int v = 0; v < Vectors; ++v) sum[t][v] = add ? B::load(c + t * c_row + v * B::kLanes) : B::all(0.0f);
    multiply<B, Vectors, ARow, AStep>(a, b, runs, run_gap, steps, sum);
    for (int t = 0; t < kTile; ++t)
        for (int v = 0; v < Vectors; ++v) B::store(c + t * c_row + v * B::kLanes, sum[t][v]);
}

// Calls ``f`` with the number of vectors as a constant: algorithms are compiled for each width of a tile.
template <int Most, class F>
inline void with_vectors(int64_t vectors, F f) {
    if constexpr (Most == 1) {
        f(std::integral_constant<int, 1>{});
    } else {
        if (vectors >= Most) return f(std::integral_constant<int, Most>{});
        with_vectors<Most - 1>(vectors, f);
    }
}

// Tells the memory what will be read; of no effect but on time, whatever the address.
inline void fetch_soon(const void* at) {
#ifdef __GNUC__
    __builtin_prefetch(at);
#else
    (void)at;
#endif
}

inline int64_t rounded_up(int64_t x, int64_t to) { return (x + to - 1) / to * to; }
inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Rows are split into panels of kVectors * kLanes; the last may be narrower, by whole vectors.
template <class B>
constexpr int64_t panel_of() {
    return B::kVectors * B::kLanes;
}

template <class B>
inline int64_t vectors_at(int64_t row, int64_t rows) {
    return smaller(B::kVectors, (rows - row + B::kLanes - 1) / B::kLanes);
}

// Memory of a thread for the length of a call. Empty if there was none left: look at ``ok``.
class Workspace {
  public:
    explicit Workspace(int64_t bytes) : start_(static_cast<char*>(::operator new(bytes + kLine, std::nothrow))) {
        next_ = start_ + (kLine - reinterpret_cast<uintptr_t>(start_) % kLine);
        std::memset(next_, 0, ok() ? bytes : 0);
    }
    ~Workspace() { ::operator delete(start_); }
    Workspace(const Workspace&) = delete;
    Workspace& operator=(const Workspace&) = delete;
    bool ok() const { return start_ != nullptr; }
    static int64_t size(int64_t count, int64_t bytes) { return rounded_up(count * bytes, kLine); }
    template <class T>
    T* part(int64_t count) {
        T* out = reinterpret_cast<T*>(next_);
        next_ += size(count, sizeof(T));
        return out;
    }

  private:
    static constexpr int64_t kLine = 64;  // bytes of a cache line, which aligned vectors start at
    char* start_;
    char* next_;
};

// ``states`` of a panel, times ``scale``, as the right side of a product over the width: [width / kPair][lane][kPair].
template <class B>
inline void pack_states(const Scores& q, int64_t row, int64_t lanes, typename B::Stored* out) {
    for (int64_t lane = 0; lane < lanes; ++lane) {
        const bool real = row + lane < q.rows;
        for (int64_t k = 0; k < q.width; ++k) {
            const float x = real ? q.states[(row + lane) * q.width + k] * q.scale : 0.0f;
            out[(k / B::kPair * lanes + lane) * B::kPair + k % B::kPair] = B::round(x);
        }
    }
}

// What one step of a product takes of a row: kPair numbers, whose bits are moved as one.
template <class B>
constexpr int64_t units(int64_t width) {
    static_assert(sizeof(typename B::Stored) * B::kPair == sizeof(uint32_t));
    return width / B::kPair;
}

// ``weight`` of a block of items as a product takes them: [item][width], to a whole tile, with zeros at the end.
template <class B>
inline void round_items(const Scores& q, int64_t first, int64_t count, typename B::Stored* out) {
    const float* from = q.weight + first * q.width;
    for (int64_t i = 0; i < count * q.width; i += B::kLanes) B::keep(out + i, B::load(from + i));
    const int64_t end = rounded_up(count, kTile) * q.width;
    std::memset(out + count * q.width, 0, (end - count * q.width) * sizeof *out);
}

// Rounded items as the left side of a product over the width: [tile][width / kPair][kTile][kPair].
template <class B>
inline void pack_items(const typename B::Stored* rounded, int64_t count, int64_t width, typename B::Stored* out) {
    const int64_t steps = units<B>(width);
    const char* from = reinterpret_cast<const char*>(rounded);
    char* to = reinterpret_cast<char*>(out);
    for (int64_t tile = 0; tile < count; tile += kTile, from += kTile * steps * 4)
        for (int64_t k = 0; k < steps; ++k)
            for (int t = 0; t < kTile; ++t, to += 4) std::memcpy(to, from + (t * steps + k) * 4, 4);
}

// The same as the left side of a product over the items: [tile of columns][items / kPair][kTile][kPair].
// ``line``: room for a row to a whole tile of columns.
template <class B>
inline void pack_columns(const typename B::Stored* rounded, int64_t count, int64_t width, uint32_t* line,
                         typename B::Stored* out) {
    const int64_t steps = rounded_up(count, B::kPair) / B::kPair;
    uint32_t* to = reinterpret_cast<uint32_t*>(out);
    for (int64_t c = width; c < rounded_up(width, kTile); ++c) line[c] = 0;
    for (int64_t step = 0; step < steps; ++step, rounded += B::kPair * width, to += kTile) {
        if constexpr (B::kPair == 1) {
            std::memcpy(line, rounded, width * sizeof *line);
        } else {
            for (int64_t c = 0; c < width; ++c) line[c] = rounded[c] | static_cast<uint32_t>(rounded[width + c]) << 16;
        }
        for (int64_t c = 0; c < width; c += kTile) std::memcpy(to + c * steps, line + c, kTile * sizeof *line);
    }
}

// Scores of a block of items for a panel, without bias: [item][lane], to a whole tile of items.
template <class B, int Vectors>
inline void score_block(const typename B::Stored* items, const typename B::Stored* states, int64_t count,
                        int64_t width, float* out) {
    constexpr int64_t kRow = Vectors * B::kLanes;
    for (int64_t i = 0; i < count; i += kTile)
        product<B, Vectors, B::kPair, kTile * B::kPair>(items + i * width, states, 1, 0, width / B::kPair,
                                                        out + i * kRow, kRow, false);
}

}  // namespace
}  // namespace seqward
