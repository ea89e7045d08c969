// The arguments of random_walk, checked, as its CPU and CUDA kernels use them, and one
// draw of a neighbour. The twin is graphlab/ops/twins/walk.py.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "check.h"
#include "rng.h"

namespace graphlab::walking {

// A slot of the alias table beside its neighbour: one cache line for a weighted step.
// A threshold below zero marks a row without positive weight.
struct alignas(16) Slot {
  int32_t node, threshold, other, unused;
};

// Out-edges by source. With `slot` a step follows the weights.
struct Graph {
  const int64_t* ptr = nullptr;
  const int32_t* short_idx = nullptr;
  const int64_t* long_idx = nullptr;
  const Slot* slot = nullptr;
  int64_t num_nodes = 0, num_edges = 0;
};

// Chances of the three kinds of second-order steps, of 2^32.
struct Bias {
  uint64_t back, near, far;
  GL_HOST_DEVICE uint64_t low() const { return near < far ? near : far; }
  GL_HOST_DEVICE uint64_t high() const { return near < far ? far : near; }
};

// Whether `node` is in the ascending row [begin, end) of `idx`.
template <typename Idx>
GL_HOST_DEVICE inline bool has_edge(const Idx* idx, int64_t begin, int64_t end,
                                    int64_t node) {
  const int64_t row_end = end;
  while (begin < end) {
    const int64_t middle = begin + (end - begin) / 2;
    if (static_cast<int64_t>(idx[middle]) < node) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin < row_end && static_cast<int64_t>(idx[begin]) == node;
}

inline Graph read_graph(const Tensor& ptr, const Tensor& idx,
                        const std::optional<Tensor>& slots, const Tensor& starts,
                        int64_t length, const std::vector<int64_t>& bias) {
  check_vector(ptr, ScalarType::Long, "ptr");
  check_vector(starts, ScalarType::Long, "starts");
  check_vector(idx, idx.scalar_type(), "idx");
  Graph graph;
  GL_CHECK(ptr.size(0) > 0, "`ptr` must not be empty");
  graph.ptr = ptr.const_data_ptr<int64_t>();
  graph.num_nodes = ptr.size(0) - 1;
  graph.num_edges = idx.size(0);
  if (idx.scalar_type() == ScalarType::Int) {
    graph.short_idx = idx.const_data_ptr<int32_t>();
  } else {
    GL_CHECK(idx.scalar_type() == ScalarType::Long, "`idx` must be int32 or int64");
    graph.long_idx = idx.const_data_ptr<int64_t>();
  }
  if (slots.has_value()) {
    GL_CHECK(graph.short_idx != nullptr, "`slots` needs int32 `idx`");
    GL_CHECK(slots->dim() == 2 && slots->size(1) == 4 &&
                 slots->size(0) == graph.num_edges &&
                 slots->scalar_type() == ScalarType::Int,
             "`slots` must be int32 [edges, 4]");
    check_contiguous(*slots, "slots");
    graph.slot = reinterpret_cast<const Slot*>(slots->const_data_ptr<int32_t>());
  }
  GL_CHECK(length >= 0 && length < (int64_t{1} << 31), "`length` out of range");
  GL_CHECK(bias.empty() || bias.size() == 3, "`bias` must be empty or three numbers");
  return graph;
}

}  // namespace graphlab::walking
