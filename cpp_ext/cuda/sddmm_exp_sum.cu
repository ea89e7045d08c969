// SPDX-License-Identifier: Apache-2.0
// sddmm_exp_sum, sddmm_exp_sum_factors: see cpp_ext/cpu/sddmm_exp_sum.cpp.
#include <optional>
#include <tuple>

#include "chunks.cuh"
#include "entries.cuh"

namespace graphlab {
namespace {

__device__ inline float exponential(float x) { return expf(x); }
__device__ inline double exponential(double x) { return exp(x); }

// An entry's exponential, from its product.
template <typename T>
struct Exponential {
  T* each;
  T tau;
  bool skip_diagonal;
  __device__ void operator()(int64_t e, int64_t row, int64_t id, T product) const {
    each[e] = exponential(skip_diagonal && id == row ? T(0) : tau * product);
  }
};

struct Sums {
  double weighted = 0, plain = 0;
};

template <typename T>
struct Job {
  Chunks chunks;
  const T* weight;
  const T* each;
  T *weighted, *plain;
  Sums* partial;  // [chunks, 2]: of the pieces of long rows
};

// Sums over entries: lanes side by side, then a tree of shuffles: deterministic. Lane 0
// holds them.
template <typename T>
__device__ Sums sums_of(const Job<T>& job, Span span, int lane) {
  Sums sums;
  for (int64_t e = span.begin + lane; e < span.end; e += kWarp) {
    const T value = job.each[e];
    sums.plain += value;
    sums.weighted += job.weight == nullptr ? value : job.weight[e] * value;
  }
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    sums.weighted += __shfl_down_sync(kAllLanes, sums.weighted, offset);
    sums.plain += __shfl_down_sync(kAllLanes, sums.plain, offset);
  }
  return sums;
}

template <typename T>
__device__ void put(const Job<T>& job, int64_t row, Sums sums) {
  job.weighted[row] = static_cast<T>(sums.weighted);
  job.plain[row] = static_cast<T>(sums.plain);
}

// One warp for each row.
template <typename T>
__global__ void rows_kernel(Job<T> job) {
  const int64_t warps = grid_threads() / kWarp;
  const int lane = threadIdx.x % kWarp;
  for (int64_t row = grid_thread() / kWarp; row < job.chunks.rows; row += warps) {
    const Span span = job.chunks.row(row);
    if (job.chunks.is_long(span)) continue;
    const Sums sums = sums_of(job, span, lane);
    if (lane == 0) put(job, row, sums);
  }
}

// One warp for each piece of a long row.
template <typename T>
__global__ void pieces_kernel(Job<T> job, int64_t places) {
  const int64_t warps = grid_threads() / kWarp;
  const int lane = threadIdx.x % kWarp;
  for (int64_t place = grid_thread() / kWarp; place < places; place += warps) {
    const Span span = job.chunks.piece(place / 2, static_cast<int>(place % 2));
    if (span.length() <= 0) continue;
    const Sums sums = sums_of(job, span, lane);
    if (lane == 0) job.partial[place] = sums;
  }
}

template <typename T>
__global__ void join_kernel(Job<T> job, int64_t places) {
  for (int64_t place = grid_thread(); place < places; place += grid_threads()) {
    const int64_t row = job.chunks.row_begun_at(place);
    if (row < 0) continue;
    const Span span = job.chunks.row(row);
    Sums sums = job.partial[place];
    const int64_t last = job.chunks.last_chunk(span);
    for (int64_t chunk = place / 2 + 1; chunk <= last; ++chunk) {
      sums.weighted += job.partial[2 * chunk].weighted;
      sums.plain += job.partial[2 * chunk].plain;
    }
    put(job, row, sums);
  }
}

// One thread for each entry: what its product's gradient is multiplied with.
template <typename T, typename Index>
__global__ void factors_kernel(Chunks chunks, const Index* idx, const T* weight,
                               const T* each, const T* weighted_grad,
                               const T* plain_grad, T* factors, T tau,
                               bool skip_diagonal) {
  for (int64_t e = grid_thread(); e < chunks.entries; e += grid_threads()) {
    const int64_t row = chunks.row_of(e);
    const T a = tau * weighted_grad[row], b = tau * plain_grad[row];
    const T slope = weight == nullptr ? a + b : a * weight[e] + b;
    factors[e] = skip_diagonal && idx[e] == row ? T(0) : each[e] * slope;
  }
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
  const Chunks chunks = chunks_of(ptr, idx.size(0));
  const int64_t places = chunks.places();
  Tensor partial = torch::stable::new_empty(u, {places, 2}, ScalarType::Double);
  const auto call = [&]<typename T, typename Index>() {
    const Job<T> job{chunks,
                     weight.has_value() ? weight->const_data_ptr<T>() : nullptr,
                     each.const_data_ptr<T>(),
                     weighted.mutable_data_ptr<T>(),
                     plain.mutable_data_ptr<T>(),
                     static_cast<Sums*>(partial.mutable_data_ptr())};
    const Exponential<T> finish{each.mutable_data_ptr<T>(), static_cast<T>(tau),
                                skip_diagonal};
    for_each_product(job.chunks, idx.const_data_ptr<Index>(), u.const_data_ptr<T>(),
                     v.const_data_ptr<T>(), v.size(0), v.size(1), v.size(1), finish,
                     on.stream(), "sddmm_exp_sum");
    if (job.chunks.rows == 0) return;
    rows_kernel<T>
        <<<blocks_for(job.chunks.rows, kWarps), kBlock, 0, on.stream()>>>(job);
    check_launch("sddmm_exp_sum");
    if (places == 0) return;
    pieces_kernel<T>
        <<<blocks_for(places, kWarps), kBlock, 0, on.stream()>>>(job, places);
    check_launch("sddmm_exp_sum");
    join_kernel<T><<<blocks_for(places, kBlock), kBlock, 0, on.stream()>>>(job, places);
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
    const Chunks chunks = chunks_of(ptr, idx.size(0));
    if (chunks.rows == 0 || chunks.entries == 0) return;
    factors_kernel<<<blocks_for(chunks.entries, kBlock), kBlock, 0, on.stream()>>>(
        chunks, idx.const_data_ptr<Index>(),
        weight.has_value() ? weight->const_data_ptr<T>() : nullptr,
        each.const_data_ptr<T>(), weighted_grad.const_data_ptr<T>(),
        plain_grad.const_data_ptr<T>(), out.mutable_data_ptr<T>(), static_cast<T>(tau),
        skip_diagonal);
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
