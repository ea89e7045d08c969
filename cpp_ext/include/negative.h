// Draws of nodes from one alias table, as negative_sample and skipgram_train make them.
// The twin is graphlab/ops/twins/walk.py.
#pragma once

#include <cstdint>

#include "check.h"
#include "rng.h"

namespace graphlab {

struct NodeTable {
  const int32_t* threshold = nullptr;
  const int32_t* alias = nullptr;
  int64_t size = 0;

  // The slot from the high half of 64 bits, the coin from the low.
  GL_HOST_DEVICE int32_t draw(uint64_t key, uint64_t number) const {
    const uint64_t z = bits(key, number);
    const uint32_t range = static_cast<uint32_t>(size);
    const uint64_t product = (z >> 32) * range;
    uint32_t slot = static_cast<uint32_t>(product >> 32);
    if (static_cast<uint32_t>(product) < range) slot = bounded(key, number, range);
    const int32_t coin = static_cast<int32_t>(z & 0x7fffffffu);
    return coin < threshold[slot] ? static_cast<int32_t>(slot) : alias[slot];
  }
};

inline NodeTable read_table(const Tensor& threshold, const Tensor& alias) {
  check_vector(threshold, ScalarType::Int, "threshold");
  check_vector(alias, ScalarType::Int, "alias");
  GL_CHECK(threshold.size(0) == alias.size(0) && alias.size(0) > 0,
           "`alias` must be as long as `threshold`, not 0");
  return {threshold.const_data_ptr<int32_t>(), alias.const_data_ptr<int32_t>(),
          alias.size(0)};
}

}  // namespace graphlab
