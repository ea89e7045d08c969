// Counter-based random numbers: a pure function of (key, counter), so samples do not
// depend on threads. The twin is graphlab/ops/twins/rng.py; both agree bit for bit.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define GL_HOST_DEVICE __host__ __device__
#else
#define GL_HOST_DEVICE
#endif

namespace graphlab {

// 2^64 / golden ratio, the increment of SplitMix64 (Steele, Lea, Flood 2014).
constexpr uint64_t kGolden = 0x9E3779B97F4A7C15ULL;

GL_HOST_DEVICE inline uint64_t mix64(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

// A key for a named part of a stream: fold(fold(seed, epoch), batch) and so on.
GL_HOST_DEVICE inline uint64_t fold(uint64_t key, uint64_t name) {
  return mix64(key ^ mix64(name + kGolden));
}

// Draw number `counter` of the stream `key`: SplitMix64 started at `key`.
GL_HOST_DEVICE inline uint64_t bits(uint64_t key, uint64_t counter) {
  return mix64(key + (counter + 1) * kGolden);
}

// Uniform integer in [0, range), 0 < range < 2^32, without bias (Lemire 2019): a draw
// whose low product word falls in the uneven remainder is drawn again from a stream of
// its own.
GL_HOST_DEVICE inline uint32_t bounded(uint64_t key, uint64_t counter, uint32_t range) {
  uint64_t product = (bits(key, counter) >> 32) * range;
  uint32_t low = static_cast<uint32_t>(product);
  if (low < range) {
    const uint32_t threshold = (0u - range) % range;
    const uint64_t again = fold(key, counter);
    for (uint64_t attempt = 0; low < threshold; ++attempt) {
      product = (bits(again, attempt) >> 32) * range;
      low = static_cast<uint32_t>(product);
    }
  }
  return static_cast<uint32_t>(product >> 32);
}

}  // namespace graphlab
