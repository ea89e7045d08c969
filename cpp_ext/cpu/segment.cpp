// SPDX-License-Identifier: Apache-2.0
// segment_reduce, segment_softmax: reductions over consecutive rows.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <tuple>

#include "check.h"
#include "simd.h"

namespace graphlab {
namespace {

// One task covers about this many values: it amortises the hand-over to a thread.
constexpr int64_t kGrainValues = 16384;

enum class Reduce { kSum, kMean, kMax };

// Rows are added in row order, so results repeat bit for bit at any thread count.
template <typename T>
inline void reduce_range(const T* src, const int64_t* ptr, T* out, int64_t* arg,
                         int64_t lo, int64_t hi, int64_t width, Reduce how) {
  for (int64_t s = lo; s < hi; ++s) {
    T* row = out + s * width;
    const int64_t begin = ptr[s], end = ptr[s + 1];
    if (how == Reduce::kMax) {
      int64_t* where = arg + s * width;
      for (int64_t j = 0; j < width; ++j) where[j] = begin < end ? begin : -1;
      if (begin < end) std::copy(src + begin * width, src + (begin + 1) * width, row);
      for (int64_t e = begin + 1; e < end; ++e) {
        for (int64_t j = 0; j < width; ++j) {
          const T value = src[e * width + j];
          // NaN wins once and stays, as in torch.amax.
          const bool better = value > row[j] || (value != value && row[j] == row[j]);
          row[j] = better ? value : row[j];
          where[j] = better ? e : where[j];
        }
      }
      continue;
    }
    for (int64_t e = begin; e < end; ++e) {
      for (int64_t j = 0; j < width; ++j) row[j] += src[e * width + j];
    }
    if (how == Reduce::kMean && end > begin) {
      const T count = static_cast<T>(end - begin);
      for (int64_t j = 0; j < width; ++j) row[j] /= count;
    }
  }
}

GL_MULTIVERSION void reduce_f32(const float* src, const int64_t* ptr, float* out,
                                int64_t* arg, int64_t lo, int64_t hi, int64_t width,
                                Reduce how) {
  reduce_range(src, ptr, out, arg, lo, hi, width, how);
}

GL_MULTIVERSION void reduce_f64(const double* src, const int64_t* ptr, double* out,
                                int64_t* arg, int64_t lo, int64_t hi, int64_t width,
                                Reduce how) {
  reduce_range(src, ptr, out, arg, lo, hi, width, how);
}

template <typename T>
void softmax_range(const T* src, const int64_t* ptr, T* out, int64_t lo, int64_t hi,
                   int64_t width) {
  for (int64_t s = lo; s < hi; ++s) {
    const int64_t begin = ptr[s], end = ptr[s + 1];
    for (int64_t j = 0; j < width; ++j) {
      T top = -std::numeric_limits<T>::infinity();
      for (int64_t e = begin; e < end; ++e) top = std::max(top, src[e * width + j]);
      T total = 0;
      for (int64_t e = begin; e < end; ++e) {
        const T value = std::exp(src[e * width + j] - top);
        out[e * width + j] = value;
        total += value;
      }
      for (int64_t e = begin; e < end; ++e) out[e * width + j] /= total;
    }
  }
}

int64_t grain_for(int64_t rows, int64_t segments, int64_t width) {
  const int64_t values =
      std::max<int64_t>(1, rows * width / std::max<int64_t>(1, segments));
  return std::max<int64_t>(1, kGrainValues / values);
}

std::tuple<Tensor, Tensor> segment_reduce(const Tensor& src, const Tensor& ptr,
                                          std::string reduce) {
  GL_CHECK(src.dim() == 2, "`src` must be [rows, width]");
  check_contiguous(src, "src");
  check_vector(ptr, ScalarType::Long, "ptr");
  const int64_t segments = ptr.size(0) - 1, rows = src.size(0), width = src.size(1);
  const int64_t* p = ptr.const_data_ptr<int64_t>();
  check_offsets(p, segments, rows);
  const Reduce how = reduce == "sum"    ? Reduce::kSum
                     : reduce == "mean" ? Reduce::kMean
                                        : Reduce::kMax;
  const int64_t arg_rows = how == Reduce::kMax ? segments : 0;
  Tensor out = torch::stable::new_zeros(src, {segments, width});
  Tensor arg = torch::stable::new_empty(ptr, {arg_rows, width});
  int64_t* a = arg.mutable_data_ptr<int64_t>();
  const int64_t grain = grain_for(rows, segments, width);
  if (src.scalar_type() == ScalarType::Float) {
    const float* x = src.const_data_ptr<float>();
    float* y = out.mutable_data_ptr<float>();
    torch::stable::parallel_for(0, segments, grain, [=](int64_t lo, int64_t hi) {
      reduce_f32(x, p, y, a, lo, hi, width, how);
    });
  } else {
    GL_CHECK(src.scalar_type() == ScalarType::Double,
             "`src` must be float32 or float64");
    const double* x = src.const_data_ptr<double>();
    double* y = out.mutable_data_ptr<double>();
    torch::stable::parallel_for(0, segments, grain, [=](int64_t lo, int64_t hi) {
      reduce_f64(x, p, y, a, lo, hi, width, how);
    });
  }
  return {out, arg};
}

Tensor segment_softmax(const Tensor& src, const Tensor& ptr) {
  GL_CHECK(src.dim() == 2, "`src` must be [rows, width]");
  check_contiguous(src, "src");
  check_vector(ptr, ScalarType::Long, "ptr");
  const int64_t segments = ptr.size(0) - 1, rows = src.size(0), width = src.size(1);
  const int64_t* p = ptr.const_data_ptr<int64_t>();
  check_offsets(p, segments, rows);
  Tensor out = torch::stable::empty_like(src);
  const int64_t grain = grain_for(rows, segments, width);
  if (src.scalar_type() == ScalarType::Float) {
    const float* x = src.const_data_ptr<float>();
    float* y = out.mutable_data_ptr<float>();
    torch::stable::parallel_for(0, segments, grain, [=](int64_t lo, int64_t hi) {
      softmax_range(x, p, y, lo, hi, width);
    });
  } else {
    GL_CHECK(src.scalar_type() == ScalarType::Double,
             "`src` must be float32 or float64");
    const double* x = src.const_data_ptr<double>();
    double* y = out.mutable_data_ptr<double>();
    torch::stable::parallel_for(0, segments, grain, [=](int64_t lo, int64_t hi) {
      softmax_range(x, p, y, lo, hi, width);
    });
  }
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(graphlab, CPU, m) {
  m.impl("segment_reduce", TORCH_BOX(&segment_reduce));
  m.impl("segment_softmax", TORCH_BOX(&segment_softmax));
}

}  // namespace graphlab
