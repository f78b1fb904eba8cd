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

// The score of one row and item: products, then halves added up until one is left. Compiled without contraction to
// fused operations, which would round otherwise.
inline float settled(const Scores& q, int64_t row, int64_t item, float* terms) {
    const float* state = q.states + row * q.width;
    const float* weight = q.weight + item * q.width;
    int64_t width = 1;
    while (width < q.width) width *= 2;
    for (int64_t k = 0; k < width; ++k) terms[k] = k < q.width ? state[k] * weight[k] : 0.0f;
    for (int64_t half = width / 2; half > 0; half /= 2)
        for (int64_t k = 0; k < half; ++k) terms[k] += terms[k + half];
    return q.bias ? terms[0] + q.bias[item] : terms[0];
}

// Calls ``f(row, vectors, first item, count, scores [item][lane])`` for every panel of rows and block of items.
template <class B, class F>
int each_block(const Scores& s, int64_t first_row, int64_t last_row, F f) {
    using Stored = typename B::Stored;
    constexpr int64_t kPanel = panel_of<B>(), kBlock = B::kBlock;
    const int64_t sweep = smaller(rounded_up(2048, kPanel), rounded_up(last_row - first_row, kPanel));
    Workspace space(Workspace::size(sweep * s.width, sizeof(Stored)) + Workspace::size(kBlock * s.width, sizeof(Stored)) +
                    Workspace::size(kBlock * kPanel, sizeof(float)) + Workspace::size(2 * s.width, sizeof(float)));
    if (!space.ok()) return 1;
    Stored* const states = space.part<Stored>(sweep * s.width);
    Stored* const items = space.part<Stored>(kBlock * s.width);
    float* const block = space.part<float>(kBlock * kPanel);
    float* const terms = space.part<float>(2 * s.width);
    for (int64_t start = first_row; start < last_row; start += sweep) {
        const int64_t stop = smaller(start + sweep, last_row);
        for (int64_t row = start; row < stop; row += kPanel)
            pack_states<B>(s, row, vectors_at<B>(row, s.rows) * B::kLanes, states + (row - start) * s.width);
        for (int64_t first = 0; first < s.items; first += kBlock) {
            const int64_t count = smaller(kBlock, s.items - first);
            pack_items<B>(s, first, count, items);
            for (int64_t row = start; row < stop; row += kPanel)
                with_vectors<B::kVectors>(vectors_at<B>(row, s.rows), [&](auto vectors) {
                    score_block<B, decltype(vectors)::value>(items, states + (row - start) * s.width, count, s.width,
                                                             block);
                    f(row, vectors, first, count, block, terms);
                });
        }
    }
    return 0;
}

template <class B>
int rank(const Rank& q, int64_t first_row, int64_t last_row) {
    const Scores& s = q.scores;
    return each_block<B>(s, first_row, last_row, [&](int64_t row, auto vectors, int64_t first, int64_t count,
                                                     const float* block, float* terms) {
        constexpr int kVectors = decltype(vectors)::value;
        constexpr int64_t kRow = kVectors * B::kLanes;
        const int64_t lanes = smaller(kRow, s.rows - row);
        float bounds[2][kRow];  // lanes without a row: no score is above
        for (int64_t lane = 0; lane < kRow; ++lane)
            for (int side = 0; side < 2; ++side)
                bounds[side][lane] = lane < lanes ? (side ? q.high : q.low)[row + lane] : kHuge;
        typename B::Vec low[kVectors], high[kVectors];
        typename B::Count above[kVectors];
        for (int v = 0; v < kVectors; ++v) {
            low[v] = B::load(bounds[0] + v * B::kLanes), high[v] = B::load(bounds[1] + v * B::kLanes);
            above[v] = B::none();
        }
        const auto score = [&](int64_t i, int v) {
            const auto x = B::load(block + i * kRow + v * B::kLanes);
            return s.bias ? B::add(x, B::all(s.bias[first + i])) : x;
        };
        for (int64_t i = 0; i < count; ++i) {
            bool close = false;
            for (int v = 0; v < kVectors; ++v) {
                const auto x = score(i, v);
                const auto sure = B::above(x, high[v]);
                above[v] = B::count(above[v], sure);
                close |= B::bits(B::above(x, low[v])) != B::bits(sure);
            }
            if (!close) continue;
            for (int v = 0; v < kVectors; ++v) {
                const auto x = score(i, v);
                uint32_t open = B::bits(B::above(x, low[v])) & ~B::bits(B::above(x, high[v]));
                for (int64_t r = row + v * B::kLanes; open; ++r, open >>= 1) {
                    if (!(open & 1)) continue;
                    const float exact = settled(s, r, first + i, terms);
                    q.better[r] += exact > q.own[r] || (exact == q.own[r] && first + i < q.target[r]);
                }
            }
        }
        int32_t counts[kRow];
        for (int v = 0; v < kVectors; ++v) B::store(counts + v * B::kLanes, above[v]);
        for (int64_t lane = 0; lane < lanes; ++lane) q.better[row + lane] += counts[lane];
    });
}

// Settles what of a block may be the best of its row so far. ``block`` [item][lane]: products times ``scale``, ``bias``
// not among them. ``largest`` [lane]: their largest, the bias among them.
template <int64_t kRow>
inline void keep_best(const Best& q, int64_t row, int64_t first, int64_t count, const float* block, const float* largest,
                      float scale, float* terms) {
    const float* bias = q.scores.bias ? q.scores.bias + first : nullptr;
    for (int64_t lane = 0; lane < smaller(kRow, q.scores.rows - row); ++lane) {
        const int64_t r = row + lane;
        // Only what is near the best of the block and not far below the best so far can be the best of all.
        const float margin = q.margin[r] * scale;
        const float near = std::fmax(largest[lane] - 2 * margin, q.value[r] * scale - margin);
        if (!(largest[lane] >= near)) continue;
        for (int64_t i = 0; i < count; ++i) {
            const float x = block[i * kRow + lane] + (bias ? bias[i] * scale : 0.0f);
            if (x < near) continue;
            const float exact = settled(q.scores, r, first + i, terms);
            if (exact > q.value[r]) q.value[r] = exact, q.item[r] = first + i;  // the first of equals stays
        }
    }
}

template <class B>
int best(const Best& q, int64_t first_row, int64_t last_row) {
    const Scores& s = q.scores;
    return each_block<B>(s, first_row, last_row, [&](int64_t row, auto vectors, int64_t first, int64_t count,
                                                     const float* block, float* terms) {
        constexpr int kVectors = decltype(vectors)::value;
        constexpr int64_t kRow = kVectors * B::kLanes;
        float largest[kRow];
        for (int v = 0; v < kVectors; ++v) {
            auto most = B::all(-INFINITY);
            for (int64_t i = 0; i < count; ++i) {
                auto x = B::load(block + i * kRow + v * B::kLanes);
                if (s.bias) x = B::add(x, B::all(s.bias[first + i]));
                most = B::max(x, most);
            }
            B::store(largest + v * B::kLanes, most);
        }
        keep_best<kRow>(q, row, first, count, block, largest, 1.0f, terms);
    });
}

}  // namespace
}  // namespace seqward
