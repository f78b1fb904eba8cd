// The variants of the kernels, one a file, and every system header that they use: these must be read before a file
// turns on the instructions of its processor, or functions shared between files would be compiled with them.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <new>
#include <type_traits>

#include "questions.hpp"

#if defined(__x86_64__) && defined(__GNUC__)
#define SEQWARD_X86
#endif

namespace seqward {

#ifdef SEQWARD_X86
extern const Kernels kAvx2, kAvx512, kAvx512Bf16;
#endif
// Plain loops, for tests: in the sizes of the first and the last of the variants above, and in sizes that make a few rows
// and items several panels and blocks.
extern const Kernels kPlain, kPlainSmall, kPlainBf16, kPlainBf16Small;

}  // namespace seqward
