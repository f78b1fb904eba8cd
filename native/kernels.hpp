// All algorithms, for one backend.

#pragma once

#include "rank.hpp"
#include "screen.hpp"
#include "sum.hpp"

namespace seqward {
namespace {

template <class B>
constexpr Kernels kernels(const char* name, bool (*runs)()) {
    return {name,
            {B::kLanes, B::kVectors * B::kLanes, B::kBlock, static_cast<int32_t>(sizeof(typename B::Stored))},
            runs,
            sum<B>,
            spread<B>,
            rank<B>,
            best<B>,
            topk<B>};
}

}  // namespace
}  // namespace seqward
