// SPDX-License-Identifier: Apache-2.0
// alias_build: Walker's alias tables, one for each row of a weighted graph.
//
// One thread builds one row, in the order of the CPU kernel, because the order of its
// sums is part of the definition. A hub is slow; tables are built once for a graph.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <cstdint>
#include <tuple>

#include "alias.h"
#include "check.h"
#include "launch.cuh"

namespace graphlab {
namespace {

template <typename T>
struct BuildRow {
  const int64_t* ptr;
  const T* weight;
  int64_t edges;
  int32_t *threshold, *alias;
  double* share;
  int32_t *work, *bad;

  __device__ void operator()(int64_t r) const {
    const int64_t begin = ptr[r], end = ptr[r + 1];
    if (begin < 0 || end < begin || end > edges || end - begin >= kAliasOne) {
      *bad = 1;
      return;
    }
    build_alias_row(weight + begin, static_cast<int32_t>(end - begin),
                    threshold + begin, alias + begin, share + begin, work + begin);
  }
};

std::tuple<Tensor, Tensor> alias_build(const Tensor& ptr, const Tensor& weight) {
  check_vector(ptr, ScalarType::Long, "ptr");
  check_vector(weight, weight.scalar_type(), "weight");
  GL_CHECK(ptr.size(0) > 0, "`ptr` must not be empty");
  const OnDevice device(weight);
  const int64_t rows = ptr.size(0) - 1, edges = weight.size(0);
  Tensor threshold = torch::stable::new_empty(weight, {edges}, ScalarType::Int);
  Tensor alias = torch::stable::new_empty(weight, {edges}, ScalarType::Int);
  // Scratch in the place of the row: 12 bytes an edge, freed after the call.
  Tensor share = torch::stable::new_empty(weight, {edges}, ScalarType::Double);
  Tensor work = torch::stable::new_empty(weight, {edges}, ScalarType::Int);
  Tensor bad = torch::stable::new_zeros(weight, {int64_t{1}}, ScalarType::Int);
  const auto run = [&]<typename T>(const T* w) {
    const BuildRow<T> body{ptr.const_data_ptr<int64_t>(),
                           w,
                           edges,
                           threshold.mutable_data_ptr<int32_t>(),
                           alias.mutable_data_ptr<int32_t>(),
                           share.mutable_data_ptr<double>(),
                           work.mutable_data_ptr<int32_t>(),
                           bad.mutable_data_ptr<int32_t>()};
    for_each(rows, device.stream(), body);
  };
  if (weight.scalar_type() == ScalarType::Float) {
    run(weight.const_data_ptr<float>());
  } else {
    GL_CHECK(weight.scalar_type() == ScalarType::Double,
             "`weight` must be float32 or float64");
    run(weight.const_data_ptr<double>());
  }
  int32_t found = 0;
  STD_CUDA_CHECK(cudaMemcpyAsync(&found, bad.const_data_ptr<int32_t>(), sizeof(found),
                                 cudaMemcpyDeviceToHost, device.stream()));
  STD_CUDA_CHECK(cudaStreamSynchronize(device.stream()));
  GL_CHECK(found == 0, "`ptr` must never fall");
  return {threshold, alias};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(graphlab, CUDA, m) {
  m.impl("alias_build", TORCH_BOX(&alias_build));
}

}  // namespace graphlab
