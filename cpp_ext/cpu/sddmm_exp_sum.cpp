// SPDX-License-Identifier: Apache-2.0
// sddmm_exp_sum: exponentials of sampled products of rows, summed over each row of a
// sparse matrix; sddmm_exp_sum_factors: their derivative in the products.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <tuple>

#include "check.h"
#include "exp.h"
#include "rows.h"
#include "simd.h"

namespace graphlab {
namespace {

// Products that wait in the first-level cache for their exponentials.
constexpr int64_t kChunk = 512;
// Bytes of v on their way from memory while products are formed.
constexpr int64_t kAheadBytes = 1 << 11;

template <typename T, typename Index>
struct Job {
  const int64_t* ptr;
  const Index* idx;
  const T* weight;
  const T* u;
  const T* v;
  T *weighted, *plain, *each;
  int64_t v_rows, width, edges, ahead;
  T tau;
  bool skip_diagonal;
};

// One product; `kBlocks` vectors of a row of u wait in registers, 0: any width.
template <int kBlocks, typename T>
[[gnu::always_inline]] inline T dot(const Vector<T>* own, const T* u, const T* v,
                                    int64_t width) {
  Vector<T> sum = {}, a, b;
  int64_t j = 0;
  if constexpr (kBlocks > 0) {
    for (int block = 0; block < kBlocks; ++block) {
      std::memcpy(&b, v + block * kLanes<T>, sizeof(b));
      sum += own[block] * b;
    }
    j = kBlocks * kLanes<T>;
  } else {
    for (; j + kLanes<T> <= width; j += kLanes<T>) {
      std::memcpy(&a, u + j, sizeof(a));
      std::memcpy(&b, v + j, sizeof(b));
      sum += a * b;
    }
  }
  // A tree over lanes: the same bits whatever the registers' width.
  T lanes[kLanes<T>];
  std::memcpy(lanes, &sum, sizeof(sum));
  for (int step = kLanes<T> / 2; step > 0; step /= 2)
    for (int lane = 0; lane < step; ++lane) lanes[lane] += lanes[lane + step];
  T total = lanes[0];
  if constexpr (kBlocks == 0)
    for (; j < width; ++j) total += u[j] * v[j];
  return total;
}

template <int kBlocks, typename T, typename Index>
[[gnu::always_inline]] inline bool sum_rows(const Job<T, Index>& job, int64_t lo,
                                            int64_t hi) {
  const int64_t last = job.edges - job.ahead, width = job.width;
  const int64_t fetch = width * static_cast<int64_t>(sizeof(T));
  bool good = true;
  for (int64_t row = lo; row < hi; ++row) {
    const T* u = job.u + row * width;
    Vector<T> own[kBlocks > 0 ? kBlocks : 1] = {};
    if constexpr (kBlocks > 0) std::memcpy(own, u, sizeof(own));
    const int64_t begin = job.ptr[row], end = job.ptr[row + 1];
    double weighted = 0, plain = 0;
    for (int64_t first = begin; first < end; first += kChunk) {
      const int64_t stop = std::min(end, first + kChunk);
      T* each = job.each + first;
      for (int64_t e = first; e < stop; ++e) {
        if (e < last) {
          const char* later = reinterpret_cast<const char*>(
              job.v + static_cast<int64_t>(job.idx[e + job.ahead]) * width);
          for (int64_t b = 0; b < fetch; b += kVectorBytes)
            __builtin_prefetch(later + b);
        }
        const int64_t id = job.idx[e];
        if (static_cast<uint64_t>(id) >= static_cast<uint64_t>(job.v_rows))
            [[unlikely]] {
          good = false;
          each[e - first] = 0;
          continue;
        }
        const bool skip = job.skip_diagonal && id == row;
        each[e - first] =
            skip ? T(0) : job.tau * dot<kBlocks, T>(own, u, job.v + id * width, width);
      }
      for (int64_t i = 0; i < stop - first; ++i) each[i] = fast_exp(each[i]);
      for (int64_t i = 0; i < stop - first; ++i) plain += each[i];
      if (job.weight != nullptr)
        for (int64_t i = 0; i < stop - first; ++i)
          weighted += job.weight[first + i] * each[i];
    }
    job.plain[row] = static_cast<T>(plain);
    job.weighted[row] = static_cast<T>(job.weight == nullptr ? plain : weighted);
  }
  return good;
}

#define GL_SUM(T, Index)                                                           \
  GL_MULTIVERSION bool sum_any_##T##_##Index(const Job<T, Index>& job, int64_t lo, \
                                             int64_t hi) {                         \
    return sum_rows<0>(job, lo, hi);                                               \
  }                                                                                \
  GL_MULTIVERSION bool sum_one_##T##_##Index(const Job<T, Index>& job, int64_t lo, \
                                             int64_t hi) {                         \
    return sum_rows<1>(job, lo, hi);                                               \
  }                                                                                \
  inline bool sum_part(const Job<T, Index>& job, int64_t lo, int64_t hi) {         \
    return job.width == kLanes<T> ? sum_one_##T##_##Index(job, lo, hi)             \
                                  : sum_any_##T##_##Index(job, lo, hi);            \
  }

GL_SUM(float, int32_t)
GL_SUM(float, int64_t)
GL_SUM(double, int32_t)
GL_SUM(double, int64_t)

template <typename T, typename Index>
bool run(const Tensor& ptr, const Tensor& idx, const std::optional<Tensor>& weight,
         const Tensor& u, const Tensor& v, double tau, bool skip_diagonal,
         Tensor& weighted, Tensor& plain, Tensor& each) {
  Job<T, Index> job{};
  job.ptr = ptr.const_data_ptr<int64_t>();
  job.idx = idx.const_data_ptr<Index>();
  job.weight = weight.has_value() ? weight->const_data_ptr<T>() : nullptr;
  job.u = u.const_data_ptr<T>();
  job.v = v.const_data_ptr<T>();
  job.weighted = weighted.mutable_data_ptr<T>();
  job.plain = plain.mutable_data_ptr<T>();
  job.each = each.mutable_data_ptr<T>();
  job.v_rows = v.size(0);
  job.width = v.size(1);
  job.edges = idx.size(0);
  const int64_t row_bytes = std::max<int64_t>(1, job.width * sizeof(T));
  job.ahead = std::clamp<int64_t>(kAheadBytes / row_bytes, 4, 32);
  job.tau = static_cast<T>(tau);
  job.skip_diagonal = skip_diagonal;
  // An exponential costs about as much as 16 products.
  return over_rows(job.ptr, u.size(0), job.width + 16,
                   [&](int64_t lo, int64_t hi) { return sum_part(job, lo, hi); });
}

void check_matrix(const Tensor& t, ScalarType type, const char* name) {
  GL_CHECK(t.dim() == 2, "`", name, "` must be [rows, width]");
  GL_CHECK(t.scalar_type() == type, "`", name, "` has the wrong dtype");
  check_contiguous(t, name);
}

// The transpose serves autograd only (graphlab/ops/sddmm_exp_sum.py).
std::tuple<Tensor, Tensor, Tensor> sddmm_exp_sum(
    const Tensor& ptr, const Tensor& idx, std::optional<Tensor> weight, const Tensor& u,
    const Tensor& v, double tau, bool skip_diagonal, std::optional<Tensor>,
    std::optional<Tensor>, std::optional<Tensor>) {
  const ScalarType type = u.scalar_type(), index = idx.scalar_type();
  GL_CHECK(type == ScalarType::Float || type == ScalarType::Double,
           "`u` must be float32 or float64");
  GL_CHECK(index == ScalarType::Int || index == ScalarType::Long,
           "`idx` must be int32 or int64");
  check_matrix(u, type, "u");
  check_matrix(v, type, "v");
  GL_CHECK(u.size(1) == v.size(1), "`v` must have the width of `u`");
  check_vector(ptr, ScalarType::Long, "ptr");
  check_vector(idx, index, "idx");
  GL_CHECK(ptr.size(0) == u.size(0) + 1, "`ptr` must have an entry more than `u`");
  check_offsets(ptr.const_data_ptr<int64_t>(), u.size(0), idx.size(0));
  if (weight.has_value()) {
    check_vector(*weight, type, "weight");
    GL_CHECK(weight->size(0) == idx.size(0), "`weight` must have a value an edge");
  }
  Tensor weighted = torch::stable::new_empty(u, {u.size(0)});
  Tensor plain = torch::stable::new_empty(u, {u.size(0)});
  Tensor each = torch::stable::new_empty(u, {idx.size(0)});
  const bool narrow = index == ScalarType::Int;
  const auto call = [&]<typename T, typename Index>() {
    return run<T, Index>(ptr, idx, weight, u, v, tau, skip_diagonal, weighted, plain,
                         each);
  };
  bool good;
  if (type == ScalarType::Float) {
    good = narrow ? call.template operator()<float, int32_t>()
                  : call.template operator()<float, int64_t>();
  } else {
    good = narrow ? call.template operator()<double, int32_t>()
                  : call.template operator()<double, int64_t>();
  }
  GL_CHECK(good, "`idx` must be in [0, rows of v)");
  return {weighted, plain, each};
}

template <typename T, typename Index>
void factor_rows(const Tensor& ptr, const Tensor& idx,
                 const std::optional<Tensor>& weight, const Tensor& each,
                 const Tensor& weighted_grad, const Tensor& plain_grad, double tau,
                 bool skip_diagonal, Tensor& out) {
  const int64_t* offsets = ptr.const_data_ptr<int64_t>();
  const Index* ids = idx.const_data_ptr<Index>();
  const T* weights = weight.has_value() ? weight->const_data_ptr<T>() : nullptr;
  const T* exps = each.const_data_ptr<T>();
  const T* by_weight = weighted_grad.const_data_ptr<T>();
  const T* by_one = plain_grad.const_data_ptr<T>();
  T* factors = out.mutable_data_ptr<T>();
  const T scale = static_cast<T>(tau);
  over_rows(offsets, ptr.size(0) - 1, 4, [&](int64_t lo, int64_t hi) {
    for (int64_t row = lo; row < hi; ++row) {
      const T a = scale * by_weight[row], b = scale * by_one[row];
      for (int64_t e = offsets[row]; e < offsets[row + 1]; ++e) {
        const T slope = weights == nullptr ? a + b : a * weights[e] + b;
        factors[e] = skip_diagonal && ids[e] == row ? T(0) : exps[e] * slope;
      }
    }
    return true;
  });
}

Tensor sddmm_exp_sum_factors(const Tensor& ptr, const Tensor& idx,
                             std::optional<Tensor> weight, const Tensor& each,
                             const Tensor& weighted_grad, const Tensor& plain_grad,
                             double tau, bool skip_diagonal) {
  const ScalarType type = each.scalar_type(), index = idx.scalar_type();
  GL_CHECK(type == ScalarType::Float || type == ScalarType::Double,
           "`each` must be float32 or float64");
  GL_CHECK(index == ScalarType::Int || index == ScalarType::Long,
           "`idx` must be int32 or int64");
  check_vector(ptr, ScalarType::Long, "ptr");
  check_vector(idx, index, "idx");
  check_vector(each, type, "each");
  check_vector(weighted_grad, type, "weighted_grad");
  check_vector(plain_grad, type, "plain_grad");
  const int64_t rows = ptr.size(0) - 1;
  GL_CHECK(weighted_grad.size(0) == rows && plain_grad.size(0) == rows,
           "gradients must have a value a row");
  check_offsets(ptr.const_data_ptr<int64_t>(), rows, idx.size(0));
  GL_CHECK(each.size(0) == idx.size(0), "`each` must have a value an edge");
  if (weight.has_value()) {
    check_vector(*weight, type, "weight");
    GL_CHECK(weight->size(0) == idx.size(0), "`weight` must have a value an edge");
  }
  Tensor out = torch::stable::new_empty(each, {idx.size(0)});
  const auto call = [&]<typename T, typename Index>() {
    factor_rows<T, Index>(ptr, idx, weight, each, weighted_grad, plain_grad, tau,
                          skip_diagonal, out);
  };
  const bool narrow = index == ScalarType::Int;
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

STABLE_TORCH_LIBRARY_IMPL(graphlab, CPU, m) {
  m.impl("sddmm_exp_sum", TORCH_BOX(&sddmm_exp_sum));
  m.impl("sddmm_exp_sum_factors", TORCH_BOX(&sddmm_exp_sum_factors));
}

}  // namespace graphlab
