// SPDX-License-Identifier: Apache-2.0
// spmm: sparse matrix in compressed rows times a dense matrix; spmm_edge_dot: its
// derivative in the weights.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>

#include "check.h"
#include "pages.h"
#include "rows.h"
#include "simd.h"

namespace graphlab {
namespace {

// Bytes of x on their way from memory while a row is added up.
constexpr int64_t kAheadBytes = 1 << 12;
// An x of this size stays in a core's L2.
constexpr int64_t kCachedBytes = 1 << 19;

template <typename T, typename Index>
struct Job {
  const int64_t* ptr;
  const Index* idx;
  const T* weight;
  const T* x;
  T* out;
  int64_t x_rows, x_stride, width, edges, ahead;
  bool mean;
};

// Columns [column, column + vectors * lanes) of one row, summed in registers, in edge
// order: the same bits for any split of rows over threads.
template <int kVectors, bool kWeighted, typename T, typename Index>
[[gnu::always_inline]] inline bool reduce_block(const Job<T, Index>& job, int64_t row,
                                                int64_t column) {
  Vector<T> sum[kVectors] = {};
  const int64_t begin = job.ptr[row], end = job.ptr[row + 1];
  const int64_t ahead = job.ahead, last = job.edges - ahead;
  const int64_t stride = job.x_stride, x_rows = job.x_rows;
  const Index* idx = job.idx;
  const T* x = job.x + column;
  bool good = true;
  for (int64_t e = begin; e < end; ++e) {
    if (e < last) {
      const char* later = reinterpret_cast<const char*>(x + idx[e + ahead] * stride);
      for (int v = 0; v < kVectors; ++v) __builtin_prefetch(later + v * kVectorBytes);
    }
    const int64_t id = idx[e];
    if (static_cast<uint64_t>(id) >= static_cast<uint64_t>(x_rows)) [[unlikely]] {
      good = false;
      continue;
    }
    const T* values = x + id * stride;
    for (int v = 0; v < kVectors; ++v) {
      Vector<T> part;
      std::memcpy(&part, values + v * kLanes<T>, sizeof(part));
      if constexpr (kWeighted) part *= job.weight[e];
      sum[v] += part;
    }
  }
  T* out = job.out + row * job.width + column;
  const T count = static_cast<T>(job.mean && end > begin ? end - begin : 1);
  for (int v = 0; v < kVectors; ++v) {
    if (job.mean) sum[v] /= count;
    std::memcpy(out + v * kLanes<T>, &sum[v], sizeof(sum[v]));
  }
  return good;
}

// The last columns, fewer than a vector.
template <bool kWeighted, typename T, typename Index>
[[gnu::always_inline]] inline bool reduce_rest(const Job<T, Index>& job, int64_t row,
                                               int64_t column) {
  T sum[kLanes<T>] = {};
  const int64_t begin = job.ptr[row], end = job.ptr[row + 1];
  const int64_t last = job.edges - job.ahead;
  const int columns = static_cast<int>(job.width - column);
  const T* x = job.x + column;
  bool good = true;
  for (int64_t e = begin; e < end; ++e) {
    if (e < last) __builtin_prefetch(x + job.idx[e + job.ahead] * job.x_stride);
    const int64_t id = job.idx[e];
    if (static_cast<uint64_t>(id) >= static_cast<uint64_t>(job.x_rows)) [[unlikely]] {
      good = false;
      continue;
    }
    const T* values = x + id * job.x_stride;
    for (int j = 0; j < columns; ++j) {
      sum[j] += kWeighted ? job.weight[e] * values[j] : values[j];
    }
  }
  T* out = job.out + row * job.width + column;
  const T count = static_cast<T>(job.mean && end > begin ? end - begin : 1);
  for (int j = 0; j < columns; ++j) out[j] = job.mean ? sum[j] / count : sum[j];
  return good;
}

template <bool kWeighted, typename T, typename Index>
[[gnu::always_inline]] inline bool reduce_rows(const Job<T, Index>& job, int64_t lo,
                                               int64_t hi) {
  constexpr int kLane = kLanes<T>;
  bool good = true;
  for (int64_t row = lo; row < hi; ++row) {
    int64_t column = 0;
    for (; column + 8 * kLane <= job.width; column += 8 * kLane)
      good &= reduce_block<8, kWeighted>(job, row, column);
    if (column + 4 * kLane <= job.width) {
      good &= reduce_block<4, kWeighted>(job, row, column);
      column += 4 * kLane;
    }
    if (column + 2 * kLane <= job.width) {
      good &= reduce_block<2, kWeighted>(job, row, column);
      column += 2 * kLane;
    }
    if (column + kLane <= job.width) {
      good &= reduce_block<1, kWeighted>(job, row, column);
      column += kLane;
    }
    if (column < job.width) good &= reduce_rest<kWeighted>(job, row, column);
  }
  return good;
}

// out[e] = <grad[row of e], x[idx[e]]>; `x` of the job is x, `weight` is grad.
template <typename T, typename Index>
[[gnu::always_inline]] inline bool dot_rows(const Job<T, Index>& job, int64_t lo,
                                            int64_t hi) {
  constexpr int kLane = kLanes<T>;
  const int64_t last = job.edges - job.ahead;
  const int64_t fetch = job.width * static_cast<int64_t>(sizeof(T));
  bool good = true;
  for (int64_t row = lo; row < hi; ++row) {
    const T* grad = job.weight + row * job.width;
    for (int64_t e = job.ptr[row]; e < job.ptr[row + 1]; ++e) {
      if (e < last) {
        const T* later = job.x + job.idx[e + job.ahead] * job.x_stride;
        for (int64_t b = 0; b < fetch; b += kVectorBytes)
          __builtin_prefetch(reinterpret_cast<const char*>(later) + b);
      }
      const int64_t id = job.idx[e];
      if (static_cast<uint64_t>(id) >= static_cast<uint64_t>(job.x_rows)) [[unlikely]] {
        good = false;
        continue;
      }
      const T* values = job.x + id * job.x_stride;
      Vector<T> sum = {}, a, b;
      int64_t j = 0;
      for (; j + kLane <= job.width; j += kLane) {
        std::memcpy(&a, grad + j, sizeof(a));
        std::memcpy(&b, values + j, sizeof(b));
        sum += a * b;
      }
      T total = 0;
      for (int lane = 0; lane < kLane; ++lane) total += sum[lane];
      for (; j < job.width; ++j) total += grad[j] * values[j];
      job.out[e] = total;
    }
  }
  return good;
}

#define GL_REDUCE(T, Index)                                                    \
  GL_MULTIVERSION bool reduce_plain_##T##_##Index(const Job<T, Index>& job,    \
                                                  int64_t lo, int64_t hi) {    \
    return reduce_rows<false>(job, lo, hi);                                    \
  }                                                                            \
  GL_MULTIVERSION bool reduce_weighted_##T##_##Index(const Job<T, Index>& job, \
                                                     int64_t lo, int64_t hi) { \
    return reduce_rows<true>(job, lo, hi);                                     \
  }                                                                            \
  inline bool reduce_part(const Job<T, Index>& job, int64_t lo, int64_t hi) {  \
    return job.weight == nullptr ? reduce_plain_##T##_##Index(job, lo, hi)     \
                                 : reduce_weighted_##T##_##Index(job, lo, hi); \
  }                                                                            \
  GL_MULTIVERSION bool dot_##T##_##Index(const Job<T, Index>& job, int64_t lo, \
                                         int64_t hi) {                         \
    return dot_rows(job, lo, hi);                                              \
  }                                                                            \
  inline bool dot_part(const Job<T, Index>& job, int64_t lo, int64_t hi) {     \
    return dot_##T##_##Index(job, lo, hi);                                     \
  }

GL_REDUCE(float, int32_t)
GL_REDUCE(float, int64_t)
GL_REDUCE(double, int32_t)
GL_REDUCE(double, int64_t)

template <typename T, typename Index>
Job<T, Index> job_for(const Tensor& ptr, const Tensor& idx, const Tensor& x) {
  const int64_t row_bytes = std::max<int64_t>(1, x.size(1) * sizeof(T));
  Job<T, Index> job{};
  job.ptr = ptr.const_data_ptr<int64_t>();
  job.idx = idx.const_data_ptr<Index>();
  job.x = x.const_data_ptr<T>();
  job.x_rows = x.size(0);
  job.x_stride = x.stride(0);
  job.width = x.size(1);
  job.edges = idx.size(0);
  // What lies in the cache need not be asked for early.
  const bool cached = x.size(0) * row_bytes <= kCachedBytes;
  job.ahead = cached ? job.edges : std::clamp<int64_t>(kAheadBytes / row_bytes, 4, 32);
  return job;
}

void check_inputs(const Tensor& ptr, const Tensor& idx, const Tensor& x) {
  GL_CHECK(x.dim() == 2, "`x` must be [rows, width]");
  GL_CHECK(x.stride(1) == 1 || x.size(1) <= 1, "`x` must have contiguous rows");
  check_vector(ptr, ScalarType::Long, "ptr");
  check_vector(idx, idx.scalar_type(), "idx");
  check_offsets(ptr.const_data_ptr<int64_t>(), ptr.size(0) - 1, idx.size(0));
}

// Calls body<T, Index>() for the dtypes of `x` and `idx`; it returns whether all ids
// were in range.
template <typename Body>
void dispatch(const Tensor& x, const Tensor& idx, const Body& body) {
  const ScalarType type = x.scalar_type(), index_type = idx.scalar_type();
  GL_CHECK(type == ScalarType::Float || type == ScalarType::Double,
           "`x` must be float32 or float64");
  GL_CHECK(index_type == ScalarType::Int || index_type == ScalarType::Long,
           "`idx` must be int32 or int64");
  const bool narrow = index_type == ScalarType::Int;
  bool good;
  if (type == ScalarType::Float) {
    good = narrow ? body.template operator()<float, int32_t>()
                  : body.template operator()<float, int64_t>();
  } else {
    good = narrow ? body.template operator()<double, int32_t>()
                  : body.template operator()<double, int64_t>();
  }
  GL_CHECK(good, "`idx` must be in [0, rows of x)");
}

// The transpose serves autograd only (graphlab/ops/spmm.py).
Tensor spmm(const Tensor& ptr, const Tensor& idx, std::optional<Tensor> weight,
            const Tensor& x, std::string reduce, std::optional<Tensor>,
            std::optional<Tensor>, std::optional<Tensor>) {
  check_inputs(ptr, idx, x);
  GL_CHECK(reduce == "sum" || reduce == "mean", "`reduce` must be sum or mean");
  if (weight.has_value()) {
    check_vector(*weight, x.scalar_type(), "weight");
    GL_CHECK(weight->size(0) == idx.size(0),
             "`weight` must have a value for each edge");
  }
  const int64_t rows = ptr.size(0) - 1;
  Tensor out = torch::stable::new_empty(x, {rows, x.size(1)});
  dispatch(x, idx, [&]<typename T, typename Index>() {
    Job<T, Index> job = job_for<T, Index>(ptr, idx, x);
    job.weight = weight.has_value() ? weight->const_data_ptr<T>() : nullptr;
    job.mean = reduce == "mean";
    job.out = out.mutable_data_ptr<T>();
    prefer_huge_pages(job.out, rows * job.width * static_cast<int64_t>(sizeof(T)));
    return over_rows(job.ptr, rows, job.width,
                     [&](int64_t lo, int64_t hi) { return reduce_part(job, lo, hi); });
  });
  return out;
}

Tensor spmm_edge_dot(const Tensor& ptr, const Tensor& idx, const Tensor& grad,
                     const Tensor& x) {
  check_inputs(ptr, idx, x);
  const int64_t rows = ptr.size(0) - 1;
  GL_CHECK(grad.dim() == 2 && grad.size(0) == rows && grad.size(1) == x.size(1),
           "`grad` must be [rows, width]");
  GL_CHECK(grad.scalar_type() == x.scalar_type(), "`grad` must have the dtype of `x`");
  check_contiguous(grad, "grad");
  Tensor out = torch::stable::new_empty(x, {idx.size(0)});
  dispatch(x, idx, [&]<typename T, typename Index>() {
    Job<T, Index> job = job_for<T, Index>(ptr, idx, x);
    job.weight = grad.const_data_ptr<T>();
    job.out = out.mutable_data_ptr<T>();
    return over_rows(job.ptr, rows, job.width,
                     [&](int64_t lo, int64_t hi) { return dot_part(job, lo, hi); });
  });
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(graphlab, CPU, m) {
  m.impl("spmm", TORCH_BOX(&spmm));
  m.impl("spmm_edge_dot", TORCH_BOX(&spmm_edge_dot));
}

}  // namespace graphlab
