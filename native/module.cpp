// What the shared library shows to Python: a few C functions, called by ctypes (src/seqward/catalogue/native.py).

#include "variants.hpp"

#ifdef _WIN32
#define SHOWN extern "C" __declspec(dllexport)
#else
#define SHOWN extern "C" __attribute__((visibility("default")))
#endif

namespace {

using namespace seqward;

const Kernels* const kVariants[] = {
#ifdef SEQWARD_X86
    &kAvx2,
    &kAvx512,
    &kAvx512Bf16,
#endif
    &kPlain,
    &kPlainSmall,
    &kPlainBf16,
    &kPlainBf16Small,
};

}  // namespace

SHOWN int seqward_version() { return kVersion; }
SHOWN int seqward_variants() { return static_cast<int>(sizeof kVariants / sizeof *kVariants); }
SHOWN const char* seqward_name(int variant) { return kVariants[variant]->name; }
SHOWN int seqward_runs(int variant) { return kVariants[variant]->runs(); }
SHOWN void seqward_shape(int variant, Shape* out) { *out = kVariants[variant]->shape; }

SHOWN int seqward_sum(int variant, const Sum* q, int64_t first_row, int64_t last_row) {
    return kVariants[variant]->sum(*q, first_row, last_row);
}

SHOWN int seqward_spread(int variant, const Spread* q, int64_t first_block, int64_t last_block) {
    return kVariants[variant]->spread(*q, first_block, last_block);
}

SHOWN int seqward_rank(int variant, const Rank* q, int64_t first_row, int64_t last_row) {
    return kVariants[variant]->rank(*q, first_row, last_row);
}

SHOWN int seqward_best(int variant, const Best* q, int64_t first_row, int64_t last_row) {
    return kVariants[variant]->best(*q, first_row, last_row);
}

SHOWN int seqward_topk(int variant, const Topk* q, int64_t first_block, int64_t last_block) {
    return kVariants[variant]->topk(*q, first_block, last_block);
}

// Python's build tools make and find the library as a module and ask for this name. Nothing imports it.
SHOWN void* PyInit__native() { return nullptr; }
