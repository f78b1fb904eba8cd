// What the shared library shows to Python: a few C functions, called by ctypes (src/seqward/catalogue/native.py).

#include <atomic>

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

struct Work {
    Parts* parts;
    std::atomic<int64_t> next, failed;
};

// What each thread of a team does: takes parts until none is left, however many threads there are.
void take_parts(void* given) {
    Work& work = *static_cast<Work*>(given);
    const Parts& p = *work.parts;
    for (int64_t first; (first = p.each * work.next++) < p.count;)
        work.failed += p.answer(p.variant, p.question, first, first + p.each < p.count ? first + p.each : p.count) != 0;
}

}  // namespace

SHOWN int seqward_version() { return kVersion; }
SHOWN int seqward_variants() { return static_cast<int>(sizeof kVariants / sizeof *kVariants); }
SHOWN const char* seqward_name(int variant) { return kVariants[variant]->name; }
SHOWN int seqward_runs(int variant) { return kVariants[variant]->runs(); }
SHOWN void seqward_shape(int variant, Shape* out) { *out = kVariants[variant]->shape; }

SHOWN int seqward_sum(int variant, const void* q, int64_t first_row, int64_t last_row) {
    return kVariants[variant]->sum(*static_cast<const Sum*>(q), first_row, last_row);
}

SHOWN int seqward_spread(int variant, const void* q, int64_t first_block, int64_t last_block) {
    return kVariants[variant]->spread(*static_cast<const Spread*>(q), first_block, last_block);
}

SHOWN int seqward_rank(int variant, const void* q, int64_t first_row, int64_t last_row) {
    return kVariants[variant]->rank(*static_cast<const Rank*>(q), first_row, last_row);
}

SHOWN int seqward_best(int variant, const void* q, int64_t first_row, int64_t last_row) {
    return kVariants[variant]->best(*static_cast<const Best*>(q), first_row, last_row);
}

SHOWN int seqward_topk(int variant, const void* q, int64_t first_block, int64_t last_block) {
    return kVariants[variant]->topk(*static_cast<const Topk*>(q), first_block, last_block);
}

// ``fork`` is GOMP_parallel of the OpenMP library that the process runs already: threads of another pool would have to
// share the processor with its own, which wait for their next work by turning in a loop.
SHOWN void seqward_together(void (*fork)(void (*)(void*), void*, unsigned, unsigned), Parts* parts, unsigned threads) {
    Work work{parts, {0}, {0}};
    fork(take_parts, &work, threads, 0);
    parts->failed = work.failed;
}

// Python's build tools make and find the library as a module and ask for this name. Nothing imports it.
SHOWN void* PyInit__native() { return nullptr; }
