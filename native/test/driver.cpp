// Every variant that this processor runs, on odd sizes and in three threads, under the sanitizers of addresses, of
// undefined behaviour and of threads (tests/catalogue/test_sanitizers.py). Each array of the caller ends where it ends:
// one number read or written beyond it is an error. Values are held to plain sums in double precision here, so that the
// driver is not run on nonsense.

#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "../questions.hpp"

using namespace seqward;

extern "C" {
int seqward_variants();
const char* seqward_name(int);
int seqward_runs(int);
void seqward_shape(int, Shape*);
int seqward_sum(int, const void*, int64_t, int64_t);
int seqward_spread(int, const void*, int64_t, int64_t);
int seqward_rank(int, const void*, int64_t, int64_t);
int seqward_best(int, const void*, int64_t, int64_t);
int seqward_topk(int, const void*, int64_t, int64_t);
void seqward_together(void (*)(void (*)(void*), void*, unsigned, unsigned), Parts*, unsigned);
}

namespace {

uint32_t seed = 1;

float number() {  // in [-1, 1)
    seed = seed * 1664525u + 1013904223u;
    return static_cast<float>(seed >> 8) / 8388608.0f - 1.0f;
}

std::vector<float> numbers(int64_t count) {
    std::vector<float> out(count);
    for (float& x : out) x = number();
    return out;
}

void expect(bool holds, const char* what, const char* name, int64_t rows, int64_t items, int64_t width) {
    if (holds) return;
    std::printf("%s: wrong %s of %d x %d, width %d\n", name, what, int(rows), int(items), int(width));
    std::exit(1);
}

// As GOMP_parallel, whose own way to wait the sanitizer of threads does not understand. All begin together, or the first
// would have done everything before the last is there.
void team(void (*work)(void*), void* given, unsigned threads, unsigned) {
    std::atomic<unsigned> there{0};
    const auto begin = [&] {
        for (++there; there < threads;) std::this_thread::yield();
        work(given);
    };
    std::vector<std::thread> others;
    for (unsigned thread = 1; thread < threads; ++thread) others.emplace_back(begin);
    begin();
    for (std::thread& other : others) other.join();
}

using Answer = int(int, const void*, int64_t, int64_t);

// Whether every part of a question, of `step` rows or blocks each, was answered.
bool answered(Answer* answer, int variant, const void* question, int64_t count, int64_t step) {
    Parts parts{answer, variant, question, count, step, -1};
    seqward_together(team, &parts, 3);
    return parts.failed == 0;
}

void check(int variant, int64_t rows, int64_t items, int64_t width, bool with_bias, bool keep) {
    const char* name = seqward_name(variant);
    Shape shape;
    seqward_shape(variant, &shape);
    const double tolerance = shape.bytes == 4 ? 1e-5 : 3e-2;
    const auto states = numbers(rows * width), weight = numbers(items * width), bias = numbers(items);
    const auto grad = numbers(rows);
    const Scores s{states.data(), weight.data(), with_bias ? bias.data() : nullptr, rows, items, width, 1.0f};
    const int64_t blocks = (items + shape.block - 1) / shape.block;
    const int64_t padded = (rows + shape.lanes - 1) / shape.lanes * shape.lanes;
    std::vector<float> total(rows), mean(rows * width), shift(blocks * padded);
    // Aligned, as torch aligns what it gives.
    void* kept = std::aligned_alloc(64, (blocks * padded * shape.block * shape.bytes + 63) / 64 * 64);
    const std::vector<float> margin(rows, shape.bytes == 4 ? 1e-4f : 0.5f);
    std::vector<float> value(rows, -INFINITY), value_beside(rows, -INFINITY);
    std::vector<int64_t> item(rows, -1), item_beside(rows, -1);
    const Best best{s, margin.data(), value.data(), item.data()};
    const Best beside{s, margin.data(), value_beside.data(), item_beside.data()};
    Scores flatter = s;  // a sum may have another scale than the best items asked along with it
    flatter.scale = 0.7f;
    const Sum sum{flatter, total.data(), mean.data(), keep ? shift.data() : nullptr, keep ? kept : nullptr, &beside};
    expect(answered(seqward_sum, variant, &sum, rows, shape.panel), "memory", name, rows, items, width);
    std::vector<float> grad_weight(items * width), grad_bias(items);
    const Spread spread{sum, grad.data(), grad_weight.data(), with_bias ? grad_bias.data() : nullptr};
    expect(answered(seqward_spread, variant, &spread, blocks, 1), "memory", name, rows, items, width);

    std::vector<double> expected_grad(items, 0.0);
    std::vector<int64_t> target(rows), better(rows, 0);
    std::vector<float> own(rows);
    std::vector<std::vector<double>> scores(rows, std::vector<double>(items));
    for (int64_t r = 0; r < rows; ++r) {
        double all = 0.0;
        for (int64_t i = 0; i < items; ++i) {
            double x = with_bias ? bias[i] : 0.0;
            for (int64_t k = 0; k < width; ++k) x += double(states[r * width + k]) * weight[i * width + k];
            scores[r][i] = x;
            all += std::exp2(x * flatter.scale);
        }
        expect(std::fabs(total[r] - std::log2(all)) < tolerance * 10, "sum", name, rows, items, width);
        for (int64_t i = 0; i < items; ++i)
            expected_grad[i] += grad[r] * std::exp2(scores[r][i] * flatter.scale) / all * states[r * width];
        target[r] = r * 7 % items;
        own[r] = static_cast<float>(scores[r][target[r]]);
    }
    for (int64_t i = 0; i < items; ++i)
        expect(std::fabs(grad_weight[i * width] - expected_grad[i]) < tolerance * rows, "gradient", name, rows, items,
               width);

    const std::vector<float> exact(rows, 1e-4f);  // the rank adds what its variant rounds
    const Rank rank{s, target.data(), own.data(), exact.data(), better.data()};
    expect(answered(seqward_rank, variant, &rank, rows, shape.panel), "memory", name, rows, items, width);
    expect(answered(seqward_best, variant, &best, rows, shape.panel), "memory", name, rows, items, width);
    for (int64_t r = 0; r < rows; ++r) {
        int64_t least = 0, most = 0;
        double largest = -INFINITY;
        for (int64_t i = 0; i < items; ++i) {
            least += scores[r][i] > own[r] + 1e-4, most += scores[r][i] > own[r] - 1e-4;
            largest = std::fmax(largest, scores[r][i]);
        }
        expect(least <= better[r] && better[r] <= most, "rank", name, rows, items, width);
        expect(std::fabs(value[r] - largest) < 1e-4 && item[r] >= 0, "best item", name, rows, items, width);
        expect(value_beside[r] == value[r] && item_beside[r] == item[r], "best item beside a sum", name, rows, items,
               width);
    }
    std::free(kept);
}

// All scores are the same, so that every item of every row is settled: the longest list that there is.
void check_ties(int variant, int64_t rows, int64_t items, int64_t width) {
    Shape shape;
    seqward_shape(variant, &shape);
    const std::vector<float> states(rows * width, 0.5f), weight(items * width, 0.25f), margin(rows, 1e-4f);
    const std::vector<float> own(rows, 0.125f * width);  // exact in any order of adding up
    std::vector<int64_t> target(rows), better(rows, 0);
    for (int64_t r = 0; r < rows; ++r) target[r] = r * 7 % items;
    const Scores s{states.data(), weight.data(), nullptr, rows, items, width, 1.0f};
    const Rank rank{s, target.data(), own.data(), margin.data(), better.data()};
    expect(answered(seqward_rank, variant, &rank, rows, shape.panel), "memory", seqward_name(variant), rows, items, width);
    expect(better == target, "order of equals", seqward_name(variant), rows, items, width);
}

// A table of codes, made here in the plainest way, and its answers beside those of all scores.
void check_topk(int variant, int64_t items, int64_t width, bool with_bias, int64_t k) {
    const char* name = seqward_name(variant);
    const int64_t blocks = (items + kScreen - 1) / kScreen, padded = blocks * kScreen;
    const auto state = numbers(width), weight = numbers(items * width);
    auto bias = numbers(padded);
    if (with_bias) bias[0] = -INFINITY;
    std::vector<int8_t> codes(padded * width, 0);
    std::vector<float> scale(padded, 1.0f / 127), norm(blocks, 0.0f), residual(blocks, 0.0f), offset(blocks, 1.0f);
    std::vector<double> scores(items, 0.0);
    for (int64_t i = 0; i < items; ++i) {
        double size = 0.0, rest = 0.0;
        for (int64_t j = 0; j < width; ++j) {
            const double w = weight[i * width + j], whole = std::nearbyint(w / scale[i]);
            codes[(i / kScreen * (width / 4) + j / 4) * kScreen * 4 + i % kScreen * 4 + j % 4] = int8_t(whole);
            size += w * w, rest += (w - whole * scale[i]) * (w - whole * scale[i]);
            scores[i] += w * state[j];
        }
        if (with_bias) scores[i] += bias[i];
        norm[i / kScreen] = std::fmax(norm[i / kScreen], float(std::sqrt(size) * 1.000001));
        residual[i / kScreen] = std::fmax(residual[i / kScreen], float(std::sqrt(rest) * 1.000001));
    }
    std::vector<int64_t> excluded;
    for (int64_t i = 3; i < items; i += 5) excluded.push_back(i), scores[i] = -INFINITY;
    std::vector<float> value(k);
    std::vector<int64_t> item(k);
    const Scores s{state.data(), weight.data(), with_bias ? bias.data() : nullptr, 1, items, width, 1.0f};
    const Table table{codes.data(), scale.data(), s.bias, norm.data(), residual.data(), offset.data()};
    const Topk q{s, table, excluded.data(), int64_t(excluded.size()), k, value.data(), item.data()};
    expect(!seqward_topk(variant, &q, 0, blocks), "memory", name, 1, items, width);  // keeps one list, in one thread
    for (int64_t place = 0; place < k; ++place) {
        int64_t most = 0;
        for (int64_t i = 1; i < items; ++i) most = scores[i] > scores[most] ? i : most;
        const bool left = scores[most] > -INFINITY;
        expect(left ? std::fabs(value[place] - scores[most]) < 1e-5 : item[place] == -1, "place", name, 1, items, width);
        if (item[place] >= 0) scores[item[place]] = -INFINITY;
    }
}

}  // namespace

int main() {
    for (int variant = 0; variant < seqward_variants(); ++variant) {
        if (!seqward_runs(variant)) continue;
        for (int64_t rows : {1, 9, 67})
            for (int64_t items : {1, 7, 195})
                for (int64_t width : {16, 48, 64})
                    for (int options = 0; options < 4; ++options)
                        check(variant, rows, items, width, options & 1, options & 2);
        for (int64_t items : {7, 500}) check_ties(variant, 67, items, 48);
        for (int64_t items : {1, 31, 33, 500, 9000})
            for (int64_t width : {16, 48, 64})
                for (int64_t k : {1, 20, 700}) check_topk(variant, items, width, k == 20, k);
        std::printf("%s: no complaint\n", seqward_name(variant));
    }
}
