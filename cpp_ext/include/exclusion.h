// Pairs of nodes that count as not joined for the length of one call: what a training
// batch takes out of its own graph, in time and memory of the batch alone.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "rng.h"

namespace graphlab {

// The other ends of a node's excluded pairs, ascending; empty for most nodes.
struct Ends {
  const int64_t* begin = nullptr;
  const int64_t* end = nullptr;
  bool empty() const { return begin == end; }
  bool holds(int64_t node) const { return std::binary_search(begin, end, node); }
};

// Open addressing by node, at most half full, then one slice of `ends_` a node.
class Exclusion {
 public:
  // `pairs` is [2, count], row after row; a pair and its reverse are the same pair.
  Exclusion(const int64_t* pairs, int64_t count) {
    if (count == 0) return;
    const uint64_t size = std::bit_ceil(static_cast<uint64_t>(4 * count + 2));
    mask_ = size - 1;
    slots_.assign(size, Slot{-1, 0, 0});
    for (int64_t p = 0; p < 2 * count; ++p) ++insert(pairs[p]).end;
    int64_t begin = 0;
    for (Slot& slot : slots_) {
      const int64_t length = slot.end;
      slot.begin = slot.end = begin;
      begin += length;
    }
    ends_.resize(begin);
    for (int64_t p = 0; p < count; ++p) {
      ends_[insert(pairs[p]).end++] = pairs[count + p];
      ends_[insert(pairs[count + p]).end++] = pairs[p];
    }
    for (Slot& slot : slots_) {
      if (slot.end - slot.begin > 1)
        std::sort(ends_.begin() + slot.begin, ends_.begin() + slot.end);
    }
  }

  Ends of(int64_t node) const {
    if (slots_.empty()) return {};
    for (uint64_t at = place(node);; at = (at + 1) & mask_) {
      const Slot& slot = slots_[at];
      if (slot.node == node)
        return {ends_.data() + slot.begin, ends_.data() + slot.end};
      if (slot.node < 0) return {};
    }
  }

 private:
  struct Slot {
    int64_t node, begin, end;
  };

  uint64_t place(int64_t node) const {
    return mix64(static_cast<uint64_t>(node)) & mask_;
  }
  Slot& insert(int64_t node) {
    uint64_t at = place(node);
    while (slots_[at].node >= 0 && slots_[at].node != node) at = (at + 1) & mask_;
    slots_[at].node = node;
    return slots_[at];
  }

  std::vector<Slot> slots_;
  std::vector<int64_t> ends_;
  uint64_t mask_ = 0;
};

}  // namespace graphlab
