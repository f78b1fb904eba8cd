// Orders over all items: the number of items that stand before a row's target, and a row's best item.
//
// A product gives each score to within a margin that the caller proves. What lies further from the score that it is
// compared with is decided by it; the few that do not are settled by one definition of a score, ``settled``, which
// src/seqward/catalogue/order.py shares to the bit. So what comes out does not depend on how the product was made.

#pragma once

#include "product.hpp"
#include "questions.hpp"

namespace seqward {
namespace {

constexpr float kHuge = 3.4028235e38f;
constexpr int kLaneBits = 6;  // of a place in a list of items and lanes
constexpr int kAhead = 4;     // places of such a list that are written at once

// Terms of a product, summed over its vectors as if halves were added up until one is left. Term i of kTerms; vectors
// beyond the width are 0.
template <class B, int kTerms, int kLeft = 1>
inline typename B::Vec halves(const float* state, const float* weight, int64_t width, int64_t i = 0) {
    if constexpr (kLeft == kTerms) {
        const int64_t k = i * B::kLanes;
        return k < width ? B::mul(B::load(state + k), B::load(weight + k)) : B::all(0.0f);
    } else {
        return B::add(halves<B, kTerms, 2 * kLeft>(state, weight, width, i),
                      halves<B, kTerms, 2 * kLeft>(state, weight, width, i + kLeft));
    }
}

// The score of one row and item: products, then halves added up until one is left. Compiled without contraction to
// fused operations, which would round otherwise. ``terms``: room for the width, rounded up to a power of two.
template <class B>
inline float settled(const Scores& q, int64_t row, int64_t item, float* terms) {
    const float* state = q.states + row * q.width;
    const float* weight = q.weight + item * q.width;
    typename B::Vec sum;
    if (q.width <= 4 * B::kLanes) {
        sum = halves<B, 4>(state, weight, q.width);
    } else if (q.width <= 8 * B::kLanes) {
        sum = halves<B, 8>(state, weight, q.width);
    } else {
        int64_t width = B::kLanes;
        while (width < q.width) width *= 2;
        for (int64_t k = 0; k < width; k += B::kLanes)
            B::store(terms + k, k < q.width ? B::mul(B::load(state + k), B::load(weight + k)) : B::all(0.0f));
        for (int64_t half = width / 2; half >= B::kLanes; half /= 2)
            for (int64_t k = 0; k < half; k += B::kLanes)
                B::store(terms + k, B::add(B::load(terms + k), B::load(terms + k + half)));
        sum = B::load(terms);
    }
    return q.bias ? B::fold(sum) + q.bias[item] : B::fold(sum);
}

// Rows are rounded before they are multiplied: h = a + e, w = b + f. So a product a.b is as far from h.w as
// |e.w + a.f|  <=  |e| |w| + |a| |f|  (Cauchy-Schwarz). These are the largest lengths of some rows and of their rests.
struct Lengths {
    float row, rest;
};

template <class B>
inline Lengths longest(const float* rows, int64_t count, int64_t width) {
    float row = 0.0f, rest = 0.0f;
    for (int64_t i = 0; i < count; ++i) {
        auto squares = B::all(0.0f), rests = B::all(0.0f);
        for (int64_t k = 0; k < width; k += B::kLanes) {
            const auto x = B::load(rows + i * width + k), left = B::sub(x, B::as_kept(x));
            squares = B::fma(x, x, squares), rests = B::fma(left, left, rests);
        }
        row = std::fmax(row, B::fold(squares)), rest = std::fmax(rest, B::fold(rests));
    }
    // More by what adding up may have lost, and by the length of what is too small to have a square.
    const float spare = 1 + width * 0x1p-23f, tiny = std::sqrt(static_cast<float>(width)) * 0x1p-62f;
    return {std::sqrt(row) * spare + tiny, std::sqrt(rest) * spare + tiny};
}

// Calls ``begin(first item, count)`` for every block of items, and ``f(row, vectors, first item, count, items, states,
// room, terms)`` for every panel of rows in it, with items and states packed. There is room for a score, or a place in a
// list, of each item and lane of the block, and kAhead more; and for the terms of one product.
template <class B, class Begin, class F>
int each_block(const Scores& s, int64_t first_row, int64_t last_row, Begin begin, F f) {
    using Stored = typename B::Stored;
    constexpr int64_t kPanel = panel_of<B>(), kBlock = B::kBlock;
    const int64_t sweep = smaller(rounded_up(2048, kPanel), rounded_up(last_row - first_row, kPanel));
    Workspace space(Workspace::size(sweep * s.width, sizeof(Stored)) +
                    2 * Workspace::size(kBlock * s.width, sizeof(Stored)) +
                    Workspace::size(kBlock * kPanel + kAhead, sizeof(float)) +
                    Workspace::size(2 * s.width, sizeof(float)));
    if (!space.ok()) return 1;
    Stored* const states = space.part<Stored>(sweep * s.width);
    Stored* const rounded = space.part<Stored>(kBlock * s.width);
    Stored* const items = space.part<Stored>(kBlock * s.width);
    float* const block = space.part<float>(kBlock * kPanel + kAhead);
    float* const terms = space.part<float>(2 * s.width);
    for (int64_t start = first_row; start < last_row; start += sweep) {
        const int64_t stop = smaller(start + sweep, last_row);
        for (int64_t row = start; row < stop; row += kPanel)
            pack_states<B>(s, row, vectors_at<B>(row, s.rows) * B::kLanes, states + (row - start) * s.width);
        for (int64_t first = 0; first < s.items; first += kBlock) {
            const int64_t count = smaller(kBlock, s.items - first);
            begin(first, count);
            round_items<B>(s, first, count, rounded);
            pack_items<B>(rounded, count, s.width, items);
            for (int64_t row = start; row < stop; row += kPanel)
                with_vectors<B::kVectors>(vectors_at<B>(row, s.rows), [&](auto vectors) {
                    f(row, vectors, first, count, items, states + (row - start) * s.width, block, terms);
                });
        }
    }
    return 0;
}

// Counts, for the items of one tile, those whose product is above ``high``: above[lane] += it. ``open`` takes a bit for
// each lane of an item whose product lies between ``low`` and ``high``; returns whether there are any.
template <class B, int Vectors>
SEQWARD_APART bool count_tile(const typename B::Stored* items, const typename B::Stored* states, int64_t steps,
                              int64_t count, const float* bias, const float* low, const float* high, int32_t* above,
                              uint64_t* open) {
    static_assert(Vectors * B::kLanes <= 64);
    typename B::Vec score[kTile][Vectors];
    for (int t = 0; t < kTile; ++t)
        for (int v = 0; v < Vectors; ++v) score[t][v] = B::all(t < count && bias ? bias[t] : 0.0f);
    multiply<B, Vectors, B::kPair, kTile * B::kPair>(items, states, 1, 0, steps, score);
    uint64_t any = 0;
    for (int t = 0; t < kTile; ++t) open[t] = 0;
    for (int v = 0; v < Vectors; ++v) {
        const auto least = B::load(low + v * B::kLanes), most = B::load(high + v * B::kLanes);
        auto sum = B::load(above + v * B::kLanes);
        for (int t = 0; t < kTile; ++t) {
            if (t >= count) break;
            const auto sure = B::above(score[t][v], most);
            sum = B::count(sum, sure);
            const uint64_t close = B::bits(B::above(score[t][v], least)) ^ B::bits(sure);
            open[t] |= close << v * B::kLanes, any |= close;
        }
        B::store(above + v * B::kLanes, sum);
    }
    return any != 0;
}

// Lists the bits of a tile behind ``listed``, each as its item in the block, of which ``item`` is the tile's first, and
// its lane; returns where the list ends. Places are written before it is known whether they are needed, as many as an
// item seldom exceeds: a branch for each bit would be one that nobody can foresee.
inline uint32_t* list_open(const uint64_t* open, uint32_t item, uint32_t* listed) {
    for (int t = 0; t < kTile; ++t, ++item) {
        uint64_t left = open[t];
        uint32_t* place = listed;
        listed += count_bits(left);
        do {
            for (int n = 0; n < kAhead; ++n, left &= left - 1)
                *place++ = item << kLaneBits | lowest_bit(left | 1ull << 63);  // none has no lowest
        } while (left);
    }
    return listed;
}

template <class B>
int rank(const Rank& q, int64_t first_row, int64_t last_row) {
    const Scores& s = q.scores;
    // Rounding widens the margin of a row and a block by what the lengths of both allow.
    constexpr bool kRounds = B::kPair > 1;
    Workspace space(kRounds ? Workspace::size(last_row - first_row, sizeof(Lengths)) : 0);
    if (!space.ok()) return 1;
    Lengths* const state = space.part<Lengths>(kRounds ? last_row - first_row : 0);
    if constexpr (kRounds)
        for (int64_t row = first_row; row < last_row; ++row)
            state[row - first_row] = longest<B>(s.states + row * s.width, 1, s.width);
    Lengths items{0.0f, 0.0f};
    const auto begin = [&](int64_t first, int64_t count) {
        if constexpr (kRounds) items = longest<B>(s.weight + first * s.width, count, s.width);
    };
    return each_block<B>(s, first_row, last_row, begin, [&](int64_t row, auto vectors, int64_t first, int64_t count,
                                                            const auto* packed, const auto* states, float* room,
                                                            float* terms) {
        constexpr int kVectors = decltype(vectors)::value;
        constexpr int64_t kRow = kVectors * B::kLanes;
        static_assert(kRow <= 1 << kLaneBits);
        const int64_t lanes = smaller(kRow, s.rows - row);
        float bounds[2][kRow];  // lanes without a row, and targets that are no candidates: no score is above
        for (int64_t lane = 0; lane < kRow; ++lane) bounds[0][lane] = bounds[1][lane] = kHuge;
        for (int64_t lane = 0; lane < lanes; ++lane) {
            const float own = q.own[row + lane];
            float margin = q.margin[row + lane];
            if constexpr (kRounds) {
                const Lengths& of = state[row + lane - first_row];
                // What is multiplied may be longer than what was rounded, by 2^-8 each.
                margin = margin * (1 + 0x1p-6f) +
                         (of.rest * items.row + (of.row + of.rest) * items.rest) * (1 + 0x1p-20f);
            }
            if (own == -INFINITY) continue;
            // What is not above the lower bound is certainly not better, so that bound lies below all that might be.
            const float least = own - margin;
            bounds[0][lane] = least - std::fabs(least) * 0x1p-22f - 0x1p-126f, bounds[1][lane] = own + margin;
        }
        int32_t counts[kRow] = {};
        uint32_t *const list = reinterpret_cast<uint32_t*>(room), *end = list;
        for (int64_t i = 0; i < count; i += kTile) {
            uint64_t open[kTile];
            if (count_tile<B, kVectors>(packed + i * s.width, states, s.width / B::kPair, smaller(kTile, count - i),
                                        s.bias ? s.bias + first + i : nullptr, bounds[0], bounds[1], counts, open))
                end = list_open(open, static_cast<uint32_t>(i), end);
        }
        for (const uint32_t* one = list; one < end; ++one) {
            const int64_t item = first + (*one >> kLaneBits), lane = *one & ((1 << kLaneBits) - 1), r = row + lane;
            const float exact = settled<B>(s, r, item, terms);
            counts[lane] += int(exact > q.own[r]) | (int(exact == q.own[r]) & int(item < q.target[r]));
        }
        for (int64_t lane = 0; lane < lanes; ++lane) q.better[row + lane] += counts[lane];
    });
}

// The largest score of a block in each lane. ``block`` [item][lane]: products, to which ``bias`` times ``scale`` comes.
template <class B, int Vectors>
inline void largest_of(const float* block, const float* bias, float scale, int64_t count, float* out) {
    typename B::Vec largest[Vectors];
    for (int v = 0; v < Vectors; ++v) largest[v] = B::all(-INFINITY);
    for (int64_t i = 0; i < count; ++i)
        for (int v = 0; v < Vectors; ++v) {
            auto x = B::load(block + (i * Vectors + v) * B::kLanes);
            if (bias) x = B::add(x, B::all(bias[i] * scale));
            largest[v] = B::max(x, largest[v]);
        }
    for (int v = 0; v < Vectors; ++v) B::store(out + v * B::kLanes, largest[v]);
}

// Settles what of a block may be the best of its row so far. ``block`` [item][lane]: products times ``scale``, ``bias``
// not among them. ``largest`` [lane]: their largest, the bias among them.
template <class B, int64_t kRow>
inline void keep_best(const Best& q, int64_t row, int64_t first, int64_t count, const float* block, const float* largest,
                      float scale, float* terms) {
    const float* bias = q.scores.bias ? q.scores.bias + first : nullptr;
    const int64_t lanes = smaller(kRow, q.scores.rows - row);
    // Only what is near the best of the block and not far below the best so far can be the best of all.
    float least[kRow];
    int32_t open = 0;
    for (int64_t lane = 0; lane < lanes; ++lane) {
        const float margin = q.margin[row + lane] * scale;
        const float here = largest[lane] - 2 * margin, before = q.value[row + lane] * scale - margin;
        least[lane] = here > before ? here : before;
        open |= largest[lane] >= least[lane];
    }
    for (int64_t lane = 0; open && lane < lanes; ++lane) {
        if (!(largest[lane] >= least[lane])) continue;
        const int64_t r = row + lane;
        for (int64_t i = 0; i < count; ++i) {
            const float x = block[i * kRow + lane] + (bias ? bias[i] * scale : 0.0f);
            if (x < least[lane]) continue;
            const float exact = settled<B>(q.scores, r, first + i, terms);
            if (exact > q.value[r]) q.value[r] = exact, q.item[r] = first + i;  // the first of equals stays
        }
    }
}

template <class B>
int best(const Best& q, int64_t first_row, int64_t last_row) {
    const Scores& s = q.scores;
    const auto begin = [](int64_t, int64_t) {};
    return each_block<B>(s, first_row, last_row, begin, [&](int64_t row, auto vectors, int64_t first, int64_t count,
                                                            const auto* packed, const auto* states, float* block,
                                                            float* terms) {
        constexpr int kVectors = decltype(vectors)::value;
        constexpr int64_t kRow = kVectors * B::kLanes;
        score_block<B, kVectors>(packed, states, count, s.width, block);
        float largest[kRow];
        largest_of<B, kVectors>(block, s.bias ? s.bias + first : nullptr, 1.0f, count, largest);
        keep_best<B, kRow>(q, row, first, count, block, largest, 1.0f, terms);
    });
}

}  // namespace
}  // namespace seqward
