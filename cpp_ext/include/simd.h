// Run-time dispatch without -march=native: GL_MULTIVERSION compiles a function for
// x86-64-v4 (AVX-512), x86-64-v3 (AVX2) and the baseline, and the loader picks one.
// Put it on a plain function that holds the hot loop; what it calls must be inlined
// into it.
#pragma once

#include <cstdint>

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && \
    !defined(__clang__)
#define GL_MULTIVERSION \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define GL_MULTIVERSION
#endif

namespace graphlab {

// One AVX-512 register or cache line. Smaller registers share one such vector.
constexpr int kVectorBytes = 64;

template <typename T>
using Vector [[gnu::vector_size(kVectorBytes)]] = T;

template <typename T>
constexpr int kLanes = kVectorBytes / sizeof(T);

}  // namespace graphlab
