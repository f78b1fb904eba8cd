// What can be asked, as plain structs that Python fills in (src/seqward/catalogue/native.py has their twins), and the
// functions that one variant of the kernels answers with. All arrays are row-major, without gaps.

#pragma once

#include <cstdint>

namespace seqward {

constexpr int kVersion = 5;  // of this interface; Python refuses a library that says otherwise

struct Scores {  // score of item i for row r: scale * (states[r] . weight[i] + bias[i])
    const float* states;  // [rows, width]
    const float* weight;  // [items, width]
    const float* bias;    // [items] or null
    int64_t rows, items, width;
    float scale;
};

// The best item of each row, the first of equals. ``scores.scale`` is 1.
struct Best {
    Scores scores;
    const float* margin;  // [rows] how far a product may be from the settled score
    float* value;         // [rows] in: -inf; out: the best settled score
    int64_t* item;        // [rows] in: -1; out: its item
};

// Sums of 2^score over the items. With scale = log2(e) / temperature they are those of the softmax.
struct Sum {
    Scores scores;
    float* total;  // [rows] out: log2 of the sum
    float* mean;   // [rows, width] out: rows of weight, weighted by their share of the sum; or null
    float* shift;  // [blocks, padded rows] out: what was subtracted from the scores; or null if nothing is kept
    void* kept;    // [blocks, padded rows, block] out: 2^(score - shift), see sum.hpp; or null
    const Best* best;  // the best items of the same scores, asked along with the sums; or null
};

// The way back: gradients of weight and bias, given that of log2 of the sum over scale.
struct Spread {
    Sum sum;              // as it was asked, answers included
    const float* grad;    // [rows]
    float* grad_weight;   // [items, width] out
    float* grad_bias;     // [items] out, or null
};

// How many items stand before a target. ``scores.scale`` is 1.
struct Rank {
    Scores scores;
    const int64_t* target;  // [rows]
    const float* own;       // [rows] the target's score, settled
    const float* margin;    // [rows] how far a product in fp32 may be from the settled score
    int64_t* better;        // [rows] in and out: is added to
};

// Rows of a catalogue in whole numbers, made once (src/seqward/inference/screen.py): row = scale * codes + the rest.
constexpr int64_t kScreen = 32;  // rows of a block; the last block is filled up with zeros

struct Table {
    const int8_t* codes;    // [blocks, width / 4, kScreen, 4], -127 .. 127
    const float* scale;     // [blocks, kScreen]
    const float* bias;      // [blocks, kScreen] or null
    const float* norm;      // [blocks] at least the length of each row
    const float* residual;  // [blocks] at least the length of each rest
    const float* offset;    // [blocks] at least the size of each bias but -inf; inf where one is no number or +inf
};

// The k best items of one state, see screen.hpp. ``scores`` has one row; its scale is 1.
struct Topk {
    Scores scores;
    Table table;
    const int64_t* excluded;  // [n_excluded] items that are no candidates, ascending
    int64_t n_excluded, k;
    float* value;   // [k] out: settled scores in order; -inf where fewer are candidates
    int64_t* item;  // [k] out: their items, the lower number first among equals; -1 where fewer are candidates
};

// A question in parts, for the threads of a team.
struct Parts {
    int (*answer)(int variant, const void* question, int64_t first, int64_t last);
    int variant;
    const void* question;
    int64_t count, each;  // numbers of rows or blocks, and how many of them are a part
    int64_t failed;       // out: how many parts were not answered
};

struct Shape {
    int32_t lanes, panel, block, bytes;  // floats a vector, rows a panel, items a block, bytes a kept number
};

// 0 on success, 1 where memory is short, 2 where a score may not be finite (topk only: the others are asked about what
// Python has looked through). Ranges: rows [first, last), first a multiple of the panel; or blocks of items.
struct Kernels {
    const char* name;
    Shape shape;
    bool (*runs)();  // whether this processor has what it takes
    int (*sum)(const Sum&, int64_t first_row, int64_t last_row);
    int (*spread)(const Spread&, int64_t first_block, int64_t last_block);
    int (*rank)(const Rank&, int64_t first_row, int64_t last_row);
    int (*best)(const Best&, int64_t first_row, int64_t last_row);
    int (*topk)(const Topk&, int64_t first_block, int64_t last_block);
};

}  // namespace seqward
