// SPDX-License-Identifier: Apache-2.0
// sddmm_exp_sum, sddmm_exp_sum_factors: see cpp_ext/cpu/sddmm_exp_sum.cpp.
#include <optional>
#include <tuple>

#include "cuda.cuh"

namespace graphlab {
namespace {

constexpr int kWarps = kBlock / kWarp;

template <typename T, typename Index>
struct Job {
  const int64_t* ptr;
  const Index* idx;
  const T* weight;
  const T* u;
  const T* v;
  T *weighted, *plain, *each;
  int64_t rows, v_rows, width, edges;
  T tau;
  bool skip_diagonal;
};

// The entries of a row, cut to what exists: offsets that fall cannot lead outside.
__device__ inline int64_t clip(int64_t offset, int64_t edges) {
  return offset < 0 ? 0 : (offset > edges ? edges : offset);
}

__device__ inline float exponential(float x) { return expf(x); }
__device__ inline double exponential(double x) { return exp(x); }

// One warp for each row, one lane for each edge: the rows of embeddings are short, so a
// lane reads one from end to end. Lanes add their edges in order, and a tree of
// shuffles adds lanes: deterministic.
template <typename T, typename Index>
__global__ void sum_kernel(Job<T, Index> job) {
  const int lane = threadIdx.x;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kWarps;
  for (int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.y;
       row < job.rows; row += step) {
    const int64_t begin = clip(job.ptr[row], job.edges);
    const int64_t end = clip(job.ptr[row + 1], job.edges);
    const T* u = job.u + row * job.width;
    double weighted = 0, plain = 0;
    for (int64_t e = begin + lane; e < end; e += kWarp) {
      const int64_t id = job.idx[e];
      require_in_range(id, job.v_rows);
      T dot = 0;
      if (!(job.skip_diagonal && id == row)) {
        const T* v = job.v + id * job.width;
        for (int64_t j = 0; j < job.width; ++j) dot += u[j] * v[j];
      }
      const T value = exponential(job.tau * dot);
      job.each[e] = value;
      plain += value;
      weighted += job.weight == nullptr ? value : job.weight[e] * value;
    }
    for (int offset = kWarp / 2; offset > 0; offset /= 2) {
      weighted += __shfl_down_sync(0xffffffffu, weighted, offset);
      plain += __shfl_down_sync(0xffffffffu, plain, offset);
    }
    if (lane == 0) {
      job.weighted[row] = static_cast<T>(weighted);
      job.plain[row] = static_cast<T>(plain);
    }
  }
}

// The same shape of work; `u` and `v` of the job are the gradients of the two sums.
template <typename T, typename Index>
__global__ void factors_kernel(Job<T, Index> job, const T* each, T* factors) {
  const int lane = threadIdx.x;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kWarps;
  for (int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.y;
       row < job.rows; row += step) {
    const int64_t begin = clip(job.ptr[row], job.edges);
    const int64_t end = clip(job.ptr[row + 1], job.edges);
    const T a = job.tau * job.u[row], b = job.tau * job.v[row];
    for (int64_t e = begin + lane; e < end; e += kWarp) {
      const bool skip = job.skip_diagonal && job.idx[e] == row;
      const T slope = job.weight == nullptr ? a + b : a * job.weight[e] + b;
      factors[e] = skip ? T(0) : each[e] * slope;
    }
  }
}

template <typename T, typename Index>
Job<T, Index> job_for(const Tensor& ptr, const Tensor& idx,
                      const std::optional<Tensor>& weight, const Tensor& u,
                      const Tensor& v, double tau, bool skip_diagonal) {
  Job<T, Index> job{};
  job.ptr = ptr.const_data_ptr<int64_t>();
  job.idx = idx.const_data_ptr<Index>();
  job.weight = weight.has_value() ? weight->const_data_ptr<T>() : nullptr;
  job.u = u.const_data_ptr<T>();
  job.v = v.const_data_ptr<T>();
  job.rows = ptr.size(0) - 1;
  job.v_rows = v.size(0);
  job.width = v.dim() == 2 ? v.size(1) : 1;
  job.edges = idx.size(0);
  job.tau = static_cast<T>(tau);
  job.skip_diagonal = skip_diagonal;
  return job;
}

void check_inputs(const Tensor& ptr, const Tensor& idx,
                  const std::optional<Tensor>& weight, ScalarType type) {
  const ScalarType index = idx.scalar_type();
  GL_CHECK(type == ScalarType::Float || type == ScalarType::Double,
           "values must be float32 or float64");
  GL_CHECK(index == ScalarType::Int || index == ScalarType::Long,
           "`idx` must be int32 or int64");
  check_vector(ptr, ScalarType::Long, "ptr");
  check_vector(idx, index, "idx");
  GL_CHECK(ptr.size(0) >= 1, "`ptr` must have an entry");
  if (weight.has_value()) {
    check_vector(*weight, type, "weight");
    GL_CHECK(weight->size(0) == idx.size(0), "`weight` must have a value an edge");
  }
}

// The transpose serves autograd only (graphlab/ops/sddmm_exp_sum.py).
std::tuple<Tensor, Tensor, Tensor> sddmm_exp_sum(
    const Tensor& ptr, const Tensor& idx, std::optional<Tensor> weight, const Tensor& u,
    const Tensor& v, double tau, bool skip_diagonal, std::optional<Tensor>,
    std::optional<Tensor>, std::optional<Tensor>) {
  check_inputs(ptr, idx, weight, u.scalar_type());
  GL_CHECK(u.dim() == 2 && v.dim() == 2 && u.size(1) == v.size(1),
           "`u` and `v` must be [rows, width]");
  GL_CHECK(v.scalar_type() == u.scalar_type(), "`v` must have the dtype of `u`");
  check_contiguous(u, "u");
  check_contiguous(v, "v");
  GL_CHECK(ptr.size(0) == u.size(0) + 1, "`ptr` must have an entry more than `u`");
  const OnDevice on(u);
  Tensor weighted = torch::stable::new_empty(u, {u.size(0)});
  Tensor plain = torch::stable::new_empty(u, {u.size(0)});
  Tensor each = torch::stable::new_empty(u, {idx.size(0)});
  const auto call = [&]<typename T, typename Index>() {
    Job<T, Index> job = job_for<T, Index>(ptr, idx, weight, u, v, tau, skip_diagonal);
    job.weighted = weighted.mutable_data_ptr<T>();
    job.plain = plain.mutable_data_ptr<T>();
    job.each = each.mutable_data_ptr<T>();
    if (job.rows == 0) return;
    sum_kernel<<<blocks_for(job.rows, kWarps), dim3(kWarp, kWarps), 0, on.stream()>>>(
        job);
    check_launch("sddmm_exp_sum");
  };
  const bool narrow = idx.scalar_type() == ScalarType::Int;
  if (u.scalar_type() == ScalarType::Float) {
    narrow ? call.template operator()<float, int32_t>()
           : call.template operator()<float, int64_t>();
  } else {
    narrow ? call.template operator()<double, int32_t>()
           : call.template operator()<double, int64_t>();
  }
  return {weighted, plain, each};
}

Tensor sddmm_exp_sum_factors(const Tensor& ptr, const Tensor& idx,
                             std::optional<Tensor> weight, const Tensor& each,
                             const Tensor& weighted_grad, const Tensor& plain_grad,
                             double tau, bool skip_diagonal) {
  const ScalarType type = each.scalar_type();
  check_inputs(ptr, idx, weight, type);
  check_vector(each, type, "each");
  check_vector(weighted_grad, type, "weighted_grad");
  check_vector(plain_grad, type, "plain_grad");
  const int64_t rows = ptr.size(0) - 1;
  GL_CHECK(weighted_grad.size(0) == rows && plain_grad.size(0) == rows,
           "gradients must have a value a row");
  GL_CHECK(each.size(0) == idx.size(0), "`each` must have a value an edge");
  const OnDevice on(each);
  Tensor out = torch::stable::new_empty(each, {idx.size(0)});
  const auto call = [&]<typename T, typename Index>() {
    const Job<T, Index> job = job_for<T, Index>(ptr, idx, weight, weighted_grad,
                                                plain_grad, tau, skip_diagonal);
    if (job.rows == 0) return;
    factors_kernel<<<blocks_for(job.rows, kWarps), dim3(kWarp, kWarps), 0,
                     on.stream()>>>(job, each.const_data_ptr<T>(),
                                    out.mutable_data_ptr<T>());
    check_launch("sddmm_exp_sum_factors");
  };
  const bool narrow = idx.scalar_type() == ScalarType::Int;
  if (type == ScalarType::Float) {
    narrow ? call.template operator()<float, int32_t>()
           : call.template operator()<float, int64_t>();
  } else {
    narrow ? call.template operator()<double, int32_t>()
           : call.template operator()<double, int64_t>();
  }
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(graphlab, CUDA, m) {
  m.impl("sddmm_exp_sum", TORCH_BOX(&sddmm_exp_sum));
  m.impl("sddmm_exp_sum_factors", TORCH_BOX(&sddmm_exp_sum_factors));
}

}  // namespace graphlab
