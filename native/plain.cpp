// Variants without a single special instruction.

#include "variants.hpp"

#include "kernels.hpp"

namespace seqward {
namespace {

bool runs() { return true; }

}  // namespace

constexpr Kernels kPlain = kernels<Portable<8, 2, 1, 192>>("plain", runs);
constexpr Kernels kPlainSmall = kernels<Portable<2, 3, 1, 6>>("plain-small", runs);
constexpr Kernels kPlainBf16 = kernels<Portable<16, 4, 2, 192>>("plain-bf16", runs);
constexpr Kernels kPlainBf16Small = kernels<Portable<2, 3, 2, 6>>("plain-bf16-small", runs);

}  // namespace seqward
