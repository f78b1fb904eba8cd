// The k best items of one state, exactly, from a table of bytes that is a quarter of the rows' size.
//
// Reading the rows is what an answer costs: 18 MB at 70,852 items of width 64. So each row w is kept as whole numbers c in
// -127 .. 127 times a scale s, w = s c + e, and so is the state, h = t q + f. Then
//
//   h.w - (t q).(s c)  =  f.w + (t q).e          hence      |h.w - t s (q.c)|  <=  |f| |w| + |t q| |e|,
//
// where |.| is the length of a vector (Cauchy-Schwarz). q.c is a sum of whole numbers, exact on every processor. The
// lengths |w| and |e| are known beforehand (the largest of each block of kScreen rows is kept), so every score is known
// to within a margin that is proved, not hoped for. The margin also holds what fp32 loses: both the settled score and
// the estimate are a few roundings of |h| |w| + |bias| away from what they would be, as order.py derives.
//
// One walk over the table keeps the k largest lower bounds seen. No item below the least of them, ``floor``, can be
// among the k best, since k others are above it; what may be is noted, and scored at the end by ``settled``.

#pragma once

#include "rank.hpp"

namespace seqward {
namespace {

constexpr int64_t kNoted = 4096;  // items noted before they are scored, so that a million equal ones need no more room

struct Known {
    double score;
    int64_t item;
};

// Whether ``a`` is listed before ``b``.
inline bool before(const Known& a, const Known& b) {
    return a.score > b.score || (a.score == b.score && a.item < b.item);
}

// The ``room`` best of what was put in. A heap whose first entry is the worst: entry i is no better than its children,
// the entries 2 i + 1 and 2 i + 2. (Written out because a template of the standard library would be shared with files
// compiled for other processors.)
struct Heap {
    Known* entries;
    int64_t room, size;

    void put(Known x) {
        if (size == room) {
            if (!before(x, entries[0])) return;
            sink(x);
            return;
        }
        int64_t place = size++;
        for (; place > 0 && before(entries[(place - 1) / 2], x); place = (place - 1) / 2)
            entries[place] = entries[(place - 1) / 2];
        entries[place] = x;
    }
    // Replace the worst entry.
    void sink(Known x) {
        int64_t place = 0;
        for (int64_t child = 1; child < size; child = 2 * place + 1) {
            if (child + 1 < size && before(entries[child], entries[child + 1])) ++child;
            if (!before(x, entries[child])) break;
            entries[place] = entries[child];
            place = child;
        }
        entries[place] = x;
    }
    double least() const { return size == room ? entries[0].score : -INFINITY; }
    // Take the worst out.
    Known pop() {
        const Known worst = entries[0], last = entries[--size];
        if (size) sink(last);
        return worst;
    }
};

inline double length(const float* x, int64_t width) {
    double sum = 0.0;
    for (int64_t k = 0; k < width; ++k) sum += static_cast<double>(x[k]) * x[k];
    return std::sqrt(sum) * (1 + 1e-12);
}

// The state in whole numbers: h = step * code + what is left. ``left`` and ``kept`` are lengths, of f and of t q.
struct Coded {
    float step;
    double left, kept;
    int32_t sum;  // of q
};

inline Coded coded(const float* state, int64_t width, int8_t* code) {
    float largest = 0.0f;
    for (int64_t k = 0; k < width; ++k) largest = std::fmax(largest, std::fabs(state[k]));
    // Too small to divide by: all zeros, and everything is left over.
    const float step = largest < 1e-30f ? 0.0f : largest / 127.0f;
    double left = 0.0, kept = 0.0;
    int32_t sum = 0;
    for (int64_t k = 0; k < width; ++k) {
        const double whole = step > 0 ? std::fmax(-127.0, std::fmin(127.0, std::nearbyint(state[k] / step))) : 0.0;
        code[k] = static_cast<int8_t>(whole);
        sum += code[k];
        const double near = whole * step;
        left += (state[k] - near) * (state[k] - near), kept += near * near;
    }
    return {step, std::sqrt(left) * (1 + 1e-12), std::sqrt(kept) * (1 + 1e-12), sum};
}

// Among ascending numbers.
inline bool holds(const int64_t* numbers, int64_t count, int64_t x) {
    while (count > 0) {
        const int64_t middle = count / 2;
        if (numbers[middle] == x) return true;
        if (numbers[middle] < x) numbers += middle + 1, count -= middle + 1;
        else count = middle;
    }
    return false;
}

// Answers for the items of blocks [first, last) of the table. 0; 1 where memory is short; 2 where a score may not be
// finite.
template <class B>
int topk(const Topk& q, int64_t first_block, int64_t last_block) {
    const Scores& s = q.scores;
    const Table& table = q.table;
    Workspace space(Workspace::size(s.width, sizeof(int8_t)) + Workspace::size(2 * s.width, sizeof(float)) +
                    Workspace::size(2 * q.k + kNoted, sizeof(Known)));
    if (!space.ok()) return 1;
    int8_t* const code = space.part<int8_t>(s.width);
    float* const terms = space.part<float>(2 * s.width);
    Known* const room = space.part<Known>(2 * q.k + kNoted);
    Heap lower{room, q.k, 0}, best{room + q.k, q.k, 0};
    Known* const noted = room + 2 * q.k;
    int64_t n_noted = 0;

    const Coded state = coded(s.states, s.width, code);
    const double size = length(s.states, s.width);
    const double rounding = (s.width + 20) * 0x1p-24, lost = s.width * 0x1p-120;
    double floor = -INFINITY;
    // Score what was noted and is not below the floor by now.
    const auto settle = [&] {
        for (int64_t n = 0; n < n_noted; ++n)
            if (noted[n].score >= floor) best.put({settled<B>(s, 0, noted[n].item, terms), noted[n].item});
        n_noted = 0;
        floor = std::fmax(floor, best.least());
    };

    for (int64_t block = first_block; block < last_block; ++block) {
        const double longest = table.norm[block], bound = size * longest + table.offset[block];
        if (!(bound < kHuge / 2)) return 2;
        const double margin = state.left * longest + state.kept * table.residual[block] + rounding * bound + lost;
        const int64_t start = block * kScreen;
        int32_t products[kScreen];
        float near[kScreen];
        B::whole_products(table.codes + start * s.width, code, s.width / 4, state.sum, products);
        for (int i = 0; i < kScreen; ++i)
            near[i] = static_cast<float>(products[i]) * (state.step * table.scale[start + i]);
        if (table.bias)
            for (int i = 0; i < kScreen; ++i) near[i] += table.bias[start + i];
        const double limit = floor - margin;
        // As a float, and certainly smaller.
        const float least = static_cast<float>(limit - std::fabs(limit) * 0x1p-22 - 0x1p-120);
        uint64_t open = 0;
        for (int i = 0; i < kScreen; i += B::kLanes)
            open |= uint64_t{B::bits(B::above(B::load(near + i), B::all(least)))} << i;
        for (; open; open &= open - 1) {
            const int64_t i = lowest_bit(open);
            if (start + i >= s.items) break;
            const double upper = near[i] + margin;
            if (upper < floor || holds(q.excluded, q.n_excluded, start + i)) continue;
            lower.put({near[i] - margin, start + i});
            floor = std::fmax(floor, lower.least());
            noted[n_noted++] = {upper, start + i};
            if (n_noted == kNoted) settle();
        }
    }
    settle();
    for (int64_t n = best.size; n < q.k; ++n) q.value[n] = -INFINITY, q.item[n] = -1;
    while (best.size) {
        const Known worst = best.pop();
        q.value[best.size] = static_cast<float>(worst.score), q.item[best.size] = worst.item;
    }
    return 0;
}

}  // namespace
}  // namespace seqward
