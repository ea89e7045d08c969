// SPDX-License-Identifier: Apache-2.0
// alias_build: Walker's alias tables, one for each row of a weighted graph.
#include "alias.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "check.h"

namespace graphlab {
namespace {

// One task covers about this many edges: it amortises the hand-over to a thread.
constexpr int64_t kGrainEdges = 16384;

template <typename T>
void build(const int64_t* ptr, const T* weight, int64_t rows, int64_t edges,
           int32_t* threshold, int32_t* alias) {
  const int64_t grain = std::max<int64_t>(
      1, kGrainEdges / std::max<int64_t>(1, edges / std::max<int64_t>(1, rows)));
  torch::stable::parallel_for(0, rows, grain, [=](int64_t lo, int64_t hi) {
    int64_t longest = 0;
    for (int64_t r = lo; r < hi; ++r) longest = std::max(longest, ptr[r + 1] - ptr[r]);
    std::vector<double> share(static_cast<size_t>(longest));
    std::vector<int32_t> work(static_cast<size_t>(longest));
    for (int64_t r = lo; r < hi; ++r) {
      const int64_t begin = ptr[r];
      build_alias_row(weight + begin, static_cast<int32_t>(ptr[r + 1] - begin),
                      threshold + begin, alias + begin, share.data(), work.data());
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
