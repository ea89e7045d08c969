// SPDX-License-Identifier: Apache-2.0
// alias_build: Walker's alias tables, one for each row of a weighted graph.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <vector>

#include "check.h"
#include "draw.h"

namespace graphlab {
namespace {

// One task covers about this many edges: it amortises the hand-over to a thread.
constexpr int64_t kGrainEdges = 16384;
constexpr int32_t kCertain = static_cast<int32_t>(kAliasOne - 1);

// Vose's method (1991) in doubles, in a fixed order: the twin gives the same bits.
template <typename T>
void build_row(const T* weight, int32_t size, int32_t* threshold, int32_t* alias,
               std::vector<double>& share, std::vector<int32_t>& work) {
  double top = 0;
  for (int32_t i = 0; i < size; ++i) {
    top = std::max(top, static_cast<double>(weight[i]));
  }
  if (!(top > 0)) {
    // Marks a row without draws: a slot 0 that is never taken and has no other.
    for (int32_t i = 0; i < size; ++i) threshold[i] = 0, alias[i] = i;
    return;
  }
  share.resize(size);
  work.resize(size);
  // Divided by the largest first, so that no sum overflows.
  double total = 0;
  for (int32_t i = 0; i < size; ++i) {
    share[i] = static_cast<double>(weight[i]) / top;
    total += share[i];
  }
  const double scale = static_cast<double>(size) / total;
  // Slots below their share grow from the left, slots above it from the right.
  int32_t small = 0, large = size;
  for (int32_t i = 0; i < size; ++i) {
    share[i] *= scale;
    threshold[i] = kCertain;
    alias[i] = i;
    if (share[i] < 1.0) {
      work[small++] = i;
    } else {
      work[--large] = i;
    }
  }
  while (small > 0 && large < size) {
    const int32_t low = work[--small], high = work[large];
    const double part = std::floor(share[low] * static_cast<double>(kAliasOne) + 0.5);
    // A positive weight keeps at least one chance in 2^31 of its slot.
    const double least = weight[low] > 0 ? 1.0 : 0.0;
    threshold[low] = static_cast<int32_t>(
        std::min(std::max(part, least), static_cast<double>(kCertain)));
    alias[low] = high;
    share[high] = (share[high] + share[low]) - 1.0;
    if (share[high] < 1.0) {
      ++large;
      work[small++] = high;
    }
  }
  // What is left on either side is a whole slot but for rounding: certain. A zero
  // weight is never left: it goes to the slot of the largest weight.
  for (int32_t i = 0; i < small; ++i) {
    const int32_t low = work[i];
    if (weight[low] > 0) continue;
    threshold[low] = 0;
    alias[low] = static_cast<int32_t>(std::max_element(weight, weight + size) - weight);
  }
}

template <typename T>
void build(const int64_t* ptr, const T* weight, int64_t rows, int64_t edges,
           int32_t* threshold, int32_t* alias) {
  const int64_t grain = std::max<int64_t>(
      1, kGrainEdges / std::max<int64_t>(1, edges / std::max<int64_t>(1, rows)));
  torch::stable::parallel_for(0, rows, grain, [=](int64_t lo, int64_t hi) {
    std::vector<double> share;
    std::vector<int32_t> work;
    for (int64_t r = lo; r < hi; ++r) {
      const int64_t begin = ptr[r];
      build_row(weight + begin, static_cast<int32_t>(ptr[r + 1] - begin),
                threshold + begin, alias + begin, share, work);
    }
  });
}

std::tuple<Tensor, Tensor> alias_build(const Tensor& ptr, const Tensor& weight) {
  check_vector(ptr, ScalarType::Long, "ptr");
  check_vector(weight, weight.scalar_type(), "weight");
  const int64_t rows = ptr.size(0) - 1, edges = weight.size(0);
  const int64_t* p = ptr.const_data_ptr<int64_t>();
  check_offsets(p, rows, edges);
  for (int64_t r = 0; r < rows; ++r) {
    GL_CHECK(p[r + 1] - p[r] < kAliasOne, "a row must have fewer than 2^31 entries");
  }
  Tensor threshold = torch::stable::new_empty(weight, {edges}, ScalarType::Int);
  Tensor alias = torch::stable::new_empty(weight, {edges}, ScalarType::Int);
  int32_t* t = threshold.mutable_data_ptr<int32_t>();
  int32_t* a = alias.mutable_data_ptr<int32_t>();
  if (weight.scalar_type() == ScalarType::Float) {
    build(p, weight.const_data_ptr<float>(), rows, edges, t, a);
  } else {
    GL_CHECK(weight.scalar_type() == ScalarType::Double,
             "`weight` must be float32 or float64");
    build(p, weight.const_data_ptr<double>(), rows, edges, t, a);
  }
  return {threshold, alias};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(graphlab, CPU, m) {
  m.impl("alias_build", TORCH_BOX(&alias_build));
}

}  // namespace graphlab
