// Log-sum-exp over all items and its gradients: what cross-entropy and the conservative term cost.
//
// Forward, for each block of items and panel of rows, all of it in the nearest cache:
//   1. scores[item][row] = weight . state                                   a product over the width
//      whose largest is found, and with it, if asked, the best item of a row
//   2. e = 2^(score - shift); total[row] += e; e may be kept                element by element
//   3. mean[column][row] += weight[item][column] * e[item][row]             a product over the items
// Backward, once the totals are known, for each block of items:
//   4. grad_weight[item][column] += e[item][row] * (grad * state / total)   a product over the rows
//
// Nothing overflows: the shift of a row is the largest score it had met when a block outgrew it by more than kSlack;
// then what was summed so far is scaled down. So each e is at most 2^kSlack, and the largest of all is at least 1.
// The shift is written down for each block, since what was kept before it changed has the old one.

#pragma once

#include <cmath>
#include <new>

#include "product.hpp"
#include "questions.hpp"
#include "rank.hpp"

namespace seqward {
namespace {  // a copy for each file that includes it, compiled for the processor of that file

constexpr float kSlack = 24.0f;
constexpr float kLowest = -3.4028234e38f;  // instead of -inf, since -inf - -inf is NaN
constexpr int64_t kSweep = 2048;           // rows that go over the catalogue together, so that an item is packed for many
constexpr int64_t kReach = 128;            // rows that the way back takes at a time
constexpr int64_t kGroup = 8;              // blocks of items for which their packed states serve

template <class B>
inline typename B::Vec power_of_2(typename B::Vec x) {
    x = B::max(B::all(B::kFloor), x);  // in this order NaN stays
    const auto whole = B::whole(x);
    const auto f = B::sub(x, whole);
    // Scores of operands that were rounded to eight bits are further off than the shorter one is.
    constexpr int kDegree = B::kPair == 1 ? 5 : 4;
    const float* const poly = B::kPair == 1 ? kPoly : kShortPoly;
    auto p = B::all(poly[kDegree]);
    for (int i = kDegree - 1; i >= 0; --i) p = B::fma(p, f, B::all(poly[i]));
    return B::scale(p, whole);
}

enum class Keep { no, soon, past_cache };  // kept numbers: none, or those that are read soon, or only after many more

// Step 2 for ``count`` items of a panel. ``block``: their scores; replaced by e where kPair is 1, else e goes to
// ``pairs`` as the right side of a product over the items. ``kept`` takes [item][lane].
template <class B, int Vectors, Keep how>
inline void exponentials(float* block, typename B::Stored* pairs, typename B::Stored* kept, const float* bias,
                         float scale, int64_t count, const float* shift, float* total) {
    using Vec = typename B::Vec;
    constexpr int64_t kRow = Vectors * B::kLanes;
    Vec away[Vectors], sum[Vectors];
    for (int v = 0; v < Vectors; ++v) away[v] = B::load(shift + v * B::kLanes), sum[v] = B::all(0.0f);
    const auto step = [&](int64_t i, auto real) {
        for (int v = 0; v < Vectors; ++v) {
            Vec e[B::kPair];
            for (int p = 0; p < B::kPair; ++p) {
                if (p >= real) {
                    e[p] = B::all(0.0f);
                    continue;
                }
                const int64_t at = (i + p) * kRow + v * B::kLanes;
                Vec x = B::load(block + at);
                if (bias) x = B::add(x, B::all(bias[i + p] * scale));
                e[p] = power_of_2<B>(B::sub(x, away[v]));
                sum[v] = B::add(sum[v], e[p]);
                if constexpr (how == Keep::soon) B::keep(kept + at, e[p]);
                if constexpr (how == Keep::past_cache) B::keep_past_cache(kept + at, e[p]);
            }
            if constexpr (B::kPair == 1) {
                B::store(block + i * kRow + v * B::kLanes, e[0]);
            } else {
                B::keep_pairs(pairs + i * kRow + v * B::kLanes * 2, e[0], e[1]);
            }
        }
    };
    int64_t i = 0;
    for (; i + B::kPair <= count; i += B::kPair) step(i, std::integral_constant<int, B::kPair>{});
    if (i < count) step(i, std::integral_constant<int, 1>{});
    if (total)
        for (int v = 0; v < Vectors; ++v)
            B::store(total + v * B::kLanes, B::add(B::load(total + v * B::kLanes), sum[v]));
}

// Raises the shift of rows that a block outgrew, and scales down what they have summed. ``largest``: [lane] out, of
// the block.
template <class B, int Vectors>
inline void raise_shift(const float* block, const float* bias, float scale, int64_t count, int64_t columns,
                        float* shift, float* total, float* mean, float* largest) {
    using Vec = typename B::Vec;
    constexpr int64_t kRow = Vectors * B::kLanes;
    largest_of<B, Vectors>(block, bias, scale, count, largest);
    for (int v = 0; v < Vectors; ++v) {
        const Vec best = B::max(B::load(largest + v * B::kLanes), B::all(kLowest));
        B::store(largest + v * B::kLanes, best);
        const Vec old = B::load(shift + v * B::kLanes);
        const auto grown = B::above(best, B::add(old, B::all(kSlack)));
        if (!B::any(grown)) continue;
        const Vec now = B::either(grown, best, old);
        const Vec factor = B::either(grown, power_of_2<B>(B::sub(old, now)), B::all(1.0f));
        B::store(shift + v * B::kLanes, now);
        for (int64_t c = -1; c < columns; ++c) {
            float* sum = (c < 0 ? total : mean + c * kRow) + v * B::kLanes;
            B::store(sum, B::mul(B::load(sum), factor));
        }
    }
}

// What the rows of one panel carry along the sweep, in a thread's workspace.
template <class B>
struct Panel {
    int64_t row;
    int64_t vectors;
    typename B::Stored* states;  // packed
    float* shift;                // [lane]
    float* total;                // [lane]
    float* mean;                 // [column][lane], to a whole tile of columns
};

template <class B>
int sum(const Sum& q, int64_t first_row, int64_t last_row) {
    using Stored = typename B::Stored;
    constexpr int64_t kPanel = panel_of<B>(), kBlock = B::kBlock;
    const Scores& s = q.scores;
    const int64_t columns = q.mean ? rounded_up(s.width, kTile) : 0;
    const int64_t padded_rows = rounded_up(s.rows, B::kLanes);
    const int64_t sweep = smaller(rounded_up(kSweep, kPanel), rounded_up(last_row - first_row, kPanel));
    Workspace space(Workspace::size(sweep * s.width, sizeof(Stored)) + 2 * Workspace::size(sweep, sizeof(float)) +
                    Workspace::size(sweep * columns, sizeof(float)) +
                    2 * Workspace::size(kBlock * s.width, sizeof(Stored)) +
                    Workspace::size(kBlock * columns, sizeof(Stored)) + Workspace::size(kBlock * kPanel, sizeof(float)) +
                    Workspace::size(kBlock * kPanel, sizeof(Stored)) + Workspace::size(2 * s.width, sizeof(float)) +
                    Workspace::size(columns, sizeof(uint32_t)));
    if (!space.ok()) return 1;
    Stored* const states = space.part<Stored>(sweep * s.width);
    float* const shift = space.part<float>(sweep);
    float* const total = space.part<float>(sweep);
    float* const mean = space.part<float>(sweep * columns);
    Stored* const rounded = space.part<Stored>(kBlock * s.width);
    Stored* const items = space.part<Stored>(kBlock * s.width);
    Stored* const across = space.part<Stored>(kBlock * columns);
    float* const block = space.part<float>(kBlock * kPanel);
    Stored* const pairs = space.part<Stored>(kBlock * kPanel);
    float* const terms = space.part<float>(2 * s.width);
    uint32_t* const line = space.part<uint32_t>(columns);

    for (int64_t start = first_row; start < last_row; start += sweep) {
        const int64_t stop = smaller(start + sweep, last_row);
        const auto panel_at = [&](int64_t row) {
            const int64_t at = row - start;
            return Panel<B>{row, vectors_at<B>(row, s.rows), states + at * s.width, shift + at, total + at,
                            mean + at * columns};
        };
        for (int64_t row = start; row < stop; row += kPanel) {
            const Panel<B> p = panel_at(row);
            pack_states<B>(s, row, p.vectors * B::kLanes, p.states);
        }
        for (int64_t i = 0; i < sweep; ++i) shift[i] = kLowest, total[i] = 0.0f;
        for (int64_t i = 0; i < sweep * columns; ++i) mean[i] = 0.0f;

        for (int64_t first = 0; first < s.items; first += kBlock) {
            const int64_t count = smaller(kBlock, s.items - first);
            const int64_t even = rounded_up(count, B::kPair);
            const float* bias = s.bias ? s.bias + first : nullptr;
            round_items<B>(s, first, count, rounded);
            pack_items<B>(rounded, count, s.width, items);
            if (columns) pack_columns<B>(rounded, count, s.width, line, across);
            for (int64_t row = start; row < stop; row += kPanel) {
                const Panel<B> p = panel_at(row);
                const int64_t place = first / kBlock * padded_rows + row;
                Stored* kept = q.kept ? static_cast<Stored*>(q.kept) + place * kBlock : nullptr;
                with_vectors<B::kVectors>(p.vectors, [&](auto vectors) {
                    constexpr int kVectors = decltype(vectors)::value;
                    constexpr int64_t kRow = kVectors * B::kLanes;
                    score_block<B, kVectors>(items, p.states, count, s.width, block);
                    float largest[kRow];
                    raise_shift<B, kVectors>(block, bias, s.scale, count, columns, p.shift, p.total, p.mean, largest);
                    if (q.best) keep_best<B, kRow>(*q.best, row, first, count, block, largest, s.scale, terms);
                    if (q.shift)
                        for (int64_t lane = 0; lane < kRow; ++lane) q.shift[place + lane] = p.shift[lane];
                    if (kept)
                        exponentials<B, kVectors, Keep::past_cache>(block, pairs, kept, bias, s.scale, count, p.shift,
                                                                    p.total);
                    else
                        exponentials<B, kVectors, Keep::no>(block, pairs, nullptr, bias, s.scale, count, p.shift,
                                                            p.total);
                    const Stored* right;
                    if constexpr (B::kPair == 1) {
                        right = block;
                    } else {
                        right = pairs;
                    }
                    for (int64_t c = 0; c < columns; c += kTile)
                        product<B, kVectors, B::kPair, kTile * B::kPair>(across + c * even, right, 1, 0,
                                                                         even / B::kPair, p.mean + c * kRow, kRow, true);
                });
            }
        }
        for (int64_t row = start; row < stop; ++row) {
            const int64_t within = (row - start) % kPanel;
            const Panel<B> p = panel_at(row - within);
            q.total[row] = p.shift[within] + std::log2(p.total[within]);
            for (int64_t c = 0; q.mean && c < s.width; ++c)
                q.mean[row * s.width + c] = p.mean[c * p.vectors * B::kLanes + within] / p.total[within];
        }
    }
    B::finish();
    return 0;
}

// states * factor of rows [row, row + count) as the right side of a product over the rows:
// [group of columns][count / kPair][lane][kPair]; 0 beyond the last row.
template <class B>
inline void pack_weighted(const Scores& s, int64_t row, int64_t count, const float* factor,
                          typename B::Stored* out) {
    const int64_t most = B::kVectors * B::kLanes;
    const auto weighted = [&](int64_t r, int64_t c) {
        return row + r < s.rows ? B::mul(B::load(s.states + (row + r) * s.width + c), B::all(factor[r])) : B::all(0.0f);
    };
    for (int64_t r = 0; r < count; r += B::kPair)
        for (int64_t c = 0; c < s.width; c += B::kLanes) {
            const int64_t group = c / most * most, lanes = smaller(most, s.width - group);
            typename B::Stored* to = out + group * count + r * lanes + (c - group) * B::kPair;
            if constexpr (B::kPair == 1) {
                B::keep(to, weighted(r, c));
            } else {
                B::keep_pairs(to, weighted(r, c), weighted(r + 1, c));
            }
        }
}

// Step 4 for the rows of one reach and one block of items. ``e``: [panel][item][lane].
template <class B>
inline void spread_block(const Spread& q, const typename B::Stored* e, int64_t count_rows, int64_t first,
                         int64_t count, const typename B::Stored* weighted, const float* factor, float* tile) {
    using Stored = typename B::Stored;
    constexpr int64_t kPanel = panel_of<B>(), kBlock = B::kBlock;
    const int64_t width = q.sum.scores.width, whole = count_rows / kPanel, rest = count_rows % kPanel;
    for (int64_t c = 0; c < width; c += kPanel) {
        const Stored* right = weighted + c * count_rows;
        with_vectors<B::kVectors>((width - c) / B::kLanes, [&](auto vectors) {
            constexpr int kVectors = decltype(vectors)::value;
            constexpr int64_t kRow = kVectors * B::kLanes;
            for (int64_t i = 0; i < count; i += kTile) {
                // Straight into the gradient, but at the end of the catalogue by way of a tile that is whole.
                const bool fits = i + kTile <= count;
                float* to = q.grad_weight + (first + i) * width + c;
                float* out = fits ? to : tile;
                const int64_t step = fits ? width : kRow;
                for (int64_t t = 0; !fits && t < count - i; ++t)
                    for (int64_t lane = 0; lane < kRow; ++lane) tile[t * kRow + lane] = to[t * width + lane];
                // They come from memory, in pieces that no processor foresees: call for those of the next tile but one.
                for (int64_t panel = 0; c == 0 && i + 2 * kTile < kBlock && panel < whole; ++panel)
                    for (int64_t at = 0; at < kTile * kPanel; at += 64 / int64_t(sizeof(Stored)))
                        fetch_soon(e + (panel * kBlock + i + 2 * kTile) * kPanel + at);
                product<B, kVectors, int(kPanel), B::kPair>(e + i * kPanel, right, whole, kBlock * kPanel,
                                                            kPanel / B::kPair, out, step, true);
                // The last panel may be narrower: then its items lie closer.
                if (rest)
                    with_vectors<B::kVectors>(rest / B::kLanes, [&](auto narrow) {
                        constexpr int kNarrow = decltype(narrow)::value * B::kLanes;
                        product<B, kVectors, kNarrow, B::kPair>(e + whole * kPanel * kBlock + i * kNarrow,
                                                                right + whole * kPanel * kRow, 1, 0, kNarrow / B::kPair,
                                                                out, step, true);
                    });
                for (int64_t t = 0; !fits && t < count - i; ++t)
                    for (int64_t lane = 0; lane < kRow; ++lane) to[t * width + lane] = tile[t * kRow + lane];
            }
        });
    }
    for (int64_t i = 0; q.grad_bias && i < count; ++i) {
        auto sum = B::all(0.0f);
        for (int64_t r = 0; r < count_rows; r += kPanel) {
            const int64_t lanes = smaller(kPanel, count_rows - r);
            const Stored* from = e + r * kBlock + i * lanes;
            for (int64_t lane = 0; lane < lanes; lane += B::kLanes)
                sum = B::fma(B::widened(from + lane), B::load(factor + r + lane), sum);
        }
        q.grad_bias[first + i] += B::fold(sum);
    }
}

template <class B>
int spread(const Spread& q, int64_t first_block, int64_t last_block) {
    using Stored = typename B::Stored;
    constexpr int64_t kPanel = panel_of<B>(), kBlock = B::kBlock;
    const Sum& a = q.sum;
    const Scores& s = a.scores;
    const int64_t padded_rows = rounded_up(s.rows, B::kLanes), reach = rounded_up(kReach, kPanel);
    Workspace space(Workspace::size(reach * s.width, sizeof(Stored)) * 2 + Workspace::size(reach, sizeof(float)) * 2 +
                    Workspace::size(kTile * kPanel, sizeof(float)) +
                    2 * Workspace::size(kBlock * s.width, sizeof(Stored)) +
                    Workspace::size(kBlock * kPanel, sizeof(float)) + Workspace::size(kBlock * kPanel, sizeof(Stored)) +
                    Workspace::size(kBlock * reach, sizeof(Stored)));
    if (!space.ok()) return 1;
    Stored* const weighted = space.part<Stored>(reach * s.width);
    Stored* const states = space.part<Stored>(reach * s.width);
    float* const factor = space.part<float>(reach);
    float* const shift = space.part<float>(reach);
    float* const tile = space.part<float>(kTile * kPanel);
    Stored* const rounded = space.part<Stored>(kBlock * s.width);
    Stored* const items = space.part<Stored>(kBlock * s.width);
    float* const block = space.part<float>(kBlock * kPanel);
    Stored* const pairs = space.part<Stored>(kBlock * kPanel);
    Stored* const again = space.part<Stored>(kBlock * reach);

    for (int64_t group = first_block; group < last_block; group += kGroup) {
        const int64_t group_end = smaller(group + kGroup, last_block);
        for (int64_t row = 0; row < s.rows; row += reach) {
            const int64_t rows = smaller(reach, padded_rows - row);
            bool packed = false;
            if (!a.kept)
                for (int64_t r = 0; r < rows; r += kPanel)
                    pack_states<B>(s, row + r, smaller(kPanel, rows - r), states + r * s.width);
            for (int64_t b = group; b < group_end; ++b) {
                const int64_t first = b * kBlock, count = smaller(kBlock, s.items - first);
                const int64_t place = b * padded_rows + row;
                // What was kept is the share of the sum but for a factor of its row, which changes where the shift does.
                for (int64_t r = 0; r < rows; ++r) {
                    const bool real = row + r < s.rows;
                    const float now = a.kept ? a.shift[place + r] : (real ? a.total[row + r] : -kLowest);  // 2^-huge is 0
                    if (packed && bits_of(now) == bits_of(shift[r])) continue;
                    packed = false;
                    shift[r] = now;
                    factor[r] = real ? q.grad[row + r] : 0.0f;
                    if (real && a.kept) factor[r] *= std::exp2(now - a.total[row + r]);
                }
                if (!packed) pack_weighted<B>(s, row, rows, factor, weighted);
                packed = true;
                const Stored* e = a.kept ? static_cast<const Stored*>(a.kept) + place * kBlock : again;
                if (!a.kept) {
                    round_items<B>(s, first, count, rounded);
                    pack_items<B>(rounded, count, s.width, items);
                    for (int64_t r = 0; r < rows; r += kPanel)
                        with_vectors<B::kVectors>(smaller(kPanel, rows - r) / B::kLanes, [&](auto vectors) {
                            constexpr int kVectors = decltype(vectors)::value;
                            score_block<B, kVectors>(items, states + r * s.width, count, s.width, block);
                            exponentials<B, kVectors, Keep::soon>(block, pairs, again + r * kBlock,
                                                                  s.bias ? s.bias + first : nullptr, s.scale, count,
                                                                  shift + r, nullptr);
                        });
                }
                spread_block<B>(q, e, rows, first, count, weighted, factor, tile);
            }
        }
    }
    return 0;
}

}  // namespace
}  // namespace seqward
