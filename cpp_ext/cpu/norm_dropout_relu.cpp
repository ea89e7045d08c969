// SPDX-License-Identifier: Apache-2.0
// norm_dropout_relu: layer norm, dropout and ReLU of rows in one pass, and its
// gradient.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <tuple>
#include <vector>

#include "check.h"
#include "dense.h"
#include "pages.h"
#include "simd.h"

namespace graphlab {
namespace {

// Values of one task: they amortise its start. The sums of a task are added in order of
// tasks, so their size decides bits and must not depend on threads.
constexpr int64_t kTaskValues = 1 << 15;
constexpr int64_t kPiece = kDropoutValues;

template <typename T>
struct Job {
  const T *x, *weight, *bias;
  T* out;
  const T *grad, *kept;  // backward: gradient of the result, and the result
  T *grad_weight, *grad_bias;
  int64_t width;
  double eps;
  Dropout dropout;
  bool relu;
};

template <typename T>
[[gnu::always_inline]] inline void forward_piece(const Job<T>& job, int64_t row,
                                                 int64_t lo, int64_t hi, Moments m) {
  const int64_t at = row * job.width;
  finish_piece(job.x + at, job.weight, job.bias, m, job.dropout, row, job.width, lo, hi,
               job.relu, job.out + at);
}

template <typename T>
[[gnu::always_inline]] inline void forward_rows(const Job<T>& job, int64_t lo,
                                                int64_t hi) {
  for (int64_t row = lo; row < hi; ++row) {
    Moments m{};
    if (job.weight != nullptr) m = moments(job.x + row * job.width, job.width, job.eps);
    for (int64_t c = 0; c < job.width; c += kPiece)
      forward_piece(job, row, c, std::min(c + kPiece, job.width), m);
  }
}

// The gradient before the norm: out = grad where a value went through, scaled.
template <typename T>
[[gnu::always_inline]] inline void through_piece(const Job<T>& job, int64_t row,
                                                 int64_t lo, int64_t hi) {
  uint16_t bits[kPiece];
  const int64_t at = row * job.width + lo, count = hi - lo;
  const T* grad = job.grad + at;
  T* out = job.out + at;
  const T scale = static_cast<T>(job.dropout.scale);
  if (job.relu) {
    const T* kept = job.kept + at;
    for (int64_t c = 0; c < count; ++c)
      out[c] = kept[c] > T{0} ? grad[c] * scale : T{0};
  } else if (job.dropout.active()) {
    draw_bits(job.dropout.key, row, job.width, lo, count, bits);
    const uint32_t threshold = job.dropout.threshold;
    for (int64_t c = 0; c < count; ++c)
      out[c] = bits[c] >= threshold ? grad[c] * scale : T{0};
  } else {
    std::copy(grad, grad + count, out);
  }
}

// Adds the gradients of weight and bias of these rows to sums[0 .. width) and
// sums[width .. 2 width).
template <typename T>
[[gnu::always_inline]] inline void backward_rows(const Job<T>& job, int64_t lo,
                                                 int64_t hi, T* sums) {
  const int64_t width = job.width;
  for (int64_t row = lo; row < hi; ++row) {
    for (int64_t c = 0; c < width; c += kPiece)
      through_piece(job, row, c, std::min(c + kPiece, width));
    if (job.weight == nullptr) continue;
    const T *x = job.x + row * width, *weight = job.weight;
    T* out = job.out + row * width;
    const Moments m = moments(x, width, job.eps);
    const T mean = static_cast<T>(m.mean), inverse = static_cast<T>(m.inverse);
    T *of_weight = sums, *of_bias = sums + width;
    constexpr int kParts = 16;
    T first[kParts] = {}, second[kParts] = {};
    int64_t c = 0;
    const auto step = [&](int64_t column, T& a, T& b) {
      const T unit = (x[column] - mean) * inverse;
      of_weight[column] += out[column] * unit;
      of_bias[column] += out[column];
      out[column] *= weight[column];
      a += out[column];
      b += out[column] * unit;
    };
    for (; c + kParts <= width; c += kParts)
      for (int k = 0; k < kParts; ++k) step(c + k, first[k], second[k]);
    T plain = 0, turned = 0;
    for (; c < width; ++c) step(c, plain, turned);
    for (int k = 0; k < kParts; ++k) plain += first[k], turned += second[k];
    plain /= static_cast<T>(width), turned /= static_cast<T>(width);
    for (c = 0; c < width; ++c)
      out[c] = inverse * (out[c] - plain - (x[c] - mean) * inverse * turned);
  }
}

#define GL_DROPOUT(T)                                                              \
  GL_MULTIVERSION void forward_##T(const Job<T>& job, int64_t lo, int64_t hi) {    \
    forward_rows(job, lo, hi);                                                     \
  }                                                                                \
  GL_MULTIVERSION void piece_##T(const Job<T>& job, int64_t row, int64_t lo,       \
                                 int64_t hi) {                                     \
    if (job.grad == nullptr) {                                                     \
      forward_piece(job, row, lo, hi, Moments{});                                  \
    } else {                                                                       \
      through_piece(job, row, lo, hi);                                             \
    }                                                                              \
  }                                                                                \
  GL_MULTIVERSION void backward_##T(const Job<T>& job, int64_t lo, int64_t hi,     \
                                    T* sums) {                                     \
    backward_rows(job, lo, hi, sums);                                              \
  }                                                                                \
  inline void forward_part(const Job<T>& job, int64_t lo, int64_t hi) {            \
    forward_##T(job, lo, hi);                                                      \
  }                                                                                \
  inline void piece_part(const Job<T>& job, int64_t row, int64_t lo, int64_t hi) { \
    piece_##T(job, row, lo, hi);                                                   \
  }                                                                                \
  inline void backward_part(const Job<T>& job, int64_t lo, int64_t hi, T* sums) {  \
    backward_##T(job, lo, hi, sums);                                               \
  }

GL_DROPOUT(float)
GL_DROPOUT(double)

void check_inputs(const Tensor& x, const std::optional<Tensor>& weight) {
  GL_CHECK(x.dim() == 2, "`x` must be [rows, width]");
  check_contiguous(x, "x");
  if (!weight.has_value()) return;
  check_vector(*weight, x.scalar_type(), "weight");
  GL_CHECK(weight->size(0) == x.size(1), "`weight` must have `width` values");
}

// A single wide row, such as the values of a sparse matrix, is cut by columns.
template <typename T>
void over_columns(const Job<T>& job) {
  const int64_t tasks = (job.width + kTaskValues - 1) / kTaskValues;
  torch::stable::parallel_for(0, tasks, 1, [&](int64_t first, int64_t last) {
    const int64_t end = std::min(last * kTaskValues, job.width);
    for (int64_t c = first * kTaskValues; c < end; c += kPiece)
      piece_part(job, 0, c, std::min(c + kPiece, end));
  });
}

template <typename Body>
void dispatch(const Tensor& x, const Body& body) {
  if (x.scalar_type() == ScalarType::Float) {
    body.template operator()<float>();
  } else {
    GL_CHECK(x.scalar_type() == ScalarType::Double, "`x` must be float32 or float64");
    body.template operator()<double>();
  }
}

int64_t rows_of_task(int64_t width) {
  return std::max<int64_t>(1, kTaskValues / std::max<int64_t>(1, width));
}

Tensor norm_dropout_relu(const Tensor& x, std::optional<Tensor> weight,
                         std::optional<Tensor> bias, double eps, double p, int64_t key,
                         bool relu) {
  check_inputs(x, weight);
  check_inputs(x, bias);
  GL_CHECK(weight.has_value() == bias.has_value(), "`weight` needs `bias`");
  const int64_t rows = x.size(0), width = x.size(1);
  Tensor out = torch::stable::new_empty(x, {rows, width});
  dispatch(x, [&]<typename T>() {
    Job<T> job{x.const_data_ptr<T>(),
               weight.has_value() ? weight->const_data_ptr<T>() : nullptr,
               bias.has_value() ? bias->const_data_ptr<T>() : nullptr,
               out.mutable_data_ptr<T>(),
               nullptr,
               nullptr,
               nullptr,
               nullptr,
               width,
               eps,
               Dropout(p, key),
               relu};
    prefer_huge_pages(job.out, rows * width * static_cast<int64_t>(sizeof(T)));
    if (rows == 1 && job.weight == nullptr) return over_columns(job);
    const int64_t each = rows_of_task(width), tasks = (rows + each - 1) / each;
    torch::stable::parallel_for(0, tasks, 1, [&](int64_t first, int64_t last) {
      forward_part(job, first * each, std::min(last * each, rows));
    });
  });
  return out;
}

std::tuple<Tensor, Tensor, Tensor> norm_dropout_relu_backward(
    const Tensor& grad, const Tensor& x, const Tensor& out,
    std::optional<Tensor> weight, double eps, double p, int64_t key, bool relu) {
  check_inputs(x, weight);
  for (const Tensor* t : {&grad, &out}) {
    check_inputs(*t, weight);
    GL_CHECK(t->size(0) == x.size(0) && t->size(1) == x.size(1) &&
                 t->scalar_type() == x.scalar_type(),
             "`grad` and `out` must be like `x`");
  }
  const int64_t rows = x.size(0), width = x.size(1);
  const int64_t of_norm = weight.has_value() ? width : 0;
  Tensor grad_x = torch::stable::new_empty(x, {rows, width});
  Tensor grad_weight = torch::stable::new_empty(x, {of_norm});
  Tensor grad_bias = torch::stable::new_empty(x, {of_norm});
  dispatch(x, [&]<typename T>() {
    Job<T> job{x.const_data_ptr<T>(),
               weight.has_value() ? weight->const_data_ptr<T>() : nullptr,
               nullptr,
               grad_x.mutable_data_ptr<T>(),
               grad.const_data_ptr<T>(),
               out.const_data_ptr<T>(),
               grad_weight.mutable_data_ptr<T>(),
               grad_bias.mutable_data_ptr<T>(),
               width,
               eps,
               Dropout(p, key),
               relu};
    prefer_huge_pages(job.out, rows * width * static_cast<int64_t>(sizeof(T)));
    if (rows == 1 && job.weight == nullptr) return over_columns(job);
    const int64_t each = rows_of_task(width), tasks = (rows + each - 1) / each;
    std::vector<T> sums(of_norm > 0 ? 2 * width * tasks : 0, T{0});
    torch::stable::parallel_for(0, tasks, 1, [&](int64_t first, int64_t last) {
      for (int64_t task = first; task < last; ++task)
        backward_part(job, task * each, std::min((task + 1) * each, rows),
                      sums.data() + (of_norm > 0 ? 2 * width * task : 0));
    });
    for (int64_t c = 0; c < of_norm; ++c) job.grad_weight[c] = job.grad_bias[c] = 0;
    for (int64_t task = 0; task < tasks && of_norm > 0; ++task) {
      const T* part = sums.data() + 2 * width * task;
      for (int64_t c = 0; c < width; ++c) {
        job.grad_weight[c] += part[c];
        job.grad_bias[c] += part[width + c];
      }
    }
  });
  return {grad_x, grad_weight, grad_bias};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(graphlab, CPU, m) {
  m.impl("norm_dropout_relu", TORCH_BOX(&norm_dropout_relu));
  m.impl("norm_dropout_relu_backward", TORCH_BOX(&norm_dropout_relu_backward));
}

}  // namespace graphlab
